/* Texts to tokens and back, in memory that grows. */
#include <stdlib.h>

#include "parts.h"
#include "tokenizer.h"

int edgeq_app_open_text(edgeq_app *app)
{
  int status = edgeq_tokenizer_open(app->vocabulary.data, app->vocabulary.bytes, &app->tokenizer);
  return status ? edgeq_app_fail(app, status, "its tokenizer cannot be opened: package the artifact again") : EDGEQ_OK;
}

void edgeq_app_close_text(edgeq_app *app)
{
  edgeq_tokenizer_close(app->tokenizer);
  app->tokenizer = NULL;
}

static void make_room(edgeq_app_tokens *tokens, int32_t room)
{
  if (tokens->room >= room) return;
  tokens->room = room;
  tokens->id = edgeq_app_grow(tokens->id, (size_t)room * sizeof *tokens->id);
}

int edgeq_app_tokenize(const edgeq_app *app, const char *text, size_t bytes, int flags, edgeq_app_tokens *out)
{
  if (bytes > INT32_MAX / 4) return edgeq_app_fail(app, EDGEQ_CONTEXT, "a text of %zu bytes is longer than any context", bytes);
  ptrdiff_t n = (ptrdiff_t)bytes + 16;
  do {
    make_room(out, (int32_t)n);
    n = edgeq_tokenize(app->tokenizer, text, bytes, flags, out->id, (size_t)out->room);
    if (n < 0) return edgeq_app_fail(app, (int)-n, "the text cannot be tokenized");
  } while (n > out->room);
  out->n = (int32_t)n;
  return EDGEQ_OK;
}

int edgeq_app_detokenize(const edgeq_app *app, const int32_t *ids, int32_t n, edgeq_app_buffer *out)
{
  ptrdiff_t bytes = 64;
  do {
    if ((size_t)bytes >= out->room) out->data = edgeq_app_grow(out->data, out->room = (size_t)bytes + 1);
    bytes = edgeq_detokenize(app->tokenizer, ids, (size_t)n, EDGEQ_SKIP_SPECIAL, out->data, out->room - 1);
    if (bytes < 0) return edgeq_app_fail(app, (int)-bytes, "the tokens cannot be turned into text");
  } while ((size_t)bytes > out->room - 1);
  out->bytes = (size_t)bytes;
  out->data[bytes] = 0;
  return EDGEQ_OK;
}

void edgeq_app_append_token(edgeq_app_tokens *to, int32_t id)
{
  if (to->n == to->room) make_room(to, to->room * 2 + 64);
  to->id[to->n++] = id;
}
