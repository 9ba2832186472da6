/* Runs kernels for the tests: calls come from stdin, data lie in memory shared with the host, each call ends with a byte
 * on stdout. `guest FD BYTES`: the shared memory. Its address in here is the first thing written. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ARGUMENTS = 32 };

struct call {
    uint64_t kernel; /* index in `kernels` */
    uint64_t arguments[ARGUMENTS];
};

/* AAPCS64 gives every integer and pointer a register or 8 bytes of stack, and the caller takes them away: a function may
 * be handed more than it takes, so that one type serves all kernels. */
#define FOUR(x) x, x, x, x
typedef void kernel(FOUR(uint64_t), FOUR(uint64_t), FOUR(uint64_t), FOUR(uint64_t),
                    FOUR(uint64_t), FOUR(uint64_t), FOUR(uint64_t), FOUR(uint64_t));

extern kernel *const kernels[]; /* generated */

static int read_call(struct call *call) {
    char *at = (char *)call;
    for (size_t got = 0; got < sizeof *call;) {
        ssize_t n = read(STDIN_FILENO, at + got, sizeof *call - got);
        if (n <= 0) return 0;
        got += (size_t)n;
    }
    return 1;
}

static void run(const struct call *call) {
    const uint64_t *a = call->arguments;
    kernels[call->kernel](a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
                          a[15], a[16], a[17], a[18], a[19], a[20], a[21], a[22], a[23], a[24], a[25], a[26], a[27],
                          a[28], a[29], a[30], a[31]);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* a crash is a failed test, not a file */
    int fd = atoi(argv[1]);
    void *memory = mmap(NULL, strtoull(argv[2], NULL, 10), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return 3;
    uint64_t address = (uint64_t)memory;
    if (write(STDOUT_FILENO, &address, sizeof address) != sizeof address) return 4;
    for (struct call call; read_call(&call);) {
        run(&call);
        if (write(STDOUT_FILENO, "", 1) != 1) return 4;
    }
    return 0;
}
