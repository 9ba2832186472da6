/* Blocks of sequential and of progressive scans (T.81, annexes F.2 and G.1.2). */
#include "jpeg_bits.h"

/* `n` more bits say which of the values of that size. */
static int32_t extended(edgeq_scan *s, int n)
{
  int32_t value = edgeq_take_bits(s, n);
  return n && value < 1 << (n - 1) ? value - (1 << n) + 1 : value;
}

static int32_t next_dc(edgeq_scan *s, edgeq_component *c)
{
  int n = edgeq_next_code(s, &s->j->dc[c->dc]);
  if (n > 15) s->damaged = 1;
  int32_t difference = n > 15 ? 0 : extended(s, n);
  c->last_dc = (int16_t)(c->last_dc + difference);
  return c->last_dc;
}

static void sequential(edgeq_scan *s, edgeq_component *c, int16_t *block)
{
  const edgeq_huffman *t = &s->j->ac[c->ac];
  block[0] = (int16_t)next_dc(s, c);
  for (int k = 1; k < 64 && !s->damaged; k++) {
    int found = edgeq_next_code(s, t), zeros = found >> 4, n = found & 15;
    if (!n && zeros < 15) return;
    k += zeros;
    if (k > 63) s->damaged = 1;
    else if (n) block[EDGEQ_ZIGZAG[k]] = (int16_t)extended(s, n);
  }
}

static void first_dc(edgeq_scan *s, edgeq_component *c, int16_t *block) { block[0] = (int16_t)(next_dc(s, c) * (1 << s->low)); }

static void refine_dc(edgeq_scan *s, int16_t *block)
{
  if (edgeq_take_bits(s, 1)) block[0] = (int16_t)(block[0] | 1 << s->low);
}

static int32_t run_of_bands(edgeq_scan *s, int n) { return (1 << n) + edgeq_take_bits(s, n); }

static void first_ac(edgeq_scan *s, edgeq_component *c, int16_t *block)
{
  const edgeq_huffman *t = &s->j->ac[c->ac];
  if (s->skip) {
    s->skip--;
    return;
  }
  for (int k = s->first; k <= s->last && !s->damaged; k++) {
    int found = edgeq_next_code(s, t), zeros = found >> 4, n = found & 15;
    if (!n && zeros < 15) {
      s->skip = run_of_bands(s, zeros) - 1;
      return;
    }
    k += zeros;
    if (k > 63) s->damaged = 1;
    else if (n) block[EDGEQ_ZIGZAG[k]] = (int16_t)(extended(s, n) * (1 << s->low));
  }
}

/* One more bit of a coefficient that is known to be other than zero. */
static void correct(edgeq_scan *s, int16_t *value)
{
  if (!edgeq_take_bits(s, 1) || *value & 1 << s->low) return;
  *value = (int16_t)(*value + (*value >= 0 ? 1 << s->low : -(1 << s->low)));
}

/* Passes `zeros` coefficients that stay zero, refining the others on the way; gives the place behind them. */
static int pass(edgeq_scan *s, int16_t *block, int k, int zeros)
{
  for (; k <= s->last; k++) {
    int16_t *value = &block[EDGEQ_ZIGZAG[k]];
    if (*value) correct(s, value);
    else if (zeros-- == 0) break;
  }
  return k;
}

static void refine_ac(edgeq_scan *s, edgeq_component *c, int16_t *block)
{
  const edgeq_huffman *t = &s->j->ac[c->ac];
  int k = s->first;
  while (!s->skip && k <= s->last && !s->damaged) {
    int found = edgeq_next_code(s, t), zeros = found >> 4, n = found & 15, value = 0;
    if (n) value = edgeq_take_bits(s, 1) ? 1 << s->low : -(1 << s->low);
    if (n > 1) s->damaged = 1;
    if (!n && zeros < 15) {
      s->skip = run_of_bands(s, zeros);
      break;
    }
    k = pass(s, block, k, zeros);
    if (value && k <= s->last) block[EDGEQ_ZIGZAG[k]] = (int16_t)value;
    k++;
  }
  if (!s->skip) return;
  pass(s, block, k, 64);
  s->skip--;
}

void edgeq_jpeg_block(edgeq_scan *s, edgeq_component *c, int32_t x, int32_t y)
{
  size_t at = (size_t)y * (size_t)c->across + (size_t)x;
  if (!s->j->progressive) {
    int16_t block[64] = {0};
    sequential(s, c, block);
    edgeq_idct(block, c->steps, c->samples + ((size_t)y * (size_t)c->across * 8 + (size_t)x) * 8, (size_t)c->across * 8);
    return;
  }
  int16_t *block = c->coefficients + at * 64;
  if (!s->first) s->high ? refine_dc(s, block) : first_dc(s, c, block);
  else s->high ? refine_ac(s, c, block) : first_ac(s, c, block);
}
