/* SPDX-License-Identifier: Apache-2.0 */
/* The reference of the memory benches: the fastest plain hash table that we know how to write when
 * nothing ever changes: open addressing, linear probing, half full, full hash and pointer in the
 * slot, key and value in one object, objects side by side. No thread may write while others read;
 * nothing is ever removed, expired or counted. */
#ifndef MP_BENCH_BARE_TABLE_H
#define MP_BENCH_BARE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <marketprism/str.h>

#include "core/hasher.h"

typedef struct mp__bare_object {
    uint32_t key_size, value_size;
    char bytes[]; /* key, then value */
} mp__bare_object;

typedef struct mp__bare_slot {
    uint64_t hash;
    const mp__bare_object *object; /* NULL: empty */
} mp__bare_slot;

typedef struct mp__bare_table {
    mp__hash_state state; /* of the hash's key, made beforehand */
    mp__hasher hasher;    /* of the same key, as the cache hashes */
    bool is_alike;        /* the second counts */
    mp__bare_slot *slots;
    size_t home_mask; /* of a hash's bits: how many bytes behind @slots its home slot begins */
    size_t slots_bytes;
    char *arena;
    size_t arena_used, arena_bytes;
} mp__bare_table;

/* Room for @entries objects of @object_bytes (key and value together). @is_alike: its keys are
 * hashed as the cache hashes them; else by SipHash-1-3. 0 or MP_ENOMEM. */
int mp__bare_table_init(mp__bare_table *table, mp__hash_key key, bool is_alike, size_t entries,
                        size_t object_bytes);
void mp__bare_table_done(mp__bare_table *table);

/* Add a key that is not there yet. 0, or MP_ELIMIT when the room of init() is used up. */
int mp__bare_table_put(mp__bare_table *table, mp_str key, mp_str value);

/* The value, or data NULL. A call like the cache's own, so that both pay for one. */
mp_str mp__bare_table_get(const mp__bare_table *table, mp_str key) __attribute__((noinline));
/* Of a table whose keys are hashed as the cache hashes them. */
mp_str mp__bare_table_get_alike(const mp__bare_table *table, mp_str key) __attribute__((noinline));

#endif
