/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_truth.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_MAX = 96, VALUE_MAX = 96, KEYS_MAX = 256, CHANGES_MAX = 4 };

typedef struct held {
    char address[ADDRESS_MAX], value[VALUE_MAX];
    bool is_absent;
    uint64_t revision, created_revision, version;
    int64_t modified_ms, expires_ms;
} held;

/* On its way to a node: a change, or the answer to a request. */
typedef struct message {
    mp__task task;
    struct message *next;
    struct truth_node *node;
    mp__fetch *fetch;
    mp__write *write;
    int status;
    held what;
    char found[CHANGES_MAX][VALUE_MAX]; /* values of what a write did not change */
    uint64_t number;                    /* of a change */
    uint64_t as_of;
} message;

typedef struct truth_node {
    mp__origin base;
    mp_truth *truth;
    mp__origin_options options;
    unsigned index;
    mp__worker *requests, *answers, *changes;
    mp__task *stopped, **last_stopped; /* requests that lie where they are */
    uint64_t seen;                     /* number of the last change */
    uint64_t heard_ns;
    uint64_t fetches, writes;
} truth_node;

struct mp_truth {
    mp_sim *sim;
    held keys[KEYS_MAX];
    size_t count;
    uint64_t revision, fetches;
    truth_node *nodes[MP_TRUTH_NODES];
    bool cut[MP_TRUTH_NODES], stopped[MP_TRUTH_NODES];
    unsigned lose_percent;
    void (*on_commit)(void *context, const mp__change *change, const mp__record *after);
    void *context;
};

static mp_truth *the_truth; /* origins are opened without a word on where */

/* ---- the server ---- */

static held *find(mp_truth *truth, mp_str address)
{
    held *h;

    for (size_t i = 0; i < truth->count; i++)
        if (mp_str_equal(mp_str_of(truth->keys[i].address), address))
            return &truth->keys[i];
    assert(truth->count < KEYS_MAX && address.size < ADDRESS_MAX);
    h = &truth->keys[truth->count++];
    *h = (held){.is_absent = true};
    memcpy(h->address, address.data, address.size);
    return h;
}

static mp__record record_of(const held *h)
{
    return (mp__record){
        .address = mp_str_of(h->address),
        .value = mp_str_of(h->is_absent ? "" : h->value),
        .kind = h->is_absent ? MP__RECORD_ABSENT : MP__RECORD_VALUE,
        .revision = h->revision,
        .created_revision = h->created_revision,
        .version = h->version,
        .created_ms = h->modified_ms,
        .modified_ms = h->modified_ms,
        .expires_ms = h->expires_ms,
    };
}

static message *message_new(truth_node *node, void (*run)(mp__task *task))
{
    message *m = calloc(1, sizeof(*m));

    assert(m);
    m->node = node;
    m->task.run = run;
    return m;
}

static void change_arrives(mp__task *task);

static void tell_nodes(mp_truth *truth, const held *h)
{
    for (unsigned i = 0; i < MP_TRUTH_NODES; i++) {
        message *m;

        if (!truth->nodes[i] || truth->cut[i] ||
            mp_sim_random(truth->sim, 100) < truth->lose_percent)
            continue;
        m = message_new(truth->nodes[i], change_arrives);
        m->what = *h;
        m->number = h->revision;
        mp__worker_post(truth->nodes[i]->changes, &m->task);
    }
}

/* What @change asks for, or else @value or its absence. */
static void change(mp_truth *truth, held *h, const mp__change *asked, mp_str value, bool is_absent)
{
    mp__record after;

    assert(value.size < VALUE_MAX);
    truth->revision++;
    if (h->is_absent)
        h->created_revision = h->version = 0;
    h->is_absent = is_absent;
    if (value.size)
        memcpy(h->value, value.data, value.size);
    h->value[value.size] = '\0';
    h->revision = truth->revision;
    h->created_revision = h->created_revision ? h->created_revision : truth->revision;
    h->version++;
    h->modified_ms = mp__env_wall_ms(mp_sim_env(truth->sim));
    h->expires_ms = asked && !is_absent ? asked->expires_ms : 0;
    after = record_of(h);
    if (truth->on_commit)
        truth->on_commit(truth->context, asked, &after);
    tell_nodes(truth, h);
}

