/* SPDX-License-Identifier: Apache-2.0 */
/* PUT, PATCH and DELETE of one value.
 *
 *     conditions that name an entity tag, a patch, a dry run -> read first, at level strong
 *       |
 *     decide: 412, 404, or what is to be written, bound to the revision that was read
 *       |
 *     patch: 409, or the value; of a large one on the thread mp-http
 *       |
 *     write -> durable -> answer; of a dry run: access, schemas, origin -> answer
 */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "format/format.h"
#include "schema/schema.h"
#include "server/http/collect.h"

enum { PATCH_TRIES = 8, VALUE_MAX = 4 * 1024 * 1024 };

enum { PLACED_MAX = 64 * 1024 }; /* bytes of a value that are read in the loop for a place in it */
enum write_kind { PUT, MERGE_PATCH, JSON_PATCH, DELETE };

typedef struct write_work {
    mp__job job; /* first: the patch */
    mp__exchange *x;
    mp__read read;
    mp__write_request write;
    mp__change changes[2]; /* the change, and a check that what was read still is so */
    enum write_kind kind;
    mp_str if_match, if_none_match;
    bool dry_run, conditional; /* conditional: the client's own conditions bind it */
    int tries;
    bool finds_none;   /* of a dry run: nothing stands in the layer */
    const char *would; /* of a dry run: what the write would do; NULL: nobody can say */
    uint64_t revision; /* of a dry run: of what stands there now */
    /* while it is patched: what was read, a reference of ours, and what of it the scope sees and
     * has itself; what came of it */
    const mp__entry *held, *now, *own;
    mp_str patch;
    mp__buf patched;
    mp__diag diag;
    int status;
    char address[MP__ADDRESS_MAX];
} write_work;

static bool is_patch(const write_work *w)
{
    return w->kind == MERGE_PATCH || w->kind == JSON_PATCH;
}

/* ---- refusals ---- */

static void answer_precondition(mp__exchange *x, uint64_t revision, const char *detail)
{
    mp__answer_problem(x, &(mp__problem){.status = 412,
                                         .type = "precondition",
                                         .detail = detail,
                                         .remedy = "read the present value and decide anew",
                                         .last_known_revision = revision});
}

void mp__http_answer_write_error(mp__exchange *x, const mp__write_request *request)
{
    char text[sizeof(request->text)];

    memcpy(text, request->text, sizeof(text));
    if (request->status == MP_EINVALID) {
        bool is_one = request->broken_count == 1 && request->broken[0].line;
        mp__diag place = {.line = is_one ? request->broken[0].line : 0,
                          .column = is_one ? request->broken[0].column : 0};
        mp__answer_problem(
            x, &(mp__problem){.status = 422,
                              .type = "invalid-value",
                              .detail = text,
                              .remedy = is_one && strcmp(request->broken[0].keyword, "json") == 0
                                            ? "nothing was changed; mend it, or put "
                                              "bytes as application/octet-stream"
                                            : "nothing was changed; mend what errors "
                                              "names",
                              .place = &place,
                              .broken = request->broken,
                              .broken_count = request->broken_count});
        return;
    }
    mp__answer_error(x, request->status, text);
}

/* ---- what the body is ---- */

