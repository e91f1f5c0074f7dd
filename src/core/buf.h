/* SPDX-License-Identifier: Apache-2.0 */
/* A growing run of bytes with a hard limit: what replies, files and messages are built in. */
#ifndef MP_CORE_BUF_H
#define MP_CORE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <marketprism/error.h>
#include <marketprism/str.h>

typedef struct mp__buf {
    char *data;
    size_t size, capacity;
    size_t size_max; /* 0: no limit but memory */
    int error;       /* first failure, kept: MP_ENOMEM or MP_ELIMIT; appends then do nothing */
} mp__buf;

#define MP__BUF_INIT ((mp__buf){0})

/* Free what the buffer holds and make it empty again; the limit stays. */
void mp__buf_done(mp__buf *buf);

/* Make room for @extra more bytes. 0, MP_ENOMEM or MP_ELIMIT (also kept in buf->error). */
int mp__buf_reserve(mp__buf *buf, size_t extra);

/* Append; 0 or buf->error. Callers may append many times and look at buf->error once. */
int mp__buf_add(mp__buf *buf, const void *data, size_t size);
int mp__buf_add_char(mp__buf *buf, char c);
int mp__buf_add_u64(mp__buf *buf, uint64_t value); /* decimal */
int mp__buf_add_i64(mp__buf *buf, int64_t value);
int mp__buf_printf(mp__buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline int mp__buf_add_str(mp__buf *buf, mp_str text)
{
    return mp__buf_add(buf, text.data, text.size);
}

/* Drop the first @size bytes (at most buf->size). */
void mp__buf_consume(mp__buf *buf, size_t size);

/* Forget the content and the error, keep the memory. */
static inline void mp__buf_reset(mp__buf *buf)
{
    buf->size = 0;
    buf->error = 0;
}

static inline mp_str mp__buf_str(const mp__buf *buf)
{
    return mp_str_new(buf->data, buf->size);
}

/* Decimal digits of @value into @out (at least 20 bytes, not terminated); returns their number. */
size_t mp__u64_digits(uint64_t value, char *out);
/* The other way: digits alone, at most INT64_MAX. False: it is none, *ret_value is untouched. */
bool mp__digits_u64(mp_str text, uint64_t *ret_value);
/* A duration, as options, flags and requests write it: 500ms, 30s, 5m (or min), 1.5h, 7d; a plain
 * number is seconds. To the nearest millisecond. False: it is none, *ret_ms is untouched. */
bool mp__duration_ms(mp_str text, int64_t *ret_ms);

#endif