static void expire(mp_truth *truth, held *h)
{
    if (!h->is_absent && h->expires_ms && h->expires_ms <= mp__env_wall_ms(mp_sim_env(truth->sim)))
        change(truth, h, NULL, mp_str_new("", 0), true);
}

static void expire_all(mp_truth *truth)
{
    for (size_t i = 0; i < truth->count; i++)
        expire(truth, &truth->keys[i]);
}

void mp_truth_put(mp_truth *truth, const char *address, const char *value)
{
    change(truth, find(truth, mp_str_of(address)), NULL, mp_str_of(value), false);
}

void mp_truth_delete(mp_truth *truth, const char *address)
{
    change(truth, find(truth, mp_str_of(address)), NULL, mp_str_new("", 0), true);
}

void mp_truth_on_commit(mp_truth *truth,
                        void (*told)(void *context, const mp__change *change,
                                     const mp__record *after),
                        void *context)
{
    truth->on_commit = told;
    truth->context = context;
}

/* ---- a node hears ---- */

static void move(truth_node *node, enum mp__origin_state to, const char *cause)
{
    (void)mp__state_move_to(&node->base.state, (uint8_t)to, cause);
}

static void missed(truth_node *node)
{
    node->options.on_unseen_change(node->options.context, "changes were lost on their way");
}

/* Contact: whatever came in between without being told was missed. */
static void hear(truth_node *node)
{
    node->heard_ns = mp__env_now_ns(mp_sim_env(node->truth->sim));
    if (mp__state_now(&node->base.state) != MP__ORIGIN_LIVE)
        move(node, MP__ORIGIN_LIVE, "it is heard again");
}

static void change_arrives(mp__task *task)
{
    message *m = (message *)task;
    truth_node *node = m->node;
    mp__record record = record_of(&m->what);
    bool gap = m->number != node->seen + 1;

    if (!node->truth->cut[node->index]) {
        if (m->number > node->seen)
            node->seen = m->number;
        if (gap)
            missed(node);
        node->options.on_change(node->options.context, &record);
        hear(node);
    }
    free(m);
}

static void listen_batch(void *context, mp__task *first)
{
    truth_node *node = context;
    mp_truth *truth = node->truth;
    uint64_t now = mp__env_now_ns(mp_sim_env(truth->sim));

    if (first) {
        mp__worker_run_each(NULL, first);
        return;
    }
    expire_all(truth);
    if (!truth->cut[node->index]) { /* a heartbeat: it carries the newest revision */
        if (node->seen < truth->revision) {
            node->seen = truth->revision;
            missed(node);
        }
        hear(node);
    } else if (now - node->heard_ns > MP_TRUTH_LEASE_MS * 1000000ull) {
        move(node, MP__ORIGIN_DOWN, "nothing is heard of it");
    }
}

/* ---- a node asks ---- */

static void answer_arrives(mp__task *task)
{
    message *m = (message *)task;
    mp__record record = record_of(&m->what);

    if (m->fetch) {
        m->fetch->as_of = m->as_of;
        m->fetch->unchanged = m->status == 0 && m->fetch->if_revision &&
                              m->fetch->if_revision == m->what.revision && !m->what.is_absent;
        if (m->what.is_absent) /* as of which it is absent */
            record.revision = m->as_of;
        m->fetch->done(m->fetch, m->status, m->status ? NULL : &record);
    } else {
        m->write->done(m->write, m->status);
    }
    free(m);
}

static message *answer(truth_node *node, mp__fetch *fetch, mp__write *write, int status,
                       const held *h)
{
    message *m = message_new(node, answer_arrives);

    m->fetch = fetch;
    m->write = write;
    m->status = status;
    m->as_of = node->truth->revision;
    if (h)
        m->what = *h;
    mp__worker_post(node->answers, &m->task);
    return m;
}

static truth_node *node_of(mp__origin *origin)
{
    return (truth_node *)origin;
}

static bool lies_still(truth_node *node, mp__task *task)
{
    if (!node->truth->stopped[node->index])
        return false;
    task->next = NULL;
    *node->last_stopped = task;
    node->last_stopped = &task->next;
    return true;
}

