/* SPDX-License-Identifier: Apache-2.0 */
/* An L2 from the inside: what its files share. l2_use.c: taking, hearing, reading; l2_index.c:
 * where each hash is; l2_ring.c: where the entries lie, and which go; l2_dictionary.c: groups of
 * addresses and their dictionaries; l2_train.c: making these; l2_keep.c: keeping them for the next
 * process; l2_worker.c: the compressing thread; l2_turn.c: limits. */
#ifndef MP_CACHE_L2_INTERNAL_H
#define MP_CACHE_L2_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "cache/l2.h"
#include "cache/l2_code.h"
#include "cache/l3_key.h"
#include "core/span.h"

enum {
    MP__L2_GROUPS = 32,       /* by namespace; the first is for all */
    MP__L2_DICTIONARIES = 64, /* alive at once, old ones too */
    MP__L2_NAME = 47,         /* bytes of a namespace that tell groups apart */
    MP__L2_WAIT = 1024,       /* entries compressed before a good dictionary is made anew */
    MP__L2_SAMPLES_LEAST = 8, /* entries before a first training */
};

/* ---- entries ---- */

enum { MP__L2_DEAD = 1, MP__L2_PENDING = 2, MP__L2_WENT_UP = 4, MP__L2_LOW = 8 /* class */ };

/* One entry, in the ring or waiting to be compressed. The index points to it. */
typedef struct mp__l2_item {
    uint64_t hash;
    mp__l2_form form;
    int64_t verified_ms;
    uint32_t generation, verify_by_s;
    uint8_t dictionary; /* number + 1; 0: none */
    uint8_t group;
    uint8_t flags;
    uint8_t uses;          /* reads since the hand came by, at most 3 */
    unsigned char bytes[]; /* meta, then what is stored */
} mp__l2_item;

/* What it takes in the ring. */
static inline size_t mp__l2_item_bytes(const mp__l2_form *form)
{
    size_t bytes = offsetof(mp__l2_item, bytes) + form->meta_size + form->stored_size;

    return (bytes + 7) & ~(size_t)7;
}
_Static_assert(offsetof(mp__l2_item, bytes) + MP__L2_META_LEAST >= sizeof(mp__l2_item),
               "an item is assigned as a whole, its padding over the meta part");

typedef struct mp__l2_pending {
    size_t bytes;     /* of the queue, all of it */
    mp__l2_item item; /* raw */
} mp__l2_pending;

/* Places are bytes from its beginning. */
typedef struct mp__l2_queue {
    unsigned char *bytes; /* MP__L2_QUEUE_BYTES, of which those below `touched` were ever used */
    size_t head, tail;    /* the first that waits, and the place behind the last */
    size_t wraps_at;      /* behind the one that is followed by the one at 0; 0: none is */
    size_t count, touched;
} mp__l2_queue;
enum { MP__L2_QUEUE_BYTES = 1 << 20 };

/* A wake-up costs as much as packing dozens of small ones, and the fewer there are the more often
 * both threads meet at the lock; large ones take long to pack. Worth it is l2->batch_weight. */
static inline size_t mp__l2_weight(const mp__l2_pending *pending)
{
    return pending->bytes < 4096 ? pending->bytes : pending->bytes * 4;
}

typedef struct mp__l2_slot {
    uint64_t hash;
    mp__l2_item *item; /* NULL: free */
} mp__l2_slot;

/* ---- where they lie ---- */

typedef struct mp__l2_chunk {
    mp__span span;
    uint32_t fill, dead; /* bytes */
    uint32_t low;        /* entries of the class low */
} mp__l2_chunk;

enum {
    MP__L2_CHUNK_HEAD = (sizeof(mp__l2_chunk) + 7) / 8 * 8,
    MP__L2_CHUNK = MP__SPAN_BYTES - MP__L2_CHUNK_HEAD,
};

typedef struct mp__l2_ring {
    mp__span_store spans;
    mp__l2_chunk **chunks;
    size_t count, room; /* of chunks */
    mp__l2_chunk *head; /* is being filled, or NULL */
    size_t hand;        /* the chunk whose entries are next to go */
    uint32_t hand_at;   /* and where in it */
    size_t low_hand;    /* the chunk where one of the class low was found last */
} mp__l2_ring;

/* ---- dictionaries ---- */

