/* SPDX-License-Identifier: Apache-2.0 */
/* The one who writes: takes the queue, appends it at once, syncs each second, seals full segments
 * and lets room be made. What cannot be written stays readable in memory and is tried again, in
 * another segment, 1 s to 30 s later. */
#include "cache/l3_internal.h"

#include <errno.h>
#include <stdio.h>

enum { RETRY_FIRST_S = 1, RETRY_LAST_S = 30 };
#define SECOND_NS 1000000000u

void mp__l3_trouble_set(mp__l3 *l3, int error, const char *what)
{
    (void)pthread_mutex_lock(&l3->trouble_lock);
    l3->trouble = error;
    if (error)
        (void)snprintf(l3->trouble_text, sizeof(l3->trouble_text), "%.300s", what);
    (void)pthread_mutex_unlock(&l3->trouble_lock);
    if (error)
        mp__l3_count(&l3->errors, 1);
}

/* ---- syncing ---- */

/* It is on disk for certain: let the index point there, and give the memory back. */
static void settle(mp__l3 *l3, mp__l3_pending *pending)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, pending->hash);
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, pending->hash);
    if (slot && mp__l3_slot_pending(slot) == pending) {
        mp__l3_index_need(&l3->index, pending->place);
        mp__l3_index_release(&l3->index, pending->instead_of);
        slot->tag &= ~(uint64_t)MP__L3_SLOT_PENDING;
        slot->at = pending->place;
    }
    (void)pthread_mutex_unlock(&shard->lock);
    mp__l3_pending_free(l3, pending);
}

/* Sync @segment, the active one. After a failed fsync nothing that was not synced before is
 * certain, and a second fsync would say that it is (Rebello et al., "Can applications recover from
 * fsync failures?", ATC 2020): what was written since the last one is still in memory and goes into
 * the queue again, for another segment. */
static int sync_segment(mp__l3 *l3, mp__l3_segment *segment)
{
    int rc = mp__file_sync(segment->file);

    if (rc == 0 && mp__l3_segment_is_gone(l3, segment))
        rc = -ENOENT; /* what is in it is nowhere after a restart */
    l3->last_sync_ns = mp__env_now_ns(l3->env);
    l3->dirty = false;
    if (rc) {
        mp__l3_queue_return(l3, l3->written);
        l3->active = NULL;
    }
    for (mp__l3_pending *next, *p = rc ? NULL : l3->written; p; p = next) {
        next = p->next;
        settle(l3, p);
    }
    l3->written = NULL;
    l3->written_last = &l3->written;
    l3->written_bytes = 0;
    return rc;
}

/* ---- writing ---- */

/* After a failed write nobody knows how much of it arrived. On a full disk the segment can go on
 * once what arrived is cut off; else it is left without a footer: a restart looks at each of its
 * records. */
static void abandon(mp__l3 *l3, int error)
{
    mp__l3_segment *segment = l3->active;
    int rc = mp__file_truncate(segment->file, segment->size);
    mp__stat stat;

    if (rc == 0 && (error == -ENOSPC || error == -EDQUOT))
        return;
    if (rc && mp__file_stat(segment->file, &stat) == 0 && stat.size > segment->size) {
        mp__l3_count(&l3->bytes, stat.size - segment->size);
        segment->size = stat.size;
    }
    if (l3->dirty)
        (void)sync_segment(l3, segment);
    l3->active = NULL;
}

static uint64_t room_in(const mp__l3 *l3, const mp__l3_segment *segment)
{
    uint64_t used = segment->size + mp__l3_footer_size(segment->row_count);

    return used < l3->segment_bytes ? l3->segment_bytes - used : 0;
}

/* Say that all so far is synced, for the process after us. */
static void write_mark(mp__l3 *l3)
{
    mp__l3_segment *segment = l3->active;
    unsigned char mark[MP__L3_MARK_SIZE];
    int rc;

    if (room_in(l3, segment) < sizeof(mark))
        return;
    mp__l3_mark_write(&segment->seed, (uint32_t)segment->size, mark);
    rc = mp__file_pwrite(segment->file, mark, sizeof(mark), segment->size);
    if (rc) {
        abandon(l3, rc);
        return;
    }
    segment->size += sizeof(mark);
    mp__l3_count(&l3->bytes, sizeof(mark));
}

int mp__l3_sync_active(mp__l3 *l3)
{
    int rc;

    if (!l3->dirty || !l3->active) {
        l3->last_sync_ns = mp__env_now_ns(l3->env);
        return 0;
    }
    rc = sync_segment(l3, l3->active);
    if (rc == 0)
        write_mark(l3);
    return rc;
}

