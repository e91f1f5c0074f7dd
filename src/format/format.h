/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files as leaf keys and back, pure: bytes in, leaves out.
 *
 * A file is flattened: {"db": {"host": "a", "ports": [1, 2]}} gives db.host = a (text/plain),
 * db.ports[0] = 1 and db.ports[1] = 2 (application/json). A dot, bracket or backslash inside a name
 * is escaped with a backslash. The names of .env, INI and properties files are keys as they stand.
 * Strings keep their bytes as text/plain; numbers, true, false, null,
 * {} and [] keep their JSON text as application/json; dates, times, inf and nan of TOML keep their
 * text as application/toml; so that an export has the same data and types. Comments and order are
 * not kept. */
#ifndef MP_FORMAT_FORMAT_H
#define MP_FORMAT_FORMAT_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/error.h"

typedef struct mp__leaf {
    mp_str key, value, media_type;
    int line, column; /* where its file says it, from 1; 0: not known */
} mp__leaf;

typedef struct mp__leaves {
    mp__leaf *items;
    size_t count, capacity;
    struct mp__leaf_chunk *memory; /* where the bytes live */
} mp__leaves;

void mp__leaves_done(mp__leaves *leaves);

typedef struct json_t json_t; /* jansson's */

/* The tree that the leaves describe, a new reference in *ret_tree: the one that these leaves would
 * be made of. MP_EINVAL with the key when two contradict each other, a list has a hole, a value is
 * no JSON, or a key is no path and would come back as another one ("a..b"); MP_ENOMEM. */
int mp__leaves_tree(const mp__leaves *leaves, json_t **ret_tree, mp__diag *diag);
/* The same for who only looks at it: numbers of more than 64 bits are doubles. */
int mp__leaves_tree_wide(const mp__leaves *leaves, json_t **ret_tree, mp__diag *diag);

typedef struct mp__format {
    const char *name;              /* "json" */
    const char *const *extensions; /* ".json"; NULL-ended */
    const char *media_type;        /* "application/json" */
    bool is_text_only;             /* it has no types: what it prints reads back as text */
    /* Leaves of the bytes. MP_ESYNTAX with file:line:column and what was expected; MP_ELIMIT
     * (depth 64, 1,000,000 leaves, key or value too long); MP_ENOMEM; on an error *ret_leaves is
     * untouched. A duplicate key is an error. */
    int (*parse)(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag);
    /* The leaves as a file; MP_EINVAL with a text when they contradict each other (a and a.b) or
     * the format cannot say them. */
    int (*print)(const mp__leaves *leaves, mp__buf *out, mp__diag *diag);
} mp__format;

extern const mp__format *const mp__formats[]; /* NULL-ended */

const mp__format *mp__format_find(const char *name);              /* or NULL */
const mp__format *mp__format_of_path(const char *path);           /* by its ending, or NULL */
const mp__format *mp__format_of_media_type(mp_str type);          /* other names of one, too */
#define MP__FORMAT_NAMES "json, yaml, env, ini, properties, toml" /* for messages */

/* Whether the bytes of a file hold nothing that somebody would write who means "no keys", as {} or
 * a comment: white space, a byte order mark, null, or the marks of an empty YAML document. A file
 * that was cut or a query that found nothing leaves that. */
bool mp__format_is_blank(const mp__format *format, mp_str bytes);
/* What to write into a file that is meant to have no keys, for messages: "{}". */
const char *mp__format_no_keys(const mp__format *format);

/* Add a copy of one leaf; only the text of @media_type is not copied, and stays as long as the
 * leaves do: a constant (_add), or what whoever made the value keeps (_add_typed). MP_ENOMEM,
 * MP_ELIMIT. */
MP_MUST_USE int mp__leaves_add(mp__leaves *leaves, mp_str key, mp_str value,
                               const char *media_type);
MP_MUST_USE int mp__leaves_add_typed(mp__leaves *leaves, mp_str key, mp_str value,
                                     mp_str media_type);
/* Where the leaf that was added last stands in its file. */
void mp__leaves_place(mp__leaves *leaves, int line, int column);
/* Whether @key is where the JSON Pointer (RFC 6901) @pointer leads, or below, in the document that
 * the keys at @path and below it make ("": all keys): "db.ports[0]" is at "/db/ports/0", at "/db",
 * and at "". A key that is @path itself has the whole document in its value. Pure. */
bool mp__key_is_at(mp_str key, mp_str path, const char *pointer);
/* Where the value at @pointer begins in the file, of the leaves of the whole of it; of a map or
 * list its first leaf. NULL: it is not there, or has no place. */
const mp__leaf *mp__leaves_at(const mp__leaves *leaves, const char *pointer);
/* Sort by key; MP_EEXISTS with the key and its second place in @diag when one is there twice. */
MP_MUST_USE int mp__leaves_sort(mp__leaves *leaves, mp__diag *diag);

#endif
