/* --version and --info. */
#include <stdio.h>
#include <string.h>

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

static void print_json_text(const char *key, const char *text)
{
  printf("\"%s\": ", key);
  edgeq_app_print_json(text ? text : "", text ? strlen(text) : 0);
  fputs(", ", stdout);
}

static void print_json_tensors(const edgeq_app *app, int32_t entry, edgeq_side side, int32_t n)
{
  edgeq_tensor tensor;
  printf(", \"%s\": [", side == EDGEQ_INPUT ? "inputs" : "outputs");
  for (int32_t i = 0; i < n; i++) {
    if (edgeq_tensor_info(app->ctx, entry, side, i, &tensor)) break;
    printf(i ? ", {" : "{");
    print_json_text("name", tensor.name);
    printf("\"shape\": [");
    for (int32_t axis = 0; axis < tensor.rank; axis++) printf(axis ? ", %d" : "%d", tensor.shape[axis]);
    printf("]}");
  }
  putchar(']');
}

static void print_json_entries(const edgeq_app *app, int32_t n)
{
  edgeq_entry_facts entry;
  for (int32_t i = 0; i < n; i++) {
    if (edgeq_entry_info(app->ctx, i, &entry)) return;
    printf(i ? ", {" : "{");
    print_json_text("name", entry.name);
    printf("\"max_tokens\": %d", entry.kind == EDGEQ_TOKENS ? entry.max_rows : 0);
    print_json_tensors(app, i, EDGEQ_INPUT, entry.inputs);
    print_json_tensors(app, i, EDGEQ_OUTPUT, entry.outputs);
    putchar('}');
  }
}

static void print_json(const edgeq_app *app, const edgeq_facts *f)
{
  static const char *const KEYS[] = {"model", "kind", "bits", "target", "edgeq"};
  putchar('{');
  for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) print_json_text(KEYS[i], edgeq_app_fact(app, "%s", KEYS[i]));
  print_json_text("variant", f->variant);
  printf("\"threads\": %d, \"context\": %d, \"vocabulary\": %d, \"chunk\": %d, ", f->threads, f->context, f->vocab, f->chunk);
  printf("\"weights_bytes\": %llu, \"vocabulary_bytes\": %zu, ", (ull)f->weights_bytes, app->vocabulary.bytes);
  printf("\"state_bytes\": %llu, \"thread_bytes\": %llu, \"entries\": [", (ull)f->arena_bytes, (ull)f->private_bytes);
  print_json_entries(app, f->entries);
  puts("]}");
}

int edgeq_app_info(const edgeq_app *app)
{
  edgeq_facts f;
  int status = edgeq_info(app->ctx, &f);
  if (status) return edgeq_app_failed(app, status);
  if (app->options.json) return print_json(app, &f), EDGEQ_APP_DONE;
  edgeq_app_version(app);
  printf("variant     %s, %d thread%s\n", f.variant, f.threads, f.threads == 1 ? "" : "s");
  if (f.context) printf("context     %d tokens, vocabulary %d, prompts in pieces of %d\n", f.context, f.vocab, f.chunk);
  printf("weights     %llu bytes, mapped\n", (ull)f.weights_bytes);
  printf("vocabulary  %zu bytes, mapped\n", app->vocabulary.bytes);
  printf("memory      %llu bytes of state, %llu more a thread\n", (ull)f.arena_bytes, (ull)f.private_bytes);
  print_entries(app, f.entries);
  return EDGEQ_APP_DONE;
}
