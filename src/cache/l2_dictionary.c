/* SPDX-License-Identifier: Apache-2.0 */
/* L2: which entries share a dictionary, and the dictionaries as things.
 *
 * Entries of one namespace look alike, whatever their environment, so that a namespace is a group.
 * The first group is all of them: its dictionary serves those that have none of their own. An old
 * dictionary stays as long as an entry names it. */
#define ZSTD_STATIC_LINKING_ONLY /* see pack_new() */
#include <string.h>

#include "cache/l2_internal.h"
#include "core/alloc.h"

enum {
    WAIT_FIRST = MP__L2_SAMPLES_LEAST,
    LATELY = 256 * 1024, /* bytes in, before the past counts half */
    TABLES_LEAST = 12,   /* bits of the number of places of a table */
    LEVEL_ONE = 1,       /* one table, of matches of 7 bytes and more */
    LEVEL_FAST = 3,      /* up to this one place each of short and long matches is looked at */
};

/* ---- groups ---- */

/* The part of an address between its first two slashes. */
static mp_str namespace_of(mp_str address)
{
    const char *end = address.data + address.size;
    const char *first = memchr(address.data, '/', address.size), *second;

    if (!first)
        return mp_str_new("", 0);
    first++;
    second = memchr(first, '/', (size_t)(end - first));
    if (!second || second - first > MP__L2_NAME)
        return mp_str_new("", 0);
    return mp_str_new(first, (size_t)(second - first));
}

uint8_t mp__l2_group_of(mp__l2 *l2, mp_str address)
{
    return mp__l2_group_named(l2, namespace_of(address));
}

uint8_t mp__l2_group_named(mp__l2 *l2, mp_str name)
{
    mp__l2_group *group;

    if (name.size == 0 || name.size > MP__L2_NAME)
        return 0;
    for (size_t i = 1; i < l2->group_count; i++)
        if (l2->groups[i].name_size == name.size &&
            memcmp(l2->groups[i].name, name.data, name.size) == 0)
            return (uint8_t)i;
    for (size_t i = 1; i < MP__L2_GROUPS; i++) { /* a new one, or one that nobody is in any more */
        group = &l2->groups[i];
        if (i < l2->group_count && (group->entries || group->current))
            continue;
        *group = (mp__l2_group){.name_size = (uint8_t)name.size, .wait = WAIT_FIRST};
        memcpy(group->name, name.data, name.size);
        if (i == l2->group_count)
            l2->group_count++;
        return (uint8_t)i;
    }
    return 0;
}

void mp__l2_dictionary_note(mp__l2 *l2, uint8_t group, size_t in, size_t out)
{
    for (unsigned i = 0; i < (group ? 2 : 1); i++) {
        mp__l2_group *g = &l2->groups[i ? group : 0];

        g->since++;
        /* what its own dictionary does is not the common one's business */
        if (i == 0 && group && l2->groups[group].current)
            continue;
        if (g->lately_in > LATELY) {
            g->lately_in /= 2;
            g->lately_out /= 2;
        }
        g->lately_in += in;
        g->lately_out += out;
    }
}

/* ---- dictionaries ---- */

mp__l2_dictionary *mp__l2_dictionary_free(mp__l2_dictionary *d)
{
    if (!d)
        return NULL;
    (void)mp__l2_packer_free(d->packer);
    (void)ZSTD_freeCDict(d->pack);
    (void)mp__l2_unpacker_free(d->unpacker);
    (void)ZSTD_freeDDict(d->expand);
    return mp__free(d);
}

static int bits_of(size_t n)
{
    int bits = 0;

    for (; n > 1; n >>= 1)
        bits++;
    return bits;
}

/* zstd would choose its tables for inputs of any size, many times as large as a dictionary of a few
 * kilobytes needs. Level 1 looks for matches of 7 bytes and more, in a table with a quarter as many
 * places as it has bytes (at least 2^13): 32 KB. Up to level 3 there is one of short matches, of 5
 * bytes and more, with an eighth as many places, and one of long ones with a quarter: 48 KB, 8 to
 * 10 % more time, and bodies as large to 5 % smaller. Four times as many places of both made bodies
 * of a few hundred bytes 1 to 2 % smaller, in the same time. */
