/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that are not let in. Most have sent something when they read why, so some of them linger
 * (linger.h) for a second; where there are many, or the descriptors are short, they are closed at
 * once, since the next one waits for theirs. */
#include "core/alloc.h"
#include "server/internal.h"
#include "server/linger.h"

enum { LINGER_MOST = 64 /* of a worker */ };
#define LINGER_NS UINT64_C(1000000000)

typedef struct mp__refused {
    struct mp__refused *next;
    mp__worker_loop *worker;
    mp__stream *stream;
    mp__linger linger;
} refused;

static void refused_close(refused *r)
{
    refused **link = &r->worker->refused;

    while (*link && *link != r)
        link = &(*link)->next;
    if (!*link)
        return; /* it is closed already */
    *link = r->next;
    r->worker->refused_count--;
    mp__stream_close(r->stream);
}

static void on_read(void *context, char *data, int64_t size)
{
    refused *r = context;

    (void)data;
    mp__worker_tick(r->worker);
    if (!mp__linger_reads(&r->linger, size, r->worker->tick_ns))
        refused_close(r);
}

static void on_closed(void *context)
{
    (void)mp__free(context);
}

static const mp__stream_events lingering = {on_read, NULL, on_closed};

static void read_nothing(void *context, char *data, int64_t size)
{
    (void)context;
    (void)data;
    (void)size;
}

static const mp__stream_events at_once = {read_nothing, NULL, NULL};

void mp__client_refuse(mp__worker_loop *worker, mp__stream *stream, mp_str text)
{
    struct iovec part = {(void *)(uintptr_t)text.data, text.size};
    refused *r = NULL;

    mp__monitor_count(worker->server->monitor, MP__EVENT_CONNECTIONS_REFUSED, 1);
    if (worker->refused_count < LINGER_MOST && mp__client_leaves_descriptors(stream, false))
        r = mp__calloc(1, sizeof(*r));
    if (!r) {
        mp__stream_start(stream, &at_once, stream);
        (void)mp__stream_write(stream, &part, 1);
        mp__stream_close(stream);
        return;
    }
    mp__worker_tick(worker);
    r->worker = worker;
    r->stream = stream;
    r->next = worker->refused;
    worker->refused = r;
    worker->refused_count++;
    mp__stream_start(stream, &lingering, r);
    if (mp__stream_write(stream, &part, 1) != 0 || mp__stream_flush(stream) != 0 ||
        mp__stream_queued(stream))
        refused_close(r);
    else
        mp__linger_begin(&r->linger, stream, worker->tick_ns);
}

void mp__refused_scan(mp__worker_loop *worker, uint64_t now_ns)
{
    refused *next;

    for (refused *r = worker->refused; r; r = next) {
        next = r->next;
        if (mp__linger_is_over(&r->linger, now_ns, LINGER_NS))
            refused_close(r);
    }
}

void mp__refused_close_all(mp__worker_loop *worker)
{
    while (worker->refused)
        refused_close(worker->refused);
}
