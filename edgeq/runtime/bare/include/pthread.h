/* Threads without thread-local storage, cancellation or a handler of any signal: every signal is blocked in them. */
#ifndef EDGEQ_BARE_PTHREAD_H
#define EDGEQ_BARE_PTHREAD_H
#include <sched.h>
#include <signal.h>
#include <stddef.h>

typedef struct edgeq_thread *pthread_t;
typedef struct {
  size_t stack_bytes;
} pthread_attr_t;

int pthread_attr_init(pthread_attr_t *attributes);
int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes);
int pthread_attr_destroy(pthread_attr_t *attributes);
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int pthread_join(pthread_t thread, void **result); /* `result` must be NULL */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
#endif
