/* Logits to labels with probabilities, best first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scores.h"

static void softmax(float *x, int n)
{
  float most = x[0], sum = 0;
  for (int i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
  for (int i = 0; i < n; i++) sum += x[i] = expf(x[i] - most);
  for (int i = 0; i < n; i++) x[i] /= sum;
}

static float sigmoid(float x)
{
  float small = expf(-fabsf(x));
  return x >= 0 ? 1 / (1 + small) : small / (1 + small);
}

static void activate(const char *activation, float *x, int n)
{
  if (!strcmp(activation, "softmax")) softmax(x, n);
  for (int i = 0; !strcmp(activation, "sigmoid") && i < n; i++) x[i] = sigmoid(x[i]);
}

static int better(const void *a, const void *b)
{
  const edgeq_app_score *x = a, *y = b;
  return (x->score < y->score) - (x->score > y->score) ?: x->label - y->label;
}

edgeq_app_score *edgeq_app_rank(const edgeq_app *app, const float *logits, int n)
{
  edgeq_app_score *scores = edgeq_app_grow(NULL, (size_t)n * sizeof *scores);
  float *values = edgeq_app_grow(NULL, (size_t)n * sizeof *values);
  const char *activation = edgeq_app_fact(app, "activation");
  memcpy(values, logits, (size_t)n * sizeof *values);
  activate(activation ? activation : "none", values, n);
  for (int i = 0; i < n; i++) scores[i] = (edgeq_app_score){i, values[i]};
  qsort(scores, (size_t)n, sizeof *scores, better);
  free(values);
  return scores;
}

static void print_json(const edgeq_app *app, const char *input, size_t bytes, const edgeq_app_score *scores, int n)
{
  printf("{\"input\": ");
  edgeq_app_print_json(input, bytes);
  for (int i = 0; i < n; i++) {
    const char *label = edgeq_app_fact(app, "labels.%d", scores[i].label);
    printf(i ? ", {\"label\": " : ", \"labels\": [{\"label\": ");
    edgeq_app_print_json(label ? label : "", label ? strlen(label) : 0);
    printf(", \"score\": %.9g}", (double)scores[i].score);
  }
  puts("]}");
}

void edgeq_app_print_scores(const edgeq_app *app, const char *input, size_t bytes, const edgeq_app_score *scores, int n)
{
  if (app->options.json) {
    print_json(app, input, bytes, scores, n);
    return;
  }
  for (int i = 0; i < n; i++) {
    const char *label = edgeq_app_fact(app, "labels.%d", scores[i].label);
    printf("%7.4f  %s\n", (double)scores[i].score, label ? label : "?");
  }
}
