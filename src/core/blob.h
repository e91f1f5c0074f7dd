/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind the public blob: a count, and how to free the memory it lives in. */
#ifndef MP_CORE_BLOB_H
#define MP_CORE_BLOB_H

#include <stdatomic.h>
#include <stdint.h>

#include <marketprism/blob.h>

/* Embedded in whatever holds the bytes (a heap blob, a cache entry). The public part comes last, so
 * that a holder can lay it on a cache line with its own hot members, away from the count. */
typedef struct mp__blob {
    void (*free_fn)(struct mp__blob *blob); /* called when refs falls to 0, on that thread */
    _Atomic uint32_t refs;
    uint32_t spare; /* for the holder */
    mp_blob pub;
} mp__blob;

/* Start a blob embedded in something larger with one reference. */
static inline void mp__blob_init(mp__blob *blob, const void *data, size_t size,
                                 void (*free_fn)(mp__blob *blob))
{
    blob->pub = (mp_blob){(const unsigned char *)data, size};
    atomic_init(&blob->refs, 1);
    blob->spare = 0;
    blob->free_fn = free_fn;
}

#endif
