/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP requests: any cut of the input into reads gives the same requests and then a refusal or
 * none; each request by itself, read by a parser that saw nothing before it, is what it was in the
 * row (so that a head told at a glance means what it says); and what the server asks of a request
 * holds: a path without dot segments, one sound Host, headers within their limits. The first byte
 * chooses the cuts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "protocol/http.h"
#include "server/http/handlers.h"

enum { INPUT_MAX = 32 * 1024, PARTS_MAX = 64 };

static const mp__http_limits limits = {
    .line_max = 512, .headers_max = 2048, .body_max = 4096, .header_count_max = 20};

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* ---- what must be true of every request ---- */

static void check_path(mp_str path)
{
    size_t segment = 1;

    check(path.size > 0 && path.data[0] == '/' && path.size <= limits.line_max);
    for (size_t i = 1; i <= path.size; i++) {
        if (i < path.size) {
            unsigned char c = (unsigned char)path.data[i];

            check(c >= 0x20 && c != 0x7f);
            if (c != '/')
                continue;
        }
        check(!(i - segment == 1 && path.data[segment] == '.'));
        check(!(i - segment == 2 && path.data[segment] == '.' && path.data[segment + 1] == '.'));
        segment = i + 1;
    }
}

static void check_headers(const mp__http_request *r)
{
    size_t hosts = 0;

    check(r->header_count <= limits.header_count_max);
    for (size_t i = 0; i < r->header_count; i++) {
        mp_str name = r->headers[i].name, value = r->headers[i].value, list = value, item;
        mp__etag etag;

        check(name.size > 0);
        for (size_t k = 0; k < value.size; k++)
            check((unsigned char)value.data[k] >= 0x20 || value.data[k] == '\t');
        hosts += name.size == 4 && (name.data[0] | 0x20) == 'h' && (name.data[1] | 0x20) == 'o' &&
                 (name.data[2] | 0x20) == 's' && (name.data[3] | 0x20) == 't';
        while (mp__http_list_next(&list, &item))
            check(item.size > 0 && item.data >= value.data &&
                  item.data + item.size <= value.data + value.size);
        mp__etag_make(1, value, &etag);
        (void)mp__etag_matches(value, &etag, true);
        check(!mp__etag_matches(value, NULL, false));
    }
    check(hosts <= 1 && (hosts == 1 || r->http_1_0));
}

/* The ways of the server that only look. */
static void check_uses(const mp__http_request *r)
{
    mp_str values[MP__ROUTE_VALUES_MAX];
    mp__buf value = MP__BUF_INIT;
    char allowed[128] = "";
    const mp__route *route = mp__route_find(r->method, r->path, values, allowed, sizeof(allowed));

    check(!route || strchr(route->pattern, '{') == NULL || values[0].size > 0);
    (void)mp__http_query_find(r->query, "at", &value);
    check(value.size <= r->query.size);
    mp__buf_done(&value);
}

/* ---- what a feed gave, as text ---- */

static void note(mp__buf *out, const mp__http_request *r)
{
    (void)mp__buf_printf(out, "\n%d%d%d%d %zu ", r->keep_alive, r->http_1_0, r->head, r->upgrade,
                         r->header_count);
    (void)mp__buf_add_str(out, r->method);
    (void)mp__buf_add_str(out, r->target);
    (void)mp__buf_add_char(out, ' ');
    (void)mp__buf_add_str(out, r->path);
    (void)mp__buf_add_char(out, '?');
    if (r->query.size)
        (void)mp__buf_add_str(out, r->query);
    for (size_t i = 0; i < r->header_count; i++) {
        (void)mp__buf_add_char(out, '\n');
        (void)mp__buf_add_str(out, r->headers[i].name);
        (void)mp__buf_add_char(out, ':');
        (void)mp__buf_add_str(out, r->headers[i].value);
    }
    (void)mp__buf_printf(out, "\n%zu:", r->body.size);
    if (r->body.size)
        (void)mp__buf_add_str(out, r->body);
}

typedef struct requests {
    size_t ends[PARTS_MAX], notes[PARTS_MAX + 1]; /* in the input; in the text */
    size_t count;
    mp__buf text;
} requests;

/* Feed @input in pieces of at most @step bytes, until it ends, is refused or the server would
 * close. */
static void feed(const char *input, size_t size, size_t step, requests *all)
{
    mp__http_parser *parser = NULL;
    size_t at = 0;

    *all = (requests){0};
    if (mp__http_parser_new(&limits, &parser) != 0)
        abort();
    while (at < size && all->count < PARTS_MAX) {
        size_t n = size - at < step ? size - at : step, used = 0;
        char *piece = malloc(n); /* so that a read past it is seen */
        mp__http_request r;
        int status = 0, rc;
        bool ends = false;

        memcpy(piece, input + at, n);
        rc = mp__http_parse(parser, piece, n, &r, &used, &status);
        if (rc == MP_EPROTO) {
            check(status >= 400 && status < 600 && mp__http_parser_error(parser)[0]);
            /* of several things that are wrong another may be met first */
            (void)mp__buf_add_str(&all->text, MP_STR("\n!"));
            ends = true;
        } else if (rc == 0) {
            check(used > 0 && used <= n);
            at += used;
            check_path(r.path);
            check_headers(&r);
            check_uses(&r);
            note(&all->text, &r);
            all->ends[all->count++] = at;
            all->notes[all->count] = all->text.size;
            ends = !r.keep_alive || r.upgrade;
        } else {
            check(rc == MP_EAGAIN && used == n);
            at += n;
        }
        free(piece);
        if (ends)
            break;
    }
    (void)mp__http_parser_free(parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    requests whole, cut;
    const char *input;
    size_t step, at = 0;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    step = 1 + data[0] % 97;
    input = (const char *)data + 1;
    size--;
    feed(input, size, size, &whole);
    feed(input, size, step, &cut);
    check(mp_str_equal(mp__buf_str(&whole.text), mp__buf_str(&cut.text)));
    for (size_t i = 0; i < whole.count; i++) { /* each by itself */
        requests one;

        feed(input + at, whole.ends[i] - at, SIZE_MAX, &one);
        check(one.count == 1 && mp_str_equal(mp__buf_str(&one.text),
                                             mp_str_new(whole.text.data + whole.notes[i],
                                                        whole.notes[i + 1] - whole.notes[i])));
        at = whole.ends[i];
        mp__buf_done(&one.text);
    }
    mp__buf_done(&whole.text);
    mp__buf_done(&cut.text);
    return 0;
}
