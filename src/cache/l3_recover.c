/* SPDX-License-Identifier: Apache-2.0 */
/* From a folder to an index: footers where segments were sealed, a scan where they were not. Damage
 * is never an error: what fails its sum is left out and counted. */
#include "cache/l3_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ID_BYTES = 64, NUMBERS_MAX = 1000000 };
static const char id_magic[8] = "MPL3ID";

/* ---- the folder's id and secret ---- */

static int id_write(mp__l3 *l3, const char *path)
{
    unsigned char bytes[ID_BYTES] = {0};
    uint64_t sum;

    memcpy(bytes, id_magic, 8);
    bytes[8] = MP__L3_VERSION;
    memcpy(bytes + 16, l3->folder, 16);
    memcpy(bytes + 32, &l3->hash_key, 16);
    sum = mp__checksum(0, bytes, 56);
    memcpy(bytes + 56, &sum, 8);
    return mp__env_write_file_atomic(l3->env, path, bytes, sizeof(bytes));
}

/* Read l3.id; a missing or damaged one is made anew (then no footer is believed and all segments
 * are scanned). MP_EVERSION when a newer version wrote it. */
static int id_load(mp__l3 *l3, mp__diag *diag)
{
    char path[4200], *data = NULL;
    size_t size = 0;
    uint64_t sum;
    int rc;

    (void)snprintf(path, sizeof(path), "%s/l3.id", l3->dir);
    rc = mp__env_read_file(l3->env, path, 4096, &data, &size);
    if (rc == 0 && size == ID_BYTES) {
        memcpy(&sum, data + 56, 8);
        if (memcmp(data, id_magic, 8) == 0 && sum == mp__checksum(0, data, 56)) {
            bool newer = (unsigned char)data[8] > MP__L3_VERSION;

            memcpy(l3->folder, data + 16, 16);
            memcpy(&l3->hash_key, data + 32, 16);
            (void)mp__free(data);
            return newer ? mp__diag_set(diag, MP_EVERSION,
                                        "%s was written by a newer version of marketprism", path)
                         : 0;
        }
    }
    if (rc == 0)
        mp__l3_count(&l3->corrupt, 1);
    (void)mp__free(data);
    mp__env_random(l3->env, l3->folder, sizeof(l3->folder));
    mp__env_random(l3->env, &l3->hash_key, sizeof(l3->hash_key));
    return id_write(l3, path);
}

/* ---- the index from rows ---- */

/* A row found in a segment: newer than what is known, or as new and later in the log. */
static int take_row(mp__l3 *l3, mp__l3_segment *segment, const mp__l3_row *row)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, row->hash);
    mp__l3_slot *slot;
    int rc;

    (void)pthread_mutex_lock(&shard->lock);
    rc = mp__l3_shard_slot(shard, row->hash, &slot);
    if (rc == 0 && (slot->kind == 0 || slot->revision <= row->revision))
        mp__l3_slot_set_disk(slot, segment, row);
    (void)pthread_mutex_unlock(&shard->lock);
    if (row->revision > atomic_load(&l3->revision_max))
        atomic_store(&l3->revision_max, row->revision);
    return rc;
}

static bool row_is_sound(const mp__l3_segment *segment, const mp__l3_row *row)
{
    return row->offset >= MP__L3_SEGMENT_HEAD && row->size >= MP__L3_RECORD_HEAD &&
           (uint64_t)row->offset + row->size <= segment->size &&
           (row->kind == MP__RECORD_VALUE || row->kind == MP__RECORD_ABSENT);
}

static int take_rows(mp__l3 *l3, mp__l3_segment *segment)
{
    int rc = 0;

    for (size_t i = 0; i < segment->row_count && rc == 0; i++)
        if (row_is_sound(segment, &segment->rows[i]))
            rc = take_row(l3, segment, &segment->rows[i]);
    return rc;
}

/* ---- one segment ---- */

static int rows_from_footer(mp__l3 *l3, mp__l3_segment *segment)
{
    unsigned char trailer[MP__L3_TRAILER], *data;
    uint64_t offset;
    size_t count, bytes;
    int rc;

    if (segment->size < MP__L3_SEGMENT_HEAD + MP__L3_TRAILER ||
        mp__file_pread(segment->file, trailer, sizeof(trailer), segment->size - sizeof(trailer)) !=
            sizeof(trailer))
        return MP_ECORRUPT;
    rc = mp__l3_trailer_read(trailer, segment->size, l3->folder, &count, &offset);
    if (rc)
        return rc;
    bytes = count * MP__L3_ROW;
    data = mp__malloc(bytes);
    segment->rows = mp__realloc_array(NULL, count ? count : 1, sizeof(*segment->rows));
    rc = data && segment->rows ? 0 : MP_ENOMEM;
    if (rc == 0 && mp__file_pread(segment->file, data, bytes, offset) != (int64_t)bytes)
        rc = MP_ECORRUPT;
    if (rc == 0)
        rc = mp__l3_rows_read(data, count, trailer, segment->rows);
    if (rc == 0) {
        segment->row_count = segment->row_capacity = segment->synced_rows = count;
        segment->sealed = true;
    }
    (void)mp__free(data);
    return rc;
}

typedef struct scan {
    mp__l3 *l3;
    mp__l3_segment *segment;
    int rc;
} scan;

static void scan_record(void *context, const mp__record *record, size_t offset, size_t record_size)
{
    scan *s = context;
    mp__l3_row row = {mp__hash_str(s->l3->hash_key, record->address), record->revision,
                      (uint32_t)offset, (uint32_t)record_size, (uint8_t)record->kind};

    if (s->rc == 0)
        s->rc = mp__l3_segment_add_row(s->segment, &row);
}

