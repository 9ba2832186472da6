/* Text to ids: added tokens, normalizers, pre-tokenizers, the model, the template. */
#include "tok.h"

static void encode(const edgeq_tokenizer *t, tok_text word, tok_ids *out)
{
  switch (t->model[TOK_KIND]) {
  case TOK_BPE: tok_bpe(t, word, out); break;
  case TOK_UNIGRAM: tok_unigram(t, word, out); break;
  default: tok_wordpiece(t, word, out); break;
  }
}

static void encode_pieces(const edgeq_tokenizer *t, const tok_work *w, tok_ids *out)
{
  for (size_t i = 0; i < w->pieces.n && !out->failed; i++) {
    tok_piece piece = w->pieces.data[i];
    if (piece.id >= 0) tok_append_id(out, (uint32_t)piece.id);
    else encode(t, (tok_text){w->text.data + piece.start, piece.n}, out);
  }
}

static int failed(const tok_work *w) { return w->text.failed | w->spare.failed | w->pieces.failed | w->next.failed; }

static int prepare(const edgeq_tokenizer *t, tok_work *w, int flags)
{
  size_t first = 0;
  if (w->text.n) tok_decode(w->text.data, w->text.n, &first);
  if (w->text.n) tok_append_piece(&w->pieces, (tok_piece){0, w->text.n, first, -1});
  if (!failed(w)) tok_split_added(t, w, 0, flags);
  if (!failed(w)) tok_normalize(t, w);
  if (!failed(w)) tok_split_added(t, w, 1, flags);
  if (!failed(w)) tok_split(t, w);
  return !failed(w);
}

static void append_template(const edgeq_tokenizer *t, size_t start, size_t end, tok_ids *out)
{
  for (size_t i = start; i < end; i++) tok_append_id(out, tok_words(t, TOK_TEMPLATE)[i]);
}

static void close_work(tok_work *w)
{
  free(w->text.data);
  free(w->spare.data);
  free(w->pieces.data);
  free(w->next.data);
}

ptrdiff_t edgeq_tokenize(const edgeq_tokenizer *t, const char *text, size_t bytes, int flags, int32_t *ids, size_t room)
{
  tok_work w = {0};
  tok_ids out = {0};
  if (!t || (!text && bytes) || bytes > INT32_MAX / 16) return -TOK_USAGE;
  size_t front = t->model[TOK_FRONT], count = flags & EDGEQ_ADD_SPECIAL ? tok_count(t, TOK_TEMPLATE) : 0;
  if (front > count) front = count;
  tok_sanitize(&w.text, text, bytes);
  append_template(t, 0, front, &out);
  if (prepare(t, &w, flags)) encode_pieces(t, &w, &out);
  append_template(t, front, count, &out);
  ptrdiff_t n = failed(&w) || out.failed ? -TOK_MEMORY : (ptrdiff_t)out.n;
  if (n > 0 && room) memcpy(ids, out.data, (out.n < room ? out.n : room) * sizeof *ids);
  close_work(&w);
  free(out.data);
  return n;
}
