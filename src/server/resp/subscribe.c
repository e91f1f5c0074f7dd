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
 * The lists of subscribers and of their subscriptions are changed by their own loop under its
 * list_lock, since PUBSUB of any connection counts those of all loops. */
#include <stdlib.h>

#include "core/alloc.h"
#include "server/resp/commands.h"

enum {
    SUBSCRIPTIONS_MAX = 10000,
    CHANNEL_MAX = 4096,
    GLOB_STEPS = 100000, /* for one name; what takes longer does not match */
};

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
    mp__subscription *gone = c->subscriptions;

    if (gone) {
        (void)pthread_mutex_lock(&c->worker->list_lock);
        c->subscriptions = NULL;
        leave_worker(c);
        (void)pthread_mutex_unlock(&c->worker->list_lock);
    }
    while (gone) {
        mp__subscription *next = gone->next;

        mp__watch_leave_layers(c->worker->watch, &gone->points);
        (void)mp__free(gone);
        gone = next;
    }
    mp__tell_clear(c);
    c->subscription_count = c->message_count = 0;
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
    mp__resp_integer(out, c->subscription_count);
}

static mp__subscription **find(mp__connection *c, mp_str text, enum mp__subscription_kind kind)
{
    mp__subscription **link = &c->subscriptions;

    while (*link &&
           ((*link)->kind != kind || !mp_str_equal(mp_str_new((*link)->text, (*link)->size), text)))
        link = &(*link)->next;
    return link;
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

static mp_str before_wildcard(mp_str glob)
{
    static const char wild[] = {'*', '?', '[', '\\'};
    size_t n = 0;

    while (n < glob.size && !memchr(wild, glob.data[n], sizeof(wild)))
        n++;
    return mp_str_new(glob.data, n);
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
    mp_str text = mp_str_new(s->text, s->size), environment, rest;
    bool is_keyspace, is_channel;

    *ret_exact = false;
    *ret_prefix = text;
    if (s->kind == MP__SUBSCRIPTION_PREFIX)
        return true;
    *ret_prefix = mp_str_new("", 0);
    is_channel =
        split_channel(c->worker, s->kind == MP__SUBSCRIPTION_CHANNEL ? text : before_wildcard(text),
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

/* 0, also when it is subscribed already; else why not. */
static int subscribe_one(mp__connection *c, mp_str text, enum mp__subscription_kind kind)
{
    mp__subscription **link = find(c, text, kind), *s;
    int rc;

    if (*link)
        return 0;
    if (c->subscription_count >= SUBSCRIPTIONS_MAX || text.size > CHANNEL_MAX)
        return MP_ELIMIT;
    s = mp__malloc(sizeof(*s) + text.size);
    if (!s)
        return MP_ENOMEM;
    *s = (mp__subscription){.kind = kind, .size = (uint16_t)text.size};
    if (text.size)
        memcpy(s->text, text.data, text.size);
    c->waiter.tell = mp__tell_changes;
    rc = join(c, s);
    if (rc) {
        (void)mp__free(s);
        return rc;
    }
    (void)pthread_mutex_lock(&c->worker->list_lock);
    *link = s;
    if (c->subscription_count++ == 0) {
        c->next_subscriber = c->worker->subscribers;
        c->worker->subscribers = c;
    }
    (void)pthread_mutex_unlock(&c->worker->list_lock);
    c->message_count += kind != MP__SUBSCRIPTION_PREFIX;
    return 0;
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

static void unsubscribe_one(mp__connection *c, mp_str text, enum mp__subscription_kind kind)
{
    mp__subscription **link = find(c, text, kind), *gone = *link;

    if (gone) {
        (void)pthread_mutex_lock(&c->worker->list_lock);
        *link = gone->next;
        if (--c->subscription_count == 0)
            leave_worker(c);
        (void)pthread_mutex_unlock(&c->worker->list_lock);
        mp__watch_leave_layers(c->worker->watch, &gone->points);
        c->message_count -= kind != MP__SUBSCRIPTION_PREFIX;
        if (c->subscription_count == 0)
            mp__tell_clear(c);
    }
    if (kind != MP__SUBSCRIPTION_PREFIX)
        confirm(c, kind == MP__SUBSCRIPTION_GLOB ? "punsubscribe" : "unsubscribe", text, true);
    (void)mp__free(gone);
}

static mp__subscription *first_of(mp__connection *c, enum mp__subscription_kind kind)
{
    mp__subscription *s = c->subscriptions;

    while (s && s->kind != kind)
        s = s->next;
    return s;
}

void mp__cmd_unsubscribe(MP__COMMAND_ARGS)
{
    enum mp__subscription_kind kind = kind_of(arguments[0]);
    mp__subscription *s;

    for (uint32_t i = 1; i < count; i++)
        unsubscribe_one(c, arguments[i], kind);
    if (count == 1 && !first_of(c, kind))
        confirm(c, kind == MP__SUBSCRIPTION_GLOB ? "punsubscribe" : "unsubscribe",
                mp_str_new("", 0), false);
    while (count == 1 && (s = first_of(c, kind)))
        unsubscribe_one(c, mp_str_new(s->text, s->size), kind);
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
    mp__subscription *s;

    (void)arguments;
    (void)count;
    while ((s = first_of(c, MP__SUBSCRIPTION_PREFIX)))
        unsubscribe_one(c, mp_str_new(s->text, s->size), MP__SUBSCRIPTION_PREFIX);
    confirm(c, "mp.unwatch", mp_str_new("", 0), false);
    mp__connection_show(c);
}

/* ---- PUBSUB: over the connections of all workers ---- */

static int64_t subscribers_of(mp__server *server, mp_str channel)
{
    int64_t n = 0;

    for (unsigned i = 0; i < server->worker_count; i++) {
        mp__worker_loop *worker = &server->workers[i];

        (void)pthread_mutex_lock(&worker->list_lock);
        for (mp__connection *c = worker->subscribers; c; c = c->next_subscriber)
            n += *find(c, channel, MP__SUBSCRIPTION_CHANNEL) != NULL;
        (void)pthread_mutex_unlock(&worker->list_lock);
    }
    return n;
}

/* What is subscribed to: copies, for the lists are others'. */
typedef struct names {
    mp_str *items;
    size_t count, capacity;
} names;

static void names_done(names *n)
{
    for (size_t i = 0; i < n->count; i++)
        (void)mp__free((void *)(uintptr_t)n->items[i].data);
    (void)mp__free(n->items);
}

static int names_add(names *n, const mp__subscription *s)
{
    char *text;

    if (mp__grow(&n->items, n->count, &n->capacity, sizeof(*n->items)) != 0)
        return MP_ENOMEM;
    text = mp__str_dup(mp_str_new(s->text, s->size));
    if (!text)
        return MP_ENOMEM;
    n->items[n->count++] = mp_str_new(text, s->size);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    const mp_str *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);

    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* Each name of @kind that fits @pattern, once. MP_ENOMEM. */
static int names_gather(mp__server *server, enum mp__subscription_kind kind, mp_str pattern,
                        names *n)
{
    size_t kept = 0;
    int rc = 0;

    for (unsigned i = 0; i < server->worker_count; i++) {
        mp__worker_loop *worker = &server->workers[i];

        (void)pthread_mutex_lock(&worker->list_lock);
        for (mp__connection *c = worker->subscribers; c; c = c->next_subscriber)
            for (mp__subscription *s = c->subscriptions; s && rc == 0; s = s->next)
                if (s->kind == kind &&
                    mp__glob_match(pattern, mp_str_new(s->text, s->size), GLOB_STEPS))
                    rc = names_add(n, s);
        (void)pthread_mutex_unlock(&worker->list_lock);
    }
    if (n->count)
        qsort(n->items, n->count, sizeof(*n->items), by_text);
    for (size_t i = 0; i < n->count; i++)
        if (kept && mp_str_equal(n->items[kept - 1], n->items[i]))
            (void)mp__free((void *)(uintptr_t)n->items[i].data);
        else
            n->items[kept++] = n->items[i];
    n->count = kept;
    return rc;
}

static void reply_names(mp__connection *c, enum mp__subscription_kind kind, mp_str pattern)
{
    mp__buf *out = mp__connection_out(c);
    names n = {0};

    if (names_gather(c->worker->server, kind, pattern, &n) != 0) {
        mp__resp_error(out, "OOM", "out of memory");
    } else if (kind == MP__SUBSCRIPTION_GLOB) {
        mp__resp_integer(out, (int64_t)n.count);
    } else {
        mp__resp_array(out, n.count);
        for (size_t i = 0; i < n.count; i++)
            mp__resp_bulk(out, n.items[i]);
    }
    names_done(&n);
}

/* PUBSUB CHANNELS [glob] | NUMSUB [channel ...] | NUMPAT */
void mp__cmd_pubsub(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);
    mp_str what = arguments[1];

    if (mp__word_is(what, "NUMSUB")) {
        mp__resp_array(out, (count - 2) * 2);
        for (uint32_t i = 2; i < count; i++) {
            mp__resp_bulk(out, arguments[i]);
            mp__resp_integer(out, subscribers_of(c->worker->server, arguments[i]));
        }
    } else if (mp__word_is(what, "NUMPAT") && count == 2) {
        reply_names(c, MP__SUBSCRIPTION_GLOB, MP_STR("*"));
    } else if (mp__word_is(what, "CHANNELS") && count <= 3) {
        reply_names(c, MP__SUBSCRIPTION_CHANNEL, count == 3 ? arguments[2] : MP_STR("*"));
    } else {
        mp__resp_error(out, "ERR",
                       "unknown subcommand or wrong number of arguments for '%.*s'. Try "
                       "PUBSUB CHANNELS, NUMSUB or NUMPAT.",
                       (int)(what.size > 64 ? 64 : what.size), what.data);
    }
}
