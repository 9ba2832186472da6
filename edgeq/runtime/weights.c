/* The weights file: mapped, never copied; its size and hash must be those that the plan was generated for. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "weights.safetensors"
#define TENSOR_ALIGN 64
typedef unsigned long long ull;

static int damaged(edgeq_context *ctx, const char *path, const char *what)
{
  return edgeq_fail(ctx, EDGEQ_ARTIFACT, "%s: %s; it is damaged or of another artifact: copy it again", path, what);
}

/* The file itself, or FILE_NAME in the folder. */
static int file_path(edgeq_context *ctx, const char *path, char *out, size_t size)
{
  struct stat st;
  if (stat(path, &st)) return edgeq_fail(ctx, EDGEQ_ARTIFACT, "%s: %s", path, strerror(errno));
  int n = snprintf(out, size, S_ISDIR(st.st_mode) ? "%s/" FILE_NAME : "%s", path);
  return n < (int)size ? EDGEQ_OK : edgeq_fail(ctx, EDGEQ_USAGE, "%s: the path is too long", path);
}

static int check_size(edgeq_context *ctx, const char *path, uint64_t bytes)
{
  char what[96];
  if (bytes == ctx->plan->file_bytes) return EDGEQ_OK;
  snprintf(what, sizeof what, "%llu bytes, but this code was built for %llu", (ull)bytes, (ull)ctx->plan->file_bytes);
  return damaged(ctx, path, what);
}

/* Mapped with its pages: the hash reads them all next, and one call is cheaper than a fault for each. */
static int map_file(edgeq_context *ctx, const char *path, int fd)
{
  struct stat st;
  uint64_t expected = ctx->plan->file_bytes;
  if (fstat(fd, &st)) return edgeq_fail(ctx, EDGEQ_FAILED, "%s: %s", path, strerror(errno));
  int status = check_size(ctx, path, (uint64_t)st.st_size);
  if (status) return status;
  void *p = mmap(NULL, expected, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (p == MAP_FAILED) return edgeq_fail(ctx, EDGEQ_FAILED, "%s: cannot map it: %s", path, strerror(errno));
  ctx->weights.base = p;
  ctx->weights.bytes = expected;
  return EDGEQ_OK;
}

static int check_hash(edgeq_context *ctx, const char *path)
{
  char what[96];
  uint64_t hash = edgeq_xxh64(ctx->weights.base, ctx->weights.bytes);
  if (hash == ctx->plan->weights_hash) return EDGEQ_OK;
  snprintf(what, sizeof what, "hash %016llx, but this code was built for %016llx", (ull)hash, (ull)ctx->plan->weights_hash);
  return damaged(ctx, path, what);
}

/* safetensors: u64 length of the JSON header, the header, the tensors. */
static int skip_header(edgeq_context *ctx, const char *path)
{
  uint64_t header, bytes = ctx->weights.bytes, tensors = ctx->plan->weights_bytes;
  if (bytes < 8) return damaged(ctx, path, "no safetensors header");
  memcpy(&header, ctx->weights.base, 8);
  if (header > bytes - 8 || bytes - 8 - header != tensors) return damaged(ctx, path, "a safetensors header of the wrong size");
  if ((8 + header) % TENSOR_ALIGN) return damaged(ctx, path, "tensors that are not aligned to 64 bytes");
  ctx->tensors = ctx->weights.base + 8 + header;
  return EDGEQ_OK;
}

static int check_contents(edgeq_context *ctx, const char *path, uint32_t flags)
{
  int status = flags & EDGEQ_SKIP_HASH ? EDGEQ_OK : check_hash(ctx, path);
  return status ? status : skip_header(ctx, path);
}

int edgeq_weights_open(edgeq_context *ctx, const char *path, uint32_t flags)
{
  char file[4096];
  int status = file_path(ctx, path, file, sizeof file);
  if (status) return status;
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return edgeq_fail(ctx, EDGEQ_ARTIFACT, "%s: %s", file, strerror(errno));
  status = map_file(ctx, file, fd);
  close(fd);
  return status ? status : check_contents(ctx, file, flags);
}

int edgeq_weights_borrow(edgeq_context *ctx, const void *weights, size_t bytes, uint32_t flags)
{
  const char *name = "weights in memory";
  if (!weights || (uintptr_t)weights % TENSOR_ALIGN)
    return edgeq_fail(ctx, EDGEQ_USAGE, "%s: give an address that is a multiple of %d", name, TENSOR_ALIGN);
  int status = check_size(ctx, name, bytes);
  if (status) return status;
  ctx->weights = (edgeq_map){(uint8_t *)(uintptr_t)weights, bytes};
  ctx->borrowed = 1;
  return check_contents(ctx, name, flags);
}
