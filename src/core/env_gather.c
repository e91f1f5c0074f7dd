/* SPDX-License-Identifier: Apache-2.0 */
/* Many sockets, few system calls. A loop that gathers (mp__loop_gather()) keeps short writes until
 * its turn ends or there are as many as one call takes, and reads what is ready on its streams
 * after all of them were announced; where there is more than one, io_uring (Axboe, "Efficient IO
 * with io_uring", 2019) takes them to the system in one call. Every request is one that ends at
 * once (MSG_DONTWAIT), within that call: the ring is never waited for, and nothing of a stream is
 * in flight when it is closed. What could not be tried counts as not ready. libuv says which
 * streams are ready, and sends what has to wait. */
#include "core/env_real.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/alloc.h"

enum {
    READS = 16,                 /* streams read in one call */
    READ_SIZE = 16 * 1024,      /* bytes of each; what is left is announced again */
    STAGED = 1024,              /* streams whose writes are kept at once */
    STAGED_BYTES = 1024 * 1024, /* of all */
    STAGED_MOST = 32 * 1024,    /* of one */
    TRIES = 8,                  /* to have the entries of the ring taken */
    CALLS = 64,                 /* entries of the ring, sends in one call */
    EARLY = 64,                 /* streams whose writes do not wait for the others of the turn */
};

typedef struct staged_write {
    mp__real_stream *stream; /* NULL: it was sent or dropped */
    size_t at, size;         /* of the bytes that are to be sent */
    int status;              /* how sending went: bytes, or -errno */
} staged_write;

enum ring_state { RING_UNTRIED, RING_WORKS, RING_NONE };

struct mp__real_gather {
    struct io_uring ring;
    atomic_int ring_state; /* enum ring_state; written by the loop's thread alone */
    mp__real_stream *ready, **ready_end;
    unsigned count; /* of staged */
    unsigned tried; /* of them, from the first on: sent as far as their sockets took it */
    size_t used;    /* of bytes */
    staged_write staged[STAGED];
    char *reads; /* READS * READ_SIZE; NULL: the ring was not tried */
    char bytes[STAGED_BYTES];
};

/* ---- the ring ---- */

static int ring_state(const struct mp__real_gather *g)
{
    return atomic_load_explicit(&g->ring_state, memory_order_relaxed);
}

static void ring_end(struct mp__real_gather *g)
{
    if (ring_state(g) == RING_WORKS)
        io_uring_queue_exit(&g->ring);
    atomic_store_explicit(&g->ring_state, RING_NONE, memory_order_relaxed);
}

/* The library of Debian 12 declares these two and does not have them. */
static long ring_register(const struct io_uring *ring, unsigned what, void *data, unsigned count)
{
    return syscall(SYS_io_uring_register, ring->ring_fd, what, data, count);
}

/* A ring that can receive and send, and nothing else whoever may come to hold it. */
static int ring_begin(struct io_uring *ring, unsigned flags)
{
    struct io_uring_params params = {.flags = flags | IORING_SETUP_R_DISABLED};
    struct io_uring_restriction allowed[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_RECV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SEND},
    };
    int rc = io_uring_queue_init_params(CALLS, ring, &params);

    if (rc)
        return rc;
    if (ring_register(ring, IORING_REGISTER_RESTRICTIONS, allowed,
                      sizeof(allowed) / sizeof(allowed[0])) == 0 &&
        ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0)
        return 0;
    io_uring_queue_exit(ring);
    return -ENOSYS;
}

/* On the loop's thread: the system then knows who alone will ask. */
static bool ring_works(struct mp__real_gather *g)
{
    bool works;

    if (ring_state(g) != RING_UNTRIED)
        return ring_state(g) == RING_WORKS;
    g->reads = mp__malloc((size_t)READS * READ_SIZE);
    works = g->reads &&
            (ring_begin(&g->ring, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER) == 0 ||
             ring_begin(&g->ring, 0) == 0);
    atomic_store_explicit(&g->ring_state, works ? RING_WORKS : RING_NONE, memory_order_relaxed);
    return works;
}

/* Have the @count requests that were prepared done, and put how the i-th went into status[i]. The
 * system takes them in their order. One that it took and did not end, which it never does, leaves
 * its stream in doubt: that is told as an error, and the ring is given up. */