typedef struct mp__l2_dictionary {
    _Atomic uint32_t refs; /* its group's, one an item, one a reader without the window */
    uint8_t number, group;
    /* What packs with it, the worker's; neither: it is no longer its group's. */
    mp__l2_packer *packer;
    ZSTD_CDict *pack; /* where there is no packer */
    /* What reads what was packed with it: the one, or where there was no packer the other. */
    mp__l2_unpacker *unpacker;
    ZSTD_DDict *expand;
    size_t bytes; /* of all */
    /* Room for a body right behind the content, for one reader at a time: to zstd the body then
     * goes on where the dictionary ends, so that it copies in line what it finds there, and need
     * not call for each match. Taken under the lock and given back without; who has it needs no
     * reference, for until then the dictionary stays, though there were none. */
    _Atomic bool window_taken;
    bool is_leaving;         /* there is none, and somebody in the window; under the lock */
    size_t size;             /* of what it is made of, */
    unsigned char content[]; /* which both refer to; then the window */
} mp__l2_dictionary;
enum { MP__L2_WINDOW = 8192 };

static inline bool mp__l2_dictionary_packs(const mp__l2_dictionary *d)
{
    return d->packer || d->pack;
}

typedef struct mp__l2_group {
    char name[MP__L2_NAME];
    uint8_t name_size;
    mp__l2_dictionary *current;
    size_t entries;
    uint64_t body_bytes; /* of the entries */
    /* how compressing went lately, and right after the dictionary came */
    uint64_t lately_in, lately_out;
    double rate_at_first; /* out / in; 0: not known yet */
    size_t trained_from;  /* entries that there were then */
    uint64_t since, wait; /* entries compressed since the last training; before the next */
} mp__l2_group;

struct mp__l2 {
    mp_env *env;
    pthread_mutex_t lock __attribute__((aligned(128))); /* over all below but what says otherwise */
    mp__l2_slot *slots;
    size_t slot_count, entries, entries_max, bytes_max;
    size_t low;       /* entries of the class low */
    uint16_t *ghosts; /* fingerprints of what was refused or evicted */
    size_t ghost_count;
    mp__l2_ring ring;
    mp__l2_group groups[MP__L2_GROUPS];
    size_t group_count;
    mp__l2_dictionary *dictionaries[MP__L2_DICTIONARIES];
    size_t dictionary_bytes_held;
    size_t leaving;                    /* dictionaries that are */
    mp__l2_queue queue;                /* also what the worker has in hand */
    uint64_t body_bytes, stored_bytes; /* address, media type and value, and what is kept of them */
    uint64_t hits, misses, inserts, evictions, refused, dropped, corrupt, trainings;
    mp__l2 *next, **from_here; /* of all L2 of the process, for fork(); under all_lock */

    /* Where the index is, for who fetches of it before the lock: of two moments, maybe. */
    _Atomic(const mp__l2_slot *) fetch_slots;
    _Atomic size_t fetch_count;

    _Atomic unsigned level;
    _Atomic size_t dictionary_bytes;
    _Atomic size_t training_bytes; /* taken just now */
    _Atomic size_t pending_weight; /* of what the worker has not in hand */
    _Atomic size_t batch_weight;   /* that is worth waking it for */
    _Atomic bool flushing;         /* it is woken for whatever waits */
    _Atomic bool posted;           /* the task is on its way */
    mp__l2_pool pool;

    /* the worker's alone */
    mp__worker *worker;
    mp__task task;
    ZSTD_CCtx *cctx;
    mp__l2_dictionary *cctx_dictionary; /* what it refers to */
    mp__l2_pack_room pack_room;
    size_t cctx_bytes; /* of both; read by any: under the lock */
    unsigned cctx_level;
    unsigned char *frame;             /* MP__L2_FRAME */
    const mp__priorities *priorities; /* or NULL */
    char *keep_path;                  /* where what was learned is kept; NULL: nowhere */
    const mp__l3_keys *keys;          /* that seal it; NULL: none does */
};

/* Whether the worker has enough to do. No lock. */
static inline bool mp__l2_is_worth_it(const mp__l2 *l2)
{
    return atomic_load_explicit(&l2->pending_weight, memory_order_relaxed) >=
           atomic_load_explicit(&l2->batch_weight, memory_order_relaxed);
}

#define MP__L2_FRAME ZSTD_COMPRESSBOUND(MP__L2_BODY_MAX)

