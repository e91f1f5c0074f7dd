/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism watch: changes as they happen. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/changes.h"
#include "cli/environments.h"
#include "cli/keyset.h"
#include "core/alloc.h"
#include "core/json.h"

const mp__flag mp__watch_flags[] = {
    {"--initial", "-i", NULL, "Begin with what is there now."},
    {"--no-values", NULL, NULL, "Names only."},
    {"--count", "-c", "N", "End after so many changes, beside what --initial shows."},
    {"--from", NULL, "POSITION",
     "Begin with what changed since EPOCH-REVISION, which --json says of each change."},
    {"--no-resume", NULL, NULL,
     "End when the connection breaks; else it is made anew, and what was "
     "missed comes first."},
    {NULL, NULL, NULL, NULL},
};

typedef struct watching {
    const mp__arguments *arguments;
    mp__changes *changes;
    bool follows;
    int64_t left; /* changes still to print; < 0: without end */
    /* of --initial: where the data were before the keys were listed, and what was newer in the list
     */
    int64_t listed_from;
    mp__keyset listed;
} watching;

/* @key has no "default/" where that is its namespace; @prefix may. */
static bool begins_with(mp_str key, mp_str prefix)
{
    const mp_str in_default = MP_STR("default/");

    if (!memchr(key.data, '/', key.size) && prefix.size >= in_default.size &&
        memcmp(prefix.data, in_default.data, in_default.size) == 0)
        prefix = mp_str_new(prefix.data + in_default.size, prefix.size - in_default.size);
    return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

/* A key begins with one of the words; no word stands for all. */
static bool is_wanted(const watching *w, mp_str key)
{
    for (int i = 0; i < w->arguments->word_count; i++) {
        mp__buf name = MP__BUF_INIT;
        mp_str prefix = mp__cli_key(w->arguments, w->arguments->words[i], &name);
        bool fits = begins_with(key, prefix);

        mp__buf_done(&name);
        if (fits)
            return true;
    }
    return w->arguments->word_count == 0;
}

/* @revision: of the change; 0: not known. That of @meta is of the value that is printed. */
static void print_json(const watching *w, const char *event, mp_str key, int64_t revision,
                       const mp__reply *meta)
{
    mp__buf json = MP__BUF_INIT;

    mp__json_begin(&json, '{');
    mp__json_add_text(&json, "event", event);
    mp__json_add_string(&json, "key", key);
    mp__json_add_i64(&json, "observed_ms", mp__cli_now_ms());
    if (w->follows)
        mp__json_add_string(&json, "position", mp__changes_position(w->changes));
    if (meta)
        revision = mp__reply_integer(mp__reply_member(meta, "revision"));
    if (revision)
        mp__json_add_i64(&json, "revision", revision);
    if (meta) {
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
    mp__cli_put_shown(key);
    if (meta) {
        (void)printf(" = ");
        mp__cli_put_listed(mp__reply_text(mp__reply_member(meta, "value")));
    }
    (void)putchar('\n');
}

/* The value as it is now; NULL with *ret_code 0: there is none. */
static mp__reply *value_of(watching *w, mp_str key, int *ret_code)
{
    mp_str words[] = {MP_STR("MP.GET"), key, MP_STR("META")};
    mp__reply *meta = mp__changes_ask(w->changes, ret_code, words, 3);

    if (meta && !mp_str_equal(mp__reply_text(mp__reply_member(meta, "state")), MP_STR("present")))
        meta = mp__reply_free(meta);
    return meta;
}

static int print(const watching *w, const char *event, mp_str key, int64_t revision,
                 const mp__reply *meta)
{
    if (mp__flag_given(w->arguments, "--json"))
        print_json(w, event, key, revision, meta);
    else
        print_line(event, key.size ? key : MP_STR("anything may have changed"), meta);
    return fflush(stdout) ? MP__EXIT_ERROR : 0;
}

/* Tell of @change, if that was not a deletion with its value. That is the one it brought, also
 * where there is a newer one by now or none any more; but for a change of a layer behind, and of
 * origins without a history, which are told with what is there now. */
static int tell(watching *w, const char *event, const mp__noticed *change)
{
    mp__reply *now = NULL, *then = NULL;
    int code = 0;

    if (change->deleted || mp__flag_given(w->arguments, "--no-values"))
        return print(w, event, change->key, change->revision, NULL);
    now = value_of(w, change->key, &code);
    if (code == 0 && w->follows && change->revision &&
        (!now || mp__reply_integer(mp__reply_member(now, "revision")) > change->revision))
        then = mp__changes_value(w->changes, change, &code);
    if (code == 0)
        code = print(w, now || then ? event : "delete", change->key, change->revision,
                     then ? then->items : now);
    (void)mp__reply_free(now);
    (void)mp__reply_free(then);
    return code;
}

/* The value is asked for while the connection may be made anew, which frees what the key is lent
 * from. */
static int tell_copy(watching *w, const mp__noticed *change)
{
    MP__CLEANUP_FREE char *key = mp__str_dup(change->key);
    mp__noticed kept = *change;

    if (!key)
        return mp__cli_fail(w->arguments, MP__EXIT_ERROR, "out of memory");
    kept.key = mp_str_new(key, change->key.size);
    return tell(w, kept.deleted ? "delete" : "put", &kept);
}

/* What changes while the keys are listed is told once: as it stands in the list. */
static int keep_listed(watching *w, mp_str key, int64_t revision)
{
    mp_str none = mp_str_new("", 0);
    mp__key listed = {.name = key, .value = none, .media_type = none, .revision = revision};

    if (revision <= w->listed_from || mp__keyset_add(&w->listed, none, &listed) == 0)
        return 0;
    return mp__cli_fail(w->arguments, MP__EXIT_ERROR, "out of memory");
}

static bool was_listed(const watching *w, const mp__noticed *change)
{
    const mp__key *listed = mp__keyset_find(&w->listed, change->key);

    return change->revision && change->revision <= (listed ? listed->revision : w->listed_from);
}

static int tell_initial(void *context, const mp__listed *listed)
{
    watching *w = context;
    int64_t revision = listed->revision;
    mp__reply *now = NULL;
    int code = 0;

    if (!mp__flag_given(w->arguments, "--no-values")) {
        now = value_of(w, listed->key, &code);
        if (!now)
            return code; /* it has gone since */
        revision = mp__reply_integer(mp__reply_member(now, "revision"));
    }
    code = print(w, "is", listed->key, revision, now);
    (void)mp__reply_free(now);
    return code ? code : keep_listed(w, listed->key, revision);
}

/* Keys that are there already; from a connection of its own, since tell() asks meanwhile. */
static int initial(watching *w)
{
    int code = mp__changes_here(w->changes, &w->listed_from);
    mp__client *client = code ? NULL : mp__cli_connect(w->arguments, &code);

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
    (void)mp__keyset_sort(&w->listed);
    return code;
}

static int follow(watching *w)
{
    mp__noticed change;
    int code = 0;

    while (w->left != 0 && code == 0 && mp__changes_next(w->changes, &change, &code)) {
        if (change.key.size == 0) {
            w->listed_from = 0; /* perhaps of another life, whose revisions say nothing here */
            mp__keyset_done(&w->listed);
            code = print(w, "reset", change.key, change.revision, NULL);
            continue;
        }
        if (!is_wanted(w, change.key) || was_listed(w, &change))
            continue;
        code = tell_copy(w, &change);
        w->left -= w->left > 0;
    }
    return code;
}

static int take_flags(watching *w)
{
    const char *count = mp__flag_value(w->arguments, "--count");
    char *end;

    w->follows = !mp__flag_given(w->arguments, "--no-resume");
    if (mp__flag_given(w->arguments, "--from") &&
        (!w->follows || mp__flag_given(w->arguments, "--initial")))
        return mp__cli_fail(w->arguments, MP__EXIT_USAGE,
                            "--from goes with neither --initial, which begins with what is there, "
                            "nor --no-resume");
    if (!count)
        return 0;
    w->left = strtoll(count, &end, 10);
    if (*count && !*end && w->left >= 1)
        return 0;
    return mp__cli_fail(w->arguments, MP__EXIT_USAGE, "--count: '%s' is no number from 1 on",
                        count);
}

/* Who watches a misspelt environment waits for ever. */
static void note_environment(const mp__arguments *arguments)
{
    const char *environment = mp__flag_value(arguments, "--env");
    int code = 0;
    mp__client *client = environment ? mp__cli_connect(arguments, &code) : NULL;

    if (client)
        mp__cli_note_environment(arguments, client, environment, false);
    (void)mp__client_close(client);
}

int mp__verb_watch(const mp__arguments *arguments)
{
    watching w = {.arguments = arguments, .left = -1};
    int code = take_flags(&w);

    if (code)
        return code;
    w.changes = w.follows
                    ? mp__changes_follow(arguments, mp__flag_value(arguments, "--from"), &code)
                    : mp__changes_open(arguments, true, &code);
    if (w.changes)
        note_environment(arguments);
    if (w.changes && mp__flag_given(arguments, "--initial"))
        code = initial(&w);
    if (w.changes && code == 0)
        code = follow(&w);
    (void)mp__changes_close(w.changes);
    mp__keyset_done(&w.listed);
    return code;
}
