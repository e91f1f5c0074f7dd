/* SPDX-License-Identifier: Apache-2.0 */
/* Replies and requests out. */
#include "protocol/resp.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* "<type><number>\r\n" in one append. */
static void head(mp__buf *out, char type, uint64_t number)
{
    char line[24];
    size_t n;

    line[0] = type;
    n = 1 + mp__u64_digits(number, line + 1);
    line[n++] = '\r';
    line[n++] = '\n';
    (void)mp__buf_add(out, line, n);
}

void mp__resp_simple(mp__buf *out, const char *text)
{
    (void)mp__buf_add_char(out, '+');
    (void)mp__buf_add(out, text, strlen(text));
    (void)mp__buf_add(out, "\r\n", 2);
}

void mp__resp_error(mp__buf *out, const char *code, const char *format, ...)
{
    char text[512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n < 0)
        n = 0;
    if ((size_t)n >= sizeof(text))
        n = sizeof(text) - 1;
    for (int i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20)
            text[i] = ' ';
    (void)mp__buf_add_char(out, '-');
    (void)mp__buf_add(out, code, strlen(code));
    (void)mp__buf_add_char(out, ' ');
    (void)mp__buf_add(out, text, (size_t)n);
    (void)mp__buf_add(out, "\r\n", 2);
}

void mp__resp_integer(mp__buf *out, int64_t value)
{
    if (value >= 0) {
        head(out, ':', (uint64_t)value);
        return;
    }
    (void)mp__buf_add_char(out, ':');
    (void)mp__buf_add_i64(out, value);
    (void)mp__buf_add(out, "\r\n", 2);
}

void mp__resp_bulk_head(mp__buf *out, size_t size)
{
    head(out, '$', size);
}

void mp__resp_bulk(mp__buf *out, mp_str value)
{
    head(out, '$', value.size);
    if (mp__buf_reserve(out, value.size + 2) != 0)
        return;
    if (value.size)
        memcpy(out->data + out->size, value.data, value.size);
    memcpy(out->data + out->size + value.size, "\r\n", 2);
    out->size += value.size + 2;
}

void mp__resp_null(mp__buf *out, int version)
{
    if (version >= 3)
        (void)mp__buf_add(out, "_\r\n", 3);
    else
        (void)mp__buf_add(out, "$-1\r\n", 5);
}

void mp__resp_null_array(mp__buf *out, int version)
{
    if (version >= 3)
        (void)mp__buf_add(out, "_\r\n", 3);
    else
        (void)mp__buf_add(out, "*-1\r\n", 5);
}

void mp__resp_array(mp__buf *out, size_t count)
{
    head(out, '*', count);
}

void mp__resp_map(mp__buf *out, size_t pairs, int version)
{
    if (version >= 3)
        head(out, '%', pairs);
    else
        head(out, '*', pairs * 2);
}

void mp__resp_set(mp__buf *out, size_t count, int version)
{
    head(out, version >= 3 ? '~' : '*', count);
}

void mp__resp_push(mp__buf *out, size_t count, int version)
{
    head(out, version >= 3 ? '>' : '*', count);
}

void mp__resp_bool(mp__buf *out, bool value, int version)
{
    if (version >= 3)
        (void)mp__buf_add(out, value ? "#t\r\n" : "#f\r\n", 4);
    else
        mp__resp_integer(out, value);
}

void mp__resp_double(mp__buf *out, double value, int version)
{
    char text[40];
    int n;

    if (isnan(value))
        n = snprintf(text, sizeof(text), "nan");
    else if (isinf(value))
        n = snprintf(text, sizeof(text), value > 0 ? "inf" : "-inf");
    else
        n = snprintf(text, sizeof(text), "%.17g", value);
    if (version < 3) {
        mp__resp_bulk(out, mp_str_new(text, (size_t)n));
        return;
    }
    (void)mp__buf_add_char(out, ',');
    (void)mp__buf_add(out, text, (size_t)n);
    (void)mp__buf_add(out, "\r\n", 2);
}

void mp__resp_verbatim(mp__buf *out, const char kind[3], mp_str text, int version)
{
    if (version < 3) {
        mp__resp_bulk(out, text);
        return;
    }
    head(out, '=', text.size + 4);
    (void)mp__buf_add(out, kind, 3);
    (void)mp__buf_add_char(out, ':');
    (void)mp__buf_add_str(out, text);
    (void)mp__buf_add(out, "\r\n", 2);
}

void mp__resp_request(mp__buf *out, const mp_str *arguments, size_t count)
{
    head(out, '*', count);
    for (size_t i = 0; i < count; i++)
        mp__resp_bulk(out, arguments[i]);
}
