/* Masks at points of a photo (SAM): the photo is looked at once, then every object costs little. */
#include <stdlib.h>
#include <string.h>

#include "masks.h"

#define NO_POINT (-10) /* SamProcessor's point_pad_value: its embedding is zero */

typedef struct {
  edgeq_photos photos;
  edgeq_sizes photo;
  int32_t prompt, mask;                          /* entries */
  edgeq_tensor points, labels, logits, overlaps; /* input_points, input_labels, pred_masks, iou_scores */
  const char *output;
  double seconds;       /* of the image's features */
  edgeq_points *object; /* the points of each mask */
  edgeq_mask *masks;
  int objects;
} segmenter;

static int open_model(segmenter *s, edgeq_app *app)
{
  int status = edgeq_photos_open(&s->photos, app);
  if (!status) status = edgeq_app_find_tensor(app, EDGEQ_INPUT, "input_points", &s->prompt, &s->points);
  if (!status) status = edgeq_app_find_tensor(app, EDGEQ_OUTPUT, "pred_masks", &s->mask, &s->logits);
  if (status) return status;
  int there = edgeq_app_tensor_of(app, s->prompt, EDGEQ_INPUT, "input_labels", &s->labels) &&
              edgeq_app_tensor_of(app, s->mask, EDGEQ_OUTPUT, "iou_scores", &s->overlaps);
  int fits = there && s->points.rank == 4 && s->labels.rank == 3 && s->logits.rank == 5 && s->overlaps.rank == 3;
  return fits ? EDGEQ_OK : edgeq_app_fail(app, EDGEQ_ARTIFACT, "this model's prompt and mask entries are not those of SAM");
}

/* Points in the pixels of the resized photo, as SamProcessor scales them; unused places hold no point. */
static void fill_prompt(const segmenter *s, const edgeq_points *points)
{
  double across = (double)s->photo.resized_width / s->photo.width, down = (double)s->photo.resized_height / s->photo.height;
  for (int32_t i = 0; i < s->points.shape[2]; i++) {
    const edgeq_point *p = i < points->n ? &points->at[i] : NULL;
    float *place = edgeq_tensor_row(&s->points, (size_t)i);
    place[0] = p ? (float)(p->x * across) : 0.0f;
    place[1] = p ? (float)(p->y * down) : 0.0f;
    ((int32_t *)s->labels.data)[i] = p ? p->inside : NO_POINT;
  }
}

static int32_t best(const segmenter *s)
{
  const float *score = s->overlaps.data;
  int32_t found = 0;
  for (int32_t i = 1; i < s->overlaps.shape[2]; i++)
    if (score[i] > score[found]) found = i;
  return found;
}

static int run(const segmenter *s, const edgeq_points *points, edgeq_mask *m)
{
  const edgeq_app *app = s->photos.app;
  int32_t height = s->logits.shape[3], width = s->logits.shape[4];
  fill_prompt(s, points);
  uint64_t begin = edgeq_app_now_ns();
  int status = edgeq_run(app->ctx, s->prompt);
  if (!status) status = edgeq_run(app->ctx, s->mask);
  m->seconds = (double)(edgeq_app_now_ns() - begin) * 1e-9;
  if (status) return edgeq_app_failed(app, status);
  int32_t candidate = best(s);
  m->score = ((const float *)s->overlaps.data)[candidate];
  const edgeq_tensor *square = &s->photos.pixels;
  const float *logits = edgeq_tensor_row(&s->logits, (size_t)candidate * (size_t)height);
  const edgeq_logits_map map = {logits, height, width, s->logits.row_stride, square->shape[2], square->shape[3]};
  const char *why = edgeq_full_mask(&map, &s->photo, &m->pixels);
  if (why) return edgeq_app_fail(app, EDGEQ_FAILED, "the mask cannot be made: %s", why);
  edgeq_app_measure_mask(m);
  edgeq_app_note(app, "prompt and mask: %.1f ms", m->seconds * 1e3);
  return EDGEQ_OK;
}

