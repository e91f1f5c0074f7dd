/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP connections: requests in, answers out in order, limits and time limits. */
#include <stdio.h>
#include <time.h>

#include "server/internal.h"

#define SECOND_NS 1000000000u

typedef struct mp__http_connection {
    struct mp__http_connection *next, *previous;
    mp__worker_loop *worker;
    mp__stream *stream;
    mp__http_parser *parser;
    uint64_t stage_since_ns, active_ns, stalled_since_ns;
    size_t stalled_queue;
    int stage;
    bool closing, closed;
} http_connection;

static void http_closed(void *context)
{
    http_connection *c = context;

    (void)mp__http_parser_free(c->parser);
    (void)mp__free(c);
}

enum ending { CLOSE, CLOSE_AFTER_SENDING, RESET };

static void http_close(http_connection *c, enum ending ending)
{
    mp__worker_loop *worker = c->worker;

    if (c->closed)
        return;
    c->closed = true;
    if (c->previous)
        c->previous->next = c->next;
    else
        worker->http_connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    mp__client_leaves(&worker->server->http_clients);
    if (ending == CLOSE_AFTER_SENDING)
        mp__stream_shutdown(c->stream);
    else if (ending == RESET)
        mp__stream_reset(c->stream);
    else
        mp__stream_close(c->stream);
}

static void cut(http_connection *c, const char *why)
{
    char peer[64];

    mp__monitor_count(c->worker->server->monitor, MP__EVENT_CONNECTIONS_CUT, 1);
    mp__log(c->worker->server->log, MP__LOG_INFO, "server", "http-client-cut", "peer=%s: %s",
            mp__stream_peer(c->stream, peer, sizeof(peer)), why);
    http_close(c, RESET);
}

static void problem(mp__buf *out, int status, const char *detail, bool keep_alive, bool head)
{
    mp__buf body = MP__BUF_INIT;
    mp_str text = mp_str_of(detail);

    (void)mp__buf_printf(
        &body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%.*s\"}\n",
        mp__http_status_text(status), status, (int)text.size, text.data);
    mp__http_reply_begin(out, status, keep_alive);
    mp__http_reply_end(out, MP_STR("application/problem+json"), mp__buf_str(&body), head);
    mp__buf_done(&body);
}

/* ---- what can be asked ---- */

static void answer_health(mp__worker_loop *worker, const mp__http_request *r, mp__buf *out)
{
    (void)worker;
    mp__http_reply_begin(out, 200, r->keep_alive);
    mp__http_reply_end(out, MP_STR("text/plain"), MP_STR("ok\n"), r->head);
}

static void answer_ready(mp__worker_loop *worker, const mp__http_request *r, mp__buf *out)
{
    mp__buf body = MP__BUF_INIT;
    mp__summary s;

    mp__manager_summary(worker->server->manager, &s);
    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "ready", s.ready);
    mp__json_add_text(&body, "origin", mp__origin_states.states[s.origin]);
    mp__json_add_bool(&body, "writable", s.writable);
    mp__json_add_text(&body, "trouble", s.text);
    mp__json_end(&body, '}');
    (void)mp__buf_add_char(&body, '\n');
    mp__http_reply_begin(out, s.ready ? 200 : 503, r->keep_alive);
    mp__http_reply_end(out, MP_STR("application/json"), mp__buf_str(&body), r->head);
    mp__buf_done(&body);
}

static void answer_metrics(mp__worker_loop *worker, const mp__http_request *r, mp__buf *out)
{
    mp__buf body = MP__BUF_INIT;

    if (!worker->server->monitor || mp__monitor_expose(worker->server->monitor, &body) != 0) {
        problem(out, 500, "out of memory", r->keep_alive, r->head);
    } else {
        mp__http_reply_begin(out, 200, r->keep_alive);
        mp__http_reply_end(out, MP_STR("text/plain; version=0.0.4; charset=utf-8"),
                           mp__buf_str(&body), r->head);
    }
    mp__buf_done(&body);
}

