/* SPDX-License-Identifier: Apache-2.0 */
/* Room on disk. One segment more than the active one is always kept free, so that what lives can be
 * moved out of an old segment and be on disk at its new place before the old file goes.
 *
 * Two rules keep an old value from coming back at a restart: of a segment in the middle all that is
 * needed moves, tombstones too, since an older segment may hold what they hide; only the oldest may
 * forget. And no file goes while what replaced its records is not certain to be on disk.
 *
 * What decides who stays of the oldest is in worth_keeping(), the use since it was written, and in
 * is_important(), the class of its address: critical and high stay. Together they fill at most half
 * of a segment for each that goes, so that the log moves on whatever the classes are. */
#include "cache/l3_internal.h"

#include <assert.h>
#include <errno.h>

/* ---- giving up ---- */

/* Nothing points to @row of @segment any more. A value that only this record had is forgotten. */
static void forget_row(mp__l3 *l3, const mp__l3_segment *segment, const mp__l3_row *row)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, row->hash);
    mp__l3_place place = mp__l3_place_make(segment->id, row->offset, row->size);
    mp__l3_pending *pending;
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, row->hash);
    pending = slot ? mp__l3_slot_pending(slot) : NULL;
    if (pending && pending->instead_of == place) {
        pending->instead_of = 0;
        mp__l3_index_release(&l3->index, place);
    } else if (slot && mp__l3_slot_place(slot) == place) {
        mp__l3_count(&l3->forgotten, mp__l3_slot_kind(slot) == MP__RECORD_VALUE);
        mp__l3_slot_let_go(l3, slot);
        mp__l3_shard_remove(shard, slot);
    }
    (void)pthread_mutex_unlock(&shard->lock);
}

/* The same for all that points into @segment, found by a walk through the whole index: where its
 * rows can no longer be read. */
static void forget_all(mp__l3 *l3, const mp__l3_segment *segment)
{
    for (unsigned i = 0; i < MP__L3_SHARDS; i++) {
        mp__l3_shard *shard = &l3->index.shards[i];

        (void)pthread_mutex_lock(&shard->lock);
        for (size_t j = 0; j < shard->capacity;) {
            mp__l3_slot *slot = &shard->slots[j];
            mp__l3_pending *pending = mp__l3_slot_pending(slot);

            if (pending && mp__l3_place_id(pending->instead_of) == segment->id) {
                mp__l3_index_release(&l3->index, pending->instead_of);
                pending->instead_of = 0;
            }
            if (mp__l3_slot_kind(slot) && mp__l3_place_id(mp__l3_slot_place(slot)) == segment->id) {
                mp__l3_count(&l3->forgotten, mp__l3_slot_kind(slot) == MP__RECORD_VALUE);
                mp__l3_slot_let_go(l3, slot);
                mp__l3_shard_remove(shard, slot); /* another may have moved here: look again */
            } else {
                j++;
            }
        }
        (void)pthread_mutex_unlock(&shard->lock);
    }
}

static bool is_dead(const mp__l3_segment *segment)
{
    return atomic_load_explicit(&segment->live_bytes, memory_order_acquire) == 0;
}

/* Forget what is needed of @segment and delete it. @rows may be NULL. Files deleted before it must
 * not come back when it is gone, since it hid some of what they have. */
static int give_up(mp__l3 *l3, mp__l3_segment *segment, const mp__l3_row *rows, size_t count)
{
    int rc = mp__l3_names_sync(l3);

    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++)
        forget_row(l3, segment, &rows[i]);
    if (!is_dead(segment))
        forget_all(l3, segment);
    return mp__l3_segment_delete(l3, segment);
}

int mp__l3_drop_oldest(mp__l3 *l3)
{
    mp__l3_segment *oldest = l3->segments;
    mp__l3_row *rows = NULL;
    size_t count = 0;
    int rc;

    if (!oldest || oldest == l3->active)
        return -ENOENT;
    if (!is_dead(oldest) && mp__l3_segment_rows(l3, oldest, &rows, &count) != 0)
        rows = NULL, count = 0;
    rc = give_up(l3, oldest, rows, count);
    (void)mp__free(rows);
    return rc;
}

