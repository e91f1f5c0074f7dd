/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/txn: many changes, all or none, if all comparisons hold.
 *
 *     body -> changes -> write -> durable -> answer
 *                |
 *                +- dry run: what a write asks first -> what stands there -> what rollbacks would
 *                   bring back -> the comparisons -> answer */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base64.h"
#include "schema/tree.h"
#include "server/http/collect.h"

enum { OPS_MAX = 1000 };

typedef struct txn_work {
    mp__exchange *x;
    mp__write_request write;
    size_t compares; /* the first of the changes */
    /* of a dry run */
    mp__gather *gather;     /* what is there now */
    const char **would;     /* what each change would do */
    mp__query then;         /* the value that a rollback would bring back */
    size_t rolled_at;       /* of the changes: the rollback at work */
    const mp__entry **held; /* of the gather, given back when all is answered */
} txn_work;

/* "compare[3]" or "ops[0]" of the i-th change. */
static void name_change(const txn_work *w, size_t i, char *out, size_t capacity)
{
    if (i < w->compares)
        (void)snprintf(out, capacity, "compare[%zu]", i);
    else
        (void)snprintf(out, capacity, "ops[%zu]", i - w->compares);
}

static mp_str to_memory(mp__exchange *x, mp_str bytes)
{
    char *copy = mp__exchange_memory(x, bytes.size + 1);

    if (copy && bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    return mp_str_new(copy, bytes.size);
}

/* The value of a put: one of "value" (text), "value_base64" (bytes), "json" (any JSON). */
static bool take_value(mp__exchange *x, const json_t *op, const char *where, mp__change *change)
{
    const json_t *text = json_object_get(op, "value"), *json = json_object_get(op, "json");
    const json_t *bytes = json_object_get(op, "value_base64");
    mp__buf made = MP__BUF_INIT;
    bool good = true;

    if ((text != NULL) + (json != NULL) + (bytes != NULL) != 1 || (text && !json_is_string(text)) ||
        (bytes && !json_is_string(bytes))) {
        mp__answer_invalid(x, "%s: a put has one of value (a text), value_base64 and json", where);
        return false;
    }
    if (bytes)
        good = mp__base64_decode(mp__http_json_text(bytes), false, &made);
    else if (json)
        (void)mp__tree_print(json, &made);
    else
        (void)mp__buf_add_str(&made, mp__http_json_text(text));
    if (json)
        change->media_type = MP_STR("application/json");
    change->value = to_memory(x, mp__buf_str(&made));
    if (!good && !made.error)
        mp__answer_invalid(x, "%s: value_base64 is no base64", where);
    else if (made.error || !change->value.data)
        mp__answer_no_memory(x);
    good = good && !made.error && change->value.data;
    mp__buf_done(&made);
    return good;
}

static bool take_put(mp__exchange *x, const json_t *op, const char *where, mp__change *change)
{
    const json_t *type = json_object_get(op, "media_type"), *ttl = json_object_get(op, "ttl");
    mp__parameter duration = {"ttl", mp__http_json_text(ttl)};
    int64_t ttl_ms = 0;

    if ((type && (!json_is_string(type) || json_string_length(type) > MP__MEDIA_TYPE_MAX)) ||
        (ttl && !json_is_string(ttl))) {
        mp__answer_invalid(x, "%s: media_type and ttl (\"30s\") are short texts", where);
        return false;
    }
    if (!take_value(x, op, where, change) || !mp__http_ttl_of(x, &duration, &ttl_ms))
        return false;
    for (size_t i = 0; type && i < json_string_length(type); i++) {
        unsigned char c = (unsigned char)json_string_value(type)[i];

        if (c <= 0x20 || c >= 0x7f) {
            mp__answer_invalid(x, "%s: a media_type has visible ASCII characters only", where);
            return false;
        }
    }
    if (type) {
        change->media_type = to_memory(x, mp__http_json_text(type));
        if (!change->media_type.data) {
            mp__answer_no_memory(x);
            return false;
        }
    }
    change->op = MP__CHANGE_PUT;
    change->flags = ttl_ms ? 0 : MP__IF_CHANGED;
    change->expires_ms = ttl_ms ? mp__env_wall_ms(x->worker->server->env) + ttl_ms : 0;
    return true;
}

static bool take_op(mp__exchange *x, const json_t *op, const char *where, mp__change *change)
{
    static const char *const put[] = {"op",   "namespace",  "key", "value", "value_base64",
                                      "json", "media_type", "ttl", NULL};
    static const char *const delete_[] = {"op", "namespace", "key", NULL};
    static const char *const rollback[] = {"op", "namespace", "key", "to", NULL};
    mp_str kind = mp__http_json_text(json_object_get(op, "op"));
    const json_t *to = json_object_get(op, "to");

    if (mp_str_equal(kind, MP_STR("put")))
        return mp__http_json_members(x, op, where, put) && take_put(x, op, where, change);
    if (mp_str_equal(kind, MP_STR("delete"))) {
        change->op = MP__CHANGE_DELETE;
        return mp__http_json_members(x, op, where, delete_);
    }
    if (!mp_str_equal(kind, MP_STR("rollback"))) {
        mp__answer_invalid(x, "%s: op is put, delete or rollback", where);
        return false;
    }
    if (!mp__http_json_members(x, op, where, rollback))
        return false;
    if (!json_is_integer(to) || json_integer_value(to) < 1) {
        mp__answer_invalid(x, "%s: a rollback names its revision as \"to\"", where);
        return false;
    }
    change->op = MP__CHANGE_ROLLBACK;
    change->flags = MP__IF_CHANGED;
    change->to_revision = (uint64_t)json_integer_value(to);
    return true;
}

static bool take_compare(mp__exchange *x, const json_t *compare, const char *where,
                         mp__change *change)
{
    static const char *const names[] = {"namespace", "key", "revision", "absent", "present", NULL};
    const json_t *revision = json_object_get(compare, "revision");
    const json_t *absent = json_object_get(compare, "absent");
    const json_t *present = json_object_get(compare, "present");

    if (!mp__http_json_members(x, compare, where, names))
        return false;
    if ((revision != NULL) + (absent != NULL) + (present != NULL) != 1 ||
        (absent && !json_is_true(absent)) || (present && !json_is_true(present)) ||
        (revision && (!json_is_integer(revision) || json_integer_value(revision) < 1))) {
        mp__answer_invalid(x,
                           "%s: a comparison is one of revision (a number from 1), absent: true "
                           "and present: true",
                           where);
        return false;
    }
    change->op = MP__CHANGE_CHECK;
    change->flags = revision ? MP__IF_REVISION : absent ? MP__IF_ABSENT : MP__IF_PRESENT;
    change->if_revision = revision ? (uint64_t)json_integer_value(revision) : 0;
    return true;
}

/* False: answered. */
static bool take_changes(txn_work *w, mp_str scope, const json_t *compare, const json_t *ops)
{
    for (size_t i = 0; i < w->write.count; i++) {
        bool is_op = i >= w->compares;
        const json_t *item =
            is_op ? json_array_get(ops, i - w->compares) : json_array_get(compare, i);
        mp__change *change = &w->write.changes[i];
        char where[32];

        name_change(w, i, where, sizeof(where));
        if (!json_is_object(item)) {
            mp__answer_invalid(w->x, "%s is an object", where);
            return false;
        }
        if (!(is_op ? take_op : take_compare)(w->x, item, where, change) ||
            !mp__http_json_address(w->x, item, where, scope, &change->address))
            return false;
    }
    return true;
}

static int by_address(const void *a, const void *b)
{
    mp_str x = (*(const mp__change *const *)a)->address;
    mp_str y = (*(const mp__change *const *)b)->address;
    int c = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);

    return c ? c : (x.size > y.size) - (x.size < y.size);
}

