/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite over the files of an mp_env that is not the real one: simulators, disks that fail. Locks
 * and the WAL's shared index live in this process, since nobody else can reach those files. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "origin/sqlite_vfs.h"

enum { PATH_MAX_ = 512, REGIONS_MAX = 256 };

/* What the connections of one file share. */
typedef struct node {
    struct node *next;
    char path[PATH_MAX_];
    int users;
    /* locks on the file, as in "File Locking And Concurrency" of sqlite.org */
    int shared;         /* connections at SHARED or above */
    const void *writer; /* who is at RESERVED or above */
    bool pending;
    /* the -shm "file" */
    int shm_users;
    void *regions[REGIONS_MAX];
    int region_count;
    int slots[SQLITE_SHM_NLOCK]; /* -1 exclusive, else the number of shares */
} node;

typedef struct env_vfs {
    sqlite3_vfs vfs;
    mp_env *env;
    sqlite3_mutex *lock; /* over all below */
    node *nodes;
    int last_errno;
    char name[40];
} env_vfs;

typedef struct env_file {
    sqlite3_file base;
    env_vfs *vfs;
    mp__file *file;
    node *node; /* of databases */
    int level;
    bool new_entry; /* its folder is yet to be synced */
    bool delete_on_close;
    bool has_shm;
    unsigned shared_slots, exclusive_slots;
    char path[PATH_MAX_];
} env_file;

static env_file *of(sqlite3_file *file)
{
    return (env_file *)file;
}

static int failed(env_file *f, int error, int code)
{
    f->vfs->last_errno = error < 0 && error > -4096 ? -error : EIO;
    if (error == MP_ENOMEM)
        return SQLITE_NOMEM;
    return error == -ENOSPC && code == SQLITE_IOERR_WRITE ? SQLITE_FULL : code;
}

/* ---- bytes ---- */

static int env_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    env_file *f = of(file);
    int64_t n = mp__file_pread(f->file, data, (size_t)size, (uint64_t)offset);

    if (n < 0)
        return failed(f, (int)n, SQLITE_IOERR_READ);
    if (n == size)
        return SQLITE_OK;
    memset((char *)data + n, 0, (size_t)(size - n));
    return SQLITE_IOERR_SHORT_READ;
}

static int env_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    int rc = mp__file_pwrite(of(file)->file, data, (size_t)size, (uint64_t)offset);

    return rc ? failed(of(file), rc, SQLITE_IOERR_WRITE) : SQLITE_OK;
}

static int env_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int rc = mp__file_truncate(of(file)->file, (uint64_t)size);

    return rc ? failed(of(file), rc, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

static int sync_folder_of(env_vfs *v, const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX_];

    if (!slash)
        return mp__env_sync_dir(v->env, ".");
    (void)snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return mp__env_sync_dir(v->env, folder);
}

static int env_sync(sqlite3_file *file, int flags)
{
    env_file *f = of(file);
    int rc = mp__file_sync(f->file);

    (void)flags;
    if (rc)
        return failed(f, rc, SQLITE_IOERR_FSYNC);
    if (f->new_entry) {
        rc = sync_folder_of(f->vfs, f->path);
        if (rc)
            return failed(f, rc, SQLITE_IOERR_DIR_FSYNC);
        f->new_entry = false;
    }
    return SQLITE_OK;
}

static int env_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    mp__stat stat;
    int rc = mp__file_stat(of(file)->file, &stat);

    if (rc)
        return failed(of(file), rc, SQLITE_IOERR_FSTAT);
    *ret_size = (sqlite3_int64)stat.size;
    return SQLITE_OK;
}

/* ---- locks on the database file ---- */

static int raise_lock(env_file *f, int level)
{
    node *n = f->node;

    if (level == SQLITE_LOCK_SHARED) {
        if (n->pending)
            return SQLITE_BUSY;
        n->shared++;
        return SQLITE_OK;
    }
    if (n->writer && n->writer != f)
        return SQLITE_BUSY;
    n->writer = f;
    if (level == SQLITE_LOCK_EXCLUSIVE) {
        n->pending = true;
        if (n->shared > 1)
            return SQLITE_BUSY;
    }
    return SQLITE_OK;
}

