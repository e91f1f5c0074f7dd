/* SPDX-License-Identifier: Apache-2.0 */
/* Export of a namespace as a file, and import of a file: the format is a media type, in Accept or
 * Content-Type, of the table mp__formats. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "core/bytes.h"
#include "server/http/collect.h"

/* ---- choosing a format ---- */

static void list_formats(char *out, size_t capacity)
{
    size_t used = 0;

    out[0] = '\0';
    for (const mp__format *const *f = mp__formats; *f && used < capacity; f++)
        used += (size_t)snprintf(out + used, capacity - used, "%s%s", used ? ", " : "",
                                 (*f)->media_type);
}

static bool word_is(mp_str text, const char *word)
{
    return text.size == strlen(word) && strncasecmp(text.data, word, text.size) == 0;
}

/* "type/sub;q=0.5" -> its type, and its weight in thousandths (RFC 9110 section 12.4.2). */
static mp_str split_weight(mp_str item, int *ret_weight)
{
    const char *semicolon = memchr(item.data, ';', item.size), *end = item.data + item.size;
    mp_str type = semicolon ? mp_str_new(item.data, (size_t)(semicolon - item.data)) : item;
    const char *q = semicolon ? memmem(semicolon, (size_t)(end - semicolon), "q=", 2) : NULL;
    int weight = 1000, unit = 100;

    while (type.size && (type.data[type.size - 1] == ' ' || type.data[type.size - 1] == '\t'))
        type.size--;
    if (q && q + 2 < end) {
        weight = q[2] == '1' ? 1000 : 0;
        for (q += 4; q < end && *q >= '0' && *q <= '9' && unit && weight < 1000; q++, unit /= 10)
            weight += (*q - '0') * unit;
    }
    *ret_weight = weight;
    return type;
}

/* Whether @type is @media_type, or another name of that format. */
static bool type_is(mp_str type, const char *media_type)
{
    const mp__format *format = mp__format_of_media_type(type);

    return word_is(type, media_type) || (format && strcmp(format->media_type, media_type) == 0);
}

int mp__http_weight(mp_str accept, const char *media_type)
{
    size_t major = (size_t)(strchr(media_type, '/') - media_type) + 1;
    int weight, best = -1, kind = 0;
    mp_str item;

    while (mp__http_list_next(&accept, &item)) {
        mp_str type = split_weight(item, &weight);
        int k = type_is(type, media_type) ? 3
                : type.size == major + 1 && type.data[major] == '*' &&
                        strncasecmp(type.data, media_type, major) == 0
                    ? 2
                : word_is(type, "*/*") ? 1
                                       : 0;

        if (k > kind) {
            kind = k;
            best = weight;
        }
    }
    return best;
}

bool mp__http_names_type(mp_str accept, const char *media_type)
{
    mp_str item;
    int weight;

    while (mp__http_list_next(&accept, &item))
        if (word_is(split_weight(item, &weight), media_type))
            return true;
    return false;
}

bool mp__http_negotiate(mp__exchange *x, bool listing, const mp__format **ret_format)
{
    const mp__format *best = NULL;
    int best_weight = 0;
    char names[256], detail[320];
    mp_str accept;

    if (!mp__http_list_of(x, "accept", &accept))
        return false;
    /* A list is JSON by itself: it wins among equals, and over the format JSON. */
    if (listing)
        best_weight = accept.size ? mp__http_weight(accept, "application/json") : 1000;
    for (const mp__format *const *f = mp__formats; *f; f++) {
        int weight = accept.size ? mp__http_weight(accept, (*f)->media_type) : 1000;

        if (weight > best_weight) {
            best = *f;
            best_weight = weight;
        }
    }
    if (best_weight > 0) {
        *ret_format = best;
        return true;
    }
    list_formats(names, sizeof(names));
    (void)snprintf(detail, sizeof(detail), "Accept takes none of %s", names);
    mp__answer_problem(x, &(mp__problem){.status = 406,
                                         .type = "not-acceptable",
                                         .detail = detail,
                                         .remedy = "name one of them in Accept"});
    return false;
}

/* ---- export ---- */

typedef struct export_work {
    mp__job job;
    mp__walk *walk;
    const mp__format *format;
    mp__buf body;
    mp__diag diag;
    int status;
    uint64_t tag;
} export_work;

