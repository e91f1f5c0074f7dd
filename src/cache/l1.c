/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l1.h"

#include <pthread.h>

#include "cache/l1_read.h"
#include "core/alloc.h"

enum {
    BYTES_LEAST = 512 * 1024,
    NEGATIVE_LEAST = 16, /* entries */
    EVICT_BATCH = 16,    /* victims between two tries to get memory */
};

struct mp__l1 {
    mp__l1_front front; /* what readers look at */

    pthread_mutex_t lock __attribute__((aligned(128))); /* over everything below */
    mp__slab *slab;
    mp__policy *policy;
    mp__policy_queue negatives; /* ABSENT entries, oldest first out */
    size_t entries, entries_max, bytes_max, negative_bytes;
    unsigned negative_percent;
    uint64_t inserts, evictions, expired;

    _Atomic uint64_t counters[MP__L1_SHARDS * MP__L1_SHARD_STRIDE] __attribute__((aligned(128)));
};

/* ---- making ---- */

static int bytes_check(size_t entries_max, size_t bytes_max)
{
    size_t table = mp__l1_table_bytes(entries_max);

    return bytes_max < table || bytes_max - table < BYTES_LEAST ? MP_EINVAL : 0;
}

int mp__l1_new(mp_env *env, size_t entries_max, size_t bytes_max, unsigned negative_percent,
               const mp__policy_ops *policy, mp__l1 **ret_l1)
{
    mp__l1_table *table = NULL;
    mp__l1 *l1;
    int rc;

    if (entries_max == 0 || entries_max > SIZE_MAX / 1024 || bytes_check(entries_max, bytes_max))
        return MP_EINVAL;
    l1 = mp__aligned_alloc(128, sizeof(*l1));
    if (!l1)
        return MP_ENOMEM;
    memset(l1, 0, sizeof(*l1));
    l1->front.env = env;
    l1->front.counters = l1->counters;
    l1->entries_max = entries_max;
    l1->bytes_max = bytes_max;
    l1->negative_percent = negative_percent;
    rc = mp__l1_table_new(entries_max, &table);
    if (rc == 0)
        rc = mp__slab_new(bytes_max - table->bytes, &l1->slab);
    if (rc == 0)
        rc = policy->make(entries_max, &l1->policy);
    if (rc == 0 && pthread_mutex_init(&l1->lock, NULL) != 0) {
        l1->policy = policy->free(l1->policy);
        rc = MP_ENOMEM;
    }
    if (rc) {
        (void)mp__slab_close(l1->slab);
        (void)mp__l1_table_free(table);
        (void)mp__free(l1);
        return rc;
    }
    atomic_store(&l1->front.table, table);
    *ret_l1 = l1;
    return 0;
}

static void entry_drop(mp__retired *retired)
{
    (void)mp_blob_unref(&((mp__entry *)retired->pointer)->blob.pub);
}

/* Unlinked and out of every queue: let the table's reference go when no reader announces it. */
static void retire_entry(mp__entry *entry)
{
    mp__retired *retired = &mp__entry_cold_of(entry)->retired;

    retired->pointer = entry;
    retired->free_fn = entry_drop;
    mp__hazard_retire(retired);
}

static mp__l1_table *table_of(const mp__l1 *l1)
{
    return atomic_load_explicit(&l1->front.table, memory_order_relaxed);
}

mp__l1 *mp__l1_free(mp__l1 *l1)
{
    mp__l1_table *table;

    if (!l1)
        return NULL;
    table = table_of(l1);
    for (size_t b = 0; b <= table->mask; b++)
        for (unsigned way = 0; way < MP__L1_WAYS; way++) {
            mp__entry *entry = atomic_load(&table->buckets[b].entries[way]);

            if (entry)
                (void)mp_blob_unref(&entry->blob.pub);
        }
    (void)
        mp__hazard_flush(); /* what was retired before; other caches' too, which is right as well */
    (void)mp__l1_table_free(table);
    l1->policy = l1->policy->ops->free(l1->policy);
    l1->slab = mp__slab_close(l1->slab);
    (void)pthread_mutex_destroy(&l1->lock);
    return mp__free(l1);
}

