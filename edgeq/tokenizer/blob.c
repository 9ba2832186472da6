/* Opens a blob: the header, and that what one section says fits the others, so that no later step reads outside. */
#include "tok.h"

typedef struct {
  char magic[8];
  uint32_t version, sections;
  uint64_t bytes;
  struct {
    uint32_t offset, bytes;
  } section[TOK_SECTIONS];
} header;

static int read_sections(edgeq_tokenizer *t, const uint8_t *blob, size_t bytes)
{
  const header *h = (const header *)blob;
  if (bytes < sizeof *h || memcmp(h->magic, TOK_MAGIC, sizeof h->magic) || h->version != TOK_VERSION) return 0;
  if (h->sections != TOK_SECTIONS || h->bytes > bytes) return 0;
  for (int i = 0; i < TOK_SECTIONS; i++) {
    size_t offset = h->section[i].offset, n = h->section[i].bytes;
    if (offset % 64 || offset > bytes || n > bytes - offset) return 0;
    t->section[i] = (tok_section){blob + offset, n};
  }
  return 1;
}

/* Each operation is its number, the number of its arguments, the arguments. */
static int check_program(const edgeq_tokenizer *t, tok_section_id id)
{
  const uint32_t *code = tok_words(t, id);
  size_t n = tok_count(t, id), at = 0;
  while (at < n) {
    if (n - at < 2 || code[at + 1] < TOK_ARGUMENTS || code[at + 1] > n - at - 2) return 0;
    at += 2 + code[at + 1];
  }
  return 1;
}

static int check_kinds(const edgeq_tokenizer *t)
{
  const uint16_t *index = (const uint16_t *)t->section[TOK_PAGE_INDEX].data;
  uint32_t shift = t->model[TOK_BLOCK_SHIFT];
  if (shift < 4 || shift > 12 || t->section[TOK_PAGE_INDEX].bytes < ((0x110000u >> shift) * 2)) return 0;
  for (size_t i = 0; i < 0x110000u >> shift; i++)
    if (((size_t)index[i] + 1) << shift > t->section[TOK_PAGES].bytes) return 0;
  return 1;
}

static int check_tokens(const edgeq_tokenizer *t)
{
  const uint32_t *offset = tok_words(t, TOK_TOKEN_OFFSETS);
  size_t count = tok_count(t, TOK_TOKEN_OFFSETS), stored = tok_count(t, TOK_LITERALS);
  if (!stored) stored = t->model[TOK_VOCAB];
  if (count != stored + 1 || offset[count - 1] > t->section[TOK_TOKEN_BYTES].bytes) return 0;
  for (size_t i = 0; i + 1 < count; i++)
    if (offset[i] > offset[i + 1]) return 0;
  return 1;
}

static int check_sizes(const edgeq_tokenizer *t)
{
  const tok_section *s = t->section;
  size_t ids = s[TOK_MERGE_IDS].bytes / 4;
  int byte_level = (t->model[TOK_FLAGS] & TOK_BYTE_LEVEL) != 0;
  if (ids && ids != t->merges) return 0;
  if (s[TOK_BYTES].bytes != 1024 || s[TOK_LONGEST].bytes != 256) return 0;
  if (byte_level && t->model[TOK_SUFFIX_BYTES] && s[TOK_LAST_BYTES].bytes != 1024) return 0;
  if (t->model[TOK_KIND] == TOK_UNIGRAM && s[TOK_SCORES].bytes < 8) return 0;
  return t->model[TOK_RAW_ORDER] <= tok_count(t, TOK_ADDED_ORDER);
}

static int check_references(const edgeq_tokenizer *t)
{
  for (size_t i = 0; i < tok_count(t, TOK_ADDED_ORDER); i++)
    if (tok_words(t, TOK_ADDED_ORDER)[i] >= t->added) return 0;
  const uint32_t *code = tok_words(t, TOK_NORMALIZERS);
  for (size_t at = 0; at < tok_count(t, TOK_NORMALIZERS); at += 2 + code[at + 1]) {
    const uint32_t *args = code + at + 2; /* a map's items */
    if (code[at] == 1 && ((uint64_t)args[1] + args[2]) * 12 > t->section[TOK_MAPS].bytes) return 0;
  }
  return 1;
}

static int check(edgeq_tokenizer *t)
{
  if (t->section[TOK_MODEL].bytes < TOK_MODEL_WORDS * 4) return 0;
  t->model = tok_words(t, TOK_MODEL);
  t->merges = (uint32_t)(t->section[TOK_MERGES].bytes / (t->model[TOK_WIDE_IDS] ? 8 : 4));
  t->merge_slots = (uint32_t)(t->section[TOK_MERGE_SLOTS].bytes / (t->model[TOK_WIDE_RANKS] ? 4 : 2));
  t->vocab_slots = (uint32_t)tok_count(t, TOK_VOCAB_SLOTS);
  t->added = (uint32_t)(t->section[TOK_ADDED].bytes / sizeof(tok_added));
  t->masks = (uint32_t)(t->section[TOK_MASKS].bytes / 32);
  return check_kinds(t) && check_tokens(t) && check_sizes(t) && check_program(t, TOK_NORMALIZERS) &&
         check_program(t, TOK_SPLITTERS) && check_program(t, TOK_DECODERS) && check_references(t) && tok_check_regex(t);
}

int edgeq_tokenizer_open(const void *blob, size_t bytes, edgeq_tokenizer **out)
{
  *out = NULL;
  if (!blob || (uintptr_t)blob % 64) return TOK_USAGE;
  edgeq_tokenizer *t = calloc(1, sizeof *t);
  if (!t) return TOK_MEMORY;
  if (!read_sections(t, blob, bytes) || !check(t)) {
    free(t);
    return TOK_DAMAGED;
  }
  *out = t;
  return TOK_OK;
}

void edgeq_tokenizer_close(edgeq_tokenizer *t) { free(t); }
