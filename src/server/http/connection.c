/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP connections: requests in, one at a time, answers out in order, limits and time limits. */
#include "server/http/connection.h"

enum {
    IN_PAUSE = 64 * 1024,      /* pipelined bytes that wait, before reading pauses */
    OUT_KEPT = 256 * 1024,     /* a worker's buffer that grew beyond goes back */
    WRITE_AT = 256 * 1024,     /* answers gathered before they are handed over */
    UNTAKEN_LEAST = 32 * 1024, /* less of an answer does not count */
    UNTAKEN_BPS = 64 * 1024,   /* slower than that is slow */
};
#define SILENCE_NS UINT64_C(2000000000) /* of a body that others have no room beside */
#define PACE_NS    UINT64_C(1000000000) /* over which a pace is measured */

/* ---- the end of connections ---- */

static void free_when_unused(mp__http_connection *c)
{
    if (!c->released || c->busy || c->posted)
        return;
    (void)mp__http_parser_free(c->parser);
    mp__buf_done(&c->in);
    mp__exchange_release(&c->x);
    (void)mp__free(c);
}

static void stream_closed(void *context)
{
    mp__http_connection *c = context;

    c->released = true;
    free_when_unused(c);
}

const char *mp__exchange_peer(mp__exchange *x, char *text, size_t capacity)
{
    return mp__stream_peer(x->connection->stream, text, capacity);
}

/* Tell whoever answers that the client has gone. */
static void abandon_exchange(mp__http_connection *c)
{
    mp__exchange *x = &c->x;

    if (!c->busy || x->gone)
        return;
    x->gone = true;
    atomic_store_explicit(&x->is_gone, true, memory_order_relaxed);
    if (x->streaming || x->on_close) {
        if (x->streaming && x->events && x->events->on_close)
            x->events->on_close(x, x->context);
        else if (!x->streaming)
            x->on_close(x, x->context);
        c->busy = false;
        mp__exchange_release(x);
    }
}

static void pause_reading(mp__http_connection *c, bool pause)
{
    if (c->paused == pause || c->closed)
        return;
    c->paused = pause;
    mp__stream_pause(c->stream, pause);
}

/* Of what was written nothing lies in memory any more. */
static void all_taken(mp__http_connection *c)
{
    c->pace = (mp__pace){0};
    if (c->untaken == 0)
        return;
    mp__worker_note_untaken(c->worker, &c->untaken, 0);
    mp__http_walks_go_on(c->worker);
}

/* A refusal has been sent, and the client may be about to send the rest of what was refused: it is
 * let finish, in the time that a body may take. */
static void linger(mp__http_connection *c)
{
    c->closing = c->ending = true;
    c->parser = mp__http_parser_free(c->parser);
    mp__buf_done(&c->in);
    mp__worker_note_input(c->worker, &c->input, 0);
    (void)mp__worker_may_gather(c->worker, &c->gathered, 0);
    mp__linger_begin(&c->linger, c->stream, c->worker->tick_ns);
    pause_reading(c, false);
}

void mp__http_close(mp__http_connection *c, enum mp__http_ending ending)
{
    mp__worker_loop *worker = c->worker;

    if (c->closed)
        return;
    if (ending == MP__HTTP_CLOSE_AFTER_SENDING && mp__stream_flush(c->stream) != 0)
        ending = MP__HTTP_RESET; /* not to be taken for the whole of it */
    if (ending == MP__HTTP_CLOSE_AFTER_SENDING && mp__stream_queued(c->stream)) {
        c->closing = c->ending = true; /* a client until then: who takes nothing is cut */
        return;
    }
    if (ending == MP__HTTP_CLOSE_AFTER_SENDING && c->refused && !c->ended) {
        linger(c);
        return;
    }
    c->closed = true;
    if (c->previous)
        c->previous->next = c->next;
    else
        worker->http_connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    mp__turn_leave(&worker->turn, &c->line);
    abandon_exchange(c);
    c->answer_due = c->busy;
    if (c->answer_due)
        atomic_fetch_add(&c->worker->server->answers_due, 1);
    mp__client_leaves(&worker->server->http_clients);
    mp__worker_note_backlog(worker, &c->backlog, 0);
    all_taken(c);
    mp__worker_note_input(worker, &c->input, 0);
    (void)mp__worker_may_gather(worker, &c->gathered, 0);
    if (ending == MP__HTTP_CLOSE_AFTER_SENDING)
        mp__stream_shutdown(c->stream);
    else if (ending == MP__HTTP_RESET)
        mp__stream_reset(c->stream);
    else
        mp__stream_close(c->stream);
}

