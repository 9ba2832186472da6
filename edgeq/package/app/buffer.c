/* Texts that grow. */
#include <stdlib.h>
#include <string.h>

#include "parts.h"

void *edgeq_app_grow(void *data, size_t bytes)
{
  void *grown = realloc(data, bytes);
  if (grown) return grown;
  fputs("error: out of memory\n", stderr);
  exit(EDGEQ_FAILED);
}

static void make_room(edgeq_app_buffer *to, size_t bytes)
{
  if (to->bytes + bytes < to->room) return;
  to->room = (to->bytes + bytes) * 2 + 64;
  to->data = edgeq_app_grow(to->data, to->room);
}

void edgeq_app_add(edgeq_app_buffer *to, const char *text, size_t bytes)
{
  make_room(to, bytes);
  if (bytes) memcpy(to->data + to->bytes, text, bytes);
  to->bytes += bytes;
  to->data[to->bytes] = 0;
}

void edgeq_app_add_text(edgeq_app_buffer *to, const char *text) { edgeq_app_add(to, text, strlen(text)); }

void edgeq_app_read_all(edgeq_app_buffer *to, FILE *from)
{
  char part[4096];
  for (size_t n; (n = fread(part, 1, sizeof part, from));) edgeq_app_add(to, part, n);
}

int edgeq_app_read_line(edgeq_app_buffer *to, FILE *from)
{
  int c, any = 0;
  to->bytes = 0;
  edgeq_app_add(to, "", 0);
  while ((c = getc(from)) != EOF && c != '\n') {
    char byte = (char)c;
    edgeq_app_add(to, &byte, 1);
    any = 1;
  }
  if (to->bytes && to->data[to->bytes - 1] == '\r') to->data[--to->bytes] = 0;
  return any || c == '\n';
}

void edgeq_app_drop(edgeq_app_buffer *text)
{
  free(text->data);
  *text = (edgeq_app_buffer){0};
}
