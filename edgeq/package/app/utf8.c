/* UTF-8, as far as a program needs it that hands texts on. */
#include <string.h>

#include "parts.h"

/* The character at `text`, its bytes in *bytes; -1 where no character begins (RFC 3629). */
static int32_t decode(const unsigned char *text, size_t room, size_t *bytes)
{
  static const int32_t LEAST[5] = {0, 0, 0x80, 0x800, 0x10000};
  unsigned char c = text[0];
  size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
  *bytes = 1;
  if (n == 1) return c;
  if (c < 0xc2 || c > 0xf4 || n > room) return -1;
  int32_t value = c & (0x7f >> n);
  for (size_t i = 1; i < n; i++) {
    if ((text[i] & 0xc0) != 0x80) return -1;
    value = value << 6 | (text[i] & 0x3f);
  }
  if (value < LEAST[n] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return -1;
  *bytes = n;
  return value;
}

/* Python's str.isspace. */
static int is_space(int32_t c)
{
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static size_t last_character(edgeq_app_span text)
{
  size_t at = text.bytes - 1;
  while (at && ((unsigned char)text.data[at] & 0xc0) == 0x80) at--;
  return at;
}

edgeq_app_span edgeq_app_strip(edgeq_app_span text, int sides)
{
  size_t n;
  while ((sides & EDGEQ_APP_LEFT) && text.bytes && is_space(decode((const unsigned char *)text.data, text.bytes, &n))) {
    text.data += n;
    text.bytes -= n;
  }
  while ((sides & EDGEQ_APP_RIGHT) && text.bytes) {
    size_t at = last_character(text);
    if (!is_space(decode((const unsigned char *)text.data + at, text.bytes - at, &n))) break;
    text.bytes = at;
  }
  return text;
}

edgeq_app_span edgeq_app_strip_newlines(edgeq_app_span text)
{
  while (text.bytes && *text.data == '\n') {
    text.data++;
    text.bytes--;
  }
  return text;
}

size_t edgeq_app_skip_characters(const char *text, size_t bytes, size_t count)
{
  size_t at = 0;
  while (at < bytes && (count || ((unsigned char)text[at] & 0xc0) == 0x80))
    if (((unsigned char)text[at++] & 0xc0) != 0x80) count--;
  return at;
}

size_t edgeq_app_count_characters(const char *text, size_t bytes)
{
  size_t count = 0;
  for (size_t i = 0; i < bytes; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
  return count;
}

int edgeq_app_check_utf8(const edgeq_app *app, const char *what, const char *text, size_t bytes)
{
  for (size_t at = 0, n; at < bytes; at += n)
    if (decode((const unsigned char *)text + at, bytes - at, &n) < 0)
      return edgeq_app_fail(app, EDGEQ_USAGE, "%s is no UTF-8 text (byte %zu): convert it, for example with iconv", what, at);
  return EDGEQ_OK;
}
