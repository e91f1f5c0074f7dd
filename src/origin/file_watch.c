/* SPDX-License-Identifier: Apache-2.0 */
/* When to look at the folder again: soon after an event, when what was being written to has
 * settled, and in any case each origin.rescan_interval, since events can be lost.
 *
 * Watched are the folder, the folder around it (which tells that it comes and goes, also where it
 * is a link that is swapped) and the folder of each environment. A folder that was replaced is
 * watched anew. Where the system gives no more watches the safety look comes each
 * origin.probe_interval instead. */
#include "origin/file.h"

#include <errno.h>
#include <stdio.h>

enum { LOOK_SHARE = 4 }; /* looking takes at most a quarter of the time */

uint64_t mp__file_rescan_ms(const mp__file_origin *o)
{
    bool ill = o->watch_error || o->folder != MP__FOLDER_THERE || o->failed || o->error_count;

    return ill && o->options.probe_ms < o->options.rescan_ms ? o->options.probe_ms
                                                             : o->options.rescan_ms;
}

void mp__file_schedule(mp__file_origin *o, uint64_t delay_ms)
{
    uint64_t now = mp__env_now_ns(o->env), least = LOOK_SHARE * o->look_ns;
    uint64_t delay = delay_ms * 1000000u > least ? delay_ms * 1000000u : least;

    if (o->closing || !o->timer || (o->due_ns && o->due_ns <= now + delay))
        return;
    o->due_ns = now + delay;
    mp__timer_start(o->timer, (delay + 999999u) / 1000000u, 0);
}

/* ---- events ---- */

static void changed_inside(void *context, const char *name)
{
    mp__file_origin *o = context;

    /* what editors do with hidden files is none of ours; "..data" is how Kubernetes swaps */
    if (name && name[0] == '.' && name[1] != '.' && strcmp(name, ".env") != 0)
        return;
    mp__file_schedule(o, o->options.settle_ms);
}

static void changed_around(void *context, const char *name)
{
    mp__file_origin *o = context;
    const char *slash = strrchr(o->path, '/');

    if (!name || strcmp(name, slash ? slash + 1 : o->path) == 0)
        mp__file_schedule(o, o->options.settle_ms);
}

/* ---- which folders ---- */

static int watch_one(mp__file_origin *o, const char *path,
                     void (*fn)(void *context, const char *name), bool *ret_new)
{
    mp__file_watch *w = NULL;
    mp__stat stat;
    int rc = mp__env_stat(o->env, path, &stat);

    if (rc || !stat.is_dir)
        return 0; /* it is gone, which the next look will see */
    for (size_t i = 0; i < o->watch_count; i++)
        if (strcmp(o->watches[i].path, path) == 0)
            w = &o->watches[i];
    if (w && w->device == stat.device && w->inode == stat.inode) {
        w->wanted = true;
        return 0;
    }
    if (mp__grow(&o->watches, o->watch_count, &o->watch_capacity, sizeof(*o->watches)) != 0)
        return MP_ENOMEM;
    w = &o->watches[o->watch_count];
    *w = (mp__file_watch){.device = stat.device, .inode = stat.inode, .wanted = true};
    w->path = mp__strdup(path);
    rc = w->path ? mp__dirwatch_new(o->loop, path, fn, o, &w->watch) : MP_ENOMEM;
    if (rc) {
        (void)mp__free(w->path);
        return rc;
    }
    o->watch_count++;
    *ret_new = true;
    return 0;
}

static void drop_unwanted(mp__file_origin *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->watch_count; i++) {
        if (o->watches[i].wanted) {
            o->watches[n++] = o->watches[i];
            continue;
        }
        (void)mp__dirwatch_free(o->watches[i].watch);
        (void)mp__free(o->watches[i].path);
    }
    o->watch_count = n;
}

static void note_error(mp__file_origin *o, int rc)
{
    mp__diag diag = {0};

    if (rc == -ENOSPC || rc == -EMFILE)
        (void)snprintf(diag.text, sizeof(diag.text),
                       "the system gives no more watches of folders: changes are seen by looking "
                       "each %llu ms. Raise fs.inotify.%s",
                       (unsigned long long)mp__file_rescan_ms(o),
                       rc == -ENOSPC ? "max_user_watches" : "max_user_instances");
    else
        (void)snprintf(diag.text, sizeof(diag.text),
                       "a folder cannot be watched (%s): changes are seen by looking each %llu ms",
                       mp_strerror(rc), (unsigned long long)mp__file_rescan_ms(o));
    mp__file_trouble_note(o, true, &diag);
}

bool mp__file_watch_all(mp__file_origin *o)
{
    bool is_new = false;
    int rc;

    for (size_t i = 0; i < o->watch_count; i++)
        o->watches[i].wanted = false;
    if (o->parent)
        (void)watch_one(o, o->parent, changed_around, &is_new); /* a help, not a need */
    rc = watch_one(o, o->path, changed_inside, &is_new);
    for (size_t i = 0; i < o->env_count && rc == 0; i++) {
        size_t size = strlen(o->path) + strlen(o->envs[i]->name) + 2;
        MP__CLEANUP_FREE char *path = o->envs[i]->listed ? mp__malloc(size) : NULL;

        if (!o->envs[i]->listed)
            continue;
        if (!path) {
            rc = MP_ENOMEM;
            break;
        }
        (void)snprintf(path, size, "%s/%s", o->path, o->envs[i]->name);
        rc = watch_one(o, path, changed_inside, &is_new);
    }
    drop_unwanted(o);
    o->watch_error = rc;
    if (rc)
        note_error(o, rc);
    return is_new;
}

void mp__file_watch_none(mp__file_origin *o)
{
    for (size_t i = 0; i < o->watch_count; i++)
        o->watches[i].wanted = false;
    drop_unwanted(o);
    o->watches = mp__free(o->watches);
    o->watch_capacity = 0;
}
