/* Renders conversations with the packaged program's code. argv[1]: a file of facts. stdin: records of u32 count, then of each
 * text u32 bytes and the bytes; the first is the system message. stdout: i32 status, u32 bytes, the bytes. */
#include <stdlib.h>

#include "talk.h"

const char *edgeq_error(const edgeq_context *ctx) { return ctx ? "" : "closed"; }

static int read_text(edgeq_app_buffer *text)
{
  uint32_t bytes;
  if (fread(&bytes, 4, 1, stdin) != 1) return 0;
  char *data = edgeq_app_grow(NULL, bytes + 1);
  size_t n = fread(data, 1, bytes, stdin);
  edgeq_app_add(text, data, n);
  free(data);
  return n == bytes;
}

static void answer(const edgeq_app *app, const edgeq_app_conversation *talk)
{
  edgeq_app_buffer out = {0};
  int32_t status = edgeq_app_render(app, talk, &out);
  uint32_t bytes = (uint32_t)out.bytes;
  fwrite(&status, 4, 1, stdout);
  fwrite(&bytes, 4, 1, stdout);
  if (bytes) fwrite(out.data, 1, bytes, stdout);
  edgeq_app_drop(&out);
}

int main(int argc, char **argv)
{
  edgeq_app_buffer facts = {0};
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
  if (!file) return 2;
  edgeq_app_read_all(&facts, file);
  fclose(file);
  edgeq_app app = {.name = "render", .facts = {(const uint8_t *)facts.data, facts.bytes}};
  for (uint32_t count; fread(&count, 4, 1, stdin) == 1;) {
    edgeq_app_buffer system = {0};
    edgeq_app_conversation talk = {0};
    if (!read_text(&system)) return 3;
    for (talk.system = system.data; --count;) {
      edgeq_app_buffer text = {0};
      if (!read_text(&text)) return 3;
      edgeq_app_say(&talk, text.data, text.bytes);
      edgeq_app_drop(&text);
    }
    answer(&app, &talk);
    edgeq_app_unsay(&talk, 0);
    free(talk.said);
    edgeq_app_drop(&system);
  }
  edgeq_app_drop(&facts);
  return 0;
}
