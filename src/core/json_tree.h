/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of jansson as text: what all who print JSON that was read before print with. */
#ifndef MP_CORE_JSON_TREE_H
#define MP_CORE_JSON_TREE_H

#include "core/buf.h"

struct json_t;

/* Append @tree: compact with @indent 0, else each member in a line of its own, so many blanks a
 * level. A real is the shortest text that reads back the same, with a point or an exponent, so that
 * it is a real again: jansson writes 17 digits, and 1.1 as 1.1000000000000001. Goes as deep as the
 * tree does, which whoever read it has bounded. out->error. */
int mp__json_tree(const struct json_t *tree, unsigned indent, mp__buf *out);

#endif
