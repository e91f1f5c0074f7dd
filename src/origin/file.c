/* SPDX-License-Identifier: Apache-2.0 */
/* The origin `file`: a folder of configuration files, watched. Lifecycle, requests, state.
 *
 *   event, timer -> look: walk the folder -> compare -> commit to the store -> tell who watches
 *   fetch        -> is its file as it was? -> the store answers
 *                   (it is not: look first, and again once it has settled) (the folder is gone:
 * what the store remembers, marked)
 *
 *   folder there, all files taken   LIVE         a file in error          DEGRADED
 *   folder gone or not mounted      LOST         it cannot be read        DOWN */
#include "origin/file.h"

#include <errno.h>
#include <stdio.h>

enum { SETTLE_MS = 50, RESCAN_MS = 30000, PROBE_MS = 1000, KEYS = 1000000, FILE_BYTES = 16 << 20 };
enum { SETTLE_WAIT_MS = 500 }; /* most that a fetch waits for its file to be left alone */

static mp__file_origin *of(mp__origin *origin)
{
    return (mp__file_origin *)origin;
}

/* ---- state ---- */

static void trace(void *context, const mp__state_table *table, uint8_t from, uint8_t to,
                  const char *cause)
{
    mp__file_origin *o = context;

    (void)table;
    if (o->options.on_state)
        o->options.on_state(o->options.context, (enum mp__origin_state)from,
                            (enum mp__origin_state)to, cause);
}

/* Of the files: the first trouble that holds something back, and how many more there are. */
static void say_troubles(const mp__file_origin *o, char *text, size_t capacity)
{
    char said[900];

    for (size_t i = 0; i < o->trouble_count; i++)
        if (!o->troubles[i].is_warning) {
            (void)mp__diag_format(&o->troubles[i].diag, said, sizeof(said));
            if (o->error_count > 1)
                (void)snprintf(text, capacity, "%.200s; and %zu more", said, o->error_count - 1);
            else
                (void)snprintf(text, capacity, "%.220s", said);
            return;
        }
    (void)snprintf(text, capacity, "%zu files are in error", o->error_count);
}

static enum mp__origin_state state_of(mp__file_origin *o, char *cause, size_t capacity)
{
    enum mp__origin_state inner = (enum mp__origin_state)mp__state_now(&o->inner->state);

    if (inner != MP__ORIGIN_LIVE) {
        (void)pthread_mutex_lock(&o->lock);
        (void)snprintf(cause, capacity, "what the files gave cannot be kept: %.180s",
                       o->inner_cause);
        (void)pthread_mutex_unlock(&o->lock);
        return inner;
    }
    if (o->folder != MP__FOLDER_THERE) {
        (void)snprintf(cause, capacity, "%.250s", o->folder_cause);
        return o->folder == MP__FOLDER_GONE ? MP__ORIGIN_LOST : MP__ORIGIN_DOWN;
    }
    if (o->error_count) {
        say_troubles(o, cause, capacity);
        return MP__ORIGIN_DEGRADED;
    }
    (void)snprintf(cause, capacity, "%zu file%s give%s %zu key%s", o->source_count,
                   o->source_count == 1 ? "" : "s", o->source_count == 1 ? "s" : "", o->key_count,
                   o->key_count == 1 ? "" : "s");
    return MP__ORIGIN_LIVE;
}

void mp__file_judge(mp__file_origin *o)
{
    char cause[sizeof(o->cause)];
    enum mp__origin_state state = state_of(o, cause, sizeof(cause));
    uint8_t was = mp__state_now(&o->base.state);
    bool news = state != MP__ORIGIN_LIVE && strcmp(cause, o->cause) != 0;

    (void)snprintf(o->cause, sizeof(o->cause), "%s", cause);
    if (state != was)
        (void)mp__state_move_to(&o->base.state, (uint8_t)state, o->cause);
    else if (news)
        trace(o, &mp__origin_states, was, was, o->cause);
}

/* ---- looking ---- */

static void let_go(mp__file_origin *o);

static void after_look(mp__file_origin *o)
{
    bool is_new;

    if (o->failed && o->folder == MP__FOLDER_THERE) {
        mp__diag diag = {0};

        (void)mp__diag_set(&diag, 0, "%zu namespaces could not be committed; it is tried again",
                           o->failed);
        mp__file_trouble_note(o, false, &diag);
    }
    is_new = o->loop && !o->closing && mp__file_watch_all(o);
    mp__file_troubles_end(o);
    mp__file_doubts_tell(o);
    mp__file_judge(o);
    if (is_new) /* what happened between the look and the watch */
        mp__file_schedule(o, 0);
    else if (o->unsettled)
        mp__file_schedule(o, o->options.settle_ms);
    mp__file_schedule(o, mp__file_rescan_ms(o));
    let_go(o);
}