static void cut(mp__http_connection *c, const char *why)
{
    char peer[64];

    mp__monitor_count(c->worker->server->monitor, MP__EVENT_CONNECTIONS_CUT, 1);
    mp__log(c->worker->server->log, MP__LOG_INFO, "server", "http-client-cut", "peer=%s: %s",
            mp__stream_peer(c->stream, peer, sizeof(peer)), why);
    mp__http_close(c, MP__HTTP_RESET);
}

static void close_runs(mp__task *task)
{
    mp__http_connection *c =
        (mp__http_connection *)((char *)task - offsetof(mp__http_connection, task));

    c->posted = false;
    if (c->closed)
        free_when_unused(c);
    else if (c->cut_why)
        cut(c, c->cut_why);
    else
        mp__http_close(c, MP__HTTP_CLOSE);
}

void mp__http_close_soon(mp__http_connection *c, const char *why)
{
    if (c->posted || c->closed)
        return;
    c->posted = true;
    c->cut_why = why;
    c->task.run = close_runs;
    mp__loop_post(c->worker->loop, &c->task);
}

/* ---- bytes out ---- */

bool mp__http_write_out(mp__http_connection *c, mp__buf *out)
{
    return mp__http_write_with(c, out, (mp_str){NULL, 0}, NULL);
}

bool mp__http_write_with(mp__http_connection *c, mp__buf *out, mp_str body, const mp_blob *kept)
{
    mp__worker_loop *worker = c->worker;
    size_t queued = mp__stream_queued(c->stream);
    struct iovec parts[] = {{out->data, out->size}, {(void *)(uintptr_t)body.data, body.size}};
    size_t size = out->size + body.size;
    int rc = out->error;

    if (rc == 0 && size) {
        rc = kept ? mp__stream_write_kept(c->stream, parts, 2, kept)
                  : mp__stream_write(c->stream, parts, body.size ? 2 : 1);
        mp__monitor_count(worker->server->monitor, MP__EVENT_BYTES_OUT, size);
    }
    if (out->capacity > OUT_KEPT)
        mp__buf_done(out);
    mp__buf_reset(out);
    if (rc) {
        mp__http_close(c, MP__HTTP_CLOSE);
        return false;
    }
    mp__worker_note_backlog(worker, &c->backlog, mp__stream_queued(c->stream));
    /* one answer may be larger than the limit: it is counted before it is added to what waits */
    if (size && mp__stream_queued(c->stream) > size + worker->limits.output_hard) {
        cut(c, "more unread answers than resp.output_hard");
        return false;
    }
    queued = mp__stream_queued(c->stream) - queued;
    if (queued > size)
        return true; /* all of it has gone, and of what waited before, too */
    c->pace.unsent += queued;
    if (!kept && queued >= UNTAKEN_LEAST)
        mp__worker_note_untaken(worker, &c->untaken, c->untaken + queued);
    return true;
}

/* ---- requests ---- */

static bool over_soft(const mp__http_connection *c)
{
    return mp__stream_queued(c->stream) > mp__worker_output_soft(c->worker);
}

/* The exchange of a request that is no request: for its answer only. */
static void exchange_begin(mp__http_connection *c)
{
    mp__exchange *x = &c->x;

    memset(x, 0, sizeof(*x));
    x->connection = c;
    x->worker = c->worker;
    x->began_ns = c->worker->tick_ns;
    memcpy(x->identity.name, "default", sizeof("default"));
    c->busy = true;
}

static void refuse(mp__http_connection *c, int status)
{
    mp__monitor_count(c->worker->server->monitor, MP__EVENT_PROTOCOL_ERRORS, 1);
    c->closing = c->refused = true;
    exchange_begin(c);
    mp__answer_problem(&c->x, &(mp__problem){.status = status,
                                             .type = "request",
                                             .detail = mp__http_parser_error(c->parser)});
}

