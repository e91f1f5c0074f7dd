/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions to changes of keys, named as Redis names them: __keyspace@N__:key carries the
 * event, __keyevent@N__:event carries the key. N is the environment's number in resp.databases.
 * MP.WATCH listens by prefix, in any environment, and is told the revision too.
 *
 * Each subscription joins the worker's watch at the longest beginning of addresses that holds all
 * that it can fit; a connection that is told of a change then looks which of its own do: tell.c.
 *
 * CLIENT LIST and KILL of other connections choose by whether a client subscribes, so that each
 * command shows what it changed before its answer leaves.
 *
 * A connection's subscriptions belong to its loop; what all loops have in common, so that PUBSUB
 * tells of all of them, is in channels.c. */
#include "core/alloc.h"
#include "server/resp/commands.h"

enum {
    SUBSCRIPTIONS_MAX = 10000,
    CHANNEL_MAX = 4096,
    GLOB_STEPS = 5000000, /* of one PUBSUB: some 10 ms of this loop */
};
/* Of a second of this loop, which all its connections share, that PUBSUB CHANNELS may take. */
#define LOOKING_NS 200000000u

/* One that was taken out. */
static void subscription_free(mp__connection *c, mp__subscription *s)
{
    mp__watch_leave_layers(c->worker->watch, &s->points);
    mp__channels_leave(c->worker->server->channels, s->channel);
    (void)mp__free(s);
}

void mp__subscriptions_clear(mp__connection *c)
{
    for (int kind = 0; kind < MP__SUBSCRIPTION_KINDS; kind++)
        while (c->subscriptions.first[kind]) {
            mp__subscription *s = c->subscriptions.first[kind];

            mp__subscriptions_take(&c->subscriptions, s);
            subscription_free(c, s);
        }
    mp__tell_clear(c);
    c->lapsed = false;
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
    mp__resp_integer(out, c->subscriptions.count);
}

/* ---- which addresses a subscription can fit ---- */

/* "__keyspace@N__:rest" and "__keyevent@N__:rest": the environment and the rest. False: @channel is
 * no such channel, and nothing is ever sent to it. */
static bool split_channel(const mp__worker_loop *worker, mp_str channel, bool *ret_is_keyspace,
                          mp_str *ret_environment, mp_str *ret_rest)
{
    static const char keyspace[] = "__keyspace@", keyevent[] = "__keyevent@", end[] = "__:";
    enum { HEAD = sizeof(keyspace) - 1, END = sizeof(end) - 1, DIGITS_MAX = 6 };
    const char *p = channel.data + HEAD, *stop = channel.data + channel.size;
    unsigned number = 0;

    if (channel.size < HEAD + 1 + END ||
        (memcmp(channel.data, keyspace, HEAD) != 0 && memcmp(channel.data, keyevent, HEAD) != 0))
        return false;
    for (int i = 0; i < DIGITS_MAX && p < stop && *p >= '0' && *p <= '9'; i++)
        number = number * 10 + (unsigned)(*p++ - '0');
    if (p == channel.data + HEAD || stop - p < END || memcmp(p, end, END) != 0)
        return false;
    *ret_is_keyspace = memcmp(channel.data, keyspace, HEAD) == 0;
    *ret_environment = mp__manager_environment(worker->server->manager, number);
    *ret_rest = mp_str_new(p + END, (size_t)(stop - p - END));
    return ret_environment->size > 0;
}

static mp_str under(mp_str environment, mp_str name, char text[MP__ADDRESS_MAX])
{
    size_t size = environment.size + 1;

    memcpy(text, environment.data, environment.size);
    text[environment.size] = '/';
    if (size + name.size <= MP__ADDRESS_MAX && name.size) {
        memcpy(text + size, name.data, name.size);
        size += name.size;
    }
    return mp_str_new(text, size);
}

/* The beginning of all addresses that @s can fit, perhaps in @address; "": those of every
 * environment. *ret_exact: there is that one alone. False: there is none. */
