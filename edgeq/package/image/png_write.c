/* 8-bit grey PNG files. Rows are stored as differences to the row above, of which runs become single codes: a mask of a
 * megapixel takes a few kilobytes. */
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

/* 258 more of the byte before: the longest length at distance 1. */
static void put_run(writer *w)
{
  put_symbol(w, 285);
  put_code(w, 0, 5);
}

/* A zlib stream of runs and single bytes; at most 9 bits a byte. */
static void deflate(writer *w, const uint8_t *data, size_t size)
{
  memcpy(w->bytes + w->size, "\x78\x01", 2);
  w->size += 2;
  put_bits(w, 1 | 1 << 1, 3);
  for (size_t i = 0; i < size;) {
    size_t run = 0;
    while (i && run < 258 && i + run < size && data[i + run] == data[i - 1]) run++;
    if (run == 258) {
      put_run(w);
      i += run;
    } else {
      put_symbol(w, data[i++]);
    }
  }
  put_symbol(w, 256);
  if (w->have) put_bits(w, 0, 8 - w->have);
  put32(w->bytes + w->size, edgeq_adler32(data, size));
  w->size += 4;
}

/* Every row as differences to the one above (filter 2); in memory of malloc. */
static uint8_t *filtered(const edgeq_image *image, size_t *size)
{
  size_t width = (size_t)image->width, rows = (size_t)image->height;
  *size = (width + 1) * rows;
  uint8_t *out = malloc(*size), *to = out;
  for (size_t y = 0; out && y < rows; y++) {
    const uint8_t *row = image->pixels + y * width, *above = y ? row - width : NULL;
    *to++ = 2;
    for (size_t x = 0; x < width; x++) *to++ = (uint8_t)(row[x] - (above ? above[x] : 0));
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
  size_t raw;
  writer w = {0};
  *bytes = NULL;
  if (image->channels != 1) return "only grey images are written";
  uint8_t *data = filtered(image, &raw);
  if (data) w.bytes = malloc(raw + raw / 8 + 128);
  if (w.bytes) {
    write_header(&w, image);
    size_t start = begin_chunk(&w);
    deflate(&w, data, raw);
    end_chunk(&w, start, "IDAT");
    end_chunk(&w, begin_chunk(&w), "IEND");
    *bytes = w.bytes;
    *size = w.size;
  }
  free(data);
  return *bytes ? NULL : EDGEQ_NO_MEMORY;
}
