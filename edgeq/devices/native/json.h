/* Writes one JSON value to stdout, piece by piece; commas are put by itself. */
#ifndef EDGEQ_DEVICES_JSON_H
#define EDGEQ_DEVICES_JSON_H
#include <stdint.h>

typedef struct {
  int comma; /* a value stands before: the next needs a comma */
} json;

/* Each begins with `name`: NULL inside a list and for the outermost value. */
void json_open(json *j, const char *name, char bracket); /* '{' or '[' */
void json_close(json *j, char bracket);                  /* '}' or ']' */
void json_text(json *j, const char *name, const char *value);
void json_integer(json *j, const char *name, uint64_t value);
void json_number(json *j, const char *name, double value);
void json_flag(json *j, const char *name, int value);
void json_numbers(json *j, const char *name, const double *values, int n);
#endif
