/* SPDX-License-Identifier: Apache-2.0 */
/* Lists: keys of a namespace, namespaces, environments. Pages are of one revision: the token that
 * leads to the next page carries it, so later pages show what the first one saw. */
#include <inttypes.h>
#include <stdio.h>

#include "core/base64.h"
#include "server/http/collect.h"

enum { LIMIT_MAX = 1000, LIST_BYTES = 1024 * 1024, DELIMITER_MAX = 8 };

/* ---- page tokens: "REVISION-CHECK-" and the kind and base64url of the last name ---- */

/* Of what was asked and where it goes on, so that a token is used for the same question only, and
 * as a whole. */
static uint64_t check_of(const mp__walk *walk, uint64_t revision, mp_str name)
{
    uint64_t sum = mp__checksum(revision, walk->scope, walk->scope_size);

    sum = mp__checksum(sum, walk->effective ? "\1" : "\n", 1);
    sum = mp__checksum(sum, walk->prefix, walk->prefix_size);
    sum = mp__checksum(sum, "\n", 1);
    sum = mp__checksum(sum, walk->delimiter.data, walk->delimiter.size);
    return mp__checksum(sum, name.data, name.size) & 0xffffffff;
}

static void add_token(mp__buf *out, const mp__walk *walk)
{
    const mp__walk_item *last = &walk->items[walk->count - 1];
    uint64_t check = check_of(walk, walk->as_of, last->name);

    (void)mp__buf_printf(out, "%" PRIu64 "-%08" PRIx64 "-%c", walk->as_of, check,
                         last->group ? 'g' : 'k');
    mp__base64_add(out, last->name, true);
}

/* Where @token leads; false: it is none of this question. */
static bool take_token(mp__walk *walk, mp_str token)
{
    const char *first = memchr(token.data, '-', token.size), *end = token.data + token.size;
    mp__buf name = MP__BUF_INIT;
    uint64_t revision = 0;
    char check[9];
    bool good;

    if (!first || end - first < 12 || first[9] != '-' || (first[10] != 'g' && first[10] != 'k') ||
        !mp__digits_u64(mp_str_new(token.data, (size_t)(first - token.data)), &revision))
        return false;
    good = mp__base64_decode(mp_str_new(first + 11, (size_t)(end - first - 11)), true, &name);
    (void)snprintf(check, sizeof(check), "%08" PRIx64,
                   check_of(walk, revision, mp__buf_str(&name)));
    good = good && memcmp(first + 1, check, 8) == 0 &&
           mp__walk_after(walk, mp__buf_str(&name), first[10] == 'g');
    mp__buf_done(&name);
    walk->at_revision = revision;
    return good;
}

/* ---- what all lists take ---- */

enum {
    PREFIX = MP__PLACE_COUNT,
    LIMIT,
    AFTER,
    AT,
    DELIMITER,
    KEYS_ONLY,
    EFFECTIVE,
    LIST_PARAMETERS,
    NAMESPACES_EFFECTIVE = DELIMITER,
};

typedef struct list_work {
    mp__job job; /* first: printing it */
    mp__walk *walk;
    mp__buf body;
    uint64_t tag;
    bool with_values, namespaces, effective;
    mp_str prefix, delimiter;
} list_work;

/* Of the parameters; NULL: answered. */
static mp__walk *walk_of(mp__exchange *x, const mp__parameter *p, mp_str namespace_, list_work *w)
{
    char scope_text[MP__SCOPE_MAX];
    mp__buf prefix = {.size_max = MP__WALK_NAME_MAX};
    uint64_t limit = LIMIT_MAX, at = 0;
    mp__walk *walk;
    mp_str scope;

    if (!mp__http_scope(x, p, scope_text, &scope) ||
        !mp__http_number_of(x, &p[LIMIT], 1, LIMIT_MAX, &limit) ||
        !mp__http_number_of(x, &p[AT], 1, INT64_MAX, &at))
        return NULL;
    if (namespace_.size) {
        (void)mp__buf_add_str(&prefix, namespace_);
        (void)mp__buf_add_char(&prefix, '/');
    }
    if (w->prefix.size)
        (void)mp__buf_add_str(&prefix, w->prefix);
    walk = prefix.error ? NULL : mp__walk_new(x, scope, mp__buf_str(&prefix));
    if (!walk && prefix.error == MP_ELIMIT)
        mp__answer_invalid(x, "namespace and prefix are longer than any address");
    else if (!walk)
        mp__answer_no_memory(x);
    mp__buf_done(&prefix);
    if (!walk)
        return NULL;
    walk->delimiter = w->delimiter;
    walk->with_values = w->with_values;
    walk->effective = w->effective;
    walk->items_max = (size_t)limit;
    walk->bytes_max = LIST_BYTES;
    walk->context = w;
    if (p[AFTER].value.data && !take_token(walk, p[AFTER].value)) {
        mp__answer_problem(x, &(mp__problem){.status = 400,
                                             .type = "page-token",
                                             .detail = "'after' is no token of this list",
                                             .remedy = "use 'next' of the page before with the "
                                                       "same parameters, or begin again"});
        return mp__walk_free(walk);
    }
    if (at && p[AFTER].value.data && at != walk->at_revision) {
        mp__answer_invalid(x, "'at' is not the revision of the token in 'after'");
        return mp__walk_free(walk);
    }
    if (at)
        walk->at_revision = at;
    walk->is_past = at > 0;
    return walk;
}

