/* parts.h: what main() and the text programs share beside app.h. */
#ifndef EDGEQ_APP_PARTS_H
#define EDGEQ_APP_PARTS_H
#include <stdio.h>

#include "app.h"

/* ---- sections.c ---- */
int edgeq_app_find_sections(edgeq_app *app);

/* ---- info.c, bench.c: called by edgeq_app_start ---- */
void edgeq_app_version(const edgeq_app *app);
int edgeq_app_info(const edgeq_app *app);
int edgeq_app_bench(const edgeq_app *app);

/* ---- buffer.c: texts that grow; when memory is out the program ends ---- */
typedef struct {
  char *data; /* NUL-terminated once something was added */
  size_t bytes, room;
} edgeq_app_buffer;

void *edgeq_app_grow(void *data, size_t bytes); /* realloc */
void edgeq_app_add(edgeq_app_buffer *to, const char *text, size_t bytes);
void edgeq_app_add_text(edgeq_app_buffer *to, const char *text);
void edgeq_app_read_all(edgeq_app_buffer *to, FILE *from);
int edgeq_app_read_line(edgeq_app_buffer *to, FILE *from); /* without its end; 0 at the end of the file */
void edgeq_app_drop(edgeq_app_buffer *text);

/* ---- utf8.c ---- */
typedef struct {
  const char *data;
  size_t bytes;
} edgeq_app_span;

enum { EDGEQ_APP_LEFT = 1, EDGEQ_APP_RIGHT = 2 };

edgeq_app_span edgeq_app_strip(edgeq_app_span text, int sides); /* whitespace, as Python's str.strip sees it */
edgeq_app_span edgeq_app_strip_newlines(edgeq_app_span text);   /* "\n" on the left */
size_t edgeq_app_skip_characters(const char *text, size_t bytes, size_t count); /* bytes of the first `count` */
size_t edgeq_app_count_characters(const char *text, size_t bytes);
int edgeq_app_check_utf8(const edgeq_app *app, const char *what, const char *text, size_t bytes);

/* ---- tokens.c ---- */
int edgeq_app_open_text(edgeq_app *app); /* the tokenizer, after edgeq_app_start */
void edgeq_app_close_text(edgeq_app *app);

typedef struct {
  int32_t *id;
  int32_t n, room;
} edgeq_app_tokens;

int edgeq_app_tokenize(const edgeq_app *app, const char *text, size_t bytes, int flags, edgeq_app_tokens *out);
int edgeq_app_detokenize(const edgeq_app *app, const int32_t *ids, int32_t n, edgeq_app_buffer *out); /* special ones left out */
void edgeq_app_append_token(edgeq_app_tokens *to, int32_t id);

/* ---- stop.c: Ctrl-C ends an answer, not the program ---- */
void edgeq_app_watch_stop(void);  /* from here on Ctrl-C is noted, the second one ends the program */
void edgeq_app_leave_stop(void);  /* as before */
void edgeq_app_end_at_stop(void); /* at a prompt: Ctrl-C ends the line and the program */
int edgeq_app_stopped(void);
#endif
