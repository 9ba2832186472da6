/* app.h: what the files of a packaged executable know of each other (`edgeq package ARTIFACT -o app`).
 *
 * The program does one thing, chosen when it was packaged: EDGEQ_APP_RUN names the function (see the end of this file), and
 * only the sources which that function needs are linked (edgeq/package/programs.py). main() finds the sections behind the
 * program and calls it:
 *
 *   int edgeq_app_segment(edgeq_app *app, int argc, char **argv)
 *   {
 *     const char *output = "mask.png";
 *     edgeq_app_texts points = {0};
 *     const edgeq_app_option options[] = {
 *       {"--point", 'p', EDGEQ_APP_TEXTS, &points, "X,Y", "a pixel of the object; X,Y:0 is background; repeat it"},
 *       {"--output", 'o', EDGEQ_APP_TEXT, &output, "FILE", "mask to write (PNG)"},
 *       {0}};
 *     int status = edgeq_app_start(app, &argc, argv, "PHOTO", options);
 *     if (status) return status;           argv[1..argc-1] are now what is no option: photos
 *     ...                                  app->ctx is open
 *   }
 *
 * Functions return an edgeq_status, which becomes the exit code (docs/exit-codes.md). Results go to stdout, everything
 * else to stderr. */
#ifndef EDGEQ_APP_H
#define EDGEQ_APP_H
#include <stddef.h>
#include <stdint.h>

#include "edgeq.h"

enum {
  EDGEQ_APP_DONE = -1,        /* nothing left to do, successfully: --help was printed; main exits with 0 */
  EDGEQ_APP_UNSUPPORTED = 4,  /* the model's files do not say how (exit codes that edgeq.h has no name for) */
  EDGEQ_APP_OUTPUT = 5,       /* a file cannot be written */
  EDGEQ_APP_INTERRUPTED = 130 /* Ctrl-C */
};

typedef struct {
  const uint8_t *data;
  size_t bytes;
} edgeq_app_section;

typedef struct {
  int threads;         /* 0: a core each */
  const char *variant; /* NULL: the best that this CPU runs */
  int quiet, json;     /* no remarks on stderr; the result as one JSON object */
  int bench, info, version, licence, help;
} edgeq_app_common;

typedef struct {
  const char *name;           /* of the program in messages: argv[0] without folders */
  edgeq_app_section weights, vocabulary, facts; /* mapped, read only; vocabulary is empty where no text goes in */
  edgeq_context *ctx;         /* open after edgeq_app_start */
  struct edgeq_tokenizer *tokenizer; /* of programs that read text */
  edgeq_app_common options;
} edgeq_app;

/* ---- options.c: the command line ---- */
typedef enum {
  EDGEQ_APP_FLAG,   /* int: becomes 1 */
  EDGEQ_APP_INT,    /* int */
  EDGEQ_APP_SEED,   /* uint64_t */
  EDGEQ_APP_NUMBER, /* double */
  EDGEQ_APP_TEXT,   /* const char *: the last one given */
  EDGEQ_APP_TEXTS   /* edgeq_app_texts: all of them in order */
} edgeq_app_kind;

typedef struct {
  const char **item; /* the caller frees it; the texts are argv's */
  int n;
} edgeq_app_texts;

/* A row of the table, which ends with {0}. The value is the next argument as it is ("-20,40" too), or
 * follows "=" or the letter ("-n5"). */
typedef struct {
  const char *name;    /* "--point" */
  char letter;         /* 'p' for "-p", 0: none */
  edgeq_app_kind kind;
  void *value;         /* where it goes; what it holds before is the default */
  const char *meta;    /* "X,Y" in the help; NULL for a flag */
  const char *help;    /* NULL: not in the help, another spelling */
  double least, most;  /* of an int or number; both 0: any (an int: any from 0) */
} edgeq_app_option;

/* Reads the command line: `options` beside the common ones (--threads, --variant, --quiet, --json, --bench, --info,
 * --version, --licence, --help); opens the model; does --bench, --info and the like. After EDGEQ_OK argv[1] to
 * argv[*argc - 1] are the arguments that are no options; "--" ends options. `takes` is what the usage line says of
 * those. Anything else than EDGEQ_OK is returned by the caller as it is; the message has been printed. */
int edgeq_app_start(edgeq_app *app, int *argc, char **argv, const char *takes, const edgeq_app_option *options);

/* ---- facts.c: what the artifact's edgeq.json says in `task`, flattened ----
 * A list's key holds its length, its items follow by number: "labels" = "2", "labels.0" = "cat"; null is left out, true
 * is "1". For photos (edgeq/tasks/image.py says what they mean, to be done in its order): "image.channels",
 * "image.height", "image.width", "image.steps.resize.rule" (exact shortest longest box bounded) with "...resize.edge",
 * ".height", ".width", ".shortest", ".longest", "...resize.within.0", "image.steps.resample" (Pillow's number),
 * "image.steps.crop.0" (height), "...crop.1", "image.steps.rescale", "image.steps.mean.0", "image.steps.std.0",
 * "image.steps.pad.0", "image.output"; "image.refused" says why there are no steps. */

/* The value under a key made as printf does; NULL when there is none. In the mapped file, NUL-terminated. */
const char *edgeq_app_fact(const edgeq_app *app, const char *key, ...) __attribute__((format(printf, 2, 3)));

/* The same as a number; `otherwise` when there is none. */
double edgeq_app_number(const edgeq_app *app, double otherwise, const char *key, ...) __attribute__((format(printf, 3, 4)));

/* ---- say.c ---- */
/* Prints "NAME: error: ..." on stderr; returns `status`. */
int edgeq_app_fail(const edgeq_app *app, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with edgeq_error's text after a call of edgeq.h failed. */
int edgeq_app_failed(const edgeq_app *app, int status);

/* Prints "NAME: ..." on stderr unless --quiet. */
void edgeq_app_note(const edgeq_app *app, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A text as a JSON string with its quotes, UTF-8 kept, on stdout. */
void edgeq_app_print_json(const char *text, size_t bytes);

uint64_t edgeq_app_now_ns(void);

/* Decimals that a speed is worth: 0, one below 10, two below 1. */
int edgeq_app_decimals(double speed);

/* ---- what a program can be, one of: ---- */
int edgeq_app_chat(edgeq_app *app, int argc, char **argv);
int edgeq_app_embed(edgeq_app *app, int argc, char **argv);
int edgeq_app_classify_text(edgeq_app *app, int argc, char **argv);
int edgeq_app_segment(edgeq_app *app, int argc, char **argv);        /* edgeq/package/image/segment.c */
int edgeq_app_classify_image(edgeq_app *app, int argc, char **argv); /* edgeq/package/image/classify.c */
int edgeq_app_detect(edgeq_app *app, int argc, char **argv);         /* edgeq/package/image/detect.c */
int edgeq_app_embed_image(edgeq_app *app, int argc, char **argv);    /* edgeq/package/image/features.c */
int edgeq_app_embed_image(edgeq_app *app, int argc, char **argv);    /* edgeq/package/image/features.c */
int edgeq_app_detect(edgeq_app *app, int argc, char **argv);         /* edgeq/package/image/detect.c */
#endif