static ZSTD_compressionParameters parameters_for(size_t size, int level)
{
    ZSTD_compressionParameters p = ZSTD_getCParams(level, 0, size);
    int bits = bits_of(size) - 3;

    bits = bits < TABLES_LEAST ? TABLES_LEAST : bits;
    if (level <= LEVEL_ONE)
        return (ZSTD_compressionParameters){.windowLog = 17,
                                            .chainLog = (unsigned)bits, /* of no use, but asked */
                                            .hashLog = (unsigned)bits + 1,
                                            .searchLog = 1,
                                            .minMatch = 7,
                                            .strategy = ZSTD_fast};
    if (level <= LEVEL_FAST)
        return (ZSTD_compressionParameters){.windowLog = 17,
                                            .chainLog = (unsigned)bits,    /* of short matches */
                                            .hashLog = (unsigned)bits + 1, /* of long ones */
                                            .searchLog = 1,
                                            .minMatch = 5,
                                            .strategy = ZSTD_dfast};
    bits += 3; /* these follow chains of places: more of them find more */
    p.hashLog = p.hashLog < (unsigned)bits ? p.hashLog : (unsigned)bits;
    p.chainLog = p.chainLog < (unsigned)bits ? p.chainLog : (unsigned)bits;
    return p;
}

/* The calls that refer to the content and take parameters are of the part of zstd's interface that
 * may change with a version, so that another version gets the others. */
static void refer_zstd(mp__l2_dictionary *d, int level)
{
    static const ZSTD_customMem standard = {0};

    if (mp__l2_zstd_is_known()) {
        d->pack = ZSTD_createCDict_advanced(d->content, d->size, ZSTD_dlm_byRef, ZSTD_dct_auto,
                                            parameters_for(d->size, level), standard);
        d->expand = ZSTD_createDDict_byReference(d->content, d->size);
    } else {
        d->pack = ZSTD_createCDict(d->content, d->size, level);
        d->expand = ZSTD_createDDict(d->content, d->size);
    }
}

static void refer(mp__l2_dictionary *d, int level)
{
    if (mp__l2_memory_fails(d->size))
        return;
    if (level <= LEVEL_ONE) {
        d->packer = mp__l2_packer_new(d->content, d->size);
        d->unpacker = d->packer ? mp__l2_unpacker_new(d->content, d->size) : NULL;
    }
    if (!d->packer)
        refer_zstd(d, level);
}

static size_t bytes_to_pack(const mp__l2_dictionary *d)
{
    return mp__l2_packer_bytes(d->packer) + ZSTD_sizeof_CDict(d->pack);
}

mp__l2_dictionary *mp__l2_dictionary_new(mp__l2 *l2, const void *bytes, size_t size)
{
    mp__l2_dictionary *d = mp__calloc(1, sizeof(*d) + size + MP__L2_WINDOW);

    if (!d)
        return NULL;
    d->size = size;
    memcpy(d->content, bytes, size);
    refer(d, (int)atomic_load_explicit(&l2->level, memory_order_relaxed));
    if (!mp__l2_dictionary_packs(d) || !(d->unpacker || d->expand))
        return mp__l2_dictionary_free(d);
    atomic_init(&d->refs, 1);
    d->bytes = sizeof(*d) + size + MP__L2_WINDOW + bytes_to_pack(d) +
               mp__l2_unpacker_bytes(d->unpacker) + ZSTD_sizeof_DDict(d->expand);
    return d;
}

