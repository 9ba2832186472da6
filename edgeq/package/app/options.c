/* The command line: one table of options, from which the help is printed too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "parts.h"

typedef struct {
  const edgeq_app *app;
  const edgeq_app_option *table[2]; /* the program's, the common ones */
  int argc, at;                     /* at: the argument being read */
  char **argv;
  int rest; /* arguments that are no options, so far: moved to argv[1...] */
} reader;

static int bad(const reader *r, const char *name, const char *what)
{
  return edgeq_app_fail(r->app, EDGEQ_USAGE, "%s %s; --help lists the options", name, what);
}

/* Whether `argument` is the option, a value behind it allowed. */
static int names(const edgeq_app_option *option, const char *argument)
{
  size_t n = strlen(option->name);
  if (!strncmp(argument, option->name, n) && (!argument[n] || argument[n] == '=')) return 1;
  return option->letter && argument[0] == '-' && argument[1] == option->letter && (!argument[2] || option->kind != EDGEQ_APP_FLAG);
}

static const edgeq_app_option *find(const reader *r, const char *argument)
{
  for (int t = 0; t < 2; t++)
    for (const edgeq_app_option *option = r->table[t]; option && option->name; option++)
      if (names(option, argument)) return option;
  return NULL;
}

static int put_number(const reader *r, const edgeq_app_option *option, const char *text)
{
  char *end, what[96];
  double value = strtod(text, &end);
  int any = option->least == 0 && option->most == 0, whole = option->kind == EDGEQ_APP_INT;
  double most = any ? whole ? INT32_MAX : 1e30 : option->most, least = any && !whole ? -1e30 : option->least;
  if (end == text || *end || !(value >= least && value <= most) || (whole && value != (double)(int)value)) {
    snprintf(what, sizeof what, any ? "takes a number" : "takes a %snumber from %.10g to %.10g", whole ? "whole " : "", least, most);
    return bad(r, option->name, what);
  }
  if (whole) *(int *)option->value = (int)value;
  else *(double *)option->value = value;
  return EDGEQ_OK;
}

static int put_seed(const reader *r, const edgeq_app_option *option, const char *text)
{
  char *end;
  unsigned long long value = strtoull(text, &end, 10);
  if (end == text || *end || *text == '-') return bad(r, option->name, "takes a whole number from 0");
  *(uint64_t *)option->value = value;
  return EDGEQ_OK;
}

static void put_text(const reader *r, edgeq_app_texts *texts, const char *text)
{
  if (!texts->item) texts->item = edgeq_app_grow(NULL, (size_t)r->argc * sizeof *texts->item);
  texts->item[texts->n++] = text;
}

static int put(const reader *r, const edgeq_app_option *option, const char *text)
{
  switch (option->kind) {
  case EDGEQ_APP_SEED: return put_seed(r, option, text);
  case EDGEQ_APP_TEXT: *(const char **)option->value = text; return EDGEQ_OK;
  case EDGEQ_APP_TEXTS: put_text(r, option->value, text); return EDGEQ_OK;
  default: return put_number(r, option, text);
  }
}

static int read_option(reader *r, const edgeq_app_option *option)
{
  char *argument = r->argv[r->at], *value = argument[1] == '-' ? strchr(argument, '=') : argument[2] ? argument + 1 : NULL;
  if (option->kind == EDGEQ_APP_FLAG) {
    if (value) return bad(r, option->name, "takes no value");
    *(int *)option->value = 1;
    return EDGEQ_OK;
  }
  if (value) return put(r, option, value + 1);
  if (r->at + 1 == r->argc) return bad(r, option->name, "takes a value");
  return put(r, option, r->argv[++r->at]);
}

static int read_all(reader *r)
{
  int only_arguments = 0;
  for (r->at = 1; r->at < r->argc; r->at++) {
    char *argument = r->argv[r->at];
    if (only_arguments || argument[0] != '-' || !argument[1]) {
      r->argv[++r->rest] = argument;
    } else if (!strcmp(argument, "--")) {
      only_arguments = 1;
    } else {
      const edgeq_app_option *option = find(r, argument);
      int status = option ? read_option(r, option) : bad(r, argument, "is no option");
      if (status) return status;
    }
  }
  return EDGEQ_OK;
}

static void print_table(const edgeq_app_option *option)
{
  char left[64];
  for (; option && option->name; option++) {
    char letter[5] = "    ";
    if (!option->help) continue;
    if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(left, sizeof left, "%s%s %s", letter, option->name, option->meta ? option->meta : "");
    printf("  %-26s %s\n", left, option->help);
  }
}

static int print_help(const edgeq_app *app, const char *takes, const edgeq_app_option *options, const edgeq_app_option *common)
{
  printf("%s, packaged by edgeq %s\n\nUsage: %s [OPTIONS] %s\n\n", edgeq_app_fact(app, "model"), edgeq_app_fact(app, "edgeq"),
         app->name, takes);
  print_table(options);
  print_table(common);
  return EDGEQ_APP_DONE;
}

static int print_licence(const edgeq_app *app)
{
  const char *text = edgeq_app_fact(app, "licence");
  if (!text) return edgeq_app_fail(app, EDGEQ_APP_UNSUPPORTED, "the model came without a licence file");
  fputs(text, stdout);
  return EDGEQ_APP_DONE;
}

static int open_model(edgeq_app *app)
{
  edgeq_options options = {.threads = app->options.threads, .variant = app->options.variant};
  int status = edgeq_open_memory(app->weights.data, app->weights.bytes, &options, &app->ctx);
  return status ? edgeq_app_failed(app, status) : EDGEQ_OK;
}

int edgeq_app_start(edgeq_app *app, int *argc, char **argv, const char *takes, const edgeq_app_option *options)
{
  edgeq_app_common *c = &app->options;
  const edgeq_app_option common[] = {
    {"--threads", 't', EDGEQ_APP_INT, &c->threads, "N", "0: a core each [0]", 0, EDGEQ_MAX_THREADS},
    {"--variant", 0, EDGEQ_APP_TEXT, &c->variant, "NAME", "instruction set to force [the best this CPU runs]"},
    {"--json", 0, EDGEQ_APP_FLAG, &c->json, NULL, "print results as JSON"},
    {"--quiet", 'q', EDGEQ_APP_FLAG, &c->quiet, NULL, "no remarks, errors only"},
    {"--bench", 0, EDGEQ_APP_FLAG, &c->bench, NULL, "measure the speed on this machine"},
    {"--info", 0, EDGEQ_APP_FLAG, &c->info, NULL, "what is inside, and what it needs"},
    {"--licence", 0, EDGEQ_APP_FLAG, &c->licence, NULL, "the model's licence"},
    {"--license", 0, EDGEQ_APP_FLAG, &c->licence, NULL, NULL},
    {"--version", 0, EDGEQ_APP_FLAG, &c->version, NULL, "model, target, edgeq's version"},
    {"--help", 'h', EDGEQ_APP_FLAG, &c->help, NULL, "this text"},
    {0},
  };
  reader r = {.app = app, .table = {options, common}, .argc = *argc, .argv = argv};
  int status = read_all(&r);
  if (status) return status;
  *argc = r.rest + 1;
  if (c->help) return print_help(app, takes, options, common);
  if (c->licence) return print_licence(app);
  if (c->version) return edgeq_app_version(app), EDGEQ_APP_DONE;
  status = open_model(app);
  if (!status && c->info) return edgeq_app_info(app);
  if (!status && c->bench) return edgeq_app_bench(app);
  return status;
}
