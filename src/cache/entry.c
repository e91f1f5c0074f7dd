/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/entry.h"

#include <stddef.h>

_Static_assert(offsetof(mp__entry, blob.pub) == 64, "what a hit touches begins a line");
_Static_assert(sizeof(mp__entry_cold) == 64, "the entry behind it begins a line");
_Static_assert(offsetof(mp__policy_node, hash) >= sizeof(mp__retired), "hash outlives the node");

mp_str mp__entry_address(const mp__entry *entry)
{
    return mp_str_new(entry->address, entry->address_size);
}

mp_str mp__entry_media_type(const mp__entry *entry)
{
    return mp_str_new(entry->address + entry->address_size, entry->media_type_size);
}

void mp__entry_record(const mp__entry *entry, mp__record *ret_record)
{
    const mp__entry_cold *cold = mp__entry_cold_of(entry);

    *ret_record = (mp__record){
        .address = mp__entry_address(entry),
        .value = mp_blob_str(&entry->blob.pub),
        .media_type = mp__entry_media_type(entry),
        .kind = entry->kind == MP__RECORD_ABSENT ? MP__RECORD_ABSENT : MP__RECORD_VALUE,
        .revision = entry->revision,
        .created_revision = cold->created_revision,
        .version = cold->version,
        .created_ms = entry->created_ms,
        .modified_ms = entry->modified_ms,
        .expires_ms = entry->expires_ms,
        .fetched_ms = entry->fetched_ms,
        .verified_ms = atomic_load_explicit(&cold->verified_ms, memory_order_relaxed),
        .is_worth_keeping = false, /* with each of them said, all need not be set to zero before */
    };
}

const mp__entry *mp__entry_unref(const mp__entry *entry)
{
    mp_blob *blob;

    if (!entry)
        return NULL;
    memcpy(&blob, &(const mp_blob *){&entry->blob.pub}, sizeof(mp_blob *));
    (void)mp_blob_unref(blob);
    return NULL;
}

static void entry_free(mp__blob *blob)
{
    mp__slab_free((char *)blob - offsetof(mp__entry, blob) - sizeof(mp__entry_cold));
}

void mp__entry_verified(const mp__entry *entry, int64_t verified_ms, uint32_t generation,
                        uint32_t verify_by_s)
{
    mp__entry_cold *cold = mp__entry_cold_of(entry);
    mp__entry *e = (mp__entry *)(cold + 1);

    atomic_store_explicit(&cold->verified_ms, verified_ms, memory_order_relaxed);
    atomic_store_explicit(&e->verify_by_s, verify_by_s, memory_order_relaxed);
    atomic_store_explicit(&e->generation, generation, memory_order_relaxed);
}

/* So that a hit sees it in the byte that it looks at anyway. */
static uint8_t kind_of(const mp__record *record)
{
    if (record->kind == MP__RECORD_VALUE &&
        mp_str_equal(record->media_type, MP_STR(MP__MEDIA_MASK)))
        return MP__RECORD_MASK;
    return (uint8_t)record->kind;
}

static size_t timer_offset(size_t address, size_t media_type, size_t value)
{
    size_t bytes =
        sizeof(mp__entry_cold) + offsetof(mp__entry, address) + address + media_type + value;
    const size_t align = _Alignof(mp__entry_timer);

    return (bytes + align - 1) / align * align;
}

size_t mp__entry_bytes(const mp__record *record, bool timed)
{
    if (timed)
        return timer_offset(record->address.size, record->media_type.size, record->value.size) +
               sizeof(mp__entry_timer);
    return sizeof(mp__entry_cold) + offsetof(mp__entry, address) + record->address.size +
           record->media_type.size + record->value.size;
}

mp__wheel_timer *mp__entry_timer_of(mp__entry *entry)
{
    mp__entry_cold *cold = mp__entry_cold_of(entry);

    if (!(cold->node.kind & MP__ENTRY_TIMED))
        return NULL;
    return &((mp__entry_timer *)((char *)cold + timer_offset(entry->address_size,
                                                             entry->media_type_size,
                                                             entry->blob.pub.size)))
                ->timer;
}

static void timer_init(mp__entry *entry, const mp__record *record)
{
    size_t offset = timer_offset(record->address.size, record->media_type.size, record->value.size);
    mp__entry_timer *timer = (mp__entry_timer *)((char *)mp__entry_cold_of(entry) + offset);

    *timer = (mp__entry_timer){.entry = entry};
}

mp__entry *mp__entry_make(mp__slab *slab, uint64_t hash, const mp__record *record,
                          uint32_t generation, uint32_t verify_by_s)
{
    bool timed = mp__entry_is_timed(record, verify_by_s);
    size_t bytes = mp__entry_bytes(record, timed);
    mp__entry_cold *cold = mp__slab_alloc(slab, bytes);
    mp__entry *entry;
    char *p;

    if (!cold)
        return NULL;
    entry = (mp__entry *)(cold + 1);
    *cold = (mp__entry_cold){
        .node = {.hash = hash,
                 .size = (uint32_t)mp__slab_round(bytes),
                 .kind = timed ? MP__ENTRY_TIMED : 0,
                 .expires_s = (uint32_t)(record->expires_ms / 1000)},
        .created_revision = record->created_revision,
        .version = record->version < UINT32_MAX ? (uint32_t)record->version : UINT32_MAX,
    };
    atomic_init(&cold->verified_ms, record->verified_ms);
    entry->created_ms = record->created_ms;
    entry->modified_ms = record->modified_ms;
    entry->fetched_ms = record->fetched_ms;
    entry->expires_ms = record->expires_ms;
    entry->expires = record->expires_ms != 0;
    p = entry->address;
    mp__blob_init(&entry->blob, p + record->address.size + record->media_type.size,
                  record->value.size, entry_free);
    entry->revision = record->revision;
    atomic_init(&entry->generation, generation);
    atomic_init(&entry->verify_by_s, verify_by_s);
    atomic_init(&entry->frequency, 0);
    atomic_init(&cold->was_used, false);
    atomic_init(&cold->was_used_lately, false);
    if (timed)
        timer_init(entry, record);
    mp__policy_uses_are(&cold->node, &entry->frequency);
    entry->address_size = (uint16_t)record->address.size;
    entry->media_type_size = (uint8_t)record->media_type.size;
    entry->kind = kind_of(record);
    entry->plain_size =
        entry->expires || entry->kind == MP__RECORD_ABSENT ? 0 : entry->address_size;
    memcpy(p, record->address.data, record->address.size);
    p += record->address.size;
    if (record->media_type.size)
        memcpy(p, record->media_type.data, record->media_type.size);
    p += record->media_type.size;
    if (record->value.size)
        memcpy(p, record->value.data, record->value.size);
    return entry;
}

bool mp__entry_was_used_more(const mp__entry *entry, int uses)
{
    return atomic_load_explicit(&entry->frequency, memory_order_relaxed) > uses ||
           atomic_load_explicit(&mp__entry_cold_of(entry)->was_used, memory_order_relaxed);
}

bool mp__entry_was_used(const mp__entry *entry)
{
    return mp__entry_was_used_more(entry, 0);
}
