/* SPDX-License-Identifier: Apache-2.0 */
/* What docs/commands.md says of the two protocols, made from their tables. */
#include <assert.h>

#include "core/markdown.h"
#include "server/http/handlers.h"
#include "server/resp/commands.h"
#include "server/server.h"

static const struct {
    const char *group, *title;
} groups[] = {
    {"string", "Values"},   {"generic", "Keys"},          {"marketprism", "Our own"},
    {"pubsub", "Channels"}, {"connection", "Connection"}, {"server", "Server"},
};

/* How many arguments come after the name: "1", "2 or more". */
static void add_arguments(mp__buf *out, int arity)
{
    if (arity > 0)
        (void)mp__buf_printf(out, "%d", arity - 1);
    else if (arity < -1)
        (void)mp__buf_printf(out, "%d or more", -arity - 1);
    else
        (void)mp__buf_add_str(out, MP_STR("any"));
}

/* The number of commands of the group. */
static size_t add_group(mp__buf *out, const char *group, const char *title)
{
    size_t n = 0;

    (void)mp__buf_printf(out,
                         "\n### %s\n\n| command | arguments | does | in Redis since |\n"
                         "|---|---|---|---|\n",
                         title);
    for (size_t i = 0; i < mp__command_count; i++) {
        const mp__command *command = &mp__commands[i];

        if (strcmp(command->group, group) != 0)
            continue;
        n++;
        (void)mp__buf_printf(out, "| `%s` | ", command->name);
        add_arguments(out, command->arity);
        (void)mp__buf_add_str(out, MP_STR(" | "));
        mp__markdown_add(out, command->summary);
        (void)mp__buf_printf(out, " | %s |\n",
                             strncmp(command->name, "MP.", 3) == 0 ? "–" : command->since);
    }
    return n;
}

int mp__server_pages(mp__buf *out)
{
    size_t n = 0;

    (void)mp__buf_add_str(
        out, MP_STR("\n## RESP\n\nRESP2 and RESP3, pipelined or not, on `resp.listen`. A key is "
                    "`namespace/key`, or `key` of the namespace `default`; SELECT chooses the "
                    "environment. A reply to a write means: it is on disk.\n"));
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        n += add_group(out, groups[i].group, groups[i].title);
    assert(n == mp__command_count); /* a command of a group that has no title would be left out */
    (void)mp__buf_add_str(
        out, MP_STR("\n## HTTP\n\nHTTP/1.1 on `http.listen`. HEAD is answered wherever GET "
                    "is.\n\n| method | path | what |\n|---|---|---|\n"));
    for (size_t i = 0; i < mp__route_count; i++) {
        (void)mp__buf_printf(out, "| %s | `%s` | ", mp__routes[i].method, mp__routes[i].pattern);
        mp__markdown_add(out, mp__routes[i].summary);
        (void)mp__buf_add_str(out, MP_STR(" |\n"));
    }
    return out->error;
}
