/* PNG (ISO 15948): every colour type and depth, interlaced or not, transparency, EXIF orientation. */
#include "decode.h"

#include <stdlib.h>
#include <string.h>

#define DAMAGED "its PNG data is damaged"
enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

typedef struct {
  int32_t width, height;
  int bits, colour, interlaced;
  int samples;                /* of a pixel, as stored */
  uint8_t palette[256][4];    /* RGBA */
  int colours;
  int keyed;                  /* pixels of one colour are transparent */
  uint32_t key[3];
  uint8_t *packed;            /* all IDAT chunks, one after another */
  size_t packed_size;
  int orientation;
} png;

static const char *read_header(png *p, const uint8_t *data, size_t size)
{
  static const uint8_t SAMPLES[7] = {1, 0, 3, 1, 2, 0, 4};
  if (size != 13 || data[10] || data[11] || data[12] > 1 || data[9] > 6 || !SAMPLES[data[9]]) return DAMAGED;
  p->bits = data[8];
  p->colour = data[9];
  p->interlaced = data[12];
  p->samples = SAMPLES[p->colour];
  int small = p->bits == 1 || p->bits == 2 || p->bits == 4, many = p->colour != GREY && p->colour != PALETTE;
  if (!(p->bits == 8 || (small && !many) || (p->bits == 16 && p->colour != PALETTE))) return DAMAGED;
  uint32_t width = edgeq_be32(data), height = edgeq_be32(data + 4);
  if (!width || !height || (uint64_t)width * height > EDGEQ_MOST_PIXELS) return "its size is zero or too large";
  p->width = (int32_t)width;
  p->height = (int32_t)height;
  return NULL;
}

static const char *read_palette(png *p, const uint8_t *data, size_t size)
{
  if (size % 3 || size > 768) return DAMAGED;
  p->colours = (int)(size / 3);
  for (int i = 0; i < p->colours; i++) {
    memcpy(p->palette[i], data + 3 * i, 3);
    p->palette[i][3] = 255;
  }
  return NULL;
}

/* Pillow compares 8-bit pixels with the low byte of RGB's key and with grey's whole key, and drops that of 16-bit grey. */
static const char *read_transparency(png *p, const uint8_t *data, size_t size)
{
  if (p->colour == PALETTE) {
    if (size > (size_t)p->colours) return DAMAGED;
    for (size_t i = 0; i < size; i++) p->palette[i][3] = data[i];
    p->keyed = 1;
    return NULL;
  }
  if (p->colour != GREY && p->colour != RGB) return NULL;
  if (size < (p->colour == RGB ? 6 : 2)) return DAMAGED;
  p->keyed = p->colour == RGB || p->bits < 16;
  for (int i = 0; i < (p->colour == RGB ? 3 : 1); i++) p->key[i] = edgeq_be16(data + 2 * i);
  if (p->colour == GREY && p->bits == 1) p->key[0] = p->key[0] ? 255 : 0;
  if (p->colour == RGB)
    for (int i = 0; i < 3; i++) p->key[i] &= 255;
  return NULL;
}

static int is(const uint8_t *name, const char *wanted) { return !memcmp(name, wanted, 4); }

static const char *read_chunk(png *p, const uint8_t *name, const uint8_t *data, size_t size)
{
  if (is(name, "IHDR")) return p->width ? DAMAGED : read_header(p, data, size);
  if (!p->width) return DAMAGED;
  if (is(name, "PLTE")) return read_palette(p, data, size);
  if (is(name, "tRNS")) return read_transparency(p, data, size);
  if (is(name, "eXIf")) {
    p->orientation = edgeq_exif_orientation(data, size);
  } else if (is(name, "iTXt") && size > 22 && !memcmp(data, "XML:com.adobe.xmp", 18) && !p->orientation) {
    p->orientation = edgeq_xmp_orientation(data + 18, size - 18);
  } else if (is(name, "IDAT")) {
    memcpy(p->packed + p->packed_size, data, size);
    p->packed_size += size;
  } else if (!(name[0] & 32) && !is(name, "IEND")) {
    return "it needs a PNG extension that is not known here";
  }
  return NULL;
}

