/* Decodes mutated images: fuzz CASES SEED FILE... Each case lies at the end of a page, behind which nothing may be read, so that
 * a decoder that reads too far dies even without a sanitizer. Prints how many were decoded and how many refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "decode.h"

#define ROOM (1 << 20)

typedef struct {
  uint8_t *bytes;
  size_t size;
} file;

static uint64_t state;

/* xorshift64* */
static uint32_t draw(uint32_t below)
{
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 0x2545f4914f6cdd1du >> 32) * below >> 32);
}

static file read_file(const char *path)
{
  file f = {malloc(ROOM), 0};
  FILE *from = fopen(path, "rb");
  if (!from) exit(2);
  f.size = fread(f.bytes, 1, ROOM, from);
  fclose(from);
  return f;
}

static void set_bytes(uint8_t *p, size_t size)
{
  static const uint8_t ODD[] = {0, 1, 0x7f, 0x80, 0xff, 0xd8, 0xd0, 0xda};
  size_t at = draw((uint32_t)size), n = 1 + draw(4);
  for (size_t i = at; i < size && i < at + n; i++) p[i] = draw(2) ? ODD[draw(sizeof ODD)] : (uint8_t)draw(256);
}

static void move_bytes(uint8_t *p, size_t size)
{
  size_t from = draw((uint32_t)size), to = draw((uint32_t)size), most = size - (from > to ? from : to), n = 1 + draw((uint32_t)most);
  memmove(p + to, p + from, n);
}

/* Headers are hit as often as all the rest. */
static size_t mutate(uint8_t *p, size_t size)
{
  size_t head = size < 200 ? size : 200;
  for (uint32_t i = 1 + draw(5); i; i--) {
    size_t reach = draw(2) ? head : size;
    switch (draw(6)) {
    case 0: case 1: set_bytes(p, reach); break;
    case 2: case 3: p[draw((uint32_t)reach)] ^= (uint8_t)(1 << draw(8)); break;
    case 4: move_bytes(p, reach); break;
    default: if (!draw(3)) size = 1 + draw((uint32_t)size), head = head < size ? head : size;
    }
  }
  return size;
}

/* Chunks of a PNG file get the checksums of what they now hold: else no mutation would get past them. */
static void mend_png(uint8_t *p, size_t size)
{
  if (size < 8 || memcmp(p, "\x89PNG", 4)) return;
  for (size_t at = 8; size - at >= 12;) {
    size_t n = edgeq_be32(p + at);
    if (n > size - at - 12) return;
    uint32_t crc = edgeq_crc32(0, p + at + 4, n + 4);
    for (int i = 0; i < 4; i++) p[at + 8 + n + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    at += n + 12;
  }
}

int main(int argc, char **argv)
{
  if (argc < 4) return 2;
  long cases = atol(argv[1]), decoded = 0, refused = 0;
  uint64_t sum = 0;
  int files = argc - 3;
  file *seed = malloc((size_t)files * sizeof *seed);
  for (int i = 0; i < files; i++) seed[i] = read_file(argv[3 + i]);
  uint8_t *room = mmap(NULL, ROOM + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *work = malloc(ROOM);
  if (room == MAP_FAILED || mprotect(room + ROOM, 65536, PROT_NONE)) return 2;
  state = (uint64_t)atoll(argv[2]) * 2654435761u + 1;
  for (long n = 0; n < cases; n++) {
    const file *f = &seed[draw((uint32_t)files)];
    edgeq_image image;
    memcpy(work, f->bytes, f->size);
    size_t size = mutate(work, f->size);
    mend_png(work, size);
    memcpy(room + ROOM - size, work, size);
    const char *error = edgeq_image_decode(room + ROOM - size, size, draw(2) ? 3 : 1, &image);
    if (error && !*error) return 3;
    error ? refused++ : decoded++;
    if (!error) sum += image.pixels[draw((uint32_t)(image.width * image.height))];
    edgeq_image_free(&image);
  }
  printf("cases %ld, decoded %ld, refused %ld, sum %llu\n", cases, decoded, refused, (unsigned long long)sum);
  for (int i = 0; i < files; i++) free(seed[i].bytes);
  free(seed);
  free(work);
  return 0;
}
