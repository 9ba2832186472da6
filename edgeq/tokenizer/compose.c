/* Canonical order and canonical composition (Unicode Standard Annex 15). */
#include "tok.h"

static uint32_t combining_class(const edgeq_tokenizer *t, uint32_t code)
{
  const uint32_t *items = tok_words(t, TOK_CCC);
  size_t low = 0, count = tok_count(t, TOK_CCC) / 2, high = count;
  if (code < 0x300) return 0;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (items[mid * 2] < code) low = mid + 1;
    else high = mid;
  }
  return low < count && items[low * 2] == code ? items[low * 2 + 1] & 0xff : 0;
}

/* Appends a run of marks sorted by class, equal ones in their order: a counting sort, so that long runs stay cheap. */
static void append_sorted(const edgeq_tokenizer *t, const char *text, size_t n, tok_bytes *out)
{
  size_t place[257] = {0}, bytes, start = out->n;
  tok_append(out, text, n);
  if (out->failed) return;
  for (size_t i = 0; i < n; i += bytes) {
    uint32_t class = combining_class(t, tok_decode(text + i, n - i, &bytes));
    place[class + 1] += bytes;
  }
  for (int class = 0; class < 256; class++) place[class + 1] += place[class];
  for (size_t i = 0; i < n; i += bytes) {
    uint32_t class = combining_class(t, tok_decode(text + i, n - i, &bytes));
    memcpy(out->data + start + place[class], text + i, bytes);
    place[class] += bytes;
  }
}

void tok_reorder(const edgeq_tokenizer *t, const char *text, size_t n, tok_bytes *out)
{
  size_t run = 0, bytes; /* start of the marks that were not copied yet */
  uint32_t last = 0;
  int sorted = 1;
  for (size_t i = 0; i < n; i += bytes) {
    uint32_t class = combining_class(t, tok_decode(text + i, n - i, &bytes));
    if (!class) {
      if (sorted) tok_append(out, text + run, i - run);
      else append_sorted(t, text + run, i - run, out);
      tok_append(out, text + i, bytes);
      run = i + bytes, sorted = 1;
    } else if (class < last) {
      sorted = 0;
    }
    last = class;
  }
  if (sorted) tok_append(out, text + run, n - run);
  else append_sorted(t, text + run, n - run, out);
}

/* The composite of two code points, 0 when there is none. */
static uint32_t composite(const edgeq_tokenizer *t, uint32_t a, uint32_t b)
{
  if (a - 0x1100 < 19 && b - 0x1161 < 21) return 0xac00 + ((a - 0x1100) * 21 + b - 0x1161) * 28;
  if (a - 0xac00 < 11172 && (a - 0xac00) % 28 == 0 && b - 0x11a8 < 27) return a + b - 0x11a7;
  const uint32_t *items = tok_words(t, TOK_COMPOSE);
  size_t low = 0, count = tok_count(t, TOK_COMPOSE) / 3, high = count;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    const uint32_t *item = items + mid * 3;
    if (item[0] < a || (item[0] == a && item[1] < b)) low = mid + 1;
    else high = mid;
  }
  return low < count && items[low * 3] == a && items[low * 3 + 1] == b ? items[low * 3 + 2] : 0;
}

void tok_compose(const edgeq_tokenizer *t, const char *text, size_t n, tok_bytes *out)
{
  tok_bytes marks = {0};                      /* those after the starter that did not combine with it */
  uint32_t starter = TOK_NONE, last = 0;
  size_t bytes;
  for (size_t i = 0; i < n; i += bytes) {
    uint32_t code = tok_decode(text + i, n - i, &bytes), class = combining_class(t, code);
    uint32_t both = starter != TOK_NONE && (!marks.n || last < class) ? composite(t, starter, code) : 0;
    if (both) {
      starter = both;
    } else if (class && starter == TOK_NONE) {
      tok_append(out, text + i, bytes);
    } else if (class) {
      tok_append(&marks, text + i, bytes);
      last = class;
    } else {
      if (starter != TOK_NONE) tok_append_code(out, starter);
      tok_append(out, marks.data, marks.n);
      starter = code, marks.n = 0;
    }
  }
  if (starter != TOK_NONE) tok_append_code(out, starter);
  tok_append(out, marks.data, marks.n);
  out->failed |= marks.failed;
  free(marks.data);
}
