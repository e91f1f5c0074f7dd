/* SPDX-License-Identifier: Apache-2.0 */
/* The folder as it is now: DIR/ENVIRONMENT/NAMESPACE.ext, where ENVIRONMENT is a scope: a region's
 * folder is called production~eu, an instance's production~eu~i7.
 *
 * What is gone is gone, except where it looks like a mount that is not there: a missing folder of
 * an environment, or an empty one on another device. Then what it gave is kept. */
#include "origin/file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/address.h"

typedef struct walk {
    mp__file_origin *o;
    mp__file_env *environment; /* whose folder is listed */
    char **names;              /* of files, "environment/name" */
    size_t count, capacity;
    int rc;
} walk;

/* ---- what is known ---- */

mp__file_source *mp__file_source_free(mp__file_source *source)
{
    if (!source)
        return NULL;
    mp__leaves_done(&source->leaves);
    (void)mp__free(source->trouble);
    (void)mp__free(source->warning);
    (void)mp__free(source->name);
    return mp__free(source);
}

mp__file_env *mp__file_env_of(mp__file_origin *o, mp_str name, bool make)
{
    mp__file_env *made, **more;

    for (size_t i = 0; i < o->env_count; i++)
        if (mp_str_equal(mp_str_of(o->envs[i]->name), name))
            return o->envs[i];
    if (!make || o->env_count >= MP__FILE_ENVIRONMENTS_MAX)
        return NULL;
    made = mp__calloc(1, sizeof(*made));
    more = mp__realloc_array(o->envs, o->env_count + 1, sizeof(*more));
    if (more)
        o->envs = more;
    if (made)
        made->name = mp__str_dup(name);
    if (!made || !more || !made->name) {
        if (made)
            (void)mp__free(made->name);
        return mp__free(made);
    }
    o->envs[o->env_count++] = made;
    return made;
}

/* Where @name is, or would be, among the groups. */
static size_t group_place(const mp__file_origin *o, mp_str name, bool *ret_there)
{
    size_t low = 0, high = o->group_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        mp_str at = mp_str_of(o->groups[middle]->name);
        int order = memcmp(at.data, name.data, at.size < name.size ? at.size : name.size);

        order = order ? order : (at.size > name.size) - (at.size < name.size);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_there = false;
    return low;
}

mp__file_group *mp__file_group_of(mp__file_origin *o, mp_str name, bool make)
{
    const char *slash = memchr(name.data, '/', name.size);
    bool there;
    size_t at = group_place(o, name, &there);
    mp__file_group *group;

    if (there || !make || !slash)
        return there ? o->groups[at] : NULL;
    if (mp__grow(&o->groups, o->group_count, &o->group_capacity, sizeof(*o->groups)) != 0)
        return NULL;
    group = mp__calloc(1, sizeof(*group));
    if (!group)
        return NULL;
    group->origin = o;
    group->name = mp__str_dup(name);
    group->environment =
        mp__file_env_of(o, mp_str_new(name.data, (size_t)(slash - name.data)), true);
    if (!group->name || !group->environment)
        return mp__file_group_free(group);
    memmove(&o->groups[at + 1], &o->groups[at], (o->group_count - at) * sizeof(*o->groups));
    o->groups[at] = group;
    o->group_count++;
    return group;
}

int mp__file_break(mp__file_source *source, const char *format, ...)
{
    va_list args;

    if (!source->trouble)
        source->trouble = mp__calloc(1, sizeof(*source->trouble));
    if (!source->trouble)
        return MP_ENOMEM;
    source->content = 0; /* when it can be read again it is parsed again */
    source->trouble->line = source->trouble->column = 0;
    (void)snprintf(source->trouble->file, sizeof(source->trouble->file), "%s", source->name);
    va_start(args, format);
    (void)vsnprintf(source->trouble->text, sizeof(source->trouble->text), format, args);
    va_end(args);
    return 0;
}

static void warn(mp__file_origin *o, bool is_warning, const char *file, const char *text)
{
    mp__diag diag = {0};

    (void)snprintf(diag.file, sizeof(diag.file), "%.255s", file);
    (void)snprintf(diag.text, sizeof(diag.text), "%s", text);
    mp__file_trouble_note(o, is_warning, &diag);
}

/* ---- names ---- */

