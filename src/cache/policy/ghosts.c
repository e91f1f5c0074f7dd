/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/policy/ghosts.h"

#include <marketprism/error.h>

#include "core/alloc.h"

static uint32_t power_of_two(size_t at_least)
{
    uint32_t n = 4;

    while (n < at_least && n < 1u << 31)
        n <<= 1;
    return n;
}

int mp__ghosts_make(mp__ghosts *ghosts, size_t capacity)
{
    mp__ghosts made = {.capacity = (uint32_t)capacity};
    uint32_t buckets = power_of_two(capacity);

    if (capacity >= UINT32_MAX / 2)
        return MP_ELIMIT;
    made.items = mp__calloc(capacity + 1, sizeof(*made.items));
    made.buckets = mp__calloc(buckets, sizeof(*made.buckets));
    if (!made.items || !made.buckets) {
        (void)mp__free(made.items);
        (void)mp__free(made.buckets);
        return MP_ENOMEM;
    }
    made.mask = buckets - 1;
    for (uint32_t i = made.capacity; i >= 1; i--) {
        made.items[i].chain = made.free & INT32_MAX;
        made.free = i;
    }
    mp__ghosts_done(ghosts);
    *ghosts = made;
    return 0;
}

void mp__ghosts_done(mp__ghosts *ghosts)
{
    (void)mp__free(ghosts->items);
    (void)mp__free(ghosts->buckets);
    *ghosts = (mp__ghosts){0};
}

size_t mp__ghosts_bytes(const mp__ghosts *ghosts)
{
    return ((size_t)ghosts->capacity + 1) * sizeof(mp__ghost) +
           ((size_t)ghosts->mask + 1) * sizeof(uint32_t);
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 20);
}

static uint32_t *bucket_of(const mp__ghosts *ghosts, uint32_t tag)
{
    return &ghosts->buckets[tag & ghosts->mask];
}

uint32_t mp__ghosts_find(const mp__ghosts *ghosts, uint64_t hash)
{
    uint32_t i = ghosts->buckets ? *bucket_of(ghosts, tag_of(hash)) : 0;

    while (i && ghosts->items[i].tag != tag_of(hash))
        i = ghosts->items[i].chain;
    return i;
}

void mp__ghosts_remove(mp__ghosts *ghosts, uint32_t ghost)
{
    mp__ghost *g = &ghosts->items[ghost];
    uint32_t *link = bucket_of(ghosts, g->tag), list = g->list;

    if (*link == ghost) {
        *link = g->chain;
    } else {
        uint32_t before = *link;

        while (ghosts->items[before].chain != ghost)
            before = ghosts->items[before].chain;
        ghosts->items[before].chain = g->chain;
    }
    *(g->newer ? &ghosts->items[g->newer].older : &ghosts->lists[list].newest) = g->older;
    *(g->older ? &ghosts->items[g->older].newer : &ghosts->lists[list].oldest) = g->newer;
    ghosts->lists[list].count--;
    g->chain = ghosts->free & INT32_MAX;
    ghosts->free = ghost;
}

void mp__ghosts_drop_oldest(mp__ghosts *ghosts, unsigned list)
{
    if (ghosts->lists[list].oldest)
        mp__ghosts_remove(ghosts, ghosts->lists[list].oldest);
}

void mp__ghosts_add(mp__ghosts *ghosts, unsigned list, uint64_t hash)
{
    mp__ghost *g;
    uint32_t i, *bucket;

    if (ghosts->capacity == 0)
        return;
    if (!ghosts->free)
        mp__ghosts_drop_oldest(ghosts, ghosts->lists[0].count >= ghosts->lists[1].count ? 0 : 1);
    i = ghosts->free;
    g = &ghosts->items[i];
    ghosts->free = g->chain;
    bucket = bucket_of(ghosts, tag_of(hash));
    *g = (mp__ghost){.tag = tag_of(hash),
                     .older = ghosts->lists[list].newest,
                     .chain = *bucket & INT32_MAX,
                     .list = list & 1};
    *bucket = i;
    *(g->older ? &ghosts->items[g->older].newer : &ghosts->lists[list].oldest) = i;
    ghosts->lists[list].newest = i;
    ghosts->lists[list].count++;
}
