/* The int8 peak: the best dot product of this CPU on registers alone, in more independent sums than its latency. */
#include "native.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

enum { SUMS = 12, ROUNDS = 1 << 16 };
#define LEAST_S 0.15
#define UNROLL _Pragma("clang loop unroll(full)")

/* ROUNDS times SUMS steps. The empty asm keeps every step: the compiler must think that a sum changed. */
#define LOOP(name, features, vector, zero, step, keep)                   \
  __attribute__((target(features))) static void name(void)              \
  {                                                                      \
    vector s[SUMS], a = zero, b = zero;                                  \
    UNROLL for (int i = 0; i < SUMS; i++) s[i] = zero;                   \
    __asm__ volatile("" : keep(a), keep(b));                             \
    for (int r = 0; r < ROUNDS; r++)                                     \
      UNROLL for (int i = 0; i < SUMS; i++) {                            \
        step;                                                            \
        __asm__ volatile("" : keep(s[i]));                               \
      }                                                                  \
  }

typedef struct {
  const char *feature, *instruction; /* feature: as the runtime names it, "" for none */
  void (*run)(void);
  int ops; /* of a step: a multiply and an add are two */
} dot;

#if defined(__x86_64__)
#include <immintrin.h>
#define KEEP(x) "+x"(x)
#define KEEP_V(x) "+v"(x)
LOOP(vnni512, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(), s[i] = _mm512_dpbusd_epi32(s[i], a, b), KEEP_V)
LOOP(vnni256, "avx2,avxvnni", __m256i, _mm256_setzero_si256(), s[i] = _mm256_dpbusd_avx_epi32(s[i], a, b), KEEP)
LOOP(maddubs256, "avx2", __m256i, _mm256_setzero_si256(),
     s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), b)); __asm__ volatile("" : KEEP(a)), KEEP)
LOOP(madd128, "sse2", __m128i, _mm_setzero_si128(), s[i] = _mm_add_epi32(s[i], _mm_madd_epi16(a, b)); __asm__ volatile("" : KEEP(a)), KEEP)
static const dot DOTS[] = {
  {"avx512vnni", "vpdpbusd zmm", vnni512, 128}, {"avxvnni", "vpdpbusd ymm", vnni256, 64},
  {"avx2", "vpmaddubsw ymm", maddubs256, 64}, {"", "pmaddwd xmm", madd128, 16},
};

#elif defined(__aarch64__)
#include <arm_neon.h>
#define KEEP(x) "+w"(x)
LOOP(smmla, "i8mm", int32x4_t, vdupq_n_s32(0), s[i] = vmmlaq_s32(s[i], vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)), KEEP)
LOOP(sdot, "dotprod", int32x4_t, vdupq_n_s32(0), s[i] = vdotq_s32(s[i], vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)), KEEP)
LOOP(smull, "neon", int32x4_t, vdupq_n_s32(0),
     int16x8_t p = vmull_s8(vget_low_s8(vreinterpretq_s8_s32(a)), vget_low_s8(vreinterpretq_s8_s32(b)));
     __asm__ volatile("" : KEEP(p));
     s[i] = vpadalq_s16(s[i], vmlal_high_s8(p, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b))), KEEP)
static const dot DOTS[] = {{"i8mm", "smmla", smmla, 64}, {"dotprod", "sdot", sdot, 32}, {"", "smull, smlal2, sadalp", smull, 32}};
#endif

static const dot *best(void)
{
  char features[1024], padded[1032], word[64];
  edgeq_cpu_features(features, sizeof features);
  snprintf(padded, sizeof padded, " %s ", features);
  for (const dot *d = DOTS;; d++) {
    snprintf(word, sizeof word, " %s ", d->feature);
    if (!*d->feature || strstr(padded, word)) return d;
  }
}

typedef struct {
  const dot *d;
  pthread_barrier_t *start;
  double ops_per_s;
  pthread_t id;
} worker;

static void *work(void *argument)
{
  worker *w = argument;
  uint64_t runs = 0;
  w->d->run(); /* warm up: wide units may be asleep */
  pthread_barrier_wait(w->start);
  double began = now_s();
  while (now_s() - began < LEAST_S) {
    w->d->run();
    runs++;
  }
  w->ops_per_s = (double)runs * ROUNDS * SUMS * w->d->ops / (now_s() - began);
  return NULL;
}

double int8_peak(int threads, const char **instruction)
{
  worker workers[EDGEQ_MAX_THREADS];
  pthread_barrier_t start;
  const dot *d = best();
  double sum = 0;
  if (threads > EDGEQ_MAX_THREADS) threads = EDGEQ_MAX_THREADS;
  pthread_barrier_init(&start, NULL, (unsigned)threads);
  for (int i = 0; i < threads; i++) workers[i] = (worker){.d = d, .start = &start};
  for (int i = 1; i < threads; i++)
    if (pthread_create(&workers[i].id, NULL, work, &workers[i])) return 0; /* nothing is measured; the process ends */
  work(&workers[0]);
  for (int i = 1; i < threads; i++) pthread_join(workers[i].id, NULL);
  for (int i = 0; i < threads; i++) sum += workers[i].ops_per_s;
  pthread_barrier_destroy(&start);
  *instruction = d->instruction;
  return sum;
}
