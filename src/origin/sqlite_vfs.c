/* SPDX-License-Identifier: Apache-2.0 */
/* The VFS that SQLite sees: everything goes to the one below, reads and writes of pages by way of
 * sqlite_pages.c (contract: sqlite_vfs.h). */
#include <stdio.h>

#include "core/alloc.h"
#include "origin/sqlite_pages.h"

/* ---- the file's methods ---- */

static int sum_close(sqlite3_file *file)
{
    mp__sum_file *f = mp__vfs_file(file);
    int rc = f->below->pMethods ? f->below->pMethods->xClose(f->below) : SQLITE_OK;

    f->page = mp__free(f->page);
    return rc;
}

static int sum_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    mp__sum_file *f = mp__vfs_file(file);

    switch (f->kind) {
    case MP__FILE_DATABASE:
        return mp__vfs_read_database(f, data, size, offset);
    case MP__FILE_WAL:
        return mp__vfs_read_wal(f, data, size, offset);
    case MP__FILE_OTHER:
        break;
    }
    return mp__vfs_read_below(f, data, size, offset);
}

static int sum_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    mp__sum_file *f = mp__vfs_file(file);

    if (f->kind == MP__FILE_DATABASE)
        return mp__vfs_write_database(f, data, size, offset);
    f->chain_frame = -1; /* it may be a frame that is written over */
    return mp__vfs_write_below(f, data, size, offset);
}

static int sum_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    mp__vfs_file(file)->chain_frame = -1;
    return mp__vfs_file(file)->below->pMethods->xTruncate(mp__vfs_file(file)->below, size);
}

static int sum_sync(sqlite3_file *file, int flags)
{
    return mp__vfs_file(file)->below->pMethods->xSync(mp__vfs_file(file)->below, flags);
}

static int sum_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return mp__vfs_file(file)->below->pMethods->xFileSize(mp__vfs_file(file)->below, ret_size);
}

static int sum_lock(sqlite3_file *file, int level)
{
    return mp__vfs_file(file)->below->pMethods->xLock(mp__vfs_file(file)->below, level);
}

static int sum_unlock(sqlite3_file *file, int level)
{
    return mp__vfs_file(file)->below->pMethods->xUnlock(mp__vfs_file(file)->below, level);
}

static int sum_reserved(sqlite3_file *file, int *ret_reserved)
{
    return mp__vfs_file(file)->below->pMethods->xCheckReservedLock(mp__vfs_file(file)->below,
                                                                   ret_reserved);
}

static int sum_control(sqlite3_file *file, int what, void *argument)
{
    return mp__vfs_file(file)->below->pMethods->xFileControl(mp__vfs_file(file)->below, what,
                                                             argument);
}

static int sum_sector_size(sqlite3_file *file)
{
    return mp__vfs_file(file)->below->pMethods->xSectorSize(mp__vfs_file(file)->below);
}

static int sum_characteristics(sqlite3_file *file)
{
    return mp__vfs_file(file)->below->pMethods->xDeviceCharacteristics(mp__vfs_file(file)->below);
}

static int sum_shm_map(sqlite3_file *file, int region, int size, int extend,
                       void volatile **ret_memory)
{
    return mp__vfs_file(file)->below->pMethods->xShmMap(mp__vfs_file(file)->below, region, size,
                                                        extend, ret_memory);
}

static int sum_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return mp__vfs_file(file)->below->pMethods->xShmLock(mp__vfs_file(file)->below, offset, n,
                                                         flags);
}

static void sum_shm_barrier(sqlite3_file *file)
{
    mp__vfs_file(file)->below->pMethods->xShmBarrier(mp__vfs_file(file)->below);
}

static int sum_shm_unmap(sqlite3_file *file, int delete_it)
{
    return mp__vfs_file(file)->below->pMethods->xShmUnmap(mp__vfs_file(file)->below, delete_it);
}

/* Version 2: no xFetch, so that every page comes through xRead. */
const sqlite3_io_methods mp__vfs_methods = {
    .iVersion = 2,
    .xClose = sum_close,
    .xRead = sum_read,
    .xWrite = sum_write,
    .xTruncate = sum_truncate,
    .xSync = sum_sync,
    .xFileSize = sum_file_size,
    .xLock = sum_lock,
    .xUnlock = sum_unlock,
    .xCheckReservedLock = sum_reserved,
    .xFileControl = sum_control,
    .xSectorSize = sum_sector_size,
    .xDeviceCharacteristics = sum_characteristics,
    .xShmMap = sum_shm_map,
    .xShmLock = sum_shm_lock,
    .xShmBarrier = sum_shm_barrier,
    .xShmUnmap = sum_shm_unmap,
};

