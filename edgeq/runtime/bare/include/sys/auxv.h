#ifndef EDGEQ_BARE_SYS_AUXV_H
#define EDGEQ_BARE_SYS_AUXV_H
#define AT_HWCAP 16
#define AT_HWCAP2 26

unsigned long getauxval(unsigned long type);
#endif
