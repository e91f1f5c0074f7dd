/* SPDX-License-Identifier: Apache-2.0 */
/* llhttp reads the grammar; what stands here refuses every doubt that request smuggling lives on.
 */
#include "protocol/http.h"

#include <stdio.h>
#include <strings.h>

#include <llhttp.h>

#include "core/alloc.h"

typedef struct span { /* of parser->text */
    size_t at, size;
} span;

typedef struct header_spans {
    span name, value;
} header_spans;

struct mp__http_parser {
    llhttp_t llhttp;
    mp__http_limits limits;
    mp__buf text; /* method, target and headers of the request at work */
    mp__buf body, path;
    mp__buf known; /* the head below the first line of the last whole plain GET; empty: none */
    span target;
    header_spans *spans;
    mp__http_header *headers; /* made from spans when the request is whole */
    size_t count, capacity;
    size_t head_bytes, begun_bytes, trailer_bytes;
    bool in_value, complete, begun, in_body, has_length, has_chunked, has_host, expect;
    bool in_lines;         /* a line of the head has begun: an empty one ends it now */
    unsigned char last[2]; /* bytes of the head, oldest first, across feeds */
    int status;
    const char *error;
};

static mp__http_parser *of(llhttp_t *p)
{
    return p->data;
}

static int fail(mp__http_parser *p, int status, const char *error)
{
    if (!p->status) {
        p->status = status;
        p->error = error;
    }
    return -1;
}

/* ---- llhttp's callbacks ---- */

static int on_begin(llhttp_t *l)
{
    of(l)->begun = true;
    return 0;
}

static int add_text(mp__http_parser *p, span *s, const char *at, size_t size)
{
    if (s->size == 0)
        s->at = p->text.size;
    if (mp__buf_add(&p->text, at, size) != 0)
        return fail(p, 500, "out of memory");
    s->size += size;
    return 0;
}

static int on_url(llhttp_t *l, const char *at, size_t size)
{
    mp__http_parser *p = of(l);

    if (p->target.size + size > p->limits.line_max)
        return fail(p, 414, "the request line is too long");
    return add_text(p, &p->target, at, size);
}

static int new_header(mp__http_parser *p)
{
    if (p->count >= p->limits.header_count_max)
        return fail(p, 431, "too many headers");
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 16;
        header_spans *spans = mp__realloc_array(p->spans, capacity, sizeof(*spans));
        mp__http_header *headers =
            spans ? mp__realloc_array(p->headers, capacity, sizeof(*headers)) : NULL;

        p->spans = spans ? spans : p->spans;
        if (!headers)
            return fail(p, 500, "out of memory");
        p->headers = headers;
        p->capacity = capacity;
    }
    p->spans[p->count++] = (header_spans){{0, 0}, {0, 0}};
    return 0;
}

/* Fields behind a chunked body (RFC 9110 section 6.5.1) are passed over, up to the limit of
 * headers: those of the head have been given out by then, and nothing may come behind them. */
static int pass_trailer(mp__http_parser *p, size_t size)
{
    p->trailer_bytes += size;
    return p->trailer_bytes > p->limits.headers_max ? fail(p, 431, "the trailers are too long") : 0;
}

static int on_field(llhttp_t *l, const char *at, size_t size)
{
    mp__http_parser *p = of(l);

    if (p->in_body)
        return pass_trailer(p, size);
    if ((p->count == 0 || p->in_value) && new_header(p) != 0)
        return -1;
    p->in_value = false;
    return add_text(p, &p->spans[p->count - 1].name, at, size);
}

static int on_value(llhttp_t *l, const char *at, size_t size)
{
    mp__http_parser *p = of(l);

    if (p->in_body)
        return pass_trailer(p, size);
    p->in_value = true;
    return add_text(p, &p->spans[p->count - 1].value, at, size);
}

/* A header with an empty value still ends its name. */
static int on_value_complete(llhttp_t *l)
{
    of(l)->in_value = true;
    return 0;
}

static mp_str text_of(const mp__http_parser *p, span s)
{
    return mp_str_new(p->text.data + s.at, s.size);
}

static bool equals(mp_str a, const char *b)
{
    return a.size == strlen(b) && strncasecmp(a.data, b, a.size) == 0;
}

static bool is_digits(mp_str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
    return s.size > 0 && s.size < 16;
}

static bool is_host(mp_str s)
{
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.data[i];

        if (c <= 0x20 || c >= 0x7f || strchr("/?#@\\<>\"{}|^`,", c))
            return false;
    }
    return s.size > 0 && s.size < 512;
}

