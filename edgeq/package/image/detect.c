/* Photos to labelled boxes (DETR and its like), in the pixels of the photo. */
#include <stdlib.h>
#include <string.h>

#include "../app/scores.h"
#include "photo.h"

typedef struct {
  edgeq_photos photos;
  edgeq_tensor logits, boxes; /* [1, queries, classes], [1, queries, 4]: centre, width and height as fractions */
  double threshold;
  int top_k;
} detector;

typedef struct {
  float score;
  int order; /* query * classes + class: equal scores keep it */
  int query, label;
} candidate;

static int better(const void *a, const void *b)
{
  const candidate *x = a, *y = b;
  return x->score != y->score ? (x->score < y->score) - (x->score > y->score) : x->order - y->order;
}

/* What a query's logits say of each label; labels beyond the named ones ("no object") are left out. */
static void add(candidate *all, int *n, const edgeq_app_score *scores, int classes, int query, int labels, int single)
{
  int first = 1;
  for (int i = 0; i < classes; i++) {
    if (scores[i].label >= labels || (single && !first)) continue;
    all[(*n)++] = (candidate){scores[i].score, query * labels + scores[i].label, query, scores[i].label};
    first = 0;
  }
}

static candidate *candidates(const detector *d, int *n)
{
  const edgeq_app *app = d->photos.app;
  int queries = d->logits.shape[1], classes = d->logits.shape[2], labels = (int)edgeq_app_number(app, 0, "labels");
  const char *activation = edgeq_app_fact(app, "activation");
  candidate *all = edgeq_app_grow(NULL, (size_t)queries * (size_t)classes * sizeof *all);
  *n = 0;
  for (int q = 0; q < queries; q++) {
    edgeq_app_score *scores = edgeq_app_rank(app, edgeq_tensor_row(&d->logits, (size_t)q), classes);
    add(all, n, scores, classes, q, labels, activation && !strcmp(activation, "softmax"));
    free(scores);
  }
  qsort(all, (size_t)*n, sizeof *all, better);
  if (*n > queries) *n = queries;
  while (*n && !((double)all[*n - 1].score > d->threshold)) --*n;
  if (d->top_k && *n > d->top_k) *n = d->top_k;
  return all;
}

/* Left, top, right, bottom. */
static void corners(const detector *d, int query, const edgeq_sizes *sizes, float out[4])
{
  const float *box = edgeq_tensor_row(&d->boxes, (size_t)query);
  for (int i = 0; i < 4; i++) {
    float half = box[2 + i % 2] / 2;
    out[i] = (i < 2 ? box[i % 2] - half : box[i % 2] + half) * (float)(i % 2 ? sizes->height : sizes->width);
  }
}

static void print_one(const detector *d, const candidate *c, const float box[4], int first)
{
  const edgeq_app *app = d->photos.app;
  const char *label = edgeq_app_fact(app, "labels.%d", c->label);
  if (!app->options.json) {
    printf("%7.4f ", (double)c->score);
    for (int i = 0; i < 4; i++) printf(" %7.1f", (double)box[i]);
    printf("  %s\n", label);
    return;
  }
  printf(first ? "{\"label\": " : ", {\"label\": ");
  edgeq_app_print_json(label, strlen(label));
  printf(", \"score\": %.9g, \"box\": ", (double)c->score);
  for (int i = 0; i < 4; i++) printf(i ? ", %.9g" : "[%.9g", (double)box[i]);
  printf("]}");
}

static int use(void *self, const char *path, const edgeq_sizes *sizes)
{
  const detector *d = self;
  int n, json = d->photos.app->options.json;
  float box[4];
  candidate *found = candidates(d, &n);
  if (json) {
    printf("{\"input\": ");
    edgeq_app_print_json(path, strlen(path));
    printf(", \"objects\": [");
  } else if (!n) {
    printf("nothing scores above %g\n", d->threshold);
  }
  for (int i = 0; i < n; i++) {
    corners(d, found[i].query, sizes, box);
    print_one(d, &found[i], box, !i);
  }
  if (json) puts("]}");
  free(found);
  return EDGEQ_OK;
}

int edgeq_app_detect(edgeq_app *app, int argc, char **argv)
{
  detector d = {.threshold = 0.5};
  const edgeq_app_option options[] = {
    {"--threshold", 0, EDGEQ_APP_NUMBER, &d.threshold, "P", "least score of an object [0.5]", 0, 1},
    {"--top-k", 'k', EDGEQ_APP_INT, &d.top_k, "N", "objects to show at most, 0: all [0]", 0, INT32_MAX},
    {0},
  };
  int status = edgeq_app_start(app, &argc, argv, "PHOTO ...", options);
  if (!status) status = edgeq_photos_open(&d.photos, app);
  if (status) return status;
  int there = edgeq_app_tensor_of(app, d.photos.entry, EDGEQ_OUTPUT, "logits", &d.logits) &&
              edgeq_app_tensor_of(app, d.photos.entry, EDGEQ_OUTPUT, "pred_boxes", &d.boxes);
  if (!there || d.logits.rank != 3 || d.boxes.rank != 3)
    return edgeq_app_fail(app, EDGEQ_ARTIFACT, "this model's image entry gives no logits and pred_boxes");
  return edgeq_photos_each(&d.photos, argc, argv, use, &d);
}
