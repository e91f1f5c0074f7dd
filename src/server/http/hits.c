/* SPDX-License-Identifier: Apache-2.0 */
/* The lane of plain hits: GETs of values that L1 holds fresh, whose heads but for the path are
 * those of the request before on the same connection. All that a read brought of them are found,
 * hashed and prefetched before the first is looked up, and answered into one buffer. What is not so
 * plain is left to the usual way, which answers the same (tests/e2e/test_http_hits.py). */
#include <inttypes.h>

#include "server/http/connection.h"
#include "server/http/handlers.h"

enum {
    FIXED_MAX = 576,    /* bytes of an answer that are neither value nor media type */
    VALUE_MAX = 65536,  /* larger ones leave here: they fill the buffer by themselves */
    PACKED_FROM = 1024, /* values of this size may have to be compressed */
};

static const char first_part[] = "/v1/config/";

/* What the headers that all these requests share want. */
typedef struct wishes {
    mp_str if_none_match;
    bool packed;
} wishes;

/* False: something that this lane does not do. */
static bool take_wishes(const mp__server *server, const mp__http_request *head, wishes *w)
{
    size_t at = 0;
    mp_str line;

    w->packed = false;
    if (mp__http_header_find(head, "cache-control").data ||
        mp__http_header_find(head, "if-match").data || mp__http_is_rebound(server, head))
        return false;
    w->if_none_match = mp__http_header_next(head, "if-none-match", &at);
    if (w->if_none_match.data && (mp__http_header_next(head, "if-none-match", &at).data ||
                                  !mp__etags_are_sound(w->if_none_match)))
        return false; /* to be joined, or refused */
    at = 0;
    while ((line = mp__http_header_next(head, "accept-encoding", &at)).data)
        w->packed |= line.size > 0;
    return true;
}

/* "/v1/config/namespace/key" as an address of @environment; its size, 0 when it is no such path. */
static size_t make_address(mp_str environment, mp_str path, char out[MP__ADDRESS_MAX])
{
    size_t skip = sizeof(first_part) - 1, left;
    const char *slash;

    if (path.size <= skip || memcmp(path.data, first_part, skip) != 0)
        return 0;
    left = path.size - skip;
    slash = memchr(path.data + skip, '/', left);
    if (!slash || slash == path.data + skip || slash + 1 == path.data + path.size ||
        (size_t)(slash - path.data) - skip > MP__NAMESPACE_MAX ||
        (size_t)(path.data + path.size - slash) - 1 > MP__KEY_MAX)
        return 0;
    memcpy(out, environment.data, environment.size);
    out[environment.size] = '/';
    memcpy(out + environment.size + 1, path.data + skip, left);
    return environment.size + 1 + left;
}

/* Find and hash up to a batch of requests in @data; @ends[i] is where the i-th ends. */
static uint32_t gather(mp__http_connection *c, const char *data, size_t size, size_t *ends)
{
    mp__worker_loop *worker = c->worker;
    mp__get_batch *batch = &worker->batch;
    mp_str environment = mp__manager_environment(worker->server->manager, 0), path;
    size_t at = 0, used, n;
    uint32_t count = 0;

    while (count < MP__GET_BATCH &&
           mp__http_parser_again(c->parser, data + at, size - at, &path, &used) &&
           (n = make_address(environment, path, batch->addresses[count])) != 0) {
        at += used;
        ends[count] = at;
        mp__cache_prefetch(mp__manager_cache(worker->server->manager),
                           mp__batch_addressed(worker, count, n));
        count++;
    }
    return count;
}

/* ---- the answer ---- */

static char *put(char *p, const char *text, size_t size)
{
    memcpy(p, text, size);
    return p + size;
}

#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

/* Of another layer, it is answered with a header that says so. */
static bool is_simple(const mp__entry *entry, mp_str address, const wishes *w)
{
    size_t size = entry->blob.pub.size;

    return mp_str_equal(mp__entry_address(entry), address) && entry->kind == MP__RECORD_VALUE &&
           !entry->expires && size <= VALUE_MAX && (!w->packed || size < PACKED_FROM);
}

