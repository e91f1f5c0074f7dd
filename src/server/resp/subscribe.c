/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions to changes of keys, named as Redis names them: __keyspace@N__:key carries the
 * event,
 * __keyevent@N__:event carries the key. N is the environment's number in resp.databases. */
#include <stdio.h>

#include "server/resp/commands.h"

enum { SUBSCRIPTIONS_MAX = 10000, CHANNEL_MAX = 4096 };

static void leave_worker(mp__connection *c)
{
    for (mp__connection **link = &c->worker->subscribers; *link; link = &(*link)->next_subscriber)
        if (*link == c) {
            *link = c->next_subscriber;
            return;
        }
}

void mp__subscriptions_clear(mp__connection *c)
{
    while (c->subscriptions) {
        mp__subscription *next = c->subscriptions->next;

        (void)mp__free(c->subscriptions);
        c->subscriptions = next;
    }
    if (c->subscription_count)
        leave_worker(c);
    c->subscription_count = 0;
}

static void confirm(mp__connection *c, const char *what, mp_str channel, bool known)
{
    mp__buf *out = mp__connection_out(c);

    mp__resp_push(out, 3, c->version);
    mp__resp_bulk(out, mp_str_of(what));
    if (known)
        mp__resp_bulk(out, channel);
    else
        mp__resp_null(out, c->version);
    mp__resp_integer(out, c->subscription_count);
}

static mp__subscription **find(mp__connection *c, mp_str text, bool is_pattern)
{
    mp__subscription **link = &c->subscriptions;

    while (*link && ((*link)->is_pattern != is_pattern ||
                     !mp_str_equal(mp_str_new((*link)->text, (*link)->size), text)))
        link = &(*link)->next;
    return link;
}

/* The worker listens to changes from its first subscriber on. */
static bool worker_listens(mp__connection *c)
{
    mp__worker_loop *worker = c->worker;

    return worker->watcher || mp__watch_add(worker->server->manager, worker->loop, mp__worker_event,
                                            worker, &worker->watcher) == 0;
}

static bool subscribe_one(mp__connection *c, mp_str text, bool is_pattern)
{
    mp__subscription **link = find(c, text, is_pattern), *s;

    if (*link)
        return true;
    if (c->subscription_count >= SUBSCRIPTIONS_MAX || text.size > CHANNEL_MAX || !worker_listens(c))
        return false;
    s = mp__malloc(sizeof(*s) + text.size);
    if (!s)
        return false;
    *s = (mp__subscription){.is_pattern = is_pattern, .size = (uint16_t)text.size};
    memcpy(s->text, text.data, text.size);
    *link = s;
    if (c->subscription_count++ == 0) {
        c->next_subscriber = c->worker->subscribers;
        c->worker->subscribers = c;
    }
    return true;
}

void mp__cmd_subscribe(MP__COMMAND_ARGS)
{
    bool is_pattern = (arguments[0].data[0] | 0x20) == 'p';

    for (uint32_t i = 1; i < count; i++)
        if (subscribe_one(c, arguments[i], is_pattern))
            confirm(c, is_pattern ? "psubscribe" : "subscribe", arguments[i], true);
        else
            mp__resp_error(mp__connection_out(c), "ERR",
                           "a connection may have %d subscriptions of %d bytes", SUBSCRIPTIONS_MAX,
                           CHANNEL_MAX);
}

static void unsubscribe_one(mp__connection *c, mp_str text, bool is_pattern)
{
    mp__subscription **link = find(c, text, is_pattern), *gone = *link;

    if (gone) {
        *link = gone->next;
        if (--c->subscription_count == 0)
            leave_worker(c);
    }
    confirm(c, is_pattern ? "punsubscribe" : "unsubscribe", text, true);
    (void)mp__free(gone);
}

static mp__subscription *first_of(mp__connection *c, bool is_pattern)
{
    mp__subscription *s = c->subscriptions;

    while (s && s->is_pattern != is_pattern)
        s = s->next;
    return s;
}

