/* What the artifact says is to be done to a photo: the facts "image.steps" as a struct. */
#include <string.h>

#include "photo.h"

#define FACT "image.steps."

static edgeq_rule rule_of(const char *name)
{
  static const char *const NAMES[] = {"", "exact", "shortest", "bounded", "longest", "box"};
  for (int i = EDGEQ_EXACT; i <= EDGEQ_WITHIN; i++)
    if (!strcmp(name, NAMES[i])) return (edgeq_rule)i;
  return EDGEQ_SAME;
}

static int32_t whole(const edgeq_app *app, const char *key, int item)
{
  return (int32_t)(item < 0 ? edgeq_app_number(app, 0, FACT "%s", key) : edgeq_app_number(app, 0, FACT "%s.%d", key, item));
}

static void read_resize(const edgeq_app *app, edgeq_steps *s)
{
  s->edge = edgeq_app_number(app, 0, FACT "resize.edge");
  s->shortest = edgeq_app_number(app, 0, FACT "resize.shortest");
  s->longest = edgeq_app_number(app, 0, FACT "resize.longest");
  s->height = whole(app, "resize.height", -1);
  s->width = whole(app, "resize.width", -1);
  s->within_height = whole(app, "resize.within", 0);
  s->within_width = whole(app, "resize.within", 1);
}

static void read_values(const edgeq_app *app, edgeq_steps *s)
{
  s->rescales = edgeq_app_fact(app, FACT "rescale") != NULL;
  s->rescale = edgeq_app_number(app, 0, FACT "rescale");
  s->normalizes = edgeq_app_fact(app, FACT "mean") && edgeq_app_fact(app, FACT "std");
  for (int i = 0; i < 3; i++) {
    s->mean[i] = (float)edgeq_app_number(app, 0, FACT "mean.%d", i);
    s->std[i] = (float)edgeq_app_number(app, 1, FACT "std.%d", i);
  }
}

int edgeq_app_read_steps(const edgeq_app *app, edgeq_steps *s)
{
  const char *refused = edgeq_app_fact(app, "image.refused"), *rule = edgeq_app_fact(app, FACT "resize.rule");
  if (refused) return edgeq_app_fail(app, EDGEQ_APP_UNSUPPORTED, "photos cannot be prepared for this model: %s", refused);
  *s = (edgeq_steps){.rule = rule ? rule_of(rule) : EDGEQ_SAME};
  if (rule && s->rule == EDGEQ_SAME) return edgeq_app_fail(app, EDGEQ_ARTIFACT, "resizing rule %s is not known here", rule);
  read_resize(app, s);
  s->filter = (int32_t)edgeq_app_number(app, EDGEQ_BILINEAR, FACT "resample");
  s->crop_height = whole(app, "crop", 0);
  s->crop_width = whole(app, "crop", 1);
  s->pad_height = whole(app, "pad", 0);
  s->pad_width = whole(app, "pad", 1);
  read_values(app, s);
  return EDGEQ_OK;
}
