/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to JSON documents as a whole, pure: they are changed by a patch, and checked against
 * a JSON Schema.
 *
 * Any thread. Documents may be nested MP__TREE_DEPTH_MAX deep;
 * a name that is there twice in one object is refused. What a printed document has lost against its
 * text: white space, and how a number was spelled. Integers are exact and must fit 64 bits (larger
 * ones are refused, never rounded); other numbers are doubles, printed as the shortest text that
 * reads back as the same double, so 1.50 becomes 1.5 and 1e2 becomes 100.0. The order of the names
 * of an object is kept. */
#ifndef MP_SCHEMA_SCHEMA_H
#define MP_SCHEMA_SCHEMA_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/error.h"

typedef struct json_t json_t; /* jansson's: a document that was read already */

enum {
    MP__TREE_DEPTH_MAX = 128,
    MP__PATCH_OPERATIONS_MAX = 10000, /* in one JSON Patch */
    MP__PATCH_NODES_MAX = 1000000,    /* that the copies of one JSON Patch may make */
};

/* Apply @patch to @target as RFC 7396 (JSON Merge Patch) says and append the result, compact, to
 * @out. @target with no data is absent: it becomes what the patch makes of nothing.
 * MP_ESYNTAX: the patch is no JSON, with line and column in it. MP_EUNSUPPORTED: the target is no
 * JSON. MP_ELIMIT: nested too deep, or longer than out->size_max. MP_ENOMEM. On an error nothing
 * was appended. */
MP_MUST_USE int mp__merge_patch(mp_str target, mp_str patch, mp__buf *out, mp__diag *diag);

/* Apply @patch to @target as RFC 6902 (JSON Patch) says, all operations or none, and append the
 * result, compact, to @out. The text of an error begins "operation N (op) at 'path': ", N from 0.
 * MP_ESYNTAX: the patch is no JSON, with line and column in it. MP_EINVAL: it is JSON and no patch
 * (no array, a member missing, unknown op, a path that is no JSON Pointer).
 * MP_EABSENT: a path leads nowhere in the target. MP_ECONFLICT: a "test" found something else.
 * MP_EUNSUPPORTED: the target is absent or no JSON. MP_ELIMIT: too many operations, too much work,
 * nested too deep, or longer than out->size_max. MP_ENOMEM. On an error nothing was appended. */
MP_MUST_USE int mp__json_patch(mp_str target, mp_str patch, mp__buf *out, mp__diag *diag);

/* ---- JSON Schema, draft 2020-12 ---- */

/* Never changed once compiled: any number of threads may check with it at once. */
typedef struct mp__schema mp__schema;

enum {
    MP__SCHEMA_BYTES_MAX = 1024 * 1024,
    MP__SCHEMA_NODES_MAX = 20000,    /* subschemas */
    MP__VIOLATIONS_MAX = 100,        /* that one check can tell */
    MP__SCHEMA_RECURSION_MAX = 1000, /* references and subschemas in one another */
};

/* One way in which a document breaks its schema, or a doubt about the schema itself. */
typedef struct mp__violation {
    char instance[256]; /* JSON Pointer of the place in the document; "" the whole; cut if longer */
    char schema[256];   /* JSON Pointer of the keyword in the schema */
    const char *keyword; /* "required"; static */
    char text[320];      /* what is wrong and what would be right, one line, no full stop */
} mp__violation;

typedef struct mp__violations {
    mp__violation *items; /* the caller's, with room for @capacity; may be NULL with 0 */
    size_t capacity;
    size_t count; /* found; those beyond @capacity are only counted, up to MP__VIOLATIONS_MAX */
} mp__violations;

/* Compile the schema @text. *warnings (may be NULL) gets what is probably not meant: a keyword that
 * is nearly a known one, a format that is not checked, a keyword of an older draft.
 * MP_ESYNTAX: no JSON, with line and column. MP_EINVAL: no schema, with the place, also as line
 * and column, and the remedy in @diag (also a $ref that leads out of the document: nothing is
 * fetched). MP_ELIMIT; MP_ENOMEM. */
MP_MUST_USE int mp__schema_compile(mp_str text, mp__schema **ret_schema, mp__violations *warnings,
                                   mp__diag *diag);
/* Accepts NULL, returns NULL. */
mp__schema *mp__schema_free(mp__schema *schema);

/* Check the JSON @text, or @document, against @schema. 0: it holds. MP_EINVAL: it does not, and
 * *violations (may be NULL) says why. MP_ESYNTAX: no JSON. MP_ELIMIT: too much work, or a pattern
 * that takes too long, or a schema that refers to itself for ever; MP_ENOMEM. */
MP_MUST_USE int mp__schema_check(const mp__schema *schema, mp_str text, mp__violations *violations,
                                 mp__diag *diag);
MP_MUST_USE int mp__schema_check_tree(const mp__schema *schema, const json_t *document,
                                      mp__violations *violations, mp__diag *diag);

#endif
