/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that walk keys or their past. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "server/resp/commands.h"

enum { SCAN_STANDARD = 10, KEYS_MAX = 10000, LS_STANDARD = 1000, HISTORY_STANDARD = 20 };
enum { PAGE_BYTES = 1024 * 1024 }; /* of values, after which a page of MP.LS or MP.CHANGES ends */

/* Of one KEYS or SCAN: enough for each byte of each name once, some 10 ms of the loop. */
enum { GLOB_STEPS = KEYS_MAX * MP__ADDRESS_MAX };

static bool query_failed(mp__slot *slot, mp__buf *out)
{
    if (slot->query.status == 0)
        return false;
    mp__reply_status(slot->connection, out, slot->query.status, NULL);
    return true;
}

/* A query slot whose environment (and @more bytes) live in its memory. */
static mp__slot *query_slot(mp__connection *c, size_t more,
                            void (*format)(mp__slot *slot, mp__buf *out), char **ret_more)
{
    mp__slot *slot = mp__slot_new(c, MP__SLOT_READ, 0, c->environment_size + more, format);

    if (!slot)
        return NULL;
    memcpy(slot->memory, c->environment, c->environment_size);
    slot->query.environment = mp_str_new(slot->memory, c->environment_size);
    *ret_more = slot->memory + c->environment_size;
    return slot;
}

/* ---- SCAN, KEYS ---- */

/* Bulk strings of the names that fit the pattern; *ret_count: how many. MP_ELIMIT: it takes more
 * steps than there are. */
static int names_matching(const mp__slot *slot, mp__buf *names, size_t *ret_count)
{
    const mp__query *q = &slot->query;
    size_t steps = GLOB_STEPS;

    *ret_count = 0;
    for (size_t i = 0; i < q->count; i++) {
        mp_str name = mp__address_name(q->items[i].address);

        if (slot->pattern.size == 0 || mp__glob_match_within(slot->pattern, name, &steps)) {
            mp__resp_bulk(names, name);
            ++*ret_count;
        } else if (steps == 0) {
            return MP_ELIMIT;
        }
    }
    return names->error;
}

/* The names, behind the cursor where @cursor is true. */
static void reply_names(const mp__slot *slot, bool cursor, mp__buf *out)
{
    mp__buf names = MP__BUF_INIT;
    size_t count = 0;
    int rc = slot->number ? 0 /* a TYPE that no value has */ : names_matching(slot, &names, &count);
    char digits[24];

    if (rc == MP_ELIMIT) {
        mp__resp_error(out, "ERR",
                       "to match the pattern takes more than %d steps; one with fewer stars takes "
                       "fewer, and so does SCAN with a lower COUNT",
                       GLOB_STEPS);
    } else if (rc) {
        mp__resp_error(out, "OOM", "out of memory");
    } else {
        if (cursor) {
            mp__resp_array(out, 2);
            mp__resp_bulk(out, mp_str_new(digits, mp__u64_digits(slot->query.next, digits)));
        }
        mp__resp_array(out, count);
        if (names.size)
            (void)mp__buf_add(out, names.data, names.size);
    }
    mp__buf_done(&names);
}

static void format_scan(mp__slot *slot, mp__buf *out)
{
    if (!query_failed(slot, out))
        reply_names(slot, true, out);
}

typedef struct scan_options {
    mp_str pattern;
    int64_t count;
    bool other_type;
} scan_options;

static bool scan_parse(mp__connection *c, const mp_str *arguments, uint32_t count, scan_options *o)
{
    for (uint32_t i = 2; i < count; i += 2) {
        if (i + 1 >= count) {
            mp__reply_syntax(c);
            return false;
        }
        if (mp__word_is(arguments[i], "MATCH")) {
            o->pattern = arguments[i + 1];
        } else if (mp__word_is(arguments[i], "COUNT")) {
            if (!mp__integer_parse(arguments[i + 1], &o->count)) {
                mp__reply_not_integer(c);
                return false;
            }
            if (o->count < 1) {
                mp__reply_syntax(c);
                return false;
            }
        } else if (mp__word_is(arguments[i], "TYPE")) {
            o->other_type = !mp__word_is(arguments[i + 1], "STRING");
        } else {
            mp__reply_syntax(c);
            return false;
        }
    }
    return true;
}

