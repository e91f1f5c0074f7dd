/* SPDX-License-Identifier: Apache-2.0 */
/* From a folder to a list of segments, of which l3_load.c makes the index: footers where they were
 * sealed, a scan where they were not. Damage is never an error: what fails its sum is left out and
 * counted. */
#include "cache/l3_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { TIDY_TRIES = 8 }; /* with the pauses between them 90 s */

/* ---- one segment ---- */

static int head_check(mp__l3 *l3, mp__file *file, uint64_t number, mp__l3_seed *ret_seed,
                      mp__diag *diag)
{
    unsigned char bytes[MP__L3_SEGMENT_HEAD];
    mp__l3_segment_head head;
    int64_t n = mp__file_pread(file, bytes, sizeof(bytes), 0);
    int rc = n < 0 ? (int)n : mp__l3_head_read(bytes, (size_t)n, &head);

    if (rc == MP_EVERSION) {
        char path[MP__L3_PATH_MAX];

        mp__l3_segment_path(l3, number, path);
        return mp__diag_set(diag, rc,
                            "%s was written by a newer version of marketprism; start that version, "
                            "or move the folder away to begin with an empty cache",
                            path);
    }
    if (rc == 0 && (head.number != number || memcmp(head.folder, l3->folder, 16) != 0))
        rc = MP_ECORRUPT; /* of another folder, or another place in this one */
    if (rc == 0)
        *ret_seed = (mp__l3_seed){head.secret, number, mp__l3_keys_find(l3->keys, head.key_id),
                                  head.made_of};
    if (rc == 0 && head.key_id && !ret_seed->key) {
        char path[MP__L3_PATH_MAX];

        mp__l3_segment_path(l3, number, path);
        rc = mp__diag_set(
            diag, MP_EINVAL,
            "%s is sealed with the key %016" PRIx64 ", which %s; add it to the file of "
            "cache.l3_key_file, below the newest, or move the folder away to begin "
            "with an empty cache",
            path, head.key_id, l3->keys ? "is none of the given ones" : "is not given");
    }
    return rc;
}

static int open_file(mp__l3 *l3, uint64_t number, mp__file **ret_file)
{
    char path[MP__L3_PATH_MAX];
    int rc;

    mp__l3_segment_path(l3, number, path);
    rc = mp__file_open(l3->env, path, MP__OPEN_WRITE, ret_file);
    if (rc == -EROFS || rc == -EACCES)
        rc = mp__file_open(l3->env, path, MP__OPEN_READ, ret_file);
    return rc;
}

/* 0, also when it was set aside. */
static int open_segment(mp__l3 *l3, uint64_t number, mp__diag *diag)
{
    mp__l3_segment *segment;
    mp__l3_seed seed;
    mp__file *file;
    mp__stat stat = {0};
    int rc = open_file(l3, number, &file);

    if (rc)
        return rc == -ENOENT ? 0 : rc;
    rc = mp__file_stat(file, &stat);
    if (rc == 0)
        rc = stat.size > MP__L3_SEGMENT_MAX ? MP_ECORRUPT
                                            : head_check(l3, file, number, &seed, diag);
    if (rc == 0)
        rc = mp__l3_segment_new(l3, &seed, file, &segment);
    if (rc) {
        mp__file_close(file);
        if (rc == MP_ECORRUPT)
            mp__l3_folder_set_aside(l3, number);
        if (rc == -EIO) { /* another time, perhaps: its bytes count until then */
            mp__l3_count(&l3->errors, 1);
            mp__l3_count(&l3->bytes, stat.size);
        }
        return rc == MP_ECORRUPT || rc == -EIO ? 0 : rc;
    }
    segment->size = stat.size;
    mp__l3_segment_append(l3, segment);
    return mp__l3_load_add(l3, segment);
}

/* ---- the folder ---- */

/* The last segment goes on where its last good record ends, if it was not sealed and has room. Not
 * one with damage in it: a mark would say of that, too, that it was synced. Nor one without a mark:
 * perhaps its head never reached the disk. */
static void continue_last(mp__l3 *l3)
{
    mp__l3_segment *last = l3->segments;

    while (last && last->next)
        last = last->next;
    if (!last || last->has_footer || !last->is_ours || last->seed.key != l3->key ||
        last->has_damage || last->certain == 0 ||
        last->log_end + mp__l3_footer_size(last->row_count) > l3->segment_bytes / 4 * 3 ||
        mp__file_truncate(last->file, last->log_end) != 0)
        return;
    mp__l3_uncount(&l3->bytes, last->size - last->log_end);
    last->size = last->log_end;
    last->log_end = 0; /* no leftover any more */
    l3->active = last;
}

/* More segments than the index has numbers for, since they were larger once: the oldest go. */
static void drop_surplus(mp__l3 *l3, mp__l3_numbers *numbers)
{
    size_t most = l3->index.id_count / 2, surplus;

    if (numbers->count <= most)
        return;
    surplus = numbers->count - most;
    for (size_t i = 0; i < surplus; i++) {
        char path[MP__L3_PATH_MAX];

        mp__l3_segment_path(l3, numbers->items[i], path);
        (void)mp__env_unlink(l3->env, path);
        (void)mp__env_sync_dir(l3->env, l3->dir); /* in this order, also after a crash */
        mp__l3_count(&l3->forgotten, 1);
    }
    numbers->count -= surplus;
    memmove(numbers->items, numbers->items + surplus, numbers->count * sizeof(*numbers->items));
}

