/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base64.h"

#include <stdint.h>
#include <string.h>

static const char *digits_of(bool url)
{
    return url ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
               : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

void mp__base64_add(mp__buf *out, mp_str bytes, bool url)
{
    const char *digits = digits_of(url);

    for (size_t i = 0; i < bytes.size; i += 3) {
        uint32_t left = (uint32_t)(bytes.size - i), v = (unsigned char)bytes.data[i];
        char four[4];
        size_t n = left > 2 || !url ? 4 : left + 1; /* no = in a URL */

        v = v << 8 | (left > 1 ? (unsigned char)bytes.data[i + 1] : 0u);
        v = v << 8 | (left > 2 ? (unsigned char)bytes.data[i + 2] : 0u);
        four[0] = digits[v >> 18];
        four[1] = digits[v >> 12 & 63];
        four[2] = left > 1 ? digits[v >> 6 & 63] : '=';
        four[3] = left > 2 ? digits[v & 63] : '=';
        (void)mp__buf_add(out, four, n);
    }
}

bool mp__base64_decode(mp_str text, bool url, mp__buf *out)
{
    const char *digits = digits_of(url);
    uint32_t value = 0;
    unsigned bits = 0;

    if (!url && text.size % 4)
        return false;
    for (int i = 0; i < 2 && !url && text.size && text.data[text.size - 1] == '='; i++)
        text.size--;
    if (text.size % 4 == 1)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        const char *digit = text.data[i] ? strchr(digits, text.data[i]) : NULL;

        if (!digit)
            return false;
        value = value << 6 | (uint32_t)(digit - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            (void)mp__buf_add_char(out, (char)(value >> bits & 255));
        }
    }
    /* bits that are left over must be zero: one text for each run of bytes (section 3.5) */
    return (value & ((1u << bits) - 1)) == 0 && out->error == 0;
}
