/* Ids to text: the tokens' texts through the decoders, in the order of `tokenizers`. */
#include "tok.h"

enum { BYTE_LEVEL, WORDPIECE, METASPACE, BYTE_FALLBACK, FUSE, STRIP, REPLACE, SUFFIX, SPACES, CHAR_BYTES };

typedef struct {
  const edgeq_tokenizer *t;
  const uint32_t *args;
  int flags;
  tok_work w;
} decoder;

static tok_text token(const decoder *d, size_t i)
{
  return (tok_text){d->w.text.data + d->w.pieces.data[i].start, d->w.pieces.data[i].n};
}

static void end_token(decoder *d, size_t start)
{
  tok_append_piece(&d->w.next, (tok_piece){start, d->w.spare.n - start, 0, -1});
}

static void put(decoder *d, tok_text text) { tok_append(&d->w.spare, text.data, text.n); }

/* All tokens as one; bytes that are no UTF-8 become U+FFFD unless the caller keeps them. */
static void join(decoder *d, int repair)
{
  size_t n = d->w.pieces.n;
  tok_bytes all = {0};
  tok_bytes *to = repair ? &all : &d->w.spare;
  for (size_t i = 0; i < n; i++) tok_append(to, token(d, i).data, token(d, i).n);
  if (repair) tok_sanitize(&d->w.spare, all.data, all.n);
  d->w.spare.failed |= all.failed;
  free(all.data);
  end_token(d, 0);
}

static int begins(tok_text text, size_t at, tok_text with)
{
  return text.n - at >= with.n && !memcmp(text.data + at, with.data, with.n);
}

static void replace(tok_text text, tok_text from, tok_text to, tok_bytes *out)
{
  for (size_t i = 0; i < text.n;) {
    int found = from.n && begins(text, i, from);
    if (found) tok_append(out, to.data, to.n);
    else tok_append(out, text.data + i, 1);
    i += found ? from.n : 1;
  }
}

