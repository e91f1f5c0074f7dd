/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/keyset.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/json.h"
#include "core/json_read.h"

enum { SHOWN_BYTES = 160 }; /* of a value in a line of a difference */

void mp__keyset_done(mp__keyset *set)
{
    for (size_t i = 0; i < set->count; i++)
        (void)mp__free(set->items[i].memory);
    (void)mp__free(set->items);
    *set = (mp__keyset){0};
}

int mp__keyset_add(mp__keyset *set, mp_str namespace_, const mp__key *key)
{
    size_t before = namespace_.size ? namespace_.size + 1 : 0;
    mp__key *added;
    char *at;

    if (mp__grow(&set->items, set->count, &set->capacity, sizeof(*set->items)) != 0)
        return MP_ENOMEM;
    at = mp__malloc(before + key->name.size + key->value.size + key->media_type.size + 1);
    if (!at)
        return MP_ENOMEM;
    added = &set->items[set->count++];
    *added = *key;
    added->memory = at;
    (void)mp__bytes_lay(&at, namespace_);
    if (before)
        *at++ = '/';
    (void)mp__bytes_lay(&at, key->name);
    added->name = mp_str_new(added->memory, before + key->name.size);
    added->value = mp__bytes_lay(&at, key->value);
    added->media_type = mp__bytes_lay(&at, key->media_type);
    return 0;
}

static int key_compare(const void *a, const void *b)
{
    return mp__bytes_order(((const mp__key *)a)->name, ((const mp__key *)b)->name);
}

const mp__key *mp__keyset_sort(mp__keyset *set)
{
    if (set->count)
        qsort(set->items, set->count, sizeof(*set->items), key_compare);
    for (size_t i = 1; i < set->count; i++)
        if (mp_str_equal(set->items[i - 1].name, set->items[i].name))
            return &set->items[i - 1];
    return NULL;
}

const mp__key *mp__keyset_find(const mp__keyset *set, mp_str name)
{
    mp__key key = {.name = name};

    return set->count ? bsearch(&key, set->items, set->count, sizeof(key), key_compare) : NULL;
}

const mp__key *mp__keyset_at(const mp__keyset *set, mp_str where, const char *pointer)
{
    const char *slash = memchr(where.data, '/', where.size);
    size_t size = slash ? (size_t)(slash - where.data) : where.size;
    mp_str path = slash ? mp_str_new(slash + 1, where.size - size - 1) : mp_str_new("", 0);
    const mp__key *first = NULL;

    for (size_t i = 0; i < set->count; i++) {
        const mp__key *key = &set->items[i];
        mp_str name = key->name;

        if (!key->line || name.size <= size || name.data[size] != '/' ||
            memcmp(name.data, where.data, size) != 0 ||
            !mp__key_is_at(mp_str_new(name.data + size + 1, name.size - size - 1), path, pointer))
            continue;
        if (!first || key->line < first->line ||
            (key->line == first->line && key->column < first->column))
            first = key;
    }
    return first;
}

static int fetch_one(void *context, const mp__listed *listed)
{
    bool in_default = !memchr(listed->key.data, '/', listed->key.size);
    mp__key key = {.name = listed->key,
                   .value = listed->value,
                   .media_type = listed->media_type,
                   .revision = listed->revision,
                   .expires_ms = listed->expires_ms};

    return mp__keyset_add(context, in_default ? MP_STR("default") : mp_str_new("", 0), &key)
               ? mp__cli_fail(NULL, MP__EXIT_ERROR, "out of memory")
               : 0;
}

int mp__keyset_fetch(const mp__arguments *arguments, mp__client *client, mp_str prefix,
                     int64_t revision, mp__keyset *set)
{
    int code = mp__cli_each_at(arguments, client, prefix, revision, fetch_one, set);

    if (code == 0)
        (void)mp__keyset_sort(set);
    return code;
}

int mp__keyset_leaves(const mp__keyset *set, mp_str namespace_, mp__leaves *ret_leaves)
{
    mp__leaves leaves = {.items = mp__calloc(set->count + 1, sizeof(*leaves.items)),
                         .capacity = set->count + 1};

    if (!leaves.items)
        return MP_ENOMEM;
    for (size_t i = 0; i < set->count; i++) {
        const mp__key *key = &set->items[i];

        if (key->name.size > namespace_.size && key->name.data[namespace_.size] == '/' &&
            memcmp(key->name.data, namespace_.data, namespace_.size) == 0)
            leaves.items[leaves.count++] =
                (mp__leaf){.key = mp_str_new(key->name.data + namespace_.size + 1,
                                             key->name.size - namespace_.size - 1),
                           .value = key->value,
                           .media_type = key->media_type};
    }
    *ret_leaves = leaves;
    return 0;
}

/* ---- differences ---- */

void mp__deltas_done(mp__deltas *deltas)
{
    (void)mp__free(deltas->items);
    *deltas = (mp__deltas){0};
}

static int delta_add(mp__deltas *deltas, const mp__key *from, const mp__key *to)
{
    if (mp__grow(&deltas->items, deltas->count, &deltas->capacity, sizeof(*deltas->items)) != 0)
        return MP_ENOMEM;
    deltas->items[deltas->count++] = (mp__delta){from, to, to ? to : from};
    return 0;
}

