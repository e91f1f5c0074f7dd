/* SPDX-License-Identifier: Apache-2.0 */
/* The public face of the cache: marketprism/cache.h. */
#include <stddef.h>

#include "cache/cache_internal.h"
#include "cache/entry.h"
#include "cache/l1_read.h"

MP_API int mp_cache_new(const mp_cache_config *config, mp_cache **ret_cache)
{
    static const mp_cache_config standard;
    mp__cache_options options;

    if (!ret_cache)
        return MP_EINVAL;
    config = config ? config : &standard;
    options = (mp__cache_options){
        .env = mp__env_real(),
        .l1_entries = config->l1_entries,
        .l1_bytes = config->l1_bytes,
        .policy = config->policy,
        .l2_entries = config->l2_entries,
        .l2_bytes = config->l2_bytes,
        .l3_dir = config->data_dir,
        .l3_bytes = config->l3_bytes,
    };
    return mp__cache_open(&options, ret_cache, NULL);
}

static bool key_is_bad(mp_str key)
{
    return key.size == 0 || key.size > MP_CACHE_KEY_MAX || !key.data;
}

/* This thread's record when it is inside a read section. */
static inline mp__hazard_record *section(void)
{
    mp__hazard_record *record = mp__hazard_mine;

    return mp__hazard_depth(record) ? record : NULL;
}

/* An error in a value's place, as mp_cache_error() reads it. */
static inline const mp_blob *failed(int error)
{
    return (const mp_blob *)(intptr_t)error; // NOLINT(performance-no-int-to-ptr): never looked into
}

static inline const mp_blob *result_of(mp__hazard_record *record, mp__entry *entry, uint64_t hash)
{
    if (__builtin_expect(!entry, 0))
        return failed(MP_EUNKNOWN);
    mp__l1_note_use(record, entry, hash);
    if (__builtin_expect(entry->kind == MP__RECORD_ABSENT, 0))
        return failed(MP_EABSENT);
    return &entry->blob.pub;
}

/* What mp_cache_find() needs rarely is called as its last act, so that it keeps nothing for
 * afterwards: fewer instructions between two look-ups are more of them on their way to memory. */
static __attribute__((noinline, cold)) const mp_blob *find_slowly(const mp__l1_table *table,
                                                                  mp_str key, uint64_t hash)
{
    mp__hazard_record *record = mp__hazard_mine;

    return result_of(record, mp__l1_read_slowly(table->front, record, key, hash), hash);
}

/* After a resize, in another cache than before, or without a ring for uses. */
static __attribute__((noinline, cold)) const mp_blob *find_anew(mp_cache *cache, mp_str key,
                                                                uint64_t hash)
{
    mp__hazard_record *record = mp__hazard_mine;

    if (mp__hazard_used(record) >= MP__HAZARD_HELD)
        return failed(MP_ELIMIT);
    return result_of(record, mp__l1_read((mp__l1_front *)cache->l1, record, key, hash), hash);
}

/* In the announced @table; @plain: in record->plain_table. */
static inline __attribute__((always_inline)) const mp_blob *
find_in(const mp__l1_table *table, mp__hazard_record *record, mp_str key, uint64_t hash, bool plain)
{
    size_t used = mp__hazard_used(record);
    mp__entry *entry;

    if (__builtin_expect(used >= MP__HAZARD_HELD, 0))
        return failed(mp__hazard_depth(record) ? MP_ELIMIT : MP_EINVAL);
    entry =
        mp__l1_look(table, record, used, key, hash, plain ? MP__L1_LOOK_PLAIN : MP__L1_LOOK_VALUE);
    if (__builtin_expect(!entry, 0))
        return find_slowly(plain ? record->plain_table : table, key, hash);
    if (plain)
        mp__l1_note_in_entry(entry);
    else
        mp__l1_note_use(record, entry, hash);
    return &entry->blob.pub;
}

/* A look that has to think of more than to look: it is the thread's first one, or there are uses to
 * gather or a fence to pay for, or the table is another or the cache. */
