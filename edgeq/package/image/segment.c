/* Masks at points of a photo (SAM): the photo is looked at once, then every object costs little. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "points.h"

#define NO_POINT (-10) /* SamProcessor's point_pad_value: its embedding is zero */

typedef struct {
  edgeq_image pixels; /* 255 in the object */
  float score;
  int64_t area;
  int32_t left, top, right, bottom; /* of the mask; the last two are one beyond it */
  double seconds;
  char *file;
} found_mask;

typedef struct {
  edgeq_photos photos;
  edgeq_sizes photo;
  int32_t prompt, mask;                          /* entries */
  edgeq_tensor points, labels, logits, overlaps; /* input_points, input_labels, pred_masks, iou_scores */
  const char *output;
  double seconds;       /* of the image's features */
  edgeq_points *object; /* the points of each mask */
  found_mask *masks;
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

static void measure(found_mask *m)
{
  const uint8_t *p = m->pixels.pixels;
  m->left = m->pixels.width;
  m->top = m->pixels.height;
  for (int32_t y = 0; y < m->pixels.height; y++)
    for (int32_t x = 0; x < m->pixels.width; x++, p++) {
      if (!*p) continue;
      m->area++;
      if (x < m->left) m->left = x;
      if (x >= m->right) m->right = x + 1;
      if (y < m->top) m->top = y;
      m->bottom = y + 1;
    }
}

static int run(const segmenter *s, const edgeq_points *points, found_mask *m)
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
  const edgeq_logits_map map = {edgeq_tensor_row(&s->logits, (size_t)candidate * (size_t)height), height, width, s->logits.row_stride,
                                square->shape[2], square->shape[3]};
  const char *why = edgeq_full_mask(&map, &s->photo, &m->pixels);
  if (why) return edgeq_app_fail(app, EDGEQ_FAILED, "the mask cannot be made: %s", why);
  measure(m);
  edgeq_app_note(app, "prompt and mask: %.1f ms", m->seconds * 1e3);
  return EDGEQ_OK;
}

/* "mask.png"; of several masks "mask-1.png", "mask-2.png", ... */
static char *file_name(const segmenter *s, int object)
{
  size_t stem = strlen(s->output) - 4, room = stem + 24;
  char *name = edgeq_app_grow(NULL, room);
  if (s->objects == 1) snprintf(name, room, "%s", s->output);
  else snprintf(name, room, "%.*s-%d.png", (int)stem, s->output, object + 1);
  return name;
}

/* Under another name first: no half-written file is left. */
static int write_file(const char *path, const uint8_t *bytes, size_t size)
{
  size_t room = strlen(path) + 8;
  char *part = edgeq_app_grow(NULL, room);
  snprintf(part, room, "%s.part", path);
  FILE *file = fopen(part, "wb");
  int fine = file && fwrite(bytes, 1, size, file) == size;
  if (file && fclose(file)) fine = 0;
  if (fine && rename(part, path)) fine = 0;
  int why = errno;
  if (!fine && file) remove(part);
  free(part);
  return fine ? 0 : why;
}

static int save(const segmenter *s, found_mask *m, int object)
{
  uint8_t *bytes = NULL;
  size_t size = 0;
  if (!s->output) return EDGEQ_OK;
  m->file = file_name(s, object);
  const char *why = edgeq_png_encode(&m->pixels, &bytes, &size);
  int number = why ? 0 : write_file(m->file, bytes, size);
  free(bytes);
  if (!why && !number) return EDGEQ_OK;
  return edgeq_app_fail(s->photos.app, EDGEQ_APP_OUTPUT, "%s cannot be written: %s", m->file, why ? why : strerror(number));
}

static void print_points(const edgeq_points *points)
{
  for (int i = 0; i < points->n; i++)
    printf("%s[%.17g, %.17g, %d]", i ? ", " : "", points->at[i].x, points->at[i].y, points->at[i].inside);
}

static void print_json(const found_mask *m, const edgeq_points *points, int first)
{
  printf("%s{\"points\": [", first ? "" : ", ");
  print_points(points);
  printf("], \"score\": %.9g, \"pixels\": %lld, \"box\": ", (double)m->score, (long long)m->area);
  if (m->area) printf("[%d, %d, %d, %d]", m->left, m->top, m->right, m->bottom);
  else printf("null");
  printf(", \"seconds\": %.6g, \"file\": ", m->seconds);
  if (m->file) edgeq_app_print_json(m->file, strlen(m->file));
  else printf("null");
  putchar('}');
}

static void print_line(const found_mask *m)
{
  printf("%7.4f  %lld pixels, box ", (double)m->score, (long long)m->area);
  if (m->area) printf("[%d, %d, %d, %d]", m->left, m->top, m->right, m->bottom);
  else printf("none");
  printf(m->file ? "  %s\n" : "\n", m->file);
}

static void print_all(const segmenter *s, const char *path)
{
  const edgeq_app *app = s->photos.app;
  if (app->options.json) {
    printf("{\"input\": ");
    edgeq_app_print_json(path, strlen(path));
    printf(", \"image_seconds\": %.6g, \"masks\": [", s->seconds);
  }
  for (int i = 0; i < s->objects; i++)
    if (app->options.json) print_json(&s->masks[i], &s->object[i], !i);
    else print_line(&s->masks[i]);
  if (app->options.json) puts("]}");
}

/* Results are printed when all are there: a failure prints none. */
static int segment(segmenter *s, const char *path)
{
  const edgeq_app *app = s->photos.app;
  int status = edgeq_photos_load(&s->photos, path, &s->photo);
  for (int i = 0; !status && i < s->objects; i++) status = edgeq_app_check_points(app, &s->object[i], s->points.shape[2], &s->photo);
  if (!status) status = edgeq_photos_run(&s->photos, &s->seconds);
  if (!status) edgeq_app_note(app, "image features: %.1f ms", s->seconds * 1e3);
  for (int i = 0; !status && i < s->objects; i++) {
    status = run(s, &s->object[i], &s->masks[i]);
    if (!status) status = save(s, &s->masks[i], i);
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
  for (int i = 0; !status && i < objects->n; i++) status = edgeq_app_add_points(app, objects->item[i], &s->object[s->objects++]);
  return status;
}

static int check_arguments(const segmenter *s, const edgeq_app *app, int argc)
{
  size_t n = s->output ? strlen(s->output) : 0;
  if (argc != 2) return edgeq_app_fail(app, EDGEQ_USAGE, "give one photo; its points and objects belong to it");
  if (s->output && (n < 5 || strcmp(s->output + n - 4, ".png"))) return edgeq_app_fail(app, EDGEQ_USAGE, "-o %s: masks are written as .png", s->output);
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
