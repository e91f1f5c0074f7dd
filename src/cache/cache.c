/* SPDX-License-Identifier: Apache-2.0 */
/* The joint of the tiers. */
#include "cache/cache.h"

#include <errno.h>
#include <stdio.h>

#include "cache/cache_internal.h"
#include "cache/entry.h"
#include "cache/panel.h"
#include "cache/pins.h"
#include "core/alloc.h"

enum {
    L1_ENTRIES = 1000,
    NEGATIVE_PERCENT = 10,
    L2_LEVEL = 1,
    L2_DICTIONARY = 32 * 1024,
    L3_SYNC_MS = 1000,
    PUT_TRIES = 4,
};
#define L1_BYTES         ((size_t)64 << 20)
#define L2_BYTES         ((size_t)16 << 20)
#define L3_BYTES         ((uint64_t)1000 << 20)
#define L3_SEGMENT_BYTES ((uint64_t)16 << 20)
#define L3_PENDING_BYTES ((uint64_t)64 << 20)

const char *mp__tier_name(enum mp__tier tier)
{
    static const char *const names[] = {"none", "L1", "L2", "L3", "L4", "origin"};

    return names[tier];
}

/* ---- opening ---- */

/* L1's copy of what L3 lost, if it is not older and not past its expiry. A reference, or NULL. */
static const mp__entry *copy_in_l1(mp_cache *cache, mp_str address, uint64_t hash,
                                   uint64_t revision)
{
    const mp__entry *entry;

    if (mp_read_begin() != 0)
        return NULL;
    entry = mp__l1_peek(cache->l1, address, hash);
    if (entry && (entry->revision < revision ||
                  (entry->expires && entry->expires_ms <= mp__env_wall_ms(cache->env))))
        entry = NULL;
    if (entry)
        (void)mp__entry_ref(entry);
    mp_read_end();
    return entry;
}

/* The scrubber found a damaged record: L1 gives it again, or the one who opened the cache does. */
static void heal(void *context, mp_str address, uint64_t hash, uint64_t revision)
{
    mp_cache *cache = context;
    const mp__entry *entry;
    mp__record record;

    if (!atomic_load(&cache->is_open))
        return;
    entry = copy_in_l1(cache, address, hash, revision);
    if (entry) {
        mp__entry_record(entry, &record);
        (void)mp__l3_put(cache->l3, hash, &record, 0, atomic_load(&entry->generation),
                         atomic_load(&entry->verify_by_s));
        (void)mp__entry_unref(entry);
    } else if (cache->on_damaged) {
        cache->on_damaged(cache->context, address, hash);
    }
}

static int open_l3(mp_cache *cache, const mp__cache_options *options, mp__diag *diag)
{
    mp__l3_options l3 = {
        .env = options->env,
        .dir = options->l3_dir,
        .bytes_max = options->l3_bytes ? options->l3_bytes : L3_BYTES,
        .segment_bytes = options->l3_segment_bytes ? options->l3_segment_bytes : L3_SEGMENT_BYTES,
        .sync_ms = options->l3_sync_ms ? options->l3_sync_ms : L3_SYNC_MS,
        .pending_bytes_max =
            options->l3_pending_bytes ? options->l3_pending_bytes : L3_PENDING_BYTES,
        .keys = cache->l3_keys,
        .priorities = cache->priorities,
        .scrub_rate = options->l3_scrub_rate,
        .on_damaged = heal,
        .context = cache,
    };
    int rc;

    if (l3.segment_bytes > l3.bytes_max / 4) /* a small bound still gets four segments */
        l3.segment_bytes = l3.bytes_max / 4;
    rc = mp__l3_open(&l3, &cache->l3, diag);
    if (rc == 0) {
        cache->hash_key = mp__l3_hash_key(cache->l3);
        cache->hasher = *mp__l3_hasher(cache->l3);
        atomic_store(&cache->counted, mp__l3_revision_max(cache->l3));
    }
    return rc;
}

/* Where L2 keeps its dictionaries: in L3's folder, under the same lock. */
static const char *l2_keep_path(const mp__cache_options *options, char path[MP__L2_PATH_MAX])
{
    int size;

    if (!options->l3_dir)
        return NULL;
    size = snprintf(path, MP__L2_PATH_MAX, "%s/l2.dictionaries", options->l3_dir);
    return size < MP__L2_PATH_MAX ? path : NULL;
}