static int print_leaves(export_work *w, size_t namespace_size)
{
    mp__leaves leaves = {0};
    int rc = 0;

    for (size_t i = 0; i < w->walk->count && rc == 0; i++) {
        const mp__walk_item *item = &w->walk->items[i];

        /* A mask in a file would come back as an empty text, which hides nothing. */
        if (mp_str_equal(item->item->media_type, MP_STR(MP__MEDIA_MASK)))
            continue;
        rc = mp__leaves_add_typed(
            &leaves,
            mp_str_new(item->name.data + namespace_size + 1, item->name.size - namespace_size - 1),
            item->item->value, item->item->media_type);
    }
    if (rc == 0)
        rc = mp__leaves_sort(&leaves, &w->diag);
    if (rc == 0)
        rc = w->format->print(&leaves, &w->body, &w->diag);
    mp__leaves_done(&leaves);
    return rc ? rc : w->body.error;
}

static void export_run(mp__job *job)
{
    export_work *w = (export_work *)job;

    mp__walk_doubt(w->walk);
    w->status = print_leaves(w, w->job.x->values[0].size);
    w->tag = mp__checksum(0, w->body.data, w->body.size) + w->walk->in_doubt;
}

static void export_done(mp__job *job)
{
    export_work *w = (export_work *)job;
    mp__exchange *x = w->job.x;
    mp__walk *walk = w->walk;
    mp__buf body = w->body;

    if (w->status == MP_EINVAL || w->status == MP_EUNSUPPORTED) {
        mp__buf_done(&body);
        mp__answer_problem(x, &(mp__problem){.status = 422,
                                             .type = "export",
                                             .detail = w->diag.text,
                                             .remedy = "take another format, or a part of it with "
                                                       "prefix"});
    } else if (w->status) {
        mp__buf_done(&body);
        mp__answer_error(x, w->status, w->diag.text);
    } else {
        mp__http_answer_tagged(x, mp_str_of(w->format->media_type), &body, walk->as_of,
                               mp__walk_reason(walk), w->tag);
    }
    (void)mp__walk_free(walk);
}

static void export_walked(mp__walk *walk)
{
    export_work *w = walk->context;

    if (walk->status) {
        mp__http_answer_walk_error(walk->x, walk);
        (void)mp__walk_free(walk);
        return;
    }
    w->job.x = walk->x;
    w->job.run = export_run;
    w->job.done = export_done;
    w->job.prints = true;
    mp__job_start(&w->job, walk->bytes + walk->count * 64);
}

/* The walk over @prefix in the exchange's namespace; NULL: answered. */
static mp__walk *walk_of(mp__exchange *x, const mp__parameter *place, mp_str prefix)
{
    char scope_text[MP__SCOPE_MAX], name[MP__WALK_NAME_MAX];
    mp_str scope, namespace_ = x->values[0];
    mp__walk *walk;

    if (!mp__http_scope(x, place, scope_text, &scope))
        return NULL;
    if (namespace_.size + 1 + prefix.size > sizeof(name)) {
        mp__answer_invalid(x, "namespace and prefix are longer than any address");
        return NULL;
    }
    memcpy(name, namespace_.data, namespace_.size);
    name[namespace_.size] = '/';
    if (prefix.size)
        memcpy(name + namespace_.size + 1, prefix.data, prefix.size);
    walk = mp__walk_new(x, scope, mp_str_new(name, namespace_.size + 1 + prefix.size));
    if (!walk)
        mp__answer_no_memory(x);
    else
        walk->whole = walk->with_values = true;
    return walk;
}

void mp__http_export_as(mp__exchange *x, const mp__format *format, const mp__parameter *place,
                        const mp__parameter *prefix, const mp__parameter *at,
                        const mp__parameter *effective)
{
    export_work *w = mp__exchange_memory(x, sizeof(*w));
    uint64_t revision = 0;
    bool is_effective = false;
    mp__walk *walk;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (!mp__http_number_of(x, at, 1, INT64_MAX, &revision) ||
        !mp__http_flag_of(x, effective, &is_effective))
        return;
    walk = walk_of(x, place, prefix->value);
    if (!walk)
        return;
    w->walk = walk;
    w->format = format;
    walk->at_revision = revision;
    walk->is_past = revision > 0;
    walk->effective = is_effective;
    walk->context = w;
    walk->done = export_walked;
    mp__walk_start(walk);
}

