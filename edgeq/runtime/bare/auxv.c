/* What the kernel says of the CPU. The auxiliary vector says it best; but Android's releases of applications may not read
 * theirs in /proc, and then it is put together from the identification registers, which Linux 4.11 and newer let a program
 * read with the bits that all cores have and the kernel supports (Documentation/arch/arm64/cpu-feature-registers.rst). */
#include "bare.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

enum { PAIRS = 64, FIELD = 65 };

typedef struct {
  unsigned long type, value;
} pair;

typedef struct {
  char system[FIELD], node[FIELD], release[FIELD], version[FIELD], machine[FIELD], domain[FIELD];
} names;

/* Number of pairs read, 0 when the file is not ours to read. */
static size_t read_vector(pair *pairs)
{
  size_t bytes = 0;
  int file = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  for (long n = 1; n > 0 && bytes < PAIRS * sizeof(pair); bytes += n > 0 ? (size_t)n : 0)
    n = read(file, (char *)pairs + bytes, PAIRS * sizeof(pair) - bytes);
  close(file);
  return bytes / sizeof(pair);
}

static int read_digits(const char **text)
{
  int value = 0;
  for (; **text >= '0' && **text <= '9'; ++*text) value = 10 * value + **text - '0';
  return value;
}

static int may_read_registers(void)
{
  names system;
  if (edgeq_call1(SYS_uname, (long)&system) < 0) return 0;
  const char *release = system.release;
  int major = read_digits(&release);
  release += *release == '.';
  return major > 4 || (major == 4 && read_digits(&release) >= 11);
}

#define REGISTER(name) __extension__({ uint64_t value; __asm__("mrs %0, " name : "=r"(value)); value; })

/* A field of 4 bits. */
static unsigned part(uint64_t value, int shift) { return (unsigned)(value >> shift & 15); }

/* asimd, asimdhp, asimddp, sve: as the kernel derives them from the registers (Arm ARM, ID_AA64PFR0_EL1, ID_AA64ISAR0_EL1). */
static unsigned long hwcap(void)
{
  uint64_t processor = REGISTER("id_aa64pfr0_el1"), instructions = REGISTER("id_aa64isar0_el1");
  unsigned simd = part(processor, 20);
  if (simd == 15) return 0;
  return 1ul << 1 | (unsigned long)(simd >= 1) << 10 | (unsigned long)(part(instructions, 44) >= 1) << 20 |
         (unsigned long)(part(processor, 32) >= 1) << 22;
}

/* i8mm, bf16 (ID_AA64ISAR1_EL1). */
static unsigned long hwcap2(void)
{
  uint64_t instructions = REGISTER("id_aa64isar1_el1");
  return (unsigned long)(part(instructions, 52) >= 1) << 13 | (unsigned long)(part(instructions, 44) >= 1) << 14;
}

unsigned long getauxval(unsigned long type)
{
  pair pairs[PAIRS];
  size_t count = read_vector(pairs);
  for (size_t i = 0; i < count; i++)
    if (pairs[i].type == type) return pairs[i].value;
  if (count || !may_read_registers()) return 0;
  return type == AT_HWCAP ? hwcap() : type == AT_HWCAP2 ? hwcap2() : 0;
}
