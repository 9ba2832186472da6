/* Computes with several threads while a timer's signals come: `signals WEIGHTS`. Prints how many a thread got that is not the
 * program's own (and fails when none came at all). */
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "edgeq.h"

static volatile int here, elsewhere;
static pid_t process;

/* Calls the system alone: it may interrupt the library, whose caller's thread-local storage is then hidden. */
static void count(int signal)
{
  (void)signal;
  if (syscall(SYS_gettid) == process) here++;
  else elsewhere++;
}

int main(int argc, char **argv)
{
  static const int32_t tokens[8];
  const struct itimerval often = {{0, 500}, {0, 500}};
  const edgeq_options options = {.threads = 4, .flags = EDGEQ_FIXED_THREADS};
  edgeq_context *ctx;
  process = getpid();
  signal(SIGALRM, count);
  setitimer(ITIMER_REAL, &often, NULL);
  if (edgeq_open(argv[argc - 1], &options, &ctx)) return 2;
  for (int i = 0; i < 20000 && here + elsewhere < 300; i++)
    if (edgeq_rewind(ctx, 0) || edgeq_feed(ctx, tokens, 8)) return 3;
  edgeq_close(ctx);
  printf("%d\n", elsewhere);
  return here == 0;
}
