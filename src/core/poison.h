/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the address sanitizer which memory of our own allocators nobody may touch, so that a use
 * after free in a slab is seen like one on the heap. Nothing without the sanitizer. */
#ifndef MP_CORE_POISON_H
#define MP_CORE_POISON_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define MP__WITH_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MP__WITH_POISON 1
#endif
#endif

#ifdef MP__WITH_POISON
#include <sanitizer/asan_interface.h>
static inline void mp__poison(void *memory, size_t size)
{
    __asan_poison_memory_region(memory, size);
}

static inline void mp__unpoison(void *memory, size_t size)
{
    __asan_unpoison_memory_region(memory, size);
}
#else
static inline void mp__poison(void *memory, size_t size)
{
    (void)memory;
    (void)size;
}

static inline void mp__unpoison(void *memory, size_t size)
{
    (void)memory;
    (void)size;
}
#endif

#endif
