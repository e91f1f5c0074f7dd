/* SPDX-License-Identifier: Apache-2.0 */
/* MP.STAGE: changes that are too many for one command, gathered on the connection and made at once,
 * all or none: what an import and an edit of many keys need. Nobody sees them before COMMIT. */
#include "core/alloc.h"
#include "server/resp/commands.h"

enum { STAGED_CHANGES_MAX = 250000 };
#define STAGED_BYTES_MAX ((size_t)256 << 20) /* of all connections together */

typedef struct staged {
    enum mp__change_op op;
    unsigned flags;
    uint64_t if_revision;
    size_t address_size, media_type_size, value_size; /* one after the other in `bytes` */
} staged;

struct mp__stage {
    staged *items;
    size_t count, capacity;
    mp__buf bytes;
    size_t counted; /* of the server's staged_bytes */
};

void mp__stage_clear(mp__connection *c)
{
    struct mp__stage *stage = c->stage;

    if (!stage)
        return;
    atomic_fetch_sub(&c->worker->server->staged_bytes, stage->counted);
    (void)mp__free(stage->items);
    mp__buf_done(&stage->bytes);
    c->stage = mp__free(stage);
}

/* Room for one more; an error is answered. */
static bool make_room(mp__connection *c, size_t bytes)
{
    struct mp__stage *stage = c->stage;
    size_t more = bytes + sizeof(staged);
    _Atomic size_t *total = &c->worker->server->staged_bytes;

    if (stage->count >= STAGED_CHANGES_MAX) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "at most %d changes can be made at once; make them in parts",
                       STAGED_CHANGES_MAX);
        return false;
    }
    if (atomic_fetch_add(total, more) + more > STAGED_BYTES_MAX) {
        atomic_fetch_sub(total, more);
        mp__resp_error(mp__connection_out(c), "OOM",
                       "more than %zu MiB are staged by all connections; COMMIT or DISCARD first",
                       STAGED_BYTES_MAX >> 20);
        return false;
    }
    stage->counted += more;
    if (stage->count == stage->capacity) {
        size_t capacity = stage->capacity ? stage->capacity * 2 : 64;
        staged *items = mp__realloc_array(stage->items, capacity, sizeof(*items));

        if (!items) {
            mp__reply_status(c, mp__connection_out(c), MP_ENOMEM, NULL);
            return false;
        }
        stage->items = items;
        stage->capacity = capacity;
    }
    return true;
}

static bool stage_one(mp__connection *c, staged s, mp_str key, mp_str media_type, mp_str value)
{
    struct mp__stage *stage = c->stage;
    char address[MP__ADDRESS_MAX];
    int size = mp__key_address(c, key, address);

    if (size <= 0 || !mp__media_type_is_good(c, media_type))
        return false;
    if (!make_room(c, (size_t)size + media_type.size + value.size))
        return false;
    s.address_size = (size_t)size;
    s.media_type_size = media_type.size;
    s.value_size = value.size;
    (void)mp__buf_add(&stage->bytes, address, (size_t)size);
    (void)mp__buf_add_str(&stage->bytes, media_type);
    if (mp__buf_add_str(&stage->bytes, value) != 0) {
        mp__reply_status(c, mp__connection_out(c), MP_ENOMEM, NULL);
        return false;
    }
    stage->items[stage->count++] = s;
    return true;
}

/* ---- the words ---- */

/* PUT key media-type value, in threes. */
static bool stage_put(mp__connection *c, const mp_str *words, uint32_t count)
{
    staged s = {.op = MP__CHANGE_PUT, .flags = MP__IF_CHANGED};

    for (uint32_t i = 0; i < count; i += 3)
        if (!stage_one(c, s, words[i], words[i + 1], words[i + 2]))
            return false;
    return true;
}

static bool take_revision(mp__connection *c, mp_str word, staged *s)
{
    int64_t revision;

    if (!mp__integer_parse(word, &revision) || revision < 0) {
        mp__reply_not_integer(c);
        return false;
    }
    s->flags = revision ? MP__IF_REVISION : MP__IF_ABSENT;
    s->if_revision = (uint64_t)revision;
    return true;
}

/* CAS key revision media-type value, in fours. */
static bool stage_cas(mp__connection *c, const mp_str *words, uint32_t count)
{
    staged s = {.op = MP__CHANGE_PUT};

    for (uint32_t i = 0; i < count; i += 4)
        if (!take_revision(c, words[i + 1], &s) ||
            !stage_one(c, s, words[i], words[i + 2], words[i + 3]))
            return false;
    return true;
}

/* EDIT, the same: part of what is there is another, and when it ends stays. */
static bool stage_edit(mp__connection *c, const mp_str *words, uint32_t count)
{
    size_t first = c->stage->count;

    if (!stage_cas(c, words, count))
        return false;
    for (size_t i = first; i < c->stage->count; i++)
        c->stage->items[i].flags |= MP__KEEP_EXPIRY;
    return true;
}

/* DEL key revision, in pairs. */
static bool stage_del(mp__connection *c, const mp_str *words, uint32_t count)
{
    staged s = {.op = MP__CHANGE_DELETE};

    for (uint32_t i = 0; i < count; i += 2)
        if (!take_revision(c, words[i + 1], &s) ||
            !stage_one(c, s, words[i], mp_str_new("", 0), mp_str_new("", 0)))
            return false;
    return true;
}

