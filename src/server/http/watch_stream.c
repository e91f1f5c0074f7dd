/* SPDX-License-Identifier: Apache-2.0 */
/* One watcher's way: catching up from the history, then live; what waits for a slow reader.
 *
 * No change is lost or told twice between the two: the watcher has joined before the history is
 * looked at, so each change is in the page, or comes live behind it, or both, and then its revision
 * is not above the position that the page brought. */
#include <errno.h>

#include "server/http/watch.h"

/* Behind: pages of the history are under way or being sent. */
struct mp__catching {
    mp__query query;
    mp__identity identity; /* who asks: the exchange may go meanwhile */
    bool under_way, canceled;
    size_t sent; /* of the query's items */
    mp__http_watcher *watcher;
    char prefixes[]; /* of the layers */
};

enum { RETRY_MS = 1000, STALE_KEYS_NAMED = 16 };

static enum mp__watch_frame frame_of(const mp__http_watcher *w)
{
    switch (w->kind) {
    case MP__WATCH_SSE:
        return MP__FRAME_SSE;
    case MP__WATCH_WEBSOCKET:
        return MP__FRAME_WEBSOCKET;
    case MP__WATCH_LINES:
    case MP__WATCH_POLL:
        break;
    }
    return MP__FRAME_LINE;
}

