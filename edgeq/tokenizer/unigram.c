/* Unigram: the likeliest way to write a word as tokens (Viterbi), in float64 and in the order of `tokenizers`, so that
 * equal scores break the same way. Neighbouring unknown characters become one. */
#include "tok.h"

typedef struct {
  double score;
  uint32_t start, id; /* start = TOK_NONE: not reached */
} node;

static void offer(node *to, double score, uint32_t start, uint32_t id)
{
  if (to->start == TOK_NONE || score > to->score) *to = (node){score, start, id};
}

static double score_of(const edgeq_tokenizer *t, uint32_t id)
{
  double score = 0;
  if (id < t->section[TOK_SCORES].bytes / 8) memcpy(&score, t->section[TOK_SCORES].data + (size_t)id * 8, 8);
  return score;
}

/* Every token that the rest begins with leads on; a character that is no token costs what the unknown token does. */
static size_t step(const edgeq_tokenizer *t, node *nodes, tok_text word, size_t at)
{
  const tok_text rest = {word.data + at, word.n - at}, none = {"", 0};
  uint32_t hash = TOK_HASH_START, id;
  size_t first, most = t->section[TOK_LONGEST].data[(uint8_t)rest.data[0]];
  int single = 0;
  tok_decode(rest.data, rest.n, &first);
  if (most == 255 || most > rest.n) most = rest.n;
  for (size_t n = 0; n < most;) {
    hash = tok_hash_byte(hash, (uint8_t)rest.data[n++]);
    if (n < rest.n && ((uint8_t)rest.data[n] & 0xc0) == 0x80) continue;
    if ((id = tok_find(t, hash, (tok_text){rest.data, n}, none)) == TOK_NONE) continue;
    offer(&nodes[at + n], score_of(t, id) + nodes[at].score, (uint32_t)at, id);
    single |= n == first;
  }
  double unknown;
  memcpy(&unknown, t->section[TOK_SCORES].data + t->section[TOK_SCORES].bytes - 8, 8);
  if (!single) offer(&nodes[at + first], unknown + nodes[at].score, (uint32_t)at, t->model[TOK_UNK]);
  return first;
}

/* A stretch of unknown characters, or the text "<unk>" itself. */
static void append_unknown(const edgeq_tokenizer *t, tok_text text, tok_ids *out)
{
  const uint32_t *bytes = tok_words(t, TOK_BYTES);
  uint32_t id = tok_find(t, tok_hash(TOK_HASH_START, text.data, text.n), text, (tok_text){"", 0});
  int fallback = id == TOK_NONE && (t->model[TOK_FLAGS] & TOK_BYTE_FALLBACK);
  for (size_t i = 0; i < text.n && fallback; i++) fallback = bytes[(uint8_t)text.data[i]] != TOK_NONE;
  for (size_t i = 0; i < text.n && fallback; i++) tok_append_id(out, bytes[(uint8_t)text.data[i]]);
  if (!fallback) tok_append_id(out, id == TOK_NONE ? t->model[TOK_UNK] : id);
}

/* Turns the links around, so that the best path is walked from its start: node.id belongs to the step that begins there. */
static void turn(node *nodes, size_t n)
{
  uint32_t end = (uint32_t)n, id = nodes[n].id, at = nodes[n].start;
  nodes[n].start = TOK_NONE;
  for (;;) {
    node here = nodes[at];
    nodes[at].start = end, nodes[at].id = id;
    if (!at) return;
    end = at, id = here.id, at = here.start;
  }
}

static void walk(const edgeq_tokenizer *t, const node *nodes, tok_text word, tok_ids *out)
{
  uint32_t unknown = t->model[TOK_UNK];
  for (size_t at = 0; at < word.n;) {
    size_t end = nodes[at].start;
    if (nodes[at].id != unknown) {
      tok_append_id(out, nodes[at].id);
    } else {
      while (end < word.n && nodes[end].id == unknown) end = nodes[end].start;
      append_unknown(t, (tok_text){word.data + at, end - at}, out);
    }
    at = end;
  }
}

void tok_unigram(const edgeq_tokenizer *t, tok_text word, tok_ids *out)
{
  node *nodes = malloc((word.n + 1) * sizeof *nodes);
  if (!nodes) {
    out->failed = 1;
    return;
  }
  for (size_t i = 0; i <= word.n; i++) nodes[i] = (node){0, TOK_NONE, 0};
  for (size_t at = 0; at < word.n;) at += step(t, nodes, word, at);
  turn(nodes, word.n);
  walk(t, nodes, word, out);
  free(nodes);
}
