/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_sim_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014) */
uint64_t mp_sim_random(mp_sim *sim, uint64_t bound)
{
    uint64_t z = (sim->random += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) % bound;
}

/* ---- clock and files: the disk's ---- */

static uint64_t sim_now_ns(mp_env *env)
{
    return sim_of(env)->now_ns;
}

static int64_t sim_wall_ms(mp_env *env)
{
    return 1700000000000 + (int64_t)(sim_of(env)->now_ns / 1000000u) + sim_of(env)->wall_offset_ms;
}

static void sim_random(mp_env *env, void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)data)[i] = (unsigned char)mp_sim_random(sim_of(env), 256);
}

static mp_env *files(mp_env *env)
{
    return mp_platter_env(sim_of(env)->disk);
}

static int sim_open(mp_env *env, const char *path, int flags, mp__file **ret_file)
{
    return files(env)->ops->file_open(files(env), path, flags, ret_file);
}

static int sim_stat(mp_env *env, const char *path, mp__stat *ret_stat)
{
    return files(env)->ops->stat(files(env), path, ret_stat);
}

static int sim_mkdir(mp_env *env, const char *path)
{
    return files(env)->ops->mkdir_one(files(env), path);
}

static int sim_rename(mp_env *env, const char *from, const char *to)
{
    int rc = files(env)->ops->rename(files(env), from, to);

    if (rc == 0) {
        mp_sim_touched(sim_of(env), from);
        mp_sim_touched(sim_of(env), to);
    }
    return rc;
}

static int sim_unlink(mp_env *env, const char *path)
{
    int rc = files(env)->ops->unlink(files(env), path);

    if (rc == 0)
        mp_sim_touched(sim_of(env), path);
    return rc;
}

static int sim_sync_dir(mp_env *env, const char *path)
{
    return files(env)->ops->sync_dir(files(env), path);
}

static int sim_list(mp_env *env, const char *path, int (*each)(void *context, const char *name),
                    void *context)
{
    return files(env)->ops->list(files(env), path, each, context);
}

static int sim_disk_free(mp_env *env, const char *path, uint64_t *ret_bytes)
{
    return files(env)->ops->disk_free(files(env), path, ret_bytes);
}

/* ---- loops and timers ---- */

static int sim_loop_new(mp_env *env, const char *name, mp__loop **ret_loop)
{
    sim_loop *loop = get(sizeof(*loop)), **last = &sim_of(env)->loops;

    (void)name;
    loop->base.ops = env->ops;
    loop->base.env = env;
    loop->sim = sim_of(env);
    loop->ready_ns = NEVER;
    mp__task_queue_init(&loop->queue);
    while (*last)
        last = &(*last)->next;
    *last = loop;
    *ret_loop = &loop->base;
    return 0;
}

static mp__loop *sim_loop_free(mp__loop *base)
{
    sim_loop *loop = (sim_loop *)base, **link = &loop->sim->loops;

    while (*link != loop)
        link = &(*link)->next;
    *link = loop->next;
    free(loop);
    return NULL;
}

static void sim_loop_stop(mp__loop *base)
{
    ((sim_loop *)base)->stopped = true;
}

static int sim_loop_run(mp__loop *base)
{
    sim_loop *loop = (sim_loop *)base;

    while (!loop->stopped && mp_sim_step(loop->sim))
        ;
    return 0;
}

static void sim_loop_post(mp__loop *base, mp__task *task)
{
    sim_loop *loop = (sim_loop *)base;

    if (!loop->queue.first)
        loop->ready_ns = soon(loop->sim, LATENCY_US);
    mp__task_queue_add(&loop->queue, task);
}

static uint64_t sim_loop_now_ns(mp__loop *base)
{
    return ((sim_loop *)base)->sim->now_ns;
}

static void sim_loop_on_turn(mp__loop *base, void (*fn)(void *context), void *context)
{
    ((sim_loop *)base)->on_turn = fn;
    ((sim_loop *)base)->context = context;
}

static int sim_on_signal(mp__loop *loop, int signal, void (*fn)(void *context, int signal),
                         void *context)
{
    (void)loop;
    (void)signal;
    (void)fn;
    (void)context;
    return 0; /* there are none */
}

static int sim_run_on_thread(mp__loop *base, void (*at_start)(void *context), void *context)
{
    (void)base;
    if (at_start)
        at_start(context);
    return 0;
}

void mp_sim_turn_ends(sim_loop *loop)
{
    if (loop->on_turn)
        loop->on_turn(loop->context);
}

static void loop_turns(sim_loop *loop)
{
    mp__task *task = mp__task_queue_take_all(&loop->queue);

    loop->ready_ns = NEVER;
    while (task) {
        mp__task *next = task->next;

        task->run(task);
        task = next;
    }
    mp_sim_turn_ends(loop);
}

