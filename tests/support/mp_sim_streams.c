/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's sockets: bytes come a random time later, in pieces, in order. */
#include "mp_sim_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int mp_sim_listen(mp__loop *base, const char *host, uint16_t *port, bool shared,
                  void (*on_accept)(void *context, mp__stream *stream), void *context,
                  mp__listener **ret_listener)
{
    sim_loop *loop = (sim_loop *)base;
    sim_listener *listener;

    (void)host;
    for (sim_listener *l = loop->sim->listeners; l && *port && !shared; l = l->next)
        if (l->port == *port)
            return -EADDRINUSE;
    listener = get(sizeof(*listener));
    listener->base.ops = base->ops;
    listener->loop = loop;
    listener->port = *port ? *port : loop->sim->next_port++;
    listener->on_accept = on_accept;
    listener->context = context;
    listener->next = loop->sim->listeners;
    loop->sim->listeners = listener;
    *port = listener->port;
    *ret_listener = &listener->base;
    return 0;
}

int mp_sim_listen_probe(mp_env *env, const char *host, uint16_t port)
{
    (void)host;
    for (sim_listener *l = sim_of(env)->listeners; l; l = l->next)
        if (l->port == port)
            return -EADDRINUSE;
    return 0;
}

void mp_sim_listener_pause(mp__listener *listener, bool pause)
{
    ((sim_listener *)listener)->paused = pause;
}

mp__listener *mp_sim_listener_free(mp__listener *base)
{
    sim_listener *listener = (sim_listener *)base, **link;

    if (!listener)
        return NULL;
    link = &listener->loop->sim->listeners;
    while (*link != listener)
        link = &(*link)->next;
    *link = listener->next;
    free(listener);
    return NULL;
}

int mp_sim_connect_start(mp__loop *base, const char *host, uint16_t port, uint64_t timeout_ms,
                         void (*on_connect)(void *context, int error, mp__stream *stream),
                         void *context)
{
    sim_loop *loop = (sim_loop *)base;
    sim_connect *c = get(sizeof(*c));

    (void)host;
    (void)timeout_ms;
    c->loop = loop;
    c->port = port;
    c->ready_ns = soon(loop->sim, LATENCY_US);
    c->on_connect = on_connect;
    c->context = context;
    c->next = loop->sim->connects;
    loop->sim->connects = c;
    return 0;
}

static sim_stream *stream_new(sim_loop *loop, uint16_t port)
{
    sim_stream *s = get(sizeof(*s)), **last = &loop->sim->streams;

    s->base.ops = loop->base.ops;
    s->loop = loop;
    s->ready_ns = NEVER;
    s->port = port;
    while (*last)
        last = &(*last)->next;
    *last = s;
    return s;
}

static sim_listener *listener_at(mp_sim *sim, uint16_t port)
{
    sim_listener *found = NULL;
    uint64_t n = 0;

    for (sim_listener *l = sim->listeners; l; l = l->next)
        if (l->port == port && !l->paused && mp_sim_random(sim, ++n) == 0)
            found = l; /* any of those that share the port */
    return found;
}

void mp_sim_connect_ends(sim_connect *c)
{
    mp_sim *sim = c->loop->sim;
    sim_connect **link = &sim->connects;
    sim_listener *listener = listener_at(sim, c->port);

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    if (listener && !sim->partitioned) {
        sim_stream *here = stream_new(c->loop, c->port);
        sim_stream *there = stream_new(listener->loop, sim->next_port++);

        here->peer = there;
        there->peer = here;
        listener->on_accept(listener->context, &there->base);
        mp_sim_turn_ends(listener->loop);
        c->on_connect(c->context, 0, &here->base);
    } else {
        c->on_connect(c->context, sim->partitioned ? -ETIMEDOUT : -ECONNREFUSED, NULL);
    }
    mp_sim_turn_ends(c->loop);
    free(c);
}

void mp_sim_wake(sim_stream *s)
{
    if (s && s->ready_ns == NEVER)
        s->ready_ns = soon(s->loop->sim, LATENCY_US);
}