/* Editors and tools keep what is not finished under hidden names or endings of their own. */
static const mp__format *format_of(const char *name)
{
    if (name[0] == '.' && strcmp(name, ".env") != 0)
        return NULL;
    return mp__format_of_path(name);
}

static int name_add(walk *w, const char *name)
{
    size_t size = strlen(w->environment->name) + strlen(name) + 2;

    if (mp__grow(&w->names, w->count, &w->capacity, sizeof(*w->names)) != 0)
        return MP_ENOMEM;
    if (w->count >= MP__FILE_FILES_MAX)
        return MP_ELIMIT;
    w->names[w->count] = mp__malloc(size);
    if (!w->names[w->count])
        return MP_ENOMEM;
    (void)snprintf(w->names[w->count++], size, "%s/%s", w->environment->name, name);
    return 0;
}

char *mp__file_path_of(const mp__file_origin *o, const char *name)
{
    size_t size = strlen(o->path) + strlen(name) + 2;
    char *path = mp__malloc(size);

    if (path)
        (void)snprintf(path, size, "%s/%s", o->path, name);
    return path;
}

int mp__file_stat_of(const mp__file_origin *o, const char *name, mp__stat *ret_stat)
{
    MP__CLEANUP_FREE char *path = mp__file_path_of(o, name);

    *ret_stat = (mp__stat){0};
    return path ? mp__env_stat(o->env, path, ret_stat) : MP_ENOMEM;
}

/* ---- listing ---- */

static int met_in_environment(void *context, const char *name)
{
    walk *w = context;
    mp__file_origin *o = w->o;
    char said[512];
    mp__stat stat;

    if (format_of(name)) {
        int rc = name_add(w, name);

        w->environment->files += rc == 0;
        return rc;
    }
    if (name[0] == '.')
        return 0;
    (void)snprintf(said, sizeof(said), "%s/%s", w->environment->name, name);
    if (mp__file_stat_of(o, said, &stat) == 0 && stat.is_dir)
        warn(o, true, said,
             "folders below an environment are not read; ENVIRONMENT/NAMESPACE.yaml "
             "is the form");
    return 0;
}

static int met_in_folder(void *context, const char *name)
{
    walk *w = context;
    mp__file_origin *o = w->o;
    mp__file_env *environment;
    mp__diag diag = {0};
    mp__stat stat;

    if (name[0] == '.' || strcmp(name, "lost+found") == 0)
        return 0;
    if (mp__file_stat_of(o, name, &stat) != 0)
        return 0; /* gone again */
    if (!stat.is_dir) {
        if (format_of(name))
            warn(o, true, name, "is in no environment's folder; move it to ENVIRONMENT/");
        return 0;
    }
    if (mp__scope_check(mp_str_of(name), &diag) != 0) {
        warn(o, true, name,
             "is no name for an environment: a-z A-Z 0-9 . _ -, not beginning with . "
             "or -; a region's folder is called ENVIRONMENT~REGION, an instance's "
             "ENVIRONMENT~REGION~INSTANCE");
        return 0;
    }
    environment = mp__file_env_of(o, mp_str_of(name), true);
    if (!environment)
        return o->env_count >= MP__FILE_ENVIRONMENTS_MAX ? MP_ELIMIT : MP_ENOMEM;
    environment->listed = true;
    environment->stat = stat;
    return 0;
}

static bool gives_keys(const mp__file_origin *o, const mp__file_env *environment)
{
    for (size_t i = 0; i < o->group_count; i++)
        if (o->groups[i]->environment == environment && o->groups[i]->count)
            return true;
    return false;
}

/* Whether @environment looks as if it was not mounted. */
static void judge_environment(mp__file_origin *o, mp__file_env *environment, int status)
{
    bool other_place = environment->stat.device != environment->device || !environment->device;
    char text[400];

    environment->missing = false;
    if (status == 0 && environment->listed && (environment->files || !other_place)) {
        environment->device = environment->stat.device ? environment->stat.device : 1;
        return;
    }
    if (!gives_keys(o, environment))
        return;
    environment->missing = true;
    if (status)
        (void)snprintf(text, sizeof(text), "cannot be read: %s; its keys stay as they were",
                       mp_strerror(status));
    else
        (void)snprintf(text, sizeof(text),
                       "%s; its keys stay as they were. Put it back; or, if it "
                       "is to have none, leave an empty folder there",
                       environment->listed ? "is empty, as if something was not mounted"
                                           : "the folder is gone");
    warn(o, false, environment->name, text);
}

