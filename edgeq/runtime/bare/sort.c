/* Heapsort: in place, n log n at worst. */
#include <stdint.h>
#include <stdlib.h>

typedef struct {
  uint8_t *items;
  size_t bytes;
  int (*compare)(const void *, const void *);
} array;

static uint8_t *at(const array *a, size_t i) { return a->items + i * a->bytes; }

static void swap(const array *a, size_t i, size_t j)
{
  uint8_t *x = at(a, i), *y = at(a, j);
  for (size_t n = 0; n < a->bytes; n++) {
    uint8_t byte = x[n];
    x[n] = y[n];
    y[n] = byte;
  }
}

static void sift(const array *a, size_t top, size_t count)
{
  for (size_t child; (child = 2 * top + 1) < count; top = child) {
    if (child + 1 < count && a->compare(at(a, child), at(a, child + 1)) < 0) child++;
    if (a->compare(at(a, top), at(a, child)) >= 0) return;
    swap(a, top, child);
  }
}

void qsort(void *items, size_t count, size_t bytes, int (*compare)(const void *, const void *))
{
  array a = {items, bytes, compare};
  for (size_t top = count / 2; top-- > 0;) sift(&a, top, count);
  for (size_t last = count; last-- > 1;) {
    swap(&a, 0, last);
    sift(&a, 0, last);
  }
}
