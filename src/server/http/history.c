/* SPDX-License-Identifier: Apache-2.0 */
/* The past of one key: its revisions, back to one of them, and why a read answers as it does. */
#include <inttypes.h>

#include "server/http/collect.h"

/* ---- GET /v1/history/{namespace}/{key...} ---- */

/* Of values, after which a page ends: what is printed must be held, and holds up the loop. */
enum { PAGE_BYTES = 1024 * 1024 };

typedef struct history_work {
    mp__query query;
    bool with_values;
    char address[MP__ADDRESS_MAX];
} history_work;

static void add_revision(mp__buf *body, const mp__list_item *item, bool with_values)
{
    mp__json_begin(body, '{');
    mp__json_add_u64(body, "revision", item->revision);
    mp__json_add_bool(body, "deleted", item->deleted);
    if (!item->deleted) {
        mp__json_add_u64(body, "version", item->version);
        mp__json_add_string(body, "media_type", item->media_type);
        if (with_values)
            mp__json_add_bytes(body, "value", item->value);
    }
    mp__json_add_i64(body, "at_ms", item->modified_ms);
    if (item->expires_ms)
        mp__json_add_i64(body, "expires_ms", item->expires_ms);
    mp__json_add_string(body, "actor", item->actor);
    mp__json_end(body, '}');
}

static void answer_history(mp__exchange *x, const mp__query *query, bool with_values)
{
    mp__buf body = MP__BUF_INIT;

    if (query->status) {
        mp__answer_error(x, query->status, NULL);
        return;
    }
    if (!query->count && !query->after) { /* behind a last page there is nothing, and no error */
        mp__answer_problem(x, &(mp__problem){.status = 404,
                                             .type = "absent",
                                             .detail = "this key never existed in this layer",
                                             .remedy = "/v1/explain/... shows each layer of a key; "
                                                       "the list of the namespace what there is"});
        return;
    }
    mp__json_begin(&body, '{');
    mp__json_add_string(&body, "namespace", x->values[0]);
    mp__json_add_string(&body, "key", x->values[1]);
    mp__json_key(&body, "revisions");
    mp__json_begin(&body, '[');
    for (size_t i = 0; i < query->count; i++)
        add_revision(&body, &query->items[i], with_values);
    mp__json_end(&body, ']');
    if (query->next)
        mp__json_add_u64(&body, "next_before", query->next);
    mp__json_end(&body, '}');
    (void)mp__buf_add_char(&body, '\n');
    mp__http_answer_tagged(x, MP_STR("application/json"), &body, 0, NULL,
                           mp__checksum(0, body.data, body.size));
}

static void history_done(mp__query *query)
{
    history_work *w = (history_work *)query;
    mp__query q = *query; /* the exchange's memory goes with the answer */

    answer_history(q.context, &q, w->with_values);
    mp__query_done(&q);
}

void mp__http_history(mp__exchange *x)
{
    enum { LIMIT = MP__PLACE_COUNT, BEFORE, VALUES, PARAMETERS };
    mp__parameter p[PARAMETERS] = {
        MP__PLACE_PARAMETERS, [LIMIT] = {"limit"}, [BEFORE] = {"before"}, [VALUES] = {"values"}};
    history_work *w = mp__exchange_memory(x, sizeof(*w));
    char scope_text[MP__SCOPE_MAX];
    uint64_t limit = 100;
    mp_str scope;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (!mp__http_parameters(x, p, PARAMETERS) || !mp__http_scope(x, p, scope_text, &scope) ||
        !mp__http_address(x, scope, x->values[0], x->values[1], w->address, &w->query.address) ||
        !mp__http_number_of(x, &p[LIMIT], 1, 1000, &limit) ||
        !mp__http_number_of(x, &p[BEFORE], 1, INT64_MAX, &w->query.after) ||
        !mp__http_flag_of(x, &p[VALUES], &w->with_values))
        return;
    w->query.kind = MP__QUERY_HISTORY;
    w->query.loop = x->worker->loop;
    w->query.identity = &x->identity;
    w->query.limit = (uint32_t)limit;
    w->query.with_values = w->with_values;
    w->query.bytes_max = w->with_values ? PAGE_BYTES : 0;
    w->query.gone = &x->gone;
    w->query.done = history_done;
    w->query.context = x;
    mp__query_start(x->worker->server->manager, &w->query);
}

