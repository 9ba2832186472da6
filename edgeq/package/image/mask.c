/* A model's logits in the photo's size, by bilinear interpolation in float32 (edgeq/tasks/interpolation.py, the arithmetic of
 * torch.nn.functional.interpolate without aligned corners). */
#include "decode.h"

#include <stdlib.h>

#pragma STDC FP_CONTRACT OFF

/* For a place: its two neighbours among `given`, and how far it lies towards the second. */
typedef struct {
  int32_t low, high;
  float part;
} place;

static place between(int32_t i, int32_t given, int32_t wanted)
{
  float at = ((float)i + 0.5f) * (float)((double)given / wanted) - 0.5f;
  if (at < 0) at = 0;
  place p = {.low = (int32_t)at};
  p.high = p.low + 1 < given ? p.low + 1 : given - 1;
  p.part = at - (float)p.low;
  return p;
}

static place *places(int32_t given, int32_t wanted)
{
  place *found = malloc((size_t)wanted * sizeof *found);
  for (int32_t i = 0; found && i < wanted; i++) found[i] = between(i, given, wanted);
  return found;
}

static float blend(float a, float b, float part) { return a * (1.0f - part) + b * part; }

/* Rows of one height to another, one at a time: `mixed` holds row y of the source blended. */
typedef struct {
  const float *data;
  int32_t height, width, stride;
  float *mixed;
  place *column;
} resizer;

static void row(const resizer *r, int32_t y, int32_t height, int32_t width, float *out)
{
  place p = between(y, r->height, height);
  const float *low = r->data + (size_t)p.low * (size_t)r->stride, *high = r->data + (size_t)p.high * (size_t)r->stride;
  for (int32_t x = 0; x < r->width; x++) r->mixed[x] = blend(low[x], high[x], p.part);
  for (int32_t x = 0; x < width; x++) {
    place q = r->column[x];
    out[x] = blend(r->mixed[q.low], r->mixed[q.high], q.part);
  }
}

static int open_resizer(resizer *r, int32_t width)
{
  r->mixed = malloc((size_t)r->width * sizeof *r->mixed);
  r->column = places(r->width, width);
  return r->mixed && r->column;
}

static void close_resizer(resizer *r)
{
  free(r->mixed);
  free(r->column);
}

/* f32[height, width] in memory of malloc; NULL when there is none. */
static float *enlarged(const edgeq_logits_map *map)
{
  resizer r = {.data = map->data, .height = map->height, .width = map->width, .stride = map->stride};
  size_t width = (size_t)map->square_width;
  float *out = malloc((size_t)map->square_height * width * sizeof *out);
  if (out && open_resizer(&r, map->square_width)) {
    for (int32_t y = 0; y < map->square_height; y++) row(&r, y, map->square_height, map->square_width, out + (size_t)y * width);
  } else {
    free(out);
    out = NULL;
  }
  close_resizer(&r);
  return out;
}

const char *edgeq_full_mask(const edgeq_logits_map *map, const edgeq_sizes *s, edgeq_image *out)
{
  *out = (edgeq_image){0};
  if (s->resized_height > map->square_height || s->resized_width > map->square_width)
    return "the photo does not fit the model's square: compile the model again";
  float *square = enlarged(map), *line = malloc((size_t)s->width * sizeof *line);
  resizer r = {.data = square, .height = s->resized_height, .width = s->resized_width, .stride = map->square_width};
  const char *error = open_resizer(&r, s->width) && square && line ? edgeq_image_make(s->width, s->height, 1, out) : EDGEQ_NO_MEMORY;
  for (int32_t y = 0; !error && y < s->height; y++) {
    row(&r, y, s->height, s->width, line);
    for (int32_t x = 0; x < s->width; x++) out->pixels[(size_t)y * (size_t)s->width + (size_t)x] = line[x] > 0 ? 255 : 0;
  }
  close_resizer(&r);
  free(square);
  free(line);
  return error;
}
