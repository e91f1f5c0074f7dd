/* SPDX-License-Identifier: Apache-2.0 */
/* GET and HEAD of one value. What L1 holds fresh is answered in the parse loop; the rest takes the
 * read path and is answered when it comes. */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "server/http/collect.h"
#include "server/http/connection.h"

/* ---- the answer ---- */

#define NAME_AND_SIZE(text) (text), sizeof(text) - 1

static void add_number(mp__buf *out, const char *name, size_t name_size, uint64_t value)
{
    (void)mp__buf_add(out, name, name_size);
    (void)mp__buf_add_u64(out, value);
    (void)mp__buf_add(out, "\r\n", 2);
}

static void add_etag(mp__buf *out, const mp__etag *etag, bool compressed)
{
    (void)mp__buf_add(out, NAME_AND_SIZE("ETag: "));
    (void)mp__buf_add(out, etag->text, MP__ETAG_SIZE - 1);
    (void)mp__buf_add_str(out, compressed ? MP_STR("-gz\"\r\n") : MP_STR("\"\r\n"));
}

/* How long a cache between us and the client may answer by itself. */
static void add_cache_control(mp__exchange *x, const mp__value_answer *v)
{
    const mp__server_limits *l = &x->worker->limits;
    int64_t left_s;

    if (v->stale || v->level == MP__LEVEL_STRONG) {
        (void)mp__buf_add_str(x->out, MP_STR("Cache-Control: no-cache\r\n"));
    } else if (v->expires_ms) {
        left_s = (v->expires_ms - x->worker->wall_ms) / 1000;
        left_s = left_s < 0 ? 0 : left_s;
        left_s = left_s < l->http_cache_max_age_s ? left_s : l->http_cache_max_age_s;
        mp__answer_header_text(x, "Cache-Control", "max-age=%" PRId64, left_s);
    } else {
        (void)mp__buf_add(x->out, l->http_cache_control, l->http_cache_control_size);
    }
}

static void add_freshness(mp__exchange *x, const mp__value_answer *v)
{
    static const mp_str levels[] = {
        [MP__LEVEL_EVENTUAL] = {NAME_AND_SIZE("MarketPrism-Level: eventual\r\n")},
        [MP__LEVEL_STRONG] = {NAME_AND_SIZE("MarketPrism-Level: strong\r\n")},
        [MP__LEVEL_WEAK] = {NAME_AND_SIZE("MarketPrism-Level: weak\r\n")},
    };
    mp__buf *out = x->out;

    add_number(out, NAME_AND_SIZE("MarketPrism-Revision: "), v->revision);
    if (v->layer.size)
        mp__answer_header(x, "MarketPrism-Layer", v->layer);
    if (v->past)
        return;
    add_number(out, NAME_AND_SIZE("Age: "), (uint64_t)(v->age_ms / 1000));
    (void)mp__buf_add_str(out, levels[v->level]);
    if (v->tier == MP__TIER_L1)
        (void)mp__buf_add_str(out, MP_STR("MarketPrism-Tier: L1\r\n"));
    else
        mp__answer_header(x, "MarketPrism-Tier", mp_str_of(mp__tier_name(v->tier)));
    if (v->stale)
        mp__answer_stale(x, v->age_ms, mp__reason_name(v->reason));
}

static void answer_precondition(mp__exchange *x, uint64_t revision)
{
    mp__answer_problem(x, &(mp__problem){.status = 412,
                                         .type = "precondition",
                                         .detail = "what If-Match names is not the present value",
                                         .remedy = "read it again and decide anew",
                                         .last_known_revision = revision});
}