/* ---- POST /v1/rollback/{namespace}/{key...}?to=REVISION ---- */

typedef struct rollback_work {
    mp__exchange *x;
    mp__write_request write;
    mp__change change;
    mp__query now, then; /* with conditions, or a dry run: what is there, what would be */
    mp_str if_match;
    bool dry_run;
    const char *would; /* of a dry run: what the write would do; NULL: it had no value then */
    uint64_t revision; /* of a dry run: of what stands there now */
    char address[MP__ADDRESS_MAX];
} rollback_work;

static void answer_no_revision(mp__exchange *x)
{
    mp__answer_problem(x, &(mp__problem){.status = 404,
                                         .type = "no-such-revision",
                                         .detail = "this key had no value at that revision",
                                         .remedy = "GET /v1/history/NAMESPACE/KEY lists its "
                                                   "revisions"});
}

static void answer_rollback_dry_run(const rollback_work *w)
{
    mp__buf body = MP__BUF_INIT;

    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "dry_run", true);
    mp__json_add_text(&body, "would", w->would);
    mp__json_add_u64(&body, "revision", w->revision);
    mp__json_add_u64(&body, "restored", w->change.to_revision);
    mp__json_end(&body, '}');
    mp__answer_json(w->x, 200, &body);
}

static void rollback_done(mp__write_request *request)
{
    rollback_work *w = request->context;
    mp__exchange *x = w->x;
    mp__buf body = MP__BUF_INIT;

    if (w->dry_run && request->status == 0) {
        if (w->would)
            answer_rollback_dry_run(w);
        else
            answer_no_revision(x);
        return;
    }
    if (request->status == MP_ECONFLICT) {
        mp__answer_problem(x, &(mp__problem){.status = 412,
                                             .type = "precondition",
                                             .detail = "the value was changed meanwhile",
                                             .remedy = "read it again and decide anew"});
        return;
    }
    if (request->status == MP_EABSENT || (request->status == 0 && w->change.status == MP_EABSENT)) {
        answer_no_revision(x);
        return;
    }
    if (request->status) {
        mp__http_answer_write_error(x, request);
        return;
    }
    mp__json_begin(&body, '{');
    mp__json_add_u64(&body, "revision", w->change.after.revision);
    mp__json_add_u64(&body, "restored", w->change.to_revision);
    mp__json_add_bool(&body, "changed", w->change.changed);
    mp__json_end(&body, '}');
    mp__answer_json(x, 200, &body);
}

static void rollback_write(rollback_work *w)
{
    w->write.loop = w->x->worker->loop;
    w->write.source = w->x->connection;
    w->write.identity = &w->x->identity;
    w->write.changes = &w->change;
    w->write.count = 1;
    w->write.dry_run = w->dry_run;
    w->write.done = rollback_done;
    w->write.context = w;
    mp__write_start(w->x->worker->server->manager, &w->write);
}

static const mp__list_item *value_of(const mp__query *query)
{
    return query->count && !query->items[0].deleted ? &query->items[0] : NULL;
}

/* What a rollback brings back stays, whatever ended then. */
static bool is_same(const mp__list_item *now, const mp__list_item *then)
{
    return now->expires_ms == 0 && mp__http_same_item(now, then);
}

