/* SPDX-License-Identifier: Apache-2.0 */
#include "core/slab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core/alloc.h"
#include "core/poison.h"
#include "core/span.h"

enum {
    LINE = 64,
    SMALL_MAX = 1024, /* steps of a line up to here */
    CLASS_MAX = 40,
    OBJECTS_MAX = MP__SPAN_BYTES / LINE, /* in a span */
};
#define CLOSED     ((uint32_t)1 << MP__SLAB_BLOCKS) /* among the blocks that are free: it is */
#define OBJECT_MAX ((MP__SPAN_BYTES - MP__SPAN_HEAD) / 4) /* larger ones get spans of their own */

_Static_assert(MP__SPAN_HEAD + MP__SLAB_BLOCKS * MP__SLAB_BLOCK <= MP__SPAN_BYTES,
               "the blocks fit into a span");

struct mp__slab {
    pthread_mutex_t lock;
    mp__span_store spans;
    _Atomic size_t used;
    size_t objects;
    bool closed;
    mp__span *room[CLASS_MAX]; /* spans with a free object */
    uint8_t color[CLASS_MAX];  /* of the next span: lines that its objects begin later */
    mp__span *blocks;          /* NULL: it keeps none; an object until all are free and CLOSED */
    _Atomic uint32_t free_blocks;
    mp__slab *next, **from_here; /* of all slabs of the process, for fork(); under all_lock */
};

/* ---- fork ---- */

/* A child must not inherit a lock whose holder does not exist in it. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t all_once = PTHREAD_ONCE_INIT;
static mp__slab *all_first;

static void before_fork(void)
{
    (void)pthread_mutex_lock(&all_lock);
    for (mp__slab *slab = all_first; slab; slab = slab->next)
        (void)pthread_mutex_lock(&slab->lock);
}

static void after_fork(void)
{
    for (mp__slab *slab = all_first; slab; slab = slab->next)
        (void)pthread_mutex_unlock(&slab->lock);
    (void)pthread_mutex_unlock(&all_lock);
}

static void register_for_fork(void)
{
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}

static void all_add(mp__slab *slab)
{
    (void)pthread_once(&all_once, register_for_fork);
    (void)pthread_mutex_lock(&all_lock);
    slab->next = all_first;
    slab->from_here = &all_first;
    if (all_first)
        all_first->from_here = &slab->next;
    all_first = slab;
    (void)pthread_mutex_unlock(&all_lock);
}

static void all_remove(mp__slab *slab)
{
    (void)pthread_mutex_lock(&all_lock);
    *slab->from_here = slab->next;
    if (slab->next)
        slab->next->from_here = slab->from_here;
    (void)pthread_mutex_unlock(&all_lock);
}

/* ---- size classes ---- */

static unsigned class_of(size_t size)
{
    unsigned shift;

    if (size <= SMALL_MAX)
        return size ? (unsigned)((size - 1) / LINE) : 0;
    shift = 63 - (unsigned)__builtin_clzl(size - 1); /* 10 for 1,025 to 2,048 */
    return 16 + (shift - 10) * 4 + (unsigned)((size - 1) >> (shift - 2) & 3);
}

static size_t class_bytes(unsigned class)
{
    unsigned shift, quarter;

    if (class < 16)
        return (size_t)(class + 1) * LINE;
    shift = 10 + (class - 16) / 4;
    quarter = (class - 16) % 4;
    return ((size_t)1 << shift) + ((size_t)(quarter + 1) << (shift - 2));
}

size_t mp__slab_round(size_t size)
{
    if (size <= OBJECT_MAX)
        return class_bytes(class_of(size));
    return size > SIZE_MAX / 2 ? SIZE_MAX : mp__page_round(size + MP__SPAN_HEAD);
}

/* ---- spans of a class ---- */

static void list_add(mp__span *s)
{
    mp__span **head = &s->slab->room[s->class];

    s->listed = true;
    s->previous = NULL;
    s->next = *head;
    if (*head)
        (*head)->previous = s;
    *head = s;
}

static void list_remove(mp__span *s)
{
    if (s->previous)
        s->previous->next = s->next;
    else
        s->slab->room[s->class] = s->next;
    if (s->next)
        s->next->previous = s->previous;
    s->listed = false;
}

/* The line of an object that is looked at stands at the same distance in each, so that without a
 * shift they would meet in a few sets of the processor's caches. What is left over in a span moves
 * its objects, from span to span by another line (Bonwick, "The Slab Allocator", USENIX 1994, 4.1).
 */
static size_t next_color(mp__slab *slab, unsigned class)
{
    size_t left = (MP__SPAN_BYTES - MP__SPAN_HEAD) % class_bytes(class) / LINE;

    return slab->color[class]++ % (left + 1);
}

