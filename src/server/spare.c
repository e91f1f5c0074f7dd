/* SPDX-License-Identifier: Apache-2.0 */
#include "server/spare.h"

#include <stdint.h>
#include <string.h>

#include "core/alloc.h"

/* Sizes are rounded up, so that the next command may be a little larger. */
enum { STEP = 32 * 1024 };

void *mp__spare_take(mp__spare *spare, size_t size, size_t *ret_size)
{
    void *memory = spare->memory;

    *ret_size = size;
    if (size < MP__SPARE_LEAST || size > MP__SPARE_MOST)
        return mp__calloc(1, size);
    spare->was_used = true;
    if (memory && spare->size >= size) {
        *ret_size = spare->size;
        spare->memory = NULL;
        memset(memory, 0, size);
        return memory;
    }
    *ret_size = (size + STEP - 1) / STEP * STEP;
    return mp__calloc(1, *ret_size);
}

void mp__spare_give(mp__spare *spare, void *memory, size_t size)
{
    bool keeps = memory && size >= MP__SPARE_LEAST && size <= MP__SPARE_MOST &&
                 (!spare->memory || spare->size < size);

    if (keeps) {
        void *less = spare->memory;

        spare->memory = memory;
        spare->size = size;
        memory = less;
    }
    (void)mp__free(memory);
}

void mp__spare_scan(mp__spare *spare)
{
    if (!spare->was_used)
        mp__spare_done(spare);
    spare->was_used = false;
}

void mp__spare_done(mp__spare *spare)
{
    spare->memory = mp__free(spare->memory);
    spare->size = 0;
}
