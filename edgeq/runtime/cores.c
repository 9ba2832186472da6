/* How many threads are worth starting: cores this process may use, hyperthreads counted once, within its CPU quota. */
#include "internal.h"

#include <sched.h>
#include <stdio.h>

/* More threads wait longer at each barrier than they save; EDGEQ_MAX_THREADS may still be asked for by number. */
#define AUTO_MAX 16

/* Lowest CPU number that shares a core with `cpu`; `cpu` itself where the system does not say. */
static int first_sibling(int cpu)
{
  char path[96];
  int first = cpu;
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  FILE *f = fopen(path, "r");
  if (!f) return cpu;
  if (fscanf(f, "%d", &first) != 1) first = cpu;
  fclose(f);
  return first;
}

static int allowed_cores(void)
{
  cpu_set_t set;
  int cores = 0;
  if (sched_getaffinity(0, sizeof set, &set)) return 1;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET((size_t)cpu, &set)) continue;
    int first = first_sibling(cpu);
    cores += first == cpu || !CPU_ISSET((size_t)first, &set);
  }
  return cores > 0 ? cores : 1;
}

/* Cores' worth of time that the control group grants, rounded up; `otherwise` without a limit. */
static int quota(int otherwise)
{
  long long granted, period;
  FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
  if (!f) return otherwise;
  int limited = fscanf(f, "%lld %lld", &granted, &period) == 2 && granted > 0 && period > 0;
  fclose(f);
  return limited ? (int)((granted + period - 1) / period) : otherwise;
}

int edgeq_usable_cores(void)
{
  int cores = allowed_cores(), limit = quota(cores);
  if (limit < cores) cores = limit;
  return cores < AUTO_MAX ? cores : AUTO_MAX;
}
