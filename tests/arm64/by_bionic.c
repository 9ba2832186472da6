/* Stands in for Android's loader and libc in front of a library of edgeq's: maps the file that $EDGEQ_LIBRARY names as a
 * system with pages of 16 KB would, applies its relocations, and defines the functions of edgeq.h as calls into it. During
 * each call tpidr_el0 and x18 point at memory that may not be touched: there Android has its thread-local storage and its
 * shadow call stack. A library that is not what Android loads ends the program with a word on stderr. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loaded.h"

#define PAGE ((uint64_t)1 << 14)
#define POISON_BYTES ((size_t)1 << 24)
#define DOWN(x) ((x) & ~(PAGE - 1))
#define UP(x) DOWN((x) + PAGE - 1)

uint64_t edgeq_poison;

/* The same arguments, in registers, to the library's. */
#define CALL(f) \
  __asm__(".global edgeq_" #f "\n.type edgeq_" #f ", %function\nedgeq_" #f ":\n" \
          "stp x29, x30, [sp, #-32]!\nstp x19, x20, [sp, #16]\n" \
          "mrs x19, tpidr_el0\nadrp x20, edgeq_poison\nldr x20, [x20, :lo12:edgeq_poison]\n" \
          "msr tpidr_el0, x20\nmov x18, x20\n" \
          "adrp x16, target_" #f "\nldr x16, [x16, :lo12:target_" #f "]\nblr x16\n" \
          "mrs x17, tpidr_el0\ncmp x17, x20\nb.ne 1f\ncmp x18, x20\nb.ne 1f\n" \
          "msr tpidr_el0, x19\nldp x19, x20, [sp, #16]\nldp x29, x30, [sp], #32\nret\n1: brk #1\n");
FUNCTIONS(CALL)

static void check(int good, const char *what)
{
  if (good) return;
  dprintf(2, "not loaded: %s\n", what);
  _exit(99);
}

static uint8_t *base;
static uint64_t mapped; /* end of the last segment's last page */

/* Whole pages of the file, as such a system maps them (read, because pages here may be smaller), zeros after the segment's
 * part of it if the segment is written. */
static void map_segment(int file, const Elf64_Phdr *p)
{
  uint64_t start = DOWN(p->p_vaddr), in_file = p->p_vaddr + p->p_filesz, end = UP(p->p_vaddr + p->p_memsz);
  int access = (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) | (p->p_flags & PF_X ? PROT_EXEC : 0);
  check(p->p_align >= PAGE && (p->p_vaddr - p->p_offset) % PAGE == 0, "a segment is not aligned to 16 KB");
  check(start >= mapped, "two segments share a page");
  check((access & (PROT_WRITE | PROT_EXEC)) != (PROT_WRITE | PROT_EXEC), "a segment is writable code");
  check(!mprotect(base + start, end - start, PROT_READ | PROT_WRITE), "no memory");
  if (p->p_filesz) check(pread(file, base + start, UP(in_file) - start, (off_t)DOWN(p->p_offset)) > 0, "it cannot be read");
  if (access & PROT_WRITE) memset(base + in_file, 0, end - in_file);
  check(!mprotect(base + start, end - start, access), "no memory");
  mapped = end;
}

static uint64_t dynamic_value(const Elf64_Dyn *d, int64_t tag)
{
  for (; d->d_tag != DT_NULL; d++)
    if (d->d_tag == tag) return d->d_un.d_val;
  return 0;
}

static void relocate(uint64_t table, uint64_t bytes, const Elf64_Sym *symbols)
{
  const Elf64_Rela *r = (const Elf64_Rela *)(base + table), *end = r + bytes / sizeof *r;
  for (; r < end; r++) {
    uint64_t type = ELF64_R_TYPE(r->r_info), value = symbols[ELF64_R_SYM(r->r_info)].st_value;
    check(type == R_AARCH64_RELATIVE || type == R_AARCH64_JUMP_SLOT, "a relocation of another kind");
    check(type == R_AARCH64_RELATIVE || value, "an undefined symbol");
    *(uint64_t *)(base + r->r_offset) = (uint64_t)base + value + (uint64_t)r->r_addend;
  }
}

static void find_functions(const Elf64_Dyn *d, const Elf64_Sym *symbols)
{
  const char *names = (const char *)base + dynamic_value(d, DT_STRTAB);
  uint32_t count = ((const uint32_t *)(base + dynamic_value(d, DT_HASH)))[1];
  for (size_t f = 0; f < COUNT; f++) {
    for (uint32_t i = 1; i < count; i++)
      if (!strcmp(names + symbols[i].st_name, NAMES[f])) *PLACES[f] = (uint64_t)base + symbols[i].st_value;
    check(*PLACES[f] != 0, NAMES[f]);
  }
}

static void finish(const Elf64_Dyn *d)
{
  static const int64_t refused[] = {DT_NEEDED, DT_TEXTREL, DT_INIT, DT_INIT_ARRAY, DT_FINI, DT_FINI_ARRAY};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) check(!dynamic_value(d, refused[i]), "it asks for more");
  const Elf64_Sym *symbols = (const Elf64_Sym *)(base + dynamic_value(d, DT_SYMTAB));
  relocate(dynamic_value(d, DT_RELA), dynamic_value(d, DT_RELASZ), symbols);
  relocate(dynamic_value(d, DT_JMPREL), dynamic_value(d, DT_PLTRELSZ), symbols);
  find_functions(d, symbols);
}

__attribute__((constructor)) static void load(void)
{
  static uint8_t head[4096];
  int file = open(getenv("EDGEQ_LIBRARY"), O_RDONLY | O_CLOEXEC);
  check(file >= 0 && read(file, head, sizeof head) == sizeof head, "no such file");
  const Elf64_Ehdr *e = (const Elf64_Ehdr *)head;
  const Elf64_Phdr *p = (const Elf64_Phdr *)(head + e->e_phoff), *dynamic = NULL, *protect = NULL;
  uint8_t *room = mmap(NULL, 1 << 26, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  base = (uint8_t *)UP((uint64_t)room);
  for (int i = 0; i < e->e_phnum; i++) {
    if (p[i].p_type == PT_LOAD) map_segment(file, &p[i]);
    if (p[i].p_type == PT_DYNAMIC) dynamic = &p[i];
    if (p[i].p_type == PT_GNU_RELRO) protect = &p[i];
    check(p[i].p_type != PT_TLS, "thread-local storage");
  }
  close(file);
  finish((const Elf64_Dyn *)(base + dynamic->p_vaddr));
  uint64_t start = DOWN(protect->p_vaddr);
  mprotect(base + start, UP(protect->p_vaddr + protect->p_memsz) - start, PROT_READ);
  edgeq_poison = (uint64_t)mmap(NULL, POISON_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + POISON_BYTES / 2;
}