void mp__cmd_scan(MP__COMMAND_ARGS)
{
    scan_options o = {.count = SCAN_STANDARD};
    int64_t cursor;
    mp__slot *slot;
    char *more;

    if (!mp__integer_parse(arguments[1], &cursor) || cursor < 0) {
        mp__resp_error(mp__connection_out(c), "ERR", "invalid cursor");
        return;
    }
    if (!scan_parse(c, arguments, count, &o))
        return;
    slot = query_slot(c, o.pattern.size, format_scan, &more);
    if (!slot)
        return;
    slot->pattern = mp__bytes_lay(&more, o.pattern);
    slot->number = o.other_type;
    slot->query.kind = MP__QUERY_LIST;
    slot->query.effective = true; /* what GET finds */
    slot->query.after = (uint64_t)cursor;
    slot->query.limit = (uint32_t)(o.count < KEYS_MAX ? o.count : KEYS_MAX);
    mp__slot_query_start(slot);
}

static void format_keys(mp__slot *slot, mp__buf *out)
{
    if (query_failed(slot, out))
        return;
    if (slot->query.next)
        mp__resp_error(out, "ERR", "more than %d keys; use SCAN", KEYS_MAX);
    else
        reply_names(slot, false, out);
}

void mp__cmd_keys(MP__COMMAND_ARGS)
{
    char *more;
    mp__slot *slot = query_slot(c, arguments[count - 1].size, format_keys, &more);

    if (!slot)
        return;
    slot->pattern = mp__bytes_lay(&more, arguments[1]);
    slot->query.kind = MP__QUERY_LIST;
    slot->query.by_key = slot->query.effective = true;
    slot->query.limit = KEYS_MAX;
    mp__slot_query_start(slot);
}

static void format_count(mp__slot *slot, mp__buf *out)
{
    if (!query_failed(slot, out))
        mp__resp_integer(out, (int64_t)slot->query.count);
}

void mp__cmd_dbsize(MP__COMMAND_ARGS)
{
    char *more;
    mp__slot *slot = query_slot(c, 0, format_count, &more);

    (void)arguments;
    (void)count;
    if (!slot)
        return;
    slot->query.kind = MP__QUERY_COUNT;
    slot->query.effective = true; /* what SCAN lists */
    mp__slot_query_start(slot);
}

/* ---- MP.LS: in order, for people ---- */

enum ls_tells { TELLS_REVISION = 1, TELLS_EXPIRES = 2 }; /* the slot's number */

typedef struct doubting {
    const mp__query *query;
    mp_str layer; /* that is asked about */
    bool found;
} doubting;

static int compare_behind_scope(const void *address, const void *item)
{
    mp_str a = mp__scope_rest(*(const mp_str *)address);
    mp_str b = mp__scope_rest(((const mp__list_item *)item)->address);

    return mp__bytes_order(a, b);
}

/* Whether @address, did it hold, would be on another page. */
static bool is_beyond(const mp__query *q, mp_str address)
{
    mp_str name = mp__scope_rest(address);

    return (q->after_address.size &&
            mp__bytes_order(name, mp__scope_rest(q->after_address)) <= 0) ||
           (q->next && q->count &&
            mp__bytes_order(name, mp__scope_rest(q->items[q->count - 1].address)) > 0);
}

