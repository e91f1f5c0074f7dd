/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_platter.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/env_ops.h"

/* Not through core/alloc.h: tests let that fail, and this is not what they test. */

enum { SECTOR = 512, NAME_MAX_BYTES = 256, SECOND_MS = 1000 };

typedef struct image {
    unsigned char *data;
    size_t size, capacity;
} image;

/* One change of a file that was not synced. */
typedef struct change {
    struct change *next;
    bool is_truncate;
    uint64_t offset; /* or the new size */
    size_t size;
    unsigned char data[];
} change;

typedef struct inode {
    struct inode *next;
    image now, synced;
    change *first, **last;
    const void *locked_by;
    uint64_t number;
    int64_t changed_ns;
} inode;

typedef struct name {
    char path[NAME_MAX_BYTES];
    inode *node; /* NULL: it is not there */
    inode *synced;
    int64_t changed_ns; /* when the name was last given or taken */
} name;

typedef struct disk_file {
    mp__file base;
    mp_platter *disk;
    inode *node;
    bool direct;
} disk_file;

typedef struct disk_worker {
    mp__worker base;
    struct disk_worker *next;
    mp_platter *disk;
    mp__task_queue queue;
    uint64_t idle_ms;
    void (*run_batch)(void *context, mp__task *first);
    void *context;
} disk_worker;

struct mp_platter {
    mp_env env;
    uint64_t random, now_ms, inode_count;
    int64_t changes; /* a time of change is never the one before */
    bool off, uncached, read_only;
    enum mp_platter_direct direct;
    inode *inodes;
    name *names;
    size_t name_count, name_capacity;
    disk_worker *workers;
    uint64_t capacity;
    unsigned fail_calls;
    size_t fail_in, fail_count, failures;
    int fail_error;
};

static mp_platter *disk_of(mp_env *env)
{
    return (mp_platter *)env;
}

uint64_t mp_platter_random(mp_platter *disk, uint64_t bound)
{
    uint64_t z = disk->random += 0x9e3779b97f4a7c15ULL; /* splitmix64 (Steele et al., 2014) */

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return (z ^ z >> 31) % bound;
}

static void *get(size_t size)
{
    void *memory = calloc(1, size ? size : 1);

    if (!memory)
        abort();
    return memory;
}

/* ---- images and changes ---- */

static void image_resize(image *i, size_t size)
{
    if (size > i->capacity) {
        i->capacity = size * 2 + SECTOR;
        i->data = realloc(i->data, i->capacity);
        if (!i->data)
            abort();
    }
    if (size > i->size)
        memset(i->data + i->size, 0, size - i->size);
    i->size = size;
}

static void image_write(image *i, uint64_t offset, const void *data, size_t size)
{
    if (size == 0)
        return;
    if (offset + size > i->size)
        image_resize(i, (size_t)offset + size);
    memcpy(i->data + offset, data, size);
}

static void change_note(inode *node, bool is_truncate, uint64_t offset, const void *data,
                        size_t size)
{
    change *c = get(sizeof(*c) + size);

    c->is_truncate = is_truncate;
    c->offset = offset;
    c->size = size;
    if (size)
        memcpy(c->data, data, size);
    *node->last = c;
    node->last = &c->next;
}

static bool coin(mp_platter *disk)
{
    return mp_platter_random(disk, 2) == 0;
}

/* The sectors of a write reach the disk each by itself. */
static void change_tear(mp_platter *disk, inode *node, const change *c)
{
    for (uint64_t at = c->offset, end = c->offset + c->size; at < end;) {
        uint64_t next = (at / SECTOR + 1) * SECTOR;

        next = next < end ? next : end;
        if (coin(disk))
            image_write(&node->synced, at, c->data + (at - c->offset), (size_t)(next - at));
        at = next;
    }
}

enum settle { SETTLE_ALL, SETTLE_NONE, SETTLE_SOME };

