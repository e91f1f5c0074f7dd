/* SPDX-License-Identifier: Apache-2.0 */
/* The real env's streams: TCP on libuv. When descriptors have run out libuv accepts with one that
 * it keeps in reserve, and closes; who listens does better to refuse in words before that, by the
 * number of the descriptor. */
#include "core/env_real.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"

enum { SEND_BUFFER = 128 * 1024, BACKLOG = 1024, KEEPALIVE_S = 60, PARTS_MAX = 64 };

typedef struct real_listener {
    mp__listener base;
    uv_tcp_t uv;
    void (*on_accept)(void *context, mp__stream *stream);
    void *context;
    bool paused, waiting; /* a connection waits that was announced while paused */
} real_listener;

mp__real_stream *mp__real_stream_new(mp__real_loop *loop)
{
    mp__real_stream *stream = mp__calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    stream->base.ops = loop->base.ops;
    stream->loop = loop;
    if (uv_tcp_init(&loop->uv, &stream->uv) != 0)
        return mp__free(stream);
    stream->uv.data = stream;
    return stream;
}

static void stream_closed(uv_handle_t *handle)
{
    mp__real_stream *stream = handle->data;

    if (stream->events && stream->events->on_closed)
        stream->events->on_closed(stream->context);
    (void)mp__free(stream);
}

void mp__real_stream_close(mp__stream *base)
{
    mp__real_stream *stream = (mp__real_stream *)base;

    if (stream->closing)
        return;
    if (mp__real_stream_flush(base) != 0) { /* not to be taken for the whole of it */
        mp__real_stream_reset(base);
        return;
    }
    stream->closing = true;
    uv_close((uv_handle_t *)&stream->uv, stream_closed);
}

void mp__real_stream_reset(mp__stream *base)
{
    mp__real_stream *stream = (mp__real_stream *)base;

    if (stream->closing)
        return;
    if (stream->staged)
        (void)mp__real_gather_take(stream);
    stream->closing = true;
    if (stream->shutting || uv_tcp_close_reset(&stream->uv, stream_closed) != 0)
        uv_close((uv_handle_t *)&stream->uv, stream_closed);
}

static void shut_down(uv_shutdown_t *request, int status)
{
    mp__real_stream *stream = request->data;

    (void)status;
    (void)mp__free(request);
    mp__real_stream_close(&stream->base);
}

void mp__real_stream_shutdown(mp__stream *base)
{
    mp__real_stream *stream = (mp__real_stream *)base;
    uv_shutdown_t *request;

    if (stream->closing || stream->shutting)
        return;
    if (mp__real_stream_flush(base) != 0) {
        mp__real_stream_reset(base);
        return;
    }
    stream->shutting = true;
    request = mp__malloc(sizeof(*request));
    if (request)
        request->data = stream;
    if (!request || uv_shutdown(request, (uv_stream_t *)&stream->uv, shut_down) != 0) {
        (void)mp__free(request);
        mp__real_stream_close(base);
    }
}

void mp__real_stream_end(mp__stream *base)
{
    mp__real_stream *stream = (mp__real_stream *)base;

    assert(stream->queued == 0);
    if (!stream->closing && !stream->shutting && mp__real_stream_flush(base) == 0)
        (void)shutdown(stream->fd, SHUT_WR); /* a peer that has gone is told by the next read */
}

/* ---- reading ---- */

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    mp__real_loop *loop = handle->loop->data;

    (void)suggested;
    *buf = uv_buf_init(loop->read_buffer, (unsigned)mp__real_read_size(loop, MP__READ_BUFFER));
    if (loop->gather) {
        mp__real_gather_ready(handle->data);
        buf->len = 0; /* then libuv does not read, and bytes_came() hears UV_ENOBUFS */
    }
}

static void read_stop(mp__real_stream *stream)
{
    stream->reading = false;
    (void)uv_read_stop((uv_stream_t *)&stream->uv);
}

void mp__real_stream_came(mp__real_stream *stream, char *data, int64_t n)
{
    if (n == -EAGAIN || stream->closing)
        return;
    if (n <= 0)
        read_stop(stream);
    stream->events->on_read(stream->context, data, n);
}

