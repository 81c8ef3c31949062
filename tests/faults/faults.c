/* Makes calls that write to files under one folder fail, wait, or kill the process; shifts the clock.
 *
 * Loaded by LD_PRELOAD. FAULTS_STATE names a file of one `struct plan`, shared by a test and all its processes:
 * they count their calls together. FAULTS_ROOT is the folder; calls on other paths are let through uncounted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { COUNT, ONCE, FROM_THEN_ON, SHORT, KILL, SLOW };

struct plan {             /* tests/faults/preload.py has the same */
    int64_t mode;         /* what happens, of the above */
    int64_t nth;          /* at which call, from 1 */
    int64_t error;        /* errno of a failure */
    int64_t removing;     /* whether removing counts, and fails, too */
    int64_t microseconds; /* that each call waits where it is SLOW */
    int64_t clock;        /* seconds that the clock of the day is off from the n-th call on */
    int64_t no_shm;       /* whether there is no shared memory */
    int64_t count;        /* calls so far */
    char what[256];       /* the call that failed first */
};

static struct plan *plan;
static char root[PATH_MAX];

__attribute__((constructor)) static void begin(void)
{
    const char *state = getenv("FAULTS_STATE"), *folder = getenv("FAULTS_ROOT");
    int (*open_)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    if (!state || !folder)
        return;
    int fd = open_(state, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *shared = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED)
        return;
    snprintf(root, sizeof root, "%s", folder);
    plan = shared;
}

static int is_inside(const char *path)
{
    size_t length = strlen(root);
    return !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int is_counted(int dir, const char *path)
{
    char whole[PATH_MAX], link[64];
    if (!plan || !path)
        return 0;
    if (path[0] == '/')
        return is_inside(path);
    ssize_t length = -1;
    if (dir == AT_FDCWD) {
        if (getcwd(whole, sizeof whole))
            length = strlen(whole);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        length = readlink(link, whole, sizeof whole - 1);
    }
    if (length < 0)
        return 0;
    whole[length] = 0;
    return is_inside(whole);
}

static int is_counted_file(int fd)
{
    char whole[PATH_MAX], link[64];
    if (!plan)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, whole, sizeof whole - 1);
    if (length < 0)
        return 0;
    whole[length] = 0;
    return is_inside(whole);
}

/* Whether this counted call is to fail; errno is set where it is. */
static int fails(const char *call, const char *path)
{
    int saved = errno;
    int64_t number = __atomic_add_fetch(&plan->count, 1, __ATOMIC_SEQ_CST);
    if (plan->mode == SLOW)
        usleep(plan->microseconds);
    int fires = plan->mode == FROM_THEN_ON || plan->mode == SHORT ? number >= plan->nth : number == plan->nth;
    if (fires && number == plan->nth)
        snprintf(plan->what, sizeof plan->what, "%s %.200s", call, path ? path : "");
    errno = saved;
    if (!fires || plan->mode == COUNT || plan->mode == SLOW)
        return 0;
    if (plan->mode == KILL)
        kill(getpid(), SIGKILL);
    errno = plan->error;
    return 1;
}