static int check_header(mp__http_parser *p, mp_str name, mp_str value)
{
    if (name.size == 0)
        return fail(p, 400, "a header without a name");
    for (size_t i = 0; i < value.size; i++)
        if (((unsigned char)value.data[i] < 0x20 && value.data[i] != '\t') || value.data[i] == 0x7f)
            return fail(p, 400, "a control character in a header");
    if (equals(name, "host")) {
        if (p->has_host || !is_host(value))
            return fail(p, 400, "exactly one sound Host header is needed");
        p->has_host = true;
    } else if (equals(name, "content-length")) {
        if (p->has_length || !is_digits(value))
            return fail(p, 400, "a doubtful Content-Length");
        p->has_length = true;
    } else if (equals(name, "transfer-encoding")) {
        if (p->has_chunked || !equals(value, "chunked"))
            return fail(p, equals(value, "chunked") ? 400 : 501,
                        "only one Transfer-Encoding: chunked is understood");
        p->has_chunked = true;
    } else if (equals(name, "expect")) {
        if (!equals(value, "100-continue"))
            return fail(p, 417, "only Expect: 100-continue is understood");
        p->expect = true;
    }
    return 0;
}

/* %XX decoded, . and .. refused, so that what is matched is what is meant. */
static int decode_path(mp__http_parser *p)
{
    mp_str t = text_of(p, p->target);
    const char *end = memchr(t.data, '?', t.size);
    size_t size = end ? (size_t)(end - t.data) : t.size, segment;

    if (t.size == 0 || t.data[0] != '/')
        return fail(p, 400, "the target must begin with a slash");
    mp__buf_reset(&p->path);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)t.data[i];
        unsigned value = 0;

        if (c == '%') {
            for (int k = 1; k <= 2; k++) {
                char h = i + (size_t)k < size ? t.data[i + (size_t)k] : 'x';

                h = (char)(h | 0x20);
                if ((h < '0' || h > '9') && (h < 'a' || h > 'f'))
                    return fail(p, 400, "a bad percent-encoding in the path");
                value = value * 16 + (unsigned)(h <= '9' ? h - '0' : h - 'a' + 10);
            }
            c = (unsigned char)value;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || t.data[i] == '#')
            return fail(p, 400, "a control character or fragment in the path");
        (void)mp__buf_add_char(&p->path, (char)c);
    }
    segment = 1;
    for (size_t i = 1; i <= p->path.size; i++) {
        if (i < p->path.size && p->path.data[i] != '/')
            continue;
        if ((i - segment == 1 && p->path.data[segment] == '.') ||
            (i - segment == 2 && p->path.data[segment] == '.' && p->path.data[segment + 1] == '.'))
            return fail(p, 400, "dot segments are not followed");
        segment = i + 1;
    }
    return p->path.error ? fail(p, 500, "out of memory") : 0;
}

/* With the spaces and empty lines that the text has not. */
static int check_head_size(mp__http_parser *p)
{
    return p->head_bytes > (size_t)p->limits.headers_max + p->limits.line_max
               ? fail(p, 431, "the headers are too long")
               : 0;
}

