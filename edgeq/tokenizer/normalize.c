/* Normalizers: each rewrites the text of every piece. */
#include "tok.h"

enum { FILTER, MAP, SURROUND, REORDER, COMPOSE, STRIP, PREPEND, REPLACE, CHARSMAP, BYTE_CHARS };

static void append_mapped(const edgeq_tokenizer *t, const uint32_t *args, uint32_t code, tok_bytes *out)
{
  const uint32_t *items = tok_words(t, TOK_MAPS) + (size_t)args[1] * 3;
  uint32_t low = 0, high = args[2];
  while (low < high) {
    uint32_t mid = low + (high - low) / 2;
    if (items[mid * 3] < code) low = mid + 1;
    else high = mid;
  }
  if (low == args[2] || items[low * 3] != code) return;
  tok_text text = tok_string(t, items[low * 3 + 1], items[low * 3 + 2]);
  tok_append(out, text.data, text.n);
}

static int append_hangul(uint32_t code, tok_bytes *out)
{
  if (code < 0xac00 || code > 0xd7a3) return 0;
  uint32_t s = code - 0xac00;
  tok_append_code(out, 0x1100 + s / 588);
  tok_append_code(out, 0x1161 + s % 588 / 28);
  if (s % 28) tok_append_code(out, 0x11a7 + s % 28);
  return 1;
}

/* One character through FILTER, MAP or SURROUND. */
static void rewrite(const edgeq_tokenizer *t, uint32_t op, const uint32_t *args, uint32_t code, tok_text c, tok_bytes *out)
{
  if (op == MAP && args[3] && append_hangul(code, out)) return;
  if (!tok_is(t, args[0], code)) {
    tok_append(out, c.data, c.n);
  } else if (op == MAP) {
    append_mapped(t, args, code, out);
  } else if (op == SURROUND) {
    tok_append(out, " ", 1);
    tok_append(out, c.data, c.n);
    tok_append(out, " ", 1);
  }
}

static void rewrite_all(const edgeq_tokenizer *t, uint32_t op, const uint32_t *args, tok_text text, tok_piece *piece,
                        tok_bytes *out)
{
  size_t bytes, origin = piece->origin, start = out->n;
  piece->origin = 0;
  for (size_t i = 0; i < text.n; i += bytes) {
    uint32_t code = tok_decode(text.data + i, text.n - i, &bytes);
    rewrite(t, op, args, code, (tok_text){text.data + i, bytes}, out);
    if (i < origin) piece->origin = out->n - start;
  }
}

static void strip(const edgeq_tokenizer *t, const uint32_t *args, tok_text text, tok_piece *piece, tok_bytes *out)
{
  size_t start = 0, end = text.n, bytes;
  while (args[0] && start < end && tok_is(t, t->model[TOK_SPACE_MASK], tok_decode(text.data + start, end - start, &bytes)))
    start += bytes;
  while (args[1] && end > start && tok_is(t, t->model[TOK_SPACE_MASK], tok_decode_last(text.data + start, end - start, &bytes)))
    end -= bytes;
  tok_append(out, text.data + start, end - start);
  piece->origin = tok_slice(*piece, start, end).origin;
}

static void prepend(const edgeq_tokenizer *t, const uint32_t *args, tok_text text, tok_piece *piece, tok_bytes *out)
{
  if (!text.n) return;
  tok_text front = tok_string(t, args[0], args[1]);
  tok_append(out, front.data, front.n);
  tok_append(out, text.data, text.n);
  if (piece->origin) piece->origin += front.n;
}

static void apply(const edgeq_tokenizer *t, uint32_t op, const uint32_t *args, tok_text text, tok_piece *piece,
                  tok_bytes *out)
{
  size_t start = out->n, first = 0;
  switch (op) {
  case FILTER:
  case MAP:
  case SURROUND: rewrite_all(t, op, args, text, piece, out); return;
  case STRIP: strip(t, args, text, piece, out); return;
  case PREPEND: prepend(t, args, text, piece, out); return;
  case REORDER: tok_reorder(t, text.data, text.n, out); break;
  case COMPOSE: tok_compose(t, text.data, text.n, out); break;
  case REPLACE: tok_replace(t, args, text, out); break;
  case CHARSMAP: tok_charsmap(t, args, text.data, text.n, out); break;
  case BYTE_CHARS: tok_append_byte_chars(out, text); break;
  }
  if (out->n > start) tok_decode(out->data + start, out->n - start, &first);
  piece->origin = piece->origin ? first : 0;
}

void tok_normalize(const edgeq_tokenizer *t, tok_work *w)
{
  const uint32_t *code = tok_words(t, TOK_NORMALIZERS), *end = code + tok_count(t, TOK_NORMALIZERS);
  for (; code < end; code += 2 + code[1]) {
    w->spare.n = 0;
    for (size_t i = 0; i < w->pieces.n; i++) {
      tok_piece *piece = &w->pieces.data[i];
      size_t start = w->spare.n;
      if (piece->id >= 0) continue;
      apply(t, code[0], code + 2, (tok_text){w->text.data + piece->start, piece->n}, piece, &w->spare);
      piece->start = start, piece->n = w->spare.n - start;
    }
    tok_swap_text(w);
  }
}
