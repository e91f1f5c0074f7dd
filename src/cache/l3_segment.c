/* SPDX-License-Identifier: Apache-2.0 */
/* Segments as files. */
#include "cache/l3_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void mp__l3_segment_path(const mp__l3 *l3, uint64_t number, char path[MP__L3_PATH_MAX])
{
    (void)snprintf(path, MP__L3_PATH_MAX, "%s/l3-%010" PRIu64 ".seg", l3->dir, number);
}

bool mp__l3_segment_is_gone(const mp__l3 *l3, const mp__l3_segment *segment)
{
    char path[MP__L3_PATH_MAX];
    mp__stat stat;

    mp__l3_segment_path(l3, segment->seed.number, path);
    return mp__env_stat(l3->env, path, &stat) == -ENOENT;
}

enum {
    PIECE = 4096, /* what is read at once where the disk has errors */
    SCAN_PIECE = 256 * 1024,
};

/* ---- in memory ---- */

int mp__l3_segment_new(mp__l3 *l3, const mp__l3_seed *seed, mp__file *file,
                       mp__l3_segment **ret_segment)
{
    mp__l3_segment *segment = mp__calloc(1, sizeof(*segment));

    if (!segment)
        return MP_ENOMEM;
    segment->seed = *seed;
    segment->file = file;
    /* a version that does not know what a secret is made of takes that of a folder without its id
     * for the folder's */
    segment->is_ours = memcmp(&seed->secret, &l3->hash_key, sizeof(l3->hash_key)) == 0 &&
                       memcmp(&seed->footer, &l3->secret, sizeof(l3->secret)) == 0;
    atomic_init(&segment->refs, 1);
    if (mp__l3_index_enter(&l3->index, segment) == 0) {
        (void)mp__free(segment);
        return MP_ELIMIT;
    }
    *ret_segment = segment;
    return 0;
}

void mp__l3_segment_unref(mp__l3_segment *segment)
{
    if (atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) != 1)
        return;
    mp__file_close(segment->file);
    (void)mp__free(segment->rows);
    (void)mp__free(segment);
}

void mp__l3_segment_append(mp__l3 *l3, mp__l3_segment *segment)
{
    mp__l3_segment **last = &l3->segments;

    while (*last)
        last = &(*last)->next;
    *last = segment;
    mp__l3_count(&l3->segment_count, 1);
    mp__l3_count(&l3->bytes, segment->size);
}

int mp__l3_segment_delete(mp__l3 *l3, mp__l3_segment *segment)
{
    mp__l3_segment **link = &l3->segments;
    char path[MP__L3_PATH_MAX];
    int rc;

    assert(atomic_load(&segment->live_bytes) == 0);
    mp__l3_segment_path(l3, segment->seed.number, path);
    rc = mp__env_unlink(l3->env, path);
    if (rc && rc != -ENOENT)
        return rc; /* it would be there again after a restart, so it stays in the list */
    l3->names_dirty = true;
    while (*link != segment)
        link = &(*link)->next;
    *link = segment->next;
    mp__l3_uncount(&l3->bytes, segment->size);
    mp__l3_uncount(&l3->segment_count, 1);
    mp__l3_index_leave(&l3->index, segment);
    mp__l3_segment_unref(segment);
    return 0;
}

int mp__l3_names_sync(mp__l3 *l3)
{
    int rc = l3->names_dirty ? mp__env_sync_dir(l3->env, l3->dir) : 0;

    l3->names_dirty = rc != 0;
    return rc;
}

int mp__l3_segment_reserve(mp__l3_segment *segment, size_t more)
{
    size_t need = segment->row_count + more;

    if (need > segment->row_capacity) {
        size_t capacity = segment->row_capacity * 2 > need ? segment->row_capacity * 2 : need;
        mp__l3_row *rows = mp__realloc_array(segment->rows, capacity, sizeof(*rows));

        if (!rows)
            return MP_ENOMEM;
        segment->rows = rows;
        segment->row_capacity = capacity;
    }
    return 0;
}

void mp__l3_segment_add_row(mp__l3_segment *segment, const mp__l3_row *row)
{
    assert(segment->row_count < segment->row_capacity);
    segment->rows[segment->row_count++] = *row;
}

/* ---- making ---- */

/* Head and name are on disk before the first record is, so that a crash leaves no nameless file and
 * no file without a head. */
static int write_head(mp__l3 *l3, mp__file *file, const mp__l3_segment_head *head)
{
    unsigned char bytes[MP__L3_SEGMENT_HEAD];
    int rc;

    mp__l3_head_write(head, bytes);
    rc = mp__file_pwrite(file, bytes, sizeof(bytes), 0);
    if (rc == 0)
        rc = mp__file_sync(file);
    l3->names_dirty = true;
    return rc ? rc : mp__l3_names_sync(l3);
}

