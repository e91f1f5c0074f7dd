/* SPDX-License-Identifier: Apache-2.0 */
/* What differs: one key or all of a prefix, between two revisions or two places. */
#include <inttypes.h>

#include "core/bytes.h"
#include "format/format.h"
#include "server/http/collect.h"

/* ---- parameters: the first side is the usual place, the second may be another ---- */

enum {
    FROM = MP__PLACE_COUNT,
    TO,
    TO_ENV,
    TO_REGION,
    TO_INSTANCE,
    EFFECTIVE,
    PREFIX,
    KEYS_ONLY,
    PARAMETERS
};

typedef struct side {
    char scope_text[MP__SCOPE_MAX];
    mp_str scope;
    uint64_t revision; /* 0: as it is */
} side;

/* False: answered. *ret_other: the second side is another place. */
static bool take_sides(mp__exchange *x, const mp__parameter *p, side *from, side *to,
                       bool *ret_other)
{
    mp__parameter place[MP__PLACE_COUNT];
    bool other = false;

    for (int i = 0; i < MP__PLACE_COUNT; i++) {
        place[i] = p[TO_ENV + i].value.data ? p[TO_ENV + i] : p[i];
        other |= p[TO_ENV + i].value.data != NULL;
    }
    *ret_other = other;
    return mp__http_scope(x, p, from->scope_text, &from->scope) &&
           mp__http_scope(x, place, to->scope_text, &to->scope) &&
           mp__http_number_of(x, &p[FROM], 1, INT64_MAX, &from->revision) &&
           mp__http_number_of(x, &p[TO], 1, INT64_MAX, &to->revision);
}

static void add_side(mp__buf *body, const char *name, mp_str scope, uint64_t revision)
{
    mp__json_key(body, name);
    mp__json_begin(body, '{');
    mp__json_add_string(body, "environment", scope);
    mp__json_add_u64(body, "revision", revision);
    mp__json_end(body, '}');
}

/* One difference: what was there, what is there. */
static void add_values(mp__buf *body, const mp__list_item *from, const mp__list_item *to,
                       bool with_values)
{
    mp__json_add_text(body, "op", !from ? "add" : !to ? "remove" : "change");
    if (from) {
        mp__json_key(body, "from");
        mp__json_begin(body, '{');
        mp__http_json_item(body, from, with_values);
        mp__json_end(body, '}');
    }
    if (to) {
        mp__json_key(body, "to");
        mp__json_begin(body, '{');
        mp__http_json_item(body, to, with_values);
        mp__json_end(body, '}');
    }
}

/* ---- of a prefix ---- */

typedef struct prefix_work {
    mp__job job;
    side from, to;
    mp__walk *a, *b;
    bool keys_only, same_place, effective;
    int left;
    mp__buf body;
} prefix_work;

static void add_difference(prefix_work *w, mp_str name, const mp__list_item *from,
                           const mp__list_item *to)
{
    mp__json_begin(&w->body, '{');
    mp__http_json_name(&w->body, name);
    add_values(&w->body, from, to, !w->keys_only);
    mp__json_end(&w->body, '}');
}

/* Both walks are in the order of names: one pass over both. */
static void merge(prefix_work *w, uint64_t counts[4])
{
    const mp__walk *a = w->a, *b = w->b;
    size_t i = 0, k = 0;

    while (i < a->count || k < b->count) {
        int c = i == a->count   ? 1
                : k == b->count ? -1
                                : mp__bytes_order(a->items[i].name, b->items[k].name);

        if (c < 0) {
            counts[1]++;
            add_difference(w, a->items[i].name, a->items[i].item, NULL);
        } else if (c > 0) {
            counts[0]++;
            add_difference(w, b->items[k].name, NULL, b->items[k].item);
        } else if ((w->same_place && a->items[i].item->revision == b->items[k].item->revision) ||
                   mp__http_same_item(a->items[i].item, b->items[k].item)) {
            counts[3]++;
        } else {
            counts[2]++;
            add_difference(w, a->items[i].name, a->items[i].item, b->items[k].item);
        }
        i += c <= 0;
        k += c >= 0;
    }
}

