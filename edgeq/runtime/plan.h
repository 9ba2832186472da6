/* What a generated plan (model.c) hands to the runtime, and what the runtime hands to a region. */
#ifndef EDGEQ_PLAN_H
#define EDGEQ_PLAN_H
#include <stdint.h>

#include "edgeq.h"

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

/* A tensor that a static entry takes or gives: rows of shape[rank - 1] lanes, row_stride elements apart. Ports of several
 * entries with the same name, type and shape lie at the same offset: they are one tensor. */
typedef struct {
  const char *name;
  int32_t dtype; /* edgeq_dtype: EDGEQ_F32 0, EDGEQ_I32 1 */
  int32_t rank;  /* 0..EDGEQ_MAX_RANK */
  int32_t shape[EDGEQ_MAX_RANK];
  int32_t row_stride; /* elements, >= shape[rank - 1]; 1 at rank 0 */
  int32_t limit;      /* EDGEQ_I32 inputs: values are 0..limit-1, edgeq_run checks them; 0: any value */
  uint64_t offset;    /* in the arena, multiple of 64 */
} edgeq_port;

/* A token entry appends rows to the sequence: "decode" (one row; a plan with a vocabulary has it), "prefill". A static entry
 * maps its inputs to its outputs at fixed shapes: max_rows 1, run with ids NULL, m 1, pos 0. */
typedef struct {
  const char *name;
  int32_t kind; /* edgeq_kind: EDGEQ_TOKENS 0, EDGEQ_STATIC 1 */
  int32_t max_rows;
  int32_t regions;
  edgeq_region_fn run;
  int32_t after_run; /* 1: some static entry must have run since open (the decoder of an encoder-decoder) */
  int32_t inputs, outputs;
  const edgeq_port *input, *output; /* may be NULL where there are none */
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
  uint64_t logits_offset;    /* f32[vocab] in the arena; 0 without token entries */
  uint64_t best_offset;      /* private: f32 best, then at +64 i32 index, of each thread's share of the logits; every
                                token entry's last region writes it. EDGEQ_NO_BEST: the plan computes none */
  int32_t vocab, context;    /* 0, 0: no token entries */
  int32_t ring;              /* newest positions that caches of codes keep in float; 0: caches keep all positions alike */
  int32_t entries;
  const edgeq_entry *entry;
  int32_t variants;          /* in order of preference; the last needs nothing */
  const edgeq_variant *variant;
} edgeq_plan;

#define EDGEQ_PLAN_ABI 3
#define EDGEQ_NO_BEST UINT64_MAX
extern const edgeq_plan EDGEQ_PLAN;
#endif
