/* --bench: how fast the model runs here. Repeats until the spread is small, or says that it is not. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "parts.h"

#define LEAST 5
#define MOST 30
#define STABLE 0.03 /* standard deviation over mean */
#define BUDGET_NS 5000000000u
#define PROMPT 256
#define ANSWER 32
#define PIECE 16 /* tokens of a prompt, and of an answer, that are tried first */
#define WORD 2

typedef struct {
  edgeq_app *app;
  edgeq_facts facts;
  int32_t tokens, from; /* of a prompt or an answer, 0: a static entry; the position before it */
  int32_t entry;
  const char *what;
  int (*run)(void *bench);
  int32_t *prompt;
} bench;

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double spread(const double *sample, int n)
{
  double mean = 0, squares = 0;
  for (int i = 0; i < n; i++) mean += sample[i] / n;
  for (int i = 0; i < n; i++) squares += (sample[i] - mean) * (sample[i] - mean);
  return n > 1 ? sqrt(squares / (n - 1)) / mean : INFINITY;
}

/* One run from where it begins; its seconds. */
static int run_once(bench *b, double *seconds)
{
  int status = b->tokens ? edgeq_rewind(b->app->ctx, b->from) : EDGEQ_OK;
  uint64_t start = edgeq_app_now_ns();
  if (!status) status = b->run(b);
  *seconds = (double)(edgeq_app_now_ns() - start) * 1e-9;
  return status;
}

static int is_stable(const double *seconds, int n) { return n >= LEAST && spread(seconds, n) <= STABLE; }

/* Seconds of runs, sorted; their number, or a negative status. The first run warms up: where the budget holds no other it
 * is the result. */
static int sample(bench *b, double *seconds)
{
  uint64_t begin = edgeq_app_now_ns();
  int n = 0, status = run_once(b, seconds);
  while (!status && n < MOST && edgeq_app_now_ns() - begin < BUDGET_NS && !is_stable(seconds, n))
    status = run_once(b, &seconds[n++]);
  if (!n) n = 1;
  if (status) return -edgeq_app_failed(b->app, status);
  qsort(seconds, (size_t)n, sizeof *seconds, by_size);
  return n;
}

/* The spread of one run is null. */
static void print_json(const bench *b, const char *name, double median, const double *seconds, int n)
{
  printf(", \"%s\": {\"%s\": %.6g, \"runs\": %d, \"spread\": ", name, b->tokens ? "tokens_per_second" : "seconds",
         b->tokens ? b->tokens / median : median, n);
  printf(n > 1 ? "%.4f" : "null", spread(seconds, n));
  printf(", \"stable\": %s", is_stable(seconds, n) ? "true" : "false");
  if (b->tokens) printf(", \"tokens\": %d", b->tokens);
  putchar('}');
}

static int measure(bench *b, const char *name)
{
  double seconds[MOST];
  edgeq_app_note(b->app, "measure %s, some %d s", name, (int)(BUDGET_NS / 1000000000u));
  int n = sample(b, seconds);
  if (n < 0) return -n;
  double median = (seconds[(n - 1) / 2] + seconds[n / 2]) / 2, speed = b->tokens / median;
  if (b->app->options.json) {
    print_json(b, name, median, seconds, n);
    return EDGEQ_OK;
  }
  if (b->tokens) printf("%-10s %9.*f tok/s   %d %s", name, speed < 1 ? 2 : 1, speed, b->tokens, b->what);
  else printf("%-10s %9.3f ms      %s", name, median * 1e3, b->what);
  if (n > 1) printf(", median of %d runs, spread %.1f %%", n, spread(seconds, n) * 100);
  else printf(", one run");
  puts(is_stable(seconds, n) ? "" : ": not stable");
  fflush(stdout);
  return EDGEQ_OK;
}

static int run_prompt(void *bench_)
{
  bench *b = bench_;
  return edgeq_feed(b->app->ctx, b->prompt, b->tokens);
}

static int run_answer(void *bench_)
{
  bench *b = bench_;
  int32_t id = b->prompt[0];
  for (int32_t i = 0; i < b->tokens; i++) {
    int status = edgeq_feed(b->app->ctx, &id, 1);
    if (!status) status = edgeq_sample(b->app->ctx, NULL, &id);
    if (status) return status;
  }
  return EDGEQ_OK;
}

