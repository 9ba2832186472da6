/* Byte-pair encoding: symbols of a word are merged by rank, the leftmost of equals first. A heap holds candidate merges, a
 * linked list the symbols, so a word of n symbols takes n log n. */
#include "tok.h"

#define SMALL 48 /* symbols of a word that needs no memory of its own */
#define DEAD 0xfffffffeu

typedef struct {
  uint32_t id;
  int32_t previous, next;
} symbol;

typedef struct {
  uint32_t rank, at, id;
} merge;

typedef struct {
  const edgeq_tokenizer *t;
  symbol *symbols;
  merge *heap;
  uint32_t count, queued;
} word_state;

static uint32_t rank_at(const edgeq_tokenizer *t, uint32_t slot)
{
  const uint8_t *slots = t->section[TOK_MERGE_SLOTS].data;
  if (t->model[TOK_WIDE_RANKS]) return ((const uint32_t *)slots)[slot];
  uint16_t rank = ((const uint16_t *)slots)[slot];
  return rank == 0xffff ? TOK_NONE : rank;
}

static int is_pair(const edgeq_tokenizer *t, uint32_t rank, uint32_t a, uint32_t b)
{
  const uint8_t *pairs = t->section[TOK_MERGES].data;
  if (rank >= t->merges) return 0;
  if (t->model[TOK_WIDE_IDS]) return ((const uint32_t *)pairs)[rank * 2] == a && ((const uint32_t *)pairs)[rank * 2 + 1] == b;
  return ((const uint16_t *)pairs)[rank * 2] == a && ((const uint16_t *)pairs)[rank * 2 + 1] == b;
}

/* Rank and result of merging two ids; 0 when they do not merge. */
static int find_merge(const edgeq_tokenizer *t, uint32_t a, uint32_t b, merge *out)
{
  if (!t->merge_slots) return 0;
  uint32_t hash = (a * 0x9e3779b1u ^ b) * 0x85ebca6bu;
  uint32_t slot = (uint32_t)((uint64_t)(hash ^ hash >> 15) * t->merge_slots >> 32), rank;
  for (uint32_t probes = 0; probes < t->merge_slots && (rank = rank_at(t, slot)) != TOK_NONE; probes++) {
    if (is_pair(t, rank, a, b)) {
      out->rank = rank;
      out->id = t->section[TOK_MERGE_IDS].bytes ? tok_words(t, TOK_MERGE_IDS)[rank] : t->model[TOK_FIRST_MERGED] + rank;
      return 1;
    }
    if (++slot == t->merge_slots) slot = 0;
  }
  return 0;
}

static int before(const merge *a, const merge *b) { return a->rank != b->rank ? a->rank < b->rank : a->at < b->at; }

