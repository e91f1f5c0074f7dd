/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in, commands run, replies out in order; limits and time limits. */
#include "server/resp/connection.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    WRITE_AT = 256 * 1024, /* replies gathered before they are handed over */
    SLOTS_MAX = 1024,      /* commands under way on one connection */
    READS_LEAST = 8,       /* the same of reads, whatever all others have under way */
    READS_BUDGET = 1024,   /* of all connections of a loop; each has at most half of what is left */
    QUERIES_MAX = 2,       /* lists under way on one connection: each is work for milliseconds */
    OUT_KEPT = 256 * 1024, /* a worker's buffer that grew beyond goes back */
    LENT_LEAST = 64 * 1024, /* a value of so many bytes is sent from where the cache has it */
    FLOOR_AFTER_S = 5,
    DEAR_FLOOR = 64 * 1024, /* bytes/s, while large commands take nearly all that they may */
};
#define SECOND_NS 1000000000u

static const mp__stream_events stream_events;

/* ---- replies in order ---- */

mp__buf *mp__connection_out(mp__connection *c)
{
    mp__slot *slot = c->slots;

    if (!slot)
        return &c->worker->out;
    return &((mp__slot *)((char *)c->last_slot - offsetof(mp__slot, next)))->after;
}

mp_str mp__connection_environment(const mp__connection *c)
{
    return mp_str_new(c->environment, c->environment_size);
}

void mp__connection_use(mp__connection *c, mp_str scope)
{
    mp__manager *manager = c->worker->server->manager;
    mp_str name;

    memmove(c->environment, scope.data, scope.size);
    c->environment_size = scope.size;
    c->named_environment = true;
    for (unsigned n = 0; (name = mp__manager_environment(manager, n)).size; n++)
        if (mp_str_equal(name, scope)) {
            c->database = n;
            c->named_environment = false;
        }
}

/* ---- closing ---- */

static void unlink_dirty(mp__connection *c)
{
    for (mp__connection **link = &c->worker->dirty; c->is_dirty && *link;
         link = &(*link)->next_dirty)
        if (*link == c) {
            *link = c->next_dirty;
            break;
        }
    c->is_dirty = false;
}

static void connection_closed(void *context)
{
    mp__connection *c = context;

    mp__stage_clear(c);
    mp__resp_parser_done(&c->parser);
    mp__buf_done(&c->in);
    (void)mp__free(c);
}

static void connection_end(mp__connection *c, bool reset)
{
    mp__worker_loop *worker = c->worker;

    if (c->closed)
        return;
    c->closed = true;
    mp__turn_leave(&worker->turn, &c->line);
    mp__slots_abandon(c);
    unlink_dirty(c);
    mp__worker_note_backlog(c->worker, &c->backlog, 0);
    mp__worker_note_input(c->worker, &c->input, 0);
    (void)mp__worker_may_gather(c->worker, &c->gathered, 0);
    mp__tell_leaves(c);
    mp__subscriptions_clear(c);
    (void)pthread_mutex_lock(&worker->list_lock);
    if (c->previous)
        c->previous->next = c->next;
    else
        worker->connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    (void)pthread_mutex_unlock(&worker->list_lock);
    mp__client_leaves(&worker->server->resp_clients);
    if (reset)
        mp__stream_reset(c->stream);
    else
        mp__stream_close(c->stream);
}

static void connection_close(mp__connection *c)
{
    connection_end(c, false);
}

static void cut(mp__connection *c, const char *why)
{
    mp__monitor_count(c->worker->server->monitor, MP__EVENT_CONNECTIONS_CUT, 1);
    mp__log(c->worker->server->log, MP__LOG_INFO, "server", "client-cut",
            "id=%" PRIu64 " peer=%s: %s", c->id, c->peer, why);
    connection_end(c, true);
}

void mp__connection_finish(mp__connection *c)
{
    c->closing = true;
    mp__connection_mark_dirty(c);
}

void mp__connection_refuse(mp__connection *c)
{
    c->refused = true;
    mp__connection_finish(c);
}

static void pause_reading(mp__connection *c, bool pause)
{
    if (c->paused == pause || c->closed)
        return;
    c->paused = pause;
    mp__stream_pause(c->stream, pause);
}

