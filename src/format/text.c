/* SPDX-License-Identifier: Apache-2.0 */
#include "format/text.h"

#include <stdarg.h>
#include <stdio.h>

mp__text mp__text_begin(mp_str bytes, mp__diag *diag)
{
    mp__text t = {.bytes = bytes, .line = 1, .diag = diag};

    t.at = t.line_start = bytes.size - mp__text_unmarked(bytes).size;
    return t;
}

mp_str mp__text_unmarked(mp_str bytes)
{
    if (bytes.size >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0)
        return mp_str_new(bytes.data + 3, bytes.size - 3);
    return bytes;
}

int mp__text_error(const mp__text *t, size_t at, const char *format, ...)
{
    char text[400];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return mp__diag_at(t->diag, MP_ESYNTAX, t->line, mp__text_column(t, at), "%s", text);
}

int mp__text_stray(const mp__text *t)
{
    return mp__text_error(t, t->at,
                          "a carriage return without a line feed; lines end with LF or CR LF");
}

int mp__text_expected(const mp__text *t, const char *what)
{
    int c = mp__text_peek(t);

    if (c == -1)
        return mp__text_error(t, t->at, "%s is expected here, but the file ends", what);
    if (mp__text_is_stray(t))
        return mp__text_stray(t);
    if (c == '\n' || c == '\r')
        return mp__text_error(t, t->at, "%s is expected here, but the line ends", what);
    if (c < 0x20 || c > 0x7e)
        return mp__text_error(t, t->at, "%s is expected here, not the byte 0x%02x", what,
                              (unsigned)c);
    return mp__text_error(t, t->at, "%s is expected here, not '%c'", what, c);
}

int mp__text_add(const mp__text *t, size_t at, mp__leaves *leaves, mp_str key, mp_str value,
                 const char *media_type)
{
    int rc;

    for (size_t i = 0; i < key.size; i++)
        if ((unsigned char)key.data[i] < 0x20 || key.data[i] == 0x7f)
            return mp__text_error(t, at, "a name holds a control character");
    rc = mp__leaves_add(leaves, key, value, media_type);
    if (rc == MP_ELIMIT)
        return mp__text_limit(t, at);
    if (rc == 0)
        mp__leaves_place(leaves, t->line, mp__text_column(t, at));
    return rc;
}

int mp__text_limit(const mp__text *t, size_t at)
{
    return mp__diag_at(t->diag, MP_ELIMIT, t->line, mp__text_column(t, at),
                       "a key may have %d bytes, a value %d, a file %d of them", MP__FORMAT_KEY_MAX,
                       MP__FORMAT_VALUE_MAX, MP__FORMAT_LEAVES_MAX);
}

int mp__text_end(const mp__text *t, int rc, mp__leaves *leaves, mp__leaves *ret_leaves)
{
    if (rc == 0)
        rc = mp__leaves_sort(leaves, t->diag);
    if (rc) {
        mp__leaves_done(leaves);
        return rc;
    }
    *ret_leaves = *leaves;
    return 0;
}

bool mp__utf8_add(mp__buf *out, uint32_t code)
{
    char bytes[4];
    size_t n = 0;

    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return false;
    if (code < 0x80) {
        bytes[n++] = (char)code;
    } else if (code < 0x800) {
        bytes[n++] = (char)(0xc0 | (code >> 6));
    } else if (code < 0x10000) {
        bytes[n++] = (char)(0xe0 | (code >> 12));
        bytes[n++] = (char)(0x80 | ((code >> 6) & 0x3f));
    } else {
        bytes[n++] = (char)(0xf0 | (code >> 18));
        bytes[n++] = (char)(0x80 | ((code >> 12) & 0x3f));
        bytes[n++] = (char)(0x80 | ((code >> 6) & 0x3f));
    }
    if (code >= 0x80)
        bytes[n++] = (char)(0x80 | (code & 0x3f));
    (void)mp__buf_add(out, bytes, n);
    return true;
}
