/* Loads the library that $EDGEQ_LIBRARY names with dlopen. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "loaded.h"

#define CALL(f) \
  __asm__(".global edgeq_" #f "\n.type edgeq_" #f ", %function\nedgeq_" #f ":\n" \
          "adrp x16, target_" #f "\nldr x16, [x16, :lo12:target_" #f "]\nbr x16\n");
FUNCTIONS(CALL)

__attribute__((constructor)) static void load(void)
{
  void *library = dlopen(getenv("EDGEQ_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
  for (size_t f = 0; library && f < COUNT; f++) *PLACES[f] = (uint64_t)dlsym(library, NAMES[f]);
  const char *error = dlerror();
  if (!error) return;
  fprintf(stderr, "not loaded: %s\n", error);
  exit(99);
}
