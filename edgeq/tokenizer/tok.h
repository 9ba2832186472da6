/* What the tokenizer's files know of each other; each includes this first. Nothing here is exported. */
#ifndef EDGEQ_TOK_H
#define EDGEQ_TOK_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer.h"

enum { TOK_OK = 0, TOK_MEMORY = 1, TOK_USAGE = 2, TOK_DAMAGED = 6 };
#define TOK_NONE 0xffffffffu
#define TOK_ARGUMENTS 9 /* of every operation */
#define TOK_REPLACEMENT "\xef\xbf\xbd"

/* ---- the blob: blob.c here, blob.py at the other end ---- */
#define TOK_MAGIC "EQTOKEN"
#define TOK_VERSION 1
typedef enum {
  TOK_MODEL,         /* u32: enum below */
  TOK_PAGE_INDEX,    /* u16: page of each block of code points */
  TOK_PAGES,         /* u8: kind of each code point of a page */
  TOK_MASKS,         /* 32 bytes a predicate: bit k: kind k fulfils it */
  TOK_NORMALIZERS,   /* u32 programs: operation, number of arguments, arguments */
  TOK_SPLITTERS,
  TOK_DECODERS,
  TOK_TEMPLATE,      /* u32: ids in front, then ids behind */
  TOK_REGEX,         /* u32 x 4: instruction */
  TOK_STRINGS,       /* text of operations' arguments */
  TOK_TOKEN_OFFSETS, /* u32 */
  TOK_TOKEN_BYTES,
  TOK_LITERALS,      /* u32: ids whose text is stored, ascending; empty: all */
  TOK_MERGES,        /* pairs of ids by rank, u16 or u32 */
  TOK_MERGE_IDS,     /* u32: what each merge makes; empty: first_merged + rank */
  TOK_MERGE_SLOTS,   /* u16 or u32: rank by hash of the pair */
  TOK_VOCAB_SLOTS,   /* u32: id by hash of the text: 8 bits of the hash, 24 of the id */
  TOK_LONGEST,       /* u8[256]: bytes of the longest token that begins with this byte, 255: that or more */
  TOK_BYTES,         /* u32[256]: id of each byte (byte-level: its symbol; else <0xXX>) */
  TOK_LAST_BYTES,    /* u32[256]: byte-level, the same with the end-of-word suffix */
  TOK_SCORES,        /* f64 */
  TOK_ADDED,         /* tok_added, by id */
  TOK_ADDED_ORDER,   /* u32: items of TOK_ADDED by text, first those matched before normalization */
  TOK_MAPS,          /* u32: code point, offset in TOK_STRINGS, bytes; ascending */
  TOK_CCC,           /* u32: code point, combining class; ascending */
  TOK_COMPOSE,       /* u32: first, second, composite; ascending */
  TOK_CHARSMAP,      /* u32: units of sentencepiece's double-array trie, its texts are in TOK_STRINGS */
  TOK_SECTIONS
} tok_section_id;

enum { /* words of TOK_MODEL */
  TOK_KIND, TOK_VOCAB, TOK_UNK, TOK_FLAGS, TOK_MAX_CHARS, TOK_PREFIX, TOK_PREFIX_BYTES, TOK_SUFFIX, TOK_SUFFIX_BYTES,
  TOK_FIRST_MERGED, TOK_BLOCK_SHIFT, TOK_FRONT, TOK_RAW_ORDER, TOK_WIDE_IDS, TOK_WIDE_RANKS, TOK_SPACE_MASK, TOK_WORD_MASK,
  TOK_MODEL_WORDS
};
enum { TOK_BPE, TOK_WORDPIECE, TOK_UNIGRAM, TOK_WORDLEVEL };
enum { TOK_BYTE_LEVEL = 1, TOK_BYTE_FALLBACK = 2, TOK_FUSE_UNK = 4, TOK_IGNORE_MERGES = 8 };

typedef struct {
  const uint8_t *data;
  size_t bytes;
} tok_section;

typedef struct {
  const char *data;
  size_t n;
} tok_text;

struct edgeq_tokenizer {
  tok_section section[TOK_SECTIONS];
  const uint32_t *model;
  uint32_t merges, merge_slots, vocab_slots, added, masks;
};

typedef struct {
  uint32_t id, flags, offset, bytes; /* text as it is matched, in TOK_STRINGS */
} tok_added;
enum { TOK_SPECIAL = 1, TOK_SINGLE_WORD = 2, TOK_LSTRIP = 4, TOK_RSTRIP = 8, TOK_SKIPPED = 16 };

static inline const uint32_t *tok_words(const edgeq_tokenizer *t, tok_section_id id)
{
  return (const uint32_t *)t->section[id].data;
}
static inline size_t tok_count(const edgeq_tokenizer *t, tok_section_id id) { return t->section[id].bytes / 4; }
tok_text tok_string(const edgeq_tokenizer *t, uint32_t offset, uint32_t bytes);

/* ---- buffers.c: once memory is out, a buffer takes no more and says so ---- */
typedef struct {
  char *data;
  size_t n, room;
  int failed;
} tok_bytes;

