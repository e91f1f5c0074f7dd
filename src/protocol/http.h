/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 requests, pure: bytes in, a request out; heads of replies out.
 *
 * llhttp (strict) reads the grammar; this layer adds what smuggling needs: exactly one Host, no
 * folding, no doubt about the length, limits on line, headers, body and time. Any doubt: 400 and
 * close (RFC 9112 section 6.3). */
#ifndef MP_PROTOCOL_HTTP_H
#define MP_PROTOCOL_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

typedef struct mp__http_limits {
    uint32_t line_max, headers_max, body_max; /* bytes: 8 KiB, 32 KiB, 4 MiB */
    uint16_t header_count_max;                /* 100 */
} mp__http_limits;

typedef struct mp__http_header {
    mp_str name, value;
} mp__http_header;

typedef struct mp__http_request {
    mp_str method;      /* "GET" */
    mp_str target;      /* as sent */
    mp_str path, query; /* decoded path without query; query as sent, without ? */
    const mp__http_header *headers;
    size_t header_count;
    mp_str body;
    bool keep_alive, expect_continue, head; /* head: answer without a body */
    bool http_1_0;
    bool upgrade; /* it asks for another protocol; what comes behind it is not HTTP if it gets it,
                   * and is not read as HTTP if it does not: answer and close */
} mp__http_request;

typedef struct mp__http_parser mp__http_parser;

MP_MUST_USE int mp__http_parser_new(const mp__http_limits *limits, mp__http_parser **ret_parser);
mp__http_parser *mp__http_parser_free(mp__http_parser *parser);

/* Feed bytes. 0: one request is whole; *ret_request is valid until the next call; *ret_used bytes
 * were taken (call again with the rest: pipelining). MP_EAGAIN: all taken, more are needed.
 * MP_EPROTO: answer *ret_status (400, 405, 413, 414, 417, 431, 501, 505) and close. */
MP_MUST_USE int mp__http_parse(mp__http_parser *parser, const char *data, size_t size,
                               mp__http_request *ret_request, size_t *ret_used, int *ret_status);
/* Whether @data begins with a GET of a path of plain characters (no %, no query, no dot segment)
 * whose head below its first line is, byte for byte, that of the last whole request: then all that
 * was found of those headers holds of it, too, and it has no body. *ret_path is a slice of @data,
 * *ret_used the request's size. False: mp__http_parse() must look. Changes nothing. */
bool mp__http_parser_again(const mp__http_parser *parser, const char *data, size_t size,
                           mp_str *ret_path, size_t *ret_used);
/* The headers that such requests share, of the last whole request, in ret_head->headers; the rest
 * of it is empty. False: there cannot be such requests. */
bool mp__http_parser_last(const mp__http_parser *parser, mp__http_request *ret_head);
/* Inside a request (for time limits): 0 idle, 1 in the head, 2 in the body. */
int mp__http_parser_stage(const mp__http_parser *parser);
/* Bytes of memory for the body of a request that is not whole yet. */
size_t mp__http_parser_held(const mp__http_parser *parser);
/* The last request is answered: a large body of it need not stay until the next one comes. */
void mp__http_parser_answered(mp__http_parser *parser);
/* True once for a request that waits for 100 Continue before it sends its body: after MP_EAGAIN. */
bool mp__http_parser_continues(mp__http_parser *parser);
/* Why the last MP_EPROTO, one line. */
const char *mp__http_parser_error(const mp__http_parser *parser);

/* The value of header @name (any case), or an empty str with data NULL. */
mp_str mp__http_header_find(const mp__http_request *request, const char *name);
/* The value of its next line from *@at on, which begins at 0: a list may be spread over several. */
mp_str mp__http_header_next(const mp__http_request *request, const char *name, size_t *at);
/* Decoded value of @name in the query into @out; false when it is not there or malformed. */
bool mp__http_query_find(mp_str query, const char *name, mp__buf *out);

/* "HTTP/1.1 200 OK\r\n" */
void mp__http_reply_status(mp__buf *out, int status);
/* "name: value\r\n"; a value that would break the line is cut there. */
void mp__http_reply_header(mp__buf *out, const char *name, mp_str value);
const char *mp__http_status_text(int status);
/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7): 29 bytes and the terminator. */
enum { MP__HTTP_DATE_SIZE = 30 };
void mp__http_date(int64_t unix_s, char out[MP__HTTP_DATE_SIZE]);

#endif
