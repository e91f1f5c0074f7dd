/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism diff: two environments, two revisions, or files against the daemon. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/environments.h"
#include "cli/plan.h"
#include "core/alloc.h"
#include "core/json.h"

const mp__flag mp__diff_flags[] = {
    {"--to-env", NULL, "NAME", "Compare with this environment."},
    {"--revision", "-r", "N", "Compare from how it was at this revision."},
    {"--to-revision", NULL, "N", "Compare with how it was at this revision; else with now."},
    {"--effective", NULL, NULL,
     "What a reader gets: also what region, environment and base have, the nearest of each."},
    {"--exit-code", NULL, NULL, "Exit code 1 when there are differences."},
    {"--format", "-f", "NAME", MP__FORMAT_NAMES "; whatever the file is called."},
    {NULL, NULL, NULL, NULL},
};

static int say(const mp__arguments *arguments, const mp__deltas *deltas)
{
    mp__buf json = MP__BUF_INIT;

    if (mp__flag_given(arguments, "--json")) {
        mp__json_begin(&json, '{');
        mp__deltas_json(deltas, &json);
        mp__json_end(&json, '}');
        (void)mp__buf_add_char(&json, '\n');
        (void)mp__cli_put(mp__buf_str(&json));
        mp__buf_done(&json);
    } else {
        (void)printf("%zu added, %zu changed, %zu removed, %zu the same\n", deltas->added,
                     deltas->changed, deltas->removed, deltas->same);
    }
    return mp__flag_given(arguments, "--exit-code") && deltas->count ? MP__EXIT_ERROR : 0;
}

/* ---- files ---- */

/* Who writes `diff production staging` means environments. */
static int check_there(const mp__arguments *arguments)
{
    for (int i = 0; i < arguments->word_count; i++) {
        const char *word = arguments->words[i];

        if (strcmp(word, "-") != 0 && access(word, F_OK) != 0)
            return mp__cli_fail(arguments, MP__EXIT_ERROR,
                                "%s: cannot be read: %s; environments are compared by [PREFIX] "
                                "--to-env NAME, revisions by --revision N",
                                word, mp_strerror(-errno));
    }
    return 0;
}

static int diff_files(const mp__arguments *arguments)
{
    mp__sources sources = {.arguments = arguments, .consequence = ""};
    mp__plans plans = {0};
    mp__deltas deltas = {0};
    mp__client *client = NULL;
    int code = check_there(arguments);

    if (code == 0)
        code = mp__sources_read(&sources);
    if (code == 0)
        client = mp__cli_connect(arguments, &code);
    if (client)
        code = mp__plans_make(&sources, client, &plans);
    if (code == 0)
        code = mp__plans_fetch(arguments, client, &plans);
    if (code == 0 &&
        mp__plans_compare(&plans, true, !mp__flag_given(arguments, "--json"), &deltas) != 0)
        code = mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
    if (code == 0)
        code = say(arguments, &deltas);
    mp__deltas_done(&deltas);
    (void)mp__client_close(client);
    mp__plans_done(&plans);
    mp__sources_done(&sources);
    return code;
}

/* ---- environments and revisions ---- */

/* The number of a flag; 0: it is not given. */
static int take_revision(const mp__arguments *arguments, const char *name, int64_t *ret_revision)
{
    const char *text = mp__flag_value(arguments, name);
    char *end;

    *ret_revision = 0;
    if (!text)
        return 0;
    *ret_revision = strtoll(text, &end, 10);
    if (*text && !*end && *ret_revision > 0)
        return 0;
    return mp__cli_fail(arguments, MP__EXIT_USAGE, "%s: '%s' is no revision", name, text);
}

/* One side of a comparison. */
typedef struct side {
    const char *environment; /* as errors name it */
    int64_t revision;        /* 0: as it is now */
    mp__keyset keys;
} side;

/* Keys of one side. A word without a slash names keys of "default" or namespaces, as in ls. */
static int fetch(const mp__arguments *arguments, mp__client *client, side *of)
{
    mp__buf prefix = MP__BUF_INIT;
    int code;

    (void)mp__cli_key(arguments, arguments->word_count ? arguments->words[0] : "", &prefix);
    code = mp__keyset_fetch(arguments, client, mp__buf_str(&prefix), of->revision, &of->keys);
    mp__buf_done(&prefix);
    return code;
}

/* "production at revision 12" */
static const char *name_of(const side *of, char *text, size_t capacity)
{
    if (of->revision)
        (void)snprintf(text, capacity, "%s at revision %" PRId64, of->environment, of->revision);
    else
        (void)snprintf(text, capacity, "%s", of->environment);
    return text;
}

