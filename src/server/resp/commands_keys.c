/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on keys. */
#include <errno.h>

#include "core/bytes.h"
#include "server/resp/commands.h"

enum { MGET_NOW_BYTES = 256 * 1024 }; /* of values, about; more of them are answered as reads */

static mp_str value_of(const mp__read *read)
{
    return mp_blob_str(&read->entry->blob.pub);
}

/* The first read that could not be answered, NULL when all were (present or absent). */
static const mp__read *worst(const mp__slot *slot)
{
    for (uint32_t i = 0; i < slot->count; i++)
        if (slot->reads[i].status != 0 && slot->reads[i].status != MP_EABSENT)
            return &slot->reads[i];
    return NULL;
}

static bool answered_error(mp__slot *slot, mp__buf *out)
{
    const mp__read *read = worst(slot);

    if (read)
        mp__reply_read_error(slot->connection, out, read);
    return read != NULL;
}

/* ---- reads ---- */

static void format_get(mp__slot *slot, mp__buf *out)
{
    if (answered_error(slot, out))
        return;
    if (slot->reads[0].status == MP_EABSENT)
        mp__resp_null(out, slot->version);
    else
        mp__resp_bulk(out, value_of(&slot->reads[0]));
}

/* Begin reads of those who want the values themselves. */
static void start_uses(mp__slot *slot)
{
    for (uint32_t i = 0; i < slot->count; i++)
        slot->reads[i].is_use = true;
    mp__slot_reads_start(slot);
}

void mp__cmd_get(MP__COMMAND_ARGS)
{
    mp__slot *slot = mp__slot_reads(c, arguments + 1, count - 1, format_get);

    if (slot)
        start_uses(slot);
}

/* MGET has no place for an error of one key: any unknown one fails the whole. */
static void format_mget(mp__slot *slot, mp__buf *out)
{
    if (answered_error(slot, out))
        return;
    mp__resp_array(out, slot->count);
    for (uint32_t i = 0; i < slot->count; i++)
        if (slot->reads[i].status == MP_EABSENT)
            mp__resp_null(out, slot->version);
        else
            mp__resp_bulk(out, value_of(&slot->reads[i]));
}

/* What was read together is worth preloading together: a sample of it for the manager. */
static void tap_keys(mp__connection *c, const mp_str *keys, uint32_t count)
{
    mp__worker_loop *worker = c->worker;
    char address[MP__ADDRESS_MAX];

    for (uint32_t i = 0; i < count && mp__tap_wants(&worker->tap, c->id, worker->tick_ns); i++) {
        int size = mp__address_from_name(mp__connection_environment(c), keys[i], address, NULL);

        if (size > 0)
            mp__tap_read(worker->server->manager, &worker->tap, c->id, worker->tick_ns,
                         mp_str_new(address, (size_t)size));
    }
}

/* Hash as many of @keys as a batch takes; up to the first that is no good name. */
static uint32_t fill_batch(mp__connection *c, const mp_str *keys, uint32_t count)
{
    mp__get_batch *batch = &c->worker->batch; /* has run before this command */
    uint32_t n = 0;

    while (n < count && n < MP__GET_BATCH) {
        int size = mp__address_from_name(mp__connection_environment(c), keys[n],
                                         batch->addresses[n], NULL);

        if (size <= 0)
            break;
        (void)mp__batch_addressed(c->worker, n++, (size_t)size);
    }
    return n;
}

/* Answer the first of @keys, up to one that memory cannot answer now: how many were. */
static uint32_t answer_batch(mp__connection *c, const mp_str *keys, uint32_t count, mp__buf *out)
{
    mp__get_batch *batch = &c->worker->batch;
    mp__manager *manager = c->worker->server->manager;
    uint32_t filled = fill_batch(c, keys, count), answered = 0;

    if (mp_read_begin() != 0)
        return 0;
    mp__cache_prefetch_many(mp__manager_cache(manager), batch->hashes, filled);
    for (; answered < filled; answered++) {
        mp_str address = mp_str_new(batch->addresses[answered], batch->sizes[answered]);
        const mp__entry *entry =
            mp__read_now(manager, address, batch->hashes[answered], c->level, 0);

        if (!entry)
            break;
        if (entry->kind == MP__RECORD_VALUE)
            mp__resp_bulk(out, mp_blob_str(&entry->blob.pub));
        else
            mp__resp_null(out, c->version);
    }
    mp_read_end();
    return answered;
}

