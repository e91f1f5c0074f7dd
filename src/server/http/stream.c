/* SPDX-License-Identifier: Apache-2.0 */
/* Answers whose end is not known when they begin: chunked, until the connection ends, or another
 * protocol's bytes. */
#include "server/http/connection.h"

#include <assert.h>

enum { PARTS_MAX = 8, CHUNK_HEAD = 2 * sizeof(size_t) + 2 };

/* The head is written; from here on the exchange is a stream. */
static bool begin(mp__exchange *x, const mp__http_stream_events *events, void *context)
{
    mp__http_connection *c = x->connection;

    assert(events);
    if (x->gone) {
        mp__http_answered(c);
        return false;
    }
    x->streaming = true;
    x->events = events;
    x->context = context;
    x->on_close = NULL;
    c->closing = true;
    /* When the connection breaks here the caller learns it from what this returns. */
    x->events = NULL;
    if (!mp__http_write_out(c, x->out))
        return false;
    x->events = events;
    return true;
}

bool mp__http_stream_begin(mp__exchange *x, mp_str content_type,
                           const mp__http_stream_events *events, void *context)
{
    if (content_type.size)
        mp__answer_header(x, "Content-Type", content_type);
    x->chunked = !x->request.http_1_0;
    if (x->chunked)
        mp__answer_header(x, "Transfer-Encoding", MP_STR("chunked"));
    (void)mp__buf_add(x->out, "\r\n", 2);
    if (x->request.head) {
        mp__http_answered(x->connection);
        return false;
    }
    return begin(x, events, context);
}

bool mp__http_stream_upgrade(mp__exchange *x, const mp__http_stream_events *events, void *context)
{
    assert(x->request.upgrade);
    (void)mp__buf_add(x->out, "\r\n", 2);
    x->raw = true;
    return begin(x, events, context);
}

static bool broken(mp__exchange *x, const char *why)
{
    mp__http_close_soon(x->connection, why);
    return false;
}

/* "1a2b\r\n": the head of a chunk, of at most CHUNK_HEAD bytes. */
static struct iovec chunk_head(size_t size, char out[CHUNK_HEAD])
{
    static const char digits[] = "0123456789abcdef";
    char *end = out + CHUNK_HEAD, *at = end;

    *--at = '\n';
    *--at = '\r';
    do
        *--at = digits[size % 16];
    while ((size /= 16) != 0);
    return (struct iovec){at, (size_t)(end - at)};
}

bool mp__http_stream_write_parts(mp__exchange *x, const struct iovec *parts, int count)
{
    mp__http_connection *c = x->connection;
    __attribute__((uninitialized)) struct iovec all[PARTS_MAX + 2];
    char head[CHUNK_HEAD];
    size_t total = 0;
    int n = 0;

    assert(count <= PARTS_MAX && x->streaming && !x->ending);
    if (c->closed || c->posted)
        return false;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    if (total == 0)
        return true; /* an empty chunk would be the end */
    if (x->chunked)
        all[n++] = chunk_head(total, head);
    for (int i = 0; i < count; i++)
        all[n++] = parts[i];
    if (x->chunked)
        all[n++] = (struct iovec){(void *)(uintptr_t) "\r\n", 2};
    mp__monitor_count(c->worker->server->monitor, MP__EVENT_BYTES_OUT, total);
    if (mp__stream_write(c->stream, all, n) != 0)
        return broken(x, NULL);
    if (mp__stream_queued(c->stream) > c->worker->limits.output_hard)
        return broken(x, "more unread events than resp.output_hard");
    return true;
}

bool mp__http_stream_write(mp__exchange *x, const void *data, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)data, size};

    return mp__http_stream_write_parts(x, &part, 1);
}

size_t mp__http_stream_unsent(const mp__exchange *x)
{
    return x->connection->closed ? 0 : mp__stream_queued(x->connection->stream);
}

static void end(mp__exchange *x, enum mp__http_ending ending)
{
    mp__http_connection *c = x->connection;

    x->streaming = false;
    c->busy = false;
    mp__exchange_release(x);
    if (c->in_parse) /* run_all() ends since the connection is closing, then closes it */
        return;
    mp__http_close(c, ending);
}

void mp__http_stream_end(mp__exchange *x)
{
    mp__http_connection *c = x->connection;
    struct iovec last = {(void *)(uintptr_t) "0\r\n\r\n", 5};

    if (x->chunked && !c->closed && !c->posted)
        (void)mp__stream_write(c->stream, &last, 1);
    end(x, MP__HTTP_CLOSE_AFTER_SENDING);
}

void mp__http_stream_abort(mp__exchange *x)
{
    if (x->connection->in_parse)
        mp__http_close_soon(x->connection, NULL);
    end(x, MP__HTTP_RESET);
}
