/* SPDX-License-Identifier: Apache-2.0 */
/* One block of memory that a loop keeps for its next large command. Memory of that size is mapped
 * from the system and given back with each use; the page faults of that cost more than what is done
 * in it. Of the loop's thread. */
#ifndef MP_SERVER_SPARE_H
#define MP_SERVER_SPARE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MP__SPARE_LEAST = 64 * 1024,  /* bytes; the allocator has what is smaller at hand */
    MP__SPARE_MOST = 1024 * 1024, /* of what is kept */
};

typedef struct mp__spare { /* begins zeroed */
    void *memory;
    size_t size;
    bool was_used; /* since the last mp__spare_scan() */
} mp__spare;

/* @size bytes of zeros, aligned for anything; NULL: no memory. *ret_size: how many they are, for
 * mp__spare_give(). */
void *mp__spare_take(mp__spare *spare, size_t size, size_t *ret_size);
/* Free what mp__spare_take() gave, or keep it. Accepts NULL. */
void mp__spare_give(mp__spare *spare, void *memory, size_t size);
/* Now and then: free what was of no use since the last time. */
void mp__spare_scan(mp__spare *spare);
void mp__spare_done(mp__spare *spare);

#endif
