/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hazard.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <marketprism/cache.h>

#include "core/alloc.h"
#include "core/hash.h"

_Static_assert(MP__HAZARD_HELD == MP_READ_HELD_MAX, "what the public header promises");

mp__hazard_record mp__hazard_nobody = {.state = MP__HAZARD_IDLE | MP__HAZARD_NOBODY};
_Thread_local mp__hazard_record *mp__hazard_mine __attribute__((tls_model("initial-exec"))) =
    &mp__hazard_nobody;

static pthread_once_t domain_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;
static int thread_end_error; /* of making that key */
static bool fence_in_reader; /* set once, before the first record */
static _Atomic(mp__hazard_record *) records;
static _Atomic uint32_t record_count; /* counted before the record is in the list */

/* A stack onto which anybody pushes and from which everything is taken at once: no lock, since
 * readers retire what they find expired. */
static _Atomic(mp__retired *) retired_first;
static _Atomic size_t retired_bytes, retired_enough = MP__HAZARD_ENOUGH;

/* ---- records ---- */

/* Nothing of it holds for a section to come. */
static void record_forget(mp__hazard_record *record)
{
    record->turn = record->plain_turn = 0;
    record->plain_table = NULL;
}

static void record_idle(mp__hazard_record *record)
{
    record_forget(record);
    record->counters = record->nowhere;
    record->counted_from = record->misses = 0;
    record->state = MP__HAZARD_IDLE;
}

static void record_release(mp__hazard_record *record)
{
    for (uint32_t i = 0; i < MP__HAZARD_SLOTS; i++)
        atomic_store_explicit(&record->slots[i], NULL, memory_order_release);
    atomic_store_explicit(&record->table, NULL, memory_order_release);
    record_idle(record);
    atomic_store_explicit(&record->active, 0, memory_order_release);
}

static void thread_ends(void *record)
{
    mp__hazard_mine = &mp__hazard_nobody;
    record_release(record);
}