void mp__file_look(mp__file_origin *o)
{
    uint64_t began = mp__env_now_ns(o->env);
    int rc;

    if (atomic_load(&o->under_way)) {
        mp__file_schedule(o, o->options.settle_ms);
        return;
    }
    mp__file_troubles_begin(o);
    rc = mp__file_walk(o);
    if (rc) {
        mp__diag diag = {0};

        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
        mp__file_trouble_note(o, false, &diag);
    }
    o->look_ns = mp__env_now_ns(o->env) - began;
    if (rc || o->folder != MP__FOLDER_THERE || !mp__file_commit(o))
        after_look(o);
}

static void committed_runs(mp__task *task)
{
    mp__file_origin *o =
        (mp__file_origin *)(void *)((char *)task - offsetof(mp__file_origin, committed_task));

    mp__file_committed(o);
    after_look(o);
    if (o->closing)
        mp__loop_stop(o->loop);
}

static void timer_runs(void *context)
{
    mp__file_origin *o = context;

    o->due_ns = 0;
    mp__file_look(o);
}

/* ---- the store ---- */

/* The store's life is ours: without it no position of a watch could be resumed from. */
static void take_epoch(mp__file_origin *o)
{
    const char *epoch = mp__origin_epoch(o->inner);

    if (epoch[0]) /* else the store was never open: it is known when it has come back */
        mp__origin_epoch_set(&o->base, epoch);
}

static void inner_moved(mp__task *task)
{
    mp__file_origin *o =
        (mp__file_origin *)(void *)((char *)task - offsetof(mp__file_origin, inner_task));

    atomic_store(&o->inner_posted, false);
    take_epoch(o);
    if (mp__state_now(&o->inner->state) == MP__ORIGIN_LIVE)
        mp__file_schedule(o, 0); /* what could not be committed */
    mp__file_judge(o);
}

static void on_inner_state(void *context, enum mp__origin_state from, enum mp__origin_state to,
                           const char *cause)
{
    mp__file_origin *o = context;

    (void)from;
    (void)to;
    (void)pthread_mutex_lock(&o->lock);
    (void)snprintf(o->inner_cause, sizeof(o->inner_cause), "%s", cause);
    (void)pthread_mutex_unlock(&o->lock);
    if (!atomic_exchange(&o->inner_posted, true))
        mp__loop_post(o->loop, &o->inner_task);
}

static void look_again(mp__task *task)
{
    mp__file_origin *o =
        (mp__file_origin *)(void *)((char *)task - offsetof(mp__file_origin, look_task));

    atomic_store(&o->look_posted, false);
    o->distrust = true;
    for (size_t i = 0; i < o->source_count; i++) {
        o->sources[i]->known = false;
        o->sources[i]->content = 0;
    }
    mp__file_schedule(o, 0);
}

/* Somebody wrote to the store: the files say what holds. */
static void on_inner_unseen(void *context, const char *cause)
{
    mp__file_origin *o = context;

    if (o->options.on_unseen_change)
        o->options.on_unseen_change(o->options.context, cause);
    if (!atomic_exchange(&o->look_posted, true))
        mp__loop_post(o->loop, &o->look_task);
}

static void on_inner_change(void *context, const mp__record *after)
{
    mp__file_origin *o = context;

    if (o->options.on_change)
        o->options.on_change(o->options.context, after);
}

static int open_store(mp__file_origin *o, bool anew, mp__diag *diag)
{
    mp__origin_options inner = o->options;

    inner.path = o->store_path;
    inner.context = o;
    inner.new_origin = anew;
    inner.was_there = false; /* a store that is gone is made anew, whatever else is kept */
    inner.is_shared = false; /* it lies in our own data directory */
    inner.on_state = on_inner_state;
    inner.on_unseen_change = on_inner_unseen;
    inner.on_change = on_inner_change;
    return mp__sqlite_ops.open(&inner, &o->inner, diag);
}

/* The files are the truth, so a store that is lost is made anew: what is lost with it is the
 * history, the count of revisions, and the last good version of what is in error now. */
