/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"

#define DURATION_MAX 9e15 /* ms: what a double counts without a gap */

void mp__buf_done(mp__buf *buf)
{
    (void)mp__free(buf->data);
    *buf = (mp__buf){.size_max = buf->size_max};
}

int mp__buf_reserve(mp__buf *buf, size_t extra)
{
    size_t want, capacity;
    char *data;

    if (buf->error)
        return buf->error;
    if (__builtin_add_overflow(buf->size, extra, &want) || (buf->size_max && want > buf->size_max))
        return buf->error = MP_ELIMIT;
    if (want <= buf->capacity)
        return 0;
    capacity = buf->capacity ? buf->capacity : 64;
    while (capacity < want)
        if (__builtin_mul_overflow(capacity, 2, &capacity))
            return buf->error = MP_ENOMEM;
    data = mp__realloc(buf->data, capacity);
    if (!data)
        return buf->error = MP_ENOMEM;
    buf->data = data;
    buf->capacity = capacity;
    return 0;
}

int mp__buf_add(mp__buf *buf, const void *data, size_t size)
{
    int rc = mp__buf_reserve(buf, size);

    if (rc == 0 && size) {
        memcpy(buf->data + buf->size, data, size);
        buf->size += size;
    }
    return rc;
}

int mp__buf_add_char(mp__buf *buf, char c)
{
    return mp__buf_add(buf, &c, 1);
}

size_t mp__u64_digits(uint64_t value, char *out)
{
    char reversed[20];
    size_t n = 0;

    do {
        reversed[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

bool mp__digits_u64(mp_str text, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    if (text.size == 0 || value > INT64_MAX)
        return false;
    *ret_value = value;
    return true;
}

bool mp__duration_ms(mp_str text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1},   {"s", 1e3},   {"m", 6e4}, {"min", 6e4},
                 {"h", 36e5}, {"d", 864e5}, {"", 1e3}};
    char copy[64], *end;
    double number;

    if (text.size == 0 || text.size >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    /* strtod() would take blanks, a minus, hexadecimal digits, "inf" and "nan" */
    if (strspn(copy, "+.0123456789") == 0 || strpbrk(copy, "xX") || strlen(copy) != text.size)
        return false;
    number = strtod(copy, &end);
    if (end == copy)
        return false;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcasecmp(end, units[i].unit) == 0) {
            number = number * units[i].ms + 0.5;
            if (!(number < DURATION_MAX))
                return false;
            *ret_ms = (int64_t)number;
            return true;
        }
    return false;
}

int mp__buf_add_u64(mp__buf *buf, uint64_t value)
{
    char digits[20];

    return mp__buf_add(buf, digits, mp__u64_digits(value, digits));
}

int mp__buf_add_i64(mp__buf *buf, int64_t value)
{
    if (value < 0) {
        (void)mp__buf_add_char(buf, '-');
        return mp__buf_add_u64(buf, 0 - (uint64_t)value);
    }
    return mp__buf_add_u64(buf, (uint64_t)value);
}

int mp__buf_printf(mp__buf *buf, const char *format, ...)
{
    va_list args, again;
    int size;

    va_start(args, format);
    va_copy(again, args);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size >= 0 && mp__buf_reserve(buf, (size_t)size + 1) == 0) {
        (void)vsnprintf(buf->data + buf->size, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
    return buf->error;
}

void mp__buf_consume(mp__buf *buf, size_t size)
{
    if (size >= buf->size) {
        buf->size = 0;
        return;
    }
    memmove(buf->data, buf->data + size, buf->size - size);
    buf->size -= size;
}
