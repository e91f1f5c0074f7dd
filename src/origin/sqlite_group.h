/* SPDX-License-Identifier: Apache-2.0 */
/* A group of changes as one record of the journal of the origin `sqlite`, and back. Pure. */
#ifndef MP_ORIGIN_SQLITE_GROUP_H
#define MP_ORIGIN_SQLITE_GROUP_H

#include "origin/sqlite.h"

/* Bytes of @count changes as a record; SIZE_MAX where that is no number. */
size_t mp__sqlite_group_size(const mp__sqlite_staged *staged, size_t count);
/* Write them to @out, which has room for all of them, and let the texts of @staged point there.
 * @base: the newest revision before them; @revision: the newest of them. */
void mp__sqlite_group_encode(const char epoch[33], uint64_t base, uint64_t revision,
                             mp__sqlite_staged *staged, size_t count, char *out);

/* A record that is being read; its texts point into it. */
typedef struct mp__sqlite_group {
    mp_str epoch; /* 32 bytes */
    uint64_t base, revision;
    uint64_t left; /* changes */
    mp_str rest;
} mp__sqlite_group;

/* 0 or MP_ECORRUPT. */
MP_MUST_USE int mp__sqlite_group_decode(mp_str record, mp__sqlite_group *ret_group);
/* The next change: 1, or 0 at the end, or MP_ECORRUPT. Its revision lies in the group. */
MP_MUST_USE int mp__sqlite_group_next(mp__sqlite_group *group, mp__sqlite_row *ret_row);

#endif