static int open_or_remake(mp__file_origin *o, mp__diag *diag)
{
    mp__origin_stats stats;
    int rc = open_store(o, o->options.new_origin, diag);

    if (rc || mp__state_now(&o->inner->state) != MP__ORIGIN_LOST)
        return rc;
    mp__origin_stats_read(o->inner, &stats);
    if (stats.behind) /* its newest commits are gone: the files say again what they said */
        return mp__origin_salvage(o->inner, NULL, 0);
    mp__log(o->options.log, MP__LOG_WARN, "origin", "store-made-anew",
            "%s is gone (%s); history and revisions begin anew", o->store_path, o->inner_cause);
    o->inner = mp__origin_close(o->inner);
    return open_store(o, true, diag);
}

/* ---- open and close ---- */

static char *join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = mp__malloc(size);

    if (path)
        (void)snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static int set_paths(mp__file_origin *o, const mp__origin_options *options)
{
    size_t size = strlen(options->path);
    const char *slash;

    while (size > 1 && options->path[size - 1] == '/')
        size--;
    o->path = mp__str_dup(mp_str_new(options->path, size));
    o->store_path = join(options->state_dir ? options->state_dir : ".", "files.db");
    o->overlay_base = mp__strdup(options->base ? options->base : "");
    if (!o->path || !o->store_path || !o->overlay_base)
        return MP_ENOMEM;
    slash = strrchr(o->path, '/');
    if (!slash)
        o->parent = mp__strdup(".");
    else if (slash > o->path)
        o->parent = mp__str_dup(mp_str_new(o->path, (size_t)(slash - o->path)));
    else
        o->parent = size > 1 ? mp__strdup("/") : NULL;
    return o->parent || (slash == o->path && size == 1) ? 0 : MP_ENOMEM;
}

static void set_options(mp__file_origin *o, const mp__origin_options *options)
{
    o->options = *options;
    o->options.path = o->path;
    o->options.base = o->overlay_base;
    o->options.state_dir = NULL;
    if (!o->options.probe_ms)
        o->options.probe_ms = PROBE_MS;
    if (!o->options.rescan_ms)
        o->options.rescan_ms = RESCAN_MS;
    if (!o->options.settle_ms)
        o->options.settle_ms = SETTLE_MS;
    if (!o->options.keys_max)
        o->options.keys_max = KEYS;
    if (!o->options.file_bytes_max)
        o->options.file_bytes_max = FILE_BYTES;
}

static void forget_all(mp__file_origin *o)
{
    for (size_t i = 0; i < o->source_count; i++)
        (void)mp__file_source_free(o->sources[i]);
    for (size_t i = 0; i < o->group_count; i++)
        (void)mp__file_group_free(o->groups[i]);
    for (size_t i = 0; i < o->env_count; i++) {
        (void)mp__free(o->envs[i]->name);
        (void)mp__free(o->envs[i]);
    }
    (void)mp__free(o->sources);
    (void)mp__free(o->groups);
    (void)mp__free(o->envs);
    (void)mp__free(o->met);
    (void)mp__free(o->troubles);
}

/* On the loop: nothing more begins. What is being committed is waited for. */
static void close_runs(mp__task *task)
{
    mp__file_origin *o =
        (mp__file_origin *)(void *)((char *)task - offsetof(mp__file_origin, close_task));

    o->closing = true;
    o->timer = mp__timer_free(o->timer);
    mp__file_watch_none(o);
    if (!atomic_load(&o->under_way)) {
        let_go(o);
        mp__loop_stop(o->loop);
    }
}

static mp__origin *file_close(mp__origin *origin)
{
    mp__file_origin *o = of(origin);

    if (o->on_thread) {
        o->close_task.run = close_runs;
        mp__loop_post(o->loop, &o->close_task);
        mp__loop_join(o->loop);
    } else if (o->loop) {
        o->closing = true;
        o->timer = mp__timer_free(o->timer);
        mp__file_watch_none(o);
        mp__loop_stop(o->loop);
        (void)mp__loop_run(o->loop);
    }
    /* the store's last words are posted to the loop, which does not run any more but is there */
    o->inner = mp__origin_close(o->inner);
    o->loop = mp__loop_free(o->loop);
    forget_all(o);
    (void)pthread_mutex_destroy(&o->lock);
    (void)mp__free(o->path);
    (void)mp__free(o->parent);
    (void)mp__free(o->store_path);
    (void)mp__free(o->overlay_base);
    return mp__free(o);
}

/* The first look, with the store's workers standing still, so that all of it is there once the
 * daemon says that it is ready. */
static int first_look(mp__file_origin *o)
{
    mp__sqlite *s = (mp__sqlite *)o->inner;
    int rc = 0;

    o->opening = true;
    mp__sqlite_stop_workers(s);
    if (mp__state_now(&o->inner->state) == MP__ORIGIN_LIVE ||
        mp__state_now(&o->inner->state) == MP__ORIGIN_DEGRADED)
        rc = mp__file_recall(o);
    mp__file_look(o);
    if (rc == 0)
        rc = mp__sqlite_start_workers(s);
    o->opening = false;
    return rc;
}

