/* Replace: every match of a pattern by a text. args: program (TOK_NONE: plain text), plain text, its bytes, content, its bytes. */
#include "tok.h"

static size_t match_bytes(const edgeq_tokenizer *t, uint32_t program, tok_text plain, tok_text text, size_t at)
{
  if (program == TOK_NONE) return plain.n && text.n - at >= plain.n && !memcmp(text.data + at, plain.data, plain.n) ? plain.n : 0;
  ptrdiff_t end = tok_match(t, program, text, at);
  return end > (ptrdiff_t)at ? (size_t)end - at : 0;
}

void tok_replace(const edgeq_tokenizer *t, const uint32_t *args, tok_text text, tok_bytes *out)
{
  tok_text plain = tok_string(t, args[1], args[2]), content = tok_string(t, args[3], args[4]);
  size_t bytes;
  for (size_t at = 0; at < text.n; at += bytes) {
    if ((bytes = match_bytes(t, args[0], plain, text, at))) {
      tok_append(out, content.data, content.n);
    } else {
      tok_decode(text.data + at, text.n - at, &bytes);
      tok_append(out, text.data + at, bytes);
    }
  }
}
