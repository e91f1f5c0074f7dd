/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in the journal of write-back: a write, that one has arrived, or over which revision
 * one now stands. Numbers are little endian, 8 bytes each; then the bytes of the texts. */
#include <endian.h>
#include <string.h>

#include "manager/write_back_internal.h"

enum { NUMBERS = 11, SIZES = 7 /* the first of the four sizes */ };

static int add_numbers(mp__buf *out, const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t n = htole64(numbers[i]);

        (void)mp__buf_add(out, &n, sizeof(n));
    }
    return out->error;
}

int mp__back_encode(const mp__pending *p, mp__buf *out)
{
    mp_str address = mp__entry_address(p->entry), media = mp__entry_media_type(p->entry);
    mp_str value = mp_blob_str(&p->entry->blob.pub);
    const uint64_t numbers[NUMBERS] = {
        MP__BACK_WRITE,
        p->sequence,
        p->entry->kind,
        p->base_known,
        p->base,
        (uint64_t)p->entry->expires_ms,
        (uint64_t)p->accepted_ms,
        strlen(p->identity.name),
        address.size,
        media.size,
        value.size,
    };

    mp__buf_reset(out);
    (void)add_numbers(out, numbers, NUMBERS);
    (void)mp__buf_add(out, p->identity.name, strlen(p->identity.name));
    (void)mp__buf_add_str(out, address);
    (void)mp__buf_add_str(out, media);
    return mp__buf_add_str(out, value);
}

int mp__back_encode_mark(enum mp__back_kind kind, uint64_t sequence, uint64_t base, mp__buf *out)
{
    const uint64_t numbers[3] = {kind, sequence, base};

    mp__buf_reset(out);
    return add_numbers(out, numbers, 3);
}

static uint64_t number_at(mp_str record, size_t i)
{
    uint64_t n;

    memcpy(&n, record.data + i * sizeof(n), sizeof(n));
    return le64toh(n);
}

/* The next @size bytes of @rest; false when there are not so many. */
static bool cut(mp_str *rest, uint64_t size, mp_str *ret_part)
{
    if (size > rest->size)
        return false;
    *ret_part = mp_str_new(rest->data, (size_t)size);
    *rest = mp_str_new(rest->data + size, rest->size - (size_t)size);
    return true;
}

int mp__back_decode(mp_str record, mp__back_record *ret_record)
{
    mp__back_record r = {0};
    mp_str rest;

    if (record.size < 3 * 8)
        return MP_ECORRUPT;
    r.kind = (enum mp__back_kind)number_at(record, 0);
    r.sequence = number_at(record, 1);
    if (r.kind == MP__BACK_ARRIVED || r.kind == MP__BACK_REBASED) {
        r.base = number_at(record, 2);
        *ret_record = r;
        return record.size == 3 * 8 ? 0 : MP_ECORRUPT;
    }
    if (r.kind != MP__BACK_WRITE || record.size < NUMBERS * 8)
        return MP_ECORRUPT;
    r.what.kind = number_at(record, 2) == MP__RECORD_ABSENT ? MP__RECORD_ABSENT : MP__RECORD_VALUE;
    r.base_known = number_at(record, 3) != 0;
    r.base = number_at(record, 4);
    r.what.expires_ms = (int64_t)number_at(record, 5);
    r.accepted_ms = (int64_t)number_at(record, 6);
    rest = mp_str_new(record.data + NUMBERS * 8, record.size - NUMBERS * 8);
    if (!cut(&rest, number_at(record, SIZES), &r.actor) ||
        !cut(&rest, number_at(record, SIZES + 1), &r.what.address) ||
        !cut(&rest, number_at(record, SIZES + 2), &r.what.media_type) ||
        !cut(&rest, number_at(record, SIZES + 3), &r.what.value) || rest.size)
        return MP_ECORRUPT;
    *ret_record = r;
    return 0;
}