static int list_environment(walk *w, mp__file_env *environment)
{
    MP__CLEANUP_FREE char *path = mp__file_path_of(w->o, environment->name);
    int rc = path ? 0 : MP_ENOMEM;

    w->environment = environment;
    environment->files = 0;
    if (rc == 0 && environment->listed)
        rc = mp__env_list(w->o->env, path, met_in_environment, w);
    if (rc == MP_ENOMEM || rc == MP_ELIMIT)
        return rc;
    environment->listed &= rc != -ENOENT; /* it went just now */
    judge_environment(w->o, environment, rc == -ENOENT ? 0 : rc);
    return 0;
}

/* ---- the folder itself ---- */

static void folder_is(mp__file_origin *o, enum mp__file_folder how, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void folder_is(mp__file_origin *o, enum mp__file_folder how, const char *format, ...)
{
    va_list args;

    if (how != MP__FOLDER_THERE && o->folder == MP__FOLDER_THERE)
        o->gone_since_ms = o->opening ? 0 : mp__env_wall_ms(o->env);
    o->folder = how;
    va_start(args, format);
    (void)vsnprintf(o->folder_cause, sizeof(o->folder_cause), format, args);
    va_end(args);
}

static int list_folder(walk *w)
{
    mp__file_origin *o = w->o;
    size_t missing = 0;
    int rc;

    for (size_t i = 0; i < o->env_count; i++)
        o->envs[i]->listed = false;
    rc = mp__env_list(o->env, o->path, met_in_folder, w);
    for (size_t i = 0; i < o->env_count && rc == 0; i++) {
        rc = list_environment(w, o->envs[i]);
        missing += o->envs[i]->missing;
    }
    if (rc == MP_ENOMEM)
        return rc;
    if (rc == MP_ELIMIT)
        folder_is(o, MP__FOLDER_UNREADABLE,
                  "%.200s holds more than %d environments or %d files; what was taken stays",
                  o->path, MP__FILE_ENVIRONMENTS_MAX, MP__FILE_FILES_MAX);
    else if (rc == -ENOENT || rc == -ENOTDIR)
        folder_is(o, o->key_count ? MP__FOLDER_GONE : MP__FOLDER_UNREADABLE,
                  "there is no folder %.200s", o->path);
    else if (rc)
        folder_is(o, MP__FOLDER_UNREADABLE, "%.200s cannot be read: %s", o->path, mp_strerror(rc));
    else if (missing && w->count == 0)
        folder_is(o, MP__FOLDER_GONE, "%.200s is empty, as if something was not mounted", o->path);
    else
        folder_is(o, MP__FOLDER_THERE, "%s", "");
    return 0;
}

/* ---- sources ---- */

static int compare_sources(const void *a, const void *b)
{
    return strcmp((*(mp__file_source *const *)a)->name, (*(mp__file_source *const *)b)->name);
}

static int compare_name(const void *key, const void *source)
{
    return strcmp(key, (*(mp__file_source *const *)source)->name);
}

/* "production/a.b.yaml" is of the group "production/a.b", "production/.env" of
 * "production/default". */
static mp__file_group *group_of_file(mp__file_origin *o, const char *name)
{
    const char *slash = strchr(name, '/'), *dot = strrchr(slash, '.');
    char group[MP__SCOPE_MAX + MP__NAMESPACE_MAX + 2];
    mp_str stem =
        dot == slash + 1 ? MP_STR("default") : mp_str_new(slash + 1, (size_t)(dot - slash - 1));

    if (stem.size > MP__NAMESPACE_MAX)
        return NULL;
    (void)snprintf(group, sizeof(group), "%.*s/%.*s", (int)(slash - name), name, (int)stem.size,
                   stem.data);
    return mp__file_group_of(o, mp_str_of(group), true);
}

static int source_add(mp__file_origin *o, const char *name)
{
    mp__file_source *source;
    mp__file_source **more;

    if (o->source_count == o->source_capacity) {
        size_t capacity = o->source_capacity ? 2 * o->source_capacity : 64;

        more = mp__realloc_array(o->sources, capacity, sizeof(*more));
        if (!more)
            return MP_ENOMEM;
        o->sources = more;
        o->source_capacity = capacity;
    }
    source = mp__calloc(1, sizeof(*source));
    if (!source)
        return MP_ENOMEM;
    source->name = mp__strdup(name);
    source->format = format_of(strchr(name, '/') + 1);
    source->listed = true;
    if (source->name)
        source->group = group_of_file(o, name);
    if (!source->name || !source->group) {
        (void)mp__file_source_free(source);
        if (strlen(strchr(name, '/')) > MP__NAMESPACE_MAX) {
            warn(o, false, name, "the name is too long for a namespace");
            return 0;
        }
        return MP_ENOMEM;
    }
    source->next_of_group = source->group->sources;
    source->group->sources = source;
    o->sources[o->source_count++] = source;
    return 0;
}

/* Match the names that were found with the sources that are known. */
static int match(walk *w)
{
    mp__file_origin *o = w->o;
    size_t known = o->source_count;
    int rc = 0;

    /* a file that is deleted and written anew is not gone: so a folder must have settled */
    for (size_t i = 0; i < o->env_count; i++)
        o->envs[i]->settled = !o->envs[i]->listed ||
                              mp__file_is_settled(o, &o->envs[i]->stat, &o->envs[i]->unsettled_ns);
    for (size_t i = 0; i < known; i++)
        o->sources[i]->listed = o->sources[i]->group->environment->missing ||
                                !o->sources[i]->group->environment->settled;
    (void)pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < w->count && rc == 0; i++) {
        mp__file_source **source =
            known ? bsearch(w->names[i], o->sources, known, sizeof(*o->sources), compare_name)
                  : NULL;

        if (source)
            (*source)->listed = true;
        else
            rc = source_add(o, w->names[i]);
    }
    if (o->source_count)
        qsort(o->sources, o->source_count, sizeof(*o->sources), compare_sources);
    (void)pthread_mutex_unlock(&o->lock);
    for (size_t i = 0; i < o->source_count; i++)
        if (!o->sources[i]->listed) {
            o->sources[i]->known = false;
            o->sources[i]->content = 0;
            o->sources[i]->group->touched = true;
        }
    return rc;
}

