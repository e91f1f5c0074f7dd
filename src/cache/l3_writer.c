/* SPDX-License-Identifier: Apache-2.0 */
/* The one who writes: takes the queue, appends it at once, syncs each second, seals full segments
 * and makes room. What cannot be written stays readable in memory and is tried again.
 *
 * Room is made from the oldest segment only, whatever its share of dead records: a newer one may
 * hold the successor or the tombstone of what an older one still has, and a restart would bring the
 * old value back. */
#include "cache/l3_internal.h"

#include <errno.h>
#include <stdio.h>

enum {
    RUN_BYTES = 1024 * 1024, /* most bytes of one write, unless one record is larger */
    RETRY_FIRST_S = 1,
    RETRY_LAST_S = 30,
};
#define SECOND_NS 1000000000u

void mp__l3_trouble_set(mp__l3 *l3, int error, const char *what)
{
    (void)pthread_mutex_lock(&l3->trouble_lock);
    l3->trouble = error;
    if (error)
        (void)snprintf(l3->trouble_text, sizeof(l3->trouble_text), "%s in %.150s: %s", what,
                       l3->dir, mp_strerror(error));
    (void)pthread_mutex_unlock(&l3->trouble_lock);
    if (error)
        mp__l3_count(&l3->errors, 1);
}

/* ---- the queue ---- */

mp__l3_pending *mp__l3_pending_new(uint64_t hash, const mp__record *record)
{
    size_t size = mp__l3_record_size(record);
    mp__l3_pending *pending = size ? mp__malloc(sizeof(*pending) + size) : NULL;

    if (!pending)
        return NULL;
    *pending = (mp__l3_pending){
        .hash = hash,
        .revision = record->revision,
        .size = (uint32_t)size,
        .kind = (uint8_t)record->kind,
    };
    mp__l3_record_write(record, pending->bytes);
    return pending;
}

void mp__l3_queue_add(mp__l3 *l3, mp__l3_pending *pending)
{
    bool kick;

    pending->next = NULL;
    mp__l3_count(&l3->pending_bytes, pending->size);
    (void)pthread_mutex_lock(&l3->queue_lock);
    *l3->queue_last = pending;
    l3->queue_last = &pending->next;
    kick = !l3->kicked;
    l3->kicked = true;
    (void)pthread_mutex_unlock(&l3->queue_lock);
    if (kick && l3->writer)
        mp__worker_post(l3->writer, &l3->kick);
}

static void queue_take(mp__l3 *l3)
{
    mp__l3_pending **last = &l3->backlog;

    while (*last)
        last = &(*last)->next;
    (void)pthread_mutex_lock(&l3->queue_lock);
    *last = l3->queue_first;
    l3->queue_first = NULL;
    l3->queue_last = &l3->queue_first;
    l3->kicked = false;
    (void)pthread_mutex_unlock(&l3->queue_lock);
}

/* Whether the index still points to @pending; otherwise something newer took its place. */
static bool is_wanted(mp__l3 *l3, const mp__l3_pending *pending)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, pending->hash);
    mp__l3_slot *slot;
    bool wanted;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, pending->hash);
    wanted = slot && slot->pending == pending;
    (void)pthread_mutex_unlock(&shard->lock);
    return wanted;
}

static void pending_free(mp__l3 *l3, mp__l3_pending *pending)
{
    (void)atomic_fetch_sub_explicit(&l3->pending_bytes, pending->size, memory_order_relaxed);
    (void)mp__free(pending);
}

/* It is on disk now: let the index point there, and give the memory back. */
static void settle(mp__l3 *l3, mp__l3_pending *pending, mp__l3_segment *segment,
                   const mp__l3_row *row)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, pending->hash);
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, pending->hash);
    if (slot && slot->pending == pending)
        mp__l3_slot_set_disk(slot, segment, row);
    (void)pthread_mutex_unlock(&shard->lock);
    if (!pending->readmitted)
        mp__l3_count(&l3->appends, 1);
    pending_free(l3, pending);
}

/* ---- making room ---- */

/* Bring the record that @row names, if it is still the newest, back into the queue. */
static bool readmit(mp__l3 *l3, mp__l3_segment *segment, const mp__l3_row *row, bool only_used)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, row->hash);
    mp__l3_pending *pending = mp__malloc(sizeof(*pending) + row->size);
    mp__l3_slot *slot;
    mp__record record;
    size_t size;
    bool taken = false;

    if (!pending)
        return false;
    *pending = (mp__l3_pending){.hash = row->hash,
                                .revision = row->revision,
                                .size = row->size,
                                .kind = row->kind,
                                .readmitted = true};
    if (mp__file_pread(segment->file, pending->bytes, row->size, row->offset) == row->size &&
        mp__l3_record_read(pending->bytes, row->size, &record, &size) == 0) {
        (void)pthread_mutex_lock(&shard->lock);
        slot = mp__l3_shard_find(shard, row->hash);
        if (slot && slot->segment == segment && slot->offset == row->offset &&
            (slot->used || !only_used)) {
            mp__l3_slot_set_pending(slot, pending);
            slot->used = 0;
            taken = true;
        }
        (void)pthread_mutex_unlock(&shard->lock);
    }
    if (taken)
        mp__l3_queue_add(l3, pending);
    else
        (void)mp__free(pending);
    return taken;
}