static int open_l2(mp_cache *cache, const mp__cache_options *options, mp__diag *diag)
{
    char path[MP__L2_PATH_MAX];
    mp__l2_options l2 = {
        .env = options->env,
        .entries_max = options->l2_entries,
        .bytes_max = options->l2_bytes ? options->l2_bytes : L2_BYTES,
        .level = options->l2_level ? options->l2_level : L2_LEVEL,
        .dictionary_bytes = options->l2_no_dictionaries    ? 0
                            : options->l2_dictionary_bytes ? options->l2_dictionary_bytes
                                                           : L2_DICTIONARY,
        .keep_path = l2_keep_path(options, path),
        .keys = cache->l3_keys,
        .priorities = cache->priorities,
    };
    int rc = mp__l2_new(&l2, &cache->l2);

    if (rc == 0)
        (void)mp__slab_keep_blocks(cache->heap); /* for entries made for one reader */
    if (rc == MP_EINVAL)
        (void)mp__diag_set(diag, rc,
                           "L2 needs 4 MiB and bytes for its index, %zu for %zu entries, and a "
                           "level from 1 to %u",
                           l2.entries_max * 24, l2.entries_max, MP__L2_LEVEL_MAX);
    return rc;
}

int mp__cache_open(const mp__cache_options *options, mp_cache **ret_cache, mp__diag *diag)
{
    const mp__policy_ops *policy = mp__policy_find(options->policy ? options->policy : "adaptive");
    mp_cache *cache;
    int rc = MP_ENOMEM;

    if (!policy)
        rc = mp__diag_set(diag, MP_EINVAL, "there is no policy '%s'", options->policy);
    cache = policy ? mp__calloc(1, sizeof(*cache)) : NULL;
    if (!cache) {
        (void)mp__priorities_free(options->priorities);
        return rc;
    }
    cache->env = options->env;
    cache->priorities = options->priorities;
    cache->on_damaged = options->on_damaged;
    cache->context = options->context;
    mp__env_random(options->env, &cache->hash_key, sizeof(cache->hash_key));
    mp__hasher_init(&cache->hasher, cache->hash_key, mp__hasher_may_be_fast());
    rc = mp__slab_new(0, &cache->heap);
    mp__l2_prepare_fork(); /* behind the slabs, before the first L1 */
    if (rc == 0 && options->l3_dir && options->l3_keys.size)
        rc = mp__l3_keys_parse(options->l3_keys, &cache->l3_keys, diag);
    if (rc == 0 && options->l3_dir)
        rc = open_l3(cache, options, diag);
    if (rc == 0) {
        rc = mp__l1_new(options->env, options->l1_entries ? options->l1_entries : L1_ENTRIES,
                        options->l1_bytes ? options->l1_bytes : L1_BYTES,
                        options->negative_percent ? options->negative_percent : NEGATIVE_PERCENT,
                        policy, &cache->l1);
        if (rc == 0 && cache->priorities)
            rc = mp__l1_divide(cache->l1, cache->priorities);
        if (rc == MP_EINVAL)
            (void)mp__diag_set(diag, rc,
                               "L1 needs at least one entry, and bytes for its index of "
                               "%zu bytes and 512 KiB of values",
                               (options->l1_entries ? options->l1_entries : L1_ENTRIES) * 20);
    }
    if (rc == 0 && options->l2_entries)
        rc = open_l2(cache, options, diag);
    if (rc) {
        (void)mp_cache_free(cache);
        return rc;
    }
    atomic_store(&cache->is_open, true);
    if (cache->l2)
        mp__l1_set_below(cache->l1, cache->l2);
    if (cache->l3)
        mp__l1_set_behind(cache->l1, cache->l3);
    *ret_cache = cache;
    return 0;
}

MP_API mp_cache *mp_cache_free(mp_cache *cache)
{
    if (!cache)
        return NULL;
    cache->l3 = mp__l3_free(cache->l3);
    cache->l3_keys = mp__l3_keys_free(cache->l3_keys);
    cache->l1 = mp__l1_free(cache->l1);
    cache->l2 = mp__l2_free(cache->l2);
    cache->heap = mp__slab_close(cache->heap);
    cache->priorities = mp__priorities_free(cache->priorities);
    return mp__free(cache);
}

mp__hash_key mp__cache_hash_key(const mp_cache *cache)
{
    return cache->hash_key;
}

