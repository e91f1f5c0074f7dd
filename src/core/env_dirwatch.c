/* SPDX-License-Identifier: Apache-2.0 */
/* The real env's watches of folders: inotify through libuv, which shares one of the system's
 * watches between all that watch the same folder on the same loop. */
#include "core/env_real.h"

#include "core/alloc.h"

typedef struct real_dirwatch {
    mp__dirwatch base;
    uv_fs_event_t uv;
    void (*fn)(void *context, const char *name);
    void *context;
} real_dirwatch;

static void closed(uv_handle_t *handle)
{
    (void)mp__free(handle->data);
}

/* @status tells of a queue that could not be read: the same as "something changed". */
static void changed(uv_fs_event_t *uv, const char *name, int events, int status)
{
    real_dirwatch *watch = uv->data;

    (void)events;
    watch->fn(watch->context, status ? NULL : name);
}

int mp__real_dirwatch_new(mp__loop *loop, const char *path,
                          void (*fn)(void *context, const char *name), void *context,
                          mp__dirwatch **ret_watch)
{
    real_dirwatch *watch = mp__calloc(1, sizeof(*watch));
    int rc;

    if (!watch)
        return MP_ENOMEM;
    watch->base.ops = loop->ops;
    watch->fn = fn;
    watch->context = context;
    (void)uv_fs_event_init(&((mp__real_loop *)loop)->uv, &watch->uv); /* always succeeds */
    watch->uv.data = watch;
    rc = uv_fs_event_start(&watch->uv, changed, path, 0);
    if (rc) {
        uv_close((uv_handle_t *)&watch->uv, closed);
        return rc;
    }
    *ret_watch = &watch->base;
    return 0;
}

mp__dirwatch *mp__real_dirwatch_free(mp__dirwatch *watch)
{
    uv_close((uv_handle_t *)&((real_dirwatch *)watch)->uv, closed);
    return NULL;
}
