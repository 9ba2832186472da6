/* Tokens become text as they come. A token can end inside a character, and its text can depend on the token before it (a
 * space, a joiner): the difference between two decodings of a short window is what is new. */
#include <stdlib.h>
#include <string.h>

#include "talk.h"

#define UNFINISHED "\xef\xbf\xbd" /* U+FFFD: what a decoder writes for bytes that are no character yet */

/* The text of the window that is not shown yet: in stream->all, from *begin on. */
static int decode(edgeq_app_stream *stream, size_t *begin)
{
  int status = edgeq_app_detokenize(stream->app, stream->window.id, stream->shown, &stream->before);
  if (!status) status = edgeq_app_detokenize(stream->app, stream->window.id, stream->window.n, &stream->all);
  if (status) return status;
  size_t shown = edgeq_app_count_characters(stream->before.data, stream->before.bytes);
  *begin = edgeq_app_skip_characters(stream->all.data, stream->all.bytes, shown);
  return EDGEQ_OK;
}

static int is_unfinished(const edgeq_app_buffer *text, size_t begin)
{
  return text->bytes == begin || (text->bytes >= 3 && !memcmp(text->data + text->bytes - 3, UNFINISHED, 3));
}

int edgeq_app_push(edgeq_app_stream *stream, int32_t token, edgeq_app_buffer *out)
{
  edgeq_app_tokens *window = &stream->window;
  size_t begin;
  edgeq_app_append_token(window, token);
  int status = decode(stream, &begin);
  if (status || is_unfinished(&stream->all, begin)) return status;
  edgeq_app_add(out, stream->all.data + begin, stream->all.bytes - begin);
  window->n -= stream->shown;
  memmove(window->id, window->id + stream->shown, (size_t)window->n * sizeof *window->id);
  stream->shown = window->n;
  return EDGEQ_OK;
}

int edgeq_app_finish(edgeq_app_stream *stream, edgeq_app_buffer *out)
{
  size_t begin;
  int status = decode(stream, &begin);
  if (!status) edgeq_app_add(out, stream->all.data + begin, stream->all.bytes - begin);
  return status;
}

void edgeq_app_close_stream(edgeq_app_stream *stream)
{
  free(stream->window.id);
  edgeq_app_drop(&stream->before);
  edgeq_app_drop(&stream->all);
}
