/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism consumers: who watches, and how far each was told. */
#include <stdio.h>

#include <jansson.h>

#include "cli/cli.h"

const mp__flag mp__consumers_flags[] = {
    {"--limit", "-n", "N", "Show at most N, up to 1000."},
    {NULL, NULL, NULL, NULL},
};

/* What clients called themselves and what they watch may have any bytes. */
static void put_text(const json_t *text)
{
    mp_str raw = mp_str_new(json_string_value(text), json_string_length(text));

    mp__cli_put_shown(raw);
}

static void put_watches(const json_t *one)
{
    const json_t *watches = json_object_get(one, "watches"), *watch;
    size_t shown = json_array_size(watches), i;
    long long all = json_integer_value(json_object_get(one, "watches_count"));

    json_array_foreach(watches, i, watch)
    {
        (void)printf("%s", i ? " " : "");
        put_text(watch);
    }
    if (all > (long long)shown)
        (void)printf(" and %lld more", all - (long long)shown);
}

static void put_behind(const json_t *one, long long newest)
{
    const json_t *revision = json_object_get(one, "revision");
    long long behind = newest - json_integer_value(revision);

    if (revision)
        (void)printf("%7lld  ", behind > 0 ? behind : 0);
    else
        (void)printf("%7s  ", "?");
}

static void consumers_people(const json_t *root)
{
    const json_t *all = json_object_get(root, "consumers"), *one;
    long long newest = json_integer_value(json_object_get(root, "revision"));
    size_t i;

    if (json_array_size(all) == 0)
        (void)printf("nobody watches\n");
    else
        (void)printf("%-12s  %-21s  %-11s  %7s  %s\n", "protocol", "client", "state", "behind",
                     "watches");
    json_array_foreach(all, i, one)
    {
        const json_t *name = json_object_get(one, "name");

        (void)printf("%-12s  %-21s  %-11s  ", json_string_value(json_object_get(one, "protocol")),
                     json_string_value(json_object_get(one, "client")),
                     json_string_value(json_object_get(one, "state")));
        put_behind(one, newest);
        put_watches(one);
        if (name) {
            (void)printf("  (");
            put_text(name);
            (void)printf(")");
        }
        (void)putchar('\n');
    }
    if (json_is_true(json_object_get(root, "more")))
        (void)printf("and more, which --limit or the room of one answer leaves out\n");
}

int mp__verb_consumers(const mp__arguments *arguments)
{
    const char *limit = mp__flag_value(arguments, "--limit");
    mp_str words[] = {MP_STR("MP.CONSUMERS"), MP_STR("COUNT"), mp_str_of(limit ? limit : "")};
    uint64_t number;
    int code = limit ? mp__cli_number(arguments, "--limit", limit, 1, &number) : 0;

    return code ? code : mp__cli_ask_json(arguments, words, limit ? 3 : 1, consumers_people, NULL);
}
