/* SPDX-License-Identifier: Apache-2.0 */
/* Slots: commands under way on a connection, until what they wait for is there. */
#include "server/resp/connection.h"

void mp__slot_free(mp__slot *slot)
{
    if (slot->kind == MP__SLOT_READ)
        slot->worker->reads--;
    for (uint32_t i = 0; i < slot->count; i++)
        (void)mp__entry_unref(slot->reads[i].entry);
    mp__query_done(&slot->query);
    (void)mp_blob_unref(slot->write.old_value);
    mp__buf_done(&slot->reply);
    mp__buf_done(&slot->after);
    (void)mp__free(slot->owned);
    mp__spare_give(&slot->worker->spare, slot, slot->size);
}

void mp__connection_mark_dirty(mp__connection *c)
{
    if (c->is_dirty)
        return;
    c->is_dirty = true;
    c->next_dirty = c->worker->dirty;
    c->worker->dirty = c;
}

mp__slot *mp__slot_new(mp__connection *c, enum mp__slot_kind kind, size_t reads, size_t bytes,
                       void (*format)(mp__slot *slot, mp__buf *out))
{
    size_t size;
    mp__slot *slot =
        mp__spare_take(&c->worker->spare, sizeof(*slot) + reads * sizeof(mp__read) + bytes, &size);

    if (!slot) {
        mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
        return NULL;
    }
    slot->connection = c;
    slot->worker = c->worker;
    slot->size = size;
    slot->kind = kind;
    slot->format = format;
    slot->version = c->version;
    slot->count = (uint32_t)reads;
    slot->reads = (mp__read *)(slot + 1);
    slot->memory = (char *)(slot->reads + reads);
    slot->began_ns = c->worker->tick_ns;
    slot->identity = c->identity;
    *c->last_slot = slot;
    c->last_slot = &slot->next;
    c->slot_count++;
    if (kind == MP__SLOT_READ)
        c->worker->reads++;
    return slot;
}

/* Its values are together more than may be sent. */
static bool is_too_much(const mp__slot *slot)
{
    return slot->bytes_max && slot->bytes > slot->bytes_max;
}

static void format_slot(mp__slot *slot)
{
    slot->reply.size_max = slot->worker->limits.output_hard;
    if (!is_too_much(slot))
        slot->format(slot, &slot->reply);
    if (slot->reply.error || is_too_much(slot)) {
        mp__buf_done(&slot->reply);
        slot->reply.size_max = 0;
        mp__resp_error(&slot->reply, "ERR",
                       "the reply is larger than resp.output_hard; ask for less");
    }
    slot->ready = true;
    mp__connection_mark_dirty(slot->connection);
}

void mp__slot_ready_now(mp__slot *slot)
{
    if (slot->connection) {
        format_slot(slot);
    } else {
        atomic_fetch_sub(&slot->worker->server->answers_due, 1);
        mp__slot_free(slot);
    }
}

/* What was read may be much work to format, and come for many at once: what the turn has no time
 * for stands in line with its connection. Not so writes: who changed something has his reply before
 * others hear of it. */
void mp__slot_ready(mp__slot *slot)
{
    mp__connection *c = slot->connection;

    if (!c || slot->kind == MP__SLOT_WRITE || (!c->come && mp__turn_has_time(&c->worker->turn))) {
        mp__slot_ready_now(slot);
    } else {
        slot->has_come = true;
        *c->last_come = slot;
        c->last_come = &slot->next_come;
        mp__turn_wait(&c->worker->turn, &c->line);
    }
}

void mp__slots_format(mp__connection *c)
{
    mp__slice_begin(&c->worker->turn);
    while (c->come) {
        mp__slot *slot = c->come;

        c->come = slot->next_come;
        if (!c->come)
            c->last_come = &c->come;
        format_slot(slot);
        if (c->come && mp__slice_is_over(&c->worker->turn)) {
            mp__turn_wait(&c->worker->turn, &c->line);
            return;
        }
    }
}

/* ---- slots that wait for the manager ---- */

static void note_bytes(mp__slot *slot, const mp__read *read)
{
    if (read->entry)
        slot->bytes += mp_blob_str(&read->entry->blob.pub).size;
}

static void go_on_reading(mp__slot *slot);

static void read_done(mp__read *read)
{
    mp__slot *slot = read->context;

    note_bytes(slot, read);
    slot->waiting--;
    if (slot->started < slot->count && slot->connection &&
        !is_too_much(slot)) /* else nobody wants the rest */
        go_on_reading(slot);
    else if (slot->waiting == 0)
        mp__slot_ready(slot);
}

/* Start the next reads, as many as may be under way. */
static void go_on_reading(mp__slot *slot)
{
    slot->waiting++; /* one for this function, so that it is not ready too early */
    while (slot->started < slot->count && slot->waiting <= MP__READS_AT_ONCE &&
           !is_too_much(slot)) {
        mp__read *read = &slot->reads[slot->started++];

        read->loop = slot->worker->loop;
        read->identity = &slot->identity;
        read->done = read_done;
        read->context = slot;
        slot->waiting++;
        if (mp__read_start(slot->worker->server->manager, read)) {
            note_bytes(slot, read);
            slot->waiting--;
        }
    }
    if (--slot->waiting == 0)
        mp__slot_ready(slot);
}

void mp__slot_reads_start(mp__slot *slot)
{
    slot->waiting = slot->started = 0;
    go_on_reading(slot);
}

static void write_done(mp__write_request *request)
{
    mp__slot *slot = request->context;
    uint64_t now = mp__env_now_ns(slot->worker->server->env);

    mp__monitor_record(slot->worker->server->monitor, MP__OP_SET, MP__TIER_ORIGIN,
                       now > slot->began_ns ? now - slot->began_ns : 0, 1);
    mp__slot_ready(slot);
}

void mp__slot_write_start(mp__slot *slot, mp__change *changes, size_t count)
{
    slot->write.loop = slot->worker->loop;
    slot->write.source = slot->connection;
    slot->write.identity = &slot->identity;
    slot->write.changes = changes;
    slot->write.count = count;
    slot->write.done = write_done;
    slot->write.context = slot;
    mp__write_start(slot->worker->server->manager, &slot->write);
}

static void query_done(mp__query *query)
{
    mp__slot *slot = query->context;

    if (slot->connection)
        slot->connection->queries--;
    if (slot->connection && slot->queried)
        slot->queried(slot);
    else
        mp__slot_ready(slot);
}

void mp__slot_query_start(mp__slot *slot)
{
    slot->query.loop = slot->worker->loop;
    slot->query.identity = &slot->identity;
    slot->query.gone = &slot->is_gone;
    slot->query.done = query_done;
    slot->query.context = slot;
    slot->connection->queries++;
    mp__query_start(slot->worker->server->manager, &slot->query);
}

void mp__slots_abandon(mp__connection *c)
{
    while (c->slots) {
        mp__slot *slot = c->slots;

        c->slots = slot->next;
        slot->connection = NULL;
        slot->is_gone = true;
        if (slot->ready || slot->has_come)
            mp__slot_free(slot);
        else
            atomic_fetch_add(&c->worker->server->answers_due, 1);
    }
    c->last_slot = &c->slots;
    c->come = NULL;
    c->last_come = &c->come;
    c->slot_count = 0;
}
