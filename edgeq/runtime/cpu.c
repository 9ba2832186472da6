/* Which instruction sets this CPU has and the operating system saves, and which variant of the kernels that allows. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

enum { WORDS = 5 };

typedef struct {
  const char *name;
  uint8_t word, bit, state; /* index into what detect() fills; bit of it; 1: needs AVX state, 2: AVX-512 state */
} feature;

#if defined(__x86_64__)
#include <cpuid.h>

static const feature FEATURES[] = {
  {"sse3", 0, 0, 0}, {"ssse3", 0, 9, 0}, {"sse4.1", 0, 19, 0}, {"sse4.2", 0, 20, 0}, {"popcnt", 0, 23, 0},
  {"avx", 0, 28, 1}, {"fma", 0, 12, 1}, {"f16c", 0, 29, 1}, {"avx2", 1, 5, 1}, {"bmi1", 1, 3, 0}, {"bmi2", 1, 8, 0},
  {"avx512f", 1, 16, 2}, {"avx512dq", 1, 17, 2}, {"avx512cd", 1, 28, 2}, {"avx512bw", 1, 30, 2}, {"avx512vl", 1, 31, 2},
  {"avx512vbmi", 2, 1, 2}, {"avx512vnni", 2, 11, 2},
  {"avx512vpopcntdq", 2, 14, 2}, {"avxvnni", 3, 4, 1}, {"avx512bf16", 3, 5, 2},
};

/* Register state that the operating system saves: 2 bits, as feature.state. */
static uint32_t saved_state(uint32_t ecx)
{
  uint32_t low, high;
  if (!(ecx & 1u << 27)) return 0; /* no OSXSAVE */
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6) != 0x6) return 0;
  return (low & 0xe0) == 0xe0 ? 3 : 1;
}

static void detect(uint32_t words[WORDS])
{
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &words[0], &d)) return;
  words[4] = saved_state(words[0]);
  if (!__get_cpuid_count(7, 0, &a, &words[1], &words[2], &d)) return;
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) words[3] = a;
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

static const feature FEATURES[] = {
  {"neon", 0, 1, 0}, {"fullfp16", 0, 10, 0}, {"dotprod", 0, 20, 0}, {"sve", 0, 22, 0}, {"i8mm", 1, 13, 0}, {"bf16", 1, 14, 0},
};

static void detect(uint32_t words[WORDS])
{
  words[0] = (uint32_t)getauxval(AT_HWCAP);
  words[1] = (uint32_t)getauxval(26 /* AT_HWCAP2 */);
}

#else
#error "cpu.c knows x86-64 and aarch64"
#endif

static int has(const uint32_t words[WORDS], const char *name, size_t length)
{
  for (size_t i = 0; i < sizeof FEATURES / sizeof *FEATURES; i++) {
    const feature *f = &FEATURES[i];
    if (strlen(f->name) == length && !memcmp(f->name, name, length))
      return (words[f->word] >> f->bit & 1) && (!f->state || words[4] >> (f->state - 1) & 1);
  }
  return 0; /* a feature that this runtime cannot see is absent */
}

void edgeq_cpu_features(char *out, size_t size)
{
  uint32_t words[WORDS] = {0};
  detect(words);
  out[0] = 0;
  for (size_t i = 0; i < sizeof FEATURES / sizeof *FEATURES; i++) {
    size_t used = strlen(out);
    if (has(words, FEATURES[i].name, strlen(FEATURES[i].name))) snprintf(out + used, size - used, "%s%s", used ? " " : "", FEATURES[i].name);
  }
}

/* Appends to `lacks` each feature of `needs` that the CPU has not; returns how many. */
static int missing(const uint32_t words[WORDS], const char *needs, char *lacks, size_t size)
{
  int count = 0;
  lacks[0] = 0;
  while (*needs) {
    size_t n = strcspn(needs, " "), used = strlen(lacks);
    if (n && !has(words, needs, n)) {
      count++;
      snprintf(lacks + used, size - used, " %.*s", (int)n, needs);
    }
    needs += n;
    needs += *needs == ' ';
  }
  return count;
}

static int unknown_variant(edgeq_context *ctx, const char *forced)
{
  char names[256] = "";
  for (int32_t i = 0; i < ctx->plan->variants; i++) {
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, " %s", ctx->plan->variant[i].name);
  }
  return edgeq_fail(ctx, EDGEQ_USAGE, "no variant %s here; there are%s", forced, names);
}

static int refuse(edgeq_context *ctx, const edgeq_variant *v, const char *lacks)
{
  return edgeq_fail(ctx, EDGEQ_TARGET, "variant %s needs %s; this CPU lacks%s", v->name, v->needs, lacks);
}

/* The forced variant if this CPU runs it, or the first that it runs. */
int edgeq_choose_variant(edgeq_context *ctx, const char *forced)
{
  uint32_t words[WORDS] = {0};
  char lacks[256] = "";
  const edgeq_variant *v = ctx->plan->variant, *end = v + ctx->plan->variants;
  detect(words);
  for (; v < end; v++) {
    if (forced && strcmp(forced, v->name)) continue;
    int absent = missing(words, v->needs, lacks, sizeof lacks);
    if (absent && forced) return refuse(ctx, v, lacks);
    if (absent) continue;
    ctx->variant = v;
    return EDGEQ_OK;
  }
  return forced ? unknown_variant(ctx, forced) : refuse(ctx, end - 1, lacks);
}
