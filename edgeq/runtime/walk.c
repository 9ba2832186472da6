/* One walk over an entry, whole or one region of it: with how many threads, and what is measured of it. */
#include "internal.h"

static edgeq_step make_step(const edgeq_context *ctx, const int32_t *ids, int32_t m, int32_t position)
{
  return (edgeq_step){ctx->tensors, ctx->arena.base, ctx->private_memory.base, ctx->variant->kernels, ids, m, position};
}

/* Only whole chunks teach: a ragged tail's rows cost more each, and would look like a slow number of threads. */
void edgeq_walk(edgeq_context *ctx, const edgeq_entry *entry, const int32_t *ids, int32_t m)
{
  edgeq_job job = {.entry = entry, .step = make_step(ctx, ids, m, entry->kind == EDGEQ_STATIC ? 0 : ctx->position), .nt = ctx->team.n};
  edgeq_adapt *adapt = &ctx->adapt[entry - ctx->plan->entry];
  int adaptive = !ctx->fixed_threads && ctx->team.n > 1 && m == entry->max_rows;
  if (adaptive) job.nt = edgeq_adapt_pick(adapt);
  if (ctx->profiling) job.profile = &ctx->profile[entry - ctx->plan->entry];
  uint64_t start = edgeq_now_ns();
  edgeq_team_walk(&ctx->team, &job);
  if (adaptive) edgeq_adapt_learn(adapt, (double)(edgeq_now_ns() - start) / m);
  ctx->last_threads = job.nt;
}

/* A token entry's rows must be those of a walk that edgeq_feed could do; a static entry has one way to be run. */
static int check_step(edgeq_context *ctx, const edgeq_entry *entry, const int32_t *ids, int32_t m, int32_t position)
{
  if (entry->kind == EDGEQ_STATIC) {
    if (m != 1 || position != 0) return edgeq_fail(ctx, EDGEQ_USAGE, "%s is static: give 1 row at position 0", entry->name);
    return edgeq_check_inputs(ctx, entry);
  }
  if (m < 1 || m > entry->max_rows || position < 0 || position > ctx->plan->context - m)
    return edgeq_fail(ctx, EDGEQ_USAGE, "%d rows at position %d do not fit %s", m, position, entry->name);
  return edgeq_check_ids(ctx, ids, m);
}

int edgeq_run_region(edgeq_context *ctx, int32_t entry, int32_t region, const int32_t *ids, int32_t m, int32_t position, int32_t threads)
{
  int status = edgeq_usable(ctx);
  if (status) return status;
  if (entry < 0 || entry >= ctx->plan->entries) return edgeq_fail(ctx, EDGEQ_USAGE, "no entry %d", entry);
  const edgeq_entry *e = &ctx->plan->entry[entry];
  if (region < 0 || region >= e->regions) return edgeq_fail(ctx, EDGEQ_USAGE, "no region %d in %s", region, e->name);
  status = check_step(ctx, e, ids, m, position);
  if (status) return status;
  if (threads < 1 || threads > EDGEQ_MAX_THREADS) return edgeq_fail(ctx, EDGEQ_USAGE, "%d threads: give 1 to %d", threads, EDGEQ_MAX_THREADS);
  edgeq_step step = make_step(ctx, ids, m, position);
  for (int t = 0; t < threads; t++) e->run(&step, region, t, threads);
  ctx->logits_ready = 0;
  return EDGEQ_OK;
}
