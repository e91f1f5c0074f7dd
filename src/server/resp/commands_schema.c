/* SPDX-License-Identifier: Apache-2.0 */
/* What breaks a schema before it is there. */
#include "core/bytes.h"
#include "server/resp/commands.h"

/* [found, [where, instance, keyword, text]...] */
static void format_check(mp__slot *slot, mp__buf *out)
{
    const mp__write_request *request = &slot->write;
    size_t told = request->broken_count < MP__BROKEN_MAX ? request->broken_count : MP__BROKEN_MAX;

    if (request->status && request->status != MP_EINVALID) {
        mp__reply_status(slot->connection, out, request->status, request->text);
        return;
    }
    mp__resp_array(out, 1 + told);
    mp__resp_integer(out, (int64_t)request->broken_count);
    for (size_t i = 0; i < told; i++) {
        mp__resp_array(out, 4);
        mp__resp_bulk(out, mp_str_of(request->broken[i].where));
        mp__resp_bulk(out, mp_str_of(request->broken[i].instance));
        mp__resp_bulk(out, mp_str_of(request->broken[i].keyword));
        mp__resp_bulk(out, mp_str_of(request->broken[i].text));
    }
}

/* [[place, text]...]: what the schema probably does not mean. */
static void format_warnings(mp__slot *slot, mp__buf *out)
{
    const mp__write_request *request = &slot->write;

    if (request->status && request->status != MP_EINVALID) {
        mp__reply_status(slot->connection, out, request->status, request->text);
        return;
    }
    mp__resp_array(out, request->warned_count);
    for (size_t i = 0; i < request->warned_count; i++) {
        mp__resp_array(out, 2);
        mp__resp_bulk(out, mp_str_of(request->warned[i].schema));
        mp__resp_bulk(out, mp_str_of(request->warned[i].text));
    }
}

static void check_done(mp__write_request *request)
{
    mp__slot_ready_now(request->context); /* what is broken is lent for this call */
}

void mp__cmd_mp_schema(MP__COMMAND_ARGS)
{
    mp_str name = arguments[2], schema = arguments[3];
    char address[MP__ADDRESS_MAX], *more;
    mp__diag diag = {0};
    mp__slot *slot;

    (void)count;
    if (!mp__word_is(arguments[1], "CHECK") && !mp__word_is(arguments[1], "WARNINGS")) {
        mp__reply_syntax(c);
        return;
    }
    if (mp__address_join(mp__connection_environment(c), MP_STR("_schema"), name, address, &diag) <
        0) {
        mp__reply_address_error(mp__connection_out(c), &diag);
        return;
    }
    slot = mp__slot_new(c, MP__SLOT_READ, 0, c->environment_size + name.size + schema.size,
                        mp__word_is(arguments[1], "CHECK") ? format_check : format_warnings);
    if (!slot)
        return;
    more = slot->memory;
    slot->write.loop = slot->worker->loop;
    slot->write.identity = &slot->identity;
    slot->write.examine_scope = mp__bytes_lay(&more, mp__connection_environment(c));
    slot->write.examine_name = mp__bytes_lay(&more, name);
    slot->write.examine_schema = mp__bytes_lay(&more, schema);
    slot->write.done = check_done;
    slot->write.context = slot;
    mp__schema_examine(c->worker->server->manager, &slot->write);
}
