/* SPDX-License-Identifier: Apache-2.0 */
/* What L3's files share. Lock order: writing, then a shard, then queue. */
#ifndef MP_CACHE_L3_INTERNAL_H
#define MP_CACHE_L3_INTERNAL_H

#include "cache/l3.h"
#include "cache/l3_index.h"
#include "core/alloc.h"
#include "core/hash.h"

struct mp__l3 {
    mp_env *env;
    char *dir;
    uint64_t bytes_max, segment_bytes, sync_ns, pending_bytes_max;
    unsigned char folder[16]; /* id of the folder */
    mp__hash_key hash_key;
    mp__l3_index index;

    pthread_mutex_t queue_lock; /* over the queue */
    mp__l3_pending *queue_first, **queue_last;
    bool kicked;
    mp__task kick;
    _Atomic uint64_t pending_bytes;

    pthread_mutex_t writing; /* one writes at a time: the writer thread, or a flush */
    mp__file *lock_file;
    mp__l3_segment *segments, *active; /* oldest first; active is the last of them or NULL */
    mp__l3_pending *backlog;           /* could not be written yet, oldest first */
    uint64_t next_number;
    uint64_t last_sync_ns, retry_at_ns, retry_ns;
    bool dirty;
    unsigned char *run; /* records put together for one write */
    size_t run_capacity;

    mp__worker *writer, *reader;

    pthread_mutex_t trouble_lock;
    int trouble;
    char trouble_text[256];

    _Atomic uint64_t hits, misses, appends, forgotten, corrupt, errors, dropped;
    _Atomic uint64_t bytes, segment_count, revision_max, recovered, recovery_ns;
};

static inline void mp__l3_count(_Atomic uint64_t *counter, uint64_t n)
{
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* l3_segment.c; the writer's, but ref and unref */
MP_MUST_USE int mp__l3_segment_create(mp__l3 *l3, mp__l3_segment **ret_segment);
mp__l3_segment *mp__l3_segment_new(uint64_t number, mp__file *file); /* NULL: no memory */
MP_MUST_USE int mp__l3_segment_add_row(mp__l3_segment *segment, const mp__l3_row *row);
MP_MUST_USE int mp__l3_segment_seal(mp__l3 *l3, mp__l3_segment *segment);
void mp__l3_segment_path(const mp__l3 *l3, uint64_t number, char *path, size_t capacity);
static inline void mp__l3_segment_ref(mp__l3_segment *segment)
{
    (void)atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
}
void mp__l3_segment_unref(mp__l3_segment *segment);
/* Add at the end of the list. */
void mp__l3_segment_append(mp__l3 *l3, mp__l3_segment *segment);

/* l3_recover.c: read the folder into index and list. */
MP_MUST_USE int mp__l3_recover(mp__l3 *l3, mp__diag *diag);

/* l3_writer.c */
void mp__l3_write_batch(void *l3, mp__task *first); /* the writer's run_batch */
MP_MUST_USE int mp__l3_write_all(mp__l3 *l3, bool sync);
void mp__l3_queue_add(mp__l3 *l3, mp__l3_pending *pending);
/* A queue entry holding @record; NULL: no memory. */
mp__l3_pending *mp__l3_pending_new(uint64_t hash, const mp__record *record);

void mp__l3_trouble_set(mp__l3 *l3, int error, const char *what);

#endif
