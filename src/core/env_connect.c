/* SPDX-License-Identifier: Apache-2.0 */
/* The real env's way out: connecting to an address, or to what a name stands for.
 *
 * A name is looked up in a thread of its own, "mp-lookup", since getaddrinfo(3) blocks, for many
 * seconds where no server answers. Nobody waits for it: who gave up, or ends, leaves it behind, and
 * it frees what it has when the system lets it go. All its addresses are tried in their order
 * within the one time-out. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/env_real.h"

enum { NAME_MAX_SIZE = 256, ADDRESSES_MAX = 8 };

struct real_connect;

typedef struct lookup {
    mp__task task; /* to the loop, when it is done */
    pthread_mutex_t lock;
    struct real_connect *connect; /* NULL: left behind; under the lock */
    mp__loop *loop;               /* valid while there is a connect */
    char name[NAME_MAX_SIZE], port[8];
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    size_t count;
    int status;
} lookup;

typedef struct real_connect {
    uv_connect_t uv;
    uv_timer_t timer;
    mp__real_loop *loop;
    mp__real_stream *stream; /* of the attempt under way; NULL: there is none */
    lookup *lookup;          /* under way, or NULL */
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    size_t count, next;
    bool done; /* on_connect was called */
    void (*on_connect)(void *context, int error, mp__stream *stream);
    void *context;
} real_connect;

static void attempt(real_connect *connect, int status);

/* ---- looking up ---- */

static void lookup_free(lookup *l)
{
    (void)pthread_mutex_destroy(&l->lock);
    (void)mp__free(l);
}

static void keep_addresses(lookup *l, const struct addrinfo *found)
{
    for (; found && l->count < ADDRESSES_MAX; found = found->ai_next)
        if (found->ai_addrlen <= sizeof(l->addresses[0]))
            memcpy(&l->addresses[l->count++], found->ai_addr, found->ai_addrlen);
}

static void *look_up(void *context)
{
    static const struct addrinfo hints = {.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV,
                                          .ai_socktype = SOCK_STREAM};
    lookup *l = context;
    struct addrinfo *found = NULL;
    bool is_left;
    int rc;

    (void)pthread_setname_np(pthread_self(), "mp-lookup");
    rc = getaddrinfo(l->name, l->port, &hints, &found);

    l->status = rc == 0 ? 0 : -ENXIO;
    keep_addresses(l, found);
    if (found)
        freeaddrinfo(found);
    (void)pthread_mutex_lock(&l->lock);
    is_left = l->connect == NULL;
    if (!is_left)
        mp__loop_post(l->loop, &l->task);
    (void)pthread_mutex_unlock(&l->lock);
    if (is_left)
        lookup_free(l);
    return NULL;
}

/* On the loop, with what the thread found; also when it was left behind after it had posted. */
static void looked_up(mp__task *task)
{
    lookup *l = (lookup *)((char *)task - offsetof(lookup, task));
    real_connect *connect;
    int status = l->status;

    (void)pthread_mutex_lock(&l->lock); /* the thread may still hold it */
    connect = l->connect;
    (void)pthread_mutex_unlock(&l->lock);
    if (connect) {
        connect->lookup = NULL;
        connect->count = l->count;
        memcpy(connect->addresses, l->addresses, sizeof(l->addresses));
    }
    lookup_free(l);
    if (connect)
        attempt(connect, status);
}