const mp__hasher *mp__cache_hasher(const mp_cache *cache)
{
    return &cache->hasher;
}

enum mp__priority mp__cache_priority(const mp_cache *cache, mp_str address)
{
    return mp__priority_of(cache->priorities, address);
}

void mp__cache_classes_read(mp_cache *cache, mp__cache_class ret_classes[MP__PRIORITIES])
{
    mp__l1_classes_read(cache->l1, ret_classes);
}

int mp__cache_pin(mp_cache *cache, mp_str pattern, mp__diag *diag)
{
    return mp__l1_pin(cache->l1, pattern, diag);
}

int mp__cache_pin_check(mp_str pattern, mp__diag *diag)
{
    return mp__pin_check(pattern, diag);
}

int mp__cache_unpin(mp_cache *cache, mp_str pattern)
{
    return mp__l1_unpin(cache->l1, pattern);
}

void mp__cache_pins_fill(mp_cache *cache)
{
    mp__l1_pins_fill(cache->l1);
}

void mp__cache_pins_read(mp_cache *cache, mp__cache_pins *ret_pins)
{
    mp__l1_pins_read(cache->l1, ret_pins);
}

int mp__cache_pins_each(mp_cache *cache, int (*each)(void *context, mp_str pattern), void *context)
{
    return mp__l1_pins_each(cache->l1, each, context);
}

enum mp__pinned mp__cache_pinned(mp_cache *cache, mp_str address, uint64_t hash)
{
    return mp__l1_pinned(cache->l1, address, hash);
}

/* ---- L1 ---- */

void mp__cache_prefetch(const mp_cache *cache, uint64_t hash)
{
    mp__l1_prefetch(cache->l1, hash);
}

void mp__cache_prefetch_many(const mp_cache *cache, const uint64_t *hashes, size_t count)
{
    mp__l1_prefetch_many(cache->l1, hashes, count);
}

const mp__entry *mp__cache_find(mp_cache *cache, mp_str address, uint64_t hash)
{
    return mp__l1_find(cache->l1, address, hash);
}

const mp__entry *mp__cache_peek(mp_cache *cache, mp_str address, uint64_t hash)
{
    return mp__l1_peek(cache->l1, address, hash);
}

const mp__entry *mp__cache_find_part(mp_cache *cache, mp_str address, uint64_t hash)
{
    return mp__l1_find_part(cache->l1, address, hash);
}

void mp__cache_count(mp_cache *cache, int hits, int misses)
{
    mp__l1_count(cache->l1, hits, misses);
}

void mp__cache_tick(mp_cache *cache, int64_t wall_ms)
{
    mp__l1_tick(cache->l1, wall_ms);
}

size_t mp__cache_turn_go(mp_cache *cache, const mp__cache_turn *turn,
                         const mp__entry *ret_entries[MP__CACHE_DUE], bool *ret_more)
{
    if (cache->l2 && atomic_load_explicit(&cache->flushed_s, memory_order_relaxed) != turn->now_s) {
        atomic_store_explicit(&cache->flushed_s, turn->now_s, memory_order_relaxed);
        mp__l2_flush(cache->l2);
    }
    return mp__l1_turn(cache->l1, turn, ret_entries, ret_more);
}

void mp__cache_timely_read(mp_cache *cache, mp__cache_timely *ret_timely)
{
    mp__l1_stats l1;

    mp__l1_stats_read(cache->l1, &l1);
    *ret_timely = (mp__cache_timely){.timers = l1.timers,
                                     .expired = l1.expired,
                                     .absent_forgotten = l1.unlearned,
                                     .absent_bytes = l1.negative_bytes};
}

void mp__cache_uses_settle(mp_cache *cache)
{
    mp__l1_uses_settle(cache->l1);
}

int mp__cache_expect(mp_cache *cache, mp_str address, uint64_t hash, unsigned uses)
{
    bool is_there;

    if (mp_read_begin() != 0)
        return -1;
    is_there = mp__cache_peek(cache, address, hash) != NULL;
    mp_read_end();
    return is_there ? mp__l1_expect(cache->l1, address, hash, uses) : -1;
}