static mp__file_origin *file_new(const mp__origin_options *options)
{
    mp__file_origin *o = mp__calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    o->base.ops = &mp__file_ops;
    o->env = options->env;
    o->last_waiting = &o->waiting;
    o->committed_task.run = committed_runs;
    o->inner_task.run = inner_moved;
    o->look_task.run = look_again;
    (void)pthread_mutex_init(&o->lock, NULL);
    mp__state_init(&o->base.state, &mp__origin_states, MP__ORIGIN_OPENING, trace, o);
    return o;
}

static int file_open(const mp__origin_options *options, mp__origin **ret_origin, mp__diag *diag)
{
    mp__file_origin *o;
    int rc;

    if (!options->path || !options->path[0])
        return mp__diag_set(diag, MP_EINVAL,
                            "the origin file needs origin.path: the folder that holds "
                            "ENVIRONMENT/NAMESPACE.yaml");
    o = file_new(options);
    if (!o)
        return MP_ENOMEM;
    rc = set_paths(o, options);
    set_options(o, options);
    if (rc == 0)
        rc = mp__loop_new(o->env, "mp-origin-f", &o->loop);
    if (rc == 0)
        rc = mp__timer_new(o->loop, timer_runs, o, &o->timer);
    if (rc == 0)
        rc = open_or_remake(o, diag);
    if (rc == 0) {
        take_epoch(o);
        rc = first_look(o);
    }
    if (rc == 0)
        rc = mp__loop_run_on_thread(o->loop, NULL, NULL);
    o->on_thread = rc == 0;
    if (rc) {
        (void)file_close(&o->base);
        return rc;
    }
    *ret_origin = &o->base;
    return 0;
}

/* ---- fetches ---- */

static bool is_there(const mp__file_origin *o)
{
    uint8_t state = mp__state_now(&o->base.state);

    return state == MP__ORIGIN_LIVE || state == MP__ORIGIN_DEGRADED;
}

static void ask_store(mp__file_origin *o, mp__fetch *fetch)
{
    mp__origin_fetch(o->inner, fetch);
}

/* A fetch while the folder cannot be asked: the store is. */
typedef struct remembering {
    mp__fetch fetch;
    mp__fetch *asked;
    int status;
    int64_t as_of_ms;
} remembering;

static void remembered(mp__fetch *fetch, int status, const mp__record *record)
{
    remembering *r = (remembering *)fetch;
    mp__fetch *asked = r->asked;
    mp__record told;

    asked->unchanged = false;
    asked->as_of = fetch->as_of;
    if (status == 0) {
        told = *record;
        told.address = asked->address;
        told.verified_ms = r->as_of_ms ? r->as_of_ms : told.modified_ms;
    }
    asked->done(asked, r->status, status == 0 ? &told : NULL);
    (void)mp__free(r);
}

/* @status: why it cannot be said that it is still so; it was at @as_of_ms (0: not known). */
static void recall_one(mp__file_origin *o, mp__fetch *fetch, int status, int64_t as_of_ms)
{
    remembering *r = o->key_count ? mp__calloc(1, sizeof(*r)) : NULL;

    if (!r) {
        fetch->unchanged = false;
        fetch->done(fetch, status, NULL);
        return;
    }
    r->asked = fetch;
    r->status = status;
    r->as_of_ms = as_of_ms;
    r->fetch.address = fetch->address;
    r->fetch.done = remembered;
    ask_store(o, &r->fetch);
}

/* As the folder was at the last look. */
static void answer(mp__file_origin *o, mp__fetch *fetch)
{
    bool lost = mp__state_now(&o->base.state) == MP__ORIGIN_LOST;

    if (!is_there(o))
        recall_one(o, fetch, lost ? MP_EORIGINLOST : MP_EORIGIN, o->gone_since_ms);
    else if (mp__file_in_doubt(o, fetch->address)) /* there is a newer one that cannot be read */
        recall_one(o, fetch, MP_ECORRUPT, 0);
    else
        ask_store(o, fetch);
}

static void wait_for_commit(mp__file_origin *o, mp__fetch *fetch)
{
    if (!o->waiting)
        o->waiting_since_ns = mp__env_now_ns(o->env);
    fetch->task.next = NULL;
    *o->last_waiting = &fetch->task;
    o->last_waiting = &fetch->task.next;
}