static void push(word_state *w, merge m)
{
  uint32_t i = w->queued++;
  for (; i && before(&m, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
  w->heap[i] = m;
}

static merge pop(word_state *w)
{
  merge top = w->heap[0], last = w->heap[--w->queued];
  uint32_t i = 0;
  for (uint32_t child; (child = 2 * i + 1) < w->queued; i = child) {
    if (child + 1 < w->queued && before(&w->heap[child + 1], &w->heap[child])) child++;
    if (!before(&w->heap[child], &last)) break;
    w->heap[i] = w->heap[child];
  }
  w->heap[i] = last;
  return top;
}

/* Queues the merge of the symbol at `at` with the next one, if there is such a merge. */
static void consider(word_state *w, int32_t at)
{
  merge m = {.at = (uint32_t)at};
  if (at < 0 || w->symbols[at].next < 0) return;
  if (find_merge(w->t, w->symbols[at].id, w->symbols[w->symbols[at].next].id, &m)) push(w, m);
}

static void merge_all(word_state *w)
{
  for (uint32_t i = 0; i + 1 < w->count; i++) consider(w, (int32_t)i);
  while (w->queued) {
    merge top = pop(w), now;
    symbol *s = &w->symbols[top.at];
    if (s->id == DEAD || s->next < 0) continue;
    symbol *right = &w->symbols[s->next];
    if (!find_merge(w->t, s->id, right->id, &now) || now.id != top.id) continue; /* neighbours have changed since */
    s->id = top.id;
    right->id = DEAD;
    s->next = right->next;
    if (s->next >= 0) w->symbols[s->next].previous = (int32_t)top.at;
    consider(w, s->previous);
    consider(w, (int32_t)top.at);
  }
}

static void merge_ids(const edgeq_tokenizer *t, const uint32_t *ids, uint32_t n, tok_ids *out)
{
  symbol small_symbols[SMALL];
  merge small_heap[3 * SMALL];
  word_state w = {t, small_symbols, small_heap, n, 0};
  void *memory = NULL;
  if (n > SMALL) { /* n - 1 merges at first, and two more for each one done */
    memory = malloc((size_t)n * (sizeof(symbol) + 3 * sizeof(merge)));
    w.symbols = memory, w.heap = (merge *)(w.symbols + n);
    if (!memory) out->failed = 1;
    if (!memory) return;
  }
  for (uint32_t i = 0; i < n; i++) w.symbols[i] = (symbol){ids[i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1};
  merge_all(&w);
  for (int32_t i = 0; i >= 0 && n; i = w.symbols[i].next) tok_append_id(out, w.symbols[i].id);
  free(memory);
}

/* Ids of the characters of a word, unknown ones as bytes or as the unknown token. */
typedef struct {
  const edgeq_tokenizer *t;
  tok_ids ids;
  int unknown; /* one unknown token waits to be written */
} speller;

static void known(speller *s, uint32_t id)
{
  if (s->unknown) tok_append_id(&s->ids, s->t->model[TOK_UNK]);
  s->unknown = 0;
  tok_append_id(&s->ids, id);
}

static int spell_bytes(speller *s, tok_text a, tok_text b)
{
  const uint32_t *bytes = tok_words(s->t, TOK_BYTES);
  for (size_t i = 0; i < a.n + b.n; i++)
    if (bytes[(uint8_t)(i < a.n ? a.data[i] : b.data[i - a.n])] == TOK_NONE) return 0;
  for (size_t i = 0; i < a.n + b.n; i++) tok_append_id(&s->ids, bytes[(uint8_t)(i < a.n ? a.data[i] : b.data[i - a.n])]);
  return 1;
}

static void unknown(speller *s)
{
  const uint32_t *model = s->t->model;
  if (model[TOK_UNK] == TOK_NONE) return;
  if (s->unknown && !(model[TOK_FLAGS] & TOK_FUSE_UNK)) tok_append_id(&s->ids, model[TOK_UNK]);
  s->unknown = 1;
}

/* One character of the word, or one byte of a byte-level word. */
static void spell(speller *s, tok_text c, int last)
{
  const uint32_t *model = s->t->model;
  tok_text suffix = last ? tok_string(s->t, model[TOK_SUFFIX], model[TOK_SUFFIX_BYTES]) : (tok_text){"", 0};
  uint32_t id;
  if (model[TOK_FLAGS] & TOK_BYTE_LEVEL) id = tok_words(s->t, suffix.n ? TOK_LAST_BYTES : TOK_BYTES)[(uint8_t)c.data[0]];
  else id = tok_find(s->t, tok_hash(tok_hash(TOK_HASH_START, c.data, c.n), suffix.data, suffix.n), c, suffix);
  if (id != TOK_NONE) known(s, id);
  else if (!(model[TOK_FLAGS] & TOK_BYTE_FALLBACK) || !spell_bytes(s, c, suffix)) unknown(s);
}

static void spell_word(speller *s, tok_text word)
{
  size_t bytes = 1;
  for (size_t i = 0; i < word.n; i += bytes) {
    if (!(s->t->model[TOK_FLAGS] & TOK_BYTE_LEVEL)) tok_decode(word.data + i, word.n - i, &bytes);
    spell(s, (tok_text){word.data + i, bytes}, i + bytes == word.n);
  }
  if (s->unknown) tok_append_id(&s->ids, s->t->model[TOK_UNK]);
}

void tok_bpe(const edgeq_tokenizer *t, tok_text word, tok_ids *out)
{
  if (t->model[TOK_FLAGS] & TOK_IGNORE_MERGES) {
    uint32_t id = tok_find(t, tok_hash(TOK_HASH_START, word.data, word.n), word, (tok_text){"", 0});
    if (id != TOK_NONE) {
      tok_append_id(out, id);
      return;
    }
  }
  int32_t small[SMALL];
  speller s = {t, {small, 0, SMALL, 0}, 0};
  if (word.n * 2 > SMALL) s.ids = (tok_ids){0};
  spell_word(&s, word);
  if (s.ids.failed) out->failed = 1;
  else merge_ids(t, (const uint32_t *)s.ids.data, (uint32_t)s.ids.n, out);
  if (s.ids.data != small) free(s.ids.data);
}
