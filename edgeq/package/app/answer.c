/* An answer: the prompt is fed, then token after token is drawn, shown and fed. */
#include <stdlib.h>
#include <string.h>

#include "talk.h"

#define WINDOW 8 /* tokens of a continued text that can matter to the text of the next one */

typedef struct {
  edgeq_app *app;
  const edgeq_app_style *style;
  edgeq_app_tokens *fed;
  edgeq_app_stream stream;
  edgeq_app_buffer *text; /* the answer so far */
  size_t shown;           /* bytes of it that are printed, or would be */
  int show;
  edgeq_facts facts;
  edgeq_app_stats *stats;
  uint64_t begin;
} answer;

/* Tokens at the start of the prompt that need not be fed; at least the last one must be, for its logits. */
static int32_t common(const edgeq_app_tokens *fed, const edgeq_app_tokens *prompt)
{
  int32_t n = 0;
  while (n < fed->n && n < prompt->n - 1 && fed->id[n] == prompt->id[n]) n++;
  return n;
}

static int feed(answer *a, const int32_t *ids, int32_t n)
{
  int status = edgeq_feed(a->app->ctx, ids, n);
  if (status) return edgeq_app_failed(a->app, status);
  for (int32_t i = 0; i < n; i++) edgeq_app_append_token(a->fed, ids[i]);
  return EDGEQ_OK;
}

/* In pieces, so that Ctrl-C is noticed. */
static int feed_prompt(answer *a, const edgeq_app_tokens *prompt)
{
  int32_t chunk = a->facts.chunk, at = a->stats->reused = edgeq_rewindable(a->app->ctx, common(a->fed, prompt));
  int status = edgeq_rewind(a->app->ctx, at);
  if (status) return edgeq_app_failed(a->app, status);
  for (a->fed->n = at; at < prompt->n && !edgeq_app_stopped(); at += chunk) {
    int32_t left = prompt->n - at;
    if ((status = feed(a, prompt->id + at, left < chunk ? left : chunk))) return status;
  }
  return EDGEQ_OK;
}

static int is_stop(const edgeq_app *app, int32_t token)
{
  double stop;
  for (int i = 0; (stop = edgeq_app_number(app, -1, "stops.%d", i)) >= 0; i++)
    if ((int32_t)stop == token) return 1;
  return 0;
}

/* Length of the longest end of the text that begins `stop`. */
static size_t overlap(const char *text, size_t bytes, const char *stop)
{
  size_t n = strlen(stop) - 1;
  for (n = n < bytes ? n : bytes; n && memcmp(text + bytes - n, stop, n); n--) {}
  return n;
}

static void print(answer *a, size_t end)
{
  if (a->show && end > a->shown) fwrite(a->text->data + a->shown, 1, end - a->shown, stdout);
  if (a->show) fflush(stdout);
  a->shown = end > a->shown ? end : a->shown;
}

/* Shows what no stop text may still swallow; 1 when one was reached, which ends the text before it. */
static int release(answer *a, int last)
{
  edgeq_app_buffer *text = a->text;
  size_t keep = 0, end = text->bytes;
  for (int i = 0; i < a->style->stop.n && text->data; i++) {
    const char *stop = a->style->stop.item[i], *at;
    if (!*stop) continue;
    if ((at = memmem(text->data, text->bytes, stop, strlen(stop))) && (size_t)(at - text->data) < end) end = (size_t)(at - text->data);
    size_t n = overlap(text->data, text->bytes, stop);
    keep = n > keep ? n : keep;
  }
  int stopped = end < text->bytes;
  print(a, stopped || last ? end : end - keep);
  text->bytes = end;
  if (text->data) text->data[end] = 0;
  return stopped;
}

static int draw(answer *a, int32_t *token)
{
  int status = edgeq_sample(a->app->ctx, &a->style->sampling, token);
  if (status) return edgeq_app_failed(a->app, status);
  if (!a->stats->drawn++) a->stats->first_ns = edgeq_app_now_ns() - a->begin;
  return EDGEQ_OK;
}

/* Why the answer ends with this token; NULL when it does not. */
static int show_token(answer *a, int32_t token, const char **reason)
{
  if (is_stop(a->app, token)) return *reason = "eos", EDGEQ_OK;
  int status = edgeq_app_push(&a->stream, token, a->text);
  if (status) return status;
  if (release(a, 0)) *reason = "stop";
  else if (a->stats->drawn == a->style->max_tokens) *reason = "length";
  else if (edgeq_position(a->app->ctx) == a->facts.context) *reason = "context";
  return EDGEQ_OK;
}

static int draw_all(answer *a)
{
  int32_t token;
  int status = draw(a, &token);
  while (!status && !edgeq_app_stopped()) {
    const char *reason = NULL;
    if ((status = show_token(a, token, &reason)) || (a->stats->reason = reason)) break;
    uint64_t begin = edgeq_app_now_ns();
    status = feed(a, &token, 1);
    if (!status) status = draw(a, &token);
    a->stats->decode_ns += edgeq_app_now_ns() - begin;
  }
  if (!status && a->stats->reason && strcmp(a->stats->reason, "stop")) {
    status = edgeq_app_finish(&a->stream, a->text);
    if (!status) release(a, 1);
  }
  return status;
}

static int check(const answer *a, const edgeq_app_tokens *prompt)
{
  if (!prompt->n) return edgeq_app_fail(a->app, EDGEQ_USAGE, "the prompt is empty");
  if (prompt->n <= a->facts.context) return EDGEQ_OK;
  return edgeq_app_fail(a->app, EDGEQ_CONTEXT, "the prompt has %d tokens, the context holds %d: shorten it, or compile with a "
                        "longer context", prompt->n, a->facts.context);
}

int edgeq_app_answer(edgeq_app *app, const edgeq_app_style *style, edgeq_app_tokens *fed, const edgeq_app_tokens *prompt,
                     int is_text, int show, edgeq_app_buffer *out, edgeq_app_stats *stats)
{
  answer a = {.app = app, .style = style, .fed = fed, .stream = {.app = app}, .text = out, .show = show, .stats = stats,
              .begin = edgeq_app_now_ns()};
  *stats = (edgeq_app_stats){.prompt = prompt->n};
  out->bytes = 0;
  edgeq_info(app->ctx, &a.facts);
  int status = check(&a, prompt);
  if (status) return status;
  for (int32_t i = prompt->n < WINDOW ? 0 : prompt->n - WINDOW; is_text && i < prompt->n; i++)
    edgeq_app_append_token(&a.stream.window, prompt->id[i]);
  a.stream.shown = a.stream.window.n;
  edgeq_app_watch_stop();
  status = feed_prompt(&a, prompt);
  stats->prompt_ns = edgeq_app_now_ns() - a.begin;
  if (!status && !edgeq_app_stopped()) status = draw_all(&a);
  edgeq_app_leave_stop();
  edgeq_app_close_stream(&a.stream);
  return status;
}