static void count(_Atomic uint64_t *counter)
{
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void count_coalesced(mp__http_watcher *w, size_t n)
{
    (void)atomic_fetch_add_explicit(&w->worker->server->watch_coalesced, n, memory_order_relaxed);
}

static bool is_blocked(const mp__http_watcher *w)
{
    return w->asking || (w->kind != MP__WATCH_POLL && mp__http_stream_unsent(w->x) > 0);
}

/* The socket has what stands in @buf, or keeps it; a stream that breaks is told of from the loop.
 */
static void send(mp__http_watcher *w, mp__buf *buf)
{
    if (buf->size)
        (void)mp__http_stream_write(w->x, buf->data, buf->size);
    mp__buf_done(buf);
}

static void send_message(mp__http_watcher *w, const mp__watch_message *message)
{
    mp__buf buf = MP__BUF_INIT;

    if (w->kind == MP__WATCH_POLL)
        return;
    mp__watch_frame(&buf, frame_of(w), mp__watch_epoch(w), message);
    send(w, &buf);
}

/* ---- what the watcher's scope sees of a change ---- */

/* The message of a change of @address in some layer: false when nothing is seen of it. Afterwards
 * give back view->entry. *ret_own: the value is what was put, and is the caller's to fill in. */
static bool see(mp__http_watcher *w, mp_str address, uint64_t revision, enum mp__watch_what what,
                mp__watch_view *view, mp__watch_message *message, bool *ret_own)
{
    enum mp__watch_seen seen =
        mp__watch_see(w->worker->server->manager, w->scope, address, what, view);

    *message = (mp__watch_message){.word = seen == MP__SEEN_DELETE ? MP__WORD_DELETE : MP__WORD_PUT,
                                   .address = view->address,
                                   .revision = revision};
    *ret_own = seen == MP__SEEN_PUT;
    if (seen == MP__SEEN_BEHIND)
        mp__watch_message_of_entry(view->entry, message);
    return seen != MP__SEEN_NOTHING;
}

static bool see_event(mp__http_watcher *w, const mp__event *event, mp__watch_view *view,
                      mp__watch_message *message)
{
    bool own;

    if (!see(w, event->address, event->revision, mp__watch_what_of(event), view, message, &own))
        return false;
    if (own && event->entry) {
        (void)mp__entry_unref(view->entry);
        view->entry = mp__entry_ref(event->entry);
        mp__watch_message_of_entry(view->entry, message);
    }
    return true;
}

/* The same of the history. */
static bool see_item(mp__http_watcher *w, const mp__list_item *item, mp__watch_view *view,
                     mp__watch_message *message)
{
    mp_str scope = mp_str_new(item->address.data, mp__scope_size(item->address));
    enum mp__watch_what what = MP__WAS_PUT;
    bool own = true;

    if (item->deleted)
        what = MP__WAS_DELETED;
    else if (mp_str_equal(item->media_type, MP_STR(MP__MEDIA_MASK)))
        what = MP__WAS_MASKED;
    view->entry = NULL;
    view->address = item->address;
    if ((what != MP__WAS_PUT || !mp_str_equal(scope, w->scope)) &&
        !see(w, item->address, item->revision, what, view, message, &own))
        return false;
    if (own) {
        mp__watch_message_of_item(item, message);
        message->address = view->address;
    }
    return true;
}

/* ---- what waits ---- */

/* Keep @m until it can be told. What does not fit the history has, for who catches up; else a
 * reset stands for it, and for all that comes until it is told. */
static void wait_with(mp__http_watcher *w, const mp__watch_message *m, const mp__entry *entry)
{
    uint64_t hash = m->address.size ? mp__hash_str(w->worker->hash_key, m->address) : 0;

    if (w->waits.reset_due && mp__watch_is_about_keys(m->word)) {
        w->waits.reset_revision = m->revision;
        return;
    }
    if (w->overrun && mp__watch_is_about_keys(m->word))
        return;
    w->slow = w->slow && w->waits.first;
    if ((w->slow && !w->catching) || !mp__watch_is_about_keys(m->word))
        count_coalesced(w, mp__watch_pending_forget(&w->waits, m, hash));
    if (mp__watch_pending_add(&w->waits, m, hash, entry))
        return;
    if (!w->catching && !w->slow) {
        w->slow = true;
        count_coalesced(w, mp__watch_pending_forget_all(&w->waits));
        count_coalesced(w, mp__watch_pending_forget(&w->waits, m, hash));
        if (mp__watch_pending_add(&w->waits, m, hash, entry))
            return;
    }
    if (w->catching) {
        mp__watch_pending_clear(&w->waits);
        w->overrun = true;
        return;
    }
    /* what is about no change has no revision: the reset stands for all that was told up to now */
    mp__watch_pending_reset(&w->waits,
                            mp__watch_is_about_keys(m->word) ? m->revision
                                                             : mp__watch_revision(w->worker->watch),
                            "slow");
    count(&w->worker->server->watch_resets);
}

static void add_reset(mp__http_watcher *w, mp__buf *buf)
{
    mp__watch_message reset = {.word = MP__WORD_RESET,
                               .revision = w->waits.reset_revision,
                               .reason = w->waits.reset_reason};

    w->waits.reset_due = false;
    w->position = reset.revision;
    mp__watch_frame(buf, frame_of(w), mp__watch_epoch(w), &reset);
}

static void add_pending(mp__http_watcher *w, mp__watch_pending *p, mp__buf *buf)
{
    mp__watch_message *m = &p->message;

    if (p->entry)
        mp__watch_message_of_entry(p->entry, m);
    if (mp__watch_is_about_keys(m->word) && m->revision <= w->position)
        return; /* a page of the history had it */
    mp__watch_frame(buf, frame_of(w), mp__watch_epoch(w), m);
    if (m->revision > w->position)
        w->position = m->revision;
}

/* Send what waits, as long as the socket takes it. */
static void flush(mp__http_watcher *w)
{
    mp__watch_pending *p;

    while (!is_blocked(w) && mp__watch_pending_is_any(&w->waits)) {
        mp__buf buf = MP__BUF_INIT;

        if (w->waits.reset_due)
            add_reset(w, &buf);
        while (buf.size < MP__WATCH_UNSENT_MAX / 2 &&
               (p = mp__watch_pending_pop(&w->waits)) != NULL) {
            add_pending(w, p, &buf);
            (void)mp__watch_pending_free(p);
        }
        send(w, &buf);
    }
}

/* ---- answers of long polls ---- */

static void answer_reset(mp__http_watcher *w, const mp__watch_message *message)
{
    mp__buf events = MP__BUF_INIT;

    mp__watch_json(&events, mp__watch_epoch(w), message);
    mp__watch_poll_answer(w, mp__buf_str(&events), true);
    mp__buf_done(&events);
}

/* It has waited while it caught up: what came meanwhile is its answer. */
static void answer_pending(mp__http_watcher *w)
{
    mp__buf events = MP__BUF_INIT;
    mp__watch_pending *p;

    while ((p = mp__watch_pending_pop(&w->waits)) != NULL) {
        if (p->entry)
            mp__watch_message_of_entry(p->entry, &p->message);
        if (p->message.revision > w->position) {
            w->position = p->message.revision;
            mp__watch_json(&events, mp__watch_epoch(w), &p->message);
        }
        (void)mp__watch_pending_free(p);
    }
    if (events.size)
        mp__watch_poll_answer(w, mp__buf_str(&events), false);
    mp__buf_done(&events);
}

/* ---- catching up ---- */

static void look(mp__http_watcher *w);

static void catching_free(mp__catching *c)
{
    mp__query_done(&c->query);
    (void)mp__free(c);
}

static void go_live(mp__http_watcher *w, const mp__watch_message *first)
{
    if (w->catching)
        catching_free(w->catching);
    w->catching = NULL;
    w->overrun = false;
    if (w->kind == MP__WATCH_POLL) {
        if (first->word == MP__WORD_RESET)
            answer_reset(w, first);
        else
            answer_pending(w);
        return;
    }
    send_message(w, first);
    flush(w);
}

/* The history cannot say what was missed. */
static void reset(mp__http_watcher *w, const char *reason)
{
    mp__watch_message message = {
        .word = MP__WORD_RESET, .revision = mp__watch_revision(w->worker->watch), .reason = reason};

    w->position = message.revision;
    count(&w->worker->server->watch_resets);
    go_live(w, &message);
}

/* Send of the page what the socket takes. */
static void send_page(mp__http_watcher *w)
{
    mp__catching *c = w->catching;

    while (!is_blocked(w) && c->sent < c->query.count) {
        mp__buf buf = MP__BUF_INIT;

        while (buf.size < MP__WATCH_UNSENT_MAX / 2 && c->sent < c->query.count) {
            const mp__list_item *item = &c->query.items[c->sent++];
            mp__watch_message message;
            mp__watch_view view;

            if (see_item(w, item, &view, &message))
                mp__watch_frame(&buf, frame_of(w), mp__watch_epoch(w), &message);
            (void)mp__entry_unref(view.entry);
            w->position = item->revision;
        }
        send(w, &buf);
    }
}

/* False: nothing is seen of any of it. */
static bool answer_with_page(mp__http_watcher *w)
{
    const mp__query *query = &w->catching->query;
    mp__buf events = MP__BUF_INIT;
    bool answered;

    for (size_t i = 0; i < query->count; i++) {
        mp__watch_message message;
        mp__watch_view view;

        if (see_item(w, &query->items[i], &view, &message))
            mp__watch_json(&events, mp__watch_epoch(w), &message);
        (void)mp__entry_unref(view.entry);
    }
    w->position = query->next;
    answered = events.size > 0;
    w->catching->sent = query->count;
    if (answered)
        mp__watch_poll_answer(w, mp__buf_str(&events), false);
    mp__buf_done(&events);
    return answered;
}

/* The page is there, or the socket takes more of it. */
static void go_on(mp__http_watcher *w)
{
    mp__catching *c = w->catching;
    mp__watch_message sync = {.word = MP__WORD_SYNC};

    if (w->kind == MP__WATCH_POLL && c->query.count && answer_with_page(w))
        return;
    send_page(w);
    if (c->sent < c->query.count || is_blocked(w))
        return;
    w->position = c->query.next;
    if (c->query.next < c->query.as_of || w->overrun) {
        w->overrun = false;
        look(w);
        return;
    }
    sync.revision = w->position;
    go_live(w, &sync);
}

/* Whether it is certain that the history does not say it; anything else is asked again: a disk that
 * is full, an origin that is gone. */
static bool is_not_known(int status)
{
    return status == MP_EINVAL || status == MP_EUNKNOWN || status == MP_ECORRUPT ||
           status == MP_EUNSUPPORTED || status == MP_EDENIED;
}

static void looked(mp__query *query)
{
    mp__catching *c = query->context;
    mp__http_watcher *w = c->watcher;

    c->under_way = false;
    if (!w->x) {
        mp__watch_end(w);
    } else if (c->canceled) {
        catching_free(c);
        w->catching = NULL;
        w->overrun = false;
        flush(w);
    } else if (is_not_known(query->status)) {
        reset(w, query->status == MP_EINVAL ? "this position is not there yet"
                                            : "what changed since is not known any more");
    } else if (query->status) {
        mp__watch_hasten(w, RETRY_MS); /* also looked at when the origin is back */
    } else {
        go_on(w);
    }
}

/* The prefix in each layer of the scope. */
static void take_prefixes(mp__http_watcher *w, mp__catching *c)
{
    mp_str rest = mp_str_new(w->prefix.data + w->scope.size, w->prefix.size - w->scope.size);
    mp_str layers[MP__LAYERS_MAX];
    char *p = c->prefixes;

    _Static_assert((int)MP__LAYERS_MAX <= (int)MP__CHANGED_PREFIXES_MAX, "a prefix a layer");
    c->query.prefix_count = mp__watch_layers(w->worker->server->manager, w->scope, layers);
    for (size_t i = 0; i < c->query.prefix_count; i++) {
        memcpy(p, layers[i].data, layers[i].size);
        memcpy(p + layers[i].size, rest.data, rest.size);
        c->query.prefixes[i] = mp_str_new(p, layers[i].size + rest.size);
        p += layers[i].size + rest.size;
    }
}

/* Look at the history behind the position. */
static void look(mp__http_watcher *w)
{
    mp__catching *c = w->catching;

    mp__query_done(&c->query);
    c->sent = 0;
    c->query = (mp__query){
        .kind = MP__QUERY_CHANGED,
        .loop = w->worker->loop,
        .after = w->position,
        .limit = MP__WATCH_PAGE_RECORDS,
        .bytes_max = MP__WATCH_PAGE_BYTES,
        .value_max = MP__WATCH_VALUE_MAX,
        .done = looked,
        .context = c,
    };
    c->identity = w->x->identity;
    c->query.identity = &c->identity;
    take_prefixes(w, c);
    c->under_way = true;
    mp__query_start(w->worker->server->manager, &c->query);
}

static void catch_up(mp__http_watcher *w)
{
    w->catching =
        mp__calloc(1, sizeof(*w->catching) + MP__LAYERS_MAX * (MP__SCOPE_MAX + w->prefix.size));
    if (!w->catching) {
        reset(w, "out of memory");
        return;
    }
    w->catching->watcher = w;
    look(w);
}

/* ---- live ---- */

/* A message that does not wait its turn: of the origin's state, which is about now. */
static void tell_state(mp__http_watcher *w, mp__watch_group *group, size_t i)
{
    mp__watch_message message;
    mp__summary summary;

    if (w->kind == MP__WATCH_POLL)
        return;
    mp__watch_message_of_event(&group->events[i], &message);
    if (message.word == MP__WORD_STALE) {
        mp__manager_summary(w->worker->server->manager, &summary);
        message.reason = summary.text;
    }
    if (is_blocked(w)) {
        message.reason = NULL;
        wait_with(w, &message, NULL);
    } else {
        send_message(w, &message);
    }
}

static int is_the_same(void *context, mp_str address)
{
    mp_str *wanted = context;

    if (address.size == wanted->size)
        wanted->data = NULL;
    return 1; /* they come in order: it is the first, or there is none */
}

/* Whether another layer's value of @address, which is of the scope, is stale still. */
static bool is_stale_elsewhere(const mp__http_watcher *w, mp_str address)
{
    mp__manager *manager = w->worker->server->manager;
    mp_str rest = mp_str_new(address.data + w->scope.size, address.size - w->scope.size);
    mp_str layers[MP__LAYERS_MAX];
    size_t count = mp__watch_layers(manager, w->scope, layers);
    char text[MP__ADDRESS_MAX + MP__SCOPE_MAX];

    for (size_t i = 0; i < count; i++) {
        mp_str wanted = mp_str_new(text, layers[i].size + rest.size);

        memcpy(text, layers[i].data, layers[i].size);
        memcpy(text + layers[i].size, rest.data, rest.size);
        mp__manager_doubts(manager, wanted, is_the_same, &wanted);
        if (!wanted.data)
            return true;
    }
    return false;
}

/* The message of an event that says whether one key is stale: false when the scope does not see it.
 */
static bool see_state(mp__http_watcher *w, const mp__event *event, mp__watch_view *view,
                      mp__watch_message *message)
{
    mp__watch_message_of_event(event, message);
    if (event->is_prefix)
        return true;
    if (!mp__watch_shows(w->worker->server->manager, w->scope, event->address, view))
        return false;
    message->address = view->address;
    return event->kind == MP__EVENT_STALE || !is_stale_elsewhere(w, view->address);
}

/* The same of one key, whose file cannot be read, or can again, or of more than are named. */
static void tell_key_state(mp__http_watcher *w, const mp__event *event)
{
    mp__watch_message message;
    mp__watch_view view;

    if (w->kind == MP__WATCH_POLL || !see_state(w, event, &view, &message))
        return;
    if (is_blocked(w))
        wait_with(w, &message, NULL);
    else
        send_message(w, &message);
}

static void tell_reset(mp__http_watcher *w, const mp__event *event)
{
    static const char reason[] = "the origin was changed by others, or changes were missed";
    mp__watch_message message;

    mp__watch_message_of_event(event, &message);
    message.reason = reason;
    if (message.revision < w->position)
        message.revision = w->position;
    w->position = message.revision;
    if (w->kind == MP__WATCH_POLL) {
        answer_reset(w, &message);
        return;
    }
    mp__watch_pending_reset(&w->waits, message.revision, reason);
    if (w->catching && w->catching->under_way) {
        w->catching->canceled = true; /* goes on when it has ended */
        return;
    }
    if (w->catching)
        catching_free(w->catching);
    w->catching = NULL;
    w->overrun = false;
    flush(w);
}

/* The frame of an event, made by the first who wants it. */
static const mp__buf *frame(mp__http_watcher *w, mp__watch_group *group, size_t i)
{
    enum mp__watch_frame kind = frame_of(w);
    mp__buf *buf = &group->frames[i][kind];
    mp__watch_message message;

    if (buf->size == 0) {
        mp__watch_message_of_event(&group->events[i], &message);
        mp__watch_frame(buf, kind, mp__watch_epoch(w), &message);
    }
    return buf;
}

/* Live events gathered for one write: none as long as count and bytes are 0. */
typedef struct gathered {
    struct iovec parts[MP__EVENTS_TOGETHER];
    int count;
    size_t bytes;
} gathered;

static void send_gathered(mp__http_watcher *w, gathered *g)
{
    if (g->count)
        (void)mp__http_stream_write_parts(w->x, g->parts, g->count);
    g->count = 0;
    g->bytes = 0;
}

/* ---- values that are not in memory ---- */

struct mp__asking {
    mp__read read;
    mp__http_watcher *watcher;
    mp__identity identity;
    uint64_t revision;
    enum mp__watch_what what;
    mp_str changed;
    char text[]; /* of the address, and of changed */
};

static void answered(mp__asking *a)
{
    mp__http_watcher *w = a->watcher;
    const mp__entry *entry = a->read.entry;
    mp__watch_message message = {
        .word = MP__WORD_PUT, .address = a->read.address, .revision = a->revision};
    enum mp__watch_seen seen = MP__SEEN_UNKNOWN;

    w->asking = NULL;
    if (!w->x) {
        mp__watch_end(w);
    } else {
        if (entry && (a->read.status == 0 || a->read.status == MP_EABSENT))
            seen =
                mp__watch_judge(w->worker->server->manager, w->scope, a->changed, a->what, entry);
        else if (a->read.status == MP_EABSENT)
            seen = MP__SEEN_DELETE;
        if (seen == MP__SEEN_DELETE)
            message.word = MP__WORD_DELETE;
        else if (seen != MP__SEEN_UNKNOWN && entry->kind == MP__RECORD_VALUE)
            mp__watch_message_of_entry(entry, &message);
        if (seen != MP__SEEN_NOTHING && !w->waits.reset_due)
            send_message(w, &message);
        if (a->revision > w->position)
            w->position = a->revision;
        flush(w);
    }
    (void)mp__entry_unref(entry);
    (void)mp__free(a);
}

static void read_done(mp__read *read)
{
    answered(read->context);
}

/* Read what the scope has now, and tell it then; what comes meanwhile waits. False: no memory. */
static bool ask(mp__http_watcher *w, const mp__event *event, const mp__watch_view *view)
{
    mp__asking *a = mp__calloc(1, sizeof(*a) + view->address.size + event->address.size);

    if (!a)
        return false;
    memcpy(a->text, view->address.data, view->address.size);
    memcpy(a->text + view->address.size, event->address.data, event->address.size);
    a->watcher = w;
    a->identity = w->x->identity;
    a->revision = event->revision;
    a->what = mp__watch_what_of(event);
    a->changed = mp_str_new(a->text + view->address.size, event->address.size);
    a->read = (mp__read){.loop = w->worker->loop,
                         .address = mp_str_new(a->text, view->address.size),
                         .identity = &a->identity,
                         .level = MP__LEVEL_EVENTUAL,
                         .age_max_ms = -1,
                         .done = read_done,
                         .context = a};
    a->read.hash = mp__cache_hash(w->worker->hasher, a->read.address);
    w->asking = a;
    if (mp__read_start(w->worker->server->manager, &a->read))
        answered(a);
    return true;
}

/* A change that is no plain one: what the scope sees of it. */
static void tell_seen(mp__http_watcher *w, const mp__event *event)
{
    mp__watch_message message;
    mp__watch_view view;

    if (see_event(w, event, &view, &message)) {
        if (w->catching || mp__watch_pending_is_any(&w->waits) || is_blocked(w)) {
            wait_with(w, &message, message.has_value ? view.entry : NULL);
        } else if (message.word != MP__WORD_PUT || message.has_value || !ask(w, event, &view)) {
            send_message(w, &message);
            w->position = event->revision;
        }
    }
    (void)mp__entry_unref(view.entry);
}

static void tell_change(mp__http_watcher *w, mp__watch_group *group, size_t i, gathered *g)
{
    const mp__event *event = &group->events[i];
    bool is_plain = mp__watch_is_plain(w->scope, event);
    const mp__buf *buf;

    if (event->revision <= w->position)
        return;
    if (!is_plain || g->bytes > MP__WATCH_UNSENT_MAX / 2)
        send_gathered(w, g);
    if (!is_plain) {
        tell_seen(w, event);
        return;
    }
    if (w->catching || mp__watch_pending_is_any(&w->waits) || is_blocked(w)) {
        mp__watch_message message;

        mp__watch_message_of_event(event, &message);
        wait_with(w, &message, event->entry);
        return;
    }
    buf = frame(w, group, i);
    g->parts[g->count++] = (struct iovec){buf->data, buf->size};
    g->bytes += buf->size;
    w->position = event->revision;
}

static void add_line(mp__buf *events, mp_str line)
{
    if (events->size)
        (void)mp__buf_add_char(events, ',');
    (void)mp__buf_add(events, line.data, line.size - 1); /* without its end */
}

static void add_seen(mp__http_watcher *w, const mp__event *event, mp__buf *events)
{
    mp__watch_message message;
    mp__watch_view view;

    if (see_event(w, event, &view, &message))
        mp__watch_json(events, mp__watch_epoch(w), &message);
    (void)mp__entry_unref(view.entry);
}

static void add_state(mp__http_watcher *w, const mp__event *event, mp__buf *events)
{
    mp__watch_message message;
    mp__watch_view view;

    if (see_state(w, event, &view, &message))
        mp__watch_json(events, mp__watch_epoch(w), &message);
}

/* A long poll that is up to date: its answer is the group. */
static void tell_poll(mp__http_watcher *w, mp__watch_group *group, unsigned which)
{
    mp__buf events = MP__BUF_INIT;

    for (size_t i = 0; i < group->count; i++) {
        const mp__event *event = &group->events[i];

        if (!(which & 1u << i) || !(event->address.size || event->is_prefix))
            continue;
        if (event->kind == MP__EVENT_STALE || event->kind == MP__EVENT_FRESH) {
            add_state(w, event, &events);
            continue;
        }
        if (event->revision <= w->position)
            continue;
        w->position = event->revision;
        if (mp__watch_is_plain(w->scope, event))
            add_line(&events, mp__buf_str(frame(w, group, i)));
        else
            add_seen(w, event, &events);
    }
    if (events.size)
        mp__watch_poll_answer(w, mp__buf_str(&events), false);
    mp__buf_done(&events);
}

static bool is_reset(const mp__watch_group *group, unsigned which)
{
    for (size_t i = 0; i < group->count; i++)
        if ((which & 1u << i) && group->events[i].kind == MP__EVENT_RESET)
            return true;
    return false;
}

static void retry(mp__http_watcher *w)
{
    if (w->catching && !w->catching->under_way && w->catching->query.status)
        look(w);
}

static void tell(mp__waiter *waiter, mp__watch_group *group, unsigned which)
{
    mp__http_watcher *w = (mp__http_watcher *)waiter;
    __attribute__((uninitialized)) gathered g; /* zeroing it shows where a thousand are told */

    g.count = 0;
    g.bytes = 0;
    if (w->kind == MP__WATCH_POLL && !w->catching && !is_reset(group, which)) {
        tell_poll(w, group, which);
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        if (!(which & 1u << i))
            continue;
        switch (group->events[i].kind) {
        case MP__EVENT_PUT:
        case MP__EVENT_DELETE:
        case MP__EVENT_EXPIRED:
            tell_change(w, group, i, &g);
            break;
        case MP__EVENT_RESET:
            send_gathered(w, &g);
            tell_reset(w, &group->events[i]);
            if (w->kind == MP__WATCH_POLL)
                return; /* answered, and gone */
            break;
        case MP__EVENT_STALE:
        case MP__EVENT_FRESH:
            send_gathered(w, &g);
            if (group->events[i].address.size || group->events[i].is_prefix) {
                tell_key_state(w, &group->events[i]);
                break;
            }
            tell_state(w, group, i);
            if (group->events[i].kind == MP__EVENT_FRESH)
                retry(w);
            break;
        }
    }
    send_gathered(w, &g);
}

/* ---- what is stale when it begins ---- */

/* Some keys are named; of more it is said that there are, and reading them tells which. */
typedef struct stale_keys {
    size_t count;
    uint16_t sizes[STALE_KEYS_NAMED];
    char addresses[STALE_KEYS_NAMED][MP__ADDRESS_MAX];
} stale_keys;

static int note_stale_key(void *context, mp_str address)
{
    stale_keys *keys = context;

    if (address.size > MP__ADDRESS_MAX)
        return 0;
    if (keys->count < STALE_KEYS_NAMED) {
        memcpy(keys->addresses[keys->count], address.data, address.size);
        keys->sizes[keys->count] = (uint16_t)address.size;
    }
    return keys->count++ == STALE_KEYS_NAMED; /* one more than that is enough to know */
}

/* Of all layers of the scope. */
static void find_stale_keys(const mp__http_watcher *w, stale_keys *keys)
{
    mp__manager *manager = w->worker->server->manager;
    mp_str rest = mp_str_new(w->prefix.data + w->scope.size, w->prefix.size - w->scope.size);
    mp_str layers[MP__LAYERS_MAX];
    size_t count = mp__watch_layers(manager, w->scope, layers);
    char prefix[MP__ADDRESS_MAX + MP__SCOPE_MAX];

    keys->count = 0;
    for (size_t i = 0; i < count && keys->count <= STALE_KEYS_NAMED; i++) {
        memcpy(prefix, layers[i].data, layers[i].size);
        memcpy(prefix + layers[i].size, rest.data, rest.size);
        mp__manager_doubts(manager, mp_str_new(prefix, layers[i].size + rest.size), note_stale_key,
                           keys);
    }
}

static void begin_stale(mp__http_watcher *w)
{
    stale_keys keys;

    find_stale_keys(w, &keys);
    for (size_t i = 0; i < keys.count && i < STALE_KEYS_NAMED; i++) {
        mp__event event = {.kind = MP__EVENT_STALE,
                           .address = mp_str_new(keys.addresses[i], keys.sizes[i])};

        tell_key_state(w, &event);
    }
    if (keys.count > STALE_KEYS_NAMED)
        send_message(w, &(mp__watch_message){
                            .word = MP__WORD_STALE, .more = true, .reason = MP__MORE_STALE});
}

bool mp__watch_has_stale(const mp__http_watcher *w)
{
    stale_keys keys;

    if (mp__watch_is_stale(w->worker->watch))
        return true;
    find_stale_keys(w, &keys);
    return keys.count != 0;
}

/* ---- for who asks who watches ---- */

static void describe(mp__waiter *waiter, mp__buf *json)
{
    static const char *const protocols[] = {
        [MP__WATCH_SSE] = "event-stream",
        [MP__WATCH_LINES] = "ndjson",
        [MP__WATCH_WEBSOCKET] = "websocket",
        [MP__WATCH_POLL] = "long-poll",
    };
    mp__http_watcher *w = (mp__http_watcher *)waiter;
    uint64_t now = mp__watch_revision(w->worker->watch);
    bool is_live = !w->catching && !mp__watch_pending_is_any(&w->waits) && !is_blocked(w);
    char peer[64];

    mp__json_add_text(json, "protocol", protocols[w->kind]);
    mp__json_add_text(json, "client", mp__exchange_peer(w->x, peer, sizeof(peer)));
    mp__json_key(json, "watches");
    mp__json_begin(json, '[');
    mp__json_string(json, w->prefix);
    mp__json_end(json, ']');
    mp__watch_describe(json, mp__watch_epoch(w),
                       w->catching ? "catching-up"
                       : is_live   ? "live"
                                   : "slow",
                       true, is_live && w->position < now ? now : w->position);
}

/* ---- from outside ---- */

void mp__watch_stream_begin(mp__http_watcher *w, bool has_from, bool known, uint64_t from)
{
    mp__watch *watch = w->worker->watch;
    mp__watch_message sync = {.word = MP__WORD_SYNC};

    w->waiter.tell = tell;
    w->waiter.describe = describe;
    w->position = has_from && known ? from : mp__watch_revision(watch);
    if (mp__watch_is_stale(watch)) {
        mp__watch_message stale = {.word = MP__WORD_STALE};
        mp__summary summary;

        mp__manager_summary(w->worker->server->manager, &summary);
        stale.reason = summary.text;
        send_message(w, &stale);
    } else if (w->kind != MP__WATCH_POLL) {
        begin_stale(w);
    }
    sync.revision = w->position;
    if (has_from && !known)
        reset(w, "a position of another life of the data");
    else if (has_from && from != mp__watch_revision(watch))
        catch_up(w);
    else
        go_live(w, &sync);
}

void mp__watch_stream_writable(mp__http_watcher *w)
{
    if (!w->catching)
        flush(w);
    else if (!w->catching->under_way && !w->catching->query.status)
        go_on(w);
}

void mp__watch_stream_progress(mp__http_watcher *w)
{
    mp__watch_message progress = {.word = MP__WORD_PROGRESS};

    retry(w);
    if (mp__watch_pending_is_any(&w->waits) || is_blocked(w))
        return;
    if (!w->catching && w->position < mp__watch_revision(w->worker->watch))
        w->position = mp__watch_revision(w->worker->watch);
    progress.revision = w->position;
    send_message(w, &progress);
}

void mp__watch_end(mp__http_watcher *w)
{
    mp__watch_unschedule(w);
    if (w->worker->watch)
        mp__watch_leave_layers(w->worker->watch, &w->points);
    mp__watch_pending_clear(&w->waits);
    w->x = NULL;
    if (w->asking || (w->catching && w->catching->under_way))
        return; /* it ends when they have */
    if (w->catching)
        catching_free(w->catching);
    (void)mp__free(w->websocket);
    (void)mp__free(w);
}