void mp__cmd_unsubscribe(MP__COMMAND_ARGS)
{
    bool is_pattern = (arguments[0].data[0] | 0x20) == 'p';
    mp__subscription *s;

    for (uint32_t i = 1; i < count; i++)
        unsubscribe_one(c, arguments[i], is_pattern);
    if (count > 1)
        return;
    if (!first_of(c, is_pattern))
        confirm(c, is_pattern ? "punsubscribe" : "unsubscribe", mp_str_new("", 0), false);
    while ((s = first_of(c, is_pattern)))
        unsubscribe_one(c, mp_str_new(s->text, s->size), is_pattern);
}

/* Figures of this worker's connections only would mislead: they are gathered over none, and say so.
 */
void mp__cmd_pubsub(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);

    if (mp__word_is(arguments[1], "NUMSUB")) {
        mp__resp_array(out, (count - 2) * 2);
        for (uint32_t i = 2; i < count; i++) {
            int64_t n = 0;

            for (mp__connection *s = c->worker->subscribers; s; s = s->next_subscriber)
                n += *find(s, arguments[i], false) != NULL;
            mp__resp_bulk(out, arguments[i]);
            mp__resp_integer(out, n);
        }
    } else if (mp__word_is(arguments[1], "NUMPAT")) {
        int64_t n = 0;

        for (mp__connection *s = c->worker->subscribers; s; s = s->next_subscriber)
            n += first_of(s, true) != NULL;
        mp__resp_integer(out, n);
    } else if (mp__word_is(arguments[1], "CHANNELS")) {
        size_t n = 0;

        for (mp__connection *s = c->worker->subscribers; s; s = s->next_subscriber)
            for (mp__subscription *x = s->subscriptions; x; x = x->next)
                n += !x->is_pattern;
        mp__resp_array(out, n);
        for (mp__connection *s = c->worker->subscribers; s; s = s->next_subscriber)
            for (mp__subscription *x = s->subscriptions; x; x = x->next)
                if (!x->is_pattern)
                    mp__resp_bulk(out, mp_str_new(x->text, x->size));
    } else {
        mp__resp_error(out, "ERR", "unknown subcommand. Try PUBSUB CHANNELS, NUMSUB or NUMPAT.");
    }
}

/* ---- events ---- */

static void deliver(mp__connection *c, mp_str channel, mp_str message)
{
    for (mp__subscription *s = c->subscriptions; s; s = s->next) {
        mp_str text = mp_str_new(s->text, s->size);
        mp__buf *out;

        if (s->is_pattern ? !mp__glob_match(text, channel, 100000) : !mp_str_equal(text, channel))
            continue;
        out = mp__connection_out(c);
        mp__resp_push(out, s->is_pattern ? 4 : 3, c->version);
        mp__resp_bulk(out, s->is_pattern ? MP_STR("pmessage") : MP_STR("message"));
        if (s->is_pattern)
            mp__resp_bulk(out, text);
        mp__resp_bulk(out, channel);
        mp__resp_bulk(out, message);
    }
}

static int database_of(const mp__worker_loop *worker, mp_str environment)
{
    for (unsigned n = 0;; n++) {
        mp_str name = mp__manager_environment(worker->server->manager, n);

        if (name.size == 0)
            return -1;
        if (mp_str_equal(name, environment))
            return (int)n;
    }
}

void mp__worker_event(void *context, const mp__event *event)
{
    static const char *const events[] = {"set", "del", "expired", "reset"};
    mp__worker_loop *worker = context;
    mp_str environment, namespace_, key, name, what = mp_str_of(events[event->kind]);
    char keyspace[64 + MP__ADDRESS_MAX], keyevent[64];
    mp__connection *next;
    int n, database;

    if (event->kind == MP__EVENT_RESET ||
        mp__address_split(event->address, &environment, &namespace_, &key) != 0)
        return; /* a Redis channel has no word for "look again" */
    database = database_of(worker, environment);
    if (database < 0)
        return;
    name = mp__address_name(event->address);
    n = snprintf(keyspace, sizeof(keyspace), "__keyspace@%d__:%.*s", database, (int)name.size,
                 name.data);
    (void)snprintf(keyevent, sizeof(keyevent), "__keyevent@%d__:%s", database, what.data);
    for (mp__connection *c = worker->subscribers; c; c = next) {
        next = c->next_subscriber;
        deliver(c, mp_str_new(keyspace, (size_t)n), what);
        deliver(c, mp_str_of(keyevent), name);
        mp__connection_push(c);
    }
}
