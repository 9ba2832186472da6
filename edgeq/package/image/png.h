/* png.h: what the PNG decoder's files know of each other (ISO 15948). */
#ifndef EDGEQ_PNG_H
#define EDGEQ_PNG_H
#include "decode.h"

#define EDGEQ_BAD_PNG "its PNG data is damaged"
enum { EDGEQ_PNG_GREY = 0, EDGEQ_PNG_RGB = 2, EDGEQ_PNG_PALETTE = 3 }; /* 4 and 6: the first two with alpha */

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
} edgeq_png;

/* png_pixels.c: the packed data becomes pixels: grey, RGB, or RGBA where any may be transparent. */
const char *edgeq_png_pixels(const edgeq_png *png, edgeq_image *out);
#endif
