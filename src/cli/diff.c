/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism diff: two environments, two revisions, or files against the daemon. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/plan.h"
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

static int diff_files(const mp__arguments *arguments)
{
    mp__sources sources = {.arguments = arguments, .consequence = ""};
    mp__plans plans = {0};
    mp__deltas deltas = {0};
    mp__client *client = NULL;
    int code = mp__sources_read(&sources);

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

/* Keys of one side. A word without a slash names keys of "default" or namespaces, as in ls. */
static int fetch(const mp__arguments *arguments, mp__client *client, int64_t revision,
                 mp__keyset *set)
{
    mp__buf prefix = MP__BUF_INIT;
    int code;

    (void)mp__cli_key(arguments, arguments->word_count ? arguments->words[0] : "", &prefix);
    code = mp__keyset_fetch(arguments, client, mp__buf_str(&prefix), revision, set);
    mp__buf_done(&prefix);
    return code;
}

static int diff_daemon(const mp__arguments *arguments)
{
    const char *to_env = mp__flag_value(arguments, "--to-env");
    mp__keyset from = {0}, to = {0};
    mp__deltas deltas = {0};
    int64_t revision, to_revision;
    mp__client *client = NULL;
    int code = take_revision(arguments, "--revision", &revision);

    if (code == 0)
        code = take_revision(arguments, "--to-revision", &to_revision);
    if (code == 0 && !to_env && !revision)
        code = mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "compare with what? Give --to-env NAME, --revision N, or files");
    if (code == 0)
        client = mp__cli_connect(arguments, &code);
    if (client)
        code = fetch(arguments, client, revision, &from);
    if (code == 0 && to_env)
        code = mp__cli_environment(arguments, client, to_env);
    if (code == 0)
        code = fetch(arguments, client, to_env && !to_revision ? revision : to_revision, &to);
    if (code == 0 && mp__deltas_add(&deltas, &from, &to, true) != 0)
        code = mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
    if (code == 0) {
        if (!mp__flag_given(arguments, "--json"))
            mp__deltas_print(&deltas, 0, NULL);
        code = say(arguments, &deltas);
    }
    (void)mp__client_close(client);
    mp__deltas_done(&deltas);
    mp__keyset_done(&from);
    mp__keyset_done(&to);
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
