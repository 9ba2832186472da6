/* Resizing as Pillow's Image.resize (13.0) does it, bit for bit: a filter's weights in 22 fraction bits, along x and along y with
 * 8 bits between; the nearest neighbour by stepping from pixel to pixel. */
#include "decode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF /* fused multiply-adds would round other weights on some CPUs */

#define FRACTION 22
#define PI 3.14159265358979323846

static double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

static double bilinear(double x)
{
  x = fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x)
{
  x = fabs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x = x * PI;
  return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x)); /* Pillow's constants are floats */
}

static double bicubic(double x) /* Keys' cubic convolution, a = -0.5 */
{
  const double a = -0.5;
  x = fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

static double sinc(double x)
{
  if (x == 0.0) return 1.0;
  x = x * PI;
  return sin(x) / x;
}

static double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

static const struct {
  double (*weight)(double);
  double support;
} FILTERS[6] = {{0}, {lanczos, 3.0}, {bilinear, 1.0}, {bicubic, 2.0}, {box, 0.5}, {hamming, 1.0}};

/* For each of `size` places: the first of its sources, how many, and their weights, `most` apart. */
typedef struct {
  int32_t *first, *count, *weight;
  int32_t most;
} taps;

static void free_taps(taps *t)
{
  free(t->first);
  free(t->count);
  free(t->weight);
}

static int32_t fixed(double weight)
{
  return (int32_t)(weight < 0 ? -0.5 + weight * (1 << FRACTION) : 0.5 + weight * (1 << FRACTION));
}

/* One place, whose centre lies at `centre` of the source. */
static void make_tap(taps *t, int32_t place, int32_t sources, double centre, double spread, int filter, double *exact)
{
  double support = FILTERS[filter].support * spread, inverse = 1.0 / spread, sum = 0.0;
  int32_t first = (int32_t)(centre - support + 0.5), end = (int32_t)(centre + support + 0.5);
  if (first < 0) first = 0;
  if (end > sources) end = sources;
  for (int32_t i = 0; i < end - first; i++) {
    exact[i] = FILTERS[filter].weight((i + first - centre + 0.5) * inverse);
    sum += exact[i];
  }
  int32_t *weight = t->weight + (size_t)place * (size_t)t->most;
  for (int32_t i = 0; i < end - first; i++) weight[i] = fixed(sum != 0.0 ? exact[i] / sum : exact[i]);
  t->first[place] = first;
  t->count[place] = end - first;
}

static const char *make_taps(int32_t sources, int32_t size, int filter, taps *t)
{
  double scale = (double)sources / size, spread = scale < 1.0 ? 1.0 : scale;
  t->most = (int32_t)ceil(FILTERS[filter].support * spread) * 2 + 1;
  double *exact = malloc((size_t)t->most * sizeof *exact);
  t->first = malloc((size_t)size * sizeof *t->first);
  t->count = malloc((size_t)size * sizeof *t->count);
  t->weight = calloc((size_t)size * (size_t)t->most, sizeof *t->weight);
  const char *error = exact && t->first && t->count && t->weight ? NULL : EDGEQ_NO_MEMORY;
  for (int32_t i = 0; !error && i < size; i++) make_tap(t, i, sources, 0.0 + (i + 0.5) * scale, spread, filter, exact);
  free(exact);
  return error;
}

static uint8_t clip(int32_t sum)
{
  sum >>= FRACTION;
  return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void along_x(const edgeq_image *in, const taps *t, edgeq_image *out)
{
  int n = in->channels;
  uint8_t *to = out->pixels;
  for (int32_t y = 0; y < out->height; y++) {
    const uint8_t *row = in->pixels + (size_t)y * (size_t)in->width * (size_t)n;
    for (int32_t x = 0; x < out->width; x++)
      for (int c = 0; c < n; c++) {
        const uint8_t *from = row + (size_t)t->first[x] * (size_t)n + c;
        const int32_t *weight = t->weight + (size_t)x * (size_t)t->most;
        int32_t sum = 1 << (FRACTION - 1);
        for (int32_t i = 0; i < t->count[x]; i++, from += n) sum += *from * weight[i];
        *to++ = clip(sum);
      }
  }
}

static const char *along_y(const edgeq_image *in, const taps *t, edgeq_image *out)
{
  size_t bytes = (size_t)in->width * (size_t)in->channels;
  int32_t *sum = malloc(bytes * sizeof *sum);
  if (!sum) return EDGEQ_NO_MEMORY;
  for (int32_t y = 0; y < out->height; y++) {
    const int32_t *weight = t->weight + (size_t)y * (size_t)t->most;
    for (size_t x = 0; x < bytes; x++) sum[x] = 1 << (FRACTION - 1);
    for (int32_t i = 0; i < t->count[y]; i++) {
      const uint8_t *row = in->pixels + (size_t)(t->first[y] + i) * bytes;
      for (size_t x = 0; x < bytes; x++) sum[x] += row[x] * weight[i];
    }
    for (size_t x = 0; x < bytes; x++) out->pixels[(size_t)y * bytes + x] = clip(sum[x]);
  }
  free(sum);
  return NULL;
}

/* Sources of the nearest neighbour; -1 where rounding stepped over the edge. */
static void step(int32_t sources, int32_t size, int32_t *source)
{
  double scale = (double)sources / size, at = 0.0 + scale * 0.5;
  for (int32_t i = 0; i < size; i++, at += scale) source[i] = at >= 0.0 && at < sources ? (int32_t)at : -1;
}

static const char *nearest(const edgeq_image *in, edgeq_image *out)
{
  int32_t *column = malloc((size_t)out->width * sizeof *column), *line = malloc((size_t)out->height * sizeof *line);
  const char *error = column && line ? NULL : EDGEQ_NO_MEMORY;
  size_t n = (size_t)in->channels;
  uint8_t *to = out->pixels;
  if (!error) step(in->width, out->width, column);
  if (!error) step(in->height, out->height, line);
  for (int32_t y = 0; !error && y < out->height; y++)
    for (int32_t x = 0; x < out->width; x++, to += n)
      if (line[y] >= 0 && column[x] >= 0)
        memcpy(to, in->pixels + ((size_t)line[y] * (size_t)in->width + (size_t)column[x]) * n, n);
  free(column);
  free(line);
  return error;
}

static const char *filtered(const edgeq_image *in, int32_t size, int filter, int vertical, edgeq_image *out)
{
  taps t = {0};
  const char *error = make_taps(vertical ? in->height : in->width, size, filter, &t);
  if (!error) error = edgeq_image_make(vertical ? in->width : size, vertical ? size : in->height, in->channels, out);
  if (!error && vertical) error = along_y(in, &t, out);
  if (!error && !vertical) along_x(in, &t, out);
  free_taps(&t);
  return error;
}

static const char *copy(const edgeq_image *in, edgeq_image *out)
{
  const char *error = edgeq_image_make(in->width, in->height, in->channels, out);
  if (!error) memcpy(out->pixels, in->pixels, (size_t)in->width * (size_t)in->height * (size_t)in->channels);
  return error;
}

/* Along y first where the height shrinks by more than twice what the width does; Pillow before 13.0 never did. */
static int vertical_first(const edgeq_image *in, int32_t width, int32_t height)
{
  int64_t rows = (int64_t)in->height - height, columns = (int64_t)in->width - width;
  return rows > 0 && rows > 2 * columns;
}

const char *edgeq_image_resize(const edgeq_image *in, int32_t width, int32_t height, int filter, edgeq_image *out)
{
  edgeq_image between = {0};
  const char *error = NULL;
  *out = (edgeq_image){0};
  if (filter < 0 || filter > EDGEQ_HAMMING) return "no such filter";
  if (width == in->width && height == in->height) return copy(in, out);
  if (filter == EDGEQ_NEAREST) {
    error = edgeq_image_make(width, height, in->channels, out);
    if (!error) error = nearest(in, out);
  } else if (width == in->width || height == in->height) {
    error = filtered(in, width == in->width ? height : width, filter, width == in->width, out);
  } else {
    int y_first = vertical_first(in, width, height);
    error = filtered(in, y_first ? height : width, filter, y_first, &between);
    if (!error) error = filtered(&between, y_first ? width : height, filter, !y_first, out);
  }
  edgeq_image_free(&between);
  if (error) edgeq_image_free(out);
  return error;
}