bool mp__cache_was_read(mp_cache *cache, mp_str address, uint64_t hash, int uses)
{
    const mp__entry *entry;
    bool is_so;

    if (mp_read_begin() != 0)
        return false;
    entry = mp__cache_peek(cache, address, hash);
    is_so = entry && mp__entry_was_used_more(entry, uses);
    mp_read_end();
    return is_so;
}

void mp__cache_verified(mp_cache *cache, const mp__entry *entry, int64_t verified_ms,
                        uint32_t generation, uint32_t verify_by_s)
{
    mp__entry_verified(entry, verified_ms, generation, verify_by_s);
    if (cache->l2)
        mp__l2_verified(cache->l2, mp__entry_cold_of(entry)->node.hash, entry->revision,
                        verified_ms, generation, verify_by_s);
    if (cache->l3)
        mp__l3_verified(cache->l3, mp__entry_cold_of(entry)->node.hash, entry->revision, generation,
                        verify_by_s);
}

void mp__cache_forget_l1(mp_cache *cache, mp_str address, uint64_t hash)
{
    mp__l1_remove(cache->l1, address, hash);
}

/* ---- L2 ---- */

static int read_l2(mp_cache *cache, mp_str address, uint64_t hash, bool bring_up,
                   const mp__entry **ret_entry)
{
    uint32_t generation, verify_by_s;
    __attribute__((uninitialized)) mp__l2_scratch scratch;
    __attribute__((uninitialized)) mp__record record;
    int rc;

    if (!cache->l2)
        return MP_EUNKNOWN;
    mp__l2_scratch_init(&scratch);
    rc = mp__l2_get(cache->l2, address, hash, &scratch, &record, &generation, &verify_by_s);
    if (rc == 0) {
        rc = bring_up
                 ? mp__l1_bring_up(cache->l1, hash, &record, generation, verify_by_s, ret_entry)
                 : MP_EAGAIN;
        if (rc) { /* no room; or it changed meanwhile, and this is what it was when it was read */
            *ret_entry = mp__entry_make(cache->heap, hash, &record, generation, verify_by_s);
            rc = *ret_entry ? 0 : MP_ENOMEM;
        }
    }
    mp__l2_scratch_done(&scratch);
    return rc;
}

int mp__cache_load_memory(mp_cache *cache, mp_str address, uint64_t hash,
                          const mp__entry **ret_entry)
{
    return read_l2(cache, address, hash, true, ret_entry);
}

int mp__cache_peek_memory(mp_cache *cache, mp_str address, uint64_t hash,
                          const mp__entry **ret_entry)
{
    return read_l2(cache, address, hash, false, ret_entry);
}

void mp__cache_settle(mp_cache *cache)
{
    if (cache->l2)
        mp__l2_settle(cache->l2);
}

/* Put into L1 what L2 knows nothing newer of; else let that go up instead. */
static int put_above_l2(mp_cache *cache, uint64_t removals, uint64_t hash, const mp__record *record,
                        bool force, uint32_t generation, uint32_t verify_by_s,
                        const mp__entry **ret_entry)
{
    const mp__entry *newer;
    int rc;

    for (unsigned tries = 0;; tries++) {
        rc = mp__l1_put_since(cache->l1, removals, hash, record, force, generation, verify_by_s,
                              ret_entry);
        if (rc != MP_EAGAIN)
            return rc;
        force = tries >= PUT_TRIES; /* another address with the same hash, if ever there is one */
        rc = mp__cache_load_memory(cache, record->address, hash, &newer);
        if (rc == MP_ENOMEM)
            return rc;
        if (rc == 0) {
            bool is_newer = newer->revision > record->revision;

            if (is_newer) {
                mp__cache_verified(cache, newer, record->verified_ms, generation, verify_by_s);
                if (ret_entry)
                    *ret_entry = mp__entry_ref(newer);
            }
            (void)mp__entry_unref(newer);
            if (is_newer)
                return 0;
        } /* else it is gone meanwhile, and the way is free */
    }
}

/* ---- L3 ---- */

/* Bring a record of L3 into L1; where it shall not or L1 has no room it becomes an entry of its
 * own.
 */
static int entry_from_l3(mp_cache *cache, uint64_t removals, uint64_t hash,
                         const mp__record *record, bool fill, uint32_t generation,
                         uint32_t verify_by_s, const mp__entry **ret_entry)
{
    if (fill &&
        put_above_l2(cache, removals, hash, record, false, generation, verify_by_s, ret_entry) == 0)
        return 0;
    *ret_entry = mp__entry_make(cache->heap, hash, record, generation, verify_by_s);
    return *ret_entry ? 0 : MP_ENOMEM;
}