void mp__http_export(mp__exchange *x)
{
    enum { PREFIX = MP__PLACE_COUNT, AT, EFFECTIVE, PARAMETERS };
    mp__parameter p[PARAMETERS] = {
        MP__PLACE_PARAMETERS, [PREFIX] = {"prefix"}, [AT] = {"at"}, [EFFECTIVE] = {"effective"}};
    const mp__format *format = NULL;

    if (mp__http_parameters(x, p, PARAMETERS) && mp__http_negotiate(x, false, &format))
        mp__http_export_as(x, format, p, &p[PREFIX], &p[AT], &p[EFFECTIVE]);
}

/* ---- import ---- */

enum { IMPORT_MAX = 20000 /* keys: one transaction, which others wait for */ };

typedef struct import_work {
    mp__job job;
    mp__write_request write;
    mp__walk *walk;
    const mp__format *format;
    mp__leaves leaves;
    mp__diag diag;
    int status;
    bool dry_run, prune;
    mp_str scope, prefix;
    char scope_text[MP__SCOPE_MAX];
    char *addresses; /* of the changes, one behind the other */
} import_work;

static void import_free(import_work *w)
{
    mp__leaves_done(&w->leaves);
    w->walk = mp__walk_free(w->walk);
    (void)mp__free(w->write.changes);
    w->addresses = mp__free(w->addresses);
}

/* The changes of the leaves: 0, MP_ENOMEM, or an error with a text about one of them. */
static int make_changes(import_work *w)
{
    mp__leaves *leaves = &w->leaves;
    mp_str namespace_ = w->job.x->values[0];
    char key[MP__KEY_MAX], address[MP__ADDRESS_MAX], *to;
    size_t room = 0;

    for (size_t i = 0; i < leaves->count; i++)
        room += w->scope.size + namespace_.size + w->prefix.size + leaves->items[i].key.size + 2;
    w->write.changes = mp__calloc(leaves->count ? leaves->count : 1, sizeof(mp__change));
    w->addresses = to = mp__malloc(room ? room : 1);
    if (!w->write.changes || !to)
        return MP_ENOMEM;
    for (size_t i = 0; i < leaves->count; i++) {
        mp_str leaf = leaves->items[i].key;
        int size;

        if (w->prefix.size + leaf.size > sizeof(key))
            return mp__diag_set(&w->diag, MP_ELIMIT, "%.64s...: a key has at most %u bytes",
                                leaf.size > 64 ? leaf.data : "a key", MP__KEY_MAX);
        if (w->prefix.size)
            memcpy(key, w->prefix.data, w->prefix.size);
        memcpy(key + w->prefix.size, leaf.data, leaf.size);
        size = mp__address_join(w->scope, namespace_, mp_str_new(key, w->prefix.size + leaf.size),
                                address, &w->diag);
        if (size < 0)
            return size;
        memcpy(to, address, (size_t)size);
        w->write.changes[i] = (mp__change){.op = MP__CHANGE_PUT,
                                           .flags = MP__IF_CHANGED,
                                           .address = mp_str_new(to, (size_t)size),
                                           .value = leaves->items[i].value,
                                           .media_type = leaves->items[i].media_type};
        to += size;
    }
    w->write.count = leaves->count;
    return 0;
}

/* A file that was cut to nothing does not mean that its namespace shall have no keys. */
static void import_run(mp__job *job)
{
    import_work *w = (import_work *)job;

    if (w->prune && mp__format_is_blank(w->format, w->job.x->request.body))
        w->status = mp__diag_set(&w->diag, MP_ESYNTAX,
                                 "the file is empty, and prune would delete all keys; if that is "
                                 "meant, write '%s' into it",
                                 mp__format_no_keys(w->format));
    else
        w->status = w->format->parse(w->job.x->request.body, &w->leaves, &w->diag);
    if (w->status == 0 && w->leaves.count > IMPORT_MAX)
        w->status = mp__diag_set(&w->diag, MP_ELIMIT, "%zu keys in one file, at most %d are taken",
                                 w->leaves.count, IMPORT_MAX);
    if (w->status == 0)
        w->status = mp__leaves_sort(&w->leaves, &w->diag);
    if (w->status == 0)
        w->status = make_changes(w);
}

