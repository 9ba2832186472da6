/* texts.h: texts through an encoder, as edgeq/tasks/text.py runs them. */
#ifndef EDGEQ_APP_TEXTS_H
#define EDGEQ_APP_TEXTS_H
#include "parts.h"

typedef struct {
  edgeq_app *app;
  edgeq_app_tokens tokens;
  int32_t limit, longest; /* most tokens of a text; of those that were cut, the longest had so many */
  int cut;                /* texts cut */
} edgeq_app_reader;

int edgeq_app_open_reader(edgeq_app_reader *reader, edgeq_app *app);
void edgeq_app_close_reader(edgeq_app_reader *reader); /* and says how many texts were cut */

/* Runs one text; *out is the tensor called `name`, *rows how many tokens the text has. */
int edgeq_app_read(edgeq_app_reader *reader, const char *name, const char *text, size_t bytes, edgeq_tensor *out, int32_t *rows);

/* Calls `use` for each argument, or for each line of stdin when there are none. */
typedef int edgeq_app_use(void *self, const char *text, size_t bytes);
int edgeq_app_each_text(edgeq_app *app, int argc, char **argv, edgeq_app_use *use, void *self);
#endif
