/* SPDX-License-Identifier: Apache-2.0 */
/* What operators ask: is it alive, is it ready, figures, state. */
#include "server/http/handlers.h"

void mp__http_health(mp__exchange *x)
{
    if (mp__http_parameters(x, NULL, 0))
        mp__answer_text(x, 200, MP_STR("ok\n"));
}

void mp__http_ready(mp__exchange *x)
{
    mp__parameter strict = {.name = "strict"};
    mp__buf body = MP__BUF_INIT;
    mp__summary s;
    bool is_strict = false;

    if (!mp__http_parameters(x, &strict, 1) || !mp__http_flag_of(x, &strict, &is_strict))
        return;
    mp__manager_summary(x->worker->server->manager, &s);
    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "ready", s.ready);
    mp__json_add_bool(&body, "degraded", s.degraded);
    mp__json_add_text(&body, "origin", mp__origin_states.states[s.origin]);
    mp__json_add_bool(&body, "writable", s.writable);
    mp__json_add_text(&body, "trouble",
                      s.text[0] || !s.degraded
                          ? s.text
                          : "the cache on disk takes no writes; /v1/status says why");
    mp__json_end(&body, '}');
    mp__answer_json(x, s.ready && !(is_strict && s.degraded) ? 200 : 503, &body);
}

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
