#ifndef EDGEQ_BARE_FCNTL_H
#define EDGEQ_BARE_FCNTL_H
#define AT_FDCWD (-100)
#define O_RDONLY 0
#define O_CLOEXEC 02000000

int open(const char *path, int flags, ...);
#endif