/* Where memory answers all keys now none needs a read of its own, which costs three times as much.
 * False: nothing was answered. */
static bool mget_now(mp__connection *c, const mp_str *keys, uint32_t count)
{
    mp__buf *out = mp__connection_out(c);
    size_t before = out->size;
    uint32_t answered = 0, some = MP__GET_BATCH;

    if (c->slots)
        return false;
    mp__resp_array(out, count);
    while (answered < count && some == MP__GET_BATCH && out->size - before <= MGET_NOW_BYTES) {
        some = answer_batch(c, keys + answered, count - answered, out);
        answered += some;
    }
    if (answered == count) {
        mp__monitor_hits(c->worker->server->monitor, MP__OP_GET, MP__TIER_L1, count);
        return true;
    }
    out->size = before;
    if (answered && mp_read_begin() == 0) {
        while (answered--)
            mp__read_not_now(c->worker->server->manager);
        mp_read_end();
    }
    return false;
}

void mp__cmd_mget(MP__COMMAND_ARGS)
{
    mp__slot *slot;

    tap_keys(c, arguments + 1, count - 1);
    if (mget_now(c, arguments + 1, count - 1))
        return;
    slot = mp__slot_reads(c, arguments + 1, count - 1, format_mget);
    if (!slot)
        return;
    slot->bytes_max = c->worker->limits.output_hard;
    start_uses(slot);
}

static void format_exists(mp__slot *slot, mp__buf *out)
{
    int64_t n = 0;

    if (answered_error(slot, out))
        return;
    for (uint32_t i = 0; i < slot->count; i++)
        n += slot->reads[i].status == 0;
    mp__resp_integer(out, n);
}

void mp__cmd_exists(MP__COMMAND_ARGS)
{
    mp__slot *slot = mp__slot_reads(c, arguments + 1, count - 1, format_exists);

    if (!slot)
        return;
    if (mp__word_is(arguments[0], "TOUCH"))
        start_uses(slot);
    else
        mp__slot_reads_start(slot);
}

enum ttl_form { TTL_SECONDS, TTL_MS, TTL_AT_SECONDS, TTL_AT_MS };

static void format_ttl(mp__slot *slot, mp__buf *out)
{
    const mp__read *read = &slot->reads[0];
    int64_t at, left;

    if (answered_error(slot, out))
        return;
    if (read->status == MP_EABSENT || read->entry->expires_ms == 0) {
        mp__resp_integer(out, read->status == MP_EABSENT ? -2 : -1);
        return;
    }
    at = read->entry->expires_ms;
    left = at - mp__env_wall_ms(slot->worker->server->env);
    left = left > 0 ? left : 0;
    mp__resp_integer(out, slot->number == TTL_SECONDS      ? (left + 500) / 1000
                          : slot->number == TTL_MS         ? left
                          : slot->number == TTL_AT_SECONDS ? at / 1000
                                                           : at);
}

void mp__cmd_ttl(MP__COMMAND_ARGS)
{
    mp__slot *slot = mp__slot_reads(c, arguments + 1, count - 1, format_ttl);
    bool ms = (arguments[0].data[0] | 0x20) == 'p';
    bool at = arguments[0].size > 4;

    if (!slot)
        return;
    slot->number = at ? (ms ? TTL_AT_MS : TTL_AT_SECONDS) : (ms ? TTL_MS : TTL_SECONDS);
    mp__slot_reads_start(slot);
}

static void format_type(mp__slot *slot, mp__buf *out)
{
    if (!answered_error(slot, out))
        mp__resp_simple(out, slot->reads[0].status == 0 ? "string" : "none");
}