static mp__fetch *fetch_of(mp__task *task)
{
    return (mp__fetch *)(void *)((char *)task - offsetof(mp__fetch, task));
}

/* Whether the file of @fetch has changed and could not be taken yet, as it was not left alone for
 * long enough: who asks right behind a change is told of it. Not where that takes long. */
static bool is_to_settle(mp__file_origin *o, const mp__fetch *fetch, uint64_t waits_since_ns)
{
    return o->unsettled && is_there(o) && !o->closing && o->options.settle_ms < SETTLE_WAIT_MS &&
           mp__env_now_ns(o->env) < waits_since_ns + SETTLE_WAIT_MS * 1000000ull &&
           mp__file_is_changed(o, fetch->address);
}

/* What waited for a commit is answered with what holds now, or waits for the next look. */
static void let_go(mp__file_origin *o)
{
    mp__task *first = o->waiting;
    uint64_t since_ns = o->waiting_since_ns;

    o->waiting = NULL;
    o->last_waiting = &o->waiting;
    while (first) {
        mp__task *next = first->next;

        if (is_to_settle(o, fetch_of(first), since_ns))
            wait_for_commit(o, fetch_of(first));
        else
            answer(o, fetch_of(first));
        first = next;
    }
    if (o->waiting)
        o->waiting_since_ns = since_ns;
}

static void fetch_runs(mp__task *task)
{
    mp__fetch *fetch = fetch_of(task);
    mp__file_origin *o = of(fetch->origin);
    bool looks_soon =
        o->due_ns && o->due_ns < mp__env_now_ns(o->env) + 2 * o->options.settle_ms * 1000000u;

    if (atomic_load(&o->under_way)) {
        wait_for_commit(o, fetch);
    } else if (!is_there(o) || o->closing || !mp__file_is_changed(o, fetch->address)) {
        answer(o, fetch);
    } else {
        wait_for_commit(o, fetch); /* let go when the look is through */
        if (!looks_soon)
            mp__file_look(o);
    }
}

static void file_fetch(mp__origin *origin, mp__fetch *fetch)
{
    fetch->task.run = fetch_runs;
    mp__loop_post(of(origin)->loop, &fetch->task);
}

/* ---- other requests ---- */

static void write_runs(mp__task *task)
{
    mp__write *write = (mp__write *)(void *)((char *)task - offsetof(mp__write, task));

    for (size_t i = 0; i < write->count; i++) {
        mp__change *change = &write->changes[i];

        change->status = MP_EREADONLY;
        change->changed = change->had_old = false;
        change->after = change->old = (mp__record){0};
    }
    write->done(write, MP_EREADONLY);
}

static void file_write(mp__origin *origin, mp__write *write)
{
    write->task.run = write_runs;
    mp__loop_post(of(origin)->loop, &write->task);
}

static void file_list(mp__origin *origin, mp__list *list)
{
    mp__file_origin *o = of(origin);

    list->remembered = !is_there(o);
    mp__origin_list(o->inner, list);
}

static void file_history(mp__origin *origin, mp__history *history)
{
    mp__origin_history(of(origin)->inner, history);
}

static void file_count(mp__origin *origin, mp__count *count)
{
    mp__file_origin *o = of(origin);

    count->remembered = !is_there(o);
    mp__origin_count(o->inner, count);
}

static void file_changed(mp__origin *origin, mp__changed *changed)
{
    mp__origin_changed(of(origin)->inner, changed);
}

static void file_stats(mp__origin *origin, mp__origin_stats *ret_stats)
{
    mp__origin_stats_read(of(origin)->inner, ret_stats);
}

static const char *file_remedy(enum mp__origin_state state)
{
    switch (state) {
    case MP__ORIGIN_LOST:
        return "put the folder back or mount it (it is noticed at once); what it last gave is "
               "served";
    case MP__ORIGIN_DEGRADED:
        return "mend what is named: it is taken at once; until then what it last gave is served";
    case MP__ORIGIN_DOWN:
        return "make the folder or set origin.path; it is tried again each second";
    case MP__ORIGIN_OPENING:
    case MP__ORIGIN_LIVE:
        break;
    }
    return NULL;
}

const mp__origin_ops mp__file_ops = {
    .name = "file",
    .open = file_open,
    .close = file_close,
    .fetch = file_fetch,
    .write = file_write,
    .list = file_list,
    .history = file_history,
    .count = file_count,
    .changed = file_changed,
    .stats = file_stats,
    .doubts = mp__file_doubts,
    .describe = mp__file_describe,
    .remedy = file_remedy,
    .read_only = true,
};
