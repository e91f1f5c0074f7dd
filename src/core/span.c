/* SPDX-License-Identifier: Apache-2.0 */
#include "core/span.h"

#include <sys/mman.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/poison.h"

enum {
    REGION_BYTES = 2 * 1024 * 1024, /* a huge page of x86-64, and of arm64 with 4 KiB pages */
    REGION_SPANS = REGION_BYTES / MP__SPAN_BYTES,
    REGIONS_FROM = 2 * REGION_BYTES, /* held before a whole region is worth its pages */
    IDLE_MAX = REGION_SPANS,
};
_Static_assert(REGION_SPANS == 32, "a bit a span");

struct mp__span_region {
    char *base;
    uint32_t away; /* spans given back to the system */
    mp__span_region *next, *previous;
};

size_t mp__page_round(size_t bytes)
{
    static _Atomic size_t page;
    size_t size = atomic_load_explicit(&page, memory_order_relaxed);

    if (!size) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&page, size, memory_order_relaxed);
    }
    return (bytes + size - 1) & ~(size - 1);
}

/* ---- what the system gives ---- */

static void pages_add(mp__span_store *store, size_t bytes)
{
    (void)atomic_fetch_add_explicit(&store->pages, bytes, memory_order_relaxed);
}

static void pages_remove(mp__span_store *store, size_t bytes)
{
    (void)atomic_fetch_sub_explicit(&store->pages, bytes, memory_order_relaxed);
}

static bool has_room(const mp__span_store *store, size_t bytes)
{
    size_t held = atomic_load_explicit(&store->pages, memory_order_relaxed);
    size_t limit = atomic_load_explicit(&store->limit, memory_order_relaxed);

    return !limit || (bytes <= limit && held <= limit - bytes);
}

/* @bytes of zeroed pages that begin at a multiple of @alignment. */
static void *map_aligned(size_t bytes, size_t alignment)
{
    size_t mapped, before;
    char *raw;

    if (__builtin_add_overflow(bytes, alignment, &mapped) ||
        (mp__alloc_fail_hook && mp__alloc_fail_hook(bytes)))
        return NULL;
    raw = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    before = (alignment - ((uintptr_t)raw & (alignment - 1))) & (alignment - 1);
    if (before)
        (void)munmap(raw, before);
    if (alignment - before)
        (void)munmap(raw + before + bytes, alignment - before);
    /* cppcheck-suppress deallocret ; only what lies before it was given back */
    return raw + before;
}

static void unmap(void *base, size_t bytes)
{
    mp__unpoison(base, bytes); /* or whoever is given these addresses next would trip over it */
    (void)munmap(base, bytes);
}

/* ---- regions ---- */

static void holes_add(mp__span_store *store, mp__span_region *region)
{
    region->previous = NULL;
    region->next = store->holes;
    if (store->holes)
        store->holes->previous = region;
    store->holes = region;
}

static void holes_remove(mp__span_store *store, mp__span_region *region)
{
    if (region->previous)
        region->previous->next = region->next;
    else
        store->holes = region->next;
    if (region->next)
        region->next->previous = region->previous;
}

static mp__span *span_begin(void *base, mp__span_region *region, size_t bytes)
{
    mp__span *span = base;

    *span = (mp__span){.region = region, .bytes = bytes};
    return span;
}

static void idle_push(mp__span_store *store, mp__span *span)
{
    span->next = store->idle;
    store->idle = span;
    store->idle_count++;
}

static mp__span *idle_pop(mp__span_store *store)
{
    mp__span *span = store->idle;

    if (span) {
        store->idle = span->next;
        store->idle_count--;
    }
    return span;
}

