/* A hand-made plan with static entries: `encode` makes features of token ids, `score` compares them with a query, `decode` (where
 * TOY_TOKENS) continues from them. Numbers are small integers, exact in float, so that numpy can say what comes out. */
#include "plan.h"
#include "toy_config.h"

enum { WIDTH = 32, B = 2, S = 7, ROWS = B * S, D = 5, STRIDE = 16, CONTEXT = 300 }; /* WIDTH: of the weights' rows */
enum { IDS = 0, MASK = 256, FEATURES = 512, COUNT = 1536, QUERY = 1600, SCORES = 1664, BEST = 1792, SCRATCH = 1856, LOGITS = 2880, ARENA = LOGITS + TOY_VOCAB * 4 };

#define LO(n) ((n) * tid / nt)
#define HI(n) ((n) * (tid + 1) / nt)

static void look_up(int lo, int hi, const float *e, const int32_t *ids, float *scratch)
{
  for (int r = lo; r < hi; r++)
    for (int j = 0; j < D; j++) scratch[r * STRIDE + j] = e[ids[r / S * STRIDE + r % S] * WIDTH + j];
}

/* Reads what other threads wrote. */
static void mix(int lo, int hi, const int32_t *mask, const float *scratch, float *features)
{
  for (int r = lo; r < hi; r++)
    for (int j = 0; j < D; j++) {
      float sum = 0;
      for (int s = 0; s < S; s++) sum += (float)mask[r / S * STRIDE + s] * scratch[(r / S * S + s) * STRIDE + (j + 1) % D];
      features[r * STRIDE + j] = sum * (float)(r % S + 1);
    }
}

static void count(const int32_t *mask, int32_t *out)
{
  *out = 0;
  for (int r = 0; r < ROWS; r++) *out += mask[r / S * STRIDE + r % S] != 0;
}

static void encode(const edgeq_step *s, int r, int tid, int nt)
{
  const int32_t *mask = (const int32_t *)(s->A + MASK);
  float *scratch = (float *)(s->A + SCRATCH);
  if (r == 0) look_up(LO(ROWS), HI(ROWS), (const float *)s->W, (const int32_t *)(s->A + IDS), scratch);
  if (r == 1) mix(LO(ROWS), HI(ROWS), mask, scratch, (float *)(s->A + FEATURES));
  if (r == 1 && tid == nt - 1) count(mask, (int32_t *)(s->A + COUNT));
}

static void score(const edgeq_step *s, int r, int tid, int nt)
{
  const float *features = (const float *)(s->A + FEATURES), *query = (const float *)(s->A + QUERY);
  float *scores = (float *)(s->A + SCORES);
  int32_t *best = (int32_t *)(s->A + BEST);
  for (int i = LO(ROWS); r == 0 && i < HI(ROWS); i++) {
    scores[i] = (float)(s->m - 1 + s->pos);
    for (int j = 0; j < D; j++) scores[i] += features[i * STRIDE + j] * query[j];
  }
  for (int b = LO(B); r == 1 && b < HI(B); b++) {
    best[b] = 0;
    for (int i = 1; i < S; i++)
      if (scores[b * S + i] > scores[b * S + best[b]]) best[b] = i;
  }
}

static const edgeq_port FEATURES_PORT[] = {{.name = "features", .dtype = EDGEQ_F32, .rank = 3, .shape = {B, S, D}, .row_stride = STRIDE, .offset = FEATURES},
                                           {.name = "count", .dtype = EDGEQ_I32, .rank = 0, .row_stride = 1, .offset = COUNT}};
static const edgeq_port ENCODE_IN[] = {{.name = "input_ids", .dtype = EDGEQ_I32, .rank = 2, .shape = {B, S}, .row_stride = STRIDE, .limit = TOY_VOCAB, .offset = IDS},
                                       {.name = "attention_mask", .dtype = EDGEQ_I32, .rank = 2, .shape = {B, S}, .row_stride = STRIDE, .offset = MASK}};
static const edgeq_port SCORE_IN[] = {{.name = "features", .dtype = EDGEQ_F32, .rank = 3, .shape = {B, S, D}, .row_stride = STRIDE, .offset = FEATURES},
                                      {.name = "query", .dtype = EDGEQ_F32, .rank = 1, .shape = {D}, .row_stride = D, .offset = QUERY}};
static const edgeq_port SCORE_OUT[] = {{.name = "scores", .dtype = EDGEQ_F32, .rank = 2, .shape = {B, S}, .row_stride = S, .offset = SCORES},
                                       {.name = "best", .dtype = EDGEQ_I32, .rank = 1, .shape = {B}, .row_stride = B, .offset = BEST}};

#define ENCODE {.name = "encode", .kind = EDGEQ_STATIC, .max_rows = 1, .regions = 2, .run = encode, .inputs = 2, .outputs = 2, .input = ENCODE_IN, .output = FEATURES_PORT}
#define SCORE {.name = "score", .kind = EDGEQ_STATIC, .max_rows = 1, .regions = 2, .run = score, .inputs = 2, .outputs = 2, .input = SCORE_IN, .output = SCORE_OUT}

#if TOY_TOKENS
static void decode(const edgeq_step *s, int r, int tid, int nt)
{
  const float *e = (const float *)s->W, *features = (const float *)(s->A + FEATURES);
  float *logits = (float *)(s->A + LOGITS);
  for (int v = LO(TOY_VOCAB); r == 0 && v < HI(TOY_VOCAB); v++) {
    logits[v] = (float)(s->pos + s->ids[0]);
    for (int j = 0; j < D; j++) logits[v] += features[j] * e[v * WIDTH + j];
  }
}
static const edgeq_entry ENTRIES[] = {{.name = "decode", .kind = EDGEQ_TOKENS, .max_rows = 1, .regions = 1, .run = decode, .after_run = 1}, ENCODE, SCORE};
#define VOCAB TOY_VOCAB
#define POSITIONS CONTEXT
#else
static const edgeq_entry ENTRIES[] = {ENCODE, SCORE};
#define VOCAB 0
#define POSITIONS 0
#endif

static const int KERNELS[1];
static const edgeq_variant VARIANTS[] = {{"plain", "", KERNELS}};

const edgeq_plan EDGEQ_PLAN = {
  .abi = TOY_ABI, .model = TOY_NAME, .weights_bytes = TOY_TENSOR_BYTES, .weights_hash = TOY_HASH, .file_bytes = TOY_FILE_BYTES,
  .arena_bytes = ARENA, .private_bytes = 256, .logits_offset = LOGITS, .best_offset = EDGEQ_NO_BEST, .vocab = VOCAB,
  .context = POSITIONS, .entries = 2 + TOY_TOKENS, .entry = ENTRIES, .variants = 1, .variant = VARIANTS,
};
