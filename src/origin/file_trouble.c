/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with the folder and its files, for people: in the log once when it comes and once
 * when it goes, in the status as long as it is so, in the explanation of each key it concerns. */
#include "origin/file.h"

#include <stdlib.h>

#include "core/address.h"
#include "core/json.h"

static bool same(const mp__diag *a, const mp__diag *b)
{
    return a->line == b->line && a->column == b->column && strcmp(a->file, b->file) == 0 &&
           strcmp(a->text, b->text) == 0;
}

static const mp__file_trouble *among(const mp__file_trouble *troubles, size_t count,
                                     const mp__diag *diag)
{
    for (size_t i = 0; i < count; i++)
        if (same(&troubles[i].diag, diag))
            return &troubles[i];
    return NULL;
}

void mp__file_troubles_begin(mp__file_origin *o)
{
    o->met_count = o->met_errors = 0;
}

void mp__file_trouble_note(mp__file_origin *o, bool is_warning, const mp__diag *diag)
{
    o->met_errors += !is_warning;
    if (o->met_count >= MP__FILE_TROUBLES_SHOWN || among(o->met, o->met_count, diag))
        return;
    if (!o->met)
        o->met = mp__calloc(MP__FILE_TROUBLES_SHOWN, sizeof(*o->met));
    if (!o->met)
        return; /* counted all the same */
    o->met[o->met_count++] = (mp__file_trouble){
        .diag = *diag, .is_warning = is_warning, .since_ms = mp__env_wall_ms(o->env)};
}

static size_t keys_of(const mp__file_origin *o, const char *file)
{
    size_t n = 0;

    for (size_t i = 0; i < o->group_count; i++)
        for (size_t k = 0; k < o->groups[i]->count; k++) {
            const mp__file_source *source = o->groups[i]->held[k].source;

            n += source && strcmp(source->name, file) == 0;
        }
    return n;
}

static void log_new(const mp__file_origin *o, mp__file_trouble *trouble)
{
    char text[900];

    if (!trouble->is_warning)
        trouble->keys_kept = keys_of(o, trouble->diag.file);
    mp__log(o->options.log, trouble->is_warning ? MP__LOG_WARN : MP__LOG_ERROR, "origin",
            "file-trouble", "%s%s", mp__diag_format(&trouble->diag, text, sizeof(text)),
            trouble->keys_kept ? "; its last good version stays" : "");
}

void mp__file_troubles_end(mp__file_origin *o)
{
    mp__file_trouble *old = o->troubles;
    size_t old_count = o->trouble_count;

    for (size_t i = 0; i < o->met_count; i++) {
        const mp__file_trouble *before = among(old, old_count, &o->met[i].diag);

        if (before) {
            o->met[i].since_ms = before->since_ms;
            o->met[i].keys_kept = before->keys_kept;
        } else {
            log_new(o, &o->met[i]);
        }
    }
    for (size_t i = 0; i < old_count; i++)
        if (!among(o->met, o->met_count, &old[i].diag))
            mp__log(o->options.log, MP__LOG_INFO, "origin", "file-mended", "%s: no more of: %s",
                    old[i].diag.file[0] ? old[i].diag.file : o->path, old[i].diag.text);
    (void)pthread_mutex_lock(&o->lock);
    o->troubles = o->met;
    o->trouble_count = o->met_count;
    o->error_count = o->met_errors;
    (void)pthread_mutex_unlock(&o->lock);
    o->met = old; /* its memory serves the next look */
    o->met_count = 0;
}

/* ---- telling ---- */

static void trouble_json(const mp__file_trouble *trouble, mp__buf *json)
{
    mp__json_begin(json, '{');
    mp__json_add_text(json, "severity", trouble->is_warning ? "warning" : "error");
    mp__json_add_text(json, "file", trouble->diag.file);
    if (trouble->diag.line) {
        mp__json_add_i64(json, "line", trouble->diag.line);
        mp__json_add_i64(json, "column", trouble->diag.column);
    }
    mp__json_add_text(json, "text", trouble->diag.text);
    mp__json_add_i64(json, "since_ms", trouble->since_ms);
    if (!trouble->is_warning)
        mp__json_add_u64(json, "keys_kept", trouble->keys_kept);
    mp__json_end(json, '}');
}

