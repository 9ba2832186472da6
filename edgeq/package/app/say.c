/* What the program says: errors and remarks on stderr, JSON texts on stdout. */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "app.h"

static void say(const edgeq_app *app, const char *head, const char *format, va_list arguments)
{
  fflush(stdout); /* so that both come in order on a terminal */
  fprintf(stderr, "%s: %s", app->name, head);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
}

int edgeq_app_fail(const edgeq_app *app, int status, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  say(app, "error: ", format, arguments);
  va_end(arguments);
  return status;
}

int edgeq_app_failed(const edgeq_app *app, int status)
{
  return edgeq_app_fail(app, status, "%s", edgeq_error(app->ctx));
}

void edgeq_app_note(const edgeq_app *app, const char *format, ...)
{
  if (app->options.quiet) return;
  va_list arguments;
  va_start(arguments, format);
  say(app, "", format, arguments);
  va_end(arguments);
}

void edgeq_app_print_json(const char *text, size_t bytes)
{
  putchar('"');
  for (size_t i = 0; i < bytes; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\') printf("\\%c", c);
    else if (c == '\n') fputs("\\n", stdout);
    else if (c < 0x20 || c == 0x7f) printf("\\u%04x", c);
    else putchar(c);
  }
  putchar('"');
}

int edgeq_app_decimals(double speed) { return speed < 1 ? 2 : speed < 10 ? 1 : 0; }

uint64_t edgeq_app_now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