static void print_all(const segmenter *s, const char *path)
{
  const edgeq_app *app = s->photos.app;
  if (app->options.json) {
    printf("{\"input\": ");
    edgeq_app_print_json(path, strlen(path));
    printf(", \"image_seconds\": %.6g, \"masks\": [", s->seconds);
  }
  for (int i = 0; i < s->objects; i++) {
    if (i && app->options.json) printf(", ");
    edgeq_app_print_mask(app, &s->masks[i], &s->object[i]);
  }
  if (app->options.json) puts("]}");
}

/* Results are printed when all are there: a failure prints none. */
static int segment(segmenter *s, const char *path)
{
  const edgeq_app *app = s->photos.app;
  int status = edgeq_photos_load(&s->photos, path, &s->photo);
  for (int i = 0; !status && i < s->objects; i++)
    status = edgeq_app_check_points(app, &s->object[i], s->points.shape[2], &s->photo);
  if (!status) status = edgeq_photos_run(&s->photos, &s->seconds);
  if (!status) edgeq_app_note(app, "image features: %.1f ms", s->seconds * 1e3);
  for (int i = 0; !status && i < s->objects; i++) {
    status = run(s, &s->object[i], &s->masks[i]);
    if (!status && s->output) status = edgeq_app_save_mask(app, s->output, i, s->objects, &s->masks[i]);
    edgeq_image_free(&s->masks[i].pixels);
  }
  if (!status) print_all(s, path);
  return status;
}

/* All of --point belong to one object, every --object is one more. */
static int read_objects(segmenter *s, const edgeq_app *app, const edgeq_app_texts *points, const edgeq_app_texts *objects)
{
  int status = EDGEQ_OK;
  size_t most = (size_t)objects->n + 1;
  s->object = memset(edgeq_app_grow(NULL, most * sizeof *s->object), 0, most * sizeof *s->object);
  s->masks = memset(edgeq_app_grow(NULL, most * sizeof *s->masks), 0, most * sizeof *s->masks);
  for (int i = 0; !status && i < points->n; i++) status = edgeq_app_add_points(app, points->item[i], &s->object[0]);
  s->objects = points->n > 0 || !objects->n;
  for (int i = 0; !status && i < objects->n; i++)
    status = edgeq_app_add_points(app, objects->item[i], &s->object[s->objects++]);
  return status;
}

static int check_arguments(const segmenter *s, const edgeq_app *app, int argc)
{
  size_t n = s->output ? strlen(s->output) : 0;
  if (argc != 2) return edgeq_app_fail(app, EDGEQ_USAGE, "give one photo; its points and objects belong to it");
  if (s->output && (n < 5 || strcmp(s->output + n - 4, ".png")))
    return edgeq_app_fail(app, EDGEQ_USAGE, "-o %s: masks are written as .png", s->output);
  return EDGEQ_OK;
}

static void close_model(segmenter *s)
{
  for (int i = 0; i < s->objects; i++) {
    free(s->object[i].at);
    free(s->masks[i].file);
  }
  free(s->object);
  free(s->masks);
}

int edgeq_app_segment(edgeq_app *app, int argc, char **argv)
{
  segmenter s = {0};
  edgeq_app_texts points = {0}, objects = {0};
  const edgeq_app_option options[] = {
    {"--point", 'p', EDGEQ_APP_TEXTS, &points, "X,Y", "a pixel of the object; -X,Y or X,Y:0 is background; repeat it"},
    {"--object", 0, EDGEQ_APP_TEXTS, &objects, "\"X,Y X,Y\"", "points of one more object; repeat it"},
    {"--output", 'o', EDGEQ_APP_TEXT, &s.output, "FILE.png", "mask to write; of several FILE-1.png, FILE-2.png, ..."},
    {0},
  };
  int status = edgeq_app_start(app, &argc, argv, "PHOTO --point X,Y", options);
  if (!status) status = check_arguments(&s, app, argc);
  if (!status) status = read_objects(&s, app, &points, &objects);
  if (!status) status = open_model(&s, app);
  if (!status) status = segment(&s, argv[1]);
  close_model(&s);
  free(points.item);
  free(objects.item);
  return status;
}
