/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that fails under a running program: preloaded into it, its writes, syncs and truncations
 * of files below $MP_EIO_DIR give EIO while the file $MP_EIO_SWITCH is there. Reads of files whose
 * path begins with $MP_HANG_PATH hang as long as somebody else has the file $MP_HANG_LOCK locked.
 * With $MP_NO_INOTIFY the system has no watches of folders left. */
#undef _FORTIFY_SOURCE /* with it the C library's headers define some of them themselves */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <unistd.h>

static int begins_with(int fd, const char *begin)
{
    char link[64], path[4096];
    ssize_t n;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return strncmp(path, begin, strlen(begin)) == 0;
}

static int fails(int fd)
{
    const char *dir = getenv("MP_EIO_DIR"), *on = getenv("MP_EIO_SWITCH");

    return dir && on && access(on, F_OK) == 0 && begins_with(fd, dir);
}

static void hang(int fd)
{
    const char *begin = getenv("MP_HANG_PATH"), *name = getenv("MP_HANG_LOCK");
    int lock;

    if (!begin || !name || !begins_with(fd, begin))
        return;
    lock = open(name, O_RDONLY | O_CLOEXEC);
    if (lock < 0)
        return;
    while (flock(lock, LOCK_SH) != 0 && errno == EINTR)
        ;
    (void)close(lock);
}

#define REAL(name, ...)                                                                            \
    do {                                                                                           \
        void *found = dlsym(RTLD_NEXT, #name);                                                     \
        __typeof__(&name) real;                                                                    \
                                                                                                   \
        memcpy(&real, &found, sizeof(real));                                                       \
        if (fails(fd)) {                                                                           \
            errno = EIO;                                                                           \
            return -1;                                                                             \
        }                                                                                          \
        return real(fd, ##__VA_ARGS__);                                                            \
    } while (0)

#define EXPORT __attribute__((visibility("default")))

/* As the daemon is built, these three are pread64, pwrite64 and ftruncate64. */
EXPORT ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    void *found = dlsym(RTLD_NEXT, "pread64");
    __typeof__(&pread) real;

    memcpy(&real, &found, sizeof(real));
    hang(fd);
    return real(fd, data, size, offset);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    REAL(pwrite, data, size, offset);
}

EXPORT int ftruncate(int fd, off_t size)
{
    REAL(ftruncate, size);
}

EXPORT int fdatasync(int fd)
{
    REAL(fdatasync);
}

EXPORT int fsync(int fd)
{
    REAL(fsync);
}

EXPORT int inotify_init1(int flags)
{
    void *found = dlsym(RTLD_NEXT, "inotify_init1");
    __typeof__(&inotify_init1) real;

    memcpy(&real, &found, sizeof(real));
    if (getenv("MP_NO_INOTIFY")) {
        errno = EMFILE;
        return -1;
    }
    return real(flags);
}