void mp__real_stream_broke(mp__real_stream *stream, int error)
{
    if (stream->closing)
        return;
    read_stop(stream);
    stream->events->on_read(stream->context, NULL, error);
}

static void bytes_came(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf)
{
    if (n && n != UV_ENOBUFS) /* 0: nothing yet */
        mp__real_stream_came(uv->data, buf->base, n == UV_EOF ? 0 : n);
}

static void read_start(mp__real_stream *stream)
{
    stream->reading = true;
    (void)uv_read_start((uv_stream_t *)&stream->uv, give_buffer, bytes_came);
}

void mp__real_stream_start(mp__stream *base, const mp__stream_events *events, void *context)
{
    mp__real_stream *stream = (mp__real_stream *)base;

    stream->events = events;
    stream->context = context;
    (void)uv_fileno((uv_handle_t *)&stream->uv, &stream->fd);
    read_start(stream);
}

void mp__real_stream_pause(mp__stream *base, bool pause)
{
    mp__real_stream *stream = (mp__real_stream *)base;

    if (stream->closing)
        return;
    if (pause)
        read_stop(stream);
    else
        read_start(stream);
}

/* ---- writing ---- */

typedef struct queued_write {
    uv_write_t uv;
    size_t size;
    mp_blob *kept; /* a reference, or NULL: holds what follows the bytes */
    char bytes[];
} queued_write;

static void queued_free(queued_write *request)
{
    (void)mp_blob_unref(request->kept);
    (void)mp__free(request);
}

static void written(uv_write_t *uv, int status)
{
    queued_write *request = (queued_write *)uv;
    mp__real_stream *stream = uv->handle->data;

    stream->queued -= request->size;
    queued_free(request);
    if (stream->closing)
        return;
    if (status < 0) {
        mp__real_stream_broke(stream, status);
    } else if (stream->queued == 0 && stream->events->on_drained) {
        stream->events->on_drained(stream->context);
    }
}

/* Copy the bytes of @parts from @skip on. */
static void copy_parts(char *to, const struct iovec *parts, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t size = parts[i].iov_len, cut = skip < size ? skip : size;

        memcpy(to, (const char *)parts[i].iov_base + cut, size - cut);
        to += size - cut;
        skip -= cut;
    }
}

/* Let libuv send in turn what is left of @parts behind the first @skip bytes: a copy, but for the
 * last part where that is of @kept (or NULL). */
static int queue_rest(mp__real_stream *stream, const struct iovec *parts, int count, size_t skip,
                      size_t total, const mp_blob *kept)
{
    size_t last = kept ? parts[count - 1].iov_len : 0, before = total - last;
    size_t copied = skip < before ? before - skip : 0, cut = skip > before ? skip - before : 0;
    queued_write *request = mp__malloc(sizeof(*request) + copied);
    uv_buf_t bufs[2];
    unsigned n = 0;
    int rc;

    if (!request)
        return MP_ENOMEM;
    request->size = total - skip;
    request->kept = kept ? mp_blob_ref(kept) : NULL;
    if (copied) {
        copy_parts(request->bytes, parts, kept ? count - 1 : count, skip);
        bufs[n++] = uv_buf_init(request->bytes, (unsigned)copied);
    }
    if (last > cut)
        bufs[n++] = uv_buf_init((char *)parts[count - 1].iov_base + cut, (unsigned)(last - cut));
    rc = uv_write(&request->uv, (uv_stream_t *)&stream->uv, bufs, n, written);
    if (rc) {
        queued_free(request);
        return rc;
    }
    stream->queued += request->size;
    return 0;
}

int mp__real_stream_queue(mp__real_stream *stream, char *data, size_t size, size_t sent)
{
    const struct iovec part = {data, size};

    return queue_rest(stream, &part, 1, sent, size, NULL);
}