/* Segments in which nothing is needed. */
static int delete_dead(mp__l3 *l3)
{
    mp__l3_segment *next;
    int rc = 0;

    for (mp__l3_segment *s = l3->segments; s && rc == 0 && !l3->hold; s = next) {
        next = s->next;
        if (s != l3->active && is_dead(s))
            rc = mp__l3_segment_delete(l3, s);
    }
    return rc;
}

bool mp__l3_drop_dead(mp__l3 *l3)
{
    uint64_t before = atomic_load(&l3->segment_count);

    return delete_dead(l3) == 0 && atomic_load(&l3->segment_count) < before;
}

/* ---- moving ---- */

typedef struct move {
    mp__l3 *l3;
    mp__l3_segment *from;
    mp__l3_segment *into;  /* active at the beginning; a mark that cannot be written ends that */
    mp__l3_row *moved;     /* as they stand in the active segment */
    mp__l3_place *old;     /* and where they stood */
    size_t count, written; /* of these; of them in the file */
    uint64_t budget;       /* bytes that may still move, rows included */
    size_t run;            /* bytes put together */
    bool is_oldest;
    int64_t now_ms; /* wall time */
} move;

/* Whether a record has to be read to know whether it stays. */
static bool may_be_important(const move *m)
{
    const mp__priorities *priorities = m->l3->priorities;

    return mp__priority_is_used(priorities, MP__PRIORITY_CRITICAL) ||
           mp__priority_is_used(priorities, MP__PRIORITY_HIGH);
}

static bool is_important(const move *m, mp_str address)
{
    return mp__priority_of(m->l3->priorities, address) <= MP__PRIORITY_HIGH;
}

/* In the oldest segment, what was used since it was written; tombstones hide nothing there. */
static bool worth_keeping(const move *m, const mp__l3_slot *slot, bool keep_all)
{
    if (!m->is_oldest)
        return true;
    if (mp__l3_slot_kind(slot) == MP__L3_GONE)
        return false;
    return mp__l3_slot_is(slot, MP__L3_SLOT_USED) ||
           (keep_all && mp__l3_slot_kind(slot) == MP__RECORD_VALUE);
}

enum moving { STAYS_BEHIND, MOVES, MOVES_IF_IMPORTANT };

static enum moving should_move(const move *m, const mp__l3_row *row, mp__l3_place place,
                               bool keep_all)
{
    mp__l3_shard *shard = mp__l3_index_shard(&m->l3->index, row->hash);
    mp__l3_slot *slot;
    enum moving answer = STAYS_BEHIND;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, row->hash);
    if (slot && mp__l3_slot_place(slot) == place) {
        if (worth_keeping(m, slot, keep_all))
            answer = MOVES;
        else if (mp__l3_slot_kind(slot) == MP__RECORD_VALUE && may_be_important(m))
            answer = MOVES_IF_IMPORTANT;
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return answer;
}

/* A marker in the place of the damaged record @found, which stands in @bytes itself. */
static uint32_t write_marker(const mp__l3_found *found, unsigned char *bytes, bool seals)
{
    char address[MP__L3_ADDRESS_MAX] = "";
    mp__record gone = {.address = mp_str_new(address, found->record.address.size),
                       .revision = found->record.revision};

    memcpy(address, found->record.address.data, gone.address.size);
    mp__l3_record_write(&gone, MP__L3_GONE, found->flags & MP__L3_FORCED, bytes);
    return seals ? mp__l3_record_make_room(bytes) : (uint32_t)mp__l3_record_size(&gone);
}

/* The value of @row is past its own expiry, and nothing older that it hides can come back. */
static void forget_expired(move *m, const mp__l3_row *row)
{
    mp__l3 *l3 = m->l3;
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, row->hash);
    mp__l3_place place = mp__l3_place_make(m->from->id, row->offset, row->size);
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, row->hash);
    if (slot && mp__l3_slot_place(slot) == place) {
        mp__l3_slot_let_go(l3, slot);
        mp__l3_shard_remove(shard, slot);
    }
    (void)pthread_mutex_unlock(&shard->lock);
}

/* What will be written of the record @found, in its place: all of it, or no more than a marker that
 * it is gone where it is damaged or past its expiry. Its size; 0: nothing. */
