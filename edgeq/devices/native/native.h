/* What the measuring programs' files know of each other. */
#ifndef EDGEQ_DEVICES_NATIVE_H
#define EDGEQ_DEVICES_NATIVE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "json.h"

/* ---- files.c ---- */

/* The first line of a small file of /proc or /sys, without its end; "" when it cannot be read. */
void read_line(const char *path, char *out, size_t size);

/* The number that a file begins with; `otherwise` when it cannot be read. */
long long read_number(const char *path, long long otherwise);

/* ---- facts.c ---- */
void print_facts(json *j);

/* ---- hash.c ---- */

/* `hash bytes path` of each file, `- - path` of what is no readable file. */
int print_hashes(int n, char **paths);

/* ---- sweep.c ---- */

/* Deletes half-pushed files that nobody has written to for `seconds`. */
int sweep(const char *folder, long seconds);

/* ---- guard.c ---- */

/* Runs a program that ends when the link does: see the file. Returns its exit status. */
int guard(double seconds, char **argv);

/* ---- thermal.c ---- */

/* Degrees Celsius of the hottest zone of the processor (of all zones where none says that it is one); NAN: unreadable. */
double hottest(void);

typedef struct {
  double start, highest, end; /* degrees Celsius, NAN when nothing is readable */
  double waited_s, limit_s;   /* spent and allowed waiting, over all waits */
  double looked_s;            /* when it was last looked at: sensors are slow to read */
} cooling;

void cooling_start(cooling *c, double limit_s);

/* Waits until it is as cool as at the start, within what is left of the limit; 1 when it waited. */
int cool_down(cooling *c);
void print_cooling(json *j, cooling *c);

/* ---- read_rate.c ---- */
typedef struct {
  double bytes_per_s, best_bytes_per_s; /* median and best pass of the better way of reading */
  uint64_t buffer_bytes;                /* 0: no memory or no threads */
  int threads, prefetch;
} read_rate;

read_rate measure_reading(int threads);
void print_read_rate(json *j, const char *name, const read_rate *rate);

/* ---- peak.c ---- */

/* Operations a second of `threads` threads with the best int8 dot product of this CPU, and its name. */
double int8_peak(int threads, const char **instruction);

/* ---- statistics.c ---- */
double median(const double *values, int n);
int is_stable(const double *values, int n); /* the sample's standard deviation is at most 3 % of the mean */

static inline double now_s(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif
