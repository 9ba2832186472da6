/* Weights, vocabulary and facts: a loadable segment that edgeq/package/elf.py put behind the linker's, so the kernel has
 * mapped it before main() and no file is looked for. Its header has the layout that elf.py writes. */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

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

static int visit(struct dl_phdr_info *program, size_t size, void *found)
{
  (void)size;
  for (int i = 0; i < program->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &program->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || segment->p_flags != PF_R || segment->p_memsz < sizeof(header)) continue;
    const header *h = (const header *)(program->dlpi_addr + segment->p_vaddr);
    if (memcmp(h->magic, MAGIC, sizeof h->magic)) continue;
    *(const header **)found = h;
    return 1;
  }
  return 0;
}

static int damaged(const edgeq_app *app, const char *what)
{
  return edgeq_app_fail(app, EDGEQ_ARTIFACT, "%s: the program is damaged; copy it again, or package it again", what);
}

int edgeq_app_find_sections(edgeq_app *app)
{
  const header *h = NULL;
  dl_iterate_phdr(visit, &h);
  if (!h) return damaged(app, "it has no model inside");
  if (h->version != VERSION) return damaged(app, "its sections are of another version");
  const uint8_t *base = (const uint8_t *)h;
  if (edgeq_xxh64(base + h->facts, h->vocabulary + h->vocabulary_bytes - h->facts) != h->hash)
    return damaged(app, "its facts do not match their hash");
  app->facts = (edgeq_app_section){base + h->facts, h->facts_bytes};
  app->vocabulary = (edgeq_app_section){base + h->vocabulary, h->vocabulary_bytes};
  app->weights = (edgeq_app_section){base + h->weights, h->weights_bytes};
  return EDGEQ_OK;
}