static void changes_settle(mp_platter *disk, inode *node, enum settle how)
{
    for (change *next, *c = node->first; c; c = next) {
        next = c->next;
        if (c->is_truncate && (how == SETTLE_ALL || (how == SETTLE_SOME && coin(disk))))
            image_resize(&node->synced, (size_t)c->offset);
        else if (!c->is_truncate && how == SETTLE_ALL)
            image_write(&node->synced, c->offset, c->data, c->size);
        else if (!c->is_truncate && how == SETTLE_SOME)
            change_tear(disk, node, c);
        free(c);
    }
    node->first = NULL;
    node->last = &node->first;
}

/* ---- names ---- */

static name *name_find(mp_platter *disk, const char *path)
{
    for (size_t i = 0; i < disk->name_count; i++)
        if (strcmp(disk->names[i].path, path) == 0)
            return &disk->names[i];
    return NULL;
}

static name *name_make(mp_platter *disk, const char *path)
{
    name *n = name_find(disk, path);

    if (n)
        return n;
    if (disk->name_count == disk->name_capacity) {
        disk->name_capacity = disk->name_capacity * 2 + 16;
        disk->names = realloc(disk->names, disk->name_capacity * sizeof(*disk->names));
        if (!disk->names)
            abort();
    }
    n = &disk->names[disk->name_count++];
    memset(n, 0, sizeof(*n));
    assert(strlen(path) < sizeof(n->path));
    memcpy(n->path, path, strlen(path) + 1);
    return n;
}

static inode *inode_new(mp_platter *disk)
{
    inode *node = get(sizeof(*node));

    node->last = &node->first;
    node->number = ++disk->inode_count;
    node->next = disk->inodes;
    disk->inodes = node;
    return node;
}

static int64_t change_time(mp_platter *disk)
{
    return (1700000000000 + (int64_t)disk->now_ms) * 1000000 + disk->changes++ % 1000000;
}

static void touch(mp_platter *disk, inode *node)
{
    node->changed_ns = change_time(disk);
}

/* Let @n stand for @node, or for nothing. */
static void name_set(mp_platter *disk, name *n, inode *node)
{
    n->node = node;
    n->changed_ns = change_time(disk);
    if (node)
        node->changed_ns = n->changed_ns;
}

static bool in_folder(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(path, folder, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

/* ---- failing ---- */

/* 0, or the error that this call shall end with. */
static int trip(mp_platter *disk, unsigned call)
{
    if (disk->off)
        return -EIO;
    if (disk->read_only &&
        (call & (MP_PLATTER_WRITE | MP_PLATTER_TRUNCATE | MP_PLATTER_NAME | MP_PLATTER_SYNC)))
        return -EROFS;
    if (!(disk->fail_calls & call) || disk->fail_count == 0)
        return 0;
    if (disk->fail_in > 1) {
        disk->fail_in--;
        return 0;
    }
    disk->fail_count--;
    disk->failures++;
    return disk->fail_error;
}

void mp_platter_fail(mp_platter *disk, unsigned calls, size_t nth, size_t count, int error)
{
    disk->fail_calls = nth ? calls : 0;
    disk->fail_in = nth;
    disk->fail_count = count;
    disk->fail_error = error;
    disk->failures = 0;
}

size_t mp_platter_failures(const mp_platter *disk)
{
    return disk->failures;
}

uint64_t mp_platter_used(const mp_platter *disk)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < disk->name_count; i++)
        sum += disk->names[i].node ? disk->names[i].node->now.size : 0;
    return sum;
}

/* ---- files ---- */

static int disk_open(mp_env *env, const char *path, int flags, mp__file **ret_file)
{
    mp_platter *disk = disk_of(env);
    name *n = name_find(disk, path);
    disk_file *file;
    int rc = trip(disk, MP_PLATTER_OPEN);

    if (rc)
        return rc;
    if ((!n || !n->node) && !(flags & MP__OPEN_CREATE))
        return -ENOENT;
    if (disk->read_only && (flags & MP__OPEN_WRITE))
        return -EROFS;
    if (n && n->node && (flags & MP__OPEN_EXCLUSIVE))
        return -EEXIST;
    if ((flags & MP__OPEN_DIRECT) && disk->direct == MP_PLATTER_NOT_OPENED)
        return -EINVAL;
    n = name_make(disk, path);
    if (!n->node)
        name_set(disk, n, inode_new(disk));
    if (flags & MP__OPEN_TRUNCATE) {
        touch(disk, n->node);
        image_resize(&n->node->now, 0);
        change_note(n->node, true, 0, NULL, 0);
    }
    file = get(sizeof(*file));
    file->base.ops = env->ops;
    file->disk = disk;
    file->node = n->node;
    file->direct = (flags & MP__OPEN_DIRECT) != 0;
    *ret_file = &file->base;
    return 0;
}

