/* SPDX-License-Identifier: Apache-2.0 */
/* What operators ask: is it alive, figures, state. */
#include "server/http/handlers.h"

void mp__http_health(mp__exchange *x)
{
    if (mp__http_parameters(x, NULL, 0))
        mp__answer_text(x, 200, MP_STR("ok\n"));
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
