/* Small text files (of /proc and /sys), read whole when they are opened, and the integers in them. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROOM = 4096 };

struct edgeq_file {
  size_t at, bytes;
  char text[ROOM];
};

static void read_all(FILE *file, int from)
{
  long n;
  while (file->bytes < ROOM && (n = read(from, file->text + file->bytes, ROOM - file->bytes)) > 0) file->bytes += (size_t)n;
}

FILE *fopen(const char *path, const char *mode)
{
  if (strcmp(mode, "r")) return NULL;
  int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return NULL;
  FILE *file = calloc(1, sizeof *file);
  if (file) read_all(file, from);
  close(from);
  return file;
}

int fclose(FILE *file)
{
  free(file);
  return 0;
}

static int peek(const FILE *file) { return file->at < file->bytes ? file->text[file->at] : -1; }

static int is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int is_digit(int c) { return c >= '0' && c <= '9'; }

static int read_number(FILE *file, long *value)
{
  int negative;
  while (is_space(peek(file))) file->at++;
  negative = peek(file) == '-';
  if (negative) file->at++;
  if (!is_digit(peek(file))) return 0;
  for (*value = 0; is_digit(peek(file)); file->at++)
    if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, peek(file) - '0', value)) return 0;
  if (negative) *value = -*value;
  return 1;
}

/* "%d" and "%lld", with spaces between them. */
int fscanf(FILE *file, const char *format, ...)
{
  int count = 0;
  long value;
  va_list arguments;
  va_start(arguments, format);
  for (; *format; format++) {
    if (*format != 'd') continue;
    if (!read_number(file, &value)) break;
    if (format[-1] == 'l') *va_arg(arguments, long long *) = value;
    else *va_arg(arguments, int *) = (int)value;
    count++;
  }
  va_end(arguments);
  return count;
}