static void disk_close(mp__file *base)
{
    disk_file *file = (disk_file *)base;

    if (file->node->locked_by == file)
        file->node->locked_by = NULL;
    free(file);
}

static int64_t disk_pread(mp__file *base, void *data, size_t size, uint64_t offset)
{
    disk_file *file = (disk_file *)base;
    const image *now = &file->node->now;
    int rc = trip(file->disk, MP_PLATTER_READ);

    if (rc)
        return rc;
    if (offset >= now->size)
        return 0;
    size = size < now->size - offset ? size : (size_t)(now->size - offset);
    memcpy(data, now->data + offset, size);
    return (int64_t)size;
}

static int64_t disk_pread_nowait(mp__file *base, void *data, size_t size, uint64_t offset)
{
    disk_file *file = (disk_file *)base;
    int64_t n = file->disk->uncached ? -EAGAIN : disk_pread(base, data, size, offset);

    return n >= 0 && (size_t)n < size ? -EAGAIN : n;
}

static int write_pages(mp__file *base, const void *data, size_t size, uint64_t offset)
{
    disk_file *file = (disk_file *)base;
    mp_platter *disk = file->disk;
    uint64_t end = offset + size, now = file->node->now.size;
    uint64_t more = end > now ? end - now : 0, used = mp_platter_used(disk);
    int rc = trip(disk, MP_PLATTER_WRITE);

    if (rc == 0 && more && used + more > disk->capacity)
        rc = -ENOSPC;
    if (rc && disk->off)
        return rc;
    if (rc)
        size = (size_t)mp_platter_random(disk, size + 1); /* that much of it arrived */
    if (rc == -ENOSPC && offset + size > now && used + (offset + size - now) > disk->capacity)
        size = 0;
    image_write(&file->node->now, offset, data, size);
    touch(disk, file->node);
    change_note(file->node, false, offset, data, size);
    return rc;
}

static int disk_sync(mp__file *base)
{
    disk_file *file = (disk_file *)base;
    int rc = trip(file->disk, MP_PLATTER_SYNC);

    if (rc && file->disk->off)
        return rc;
    changes_settle(file->disk, file->node, rc ? SETTLE_SOME : SETTLE_ALL);
    return rc;
}

static int disk_pwrite(mp__file *base, const void *data, size_t size, uint64_t offset)
{
    const disk_file *file = (disk_file *)base;
    int rc;

    if (file->direct && file->disk->direct == MP_PLATTER_NOT_WRITTEN)
        return -EINVAL;
    assert(!file->direct ||
           ((uintptr_t)data | size | (uintptr_t)offset) % MP__DIRECT_BLOCK == 0); /* as O_DIRECT */
    rc = write_pages(base, data, size, offset);
    return rc || !file->direct ? rc : disk_sync(base);
}

static int disk_truncate(mp__file *base, uint64_t size)
{
    disk_file *file = (disk_file *)base;
    int rc = trip(file->disk, MP_PLATTER_TRUNCATE);

    if (rc)
        return rc;
    image_resize(&file->node->now, (size_t)size);
    touch(file->disk, file->node);
    change_note(file->node, true, size, NULL, 0);
    return 0;
}

static mp__stat describe(const inode *node)
{
    return (mp__stat){.size = node->now.size,
                      .inode = node->number,
                      .changed_ns = node->changed_ns,
                      .modified_ms = node->changed_ns / 1000000};
}

