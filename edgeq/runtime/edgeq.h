/* edgeq.h: the C API of a compiled model (model.so beside weights.safetensors).
 *
 * A model has entries. Token entries take tokens one after another and give logits:
 *
 *   edgeq_context *ctx;
 *   if (edgeq_open("build/smollm2", NULL, &ctx)) { puts(edgeq_error(ctx)); edgeq_close(ctx); return 1; }
 *   edgeq_feed(ctx, prompt, n);
 *   while (!edgeq_sample(ctx, NULL, &id) && id != eos && !edgeq_feed(ctx, &id, 1)) use(id);
 *   edgeq_close(ctx);
 *
 * Static entries map input tensors to output tensors, every shape fixed when the model was compiled:
 *
 *   edgeq_find_entry(ctx, "text_128", &entry);
 *   edgeq_tensor_info(ctx, entry, EDGEQ_INPUT, 0, &ids);    then write ids.data
 *   edgeq_run(ctx, entry);
 *   edgeq_tensor_info(ctx, entry, EDGEQ_OUTPUT, 0, &out);   then read out.data
 *
 * Status: every function that can fail returns an edgeq_status; 0 is success. The numbers are the exit codes of the
 * `edgeq` command. After a failure edgeq_error(ctx) says what is wrong and what to do, and the context is as before.
 * Threads: a context is used by one thread at a time, any thread; different contexts are independent. A context owns
 * `threads - 1` workers, which sleep while nothing is being computed. The library has no mutable global state.
 * A forked child may go on with its copy of a context: the sequences part there.
 * Memory: a context owns everything it hands out; pointers stay valid until edgeq_close. Contexts over the same
 * weights file share its pages.
 * Results do not depend on the number of threads: logits are equal bit for bit. */
#ifndef EDGEQ_H
#define EDGEQ_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEQ_API __attribute__((visibility("default")))
#define EDGEQ_API_VERSION 2

typedef struct edgeq_context edgeq_context;

typedef enum {
  EDGEQ_OK = 0,
  EDGEQ_FAILED = 1,   /* the system refused: no memory, no thread, a file that cannot be read */
  EDGEQ_USAGE = 2,    /* an argument that means nothing: a token outside the vocabulary, an unknown variant */
  EDGEQ_ARTIFACT = 6, /* the weights file is damaged or belongs to another model.so */
  EDGEQ_TARGET = 7,   /* this CPU lacks an instruction set that the forced variant needs */
  EDGEQ_CONTEXT = 8   /* more tokens than the context holds */
} edgeq_status;

enum {
  EDGEQ_SKIP_HASH = 1,    /* do not hash the weights: when the caller has just done so */
  EDGEQ_FIXED_THREADS = 2 /* always use all threads; else fewer whenever that was faster lately (a busy neighbour) */
};

/* All zeros is the default. */
typedef struct {
  int32_t threads;     /* 0: one for each core this process may use; at most EDGEQ_MAX_THREADS */
  uint32_t flags;      /* EDGEQ_SKIP_HASH | EDGEQ_FIXED_THREADS */
  const char *variant; /* instruction-set variant to force, NULL: the best that this CPU runs */
} edgeq_options;
#define EDGEQ_MAX_THREADS 64

typedef struct {
  const char *model;   /* name for messages */
  const char *variant; /* "avx512vnni" */
  int32_t vocab;       /* tokens; edgeq_logits has this many floats. 0, as context and chunk: no token entries */
  int32_t context;     /* positions: most tokens that can be fed */
  int32_t chunk;       /* rows of the largest token entry: a longer prompt is fed in pieces of this size */
  int32_t threads;
  int32_t last_threads; /* threads that the latest step used */
  int32_t entries;
  uint64_t weights_bytes, arena_bytes, private_bytes; /* file; state and activations; scratch of one thread */
} edgeq_facts;