static const char *const CLEANUP[][2] = {
  {" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
  {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

/* The token at `start` of the spare text without spaces before punctuation. */
static void clean_up(decoder *d, size_t start)
{
  tok_bytes *text = &d->w.spare, other = {0};
  for (size_t i = 0; i < sizeof CLEANUP / sizeof *CLEANUP; i++) {
    const char *from = CLEANUP[i][0], *to = CLEANUP[i][1];
    other.n = 0;
    replace((tok_text){text->data + start, text->n - start}, (tok_text){from, strlen(from)}, (tok_text){to, strlen(to)}, &other);
    if (other.failed) break;
    text->n = start;
    tok_append(text, other.data, other.n);
  }
  text->failed |= other.failed;
  free(other.data);
}

/* args: prefix of tokens that continue a word, its bytes, whether to clean up. */
static void wordpiece(decoder *d, tok_text text, size_t i)
{
  tok_text prefix = tok_string(d->t, d->args[0], d->args[1]);
  size_t start = d->w.spare.n;
  if (i && begins(text, 0, prefix)) text.data += prefix.n, text.n -= prefix.n;
  else if (i) put(d, (tok_text){" ", 1});
  put(d, text);
  if (d->args[2] && d->w.spare.n > start) clean_up(d, start);
}

/* args: mark, its bytes, whether the first token's marks vanish. */
static void metaspace(decoder *d, tok_text text, size_t i)
{
  tok_text space = {" ", !(i == 0 && d->args[2])};
  replace(text, tok_string(d->t, d->args[0], d->args[1]), space, &d->w.spare);
}

/* args: character, its bytes, how many at most in front, how many behind. */
static void strip(decoder *d, tok_text text)
{
  tok_text c = tok_string(d->t, d->args[0], d->args[1]);
  for (uint32_t n = 0; n < d->args[2] && text.n && begins(text, 0, c); n++) text.data += c.n, text.n -= c.n;
  for (uint32_t n = 0; n < d->args[3] && text.n >= c.n && begins(text, text.n - c.n, c); n++) text.n -= c.n;
  put(d, text);
}

static void suffix(decoder *d, tok_text text, size_t i)
{
  tok_text space = {" ", i + 1 < d->w.pieces.n};
  replace(text, tok_string(d->t, d->args[0], d->args[1]), space, &d->w.spare);
}

static void each_token(decoder *d, uint32_t op)
{
  for (size_t i = 0; i < d->w.pieces.n; i++) {
    size_t start = d->w.spare.n;
    tok_text text = token(d, i);
    switch (op) {
    case WORDPIECE: wordpiece(d, text, i); break;
    case METASPACE: metaspace(d, text, i); break;
    case STRIP: strip(d, text); break;
    case REPLACE: tok_replace(d->t, d->args, text, &d->w.spare); break;
    case SUFFIX: suffix(d, text, i); break;
    case CHAR_BYTES: tok_append_char_bytes(&d->w.spare, text); break;
    case SPACES:
      if (i) put(d, (tok_text){" ", 1});
      put(d, text);
      break;
    }
    end_token(d, start);
  }
}

static int hex(char c)
{
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a token like <0x0A> stands for, or -1. Rust's parser takes "+A" for a number too. */
static int byte_of(tok_text text)
{
  if (text.n != 6 || memcmp(text.data, "<0x", 3) || text.data[5] != '>') return -1;
  int high = text.data[3] == '+' ? 0 : hex(text.data[3]), low = hex(text.data[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A run of byte tokens: its text when it is UTF-8, else U+FFFD for each byte. */
static void end_run(decoder *d, const tok_bytes *run)
{
  size_t start = d->w.spare.n;
  if (!run->n) return;
  tok_bytes repaired = {0};
  tok_sanitize(&repaired, run->data, run->n);
  int good = repaired.n == run->n && !memcmp(repaired.data, run->data, run->n);
  d->w.spare.failed |= repaired.failed;
  free(repaired.data);
  if (good || d->flags & EDGEQ_KEEP_BYTES) put(d, (tok_text){run->data, run->n});
  for (size_t i = 0; i < run->n && !(good || d->flags & EDGEQ_KEEP_BYTES); i++) put(d, (tok_text){TOK_REPLACEMENT, 3});
  end_token(d, start);
}

static void byte_fallback(decoder *d)
{
  tok_bytes run = {0};
  for (size_t i = 0; i < d->w.pieces.n; i++) {
    tok_text text = token(d, i);
    int byte = byte_of(text);
    char c = (char)byte;
    if (byte >= 0) {
      tok_append(&run, &c, 1);
      continue;
    }
    end_run(d, &run);
    run.n = 0;
    size_t start = d->w.spare.n;
    put(d, text);
    end_token(d, start);
  }
  end_run(d, &run);
  d->w.spare.failed |= run.failed;
  free(run.data);
}

static void apply(decoder *d, uint32_t op)
{
  if (op == BYTE_LEVEL) join(d, !(d->flags & EDGEQ_KEEP_BYTES));
  else if (op == FUSE) join(d, 0);
  else if (op == BYTE_FALLBACK) byte_fallback(d);
  else each_token(d, op);
}

static int is_special(const edgeq_tokenizer *t, uint32_t id)
{
  const tok_added *added = (const tok_added *)t->section[TOK_ADDED].data;
  uint32_t low = 0, high = t->added;
  while (low < high) {
    uint32_t mid = low + (high - low) / 2;
    if (added[mid].id < id) low = mid + 1;
    else high = mid;
  }
  return low < t->added && added[low].id == id && (added[low].flags & TOK_SKIPPED);
}

static void collect(decoder *d, const int32_t *ids, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    size_t start = d->w.text.n;
    if (ids[i] < 0 || (uint32_t)ids[i] >= d->t->model[TOK_VOCAB]) continue;
    if ((d->flags & EDGEQ_SKIP_SPECIAL) && is_special(d->t, (uint32_t)ids[i])) continue;
    tok_token_text(d->t, (uint32_t)ids[i], &d->w.text);
    tok_append_piece(&d->w.pieces, (tok_piece){start, d->w.text.n - start, 0, -1});
  }
}

static int failed(const tok_work *w) { return w->text.failed | w->spare.failed | w->pieces.failed | w->next.failed; }

ptrdiff_t edgeq_detokenize(const edgeq_tokenizer *t, const int32_t *ids, size_t n, int flags, char *text, size_t room)
{
  decoder d = {.t = t, .flags = flags};
  if (!t || (!ids && n)) return -TOK_USAGE;
  collect(&d, ids, n);
  const uint32_t *code = tok_words(t, TOK_DECODERS), *end = code + tok_count(t, TOK_DECODERS);
  for (; code < end && !failed(&d.w); code += 2 + code[1]) {
    d.args = code + 2;
    apply(&d, code[0]);
    tok_swap_text(&d.w);
    tok_swap_pieces(&d.w);
  }
  ptrdiff_t bytes = failed(&d.w) ? -TOK_MEMORY : (ptrdiff_t)d.w.text.n;
  if (bytes > 0 && room) memcpy(text, d.w.text.data, d.w.text.n < room ? d.w.text.n : room);
  free(d.w.text.data);
  free(d.w.spare.data);
  free(d.w.pieces.data);
  free(d.w.next.data);
  return bytes;
}