/* One whose place in the list a nearer layer has is no matter. */
static int note_doubt(void *context, mp_str address)
{
    doubting *d = context;
    const mp__query *q = d->query;
    const mp__list_item *item = NULL;

    if (is_beyond(q, address))
        return 0;
    if (q->effective && q->count)
        item = bsearch(&address, q->items, q->count, sizeof(*q->items), compare_behind_scope);
    if (item && !mp_str_equal(item->layer, d->layer))
        return 0;
    d->found = true;
    return 1; /* one is enough */
}

/* Whether of a key that begins so, of this page, in a layer that was looked at, the origin has a
 * newer version that cannot be read. */
static bool is_in_doubt(const mp__slot *slot)
{
    const mp__query *q = &slot->query;
    mp__manager *manager = slot->connection->worker->server->manager;
    mp_str layers[MP__LAYERS_MAX] = {q->environment};
    size_t count = q->effective ? mp__watch_layers(manager, q->environment, layers) : 1;
    char prefix[MP__ADDRESS_MAX + MP__SCOPE_MAX + 1];
    doubting d = {.query = q};

    for (size_t i = 0; i < count && !d.found; i++) {
        int size = snprintf(prefix, sizeof(prefix), "%.*s/%.*s", (int)layers[i].size,
                            layers[i].data, (int)q->prefix.size, q->prefix.data);

        d.layer = layers[i];
        if (size > 0 && (size_t)size < sizeof(prefix))
            mp__manager_doubts(manager, mp_str_new(prefix, (size_t)size), note_doubt, &d);
    }
    return d.found;
}

/* [stale, more, item...], stale being 1 for a list of what is kept, and 2 where of a key of it
 * there is a newer version that cannot be read; with REVISION [stale, more, revision, item...]: the
 * one that is shown, 0 when nobody knows; an item is [name, revision, modified, media type], with
 * VALUES then the value, with EXPIRES then when it ends (0: it stays), with EFFECTIVE then the
 * scope that has it. */
static void format_ls(mp__slot *slot, mp__buf *out)
{
    const mp__query *q = &slot->query;
    bool tells_revision = slot->number & TELLS_REVISION;
    bool tells_expires = slot->number & TELLS_EXPIRES;

    if (q->status == MP_EINVAL && q->at_revision) {
        mp__reply_status(slot->connection, out, q->status,
                         "that revision is not there yet; MP.REV says the newest");
        return;
    }
    if (query_failed(slot, out))
        return;
    mp__resp_array(out, 2 + q->count + tells_revision);
    mp__resp_integer(out, q->stale ? 1 : !q->at_revision && is_in_doubt(slot) ? 2 : 0);
    mp__resp_integer(out, q->next != 0);
    if (tells_revision) /* all pages of a list at one revision show the same */
        mp__resp_integer(out, (int64_t)(q->at_revision && !q->stale ? q->at_revision : q->as_of));
    for (size_t i = 0; i < q->count; i++) {
        mp__resp_array(out, 4u + q->with_values + tells_expires + q->effective);
        mp__resp_bulk(out, mp__address_name(q->items[i].address));
        mp__resp_integer(out, (int64_t)q->items[i].revision);
        mp__resp_integer(out, q->items[i].modified_ms);
        mp__resp_bulk(out, q->items[i].media_type);
        if (q->with_values)
            mp__resp_bulk(out, q->items[i].value);
        if (tells_expires)
            mp__resp_integer(out, q->items[i].expires_ms);
        if (q->effective)
            mp__resp_bulk(out, q->items[i].layer);
    }
}

typedef struct ls_options {
    mp_str prefix, after;
    int64_t count, revision;
    bool values, effective;
    unsigned tells; /* enum ls_tells */
} ls_options;

