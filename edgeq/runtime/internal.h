/* What the runtime's files know of each other; each includes this first. Nothing here is exported. */
#ifndef EDGEQ_INTERNAL_H
#define EDGEQ_INTERNAL_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* cpu_set_t, sched_getcpu */
#endif
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "edgeq.h"
#include "plan.h"

#define EDGEQ_LINE 128 /* two cache lines: neighbours are fetched in pairs */

/* ---- memory.c, weights.c ---- */
typedef struct {
  uint8_t *base;
  uint64_t bytes;
} edgeq_map;

int edgeq_map_zeros(edgeq_context *ctx, edgeq_map *map, uint64_t bytes, const char *what);
void edgeq_zero(edgeq_map *map); /* forget the contents and give the pages back */
void edgeq_unmap(edgeq_map *map);
int edgeq_weights_open(edgeq_context *ctx, const char *path, uint32_t flags);
int edgeq_weights_borrow(edgeq_context *ctx, const void *weights, size_t bytes, uint32_t flags);
uint64_t edgeq_xxh64(const void *data, uint64_t bytes);

/* ---- cpu.c ---- */
int edgeq_choose_variant(edgeq_context *ctx, const char *forced);
int edgeq_usable_cores(void);
void edgeq_cpu_features(char *out, size_t size); /* names, space separated, as targets name them */

/* ---- profile.c ---- */
typedef struct {
  uint64_t walks, rows;
  edgeq_time *times; /* one a region */
} edgeq_entry_profile;

int edgeq_profile_open(edgeq_context *ctx);
void edgeq_profile_close(edgeq_context *ctx);

/* ---- threads.c ---- */
typedef struct {
  const edgeq_entry *entry;
  edgeq_step step;
  uint64_t epoch;            /* barriers before this walk */
  edgeq_entry_profile *profile; /* NULL: not measured */
  int nt;
} edgeq_job;

typedef struct {
  _Alignas(EDGEQ_LINE) _Atomic uint32_t go; /* changes when there is a job for this worker */
  _Atomic uint32_t asleep;
  _Alignas(EDGEQ_LINE) _Atomic uint64_t arrived; /* barriers this thread has reached */
  _Alignas(EDGEQ_LINE) _Atomic int cpu;          /* where it ran lately, -1: unknown */
  struct edgeq_team *team;
  pthread_t thread;
  int tid;
} edgeq_worker;

typedef struct edgeq_team {
  edgeq_worker worker[EDGEQ_MAX_THREADS]; /* [0] is the caller */
  edgeq_job job;
  cpu_set_t allowed; /* CPUs of this process; empty: unknown */
  uint64_t epoch;
  int quit;
  int n;       /* threads, caller included */
  pid_t owner; /* the process that started them: a forked child has none */
} edgeq_team;

int edgeq_team_start(edgeq_context *ctx, int n);
int edgeq_team_revive(edgeq_context *ctx);
void edgeq_team_stop(edgeq_team *team);
void edgeq_team_walk(edgeq_team *team, edgeq_job *job);

/* ---- place.c ---- */
void edgeq_place_open(edgeq_team *team);
void edgeq_place(edgeq_team *team, int tid);

/* ---- adapt.c ---- */
#define EDGEQ_CHOICES 4
typedef struct {
  int threads;
  double ns;         /* time of a row lately, 0: unknown */
  uint64_t interval; /* steps between two looks at it */
  uint64_t due;      /* step of the next look */
} edgeq_choice;

typedef struct {
  edgeq_choice choice[EDGEQ_CHOICES]; /* the last is "all threads" */
  int n, leader, current;             /* choices; the fastest lately; the one of this step */
  int look;                           /* steps left of a look at `current`, 0: none */
  double look_ns;                     /* sum over the steps of this look that count */
  uint64_t step, leads_since;
} edgeq_adapt;

void edgeq_adapt_open(edgeq_adapt *adapt, int threads);
int edgeq_adapt_pick(edgeq_adapt *adapt);
void edgeq_adapt_learn(edgeq_adapt *adapt, double ns);

/* ---- walk.c ---- */
void edgeq_walk(edgeq_context *ctx, const edgeq_entry *entry, const int32_t *ids, int32_t m);

/* ---- feed.c ---- */
int edgeq_check_ids(edgeq_context *ctx, const int32_t *ids, int32_t n);

/* ---- static.c ---- */
int edgeq_check_inputs(edgeq_context *ctx, const edgeq_entry *entry);
const char *edgeq_entry_names(const edgeq_context *ctx, int kind, char *out, size_t size); /* kind -1: all */

/* ---- sample.c ---- */
typedef struct {
  float weight;
  int32_t id;
} edgeq_candidate;

/* ---- session.c ---- */
struct edgeq_context {
  edgeq_team team;
  const edgeq_plan *plan;
  const edgeq_variant *variant;
  edgeq_map weights, arena, private_memory;
  const uint8_t *tensors; /* weights after the header */
  edgeq_adapt *adapt;     /* one an entry */
  edgeq_entry_profile *profile;
  edgeq_candidate *candidates;
  int32_t position, last_threads;
  int32_t furthest; /* most tokens fed since the last rewind to 0 */
  int open, profiling, fixed_threads;
  int logits_ready; /* the arena holds the logits of the last fed token */
  int borrowed;     /* the weights are the caller's memory */
  int static_ran;   /* a static entry has run since open */
  char error[512];
};

int edgeq_fail(edgeq_context *ctx, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Fails unless edgeq_open succeeded. */
int edgeq_usable(edgeq_context *ctx);

static inline uint64_t edgeq_now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#endif
