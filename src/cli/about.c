/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that print what is compiled in. */
#include <stdio.h>

#include <marketprism/version.h>

#include "cache/cache.h"
#include "cli/cli.h"
#include "core/json.h"
#include "monitor/monitor.h"
#include "server/server.h"

const mp__flag mp__json_flags[] = {
    {"--json", NULL, NULL, "Print JSON."},
    {NULL, NULL, NULL, NULL},
};

int mp__verb_version(const mp__arguments *arguments)
{
    if (mp__flag_given(arguments, "--json"))
        (void)printf("{\"version\":\"%s\"}\n", MP_VERSION);
    else
        (void)printf("marketprism %s\n", MP_VERSION);
    return 0;
}

static void metric_line(const mp__metric *m, mp__buf *json)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    if (!json) {
        (void)printf("marketprism_%-32s %-9s %s\n", m->name, kinds[m->kind], m->help);
        return;
    }
    mp__json_begin(json, '{');
    mp__json_key(json, "name");
    (void)mp__buf_printf(json, "\"marketprism_%s\"", m->name);
    mp__json_add_text(json, "kind", kinds[m->kind]);
    mp__json_add_text(json, "unit", m->unit);
    mp__json_add_text(json, "help", m->help);
    mp__json_end(json, '}');
}

int mp__verb_metrics(const mp__arguments *arguments)
{
    mp__buf json = MP__BUF_INIT, *out = mp__flag_given(arguments, "--json") ? &json : NULL;

    if (out)
        mp__json_begin(out, '[');
    for (size_t i = 0; i < mp__monitor_metric_count; i++)
        metric_line(&mp__monitor_metrics[i], out);
    for (size_t i = 0; i < mp__server_metric_count; i++)
        metric_line(&mp__server_metrics[i], out);
    if (out) {
        mp__json_end(out, ']');
        (void)mp__buf_add_char(out, '\n');
        (void)mp__cli_put(mp__buf_str(out));
    }
    mp__buf_done(&json);
    return 0;
}

int mp__verb_policies(const mp__arguments *arguments)
{
    mp__buf json = MP__BUF_INIT;
    const char *name, *text;

    mp__json_begin(&json, '[');
    for (size_t i = 0; (name = mp__cache_policy_at(i, &text)) != NULL; i++) {
        mp__json_begin(&json, '{');
        mp__json_add_text(&json, "name", name);
        mp__json_add_text(&json, "text", text);
        mp__json_end(&json, '}');
        if (!mp__flag_given(arguments, "--json"))
            (void)printf("%s\n    %s\n", name, text);
    }
    mp__json_end(&json, ']');
    (void)mp__buf_add_char(&json, '\n');
    if (mp__flag_given(arguments, "--json"))
        (void)mp__cli_put(mp__buf_str(&json));
    mp__buf_done(&json);
    return 0;
}