/* All is answered and sent: close, or let who was refused finish what it sends. */
static void last_word_is_sent(mp__connection *c)
{
    mp__worker_loop *worker = c->worker;

    if (!c->refused || mp__linger_is_on(&c->linger) || mp__stream_queued(c->stream)) {
        connection_close(c);
        return;
    }
    mp__turn_leave(&worker->turn, &c->line);
    mp__tell_leaves(c);
    mp__subscriptions_clear(c);
    mp__stage_clear(c);
    mp__buf_done(&c->in);
    mp__worker_note_input(worker, &c->input, 0);
    (void)mp__worker_may_gather(worker, &c->gathered, 0);
    c->blocked = false;
    c->partial_since_ns = 0;
    mp__linger_begin(&c->linger, c->stream, worker->tick_ns);
    pause_reading(c, false);
}

/* ---- writing ---- */

static bool over_soft(const mp__connection *c)
{
    return mp__stream_queued(c->stream) > mp__worker_output_soft(c->worker);
}

/* Hand worker->out to the stream, and behind it what @lent (or NULL) holds. False: the connection
 * has gone. */
static bool write_with(mp__connection *c, const mp_blob *lent)
{
    mp__worker_loop *worker = c->worker;
    mp_str value = lent ? mp_blob_str(lent) : (mp_str){NULL, 0};
    struct iovec parts[] = {{worker->out.data, worker->out.size},
                            {(void *)(uintptr_t)value.data, value.size}};
    int rc = worker->out.error;

    if (parts[0].iov_len && rc == 0) {
        rc = lent ? mp__stream_write_kept(c->stream, parts, 2, lent)
                  : mp__stream_write(c->stream, parts, 1);
        mp__monitor_count(worker->server->monitor, MP__EVENT_BYTES_OUT,
                          parts[0].iov_len + parts[1].iov_len);
        if (worker->out.capacity > OUT_KEPT)
            mp__buf_done(&worker->out);
    }
    mp__buf_reset(&worker->out);
    if (rc) {
        connection_close(c);
        return false;
    }
    mp__worker_note_backlog(c->worker, &c->backlog, mp__stream_queued(c->stream));
    if (mp__stream_queued(c->stream) > value.size + worker->limits.output_hard) {
        cut(c, "more unread replies than resp.output_hard");
        return false;
    }
    return true;
}

static bool write_out(mp__connection *c)
{
    return write_with(c, NULL);
}

/* The reply of a value that is @lent by the cache: what waits of it is held, not copied. */
static bool reply_lent(mp__connection *c, const mp_blob *lent)
{
    mp__buf *out = &c->worker->out;

    mp__resp_bulk_head(out, mp_blob_str(lent).size);
    if (!write_with(c, lent))
        return false;
    (void)mp__buf_add(out, "\r\n", 2);
    return true;
}

void mp__connection_push(mp__connection *c)
{
    if (!c->slots)
        (void)write_out(c);
}

static bool all_sent(mp__connection *c)
{
    return mp__stream_flush(c->stream) != 0 || mp__stream_queued(c->stream) == 0;
}

static void process(mp__connection *c);

/* What it waited for has come. Where it stands in line it goes on when that has come to it. */
static void unblock(mp__connection *c)
{
    c->blocked = false;
    if (!c->line.waits)
        process(c);
}

/* Send what is ready at the head of the order, then go on with what was waiting for it. */
static void flush(mp__connection *c)
{
    while (c->slots && c->slots->ready) {
        mp__slot *slot = c->slots;

        (void)mp__buf_add_str(&c->worker->out, mp__buf_str(&slot->reply));
        (void)mp__buf_add_str(&c->worker->out, mp__buf_str(&slot->after));
        c->slots = slot->next;
        if (!c->slots)
            c->last_slot = &c->slots;
        c->slot_count--;
        mp__slot_free(slot);
    }
    if (!write_out(c))
        return;
    if (c->closing) {
        if (!c->slots && all_sent(c))
            last_word_is_sent(c);
        return;
    }
    if (c->blocked && !over_soft(c))
        unblock(c);
}

void mp__connections_flush(mp__worker_loop *worker)
{
    while (worker->dirty) {
        mp__connection *c = worker->dirty;

        worker->dirty = c->next_dirty;
        c->is_dirty = false;
        flush(c);
    }
}

static void drained(void *context)
{
    mp__connection *c = context;

    c->taking = (mp__taking){0};
    mp__worker_note_backlog(c->worker, &c->backlog, 0);
    if (c->closing) {
        if (!c->slots)
            last_word_is_sent(c);
        return;
    }
    if (c->lapsed) {
        mp__subscriptions_resume(c);
        if (c->closed)
            return;
    }
    if (c->blocked)
        unblock(c);
}

