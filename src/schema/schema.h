/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to JSON documents as a whole, pure: they are changed by a patch.
 *
 * All functions are text in, text out; any thread. Documents may be nested MP__TREE_DEPTH_MAX deep;
 * a name that is there twice in one object is refused. What a printed document has lost against its
 * text: white space, and how a number was spelled. Integers are exact and must fit 64 bits (larger
 * ones are refused, never rounded); other numbers are doubles, printed as the shortest text that
 * reads back as the same double, so 1.50 becomes 1.5 and 1e2 becomes 100.0. The order of the names
 * of an object is kept. */
#ifndef MP_SCHEMA_SCHEMA_H
#define MP_SCHEMA_SCHEMA_H

#include "core/buf.h"
#include "core/error.h"

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

#endif
