/* What the programs that load a library of edgeq's define: the functions of edgeq.h, each a jump to the library's. */
#ifndef LOADED_H
#define LOADED_H
#include <stdint.h>

#define FUNCTIONS(_) \
  _(version) _(open) _(open_memory) _(close) _(error) _(info) _(entry_info) _(find_entry) _(tensor_info) _(run) _(feed) \
  _(logits) _(sample) _(position) _(rewind) _(set_threads) _(profile) _(profile_read) _(run_region) _(memory)

#define NAME(f) "edgeq_" #f,
#define TARGET(f) uint64_t target_##f; /* address in the library */
#define PLACE(f) &target_##f,
#define COUNT (sizeof NAMES / sizeof *NAMES)
static const char *const NAMES[] = {FUNCTIONS(NAME)};
FUNCTIONS(TARGET)
static uint64_t *const PLACES[] = {FUNCTIONS(PLACE)};
#endif
