/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/consumers: who watches, and how far each was told.
 *
 * Watchers belong to the loop that they are connected to, so the request goes round: each loop adds
 * its own to the answer and posts it to the next, the last one back home. */
#include "server/http/handlers.h"

enum { CONSUMERS_MAX = 1000 };

typedef struct round {
    mp__task task;
    mp__exchange *x;
    unsigned at;    /* the loop whose turn it is */
    uint64_t limit; /* most that are told */
    uint64_t told;
    bool more;
    mp__buf body;
} round;

static bool add_one(void *context, mp__waiter *waiter)
{
    round *r = context;

    if (r->told == r->limit) {
        r->more = true;
        return false;
    }
    r->told++;
    mp__json_begin(&r->body, '{');
    waiter->describe(waiter, &r->body);
    mp__json_end(&r->body, '}');
    return true;
}

static void come_home(mp__task *task)
{
    round *r = (round *)task;
    mp__manager *manager = r->x->worker->server->manager;
    mp__buf body = r->body; /* @r goes with the exchange, which the answer ends */
    char position[MP__POSITION_MAX];
    mp__summary now;

    mp__manager_summary(manager, &now);
    mp__json_end(&body, ']');
    mp__json_add_bool(&body, "more", r->more);
    mp__json_add_string(&body, "position",
                        mp__position_text(mp__manager_epoch(manager), now.revision, position));
    mp__json_add_u64(&body, "revision", now.revision);
    mp__json_end(&body, '}');
    mp__answer_json(r->x, 200, &body);
}

static void look_here(mp__task *task)
{
    round *r = (round *)task;
    mp__server *server = r->x->worker->server;
    const mp__worker_loop *worker = &server->workers[r->at];

    if (worker->watch)
        mp__watch_each(worker->watch, add_one, r);
    r->at++;
    if (r->at < server->worker_count && !r->more) {
        mp__loop_post(server->workers[r->at].loop, &r->task);
        return;
    }
    r->task.run = come_home;
    mp__loop_post(r->x->worker->loop, &r->task);
}

void mp__http_consumers(mp__exchange *x)
{
    round *r = mp__exchange_memory(x, sizeof(*r));
    mp__parameter limit = {.name = "limit"};
    int rc;

    if (!r) {
        mp__answer_no_memory(x);
        return;
    }
    r->limit = CONSUMERS_MAX;
    if (!mp__http_parameters(x, &limit, 1) ||
        !mp__http_number_of(x, &limit, 1, CONSUMERS_MAX, &r->limit))
        return;
    rc = mp__access_check(mp__manager_access(x->worker->server->manager), &x->identity,
                          MP__RIGHT_LIST, mp_str_new("", 0), NULL);
    if (rc) {
        mp__answer_error(x, rc, NULL);
        return;
    }
    r->x = x;
    mp__json_begin(&r->body, '{');
    mp__json_key(&r->body, "consumers");
    mp__json_begin(&r->body, '[');
    r->task.run = look_here;
    mp__loop_post(x->worker->server->workers[0].loop, &r->task);
}
