/* Times of regions, summed while profiling is on. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

int edgeq_profile_open(edgeq_context *ctx)
{
  const edgeq_plan *plan = ctx->plan;
  ctx->profile = calloc((size_t)plan->entries, sizeof *ctx->profile);
  if (!ctx->profile) return edgeq_fail(ctx, EDGEQ_FAILED, "out of memory");
  for (int32_t i = 0; i < plan->entries; i++) {
    ctx->profile[i].times = calloc((size_t)plan->entry[i].regions + 1, sizeof(edgeq_time)); /* none would give NULL */
    if (!ctx->profile[i].times) return edgeq_fail(ctx, EDGEQ_FAILED, "out of memory");
  }
  return EDGEQ_OK;
}

void edgeq_profile_close(edgeq_context *ctx)
{
  for (int32_t i = 0; ctx->profile && i < ctx->plan->entries; i++) free(ctx->profile[i].times);
  free(ctx->profile);
  ctx->profile = NULL;
}

static void forget(edgeq_entry_profile *profile, int32_t regions)
{
  profile->walks = profile->rows = 0;
  memset(profile->times, 0, (size_t)regions * sizeof *profile->times);
}

int edgeq_profile(edgeq_context *ctx, int on)
{
  int status = edgeq_usable(ctx);
  if (status) return status;
  ctx->profiling = on;
  for (int32_t i = 0; on && i < ctx->plan->entries; i++) forget(&ctx->profile[i], ctx->plan->entry[i].regions);
  return EDGEQ_OK;
}

int edgeq_profile_read(const edgeq_context *ctx, int32_t entry, edgeq_time *times, uint64_t *walks, uint64_t *rows)
{
  if (!ctx || !ctx->open || entry < 0 || entry >= ctx->plan->entries || !times) return EDGEQ_USAGE;
  const edgeq_entry_profile *profile = &ctx->profile[entry];
  memcpy(times, profile->times, (size_t)ctx->plan->entry[entry].regions * sizeof *times);
  if (walks) *walks = profile->walks;
  if (rows) *rows = profile->rows;
  return EDGEQ_OK;
}
