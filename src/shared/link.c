/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to Redis: requests go out as they come and are answered in their order.
 *
 *        .------------- pause, doubled each time up to 5 s --------------.
 *        v                                                               |
 *      DOWN --> CONNECTING --> GREETING (AUTH, SELECT, PING) --> UP -----'
 *                                                                 a time-out, an end, a bad byte
 *
 * One request that is not answered in time ends the connection, since those behind it would wait as
 * long; until a PING is answered again nobody waits any more. That is the circuit breaker: open
 * while it is down, half open while it greets. */
#include <errno.h>
#include <stdio.h>

#include "protocol/resp.h"
#include "shared/internal.h"

enum { PAUSE_FIRST_MS = 100, PAUSE_LAST_MS = 5000, CONNECT_MS = 2000, GREET_MS = 1000 };

static const mp__reply_limits limits = {.depth_max = 2, .items_max = 16, .bulk_max = 8u << 20};

static void on_timer(void *context);
static void fail(mp__link *link, int status, const char *text);

static uint64_t now_ns(const mp__link *link)
{
    return mp__env_now_ns(link->shared->env);
}

/* Wake at the first deadline; requests of one link have theirs in their order. */
static void arm(mp__link *link)
{
    uint64_t now = now_ns(link), at = link->first ? link->first->deadline_ns : 0;

    if (!link->first)
        mp__timer_stop(link->timer);
    else
        mp__timer_start(link->timer, at > now ? (at - now) / 1000000u + 1 : 1, 0);
}

static mp__shared_ask *take_first(mp__link *link)
{
    mp__shared_ask *ask = link->first;

    link->first = ask->next;
    if (!link->first)
        link->last = &link->first;
    link->asked--;
    return ask;
}

/* ---- asking ---- */

static int enqueue(mp__link *link, unsigned kind, mp__shared_get *get, size_t bytes,
                   const mp__shared_name *name, uint64_t timeout_ms, const mp_str *words,
                   size_t count)
{
    mp__shared_ask *ask = mp__calloc(1, sizeof(*ask));
    size_t before = link->out.size;

    if (!ask)
        return MP_ENOMEM;
    mp__resp_request(&link->out, words, count);
    if (link->out.error) { /* whatever stands in it cannot be told apart any more */
        (void)before;
        (void)mp__free(ask);
        return MP_ENOMEM;
    }
    ask->kind = kind;
    ask->get = get;
    ask->bytes = bytes;
    if (name)
        ask->name = *name;
    ask->deadline_ns = now_ns(link) + timeout_ms * 1000000u;
    *link->last = ask;
    link->last = &ask->next;
    if (link->asked++ == 0)
        arm(link);
    return 0;
}

int mp__link_ask(mp__link *link, unsigned kind, mp__shared_get *get, size_t bytes,
                 const mp__shared_name *name, const mp_str *words, size_t count)
{
    int rc;

    if (link->state != MP__LINK_UP || link->asked >= MP__SHARED_ASKED_MAX)
        return MP_EUNKNOWN;
    rc = enqueue(link, kind, get, bytes, name, link->shared->timeout_ms, words, count);
    if (rc && link->out.error)
        fail(link, MP_ENOMEM, "no memory");
    return rc;
}

void mp__link_flush(mp__link *link)
{
    struct iovec part = {link->out.data, link->out.size};
    int rc;

    if (link->out.size == 0 || !link->stream)
        return;
    rc = mp__stream_write(link->stream, &part, 1);
    mp__buf_reset(&link->out);
    if (rc)
        fail(link, MP_ECLOSED, mp_strerror(rc));
}

static void greet(mp__link *link)
{
    const mp__shared_address *address = &link->shared->address;
    mp_str auth[3] = {MP_STR("AUTH"), mp_str_of(address->user), mp_str_of(address->password)};
    mp_str ping = MP_STR("PING");
    char number[16];
    mp_str select[2] = {MP_STR("SELECT"), mp_str_new(number, 0)};
    int rc = 0;

    select[1].size = (size_t)snprintf(number, sizeof(number), "%u", address->database);
    if (address->password[0] && !address->user[0]) {
        auth[1] = auth[2];
        rc = enqueue(link, MP__ASK_GREET, NULL, 0, NULL, GREET_MS, auth, 2);
    } else if (address->password[0]) {
        rc = enqueue(link, MP__ASK_GREET, NULL, 0, NULL, GREET_MS, auth, 3);
    }
    if (rc == 0 && address->database)
        rc = enqueue(link, MP__ASK_GREET, NULL, 0, NULL, GREET_MS, select, 2);
    if (rc == 0)
        rc = enqueue(link, MP__ASK_GREET, NULL, 0, NULL, GREET_MS, &ping, 1);
    if (rc)
        fail(link, rc, "no memory");
    else
        mp__link_flush(link);
}

/* ---- answers ---- */

/* The last word of the greeting was answered: it is up. */
static void greeted(mp__link *link, const mp__reply *reply)
{
    char text[160];

    if (reply->type == MP__REPLY_ERROR) {
        (void)snprintf(text, sizeof(text), "it says %.*s",
                       (int)(reply->text.size < 100 ? reply->text.size : 100), reply->text.data);
        fail(link, MP_ECLOSED, text);
    } else if (!link->first) {
        link->state = MP__LINK_UP;
        link->pause_ms = PAUSE_FIRST_MS;
        atomic_store(&link->up, true);
        (void)atomic_fetch_add(&link->shared->connects, 1);
        if (atomic_load(&link->shared->reading.up) && atomic_load(&link->shared->writing.up))
            mp__shared_trouble(link->shared, "");
    }
}

