/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: the first byte chooses the format. What is read must print, and what was
 * printed must read back to the same leaves. */
#include <stdint.h>
#include <stdlib.h>

#include "core/core.h"
#include "format/format.h"

static void same(const mp__leaves *a, const mp__leaves *b)
{
    if (a->count != b->count)
        abort();
    for (size_t i = 0; i < a->count; i++)
        if (!mp_str_equal(a->items[i].key, b->items[i].key) ||
            !mp_str_equal(a->items[i].value, b->items[i].value) ||
            !mp_str_equal(a->items[i].media_type, b->items[i].media_type))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mp__leaves leaves = {0}, again = {0};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};
    const mp__format *format;

    if (size == 0)
        return 0;
    format = mp__formats[data[0] % 3];
    if (format->parse(mp_str_new(data + 1, size - 1), &leaves, &diag) == 0 &&
        format->print(&leaves, &out, &diag) == 0) {
        if (format->parse(mp__buf_str(&out), &again, &diag) != 0)
            abort();
        same(&leaves, &again);
        mp__leaves_done(&again);
    }
    mp__buf_done(&out);
    mp__leaves_done(&leaves);
    return 0;
}
