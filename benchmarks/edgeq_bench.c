/* One benchmark round of an edgeq artifact, from plain C: no Python in the process.
 *
 *   edgeq_bench ARTIFACT THREADS PROMPT DECODE SHORT STARTED_AT
 *
 * PROMPT, DECODE and SHORT are tokens (PROMPT 0: no prefill test); STARTED_AT is the monotonic clock, in seconds,
 * just before this process was started. Prints one JSON object, the fields of peers/runner.py's Round. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edgeq.h"

enum { MAX_PROMPT = 8192 };

/* The functions used, by the names that edgeq.h gives them. */
static struct {
  __typeof__(&edgeq_version) version;
  __typeof__(&edgeq_open) open;
  __typeof__(&edgeq_close) close;
  __typeof__(&edgeq_error) error;
  __typeof__(&edgeq_info) info;
  __typeof__(&edgeq_feed) feed;
  __typeof__(&edgeq_sample) sample;
  __typeof__(&edgeq_rewind) rewind;
} api;

static edgeq_context *ctx;
static edgeq_facts facts;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what, const char *why) {
  fprintf(stderr, "edgeq_bench: %s: %s\n", what, why ? why : "unknown");
  exit(1);
}

static void check(int status, const char *what) {
  if (status) fail(what, api.error(ctx));
}

static void *symbol(void *library, const char *name) {
  void *found = dlsym(library, name);
  if (!found) fail(name, dlerror());
  return found;
}

static void load(const char *artifact) {
  char path[4096];
  snprintf(path, sizeof path, "%s/model.so", artifact);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail("cannot load", dlerror());
#define LOAD(name) api.name = (__typeof__(api.name))symbol(library, "edgeq_" #name)
  LOAD(version), LOAD(open), LOAD(close), LOAD(error), LOAD(info), LOAD(feed), LOAD(sample), LOAD(rewind);
#undef LOAD
  if (api.version() != EDGEQ_API_VERSION) fail("model.so", "made for another version of the C API");
}

/* Seconds for a random prompt of n tokens from position 0 on, the first answer token included. */
static double prefill(int n, unsigned seed, int32_t *token) {
  static int32_t ids[MAX_PROMPT];
  for (int i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    ids[i] = (int32_t)(seed >> 8) % facts.vocab;
  }
  check(api.rewind(ctx, 0), "rewind");
  double start = now();
  check(api.feed(ctx, ids, n), "prefill");
  check(api.sample(ctx, NULL, token), "sample");
  return now() - start;
}

/* Seconds for `count` greedy tokens after `token`. */
static double decode(int count, int32_t token) {
  double start = now();
  for (int i = 0; i < count; i++) {
    check(api.feed(ctx, &token, 1), "decode");
    check(api.sample(ctx, NULL, &token), "sample");
  }
  return now() - start;
}

/* A line of /proc/self/status (kB) in MB of 10^6 bytes. */
static double status_mb(const char *key) {
  char line[256];
  double kib = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, key, strlen(key))) kib = atof(line + strlen(key) + 1);
  if (file) fclose(file);
  return kib * 1.024e-3;
}

int main(int count, char **words) {
  if (count != 7) fail("usage", "ARTIFACT THREADS PROMPT DECODE SHORT STARTED_AT");
  edgeq_options options = {.threads = atoi(words[2])};
  int prompt = atoi(words[3]), tokens = atoi(words[4]), brief = atoi(words[5]);
  double started = atof(words[6]);
  int32_t token;
  if (prompt > MAX_PROMPT || brief < 1 || brief > MAX_PROMPT || tokens < 1) fail("usage", "token counts out of range");

  load(words[1]);
  check(api.open(words[1], &options, &ctx), "open");
  check(api.info(ctx, &facts), "info");
  prefill(brief, 1, &token);
  double first = now() - started;

  printf("{\"first_token_s\": %.6f, ", first);
  if (prompt) {
    prefill(prompt, 2, &token); /* warm up */
    printf("\"prefill_tok_s\": %.3f, ", prompt / prefill(prompt, 3, &token));
  }
  prefill(brief, 4, &token);
  decode(brief, token); /* warm up */
  prefill(brief, 5, &token);
  double seconds = decode(tokens, token);
  printf("\"decode_tok_s\": %.3f, \"rss_mb\": %.3f, \"peak_mb\": %.3f, ", tokens / seconds, status_mb("VmRSS"),
         status_mb("VmHWM"));
  printf("\"weights_bytes\": %llu, \"version\": \"%s, %d threads\"}\n", (unsigned long long)facts.weights_bytes,
         facts.variant, facts.threads);
  api.close(ctx);
  return 0;
}
