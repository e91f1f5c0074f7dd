/* SPDX-License-Identifier: Apache-2.0 */
/* The real env's clock, random and files: POSIX. */
#include "core/env_real.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"

typedef struct real_file {
    mp__file base;
    int fd;
} real_file;

static int fd_of(const mp__file *file)
{
    return ((const real_file *)file)->fd;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t mp__real_now_ns(mp_env *env)
{
    (void)env;
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t mp__real_cpu_ns(mp_env *env)
{
    (void)env;
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t mp__real_wall_ms(mp_env *env)
{
    struct timespec now;

    (void)env;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void mp__real_random(mp_env *env, void *data, size_t size)
{
    char *p = data;

    (void)env;
    while (size) {
        ssize_t n = getrandom(p, size, 0);

        if (n < 0 && errno != EINTR)
            abort(); /* a kernel without getrandom(2) is older than anything we run on */
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        }
    }
}

int mp__real_file_open(mp_env *env, const char *path, int flags, mp__file **ret_file)
{
    int how = O_CLOEXEC | ((flags & MP__OPEN_WRITE) ? O_RDWR : O_RDONLY);
    real_file *file = mp__malloc(sizeof(*file));

    if (!file)
        return MP_ENOMEM;
    how |= (flags & MP__OPEN_CREATE) ? O_CREAT : 0;
    how |= (flags & MP__OPEN_EXCLUSIVE) ? O_EXCL : 0;
    how |= (flags & MP__OPEN_TRUNCATE) ? O_TRUNC : 0;
    how |= (flags & MP__OPEN_DIRECT) ? O_DIRECT | O_DSYNC : 0;
    file->base.ops = env->ops;
    do
        file->fd = open(path, how, 0600);
    while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) {
        int rc = -errno;

        (void)mp__free(file);
        return rc;
    }
    *ret_file = &file->base;
    return 0;
}

void mp__real_file_close(mp__file *file)
{
    (void)close(fd_of(file));
    (void)mp__free(file);
}

int64_t mp__real_file_pread(mp__file *file, void *data, size_t size, uint64_t offset)
{
    char *p = data;
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd_of(file), p + done, size - done, (off_t)(offset + done));

        if (n < 0 && errno == ESPIPE) /* a pipe has no places: what comes next */
            n = read(fd_of(file), p + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

int64_t mp__real_file_pread_nowait(mp__file *file, void *data, size_t size, uint64_t offset)
{
    struct iovec part = {data, size};
    ssize_t n = preadv2(fd_of(file), &part, 1, (off_t)offset, RWF_NOWAIT);

    if (n == (ssize_t)size)
        return n;
    if (n < 0 && errno != EAGAIN && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR)
        return -errno;
    return -EAGAIN; /* partly in memory, or a file system that cannot tell */
}

/* A file as large as the process may make it (RLIMIT_FSIZE) has no more room, as on a full disk. */
static int write_error(void)
{
    return errno == EFBIG ? -ENOSPC : -errno;
}

int mp__real_file_pwrite(mp__file *file, const void *data, size_t size, uint64_t offset)
{
    const char *p = data;

    while (size) {
        ssize_t n = pwrite(fd_of(file), p, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return write_error();
        if (n == 0)
            return -EIO;
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int mp__real_file_sync(mp__file *file)
{
    return fdatasync(fd_of(file)) ? -errno : 0;
}

int mp__real_file_truncate(mp__file *file, uint64_t size)
{
    return ftruncate(fd_of(file), (off_t)size) ? write_error() : 0;
}

static void stat_fill(const struct stat *from, mp__stat *to)
{
    *to = (mp__stat){
        .size = (uint64_t)from->st_size,
        .device = (uint64_t)from->st_dev,
        .inode = (uint64_t)from->st_ino,
        .modified_ms = (int64_t)from->st_mtim.tv_sec * 1000 + from->st_mtim.tv_nsec / 1000000,
        .changed_ns = (int64_t)from->st_ctim.tv_sec * 1000000000 + from->st_ctim.tv_nsec,
        .is_dir = S_ISDIR(from->st_mode),
        .is_special = !S_ISDIR(from->st_mode) && !S_ISREG(from->st_mode),
        .mode = from->st_mode & 07777,
    };
}

int mp__real_file_stat(mp__file *file, mp__stat *ret_stat)
{
    struct stat st;

    if (fstat(fd_of(file), &st) != 0)
        return -errno;
    stat_fill(&st, ret_stat);
    return 0;
}

int mp__real_file_lock(mp__file *file)
{
    /* flock belongs to the open file, so a second open in this process is refused, too, and a
     * close of another descriptor does not give the lock away as with fcntl. */
    if (flock(fd_of(file), LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? MP_ELOCKED : -errno;
}

int mp__real_stat(mp_env *env, const char *path, mp__stat *ret_stat)
{
    struct stat st;

    (void)env;
    if (stat(path, &st) != 0)
        return -errno;
    stat_fill(&st, ret_stat);
    return 0;
}

int mp__real_mkdir_one(mp_env *env, const char *path)
{
    (void)env;
    return mkdir(path, 0700) ? -errno : 0;
}

int mp__real_rename(mp_env *env, const char *from, const char *to)
{
    (void)env;
    return rename(from, to) ? -errno : 0;
}

int mp__real_unlink(mp_env *env, const char *path)
{
    (void)env;
    return unlink(path) ? -errno : 0;
}

int mp__real_sync_dir(mp_env *env, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    (void)env;
    if (fd < 0)
        return -errno;
    rc = fsync(fd) ? -errno : 0;
    (void)close(fd);
    return rc;
}

int mp__real_list(mp_env *env, const char *path, int (*each)(void *context, const char *name),
                  void *context)
{
    DIR *dir = opendir(path);
    int rc = 0;

    (void)env;
    if (!dir)
        return -errno;
    while (rc == 0) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(dir); /* one DIR a call: safe in threads (POSIX 2024) */
        if (!entry) {
            rc = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(context, entry->d_name);
    }
    (void)closedir(dir);
    return rc;
}

int mp__real_disk_free(mp_env *env, const char *path, uint64_t *ret_bytes)
{
    struct statvfs st;

    (void)env;
    if (statvfs(path, &st) != 0)
        return -errno;
    *ret_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}