static int env_lock(sqlite3_file *file, int level)
{
    env_file *f = of(file);
    int rc;

    if (level <= f->level || !f->node)
        return SQLITE_OK;
    sqlite3_mutex_enter(f->vfs->lock);
    rc = raise_lock(f, level);
    sqlite3_mutex_leave(f->vfs->lock);
    if (rc == SQLITE_OK)
        f->level = level;
    return rc;
}

static int env_unlock(sqlite3_file *file, int level)
{
    env_file *f = of(file);
    node *n = f->node;

    if (!n || level >= f->level)
        return SQLITE_OK;
    sqlite3_mutex_enter(f->vfs->lock);
    if (n->writer == f) {
        n->writer = NULL;
        n->pending = false;
    }
    if (level == SQLITE_LOCK_NONE && f->level >= SQLITE_LOCK_SHARED)
        n->shared--;
    sqlite3_mutex_leave(f->vfs->lock);
    f->level = level;
    return SQLITE_OK;
}

static int env_reserved(sqlite3_file *file, int *ret_reserved)
{
    env_file *f = of(file);

    sqlite3_mutex_enter(f->vfs->lock);
    *ret_reserved = f->node && f->node->writer;
    sqlite3_mutex_leave(f->vfs->lock);
    return SQLITE_OK;
}

/* ---- shared memory of the WAL ---- */

static int env_shm_map(sqlite3_file *file, int region, int size, int extend,
                       void volatile **ret_memory)
{
    env_file *f = of(file);
    node *n = f->node;
    int rc = SQLITE_OK;

    *ret_memory = NULL;
    sqlite3_mutex_enter(f->vfs->lock);
    if (!f->has_shm) {
        f->has_shm = true;
        n->shm_users++;
    }
    while (n->region_count <= region && extend && rc == SQLITE_OK) {
        void *memory = n->region_count < REGIONS_MAX ? mp__calloc(1, (size_t)size) : NULL;

        if (memory)
            n->regions[n->region_count++] = memory;
        else
            rc = SQLITE_IOERR_NOMEM;
    }
    if (region < n->region_count)
        *ret_memory = n->regions[region];
    sqlite3_mutex_leave(f->vfs->lock);
    return rc;
}

static bool others_hold(const env_file *f, unsigned mask, bool exclusive)
{
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        int mine = (f->shared_slots >> i) & 1, held = f->node->slots[i];

        if (!((mask >> i) & 1))
            continue;
        if (held < 0 ? !((f->exclusive_slots >> i) & 1) : exclusive && held > mine)
            return true;
    }
    return false;
}

static void release_slots(env_file *f, unsigned mask)
{
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        if ((mask & f->exclusive_slots) >> i & 1)
            f->node->slots[i] = 0;
        else if ((mask & f->shared_slots) >> i & 1)
            f->node->slots[i]--;
    }
    f->shared_slots &= ~mask;
    f->exclusive_slots &= ~mask;
}

static int take_slots(env_file *f, unsigned mask, bool exclusive)
{
    if (others_hold(f, mask, exclusive))
        return SQLITE_BUSY;
    if (!exclusive && (mask & f->shared_slots) == mask)
        return SQLITE_OK;
    release_slots(f, mask);
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++)
        if ((mask >> i) & 1)
            f->node->slots[i] = exclusive ? -1 : f->node->slots[i] + 1;
    if (exclusive)
        f->exclusive_slots |= mask;
    else
        f->shared_slots |= mask;
    return SQLITE_OK;
}

static int env_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    env_file *f = of(file);
    unsigned mask = ((1u << n) - 1) << offset;
    int rc = SQLITE_OK;

    sqlite3_mutex_enter(f->vfs->lock);
    if (flags & SQLITE_SHM_UNLOCK)
        release_slots(f, mask);
    else
        rc = take_slots(f, mask, flags & SQLITE_SHM_EXCLUSIVE);
    sqlite3_mutex_leave(f->vfs->lock);
    return rc;
}

