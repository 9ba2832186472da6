/* WordPiece: the longest token that the rest of the word begins with, again and again; one unknown token for a word that
 * does not come out even. WordLevel: the word itself. */
#include "tok.h"

static size_t characters(tok_text word)
{
  size_t n = 0;
  for (size_t i = 0; i < word.n; i++) n += ((uint8_t)word.data[i] & 0xc0) != 0x80;
  return n;
}

/* Id of the longest token that `rest` begins with; its bytes, without the prefix, in *bytes. */
static uint32_t longest(const edgeq_tokenizer *t, tok_text prefix, tok_text rest, size_t *bytes)
{
  uint32_t hash = tok_hash(TOK_HASH_START, prefix.data, prefix.n), best = TOK_NONE;
  size_t most = t->section[TOK_LONGEST].data[(uint8_t)(prefix.n ? prefix.data[0] : rest.data[0])];
  for (size_t n = 0; n < rest.n;) {
    hash = tok_hash_byte(hash, (uint8_t)rest.data[n++]);
    if (prefix.n + n > most && most < 255) break;
    if (n < rest.n && ((uint8_t)rest.data[n] & 0xc0) == 0x80) continue;
    uint32_t id = tok_find(t, hash, prefix, (tok_text){rest.data, n});
    if (id != TOK_NONE) best = id, *bytes = n;
  }
  return best;
}

static int pieces(const edgeq_tokenizer *t, tok_text word, tok_ids *out)
{
  const uint32_t *model = t->model;
  size_t bytes = 0;
  for (size_t at = 0; at < word.n; at += bytes) {
    tok_text prefix = at ? tok_string(t, model[TOK_PREFIX], model[TOK_PREFIX_BYTES]) : (tok_text){"", 0};
    uint32_t id = longest(t, prefix, (tok_text){word.data + at, word.n - at}, &bytes);
    if (id == TOK_NONE) return 0;
    tok_append_id(out, id);
  }
  return 1;
}

void tok_wordpiece(const edgeq_tokenizer *t, tok_text word, tok_ids *out)
{
  size_t before = out->n;
  if (t->model[TOK_KIND] == TOK_WORDLEVEL) {
    uint32_t id = tok_find(t, tok_hash(TOK_HASH_START, word.data, word.n), word, (tok_text){"", 0});
    tok_append_id(out, id == TOK_NONE ? t->model[TOK_UNK] : id);
    return;
  }
  if (characters(word) <= t->model[TOK_MAX_CHARS] && pieces(t, word, out)) return;
  out->n = before;
  tok_append_id(out, t->model[TOK_UNK]);
}
