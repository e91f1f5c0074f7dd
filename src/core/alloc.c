/* SPDX-License-Identifier: Apache-2.0 */
#include "core/alloc.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <marketprism/error.h>

bool (*mp__alloc_fail_hook)(size_t size);

static inline bool alloc_fails(size_t size)
{
    return __builtin_expect(mp__alloc_fail_hook != NULL, 0) && mp__alloc_fail_hook(size);
}

void *mp__malloc(size_t size)
{
    return alloc_fails(size) ? NULL : malloc(size ? size : 1);
}

void *mp__calloc(size_t count, size_t size)
{
    return alloc_fails(size) ? NULL : calloc(count ? count : 1, size ? size : 1);
}

void *mp__realloc(void *old, size_t size)
{
    return alloc_fails(size) ? NULL : realloc(old, size ? size : 1);
}

void *mp__realloc_array(void *old, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return mp__realloc(old, bytes);
}

int mp__grow(void *items, size_t count, size_t *capacity, size_t size)
{
    size_t more = *capacity ? 2 * *capacity : 16;
    void *old, *grown;

    if (count < *capacity)
        return 0;
    memcpy(&old, items, sizeof(old)); /* a pointer to whatever the items are */
    grown = mp__realloc_array(old, more, size);
    if (!grown)
        return MP_ENOMEM;
    memcpy(items, &grown, sizeof(grown));
    *capacity = more;
    return 0;
}

void *mp__aligned_alloc(size_t alignment, size_t size)
{
    size_t rounded;

    if (__builtin_add_overflow(size, alignment - 1, &rounded))
        return NULL;
    return alloc_fails(size) ? NULL : aligned_alloc(alignment, rounded / alignment * alignment);
}

char *mp__str_dup(mp_str text)
{
    char *copy = mp__malloc(text.size + 1);

    if (!copy)
        return NULL;
    if (text.size)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return copy;
}

char *mp__strdup(const char *text)
{
    return mp__str_dup(mp_str_of(text));
}

void *mp__free(void *pointer)
{
    free(pointer);
    return NULL;
}

void mp__alloc_give_back(void)
{
    (void)malloc_trim(0);
}
