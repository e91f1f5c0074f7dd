/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bare_table.h"

#include <sys/mman.h>

#include <marketprism/error.h>

#include "core/alloc.h"
#include "core/bytes.h"

enum { HUGE_BYTES = 2 * 1024 * 1024 };

/* Zeroed; on huge pages where the system gives them, as the cache's own memory is, so that what is
 * compared is the tables and not the pages below them. */
static void *memory_new(size_t *bytes)
{
    void *memory;

    *bytes = (*bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    memory = mp__aligned_alloc(HUGE_BYTES, *bytes);
    if (memory) {
        (void)madvise(memory, *bytes, MADV_HUGEPAGE);
        memset(memory, 0, *bytes);
    }
    return memory;
}

static size_t object_round(size_t bytes)
{
    return (sizeof(mp__bare_object) + bytes + 15) & ~(size_t)15;
}

int mp__bare_table_init(mp__bare_table *table, mp__hash_key key, bool is_alike, size_t entries,
                        size_t object_bytes)
{
    size_t count = 16;

    while (count < entries * 2)
        count *= 2;
    *table = (mp__bare_table){.state = mp__hash_state_of(key),
                              .is_alike = is_alike,
                              .home_mask = (count - 1) * sizeof(mp__bare_slot)};
    mp__hasher_init(&table->hasher, key, mp__hasher_may_be_fast());
    table->slots_bytes = count * sizeof(mp__bare_slot);
    table->arena_bytes = entries * object_round(object_bytes);
    table->slots = memory_new(&table->slots_bytes);
    table->arena = memory_new(&table->arena_bytes);
    if (!table->slots || !table->arena) {
        mp__bare_table_done(table);
        return MP_ENOMEM;
    }
    return 0;
}

void mp__bare_table_done(mp__bare_table *table)
{
    table->slots = mp__free(table->slots);
    table->arena = mp__free(table->arena);
}

static inline __attribute__((always_inline)) uint64_t hash_of(const mp__bare_table *table,
                                                              mp_str key, bool is_alike)
{
    return is_alike ? mp__hasher_hash(&table->hasher, key)
                    : mp__siphash13_from(&table->state, key.data, key.size);
}

/* As L1 does it: the hash's bits are taken where they are an offset as they are. */
static inline mp__bare_slot *home(const mp__bare_table *table, uint64_t hash)
{
    return (mp__bare_slot *)((char *)table->slots + (hash & table->home_mask));
}

static inline mp__bare_slot *after(const mp__bare_table *table, const mp__bare_slot *slot)
{
    return home(table, (uint64_t)((const char *)(slot + 1) - (const char *)table->slots));
}

int mp__bare_table_put(mp__bare_table *table, mp_str key, mp_str value)
{
    size_t bytes = object_round(key.size + value.size);
    mp__bare_object *object;
    uint64_t hash = hash_of(table, key, table->is_alike);
    mp__bare_slot *slot = home(table, hash);

    if (bytes > table->arena_bytes - table->arena_used)
        return MP_ELIMIT;
    object = (mp__bare_object *)(table->arena + table->arena_used);
    table->arena_used += bytes;
    object->key_size = (uint32_t)key.size;
    object->value_size = (uint32_t)value.size;
    memcpy(object->bytes, key.data, key.size);
    memcpy(object->bytes + key.size, value.data, value.size);
    while (slot->object)
        slot = after(table, slot);
    *slot = (mp__bare_slot){hash, object};
    return 0;
}

static inline __attribute__((always_inline)) mp_str get(const mp__bare_table *table, mp_str key,
                                                        bool is_alike, bool middle)
{
    uint64_t hash;

    if (middle && !mp__bytes_are_middle(key.size))
        __builtin_unreachable();
    hash = hash_of(table, key, is_alike);
    for (const mp__bare_slot *slot = home(table, hash);; slot = after(table, slot)) {
        const mp__bare_object *object = slot->object;

        if (!object)
            return mp_str_new(NULL, 0);
        if (slot->hash == hash && object->key_size == key.size &&
            mp__bytes_equal(object->bytes, key.data, key.size))
            return mp_str_new(object->bytes + key.size, object->value_size);
    }
}

static __attribute__((noinline)) mp_str get_any(const mp__bare_table *table, mp_str key)
{
    return get(table, key, table->is_alike, false);
}

/* As mp_cache_find() does it. */
MP__AT_LINE mp_str mp__bare_table_get(const mp__bare_table *table, mp_str key)
{
    if (__builtin_expect(!mp__bytes_are_middle(key.size), 0))
        return get_any(table, key);
    return get(table, key, false, true);
}

MP__AT_LINE mp_str mp__bare_table_get_alike(const mp__bare_table *table, mp_str key)
{
    if (__builtin_expect(!mp__bytes_are_middle(key.size), 0))
        return get_any(table, key);
    return get(table, key, true, true);
}
