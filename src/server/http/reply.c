/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: head, body, problem documents; and the memory of an exchange. Compression: pack.c. */
#include "server/http/connection.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    BODY_APART = 64 * 1024, /* so large a body is not copied into the buffer of answers */
};

/* ---- memory ---- */

typedef struct mp__exchange_chunk {
    struct mp__exchange_chunk *next;
    _Alignas(16) char bytes[];
} chunk;

void *mp__exchange_memory(mp__exchange *x, size_t size)
{
    chunk *more = size < SIZE_MAX - sizeof(*more) ? mp__calloc(1, sizeof(*more) + size) : NULL;

    if (!more)
        return NULL;
    more->next = x->memory;
    x->memory = more;
    return more->bytes;
}

void mp__exchange_release(mp__exchange *x)
{
    while (x->memory) {
        chunk *next = x->memory->next;

        (void)mp__free(x->memory);
        x->memory = next;
    }
    mp__buf_done(&x->body);
    if (x->repeat) { /* it ended without an answer that could be kept */
        mp__repeats_forget(x->worker->server->repeats, x->repeat);
        x->repeat = NULL;
    }
}

void mp__exchange_on_close(mp__exchange *x, void (*fn)(mp__exchange *x, void *context),
                           void *context)
{
    x->on_close = fn;
    x->context = context;
}

mp_str mp__exchange_query(mp__exchange *x, const char *name)
{
    mp__buf value = MP__BUF_INIT;
    mp_str found = {NULL, 0};
    char *copy;

    if (x->request.query.size && mp__http_query_find(x->request.query, name, &value)) {
        copy = mp__exchange_memory(x, value.size + 1);
        if (copy && value.size)
            memcpy(copy, value.data, value.size);
        found = mp_str_new(copy, copy ? value.size : 0);
    }
    mp__buf_done(&value);
    return found;
}

/* ---- the head ---- */

/* "HTTP/1.1 200 OK" and Date, made once a second. */
static void head_of_now(mp__worker_loop *worker)
{
    int64_t now_s = worker->wall_ms / 1000;
    char date[MP__HTTP_DATE_SIZE];
    int n;

    if (worker->http_head_size && worker->http_date_s == now_s)
        return;
    mp__http_date(now_s, date);
    n = snprintf(worker->http_head, sizeof(worker->http_head), "HTTP/1.1 200 OK\r\nDate: %s\r\n",
                 date);
    worker->http_date_s = now_s;
    worker->http_head_size = (size_t)n;
}

mp_str mp__answer_head(mp__worker_loop *worker)
{
    head_of_now(worker);
    return mp_str_new(worker->http_head, worker->http_head_size);
}

void mp__answer_begin(mp__exchange *x, int status)
{
    mp__http_connection *c = x->connection;
    mp__worker_loop *worker = x->worker;

    x->status = status;
    x->out = c->in_parse ? &worker->out : &worker->http_late;
    x->begin = x->out->size;
    head_of_now(worker);
    if (status == 200) {
        (void)mp__buf_add(x->out, worker->http_head, worker->http_head_size);
    } else {
        mp__http_reply_status(x->out, status);
        (void)mp__buf_add(x->out, worker->http_head + MP__STATUS_LINE_200,
                          worker->http_head_size - MP__STATUS_LINE_200);
    }
    if (worker->draining)
        c->closing = true;
    if (status == 101)
        return;
    if (c->closing)
        (void)mp__buf_add_str(x->out, MP_STR("Connection: close\r\n"));
    else if (x->request.http_1_0)
        (void)mp__buf_add_str(x->out, MP_STR("Connection: keep-alive\r\n"));
    x->head_end = x->out->size;
}

void mp__answer_header(mp__exchange *x, const char *name, mp_str value)
{
    mp__http_reply_header(x->out, name, value);
}

void mp__answer_header_text(mp__exchange *x, const char *name, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    mp__http_reply_header(x->out, name, mp_str_of(text));
}

/* ---- the body ---- */

enum { KEPT_MAX = 64 * 1024 }; /* bytes of an answer that is kept for who asks again */

/* Keep the answer for who asks again. One that says that nothing happened, or nobody knows, is not
 * kept: then the repeat shall run. */
static void keep(mp__exchange *x)
{
    mp__repeats *repeats = x->worker->server->repeats;
    size_t size = x->out->size - x->head_end;

    if (x->status >= 500 || x->status == 429 || x->out->error || size > KEPT_MAX)
        mp__repeats_forget(repeats, x->repeat);
    else
        mp__repeats_end(repeats, x->repeat, x->status, mp_str_new(x->out->data + x->head_end, size),
                        x->worker->tick_ns);
    x->repeat = NULL;
}

/* The answer stands in x->out; the exchange is over. */
static void over(mp__exchange *x)
{
    mp__http_connection *c = x->connection;

    if (x->repeat)
        keep(x);
    if (x->gone)
        mp__buf_reset(x->out);
    mp__http_answered(c);
}

static void add_length(mp__buf *out, size_t size)
{
    (void)mp__buf_add(out, "Content-Length: ", 16);
    (void)mp__buf_add_u64(out, size);
    (void)mp__buf_add(out, "\r\n\r\n", 4);
}

