/* A hand-made plan: logits[v] = sum_i h[i] * E[v][i], where h sums a cache over all earlier positions. Its numbers are small
 * integers, exact in float, so that numpy can say what each logit must be. toy_config.h is written by the test. */
#include "plan.h"
#include "toy_config.h"

enum { D = 32, CONTEXT = 64, CHUNK = 8 };
enum { CACHE = 0, X = CONTEXT * D * 4, H = X + CHUNK * D * 4, LOGITS = H + CHUNK * D * 4, ARENA = LOGITS + TOY_VOCAB * 4 };

#define LO(n) ((n) * tid / nt)
#define HI(n) ((n) * (tid + 1) / nt)

static void embed(int lo, int hi, const edgeq_step *s, const float *e, float *cache)
{
  for (int r = 0; r < s->m; r++)
    for (int i = lo; i < hi; i++) cache[(s->pos + r) * D + i] = e[s->ids[r] * D + i] + (float)((s->pos + r) % 5);
}

/* Reads what other threads wrote. */
static void mix(int lo, int hi, const edgeq_step *s, const float *cache, float *h)
{
  for (int r = 0; r < s->m; r++)
    for (int i = lo; i < hi; i++) {
      float sum = 0;
      for (int p = 0; p <= s->pos + r; p++) sum += cache[p * D + (i + 7) % D] * (float)(p % 3 + 1);
      h[r * D + i] = sum;
    }
}

static void head(int lo, int hi, const float *e, const float *h, float *logits)
{
  for (int v = lo; v < hi; v++) {
    logits[v] = TOY_BIAS;
    for (int i = 0; i < D; i++) logits[v] += h[i] * e[v * D + i];
  }
}

static void argmax(int lo, int hi, const float *logits, float *best, int32_t *index)
{
  *best = -3e38f;
  *index = 0;
  for (int v = lo; v < hi; v++)
    if (logits[v] > *best) *best = logits[v], *index = v;
}

static void run(const edgeq_step *s, int r, int tid, int nt)
{
  const float *e = (const float *)s->W;
  uint8_t *private = s->P + tid * 256;
  float *cache = (float *)(s->A + CACHE), *h = (float *)(s->A + H), *logits = (float *)(s->A + LOGITS);
  if (r == 0) embed(LO(D), HI(D), s, e, cache);
  if (r == 1) mix(LO(D), HI(D), s, cache, h);
  if (r == 2) {
    head(LO(TOY_VOCAB), HI(TOY_VOCAB), e, h + (s->m - 1) * D, logits);
    argmax(LO(TOY_VOCAB), HI(TOY_VOCAB), logits, (float *)private, (int32_t *)(private + 64));
  }
}

static const edgeq_entry ENTRIES[] = {{.name = "decode", .kind = EDGEQ_TOKENS, .max_rows = 1, .regions = 3, .run = run},
                                      {.name = "prefill", .kind = EDGEQ_TOKENS, .max_rows = CHUNK, .regions = 3, .run = run}};
static const int KERNELS[1];
static const edgeq_variant VARIANTS[] = {{"future", "warp_drive", KERNELS}, {"plain", "", KERNELS}};

const edgeq_plan EDGEQ_PLAN = {
  .abi = TOY_ABI, .model = TOY_NAME, .weights_bytes = TOY_TENSOR_BYTES, .weights_hash = TOY_HASH, .file_bytes = TOY_FILE_BYTES,
  .arena_bytes = ARENA, .private_bytes = 256, .logits_offset = LOGITS, .best_offset = TOY_BEST, .vocab = TOY_VOCAB,
  .context = CONTEXT, .entries = 2, .entry = ENTRIES, .variants = 2, .variant = VARIANTS,
};
