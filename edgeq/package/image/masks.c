/* Masks: measured, written to files, printed. */
#include "masks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void edgeq_app_measure_mask(edgeq_mask *m)
{
  const uint8_t *p = m->pixels.pixels;
  m->left = m->pixels.width;
  m->top = m->pixels.height;
  for (int32_t y = 0; y < m->pixels.height; y++)
    for (int32_t x = 0; x < m->pixels.width; x++, p++) {
      if (!*p) continue;
      m->area++;
      if (x < m->left) m->left = x;
      if (x >= m->right) m->right = x + 1;
      if (y < m->top) m->top = y;
      m->bottom = y + 1;
    }
}

static char *file_name(const char *output, int index, int count)
{
  size_t stem = strlen(output) - 4, room = stem + 24;
  char *name = edgeq_app_grow(NULL, room);
  if (count == 1) snprintf(name, room, "%s", output);
  else snprintf(name, room, "%.*s-%d.png", (int)stem, output, index + 1);
  return name;
}

/* Under another name first: no half-written file is left. */
static int write_file(const char *path, const uint8_t *bytes, size_t size)
{
  size_t room = strlen(path) + 8;
  char *part = edgeq_app_grow(NULL, room);
  snprintf(part, room, "%s.part", path);
  FILE *file = fopen(part, "wb");
  int fine = file && fwrite(bytes, 1, size, file) == size;
  if (file && fclose(file)) fine = 0;
  if (fine && rename(part, path)) fine = 0;
  int why = errno;
  if (!fine && file) remove(part);
  free(part);
  return fine ? 0 : why;
}

int edgeq_app_save_mask(const edgeq_app *app, const char *output, int index, int count, edgeq_mask *m)
{
  uint8_t *bytes = NULL;
  size_t size = 0;
  m->file = file_name(output, index, count);
  const char *why = edgeq_png_encode(&m->pixels, &bytes, &size);
  int number = why ? 0 : write_file(m->file, bytes, size);
  free(bytes);
  if (!why && !number) return EDGEQ_OK;
  return edgeq_app_fail(app, EDGEQ_APP_OUTPUT, "%s cannot be written: %s", m->file, why ? why : strerror(number));
}

static void print_points(const edgeq_points *points)
{
  for (int i = 0; i < points->n; i++)
    printf("%s[%.17g, %.17g, %d]", i ? ", " : "", points->at[i].x, points->at[i].y, points->at[i].inside);
}

static void print_json(const edgeq_mask *m, const edgeq_points *points)
{
  printf("{\"points\": [");
  print_points(points);
  printf("], \"score\": %.9g, \"pixels\": %lld, \"box\": ", (double)m->score, (long long)m->area);
  if (m->area) printf("[%d, %d, %d, %d]", m->left, m->top, m->right, m->bottom);
  else printf("null");
  printf(", \"seconds\": %.6g, \"file\": ", m->seconds);
  if (m->file) edgeq_app_print_json(m->file, strlen(m->file));
  else printf("null");
  putchar('}');
}

static void print_line(const edgeq_mask *m)
{
  printf("%7.4f  %lld pixels, box ", (double)m->score, (long long)m->area);
  if (m->area) printf("[%d, %d, %d, %d]", m->left, m->top, m->right, m->bottom);
  else printf("none");
  printf(m->file ? "  %s\n" : "\n", m->file);
}

void edgeq_app_print_mask(const edgeq_app *app, const edgeq_mask *m, const edgeq_points *points)
{
  if (app->options.json) print_json(m, points);
  else print_line(m);
}
