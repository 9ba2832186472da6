/* Components of their own sizes become pixels: libjpeg's "fancy" upsampling (a triangle filter), then colours. */
#include "jpeg.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  const edgeq_component *c;
  int across, down; /* how many times wider and higher the image is */
  int smooth;
  uint8_t *row;     /* room for an upsampled one */
  int32_t *sums;    /* room for a row blended of two */
} upsampler;

static const uint8_t *stored_row(const edgeq_component *c, int32_t y)
{
  y = y < 0 ? 0 : y >= c->height ? c->height - 1 : y;
  return c->samples + (size_t)y * (size_t)c->across * 8;
}

/* Three parts of the nearer neighbour, one of the other, along x. Values come `gain` times too large. */
static void widen(const int32_t *in, int32_t n, int gain, uint8_t *out)
{
  int shift = gain == 4 ? 4 : 2, left = gain == 4 ? 8 : 1, right = gain == 4 ? 7 : 2;
  for (int32_t i = 0; i < n; i++) {
    int32_t three = 3 * in[i], before = i ? in[i - 1] : in[i], after = i + 1 < n ? in[i + 1] : in[i];
    out[2 * i] = (uint8_t)((three + before + left) >> shift);
    out[2 * i + 1] = (uint8_t)((three + after + right) >> shift);
  }
}

static void repeat(const uint8_t *in, int32_t n, int times, uint8_t *out)
{
  for (int32_t i = 0; i < n; i++, out += times) memset(out, in[i], (size_t)times);
}

/* Row y of the image. */
static const uint8_t *image_row(const upsampler *u, int32_t y)
{
  const edgeq_component *c = u->c;
  int32_t part = y % u->down, at = y / u->down;
  const uint8_t *near = stored_row(c, at), *other = stored_row(c, part ? at + 1 : at - 1);
  if (!u->smooth) {
    if (u->across == 1) return near;
    repeat(near, c->width, u->across, u->row);
    return u->row;
  }
  for (int32_t i = 0; i < c->width; i++) u->sums[i] = u->down == 2 ? 3 * near[i] + other[i] : near[i];
  if (u->across == 2) widen(u->sums, c->width, u->down == 2 ? 4 : 1, u->row);
  else
    for (int32_t i = 0; i < c->width; i++) u->row[i] = (uint8_t)((u->sums[i] + (part ? 2 : 1)) >> 2);
  return u->row;
}

static const char *make_upsampler(const edgeq_jpeg *j, const edgeq_component *c, upsampler *u)
{
  if (j->max_h % c->h || j->max_v % c->v) return "its sampling factors are not read here: convert it to PNG";
  u->c = c;
  u->across = j->max_h / c->h;
  u->down = j->max_v / c->v;
  int wide = u->across == 2 && u->down <= 2 && c->width > 2, high = u->across == 1 && u->down == 2;
  u->smooth = wide || high;
  u->row = malloc((size_t)c->width * (size_t)u->across);
  u->sums = malloc((size_t)c->width * sizeof *u->sums);
  return u->row && u->sums ? NULL : EDGEQ_NO_MEMORY;
}

static uint8_t clamp(int32_t value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

/* JFIF's YCbCr with factors of 16 fraction bits; red and blue are rounded by themselves, green once. */
static void rgb_of(int32_t y, int32_t cb, int32_t cr, uint8_t *out)
{
  cb -= 128;
  cr -= 128;
  out[0] = clamp(y + ((91881 * cr + 32768) >> 16));
  out[1] = clamp(y + ((-22554 * cb - 46802 * cr + 32768) >> 16));
  out[2] = clamp(y + ((116130 * cb + 32768) >> 16));
}

static int is_rgb(const edgeq_jpeg *j)
{
  const edgeq_component *c = j->component;
  if (j->jfif) return 0;
  return j->adobe ? j->transform == 0 : c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B';
}

static uint8_t part(int a, int b) /* a * b / 255, rounded */
{
  int product = a * b + 128;
  return (uint8_t)((product + (product >> 8)) >> 8);
}

/* Four inks, stored inverted as Adobe does; Pillow's way to RGB. */
static void ink_pixel(const edgeq_jpeg *j, const uint8_t *const row[4], int32_t x, uint8_t *out)
{
  uint8_t ink[3] = {row[0][x], row[1][x], row[2][x]};
  if (j->adobe && j->transform) {
    rgb_of(row[0][x], row[1][x], row[2][x], ink);
    for (int i = 0; i < 3; i++) ink[i] = (uint8_t)(255 - ink[i]);
  }
  int light = row[3][x];
  for (int i = 0; i < 3; i++) out[i] = clamp(light - part(255 - ink[i], light));
}

static void colour_row(const edgeq_jpeg *j, const uint8_t *const row[4], uint8_t *out)
{
  if (j->components == 1) {
    memcpy(out, row[0], (size_t)j->width);
    return;
  }
  int plain = j->components == 3 && is_rgb(j);
  for (int32_t x = 0; x < j->width; x++, out += 3) {
    if (j->components == 4) ink_pixel(j, row, x, out);
    else if (!plain) rgb_of(row[0][x], row[1][x], row[2][x], out);
    else
      for (int i = 0; i < 3; i++) out[i] = row[i][x];
  }
}

const char *edgeq_jpeg_colours(const edgeq_jpeg *j, edgeq_image *out)
{
  upsampler u[4] = {0};
  const uint8_t *row[4] = {0};
  const char *error = edgeq_image_make(j->width, j->height, j->components == 1 ? 1 : 3, out);
  for (int i = 0; !error && i < j->components; i++) error = make_upsampler(j, &j->component[i], &u[i]);
  for (int32_t y = 0; !error && y < j->height; y++) {
    for (int i = 0; i < j->components; i++) row[i] = image_row(&u[i], y);
    colour_row(j, row, out->pixels + (size_t)y * (size_t)j->width * (size_t)out->channels);
  }
  for (int i = 0; i < 4; i++) {
    free(u[i].row);
    free(u[i].sums);
  }
  return error;
}