typedef enum {
  EDGEQ_TOKENS = 0, /* edgeq_feed walks it: tokens are appended at the current position */
  EDGEQ_STATIC = 1  /* edgeq_run walks it: inputs to outputs, every shape fixed */
} edgeq_kind;

typedef struct {
  const char *name;  /* "decode", "prefill"; "text_128", "image", ... */
  int32_t kind;      /* edgeq_kind */
  int32_t max_rows;  /* tokens of one walk, at most; 1 for a static entry */
  int32_t regions;   /* stretches between two barriers */
  int32_t inputs, outputs; /* tensors; 0 for a token entry */
} edgeq_entry_facts;

typedef enum { EDGEQ_F32 = 0, EDGEQ_I32 = 1 } edgeq_dtype;
typedef enum { EDGEQ_INPUT = 0, EDGEQ_OUTPUT = 1 } edgeq_side;
#define EDGEQ_MAX_RANK 6

/* A tensor of a static entry, row-major: shape[rank - 1] values of a row, then row_stride - shape[rank - 1] unused lanes,
 * which hold zeros and must not be written. */
typedef struct {
  const char *name;
  int32_t dtype; /* edgeq_dtype; 4 bytes a value */
  int32_t rank;  /* 0..EDGEQ_MAX_RANK */
  int32_t shape[EDGEQ_MAX_RANK]; /* 0 beyond the rank */
  int32_t row_stride; /* elements from one row to the next */
  int32_t limit;      /* an input's values are 0..limit-1 (EDGEQ_I32); 0: any */
  void *data;         /* in the context's memory: aligned to 64 bytes, valid until edgeq_close */
} edgeq_tensor;

/* All zeros is greedy. */
typedef struct {
  float temperature; /* logits are divided by it; 0: greedy */
  float top_p;       /* keep the likeliest tokens that together reach it; 0 or 1: all */
  int32_t top_k;     /* keep this many; 0: all */
  uint64_t seed;     /* the draw depends on seed and position only, so a rewound sequence repeats itself */
} edgeq_sampling;

typedef struct {
  uint64_t inside_ns; /* thread 0 computing */
  uint64_t total_ns;  /* the same and waiting for the others at the region's barrier */
} edgeq_time;

typedef enum {
  EDGEQ_WEIGHTS, /* read only: tensors of the weights file, in the plan's offsets */
  EDGEQ_ARENA,   /* activations and caches, in the plan's offsets */
  EDGEQ_PRIVATE  /* scratch of EDGEQ_MAX_THREADS threads, one after another, info's private_bytes apart */
} edgeq_memory_kind;

/* EDGEQ_API_VERSION of the library: compare with the header's before calling anything else. */
EDGEQ_API uint32_t edgeq_version(void);

/* Opens the weights at `path`: the file, or the artifact's folder. `options` may be NULL. On failure too *out is a
 * context (NULL only when memory is out), fit for edgeq_error and edgeq_close alone. Maps the file; hashes it once. */
EDGEQ_API int edgeq_open(const char *path, const edgeq_options *options, edgeq_context **out);

/* The same for weights that lie in memory: the whole file, aligned to 64 bytes, which stays the caller's and must outlive
 * the context. */
EDGEQ_API int edgeq_open_memory(const void *weights, size_t bytes, const edgeq_options *options, edgeq_context **out);

/* Ends the workers and frees all; NULL is allowed. */
EDGEQ_API void edgeq_close(edgeq_context *ctx);

/* Text of the latest failure, "" when there was none. */
EDGEQ_API const char *edgeq_error(const edgeq_context *ctx);

EDGEQ_API int edgeq_info(const edgeq_context *ctx, edgeq_facts *out);
EDGEQ_API int edgeq_entry_info(const edgeq_context *ctx, int32_t entry, edgeq_entry_facts *out);

/* Number of the entry of that name in *entry; EDGEQ_USAGE, with the names that there are, when there is none. */
EDGEQ_API int edgeq_find_entry(edgeq_context *ctx, const char *name, int32_t *entry);

