/* SPDX-License-Identifier: Apache-2.0 */
/* JSON texts read into trees of jansson, or only looked at, with the exact place of what is wrong:
 * jansson tells where it stopped reading, which is behind the wrong token, and of an empty text
 * nothing of use. */
#ifndef MP_CORE_JSON_READ_H
#define MP_CORE_JSON_READ_H

#include <stdbool.h>

#include "core/error.h"

typedef struct json_t json_t;

/* Read @text (RFC 8259, any value at the top, no name twice in an object). @wide: integers of more
 * than 64 bits are taken as doubles, and then all of the text are; else they are refused.
 * MP_ESYNTAX: @diag says what is wrong, and the line and column, from 1, in bytes, of the first
 * byte of the token that is; of a text that ends too early, of its end. -ERANGE: the same of a
 * number that cannot be held. MP_ELIMIT: nested too deep. MP_ENOMEM. */
MP_MUST_USE int mp__json_read(mp_str text, bool wide, json_t **ret_tree, mp__diag *diag);

/* Whether @text is JSON by the grammar of RFC 8259, nested no deeper than mp__json_read() reads:
 * without memory, and names and numbers are not looked at beyond that. MP_ESYNTAX as there. */
MP_MUST_USE int mp__json_check(mp_str text, mp__diag *diag);

/* Where the value to which the JSON Pointer @pointer (RFC 6901) leads begins in @text, which is
 * JSON: line and column, from 1, in bytes. False: it leads nowhere. Pure. */
bool mp__json_place(mp_str text, const char *pointer, int *ret_line, int *ret_column);

#endif