static bool reach_of(const mp__connection *c, const mp__subscription *s,
                     char address[MP__ADDRESS_MAX], mp_str *ret_prefix, bool *ret_exact)
{
    mp_str text = s->text, environment, rest;
    bool is_keyspace, is_channel;

    *ret_exact = false;
    *ret_prefix = text;
    if (s->kind == MP__SUBSCRIPTION_PREFIX)
        return true;
    *ret_prefix = mp_str_new("", 0);
    is_channel = split_channel(c->worker,
                               s->kind == MP__SUBSCRIPTION_CHANNEL ? text : mp__glob_literal(text),
                               &is_keyspace, &environment, &rest);
    if (s->kind == MP__SUBSCRIPTION_CHANNEL && !is_channel)
        return false;
    if (s->kind == MP__SUBSCRIPTION_CHANNEL && is_keyspace) {
        int size = mp__address_from_name(environment, rest, address, NULL);

        if (size < 0)
            return false; /* no key is called so */
        *ret_prefix = mp_str_new(address, (size_t)size);
        *ret_exact = true;
    } else if (is_channel) { /* without a slash the name may be one of the namespace default */
        bool in_namespace = is_keyspace && rest.size && memchr(rest.data, '/', rest.size);

        *ret_prefix = under(environment, in_namespace ? rest : mp_str_new("", 0), address);
    }
    return true;
}

/* Let @s hear of what it can fit; 0 also where that is nothing. */
static int join(mp__connection *c, mp__subscription *s)
{
    mp__manager *manager = c->worker->server->manager;
    mp__watch *watch = mp__worker_watch(c->worker);
    char address[MP__ADDRESS_MAX];
    mp_str prefix;
    bool exact;
    int rc;

    if (!watch)
        return MP_ENOMEM;
    if (!reach_of(c, s, address, &prefix, &exact))
        return 0;
    rc = mp__access_check(mp__manager_access(manager), &c->identity, MP__RIGHT_LIST, prefix, NULL);
    if (rc)
        return rc;
    if (prefix.size == 0) /* of all environments, so of all layers */
        return mp__watch_join(watch, &s->points.of[0], &c->waiter, prefix, false);
    return mp__watch_join_layers(watch, manager, &s->points, &c->waiter, prefix, exact);
}

/* ---- subscribing ---- */

/* 0: the connection is a subscriber of @channel. */
static int add(mp__connection *c, mp__channel *channel, enum mp__subscription_kind kind)
{
    mp__subscription *s;
    int rc;

    s = mp__calloc(1, sizeof(*s));
    if (!s)
        return MP_ENOMEM;
    s->kind = kind;
    s->channel = channel;
    s->text = mp__channel_text(channel);
    c->waiter.tell = mp__tell_changes;
    c->waiter.describe = mp__tell_describe;
    rc = join(c, s);
    if (rc) {
        (void)mp__free(s);
        return rc;
    }
    mp__subscriptions_add(&c->subscriptions, s);
    return 0;
}

/* 0, also when it is subscribed already; else why not. */
static int subscribe_one(mp__connection *c, mp_str text, enum mp__subscription_kind kind)
{
    mp__channels *channels = c->worker->server->channels;
    mp__channel *channel;
    int rc;

    if (text.size > CHANNEL_MAX)
        return MP_ELIMIT;
    if (mp__subscriptions_find(&c->subscriptions, channels, kind, text))
        return 0;
    if (c->subscriptions.count >= SUBSCRIPTIONS_MAX)
        return MP_ELIMIT;
    rc = mp__channels_enter(channels, text, kind, &channel);
    if (rc)
        return rc;
    rc = add(c, channel, kind);
    if (rc)
        mp__channels_leave(channels, channel);
    return rc;
}

static enum mp__subscription_kind kind_of(mp_str command)
{
    return (command.data[0] | 0x20) == 'p' ? MP__SUBSCRIPTION_GLOB : MP__SUBSCRIPTION_CHANNEL;
}

