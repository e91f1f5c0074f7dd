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

#define MP__HAZARD_HELD  64u                   /* values a thread can hold at once */
#define MP__HAZARD_SLOTS (MP__HAZARD_HELD + 1) /* and one for a look that ends within a call */

enum { MP__HAZARD_AT_ONCE = 4 }; /* slots that a section's end empties in one step */
_Static_assert(MP__HAZARD_HELD % MP__HAZARD_AT_ONCE == 0, "the last step ends within the slots");

/* The thread sanitizer does not know membarrier(2), so under it every reader pays for its fence. */
#if defined(__SANITIZE_THREAD__)
#define MP__HAZARD_MEMBARRIER 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MP__HAZARD_MEMBARRIER 0
#endif
#endif
#ifndef MP__HAZARD_MEMBARRIER
#define MP__HAZARD_MEMBARRIER 1
#endif

typedef struct mp__hazard_record {
    /* What is announced in @table, once the section found out that a look into it has nothing else
     * to think of: no fence of its own, no use to gather in @uses. Else NULL. The owner's. */
    const void *plain_table;
    uint32_t used;  /* slots taken by the open section; the owner's */
    uint32_t depth; /* nesting of sections; the owner's */
    bool fence;     /* no membarrier(2) here: the owner pays for the barrier itself */
    _Atomic int active;
    struct mp__hazard_record *next; /* list of all records; never unlinked */
    uint32_t index;                 /* of the record, dense from 0: picks counters' shards */
    uint32_t uses_room;             /* how many more @uses takes; 0 where there is none */
    /* What the section saw of the structure that it announces in @table, added to that one's
     * counters when the section ends or looks into another: hits are the slots taken since
     * @counted_from, so that a hit itself counts nothing; who takes one for something else raises
     * it. A section may stay open for good, so that they are wide. */
    int64_t counted_from;
    int64_t misses;             /* below 0: of an earlier section, counted by mistake */
    _Atomic uint64_t *counters; /* [0] hits, [1] misses: of this thread alone, or NULL */
    void *uses;                 /* where that structure gathers this thread's uses, or NULL */
    _Atomic(void *) table;      /* announces the table looked into */
    _Atomic(void *) slots[MP__HAZARD_SLOTS];
} __attribute__((aligned(128))) mp__hazard_record;

/* Of a thread that has none: never active, never in a section. */
extern mp__hazard_record mp__hazard_nobody __attribute__((visibility("hidden")));

/* This thread's; until its first section it is nobody's, so that who looks whether it is in a
 * section need not ask whether there is one. */
extern _Thread_local mp__hazard_record *mp__hazard_mine
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Make or adopt this thread's record. 0 or MP_ENOMEM. */
MP_MUST_USE int mp__hazard_thread_begin(void);

/* The slot that is taken as the @used-th. As an address in bytes, or the compiler adds to the
 * number first. */
static inline _Atomic(void *) *mp__hazard_slot(mp__hazard_record *record, size_t used)
{
    char *at = (char *)record + used * sizeof(record->slots[0]);

    return (_Atomic(void *) *)(at + offsetof(mp__hazard_record, slots));
}

/* What the section sees from here on is counted for @counters. The owner's thread. */
static inline void mp__hazard_counts_begin(mp__hazard_record *record, _Atomic uint64_t *counters)
{
    record->counted_from = record->used;
    record->misses = 0;
    record->counters = counters;
}

/* Add what the section counted to record->counters and forget them; the owner's thread. */
void mp__hazard_counts_flush(mp__hazard_record *record);

/* Between the announcement and the second look. */
static inline void mp__hazard_barrier(const mp__hazard_record *record)
{
    if (__builtin_expect(record->fence, 0))
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
}

/* The same for a look into record->plain_table. */
static inline void mp__hazard_barrier_plain(void)
{
#if MP__HAZARD_MEMBARRIER
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Whether that is enough for @record. */
static inline bool mp__hazard_is_plain(const mp__hazard_record *record)
{
    return !MP__HAZARD_MEMBARRIER || !record->fence;
}

/* Give back the slot taken last, for a look that ends within a call. The owner's thread. */
static inline void mp__hazard_release_last(mp__hazard_record *record)
{
    record->used--;
    record->counted_from--; /* a hit all the same */
    atomic_store_explicit(&record->slots[record->used], NULL, memory_order_release);
}

typedef struct mp__retired {
    struct mp__retired *next;
    void *pointer; /* what readers would have announced */
    /* Frees it on whichever thread scans, and says how many bytes it was retired with. */
    size_t (*free_fn)(struct mp__retired *retired);
} mp__retired;

/* What is retired before a scan is worth its barrier, which stops every thread of the process: */
enum {
    MP__HAZARD_ENOUGH = 256 * 1024, /* bytes, of which */
    MP__HAZARD_LEAST = 512,         /* a small object counts as so many */
};

/* Let @retired, an object of @bytes, be freed when no thread announces retired->pointer any more.
 * It must be unreachable for new readers. Embedded in the object, so it never allocates. Any
 * thread, also under a lock: it frees nothing itself. */
void mp__hazard_retire(mp__retired *retired, size_t bytes);

/* Scan if enough bytes have gathered: so no more of them wait than MP__HAZARD_ENOUGH, three times
 * what readers hold, and one object, at a cost that is amortised. Call it after
 * mp__hazard_retire(), with no lock held that a free_fn takes. Never waits for readers. Any thread.
 */
void mp__hazard_tidy(void);

/* Try to free everything retired now, like mp__hazard_tidy(). Returns how many are still held. */
size_t mp__hazard_flush(void);

/* Be ready for fork() before anything that takes a lock above ours registers for it. */
void mp__hazard_init(void);

#endif
