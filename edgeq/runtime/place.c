/* Keeps threads of a team off each other's CPU. When other processes keep every CPU busy, the scheduler may wake a worker on
 * the CPU of the thread that woke it and leave both there: they then take turns, a barrier at a time, several times slower
 * than one thread alone. Only then is a worker moved; everything else is left to the scheduler, and the caller's thread is
 * never touched. */
#include "internal.h"

#include <sched.h>

static int cpu_of(edgeq_team *team, int tid) { return atomic_load_explicit(&team->worker[tid].cpu, memory_order_relaxed); }

static void publish_cpu(edgeq_team *team, int tid)
{
  atomic_store_explicit(&team->worker[tid].cpu, sched_getcpu(), memory_order_relaxed);
}

/* To any CPU that the caller of edgeq_place_open may use, but those of the threads before this one. */
static void move(edgeq_team *team, int tid)
{
  cpu_set_t set = team->allowed;
  for (int i = 0; i < tid; i++)
    if (cpu_of(team, i) >= 0) CPU_CLR((size_t)cpu_of(team, i), &set);
  if (CPU_COUNT(&set) > 0) sched_setaffinity(0, sizeof set, &set);
}

void edgeq_place_open(edgeq_team *team)
{
  if (sched_getaffinity(0, sizeof team->allowed, &team->allowed)) CPU_ZERO(&team->allowed);
  for (int i = 0; i < EDGEQ_MAX_THREADS; i++) atomic_store(&team->worker[i].cpu, -1);
}

/* Called by thread tid when a walk begins, and while it waits in vain. */
void edgeq_place(edgeq_team *team, int tid)
{
  publish_cpu(team, tid);
  for (int i = 0; i < tid; i++)
    if (cpu_of(team, i) == cpu_of(team, tid)) {
      move(team, tid);
      publish_cpu(team, tid);
      return;
    }
}