static int disk_file_stat(mp__file *base, mp__stat *ret_stat)
{
    disk_file *file = (disk_file *)base;
    int rc = trip(file->disk, MP_PLATTER_LOOK);

    if (rc == 0)
        *ret_stat = describe(file->node);
    return rc;
}

static int disk_lock(mp__file *base)
{
    disk_file *file = (disk_file *)base;
    int rc = trip(file->disk, MP_PLATTER_LOOK);

    if (rc)
        return rc;
    if (file->node->locked_by && file->node->locked_by != file)
        return MP_ELOCKED;
    file->node->locked_by = file;
    return 0;
}

/* A folder is there as long as something lies in it; it changes with the names below it. */
static int folder_stat(const mp_platter *disk, const char *path, mp__stat *ret_stat)
{
    size_t size = strlen(path);
    mp__stat stat = {.is_dir = true, .inode = UINT64_MAX};
    bool there = false;

    for (size_t i = 0; i < disk->name_count; i++) {
        const name *n = &disk->names[i];

        if (strncmp(n->path, path, size) != 0 || n->path[size] != '/')
            continue;
        there |= n->node != NULL;
        if (n->changed_ns > stat.changed_ns)
            stat.changed_ns = n->changed_ns;
    }
    if (!there)
        return -ENOENT;
    *ret_stat = stat;
    return 0;
}

static int disk_stat(mp_env *env, const char *path, mp__stat *ret_stat)
{
    mp_platter *disk = disk_of(env);
    name *n = name_find(disk, path);
    int rc = trip(disk, MP_PLATTER_LOOK);

    if (rc)
        return rc;
    if (n && n->node)
        *ret_stat = describe(n->node);
    else
        return folder_stat(disk, path, ret_stat);
    return 0;
}

static int disk_mkdir(mp_env *env, const char *path)
{
    (void)path; /* folders are part of the names, so they are there */
    return disk_of(env)->read_only ? -EEXIST : trip(disk_of(env), MP_PLATTER_NAME);
}

/* All names below @from; they are one folder's, so they move together. */
static int rename_folder(mp_platter *disk, const char *from, const char *to)
{
    size_t size = strlen(from), moved = 0;

    for (size_t i = 0; i < disk->name_count; i++) {
        char path[sizeof(disk->names[i].path)];
        inode *node = disk->names[i].node;
        int n;

        if (!node || strncmp(disk->names[i].path, from, size) != 0 ||
            disk->names[i].path[size] != '/')
            continue;
        n = snprintf(path, sizeof(path), "%s%s", to, disk->names[i].path + size);
        assert(n > 0 && (size_t)n < sizeof(path));
        name_set(disk, &disk->names[i], NULL);
        name_set(disk, name_make(disk, path), node); /* which may move the names */
        moved++;
    }
    return moved ? 0 : -ENOENT;
}

static int disk_rename(mp_env *env, const char *from, const char *to)
{
    mp_platter *disk = disk_of(env);
    name *n = name_find(disk, from);
    inode *node;
    int rc = trip(disk, MP_PLATTER_NAME);

    if (rc)
        return rc;
    if (!n || !n->node)
        return rename_folder(disk, from, to);
    node = n->node;
    name_set(disk, n, NULL);
    name_set(disk, name_make(disk, to), node);
    return 0;
}

static int disk_unlink(mp_env *env, const char *path)
{
    mp_platter *disk = disk_of(env);
    name *n = name_find(disk, path);
    int rc = trip(disk, MP_PLATTER_NAME);

    if (rc)
        return rc;
    if (!n || !n->node)
        return -ENOENT;
    name_set(disk, n, NULL);
    return 0;
}

static int disk_sync_dir(mp_env *env, const char *path)
{
    mp_platter *disk = disk_of(env);
    int rc = trip(disk, MP_PLATTER_SYNC_DIR);

    for (size_t i = 0; i < disk->name_count && rc == 0; i++)
        if (in_folder(disk->names[i].path, path))
            disk->names[i].synced = disk->names[i].node;
    return rc;
}

