/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in memory that fails and loses power as told: an mp_env whose files are its own and whose
 * clock, loops and workers are the real env's.
 *
 * It keeps two images of each file: what programs see, and what is on the platter. A sync copies
 * the sectors that changed since the last one; a sync that fails forgets that they changed, as
 * Linux does (Rebello and others, "Can Applications Recover from fsync Failures?", 2020). When the
 * power goes, each changed sector is there, or not, by the seed; likewise a new or renamed file
 * whose folder was not synced. */
#ifndef MP_DISK_H
#define MP_DISK_H

#include <errno.h>
#include <pthread.h>

#include "mp_test.h"
#include "core/env_ops.h"

enum { MP_SECTOR = 512 };

enum mp_disk_call {
    MP_DISK_READ = 1,
    MP_DISK_WRITE = 2,
    MP_DISK_SYNC = 4,
    MP_DISK_META = 8, /* open, truncate, rename, unlink, sync of folders */
    MP_DISK_ALL = 15,
};

typedef struct mp_disk_node {
    struct mp_disk_node *next;
    char path[128];             /* "": unlinked */
    char old_path[128];         /* on the platter; "": not there */
    unsigned char *seen, *kept; /* kept: the platter's */
    unsigned char *dirty;       /* a byte a sector */
    size_t seen_size, kept_size, capacity;
    uint64_t inode;
    int64_t modified_ms;
    int users;
    bool locked;
} mp_disk_node;

typedef struct mp_disk {
    mp_env env; /* first */
    mp__env_ops ops;
    pthread_mutex_t lock;
    mp_disk_node *nodes;
    uint64_t inodes;
    unsigned seed;
    /* faults */
    unsigned calls_mask; /* which calls count and may fail */
    uint64_t calls;      /* so many of them were made */
    uint64_t fail_at;    /* the n-th fails, from 1; 0: none */
    bool fail_on;        /* and all after it */
    int error;           /* how: -EIO, -ENOSPC */
    bool torn;           /* a write that fails has written half */
    uint64_t space;      /* bytes that all files may have; 0: no limit */
    bool off;            /* power is gone: everything fails */
} mp_disk;

typedef struct mp_disk_file {
    mp__file base;
    mp_disk *disk;
    mp_disk_node *node;
    bool locked;
} mp_disk_file;

static inline mp_disk *mp_disk_of(mp_env *env)
{
    return (mp_disk *)env;
}

static inline unsigned mp_disk_pick(mp_disk *disk, unsigned below)
{
    disk->seed = disk->seed * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)disk->seed * below >> 32);
}

/* Whether this call fails: 0 or an error. Under the lock. */
static inline int mp_disk_fault(mp_disk *disk, enum mp_disk_call call)
{
    if (disk->off)
        return -EIO;
    if (!(disk->calls_mask & call))
        return 0;
    disk->calls++;
    if (disk->fail_at &&
        (disk->calls == disk->fail_at || (disk->fail_on && disk->calls > disk->fail_at)))
        return disk->error;
    return 0;
}

static inline mp_disk_node *mp_disk_find(mp_disk *disk, const char *path)
{
    mp_disk_node *node = disk->nodes;

    while (node && strcmp(node->path, path) != 0)
        node = node->next;
    return node;
}

static inline void mp_disk_grow(mp_disk_node *node, size_t size)
{
    size_t capacity = node->capacity ? node->capacity : 4096;

    while (capacity < size)
        capacity *= 2;
    if (capacity != node->capacity) {
        node->seen = realloc(node->seen, capacity);
        node->kept = realloc(node->kept, capacity);
        node->dirty = realloc(node->dirty, capacity / MP_SECTOR);
        assert_true(node->seen && node->kept && node->dirty);
        memset(node->seen + node->capacity, 0, capacity - node->capacity);
        memset(node->kept + node->capacity, 0, capacity - node->capacity);
        memset(node->dirty + node->capacity / MP_SECTOR, 0,
               (capacity - node->capacity) / MP_SECTOR);
        node->capacity = capacity;
    }
}

static inline uint64_t mp_disk_used(const mp_disk *disk)
{
    uint64_t used = 0;

    for (const mp_disk_node *node = disk->nodes; node; node = node->next)
        used += node->path[0] ? node->seen_size : 0;
    return used;
}

/* ---- the env's calls ---- */

