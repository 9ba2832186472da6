/* How many threads the next step should use: all, or fewer when that was faster lately.
 * When another process takes a core, every barrier waits for the scheduler, and one thread fewer can be twice as fast.
 * The fastest choice lately leads. The others are looked at for a few steps from time to time, the more rarely the slower
 * they are and the oftener they were found slower, so that looking costs a percent or two. A leader that falls back after
 * a long lead is looked at again soon: it may have been a hiccup. */
#include "internal.h"

#include <string.h>

#define LOOK_STEPS 4      /* a waking worker is favoured by the scheduler: stalls show only after a few steps */
#define LOOK_WARM_UP 1    /* the first of them does not count: sleeping workers, cold caches */
#define SOON 8            /* steps until the next look at a choice that may be good */
#define LOOK_SHARE 64     /* in the long run, looks at one choice cost at most 1/64 of the time */
#define LONG_LEAD 32      /* steps; also the shortest long-run interval between looks */
#define LONG_ROW_NS 50e6  /* a walk this long loses little to a barrier that waits, and a look at fewer threads much */
#define NEW_SHARE 0.2     /* of the latest step in the leader's running mean */

static void add_choice(edgeq_adapt *adapt, int threads)
{
  if (threads < 1 || (adapt->n && adapt->choice[adapt->n - 1].threads >= threads)) return;
  adapt->choice[adapt->n++] = (edgeq_choice){.threads = threads, .interval = SOON, .due = SOON};
}

/* 1, half, all but one, all. */
void edgeq_adapt_open(edgeq_adapt *adapt, int threads)
{
  memset(adapt, 0, sizeof *adapt);
  add_choice(adapt, 1);
  add_choice(adapt, threads / 2);
  add_choice(adapt, threads - 1);
  add_choice(adapt, threads);
  adapt->leader = adapt->current = adapt->n - 1;
}

/* Number of threads for the next step. */
int edgeq_adapt_pick(edgeq_adapt *adapt)
{
  adapt->step++;
  if (adapt->look == 0) {
    adapt->current = adapt->leader;
    int may_look = adapt->choice[adapt->leader].ns < LONG_ROW_NS;
    for (int i = 0; may_look && i < adapt->n && adapt->look == 0; i++)
      if (i != adapt->leader && adapt->step >= adapt->choice[i].due) {
        adapt->current = i;
        adapt->look = LOOK_STEPS;
        adapt->look_ns = 0;
      }
  }
  return adapt->choice[adapt->current].threads;
}

static int fastest(const edgeq_adapt *adapt)
{
  int best = adapt->leader;
  for (int i = 0; i < adapt->n; i++)
    if (adapt->choice[i].ns > 0 && adapt->choice[i].ns < adapt->choice[best].ns) best = i;
  return best;
}

/* Steps after which a look at the choice costs its share of the time. */
static uint64_t longest_interval(const edgeq_adapt *adapt, const edgeq_choice *choice)
{
  double slower = choice->ns / adapt->choice[fastest(adapt)].ns - 1;
  uint64_t steps = (uint64_t)(LOOK_SHARE * LOOK_STEPS * (slower < 4 ? slower : 4));
  return steps > LONG_LEAD ? steps : LONG_LEAD;
}

static void wait_longer(const edgeq_adapt *adapt, edgeq_choice *choice)
{
  uint64_t longest = longest_interval(adapt, choice), interval = 4 * choice->interval;
  choice->interval = interval < longest ? interval : longest;
  choice->due = adapt->step + choice->interval;
}

static void change_leader(edgeq_adapt *adapt, int leader)
{
  edgeq_choice *old = &adapt->choice[adapt->leader];
  if (adapt->step - adapt->leads_since >= LONG_LEAD) old->interval = SOON / 4;
  wait_longer(adapt, old);
  adapt->leader = leader;
  adapt->leads_since = adapt->step;
}

/* Tells how long a row of the step just picked took. */
void edgeq_adapt_learn(edgeq_adapt *adapt, double ns)
{
  edgeq_choice *choice = &adapt->choice[adapt->current];
  if (adapt->look == 0) {
    choice->ns = choice->ns > 0 ? (1 - NEW_SHARE) * choice->ns + NEW_SHARE * ns : ns;
  } else {
    if (adapt->look <= LOOK_STEPS - LOOK_WARM_UP) adapt->look_ns += ns;
    if (--adapt->look > 0) return;
    choice->ns = adapt->look_ns / (LOOK_STEPS - LOOK_WARM_UP);
    wait_longer(adapt, choice);
  }
  int best = fastest(adapt);
  if (best != adapt->leader) change_leader(adapt, best);
}