/* Type, shape and memory of tensor `index` of a static entry. Nothing is copied: `data` is where the entry reads or writes.
 * A tensor that one entry writes and another reads under the same name, type and shape is one tensor, at one address. */
EDGEQ_API int edgeq_tensor_info(edgeq_context *ctx, int32_t entry, edgeq_side side, int32_t index, edgeq_tensor *out);

/* Runs a static entry on what its inputs hold (zeros at first). Inputs keep their values; outputs are valid until another
 * entry runs or tokens are fed, shared tensors until they are written again; the logits of the last fed token are gone. Fed
 * tokens stay: after encoding a new input for a decoder, edgeq_rewind(ctx, 0). EDGEQ_USAGE for a token entry, for a
 * value outside an input's limit (then nothing has run), and where another static entry must run first. */
EDGEQ_API int edgeq_run(edgeq_context *ctx, int32_t entry);

/* Appends n >= 1 tokens at the current position: several through "prefill" in chunks, one through "decode".
 * EDGEQ_CONTEXT when they do not fit, EDGEQ_USAGE for a token outside 0..vocab-1, for a model without token entries, and
 * for an encoder-decoder that has encoded nothing since it was opened; then nothing is fed. */
EDGEQ_API int edgeq_feed(edgeq_context *ctx, const int32_t *ids, int32_t n);

/* f32[vocab] of the last fed token; NULL before the first feed, after a rewind and after edgeq_run. */
EDGEQ_API const float *edgeq_logits(edgeq_context *ctx);

/* Draws the next token from the logits without feeding it. `sampling` NULL: greedy (the lowest id of equal logits). */
EDGEQ_API int edgeq_sample(edgeq_context *ctx, const edgeq_sampling *sampling, int32_t *id);

/* Number of tokens fed; -1 for a context that is not open. */
EDGEQ_API int32_t edgeq_position(const edgeq_context *ctx);

/* Forgets the tokens from `position` on, 0 <= position <= edgeq_position. Tensors of static entries stay. Without static
 * entries, rewinding a long text to 0 gives the pages of its cache back to the system. A model whose cache holds 4 or 2
 * bits (kv4, kv2) keeps only its newest tokens so that they can be continued: EDGEQ_USAGE where `position` is neither 0 nor
 * among them, and nothing is forgotten. */
EDGEQ_API int edgeq_rewind(edgeq_context *ctx, int32_t position);

/* Where to rewind to and feed again: `position` (or edgeq_position, if that is less) where edgeq_rewind takes it, else 0. */
EDGEQ_API int32_t edgeq_rewindable(const edgeq_context *ctx, int32_t position);

/* Changes the number of threads; n and flags (EDGEQ_FIXED_THREADS) as in edgeq_options. */
EDGEQ_API int edgeq_set_threads(edgeq_context *ctx, int32_t n, uint32_t flags);

/* on = 1: forget all times and start counting; 0: stop. Costs two clock reads a region. */
EDGEQ_API int edgeq_profile(edgeq_context *ctx, int on);

/* Times of an entry's regions since edgeq_profile(ctx, 1), summed over walks: `times` has `regions` items, `walks` and
 * `rows` (tokens; runs of a static entry) may be NULL. */
EDGEQ_API int edgeq_profile_read(const edgeq_context *ctx, int32_t entry, edgeq_time *times, uint64_t *walks, uint64_t *rows);

/* Runs one region as `threads` threads would, one after another on the caller: for checking a plan region by region.
 * ids, m and position as the entry's walk would get them (a static entry: NULL, 1, 0); the context's position does not
 * change. */
EDGEQ_API int edgeq_run_region(edgeq_context *ctx, int32_t entry, int32_t region, const int32_t *ids, int32_t m,
                               int32_t position, int32_t threads);

/* Start of a memory, its size in *bytes (may be NULL). EDGEQ_WEIGHTS must not be written. */
EDGEQ_API void *edgeq_memory(edgeq_context *ctx, edgeq_memory_kind kind, uint64_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
