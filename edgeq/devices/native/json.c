#include "json.h"

#include <inttypes.h>
#include <stdio.h>

/* Control characters escaped; what is no ASCII (a name in some system's file) is left out, as JSON has no bytes. */
static void put_string(const char *s)
{
  putchar('"');
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') printf("\\%c", c);
    else if (c < 0x20) printf("\\u%04x", c);
    else if (c < 0x7f) putchar(c);
  }
  putchar('"');
}

static void begin(json *j, const char *name)
{
  if (j->comma) putchar(',');
  j->comma = 1;
  if (!name) return;
  put_string(name);
  putchar(':');
}

void json_open(json *j, const char *name, char bracket)
{
  begin(j, name);
  putchar(bracket);
  j->comma = 0;
}

void json_close(json *j, char bracket)
{
  putchar(bracket);
  j->comma = 1;
}

void json_text(json *j, const char *name, const char *value)
{
  begin(j, name);
  put_string(value);
}

void json_integer(json *j, const char *name, uint64_t value)
{
  begin(j, name);
  printf("%" PRIu64, value);
}

void json_number(json *j, const char *name, double value)
{
  begin(j, name);
  printf("%.9g", value);
}

void json_flag(json *j, const char *name, int value)
{
  begin(j, name);
  fputs(value ? "true" : "false", stdout);
}

void json_numbers(json *j, const char *name, const double *values, int n)
{
  json_open(j, name, '[');
  for (int i = 0; i < n; i++) json_number(j, NULL, values[i]);
  json_close(j, ']');
}