static void answer_status(mp__worker_loop *worker, const mp__http_request *r, mp__buf *out)
{
    mp__buf body = MP__BUF_INIT;

    (void)mp__manager_status(worker->server->manager, &body);
    (void)mp__buf_add_char(&body, '\n');
    mp__http_reply_begin(out, 200, r->keep_alive);
    mp__http_reply_header(out, "Cache-Control", MP_STR("no-store"));
    mp__http_reply_end(out, MP_STR("application/json"), mp__buf_str(&body), r->head);
    mp__buf_done(&body);
}

static void answer_root(mp__worker_loop *worker, const mp__http_request *r, mp__buf *out)
{
    static const char text[] = "MarketPrism\n\n"
                               "/healthz    the process lives\n"
                               "/readyz     reads can be answered\n"
                               "/metrics    figures for Prometheus\n"
                               "/v1/status  state as JSON\n";

    (void)worker;
    mp__http_reply_begin(out, 200, r->keep_alive);
    mp__http_reply_end(out, MP_STR("text/plain; charset=utf-8"), mp_str_new(text, sizeof(text) - 1),
                       r->head);
}

static const struct {
    const char *path;
    void (*answer)(mp__worker_loop *worker, const mp__http_request *request, mp__buf *out);
} routes[] = {
    {"/", answer_root},           {"/healthz", answer_health},   {"/readyz", answer_ready},
    {"/metrics", answer_metrics}, {"/v1/status", answer_status},
};

void mp__http_answer(mp__worker_loop *worker, const mp__http_request *r, mp__buf *out)
{
    bool get = mp_str_equal(r->method, MP_STR("GET")) || r->head;

    mp__monitor_count(worker->server->monitor, MP__EVENT_HTTP_REQUESTS, 1);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!mp_str_equal(r->path, mp_str_of(routes[i].path)))
            continue;
        if (get) {
            routes[i].answer(worker, r, out);
            return;
        }
        mp__http_reply_begin(out, 405, r->keep_alive);
        mp__http_reply_header(out, "Allow", MP_STR("GET, HEAD"));
        mp__http_reply_end(out, MP_STR("text/plain"), MP_STR("method not allowed\n"), r->head);
        return;
    }
    problem(out, 404, "there is nothing here; GET / names what there is", r->keep_alive, r->head);
}

/* ---- bytes ---- */

static bool write_out(http_connection *c)
{
    mp__worker_loop *worker = c->worker;
    struct iovec part = {worker->out.data, worker->out.size};
    int rc = 0;

    if (worker->out.size) {
        rc = worker->out.error ? worker->out.error : mp__stream_write(c->stream, &part, 1);
        mp__monitor_count(worker->server->monitor, MP__EVENT_BYTES_OUT, worker->out.size);
    }
    mp__buf_reset(&worker->out);
    if (rc) {
        http_close(c, CLOSE);
        return false;
    }
    if (mp__stream_queued(c->stream) > worker->limits.output_hard) {
        cut(c, "more unread answers than resp.output_hard");
        return false;
    }
    return true;
}

static void refuse(http_connection *c, int status)
{
    mp__monitor_count(c->worker->server->monitor, MP__EVENT_PROTOCOL_ERRORS, 1);
    problem(&c->worker->out, status, mp__http_parser_error(c->parser), false, false);
    c->closing = true;
}

static void note_stage(http_connection *c)
{
    int stage = mp__http_parser_stage(c->parser);

    if (stage != c->stage || stage == 0)
        c->stage_since_ns = c->worker->tick_ns;
    c->stage = stage;
}

static void bytes_came(http_connection *c, const char *data, size_t size)
{
    mp__http_request request;
    size_t used;
    int status = 400, rc = 0;

    while (size && rc == 0 && !c->closing) {
        rc = mp__http_parse(c->parser, data, size, &request, &used, &status);
        if (rc == MP_EPROTO) {
            refuse(c, status);
        } else if (rc == 0) {
            mp__http_answer(c->worker, &request, &c->worker->out);
            c->closing = !request.keep_alive || c->worker->draining;
            data += used;
            size -= used;
            c->stage = 0;
        }
    }
    note_stage(c);
    if (write_out(c) && c->closing)
        http_close(c, CLOSE_AFTER_SENDING);
}