static int rows_from_scan(mp__l3 *l3, mp__l3_segment *segment)
{
    scan s = {l3, segment, 0};
    unsigned char *data = mp__malloc((size_t)segment->size + 1);
    size_t damaged = 0;
    int64_t n;

    if (!data)
        return MP_ENOMEM;
    segment->row_count = 0;
    n = mp__file_pread(segment->file, data, (size_t)segment->size, 0);
    if (n > 0) {
        segment->size = mp__l3_segment_parse(data, (size_t)n, scan_record, &s, &damaged);
        mp__l3_count(&l3->corrupt, damaged);
        segment->synced_rows = segment->row_count;
    }
    (void)mp__free(data);
    return n < 0 ? (int)n : s.rc;
}

static void set_aside(mp__l3 *l3, const char *path)
{
    char aside[4300];

    (void)snprintf(aside, sizeof(aside), "%s.bad", path);
    (void)mp__env_rename(l3->env, path, aside);
    mp__l3_count(&l3->corrupt, 1);
}

static int segment_head_check(mp__l3 *l3, mp__file *file, uint64_t number, const char *path,
                              mp__diag *diag)
{
    unsigned char bytes[MP__L3_SEGMENT_HEAD];
    mp__l3_segment_head head;
    int64_t n = mp__file_pread(file, bytes, sizeof(bytes), 0);
    int rc;

    (void)l3;
    if (n < 0)
        return (int)n;
    rc = mp__l3_head_read(bytes, (size_t)n, &head);
    if (rc == MP_EVERSION)
        return mp__diag_set(diag, rc, "%s was written by a newer version of marketprism", path);
    return rc ? rc : head.number == number ? 0 : MP_ECORRUPT;
}

static int segment_load(mp__l3 *l3, uint64_t number, mp__diag *diag)
{
    char path[4200];
    mp__l3_segment *segment;
    mp__file *file;
    mp__stat stat;
    int rc;

    mp__l3_segment_path(l3, number, path, sizeof(path));
    rc = mp__file_open(l3->env, path, MP__OPEN_WRITE, &file);
    if (rc)
        return rc == MP_ENOMEM ? rc : 0; /* one that cannot be opened is one less */
    rc = segment_head_check(l3, file, number, path, diag);
    if (rc == 0)
        rc = mp__file_stat(file, &stat);
    if (rc) {
        mp__file_close(file);
        if (rc == MP_EVERSION)
            return rc;
        set_aside(l3, path);
        return 0;
    }
    segment = mp__l3_segment_new(number, file);
    if (!segment) {
        mp__file_close(file);
        return MP_ENOMEM;
    }
    segment->size = stat.size;
    rc = rows_from_footer(l3, segment);
    if (rc == MP_ECORRUPT)
        rc = rows_from_scan(l3, segment);
    if (rc == 0)
        rc = take_rows(l3, segment);
    mp__l3_count(&l3->bytes, segment->size);
    mp__l3_count(&l3->recovered, segment->row_count);
    mp__l3_segment_append(l3, segment);
    return rc == MP_ENOMEM ? rc : 0;
}

/* The last segment goes on where its last good record ends, if it was not sealed and has room. */
static void continue_last(mp__l3 *l3)
{
    mp__l3_segment *last = l3->segments;

    while (last && last->next)
        last = last->next;
    if (!last || last->sealed || last->size > l3->segment_bytes / 4 * 3)
        return;
    if (mp__file_truncate(last->file, last->size) == 0)
        l3->active = last;
}

/* ---- the folder ---- */

typedef struct numbers {
    uint64_t *items;
    size_t count, capacity;
} numbers;

static int note_number(void *context, const char *name)
{
    numbers *list = context;
    uint64_t number = 0;
    const char *p = name + 3;

    if (strncmp(name, "l3-", 3) != 0)
        return 0;
    while (*p >= '0' && *p <= '9' && p - name < 18)
        number = number * 10 + (uint64_t)(*p++ - '0');
    if (strcmp(p, ".seg") != 0 || p == name + 3)
        return 0;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        uint64_t *items = mp__realloc_array(list->items, capacity, sizeof(*items));

        if (!items)
            return MP_ENOMEM;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = number;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return (x > y) - (x < y);
}

static int load_all(mp__l3 *l3, mp__diag *diag)
{
    numbers list = {0};
    int rc = mp__env_list(l3->env, l3->dir, note_number, &list);

    if (list.count)
        qsort(list.items, list.count, sizeof(*list.items), compare_numbers);
    for (size_t i = 0; i < list.count && rc == 0; i++) {
        rc = segment_load(l3, list.items[i], diag);
        l3->next_number = list.items[i] + 1;
    }
    (void)mp__free(list.items);
    return rc;
}

int mp__l3_recover(mp__l3 *l3, mp__diag *diag)
{
    uint64_t started = mp__env_now_ns(l3->env);
    char path[4200];
    int rc = mp__env_mkdir(l3->env, l3->dir);

    (void)snprintf(path, sizeof(path), "%s/l3.lock", l3->dir);
    if (rc == 0 && !l3->lock_file)
        rc = mp__file_open(l3->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE, &l3->lock_file);
    if (rc == 0)
        rc = mp__file_lock(l3->lock_file);
    if (rc == MP_ELOCKED)
        return mp__diag_set(
            diag, rc, "%s belongs to another process; stop it or use another folder", l3->dir);
    if (rc == 0)
        rc = id_load(l3, diag);
    if (rc == 0)
        rc = load_all(l3, diag);
    if (rc == 0)
        continue_last(l3);
    atomic_store(&l3->recovery_ns, mp__env_now_ns(l3->env) - started);
    return rc;
}
