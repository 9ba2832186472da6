/* The printable characters that stand for bytes in byte-level vocabularies: themselves where printable, else U+0100 on. */
#include "tok.h"

static uint32_t char_of(uint8_t byte)
{
  if (byte < 0x21) return 0x100 + byte;
  if (byte >= 0x7f && byte <= 0xa0) return 0x121 + byte - 0x7f;
  return byte == 0xad ? 0x143 : byte;
}

static int byte_of(uint32_t code)
{
  if (code >= 0x100 && code <= 0x120) return (int)code - 0x100;
  if (code >= 0x121 && code <= 0x142) return (int)code - 0x121 + 0x7f;
  if (code == 0x143) return 0xad;
  return code < 0x100 && char_of((uint8_t)code) == code ? (int)code : -1;
}

void tok_append_byte_chars(tok_bytes *out, tok_text text)
{
  for (size_t i = 0; i < text.n; i++) tok_append_code(out, char_of((uint8_t)text.data[i]));
}

/* Bytes of a token's characters; the token as it is when one of them stands for no byte. */
void tok_append_char_bytes(tok_bytes *out, tok_text token)
{
  size_t bytes, start = out->n;
  for (size_t i = 0; i < token.n; i += bytes) {
    int byte = byte_of(tok_decode(token.data + i, token.n - i, &bytes));
    char c = (char)byte;
    if (byte < 0) {
      out->n = start;
      tok_append(out, token.data, token.n);
      return;
    }
    tok_append(out, &c, 1);
  }
}