/* ---- the batch of GETs ---- */

static void format_get(mp__slot *slot, mp__buf *out)
{
    const mp__read *read = &slot->reads[0];

    if (read->status == 0)
        mp__resp_bulk(out, mp_blob_str(&read->entry->blob.pub));
    else if (read->status == MP_EABSENT)
        mp__resp_null(out, slot->version);
    else
        mp__reply_read_error(slot->connection, out, read);
}

/* One GET that L1 could not answer now. */
static void get_slowly(mp__connection *c, mp_str address, uint64_t hash)
{
    mp__slot *slot = mp__slot_new(c, MP__SLOT_READ, 1, address.size, format_get);

    if (!slot)
        return;
    memcpy(slot->memory, address.data, address.size);
    slot->reads[0].address = mp_str_new(slot->memory, address.size);
    slot->reads[0].hash = hash;
    slot->reads[0].level = c->level;
    slot->reads[0].strict = c->strict;
    slot->reads[0].age_max_ms = -1;
    slot->reads[0].is_use = true;
    mp__slot_reads_start(slot);
}

/* Answer the GETs of the batch. Where the client does not take so much, the rest goes back to where
 * it came from: worker->rewind is the first byte of the first that was not answered. */
static void batch_run(mp__connection *c)
{
    mp__worker_loop *worker = c->worker;
    mp__get_batch *batch = &worker->batch;
    mp__manager *manager = worker->server->manager;
    uint32_t count = batch->count, hits = 0;
    bool lent = mp__stream_queued(c->stream) > 0;

    batch->count = 0;
    if (mp__tap_wants(&worker->tap, c->id, worker->tick_ns))
        for (uint32_t i = 0; i < count; i++)
            mp__tap_read(manager, &worker->tap, c->id, worker->tick_ns,
                         mp_str_new(batch->addresses[i], batch->sizes[i]));
    if (mp_read_begin() != 0) {
        for (uint32_t i = 0; i < count; i++)
            mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
        return;
    }
    if (count > 1)
        mp__cache_prefetch_many(mp__manager_cache(manager), batch->hashes, count);
    for (uint32_t i = 0; i < count; i++) {
        mp_str address = mp_str_new(batch->addresses[i], batch->sizes[i]);
        const mp__entry *entry;

        if ((worker->out.size > WRITE_AT || (lent && over_soft(c))) &&
            (!write_out(c) || over_soft(c))) {
            worker->rewind = batch->starts[i];
            break;
        }
        entry = mp__read_now(manager, address, batch->hashes[i], c->level, 0);

        if (!entry) {
            get_slowly(c, address, batch->hashes[i]);
            continue;
        }
        hits++;
        if (entry->kind != MP__RECORD_VALUE) {
            mp__resp_null(mp__connection_out(c), c->version);
        } else if (entry->blob.pub.size < LENT_LEAST || c->slots) {
            mp__resp_bulk(mp__connection_out(c), mp_blob_str(&entry->blob.pub));
        } else {
            lent = true;
            if (!reply_lent(c, &entry->blob.pub)) {
                worker->rewind = batch->starts[i];
                break;
            }
        }
    }
    mp_read_end();
    if (hits)
        mp__monitor_hits(worker->server->monitor, MP__OP_GET, MP__TIER_L1, hits);
}

/* Put a GET into the batch. False: its name is refused (the batch has run before the error). */
static void batch_add(mp__connection *c, mp_str name, size_t start)
{
    mp__worker_loop *worker = c->worker;
    mp__get_batch *batch = &worker->batch;
    char *address = batch->addresses[batch->count];
    mp_str environment = mp__connection_environment(c);
    int size = mp__address_from_name(environment, name, address, NULL);

    if (size < 0) {
        mp__diag diag = {0};

        batch_run(c);
        if (worker->rewind != SIZE_MAX)
            return;
        (void)mp__address_from_name(environment, name, address, &diag); /* why not */
        mp__reply_address_error(mp__connection_out(c), &diag);
        return;
    }
    batch->starts[batch->count] = start;
    mp__cache_prefetch(mp__manager_cache(worker->server->manager),
                       mp__batch_addressed(worker, batch->count, (size_t)size));
    if (++batch->count == MP__GET_BATCH)
        batch_run(c);
}

static bool is_get(const mp__resp_command *command)
{
    const char *p;

    if (command->count != 2 || command->arguments[0].size != 3)
        return false;
    p = command->arguments[0].data;
    return (p[0] | 0x20) == 'g' && (p[1] | 0x20) == 'e' && (p[2] | 0x20) == 't';
}