void mp__answer_end(mp__exchange *x, mp_str content_type, mp_str body)
{
    mp__answer_end_kept(x, content_type, body, NULL);
}

/* Behind the headers: the length and the body. */
static void end_with(mp__exchange *x, mp_str body, const mp_blob *kept)
{
    add_length(x->out, body.size);
    if (body.size >= BODY_APART && !x->request.head && !x->repeat && !x->connection->closed)
        (void)mp__http_write_with(x->connection, x->out, body, kept);
    else if (!x->request.head)
        (void)mp__buf_add_str(x->out, body);
    over(x);
}

void mp__answer_end_packed(mp__exchange *x, mp_str body, const mp_blob *kept)
{
    mp__buf small = MP__BUF_INIT;

    if (!x->gone && mp__http_pack(x->worker, body, &small)) {
        (void)mp__buf_add_str(x->out, MP_STR("Content-Encoding: gzip\r\n"));
        end_with(x, mp__buf_str(&small), NULL);
    } else {
        end_with(x, body, kept);
    }
    mp__buf_done(&small);
}

void mp__answer_end_kept(mp__exchange *x, mp_str content_type, mp_str body, const mp_blob *kept)
{
    assert(x->out);
    if (content_type.size)
        mp__http_reply_header(x->out, "Content-Type", content_type);
    if (!x->repeat && mp__answer_varies(content_type, body.size))
        (void)mp__buf_add_str(x->out, MP_STR("Vary: Accept-Encoding\r\n"));
    if (!mp__answer_compresses(x, content_type, body.size))
        end_with(x, body, kept);
    else if (!mp__http_pack_waits(x, body, kept))
        mp__answer_end_packed(x, body, kept);
}

void mp__answer_end_empty(mp__exchange *x)
{
    (void)mp__buf_add(x->out, "\r\n", 2);
    over(x);
}

void mp__answer_again(mp__exchange *x, int status, mp_str kept)
{
    mp__answer_begin(x, status);
    mp__answer_header(x, "Idempotency-Replayed", MP_STR("true"));
    (void)mp__buf_add_str(x->out, kept);
    over(x);
}

void mp__answer_json(mp__exchange *x, int status, mp__buf *body)
{
    if (body->error) {
        mp__buf_done(body);
        mp__answer_no_memory(x);
        return;
    }
    (void)mp__buf_add_char(body, '\n');
    mp__answer_begin(x, status);
    mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
    mp__answer_end(x, MP_STR("application/json"), mp__buf_str(body));
    mp__buf_done(body);
}

void mp__answer_text(mp__exchange *x, int status, mp_str text)
{
    mp__answer_begin(x, status);
    mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
    mp__answer_end(x, MP_STR("text/plain; charset=utf-8"), text);
}

/* ---- problems ---- */

void mp__answer_stale(mp__exchange *x, int64_t age_ms, const char *reason)
{
    mp__answer_header_text(x, "MarketPrism-Stale", "true; age=%" PRId64 "; reason=%s",
                           age_ms / 1000, reason);
}

/* What to do about a problem that has no remedy of its own. */
static const char *usual_remedy(const mp__problem *p)
{
    switch (p->status) {
    case 404:
        return "look at what there is: GET / names the paths, GET /v1/config/ the namespaces";
    case 400:
        return p->type && strcmp(p->type, "request") == 0
                   ? "send one sound HTTP/1.1 request after the other (RFC 9112)"
                   : "see what this path takes: GET /v1/openapi.json";
    case 408:
    case 503:
    case 504:
        return "try again; GET /v1/status says what is wrong";
    case 413:
        return "make it smaller, or raise http.body_max in the configuration";
    case 414:
        return "make it shorter, or raise http.line_max in the configuration";
    case 431:
        return "send fewer and shorter ones, or raise http.headers_max and http.header_count_max "
               "in "
               "the configuration";
    default:
        return "see GET /v1/openapi.json";
    }
}

static void errors_json(const mp__problem *p, mp__buf *body)
{
    size_t told = p->broken_count < MP__BROKEN_MAX ? p->broken_count : MP__BROKEN_MAX;

    mp__json_key(body, "errors");
    mp__json_begin(body, '[');
    for (size_t i = 0; i < told; i++) {
        const mp__broken *broken = &p->broken[i];

        mp__json_begin(body, '{');
        if (broken->scope[0])
            mp__json_add_text(body, "scope", broken->scope);
        mp__json_add_text(body, "where", broken->where);
        mp__json_add_text(body, "instance", broken->instance);
        mp__json_add_text(body, "schema", broken->schema);
        mp__json_add_text(body, "keyword", broken->keyword);
        if (broken->line) {
            mp__json_add_i64(body, "line", broken->line);
            mp__json_add_i64(body, "column", broken->column);
        }
        mp__json_add_text(body, "text", broken->text);
        mp__json_end(body, '}');
    }
    mp__json_end(body, ']');
    mp__json_add_u64(body, "error_count", p->broken_count);
}

