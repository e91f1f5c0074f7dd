/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/watch: what is asked, long polls, and time.
 *
 * Times of watchers are kept in a wheel (Varghese and Lauck, "Hashed and Hierarchical Timing
 * Wheels", SOSP 1987): a scan of the worker looks at the watchers of its own slots alone, so that
 * ten thousand of them are not told of their progress in one moment. A stream's progress need not
 * be on time. A long poll goes over to a finer wheel before its time comes; that one has a timer,
 * which is set to the next slot that has somebody, and to none while nobody waits so shortly. */
#include <strings.h>

#include "protocol/websocket.h"
#include "server/http/watch.h"

enum {
    SLOTS = 64,
    FINE_MS = 4,  /* a tick: what all times are counted in, modulo 2^32 */
    WIDE = SLOTS, /* ticks of a slot of the coarse wheel */
    WAIT_MAX_MS = 600 * 1000,
    JITTER = 16,
};

_Static_assert(MP__SCAN_MS <= WIDE * FINE_MS, "a scan comes in each slot, or nearly");

struct mp__http_wheel {
    mp__http_watcher *coarse[SLOTS], *fine[SLOTS];
    uint32_t coarse_at; /* a tick: up to here it was looked at, in whole slots */
    uint32_t fine_at;   /* the same of the finer one */
    uint32_t timer_at;  /* while there is anybody in the finer one */
    size_t soon;        /* watchers in the finer one */
    mp__timer *timer;
    mp_env *env;
};

const char *mp__watch_epoch(const mp__http_watcher *w)
{
    return mp__manager_epoch(w->worker->server->manager);
}

/* ---- time ---- */

static uint64_t now_ms(const struct mp__http_wheel *wheel)
{
    return mp__env_now_ns(wheel->env) / 1000000;
}

static uint32_t now_tick(const struct mp__http_wheel *wheel)
{
    return (uint32_t)(now_ms(wheel) / FINE_MS);
}

/* The first one that is @ms away, or more. */
static uint32_t tick_in(const struct mp__http_wheel *wheel, uint64_t ms)
{
    return (uint32_t)((now_ms(wheel) + ms) / FINE_MS) + 1;
}

static bool is_after(uint32_t tick, uint32_t other)
{
    return (int32_t)(tick - other) > 0;
}

/* The slot of the coarse wheel in which @w is looked at, as the tick at which it begins: of a long
 * poll so early that a scan which is late still finds it in time. */
static uint32_t looked_at(const mp__http_watcher *w)
{
    uint32_t slot = w->due - w->due % WIDE;

    return w->kind == MP__WATCH_POLL ? slot - 2 * WIDE : slot;
}

void mp__watch_unschedule(mp__http_watcher *w)
{
    if (!w->due_link)
        return;
    w->worker->wheel->soon -= w->due_soon;
    *w->due_link = w->next_due;
    if (w->next_due)
        w->next_due->due_link = w->due_link;
    w->due_link = NULL;
}

static void set_timer(struct mp__http_wheel *wheel, uint32_t tick)
{
    uint64_t now = now_ms(wheel);
    int32_t ticks = (int32_t)(tick - (uint32_t)(now / FINE_MS));

    wheel->timer_at = tick;
    mp__timer_start(wheel->timer, ticks > 0 ? (uint64_t)ticks * FINE_MS - now % FINE_MS : 0, 0);
}

static void place(mp__http_watcher *w)
{
    struct mp__http_wheel *wheel = w->worker->wheel;
    bool is_near = !is_after(looked_at(w), wheel->coarse_at);
    mp__http_watcher **slot;

    w->due_soon = is_near && w->kind == MP__WATCH_POLL;
    if (is_near && !w->due_soon)
        w->due = wheel->coarse_at + WIDE; /* the next scan */
    if (w->due_soon) {
        if (wheel->soon++ == 0)
            wheel->fine_at = now_tick(wheel);
        if (!is_after(w->due, wheel->fine_at))
            w->due = wheel->fine_at + 1;
        if (wheel->soon == 1 || is_after(wheel->timer_at, w->due))
            set_timer(wheel, w->due);
        slot = &wheel->fine[w->due % SLOTS];
    } else {
        slot = &wheel->coarse[looked_at(w) / WIDE % SLOTS];
    }
    w->next_due = *slot;
    w->due_link = slot;
    if (w->next_due)
        w->next_due->due_link = &w->next_due;
    *slot = w;
}

void mp__watch_schedule(mp__http_watcher *w, uint64_t ms)
{
    mp__watch_unschedule(w);
    w->due = tick_in(w->worker->wheel, ms);
    place(w);
}

void mp__watch_hasten(mp__http_watcher *w, uint64_t ms)
{
    if (!w->due_link || is_after(w->due, tick_in(w->worker->wheel, ms)))
        mp__watch_schedule(w, ms);
}

static void is_due(mp__http_watcher *w)
{
    mp__watch_unschedule(w);
    if (w->kind == MP__WATCH_POLL) {
        mp__watch_poll_answer(w, mp_str_new("", 0), false);
        return;
    }
    mp__watch_schedule(w, w->worker->limits.http_progress_ms);
    mp__watch_stream_progress(w);
}

/* After a pause of more than a turn, as of a stopped process, each slot is looked at once. */
static uint32_t begin_at(uint32_t at, uint32_t now, uint32_t turn)
{
    return is_after(now, at + turn) ? now - turn : at;
}

static void step_coarse(struct mp__http_wheel *wheel)
{
    uint32_t now = now_tick(wheel), end = now - now % WIDE;
    mp__http_watcher *next;

    wheel->coarse_at = begin_at(wheel->coarse_at, end, SLOTS * WIDE);
    while (is_after(end, wheel->coarse_at)) {
        wheel->coarse_at += WIDE;
        for (mp__http_watcher *w = wheel->coarse[wheel->coarse_at / WIDE % SLOTS]; w; w = next) {
            next = w->next_due;
            if (is_after(looked_at(w), wheel->coarse_at))
                continue; /* of another turn */
            if (w->kind == MP__WATCH_POLL) {
                mp__watch_unschedule(w);
                place(w);
            } else {
                is_due(w);
            }
        }
    }
}

void mp__http_watch_scan(mp__worker_loop *worker)
{
    if (worker->wheel)
        step_coarse(worker->wheel);
}

static void step_fine(void *context)
{
    struct mp__http_wheel *wheel = context;
    uint32_t now = now_tick(wheel), tick;
    mp__http_watcher *next;

    wheel->fine_at = begin_at(wheel->fine_at, now, SLOTS);
    while (is_after(now, wheel->fine_at)) {
        wheel->fine_at++;
        for (mp__http_watcher *w = wheel->fine[wheel->fine_at % SLOTS]; w; w = next) {
            next = w->next_due;
            if (!is_after(w->due, wheel->fine_at))
                is_due(w);
        }
    }
    if (wheel->soon == 0)
        return;
    for (tick = wheel->fine_at + 1; !wheel->fine[tick % SLOTS];)
        tick++;
    set_timer(wheel, tick);
}

/* False: no memory. */
static bool need_wheel(mp__worker_loop *worker)
{
    struct mp__http_wheel *wheel;

    if (worker->wheel)
        return true;
    wheel = mp__calloc(1, sizeof(*wheel));
    if (wheel && mp__timer_new(worker->loop, step_fine, wheel, &wheel->timer) != 0)
        wheel = mp__free(wheel);
    if (wheel) {
        wheel->env = worker->server->env;
        wheel->fine_at = now_tick(wheel);
        wheel->coarse_at = wheel->fine_at - wheel->fine_at % WIDE;
    }
    worker->wheel = wheel;
    return wheel != NULL;
}

void mp__http_watch_done(mp__worker_loop *worker)
{
    if (worker->wheel)
        worker->wheel->timer = mp__timer_free(worker->wheel->timer);
    worker->wheel = mp__free(worker->wheel);
}

/* ---- long polls ---- */

void mp__watch_poll_answer(mp__http_watcher *w, mp_str events, bool reset)
{
    char position[MP__POSITION_MAX];
    mp__exchange *x = w->x;
    mp__buf body = MP__BUF_INIT;

    if (events.size == 0 && !w->catching && w->position < mp__watch_revision(w->worker->watch))
        w->position = mp__watch_revision(w->worker->watch);
    mp__json_begin(&body, '{');
    mp__json_add_string(&body, "position",
                        mp__position_text(mp__watch_epoch(w), w->position, position));
    mp__json_add_u64(&body, "revision", w->position);
    mp__json_add_bool(&body, "stale", mp__watch_has_stale(w));
    mp__json_key(&body, "events");
    (void)mp__buf_add_char(&body, '[');
    (void)mp__buf_add_str(&body, events);
    mp__json_end(&body, ']');
    mp__json_add_bool(&body, "reset", reset);
    mp__json_end(&body, '}');
    mp__exchange_on_close(x, NULL, NULL);
    mp__watch_end(w);
    mp__answer_json(x, 200, &body);
}

/* ---- streams ---- */

static void stream_writable(mp__exchange *x, void *context)
{
    (void)x;
    mp__watch_stream_writable(context);
}

static void gone(mp__exchange *x, void *context)
{
    (void)x;
    mp__watch_end(context);
}

static const mp__http_stream_events stream_events = {.on_writable = stream_writable,
                                                     .on_close = gone};

static bool begin_stream(mp__exchange *x, mp__http_watcher *w)
{
    mp__answer_begin(x, 200);
    mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
    mp__answer_header(x, "X-Content-Type-Options", MP_STR("nosniff"));
    mp__answer_header(x, "X-Accel-Buffering", MP_STR("no")); /* nginx: pass it on as it comes */
    return mp__http_stream_begin(
        x, w->kind == MP__WATCH_SSE ? MP_STR("text/event-stream") : MP_STR("application/x-ndjson"),
        &stream_events, w);
}

/* ---- WebSocket (RFC 6455) ---- */

static void send_frame(mp__exchange *x, enum mp__ws_opcode opcode, mp_str payload)
{
    unsigned char head[MP__WS_HEAD_MAX];
    struct iovec parts[] = {{head, mp__ws_head(opcode, payload.size, head)},
                            {(void *)(uintptr_t)payload.data, payload.size}};

    (void)mp__http_stream_write_parts(x, parts, 2);
}

/* Say why, and go. */
static void close_websocket(mp__http_watcher *w, unsigned code)
{
    const char bytes[2] = {(char)(code >> 8), (char)code};
    mp__exchange *x = w->x;

    send_frame(x, MP__WS_CLOSE, mp_str_new(bytes, sizeof(bytes)));
    mp__watch_end(w);
    mp__http_stream_end(x);
}

static void websocket_read(mp__exchange *x, void *context, const char *data, size_t size)
{
    mp__http_watcher *w = context;
    enum mp__ws_opcode opcode;
    enum mp__ws_code code;
    mp_str payload;
    size_t used = 0;
    int rc;

    for (size_t at = 0; at < size; at += used) {
        rc = mp__ws_parse(w->websocket, data + at, size - at, &used, &opcode, &payload, &code);
        if (rc == MP_EAGAIN)
            return;
        if (rc || opcode == MP__WS_CLOSE) {
            close_websocket(w, rc ? (unsigned)code : mp__ws_close_answer(payload));
            return;
        }
        /* who does not read his pongs is slow, and gets no more of them */
        if (opcode == MP__WS_PING && mp__http_stream_unsent(x) < MP__WATCH_UNSENT_MAX)
            send_frame(x, MP__WS_PONG, payload);
    }
}

static void websocket_drain(mp__exchange *x, void *context)
{
    (void)x;
    close_websocket(context, MP__WS_GOING_AWAY);
}

static const mp__http_stream_events websocket_events = {.on_writable = stream_writable,
                                                        .on_read = websocket_read,
                                                        .on_drain = websocket_drain,
                                                        .on_close = gone};

static bool is_websocket(const mp__exchange *x)
{
    mp_str upgrade = mp__http_header_find(&x->request, "upgrade");

    return x->request.upgrade && upgrade.size == 9 &&
           strncasecmp(upgrade.data, "websocket", upgrade.size) == 0;
}

/* False: answered. */
static bool check_handshake(mp__exchange *x, mp__buf *accept)
{
    if (!mp_str_equal(mp__http_header_find(&x->request, "sec-websocket-version"), MP_STR("13"))) {
        mp__answer_problem(x, &(mp__problem){.status = 426,
                                             .type = "websocket-version",
                                             .detail = "this server speaks version 13 of the "
                                                       "WebSocket protocol alone",
                                             .remedy = "send Sec-WebSocket-Version: 13, or watch "
                                                       "as text/event-stream",
                                             .websocket_version = true});
        return false;
    }
    if (mp__ws_accept(mp__http_header_find(&x->request, "sec-websocket-key"), accept))
        return true;
    mp__answer_invalid(x, "the header Sec-WebSocket-Key is not 16 bytes in base64");
    return false;
}

static bool begin_websocket(mp__exchange *x, mp__http_watcher *w, mp_str accept)
{
    mp__answer_begin(x, 101);
    mp__answer_header(x, "Connection", MP_STR("Upgrade"));
    mp__answer_header(x, "Upgrade", MP_STR("websocket"));
    mp__answer_header(x, "Sec-WebSocket-Accept", accept);
    return mp__http_stream_upgrade(x, &websocket_events, w);
}

/* ---- what is asked ---- */

enum { PREFIX = MP__PLACE_COUNT, FROM, WAIT, REV, PARAMETERS };

typedef struct asked {
    mp__parameter p[PARAMETERS];
    char scope_text[MP__SCOPE_MAX];
    mp_str scope, prefix;
    bool has_from, known; /* known: of the present epoch */
    uint64_t from;
    int64_t wait_ms; /* -1: a stream */
    enum mp__watch_kind kind;
} asked;

/* Where to begin: from=, rev= or the header Last-Event-ID of an event stream that comes back. */
static bool take_from(mp__exchange *x, asked *a)
{
    mp_str text = a->p[FROM].value.data ? a->p[FROM].value : a->p[REV].value, epoch;
    const char *present = mp__manager_epoch(x->worker->server->manager);
    const char *name = a->p[FROM].value.data ? "from" : "rev";
    mp_str seen = mp__http_header_find(&x->request, "last-event-id");

    if (a->p[FROM].value.data && a->p[REV].value.data) {
        mp__answer_invalid(x, "from and rev are two names of one thing: give one of them");
        return false;
    }
    /* what the browser has seen since is newer than what the page asked for */
    if (seen.size) {
        text = seen;
        name = "Last-Event-ID";
    }
    if (!text.data)
        return true;
    if (!mp__position_parse(text, &epoch, &a->from)) {
        mp__answer_invalid(x, "%s is the position of an event, as epoch-revision, or a revision",
                           name);
        return false;
    }
    a->has_from = true;
    a->known = epoch.size == 0 || mp_str_equal(epoch, mp_str_of(present));
    return true;
}

static bool take_wait(mp__exchange *x, asked *a)
{
    a->wait_ms = -1;
    if (!a->p[WAIT].value.data) {
        if (a->p[REV].value.data)
            a->wait_ms = 30000;
        return true;
    }
    if (!mp__http_duration_of(x, &a->p[WAIT], &a->wait_ms))
        return false;
    if (a->wait_ms <= WAIT_MAX_MS)
        return true;
    mp__answer_invalid(x, "wait is at most 10m");
    return false;
}

static bool take_prefix(mp__exchange *x, asked *a)
{
    int rc;

    a->prefix = a->p[PREFIX].value;
    if (a->scope.size + 1 + a->prefix.size > MP__ADDRESS_MAX) {
        mp__answer_invalid(x, "the prefix is longer than any key");
        return false;
    }
    if (a->prefix.size && a->prefix.data[0] == '/') {
        mp__answer_invalid(x, "no key begins with '/': a prefix begins with a namespace");
        return false;
    }
    rc = mp__access_check(mp__manager_access(x->worker->server->manager), &x->identity,
                          MP__RIGHT_LIST, a->prefix, NULL);
    if (rc)
        mp__answer_error(x, rc, NULL);
    return rc == 0;
}

/* Whether @accept wants lines rather than an event stream: by weight, and among equals where lines
 * are named and events only come under what takes anything, which many programs add by themselves.
 */
static bool prefers_lines(mp_str accept, int lines, int events)
{
    if (lines <= 0 || lines != events)
        return lines > 0 && lines > events;
    return mp__http_names_type(accept, "application/x-ndjson") &&
           !mp__http_names_type(accept, "text/event-stream");
}

/* What the client asked for; among equals an event stream. False: it takes neither, and that was
 * answered: who expects lines and reads events would wait for what never comes. */
static bool take_kind(mp__exchange *x, asked *a)
{
    int events = 1000, lines = 0;
    mp_str accept;

    if (!mp__http_list_of(x, "accept", &accept))
        return false;
    if (accept.size) {
        events = mp__http_weight(accept, "text/event-stream");
        lines = mp__http_weight(accept, "application/x-ndjson");
    }
    a->kind = MP__WATCH_SSE;
    if (is_websocket(x))
        a->kind = MP__WATCH_WEBSOCKET;
    else if (a->wait_ms >= 0)
        a->kind = MP__WATCH_POLL;
    else if (prefers_lines(accept, lines, events))
        a->kind = MP__WATCH_LINES;
    else if (events <= 0) {
        mp__answer_problem(
            x, &(mp__problem){.status = 406,
                              .type = "not-acceptable",
                              .detail = "Accept takes neither text/event-stream nor "
                                        "application/x-ndjson",
                              .remedy = "name one of them in Accept, or give 'wait' for one answer "
                                        "in application/json"});
        return false;
    }
    return true;
}

static mp__http_watcher *watcher_new(mp__exchange *x, const asked *a)
{
    mp__worker_loop *worker = x->worker;
    size_t size = a->scope.size + 1 + a->prefix.size;
    mp__http_watcher *w;
    char *text;

    if (!need_wheel(worker) || !mp__worker_watch(worker))
        return NULL;
    w = mp__calloc(1, sizeof(*w) + size);
    if (!w)
        return NULL;
    text = (char *)(w + 1);
    memcpy(text, a->scope.data, a->scope.size);
    text[a->scope.size] = '/';
    if (a->prefix.size)
        memcpy(text + a->scope.size + 1, a->prefix.data, a->prefix.size);
    w->prefix = mp_str_new(text, size);
    w->scope = mp_str_new(text, a->scope.size);
    w->x = x;
    w->worker = worker;
    w->kind = a->kind;
    w->waiter.is_last = w->kind == MP__WATCH_POLL;
    mp__watch_pending_init(&w->waits);
    if (w->kind == MP__WATCH_WEBSOCKET) {
        w->websocket = mp__calloc(1, sizeof(*w->websocket));
        if (!w->websocket)
            return mp__free(w);
    }
    if (mp__watch_join_layers(worker->watch, worker->server->manager, &w->points, &w->waiter,
                              w->prefix, false) == 0)
        return w;
    (void)mp__free(w->websocket);
    return mp__free(w);
}

static void begin_poll(mp__http_watcher *w, const asked *a)
{
    uint64_t wait_ms = (uint64_t)a->wait_ms, seed[2] = {(uint64_t)(uintptr_t)w, w->worker->tick_ns};
    /* they that began to wait in one moment shall not all come back in one */
    uint64_t random = mp__siphash13(w->worker->hash_key, seed, sizeof(seed));

    mp__exchange_on_close(w->x, gone, w);
    mp__watch_schedule(w, wait_ms + random % (wait_ms / JITTER + 1));
    mp__watch_stream_begin(w, a->has_from, a->known, a->from);
}

static void begin(mp__exchange *x, const asked *a, mp_str accept)
{
    mp__http_watcher *w = watcher_new(x, a);

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (w->kind == MP__WATCH_POLL) {
        begin_poll(w, a);
        return;
    }
    if (w->kind == MP__WATCH_WEBSOCKET ? !begin_websocket(x, w, accept) : !begin_stream(x, w)) {
        w->x = NULL;
        mp__watch_end(w);
        return;
    }
    mp__watch_schedule(w, w->worker->limits.http_progress_ms);
    mp__watch_stream_begin(w, a->has_from, a->known, a->from);
}

void mp__http_watch(mp__exchange *x)
{
    asked a = {.p = {MP__PLACE_PARAMETERS, [PREFIX] = {"prefix"}, [FROM] = {"from"},
                     [WAIT] = {"wait"}, [REV] = {"rev"}}};
    mp__buf accept = MP__BUF_INIT;

    if ((!is_websocket(x) || check_handshake(x, &accept)) &&
        mp__http_parameters(x, a.p, PARAMETERS) && mp__http_scope(x, a.p, a.scope_text, &a.scope) &&
        take_from(x, &a) && take_wait(x, &a) && take_prefix(x, &a) && take_kind(x, &a))
        begin(x, &a, mp__buf_str(&accept));
    mp__buf_done(&accept);
}
