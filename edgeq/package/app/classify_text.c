/* Texts to labels with probabilities. */
#include <stdio.h>
#include <stdlib.h>

#include "scores.h"
#include "texts.h"

typedef struct {
  edgeq_app *app;
  edgeq_app_reader reader;
  int top_k, several, n;
} classifier;

static int use(void *self, const char *text, size_t bytes)
{
  classifier *c = self;
  edgeq_tensor out;
  int32_t rows;
  int status = edgeq_app_read(&c->reader, "logits", text, bytes, &out, &rows);
  if (status) return status;
  int classes = out.shape[out.rank - 1];
  edgeq_app_score *scores = edgeq_app_rank(c->app, out.data, classes);
  if (c->several && !c->app->options.json) printf("%s%.*s\n", c->n ? "\n" : "", (int)bytes, text);
  edgeq_app_print_scores(c->app, text, bytes, scores, c->top_k && c->top_k < classes ? c->top_k : classes);
  free(scores);
  c->n++;
  return EDGEQ_OK;
}

int edgeq_app_classify_text(edgeq_app *app, int argc, char **argv)
{
  classifier c = {.app = app, .top_k = EDGEQ_APP_SHOWN};
  const edgeq_app_option options[] = {
    {"--top-k", 'k', EDGEQ_APP_INT, &c.top_k, "N", "labels to show, 0: all [5]", 0, INT32_MAX},
    {0},
  };
  int status = edgeq_app_start(app, &argc, argv, "[\"TEXT\" ...]", options);
  if (status) return status;
  c.several = argc != 2;
  status = edgeq_app_open_reader(&c.reader, app);
  if (!status) status = edgeq_app_each_text(app, argc, argv, use, &c);
  edgeq_app_close_reader(&c.reader);
  return status;
}