static int run_entry(void *bench_)
{
  bench *b = bench_;
  return edgeq_run(b->app->ctx, b->entry);
}

/* Fewer tokens a run where `piece` of them say that the budget would not hold LEAST runs. */
static int shorten(bench *b, int32_t piece)
{
  double seconds, most = (double)BUDGET_NS * 1e-9 / (LEAST + 1);
  int32_t whole = b->tokens;
  if (piece >= whole) return EDGEQ_OK;
  b->tokens = piece;
  int status = run_once(b, &seconds);
  if (status) return edgeq_app_failed(b->app, status);
  double fit = most / seconds * piece;
  b->tokens = fit >= whole ? whole : fit > piece ? (int32_t)fit : piece;
  return EDGEQ_OK;
}

static int measure_shortened(bench *b, const char *name, int32_t piece)
{
  int status = shorten(b, piece);
  return status ? status : measure(b, name);
}

/* A prompt of half the context at most, then an answer of a quarter at most. */
static int measure_tokens(bench *b)
{
  int32_t context = b->facts.context, rows = context / 2 < PROMPT ? context / 2 : PROMPT;
  if (context < 8) return edgeq_app_fail(b->app, EDGEQ_USAGE, "a context of %d tokens is too short to measure", context);
  b->prompt = edgeq_app_grow(NULL, (size_t)rows * sizeof *b->prompt);
  for (int32_t i = 0; i < rows; i++) b->prompt[i] = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)b->facts.vocab);
  b->tokens = rows;
  b->what = "prompt tokens";
  b->run = run_prompt;
  int status = measure_shortened(b, "prefill", PIECE);
  b->from = b->tokens;
  b->tokens = context / 4 < ANSWER ? context / 4 : ANSWER;
  b->what = "tokens fed and drawn one by one";
  b->run = run_answer;
  if (!status) status = measure_shortened(b, "decode", WORD);
  free(b->prompt);
  return status;
}

/* Masks of ones: no work is saved. Everything else stays zero. */
static int fill(const edgeq_app *app, int32_t entry, int32_t inputs)
{
  edgeq_tensor tensor;
  for (int32_t i = 0; i < inputs; i++) {
    int status = edgeq_tensor_info(app->ctx, entry, EDGEQ_INPUT, i, &tensor);
    if (status) return edgeq_app_failed(app, status);
    if (tensor.dtype != EDGEQ_I32 || tensor.limit || !tensor.rank) continue;
    int32_t width = tensor.shape[tensor.rank - 1], rows = 1;
    for (int32_t axis = 0; axis < tensor.rank - 1; axis++) rows *= tensor.shape[axis];
    for (int32_t r = 0; r < rows; r++)
      for (int32_t c = 0; c < width; c++) ((int32_t *)tensor.data)[r * tensor.row_stride + c] = 1;
  }
  return EDGEQ_OK;
}

static int measure_entries(bench *b)
{
  edgeq_entry_facts entry;
  b->tokens = 0;
  b->what = "a run";
  b->run = run_entry;
  for (int32_t i = 0; i < b->facts.entries; i++) {
    int status = edgeq_entry_info(b->app->ctx, i, &entry);
    if (status || entry.kind != EDGEQ_STATIC) continue;
    b->entry = i;
    status = fill(b->app, i, entry.inputs);
    if (!status) status = measure(b, entry.name);
    if (status) return status;
  }
  return EDGEQ_OK;
}

int edgeq_app_bench(const edgeq_app *app)
{
  bench b = {.app = (edgeq_app *)app};
  int status = edgeq_info(app->ctx, &b.facts);
  if (status) return edgeq_app_failed(app, status);
  if (app->options.json) printf("{\"variant\": \"%s\", \"threads\": %d", b.facts.variant, b.facts.threads);
  else printf("%s, variant %s, %d thread%s\n", edgeq_app_fact(app, "model"), b.facts.variant, b.facts.threads, b.facts.threads == 1 ? "" : "s");
  status = measure_entries(&b);
  if (!status && b.facts.context) status = measure_tokens(&b);
  if (app->options.json) puts("}");
  return status ? status : EDGEQ_APP_DONE;
}
