/* Precompiled: sentencepiece's map of characters, applied as `tokenizers` does: to short grapheme clusters (under six bytes)
 * as a whole, else to single characters. args: texts, their bytes, then the predicates below. */
#include "tok.h"

enum { TEXTS, TEXTS_BYTES, EXTENDS, PREPENDS, CONTROL, PICTURE, LINKER, CONSONANT, TRANSPARENT };
#define SHORT 6
#define JOINER 0x200d

typedef struct {
  const edgeq_tokenizer *t;
  const uint32_t *args;
  const char *text;
  size_t n;
} scanner;

/* ---- grapheme clusters (Unicode Standard Annex 29) ---- */
typedef struct {
  uint32_t code;  /* the character before */
  int picture;    /* a pictograph and marks are before */
  int linked;     /* a consonant is before: 1; and a linker: 2 */
} context;

static int is(const scanner *s, int predicate, uint32_t code) { return tok_is(s->t, s->args[predicate], code); }

static int in(uint32_t code, uint32_t first, uint32_t last) { return code >= first && code <= last; }
static int is_lead(uint32_t c) { return in(c, 0x1100, 0x115f) || in(c, 0xa960, 0xa97c); }
static int is_vowel(uint32_t c) { return in(c, 0x1160, 0x11a7) || in(c, 0xd7b0, 0xd7c6); }
static int is_trail(uint32_t c) { return in(c, 0x11a8, 0x11ff) || in(c, 0xd7cb, 0xd7fb); }
static int is_syllable(uint32_t c) { return in(c, 0xac00, 0xd7a3); }

static int hangul_joins(uint32_t a, uint32_t b)
{
  int open = is_vowel(a) || (is_syllable(a) && (a - 0xac00) % 28 == 0);
  if (is_lead(a)) return is_lead(b) || is_vowel(b) || is_syllable(b);
  return (open && (is_vowel(b) || is_trail(b))) || ((is_trail(a) || is_syllable(a)) && is_trail(b));
}

static int joins(const scanner *s, const context *before, uint32_t code)
{
  if (before->code == '\r' && code == '\n') return 1;
  if (is(s, CONTROL, before->code) || is(s, CONTROL, code)) return 0;
  if (is(s, EXTENDS, code) || is(s, PREPENDS, before->code) || hangul_joins(before->code, code)) return 1;
  if (before->picture && before->code == JOINER && is(s, PICTURE, code)) return 1;
  return before->linked == 2 && is(s, CONSONANT, code);
}

static void pass(const scanner *s, context *c, uint32_t code)
{
  c->code = code;
  c->picture = is(s, PICTURE, code) || (c->picture && is(s, EXTENDS, code));
  if (is(s, CONSONANT, code)) c->linked = 1;
  else if (c->linked && is(s, LINKER, code)) c->linked = 2;
  else if (!is(s, TRANSPARENT, code)) c->linked = 0;
}

static size_t cluster_end(const scanner *s, size_t at)
{
  context before = {0};
  size_t bytes;
  pass(s, &before, tok_decode(s->text + at, s->n - at, &bytes));
  for (at += bytes; at < s->n; at += bytes) {
    uint32_t code = tok_decode(s->text + at, s->n - at, &bytes);
    if (!joins(s, &before, code)) break;
    pass(s, &before, code);
  }
  return at;
}

/* ---- the double-array trie ---- */
static uint32_t step(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

/* Where the text starts that replaces the shortest key the chunk begins with; -1: there is none. */
static int64_t find(const scanner *s, const char *chunk, size_t n)
{
  const uint32_t *units = tok_words(s->t, TOK_CHARSMAP);
  size_t count = tok_count(s->t, TOK_CHARSMAP), at = 0;
  if (!count) return -1;
  at ^= step(units[0]);
  for (size_t i = 0; i < n && chunk[i]; i++) {
    at ^= (uint8_t)chunk[i];
    if (at >= count || (units[at] & 0x800000ffu) != (uint8_t)chunk[i]) return -1;
    uint32_t unit = units[at];
    at ^= step(unit);
    if (unit & 0x100) return at < count ? (int64_t)(units[at] & 0x7fffffffu) : -1;
  }
  return -1;
}

static int transform(const scanner *s, const char *chunk, size_t n, tok_bytes *out)
{
  tok_text texts = tok_string(s->t, s->args[TEXTS], s->args[TEXTS_BYTES]);
  int64_t start = find(s, chunk, n);
  if (start < 0 || (uint64_t)start > texts.n) return 0;
  const char *text = texts.data + start, *end = memchr(text, 0, texts.n - (size_t)start);
  tok_append(out, text, end ? (size_t)(end - text) : texts.n - (size_t)start);
  return 1;
}

void tok_charsmap(const edgeq_tokenizer *t, const uint32_t *args, const char *text, size_t n, tok_bytes *out)
{
  scanner s = {t, args, text, n};
  size_t bytes;
  for (size_t at = 0; at < n;) {
    size_t end = cluster_end(&s, at);
    if (end - at < SHORT && transform(&s, text + at, end - at, out)) at = end;
    for (; at < end; at += bytes) {
      tok_decode(text + at, n - at, &bytes);
      if (!transform(&s, text + at, bytes, out)) tok_append(out, text + at, bytes);
    }
  }
}
