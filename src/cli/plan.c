/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plan.h"

#include <stdio.h>

#include "core/address.h"
#include "core/alloc.h"

void mp__plans_done(mp__plans *plans)
{
    for (size_t i = 0; i < plans->count; i++) {
        (void)mp__free(plans->items[i].environment);
        mp__keyset_done(&plans->items[i].wanted);
        mp__keyset_done(&plans->items[i].present);
        mp__buf_done(&plans->items[i].bare);
    }
    (void)mp__free(plans->items);
    *plans = (mp__plans){.arguments = plans->arguments};
}

int mp__cli_environment(const mp__arguments *arguments, mp__client *client, const char *environment)
{
    const char *region = mp__flag_value(arguments, "--region");
    const char *instance = mp__flag_value(arguments, "--instance");
    mp_str scope[] = {MP_STR("MP.SCOPE"), mp_str_of(region ? region : ""),
                      mp_str_of(instance ? instance : "")};
    int code = 0;
    mp__reply *reply = mp__cli_call(arguments, client, &code,
                                    (mp_str[]){MP_STR("MP.ENV"), mp_str_of(environment)}, 2);

    (void)mp__reply_free(reply);
    if (code == 0 && region) /* MP.ENV leaves the region */
        (void)mp__reply_free(mp__cli_call(arguments, client, &code, scope, 3));
    return code;
}

char *mp__cli_own_environment(const mp__arguments *arguments, mp__client *client, int *ret_code)
{
    mp__reply *reply = mp__cli_call(arguments, client, ret_code, (mp_str[]){MP_STR("MP.ENV")}, 1);
    char *name = reply ? mp__str_dup(mp__reply_text(reply)) : NULL;

    if (reply && !name)
        *ret_code = mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
    (void)mp__reply_free(reply);
    return name;
}

static mp__plan *plan_of(mp__plans *plans, const char *environment)
{
    mp__plan *items;

    for (size_t i = 0; i < plans->count; i++)
        if (strcmp(plans->items[i].environment, environment) == 0)
            return &plans->items[i];
    items = mp__realloc_array(plans->items, plans->count + 1, sizeof(*items));
    if (!items)
        return NULL;
    plans->items = items;
    items[plans->count] = (mp__plan){.environment = mp__strdup(environment)};
    return items[plans->count].environment ? &items[plans->count++] : NULL;
}

static int plan_add(mp__plan *plan, const mp__source *s)
{
    for (size_t i = 0; i < s->leaves.count; i++) {
        const mp__leaf *leaf = &s->leaves.items[i];
        mp__key key = {.name = leaf->key,
                       .value = leaf->value,
                       .media_type = leaf->media_type,
                       .stays = true,
                       .path = s->path,
                       .line = leaf->line,
                       .column = leaf->column};

        if (mp__keyset_add(&plan->wanted, mp_str_of(s->namespace_), &key) != 0)
            return MP_ENOMEM;
    }
    if (s->leaves.count)
        return 0;
    (void)mp__buf_printf(&plan->bare, "%s/", s->namespace_);
    return mp__buf_add_char(&plan->bare, '\0');
}

static int check_twice(const mp__sources *sources, mp__plan *plan)
{
    const mp__key *first = mp__keyset_sort(&plan->wanted), *second;

    if (!first)
        return 0;
    second = first + 1;
    return mp__cli_fail(sources->arguments, MP__EXIT_ERROR,
                        "%s:%d:%d: the key '%.*s' is in %s, too (line %d)%s", second->path,
                        second->line, second->column, (int)first->name.size, first->name.data,
                        first->path, first->line, sources->consequence);
}

int mp__plans_make(const mp__sources *sources, mp__client *client, mp__plans *plans)
{
    int code = 0;
    char *own = mp__cli_own_environment(sources->arguments, client, &code);
    bool region = mp__flag_given(sources->arguments, "--region");

    for (size_t i = 0; i < sources->count && code == 0; i++) {
        const mp__source *s = &sources->items[i];
        mp__plan *plan;

        if (s->environment && strchr(s->environment, '~') && region) {
            code = mp__cli_fail(sources->arguments, MP__EXIT_USAGE,
                                "%s is in the folder of a region: leave --region out%s", s->path,
                                sources->consequence);
            break;
        }
        plan = plan_of(plans, s->environment ? s->environment : own);
        if (!plan || plan_add(plan, s) != 0)
            code = mp__cli_fail(sources->arguments, MP__EXIT_ERROR, "out of memory");
    }
    for (size_t i = 0; i < plans->count && code == 0; i++)
        code = check_twice(sources, &plans->items[i]);
    (void)mp__free(own);
    return code;
}

