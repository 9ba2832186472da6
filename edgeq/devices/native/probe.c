/* probe: what edgeq needs on a device besides a shell, one static executable.
 *
 *   probe facts | rates          one JSON object
 *   probe hash FILE...           hash, bytes, path of each
 *   probe sweep FOLDER SECONDS   delete half-pushed files
 *   probe guard SECONDS PROGRAM ARGUMENT...   run it until the link is cut */
#include "native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* 1, 2, ... up to 8 threads, then doubling, and all. */
static int next_threads(int n, int all)
{
  int next = n < 8 ? n + 1 : 2 * n;
  return n < all && next > all ? all : next;
}

static void print_reading(json *j, int all)
{
  json_open(j, "bandwidth", '[');
  for (int n = 1; n <= all; n = next_threads(n, all)) {
    read_rate rate = measure_reading(n);
    if (rate.buffer_bytes) print_read_rate(j, NULL, &rate);
  }
  json_close(j, ']');
}

static void print_peak(json *j, int threads)
{
  const char *instruction = "";
  double rate = int8_peak(threads, &instruction);
  if (rate <= 0) return;
  json_open(j, NULL, '{');
  json_integer(j, "threads", (uint64_t)threads);
  json_number(j, "ops_per_s", rate);
  json_text(j, "instruction", instruction);
  json_close(j, '}');
}

static void print_rates(json *j)
{
  int all = edgeq_usable_cores();
  print_reading(j, all);
  json_open(j, "int8", '[');
  print_peak(j, 1);
  if (all > 1) print_peak(j, all);
  json_close(j, ']');
}

static int print_object(void (*print)(json *))
{
  json j = {0};
  json_open(&j, NULL, '{');
  print(&j);
  json_close(&j, '}');
  putchar('\n');
  return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "facts")) return print_object(print_facts);
  if (!strcmp(what, "rates")) return print_object(print_rates);
  if (!strcmp(what, "hash")) return print_hashes(argc - 2, argv + 2);
  if (!strcmp(what, "sweep") && argc == 4) return sweep(argv[2], atol(argv[3]));
  if (!strcmp(what, "guard") && argc >= 4) return guard(atof(argv[2]), argv + 3);
  fputs("probe facts | rates | hash FILE... | sweep FOLDER SECONDS | guard SECONDS PROGRAM ...\n", stderr);
  return 2;
}
