/* SPDX-License-Identifier: Apache-2.0 */
/* Where in the overlay a connection reads and writes, and hiding what stands behind a layer. */
#include "server/resp/commands.h"

/* Cut the scope at its ~; parts that are not there are "". */
static void parts_of(mp_str scope, mp_str parts[3])
{
    for (int i = 0; i < 3; i++) {
        const char *end = scope.size ? memchr(scope.data, '~', scope.size) : NULL;

        parts[i] = end ? mp_str_new(scope.data, (size_t)(end - scope.data)) : scope;
        scope = end ? mp_str_new(end + 1, scope.size - parts[i].size - 1) : mp_str_new("", 0);
    }
}

void mp__cmd_mp_scope(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);
    char scope[MP__SCOPE_MAX];
    mp__diag diag = {0};
    mp_str parts[3];
    int size;

    parts_of(mp__connection_environment(c), parts);
    if (count == 1) {
        mp__resp_array(out, 3);
        for (int i = 0; i < 3; i++)
            mp__resp_bulk(out, parts[i]);
        return;
    }
    if (count > 3) {
        mp__reply_syntax(c);
        return;
    }
    size = mp__scope_build(parts[0], arguments[1], count == 3 ? arguments[2] : mp_str_new("", 0),
                           scope, &diag);
    if (size < 0) {
        mp__reply_address_error(out, &diag);
        return;
    }
    mp__connection_use(c, mp_str_new(scope, (size_t)size));
    mp__resp_simple(out, "OK");
}

static void format_mask(mp__slot *slot, mp__buf *out)
{
    int64_t n = 0;

    if (slot->write.status) {
        mp__reply_status(slot->connection, out, slot->write.status, slot->write.text);
        return;
    }
    for (size_t i = 0; i < slot->write.count; i++)
        n += slot->write.changes[i].changed;
    mp__resp_integer(out, n);
}

/* A mask is a value like any other, with a history; DEL takes it away. */
void mp__cmd_mp_mask(MP__COMMAND_ARGS)
{
    mp__change *changes;
    char *more;
    mp__slot *slot =
        mp__slot_changes(c, arguments + 1, 1, count - 1, 0, format_mask, &changes, &more);

    if (!slot)
        return;
    for (uint32_t i = 0; i < count - 1; i++) {
        changes[i].op = MP__CHANGE_PUT;
        changes[i].flags = MP__IF_CHANGED;
        changes[i].media_type = MP_STR(MP__MEDIA_MASK);
    }
    mp__slot_write_start(slot, changes, count - 1);
}
