/* masks.h: what is found at points of a photo, measured, written to a file, printed. */
#ifndef EDGEQ_MASKS_H
#define EDGEQ_MASKS_H
#include "points.h"

typedef struct {
  edgeq_image pixels; /* 255 in the object */
  float score;
  int64_t area;
  int32_t left, top, right, bottom; /* of the mask; the last two are one beyond it */
  double seconds;
  char *file;
} edgeq_mask;

/* Fills area and box from the pixels. */
void edgeq_app_measure_mask(edgeq_mask *mask);

/* Writes mask number `index` of `count`: "mask.png"; of several "mask-1.png", "mask-2.png", ... Keeps the name in mask->file. */
int edgeq_app_save_mask(const edgeq_app *app, const char *output, int index, int count, edgeq_mask *mask);

/* A line; with --json an object of the mask and its points. */
void edgeq_app_print_mask(const edgeq_app *app, const edgeq_mask *mask, const edgeq_points *points);
#endif