int mp__cache_load_disk(mp_cache *cache, mp_str address, uint64_t hash, bool nowait, bool fill,
                        const mp__entry **ret_entry)
{
    uint64_t removals = mp__l1_removals(cache->l1); /* a newer one may be put around memory */
    uint32_t generation, verify_by_s;
    mp__record record;
    void *memory;
    int rc;

    if (!cache->l3)
        return MP_EUNKNOWN;
    rc = mp__l3_get(cache->l3, address, hash, nowait, &record, &memory, &generation, &verify_by_s);
    if (rc)
        return rc;
    if (record.expires_ms && record.expires_ms <= mp__env_wall_ms(cache->env))
        rc = MP_EUNKNOWN; /* its expiry was part of it */
    else
        rc =
            entry_from_l3(cache, removals, hash, &record, fill, generation, verify_by_s, ret_entry);
    (void)mp__free(memory);
    return rc;
}

int mp__cache_load_nowait(mp_cache *cache, mp_str address, uint64_t hash,
                          const mp__entry **ret_entry)
{
    return mp__cache_load_disk(cache, address, hash, true, true, ret_entry);
}

int mp__cache_peek_nowait(mp_cache *cache, mp_str address, uint64_t hash,
                          const mp__entry **ret_entry)
{
    return mp__cache_load_disk(cache, address, hash, true, false, ret_entry);
}

static void load_runs(mp__task *task)
{
    mp__cache_load *request = (mp__cache_load *)task;
    const mp__entry *entry = NULL;
    int rc =
        mp__cache_load_disk(request->cache, request->address, request->hash, false, true, &entry);

    request->done(request, rc, entry);
}

void mp__cache_load_start(mp_cache *cache, mp__cache_load *request)
{
    request->task.run = load_runs;
    request->cache = cache;
    mp__l3_load_start(cache->l3, &request->task);
}

uint64_t mp__cache_removals(const mp_cache *cache)
{
    return mp__l1_removals(cache->l1);
}

static unsigned l3_flags(unsigned flags)
{
    return (flags & MP__PUT_FORCE ? MP__L3_PUT_FORCE : 0u) |
           (flags & MP__PUT_FILL ? MP__L3_PUT_FILL : 0u) |
           (flags & MP__PUT_NEWEST ? MP__L3_PUT_NEWEST : 0u);
}

int mp__cache_fill_record(mp_cache *cache, uint64_t removals, const mp__record *record,
                          unsigned flags, uint32_t generation, uint32_t verify_by_s,
                          const mp__entry **ret_entry)
{
    uint64_t hash = mp__hasher_hash(&cache->hasher, record->address);
    bool force = (flags & MP__PUT_FORCE) != 0;
    int rc;

    if (record->address.size == 0 || record->address.size > MP_CACHE_KEY_MAX ||
        record->value.size > MP_CACHE_VALUE_MAX || record->media_type.size > MP__MEDIA_TYPE_MAX)
        return MP_EINVAL;
    if (cache->l3 && !(flags & MP__PUT_L1_ONLY) && /* it counts what it could not take */
        mp__l3_put(cache->l3, hash, record, l3_flags(flags), generation, verify_by_s) == -ESTALE) {
        mp__l1_drop_older(cache->l1, hash, record); /* L3 may err, and then it is the newest */
        return -ESTALE;
    }
    if (flags & MP__PUT_AROUND) {
        mp__cache_forget_l1(cache, record->address, hash);
        rc = ret_entry ? MP_ELIMIT : 0; /* no tier of memory has one to give */
    } else {
        rc = put_above_l2(cache, removals, hash, record, force, generation, verify_by_s, ret_entry);
    }
    if (rc && ret_entry) {
        /* L1 has no room for it, or may not have it; the caller still gets what was asked for */
        *ret_entry = mp__entry_make(cache->heap, hash, record, generation, verify_by_s);
        rc = *ret_entry ? 0 : MP_ENOMEM;
    }
    return rc == -ESTALE ? 0 : rc; /* only L3 has the newer one, or it knows of it */
}

