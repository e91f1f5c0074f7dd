/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/pins.h"

#include <string.h>

#include "core/address.h"
#include "core/alloc.h"
#include "core/bytes.h"

/* In order of their bytes; exact ones first, then those that end in *. */
struct mp__pins {
    size_t count, exact;
    mp_str rows[MP__PINS_MAX]; /* their own copies */
};

int mp__pins_new(mp__pins **ret_pins)
{
    mp__pins *pins = mp__calloc(1, sizeof(*pins));

    if (!pins)
        return MP_ENOMEM;
    *ret_pins = pins;
    return 0;
}

static void row_free(mp_str row)
{
    char *text;

    memcpy(&text, &row.data, sizeof(text)); /* ours, and only shown as const */
    (void)mp__free(text);
}

mp__pins *mp__pins_free(mp__pins *pins)
{
    for (size_t i = 0; pins && i < pins->count; i++)
        row_free(pins->rows[i]);
    return mp__free(pins);
}

static bool is_beginning(mp_str pattern)
{
    return pattern.size && pattern.data[pattern.size - 1] == '*';
}

bool mp__pin_fits(mp_str pattern, mp_str address)
{
    if (!is_beginning(pattern))
        return mp_str_equal(pattern, address);
    return address.size >= pattern.size - 1 &&
           memcmp(address.data, pattern.data, pattern.size - 1) == 0;
}

/* Where @pattern stands among those of its kind, or would. */
static bool find(const mp__pins *pins, mp_str pattern, bool beginning, size_t *ret_at)
{
    size_t low = beginning ? pins->exact : 0, high = beginning ? pins->count : pins->exact;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = mp__bytes_order(pins->rows[middle], pattern);

        if (c == 0) {
            *ret_at = middle;
            return true;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_at = low;
    return false;
}

/* The scope and, of a beginning, at least the slash behind it: a pin of all would be no pin. */
static bool is_pattern(mp_str pattern)
{
    const char *slash = pattern.size ? memchr(pattern.data, '/', pattern.size) : NULL;

    if (!slash || pattern.size > MP__ADDRESS_MAX ||
        mp__scope_check(mp_str_new(pattern.data, (size_t)(slash - pattern.data)), NULL) != 0 ||
        memchr(pattern.data, '\n', pattern.size))
        return false;
    slash = memchr(slash + 1, '/', pattern.size - (size_t)(slash + 1 - pattern.data));
    return slash && slash + 1 < pattern.data + pattern.size;
}

int mp__pin_check(mp_str pattern, mp__diag *diag)
{
    return is_pattern(pattern)
               ? 0
               : mp__diag_set(diag, MP_EINVAL,
                              "'%.*s' is no pin; write environment/namespace/key, or "
                              "environment/namespace/ke* for all keys that begin so",
                              (int)(pattern.size < 80 ? pattern.size : 80), pattern.data);
}

int mp__pins_add(mp__pins *pins, mp_str pattern, bool *ret_added, mp__diag *diag)
{
    bool beginning = is_beginning(pattern);
    char *copy;
    size_t at;
    int rc = mp__pin_check(pattern, diag);

    if (rc)
        return rc;
    if (ret_added)
        *ret_added = false;
    if (find(pins, pattern, beginning, &at))
        return 0;
    if (pins->count == MP__PINS_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "there are %d pins; take one away (MP.UNPIN)",
                            MP__PINS_MAX);
    copy = mp__str_dup(pattern);
    if (!copy)
        return MP_ENOMEM;
    memmove(&pins->rows[at + 1], &pins->rows[at], (pins->count - at) * sizeof(pins->rows[0]));
    pins->rows[at] = mp_str_new(copy, pattern.size);
    pins->count++;
    pins->exact += !beginning;
    if (ret_added)
        *ret_added = true;
    return 0;
}

bool mp__pins_remove(mp__pins *pins, mp_str pattern)
{
    bool beginning = is_beginning(pattern);
    size_t at;

    if (!find(pins, pattern, beginning, &at))
        return false;
    row_free(pins->rows[at]);
    pins->count--;
    pins->exact -= !beginning;
    memmove(&pins->rows[at], &pins->rows[at + 1], (pins->count - at) * sizeof(pins->rows[0]));
    return true;
}

bool mp__pins_match(const mp__pins *pins, mp_str address)
{
    size_t at;

    if (pins->exact && find(pins, address, false, &at))
        return true;
    for (size_t i = pins->exact; i < pins->count; i++)
        if (mp__pin_fits(pins->rows[i], address))
            return true;
    return false;
}

size_t mp__pins_count(const mp__pins *pins)
{
    return pins->count;
}

mp_str mp__pins_at(const mp__pins *pins, size_t i)
{
    return pins->rows[i];
}
