/* JPEG files marker by marker: tables, frame, scans. Baseline, extended and progressive Huffman coding of 8 bits. */
#include "jpeg.h"

#include <stdlib.h>
#include <string.h>

enum {
  TEM = 1, SOF0 = 0xc0, SOF1, SOF2, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, SOF15 = 0xcf, RST0, SOI = 0xd8, EOI, SOS, DQT,
  DRI = 0xdd, APP0 = 0xe0, APP1, APP14 = 0xee
};

const uint8_t EDGEQ_ZIGZAG[64] = {
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
  35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
};

static const char *read_quantization(edgeq_jpeg *j, const uint8_t *p, size_t size)
{
  while (size) {
    int wide = p[0] >> 4, at = p[0] & 15;
    size_t bytes = wide ? 129 : 65;
    if (wide > 1 || at > 3 || size < bytes) return EDGEQ_BAD_JPEG;
    for (int i = 0; i < 64; i++) j->quant[at][i] = (uint16_t)(wide ? edgeq_be16(p + 1 + 2 * i) : p[1 + i]);
    j->quant_defined[at] = 1;
    p += bytes;
    size -= bytes;
  }
  return NULL;
}

static const char *read_huffman(edgeq_jpeg *j, const uint8_t *p, size_t size)
{
  while (size) {
    if (size < 17 || p[0] >> 4 > 1 || (p[0] & 15) > 3) return EDGEQ_BAD_JPEG;
    size_t n = 0;
    for (int i = 1; i <= 16; i++) n += p[i];
    if (n > 256 || size < 17 + n) return EDGEQ_BAD_JPEG;
    edgeq_huffman *table = &(p[0] >> 4 ? j->ac : j->dc)[p[0] & 15];
    if (!edgeq_huffman_make(table, p + 1, p + 17, (int)n)) return EDGEQ_BAD_JPEG;
    p += 17 + n;
    size -= 17 + n;
  }
  return NULL;
}

static int32_t ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }

static const char *read_component(edgeq_jpeg *j, edgeq_component *c, const uint8_t *p)
{
  *c = (edgeq_component){.id = p[0], .h = p[1] >> 4, .v = p[1] & 15, .quant = p[2]};
  if (c->h < 1 || c->h > 4 || c->v < 1 || c->v > 4 || c->quant > 3) return EDGEQ_BAD_JPEG;
  if (c->h > j->max_h) j->max_h = c->h;
  if (c->v > j->max_v) j->max_v = c->v;
  return NULL;
}

/* Every block takes at least a bit of the file, so a header that claims too much is found out before memory is asked for. */
static const char *make_planes(edgeq_jpeg *j)
{
  size_t room = (size_t)(j->end - j->at) * 8;
  j->mcus_across = ceil_div(j->width, 8 * j->max_h);
  j->mcus_down = ceil_div(j->height, 8 * j->max_v);
  for (int i = 0; i < j->components; i++) {
    edgeq_component *c = &j->component[i];
    c->width = ceil_div(j->width * c->h, j->max_h);
    c->height = ceil_div(j->height * c->v, j->max_v);
    c->across = j->mcus_across * c->h;
    c->down = j->mcus_down * c->v;
    size_t blocks = (size_t)ceil_div(c->width, 8) * (size_t)ceil_div(c->height, 8);
    if (blocks > room) return EDGEQ_TRUNCATED;
    blocks = (size_t)c->across * (size_t)c->down;
    c->samples = malloc(blocks * 64);
    if (j->progressive) c->coefficients = calloc(blocks, 64 * sizeof(int16_t));
    if (!c->samples || (j->progressive && !c->coefficients)) return EDGEQ_NO_MEMORY;
  }
  return NULL;
}

static const char *read_frame(edgeq_jpeg *j, const uint8_t *p, size_t size)
{
  if (j->components || size < 6) return EDGEQ_BAD_JPEG;
  int n = p[5];
  if (p[0] != 8) return "JPEG of other than 8 bits is not read here: convert it to PNG";
  if (size != 6 + 3 * (size_t)n || n == 0 || n == 2 || n > 4) return EDGEQ_BAD_JPEG;
  j->height = (int32_t)edgeq_be16(p + 1);
  j->width = (int32_t)edgeq_be16(p + 3);
  if (!j->width || !j->height || j->width > EDGEQ_MOST_PIXELS / j->height) return "its size is zero or too large";
  const char *error = NULL;
  for (int i = 0; !error && i < n; i++) error = read_component(j, &j->component[i], p + 6 + 3 * i);
  j->components = n;
  return error ? error : make_planes(j);
}