static int on_headers(llhttp_t *l)
{
    mp__http_parser *p = of(l);

    if (l->http_major != 1 || l->http_minor > 1)
        return fail(p, 505, "HTTP/1.0 and HTTP/1.1 only");
    if (p->text.size - p->target.size > p->limits.headers_max)
        return fail(p, 431, "the headers are too long"); /* also when they came at once */
    if (check_head_size(p) != 0)
        return -1;
    for (size_t i = 0; i < p->count; i++) {
        mp_str name = text_of(p, p->spans[i].name), value = text_of(p, p->spans[i].value);

        while (value.size &&
               (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t'))
            value.size--;
        p->headers[i] = (mp__http_header){name, value};
        if (check_header(p, name, value) != 0)
            return -1;
    }
    if (l->http_minor == 1 && !p->has_host)
        return fail(p, 400, "HTTP/1.1 needs a Host header");
    if (p->has_length && p->has_chunked)
        return fail(p, 400, "Content-Length and Transfer-Encoding together");
    if (p->has_chunked && l->http_minor == 0)
        return fail(p, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (l->content_length > p->limits.body_max && p->has_length)
        return fail(p, 413, "the body is too large");
    p->in_body = true;
    return decode_path(p);
}

static int on_body(llhttp_t *l, const char *at, size_t size)
{
    mp__http_parser *p = of(l);

    if (p->body.size + size > p->limits.body_max)
        return fail(p, 413, "the body is too large");
    return mp__buf_add(&p->body, at, size) ? fail(p, 500, "out of memory") : 0;
}

static int on_complete(llhttp_t *l)
{
    of(l)->complete = true;
    return HPE_PAUSED; /* one request at a time */
}

/* ---- the parser ---- */

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

int mp__http_parser_new(const mp__http_limits *limits, mp__http_parser **ret_parser)
{
    mp__http_parser *p = mp__calloc(1, sizeof(*p));

    if (!p)
        return MP_ENOMEM;
    llhttp_init(&p->llhttp, HTTP_REQUEST, &settings);
    p->llhttp.data = p;
    p->limits = *limits;
    *ret_parser = p;
    return 0;
}

mp__http_parser *mp__http_parser_free(mp__http_parser *parser)
{
    if (!parser)
        return NULL;
    mp__buf_done(&parser->text);
    mp__buf_done(&parser->body);
    mp__buf_done(&parser->path);
    mp__buf_done(&parser->known);
    (void)mp__free(parser->spans);
    (void)mp__free(parser->headers);
    return mp__free(parser);
}

enum { BODY_KEPT = 64 * 1024 }; /* bytes of memory for the next one */

static void drop_body(mp__http_parser *p)
{
    mp__buf_reset(&p->body);
    if (p->body.capacity > BODY_KEPT)
        mp__buf_done(&p->body);
}

static void begin_anew(mp__http_parser *p)
{
    mp__buf_reset(&p->text);
    drop_body(p);
    p->known.size = 0;
    p->target = (span){0, 0};
    p->count = 0;
    p->head_bytes = p->begun_bytes = p->trailer_bytes = 0;
    p->in_value = p->complete = p->begun = p->in_body = p->in_lines = false;
    p->has_length = p->has_chunked = p->has_host = p->expect = false;
    memset(p->last, 0, sizeof(p->last));
}

/* Bare line feeds, obs-fold and lines without a colon: llhttp forgives some of it, we do not. Looks
 * at the head's bytes only, and counts them; empty lines before the first one (RFC 9112 section
 * 2.2) do not end it. */
static int check_head_bytes(mp__http_parser *p, const char *data, size_t size)
{
    unsigned char *last = p->last;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)data[i];

        if (c == '\n' && last[1] != '\r')
            return fail(p, 400, "a line feed without carriage return");
        if (last[1] == '\r' && c != '\n')
            return fail(p, 400, "a carriage return without line feed");
        if (last[1] == '\n' && (c == ' ' || c == '\t'))
            return fail(p, 400, "a folded header");
        if (c == '\0')
            return fail(p, 400, "a NUL byte");
        if (p->in_lines && last[0] == '\n' && last[1] == '\r' && c == '\n') {
            p->head_bytes += i + 1; /* the head ends here */
            return 0;
        }
        p->in_lines |= c != '\r' && c != '\n';
        last[0] = last[1];
        last[1] = c;
    }
    p->head_bytes += size;
    return 0;
}

static int status_of(const mp__http_parser *p, llhttp_errno_t error)
{
    if (p->status)
        return p->status;
    return error == HPE_INVALID_VERSION ? 505 : error == HPE_INVALID_METHOD ? 501 : 400;
}

static void give(mp__http_parser *p, mp__http_request *r)
{
    mp_str target = text_of(p, p->target);
    const char *question = memchr(target.data, '?', target.size);

    *r = (mp__http_request){
        .method = mp_str_of(llhttp_method_name((llhttp_method_t)p->llhttp.method)),
        .target = target,
        .path = mp__buf_str(&p->path),
        .headers = p->headers,
        .header_count = p->count,
        .body = mp__buf_str(&p->body),
        .keep_alive = llhttp_should_keep_alive(&p->llhttp) != 0,
        .expect_continue = p->expect,
        .head = p->llhttp.method == HTTP_HEAD,
        .http_1_0 = p->llhttp.http_minor == 0,
        .upgrade = p->llhttp.upgrade != 0,
    };
    if (question)
        r->query = mp_str_new(question + 1, (size_t)(target.data + target.size - question - 1));
}

/* ---- the same head again ---- */

enum { KNOWN_MAX = 1024 /* bytes of a head that are kept in each connection */ };

/* Keep what is below the first line of a GET that was whole in @data, if another like it could be
 * told at a glance. */
static void remember(mp__http_parser *p, const char *data, size_t used)
{
    const char *line;

    if (p->llhttp.method != HTTP_GET || p->llhttp.http_minor == 0 || p->llhttp.upgrade ||
        p->has_length || p->has_chunked || p->expect || !llhttp_should_keep_alive(&p->llhttp) ||
        used < 4 || memcmp(data, "GET ", 4) != 0)
        return;
    line = memchr(data, '\n', used);
    if (line && (size_t)(data + used - line) <= KNOWN_MAX &&
        mp__buf_add(&p->known, line + 1, (size_t)(data + used - line - 1)) != 0)
        mp__buf_reset(&p->known);
}

/* Characters of a path that stand for themselves (RFC 3986 section 3.3), 2 the dot, which may be of
 * a dot segment. */
static const unsigned char plain[256] = {
    ['!'] = 1,         ['$'] = 1,         ['&'] = 1,        ['\''] = 1, ['('] = 1, [')'] = 1,
    ['*'] = 1,         ['+'] = 1,         [','] = 1,        ['-'] = 1,  ['.'] = 2, ['/'] = 1,
    [':'] = 1,         [';'] = 1,         ['='] = 1,        ['@'] = 1,  ['_'] = 1, ['~'] = 1,
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1};

bool mp__http_parser_again(const mp__http_parser *p, const char *data, size_t size,
                           mp_str *ret_path, size_t *ret_used)
{
    static const char version[] = " HTTP/1.1\r\n";
    size_t behind = sizeof(version) - 1 + p->known.size;
    const char *q = data + 4, *end;

    if (p->known.size == 0 || !p->complete || size < 5 + behind || memcmp(data, "GET /", 5) != 0)
        return false;
    end = data + size - behind;
    if ((size_t)(end - q) > p->limits.line_max)
        end = q + p->limits.line_max;
    for (; q < end && plain[(unsigned char)*q]; q++)
        if (plain[(unsigned char)*q] == 2 && q[-1] == '/')
            return false;
    if (memcmp(q, version, sizeof(version) - 1) != 0 ||
        memcmp(q + sizeof(version) - 1, p->known.data, p->known.size) != 0)
        return false;
    *ret_path = mp_str_new(data + 4, (size_t)(q - data) - 4);
    *ret_used = (size_t)(q - data) + behind;
    return true;
}

bool mp__http_parser_last(const mp__http_parser *p, mp__http_request *ret_head)
{
    if (p->known.size == 0 || !p->complete)
        return false;
    *ret_head = (mp__http_request){.headers = p->headers, .header_count = p->count};
    return true;
}

/* The request that again() saw, as give() gives one. */
static void give_again(mp__http_parser *p, mp_str path, mp__http_request *r)
{
    mp__buf_reset(&p->path);
    (void)mp__buf_add_str(&p->path, path); /* its room is looked at before */
    *r = (mp__http_request){
        .method = MP_STR("GET"),
        .target = mp__buf_str(&p->path),
        .path = mp__buf_str(&p->path),
        .headers = p->headers,
        .header_count = p->count,
        .keep_alive = true,
    };
}

int mp__http_parse(mp__http_parser *p, const char *data, size_t size, mp__http_request *ret_request,
                   size_t *ret_used, int *ret_status)
{
    llhttp_errno_t error;
    bool from_start = p->complete || !p->begun;
    mp_str path;

    if (mp__http_parser_again(p, data, size, &path, ret_used) &&
        mp__buf_reserve(&p->path, path.size) == 0) {
        give_again(p, path, ret_request);
        return 0;
    }
    if (p->complete)
        begin_anew(p);
    if (!p->in_body && check_head_bytes(p, data, size) != 0) {
        *ret_status = p->status;
        return MP_EPROTO;
    }
    error = llhttp_execute(&p->llhttp, data, size);
    *ret_used = size;
    if (error == HPE_PAUSED && p->complete) {
        *ret_used = (size_t)(llhttp_get_error_pos(&p->llhttp) - data);
        llhttp_resume(&p->llhttp);
        if (from_start)
            remember(p, data, *ret_used);
        give(p, ret_request);
        return 0;
    }
    if (error == HPE_PAUSED_UPGRADE) { /* what asks for an upgrade is answered without one */
        p->status = 501;
        p->error = "no protocol upgrades";
    }
    if (error != HPE_OK) {
        *ret_status = status_of(p, error);
        if (!p->error)
            p->error = llhttp_get_error_reason(&p->llhttp);
        return MP_EPROTO;
    }
    if (!p->in_body && check_head_size(p) != 0) {
        *ret_status = p->status;
        return MP_EPROTO;
    }
    return MP_EAGAIN;
}

int mp__http_parser_stage(const mp__http_parser *parser)
{
    return parser->complete || !parser->begun ? 0 : parser->in_body ? 2 : 1;
}

size_t mp__http_parser_held(const mp__http_parser *parser)
{
    return parser->complete ? 0 : parser->body.capacity;
}

void mp__http_parser_answered(mp__http_parser *parser)
{
    if (parser->complete)
        drop_body(parser);
}

bool mp__http_parser_continues(mp__http_parser *parser)
{
    bool yes = parser->expect && mp__http_parser_stage(parser) == 2 && parser->body.size == 0;

    if (yes)
        parser->expect = false; /* once */
    return yes;
}

const char *mp__http_parser_error(const mp__http_parser *parser)
{
    return parser->error ? parser->error : "";
}

/* ---- asking a request ---- */

mp_str mp__http_header_next(const mp__http_request *request, const char *name, size_t *at)
{
    while (*at < request->header_count) {
        const mp__http_header *header = &request->headers[(*at)++];

        if (equals(header->name, name))
            return header->value;
    }
    return (mp_str){NULL, 0};
}

mp_str mp__http_header_find(const mp__http_request *request, const char *name)
{
    size_t at = 0;

    return mp__http_header_next(request, name, &at);
}

static int hex(char c)
{
    c = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode_value(const char *p, const char *end, mp__buf *out)
{
    for (; p < end; p++) {
        if (*p == '%') {
            if (end - p < 3 || hex(p[1]) < 0 || hex(p[2]) < 0)
                return false;
            (void)mp__buf_add_char(out, (char)(hex(p[1]) * 16 + hex(p[2])));
            p += 2;
        } else {
            (void)mp__buf_add_char(out, *p == '+' ? ' ' : *p);
        }
    }
    return out->error == 0;
}

bool mp__http_query_find(mp_str query, const char *name, mp__buf *out)
{
    const char *p = query.data, *end = query.size ? query.data + query.size : query.data;
    size_t size = strlen(name);

    while (p < end) {
        const char *next = memchr(p, '&', (size_t)(end - p));
        const char *stop = next ? next : end;

        if ((size_t)(stop - p) >= size && strncmp(p, name, size) == 0 &&
            ((size_t)(stop - p) == size || p[size] == '='))
            return decode_value((size_t)(stop - p) == size ? stop : p + size + 1, stop, out);
        p = next ? next + 1 : end;
    }
    return false;
}

/* ---- replies ---- */

const char *mp__http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Unknown";
}

void mp__http_reply_status(mp__buf *out, int status)
{
    const char *text = mp__http_status_text(status);

    (void)mp__buf_add(out, "HTTP/1.1 ", 9);
    (void)mp__buf_add_u64(out, (uint64_t)status);
    (void)mp__buf_add_char(out, ' ');
    (void)mp__buf_add(out, text, strlen(text));
    (void)mp__buf_add(out, "\r\n", 2);
}

void mp__http_reply_header(mp__buf *out, const char *name, mp_str value)
{
    size_t size = 0;

    while (size < value.size &&
           ((unsigned char)value.data[size] >= 0x20 || value.data[size] == '\t'))
        size++;
    (void)mp__buf_add(out, name, strlen(name));
    (void)mp__buf_add(out, ": ", 2);
    (void)mp__buf_add(out, value.data, size);
    (void)mp__buf_add(out, "\r\n", 2);
}

/* From days to a date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
void mp__http_date(int64_t unix_s, char out[MP__HTTP_DATE_SIZE])
{
    static const char days[] = "ThuFriSatSunMonTueWed",
                      months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
    int64_t s = unix_s < 0 ? 0 : unix_s > 253402300799 ? 253402300799 : unix_s; /* 1970 to 9999 */
    uint32_t day = (uint32_t)(s / 86400), left = (uint32_t)(s % 86400);
    uint32_t z = day + 719468, era = z / 146097, of_era = z % 146097;
    uint32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint32_t month = (5 * of_year + 2) / 153, date = of_year - (153 * month + 2) / 5 + 1;

    year += era * 400 + (month >= 10);
    (void)snprintf(out, MP__HTTP_DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                   days + day % 7 * 3, date % 100, months + month * 3, year % 10000,
                   left / 3600 % 24, left / 60 % 60, left % 60);
}
