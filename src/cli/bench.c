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

int mp__verb_bench(const mp__arguments *arguments)
{
    mp__bench_options options = {.json = mp__flag_given(arguments, "--json")};
    const mp__bench *bench;
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};
    int rc;

    if (mp__flag_given(arguments, "--list"))
        return list(options.json);
    if (arguments->word_count == 0)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "say which bench; --list names them");
    bench = mp__bench_find(arguments->words[0]);
    if (!bench)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "there is no bench '%s'; --list names them",
                            arguments->words[0]);
    rc = rounds_of(arguments, &options.rounds);
    if (rc)
        return rc;
    rc = bench->run(&options, &out, &diag);
    if (rc)
        rc = mp__cli_fail(arguments, MP__EXIT_ERROR, "%s",
                          diag.text[0] ? diag.text : mp_strerror(rc));
    else
        rc = mp__cli_put(mp__buf_str(&out));
    mp__buf_done(&out);
    return rc;
}
