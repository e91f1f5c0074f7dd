/* SPDX-License-Identifier: Apache-2.0 */
/* Where a watcher stands: a revision in one life of the data, which its epoch names. */
#include <stdio.h>

#include "server/watch.h"

mp_str mp__position_text(const char *epoch, uint64_t revision, char out[MP__POSITION_MAX])
{
    int n = snprintf(out, MP__POSITION_MAX, "%s-%llu", epoch[0] ? epoch : "none",
                     (unsigned long long)revision);

    return mp_str_new(out, (size_t)n);
}

/* Digits, at most INT64_MAX. */
static bool number_of(mp_str text, uint64_t *ret_value)
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

bool mp__position_parse(mp_str text, mp_str *ret_epoch, uint64_t *ret_revision)
{
    const char *dash = text.size ? memrchr(text.data, '-', text.size) : NULL;
    size_t before = dash ? (size_t)(dash - text.data) : 0, skip = dash ? before + 1 : 0;

    if ((dash && before == 0) ||
        !number_of(mp_str_new(text.data + skip, text.size - skip), ret_revision))
        return false;
    *ret_epoch = mp_str_new(text.size ? text.data : "", before);
    return true;
}