static int lookup_new(real_connect *connect, const char *host, uint16_t port)
{
    lookup *l = mp__calloc(1, sizeof(*l));
    pthread_attr_t detached;
    pthread_t thread;
    int rc;

    if (!l)
        return MP_ENOMEM;
    (void)pthread_mutex_init(&l->lock, NULL);
    l->task.run = looked_up;
    l->connect = connect;
    l->loop = &connect->loop->base;
    (void)snprintf(l->name, sizeof(l->name), "%s", host);
    (void)snprintf(l->port, sizeof(l->port), "%u", (unsigned)port);
    (void)pthread_attr_init(&detached);
    (void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    connect->lookup = l;
    rc = -pthread_create(&thread, &detached, look_up, l);
    (void)pthread_attr_destroy(&detached);
    if (rc) {
        connect->lookup = NULL;
        lookup_free(l);
    }
    return rc;
}

static void leave_behind(real_connect *connect)
{
    lookup *l = connect->lookup;

    connect->lookup = NULL;
    if (!l)
        return;
    (void)pthread_mutex_lock(&l->lock);
    l->connect = NULL;
    (void)pthread_mutex_unlock(&l->lock);
}

/* ---- connecting ---- */

static void timer_closed(uv_handle_t *handle)
{
    (void)mp__free(handle->data);
}

/* It is over; freed when nothing of it is under way any more. */
static void ends(real_connect *connect, int status)
{
    mp__real_stream *stream = connect->stream;

    if (connect->done)
        return;
    connect->done = true;
    leave_behind(connect);
    if (status == 0)
        (void)uv_tcp_nodelay(&stream->uv, 1);
    else if (stream)
        mp__real_stream_close(&stream->base); /* lets connected() come, with UV_ECANCELED */
    if (status || !stream)
        connect->on_connect(connect->context, status ? status : -ENXIO, NULL);
    else
        connect->on_connect(connect->context, 0, &stream->base);
}

static void connected(uv_connect_t *uv, int status)
{
    real_connect *connect = uv->data;

    if (status && status != UV_ECANCELED && !connect->done && connect->next < connect->count) {
        mp__real_stream_close(&connect->stream->base);
        connect->stream = NULL;
        attempt(connect, status);
        return;
    }
    ends(connect, status);
    uv_close((uv_handle_t *)&connect->timer, timer_closed);
}

static void late(uv_timer_t *timer)
{
    real_connect *connect = timer->data;
    bool is_connecting = connect->stream != NULL;

    ends(connect, MP_ETIMEOUT);
    if (!is_connecting) /* else connected() is to come */
        uv_close((uv_handle_t *)timer, timer_closed);
}

/* Begin with the next address. 0 or why not; then no connected() comes. */
static int begin(real_connect *connect)
{
    const struct sockaddr *address = (const struct sockaddr *)&connect->addresses[connect->next++];
    int rc;

    connect->stream = mp__real_stream_new(connect->loop);
    if (!connect->stream)
        return MP_ENOMEM;
    rc = uv_tcp_connect(&connect->uv, &connect->stream->uv, address, connected);
    if (rc) {
        mp__real_stream_close(&connect->stream->base);
        connect->stream = NULL;
    }
    return rc;
}

/* Go on with the addresses that are left; @status is why the one before was none. */
static void attempt(real_connect *connect, int status)
{
    int rc = status ? status : -ENXIO;

    while (connect->next < connect->count) {
        rc = begin(connect);
        if (rc == 0)
            return;
    }
    ends(connect, rc);
    uv_close((uv_handle_t *)&connect->timer, timer_closed);
}

int mp__real_connect(mp__loop *base, const char *host, uint16_t port, uint64_t timeout_ms,
                     void (*on_connect)(void *context, int error, mp__stream *stream),
                     void *context)
{
    mp__real_loop *loop = (mp__real_loop *)base;
    real_connect *connect = mp__calloc(1, sizeof(*connect));
    int rc;

    if (!connect)
        return MP_ENOMEM;
    connect->loop = loop;
    connect->on_connect = on_connect;
    connect->context = context;
    connect->uv.data = connect;
    (void)uv_timer_init(&loop->uv, &connect->timer);
    connect->timer.data = connect;
    connect->count = mp__real_resolve(host, port, &connect->addresses[0]) == 0;
    rc = connect->count ? begin(connect) : lookup_new(connect, host, port);
    if (rc) {
        uv_close((uv_handle_t *)&connect->timer, timer_closed);
        return rc;
    }
    (void)uv_timer_start(&connect->timer, late, timeout_ms, 0);
    return 0;
}
