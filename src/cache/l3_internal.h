/* SPDX-License-Identifier: Apache-2.0 */
/* What L3's files share.
 *
 *   l3.c          the doors: open, put, get, each, flush
 *   l3_queue.c    records on their way to disk
 *   l3_writer.c   appends and syncs; what happens when the disk fails
 *   l3_reclaim.c  makes room: moves what lives out of a segment and gives it up
 *   l3_segment.c  segments as files
 *   l3_recover.c  from a folder to a list of segments
 *   l3_load.c     from their footers to an index, shard by shard
 *   l3_key.c      keys, and sealing with them
 *   l3_scrub.c    reads everything again from time to time
 *   l3_admit.c    what is kept when there is hardly room
 *   l3_folder.c   lock, id, list of files
 *   l3_index.c    where the newest record of each address is
 *   l3_format.c   bytes
 *
 * Threads: anybody puts and gets. All that writes, opens or deletes files does so under `writing`:
 * the thread "mp-l3", or whoever calls mp__l3_flush(). Lock order: writing, then load.lock, then a
 * shard, then queue_lock; no two shards at once. */
#ifndef MP_CACHE_L3_INTERNAL_H
#define MP_CACHE_L3_INTERNAL_H

#include "cache/l3.h"
#include "cache/l3_index.h"
#include "core/alloc.h"
#include "core/hasher.h"

#define MP__L3_PATH_MAX 4352             /* the folder's path, and a name */
enum { MP__L3_RUN_BYTES = 1024 * 1024 }; /* most bytes of one write, unless one record is larger */

/* Where the scrubber is; its thread's. */
typedef struct mp__l3_scrub {
    uint64_t number;         /* of the segment under way or the last one; 0: before the first */
    mp__l3_segment *segment; /* referenced, or NULL */
    mp__l3_row *rows;
    size_t count, at;
    int64_t credit;   /* bytes that may be read now; less than 0: read before they were allowed */
    uint64_t last_ns; /* when that was reckoned */
    bool is_partial;  /* the pass began in the middle */
} mp__l3_scrub;

/* How often addresses were filled lately: see l3_admit.c. */
enum { MP__L3_SKETCH_BYTES = 1 << 16 };
typedef struct mp__l3_sketch {
    _Atomic uint8_t counts[MP__L3_SKETCH_BYTES];
    _Atomic uint32_t added;
} mp__l3_sketch;

/* A segment whose rows are not all in the index yet. */
typedef struct mp__l3_source {
    mp__l3_segment *segment; /* of the list: none leaves it before everything is loaded */
    mp__l3_footer footer;
    mp__l3_directory directory; /* its sums only where the rows are in the file */
    mp__l3_row *rows;           /* by parts; NULL: in the file */
} mp__l3_source;

/* What l3_load.c has to do. */
typedef struct mp__l3_load {
    pthread_mutex_t lock; /* over all, once it has begun; before that `writing` is */
    pthread_cond_t idle;  /* nobody waits for one shard any more */
    _Atomic unsigned waiting;
    mp__l3_source *sources;
    size_t count, capacity;
    uint64_t rows;
    bool is_lazy;          /* also what is small waits for the first who asks, or the writer */
    _Atomic unsigned left; /* shards; 0: the index is whole */
    _Atomic bool stop;     /* nobody needs the rest any more */
} mp__l3_load;

struct mp__l3 {
    mp_env *env;
    char *dir;
    _Atomic uint64_t bytes_max;
    uint64_t segment_bytes, sync_ns, pending_bytes_max;
    const mp__priorities *priorities; /* or NULL */
    const mp__l3_keys *keys;
    const mp__l3_key *key; /* that seals what is written; NULL: none does */
    mp__hash_key secret; /* of this process; the folder's, unless that could not be read in time */
    mp__hash_key hash_key; /* made of it: of hashes and sums */
    mp__hasher hasher;     /* of that */
    bool hashes_fast;
    mp__l3_index index;
    mp__l3_load load;

    pthread_mutex_t queue_lock; /* over the queue */
    mp__l3_pending *queue_first, *queue_last;
    bool kicked;          /* the kick is on its way to the writer */
    _Atomic bool waiting; /* the writer tries again later, whatever comes */
    mp__task kick;
    _Atomic uint64_t pending_bytes;

