/* SPDX-License-Identifier: Apache-2.0 */
/* Writing JSON into a buffer, for status, logs and explanations; commas are the writer's business.
 *
 *     mp__json_begin(&out, '{');
 *     mp__json_key(&out, "name"); mp__json_string(&out, name);
 *     mp__json_end(&out, '}');
 */
#ifndef MP_CORE_JSON_H
#define MP_CORE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

/* Bytes of the UTF-8 sequence at @p of @left bytes, 0 when it is none (RFC 3629). */
size_t mp__utf8_size(const unsigned char *p, size_t left);
bool mp__is_utf8(mp_str text);      /* all of it is UTF-8 */
bool mp__is_printable(mp_str text); /* the same, and none of it is a control, C1 included */

/* A quoted string; bytes that are not UTF-8 become U+FFFD. No comma is written before it. */
void mp__json_string(mp__buf *out, mp_str text);

/* '{' or '['; a comma first where one is due. */
void mp__json_begin(mp__buf *out, char bracket);
void mp__json_end(mp__buf *out, char bracket);
/* "name": with a comma first where one is due. */
void mp__json_key(mp__buf *out, const char *name);

/* Members of an object in one call. */
void mp__json_add_string(mp__buf *out, const char *name, mp_str value);
void mp__json_add_text(mp__buf *out, const char *name, const char *value);
void mp__json_add_u64(mp__buf *out, const char *name, uint64_t value);
void mp__json_add_i64(mp__buf *out, const char *name, int64_t value);
void mp__json_add_bool(mp__buf *out, const char *name, bool value);
void mp__json_add_real(mp__buf *out, const char *name, double value); /* 6 digits */

/* Not JSON: @text as a terminal may be given it. Controls, C1 included, are written as in a JSON
 * string, but for line ends and tabs, and bytes that are not UTF-8 become U+FFFD. */
void mp__shown_add(mp__buf *out, mp_str text);

/* "name": "text" where the bytes are UTF-8, else "name_base64": "...". @name of at most 48 bytes.
 */
void mp__json_add_bytes(mp__buf *out, const char *name, mp_str bytes);

/* A finite number as the shortest text that reads back the same, with a point or an exponent; @out
 * holds 32 bytes. Returns its size. */
size_t mp__real_text(double value, char *out);

#endif
