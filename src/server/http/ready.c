/* SPDX-License-Identifier: Apache-2.0 */
/* GET /readyz: whether reads can be answered, and whether those have anything who must.
 *
 * Of the namespaces of http.ready_namespaces the origin is asked, by one look at a time for all who
 * probe: an origin that hangs gets one question and not one a probe, and nobody waits for it longer
 * than origin.timeout. Then a namespace that had keys when it was last looked at is there, and for
 * the others counts what L3 kept.
 *
 *              probe                   all were looked at
 *      IDLE ---------> ASKING ------------------------------------> IDLE, answers
 *       ^                |  origin.timeout
 *       |                +-- none is missing --------------> LATE, answers
 *       |                +-- some are: L3 is asked --> KEPT --> LATE, answers, at the latest after
 *       |                                               |       origin.timeout once more
 *       +---- the origin answered after all ------------+---- LATE: who probes is answered at once,
 *                                                             or as in KEPT when L3 was not looked
 *                                                             through for an origin.timeout
 *
 * From all of them a stop leads to ENDED, where all are answered at once and nothing is asked.
 *
 * All of that is done on the loop of the first worker; probes of others are posted there, and their
 * answers back. */
#include <stdio.h>

#include "server/http/handlers.h"

/* Looks at the namespaces one after the other. */
typedef struct looker {
    mp__query query;
    struct mp__readiness *readiness;
    bool under_way, is_kept; /* kept: of what L3 has */
    size_t at;
    char scope[MP__SCOPE_MAX], prefix[MP__NAMESPACE_MAX + 2];
} looker;

typedef struct probe {
    mp__task task;
    struct probe *next;
    mp__exchange *x;
    bool is_strict;
    bool there[]; /* of each namespace, when it is answered */
} probe;

struct mp__readiness {
    mp__server *server;
    mp__loop *loop;
    mp__timer *timer;
    mp__identity identity; /* of who asks for all */
    enum { IDLE, ASKING, KEPT, LATE, ENDED } state;
    looker of_origin, of_kept;
    uint64_t kept_ns; /* when L3 was last looked through; 0: never */
    probe *waiting;
    size_t count; /* namespaces */
    bool there[]; /* whether it had keys when it was last looked at */
};

/* ---- the answer, on the loop of who asked ---- */

static const char *trouble_of(const mp__summary *s, bool is_short)
{
    if (s->text[0])
        return s->text;
    if (is_short)
        return "namespaces of http.ready_namespaces have no keys";
    return s->degraded ? "the cache on disk takes no writes; /v1/status says why" : "";
}

/* The list of those that have no keys; whether there are any. */
static bool add_missing(mp__buf *body, const mp__options *options, const bool *there)
{
    size_t count = mp__options_list_count(options, "http.ready_namespaces"), missing = 0;

    mp__json_begin(body, '[');
    for (size_t i = 0; i < count; i++) {
        if (there[i])
            continue;
        if (missing++)
            (void)mp__buf_add_char(body, ',');
        mp__json_string(body, mp_str_of(mp__options_list_at(options, "http.ready_namespaces", i)));
    }
    mp__json_end(body, ']');
    return missing != 0;
}

static void answer_ready(const probe *p)
{
    mp__exchange *x = p->x;
    mp__server *server = x->worker->server;
    mp__buf body = MP__BUF_INIT, missing = MP__BUF_INIT;
    mp__summary s;
    bool is_short, ready, well;

    mp__manager_summary(server->manager, &s);
    is_short = add_missing(&missing, server->options, p->there);
    ready = s.ready && !is_short;
    well = ready && !(p->is_strict && s.degraded);
    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "ready", ready);
    mp__json_add_bool(&body, "degraded", s.degraded);
    mp__json_add_text(&body, "origin", s.state);
    mp__json_add_bool(&body, "writable", s.writable);
    mp__json_add_text(&body, "trouble", trouble_of(&s, is_short));
    mp__json_key(&body, "missing");
    (void)mp__buf_add_str(&body, mp__buf_str(&missing));
    mp__json_end(&body, '}');
    mp__buf_done(&missing);
    mp__answer_json(x, well ? 200 : 503, &body);
}

static void probe_is_answered(mp__task *task)
{
    answer_ready((const probe *)((const char *)task - offsetof(probe, task)));
}

/* ---- looking ---- */

static void answer_all(mp__readiness *r)
{
    probe *p = r->waiting;

    r->waiting = NULL;
    while (p) {
        probe *next = p->next;

        memcpy(p->there, r->there, r->count * sizeof(*r->there));
        p->task.run = probe_is_answered;
        mp__loop_post(p->x->worker->loop, &p->task);
        p = next;
    }
}

static uint64_t timeout_ms(const mp__readiness *r)
{
    return (uint64_t)mp__manager_timeout_ms(r->server->manager);
}

/* Whether what L3 said counts still: a look goes through all of it, which no prober may cause as
 * often as he likes. */
static bool kept_is_known(const mp__readiness *r)
{
    return r->kept_ns && mp__loop_now_ns(r->loop) < r->kept_ns + timeout_ms(r) * 1000000u;
}

static bool all_are_there(const mp__readiness *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (!r->there[i])
            return false;
    return true;
}

static void be_late(mp__readiness *r)
{
    r->state = LATE;
    mp__timer_stop(r->timer);
    answer_all(r);
}

static void look_ends(looker *l)
{
    mp__readiness *r = l->readiness;

    l->under_way = false;
    atomic_fetch_sub(&r->server->answers_due, 1);
    if (r->state == ENDED)
        return;
    if (!l->is_kept) {
        mp__timer_stop(r->timer);
        r->state = IDLE;
        answer_all(r);
        return;
    }
    r->kept_ns = mp__loop_now_ns(r->loop);
    if (r->state == KEPT)
        be_late(r);
}

