/* SPDX-License-Identifier: Apache-2.0 */
/* Spans: the 64 KiB runs of pages that a slab cuts into objects, and the count of what the system
 * really gave.
 *
 * A store that has grown takes 2 MiB at a time and asks for a huge page: a table of 100,000 entries
 * would otherwise miss the TLB on each hit. Such a region is counted whole, as the system gives it
 * whole; spans of it that are no longer used go back one by one, and from then on the system is
 * told to leave the region in small pages: it would fill the holes again by itself, uncounted. A
 * few idle spans are kept, so that a count that swings around a boundary does not map and unmap. */
#ifndef MP_CORE_SPAN_H
#define MP_CORE_SPAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MP__SPAN_BYTES = 64 * 1024, MP__SPAN_HEAD = 64 };

struct mp__slab;
typedef struct mp__span_region mp__span_region;

/* At the head of each span; begins at a multiple of MP__SPAN_BYTES, so that an object finds it by
 * masking. The slab's but for region and bytes. */
typedef struct mp__span {
    struct mp__slab *slab;
    struct mp__span *next, *previous; /* in the class's list while it has room */
    void *free_first;                 /* objects given back, linked through their first bytes */
    mp__span_region *region;          /* NULL: mapped by itself */
    size_t bytes;                     /* of all of it */
    uint16_t used, capacity, fresh;   /* objects; fresh: those never given out begin here */
    uint16_t first;                   /* bytes from the span's beginning to its objects */
    uint8_t class;
    bool listed;
} mp__span;
_Static_assert(sizeof(mp__span) <= MP__SPAN_HEAD, "the head of a span is one line");

typedef struct mp__span_store {
    _Atomic size_t pages; /* bytes held of the system; read by any thread */
    _Atomic size_t limit; /* 0: none; read by any thread */
    mp__span *idle;
    size_t idle_count;
    mp__span_region *holes; /* regions of which spans were given back */
} mp__span_store;

/* All under the owner's lock. A span of MP__SPAN_BYTES, only region and bytes set; NULL: over the
 * limit or no memory. */
mp__span *mp__span_take(mp__span_store *store);
void mp__span_give(mp__span_store *store, mp__span *span);
/* A span of its own for one object of @bytes, head included; goes back to the system at once. */
mp__span *mp__span_take_large(mp__span_store *store, size_t bytes);
void mp__span_give_large(mp__span_store *store, mp__span *span);

/* From now on at most @limit; idle spans go back as far as it asks for. */
void mp__span_limit_set(mp__span_store *store, size_t limit);
/* Everything was given; the rest goes back to the system. */
void mp__span_store_done(mp__span_store *store);

/* @bytes rounded up to what the system counts in. */
size_t mp__page_round(size_t bytes);

#endif
