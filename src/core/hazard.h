/* SPDX-License-Identifier: Apache-2.0 */
/* Hazard pointers: readers announce what they look at, writers free only what nobody announced.
 *
 * Michael, "Hazard Pointers: Safe Memory Reclamation for Lock-Free Objects", IEEE TPDS 15(6), 2004.
 * The store-load barrier that the paper asks of the reader is moved to the writer by membarrier(2)
 * PRIVATE_EXPEDITED (a seq_cst fence in the reader where the kernel has none). One domain a
 * process: a reader may look into several caches. Thread records are made on a thread's first read,
 * handed on by a pthread key's destructor, and right after fork(). */
#ifndef MP_CORE_HAZARD_H
#define MP_CORE_HAZARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <marketprism/error.h>

#define MP__HAZARD_SLOTS 64u /* values a thread can hold at once */

typedef struct mp__hazard_record {
    uint32_t used;  /* slots taken by the open section; the owner's */
    uint32_t depth; /* nesting of sections; the owner's */
    uint32_t index; /* of the record, dense from 0: picks counters' shards */
    _Atomic int active;
    struct mp__hazard_record *next; /* list of all records; never unlinked */
    /* What this section saw of one cache, added to its counters when the section ends. */
    uint32_t hits, misses;
    _Atomic uint64_t *counters; /* [0] hits, [1] misses: of this thread alone, or NULL */
    _Atomic(void *) table;      /* announces the table looked into */
    _Atomic(void *) slots[MP__HAZARD_SLOTS];
} __attribute__((aligned(128))) mp__hazard_record;

extern _Thread_local mp__hazard_record *mp__hazard_mine; /* NULL until the first section */
extern bool mp__hazard_fence_in_reader;                  /* no membarrier(2) here */

/* Make or adopt this thread's record. 0 or MP_ENOMEM. */
MP_MUST_USE int mp__hazard_thread_begin(void);

/* Add what the section counted to record->counters and forget them; the owner's thread. */
void mp__hazard_counts_flush(mp__hazard_record *record);

/* Between the announcement and the second look. */
static inline void mp__hazard_barrier(void)
{
    if (__builtin_expect(mp__hazard_fence_in_reader, 0))
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
}

typedef struct mp__retired {
    struct mp__retired *next;
    void *pointer;                                /* what readers would have announced */
    void (*free_fn)(struct mp__retired *retired); /* on whichever thread scans */
} mp__retired;

/* Free @retired when no thread announces retired->pointer any more. It must be unreachable for new
 * readers. Embedded in the object, so it never allocates. Any thread, no lock held that free_fn
 * takes. Scans when enough has gathered (amortised); never waits for readers. */
void mp__hazard_retire(mp__retired *retired);

/* Try to free everything retired now. Any thread. Returns how many are still held. */
size_t mp__hazard_flush(void);

#endif
