/* Added tokens in the text: the leftmost, then the longest; what lies between stays text. */
#include "tok.h"

static const tok_added *item(const edgeq_tokenizer *t, uint32_t i)
{
  return (const tok_added *)t->section[TOK_ADDED].data + tok_words(t, TOK_ADDED_ORDER)[i];
}

static int byte_of(const edgeq_tokenizer *t, uint32_t i, size_t depth)
{
  tok_text text = tok_string(t, item(t, i)->offset, item(t, i)->bytes);
  return depth < text.n ? (uint8_t)text.data[depth] : -1;
}

/* First of low..high whose byte at `depth` is at least `byte`. */
static uint32_t lower(const edgeq_tokenizer *t, uint32_t low, uint32_t high, size_t depth, int byte)
{
  while (low < high) {
    uint32_t mid = low + (high - low) / 2;
    if (byte_of(t, mid, depth) < byte) low = mid + 1;
    else high = mid;
  }
  return low;
}

/* The longest of the sorted tokens low..high that the text begins with, or NULL. */
static const tok_added *longest(const edgeq_tokenizer *t, uint32_t low, uint32_t high, const char *text, size_t n)
{
  const tok_added *best = NULL;
  for (size_t depth = 0; low < high; depth++) {
    if (item(t, low)->bytes == depth) {
      best = depth ? item(t, low) : NULL; /* an empty one, of a damaged blob, would be found for ever */
      low++;
    }
    if (depth == n) break;
    low = lower(t, low, high, depth, (uint8_t)text[depth]);
    high = lower(t, low, high, depth, (uint8_t)text[depth] + 1);
  }
  return best;
}

static size_t spaces_before(const edgeq_tokenizer *t, const char *text, size_t end)
{
  size_t bytes;
  while (end && tok_is(t, t->model[TOK_SPACE_MASK], tok_decode_last(text, end, &bytes))) end -= bytes;
  return end;
}

static size_t spaces_after(const edgeq_tokenizer *t, const char *text, size_t at, size_t n)
{
  size_t bytes;
  while (at < n && tok_is(t, t->model[TOK_SPACE_MASK], tok_decode(text + at, n - at, &bytes))) at += bytes;
  return at;
}

static int inside_word(const edgeq_tokenizer *t, const char *text, size_t start, size_t end, size_t n)
{
  size_t bytes;
  uint32_t word = t->model[TOK_WORD_MASK];
  return (start && tok_is(t, word, tok_decode_last(text, start, &bytes))) ||
         (end < n && tok_is(t, word, tok_decode(text + end, n - end, &bytes)));
}

tok_piece tok_slice(tok_piece piece, size_t start, size_t end)
{
  size_t origin = piece.origin > start ? piece.origin - start : 0;
  return (tok_piece){piece.start + start, end - start, origin < end - start ? origin : end - start, -1};
}

static void keep(tok_pieces *out, tok_piece piece)
{
  if (piece.n) tok_append_piece(out, piece);
}

static void split_piece(const edgeq_tokenizer *t, tok_piece piece, const char *text, uint32_t low, uint32_t high, int flags,
                        tok_pieces *out)
{
  size_t done = 0, n = piece.n;
  for (size_t at = 0; at < n;) {
    const tok_added *found = longest(t, low, high, text + at, n - at);
    size_t start = at, end = at + (found ? found->bytes : 1);
    at = end;
    if (!found || (!(flags & EDGEQ_PARSE_SPECIAL) && (found->flags & TOK_SPECIAL))) continue;
    if ((found->flags & TOK_SINGLE_WORD) && inside_word(t, text, start, end, n)) continue;
    if (found->flags & TOK_LSTRIP) start = spaces_before(t, text, start);
    if (start < done) start = done;
    if (found->flags & TOK_RSTRIP) end = spaces_after(t, text, end, n);
    keep(out, tok_slice(piece, done, start));
    piece.id = -1;
    tok_piece token = tok_slice(piece, start, end < start ? start : end);
    token.id = (int32_t)found->id;
    tok_append_piece(out, token);
    done = end;
  }
  keep(out, tok_slice(piece, done < n ? done : n, n));
}

void tok_split_added(const edgeq_tokenizer *t, tok_work *w, int normalized, int flags)
{
  uint32_t middle = t->model[TOK_RAW_ORDER];
  uint32_t low = normalized ? middle : 0, high = normalized ? (uint32_t)tok_count(t, TOK_ADDED_ORDER) : middle;
  for (size_t i = 0; i < w->pieces.n; i++) {
    tok_piece piece = w->pieces.data[i];
    if (piece.id >= 0) tok_append_piece(&w->next, piece);
    else if (low == high) keep(&w->next, piece);
    else split_piece(t, piece, w->text.data + piece.start, low, high, flags, &w->next);
  }
  tok_swap_pieces(w);
}
