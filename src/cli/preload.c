/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism preload: bring keys into memory, and wait until they are there. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/bar.h"
#include "cli/cli.h"
#include "core/alloc.h"

const mp__flag mp__preload_flags[] = {
    {"--budget", "-b", "PERCENT",
     "Most of the memory (L1) that they fill, 1 to 100; else cache.preload_budget; "
     "more than that is for those who may write the keys."},
    {"--habits", NULL, NULL,
     "Also what is usually read at this hour, as was learned; for those who may write."},
    {"--no-wait", NULL, NULL, "Only begin; without a pattern it tells how far it is."},
    {NULL, NULL, NULL, NULL},
};

enum { LOOK_MS = 50, BAR_AFTER = 4 /* looks: what is soon done needs none */ };

typedef struct preload {
    const mp__arguments *arguments;
    mp__client *client;
    int64_t looks; /* at what an hour reads, when it began */
    bool habits;
    json_t *status; /* of the last look */
} preload;

static const json_t *part(const preload *p, const char *name)
{
    return json_object_get(p->status, name);
}

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

/* See how far it is. 0, or the exit code of what was said. */
static int look(preload *p)
{
    mp_str words[] = {MP_STR("MP.STATUS")};
    int code = MP__EXIT_ERROR;
    mp__reply *reply = mp__cli_call(p->arguments, p->client, &code, words, 1);

    if (!reply)
        return code;
    json_decref(p->status);
    p->status = json_loadb(mp__reply_text(reply).data, mp__reply_text(reply).size, 0, NULL);
    (void)mp__reply_free(reply);
    return p->status ? 0
                     : mp__cli_fail(p->arguments, MP__EXIT_ERROR,
                                    "the daemon's status is no JSON; is it of another version?");
}

static bool has_ended(const preload *p)
{
    const json_t *habits = part(p, "habits");

    if (strcmp(text_of(part(p, "preload"), "state"), "running") == 0)
        return false;
    return !p->habits ||
           (number_of(habits, "looks") > p->looks && number_of(habits, "waiting") == 0);
}

/* Or it cannot be asked at all: what habits want to bring waits then, and a preload has failed. */
static bool is_silent(const preload *p)
{
    const json_t *origin = part(p, "origin");
    const char *circuit = text_of(json_object_get(origin, "circuit"), "state");
    const char *state = text_of(origin, "state");

    return (*circuit && strcmp(circuit, "closed") != 0) ||
           (p->habits && strcmp(state, "live") != 0 && strcmp(state, "degraded") != 0);
}

/* 0, or the exit code of what was said: the origin may become silent, and for how long nobody
 * knows. */
static int wait_for_its_end(preload *p)
{
    bool may_draw = isatty(2), has_bar = false;
    int code = look(p);

    for (int looks = 0; code == 0 && !has_ended(p) && !is_silent(p); looks++) {
        const json_t *was = part(p, "preload");

        if (may_draw && looks >= BAR_AFTER) {
            mp__bar_draw("preloading", (size_t)number_of(was, "keys"), "of at most",
                         (size_t)number_of(was, "keys_max"), "keys");
            has_bar = true;
        }
        mp__cli_wait_ms(LOOK_MS);
        code = look(p);
    }
    if (has_bar)
        mp__cli_own(stderr, "\r\033[K");
    if (code == 0 && !has_ended(p))
        code = mp__cli_fail(p->arguments, MP__EXIT_ERROR,
                            "the origin does not answer; the preload goes on when it does. See "
                            "marketprism status");
    return code;
}

