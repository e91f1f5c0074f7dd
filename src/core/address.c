/* SPDX-License-Identifier: Apache-2.0 */
#include "core/address.h"

#include <ctype.h>

/* Which of eight bytes are control characters: bit 7 of each. Below 0x20 the subtraction borrows
 * into bit 7 where bit 7 was clear, and so does that of a byte that the XOR made zero. The lowest
 * bit that is set is always right; a borrow may set others above it wrongly, never alone. */
static uint64_t controls(uint64_t bytes)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t deleted = bytes ^ ones * 0x7f;

    return (((bytes - ones * 0x20) & ~bytes) | ((deleted - ones) & ~deleted)) & ones * 0x80;
}

static bool has_control(mp_str s)
{
    uint64_t word = 0;
    size_t i = 0;

    for (; i + 8 <= s.size; i += 8) {
        memcpy(&word, s.data + i, 8);
        if (controls(word))
            return true;
    }
    word = 0x2020202020202020u;
    if (i < s.size)
        memcpy(&word, s.data + i, s.size - i);
    return controls(word) != 0;
}

int mp__environment_check(mp_str environment, mp__diag *diag)
{
    if (environment.size == 0)
        return mp__diag_set(diag, MP_EINVAL, "the environment's name is empty");
    if (environment.size > MP__ENVIRONMENT_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "the environment's name is longer than %u bytes",
                            MP__ENVIRONMENT_MAX);
    for (size_t i = 0; i < environment.size; i++) {
        unsigned char c = (unsigned char)environment.data[i];

        if (!(isalnum(c) || c == '_' || (i > 0 && (c == '.' || c == '-'))))
            return mp__diag_set(diag, MP_EINVAL,
                                "an environment's name has letters, digits, '.', '_' and '-' only");
    }
    return 0;
}

/* ---- scopes ---- */

enum { NAMES_MAX = 3 };

int mp__scope_check(mp_str scope, mp__diag *diag)
{
    size_t at = 0;

    for (int names = 1;; names++) {
        const char *end = at < scope.size ? memchr(scope.data + at, '~', scope.size - at) : NULL;
        size_t size = (end ? (size_t)(end - scope.data) : scope.size) - at;
        int rc = mp__environment_check(mp_str_new(scope.data + at, size), diag);

        if (rc || !end)
            return rc;
        if (names == NAMES_MAX)
            return mp__diag_set(diag, MP_EINVAL, "a scope is environment~region~instance at most");
        at += size + 1;
    }
}

int mp__scope_build(mp_str environment, mp_str region, mp_str instance, char out[MP__SCOPE_MAX],
                    mp__diag *diag)
{
    mp_str names[NAMES_MAX] = {environment, region, instance};
    size_t size = 0;

    if (instance.size && !region.size)
        return mp__diag_set(diag, MP_EINVAL, "an instance is one of a region: name it, too");
    for (int i = 0; i < NAMES_MAX && (i == 0 || names[i].size); i++) {
        int rc = mp__environment_check(names[i], diag);

        if (rc)
            return rc;
        if (i)
            out[size++] = '~';
        memcpy(out + size, names[i].data, names[i].size);
        size += names[i].size;
    }
    return (int)size;
}

mp_str mp__scope_up(mp_str scope, mp_str base)
{
    for (size_t i = scope.size; i > 0; i--)
        if (scope.data[i - 1] == '~')
            return mp_str_new(scope.data, i - 1);
    return mp_str_equal(scope, base) ? mp_str_new("", 0) : base;
}

/* ---- addresses ---- */

int mp__address_join(mp_str environment, mp_str namespace_, mp_str key, char out[MP__ADDRESS_MAX],
                     mp__diag *diag)
{
    char *p = out;

    if (namespace_.size == 0)
        return mp__diag_set(diag, MP_EINVAL, "the namespace before the slash is empty");
    if (key.size == 0)
        return mp__diag_set(diag, MP_EINVAL, "the key is empty");
    if (environment.size > MP__SCOPE_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "the scope is longer than %u bytes", MP__SCOPE_MAX);
    if (namespace_.size > MP__NAMESPACE_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "the namespace is longer than %u bytes",
                            MP__NAMESPACE_MAX);
    if (key.size > MP__KEY_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "the key is longer than %u bytes", MP__KEY_MAX);
    if (memchr(namespace_.data, '/', namespace_.size))
        return mp__diag_set(diag, MP_EINVAL, "a namespace may not hold a slash");
    if (has_control(namespace_) || has_control(key))
        return mp__diag_set(diag, MP_EINVAL, "a key may not hold control characters");
    memcpy(p, environment.data, environment.size);
    p += environment.size;
    *p++ = '/';
    memcpy(p, namespace_.data, namespace_.size);
    p += namespace_.size;
    *p++ = '/';
    memcpy(p, key.data, key.size);
    p += key.size;
    return (int)(p - out);
}

int mp__address_from_name(mp_str environment, mp_str name, char out[MP__ADDRESS_MAX],
                          mp__diag *diag)
{
    const char *slash = name.size ? memchr(name.data, '/', name.size) : NULL;
    size_t before;

    if (!slash)
        return mp__address_join(environment, MP_STR("default"), name, out, diag);
    before = (size_t)(slash - name.data);
    return mp__address_join(environment, mp_str_new(name.data, before),
                            mp_str_new(slash + 1, name.size - before - 1), out, diag);
}

int mp__address_split(mp_str address, mp_str *ret_environment, mp_str *ret_namespace,
                      mp_str *ret_key)
{
    const char *end = address.data + address.size;
    const char *first = address.size ? memchr(address.data, '/', address.size) : NULL;
    const char *second = first ? memchr(first + 1, '/', (size_t)(end - first - 1)) : NULL;

    if (!second || first == address.data || second == first + 1 || second + 1 == end)
        return MP_EINVAL;
    *ret_environment = mp_str_new(address.data, (size_t)(first - address.data));
    *ret_namespace = mp_str_new(first + 1, (size_t)(second - first - 1));
    *ret_key = mp_str_new(second + 1, (size_t)(end - second - 1));
    return 0;
}

mp_str mp__address_name(mp_str address)
{
    mp_str environment, namespace_, key;

    if (mp__address_split(address, &environment, &namespace_, &key) != 0)
        return address;
    if (mp_str_equal(namespace_, MP_STR("default")) && !memchr(key.data, '/', key.size))
        return key;
    return mp_str_new(namespace_.data, (size_t)(key.data + key.size - namespace_.data));
}
