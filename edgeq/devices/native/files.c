#include "native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void read_line(const char *path, char *out, size_t size)
{
  out[0] = 0;
  FILE *f = fopen(path, "re");
  if (!f) return;
  if (!fgets(out, (int)size, f)) out[0] = 0;
  fclose(f);
  out[strcspn(out, "\n")] = 0;
}

long long read_number(const char *path, long long otherwise)
{
  char text[64], *end;
  read_line(path, text, sizeof text);
  long long value = strtoll(text, &end, 10);
  return end == text ? otherwise : value;
}
