/* SPDX-License-Identifier: Apache-2.0 */
/* What operators ask: is it alive, figures, state. */
#include "server/http/collect.h"

void mp__http_health(mp__exchange *x)
{
    if (mp__http_parameters(x, NULL, 0))
        mp__answer_text(x, 200, MP_STR("ok\n"));
}

/* ---- figures and state ---- */

typedef struct scrape {
    mp__job job; /* first */
    mp__monitor *monitor;
    mp__buf body;
    int status;
} scrape;

static void scrape_run(mp__job *job)
{
    scrape *s = (scrape *)job;

    s->status = mp__monitor_expose(s->monitor, &s->body);
}

static void scrape_done(mp__job *job)
{
    scrape *s = (scrape *)job;
    mp__exchange *x = job->x;
    mp__buf body = s->body; /* @s goes with the exchange */

    if (s->status) {
        mp__answer_no_memory(x);
    } else {
        mp__answer_begin(x, 200);
        mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
        mp__answer_end(x, MP_STR("text/plain; version=0.0.4; charset=utf-8"), mp__buf_str(&body));
    }
    mp__buf_done(&body);
}

/* It asks every part of the process, and reads files of the system's: not in the loop. */
void mp__http_metrics(mp__exchange *x)
{
    scrape *s;

    if (!mp__http_parameters(x, NULL, 0))
        return;
    s = mp__exchange_memory(x, sizeof(*s));
    if (!s || !x->worker->server->monitor) {
        mp__answer_no_memory(x);
        return;
    }
    s->job = (mp__job){.x = x, .run = scrape_run, .done = scrape_done, .prints = true};
    s->monitor = x->worker->server->monitor;
    mp__job_start(&s->job, MP__JOB_BRIEF);
}

void mp__http_status(mp__exchange *x)
{
    mp__buf body = MP__BUF_INIT;

    if (!mp__http_parameters(x, NULL, 0))
        return;
    (void)mp__manager_status(x->worker->server->manager, &x->identity, &body);
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