static void env_shm_barrier(sqlite3_file *file)
{
    sqlite3_mutex_enter(of(file)->vfs->lock);
    sqlite3_mutex_leave(of(file)->vfs->lock);
}

static int env_shm_unmap(sqlite3_file *file, int delete_it)
{
    env_file *f = of(file);
    node *n = f->node;

    (void)delete_it; /* it goes with its last user */
    if (!f->has_shm)
        return SQLITE_OK;
    sqlite3_mutex_enter(f->vfs->lock);
    release_slots(f, ~0u);
    f->has_shm = false;
    if (--n->shm_users == 0)
        while (n->region_count) {
            n->region_count--;
            n->regions[n->region_count] = mp__free(n->regions[n->region_count]);
        }
    sqlite3_mutex_leave(f->vfs->lock);
    return SQLITE_OK;
}

/* ---- the rest of a file ---- */

static node *node_find(env_vfs *v, const char *path)
{
    node *n = v->nodes;

    while (n && strcmp(n->path, path) != 0)
        n = n->next;
    if (!n && (n = mp__calloc(1, sizeof(*n))) != NULL) {
        (void)snprintf(n->path, sizeof(n->path), "%s", path);
        n->next = v->nodes;
        v->nodes = n;
    }
    if (n)
        n->users++;
    return n;
}

static void node_leave(env_vfs *v, node *n)
{
    node **at = &v->nodes;

    if (--n->users)
        return;
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    (void)mp__free(n);
}

static int env_close(sqlite3_file *file)
{
    env_file *f = of(file);

    if (f->node) {
        (void)env_shm_unmap(file, 0);
        (void)env_unlock(file, SQLITE_LOCK_NONE);
        sqlite3_mutex_enter(f->vfs->lock);
        node_leave(f->vfs, f->node);
        sqlite3_mutex_leave(f->vfs->lock);
    }
    mp__file_close(f->file);
    if (f->delete_on_close)
        (void)mp__env_unlink(f->vfs->env, f->path);
    return SQLITE_OK;
}

static int env_control(sqlite3_file *file, int what, void *argument)
{
    if (what == SQLITE_FCNTL_LOCKSTATE) {
        *(int *)argument = of(file)->level;
        return SQLITE_OK;
    }
    return SQLITE_NOTFOUND;
}

static int env_sector_size(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int env_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE; /* as SQLite believes of real disks */
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = env_close,
    .xRead = env_read,
    .xWrite = env_write,
    .xTruncate = env_truncate,
    .xSync = env_sync,
    .xFileSize = env_file_size,
    .xLock = env_lock,
    .xUnlock = env_unlock,
    .xCheckReservedLock = env_reserved,
    .xFileControl = env_control,
    .xSectorSize = env_sector_size,
    .xDeviceCharacteristics = env_characteristics,
    .xShmMap = env_shm_map,
    .xShmLock = env_shm_lock,
    .xShmBarrier = env_shm_barrier,
    .xShmUnmap = env_shm_unmap,
};

/* ---- the VFS ---- */

