/* Drives an artifact for the tests: `drive WEIGHTS VARIANT THREADS`, variant "-" for the CPU's own choice. Lines on stdin:
 *   feed N id...                  tokens; their logits come out
 *   run ENTRY N (I value...)...   N inputs, each its number and values; the values of every output come out
 * Values come out as they are in memory, 4 bytes each; the variant and failures go to stderr; exits with the status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeq.h"

static int failed(edgeq_context *ctx, int status)
{
  if (status) fprintf(stderr, "%s\n", edgeq_error(ctx));
  return status;
}

static int feed(edgeq_context *ctx, int32_t vocab)
{
  int n = 0;
  if (scanf("%d", &n) != 1) return EDGEQ_USAGE;
  int32_t *ids = malloc(sizeof *ids * (size_t)n);
  for (int i = 0; i < n; i++)
    if (scanf("%d", &ids[i]) != 1) return EDGEQ_USAGE;
  int status = edgeq_feed(ctx, ids, n);
  free(ids);
  if (!status) fwrite(edgeq_logits(ctx), 4, (size_t)vocab, stdout);
  return status;
}

static int read_value(const edgeq_tensor *t, size_t at)
{
  float number;
  if (t->dtype == EDGEQ_I32) return scanf("%d", (int32_t *)t->data + at) == 1;
  if (scanf("%f", &number) != 1) return 0;
  ((float *)t->data)[at] = number;
  return 1;
}

/* Reads (input) or writes (output) what a tensor holds, without the unused lanes. */
static int move(const edgeq_tensor *t, edgeq_side side)
{
  size_t rows = 1, width = t->rank ? (size_t)t->shape[t->rank - 1] : 1;
  for (int i = 0; i + 1 < t->rank; i++) rows *= (size_t)t->shape[i];
  for (size_t r = 0; r < rows; r++) {
    size_t start = r * (size_t)t->row_stride;
    if (side == EDGEQ_OUTPUT) fwrite((char *)t->data + 4 * start, 4, width, stdout);
    for (size_t i = 0; side == EDGEQ_INPUT && i < width; i++)
      if (!read_value(t, start + i)) return EDGEQ_USAGE;
  }
  return EDGEQ_OK;
}

static int read_inputs(edgeq_context *ctx, int32_t entry)
{
  int given, index, status = EDGEQ_OK;
  if (scanf("%d", &given) != 1) return EDGEQ_USAGE;
  for (int i = 0; i < given && !status; i++) {
    edgeq_tensor t;
    if (scanf("%d", &index) != 1) return EDGEQ_USAGE;
    status = edgeq_tensor_info(ctx, entry, EDGEQ_INPUT, index, &t);
    if (!status) status = move(&t, EDGEQ_INPUT);
  }
  return status;
}

static int write_outputs(edgeq_context *ctx, int32_t entry)
{
  edgeq_entry_facts facts;
  int status = edgeq_entry_info(ctx, entry, &facts);
  for (int32_t i = 0; !status && i < facts.outputs; i++) {
    edgeq_tensor t;
    status = edgeq_tensor_info(ctx, entry, EDGEQ_OUTPUT, i, &t);
    if (!status) move(&t, EDGEQ_OUTPUT);
  }
  return status;
}

static int run(edgeq_context *ctx)
{
  char name[64];
  int32_t entry;
  if (scanf("%63s", name) != 1) return EDGEQ_USAGE;
  int status = edgeq_find_entry(ctx, name, &entry);
  if (!status) status = read_inputs(ctx, entry);
  if (!status) status = edgeq_run(ctx, entry);
  return status ? status : write_outputs(ctx, entry);
}

int main(int argc, char **argv)
{
  if (argc != 4) return EDGEQ_USAGE;
  edgeq_options options = {.threads = atoi(argv[3]), .variant = strcmp(argv[2], "-") ? argv[2] : NULL};
  edgeq_context *ctx;
  edgeq_facts facts;
  int status = edgeq_open(argv[1], &options, &ctx);
  if (!status) status = edgeq_info(ctx, &facts);
  if (!status) fprintf(stderr, "variant %s\n", facts.variant);
  char verb[8];
  while (!status && scanf("%7s", verb) == 1) status = strcmp(verb, "feed") ? run(ctx) : feed(ctx, facts.vocab);
  failed(ctx, status);
  edgeq_close(ctx);
  return status;
}
