/* Repeats a measurement until it agrees with itself; the host says which did. */
#include "runner.h"

void repeat(run *r, const char *name, measurement once, int32_t argument, int most, int until_stable)
{
  double samples[MOST_SAMPLES];
  int n = 0;
  once(r, argument); /* warm up: pages of the weights, caches, clock */
  double began = now_s(), cooled = r->heat.waited_s;
  while (n < r->set->repeats || (n < most && now_s() - began - (r->heat.waited_s - cooled) < r->set->budget_s)) {
    if (n == MOST_SAMPLES) break;
    if (cool_down(&r->heat)) once(r, argument); /* awake again: clocks have fallen meanwhile */
    samples[n++] = once(r, argument);
    if (until_stable && n >= r->set->repeats && is_stable(samples, n)) break;
  }
  json_numbers(&r->j, name, samples, n);
}