    pthread_mutex_t writing; /* over all down to the empty line */
    bool opened;             /* the folder is locked and was read */
    bool tidied;             /* mp__l3_after_open() is through */
    bool sealed;             /* mp__l3_seal_leftovers() is through */
    unsigned tidy_tries;
    bool is_shrinking; /* a segment is made to move into, which may take the room kept free */
    bool hold;         /* what the process before us did not sync is not yet written again */
    mp__file *lock_file;
    unsigned char folder[16];          /* id of the folder */
    mp__l3_segment *segments, *active; /* oldest first; active is the last of them or NULL */
    uint64_t next_number;
    uint64_t last_sync_ns, last_rewrite_ns, retry_at_ns, retry_ns;
    bool dirty;           /* active was written to since its last sync */
    bool names_dirty;     /* files were made or deleted since the folder was synced */
    bool dropped_in_vain; /* room was made on a full disk and somebody else took it */
    mp__l3_pending *written, **written_last; /* into active, since its last sync */
    uint64_t written_bytes;
    unsigned char *run; /* records put together for one write */
    size_t run_capacity;

    mp__worker *writer, *reader;

    mp__worker *scrubber; /* NULL: none */
    uint64_t scrub_rate;
    void (*on_damaged)(void *context, mp_str address, uint64_t hash, uint64_t revision);
    void *context;
    _Atomic bool scrub_stop;
    mp__l3_scrub scrub;

    mp__l3_sketch sketch;
    _Atomic bool nearly_full; /* of what is needed */

    pthread_mutex_t trouble_lock;
    int trouble;
    char trouble_text[512];

    _Atomic uint64_t hits, misses, appends, forgotten, corrupt, errors, dropped;
    _Atomic uint64_t bytes, segment_count, revision_max, recovered, recovery_ns;
    _Atomic uint64_t expired, not_admitted, healed, to_rewrite;
    _Atomic uint64_t scrubbed_bytes, scrub_passes, scrub_damaged;
    _Atomic int64_t scrub_passed_ms;
};