static void prefix_run(mp__job *job)
{
    prefix_work *w = (prefix_work *)job;
    uint64_t counts[4] = {0};

    mp__json_begin(&w->body, '{');
    add_side(&w->body, "from", w->from.scope, w->a->as_of);
    add_side(&w->body, "to", w->to.scope, w->b->as_of);
    mp__walk_doubt(w->a);
    mp__walk_doubt(w->b);
    mp__json_add_bool(&w->body, "stale",
                      w->a->stale || w->a->in_doubt || w->b->stale || w->b->in_doubt);
    mp__json_key(&w->body, "changes");
    mp__json_begin(&w->body, '[');
    merge(w, counts);
    mp__json_end(&w->body, ']');
    mp__json_add_u64(&w->body, "added", counts[0]);
    mp__json_add_u64(&w->body, "removed", counts[1]);
    mp__json_add_u64(&w->body, "changed", counts[2]);
    mp__json_add_u64(&w->body, "same", counts[3]);
    mp__json_end(&w->body, '}');
}

static void prefix_done(mp__job *job)
{
    prefix_work *w = (prefix_work *)job;
    mp__exchange *x = w->job.x;
    mp__buf body = w->body;

    w->a = mp__walk_free(w->a);
    w->b = mp__walk_free(w->b);
    mp__answer_json(x, 200, &body);
}

static void walked(mp__walk *walk)
{
    prefix_work *w = walk->context;

    if (--w->left)
        return;
    if (w->a->status || w->b->status) {
        mp__walk *a = w->a, *b = w->b;

        mp__http_answer_walk_error(walk->x, a->status ? a : b);
        (void)mp__walk_free(a);
        (void)mp__walk_free(b);
        return;
    }
    mp__job_start(&w->job, w->a->bytes + w->b->bytes + (w->a->count + w->b->count) * 64);
}

static mp__walk *side_walk(prefix_work *w, const side *s, mp_str name)
{
    mp__walk *walk = mp__walk_new(w->job.x, s->scope, name);

    if (walk) {
        walk->whole = walk->with_values = true;
        walk->at_revision = s->revision;
        walk->is_past = s->revision > 0;
        walk->effective = w->effective;
        walk->context = w;
        walk->done = walked;
    }
    return walk;
}

void mp__http_diff_prefix(mp__exchange *x)
{
    mp__parameter p[PARAMETERS] = {
        MP__PLACE_PARAMETERS,  [FROM] = {"from"},           [TO] = {"to"},
        [TO_ENV] = {"to_env"}, [TO_REGION] = {"to_region"}, [TO_INSTANCE] = {"to_instance"},
        [PREFIX] = {"prefix"}, [KEYS_ONLY] = {"keys_only"}, [EFFECTIVE] = {"effective"}};
    prefix_work *w = mp__exchange_memory(x, sizeof(*w));
    mp__buf name = {.size_max = MP__WALK_NAME_MAX};
    bool other;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (!mp__http_parameters(x, p, PARAMETERS) || !take_sides(x, p, &w->from, &w->to, &other) ||
        !mp__http_flag_of(x, &p[KEYS_ONLY], &w->keys_only) ||
        !mp__http_flag_of(x, &p[EFFECTIVE], &w->effective))
        return;
    if (!other && !w->from.revision) {
        mp__answer_invalid(x, "say what is compared: ?from=REVISION, or another place with to_env, "
                              "to_region or to_instance");
        return;
    }
    (void)mp__buf_add_str(&name, x->values[0]);
    (void)mp__buf_add_char(&name, '/');
    if (p[PREFIX].value.size)
        (void)mp__buf_add_str(&name, p[PREFIX].value);
    w->job.x = x;
    w->job.run = prefix_run;
    w->job.prints = true;
    w->job.done = prefix_done;
    w->same_place = mp_str_equal(w->from.scope, w->to.scope);
    w->left = 2;
    if (name.error == MP_ELIMIT) {
        mp__buf_done(&name);
        mp__answer_invalid(x, "namespace and prefix are longer than any address");
        return;
    }
    w->a = side_walk(w, &w->from, mp__buf_str(&name));
    w->b = side_walk(w, &w->to, mp__buf_str(&name));
    mp__buf_done(&name);
    if (!w->a || !w->b) {
        (void)mp__walk_free(w->a);
        (void)mp__walk_free(w->b);
        mp__answer_no_memory(x);
        return;
    }
    mp__walk_start_both(w->a, w->b);
}

/* ---- of one key ---- */

