/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between a whole request and its handler: pages of other sites, bodies that come
 * compressed, requests that come again. */
#include "server/http/connection.h"
#include "server/http/handlers.h"
#include "server/http/openapi.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

#include <zlib.h>

static bool changes_nothing(const mp__http_request *r)
{
    return r->head || mp_str_equal(r->method, MP_STR("GET")) ||
           mp_str_equal(r->method, MP_STR("OPTIONS"));
}

/* ---- compressed bodies ---- */

enum {
    RATIO_MAX = 100,        /* of a body to its compressed self: more is a bomb */
    RATIO_FROM = 64 * 1024, /* so small a body may be as regular as it likes */
    INFLATE_STEP = 16 * 1024,
};

static void refuse_body(mp__exchange *x, int status, const char *type, const char *detail,
                        const char *remedy)
{
    mp__answer_problem(
        x, &(mp__problem){.status = status, .type = type, .detail = detail, .remedy = remedy});
}

/* Z_OK, Z_MEM_ERROR, Z_DATA_ERROR, or Z_BUF_ERROR: larger than it may be. */
static int inflate_into(mp__buf *out, mp_str body, size_t most)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body.data, .avail_in = (uInt)body.size};
    int rc = inflateInit2(&z, 15 + 16);

    if (rc != Z_OK)
        return rc;
    while (rc == Z_OK) {
        if (out->size > most) {
            rc = Z_BUF_ERROR;
            break;
        }
        if (mp__buf_reserve(out, INFLATE_STEP) != 0) {
            rc = Z_MEM_ERROR;
            break;
        }
        z.next_out = (Bytef *)out->data + out->size;
        z.avail_out = INFLATE_STEP;
        rc = inflate(&z, Z_NO_FLUSH);
        out->size += INFLATE_STEP - z.avail_out;
        if (rc == Z_BUF_ERROR) /* it ends in the middle */
            rc = Z_DATA_ERROR;
    }
    if (rc == Z_STREAM_END)
        rc = z.avail_in ? Z_DATA_ERROR : out->size > most ? Z_BUF_ERROR : Z_OK;
    else if (rc != Z_BUF_ERROR && rc != Z_MEM_ERROR)
        rc = Z_DATA_ERROR;
    (void)inflateEnd(&z);
    return rc;
}

/* The body as it is meant; false: answered. */
static bool decode_body(mp__exchange *x)
{
    mp_str coding, body = x->request.body;
    size_t body_max = x->worker->limits.http.body_max, most = body.size * RATIO_MAX;
    int rc;

    if (!mp__http_list_of(x, "content-encoding", &coding))
        return false;
    if (!coding.size || (coding.size == 8 && strncasecmp(coding.data, "identity", 8) == 0))
        return true;
    if (!(coding.size == 4 && strncasecmp(coding.data, "gzip", 4) == 0) &&
        !(coding.size == 6 && strncasecmp(coding.data, "x-gzip", 6) == 0)) {
        mp__answer_problem(x, &(mp__problem){.status = 415,
                                             .type = "content-encoding",
                                             .detail = "the only Content-Encoding that is "
                                                       "understood is gzip",
                                             .remedy = "send the body as it is, or as gzip",
                                             .accept_encoding = true});
        return false;
    }
    most = most < RATIO_FROM ? RATIO_FROM : most;
    most = most < body_max ? most : body_max;
    rc = inflate_into(&x->body, body, most);
    if (rc == Z_MEM_ERROR)
        mp__answer_no_memory(x);
    else if (rc == Z_BUF_ERROR)
        refuse_body(x, 413, "body-too-large",
                    "unpacked, the body is larger than http.body_max or than 100 times itself",
                    "send less at once, or less regular data unpacked");
    else if (rc != Z_OK)
        refuse_body(x, 400, "content-encoding", "the body is not one whole gzip stream",
                    "pack it again, or send it as it is");
    else
        x->request.body = mp__buf_str(&x->body);
    return rc == Z_OK;
}

/* ---- requests that come again ---- */

