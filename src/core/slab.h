/* SPDX-License-Identifier: Apache-2.0 */
/* Size-class slabs over pages of our own, so that limits count what the system really gave.
 *
 * Spans of 64 KiB are cut into objects of one size class (steps of 64 bytes up to 1 KiB, then four
 * a power of two); larger objects get spans of their own. Empty spans go back to the system, so
 * that resident memory follows a limit down, too. */
#ifndef MP_CORE_SLAB_H
#define MP_CORE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include <marketprism/error.h>

typedef struct mp__slab mp__slab;

/* A slab that never holds more than @bytes_max of pages (0: no limit). MP_ENOMEM. */
MP_MUST_USE int mp__slab_new(size_t bytes_max, mp__slab **ret_slab);
/* From now on what takes no more than MP__SLAB_BLOCK bytes gets a block of a span of its own, if
 * one is free: MP__SLAB_BLOCKS of them, found and given back without the lock, for what hardly
 * lives longer than a call. Once, before its first use. MP_ENOMEM: it goes without them. */
enum { MP__SLAB_BLOCK = 4096, MP__SLAB_BLOCKS = 15 };
MP_MUST_USE int mp__slab_keep_blocks(mp__slab *slab);
/* The owner is done with it: it goes with its last object (those whose values others still hold).
 * Accepts NULL, returns NULL. */
mp__slab *mp__slab_close(mp__slab *slab);

/* An object of at least @size bytes aligned to 64; NULL when the limit or memory does not allow a
 * further page (the caller evicts and tries again). Any thread. */
void *mp__slab_alloc(mp__slab *slab, size_t size) __attribute__((warn_unused_result));
/* Any thread; finds the slab by itself. */
void mp__slab_free(void *object);

/* Call @each for every object that shares its pages with @object, itself included: an owner that
 * lets all of them go gives the pages back. With the slab's lock held: @each must not come back to
 * the slab. No object may be under construction. Any thread that keeps @object alive. */
void mp__slab_each_beside(mp__slab *slab, void *object, void (*each)(void *context, void *object),
                          void *context);

size_t mp__slab_round(size_t size);                /* what an object of @size really takes */
size_t mp__slab_pages_bytes(const mp__slab *slab); /* pages held now, bytes; any thread */
size_t mp__slab_used_bytes(const mp__slab *slab);  /* in live objects, rounded; any thread */
void mp__slab_limit_set(mp__slab *slab, size_t bytes_max); /* any thread; what is over it stays */

#endif
