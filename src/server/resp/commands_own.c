/* SPDX-License-Identifier: Apache-2.0 */
/* What RESP has no words for: level, age, revision, rollback, why. */
#include <errno.h>

#include "core/bytes.h"
#include "server/resp/commands.h"

/* ---- MP.GET ---- */

static void pair_text(mp__buf *out, const char *name, mp_str value)
{
    mp__resp_bulk(out, mp_str_of(name));
    mp__resp_bulk(out, value);
}

static void pair_integer(mp__buf *out, const char *name, int64_t value)
{
    mp__resp_bulk(out, mp_str_of(name));
    mp__resp_integer(out, value);
}

static void pair_bool(mp__buf *out, const char *name, bool value, int version)
{
    mp__resp_bulk(out, mp_str_of(name));
    mp__resp_bool(out, value, version);
}

static void meta(const mp__slot *slot, const mp__read *read, mp__buf *out)
{
    mp__record r = {0};
    int v = slot->version;

    if (read->entry)
        mp__entry_record(read->entry, &r);
    mp__resp_map(out, 14, v);
    mp__resp_bulk(out, MP_STR("value"));
    if (read->status == 0)
        mp__resp_bulk(out, r.value);
    else
        mp__resp_null(out, v);
    pair_text(out, "state",
              read->status == 0            ? MP_STR("present")
              : read->status == MP_EABSENT ? MP_STR("absent")
                                           : MP_STR("unknown"));
    pair_integer(out, "revision", (int64_t)r.revision);
    pair_integer(out, "version", (int64_t)r.version);
    pair_text(out, "media_type", r.media_type);
    pair_integer(out, "age_ms", read->age_ms);
    pair_bool(out, "stale", read->stale, v);
    pair_text(out, "reason", mp_str_of(mp__reason_name(read->reason)));
    pair_text(out, "tier", mp_str_of(mp__tier_name(read->tier)));
    pair_text(out, "level", mp_str_of(mp__level_name(read->level)));
    pair_integer(out, "created_ms", r.created_ms);
    pair_integer(out, "modified_ms", r.modified_ms);
    pair_integer(out, "expires_ms", r.expires_ms);
    pair_text(out, "layer", read->layer);
}

static void format_mp_get(mp__slot *slot, mp__buf *out)
{
    const mp__read *read = &slot->reads[0];

    if (slot->meta &&
        (read->status == 0 || read->status == MP_EABSENT || read->status == MP_EUNKNOWN))
        meta(slot, read, out);
    else if (read->status == 0)
        mp__resp_bulk(out, mp_blob_str(&read->entry->blob.pub));
    else if (read->status == MP_EABSENT)
        mp__resp_null(out, slot->version);
    else
        mp__reply_read_error(slot->connection, out, read);
}

static void format_syntax(mp__slot *slot, mp__buf *out)
{
    (void)slot;
    mp__resp_error(out, "ERR",
                   "syntax error: MP.GET key [LEVEL strong|eventual|weak] [MAXAGE ms] [MINREV n] "
                   "[STRICT] [STALEOK] [META] [OWN], numbers from 0");
}

static void format_contradiction(mp__slot *slot, mp__buf *out)
{
    (void)slot;
    mp__resp_error(out, "ERR",
                   "MINREV contradicts level weak, which takes whatever is kept; leave it out, or "
                   "read with LEVEL eventual");
}

