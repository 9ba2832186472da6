/* 8-bit grey PNG files, packed for masks: what repeats the byte before, or the row above, becomes one code for up to 258
 * bytes. */
#include "decode.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  uint8_t *bytes;
  size_t size;
  uint64_t bits;
  int have;
} writer;

static void put32(uint8_t *p, uint32_t v)
{
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put_bits(writer *w, uint32_t value, int n)
{
  w->bits |= (uint64_t)value << w->have;
  for (w->have += n; w->have >= 8; w->have -= 8, w->bits >>= 8) w->bytes[w->size++] = (uint8_t)w->bits;
}

/* Codes are sent highest bit first. */
static void put_code(writer *w, uint32_t code, int n)
{
  for (int i = n - 1; i >= 0; i--) put_bits(w, code >> i & 1, 1);
}

/* Deflate's fixed code of a literal or length symbol. */
static void put_symbol(writer *w, uint32_t symbol)
{
  if (symbol < 144) put_code(w, 0x30 + symbol, 8);
  else if (symbol < 256) put_code(w, 0x190 + symbol - 144, 9);
  else if (symbol < 280) put_code(w, symbol - 256, 7);
  else put_code(w, 0xc0 + symbol - 280, 8);
}

/* The last of `n` ascending values that is not above `value`. */
static uint32_t place(const uint16_t *values, uint32_t n, size_t value)
{
  while (values[n - 1] > value) n--;
  return n - 1;
}

/* `length` bytes (3 to 258) that lie `distance` back (1 to 32768). */
static void put_copy(writer *w, size_t length, size_t distance)
{
  uint32_t l = place(EDGEQ_LENGTH, 29, length), d = place(EDGEQ_DISTANCE, 30, distance);
  put_symbol(w, 257 + l);
  put_bits(w, (uint32_t)(length - EDGEQ_LENGTH[l]), EDGEQ_LENGTH_BITS[l]);
  put_code(w, d, 5);
  put_bits(w, (uint32_t)(distance - EDGEQ_DISTANCE[d]), d < 4 ? 0 : (int)d / 2 - 1);
}

/* How many of the `room` bytes at `p` are those that lie `distance` back. */
static size_t repeated(const uint8_t *p, size_t room, size_t distance)
{
  size_t n = 0, most = room < 258 ? room : 258;
  while (n < most && p[n] == p[n - distance]) n++;
  return n;
}

/* A zlib stream of rows of `stride` bytes, its codes the fixed ones; at most 9 bits a byte. */
static void deflate(writer *w, const uint8_t *data, size_t size, size_t stride)
{
  memcpy(w->bytes + w->size, "\x78\x01", 2);
  w->size += 2;
  put_bits(w, 1 | 1 << 1, 3);
  for (size_t i = 0, n; i < size; i += n) {
    size_t before = i ? repeated(data + i, size - i, 1) : 0;
    size_t above = i >= stride && stride <= 32768 ? repeated(data + i, size - i, stride) : 0;
    n = before > above ? before : above;
    if (n >= 3) put_copy(w, n, before > above ? 1 : stride);
    else put_symbol(w, data[i]), n = 1;
  }
  put_symbol(w, 256);
  if (w->have) put_bits(w, 0, 8 - w->have);
  put32(w->bytes + w->size, edgeq_adler32(data, size));
  w->size += 4;
}

/* Every row behind the number of its filter (0: none); in memory of malloc. */
static uint8_t *with_filters(const edgeq_image *image, size_t stride)
{
  uint8_t *out = malloc(stride * (size_t)image->height);
  for (int32_t y = 0; out && y < image->height; y++) {
    out[(size_t)y * stride] = 0;
    memcpy(out + (size_t)y * stride + 1, image->pixels + (size_t)y * (stride - 1), stride - 1);
  }
  return out;
}

/* Frames what was written since `start`, which begins with 8 bytes of room, as a chunk. */
static void end_chunk(writer *w, size_t start, const char *name)
{
  put32(w->bytes + start, (uint32_t)(w->size - start - 8));
  memcpy(w->bytes + start + 4, name, 4);
  put32(w->bytes + w->size, edgeq_crc32(0, w->bytes + start + 4, w->size - start - 4));
  w->size += 4;
}

static size_t begin_chunk(writer *w)
{
  w->size += 8;
  return w->size - 8;
}

static void write_header(writer *w, const edgeq_image *image)
{
  memcpy(w->bytes, "\x89PNG\r\n\x1a\n", 8);
  w->size = 8;
  size_t start = begin_chunk(w);
  put32(w->bytes + w->size, (uint32_t)image->width);
  put32(w->bytes + w->size + 4, (uint32_t)image->height);
  memcpy(w->bytes + w->size + 8, "\x08\0\0\0\0", 5);
  w->size += 13;
  end_chunk(w, start, "IHDR");
}

const char *edgeq_png_encode(const edgeq_image *image, uint8_t **bytes, size_t *size)
{
  size_t stride = (size_t)image->width + 1, raw = stride * (size_t)image->height;
  writer w = {0};
  *bytes = NULL;
  if (image->channels != 1) return "only grey images are written";
  uint8_t *data = with_filters(image, stride);
  if (data) w.bytes = malloc(raw + raw / 8 + 128);
  if (w.bytes) {
    write_header(&w, image);
    size_t start = begin_chunk(&w);
    deflate(&w, data, raw, stride);
    end_chunk(&w, start, "IDAT");
    end_chunk(&w, begin_chunk(&w), "IEND");
    *bytes = w.bytes;
    *size = w.size;
  }
  free(data);
  return *bytes ? NULL : EDGEQ_NO_MEMORY;
}