static int sim_timer_new(mp__loop *base, void (*fn)(void *context), void *context,
                         mp__timer **ret_timer)
{
    sim_loop *loop = (sim_loop *)base;
    sim_timer *timer = get(sizeof(*timer)), **last = &loop->sim->timers;

    timer->base.ops = base->ops;
    timer->loop = loop;
    timer->due_ns = NEVER;
    timer->fn = fn;
    timer->context = context;
    while (*last)
        last = &(*last)->next;
    *last = timer;
    *ret_timer = &timer->base;
    return 0;
}

static void sim_timer_start(mp__timer *base, uint64_t delay_ms, uint64_t repeat_ms)
{
    sim_timer *timer = (sim_timer *)base;

    timer->due_ns = timer->loop->sim->now_ns + delay_ms * 1000000u;
    timer->repeat_ns = repeat_ms * 1000000u;
}

static void sim_timer_stop(mp__timer *base)
{
    ((sim_timer *)base)->due_ns = NEVER;
}

static mp__timer *sim_timer_free(mp__timer *base)
{
    sim_timer *timer = (sim_timer *)base, **link;

    if (!timer)
        return NULL;
    link = &timer->loop->sim->timers;
    while (*link != timer)
        link = &(*link)->next;
    *link = timer->next;
    free(timer);
    return NULL;
}

static void timer_fires(sim_timer *timer)
{
    sim_loop *loop = timer->loop;

    timer->due_ns = timer->repeat_ns ? loop->sim->now_ns + timer->repeat_ns : NEVER;
    timer->fn(timer->context); /* which may free it */
    mp_sim_turn_ends(loop);
}

/* ---- watches of folders ---- */

static int sim_dirwatch_new(mp__loop *base, const char *path,
                            void (*fn)(void *context, const char *name), void *context,
                            mp__dirwatch **ret_watch)
{
    sim_loop *loop = (sim_loop *)base;
    sim_dirwatch *watch;

    if (loop->sim->dirwatch_error)
        return loop->sim->dirwatch_error;
    watch = get(sizeof(*watch));
    watch->base.ops = base->ops;
    watch->loop = loop;
    watch->ready_ns = NEVER;
    watch->fn = fn;
    watch->context = context;
    (void)snprintf(watch->path, sizeof(watch->path), "%s", path);
    watch->next = loop->sim->dirwatches;
    loop->sim->dirwatches = watch;
    *ret_watch = &watch->base;
    return 0;
}

static mp__dirwatch *sim_dirwatch_free(mp__dirwatch *base)
{
    sim_dirwatch *watch = (sim_dirwatch *)base, **link = &watch->loop->sim->dirwatches;

    while (*link != watch)
        link = &(*link)->next;
    *link = watch->next;
    free(watch);
    return NULL;
}

static void dirwatch_tells(sim_dirwatch *watch)
{
    sim_loop *loop = watch->loop;
    char name[sizeof(watch->name)];

    (void)snprintf(name, sizeof(name), "%s", watch->name);
    watch->ready_ns = NEVER;
    watch->fn(watch->context, name[0] ? name : NULL); /* which may free it */
    mp_sim_turn_ends(loop);
}

void mp_sim_touched(mp_sim *sim, const char *path)
{
    const char *slash = strrchr(path, '/');

    for (sim_dirwatch *w = sim->dirwatches; w && slash && !sim->dirwatch_silent; w = w->next) {
        bool inside = strlen(w->path) == (size_t)(slash - path) &&
                      strncmp(w->path, path, (size_t)(slash - path)) == 0;

        if (!inside && strcmp(w->path, path) != 0)
            continue;
        if (w->ready_ns != NEVER)
            w->name[0] = '\0';
        else
            (void)snprintf(w->name, sizeof(w->name), "%s", slash + 1);
        if (w->ready_ns == NEVER)
            w->ready_ns = soon(sim, LATENCY_US);
    }
}

void mp_sim_dirwatch(mp_sim *sim, int error, bool silent)
{
    sim->dirwatch_error = error;
    sim->dirwatch_silent = silent;
}

/* ---- workers ---- */

static int sim_worker_new(mp_env *env, const char *name, uint64_t idle_ms,
                          void (*run_batch)(void *context, mp__task *first), void *context,
                          mp__worker **ret_worker)
{
    sim_worker *worker = get(sizeof(*worker)), **last = &sim_of(env)->workers;

    worker->base.ops = env->ops;
    worker->sim = sim_of(env);
    worker->idle_ns = idle_ms * 1000000u;
    worker->idle_due_ns = idle_ms ? worker->sim->now_ns + worker->idle_ns : NEVER;
    worker->ready_ns = NEVER;
    worker->run_batch = run_batch;
    worker->context = context;
    (void)snprintf(worker->name, sizeof(worker->name), "%s", name);
    mp__task_queue_init(&worker->queue);
    while (*last)
        last = &(*last)->next;
    *last = worker;
    *ret_worker = &worker->base;
    return 0;
}

