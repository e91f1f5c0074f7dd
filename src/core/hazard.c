/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hazard.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <marketprism/cache.h>

#include "core/alloc.h"

/* The thread sanitizer does not know membarrier(2), so under it the reader pays for its fence. */
#if defined(__SANITIZE_THREAD__)
#define WITH_MEMBARRIER false
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_MEMBARRIER false
#endif
#endif
#ifndef WITH_MEMBARRIER
#define WITH_MEMBARRIER true
#endif

_Thread_local mp__hazard_record *mp__hazard_mine __attribute__((tls_model("initial-exec")));
bool mp__hazard_fence_in_reader = true; /* until membarrier is known to work */

static pthread_once_t domain_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;
static _Atomic(mp__hazard_record *) records;
static _Atomic uint32_t record_count;

static pthread_mutex_t retired_lock = PTHREAD_MUTEX_INITIALIZER;
static mp__retired *retired_first;
static size_t retired_count;

/* ---- records ---- */

static void record_release(mp__hazard_record *record)
{
    for (uint32_t i = 0; i < MP__HAZARD_SLOTS; i++)
        atomic_store_explicit(&record->slots[i], NULL, memory_order_release);
    atomic_store_explicit(&record->table, NULL, memory_order_release);
    record->used = record->depth = 0;
    atomic_store_explicit(&record->active, 0, memory_order_release);
}

static void thread_ends(void *record)
{
    mp__hazard_mine = NULL;
    record_release(record);
}

/* In the child only the forking thread lives on; what the others announced holds nothing. */
static void after_fork_in_child(void)
{
    for (mp__hazard_record *r = atomic_load(&records); r; r = r->next)
        if (r != mp__hazard_mine)
            record_release(r);
    (void)pthread_mutex_unlock(&retired_lock);
}

static void before_fork(void)
{
    (void)pthread_mutex_lock(&retired_lock);
}

static void after_fork_in_parent(void)
{
    (void)pthread_mutex_unlock(&retired_lock);
}