void mp__l2_lock_taken(mp__l2 *l2); /* l2.c: wait for it */
static inline void mp__l2_lock(mp__l2 *l2)
{
    if (pthread_mutex_trylock(&l2->lock) != 0)
        mp__l2_lock_taken(l2);
}
static inline void mp__l2_unlock(mp__l2 *l2)
{
    (void)pthread_mutex_unlock(&l2->lock);
}

/* All below under the lock unless they say otherwise. */

/* ---- l2_index.c ---- */
size_t mp__l2_slots_for(size_t entries);
size_t mp__l2_ghosts_for(size_t entries);
/* Whether @bytes are enough for @entries. */
bool mp__l2_fits(size_t entries, size_t bytes);
/* Empty ones for @entries. 0 or MP_ENOMEM. No lock. */
MP_MUST_USE int mp__l2_index_new(size_t entries, mp__l2_slot **ret_slots, uint16_t **ret_ghosts);
/* The index is @slots, of @count, from now on. */
void mp__l2_index_set(mp__l2 *l2, mp__l2_slot *slots, size_t count);
void mp__l2_index_add(mp__l2 *l2, mp__l2_item *item);
mp__l2_slot *mp__l2_find(mp__l2 *l2, uint64_t hash); /* or NULL */
/* No lock. */
void mp__l2_index_prefetch(const mp__l2 *l2, uint64_t hash);
/* Take the entry out, wherever it is; what others still do with its bytes stays possible. */
void mp__l2_drop(mp__l2 *l2, mp__l2_slot *slot);
void mp__l2_count_in(mp__l2 *l2, const mp__l2_item *item);
void mp__l2_count_out(mp__l2 *l2, const mp__l2_item *item);

/* ---- l2_queue.c ---- */
/* No lock: nobody else has it yet, or any more. 0 or MP_ENOMEM. */
MP_MUST_USE int mp__l2_queue_init(mp__l2_queue *queue);
void mp__l2_queue_done(mp__l2_queue *queue);
size_t mp__l2_queue_need(size_t meta_size, size_t body_size); /* bytes of it. Pure */
/* A place for @bytes, to be filled without the lock and published, of the first @most bytes. NULL:
 * none is free. Until then it is not seen, and may be left. */
mp__l2_pending *mp__l2_queue_reserve(mp__l2_queue *queue, size_t bytes, size_t most);
void mp__l2_queue_publish(mp__l2_queue *queue, mp__l2_pending *pending);
mp__l2_pending *mp__l2_queue_first(const mp__l2_queue *queue); /* or NULL */
/* What follows, if something does, which is for the caller to count; the worker without the lock,
 * with the `wraps_at` of when it counted. */
mp__l2_pending *mp__l2_queue_after(const mp__l2_queue *queue, size_t wraps_at,
                                   const mp__l2_pending *pending);
void mp__l2_queue_drop_first(mp__l2_queue *queue);

/* ---- l2_use.c ---- */
void mp__l2_remember(mp__l2 *l2, uint64_t hash); /* as a ghost: it was here */

/* ---- l2_turn.c ---- */
size_t mp__l2_fixed_bytes(const mp__l2 *l2);  /* all but the ring, what waits and a training */
size_t mp__l2_pending_most(const mp__l2 *l2); /* bytes that may wait */
/* The ring gets what is left of the bytes. */
void mp__l2_ring_limit_update(mp__l2 *l2);

/* ---- l2_ring.c ---- */
/* Room for @bytes (of mp__l2_item_bytes()), evicting where it must. NULL: no memory. */
mp__l2_item *mp__l2_ring_take(mp__l2 *l2, size_t bytes);
/* Right after it was taken: it is not needed. */
void mp__l2_ring_untake(mp__l2 *l2, mp__l2_item *item, size_t bytes);
void mp__l2_ring_dead(mp__l2_item *item);                    /* its bytes may be used again */
void mp__l2_ring_count_low(const mp__l2_item *item, int by); /* in the item's chunk */
bool mp__l2_ring_evict_one(mp__l2 *l2);                      /* false: there is nothing */
void mp__l2_ring_shrink(mp__l2 *l2);                         /* to its limit */
void mp__l2_ring_done(mp__l2_ring *ring);

/* ---- l2_dictionary.c ---- */
uint8_t mp__l2_group_of(mp__l2 *l2, mp_str address);
/* What entries of @group are compressed with now, or NULL: the worker's until it installs another,
 * and the worker needs no lock for it. */