/* ---- answers ---- */

static uint64_t tag_of(const mp__walk *walk)
{
    uint64_t tag = walk->more;

    for (size_t i = 0; i < walk->count; i++) {
        tag = mp__checksum(tag, walk->items[i].name.data, walk->items[i].name.size) +
              walk->items[i].in_doubt;
        if (!walk->items[i].group)
            tag = mp__checksum(tag, &walk->items[i].item->revision, sizeof(uint64_t));
    }
    return tag;
}

static void add_keys(mp__buf *body, const mp__walk *walk, const list_work *w, size_t namespace_size)
{
    mp__json_key(body, "keys");
    mp__json_begin(body, '[');
    for (size_t i = 0; i < walk->count; i++) {
        const mp__walk_item *item = &walk->items[i];

        if (item->group)
            continue;
        mp__json_begin(body, '{');
        mp__json_add_string(
            body, "key",
            mp_str_new(item->name.data + namespace_size + 1, item->name.size - namespace_size - 1));
        mp__http_json_item(body, item->item, w->with_values);
        if (item->in_doubt) {
            mp__json_add_bool(body, "stale", true);
            mp__json_add_text(body, "reason", mp__walk_reason(walk));
        }
        mp__json_end(body, '}');
    }
    mp__json_end(body, ']');
}

static void add_groups(mp__buf *body, const mp__walk *walk, const char *member, size_t before,
                       size_t behind)
{
    mp__json_key(body, member);
    mp__json_begin(body, '[');
    for (size_t i = 0, n = 0; i < walk->count; i++) {
        mp_str name = walk->items[i].name;

        if (!walk->items[i].group)
            continue;
        if (n++)
            (void)mp__buf_add_char(body, ',');
        mp__json_string(body, mp_str_new(name.data + before, name.size - before - behind));
    }
    mp__json_end(body, ']');
}

static void list_run(mp__job *job)
{
    list_work *w = (list_work *)job;
    mp__walk *walk = w->walk;
    mp_str namespace_ = job->x->values[0];
    mp__buf *body = &w->body;

    mp__walk_doubt(walk);
    mp__json_begin(body, '{');
    mp__json_add_string(body, "environment", mp_str_new(walk->scope, walk->scope_size));
    if (!w->namespaces)
        mp__json_add_string(body, "namespace", namespace_);
    mp__json_add_string(body, "prefix", w->prefix);
    mp__json_add_u64(body, "revision", walk->as_of);
    mp__json_add_bool(body, "stale", walk->stale || walk->in_doubt);
    if (w->namespaces) {
        add_groups(body, walk, "namespaces", 0, 1);
    } else {
        add_keys(body, walk, w, namespace_.size);
        if (w->delimiter.size)
            add_groups(body, walk, "prefixes", namespace_.size + 1, 0);
    }
    if (walk->more) {
        mp__json_key(body, "next");
        (void)mp__buf_add_char(body, '"');
        add_token(body, walk);
        (void)mp__buf_add_char(body, '"');
    }
    mp__json_end(body, '}');
    (void)mp__buf_add_char(body, '\n');
    w->tag = tag_of(walk);
}

static void list_done(mp__job *job)
{
    list_work *w = (list_work *)job;
    mp__walk *walk = w->walk;
    mp__buf body = w->body; /* @w goes with the exchange */

    mp__http_answer_tagged(job->x, MP_STR("application/json"), &body, walk->as_of,
                           mp__walk_reason(walk), w->tag);
    (void)mp__walk_free(walk);
}

static void answer_list(mp__walk *walk)
{
    list_work *w = walk->context;

    if (walk->status) {
        mp__http_answer_walk_error(walk->x, walk);
        (void)mp__walk_free(walk);
        return;
    }
    w->walk = walk;
    w->job = (mp__job){.x = walk->x, .run = list_run, .done = list_done, .prints = true};
    mp__job_start(&w->job, walk->bytes + walk->count * 64);
}

