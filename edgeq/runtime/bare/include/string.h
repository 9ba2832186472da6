/* Through the compiler's builtins, so that copies of a few bytes stay instructions in freestanding code too. */
#ifndef EDGEQ_BARE_STRING_H
#define EDGEQ_BARE_STRING_H
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
size_t strcspn(const char *text, const char *stops);
const char *strerror(int error);

#define memcpy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define memset(to, value, bytes) __builtin_memset(to, value, bytes)
#define memcmp(a, b, bytes) __builtin_memcmp(a, b, bytes)
#define strlen(text) __builtin_strlen(text)
#endif