typedef struct key_side {
    side at;
    mp__query query;
    mp__walk *walk; /* instead of the query, of what a reader gets */
    char address[MP__ADDRESS_MAX];
    const mp__list_item *item; /* NULL: absent */
} key_side;

typedef struct key_work {
    mp__job job;
    key_side from, to;
    bool effective;
    bool before; /* `from` is the revision before `to`, of the same answer */
    int left;
    mp__buf body;
} key_work;

/* The leaves of a value whose media type is a format's; false: it has none. */
static bool leaves_of(const mp__list_item *item, mp__leaves *leaves)
{
    mp__diag diag;

    for (const mp__format *const *f = mp__formats; item && *f; f++)
        if (mp_str_equal(item->media_type, mp_str_of((*f)->media_type)))
            return (*f)->parse(item->value, leaves, &diag) == 0 &&
                   mp__leaves_sort(leaves, &diag) == 0;
    return false;
}

/* @from, @to: one of them may be NULL. */
static void add_leaf(mp__buf *body, const char *op, mp_str path, const mp__leaf *from,
                     const mp__leaf *to)
{
    mp__json_begin(body, '{');
    mp__json_add_string(body, "path", path);
    mp__json_add_text(body, "op", op);
    if (from)
        mp__json_add_bytes(body, "from", from->value);
    if (to)
        mp__json_add_bytes(body, "to", to->value);
    mp__json_end(body, '}');
}

static void merge_leaves(mp__buf *body, const mp__leaves *a, const mp__leaves *b)
{
    size_t i = 0, k = 0;

    for (;;) {
        const mp__leaf *from = i < a->count ? &a->items[i] : NULL;
        const mp__leaf *to = k < b->count ? &b->items[k] : NULL;
        int c;

        if (!from && !to)
            return;
        c = !from ? 1 : !to ? -1 : mp__bytes_order(from->key, to->key);
        if (c < 0)
            add_leaf(body, "remove", from->key, from, NULL);
        else if (c > 0)
            add_leaf(body, "add", to->key, NULL, to);
        else if (!mp_str_equal(from->value, to->value) ||
                 !mp_str_equal(from->media_type, to->media_type))
            add_leaf(body, "change", from->key, from, to);
        i += c <= 0;
        k += c >= 0;
    }
}

/* What differs inside, where both values are of a format that has an inside. */
static void add_inside(mp__buf *body, const mp__list_item *from, const mp__list_item *to)
{
    mp__leaves a = {0}, b = {0};

    if (leaves_of(from, &a) && leaves_of(to, &b)) {
        mp__json_key(body, "changes");
        mp__json_begin(body, '[');
        merge_leaves(body, &a, &b);
        mp__json_end(body, ']');
    }
    mp__leaves_done(&a);
    mp__leaves_done(&b);
}

static void key_run(mp__job *job)
{
    key_work *w = (key_work *)job;
    const mp__list_item *from = w->from.item, *to = w->to.item;
    bool same = from == to || (from && to && mp__http_same_item(from, to));

    mp__json_begin(&w->body, '{');
    mp__http_json_name(&w->body, mp__http_name_of(w->from.query.address));
    mp__json_add_bool(&w->body, "different", !same);
    if (same)
        mp__json_add_text(&w->body, "op", "none");
    else
        add_values(&w->body, from, to, true);
    add_inside(&w->body, from, to);
    mp__json_end(&w->body, '}');
}

static void sides_done(key_side *from, key_side *to)
{
    mp__query_done(&from->query);
    mp__query_done(&to->query);
    from->walk = mp__walk_free(from->walk);
    to->walk = mp__walk_free(to->walk);
}

static void key_done(mp__job *job)
{
    key_work *w = (key_work *)job;
    mp__buf body = w->body;

    sides_done(&w->from, &w->to); /* they go with the answer */
    mp__answer_json(w->job.x, 200, &body);
}

/* The n-th revision of an answer: NULL where there is none, or it is a deletion. */
static const mp__list_item *item_of(const mp__query *query, size_t n)
{
    return n < query->count && !query->items[n].deleted ? &query->items[n] : NULL;
}

