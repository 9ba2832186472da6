/* Memory of the heap: a mapping for each block. A context has a handful of them, and none is shared between contexts. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HEAD = 128 }; /* before each block, so that blocks are aligned to as much */

/* malloc's block: zeros, as mappings are. */
static void *allocate(size_t bytes)
{
  if (bytes > SIZE_MAX / 2) return NULL;
  size_t *map = mmap(NULL, bytes + HEAD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return NULL;
  *map = bytes + HEAD;
  return (uint8_t *)map + HEAD;
}

void *malloc(size_t bytes) { return allocate(bytes); }

void *calloc(size_t count, size_t bytes)
{
  size_t all;
  return __builtin_mul_overflow(count, bytes, &all) ? NULL : allocate(all);
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
  if (align > HEAD) return EINVAL;
  *out = allocate(bytes);
  return *out ? 0 : ENOMEM;
}

void free(void *memory)
{
  if (!memory) return;
  size_t *map = (size_t *)(void *)((uint8_t *)memory - HEAD);
  munmap(map, *map);
}
