/* Photos to vectors: the pooled output, where the model has one. */
#include "photo.h"

typedef struct {
  edgeq_photos photos;
  edgeq_tensor output;
} embedder;

/* Patches [P, D] are averaged, and so are maps [C, H, W] (those of a pooled output have one place). */
static float component(const edgeq_tensor *t, int32_t at)
{
  int map = t->rank == 4, rows = t->rank == 2 ? 1 : map ? t->shape[2] : t->shape[1], columns = map ? t->shape[3] : 1;
  double sum = 0;
  for (int32_t r = 0; r < rows; r++)
    for (int32_t x = 0; x < columns; x++)
      sum += (double)(map ? edgeq_tensor_row(t, (size_t)at * (size_t)rows + (size_t)r)[x] : edgeq_tensor_row(t, (size_t)r)[at]);
  return (float)(sum / ((double)rows * columns));
}

static int use(void *self, const char *path, const edgeq_sizes *sizes)
{
  (void)path, (void)sizes;
  const embedder *e = self;
  int32_t width = e->output.rank == 4 ? e->output.shape[1] : e->output.shape[e->output.rank - 1];
  for (int32_t i = 0; i < width; i++) printf(i ? ", %.9g" : "[%.9g", (double)component(&e->output, i));
  puts("]");
  return EDGEQ_OK;
}

int edgeq_app_embed_image(edgeq_app *app, int argc, char **argv)
{
  embedder e = {0};
  const edgeq_app_option options[] = {{0}};
  int status = edgeq_app_start(app, &argc, argv, "PHOTO ...", options);
  if (!status) status = edgeq_photos_open(&e.photos, app);
  if (status) return status;
  const char *name = edgeq_app_fact(app, "image.output");
  int there = name && edgeq_app_tensor_of(app, e.photos.entry, EDGEQ_OUTPUT, name, &e.output);
  if (!there || e.output.rank < 2 || e.output.rank > 4)
    return edgeq_app_fail(app, EDGEQ_APP_UNSUPPORTED, "this model gives no vector of a photo");
  return edgeq_photos_each(&e.photos, argc, argv, use, &e);
}