mp__l2_dictionary *mp__l2_dictionary_ref(mp__l2 *l2, uint8_t number_and_1)
{
    mp__l2_dictionary *d = number_and_1 ? l2->dictionaries[number_and_1 - 1] : NULL;

    if (d)
        atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

mp__l2_dictionary *mp__l2_dictionary_of(const mp__l2 *l2, uint8_t group)
{
    mp__l2_dictionary *d = l2->groups[group].current;

    return d ? d : l2->groups[0].current;
}

mp__l2_dictionary *mp__l2_dictionary_for(mp__l2 *l2, uint8_t group)
{
    mp__l2_dictionary *d = mp__l2_dictionary_of(l2, group);

    return d ? mp__l2_dictionary_ref(l2, (uint8_t)(d->number + 1)) : NULL;
}

static bool is_read(const mp__l2_dictionary *d)
{
    return atomic_load_explicit(&d->window_taken, memory_order_acquire);
}

/* Nobody refers to it. */
static void go(mp__l2 *l2, mp__l2_dictionary *d)
{
    l2->dictionaries[d->number] = NULL;
    l2->dictionary_bytes_held -= d->bytes;
    (void)mp__l2_dictionary_free(d);
}

void mp__l2_dictionaries_leave(mp__l2 *l2)
{
    for (size_t i = 0; i < MP__L2_DICTIONARIES && l2->leaving; i++) {
        mp__l2_dictionary *d = l2->dictionaries[i];

        if (!d || !d->is_leaving || is_read(d))
            continue;
        l2->leaving--;
        go(l2, d);
    }
}

void mp__l2_dictionary_unref(mp__l2 *l2, mp__l2_dictionary *dictionary, bool locked)
{
    if (!dictionary || atomic_fetch_sub_explicit(&dictionary->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (!locked)
        mp__l2_lock(l2);
    dictionary->is_leaving = is_read(dictionary);
    if (dictionary->is_leaving)
        l2->leaving++;
    else
        go(l2, dictionary);
    if (!locked)
        mp__l2_unlock(l2);
}

/* Nothing is compressed with it any more; it can still be read with. */
static void retire(mp__l2 *l2, mp__l2_dictionary *d)
{
    size_t bytes;

    if (!d)
        return;
    bytes = bytes_to_pack(d);
    d->packer = mp__l2_packer_free(d->packer);
    (void)ZSTD_freeCDict(d->pack);
    d->pack = NULL;
    d->bytes -= bytes;
    l2->dictionary_bytes_held -= bytes;
    mp__l2_dictionary_unref(l2, d, true);
}

void mp__l2_dictionaries_forget(mp__l2 *l2)
{
    mp__l2_dictionary *current;

    (void)mp__l2_cctx_use(l2, NULL);
    mp__l2_lock(l2);
    for (size_t i = 0; i < l2->group_count; i++) {
        current = l2->groups[i].current;
        l2->groups[i].current = NULL;
        retire(l2, current);
    }
    mp__l2_unlock(l2);
}

bool mp__l2_dictionary_install(mp__l2 *l2, uint8_t group, mp__l2_dictionary *d, double rate,
                               size_t trained_from)
{
    mp__l2_group *g = &l2->groups[group];
    mp__l2_dictionary *old;
    size_t number = 0;
    bool fits;

    (void)mp__l2_cctx_use(l2, NULL); /* what it refers to may go */
    mp__l2_lock(l2);
    mp__l2_dictionaries_leave(l2);
    while (number < MP__L2_DICTIONARIES && l2->dictionaries[number])
        number++;
    fits =
        number < MP__L2_DICTIONARIES && l2->dictionary_bytes_held + d->bytes <= l2->bytes_max / 4;
    if (fits) {
        old = g->current;
        d->number = (uint8_t)number;
        d->group = group;
        l2->dictionaries[number] = d;
        l2->dictionary_bytes_held += d->bytes;
        g->current = d;
        g->rate_at_first = rate;
        g->trained_from = trained_from;
        g->lately_in = g->lately_out = 0;
        retire(l2, old);
        mp__l2_ring_limit_update(l2);
    }
    mp__l2_unlock(l2);
    return fits;
}