/* Give the socket what it takes, and queue the rest. */
static int write_now(mp__real_stream *stream, const struct iovec *parts, int count, size_t total,
                     const mp_blob *kept)
{
    __attribute__((uninitialized)) uv_buf_t bufs[PARTS_MAX + 1];
    int n = UV_EAGAIN;

    for (int i = 0; i < count; i++)
        bufs[i] = uv_buf_init(parts[i].iov_base, (unsigned)parts[i].iov_len);
    if (stream->queued == 0)
        n = uv_try_write((uv_stream_t *)&stream->uv, bufs, (unsigned)count);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0)
        return n;
    return (size_t)n == total ? 0 : queue_rest(stream, parts, count, (size_t)n, total, kept);
}

/* The same behind what was kept for the end of the turn. */
static int write_behind(mp__real_stream *stream, const struct iovec *parts, int count, size_t total,
                        const mp_blob *kept)
{
    __attribute__((uninitialized)) struct iovec all[PARTS_MAX + 1];

    all[0] = mp__real_gather_take(stream);
    memcpy(all + 1, parts, (size_t)count * sizeof(*parts));
    return write_now(stream, all, count + 1, all[0].iov_len + total, kept);
}

int mp__real_stream_write(mp__stream *base, const struct iovec *parts, int count)
{
    return mp__real_stream_write_kept(base, parts, count, NULL);
}

int mp__real_stream_write_kept(mp__stream *base, const struct iovec *parts, int count,
                               const mp_blob *kept)
{
    mp__real_stream *stream = (mp__real_stream *)base;
    size_t total = 0;

    if (stream->closing || stream->shutting)
        return MP_ECLOSED;
    if (count > PARTS_MAX)
        return MP_EINVAL;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    if (total == 0 || (stream->loop->gather && mp__real_gather_write(stream, parts, count, total)))
        return 0;
    return stream->staged ? write_behind(stream, parts, count, total, kept)
                          : write_now(stream, parts, count, total, kept);
}

int mp__real_stream_flush(mp__stream *base)
{
    mp__real_stream *stream = (mp__real_stream *)base;
    struct iovec kept;

    if (!stream->staged)
        return 0;
    kept = mp__real_gather_take(stream);
    return write_now(stream, &kept, 1, kept.iov_len, NULL);
}

int mp__real_stream_descriptor(const mp__stream *base)
{
    uv_os_fd_t fd = -1;

    (void)uv_fileno((const uv_handle_t *)&((const mp__real_stream *)base)->uv, &fd);
    return fd;
}

size_t mp__real_stream_queued(const mp__stream *stream)
{
    return ((const mp__real_stream *)stream)->queued;
}

size_t mp__real_stream_unsent(const mp__stream *base)
{
    const mp__real_stream *stream = (const mp__real_stream *)base;

    return stream->queued ? uv_stream_get_write_queue_size((const uv_stream_t *)&stream->uv) : 0;
}

const char *mp__real_stream_peer(mp__stream *base, char *text, size_t capacity)
{
    mp__real_stream *stream = (mp__real_stream *)base;
    struct sockaddr_storage address;
    int size = sizeof(address);
    char host[48] = "?";
    int port = 0;

    if (uv_tcp_getpeername(&stream->uv, (struct sockaddr *)&address, &size) == 0) {
        (void)uv_ip_name((const struct sockaddr *)&address, host, sizeof(host));
        port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                   : ((struct sockaddr_in *)&address)->sin_port);
    }
    (void)snprintf(text, capacity, address.ss_family == AF_INET6 ? "[%s]:%d" : "%s:%d", host, port);
    return text;
}

/* ---- listening ---- */

int mp__real_resolve(const char *host, uint16_t port, struct sockaddr_storage *ret_address)
{
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;

    if (uv_ip4_addr(name, port, (struct sockaddr_in *)ret_address) == 0 ||
        uv_ip6_addr(name, port, (struct sockaddr_in6 *)ret_address) == 0)
        return 0;
    return MP_EINVAL;
}

