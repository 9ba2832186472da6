/* Texts to vectors: a line of numbers each, or a table of cosines. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "texts.h"

#define SHOWN 60 /* characters of a text beside its row */

typedef struct {
  edgeq_app *app;
  edgeq_app_reader reader;
  const char *output;       /* tensor that a vector comes from */
  int similarity;
  float *vectors;           /* with --similarity: of all texts */
  edgeq_app_buffer *texts;
  int n;
  int32_t width;
} embedder;

/* The pooled row, or the mean of the text's token rows. */
static void pool(const edgeq_tensor *from, int32_t rows, float *vector)
{
  int32_t width = from->shape[from->rank - 1];
  int by_token = from->rank == 3;
  for (int32_t c = 0; c < width; c++) {
    const float *column = (const float *)from->data + c;
    float sum = column[0];
    for (int32_t r = 1; by_token && r < rows; r++) sum += column[(size_t)r * (size_t)from->row_stride];
    vector[c] = by_token ? sum / (float)rows : sum;
  }
}

static void print_vector(const embedder *e, const float *vector)
{
  putchar('[');
  for (int32_t i = 0; i < e->width; i++) printf(i ? ", %.9g" : "%.9g", (double)vector[i]);
  puts("]");
}

static int use(void *self, const char *text, size_t bytes)
{
  embedder *e = self;
  edgeq_tensor out;
  int32_t rows;
  int status = edgeq_app_read(&e->reader, e->output, text, bytes, &out, &rows), at = e->similarity ? e->n : 0;
  if (status) return status;
  e->width = out.shape[out.rank - 1];
  e->vectors = edgeq_app_grow(e->vectors, (size_t)(at + 1) * (size_t)e->width * sizeof *e->vectors);
  float *vector = e->vectors + (size_t)at * (size_t)e->width;
  pool(&out, rows, vector);
  if (e->similarity) {
    e->texts = edgeq_app_grow(e->texts, (size_t)(at + 1) * sizeof *e->texts);
    e->texts[at] = (edgeq_app_buffer){0};
    edgeq_app_add(&e->texts[at], text, bytes);
  } else {
    print_vector(e, vector);
  }
  e->n++;
  return EDGEQ_OK;
}

static double dot(const float *a, const float *b, int32_t n)
{
  double sum = 0;
  for (int32_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

static double cosine(const embedder *e, int i, int j)
{
  const float *a = e->vectors + (size_t)i * (size_t)e->width, *b = e->vectors + (size_t)j * (size_t)e->width;
  double lengths = sqrt(dot(a, a, e->width)) * sqrt(dot(b, b, e->width));
  return lengths > 0 ? dot(a, b, e->width) / lengths : 0;
}

static void print_short(const edgeq_app_buffer *text)
{
  size_t bytes = edgeq_app_skip_characters(text->data, text->bytes, SHOWN);
  fwrite(text->data, 1, bytes, stdout);
  puts(bytes < text->bytes ? "…" : "");
}

static void print_table(const embedder *e)
{
  printf("    ");
  for (int i = 0; i < e->n; i++) printf("%8d", i + 1);
  putchar('\n');
  for (int i = 0; i < e->n; i++) {
    printf("%4d", i + 1);
    for (int j = 0; j < e->n; j++) printf("%8.4f", cosine(e, i, j));
    printf("  ");
    print_short(&e->texts[i]);
  }
}

static void print_json_table(const embedder *e)
{
  for (int i = 0; i < e->n; i++) {
    printf(i ? ", [" : "[[");
    for (int j = 0; j < e->n; j++) printf(j ? ", %.6f" : "%.6f", cosine(e, i, j));
    putchar(']');
  }
  puts("]");
}

static int run(embedder *e, int argc, char **argv)
{
  int status = edgeq_app_open_reader(&e->reader, e->app);
  e->output = edgeq_app_fact(e->app, "text.output");
  if (!status) status = edgeq_app_each_text(e->app, argc, argv, use, e);
  if (!status && e->similarity && e->n < 2) status = edgeq_app_fail(e->app, EDGEQ_USAGE, "--similarity takes two texts or more");
  if (!status && e->similarity) (e->app->options.json ? print_json_table : print_table)(e);
  edgeq_app_close_reader(&e->reader);
  return status;
}

int edgeq_app_embed(edgeq_app *app, int argc, char **argv)
{
  embedder e = {.app = app};
  const edgeq_app_option options[] = {
    {"--similarity", 's', EDGEQ_APP_FLAG, &e.similarity, NULL, "cosines between the texts instead of their vectors"},
    {0},
  };
  int status = edgeq_app_start(app, &argc, argv, "[\"TEXT\" ...]", options);
  if (!status) status = run(&e, argc, argv);
  for (int i = 0; i < e.n && e.texts; i++) edgeq_app_drop(&e.texts[i]);
  free(e.texts);
  free(e.vectors);
  return status;
}