/* What has nothing to compare is said, since "all added" and "no difference" would be true, too.
 * Exit code 3 where neither side has anything. */
static int say_empty(const mp__arguments *arguments, mp__client *client, const side *from,
                     const side *to)
{
    const char *prefix = arguments->word_count ? arguments->words[0] : "";
    const side *empty = from->keys.count ? to : from;
    bool both = !from->keys.count && !to->keys.count;
    int code = both ? MP__EXIT_ABSENT : 0;
    char one[300], other[300];

    if (from->keys.count && to->keys.count)
        return 0;
    if (mp__flag_given(arguments, "--json"))
        return code;
    if (both)
        (void)mp__cli_fail(arguments, code, "neither %s nor %s has a key%s%s%s",
                           name_of(from, one, sizeof(one)), name_of(to, other, sizeof(other)),
                           *prefix ? " that begins with '" : "", prefix, *prefix ? "'" : "");
    else
        (void)mp__cli_fail(arguments, 0, "note: %s has no key%s%s%s",
                           name_of(empty, one, sizeof(one)), *prefix ? " that begins with '" : "",
                           prefix, *prefix ? "'" : "");
    mp__cli_note_environment(arguments, client, empty->environment, false);
    if (both && strcmp(from->environment, to->environment) != 0)
        mp__cli_note_environment(arguments, client, to->environment, false);
    return code;
}

/* Which two sides are meant; 0 or a usage error. */
static int take_sides(const mp__arguments *arguments, side *from, side *to)
{
    const char *to_env = mp__flag_value(arguments, "--to-env");
    int code = take_revision(arguments, "--revision", &from->revision);

    if (code == 0)
        code = take_revision(arguments, "--to-revision", &to->revision);
    if (code == 0 && !to_env && !from->revision)
        code = mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "compare with what? Give --to-env NAME, --revision N, or files");
    if (code == 0 && to_env && strchr(to_env, '~') && mp__flag_given(arguments, "--region"))
        code = mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "--to-env %s names a region already: leave --region out", to_env);
    if (to_env && !to->revision)
        to->revision = from->revision;
    return code;
}

static int compare(const mp__arguments *arguments, mp__client *client, side *from, side *to)
{
    mp__deltas deltas = {0};
    int code = say_empty(arguments, client, from, to);

    if (code == 0 && mp__deltas_add(&deltas, &from->keys, &to->keys, true) != 0)
        code = mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
    if (code == 0 && !mp__flag_given(arguments, "--json"))
        mp__deltas_print(&deltas, 0, NULL);
    if (code == 0 || (code == MP__EXIT_ABSENT && mp__flag_given(arguments, "--json")))
        code = say(arguments, &deltas) ? MP__EXIT_ERROR : code;
    mp__deltas_done(&deltas);
    return code;
}

static int diff_daemon(const mp__arguments *arguments)
{
    const char *to_env = mp__flag_value(arguments, "--to-env");
    side from = {0}, to = {0};
    MP__CLEANUP_FREE char *own = NULL, *other = NULL;
    mp__client *client = NULL;
    int code = take_sides(arguments, &from, &to);

    if (code == 0)
        client = mp__cli_connect(arguments, &code);
    if (client)
        own = mp__cli_own_environment(arguments, client, &code);
    from.environment = to.environment = own;
    if (code == 0)
        code = fetch(arguments, client, &from);
    if (code == 0 && to_env)
        code = mp__cli_environment(arguments, client, to_env);
    if (code == 0 && to_env) { /* with the region that was given */
        other = mp__cli_own_environment(arguments, client, &code);
        to.environment = other;
    }
    if (code == 0)
        code = fetch(arguments, client, &to);
    if (code == 0)
        code = compare(arguments, client, &from, &to);
    (void)mp__client_close(client);
    mp__keyset_done(&from.keys);
    mp__keyset_done(&to.keys);
    return code;
}

int mp__verb_diff(const mp__arguments *arguments)
{
    bool asks_daemon = mp__flag_given(arguments, "--to-env") ||
                       mp__flag_given(arguments, "--revision") ||
                       mp__flag_given(arguments, "--to-revision");

    if (!asks_daemon && arguments->word_count)
        return diff_files(arguments);
    if (arguments->word_count > 1)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "'%s' is one prefix too many",
                            arguments->words[1]);
    return diff_daemon(arguments);
}
