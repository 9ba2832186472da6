/* Ctrl-C. A handler can reach nothing but a global: the one mutable global of the program. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"

static volatile sig_atomic_t stopped;

static void note_stop(int signal)
{
  (void)signal;
  if (stopped) _exit(EDGEQ_APP_INTERRUPTED);
  stopped = 1;
}

static void leave(int signal)
{
  (void)signal;
  if (write(STDOUT_FILENO, "\n", 1)) {}
  _exit(EDGEQ_APP_INTERRUPTED);
}

static void handle(void (*handler)(int))
{
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  sigaction(SIGINT, &action, NULL);
}

void edgeq_app_watch_stop(void)
{
  stopped = 0;
  handle(note_stop);
}

void edgeq_app_leave_stop(void) { handle(SIG_DFL); }

void edgeq_app_end_at_stop(void) { handle(leave); }

int edgeq_app_stopped(void) { return stopped; }
