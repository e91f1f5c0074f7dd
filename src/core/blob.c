/* SPDX-License-Identifier: Apache-2.0 */
#include "core/blob.h"

#include <marketprism/error.h>

#include "core/alloc.h"

/* The public struct is a member of ours, and no blob is ever really const. */
static mp__blob *blob_of(const mp_blob *blob)
{
    return (mp__blob *)((uintptr_t)blob - offsetof(mp__blob, pub));
}

static void blob_free(mp__blob *blob)
{
    (void)mp__free(blob);
}

MP_API int mp_blob_new(const void *data, size_t size, mp_blob **ret_blob)
{
    mp__blob *blob;
    unsigned char *bytes;

    if (!ret_blob || (!data && size) || size > SIZE_MAX - sizeof(*blob))
        return MP_EINVAL;
    blob = mp__malloc(sizeof(*blob) + size);
    if (!blob)
        return MP_ENOMEM;
    bytes = (unsigned char *)(blob + 1);
    if (size)
        memcpy(bytes, data, size);
    mp__blob_init(blob, bytes, size, blob_free);
    *ret_blob = &blob->pub;
    return 0;
}

MP_API mp_blob *mp_blob_ref(const mp_blob *blob)
{
    mp__blob *full = blob_of(blob);

    (void)atomic_fetch_add_explicit(&full->refs, 1, memory_order_relaxed);
    return &full->pub;
}

MP_API mp_blob *mp_blob_unref(mp_blob *blob)
{
    mp__blob *full;

    if (!blob)
        return NULL;
    full = blob_of(blob);
    /* Who has the only reference is alone, and needs no locked instruction. Either way what the
     * others read happens before the free; a load, since sanitizers see no fences. */
    if (atomic_load_explicit(&full->refs, memory_order_acquire) == 1) {
        full->free_fn(full);
    } else if (atomic_fetch_sub_explicit(&full->refs, 1, memory_order_release) == 1) {
        (void)atomic_load_explicit(&full->refs, memory_order_acquire);
        full->free_fn(full);
    }
    return NULL;
}
