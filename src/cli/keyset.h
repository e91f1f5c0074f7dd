/* SPDX-License-Identifier: Apache-2.0 */
/* Keys with their values, from files or from a daemon, and in what two such sets differ: what
 * import, diff, export and edit work with. */
#ifndef MP_CLI_KEYSET_H
#define MP_CLI_KEYSET_H

#include "cli/cli.h"
#include "format/format.h"

typedef struct mp__key {
    mp_str name; /* "namespace/key", "default/key" too */
    mp_str value, media_type;
    int64_t revision;   /* 0: it comes from a file */
    int64_t expires_ms; /* 0: it does not */
    bool stays;         /* it is wanted without an expiry: the same value that ends is another */
    const char *path;   /* the file, borrowed; NULL: none */
    int line, column;
    char *memory;
} mp__key;

typedef struct mp__keyset {
    mp__key *items; /* by name */
    size_t count, capacity;
} mp__keyset;

void mp__keyset_done(mp__keyset *set);

/* Add a copy of @key with "namespace/" before its name; "": the name has it. 0 or MP_ENOMEM. */
MP_MUST_USE int mp__keyset_add(mp__keyset *set, mp_str namespace_, const mp__key *key);
/* By name. The first of two that have the same, or NULL. */
const mp__key *mp__keyset_sort(mp__keyset *set);
const mp__key *mp__keyset_find(const mp__keyset *set, mp_str name); /* or NULL */

/* The key with a place in a file that is first there, of those of the document @where ("namespace",
 * or with "/path" or "/key" behind it) to which the JSON Pointer @pointer leads, or NULL. */
const mp__key *mp__keyset_at(const mp__keyset *set, mp_str where, const char *pointer);

/* All keys that begin with @prefix ("namespace/" and more, "" all), as of @revision or, with 0, as
 * they are. Returns 0 or the exit code of what was said. */
int mp__keyset_fetch(const mp__arguments *arguments, mp__client *client, mp_str prefix,
                     int64_t revision, mp__keyset *set);

/* The leaves of one namespace of the set (without it), sorted. Views: the set must stay. */
MP_MUST_USE int mp__keyset_leaves(const mp__keyset *set, mp_str namespace_, mp__leaves *ret_leaves);

/* ---- differences ---- */

typedef struct mp__delta {
    const mp__key *from, *to; /* NULL: it is not there */
    const mp__key *key;       /* one that is there: whose name it is */
} mp__delta;

typedef struct mp__deltas {
    mp__delta *items; /* by name */
    size_t count, capacity;
    size_t added, changed, removed, same;
} mp__deltas;

void mp__deltas_done(mp__deltas *deltas);
/* Append what makes @to of @from; both sorted. 0 or MP_ENOMEM. */
MP_MUST_USE int mp__deltas_add(mp__deltas *deltas, const mp__keyset *from, const mp__keyset *to,
                               bool with_removed);
/* For people: a line each, in colour on a terminal. @environment may be NULL. */
void mp__deltas_print(const mp__deltas *deltas, size_t first, const char *environment);
/* The members "added", "changed", "removed" and "changes" into an object that was begun. */
void mp__deltas_json(const mp__deltas *deltas, mp__buf *json);

#endif
