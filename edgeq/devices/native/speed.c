/* Token entries: the same measurements as edgeq/measure/speed.py. Neither tokenization nor sampling is in the rates. */
#include "runner.h"

#include <stdio.h>

enum { MOST_RUNS = 30 };

/* The next of seeded random tokens; speed does not depend on what they say. */
static int32_t next_token(uint64_t *state, int32_t vocab)
{
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (int32_t)((*state >> 33) % (uint64_t)vocab);
}

static void fill(int32_t *ids, int32_t count, int32_t vocab)
{
  uint64_t state = 1;
  for (int32_t i = 0; i < count; i++) ids[i] = next_token(&state, vocab);
}

double prefill_rate(run *r, int32_t count)
{
  int32_t ids[count];
  fill(ids, count, r->facts.vocab);
  check(r, edgeq_rewind(r->ctx, 0));
  double start = now_s();
  check(r, edgeq_feed(r->ctx, ids, count));
  return count / (now_s() - start);
}

double decode_rate(run *r, int32_t count)
{
  int32_t ids[count];
  fill(ids, count, r->facts.vocab);
  check(r, edgeq_rewind(r->ctx, 0));
  double start = now_s();
  for (int32_t i = 0; i < count; i++) check(r, edgeq_feed(r->ctx, ids + i, 1));
  return count / (now_s() - start);
}

static double first_token_seconds(run *r, int32_t count)
{
  int32_t ids[count], drawn;
  fill(ids, count, r->facts.vocab);
  check(r, edgeq_rewind(r->ctx, 0));
  double start = now_s();
  check(r, edgeq_feed(r->ctx, ids, count));
  check(r, edgeq_sample(r->ctx, NULL, &drawn));
  return now_s() - start;
}

void print_speeds(run *r)
{
  char name[32];
  json_open(&r->j, "speeds", '{');
  for (int i = 0; i < r->set->lengths; i++) {
    snprintf(name, sizeof name, "prefill_%d", r->set->prefill[i]);
    repeat(r, name, prefill_rate, r->set->prefill[i], MOST_RUNS, 1);
  }
  if (r->set->decode) {
    snprintf(name, sizeof name, "decode_%d", r->set->decode);
    repeat(r, name, decode_rate, r->set->decode, MOST_RUNS, 1);
  }
  if (r->set->first) repeat(r, "first_token_seconds", first_token_seconds, r->set->first, MOST_RUNS, 1);
  json_close(&r->j, '}');
}