/* What is held of @address, and the group that has it; NULL: nothing. */
static const mp__held *held_of(mp__file_origin *o, mp_str address, const mp__file_group **ret_group)
{
    const char *first = memchr(address.data, '/', address.size), *second;
    const mp__file_group *group;

    if (!first)
        return NULL;
    second = memchr(first + 1, '/', address.size - (size_t)(first + 1 - address.data));
    if (!second)
        return NULL;
    group = mp__file_group_of(o, mp_str_new(address.data, (size_t)(second - address.data)), false);
    if (!group || !group->count)
        return NULL;
    *ret_group = group;
    return mp__held_find(group->held, group->count, address);
}

/* The file that gives @address, or NULL. Under the lock. */
static const char *file_of(mp__file_origin *o, mp_str address)
{
    const mp__file_group *group = NULL;
    const mp__held *held = held_of(o, address, &group);

    return held && held->source ? held->source->name : NULL;
}

static bool concerns(const mp__file_trouble *trouble, const char *file, mp_str address)
{
    size_t size = strlen(trouble->diag.file);

    if (file && strcmp(trouble->diag.file, file) == 0)
        return true;
    /* of the environment, or of a file of the namespace that may be meant to give it */
    if (size < address.size && memcmp(trouble->diag.file, address.data, size) == 0 &&
        address.data[size] == '/')
        return true;
    for (size_t slashes = 0, i = 0; i < address.size && i < size; i++) {
        slashes += address.data[i] == '/';
        if (slashes == 2)
            return trouble->diag.file[i] == '.';
        if (trouble->diag.file[i] != address.data[i])
            return false;
    }
    return false;
}

void mp__file_describe(mp__origin *origin, mp_str address, mp__buf *json)
{
    mp__file_origin *o = (mp__file_origin *)origin;
    const char *file;

    (void)pthread_mutex_lock(&o->lock);
    mp__json_add_text(json, "path", o->path);
    if (address.size) {
        file = file_of(o, address);
        if (file)
            mp__json_add_text(json, "file", file);
    } else {
        file = NULL;
        mp__json_add_u64(json, "files", o->source_count);
        mp__json_add_u64(json, "files_in_error", o->error_count);
    }
    mp__json_key(json, "troubles");
    mp__json_begin(json, '[');
    for (size_t i = 0; i < o->trouble_count; i++)
        if (!address.size || concerns(&o->troubles[i], file, address))
            trouble_json(&o->troubles[i], json);
    mp__json_end(json, ']');
    (void)pthread_mutex_unlock(&o->lock);
}

/* ---- doubt ---- */

static bool is_held_by_doubt(const mp__file_group *group, const mp__held *held)
{
    return held->source ? held->source->in_doubt : group->unknown_in_doubt;
}

void mp__file_doubts_link(mp__file_group *group)
{
    size_t next = group->count;

    for (size_t k = group->count; k-- > 0;) {
        if (group->held[k].in_doubt)
            next = k;
        group->held[k].next_in_doubt = (uint32_t)next;
    }
}

bool mp__file_in_doubt(mp__file_origin *o, mp_str address)
{
    const mp__file_group *group = NULL;
    const mp__held *held = held_of(o, address, &group);

    return held && is_held_by_doubt(group, held);
}