static bool ls_parse(mp__connection *c, const mp_str *arguments, uint32_t count, ls_options *o)
{
    for (uint32_t i = 1; i < count; i++) {
        bool more = i + 1 < count;

        if (mp__word_is(arguments[i], "VALUES")) {
            o->values = true;
        } else if (mp__word_is(arguments[i], "EFFECTIVE")) {
            o->effective = true;
        } else if (mp__word_is(arguments[i], "REVISION")) {
            o->tells |= TELLS_REVISION;
        } else if (mp__word_is(arguments[i], "EXPIRES")) {
            o->tells |= TELLS_EXPIRES;
        } else if (more && mp__word_is(arguments[i], "PREFIX")) {
            o->prefix = arguments[++i];
        } else if (more && mp__word_is(arguments[i], "AFTER")) {
            o->after = arguments[++i];
        } else if (more &&
                   (mp__word_is(arguments[i], "COUNT") || mp__word_is(arguments[i], "AT"))) {
            int64_t *to = mp__word_is(arguments[i], "AT") ? &o->revision : &o->count;

            if (!mp__integer_parse(arguments[++i], to) || *to < 1) {
                mp__reply_not_integer(c);
                return false;
            }
        } else {
            mp__reply_syntax(c);
            return false;
        }
    }
    return true;
}

void mp__cmd_mp_ls(MP__COMMAND_ARGS)
{
    ls_options o = {.count = LS_STANDARD};
    char after[MP__ADDRESS_MAX], *more;
    int after_size = 0;
    mp__slot *slot;

    if (!ls_parse(c, arguments, count, &o))
        return;
    if (o.after.size && (after_size = mp__key_address(c, o.after, after)) <= 0)
        return;
    slot = query_slot(c, o.prefix.size + (size_t)after_size, format_ls, &more);
    if (!slot)
        return;
    slot->query.kind = MP__QUERY_LIST;
    slot->query.by_key = true;
    slot->query.prefix = mp__bytes_lay(&more, o.prefix);
    slot->query.after_address = mp__bytes_lay(&more, mp_str_new(after, (size_t)after_size));
    slot->query.with_values = o.values;
    slot->query.effective = o.effective;
    slot->query.bytes_max = o.values ? PAGE_BYTES : 0;
    slot->number = o.tells;
    slot->query.at_revision = (uint64_t)o.revision;
    slot->query.limit = (uint32_t)(o.count < KEYS_MAX ? o.count : KEYS_MAX);
    mp__slot_query_start(slot);
}

static void format_envs(mp__slot *slot, mp__buf *out)
{
    const mp__query *q = &slot->query;

    if (query_failed(slot, out))
        return;
    mp__resp_array(out, q->count);
    for (size_t i = 0; i < q->count; i++)
        mp__resp_bulk(out, q->items[i].address);
}

void mp__cmd_mp_envs(MP__COMMAND_ARGS)
{
    char *more;
    mp__slot *slot = query_slot(c, 0, format_envs, &more);

    (void)arguments;
    (void)count;
    if (!slot)
        return;
    slot->query.kind = MP__QUERY_ENVIRONMENTS;
    slot->query.limit = KEYS_MAX;
    mp__slot_query_start(slot);
}

/* ---- MP.HISTORY ---- */

static void format_history(mp__slot *slot, mp__buf *out)
{
    const mp__query *q = &slot->query;
    int v = slot->version;

    if (query_failed(slot, out))
        return;
    if (q->cut) { /* who asks for n takes fewer for the end */
        mp__resp_error(out, "ERR",
                       "the reply is larger than resp.output_hard; ask for less, with COUNT");
        return;
    }
    mp__resp_array(out, q->count);
    for (size_t i = 0; i < q->count; i++) {
        const mp__list_item *item = &q->items[i];

        mp__resp_map(out, q->with_values ? 7 : 6, v);
        mp__resp_bulk(out, MP_STR("revision"));
        mp__resp_integer(out, (int64_t)item->revision);
        mp__resp_bulk(out, MP_STR("version"));
        mp__resp_integer(out, (int64_t)item->version);
        mp__resp_bulk(out, MP_STR("operation"));
        mp__resp_bulk(out, item->deleted ? MP_STR("delete") : MP_STR("put"));
        mp__resp_bulk(out, MP_STR("modified_ms"));
        mp__resp_integer(out, item->modified_ms);
        mp__resp_bulk(out, MP_STR("media_type"));
        mp__resp_bulk(out, item->media_type);
        mp__resp_bulk(out, MP_STR("actor"));
        mp__resp_bulk(out, item->actor);
        if (q->with_values) {
            mp__resp_bulk(out, MP_STR("value"));
            if (item->deleted)
                mp__resp_null(out, v);
            else
                mp__resp_bulk(out, item->value);
        }
    }
}

