/* Growable buffers of bytes, pieces and ids. */
#include "tok.h"

/* `data` with room for `need` items, or NULL: then it is as it was. */
void *tok_grow(void *data, size_t *room, size_t need, size_t item)
{
  if (need <= *room) return data;
  size_t more = *room < 32 ? 64 : *room * 2;
  if (more < need) more = need;
  if (more > SIZE_MAX / item) return NULL;
  void *grown = realloc(data, more * item);
  if (grown) *room = more;
  return grown;
}

#define RESERVE(out, more)                                                                \
  do {                                                                                    \
    void *grown = (out)->failed || (more) > SIZE_MAX - (out)->n                           \
                    ? NULL                                                                \
                    : tok_grow((out)->data, &(out)->room, (out)->n + (more), sizeof *(out)->data); \
    if (!grown) {                                                                         \
      (out)->failed = 1;                                                                  \
      return;                                                                             \
    }                                                                                     \
    (out)->data = grown;                                                                  \
  } while (0)

void tok_append(tok_bytes *out, const char *data, size_t n)
{
  if (!n) return;
  RESERVE(out, n);
  memcpy(out->data + out->n, data, n);
  out->n += n;
}

void tok_append_piece(tok_pieces *out, tok_piece piece)
{
  RESERVE(out, 1);
  out->data[out->n++] = piece;
}

void tok_append_id(tok_ids *out, uint32_t id)
{
  RESERVE(out, 1);
  out->data[out->n++] = (int32_t)id;
}
