/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/pins, PUT and DELETE /v1/pins/{namespace}/{key...}. */
#include "server/http/handlers.h"
#include "server/http/http.h"

static void answer_pins(mp__exchange *x)
{
    mp__buf body = MP__BUF_INIT;

    (void)mp__manager_pins(x->worker->server->manager, &body);
    mp__answer_json(x, 200, &body);
}

void mp__http_pins(mp__exchange *x)
{
    if (mp__http_parameters(x, NULL, 0))
        answer_pins(x);
}

static void change(mp__exchange *x, int (*fn)(mp__manager *manager, mp_str pattern, mp__diag *diag))
{
    mp__manager *manager = x->worker->server->manager;
    mp__parameter p[] = {MP__PLACE_PARAMETERS};
    char scope_text[MP__SCOPE_MAX], text[MP__ADDRESS_MAX];
    mp_str scope, pattern;
    mp__diag diag = {0};
    int rc;

    if (!mp__http_parameters(x, p, MP__PLACE_COUNT) || !mp__http_scope(x, p, scope_text, &scope) ||
        !mp__http_address(x, scope, x->values[0], x->values[1], text, &pattern))
        return;
    rc =
        mp__access_check(mp__manager_access(manager), &x->identity, MP__RIGHT_WRITE, pattern, NULL);
    if (rc == 0)
        rc = fn(manager, pattern, &diag);
    if (rc == MP_EABSENT)
        mp__answer_problem(x, &(mp__problem){.status = 404,
                                             .type = "absent",
                                             .detail = "there is no such pin",
                                             .remedy = "GET /v1/pins lists those that are"});
    else if (rc)
        mp__answer_error(x, rc, diag.text[0] ? diag.text : NULL);
    else
        answer_pins(x);
}

void mp__http_pin(mp__exchange *x)
{
    change(x, mp__manager_pin);
}

void mp__http_unpin(mp__exchange *x)
{
    change(x, mp__manager_unpin);
}