static void ring_call(struct mp__real_gather *g, unsigned count, int *status)
{
    unsigned submitted = 0, done = 0;
    struct io_uring_cqe *cqe;

    for (unsigned tries = 0; submitted < count && tries < TRIES; tries++) {
        int rc = io_uring_submit(&g->ring);

        if (rc <= 0 && rc != -EINTR)
            break;
        submitted += rc > 0 ? (unsigned)rc : 0;
    }
    for (unsigned i = 0; i < count; i++)
        status[i] = i < submitted ? -ECANCELED : -EAGAIN;
    for (; done < submitted && io_uring_peek_cqe(&g->ring, &cqe) == 0; done++) {
        status[cqe->user_data] = cqe->res;
        io_uring_cqe_seen(&g->ring, cqe);
    }
    if (done < count)
        ring_end(g);
}

/* ---- reading ---- */

void mp__real_gather_ready(mp__real_stream *stream)
{
    struct mp__real_gather *g = stream->loop->gather;

    if (stream->is_ready)
        return;
    stream->is_ready = true;
    stream->next_ready = NULL;
    *g->ready_end = stream;
    g->ready_end = &stream->next_ready;
}

static void read_one(mp__real_stream *stream)
{
    size_t size = mp__real_read_size(stream->loop, MP__READ_BUFFER);
    ssize_t n;

    do
        n = recv(stream->fd, stream->loop->read_buffer, size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    mp__real_stream_came(stream, stream->loop->read_buffer, n < 0 ? -errno : n);
}

static void read_many(struct mp__real_gather *g, mp__real_stream **streams, unsigned count)
{
    __attribute__((uninitialized)) int status[READS];

    for (unsigned i = 0; i < count; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&g->ring);

        io_uring_prep_recv(sqe, streams[i]->fd, g->reads + (size_t)i * READ_SIZE,
                           mp__real_read_size(streams[i]->loop, READ_SIZE), MSG_DONTWAIT);
        io_uring_sqe_set_data64(sqe, i);
    }
    ring_call(g, count, status);
    for (unsigned i = 0; i < count; i++)
        mp__real_stream_came(streams[i], g->reads + (size_t)i * READ_SIZE, status[i]);
}

/* The next streams that are to be read, at most READS of them. */
static unsigned take_ready(struct mp__real_gather *g, mp__real_stream **ret_streams)
{
    unsigned count = 0;

    while (g->ready && count < READS) {
        mp__real_stream *stream = g->ready;

        g->ready = stream->next_ready;
        if (!g->ready)
            g->ready_end = &g->ready;
        stream->is_ready = false;
        if (!stream->closing && stream->reading)
            ret_streams[count++] = stream;
    }
    return count;
}

void mp__real_gather_read(struct mp__real_gather *g)
{
    __attribute__((uninitialized)) mp__real_stream *streams[READS];

    while (g->ready) {
        unsigned count = take_ready(g, streams);

        if (count > 1 && ring_works(g))
            read_many(g, streams, count);
        else
            for (unsigned i = 0; i < count; i++)
                if (!streams[i]->closing && streams[i]->reading)
                    read_one(streams[i]);
    }
}

/* ---- writing ---- */

