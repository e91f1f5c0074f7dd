/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism bench: the benches of bench/, by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "cli/cli.h"
#include "core/json.h"

const mp__flag mp__bench_flags[] = {
    {"--list", "-l", NULL, "Print the names of the benches, and what they measure."},
    {"--rounds", NULL, "N", "Turns of ours and of the reference; else the bench's own number."},
    {"--json", NULL, NULL, "Print JSON."},
    {NULL, NULL, NULL, NULL},
};

static int list(bool as_json)
{
    mp__buf out = MP__BUF_INIT;
    int rc;

    if (as_json)
        mp__json_begin(&out, '[');
    for (const mp__bench *b = mp__benches; b->name; b++) {
        if (!as_json) {
            (void)mp__buf_printf(&out, "%-12s %s\n", b->name, b->text);
            continue;
        }
        mp__json_begin(&out, '{');
        mp__json_add_text(&out, "name", b->name);
        mp__json_add_text(&out, "text", b->text);
        mp__json_end(&out, '}');
    }
    if (as_json) {
        mp__json_end(&out, ']');
        (void)mp__buf_add_char(&out, '\n');
    }
    rc = mp__cli_put(mp__buf_str(&out));
    mp__buf_done(&out);
    return rc;
}

static int rounds_of(const mp__arguments *arguments, unsigned *ret_rounds)
{
    const char *text = mp__flag_value(arguments, "--rounds");
    char *end;
    long rounds;

    if (!text)
        return 0;
    rounds = strtol(text, &end, 10);
    if (*end || end == text || rounds < 1 || rounds > 101)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "--rounds takes a number from 1 to 101");
    *ret_rounds = (unsigned)rounds;
    return 0;
}

/* What comes, before it is there: a bench takes seconds. Not between the objects of --json. */
static int say_which(const mp__bench *bench, bool first)
{
    char line[256];
    int size =
        snprintf(line, sizeof(line), "%s== %s: %s\n", first ? "" : "\n", bench->name, bench->text);

    return mp__cli_put(mp_str_new(line, (size_t)size)) || fflush(stdout) != 0 ? MP__EXIT_ERROR : 0;
}

static int run_one(const mp__arguments *arguments, const mp__bench *bench,
                   const mp__bench_options *options)
{
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};
    int rc = bench->run(options, &out, &diag);

    if (rc)
        rc = mp__cli_fail(arguments, MP__EXIT_ERROR, "%s: %s", bench->name,
                          diag.text[0] ? diag.text : mp_strerror(rc));
    else if (mp__cli_put(mp__buf_str(&out)) || fflush(stdout) != 0)
        rc = MP__EXIT_ERROR;
    mp__buf_done(&out);
    return rc;
}

/* The @count named ones, or all if there is none; each of them, also where one before it failed. */
static int run_many(const mp__arguments *arguments, const mp__bench_options *options, int count)
{
    int rc = 0, one;

    for (int i = 0; count ? i < count : mp__benches[i].name != NULL; i++) {
        const mp__bench *bench = count ? mp__bench_find(arguments->words[i]) : &mp__benches[i];

        one = options->json || count == 1 ? 0 : say_which(bench, i == 0);
        if (one)
            return one; /* nobody reads it */
        one = run_one(arguments, bench, options);
        rc = rc ? rc : one;
    }
    return rc;
}

int mp__verb_bench(const mp__arguments *arguments)
{
    mp__bench_options options = {.json = mp__flag_given(arguments, "--json")};
    int rc;

    if (mp__flag_given(arguments, "--list"))
        return list(options.json);
    rc = rounds_of(arguments, &options.rounds);
    for (int i = 0; i < arguments->word_count && rc == 0; i++)
        if (!mp__bench_find(arguments->words[i]))
            rc = mp__cli_fail(arguments, MP__EXIT_USAGE,
                              "there is no bench '%s'; --list names them", arguments->words[i]);
    return rc ? rc : run_many(arguments, &options, arguments->word_count);
}
