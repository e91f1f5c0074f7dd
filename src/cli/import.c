/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism import: files into keys, all or none. Everything is read before the first key is
 * sent, and everything is sent before the daemon makes the first change. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/environments.h"
#include "cli/plan.h"
#include "cli/staging.h"
#include "core/json.h"

const mp__flag mp__import_flags[] = {
    {"--dry-run", NULL, NULL, "Say what would change, write nothing."},
    {"--prune", NULL, NULL,
     "Delete the keys of these namespaces that are in no file; see --dry-run --prune first."},
    {"--format", "-f", "NAME", MP__FORMAT_NAMES "; whatever the file is called."},
    {NULL, NULL, NULL, NULL},
};

typedef struct import {
    const mp__arguments *arguments;
    mp__client *client;
    mp__sources sources;
    mp__plans plans;
    bool prune;
    size_t removed;
    int64_t changed;
} import;

static void say_json(const import *im, const mp__deltas *deltas)
{
    mp__buf json = MP__BUF_INIT;

    mp__json_begin(&json, '{');
    mp__json_add_u64(&json, "files", im->sources.count);
    mp__json_add_u64(&json, "keys", im->sources.keys);
    if (deltas)
        mp__deltas_json(deltas, &json);
    else
        mp__json_add_i64(&json, "changed", im->changed);
    if (im->prune && !deltas)
        mp__json_add_u64(&json, "removed", im->removed);
    mp__json_end(&json, '}');
    (void)mp__buf_add_char(&json, '\n');
    (void)mp__cli_put(mp__buf_str(&json));
    mp__buf_done(&json);
}

/* What is there and in no file: deleted if it is still as it was seen. */
static int stage_pruned(import *im, mp__staging *staging, const mp__plan *plan)
{
    mp__deltas deltas = {0};
    int code = 0;

    if (mp__deltas_add(&deltas, &plan->present, &plan->wanted, true) != 0)
        code = mp__cli_fail(im->arguments, MP__EXIT_ERROR, "out of memory");
    for (size_t i = 0; i < deltas.count && code == 0; i++)
        if (!deltas.items[i].to) {
            code = mp__staging_delete(staging, deltas.items[i].from);
            im->removed++;
        }
    mp__deltas_done(&deltas);
    return code;
}

/* Tell the daemon of all changes; nothing happens yet. */
static int stage_all(import *im, mp__staging *staging)
{
    int code = 0;

    for (size_t i = 0; i < im->plans.count && code == 0; i++) {
        const mp__plan *plan = &im->plans.items[i];

        code = mp__cli_environment(im->arguments, im->client, plan->environment);
        for (size_t k = 0; k < plan->wanted.count && code == 0; k++)
            code = mp__staging_put(staging, &plan->wanted.items[k]);
        if (code == 0 && im->prune)
            code = stage_pruned(im, staging, plan);
        if (code == 0)
            code = mp__staging_flush(staging); /* before the environment is another */
    }
    return code;
}

static int dry_run(import *im)
{
    bool as_json = mp__flag_given(im->arguments, "--json");
    mp__deltas deltas = {0};
    mp__staging staging;
    size_t others = 0;
    int code;

    if (mp__plans_compare(&im->plans, im->prune, !as_json, &deltas) != 0) {
        mp__deltas_done(&deltas);
        return mp__cli_fail(im->arguments, MP__EXIT_ERROR, "out of memory");
    }
    mp__staging_begin(&staging, im->arguments, im->client, "sending", im->sources.keys);
    staging.find = mp__plans_find;
    staging.find_context = &im->plans;
    staging.refused = "nothing was imported";
    code =
        mp__staging_check(&staging, stage_all(im, &staging)); /* as the import would be refused */
    if (code) {
        mp__deltas_done(&deltas);
        return code;
    }
    for (size_t i = 0; i < im->plans.count; i++)
        others += im->plans.items[i].present.count;
    others -= deltas.same + deltas.changed + deltas.removed;
    if (as_json) {
        say_json(im, &deltas);
    } else {
        (void)printf("%zu key%s of %zu file%s: %zu to add, %zu to change, %zu to remove, %zu the "
                     "same; nothing was written\n",
                     im->sources.keys, im->sources.keys == 1 ? "" : "s", im->sources.count,
                     im->sources.count == 1 ? "" : "s", deltas.added, deltas.changed,
                     deltas.removed, deltas.same);
        if (others)
            (void)printf("%zu more keys of these namespaces are in no file and stay; --prune would "
                         "remove them\n",
                         others);
    }
    mp__deltas_done(&deltas);
    return 0;
}

static int write_all(import *im)
{
    mp__staging staging;
    int code;

    mp__staging_begin(&staging, im->arguments, im->client, "importing", im->sources.keys);
    staging.find = mp__plans_find;
    staging.find_context = &im->plans;
    staging.refused = "nothing was imported";
    code = mp__staging_end(&staging, stage_all(im, &staging), &im->changed);
    if (code)
        return code;
    if (mp__flag_given(im->arguments, "--json")) {
        say_json(im, NULL);
        return 0;
    }
    (void)printf("imported %zu key%s of %zu file%s, %" PRId64 " of them new or changed",
                 im->sources.keys, im->sources.keys == 1 ? "" : "s", im->sources.count,
                 im->sources.count == 1 ? "" : "s", im->changed - (int64_t)im->removed);
    if (im->prune)
        (void)printf("; removed %zu", im->removed);
    (void)printf("\n");
    return 0;
}

/* A file that was cut to nothing does not mean that its namespace shall have no keys. */
static int refuse_blank(const import *im)
{
    for (size_t i = 0; i < im->sources.count && im->prune; i++)
        if (im->sources.items[i].is_blank)
            return mp__cli_fail(im->arguments, MP__EXIT_ERROR,
                                "%s: is empty, and --prune would delete all keys of %s; if that is "
                                "meant, write '%s' into it%s",
                                im->sources.items[i].path, im->sources.items[i].namespace_,
                                mp__format_no_keys(im->sources.items[i].format),
                                im->sources.consequence);
    return 0;
}

int mp__verb_import(const mp__arguments *arguments)
{
import im = {.arguments = arguments, .sources = {.arguments = arguments, .consequence = "; nothing was imported" }, .plans = {.arguments = arguments }, .prune = mp__flag_given(arguments, "--prune") };
    bool dry = mp__flag_given(arguments, "--dry-run");
    int code = mp__sources_read(&im.sources);

    if (code == 0)
        code = refuse_blank(&im);
    if (code == 0)
        im.client = mp__cli_connect(arguments, &code);
    if (im.client)
        code = mp__plans_make(&im.sources, im.client, &im.plans);
    for (size_t i = 0; i < im.plans.count && code == 0; i++)
        mp__cli_note_environment(arguments, im.client, im.plans.items[i].environment, true);
    if (code == 0 && (dry || im.prune))
        code = mp__plans_fetch(arguments, im.client, &im.plans);
    if (code == 0)
        code = dry ? dry_run(&im) : write_all(&im);
    (void)mp__client_close(im.client);
    mp__plans_done(&im.plans);
    mp__sources_done(&im.sources);
    return code;
}