static void refuse(mp__connection *c, int rc)
{
    if (rc == MP_ELIMIT)
        mp__resp_error(mp__connection_out(c), "ERR",
                       "a connection may have %d subscriptions of %d bytes", SUBSCRIPTIONS_MAX,
                       CHANNEL_MAX);
    else
        mp__reply_status(c, mp__connection_out(c), rc, NULL);
}

void mp__cmd_subscribe(MP__COMMAND_ARGS)
{
    enum mp__subscription_kind kind = kind_of(arguments[0]);

    for (uint32_t i = 1; i < count; i++) {
        int rc = subscribe_one(c, arguments[i], kind);

        if (rc)
            refuse(c, rc);
        else
            confirm(c, kind == MP__SUBSCRIPTION_GLOB ? "psubscribe" : "subscribe", arguments[i],
                    true);
    }
    mp__connection_show(c);
}

static void confirm_end(mp__connection *c, enum mp__subscription_kind kind, mp_str text, bool known)
{
    if (kind != MP__SUBSCRIPTION_PREFIX)
        confirm(c, kind == MP__SUBSCRIPTION_GLOB ? "punsubscribe" : "unsubscribe", text, known);
}

/* End it, and say so. */
static void take_off(mp__connection *c, mp__subscription *s)
{
    mp__subscriptions_take(&c->subscriptions, s);
    if (c->subscriptions.count == 0)
        mp__tell_clear(c);
    confirm_end(c, s->kind, s->text, true);
    subscription_free(c, s);
}

static void unsubscribe_one(mp__connection *c, mp_str text, enum mp__subscription_kind kind)
{
    mp__subscription *s =
        mp__subscriptions_find(&c->subscriptions, c->worker->server->channels, kind, text);

    if (s)
        take_off(c, s);
    else
        confirm_end(c, kind, text, true);
}

/* All of @kind; returns how many they were. */
static uint32_t unsubscribe_all(mp__connection *c, enum mp__subscription_kind kind)
{
    uint32_t before = c->subscriptions.count;

    while (c->subscriptions.first[kind])
        take_off(c, c->subscriptions.first[kind]);
    return before - c->subscriptions.count;
}

void mp__cmd_unsubscribe(MP__COMMAND_ARGS)
{
    enum mp__subscription_kind kind = kind_of(arguments[0]);

    for (uint32_t i = 1; i < count; i++)
        unsubscribe_one(c, arguments[i], kind);
    if (count == 1 && unsubscribe_all(c, kind) == 0)
        confirm_end(c, kind, mp_str_new("", 0), false);
    mp__connection_show(c);
}

/* MP.WATCH [PREFIX namespace/key-prefix] is answered by its name, the prefix and the number of
 * subscriptions; a change comes as change, name, set|del|expired|reset, revision. */
void mp__cmd_mp_watch(MP__COMMAND_ARGS)
{
    mp_str environment = mp__connection_environment(c), prefix = mp_str_new("", 0);
    char text[MP__SCOPE_MAX + 1 + MP__ADDRESS_MAX];
    size_t size = environment.size + 1;
    int rc;

    if (count == 3 && mp__word_is(arguments[1], "PREFIX") && arguments[2].size < MP__ADDRESS_MAX) {
        prefix = arguments[2];
    } else if (count != 1) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "MP.WATCH [PREFIX namespace/key-prefix] of at most %d bytes",
                       MP__ADDRESS_MAX);
        return;
    }
    memcpy(text, environment.data, environment.size);
    text[environment.size] = '/';
    if (prefix.size)
        memcpy(text + size, prefix.data, prefix.size);
    rc = subscribe_one(c, mp_str_new(text, size + prefix.size), MP__SUBSCRIPTION_PREFIX);
    if (rc)
        refuse(c, rc);
    else
        confirm(c, "mp.watch", prefix, true);
    mp__connection_show(c);
}