int mp__l3_segment_create(mp__l3 *l3, mp__l3_segment **ret_segment)
{
    mp__l3_seed seed = {l3->hash_key, l3->next_number, l3->key, l3->secret};
    mp__l3_segment_head head = {.number = seed.number,
                                .secret = seed.secret,
                                .made_of = l3->secret,
                                .created_ms = mp__env_wall_ms(l3->env),
                                .key_id = l3->key ? mp__l3_key_id(l3->key) : 0};
    const int how = MP__OPEN_WRITE | MP__OPEN_CREATE | MP__OPEN_EXCLUSIVE;
    char path[MP__L3_PATH_MAX];
    mp__l3_segment *segment;
    mp__file *file;
    int rc;

    mp__l3_segment_path(l3, seed.number, path);
    rc = mp__file_open(l3->env, path, how, &file);
    if (rc == -ENOENT && (rc = mp__l3_folder_again(l3)) == 0)
        rc = mp__file_open(l3->env, path, how, &file);
    if (rc && rc != -EEXIST)
        return rc;
    l3->next_number++; /* a number is never used twice, also when what follows fails */
    if (rc)
        return rc;
    memcpy(head.folder, l3->folder, sizeof(head.folder));
    rc = write_head(l3, file, &head);
    if (rc == 0)
        rc = mp__l3_segment_new(l3, &seed, file, &segment);
    if (rc) {
        mp__file_close(file);
        (void)mp__env_unlink(l3->env, path);
        return rc;
    }
    segment->size = MP__L3_SEGMENT_HEAD;
    mp__l3_segment_append(l3, segment);
    *ret_segment = segment;
    return 0;
}

int mp__l3_segment_footer(mp__l3 *l3, mp__l3_segment *segment)
{
    size_t size = mp__l3_footer_size(segment->row_count);
    unsigned char *footer = mp__malloc(size);
    int rc;

    if (!footer)
        return MP_ENOMEM;
    mp__l3_footer_write(segment->rows, segment->row_count, &segment->seed, footer);
    rc = mp__file_pwrite(segment->file, footer, size, segment->size);
    (void)mp__free(footer);
    if (rc) {
        (void)mp__file_truncate(segment->file, segment->size);
        return rc;
    }
    segment->size += size;
    segment->has_footer = true;
    mp__l3_count(&l3->bytes, size);
    return 0;
}

void mp__l3_segment_forget_rows(mp__l3_segment *segment)
{
    segment->rows = mp__free(segment->rows);
    segment->row_count = segment->row_capacity = 0;
}

/* ---- rows ---- */

int mp__l3_segment_read(mp__l3_segment *segment, void *data, size_t size, uint64_t offset)
{
    int64_t n = mp__file_pread(segment->file, data, size, offset);

    return n < 0 ? (int)n : (size_t)n == size ? 0 : MP_ECORRUPT;
}

int mp__l3_footer_find(mp__l3_segment *segment, mp__l3_footer *ret_footer)
{
    unsigned char trailer[MP__L3_TRAILER];
    int rc;

    if (segment->size < MP__L3_SEGMENT_HEAD + MP__L3_TRAILER)
        return MP_ECORRUPT;
    rc = mp__l3_segment_read(segment, trailer, sizeof(trailer), segment->size - sizeof(trailer));
    return rc ? rc : mp__l3_trailer_read(trailer, segment->size, &segment->seed, ret_footer);
}

static int compare_offsets(const void *a, const void *b)
{
    const mp__l3_row *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

void mp__l3_rows_in_order(mp__l3_row *rows, size_t count)
{
    if (count)
        qsort(rows, count, sizeof(*rows), compare_offsets);
}

int mp__l3_rows_from_footer(mp__l3_segment *segment, mp__l3_row **ret_rows, size_t *ret_count)
{
    MP__CLEANUP_FREE unsigned char *data = NULL;
    mp__l3_footer footer;
    mp__l3_row *rows;
    int rc = mp__l3_footer_find(segment, &footer);

    if (rc)
        return rc;
    data = mp__malloc(footer.count * MP__L3_ROW + 1);
    rows = mp__realloc_array(NULL, footer.count + 1, sizeof(*rows));
    rc = data && rows
             ? mp__l3_segment_read(segment, data, footer.count * MP__L3_ROW, footer.rows_at)
             : MP_ENOMEM;
    if (rc == 0)
        rc = mp__l3_rows_read(data, &footer, &segment->seed, rows);
    if (rc) {
        (void)mp__free(rows);
        return rc;
    }
    if (footer.directory_at && footer.count) /* by parts: back into the order of the log */
        mp__l3_rows_in_order(rows, footer.count);
    *ret_rows = rows;
    *ret_count = footer.count;
    return 0;
}

typedef struct scan {
    const mp__hasher *hasher;
    unsigned char *data; /* a piece of the segment, */
    size_t base;         /* which begins here */
    const mp__l3_seed *seed;
    mp__l3_row *rows;
    size_t count, capacity;
    size_t certain; /* rows before this one stand */
    size_t forged;  /* records whose sums hold and whose seal does not */
    int rc;
} scan;

/* A damaged record counts as GONE where it is certain that all of it had reached the disk: a record
 * that the power failed on is not there yet, and what it should have replaced still is. */
static void scan_record(void *context, const mp__l3_found *as_read)
{
    scan *s = context;
    mp__l3_found unsealed = *as_read;
    const mp__l3_found *found = &unsealed;

    if (mp__l3_record_unseal(s->data + (unsealed.offset - s->base), s->seed, &unsealed) != 0) {
        s->forged++;
        return;
    }

    if (found->kind == MP__L3_MARK) {
        s->certain = found->damaged ? s->certain : s->count;
        return;
    }
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 256;
        mp__l3_row *rows = mp__realloc_array(s->rows, capacity, sizeof(*rows));

        if (!rows) {
            s->rc = MP_ENOMEM;
            return;
        }
        s->rows = rows;
        s->capacity = capacity;
    }
    s->rows[s->count++] = (mp__l3_row){
        .hash = mp__hasher_hash(s->hasher, found->record.address),
        .revision = found->record.revision,
        .offset = found->offset,
        .size = found->size,
        .kind = found->damaged ? 0 : found->kind,
        .flags = found->flags,
    };
}