/* Whether names[@at] lies below a folder in @path, and is the first that does. */
static bool is_first_of_folder(const mp_platter *disk, size_t at, const char *path)
{
    const char *own = disk->names[at].path, *slash;
    size_t size = strlen(path);

    if (strncmp(own, path, size) != 0 || own[size] != '/')
        return false;
    slash = strchr(own + size + 1, '/');
    if (!slash)
        return false;
    for (size_t i = 0; i < at; i++)
        if (disk->names[i].node &&
            strncmp(disk->names[i].path, own, (size_t)(slash - own) + 1) == 0)
            return false;
    return true;
}

static int each_folder(const char *rest, int (*each)(void *context, const char *name),
                       void *context)
{
    char folder[NAME_MAX_BYTES];

    (void)snprintf(folder, sizeof(folder), "%.*s", (int)strcspn(rest, "/"), rest);
    return each(context, folder);
}

static int disk_list(mp_env *env, const char *path, int (*each)(void *context, const char *name),
                     void *context)
{
    mp_platter *disk = disk_of(env);
    int rc = trip(disk, MP_PLATTER_LOOK);

    for (size_t i = 0; i < disk->name_count && rc == 0; i++)
        if (disk->names[i].node && in_folder(disk->names[i].path, path))
            rc = each(context, disk->names[i].path + strlen(path) + 1);
        else if (disk->names[i].node && is_first_of_folder(disk, i, path))
            rc = each_folder(disk->names[i].path + strlen(path) + 1, each, context);
    return rc;
}

static int disk_free_bytes(mp_env *env, const char *path, uint64_t *ret_bytes)
{
    mp_platter *disk = disk_of(env);
    uint64_t used = mp_platter_used(disk);

    (void)path;
    *ret_bytes = used < disk->capacity ? disk->capacity - used : 0;
    return trip(disk, MP_PLATTER_LOOK);
}

/* ---- time, random, workers ---- */

static uint64_t disk_now_ns(mp_env *env)
{
    return disk_of(env)->now_ms * 1000000u;
}

static int64_t disk_wall_ms(mp_env *env)
{
    return 1700000000000 + (int64_t)disk_of(env)->now_ms;
}

static void disk_random(mp_env *env, void *data, size_t size)
{
    unsigned char *p = data;

    while (size--)
        *p++ = (unsigned char)mp_platter_random(disk_of(env), 256);
}

static int disk_worker_new(mp_env *env, const char *worker_name, uint64_t idle_ms,
                           void (*run_batch)(void *context, mp__task *first), void *context,
                           mp__worker **ret_worker)
{
    disk_worker *worker = get(sizeof(*worker));

    (void)worker_name;
    worker->base.ops = env->ops;
    worker->disk = disk_of(env);
    worker->idle_ms = idle_ms;
    worker->run_batch = run_batch;
    worker->context = context;
    mp__task_queue_init(&worker->queue);
    worker->next = worker->disk->workers;
    worker->disk->workers = worker;
    *ret_worker = &worker->base;
    return 0;
}

static void disk_worker_set_idle(mp__worker *base, uint64_t idle_ms)
{
    ((disk_worker *)base)->idle_ms = idle_ms;
}

static void disk_worker_post(mp__worker *base, mp__task *task)
{
    mp__task_queue_add(&((disk_worker *)base)->queue, task);
}

static size_t disk_worker_queued(const mp__worker *base)
{
    return ((const disk_worker *)base)->queue.count;
}

static bool worker_run(disk_worker *worker)
{
    mp__task *first = mp__task_queue_take_all(&worker->queue);

    if (first)
        worker->run_batch(worker->context, first);
    return first != NULL;
}

static mp__worker *disk_worker_free(mp__worker *base)
{
    disk_worker *worker = (disk_worker *)base, **link = &worker->disk->workers;

    while (worker_run(worker))
        ;
    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
    free(worker);
    return NULL;
}

void mp_platter_turn(mp_platter *disk, uint64_t ms)
{
    disk->now_ms += ms;
}

void mp_platter_run(mp_platter *disk, bool idle)
{
    bool again = true;

    while (again) {
        again = false;
        for (disk_worker *w = disk->workers; w; w = w->next)
            again |= worker_run(w);
    }
    for (disk_worker *w = disk->workers; w && idle; w = w->next)
        if (w->idle_ms)
            w->run_batch(w->context, NULL);
}