/* All clients together have begun more than there is room for. */
static void refuse_for_now(mp__http_connection *c)
{
    c->closing = c->refused = true;
    exchange_begin(c);
    mp__answer_problem(&c->x, &(mp__problem){.status = 503,
                                             .type = "busy",
                                             .detail = "too much of large requests is under way",
                                             .remedy = "send it again in a moment",
                                             .retry_after_ms = 1000});
}

static void no_route(mp__exchange *x, const char *allowed)
{
    if (!allowed[0]) {
        mp__answer_problem(x, &(mp__problem){.status = 404,
                                             .type = "no-such-path",
                                             .detail = "there is nothing here",
                                             .remedy = "GET / names what there is"});
        return;
    }
    if (mp_str_equal(x->request.method, MP_STR("OPTIONS"))) {
        mp__answer_begin(x, 204);
        mp__answer_header(x, "Allow", mp_str_of(allowed));
        if (strstr(allowed, "PATCH")) /* RFC 5789 section 3.1 */
            mp__answer_header(x, "Accept-Patch", MP_STR(MP__PATCH_TYPES));
        mp__answer_end_empty(x);
        return;
    }
    mp__answer_problem(x, &(mp__problem){.status = 405,
                                         .type = "method-not-allowed",
                                         .detail = "this path does not take this method",
                                         .remedy = "see the header Allow",
                                         .allow = allowed});
}

static void run_request(mp__http_connection *c, const mp__http_request *request)
{
    mp__exchange *x = &c->x;
    char allowed[64] = "";

    mp__monitor_count(c->worker->server->monitor, MP__EVENT_HTTP_REQUESTS, 1);
    if (!request->keep_alive || request->upgrade || c->worker->draining)
        c->closing = true;
    exchange_begin(c);
    x->request = *request;
    x->route = mp__route_find(request->method, request->path, x->values, allowed, sizeof(allowed));
    if (!x->route)
        no_route(x, allowed);
    else if (mp__http_admit(x))
        x->route->run(x);
}

/* What came behind a request that is under way. */
static void keep_rest(mp__http_connection *c, const char *data, size_t size)
{
    if (size == 0)
        return;
    if (mp__buf_add(&c->in, data, size) != 0) {
        mp__http_close_soon(c, "out of memory");
        return;
    }
    mp__worker_note_input(c->worker, &c->input, c->in.capacity);
    if (c->in.size >= IN_PAUSE || mp__worker_input_is_full(c->worker))
        pause_reading(c, true);
}

static void stream_rest(mp__http_connection *c, char *data, size_t size)
{
    mp__exchange *x = &c->x;

    if (x->raw && x->events->on_read && size)
        x->events->on_read(x, x->context, data, size);
}

static void note_stage(mp__http_connection *c)
{
    int stage = c->parser ? mp__http_parser_stage(c->parser) : 0;

    if (stage != c->stage || stage == 0)
        c->stage_since_ns = c->worker->tick_ns;
    c->stage = stage;
}

/* Hand over what has gathered once it is much; false: the client takes no more for now. */
static bool hand_over(mp__http_connection *c)
{
    mp__buf *out = &c->worker->out;

    if (c->closed)
        return true;
    if (out->size > WRITE_AT && !mp__http_write_out(c, out))
        return false;
    return !over_soft(c); /* also of a body that did not go through the buffer */
}

/* After a request: whether the next, where there is @more, may run now. */
static bool may_go_on(mp__http_connection *c, bool more)
{
    if (!hand_over(c))
        return false;
    if (!more || c->busy || c->closing || c->closed || !mp__slice_is_over(&c->worker->turn))
        return true;
    mp__turn_wait(&c->worker->turn, &c->line);
    return false;
}

