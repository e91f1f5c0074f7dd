/* SPDX-License-Identifier: Apache-2.0 */
/* How SQLite reaches the disk: through a layer that puts a checksum at the end of each page of the
 * database and checks it, and each frame of the WAL, on every read. Below it is SQLite's own VFS in
 * the real env (so that other programs' locks count), and one over mp_env's files in all others. */
#ifndef MP_ORIGIN_SQLITE_VFS_H
#define MP_ORIGIN_SQLITE_VFS_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>

#include "core/env.h"

typedef struct mp__vfs mp__vfs;

enum {
    MP__VFS_PAGE = 4096,  /* bytes of every page of our databases */
    MP__VFS_RESERVED = 8, /* at its end: XXH3-64 of the rest, with the page's number as seed */
};

/* Register a VFS of its own for databases of @env; its name is mp__vfs_name(). MP_ENOMEM. */
MP_MUST_USE int mp__vfs_new(mp_env *env, mp__vfs **ret_vfs);
/* After all its databases are closed. Accepts NULL, returns NULL. */
mp__vfs *mp__vfs_free(mp__vfs *vfs);
const char *mp__vfs_name(const mp__vfs *vfs);

typedef struct mp__vfs_stats {
    uint64_t mended;   /* pages and frames in which one flipped bit was found and set right */
    uint64_t damaged;  /* reads that failed for damage */
    uint64_t failed;   /* reads that the disk refused: they say nothing of what is there */
    uint64_t searched; /* times that a page which was read was looked through for a flipped bit */
} mp__vfs_stats;
mp__vfs_stats mp__vfs_stats_read(const mp__vfs *vfs);

/* Whether databases that this thread opens from now on must have right checksums. They must, unless
 * a file is looked at that another program may have written. */
void mp__vfs_open_unverified(bool unverified);

/* Go over all pages of the database file of @db. Those with one flipped bit are set right on disk
 * (looked for until many pages have none: then they were written, not flipped);
 * with @reseal those that do not hold their checksum get a new one. *ret_damaged: those that are
 * left. 0 or -EIO. The writer's thread: nothing else may write to the file meanwhile. */
int mp__vfs_scrub(sqlite3 *db, bool reseal, uint64_t *ret_damaged);

/* Cut off of the WAL of @db what stands behind its last commit: frames of a commit that failed,
 * which a later recovery would take for one that worked. In a write transaction of @db. 0 or -EIO.
 */
int mp__vfs_cut_wal(sqlite3 *db);

/* Sync the WAL of @db: all that was committed is on the disk. Outside of a transaction. 0 or
 * -errno.
 */
int mp__vfs_sync_wal(sqlite3 *db);
/* Write the WAL of @db over itself and sync it, after a sync that failed: the system takes what
 * that was to bring to the disk for clean, and would not write it any more. In a write transaction
 * of
 * @db. 0 or -errno. */
int mp__vfs_rewrite_wal(sqlite3 *db);

/* The VFS over mp_env's files (sqlite_vfs_env.c): locks and shared memory within this process. */
MP_MUST_USE int mp__vfs_env_new(mp_env *env, sqlite3_vfs **ret_vfs);
void mp__vfs_env_free(sqlite3_vfs *vfs);

/* Pure: XXH3-64 of a page as it stands in its last bytes; and the same found by inverting one bit:
 * true, with the bit inverted in @page, when exactly that makes it hold. */
uint64_t mp__vfs_page_sum(const unsigned char *page, uint64_t number);
bool mp__vfs_page_holds(const unsigned char *page, uint64_t number);
bool mp__vfs_page_mend(unsigned char *page, uint64_t number);

/* Pure: a frame of the WAL, its header of 24 bytes and its page, after a frame (or WAL header)
 * whose checksum was @before. Whether it holds; whether one inverted bit, and no other, makes it
 * so. */
bool mp__vfs_frame_holds(const unsigned char header[24], const unsigned char *page,
                         const uint32_t before[2], uint32_t ret_sum[2]);
bool mp__vfs_frame_mend(unsigned char header[24], unsigned char *page, const uint32_t before[2]);
/* Pure: the header of a WAL. */
bool mp__vfs_wal_header_holds(const unsigned char header[32]);
bool mp__vfs_wal_header_mend(unsigned char header[32]);

#endif