/* False: the link is not what it was any more. */
static bool take_reply(mp__link *link, const mp__reply *reply)
{
    mp__shared_ask *ask;
    mp__stream *stream = link->stream;

    if (!link->first) {
        fail(link, MP_ECLOSED, "it answers what was not asked");
        return false;
    }
    ask = take_first(link);
    if (ask->kind == MP__ASK_GREET)
        greeted(link, reply);
    else
        mp__shared_answered(link->shared, ask, 0, reply);
    (void)mp__free(ask);
    return link->stream == stream;
}

static void on_read(void *context, char *data, int64_t size)
{
    mp__link *link = context;
    size_t used, begin = 0;
    mp__reply *reply;
    int rc = 0;

    if (size <= 0) {
        fail(link, MP_ECLOSED, size ? mp_strerror((int)size) : "it closed the connection");
        return;
    }
    if (mp__buf_add(&link->in, data, (size_t)size) != 0) {
        fail(link, MP_ENOMEM, "no memory");
        return;
    }
    while (begin < link->in.size) {
        bool goes_on;

        rc = mp__reply_parse(link->in.data + begin, link->in.size - begin, &limits, &reply, &used);
        if (rc)
            break;
        begin += used;
        goes_on = take_reply(link, reply);
        (void)mp__reply_free(reply);
        if (!goes_on)
            return;
    }
    mp__buf_consume(&link->in, begin);
    if (rc && rc != MP_EAGAIN)
        fail(link, MP_ECLOSED, "it does not speak RESP");
    else
        arm(link);
}

static void on_closed(void *context)
{
    mp__link *link = context;

    mp__shared_closed_one(link->shared);
}

static void on_drained(void *context)
{
    (void)context;
}

static const mp__stream_events events = {on_read, on_drained, on_closed};

/* ---- up and down ---- */

static void on_connect(void *context, int error, mp__stream *stream)
{
    mp__link *link = context;
    mp__shared *shared = link->shared;

    if (error || shared->stopping) {
        if (stream) { /* one call more is to come, in place of this one */
            mp__stream_start(stream, &events, link);
            mp__stream_close(stream);
        } else {
            mp__shared_closed_one(shared);
        }
        if (!shared->stopping)
            fail(link, MP_ECLOSED,
                 error == -ENXIO ? "its name stands for no address" : mp_strerror(error));
        return;
    }
    link->stream = stream;
    link->state = MP__LINK_GREETING;
    mp__stream_start(stream, &events, link);
    greet(link);
}

static void connect_now(mp__link *link)
{
    mp__shared *shared = link->shared;
    int rc;

    link->state = MP__LINK_CONNECTING;
    shared->busy++;
    rc = mp__connect(shared->loop, shared->address.host, shared->address.port, CONNECT_MS,
                     on_connect, link);
    if (rc) {
        shared->busy--;
        fail(link, MP_ECLOSED, mp_strerror(rc));
    }
}

/* Up to half as much again by chance, so that many nodes do not come back at once. */
static uint64_t next_pause(mp__link *link)
{
    uint64_t random, pause = link->pause_ms;

    mp__env_random(link->shared->env, &random, sizeof(random));
    link->pause_ms = pause * 2 < PAUSE_LAST_MS ? pause * 2 : PAUSE_LAST_MS;
    return pause + random % (pause / 2 + 1);
}

/* Answer all that wait, and try again later. */
static void fail(mp__link *link, int status, const char *text)
{
    mp__shared *shared = link->shared;
    mp__shared_ask *asks = link->first;

    atomic_store(&link->up, false);
    link->state = MP__LINK_DOWN;
    link->first = NULL;
    link->last = &link->first;
    link->asked = 0;
    mp__buf_done(&link->in);
    mp__buf_done(&link->out);
    link->in = link->out = (mp__buf)MP__BUF_INIT;
    if (link->stream)
        mp__stream_close(link->stream);
    link->stream = NULL;
    if (!shared->stopping) {
        mp__shared_trouble(shared, text);
        mp__timer_start(link->timer, next_pause(link), 0);
    }
    while (asks) {
        mp__shared_ask *next = asks->next;

        if (asks->kind != MP__ASK_GREET)
            mp__shared_answered(shared, asks, status, NULL);
        (void)mp__free(asks);
        asks = next;
    }
}

static void on_timer(void *context)
{
    mp__link *link = context;

    if (link->state == MP__LINK_DOWN)
        connect_now(link);
    else if (link->first && link->first->deadline_ns <= now_ns(link))
        fail(link, MP_ETIMEOUT, "it did not answer in time");
    else
        arm(link);
}

int mp__link_start(mp__link *link, mp__shared *shared)
{
    int rc;

    link->shared = shared;
    link->last = &link->first;
    link->pause_ms = PAUSE_FIRST_MS;
    rc = mp__timer_new(shared->loop, on_timer, link, &link->timer);
    if (rc == 0)
        connect_now(link);
    return rc;
}

void mp__link_stop(mp__link *link)
{
    if (!link->shared)
        return;
    fail(link, MP_ECANCELED, "");
    if (link->timer)
        link->timer = mp__timer_free(link->timer);
}