/* Map a region; all its spans become idle. */
static bool region_map(mp__span_store *store)
{
    mp__span_region *region = mp__malloc(sizeof(*region));

    if (!region)
        return false;
    *region = (mp__span_region){.base = map_aligned(REGION_BYTES, REGION_BYTES)};
    if (!region->base) {
        (void)mp__free(region);
        return false;
    }
    (void)madvise(region->base, REGION_BYTES, MADV_HUGEPAGE); /* a wish */
    pages_add(store, REGION_BYTES);
    for (size_t i = REGION_SPANS; i-- > 0;)
        idle_push(store, span_begin(region->base + i * MP__SPAN_BYTES, region, MP__SPAN_BYTES));
    return true;
}

static void region_give_span(mp__span_store *store, mp__span_region *region, mp__span *span)
{
    unsigned number = (unsigned)(((char *)span - region->base) / MP__SPAN_BYTES);
    bool had_holes = region->away != 0;

    region->away |= (uint32_t)1 << number;
    if (region->away == UINT32_MAX) {
        holes_remove(store, region);
        unmap(region->base, REGION_BYTES);
        (void)mp__free(region);
        return;
    }
    if (!had_holes) {
        (void)madvise(region->base, REGION_BYTES, MADV_NOHUGEPAGE); /* khugepaged fills holes */
        holes_add(store, region);
    }
    (void)madvise(span, MP__SPAN_BYTES, MADV_DONTNEED);
}

static mp__span *region_take_hole(mp__span_store *store)
{
    mp__span_region *region = store->holes;
    unsigned number = (unsigned)__builtin_ctz(region->away);

    region->away &= region->away - 1;
    if (!region->away) {
        holes_remove(store, region);
        (void)madvise(region->base, REGION_BYTES, MADV_HUGEPAGE); /* counted whole again */
    }
    pages_add(store, MP__SPAN_BYTES);
    return span_begin(region->base + (size_t)number * MP__SPAN_BYTES, region, MP__SPAN_BYTES);
}

/* ---- spans ---- */

static void give_back(mp__span_store *store, mp__span *span)
{
    pages_remove(store, MP__SPAN_BYTES);
    mp__unpoison(span, MP__SPAN_BYTES);
    if (span->region)
        region_give_span(store, span->region, span);
    else
        unmap(span, MP__SPAN_BYTES);
}

static mp__span *map_large(mp__span_store *store, size_t bytes)
{
    void *base = has_room(store, bytes) ? map_aligned(bytes, MP__SPAN_BYTES) : NULL;

    if (!base)
        return NULL;
    pages_add(store, bytes);
    return span_begin(base, NULL, bytes);
}

mp__span *mp__span_take(mp__span_store *store)
{
    mp__span *span = idle_pop(store);

    if (span)
        return span;
    if (store->holes && has_room(store, MP__SPAN_BYTES))
        return region_take_hole(store);
    if (atomic_load_explicit(&store->pages, memory_order_relaxed) >= REGIONS_FROM &&
        has_room(store, REGION_BYTES) && region_map(store))
        return idle_pop(store);
    return map_large(store, MP__SPAN_BYTES);
}

void mp__span_give(mp__span_store *store, mp__span *span)
{
    idle_push(store, span);
    if (store->idle_count > IDLE_MAX || !has_room(store, 0))
        give_back(store, idle_pop(store));
}

mp__span *mp__span_take_large(mp__span_store *store, size_t bytes)
{
    size_t pages = mp__page_round(bytes);

    while (store->idle && !has_room(store, pages))
        give_back(store, idle_pop(store));
    return map_large(store, pages);
}

void mp__span_give_large(mp__span_store *store, mp__span *span)
{
    pages_remove(store, span->bytes);
    unmap(span, span->bytes);
}

void mp__span_limit_set(mp__span_store *store, size_t limit)
{
    atomic_store_explicit(&store->limit, limit, memory_order_relaxed);
    while (store->idle && !has_room(store, 0))
        give_back(store, idle_pop(store));
}

void mp__span_store_done(mp__span_store *store)
{
    while (store->idle)
        give_back(store, idle_pop(store));
}
