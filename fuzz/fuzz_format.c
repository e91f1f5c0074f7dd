/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: the first byte chooses the format. What is read must print, and what any
 * format prints must read back to the same leaves, with their types where it has types; or it says
 * why it cannot. */
#include <stdint.h>
#include <stdlib.h>

#include "core/core.h"
#include "format/format.h"

/* Dates and the like are a type of TOML alone; the others say them as text. */
static bool has_type(const mp__format *format, const mp__leaf *leaf)
{
    return !format->is_text_only && (strcmp(format->name, "toml") == 0 ||
                                     !mp_str_equal(leaf->media_type, MP_STR("application/toml")));
}

static void same(const mp__format *format, const mp__leaves *a, const mp__leaves *b)
{
    if (a->count != b->count)
        abort();
    for (size_t i = 0; i < a->count; i++)
        if (!mp_str_equal(a->items[i].key, b->items[i].key) ||
            !mp_str_equal(a->items[i].value, b->items[i].value) ||
            (has_type(format, &a->items[i]) &&
             !mp_str_equal(a->items[i].media_type, b->items[i].media_type)))
            abort();
}

static void through(const mp__format *from, const mp__leaves *leaves, const mp__format *format)
{
    mp__buf out = MP__BUF_INIT;
    mp__leaves again = {0};
    mp__diag diag = {0};
    int rc = format->print(leaves, &out, &diag);

    if (rc == 0) {
        if (format->parse(mp__buf_str(&out), &again, &diag) != 0)
            abort();
        same(format, leaves, &again);
        mp__leaves_done(&again);
    } else if (!diag.text[0] || format == from) {
        abort();
    }
    mp__buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    const mp__format *format;
    size_t count = 0;

    if (size == 0)
        return 0;
    while (mp__formats[count])
        count++;
    format = mp__formats[data[0] % count];
    if (format->parse(mp_str_new(data + 1, size - 1), &leaves, &diag) == 0)
        for (size_t i = 0; i < count; i++)
            through(format, &leaves, mp__formats[i]);
    else if (diag.line && (!diag.text[0] || diag.column < 0))
        abort();
    mp__leaves_done(&leaves);
    return 0;
}