/* Whether @to is to stay and what is there ends. */
static bool is_to_stay(const mp__key *from, const mp__key *to)
{
    return from && to && to->stays && from->expires_ms;
}

int mp__deltas_add(mp__deltas *deltas, const mp__keyset *from, const mp__keyset *to,
                   bool with_removed)
{
    size_t i = 0, k = 0;
    int rc = 0;

    while (rc == 0 && (i < from->count || k < to->count)) {
        int order = i == from->count ? 1
                    : k == to->count ? -1
                                     : mp__bytes_order(from->items[i].name, to->items[k].name);
        const mp__key *a = order <= 0 ? &from->items[i++] : NULL;
        const mp__key *b = order >= 0 ? &to->items[k++] : NULL;

        if (a && b && mp_str_equal(a->value, b->value) &&
            mp_str_equal(a->media_type, b->media_type) && !is_to_stay(a, b)) {
            deltas->same++;
            continue;
        }
        if (!b && !with_removed)
            continue;
        deltas->added += !a;
        deltas->removed += !b;
        deltas->changed += a && b;
        rc = delta_add(deltas, a, b);
    }
    return rc;
}

/* A value in a line: JSON, so that "5" and 5 are told apart; the media type where it is another, is
 * not true, or is all that differs. */
static void add_shown(mp__buf *out, const mp__key *key, bool with_type)
{
    mp_str value = key->value;
    bool claims = mp_str_equal(key->media_type, MP_STR("application/json"));
    bool is_json = claims && mp__json_check(value, NULL) == 0;
    bool is_text = mp_str_equal(key->media_type, MP_STR("text/plain")) || !key->media_type.size;

    if (value.size > SHOWN_BYTES)
        value.size = SHOWN_BYTES;
    if (is_json && !memchr(value.data, '\n', value.size))
        (void)mp__buf_add_str(out, value);
    else
        mp__json_string(out, value);
    if (value.size < key->value.size)
        (void)mp__buf_printf(out, "... (%zu bytes)", key->value.size);
    if (with_type && !key->media_type.size)
        (void)mp__buf_add_str(out, MP_STR(" (no type)"));
    else if (claims && !is_json)
        (void)mp__buf_add_str(out, MP_STR(" (application/json, but no JSON)"));
    else if (with_type || (!is_json && !is_text))
        (void)mp__buf_printf(out, " (%.*s)", (int)key->media_type.size, key->media_type.data);
}

void mp__deltas_print(const mp__deltas *deltas, size_t first, const char *environment)
{
    static const char *const colours[] = {"\033[32m", "\033[31m", "\033[33m"};
    bool colour = mp__cli_colour(1);
    mp__buf line = MP__BUF_INIT;

    if (environment && first < deltas->count)
        (void)printf("%s:\n", environment);
    for (size_t i = first; i < deltas->count; i++) {
        const mp__delta *d = &deltas->items[i];
        mp_str name = d->key->name;
        int kind = !d->from ? 0 : !d->to ? 1 : 2;
        bool stays = is_to_stay(d->from, d->to);
        bool types = d->from && d->to && mp_str_equal(d->from->value, d->to->value) &&
                     !(stays && mp_str_equal(d->from->media_type, d->to->media_type));
        char left[32];

        mp__buf_reset(&line);
        (void)mp__buf_printf(&line, "%c %.*s: ", "+-~"[kind], (int)name.size, name.data);
        if (d->from)
            add_shown(&line, d->from, types);
        if (stays)
            (void)mp__buf_printf(
                &line, " (expires in %s)",
                mp__cli_ago(d->from->expires_ms - mp__cli_now_ms(), left, sizeof(left)));
        if (kind == 2)
            (void)mp__buf_add_str(&line, MP_STR(" -> "));
        if (d->to)
            add_shown(&line, d->to, types);
        if (stays)
            (void)mp__buf_add_str(&line, MP_STR(" (stays)"));
        if (colour)
            mp__cli_own(stdout, colours[kind]);
        (void)mp__cli_put(mp__buf_str(&line));
        if (colour)
            mp__cli_own(stdout, "\033[0m");
        (void)mp__cli_put(MP_STR("\n"));
    }
    mp__buf_done(&line);
}

void mp__deltas_json(const mp__deltas *deltas, mp__buf *json)
{
    static const char *const kinds[] = {"add", "remove", "change"};

    mp__json_add_u64(json, "added", deltas->added);
    mp__json_add_u64(json, "changed", deltas->changed);
    mp__json_add_u64(json, "removed", deltas->removed);
    mp__json_key(json, "changes");
    mp__json_begin(json, '[');
    for (size_t i = 0; i < deltas->count; i++) {
        const mp__delta *d = &deltas->items[i];

        mp__json_begin(json, '{');
        mp__json_add_text(json, "change", kinds[!d->from ? 0 : !d->to ? 1 : 2]);
        mp__json_add_string(json, "key", d->key->name);
        if (d->from)
            mp__cli_add_value(json, "from", d->from->value, d->from->media_type);
        if (is_to_stay(d->from, d->to))
            mp__json_add_i64(json, "from_expires_ms", d->from->expires_ms);
        if (d->to)
            mp__cli_add_value(json, "to", d->to->value, d->to->media_type);
        if (d->to)
            mp__json_add_string(json, "media_type", d->to->media_type);
        mp__json_end(json, '}');
    }
    mp__json_end(json, ']');
}