static inline int mp_disk_open(mp_env *env, const char *path, int flags, mp__file **ret_file)
{
    mp_disk *disk = mp_disk_of(env);
    mp_disk_file *file = NULL;
    mp_disk_node *node;
    int rc;

    pthread_mutex_lock(&disk->lock);
    rc = mp_disk_fault(disk, MP_DISK_META);
    node = mp_disk_find(disk, path);
    if (rc == 0 && !node && !(flags & MP__OPEN_CREATE))
        rc = -ENOENT;
    if (rc == 0 && node && (flags & MP__OPEN_EXCLUSIVE))
        rc = -EEXIST;
    if (rc == 0 && (flags & MP__OPEN_DIRECT))
        rc = -EINVAL; /* one that can is mp_platter */
    if (rc == 0 && !node) {
        node = calloc(1, sizeof(*node));
        assert_non_null(node);
        snprintf(node->path, sizeof(node->path), "%s", path);
        node->inode = ++disk->inodes;
        mp_disk_grow(node, 1);
        node->next = disk->nodes;
        disk->nodes = node;
    }
    if (rc == 0) {
        if (flags & MP__OPEN_TRUNCATE)
            node->seen_size = 0;
        file = calloc(1, sizeof(*file));
        assert_non_null(file);
        file->base.ops = env->ops;
        file->disk = disk;
        file->node = node;
        node->users++;
        *ret_file = &file->base;
    }
    pthread_mutex_unlock(&disk->lock);
    return rc;
}

static inline void mp_disk_close(mp__file *base)
{
    mp_disk_file *file = (mp_disk_file *)base;

    pthread_mutex_lock(&file->disk->lock);
    file->node->users--;
    if (file->locked)
        file->node->locked = false;
    pthread_mutex_unlock(&file->disk->lock);
    free(file);
}

static inline int64_t mp_disk_pread(mp__file *base, void *data, size_t size, uint64_t offset)
{
    mp_disk_file *file = (mp_disk_file *)base;
    int64_t n;

    pthread_mutex_lock(&file->disk->lock);
    n = mp_disk_fault(file->disk, MP_DISK_READ);
    if (n == 0 && offset < file->node->seen_size) {
        n = (int64_t)(size < file->node->seen_size - offset ? size
                                                            : file->node->seen_size - offset);
        memcpy(data, file->node->seen + offset, (size_t)n);
    }
    pthread_mutex_unlock(&file->disk->lock);
    return n;
}

static inline int64_t mp_disk_pread_nowait(mp__file *base, void *data, size_t size, uint64_t offset)
{
    return mp_disk_pread(base, data, size, offset);
}

static inline void mp_disk_store(mp_disk_node *node, const void *data, size_t size, uint64_t offset)
{
    mp_disk_grow(node, offset + size);
    memcpy(node->seen + offset, data, size);
    memset(node->dirty + offset / MP_SECTOR, 1,
           (offset + size - 1) / MP_SECTOR - offset / MP_SECTOR + 1);
    if (node->seen_size < offset + size)
        node->seen_size = offset + size;
}

static inline int mp_disk_pwrite(mp__file *base, const void *data, size_t size, uint64_t offset)
{
    mp_disk_file *file = (mp_disk_file *)base;
    mp_disk *disk = file->disk;
    uint64_t end = offset + size;
    int rc;

    pthread_mutex_lock(&disk->lock);
    rc = mp_disk_fault(disk, MP_DISK_WRITE);
    if (rc == 0 && disk->space && end > file->node->seen_size &&
        mp_disk_used(disk) + end - file->node->seen_size > disk->space)
        rc = -ENOSPC;
    if (rc && disk->torn && !disk->off && size > 1)
        mp_disk_store(file->node, data, size / 2, offset);
    if (rc == 0 && size)
        mp_disk_store(file->node, data, size, offset);
    file->node->modified_ms++;
    pthread_mutex_unlock(&disk->lock);
    return rc;
}

static inline int mp_disk_sync(mp__file *base)
{
    mp_disk_file *file = (mp_disk_file *)base;
    mp_disk_node *node = file->node;
    int rc;

    pthread_mutex_lock(&file->disk->lock);
    rc = mp_disk_fault(file->disk, MP_DISK_SYNC);
    for (size_t i = 0; i < node->capacity / MP_SECTOR && !file->disk->off; i++) {
        if (node->dirty[i] && rc == 0)
            memcpy(node->kept + i * MP_SECTOR, node->seen + i * MP_SECTOR, MP_SECTOR);
        node->dirty[i] = 0; /* also after a failure: nobody will try again */
    }
    if (rc == 0)
        node->kept_size = node->seen_size;
    pthread_mutex_unlock(&file->disk->lock);
    return rc;
}