/* Note what is in doubt now. */
static void note_doubts(mp__file_origin *o, mp__file_group *group)
{
    bool any = group->environment->missing;

    (void)pthread_mutex_lock(&o->lock);
    for (mp__file_source *s = group->sources; s; s = s->next_of_group) {
        bool was = s->in_doubt;

        s->in_doubt = s->trouble || group->environment->missing;
        any |= s->in_doubt;
        group->differs |= s->in_doubt != was;
    }
    /* of an earlier run: perhaps of a file that is in error */
    group->differs |= group->unknown_in_doubt != any;
    group->unknown_in_doubt = any;
    for (size_t k = 0; group->differs && k < group->count; k++) {
        group->held[k].was_in_doubt = group->held[k].in_doubt;
        group->held[k].in_doubt = is_held_by_doubt(group, &group->held[k]);
    }
    if (group->differs)
        mp__file_doubts_link(group);
    (void)pthread_mutex_unlock(&o->lock);
}

/* Of those that are not named: what all of them have in common, for either way. */
typedef struct rest {
    mp_str first, last; /* they are in order, so it is what these two have */
} rest;

static void tell_rest(const mp__file_origin *o, const rest *r, bool begins)
{
    if (r->first.size)
        o->options.on_doubts(o->options.context,
                             mp_str_new(r->first.data, mp__common_size(r->first, r->last)), begins);
}

/* A file may have more keys than watchers can be told of one by one: the queues of their loops
 * would run over, and with them those of others. */
static void tell_group(const mp__file_origin *o, const mp__file_group *group, size_t *named)
{
    rest rests[2] = {{{0}, {0}}, {{0}, {0}}}; /* mended; in doubt */

    for (size_t k = 0; k < group->count; k++) {
        const mp__held *held = &group->held[k];
        bool is_named = *named < MP__FILE_DOUBTS_NAMED;
        rest *r = &rests[held->in_doubt];

        if (held->in_doubt == held->was_in_doubt)
            continue;
        o->options.on_doubt(o->options.context, held->address, held->in_doubt, is_named);
        *named += is_named;
        if (is_named)
            continue;
        if (!r->first.size)
            r->first = held->address;
        r->last = held->address;
    }
    tell_rest(o, &rests[false], false);
    tell_rest(o, &rests[true], true);
}

void mp__file_doubts_tell(mp__file_origin *o)
{
    size_t named = 0;
    bool any = false;

    for (size_t i = 0; i < o->group_count; i++) {
        note_doubts(o, o->groups[i]);
        any |= o->groups[i]->unknown_in_doubt;
    }
    atomic_store(&o->has_doubts, any);
    for (size_t i = 0; i < o->group_count; i++) {
        mp__file_group *group = o->groups[i];

        if (group->differs && o->options.on_doubt)
            tell_group(o, group, &named);
        group->differs = false;
    }
}

static bool begins_alike(mp_str a, mp_str b)
{
    size_t size = a.size < b.size ? a.size : b.size;

    return size == 0 || memcmp(a.data, b.data, size) == 0;
}

/* The first of its addresses, which are in order, that is not less than @prefix. */
static size_t first_of(const mp__file_group *group, mp_str prefix)
{
    size_t from = 0, to = group->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        mp_str address = group->held[middle].address;
        size_t size = address.size < prefix.size ? address.size : prefix.size;
        int order = size ? memcmp(address.data, prefix.data, size) : 0;

        if (order < 0 || (order == 0 && address.size < prefix.size))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

void mp__file_doubts(mp__origin *origin, mp_str prefix, int (*each)(void *context, mp_str address),
                     void *context)
{
    mp__file_origin *o = (mp__file_origin *)origin;
    int rc = 0;

    if (!atomic_load(&o->has_doubts))
        return;
    (void)pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < o->group_count && rc == 0; i++) {
        const mp__file_group *group = o->groups[i];

        if (!begins_alike(prefix, mp_str_of(group->name)) || !group->unknown_in_doubt)
            continue;
        for (size_t k = first_of(group, prefix); k < group->count && rc == 0; k++) {
            mp_str address;

            k = group->held[k].next_in_doubt;
            if (k == group->count)
                break;
            address = group->held[k].address;
            if (address.size < prefix.size || !begins_alike(prefix, address))
                break;
            rc = each(context, address);
        }
    }
    (void)pthread_mutex_unlock(&o->lock);
}
