/* A text becomes the token tensors of the smallest compiled length that holds it. */
#include "texts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tokenizer.h"

static int32_t length_of(const edgeq_app *app, int entry) { return (int32_t)edgeq_app_number(app, 0, "entries.%d.length", entry); }

static int32_t longest(const edgeq_app *app)
{
  int32_t most = 0;
  for (int i = 0; edgeq_app_fact(app, "entries.%d", i); i++) most = length_of(app, i) > most ? length_of(app, i) : most;
  return most;
}

int edgeq_app_open_reader(edgeq_app_reader *reader, edgeq_app *app)
{
  int32_t most = longest(app), trained = (int32_t)edgeq_app_number(app, most, "text.max_length");
  *reader = (edgeq_app_reader){.app = app, .limit = trained < most ? trained : most};
  return edgeq_app_open_text(app);
}

void edgeq_app_close_reader(edgeq_app_reader *reader)
{
  if (reader->cut)
    edgeq_app_note(reader->app, "%d %s cut to %d tokens (the longest has %d)", reader->cut, reader->cut == 1 ? "text" : "texts",
                   reader->limit, reader->longest);
  free(reader->tokens.id);
  edgeq_app_close_text(reader->app);
}

/* What the tokenizer puts behind a text stays. */
static void cut(edgeq_app_reader *reader)
{
  edgeq_app_tokens *tokens = &reader->tokens;
  int32_t n = tokens->n, keep = (int32_t)edgeq_app_number(reader->app, 0, "text.suffix");
  if (n <= reader->limit) return;
  memmove(tokens->id + reader->limit - keep, tokens->id + n - keep, (size_t)keep * sizeof *tokens->id);
  tokens->n = reader->limit;
  reader->cut++;
  reader->longest = n > reader->longest ? n : reader->longest;
}

/* The number, in the facts, of the shortest entry that holds n tokens; of equal ones that of the smallest batch. A model
 * that was trained to see padding gets the longest. */
static int choose(const edgeq_app *app, int32_t n)
{
  int best = -1, full = edgeq_app_number(app, 0, "text.full") != 0;
  int32_t best_length = 0, best_batch = 0, least = full ? longest(app) : n;
  for (int i = 0; edgeq_app_fact(app, "entries.%d", i); i++) {
    int32_t length = length_of(app, i), batch = (int32_t)edgeq_app_number(app, 1, "entries.%d.batch", i);
    if (length < least || (best >= 0 && (length > best_length || (length == best_length && batch >= best_batch)))) continue;
    best = i;
    best_length = length;
    best_batch = batch;
  }
  return best;
}

/* Row 0 holds the text, other rows of a batch nothing; a row that sees nothing would divide by zero. */
static void fill(const edgeq_app *app, const edgeq_app_tokens *tokens, edgeq_tensor *to)
{
  int is_ids = !strcmp(to->name, "input_ids"), is_mask = !strcmp(to->name, "attention_mask");
  int full = edgeq_app_number(app, 0, "text.full") != 0;
  int32_t padding = is_ids ? (int32_t)edgeq_app_number(app, 0, "text.pad_id") : is_mask && full;
  for (int32_t row = 0; row < to->shape[0]; row++) {
    int32_t *at = (int32_t *)to->data + (size_t)row * (size_t)to->row_stride;
    for (int32_t i = 0; i < to->shape[1]; i++) {
      int inside = row == 0 && i < tokens->n;
      at[i] = is_mask && (inside || i == 0) ? 1 : inside && is_ids ? tokens->id[i] : padding;
    }
  }
}

static int find_tensor(const edgeq_app *app, int32_t entry, edgeq_side side, const char *name, int32_t n, edgeq_tensor *out)
{
  for (int32_t i = 0; i < n; i++)
    if (!edgeq_tensor_info(app->ctx, entry, side, i, out) && !strcmp(out->name, name)) return EDGEQ_OK;
  return edgeq_app_fail(app, EDGEQ_ARTIFACT, "its entry has no tensor \"%s\": package the artifact again", name);
}

static int run_entry(edgeq_app_reader *reader, int32_t entry, const char *name, edgeq_tensor *out)
{
  edgeq_app *app = reader->app;
  edgeq_entry_facts facts;
  edgeq_tensor input;
  int status = edgeq_entry_info(app->ctx, entry, &facts);
  for (int32_t i = 0; i < facts.inputs && !status; i++) {
    status = edgeq_tensor_info(app->ctx, entry, EDGEQ_INPUT, i, &input);
    if (!status) fill(app, &reader->tokens, &input);
  }
  if (!status) status = edgeq_run(app->ctx, entry);
  return status ? edgeq_app_failed(app, status) : find_tensor(app, entry, EDGEQ_OUTPUT, name, facts.outputs, out);
}

int edgeq_app_read(edgeq_app_reader *reader, const char *name, const char *text, size_t bytes, edgeq_tensor *out, int32_t *rows)
{
  edgeq_app *app = reader->app;
  int32_t entry;
  int status = edgeq_app_check_utf8(app, "the text", text, bytes);
  if (!status) status = edgeq_app_tokenize(app, text, bytes, EDGEQ_ADD_SPECIAL | EDGEQ_PARSE_SPECIAL, &reader->tokens);
  if (status) return status;
  cut(reader);
  *rows = reader->tokens.n;
  status = edgeq_find_entry(app->ctx, edgeq_app_fact(app, "entries.%d.name", choose(app, *rows)), &entry);
  return status ? edgeq_app_failed(app, status) : run_entry(reader, entry, name, out);
}

int edgeq_app_each_text(edgeq_app *app, int argc, char **argv, edgeq_app_use *use, void *self)
{
  edgeq_app_buffer line = {0};
  int status = EDGEQ_OK;
  for (int i = 1; i < argc && !status; i++) status = use(self, argv[i], strlen(argv[i]));
  if (argc > 1) return status;
  if (isatty(STDIN_FILENO)) return edgeq_app_fail(app, EDGEQ_USAGE, "nothing to run on: give texts, or lines on stdin");
  while (!status && edgeq_app_read_line(&line, stdin)) status = use(self, line.data, line.bytes);
  edgeq_app_drop(&line);
  return status;
}
