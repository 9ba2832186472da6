/* A PNG's packed data becomes pixels: every colour type and depth, interlaced or not. */
#include "png.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of a row of n pixels. */
static size_t row_bytes(const edgeq_png *p, int32_t n) { return ((size_t)n * (size_t)(p->samples * p->bits) + 7) / 8; }

static int nearest(int left, int above, int corner)
{
  int guess = left + above - corner, a = abs(guess - left), b = abs(guess - above), c = abs(guess - corner);
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/* Undoes a row's filter; `above` is the row before, NULL for the first. */
static int unfilter(int filter, uint8_t *row, const uint8_t *above, size_t bytes, size_t pixel)
{
  if (filter > 4) return 0;
  for (size_t i = 0; filter && i < bytes; i++) {
    int left = i < pixel ? 0 : row[i - pixel], up = above ? above[i] : 0, corner = above && i >= pixel ? above[i - pixel] : 0;
    int guess = filter == 1 ? left : filter == 2 ? up : filter == 3 ? (left + up) / 2 : nearest(left, up, corner);
    row[i] = (uint8_t)(row[i] + guess);
  }
  return 1;
}

/* A sample in 8 bits: 16 lose their lower half, fewer than 8 are stretched unless they are a palette's index. */
static int sample(const edgeq_png *p, const uint8_t *row, size_t index)
{
  if (p->bits == 8) return row[index];
  if (p->bits == 16) return row[2 * index];
  size_t bit = index * (size_t)p->bits;
  int most = (1 << p->bits) - 1, value = row[bit / 8] >> (8 - p->bits - (int)(bit % 8)) & most;
  return p->colour == EDGEQ_PNG_PALETTE ? value : value * (255 / most);
}

/* Pixel x of a row in the image's channels; 0 for an index outside of the palette. */
static int pixel(const edgeq_png *p, const uint8_t *row, int32_t x, int channels, uint8_t *out)
{
  size_t first = (size_t)x * (size_t)p->samples;
  int v[4] = {0};
  for (int i = 0; i < p->samples; i++) v[i] = sample(p, row, first + (size_t)i);
  if (p->colour == EDGEQ_PNG_PALETTE) {
    memcpy(out, p->palette[v[0]], (size_t)channels);
    return v[0] < p->colours;
  }
  int grey = p->samples < 3, alpha = p->samples == 2 ? v[1] : p->samples == 4 ? v[3] : 255;
  if (p->keyed && (uint32_t)v[0] == p->key[0] && (grey || ((uint32_t)v[1] == p->key[1] && (uint32_t)v[2] == p->key[2]))) alpha = 0;
  const uint8_t rgba[4] = {(uint8_t)v[0], (uint8_t)v[grey ? 0 : 1], (uint8_t)v[grey ? 0 : 2], (uint8_t)alpha};
  memcpy(out, rgba, (size_t)channels);
  return 1;
}

typedef struct {
  int32_t x, y, dx, dy;
} pass;

static const pass INTERLACED[7] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
static const pass PLAIN = {0, 0, 1, 1};

static int32_t count(int32_t size, int32_t start, int32_t step) { return start < size ? (size - start + step - 1) / step : 0; }

static size_t pass_bytes(const edgeq_png *p, const pass *s)
{
  int32_t columns = count(p->width, s->x, s->dx), rows = count(p->height, s->y, s->dy);
  return columns ? (row_bytes(p, columns) + 1) * (size_t)rows : 0;
}

static const char *read_pass(const edgeq_png *p, const pass *s, uint8_t *data, edgeq_image *out)
{
  int32_t columns = count(p->width, s->x, s->dx), rows = columns ? count(p->height, s->y, s->dy) : 0;
  size_t bytes = row_bytes(p, columns), step = (size_t)(p->samples * p->bits + 7) / 8;
  const uint8_t *above = NULL;
  for (int32_t y = 0; y < rows; y++, data += bytes + 1) {
    if (!unfilter(data[0], data + 1, above, bytes, step)) return EDGEQ_BAD_PNG;
    above = data + 1;
    uint8_t *row = out->pixels + (size_t)(s->y + y * s->dy) * (size_t)p->width * (size_t)out->channels;
    for (int32_t x = 0; x < columns; x++)
      if (!pixel(p, above, x, out->channels, row + (size_t)(s->x + x * s->dx) * (size_t)out->channels)) return EDGEQ_BAD_PNG;
  }
  return NULL;
}

const char *edgeq_png_pixels(const edgeq_png *p, edgeq_image *out)
{
  const pass *passes = p->interlaced ? INTERLACED : &PLAIN;
  int n = p->interlaced ? 7 : 1;
  size_t total = 0;
  for (int i = 0; i < n; i++) total += pass_bytes(p, &passes[i]);
  if (total / 1100 > p->packed_size) return EDGEQ_TRUNCATED; /* deflate packs at most 1032 bytes into one */
  uint8_t *data = malloc(total);
  if (!data) return EDGEQ_NO_MEMORY;
  const char *error = edgeq_inflate(p->packed, p->packed_size, data, total);
  int alpha = p->samples == 2 || p->samples == 4 || p->keyed;
  if (!error) error = edgeq_image_make(p->width, p->height, alpha ? 4 : p->colour == EDGEQ_PNG_GREY ? 1 : 3, out);
  uint8_t *at = data;
  for (int i = 0; !error && i < n; at += pass_bytes(p, &passes[i++])) error = read_pass(p, &passes[i], at, out);
  free(data);
  return error;
}