static void sim_worker_set_idle(mp__worker *base, uint64_t idle_ms)
{
    sim_worker *worker = (sim_worker *)base;

    worker->idle_ns = idle_ms * 1000000u;
    worker->idle_due_ns = idle_ms ? worker->sim->now_ns + worker->idle_ns : NEVER;
}

static void sim_worker_post(mp__worker *base, mp__task *task)
{
    sim_worker *worker = (sim_worker *)base;
    mp_sim *sim = worker->sim;

    if (!worker->queue.first) {
        worker->ready_ns = soon(sim, WORK_US);
        if (sim->slow_most_ms && strncmp(worker->name, sim->slow_name, strlen(sim->slow_name)) == 0)
            worker->ready_ns += (sim->slow_least_ms +
                                 mp_sim_random(sim, sim->slow_most_ms - sim->slow_least_ms + 1)) *
                                1000000u;
    }
    mp__task_queue_add(&worker->queue, task);
}

static size_t sim_worker_queued(const mp__worker *base)
{
    return ((const sim_worker *)base)->queue.count;
}

static void worker_runs(sim_worker *worker)
{
    mp__task *first = mp__task_queue_take_all(&worker->queue);

    worker->ready_ns = NEVER;
    worker->idle_due_ns = worker->idle_ns ? worker->sim->now_ns + worker->idle_ns : NEVER;
    worker->run_batch(worker->context, first);
}

static mp__worker *sim_worker_free(mp__worker *base)
{
    sim_worker *worker = (sim_worker *)base, **link;

    if (!worker)
        return NULL;
    while (worker->queue.first)
        worker_runs(worker);
    link = &worker->sim->workers;
    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
    free(worker);
    return NULL;
}

/* ---- what happens next ---- */

static const mp__env_ops sim_ops;

typedef struct choice {
    uint64_t at_ns; /* the earliest that is */
    uint64_t count; /* of those that may happen now */
    enum { NOTHING, LOOP, TIMER, DIRWATCH, WORKER, IDLE, STREAM, CONNECT } kind;
    void *what;
} choice;

/* Reservoir of one: each of those that may happen now is as likely. */
static void offer(mp_sim *sim, choice *c, uint64_t at_ns, int kind, void *what)
{
    if (at_ns == NEVER || (at_ns > sim->now_ns && at_ns > c->at_ns))
        return;
    if (at_ns <= sim->now_ns) {
        if (c->count == 0 || mp_sim_random(sim, c->count + 1) == 0) {
            c->kind = kind;
            c->what = what;
        }
        c->count++;
        c->at_ns = sim->now_ns;
    } else if (at_ns < c->at_ns) {
        c->at_ns = at_ns;
        c->kind = kind;
        c->what = what;
    }
}

static choice look(mp_sim *sim)
{
    choice c = {.at_ns = NEVER};

    for (sim_loop *l = sim->loops; l; l = l->next)
        offer(sim, &c, l->ready_ns, LOOP, l);
    for (sim_timer *t = sim->timers; t; t = t->next)
        offer(sim, &c, t->due_ns, TIMER, t);
    for (sim_dirwatch *w = sim->dirwatches; w; w = w->next)
        offer(sim, &c, w->ready_ns, DIRWATCH, w);
    for (sim_worker *w = sim->workers; w; w = w->next) {
        offer(sim, &c, w->ready_ns, WORKER, w);
        if (!w->queue.first)
            offer(sim, &c, w->idle_due_ns, IDLE, w);
    }
    for (sim_stream *s = sim->streams; s; s = s->next)
        offer(sim, &c, s->ready_ns, STREAM, s);
    for (sim_connect *n = sim->connects; n; n = n->next)
        offer(sim, &c, n->ready_ns, CONNECT, n);
    return c;
}

static void move_clock(mp_sim *sim, uint64_t to_ns)
{
    if (to_ns <= sim->now_ns)
        return;
    sim->now_ns = to_ns;
    mp_platter_turn(sim->disk, to_ns / 1000000u - sim->disk_ms);
    sim->disk_ms = to_ns / 1000000u;
}

static void happen(mp_sim *sim, choice c)
{
    move_clock(sim, c.at_ns);
    switch (c.kind) {
    case LOOP:
        loop_turns(c.what);
        break;
    case TIMER:
        timer_fires(c.what);
        break;
    case DIRWATCH:
        dirwatch_tells(c.what);
        break;
    case WORKER:
    case IDLE:
        worker_runs(c.what);
        break;
    case STREAM:
        mp_sim_stream_goes_on(c.what);
        break;
    case CONNECT:
        mp_sim_connect_ends(c.what);
        break;
    case NOTHING:
        break;
    }
}