void mp__cmd_type(MP__COMMAND_ARGS)
{
    mp__slot *slot = mp__slot_reads(c, arguments + 1, count - 1, format_type);

    if (slot)
        mp__slot_reads_start(slot);
}

static void format_strlen(mp__slot *slot, mp__buf *out)
{
    if (!answered_error(slot, out))
        mp__resp_integer(out,
                         slot->reads[0].status == 0 ? (int64_t)value_of(&slot->reads[0]).size : 0);
}

void mp__cmd_strlen(MP__COMMAND_ARGS)
{
    mp__slot *slot = mp__slot_reads(c, arguments + 1, count - 1, format_strlen);

    if (slot)
        mp__slot_reads_start(slot);
}

/* ---- writes ---- */

/* An error of the whole write; conditions that did not hold are none. */
static bool write_failed(mp__slot *slot, mp__buf *out)
{
    int status = slot->write.status;

    if (status == 0 || status == MP_EABSENT || status == MP_EEXISTS || status == MP_ECONFLICT)
        return false;
    mp__reply_status(slot->connection, out, status, slot->write.text);
    return true;
}

enum { SET_GET = 1, SET_NX = 2 };

static void format_set(mp__slot *slot, mp__buf *out)
{
    if (write_failed(slot, out))
        return;
    if (slot->number & SET_GET) {
        if (slot->write.old_value)
            mp__resp_bulk(out, mp_blob_str(slot->write.old_value));
        else
            mp__resp_null(out, slot->version);
    } else if (slot->write.status) {
        mp__resp_null(out, slot->version);
    } else {
        mp__resp_simple(out, "OK");
    }
}

bool mp__expiry_of(const mp__connection *c, mp_str text, bool seconds, bool absolute,
                   int64_t *ret_ms)
{
    int64_t value;

    if (!mp__integer_parse(text, &value))
        return false;
    if (seconds && __builtin_mul_overflow(value, 1000, &value))
        return false;
    if (!absolute && __builtin_add_overflow(value, mp__env_wall_ms(c->worker->server->env), &value))
        return false;
    *ret_ms = value;
    return true;
}

void mp__reply_bad_expiry(mp__connection *c, const char *command)
{
    mp__resp_error(mp__connection_out(c), "ERR", "invalid expire time in '%s' command", command);
}

typedef struct set_options {
    unsigned flags;
    bool get, timed;
    int64_t expires_ms;
} set_options;

static int set_expiry(mp__connection *c, const mp_str *arguments, set_options *o)
{
    mp_str unit = arguments[0];
    bool seconds = (unit.data[0] | 0x20) == 'e', absolute = unit.size == 4;
    int64_t number;

    if (o->timed || (o->flags & MP__KEEP_EXPIRY)) {
        mp__reply_syntax(c);
        return MP_EINVAL;
    }
    o->timed = true;
    if (!mp__integer_parse(arguments[1], &number)) {
        mp__reply_not_integer(c);
        return MP_EINVAL;
    }
    if (number <= 0 || !mp__expiry_of(c, arguments[1], seconds, absolute, &o->expires_ms)) {
        mp__reply_bad_expiry(c, "set");
        return MP_EINVAL;
    }
    return 0;
}

static int set_parse(mp__connection *c, const mp_str *arguments, uint32_t count, set_options *o)
{
    for (uint32_t i = 3; i < count; i++) {
        mp_str word = arguments[i];
        bool timed = mp__word_is(word, "EX") || mp__word_is(word, "PX") ||
                     mp__word_is(word, "EXAT") || mp__word_is(word, "PXAT");

        if (mp__word_is(word, "NX") && !(o->flags & MP__IF_PRESENT)) {
            o->flags |= MP__IF_ABSENT;
        } else if (mp__word_is(word, "XX") && !(o->flags & MP__IF_ABSENT)) {
            o->flags |= MP__IF_PRESENT;
        } else if (mp__word_is(word, "GET")) {
            o->flags |= MP__WANT_OLD;
            o->get = true;
        } else if (mp__word_is(word, "KEEPTTL") && !o->timed) {
            o->flags |= MP__KEEP_EXPIRY;
        } else if (timed && i + 1 < count) {
            if (set_expiry(c, arguments + i, o) != 0)
                return MP_EINVAL;
            i++;
        } else {
            mp__reply_syntax(c);
            return MP_EINVAL;
        }
    }
    return 0;
}

