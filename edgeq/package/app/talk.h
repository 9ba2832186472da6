/* talk.h: a conversation, its text and tokens, and answers as they come. */
#ifndef EDGEQ_APP_TALK_H
#define EDGEQ_APP_TALK_H
#include "parts.h"

/* ---- conversation.c: the chat template's segments (edgeq/package/conversation.py specifies them) ---- */
typedef struct {
  const char *system;      /* "" or NULL: none */
  edgeq_app_buffer *said;  /* user, assistant, user, ... */
  int count, room;
} edgeq_app_conversation;

void edgeq_app_say(edgeq_app_conversation *talk, const char *text, size_t bytes);
void edgeq_app_unsay(edgeq_app_conversation *talk, int count); /* forget what was said from number `count` on */

/* The text up to where the model's answer begins. EDGEQ_USAGE, said, where the template has no such conversation. */
int edgeq_app_render(const edgeq_app *app, const edgeq_app_conversation *talk, edgeq_app_buffer *out);

/* ---- stream.c: tokens become text as they come ---- */
typedef struct {
  const edgeq_app *app;
  edgeq_app_tokens window; /* shown already, which the next ones lean on, then not shown */
  int32_t shown;
  edgeq_app_buffer before, all; /* scratch */
} edgeq_app_stream;

/* Adds what is certain after one more token to `out`. */
int edgeq_app_push(edgeq_app_stream *stream, int32_t token, edgeq_app_buffer *out);
int edgeq_app_finish(edgeq_app_stream *stream, edgeq_app_buffer *out); /* what is left when no more tokens come */
void edgeq_app_close_stream(edgeq_app_stream *stream);

/* ---- answer.c ---- */
typedef struct {
  edgeq_sampling sampling;
  int max_tokens;       /* 0: until the model stops or the context is full */
  edgeq_app_texts stop; /* texts that end an answer and are not shown */
} edgeq_app_style;

typedef struct {
  const char *reason; /* "eos", "stop", "length", "context"; NULL: Ctrl-C */
  int32_t prompt, reused, drawn; /* tokens; `drawn` with the stop token */
  uint64_t prompt_ns, first_ns, decode_ns;
} edgeq_app_stats;

/* Feeds the prompt but for what the context already holds of it (`fed`, which is kept up to date), then draws an answer
 * into `out`. is_text: the answer continues the prompt's last word. show: print the answer as it comes. */
int edgeq_app_answer(edgeq_app *app, const edgeq_app_style *style, edgeq_app_tokens *fed, const edgeq_app_tokens *prompt,
                     int is_text, int show, edgeq_app_buffer *out, edgeq_app_stats *stats);
#endif
