/* Weights, vocabulary and facts: a loadable segment that edgeq/package/elf.py put behind the linker's, so the kernel has
 * mapped it before main() and no file is looked for. Its header has the layout that elf.py writes. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "parts.h"

#define VERSION 1
static const char MAGIC[] = "edgeqapp";

typedef struct {
  char magic[8];
  uint32_t version, sections;
  uint64_t facts, facts_bytes, vocabulary, vocabulary_bytes, weights, weights_bytes; /* from the header's begin */
  uint64_t hash;                                                                     /* XXH64 of facts to vocabulary's end */
} header;

/* A note's program header becomes the segment's: elf.py needs one to spare. */
__attribute__((used, section(".note.edgeq"), aligned(4))) static const struct {
  uint32_t name_bytes, bytes, type;
  char name[8];
} NOTE = {6, 0, VERSION, "edgeq"};

uint64_t edgeq_xxh64(const void *data, uint64_t bytes); /* edgeq/runtime/xxh64.c */

typedef struct {
  const header *header;
  uint64_t bytes;
} segment;

static int visit(struct dl_phdr_info *program, size_t size, void *found)
{
  (void)size;
  for (int i = 0; i < program->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &program->dlpi_phdr[i];
    if (p->p_type != PT_LOAD || p->p_flags != PF_R || p->p_memsz < sizeof(header)) continue;
    const header *h = (const header *)(program->dlpi_addr + p->p_vaddr);
    if (memcmp(h->magic, MAGIC, sizeof h->magic)) continue;
    *(segment *)found = (segment){h, p->p_memsz};
    return 1;
  }
  return 0;
}

static int damaged(const edgeq_app *app, const char *what)
{
  return edgeq_app_fail(app, EDGEQ_ARTIFACT, "%s: the program is damaged; copy it again, or package it again", what);
}

/* A page beyond the file's end: the kernel maps a program that was cut short as if it were whole. */
static void cut_short(int number)
{
  const char *name = program_invocation_short_name;
  static const char TEXT[] = ": error: the program is cut short, or its disk fails: copy it again\n";
  (void)number;
  if (write(STDERR_FILENO, name, strlen(name)) < 0 || write(STDERR_FILENO, TEXT, sizeof TEXT - 1)) {}
  _exit(EDGEQ_ARTIFACT);
}

static int is_inside(uint64_t at, uint64_t bytes, uint64_t end) { return at <= end && bytes <= end - at; }

static int is_sound(const header *h, uint64_t end)
{
  return is_inside(h->facts, h->facts_bytes, end) && is_inside(h->vocabulary, h->vocabulary_bytes, end) &&
         is_inside(h->weights, h->weights_bytes, end) && h->facts <= h->vocabulary && h->facts_bytes && h->weights % 64 == 0;
}

int edgeq_app_find_sections(edgeq_app *app)
{
  segment found = {0};
  signal(SIGBUS, cut_short);
  dl_iterate_phdr(visit, &found);
  const header *h = found.header;
  if (!h) return damaged(app, "it has no model inside");
  if (h->version != VERSION) return damaged(app, "its sections are of another version");
  if (!is_sound(h, found.bytes)) return damaged(app, "its sections lie outside of it");
  const uint8_t *base = (const uint8_t *)h;
  if (edgeq_xxh64(base + h->facts, h->vocabulary + h->vocabulary_bytes - h->facts) != h->hash)
    return damaged(app, "its facts do not match their hash");
  app->facts = (edgeq_app_section){base + h->facts, h->facts_bytes};
  app->vocabulary = (edgeq_app_section){base + h->vocabulary, h->vocabulary_bytes};
  app->weights = (edgeq_app_section){base + h->weights, h->weights_bytes};
  return EDGEQ_OK;
}
