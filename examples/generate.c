/* Generates with a compiled model, from C, with nothing else installed: no Python, no TVM, no tokenizer.
 *
 *   cc -O2 -I edgeq/runtime examples/generate.c -L MODEL -l:model.so -Wl,-rpath,MODEL -o generate
 *   ./generate MODEL -n 64 -e 2 1 4093 198 ...       token ids as arguments, or on stdin
 *
 * Options: -n N new tokens, -e ID stop token, -T temperature, -k top_k, -p top_p, -s seed, -t threads, -v variant.
 * Token ids go to stdout, speeds to stderr. Exit code: 0, or the edgeq_status of what failed. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "edgeq.h"

typedef struct {
  const char *model;
  int new_tokens, stop;
  edgeq_options open;
  edgeq_sampling sampling;
} settings;

static double seconds(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int usage(void)
{
  fprintf(stderr, "usage: generate MODEL [-n N] [-e STOP] [-T TEMPERATURE] [-k K] [-p P] [-s SEED] [-t THREADS] [-v VARIANT] [ID...]\n");
  return EDGEQ_USAGE;
}

static int fail(edgeq_context *ctx, int status)
{
  fprintf(stderr, "%s\n", edgeq_error(ctx));
  edgeq_close(ctx);
  return status;
}

/* The prompt: ids from the arguments, else from stdin. Returns how many; the caller frees *ids. */
static int read_ids(int count, char **words, int32_t **ids)
{
  int n = 0, room = count > 0 ? count : 1024, id;
  *ids = malloc((size_t)room * sizeof **ids);
  if (count > 0) {
    for (; n < count; n++) (*ids)[n] = atoi(words[n]);
    return n;
  }
  while (*ids && scanf("%d", &id) == 1) {
    if (n == room) *ids = realloc(*ids, (size_t)(room *= 2) * sizeof **ids);
    if (*ids) (*ids)[n++] = id;
  }
  return *ids ? n : 0;
}

static int parse(int argc, char **argv, settings *s)
{
  int option;
  if (argc < 2 || argv[1][0] == '-') return usage();
  s->model = argv[1];
  for (optind = 2; (option = getopt(argc, argv, "+n:e:T:k:p:s:t:v:")) != -1;) {
    if (option == 'n') s->new_tokens = atoi(optarg);
    else if (option == 'e') s->stop = atoi(optarg);
    else if (option == 'T') s->sampling.temperature = (float)atof(optarg);
    else if (option == 'k') s->sampling.top_k = atoi(optarg);
    else if (option == 'p') s->sampling.top_p = (float)atof(optarg);
    else if (option == 's') s->sampling.seed = strtoull(optarg, NULL, 10);
    else if (option == 't') s->open.threads = atoi(optarg);
    else if (option == 'v') s->open.variant = optarg;
    else return usage();
  }
  return 0;
}

/* Draws, prints and feeds until the stop token, `new_tokens`, or the context's end, which is said. */
static int answer(edgeq_context *ctx, const settings *s, int *count)
{
  int32_t id;
  int status = edgeq_sample(ctx, &s->sampling, &id);
  for (*count = 0; !status && id != s->stop; status = edgeq_sample(ctx, &s->sampling, &id)) {
    printf(++*count > 1 ? " %d" : "%d", id);
    fflush(stdout);
    if (*count == s->new_tokens) break;
    status = edgeq_feed(ctx, &id, 1);
    if (status) break;
  }
  printf("\n");
  if (status == EDGEQ_CONTEXT) fprintf(stderr, "stopped: %s\n", edgeq_error(ctx));
  return status == EDGEQ_CONTEXT ? EDGEQ_OK : status;
}

int main(int argc, char **argv)
{
  settings s = {.new_tokens = 64, .stop = -1};
  edgeq_context *ctx;
  edgeq_facts facts;
  int32_t *ids;
  int count = 0, status = parse(argc, argv, &s);
  if (status) return status;
  int prompt = read_ids(argc - optind, argv + optind, &ids);

  double start = seconds();
  status = edgeq_open(s.model, &s.open, &ctx);
  if (status) return fail(ctx, status);
  double opened = seconds();
  status = edgeq_feed(ctx, ids, prompt);
  free(ids);
  if (status) return fail(ctx, status);
  double fed = seconds();
  status = answer(ctx, &s, &count);
  double end = seconds();
  if (status) return fail(ctx, status);

  edgeq_info(ctx, &facts);
  fprintf(stderr, "%s, %s, %d thread%s: opened in %.1f ms, %d prompt tokens in %.1f ms (%.1f tok/s), %d new",
          facts.model, facts.variant, facts.threads, facts.threads == 1 ? "" : "s", 1e3 * (opened - start), prompt,
          1e3 * (fed - opened), prompt / (fed - opened), count);
  if (count > 1) fprintf(stderr, " (%.2f tok/s)", (count - 1) / (end - fed));
  fprintf(stderr, "\n");
  edgeq_close(ctx);
  return 0;
}
