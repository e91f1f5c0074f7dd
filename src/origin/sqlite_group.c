/* SPDX-License-Identifier: Apache-2.0 */
/* A group of changes as one record of the journal, and back. Pure. Numbers are little endian.
 *
 *   group  = kind(8) base(8) revision(8) count(8) epoch(32) change*
 *   change = op(8) revision(8) created_revision(8) version(8) created_ms(8) modified_ms(8)
 *            expires_ms(8) at_ms(8) sizes(4 * 4) address media_type actor value
 *
 * @base is the newest revision before the group, @revision the newest in it. */
#include "origin/sqlite_group.h"

#include <endian.h>
#include <string.h>

enum { KIND = 1, NUMBERS = 8, SIZES = 4, EPOCH = 32, HEAD = 4 * 8 + EPOCH };
enum { CHANGE_HEAD = NUMBERS * 8 + SIZES * 4 };

static size_t change_size(const mp__sqlite_row *row)
{
    return CHANGE_HEAD + row->record.address.size + row->record.media_type.size + row->actor.size +
           row->record.value.size;
}

size_t mp__sqlite_group_size(const mp__sqlite_staged *staged, size_t count)
{
    size_t size = HEAD;

    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(size, change_size(&staged[i].row), &size))
            return SIZE_MAX;
    return size;
}

static char *put_numbers(char *at, const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++, at += 8) {
        uint64_t n = htole64(numbers[i]);

        memcpy(at, &n, sizeof(n));
    }
    return at;
}

/* The text's bytes, into which it points from now on. */
static char *put_text(char *at, mp_str *text)
{
    if (text->size)
        memcpy(at, text->data, text->size);
    text->data = at;
    return at + text->size;
}

static char *put_change(char *at, mp__sqlite_row *row)
{
    mp__record *r = &row->record;
    const uint64_t numbers[NUMBERS] = {
        row->op,
        r->revision,
        r->created_revision,
        r->version,
        (uint64_t)r->created_ms,
        (uint64_t)r->modified_ms,
        (uint64_t)r->expires_ms,
        (uint64_t)row->at_ms,
    };
    const uint32_t sizes[SIZES] = {
        htole32((uint32_t)r->address.size),
        htole32((uint32_t)r->media_type.size),
        htole32((uint32_t)row->actor.size),
        htole32((uint32_t)r->value.size),
    };

    at = put_numbers(at, numbers, NUMBERS);
    memcpy(at, sizes, sizeof(sizes));
    at = put_text(at + sizeof(sizes), &r->address);
    at = put_text(at, &r->media_type);
    at = put_text(at, &row->actor);
    return put_text(at, &r->value);
}

void mp__sqlite_group_encode(const char epoch[33], uint64_t base, uint64_t revision,
                             mp__sqlite_staged *staged, size_t count, char *out)
{
    const uint64_t numbers[4] = {KIND, base, revision, count};

    out = put_numbers(out, numbers, 4);
    memcpy(out, epoch, EPOCH);
    out += EPOCH;
    for (size_t i = 0; i < count; i++)
        out = put_change(out, &staged[i].row);
}

int mp__sqlite_group_decode(mp_str record, mp__sqlite_group *ret_group)
{
    mp__sqlite_group g;

    if (record.size < HEAD || mp__load_le64(record.data) != KIND)
        return MP_ECORRUPT;
    g.base = mp__load_le64(record.data + 8);
    g.revision = mp__load_le64(record.data + 16);
    g.left = mp__load_le64(record.data + 24);
    g.epoch = mp_str_new(record.data + 32, EPOCH);
    g.rest = mp_str_new(record.data + HEAD, record.size - HEAD);
    if (g.revision <= g.base || g.revision > INT64_MAX)
        return MP_ECORRUPT;
    *ret_group = g;
    return 0;
}

/* The next @size bytes of @rest; false when there are not so many. */
static bool cut(mp_str *rest, size_t size, mp_str *ret_part)
{
    if (size > rest->size)
        return false;
    *ret_part = mp_str_new(rest->data, size);
    *rest = mp_str_new(rest->data + size, rest->size - size);
    return true;
}

static uint32_t size_at(const char *at)
{
    uint32_t size;

    memcpy(&size, at, sizeof(size));
    return le32toh(size);
}

static bool is_op(uint64_t op)
{
    return op >= MP__OP_PUT && op <= MP__OP_RESTORED;
}

int mp__sqlite_group_next(mp__sqlite_group *group, mp__sqlite_row *ret_row)
{
    const char *at = group->rest.data;
    mp__sqlite_row row = {0};
    mp__record *r = &row.record;
    mp_str head;

    if (group->left == 0)
        return group->rest.size ? MP_ECORRUPT : 0;
    if (!cut(&group->rest, CHANGE_HEAD, &head) || !is_op(mp__load_le64(at)))
        return MP_ECORRUPT;
    group->left--;
    row.op = (enum mp__sqlite_op)mp__load_le64(at);
    r->kind = mp__sqlite_op_has_value(row.op) ? MP__RECORD_VALUE : MP__RECORD_ABSENT;
    r->revision = mp__load_le64(at + 8);
    r->created_revision = mp__load_le64(at + 16);
    r->version = mp__load_le64(at + 24);
    r->created_ms = (int64_t)mp__load_le64(at + 32);
    r->modified_ms = (int64_t)mp__load_le64(at + 40);
    r->expires_ms = (int64_t)mp__load_le64(at + 48);
    row.at_ms = (int64_t)mp__load_le64(at + 56);
    at += NUMBERS * 8;
    if (!cut(&group->rest, size_at(at), &r->address) ||
        !cut(&group->rest, size_at(at + 4), &r->media_type) ||
        !cut(&group->rest, size_at(at + 8), &row.actor) ||
        !cut(&group->rest, size_at(at + 12), &r->value))
        return MP_ECORRUPT;
    if (r->revision <= group->base || r->revision > group->revision)
        return MP_ECORRUPT;
    *ret_row = row;
    return 1;
}
