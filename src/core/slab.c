/* SPDX-License-Identifier: Apache-2.0 */
#include "core/slab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/alloc.h"

enum {
    SPAN_BYTES = 64 * 1024,
    SPAN_HEAD = 64,
    LINE = 64,
    SMALL_MAX = 1024, /* steps of a line up to here */
    CLASS_MAX = 40,
};
#define OBJECT_MAX ((SPAN_BYTES - SPAN_HEAD) / 4) /* larger ones get spans of their own */

typedef struct span {
    mp__slab *slab;
    struct span *next, *previous;   /* in the class's list while it has room */
    void *free_first;               /* objects given back, linked through their first bytes */
    size_t bytes;                   /* mapped */
    uint16_t used, capacity, fresh; /* fresh: objects never given out begin here */
    uint8_t class;
    bool listed;
} span;
_Static_assert(sizeof(span) <= SPAN_HEAD, "the head of a span is one line");

struct mp__slab {
    pthread_mutex_t lock;
    _Atomic size_t pages, used, limit;
    size_t objects;
    bool closed;
    span *room[CLASS_MAX]; /* spans with a free object */
};

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

/* Spans are 64 KiB, the largest page of the systems we know; others round up to theirs. */
static size_t page_round(size_t bytes)
{
    static _Atomic size_t page;
    size_t size = atomic_load_explicit(&page, memory_order_relaxed);

    if (!size) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&page, size, memory_order_relaxed);
    }
    return (bytes + size - 1) & ~(size - 1);
}

static size_t own_span_bytes(size_t size)
{
    return page_round(size + SPAN_HEAD);
}

size_t mp__slab_round(size_t size)
{
    return size > OBJECT_MAX ? own_span_bytes(size) : class_bytes(class_of(size));
}

/* ---- spans ---- */

/* Map @bytes so that the span begins at a multiple of its size: an object finds it by masking. */
static span *span_map(mp__slab *slab, size_t bytes)
{
    size_t pages = page_round(bytes), mapped = pages + SPAN_BYTES;
    size_t limit = atomic_load_explicit(&slab->limit, memory_order_relaxed);
    size_t held = atomic_load_explicit(&slab->pages, memory_order_relaxed);
    char *raw, *base;
    size_t before;

    if (limit && (pages > limit || held > limit - pages))
        return NULL;
    if (mp__alloc_fail_hook && mp__alloc_fail_hook(pages))
        return NULL;
    raw = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    before = (SPAN_BYTES - ((uintptr_t)raw & (SPAN_BYTES - 1))) & (SPAN_BYTES - 1);
    base = raw + before;
    if (before)
        (void)munmap(raw, before);
    (void)munmap(base + pages, mapped - before - pages);
    atomic_fetch_add_explicit(&slab->pages, pages, memory_order_relaxed);
    *(span *)base = (span){.slab = slab, .bytes = pages};
    return (span *)base;
}

static void span_unmap(span *s)
{
    atomic_fetch_sub_explicit(&s->slab->pages, s->bytes, memory_order_relaxed);
    (void)munmap(s, s->bytes);
}

static void list_add(span *s)
{
    span **head = &s->slab->room[s->class];

    s->listed = true;
    s->previous = NULL;
    s->next = *head;
    if (*head)
        (*head)->previous = s;
    *head = s;
}

static void list_remove(span *s)
{
    if (s->previous)
        s->previous->next = s->next;
    else
        s->slab->room[s->class] = s->next;
    if (s->next)
        s->next->previous = s->previous;
    s->listed = false;
}

static span *span_of_class(mp__slab *slab, unsigned class)
{
    span *s = slab->room[class];

    if (s)
        return s;
    s = span_map(slab, SPAN_BYTES);
    if (!s)
        return NULL;
    s->class = (uint8_t) class;
    s->capacity = (uint16_t)((SPAN_BYTES - SPAN_HEAD) / class_bytes(class));
    list_add(s);
    return s;
}

/* ---- objects ---- */

static void *take_object(span *s)
{
    void *object = s->free_first;

    if (object)
        memcpy(&s->free_first, object, sizeof(void *));
    else
        object = (char *)s + SPAN_HEAD + s->fresh++ * class_bytes(s->class);
    if (++s->used == s->capacity)
        list_remove(s);
    return object;
}

void *mp__slab_alloc(mp__slab *slab, size_t size)
{
    void *object = NULL;
    span *s;

    if (size > SIZE_MAX / 2)
        return NULL;
    (void)pthread_mutex_lock(&slab->lock);
    if (size > OBJECT_MAX) {
        s = span_map(slab, size + SPAN_HEAD);
        if (s)
            object = (char *)s + SPAN_HEAD;
    } else {
        s = span_of_class(slab, class_of(size));
        if (s)
            object = take_object(s);
    }
    if (object) {
        slab->objects++;
        atomic_fetch_add_explicit(&slab->used, mp__slab_round(size), memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&slab->lock);
    return object;
}

static void slab_destroy(mp__slab *slab)
{
    (void)pthread_mutex_destroy(&slab->lock);
    (void)mp__free(slab);
}

void mp__slab_free(void *object)
{
    span *s = (span *)((uintptr_t)object & ~(uintptr_t)(SPAN_BYTES - 1));
    mp__slab *slab = s->slab;
    bool last;

    (void)pthread_mutex_lock(&slab->lock);
    if (s->capacity == 0) {
        atomic_fetch_sub_explicit(&slab->used, s->bytes, memory_order_relaxed);
        span_unmap(s);
    } else {
        atomic_fetch_sub_explicit(&slab->used, class_bytes(s->class), memory_order_relaxed);
        memcpy(object, &s->free_first, sizeof(void *));
        s->free_first = object;
        if (!s->listed)
            list_add(s);
        if (--s->used == 0) {
            list_remove(s);
            span_unmap(s);
        }
    }
    last = --slab->objects == 0 && slab->closed;
    (void)pthread_mutex_unlock(&slab->lock);
    if (last)
        slab_destroy(slab);
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
    atomic_init(&slab->limit, bytes_max);
    *ret_slab = slab;
    return 0;
}

mp__slab *mp__slab_close(mp__slab *slab)
{
    bool last;

    if (!slab)
        return NULL;
    (void)pthread_mutex_lock(&slab->lock);
    slab->closed = true;
    last = slab->objects == 0;
    (void)pthread_mutex_unlock(&slab->lock);
    if (last)
        slab_destroy(slab);
    return NULL;
}

size_t mp__slab_pages_bytes(const mp__slab *slab)
{
    return atomic_load_explicit(&slab->pages, memory_order_relaxed);
}

size_t mp__slab_used_bytes(const mp__slab *slab)
{
    return atomic_load_explicit(&slab->used, memory_order_relaxed);
}

void mp__slab_limit_set(mp__slab *slab, size_t bytes_max)
{
    atomic_store_explicit(&slab->limit, bytes_max, memory_order_relaxed);
}
