/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the files that the walk found.
 *
 * A file is read when its stat is not the one that was last looked at, and not before it was left
 * alone for origin.settle: who writes in place writes in several steps, and a part of a file may
 * parse. Time stamps of files go in steps of some milliseconds, so one that changed just before it
 * was read is read once more ("racy" in git's terms, git's Documentation/technical/racy-git.txt).
 */
#include "origin/file.h"

#include <errno.h>
#include <stdlib.h>

#include "core/address.h"

enum { READ_AGAIN_MS = 20, TRIES = 3, PATIENCE = 20 };

/* How long ago it was changed; far in the past where its time lies in the future. */
static int64_t age_ms(const mp__file_origin *o, const mp__stat *stat)
{
    int64_t age = mp__env_wall_ms(o->env) - stat->changed_ns / 1000000;

    return age < 0 ? INT64_MAX : age;
}

/* Whether @stat was left alone for long enough. What never is is taken as it is after a while;
 * *since_ns is when that began, 0: not. */
bool mp__file_is_settled(mp__file_origin *o, const mp__stat *stat, uint64_t *since_ns)
{
    uint64_t now = mp__env_now_ns(o->env);

    if (o->opening || age_ms(o, stat) >= (int64_t)o->options.settle_ms) {
        *since_ns = 0;
        return true;
    }
    if (!*since_ns)
        *since_ns = now;
    o->unsettled = true;
    return now - *since_ns > PATIENCE * o->options.settle_ms * 1000000u;
}

bool mp__file_same(const mp__stat *a, const mp__stat *b)
{
    return a->size == b->size && a->device == b->device && a->inode == b->inode &&
           a->changed_ns == b->changed_ns;
}

static bool gave_keys(const mp__file_source *source)
{
    const mp__file_group *g = source->group;

    for (size_t i = 0; i < g->count; i++)
        if (g->held[i].source == source || !g->held[i].source)
            return true;
    return false;
}

/* Every key must make a good address. */
static int check_keys(mp__file_source *source, const mp__leaves *leaves, mp__diag *diag)
{
    mp_str group = mp_str_of(source->group->name);
    size_t slash = strlen(source->group->environment->name);
    char address[MP__ADDRESS_MAX];

    for (size_t i = 0; i < leaves->count; i++) {
        mp__diag why = {0};
        int rc = mp__address_join(mp_str_new(group.data, slash),
                                  mp_str_new(group.data + slash + 1, group.size - slash - 1),
                                  leaves->items[i].key, address, &why);

        if (rc < 0)
            return mp__diag_set(
                diag, rc, "the key '%.*s': %s",
                (int)(leaves->items[i].key.size < 100 ? leaves->items[i].key.size : 100),
                leaves->items[i].key.data, why.text);
    }
    return 0;
}

/* Parse @text; its leaves are the source's, or its trouble says why not. */
static int parse(mp__file_source *source, mp_str text)
{
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    int rc;

    if (mp__format_is_blank(source->format, text) && gave_keys(source))
        return mp__file_break(source,
                              "is empty, and was not; if it is to have no keys delete it, or "
                              "write {} into it");
    rc = source->format->parse(text, &leaves, &diag);
    if (rc == 0)
        rc = mp__leaves_sort(&leaves, &diag);
    if (rc == 0)
        rc = check_keys(source, &leaves, &diag);
    if (rc) {
        mp__leaves_done(&leaves);
        if (rc == MP_ENOMEM)
            return rc;
        if (mp__file_break(source, "%s", diag.text[0] ? diag.text : mp_strerror(rc)) != 0)
            return MP_ENOMEM;
        source->trouble->line = diag.line;
        source->trouble->column = diag.column;
        return 0;
    }
    source->trouble = mp__free(source->trouble);
    source->warning = mp__free(source->warning); /* asked for again before it is committed */
    mp__leaves_done(&source->leaves);
    source->leaves = leaves;
    source->fresh = true;
    return 0;
}

static int read_text(mp__file_origin *o, mp__file_source *source)
{
    MP__CLEANUP_FREE char *path = mp__file_path_of(o, source->name);
    MP__CLEANUP_FREE char *text = NULL;
    uint64_t content;
    mp__stat after;
    size_t size;
    int rc =
        path ? mp__env_read_file(o->env, path, o->options.file_bytes_max, &text, &size) : MP_ENOMEM;

    if (rc == MP_ENOMEM)
        return rc;
    if (rc == MP_ELIMIT)
        return mp__file_break(source, "is larger than origin.file_max (%zu bytes)",
                              o->options.file_bytes_max);
    if (rc)
        return mp__file_break(source, "cannot be read: %s", mp_strerror(rc));
    if (mp__env_stat(o->env, path, &after) != 0 || !mp__file_same(&after, &source->stat)) {
        o->unsettled = true; /* changed under our eyes */
        return 0;
    }
    content = mp__checksum(1, text, size) | 1;
    if (content != source->content) { /* else touched, not changed */
        rc = parse(source, mp_str_new(text, size));
        if (rc)
            return rc;
        source->content = content;
        source->group->touched = true;
    }
    /* one that changed in this tick of the clock may change again and not show it */
    source->known = age_ms(o, &source->stat) > READ_AGAIN_MS;
    o->unsettled |= !source->known;
    return 0;
}

static int look_at(mp__file_origin *o, mp__file_source *source)
{
    mp__stat stat;
    int rc = mp__file_stat_of(o, source->name, &stat);

    if (rc == MP_ENOMEM)
        return rc;
    if (rc == 0 && source->known && mp__file_same(&stat, &source->stat))
        return 0;
    source->known = false;
    if (rc == -ENOENT && !source->group->environment->settled)
        return 0; /* perhaps gone, perhaps about to be there again */
    if (rc == -ENOENT || rc == -ELOOP)
        return mp__file_break(source, "is a link that points nowhere; what it gave stays");
    if (rc)
        return mp__file_break(source, "cannot be read: %s", mp_strerror(rc));
    if (stat.is_dir || stat.is_special)
        return mp__file_break(source, "is %s, not a file",
                              stat.is_dir ? "a folder" : "a pipe, socket or device");
    if (!mp__file_is_settled(o, &stat, &source->unsettled_ns))
        return 0;
    source->stat = stat;
    return read_text(o, source);
}

/* The state of all folders in one number: what is swapped while files are read shows in it. */
static uint64_t folders_sum(const mp__file_origin *o)
{
    uint64_t sum = 1;

    for (size_t i = 0; i < o->env_count; i++) {
        mp__stat stat;

        if (mp__file_stat_of(o, o->envs[i]->name, &stat) != 0)
            continue;
        sum = mp__checksum(sum, &stat.inode, sizeof(stat.inode));
        sum = mp__checksum(sum, &stat.changed_ns, sizeof(stat.changed_ns));
    }
    return sum;
}

/* Read what changed; again when a folder changed meanwhile, so that files which were swapped
 * together are taken together. */
int mp__file_read_all(mp__file_origin *o)
{
    int rc = 0;

    for (int tries = 0; tries < TRIES && rc == 0; tries++) {
        uint64_t before = folders_sum(o);

        for (size_t i = 0; i < o->source_count && rc == 0; i++)
            if (o->sources[i]->listed && !o->sources[i]->group->environment->missing)
                rc = look_at(o, o->sources[i]);
        if (folders_sum(o) == before)
            break;
    }
    return rc;
}
