#ifndef EDGEQ_BARE_SCHED_H
#define EDGEQ_BARE_SCHED_H
#include <stddef.h>
#include <time.h>

#define CPU_SETSIZE 1024
typedef struct {
  unsigned long bits[CPU_SETSIZE / 64];
} cpu_set_t;

#define EDGEQ_CPU_BIT(cpu) (1ul << (cpu) % 64)
#define CPU_ISSET(cpu, set) ((cpu) < CPU_SETSIZE && ((set)->bits[(cpu) / 64] & EDGEQ_CPU_BIT(cpu)) != 0)
#define CPU_CLR(cpu, set) ((void)((cpu) < CPU_SETSIZE && ((set)->bits[(cpu) / 64] &= ~EDGEQ_CPU_BIT(cpu))))
#define CPU_ZERO(set) ((void)(*(set) = (cpu_set_t){{0}}))
#define CPU_COUNT(set) edgeq_cpu_count(set)

int edgeq_cpu_count(const cpu_set_t *set);
int sched_getaffinity(pid_t thread, size_t bytes, cpu_set_t *set);
int sched_setaffinity(pid_t thread, size_t bytes, const cpu_set_t *set);
int sched_getcpu(void);
int sched_yield(void);
#endif
