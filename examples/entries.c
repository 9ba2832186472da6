/* Lists what a compiled model can be asked: its entries, and the tensors each takes and gives.
 *
 *   cc -O2 -I edgeq/runtime examples/entries.c -L MODEL -l:model.so -Wl,-rpath,MODEL -o entries
 *   ./entries MODEL                    the list
 *   ./entries MODEL image -n 10        runs a static entry 10 times on zeros and says how long a run takes
 *
 * Exit code: 0, or the edgeq_status of what failed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edgeq.h"

static int fail(edgeq_context *ctx, int status)
{
  fprintf(stderr, "%s\n", edgeq_error(ctx));
  edgeq_close(ctx);
  return status;
}

static void print_tensor(const char *side, const edgeq_tensor *t)
{
  printf("  %s %s %s[", side, t->name, t->dtype == EDGEQ_I32 ? "int32" : "float32");
  for (int32_t i = 0; i < t->rank; i++) printf(i ? ", %d" : "%d", t->shape[i]);
  printf("]");
  if (t->rank && t->row_stride != t->shape[t->rank - 1]) printf(", rows %d apart", t->row_stride);
  if (t->limit) printf(", values 0..%d", t->limit - 1);
  printf("\n");
}

static void print_entry(edgeq_context *ctx, int32_t entry)
{
  edgeq_entry_facts facts;
  edgeq_tensor t;
  edgeq_entry_info(ctx, entry, &facts);
  if (facts.kind == EDGEQ_TOKENS) printf("%s: tokens, up to %d at once (edgeq_feed)\n", facts.name, facts.max_rows);
  else printf("%s: static (edgeq_run)\n", facts.name);
  for (int32_t i = 0; i < facts.inputs && !edgeq_tensor_info(ctx, entry, EDGEQ_INPUT, i, &t); i++) print_tensor("in ", &t);
  for (int32_t i = 0; i < facts.outputs && !edgeq_tensor_info(ctx, entry, EDGEQ_OUTPUT, i, &t); i++) print_tensor("out", &t);
}

static double milliseconds(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* The inputs hold zeros until somebody writes them. */
static int time_entry(edgeq_context *ctx, const char *name, int runs)
{
  int32_t entry;
  int status = edgeq_find_entry(ctx, name, &entry);
  if (!status) status = edgeq_run(ctx, entry);
  double start = milliseconds();
  for (int i = 0; i < runs && !status; i++) status = edgeq_run(ctx, entry);
  if (!status) printf("%s: %.3f ms a run\n", name, (milliseconds() - start) / runs);
  return status;
}

int main(int argc, char **argv)
{
  edgeq_context *ctx;
  edgeq_facts facts;
  int runs = argc == 5 && !strcmp(argv[3], "-n") ? atoi(argv[4]) : 1;
  if (argc < 2 || argc == 4 || argc > 5 || runs < 1) {
    fprintf(stderr, "usage: entries MODEL [ENTRY [-n RUNS]]\n");
    return EDGEQ_USAGE;
  }
  int status = edgeq_open(argv[1], NULL, &ctx);
  if (status) return fail(ctx, status);
  edgeq_info(ctx, &facts);
  if (argc == 2)
    for (int32_t i = 0; i < facts.entries; i++) print_entry(ctx, i);
  else status = time_entry(ctx, argv[2], runs);
  if (status) return fail(ctx, status);
  edgeq_close(ctx);
  return 0;
}
