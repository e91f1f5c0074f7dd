/* SPDX-License-Identifier: Apache-2.0 */
/* A journal: a file of records that is only appended to, for what must survive until it is
 * somewhere else. What was synced is there after a crash; a record that was cut or damaged is left
 * out and counted, and those behind it are still found.
 *
 *   file   = head(40) record*                       little endian, records at multiples of 8
 *   head   = magic(8) version(4) kind(4) secret(16) sum(8)
 *   record = sum(8) size(4) mark(4) bytes padding
 *
 * A file's mark comes from its secret. Behind the last record there may be zeros, or what is left
 * of an earlier life of the file.
 *
 * Sums are XXH3-64, begun with a seed of the file's secret and the place, so that a record which a
 * client wrote into a value of its own is not taken for one by the search behind damage.
 *
 * One thread at a time. */
#ifndef MP_CORE_JOURNAL_H
#define MP_CORE_JOURNAL_H

#include "core/buf.h"
#include "core/env.h"

enum {
    MP__JOURNAL_VERSION = 2, /* 1 had the same mark in all files: it is read, and gone on with */
    MP__JOURNAL_HEAD = 40,   /* bytes of one without records */
    MP__JOURNAL_RECORD_MAX = 8 * 1024 * 1024,
};

typedef struct mp__journal mp__journal;

typedef struct mp__journal_found {
    uint64_t records;
    uint64_t damaged; /* places behind which whole records follow: something was lost there */
    uint64_t cut;     /* bytes at the end that are no whole record: a write that was not finished */
} mp__journal_found;

/* Open the journal at @path, or begin it; its records of the past go to @each in order (borrowed; a
 * nonzero answer ends it and is returned). @kind tells what the records are: a file of another kind
 * or no journal at all is MP_ECORRUPT, one of a newer version MP_EVERSION, with a text. Where
 * something was damaged a copy of the file stays beside it as PATH.bad. Blocks. */
MP_MUST_USE int mp__journal_open(mp_env *env, const char *path, uint32_t kind,
                                 int (*each)(void *context, mp_str record), void *context,
                                 mp__journal **ret_journal, mp__journal_found *ret_found,
                                 mp__diag *diag);
/* The records of a journal that somebody else may be writing to just now, as in mp__journal_open(),
 * without changing anything. MP_EABSENT: there is none, or only its beginning. Blocks. */
MP_MUST_USE int mp__journal_read(mp_env *env, const char *path, uint32_t kind,
                                 int (*each)(void *context, mp_str record), void *context,
                                 mp__diag *diag);
/* Accepts NULL, returns NULL; syncs nothing. */
mp__journal *mp__journal_close(mp__journal *journal);

/* Put a record at the end, in memory as yet. MP_ENOMEM; MP_ELIMIT. */
MP_MUST_USE int mp__journal_add(mp__journal *journal, mp_str record);
/* Write and sync what was added. On an error nothing of it counts, it is forgotten and cut off the
 * file as far as the disk lets one, and nothing can be added until mp__journal_renew() has worked:
 * what a failed sync left on the disk nobody knows. Blocks. */
MP_MUST_USE int mp__journal_sync(mp__journal *journal);
/* Write zeros behind the records, @bytes of them at a time, so that most syncs only write over what
 * the file has: one that makes it longer waits for the file system's own journal, too, and takes
 * half as long again (docs/benchmarks.md). Where there is no room, none. 0, as at first: none. */
void mp__journal_set_room(mp__journal *journal, size_t bytes);
/* Whether it is written in whole blocks past the page cache, as one with room is where the file
 * system can: the disk then has less to wait for at a sync. The zeros that end the last block are
 * those that stand behind the records already. */
bool mp__journal_is_direct(const mp__journal *journal);
/* Drop what was added and not synced. */
void mp__journal_drop(mp__journal *journal);

/* Begin a new file with the records that @next gives (a record with data NULL ends them), synced
 * and put in the place of the old one: to be rid of what is done, or after a failure. On an error
 * all records of the past are still on the disk, and nothing can be added until it worked. Blocks.
 */
MP_MUST_USE int mp__journal_renew(mp__journal *journal, mp_str (*next)(void *context),
                                  void *context);

/* Begin the same file anew, without a record: for one all of whose records are done, so that losing
 * them loses nothing. What the file has of bytes is written over from now on; mp__journal_renew()
 * gives them back. A crash in the middle leaves all records, none, or a head that is damaged
 * (MP_ECORRUPT at the next open). On an error nothing can be added until mp__journal_renew() has
 * worked. Blocks. */
MP_MUST_USE int mp__journal_restart(mp__journal *journal);

/* Cut off all records, where all are done: it needs no room and gives back what they took. A crash
 * leaves all or none. On an error nothing can be added until this or mp__journal_renew() has
 * worked; MP_EDEGRADED: only the latter can, since the path names another file. Blocks. */
MP_MUST_USE int mp__journal_clear(mp__journal *journal);

uint64_t mp__journal_bytes(const mp__journal *journal); /* of its head and records */
bool mp__journal_is_broken(const mp__journal *journal); /* it needs mp__journal_renew() */

#endif