/* Append the answer to one hit; false: no memory. */
static bool answer(mp__worker_loop *worker, const mp__entry *entry, const wishes *w)
{
    mp_str value = mp_blob_str(&entry->blob.pub), type = mp__entry_media_type(entry);
    const mp__server_limits *limits = &worker->limits;
    mp_str head = mp__answer_head(worker);
    mp__buf *out = &worker->out;
    mp__etag etag;
    bool same, varies = mp__answer_varies(type, value.size);
    char *p;

    if (mp__buf_reserve(out, FIXED_MAX + type.size + value.size) != 0)
        return false;
    mp__etag_make(entry->revision, value, &etag);
    same = w->if_none_match.data && mp__etag_matches(w->if_none_match, &etag, true);
    p = out->data + out->size;
    if (same) {
        p = PUT(p, "HTTP/1.1 304 Not Modified\r\n");
        p = put(p, head.data + MP__STATUS_LINE_200, head.size - MP__STATUS_LINE_200);
    } else {
        p = put(p, head.data, head.size);
    }
    p = PUT(p, "ETag: ");
    p = put(p, etag.text, MP__ETAG_SIZE - 1);
    p = PUT(p, "\"\r\n");
    p = put(p, limits->http_cache_control, limits->http_cache_control_size);
    p = PUT(p, "MarketPrism-Revision: ");
    p += mp__u64_digits(entry->revision, p);
    p = PUT(p, "\r\nAge: 0\r\nMarketPrism-Level: eventual\r\nMarketPrism-Tier: L1\r\n");
    if (!same) {
        p = PUT(p, "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n"
                   "Content-Type: ");
        p = type.size ? put(p, type.data, type.size) : PUT(p, "application/octet-stream");
        p = PUT(p, "\r\n");
        if (varies)
            p = PUT(p, "Vary: Accept-Encoding\r\n");
        p = PUT(p, "Content-Length: ");
        p += mp__u64_digits(value.size, p);
        p = PUT(p, "\r\n");
    } else if (varies) {
        p = PUT(p, "Vary: Accept-Encoding\r\n");
    }
    p = PUT(p, "\r\n");
    if (!same && value.size)
        p = put(p, value.data, value.size);
    out->size = (size_t)(p - out->data);
    return true;
}

/* Answer the batch as far as it is hits; how many. */
static uint32_t answer_hits(mp__worker_loop *worker, uint32_t count, const wishes *w)
{
    const mp__get_batch *batch = &worker->batch;
    uint32_t i;

    if (mp_read_begin() != 0)
        return 0;
    if (count > 1)
        mp__cache_prefetch_many(mp__manager_cache(worker->server->manager), batch->hashes, count);
    for (i = 0; i < count; i++) {
        mp_str address = mp_str_new(batch->addresses[i], batch->sizes[i]);
        const mp__entry *entry =
            mp__read_now(worker->server->manager, address, batch->hashes[i], MP__LEVEL_EVENTUAL, 0);

        if (!entry || !is_simple(entry, address, w) || !answer(worker, entry, w)) {
            if (entry)
                mp__read_not_now(worker->server->manager);
            break;
        }
    }
    mp_read_end();
    return i;
}

size_t mp__http_run_hits(mp__http_connection *c, const char *data, size_t size)
{
    mp__worker_loop *worker = c->worker;
    size_t ends[MP__GET_BATCH];
    mp__http_request head;
    uint32_t count, hits;
    wishes w;

    if (worker->draining || !mp__http_parser_last(c->parser, &head) ||
        !take_wishes(worker->server, &head, &w))
        return 0;
    count = gather(c, data, size, ends);
    hits = count ? answer_hits(worker, count, &w) : 0;
    if (hits == 0)
        return 0;
    mp__monitor_count(worker->server->monitor, MP__EVENT_HTTP_REQUESTS, hits);
    mp__monitor_hits(worker->server->monitor, MP__OP_GET, MP__TIER_L1, hits);
    return ends[hits - 1];
}