int mp__cache_put_record(mp_cache *cache, const mp__record *record, unsigned flags,
                         uint32_t generation, uint32_t verify_by_s, const mp__entry **ret_entry)
{
    return mp__cache_fill_record(cache, MP__L1_ANY_TIME, record, flags, generation, verify_by_s,
                                 ret_entry);
}

const mp__entry *mp__cache_entry(mp_cache *cache, const mp__record *record)
{
    return mp__entry_make(cache->heap, mp__hasher_hash(&cache->hasher, record->address), record, 0,
                          0);
}

unsigned mp__cache_where(mp_cache *cache, mp_str address, uint64_t hash)
{
    unsigned where = 0;

    if (mp_read_begin() == 0) {
        if (mp__cache_peek(cache, address, hash))
            where |= 1u << MP__TIER_L1;
        mp_read_end();
    }
    if (cache->l2 && mp__l2_has(cache->l2, hash))
        where |= 1u << MP__TIER_L2;
    if (cache->l3 && mp__l3_has(cache->l3, address, hash))
        where |= 1u << MP__TIER_L3;
    return where;
}

int mp__cache_each_kept(mp_cache *cache, mp_str prefix,
                        int (*each)(void *context, const mp__record *record), void *context)
{
    return cache->l3 ? mp__l3_each(cache->l3, prefix, each, context) : 0;
}

uint64_t mp__cache_kept_revision(mp_cache *cache)
{
    return cache->l3 ? mp__l3_revision_max(cache->l3) : 0;
}

int mp__cache_flush(mp_cache *cache)
{
    return cache->l3 ? mp__l3_flush(cache->l3) : 0;
}

void mp__cache_soundness_read(mp_cache *cache, mp__cache_soundness *ret_soundness)
{
    mp__l3_stats l3 = {0};

    if (cache->l3)
        mp__l3_stats_read(cache->l3, &l3);
    *ret_soundness = (mp__cache_soundness){
        .scrubbed_bytes = l3.scrubbed_bytes,
        .passes = l3.scrub_passes,
        .damaged = l3.scrub_damaged,
        .healed = l3.healed,
        .passed_ms = l3.scrub_passed_ms,
        .expired = l3.expired,
        .not_admitted = l3.not_admitted,
        .to_rewrite = l3.to_rewrite,
        .is_sealed = cache->l3_keys != NULL,
    };
}

void mp__cache_scrub_stop(mp_cache *cache)
{
    if (cache->l3)
        mp__l3_scrub_stop(cache->l3);
}

uint64_t mp__cache_l3_damaged(const mp_cache *cache)
{
    return cache->l3 ? mp__l3_damaged(cache->l3) : 0;
}

int mp__cache_l3_trouble(mp_cache *cache, mp__diag *diag)
{
    return cache->l3 ? mp__l3_trouble(cache->l3, diag) : 0;
}

/* ---- turning ---- */

int mp__cache_set_l1_entries(mp_cache *cache, size_t entries)
{
    return mp__l1_set_entries(cache->l1, entries);
}

int mp__cache_set_l1_bytes(mp_cache *cache, size_t bytes)
{
    return mp__l1_set_bytes(cache->l1, bytes);
}

void mp__cache_set_panel_share(mp_cache *cache, double share)
{
    mp__l1_set_panel_share(cache->l1, share);
}

int mp__cache_set_l2_entries(mp_cache *cache, size_t entries)
{
    return cache->l2 ? mp__l2_set_entries(cache->l2, entries) : MP_EINVAL;
}

int mp__cache_set_l3_bytes(mp_cache *cache, uint64_t bytes)
{
    return cache->l3 ? mp__l3_set_bytes(cache->l3, bytes) : 0;
}

int mp__cache_set_l2_bytes(mp_cache *cache, size_t bytes)
{
    return cache->l2 ? mp__l2_set_bytes(cache->l2, bytes) : MP_EINVAL;
}

int mp__cache_set_policy(mp_cache *cache, const char *policy)
{
    const mp__policy_ops *ops = mp__policy_find(policy);

    return ops ? mp__l1_set_policy(cache->l1, ops) : MP_EINVAL;
}