static inline __attribute__((always_inline)) const mp_blob *find_first(mp_cache *cache, mp_str key,
                                                                       uint64_t hash, bool middle)
{
    mp__hazard_record *record = mp__hazard_mine;
    mp__l1_front *front = (mp__l1_front *)cache->l1;
    uint64_t turn = atomic_load_explicit(&front->turn, memory_order_acquire);

    if (middle && !mp__bytes_are_middle(key.size))
        __builtin_unreachable();
    if (__builtin_expect(mp__hazard_depth(record) == 0, 0))
        return failed(MP_EINVAL);
    if (record->turn != turn) {
        if (__builtin_expect(!mp__l1_table_enter_first(front, record, turn), 0))
            return find_anew(cache, key, hash);
    } else if (record->uses_room == 0 && mp__hazard_is_plain(record)) {
        /* Uses are gathered, so that it may be plain now. */
        (void)mp__l1_table_enter(front, record);
    }
    return find_in(atomic_load_explicit(&record->table, memory_order_relaxed), record, key, hash,
                   false);
}

static __attribute__((noinline)) const mp_blob *find_first_middle(mp_cache *cache, mp_str key,
                                                                  uint64_t hash)
{
    return find_first(cache, key, hash, true);
}

static __attribute__((noinline)) const mp_blob *find_first_any(mp_cache *cache, mp_str key,
                                                               uint64_t hash)
{
    return find_first(cache, key, hash, false);
}

/* The look-up of a key whose hash is known; @middle: its size is such a one. */
static inline __attribute__((always_inline)) const mp_blob *
find_hashed(mp_cache *cache, mp__hazard_record *record, mp_str key, uint64_t hash, bool middle)
{
    mp__l1_front *front = (mp__l1_front *)cache->l1;

    if (middle && !mp__bytes_are_middle(key.size))
        __builtin_unreachable();
    if (__builtin_expect(
            atomic_load_explicit(&front->turn, memory_order_acquire) != record->plain_turn, 0))
        return middle ? find_first_middle(cache, key, hash) : find_first_any(cache, key, hash);
    return find_in(NULL, record, key, hash, true);
}

/* Of a key that is not bad. */
static inline __attribute__((always_inline)) const mp_blob *find(mp_cache *cache, mp_str key,
                                                                 bool middle)
{
    uint64_t hash;

    if (middle && !mp__bytes_are_middle(key.size))
        __builtin_unreachable();
    hash = mp__hasher_hash(&cache->hasher, key);
    MP__ANEW(key.size); /* or what its check made of it is kept in a register */
    return find_hashed(cache, mp__hazard_mine, key, hash, middle);
}

static __attribute__((noinline)) const mp_blob *find_any(mp_cache *cache, mp_str key)
{
    return key_is_bad(key) ? failed(MP_EINVAL) : find(cache, key, false);
}

MP_API MP__AT_LINE const mp_blob *mp_cache_find(mp_cache *cache, mp_str key)
{
    /* Most keys are of these sizes, and code that knows it saves fewer registers. */
    if (__builtin_expect(!mp__bytes_are_middle(key.size) || !key.data, 0))
        return find_any(cache, key);
    return find(cache, key, true);
}

MP_API int mp_cache_get(mp_cache *cache, mp_str key, const mp_blob **ret_value)
{
    const mp_blob *f = mp_cache_find(cache, key);

    int error = mp_cache_error(f);

    if (error == 0)
        *ret_value = f;
    return error;
}

static __attribute__((noinline)) const mp_blob *find_hashed_any(mp_cache *cache, mp_str key,
                                                                uint64_t hash)
{
    if (key_is_bad(key))
        return failed(MP_EINVAL);
    return find_hashed(cache, mp__hazard_mine, key, hash, false);
}

/* Hash them all, and let the memory answer meanwhile for what the look-ups will want. Whether all
 * of them are keys; the hash of what is none is 0. */