static void settle_damaged(scan *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->count; i++) {
        if (s->rows[i].kind == 0 && i >= s->certain)
            continue;
        s->rows[kept] = s->rows[i];
        if (s->rows[kept].kind == 0)
            s->rows[kept].kind = MP__L3_GONE;
        kept++;
    }
    s->count = kept;
}

/* What can be read of @size bytes at @offset: where the disk has an error, zeros stand in its
 * place, which the search takes for damage. */
static int64_t read_what_can_be(mp__l3_segment *segment, unsigned char *data, size_t size,
                                uint64_t offset)
{
    int64_t n = mp__file_pread(segment->file, data, size, offset);
    size_t step;

    if (n != -EIO)
        return n;
    for (size_t at = 0; at < size; at += step) {
        step = size - at < PIECE ? size - at : PIECE;
        memset(data + at, 0, step);
        n = mp__file_pread(segment->file, data + at, step, offset + at);
        if (n < 0 && n != -EIO)
            return n;
    }
    return (int64_t)size;
}

/* By pieces that stay in the processor's caches: a segment as a whole costs more in fresh pages
 * than in sums. */
static int walk_file(mp__l3_segment *segment, scan *s, mp__l3_walk *walk)
{
    size_t capacity = 0, need = SCAN_PIECE;
    bool is_last = segment->size <= walk->at;
    int64_t n = 0;

    while (!is_last && n >= 0 && s->rc == 0) {
        uint64_t left = segment->size - walk->at;

        if (need > capacity) {
            unsigned char *data = mp__realloc(s->data, need);

            if (!data)
                return MP_ENOMEM;
            s->data = data;
            capacity = need;
        }
        s->base = walk->at;
        n = read_what_can_be(segment, s->data, left < capacity ? (size_t)left : capacity, walk->at);
        is_last = n < 0 || (uint64_t)n == left || (size_t)n < capacity;
        if (n >= 0)
            need = mp__l3_segment_walk(walk, s->data, (size_t)n, is_last, s->seed, scan_record, s);
    }
    return n < 0 ? (int)n : s->rc;
}

int mp__l3_rows_from_scan(mp__l3 *l3, mp__l3_segment *segment, mp__l3_row **ret_rows,
                          size_t *ret_count, mp__l3_scan *ret_scan)
{
    scan s = {.hasher = &l3->hasher, .seed = &segment->seed};
    mp__l3_walk walk = mp__l3_walk_begin();
    int rc = walk_file(segment, &s, &walk);

    (void)mp__free(s.data);
    if (rc) {
        (void)mp__free(s.rows);
        return rc;
    }
    *ret_scan =
        (mp__l3_scan){.end = walk.good, .damaged = walk.damaged + s.forged, .certain = s.certain};
    settle_damaged(&s);
    *ret_rows = s.rows;
    *ret_count = s.count;
    return 0;
}

static int rows_from_memory(const mp__l3_segment *segment, mp__l3_row **ret_rows, size_t *ret_count)
{
    mp__l3_row *rows = mp__realloc_array(NULL, segment->row_count + 1, sizeof(*rows));

    if (!rows)
        return MP_ENOMEM;
    if (segment->row_count)
        memcpy(rows, segment->rows, segment->row_count * sizeof(*rows));
    *ret_rows = rows;
    *ret_count = segment->row_count;
    return 0;
}

int mp__l3_segment_rows(mp__l3 *l3, mp__l3_segment *segment, mp__l3_row **ret_rows,
                        size_t *ret_count)
{
    mp__l3_scan scan_result;
    int rc = MP_ECORRUPT;

    if (segment->rows)
        return rows_from_memory(segment, ret_rows, ret_count);
    if (segment->has_footer && segment->is_ours)
        rc = mp__l3_rows_from_footer(segment, ret_rows, ret_count);
    if (rc == MP_ECORRUPT)
        rc = mp__l3_rows_from_scan(l3, segment, ret_rows, ret_count, &scan_result);
    return rc;
}
