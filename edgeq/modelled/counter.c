/* A plugin of QEMU's user emulation (plugin API version 1) that counts executed guest instructions, exactly.
 *
 * It counts how often each translated block runs; a block is straight-line code, so each of its instructions ran as often.
 * Blocks with a marker (marker.h) are counted instruction by instruction, so that an interval's ends are exact too.
 * At every marker, and at exit, one line of JSON is written to out=PATH and counts start at zero:
 *
 *   {"mark": id that began the interval (0 at the start), "blocks": [[address, instructions, times], ...]}
 *
 * The last line is {"entry": run-time address of the program's entry, "threads": guest threads}. Counters are not atomic:
 * counts of more than one thread are not exact, and whoever reads the file refuses them.
 * Debian ships no qemu-plugin.h, so the functions are declared here. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef void (*on_vcpu)(qemu_plugin_id_t, unsigned vcpu);
typedef void (*on_exit_fn)(qemu_plugin_id_t, void *);
typedef void (*on_execute)(unsigned vcpu, void *);
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_translate)(qemu_plugin_id_t, struct qemu_plugin_tb *);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_translate);
void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t, on_vcpu);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, on_exit_fn, void *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *, uint64_t);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int operation, void *, uint64_t);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, on_execute, int registers, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_entry_code(void);

#define EXPORT __attribute__((visibility("default")))
enum { ADD_U64 = 0, NO_REGISTERS = 0, NO_MARK = -1, BLOCKS_OF_A_SLAB = 4096 };

EXPORT int qemu_plugin_version = 1;

typedef struct {
  uint64_t address, instructions, times;
} block;

/* Generated code holds pointers to counters: slabs never move. */
typedef struct slab {
  struct slab *next;
  size_t used;
  block blocks[BLOCKS_OF_A_SLAB];
} slab;

static struct {
  pthread_mutex_t lock;
  slab *slabs;
  FILE *out;
  int mark;
  unsigned threads;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void die(const char *what)
{
  fprintf(stderr, "edgeq counter: %s\n", what);
  exit(1);
}

static block *new_block(uint64_t address, uint64_t instructions)
{
  if (!state.slabs || state.slabs->used == BLOCKS_OF_A_SLAB) {
    slab *fresh = calloc(1, sizeof *fresh);
    if (!fresh) die("out of memory");
    fresh->next = state.slabs;
    state.slabs = fresh;
  }
  block *b = &state.slabs->blocks[state.slabs->used++];
  *b = (block){address, instructions, 0};
  return b;
}

static void write_interval(void)
{
  const char *separator = "";
  fprintf(state.out, "{\"mark\": %d, \"blocks\": [", state.mark);
  for (slab *s = state.slabs; s; s = s->next)
    for (size_t i = 0; i < s->used; i++) {
      block *b = &s->blocks[i];
      if (!b->times) continue;
      fprintf(state.out, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", separator, b->address, b->instructions, b->times);
      b->times = 0;
      separator = ",";
    }
  fputs("]}\n", state.out);
}

static void at_marker(unsigned vcpu, void *id)
{
  (void)vcpu;
  pthread_mutex_lock(&state.lock);
  write_interval();
  state.mark = (int)(intptr_t)id;
  pthread_mutex_unlock(&state.lock);
}

/* Id of the marker that these bytes are, or NO_MARK: `movz xzr, #id`, or a nop whose displacement is "EQ", id. */
static int mark_of(const uint8_t *bytes, size_t size)
{
  static const uint8_t NOP[] = {0x0f, 0x1f, 0x84, 0x00};
  uint32_t word;
  memcpy(&word, size == 8 ? bytes + 4 : bytes, 4);
  if (size == 4 && (word & 0xffe0001fu) == 0xd280001fu) return (int)(word >> 5 & 0xffff);
  if (size == 8 && !memcmp(bytes, NOP, 4) && word >> 16 == 0x4551) return (int)(word & 0xffff);
  return NO_MARK;
}

static int mark_at(const struct qemu_plugin_tb *tb, size_t i)
{
  const struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
  size_t size = qemu_plugin_insn_size(insn);
  return size == 4 || size == 8 ? mark_of(qemu_plugin_insn_data(insn), size) : NO_MARK;
}

/* Markers themselves are not counted. */
static void watch_each(struct qemu_plugin_tb *tb, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    int mark = mark_at(tb, i);
    if (mark != NO_MARK)
      qemu_plugin_register_vcpu_insn_exec_cb(insn, at_marker, NO_REGISTERS, (void *)(intptr_t)mark);
    else
      qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &new_block(qemu_plugin_insn_vaddr(insn), 1)->times, 1);
  }
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
  (void)id;
  size_t n = qemu_plugin_tb_n_insns(tb), i = 0;
  while (i < n && mark_at(tb, i) == NO_MARK) i++;
  pthread_mutex_lock(&state.lock);
  if (i < n)
    watch_each(tb, n);
  else
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &new_block(qemu_plugin_tb_vaddr(tb), n)->times, 1);
  pthread_mutex_unlock(&state.lock);
}

static void new_thread(qemu_plugin_id_t id, unsigned vcpu)
{
  (void)id, (void)vcpu;
  __atomic_fetch_add(&state.threads, 1, __ATOMIC_RELAXED);
}

static void finish(qemu_plugin_id_t id, void *unused)
{
  (void)id, (void)unused;
  write_interval();
  fprintf(state.out, "{\"entry\": %" PRIu64 ", \"threads\": %u}\n", qemu_plugin_entry_code(), state.threads);
  if (ferror(state.out) || fclose(state.out)) die("cannot write the counts");
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4)) die("give out=PATH");
  state.out = fopen(argv[0] + 4, "w");
  if (!state.out) die("cannot open the file for counts");
  qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
  qemu_plugin_register_vcpu_init_cb(id, new_thread);
  qemu_plugin_register_atexit_cb(id, finish, NULL);
  return 0;
}
