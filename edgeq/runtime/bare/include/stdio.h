/* Small files read at once, and the conversions that the runtime prints and reads: see format.c and scan.c. */
#ifndef EDGEQ_BARE_STDIO_H
#define EDGEQ_BARE_STDIO_H
#include <stdarg.h>
#include <stddef.h>

typedef struct edgeq_file FILE;

FILE *fopen(const char *path, const char *mode); /* "r" */
int fscanf(FILE *file, const char *format, ...) __attribute__((format(scanf, 2, 3)));
int fclose(FILE *file);
int snprintf(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *out, size_t size, const char *format, va_list arguments) __attribute__((format(printf, 3, 0)));
#endif