bool mp__http_media_type(mp__exchange *x, mp_str *ret_type)
{
    mp_str header = mp__http_header_find(&x->request, "content-type");
    char *type = header.size ? mp__exchange_memory(x, header.size) : NULL;
    size_t n = 0;

    *ret_type = mp_str_new("", 0);
    if (header.size && !type) {
        mp__answer_no_memory(x);
        return false;
    }
    for (size_t i = 0; i < header.size && n <= MP__MEDIA_TYPE_MAX; i++) {
        unsigned char c = (unsigned char)header.data[i];

        if (c == ' ' || c == '\t')
            continue;
        if (c < 0x20 || c >= 0x7f) {
            mp__answer_invalid(x, "a Content-Type has visible ASCII characters only");
            return false;
        }
        type[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    if (n > MP__MEDIA_TYPE_MAX) {
        mp__answer_invalid(x, "a Content-Type has at most %u characters", MP__MEDIA_TYPE_MAX);
        return false;
    }
    /* what curl -d says of any bytes says nothing of these */
    if (n && !mp_str_equal(mp_str_new(type, n), MP_STR("application/x-www-form-urlencoded")))
        *ret_type = mp_str_new(type, n);
    return true;
}

/* ---- answers ---- */

const mp__entry *mp__http_own(const mp__read *read)
{
    const mp__entry *entry = read->entry;

    return entry && entry->kind != MP__RECORD_ABSENT &&
                   mp_str_equal(mp__entry_address(entry), read->address)
               ? entry
               : NULL;
}

const char *mp__http_would(const mp__change *change, const mp__entry *own)
{
    if (change->op == MP__CHANGE_DELETE)
        return own ? "delete" : "nothing";
    if (!own)
        return "create";
    return (change->flags & MP__IF_CHANGED) &&
                   ((change->flags & MP__KEEP_EXPIRY) || own->expires_ms == change->expires_ms) &&
                   mp_str_equal(mp_blob_str(&own->blob.pub), change->value) &&
                   mp_str_equal(mp__entry_media_type(own), change->media_type)
               ? "nothing"
               : "change";
}

void mp__http_add_warnings(mp__buf *body, const mp__write_request *request)
{
    if (!request->warned_count)
        return;
    mp__json_key(body, "warnings");
    mp__json_begin(body, '[');
    for (size_t i = 0; i < request->warned_count; i++) {
        mp__json_begin(body, '{');
        mp__json_add_text(body, "where", request->warned[i].where);
        mp__json_add_text(body, "schema", request->warned[i].schema);
        mp__json_add_text(body, "text", request->warned[i].text);
        mp__json_end(body, '}');
    }
    mp__json_end(body, ']');
}

static void answer_dry_run(const write_work *w)
{
    mp__buf body = MP__BUF_INIT;

    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "dry_run", true);
    mp__json_add_text(&body, "would", w->would);
    mp__json_add_u64(&body, "revision", w->revision);
    mp__http_add_warnings(&body, &w->write);
    mp__json_end(&body, '}');
    mp__answer_json(w->x, 200, &body);
}

/* Durable here, and on its way to the origin: it has no revision yet. */
static void answer_pending(mp__exchange *x)
{
    mp__buf body = MP__BUF_INIT;

    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "pending", true);
    mp__json_end(&body, '}');
    mp__answer_json(x, 202, &body);
}

static void answer_done(write_work *w)
{
    const mp__change *change = &w->changes[0];
    mp__exchange *x = w->x;
    mp__buf body = MP__BUF_INIT;
    bool created = change->changed && change->op == MP__CHANGE_PUT &&
                   change->after.revision == change->after.created_revision;
    mp__etag etag;

    mp__json_begin(&body, '{');
    mp__json_add_u64(&body, "revision", change->after.revision);
    mp__json_add_bool(&body, "changed", change->changed);
    if (change->op == MP__CHANGE_PUT)
        mp__json_add_u64(&body, "version", change->after.version);
    mp__http_add_warnings(&body, &w->write);
    mp__json_end(&body, '}');
    (void)mp__buf_add_char(&body, '\n');
    mp__answer_begin(x, created ? 201 : 200);
    mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
    mp__answer_header_text(x, "MarketPrism-Revision", "%" PRIu64, change->after.revision);
    if (change->op == MP__CHANGE_PUT) {
        mp__etag_make(change->after.revision, change->value, &etag);
        mp__answer_header_text(x, "ETag", "%.*s\"", MP__ETAG_SIZE - 1, etag.text);
    }
    mp__answer_end(x, MP_STR("application/json"), mp__buf_str(&body));
    mp__buf_done(&body);
}

static void start(write_work *w);

/* A condition did not hold at the commit. */
static void answer_conflict(write_work *w)
{
    if (!w->conditional && w->tries < PATCH_TRIES) {
        start(w); /* somebody wrote between our read and our write: patch what is there now */
        return;
    }
    if (w->conditional)
        answer_precondition(w->x, w->changes[0].after.revision,
                            "the value is not as the conditions of the request want it");
    else
        mp__answer_problem(w->x, &(mp__problem){.status = 409,
                                                .type = "conflict",
                                                .detail = "others keep changing this value",
                                                .remedy = "try again",
                                                .retry_after_ms = 1000});
}

static void answer_absent(mp__exchange *x)
{
    mp__answer_problem(x, &(mp__problem){.status = 404,
                                         .type = "absent",
                                         .detail = "there is no such key; nothing was changed"});
}

