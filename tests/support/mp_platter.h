/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in memory that fails as real ones do, as an mp_env for code that works with files: its
 * power can be cut, which loses or tears what was not synced; its n-th call can fail; it can be
 * full. A failed sync loses what was to be synced and later syncs do not bring it back, as on
 * Linux.
 *
 * Like mp_disk.h, but for one thread and without sleeping: the clock stands until it is turned, and
 * workers run when they are told to. Everything random comes from the seed. It has no loops and no
 * streams.
 *
 *     mp_platter *disk = mp_platter_new(seed);
 *     use(mp_platter_env(disk));
 *     mp_platter_power_off(disk, MP_PLATTER_LOSE);    // every call fails from here on
 *     ... close what is open ...
 *     mp_platter_power_on(disk);                   // what was synced is there, the rest by chance
 */
#ifndef MP_PLATTER_H
#define MP_PLATTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/env.h"

typedef struct mp_platter mp_platter;

mp_platter *mp_platter_new(uint64_t seed);
mp_platter *mp_platter_free(mp_platter *disk); /* all files closed */
mp_env *mp_platter_env(mp_platter *disk);

/* ---- time and workers ---- */

void mp_platter_turn(mp_platter *disk, uint64_t ms); /* the clock only */
/* Run what the workers have, until they have nothing; with @idle each of them once more without
 * work, as if its idle time had come. */
void mp_platter_run(mp_platter *disk, bool idle);

/* ---- what goes wrong ---- */

enum mp_platter_call {
    MP_PLATTER_OPEN = 1,
    MP_PLATTER_READ = 2,
    MP_PLATTER_WRITE = 4,
    MP_PLATTER_SYNC = 8,
    MP_PLATTER_TRUNCATE = 16,
    MP_PLATTER_NAME = 32, /* rename, unlink, mkdir */
    MP_PLATTER_SYNC_DIR = 64,
    MP_PLATTER_LOOK = 128, /* stat, list, lock */
    MP_PLATTER_ANY = 255,
};

/* From now on the @nth call of @calls (bits) fails with @error, and the @count - 1 after it. A
 * failing write may arrive in part. @nth 0 ends it. */
void mp_platter_fail(mp_platter *disk, unsigned calls, size_t nth, size_t count, int error);
/* How many of the calls to fail have failed since mp_platter_fail(). */
size_t mp_platter_failures(const mp_platter *disk);
/* Most bytes of all files; writes beyond get -ENOSPC. Default: no bound. */
void mp_platter_set_capacity(mp_platter *disk, uint64_t bytes);
uint64_t mp_platter_used(const mp_platter *disk);
/* Nothing can be written, as after an error that made the system remount. */
void mp_platter_set_read_only(mp_platter *disk, bool read_only);
/* Files are written past the page cache (MP__OPEN_DIRECT): they can be (the default), the open says
 * that they cannot, or only the first write does. */
enum mp_platter_direct { MP_PLATTER_DIRECT, MP_PLATTER_NOT_OPENED, MP_PLATTER_NOT_WRITTEN };
void mp_platter_set_direct(mp_platter *disk, enum mp_platter_direct direct);
/* nowait reads find the disk's pages in memory (the default), or not. */
void mp_platter_set_cached(mp_platter *disk, bool cached);

enum mp_platter_crash {
    MP_PLATTER_KILL, /* of the process: the system keeps what was written */
    MP_PLATTER_LOSE, /* of the power: nothing that was not synced is there */
    MP_PLATTER_TEAR, /* of the power: each sector and name that was not synced is there or is not */
};
void mp_platter_power_off(mp_platter *disk, enum mp_platter_crash crash);
void mp_platter_power_on(mp_platter *disk);

/* ---- looking at files ---- */

/* The bytes of a file, to look at or to damage; NULL when there is none. Valid until it is written
 * to. */
unsigned char *mp_platter_bytes(mp_platter *disk, const char *path, size_t *ret_size);
/* Make the file these bytes, synced. */
void mp_platter_put(mp_platter *disk, const char *path, const void *data, size_t size);
/* How many files' names contain @part. */
size_t mp_platter_count(const mp_platter *disk, const char *part);

/* A random number below @bound, from the seed. */
uint64_t mp_platter_random(mp_platter *disk, uint64_t bound);

#endif