static inline bool hash_many(const mp_cache *cache, const mp__l1_table *table, const mp_str *keys,
                             size_t count, uint64_t *ret_hashes)
{
    bool good = true;

    for (size_t i = 0; i < count; i++) /* keys may come from anywhere, too */
        __builtin_prefetch(keys[i].data);
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = 0;

        if (__builtin_expect(key_is_bad(keys[i]), 0))
            good = false;
        else
            hash = mp__hasher_hash(&cache->hasher, keys[i]);
        ret_hashes[i] = hash;
        __builtin_prefetch(mp__l1_home(table, hash));
    }
    for (size_t i = 0; i < count; i++) {
        const char *entry = mp__l1_hint(table, ret_hashes[i]);

        if (entry)
            __builtin_prefetch(entry + offsetof(mp__entry, blob.pub));
    }
    return good;
}

MP_API int mp_cache_get_many(mp_cache *cache, const mp_str *keys, size_t count,
                             const mp_blob **ret_values, int *ret_errors)
{
    __attribute__((uninitialized)) uint64_t hashes[MP_READ_HELD_MAX];
    mp__hazard_record *record = section();
    bool good;
    int values = 0;

    if (!cache || !keys || !ret_values || count > MP_READ_HELD_MAX || !record)
        return MP_EINVAL;
    if (count == 0)
        return 0;
    good = hash_many(cache, mp__l1_table_announced((mp__l1_front *)cache->l1, record), keys, count,
                     hashes);
    for (size_t i = 0; i < count; i++) {
        const mp_blob *f;
        int rc;

        if (__builtin_expect(mp__bytes_are_middle(keys[i].size) && good, 1))
            f = find_hashed(cache, record, keys[i], hashes[i], true);
        else
            f = find_hashed_any(cache, keys[i], hashes[i]);
        rc = mp_cache_error(f);
        ret_values[i] = rc ? NULL : f;
        values += rc == 0;
        if (ret_errors)
            ret_errors[i] = rc;
    }
    return values;
}

/* mp_cache_find() in a section that holds its maximum, into the slot that is left for a look which
 * ends within a call. */
static __attribute__((noinline, cold)) const mp_blob *find_beyond(mp_cache *cache, mp_str key)
{
    mp__hazard_record *record = mp__hazard_mine;
    uint64_t hash;

    if (key_is_bad(key))
        return failed(MP_EINVAL);
    hash = mp__hasher_hash(&cache->hasher, key);
    return result_of(record, mp__l1_read((mp__l1_front *)cache->l1, record, key, hash), hash);
}

static int value_copy(const mp_blob *value, void *buffer, size_t capacity, size_t *ret_size)
{
    *ret_size = value->size;
    if (value->size > capacity)
        return MP_ELIMIT;
    if (value->size)
        memcpy(buffer, value->data, value->size);
    return 0;
}

MP_API int mp_cache_copy(mp_cache *cache, mp_str key, void *buffer, size_t capacity,
                         size_t *ret_size)
{
    mp__hazard_record *record;
    const mp_blob *value;
    uint32_t used;
    int rc;

    if (!cache || !ret_size || (!buffer && capacity))
        return MP_EINVAL;
    rc = mp_read_begin();
    if (rc)
        return rc;
    record = mp__hazard_mine;
    used = mp__hazard_used(record);
    value = used < MP__HAZARD_HELD ? mp_cache_find(cache, key) : find_beyond(cache, key);
    rc = mp_cache_error(value);
    if (rc == 0)
        rc = value_copy(value, buffer, capacity, ret_size);
    if (mp__hazard_depth(record) > 1 &&
        mp__hazard_used(record) != used) /* else the section's end gives it back */
        mp__hazard_release_last(record);
    mp_read_end();
    return rc;
}

static int value_of(const mp__entry *entry, mp_blob **ret_value)
{
    if (entry->kind == MP__RECORD_ABSENT)
        return MP_EABSENT;
    *ret_value = mp_blob_ref(&entry->blob.pub);
    return 0;
}

