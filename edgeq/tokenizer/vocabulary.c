/* Token texts and the hash table that finds them. */
#include "tok.h"

/* Of a token made of tokens; vocabulary.py stores texts of deeper or longer ones as they are. */
#define MAX_DEPTH 40
#define MAX_PARTS 2048

uint32_t tok_hash(uint32_t hash, const char *text, size_t n)
{
  for (size_t i = 0; i < n; i++) hash = tok_hash_byte(hash, (uint8_t)text[i]);
  return hash;
}

tok_text tok_string(const edgeq_tokenizer *t, uint32_t offset, uint32_t bytes)
{
  const tok_section *s = &t->section[TOK_STRINGS];
  if (offset > s->bytes || bytes > s->bytes - offset) return (tok_text){"", 0};
  return (tok_text){(const char *)s->data + offset, bytes};
}

static tok_text stored(const edgeq_tokenizer *t, size_t item)
{
  const uint32_t *offset = tok_words(t, TOK_TOKEN_OFFSETS);
  if (item + 1 >= tok_count(t, TOK_TOKEN_OFFSETS)) return (tok_text){"", 0};
  return (tok_text){(const char *)t->section[TOK_TOKEN_BYTES].data + offset[item], offset[item + 1] - offset[item]};
}

/* Where the id stands among the literals; their number when it does not. */
static size_t literal(const edgeq_tokenizer *t, uint32_t id)
{
  const uint32_t *ids = tok_words(t, TOK_LITERALS);
  size_t low = 0, count = tok_count(t, TOK_LITERALS), high = count;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (ids[mid] < id) low = mid + 1;
    else high = mid;
  }
  return low < count && ids[low] == id ? low : count;
}

static uint32_t side(const edgeq_tokenizer *t, uint32_t rank, int right)
{
  const uint8_t *pairs = t->section[TOK_MERGES].data;
  size_t i = (size_t)rank * 2 + (size_t)right;
  return t->model[TOK_WIDE_IDS] ? ((const uint32_t *)pairs)[i] : ((const uint16_t *)pairs)[i];
}

/* The text of a merged token is the text of its two sides. */
static void expand(const edgeq_tokenizer *t, uint32_t id, tok_bytes *out)
{
  uint32_t stack[MAX_DEPTH + 2], first = t->model[TOK_FIRST_MERGED];
  size_t n = 0, literals = tok_count(t, TOK_LITERALS), item;
  stack[n++] = id;
  for (int parts = 0; n && parts < MAX_PARTS; parts++) {
    id = stack[--n];
    if ((item = literal(t, id)) < literals) {
      tok_text text = stored(t, item);
      tok_append(out, text.data, text.n);
    } else if (id >= first && id - first < t->merges && n < MAX_DEPTH) {
      stack[n++] = side(t, id - first, 1);
      stack[n++] = side(t, id - first, 0);
    }
  }
}

void tok_token_text(const edgeq_tokenizer *t, uint32_t id, tok_bytes *out)
{
  if (id >= t->model[TOK_VOCAB]) return;
  if (t->section[TOK_LITERALS].bytes) {
    expand(t, id, out);
    return;
  }
  tok_text text = stored(t, id);
  tok_append(out, text.data, text.n);
}

static int equals(tok_text text, tok_text a, tok_text b)
{
  return text.n == a.n + b.n && (!a.n || !memcmp(text.data, a.data, a.n)) &&
         (!b.n || !memcmp(text.data + a.n, b.data, b.n));
}

static int token_is(const edgeq_tokenizer *t, uint32_t id, tok_text a, tok_text b)
{
  if (id >= t->model[TOK_VOCAB]) return 0;
  if (!t->section[TOK_LITERALS].bytes) return equals(stored(t, id), a, b);
  tok_bytes text = {0};
  expand(t, id, &text);
  int same = equals((tok_text){text.data, text.n}, a, b);
  free(text.data);
  return same;
}

uint32_t tok_find(const edgeq_tokenizer *t, uint32_t hash, tok_text a, tok_text b)
{
  const uint32_t *slots = tok_words(t, TOK_VOCAB_SLOTS);
  if (!t->vocab_slots) return TOK_NONE;
  uint32_t at = (uint32_t)((uint64_t)hash * t->vocab_slots >> 32);
  for (uint32_t probes = 0; probes < t->vocab_slots && slots[at] != TOK_NONE; probes++) {
    uint32_t id = slots[at] & 0xffffff;
    if (slots[at] >> 24 == (hash & 0xff) && token_is(t, id, a, b)) return id;
    if (++at == t->vocab_slots) at = 0;
  }
  return TOK_NONE;
}