void mp__cache_panel_read(mp_cache *cache, mp__cache_panel *ret_panel)
{
    mp__panel_view view;

    *ret_panel = (mp__cache_panel){.policy = mp__l1_policy_name(cache->l1)};
    if (!mp__l1_panel_look(cache->l1, &view))
        return;
    ret_panel->leader = mp__panel_shape(view.leader)->name;
    ret_panel->count = MP__PANEL_MEMBERS;
    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++) {
        ret_panel->members[i].name = mp__panel_shape(i)->name;
        ret_panel->members[i].hit_ratio = view.hit_ratio[i];
    }
    ret_panel->sample = view.sample;
    ret_panel->seen = view.seen;
    ret_panel->requests = view.requests;
    ret_panel->changes = view.switches;
}

size_t mp__cache_forecasts(mp_cache *cache, mp__cache_forecast ret_forecasts[MP__CACHE_FORECASTS])
{
    return mp__l1_forecasts(cache->l1, ret_forecasts);
}

int mp__cache_predict(mp_cache *cache, const char *policy, size_t entries,
                      mp__cache_forecast *ret_forecast)
{
    return mp__l1_predict(cache->l1, policy, entries, ret_forecast);
}

const char *mp__cache_policy_at(size_t i, const char **ret_text)
{
    for (size_t k = 0; k <= i; k++)
        if (!mp__policies[k])
            return NULL;
    *ret_text = mp__policies[i]->text;
    return mp__policies[i]->name;
}

static double knob_entries_get(void *module)
{
    mp_cache_stats stats;

    mp_cache_stats_read(module, &stats);
    return (double)stats.l1_entries_max;
}

static int knob_set_result(int rc, mp__diag *diag)
{
    return rc == MP_EINVAL
               ? mp__diag_set(diag, rc, "cache.l1_bytes is too small for that many entries")
               : rc;
}

static int knob_entries_set(void *module, double value, mp__diag *diag)
{
    return knob_set_result(mp__cache_set_l1_entries(module, (size_t)value), diag);
}

/* What the model says of the hit ratio of L1; nothing of other metrics. */
static int knob_predict(mp_cache *cache, const char *policy, double entries, const char *metric,
                        double *ret_low, double *ret_mean, double *ret_high)
{
    mp__cache_forecast is;
    int rc;

    if (strcmp(metric, MP__CACHE_METRIC_L1_HIT_RATIO) != 0)
        return MP_EUNKNOWN;
    rc = mp__cache_predict(cache, policy, (size_t)entries, &is);
    if (rc)
        return rc;
    *ret_low = is.low;
    *ret_mean = is.hit_ratio;
    *ret_high = is.high;
    return 0;
}

static int knob_entries_predict(void *module, double value, const char *metric, double *ret_low,
                                double *ret_mean, double *ret_high)
{
    return knob_predict(module, NULL, value, metric, ret_low, ret_mean, ret_high);
}

static double knob_bytes_get(void *module)
{
    mp_cache_stats stats;

    mp_cache_stats_read(module, &stats);
    return (double)stats.l1_bytes_max;
}

static int knob_bytes_set(void *module, double value, mp__diag *diag)
{
    return knob_set_result(mp__cache_set_l1_bytes(module, (size_t)value), diag);
}

static int l2_set_result(const mp_cache *cache, double value, int rc, mp__diag *diag)
{
    if (!cache->l2 && value == 0) /* which is what it has */
        return 0;
    if (!cache->l2)
        return mp__diag_set(diag, MP_EINVAL, "there is no L2: cache.l2_size was 0 at the start");
    return rc == MP_EINVAL
               ? mp__diag_set(diag, rc, "cache.l2_bytes is too small for that many entries")
               : rc;
}

static double knob_l2_entries_get(void *module)
{
    mp_cache_stats stats;

    mp_cache_stats_read(module, &stats);
    return (double)stats.l2_entries_max;
}

static int knob_l2_entries_set(void *module, double value, mp__diag *diag)
{
    return l2_set_result(module, value, mp__cache_set_l2_entries(module, (size_t)value), diag);
}

static double knob_l2_bytes_get(void *module)
{
    mp_cache_stats stats;

    mp_cache_stats_read(module, &stats);
    return (double)stats.l2_bytes_max;
}

static int knob_l2_bytes_set(void *module, double value, mp__diag *diag)
{
    return l2_set_result(module, value, mp__cache_set_l2_bytes(module, (size_t)value), diag);
}

static double knob_l2_level_get(void *module)
{
    const mp_cache *cache = module;

    return cache->l2 ? mp__l2_level_get(cache->l2) : 0;
}