/* Parse and run until a request is under way, or others come first. Returns the bytes used. */
static size_t run_all(mp__http_connection *c, const char *data, size_t size)
{
    mp__worker_loop *worker = c->worker;
    mp__http_request request;
    size_t used, at = 0;
    int status = 400, rc = 0;

    c->in_parse = true;
    mp__slice_begin(&worker->turn);
    while (at < size && rc == 0 && !c->closing && !c->busy && !c->closed) {
        size_t hits = mp__http_run_hits(c, data + at, size - at);

        if (hits) {
            at += hits;
            c->stage = 0;
            if (!may_go_on(c, at < size))
                break;
            continue;
        }
        rc = mp__http_parse(c->parser, data + at, size - at, &request, &used, &status);
        if (rc == MP_EPROTO) {
            refuse(c, status);
        } else if (rc == 0) {
            at += used;
            (void)mp__worker_may_gather(worker, &c->gathered, 0);
            run_request(c, &request);
            c->stage = 0;
            if (!may_go_on(c, at < size))
                break;
        } else {
            at = size;
            if (!mp__worker_may_gather(worker, &c->gathered, mp__http_parser_held(c->parser)))
                refuse_for_now(c);
            else if (mp__http_parser_continues(c->parser))
                (void)mp__buf_add_str(&worker->out, MP_STR("HTTP/1.1 100 Continue\r\n\r\n"));
        }
    }
    c->in_parse = false;
    return at;
}

/* After requests ran: send, and find out how it goes on. */
static void settle(mp__http_connection *c)
{
    if (c->closed) {
        mp__buf_reset(&c->worker->out);
        return;
    }
    mp__worker_note_input(c->worker, &c->input, c->in.capacity);
    if (c->x.streaming && c->busy && c->parser)
        c->parser = mp__http_parser_free(c->parser);
    note_stage(c);
    if (!mp__http_write_out(c, &c->worker->out) || c->busy)
        return;
    if (c->closing || (c->ended && c->in.size == 0))
        mp__http_close(c, MP__HTTP_CLOSE_AFTER_SENDING);
    else if (!c->ended)
        pause_reading(c, over_soft(c) || c->line.waits);
}

static void process_kept(mp__http_connection *c)
{
    mp__buf kept = c->in;
    size_t used;

    c->in = MP__BUF_INIT;
    used = run_all(c, kept.data, kept.size);
    if (!c->closed && used < kept.size && c->busy && c->x.streaming)
        stream_rest(c, kept.data + used, kept.size - used);
    else if (!c->closed && used < kept.size && !c->closing)
        keep_rest(c, kept.data + used, kept.size - used);
    mp__buf_done(&kept);
    settle(c);
}

static void line_came(mp__in_line *line)
{
    mp__http_connection *c =
        (mp__http_connection *)((char *)line - offsetof(mp__http_connection, line));

    c->active_ns = c->worker->tick_ns;
    if (!over_soft(c)) /* else it goes on when its answers have been taken */
        process_kept(c);
}

static void bytes_came(mp__http_connection *c, char *data, size_t size)
{
    size_t used = 0;

    if (c->busy && c->x.streaming) {
        stream_rest(c, data, size);
        return;
    }
    if (c->busy || c->in.size) {
        keep_rest(c, data, size);
        return;
    }
    used = run_all(c, data, size);
    if (!c->closed && used < size) {
        if (c->busy && c->x.streaming)
            stream_rest(c, data + used, size - used);
        else if (!c->closing || c->busy)
            keep_rest(c, data + used, size - used);
    }
    settle(c);
}

void mp__http_answered(mp__http_connection *c)
{
    c->busy = false;
    mp__exchange_release(&c->x);
    if (c->closed) {
        mp__buf_reset(&c->worker->http_late);
        if (c->answer_due)
            atomic_fetch_sub(&c->worker->server->answers_due, 1);
        c->answer_due = false;
        free_when_unused(c);
        return;
    }
    if (c->in_parse)
        return; /* run_all() goes on */
    mp__worker_tick(c->worker);
    if (!mp__http_write_out(c, &c->worker->http_late))
        return;
    c->active_ns = c->worker->tick_ns;
    note_stage(c);
    if (c->closing || (c->ended && c->in.size == 0)) {
        mp__http_close(c, MP__HTTP_CLOSE_AFTER_SENDING);
        return;
    }
    if (!over_soft(c)) {
        if (c->in.size)
            process_kept(c);
        else if (!c->ended)
            pause_reading(c, false);
    }
}

/* ---- the socket ---- */

