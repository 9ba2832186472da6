/* PNG chunk by chunk: header, palette, transparency, orientation, packed data. */
#include "png.h"

#include <stdlib.h>
#include <string.h>

static const char *read_header(edgeq_png *p, const uint8_t *data, size_t size)
{
  static const uint8_t SAMPLES[7] = {1, 0, 3, 1, 2, 0, 4};
  if (size != 13 || data[10] || data[11] || data[12] > 1 || data[9] > 6 || !SAMPLES[data[9]]) return EDGEQ_BAD_PNG;
  p->bits = data[8];
  p->colour = data[9];
  p->interlaced = data[12];
  p->samples = SAMPLES[p->colour];
  int small = p->bits == 1 || p->bits == 2 || p->bits == 4, many = p->colour != EDGEQ_PNG_GREY && p->colour != EDGEQ_PNG_PALETTE;
  if (!(p->bits == 8 || (small && !many) || (p->bits == 16 && p->colour != EDGEQ_PNG_PALETTE))) return EDGEQ_BAD_PNG;
  uint32_t width = edgeq_be32(data), height = edgeq_be32(data + 4);
  if (!width || !height || (uint64_t)width * height > EDGEQ_MOST_PIXELS) return "its size is zero or too large";
  p->width = (int32_t)width;
  p->height = (int32_t)height;
  return NULL;
}

static const char *read_palette(edgeq_png *p, const uint8_t *data, size_t size)
{
  if (size % 3 || size > 768) return EDGEQ_BAD_PNG;
  p->colours = (int)(size / 3);
  for (int i = 0; i < p->colours; i++) {
    memcpy(p->palette[i], data + 3 * i, 3);
    p->palette[i][3] = 255;
  }
  return NULL;
}

/* Pillow compares 8-bit pixels with the low byte of RGB's key and with grey's whole key, and drops that of 16-bit grey. */
static const char *read_transparency(edgeq_png *p, const uint8_t *data, size_t size)
{
  if (p->colour == EDGEQ_PNG_PALETTE) {
    if (size > (size_t)p->colours) return EDGEQ_BAD_PNG;
    for (size_t i = 0; i < size; i++) p->palette[i][3] = data[i];
    p->keyed = 1;
    return NULL;
  }
  if (p->colour != EDGEQ_PNG_GREY && p->colour != EDGEQ_PNG_RGB) return NULL;
  if (size < (p->colour == EDGEQ_PNG_RGB ? 6 : 2)) return EDGEQ_BAD_PNG;
  p->keyed = p->colour == EDGEQ_PNG_RGB || p->bits < 16;
  for (int i = 0; i < (p->colour == EDGEQ_PNG_RGB ? 3 : 1); i++) p->key[i] = edgeq_be16(data + 2 * i);
  if (p->colour == EDGEQ_PNG_GREY && p->bits == 1) p->key[0] = p->key[0] ? 255 : 0;
  if (p->colour == EDGEQ_PNG_RGB)
    for (int i = 0; i < 3; i++) p->key[i] &= 255;
  return NULL;
}

static int is(const uint8_t *name, const char *wanted) { return !memcmp(name, wanted, 4); }

static const char *read_chunk(edgeq_png *p, const uint8_t *name, const uint8_t *data, size_t size)
{
  if (is(name, "IHDR")) return p->width ? EDGEQ_BAD_PNG : read_header(p, data, size);
  if (!p->width) return EDGEQ_BAD_PNG;
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

static const char *read_chunks(edgeq_png *p, const uint8_t *at, const uint8_t *end)
{
  for (;;) {
    if (end - at < 12) return EDGEQ_TRUNCATED;
    size_t size = edgeq_be32(at);
    const uint8_t *name = at + 4, *data = at + 8;
    if (size > (size_t)(end - data) - 4) return EDGEQ_TRUNCATED;
    int critical = !(name[0] & 32);
    if (critical && edgeq_crc32(0, name, size + 4) != edgeq_be32(data + size)) return EDGEQ_BAD_PNG;
    const char *error = read_chunk(p, name, data, size);
    if (error || is(name, "IEND")) return error;
    at = data + size + 4;
  }
}

const char *edgeq_png_decode(const uint8_t *bytes, size_t size, edgeq_image *out, int *orientation)
{
  edgeq_png *p = calloc(1, sizeof *p);
  const char *error = EDGEQ_NO_MEMORY;
  if (p && (p->packed = malloc(size))) {
    error = read_chunks(p, bytes + 8, bytes + size);
    if (!error && p->colour == EDGEQ_PNG_PALETTE && !p->colours) error = EDGEQ_BAD_PNG;
    if (!error) error = edgeq_png_pixels(p, out);
    *orientation = p->orientation;
    free(p->packed);
  }
  free(p);
  return error;
}