static bool is_live(mp__l3 *l3, const mp__l3_segment *segment, const mp__l3_row *row)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, row->hash);
    mp__l3_slot *slot;
    bool live;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, row->hash);
    live = slot && slot->segment == segment && slot->offset == row->offset;
    (void)pthread_mutex_unlock(&shard->lock);
    return live;
}

static void forget(mp__l3 *l3, const mp__l3_segment *segment, const mp__l3_row *row)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, row->hash);
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, row->hash);
    if (slot && slot->segment == segment && slot->offset == row->offset) {
        if (slot->kind == MP__RECORD_VALUE)
            mp__l3_count(&l3->forgotten, 1);
        mp__l3_shard_remove(shard, slot);
    }
    (void)pthread_mutex_unlock(&shard->lock);
}

static void segment_delete(mp__l3 *l3, mp__l3_segment *segment)
{
    mp__l3_segment **link = &l3->segments;
    char path[4200];

    while (*link != segment)
        link = &(*link)->next;
    *link = segment->next;
    mp__l3_segment_path(l3, segment->number, path, sizeof(path));
    (void)mp__env_unlink(l3->env, path);
    (void)atomic_fetch_sub_explicit(&l3->bytes, segment->size, memory_order_relaxed);
    (void)atomic_fetch_sub_explicit(&l3->segment_count, 1, memory_order_relaxed);
    mp__l3_segment_unref(segment);
}

/* Give up the oldest segment. What was used since the last look comes back at the head, up to half
 * a segment; where most of it is dead, all that lives comes back. */
static void drop_oldest(mp__l3 *l3)
{
    mp__l3_segment *oldest = l3->segments;
    uint64_t live = atomic_load_explicit(&oldest->live_bytes, memory_order_relaxed);
    uint64_t budget = l3->segment_bytes / 2, back = 0;
    bool only_used = live > budget;

    for (size_t i = 0; i < oldest->row_count; i++) {
        const mp__l3_row *row = &oldest->rows[i];

        if (!is_live(l3, oldest, row))
            continue;
        if (back + row->size <= budget && readmit(l3, oldest, row, only_used))
            back += row->size;
        else
            forget(l3, oldest, row);
    }
    segment_delete(l3, oldest);
}

/* Segments in which nothing lives are given back whatever their age: all they had was replaced by
 * what stands in younger ones. */
static void delete_dead(mp__l3 *l3)
{
    mp__l3_segment *next;

    for (mp__l3_segment *s = l3->segments; s; s = next) {
        next = s->next;
        if (s->sealed && s != l3->active &&
            atomic_load_explicit(&s->live_bytes, memory_order_relaxed) == 0)
            segment_delete(l3, s);
    }
}

/* ---- appending ---- */

static uint64_t footer_bytes(const mp__l3_segment *segment, size_t more)
{
    return (segment->row_count + more) * MP__L3_ROW + MP__L3_TRAILER;
}

/* An active segment with room for a record of @size, its footer included. */
static int active_with_room(mp__l3 *l3, uint32_t size)
{
    int rc;

    if (l3->active && (l3->active->size + size + footer_bytes(l3->active, 1) <= l3->segment_bytes ||
                       l3->active->row_count == 0))
        return 0;
    if (l3->active) {
        rc = mp__l3_segment_seal(l3, l3->active);
        if (rc)
            return rc;
        l3->active = NULL;
        l3->dirty = false;
    }
    delete_dead(l3);
    while (l3->segments && l3->segments->next &&
           atomic_load(&l3->bytes) + l3->segment_bytes > l3->bytes_max)
        drop_oldest(l3);
    rc = mp__l3_segment_create(l3, &l3->active);
    return rc;
}

static int run_reserve(mp__l3 *l3, size_t size)
{
    unsigned char *run;

    if (size <= l3->run_capacity)
        return 0;
    run = mp__realloc(l3->run, size);
    if (!run)
        return MP_ENOMEM;
    l3->run = run;
    l3->run_capacity = size;
    return 0;
}

/* Put records from the head of the backlog together as far as one write and the segment go. */
static int gather_run(mp__l3 *l3, size_t *ret_bytes, size_t *ret_count)
{
    mp__l3_segment *segment = l3->active;
    size_t bytes = 0, count = 0;

    for (mp__l3_pending *p = l3->backlog; p; p = p->next) {
        if (count && (bytes + p->size > RUN_BYTES ||
                      segment->size + bytes + p->size + footer_bytes(segment, count + 1) >
                          l3->segment_bytes))
            break;
        if (run_reserve(l3, bytes + p->size > RUN_BYTES ? bytes + p->size : RUN_BYTES) != 0)
            return MP_ENOMEM;
        memcpy(l3->run + bytes, p->bytes, p->size);
        bytes += p->size;
        count++;
    }
    *ret_bytes = bytes;
    *ret_count = count;
    return 0;
}

