/* Places in a photo, as they are written on the command line. */
#include "points.h"

#include <stdlib.h>
#include <string.h>

static int digit(char c) { return c >= '0' && c <= '9'; }

/* Digits, perhaps a point and more digits; NULL when there are none. */
static const char *skip_number(const char *p)
{
  if (!digit(*p)) return NULL;
  while (digit(*p)) p++;
  if (*p == '.' && digit(p[1]))
    for (p++; digit(*p);) p++;
  return p;
}

/* Behind the point at `p`; NULL when it is none. */
static const char *parse(const char *p, edgeq_point *out)
{
  int minus = *p == '-';
  const char *x = p + minus, *y = skip_number(x);
  if (!y || *y++ != ',') return NULL;
  const char *end = skip_number(y);
  if (!end) return NULL;
  *out = (edgeq_point){strtod(x, NULL), strtod(y, NULL), !minus};
  if (*end != ':') return end;
  if ((end[1] != '0' && end[1] != '1') || (minus && end[1] == '1')) return NULL;
  out->inside = end[1] == '1';
  return end + 2;
}

int edgeq_app_add_points(const edgeq_app *app, const char *text, edgeq_points *to)
{
  edgeq_point point;
  for (const char *p = text + strspn(text, " "); *p; p += strspn(p, " ")) {
    p = parse(p, &point);
    if (!p || (*p && *p != ' '))
      return edgeq_app_fail(app, EDGEQ_USAGE, "'%s' is no point: give X,Y in pixels, -X,Y or X,Y:0 for background, such as 310,220",
                            text);
    to->at = edgeq_app_grow(to->at, (size_t)(to->n + 1) * sizeof *to->at);
    to->at[to->n++] = point;
  }
  return EDGEQ_OK;
}

int edgeq_app_check_points(const edgeq_app *app, const edgeq_points *points, int most, const edgeq_sizes *photo)
{
  if (!points->n)
    return edgeq_app_fail(app, EDGEQ_USAGE, "give at least one point of the object: --point X,Y, in pixels of the photo");
  if (points->n > most)
    return edgeq_app_fail(app, EDGEQ_USAGE, "%d points, but the model was compiled for at most %d a mask: edgeq compile --points",
                          points->n, most);
  for (int i = 0; i < points->n; i++)
    if (!(points->at[i].x < photo->width && points->at[i].y < photo->height))
      return edgeq_app_fail(app, EDGEQ_USAGE, "point %g,%g lies outside of the photo (%dx%d pixels)", points->at[i].x,
                            points->at[i].y, photo->width, photo->height);
  return EDGEQ_OK;
}