/* No segment is left. Nothing in the index points to one yet. */
static void unload(mp__l3 *l3)
{
    mp__l3_load_forget(l3);
    for (mp__l3_segment *next, *s = l3->segments; s; s = next) {
        next = s->next;
        mp__l3_index_leave(&l3->index, s);
        mp__l3_segment_unref(s);
    }
    l3->segments = NULL;
    atomic_store(&l3->bytes, 0);
    atomic_store(&l3->segment_count, 0);
    atomic_store(&l3->recovered, 0);
}

int mp__l3_recover(mp__l3 *l3, mp__diag *diag)
{
    uint64_t started = mp__env_now_ns(l3->env);
    mp__l3_numbers numbers = {0};
    int rc = mp__l3_folder_lock(l3, diag);

    if (rc == 0)
        rc = mp__l3_folder_list(l3, &numbers);
    if (rc == 0)
        rc = mp__l3_folder_id(l3, &numbers, diag);
    if (rc == 0)
        drop_surplus(l3, &numbers);
    for (size_t i = 0; i < numbers.count && rc == 0; i++)
        rc = open_segment(l3, numbers.items[i], diag);
    (void)mp__free(numbers.items);
    if (rc) {
        unload(l3);
        return rc;
    }
    continue_last(l3);
    mp__l3_rewrite_note(l3);
    mp__l3_load_begin(l3);
    l3->opened = true;
    atomic_store(&l3->recovery_ns, mp__env_now_ns(l3->env) - started);
    return 0;
}

/* ---- afterwards ---- */

/* The record in the queue again, if nothing newer took its place. One that is damaged is left to
 * the reader who finds it. */
static int write_again(mp__l3 *l3, mp__l3_segment *segment, const mp__l3_row *row)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, row->hash);
    mp__l3_place place = mp__l3_place_make(segment->id, row->offset, row->size);
    bool grows = l3->key && !segment->seed.key; /* it will be sealed and is not */
    mp__l3_pending *pending =
        mp__l3_pending_alloc(l3, row->hash, row->kind, row->flags & MP__L3_FORCED,
                             row->size + (grows ? MP__L3_SEAL : 0));
    mp__l3_found found;
    mp__l3_slot *slot;
    bool is_taken = false;
    int64_t n;

    if (!pending)
        return MP_ENOMEM;
    n = mp__file_pread(segment->file, pending->bytes, row->size, row->offset);
    if (n == row->size &&
        mp__l3_record_read(pending->bytes, row->size, &segment->seed, row->offset, &found) == 0 &&
        mp__l3_record_unseal(pending->bytes, &segment->seed, &found) == 0 && !found.damaged) {
        if (grows)
            (void)mp__l3_record_make_room(pending->bytes);
        (void)pthread_mutex_lock(&shard->lock);
        slot = mp__l3_shard_find(shard, row->hash);
        is_taken = slot && mp__l3_slot_place(slot) == place;
        if (is_taken) {
            pending->revision = slot->revision;
            mp__l3_slot_take_pending(l3, shard, slot, pending);
            l3->hold = true;
        }
        (void)pthread_mutex_unlock(&shard->lock);
    }
    if (!is_taken)
        mp__l3_pending_free(l3, pending);
    return n < 0 ? (int)n : 0;
}

/* What the process before us wrote last may not be on disk, even though we read it, and a sync that
 * succeeds now says nothing where one of its syncs had failed. So it is written once more: at most
 * what came since the last mark. What cannot be read after some tries stays as it is. */
static int write_uncertain_again(mp__l3 *l3, mp__l3_segment *segment)
{
    int rc = 0;

    for (; segment->certain < segment->row_count; segment->certain++) {
        rc = write_again(l3, segment, &segment->rows[segment->certain]);
        if (rc && l3->tidy_tries < TIDY_TRIES)
            return rc;
    }
    return 0;
}

int mp__l3_after_open(mp__l3 *l3)
{
    int rc = 0;

    l3->tidy_tries++;
    for (mp__l3_segment *s = l3->segments; s && rc == 0; s = s->next)
        if (s->rows)
            rc = write_uncertain_again(l3, s);
    return rc;
}

/* What follows the last good record is cut off. A footer that does not come about costs the next
 * start a scan; it or a scan brings the rows back. */
static void seal_leftover(mp__l3 *l3, mp__l3_segment *segment)
{
    if (mp__file_truncate(segment->file, segment->log_end) == 0) {
        mp__l3_uncount(&l3->bytes, segment->size - segment->log_end);
        segment->size = segment->log_end;
        (void)mp__l3_segment_footer(l3, segment);
    }
    mp__l3_segment_forget_rows(segment);
}

void mp__l3_seal_leftovers(mp__l3 *l3)
{
    for (mp__l3_segment *s = l3->segments; s; s = s->next)
        if (s != l3->active && s->rows && s->is_ours && s->log_end && !s->has_footer)
            seal_leftover(l3, s);
}
