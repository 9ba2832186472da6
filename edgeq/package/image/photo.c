/* A file becomes an entry's input, and the entry runs. */
#include "photo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int edgeq_app_tensor_of(const edgeq_app *app, int32_t entry, edgeq_side side, const char *name, edgeq_tensor *out)
{
  edgeq_entry_facts facts;
  if (edgeq_entry_info(app->ctx, entry, &facts)) return 0;
  int32_t n = side == EDGEQ_INPUT ? facts.inputs : facts.outputs;
  for (int32_t i = 0; i < n; i++)
    if (!edgeq_tensor_info(app->ctx, entry, side, i, out) && !strcmp(out->name, name)) return 1;
  *out = (edgeq_tensor){0};
  return 0;
}

int edgeq_app_find_tensor(const edgeq_app *app, edgeq_side side, const char *name, int32_t *entry, edgeq_tensor *out)
{
  edgeq_facts facts;
  edgeq_tensor found;
  *out = (edgeq_tensor){0};
  int status = edgeq_info(app->ctx, &facts);
  if (status) return edgeq_app_failed(app, status);
  for (int32_t i = 0; i < facts.entries; i++) {
    if (!edgeq_app_tensor_of(app, i, side, name, &found) || (out->data && out->shape[0] <= found.shape[0])) continue;
    *entry = i;
    *out = found;
  }
  return out->data ? EDGEQ_OK : edgeq_app_fail(app, EDGEQ_ARTIFACT, "no entry of this model has a tensor %s", name);
}

int edgeq_photos_open(edgeq_photos *p, edgeq_app *app)
{
  *p = (edgeq_photos){.app = app};
  int status = edgeq_app_read_steps(app, &p->steps);
  if (!status) status = edgeq_app_find_tensor(app, EDGEQ_INPUT, "pixel_values", &p->entry, &p->pixels);
  if (status) return status;
  edgeq_app_tensor_of(app, p->entry, EDGEQ_INPUT, "pixel_mask", &p->mask);
  p->channels = p->pixels.shape[1];
  int fits = p->pixels.rank == 4 && (p->channels == 1 || p->channels == 3);
  return fits ? EDGEQ_OK : edgeq_app_fail(app, EDGEQ_APP_UNSUPPORTED, "this model's pixel_values are no photo of 1 or 3 channels");
}

static int read_file(const edgeq_app *app, const char *path, edgeq_app_buffer *bytes)
{
  FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
  if (!file) return edgeq_app_fail(app, EDGEQ_USAGE, "%s: %s", path, strerror(errno));
  edgeq_app_read_all(bytes, file);
  int broken = ferror(file) ? errno : 0;
  if (file != stdin) fclose(file);
  return broken ? edgeq_app_fail(app, EDGEQ_USAGE, "%s: %s", path, strerror(broken)) : EDGEQ_OK;
}

/* 1 where the photo is, 0 where it was padded. */
static void fill_mask(const edgeq_tensor *mask, const edgeq_sizes *sizes)
{
  for (int32_t y = 0; y < mask->shape[1]; y++)
    for (int32_t x = 0; x < mask->shape[2]; x++)
      ((int32_t *)mask->data)[(size_t)y * (size_t)mask->row_stride + (size_t)x] =
        y < sizes->resized_height && x < sizes->resized_width;
}

/* Of a larger batch every place gets the same photo. */
static void repeat(const edgeq_tensor *t)
{
  size_t bytes = (size_t)t->row_stride * 4;
  for (int32_t i = 1; i < t->rank - 1; i++) bytes *= (size_t)t->shape[i];
  for (int32_t i = 1; i < t->shape[0]; i++) memcpy((uint8_t *)t->data + bytes * (size_t)i, t->data, bytes);
}

int edgeq_photos_load(const edgeq_photos *p, const char *path, edgeq_sizes *sizes)
{
  edgeq_app_buffer file = {0};
  edgeq_image image = {0};
  const edgeq_planes planes = {p->pixels.data, p->channels, p->pixels.shape[2], p->pixels.shape[3], p->pixels.row_stride};
  int status = read_file(p->app, path, &file);
  if (!status) {
    const char *why = edgeq_image_decode((const uint8_t *)file.data, file.bytes, p->channels, &image);
    if (!why) why = edgeq_prepare(&image, &p->steps, &planes, sizes);
    if (why) status = edgeq_app_fail(p->app, EDGEQ_USAGE, "%s cannot be read as a photo: %s", path, why);
  }
  edgeq_image_free(&image);
  edgeq_app_drop(&file);
  if (status) return status;
  repeat(&p->pixels);
  if (!p->mask.data) return EDGEQ_OK;
  fill_mask(&p->mask, sizes);
  repeat(&p->mask);
  return EDGEQ_OK;
}

int edgeq_photos_run(const edgeq_photos *p, double *seconds)
{
  uint64_t begin = edgeq_app_now_ns();
  int status = edgeq_run(p->app->ctx, p->entry);
  if (seconds) *seconds = (double)(edgeq_app_now_ns() - begin) * 1e-9;
  return status ? edgeq_app_failed(p->app, status) : EDGEQ_OK;
}

int edgeq_photos_each(const edgeq_photos *p, int argc, char **argv, edgeq_photo_use *use, void *self)
{
  edgeq_sizes sizes;
  double seconds;
  if (argc < 2) return edgeq_app_fail(p->app, EDGEQ_USAGE, "give at least one photo: a PNG, JPEG, BMP or PPM file, or - for stdin");
  int status = EDGEQ_OK;
  for (int i = 1; !status && i < argc; i++) {
    status = edgeq_photos_load(p, argv[i], &sizes);
    if (!status) status = edgeq_photos_run(p, &seconds);
    if (status) break;
    edgeq_app_note(p->app, "image: %.1f ms", seconds * 1e3);
    if (argc > 2 && !p->app->options.json) printf("%s%s\n", i > 1 ? "\n" : "", argv[i]);
    status = use(self, argv[i], &sizes);
  }
  return status;
}