/* Whether the kernel makes all our threads pass a barrier when we ask. */
static bool membarrier_register(void)
{
    return MP__HAZARD_MEMBARRIER &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* In the child only the forking thread lives on; what the others announced holds nothing. The child
 * registers anew, since the kernel does not promise that a registration is inherited. */
static void after_fork_in_child(void)
{
    fence_in_reader = !membarrier_register();
    for (mp__hazard_record *r = atomic_load(&records); r; r = r->next) {
        r->fence = fence_in_reader;
        record_forget(r); /* the barrier may be another now */
        if (r != mp__hazard_mine)
            record_release(r);
    }
}

static void domain_begin(void)
{
    thread_end_error = pthread_key_create(&thread_end, thread_ends);
    (void)pthread_atfork(NULL, NULL, after_fork_in_child);
    fence_in_reader = !membarrier_register();
}

void mp__hazard_init(void)
{
    (void)pthread_once(&domain_once, domain_begin);
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
    record_idle(record);
    atomic_store(&record->active, 1);
    record->fence = fence_in_reader;
    record->index = atomic_fetch_add(&record_count, 1);
    record->next = atomic_load(&records);
    while (!atomic_compare_exchange_weak(&records, &record->next, record))
        ;
    return record;
}

int mp__hazard_thread_begin(void)
{
    mp__hazard_record *record;

    mp__hazard_init();
    if (thread_end_error) /* without it the record would be lost with its thread */
        return MP_ENOMEM;
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

/* ---- sections ---- */

/* The thread's first section, or one within another. */
static __attribute__((noinline)) int begin_slowly(mp__hazard_record *record)
{
    int rc;

    if (record != &mp__hazard_nobody) {
        record->state += MP__HAZARD_OPEN;
        return 0;
    }
    rc = mp__hazard_thread_begin();
    if (rc == 0)
        mp__hazard_mine->state = MP__HAZARD_OPEN;
    return rc;
}

/* The table that the last section looked into is announced before anybody asks for it: who looks
 * and finds that its L1 has still the same turn has looked again. Whether it is there any more does
 * not matter before that. */
MP_API MP__AT_LINE int mp_read_begin(void)
{
    mp__hazard_record *record = mp__hazard_mine;
    void *table;

    if (__builtin_expect(record->state != MP__HAZARD_IDLE, 0))
        return begin_slowly(record);
    record->state = MP__HAZARD_OPEN;
    memcpy(&table, &record->plain_table, sizeof(table)); /* nobody writes through it */
    atomic_store_explicit(&record->table, table, memory_order_release);
    mp__hazard_barrier_plain();
    return 0;
}

/* The shard is this thread's, so that no other adds to it: a plain store, no locked add. */
static inline void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* Add what the section counted, if anything: else its counters may be of an earlier section's
 * cache, which is gone. */
static void counts_add(const mp__hazard_record *record)
{
    int64_t hits = mp__hazard_used(record) - record->counted_from;

    if (hits)
        count(&record->counters[0], (uint64_t)hits);
    if (record->misses)
        count(&record->counters[1], (uint64_t)record->misses);
}

void mp__hazard_counts_begin(mp__hazard_record *record, _Atomic uint64_t *counters)
{
    uint32_t used = mp__hazard_used(record);

    counts_add(record);
    record->counted_from = used;
    record->misses = 0;
    record->counters = counters;
    if (used)
        record->state |= MP__HAZARD_ODD;
}

/* The stores are the same whether one of them empties a slot or all of them. */
static inline void slots_empty(_Atomic(void *) *slots)
{
#pragma GCC unroll 4
    for (int i = 0; i < MP__HAZARD_AT_ONCE; i++)
        atomic_store_explicit(&slots[i], NULL, memory_order_release);
}

static __attribute__((noinline)) void end_slowly(mp__hazard_record *record)
{
    uint32_t used = mp__hazard_used(record);

    if (mp__hazard_depth(record) == 0)
        return; /* one end too many */
    if (mp__hazard_depth(record) > 1) {
        record->state -= MP__HAZARD_OPEN;
        return;
    }
    counts_add(record);
    record->counted_from = record->misses = 0;
    for (uint32_t i = 0; i < used; i += MP__HAZARD_AT_ONCE)
        slots_empty(&record->slots[i]); /* those beyond are empty */
    record->turn = record->plain_turn;
    atomic_store_explicit(&record->table, NULL, memory_order_release);
    record->state = MP__HAZARD_IDLE;
}

/* Most sections lend one value or many; those that lend one have a way without a question. */
MP_API MP__AT_LINE void mp_read_end(void)
{
    mp__hazard_record *record = mp__hazard_mine;

    if (__builtin_expect(record->state != MP__HAZARD_OPEN + 1, 0)) {
        end_slowly(record);
        return;
    }
    atomic_store_explicit(&record->slots[0], NULL, memory_order_release);
    atomic_store_explicit(&record->table, NULL, memory_order_release);
    record->state = MP__HAZARD_IDLE;
    count(&record->counters[0], 1);
}

/* ---- retiring ---- */

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

/* Every announced pointer, sorted, in *ret_list (to be freed); NULL without memory. The records are
 * loaded before their count, which is raised first, so that each of them has its place. A record
 * that is newer than that cannot announce what was unreachable before it was made. */
static size_t announced(void ***ret_list)
{
    mp__hazard_record *first = atomic_load(&records);
    size_t n = 0, capacity = (MP__HAZARD_SLOTS + 1) * (size_t)atomic_load(&record_count) + 1;
    void **list = mp__realloc_array(NULL, capacity, sizeof(*list));

    *ret_list = list;
    if (!list)
        return 0;
    for (mp__hazard_record *r = first; r; r = r->next) {
        void *table = atomic_load_explicit(&r->table, memory_order_acquire);

        if (table)
            list[n++] = table;
        for (uint32_t i = 0; i < MP__HAZARD_SLOTS; i++) {
            void *p = atomic_load_explicit(&r->slots[i], memory_order_acquire);

            if (p)
                list[n++] = p;
        }
    }
    if (n)
        qsort(list, n, sizeof(*list), compare_pointers);
    return n;
}

/* Take from @list what nobody announces; the rest is given back in *ret_held. */
static mp__retired *split(mp__retired *list, void *const *hazards, size_t count,
                          mp__retired **ret_held)
{
    mp__retired *free_list = NULL, *held = NULL, *next;

    for (; list; list = next) {
        bool is_held =
            count && bsearch(&list->pointer, hazards, count, sizeof(*hazards), compare_pointers);
        mp__retired **to = is_held ? &held : &free_list;

        next = list->next;
        list->next = *to;
        *to = list;
    }
    *ret_held = held;
    return free_list;
}

static size_t counted(size_t bytes)
{
    return bytes > MP__HAZARD_LEAST ? bytes : MP__HAZARD_LEAST;
}

/* Returns how many bytes they were counted as. */
static size_t free_all(mp__retired *list)
{
    size_t bytes = 0;

    while (list) {
        mp__retired *next = list->next;

        bytes += counted(list->free_fn(list));
        list = next;
    }
    return bytes;
}

/* The list from @first to @last, of @bytes. */
static void retired_push(mp__retired *first, mp__retired *last, size_t bytes)
{
    last->next = atomic_load(&retired_first);
    while (!atomic_compare_exchange_weak(&retired_first, &last->next, first))
        ;
    (void)atomic_fetch_add(&retired_bytes, bytes);
}

/* What is held, @bytes of it, waits for the next scan, which begins when twice as much again has
 * gathered: so the work of a scan is paid for by what it frees, however much readers hold. Returns
 * how many they are. */
static size_t put_back(mp__retired *held, size_t bytes)
{
    mp__retired *last = held;
    size_t n = 1;

    if (!held)
        return 0;
    for (; last->next; last = last->next)
        n++;
    atomic_store(&retired_enough, 2 * bytes + MP__HAZARD_ENOUGH);
    retired_push(held, last, bytes);
    return n;
}

/* Every announcement made before what is retired became unreachable is visible afterwards. False:
 * the kernel refused (a sandbox that came later), so that nothing may be freed. */
static bool barrier_for_all(void)
{
    if (!fence_in_reader)
        return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
    atomic_thread_fence(memory_order_seq_cst);
    return true;
}

/* Free what of @list, which is of @bytes, nobody announces, put the rest back. Returns how many
 * were put back. */
static size_t scan(mp__retired *list, size_t bytes)
{
    mp__retired *held;
    void **hazards;
    size_t count, freed;

    if (!barrier_for_all())
        return put_back(list, bytes);
    count = announced(&hazards);
    if (!hazards)
        return put_back(list, bytes);
    list = split(list, hazards, count, &held);
    (void)mp__free(hazards);
    freed = free_all(list);
    return put_back(held, bytes > freed ? bytes - freed : 0);
}

/* Everything, or NULL, and how many bytes it is; of what another thread retires at this moment some
 * may be counted in the next list. */
static mp__retired *take_retired(size_t *ret_bytes)
{
    *ret_bytes = atomic_exchange(&retired_bytes, 0);
    atomic_store(&retired_enough, MP__HAZARD_ENOUGH);
    return atomic_exchange(&retired_first, NULL);
}

void mp__hazard_retire(mp__retired *retired, size_t bytes)
{
    retired_push(retired, retired, counted(bytes));
}

void mp__hazard_tidy(void)
{
    mp__retired *list;
    size_t bytes;

    if (atomic_load_explicit(&retired_bytes, memory_order_relaxed) <
        atomic_load_explicit(&retired_enough, memory_order_relaxed))
        return;
    list = take_retired(&bytes);
    if (list)
        (void)scan(list, bytes);
}

size_t mp__hazard_flush(void)
{
    size_t bytes;
    mp__retired *list = take_retired(&bytes);

    return list ? scan(list, bytes) : 0;
}
