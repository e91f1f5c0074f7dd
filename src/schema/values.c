/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/json.h"
#include "schema/node.h"

/* ---- types ---- */

unsigned mp__type_of(const json_t *value)
{
    double real;

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return MP__TYPE_OBJECT;
    case JSON_ARRAY:
        return MP__TYPE_ARRAY;
    case JSON_STRING:
        return MP__TYPE_STRING;
    case JSON_INTEGER:
        return MP__TYPE_INTEGER | MP__TYPE_NUMBER;
    case JSON_REAL:
        real = json_real_value(value);
        return floor(real) == real ? MP__TYPE_INTEGER | MP__TYPE_NUMBER : MP__TYPE_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return MP__TYPE_BOOLEAN;
    case JSON_NULL:
        break;
    }
    return MP__TYPE_NULL;
}

const char *mp__type_name(const json_t *value)
{
    switch (mp__type_of(value)) {
    case MP__TYPE_OBJECT:
        return "an object";
    case MP__TYPE_ARRAY:
        return "an array";
    case MP__TYPE_STRING:
        return "a string";
    case MP__TYPE_BOOLEAN:
        return "a boolean";
    case MP__TYPE_NULL:
        return "null";
    case MP__TYPE_NUMBER:
        return "a number";
    default:
        return "an integer";
    }
}

/* ---- multipleOf, in decimal ---- */

/* value = mantissa * 10^exponent, exactly as it would be written; no zeros at the mantissa's end.
 */
typedef struct decimal {
    uint64_t mantissa;
    int exponent;
} decimal;

static decimal decimal_of(const json_t *number)
{
    char text[32];
    size_t size, i = 0;
    decimal d = {0, 0};
    bool fraction = false;

    if (json_is_integer(number)) {
        int64_t value = json_integer_value(number);

        d.mantissa = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    } else {
        size = mp__real_text(json_real_value(number), text);
        text[size] = '\0';
        for (i = text[0] == '-'; i < size && text[i] != 'e'; i++) {
            if (text[i] == '.') {
                fraction = true;
                continue;
            }
            d.mantissa = d.mantissa * 10 + (uint64_t)(text[i] - '0'); /* 18 digits at most */
            d.exponent -= fraction;
        }
        if (text[i] == 'e')
            d.exponent += (int)strtol(text + i + 1, NULL, 10);
    }
    for (; d.mantissa && d.mantissa % 10 == 0; d.mantissa /= 10)
        d.exponent++;
    return d;
}

/* base^power mod @modulus by squaring. */
static uint64_t power_modulo(uint64_t base, unsigned power, uint64_t modulus)
{
    unsigned __int128 result = 1 % modulus, square = base % modulus;

    for (; power; power >>= 1) {
        if (power & 1)
            result = result * square % modulus;
        square = square * square % modulus;
    }
    return (uint64_t)result;
}

bool mp__is_multiple(const json_t *value, const json_t *of)
{
    decimal v = decimal_of(value), d = decimal_of(of);
    unsigned __int128 rest;

    if (v.mantissa == 0)
        return true;
    if (d.mantissa == 0 ||
        v.exponent < d.exponent) /* no zero stands at the mantissa's end: it cannot divide */
        return false;
    rest = v.mantissa % d.mantissa;
    rest = rest * power_modulo(10, (unsigned)(v.exponent - d.exponent), d.mantissa);
    return rest % d.mantissa == 0;
}

/* ---- strings ---- */

size_t mp__code_points(mp_str text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.size; i++)
        count += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return count;
}

/* ---- uniqueItems ---- */

typedef struct twin {
    uint64_t hash;
    size_t index;
} twin;

static uint64_t mix(uint64_t a, uint64_t b)
{
    a ^= b + 0x9e3779b97f4a7c15u + (a << 12) + (a >> 4);
    return a * 0xff51afd7ed558ccdu;
}

/* Equal values have equal hashes: objects in any order, 1 as 1.0. */
static uint64_t hash_of(const json_t *value, size_t *work)
{
    json_t *object = (json_t *)(uintptr_t)value;
    uint64_t hash = (uint64_t)json_typeof(value);
    double number;

    ++*work;
    if (json_is_number(value)) {
        number = json_number_value(value) + 0.0; /* -0.0 is 0.0 */
        memcpy(&hash, &number, sizeof(hash));
        return mix(hash, 1);
    }
    if (json_is_string(value))
        return mp__checksum(0, json_string_value(value), json_string_length(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        hash = mix(hash, hash_of(json_array_get(value, i), work));
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
        hash += mix(mp__checksum(0, json_object_iter_key(i), json_object_iter_key_len(i)),
                    hash_of(json_object_iter_value(i), work));
    return hash;
}

static int twin_compare(const void *a, const void *b)
{
    const twin *x = (const twin *)a, *y = (const twin *)b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

int mp__find_twins(const json_t *array, size_t *ret_first, size_t *ret_second, size_t *work)
{
    size_t count = json_array_size(array);
    twin *twins = count > 1 ? mp__calloc(count, sizeof(*twins)) : NULL;
    int found = 0;

    if (count < 2)
        return 0;
    if (!twins)
        return MP_ENOMEM;
    for (size_t i = 0; i < count; i++)
        twins[i] = (twin){hash_of(json_array_get(array, i), work), i};
    qsort(twins, count, sizeof(*twins), twin_compare);
    for (size_t i = 0; i + 1 < count && found == 0; i++)
        for (size_t j = i + 1; j < count && twins[j].hash == twins[i].hash && found == 0; j++) {
            if (++*work > MP__CHECK_WORK_MAX)
                found = MP_ELIMIT;
            else if (mp__tree_equal(json_array_get(array, twins[i].index),
                                    json_array_get(array, twins[j].index))) {
                *ret_first = twins[i].index;
                *ret_second = twins[j].index;
                found = 1;
            }
        }
    (void)mp__free(twins);
    return found;
}