/* Where in the body that was put is what breaks a schema of documents that are one value each. */
static void place_broken(const write_work *w, mp__write_request *request)
{
    mp_str scope, namespace_, key, body = w->changes[0].value;
    mp__leaves leaves = {0};
    char where[sizeof(request->broken->where)];

    if (mp__address_split(w->changes[0].address, &scope, &namespace_, &key) != 0 ||
        body.size > PLACED_MAX || mp__format_find("json")->parse(body, &leaves, NULL) != 0)
        return;
    (void)snprintf(where, sizeof(where), "%.*s/%.*s", (int)namespace_.size, namespace_.data,
                   (int)key.size, key.data);
    for (size_t i = 0; i < request->broken_count && i < MP__BROKEN_MAX; i++) {
        mp__broken *broken = &request->broken[i];
        const mp__leaf *leaf = broken->line == 0 && strcmp(broken->where, where) == 0
                                   ? mp__leaves_at(&leaves, broken->instance)
                                   : NULL;

        if (leaf) {
            broken->line = leaf->line;
            broken->column = leaf->column;
        }
    }
    mp__leaves_done(&leaves);
}

static void write_done(mp__write_request *request)
{
    write_work *w = request->context;

    if (request->status == MP_EINVALID && w->kind == PUT)
        place_broken(w, request);
    if (w->dry_run) {
        if (request->status)
            mp__http_answer_write_error(w->x, request);
        else if (w->kind == DELETE && w->finds_none && !request->pending)
            answer_absent(w->x);
        else if (w->would)
            answer_dry_run(w);
        else
            mp__http_answer_read_error(w->x, &w->read);
        return;
    }
    mp__monitor_record(w->x->worker->server->monitor, w->kind == DELETE ? MP__OP_DEL : MP__OP_SET,
                       MP__TIER_ORIGIN, mp__env_now_ns(w->x->worker->server->env) - w->x->began_ns,
                       1);
    if (request->status == MP_ECONFLICT || request->status == MP_EEXISTS ||
        (request->status == MP_EABSENT && (w->changes[0].flags & MP__IF_PRESENT)))
        answer_conflict(w);
    else if (request->status)
        mp__http_answer_write_error(w->x, request);
    else if (request->pending)
        answer_pending(w->x);
    else if (w->changes[0].status == MP_EABSENT)
        answer_absent(w->x);
    else
        answer_done(w);
}

static void write_it(write_work *w)
{
    w->write.loop = w->x->worker->loop;
    w->write.source = w->x->connection;
    w->write.identity = &w->x->identity;
    w->write.changes = w->changes;
    w->write.count = w->changes[1].address.size ? 2 : 1;
    w->write.dry_run = w->dry_run;
    w->write.done = write_done;
    w->write.context = w;
    mp__write_start(w->x->worker->server->manager, &w->write);
}

/* ---- deciding by what is there ---- */

static void answer_patch_error(mp__exchange *x, int rc, const mp__diag *diag)
{
    int status = rc == MP_ESYNTAX || rc == MP_EINVAL           ? 400
                 : rc == MP_ECONFLICT || rc == MP_EUNSUPPORTED ? 409
                 : rc == MP_EABSENT                            ? 422
                 : rc == MP_ELIMIT                             ? 413
                                                               : 0;

    if (!status)
        mp__answer_error(x, rc, diag->text);
    else
        mp__answer_problem(
            x, &(mp__problem){.status = status,
                              .type = status == 409 ? "patch-conflict" : "patch",
                              .detail = diag->text,
                              .remedy = rc == MP_EUNSUPPORTED
                                            ? "nothing was changed; PUT the whole value"
                                            : "nothing was changed; see RFC 6902 and 7396",
                              .place = diag});
}

/* Whether the conditions hold for @now (NULL: absent); false: answered. */
static bool conditions_hold(write_work *w, const mp__entry *now)
{
    mp__etag etag;

    if (now)
        mp__etag_make(now->revision, mp_blob_str(&now->blob.pub), &etag);
    if (w->if_match.data && !mp__etag_matches(w->if_match, now ? &etag : NULL, false)) {
        answer_precondition(w->x, now ? now->revision : 0,
                            now ? "what If-Match names is not the present value"
                                : "If-Match wants a value and there is none");
        return false;
    }
    if (w->if_none_match.data && mp__etag_matches(w->if_none_match, now ? &etag : NULL, true)) {
        answer_precondition(w->x, now ? now->revision : 0,
                            "If-None-Match names the present value, or any, and there is one");
        return false;
    }
    return true;
}