static void fetch_happens(mp__task *task)
{
    mp__fetch *fetch = (mp__fetch *)((char *)task - offsetof(mp__fetch, task));
    truth_node *node = node_of(fetch->origin);

    if (lies_still(node, task))
        return;
    if (node->truth->cut[node->index]) {
        (void)answer(node, fetch, NULL, MP_EORIGIN, NULL);
        return;
    }
    node->truth->fetches++;
    expire_all(node->truth);
    (void)answer(node, fetch, NULL, 0, find(node->truth, fetch->address));
}

/* Whether its conditions hold. */
static int judge(const held *h, const mp__change *c)
{
    if ((c->flags & MP__IF_ABSENT) && !h->is_absent)
        return MP_EEXISTS;
    if ((c->flags & MP__IF_PRESENT) && h->is_absent)
        return MP_EABSENT;
    if ((c->flags & MP__IF_REVISION) && c->if_revision != (h->is_absent ? 0 : h->revision))
        return MP_ECONFLICT;
    return c->op == MP__CHANGE_DELETE && h->is_absent ? MP_EABSENT : 0;
}

/* What holds now; that there is none, as of now. */
static void fill_in(const mp_truth *truth, mp__change *c, const held *h)
{
    c->after = record_of(h);
    c->after.address = c->address;
    if (h->is_absent && !c->changed)
        c->after.revision = truth->revision;
}

static void make(mp_truth *truth, mp__change *c)
{
    held *h = find(truth, c->address);
    bool is_same =
        (c->flags & MP__IF_CHANGED) && !h->is_absent && mp_str_equal(mp_str_of(h->value), c->value);

    if (c->status == 0 && !is_same) {
        change(truth, h, c, c->value, c->op == MP__CHANGE_DELETE);
        c->changed = true;
    }
    fill_in(truth, c, h);
    if (c->changed)
        c->after.value = c->op == MP__CHANGE_DELETE ? mp_str_new("", 0) : c->value;
}

/* All of them or none. */
static int make_all(mp_truth *truth, mp__write *write)
{
    int status = 0;

    expire_all(truth);
    for (size_t i = 0; i < write->count; i++) {
        mp__change *c = &write->changes[i];
        const held *h = find(truth, c->address);

        assert(c->op == MP__CHANGE_PUT || c->op == MP__CHANGE_DELETE);
        c->status = judge(h, c);
        fill_in(truth, c, h);
        if (status == 0 && !(c->op == MP__CHANGE_DELETE && c->status == MP_EABSENT))
            status = c->status;
    }
    for (size_t i = 0; i < write->count && status == 0; i++)
        make(truth, &write->changes[i]);
    return status;
}

/* What stands at the server may change again before the answer is there. */
static void keep_found(mp__write *write, message *m)
{
    assert(write->count <= CHANGES_MAX);
    for (size_t i = 0; i < write->count; i++) {
        mp__change *c = &write->changes[i];

        if (c->changed || c->after.value.size == 0)
            continue;
        memcpy(m->found[i], c->after.value.data, c->after.value.size);
        c->after.value.data = m->found[i];
    }
}

/* Where the wire is cut, a write did not get there, or its answer does not come back. */
static void write_happens(mp__task *task)
{
    mp__write *write = (mp__write *)((char *)task - offsetof(mp__write, task));
    truth_node *node = node_of(write->origin);
    bool cut = node->truth->cut[node->index];
    int status;

    if (lies_still(node, task))
        return;
    if (cut && mp_sim_random(node->truth->sim, 2)) {
        (void)answer(node, NULL, write, MP_EORIGIN, NULL);
        return;
    }
    status = make_all(node->truth, write);
    keep_found(write, answer(node, NULL, write, cut ? MP_ETIMEOUT : status, NULL));
}

static void truth_fetch(mp__origin *origin, mp__fetch *fetch)
{
    fetch->unchanged = false;
    fetch->task.run = fetch_happens;
    mp__worker_post(node_of(origin)->requests, &fetch->task);
}

static void truth_write(mp__origin *origin, mp__write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        write->changes[i].status = 0;
        write->changes[i].changed = write->changes[i].had_old = false;
        write->changes[i].after = (mp__record){0};
    }
    write->task.run = write_happens;
    mp__worker_post(node_of(origin)->requests, &write->task);
}

