/* SPDX-License-Identifier: Apache-2.0 */
/* Where a parser of ours stands in its text: the next byte, and the place for errors. Columns count
 * bytes from 1, as compilers count them. */
#ifndef MP_FORMAT_TEXT_H
#define MP_FORMAT_TEXT_H

#include "format/leaves.h"

typedef struct mp__text {
    mp_str bytes;
    size_t at, line_start;
    int line;
    mp__diag *diag;
} mp__text;

/* @bytes behind the byte order mark that some editors put before UTF-8, if there is one. */
mp_str mp__text_unmarked(mp_str bytes);

/* At the first byte, behind a byte order mark. */
mp__text mp__text_begin(mp_str bytes, mp__diag *diag);

/* MP_ESYNTAX, said of the byte @at of the present line. */
int mp__text_error(const mp__text *t, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same of the byte where @t stands, naming what is found there: "... is expected here, not
 * 'x'". */
int mp__text_expected(const mp__text *t, const char *what);

/* The same of a stray carriage return. */
int mp__text_stray(const mp__text *t);

/* Add what a name and a value made, which began at @at of the present line; says what is too long,
 * or no name. */
MP_MUST_USE int mp__text_add(const mp__text *t, size_t at, mp__leaves *leaves, mp_str key,
                             mp_str value, const char *media_type);

/* MP_ELIMIT of what began at @at of the present line. */
int mp__text_limit(const mp__text *t, size_t at);

/* Sort @leaves into *ret_leaves when @rc is 0 and no key is there twice; else free them. */
MP_MUST_USE int mp__text_end(const mp__text *t, int rc, mp__leaves *leaves, mp__leaves *ret_leaves);

static inline int mp__text_peek(const mp__text *t)
{
    return t->at < t->bytes.size ? (unsigned char)t->bytes.data[t->at] : -1;
}

/* The byte @ahead of the next one, or -1. */
static inline int mp__text_ahead(const mp__text *t, size_t ahead)
{
    return t->bytes.size - t->at > ahead ? (unsigned char)t->bytes.data[t->at + ahead] : -1;
}

static inline int mp__text_column(const mp__text *t, size_t at)
{
    return (int)(at - t->line_start) + 1;
}

/* A line break was taken. */
static inline void mp__text_line(mp__text *t)
{
    t->line++;
    t->line_start = t->at;
}

static inline void mp__text_skip_blanks(mp__text *t)
{
    while (mp__text_peek(t) == ' ' || mp__text_peek(t) == '\t')
        t->at++;
}

/* Whether a carriage return stands here that no line feed follows. Some readers take it for the end
 * of the line and others for a byte of it, so that what is behind it would be read or not. */
static inline bool mp__text_is_stray(const mp__text *t)
{
    return mp__text_peek(t) == '\r' && mp__text_ahead(t, 1) != '\n' && mp__text_ahead(t, 1) != -1;
}

/* To the beginning of the next line, or the end: 0, or MP_ESYNTAX at a stray carriage return. */
static inline int mp__text_skip_line(mp__text *t)
{
    for (; mp__text_peek(t) != -1 && mp__text_peek(t) != '\n'; t->at++)
        if (mp__text_is_stray(t))
            return mp__text_stray(t);
    if (mp__text_peek(t) == '\n') {
        t->at++;
        mp__text_line(t);
    }
    return 0;
}

/* Append the code point as UTF-8; false when it is none (a surrogate, beyond U+10FFFF). */
bool mp__utf8_add(mp__buf *out, uint32_t code);

#endif
