/* SPDX-License-Identifier: Apache-2.0 */
/* L2: what L1 had no room for, compressed in memory.
 *
 * zstd frames with dictionaries trained from what L2 itself holds, in a ring of spans; an index of
 * hashes. L1 hands down what it evicts: the copy is kept as it is until the thread "mp-l2" has
 * compressed it, and can be read meanwhile. An entry that is read goes up to L1; its copy stays, as
 * the first to go, so that it need not be compressed again when it comes back.
 *
 * Never the past: every change of an address goes through L1's lock, and takes the copy out of L2
 * there and then. So L2 holds an address only in the revision that L1 held last. */
#ifndef MP_CACHE_L2_H
#define MP_CACHE_L2_H

#include "cache/cache.h"
#include "cache/l3_key.h"
#include "cache/priority.h"

typedef struct mp__l2 mp__l2;

#define MP__L2_BYTES_LEAST ((size_t)4 << 20)
#define MP__L2_LEVEL_MAX   12u
#define MP__L2_PATH_MAX    4400

typedef struct mp__l2_options {
    mp_env *env;
    size_t entries_max, bytes_max;
    unsigned level;                   /* of zstd, 1 to MP__L2_LEVEL_MAX */
    size_t dictionary_bytes;          /* 0: no dictionaries */
    const char *keep_path;            /* of the dictionaries, for the next process; NULL: nowhere */
    const mp__priorities *priorities; /* NULL: all are normal; they outlive the L2 */
    const mp__l3_keys *keys; /* that seal this file; NULL: none does. They outlive the L2 */
} mp__l2_options;

typedef struct mp__l2_stats {
    uint64_t hits, misses, inserts, evictions;
    uint64_t refused; /* by admission, or too large */
    uint64_t dropped; /* came faster than they could be compressed, or no memory */
    uint64_t corrupt;
    uint64_t entries, entries_max, bytes, bytes_max;
    uint64_t body_bytes, stored_bytes; /* of the entries: as they are, and as they are kept */
    uint64_t dictionaries, dictionary_bytes, trainings;
} mp__l2_stats;

/* The fewest bytes that an L2 of @entries works with. Pure. */
size_t mp__l2_bytes_least(size_t entries);
/* MP_EINVAL: too few bytes for the index and MP__L2_BYTES_LEAST. MP_ENOMEM, -EAGAIN (no thread). */
MP_MUST_USE int mp__l2_new(const mp__l2_options *options, mp__l2 **ret_l2);
mp__l2 *mp__l2_free(mp__l2 *l2); /* after the L1 above it; accepts NULL, returns NULL */
/* Be ready for fork() before L1 registers for it, whose lock comes first. */
void mp__l2_prepare_fork(void);

/* ---- under the lock of the L1 above ---- */

/* L1 evicts @entry: keep a copy, if it earns its place. */
void mp__l2_take(mp__l2 *l2, const mp__entry *entry);
/* Revision @revision of the address is about to stand in L1: no longer keep another. False: here is
 * a newer one, which stays; never with @force. */
bool mp__l2_outdate(mp__l2 *l2, uint64_t hash, uint64_t revision, bool force);
/* What mp__l2_get() gave is about to go up to L1: is it still what is kept? */
bool mp__l2_goes_up(mp__l2 *l2, uint64_t hash, uint64_t revision);

/* ---- any thread, no lock held ---- */

/* Where a record's bytes are while it is looked at; mp__l2_scratch_done() gives back what it has
 * besides itself. */
typedef struct mp__l2_scratch {
    void *far; /* for larger ones */
    size_t far_size;
    struct mp__l2_dictionary *window_of; /* in whose window the record is, or NULL */
    unsigned char near[4096];
} mp__l2_scratch;
static inline void mp__l2_scratch_init(mp__l2_scratch *scratch)
{
    scratch->far = NULL;
    scratch->far_size = 0;
    scratch->window_of = NULL;
}
void mp__l2_scratch_done(mp__l2_scratch *scratch);

/* Read the record of @address; on 0 *ret_record's slices live in @scratch until that is done or
 * read into again. MP_EUNKNOWN: not here, or past its expiry. MP_ECORRUPT: it was here and failed
 * its sum (now out, counted). MP_ENOMEM. After an error *ret_record is of no use. Never waits for
 * the compressing thread. */
MP_MUST_USE int mp__l2_get(mp__l2 *l2, mp_str address, uint64_t hash, mp__l2_scratch *scratch,
                           mp__record *ret_record, uint32_t *ret_generation,
                           uint32_t *ret_verify_by_s);
bool mp__l2_has(mp__l2 *l2, uint64_t hash);
/* Note the freshness of what is kept, if it still is @revision. */
void mp__l2_verified(mp__l2 *l2, uint64_t hash, uint64_t revision, int64_t verified_ms,
                     uint32_t generation, uint32_t verify_by_s);
/* After L1's lock was let go: wake the compressing thread if enough waits for it. */
void mp__l2_wake(mp__l2 *l2);
/* Once in a while: for whatever waits, so that it need not wait for more. Any thread. */
void mp__l2_flush(mp__l2 *l2);
/* Wait until all that was handed down until now is compressed and no training is due. */
void mp__l2_settle(mp__l2 *l2);

MP_MUST_USE int mp__l2_set_entries(mp__l2 *l2, size_t entries_max); /* MP_EINVAL, MP_ENOMEM */
MP_MUST_USE int mp__l2_set_bytes(mp__l2 *l2, size_t bytes_max);     /* MP_EINVAL */
void mp__l2_set_level(mp__l2 *l2, unsigned level);                  /* for dictionaries to come */
void mp__l2_set_dictionary(mp__l2 *l2, size_t bytes);
unsigned mp__l2_level_get(const mp__l2 *l2);
size_t mp__l2_dictionary_get(const mp__l2 *l2);
void mp__l2_stats_read(mp__l2 *l2, mp__l2_stats *ret_stats);

#endif
