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

bool mp__position_parse(mp_str text, mp_str *ret_epoch, uint64_t *ret_revision)
{
    const char *dash = text.size ? memrchr(text.data, '-', text.size) : NULL;
    size_t before = dash ? (size_t)(dash - text.data) : 0, skip = dash ? before + 1 : 0;

    if ((dash && before == 0) ||
        !mp__digits_u64(mp_str_new(text.data + skip, text.size - skip), ret_revision))
        return false;
    *ret_epoch = mp_str_new(text.size ? text.data : "", before);
    return true;
}