/* The client has ended its side: what it asked is still answered, streams and waits are not. */
static void on_end(mp__http_connection *c)
{
    if ((c->busy && !c->x.streaming && !c->x.on_close) || (!c->busy && c->in.size))
        c->ended = true;
    else
        mp__http_close(c, c->busy ? MP__HTTP_CLOSE : MP__HTTP_CLOSE_AFTER_SENDING);
}

static void on_read(void *context, char *data, int64_t size)
{
    mp__http_connection *c = context;

    if (mp__linger_is_on(&c->linger)) {
        mp__worker_tick(c->worker);
        if (!mp__linger_reads(&c->linger, size, c->worker->tick_ns))
            mp__http_close(c, MP__HTTP_CLOSE);
        return;
    }
    if (c->ending && size == 0)
        c->ended = true; /* it has nothing to add to what was refused */
    if (c->closed || (c->ending && size >= 0))
        return;
    if (size == 0) {
        on_end(c);
        return;
    }
    if (size < 0) {
        mp__http_close(c, MP__HTTP_CLOSE);
        return;
    }
    mp__worker_tick(c->worker);
    c->active_ns = c->worker->tick_ns;
    mp__monitor_count(c->worker->server->monitor, MP__EVENT_BYTES_IN, (uint64_t)size);
    bytes_came(c, data, (size_t)size);
}

static void on_drained(void *context)
{
    mp__http_connection *c = context;

    c->taking = (mp__taking){0};
    if (c->closed)
        return;
    mp__worker_note_backlog(c->worker, &c->backlog, 0);
    all_taken(c);
    if (c->ending) {
        mp__http_close(c, MP__HTTP_CLOSE_AFTER_SENDING);
    } else if (c->busy && c->x.streaming) {
        if (c->x.events->on_writable)
            c->x.events->on_writable(&c->x, c->x.context);
    } else if (!c->busy && !c->line.waits && c->in.size) {
        process_kept(c);
    } else if (!c->busy && !c->line.waits && !c->ended) {
        pause_reading(c, false);
    }
}

static const mp__stream_events stream_events = {on_read, on_drained, stream_closed};