/* One key is changed once: what two changes of it in one transaction mean nobody should have to
 * find out. False: answered. */
static bool each_once(const txn_work *w)
{
    size_t n = w->write.count - w->compares;
    const mp__change **sorted = mp__exchange_memory(w->x, (n ? n : 1) * sizeof(mp__change *));

    if (!sorted) {
        mp__answer_no_memory(w->x);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = &w->write.changes[w->compares + i];
    qsort(sorted, n, sizeof(mp__change *), by_address);
    for (size_t i = 1; i < n; i++)
        if (mp_str_equal(sorted[i - 1]->address, sorted[i]->address)) {
            mp_str name = mp__http_name_of(sorted[i]->address);

            mp__answer_invalid(w->x, "ops: %.*s is changed twice", (int)name.size, name.data);
            return false;
        }
    return true;
}

/* ---- answers ---- */

static const char *op_name(const mp__change *change)
{
    return change->op == MP__CHANGE_PUT      ? "put"
           : change->op == MP__CHANGE_DELETE ? "delete"
                                             : "rollback";
}

static void answer_failed(txn_work *w, size_t at, uint64_t revision, const char *why)
{
    const mp__change *change = &w->write.changes[at];
    mp_str name = mp__http_name_of(change->address);
    char where[32], detail[400 + MP__SCOPE_MAX];

    name_change(w, at, where, sizeof(where));
    (void)snprintf(detail, sizeof(detail), "%s: %.*s %s in %.*s; nothing was changed", where,
                   (int)(name.size < 200 ? name.size : 200), name.data, why,
                   (int)mp__scope_size(change->address), change->address.data);
    mp__answer_problem(w->x, &(mp__problem){.status = 412,
                                            .type = "precondition",
                                            .detail = detail,
                                            .remedy = "read the present values of that very layer "
                                                      "(?effective=false) and decide anew",
                                            .last_known_revision = revision});
}

static const char *why_of(const mp__change *change, int status)
{
    if (change->op == MP__CHANGE_ROLLBACK)
        return "had no value at that revision";
    return status == MP_EEXISTS   ? "is there"
           : status == MP_EABSENT ? "is absent"
                                  : "is at another revision";
}

/* The same of what the commit found: a condition on a revision does not tell that there is none. */
static const char *why_it_failed(const mp__change *change)
{
    bool is_absent = change->status == MP_ECONFLICT && change->after.kind == MP__RECORD_ABSENT;

    return why_of(change, is_absent ? MP_EABSENT : change->status);
}

static void add_results(mp__buf *body, const txn_work *w)
{
    mp__json_key(body, "results");
    mp__json_begin(body, '[');
    for (size_t i = w->compares; i < w->write.count; i++) {
        const mp__change *change = &w->write.changes[i];

        mp__json_begin(body, '{');
        mp__json_add_text(body, "op", op_name(change));
        mp__http_json_name(body, mp__http_name_of(change->address));
        mp__json_add_bool(body, "changed", change->changed);
        mp__json_add_u64(body, "revision", change->after.revision);
        mp__json_end(body, '}');
    }
    mp__json_end(body, ']');
}

static void start_reads(txn_work *w);

/* What schemas were warned of is told behind the reads, and was lent until then. False: no memory.
 */
static bool keep_warnings(txn_work *w)
{
    size_t size = w->write.warned_count * sizeof(*w->write.warned);
    mp__broken *copy = size ? mp__exchange_memory(w->x, size) : NULL;

    if (copy)
        memcpy(copy, w->write.warned, size);
    w->write.warned = copy;
    return !size || copy;
}

static void written(mp__write_request *request)
{
    txn_work *w = request->context;
    mp__exchange *x = w->x;
    mp__buf body = MP__BUF_INIT;

    for (size_t i = 0; request->status && !request->dry_run && i < request->count; i++) {
        const mp__change *change = &request->changes[i];

        if (change->status == request->status &&
            (request->status == MP_ECONFLICT || request->status == MP_EEXISTS ||
             request->status == MP_EABSENT)) {
            answer_failed(w, i, 0, why_it_failed(change));
            return;
        }
    }
    if (request->status) {
        mp__http_answer_write_error(x, request);
        return;
    }
    if (request->dry_run) {
        if (keep_warnings(w))
            start_reads(w);
        else
            mp__answer_no_memory(x);
        return;
    }
    mp__json_begin(&body, '{');
    mp__json_add_u64(&body, "revision", request->revision);
    add_results(&body, w);
    mp__http_add_warnings(&body, request);
    mp__json_end(&body, '}');
    mp__answer_json(x, 200, &body);
}

/* ---- a dry run: the same questions put to what is read ---- */

/* 0, or as the origin's commit would fail. */
static int holds(const mp__change *change, const mp__entry *own)
{
    if (change->flags & MP__IF_ABSENT)
        return own ? MP_EEXISTS : 0;
    if (!own)
        return MP_EABSENT;
    return (change->flags & MP__IF_PRESENT) || own->revision == change->if_revision ? 0
                                                                                    : MP_ECONFLICT;
}

static void answer_dry_run(txn_work *w)
{
    const mp__read *reads = w->gather->reads;
    mp__buf body = MP__BUF_INIT;

    mp__json_begin(&body, '{');
    mp__json_add_bool(&body, "dry_run", true);
    mp__json_key(&body, "results");
    mp__json_begin(&body, '[');
    for (size_t i = w->compares; i < w->write.count; i++) {
        const mp__entry *own = mp__http_own(&reads[i]);

        mp__json_begin(&body, '{');
        mp__json_add_text(&body, "op", op_name(&w->write.changes[i]));
        mp__http_json_name(&body, mp__http_name_of(w->write.changes[i].address));
        mp__json_add_text(&body, "would", w->would[i]);
        mp__json_add_u64(&body, "revision", own ? own->revision : 0);
        mp__json_end(&body, '}');
    }
    mp__json_end(&body, ']');
    mp__http_add_warnings(&body, &w->write);
    mp__json_end(&body, '}');
    mp__answer_json(w->x, 200, &body);
}

/* Answer with @answer, or what a read that failed says; the entries go back behind it, since the
 * answer ends the exchange and what is held in its memory. */
static void end_dry_run(txn_work *w, void (*answer)(txn_work *w), mp__read *failed)
{
    const mp__entry **held = w->held;
    size_t count = w->gather->count;

    if (failed)
        mp__http_answer_read_error(w->x, failed);
    else
        answer(w);
    for (size_t i = 0; i < count; i++)
        (void)mp__entry_unref(held[i]);
    (void)mp__free(held);
}

static void answer_comparison(txn_work *w)
{
    size_t i = 0;
    const mp__entry *own;

    while (holds(&w->write.changes[i], mp__http_own(&w->gather->reads[i])) == 0)
        i++;
    own = mp__http_own(&w->gather->reads[i]);
    answer_failed(w, i, own ? own->revision : 0,
                  why_of(&w->write.changes[i], holds(&w->write.changes[i], own)));
}

static void answer_no_value(txn_work *w)
{
    answer_failed(w, w->rolled_at, 0, why_of(&w->write.changes[w->rolled_at], MP_EABSENT));
}

static void answer_origin(txn_work *w)
{
    mp__answer_error(w->x, w->then.status, NULL);
}

static void next_rollback(txn_work *w);

/* The value that the rollback at work would bring back. */
static void then_came(mp__query *query)
{
    txn_work *w = query->context;
    const mp__list_item *then = query->count && !query->items[0].deleted ? query->items : NULL;
    const mp__entry *own = mp__http_own(&w->gather->reads[w->rolled_at]);
    void (*answer)(txn_work *) = query->status ? answer_origin : !then ? answer_no_value : NULL;
    mp__change change = {.op = MP__CHANGE_PUT, .flags = MP__IF_CHANGED};

    if (answer) {
        mp__query q = *query;

        end_dry_run(w, answer, NULL);
        mp__query_done(&q);
        return;
    }
    change.value = then->value;
    change.media_type = then->media_type;
    w->would[w->rolled_at] = mp__http_would(&change, own);
    mp__query_done(query);
    w->rolled_at++;
    next_rollback(w);
}

static void next_rollback(txn_work *w)
{
    for (; w->rolled_at < w->write.count; w->rolled_at++) {
        const mp__change *change = &w->write.changes[w->rolled_at];

        if (change->op != MP__CHANGE_ROLLBACK)
            continue;
        w->then = (mp__query){.kind = MP__QUERY_HISTORY,
                              .loop = w->x->worker->loop,
                              .identity = &w->x->identity,
                              .address = change->address,
                              .after = change->to_revision + 1,
                              .limit = 1,
                              .with_values = true,
                              .done = then_came,
                              .context = w};
        mp__query_start(w->x->worker->server->manager, &w->then);
        return;
    }
    end_dry_run(w, answer_dry_run, NULL);
}

static void gathered(mp__gather *gather)
{
    txn_work *w = gather->context;
    mp__read *failed = NULL;
    bool all_hold = true;

    w->held = mp__calloc(gather->count + 1, sizeof(*w->held));
    if (!w->held) {
        mp__gather_release(gather);
        mp__answer_no_memory(w->x);
        return;
    }
    for (size_t i = 0; i < gather->count; i++) {
        mp__read *read = &gather->reads[i];

        w->held[i] = read->entry;
        if (read->status && read->status != MP_EABSENT && !failed)
            failed = read;
        if (i < w->compares)
            all_hold = all_hold && holds(&w->write.changes[i], mp__http_own(read)) == 0;
        else
            w->would[i] = mp__http_would(&w->write.changes[i], mp__http_own(read));
    }
    if (failed || !all_hold)
        end_dry_run(w, answer_comparison, failed);
    else
        next_rollback(w);
}

/* What stands in the layer that would be written to. */
static void start_reads(txn_work *w)
{
    w->gather = mp__gather_new(w->x, w->write.count);
    w->would = mp__exchange_memory(w->x, w->write.count * sizeof(*w->would));
    if (!w->gather || !w->would) {
        mp__answer_no_memory(w->x);
        return;
    }
    for (size_t i = 0; i < w->write.count; i++) {
        w->gather->reads[i].address = w->write.changes[i].address;
        w->gather->reads[i].level = MP__LEVEL_STRONG;
        w->gather->reads[i].own_layer = true;
    }
    w->gather->context = w;
    w->gather->done = gathered;
    mp__gather_start(w->gather);
}

/* ---- the handler ---- */

/* The work that the body describes; NULL: answered. */
static txn_work *take_txn(mp__exchange *x, mp_str scope, const json_t *body)
{
    const json_t *compare = json_object_get(body, "compare"), *ops = json_object_get(body, "ops");
    size_t count = json_array_size(compare) + json_array_size(ops);
    txn_work *w;

    if ((compare && !json_is_array(compare)) || !json_is_array(ops) || count > OPS_MAX ||
        json_array_size(ops) == 0) {
        mp__answer_invalid(x,
                           "ops is a list of at least one change, compare one of conditions; "
                           "together at most %d",
                           OPS_MAX);
        return NULL;
    }
    w = mp__exchange_memory(x, sizeof(*w));
    if (w) {
        w->x = x;
        w->compares = json_array_size(compare);
        w->write.count = count;
        w->write.changes = mp__exchange_memory(x, count * sizeof(*w->write.changes));
    }
    if (!w || !w->write.changes) {
        mp__answer_no_memory(x);
        return NULL;
    }
    return take_changes(w, scope, compare, ops) && each_once(w) ? w : NULL;
}

void mp__http_txn(mp__exchange *x)
{
    static const char *const names[] = {"compare", "ops", NULL};
    enum { DRY_RUN = MP__PLACE_COUNT, PARAMETERS };
    mp__parameter p[PARAMETERS] = {MP__PLACE_PARAMETERS, [DRY_RUN] = {"dry_run"}};
    char scope_text[MP__SCOPE_MAX];
    json_t *body;
    bool dry_run = false;
    mp_str scope;
    txn_work *w;

    if (!mp__http_parameters(x, p, PARAMETERS) || !mp__http_scope(x, p, scope_text, &scope) ||
        !mp__http_flag_of(x, &p[DRY_RUN], &dry_run) || !mp__http_json_body(x, names, &body))
        return;
    w = take_txn(x, scope, body);
    json_decref(body);
    if (!w)
        return;
    w->write.dry_run = dry_run;
    w->write.wants_revision = true;
    w->write.loop = x->worker->loop;
    w->write.source = x->connection;
    w->write.identity = &x->identity;
    w->write.done = written;
    w->write.context = w;
    mp__write_start(x->worker->server->manager, &w->write);
}
