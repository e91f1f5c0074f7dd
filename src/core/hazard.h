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
#include <string.h>

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

/* A record's state, one word, so that beginning and ending a section look at it once: how many
 * slots are taken in the lowest byte, marks above it, and from bit 16 on how many sections are
 * open. */
enum {
    MP__HAZARD_ODD = 1 << 8,    /* the section's end has more to do than to give one value back */
    MP__HAZARD_NOBODY = 1 << 9, /* this is mp__hazard_nobody */
    MP__HAZARD_OPEN = 1 << 16,  /* one section */
    /* No section is open. All slots look taken, so that a look needs no question of its own for
     * whether there is one. */
    MP__HAZARD_IDLE = MP__HAZARD_HELD,
};

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
enum { MP__HAZARD_LOWEST = 7 };
#else
enum { MP__HAZARD_LOWEST = 0 }; /* which byte of a word is the lowest */
#endif

/* The first line is all that a section touches which lends one value. */
typedef struct mp__hazard_record {
    uint64_t state; /* the owner's */
    /* What a section finds as the last one left it: the table that each section announces as it
     * begins, and the turn of the L1 whose it was (cache/l1_read.h). While that one still has this
     * turn, the announcement holds and a look has nothing else to think of: no fence of its own,
     * no use to gather in @uses. Else NULL and 0. The owner's. */
    uint64_t plain_turn;
    const void *plain_table;
    char *plain_place; /* of its own, so that a look need not ask it: where it begins to look, */
    size_t plain_mask; /* and of what bits of a hash */
    /* Of this thread alone: [0] hits, [1] misses of the structure that was looked into last.
     * Between sections it may be gone, and nothing waits to be counted. */
    _Atomic uint64_t *counters;
    _Atomic(void *) table; /* announces the table looked into */
    _Atomic(void *) slots[MP__HAZARD_SLOTS];
    uint64_t turn;      /* of whose @table is, when it was announced; 0: none. The owner's */
    void *uses;         /* where that structure gathers this thread's uses, or NULL */
    uint32_t uses_room; /* how many more @uses takes; 0 where there is none */
    bool fence;         /* no membarrier(2) here: the owner pays for the barrier itself */
    _Atomic int active;
    uint32_t index;                 /* of the record, dense from 0: picks counters' shards */
    struct mp__hazard_record *next; /* list of all records; never unlinked */
    /* What the section saw of the structure that it looks into, added to @counters when the section
     * ends or looks into another: hits are the slots taken since @counted_from, so that a hit
     * itself counts nothing. A section may stay open for good, so that they are wide. Not 0 only in
     * an odd section. */
    int64_t counted_from;
    int64_t misses;              /* below 0: of an earlier section, counted by mistake */
    _Atomic uint64_t nowhere[2]; /* @counters of who has looked into nothing yet */
} __attribute__((aligned(128))) mp__hazard_record;

/* Of a thread that has none: never active, never in a section. */
extern mp__hazard_record mp__hazard_nobody __attribute__((visibility("hidden")));

/* This thread's; until its first section it is nobody's, so that who looks whether it is in a
 * section need not ask whether there is one. */
extern _Thread_local mp__hazard_record *mp__hazard_mine
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Make or adopt this thread's record. 0 or MP_ENOMEM. */
MP_MUST_USE int mp__hazard_thread_begin(void);

/* How many slots the open section has taken; without one MP__HAZARD_HELD. The owner's thread. */
static inline uint32_t mp__hazard_used(const mp__hazard_record *record)
{
    uint8_t used;

    /* as a byte, or the compiler loads the word and cuts it down, at each look */
    memcpy(&used, (const char *)&record->state + MP__HAZARD_LOWEST, 1);
    return used;
}

/* How many sections are open. The owner's thread. */
static inline uint64_t mp__hazard_depth(const mp__hazard_record *record)
{
    return record->state / MP__HAZARD_OPEN;
}

/* The next slot is taken: what stands in it is held until the section ends. The owner's thread. */
static inline void mp__hazard_take(mp__hazard_record *record)
{
    record->state++;
}

/* The slot that is taken as the @used-th. As an address in bytes, or the compiler adds to the
 * number first. */
static inline _Atomic(void *) *mp__hazard_slot(mp__hazard_record *record, size_t used)
{
    char *at = (char *)record + used * sizeof(record->slots[0]);

    return (_Atomic(void *) *)(at + offsetof(mp__hazard_record, slots));
}

/* The section saw so many more @hits than it took slots for, and so many @misses; both may be below
 * 0. The owner's thread. */
static inline void mp__hazard_count(mp__hazard_record *record, int64_t hits, int64_t misses)
{
    record->counted_from -= hits;
    record->misses += misses;
    record->state |= MP__HAZARD_ODD;
}

/* What the section sees from here on is counted for @counters; what it saw is added to those
 * before. The owner's thread. */
void mp__hazard_counts_begin(mp__hazard_record *record, _Atomic uint64_t *counters);

/* Between the announcement and the second look. */
static inline void mp__hazard_barrier(const mp__hazard_record *record)
{
    if (__builtin_expect(record->fence, 0))
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
}

/* The same where that one needs no fence of the owner's, as for record->plain_table. */
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
    record->state--;
    mp__hazard_count(record, 1, 0); /* a hit all the same */
    atomic_store_explicit(mp__hazard_slot(record, mp__hazard_used(record)), NULL,
                          memory_order_release);
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