void mp__cmd_mp_unwatch(MP__COMMAND_ARGS)
{
    (void)arguments;
    (void)count;
    (void)unsubscribe_all(c, MP__SUBSCRIPTION_PREFIX);
    confirm(c, "mp.unwatch", mp_str_new("", 0), false);
    mp__connection_show(c);
}

/* ---- PUBSUB: over the connections of all workers ---- */

typedef struct names {
    mp__buf replies; /* bulk strings */
    size_t count;
} names;

static void add_name(void *context, mp_str text)
{
    names *n = context;

    mp__resp_bulk(&n->replies, text);
    n->count++;
}

/* Whether the loop has time for another look through all channels; many of them in a pipeline would
 * hold up everybody else. */
static bool has_time_to_look(mp__worker_loop *worker, uint64_t now)
{
    if (now - worker->looking_since_ns >= 1000000000u) {
        worker->looking_since_ns = now;
        worker->looking_ns = 0;
    }
    return worker->looking_ns < LOOKING_NS;
}

static void reply_channels(mp__connection *c, mp_str pattern)
{
    mp__buf *out = mp__connection_out(c);
    names n = {.replies = {.size_max = c->worker->limits.output_hard}};
    int rc = mp__channels_fitting(c->worker->server->channels, MP__SUBSCRIPTION_CHANNEL, pattern,
                                  GLOB_STEPS, add_name, &n);

    if (rc == MP_ELIMIT) {
        mp__resp_error(out, "ERR",
                       "to look through all %zu channels takes more than %d steps; a pattern "
                       "that begins as the channels do takes fewer",
                       mp__channels_count(c->worker->server->channels, MP__SUBSCRIPTION_CHANNEL),
                       GLOB_STEPS);
    } else if (n.replies.error == MP_ELIMIT) {
        mp__resp_error(out, "ERR",
                       "the names of these channels are more than resp.output_hard (%zu bytes); "
                       "a pattern chooses among them",
                       n.replies.size_max);
    } else if (rc || n.replies.error) {
        mp__resp_error(out, "OOM", "out of memory");
    } else {
        mp__resp_array(out, n.count);
        if (n.replies.size)
            (void)mp__buf_add(out, n.replies.data, n.replies.size);
    }
    mp__buf_done(&n.replies);
}

static void reply_channels_if_there_is_time(mp__connection *c, mp_str pattern)
{
    mp__worker_loop *worker = c->worker;
    uint64_t now = mp__env_now_ns(worker->server->env);

    if (!has_time_to_look(worker, now)) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "PUBSUB CHANNELS took %u ms of this second already; ask again in the next",
                       LOOKING_NS / 1000000);
        return;
    }
    reply_channels(c, pattern);
    worker->looking_ns += mp__env_now_ns(worker->server->env) - now;
}

/* PUBSUB CHANNELS [glob] | NUMSUB [channel ...] | NUMPAT */
void mp__cmd_pubsub(MP__COMMAND_ARGS)
{
    mp__channels *channels = c->worker->server->channels;
    mp__buf *out = mp__connection_out(c);
    mp_str what = arguments[1];

    if (mp__word_is(what, "NUMSUB")) {
        mp__resp_array(out, (count - 2) * 2);
        for (uint32_t i = 2; i < count; i++) {
            mp__resp_bulk(out, arguments[i]);
            mp__resp_integer(
                out, mp__channels_subscribers(channels, arguments[i], MP__SUBSCRIPTION_CHANNEL));
        }
    } else if (mp__word_is(what, "NUMPAT") && count == 2) {
        mp__resp_integer(out, (int64_t)mp__channels_count(channels, MP__SUBSCRIPTION_GLOB));
    } else if (mp__word_is(what, "CHANNELS") && count <= 3) {
        reply_channels_if_there_is_time(c, count == 3 ? arguments[2] : MP_STR("*"));
    } else {
        mp__resp_error(out, "ERR",
                       "unknown subcommand or wrong number of arguments for '%.*s'. Try "
                       "PUBSUB CHANNELS, NUMSUB or NUMPAT.",
                       (int)(what.size > 64 ? 64 : what.size), what.data);
    }
}
