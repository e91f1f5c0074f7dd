/* SPDX-License-Identifier: Apache-2.0 */
/* GET and POST /v1/preload: bring keys into memory before they are read. */
#include <stdio.h>

#include "server/http/collect.h"
#include "server/http/handlers.h"

enum { PATTERNS_MAX = 64 };

static void answer_progress(mp__exchange *x, int status)
{
    mp__buf body = MP__BUF_INIT;

    (void)mp__manager_preload(x->worker->server->manager, &x->identity, &body);
    mp__answer_json(x, status, &body);
}

void mp__http_preload_get(mp__exchange *x)
{
    if (mp__http_parameters(x, NULL, 0))
        answer_progress(x, 200);
}

/* What the member `budget` says; 0: nothing. False: answered. */
static bool take_budget(mp__exchange *x, const json_t *body, unsigned *ret_percent)
{
    const json_t *budget = json_object_get(body, "budget");
    json_int_t percent = json_integer_value(budget);

    if (budget && (!json_is_integer(budget) || percent < 1 || percent > 100)) {
        mp__answer_invalid(x, "budget is a part of memory, 1 to 100 (percent)");
        return false;
    }
    *ret_percent = budget ? (unsigned)percent : 0;
    return true;
}

/* The addresses that `patterns` names. False: answered. */
static bool take_patterns(mp__exchange *x, mp_str scope, const json_t *named,
                          mp_str patterns[PATTERNS_MAX])
{
    size_t count = json_array_size(named);
    char where[32];

    for (size_t i = 0; i < count; i++) {
        static const char *const names[] = {"namespace", "key", NULL};
        const json_t *pattern = json_array_get(named, i);

        (void)snprintf(where, sizeof(where), "patterns[%zu]", i);
        if ((json_is_object(pattern) && !mp__http_json_members(x, pattern, where, names)) ||
            !mp__http_json_address(x, pattern, where, scope, &patterns[i]))
            return false;
    }
    return true;
}

static void answer_refusal(mp__exchange *x, int rc, const char *text)
{
    if (rc == MP_ELIMIT)
        mp__answer_problem(x, &(mp__problem){.status = 409,
                                             .type = "under-way",
                                             .detail = text,
                                             .remedy = "GET /v1/preload tells how far it is; ask "
                                                       "again when it has ended",
                                             .retry_after_ms = 1000});
    else
        mp__answer_error(x, rc, text);
}

static void begin(mp__exchange *x, mp_str scope, const json_t *body)
{
    mp__manager *manager = x->worker->server->manager;
    const json_t *named = json_object_get(body, "patterns"),
                 *habits = json_object_get(body, "habits");
    mp_str patterns[PATTERNS_MAX];
    mp__diag diag = {0};
    unsigned percent;
    int rc = 0;

    if (habits && !json_is_boolean(habits)) {
        mp__answer_invalid(x, "habits is true or false");
        return;
    }
    if (!(named || json_is_true(habits)) ||
        (named && (!json_is_array(named) || json_array_size(named) == 0 ||
                   json_array_size(named) > PATTERNS_MAX))) {
        mp__answer_invalid(x, "patterns is a list of 1 to %d keys, or beginnings with a * behind",
                           PATTERNS_MAX);
        return;
    }
    if (!take_budget(x, body, &percent) || !take_patterns(x, scope, named, patterns))
        return;
    if (json_is_true(habits))
        rc = mp__preload_habits(manager, &x->identity, &diag);
    if (rc == 0 && named)
        rc = mp__preload_start(manager, &x->identity, patterns, json_array_size(named), percent,
                               &diag);
    if (rc)
        answer_refusal(x, rc, diag.text[0] ? diag.text : NULL);
    else
        answer_progress(x, 202);
}

void mp__http_preload_post(mp__exchange *x)
{
    static const char *const names[] = {"patterns", "budget", "habits", NULL};
    char scope_text[MP__SCOPE_MAX];
    json_t *body;
    mp_str scope;

    if (!mp__http_json_body_of_place(x, names, scope_text, &scope, &body))
        return;
    begin(x, scope, body);
    json_decref(body);
}
