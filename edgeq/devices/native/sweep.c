/* A device that lost its power in the middle of a push keeps the half file; the next session deletes it. */
#include "native.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static long max_age_s;

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
  int half = type == FTW_F && strstr(path + at->base, ".part-");
  if (half && time(NULL) - st->st_mtime >= max_age_s) remove(path);
  return 0;
}

int sweep(const char *folder, long seconds)
{
  max_age_s = seconds;
  return nftw(folder, visit, 16, FTW_PHYS) ? 1 : 0;
}