static void refuse_client(mp__worker_loop *worker, mp__stream *stream)
{
    mp__client_refuse(worker, stream,
                      MP_STR("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                             "Connection: close\r\nContent-Length: 0\r\n\r\n"));
}

void mp__http_accept(void *context, mp__stream *stream)
{
    mp__worker_loop *worker = context;
    mp__http_connection *c = NULL;
    bool in = mp__client_enters(worker, stream, true);

    if (in)
        c = mp__calloc(1, sizeof(*c));
    if (!c || mp__http_parser_new(&worker->limits.http, &c->parser) != 0) {
        (void)mp__free(c);
        if (in)
            mp__client_leaves(&worker->server->http_clients);
        refuse_client(worker, stream);
        return;
    }
    mp__worker_tick(worker);
    c->worker = worker;
    c->stream = stream;
    c->line.go_on = line_came;
    c->stage_since_ns = c->active_ns = worker->tick_ns;
    c->next = worker->http_connections;
    if (c->next)
        c->next->previous = c;
    worker->http_connections = c;
    mp__monitor_count(worker->server->monitor, MP__EVENT_CONNECTIONS, 1);
    mp__stream_start(stream, &stream_events, c);
}

/* ---- time limits ---- */

static const char *too_slow(mp__http_connection *c, uint64_t now)
{
    const mp__server_limits *l = &c->worker->limits;
    size_t queued = mp__stream_queued(c->stream);
    uint64_t ns = now > c->stage_since_ns ? now - c->stage_since_ns : 0;

    if (mp__client_takes_nothing(c->worker, c->stream, now, &c->taking))
        return "it took none of its answers for resp.stalled_write_timeout";
    if (mp__linger_is_on(&c->linger))
        return mp__linger_is_over(&c->linger, now, l->http_body_ns) ? "it stayed behind a refusal"
                                                                    : NULL;
    if (c->busy || c->line.waits || c->ending)
        return NULL; /* it waits for us */
    if (c->stage == 1 && ns > l->http_head_ns)
        return "its head took longer than http.header_timeout";
    if (c->stage == 2 && c->gathered && mp__worker_gathers_much(c->worker) &&
        now > c->active_ns + SILENCE_NS)
        return "it sends nothing of its large body, and others have no room for theirs";
    if (c->stage == 2 && ns > l->http_body_ns)
        return "its body took longer than http.body_timeout";
    if (c->stage == 0 && queued == 0 && now > c->active_ns &&
        now - c->active_ns > l->http_keepalive_ns)
        return "idle for http.keepalive_timeout";
    return NULL;
}

/* At a scan: how fast @c takes what waits for it, measured anew each second. */
static void measure_pace(mp__http_connection *c, size_t unsent, uint64_t now_ns)
{
    mp__pace *p = &c->pace;
    uint64_t ns = now_ns - p->since_ns;
    size_t taken = p->unsent > unsent ? p->unsent - unsent : 0;

    if (p->since_ns && ns < PACE_NS)
        return;
    if (p->since_ns)
        p->bps = (taken < UINT32_MAX ? taken : UINT32_MAX) * PACE_NS / ns;
    p->is_known = p->since_ns != 0;
    p->since_ns = now_ns;
    p->unsent = unsent;
}

/* Where there was no room for somebody's large answer, make some. */
static void cut_the_slow(mp__worker_loop *worker)
{
    size_t want = mp__worker_room_wanted(worker), freed = 0;

    for (mp__http_connection *c = worker->http_connections; c && freed < want; c = c->next) {
        if (!c->untaken || c->posted || !c->pace.is_known || c->pace.bps > UNTAKEN_BPS)
            continue;
        freed += c->untaken;
        mp__http_close_soon(c, "it took its answer slowly while there was no room for others");
    }
}

void mp__http_scan(mp__worker_loop *worker, uint64_t now_ns)
{
    mp__http_connection *next;

    for (mp__http_connection *c = worker->http_connections; c; c = next) {
        const char *why = too_slow(c, now_ns);
        size_t unsent = c->untaken ? mp__stream_unsent(c->stream) : 0;

        next = c->next;
        if (unsent)
            measure_pace(c, unsent, now_ns);
        if (unsent < c->untaken)
            mp__worker_note_untaken(worker, &c->untaken, unsent);
        if (c->busy && c->x.streaming)
            c->parser = mp__http_parser_free(c->parser); /* of one that began outside a read */
        if (why)
            cut(c, why);
        else if (!c->busy && c->parser)
            mp__http_parser_answered(c->parser);
    }
    cut_the_slow(worker);
    mp__http_walks_scan(worker);
}

/* ---- stopping ---- */

/* Say goodbye to who waits or streams; nothing of it may be under way inside this call. */
static void drain_one(mp__http_connection *c)
{
    mp__exchange *x = &c->x;

    if (c->line.waits)
        return; /* its next answer tells that it is the last */
    c->closing = true;
    if (mp__linger_is_on(&c->linger)) {
        mp__http_close(c, MP__HTTP_CLOSE);
    } else if (!c->busy) {
        if (c->stage == 0 && mp__stream_queued(c->stream) == 0)
            mp__http_close(c, MP__HTTP_CLOSE);
    } else if (x->streaming && x->events->on_drain) {
        if (!x->drained) {
            x->drained = true;
            x->events->on_drain(x, x->context);
        }
    } else if (x->streaming) {
        void (*on_close)(mp__exchange *, void *) = x->events->on_close;

        if (on_close)
            on_close(x, x->context);
        mp__http_stream_end(x);
    } else if (x->on_close) {
        x->on_close(x, x->context);
        x->on_close = NULL;
        mp__answer_problem(x, &(mp__problem){.status = 503,
                                             .type = "stopping",
                                             .detail = "the server stops",
                                             .remedy = "ask again, or ask another node",
                                             .retry_after_ms = 1000});
    }
}

void mp__http_drain(mp__worker_loop *worker)
{
    mp__http_connection *next;

    for (mp__http_connection *c = worker->http_connections; c; c = next) {
        next = c->next;
        drain_one(c);
    }
}

void mp__http_close_all(mp__worker_loop *worker)
{
    while (worker->http_connections)
        mp__http_close(worker->http_connections, MP__HTTP_CLOSE);
}