static const mp__env_ops disk_ops = {
    .now_ns = disk_now_ns,
    .wall_ms = disk_wall_ms,
    .random = disk_random,
    .file_open = disk_open,
    .file_close = disk_close,
    .file_pread = disk_pread,
    .file_pread_nowait = disk_pread_nowait,
    .file_pwrite = disk_pwrite,
    .file_sync = disk_sync,
    .file_truncate = disk_truncate,
    .file_stat = disk_file_stat,
    .file_lock = disk_lock,
    .stat = disk_stat,
    .mkdir_one = disk_mkdir,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .sync_dir = disk_sync_dir,
    .list = disk_list,
    .disk_free = disk_free_bytes,
    .worker_new = disk_worker_new,
    .worker_set_idle = disk_worker_set_idle,
    .worker_post = disk_worker_post,
    .worker_queued = disk_worker_queued,
    .worker_free = disk_worker_free,
};

/* ---- the disk ---- */

mp_platter *mp_platter_new(uint64_t seed)
{
    mp_platter *disk = get(sizeof(*disk));

    disk->env.ops = &disk_ops;
    disk->random = seed;
    disk->now_ms = 10 * SECOND_MS;
    disk->capacity = UINT64_MAX;
    return disk;
}

mp_platter *mp_platter_free(mp_platter *disk)
{
    assert(!disk->workers);
    for (inode *next, *i = disk->inodes; i; i = next) {
        next = i->next;
        changes_settle(disk, i, SETTLE_NONE);
        free(i->now.data);
        free(i->synced.data);
        free(i);
    }
    free(disk->names);
    free(disk);
    return NULL;
}

mp_env *mp_platter_env(mp_platter *disk)
{
    return &disk->env;
}

void mp_platter_set_capacity(mp_platter *disk, uint64_t bytes)
{
    disk->capacity = bytes;
}

void mp_platter_set_read_only(mp_platter *disk, bool read_only)
{
    disk->read_only = read_only;
}

void mp_platter_set_direct(mp_platter *disk, enum mp_platter_direct direct)
{
    disk->direct = direct;
}

void mp_platter_set_cached(mp_platter *disk, bool cached)
{
    disk->uncached = !cached;
}

void mp_platter_power_off(mp_platter *disk, enum mp_platter_crash crash)
{
    disk->off = true;
    if (crash == MP_PLATTER_KILL)
        return;
    for (inode *i = disk->inodes; i; i = i->next) {
        changes_settle(disk, i, crash == MP_PLATTER_TEAR ? SETTLE_SOME : SETTLE_NONE);
        image_resize(&i->now, 0);
        image_write(&i->now, 0, i->synced.data, i->synced.size);
    }
    for (size_t i = 0; i < disk->name_count; i++) {
        name *n = &disk->names[i];

        if (crash == MP_PLATTER_LOSE || coin(disk))
            n->node = n->synced;
        n->synced = n->node;
    }
}

void mp_platter_power_on(mp_platter *disk)
{
    disk->off = false;
    mp_platter_fail(disk, 0, 0, 0, 0);
}

unsigned char *mp_platter_bytes(mp_platter *disk, const char *path, size_t *ret_size)
{
    name *n = name_find(disk, path);

    if (!n || !n->node)
        return NULL;
    *ret_size = n->node->now.size;
    return n->node->now.data;
}

void mp_platter_put(mp_platter *disk, const char *path, const void *data, size_t size)
{
    name *n = name_make(disk, path);

    name_set(disk, n, inode_new(disk));
    n->synced = n->node;
    image_write(&n->node->now, 0, data, size);
    image_write(&n->node->synced, 0, data, size);
}

size_t mp_platter_count(const mp_platter *disk, const char *part)
{
    size_t count = 0;

    for (size_t i = 0; i < disk->name_count; i++)
        count += disk->names[i].node && strstr(disk->names[i].path, part) != NULL;
    return count;
}