static const char *read_chunks(png *p, const uint8_t *at, const uint8_t *end)
{
  for (;;) {
    if (end - at < 12) return EDGEQ_TRUNCATED;
    size_t size = edgeq_be32(at);
    const uint8_t *name = at + 4, *data = at + 8;
    if (size > (size_t)(end - data) - 4) return EDGEQ_TRUNCATED;
    int critical = !(name[0] & 32);
    if (critical && edgeq_crc32(0, name, size + 4) != edgeq_be32(data + size)) return DAMAGED;
    const char *error = read_chunk(p, name, data, size);
    if (error || is(name, "IEND")) return error;
    at = data + size + 4;
  }
}

/* Bytes of a row of n pixels. */
static size_t row_bytes(const png *p, int32_t n) { return ((size_t)n * (size_t)(p->samples * p->bits) + 7) / 8; }

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
static int sample(const png *p, const uint8_t *row, size_t index)
{
  if (p->bits == 8) return row[index];
  if (p->bits == 16) return row[2 * index];
  size_t bit = index * (size_t)p->bits;
  int most = (1 << p->bits) - 1, value = row[bit / 8] >> (8 - p->bits - (int)(bit % 8)) & most;
  return p->colour == PALETTE ? value : value * (255 / most);
}

/* Pixel x of a row in the image's channels; 0 for an index outside of the palette. */
static int pixel(const png *p, const uint8_t *row, int32_t x, int channels, uint8_t *out)
{
  size_t first = (size_t)x * (size_t)p->samples;
  int v[4] = {0};
  for (int i = 0; i < p->samples; i++) v[i] = sample(p, row, first + (size_t)i);
  if (p->colour == PALETTE) {
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

static size_t pass_bytes(const png *p, const pass *s)
{
  int32_t columns = count(p->width, s->x, s->dx), rows = count(p->height, s->y, s->dy);
  return columns ? (row_bytes(p, columns) + 1) * (size_t)rows : 0;
}

static const char *read_pass(const png *p, const pass *s, uint8_t *data, edgeq_image *out)
{
  int32_t columns = count(p->width, s->x, s->dx), rows = columns ? count(p->height, s->y, s->dy) : 0;
  size_t bytes = row_bytes(p, columns), step = (size_t)(p->samples * p->bits + 7) / 8;
  const uint8_t *above = NULL;
  for (int32_t y = 0; y < rows; y++, data += bytes + 1) {
    if (!unfilter(data[0], data + 1, above, bytes, step)) return DAMAGED;
    above = data + 1;
    uint8_t *row = out->pixels + (size_t)(s->y + y * s->dy) * (size_t)p->width * (size_t)out->channels;
    for (int32_t x = 0; x < columns; x++)
      if (!pixel(p, above, x, out->channels, row + (size_t)(s->x + x * s->dx) * (size_t)out->channels)) return DAMAGED;
  }
  return NULL;
}

static const char *read_pixels(const png *p, edgeq_image *out)
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
  if (!error) error = edgeq_image_make(p->width, p->height, alpha ? 4 : p->colour == GREY ? 1 : 3, out);
  uint8_t *at = data;
  for (int i = 0; !error && i < n; at += pass_bytes(p, &passes[i++])) error = read_pass(p, &passes[i], at, out);
  free(data);
  return error;
}

const char *edgeq_png_decode(const uint8_t *bytes, size_t size, edgeq_image *out, int *orientation)
{
  png *p = calloc(1, sizeof *p);
  const char *error = EDGEQ_NO_MEMORY;
  if (p && (p->packed = malloc(size))) {
    error = read_chunks(p, bytes + 8, bytes + size);
    if (!error && p->colour == PALETTE && !p->colours) error = DAMAGED;
    if (!error) error = read_pixels(p, out);
    *orientation = p->orientation;
    free(p->packed);
  }
  free(p);
  return error;
}
