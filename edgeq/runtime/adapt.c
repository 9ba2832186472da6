/* How many threads the next step should use: all, or fewer when that was faster lately.
 * When another process takes a core, every barrier waits for the scheduler, and one thread fewer can be twice as fast.
 * The other choices are looked at again from time to time, the slower ones less often, so that looking costs a few
 * percent at most. */
#include <string.h>

#include "internal.h"

#define LOOK_EVERY 32  /* steps between two looks at a choice as fast as the best */
#define LOOK_STEPS 2   /* the first warms up (sleeping workers, cold caches), the second counts */
#define SLOWEST 8.0    /* a choice slower than this times the best is still looked at every 8 * LOOK_EVERY steps */
#define NEW_SHARE 0.3  /* of the latest time in the running mean */

static void add_choice(edgeq_adapt *adapt, int threads)
{
  if (threads < 1 || (adapt->n && adapt->threads[adapt->n - 1] >= threads)) return;
  adapt->due[adapt->n] = LOOK_EVERY + (uint64_t)adapt->n * LOOK_STEPS;
  adapt->threads[adapt->n++] = threads;
}

/* 1, half, all but one, all. */
void edgeq_adapt_open(edgeq_adapt *adapt, int threads)
{
  memset(adapt, 0, sizeof *adapt);
  add_choice(adapt, 1);
  add_choice(adapt, threads / 2);
  add_choice(adapt, threads - 1);
  add_choice(adapt, threads);
  adapt->current = adapt->n - 1;
}

static int fastest(const edgeq_adapt *adapt)
{
  int best = adapt->n - 1;
  for (int i = 0; i < adapt->n; i++)
    if (adapt->ns[i] > 0 && (adapt->ns[best] <= 0 || adapt->ns[i] < adapt->ns[best])) best = i;
  return best;
}

/* Number of threads for the next step. */
int edgeq_adapt_pick(edgeq_adapt *adapt)
{
  adapt->step++;
  if (adapt->probing == 0) {
    adapt->current = fastest(adapt);
    for (int i = 0, best = adapt->current; i < adapt->n && !adapt->probing; i++)
      if (i != best && adapt->step >= adapt->due[i]) {
        adapt->current = i;
        adapt->probing = LOOK_STEPS;
      }
  }
  return adapt->threads[adapt->current];
}

static void schedule_look(edgeq_adapt *adapt, int choice)
{
  double ratio = adapt->ns[choice] / adapt->ns[fastest(adapt)];
  adapt->due[choice] = adapt->step + (uint64_t)(LOOK_EVERY * (ratio < SLOWEST ? ratio : SLOWEST));
}

/* Tells how long a row of the step just picked took. */
void edgeq_adapt_learn(edgeq_adapt *adapt, double ns)
{
  int i = adapt->current, counts = adapt->probing != LOOK_STEPS;
  if (adapt->probing) adapt->probing--;
  if (!counts) return;
  adapt->ns[i] = adapt->ns[i] > 0 ? (1 - NEW_SHARE) * adapt->ns[i] + NEW_SHARE * ns : ns;
  schedule_look(adapt, i);
}
