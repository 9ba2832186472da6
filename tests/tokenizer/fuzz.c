/* Random bytes, ids and damaged blobs through the tokenizer, for a build with sanitizers:
 *
 *   gcc -g -O1 -fsanitize=address,undefined -fno-sanitize-recover -Iedgeq/tokenizer edgeq/tokenizer/[a-z]*.c tests/tokenizer/fuzz.c
 *   ASAN_OPTIONS=allocator_may_return_null=1 ./a.out ROUNDS BLOB...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer.h"

static uint64_t state = 88172645463325252u;
static uint64_t draw(void)
{
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

static const char *const PIECES[] = {
  "a", " ", "\n", "the ", "'ll", "\xc3\xa9", "\xcc\x81", "\xe4\xb8\xad", "\xf0\x9f\x99\x82", "\xe2\x80\x8d", "<|im_start|>",
  "[MASK]", "<s>", "123", "\xe1\x84\x80", "\xe1\x85\xa1", "\xea\xb0\x80", "\xe2\x96\x81", "  ", "\xff", "\xe0\xa4\x95", "K", ".",
};

static size_t make_text(char *text, size_t room)
{
  size_t n = 0, wanted = draw() % (draw() % 20 ? 80 : room - 16);
  while (n < wanted) {
    const char *piece = PIECES[draw() % (sizeof PIECES / sizeof *PIECES)];
    if (draw() % 4) {
      memcpy(text + n, piece, strlen(piece));
      n += strlen(piece);
    } else {
      text[n++] = (char)draw();
    }
  }
  return n;
}

static void round_trip(edgeq_tokenizer *t)
{
  char text[4096];
  size_t n = make_text(text, sizeof text);
  char *exact = malloc(n ? n : 1); /* so that reading past the end is seen */
  memcpy(exact, text, n);
  int32_t ids[256];
  size_t room = draw() % 256;
  ptrdiff_t count = edgeq_tokenize(t, exact, n, (int)(draw() % 4), ids, room);
  size_t held = count < 0 ? 0 : (size_t)count < room ? (size_t)count : room;
  for (size_t i = 0; i < held; i++)
    if (draw() % 8 == 0) ids[i] = (int32_t)(draw() % 70000) - 100;
  edgeq_detokenize(t, ids, held, (int)(draw() % 4) * 4, text, draw() % sizeof text);
  edgeq_incomplete_utf8(exact, n);
  free(exact);
}

static void *read_file(const char *path, size_t *bytes)
{
  FILE *file = fopen(path, "rb");
  if (!file) exit(2);
  fseek(file, 0, SEEK_END);
  *bytes = (size_t)ftell(file);
  rewind(file);
  void *data = aligned_alloc(64, (*bytes + 63) / 64 * 64);
  if (fread(data, 1, *bytes, file) != *bytes) exit(2);
  fclose(file);
  return data;
}

static void damage(uint8_t *blob, size_t bytes)
{
  for (int i = 0; i < 3; i++) blob[draw() % (draw() % 2 ? 240 : bytes)] = (uint8_t)draw();
}

int main(int argc, char **argv)
{
  long rounds = argc > 1 ? atol(argv[1]) : 1000, opened = 0;
  for (int i = 2; i < argc; i++) {
    size_t bytes;
    uint8_t *blob = read_file(argv[i], &bytes), *copy = aligned_alloc(64, (bytes + 63) / 64 * 64);
    edgeq_tokenizer *t;
    if (edgeq_tokenizer_open(blob, bytes, &t)) return 1;
    for (long r = 0; r < rounds; r++) round_trip(t);
    edgeq_tokenizer_close(t);
    for (long r = 0; r < rounds / 10; r++) {
      memcpy(copy, blob, bytes);
      damage(copy, bytes);
      if (edgeq_tokenizer_open(copy, bytes, &t)) continue;
      for (int k = 0; k < 3; k++) round_trip(t);
      edgeq_tokenizer_close(t);
      opened++;
    }
    free(blob);
    free(copy);
  }
  printf("%d blobs, %ld rounds each; %ld damaged blobs were used\n", argc - 2, rounds, opened);
  return 0;
}
