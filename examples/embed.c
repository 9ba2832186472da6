/* Embeds a text with a compiled encoder, from C, with nothing else installed: token ids in, a vector of length one out.
 *
 *   cc -O2 -I edgeq/runtime examples/embed.c -L MODEL -l:model.so -Wl,-rpath,MODEL -lm -o embed
 *   ./embed MODEL 101 7592 2088 102
 *
 * The smallest entry that holds the tokens is run, padded and masked. Its first output is the embedding; where it is a row a
 * token, their mean. Exit code: 0, or the edgeq_status of what failed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeq.h"

static int fail(edgeq_context *ctx, int status, const char *text)
{
  fprintf(stderr, "%s\n", text ? text : edgeq_error(ctx));
  edgeq_close(ctx);
  return status;
}

/* 1 and the tensor of that name, or 0. */
static int find(edgeq_context *ctx, int32_t entry, edgeq_side side, const char *name, edgeq_tensor *out)
{
  for (int32_t i = 0; !edgeq_tensor_info(ctx, entry, side, i, out); i++)
    if (!strcmp(out->name, name)) return 1;
  return 0;
}

/* The smallest entry that takes a text of n tokens, -1: none. */
static int32_t choose(edgeq_context *ctx, int32_t n)
{
  edgeq_facts facts;
  edgeq_tensor ids;
  int32_t best = -1, size = INT32_MAX;
  edgeq_info(ctx, &facts);
  for (int32_t entry = 0; entry < facts.entries; entry++) {
    int fits = find(ctx, entry, EDGEQ_INPUT, "input_ids", &ids) && ids.rank == 2 && ids.shape[1] >= n;
    if (fits && ids.shape[0] * ids.shape[1] < size) {
      best = entry;
      size = ids.shape[0] * ids.shape[1];
    }
  }
  return best;
}

/* Into row 0 of the batch. What lies behind the text is masked: any token will do there, 0 always exists. */
static void write_text(edgeq_context *ctx, int32_t entry, char **words, int32_t n)
{
  edgeq_tensor t;
  if (find(ctx, entry, EDGEQ_INPUT, "input_ids", &t))
    for (int32_t i = 0; i < t.shape[1]; i++) ((int32_t *)t.data)[i] = i < n ? atoi(words[i]) : 0;
  if (find(ctx, entry, EDGEQ_INPUT, "attention_mask", &t))
    for (int32_t i = 0; i < t.shape[1]; i++) ((int32_t *)t.data)[i] = i < n;
}

static void print_embedding(const edgeq_tensor *t, int32_t n)
{
  int32_t width = t->shape[t->rank - 1], rows = t->rank == 3 ? n : 1;
  double square = 0, *sum = calloc((size_t)width, sizeof *sum);
  for (int32_t r = 0; sum && r < rows; r++)
    for (int32_t i = 0; i < width; i++) sum[i] += ((const float *)t->data)[r * t->row_stride + i];
  for (int32_t i = 0; sum && i < width; i++) square += sum[i] * sum[i];
  for (int32_t i = 0; sum && i < width; i++) printf(i ? " %.6f" : "%.6f", sum[i] / sqrt(square));
  printf("\n");
  free(sum);
}

int main(int argc, char **argv)
{
  edgeq_context *ctx;
  edgeq_tensor output;
  int32_t n = argc - 2;
  if (n < 1) {
    fprintf(stderr, "usage: embed MODEL ID...\n");
    return EDGEQ_USAGE;
  }
  int status = edgeq_open(argv[1], NULL, &ctx);
  if (status) return fail(ctx, status, NULL);
  int32_t entry = choose(ctx, n);
  if (entry < 0) return fail(ctx, EDGEQ_CONTEXT, "no entry takes a text of so many tokens: compile with a longer --lengths");
  write_text(ctx, entry, argv + 2, n);
  status = edgeq_run(ctx, entry);
  if (!status) status = edgeq_tensor_info(ctx, entry, EDGEQ_OUTPUT, 0, &output);
  if (status) return fail(ctx, status, NULL);
  print_embedding(&output, n);
  edgeq_close(ctx);
  return 0;
}
