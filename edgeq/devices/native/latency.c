/* Static entries: the same measurement as edgeq/measure/latency.py, on inputs that are written once. */
#include "runner.h"

#include <string.h>

static uint64_t next_random(uint64_t *state) { return *state = *state * 6364136223846793005u + 1442695040888963407u; }

/* About normal: the sum of twelve uniform numbers, less 6. */
static float normal(uint64_t *state)
{
  float sum = -6;
  for (int i = 0; i < 12; i++) sum += (float)(next_random(state) >> 40) * 0x1p-24f;
  return sum;
}

static void fill_row(const edgeq_tensor *t, int64_t row, int32_t width, uint64_t *state)
{
  for (int32_t i = 0; i < width; i++) {
    int64_t at = row * t->row_stride + i;
    if (t->dtype == EDGEQ_F32) ((float *)t->data)[at] = normal(state);
    else ((int32_t *)t->data)[at] = t->limit ? (int32_t)((next_random(state) >> 33) % (uint64_t)t->limit) : 1; /* masks */
  }
}

static void fill(const edgeq_tensor *t, uint64_t *state)
{
  int64_t rows = 1;
  for (int32_t i = 0; i + 1 < t->rank; i++) rows *= t->shape[i];
  for (int64_t row = 0; row < rows; row++) fill_row(t, row, t->rank ? t->shape[t->rank - 1] : 1, state);
}

double run_seconds(run *r, int32_t entry)
{
  double start = now_s();
  check(r, edgeq_run(r->ctx, entry));
  return now_s() - start;
}

static int is_static(run *r, int32_t entry, edgeq_entry_facts *facts)
{
  check(r, edgeq_entry_info(r->ctx, entry, facts));
  return facts->kind == EDGEQ_STATIC;
}

/* Entry by entry, each run once: what one computes may be what the next reads. */
static void write_inputs(run *r)
{
  edgeq_entry_facts facts;
  edgeq_tensor tensor;
  uint64_t state = 1;
  for (int32_t e = 0; e < r->facts.entries; e++) {
    if (!is_static(r, e, &facts)) continue;
    for (int32_t i = 0; i < facts.inputs; i++) {
      check(r, edgeq_tensor_info(r->ctx, e, EDGEQ_INPUT, i, &tensor));
      fill(&tensor, &state);
    }
    check(r, edgeq_run(r->ctx, e));
  }
}

void print_latencies(run *r)
{
  edgeq_entry_facts facts;
  write_inputs(r);
  json_open(&r->j, "latencies", '{');
  for (int32_t e = 0; e < r->facts.entries; e++)
    if (is_static(r, e, &facts)) repeat(r, facts.name, run_seconds, e, MOST_SAMPLES, 0);
  json_close(&r->j, '}');
}