static void answer_file_error(mp__exchange *x, import_work *w)
{
    mp__diag diag = w->diag;
    int rc = w->status;
    char text[600], place[64] = "";

    if (diag.line > 0)
        (void)snprintf(place, sizeof(place), "%d:%d: ", diag.line, diag.column);
    (void)snprintf(text, sizeof(text), "%s%s", place, diag.text[0] ? diag.text : mp_strerror(rc));
    import_free(w);
    mp__answer_problem(x, &(mp__problem){.status = rc == MP_ELIMIT   ? 413
                                                   : rc == MP_ENOMEM ? 503
                                                                     : 400,
                                         .type = rc == MP_ELIMIT ? "limit" : "file",
                                         .detail = text,
                                         .remedy = "mend the place that is named; nothing was "
                                                   "changed",
                                         .place = &diag});
}

/* Where in the body is what breaks schemas: the first leaf there. The leaves and the changes have
 * the same order. */
static void place_broken(const import_work *w, mp__write_request *request)
{
    size_t count = request->broken_count < MP__BROKEN_MAX ? request->broken_count : MP__BROKEN_MAX;
    mp_str scope, namespace_, key, paths[MP__BROKEN_MAX];

    for (size_t k = 0; k < count; k++) {
        const char *slash = strchr(request->broken[k].where, '/');

        paths[k] = mp_str_of(slash ? slash + 1 : "");
        request->broken[k].line = request->broken[k].column = 0;
    }
    for (size_t i = 0; i < w->leaves.count; i++) {
        const mp__leaf *leaf = &w->leaves.items[i];

        if (!leaf->line ||
            mp__address_split(w->write.changes[i].address, &scope, &namespace_, &key) != 0)
            continue;
        for (size_t k = 0; k < count; k++) {
            mp__broken *broken = &request->broken[k];
            bool is_before = !broken->line || leaf->line < broken->line ||
                             (leaf->line == broken->line && leaf->column < broken->column);

            if (is_before && mp__key_is_at(key, paths[k], broken->instance)) {
                broken->line = leaf->line;
                broken->column = leaf->column;
            }
        }
    }
}

/* Of the changes behind those of the file each deletes a key. */
static void answer_imported(const import_work *w, uint64_t revision, size_t changed)
{
    mp__buf body = MP__BUF_INIT;

    mp__json_begin(&body, '{');
    mp__json_add_u64(&body, "revision", revision);
    mp__json_add_u64(&body, "keys", w->leaves.count);
    mp__json_add_u64(&body, "changed", changed);
    if (w->prune)
        mp__json_add_u64(&body, "removed", w->write.count - w->leaves.count);
    mp__http_add_warnings(&body, &w->write);
    mp__json_end(&body, '}');
    mp__answer_json(w->job.x, 200, &body);
}

/* A key that should go is not as it was when what is there was looked at. */
static void answer_raced(const import_work *w)
{
    const mp__change *changes = w->write.changes;
    size_t i = w->leaves.count;
    char detail[360];
    mp_str name;

    while (i + 1 < w->write.count && changes[i].status != MP_ECONFLICT)
        i++;
    name = mp__http_name_of(changes[i].address);
    (void)snprintf(detail, sizeof(detail), "%.*s was written or deleted while this was under way",
                   mp__diag_shown(name), name.data);
    mp__answer_problem(w->job.x, &(mp__problem){.status = 409,
                                                .type = "conflict",
                                                .detail = detail,
                                                .remedy = "nothing was changed; send it again"});
}

static void import_written(mp__write_request *request)
{
    import_work *w = request->context;
    size_t changed = 0;

    if (request->status == MP_EINVALID)
        place_broken(w, request);
    if (request->status == MP_ECONFLICT && w->prune) {
        answer_raced(w);
        return;
    }
    if (request->status) {
        mp__http_answer_write_error(w->job.x, request);
        return;
    }
    for (size_t i = 0; i < w->leaves.count; i++)
        changed += request->changes[i].changed;
    answer_imported(w, request->revision, changed);
}

