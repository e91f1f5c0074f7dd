/* SPDX-License-Identifier: Apache-2.0 */
/* Between leaves and trees, for the formats of this folder. */
#ifndef MP_FORMAT_LEAVES_H
#define MP_FORMAT_LEAVES_H

#include <jansson.h>

#include "core/json.h"
#include "format/format.h"

enum {
    MP__FORMAT_DEPTH_MAX = 64,
    MP__FORMAT_LEAVES_MAX = 1000000,
    MP__FORMAT_KEY_MAX = 1024,
    MP__FORMAT_VALUE_MAX = 2 * 1024 * 1024,
};

#define MP__MEDIA_TEXT "text/plain"
#define MP__MEDIA_JSON "application/json"

/* The leaf of sorted @leaves that has this key, or NULL. */
mp__leaf *mp__leaves_find(const mp__leaves *leaves, mp_str key);

/* The path to where a walk stands, as the key it makes: "db.hosts[0]". Append one step, remember
 * the size before it, and cut back to that size to leave it. */
int mp__path_add_name(mp__buf *path, mp_str name);
int mp__path_add_index(mp__buf *path, size_t index);

/* Add all leaves of @tree below @path. A scalar at the very top is refused: it has no key. */
int mp__leaves_add_tree(mp__leaves *leaves, mp__buf *path, const json_t *tree, int depth,
                        mp__diag *diag);

#endif
