/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consumers.h"

/* One takes 1.2 MB at most: what it watches may have long names. */
enum { BYTES_MAX = 4 * 1024 * 1024 };

static bool add_one(void *context, mp__waiter *waiter)
{
    mp__consumers *r = context;
    size_t before = r->body.size;

    if (r->told == r->limit) {
        r->more = true;
        return false;
    }
    mp__json_begin(&r->body, '{');
    waiter->describe(waiter, &r->body);
    mp__json_end(&r->body, '}');
    r->more = r->body.size > BYTES_MAX;
    if (r->more)
        r->body.size = before;
    else
        r->told++;
    return !r->more;
}

static mp__consumers *of_task(mp__task *task)
{
    return (mp__consumers *)((char *)task - offsetof(mp__consumers, task));
}

static void come_home(mp__task *task)
{
    mp__consumers *r = of_task(task);
    mp__manager *manager = r->server->manager;
    mp__buf body = r->body; /* @r may go with the answer */
    char position[MP__POSITION_MAX];
    mp__summary now;

    mp__manager_summary(manager, &now);
    mp__json_end(&body, ']');
    mp__json_add_bool(&body, "more", r->more);
    mp__json_add_string(&body, "position",
                        mp__position_text(mp__manager_epoch(manager), now.revision, position));
    mp__json_add_u64(&body, "revision", now.revision);
    mp__json_end(&body, '}');
    r->done(r, &body);
}

static void look_here(mp__task *task)
{
    mp__consumers *r = of_task(task);
    const mp__worker_loop *worker = &r->server->workers[r->at];

    if (worker->watch)
        mp__watch_each(worker->watch, add_one, r);
    r->at++;
    if (r->at < r->server->worker_count && !r->more) {
        mp__loop_post(r->server->workers[r->at].loop, &r->task);
        return;
    }
    r->task.run = come_home;
    mp__loop_post(r->home, &r->task);
}

void mp__consumers_start(mp__consumers *consumers)
{
    mp__json_begin(&consumers->body, '{');
    mp__json_key(&consumers->body, "consumers");
    mp__json_begin(&consumers->body, '[');
    consumers->task.run = look_here;
    mp__loop_post(consumers->server->workers[0].loop, &consumers->task);
}
