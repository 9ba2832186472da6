/* Inflate (RFC 1951) in a zlib stream (RFC 1950). */
#include "decode.h"

#include <string.h>

#define FAST 9 /* codes up to this length are found by one look-up */
#define DAMAGED "its compressed data is damaged"

const uint16_t EDGEQ_LENGTH[29] = {
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
};
const uint8_t EDGEQ_LENGTH_BITS[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
const uint16_t EDGEQ_DISTANCE[30] = {
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
  4097, 6145, 8193, 12289, 16385, 24577,
};

typedef struct {
  uint16_t fast[1 << FAST]; /* symbol << 4 | length; 0: a longer code, or none */
  uint16_t count[16];       /* codes of each length */
  uint16_t symbol[288];     /* in the order of their codes */
} code;

typedef struct {
  const uint8_t *at, *end;
  uint64_t bits;  /* the next ones, lowest first */
  int have;
  int missing;    /* bits made up after the end */
  int excess;     /* there is more than the output holds */
  uint8_t *begin, *out, *stop;
} stream;

static void fill(stream *s)
{
  while (s->have <= 56) {
    if (s->at < s->end) s->bits |= (uint64_t)*s->at++ << s->have;
    else s->missing += 8;
    s->have += 8;
  }
}

static uint32_t take(stream *s, int n)
{
  if (s->have < n) fill(s);
  uint32_t value = (uint32_t)(s->bits & ((1u << n) - 1));
  s->bits >>= n;
  s->have -= n;
  return value;
}

static int ran_out(const stream *s) { return s->missing > s->have; }

static uint32_t reversed(uint32_t bits, int n)
{
  uint32_t found = 0;
  for (int i = 0; i < n; i++) found |= (bits >> i & 1) << (n - 1 - i);
  return found;
}

/* Canonical code from lengths; 0 when no such code exists. A lone code may leave the other half unused. */
static int make(code *c, const uint8_t *length, int n)
{
  uint16_t offset[16];
  int left = 1, used = 0;
  memset(c, 0, sizeof *c);
  for (int i = 0; i < n; i++) c->count[length[i]]++;
  used = n - c->count[0];
  c->count[0] = 0;
  offset[1] = 0;
  for (int l = 1; l < 16; l++) {
    left = left * 2 - c->count[l];
    if (left < 0) return 0;
    if (l < 15) offset[l + 1] = (uint16_t)(offset[l] + c->count[l]);
  }
  if (left && used > 1) return 0;
  for (int i = 0; i < n; i++)
    if (length[i]) c->symbol[offset[length[i]]++] = (uint16_t)i;
  uint32_t next = 0;
  for (int l = 1, k = 0; l <= FAST; l++, next <<= 1)
    for (int i = 0; i < c->count[l]; i++, k++, next++)
      for (uint32_t at = reversed(next, l); at < 1u << FAST; at += 1u << l) c->fast[at] = (uint16_t)(c->symbol[k] << 4 | l);
  return 1;
}

/* The next symbol; -1 for bits that are no code. */
static int symbol(stream *s, const code *c)
{
  if (s->have < 15) fill(s);
  int entry = c->fast[s->bits & ((1u << FAST) - 1)];
  if (entry) {
    s->bits >>= entry & 15;
    s->have -= entry & 15;
    return entry >> 4;
  }
  int bits = 0, first = 0, index = 0;
  for (int l = 1; l < 16; l++) {
    bits |= (int)take(s, 1);
    if (bits - first < c->count[l]) return c->symbol[index + bits - first];
    index += c->count[l];
    first = (first + c->count[l]) * 2;
    bits *= 2;
  }
  return -1;
}

static const char *stored(stream *s)
{
  take(s, s->have & 7);
  uint32_t n = take(s, 16), check = take(s, 16);
  if (ran_out(s)) return EDGEQ_TRUNCATED;
  if ((n ^ check) != 0xffff) return DAMAGED;
  for (; n && s->out < s->stop; n--) {
    *s->out++ = (uint8_t)take(s, 8);
    if (ran_out(s)) return EDGEQ_TRUNCATED;
  }
  s->excess = n > 0;
  return NULL;
}

static const char *copy(stream *s, int symbol_of_length, const code *distances)
{
  if (symbol_of_length > 285) return DAMAGED;
  size_t length = EDGEQ_LENGTH[symbol_of_length - 257] + take(s, EDGEQ_LENGTH_BITS[symbol_of_length - 257]);
  int d = symbol(s, distances);
  if (d < 0 || d > 29) return DAMAGED;
  size_t distance = EDGEQ_DISTANCE[d] + take(s, d < 4 ? 0 : d / 2 - 1);
  if (distance > (size_t)(s->out - s->begin)) return DAMAGED;
  size_t room = (size_t)(s->stop - s->out);
  const uint8_t *from = s->out - distance;
  for (size_t n = length < room ? length : room; n; n--) *s->out++ = *from++;
  return NULL;
}

static const char *block(stream *s, const code *literals, const code *distances)
{
  while (s->out < s->stop) {
    int found = symbol(s, literals);
    if (ran_out(s)) return EDGEQ_TRUNCATED;
    if (found < 0) return DAMAGED;
    if (found == 256) return NULL;
    if (found < 256) {
      *s->out++ = (uint8_t)found;
      continue;
    }
    const char *error = copy(s, found, distances);
    if (error) return ran_out(s) ? EDGEQ_TRUNCATED : error;
  }
  s->excess = symbol(s, literals) != 256;
  return NULL;
}

static const char *fixed_block(stream *s)
{
  code literals, distances;
  uint8_t length[288];
  for (int i = 0; i < 288; i++) length[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  make(&literals, length, 288);
  memset(length, 5, 32);
  make(&distances, length, 32);
  return block(s, &literals, &distances);
}

/* Lengths of both codes, themselves coded with runs. */
static const char *read_lengths(stream *s, const code *c, uint8_t *length, int n)
{
  for (int i = 0; i < n;) {
    int found = symbol(s, c);
    if (ran_out(s)) return EDGEQ_TRUNCATED;
    if (found < 0 || (found == 16 && !i)) return DAMAGED;
    if (found < 16) {
      length[i++] = (uint8_t)found;
      continue;
    }
    int times = found == 16 ? 3 + (int)take(s, 2) : found == 17 ? 3 + (int)take(s, 3) : 11 + (int)take(s, 7);
    if (times > n - i) return DAMAGED;
    memset(length + i, found == 16 ? length[i - 1] : 0, (size_t)times);
    i += times;
  }
  return NULL;
}

static const char *dynamic_block(stream *s)
{
  static const uint8_t ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  code literals, distances;
  uint8_t length[288 + 32] = {0}, first[19] = {0};
  int n = 257 + (int)take(s, 5), m = 1 + (int)take(s, 5), k = 4 + (int)take(s, 4);
  if (n > 286 || m > 30) return DAMAGED;
  for (int i = 0; i < k; i++) first[ORDER[i]] = (uint8_t)take(s, 3);
  if (!make(&literals, first, 19)) return DAMAGED;
  const char *error = read_lengths(s, &literals, length, n + m);
  if (error) return error;
  if (!length[256] || !make(&literals, length, n) || !make(&distances, length + n, m)) return DAMAGED;
  return block(s, &literals, &distances);
}

static const char *check_end(stream *s)
{
  take(s, s->have & 7);
  uint32_t sum = 0;
  for (int i = 0; i < 4; i++) sum = sum << 8 | take(s, 8);
  if (ran_out(s)) return EDGEQ_TRUNCATED;
  return sum == edgeq_adler32(s->begin, (size_t)(s->out - s->begin)) ? NULL : DAMAGED;
}

const char *edgeq_inflate(const uint8_t *bytes, size_t size, uint8_t *out, size_t room)
{
  if (size < 6) return EDGEQ_TRUNCATED;
  if ((bytes[0] & 15) != 8 || edgeq_be16(bytes) % 31 || bytes[1] & 32) return DAMAGED;
  stream s = {.at = bytes + 2, .end = bytes + size, .begin = out, .out = out, .stop = out + room};
  for (int last = 0; !last;) {
    last = (int)take(&s, 1);
    uint32_t kind = take(&s, 2);
    const char *error = kind == 0 ? stored(&s) : kind == 1 ? fixed_block(&s) : kind == 2 ? dynamic_block(&s) : DAMAGED;
    if (error || s.excess) return error;
  }
  return s.out == s.stop ? check_end(&s) : EDGEQ_TRUNCATED;
}
