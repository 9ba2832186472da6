/* Windows bitmaps: 1, 4 and 8 bits with a palette, 16, 24 and 32 bits with colour masks; no run-length packing. */
#include "decode.h"

#include <string.h>

#define DAMAGED "its BMP header is damaged"
enum { RAW = 0, RLE8 = 1, RLE4 = 2, MASKS = 3 };

typedef struct {
  const uint8_t *bytes;
  size_t size, header, pixels;
  int32_t width, height;
  int upside_down; /* the first row stored is the lowest */
  int bits;
  uint32_t packing, colours, mask[4]; /* red, green, blue, alpha */
  const uint8_t *palette;
  size_t entry;    /* bytes of a palette's colour */
} bmp;

static const char *read_size(bmp *b)
{
  const uint8_t *p = b->bytes + 14;
  int old = b->header == 12;
  int64_t width = (int64_t)(old ? edgeq_le16(p + 4) : edgeq_le32(p + 4));
  int64_t height = old ? (int64_t)edgeq_le16(p + 6) : (int32_t)edgeq_le32(p + 8);
  b->upside_down = height > 0;
  if (height < 0) height = -height;
  if (width < 1 || height < 1 || width > EDGEQ_MOST_PIXELS / height) return "its size is zero or too large";
  b->width = (int32_t)width;
  b->height = (int32_t)height;
  b->bits = (int)edgeq_le16(p + (old ? 10 : 14));
  b->packing = old ? RAW : edgeq_le32(p + 16);
  b->colours = old ? 0 : edgeq_le32(p + 32);
  return NULL;
}

static const char *read_masks(bmp *b)
{
  static const uint32_t FIVE[4] = {0x7c00, 0x3e0, 0x1f, 0}, EIGHT[4] = {0xff0000, 0xff00, 0xff, 0};
  static const uint32_t ALPHA[4] = {0xff0000, 0xff00, 0xff, 0xff000000};
  memcpy(b->mask, b->bits == 16 ? FIVE : EIGHT, sizeof b->mask);
  if (b->packing != MASKS) return NULL;
  int alpha = b->bits == 32 && b->header >= 56;
  if (b->size < 14 + 40 + 12 + (alpha ? 4 : 0)) return EDGEQ_TRUNCATED;
  for (int i = 0; i < 3 + alpha; i++) b->mask[i] = edgeq_le32(b->bytes + 14 + 40 + 4 * i);
  if (b->bits == 32 && !(b->mask[0] | b->mask[1] | b->mask[2] | b->mask[3])) memcpy(b->mask, ALPHA, sizeof b->mask);
  return NULL;
}

static const char *read_palette(bmp *b)
{
  if (!b->colours) b->colours = 1u << b->bits;
  if (b->colours > 65536) return DAMAGED;
  b->entry = b->header == 12 ? 3 : 4;
  b->palette = b->bytes + 14 + b->header;
  if (b->size - 14 - b->header < b->colours * b->entry) return EDGEQ_TRUNCATED;
  if (b->pixels == 14 + b->header) b->pixels += b->colours * b->entry;
  return NULL;
}

static const char *read_header(bmp *b)
{
  if (b->size < 18) return EDGEQ_TRUNCATED;
  b->header = edgeq_le32(b->bytes + 14);
  b->pixels = edgeq_le32(b->bytes + 10);
  if (b->header != 12 && (b->header < 40 || b->header > 124)) return DAMAGED;
  if (b->size < 14 + b->header) return EDGEQ_TRUNCATED;
  const char *error = read_size(b);
  if (error) return error;
  if (b->packing == RLE8 || b->packing == RLE4) return "run-length packed BMP is not read here: convert it to PNG";
  if (b->packing != RAW && b->packing != MASKS) return DAMAGED;
  if (b->bits == 1 || b->bits == 4 || b->bits == 8) return b->packing == RAW ? read_palette(b) : DAMAGED;
  return b->bits == 16 || b->bits == 24 || b->bits == 32 ? read_masks(b) : DAMAGED;
}

/* The bits of a mask, stretched to 8. */
static uint8_t channel(uint32_t value, uint32_t mask)
{
  if (!mask) return 0;
  uint32_t low = mask & (0 - mask), most = mask / low;
  return (uint8_t)((uint64_t)((value & mask) / low) * 255 / most);
}

static int indexed(const bmp *b, const uint8_t *row, size_t x, uint8_t *out)
{
  size_t bit = x * (size_t)b->bits;
  uint32_t index = row[bit / 8] >> (8 - b->bits - (int)(bit % 8)) & ((1u << b->bits) - 1);
  if (index >= b->colours) return 0;
  const uint8_t *colour = b->palette + index * b->entry;
  for (int i = 0; i < 3; i++) out[i] = colour[2 - i];
  return 1;
}

static int pixel(const bmp *b, const uint8_t *row, size_t x, int channels, uint8_t *out)
{
  if (b->bits <= 8) return indexed(b, row, x, out);
  const uint8_t *p = row + x * (size_t)b->bits / 8;
  uint32_t value = edgeq_le16(p) | (b->bits > 16 ? (uint32_t)p[2] << 16 : 0) | (b->bits > 24 ? (uint32_t)p[3] << 24 : 0);
  for (int i = 0; i < channels; i++) out[i] = channel(value, b->mask[i]);
  return 1;
}

const char *edgeq_bmp_decode(const uint8_t *bytes, size_t size, edgeq_image *out)
{
  bmp b = {.bytes = bytes, .size = size};
  const char *error = read_header(&b);
  if (error) return error;
  size_t used = ((size_t)b.width * (size_t)b.bits + 7) / 8, stride = (used + 3) / 4 * 4;
  if (b.pixels > size || size - b.pixels < stride * ((size_t)b.height - 1) + used) return EDGEQ_TRUNCATED;
  error = edgeq_image_make(b.width, b.height, b.mask[3] ? 4 : 3, out);
  if (error) return error;
  uint8_t *to = out->pixels;
  for (int32_t y = 0; y < b.height; y++) {
    const uint8_t *row = bytes + b.pixels + stride * (size_t)(b.upside_down ? b.height - 1 - y : y);
    for (int32_t x = 0; x < b.width; x++, to += out->channels)
      if (!pixel(&b, row, (size_t)x, out->channels, to)) return "a pixel's colour is not in its palette";
  }
  return NULL;
}