/* ---- commands from bytes ---- */

/* Whether it has as many commands under way as it may: of reads fewer, the more all others have, so
 * that who asks for one value does not wait for the many of each. */
static bool has_all_slots(const mp__connection *c)
{
    uint32_t all = c->worker->reads;

    if (c->slot_count < READS_LEAST)
        return false;
    if (c->slots->kind == MP__SLOT_WRITE)
        return c->slot_count >= SLOTS_MAX;
    return all >= READS_BUDGET || c->slot_count >= (READS_BUDGET - all) / 2;
}

/* Whether a command of these flags must wait for what is under way. */
static bool must_wait(const mp__connection *c, unsigned flags)
{
    enum mp__slot_kind kind;

    if (!c->slots)
        return false;
    kind = c->slots->kind;
    return (flags & MP__COMMAND_ALONE) || ((flags & MP__COMMAND_READ) && kind == MP__SLOT_WRITE) ||
           ((flags & MP__COMMAND_WRITE) && kind == MP__SLOT_READ) || c->queries >= QUERIES_MAX ||
           has_all_slots(c);
}

/* Whether a GET may go into the batch. */
static bool takes_gets(const mp__connection *c)
{
    return !(c->subscriptions.count && c->version == 2) && !must_wait(c, MP__COMMAND_READ);
}

/* Run one command, or say with false that it must come again later. */
static bool run_command(mp__connection *c, const mp__resp_command *command, bool is_inline,
                        size_t start)
{
    const mp__command *known;

    if (!is_inline && is_get(command) && takes_gets(c)) {
        batch_add(c, command->arguments[1], start);
        return true;
    }
    if (c->worker->batch.count)
        batch_run(c);
    if (c->worker->rewind != SIZE_MAX)
        return false;
    known = mp__command_find(command->arguments[0]);
    if (!known) {
        mp__command_unknown(c, command->arguments, command->count);
        return true;
    }
    if (must_wait(c, known->flags))
        return false;
    mp__command_run(c, known, command->arguments, command->count);
    return true;
}

static void refuse_protocol(mp__connection *c, int rc)
{
    if (c->worker->batch.count)
        batch_run(c);
    mp__monitor_count(c->worker->server->monitor, MP__EVENT_PROTOCOL_ERRORS, 1);
    if (rc == MP_EPROTO)
        mp__resp_error(mp__connection_out(c), "ERR", "%s", c->parser.error);
    else
        mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
    mp__connection_refuse(c);
}

/* Run the command at @data + @at; returns its size, or 0 when there is no whole one, or it is not
 * its turn, or it is refused. */
static size_t run_next(mp__connection *c, char *data, size_t at, size_t size)
{
    mp__resp_command command;
    mp_str key;
    size_t used = mp__resp_parse_get(&c->parser, data + at, size - at, &key);
    int rc;

    if (used && takes_gets(c)) {
        batch_add(c, key, at);
        return used;
    }
    if (data[at] != '*' && c->slots) { /* an inline command is changed by reading it: once only */
        c->blocked = true;
        return 0;
    }
    rc = mp__resp_parse(&c->parser, data + at, size - at, &command, &used);
    if (rc == MP_EAGAIN)
        return 0;
    if (rc) {
        refuse_protocol(c, rc);
        return 0;
    }
    if (command.count && !run_command(c, &command, data[at] != '*', at)) {
        c->blocked = true;
        return 0;
    }
    return used;
}

/* Run what stands in @data; returns how many bytes were used. */
static size_t run_all(mp__connection *c, char *data, size_t size)
{
    mp__worker_loop *worker = c->worker;
    size_t at = 0;
    uint64_t commands = 0;

    worker->rewind = SIZE_MAX;
    mp__slice_begin(&worker->turn);
    while (at < size && !c->closing && !c->blocked) {
        size_t used = run_next(c, data, at, size);

        if (!used || worker->rewind != SIZE_MAX)
            break;
        at += used;
        commands++;
        if (worker->out.size > WRITE_AT || has_all_slots(c)) {
            if (worker->batch.count)
                batch_run(c);
            if (worker->rewind != SIZE_MAX || c->closed)
                break;
            if (!write_out(c))
                return size;
            c->blocked = over_soft(c) || has_all_slots(c);
        }
        if (at < size && worker->batch.count == 0 && !c->closed &&
            mp__slice_is_over(&worker->turn)) {
            mp__turn_wait(&worker->turn, &c->line);
            break;
        }
    }
    if (worker->batch.count)
        batch_run(c);
    if (c->closed)
        return size;
    if (worker->rewind != SIZE_MAX) {
        at = worker->rewind;
        c->blocked = true;
    }
    (void)atomic_fetch_add_explicit(&worker->server->commands, commands, memory_order_relaxed);
    return at;
}

