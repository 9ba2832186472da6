/* struct stat of 64-bit Linux (asm-generic/stat.h). */
#ifndef EDGEQ_BARE_SYS_STAT_H
#define EDGEQ_BARE_SYS_STAT_H
#include <stdint.h>

struct stat {
  uint64_t st_dev, st_ino;
  uint32_t st_mode, st_nlink, st_uid, st_gid;
  uint64_t st_rdev, edgeq_gap;
  int64_t st_size;
  int32_t st_blksize, edgeq_gap2;
  int64_t st_blocks, edgeq_times[6];
  uint32_t edgeq_unused[2];
};
#define S_ISDIR(mode) (((mode) & 0170000) == 0040000)

int stat(const char *path, struct stat *out);
int fstat(int file, struct stat *out);
#endif