int mp__l3_run_reserve(mp__l3 *l3, size_t size)
{
    unsigned char *run;

    if (size <= l3->run_capacity)
        return 0;
    size = size < MP__L3_RUN_BYTES ? MP__L3_RUN_BYTES : size;
    run = mp__realloc(l3->run, size);
    if (!run)
        return MP_ENOMEM;
    l3->run = run;
    l3->run_capacity = size;
    return 0;
}

int mp__l3_run_write(mp__l3 *l3, size_t bytes)
{
    mp__l3_segment *segment = l3->active;
    int rc = mp__file_pwrite(segment->file, l3->run, bytes, segment->size);

    if (rc) {
        abandon(l3, rc);
        return rc;
    }
    segment->size += bytes;
    mp__l3_count(&l3->bytes, bytes);
    l3->dirty = true;
    l3->dropped_in_vain = false;
    return 0;
}

/* ---- appending ---- */

/* The active segment is full: its last sync, then its footer. */
static int seal_active(mp__l3 *l3)
{
    mp__l3_segment *segment = l3->active;
    int rc = mp__l3_sync_active(l3);

    if (rc == 0 && l3->active && mp__l3_segment_footer(l3, segment) == 0)
        mp__l3_segment_forget_rows(segment);
    l3->active = NULL;
    return rc;
}

/* An active segment with room for a record of @size and its row in the footer. */
int mp__l3_active_with_room(mp__l3 *l3, uint32_t size)
{
    uint64_t need = (uint64_t)size + MP__L3_ROW;
    int rc = 0;

    while (rc == 0 && (!l3->active || room_in(l3, l3->active) < need)) {
        if (l3->active && (rc = seal_active(l3)) != 0)
            break;
        rc = mp__l3_room_before(l3);
        if (rc == 0)
            rc = mp__l3_segment_create(l3, &l3->active);
        if (rc == 0)
            rc = mp__l3_room_after(l3, need);
        mp__l3_fullness_note(l3);
    }
    return rc;
}

/* Put the records of a list together as they will stand in the segment. */
static int gather(mp__l3 *l3, mp__l3_pending *first, size_t *ret_bytes)
{
    mp__l3_segment *segment = l3->active;
    size_t bytes = 0, count = 0;

    for (mp__l3_pending *p = first; p; p = p->next, count++)
        bytes += p->size;
    if (mp__l3_run_reserve(l3, bytes) != 0 || mp__l3_segment_reserve(segment, count) != 0)
        return MP_ENOMEM;
    bytes = 0;
    for (mp__l3_pending *p = first; p; p = p->next) {
        memcpy(l3->run + bytes, p->bytes, p->size);
        mp__l3_record_seal(l3->run + bytes, &segment->seed, (uint32_t)(segment->size + bytes),
                           p->flags);
        bytes += p->size;
    }
    *ret_bytes = bytes;
    return 0;
}

/* They stand in the file from @offset on. Memory keeps them until the next sync. */
static void note_written(mp__l3 *l3, mp__l3_pending *list, uint32_t offset)
{
    mp__l3_segment *segment = l3->active;

    *l3->written_last = list;
    for (mp__l3_pending *p = list; p; p = p->next) {
        mp__l3_row row = {p->hash, p->revision, offset, p->size, p->kind, p->flags};

        p->place = mp__l3_place_make(segment->id, offset, p->size);
        mp__l3_segment_add_row(segment, &row);
        mp__l3_count(&l3->appends, p->kind != MP__L3_GONE);
        offset += p->size;
        l3->written_bytes += p->size;
        l3->written_last = &p->next;
    }
}

/* One write of as many records as fit. */
static int append_run(mp__l3 *l3, uint32_t first_size)
{
    mp__l3_segment *segment;
    mp__l3_pending *list;
    size_t bytes;
    uint64_t at;
    int rc = mp__l3_active_with_room(l3, first_size);

    if (rc)
        return rc;
    segment = l3->active;
    list = mp__l3_queue_take(l3, MP__L3_RUN_BYTES, room_in(l3, segment));
    if (!list)
        return 0; /* the first was replaced by a larger one meanwhile */
    at = segment->size;
    rc = gather(l3, list, &bytes);
    if (rc == 0)
        rc = mp__l3_run_write(l3, bytes);
    if (rc) {
        mp__l3_queue_return(l3, list);
        return rc;
    }
    note_written(l3, list, (uint32_t)at);
    return l3->written_bytes > l3->pending_bytes_max / 4 ? mp__l3_sync_active(l3) : 0;
}

