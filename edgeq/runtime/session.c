/* A context's life: open, facts, close. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t edgeq_version(void) { return EDGEQ_API_VERSION; }

int edgeq_fail(edgeq_context *ctx, int status, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(ctx->error, sizeof ctx->error, format, arguments);
  va_end(arguments);
  return status;
}

int edgeq_usable(edgeq_context *ctx)
{
  if (!ctx) return EDGEQ_USAGE;
  return ctx->open ? EDGEQ_OK : EDGEQ_USAGE; /* the text stays that of edgeq_open */
}

const char *edgeq_error(const edgeq_context *ctx) { return ctx ? ctx->error : "out of memory"; }

static int open_memory(edgeq_context *ctx)
{
  const edgeq_plan *plan = ctx->plan;
  int status = edgeq_map_zeros(ctx, &ctx->arena, plan->arena_bytes, "arena");
  if (!status) status = edgeq_map_zeros(ctx, &ctx->private_memory, plan->private_bytes * EDGEQ_MAX_THREADS, "threads' scratch");
  if (!status) status = edgeq_profile_open(ctx);
  if (status) return status;
  ctx->adapt = calloc((size_t)plan->entries, sizeof *ctx->adapt);
  return ctx->adapt ? EDGEQ_OK : edgeq_fail(ctx, EDGEQ_FAILED, "out of memory");
}

typedef struct {
  const char *path; /* NULL: weights in memory */
  const void *memory;
  size_t bytes;
} source;

static int open_weights(edgeq_context *ctx, source from, uint32_t flags)
{
  return from.path ? edgeq_weights_open(ctx, from.path, flags) : edgeq_weights_borrow(ctx, from.memory, from.bytes, flags);
}

static int open_all(edgeq_context *ctx, source from, const edgeq_options *options)
{
  if (ctx->plan->abi != EDGEQ_PLAN_ABI)
    return edgeq_fail(ctx, EDGEQ_ARTIFACT, "plan of ABI %u in a runtime of ABI %u: compile the model again", ctx->plan->abi, EDGEQ_PLAN_ABI);
  if (!from.path && !from.memory) return edgeq_fail(ctx, EDGEQ_USAGE, "no path: give the weights file or its folder");
  int status = edgeq_choose_variant(ctx, options->variant);
  if (!status) status = open_weights(ctx, from, options->flags);
  if (!status) status = open_memory(ctx);
  ctx->open = !status;
  if (!status) status = edgeq_set_threads(ctx, options->threads, options->flags);
  ctx->open = !status;
  return status;
}

static int open_from(source from, const edgeq_options *options, edgeq_context **out)
{
  static const edgeq_options DEFAULTS;
  void *memory = NULL;
  *out = NULL;
  if (posix_memalign(&memory, EDGEQ_LINE, sizeof(edgeq_context))) return EDGEQ_FAILED;
  edgeq_context *ctx = memset(memory, 0, sizeof(edgeq_context));
  ctx->plan = &EDGEQ_PLAN;
  ctx->team.n = 1;
  *out = ctx;
  return open_all(ctx, from, options ? options : &DEFAULTS);
}

int edgeq_open(const char *path, const edgeq_options *options, edgeq_context **out)
{
  return open_from((source){.path = path}, options, out);
}

int edgeq_open_memory(const void *weights, size_t bytes, const edgeq_options *options, edgeq_context **out)
{
  return open_from((source){.memory = weights, .bytes = bytes}, options, out);
}

void edgeq_close(edgeq_context *ctx)
{
  if (!ctx) return;
  edgeq_team_stop(&ctx->team);
  edgeq_profile_close(ctx);
  free(ctx->adapt);
  free(ctx->candidates);
  edgeq_unmap(&ctx->private_memory);
  edgeq_unmap(&ctx->arena);
  if (!ctx->borrowed) edgeq_unmap(&ctx->weights);
  free(ctx);
}

static int32_t largest_token_entry(const edgeq_plan *plan)
{
  int32_t rows = 0;
  for (int32_t i = 0; i < plan->entries; i++)
    if (plan->entry[i].kind == EDGEQ_TOKENS && plan->entry[i].max_rows > rows) rows = plan->entry[i].max_rows;
  return rows;
}

int edgeq_info(const edgeq_context *ctx, edgeq_facts *out)
{
  if (!ctx || !ctx->open || !out) return EDGEQ_USAGE;
  const edgeq_plan *plan = ctx->plan;
  *out = (edgeq_facts){
    .model = plan->model, .variant = ctx->variant->name, .vocab = plan->vocab, .context = plan->context,
    .chunk = largest_token_entry(plan), .threads = ctx->team.n, .last_threads = ctx->last_threads, .entries = plan->entries,
    .weights_bytes = plan->file_bytes, .arena_bytes = plan->arena_bytes, .private_bytes = plan->private_bytes,
  };
  return EDGEQ_OK;
}

int edgeq_entry_info(const edgeq_context *ctx, int32_t entry, edgeq_entry_facts *out)
{
  if (!ctx || !ctx->open || !out || entry < 0 || entry >= ctx->plan->entries) return EDGEQ_USAGE;
  const edgeq_entry *e = &ctx->plan->entry[entry];
  *out = (edgeq_entry_facts){e->name, e->kind, e->max_rows, e->regions, e->inputs, e->outputs};
  return EDGEQ_OK;
}

int edgeq_set_threads(edgeq_context *ctx, int32_t n, uint32_t flags)
{
  int status = edgeq_usable(ctx);
  if (status) return status;
  if (n < 0 || n > EDGEQ_MAX_THREADS)
    return edgeq_fail(ctx, EDGEQ_USAGE, "%d threads: give 1 to %d, or 0 for one each core", n, EDGEQ_MAX_THREADS);
  edgeq_team_stop(&ctx->team);
  status = edgeq_team_start(ctx, n ? n : edgeq_usable_cores());
  ctx->fixed_threads = (flags & EDGEQ_FIXED_THREADS) != 0;
  for (int32_t i = 0; i < ctx->plan->entries; i++) edgeq_adapt_open(&ctx->adapt[i], ctx->team.n);
  return status;
}

void *edgeq_memory(edgeq_context *ctx, edgeq_memory_kind kind, uint64_t *bytes)
{
  if (edgeq_usable(ctx)) return NULL;
  const edgeq_map *map = kind == EDGEQ_ARENA ? &ctx->arena : &ctx->private_memory;
  if (kind == EDGEQ_WEIGHTS) {
    if (bytes) *bytes = ctx->plan->weights_bytes;
    return (void *)(uintptr_t)ctx->tensors;
  }
  if (bytes) *bytes = map->bytes;
  return map->base;
}
