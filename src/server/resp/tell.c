/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the subscriptions of a connection of changes, in the order of the commits.
 *
 * What a scope sees of a change in one of its layers depends on the others. Where memory does not
 * have them they are read first, and what comes meanwhile waits behind it. */
#include <inttypes.h>
#include <stdio.h>

#include "server/resp/commands.h"

enum {
    DESCRIBED_MAX = 16,        /* subscriptions of each kind */
    UNREAD_MAX = 64 * 1024,    /* of changes; who reads more slowly is told to look again */
    WAITING_MAX = 1024 * 1024, /* of changes behind a read; with more the read is not waited for */
    /* Of matching globs, in steps of some 2 ns: each glob that begins as the channel does, all of
     * one connection for one change, those of all connections of a loop in one second, and what a
     * connection may take of that whatever others do. */
    GLOB_STEPS = 10,
    CHANGE_STEPS = 5000000,
    SECOND_STEPS = 100000000,
    SHARE_LEAST = SECOND_STEPS / 64,
};
#define SECOND_NS 1000000000u

/* What was read of a change for one scope. */
typedef struct answer {
    struct answer *next;
    enum mp__watch_seen seen;
    size_t scope_size;
    char scope[];
} answer;

/* A change that is being told. */
struct mp__telling {
    mp__telling *next;
    mp__event event;
    unsigned database; /* its next; those before have heard */
    bool unread;       /* tell it by itself, whatever is not in memory */
    size_t steps;      /* that matching globs may still take */
    mp__buf *shared;   /* its frame, of this connection's version; NULL: it is made for this one */
    answer *answers;
    size_t bytes;
    char address[]; /* the event's, if it waits; then its entry is a reference */
};

/* A read that the first of what waits needs. */
struct mp__tell_read {
    mp__read read;
    mp__connection *connection; /* NULL: nobody waits for it any more */
    mp__worker_loop *worker;
    mp__identity identity; /* who asks: the connection may log in anew meanwhile */
    answer *answer;        /* to be filled in */
    char text[];           /* of the address */
};

/* ---- words ---- */

static const char *const words[] = {
    [MP__EVENT_PUT] = "set",
    [MP__EVENT_DELETE] = "del",
    [MP__EVENT_EXPIRED] = "expired",
    [MP__EVENT_RESET] = "reset",
};

/* As a word, what @scope sees of a change, or NULL: nothing. False: that must be read first, at
 * view->address. */
static bool word_in(mp__connection *c, const mp__telling *t, mp_str scope, const char **ret_word,
                    mp__watch_view *view)
{
    const mp__event *event = &t->event;
    enum mp__watch_what what = mp__watch_what_of(event);
    enum mp__watch_seen seen = MP__SEEN_PUT;
    const answer *a = t->answers;

    while (a && !mp_str_equal(mp_str_new(a->scope, a->scope_size), scope))
        a = a->next;
    if (a) {
        seen = a->seen;
    } else if (!mp__watch_is_plain(scope, event)) {
        seen = mp__watch_see(c->worker->server->manager, scope, event->address, what, view);
        (void)mp__entry_unref(view->entry);
        if (seen == MP__SEEN_UNKNOWN && !t->unread)
            return false;
    }
    if (seen == MP__SEEN_UNKNOWN)
        seen = what == MP__WAS_PUT ? MP__SEEN_PUT : MP__SEEN_DELETE;
    *ret_word = words[MP__EVENT_PUT];
    if (seen == MP__SEEN_NOTHING)
        *ret_word = NULL;
    else if (seen == MP__SEEN_DELETE)
        *ret_word = words[event->kind == MP__EVENT_PUT ? MP__EVENT_DELETE : event->kind];
    return true;
}

/* The words of Redis for a change that readers see as @what: a value written with a time is told
 * with two, a time that alone was set or taken away with a word of its own. Of a change that nobody
 * here made a time that the value has is told, too. */
static size_t words_of(const mp__event *event, const char *what, const char *ret_words[2])
{
    mp__record record = {0};

    ret_words[0] = what;
    ret_words[1] = "expire";
    if (what != words[MP__EVENT_PUT] || event->kind != MP__EVENT_PUT)
        return 1;
    switch (event->expiry) {
    case MP__EXPIRY_KEPT:
        return 1;
    case MP__EXPIRY_SET:
        return 2;
    case MP__EXPIRY_ONLY_SET:
        ret_words[0] = "expire";
        return 1;
    case MP__EXPIRY_ONLY_CLEARED:
        ret_words[0] = "persist";
        return 1;
    case MP__EXPIRY_UNTOLD:
        break;
    }
    if (event->entry)
        mp__entry_record(event->entry, &record);
    return record.expires_ms ? 2 : 1;
}