static mp_str address_of(const mp__walk_item *item)
{
    return item->item->address;
}

enum { ADDED, CHANGED, SAME, REMOVED, COUNTS };

static void add_difference(mp__buf *body, const char *op, mp_str address, const mp__list_item *now,
                           const mp__change *change)
{
    mp__json_begin(body, '{');
    mp__http_json_name(body, mp__http_name_of(address));
    mp__json_add_text(body, "op", op);
    if (now)
        mp__json_add_bytes(body, "from", now->value);
    if (now && now->expires_ms)
        mp__json_add_i64(body, "from_expires_ms", now->expires_ms);
    if (change)
        mp__json_add_bytes(body, "to", change->value);
    mp__json_end(body, '}');
}

static void compare_one(mp__buf *body, const mp__list_item *now, const mp__change *change,
                        uint64_t counts[COUNTS])
{
    if (now && now->expires_ms == change->expires_ms && mp_str_equal(now->value, change->value) &&
        mp_str_equal(now->media_type, change->media_type)) {
        counts[SAME]++;
        return;
    }
    counts[now ? CHANGED : ADDED]++;
    add_difference(body, now ? "change" : "add", change->address, now, change);
}

/* What is there and in no file: one that goes, or that nobody asked about. */
static void compare_other(const import_work *w, mp__buf *body, const mp__list_item *now,
                          uint64_t counts[COUNTS])
{
    if (!w->prune)
        return;
    counts[REMOVED]++;
    add_difference(body, "remove", now->address, now, NULL);
}

/* The changes of the file are in the order of their keys, as the walk is: one pass over both. */
static void add_import_changes(mp__buf *body, const import_work *w, uint64_t counts[COUNTS])
{
    const mp__walk *walk = w->walk;
    size_t at = 0;

    for (size_t i = 0; i < w->leaves.count; i++) {
        const mp__change *change = &w->write.changes[i];
        const mp__list_item *now = NULL;

        for (;
             at < walk->count && mp__bytes_order(address_of(&walk->items[at]), change->address) < 0;
             at++)
            compare_other(w, body, walk->items[at].item, counts);
        if (at < walk->count && mp_str_equal(address_of(&walk->items[at]), change->address))
            now = walk->items[at++].item;
        compare_one(body, now, change, counts);
    }
    for (; at < walk->count; at++)
        compare_other(w, body, walk->items[at].item, counts);
}

static void answer_dry_run(const import_work *w)
{
    mp__buf body = MP__BUF_INIT;
    uint64_t counts[COUNTS] = {0};

    assert(w->walk); /* every dry run looks at what is there */
    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "dry_run", true);
    mp__json_key(&body, "changes");
    mp__json_begin(&body, '[');
    add_import_changes(&body, w, counts);
    mp__json_end(&body, ']');
    mp__json_add_u64(&body, "added", counts[ADDED]);
    mp__json_add_u64(&body, "changed", counts[CHANGED]);
    mp__json_add_u64(&body, "same", counts[SAME]);
    if (w->prune)
        mp__json_add_u64(&body, "removed", counts[REMOVED]);
    mp__http_add_warnings(&body, &w->write);
    mp__json_end(&body, '}');
    mp__answer_json(w->job.x, 200, &body);
}

static void written(mp__write_request *request)
{
    import_work *w = request->context, kept = *w; /* the exchange's memory goes with the answer */

    if (w->dry_run && request->status == 0)
        answer_dry_run(w);
    else
        import_written(request);
    import_free(&kept);
}

/* Write it, or look whether it could be. */
static void write_all(import_work *w)
{
    mp__exchange *x = w->job.x;
    import_work kept;

    w->write.loop = x->worker->loop;
    w->write.source = x->connection;
    w->write.identity = &x->identity;
    w->write.dry_run = w->dry_run;
    w->write.wants_revision = true;
    w->write.done = written;
    w->write.context = w;
    if (w->write.count) {
        mp__write_start(x->worker->server->manager, &w->write);
        return;
    }
    kept = *w; /* the exchange's memory goes with the answer */
    if (w->dry_run)
        answer_dry_run(w);
    else
        answer_imported(w, 0, 0);
    import_free(&kept);
}

