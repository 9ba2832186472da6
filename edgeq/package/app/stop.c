/* Ctrl-C. A handler can reach nothing but a global: the one mutable global of the program. */
#include <signal.h>
#include <string.h>

#include "parts.h"

static volatile sig_atomic_t stopped;

static void note_stop(int signal)
{
  (void)signal;
  stopped = 1;
}

static void handle(void (*handler)(int), int flags)
{
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(SIGINT, &action, NULL);
}

void edgeq_app_watch_stop(void)
{
  stopped = 0;
  handle(note_stop, (int)SA_RESETHAND);
}

void edgeq_app_leave_stop(void) { handle(SIG_DFL, 0); }

int edgeq_app_stopped(void) { return stopped; }