/* The change shall happen to what was read, or not at all: to what stands in the layer itself, a
 * mask included (@own), and to a value of another layer (@now). False: answered. */
static bool bind_to(write_work *w, const mp__entry *now, const mp__entry *own)
{
    w->changes[0].flags &= ~(unsigned)(MP__IF_ABSENT | MP__IF_REVISION);
    w->changes[0].flags |= own ? MP__IF_REVISION : MP__IF_ABSENT;
    w->changes[0].if_revision = own ? own->revision : 0;
    w->changes[1] = (mp__change){0};
    if (now && now != own) {
        mp_str address = mp__entry_address(now);
        char *copy = mp__exchange_memory(w->x, address.size);

        if (!copy) {
            mp__answer_no_memory(w->x);
            return false;
        }
        memcpy(copy, address.data, address.size);
        w->changes[1] = (mp__change){.op = MP__CHANGE_CHECK,
                                     .flags = MP__IF_REVISION,
                                     .address = mp_str_new(copy, address.size),
                                     .if_revision = now->revision};
    }
    return true;
}

/* What is to be written is known. */
static void go_on(write_work *w, const mp__entry *now, const mp__entry *own)
{
    if (w->dry_run) {
        w->would = mp__http_would(&w->changes[0], own);
        w->revision = own ? own->revision : 0;
        write_it(w);
    } else if (bind_to(w, now, own)) {
        write_it(w);
    }
}

static void patch_run(mp__job *job)
{
    write_work *w = (write_work *)job;
    mp_str target = w->now ? mp_blob_str(&w->now->blob.pub) : (mp_str){NULL, 0};

    w->patched = (mp__buf){.size_max = VALUE_MAX};
    w->diag = (mp__diag){0};
    w->status = w->kind == MERGE_PATCH ? mp__merge_patch(target, w->patch, &w->patched, &w->diag)
                                       : mp__json_patch(target, w->patch, &w->patched, &w->diag);
}

/* The patched value becomes the change's. */
static void patch_done(mp__job *job)
{
    write_work *w = (write_work *)job;
    const mp__entry *held = w->held, *now = w->now, *own = w->own;
    mp__buf patched = w->patched; /* @w goes with an answer */
    mp_str value = mp__buf_str(&patched), type = now ? mp__entry_media_type(now) : MP_STR("");
    char *copy;

    if (!mp__media_is_json(type))
        type = MP_STR("application/json");
    w->held = w->now = w->own = NULL;
    w->patched = (mp__buf){0};
    if (w->status) {
        mp__diag diag = w->diag;

        answer_patch_error(w->x, w->status, &diag);
    } else if ((copy = mp__exchange_memory(w->x, value.size + type.size)) == NULL) {
        mp__answer_no_memory(w->x);
    } else {
        if (value.size)
            memcpy(copy, value.data, value.size);
        w->changes[0].value = mp_str_new(copy, value.size);
        if (type.size)
            memcpy(copy + value.size, type.data, type.size);
        w->changes[0].media_type = mp_str_new(copy + value.size, type.size);
        go_on(w, now, own);
    }
    mp__buf_done(&patched);
    (void)mp__entry_unref(held);
}

/* @now: the value that readers of the scope get, @own: what stands in it; each NULL or @held, a
 * reference that is taken over. */
static void decide(write_work *w, const mp__entry *held, const mp__entry *now, const mp__entry *own)
{
    if (!conditions_hold(w, now)) {
        (void)mp__entry_unref(held);
        return;
    }
    w->finds_none = !own;
    if (w->kind == DELETE && !own && (w->conditional || !w->dry_run)) {
        answer_absent(w->x);
    } else if (is_patch(w)) {
        size_t bytes = w->x->request.body.size + (now ? mp_blob_str(&now->blob.pub).size : 0);

        w->held = held;
        w->now = now;
        w->own = own;
        w->patch = w->x->request.body;
        w->job = (mp__job){.x = w->x, .run = patch_run, .done = patch_done};
        mp__job_start(&w->job, bytes);
        return;
    } else {
        go_on(w, now, own);
    }
    (void)mp__entry_unref(held);
}

static void have_read(write_work *w)
{
    const mp__entry *entry = w->read.entry, *own = mp__http_own(&w->read);

    w->read.entry = NULL;
    if (w->read.status == 0) {
        decide(w, entry, entry, own);
        return;
    }
    if (w->read.status == MP_EABSENT) {
        decide(w, entry, NULL, own);
        return;
    }
    if (w->dry_run && !w->conditional && !is_patch(w))
        write_it(w); /* which would not have read: what it is answered counts */
    else
        mp__http_answer_read_error(w->x, &w->read);
    (void)mp__entry_unref(entry);
}

