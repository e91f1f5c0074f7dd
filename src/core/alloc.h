/* SPDX-License-Identifier: Apache-2.0 */
/* The heap, with a door for tests: every allocation of the library goes through here, so that a
 * test can let the n-th one fail. */
#ifndef MP_CORE_ALLOC_H
#define MP_CORE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#include <marketprism/str.h>

/* As malloc, calloc and realloc; NULL when there is no memory. Sizes are multiplied with a check.
 * Any thread. */
void *mp__malloc(size_t size) __attribute__((malloc, alloc_size(1), warn_unused_result));
void *mp__calloc(size_t count, size_t size)
    __attribute__((malloc, alloc_size(1, 2), warn_unused_result));
void *mp__realloc(void *old, size_t size) __attribute__((alloc_size(2), warn_unused_result));
void *mp__realloc_array(void *old, size_t count, size_t size)
    __attribute__((alloc_size(2, 3), warn_unused_result));
void *mp__aligned_alloc(size_t alignment, size_t size)
    __attribute__((malloc, alloc_size(2), warn_unused_result));
/* Room for one more in the array that *@items points to, of *capacity items of @size bytes, of
 * which
 * @count are there: twice as many when it is full, 16 at first. 0 or MP_ENOMEM, and then the array
 * is as it was. */
int mp__grow(void *items, size_t count, size_t *capacity, size_t size)
    __attribute__((warn_unused_result));
char *mp__strdup(const char *text) __attribute__((malloc, warn_unused_result));
char *mp__str_dup(mp_str text) __attribute__((malloc, warn_unused_result)); /* terminated copy */
/* Frees; accepts NULL. Always returns NULL. */
void *mp__free(void *pointer);
/* Give the system back what malloc keeps free: for the end of something rare that took megabytes,
 * which the C library would otherwise hold, uncounted by any limit. Looks at all that is free. */
void mp__alloc_give_back(void);

/* For tests only: asked before each allocation; true lets it fail. NULL ends it. Set it while no
 * other thread allocates. */
extern bool (*mp__alloc_fail_hook)(size_t size);

/* Frees the variable's pointer when it leaves its scope: MP__CLEANUP_FREE char *text = NULL; */
static inline void mp__free_cleanup(void *variable)
{
    void *pointer;

    memcpy(&pointer, variable, sizeof(pointer));
    (void)mp__free(pointer);
}
#define MP__CLEANUP_FREE __attribute__((cleanup(mp__free_cleanup)))

#endif
