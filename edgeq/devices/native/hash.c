/* Which bytes a file holds, so that only what changed is pushed. */
#include "native.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

static int hash_file(const char *path, uint64_t *hash, uint64_t *bytes)
{
  struct stat st;
  void *p = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int bad = fstat(fd, &st) || !S_ISREG(st.st_mode);
  if (!bad && st.st_size) p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  if (bad || p == MAP_FAILED) return -1;
  *bytes = (uint64_t)st.st_size;
  *hash = edgeq_xxh64(p ? p : "", *bytes);
  if (p) munmap(p, (size_t)st.st_size);
  return 0;
}

int print_hashes(int n, char **paths)
{
  uint64_t hash, bytes;
  for (int i = 0; i < n; i++)
    if (hash_file(paths[i], &hash, &bytes)) printf("- - %s\n", paths[i]);
    else printf("%016llx %llu %s\n", (unsigned long long)hash, (unsigned long long)bytes, paths[i]);
  return 0;
}
