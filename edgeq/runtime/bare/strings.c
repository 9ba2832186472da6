/* Bytes and texts. The compiler calls the first four by itself, so their loops must not become calls of themselves: these
 * files are compiled as freestanding ones. */
#include <stdint.h>
#include <string.h>

#undef memcpy
#undef memset
#undef memcmp
#undef strlen

typedef uint8_t sixteen __attribute__((vector_size(16), aligned(1), may_alias));

/* From the first byte on: right for overlapping memory too where `t` lies before `f`. */
static void forward(uint8_t *t, const uint8_t *f, size_t bytes)
{
  for (; bytes >= 16; bytes -= 16, t += 16, f += 16) *(sixteen *)t = *(const sixteen *)f;
  while (bytes--) *t++ = *f++;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
  forward(to, from, bytes);
  return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
  uint8_t *t = to;
  const uint8_t *f = from;
  if ((uintptr_t)t - (uintptr_t)f >= bytes) forward(t, f, bytes);
  else while (bytes--) t[bytes] = f[bytes];
  return to;
}

void *memset(void *to, int value, size_t bytes)
{
  uint8_t *t = to;
  sixteen many = (sixteen){0} + (uint8_t)value;
  for (; bytes >= 16; bytes -= 16, t += 16) *(sixteen *)t = many;
  while (bytes--) *t++ = (uint8_t)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
  const uint8_t *x = a, *y = b;
  for (; bytes && *x == *y; bytes--, x++, y++) {}
  return bytes ? *x - *y : 0;
}

size_t strlen(const char *text)
{
  size_t n = 0;
  while (text[n]) n++;
  return n;
}

int strcmp(const char *a, const char *b)
{
  for (; *a && *a == *b; a++, b++) {}
  return (uint8_t)*a - (uint8_t)*b;
}

size_t strcspn(const char *text, const char *stops)
{
  size_t n = 0;
  for (; text[n]; n++)
    for (const char *s = stops; *s; s++)
      if (text[n] == *s) return n;
  return n;
}
