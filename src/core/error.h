/* SPDX-License-Identifier: Apache-2.0 */
/* Errors inside the library: the public codes, and a place for a text that names what was wrong. */
#ifndef MP_CORE_ERROR_H
#define MP_CORE_ERROR_H

#include <stdint.h>

#include <marketprism/error.h>
#include <marketprism/str.h>

/* What was wrong and where; filled by whoever finds it, shown by the CLI, RESP and HTTP. */
typedef struct mp__diag {
    char file[256];   /* "" when it has none */
    int line, column; /* from 1; 0: no place */
    int row;          /* of a list that was judged, from 1; 0: none of them, or no list */
    char text[512];   /* what is wrong and what to do, one line, no full stop */
} mp__diag;

/* Write the text of @diag as printf would; @diag may be NULL. Returns @error, so that a function
 * can end with: return mp__diag_set(diag, MP_ESYNTAX, "..."); */
int mp__diag_set(mp__diag *diag, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with a place. */
int mp__diag_at(mp__diag *diag, int error, int line, int column, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The @i-th row of a list, from 0, is what @diag tells of; it may be NULL, and stays when @error is
 * 0. Returns @error. */
int mp__diag_row(mp__diag *diag, int error, size_t i);

/* How many bytes of @text, which came from outside, an error shows: at most 80, and whole
 * characters. For "%.*s". */
int mp__diag_shown(mp_str text);

/* "file:line:column: text" as far as known, into @buffer, always terminated. Returns @buffer. */
const char *mp__diag_format(const mp__diag *diag, char *buffer, size_t capacity);

#endif
