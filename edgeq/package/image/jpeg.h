/* jpeg.h: what the JPEG decoder's files know of each other (ITU-T T.81; JFIF; Adobe's APP14). */
#ifndef EDGEQ_JPEG_H
#define EDGEQ_JPEG_H
#include "decode.h"

#define EDGEQ_BAD_JPEG "its JPEG data is damaged"
#define EDGEQ_JPEG_FAST 9
#define EDGEQ_JPEG_MOST_SCANS 200 /* as many as no encoder writes: a small file must not keep a decoder busy for hours */

typedef struct {
  int defined;
  uint16_t fast[1 << EDGEQ_JPEG_FAST]; /* length << 8 | value; 0: a longer code, or none */
  int32_t limit[17];                   /* first code beyond those of a length */
  int32_t offset[17];                  /* value number = code + offset */
  uint8_t value[256];
} edgeq_huffman;

typedef struct {
  int id, h, v;          /* sampling factors */
  int quant;             /* table number */
  int dc, ac;            /* table numbers of the current scan */
  int seen;              /* a scan brought it, and its quantization was kept */
  uint16_t steps[64];    /* that table, in zigzag order */
  int32_t width, height; /* samples that mean something */
  int32_t across, down;  /* blocks, whole MCUs */
  uint8_t *samples;      /* down * 8 rows of across * 8 */
  int16_t *coefficients; /* progressive: down * across blocks, in natural order */
  int32_t last_dc;
} edgeq_component;

typedef struct {
  const uint8_t *at, *end;
  int progressive;
  int32_t width, height;
  int components, max_h, max_v;
  int32_t mcus_across, mcus_down;
  edgeq_component component[4];
  int32_t restart; /* MCUs between restart markers, 0: none */
  uint16_t quant[4][64];
  int quant_defined[4];
  edgeq_huffman dc[4], ac[4];
  int jfif, adobe, transform; /* transform: Adobe's colour transform */
  int orientation, xmp_orientation;
  int scans;
} edgeq_jpeg;

extern const uint8_t EDGEQ_ZIGZAG[64]; /* natural place of the k-th coefficient */

/* DHT's counts by length and values; 0 where no such code exists. */
int edgeq_huffman_make(edgeq_huffman *table, const uint8_t *counts, const uint8_t *values, int n);

/* The scan whose header begins at `header` (behind its length); jpeg->at is left at the marker behind it. */
const char *edgeq_jpeg_scan(edgeq_jpeg *jpeg, const uint8_t *header, size_t size);

/* 64 coefficients in natural order times their steps -> 8 x 8 samples, rows `stride` apart: libjpeg's "islow". */
void edgeq_idct(const int16_t *coefficients, const uint16_t *steps, uint8_t *out, size_t stride);

/* Components to pixels: upsampling as libjpeg's "fancy", colours as Pillow asks for them. */
const char *edgeq_jpeg_colours(const edgeq_jpeg *jpeg, edgeq_image *out);
#endif
