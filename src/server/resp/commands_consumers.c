/* SPDX-License-Identifier: Apache-2.0 */
/* MP.CONSUMERS [COUNT n]: who watches, and how far each was told. */
#include "server/consumers.h"
#include "server/resp/commands.h"

static void format(mp__slot *slot, mp__buf *out)
{
    const mp__consumers *consumers = (const mp__consumers *)(void *)slot->memory;

    if (consumers->body.error)
        mp__resp_error(out, "OOM", "out of memory");
    else
        mp__resp_verbatim(out, "txt", mp__buf_str(&consumers->body), slot->version);
}

static void came(mp__consumers *consumers, mp__buf *body)
{
    mp__slot *slot = consumers->context;
    mp__buf kept = *body;

    consumers->body = kept;
    mp__slot_ready_now(slot); /* without a connection the slot goes, and @consumers with it */
    mp__buf_done(&kept);
}

void mp__cmd_mp_consumers(MP__COMMAND_ARGS)
{
    int64_t limit = MP__CONSUMERS_MAX;
    mp__consumers *consumers;
    mp__slot *slot;
    int rc;

    if (count != 1 && (count != 3 || !mp__word_is(arguments[1], "COUNT") ||
                       !mp__integer_parse(arguments[2], &limit) || limit < 1)) {
        mp__resp_error(mp__connection_out(c), "ERR", "syntax error");
        return;
    }
    rc = mp__access_check(mp__manager_access(c->worker->server->manager), &c->identity,
                          MP__RIGHT_LIST, mp_str_new("", 0), NULL);
    if (rc) {
        mp__reply_status(c, mp__connection_out(c), rc, NULL);
        return;
    }
    slot = mp__slot_new(c, MP__SLOT_READ, 0, sizeof(*consumers), format);
    if (!slot)
        return;
    consumers = (mp__consumers *)(void *)slot->memory;
    *consumers = (mp__consumers){
        .server = c->worker->server,
        .home = c->worker->loop,
        .limit = (uint64_t)(limit < MP__CONSUMERS_MAX ? limit : MP__CONSUMERS_MAX),
        .done = came,
        .context = slot,
    };
    mp__consumers_start(consumers);
}