static void problem_document(const mp__exchange *x, const mp__problem *p, mp__buf *body)
{
    char type[64];

    (void)snprintf(type, sizeof(type), p->type ? "/problems/%s" : "about:blank", p->type);
    mp__json_begin(body, '{');
    mp__json_add_text(body, "type", type);
    mp__json_add_text(body, "title", mp__http_status_text(p->status));
    mp__json_add_u64(body, "status", (uint64_t)p->status);
    mp__json_add_text(body, "detail", p->detail ? p->detail : mp__http_status_text(p->status));
    if (x->request.target.size)
        mp__json_add_string(body, "instance", x->request.target);
    mp__json_add_text(body, "remedy", p->remedy && p->remedy[0] ? p->remedy : usual_remedy(p));
    if (p->place && p->place->file[0])
        mp__json_add_text(body, "file", p->place->file);
    if (p->place && p->place->line > 0) {
        mp__json_add_i64(body, "line", p->place->line);
        mp__json_add_i64(body, "column", p->place->column);
    }
    if (p->retry_after_ms > 0)
        mp__json_add_i64(body, "retry_after_ms", p->retry_after_ms);
    if (p->last_known_revision)
        mp__json_add_u64(body, "last_known_revision", p->last_known_revision);
    if (p->broken)
        errors_json(p, body);
    mp__json_end(body, '}');
    (void)mp__buf_add_char(body, '\n');
}

void mp__answer_problem(mp__exchange *x, const mp__problem *p)
{
    mp__buf body = MP__BUF_INIT;

    problem_document(x, p, &body);
    if (body.error)
        mp__buf_reset(&body); /* the status alone must do */
    mp__answer_begin(x, p->status);
    mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
    if (p->allow)
        mp__answer_header(x, "Allow", mp_str_of(p->allow));
    if (p->accept_patch)
        mp__answer_header(x, "Accept-Patch", MP_STR(MP__PATCH_TYPES));
    if (p->accept_encoding)
        mp__answer_header(x, "Accept-Encoding", MP_STR("gzip, identity"));
    if (p->websocket_version)
        mp__answer_header(x, "Sec-WebSocket-Version", MP_STR("13"));
    if (p->stale_reason)
        mp__answer_stale(x, p->stale_age_ms, p->stale_reason);
    if (p->retry_after_ms > 0)
        mp__answer_header_text(x, "Retry-After", "%" PRId64, (p->retry_after_ms + 999) / 1000);
    mp__answer_end(x, MP_STR("application/problem+json"), mp__buf_str(&body));
    mp__buf_done(&body);
}

static int status_of_error(int error)
{
    static const struct {
        int error, status;
    } rows[] = {
        {MP_EABSENT, 404},   {MP_EINVAL, 400},    {MP_ESYNTAX, 400},  {MP_ECONFLICT, 412},
        {MP_EEXISTS, 412},   {MP_EDENIED, 403},   {MP_ELIMIT, 413},   {MP_EUNSUPPORTED, 415},
        {MP_ENOMEM, 503},    {MP_EUNKNOWN, 503},  {MP_EORIGIN, 503},  {MP_EORIGINLOST, 503},
        {MP_EDEGRADED, 503}, {MP_ESTALE, 503},    {MP_ETIMEOUT, 504}, {MP_ECANCELED, 503},
        {MP_ECORRUPT, 503},  {MP_EREADONLY, 403}, {-ENOSPC, 507},     {-EIO, 503},
        {-EROFS, 503},       {MP_EINVALID, 422},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].error == error)
            return rows[i].status;
    return 500;
}

/* "MP_ESTALE" -> "stale"; those of several words have them written apart. */
static void type_of_error(int error, char *out, size_t capacity)
{
    const char *name = error == MP_EORIGINLOST ? "origin-lost"
                       : error == MP_EREADONLY ? "read-only"
                       : error == -ENOSPC      ? "no-space"
                       : error == -EIO         ? "disk"
                                               : mp_error_name(error);
    size_t n = 0;

    if (strncmp(name, "MP_E", 4) == 0)
        name += 4;
    for (; *name && n + 1 < capacity; name++)
        out[n++] = (char)(*name >= 'A' && *name <= 'Z' ? *name + 32 : *name);
    out[n] = '\0';
}

void mp__answer_error(mp__exchange *x, int error, const char *detail)
{
    mp__answer_error_of(x, error, detail, 0);
}

void mp__answer_error_of(mp__exchange *x, int error, const char *detail, uint64_t revision)
{
    int status = status_of_error(error);
    char type[32];

    type_of_error(error, type, sizeof(type));
    mp__answer_problem(x,
                       &(mp__problem){.status = status,
                                      .type = type,
                                      .detail = detail && detail[0] ? detail : mp_strerror(error),
                                      .remedy = mp_error_remedy(error),
                                      .retry_after_ms = status >= 503 ? 1000 : 0,
                                      .last_known_revision = revision});
}

void mp__answer_invalid(mp__exchange *x, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    mp__answer_problem(x, &(mp__problem){.status = 400, .type = "invalid", .detail = text});
}

void mp__answer_no_memory(mp__exchange *x)
{
    mp__answer_error(x, MP_ENOMEM, NULL);
}
