/* Photos to labels with probabilities. */
#include <stdlib.h>
#include <string.h>

#include "../app/scores.h"
#include "photo.h"

typedef struct {
  edgeq_photos photos;
  edgeq_tensor logits;
  int top_k;
} classifier;

static int use(void *self, const char *path, const edgeq_sizes *sizes)
{
  (void)sizes;
  const classifier *c = self;
  int classes = c->logits.shape[c->logits.rank - 1];
  edgeq_app_score *scores = edgeq_app_rank(c->photos.app, c->logits.data, classes);
  edgeq_app_print_scores(c->photos.app, path, strlen(path), scores, c->top_k && c->top_k < classes ? c->top_k : classes);
  free(scores);
  return EDGEQ_OK;
}

int edgeq_app_classify_image(edgeq_app *app, int argc, char **argv)
{
  classifier c = {.top_k = EDGEQ_APP_SHOWN};
  const edgeq_app_option options[] = {
    {"--top-k", 'k', EDGEQ_APP_INT, &c.top_k, "N", "labels to show, 0: all [5]", 0, INT32_MAX},
    {0},
  };
  int status = edgeq_app_start(app, &argc, argv, "PHOTO ...", options);
  if (!status) status = edgeq_photos_open(&c.photos, app);
  if (status) return status;
  if (!edgeq_app_tensor_of(app, c.photos.entry, EDGEQ_OUTPUT, "logits", &c.logits))
    return edgeq_app_fail(app, EDGEQ_ARTIFACT, "this model's image entry gives no logits");
  return edgeq_photos_each(&c.photos, argc, argv, use, &c);
}
