/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base64.h"

size_t mp__utf8_size(const unsigned char *p, size_t left)
{
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xc2 ? 0
               : p[0] < 0xe0 ? 2
               : p[0] < 0xf0 ? 3
               : p[0] < 0xf5 ? 4
                             : 0;

    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* The two-character forms of RFC 8259, section 7, where there is one. */
static void put_escaped(mp__buf *out, unsigned char c)
{
    static const char controls[] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char letter = c == '"' || c == '\\' ? (char)c : c < sizeof(controls) ? controls[c] : '\0';

    if (letter) {
        (void)mp__buf_add_char(out, '\\');
        (void)mp__buf_add_char(out, letter);
    } else {
        (void)mp__buf_printf(out, "\\u%04x", c);
    }
}

/* U+0080 to U+009F: the second set of controls, which terminals obey, too. */
static bool is_c1(const unsigned char *p, size_t n)
{
    return n == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

bool mp__is_printable(mp_str text)
{
    const unsigned char *bytes = (const unsigned char *)text.data; /* NULL when there are none */
    size_t at = 0, n;

    for (; at < text.size; at += n) {
        n = mp__utf8_size(bytes + at, text.size - at);
        if (n == 0 || bytes[at] < 0x20 || bytes[at] == 0x7f || is_c1(bytes + at, n))
            return false;
    }
    return true;
}

void mp__json_string(mp__buf *out, mp_str text)
{
    const unsigned char *bytes = (const unsigned char *)text.data; /* NULL when there are none */
    size_t at = 0, n;

    (void)mp__buf_add_char(out, '"');
    for (; at < text.size; at += n) {
        const unsigned char *p = bytes + at;

        n = mp__utf8_size(p, text.size - at);
        if (n == 0) {
            (void)mp__buf_add(out, "\xef\xbf\xbd", 3);
            n = 1;
        } else if (*p == '"' || *p == '\\' || *p < 0x20 || *p == 0x7f) {
            put_escaped(out, *p);
        } else if (is_c1(p, n)) {
            put_escaped(out, p[1]);
        } else {
            (void)mp__buf_add(out, p, n);
        }
    }
    (void)mp__buf_add_char(out, '"');
}

void mp__shown_add(mp__buf *out, mp_str text)
{
    const unsigned char *bytes = (const unsigned char *)text.data; /* NULL when there are none */

    for (size_t at = 0, n; at < text.size; at += n) {
        const unsigned char *p = bytes + at;

        n = mp__utf8_size(p, text.size - at);
        if (n == 0) {
            (void)mp__buf_add(out, "\xef\xbf\xbd", 3);
            n = 1;
        } else if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f) {
            put_escaped(out, *p);
        } else if (is_c1(p, n)) {
            put_escaped(out, p[1]);
        } else {
            (void)mp__buf_add(out, p, n);
        }
    }
}

bool mp__is_utf8(mp_str text)
{
    const unsigned char *bytes = (const unsigned char *)text.data; /* NULL when there are none */
    size_t at = 0;

    while (at < text.size) {
        size_t n = mp__utf8_size(bytes + at, text.size - at);

        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

static void comma(mp__buf *out)
{
    char last = out->size ? out->data[out->size - 1] : '\0';

    if (last && !strchr("{[:,", last))
        (void)mp__buf_add_char(out, ',');
}

void mp__json_begin(mp__buf *out, char bracket)
{
    comma(out);
    (void)mp__buf_add_char(out, bracket);
}

void mp__json_end(mp__buf *out, char bracket)
{
    (void)mp__buf_add_char(out, bracket);
}

void mp__json_key(mp__buf *out, const char *name)
{
    comma(out);
    mp__json_string(out, mp_str_of(name));
    (void)mp__buf_add_char(out, ':');
}

void mp__json_add_string(mp__buf *out, const char *name, mp_str value)
{
    mp__json_key(out, name);
    mp__json_string(out, value);
}

void mp__json_add_text(mp__buf *out, const char *name, const char *value)
{
    mp__json_add_string(out, name, mp_str_of(value));
}

void mp__json_add_u64(mp__buf *out, const char *name, uint64_t value)
{
    mp__json_key(out, name);
    (void)mp__buf_add_u64(out, value);
}

void mp__json_add_i64(mp__buf *out, const char *name, int64_t value)
{
    mp__json_key(out, name);
    (void)mp__buf_add_i64(out, value);
}

void mp__json_add_bool(mp__buf *out, const char *name, bool value)
{
    mp__json_key(out, name);
    (void)mp__buf_add_str(out, value ? MP_STR("true") : MP_STR("false"));
}

void mp__json_add_real(mp__buf *out, const char *name, double value)
{
    mp__json_key(out, name);
    (void)mp__buf_printf(out, "%.6g", value);
}

size_t mp__real_text(double value, char *out)
{
    int size = 0;

    /* 15 digits always survive text, 17 always tell two doubles apart. */
    for (int digits = 15; digits <= 17; digits++) {
        size = snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    if (!strpbrk(out, ".en"))
        size += snprintf(out + size, 32 - (size_t)size, ".0");
    return (size_t)size;
}

void mp__json_add_bytes(mp__buf *out, const char *name, mp_str bytes)
{
    char other[64];

    if (mp__is_utf8(bytes)) {
        mp__json_add_string(out, name, bytes);
        return;
    }
    (void)snprintf(other, sizeof(other), "%s_base64", name);
    mp__json_key(out, other);
    (void)mp__buf_add_char(out, '"');
    mp__base64_add(out, bytes, false);
    (void)mp__buf_add_char(out, '"');
}