static inline int mp_disk_truncate(mp__file *base, uint64_t size)
{
    mp_disk_file *file = (mp_disk_file *)base;
    mp_disk_node *node = file->node;
    int rc;

    pthread_mutex_lock(&file->disk->lock);
    rc = mp_disk_fault(file->disk, MP_DISK_META);
    if (rc == 0) {
        mp_disk_grow(node, size + 1);
        if (size < node->seen_size) {
            memset(node->seen + size, 0, node->seen_size - size);
            memset(node->dirty + size / MP_SECTOR, 1,
                   (node->seen_size - 1) / MP_SECTOR - size / MP_SECTOR + 1);
        }
        node->seen_size = size;
    }
    pthread_mutex_unlock(&file->disk->lock);
    return rc;
}

static inline void mp_disk_describe(const mp_disk_node *node, mp__stat *ret_stat)
{
    *ret_stat = (mp__stat){.size = node->seen_size,
                           .device = 1,
                           .inode = node->inode,
                           .modified_ms = node->modified_ms};
}

static inline int mp_disk_file_stat(mp__file *base, mp__stat *ret_stat)
{
    mp_disk_file *file = (mp_disk_file *)base;

    pthread_mutex_lock(&file->disk->lock);
    mp_disk_describe(file->node, ret_stat);
    pthread_mutex_unlock(&file->disk->lock);
    return 0;
}

static inline int mp_disk_file_lock(mp__file *base)
{
    mp_disk_file *file = (mp_disk_file *)base;
    int rc = 0;

    pthread_mutex_lock(&file->disk->lock);
    if (file->node->locked && !file->locked)
        rc = MP_ELOCKED;
    else
        file->node->locked = file->locked = true;
    pthread_mutex_unlock(&file->disk->lock);
    return rc;
}

static inline int mp_disk_stat(mp_env *env, const char *path, mp__stat *ret_stat)
{
    mp_disk *disk = mp_disk_of(env);
    mp_disk_node *node;

    pthread_mutex_lock(&disk->lock);
    node = mp_disk_find(disk, path);
    if (node)
        mp_disk_describe(node, ret_stat);
    pthread_mutex_unlock(&disk->lock);
    return node ? 0 : -ENOENT;
}

static inline int mp_disk_mkdir(mp_env *env, const char *path)
{
    (void)env;
    (void)path;
    return 0;
}

static inline int mp_disk_rename(mp_env *env, const char *from, const char *to)
{
    mp_disk *disk = mp_disk_of(env);
    mp_disk_node *node, *there;
    int rc;

    pthread_mutex_lock(&disk->lock);
    rc = mp_disk_fault(disk, MP_DISK_META);
    node = mp_disk_find(disk, from);
    there = mp_disk_find(disk, to);
    if (rc == 0 && !node)
        rc = -ENOENT;
    if (rc == 0) {
        if (there)
            there->path[0] = '\0';
        snprintf(node->path, sizeof(node->path), "%s", to);
    }
    pthread_mutex_unlock(&disk->lock);
    return rc;
}

static inline int mp_disk_unlink(mp_env *env, const char *path)
{
    mp_disk *disk = mp_disk_of(env);
    mp_disk_node *node;
    int rc;

    pthread_mutex_lock(&disk->lock);
    rc = mp_disk_fault(disk, MP_DISK_META);
    node = mp_disk_find(disk, path);
    if (rc == 0 && !node)
        rc = -ENOENT;
    if (rc == 0)
        node->path[0] = '\0';
    pthread_mutex_unlock(&disk->lock);
    return rc;
}

static inline int mp_disk_sync_dir(mp_env *env, const char *path)
{
    mp_disk *disk = mp_disk_of(env);
    int rc;

    (void)path; /* there is one folder */
    pthread_mutex_lock(&disk->lock);
    rc = mp_disk_fault(disk, MP_DISK_META);
    for (mp_disk_node *node = disk->nodes; node && rc == 0; node = node->next)
        memcpy(node->old_path, node->path, sizeof(node->path));
    pthread_mutex_unlock(&disk->lock);
    return rc;
}

static inline int mp_disk_list(mp_env *env, const char *path,
                               int (*each)(void *context, const char *name), void *context)
{
    size_t size = strlen(path);
    int rc = 0;

    for (mp_disk_node *node = mp_disk_of(env)->nodes; node && rc == 0; node = node->next)
        if (strncmp(node->path, path, size) == 0 && node->path[size] == '/')
            rc = each(context, node->path + size + 1);
    return rc;
}

static inline int mp_disk_free_space(mp_env *env, const char *path, uint64_t *ret_bytes)
{
    mp_disk *disk = mp_disk_of(env);

    (void)path;
    pthread_mutex_lock(&disk->lock);
    *ret_bytes = disk->space ? disk->space - mp_disk_used(disk) : 1ull << 40;
    pthread_mutex_unlock(&disk->lock);
    return 0;
}

/* ---- for tests ---- */