/* ---- lists: as it is when the request gets there, in one page ---- */

typedef struct listing {
    mp__task task;
    mp__list *list;
    int status;
    uint64_t as_of;
    size_t count;
    uint64_t next; /* nonzero: there is more */
    held what[KEYS_MAX];
} listing;

static bool begins_with(mp_str text, mp_str with)
{
    return with.size == 0 ||
           (text.size >= with.size && memcmp(text.data, with.data, with.size) == 0);
}

static bool is_after(mp_str address, mp_str other)
{
    size_t both = address.size < other.size ? address.size : other.size;
    int order = both ? memcmp(address.data, other.data, both) : 0;

    return order > 0 || (order == 0 && address.size > other.size);
}

static bool is_listed(const held *h, const mp__list *list)
{
    mp_str address = mp_str_of(h->address), rest;
    size_t environment = list->environment.size;

    if (h->is_absent || !begins_with(address, list->environment) ||
        address.data[environment] != '/')
        return false;
    rest = mp_str_new(address.data + environment + 1, address.size - environment - 1);
    return begins_with(rest, list->prefix) && is_after(address, list->after_address);
}

/* By cursor, which is the number of the next: in the order in which they were first heard of. */
static void list_keys(const mp_truth *truth, listing *l)
{
    for (size_t i = l->list->by_key ? 0 : l->list->after; i < truth->count; i++) {
        if (!is_listed(&truth->keys[i], l->list))
            continue;
        if (!l->list->by_key && l->count == l->list->limit) {
            l->next = i;
            break;
        }
        l->what[l->count++] = truth->keys[i];
    }
}

static void list_environments(const mp_truth *truth, listing *l)
{
    for (size_t i = 0; i < truth->count; i++) {
        held *h = &l->what[l->count];
        bool is_new = !truth->keys[i].is_absent;

        *h = truth->keys[i];
        *strchrnul(h->address, '/') = '\0';
        for (size_t n = 0; n < l->count; n++)
            is_new = is_new && strcmp(l->what[n].address, h->address) != 0;
        l->count += is_new;
    }
}

static int by_address(const void *a, const void *b)
{
    return strcmp(((const held *)a)->address, ((const held *)b)->address);
}

static void list_arrives(mp__task *task)
{
    listing *l = (listing *)task;
    mp__record records[KEYS_MAX];

    for (size_t i = 0; i < l->count; i++)
        records[i] = record_of(&l->what[i]);
    l->list->as_of = l->as_of;
    l->list->done(l->list, l->status, records, l->status ? 0 : l->count, l->next);
    free(l);
}

static void list_happens(mp__task *task)
{
    mp__list *list = (mp__list *)((char *)task - offsetof(mp__list, task));
    truth_node *node = node_of(list->origin);
    listing *l;

    if (lies_still(node, task))
        return;
    l = calloc(1, sizeof(*l));
    assert(l);
    l->task.run = list_arrives;
    l->list = list;
    l->as_of = node->truth->revision;
    l->status = node->truth->cut[node->index] ? MP_EORIGIN : 0;
    (list->environment.size ? list_keys : list_environments)(node->truth, l);
    if (list->by_key || !list->environment.size)
        qsort(l->what, l->count, sizeof(l->what[0]), by_address);
    if (l->count > list->limit) {
        l->count = list->limit;
        l->next = 1;
    }
    mp__worker_post(node->answers, &l->task);
}

static void truth_list(mp__origin *origin, mp__list *list)
{
    list->remembered = false;
    list->task.run = list_happens;
    mp__worker_post(node_of(origin)->requests, &list->task);
}

static void truth_history(mp__origin *origin, mp__history *history)
{
    (void)origin;
    history->done(history, MP_EORIGIN, NULL, NULL, 0);
}

static void truth_count(mp__origin *origin, mp__count *count)
{
    (void)origin;
    count->done(count, 0, node_of(origin)->truth->count);
}

static void truth_stats(mp__origin *origin, mp__origin_stats *ret_stats)
{
    *ret_stats = (mp__origin_stats){.revision = node_of(origin)->truth->revision,
                                    .keys = node_of(origin)->truth->count};
}

