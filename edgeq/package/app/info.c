/* --version and --info. */
#include <stdio.h>

#include "app.h"
#include "parts.h"

typedef unsigned long long ull;

void edgeq_app_version(const edgeq_app *app)
{
  printf("%s (%s, %s) for %s, packaged by edgeq %s\n", edgeq_app_fact(app, "model"), edgeq_app_fact(app, "kind"),
         edgeq_app_fact(app, "bits"), edgeq_app_fact(app, "target"), edgeq_app_fact(app, "edgeq"));
}

static void print_tensors(const edgeq_app *app, int32_t entry, edgeq_side side, int32_t n)
{
  edgeq_tensor tensor;
  for (int32_t i = 0; i < n; i++) {
    if (edgeq_tensor_info(app->ctx, entry, side, i, &tensor)) return;
    printf("%s%s[", i ? ", " : "", tensor.name);
    for (int32_t axis = 0; axis < tensor.rank; axis++) printf(axis ? ", %d" : "%d", tensor.shape[axis]);
    putchar(']');
  }
}

static void print_entries(const edgeq_app *app, int32_t n)
{
  edgeq_entry_facts entry;
  for (int32_t i = 0; i < n; i++) {
    if (edgeq_entry_info(app->ctx, i, &entry)) return;
    printf("entry       %s: ", entry.name);
    if (entry.kind == EDGEQ_TOKENS) printf("1 to %d tokens", entry.max_rows);
    print_tensors(app, i, EDGEQ_INPUT, entry.inputs);
    if (entry.kind == EDGEQ_STATIC) printf(" -> ");
    print_tensors(app, i, EDGEQ_OUTPUT, entry.outputs);
    putchar('\n');
  }
}

int edgeq_app_info(const edgeq_app *app)
{
  edgeq_facts f;
  int status = edgeq_info(app->ctx, &f);
  if (status) return edgeq_app_failed(app, status);
  edgeq_app_version(app);
  printf("variant     %s, %d threads\n", f.variant, f.threads);
  if (f.context) printf("context     %d tokens of %d, prompts in pieces of %d\n", f.context, f.vocab, f.chunk);
  printf("weights     %llu bytes, mapped\n", (ull)f.weights_bytes);
  printf("vocabulary  %zu bytes, mapped\n", app->vocabulary.bytes);
  printf("memory      %llu bytes of state, %llu more a thread\n", (ull)f.arena_bytes, (ull)f.private_bytes);
  print_entries(app, f.entries);
  return EDGEQ_APP_DONE;
}