static void on_read(void *context, char *data, int64_t size)
{
    http_connection *c = context;

    if (c->closed)
        return;
    if (size <= 0) {
        http_close(c, size == 0 ? CLOSE_AFTER_SENDING : CLOSE);
        return;
    }
    mp__worker_tick(c->worker);
    c->active_ns = c->worker->tick_ns;
    mp__monitor_count(c->worker->server->monitor, MP__EVENT_BYTES_IN, (uint64_t)size);
    if (mp__stream_queued(c->stream) > c->worker->limits.output_soft) {
        cut(c, "it asks on and does not read");
        return;
    }
    bytes_came(c, data, (size_t)size);
}

static const mp__stream_events stream_events = {on_read, NULL, http_closed};

static void refused_read(void *context, char *data, int64_t size)
{
    (void)context;
    (void)data;
    (void)size;
}

static const mp__stream_events refused_events = {refused_read, NULL, NULL};

static void refuse_client(mp__worker_loop *worker, mp__stream *stream)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
        "Content-Length: 0\r\n\r\n";
    struct iovec part = {(void *)(uintptr_t)text, sizeof(text) - 1};

    mp__monitor_count(worker->server->monitor, MP__EVENT_CONNECTIONS_REFUSED, 1);
    mp__stream_start(stream, &refused_events, stream);
    (void)mp__stream_write(stream, &part, 1);
    mp__stream_shutdown(stream);
}

void mp__http_accept(void *context, mp__stream *stream)
{
    mp__worker_loop *worker = context;
    http_connection *c = NULL;
    bool in = mp__client_enters(&worker->server->http_clients, worker->limits.http_clients_max);

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
    c->stage_since_ns = c->active_ns = worker->tick_ns;
    c->next = worker->http_connections;
    if (c->next)
        c->next->previous = c;
    worker->http_connections = c;
    mp__monitor_count(worker->server->monitor, MP__EVENT_CONNECTIONS, 1);
    mp__stream_start(stream, &stream_events, c);
}

/* ---- time limits ---- */

static const char *too_slow(http_connection *c, uint64_t now)
{
    const mp__server_limits *l = &c->worker->limits;
    size_t queued = mp__stream_queued(c->stream);
    uint64_t ns = now > c->stage_since_ns ? now - c->stage_since_ns : 0;

    if (queued == 0) {
        c->stalled_since_ns = 0;
    } else if (c->stalled_since_ns == 0 || queued != c->stalled_queue) {
        c->stalled_since_ns = now;
        c->stalled_queue = queued;
    } else if (now - c->stalled_since_ns > l->stalled_ns) {
        return "it took none of its answers for resp.stalled_write_timeout";
    }
    if (c->stage == 1 && ns > l->http_head_ns)
        return "its head took longer than http.header_timeout";
    if (c->stage == 2 && ns > l->http_body_ns)
        return "its body took longer than http.body_timeout";
    if (c->stage == 0 && queued == 0 && now > c->active_ns &&
        now - c->active_ns > l->http_keepalive_ns)
        return "idle for http.keepalive_timeout";
    return NULL;
}

void mp__http_scan(mp__worker_loop *worker, uint64_t now_ns)
{
    http_connection *next;

    for (http_connection *c = worker->http_connections; c; c = next) {
        const char *why = too_slow(c, now_ns);

        next = c->next;
        if (why)
            cut(c, why);
    }
}

void mp__http_drain(mp__worker_loop *worker)
{
    http_connection *next;

    for (http_connection *c = worker->http_connections; c; c = next) {
        next = c->next;
        if (c->stage == 0 && mp__stream_queued(c->stream) == 0)
            http_close(c, CLOSE);
    }
}

void mp__http_close_all(mp__worker_loop *worker)
{
    while (worker->http_connections)
        http_close(worker->http_connections, CLOSE);
}