static int env_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    env_vfs *v = (env_vfs *)vfs;
    env_file *f = of(file);
    int how = (flags & SQLITE_OPEN_READWRITE) ? MP__OPEN_WRITE : MP__OPEN_READ;
    mp__stat stat;
    int rc;

    *f = (env_file){.vfs = v};
    if (!name || strlen(name) >= sizeof(f->path))
        return SQLITE_CANTOPEN; /* temporary tables and sorts stay in memory */
    (void)snprintf(f->path, sizeof(f->path), "%s", name);
    if (flags & SQLITE_OPEN_CREATE) {
        how |= MP__OPEN_CREATE;
        /* As SQLite's own: of a journal always, since one that is there may be left from a life
         * that was killed before it synced the folder. */
        f->new_entry = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) ||
                       mp__env_stat(v->env, name, &stat) == -ENOENT;
    }
    f->delete_on_close = flags & SQLITE_OPEN_DELETEONCLOSE;
    rc = mp__file_open(v->env, name, how, &f->file);
    if (rc)
        return failed(f, rc, SQLITE_CANTOPEN);
    if (flags & SQLITE_OPEN_MAIN_DB) {
        sqlite3_mutex_enter(v->lock);
        f->node = node_find(v, name);
        sqlite3_mutex_leave(v->lock);
        if (!f->node) {
            mp__file_close(f->file);
            return SQLITE_NOMEM;
        }
    }
    if (ret_flags)
        *ret_flags = flags;
    f->base.pMethods = &methods;
    return SQLITE_OK;
}

static int env_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    env_vfs *v = (env_vfs *)vfs;
    int rc = mp__env_unlink(v->env, name);

    if (rc == -ENOENT)
        return SQLITE_IOERR_DELETE_NOENT;
    if (rc)
        return SQLITE_IOERR_DELETE;
    if (sync_folder && sync_folder_of(v, name) != 0)
        return SQLITE_IOERR_DIR_FSYNC;
    return SQLITE_OK;
}

static int env_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    mp__stat stat;
    int rc = mp__env_stat(((env_vfs *)vfs)->env, name, &stat);

    if (rc && rc != -ENOENT)
        return SQLITE_IOERR_ACCESS;
    /* as SQLite's own: an empty file counts as none */
    *ret = rc == 0 && (flags != SQLITE_ACCESS_EXISTS || stat.size > 0);
    return SQLITE_OK;
}

static int env_full_path(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
    (void)vfs;
    if (strlen(name) >= (size_t)size)
        return SQLITE_CANTOPEN;
    (void)snprintf(ret, (size_t)size, "%s", name);
    return SQLITE_OK;
}

static int env_random(sqlite3_vfs *vfs, int size, char *ret)
{
    mp__env_random(((env_vfs *)vfs)->env, ret, (size_t)size);
    return size;
}

static int env_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs; /* time there passes only between events */
    return microseconds;
}

static int env_now_ms(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
    static const int64_t unix_epoch_in_julian_ms = 210866760000000;

    *ret = mp__env_wall_ms(((env_vfs *)vfs)->env) + unix_epoch_in_julian_ms;
    return SQLITE_OK;
}

static int env_now(sqlite3_vfs *vfs, double *ret)
{
    sqlite3_int64 now;

    (void)env_now_ms(vfs, &now);
    *ret = (double)now / 86400000.0;
    return SQLITE_OK;
}

static int env_last_error(sqlite3_vfs *vfs, int size, char *ret)
{
    (void)size;
    (void)ret;
    return ((env_vfs *)vfs)->last_errno;
}

int mp__vfs_env_new(mp_env *env, sqlite3_vfs **ret_vfs)
{
    env_vfs *v = mp__calloc(1, sizeof(*v));

    if (!v)
        return MP_ENOMEM;
    v->env = env;
    v->lock = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
    if (!v->lock) {
        (void)mp__free(v);
        return MP_ENOMEM;
    }
    (void)snprintf(v->name, sizeof(v->name), "mp-env-%p", (void *)v);
    v->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(env_file),
        .mxPathname = PATH_MAX_ - 1,
        .zName = v->name,
        .xOpen = env_open,
        .xDelete = env_delete,
        .xAccess = env_access,
        .xFullPathname = env_full_path,
        .xRandomness = env_random,
        .xSleep = env_sleep,
        .xCurrentTime = env_now,
        .xGetLastError = env_last_error,
        .xCurrentTimeInt64 = env_now_ms,
    };
    *ret_vfs = &v->vfs;
    return 0;
}

void mp__vfs_env_free(sqlite3_vfs *vfs)
{
    env_vfs *v = (env_vfs *)vfs;

    sqlite3_mutex_free(v->lock);
    (void)mp__free(v);
}
