/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns: lines, the last of them what they are matched against. A set of pins fits exactly where
 * one of them does, and keeps that when one is taken away; every row of priorities that is refused
 * says why; a glob finds what one without stars finds, and ends whatever it is. */
#include <stdint.h>
#include <stdlib.h>

#include "cache/pins.h"
#include "cache/priority.h"
#include "core/core.h"
#include "protocol/resp.h"

enum { LINES_MAX = 64, STEPS = 1 << 20 };

static void pins(const mp_str *lines, size_t count, mp_str text)
{
    mp__pins *set = NULL;
    bool kept[LINES_MAX] = {0}, fits = false;

    if (mp__pins_new(&set))
        abort();
    for (size_t i = 0; i < count; i++) {
        mp__diag diag = {0};
        int rc = mp__pins_add(set, lines[i], &kept[i], &diag);

        if ((rc != 0) != (mp__pin_check(lines[i], NULL) != 0) || (rc && !diag.text[0]))
            abort();
        fits |= kept[i] && mp__pin_fits(lines[i], text);
    }
    if (mp__pins_match(set, text) != fits)
        abort();
    for (size_t i = 0; i < count; i++)
        if (kept[i] && !mp__pins_remove(set, lines[i]))
            abort();
    if (mp__pins_count(set) || mp__pins_match(set, text))
        abort();
    (void)mp__pins_free(set);
}

static void priorities(const mp_str *lines, size_t count, mp_str text)
{
    mp__priorities *table = NULL;
    mp__diag diag = {0};
    int rc = mp__priorities_new(lines, count, lines, 0, &table, &diag);

    if (rc && !diag.text[0])
        abort();
    if (rc == 0) {
        enum mp__priority class = mp__priority_of(table, text);

        if (!mp__priority_is_used(table, class) && count)
            abort();
    }
    table = mp__priorities_free(table);
    if (mp__priorities_new(lines, 0, lines, count, &table, &diag) == 0) {
        unsigned sum = 0;

        for (unsigned i = 0; i < MP__PRIORITIES; i++)
            sum += mp__priority_share(table, (enum mp__priority)i);
        if (sum != 1000)
            abort();
    }
    (void)mp__priorities_free(table);
}

static bool is_plain(mp_str pattern)
{
    for (size_t i = 0; i < pattern.size; i++)
        if (strchr("*?[\\", pattern.data[i])) /* the terminating byte, too */
            return false;
    return true;
}

static void globs(const mp_str *lines, size_t count, mp_str text)
{
    for (size_t i = 0; i < count; i++) {
        bool found = mp__glob_match(lines[i], text, STEPS);

        if (is_plain(lines[i]) && found != mp_str_equal(lines[i], text))
            abort();
        if (mp__glob_match(lines[i], text, 8) && !found) /* fewer steps never find more */
            abort();
    }
    if (!mp__glob_match(MP_STR("*"), text, STEPS))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mp_str lines[LINES_MAX] = {0};
    size_t count = 0, from = 0;

    if (size > 4096)
        return 0;
    for (size_t i = 0; i < size && count < LINES_MAX - 1; i++)
        if (data[i] == '\n') {
            lines[count++] = mp_str_new(data + from, i - from);
            from = i + 1;
        }
    pins(lines, count, mp_str_new(data + from, size - from));
    priorities(lines, count, mp_str_new(data + from, size - from));
    globs(lines, count, mp_str_new(data + from, size - from));
    return 0;
}