/* ---- messages ---- */

static bool hears_messages(const mp__connection *c)
{
    return c->subscriptions.first[MP__SUBSCRIPTION_CHANNEL] ||
           c->subscriptions.first[MP__SUBSCRIPTION_GLOB];
}

static const mp__subscription *subscription_to(const mp__connection *c, mp_str channel)
{
    return mp__subscriptions_find(&c->subscriptions, c->worker->server->channels,
                                  MP__SUBSCRIPTION_CHANNEL, channel);
}

/* Count @steps; whether there are no more for the connection: the second of the loop is used up,
 * and it took more than its share of it. So the many cannot take more than one may, and who takes
 * little hears everything whatever others do. */
static bool spend(mp__connection *c, size_t steps)
{
    mp__worker_loop *worker = c->worker;
    size_t share;

    if (c->globs_spent == 0 && steps)
        worker->globs_clients++;
    c->globs_spent += steps;
    worker->globs_spent += steps;
    if (worker->globs_spent <= SECOND_STEPS || c->globs_spent <= SHARE_LEAST)
        return false;
    share = SECOND_STEPS / worker->globs_clients;
    return c->globs_spent > share;
}

/* The next after @s (NULL: the first) of the globs that fit @channel, or NULL. Matching takes steps
 * of the change and of the second; with the last of either the connection is overworked, and hears
 * nothing any more. */
static const mp__subscription *next_glob(mp__connection *c, mp__telling *t,
                                         const mp__subscription *s, mp_str channel)
{
    for (;;) {
        size_t before = t->steps;
        bool fits = false;

        s = mp__subscriptions_next_glob(&c->subscriptions, s, channel, &t->steps);
        if (s) {
            t->steps -= t->steps < GLOB_STEPS ? t->steps : GLOB_STEPS;
            fits = mp__glob_match_within(s->text, channel, &t->steps);
        }
        c->is_overworked = spend(c, before - t->steps) || t->steps == 0;
        if (c->is_overworked)
            return NULL;
        if (fits || !s)
            return s;
    }
}

static void push_message(mp__connection *c, mp_str glob, mp_str channel, mp_str message)
{
    mp__buf *out = mp__connection_out(c);

    mp__resp_push(out, glob.data ? 4 : 3, c->version);
    mp__resp_bulk(out, glob.data ? MP_STR("pmessage") : MP_STR("message"));
    if (glob.data)
        mp__resp_bulk(out, glob);
    mp__resp_bulk(out, channel);
    mp__resp_bulk(out, message);
}

static void deliver(mp__connection *c, mp__telling *t, mp_str channel, mp_str message)
{
    const mp__subscription *s = NULL;

    if (subscription_to(c, channel))
        push_message(c, (mp_str){0}, channel, message);
    while ((s = next_glob(c, t, s, channel)) != NULL)
        push_message(c, s->text, channel, message);
}

/* "__keyspace@N__:name" and "__keyevent@N__:word". */
typedef struct channels {
    char keyspace[64 + MP__ADDRESS_MAX], keyevent[64];
    size_t keyspace_size;
} channels;

static void name_keyspace(channels *ch, unsigned database, mp_str name)
{
    ch->keyspace_size = (size_t)snprintf(ch->keyspace, sizeof(ch->keyspace), "__keyspace@%u__:%.*s",
                                         database, (int)name.size, name.data);
}

static void name_keyevent(channels *ch, unsigned database, const char *word)
{
    (void)snprintf(ch->keyevent, sizeof(ch->keyevent), "__keyevent@%u__:%s", database, word);
}

static bool listens(mp__connection *c, mp__telling *t, mp_str channel)
{
    return subscription_to(c, channel) || next_glob(c, t, NULL, channel);
}

/* Whether anything that may be said of @name concerns the connection: nothing is read for others.
 */
static bool listens_in(mp__connection *c, mp__telling *t, channels *ch, unsigned database)
{
    static const char *const said[] = {"set", "del", "expired", "expire", "persist"};

    if (listens(c, t, mp_str_new(ch->keyspace, ch->keyspace_size)))
        return true;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        name_keyevent(ch, database, said[i]);
        if (listens(c, t, mp_str_of(ch->keyevent)))
            return true;
    }
    return false;
}

/* What channels carry, in each database whose readers see the change; nothing where the event has
 * no channel: a Redis channel has no word for "look again", and no number for an environment that
 * has none. False: as word_in(). */
