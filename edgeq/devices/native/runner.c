/* runner: measures the model that it is linked with; one JSON object on stdout, of raw samples: the host summarises.
 *
 *   runner WEIGHTS [--prefill 512,128] [--decode 128] [--first 128] [--repeats 5] [--budget SECONDS] [--cool SECONDS]
 *                  [--threads N] [--variant NAME]
 *
 * Exit code: an edgeq_status; then stderr says what is wrong. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void check(const run *r, int status)
{
  if (!status) return;
  fprintf(stderr, "%s\n", edgeq_error(r->ctx));
  exit(status);
}

static void set_lengths(settings *s, const char *text)
{
  char *end = NULL;
  for (s->lengths = 0; *text && s->lengths < MOST_LENGTHS; text = end + (*end == ',')) {
    s->prefill[s->lengths++] = (int32_t)strtol(text, &end, 10);
    if (end == text) break;
  }
}

static int set_option(settings *s, const char *name, const char *value)
{
  if (!strcmp(name, "--prefill")) set_lengths(s, value);
  else if (!strcmp(name, "--decode")) s->decode = atoi(value);
  else if (!strcmp(name, "--first")) s->first = atoi(value);
  else if (!strcmp(name, "--repeats")) s->repeats = atoi(value);
  else if (!strcmp(name, "--threads")) s->threads = atoi(value);
  else if (!strcmp(name, "--budget")) s->budget_s = atof(value);
  else if (!strcmp(name, "--cool")) s->cool_s = atof(value);
  else if (!strcmp(name, "--variant")) s->variant = value;
  else return EDGEQ_USAGE;
  return EDGEQ_OK;
}

static int parse(settings *s, int argc, char **argv)
{
  *s = (settings){.repeats = 5, .budget_s = 15, .cool_s = 120};
  if (argc < 2 || argc % 2) return EDGEQ_USAGE;
  s->weights = argv[1];
  for (int i = 2; i < argc; i += 2)
    if (set_option(s, argv[i], argv[i + 1])) return EDGEQ_USAGE;
  return s->repeats < 1 || s->repeats > MOST_SAMPLES ? EDGEQ_USAGE : EDGEQ_OK;
}

/* Bytes of a field of /proc/self/status; 0 when the system does not say. */
static uint64_t status_bytes(const char *field)
{
  char line[128];
  unsigned long long kb = 0;
  FILE *f = fopen("/proc/self/status", "re");
  while (f && fgets(line, sizeof line, f))
    if (!strncmp(line, field, strlen(field)) && sscanf(line + strlen(field), ": %llu", &kb) == 1) break;
  if (f) fclose(f);
  return kb << 10;
}

static void forget_peak(void)
{
  FILE *f = fopen("/proc/self/clear_refs", "we");
  if (!f) return;
  fputs("5", f);
  fclose(f);
}

static double open_model(run *r)
{
  const settings *s = r->set;
  edgeq_options options = {.threads = s->threads, .variant = s->variant};
  double start = now_s();
  check(r, edgeq_open(s->weights, &options, &r->ctx));
  double seconds = now_s() - start;
  check(r, edgeq_info(r->ctx, &r->facts));
  return seconds;
}

static void print_info(run *r, double load_s)
{
  json_text(&r->j, "variant", r->facts.variant);
  json_integer(&r->j, "threads", (uint64_t)r->facts.threads);
  json_integer(&r->j, "context", (uint64_t)r->facts.context);
  json_number(&r->j, "load_seconds", load_s);
}

static void print_memory(json *j, uint64_t before)
{
  json_open(j, "memory", '{');
  json_integer(j, "VmRSS_before_load", before);
  json_integer(j, "VmRSS", status_bytes("VmRSS"));
  json_integer(j, "VmHWM", status_bytes("VmHWM"));
  json_close(j, '}');
}

/* The ceiling is measured before the model is opened and after its memory was read: the buffer is no part of the model. */
static void measure(run *r)
{
  int threads = r->set->threads ? r->set->threads : edgeq_usable_cores();
  read_rate before = measure_reading(threads);
  forget_peak();
  uint64_t resident = status_bytes("VmRSS");
  cooling_start(&r->heat, r->set->cool_s);
  double load_s = open_model(r);
  json_open(&r->j, NULL, '{');
  print_info(r, load_s);
  print_latencies(r);
  print_speeds(r);
  print_regions(r);
  print_memory(&r->j, resident);
  print_cooling(&r->j, &r->heat);
  read_rate after = measure_reading(threads);
  print_read_rate(&r->j, "bandwidth", after.bytes_per_s > before.bytes_per_s ? &after : &before);
  json_close(&r->j, '}');
  putchar('\n');
}

int main(int argc, char **argv)
{
  settings set;
  run r = {.set = &set};
  if (parse(&set, argc, argv)) return fputs("runner WEIGHTS [--prefill N,N] [--decode N] ...: see runner.c\n", stderr), EDGEQ_USAGE;
  measure(&r);
  edgeq_close(r.ctx);
  return fflush(stdout) ? EDGEQ_FAILED : EDGEQ_OK;
}
