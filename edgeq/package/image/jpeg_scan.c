/* Entropy-coded segments: Huffman codes, blocks of sequential and of progressive scans, restart markers. */
#include "jpeg.h"

#include <string.h>

typedef struct {
  edgeq_jpeg *j;
  edgeq_component *component[4];
  int components;
  int first, last, high, low; /* spectral selection and successive approximation */
  uint64_t bits;              /* the next ones, highest first, at the top */
  int have, missing;          /* bits there; of those made up at the end */
  int32_t skip;               /* blocks left of an end-of-band run */
  int damaged;
} scan;

int edgeq_huffman_make(edgeq_huffman *t, const uint8_t *counts, const uint8_t *values, int n)
{
  memset(t, 0, sizeof *t);
  memcpy(t->value, values, (size_t)n);
  int32_t code = 0, k = 0;
  for (int l = 1; l <= 16; l++, code <<= 1) {
    t->offset[l] = k - code;
    for (int i = 0; i < counts[l - 1]; i++, code++, k++) {
      if (code >= 1 << l) return 0;
      if (l > EDGEQ_JPEG_FAST) continue;
      int spare = EDGEQ_JPEG_FAST - l;
      for (int32_t at = code << spare; at < (code + 1) << spare; at++) t->fast[at] = (uint16_t)(l << 8 | values[k]);
    }
    t->limit[l] = code;
  }
  t->defined = 1;
  return 1;
}

/* Bytes up to a marker; zeros are made up behind it. */
static void fill(scan *s)
{
  edgeq_jpeg *j = s->j;
  while (s->have <= 56) {
    uint64_t byte = 0;
    const uint8_t *next = j->at;
    if (next < j->end && *next != 0xff) {
      byte = *next;
      j->at++;
    } else {
      while (next < j->end && *next == 0xff) next++;
      if (next < j->end && *next == 0 && next > j->at) {
        byte = 0xff;
        j->at = next + 1;
      } else {
        s->missing += 8;
      }
    }
    s->bits |= byte << (56 - s->have);
    s->have += 8;
  }
}

static int32_t take(scan *s, int n)
{
  if (!n) return 0;
  if (s->have < n) fill(s);
  int32_t value = (int32_t)(s->bits >> (64 - n));
  s->bits <<= n;
  s->have -= n;
  return value;
}

static int huffman(scan *s, const edgeq_huffman *t)
{
  if (s->have < 16) fill(s);
  int entry = t->fast[s->bits >> (64 - EDGEQ_JPEG_FAST)];
  if (entry) {
    s->bits <<= entry >> 8;
    s->have -= entry >> 8;
    return entry & 255;
  }
  for (int l = EDGEQ_JPEG_FAST + 1; l <= 16; l++) {
    int32_t code = (int32_t)(s->bits >> (64 - l));
    if (code >= t->limit[l]) continue;
    take(s, l);
    return t->value[(code + t->offset[l]) & 255];
  }
  s->damaged = 1;
  return 0;
}

/* `n` more bits say which of the values of that size. */
static int32_t extended(scan *s, int n)
{
  int32_t value = take(s, n);
  return n && value < 1 << (n - 1) ? value - (1 << n) + 1 : value;
}

static int32_t next_dc(scan *s, edgeq_component *c)
{
  int n = huffman(s, &s->j->dc[c->dc]);
  if (n > 15) s->damaged = 1;
  int32_t difference = n > 15 ? 0 : extended(s, n);
  c->last_dc = (int16_t)(c->last_dc + difference);
  return c->last_dc;
}

static void sequential(scan *s, edgeq_component *c, int16_t *block)
{
  const edgeq_huffman *t = &s->j->ac[c->ac];
  block[0] = (int16_t)next_dc(s, c);
  for (int k = 1; k < 64 && !s->damaged; k++) {
    int found = huffman(s, t), zeros = found >> 4, n = found & 15;
    if (!n && zeros < 15) return;
    k += zeros;
    if (k > 63) s->damaged = 1;
    else if (n) block[EDGEQ_ZIGZAG[k]] = (int16_t)extended(s, n);
  }
}

static void first_dc(scan *s, edgeq_component *c, int16_t *block) { block[0] = (int16_t)(next_dc(s, c) * (1 << s->low)); }

static void refine_dc(scan *s, int16_t *block)
{
  if (take(s, 1)) block[0] = (int16_t)(block[0] | 1 << s->low);
}

static int32_t run_of_bands(scan *s, int n) { return (1 << n) + take(s, n); }

