/* Tokens in, logits out: which entry takes them, and where the sequence stands. */
#include "internal.h"

#include <string.h>

enum { FORGET_TOKENS = 256 };
enum { KV_BLOCK = 32, KV_WINDOW = 4 }; /* a query reads its block of positions and those before it in float: kernels/kv_blocks.py */

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

int edgeq_check_ids(edgeq_context *ctx, const int32_t *ids, int32_t n)
{
  int32_t vocab = ctx->plan->vocab;
  if (n < 1 || !ids) return edgeq_fail(ctx, EDGEQ_USAGE, "%d tokens to feed: give at least one", n);
  for (int32_t i = 0; i < n; i++)
    if (ids[i] < 0 || ids[i] >= vocab) return edgeq_fail(ctx, EDGEQ_USAGE, "token %d of %d is %d, outside 0..%d", i, n, ids[i], vocab - 1);
  return EDGEQ_OK;
}

/* There are token entries, and what they read has been computed. */
static int check_entries(edgeq_context *ctx)
{
  char names[256];
  const edgeq_entry *decode = find_entry(ctx->plan, "decode");
  if (!decode)
    return edgeq_fail(ctx, EDGEQ_USAGE, "this model takes no tokens one by one: use edgeq_run with one of its entries, %s",
                      edgeq_entry_names(ctx, EDGEQ_STATIC, names, sizeof names));
  if (decode->after_run && !ctx->static_ran)
    return edgeq_fail(ctx, EDGEQ_USAGE, "nothing is encoded yet: give the input to edgeq_run with one of the entries %s, then feed tokens",
                      edgeq_entry_names(ctx, EDGEQ_STATIC, names, sizeof names));
  return EDGEQ_OK;
}

static int check_room(edgeq_context *ctx, int32_t n)
{
  int32_t context = ctx->plan->context;
  if (n <= context - ctx->position) return EDGEQ_OK;
  return edgeq_fail(ctx, EDGEQ_CONTEXT, "the context is full: it holds %d tokens, %d are fed and %d more were given; rewind, or compile with a longer context",
                    context, ctx->position, n);
}

int edgeq_feed(edgeq_context *ctx, const int32_t *ids, int32_t n)
{
  int status = edgeq_usable(ctx);
  if (!status) status = check_entries(ctx);
  if (!status) status = edgeq_check_ids(ctx, ids, n);
  if (!status) status = check_room(ctx, n);
  if (!status) status = edgeq_team_revive(ctx);
  while (!status && n > 0) {
    const edgeq_entry *entry = entry_for(ctx->plan, n);
    int32_t m = n < entry->max_rows ? n : entry->max_rows;
    edgeq_walk(ctx, entry, ids, m);
    ctx->position += m;
    if (ctx->furthest < ctx->position) ctx->furthest = ctx->position;
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

/* A long text that is forgotten whole gives its memory back; after a short one the pages are worth more than that. The
 * arena of a plan with static entries also holds their tensors, which outlive a rewind. */
static int may_forget(const edgeq_context *ctx)
{
  for (int32_t i = 0; i < ctx->plan->entries; i++)
    if (ctx->plan->entry[i].kind == EDGEQ_STATIC) return 0;
  return ctx->position >= FORGET_TOKENS;
}

/* Caches of codes keep only the newest positions in float: those before `position` that are read so must be there. */
static int is_kept(const edgeq_context *ctx, int32_t position)
{
  int32_t block = position / KV_BLOCK - (KV_WINDOW - 1);
  int32_t oldest = block > 0 ? block * KV_BLOCK : 0;
  return !ctx->plan->ring || position == 0 || oldest >= ctx->furthest - ctx->plan->ring;
}

int32_t edgeq_rewindable(const edgeq_context *ctx, int32_t position)
{
  if (!ctx || !ctx->open || position < 0) return 0;
  if (position > ctx->position) position = ctx->position;
  return is_kept(ctx, position) ? position : 0;
}

int edgeq_rewind(edgeq_context *ctx, int32_t position)
{
  int status = edgeq_usable(ctx);
  if (status) return status;
  if (position < 0 || position > ctx->position)
    return edgeq_fail(ctx, EDGEQ_USAGE, "cannot rewind to %d: %d tokens are fed", position, ctx->position);
  if (!is_kept(ctx, position))
    return edgeq_fail(ctx, EDGEQ_USAGE, "cannot rewind to %d after %d tokens: the cache keeps older tokens as codes only; rewind to 0 and feed again, or compile with kv8 or kv16",
                      position, ctx->furthest);
  if (position < ctx->position) ctx->logits_ready = 0;
  if (position == 0) ctx->furthest = 0;
  if (position == 0 && may_forget(ctx)) edgeq_zero(&ctx->arena);
  ctx->position = position;
  return EDGEQ_OK;
}
