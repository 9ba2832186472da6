/* Photos turned as their EXIF orientation says. */
#include "decode.h"

#include <string.h>

/* From where pixel (x, y) of the turned image comes: mirrored along x, along y, with the axes swapped. */
typedef struct {
  uint8_t swap, flip_x, flip_y;
} turn;

static const turn TURNS[9] = {{0}, {0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1}, {1, 0, 0}, {1, 0, 1}, {1, 1, 1}, {1, 1, 0}};

const char *edgeq_upright(edgeq_image *image, int orientation)
{
  if (orientation < 2 || orientation > 8) return NULL;
  const turn *t = &TURNS[orientation];
  edgeq_image found;
  int32_t width = t->swap ? image->height : image->width, height = t->swap ? image->width : image->height;
  const char *error = edgeq_image_make(width, height, image->channels, &found);
  if (error) return error;
  size_t bytes = (size_t)image->channels;
  uint8_t *to = found.pixels;
  for (int32_t y = 0; y < found.height; y++)
    for (int32_t x = 0; x < found.width; x++, to += bytes) {
      int32_t u = t->swap ? y : x, v = t->swap ? x : y;
      if (t->flip_x) u = image->width - 1 - u;
      if (t->flip_y) v = image->height - 1 - v;
      memcpy(to, image->pixels + ((size_t)v * (size_t)image->width + (size_t)u) * bytes, bytes);
    }
  edgeq_image_free(image);
  *image = found;
  return NULL;
}