static void start_set(mp__connection *c, mp_str key, mp_str value, const set_options *o,
                      void (*format)(mp__slot *slot, mp__buf *out))
{
    mp__change *changes;
    char *more;
    mp__slot *slot = mp__slot_changes(c, &key, 1, 1, value.size, format, &changes, &more);

    if (!slot)
        return;
    changes[0].op = MP__CHANGE_PUT;
    changes[0].flags = o->flags;
    changes[0].expires_ms = o->expires_ms;
    changes[0].value = mp__bytes_lay(&more, value);
    slot->number = o->get ? SET_GET : 0;
    mp__slot_write_start(slot, changes, 1);
}

void mp__cmd_set(MP__COMMAND_ARGS)
{
    set_options o = {0};

    if (set_parse(c, arguments, count, &o) == 0)
        start_set(c, arguments[1], arguments[2], &o, format_set);
}

void mp__cmd_setex(MP__COMMAND_ARGS)
{
    bool seconds = (arguments[0].data[0] | 0x20) == 's';
    set_options o = {0};
    int64_t number;

    (void)count;
    if (!mp__integer_parse(arguments[2], &number)) {
        mp__reply_not_integer(c);
        return;
    }
    if (number <= 0 || !mp__expiry_of(c, arguments[2], seconds, false, &o.expires_ms)) {
        mp__reply_bad_expiry(c, seconds ? "setex" : "psetex");
        return;
    }
    start_set(c, arguments[1], arguments[3], &o, format_set);
}

/* 1 when the write happened, 0 when its condition did not hold. */
static void format_done(mp__slot *slot, mp__buf *out)
{
    if (!write_failed(slot, out))
        mp__resp_integer(out, slot->write.status == 0);
}

void mp__cmd_setnx(MP__COMMAND_ARGS)
{
    set_options o = {.flags = MP__IF_ABSENT};

    (void)count;
    start_set(c, arguments[1], arguments[2], &o, format_done);
}

void mp__cmd_mset(MP__COMMAND_ARGS)
{
    mp__change *changes;
    mp__slot *slot;
    size_t bytes = 0;
    char *more;
    uint32_t n = (count - 1) / 2;

    if (count % 2 == 0) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "wrong number of arguments for 'mset' command");
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        bytes += arguments[2 + 2 * i].size;
    slot = mp__slot_changes(c, arguments + 1, 2, n, bytes, format_set, &changes, &more);
    if (!slot)
        return;
    for (uint32_t i = 0; i < n; i++) {
        changes[i].op = MP__CHANGE_PUT;
        changes[i].value = mp__bytes_lay(&more, arguments[2 + 2 * i]);
    }
    mp__slot_write_start(slot, changes, n);
}

static void format_del(mp__slot *slot, mp__buf *out)
{
    const mp__change *changes = slot->write.changes;
    int64_t n = 0;

    if (write_failed(slot, out))
        return;
    for (size_t i = 0; i < slot->write.count; i++)
        n += changes[i].changed;
    mp__resp_integer(out, n);
}

void mp__cmd_del(MP__COMMAND_ARGS)
{
    mp__change *changes;
    char *more;
    mp__slot *slot =
        mp__slot_changes(c, arguments + 1, 1, count - 1, 0, format_del, &changes, &more);

    if (!slot)
        return;
    for (uint32_t i = 0; i < count - 1; i++)
        changes[i].op = MP__CHANGE_DELETE;
    mp__slot_write_start(slot, changes, count - 1);
}

static void format_old(mp__slot *slot, mp__buf *out)
{
    if (write_failed(slot, out))
        return;
    if (slot->write.old_value)
        mp__resp_bulk(out, mp_blob_str(slot->write.old_value));
    else
        mp__resp_null(out, slot->version);
}