/* ---- removing ---- */

/* Under the lock. The entry is out of the policy; take it out of the table and let it go when no
 * reader announces it. */
static void unlink_entry(mp__l1 *l1, mp__l1_place place, mp__entry *entry)
{
    mp__entry_cold *cold = mp__entry_cold_of(entry);

    mp__l1_table_remove(table_of(l1), place, cold->node.hash);
    l1->entries--;
    if (entry->kind == MP__RECORD_ABSENT)
        l1->negative_bytes -= cold->node.size;
    retire_entry(entry);
}

static void forget_order(mp__l1 *l1, mp__entry *entry)
{
    mp__policy_node *node = &mp__entry_cold_of(entry)->node;

    if (entry->kind == MP__RECORD_ABSENT)
        mp__policy_queue_remove(&l1->negatives, node);
    else
        l1->policy->ops->remove(l1->policy, node);
}

static mp__entry *entry_of_node(mp__policy_node *node)
{
    return (mp__entry *)((mp__entry_cold *)((char *)node - offsetof(mp__entry_cold, node)) + 1);
}

static void evict_node(mp__l1 *l1, mp__policy_node *node)
{
    mp__entry *entry = entry_of_node(node);
    mp__l1_place place;

    if (mp__l1_table_find(table_of(l1), mp__entry_address(entry), node->hash, &place)) {
        unlink_entry(l1, place, entry);
        l1->evictions++;
    }
}

static bool evict_negative(mp__l1 *l1)
{
    mp__policy_node *node = l1->negatives.oldest;

    if (!node)
        return false;
    mp__policy_queue_remove(&l1->negatives, node);
    evict_node(l1, node);
    return true;
}

static bool evict_one(mp__l1 *l1)
{
    mp__policy_node *node = l1->policy->ops->evict(l1->policy);

    if (!node)
        return evict_negative(l1);
    evict_node(l1, node);
    return true;
}

void mp__l1_remove(mp__l1 *l1, mp_str address, uint64_t hash)
{
    mp__l1_place place;

    (void)pthread_mutex_lock(&l1->lock);
    if (mp__l1_table_find(table_of(l1), address, hash, &place)) {
        mp__entry *entry =
            atomic_load_explicit(&place.bucket->entries[place.way], memory_order_relaxed);

        forget_order(l1, entry);
        unlink_entry(l1, place, entry);
    }
    (void)pthread_mutex_unlock(&l1->lock);
    mp__hazard_tidy();
}

/* ---- putting ---- */

/* An object for @record, evicting until there is room. NULL when nothing is left to evict. */
static mp__entry *make_with_room(mp__l1 *l1, uint64_t hash, const mp__record *record,
                                 uint32_t generation, uint32_t verify_by_s)
{
    for (;;) {
        mp__entry *entry = mp__entry_make(l1->slab, hash, record, generation, verify_by_s);
        unsigned evicted = 0;

        if (entry)
            return entry;
        while (evicted < EVICT_BATCH && evict_one(l1))
            evicted++;
        if (evicted == 0)
            return NULL;
        (void)mp__hazard_flush(); /* evicted is not yet free */
    }
}

static size_t negative_entries_max(const mp__l1 *l1)
{
    size_t share = l1->entries_max / 100 * l1->negative_percent;

    share = share > NEGATIVE_LEAST ? share : NEGATIVE_LEAST;
    return share < l1->entries_max ? share : l1->entries_max;
}

/* Before one more entry goes in. */
static void make_place(mp__l1 *l1, const mp__record *record)
{
    if (record->kind == MP__RECORD_ABSENT) {
        size_t bytes_max = l1->bytes_max / 100 * l1->negative_percent;

        while (l1->negatives.count >= negative_entries_max(l1) ||
               (l1->negatives.count && l1->negative_bytes > bytes_max))
            (void)evict_negative(l1);
    }
    while (l1->entries >= l1->entries_max && evict_one(l1))
        ;
}