/* Whether the origin has said what is there of the namespace: in this look, or there is none. */
static bool is_answered(const mp__readiness *r, size_t at)
{
    return !r->of_origin.under_way || at < r->of_origin.at;
}

static void look_at_next(looker *l);

static void looked(mp__query *query)
{
    looker *l = query->context;
    bool has_keys = query->status == 0 && query->count != 0;

    if (query->status == 0)
        mp__query_done(query);
    if (!l->is_kept)
        l->readiness->there[l->at] = has_keys;
    else if (has_keys && !is_answered(l->readiness, l->at))
        l->readiness->there[l->at] = true;
    l->at++;
    look_at_next(l);
}

/* Whether what a reader gets of the next namespace that must be there is anything. */
static void look_at_next(looker *l)
{
    mp__readiness *r = l->readiness;
    mp__manager *manager = r->server->manager;
    const char *name, *slash;
    mp_str environment = mp__manager_environment(manager, 0);

    while (l->is_kept && l->at < r->count && (r->there[l->at] || is_answered(r, l->at)))
        l->at++;
    if (l->at == r->count || r->state == ENDED) {
        look_ends(l);
        return;
    }
    name = mp__options_list_at(r->server->options, "http.ready_namespaces", l->at);
    slash = strchr(name, '/');
    if (slash)
        environment = mp_str_new(name, (size_t)(slash - name));
    (void)snprintf(l->scope, sizeof(l->scope), "%.*s", (int)environment.size, environment.data);
    (void)snprintf(l->prefix, sizeof(l->prefix), "%.*s/", MP__NAMESPACE_MAX,
                   slash ? slash + 1 : name);
    l->query = (mp__query){.kind = MP__QUERY_LIST,
                           .loop = r->loop,
                           .identity = &r->identity,
                           .environment = mp_str_of(l->scope),
                           .prefix = mp_str_of(l->prefix),
                           .by_key = true,
                           .effective = true,
                           .kept = l->is_kept,
                           .is_patient = true,
                           .limit = 1,
                           .done = looked,
                           .context = l};
    mp__query_start(manager, &l->query);
}

static void look(mp__readiness *r, looker *l)
{
    r->state = l->is_kept ? KEPT : ASKING;
    mp__timer_start(r->timer, timeout_ms(r), 0);
    l->at = 0;
    l->under_way = true;
    atomic_fetch_add(&r->server->answers_due, 1); /* the loop must not end before it is answered */
    look_at_next(l);
}

/* The origin is not waited for: what was seen before counts, and what is kept. */
static void go_without_origin(mp__readiness *r)
{
    if (all_are_there(r) || r->of_kept.under_way || kept_is_known(r))
        be_late(r);
    else
        look(r, &r->of_kept);
}

static void waited_enough(void *context)
{
    mp__readiness *r = context;

    if (r->state == ASKING)
        go_without_origin(r);
    else if (r->state == KEPT)
        be_late(r);
}

static void probe_comes(mp__task *task)
{
    probe *p = (probe *)((char *)task - offsetof(probe, task));
    mp__readiness *r = p->x->worker->server->readiness;

    p->next = r->waiting;
    r->waiting = p;
    if (r->state == IDLE)
        look(r, &r->of_origin);
    else if (r->state == LATE)
        go_without_origin(r);
    else if (r->state == ENDED)
        answer_all(r);
}

void mp__http_ready(mp__exchange *x)
{
    mp__readiness *r = x->worker->server->readiness;
    mp__parameter strict = {.name = "strict"};
    probe *p = mp__exchange_memory(x, sizeof(*p) + r->count * sizeof(*p->there));

    if (!p) {
        mp__answer_no_memory(x);
        return;
    }
    p->x = x;
    if (!mp__http_parameters(x, &strict, 1) || !mp__http_flag_of(x, &strict, &p->is_strict))
        return;
    if (r->count == 0) {
        answer_ready(p);
        return;
    }
    p->task.run = probe_comes;
    mp__loop_post(r->loop, &p->task);
}

/* ---- with the server ---- */

int mp__readiness_new(mp__server *server, mp__loop *loop, mp__readiness **ret_readiness)
{
    size_t count = mp__options_list_count(server->options, "http.ready_namespaces");
    mp__readiness *r = mp__calloc(1, sizeof(*r) + count * sizeof(*r->there));
    int rc = r ? mp__timer_new(loop, waited_enough, r, &r->timer) : MP_ENOMEM;

    if (rc == 0)
        rc = mp__access_login(mp__manager_access(server->manager), MP_STR("default"),
                              mp_str_new("", 0), &r->identity, NULL);
    if (rc) {
        if (r)
            mp__readiness_stop(r);
        (void)mp__readiness_free(r);
        return rc;
    }
    r->server = server;
    r->loop = loop;
    r->count = count;
    r->of_origin.readiness = r->of_kept.readiness = r;
    r->of_kept.is_kept = true;
    *ret_readiness = r;
    return 0;
}

void mp__readiness_end(mp__readiness *readiness)
{
    readiness->state = ENDED;
    mp__timer_stop(readiness->timer);
    answer_all(readiness);
}

void mp__readiness_stop(mp__readiness *readiness)
{
    if (readiness)
        readiness->timer = mp__timer_free(readiness->timer);
}

mp__readiness *mp__readiness_free(mp__readiness *readiness)
{
    return mp__free(readiness);
}