bool mp_sim_step(mp_sim *sim)
{
    choice c = look(sim);

    happen(sim, c);
    return c.kind != NOTHING;
}

void mp_sim_run(mp_sim *sim, uint64_t ms)
{
    uint64_t end = sim->now_ns + ms * 1000000u;

    for (;;) {
        choice c = look(sim);

        if (c.kind == NOTHING || c.at_ns > end)
            break;
        happen(sim, c);
    }
    move_clock(sim, end);
}

bool mp_sim_run_until(mp_sim *sim, bool (*done)(void *context), void *context, uint64_t ms)
{
    uint64_t end = sim->now_ns + ms * 1000000u;

    while (!done(context)) {
        choice c = look(sim);

        if (c.kind == NOTHING || c.at_ns > end)
            return false;
        happen(sim, c);
    }
    return true;
}

void mp_sim_jump(mp_sim *sim, int64_t ms)
{
    sim->wall_offset_ms += ms;
}

void mp_sim_slow(mp_sim *sim, const char *name, uint64_t least_ms, uint64_t most_ms)
{
    (void)snprintf(sim->slow_name, sizeof(sim->slow_name), "%s", name);
    sim->slow_least_ms = least_ms;
    sim->slow_most_ms = most_ms;
}

void mp_sim_partition(mp_sim *sim, bool on)
{
    sim->partitioned = on;
    for (sim_stream *s = sim->streams; s && !on; s = s->next)
        mp_sim_wake(s);
}

static void sim_loop_join(mp__loop *base)
{
    (void)sim_loop_run(base);
}

static const mp__env_ops sim_ops = {
    .now_ns = sim_now_ns,
    .wall_ms = sim_wall_ms,
    .random = sim_random,
    .file_open = sim_open,
    .stat = sim_stat,
    .mkdir_one = sim_mkdir,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .disk_free = sim_disk_free,
    .loop_new = sim_loop_new,
    .loop_free = sim_loop_free,
    .loop_run = sim_loop_run,
    .loop_stop = sim_loop_stop,
    .loop_post = sim_loop_post,
    .loop_now_ns = sim_loop_now_ns,
    .loop_on_turn = sim_loop_on_turn,
    .loop_on_signal = sim_on_signal,
    .loop_run_on_thread = sim_run_on_thread,
    .loop_join = sim_loop_join,
    .timer_new = sim_timer_new,
    .timer_start = sim_timer_start,
    .timer_stop = sim_timer_stop,
    .timer_free = sim_timer_free,
    .dirwatch_new = sim_dirwatch_new,
    .dirwatch_free = sim_dirwatch_free,
    .listen = mp_sim_listen,
    .listen_probe = mp_sim_listen_probe,
    .listener_pause = mp_sim_listener_pause,
    .listener_free = mp_sim_listener_free,
    .connect = mp_sim_connect_start,
    .stream_start = mp_sim_stream_start,
    .stream_pause = mp_sim_stream_pause,
    .stream_write = mp_sim_stream_write,
    .stream_descriptor = mp_sim_stream_descriptor,
    .stream_queued = mp_sim_stream_queued,
    .stream_close = mp_sim_stream_close,
    .stream_reset = mp_sim_stream_reset,
    .stream_shutdown = mp_sim_stream_close, /* what is on its way arrives in any case */
    .stream_peer = mp_sim_stream_peer,
    .worker_new = sim_worker_new,
    .worker_set_idle = sim_worker_set_idle,
    .worker_post = sim_worker_post,
    .worker_queued = sim_worker_queued,
    .worker_free = sim_worker_free,
};

/* ---- the machine ---- */

mp_sim *mp_sim_new(uint64_t seed)
{
    mp_sim *sim = get(sizeof(*sim));

    sim->env.ops = &sim_ops;
    sim->random = seed;
    sim->disk = mp_platter_new(seed ^ 0xD15C);
    sim->now_ns = 10 * 1000000000ull;
    sim->disk_ms = sim->now_ns / 1000000u;
    sim->next_port = 20000;
    return sim;
}

mp_sim *mp_sim_free(mp_sim *sim)
{
    assert(!sim->workers && !sim->loops && !sim->timers && !sim->listeners && !sim->dirwatches);
    while (sim->streams)
        mp_sim_stream_free(sim->streams);
    (void)mp_platter_free(sim->disk);
    free(sim);
    return NULL;
}

mp_env *mp_sim_env(mp_sim *sim)
{
    return &sim->env;
}

mp_platter *mp_sim_disk(mp_sim *sim)
{
    return sim->disk;
}