/* A deletion of each key that is there and not in the file, if it is still as it was seen; behind
 * the changes of the file. MP_ENOMEM, MP_ELIMIT. */
static int add_removals(import_work *w)
{
    const mp__walk *walk = w->walk;
    size_t count = w->leaves.count, at = 0;
    mp__change *changes = mp__calloc(count + walk->count + 1, sizeof(*changes));

    if (!changes)
        return MP_ENOMEM;
    if (count)
        memcpy(changes, w->write.changes, count * sizeof(*changes));
    for (size_t i = 0; i < walk->count; i++) {
        const mp__list_item *item = walk->items[i].item;

        while (at < w->leaves.count && mp__bytes_order(changes[at].address, item->address) < 0)
            at++;
        if (at == w->leaves.count || !mp_str_equal(changes[at].address, item->address))
            changes[count++] = (mp__change){.op = MP__CHANGE_DELETE,
                                            .flags = MP__IF_REVISION,
                                            .if_revision = item->revision,
                                            .address = item->address};
    }
    (void)mp__free(w->write.changes);
    w->write.changes = changes;
    w->write.count = count;
    return count <= IMPORT_MAX
               ? 0
               : mp__diag_set(&w->diag, MP_ELIMIT,
                              "%zu keys to write and delete at once, at most %d are taken", count,
                              IMPORT_MAX);
}

static void import_walked(mp__walk *walk)
{
    import_work *w = walk->context;
    mp__exchange *x = walk->x;

    if (walk->status) {
        int status = walk->status;

        import_free(w);
        mp__answer_error(x, status, NULL);
        return;
    }
    w->status = w->prune ? add_removals(w) : 0;
    if (w->status)
        answer_file_error(x, w);
    else
        write_all(w);
}

static void import_parsed(mp__job *job)
{
    import_work *w = (import_work *)job;
    mp__exchange *x = w->job.x;

    if (w->status) {
        answer_file_error(x, w);
        return;
    }
    if (!w->walk) {
        write_all(w);
        return;
    }
    w->walk->context = w;
    w->walk->done = import_walked;
    mp__walk_start(w->walk);
}

/* The format of the body; false: answered. */
static bool content_format(mp__exchange *x, const mp__format **ret_format)
{
    char names[256], detail[360];
    const mp__format *format;
    const char *semicolon;
    mp_str type;

    if (!mp__http_media_type(x, &type))
        return false;
    semicolon = memchr(type.data, ';', type.size);
    if (semicolon)
        type.size = (size_t)(semicolon - type.data);
    format = mp__format_of_media_type(type);
    if (format) {
        *ret_format = format;
        return true;
    }
    list_formats(names, sizeof(names));
    (void)snprintf(detail, sizeof(detail), "Content-Type is none of %s", names);
    mp__answer_problem(x, &(mp__problem){.status = 415,
                                         .type = "format",
                                         .detail = detail,
                                         .remedy = "say in Content-Type what the body is"});
    return false;
}

void mp__http_import(mp__exchange *x)
{
    enum { PREFIX = MP__PLACE_COUNT, DRY_RUN, PRUNE, PARAMETERS };
    mp__parameter p[PARAMETERS] = {
        MP__PLACE_PARAMETERS, [PREFIX] = {"prefix"}, [DRY_RUN] = {"dry_run"}, [PRUNE] = {"prune"}};
    import_work *w = mp__exchange_memory(x, sizeof(*w));

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (!mp__http_parameters(x, p, PARAMETERS) || !mp__http_flag_of(x, &p[DRY_RUN], &w->dry_run) ||
        !mp__http_flag_of(x, &p[PRUNE], &w->prune) ||
        !mp__http_scope(x, p, w->scope_text, &w->scope) || !content_format(x, &w->format))
        return;
    w->prefix = p[PREFIX].value;
    if (w->dry_run || w->prune) {
        w->walk = walk_of(x, p, w->prefix);
        if (!w->walk)
            return;
    }
    w->job.x = x;
    w->job.run = import_run;
    w->job.done = import_parsed;
    mp__job_start(&w->job, x->request.body.size);
}