/* ---- the handlers ---- */

void mp__http_namespaces(mp__exchange *x)
{
    mp__parameter p[] = {
        MP__PLACE_PARAMETERS, [PREFIX] = {"prefix"}, [LIMIT] = {"limit"},
        [AFTER] = {"after"},  [AT] = {"at"},         [NAMESPACES_EFFECTIVE] = {"effective"}};
    list_work *w = mp__exchange_memory(x, sizeof(*w));
    mp__walk *walk;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (!mp__http_parameters(x, p, NAMESPACES_EFFECTIVE + 1) ||
        !mp__http_flag_of(x, &p[NAMESPACES_EFFECTIVE], &w->effective))
        return;
    w->namespaces = true;
    w->prefix = p[PREFIX].value;
    w->delimiter = MP_STR("/");
    if (w->prefix.size && memchr(w->prefix.data, '/', w->prefix.size)) {
        mp__answer_invalid(x, "a namespace has no slash; list its keys at /v1/config/NAMESPACE/");
        return;
    }
    walk = walk_of(x, p, mp_str_new("", 0), w);
    if (!walk)
        return;
    walk->done = answer_list;
    mp__walk_start(walk);
}

void mp__http_list(mp__exchange *x)
{
    mp__parameter p[LIST_PARAMETERS] = {MP__PLACE_PARAMETERS,
                                        [PREFIX] = {"prefix"},
                                        [LIMIT] = {"limit"},
                                        [AFTER] = {"after"},
                                        [AT] = {"at"},
                                        [DELIMITER] = {"delimiter"},
                                        [KEYS_ONLY] = {"keys_only"},
                                        [EFFECTIVE] = {"effective"}};
    list_work *w = mp__exchange_memory(x, sizeof(*w));
    const mp__format *format = NULL;
    bool keys_only = false;
    mp__walk *walk;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (!mp__http_parameters(x, p, LIST_PARAMETERS) ||
        !mp__http_flag_of(x, &p[KEYS_ONLY], &keys_only) ||
        !mp__http_flag_of(x, &p[EFFECTIVE], &w->effective) || !mp__http_negotiate(x, true, &format))
        return;
    if (format) {
        mp__http_export_as(x, format, p, &p[PREFIX], &p[AT], &p[EFFECTIVE]);
        return;
    }
    if (p[DELIMITER].value.size > DELIMITER_MAX) {
        mp__answer_invalid(x, "a delimiter has at most %d bytes", DELIMITER_MAX);
        return;
    }
    w->with_values = !keys_only;
    w->prefix = p[PREFIX].value;
    w->delimiter = p[DELIMITER].value;
    walk = walk_of(x, p, x->values[0], w);
    if (!walk)
        return;
    walk->done = answer_list;
    mp__walk_start(walk);
}

/* ---- GET /v1/environments ---- */

typedef struct environments_work {
    mp__query query;
} environments_work;

static void environments_done(mp__query *query)
{
    mp__query q = *query; /* the exchange's memory goes with the answer */
    mp__buf body = MP__BUF_INIT;

    if (q.status) {
        mp__answer_error(q.context, q.status, NULL);
        return;
    }
    mp__json_begin(&body, '{');
    mp__json_key(&body, "environments");
    mp__json_begin(&body, '[');
    for (size_t i = 0; i < q.count; i++) {
        if (i)
            (void)mp__buf_add_char(&body, ',');
        mp__json_string(&body, q.items[i].address);
    }
    mp__json_end(&body, ']');
    if (q.next && q.count)
        mp__json_add_string(&body, "next", q.items[q.count - 1].address);
    mp__json_end(&body, '}');
    (void)mp__buf_add_char(&body, '\n');
    mp__http_answer_tagged(q.context, MP_STR("application/json"), &body, 0, NULL,
                           mp__checksum(0, body.data, body.size));
    mp__query_done(&q);
}

void mp__http_environments(mp__exchange *x)
{
    mp__parameter p[] = {{.name = "limit"}, {.name = "after"}};
    environments_work *w = mp__exchange_memory(x, sizeof(*w));
    uint64_t limit = LIMIT_MAX;

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    if (!mp__http_parameters(x, p, 2) || !mp__http_number_of(x, &p[0], 1, LIMIT_MAX, &limit))
        return;
    w->query.kind = MP__QUERY_ENVIRONMENTS;
    w->query.loop = x->worker->loop;
    w->query.identity = &x->identity;
    w->query.by_key = true;
    w->query.after_address = p[1].value;
    w->query.limit = (uint32_t)limit;
    w->query.gone = &x->gone;
    w->query.done = environments_done;
    w->query.context = x;
    mp__query_start(x->worker->server->manager, &w->query);
}
