/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies in JSON, read strictly, and the parts that JSON answers share. */
#include <inttypes.h>
#include <stdio.h>

#include "core/option.h"
#include "schema/tree.h"
#include "server/http/collect.h"
#include "server/http/openapi.h"

enum { BODY_MAX = 1024 * 1024 /* read in the loop: some milliseconds */ };

/* ---- bodies ---- */

bool mp__http_json_body(mp__exchange *x, const char *const *names, json_t **ret_body)
{
    mp__diag diag = {0};
    json_t *body = NULL;
    int rc = MP_ELIMIT;

    if (x->request.body.size > BODY_MAX)
        (void)mp__diag_set(&diag, rc, "the body is larger than 1 MiB");
    else
        rc = mp__tree_parse(x->request.body, "the body", &body, &diag);
    if (rc) {
        mp__answer_problem(x, &(mp__problem){.status = rc == MP_ENOMEM   ? 503
                                                       : rc == MP_ELIMIT ? 413
                                                                         : 400,
                                             .type = "body",
                                             .detail = diag.text[0] ? diag.text : mp_strerror(rc),
                                             .remedy = "send a JSON object; docs/http.md shows it",
                                             .place = &diag});
        return false;
    }
    if (!json_is_object(body)) {
        mp__answer_invalid(x, "the body is a JSON object, not another value");
        json_decref(body);
        return false;
    }
    if (!mp__http_json_members(x, body, "the body", names)) {
        json_decref(body);
        return false;
    }
    *ret_body = body;
    return true;
}

bool mp__http_json_body_of_place(mp__exchange *x, const char *const *names,
                                 char scope_text[MP__SCOPE_MAX], mp_str *ret_scope,
                                 json_t **ret_body)
{
    mp__parameter p[] = {MP__PLACE_PARAMETERS};

    return mp__http_parameters(x, p, MP__PLACE_COUNT) &&
           mp__http_scope(x, p, scope_text, ret_scope) && mp__http_json_body(x, names, ret_body);
}

static bool stands_in_query(const mp__exchange *x, const char *name)
{
    const mp__route_doc *doc = mp__route_doc_find(x->route);
    const mp__route_parameter *p = doc ? doc->parameters : NULL;

    while (p && p->name && strcmp(p->name, name) != 0)
        p++;
    return p && p->name;
}

