/* Opens, uses and closes a model again and again: `cycles WEIGHTS TIMES THREADS`. Prints how many bytes are mapped and how
 * many threads run after a tenth of it and at the end, and what a forked child computes beside its parent. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "edgeq.h"

static const int32_t TOKENS[] = {1, 2, 3, 4, 5};

static unsigned long mapped(void)
{
  unsigned long start, end, sum = 0;
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps))
    if (sscanf(line, "%lx-%lx", &start, &end) == 2 && !strstr(line, "[heap]")) sum += end - start;
  fclose(maps);
  return sum;
}

static int threads(void)
{
  int count = 0;
  DIR *folder = opendir("/proc/self/task");
  for (struct dirent *item; (item = readdir(folder));) count += item->d_name[0] != '.';
  closedir(folder);
  return count;
}

/* The emulator's threads end a moment after those that they stand for. */
static int threads_at_most(int wanted)
{
  for (int i = 0; i < 1000 && threads() > wanted; i++) usleep(1000);
  return threads();
}

static edgeq_context *opened(const char *path, int32_t n)
{
  const edgeq_options options = {.threads = n, .flags = EDGEQ_FIXED_THREADS};
  edgeq_context *ctx;
  if (edgeq_open(path, &options, &ctx) || edgeq_feed(ctx, TOKENS, 5)) exit(1);
  return ctx;
}

static void use(const char *path, int32_t n)
{
  edgeq_context *ctx;
  if (!edgeq_open("/nowhere", NULL, &ctx)) exit(2);
  edgeq_close(ctx);
  edgeq_close(opened(path, n));
}

/* Child and parent go on from the same tokens. One thread: the emulator cannot start another in a forked child. */
static int forked(const char *path)
{
  int status;
  edgeq_context *ctx = opened(path, 1);
  pid_t child = fork();
  float sum = edgeq_feed(ctx, TOKENS, 2) ? 0 : edgeq_logits(ctx)[1];
  edgeq_close(ctx);
  if (!child) {
    printf("child %.9g\n", sum);
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, &status, 0);
  printf("parent %.9g\n", sum);
  return status;
}

int main(int argc, char **argv)
{
  if (argc != 4) return 2;
  int times = atoi(argv[2]), n = atoi(argv[3]), start = threads();
  if (forked(argv[1])) return 3;
  for (int i = 0; i < times / 10; i++) use(argv[1], n);
  printf("%lu %d\n", mapped(), threads_at_most(start) - start);
  for (int i = times / 10; i < times; i++) use(argv[1], n);
  printf("%lu %d\n", mapped(), threads_at_most(start) - start);
  return 0;
}