/* The layer that @plan is written to: its folder's, or the environment's with the region that was
 * given. Its size, 0 where there is none. */
static size_t layer_of(const mp__plans *plans, const mp__plan *plan, char out[MP__SCOPE_MAX])
{
    mp_str environment = mp_str_of(plan->environment);
    const char *region = mp__flag_value(plans->arguments, "--region");
    const char *instance = mp__flag_value(plans->arguments, "--instance");
    int n;

    if (mp__scope_check(environment, NULL) == 0 && strchr(plan->environment, '~')) {
        memcpy(out, environment.data, environment.size);
        return environment.size;
    }
    n = mp__scope_build(environment, mp_str_of(region ? region : ""),
                        mp_str_of(instance ? instance : ""), out, NULL);
    return n > 0 ? (size_t)n : 0;
}

/* How near to the readers in the scope @seen the layer is that @plan is written to; 0: they see
 * nothing of it. */
static size_t nearness(const mp__plans *plans, const mp__plan *plan, mp_str seen)
{
    char layer[MP__SCOPE_MAX];
    size_t size = layer_of(plans, plan, layer);

    if (size && size <= seen.size && memcmp(layer, seen.data, size) == 0 &&
        (size == seen.size || seen.data[size] == '~'))
        return 1 + size;
    return strcmp(plan->environment, "base") == 0;
}

const mp__key *mp__plans_find(const void *context, const mp__told *told)
{
    const mp__plans *plans = context;
    MP__CLEANUP_FREE char *pointer = mp__str_dup(told->instance);
    const mp__key *found = NULL;
    size_t best = 0;

    for (size_t i = 0; pointer && i < plans->count; i++) {
        size_t near = nearness(plans, &plans->items[i], told->seen);
        const mp__key *key =
            near > best ? mp__keyset_at(&plans->items[i].wanted, told->where, pointer) : NULL;

        if (key) {
            found = key;
            best = near;
        }
    }
    return found;
}

static mp_str namespace_of(const mp__key *key)
{
    const char *slash = memchr(key->name.data, '/', key->name.size);

    return mp_str_new(key->name.data, (size_t)(slash - key->name.data) + 1);
}

/* Of files without a key, whose namespaces no key that is wanted names. */
static int fetch_bare(const mp__arguments *arguments, mp__client *client, mp__plan *plan)
{
    int code = 0;

    for (size_t at = 0; at < plan->bare.size && code == 0;) {
        mp_str name = mp_str_of(plan->bare.data + at);
        bool is_known = false;

        for (size_t k = 0; k < plan->wanted.count && !is_known; k++)
            is_known = mp_str_equal(namespace_of(&plan->wanted.items[k]), name);
        for (size_t before = 0; before < at && !is_known;
             before += strlen(plan->bare.data + before) + 1)
            is_known = strcmp(plan->bare.data + before, name.data) == 0;
        if (!is_known)
            code = mp__keyset_fetch(arguments, client, name, 0, &plan->present);
        at += name.size + 1;
    }
    return code;
}

int mp__plans_fetch(const mp__arguments *arguments, mp__client *client, mp__plans *plans)
{
    int code = 0;

    for (size_t i = 0; i < plans->count && code == 0; i++) {
        mp__plan *plan = &plans->items[i];
        mp_str last = {0};

        code = mp__cli_environment(arguments, client, plan->environment);
        for (size_t k = 0; k < plan->wanted.count && code == 0; k++) {
            mp_str name = namespace_of(&plan->wanted.items[k]);

            if (!mp_str_equal(name, last))
                code = mp__keyset_fetch(arguments, client, name, 0, &plan->present);
            last = name;
        }
        if (code == 0)
            code = fetch_bare(arguments, client, plan);
    }
    return code;
}

int mp__plans_compare(const mp__plans *plans, bool with_removed, bool print, mp__deltas *deltas)
{
    for (size_t i = 0; i < plans->count; i++) {
        const mp__plan *plan = &plans->items[i];
        size_t first = deltas->count;

        if (mp__deltas_add(deltas, &plan->present, &plan->wanted, with_removed) != 0)
            return MP_ENOMEM;
        if (print)
            mp__deltas_print(deltas, first, plan->environment);
    }
    return 0;
}