/* The options behind the key; false: the slot's format says what is wrong. */
static bool get_options(const mp_str *arguments, uint32_t count, mp__slot *slot)
{
    mp__read *read = &slot->reads[0];

    slot->format = format_syntax; /* until all is understood */
    read->is_use = true;
    for (uint32_t i = 2; i < count; i++) {
        bool more = i + 1 < count;
        int64_t number;

        if (mp__word_is(arguments[i], "META"))
            slot->meta = true;
        else if (mp__word_is(arguments[i], "STRICT"))
            read->strict = true;
        else if (mp__word_is(arguments[i], "STALEOK"))
            read->stale_if_error = true;
        else if (mp__word_is(arguments[i], "OWN"))
            read->own_layer = true;
        else if (more && mp__word_is(arguments[i], "LEVEL") &&
                 mp__level_parse(arguments[i + 1], &read->level) == 0)
            i++;
        else if (more && mp__word_is(arguments[i], "MAXAGE") &&
                 mp__integer_parse(arguments[i + 1], &number) && number >= 0) {
            read->age_max_ms = number;
            i++;
        } else if (more && mp__word_is(arguments[i], "MINREV") &&
                   mp__integer_parse(arguments[i + 1], &number) && number >= 0) {
            read->revision_min = (uint64_t)number;
            i++;
        } else {
            return false;
        }
    }
    if (read->level == MP__LEVEL_WEAK && read->revision_min) {
        slot->format = format_contradiction;
        return false;
    }
    slot->format = format_mp_get;
    return true;
}

void mp__cmd_mp_get(MP__COMMAND_ARGS)
{
    mp__slot *slot = mp__slot_reads(c, arguments + 1, 1, format_mp_get);

    if (!slot)
        return;
    if (!get_options(arguments, count, slot)) {
        slot->count = 0; /* no read has begun */
        mp__slot_ready(slot);
        return;
    }
    mp__slot_reads_start(slot);
}

/* ---- MP.PUT, MP.CAS, MP.ROLLBACK ---- */

static bool failed(mp__slot *slot, mp__buf *out)
{
    int status = slot->write.status;

    if (status == 0)
        return false;
    if (status == MP_ECONFLICT || status == MP_EEXISTS) /* the latter: of revision 0 */
        mp__resp_error(out, "CONFLICT",
                       "the key has another revision in this layer; read it and try again");
    else if (status == MP_EABSENT)
        mp__resp_error(out, "ABSENT", "there is no such key or revision");
    else
        mp__reply_status(slot->connection, out, status, slot->write.text);
    return true;
}

static void format_revision(mp__slot *slot, mp__buf *out)
{
    if (!failed(slot, out))
        mp__resp_integer(out, (int64_t)slot->write.revision);
}

/* [changed, revision] */
static void format_put(mp__slot *slot, mp__buf *out)
{
    int64_t n = 0;

    if (failed(slot, out))
        return;
    for (size_t i = 0; i < slot->write.count; i++)
        n += slot->write.changes[i].changed;
    mp__resp_array(out, 2);
    mp__resp_integer(out, n);
    mp__resp_integer(out, (int64_t)slot->write.revision);
}

bool mp__media_type_is_good(mp__connection *c, mp_str type)
{
    bool good = type.size <= MP__MEDIA_TYPE_MAX;

    for (size_t i = 0; i < type.size && good; i++)
        good = (unsigned char)type.data[i] > 0x20 && (unsigned char)type.data[i] < 0x7f;
    if (!good)
        mp__resp_error(mp__connection_out(c), "ERR",
                       "a media type has at most %u visible ASCII characters", MP__MEDIA_TYPE_MAX);
    return good;
}

void mp__cmd_mp_put(MP__COMMAND_ARGS)
{
    uint32_t n = (count - 1) / 3;
    mp__change *changes;
    mp__slot *slot;
    size_t bytes = 0;
    char *more;

    if ((count - 1) % 3) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "MP.PUT takes key, media type and value, in threes");
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!mp__media_type_is_good(c, arguments[2 + 3 * i]))
            return;
        bytes += arguments[2 + 3 * i].size + arguments[3 + 3 * i].size;
    }
    slot = mp__slot_changes(c, arguments + 1, 3, n, bytes, format_put, &changes, &more);
    if (!slot)
        return;
    for (uint32_t i = 0; i < n; i++) {
        changes[i].op = MP__CHANGE_PUT;
        changes[i].flags = MP__IF_CHANGED;
        changes[i].media_type = mp__bytes_lay(&more, arguments[2 + 3 * i]);
        changes[i].value = mp__bytes_lay(&more, arguments[3 + 3 * i]);
    }
    mp__slot_write_start(slot, changes, n);
}

