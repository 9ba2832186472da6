/* Draws the next token: temperature, then the top_k likeliest, then the fewest that reach top_p of what is left.
 * Own exponential and generator, so that a seed means the same token on every machine. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

/* exp(x) for x <= 0, in double: 2^k times a Taylor series on |r| <= ln(2)/2, error below 1e-13. */
static double exp_negative(double x)
{
  if (!(x >= -700)) return 0; /* also not a number */
  int64_t k = (int64_t)(x * 1.4426950408889634 - 0.5);
  double r = x - (double)k * 0.6931471805599453, term = 1, sum = 1, power;
  for (int i = 1; i <= 13; i++) {
    term = term * r / i;
    sum = sum + term;
  }
  uint64_t bits = (uint64_t)(k + 1023) << 52;
  memcpy(&power, &bits, 8);
  return sum * power;
}

/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), the output function. */
static uint64_t mix(uint64_t x)
{
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* Uniform in [0, 1), a function of seed and position. */
static double uniform(uint64_t seed, int32_t position)
{
  uint64_t x = mix(mix(seed + 0x9e3779b97f4a7c15u) + 0x9e3779b97f4a7c15u * ((uint64_t)position + 1));
  return (double)(x >> 11) * 0x1p-53;
}

/* Likelier first; equal weights by id, so that the order is total. */
static int less_likely(const edgeq_candidate *a, const edgeq_candidate *b)
{
  return a->weight < b->weight || (a->weight == b->weight && a->id > b->id);
}

static int by_weight(const void *a, const void *b)
{
  return less_likely(a, b) - less_likely(b, a);
}

/* Restores the heap (least likely on top) after heap[0] changed. */
static void sift(edgeq_candidate *heap, int32_t n)
{
  edgeq_candidate moved = heap[0];
  int32_t hole = 0, child;
  while ((child = 2 * hole + 1) < n) {
    if (child + 1 < n && less_likely(&heap[child + 1], &heap[child])) child++;
    if (!less_likely(&heap[child], &moved)) break;
    heap[hole] = heap[child];
    hole = child;
  }
  heap[hole] = moved;
}

/* Moves the k likeliest of n to the front, likeliest first, and returns k: a heap of the first k (sorted the other way, an array is
 * one), through which the others pass. */
static int32_t select_top(edgeq_candidate *c, int32_t n, int32_t k)
{
  qsort(c, (size_t)k, sizeof *c, by_weight);
  for (int32_t i = 0; i < k / 2; i++) {
    edgeq_candidate swap = c[i];
    c[i] = c[k - 1 - i];
    c[k - 1 - i] = swap;
  }
  for (int32_t i = k; i < n; i++)
    if (less_likely(&c[0], &c[i])) {
      c[0] = c[i];
      sift(c, k);
    }
  qsort(c, (size_t)k, sizeof *c, by_weight);
  return k;
}

static double total(const edgeq_candidate *c, int32_t n)
{
  double sum = 0;
  for (int32_t i = 0; i < n; i++) sum = sum + c[i].weight;
  return sum;
}

/* Sorted nucleus: how many of the n candidates are needed to reach top_p. What is too unlikely to belong is dropped
 * before sorting: together, the tokens below (1 - p) / n of the sum cannot reach 1 - p. */
static int32_t nucleus(edgeq_candidate *c, int32_t n, double top_p)
{
  double sum = total(c, n), least = sum * (1 - top_p) / n, reached = 0;
  int32_t kept = 0, count = 0;
  for (int32_t i = 0; i < n; i++)
    if (c[i].weight >= least) c[kept++] = c[i];
  qsort(c, (size_t)kept, sizeof *c, by_weight);
  while (count < kept && reached < top_p * sum) reached = reached + c[count++].weight;
  return count > 0 ? count : 1;
}

static int32_t draw(const edgeq_candidate *c, int32_t n, double u)
{
  double target = u * total(c, n), sum = 0;
  for (int32_t i = 0; i < n; i++) {
    sum = sum + c[i].weight;
    if (target < sum) return c[i].id;
  }
  return c[n - 1].id;
}

static int32_t greedy(const float *logits, int32_t n)
{
  int32_t best = 0;
  for (int32_t i = 1; i < n; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

/* Each thread's best of its share, in its private memory, where the plan computed it. */
static int32_t greedy_of_shares(const edgeq_context *ctx)
{
  const edgeq_plan *plan = ctx->plan;
  float best = 0;
  int32_t id = -1;
  for (int32_t t = 0; t < ctx->last_threads; t++) {
    const uint8_t *p = ctx->private_memory.base + (uint64_t)t * plan->private_bytes + plan->best_offset;
    float value;
    int32_t index;
    memcpy(&value, p, 4);
    memcpy(&index, p + 64, 4);
    if (id < 0 || value > best || (value == best && index < id)) {
      best = value;
      id = index;
    }
  }
  return id;
}

static int reserve(edgeq_context *ctx)
{
  if (!ctx->candidates) ctx->candidates = malloc((size_t)ctx->plan->vocab * sizeof *ctx->candidates);
  return ctx->candidates ? EDGEQ_OK : edgeq_fail(ctx, EDGEQ_FAILED, "out of memory");
}

static int32_t draw_from(edgeq_candidate *c, const float *logits, int32_t n, float best, const edgeq_sampling *s, double u)
{
  for (int32_t i = 0; i < n; i++)
    c[i] = (edgeq_candidate){(float)exp_negative(((double)logits[i] - best) / s->temperature), i};
  if (s->top_k > 0 && s->top_k < n)
    n = select_top(c, n, s->top_k);
  if (s->top_p > 0 && s->top_p < 1) n = nucleus(c, n, s->top_p);
  return draw(c, n, u);
}

int edgeq_sample(edgeq_context *ctx, const edgeq_sampling *s, int32_t *id)
{
  const float *logits = edgeq_logits(ctx);
  if (!logits) return edgeq_usable(ctx) ? EDGEQ_USAGE : edgeq_fail(ctx, EDGEQ_USAGE, "no logits: feed a token first");
  if (s && !(s->temperature >= 0 && s->top_k >= 0 && s->top_p >= 0 && s->top_p <= 1))
    return edgeq_fail(ctx, EDGEQ_USAGE, "temperature and top_k must be at least 0, top_p between 0 and 1");
  int32_t n = ctx->plan->vocab;
  int32_t best = ctx->plan->best_offset == EDGEQ_NO_BEST ? greedy(logits, n) : greedy_of_shares(ctx);
  if (best < 0 || best >= n || !isfinite(logits[best])) return edgeq_fail(ctx, EDGEQ_FAILED, "the logits are not finite");
  *id = best;
  if (!s || s->temperature <= 0) return EDGEQ_OK;
  int status = reserve(ctx);
  if (!status) *id = draw_from(ctx->candidates, logits, n, logits[best], s, uniform(s->seed, ctx->position));
  return status;
}
