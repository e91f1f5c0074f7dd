/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the format TOML: values that reader and printer both must know. */
#ifndef MP_FORMAT_TOML_H
#define MP_FORMAT_TOML_H

#include "format/text.h"

/* What TOML has and JSON has not: dates, times, inf and nan. Their text as TOML says them is the
 * value, this the media type; formats without them print that text. */
#define MP__MEDIA_TOML "application/toml"

enum mp__toml_kind { MP__TOML_NONE, MP__TOML_INTEGER, MP__TOML_REAL, MP__TOML_OWN };

/* What the word is that is neither a quoted text nor true or false. Its text, as it is kept, is
 * appended to @out: 1_000 and 0x3e8 as 1000, 1979-05-27 07:32:00z as 1979-05-27T07:32:00Z, +inf as
 * inf. NONE: it is nothing; *ret_why says what would be right. Look at out->error first. */
enum mp__toml_kind mp__toml_word(mp_str word, mp__buf *out, const char **ret_why);

/* toml_print.c: the printer of the format. */
int mp__toml_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag);

#endif