void mp__http_answer_value(mp__exchange *x, const mp__value_answer *v)
{
    mp_str if_match, if_none_match;
    bool compressed = mp__answer_compresses(x, v->media_type, v->value.size);
    mp__etag etag;

    if (!mp__http_etags_of(x, "If-Match", &if_match) ||
        !mp__http_etags_of(x, "If-None-Match", &if_none_match))
        return;
    mp__etag_make(v->revision, v->value, &etag);
    if (if_match.data && !mp__etag_matches(if_match, &etag, false)) {
        answer_precondition(x, v->revision);
        return;
    }
    if (if_none_match.data && mp__etag_matches(if_none_match, &etag, true)) {
        mp__answer_begin(x, 304);
        add_etag(x->out, &etag, compressed);
        add_cache_control(x, v);
        add_freshness(x, v);
        if (mp__answer_varies(v->media_type, v->value.size))
            (void)mp__buf_add_str(x->out, MP_STR("Vary: Accept-Encoding\r\n"));
        mp__answer_end_empty(x);
        return;
    }
    mp__answer_begin(x, 200);
    add_etag(x->out, &etag, compressed);
    add_cache_control(x, v);
    add_freshness(x, v);
    /* Values are of many writers: no browser shall take one for a page of ours. */
    (void)mp__buf_add_str(x->out, MP_STR("X-Content-Type-Options: nosniff\r\n"
                                         "Content-Security-Policy: sandbox\r\n"));
    mp__answer_end_kept(x, v->media_type.size ? v->media_type : MP_STR("application/octet-stream"),
                        v->value, v->kept);
}

/* @revision: of the value that is known although @read is refused; 0: none is. */
static void answer_refused(mp__exchange *x, const mp__read *read, uint64_t revision)
{
    if (read->status == MP_EABSENT) {
        mp__answer_problem(
            x, &(mp__problem){.status = 404,
                              .type = "absent",
                              .detail = read->stale ? "there was no such key when the origin could "
                                                      "last be asked"
                                                    : "the origin says that there is no such key",
                              .remedy = "GET /v1/config/NAMESPACE/?keys_only lists what there is",
                              .stale_reason = read->stale ? mp__reason_name(read->reason) : NULL,
                              .stale_age_ms = read->age_ms,
                              .last_known_revision = revision});
    } else if (read->status == MP_EUNKNOWN && read->level == MP__LEVEL_WEAK) {
        mp__answer_problem(x, &(mp__problem){.status = 504,
                                             .type = "unknown",
                                             .detail = "nothing is kept of this key, and the "
                                                       "request forbids to ask the origin",
                                             .remedy = "read with level eventual"});
    } else if (read->status == MP_EUNKNOWN && read->level == MP__LEVEL_STRONG) {
        mp__answer_problem(
            x, &(mp__problem){.status = 503,
                              .type = "unknown",
                              .detail = mp__read_unknown(x->worker->server->manager, read),
                              .remedy = "read with level eventual, or bring the origin back; see "
                                        "/v1/status",
                              .retry_after_ms = 1000,
                              .last_known_revision = revision});
    } else if (read->status == MP_EUNKNOWN) {
        mp__answer_problem(
            x, &(mp__problem){.status = 503,
                              .type = "unknown",
                              .detail = "nobody can be asked for this key and nothing is kept",
                              .remedy = "bring the origin back; see /v1/status",
                              .retry_after_ms = 1000});
    } else if (read->status == MP_EINVAL) {
        mp__answer_problem(x, &(mp__problem){.status = 400,
                                             .type = "invalid",
                                             .detail = "the revision of min_rev is not there yet: "
                                                       "the origin has not reached it",
                                             .remedy = "read again when it has, or name the "
                                                       "revision that a write was answered with"});
    } else {
        mp__answer_error_of(x, read->status, NULL, revision);
    }
}

void mp__http_answer_read_error(mp__exchange *x, const mp__read *read)
{
    answer_refused(x, read, read->entry ? read->entry->revision : 0);
}

static void answer_entry(mp__exchange *x, const mp__entry *entry, const mp__read *read,
                         mp_str address)
{
    mp_str at = mp__entry_address(entry);
    mp_str layer = {0};

    if (at.size != address.size || memcmp(at.data, address.data, at.size) != 0)
        layer = mp_str_new(at.data, mp__scope_size(at));
    mp__http_answer_value(x,
                          &(mp__value_answer){.value = mp_blob_str(&entry->blob.pub),
                                              .kept = &entry->blob.pub,
                                              .media_type = mp__entry_media_type(entry),
                                              .layer = layer,
                                              .revision = entry->revision,
                                              .age_ms = read->age_ms,
                                              .expires_ms = entry->expires ? entry->expires_ms : 0,
                                              .level = read->level,
                                              .tier = read->tier,
                                              .stale = read->stale,
                                              .reason = read->reason});
}

