/* SPDX-License-Identifier: Apache-2.0 */
/* What operators ask: is it alive, is it ready, figures, state. */
#include <stdio.h>

#include "server/http/handlers.h"

void mp__http_health(mp__exchange *x)
{
    if (mp__http_parameters(x, NULL, 0))
        mp__answer_text(x, 200, MP_STR("ok\n"));
}

/* ---- GET /readyz ---- */

typedef struct ready_work {
    mp__query query;
    mp__exchange *x;
    bool is_strict, is_short; /* short: something is missing */
    size_t at;                /* in http.ready_namespaces */
    mp__buf missing;          /* of those that were looked at, a list of JSON */
    char scope[MP__SCOPE_MAX], prefix[MP__NAMESPACE_MAX + 2];
} ready_work;

static const char *trouble_of(const mp__summary *s, bool is_short)
{
    if (s->text[0])
        return s->text;
    if (is_short)
        return "namespaces of http.ready_namespaces have no keys";
    return s->degraded ? "the cache on disk takes no writes; /v1/status says why" : "";
}

static void answer_ready(ready_work *w)
{
    mp__exchange *x = w->x;
    mp__buf body = MP__BUF_INIT;
    mp__summary s;
    bool ready, well;

    mp__manager_summary(x->worker->server->manager, &s);
    ready = s.ready && !w->is_short;
    well = ready && !(w->is_strict && s.degraded);
    mp__json_end(&w->missing, ']');
    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "ready", ready);
    mp__json_add_bool(&body, "degraded", s.degraded);
    mp__json_add_text(&body, "origin", mp__origin_states.states[s.origin]);
    mp__json_add_bool(&body, "writable", s.writable);
    mp__json_add_text(&body, "trouble", trouble_of(&s, w->is_short));
    mp__json_key(&body, "missing");
    (void)mp__buf_add_str(&body, mp__buf_str(&w->missing));
    mp__json_end(&body, '}');
    mp__buf_done(&w->missing);
    mp__answer_json(x, well ? 200 : 503, &body);
}

static void look_at_next(ready_work *w);

static void looked(mp__query *query)
{
    ready_work *w = query->context;
    const mp__options *options = w->x->worker->server->options;

    if (query->status || query->count == 0) {
        const char *name = mp__options_list_at(options, "http.ready_namespaces", w->at);

        if (w->is_short)
            (void)mp__buf_add_char(&w->missing, ',');
        w->is_short = true;
        mp__json_string(&w->missing, mp_str_of(name));
    }
    if (query->status == 0)
        mp__query_done(query);
    w->at++;
    look_at_next(w);
}

/* Whether what a reader gets of the next namespace that must be there is anything; all are there or
 * known to be missing: answer. */
static void look_at_next(ready_work *w)
{
    mp__exchange *x = w->x;
    const mp__options *options = x->worker->server->options;
    mp__manager *manager = x->worker->server->manager;
    const char *name, *slash;
    mp_str environment = mp__manager_environment(manager, 0);

    if (w->at == mp__options_list_count(options, "http.ready_namespaces")) {
        answer_ready(w);
        return;
    }
    name = mp__options_list_at(options, "http.ready_namespaces", w->at);
    slash = strchr(name, '/');
    if (slash)
        environment = mp_str_new(name, (size_t)(slash - name));
    (void)snprintf(w->scope, sizeof(w->scope), "%.*s", (int)environment.size, environment.data);
    (void)snprintf(w->prefix, sizeof(w->prefix), "%.*s/", MP__NAMESPACE_MAX,
                   slash ? slash + 1 : name);
    w->query = (mp__query){.kind = MP__QUERY_LIST,
                           .loop = x->worker->loop,
                           .identity = &x->identity,
                           .environment = mp_str_of(w->scope),
                           .prefix = mp_str_of(w->prefix),
                           .by_key = true,
                           .effective = true,
                           .limit = 1,
                           .done = looked,
                           .context = w};
    mp__query_start(manager, &w->query);
}

void mp__http_ready(mp__exchange *x)
{
    mp__parameter strict = {.name = "strict"};
    ready_work *w = mp__exchange_memory(x, sizeof(*w));

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    w->x = x;
    if (!mp__http_parameters(x, &strict, 1) || !mp__http_flag_of(x, &strict, &w->is_strict))
        return;
    mp__json_begin(&w->missing, '[');
    look_at_next(w);
}

/* ---- figures and state ---- */

void mp__http_metrics(mp__exchange *x)
{
    mp__buf body = MP__BUF_INIT;

    if (!mp__http_parameters(x, NULL, 0))
        return;
    if (!x->worker->server->monitor || mp__monitor_expose(x->worker->server->monitor, &body) != 0) {
        mp__answer_no_memory(x);
    } else {
        mp__answer_begin(x, 200);
        mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
        mp__answer_end(x, MP_STR("text/plain; version=0.0.4; charset=utf-8"), mp__buf_str(&body));
    }
    mp__buf_done(&body);
}

void mp__http_status(mp__exchange *x)
{
    mp__buf body = MP__BUF_INIT;

    if (!mp__http_parameters(x, NULL, 0))
        return;
    (void)mp__manager_status(x->worker->server->manager, &body);
    mp__answer_json(x, 200, &body);
}

void mp__http_explain_cache(mp__exchange *x)
{
    mp__buf body = MP__BUF_INIT;

    if (!mp__http_parameters(x, NULL, 0))
        return;
    (void)mp__manager_explain_cache(x->worker->server->manager, &body);
    mp__answer_json(x, 200, &body);
}