static void read_done(mp__read *read)
{
    have_read(read->context);
}

static void start(write_work *w)
{
    w->tries++;
    if (w->conditional || w->dry_run || is_patch(w)) {
        w->read.loop = w->x->worker->loop;
        w->read.identity = &w->x->identity;
        w->read.level = MP__LEVEL_STRONG;
        w->read.age_max_ms = -1;
        w->read.own_layer = !w->conditional && !is_patch(w); /* nothing depends on the others */
        w->read.done = read_done;
        w->read.context = w;
        if (mp__read_start(w->x->worker->server->manager, &w->read))
            have_read(w);
    } else {
        write_it(w);
    }
}

/* ---- the handlers ---- */

enum { TTL = MP__PLACE_COUNT, DRY_RUN, MASK, PARAMETERS };

static void run(mp__exchange *x, enum write_kind kind)
{
    mp__parameter p[PARAMETERS] = {
        MP__PLACE_PARAMETERS, [TTL] = {"ttl"}, [DRY_RUN] = {"dry_run"}, [MASK] = {"mask"}};
    write_work *w = mp__exchange_memory(x, sizeof(*w));
    char scope_text[MP__SCOPE_MAX];
    int64_t ttl_ms = 0;
    bool mask = false;
    mp_str scope;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    w->x = x;
    w->kind = kind;
    if (!mp__http_parameters(x, p, kind == DELETE ? PARAMETERS : MASK) ||
        !mp__http_scope(x, p, scope_text, &scope) ||
        !mp__http_address(x, scope, x->values[0], x->values[1], w->address, &w->read.address) ||
        !mp__http_ttl_of(x, &p[TTL], &ttl_ms) || !mp__http_flag_of(x, &p[DRY_RUN], &w->dry_run) ||
        !mp__http_flag_of(x, &p[MASK], &mask) ||
        (kind == PUT && !mp__http_media_type(x, &w->changes[0].media_type)) ||
        !mp__http_etags_of(x, "If-Match", &w->if_match) ||
        !mp__http_etags_of(x, "If-None-Match", &w->if_none_match))
        return;
    if (mask) { /* a value like any other, which readers do not see */
        w->kind = kind = PUT;
        w->changes[0].media_type = MP_STR(MP__MEDIA_MASK);
    }
    w->read.hash = mp__cache_hash(x->worker->hasher, w->read.address);
    w->conditional = w->if_match.data || w->if_none_match.data;
    w->changes[0].op = kind == DELETE ? MP__CHANGE_DELETE : MP__CHANGE_PUT;
    w->changes[0].address = w->read.address;
    w->changes[0].value = x->request.body;
    if (kind != DELETE && ttl_ms)
        w->changes[0].expires_ms = mp__env_wall_ms(x->worker->server->env) + ttl_ms;
    else if (kind != DELETE)
        w->changes[0].flags = MP__IF_CHANGED;
    if (is_patch(w) && !ttl_ms) /* it is the same value, in part another */
        w->changes[0].flags |= MP__KEEP_EXPIRY;
    start(w);
}

void mp__http_config_put(mp__exchange *x)
{
    run(x, PUT);
}

void mp__http_config_delete(mp__exchange *x)
{
    run(x, DELETE);
}

static bool is_type(mp_str type, const char *name)
{
    return type.size >= strlen(name) && memcmp(type.data, name, strlen(name)) == 0 &&
           (type.size == strlen(name) || type.data[strlen(name)] == ';');
}

void mp__http_config_patch(mp__exchange *x)
{
    mp_str type;

    if (!mp__http_media_type(x, &type))
        return;
    if (is_type(type, "application/merge-patch+json"))
        run(x, MERGE_PATCH);
    else if (is_type(type, "application/json-patch+json"))
        run(x, JSON_PATCH);
    else
        mp__answer_problem(x, &(mp__problem){.status = 415,
                                             .type = "patch-type",
                                             .detail = "this Content-Type is no patch",
                                             .remedy =
                                                 "use application/merge-patch+json (RFC 7396) or "
                                                 "application/json-patch+json (RFC 6902)",
                                             .accept_patch = true});
}
