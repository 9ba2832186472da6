/* A file's bytes become upright pixels, as edgeq/tasks/photo.py reads them with Pillow. */
#include "decode.h"

#include <stdlib.h>
#include <string.h>

const char *edgeq_image_make(int64_t width, int64_t height, int channels, edgeq_image *out)
{
  *out = (edgeq_image){0};
  if (width < 1 || height < 1 || width > EDGEQ_MOST_PIXELS / height) return "its size is zero or too large";
  uint8_t *pixels = calloc((size_t)(width * height), (size_t)channels);
  if (!pixels) return EDGEQ_NO_MEMORY;
  *out = (edgeq_image){(int32_t)width, (int32_t)height, channels, pixels};
  return NULL;
}

void edgeq_image_free(edgeq_image *image)
{
  free(image->pixels);
  *image = (edgeq_image){0};
}

static int starts(const uint8_t *bytes, size_t size, const char *magic, size_t n)
{
  return size >= n && !memcmp(bytes, magic, n);
}

/* What else people call photos, told from its first bytes. */
static const char *refuse(const uint8_t *bytes, size_t size)
{
  if (!size) return "the file is empty";
  int riff = starts(bytes, size, "RIFF", 4) && size >= 12;
  if (riff && !memcmp(bytes + 8, "WEBP", 4)) return "WebP is not read here: convert it to PNG or JPEG";
  if (starts(bytes, size, "GIF8", 4)) return "GIF is not read here: convert it to PNG";
  if (starts(bytes, size, "II*\0", 4) || starts(bytes, size, "MM\0*", 4)) return "TIFF is not read here: convert it to PNG";
  if (size >= 12 && !memcmp(bytes + 4, "ftyp", 4)) return "HEIC, AVIF and video are not read here: convert it to PNG or JPEG";
  return "not an image that is read here: PNG, JPEG, BMP, PPM, PGM or PBM";
}

static const char *decode(const uint8_t *bytes, size_t size, edgeq_image *out, int *orientation)
{
  if (starts(bytes, size, "\x89PNG\r\n\x1a\n", 8)) return edgeq_png_decode(bytes, size, out, orientation);
  if (starts(bytes, size, "\xff\xd8\xff", 3)) return edgeq_jpeg_decode(bytes, size, out, orientation);
  if (starts(bytes, size, "BM", 2)) return edgeq_bmp_decode(bytes, size, out);
  if (size > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6') return edgeq_pnm_decode(bytes, size, out);
  return refuse(bytes, size);
}

/* One channel over white, with the rounding of Pillow's alpha_composite. */
static uint8_t over_white(int value, int alpha)
{
  if (!alpha) return 255;
  uint32_t sum = (uint32_t)(value * alpha + 255 * (255 - alpha)) * 128 + (0x80 << 7);
  return (uint8_t)(((sum >> 8) + sum) >> 8 >> 7);
}

/* ITU-R 601-2 luma in 16 fraction bits, rounded. */
static uint8_t luma(const uint8_t *rgb)
{
  return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

static const char *convert(edgeq_image *image, int channels)
{
  if (image->channels == channels) return NULL;
  edgeq_image found;
  const char *error = edgeq_image_make(image->width, image->height, channels, &found);
  if (error) return error;
  const uint8_t *in = image->pixels;
  uint8_t *out = found.pixels, rgb[3];
  for (size_t n = (size_t)image->width * (size_t)image->height; n; n--, in += image->channels, out += channels) {
    for (int i = 0; i < 3; i++) rgb[i] = image->channels == 1 ? in[0] : image->channels == 4 ? over_white(in[i], in[3]) : in[i];
    if (channels == 1) out[0] = luma(rgb);
    else memcpy(out, rgb, 3);
  }
  edgeq_image_free(image);
  *image = found;
  return NULL;
}

const char *edgeq_image_decode(const uint8_t *bytes, size_t size, int channels, edgeq_image *out)
{
  int orientation = 0;
  *out = (edgeq_image){0};
  const char *error = decode(bytes, size, out, &orientation);
  if (!error) error = convert(out, channels);
  if (!error) error = edgeq_upright(out, orientation);
  if (error) edgeq_image_free(out);
  return error;
}