/* ---- nodes ---- */

static void trace(void *context, const mp__state_table *table, uint8_t from, uint8_t to,
                  const char *cause)
{
    truth_node *node = context;

    (void)table;
    node->options.on_state(node->options.context, (enum mp__origin_state)from,
                           (enum mp__origin_state)to, cause);
}

/* "net-answer-1": the simulator slows those whose name begins as it is told. */
static const char *name_of(const truth_node *node, const char *what, char name[16])
{
    (void)snprintf(name, 16, "net-%s-%u", what, node->index);
    return name;
}

static int truth_open(const mp__origin_options *options, mp__origin **ret_origin, mp__diag *diag)
{
    truth_node *node = calloc(1, sizeof(*node));
    mp_truth *truth = the_truth;
    char name[16];

    (void)diag;
    assert(node);
    while (truth->nodes[node->index])
        node->index++;
    assert(node->index < MP_TRUTH_NODES);
    truth->nodes[node->index] = node;
    node->base.ops = mp_truth_origin(truth);
    node->truth = truth;
    node->options = *options;
    node->last_stopped = &node->stopped;
    node->seen = truth->revision;
    mp__origin_epoch_set(&node->base, "00000000000000000000000000000001");
    mp__state_init(&node->base.state, &mp__origin_states, MP__ORIGIN_OPENING, trace, node);
    if (mp__worker_new(options->env, name_of(node, "request", name), mp__worker_run_each, NULL,
                       &node->requests) ||
        mp__worker_new(options->env, name_of(node, "answer", name), mp__worker_run_each, NULL,
                       &node->answers) ||
        mp__worker_new_idle(options->env, name_of(node, "change", name), MP_TRUTH_HEARTBEAT_MS,
                            listen_batch, node, &node->changes))
        abort();
    *ret_origin = &node->base;
    if (truth->cut[node->index])
        move(node, MP__ORIGIN_DOWN, "nothing is heard of it");
    else
        hear(node);
    return 0;
}

static void go_on(truth_node *node)
{
    mp__task *task = node->stopped;

    node->stopped = NULL;
    node->last_stopped = &node->stopped;
    while (task) {
        mp__task *next = task->next;

        mp__worker_post(node->requests, task);
        task = next;
    }
}

static mp__origin *truth_close(mp__origin *origin)
{
    truth_node *node = node_of(origin);

    node->truth->stopped[node->index] = false;
    go_on(node);
    node->truth->nodes[node->index] = NULL;
    node->changes = mp__worker_free(node->changes); /* the last of them may make the node ask */
    node->requests = mp__worker_free(node->requests);
    node->answers = mp__worker_free(node->answers);
    free(node);
    return NULL;
}

const mp__origin_ops *mp_truth_origin(mp_truth *truth)
{
    static const mp__origin_ops ops = {
        .name = "truth",
        .open = truth_open,
        .close = truth_close,
        .fetch = truth_fetch,
        .write = truth_write,
        .list = truth_list,
        .history = truth_history,
        .count = truth_count,
        .stats = truth_stats,
    };

    the_truth = truth;
    return &ops;
}

/* ---- the network ---- */

void mp_truth_cut(mp_truth *truth, unsigned node, bool on)
{
    truth->cut[node] = on;
}

void mp_truth_stop(mp_truth *truth, unsigned node, bool on)
{
    truth->stopped[node] = on;
    if (!on && truth->nodes[node])
        go_on(truth->nodes[node]);
}

void mp_truth_lose(mp_truth *truth, unsigned percent)
{
    truth->lose_percent = percent;
}

uint64_t mp_truth_fetches(const mp_truth *truth)
{
    return truth->fetches;
}

mp_truth *mp_truth_new(mp_sim *sim)
{
    mp_truth *truth = calloc(1, sizeof(*truth));

    assert(truth);
    truth->sim = sim;
    return truth;
}

mp_truth *mp_truth_free(mp_truth *truth)
{
    for (unsigned i = 0; i < MP_TRUTH_NODES; i++)
        assert(!truth->nodes[i]);
    free(truth);
    return NULL;
}