static socklen_t address_size(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

static void accept_one(real_listener *listener)
{
    mp__real_loop *loop = listener->uv.loop->data;
    mp__real_stream *stream = mp__real_stream_new(loop);
    int send_buffer = SEND_BUFFER;

    if (!stream)
        return; /* libuv stops listening for the moment and tries again with the next one */
    if (uv_accept((uv_stream_t *)&listener->uv, (uv_stream_t *)&stream->uv) != 0) {
        mp__real_stream_close(&stream->base);
        return;
    }
    (void)uv_tcp_nodelay(&stream->uv, 1);
    (void)uv_tcp_keepalive(&stream->uv, 1, KEEPALIVE_S);
    /* What a peer does not read must show in our own queue, where it is limited and timed, and not
     * vanish in megabytes of the kernel's. */
    (void)uv_send_buffer_size((uv_handle_t *)&stream->uv, &send_buffer);
    listener->on_accept(listener->context, &stream->base);
}

static void connection_came(uv_stream_t *uv, int status)
{
    real_listener *listener = uv->data;

    /* Not even libuv's reserve is left, and it tries again as soon as we return: not at full speed,
     * which would keep from running what gives descriptors back. */
    if (status == UV_EMFILE || status == UV_ENFILE)
        (void)poll(NULL, 0, 1);
    if (status < 0)
        return;
    if (listener->paused)
        listener->waiting = true;
    else
        accept_one(listener);
}

static void listener_closed(uv_handle_t *handle)
{
    (void)mp__free(handle->data);
}

static int bound_socket(const struct sockaddr_storage *address, bool shared, int *ret_fd)
{
    int one = 1, fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0)
        goto fail;
    if (bind(fd, (const struct sockaddr *)address, address_size(address)) != 0)
        goto fail;
    *ret_fd = fd;
    return 0;
fail : {
    int rc = -errno;

    (void)close(fd);
    return rc;
}
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t size = sizeof(address);

    if (getsockname(fd, &address.any, &size) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

int mp__real_listen(mp__loop *base, const char *host, uint16_t *port, bool shared,
                    void (*on_accept)(void *context, mp__stream *stream), void *context,
                    mp__listener **ret_listener)
{
    mp__real_loop *loop = (mp__real_loop *)base;
    struct sockaddr_storage address = {0};
    real_listener *listener;
    int fd = -1, rc = mp__real_resolve(host, *port, &address);

    if (rc)
        return rc;
    rc = bound_socket(&address, shared, &fd);
    if (rc)
        return rc;
    /* Nothing can be congested there, and a system's BBR would pace each packet with a timer. */
    if (mp__address_is_loopback(host))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    listener = mp__calloc(1, sizeof(*listener));
    if (!listener || uv_tcp_init(&loop->uv, &listener->uv) != 0) {
        (void)close(fd);
        (void)mp__free(listener);
        return MP_ENOMEM;
    }
    listener->base.ops = base->ops;
    listener->uv.data = listener;
    listener->on_accept = on_accept;
    listener->context = context;
    rc = uv_tcp_open(&listener->uv, fd);
    if (rc)
        (void)close(fd);
    else
        rc = uv_listen((uv_stream_t *)&listener->uv, BACKLOG, connection_came);
    if (rc) {
        uv_close((uv_handle_t *)&listener->uv, listener_closed);
        return rc;
    }
    *port = port_of(fd);
    *ret_listener = &listener->base;
    return 0;
}

int mp__real_listen_probe(mp_env *env, const char *host, uint16_t port)
{
    struct sockaddr_storage address = {0};
    int fd = -1, rc = mp__real_resolve(host, port, &address);

    (void)env;
    if (rc || port == 0)
        return rc;
    rc = bound_socket(&address, false, &fd);
    if (rc)
        return rc;
    if (listen(fd, 1) != 0) /* with SO_REUSEADDR the bind alone does not meet another listener */
        rc = -errno;
    (void)close(fd);
    return rc;
}

void mp__real_listener_pause(mp__listener *base, bool pause)
{
    real_listener *listener = (real_listener *)base;

    listener->paused = pause;
    if (!pause && listener->waiting) {
        listener->waiting = false;
        accept_one(listener);
    }
}

mp__listener *mp__real_listener_free(mp__listener *base)
{
    uv_close((uv_handle_t *)&((real_listener *)base)->uv, listener_closed);
    return NULL;
}
