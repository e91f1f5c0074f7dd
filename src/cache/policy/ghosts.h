/* SPDX-License-Identifier: Apache-2.0 */
/* What was evicted lately, by hash alone: lists in order with a look-up, of a fixed capacity. */
#ifndef MP_CACHE_POLICY_GHOSTS_H
#define MP_CACHE_POLICY_GHOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <marketprism/export.h>

enum { MP__GHOST_LISTS = 2 };

typedef struct mp__ghost {
    uint32_t tag;          /* 32 bits of the hash: one of 10^9 is taken for another */
    uint32_t newer, older; /* indexes from 1; 0: none */
    uint32_t chain : 31, list : 1;
} mp__ghost;

typedef struct mp__ghosts {
    mp__ghost *items; /* from 1 */
    uint32_t *buckets;
    uint32_t mask, free, capacity;
    struct {
        uint32_t newest, oldest, count;
    } lists[MP__GHOST_LISTS];
} mp__ghosts;

/* MP_ENOMEM; what was there before stays then. */
int mp__ghosts_make(mp__ghosts *ghosts, size_t capacity);
void mp__ghosts_done(mp__ghosts *ghosts);
size_t mp__ghosts_bytes(const mp__ghosts *ghosts);

uint32_t mp__ghosts_find(const mp__ghosts *ghosts, uint64_t hash); /* 0: none */
static inline unsigned mp__ghosts_list(const mp__ghosts *ghosts, uint32_t ghost)
{
    return ghosts->items[ghost].list;
}
/* As the newest of @list; where there is no place the oldest of the longer list goes. */
void mp__ghosts_add(mp__ghosts *ghosts, unsigned list, uint64_t hash);
void mp__ghosts_remove(mp__ghosts *ghosts, uint32_t ghost);
void mp__ghosts_drop_oldest(mp__ghosts *ghosts, unsigned list); /* if there is one */

#endif