/* Both queries came: decide. They are done with when this returns. */
static void rollback_decide(rollback_work *w)
{
    const mp__list_item *now = value_of(&w->now), *then = value_of(&w->then);
    int status = w->now.status ? w->now.status : w->then.status;
    mp__etag etag;

    if (now)
        mp__etag_make(now->revision, now->value, &etag);
    if (status) {
        mp__answer_error(w->x, status, NULL);
    } else if (w->if_match.data && !mp__etag_matches(w->if_match, now ? &etag : NULL, false)) {
        mp__answer_problem(w->x, &(mp__problem){.status = 412,
                                                .type = "precondition",
                                                .detail = "what If-Match names is not the present "
                                                          "value",
                                                .remedy = "read it again and decide anew",
                                                .last_known_revision = now ? now->revision : 0});
    } else if (!then && (w->if_match.data || !w->dry_run)) {
        answer_no_revision(w->x);
    } else if (w->dry_run) {
        w->would = !then ? NULL : !now ? "create" : is_same(now, then) ? "nothing" : "change";
        w->revision = now ? now->revision : 0;
        rollback_write(w);
    } else {
        w->change.flags |= now ? MP__IF_REVISION : MP__IF_ABSENT;
        w->change.if_revision = now ? now->revision : 0;
        rollback_write(w);
    }
}

static void then_came(mp__query *query)
{
    rollback_work *w = query->context;
    mp__query now = w->now, then = *query; /* the exchange's memory may go with the answer */

    rollback_decide(w);
    mp__query_done(&now);
    mp__query_done(&then);
}

static void ask_history(rollback_work *w, mp__query *query, uint64_t before,
                        void (*done)(mp__query *query))
{
    query->kind = MP__QUERY_HISTORY;
    query->loop = w->x->worker->loop;
    query->identity = &w->x->identity;
    query->address = w->change.address;
    query->after = before;
    query->limit = 1;
    query->with_values = true;
    query->done = done;
    query->context = w;
    mp__query_start(w->x->worker->server->manager, query);
}

static void now_came(mp__query *query)
{
    rollback_work *w = query->context;

    ask_history(w, &w->then, w->change.to_revision + 1, then_came);
}

void mp__http_rollback(mp__exchange *x)
{
    enum { TO = MP__PLACE_COUNT, DRY_RUN, PARAMETERS };
    mp__parameter p[PARAMETERS] = {MP__PLACE_PARAMETERS, [TO] = {"to"}, [DRY_RUN] = {"dry_run"}};
    rollback_work *w = mp__exchange_memory(x, sizeof(*w));
    char scope_text[MP__SCOPE_MAX];
    mp_str scope;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    w->x = x;
    if (!mp__http_parameters(x, p, PARAMETERS) || !mp__http_scope(x, p, scope_text, &scope) ||
        !mp__http_address(x, scope, x->values[0], x->values[1], w->address, &w->change.address) ||
        !mp__http_number_of(x, &p[TO], 1, INT64_MAX - 1, &w->change.to_revision) ||
        !mp__http_flag_of(x, &p[DRY_RUN], &w->dry_run) ||
        !mp__http_etags_of(x, "If-Match", &w->if_match))
        return;
    if (!w->change.to_revision) {
        mp__answer_invalid(x, "say which revision shall be the newest again: ?to=REVISION");
        return;
    }
    w->change.op = MP__CHANGE_ROLLBACK;
    w->change.flags = MP__IF_CHANGED;
    if (w->dry_run || w->if_match.data)
        ask_history(w, &w->now, 0, now_came);
    else
        rollback_write(w);
}

/* ---- GET /v1/explain/{namespace}/{key...} ---- */

void mp__http_explain(mp__exchange *x)
{
    mp__parameter p[] = {MP__PLACE_PARAMETERS};
    char scope_text[MP__SCOPE_MAX], text[MP__ADDRESS_MAX];
    mp__buf body = MP__BUF_INIT;
    mp_str scope, address;
    int rc;

    if (!mp__http_parameters(x, p, MP__PLACE_COUNT) || !mp__http_scope(x, p, scope_text, &scope) ||
        !mp__http_address(x, scope, x->values[0], x->values[1], text, &address))
        return;
    rc = mp__access_check(mp__manager_access(x->worker->server->manager), &x->identity,
                          MP__RIGHT_READ, address, NULL);
    if (rc) {
        mp__answer_error(x, rc, NULL);
        return;
    }
    (void)mp__manager_explain(x->worker->server->manager, address,
                              mp__cache_hash(x->worker->hasher, address), &body);
    mp__answer_json(x, 200, &body);
}