/* Both sides have come. */
static void sides_came(key_work *w, int status, bool was_ever)
{
    mp__exchange *x = w->job.x;
    size_t size = 0;

    if (status == 0 && was_ever) {
        size += w->from.item ? w->from.item->value.size : 0;
        size += w->to.item ? w->to.item->value.size : 0;
        mp__job_start(&w->job, size);
        return;
    }
    sides_done(&w->from, &w->to);
    if (status == MP_EINVAL)
        mp__http_answer_not_yet(x);
    else if (status)
        mp__answer_error(x, status, NULL);
    else
        mp__answer_problem(
            x, &(mp__problem){.status = 404,
                              .type = "absent",
                              .detail = w->effective ? "there is no such key on either side"
                                                     : "there never was such a key",
                              .remedy = "GET /v1/config/NAMESPACE/?keys_only lists what "
                                        "there is"});
}

static void came(mp__query *query)
{
    key_work *w = query->context;

    if (--w->left)
        return;
    w->to.item = item_of(&w->to.query, 0);
    w->from.item = w->before ? item_of(&w->to.query, 1) : item_of(&w->from.query, 0);
    sides_came(w, w->from.query.status ? w->from.query.status : w->to.query.status,
               w->from.query.count || w->to.query.count);
}

static void effective_came(mp__walk *walk)
{
    key_work *w = walk->context;

    if (--w->left)
        return;
    w->from.item = mp__walk_only(w->from.walk);
    w->to.item = mp__walk_only(w->to.walk);
    sides_came(w, w->from.walk->status ? w->from.walk->status : w->to.walk->status,
               w->from.item || w->to.item);
}

/* What readers of both places get. */
static void ask_effective(mp__exchange *x, key_work *w)
{
    key_side *sides[] = {&w->from, &w->to};

    for (size_t i = 0; i < 2; i++) {
        key_side *s = sides[i];

        s->walk = mp__walk_new(x, s->at.scope, mp__http_name_of(s->query.address));
        if (!s->walk) {
            sides_done(&w->from, &w->to);
            mp__answer_no_memory(x);
            return;
        }
        s->walk->with_values = s->walk->effective = true;
        s->walk->items_max = 1;
        s->walk->at_revision = s->at.revision;
        s->walk->done = effective_came;
        s->walk->context = w;
    }
    mp__walk_start(w->from.walk);
    mp__walk_start(w->to.walk);
}

static void ask(mp__exchange *x, key_work *w, key_side *s, uint32_t limit)
{
    s->query.kind = MP__QUERY_HISTORY;
    s->query.loop = x->worker->loop;
    s->query.identity = &x->identity;
    s->query.at_revision = s->at.revision;
    s->query.limit = limit;
    s->query.with_values = true;
    s->query.gone = &x->gone;
    s->query.done = came;
    s->query.context = w;
    mp__query_start(x->worker->server->manager, &s->query);
}

void mp__http_diff_key(mp__exchange *x)
{
    mp__parameter p[] = {
        MP__PLACE_PARAMETERS,       [FROM] = {"from"},           [TO] = {"to"},
        [TO_ENV] = {"to_env"},      [TO_REGION] = {"to_region"}, [TO_INSTANCE] = {"to_instance"},
        [EFFECTIVE] = {"effective"}};
    key_work *w = mp__exchange_memory(x, sizeof(*w));
    bool other;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (!mp__http_parameters(x, p, EFFECTIVE + 1) ||
        !mp__http_flag_of(x, &p[EFFECTIVE], &w->effective) ||
        !take_sides(x, p, &w->from.at, &w->to.at, &other) ||
        !mp__http_address(x, w->from.at.scope, x->values[0], x->values[1], w->from.address,
                          &w->from.query.address) ||
        !mp__http_address(x, w->to.at.scope, x->values[0], x->values[1], w->to.address,
                          &w->to.query.address))
        return;
    w->job.x = x;
    w->job.run = key_run;
    w->job.prints = true;
    w->job.done = key_done;
    w->before = !other && !w->from.at.revision;
    w->left = w->before ? 1 : 2;
    if (w->effective && w->before) {
        mp__answer_invalid(x, "say what is compared: ?from=REVISION, or another place with to_env, "
                              "to_region or to_instance; 'effective' has no revision before");
        return;
    }
    if (w->effective) {
        ask_effective(x, w);
        return;
    }
    if (!w->before)
        ask(x, w, &w->from, 1);
    ask(x, w, &w->to, w->before ? 2 : 1);
}