/* Of all that makes the request what it is. */
static uint64_t fingerprint_of(const mp__http_request *r)
{
    static const char *const headers[] = {"content-type", "if-match", "if-none-match"};
    uint64_t sum = mp__checksum(0, r->method.data, r->method.size);

    sum = mp__checksum(sum, r->target.data, r->target.size);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        size_t at = 0;
        mp_str value;

        do { /* of several lines each counts, and that there is none, too */
            value = mp__http_header_next(r, headers[i], &at);
            sum = mp__checksum(sum ^ value.size, value.data ? value.data : "", value.size);
        } while (value.data);
    }
    return mp__checksum(sum, r->body.data ? r->body.data : "", r->body.size);
}

static bool is_sound_key(mp_str key)
{
    for (size_t i = 0; i < key.size; i++)
        if ((unsigned char)key.data[i] <= 0x20 || (unsigned char)key.data[i] >= 0x7f)
            return false;
    return key.size > 0 && key.size <= MP__REPEAT_KEY_MAX;
}

/* Whether the request is to be run; false: answered. */
static bool admit_once(mp__exchange *x, mp_str key)
{
    mp__repeats *repeats = x->worker->server->repeats;
    mp_blob *answer = NULL;
    int status = 0;

    if (!is_sound_key(key)) {
        mp__answer_invalid(x, "an Idempotency-Key has 1 to %d visible ASCII characters",
                           MP__REPEAT_KEY_MAX);
        return false;
    }
    switch (mp__repeats_begin(repeats, mp_str_of(x->identity.name), key,
                              fingerprint_of(&x->request), x->worker->tick_ns, &x->repeat, &status,
                              &answer)) {
    case MP__REPEAT_RUN:
        return true;
    case MP__REPEAT_REPLAY:
        mp__answer_again(x, status, mp_blob_str(answer));
        (void)mp_blob_unref(answer);
        return false;
    case MP__REPEAT_BUSY:
        mp__answer_problem(x, &(mp__problem){.status = 409,
                                             .type = "idempotency-under-way",
                                             .detail = "the first request with this "
                                                       "Idempotency-Key is not answered yet",
                                             .remedy = "ask again later for its answer",
                                             .retry_after_ms = 1000});
        return false;
    case MP__REPEAT_OTHER:
        refuse_body(x, 422, "idempotency-key", "this Idempotency-Key was used for another request",
                    "take a new key for a new request; repeat only the same one");
        return false;
    case MP__REPEAT_NO_MEMORY:
        break;
    }
    mp__answer_no_memory(x);
    return false;
}

/* ---- conditions ---- */

/* Whether @words, with spaces between, has @word. */
static bool has_word(const char *words, const char *word)
{
    size_t size = strlen(word);

    for (const char *p = words; p && (p = strstr(p, word)); p += size)
        if ((p == words || p[-1] == ' ') && (p[size] == ' ' || p[size] == '\0'))
            return true;
    return false;
}

/* A write goes through on no condition that its path does not look at; false: answered. */
static bool knows_conditions(mp__exchange *x)
{
    static const char *const conditions[] = {"If-Match", "If-None-Match"};
    const mp__route_doc *doc = NULL;

    for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++) {
        if (!mp__http_header_find(&x->request, conditions[i]).data)
            continue;
        doc = doc ? doc : mp__route_doc_find(x->route);
        if (!doc || has_word(doc->headers, conditions[i]))
            continue;
        mp__answer_invalid(x, "%s is no condition of this path; /v1/txn has 'compare'",
                           conditions[i]);
        return false;
    }
    return true;
}

bool mp__http_admit(mp__exchange *x)
{
    mp_str key;

    if (mp__http_is_rebound(x->worker->server, &x->request)) {
        refuse_body(x, 403, "cross-site", "the header Host names a site that may be another's",
                    "call this server by its address or as localhost, or name it in http.hosts");
        return false;
    }
    if (changes_nothing(&x->request) && !x->request.upgrade)
        return true;
    /* a WebSocket is not held back by a browser's same-origin rule */
    if (mp__http_is_cross_site(&x->request)) {
        refuse_body(x, 403, "cross-site", "the header Origin names another site",
                    x->request.upgrade ? "watch from a program, or from a page of this server"
                                       : "write from a program, or from a page of this server");
        return false;
    }
    if (x->request.upgrade)
        return true;
    if (!knows_conditions(x) || (x->request.body.size && !decode_body(x)))
        return false;
    key = mp__http_header_find(&x->request, "idempotency-key");
    return !key.data || admit_once(x, key);
}
