/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism watch: changes as they happen. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/changes.h"
#include "cli/cli.h"
#include "core/json.h"

const mp__flag mp__watch_flags[] = {
    {"--initial", "-i", NULL, "Begin with what is there now."},
    {"--no-values", NULL, NULL, "Names only."},
    {"--count", "-c", "N", "End after so many changes."},
    {NULL, NULL, NULL, NULL},
};

typedef struct watching {
    const mp__arguments *arguments;
    mp__client *client; /* for the values */
    mp__changes *changes;
    int64_t left; /* changes still to print; < 0: without end */
} watching;

/* A key begins with one of the words; no word stands for all. */
static bool is_wanted(const watching *w, mp_str key)
{
    for (int i = 0; i < w->arguments->word_count; i++) {
        mp__buf name = MP__BUF_INIT;
        mp_str prefix = mp__cli_key(w->arguments, w->arguments->words[i], &name);
        bool fits = key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;

        mp__buf_done(&name);
        if (fits)
            return true;
    }
    return w->arguments->word_count == 0;
}

static void print_json(const char *event, mp_str key, const mp__reply *meta)
{
    mp__buf json = MP__BUF_INIT;

    mp__json_begin(&json, '{');
    mp__json_add_text(&json, "event", event);
    mp__json_add_string(&json, "key", key);
    mp__json_add_i64(&json, "observed_ms", mp__cli_now_ms());
    if (meta) {
        mp__json_add_i64(&json, "revision", mp__reply_integer(mp__reply_member(meta, "revision")));
        mp__cli_add_value(&json, "value", mp__reply_text(mp__reply_member(meta, "value")),
                          mp__reply_text(mp__reply_member(meta, "media_type")));
    }
    mp__json_end(&json, '}');
    (void)mp__buf_add_char(&json, '\n');
    (void)mp__cli_put(mp__buf_str(&json));
    mp__buf_done(&json);
}

static void print_line(const char *event, mp_str key, const mp__reply *meta)
{
    char clock[16];
    time_t now = time(NULL);
    struct tm tm;

    (void)strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &tm));
    (void)printf("%s  %-6s  ", clock, event);
    (void)mp__cli_put(key);
    if (meta) {
        (void)printf(" = ");
        (void)mp__cli_put(mp__reply_text(mp__reply_member(meta, "value")));
    }
    (void)putchar('\n');
}

/* The value as it is now, which may be newer than the change; NULL with *ret_code 0: there is none.
 */
static mp__reply *value_of(watching *w, mp_str key, int *ret_code)
{
    mp_str words[] = {MP_STR("MP.GET"), key, MP_STR("META")};
    mp__reply *meta = mp__cli_call(w->arguments, w->client, ret_code, words, 3);

    if (meta && !mp_str_equal(mp__reply_text(mp__reply_member(meta, "state")), MP_STR("present")))
        meta = mp__reply_free(meta);
    return meta;
}

static int tell(watching *w, const char *event, mp_str key, bool deleted)
{
    mp__reply *meta = NULL;
    int code = 0;

    if (!deleted && !mp__flag_given(w->arguments, "--no-values")) {
        meta = value_of(w, key, &code);
        if (code)
            return code;
        if (!meta)
            event = "delete";
    }
    if (mp__flag_given(w->arguments, "--json"))
        print_json(event, key, meta);
    else
        print_line(event, key, meta);
    (void)mp__reply_free(meta);
    return fflush(stdout) ? MP__EXIT_ERROR : 0;
}

static int tell_initial(void *context, const mp__listed *listed)
{
    watching *w = context;

    return tell(w, "is", listed->key, false);
}

/* Keys that are there already; from another connection, since tell() uses w->client meanwhile. */
static int initial(watching *w)
{
    int code = 0;
    mp__client *client = mp__cli_connect(w->arguments, &code);

    for (int i = 0; client && i < w->arguments->word_count && code == 0; i++) {
        mp__buf name = MP__BUF_INIT;

        code = mp__cli_each(w->arguments, client,
                            mp__cli_key(w->arguments, w->arguments->words[i], &name), false,
                            tell_initial, w);
        mp__buf_done(&name);
    }
    if (client && w->arguments->word_count == 0)
        code = mp__cli_each(w->arguments, client, mp_str_new("", 0), false, tell_initial, w);
    (void)mp__client_close(client);
    return code;
}

static int follow(watching *w)
{
    int code = 0;
    mp_str key;
    bool deleted;

    while (w->left != 0 && code == 0 && mp__changes_next(w->changes, &key, &deleted, &code)) {
        if (key.size == 0) {
            print_line("reset", MP_STR("anything may have changed"), NULL);
            continue;
        }
        if (!is_wanted(w, key))
            continue;
        code = tell(w, deleted ? "delete" : "put", key, deleted);
        w->left -= w->left > 0;
    }
    return code;
}

int mp__verb_watch(const mp__arguments *arguments)
{
    const char *count = mp__flag_value(arguments, "--count");
    watching w = {.arguments = arguments, .left = -1};
    int code = 0;

    if (count) {
        char *end;

        w.left = strtoll(count, &end, 10);
        if (!*count || *end || w.left < 1)
            return mp__cli_fail(arguments, MP__EXIT_USAGE, "--count: '%s' is no number from 1 on",
                                count);
    }
    w.client = mp__cli_connect(arguments, &code);
    if (w.client)
        w.changes = mp__changes_open(arguments, &code);
    if (w.changes && mp__flag_given(arguments, "--initial"))
        code = initial(&w);
    if (w.changes && code == 0)
        code = follow(&w);
    (void)mp__changes_close(w.changes);
    (void)mp__client_close(w.client);
    return code;
}
