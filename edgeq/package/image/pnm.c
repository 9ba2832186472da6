/* PBM, PGM and PPM (netpbm's P1 to P6), values scaled as Pillow does. */
#include "decode.h"

#include <math.h>

#define DAMAGED "its PNM header or values are damaged"

typedef struct {
  const uint8_t *at, *end;
} text;

static int blank(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static void skip(text *t)
{
  for (; t->at < t->end && (blank(*t->at) || *t->at == '#'); t->at++)
    if (*t->at == '#')
      while (t->at + 1 < t->end && t->at[1] != '\n') t->at++;
}

/* The next number in decimal digits, of at most `digits`; -1 where there is none. */
static int32_t number(text *t, int digits)
{
  int32_t value = 0;
  int n = 0;
  skip(t);
  for (; n < digits && t->at < t->end && *t->at >= '0' && *t->at <= '9'; n++) value = value * 10 + (*t->at++ - '0');
  return n ? value : -1;
}

/* To 8 bits: of grey above 8 bits the upper half of its 16, else the nearest of 255ths. */
static uint8_t scaled(int32_t value, int32_t most, int grey)
{
  int wide = grey && most > 255, range = wide ? 65535 : 255;
  int32_t found = (int32_t)rint((double)value / most * range);
  if (found > range) found = range;
  return (uint8_t)(wide ? found >> 8 : found);
}

static const char *read_plain(text *t, int kind, int32_t most, edgeq_image *out)
{
  size_t n = (size_t)out->width * (size_t)out->height * (size_t)out->channels;
  for (size_t i = 0; i < n; i++) {
    int32_t value = number(t, kind == 1 ? 1 : 9);
    if (value < 0) return t->at == t->end ? EDGEQ_TRUNCATED : DAMAGED;
    if (value > most) return DAMAGED;
    out->pixels[i] = kind == 1 ? (uint8_t)(value ? 0 : 255) : scaled(value, most, kind == 2);
  }
  return NULL;
}

static void read_bits(const uint8_t *p, edgeq_image *out)
{
  size_t stride = ((size_t)out->width + 7) / 8;
  uint8_t *to = out->pixels;
  for (int32_t y = 0; y < out->height; y++, p += stride)
    for (int32_t x = 0; x < out->width; x++) *to++ = p[x / 8] >> (7 - x % 8) & 1 ? 0 : 255;
}

static void read_binary(const uint8_t *p, int32_t most, int grey, edgeq_image *out)
{
  size_t n = (size_t)out->width * (size_t)out->height * (size_t)out->channels;
  for (size_t i = 0; i < n; i++) out->pixels[i] = scaled((int32_t)(most > 255 ? edgeq_be16(p + 2 * i) : p[i]), most, grey);
}

static size_t binary_bytes(const edgeq_image *image, int kind, int32_t most)
{
  size_t width = (size_t)image->width * (size_t)image->channels;
  return (size_t)image->height * (kind == 4 ? (width + 7) / 8 : width * (most > 255 ? 2 : 1));
}

const char *edgeq_pnm_decode(const uint8_t *bytes, size_t size, edgeq_image *out)
{
  text t = {bytes + 2, bytes + size};
  int kind = bytes[1] - '0', bitmap = kind == 1 || kind == 4;
  int32_t width = number(&t, 9), height = number(&t, 9), most = bitmap ? 1 : number(&t, 9);
  if (width < 0 || height < 0 || most < 0) return t.at == t.end ? EDGEQ_TRUNCATED : DAMAGED;
  if (most < 1 || most > 65535) return DAMAGED;
  if (width < 1 || height < 1 || width > EDGEQ_MOST_PIXELS / height) return "its size is zero or too large";
  edgeq_image expected = {width, height, kind % 3 ? 1 : 3, NULL};
  if (kind > 3 && (t.at == t.end || !blank(*t.at++))) return t.at == t.end ? EDGEQ_TRUNCATED : DAMAGED;
  size_t needed = kind > 3 ? binary_bytes(&expected, kind, most) : (size_t)width * (size_t)height;
  if (needed > (size_t)(t.end - t.at)) return EDGEQ_TRUNCATED;
  const char *error = edgeq_image_make(width, height, expected.channels, out);
  if (error || kind < 4) return error ? error : read_plain(&t, kind, most, out);
  if (kind == 4) read_bits(t.at, out);
  else read_binary(t.at, most, kind == 5, out);
  return NULL;
}
