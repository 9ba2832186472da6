/* Read bandwidth with the loops of edgeq/measure/bandwidth.c. */
#include "native.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

#define MB (1ull << 20)
#define LEAST (256 * MB)
enum { PASSES = 7 };

uint64_t edgeq_read_passes(uint64_t size, int threads, int passes, int prefetch, double *seconds);

/* The largest cache of core 0 in bytes; 0 when unknown. */
static uint64_t cache_bytes(void)
{
  uint64_t largest = 0;
  glob_t found;
  if (!glob("/sys/devices/system/cpu/cpu0/cache/index*/size", 0, NULL, &found))
    for (size_t i = 0; i < found.gl_pathc; i++) {
      uint64_t kb = (uint64_t)read_number(found.gl_pathv[i], 0);
      if (kb << 10 > largest) largest = kb << 10;
    }
  globfree(&found);
  return largest;
}

static uint64_t available_bytes(void)
{
  char line[128];
  unsigned long long kb = 0;
  FILE *f = fopen("/proc/meminfo", "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "MemAvailable: %llu", &kb) == 1) break;
  if (f) fclose(f);
  return kb << 10;
}

/* Four times the largest cache and at least LEAST, as edgeq/measure/bandwidth.py; less where memory is short. */
static uint64_t buffer_size(void)
{
  uint64_t size = 4 * cache_bytes(), most = available_bytes() / 4;
  if (size < LEAST) size = LEAST;
  return most && size > most ? most : size;
}

read_rate measure_reading(int threads)
{
  read_rate best = {.threads = threads};
  uint64_t size = buffer_size();
  for (int prefetch = 0; prefetch < 2; prefetch++) {
    double seconds[PASSES], fastest;
    uint64_t bytes = edgeq_read_passes(size, threads, PASSES, prefetch, seconds);
    if (!bytes) return best;
    double rate = (double)bytes / median(seconds, PASSES);
    if (rate <= best.bytes_per_s) continue;
    fastest = seconds[0];
    for (int i = 1; i < PASSES; i++)
      if (seconds[i] < fastest) fastest = seconds[i];
    best = (read_rate){rate, (double)bytes / fastest, bytes, threads, prefetch};
  }
  return best;
}

void print_read_rate(json *j, const char *name, const read_rate *rate)
{
  json_open(j, name, '{');
  json_number(j, "bytes_per_s", rate->bytes_per_s);
  json_number(j, "best_bytes_per_s", rate->best_bytes_per_s);
  json_integer(j, "threads", (uint64_t)rate->threads);
  json_integer(j, "buffer_bytes", rate->buffer_bytes);
  json_flag(j, "prefetch", rate->prefetch);
  json_close(j, '}');
}