void mp__cmd_mp_history(MP__COMMAND_ARGS)
{
    int64_t limit = HISTORY_STANDARD, before = 0;
    char address[MP__ADDRESS_MAX], *more;
    bool values = false;
    mp__slot *slot;
    int size;

    for (uint32_t i = 2; i < count; i++) {
        bool number = i + 1 < count;

        if (mp__word_is(arguments[i], "VALUES")) {
            values = true;
        } else if (number &&
                   (mp__word_is(arguments[i], "COUNT") || mp__word_is(arguments[i], "BEFORE"))) {
            int64_t *to = mp__word_is(arguments[i], "COUNT") ? &limit : &before;

            if (!mp__integer_parse(arguments[++i], to) || *to < 1) {
                mp__reply_not_integer(c);
                return;
            }
        } else {
            mp__reply_syntax(c);
            return;
        }
    }
    size = mp__key_address(c, arguments[1], address);
    if (size <= 0)
        return;
    slot = query_slot(c, (size_t)size, format_history, &more);
    if (!slot)
        return;
    slot->query.kind = MP__QUERY_HISTORY;
    slot->query.address = mp__bytes_lay(&more, mp_str_new(address, (size_t)size));
    slot->query.after = (uint64_t)before;
    slot->query.with_values = values;
    slot->query.bytes_max = values ? slot->worker->limits.output_hard : 0;
    slot->query.limit = (uint32_t)(limit < KEYS_MAX ? limit : KEYS_MAX);
    mp__slot_query_start(slot);
}

/* ---- MP.CHANGES ---- */

enum { CHANGES_STANDARD = 1000 };

static enum mp__watch_what what_of(const mp__list_item *item)
{
    if (item->deleted)
        return MP__WAS_DELETED;
    return mp_str_equal(item->media_type, MP_STR(MP__MEDIA_MASK)) ? MP__WAS_MASKED : MP__WAS_PUT;
}

/* What a reader of the scope sees of a change, as MP.WATCH tells it. */
static enum mp__watch_seen see(const mp__slot *slot, const mp__list_item *item)
{
    mp_str scope = slot->query.environment;
    enum mp__watch_what what = what_of(item);
    enum mp__watch_seen seen = MP__SEEN_PUT;
    mp__watch_view view = {0};

    if (what != MP__WAS_PUT ||
        !mp_str_equal(scope, mp_str_new(item->address.data, mp__scope_size(item->address))))
        seen = mp__watch_see(slot->worker->server->manager, scope, item->address, what, &view);
    (void)mp__entry_unref(view.entry);
    return seen;
}

/* Room for @unknown reads of @bytes of addresses, and for what is seen of each change. */
static bool make_room(mp__slot *slot, size_t unknown, size_t bytes, char **ret_text)
{
    size_t reads = unknown * sizeof(mp__read), count = slot->query.count;

    slot->owned = mp__calloc(1, reads + count + bytes + 1);
    if (!slot->owned)
        return false;
    slot->reads = slot->owned;
    slot->count = (uint32_t)unknown;
    slot->seen = (uint8_t *)slot->owned + reads;
    *ret_text = (char *)slot->seen + count;
    return true;
}

