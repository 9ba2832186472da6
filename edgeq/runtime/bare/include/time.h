#ifndef EDGEQ_BARE_TIME_H
#define EDGEQ_BARE_TIME_H
typedef int pid_t;
#define CLOCK_MONOTONIC 1

struct timespec {
  long tv_sec, tv_nsec;
};

int clock_gettime(int clock, struct timespec *out);
#endif