static const struct {
    const char *word;
    uint32_t step;
    bool (*stage)(mp__connection *c, const mp_str *words, uint32_t count);
} words_of_stage[] = {
    {"PUT", 3, stage_put}, {"CAS", 4, stage_cas}, {"EDIT", 4, stage_edit}, {"DEL", 2, stage_del}};

/* ---- COMMIT ---- */

/* Which change it failed for, as the client calls it. */
static mp_str failed_name(const mp__slot *slot)
{
    for (size_t i = 0; i < slot->write.count; i++)
        if (slot->write.changes[i].status == slot->write.status)
            return mp__address_name(slot->write.changes[i].address);
    return mp_str_new("", 0);
}

static void format_commit(mp__slot *slot, mp__buf *out)
{
    int status = slot->write.status;
    mp_str name = failed_name(slot);
    int64_t changed = 0;

    if (status == MP_ECONFLICT || status == MP_EEXISTS) {
        mp__resp_error(out, "CONFLICT", "'%.*s' has another revision; nothing was changed",
                       (int)name.size, name.data);
    } else if (status) {
        mp__reply_status(slot->connection, out, status, slot->write.text);
    } else {
        for (size_t i = 0; i < slot->write.count; i++)
            changed += slot->write.changes[i].changed;
        mp__resp_array(out, 2);
        mp__resp_integer(out, changed);
        mp__resp_integer(out, (int64_t)slot->write.revision);
    }
}

/* With WHY what breaks schemas is no error but told one by one, for who knows where it comes from.
 */
static void format_commit_why(mp__slot *slot, mp__buf *out)
{
    const mp__write_request *request = &slot->write;
    size_t told = request->broken_count < MP__BROKEN_MAX ? request->broken_count : MP__BROKEN_MAX;

    if (request->status != MP_EINVALID || told == 0) {
        format_commit(slot, out);
        return;
    }
    mp__resp_array(out, 1 + told);
    mp__resp_integer(out, (int64_t)request->broken_count);
    for (size_t i = 0; i < told; i++) {
        const mp__broken *broken = &request->broken[i];

        mp__resp_array(out, 5);
        mp__resp_bulk(out, mp_str_of(broken->scope));
        mp__resp_bulk(out, mp_str_of(broken->seen));
        mp__resp_bulk(out, mp_str_of(broken->where));
        mp__resp_bulk(out, mp_str_of(broken->instance));
        mp__resp_bulk(out, mp_str_of(broken->text));
    }
}

/* @dry_run: ask what a write asks first, and change nothing. */
static void commit(mp__connection *c, bool dry_run, bool why)
{
    struct mp__stage *stage = c->stage;
    size_t count = stage ? stage->count : 0, bytes = stage ? stage->bytes.size : 0;
    mp__change *changes;
    mp__slot *slot;
    char *at;

    if (count == 0) {
        mp__resp_error(mp__connection_out(c), "ERR", "nothing is staged");
        return;
    }
    slot = mp__slot_new(c, MP__SLOT_WRITE, 0, count * sizeof(*changes) + bytes,
                        why ? format_commit_why : format_commit);
    if (!slot)
        return;
    changes = (mp__change *)slot->memory;
    at = slot->memory + count * sizeof(*changes);
    memcpy(at, stage->bytes.data, bytes);
    for (size_t i = 0; i < count; i++) {
        const staged *s = &stage->items[i];

        changes[i] = (mp__change){
            .op = s->op,
            .flags = s->flags,
            .if_revision = s->if_revision,
            .address = mp_str_new(at, s->address_size),
            .media_type = mp_str_new(at + s->address_size, s->media_type_size),
            .value = mp_str_new(at + s->address_size + s->media_type_size, s->value_size),
        };
        at += s->address_size + s->media_type_size + s->value_size;
    }
    mp__stage_clear(c);
    slot->write.dry_run = dry_run;
    slot->write.wants_revision = true;
    mp__slot_write_start(slot, changes, count);
}

void mp__cmd_mp_stage(MP__COMMAND_ARGS)
{
    bool why = count == 3 && mp__word_is(arguments[2], "WHY");

    if ((count == 2 || why) &&
        (mp__word_is(arguments[1], "COMMIT") || mp__word_is(arguments[1], "CHECK"))) {
        commit(c, mp__word_is(arguments[1], "CHECK"), why);
        return;
    }
    if (count == 2 && mp__word_is(arguments[1], "DISCARD")) {
        mp__stage_clear(c);
        mp__resp_simple(mp__connection_out(c), "OK");
        return;
    }
    if (!c->stage)
        c->stage = mp__calloc(1, sizeof(*c->stage));
    if (!c->stage) {
        mp__reply_status(c, mp__connection_out(c), MP_ENOMEM, NULL);
        return;
    }
    for (size_t i = 0; i < sizeof(words_of_stage) / sizeof(words_of_stage[0]); i++) {
        if (!mp__word_is(arguments[1], words_of_stage[i].word))
            continue;
        if (count == 2 || (count - 2) % words_of_stage[i].step)
            break;
        /* One that fails takes the others with it: all or none. */
        if (words_of_stage[i].stage(c, arguments + 2, count - 2))
            mp__resp_integer(mp__connection_out(c), (int64_t)c->stage->count);
        else
            mp__stage_clear(c);
        return;
    }
    mp__reply_syntax(c);
}
