/* Runs a program for a host far away, and ends it when the host is gone.
 *
 * The host writes a byte a second to the guard's stdin. When stdin ends, or is silent for SILENCE_S (a cable was pulled,
 * nobody closed anything), or the time is up, the program and what it started are killed. The last line on stderr says how
 * it ended: without that line, the host knows that the link was cut. */
#include "native.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SILENCE_S /* a test is less patient */
#define SILENCE_S 20.0
#endif
#define NOT_RUN 126

static void on_child(int signal) { (void)signal; /* only to end ppoll */ }

static void become(char **argv, const sigset_t *mask)
{
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the guard itself is killed */
  signal(SIGCHLD, SIG_DFL);
  sigprocmask(SIG_SETMASK, mask, NULL);
  if (!freopen("/dev/null", "r", stdin)) _exit(NOT_RUN);
  execv(argv[0], argv);
  fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
  _exit(NOT_RUN);
}

/* Bytes waiting on stdin are taken: > 0 some, 0 the end, < 0 none for now. */
static int listen_once(const sigset_t *mask)
{
  char bytes[256];
  struct pollfd in = {.fd = 0, .events = POLLIN};
  struct timespec second = {1, 0};
  if (ppoll(&in, 1, &second, mask) <= 0) return -1;
  return (int)read(0, bytes, sizeof bytes);
}

/* Why the program was given up; NULL when it ended by itself, with *status. */
static const char *watch(pid_t child, double seconds, const sigset_t *mask, int *status)
{
  double end = now_s() + seconds, heard = now_s();
  while (waitpid(child, status, WNOHANG) == 0) {
    int bytes = listen_once(mask);
    if (bytes == 0) return "link";
    if (bytes > 0) heard = now_s();
    if (now_s() - heard > SILENCE_S) return "link";
    if (now_s() > end) return "timeout";
  }
  return NULL;
}

int guard(double seconds, char **argv)
{
  sigset_t block, old;
  int status = 0;
  sigemptyset(&block);
  sigaddset(&block, SIGCHLD);
  signal(SIGCHLD, on_child);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_BLOCK, &block, &old); /* let through while waiting in ppoll only */
  pid_t child = fork();
  if (child < 0) return perror("fork"), NOT_RUN;
  if (!child) become(argv, &old);
  setpgid(child, child); /* in both: whichever comes first */
  const char *given_up = watch(child, seconds, &old, &status);
  if (given_up) {
    kill(-child, SIGKILL);
    waitpid(child, &status, 0);
  }
  int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  fprintf(stderr, "\nedgeq-guard: %s %d\n", given_up ? given_up : "exit", code);
  return code;
}