/* ---- what the request asks for ---- */

typedef struct read_work {
    mp__read read;
    mp__read known;       /* where that is refused: what is kept all the same */
    int64_t stale_max_ms; /* of max-stale=N: -1 any */
    char address[MP__ADDRESS_MAX];
} read_work;

static bool word_is(mp_str text, const char *word)
{
    return text.size == strlen(word) && strncasecmp(text.data, word, text.size) == 0;
}

/* Cache-Control of the request (RFC 9111 section 5.2.1) as level and bounds; what it does not know
 * it leaves alone, as the RFC wants. */
static void take_cache_control(mp_str header, read_work *w)
{
    mp_str item;

    while (mp__http_list_next(&header, &item)) {
        const char *equals = memchr(item.data, '=', item.size);
        mp_str name = equals ? mp_str_new(item.data, (size_t)(equals - item.data)) : item;
        uint64_t seconds = 0;
        bool number =
            equals && mp__digits_u64(mp_str_new(equals + 1, item.size - name.size - 1), &seconds);
        int64_t ms = seconds < INT64_MAX / 1000 ? (int64_t)seconds * 1000 : INT64_MAX;

        if (word_is(name, "no-cache") || word_is(name, "no-store"))
            w->read.level = MP__LEVEL_STRONG;
        else if (word_is(name, "only-if-cached"))
            w->read.level = MP__LEVEL_WEAK;
        else if (word_is(name, "max-age") && number)
            w->read.age_max_ms = ms;
        else if (word_is(name, "max-stale") || word_is(name, "stale-if-error")) {
            w->read.stale_if_error = true;
            w->stale_max_ms = number ? ms : -1;
        }
    }
}

enum { AT = MP__PLACE_COUNT, LEVEL, MAX_AGE, MIN_REV, STRICT, EFFECTIVE, PARAMETERS };

/* False: answered. */
static bool take_parameters(mp__exchange *x, const mp__parameter *p, bool effective, read_work *w)
{
    if (p[LEVEL].value.data && mp__level_parse(p[LEVEL].value, &w->read.level) != 0) {
        mp__answer_invalid(x, "level is strong, eventual or weak");
        return false;
    }
    w->read.own_layer = !effective;
    if (!mp__http_duration_of(x, &p[MAX_AGE], &w->read.age_max_ms) ||
        !mp__http_number_of(x, &p[MIN_REV], 0, INT64_MAX, &w->read.revision_min) ||
        !mp__http_flag_of(x, &p[STRICT], &w->read.strict))
        return false;
    if (w->read.level != MP__LEVEL_WEAK || !w->read.revision_min)
        return true;
    mp__answer_problem(x, &(mp__problem){.status = 400,
                                         .type = "invalid",
                                         .detail = "min_rev contradicts level weak, which takes "
                                                   "whatever is kept",
                                         .remedy = "leave one of them out; level eventual asks "
                                                   "the origin only where what is kept is older"});
    return false;
}

/* ---- answers that come later ---- */

static void answer_known(read_work *w)
{
    const mp__entry *entry = w->known.entry;

    answer_refused(w->read.context, &w->read, w->known.status == 0 && entry ? entry->revision : 0);
    (void)mp__entry_unref(entry);
}

static void known_done(mp__read *known)
{
    answer_known(known->context);
}

/* Refused for want of certainty, so that a value may be known. */
static bool is_uncertain(const mp__read *read)
{
    return read->status == MP_ESTALE || read->status == MP_EORIGIN ||
           read->status == MP_EORIGINLOST || read->status == MP_ETIMEOUT ||
           read->status == MP_ECORRUPT ||
           (read->status == MP_EUNKNOWN && read->level == MP__LEVEL_STRONG);
}

