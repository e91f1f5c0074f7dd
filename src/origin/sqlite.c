/* SPDX-License-Identifier: Apache-2.0 */
/* The origin `sqlite`: lifecycle, and the way of requests into the two workers' queues. */
#include "origin/sqlite.h"

#include <stdio.h>

static mp__sqlite *of(mp__origin *origin)
{
    return (mp__sqlite *)origin;
}

static void trace(void *context, const mp__state_table *table, uint8_t from, uint8_t to,
                  const char *cause)
{
    mp__sqlite *s = context;

    (void)table;
    if (s->options.on_state)
        s->options.on_state(s->options.context, (enum mp__origin_state)from,
                            (enum mp__origin_state)to, cause);
}

static void reader_woken(mp__task *task)
{
    mp__sqlite *s = (mp__sqlite *)(void *)((char *)task - offsetof(mp__sqlite, reader_wake));

    atomic_store(&s->reader_waking, false); /* the batch around it did what was to do */
}

/* "folder/origin.db" and ".id": "folder/origin.id", so that two databases in a folder have their
 * own. */
char *mp__sqlite_beside(const char *path, const char *ending)
{
    size_t size = strlen(path), capacity = size + strlen(ending) + 1;
    char *name = mp__malloc(capacity);

    if (size > 3 && strcmp(path + size - 3, ".db") == 0)
        size -= 3;
    if (name)
        (void)snprintf(name, capacity, "%.*s%s", (int)size, path, ending);
    return name;
}

static int set_paths(mp__sqlite *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t capacity = strlen(path) + 3;

    if (slash) {
        s->path = mp__strdup(path);
        s->folder = mp__str_dup(mp_str_new(path, slash == path ? 1 : (size_t)(slash - path)));
    } else if ((s->path = mp__malloc(capacity)) != NULL) {
        (void)snprintf(s->path, capacity, "./%s", path); /* no name then looks like a URI */
        s->folder = mp__strdup(".");
    }
    if (!s->path || !s->folder)
        return MP_ENOMEM;
    s->id_path = mp__sqlite_beside(s->path, ".id");
    s->mark_path = mp__sqlite_beside(s->path, ".mark");
    s->journal_path = mp__sqlite_beside(s->path, ".journal");
    return s->id_path && s->mark_path && s->journal_path ? 0 : MP_ENOMEM;
}

static void set_options(mp__sqlite *s, const mp__origin_options *options)
{
    s->options = *options;
    s->options.path = s->path;
    if (!s->options.probe_ms)
        s->options.probe_ms = 1000;
    if (!s->options.sweep_ms)
        s->options.sweep_ms = 1000;
    if (!s->options.timeout_ms)
        s->options.timeout_ms = 2000;
    if (s->options.counted_count > MP__ORIGIN_COUNTED_MAX)
        s->options.counted_count = MP__ORIGIN_COUNTED_MAX;
    s->probe_ns = s->options.probe_ms * 1000000u;
    s->sweep_ns = s->options.sweep_ms * 1000000u;
    s->idle_ms =
        s->options.probe_ms < s->options.sweep_ms ? s->options.probe_ms : s->options.sweep_ms;
}

int mp__sqlite_start_workers(mp__sqlite *s)
{
    int rc = mp__worker_new(s->env, "mp-origin-r", mp__sqlite_read_batch, s, &s->reader);

    if (rc)
        return rc;
    s->next_probe_ns = mp__env_now_ns(s->env) + s->probe_ns;
    s->next_sweep_ns = mp__env_now_ns(s->env) + s->sweep_ns;
    return mp__worker_new_idle(s->env, "mp-origin-w", s->idle_ms, mp__sqlite_write_batch, s,
                               &s->writer);
}

void mp__sqlite_stop_workers(mp__sqlite *s)
{
    /* the writer first: it may still wake the reader */
    s->writer = mp__worker_free(s->writer);
    s->reader = mp__worker_free(s->reader);
}

static mp__origin *sqlite_close(mp__origin *origin)
{
    mp__sqlite *s = of(origin);

    mp__sqlite_stop_workers(s);
    mp__sqlite_settle(s);
    mp__sqlite_db_close(&s->read_db);
    mp__sqlite_detach(s); /* the last one copies the WAL into the database */
    s->journal = mp__journal_close(s->journal);
    mp__sqlite_pending_done(&s->pending);
    mp__sqlite_pending_done(&s->known);
    s->vfs = mp__vfs_free(s->vfs);
    mp__file_close(s->mark);
    (void)mp__free(s->path);
    (void)mp__free(s->folder);
    (void)mp__free(s->id_path);
    (void)mp__free(s->mark_path);
    (void)mp__free(s->journal_path);
    return mp__free(s);
}