typedef struct {
  size_t start, n;
  size_t origin; /* of these n bytes, the first `origin` stand for the first character of the whole text */
  int32_t id;    /* an added token, -1: text */
} tok_piece;

typedef struct {
  tok_piece *data;
  size_t n, room;
  int failed;
} tok_pieces;

typedef struct {
  int32_t *data;
  size_t n, room;
  int failed;
} tok_ids;

void *tok_grow(void *data, size_t *room, size_t need, size_t item);
void tok_append(tok_bytes *out, const char *data, size_t n);
void tok_append_piece(tok_pieces *out, tok_piece piece);
void tok_append_id(tok_ids *out, uint32_t id);

/* ---- utf8.c ---- */
void tok_sanitize(tok_bytes *out, const char *text, size_t n); /* appends, each ill-formed sequence as U+FFFD */
void tok_append_code(tok_bytes *out, uint32_t code);
uint32_t tok_decode_last(const char *text, size_t n, size_t *bytes); /* of well-formed text, n > 0 */

/* First code point of well-formed text, n > 0. */
static inline uint32_t tok_decode(const char *text, size_t n, size_t *bytes)
{
  const uint8_t *p = (const uint8_t *)text;
  *bytes = 1;
  if (p[0] < 0x80 || n < 2) return p[0];
  if (p[0] < 0xe0 || n < 3) return *bytes = 2, (uint32_t)(p[0] & 31) << 6 | (p[1] & 63);
  if (p[0] < 0xf0 || n < 4) return *bytes = 3, (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6 | (p[2] & 63);
  *bytes = 4;
  return (uint32_t)(p[0] & 7) << 18 | (uint32_t)(p[1] & 63) << 12 | (uint32_t)(p[2] & 63) << 6 | (p[3] & 63);
}

/* ---- bytechars.c ---- */
void tok_append_byte_chars(tok_bytes *out, tok_text text);
void tok_append_char_bytes(tok_bytes *out, tok_text token);

/* ---- kinds: every predicate of this tokenizer is a set of kinds of code points ---- */
static inline uint8_t tok_kind(const edgeq_tokenizer *t, uint32_t code)
{
  uint32_t shift = t->model[TOK_BLOCK_SHIFT];
  const uint16_t *index = (const uint16_t *)t->section[TOK_PAGE_INDEX].data;
  return t->section[TOK_PAGES].data[((size_t)index[code >> shift] << shift) + (code & ((1u << shift) - 1))];
}
static inline int tok_is(const edgeq_tokenizer *t, uint32_t mask, uint32_t code)
{
  uint8_t kind = tok_kind(t, code);
  return mask < t->masks && t->section[TOK_MASKS].data[(size_t)mask * 32 + kind / 8] >> (kind % 8) & 1;
}

/* ---- vocabulary.c ---- */
#define TOK_HASH_START 0x811c9dc5u
static inline uint32_t tok_hash_byte(uint32_t hash, uint8_t byte) { return (hash ^ byte) * 0x01000193u; }
uint32_t tok_hash(uint32_t hash, const char *text, size_t n);
uint32_t tok_find(const edgeq_tokenizer *t, uint32_t hash, tok_text a, tok_text b); /* id of the text a + b, TOK_NONE */
void tok_token_text(const edgeq_tokenizer *t, uint32_t id, tok_bytes *out);         /* appends */

/* ---- regex.c: end of the match at `at`, or -1 ---- */
int tok_check_regex(const edgeq_tokenizer *t);
ptrdiff_t tok_match(const edgeq_tokenizer *t, uint32_t program, tok_text text, size_t at);

/* ---- steps: added.c, normalize.c, compose.c, charsmap.c, split.c, the models, decode.c ---- */
typedef struct {
  tok_bytes text, spare;     /* the text of all pieces, and room for the next */
  tok_pieces pieces, next;
} tok_work;

tok_piece tok_slice(tok_piece piece, size_t start, size_t end); /* offsets inside the piece */
void tok_split_added(const edgeq_tokenizer *t, tok_work *w, int normalized, int flags);
void tok_normalize(const edgeq_tokenizer *t, tok_work *w);
void tok_reorder(const edgeq_tokenizer *t, const char *text, size_t n, tok_bytes *out);
void tok_compose(const edgeq_tokenizer *t, const char *text, size_t n, tok_bytes *out);
void tok_charsmap(const edgeq_tokenizer *t, const uint32_t *args, const char *text, size_t n, tok_bytes *out);
void tok_split(const edgeq_tokenizer *t, tok_work *w);
void tok_bpe(const edgeq_tokenizer *t, tok_text word, tok_ids *out);
void tok_wordpiece(const edgeq_tokenizer *t, tok_text word, tok_ids *out);
void tok_unigram(const edgeq_tokenizer *t, tok_text word, tok_ids *out);
void tok_replace(const edgeq_tokenizer *t, const uint32_t *args, tok_text text, tok_bytes *out);

static inline void tok_swap_text(tok_work *w)
{
  tok_bytes text = w->text;
  w->text = w->spare, w->spare = text, w->spare.n = 0;
}
static inline void tok_swap_pieces(tok_work *w)
{
  tok_pieces pieces = w->pieces;
  w->pieces = w->next, w->next = pieces, w->next.n = 0;
}
#endif
