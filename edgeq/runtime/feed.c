/* Tokens in, logits out: which entry takes them, and where the sequence stands. */
#include "internal.h"

#include <string.h>

enum { FORGET_TOKENS = 256 };

static const edgeq_entry *find_entry(const edgeq_plan *plan, const char *name)
{
  for (int32_t i = 0; i < plan->entries; i++)
    if (!strcmp(plan->entry[i].name, name)) return &plan->entry[i];
  return NULL;
}

/* "decode" for one token; "prefill", where there is one, for several. */
static const edgeq_entry *entry_for(const edgeq_plan *plan, int32_t n)
{
  const edgeq_entry *entry = find_entry(plan, n > 1 ? "prefill" : "decode");
  return entry ? entry : find_entry(plan, "decode");
}

static edgeq_step make_step(const edgeq_context *ctx, const int32_t *ids, int32_t m, int32_t position)
{
  return (edgeq_step){ctx->tensors, ctx->arena.base, ctx->private_memory.base, ctx->variant->kernels, ids, m, position};
}

/* Only whole chunks teach: a ragged tail's rows cost more each, and would look like a slow number of threads. */
static void walk(edgeq_context *ctx, const edgeq_entry *entry, const int32_t *ids, int32_t m)
{
  edgeq_job job = {.entry = entry, .step = make_step(ctx, ids, m, ctx->position), .nt = ctx->team.n};
  edgeq_adapt *adapt = &ctx->adapt[entry - ctx->plan->entry];
  int adaptive = !ctx->fixed_threads && ctx->team.n > 1 && m == entry->max_rows;
  if (adaptive) job.nt = edgeq_adapt_pick(adapt);
  if (ctx->profiling) job.profile = &ctx->profile[entry - ctx->plan->entry];
  uint64_t start = edgeq_now_ns();
  edgeq_team_walk(&ctx->team, &job);
  if (adaptive) edgeq_adapt_learn(adapt, (double)(edgeq_now_ns() - start) / m);
  ctx->last_threads = job.nt;
}

static int check_tokens(edgeq_context *ctx, const int32_t *ids, int32_t n)
{
  int32_t vocab = ctx->plan->vocab, context = ctx->plan->context;
  if (n < 1 || !ids) return edgeq_fail(ctx, EDGEQ_USAGE, "%d tokens to feed: give at least one", n);
  for (int32_t i = 0; i < n; i++)
    if (ids[i] < 0 || ids[i] >= vocab) return edgeq_fail(ctx, EDGEQ_USAGE, "token %d of %d is %d, outside 0..%d", i, n, ids[i], vocab - 1);
  if (n <= context - ctx->position) return EDGEQ_OK;
  return edgeq_fail(ctx, EDGEQ_CONTEXT, "the context is full: it holds %d tokens, %d are fed and %d more were given; rewind, or compile with a longer context",
                    context, ctx->position, n);
}

int edgeq_feed(edgeq_context *ctx, const int32_t *ids, int32_t n)
{
  int status = edgeq_usable(ctx);
  if (!status) status = check_tokens(ctx, ids, n);
  if (!status) status = edgeq_team_revive(ctx);
  while (!status && n > 0) {
    const edgeq_entry *entry = entry_for(ctx->plan, n);
    int32_t m = n < entry->max_rows ? n : entry->max_rows;
    walk(ctx, entry, ids, m);
    ctx->position += m;
    ctx->logits_ready = 1;
    ids += m;
    n -= m;
  }
  return status;
}

const float *edgeq_logits(edgeq_context *ctx)
{
  if (edgeq_usable(ctx) || !ctx->logits_ready) return NULL;
  return (const float *)(const void *)(ctx->arena.base + ctx->plan->logits_offset);
}

int32_t edgeq_position(const edgeq_context *ctx) { return ctx && ctx->open ? ctx->position : -1; }

int edgeq_rewind(edgeq_context *ctx, int32_t position)
{
  int status = edgeq_usable(ctx);
  if (status) return status;
  if (position < 0 || position > ctx->position)
    return edgeq_fail(ctx, EDGEQ_USAGE, "cannot rewind to %d: %d tokens are fed", position, ctx->position);
  if (position < ctx->position) ctx->logits_ready = 0;
  /* A long text that is forgotten whole gives its memory back; after a short one the pages are worth more than that. */
  if (position == 0 && ctx->position >= FORGET_TOKENS) edgeq_zero(&ctx->arena);
  ctx->position = position;
  return EDGEQ_OK;
}

int edgeq_run_region(edgeq_context *ctx, int32_t entry, int32_t region, const int32_t *ids, int32_t m, int32_t position, int32_t threads)
{
  int status = edgeq_usable(ctx);
  if (status) return status;
  if (entry < 0 || entry >= ctx->plan->entries) return edgeq_fail(ctx, EDGEQ_USAGE, "no entry %d", entry);
  const edgeq_entry *e = &ctx->plan->entry[entry];
  if (region < 0 || region >= e->regions) return edgeq_fail(ctx, EDGEQ_USAGE, "no region %d in %s", region, e->name);
  if (m < 1 || m > e->max_rows || position < 0 || position > ctx->plan->context - m)
    return edgeq_fail(ctx, EDGEQ_USAGE, "%d rows at position %d do not fit %s", m, position, e->name);
  if (threads < 1 || threads > EDGEQ_MAX_THREADS) return edgeq_fail(ctx, EDGEQ_USAGE, "%d threads: give 1 to %d", threads, EDGEQ_MAX_THREADS);
  edgeq_step step = make_step(ctx, ids, m, position);
  for (int t = 0; t < threads; t++) e->run(&step, region, t, threads);
  ctx->logits_ready = 0;
  return EDGEQ_OK;
}