static bool tell_messages(mp__connection *c, mp__telling *t, mp__watch_view *view)
{
    mp_str environment, name = mp__address_name(t->event.address);
    const char *what, *said[2];
    channels ch;

    for (; !c->is_overworked; t->database++) {
        unsigned database = t->database;
        size_t count;

        environment = mp__manager_environment(c->worker->server->manager, database);
        if (environment.size == 0)
            return true;
        name_keyspace(&ch, database, name);
        if (!word_in(c, t, environment, &what, view)) {
            if (listens_in(c, t, &ch, database))
                return false;
            continue;
        }
        count = what ? words_of(&t->event, what, said) : 0;
        for (size_t i = 0; i < count; i++) {
            name_keyevent(&ch, database, said[i]);
            deliver(c, t, mp_str_new(ch.keyspace, ch.keyspace_size), mp_str_of(said[i]));
            deliver(c, t, mp_str_of(ch.keyevent), name);
        }
    }
    return true;
}

/* Whether @address, in whatever layer, is a key that begins as @prefix does in its scope. */
static bool fits(const mp__subscription *prefix, mp_str address)
{
    mp_str text = prefix->text;
    size_t from = mp__scope_size(address), skip = mp__scope_size(text), size = text.size - skip;

    return address.size - from >= size && memcmp(address.data + from, text.data + skip, size) == 0;
}

static void write_change(mp__buf *out, int version, mp_str name, const char *what,
                         uint64_t revision)
{
    mp__resp_push(out, 4, version);
    mp__resp_bulk(out, MP_STR("change"));
    mp__resp_bulk(out, name);
    mp__resp_bulk(out, mp_str_of(what));
    mp__resp_integer(out, (int64_t)revision);
}

/* Most see a change as it was made: the first of them makes the frame for all. */
static void push_change(mp__connection *c, const mp__telling *t, const char *what)
{
    const mp__event *event = &t->event;
    mp_str name = mp__address_name(event->address);
    mp__buf *shared = what == words[event->kind] ? t->shared : NULL;

    if (shared && shared->size == 0)
        write_change(shared, c->version, name, what, event->revision);
    if (shared && shared->error == 0)
        (void)mp__buf_add_str(mp__connection_out(c), mp__buf_str(shared));
    else
        write_change(mp__connection_out(c), c->version, name, what, event->revision);
}

/* To those who watch by prefix; once to each, however many of its prefixes fit. A reset is about
 * every key. False: as word_in(). */
static bool tell_prefixes(mp__connection *c, const mp__telling *t, mp__watch_view *view)
{
    const mp__event *event = &t->event;

    for (const mp__subscription *s = c->subscriptions.first[MP__SUBSCRIPTION_PREFIX]; s;
         s = s->next) {
        mp_str text = s->text;
        const char *what;

        if (event->kind == MP__EVENT_RESET) {
            write_change(mp__connection_out(c), c->version, mp_str_new("", 0), words[event->kind],
                         event->revision);
            return true;
        }
        if (!fits(s, event->address))
            continue;
        if (!word_in(c, t, mp_str_new(text.data, mp__scope_size(text)), &what, view))
            return false;
        if (what) {
            push_change(c, t, what);
            return true;
        }
    }
    return true;
}

/* A new second, a new budget: also while what waited is told, which may be much. */
static void begin_second(mp__connection *c)
{
    mp__worker_loop *worker = c->worker;

    if (worker->tick_ns - worker->globs_since_ns >= SECOND_NS) {
        worker->globs_since_ns = worker->tick_ns;
        worker->globs_spent = 0;
        worker->globs_clients = 0;
    }
    if (c->globs_since_ns == worker->globs_since_ns)
        return;
    c->globs_since_ns = worker->globs_since_ns;
    c->globs_spent = 0;
}

/* False: view->address must be read first; call it again then. */
static bool tell(mp__connection *c, mp__telling *t, mp__watch_view *view)
{
    begin_second(c);
    if (hears_messages(c) && t->event.kind != MP__EVENT_RESET && !tell_messages(c, t, view))
        return false;
    return tell_prefixes(c, t, view);
}

/* ---- what waits ---- */

static void telling_free(mp__telling *t)
{
    while (t->answers) {
        answer *next = t->answers->next;

        (void)mp__free(t->answers);
        t->answers = next;
    }
    (void)mp__entry_unref(t->event.entry);
    (void)mp__free(t);
}

static void pop(mp__connection *c)
{
    mp__telling *t = c->telling;

    c->telling = t->next;
    c->telling_bytes -= t->bytes;
    telling_free(t);
}