static void domain_begin(void)
{
    (void)pthread_key_create(&thread_end, thread_ends);
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (WITH_MEMBARRIER &&
        syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
        mp__hazard_fence_in_reader = false;
}

static mp__hazard_record *record_adopt(void)
{
    for (mp__hazard_record *r = atomic_load(&records); r; r = r->next) {
        int idle = 0;

        if (atomic_load_explicit(&r->active, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&r->active, &idle, 1))
            return r;
    }
    return NULL;
}

static mp__hazard_record *record_make(void)
{
    mp__hazard_record *record = mp__aligned_alloc(128, sizeof(*record));

    if (!record)
        return NULL;
    memset(record, 0, sizeof(*record));
    atomic_store(&record->active, 1);
    record->index = atomic_fetch_add(&record_count, 1);
    record->next = atomic_load(&records);
    while (!atomic_compare_exchange_weak(&records, &record->next, record))
        ;
    return record;
}

int mp__hazard_thread_begin(void)
{
    mp__hazard_record *record;

    (void)pthread_once(&domain_once, domain_begin);
    record = record_adopt();
    if (!record)
        record = record_make();
    if (!record)
        return MP_ENOMEM;
    if (pthread_setspecific(thread_end, record) != 0) {
        record_release(record);
        return MP_ENOMEM;
    }
    mp__hazard_mine = record;
    return 0;
}

MP_API int mp_read_begin(void)
{
    if (__builtin_expect(!mp__hazard_mine, 0)) {
        int rc = mp__hazard_thread_begin();

        if (rc)
            return rc;
    }
    mp__hazard_mine->depth++;
    return 0;
}

void mp__hazard_counts_flush(mp__hazard_record *record)
{
    _Atomic uint64_t *c = record->counters;

    if (c) {
        atomic_store_explicit(&c[0],
                              atomic_load_explicit(&c[0], memory_order_relaxed) + record->hits,
                              memory_order_relaxed);
        atomic_store_explicit(&c[1],
                              atomic_load_explicit(&c[1], memory_order_relaxed) + record->misses,
                              memory_order_relaxed);
    }
    record->hits = record->misses = 0;
    record->counters = NULL;
}

MP_API void mp_read_end(void)
{
    mp__hazard_record *record = mp__hazard_mine;

    if (--record->depth)
        return;
    for (uint32_t i = 0; i < record->used; i++)
        atomic_store_explicit(&record->slots[i], NULL, memory_order_release);
    record->used = 0;
    if (record->counters)
        mp__hazard_counts_flush(record);
    if (atomic_load_explicit(&record->table, memory_order_relaxed))
        atomic_store_explicit(&record->table, NULL, memory_order_release);
}

/* ---- retiring ---- */

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

/* Every announced pointer, sorted, in *ret_list (to be freed); NULL without memory. */
static size_t announced(void ***ret_list)
{
    size_t count = 0, capacity = (MP__HAZARD_SLOTS + 1) * (size_t)atomic_load(&record_count) + 1;
    void **list = mp__realloc_array(NULL, capacity, sizeof(*list));

    *ret_list = list;
    if (!list)
        return 0;
    for (mp__hazard_record *r = atomic_load(&records); r; r = r->next) {
        for (uint32_t i = 0; i <= MP__HAZARD_SLOTS; i++) {
            void *p = atomic_load_explicit(i < MP__HAZARD_SLOTS ? &r->slots[i] : &r->table,
                                           memory_order_acquire);

            if (p && count < capacity)
                list[count++] = p;
        }
    }
    if (count)
        qsort(list, count, sizeof(*list), compare_pointers);
    return count;
}

/* Take from @list what nobody announces; the rest is given back in *ret_held. */
static mp__retired *split(mp__retired *list, void *const *hazards, size_t count,
                          mp__retired **ret_held, size_t *ret_held_count)
{
    mp__retired *free_list = NULL, *held = NULL, *next;
    size_t held_count = 0;

    for (; list; list = next) {
        mp__retired **to;

        next = list->next;
        to = count && bsearch(&list->pointer, hazards, count, sizeof(*hazards), compare_pointers)
                 ? &held
                 : &free_list;
        held_count += to == &held;
        list->next = *to;
        *to = list;
    }
    *ret_held = held;
    *ret_held_count = held_count;
    return free_list;
}

/* Free what of @list nobody announces, put the rest back. Returns how many were put back. */
static size_t scan(mp__retired *list)
{
    mp__retired *free_list = NULL, *held = list, *last;
    size_t held_count = 0, count;
    void **hazards;

    if (mp__hazard_fence_in_reader)
        atomic_thread_fence(memory_order_seq_cst);
    else
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    count = announced(&hazards);
    if (hazards)
        free_list = split(list, hazards, count, &held, &held_count);
    else
        for (last = list; last; last = last->next)
            held_count++;
    (void)mp__free(hazards);
    while (free_list) {
        mp__retired *next = free_list->next;

        free_list->free_fn(free_list);
        free_list = next;
    }
    if (held) {
        for (last = held; last->next; last = last->next)
            ;
        (void)pthread_mutex_lock(&retired_lock);
        last->next = retired_first;
        retired_first = held;
        retired_count += held_count;
        (void)pthread_mutex_unlock(&retired_lock);
    }
    return held_count;
}

static mp__retired *take_retired(size_t at_least)
{
    mp__retired *list = NULL;

    if (retired_count >= at_least) {
        list = retired_first;
        retired_first = NULL;
        retired_count = 0;
    }
    return list;
}

void mp__hazard_retire(mp__retired *retired)
{
    mp__retired *list;
    size_t enough = 64 + 2 * (size_t)atomic_load_explicit(&record_count, memory_order_relaxed) * 8;

    (void)pthread_mutex_lock(&retired_lock);
    retired->next = retired_first;
    retired_first = retired;
    retired_count++;
    list = take_retired(enough);
    (void)pthread_mutex_unlock(&retired_lock);
    if (list)
        (void)scan(list);
}

size_t mp__hazard_flush(void)
{
    mp__retired *list;

    (void)pthread_mutex_lock(&retired_lock);
    list = take_retired(0);
    (void)pthread_mutex_unlock(&retired_lock);
    return list ? scan(list) : 0;
}
