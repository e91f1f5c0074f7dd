/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of an environment that is none yet. Its first write makes one, so that a misspelt
 * name is no error: reads find nothing, and writes go where nobody looks. */
#include "cli/environments.h"

#include <stdio.h>

#include "core/alloc.h"
#include "core/option.h"

enum { NAMES_MAX = 4096, SHOWN_MAX = 8 };

typedef struct environments {
    char **names;
    size_t with_keys; /* so many of them, the first ones; the others only an option names */
    size_t count, capacity;
    bool is_whole; /* none was left out */
} environments;

static bool holds(const environments *all, mp_str name)
{
    for (size_t i = 0; i < all->count; i++)
        if (mp_str_equal(mp_str_of(all->names[i]), name))
            return true;
    return false;
}

/* "production" for "production~eu~i1". */
static mp_str environment_of(mp_str scope)
{
    const char *region = scope.size ? memchr(scope.data, '~', scope.size) : NULL;

    return region ? mp_str_new(scope.data, (size_t)(region - scope.data)) : scope;
}

static void add(environments *all, mp_str scope)
{
    mp_str name = environment_of(scope);

    if (!name.size || holds(all, name))
        return;
    if (all->count == NAMES_MAX ||
        mp__grow(&all->names, all->count, &all->capacity, sizeof(*all->names)) != 0 ||
        !(all->names[all->count] = mp__str_dup(name)))
        all->is_whole = false;
    else
        all->count++;
}

static void done(environments *all)
{
    for (size_t i = 0; i < all->count; i++)
        (void)mp__free(all->names[i]);
    (void)mp__free(all->names);
}

/* NULL, and nothing is said, where that cannot be told. */
static mp__reply *ask(mp__client *client, const mp_str *words, size_t count)
{
    mp__reply *reply = NULL;
    mp__diag diag;

    if (mp__client_call(client, words, count, &reply, &diag) != 0)
        return NULL;
    return reply->type == MP__REPLY_ERROR ? mp__reply_free(reply) : reply;
}

/* False: not all of them could be had. */
static bool fetch(mp__client *client, environments *all)
{
    mp__reply *reply = ask(client, (mp_str[]){MP_STR("MP.ENVS")}, 1);
    mp_str named;

    if (!reply)
        return false;
    all->is_whole = true;
    for (size_t i = 0; i < reply->count; i++)
        add(all, mp__reply_text(&reply->items[i]));
    all->with_keys = all->count;
    (void)mp__reply_free(reply);
    reply = ask(client, (mp_str[]){MP_STR("CONFIG"), MP_STR("GET"), MP_STR("resp.databases")}, 3);
    named = mp__reply_text(mp__reply_member(reply, "resp.databases"));
    for (size_t i = 0, end; i < named.size; i = end + 1) {
        for (end = i; end < named.size && !strchr("[], \"", named.data[end]);)
            end++; /* [production, staging] */
        add(all, mp_str_new(named.data + i, end - i));
    }
    (void)mp__reply_free(reply);
    return all->is_whole;
}

static void say_unknown(const mp__arguments *arguments, const environments *all, const char *name,
                        bool writes)
{
    const char *begins = writes ? ": its first key makes it" : "";
    const char *near = mp__did_you_mean(name, (const char *const *)all->names, all->count);
    char known[400] = "";
    size_t used = 0;

    if (near) {
        (void)mp__cli_fail(arguments, 0,
                           "note: there is no environment '%s' yet%s; did you mean '%s'?", name,
                           begins, near);
        return;
    }
    for (size_t i = 0; i < all->count && i < SHOWN_MAX && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
                                 all->names[i]);
    (void)mp__cli_fail(arguments, 0, "note: there is no environment '%s' yet%s; there are %s%s",
                       name, begins, known, all->count > SHOWN_MAX ? ", ..." : "");
}

static void say(const mp__arguments *arguments, const environments *all, const char *name,
                bool writes)
{
    bool has_keys = false;

    for (size_t i = 0; i < all->with_keys; i++)
        has_keys = has_keys || strcmp(all->names[i], name) == 0;
    if (!holds(all, mp_str_of(name)))
        say_unknown(arguments, all, name, writes);
    else if (!has_keys && !writes)
        (void)mp__cli_fail(arguments, 0, "note: the environment '%s' has no keys yet", name);
}

void mp__cli_note_environment(const mp__arguments *arguments, mp__client *client, const char *scope,
                              bool writes)
{
    MP__CLEANUP_FREE char *name = NULL;
    environments all = {0};

    if (!scope || mp__flag_given(arguments, "--json"))
        return;
    name = mp__str_dup(environment_of(mp_str_of(scope)));
    if (name && fetch(client, &all))
        say(arguments, &all, name, writes);
    done(&all);
}
