/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of docs/ that are made from the tables of verbs, commands, paths and metrics. */
#include "core/markdown.h"

#include "cli/pages.h"
#include "monitor/monitor.h"
#include "server/server.h"

static void add_flags(mp__buf *out, const mp__flag *flags)
{
    if (!flags->name)
        return;
    (void)mp__buf_add_str(out, MP_STR("\n| option | |\n|---|---|\n"));
    for (; flags->name; flags++) {
        (void)mp__buf_add_str(out, MP_STR("| "));
        if (flags->short_name)
            (void)mp__buf_printf(out, "`%s`, ", flags->short_name);
        (void)mp__buf_printf(out, "`%s%s%s` | ", flags->name, flags->value ? " " : "",
                             flags->value ? flags->value : "");
        mp__markdown_add(out, flags->help);
        (void)mp__buf_add_str(out, MP_STR(" |\n"));
    }
}

static void add_verb(mp__buf *out, const mp__verb *verb)
{
    (void)mp__buf_printf(out, "\n### %s\n\n", verb->name);
    mp__markdown_add(out, verb->summary);
    (void)mp__buf_printf(out, "\n\n    marketprism %s%s%s\n", verb->name,
                         verb->synopsis[0] ? " " : "", verb->synopsis);
    if (verb->details[0]) {
        (void)mp__buf_add_char(out, '\n');
        mp__markdown_add(out, verb->details);
        (void)mp__buf_add_char(out, '\n');
    }
    add_flags(out, verb->flags);
    if (verb->is_client)
        (void)mp__buf_add_str(
            out, MP_STR("\nTakes the [options of a client](#options-of-a-client), too.\n"));
}

int mp__cli_commands_page(mp__buf *out)
{
    (void)mp__buf_add_str(
        out, MP_STR("<!-- Made from the tables in src/cli/cli.c, src/server/resp/commands.c and "
                    "src/server/http/route.c by `make docs`; do not edit. -->\n"
                    "# Commands\n\nWhat can be asked of MarketPrism: on the [command "
                    "line](#the-command-line), over [RESP](#resp) and over [HTTP](#http). "
                    "[concepts.md](concepts.md) says what the words mean.\n\n"
                    "## The command line\n\nExit code 0: found or done; 1: an error; 2: a mistake "
                    "on the command line; 3: absent, the origin says that there is no such value; "
                    "4: unknown, nobody can be asked and nothing is kept; 5: degraded "
                    "(`status --check`).\n\n"
                    "### Options of a client\n"));
    add_flags(out, mp__client_flags);
    for (size_t i = 0; i < mp__verb_count; i++)
        add_verb(out, &mp__verbs[i]);
    return mp__server_pages(out);
}

static void add_metrics(mp__buf *out, const mp__metric *metrics, size_t count)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    for (size_t i = 0; i < count; i++) {
        const mp__metric *m = &metrics[i];

        (void)mp__buf_printf(out, "| `marketprism_%s` | %s | ", m->name, kinds[m->kind]);
        mp__markdown_add(out, m->labels);
        (void)mp__buf_add_str(out, MP_STR(" | "));
        mp__markdown_add(out, m->help);
        (void)mp__buf_add_str(out, MP_STR(" |\n"));
    }
}

int mp__cli_metrics_page(mp__buf *out)
{
    (void)mp__buf_add_str(
        out, MP_STR("<!-- Made from the tables of metrics in src/ by `make docs`; do not edit. "
                    "-->\n# Metrics\n\n`GET /metrics` gives them in the text format of "
                    "Prometheus; `marketprism metrics --json` lists them without a daemon. Those "
                    "to be woken for stand in [operations.md](operations.md#what-to-alert-on).\n\n"
                    "| metric | kind | labels | what |\n|---|---|---|---|\n"));
    add_metrics(out, mp__monitor_metrics, mp__monitor_metric_count);
    add_metrics(out, mp__server_metrics, mp__server_metric_count);
    return out->error;
}