static mp__span *span_with_room(mp__slab *slab, unsigned class)
{
    mp__span *s = slab->room[class];

    if (s)
        return s;
    s = mp__span_take(&slab->spans);
    if (!s)
        return NULL;
    s->slab = slab;
    s->free_first = NULL;
    s->used = s->fresh = 0;
    s->class = (uint8_t) class;
    s->capacity = (uint16_t)((MP__SPAN_BYTES - MP__SPAN_HEAD) / class_bytes(class));
    s->first = (uint16_t)(MP__SPAN_HEAD + next_color(slab, class) * LINE);
    mp__poison((char *)s + MP__SPAN_HEAD, MP__SPAN_BYTES - MP__SPAN_HEAD);
    list_add(s);
    return s;
}

/* ---- objects ---- */

static mp__span *span_of(const void *object)
{
    return (mp__span *)((uintptr_t)object & ~(uintptr_t)(MP__SPAN_BYTES - 1));
}

static void *take_object(mp__span *s)
{
    void *object = s->free_first;

    if (object) {
        mp__unpoison(object, class_bytes(s->class));
        memcpy(&s->free_first, object, sizeof(void *));
    } else {
        object = (char *)s + s->first + s->fresh++ * class_bytes(s->class);
        mp__unpoison(object, class_bytes(s->class));
    }
    if (++s->used == s->capacity)
        list_remove(s);
    return object;
}

static void *take_large(mp__slab *slab, size_t size)
{
    mp__span *s = mp__span_take_large(&slab->spans, size + MP__SPAN_HEAD);

    if (!s)
        return NULL;
    s->slab = slab;
    return (char *)s + MP__SPAN_HEAD;
}