/* ---- the batch ---- */

static void failed(mp__l3 *l3, int error, const mp__diag *diag)
{
    uint64_t longest = (uint64_t)RETRY_LAST_S * SECOND_NS;
    char text[512];

    (void)snprintf(text, sizeof(text), "L3 in %.150s takes no writes: %.300s", l3->dir,
                   diag && diag->text[0] ? diag->text : mp_strerror(error));
    mp__l3_trouble_set(l3, error, text);
    l3->retry_ns = l3->retry_ns ? l3->retry_ns * 2 : (uint64_t)RETRY_FIRST_S * SECOND_NS;
    l3->retry_ns = l3->retry_ns < longest ? l3->retry_ns : longest;
    l3->retry_at_ns = mp__env_now_ns(l3->env) + l3->retry_ns;
    atomic_store(&l3->waiting, true);
}

void mp__l3_open_failed(mp__l3 *l3, int error)
{
    failed(l3, error, NULL);
}

/* The disk is full: what is dead makes room, or else what is oldest, once. If somebody else takes
 * that room, nothing more is given up for it. */
static bool made_room(mp__l3 *l3, int error)
{
    if ((error != -ENOSPC && error != -EDQUOT) || l3->dropped_in_vain || !l3->opened)
        return false;
    if (mp__l3_drop_dead(l3))
        return true;
    l3->dropped_in_vain = mp__l3_drop_oldest(l3) == 0;
    return l3->dropped_in_vain;
}

static int write_queue(mp__l3 *l3)
{
    uint32_t size;
    int rc = 0;

    while (rc == 0 && (size = mp__l3_queue_next_size(l3)) != 0) {
        rc = append_run(l3, size);
        if (rc && made_room(l3, rc))
            rc = append_run(l3, size);
    }
    return rc;
}

static int write_all(mp__l3 *l3, bool sync)
{
    mp__diag diag = {0};
    int rc = 0;

    if (!l3->opened)
        rc = mp__l3_recover(l3, &diag);
    if (rc == 0 && !l3->tidied) {
        rc = mp__l3_load_all(l3);
        if (rc == MP_ECANCELED)
            return rc;
        if (rc == 0) {
            mp__l3_fullness_note(l3);
            rc = mp__l3_after_open(l3);
        }
        l3->tidied = rc == 0;
    }
    if (rc == 0)
        rc = mp__l3_shrink(l3); /* the bound may have been lowered */
    if (rc == 0)
        rc = write_queue(l3);
    if (rc == 0 && (sync || l3->hold))
        rc = mp__l3_sync_active(l3);
    if (rc) {
        failed(l3, rc, &diag);
        return rc;
    }
    l3->hold = false; /* what was queued before us is synced */
    if (!l3->sealed) {
        mp__l3_seal_leftovers(l3);
        l3->sealed = true;
    }
    if (l3->retry_ns) {
        l3->retry_ns = 0;
        atomic_store(&l3->waiting, false);
        mp__l3_trouble_set(l3, 0, "");
    }
    return 0;
}

int mp__l3_write_all(mp__l3 *l3, bool sync)
{
    int rc;

    (void)pthread_mutex_lock(&l3->writing);
    rc = write_all(l3, sync);
    (void)pthread_mutex_unlock(&l3->writing);
    return rc;
}

/* A segment that is not as this process would have written it: when there is nothing else to do,
 * and each second where there always is. */
static void rewrite(mp__l3 *l3, uint64_t now, bool is_idle)
{
    int rc;

    if (!atomic_load(&l3->to_rewrite) || (!is_idle && now - l3->last_rewrite_ns < SECOND_NS))
        return;
    l3->last_rewrite_ns = now;
    rc = mp__l3_rewrite_one(l3);
    if (rc)
        failed(l3, rc, NULL);
}

void mp__l3_write_batch(void *context, mp__task *first)
{
    mp__l3 *l3 = context;
    uint64_t now;

    if (first)
        mp__l3_queue_kicked(l3);
    (void)pthread_mutex_lock(&l3->writing); /* a flush may be at it, and moves the times */
    now = mp__env_now_ns(l3->env);
    if ((!l3->retry_ns || now >= l3->retry_at_ns) && /* else the idle call comes back */
        write_all(l3, now - l3->last_sync_ns >= l3->sync_ns) == 0)
        rewrite(l3, now, !first);
    (void)pthread_mutex_unlock(&l3->writing);
}