static void drop_unwanted(mp__l3 *l3)
{
    mp__l3_pending **link = &l3->backlog;

    while (*link) {
        mp__l3_pending *pending = *link;

        if (is_wanted(l3, pending)) {
            link = &pending->next;
            continue;
        }
        *link = pending->next;
        pending_free(l3, pending);
    }
}

/* One write of as many records as fit. */
static int append_run(mp__l3 *l3)
{
    mp__l3_segment *segment;
    size_t bytes, count;
    int rc = active_with_room(l3, l3->backlog->size);

    segment = l3->active;
    if (rc == 0)
        rc = gather_run(l3, &bytes, &count);
    if (rc == 0)
        rc = mp__file_pwrite(segment->file, l3->run, bytes, segment->size);
    if (rc)
        return rc;
    l3->dirty = true;
    for (; count; count--) {
        mp__l3_pending *pending = l3->backlog;
        mp__l3_row row = {pending->hash, pending->revision, (uint32_t)segment->size, pending->size,
                          pending->kind};

        rc = mp__l3_segment_add_row(segment, &row);
        if (rc)
            return rc;
        segment->size += pending->size;
        mp__l3_count(&l3->bytes, pending->size);
        l3->backlog = pending->next;
        settle(l3, pending, segment, &row);
    }
    return 0;
}

/* ---- syncing ---- */

/* After a failed fsync nothing that was not synced before is certain, and a second fsync would say
 * that it is (Rebello et al., "Can applications recover from fsync failures?", ATC 2020). So those
 * records are written again, into a new segment. */
static void suspect(mp__l3 *l3)
{
    mp__l3_segment *segment = l3->active;

    l3->active = NULL;
    l3->dirty = false;
    segment->sealed = true; /* without a footer: a restart will scan and check it */
    for (size_t i = segment->synced_rows; i < segment->row_count; i++)
        (void)readmit(l3, segment, &segment->rows[i], false);
}

static int sync_active(mp__l3 *l3)
{
    int rc;

    l3->last_sync_ns = mp__env_now_ns(l3->env);
    if (!l3->dirty || !l3->active)
        return 0;
    rc = mp__file_sync(l3->active->file);
    if (rc) {
        suspect(l3);
        return rc;
    }
    l3->active->synced_rows = l3->active->row_count;
    l3->dirty = false;
    return 0;
}

/* ---- the batch ---- */

static void failed(mp__l3 *l3, int error, const char *what)
{
    uint64_t longest = (uint64_t)RETRY_LAST_S * SECOND_NS;

    mp__l3_trouble_set(l3, error, what);
    l3->retry_ns = l3->retry_ns ? l3->retry_ns * 2 : (uint64_t)RETRY_FIRST_S * SECOND_NS;
    l3->retry_ns = l3->retry_ns < longest ? l3->retry_ns : longest;
    l3->retry_at_ns = mp__env_now_ns(l3->env) + l3->retry_ns;
    if (l3->active && l3->active->row_count) {
        /* how much of the write arrived is not known: go on in another segment */
        l3->active->sealed = true;
        l3->active = NULL;
        l3->dirty = false;
    }
}

/* Under `writing`. */
static int write_backlog(mp__l3 *l3)
{
    int rc = 0;

    queue_take(l3);
    drop_unwanted(l3);
    while (l3->backlog && rc == 0) {
        rc = append_run(l3);
        queue_take(l3); /* what making room brought back */
    }
    if (rc)
        failed(l3, rc, "cannot append to a segment");
    return rc;
}

static int write_all(mp__l3 *l3, bool sync)
{
    int rc = write_backlog(l3);

    if (rc == 0 && sync && (rc = sync_active(l3)) != 0)
        failed(l3, rc, "cannot sync a segment");
    if (rc == 0 && l3->retry_ns) {
        l3->retry_ns = 0;
        mp__l3_trouble_set(l3, 0, "");
    }
    return rc;
}

int mp__l3_write_all(mp__l3 *l3, bool sync)
{
    int rc;

    (void)pthread_mutex_lock(&l3->writing);
    rc = write_all(l3, sync);
    (void)pthread_mutex_unlock(&l3->writing);
    return rc;
}

void mp__l3_write_batch(void *context, mp__task *first)
{
    mp__l3 *l3 = context;
    uint64_t now;

    (void)first;
    (void)pthread_mutex_lock(&l3->writing); /* a flush may be at it, and moves the times */
    now = mp__env_now_ns(l3->env);
    if (!l3->retry_ns || now >= l3->retry_at_ns) /* else the idle call comes back */
        (void)write_all(l3, now - l3->last_sync_ns >= l3->sync_ns);
    (void)pthread_mutex_unlock(&l3->writing);
}
