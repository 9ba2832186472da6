/* Anonymous memory of a context: arena and scratch. Pages that are never touched are never resident. */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int edgeq_map_zeros(edgeq_context *ctx, edgeq_map *map, uint64_t bytes, const char *what)
{
  if (bytes == 0) return EDGEQ_OK;
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    return edgeq_fail(ctx, EDGEQ_FAILED, "cannot reserve %llu bytes for the %s: %s", (unsigned long long)bytes, what, strerror(errno));
#ifdef MADV_NOHUGEPAGE
  /* A cache is filled a little in each of many places: a huge page for each would make all of it resident at once. */
  madvise(p, bytes, MADV_NOHUGEPAGE);
#endif
  map->base = p;
  map->bytes = bytes;
  return EDGEQ_OK;
}

void edgeq_zero(edgeq_map *map)
{
  if (map->base && madvise(map->base, map->bytes, MADV_DONTNEED)) memset(map->base, 0, map->bytes);
}

void edgeq_unmap(edgeq_map *map)
{
  if (map->base) munmap(map->base, map->bytes);
  map->base = NULL;
}