/* What the scope has now of a key that was changed in one of its layers. */
static void prepare_read(mp__slot *slot, mp__read *read, mp_str changed, char **text)
{
    size_t from = mp__scope_size(changed);
    char *begin = *text;

    (void)mp__bytes_lay(text, slot->query.environment);
    (void)mp__bytes_lay(text, mp_str_new(changed.data + from, changed.size - from));
    read->address = mp_str_new(begin, (size_t)(*text - begin));
    read->hash = mp__cache_hash(slot->worker->hasher, read->address);
    read->level = MP__LEVEL_EVENTUAL;
    read->age_max_ms = -1;
}

/* The page is there: look what is seen of it, all at once, as it may change meanwhile; what memory
 * cannot say of it is read. */
static void look_at_changes(mp__slot *slot)
{
    const mp__query *q = &slot->query;
    uint8_t *seen = mp__calloc(q->count + 1, 1);
    size_t unknown = 0, bytes = 0;
    char *text;

    for (size_t i = 0; seen && i < q->count; i++) {
        seen[i] = (uint8_t)see(slot, &q->items[i]);
        if (seen[i] != MP__SEEN_UNKNOWN)
            continue;
        unknown++;
        bytes += q->environment.size + q->items[i].address.size;
    }
    if (!seen || !make_room(slot, unknown, bytes, &text)) {
        (void)mp__free(seen);
        mp__slot_ready(slot);
        return;
    }
    memcpy(slot->seen, seen, q->count);
    (void)mp__free(seen);
    unknown = 0;
    for (size_t i = 0; i < q->count; i++)
        if (slot->seen[i] == MP__SEEN_UNKNOWN)
            prepare_read(slot, &slot->reads[unknown++], q->items[i].address, &text);
    mp__slot_reads_start(slot);
}

/* Take what was read; the number of changes of which something is seen. */
static size_t judge_changes(mp__slot *slot)
{
    const mp__query *q = &slot->query;
    const mp__read *read = slot->reads;
    size_t n = 0;

    for (size_t i = 0; i < q->count; i++) {
        const mp__list_item *item = &q->items[i];

        if (slot->seen[i] == MP__SEEN_UNKNOWN)
            slot->seen[i] =
                (uint8_t)mp__watch_judge_read(slot->worker->server->manager, q->environment,
                                              item->address, what_of(item), read++);
        n += slot->seen[i] != MP__SEEN_NOTHING;
    }
    return n;
}

static void add_position(mp__buf *out, const mp__manager *manager, uint64_t revision)
{
    char text[MP__POSITION_MAX];

    mp__resp_bulk(out, mp__position_text(mp__manager_epoch(manager), revision, text));
}

static void add_change(mp__buf *out, mp_str name, const char *what, uint64_t revision)
{
    mp__resp_array(out, 3);
    mp__resp_bulk(out, name);
    mp__resp_bulk(out, mp_str_of(what));
    mp__resp_integer(out, (int64_t)revision);
}

/* The data are at @revision, and nothing is told of the way there; @reset: since nobody knows. */
static void reply_at(mp__buf *out, const mp__manager *manager, uint64_t revision, bool reset)
{
    mp__resp_array(out, 2u + reset);
    add_position(out, manager, revision);
    mp__resp_integer(out, 0);
    if (reset)
        add_change(out, mp_str_new("", 0), "reset", revision);
}

static bool can_be_asked_again(int status)
{
    return status == MP_EORIGIN || status == MP_EORIGINLOST || status == MP_ETIMEOUT ||
           status == -EIO || status == MP_EDENIED || status == MP_ENOMEM;
}

