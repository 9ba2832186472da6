/* UTF-8: well-formed inside, whatever came in. */
#include "tok.h"

/* What may follow a lead byte: the range of the second byte (W3C's and Python's "maximal subpart" rule). */
typedef struct {
  int bytes;
  uint8_t low, high;
} lead_rule;

static lead_rule lead(uint8_t c)
{
  if (c < 0x80) return (lead_rule){1, 0, 0};
  if (c < 0xc2 || c > 0xf4) return (lead_rule){0, 0, 0};
  if (c < 0xe0) return (lead_rule){2, 0x80, 0xbf};
  if (c < 0xf0) return (lead_rule){3, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf};
  return (lead_rule){4, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf};
}

/* Bytes at the start that belong together; *whole: they are a character. */
static size_t sequence(const uint8_t *p, size_t n, int *whole)
{
  lead_rule rule = lead(p[0]);
  size_t i = 1;
  *whole = rule.bytes == 1;
  if (rule.bytes < 2) return 1;
  for (; i < (size_t)rule.bytes && i < n; i++) {
    uint8_t low = i == 1 ? rule.low : 0x80, high = i == 1 ? rule.high : 0xbf;
    if (p[i] < low || p[i] > high) return i;
  }
  *whole = i == (size_t)rule.bytes;
  return i;
}

void tok_sanitize(tok_bytes *out, const char *text, size_t n)
{
  const uint8_t *p = (const uint8_t *)text;
  size_t good = 0; /* start of what has not been copied yet */
  for (size_t i = 0; i < n;) {
    int whole;
    size_t bytes = sequence(p + i, n - i, &whole);
    if (!whole) {
      tok_append(out, text + good, i - good);
      tok_append(out, TOK_REPLACEMENT, 3);
      good = i + bytes;
    }
    i += bytes;
  }
  if (n) tok_append(out, text + good, n - good);
}

size_t edgeq_incomplete_utf8(const char *text, size_t bytes)
{
  for (size_t back = 1; back <= 3 && back <= bytes; back++) {
    uint8_t c = (uint8_t)text[bytes - back];
    if ((c & 0xc0) == 0x80) continue;
    int whole;
    size_t used = sequence((const uint8_t *)text + bytes - back, back, &whole);
    return !whole && used == back && lead(c).bytes > (int)back ? back : 0;
  }
  return 0;
}

void tok_append_code(tok_bytes *out, uint32_t c)
{
  char s[4];
  if (c < 0x80) {
    s[0] = (char)c;
    tok_append(out, s, 1);
  } else if (c < 0x800) {
    s[0] = (char)(0xc0 | c >> 6), s[1] = (char)(0x80 | (c & 63));
    tok_append(out, s, 2);
  } else if (c < 0x10000) {
    s[0] = (char)(0xe0 | c >> 12), s[1] = (char)(0x80 | (c >> 6 & 63)), s[2] = (char)(0x80 | (c & 63));
    tok_append(out, s, 3);
  } else {
    s[0] = (char)(0xf0 | c >> 18), s[1] = (char)(0x80 | (c >> 12 & 63));
    s[2] = (char)(0x80 | (c >> 6 & 63)), s[3] = (char)(0x80 | (c & 63));
    tok_append(out, s, 4);
  }
}

uint32_t tok_decode_last(const char *text, size_t n, size_t *bytes)
{
  size_t back = 1;
  while (back < 4 && back < n && ((uint8_t)text[n - back] & 0xc0) == 0x80) back++;
  uint32_t code = tok_decode(text + n - back, back, bytes);
  *bytes = back;
  return code;
}
