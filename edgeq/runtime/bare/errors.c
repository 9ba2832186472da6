/* Error numbers without thread-local storage: the latest of each thread, in a slot that its id picks. Two threads of one
 * slot that fail at the same moment may lose a number, never see the other's. */
#include "bare.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum { SLOTS = 64 };
static _Atomic uint64_t LATEST[SLOTS]; /* thread id << 32 | error; the one memory of the library that is written */

static uint64_t thread_id(void) { return (uint64_t)edgeq_call1(SYS_gettid, 0); }

long edgeq_result(long result)
{
  if (result >= 0 || result < -4095) return result;
  uint64_t id = thread_id();
  atomic_store(&LATEST[id % SLOTS], id << 32 | (uint64_t)-result);
  return -1;
}

int edgeq_errno(void)
{
  uint64_t id = thread_id(), latest = atomic_load(&LATEST[id % SLOTS]);
  return latest >> 32 == id ? (int)(latest & 4095) : 0;
}

/* In the order of their numbers, as errno(1) prints them. One text: a table of pointers would have to be relocated. */
static const char TEXTS[] =
  "Unknown error\0Operation not permitted\0No such file or directory\0No such process\0Interrupted system call\0"
  "Input/output error\0No such device or address\0Argument list too long\0Exec format error\0Bad file descriptor\0"
  "No child processes\0Resource temporarily unavailable\0Cannot allocate memory\0Permission denied\0Bad address\0"
  "Block device required\0Device or resource busy\0File exists\0Invalid cross-device link\0No such device\0"
  "Not a directory\0Is a directory\0Invalid argument\0Too many open files in system\0Too many open files\0"
  "Inappropriate ioctl for device\0Text file busy\0File too large\0No space left on device\0Illegal seek\0"
  "Read-only file system\0Too many links\0Broken pipe\0Numerical argument out of domain\0"
  "Numerical result out of range\0Resource deadlock avoided\0File name too long\0No locks available\0"
  "Function not implemented\0Directory not empty\0Too many levels of symbolic links\0";
enum { KNOWN = 41 };

/* The same words as glibc's; one text for every number of which files, memory and threads never fail. */
const char *strerror(int error)
{
  const char *text = TEXTS;
  for (int i = 0; error > 0 && error < KNOWN && i < error; i++) text += strlen(text) + 1;
  return text;
}
