/* A scan: its header, MCU by MCU, restart markers. */
#include "jpeg_bits.h"

#include <string.h>

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

static void decode_mcu(edgeq_scan *s, int32_t x, int32_t y)
{
  for (int i = 0; i < s->components; i++) {
    edgeq_component *c = s->component[i];
    for (int v = 0; v < c->v; v++)
      for (int h = 0; h < c->h; h++) edgeq_jpeg_block(s, c, x * c->h + h, y * c->v + v);
  }
}

/* Starts afresh behind the restart marker of that number, which must be the next marker. */
static int restart(edgeq_scan *s, int number)
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
static const char *decode_scan(edgeq_scan *s)
{
  edgeq_jpeg *j = s->j;
  edgeq_component *alone = s->components == 1 ? s->component[0] : NULL;
  int32_t across = alone ? (alone->width + 7) / 8 : j->mcus_across, n = 0;
  int32_t down = alone ? (alone->height + 7) / 8 : j->mcus_down;
  for (int32_t y = 0; y < down; y++)
    for (int32_t x = 0; x < across; x++, n++) {
      int due = j->restart && n && n % j->restart == 0;
      if (due && !restart(s, n / j->restart - 1)) return j->at >= j->end - 2 ? EDGEQ_TRUNCATED : EDGEQ_BAD_JPEG;
      alone ? edgeq_jpeg_block(s, alone, x, y) : decode_mcu(s, x, y);
      if (s->missing > s->have) return j->at >= j->end - 1 ? EDGEQ_TRUNCATED : EDGEQ_BAD_JPEG;
      if (s->damaged) return EDGEQ_BAD_JPEG;
    }
  return NULL;
}

static int tables_there(const edgeq_scan *s, const edgeq_component *c)
{
  const edgeq_jpeg *j = s->j;
  int dc = !s->first && !s->high, ac = !j->progressive || s->first;
  return (!dc || j->dc[c->dc].defined) && (!ac || j->ac[c->ac].defined);
}

static const char *open_component(edgeq_scan *s, int id, int tables)
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

static int parameters_fit(const edgeq_scan *s, int components)
{
  if (s->last > 63 || s->first > s->last || s->low > 13 || (s->high && s->high != s->low + 1)) return 0;
  return s->first ? components == 1 : !s->last;
}

static int blocks_of_mcu(const edgeq_scan *s)
{
  int n = 0;
  for (int i = 0; i < s->components; i++) n += s->component[i]->h * s->component[i]->v;
  return n;
}

const char *edgeq_jpeg_scan(edgeq_jpeg *j, const uint8_t *header, size_t size)
{
  edgeq_scan s = {.j = j, .last = 63};
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
