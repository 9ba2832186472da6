/* SPMD: every thread walks the whole entry and takes its share of each region; a spin barrier stands between regions.
 * Workers look for the next walk for a short while (a token follows a token) and then sleep on a futex. */
#include "internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BARRIER_SPINS 2000    /* then give the core away: the thread waited for may need it */
#define IDLE_NS 500000        /* how long a worker looks for the next walk before it sleeps */
#define IDLE_SPINS 64         /* between two looks at the clock */
#define STACK_BYTES (1 << 20) /* kernels keep their scratch in private memory */

static inline void pause_core(void)
{
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb"); /* `yield` does nothing on most cores */
#endif
}

static void sleep_while(_Atomic uint32_t *word, uint32_t value)
{
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

static inline int has_arrived(const edgeq_worker *worker, uint64_t epoch)
{
  return atomic_load_explicit(&worker->arrived, memory_order_acquire) >= epoch;
}

static void wait_for(edgeq_team *team, int tid, const edgeq_worker *other, uint64_t epoch)
{
  for (int spins = 0; spins < BARRIER_SPINS; spins++) {
    if (has_arrived(other, epoch)) return;
    pause_core();
  }
  while (!has_arrived(other, epoch)) {
    edgeq_place(team, tid);
    sched_yield();
  }
}

/* Each thread owns one line and reads the others': for few threads fewer transfers than one shared counter. */
static inline void barrier(edgeq_team *team, int tid, int nt, uint64_t epoch)
{
  atomic_store_explicit(&team->worker[tid].arrived, epoch, memory_order_release);
  for (int i = 0; i < nt; i++)
    if (i != tid) wait_for(team, tid, &team->worker[i], epoch);
}

static void walk(edgeq_team *team, const edgeq_job *job, int tid)
{
  for (int r = 0; r < job->entry->regions; r++) {
    job->entry->run(&job->step, r, tid, job->nt);
    barrier(team, tid, job->nt, job->epoch + (uint64_t)r + 1);
  }
}

static void walk_measured(edgeq_team *team, const edgeq_job *job)
{
  uint64_t start = edgeq_now_ns();
  for (int r = 0; r < job->entry->regions; r++) {
    edgeq_time *time = &job->profile->times[r];
    job->entry->run(&job->step, r, 0, job->nt);
    uint64_t inside = edgeq_now_ns();
    barrier(team, 0, job->nt, job->epoch + (uint64_t)r + 1);
    uint64_t end = edgeq_now_ns();
    time->inside_ns += inside - start;
    time->total_ns += end - start;
    start = end;
  }
  job->profile->walks++;
  job->profile->rows += (uint64_t)job->step.m;
}

/* Returns when `go` is no longer `seen`. */
static void wait_for_job(edgeq_worker *self, uint32_t seen)
{
  uint64_t give_up = edgeq_now_ns() + IDLE_NS;
  while (edgeq_now_ns() < give_up)
    for (int i = 0; i < IDLE_SPINS; i++) {
      if (atomic_load_explicit(&self->go, memory_order_acquire) != seen) return;
      pause_core();
    }
  /* Sequentially consistent on both sides: either the leader sees `asleep` or the futex sees the new `go`. */
  atomic_store(&self->asleep, 1);
  while (atomic_load(&self->go) == seen) sleep_while(&self->go, seen);
  atomic_store(&self->asleep, 0);
}

static void start_worker(edgeq_worker *worker)
{
  atomic_fetch_add(&worker->go, 1);
  if (atomic_load(&worker->asleep)) wake(&worker->go);
}

static void *work(void *argument)
{
  edgeq_worker *self = argument;
  edgeq_team *team = self->team;
  for (uint32_t seen = 0;; seen++) {
    wait_for_job(self, seen);
    if (team->quit) return NULL;
    edgeq_job job = team->job; /* the leader may prepare the next while this thread leaves the last barrier */
    edgeq_place(team, self->tid);
    walk(team, &job, self->tid);
  }
}

/* Walks as job->nt threads, the caller being thread 0; returns when all are done. */
void edgeq_team_walk(edgeq_team *team, edgeq_job *job)
{
  job->epoch = team->epoch;
  team->epoch += (uint64_t)job->entry->regions;
  team->job = *job;
  if (job->nt > 1) edgeq_place(team, 0);
  for (int i = 1; i < job->nt; i++) start_worker(&team->worker[i]);
  if (job->profile) walk_measured(team, job);
  else walk(team, job, 0);
}

/* The application's signals are for its own threads: workers block all but those that they themselves would cause. */
static void block_signals(sigset_t *old)
{
  sigset_t set;
  sigfillset(&set);
  sigdelset(&set, SIGSEGV);
  sigdelset(&set, SIGBUS);
  sigdelset(&set, SIGILL);
  sigdelset(&set, SIGFPE);
  pthread_sigmask(SIG_SETMASK, &set, old);
}

static int create(edgeq_worker *worker)
{
  sigset_t old;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  block_signals(&old);
  int error = pthread_create(&worker->thread, &attributes, work, worker);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attributes);
  return error;
}

int edgeq_team_start(edgeq_context *ctx, int n)
{
  edgeq_team *team = &ctx->team;
  edgeq_place_open(team);
  team->owner = getpid();
  for (team->n = 1; team->n < n; team->n++) {
    edgeq_worker *worker = &team->worker[team->n];
    worker->team = team;
    worker->tid = team->n;
    atomic_store(&worker->go, 0);
    atomic_store(&worker->asleep, 0);
    int error = create(worker);
    if (error) return edgeq_fail(ctx, EDGEQ_FAILED, "cannot start thread %d of %d: %s; ask for fewer", team->n + 1, n, strerror(error));
  }
  return EDGEQ_OK;
}

/* A forked child has a copy of all memory, but only the thread that forked: the others are started again. */
int edgeq_team_revive(edgeq_context *ctx)
{
  return ctx->team.n == 1 || ctx->team.owner == getpid() ? EDGEQ_OK : edgeq_team_start(ctx, ctx->team.n);
}

void edgeq_team_stop(edgeq_team *team)
{
  int started = team->owner == getpid() ? team->n : 1;
  team->quit = 1;
  for (int i = 1; i < started; i++) start_worker(&team->worker[i]);
  for (int i = 1; i < started; i++) pthread_join(team->worker[i].thread, NULL);
  team->quit = 0;
  team->n = 1;
}