void mp__cmd_getdel(MP__COMMAND_ARGS)
{
    mp__change *changes;
    char *more;
    mp__slot *slot =
        mp__slot_changes(c, arguments + 1, 1, count - 1, 0, format_old, &changes, &more);

    if (!slot)
        return;
    changes[0].op = MP__CHANGE_DELETE;
    changes[0].flags = MP__WANT_OLD;
    mp__slot_write_start(slot, changes, 1);
}

/* NX, XX, GT and LT. False: they were refused. */
static bool expiry_flags(mp__connection *c, const mp_str *words, uint32_t count,
                         unsigned *ret_flags)
{
    unsigned flags = 0;

    for (uint32_t i = 0; i < count; i++) {
        unsigned flag = mp__word_is(words[i], "NX")   ? MP__IF_NO_EXPIRY
                        : mp__word_is(words[i], "XX") ? MP__IF_EXPIRY
                        : mp__word_is(words[i], "GT") ? MP__IF_LATER
                        : mp__word_is(words[i], "LT") ? MP__IF_EARLIER
                                                      : 0;

        if (!flag) {
            mp__resp_error(mp__connection_out(c), "ERR", "Unsupported option %.*s",
                           (int)(words[i].size < 64 ? words[i].size : 64), words[i].data);
            return false;
        }
        flags |= flag;
    }
    if (flags & MP__IF_NO_EXPIRY && flags != MP__IF_NO_EXPIRY) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (flags & MP__IF_LATER && flags & MP__IF_EARLIER) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "GT and LT options at the same time are not compatible");
        return false;
    }
    *ret_flags = flags;
    return true;
}

/* The very time that was there already makes no revision, and was set all the same, unless a
 * condition asked for another. */
static void format_expire(mp__slot *slot, mp__buf *out)
{
    const mp__change *change = &slot->write.changes[0];
    bool stood = change->after.kind == MP__RECORD_VALUE &&
                 change->after.expires_ms == change->expires_ms &&
                 !(change->flags & (MP__IF_NO_EXPIRY | MP__IF_LATER | MP__IF_EARLIER));

    if (!write_failed(slot, out))
        mp__resp_integer(out, change->changed || stood);
}

/* EXPIRE of a time that has passed deletes, as in Redis. */
void mp__cmd_expire(MP__COMMAND_ARGS)
{
    bool ms = (arguments[0].data[0] | 0x20) == 'p';
    bool at = (arguments[0].data[arguments[0].size - 1] | 0x20) == 't';
    mp__change *changes;
    mp__slot *slot;
    int64_t number, expires_ms = 0;
    unsigned flags;
    char *more;

    if (!mp__integer_parse(arguments[2], &number)) {
        mp__reply_not_integer(c);
        return;
    }
    if (!expiry_flags(c, arguments + 3, count - 3, &flags))
        return;
    if (!mp__expiry_of(c, arguments[2], !ms, at, &expires_ms)) {
        mp__reply_bad_expiry(c, c->last_command);
        return;
    }
    slot = mp__slot_changes(c, arguments + 1, 1, 1, 0, format_expire, &changes, &more);
    if (!slot)
        return;
    changes[0].op = MP__CHANGE_EXPIRE;
    changes[0].flags = flags;
    changes[0].expires_ms = expires_ms;
    /* with a condition the origin judges, and lets what has expired go at once */
    if (!flags && expires_ms <= mp__env_wall_ms(c->worker->server->env))
        changes[0].op = MP__CHANGE_DELETE;
    mp__slot_write_start(slot, changes, 1);
}

void mp__cmd_persist(MP__COMMAND_ARGS)
{
    mp__change *changes;
    char *more;
    mp__slot *slot =
        mp__slot_changes(c, arguments + 1, 1, count - 1, 0, format_del, &changes, &more);

    if (!slot)
        return;
    changes[0].op = MP__CHANGE_EXPIRE;
    mp__slot_write_start(slot, changes, 1);
}
