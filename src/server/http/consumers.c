/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/consumers: who watches, and how far each was told. */
#include "server/consumers.h"
#include "server/http/handlers.h"

static void came(mp__consumers *consumers, mp__buf *body)
{
    mp__answer_json(consumers->context, 200, body);
}

void mp__http_consumers(mp__exchange *x)
{
    mp__consumers *consumers = mp__exchange_memory(x, sizeof(*consumers));
    mp__parameter limit = {.name = "limit"};
    int rc;

    if (!consumers) {
        mp__answer_no_memory(x);
        return;
    }
    consumers->limit = MP__CONSUMERS_MAX;
    if (!mp__http_parameters(x, &limit, 1) ||
        !mp__http_number_of(x, &limit, 1, MP__CONSUMERS_MAX, &consumers->limit))
        return;
    rc = mp__access_check(mp__manager_access(x->worker->server->manager), &x->identity,
                          MP__RIGHT_LIST, mp_str_new("", 0), NULL);
    if (rc) {
        mp__answer_error(x, rc, NULL);
        return;
    }
    consumers->server = x->worker->server;
    consumers->home = x->worker->loop;
    consumers->done = came;
    consumers->context = x;
    mp__consumers_start(consumers);
}
