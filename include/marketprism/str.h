/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes with its length; not terminated, never owned. */
#ifndef MARKETPRISM_STR_H
#define MARKETPRISM_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct mp_str {
    const char *data; /* may be NULL only when size is 0 */
    size_t size;      /* bytes */
} mp_str;

/* A literal as mp_str, without counting at run time. */
#define MP_STR(literal) ((mp_str){(literal), sizeof(literal) - 1})

static inline mp_str mp_str_of(const char *text)
{
    return (mp_str){text, text ? strlen(text) : 0};
}

static inline mp_str mp_str_new(const void *data, size_t size)
{
    return (mp_str){(const char *)data, size};
}

static inline bool mp_str_equal(mp_str a, mp_str b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
