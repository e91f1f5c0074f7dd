/* SPDX-License-Identifier: Apache-2.0 */
/* Globs, iterative: one place to come back to (the last star) is enough, since a later star can
 * match whatever an earlier one could. A step is a byte of the text or of a class looked at. */
#include "protocol/resp.h"

/* The class "[a-c]" at pattern[*p] against @c; *p is moved behind it. An unclosed class ends with
 * the pattern, as Redis reads it. A class without steps to read it matches nothing. */
static bool class_match(mp_str pattern, size_t *p, char c, size_t *steps)
{
    size_t i = *p + 1;
    bool negated = i < pattern.size && pattern.data[i] == '^', found = false;

    i += negated;
    while (i < pattern.size && pattern.data[i] != ']') {
        unsigned char low, high;

        if (*steps == 0)
            return false;
        --*steps;
        if (pattern.data[i] == '\\' && i + 1 < pattern.size)
            i++;
        low = high = (unsigned char)pattern.data[i++];
        if (i + 1 < pattern.size && pattern.data[i] == '-' && pattern.data[i + 1] != ']') {
            high = (unsigned char)pattern.data[i + 1];
            i += 2;
        }
        if (low > high) {
            unsigned char swap = low;

            low = high;
            high = swap;
        }
        found |= (unsigned char)c >= low && (unsigned char)c <= high;
    }
    *p = i < pattern.size ? i + 1 : i;
    return found != negated;
}

/* One element of the pattern against one byte; *p moves on when it matches. */
static bool one_match(mp_str pattern, size_t *p, char c, size_t *steps)
{
    size_t i = *p;

    switch (pattern.data[i]) {
    case '?':
        *p = i + 1;
        return true;
    case '[':
        if (!class_match(pattern, &i, c, steps))
            return false;
        *p = i;
        return true;
    case '\\':
        i += i + 1 < pattern.size;
        break;
    default:
        break;
    }
    if (pattern.data[i] != c)
        return false;
    *p = i + 1;
    return true;
}

bool mp__glob_match_within(mp_str pattern, mp_str text, size_t *steps)
{
    size_t p = 0, t = 0, star = SIZE_MAX, star_text = 0;

    while (t < text.size) {
        if (*steps == 0)
            return false;
        --*steps;
        if (p < pattern.size && pattern.data[p] == '*') {
            star = ++p;
            star_text = t;
            if (p == pattern.size)
                return true; /* whatever follows */
        } else if (p < pattern.size && one_match(pattern, &p, text.data[t], steps)) {
            t++;
        } else if (star != SIZE_MAX) {
            p = star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*')
        p++;
    return p == pattern.size;
}

bool mp__glob_match(mp_str pattern, mp_str text, size_t steps_max)
{
    return mp__glob_match_within(pattern, text, &steps_max);
}