/* The condition of MP.CAS; false: it is none. */
static bool take_condition(mp_str text, mp__change *change)
{
    int64_t revision;

    if (mp_str_equal(text, MP_STR("*")))
        return true;
    if (!mp__integer_parse(text, &revision) || revision < 0)
        return false;
    change->flags = revision ? MP__IF_REVISION : MP__IF_ABSENT;
    change->if_revision = (uint64_t)revision;
    return true;
}

void mp__cmd_mp_cas(MP__COMMAND_ARGS)
{
    mp_str type = count > 4 ? arguments[4] : mp_str_new("", 0);
    mp__change change = {.op = MP__CHANGE_PUT}, *changes;
    mp__slot *slot;
    char *more;

    if (count > 7 || count == 6 || (count == 7 && !mp__word_is(arguments[5], "PX"))) {
        mp__reply_syntax(c);
        return;
    }
    if (!take_condition(arguments[2], &change)) {
        mp__reply_not_integer(c);
        return;
    }
    if (count == 7 && (!mp__expiry_of(c, arguments[6], false, false, &change.expires_ms) ||
                       change.expires_ms <= mp__env_wall_ms(c->worker->server->env))) {
        mp__reply_bad_expiry(c, "mp.cas");
        return;
    }
    if (!mp__media_type_is_good(c, type))
        return;
    slot = mp__slot_changes(c, arguments + 1, 1, 1, arguments[3].size + type.size, format_revision,
                            &changes, &more);
    if (!slot)
        return;
    change.address = changes[0].address;
    change.value = mp__bytes_lay(&more, arguments[3]);
    change.media_type = mp__bytes_lay(&more, type);
    changes[0] = change;
    mp__slot_write_start(slot, changes, 1);
}

void mp__cmd_mp_rollback(MP__COMMAND_ARGS)
{
    mp__change *changes;
    mp__slot *slot;
    int64_t revision;
    char *more;

    if (!mp__integer_parse(arguments[count - 1], &revision) || revision < 1) {
        mp__reply_not_integer(c);
        return;
    }
    slot = mp__slot_changes(c, arguments + 1, 1, 1, 0, format_revision, &changes, &more);
    if (!slot)
        return;
    changes[0].op = MP__CHANGE_ROLLBACK;
    changes[0].to_revision = (uint64_t)revision;
    mp__slot_write_start(slot, changes, 1);
}

/* ---- MP.LEVEL, MP.ENV ---- */

void mp__cmd_mp_level(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);
    enum mp__level level;
    bool strict = count == 3 && mp__word_is(arguments[2], "STRICT");

    if (count == 1) {
        mp__resp_array(out, 2);
        mp__resp_bulk(out, mp_str_of(mp__level_name(c->level)));
        mp__resp_bulk(out, c->strict ? MP_STR("strict") : MP_STR("lenient"));
        return;
    }
    if (count > 3 || (count == 3 && !strict)) {
        mp__reply_syntax(c);
        return;
    }
    if (mp__level_parse(arguments[1], &level) != 0) {
        mp__resp_error(out, "ERR", "a level is strong, eventual or weak");
        return;
    }
    c->level = level;
    c->strict = strict;
    mp__resp_simple(out, "OK");
}

void mp__cmd_mp_env(MP__COMMAND_ARGS)
{
    mp__buf *out = mp__connection_out(c);
    mp__diag diag = {0};

    if (count == 1) {
        mp__resp_bulk(out, mp__connection_environment(c));
        return;
    }
    if (count > 2) {
        mp__reply_syntax(c);
        return;
    }
    if (mp__scope_check(arguments[1], &diag) != 0) {
        mp__reply_address_error(out, &diag);
        return;
    }
    mp__connection_use(c, arguments[1]);
    mp__resp_simple(out, "OK");
}