/* What was just replied goes out before another connection is at work, which shares the worker's
 * buffer. @c may have gone then. */
static void refuse_now(mp__connection *c)
{
    mp__connection_refuse(c);
    if (!c->slots)
        (void)write_out(c);
}

/* What it has sent waits for its turn, or for an answer; or for more of a command. @c may have gone
 * then. */
static void note_input(mp__connection *c)
{
    bool waits = c->blocked || c->line.waits;

    mp__worker_note_input(c->worker, &c->input, waits ? c->in.capacity : 0);
    if (mp__worker_may_gather(c->worker, &c->gathered, waits ? 0 : c->in.capacity) || c->closing)
        return;
    mp__resp_error(mp__connection_out(c), "OOM",
                   "too much of large commands is under way; send it again in a moment");
    refuse_now(c);
}

/* Remember the bytes of a command that has begun, and since when. */
static void note_partial(mp__connection *c, bool progressed)
{
    if (c->in.size == 0 || c->blocked || c->line.waits) {
        c->partial_since_ns = 0;
    } else if (c->partial_since_ns == 0 || progressed) {
        c->partial_since_ns = c->worker->tick_ns;
        c->partial_bytes = 0;
    }
}

/* After commands ran and their replies were handed over: whether it is read on. */
static void settle(mp__connection *c)
{
    if (over_soft(c))
        c->blocked = true;
    pause_reading(c, c->blocked || c->line.waits);
    note_input(c);
    if (c->closing && !c->closed)
        mp__connection_mark_dirty(c);
}

/* Go on with what is kept in c->in. */
static void process(mp__connection *c)
{
    size_t used;

    if (c->in.size) {
        used = run_all(c, c->in.data, c->in.size);
        if (c->closed)
            return;
        mp__buf_consume(&c->in, used);
        if (c->in.size == 0)
            mp__buf_done(&c->in); /* an idle connection holds no buffer */
        note_partial(c, used > 0);
    }
    if (!write_out(c))
        return;
    settle(c);
}

static void line_came(mp__in_line *line)
{
    mp__connection *c = (mp__connection *)((char *)line - offsetof(mp__connection, line));

    c->active_ns = c->worker->tick_ns;
    mp__slots_format(c);
    if (!c->blocked && !c->line.waits) /* else it goes on when it may */
        process(c);
}

static void keep_rest(mp__connection *c, const char *data, size_t size)
{
    if (size && mp__buf_add(&c->in, data, size) != 0) {
        mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
        refuse_now(c);
    }
}

static void bytes_came(mp__connection *c, char *data, size_t size)
{
    mp__worker_loop *worker = c->worker;
    size_t used;

    mp__worker_tick(worker);
    c->active_ns = worker->tick_ns;
    c->partial_bytes += size;
    mp__monitor_count(worker->server->monitor, MP__EVENT_BYTES_IN, size);
    if (c->in.size || c->blocked || c->line.waits) {
        keep_rest(c, data, size);
        if (c->closed)
            return;
        if (c->line.waits)
            pause_reading(c, true);
        else if (!c->blocked)
            process(c);
        if (!c->closed)
            note_input(c);
        return;
    }
    used = run_all(c, data, size); /* straight from the loop's buffer */
    if (c->closed)
        return;
    keep_rest(c, data + used, size - used);
    if (c->closed)
        return;
    note_partial(c, used > 0);
    if (!write_out(c))
        return;
    settle(c);
}

static void on_read(void *context, char *data, int64_t size)
{
    mp__connection *c = context;

    if (mp__linger_is_on(&c->linger)) {
        mp__worker_tick(c->worker);
        if (!mp__linger_reads(&c->linger, size, c->worker->tick_ns))
            connection_close(c);
        return;
    }
    if (size == 0 && c->line.waits) {
        pause_reading(c, true); /* it comes again when it is read on */
        return;
    }
    if (size == 0 && (c->slots || !all_sent(c))) {
        c->refused = false;       /* it has nothing to add to that */
        mp__connection_finish(c); /* it has said all: answer it, and let it read to the end */
        return;
    }
    if (size <= 0) {
        connection_close(c);
        return;
    }
    if (!c->closing)
        bytes_came(c, data, (size_t)size);
}

