/* Runs the static entries of toy_static.c as a C program would, from several threads, for builds with sanitizers: argv[1] is
 * the weights. Prints a sum of scores that does not depend on the number of threads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeq.h"

static const char *path;

static edgeq_tensor tensor(edgeq_context *ctx, int32_t entry, edgeq_side side, const char *name)
{
  edgeq_tensor t;
  for (int32_t i = 0; !edgeq_tensor_info(ctx, entry, side, i, &t); i++)
    if (!strcmp(t.name, name)) return t;
  exit(2);
}

/* Writes seeded numbers into a tensor's rows, leaving the lanes after them alone. */
static void fill(edgeq_tensor t, unsigned seed)
{
  int32_t rows = t.rank > 1 ? t.shape[0] : 1, width = t.shape[t.rank - 1];
  for (int32_t r = 0; r < rows; r++)
    for (int32_t i = 0; i < width; i++) {
      seed = seed * 1664525u + 1013904223u;
      if (t.dtype == EDGEQ_I32) ((int32_t *)t.data)[r * t.row_stride + i] = (int32_t)(seed >> 8) % (t.limit ? t.limit : 2);
      else ((float *)t.data)[r * t.row_stride + i] = (float)(seed >> 30);
    }
}

static double use(int32_t threads, uint32_t flags)
{
  const edgeq_options options = {threads, flags, NULL};
  edgeq_context *ctx;
  int32_t encode, score, token = 3;
  double sum = 0;
  if (edgeq_open(path, &options, &ctx)) exit(3);
  if (edgeq_find_entry(ctx, "encode", &encode) || edgeq_find_entry(ctx, "score", &score)) exit(4);
  if (edgeq_find_entry(ctx, "no such", &token) != EDGEQ_USAGE || edgeq_feed(ctx, &token, 1) != EDGEQ_USAGE) exit(5);
  edgeq_profile(ctx, 1);
  for (unsigned round = 0; round < 40; round++) {
    fill(tensor(ctx, encode, EDGEQ_INPUT, "input_ids"), round);
    fill(tensor(ctx, encode, EDGEQ_INPUT, "attention_mask"), round);
    fill(tensor(ctx, score, EDGEQ_INPUT, "query"), round);
    if (edgeq_run(ctx, encode) || edgeq_run(ctx, score)) exit(6);
    edgeq_tensor scores = tensor(ctx, score, EDGEQ_OUTPUT, "scores");
    for (int i = 0; i < scores.shape[0] * scores.shape[1]; i++) sum += ((float *)scores.data)[i];
    if (edgeq_rewind(ctx, 0) || edgeq_feed(ctx, &token, 1)) exit(7);
    sum += edgeq_logits(ctx)[round];
  }
  ((int32_t *)tensor(ctx, encode, EDGEQ_INPUT, "input_ids").data)[0] = 1 << 30;
  if (edgeq_run(ctx, encode) != EDGEQ_USAGE || edgeq_run_region(ctx, encode, 0, NULL, 1, 0, 2) != EDGEQ_USAGE) exit(8);
  edgeq_close(ctx);
  return sum;
}

static void *use_in_thread(void *result)
{
  for (int i = 0; i < 3; i++) *(double *)result = use(2, 0);
  return NULL;
}

int main(int argc, char **argv)
{
  if (argc != 2) return 1;
  path = argv[1];
  double sums[5] = {use(1, 0), use(2, 0), use(3, EDGEQ_FIXED_THREADS)};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, use_in_thread, &sums[3 + i]);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (int i = 1; i < 5; i++)
    if (sums[i] != sums[0]) return 9;
  printf("%.0f\n", sums[0]);
  return 0;
}
