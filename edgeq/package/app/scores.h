/* scores.h: logits to labels, for classifiers of texts and of photos. */
#ifndef EDGEQ_APP_SCORES_H
#define EDGEQ_APP_SCORES_H
#include "parts.h"

#define EDGEQ_APP_SHOWN 5 /* labels, unless --top-k says otherwise */

typedef struct {
  int label; /* its name: the fact "labels.N" */
  float score;
} edgeq_app_score;

/* The classes of n logits with what the fact "activation" makes of them, best first; the caller frees it. */
edgeq_app_score *edgeq_app_rank(const edgeq_app *app, const float *logits, int n);

/* A line a label; with --json one object of the input and its labels. */
void edgeq_app_print_scores(const edgeq_app *app, const char *input, size_t bytes, const edgeq_app_score *scores, int n);
#endif
