/* Compares the functions of runtime/bare with glibc's of the same names: `bare_check LIBRARY FOLDER`. Says what differs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>

static void *library;
static const char *folder;
static int failures;

#define BARE(f) __typeof__(&f) bare_##f = (__typeof__(&f))dlsym(library, #f)
#define CHECK(good, ...) do if (!(good)) failures++, printf(__VA_ARGS__), printf("\n"); while (0)

static uint32_t draw(uint32_t below)
{
  static uint64_t state = 7;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % below;
}

#define PRINT(...) \
  for (size_t room = 0; room < 48; room += room < 4 ? 1 : 11) { \
    char a[48] = "", b[48] = ""; \
    int n = snprintf(a, room, __VA_ARGS__), m = bare_snprintf(b, room, __VA_ARGS__); \
    CHECK(n == m && !strcmp(a, b), "snprintf: %s (%d), not %s (%d)", b, m, a, n); \
  }

static void check_format(void)
{
  BARE(snprintf);
  static const int64_t numbers[] = {0, 1, -1, 9, 10, -10, 65535, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    int64_t v = numbers[i];
    PRINT("%d %i %u|%x", (int)v, (int)v, (unsigned)v, (unsigned)v);
    PRINT("<%lld %llu %ld %zu>", (long long)v, (unsigned long long)v, (long)v, (size_t)v);
    PRINT("%016llx %5d %05d %1u", (unsigned long long)v, (int)v, (int)v, (unsigned)v);
  }
  PRINT("%s%%%c %.*s %.2s %s", "a text", 'x', 3, "seven", "ab", "");
}

static int by_key(const void *a, const void *b)
{
  const uint32_t *x = a, *y = b;
  return (x[0] > y[0]) - (x[0] < y[0]);
}

static void check_sort(void)
{
  BARE(qsort);
  for (size_t count = 0; count < 200; count += 1 + count / 7)
    for (size_t words = 1; words < 4; words++) {
      uint32_t a[600], b[600];
      for (size_t i = 0; i < count * words; i++) a[i] = b[i] = i % words ? a[i - 1] * 3 : draw(i % 2 ? 50 : 1 << 30);
      qsort(a, count, 4 * words, by_key);
      bare_qsort(b, count, 4 * words, by_key);
      CHECK(!memcmp(a, b, 4 * count * words), "qsort: %zu items of %zu words", count, words);
    }
}

static int sign(int x) { return (x > 0) - (x < 0); }

static void check_strings(void)
{
  BARE(memcpy); BARE(memmove); BARE(memset); BARE(memcmp); BARE(strlen); BARE(strcmp);
  size_t (*bare_strcspn)(const char *, const char *) = (size_t (*)(const char *, const char *))dlsym(library, "strcspn");
  for (int round = 0; round < 3000; round++) {
    char a[256], b[256];
    size_t from = draw(100), to = draw(100), n = draw(100);
    for (int i = 0; i < 256; i++) a[i] = b[i] = (char)('a' + draw(3));
    a[200] = b[200] = 0;
    memmove(a + to, a + from, n), bare_memmove(b + to, b + from, n);
    memcpy(a + 100 + to, a, n / 2), bare_memcpy(b + 100 + to, b, n / 2);
    memset(a + from, (int)n - 300, n / 3), bare_memset(b + from, (int)n - 300, n / 3);
    CHECK(!memcmp(a, b, 256), "memmove, memcpy or memset: %zu to %zu, %zu bytes", from, to, n);
    a[255] = 0;
    CHECK(sign(memcmp(a + from, a + to, n)) == sign(bare_memcmp(a + from, a + to, n)), "memcmp: %zu bytes", n);
    CHECK(sign(strcmp(a + from, a + to)) == sign(bare_strcmp(a + from, a + to)), "strcmp");
    CHECK(strlen(a + n) == bare_strlen(a + n) && strcspn(a + n, "bc") == bare_strcspn(a + n, "bc"), "strlen or strcspn");
  }
}

static void check_scan(void)
{
  BARE(fopen); BARE(fscanf); BARE(fclose);
  static const char *const texts[] = {"3,7\n", "max 100000", "50000 100000\n", "", "-12", " \n 8", "12abc 5", "x", "9-11", "+ 3"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    char path[512];
    int a = -5, b = -5;
    long long c[2] = {-5, -5}, d[2] = {-5, -5};
    snprintf(path, sizeof path, "%s/numbers", folder);
    FILE *f = fopen(path, "w");
    fputs(texts[i], f), fclose(f);
    FILE *x = fopen(path, "r"), *y = bare_fopen(path, "r");
    int n = fscanf(x, "%d", &a), m = bare_fscanf(y, "%d", &b);
    CHECK((n == 1) == (m == 1) && (n < 1 || a == b), "fscanf of '%s': %d, not %d", texts[i], b, a);
    rewind(x), bare_fclose(y), y = bare_fopen(path, "r");
    n = fscanf(x, "%lld %lld", &c[0], &c[1]), m = bare_fscanf(y, "%lld %lld", &d[0], &d[1]);
    CHECK((n == 2) == (m == 2) && (n < 2 || (c[0] == d[0] && c[1] == d[1])), "fscanf of '%s'", texts[i]);
    fclose(x), bare_fclose(y);
  }
  CHECK(!bare_fopen("/nowhere", "r"), "fopen of what is not there");
}

static void check_heap(void)
{
  BARE(malloc); BARE(calloc); BARE(posix_memalign); BARE(free);
  void *p, *old = NULL;
  for (size_t n = 0; n < 100000; n = 3 * n + 1) {
    uint8_t *a = bare_calloc(n, 3), *b = bare_malloc(n);
    size_t sum = 0;
    for (size_t i = 0; i < 3 * n; i++) sum += a[i];
    memset(b, 1, n);
    CHECK(!sum && (uintptr_t)a % 16 == 0 && a != b, "calloc of %zu", n);
    bare_free(a), bare_free(b);
  }
  CHECK(!bare_posix_memalign(&p, 128, 1000) && (uintptr_t)p % 128 == 0, "posix_memalign");
  bare_free(p), bare_free(old);
  CHECK(bare_posix_memalign(&p, 4096, 8) == EINVAL && !bare_calloc(SIZE_MAX / 2, 3) && !bare_malloc(SIZE_MAX - 5), "too much");
}

static void check_system(void)
{
  BARE(sched_getaffinity); BARE(getauxval); BARE(clock_gettime); BARE(stat); BARE(strerror);
  cpu_set_t a, b;
  CHECK(!sched_getaffinity(0, sizeof a, &a) && !bare_sched_getaffinity(0, sizeof b, &b) && CPU_EQUAL(&a, &b), "affinity");
  CHECK(getauxval(AT_HWCAP) == bare_getauxval(AT_HWCAP) && getauxval(AT_HWCAP2) == bare_getauxval(AT_HWCAP2), "getauxval");
  struct timespec t, u;
  CHECK(!clock_gettime(CLOCK_MONOTONIC, &t) && !bare_clock_gettime(CLOCK_MONOTONIC, &u), "clock_gettime");
  CHECK(u.tv_sec - t.tv_sec <= 60 && (u.tv_sec > t.tv_sec || u.tv_nsec >= t.tv_nsec), "clock_gettime: another time");
  struct stat s, r;
  CHECK(!stat(folder, &s) && !bare_stat(folder, &r) && s.st_mode == r.st_mode && s.st_size == r.st_size, "stat");
  for (int e = 1; e <= ELOOP; e++) CHECK(!strcmp(strerror(e), bare_strerror(e)), "strerror(%d): %s", e, bare_strerror(e));
  CHECK(!strcmp(bare_strerror(-1), "Unknown error") && !strcmp(bare_strerror(4000), "Unknown error"), "strerror");
}

/* More threads than there are slots for errors fail, the later ones otherwise; only then they look. They call no function
 * that might touch thread-local storage. */
