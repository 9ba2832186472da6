/* Memory read bandwidth: T threads sum a buffer that no cache holds.
 *
 *   bandwidth [MB [THREADS [PASSES]]]     (10^6 bytes)
 *
 * Prints one JSON line: GB/s (10^9 bytes a second), median and best pass, with and without huge pages.
 * Each thread reads its own contiguous part, as a decode step reads its weights. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_THREADS = 256, MAX_PASSES = 1000, HUGE_PAGE = 2 << 20 };

typedef struct {
  const uint64_t *from;
  size_t words;
  int passes, leader;
  pthread_barrier_t *barrier;
  double *seconds; /* one a pass, written by the leader */
  uint64_t sum;
} worker;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 32 independent sums: enough loads in flight for the compiler to keep four wide vectors busy. */
static uint64_t sum_words(const uint64_t *restrict from, size_t words) {
  uint64_t sums[32] = {0}, total = 0;
  for (size_t i = 0; i + 32 <= words; i += 32)
    for (int j = 0; j < 32; j++) sums[j] += from[i + (size_t)j];
  for (int j = 0; j < 32; j++) total += sums[j];
  return total;
}

static void *work(void *argument) {
  worker *w = argument;
  for (int pass = 0; pass < w->passes; pass++) {
    pthread_barrier_wait(w->barrier);
    double start = now();
    w->sum += sum_words(w->from, w->words);
    pthread_barrier_wait(w->barrier);
    if (w->leader) w->seconds[pass] = now() - start;
  }
  return NULL;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Fills seconds[passes], sorted; returns the sum so that no pass can be optimised away. */
static uint64_t measure(const uint64_t *data, size_t bytes, int threads, int passes, double *seconds) {
  static worker workers[MAX_THREADS];
  pthread_t ids[MAX_THREADS];
  pthread_barrier_t barrier;
  size_t share = bytes / 8 / (size_t)threads;
  uint64_t sum = 0;
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  for (int i = 0; i < threads; i++) {
    workers[i] = (worker){data + share * (size_t)i, share, passes, i == 0, &barrier, seconds, 0};
    if (pthread_create(&ids[i], NULL, work, &workers[i])) exit(1);
  }
  for (int i = 0; i < threads; i++) {
    pthread_join(ids[i], NULL);
    sum += workers[i].sum;
  }
  pthread_barrier_destroy(&barrier);
  qsort(seconds, (size_t)passes, sizeof *seconds, ascending);
  return sum;
}

static long argument(int count, char **values, int index, long otherwise, long most) {
  long value = count > index ? atol(values[index]) : otherwise;
  if (value >= 1 && value <= most) return value;
  fprintf(stderr, "bandwidth: argument %d must be 1..%ld\n", index, most);
  exit(2);
}

int main(int count, char **values) {
  size_t bytes = (size_t)argument(count, values, 1, 700, 100000) * 1000000 / HUGE_PAGE * HUGE_PAGE;
  int threads = (int)argument(count, values, 2, 1, MAX_THREADS);
  int passes = (int)argument(count, values, 3, 15, MAX_PASSES);
  double seconds[MAX_PASSES];
  uint64_t sum = 0;
  printf("{\"bytes\": %zu, \"threads\": %d, \"passes\": %d", bytes, threads, passes);
  for (int huge = 0; huge < 2; huge++) {
    uint64_t *data = bytes ? aligned_alloc(HUGE_PAGE, bytes) : NULL;
    if (!data) return fprintf(stderr, "bandwidth: no memory for %zu bytes\n", bytes), 1;
    madvise(data, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(data, 1, bytes);
    sum += measure(data, bytes, threads, passes, seconds);
    printf(", \"%s\": {\"median\": %.2f, \"best\": %.2f}", huge ? "huge_pages" : "small_pages",
           (double)bytes / seconds[passes / 2] * 1e-9, (double)bytes / seconds[0] * 1e-9);
    free(data);
  }
  printf(", \"checksum\": \"%llx\"}\n", (unsigned long long)sum);
  return 0;
}