/* Which members there are; of what stands in the query, that it does. */
static void unknown_member(mp__exchange *x, const char *where, const char *name,
                           const char *const *names, size_t count)
{
    const char *meant = mp__did_you_mean(name, names, count);
    char detail[300], known[400];
    size_t used = (size_t)snprintf(known, sizeof(known), "it takes");

    (void)snprintf(detail, sizeof(detail), "%s has no member '%.64s'%s%s%s", where, name,
                   meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
    for (size_t i = 0; i < count && used < sizeof(known); i++)
        used +=
            (size_t)snprintf(known + used, sizeof(known) - used, "%s %s", i ? "," : "", names[i]);
    if (used < sizeof(known) && stands_in_query(x, name))
        (void)snprintf(known + used, sizeof(known) - used,
                       "; '%s' stands in the query, as ?%s=", name, name);
    mp__answer_problem(
        x, &(mp__problem){.status = 400, .type = "invalid", .detail = detail, .remedy = known});
}

bool mp__http_json_members(mp__exchange *x, const json_t *object, const char *where,
                           const char *const *names)
{
    json_t *members = (json_t *)(uintptr_t)object; /* jansson's iterators do not write */
    size_t count = 0;

    while (names[count])
        count++;
    for (void *i = json_object_iter(members); i; i = json_object_iter_next(members, i)) {
        const char *name = json_object_iter_key(i);
        size_t k = 0;

        while (k < count && strcmp(name, names[k]) != 0)
            k++;
        if (k < count)
            continue;
        unknown_member(x, where, name, names, count);
        return false;
    }
    return true;
}

mp_str mp__http_json_text(const json_t *string)
{
    return json_is_string(string)
               ? mp_str_new(json_string_value(string), json_string_length(string))
               : (mp_str){NULL, 0};
}

bool mp__http_json_address(mp__exchange *x, const json_t *named, const char *where, mp_str scope,
                           mp_str *ret_address)
{
    char *out = mp__exchange_memory(x, MP__ADDRESS_MAX);
    bool plain = json_is_string(named);
    const json_t *in = json_object_get(named, "namespace");
    mp_str key = mp__http_json_text(plain ? named : json_object_get(named, "key"));
    mp__diag diag = {0};
    int size;

    if (!out) {
        mp__answer_no_memory(x);
        return false;
    }
    if (!key.data || (in && !json_is_string(in))) {
        mp__answer_invalid(x, "%s: a key is a text, \"namespace/key\" or in a namespace of its own",
                           where);
        return false;
    }
    size = in ? mp__address_join(scope, mp__http_json_text(in), key, out, &diag)
              : mp__address_from_name(scope, key, out, &diag);
    if (size < 0) {
        mp__answer_invalid(x, "%s: %s", where, diag.text);
        return false;
    }
    *ret_address = mp_str_new(out, (size_t)size);
    return true;
}

/* ---- parts of answers ---- */

mp_str mp__http_name_of(mp_str address)
{
    const char *slash = memchr(address.data, '/', address.size);

    return slash ? mp_str_new(slash + 1, (size_t)(address.data + address.size - slash - 1))
                 : address;
}

void mp__http_json_name(mp__buf *body, mp_str name)
{
    const char *slash = memchr(name.data, '/', name.size);
    size_t size = slash ? (size_t)(slash - name.data) : 0;

    mp__json_add_string(body, "namespace", mp_str_new(name.data, size));
    mp__json_add_string(body, "key", slash ? mp_str_new(slash + 1, name.size - size - 1) : name);
}

void mp__http_json_item(mp__buf *body, const mp__list_item *item, bool with_value)
{
    mp__json_add_u64(body, "revision", item->revision);
    mp__json_add_u64(body, "version", item->version);
    mp__json_add_string(body, "media_type", item->media_type);
    mp__json_add_i64(body, "modified_ms", item->modified_ms);
    if (item->expires_ms)
        mp__json_add_i64(body, "expires_ms", item->expires_ms);
    if (with_value)
        mp__json_add_bytes(body, "value", item->value);
    if (item->layer.size)
        mp__json_add_string(body, "layer", item->layer);
}

bool mp__http_same_item(const mp__list_item *a, const mp__list_item *b)
{
    return mp_str_equal(a->value, b->value) && mp_str_equal(a->media_type, b->media_type);
}

void mp__http_answer_tagged_text(mp__exchange *x, mp_str content_type, mp_str body,
                                 uint64_t revision, const char *reason, uint64_t tag)
{
    mp_str asked;
    bool packed = mp__answer_compresses(x, content_type, body.size), same;
    char text[MP__ETAG_SIZE + 4];
    mp__etag etag;

    if (!mp__http_etags_of(x, "If-None-Match", &asked))
        return;
    mp__etag_make(tag, content_type, &etag);
    same = asked.data && mp__etag_matches(asked, &etag, true);
    (void)snprintf(text, sizeof(text), "%.*s%s\"", MP__ETAG_SIZE - 1, etag.text,
                   packed ? "-gz" : "");
    mp__answer_begin(x, same ? 304 : 200);
    mp__answer_header(x, "ETag", mp_str_of(text));
    mp__answer_header(x, "Cache-Control", MP_STR("no-cache"));
    mp__answer_header(x, "Vary", MP_STR("Accept"));
    if (revision)
        mp__answer_header_text(x, "MarketPrism-Revision", "%" PRIu64, revision);
    if (reason)
        mp__answer_header_text(x, "MarketPrism-Stale", "true; reason=%s", reason);
    if (same && mp__answer_varies(content_type, body.size))
        mp__answer_header(x, "Vary", MP_STR("Accept-Encoding"));
    if (same)
        mp__answer_end_empty(x);
    else
        mp__answer_end(x, content_type, body);
}

void mp__http_answer_tagged(mp__exchange *x, mp_str content_type, mp__buf *body, uint64_t revision,
                            const char *reason, uint64_t tag)
{
    if (body->error)
        mp__answer_no_memory(x);
    else
        mp__http_answer_tagged_text(x, content_type, mp__buf_str(body), revision, reason, tag);
    mp__buf_done(body);
}

bool mp__http_fixed(mp__exchange *x, mp__fixed *fixed, int (*print)(mp__buf *out))
{
    mp__server *server = x->worker->server;
    bool is_there;

    (void)pthread_mutex_lock(&server->fixed_lock);
    if (fixed->text.size == 0) {
        if (print(&fixed->text) != 0)
            mp__buf_done(&fixed->text);
        fixed->tag = mp__checksum(0, fixed->text.data, fixed->text.size);
    }
    is_there = fixed->text.size > 0;
    (void)pthread_mutex_unlock(&server->fixed_lock);
    if (!is_there)
        mp__answer_no_memory(x);
    return is_there;
}
