/* SPDX-License-Identifier: Apache-2.0 */
/* L3: the last known good on disk, as log-structured segments.
 *
 * A folder of segments l3-<number>.seg of a fixed size, appended by one writer thread; each record
 * carries XXH3-64 over everything in it, key and revision included, and is checked on each read; a
 * sealed segment ends in a footer with its index, so that a restart scans only the last segment. Of
 * the footers it reads at once what the first reads need, and the rest behind them. Design and
 * figures: docs/decisions. */
#ifndef MP_CACHE_L3_H
#define MP_CACHE_L3_H

#include "cache/cache.h"
#include "cache/l3_key.h"
#include "cache/priority.h"

typedef struct mp__l3 mp__l3;

typedef struct mp__l3_options {
    mp_env *env;
    const char *dir;
    uint64_t bytes_max, segment_bytes, sync_ms, pending_bytes_max;
    const mp__l3_keys *keys;          /* NULL: nothing is sealed; they outlive the L3 */
    const mp__priorities *priorities; /* NULL: all are normal; they outlive the L3 */
    uint64_t scrub_rate; /* bytes a second that are read again to find damage; 0: none */
    /* May be NULL: the scrubber found the record of @address damaged, which is left out now; ask
     * for it again where it may be had. On the thread "mp-l3-scrub", until mp__l3_scrub_stop(). */
    void (*on_damaged)(void *context, mp_str address, uint64_t hash, uint64_t revision);
    void *context;
    bool is_lazy;        /* for tests: also a small index is brought in when it is asked for */
    bool hashes_plainly; /* for tests: as where the processor has no AES */
} mp__l3_options;

typedef struct mp__l3_stats {
    uint64_t hits, misses, appends, forgotten, corrupt, errors, dropped;
    uint64_t entries, bytes, bytes_max, segments, pending_bytes;
    uint64_t recovered, recovery_ns;
    uint64_t expired;      /* values past their own expiry whose room was taken back */
    uint64_t not_admitted; /* fills that were not kept since it was nearly full */
    uint64_t healed;       /* values that came again after their record was lost */
    uint64_t scrubbed_bytes, scrub_passes, scrub_damaged;
    uint64_t to_rewrite;     /* segments that are not sealed with the first key, or not ours, yet */
    int64_t scrub_passed_ms; /* Unix ms when the last whole pass ended; 0: none has */
} mp__l3_stats;

/* Open or make the folder, find what is in it, start the writer "mp-l3" and the reader
 * "mp-l3-read". MP_ELOCKED, MP_EVERSION, MP_EINVAL (also: a key is missing); any trouble of the
 * disk is kept as state (mp__l3_trouble) and retried.
 */
MP_MUST_USE int mp__l3_open(const mp__l3_options *options, mp__l3 **ret_l3, mp__diag *diag);
mp__l3 *mp__l3_free(mp__l3 *l3); /* writes what is queued, syncs; accepts NULL, returns NULL */

/* No call of on_damaged comes after it returns. Before what that uses is closed. */
void mp__l3_scrub_stop(mp__l3 *l3);

/* The secret that hashes passed in are made with: kept in the folder, so that footers stay true. */
mp__hash_key mp__l3_hash_key(const mp__l3 *l3);
const mp__hasher *mp__l3_hasher(const mp__l3 *l3); /* of that secret; as long as L3 is there */

enum mp__l3_put_flags {
    MP__L3_PUT_FORCE = 1,
    MP__L3_PUT_FILL = 2,   /* it was only fetched: mp__l3_admits() is asked */
    MP__L3_PUT_NEWEST = 4, /* -ESTALE, and nothing is kept, unless it is the newest known */
};
/* Queue @record (copied); seen by every later read at once. Returns 0, or MP_ELIMIT when the queue
 * is full (then an older record of the address is not served either), MP_ENOMEM likewise. A record
 * older than what is kept is left out (0) unless it is forced. ABSENT: a tombstone if the address
 * is kept or the record is worth keeping, else 0.
 *
 * What is left out, and what is forgotten for want of space, is remembered by its revision alone,
 * which addresses share: so NEWEST may take for outdated what is not. */
MP_MUST_USE int mp__l3_put(mp__l3 *l3, uint64_t hash, const mp__record *record, unsigned flags,
                           uint32_t generation, uint32_t verify_by_s);
/* Whether what is kept of the address, or what is left of a record that was lost, is of a newer
 * revision. Any thread, no disk. */
bool mp__l3_knows_newer(mp__l3 *l3, uint64_t hash, uint64_t revision);
/* Whether a value that was only fetched should be put: always, unless L3 is nearly full of what is
 * needed, nothing of the address is kept, and it was not asked for lately. Counts as being asked
 * for. Any thread. */
bool mp__l3_admits(mp__l3 *l3, uint64_t hash);
/* Note the freshness of what is kept, if it still is @revision. Any thread. */
void mp__l3_verified(mp__l3 *l3, uint64_t hash, uint64_t revision, uint32_t generation,
                     uint32_t verify_by_s);

/* Read the record of @address; on 0 *ret_record's slices live in *ret_memory, the caller's to
 * mp__free(). MP_EUNKNOWN, MP_ECORRUPT, and with @nowait MP_EAGAIN. A tombstone is given as ABSENT.
 * Any thread. */
MP_MUST_USE int mp__l3_get(mp__l3 *l3, mp_str address, uint64_t hash, bool nowait,
                           mp__record *ret_record, void **ret_memory, uint32_t *ret_generation,
                           uint32_t *ret_verify_by_s);
/* By hash, no disk: false also where that is not known yet, soon after a start. */
bool mp__l3_has(mp__l3 *l3, mp_str address, uint64_t hash);
void mp__l3_load_start(mp__l3 *l3, mp__task *task); /* runs @task on the reader thread */
MP_MUST_USE int mp__l3_each(mp__l3 *l3, mp_str prefix,
                            int (*each)(void *context, const mp__record *record), void *context);
uint64_t mp__l3_revision_max(mp__l3 *l3);
MP_MUST_USE int mp__l3_flush(mp__l3 *l3);
/* See mp__cache_set_l3_bytes(). Any thread. */
MP_MUST_USE int mp__l3_set_bytes(mp__l3 *l3, uint64_t bytes_max);
int mp__l3_trouble(mp__l3 *l3, mp__diag *diag);
uint64_t mp__l3_damaged(const mp__l3 *l3); /* stats.corrupt alone, one load */
void mp__l3_stats_read(mp__l3 *l3, mp__l3_stats *ret_stats);

#endif