/* The read, if any, ends by itself. */
static void leave_read(mp__connection *c)
{
    if (!c->tell_read)
        return;
    c->tell_read->connection = NULL;
    c->tell_read = NULL;
    atomic_fetch_add(&c->worker->server->answers_due, 1);
}

void mp__tell_clear(mp__connection *c)
{
    leave_read(c);
    while (c->telling)
        pop(c);
}

/* Behind what waits already. False: no memory. */
static bool wait_with(mp__connection *c, const mp__telling *t)
{
    size_t bytes = sizeof(*t) + t->event.address.size;
    mp__telling *copy = mp__malloc(bytes), **last = &c->telling;

    if (!copy)
        return false;
    *copy = *t;
    copy->next = NULL;
    copy->shared = NULL;
    copy->bytes = bytes + (t->event.entry ? t->event.entry->blob.pub.size : 0);
    if (t->event.address.size)
        memcpy(copy->address, t->event.address.data, t->event.address.size);
    copy->event.address = mp_str_new(copy->address, t->event.address.size);
    if (copy->event.entry)
        (void)mp__entry_ref(copy->event.entry);
    if (c->telling)
        last = &c->last_telling->next;
    *last = c->last_telling = copy;
    c->telling_bytes += copy->bytes;
    return true;
}

static void go_on(mp__connection *c);

/* What the read says of the change that waits for it. */
static void take_answer(mp__tell_read *r)
{
    mp__connection *c = r->connection;
    mp__telling *t = c->telling;
    answer *a = r->answer;

    a->seen = mp__watch_judge_read(c->worker->server->manager, mp_str_new(a->scope, a->scope_size),
                                   t->event.address, mp__watch_what_of(&t->event), &r->read);
    a->next = t->answers;
    t->answers = a;
    r->answer = NULL;
    c->tell_read = NULL;
}

static void read_free(mp__tell_read *r)
{
    (void)mp__entry_unref(r->read.entry);
    (void)mp__free(r->answer);
    (void)mp__free(r);
}

/* What it took of the second is no reason to end others, who take a fair share. */
void mp__tell_leaves(mp__connection *c)
{
    mp__worker_loop *worker = c->worker;

    if (c->globs_since_ns == worker->globs_since_ns && c->globs_spent) {
        worker->globs_spent -= c->globs_spent;
        worker->globs_clients--;
    }
    c->globs_spent = 0;
}

/* A channel has no word for what was left out, and a message must not be missing in silence. */
static void dismiss(mp__connection *c)
{
    static const char why[] = "its patterns take too long to match";

    mp__worker_loop *worker = c->worker;

    mp__monitor_count(worker->server->monitor, MP__EVENT_CONNECTIONS_CUT, 1);
    mp__log(worker->server->log, MP__LOG_INFO, "server", "client-cut", "id=%" PRIu64 " peer=%s: %s",
            c->id, c->peer, why);
    mp__tell_leaves(c);
    mp__subscriptions_clear(c);
    mp__resp_error(mp__connection_out(c), "ERR",
                   "to match the patterns of this connection takes more than %d steps for one "
                   "change, or more than its share of the %d that all have in a second; SUBSCRIBE "
                   "to channels, or MP.WATCH PREFIX",
                   CHANGE_STEPS, SECOND_STEPS);
    mp__connection_refuse(c);
    mp__connection_push(c);
}

/* What was told goes out. */
static void push(mp__connection *c)
{
    mp__connection_push(c);
    if (c->is_overworked && !c->closed)
        dismiss(c);
}

static void read_done(mp__read *read)
{
    mp__tell_read *r = read->context;
    mp__connection *c = r->connection;

    if (c)
        take_answer(r);
    else
        atomic_fetch_sub(&r->worker->server->answers_due, 1);
    read_free(r);
    if (c) {
        go_on(c);
        push(c);
    }
}

/* Read what the first of what waits needs. False: no memory. */
static bool ask(mp__connection *c, mp_str address)
{
    size_t scope_size = mp__scope_size(address);
    mp__tell_read *r = mp__calloc(1, sizeof(*r) + address.size);
    answer *a = mp__calloc(1, sizeof(*a) + scope_size);

    if (!r || !a) {
        (void)mp__free(r);
        (void)mp__free(a);
        return false;
    }
    a->scope_size = scope_size;
    memcpy(a->scope, address.data, scope_size);
    memcpy(r->text, address.data, address.size);
    r->connection = c;
    r->worker = c->worker;
    r->identity = c->identity;
    r->answer = a;
    r->read = (mp__read){.loop = c->worker->loop,
                         .address = mp_str_new(r->text, address.size),
                         .identity = &r->identity,
                         .level = MP__LEVEL_EVENTUAL,
                         .age_max_ms = -1,
                         .done = read_done,
                         .context = r};
    r->read.hash = mp__cache_hash(c->worker->hasher, r->read.address);
    c->tell_read = r;
    if (mp__read_start(c->worker->server->manager, &r->read)) {
        take_answer(r);
        read_free(r);
    }
    return true;
}