static void note_trouble(mp__file_origin *o, const mp__file_source *source)
{
    if (source->trouble && source->listed)
        mp__file_trouble_note(o, false, source->trouble);
    else if (source->warning && source->listed)
        mp__file_trouble_note(o, true, source->warning);
}

int mp__file_walk(mp__file_origin *o)
{
    walk w = {.o = o};
    int rc;

    o->unsettled = false;
    rc = list_folder(&w);
    if (rc == 0 && o->folder == MP__FOLDER_THERE)
        rc = match(&w);
    if (rc == 0 && o->folder == MP__FOLDER_THERE)
        rc = mp__file_read_all(o);
    for (size_t i = 0; i < o->source_count; i++)
        note_trouble(o, o->sources[i]);
    for (size_t i = 0; i < w.count; i++)
        (void)mp__free(w.names[i]);
    (void)mp__free(w.names);
    return rc;
}

/* ---- a look for one read ---- */

bool mp__file_is_changed(mp__file_origin *o, mp_str address)
{
    const char *first = memchr(address.data, '/', address.size), *second;
    mp__file_env *environment;
    mp__file_group *group;
    MP__CLEANUP_FREE char *name = NULL;
    mp__stat stat;

    if (!first)
        return false;
    second = memchr(first + 1, '/', address.size - (size_t)(first + 1 - address.data));
    name = mp__str_dup(mp_str_new(address.data, (size_t)(first - address.data)));
    if (!second || !name || mp__scope_check(mp_str_of(name), NULL) != 0)
        return false;
    environment = mp__file_env_of(o, mp_str_of(name), false);
    if (mp__file_stat_of(o, name, &stat) != 0)
        return environment && environment->listed;
    if (!environment || !mp__file_same(&stat, &environment->stat))
        return true;
    group = mp__file_group_of(o, mp_str_new(address.data, (size_t)(second - address.data)), false);
    for (mp__file_source *s = group ? group->sources : NULL; s; s = s->next_of_group)
        if (mp__file_stat_of(o, s->name, &stat) != 0 || !mp__file_same(&stat, &s->stat))
            return true;
    return false;
}