static void tell_people(const preload *p)
{
    const json_t *was = part(p, "preload"), *habits = part(p, "habits");
    const char *state = text_of(was, "state"), *trouble = text_of(was, "trouble");

    if (strcmp(state, "never") == 0 && !p->habits)
        (void)printf("nothing was preloaded since the start\n");
    else if (p->arguments->word_count || !p->habits)
        (void)printf("%s: %" PRId64 " key%s, %.1f MiB, %s %" PRId64 " ms\n",
                     strcmp(state, "budget-used") == 0 ? "the budget is used up" : state,
                     number_of(was, "keys"), number_of(was, "keys") == 1 ? "" : "s",
                     (double)number_of(was, "bytes") / 1048576,
                     strcmp(state, "running") == 0 ? "for" : "in", number_of(was, "took_ms"));
    if (p->arguments->word_count == 0 && !p->habits)
        (void)printf("first reads that it saved: %" PRId64 "\n",
                     number_of(was, "first_reads_saved"));
    if (*trouble && (p->arguments->word_count || !p->habits))
        (void)printf("%s\n", trouble);
    if (p->habits)
        (void)printf("habits: %" PRId64 " keys brought since the start, %" PRId64
                     " first reads saved\n",
                     number_of(habits, "brought"), number_of(habits, "first_reads_saved"));
}

static int tell(const preload *p)
{
    const json_t *was = part(p, "preload");
    const char *state = text_of(was, "state");
    bool found = number_of(was, "keys") > 0 || number_of(was, "patterns_missed") == 0;

    if (mp__flag_given(p->arguments, "--json")) {
        json_t *told = json_pack("{s:O}", "preload", was);
        char *text;

        if (told && p->habits)
            (void)json_object_set(told, "habits", json_object_get(p->status, "habits"));
        text = told ? json_dumps(told, JSON_COMPACT) : NULL;
        (void)printf("%s\n", text ? text : "");
        free(text);
        json_decref(told);
    } else {
        tell_people(p);
    }
    return strcmp(state, "failed") == 0             ? MP__EXIT_ERROR
           : p->arguments->word_count == 0 || found ? 0
                                                    : MP__EXIT_ABSENT;
}

/* MP.PRELOAD with what was named. */
static int begin(preload *p, const char *budget)
{
    size_t count = (size_t)p->arguments->word_count, n = 0;
    mp_str *words = mp__calloc(count + 4, sizeof(*words));
    mp__buf *keys = mp__calloc(count + 1, sizeof(*keys));
    int code =
        words && keys ? look(p) : mp__cli_fail(p->arguments, MP__EXIT_ERROR, "out of memory");
    mp__reply *reply = NULL;

    if (code == 0 && words && keys) {
        p->looks = number_of(part(p, "habits"), "looks");
        words[n++] = MP_STR("MP.PRELOAD");
        if (budget) {
            words[n++] = MP_STR("BUDGET");
            words[n++] = mp_str_of(budget);
        }
        if (p->habits)
            words[n++] = MP_STR("HABITS");
        for (size_t i = 0; i < count; i++)
            words[n++] = mp__cli_key(p->arguments, p->arguments->words[i], &keys[i]);
        reply = mp__cli_call(p->arguments, p->client, &code, words, n);
        if (reply)
            code = 0;
    }
    for (size_t i = 0; keys && i < count; i++)
        mp__buf_done(&keys[i]);
    (void)mp__reply_free(reply);
    (void)mp__free(keys);
    (void)mp__free(words);
    return code;
}

int mp__verb_preload(const mp__arguments *arguments)
{
    preload p = {.arguments = arguments, .habits = mp__flag_given(arguments, "--habits")};
    const char *budget = mp__flag_value(arguments, "--budget");
    bool begins = arguments->word_count > 0 || p.habits;
    uint64_t percent = 0;
    int code = budget ? mp__cli_number(arguments, "--budget", budget, 1, &percent) : 0;

    if (code == 0 && percent > 100)
        code = mp__cli_fail(arguments, MP__EXIT_USAGE, "--budget is 1 to 100 (percent)");
    if (code == 0 && budget && arguments->word_count == 0)
        code = mp__cli_fail(arguments, MP__EXIT_USAGE, "--budget is for the patterns; name some");
    if (code)
        return code;
    p.client = mp__cli_connect(arguments, &code);
    if (!p.client)
        return code;
    code = begins ? begin(&p, budget) : 0;
    if (code == 0)
        code = mp__flag_given(arguments, "--no-wait") ? look(&p) : wait_for_its_end(&p);
    if (code == 0)
        code = tell(&p);
    json_decref(p.status);
    (void)mp__client_close(p.client);
    return code;
}
