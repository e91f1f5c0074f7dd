/* SPDX-License-Identifier: Apache-2.0 */
/* L2: what was learned outlives the process: its dictionaries in one file beside L3's segments, so
 * that values of schemas that were seen before are small from the first one on.
 *
 *   file = head(32) part sum(8)                    little endian
 *   head = "MPL2DIC" and a zero, version(4) count(4) key-id(8) part-size(8)
 *   part = { size(4) trained-from(4) rate(8, IEEE 754) name-size(8) name(48) bytes, to 8 }* [seal]
 *
 * A dictionary is made of values, so that with keys the part is sealed with the first of them, as
 * L3's records are; the head goes along. XXH3-64 over all before the sum. A file that does not
 * hold, or that none of the keys opens, is as good as none. */
#include <endian.h>
#include <string.h>

#include "cache/l2_internal.h"
#include "core/alloc.h"
#include "core/hash.h"

enum { HEAD = 32, ENTRY = 72, SUM = 8, SEAL = 40, VERSION = 1, FILE_MAX = 16 << 20 };
static const char magic[8] = "MPL2DIC";
_Static_assert(MP__L2_NAME < 48, "a name has its place in an entry");

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static void put64(unsigned char *p, uint64_t v)
{
    mp__store_le64(p, v);
}

static void put32(unsigned char *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, 4);
}

static uint32_t get32(const unsigned char *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return le32toh(v);
}

/* ---- writing ---- */

static unsigned char *put_entry(unsigned char *p, const mp__l2_group *g)
{
    uint64_t rate;

    memset(p, 0, ENTRY);
    memcpy(&rate, &g->rate_at_first, 8);
    put32(p, (uint32_t)g->current->size);
    put32(p + 4, (uint32_t)g->trained_from);
    put64(p + 8, rate);
    put64(p + 16, g->name_size);
    memcpy(p + 24, g->name, g->name_size);
    memcpy(p + ENTRY, g->current->content, g->current->size);
    memset(p + ENTRY + g->current->size, 0, padded(g->current->size) - g->current->size);
    return p + ENTRY + padded(g->current->size);
}

/* Under the lock, so that no dictionary goes meanwhile. *ret_bytes has room for a seal and the sum
 * behind the part. NULL: no memory, or there is nothing. */
static unsigned char *gather(mp__l2 *l2, uint32_t *ret_count, size_t *ret_part)
{
    unsigned char *bytes, *p;
    uint32_t count = 0;
    size_t part = 0;

    for (size_t i = 0; i < l2->group_count; i++)
        if (l2->groups[i].current) {
            part += ENTRY + padded(l2->groups[i].current->size);
            count++;
        }
    bytes = count ? mp__malloc(HEAD + part + SEAL + SUM) : NULL;
    if (!bytes)
        return NULL;
    p = bytes + HEAD;
    for (size_t i = 0; i < l2->group_count; i++)
        if (l2->groups[i].current)
            p = put_entry(p, &l2->groups[i]);
    *ret_count = count;
    *ret_part = part;
    return bytes;
}

void mp__l2_keep_save(mp__l2 *l2)
{
    const mp__l3_key *key = mp__l3_keys_first(l2->keys);
    MP__CLEANUP_FREE unsigned char *bytes = NULL;
    uint32_t count;
    size_t part;

    if (!l2->keep_path)
        return;
    mp__l2_lock(l2);
    bytes = gather(l2, &count, &part);
    mp__l2_unlock(l2);
    if (!bytes)
        return;
    memcpy(bytes, magic, 8);
    put32(bytes + 8, VERSION);
    put32(bytes + 12, count);
    put64(bytes + 16, key ? mp__l3_key_id(key) : 0);
    put64(bytes + 24, part + (key ? SEAL : 0));
    if (key)
        mp__l3_key_encrypt(key, bytes + HEAD, part, bytes, HEAD, bytes + HEAD + part);
    part += key ? SEAL : 0;
    put64(bytes + HEAD + part, mp__checksum(0, bytes, HEAD + part));
    (void)mp__env_write_file_atomic(l2->env, l2->keep_path, bytes, HEAD + part + SUM);
}

/* ---- reading ---- */

/* The part of @bytes, opened. False: it is not ours, damaged, or sealed with an unknown key. */
static bool open_part(const mp__l2 *l2, unsigned char *bytes, size_t size, size_t *ret_part)
{
    const mp__l3_key *key;
    uint64_t key_id, part;

    if (size < HEAD + SUM || memcmp(bytes, magic, 8) != 0 || get32(bytes + 8) != VERSION ||
        mp__load_le64(bytes + size - SUM) != mp__checksum(0, bytes, size - SUM))
        return false;
    key_id = mp__load_le64(bytes + 16);
    part = mp__load_le64(bytes + 24);
    if (part != size - HEAD - SUM)
        return false;
    if (key_id) {
        key = mp__l3_keys_find(l2->keys, key_id);
        if (!key || part < SEAL)
            return false;
        part -= SEAL;
        if (!mp__l3_key_decrypt(key, bytes + HEAD, part, bytes, HEAD, bytes + HEAD + part))
            return false;
    }
    *ret_part = (size_t)part;
    return true;
}

static bool is_rate(double rate)
{
    return rate > 0 && rate <= 1;
}

/* The dictionary that begins at @p, of @left bytes. Returns what it takes, 0: it does not hold. */
static size_t take_entry(mp__l2 *l2, const unsigned char *p, size_t left)
{
    size_t size, name_size, group;
    mp__l2_dictionary *d;
    double rate;
    uint64_t bits;

    if (left < ENTRY)
        return 0;
    size = get32(p);
    name_size = (size_t)mp__load_le64(p + 16);
    bits = mp__load_le64(p + 8);
    memcpy(&rate, &bits, 8);
    if (size == 0 || size > FILE_MAX || padded(size) > left - ENTRY || name_size > MP__L2_NAME ||
        !is_rate(rate))
        return 0;
    group = mp__l2_group_named(l2, mp_str_new((const char *)p + 24, name_size));
    d = group || name_size == 0 ? mp__l2_dictionary_new(l2, p + ENTRY, size) : NULL;
    if (d && (l2->groups[group].current ||
              !mp__l2_dictionary_install(l2, (uint8_t)group, d, rate, get32(p + 4))))
        d = mp__l2_dictionary_free(d);
    if (d)
        l2->groups[group].wait = MP__L2_WAIT;
    return ENTRY + padded(size);
}

void mp__l2_keep_load(mp__l2 *l2)
{
    MP__CLEANUP_FREE char *text = NULL;
    unsigned char *bytes;
    size_t size = 0, part = 0, at = 0, took;
    uint32_t count;

    if (!l2->keep_path || !atomic_load(&l2->dictionary_bytes) ||
        mp__env_read_file(l2->env, l2->keep_path, FILE_MAX, &text, &size) != 0)
        return;
    bytes = (unsigned char *)text;
    if (!open_part(l2, bytes, size, &part))
        return;
    count = get32(bytes + 12);
    for (uint32_t i = 0; i < count && at < part; i++) {
        took = take_entry(l2, bytes + HEAD + at, part - at);
        if (took == 0)
            return;
        at += took;
    }
}