mp__l2_dictionary *mp__l2_dictionary_of(const mp__l2 *l2, uint8_t group);
/* The same, a reference. */
mp__l2_dictionary *mp__l2_dictionary_for(mp__l2 *l2, uint8_t group);
mp__l2_dictionary *mp__l2_dictionary_ref(mp__l2 *l2, uint8_t number_and_1); /* NULL for 0 */
/* Gone with the last one, or when it is next seen to after its window was given back. @locked:
 * whether the caller holds the lock. Accepts NULL. */
void mp__l2_dictionary_unref(mp__l2 *l2, mp__l2_dictionary *dictionary, bool locked);
/* Those that are leaving go, if nobody is in their windows any more. */
void mp__l2_dictionaries_leave(mp__l2 *l2);
void mp__l2_dictionary_note(mp__l2 *l2, uint8_t group, size_t in, size_t out);
void mp__l2_dictionaries_forget(mp__l2 *l2); /* all groups let go of theirs; the worker's thread */
/* Made of @size bytes at @bytes, for the level of now. NULL: no memory. No lock. */
mp__l2_dictionary *mp__l2_dictionary_new(mp__l2 *l2, const void *bytes, size_t size);
mp__l2_dictionary *mp__l2_dictionary_free(mp__l2_dictionary *dictionary); /* accepts NULL */
/* The worker's, or nobody else is there; without the lock: make @dictionary the one of @group.
 * False: there are as many as there may be, or they would take too much of L2. @rate: bytes out for
 * each byte in, at its best; @trained_from: entries that there were. */
bool mp__l2_dictionary_install(mp__l2 *l2, uint8_t group, mp__l2_dictionary *dictionary,
                               double rate, size_t trained_from);
/* The group of a namespace, made if there is room; else 0. */
uint8_t mp__l2_group_named(mp__l2 *l2, mp_str name);

/* ---- l2_train.c ---- */
/* The worker's, without the lock: train what is due. False: nothing was. */
bool mp__l2_train(mp__l2 *l2);
/* When there is no worker any more: train once more for the process after this one, if there is
 * much that the last training did not see, or nothing came of it. */
void mp__l2_train_last(mp__l2 *l2);

/* ---- l2_keep.c; the worker's, or nobody else is there; without the lock ---- */
/* What was learned stands in a file, for the process after this one. What cannot be written or read
 * costs a training, and no more. */
void mp__l2_keep_save(mp__l2 *l2);
void mp__l2_keep_load(mp__l2 *l2);

/* ---- l2_worker.c; without the lock ---- */
void mp__l2_work(void *context, mp__task *first);
/* Refer the worker's context to @dictionary (NULL: none). False: no memory. */
bool mp__l2_cctx_use(mp__l2 *l2, mp__l2_dictionary *dictionary);
/* Pack with what was last used. The worker's. */
size_t mp__l2_cctx_pack(mp__l2 *l2, const unsigned char *body, size_t size, unsigned char *frame,
                        size_t capacity);

/* An item's bytes copied to where they can be read without the lock. */
typedef struct mp__l2_copy {
    uint64_t hash;
    uint8_t group;
    mp__l2_form form;
    int64_t verified_ms;
    uint32_t generation, verify_by_s;
    mp__l2_dictionary *dictionary; /* a reference */
    const unsigned char *meta, *stored;
    unsigned char *body;
} mp__l2_copy;
/* What of @scratch a copy of @form needs; false: it has less. */
bool mp__l2_copy_item(mp__l2 *l2, const mp__l2_item *item, mp__l2_scratch *scratch,
                      mp__l2_copy *ret_copy);
/* The worker's, without the lock: pack what @copy is of with @dictionary, unless it is so already,
 * or would be no better for it. Gives back what the copy refers to. */
void mp__l2_repack(mp__l2 *l2, mp__l2_copy *copy, mp__l2_dictionary *dictionary);
/* Without the lock: read it, and give its dictionary back; where @scratch,
 * which may be NULL, has its window, it is that which keeps it, and the record lies there. */
MP_MUST_USE int mp__l2_copy_read(mp__l2 *l2, mp__l2_copy *copy, mp__l2_scratch *scratch,
                                 mp__record *ret_record);
/* Without the lock: make @scratch large enough for anything of @form. */
MP_MUST_USE int mp__l2_scratch_grow(mp__l2_scratch *scratch, const mp__l2_form *form);

#endif
