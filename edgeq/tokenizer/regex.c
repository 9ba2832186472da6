/* Patterns of Split and Replace: a small backtracking matcher over instructions made by regex_code.py.
 *
 * Loops are over single characters only and never jump back, so recursion is bounded by the program's length and the
 * time of a match by what the loops read. */
#include "tok.h"

enum { MATCH, CHAR, SET, LOOP, POSSESSIVE, TRY, JUMP, LOOK, BEHIND, EDGE };
enum { LINE_START, LINE_END, TEXT_START, TEXT_END, WORD_EDGE, NO_WORD_EDGE };
typedef struct {
  uint32_t op, a, b, c;
} instruction;

typedef struct {
  const edgeq_tokenizer *t;
  const instruction *code;
  size_t count;
  const char *text;
  size_t n;
} matcher;

static ptrdiff_t run(const matcher *m, size_t pc, size_t at);

static int in_set(const matcher *m, uint32_t mask, size_t at, size_t *bytes)
{
  return at < m->n && tok_is(m->t, mask, tok_decode(m->text + at, m->n - at, bytes));
}

/* As many as there are (at most b's `max`), then fewer while the rest does not match. */
static ptrdiff_t run_loop(const matcher *m, const instruction *i, size_t pc, size_t at)
{
  size_t count = 0, end = at, bytes;
  while (count < i->c && in_set(m, i->a, end, &bytes)) end += bytes, count++;
  if (count < i->b) return -1;
  for (;;) {
    ptrdiff_t found = run(m, pc + 1, end);
    if (found >= 0 || count == i->b || i->op == POSSESSIVE) return found;
    tok_decode_last(m->text + at, end - at, &bytes);
    end -= bytes, count--;
  }
}

static int was_in_set(const matcher *m, uint32_t mask, size_t at)
{
  size_t bytes;
  return at && tok_is(m->t, mask, tok_decode_last(m->text, at, &bytes));
}

/* a: which edge, b: mask of word characters */
static int is_edge(const matcher *m, const instruction *i, size_t at)
{
  size_t bytes;
  int word_edge = was_in_set(m, i->b, at) != in_set(m, i->b, at, &bytes);
  switch (i->a) {
  case LINE_START: return !at || (m->text[at - 1] == '\n' && at < m->n);
  case LINE_END: return at == m->n || m->text[at] == '\n';
  case TEXT_START: return !at;
  case TEXT_END: return at == m->n;
  case WORD_EDGE: return word_edge;
  default: return !word_edge;
  }
}

/* What takes no character: a look ahead (b: 1 when it must not match) or behind (a: mask, b: likewise), an edge. */
static int holds(const matcher *m, const instruction *i, size_t pc, size_t at)
{
  if (i->op == LOOK) return (run(m, pc + 1, at) >= 0) != (i->b != 0);
  if (i->op == BEHIND) return was_in_set(m, i->a, at) != (i->b != 0);
  return is_edge(m, i, at);
}

static ptrdiff_t run(const matcher *m, size_t pc, size_t at)
{
  while (pc < m->count) {
    const instruction *i = &m->code[pc];
    size_t bytes = 0;
    ptrdiff_t found;
    switch (i->op) {
    case MATCH: return (ptrdiff_t)at;
    case CHAR:
      if (at >= m->n || tok_decode(m->text + at, m->n - at, &bytes) != i->a) return -1;
      break;
    case SET:
      if (!in_set(m, i->a, at, &bytes)) return -1;
      break;
    case LOOP:
    case POSSESSIVE: return run_loop(m, i, pc, at);
    case TRY:
      found = run(m, pc + 1, at);
      if (found >= 0) return found;
      pc = i->a;
      continue;
    case JUMP: pc = i->a; continue;
    case LOOK:
    case BEHIND:
    case EDGE:
      if (!holds(m, i, pc, at)) return -1;
      pc = i->op == LOOK ? i->a : pc + 1;
      continue;
    default: return -1;
    }
    at += bytes, pc++;
  }
  return -1;
}

/* Do all jumps lead on? Then every match ends. */
int tok_check_regex(const edgeq_tokenizer *t)
{
  const instruction *code = (const instruction *)t->section[TOK_REGEX].data;
  size_t count = t->section[TOK_REGEX].bytes / sizeof *code;
  for (size_t i = 0; i < count; i++) {
    int jumps = code[i].op == TRY || code[i].op == JUMP || code[i].op == LOOK;
    if (jumps && code[i].a <= i) return 0;
  }
  return 1;
}

ptrdiff_t tok_match(const edgeq_tokenizer *t, uint32_t program, tok_text text, size_t at)
{
  matcher m = {t, (const instruction *)t->section[TOK_REGEX].data, t->section[TOK_REGEX].bytes / sizeof(instruction),
               text.data, text.n};
  return run(&m, program, at);
}
