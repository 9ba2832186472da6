/* A photo becomes a model's pixel_values: the arithmetic of edgeq/tasks/image.py, the rules of edgeq/tasks/resizing.py. */
#include "image.h"

#include <math.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

#define MOST_RESIZED (1 << 27)
#define TOO_THIN "it is too long and thin for the model: a side would become zero or enormous"

static double least(double a, double b) { return a < b ? a : b; }

/* A length in pixels, refused before it overflows. */
static int32_t whole(double x) { return x >= 0 && x <= MOST_RESIZED ? (int32_t)x : 0; }

static void set(edgeq_sizes *s, int32_t height, int32_t width)
{
  s->resized_height = height;
  s->resized_width = width;
}

static void shortest(const edgeq_steps *k, edgeq_sizes *s)
{
  int32_t longer = s->width > s->height ? s->width : s->height, shorter = s->width > s->height ? s->height : s->width;
  int32_t edge = whole(k->edge), other = whole(k->edge * longer / shorter);
  if (s->width <= s->height) set(s, other, edge);
  else set(s, edge, other);
}

static void within(int32_t height, int32_t width, edgeq_sizes *s)
{
  double scale = least((double)height / s->height, (double)width / s->width);
  int32_t h = whole(s->height * scale), w = whole(s->width * scale);
  set(s, h > 1 ? h : 1, w > 1 ? w : 1);
}

static void bounded(const edgeq_steps *k, edgeq_sizes *s)
{
  double longer = s->width > s->height ? s->width : s->height, shorter = s->width > s->height ? s->height : s->width;
  double exact = k->shortest;
  if (longer / shorter * exact > k->longest) exact = k->longest * shorter / longer;
  int32_t edge = whole(rint(exact));
  if ((s->height <= s->width && s->height == edge) || (s->width <= s->height && s->width == edge)) set(s, s->height, s->width);
  else if (s->width < s->height) set(s, whole(exact * s->height / s->width), edge);
  else set(s, edge, whole(exact * s->width / s->height));
  int outside = s->resized_height > k->within_height || s->resized_width > k->within_width;
  if (k->within_height && outside) within(k->within_height, k->within_width, s);
}

static void longest(const edgeq_steps *k, edgeq_sizes *s)
{
  double scale = k->edge / (s->width > s->height ? s->width : s->height);
  set(s, whole(s->height * scale + 0.5), whole(s->width * scale + 0.5));
}

const char *edgeq_resized(const edgeq_steps *k, edgeq_sizes *s)
{
  if (k->rule == EDGEQ_SAME) set(s, s->height, s->width);
  else if (k->rule == EDGEQ_EXACT) set(s, k->height, k->width);
  else if (k->rule == EDGEQ_SHORTEST) shortest(k, s);
  else if (k->rule == EDGEQ_BOUNDED) bounded(k, s);
  else if (k->rule == EDGEQ_LONGEST) longest(k, s);
  else within(k->height, k->width, s);
  if (s->resized_height < 1 || s->resized_width < 1) return TOO_THIN;
  return s->resized_width > MOST_RESIZED / s->resized_height ? TOO_THIN : NULL;
}

/* What each byte of a channel becomes: rescaled in float64 and rounded, then normalized in float32. */
static void make_values(const edgeq_steps *k, int channel, float values[256])
{
  for (int i = 0; i < 256; i++) {
    float value = k->rescales ? (float)(i * k->rescale) : (float)i;
    values[i] = k->normalizes ? (value - k->mean[channel]) / k->std[channel] : value;
  }
}

/* Where the photo begins that is cropped from the centre: half of what is too much, rounded down; so too where it lacks. */
static int32_t crop_start(int32_t have, int32_t wanted)
{
  int32_t spare = have - wanted;
  return spare >= 0 ? spare / 2 : -((1 - spare) / 2);
}

/* One channel: `top` and `left` say where in the photo the plane begins. */
typedef struct {
  const edgeq_image *photo;
  int channel;
  int32_t top, left, height, width; /* of what is not padding */
  float values[256];
} plane_source;

static void fill_plane(const plane_source *p, const edgeq_planes *out)
{
  const edgeq_image *photo = p->photo;
  float *plane = out->data + (size_t)p->channel * (size_t)out->height * (size_t)out->stride;
  for (int32_t y = 0; y < out->height; y++, plane += out->stride) {
    int32_t v = y + p->top;
    int there = v >= 0 && v < photo->height;
    const uint8_t *row = photo->pixels + (there ? (size_t)v * (size_t)photo->width * (size_t)photo->channels : 0) + p->channel;
    for (int32_t x = 0; x < out->width; x++) {
      int32_t u = x + p->left;
      int black = !there || u < 0 || u >= photo->width;
      plane[x] = y >= p->height || x >= p->width ? 0.0f : p->values[black ? 0 : row[(size_t)u * (size_t)photo->channels]];
    }
  }
}

static const char *fill(const edgeq_image *photo, const edgeq_steps *k, const edgeq_planes *out)
{
  plane_source p = {.photo = photo, .height = photo->height, .width = photo->width};
  if (k->crop_height) {
    p.height = k->crop_height;
    p.width = k->crop_width;
    p.top = crop_start(photo->height, k->crop_height);
    p.left = crop_start(photo->width, k->crop_width);
  }
  int32_t height = k->pad_height ? k->pad_height : p.height, width = k->pad_width ? k->pad_width : p.width;
  if (height != out->height || width != out->width || p.height > height || p.width > width)
    return "its size does not become the model's: compile the model again";
  for (p.channel = 0; p.channel < out->channels; p.channel++) {
    make_values(k, p.channel, p.values);
    fill_plane(&p, out);
  }
  return NULL;
}

const char *edgeq_prepare(const edgeq_image *photo, const edgeq_steps *k, const edgeq_planes *out, edgeq_sizes *sizes)
{
  edgeq_image resized;
  *sizes = (edgeq_sizes){.height = photo->height, .width = photo->width};
  if (photo->channels != out->channels) return "its channels are not the model's";
  const char *error = edgeq_resized(k, sizes);
  if (!error) error = edgeq_image_resize(photo, sizes->resized_width, sizes->resized_height, k->filter, &resized);
  if (error) return error;
  error = fill(&resized, k, out);
  edgeq_image_free(&resized);
  return error;
}
