/* Runs every entry of an artifact once between markers, on one thread, so that the counting plugin sees each alone:
 *
 *   count WEIGHTS VARIANT PROMPT DECODE       VARIANT "" is the best that the CPU runs
 *
 * PROMPT tokens go through "prefill", then DECODE single tokens through "decode". Prints one line of JSON: the variant,
 * the threads, and the intervals in order, each with its entry, how many rows went through it, the position of the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeq.h"
#include "marker.h"

typedef struct {
  const char *separator;
  edgeq_context *ctx;
} counting;

static void check(const counting *c, int status)
{
  if (!status) return;
  fprintf(stderr, "%s\n", edgeq_error(c->ctx));
  exit(status);
}

static void said(counting *c, const char *entry, int32_t rows, int32_t position)
{
  printf("%s{\"entry\": \"%s\", \"rows\": %d, \"position\": %d}", c->separator, entry, rows, position);
  c->separator = ", ";
}

static void feed(counting *c, const char *entry, const int32_t *ids, int32_t n)
{
  int32_t position = edgeq_position(c->ctx);
  edgeq_mark(1);
  int status = edgeq_feed(c->ctx, ids, n);
  edgeq_mark(0);
  check(c, status);
  said(c, entry, n, position);
}

/* Values decide nothing of what is executed; integers stay within their limits, masks are all ones. */
static void fill(const edgeq_tensor *t)
{
  int64_t rows = 1;
  int32_t lanes = t->rank ? t->shape[t->rank - 1] : 1;
  for (int i = 0; i + 1 < t->rank; i++) rows *= t->shape[i];
  for (int64_t r = 0; r < rows; r++)
    for (int32_t j = 0; j < lanes; j++) {
      int64_t at = r * t->row_stride + j, value = (r * 31 + j) * 7;
      if (t->dtype == EDGEQ_F32)
        ((float *)t->data)[at] = (float)(value % 17 - 8) / 8;
      else
        ((int32_t *)t->data)[at] = t->limit ? (int32_t)(value % t->limit) : 1;
    }
}

static void run_static(counting *c, int32_t entry, const edgeq_entry_facts *facts)
{
  for (int32_t i = 0; i < facts->inputs; i++) {
    edgeq_tensor tensor;
    check(c, edgeq_tensor_info(c->ctx, entry, EDGEQ_INPUT, i, &tensor));
    fill(&tensor);
  }
  edgeq_mark(1);
  int status = edgeq_run(c->ctx, entry);
  edgeq_mark(0);
  check(c, status);
  said(c, facts->name, 1, 0);
}

static void feed_tokens(counting *c, const edgeq_facts *facts, int32_t prompt, int32_t decode)
{
  int32_t *ids = malloc(sizeof *ids * (size_t)(prompt + 1));
  if (!ids) exit(1);
  for (int32_t i = 0; i <= prompt; i++) ids[i] = (int32_t)((int64_t)i * 7919 % facts->vocab);
  if (prompt && facts->chunk > 1) feed(c, "prefill", ids, prompt);
  for (int32_t i = edgeq_position(c->ctx); i < prompt; i++) check(c, edgeq_feed(c->ctx, &ids[i], 1));
  for (int32_t i = 0; i < decode; i++) feed(c, "decode", &ids[prompt], 1);
  free(ids);
}

int main(int argc, char **argv)
{
  if (argc != 5) return 2;
  edgeq_options options = {.threads = 1, .flags = EDGEQ_SKIP_HASH | EDGEQ_FIXED_THREADS, .variant = argv[2][0] ? argv[2] : NULL};
  counting c = {"", NULL};
  check(&c, edgeq_open(argv[1], &options, &c.ctx));
  edgeq_facts facts;
  check(&c, edgeq_info(c.ctx, &facts));
  printf("{\"variant\": \"%s\", \"threads\": %d, \"intervals\": [", facts.variant, facts.threads);
  for (int32_t e = 0; e < facts.entries; e++) {
    edgeq_entry_facts entry;
    check(&c, edgeq_entry_info(c.ctx, e, &entry));
    if (entry.kind == EDGEQ_STATIC) run_static(&c, e, &entry);
  }
  if (facts.vocab) feed_tokens(&c, &facts, atoi(argv[3]), atoi(argv[4]));
  puts("]}");
  edgeq_close(c.ctx);
  return 0;
}