MP_API int mp_cache_load(mp_cache *cache, mp_str key, mp_blob **ret_value)
{
    mp__entry *held;
    const mp__entry *entry;
    uint64_t hash;
    int rc;

    if (!cache || !ret_value || key_is_bad(key))
        return MP_EINVAL;
    hash = mp__hasher_hash(&cache->hasher, key);
    rc = mp_read_begin();
    if (rc)
        return rc;
    held = mp__l1_read((mp__l1_front *)cache->l1, mp__hazard_mine, key, hash);
    if (held) {
        mp__l1_note_use(mp__hazard_mine, held, hash);
        rc = value_of(held, ret_value);
        mp__hazard_release_last(mp__hazard_mine); /* also in a section that holds its maximum */
    }
    mp_read_end();
    if (held)
        return rc;
    rc = mp__cache_load_memory(cache, key, hash, &entry);
    if (rc)
        rc = mp__cache_load_disk(cache, key, hash, false, true, &entry);
    if (rc)
        return rc == MP_ECORRUPT ? MP_EUNKNOWN : rc;
    rc = value_of(entry, ret_value);
    (void)mp__entry_unref(entry);
    return rc;
}

MP_API int mp_cache_put(mp_cache *cache, mp_str key, mp_str value, uint64_t ttl_ms)
{
    mp__record record = {.address = key, .value = value, .kind = MP__RECORD_VALUE};

    if (!cache || key_is_bad(key) || (!value.data && value.size))
        return MP_EINVAL;
    if (value.size > MP_CACHE_VALUE_MAX)
        return MP_ELIMIT;
    record.modified_ms = record.fetched_ms = record.verified_ms = mp__env_wall_ms(cache->env);
    record.created_ms = record.modified_ms;
    if (ttl_ms && __builtin_add_overflow(record.modified_ms, ttl_ms, &record.expires_ms))
        return MP_EINVAL;
    record.revision = atomic_fetch_add(&cache->counted, 1) + 1;
    return mp__cache_put_record(cache, &record, 0, 0, 0, NULL);
}

MP_API int mp_cache_delete(mp_cache *cache, mp_str key)
{
    mp__record record = {.address = key, .kind = MP__RECORD_ABSENT};

    if (!cache || key_is_bad(key))
        return MP_EINVAL;
    record.revision = atomic_fetch_add(&cache->counted, 1) + 1;
    record.verified_ms = mp__env_wall_ms(cache->env);
    return mp__cache_put_record(cache, &record, 0, 0, 0, NULL);
}

MP_API void mp_cache_stats_read(mp_cache *cache, mp_cache_stats *ret_stats)
{
    mp__l1_stats l1;
    mp__l2_stats l2 = {0};
    mp__l3_stats l3 = {0};

    mp__l1_stats_read(cache->l1, &l1);
    if (cache->l2)
        mp__l2_stats_read(cache->l2, &l2);
    if (cache->l3)
        mp__l3_stats_read(cache->l3, &l3);
    *ret_stats = (mp_cache_stats){
        .l1_hits = l1.hits,
        .l1_misses = l1.misses,
        .l1_inserts = l1.inserts,
        .l1_evictions = l1.evictions,
        .l1_expired = l1.expired,
        .l1_entries = l1.entries,
        .l1_entries_max = l1.entries_max,
        .l1_bytes = l1.bytes,
        .l1_bytes_max = l1.bytes_max,
        .l2_hits = l2.hits,
        .l2_misses = l2.misses,
        .l2_inserts = l2.inserts,
        .l2_evictions = l2.evictions,
        .l2_refused = l2.refused,
        .l2_dropped = l2.dropped,
        .l2_corrupt = l2.corrupt,
        .l2_entries = l2.entries,
        .l2_entries_max = l2.entries_max,
        .l2_bytes = l2.bytes,
        .l2_bytes_max = l2.bytes_max,
        .l2_body_bytes = l2.body_bytes,
        .l2_stored_bytes = l2.stored_bytes,
        .l2_dictionaries = l2.dictionaries,
        .l2_dictionary_bytes = l2.dictionary_bytes,
        .l2_trainings = l2.trainings,
        .l3_hits = l3.hits,
        .l3_misses = l3.misses,
        .l3_appends = l3.appends,
        .l3_forgotten = l3.forgotten,
        .l3_corrupt = l3.corrupt,
        .l3_errors = l3.errors,
        .l3_dropped = l3.dropped,
        .l3_entries = l3.entries,
        .l3_bytes = l3.bytes,
        .l3_bytes_max = l3.bytes_max,
        .l3_segments = l3.segments,
        .l3_pending_bytes = l3.pending_bytes,
    };
}
