/* SPDX-License-Identifier: Apache-2.0 */
#include "core/address.h"

#include <ctype.h>

static bool has_control(mp_str s)
{
    for (size_t i = 0; i < s.size; i++)
        if ((unsigned char)s.data[i] < 0x20 || s.data[i] == 0x7f)
            return true;
    return false;
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

int mp__address_join(mp_str environment, mp_str namespace_, mp_str key, char out[MP__ADDRESS_MAX],
                     mp__diag *diag)
{
    char *p = out;

    if (namespace_.size == 0)
        return mp__diag_set(diag, MP_EINVAL, "the namespace before the slash is empty");
    if (key.size == 0)
        return mp__diag_set(diag, MP_EINVAL, "the key is empty");
    if (environment.size > MP__ENVIRONMENT_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "the environment's name is longer than %u bytes",
                            MP__ENVIRONMENT_MAX);
    if (namespace_.size > MP__NAMESPACE_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "the namespace is longer than %u bytes",
                            MP__NAMESPACE_MAX);
    if (key.size > MP__KEY_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "the key is longer than %u bytes", MP__KEY_MAX);
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