static int knob_l2_level_set(void *module, double value, mp__diag *diag)
{
    const mp_cache *cache = module;

    if (cache->l2 && value < 1)
        return mp__diag_set(diag, MP_EINVAL, "zstd's levels begin at 1");
    if (cache->l2)
        mp__l2_set_level(cache->l2, (unsigned)value);
    return l2_set_result(cache, value, 0, diag);
}

static double knob_l2_dictionary_get(void *module)
{
    const mp_cache *cache = module;

    return cache->l2 ? (double)mp__l2_dictionary_get(cache->l2) : 0;
}

static int knob_l2_dictionary_set(void *module, double value, mp__diag *diag)
{
    const mp_cache *cache = module;

    if (cache->l2)
        mp__l2_set_dictionary(cache->l2, (size_t)value);
    return l2_set_result(cache, value, 0, diag);
}

/* As mp__policies. */
static const char *const policy_names[] = {"adaptive", "s3-fifo", "lru", "w-tinylfu", "lirs", "arc",
                                           "2q",       "sieve",   "lfu", "fifo",      "ttl",  NULL};

static double knob_policy_get(void *module)
{
    const mp_cache *cache = module;
    size_t i = 0;

    while (policy_names[i] && strcmp(policy_names[i], mp__l1_policy_name(cache->l1)) != 0)
        i++;
    return (double)i;
}

static int knob_policy_set(void *module, double value, mp__diag *diag)
{
    (void)diag;
    return mp__cache_set_policy(module, policy_names[(size_t)value]);
}

static int knob_policy_predict(void *module, double value, const char *metric, double *ret_low,
                               double *ret_mean, double *ret_high)
{
    return knob_predict(module, policy_names[(size_t)value], 0, metric, ret_low, ret_mean,
                        ret_high);
}

static const mp__knob knobs[] = {
    {.name = "cache.l1_size",
     .unit = "entries",
     .help = "Most entries in memory. A change builds a new index; fewer evict at once.",
     .low = 1,
     .high = 1e9,
     .standard = L1_ENTRIES,
     .safe = true,
     .get = knob_entries_get,
     .set = knob_entries_set,
     .predict = knob_entries_predict},
    {.name = "cache.l1_bytes",
     .unit = "bytes",
     .help = "Most bytes of memory, index included. Fewer evict at once.",
     .low = 1 << 20,
     .high = 1e15,
     .standard = (double)L1_BYTES,
     .safe = true,
     .get = knob_bytes_get,
     .set = knob_bytes_set},
    {.name = "cache.l2_size",
     .unit = "entries",
     .help = "Most entries in compressed memory. A change builds a new index; fewer evict at once. "
             "0: there is none.",
     .low = 0,
     .high = 1e9,
     .standard = 5000,
     .safe = true,
     .get = knob_l2_entries_get,
     .set = knob_l2_entries_set},
    {.name = "cache.l2_bytes",
     .unit = "bytes",
     .help = "Most bytes of L2, index and dictionaries included. Fewer evict at once.",
     .low = 0, /* without an L2; else MP__L2_BYTES_LEAST and its index */
     .high = 1e15,
     .standard = (double)L2_BYTES,
     .safe = true,
     .get = knob_l2_bytes_get,
     .set = knob_l2_bytes_set},
    {.name = "cache.l2_level",
     .unit = "",
     .help = "Level of compression of L2, for dictionaries to come.",
     .low = 0,
     .high = MP__L2_LEVEL_MAX,
     .standard = L2_LEVEL,
     .safe = true,
     .get = knob_l2_level_get,
     .set = knob_l2_level_set},
    {.name = "cache.l2_dictionary",
     .unit = "bytes",
     .help = "Size of the dictionaries of L2 to come; 0 lets go of those there are.",
     .low = 0,
     .high = 256 << 10,
     .standard = L2_DICTIONARY,
     .safe = true,
     .get = knob_l2_dictionary_get,
     .set = knob_l2_dictionary_set},
    {.name = "cache.policy",
     .unit = "",
     .help = "Which entry leaves when room is needed. A change keeps the contents.",
     .low = 0,
     .high = 10,
     .standard = 0,
     .safe = true,
     .choices = policy_names,
     .get = knob_policy_get,
     .set = knob_policy_set,
     .predict = knob_policy_predict},
};

const mp__knob_table mp__cache_knobs = {"cache", knobs, sizeof(knobs) / sizeof(knobs[0])};