/* ---- MP.REV, MP.EXPLAIN, MP.STATUS ---- */

static void format_key_revision(mp__slot *slot, mp__buf *out)
{
    const mp__read *read = &slot->reads[0];

    if (read->status == 0)
        mp__resp_integer(out, (int64_t)read->entry->revision);
    else if (read->status == MP_EABSENT)
        mp__resp_null(out, slot->version);
    else
        mp__reply_read_error(slot->connection, out, read);
}

void mp__cmd_mp_rev(MP__COMMAND_ARGS)
{
    mp__summary summary;
    mp__slot *slot;

    if (count == 1) {
        mp__manager_summary(c->worker->server->manager, &summary);
        mp__resp_integer(mp__connection_out(c), (int64_t)summary.revision);
        return;
    }
    slot = mp__slot_reads(c, arguments + 1, 1, format_key_revision);
    if (slot)
        mp__slot_reads_start(slot);
}

static void reply_json(mp__connection *c, mp__buf *json)
{
    if (json->error)
        mp__resp_error(mp__connection_out(c), "OOM", "out of memory");
    else
        mp__resp_verbatim(mp__connection_out(c), "txt", mp__buf_str(json), c->version);
    mp__buf_done(json);
}

void mp__cmd_mp_explain(MP__COMMAND_ARGS)
{
    char address[MP__ADDRESS_MAX];
    mp__buf json = MP__BUF_INIT;
    mp_str text;
    int size, rc;

    if (mp__word_is(arguments[count - 1], "cache")) { /* a key of that name is default/cache */
        (void)mp__manager_explain_cache(c->worker->server->manager, &json);
        reply_json(c, &json);
        return;
    }
    size = mp__key_address(c, arguments[count - 1], address);
    if (size <= 0)
        return;
    text = mp_str_new(address, (size_t)size);
    rc = mp__access_check(mp__manager_access(c->worker->server->manager), &c->identity,
                          MP__RIGHT_READ, text, NULL);
    if (rc) {
        mp__reply_status(c, mp__connection_out(c), rc, NULL);
        return;
    }
    (void)mp__manager_explain(c->worker->server->manager, text,
                              mp__cache_hash(c->worker->hasher, text), &json);
    reply_json(c, &json);
}

void mp__cmd_mp_status(MP__COMMAND_ARGS)
{
    mp__buf json = MP__BUF_INIT;

    (void)arguments;
    (void)count;
    (void)mp__manager_status(c->worker->server->manager, &c->identity, &json);
    reply_json(c, &json);
}

/* ---- MP.PIN, MP.UNPIN, MP.PINS ---- */

static void pin(mp__connection *c, mp_str name,
                int (*fn)(mp__manager *manager, mp_str pattern, mp__diag *diag))
{
    mp__manager *manager = c->worker->server->manager;
    char text[MP__ADDRESS_MAX];
    mp__diag diag = {0};
    mp_str pattern;
    int size = mp__key_address(c, name, text), rc;

    if (size <= 0)
        return; /* answered */
    pattern = mp_str_new(text, (size_t)size);
    rc =
        mp__access_check(mp__manager_access(manager), &c->identity, MP__RIGHT_WRITE, pattern, NULL);
    if (rc == 0)
        rc = fn(manager, pattern, &diag);
    if (rc == 0)
        mp__resp_integer(mp__connection_out(c), 1);
    else if (rc == MP_EABSENT)
        mp__resp_integer(mp__connection_out(c), 0);
    else
        mp__reply_status(c, mp__connection_out(c), rc, diag.text[0] ? diag.text : NULL);
}

