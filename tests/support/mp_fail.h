/* SPDX-License-Identifier: Apache-2.0 */
/* Lets the n-th allocation fail, so that every way out of a function is walked:
 *
 *     for (size_t n = 1;; n++) {
 *         mp_fail_begin(n);
 *         rc = mp__thing_new(&thing);
 *         if (!mp_fail_end())
 *             break; // fewer than n allocations: all have been let fail by now
 *         assert_int_equal(rc, MP_ENOMEM);
 *     }
 *     assert_int_equal(rc, 0);
 */
#ifndef MP_FAIL_H
#define MP_FAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/alloc.h"

static _Atomic size_t mp_fail_left;

static inline bool mp_fail_hook(size_t size)
{
    (void)size;
    return atomic_load(&mp_fail_left) > 0 && atomic_fetch_sub(&mp_fail_left, 1) == 1;
}

/* From now on the @n-th allocation, from 1, fails, and only that one. */
static inline void mp_fail_begin(size_t n)
{
    atomic_store(&mp_fail_left, n);
    mp__alloc_fail_hook = mp_fail_hook;
}

/* No more failing. True when it came to the n-th, which then has failed. */
static inline bool mp_fail_end(void)
{
    mp__alloc_fail_hook = NULL;
    return atomic_load(&mp_fail_left) == 0;
}

#endif