/* [position, more, change...]; a change is [name, set|del|reset, revision]. */
static void format_changes(mp__slot *slot, mp__buf *out)
{
    const mp__query *q = &slot->query;
    mp__manager *manager = slot->worker->server->manager;
    mp__summary now;
    size_t n;

    if (can_be_asked_again(q->status)) {
        (void)query_failed(slot, out);
        return;
    }
    if (q->status) { /* not there yet, or a history with a gap, or none at all: nothing is guessed
                      */
        mp__manager_summary(manager, &now);
        reply_at(out, manager, now.revision, true);
        return;
    }
    if (!slot->seen) {
        mp__reply_status(slot->connection, out, MP_ENOMEM, NULL);
        return;
    }
    n = judge_changes(slot);
    mp__resp_array(out, 2 + n);
    add_position(out, manager, q->next);
    mp__resp_integer(out, q->next < q->as_of);
    for (size_t i = 0; i < q->count; i++)
        if (slot->seen[i] != MP__SEEN_NOTHING)
            add_change(out, mp__address_name(q->items[i].address),
                       slot->seen[i] == MP__SEEN_DELETE ? "del" : "set", q->items[i].revision);
}

typedef struct changes_options {
    mp_str from, prefix;
    int64_t count;
} changes_options;

static bool changes_parse(mp__connection *c, const mp_str *arguments, uint32_t count,
                          changes_options *o)
{
    for (uint32_t i = 1; i < count; i += 2) {
        if (i + 1 == count) {
            mp__reply_syntax(c);
            return false;
        }
        if (mp__word_is(arguments[i], "FROM")) {
            o->from = arguments[i + 1];
        } else if (mp__word_is(arguments[i], "PREFIX") && arguments[i + 1].size < MP__ADDRESS_MAX) {
            o->prefix = arguments[i + 1];
        } else if (!mp__word_is(arguments[i], "COUNT")) {
            mp__reply_syntax(c);
            return false;
        } else if (!mp__integer_parse(arguments[i + 1], &o->count) || o->count < 1) {
            mp__reply_not_integer(c);
            return false;
        }
    }
    return true;
}

static void start_changes(mp__connection *c, const changes_options *o, uint64_t from)
{
    const mp__manager *manager = c->worker->server->manager;
    mp_str layers[MP__LAYERS_MAX];
    char *more;
    mp__slot *slot =
        query_slot(c, MP__LAYERS_MAX * (MP__SCOPE_MAX + 1 + o->prefix.size), format_changes, &more);

    if (!slot)
        return;
    slot->queried = look_at_changes;
    slot->query.kind = MP__QUERY_CHANGED;
    slot->query.after = from;
    slot->query.limit = (uint32_t)(o->count < KEYS_MAX ? o->count : KEYS_MAX);
    slot->query.bytes_max = PAGE_BYTES;
    slot->query.prefix_count = mp__watch_layers(manager, slot->query.environment, layers);
    for (size_t i = 0; i < slot->query.prefix_count; i++) {
        char *begin = more;

        (void)mp__bytes_lay(&more, layers[i]);
        (void)mp__bytes_lay(&more, mp_str_new("/", 1));
        (void)mp__bytes_lay(&more, o->prefix);
        slot->query.prefixes[i] = mp_str_new(begin, (size_t)(more - begin));
    }
    mp__slot_query_start(slot);
}

void mp__cmd_mp_changes(MP__COMMAND_ARGS)
{
    mp__manager *manager = c->worker->server->manager;
    changes_options o = {.prefix = mp_str_new("", 0), .count = CHANGES_STANDARD};
    mp__summary now;
    mp_str epoch;
    uint64_t from;

    if (!changes_parse(c, arguments, count, &o))
        return;
    mp__manager_summary(manager, &now);
    if (!o.from.data) {
        reply_at(mp__connection_out(c), manager, now.revision, false);
    } else if (!mp__position_parse(o.from, &epoch, &from)) {
        mp__resp_error(mp__connection_out(c), "ERR",
                       "a position is EPOCH-REVISION, as MP.CHANGES says it, or a revision");
    } else if (epoch.size && !mp_str_equal(epoch, mp_str_of(mp__manager_epoch(manager)))) {
        reply_at(mp__connection_out(c), manager, now.revision, true);
    } else if (from == now.revision) { /* also while the origin cannot be asked */
        reply_at(mp__connection_out(c), manager, from, false);
    } else {
        start_changes(c, &o, from);
    }
}
