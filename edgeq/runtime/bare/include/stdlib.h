#ifndef EDGEQ_BARE_STDLIB_H
#define EDGEQ_BARE_STDLIB_H
#include <stddef.h>

void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void free(void *memory);
int posix_memalign(void **out, size_t align, size_t bytes);
void qsort(void *items, size_t count, size_t bytes, int (*compare)(const void *, const void *));
#endif
