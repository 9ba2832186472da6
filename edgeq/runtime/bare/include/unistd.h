#ifndef EDGEQ_BARE_UNISTD_H
#define EDGEQ_BARE_UNISTD_H
#include <stddef.h>
#include <time.h>

long read(int file, void *to, size_t bytes);
int close(int file);
pid_t getpid(void);
long syscall(long number, ...);
#endif