static void send_one(const struct mp__real_gather *g, staged_write *w)
{
    ssize_t n;

    do
        n = send(w->stream->fd, g->bytes + w->at, w->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    w->status = n < 0 ? -errno : (int)n;
}

static void send_many(struct mp__real_gather *g, staged_write **writes, unsigned count)
{
    __attribute__((uninitialized)) int status[CALLS];

    for (unsigned i = 0; i < count; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&g->ring);

        io_uring_prep_send(sqe, writes[i]->stream->fd, g->bytes + writes[i]->at, writes[i]->size,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
        io_uring_sqe_set_data64(sqe, i);
    }
    ring_call(g, count, status);
    for (unsigned i = 0; i < count; i++)
        writes[i]->status = status[i];
}

/* What is kept from the @at-th on. */
static void send_all(struct mp__real_gather *g, unsigned at)
{
    __attribute__((uninitialized)) staged_write *writes[CALLS];

    while (at < g->count) {
        unsigned count = 0;

        for (; at < g->count && count < CALLS; at++)
            if (g->staged[at].stream)
                writes[count++] = &g->staged[at];
        if (count > 1 && ring_works(g))
            send_many(g, writes, count);
        else
            for (unsigned i = 0; i < count; i++)
                send_one(g, writes[i]);
    }
}

static void forget_all(struct mp__real_gather *g)
{
    g->count = g->tried = 0;
    g->used = 0;
}

/* Where a turn writes to very many, the first of them do not wait until it has thought of the last.
 * What a socket does not take stays, and whose stream broke is told when the turn ends: nobody
 * hears of it in the middle of a write. */
static void send_early(struct mp__real_gather *g)
{
    bool all = g->tried == 0;

    send_all(g, g->tried);
    for (; g->tried < g->count; g->tried++) {
        staged_write *w = &g->staged[g->tried];

        if (!w->stream)
            continue;
        if (w->status > 0) {
            w->at += (size_t)w->status;
            w->size -= (size_t)w->status;
        }
        if (w->status == -ECANCELED) /* its bytes may have left: nothing may follow on them */
            (void)shutdown(w->stream->fd, SHUT_RDWR);
        if (w->size) {
            all = false;
        } else {
            w->stream->staged = 0;
            w->stream = NULL;
        }
    }
    if (all)
        forget_all(g);
}

bool mp__real_gather_write(mp__real_stream *stream, const struct iovec *parts, int count,
                           size_t total)
{
    struct mp__real_gather *g = stream->loop->gather;
    staged_write *w = stream->staged ? &g->staged[stream->staged - 1] : NULL;
    size_t before = w ? w->size : 0;

    assert(g); /* only loops that gather come here */
    if (stream->queued || before + total > STAGED_MOST || g->used + total > STAGED_BYTES)
        return false;
    if (!w && g->count - g->tried == EARLY)
        send_early(g);
    if (w ? w->at + before != g->used : g->count == STAGED)
        return false; /* another's stand behind it, or there are too many */
    if (!w) {
        w = &g->staged[g->count++];
        *w = (staged_write){.stream = stream, .at = g->used};
        stream->staged = g->count;
    }
    w->size += total;
    for (int i = 0; i < count; i++) {
        memcpy(g->bytes + g->used, parts[i].iov_base, parts[i].iov_len);
        g->used += parts[i].iov_len;
    }
    return true;
}

struct iovec mp__real_gather_take(mp__real_stream *stream)
{
    struct mp__real_gather *g = stream->loop->gather;
    staged_write *w = stream->staged ? &g->staged[stream->staged - 1] : NULL;

    stream->staged = 0;
    if (!w)
        return (struct iovec){NULL, 0};
    w->stream = NULL;
    return (struct iovec){g->bytes + w->at, w->size};
}

void mp__real_gather_flush(struct mp__real_gather *g)
{
    __attribute__((uninitialized)) mp__real_stream *broken[STAGED];
    __attribute__((uninitialized)) int errors[STAGED];

    while (g->count) { /* who hears of a broken stream may write to others */
        unsigned count = 0;

        send_all(g, 0);
        for (unsigned i = 0; i < g->count; i++) {
            staged_write *w = &g->staged[i];
            int rc = 0;

            if (!w->stream)
                continue;
            w->stream->staged = 0;
            if (w->status < 0 && w->status != -EAGAIN)
                rc = w->status;
            else if (w->status < 0 || (size_t)w->status < w->size)
                rc = mp__real_stream_queue(w->stream, g->bytes + w->at, w->size,
                                           w->status < 0 ? 0 : (size_t)w->status);
            if (rc) {
                broken[count] = w->stream;
                errors[count++] = rc;
            }
        }
        forget_all(g);
        for (unsigned i = 0; i < count; i++)
            mp__real_stream_broke(broken[i], errors[i]);
    }
}

/* ---- beginning and ending ---- */

int mp__real_gather_new(bool ring, struct mp__real_gather **ret_gather)
{
    struct mp__real_gather *g = mp__malloc(sizeof(*g));

    if (!g)
        return MP_ENOMEM;
    atomic_init(&g->ring_state, ring ? RING_UNTRIED : RING_NONE);
    g->ready = NULL;
    g->ready_end = &g->ready;
    g->reads = NULL;
    forget_all(g);
    *ret_gather = g;
    return 0;
}

bool mp__real_gather_has_ring(const struct mp__real_gather *g)
{
    return g && ring_state(g) == RING_WORKS;
}

struct mp__real_gather *mp__real_gather_free(struct mp__real_gather *g)
{
    if (!g)
        return NULL;
    ring_end(g);
    (void)mp__free(g->reads);
    return mp__free(g);
}
