/* SPDX-License-Identifier: Apache-2.0 */
/* Scrubbing: every record that is needed is read again from time to time, so that damage is found
 * while the origin can still replace what was lost, and not when L3 is all that is left
 * (Bairavasundaram et al., "An analysis of latent sector errors in disk drives", SIGMETRICS 2007).
 *
 * A thread of its own, "mp-l3-scrub", which borrows one segment after the other and reads its
 * records at a low rate, without `writing`: a record that leaves meanwhile is passed over. What the
 * system has in memory is checked there. */
#include "cache/l3_internal.h"

#define SECOND_NS 1000000000u

/* Give back the segment under way. */
static void leave_segment(mp__l3_scrub *scrub)
{
    if (scrub->segment)
        mp__l3_segment_unref(scrub->segment);
    scrub->segment = NULL;
    scrub->rows = mp__free(scrub->rows);
    scrub->count = scrub->at = 0;
}

/* The first segment behind the last one, with its rows. MP_EUNKNOWN: there is none. Any other
 * error: it cannot be read now, and the next pass tries it again. */
static int enter_segment(mp__l3 *l3)
{
    mp__l3_scrub *scrub = &l3->scrub;
    mp__l3_segment *segment;
    int rc = MP_EUNKNOWN;

    (void)pthread_mutex_lock(&l3->writing);
    segment = l3->segments;
    while (segment && segment->seed.number <= scrub->number)
        segment = segment->next;
    if (segment) {
        scrub->number = segment->seed.number;
        rc = mp__l3_segment_rows(l3, segment, &scrub->rows, &scrub->count);
    }
    if (rc == 0) {
        mp__l3_segment_ref(segment);
        scrub->segment = segment;
    }
    (void)pthread_mutex_unlock(&l3->writing);
    mp__l3_count(&l3->errors, segment && rc && rc != MP_ENOMEM);
    return rc;
}

/* Behind the last segment. A pass counts when it began before the first and saw something. */
static void end_pass(mp__l3 *l3)
{
    if (l3->scrub.number && !l3->scrub.is_partial) {
        mp__l3_count(&l3->scrub_passes, 1);
        atomic_store(&l3->scrub_passed_ms, mp__env_wall_ms(l3->env));
    }
    l3->scrub.number = 0;
    l3->scrub.is_partial = false;
}

static bool is_needed(mp__l3 *l3, const mp__l3_row *row, mp__l3_place place)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, row->hash);
    const mp__l3_slot *slot;
    bool answer;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, row->hash);
    answer = slot && mp__l3_slot_place(slot) == place;
    (void)pthread_mutex_unlock(&shard->lock);
    return answer;
}

/* @address is empty where that cannot be read either: then who reads it next asks the origin. */
static void leave_out(mp__l3 *l3, const mp__l3_row *row, mp__l3_place place, mp_str address)
{
    if (!mp__l3_leave_out(l3, address, row->hash, place))
        return;
    mp__l3_count(&l3->scrub_damaged, 1);
    if (l3->on_damaged && address.size)
        l3->on_damaged(l3->context, address, row->hash, row->revision);
}

static void check_row(mp__l3 *l3, const mp__l3_row *row)
{
    mp__l3_segment *segment = l3->scrub.segment;
    mp__l3_place place = mp__l3_place_make(segment->id, row->offset, row->size);
    MP__CLEANUP_FREE unsigned char *bytes = NULL;
    mp__l3_found found;
    int64_t n;
    int rc;

    if (!is_needed(l3, row, place))
        return;
    bytes = mp__malloc(row->size);
    if (!bytes)
        return; /* the next pass */
    n = mp__file_pread(segment->file, bytes, row->size, row->offset);
    if (n < 0) {
        mp__l3_count(&l3->errors, 1);
        return; /* the disk may do better another time */
    }
    mp__l3_count(&l3->scrubbed_bytes, row->size);
    rc = n == row->size ? mp__l3_record_read(bytes, row->size, &segment->seed, row->offset, &found)
                        : MP_ECORRUPT;
    if (rc == 0 && !found.damaged)
        rc = mp__l3_record_unseal(bytes, &segment->seed, &found);
    if (rc || found.damaged || found.size != row->size)
        leave_out(l3, row, place, rc ? mp_str_new("", 0) : found.record.address);
}

/* What may be read now: the rate times what has gone by, at most for a second. */
static int64_t allowance(mp__l3 *l3)
{
    uint64_t now = mp__env_now_ns(l3->env), since = now - l3->scrub.last_ns;

    since = since < SECOND_NS ? since : SECOND_NS;
    l3->scrub.last_ns = now;
    return (int64_t)(l3->scrub_rate * (since / 1000000u) / 1000u);
}

/* A record that is larger than what is allowed at once is read, and paid for later. */
void mp__l3_scrub_batch(void *context, mp__task *first)
{
    mp__l3 *l3 = context;
    mp__l3_scrub *scrub = &l3->scrub;
    int rc;

    (void)first;
    if (!mp__l3_is_loaded(l3))
        return; /* what is needed of a segment is not known yet */
    scrub->credit += allowance(l3);
    while (scrub->credit > 0 && !atomic_load(&l3->scrub_stop)) {
        if (scrub->at < scrub->count) {
            scrub->credit -= scrub->rows[scrub->at].size;
            check_row(l3, &scrub->rows[scrub->at++]);
            continue;
        }
        leave_segment(scrub);
        rc = enter_segment(l3);
        if (rc == MP_EUNKNOWN) { /* the next pass begins another time */
            end_pass(l3);
            scrub->credit = 0;
        }
    }
}

/* A process that is started often must not look at the same beginning each time. */
int mp__l3_scrub_start(mp__l3 *l3)
{
    uint64_t random;

    mp__env_random(l3->env, &random, sizeof(random));
    l3->scrub.last_ns = mp__env_now_ns(l3->env);
    l3->scrub.number = l3->next_number ? random % l3->next_number : 0;
    l3->scrub.is_partial = l3->scrub.number != 0;
    return mp__worker_new_idle(l3->env, "mp-l3-scrub", 1000, mp__l3_scrub_batch, l3, &l3->scrubber);
}

void mp__l3_scrub_stop(mp__l3 *l3)
{
    atomic_store(&l3->scrub_stop, true);
    l3->scrubber = mp__worker_free(l3->scrubber);
    leave_segment(&l3->scrub);
}