/* ---- the VFS ---- */

static _Thread_local bool open_unverified;

void mp__vfs_open_unverified(bool unverified)
{
    open_unverified = unverified;
}

static mp__vfs *vfs_of(sqlite3_vfs *vfs)
{
    return (mp__vfs *)vfs;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    mp__vfs *v = vfs_of(vfs);
    mp__sum_file *f = mp__vfs_file(file);
    int rc;

    *f = (mp__sum_file){.vfs = v,
                        .chain_frame = -1,
                        .unverified = open_unverified,
                        .below = (sqlite3_file *)(void *)(f + 1)};
    if (flags & SQLITE_OPEN_MAIN_DB)
        f->kind = MP__FILE_DATABASE;
    else if (flags & SQLITE_OPEN_WAL)
        f->kind = MP__FILE_WAL;
    if (f->kind != MP__FILE_OTHER && !(f->page = mp__malloc(MP__VFS_PAGE)))
        return SQLITE_NOMEM;
    f->below->pMethods = NULL;
    rc = v->below->xOpen(v->below, name, f->below, flags, ret_flags);
    if (rc != SQLITE_OK && !f->below->pMethods) {
        f->page = mp__free(f->page);
        return rc;
    }
    f->base.pMethods = &mp__vfs_methods; /* closed by SQLite also after an error */
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    return vfs_of(vfs)->below->xDelete(vfs_of(vfs)->below, name, sync_folder);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    return vfs_of(vfs)->below->xAccess(vfs_of(vfs)->below, name, flags, ret);
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
    return vfs_of(vfs)->below->xFullPathname(vfs_of(vfs)->below, name, size, ret);
}

static int vfs_random(sqlite3_vfs *vfs, int size, char *ret)
{
    return vfs_of(vfs)->below->xRandomness(vfs_of(vfs)->below, size, ret);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return vfs_of(vfs)->below->xSleep(vfs_of(vfs)->below, microseconds);
}

static int vfs_now(sqlite3_vfs *vfs, double *ret)
{
    return vfs_of(vfs)->below->xCurrentTime(vfs_of(vfs)->below, ret);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *ret)
{
    return vfs_of(vfs)->below->xGetLastError(vfs_of(vfs)->below, size, ret);
}

static int vfs_now_ms(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
    return vfs_of(vfs)->below->xCurrentTimeInt64(vfs_of(vfs)->below, ret);
}

int mp__vfs_new(mp_env *env, mp__vfs **ret_vfs)
{
    mp__vfs *v;
    int rc = 0;

    if (sqlite3_initialize() != SQLITE_OK)
        return MP_ENOMEM;
    v = mp__calloc(1, sizeof(*v));
    if (!v)
        return MP_ENOMEM;
    if (env == mp__env_real())
        v->below = sqlite3_vfs_find("unix");
    else
        rc = mp__vfs_env_new(env, &v->own_below);
    if (rc) {
        (void)mp__free(v);
        return rc;
    }
    if (v->own_below)
        v->below = v->own_below;
    (void)snprintf(v->name, sizeof(v->name), "marketprism-%p", (void *)v);
    v->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(mp__sum_file) + v->below->szOsFile,
        .mxPathname = v->below->mxPathname,
        .zName = v->name,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_now,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_now_ms,
    };
    (void)sqlite3_vfs_register(&v->vfs, 0);
    *ret_vfs = v;
    return 0;
}

mp__vfs *mp__vfs_free(mp__vfs *vfs)
{
    if (!vfs)
        return NULL;
    (void)sqlite3_vfs_unregister(&vfs->vfs);
    if (vfs->own_below)
        mp__vfs_env_free(vfs->own_below);
    return mp__free(vfs);
}

const char *mp__vfs_name(const mp__vfs *vfs)
{
    return vfs->name;
}

mp__vfs_stats mp__vfs_stats_read(const mp__vfs *vfs)
{
    return (mp__vfs_stats){atomic_load_explicit(&vfs->mended, memory_order_relaxed),
                           atomic_load_explicit(&vfs->damaged, memory_order_relaxed),
                           atomic_load_explicit(&vfs->failed, memory_order_relaxed),
                           atomic_load_explicit(&vfs->searched, memory_order_relaxed)};
}