static void read_application(edgeq_jpeg *j, int marker, const uint8_t *p, size_t size)
{
  static const char XMP[] = "http://ns.adobe.com/xap/1.0/";
  if (marker == APP0 && size >= 14 && !memcmp(p, "JFIF", 5)) j->jfif = 1;
  if (marker == APP14 && size >= 12 && !memcmp(p, "Adobe", 5)) {
    j->adobe = 1;
    j->transform = p[11];
  }
  if (marker != APP1) return;
  if (size > 6 && !memcmp(p, "Exif\0\0", 6) && !j->orientation) j->orientation = edgeq_exif_orientation(p, size);
  if (size > sizeof XMP && !memcmp(p, XMP, sizeof XMP))
    j->xmp_orientation = edgeq_xmp_orientation(p + sizeof XMP, size - sizeof XMP);
}

static const char *read_segment(edgeq_jpeg *j, int marker, const uint8_t *p, size_t size)
{
  if (marker == DQT) return read_quantization(j, p, size);
  if (marker == DHT) return read_huffman(j, p, size);
  if (marker == SOS) return j->components ? edgeq_jpeg_scan(j, p, size) : EDGEQ_BAD_JPEG;
  if (marker == SOF0 || marker == SOF1 || marker == SOF2) {
    j->progressive = marker == SOF2;
    return read_frame(j, p, size);
  }
  if (marker > SOF2 && marker <= SOF15 && marker != JPG)
    return "arithmetic-coded and lossless JPEG are not read here: convert it to PNG";
  if (marker == DRI && size != 2) return EDGEQ_BAD_JPEG;
  if (marker == DRI) j->restart = (int32_t)edgeq_be16(p);
  read_application(j, marker, p, size);
  return NULL;
}

/* The code of the next marker, whatever lies before it; -1 at the end. */
static int next_marker(edgeq_jpeg *j)
{
  for (; j->end - j->at >= 2; j->at++)
    if (j->at[0] == 0xff && j->at[1] != 0 && j->at[1] != 0xff) {
      j->at += 2;
      return j->at[-1];
    }
  return -1;
}

static const char *read_markers(edgeq_jpeg *j)
{
  for (;;) {
    int marker = next_marker(j);
    if (marker < 0) return EDGEQ_TRUNCATED;
    if (marker == EOI) return NULL;
    if (marker == TEM || (marker >= RST0 && marker <= SOI)) continue;
    size_t left = (size_t)(j->end - j->at), size = left < 2 ? 0 : edgeq_be16(j->at);
    if (left < 2 || size > left) return EDGEQ_TRUNCATED;
    if (size < 2) return EDGEQ_BAD_JPEG;
    const uint8_t *data = j->at + 2;
    j->at += size;
    const char *error = read_segment(j, marker, data, size - 2);
    if (error) return error;
  }
}

/* Blocks of a progressive file are complete only at its end. */
static void finish_blocks(edgeq_component *c)
{
  const int16_t *block = c->coefficients;
  if (!block) return;
  for (int32_t y = 0; y < c->down; y++)
    for (int32_t x = 0; x < c->across; x++, block += 64)
      edgeq_idct(block, c->steps, c->samples + ((size_t)y * (size_t)c->across * 8 + (size_t)x) * 8, (size_t)c->across * 8);
}

static const char *decode(edgeq_jpeg *j, edgeq_image *out)
{
  const char *error = read_markers(j);
  if (error) return error;
  if (!j->components) return "it holds no picture";
  for (int i = 0; i < j->components; i++) {
    if (!j->component[i].seen) return EDGEQ_BAD_JPEG;
    finish_blocks(&j->component[i]);
  }
  return edgeq_jpeg_colours(j, out);
}

const char *edgeq_jpeg_decode(const uint8_t *bytes, size_t size, edgeq_image *out, int *orientation)
{
  edgeq_jpeg *j = calloc(1, sizeof *j);
  if (!j) return EDGEQ_NO_MEMORY;
  j->at = bytes + 2;
  j->end = bytes + size;
  const char *error = decode(j, out);
  *orientation = j->orientation ? j->orientation : j->xmp_orientation;
  for (int i = 0; i < 4; i++) {
    free(j->component[i].samples);
    free(j->component[i].coefficients);
  }
  free(j);
  return error;
}
