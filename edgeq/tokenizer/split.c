/* Pre-tokenizers: each cuts every piece that is still text into smaller ones. */
#include "tok.h"

enum { BYTE_LEVEL, PATTERN, CHARACTERS, METASPACE, BYTE_CHARS };
enum { ISOLATED, REMOVED, CONTIGUOUS, WITH_PREVIOUS, WITH_NEXT };
enum { ALWAYS, FIRST, NEVER };

typedef struct {
  tok_piece piece;
  uint32_t behavior, invert;
  size_t start, end;         /* the piece in the making, end = 0: none */
  int previous;              /* the segment before was a match */
  tok_pieces *out;
} cutter;

static void flush(cutter *c)
{
  if (c->end > c->start) tok_append_piece(c->out, tok_slice(c->piece, c->start, c->end));
  c->start = c->end = 0;
}

/* Does the segment that follows belong to the piece in the making? */
static int joins(const cutter *c, int match)
{
  switch (c->behavior) {
  case CONTIGUOUS: return match == c->previous;
  case WITH_PREVIOUS: return match && !c->previous;
  case WITH_NEXT: return !match && c->previous;
  default: return 0;
  }
}

static void segment(cutter *c, size_t start, size_t end, int match)
{
  if (start == end) return;
  match ^= c->invert != 0;
  if (c->end && joins(c, match)) {
    c->end = end;
  } else {
    flush(c);
    if (!(match && c->behavior == REMOVED)) c->start = start, c->end = end;
  }
  c->previous = match;
}

/* Cuts at every match of a program. */
static void cut_pattern(const edgeq_tokenizer *t, cutter *c, uint32_t program, const char *text)
{
  size_t done = 0, n = c->piece.n, bytes;
  for (size_t at = 0; at < n;) {
    ptrdiff_t end = tok_match(t, program, (tok_text){text, n}, at);
    if (end > (ptrdiff_t)at) {
      segment(c, done, at, 0);
      segment(c, at, (size_t)end, 1);
      done = at = (size_t)end;
    } else {
      tok_decode(text + at, n - at, &bytes);
      at += bytes;
    }
  }
  segment(c, done, n, 0);
  flush(c);
}

/* Cuts at every character that fulfils a predicate. */
static void cut_characters(const edgeq_tokenizer *t, cutter *c, uint32_t mask, const char *text)
{
  size_t done = 0, n = c->piece.n, bytes;
  for (size_t at = 0; at < n; at += bytes) {
    if (!tok_is(t, mask, tok_decode(text + at, n - at, &bytes))) continue;
    segment(c, done, at, 0);
    segment(c, at, at + bytes, 1);
    done = at + bytes;
  }
  segment(c, done, n, 0);
  flush(c);
}

static void cut_text(cutter *c, tok_text mark, const char *text)
{
  size_t done = 0, n = c->piece.n;
  for (size_t at = 0; mark.n && at + mark.n <= n;) {
    if (memcmp(text + at, mark.data, mark.n)) {
      at++;
      continue;
    }
    segment(c, done, at, 0);
    segment(c, at, at + mark.n, 1);
    done = at += mark.n;
  }
  segment(c, done, n, 0);
  flush(c);
}

/* The piece with `front` before it, at the end of `out`. */
static void copy_piece(tok_piece *piece, tok_text front, const char *text, tok_bytes *out)
{
  size_t start = out->n;
  tok_append(out, front.data, front.n);
  tok_append(out, text, piece->n);
  piece->start = start, piece->n = out->n - start;
  if (piece->origin) piece->origin += front.n;
}

static void byte_level(const edgeq_tokenizer *t, tok_work *w, tok_piece piece, const uint32_t *args)
{
  const char *text = w->text.data + piece.start;
  if (args[0]) {
    copy_piece(&piece, (tok_text){" ", text[0] != ' '}, text, &w->spare);
    if (w->spare.failed) return;
    text = w->spare.data + piece.start;
  }
  cutter c = {piece, ISOLATED, 0, 0, 0, 0, &w->next};
  if (args[1] == TOK_NONE) tok_append_piece(&w->next, piece);
  else cut_pattern(t, &c, args[1], text);
}

static int begins_with(const char *text, size_t n, tok_text front)
{
  return n >= front.n && !memcmp(text, front.data, front.n);
}

/* args: mark, its bytes, whether to put it in front (ALWAYS, FIRST, NEVER), whether to cut before it. */
static void metaspace(const edgeq_tokenizer *t, tok_work *w, tok_piece piece, const uint32_t *args)
{
  tok_text mark = tok_string(t, args[0], args[1]);
  const char *text = w->text.data + piece.start;
  size_t start = w->spare.n, origin = 0;
  int wanted = args[2] == ALWAYS || (args[2] == FIRST && piece.origin);
  if (wanted && text[0] != ' ' && !begins_with(text, piece.n, mark)) tok_append(&w->spare, mark.data, mark.n);
  for (size_t i = 0; i < piece.n; i++) {
    if (text[i] == ' ') tok_append(&w->spare, mark.data, mark.n);
    else tok_append(&w->spare, text + i, 1);
    if (i < piece.origin) origin = w->spare.n - start;
  }
  if (w->spare.failed) return;
  piece = (tok_piece){start, w->spare.n - start, origin, -1};
  cutter c = {piece, WITH_NEXT, 0, 0, 0, 0, &w->next};
  if (args[3]) cut_text(&c, mark, w->spare.data + start);
  else tok_append_piece(&w->next, piece);
}

/* The piece with the characters that stand for its bytes. */
static void byte_chars(tok_work *w, tok_piece piece)
{
  size_t start = w->spare.n, first = piece.origin;
  tok_append_byte_chars(&w->spare, (tok_text){w->text.data + piece.start, first});
  piece.origin = w->spare.n - start;
  tok_append_byte_chars(&w->spare, (tok_text){w->text.data + piece.start + first, piece.n - first});
  piece.start = start, piece.n = w->spare.n - start;
  tok_append_piece(&w->next, piece);
}

static void split_piece(const edgeq_tokenizer *t, tok_work *w, uint32_t op, const uint32_t *args, tok_piece piece)
{
  const char *text = w->text.data + piece.start;
  cutter c = {piece, args[1], args[2], 0, 0, 0, &w->next};
  switch (op) {
  case BYTE_LEVEL: byte_level(t, w, piece, args); break;
  case METASPACE: metaspace(t, w, piece, args); break;
  case BYTE_CHARS: byte_chars(w, piece); break;
  case CHARACTERS: cut_characters(t, &c, args[0], text); break;
  case PATTERN:
    if (args[0] != TOK_NONE) cut_pattern(t, &c, args[0], text);
    else cut_text(&c, tok_string(t, args[3], args[4]), text);
    break;
  }
}

void tok_split(const edgeq_tokenizer *t, tok_work *w)
{
  const uint32_t *code = tok_words(t, TOK_SPLITTERS), *end = code + tok_count(t, TOK_SPLITTERS);
  for (; code < end; code += 2 + code[1]) {
    int copies = code[0] == METASPACE || code[0] == BYTE_CHARS || (code[0] == BYTE_LEVEL && code[2]);
    w->spare.n = 0;
    for (size_t i = 0; i < w->pieces.n && !w->next.failed && !w->spare.failed; i++) {
      tok_piece piece = w->pieces.data[i];
      if (piece.id >= 0) tok_append_piece(&w->next, piece);
      else split_piece(t, w, code[0], code + 2, piece);
    }
    tok_swap_pieces(w);
    if (copies) tok_swap_text(w);
  }
}