/* With the lock, so that nobody else writes it: no locked instruction. */
static void used_add(mp__slab *slab, size_t bytes)
{
    atomic_store_explicit(&slab->used,
                          atomic_load_explicit(&slab->used, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
}

/* The lowest that is free, which was used last or is near by for another reason. NULL: none is. */
static void *take_block(mp__slab *slab, size_t size)
{
    uint32_t free = atomic_load_explicit(&slab->free_blocks, memory_order_relaxed);
    char *block;

    do
        if (free == 0)
            return NULL;
    while (!atomic_compare_exchange_weak_explicit(&slab->free_blocks, &free, free & (free - 1),
                                                  memory_order_acquire, memory_order_relaxed));
    block = (char *)slab->blocks + MP__SPAN_HEAD + (size_t)__builtin_ctz(free) * MP__SLAB_BLOCK;
    mp__unpoison(block, size);
    return block;
}

void *mp__slab_alloc(mp__slab *slab, size_t size)
{
    void *object = NULL;
    mp__span *s;

    if (slab->blocks && size <= MP__SLAB_BLOCK && (object = take_block(slab, size)))
        return object;
    if (size > SIZE_MAX / 2)
        return NULL;
    (void)pthread_mutex_lock(&slab->lock);
    if (size > OBJECT_MAX) {
        object = take_large(slab, size);
    } else {
        s = span_with_room(slab, class_of(size));
        if (s)
            object = take_object(s);
    }
    if (object) {
        slab->objects++;
        used_add(slab, mp__slab_round(size));
    }
    (void)pthread_mutex_unlock(&slab->lock);
    return object;
}

static void slab_destroy(mp__slab *slab)
{
    all_remove(slab);
    mp__span_store_done(&slab->spans);
    (void)pthread_mutex_destroy(&slab->lock);
    (void)mp__free(slab);
}

static void give_object(mp__slab *slab, mp__span *s, void *object)
{
    memcpy(object, &s->free_first, sizeof(void *));
    s->free_first = object;
    mp__poison(object, class_bytes(s->class));
    if (!s->listed)
        list_add(s);
    if (--s->used == 0) {
        list_remove(s);
        mp__span_give(&slab->spans, s);
    }
}

/* Under the lock, which is let go. */
static void unlock_after_free(mp__slab *slab)
{
    bool last = --slab->objects == 0 && slab->closed;

    (void)pthread_mutex_unlock(&slab->lock);
    if (last)
        slab_destroy(slab);
}

/* One more bit of free_blocks. Who gives the last of all, that it is closed among them, gives the
 * span back; others must not look at the slab any more. */
static void give_bit(mp__slab *slab, uint32_t bit)
{
    uint32_t before = atomic_fetch_or_explicit(&slab->free_blocks, bit, memory_order_acq_rel);

    if ((before | bit) != 2 * CLOSED - 1)
        return;
    (void)pthread_mutex_lock(&slab->lock);
    mp__span_give(&slab->spans, slab->blocks);
    unlock_after_free(slab);
}

static void give_block(mp__slab *slab, mp__span *s, void *object)
{
    size_t i = (size_t)((char *)object - (char *)s - MP__SPAN_HEAD) / MP__SLAB_BLOCK;

    mp__poison(object, MP__SLAB_BLOCK);
    give_bit(slab, (uint32_t)1 << i);
}

void mp__slab_free(void *object)
{
    mp__span *s = span_of(object);
    mp__slab *slab = s->slab;

    if (s == slab->blocks) {
        give_block(slab, s, object);
        return;
    }
    (void)pthread_mutex_lock(&slab->lock);
    if (s->capacity == 0) {
        used_add(slab, 0 - s->bytes);
        mp__span_give_large(&slab->spans, s);
    } else {
        used_add(slab, 0 - class_bytes(s->class));
        give_object(slab, s, object);
    }
    unlock_after_free(slab);
}

/* Which objects of @s are free: a bit each. */
static void mark_free(const mp__span *s, uint64_t marks[OBJECTS_MAX / 64])
{
    char *object = s->free_first, *next;

    for (; object; object = next) {
        size_t i = (size_t)(object - (const char *)s - s->first) / class_bytes(s->class);

        marks[i / 64] |= (uint64_t)1 << (i % 64);
        mp__unpoison(object, sizeof(next));
        memcpy(&next, object, sizeof(next));
        mp__poison(object, sizeof(next));
    }
}

void mp__slab_each_beside(mp__slab *slab, void *object, void (*each)(void *context, void *object),
                          void *context)
{
    mp__span *s = span_of(object);
    uint64_t marks[OBJECTS_MAX / 64] = {0};

    (void)pthread_mutex_lock(&slab->lock);
    if (s->capacity == 0) {
        each(context, object);
    } else {
        mark_free(s, marks);
        for (size_t i = 0; i < s->fresh; i++)
            if (!(marks[i / 64] >> (i % 64) & 1))
                each(context, (char *)s + s->first + i * class_bytes(s->class));
    }
    (void)pthread_mutex_unlock(&slab->lock);
}

/* ---- slabs ---- */

int mp__slab_new(size_t bytes_max, mp__slab **ret_slab)
{
    mp__slab *slab = mp__calloc(1, sizeof(*slab));

    if (!slab)
        return MP_ENOMEM;
    if (pthread_mutex_init(&slab->lock, NULL) != 0) {
        (void)mp__free(slab);
        return MP_ENOMEM;
    }
    atomic_init(&slab->spans.limit, bytes_max);
    all_add(slab);
    *ret_slab = slab;
    return 0;
}

int mp__slab_keep_blocks(mp__slab *slab)
{
    mp__span *s;

    (void)pthread_mutex_lock(&slab->lock);
    s = mp__span_take(&slab->spans);
    if (s) {
        s->slab = slab;
        s->capacity = 0;
        mp__poison((char *)s + MP__SPAN_HEAD, MP__SPAN_BYTES - MP__SPAN_HEAD);
        slab->objects++;
        slab->blocks = s;
        atomic_store_explicit(&slab->free_blocks, CLOSED - 1, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&slab->lock);
    return s ? 0 : MP_ENOMEM;
}

mp__slab *mp__slab_close(mp__slab *slab)
{
    bool last, blocks;

    if (!slab)
        return NULL;
    blocks = slab->blocks != NULL; /* without which others' last object would end it */
    (void)pthread_mutex_lock(&slab->lock);
    slab->closed = true;
    last = slab->objects == 0;
    (void)pthread_mutex_unlock(&slab->lock);
    if (last)
        slab_destroy(slab);
    else if (blocks)
        give_bit(slab, CLOSED);
    return NULL;
}

size_t mp__slab_pages_bytes(const mp__slab *slab)
{
    return atomic_load_explicit(&slab->spans.pages, memory_order_relaxed);
}

size_t mp__slab_used_bytes(const mp__slab *slab)
{
    uint32_t free = atomic_load_explicit(&slab->free_blocks, memory_order_relaxed);
    size_t blocks = slab->blocks ? (size_t)__builtin_popcount(~free & (CLOSED - 1)) : 0;

    return atomic_load_explicit(&slab->used, memory_order_relaxed) + blocks * MP__SLAB_BLOCK;
}

void mp__slab_limit_set(mp__slab *slab, size_t bytes_max)
{
    (void)pthread_mutex_lock(&slab->lock);
    mp__span_limit_set(&slab->spans, bytes_max);
    (void)pthread_mutex_unlock(&slab->lock);
}