static const mp__stream_events stream_events = {on_read, drained, connection_closed};

/* ---- accepting ---- */

static void refuse_client(mp__worker_loop *worker, mp__stream *stream)
{
    mp__client_refuse(worker, stream, MP_STR("-ERR max number of clients reached\r\n"));
}

static void environment_of_database(mp__connection *c)
{
    mp_str name = mp__manager_environment(c->worker->server->manager, c->database);

    memcpy(c->environment, name.data, name.size);
    c->environment_size = name.size;
    c->named_environment = false;
}

void mp__connection_accept(void *context, mp__stream *stream)
{
    mp__worker_loop *worker = context;
    mp__server *server = worker->server;
    mp__connection *c;

    if (!mp__client_enters(worker, stream, false)) {
        refuse_client(worker, stream);
        return;
    }
    c = mp__calloc(1, sizeof(*c));
    if (!c) {
        mp__client_leaves(&server->resp_clients);
        refuse_client(worker, stream);
        return;
    }
    mp__worker_tick(worker);
    c->worker = worker;
    c->stream = stream;
    c->id = atomic_fetch_add(&server->next_id, 1) + 1;
    c->version = 2;
    c->last_slot = &c->slots;
    c->last_come = &c->come;
    c->line.go_on = line_came;
    c->created_ns = c->active_ns = worker->tick_ns;
    (void)snprintf(c->identity.name, sizeof(c->identity.name), "default");
    (void)mp__stream_peer(stream, c->peer, sizeof(c->peer));
    mp__resp_parser_init(&c->parser, &worker->limits.resp);
    environment_of_database(c);
    mp__connection_show(c);
    (void)pthread_mutex_lock(&worker->list_lock);
    c->next = worker->connections;
    if (c->next)
        c->next->previous = c;
    worker->connections = c;
    (void)pthread_mutex_unlock(&worker->list_lock);
    mp__monitor_count(server->monitor, MP__EVENT_CONNECTIONS, 1);
    mp__stream_start(stream, &stream_events, c);
}

/* ---- time limits ---- */

static const char *too_slow(mp__connection *c, uint64_t now)
{
    const mp__server_limits *l = &c->worker->limits;
    size_t queued = mp__stream_queued(c->stream);
    uint64_t ns;

    if (mp__linger_is_on(&c->linger))
        return mp__linger_is_over(&c->linger, now, l->partial_ns) ? "it stayed behind a refusal"
                                                                  : NULL;
    if (mp__client_takes_nothing(c->worker, c->stream, now, &c->taking))
        return "it took none of its replies for resp.stalled_write_timeout";
    if (c->partial_since_ns && now > c->partial_since_ns && queued == 0) {
        bool is_dear = c->gathered && mp__worker_gathers_much(c->worker);
        uint64_t floor = is_dear && l->floor_bps < DEAR_FLOOR ? DEAR_FLOOR : l->floor_bps;

        ns = now - c->partial_since_ns;
        if (ns > (uint64_t)FLOOR_AFTER_S * SECOND_NS && c->partial_bytes < floor * (ns / SECOND_NS))
            return "slower than resp.floor_bytes_per_second";
        if (ns > l->partial_ns && l->floor_bps == 0)
            return "a command took longer than resp.partial_timeout";
    }
    if (l->idle_ns && !c->slots && !c->line.waits && !c->subscriptions.count &&
        now > c->active_ns && now - c->active_ns > l->idle_ns)
        return "idle for resp.idle_timeout";
    return NULL;
}

void mp__connections_scan(mp__worker_loop *worker, uint64_t now_ns)
{
    mp__connection *next;

    for (mp__connection *c = worker->connections; c; c = next) {
        const char *why = too_slow(c, now_ns);

        next = c->next;
        c->parser.limits = worker->limits.resp;
        if (why)
            cut(c, why);
    }
    mp__spare_scan(&worker->spare);
    mp__connections_show(worker);
}

void mp__connections_drain(mp__worker_loop *worker)
{
    mp__connection *next;

    for (mp__connection *c = worker->connections; c; c = next) {
        next = c->next;
        if (c->line.waits)
            continue; /* what it has sent is under way: it is answered first */
        if (!c->slots && all_sent(c))
            connection_close(c);
        else
            c->closing = true;
    }
}

void mp__connections_close(mp__worker_loop *worker)
{
    while (worker->connections)
        connection_close(worker->connections);
}