static inline mp_disk *mp_disk_new(unsigned seed)
{
    mp_disk *disk = calloc(1, sizeof(*disk));

    assert_non_null(disk);
    disk->ops = *mp__env_real()->ops;
    disk->env.ops = &disk->ops;
    disk->ops.file_open = mp_disk_open;
    disk->ops.file_close = mp_disk_close;
    disk->ops.file_pread = mp_disk_pread;
    disk->ops.file_pread_nowait = mp_disk_pread_nowait;
    disk->ops.file_pwrite = mp_disk_pwrite;
    disk->ops.file_sync = mp_disk_sync;
    disk->ops.file_truncate = mp_disk_truncate;
    disk->ops.file_stat = mp_disk_file_stat;
    disk->ops.file_lock = mp_disk_file_lock;
    disk->ops.stat = mp_disk_stat;
    disk->ops.mkdir_one = mp_disk_mkdir;
    disk->ops.rename = mp_disk_rename;
    disk->ops.unlink = mp_disk_unlink;
    disk->ops.sync_dir = mp_disk_sync_dir;
    disk->ops.list = mp_disk_list;
    disk->ops.disk_free = mp_disk_free_space;
    pthread_mutex_init(&disk->lock, NULL);
    disk->seed = seed * 2654435761u + 1;
    disk->calls_mask = MP_DISK_ALL & ~(unsigned)MP_DISK_READ;
    disk->error = -EIO;
    return disk;
}

static inline mp_disk *mp_disk_free(mp_disk *disk)
{
    while (disk && disk->nodes) {
        mp_disk_node *node = disk->nodes;

        disk->nodes = node->next;
        free(node->seen);
        free(node->kept);
        free(node->dirty);
        free(node);
    }
    if (disk)
        pthread_mutex_destroy(&disk->lock);
    free(disk);
    return NULL;
}

static inline uint64_t mp_disk_calls(mp_disk *disk)
{
    uint64_t calls;

    pthread_mutex_lock(&disk->lock);
    calls = disk->calls;
    pthread_mutex_unlock(&disk->lock);
    return calls;
}

/* The @n-th call of @mask from now fails with @error, and with @on all after it. 0: no more. */
static inline void mp_disk_fail(mp_disk *disk, unsigned mask, uint64_t n, bool on, int error)
{
    pthread_mutex_lock(&disk->lock);
    disk->calls_mask = mask;
    disk->calls = 0;
    disk->fail_at = n;
    disk->fail_on = on;
    disk->error = error;
    pthread_mutex_unlock(&disk->lock);
}

static inline void mp_disk_space(mp_disk *disk, uint64_t bytes)
{
    pthread_mutex_lock(&disk->lock);
    disk->space = bytes;
    pthread_mutex_unlock(&disk->lock);
}

static inline void mp_disk_power(mp_disk *disk, bool on)
{
    pthread_mutex_lock(&disk->lock);
    disk->off = !on;
    pthread_mutex_unlock(&disk->lock);
}

static inline void mp_disk_lose(mp_disk *disk, mp_disk_node *node)
{
    for (size_t i = 0; i < node->capacity / MP_SECTOR; i++) {
        if (node->dirty[i] && mp_disk_pick(disk, 2))
            memcpy(node->kept + i * MP_SECTOR, node->seen + i * MP_SECTOR, MP_SECTOR);
        node->dirty[i] = 0;
    }
    if (node->kept_size != node->seen_size && mp_disk_pick(disk, 2))
        node->kept_size = node->seen_size;
    memcpy(node->seen, node->kept, node->capacity);
    node->seen_size = node->kept_size;
    memset(node->seen + node->seen_size, 0, node->capacity - node->seen_size);
    memcpy(node->kept, node->seen, node->capacity);
    if (mp_disk_pick(disk, 2))
        memcpy(node->old_path, node->path, sizeof(node->path));
}

/* What is on the platter after the power went and came back. All files must be closed. */
static inline void mp_disk_crash(mp_disk *disk)
{
    for (mp_disk_node *node = disk->nodes; node; node = node->next) {
        assert_int_equal(node->users, 0);
        mp_disk_lose(disk, node);
    }
    for (mp_disk_node *node = disk->nodes; node; node = node->next) {
        /* of two files that may bear one name the older entry stands */
        for (mp_disk_node *other = disk->nodes; other; other = other->next)
            if (other != node && node->old_path[0] && strcmp(node->old_path, other->old_path) == 0)
                (node->inode > other->inode ? node : other)->old_path[0] = '\0';
        memcpy(node->path, node->old_path, sizeof(node->path));
    }
    disk->off = false;
    disk->fail_at = 0;
    disk->space = 0;
}

#endif