static void ask_what_is_known(mp__exchange *x, read_work *w)
{
    w->known = (mp__read){.loop = w->read.loop,
                          .address = w->read.address,
                          .hash = w->read.hash,
                          .identity = w->read.identity,
                          .level = MP__LEVEL_WEAK,
                          .age_max_ms = -1,
                          .own_layer = w->read.own_layer,
                          .done = known_done,
                          .context = w};
    if (mp__read_start(x->worker->server->manager, &w->known))
        answer_known(w);
}

static void answer_read(mp__exchange *x, read_work *w)
{
    mp__read *read = &w->read;

    if (read->status == 0 && read->stale && w->stale_max_ms >= 0 &&
        read->age_ms > w->stale_max_ms) {
        read->entry = mp__entry_unref(read->entry);
        read->status = MP_ESTALE;
    }
    /* the answer copies what it needs before the exchange, and with it the read, is over */
    const mp__entry *entry = read->entry;

    if (read->status == 0)
        answer_entry(x, entry, read, read->address);
    else if (is_uncertain(read))
        ask_what_is_known(x, w);
    else
        mp__http_answer_read_error(x, read);
    (void)mp__entry_unref(entry);
}

static void read_done(mp__read *read)
{
    answer_read(read->context, (read_work *)read);
}

/* One revision of the past, from the origin's history. */
typedef struct past_work {
    mp__query query;
    char address[MP__ADDRESS_MAX];
} past_work;

/* A mask is to readers of the past what it is to those of now: there is no such key. */
static void answer_item(mp__exchange *x, const mp__list_item *item, mp_str layer)
{
    if (!item || item->deleted || mp_str_equal(item->media_type, MP_STR(MP__MEDIA_MASK)))
        mp__answer_problem(x, &(mp__problem){.status = 404,
                                             .type = "absent",
                                             .detail = "there was no such key at that revision",
                                             .last_known_revision = item ? item->revision : 0});
    else
        mp__http_answer_value(x, &(mp__value_answer){.value = item->value,
                                                     .media_type = item->media_type,
                                                     .layer = layer,
                                                     .revision = item->revision,
                                                     .past = true});
}

static void answer_past(mp__exchange *x, const mp__query *query)
{
    if (query->status == MP_EINVAL)
        mp__http_answer_not_yet(x);
    else if (query->status)
        mp__answer_error(x, query->status, NULL);
    else
        answer_item(x, query->count ? &query->items[0] : NULL, mp_str_new("", 0));
}

static void past_done(mp__query *query)
{
    mp__query q = *query; /* the exchange's memory goes with the answer */

    answer_past(q.context, &q);
    mp__query_done(&q);
}

static void start_past(mp__exchange *x, mp_str address, uint64_t at)
{
    past_work *w = mp__exchange_memory(x, sizeof(*w));

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    memcpy(w->address, address.data, address.size);
    w->query.kind = MP__QUERY_HISTORY;
    w->query.loop = x->worker->loop;
    w->query.identity = &x->identity;
    w->query.address = mp_str_new(w->address, address.size);
    w->query.at_revision = at;
    w->query.with_values = true;
    w->query.limit = 1;
    w->query.gone = &x->gone;
    w->query.done = past_done;
    w->query.context = x;
    mp__query_start(x->worker->server->manager, &w->query);
}

/* The same of what a reader got then, from whichever layer. */
static void effective_past_done(mp__walk *walk)
{
    const mp__list_item *item = mp__walk_only(walk);
    mp_str layer = mp_str_new("", 0);

    if (item && !mp_str_equal(item->layer, mp_str_new(walk->scope, walk->scope_size)))
        layer = item->layer;
    if (walk->status)
        mp__http_answer_walk_error(walk->x, walk);
    else
        answer_item(walk->x, item, layer);
    (void)mp__walk_free(walk);
}

