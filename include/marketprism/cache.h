/* SPDX-License-Identifier: Apache-2.0 */
/* The config cache in process: memory speed, bounded, readable from any thread.
 *
 * A key is an address: any bytes, 1 to MP_CACHE_KEY_MAX of them. A value is bytes, at most
 * MP_CACHE_VALUE_MAX. Reads take no lock and, once an entry's frequency counter is saturated, write
 * to no shared memory. Removed entries are reclaimed by hazard pointers (Michael, "Hazard Pointers:
 * Safe Memory Reclamation for Lock-Free Objects", IEEE TPDS 2004), with the writer paying for the
 * barrier through membarrier(2). */
#ifndef MARKETPRISM_CACHE_H
#define MARKETPRISM_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include <marketprism/blob.h>
#include <marketprism/error.h>
#include <marketprism/export.h>
#include <marketprism/str.h>

MP_BEGIN_DECLS

#define MP_CACHE_KEY_MAX   4096u              /* bytes */
#define MP_CACHE_VALUE_MAX (4u * 1024 * 1024) /* bytes */
#define MP_READ_HELD_MAX   64u                /* values borrowed at once in one read section */

typedef struct mp_cache mp_cache;

/* Zero means the default. */
typedef struct mp_cache_config {
    size_t l1_entries;    /* most entries in L1; default 1,000 */
    size_t l1_bytes;      /* most bytes of pages, index included; default 64 MiB */
    const char *policy;   /* as `marketprism policies` lists; default "adaptive"; borrowed */
    size_t l2_entries;    /* most entries in L2, compressed memory; 0: no L2 */
    size_t l2_bytes;      /* most bytes of L2, index and dictionaries included; default 16 MiB */
    const char *data_dir; /* folder for L3, made if missing; NULL: memory only. Borrowed */
    uint64_t l3_bytes;    /* most bytes on disk; default 1000 MiB */
} mp_cache_config;

/* Counters since the cache was made; a snapshot, not one instant. */
typedef struct mp_cache_stats {
    uint64_t l1_hits, l1_misses, l1_inserts, l1_evictions, l1_expired;
    uint64_t l1_entries, l1_entries_max; /* now; limit */
    uint64_t l1_bytes, l1_bytes_max;     /* pages and index now; limit */
    uint64_t l2_hits, l2_misses, l2_inserts, l2_evictions;
    uint64_t l2_refused; /* not kept: one-hit entries while it is nearly full, too large ones */
    uint64_t
        l2_dropped; /* not kept: they came faster than they could be compressed, or no memory */
    uint64_t l2_corrupt; /* failed their checksum, and were left out */
    uint64_t l2_entries, l2_entries_max, l2_bytes, l2_bytes_max;
    /* Of its entries: what address, media type and value are, and what is kept of them. */
    uint64_t l2_body_bytes, l2_stored_bytes;
    uint64_t l2_dictionaries, l2_dictionary_bytes, l2_trainings;
    uint64_t l3_hits, l3_misses, l3_appends, l3_forgotten, l3_corrupt, l3_errors, l3_dropped;
    uint64_t l3_entries, l3_bytes, l3_bytes_max, l3_segments, l3_pending_bytes;
} mp_cache_stats;

/* Make a cache in *ret_cache. @config may be NULL for the defaults.
 * MP_EINVAL: a value out of range or an unknown policy. MP_ENOMEM. MP_ELOCKED: the folder belongs
 * to another process. MP_EVERSION: the folder was written by a newer version. -errno of the disk.
 * A damaged L3 file is never an error: what fails its checksum is left out and counted. */
MP_API MP_MUST_USE int mp_cache_new(const mp_cache_config *config, mp_cache **ret_cache);

/* Free @cache; what L3 had queued is written first. No read section may be open and no other call
 * running. Accepts NULL, returns NULL. */
MP_API mp_cache *mp_cache_free(mp_cache *cache);

/* Open a read section on this thread: what mp_cache_get() gives stays valid until mp_read_end().
 * Sections nest. They may be long (memory held back is bounded by the values borrowed), but a
 * thread must not exit inside one. Never blocks; the thread's first call allocates its record and
 * can return MP_ENOMEM. */
MP_API MP_MUST_USE int mp_read_begin(void);

/* Close the section; all values borrowed in it are given back. */
MP_API void mp_read_end(void);

/* Look up @key. On success *ret_value is borrowed until mp_read_end(), else it is untouched; use
 * mp_cache_copy() or mp_blob_ref() to keep it. MP_EABSENT: it is known that there is none.
 * MP_EUNKNOWN: not in memory. MP_ELIMIT: MP_READ_HELD_MAX values are borrowed already. MP_EINVAL: a
 * bad key, or no section. Memory only: L3 is read by mp_cache_load(). Any thread, inside
 * mp_read_begin(). Never blocks, never allocates. */
MP_API MP_MUST_USE int mp_cache_get(mp_cache *cache, mp_str key, const mp_blob **ret_value);

/* The same with the answer in one register, for who counts cycles: through memory it comes seven of
 * them later. The value, or in its place its error, as mp_cache_error() tells. Never NULL. */
MP_API MP_MUST_USE const mp_blob *mp_cache_find(mp_cache *cache, mp_str key);

/* Why mp_cache_find() @found no value, or 0: it is one. Pure. */
static inline int mp_cache_error(const mp_blob *found)
{
    return (uintptr_t)found > UINTPTR_MAX - 0xffff ? (int)(intptr_t)found : 0;
}

/* Look up @count keys at once: all are hashed and prefetched before the first is looked up, which
 * hides the memory latency of big tables. ret_values[i] is the value or NULL, ret_errors[i] (may be
 * NULL) as of mp_cache_get(). At most MP_READ_HELD_MAX. Returns the number of values found, or
 * MP_EINVAL. Any thread, inside mp_read_begin(). Never blocks, never allocates. */
MP_API MP_MUST_USE int mp_cache_get_many(mp_cache *cache, const mp_str *keys, size_t count,
                                         const mp_blob **ret_values, int *ret_errors);

/* Copy the value of @key into @buffer of @capacity bytes; *ret_size is its true size, also with
 * MP_ELIMIT when it does not fit. Errors otherwise as mp_cache_get(). Opens its own section. */
MP_API MP_MUST_USE int mp_cache_copy(mp_cache *cache, mp_str key, void *buffer, size_t capacity,
                                     size_t *ret_size);

/* Look in memory, in L2, then in L3, and bring what they have into L1. *ret_value is a reference of
 * the caller's, to be given back with mp_blob_unref(). May block on the disk. Errors as
 * mp_cache_get(). Any thread. */
MP_API MP_MUST_USE int mp_cache_load(mp_cache *cache, mp_str key, mp_blob **ret_value);

/* Store @value under @key, copied; @ttl_ms > 0: it is gone that many milliseconds from now, 0: it
 * stays. Also appended to L3 where there is one. MP_EINVAL, MP_ELIMIT, MP_ENOMEM. Any thread; may
 * take a lock, not to be called in a hot loop. */
MP_API MP_MUST_USE int mp_cache_put(mp_cache *cache, mp_str key, mp_str value, uint64_t ttl_ms);

/* Forget @key in every tier (L3 gets a tombstone). 0 also when it was not there. Any thread. */
MP_API MP_MUST_USE int mp_cache_delete(mp_cache *cache, mp_str key);

/* Fill *ret_stats. Any thread; takes no lock that a reader meets. */
MP_API void mp_cache_stats_read(mp_cache *cache, mp_cache_stats *ret_stats);

MP_END_DECLS

#endif