enum { THREADS = 96, LATER = 64 };
static __typeof__(&stat) bare_stat;
static __typeof__(&sched_yield) bare_yield;
static int (*bare_errno)(void);
static int failed, seen[THREADS];

static void *fail(void *argument)
{
  struct stat s;
  int id = (int)(intptr_t)argument;
  bare_stat(id < LATER ? "/nowhere" : "/proc/self/exe/x", &s);
  __atomic_add_fetch(&failed, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&failed, __ATOMIC_SEQ_CST) < THREADS) bare_yield();
  seen[id] = bare_errno();
  return NULL;
}

static void check_threads(void)
{
  int (*create)(void **, void *, void *(*)(void *), void *) = dlsym(library, "pthread_create");
  int (*join)(void *, void **) = dlsym(library, "pthread_join");
  void *threads[THREADS];
  int known = 0;
  bare_stat = (__typeof__(bare_stat))dlsym(library, "stat");
  bare_yield = (__typeof__(bare_yield))dlsym(library, "sched_yield");
  bare_errno = (int (*)(void))dlsym(library, "edgeq_errno");
  for (int i = 0; i < THREADS; i++) CHECK(!create(&threads[i], NULL, fail, (void *)(intptr_t)i), "pthread_create");
  for (int i = 0; i < THREADS; i++) CHECK(!join(threads[i], NULL), "pthread_join");
  for (int i = 0; i < THREADS; i++) {
    known += seen[i] == (i < LATER ? ENOENT : ENOTDIR);
    CHECK(!seen[i] || seen[i] == (i < LATER ? ENOENT : ENOTDIR), "thread %d saw error %d, another's", i, seen[i]);
  }
  CHECK(known >= 8, "%d threads know their error", known);
}

int main(int argc, char **argv)
{
  library = argc == 3 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) return 2;
  folder = argv[2];
  check_format(), check_sort(), check_strings(), check_scan(), check_heap(), check_system(), check_threads();
  return failures > 0;
}
