/* What a generated plan (model.c) hands to the runtime, and what the runtime hands to a region. */
#ifndef EDGEQ_PLAN_H
#define EDGEQ_PLAN_H
#include <stdint.h>

/* Inputs of one walk over an entry. W: mapped weights (after the safetensors header). A: arena of this context.
 * K: kernel table of the chosen variant. Private memory of thread t is P + t * private_bytes. */
typedef struct {
  const uint8_t *W;
  uint8_t *A;
  uint8_t *P;
  const void *K;
  const int32_t *ids; /* m token ids */
  int32_t m;          /* valid rows, 1..max_rows */
  int32_t pos;        /* position of the first row */
} edgeq_step;

/* Runs region r of an entry as thread tid of nt. */
typedef void (*edgeq_region_fn)(const edgeq_step *s, int r, int tid, int nt);

typedef struct {
  const char *name; /* "decode" (one row; every plan has it), "prefill" */
  int32_t max_rows;
  int32_t regions;
  edgeq_region_fn run;
} edgeq_entry;

typedef struct {
  const char *name;      /* "avx512vnni" */
  const char *needs;     /* CPU features, space separated, "" for none */
  const void *kernels;   /* table handed to regions as K */
} edgeq_variant;

typedef struct {
  uint32_t abi;              /* EDGEQ_PLAN_ABI */
  const char *model;         /* name for messages */
  uint64_t weights_bytes;    /* tensor bytes after the header */
  uint64_t weights_hash;     /* XXH64, seed 0, of the whole weights file */
  uint64_t file_bytes;       /* size of the whole weights file */
  uint64_t arena_bytes;
  uint64_t private_bytes;    /* a thread, multiple of 128 */
  uint64_t logits_offset;    /* f32[vocab] in the arena */
  uint64_t best_offset;      /* private: f32 best, then at +64 i32 index, of each thread's share of the logits; every
                                entry's last region writes it. EDGEQ_NO_BEST: the plan computes none */
  int32_t vocab, context;
  int32_t entries;
  const edgeq_entry *entry;
  int32_t variants;          /* in order of preference; the last needs nothing */
  const edgeq_variant *variant;
} edgeq_plan;

#define EDGEQ_PLAN_ABI 1
#define EDGEQ_NO_BEST UINT64_MAX
extern const edgeq_plan EDGEQ_PLAN;
#endif
