/* SPDX-License-Identifier: Apache-2.0 */
/* A mini cache from the inside: what its policies see. */
#ifndef MP_CACHE_MINI_INTERNAL_H
#define MP_CACHE_MINI_INTERNAL_H

#include "cache/mini.h"

/* Queues by number. LIRS alone has a record in two at once: its stack is linked the second way. */
enum {
    MP__MINI_NONE,
    MP__MINI_A, /* LRU; window; small; A1in; LIRS's queue of residents that may go */
    MP__MINI_B, /* protected; main; Am */
    MP__MINI_C, /* probation */
    MP__MINI_GHOST_A,
    MP__MINI_STACK,
    MP__MINI_LISTS,
};
#define MP__MINI_WAY(list) ((list) == MP__MINI_STACK ? 1U : 0U)

enum { MP__MINI_COUNT_MAX = 15, MP__MINI_SKETCH_RATIO = 8, MP__MINI_PERIOD_RATIO = 10 };

typedef struct mp__mini_record {
    uint64_t hash;
    uint32_t chain; /* next of the bucket, or of the free ones */
    uint32_t newer[2], older[2];
    uint8_t list[2];
    uint8_t uses : 4, resident : 1, hot : 1;
} mini_record;

typedef struct mini_list {
    uint32_t newest, oldest, count;
} mini_list;

typedef struct mini_sketch {
    size_t mask, added, period;
    uint8_t counts[];
} mini_sketch;

enum mini_rank { MINI_NEWCOMER, MINI_UNPROVEN, MINI_PROVEN };

typedef struct mini_ops {
    size_t (*ghosts)(const mp__mini *m); /* the most it remembers */
    void (*hit)(mp__mini *m, uint32_t i);
    /* The record of @hash in its place; @ghost is its own from before, or 0. */
    uint32_t (*insert)(mp__mini *m, uint64_t hash, uint32_t ghost);
    uint32_t (*victim)(mp__mini *m);          /* chosen, and still in its queue */
    void (*evicted)(mp__mini *m, uint32_t i); /* make it a ghost or free it */
    /* How many newcomers an order made from another's contents begins with; NULL: no matter. */
    size_t (*newcomers)(const mp__mini *m);
    void (*seed)(mp__mini *m, uint32_t i, enum mini_rank rank);
    void (*forgotten)(mp__mini *m, uint32_t i); /* NULL; deleted, and in no queue any more */
} mini_ops;

struct mp__mini {
    const mini_ops *ops;
    mini_record *records; /* from 1; 0 is none */
    uint32_t *buckets;
    void **owners;       /* or NULL */
    mini_sketch *sketch; /* or NULL */
    mini_list lists[MP__MINI_LISTS];
    size_t capacity, count, records_count, buckets_count;
    size_t room;                  /* for how many there is room, at most the capacity */
    size_t window_max, newcomers; /* of W-TinyLFU; to begin with */
    uint64_t gone;                /* evicted for the last request; 0: none */
    uint32_t free;
    unsigned bucket_shift;
};

const mini_ops *mp__mini_ops_of(enum mp__mini_kind kind);
void mp__mini_add(mp__mini *m, unsigned list, uint32_t i);
void mp__mini_take(mp__mini *m, unsigned list, uint32_t i);
void mp__mini_move(mp__mini *m, unsigned to, uint32_t i);
uint32_t mp__mini_find(const mp__mini *m, uint64_t hash); /* 0: none */
uint32_t mp__mini_record_new(mp__mini *m, uint64_t hash);
void mp__mini_record_free(mp__mini *m, uint32_t i);
unsigned mp__mini_frequency(const mp__mini *m, uint64_t hash);

#endif