static void start_effective_past(mp__exchange *x, mp_str scope, mp_str address, uint64_t at)
{
    mp__walk *walk = mp__walk_new(x, scope, mp__http_name_of(address));

    if (!walk) {
        mp__answer_no_memory(x);
        return;
    }
    walk->with_values = walk->effective = true;
    walk->items_max = 1;
    walk->at_revision = at;
    walk->done = effective_past_done;
    mp__walk_start(walk);
}

/* ---- the handler ---- */

static void start_read(mp__exchange *x, mp_str address, uint64_t hash, const mp__parameter *p,
                       bool effective, mp_str cache_control)
{
    read_work *w = mp__exchange_memory(x, sizeof(*w));

    if (!w) {
        mp__answer_no_memory(x);
        return;
    }
    memcpy(w->address, address.data, address.size);
    w->read.loop = x->worker->loop;
    w->read.address = mp_str_new(w->address, address.size);
    w->read.hash = hash;
    w->read.identity = &x->identity;
    w->read.age_max_ms = -1;
    w->read.is_use = true;
    w->read.done = read_done;
    w->read.context = x;
    w->stale_max_ms = -1;
    if (cache_control.data)
        take_cache_control(cache_control, w);
    if (p && !take_parameters(x, p, effective, w))
        return;
    if (mp__read_start(x->worker->server->manager, &w->read))
        answer_read(x, w);
}

/* A hit in L1 that is held fresh, which is what nearly every read is. */
static bool answer_now(mp__exchange *x, mp_str address, uint64_t hash)
{
    const mp__read read = {.tier = MP__TIER_L1, .reason = MP__REASON_FRESH};
    const mp__entry *entry;

    if (mp_read_begin() != 0)
        return false;
    entry = mp__read_now(x->worker->server->manager, address, hash, MP__LEVEL_EVENTUAL, 0);
    if (entry && entry->kind == MP__RECORD_VALUE) {
        mp__monitor_hits(x->worker->server->monitor, MP__OP_GET, MP__TIER_L1, 1);
        answer_entry(x, entry, &read, address);
    } else if (entry) {
        mp__read_not_now(x->worker->server->manager);
        entry = NULL;
    }
    mp_read_end();
    return entry != NULL;
}

void mp__http_config_get(mp__exchange *x)
{
    mp__parameter p[PARAMETERS] = {
        MP__PLACE_PARAMETERS,       [AT] = {"at"},           [LEVEL] = {"level"},
        [MAX_AGE] = {"max_age"},    [MIN_REV] = {"min_rev"}, [STRICT] = {"strict"},
        [EFFECTIVE] = {"effective"}};
    mp_str cache_control, scope, address;
    char scope_text[MP__SCOPE_MAX], text[MP__ADDRESS_MAX];
    bool plain, effective = true;
    mp_str layers[MP__LAYERS_MAX];
    uint64_t at = 0, hash;

    if (!mp__http_parameters(x, p, PARAMETERS) || !mp__http_scope(x, p, scope_text, &scope) ||
        !mp__http_address(x, scope, x->values[0], x->values[1], text, &address) ||
        !mp__http_number_of(x, &p[AT], 1, INT64_MAX, &at) ||
        !mp__http_flag_of(x, &p[EFFECTIVE], &effective) ||
        !mp__http_list_of(x, "cache-control", &cache_control))
        return;
    plain = !cache_control.data;
    if (at && effective &&
        mp__overlay_layers(x->worker->server->manager, scope, x->values[0], layers) > 1) {
        start_effective_past(x, scope, address, at);
        return;
    }
    if (at) {
        start_past(x, address, at);
        return;
    }
    for (int i = AT; i < PARAMETERS; i++)
        plain = plain && !p[i].value.data;
    hash = mp__cache_hash(x->worker->hasher, address);
    if (mp__tap_wants(&x->worker->tap, (uintptr_t)x->connection, x->worker->tick_ns))
        mp__tap_read(x->worker->server->manager, &x->worker->tap, (uintptr_t)x->connection,
                     x->worker->tick_ns, address);
    if (!plain || !answer_now(x, address, hash))
        start_read(x, address, hash, plain ? NULL : p, effective, cache_control);
}
