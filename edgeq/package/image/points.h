/* points.h: places in a photo, as they are written on the command line. */
#ifndef EDGEQ_POINTS_H
#define EDGEQ_POINTS_H
#include "photo.h"

typedef struct {
  double x, y; /* pixels from the left and from the top */
  int inside;  /* the object, or outside of it */
} edgeq_point;

typedef struct {
  edgeq_point *at;
  int n;
} edgeq_points;

/* Adds the points of a text, blanks between them: "310,220" in the object; "-310,220" or "310,220:0" outside of it. */
int edgeq_app_add_points(const edgeq_app *app, const char *text, edgeq_points *to);

/* Refuses none, more than `most`, and what lies outside of the photo. */
int edgeq_app_check_points(const edgeq_app *app, const edgeq_points *points, int most, const edgeq_sizes *photo);
#endif