void mp_sim_stream_start(mp__stream *base, const mp__stream_events *events, void *context)
{
    sim_stream *s = (sim_stream *)base;

    s->events = events;
    s->context = context;
    s->started = true;
    mp_sim_wake(s);
}

void mp_sim_stream_pause(mp__stream *base, bool pause)
{
    ((sim_stream *)base)->paused = pause;
    if (!pause)
        mp_sim_wake((sim_stream *)base);
}

int mp_sim_stream_write(mp__stream *base, const struct iovec *parts, int count)
{
    sim_stream *s = (sim_stream *)base, *to = s->peer;

    if (s->closing)
        return -EPIPE;
    for (int i = 0; i < count && to; i++) {
        to->in = realloc(to->in, to->in_size + parts[i].iov_len + 1);
        assert(to->in);
        memcpy(to->in + to->in_size, parts[i].iov_base, parts[i].iov_len);
        to->in_size += parts[i].iov_len;
    }
    if (to && to->in_size > WINDOW)
        s->wants_drained = true;
    mp_sim_wake(to);
    return 0;
}

int mp_sim_stream_descriptor(const mp__stream *base)
{
    (void)base;
    return -1;
}

size_t mp_sim_stream_queued(const mp__stream *base)
{
    const sim_stream *to = ((const sim_stream *)base)->peer;

    return to && to->in_size > WINDOW ? to->in_size - WINDOW : 0;
}

/* The peer keeps what is on its way, unless it is a reset. */
static void leave(sim_stream *s, int error)
{
    if (s->closing)
        return;
    s->closing = true;
    s->ready_ns = soon(s->loop->sim, LATENCY_US);
    if (s->peer) {
        s->peer->ended = true;
        s->peer->error = error;
        if (error)
            s->peer->in_size = 0;
        s->peer->peer = NULL;
        mp_sim_wake(s->peer);
        s->peer = NULL;
    }
}

void mp_sim_stream_close(mp__stream *base)
{
    leave((sim_stream *)base, 0);
}

void mp_sim_stream_reset(mp__stream *base)
{
    leave((sim_stream *)base, -ECONNRESET);
}

const char *mp_sim_stream_peer(mp__stream *base, char *text, size_t capacity)
{
    (void)snprintf(text, capacity, "127.0.0.1:%u", ((sim_stream *)base)->port);
    return text;
}

void mp_sim_stream_free(sim_stream *s)
{
    sim_stream **link = &s->loop->sim->streams;

    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    free(s->in);
    free(s);
}

/* Something of what is on its way arrives, as few or as many bytes as chance will have it. */
void mp_sim_stream_goes_on(sim_stream *s)
{
    mp_sim *sim = s->loop->sim;
    sim_loop *loop = s->loop;

    s->ready_ns = NEVER;
    if (s->closing) {
        if (s->events && s->events->on_closed)
            s->events->on_closed(s->context);
        mp_sim_stream_free(s);
        mp_sim_turn_ends(loop);
        return;
    }
    if (!s->started || s->paused || (sim->partitioned && !s->error))
        return; /* woken again when that ends */
    if (s->in_size) {
        size_t n = 1 + (size_t)mp_sim_random(sim, s->in_size);
        char *chunk = get(n);

        memcpy(chunk, s->in, n);
        memmove(s->in, s->in + n, s->in_size - n);
        s->in_size -= n;
        mp_sim_wake(s);
        if (s->peer && s->peer->wants_drained && s->in_size <= WINDOW) {
            s->peer->wants_drained = false;
            if (s->peer->events && s->peer->events->on_drained)
                s->peer->events->on_drained(s->peer->context);
            mp_sim_turn_ends(s->peer ? s->peer->loop : loop);
        }
        if (!s->closing)
            s->events->on_read(s->context, chunk, (int64_t)n);
        free(chunk);
    } else if (s->ended && !s->told_end) {
        s->told_end = true;
        s->events->on_read(s->context, NULL, s->error);
    }
    mp_sim_turn_ends(loop);
}
