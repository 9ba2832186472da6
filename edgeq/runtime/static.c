/* Static entries: typed inputs to typed outputs at fixed shapes. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

/* "text_32 text_128 image", as many as fit. */
const char *edgeq_entry_names(const edgeq_context *ctx, int kind, char *out, size_t size)
{
  size_t used = 0;
  out[0] = 0;
  for (int32_t i = 0; i < ctx->plan->entries && used < size; i++) {
    const edgeq_entry *entry = &ctx->plan->entry[i];
    if (kind >= 0 && entry->kind != kind) continue;
    used += (size_t)snprintf(out + used, size - used, used ? " %s" : "%s", entry->name);
  }
  return out;
}

int edgeq_find_entry(edgeq_context *ctx, const char *name, int32_t *entry)
{
  char names[256];
  int status = edgeq_usable(ctx);
  if (status) return status;
  for (int32_t i = 0; name && i < ctx->plan->entries; i++)
    if (!strcmp(ctx->plan->entry[i].name, name)) {
      *entry = i;
      return EDGEQ_OK;
    }
  return edgeq_fail(ctx, EDGEQ_USAGE, "no entry %s; this model has %s", name ? name : "(NULL)", edgeq_entry_names(ctx, -1, names, sizeof names));
}

static int get_entry(edgeq_context *ctx, int32_t index, const edgeq_entry **entry)
{
  int status = edgeq_usable(ctx);
  if (status) return status;
  if (index < 0 || index >= ctx->plan->entries) return edgeq_fail(ctx, EDGEQ_USAGE, "no entry %d: there are %d", index, ctx->plan->entries);
  *entry = &ctx->plan->entry[index];
  return EDGEQ_OK;
}

int edgeq_tensor_info(edgeq_context *ctx, int32_t entry, edgeq_side side, int32_t index, edgeq_tensor *out)
{
  const edgeq_entry *e;
  int status = get_entry(ctx, entry, &e);
  if (status) return status;
  int32_t count = side == EDGEQ_INPUT ? e->inputs : e->outputs;
  if (index < 0 || index >= count)
    return edgeq_fail(ctx, EDGEQ_USAGE, "no %s %d in %s: it has %d", side == EDGEQ_INPUT ? "input" : "output", index, e->name, count);
  const edgeq_port *port = side == EDGEQ_INPUT ? &e->input[index] : &e->output[index];
  *out = (edgeq_tensor){
    .name = port->name, .dtype = port->dtype, .rank = port->rank, .row_stride = port->row_stride, .limit = port->limit,
    .data = ctx->arena.base + port->offset,
  };
  memcpy(out->shape, port->shape, sizeof out->shape);
  return EDGEQ_OK;
}

static int64_t rows_of(const edgeq_port *port)
{
  int64_t rows = 1;
  for (int32_t i = 0; i + 1 < port->rank; i++) rows *= port->shape[i];
  return rows;
}

/* Values are indices into a table of `limit` rows: the entry would read outside memory. */
static int check_values(edgeq_context *ctx, const edgeq_entry *entry, const edgeq_port *port)
{
  const int32_t *row = (const int32_t *)(const void *)(ctx->arena.base + port->offset);
  int64_t rows = rows_of(port);
  int32_t width = port->rank ? port->shape[port->rank - 1] : 1;
  for (int64_t r = 0; r < rows; r++, row += port->row_stride)
    for (int32_t i = 0; i < width; i++)
      if (row[i] < 0 || row[i] >= port->limit)
        return edgeq_fail(ctx, EDGEQ_USAGE, "%s: value %lld of input %s is %d, outside 0..%d", entry->name,
                          (long long)(r * width + i), port->name, row[i], port->limit - 1);
  return EDGEQ_OK;
}

int edgeq_check_inputs(edgeq_context *ctx, const edgeq_entry *entry)
{
  int status = EDGEQ_OK;
  for (int32_t i = 0; !status && i < entry->inputs; i++)
    if (entry->input[i].dtype == EDGEQ_I32 && entry->input[i].limit > 0) status = check_values(ctx, entry, &entry->input[i]);
  return status;
}

int edgeq_run(edgeq_context *ctx, int32_t entry)
{
  const edgeq_entry *e;
  int status = get_entry(ctx, entry, &e);
  if (status) return status;
  if (e->kind != EDGEQ_STATIC) return edgeq_fail(ctx, EDGEQ_USAGE, "%s is a token entry: edgeq_feed runs it", e->name);
  if (e->after_run && !ctx->static_ran) return edgeq_fail(ctx, EDGEQ_USAGE, "%s needs what another static entry computes: run that first", e->name);
  status = edgeq_check_inputs(ctx, e);
  if (!status) status = edgeq_team_revive(ctx);
  if (status) return status;
  edgeq_walk(ctx, e, NULL, 1);
  ctx->static_ran = 1;
  ctx->logits_ready = 0;
  return EDGEQ_OK;
}
