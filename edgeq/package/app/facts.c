/* Facts: a key, NUL, its value, NUL, and so on; an empty key ends them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"

#define MOST_KEY 128

static const char *find(const edgeq_app *app, const char *format, va_list arguments)
{
  char key[MOST_KEY];
  if (vsnprintf(key, sizeof key, format, arguments) >= (int)sizeof key) return NULL;
  for (const char *at = (const char *)app->facts.data; *at;) {
    const char *value = at + strlen(at) + 1;
    if (!strcmp(at, key)) return value;
    at = value + strlen(value) + 1;
  }
  return NULL;
}

const char *edgeq_app_fact(const edgeq_app *app, const char *key, ...)
{
  va_list arguments;
  va_start(arguments, key);
  const char *value = find(app, key, arguments);
  va_end(arguments);
  return value;
}

double edgeq_app_number(const edgeq_app *app, double otherwise, const char *key, ...)
{
  va_list arguments;
  va_start(arguments, key);
  const char *value = find(app, key, arguments);
  va_end(arguments);
  return value ? strtod(value, NULL) : otherwise;
}