/* A channel has no word for what was left out: its subscribers are cut at resp.output_hard, as
 * Redis does. Who only watches prefixes is told to look again, once he reads. */
static bool lapses(mp__connection *c)
{
    if (!c->lapsed && !hears_messages(c) && mp__stream_queued(c->stream) > UNREAD_MAX) {
        c->lapsed = true;
        mp__tell_clear(c);
    }
    return c->lapsed;
}

/* Tell what waits, as far as it is known. */
static void go_on(mp__connection *c)
{
    while (c->telling && !c->tell_read && !lapses(c) && !c->is_overworked) {
        mp__telling *t = c->telling;
        mp__watch_view view;

        if (tell(c, t, &view))
            pop(c);
        else if (!ask(c, view.address))
            t->unread = true;
    }
}

/* The read takes longer than what comes can wait: tell all of it as it is by itself. */
static void hurry(mp__connection *c)
{
    leave_read(c);
    for (mp__telling *t = c->telling; t; t = t->next)
        t->unread = true;
    go_on(c);
}

static void tell_in_turn(mp__connection *c, mp__watch_group *group, size_t i)
{
    enum mp__watch_frame frame = c->version == 3 ? MP__FRAME_RESP3 : MP__FRAME_RESP2;
    mp__telling t = {
        .event = group->events[i], .steps = CHANGE_STEPS, .shared = &group->frames[i][frame]};
    __attribute__((uninitialized)) mp__watch_view view; /* it is large, and seldom looked at */

    if (c->telling_bytes > WAITING_MAX)
        hurry(c);
    if (!c->telling && tell(c, &t, &view))
        return;
    if (wait_with(c, &t)) {
        go_on(c);
        return;
    }
    hurry(c);
    t.unread = true;
    (void)tell(c, &t, &view);
}

/* ---- from outside ---- */

void mp__tell_changes(mp__waiter *waiter, mp__watch_group *group, unsigned which)
{
    mp__connection *c = (mp__connection *)((char *)waiter - offsetof(mp__connection, waiter));

    for (size_t i = 0; i < group->count && !lapses(c) && !c->is_overworked; i++) {
        const mp__event *event = &group->events[i];

        if ((which & 1u << i) && event->kind != MP__EVENT_STALE && event->kind != MP__EVENT_FRESH)
            tell_in_turn(c, group, i);
    }
    push(c);
}

static void describe_watches(const mp__subscriptions *set, mp__buf *json)
{
    bool any = false;

    mp__json_key(json, "watches");
    mp__json_begin(json, '[');
    for (int kind = 0; kind < MP__SUBSCRIPTION_KINDS; kind++) {
        const mp__subscription *s = set->first[kind];

        for (int n = 0; s && n < DESCRIBED_MAX; n++, s = s->next) {
            if (any)
                (void)mp__buf_add_char(json, ',');
            any = true;
            mp__json_string(json, s->text);
        }
    }
    mp__json_end(json, ']');
    mp__json_add_u64(json, "watches_count", set->count);
}

void mp__tell_describe(mp__waiter *waiter, mp__buf *json)
{
    const mp__connection *c =
        (const mp__connection *)((char *)waiter - offsetof(mp__connection, waiter));
    uint64_t first = c->telling ? c->telling->event.revision : 0;

    mp__json_add_text(json, "protocol", "resp");
    mp__json_add_text(json, "client", c->peer);
    mp__json_add_u64(json, "id", c->id);
    if (c->name[0])
        mp__json_add_text(json, "name", c->name);
    describe_watches(&c->subscriptions, json);
    mp__watch_describe(json, mp__manager_epoch(c->worker->server->manager),
                       c->lapsed    ? "lapsed"
                       : c->telling ? "slow"
                                    : "live",
                       !c->lapsed && (!c->telling || first),
                       c->telling ? first - 1 : mp__watch_revision(c->worker->watch));
}

void mp__subscriptions_resume(mp__connection *c)
{
    mp__telling t = {.event = {.kind = MP__EVENT_RESET,
                               .address = mp_str_new("", 0),
                               .revision = mp__watch_revision(c->worker->watch)}};
    mp__watch_view view;

    c->lapsed = false;
    (void)tell(c, &t, &view);
    mp__connection_push(c);
}
