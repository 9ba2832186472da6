/* Opens a model while no file can be opened, so that the auxiliary vector cannot be read: `no_files WEIGHTS`. Prints the
 * variant that the library chose. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "edgeq.h"

int main(int argc, char **argv)
{
  struct stat st;
  edgeq_context *ctx;
  edgeq_facts facts;
  int file = open(argv[argc - 1], O_RDONLY);
  if (fstat(file, &st)) return 2;
  void *weights = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, 0});
  if (open("/proc/self/auxv", O_RDONLY) >= 0) return 3;
  if (edgeq_open_memory(weights, (size_t)st.st_size, NULL, &ctx) || edgeq_info(ctx, &facts)) return 4;
  printf("%s\n", facts.variant);
  edgeq_close(ctx);
  return 0;
}