static void first_ac(scan *s, edgeq_component *c, int16_t *block)
{
  const edgeq_huffman *t = &s->j->ac[c->ac];
  if (s->skip) {
    s->skip--;
    return;
  }
  for (int k = s->first; k <= s->last && !s->damaged; k++) {
    int found = huffman(s, t), zeros = found >> 4, n = found & 15;
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
static void correct(scan *s, int16_t *value)
{
  if (!take(s, 1) || *value & 1 << s->low) return;
  *value = (int16_t)(*value + (*value >= 0 ? 1 << s->low : -(1 << s->low)));
}

/* Passes `zeros` coefficients that stay zero, refining the others on the way; gives the place behind them. */
static int pass(scan *s, int16_t *block, int k, int zeros)
{
  for (; k <= s->last; k++) {
    int16_t *value = &block[EDGEQ_ZIGZAG[k]];
    if (*value) correct(s, value);
    else if (zeros-- == 0) break;
  }
  return k;
}

static void refine_ac(scan *s, edgeq_component *c, int16_t *block)
{
  const edgeq_huffman *t = &s->j->ac[c->ac];
  int k = s->first;
  while (!s->skip && k <= s->last && !s->damaged) {
    int found = huffman(s, t), zeros = found >> 4, n = found & 15, value = 0;
    if (n) value = take(s, 1) ? 1 << s->low : -(1 << s->low);
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

static void decode_block(scan *s, edgeq_component *c, int32_t x, int32_t y)
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

static void decode_mcu(scan *s, int32_t x, int32_t y)
{
  for (int i = 0; i < s->components; i++) {
    edgeq_component *c = s->component[i];
    for (int v = 0; v < c->v; v++)
      for (int h = 0; h < c->h; h++) decode_block(s, c, x * c->h + h, y * c->v + v);
  }
}

/* Starts afresh behind the restart marker of that number, which must be the next marker. */
static int restart(scan *s, int number)
{
  edgeq_jpeg *j = s->j;
  while (j->end - j->at >= 2 && !(j->at[0] == 0xff && j->at[1] != 0 && j->at[1] != 0xff)) j->at++;
  if (j->end - j->at < 2 || j->at[1] != 0xd0 + number % 8) return 0;
  j->at += 2;
  s->bits = 0;
  s->have = s->missing = s->skip = 0;
  for (int i = 0; i < s->components; i++) s->component[i]->last_dc = 0;
  return 1;
}

/* A scan of one component counts that component's own blocks, without padding to MCUs. */
static const char *decode_scan(scan *s)
{
  edgeq_jpeg *j = s->j;
  edgeq_component *alone = s->components == 1 ? s->component[0] : NULL;
  int32_t across = alone ? (alone->width + 7) / 8 : j->mcus_across, down = alone ? (alone->height + 7) / 8 : j->mcus_down, n = 0;
  for (int32_t y = 0; y < down; y++)
    for (int32_t x = 0; x < across; x++, n++) {
      if (j->restart && n && n % j->restart == 0 && !restart(s, n / j->restart - 1)) return j->at >= j->end - 2 ? EDGEQ_TRUNCATED : EDGEQ_BAD_JPEG;
      alone ? decode_block(s, alone, x, y) : decode_mcu(s, x, y);
      if (s->missing > s->have) return j->at >= j->end - 1 ? EDGEQ_TRUNCATED : EDGEQ_BAD_JPEG;
      if (s->damaged) return EDGEQ_BAD_JPEG;
    }
  return NULL;
}

static int tables_there(const scan *s, const edgeq_component *c)
{
  const edgeq_jpeg *j = s->j;
  int dc = !s->first && !s->high, ac = !j->progressive || s->first;
  return (!dc || j->dc[c->dc].defined) && (!ac || j->ac[c->ac].defined);
}

static const char *open_component(scan *s, int id, int tables)
{
  edgeq_jpeg *j = s->j;
  edgeq_component *c = NULL;
  for (int i = 0; i < j->components && !c; i++)
    if (j->component[i].id == id) c = &j->component[i];
  for (int i = 0; i < s->components; i++)
    if (s->component[i] == c) return EDGEQ_BAD_JPEG;
  if (!c || tables >> 4 > 3 || (tables & 15) > 3 || !j->quant_defined[c->quant]) return EDGEQ_BAD_JPEG;
  if (!c->seen) memcpy(c->steps, j->quant[c->quant], sizeof c->steps);
  c->seen = 1;
  c->dc = tables >> 4;
  c->ac = tables & 15;
  c->last_dc = 0;
  s->component[s->components++] = c;
  return tables_there(s, c) ? NULL : EDGEQ_BAD_JPEG;
}

static int parameters_fit(const scan *s, int components)
{
  if (s->last > 63 || s->first > s->last || s->low > 13 || (s->high && s->high != s->low + 1)) return 0;
  return s->first ? components == 1 : !s->last;
}

static int blocks_of_mcu(const scan *s)
{
  int n = 0;
  for (int i = 0; i < s->components; i++) n += s->component[i]->h * s->component[i]->v;
  return n;
}

const char *edgeq_jpeg_scan(edgeq_jpeg *j, const uint8_t *header, size_t size)
{
  scan s = {.j = j, .last = 63};
  int n = size ? header[0] : 0;
  if (n < 1 || n > 4 || size != 4 + 2 * (size_t)n || ++j->scans > EDGEQ_JPEG_MOST_SCANS) return EDGEQ_BAD_JPEG;
  const uint8_t *last = header + 1 + 2 * n;
  if (j->progressive) {
    s.first = last[0];
    s.last = last[1];
    s.high = last[2] >> 4;
    s.low = last[2] & 15;
    if (!parameters_fit(&s, n)) return EDGEQ_BAD_JPEG;
  }
  for (int i = 0; i < n; i++) {
    const char *error = open_component(&s, header[1 + 2 * i], header[2 + 2 * i]);
    if (error) return error;
  }
  if (n > 1 && blocks_of_mcu(&s) > 10) return EDGEQ_BAD_JPEG;
  return decode_scan(&s);
}