static void order(mp__l1 *l1, mp__entry *entry)
{
    mp__entry_cold *cold = mp__entry_cold_of(entry);

    if (entry->kind == MP__RECORD_ABSENT) {
        mp__policy_queue_add(&l1->negatives, &cold->node);
        l1->negative_bytes += cold->node.size;
    } else {
        l1->policy->ops->insert(l1->policy, &cold->node);
    }
}

/* What is there already stays when it is newer, or the same. */
static bool keep_present(const mp__entry *present, const mp__record *record, bool force)
{
    if (force || present->revision < record->revision)
        return false;
    if (present->revision > record->revision)
        return true;
    return present->kind == record->kind && present->expires_ms == record->expires_ms &&
           mp_str_equal(mp_blob_str(&present->blob.pub), record->value);
}

/* Put @entry where @present stands, or nowhere yet. */
static int link_entry(mp__l1 *l1, mp__entry *entry, uint64_t hash, mp_str address)
{
    mp__l1_place place;
    mp__entry *present;

    /* evictions may have moved or taken what was there: look again */
    if (!mp__l1_table_find(table_of(l1), address, hash, &place)) {
        if (!mp__l1_table_insert(table_of(l1), entry, hash))
            return MP_ENOMEM;
        l1->entries++;
        order(l1, entry);
        return 0;
    }
    present = atomic_load_explicit(&place.bucket->entries[place.way], memory_order_relaxed);
    forget_order(l1, present);
    if (present->kind == MP__RECORD_ABSENT)
        l1->negative_bytes -= mp__entry_cold_of(present)->node.size;
    order(l1, entry);
    mp__l1_table_replace(place, entry);
    retire_entry(present);
    return 0;
}

static int put_locked(mp__l1 *l1, uint64_t hash, const mp__record *record, bool force,
                      uint32_t generation, uint32_t verify_by_s, const mp__entry **ret_entry)
{
    mp__l1_place place;
    mp__entry *entry = NULL;
    bool is_there = mp__l1_table_find(table_of(l1), record->address, hash, &place);

    if (is_there)
        entry = atomic_load_explicit(&place.bucket->entries[place.way], memory_order_relaxed);
    if (entry && keep_present(entry, record, force)) {
        mp__entry_verified(entry, record->verified_ms, generation, verify_by_s);
        if (ret_entry)
            *ret_entry = mp__entry_ref(entry);
        return 0;
    }
    if (!is_there)
        make_place(l1, record);
    entry = make_with_room(l1, hash, record, generation, verify_by_s);
    if (!entry || link_entry(l1, entry, hash, record->address) != 0) {
        (void)mp__entry_unref(entry);
        return MP_ENOMEM;
    }
    l1->inserts++;
    if (ret_entry)
        *ret_entry = mp__entry_ref(entry);
    return 0;
}

int mp__l1_put(mp__l1 *l1, uint64_t hash, const mp__record *record, bool force, uint32_t generation,
               uint32_t verify_by_s, const mp__entry **ret_entry)
{
    int rc;

    (void)pthread_mutex_lock(&l1->lock);
    rc = put_locked(l1, hash, record, force, generation, verify_by_s, ret_entry);
    (void)pthread_mutex_unlock(&l1->lock);
    mp__hazard_tidy();
    if (rc)
        mp__l1_remove(l1, record->address, hash); /* rather nothing than something older */
    return rc;
}

/* ---- turning ---- */

static void table_drop(mp__retired *retired)
{
    (void)mp__l1_table_free(retired->pointer);
}

/* Under the lock: move every entry into @next and let readers go over to it. A reader on the old
 * table sees all that was there until now. */
static void table_change(mp__l1 *l1, mp__l1_table *next)
{
    mp__l1_table *old = table_of(l1);

    for (size_t b = 0; b <= old->mask; b++)
        for (unsigned way = 0; way < MP__L1_WAYS; way++) {
            mp__entry *entry =
                atomic_load_explicit(&old->buckets[b].entries[way], memory_order_relaxed);

            if (entry)
                (void)mp__l1_table_insert(next, entry, mp__entry_cold_of(entry)->node.hash);
        }
    atomic_store_explicit(&l1->front.table, next, memory_order_release);
    /* A reader still on the old table must not announce from it what is retired from now on. */
    for (size_t b = 0; b <= old->mask; b++)
        for (unsigned way = 0; way < MP__L1_WAYS; way++)
            atomic_store_explicit(&old->buckets[b].entries[way], NULL, memory_order_release);
    old->retired.free_fn = table_drop;
    mp__hazard_retire(&old->retired);
}

