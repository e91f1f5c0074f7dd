/* SPDX-License-Identifier: Apache-2.0 */
/* An immutable, reference-counted run of bytes: how values travel. */
#ifndef MARKETPRISM_BLOB_H
#define MARKETPRISM_BLOB_H

#include <stddef.h>

#include <marketprism/export.h>
#include <marketprism/str.h>

MP_BEGIN_DECLS

/* The two members are frozen: callers read them directly. What follows them is private. */
typedef struct mp_blob {
    const unsigned char *data;
    size_t size; /* bytes */
} mp_blob;

/* Copy @size bytes of @data into a new blob with one reference, in *ret_blob.
 * MP_ENOMEM; MP_EINVAL. Free it with mp_blob_unref(). Any thread. */
MP_API MP_MUST_USE int mp_blob_new(const void *data, size_t size, mp_blob **ret_blob);

/* Take a further reference, to hold a value past mp_read_end(). @blob may be borrowed from
 * mp_cache_get() as long as that read section is open. Returns @blob. Any thread; lock-free. */
MP_API mp_blob *mp_blob_ref(const mp_blob *blob);

/* Give a reference back; the last one frees. Accepts NULL, returns NULL. Any thread. */
MP_API mp_blob *mp_blob_unref(mp_blob *blob);

static inline mp_str mp_blob_str(const mp_blob *blob)
{
    return mp_str_new(blob->data, blob->size);
}

MP_END_DECLS

#endif