static int fails_on(const char *call, int fd)
{
    char whole[PATH_MAX] = "", link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, whole, sizeof whole - 1);
    whole[length > 0 ? length : 0] = 0;
    return fails(call, whole);
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)))

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        NEXT(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (WRITES(flags) && is_counted(AT_FDCWD, path) && fails("open", path)) \
            return -1; \
        return next(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) \
    { \
        NEXT(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (WRITES(flags) && is_counted(dir, path) && fails("openat", path)) \
            return -1; \
        return next(dir, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) \
    { \
        NEXT(name); \
        if (strpbrk(mode, "wa+") && is_counted(AT_FDCWD, path) && fails("fopen", path)) \
            return NULL; \
        return next(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    NEXT(fwrite);
    if (plan && is_counted_file(fileno(file)) && fails_on("fwrite", fileno(file)))
        return 0;
    return next(data, size, count, file);
}

/* Bytes that a write which fails still takes: of a disk that fills up in its middle the half. */
static size_t taken(size_t size)
{
    return plan->mode == SHORT && plan->count == plan->nth ? size / 2 : 0;
}

ssize_t write(int fd, const void *data, size_t size)
{
    NEXT(write);
    if (is_counted_file(fd) && fails_on("write", fd) && !(size = taken(size)))
        return -1;
    return next(fd, data, size);
}

#define PWRITE(name, offset_t) \
    ssize_t name(int fd, const void *data, size_t size, offset_t at) \
    { \
        NEXT(name); \
        if (is_counted_file(fd) && fails_on("pwrite", fd)) \
            return -1; \
        return next(fd, data, size, at); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    NEXT(writev);
    if (is_counted_file(fd) && fails_on("writev", fd))
        return -1;
    return next(fd, parts, count);
}

#define SENDFILE(name, offset_t) \
    ssize_t name(int to, int from, offset_t *at, size_t size) \
    { \
        NEXT(name); \
        if (is_counted_file(to) && fails_on("sendfile", to)) \
            return -1; \
        return next(to, from, at, size); \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t size, unsigned flags)
{
    NEXT(copy_file_range);
    if (is_counted_file(to) && fails_on("copy_file_range", to))
        return -1;
    return next(from, at, to, there, size, flags);
}

#define ON_FILE(name) \
    int name(int fd) \
    { \
        NEXT(name); \
        if (is_counted_file(fd) && fails_on(#name, fd)) \
            return -1; \
        return next(fd); \
    }
ON_FILE(fsync)
ON_FILE(fdatasync)

/* Network file systems tell of a full disk here. The file is closed whatever is told. */
int close(int fd)
{
    NEXT(close);
    int is_written = plan && WRITES(fcntl(fd, F_GETFL)) && is_counted_file(fd);
    int failed = is_written && fails_on("close", fd) ? errno : 0;
    int code = next(fd);
    if (!failed)
        return code;
    errno = failed;
    return -1;
}

#define TRUNCATE(name, offset_t) \
    int name(int fd, offset_t size) \
    { \
        NEXT(name); \
        if (is_counted_file(fd) && fails_on("truncate", fd)) \
            return -1; \
        return next(fd, size); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int mkdir(const char *path, mode_t mode)
{
    NEXT(mkdir);
    if (is_counted(AT_FDCWD, path) && fails("mkdir", path))
        return -1;
    return next(path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    NEXT(mkdirat);
    if (is_counted(dir, path) && fails("mkdirat", path))
        return -1;
    return next(dir, path, mode);
}

#define TO_NEW_NAME(name) \
    int name(const char *from, const char *to) \
    { \
        NEXT(name); \
        if (is_counted(AT_FDCWD, to) && fails(#name, to)) \
            return -1; \
        return next(from, to); \
    }
TO_NEW_NAME(rename)
TO_NEW_NAME(link)
TO_NEW_NAME(symlink)

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    NEXT(renameat);
    if (is_counted(to_dir, to) && fails("renameat", to))
        return -1;
    return next(from_dir, from, to_dir, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    NEXT(linkat);
    if (is_counted(to_dir, to) && fails("linkat", to))
        return -1;
    return next(from_dir, from, to_dir, to, flags);
}

#define REMOVING(name) \
    int name(const char *path) \
    { \
        NEXT(name); \
        if (plan && plan->removing && is_counted(AT_FDCWD, path) && fails(#name, path)) \
            return -1; \
        return next(path); \
    }
REMOVING(unlink)
REMOVING(rmdir)

int unlinkat(int dir, const char *path, int flags)
{
    NEXT(unlinkat);
    if (plan && plan->removing && is_counted(dir, path) && fails("unlinkat", path))
        return -1;
    return next(dir, path, flags);
}

int shm_open(const char *name, int flags, mode_t mode)
{
    NEXT(shm_open);
    if (plan && plan->no_shm) {
        errno = ENOENT;
        return -1;
    }
    return next(name, flags, mode);
}

sem_t *sem_open(const char *name, int flags, ...)
{
    NEXT(sem_open);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    unsigned value = flags & O_CREAT ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    if (plan && plan->no_shm) {
        errno = ENOSYS;
        return SEM_FAILED;
    }
    return next(name, flags, mode, value);
}

static int64_t shift(void)
{
    return plan && plan->count >= plan->nth ? plan->clock : 0;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    NEXT(clock_gettime);
    int code = next(which, now);
    if (!code && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        now->tv_sec += shift();
    return code;
}

time_t time(time_t *told)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told)
        *told = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone)
{
    NEXT(gettimeofday);
    int code = next(now, zone);
    now->tv_sec += shift();
    return code;
}