int mp__l1_set_entries(mp__l1 *l1, size_t entries_max)
{
    mp__l1_table *next;
    int rc;

    if (entries_max == 0 || entries_max > SIZE_MAX / 1024 ||
        bytes_check(entries_max, l1->bytes_max))
        return MP_EINVAL;
    rc = mp__l1_table_new(entries_max, &next);
    if (rc)
        return rc;
    (void)pthread_mutex_lock(&l1->lock);
    rc = l1->policy->ops->resize(l1->policy, entries_max);
    if (rc == 0) {
        l1->entries_max = entries_max;
        while (l1->entries > entries_max && evict_one(l1))
            ;
        table_change(l1, next);
        mp__slab_limit_set(l1->slab, l1->bytes_max - next->bytes);
    }
    (void)pthread_mutex_unlock(&l1->lock);
    if (rc)
        (void)mp__l1_table_free(next);
    (void)mp__hazard_flush();
    return rc;
}

int mp__l1_set_bytes(mp__l1 *l1, size_t bytes_max)
{
    size_t slab_max;

    if (bytes_check(l1->entries_max, bytes_max))
        return MP_EINVAL;
    (void)pthread_mutex_lock(&l1->lock);
    l1->bytes_max = bytes_max;
    slab_max = bytes_max - table_of(l1)->bytes;
    mp__slab_limit_set(l1->slab, slab_max);
    while (mp__slab_pages_bytes(l1->slab) > slab_max) {
        unsigned evicted = 0;

        while (evicted < EVICT_BATCH && evict_one(l1))
            evicted++;
        (void)mp__hazard_flush();
        if (evicted == 0)
            break; /* what is left is held by readers and goes with them */
    }
    (void)pthread_mutex_unlock(&l1->lock);
    return 0;
}

int mp__l1_set_policy(mp__l1 *l1, const mp__policy_ops *ops)
{
    mp__policy *next, *old;
    mp__policy_node *node;
    int rc = 0;

    (void)pthread_mutex_lock(&l1->lock);
    old = l1->policy;
    if (old->ops != ops)
        rc = ops->make(l1->entries_max, &next);
    if (rc == 0 && old->ops != ops) {
        /* in the order in which the old one would have let them go */
        while ((node = old->ops->evict(old)))
            ops->insert(next, node);
        l1->policy = next;
        (void)old->ops->free(old);
    }
    (void)pthread_mutex_unlock(&l1->lock);
    return rc;
}

const char *mp__l1_policy_name(const mp__l1 *l1)
{
    return l1->policy->ops->name;
}

void mp__l1_stats_read(mp__l1 *l1, mp__l1_stats *ret_stats)
{
    mp__l1_stats s = {0};

    for (size_t i = 0; i < MP__L1_SHARDS; i++) {
        const _Atomic uint64_t *shard = &l1->counters[i * MP__L1_SHARD_STRIDE];

        s.hits += atomic_load_explicit(&shard[0], memory_order_relaxed);
        s.misses += atomic_load_explicit(&shard[1], memory_order_relaxed);
    }
    (void)pthread_mutex_lock(&l1->lock);
    s.inserts = l1->inserts;
    s.evictions = l1->evictions;
    s.entries = l1->entries;
    s.entries_max = l1->entries_max;
    s.bytes = mp__slab_pages_bytes(l1->slab) + table_of(l1)->bytes;
    s.bytes_max = l1->bytes_max;
    s.negative_bytes = l1->negative_bytes;
    s.expired = l1->expired;
    (void)pthread_mutex_unlock(&l1->lock);
    *ret_stats = s;
}
