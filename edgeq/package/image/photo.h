/* photo.h: what the programs over photos share: a file becomes an entry's input, and the entry runs. */
#ifndef EDGEQ_PHOTO_H
#define EDGEQ_PHOTO_H
#include "../app/parts.h"
#include "image.h"

typedef struct {
  edgeq_app *app;
  int channels;
  edgeq_steps steps;
  int32_t entry;       /* the image tower's, of the smallest batch */
  edgeq_tensor pixels; /* its pixel_values */
  edgeq_tensor mask;   /* its pixel_mask; data NULL where it has none */
} edgeq_photos;

/* After edgeq_app_start: what the artifact says of photos, and the entry that takes them. */
int edgeq_photos_open(edgeq_photos *photos, edgeq_app *app);

/* steps.c: the facts "image.steps" as a struct; refuses what the model's files did not say. */
int edgeq_app_read_steps(const edgeq_app *app, edgeq_steps *steps);

/* Reads the file ("-": stdin) into the entry's inputs; `sizes` are the photo's. Nothing runs. */
int edgeq_photos_load(const edgeq_photos *photos, const char *path, edgeq_sizes *sizes);

/* Runs the entry; its seconds in *seconds (may be NULL). */
int edgeq_photos_run(const edgeq_photos *photos, double *seconds);

/* The tensor of that name of the static entry with the smallest batch that has it; *entry is that entry. */
int edgeq_app_find_tensor(const edgeq_app *app, edgeq_side side, const char *name, int32_t *entry, edgeq_tensor *out);

/* The tensor of that name of that very entry; 0 when it has none. */
int edgeq_app_tensor_of(const edgeq_app *app, int32_t entry, edgeq_side side, const char *name, edgeq_tensor *out);

/* Row `row` of a tensor seen as a list of rows. */
static inline float *edgeq_tensor_row(const edgeq_tensor *t, size_t row) { return (float *)t->data + row * (size_t)t->row_stride; }

/* Calls `use` with each photo's sizes after its entry ran, its name before the answer when there are several. */
typedef int edgeq_photo_use(void *self, const char *path, const edgeq_sizes *sizes);
int edgeq_photos_each(const edgeq_photos *photos, int argc, char **argv, edgeq_photo_use *use, void *self);
#endif
