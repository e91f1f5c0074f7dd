/* SPDX-License-Identifier: Apache-2.0 */
/* The clients of all workers: what CLIENT LIST says of them, and their end by CLIENT KILL. */
#include <inttypes.h>
#include <stdio.h>

#include "server/resp/connection.h"

#define SECOND_NS 1000000000u

/* Under the list lock. */
static void show(mp__connection *c)
{
    c->shown.active_ns = c->active_ns;
    c->shown.in_size = c->in.size;
    c->shown.in_capacity = c->in.capacity;
    c->shown.queued = mp__stream_queued(c->stream);
    c->shown.database = c->database;
    c->shown.subscription_count = c->subscriptions.count;
    c->shown.version = c->version;
    c->shown.descriptor = mp__stream_descriptor(c->stream);
    memcpy(c->shown.user, c->identity.name, sizeof(c->shown.user));
    memcpy(c->shown.scope, c->environment, c->environment_size);
    c->shown.scope[c->environment_size] = '\0';
    memcpy(c->shown.last_command, c->last_command, sizeof(c->shown.last_command));
}

void mp__connection_show(mp__connection *c)
{
    (void)pthread_mutex_lock(&c->worker->list_lock);
    show(c);
    (void)pthread_mutex_unlock(&c->worker->list_lock);
}

void mp__connections_show(mp__worker_loop *worker)
{
    (void)pthread_mutex_lock(&worker->list_lock);
    for (mp__connection *c = worker->connections; c; c = c->next)
        show(c);
    (void)pthread_mutex_unlock(&worker->list_lock);
}

static void list_one(const mp__connection *c, uint64_t now, mp__buf *out)
{
    const mp__shown *s = &c->shown;

    if (now < s->active_ns)
        now = s->active_ns;
    (void)mp__buf_printf(
        out,
        "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%s age=%" PRIu64 " idle=%" PRIu64
        " flags=%s db=%u sub=%u psub=0 ssub=0 multi=-1 qbuf=%zu qbuf-free=0 argv-mem=0 multi-mem=0 "
        "rbs=0 rbp=0 obl=0 oll=0 omem=%zu tot-mem=%zu events=r cmd=%s user=%s redir=-1 resp=%d "
        "lib-name=%s lib-ver=%s scope=%s\n",
        c->id, c->peer, c->worker->server->resp_address, s->descriptor, c->name,
        (now - c->created_ns) / SECOND_NS, (now - s->active_ns) / SECOND_NS,
        s->subscription_count ? "P" : "N", s->database, s->subscription_count, s->in_size,
        s->queued, sizeof(*c) + s->in_capacity, s->last_command[0] ? s->last_command : "NULL",
        s->user, s->version, c->library, c->library_version, s->scope);
}

void mp__connections_list(mp__server *server, mp__buf *out)
{
    uint64_t now = mp__env_now_ns(server->env);

    for (unsigned i = 0; i < server->worker_count; i++) {
        mp__worker_loop *worker = &server->workers[i];

        (void)pthread_mutex_lock(&worker->list_lock);
        for (mp__connection *c = worker->connections; c; c = c->next)
            list_one(c, now, out);
        (void)pthread_mutex_unlock(&worker->list_lock);
    }
}

typedef struct kill_task {
    mp__task task;
    mp__worker_loop *worker;
    uint64_t id;
} kill_task;

static void kill_runs(mp__task *task)
{
    kill_task *kill = (kill_task *)task;

    for (mp__connection *c = kill->worker->connections; c; c = c->next)
        if (c->id == kill->id) {
            mp__connection_finish(c); /* the killer may be the killed: it still gets its answer */
            break;
        }
    (void)mp__free(kill);
}

bool mp__connection_kill(mp__server *server, uint64_t id)
{
    bool found = false;

    for (unsigned i = 0; i < server->worker_count && !found; i++) {
        mp__worker_loop *worker = &server->workers[i];
        kill_task *kill;

        (void)pthread_mutex_lock(&worker->list_lock);
        for (mp__connection *c = worker->connections; c && !found; c = c->next)
            found = c->id == id;
        (void)pthread_mutex_unlock(&worker->list_lock);
        kill = found ? mp__calloc(1, sizeof(*kill)) : NULL;
        if (!kill)
            continue;
        *kill = (kill_task){{NULL, kill_runs}, worker, id};
        mp__loop_post(worker->loop, &kill->task);
    }
    return found;
}
