/* What the runtime prints: %d %i %u %x %c %s %%, with l, ll or z, zeros and a width before numbers, a precision of texts. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  char *out;
  size_t size, length; /* room; what all of the text takes, without the final 0 */
} sink;

typedef struct {
  int zeros, width, precision, words; /* precision -1: none; words: how many l and z precede the conversion */
} field;

static void put(sink *s, char c)
{
  if (s->length + 1 < s->size) s->out[s->length] = c;
  s->length++;
}

static void put_text(sink *s, const char *text, const field *f)
{
  for (int i = 0; text[i] && (f->precision < 0 || i < f->precision); i++) put(s, text[i]);
}

static void put_number(sink *s, uint64_t value, int negative, unsigned base, const field *f)
{
  char digits[20];
  int n = 0;
  do digits[n++] = "0123456789abcdef"[value % base];
  while ((value /= base) != 0);
  int gap = f->width - n - negative;
  for (; gap > 0 && !f->zeros; gap--) put(s, ' ');
  if (negative) put(s, '-');
  for (; gap > 0; gap--) put(s, '0');
  while (n > 0) put(s, digits[--n]);
}

static int read_digits(const char **format)
{
  int value = 0;
  for (; **format >= '0' && **format <= '9'; ++*format) value = 10 * value + **format - '0';
  return value;
}

/* What stands between % and the conversion. */
static field read_field(const char **format, va_list *arguments)
{
  field f = {.precision = -1};
  f.zeros = **format == '0';
  f.width = read_digits(format);
  if (**format == '.') {
    ++*format;
    if (**format == '*') {
      ++*format;
      f.precision = va_arg(*arguments, int);
    } else f.precision = read_digits(format);
  }
  for (; **format == 'l' || **format == 'z'; ++*format) f.words++;
  return f;
}

static void put_signed(sink *s, const field *f, va_list *arguments)
{
  int64_t value = f->words ? va_arg(*arguments, long) : va_arg(*arguments, int);
  put_number(s, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0, 10, f);
}

static void put_unsigned(sink *s, const field *f, unsigned base, va_list *arguments)
{
  put_number(s, f->words ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned), 0, base, f);
}

/* One conversion; `*format` stands at its letter. An unknown one prints itself. */
static void convert(sink *s, const field *f, char letter, va_list *arguments)
{
  switch (letter) {
  case 'd': case 'i': put_signed(s, f, arguments); return;
  case 'u': put_unsigned(s, f, 10, arguments); return;
  case 'x': put_unsigned(s, f, 16, arguments); return;
  case 'c': put(s, (char)va_arg(*arguments, int)); return;
  case 's': put_text(s, va_arg(*arguments, const char *), f); return;
  default: put(s, letter);
  }
}

int vsnprintf(char *out, size_t size, const char *format, va_list given)
{
  sink s = {out, size, 0};
  va_list arguments;
  va_copy(arguments, given);
  while (*format) {
    if (*format != '%') {
      put(&s, *format++);
      continue;
    }
    format++;
    field f = read_field(&format, &arguments);
    convert(&s, &f, *format, &arguments);
    if (*format) format++;
  }
  va_end(arguments);
  if (size) out[s.length < size ? s.length : size - 1] = 0;
  return (int)s.length;
}

int snprintf(char *out, size_t size, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(out, size, format, arguments);
  va_end(arguments);
  return length;
}