static int sqlite_open(const mp__origin_options *options, mp__origin **ret_origin, mp__diag *diag)
{
    mp__sqlite *s;
    int rc;

    if (!options->path || !options->path[0])
        return mp__diag_set(diag, MP_EINVAL, "the origin sqlite needs a path");
    s = mp__calloc(1, sizeof(*s));
    if (!s)
        return MP_ENOMEM;
    s->base.ops = &mp__sqlite_ops;
    s->env = options->env;
    s->checkpoint_pages = 4000; /* 16 MiB: each copy is two syncs that writes wait for */
    s->reader_wake.run = reader_woken;
    mp__env_random(s->env, &s->pending.key, sizeof(s->pending.key));
    s->known.key = s->pending.key;
    mp__state_init(&s->base.state, &mp__origin_states, MP__ORIGIN_OPENING, trace, s);
    rc = set_paths(s, options->path);
    if (rc == 0)
        rc = mp__vfs_new(s->env, &s->vfs);
    if (rc == 0)
        set_options(s, options);
    if (rc == 0 && options->new_origin) {
        rc = mp__sqlite_move_aside(s);
        if (rc)
            (void)mp__diag_set(diag, rc, "the remains of '%s' cannot be moved aside: %s", s->path,
                               mp_strerror(rc));
    }
    if (rc == 0)
        rc = mp__sqlite_attach(s, diag);
    if (rc == 0) {
        /* The reader connects at once: as long as it is there the WAL's index is, too, which knows
         * how far the commits go when the writer has to begin anew. */
        mp__sqlite_read_batch(s, NULL);
        s->opened = true; /* before there is a writer's thread, which looks at it */
        rc = mp__sqlite_start_workers(s);
    }
    if (rc) {
        (void)sqlite_close(&s->base);
        return rc;
    }
    *ret_origin = &s->base;
    return 0;
}

/* ---- requests ---- */

/* What was acknowledged before a read was asked for is in its answer: while changes wait, it goes
 * by way of the writer, who brings them into the database first. */
static void post_read(mp__sqlite *s, mp__task *task, void (*run)(mp__task *task))
{
    bool waits = atomic_load_explicit(&s->unflushed, memory_order_acquire);

    task->run = run;
    mp__worker_post(waits ? s->writer : s->reader, task);
}

static void sqlite_fetch(mp__origin *origin, mp__fetch *fetch)
{
    post_read(of(origin), &fetch->task, mp__sqlite_run_fetch);
}

static void sqlite_write(mp__origin *origin, mp__write *write)
{
    write->task.run = NULL; /* no read */
    mp__worker_post(of(origin)->writer, &write->task);
}

static void sqlite_list(mp__origin *origin, mp__list *list)
{
    post_read(of(origin), &list->task, mp__sqlite_run_list);
}

static void sqlite_history(mp__origin *origin, mp__history *history)
{
    post_read(of(origin), &history->task, mp__sqlite_run_history);
}

static void sqlite_count(mp__origin *origin, mp__count *count)
{
    post_read(of(origin), &count->task, mp__sqlite_run_count);
}

static void sqlite_changed(mp__origin *origin, mp__changed *changed)
{
    post_read(of(origin), &changed->task, mp__sqlite_run_changed);
}

static void sqlite_stats(mp__origin *origin, mp__origin_stats *ret_stats)
{
    const mp__sqlite *s = of(origin);

    *ret_stats = (mp__origin_stats){
        .revision = mp__sqlite_get(&s->revision),
        .keys = mp__sqlite_get(&s->keys),
        .fetches = mp__sqlite_get(&s->fetches),
        .writes = mp__sqlite_get(&s->writes),
        .commits = mp__sqlite_get(&s->commits),
        .errors = mp__sqlite_get(&s->errors),
        .corrupt_rows = mp__sqlite_get(&s->corrupt_rows),
        .salvaged = mp__sqlite_get(&s->salvaged) + mp__vfs_stats_read(s->vfs).mended,
        .size_bytes = mp__sqlite_get(&s->size_bytes),
        .commit_ns_last = mp__sqlite_get(&s->commit_ns),
        .batch_last = mp__sqlite_get(&s->batch),
        .behind = atomic_load_explicit(&s->behind, memory_order_relaxed),
    };
    for (size_t i = 0; i < s->options.counted_count; i++)
        ret_stats->keys_of[i] = mp__sqlite_get(&s->keys_of[i]);
}

const mp__origin_ops mp__sqlite_ops = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .fetch = sqlite_fetch,
    .write = sqlite_write,
    .list = sqlite_list,
    .history = sqlite_history,
    .count = sqlite_count,
    .changed = sqlite_changed,
    .stats = sqlite_stats,
    .salvage = mp__sqlite_salvage,
};