static uint32_t what_stays(move *m, const mp__l3_row *row, const mp__l3_found *found,
                           unsigned char *bytes, uint8_t *ret_kind)
{
    int64_t expires_ms = found->record.expires_ms;

    if (found->damaged) {
        mp__l3_count(&m->l3->corrupt, row->kind != MP__L3_GONE);
    } else if (row->kind == MP__RECORD_VALUE && expires_ms && expires_ms <= m->now_ms) {
        mp__l3_count(&m->l3->expired, 1);
        if (m->is_oldest)
            forget_expired(m, row);
    } else {
        return m->l3->key ? mp__l3_record_make_room(bytes) : found->size;
    }
    *ret_kind = MP__L3_GONE;
    return m->is_oldest ? 0 : write_marker(found, bytes, m->l3->key != NULL);
}

/* Read the record to the end of the run. Its new size, 0 when there is nothing to write. */
static uint32_t read_record(move *m, const mp__l3_row *row, enum moving how, uint8_t *ret_kind)
{
    mp__l3 *l3 = m->l3;
    mp__l3_found found;
    unsigned char *bytes;

    if (mp__l3_run_reserve(l3, m->run + row->size + MP__L3_SEAL) != 0)
        return 0;
    bytes = l3->run + m->run;
    if (mp__file_pread(m->from->file, bytes, row->size, row->offset) != row->size ||
        mp__l3_record_read(bytes, row->size, &m->from->seed, row->offset, &found) != 0 ||
        mp__l3_record_unseal(bytes, &m->from->seed, &found) != 0) {
        mp__l3_count(&l3->corrupt, 1);
        return 0;
    }
    if (how == MOVES_IF_IMPORTANT && !is_important(m, found.record.address))
        return 0;
    return what_stays(m, row, &found, bytes, ret_kind);
}

/* Put @row's record into the run, if it shall move and there is room. */
static void gather(move *m, const mp__l3_row *row, bool keep_all)
{
    mp__l3_place place = mp__l3_place_make(m->from->id, row->offset, row->size);
    mp__l3_segment *active = m->into;
    uint32_t offset = (uint32_t)(active->size + m->run), size;
    uint8_t kind = row->kind;
    enum moving how;

    if (row->size + MP__L3_SEAL + MP__L3_ROW > m->budget)
        return;
    how = should_move(m, row, place, keep_all);
    if (how == STAYS_BEHIND)
        return;
    size = read_record(m, row, how, &kind);
    if (size == 0)
        return;
    mp__l3_record_seal(m->l3->run + m->run, &active->seed, offset, row->flags);
    m->moved[m->count] = *row;
    m->moved[m->count].offset = offset;
    m->moved[m->count].size = size;
    m->moved[m->count].kind = kind;
    m->old[m->count++] = place;
    m->run += size;
    m->budget -= size + MP__L3_ROW;
}

static int write_run(move *m)
{
    mp__l3_segment *active = m->into;
    int rc = m->run ? mp__l3_run_write(m->l3, m->run) : 0;

    m->run = 0;
    for (; rc == 0 && m->written < m->count; m->written++)
        mp__l3_segment_add_row(active, &m->moved[m->written]);
    return rc;
}

/* They are on disk: let the index point there. */
static void settle_moved(const move *m)
{
    mp__l3_index *index = &m->l3->index;

    for (size_t i = 0; i < m->count; i++) {
        const mp__l3_row *row = &m->moved[i];
        mp__l3_shard *shard = mp__l3_index_shard(index, row->hash);
        mp__l3_place place = mp__l3_place_make(m->into->id, row->offset, row->size);
        mp__l3_slot *slot;

        (void)pthread_mutex_lock(&shard->lock);
        slot = mp__l3_shard_find(shard, row->hash);
        if (slot && mp__l3_slot_pending(slot) &&
            mp__l3_slot_pending(slot)->instead_of == m->old[i]) {
            mp__l3_index_need(index, place);
            mp__l3_index_release(index, m->old[i]);
            mp__l3_slot_pending(slot)->instead_of = place;
        } else if (slot && mp__l3_slot_place(slot) == m->old[i]) {
            mp__l3_index_need(index, place);
            mp__l3_index_release(index, m->old[i]);
            slot->at = place;
            slot->tag &= ~(uint64_t)MP__L3_SLOT_USED;
            if (row->kind == MP__L3_GONE)
                mp__l3_slot_set(shard, slot, MP__L3_GONE, slot->revision, row->flags);
        }
        (void)pthread_mutex_unlock(&shard->lock);
    }
}

