/* SPDX-License-Identifier: Apache-2.0 */
/* Segments as files. */
#include "cache/l3_internal.h"

#include <inttypes.h>
#include <stdio.h>

void mp__l3_segment_path(const mp__l3 *l3, uint64_t number, char *path, size_t capacity)
{
    (void)snprintf(path, capacity, "%s/l3-%010" PRIu64 ".seg", l3->dir, number);
}

mp__l3_segment *mp__l3_segment_new(uint64_t number, mp__file *file)
{
    mp__l3_segment *segment = mp__calloc(1, sizeof(*segment));

    if (!segment)
        return NULL;
    segment->number = number;
    segment->file = file;
    atomic_init(&segment->refs, 1);
    return segment;
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
}

int mp__l3_segment_create(mp__l3 *l3, mp__l3_segment **ret_segment)
{
    mp__l3_segment_head head = {.number = l3->next_number, .created_ms = mp__env_wall_ms(l3->env)};
    unsigned char bytes[MP__L3_SEGMENT_HEAD];
    char path[4200];
    mp__l3_segment *segment;
    mp__file *file;
    int rc;

    mp__l3_segment_path(l3, head.number, path, sizeof(path));
    rc = mp__file_open(l3->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE | MP__OPEN_EXCLUSIVE, &file);
    if (rc)
        return rc;
    l3->next_number++; /* a number is never used twice, also when what follows fails */
    memcpy(head.folder, l3->folder, sizeof(head.folder));
    mp__l3_head_write(&head, bytes);
    rc = mp__file_pwrite(file, bytes, sizeof(bytes), 0);
    if (rc == 0)
        rc = mp__env_sync_dir(l3->env, l3->dir);
    segment = rc ? NULL : mp__l3_segment_new(head.number, file);
    if (!segment) {
        mp__file_close(file);
        (void)mp__env_unlink(l3->env, path);
        return rc ? rc : MP_ENOMEM;
    }
    segment->size = sizeof(bytes);
    mp__l3_count(&l3->bytes, sizeof(bytes));
    mp__l3_segment_append(l3, segment);
    *ret_segment = segment;
    return 0;
}

int mp__l3_segment_add_row(mp__l3_segment *segment, const mp__l3_row *row)
{
    if (segment->row_count == segment->row_capacity) {
        size_t capacity = segment->row_capacity ? segment->row_capacity * 2 : 256;
        mp__l3_row *rows = mp__realloc_array(segment->rows, capacity, sizeof(*rows));

        if (!rows)
            return MP_ENOMEM;
        segment->rows = rows;
        segment->row_capacity = capacity;
    }
    segment->rows[segment->row_count++] = *row;
    return 0;
}

int mp__l3_segment_seal(mp__l3 *l3, mp__l3_segment *segment)
{
    size_t size = segment->row_count * MP__L3_ROW + MP__L3_TRAILER;
    unsigned char *footer = mp__malloc(size);
    int rc;

    if (!footer)
        return MP_ENOMEM;
    mp__l3_footer_write(segment->rows, segment->row_count, l3->folder, footer);
    rc = mp__file_pwrite(segment->file, footer, size, segment->size);
    if (rc == 0)
        rc = mp__file_sync(segment->file);
    (void)mp__free(footer);
    if (rc)
        return rc;
    segment->size += size;
    segment->synced_rows = segment->row_count;
    segment->sealed = true;
    mp__l3_count(&l3->bytes, size);
    return 0;
}
