/* image.h: photos and masks in C: what edgeq/tasks does with Pillow and numpy in Python, with the same numbers.
 *
 * Functions that can fail return NULL, or a constant text that says why (they know no file names; callers add them). */
#ifndef EDGEQ_IMAGE_H
#define EDGEQ_IMAGE_H
#include <stddef.h>
#include <stdint.h>

#define EDGEQ_MOST_PIXELS 178956970 /* a photo of more is refused, as Pillow does */

/* height rows of width pixels of `channels` bytes: 1 grey, 3 RGB, 4 RGBA. Freed by edgeq_image_free. */
typedef struct {
  int32_t width, height, channels;
  uint8_t *pixels;
} edgeq_image;

/* An image of zeros; refuses sizes below 1 and above EDGEQ_MOST_PIXELS. */
const char *edgeq_image_make(int64_t width, int64_t height, int channels, edgeq_image *out);
void edgeq_image_free(edgeq_image *image);

/* A file's bytes (PNG, JPEG, BMP, PNM) as upright pixels of `channels` (1 or 3); transparency is laid over white. */
const char *edgeq_image_decode(const uint8_t *bytes, size_t size, int channels, edgeq_image *out);

/* Pillow's numbers of filters. */
typedef enum {
  EDGEQ_NEAREST = 0, EDGEQ_LANCZOS = 1, EDGEQ_BILINEAR = 2, EDGEQ_BICUBIC = 3, EDGEQ_BOX = 4, EDGEQ_HAMMING = 5
} edgeq_filter;

/* As Pillow's Image.resize, bit for bit, for 1 and 3 channels. */
const char *edgeq_image_resize(const edgeq_image *in, int32_t width, int32_t height, int filter, edgeq_image *out);

/* How a photo becomes a model's input: edgeq/tasks/image.py's Steps, in this order. */
typedef enum { EDGEQ_SAME, EDGEQ_EXACT, EDGEQ_SHORTEST, EDGEQ_BOUNDED, EDGEQ_LONGEST, EDGEQ_WITHIN } edgeq_rule;

typedef struct {
  edgeq_rule rule;                 /* edgeq/tasks/resizing.py; EDGEQ_SAME: no resizing, EDGEQ_WITHIN: its `box` */
  double edge, shortest, longest;  /* of the rule, in pixels */
  int32_t height, width;           /* of EDGEQ_EXACT and EDGEQ_WITHIN */
  int32_t within_height, within_width; /* of EDGEQ_BOUNDED; 0: any */
  int32_t filter;                  /* edgeq_filter */
  int32_t crop_height, crop_width; /* 0: no cropping */
  int32_t pad_height, pad_width;   /* 0: no padding */
  int32_t rescales, normalizes;
  double rescale;
  float mean[3], std[3];
} edgeq_steps;

typedef struct {
  int32_t height, width;                 /* of the upright photo */
  int32_t resized_height, resized_width; /* before cropping and padding */
} edgeq_sizes;

/* What a photo of sizes->height, width becomes by the rule, into resized_height, resized_width. */
const char *edgeq_resized(const edgeq_steps *steps, edgeq_sizes *sizes);

/* f32[channels, height, width], rows `stride` floats apart, planes height * stride: the model's pixel_values. */
typedef struct {
  float *data;
  int32_t channels, height, width, stride;
} edgeq_planes;

/* Applies the steps to a photo; refused when they do not give the size of `out`. */
const char *edgeq_prepare(const edgeq_image *photo, const edgeq_steps *steps, const edgeq_planes *out, edgeq_sizes *sizes);

/* A square of logits f32[h, w] (rows `stride` apart) in the photo's size, u8[height, width]: 255 where above zero. As
 * SamProcessor does it: enlarged to the model's square of square_height x square_width, cut, resized. */
typedef struct {
  const float *data;
  int32_t height, width, stride, square_height, square_width;
} edgeq_logits_map;
const char *edgeq_full_mask(const edgeq_logits_map *logits, const edgeq_sizes *sizes, edgeq_image *out);

/* 8-bit grey PNG of an image of 1 channel, in memory of malloc. */
const char *edgeq_png_encode(const edgeq_image *image, uint8_t **bytes, size_t *size);
#endif