static int move_rows(move *m, const mp__l3_row *rows, size_t count, bool keep_all)
{
    int rc = mp__l3_segment_reserve(m->into, count);

    for (size_t i = 0; i < count && rc == 0; i++) {
        gather(m, &rows[i], keep_all);
        if (m->run >= MP__L3_RUN_BYTES)
            rc = write_run(m);
    }
    if (rc == 0)
        rc = write_run(m);
    if (rc)
        return rc;
    rc = mp__l3_sync_active(m->l3);
    if (rc == 0)
        settle_moved(m);
    return rc;
}

/* Move what shall stay out of @from. With @forget the rest is given up; else what could not be
 * moved keeps the segment. An error is not one of reading @from. */
static int move_out(mp__l3 *l3, mp__l3_segment *from, uint64_t budget, bool keep_all, bool forget)
{
    move m = {.l3 = l3,
              .from = from,
              .into = l3->active,
              .budget = budget,
              .is_oldest = from == l3->segments,
              .now_ms = mp__env_wall_ms(l3->env)};
    mp__l3_row *rows = NULL;
    size_t count = 0;
    int rc;

    assert(from);
    rc = mp__l3_segment_rows(l3, from, &rows, &count);
    if (rc && rc != MP_ENOMEM)
        rc = 0; /* it cannot be read */
    if (rc == 0) {
        m.moved = mp__realloc_array(NULL, count + 1, sizeof(*m.moved));
        m.old = mp__realloc_array(NULL, count + 1, sizeof(*m.old));
        rc = m.moved && m.old ? move_rows(&m, rows, count, keep_all) : MP_ENOMEM;
    }
    if (rc == 0 && forget)
        rc = give_up(l3, from, rows, count);
    else if (rc == 0 && is_dead(from) && !l3->hold)
        rc = mp__l3_segment_delete(l3, from);
    else
        from->is_stuck = true;
    (void)mp__free(rows);
    (void)mp__free(m.moved);
    (void)mp__free(m.old);
    return rc;
}

/* ---- choosing ---- */

/* Of the older half, the segment with the least that is needed. */
static mp__l3_segment *emptiest(mp__l3 *l3)
{
    size_t half = (size_t)(atomic_load(&l3->segment_count) + 1) / 2;
    mp__l3_segment *best = NULL;
    uint64_t least = UINT64_MAX;

    for (mp__l3_segment *s = l3->segments; s && half; s = s->next, half--) {
        uint64_t live = atomic_load_explicit(&s->live_bytes, memory_order_relaxed);

        if (s != l3->active && !s->is_stuck && live < least) {
            best = s;
            least = live;
        }
    }
    return best;
}

int mp__l3_room_before(mp__l3 *l3)
{
    int rc = delete_dead(l3);

    if (l3->is_shrinking)
        return rc; /* for so long there are more than there is room for */
    while (rc == 0 && (atomic_load(&l3->bytes) + l3->segment_bytes > l3->bytes_max ||
                       atomic_load(&l3->segment_count) + 2 > l3->index.id_count / 2))
        rc = mp__l3_drop_oldest(l3);
    return rc == -ENOENT ? -ENOSPC : rc; /* files that are not ours take all that is allowed */
}

/* Bytes on disk once the active segment is full, and one more after it. */
static bool is_short(const mp__l3 *l3)
{
    uint64_t others = atomic_load(&l3->bytes) - l3->active->size;

    return others + 2 * l3->segment_bytes > l3->bytes_max;
}

int mp__l3_room_after(mp__l3 *l3, uint64_t spare)
{
    uint64_t most = l3->segment_bytes - mp__l3_footer_size(0) - spare;
    int rc = 0;

    most = most < l3->segment_bytes / 2 ? most : l3->segment_bytes / 2;
    while (rc == 0 && !l3->is_shrinking && l3->active && is_short(l3) && l3->segments &&
           l3->segments != l3->active) {
        uint64_t used = l3->active->size + l3->active->row_count * MP__L3_ROW;
        uint64_t budget = used < most ? most - used : 0;
        mp__l3_segment *victim = emptiest(l3);

        /* three quarters: rows count against the budget, too */
        if (victim && atomic_load(&victim->live_bytes) <= budget / 4 * 3)
            rc = move_out(l3, victim, budget, true, victim == l3->segments);
        else
            rc = move_out(l3, l3->segments, budget, false, true);
    }
    return rc;
}