static inline void mp__l3_count(_Atomic uint64_t *counter, uint64_t n)
{
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline void mp__l3_uncount(_Atomic uint64_t *counter, uint64_t n)
{
    (void)atomic_fetch_sub_explicit(counter, n, memory_order_relaxed);
}

void mp__l3_trouble_set(mp__l3 *l3, int error, const char *what);
void mp__l3_revision_note(mp__l3 *l3, uint64_t revision);

/* ---- l3_queue.c ---- */

/* A queue entry holding @record as @kind; its bytes count from now on. NULL: no memory. */
mp__l3_pending *mp__l3_pending_new(mp__l3 *l3, uint64_t hash, const mp__record *record,
                                   unsigned kind, unsigned flags);
/* The same for @size bytes that the caller fills, and the revision. */
mp__l3_pending *mp__l3_pending_alloc(mp__l3 *l3, uint64_t hash, unsigned kind, unsigned flags,
                                     uint32_t size);
void mp__l3_pending_free(mp__l3 *l3, mp__l3_pending *pending);
/* Under the lock of @slot's shard: let @slot point to @pending, and queue that. What stood there is
 * not needed any more once @pending is on disk. @flags of the slot are inherited. */
void mp__l3_slot_take_pending(mp__l3 *l3, mp__l3_shard *shard, mp__l3_slot *slot,
                              mp__l3_pending *pending);
/* Under the lock of @slot's shard: it points to nothing any more; only its kind is left. */
void mp__l3_slot_let_go(mp__l3 *l3, mp__l3_slot *slot);
/* Wake the writer, once after any number of the above. */
void mp__l3_queue_kick(mp__l3 *l3);
/* What is known of the address is lost: GONE takes the place of @slot, in memory, and with
 * @marker (may be NULL; taken) in the log. Under the shard's lock. */
void mp__l3_slot_gone(mp__l3 *l3, mp__l3_shard *shard, mp__l3_slot *slot, uint64_t revision,
                      mp__l3_pending *marker);
/* The record at @place is damaged: it is gone from now on, if it is still what stands there, and
 * after a restart too where its address is known (else empty). Whether something was lost. */
bool mp__l3_leave_out(mp__l3 *l3, mp_str address, uint64_t hash, mp__l3_place place);
void mp__l3_queue_kicked(mp__l3 *l3); /* the writer has the kick */
/* The writer's. The size of the first in the queue, 0 when there is none. */
uint32_t mp__l3_queue_next_size(mp__l3 *l3);
/* Take a list from the head: not more than @bytes_most, unless the first alone is, and nothing that
 * with its row in the footer does not fit into @room. NULL when nothing does. */
mp__l3_pending *mp__l3_queue_take(mp__l3 *l3, uint64_t bytes_most, uint64_t room);
/* What was taken could not be written: put it back before all others. */
void mp__l3_queue_return(mp__l3 *l3, mp__l3_pending *first);

/* ---- l3_segment.c: under `writing`, but ref and unref ---- */

MP_MUST_USE int mp__l3_segment_create(mp__l3 *l3, mp__l3_segment **ret_segment);
/* Owns @file from success on. */
MP_MUST_USE int mp__l3_segment_new(mp__l3 *l3, const mp__l3_seed *seed, mp__file *file,
                                   mp__l3_segment **ret_segment);
MP_MUST_USE int mp__l3_segment_reserve(mp__l3_segment *segment, size_t more);
void mp__l3_segment_add_row(mp__l3_segment *segment, const mp__l3_row *row); /* reserved before */
/* Write the footer, which says that all before it is synced. Where that fails nothing of it stays;
 * it is not synced itself, since without it a restart is slower and no more. */
MP_MUST_USE int mp__l3_segment_footer(mp__l3 *l3, mp__l3_segment *segment);
void mp__l3_segment_forget_rows(mp__l3_segment *segment); /* its footer has them */
/* All of @size bytes at @offset. MP_ECORRUPT: the file is shorter than it was. */
MP_MUST_USE int mp__l3_segment_read(mp__l3_segment *segment, void *data, size_t size,
                                    uint64_t offset);
/* Where its footer is: MP_ECORRUPT when there is none. */
MP_MUST_USE int mp__l3_footer_find(mp__l3_segment *segment, mp__l3_footer *ret_footer);
/* The rows of @segment, in the order of the log: from memory, its footer, or by a scan. The
 * caller's to mp__free(). */
MP_MUST_USE int mp__l3_segment_rows(mp__l3 *l3, mp__l3_segment *segment, mp__l3_row **ret_rows,
                                    size_t *ret_count);
/* The same for a file with a footer: MP_ECORRUPT when it has none that holds. */
MP_MUST_USE int mp__l3_rows_from_footer(mp__l3_segment *segment, mp__l3_row **ret_rows,
                                        size_t *ret_count);
void mp__l3_rows_in_order(mp__l3_row *rows, size_t count); /* of the log */
typedef struct mp__l3_scan {
    uint64_t end;   /* of the last good record */
    size_t damaged; /* places before it */
    size_t certain; /* rows that were synced for sure */
} mp__l3_scan;
/* Look at each record. */
MP_MUST_USE int mp__l3_rows_from_scan(mp__l3 *l3, mp__l3_segment *segment, mp__l3_row **ret_rows,
                                      size_t *ret_count, mp__l3_scan *ret_scan);
void mp__l3_segment_path(const mp__l3 *l3, uint64_t number, char path[MP__L3_PATH_MAX]);
/* Somebody deleted its file: it can be read until it is closed, and is not there after that. */
bool mp__l3_segment_is_gone(const mp__l3 *l3, const mp__l3_segment *segment);
static inline void mp__l3_segment_ref(mp__l3_segment *segment)
{
    (void)atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
}
void mp__l3_segment_unref(mp__l3_segment *segment);
void mp__l3_segment_append(mp__l3 *l3, mp__l3_segment *segment); /* to the list */
/* Delete its file, then take it from list and index. Nothing in the index points to it. */
MP_MUST_USE int mp__l3_segment_delete(mp__l3 *l3, mp__l3_segment *segment);
/* What was deleted so far will not be there again after a crash. */
MP_MUST_USE int mp__l3_names_sync(mp__l3 *l3);

/* ---- l3_folder.c: under `writing` ---- */

typedef struct mp__l3_numbers {
    uint64_t *items;
    size_t count, capacity;
} mp__l3_numbers;

/* Make and lock the folder. */
MP_MUST_USE int mp__l3_folder_lock(mp__l3 *l3, mp__diag *diag);
/* The same, and its id, where somebody deleted it under us. */
MP_MUST_USE int mp__l3_folder_again(mp__l3 *l3);
/* The numbers of the segments in it, ascending; those set aside are counted and noted. */
MP_MUST_USE int mp__l3_folder_list(mp__l3 *l3, mp__l3_numbers *ret_numbers);
/* Its id, and its secret unless @l3 has one already. */
MP_MUST_USE int mp__l3_folder_id(mp__l3 *l3, const mp__l3_numbers *numbers, mp__diag *diag);
void mp__l3_set_secret(mp__l3 *l3, mp__hash_key secret);
/* Rename a file that is no segment of ours to *.bad. */
void mp__l3_folder_set_aside(mp__l3 *l3, uint64_t number);

/* ---- l3_load.c ---- */

/* Under `writing`, while the folder is read: the rows of @segment go into the index later. Those of
 * one without a footer are kept in it. */
MP_MUST_USE int mp__l3_load_add(mp__l3 *l3, mp__l3_segment *segment);
void mp__l3_load_forget(mp__l3 *l3); /* nothing goes into the index later */
/* From here on shards are brought in. At once if they are small. */
void mp__l3_load_begin(mp__l3 *l3);
/* Bring the shard in, or all that are not yet. May wait for the disk; no lock of L3 is held but
 * `writing`. MP_ENOMEM, -errno: not now. MP_ECANCELED: L3 is being closed. */
MP_MUST_USE int mp__l3_load_shard(mp__l3 *l3, unsigned number);
MP_MUST_USE int mp__l3_load_all(mp__l3 *l3);
static inline bool mp__l3_is_loaded(mp__l3 *l3)
{
    return atomic_load_explicit(&l3->load.left, memory_order_acquire) == 0;
}

/* ---- l3_recover.c: under `writing` ---- */

/* Lock the folder, read it into list and sources. On failure nothing of it is kept but the lock. */
MP_MUST_USE int mp__l3_recover(mp__l3 *l3, mp__diag *diag);
/* What need not be done before the first read: what the process before us may not have synced is
 * queued again, and a bound that is lower than it was is kept. */
MP_MUST_USE int mp__l3_after_open(mp__l3 *l3);
/* Once that is synced: footers for the segments that a crash left without. */
void mp__l3_seal_leftovers(mp__l3 *l3);

/* ---- l3_writer.c ---- */

void mp__l3_write_batch(void *l3, mp__task *first); /* the writer's run_batch */
MP_MUST_USE int mp__l3_write_all(mp__l3 *l3, bool sync);
void mp__l3_open_failed(mp__l3 *l3, int error); /* the writer will try to */
/* Under `writing`: bytes for the run buffer. */
MP_MUST_USE int mp__l3_run_reserve(mp__l3 *l3, size_t size);
/* Under `writing`: write the run at the end of the active segment; on failure that is given up. */
MP_MUST_USE int mp__l3_run_write(mp__l3 *l3, size_t bytes);
MP_MUST_USE int mp__l3_sync_active(mp__l3 *l3);
/* Under `writing`: an active segment with room for a record of @size and its row in the footer. */
MP_MUST_USE int mp__l3_active_with_room(mp__l3 *l3, uint32_t size);

/* ---- l3_scrub.c ---- */

MP_MUST_USE int mp__l3_scrub_start(mp__l3 *l3);
void mp__l3_scrub_batch(void *l3, mp__task *first); /* the scrubber's run_batch */

/* ---- l3_admit.c: under `writing` ---- */

/* Look anew at how full it is of what is needed: when a segment is made. */
void mp__l3_fullness_note(mp__l3 *l3);

/* ---- l3_reclaim.c: under `writing` ---- */

/* Before a segment is made: no more bytes than the bound, with it. */
MP_MUST_USE int mp__l3_room_before(mp__l3 *l3);
/* After it was made: room for the one after it, by moving what lives out of old segments into the
 * active one, of which @spare bytes stay free. */
MP_MUST_USE int mp__l3_room_after(mp__l3 *l3, uint64_t spare);
/* The bound was higher once: room, as above, of what is there. */
MP_MUST_USE int mp__l3_shrink(mp__l3 *l3);
/* Of the segments that are not sealed with the first key, or hashed with another secret, move what
 * lives out of the oldest into the active one, once in a while. */
MP_MUST_USE int mp__l3_rewrite_one(mp__l3 *l3);
void mp__l3_rewrite_note(mp__l3 *l3); /* count them */
/* Delete segments in which nothing is needed; whether there were any. */
bool mp__l3_drop_dead(mp__l3 *l3);
/* Forget the oldest segment with all in it. -ENOENT when there is none but the active. */
MP_MUST_USE int mp__l3_drop_oldest(mp__l3 *l3);

#endif
