/* Facts of a machine as its system tells them, unread: /proc and /sys files by path, and the features that the runtime
 * sees. What they mean is worked out where the tables of processors are, on the host. */
#include "native.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "internal.h"

#define CPU "/sys/devices/system/cpu/cpu[0-9]*"

static const char *const FILES[] = {
  "/proc/cpuinfo", "/proc/meminfo", "/proc/device-tree/model", "/sys/devices/system/cpu/online",
  CPU "/regs/identification/midr_el1", CPU "/cpufreq/cpuinfo_max_freq", CPU "/cpufreq/scaling_cur_freq",
  "/sys/devices/system/cpu/cpu0/cache/index*/level", "/sys/devices/system/cpu/cpu0/cache/index*/type",
  "/sys/devices/system/cpu/cpu0/cache/index*/size",
  "/sys/class/thermal/thermal_zone*/type", "/sys/class/thermal/thermal_zone*/temp",
};
static char text[1 << 18]; /* /proc/cpuinfo of a large server */

static void print_file(json *j, const char *path)
{
  size_t used = 0;
  ssize_t n = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  while (used < sizeof text - 1 && (n = read(fd, text + used, sizeof text - 1 - used)) > 0) used += (size_t)n;
  close(fd);
  text[used] = 0;
  if (n >= 0) json_text(j, path, text);
}

static void print_files(json *j, const char *pattern)
{
  glob_t found;
  if (!glob(pattern, 0, NULL, &found))
    for (size_t i = 0; i < found.gl_pathc; i++) print_file(j, found.gl_pathv[i]);
  globfree(&found);
}

/* What Android calls the device; nothing elsewhere. */
static void print_product(json *j)
{
  char name[128] = "";
  FILE *f = access("/system/bin/getprop", X_OK) ? NULL : popen("/system/bin/getprop ro.product.model", "r");
  if (!f) return;
  if (fgets(name, sizeof name, f)) name[strcspn(name, "\n")] = 0;
  pclose(f);
  json_text(j, "product", name);
}

void print_facts(json *j)
{
  char features[1024], system[256];
  struct utsname u;
  uname(&u);
  snprintf(system, sizeof system, "%s %s", u.sysname, u.release);
  edgeq_cpu_features(features, sizeof features);
  json_text(j, "arch", u.machine);
  json_text(j, "system", system);
  json_integer(j, "cores", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
  json_text(j, "features", features);
  print_product(j);
  json_open(j, "files", '{');
  for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) print_files(j, FILES[i]);
  json_close(j, '}');
}