/* The oldest leaves, for half a segment at most of what shall stay of it. Where nothing can be
 * written, and where it was made of what stayed (it is @made_from or later), all of it: else what
 * must stay and has no room would be moved round and round. */
static int shrink_by_one(mp__l3 *l3, uint64_t made_from)
{
    int rc;

    if (l3->segments && l3->segments->seed.number >= made_from)
        return mp__l3_drop_oldest(l3);
    l3->is_shrinking = true;
    rc = mp__l3_active_with_room(l3, (uint32_t)(l3->segment_bytes / 2));
    l3->is_shrinking = false;
    if (rc || l3->segments == l3->active)
        return mp__l3_drop_oldest(l3);
    rc = move_out(l3, l3->segments, l3->segment_bytes / 2, false, true);
    return rc == -ENOSPC || rc == -EDQUOT ? mp__l3_drop_oldest(l3) : rc;
}

int mp__l3_shrink(mp__l3 *l3)
{
    uint64_t made_from = l3->next_number;
    int rc = 0;

    if (atomic_load(&l3->bytes) <= l3->bytes_max)
        return 0;
    do
        rc = shrink_by_one(l3, made_from);
    while (rc == 0 && l3->segments && l3->segments != l3->active &&
           (l3->active ? is_short(l3) : atomic_load(&l3->bytes) > l3->bytes_max));
    return rc == -ENOENT ? 0 : rc;
}

/* ---- under another key or secret ---- */

/* Sealed with another key, or with hashes in its footer that are not ours, so that each start would
 * have to read all of it. */
static bool is_to_be_rewritten(const mp__l3 *l3, const mp__l3_segment *segment)
{
    return segment != l3->active &&
           ((l3->key && segment->seed.key != l3->key) || !segment->is_ours);
}

static mp__l3_segment *first_to_rewrite(mp__l3 *l3)
{
    mp__l3_segment *first = NULL;
    uint64_t count = 0;

    for (mp__l3_segment *s = l3->segments; s; s = s->next) {
        if (!is_to_be_rewritten(l3, s))
            continue;
        count++;
        if (!first && !s->is_kept_as_it_is)
            first = s;
    }
    atomic_store(&l3->to_rewrite, count);
    return first;
}

void mp__l3_rewrite_note(mp__l3 *l3)
{
    (void)first_to_rewrite(l3);
}

/* What does not fit into the active segment waits for the next time. The oldest goes once what is
 * to stay of it fits for certain. */
int mp__l3_rewrite_one(mp__l3 *l3)
{
    mp__l3_segment *from = l3->hold ? NULL : first_to_rewrite(l3);
    uint64_t used, most, budget, live;
    int rc;

    if (!from)
        return 0;
    /* what is moved leaves as much room behind: the segment that is kept free is enough for it */
    l3->is_shrinking = atomic_load(&l3->bytes) + l3->segment_bytes <= l3->bytes_max;
    rc = mp__l3_active_with_room(l3, (uint32_t)(l3->segment_bytes / 2));
    l3->is_shrinking = false;
    from = first_to_rewrite(l3); /* making room may have deleted it */
    if (rc || !from)
        return rc;
    used = l3->active->size + l3->active->row_count * MP__L3_ROW;
    most = l3->segment_bytes - mp__l3_footer_size(0);
    budget = used < most ? most - used : 0;
    live = atomic_load(&from->live_bytes);
    if (from == l3->segments && live <= budget / 4 * 3) {
        rc = move_out(l3, from, budget, true, true);
    } else {
        mp__l3_segment_ref(from);
        rc = move_out(l3, from, budget, true, false);
        from->is_kept_as_it_is = rc == 0 && atomic_load(&from->live_bytes) == live;
        mp__l3_segment_unref(from);
    }
    (void)first_to_rewrite(l3);
    return rc;
}