void mp__cmd_mp_pin(MP__COMMAND_ARGS)
{
    (void)count;
    pin(c, arguments[1], mp__manager_pin);
}

void mp__cmd_mp_unpin(MP__COMMAND_ARGS)
{
    (void)count;
    pin(c, arguments[1], mp__manager_unpin);
}

void mp__cmd_mp_pins(MP__COMMAND_ARGS)
{
    mp__buf json = MP__BUF_INIT;

    (void)arguments;
    (void)count;
    (void)mp__manager_pins(c->worker->server->manager, &json);
    reply_json(c, &json);
}

/* ---- MP.PRELOAD ---- */

/* Addresses of @names one after the other in @text; 0 or what is wrong, answered. */
static int preload_patterns(mp__connection *c, const mp_str *names, uint32_t count,
                            char (*text)[MP__ADDRESS_MAX], mp_str *patterns)
{
    for (uint32_t i = 0; i < count; i++) {
        int size = mp__key_address(c, names[i], text[i]);

        if (size <= 0)
            return MP_EINVAL;
        patterns[i] = mp_str_new(text[i], (size_t)size);
    }
    return 0;
}

/* Begin the preload of the keys and patterns @names; 0 or what is wrong, answered. */
static int preload_named(mp__connection *c, const mp_str *names, uint32_t count, unsigned budget)
{
    char(*text)[MP__ADDRESS_MAX] = mp__calloc(count + 1, sizeof(*text));
    mp_str *patterns = mp__calloc(count + 1, sizeof(*patterns));
    mp__diag diag = {0};
    int rc = text && patterns ? 0 : MP_ENOMEM;

    if (rc) {
        mp__reply_status(c, mp__connection_out(c), rc, NULL);
    } else {
        rc = preload_patterns(c, names, count, text, patterns);
        if (rc == 0) {
            rc = mp__preload_start(c->worker->server->manager, &c->identity, patterns, count,
                                   budget, &diag);
            if (rc)
                mp__reply_status(c, mp__connection_out(c), rc, diag.text[0] ? diag.text : NULL);
        }
    }
    (void)mp__free(text);
    (void)mp__free(patterns);
    return rc;
}

/* The options in front of the patterns; how many words they are. -1: answered. */
static int preload_options(mp__connection *c, const mp_str *words, uint32_t count,
                           int64_t *ret_budget, bool *ret_habits)
{
    uint32_t i = 0;

    while (i < count) {
        if (mp__word_is(words[i], "HABITS")) {
            *ret_habits = true;
            i++;
        } else if (i + 1 < count && mp__word_is(words[i], "BUDGET")) {
            if (!mp__integer_parse(words[i + 1], ret_budget) || *ret_budget < 1 ||
                *ret_budget > 100) {
                mp__resp_error(mp__connection_out(c), "ERR",
                               "BUDGET is a part of memory, 1 to 100 (percent); a key of that name "
                               "is default/BUDGET");
                return -1;
            }
            i += 2;
        } else {
            break;
        }
    }
    return (int)i;
}

/* MP.PRELOAD [BUDGET percent] [HABITS] [pattern ...] */
void mp__cmd_mp_preload(MP__COMMAND_ARGS)
{
    mp__manager *manager = c->worker->server->manager;
    int64_t budget = 0;
    bool habits = false;
    int options = preload_options(c, arguments + 1, count - 1, &budget, &habits);
    mp__diag diag = {0};
    int rc = 0;

    if (options < 0)
        return;
    arguments += options;
    count -= (uint32_t)options;
    if (habits)
        rc = mp__preload_habits(manager, &c->identity, &diag);
    if (rc) {
        mp__reply_status(c, mp__connection_out(c), rc, diag.text);
        return;
    }
    if (count > 1 || !habits)
        rc = preload_named(c, arguments + 1, count - 1, (unsigned)budget);
    if (rc == 0)
        mp__resp_simple(mp__connection_out(c), "OK");
}
