/* jpeg_bits.h: a scan being read, and its bits (T.81, annex F.2.2). */
#ifndef EDGEQ_JPEG_BITS_H
#define EDGEQ_JPEG_BITS_H
#include "jpeg.h"

typedef struct {
  edgeq_jpeg *j;
  edgeq_component *component[4];
  int components;
  int first, last, high, low; /* spectral selection and successive approximation */
  uint64_t bits;              /* the next ones, highest first, at the top */
  int have, missing;          /* bits there; of those made up at the end */
  int32_t skip;               /* blocks left of an end-of-band run */
  int damaged;                /* bits that are no code, or a coefficient beyond the block */
} edgeq_scan;

/* Bytes up to a marker; zeros are made up behind it. */
static inline void edgeq_fill_bits(edgeq_scan *s)
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

/* The next n bits, 0 to 16, as a number. */
static inline int32_t edgeq_take_bits(edgeq_scan *s, int n)
{
  if (!n) return 0;
  if (s->have < n) edgeq_fill_bits(s);
  int32_t value = (int32_t)(s->bits >> (64 - n));
  s->bits <<= n;
  s->have -= n;
  return value;
}

/* The value of the next code; 0, and the scan is damaged, where bits are no code. */
static inline int edgeq_next_code(edgeq_scan *s, const edgeq_huffman *t)
{
  if (s->have < 16) edgeq_fill_bits(s);
  int entry = t->fast[s->bits >> (64 - EDGEQ_JPEG_FAST)];
  if (entry) {
    s->bits <<= entry >> 8;
    s->have -= entry >> 8;
    return entry & 255;
  }
  for (int l = EDGEQ_JPEG_FAST + 1; l <= 16; l++) {
    int32_t code = (int32_t)(s->bits >> (64 - l));
    if (code >= t->limit[l]) continue;
    edgeq_take_bits(s, l);
    return t->value[(code + t->offset[l]) & 255];
  }
  s->damaged = 1;
  return 0;
}

/* jpeg_block.c: the next block of a component, at block (x, y) of its plane. */
void edgeq_jpeg_block(edgeq_scan *s, edgeq_component *c, int32_t x, int32_t y);
#endif
