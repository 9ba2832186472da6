#ifndef EDGEQ_BARE_SIGNAL_H
#define EDGEQ_BARE_SIGNAL_H
#define SIGILL 4
#define SIGBUS 7
#define SIGFPE 8
#define SIGSEGV 11
#define SIG_SETMASK 2

typedef struct {
  unsigned long bits; /* of signal n: bit n - 1 */
} sigset_t;

int sigfillset(sigset_t *set);
int sigdelset(sigset_t *set, int signal);
#endif
