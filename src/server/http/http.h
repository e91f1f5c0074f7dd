/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP inside the server: exchanges (one request and its answer), routes, and three ways to answer:
 * at once, later on the same loop, or as a stream.
 *
 * A connection has one exchange at a time; what a client pipelines behind it waits in the
 * connection until the exchange is over, so answers keep their order and a write is seen by the
 * read behind it. Everything here belongs to the worker's loop thread.
 *
 *     route -> handler(x) --+-- mp__answer_...(x) ----------------------------> over
 *                           |
 *                           +-- returns; later, on the same loop,
 *                           |   mp__answer_...(x), also when x->gone ---------> over
 *                           |
 *                           +-- mp__exchange_on_close(x, fn): as before, but
 *                           |   fn is called when the client goes -----------> over
 *                           |
 *                           +-- mp__http_stream_begin / mp__http_stream_upgrade
 *                               mp__http_stream_write ... mp__http_stream_end ---------> over
 *                                           or on_close, when the client goes
 *
 * "Over" means: x must not be touched any more. Exactly one of these ends happens to each exchange,
 * and every handler sees to it. */
#ifndef MP_SERVER_HTTP_HTTP_H
#define MP_SERVER_HTTP_HTTP_H

#include "server/internal.h"

typedef struct mp__exchange mp__exchange;
typedef struct mp__http_connection mp__http_connection;

/* ---- routes: route.c holds the one table ---- */

enum { MP__ROUTE_VALUES_MAX = 2 };

typedef struct mp__route {
    const char *method;  /* "GET" answers HEAD, too: the body is left out by the reply functions */
    const char *pattern; /* "/v1/config/{namespace}/{key...}": {name} is one segment, not empty,
                          * {name...} all that is left, not empty; a trailing / may be left out */
    void (*run)(mp__exchange *x);
    const char *summary; /* one line, for GET / and people */
} mp__route;

extern const mp__route mp__routes[];
extern const size_t mp__route_count;

/* The route of a path and method; *ret_values get what the pattern's braces stand for, slices of
 * @path. NULL: *ret_allowed is what that path takes, as "GET, HEAD, PUT", "" when there is no such
 * path. Pure. */
const mp__route *mp__route_find(mp_str method, mp_str path, mp_str ret_values[MP__ROUTE_VALUES_MAX],
                                char *ret_allowed, size_t allowed_capacity);

/* ---- exchanges ---- */

struct mp__exchange {
    mp__http_connection *connection;
    mp__worker_loop *worker;
    const mp__route *route;
    /* Valid until the exchange is over; of a stream until mp__http_stream_begin() returns to the
     * loop. */
    mp__http_request request;
    mp_str values[MP__ROUTE_VALUES_MAX]; /* of the pattern's braces */
    mp__identity identity;               /* who asks; lives as long as the exchange */
    bool gone; /* the client has gone: answering is allowed and does nothing but end it */
    _Atomic bool is_gone; /* the same, for other threads */
    bool streaming;       /* from mp__http_stream_begin() on */
    uint64_t began_ns;
    /* private to connection.c and reply.c */
    struct mp__exchange_chunk *memory;
    void (*on_close)(mp__exchange *x, void *context);
    void *context;
    const struct mp__http_stream_events *events;
    mp__buf *out;
    size_t begin, head_end;    /* of out: where the answer begins, and its own headers do */
    struct mp__repeat *repeat; /* the answer is kept for who asks again; else NULL */
    mp__buf body;              /* unpacked */
    int status;
    bool chunked, raw, ending, drained;
};

/* Zeroed memory that lives until the exchange is over, or NULL: then answer
 * mp__answer_no_memory(x). */
void *mp__exchange_memory(mp__exchange *x, size_t size) __attribute__((warn_unused_result));

/* The client's address, as mp__stream_peer(). */
const char *mp__exchange_peer(mp__exchange *x, char *text, size_t capacity);

/* For who waits without answering (long poll): @fn is called once when the client goes, or the
 * server stops, before the exchange was answered; the exchange is over when it returns. Without it
 * a waiting exchange is not told (x->gone is set) and must still be ended by an answer. */
void mp__exchange_on_close(mp__exchange *x, void (*fn)(mp__exchange *x, void *context),
                           void *context);

/* Decoded value of the query parameter @name, in the exchange's memory; data NULL when it is not
 * there. */
mp_str mp__exchange_query(mp__exchange *x, const char *name);

/* ---- answering: straight from begin to end, no return to the loop in between ---- */

/* Status line, Date, Connection. */
void mp__answer_begin(mp__exchange *x, int status);
void mp__answer_header(mp__exchange *x, const char *name, mp_str value);
void mp__answer_header_text(mp__exchange *x, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Content-Type (left out when empty), Content-Length, the body; gzip where the client takes it and
 * it pays. The exchange is over for the caller, also where it has to wait to be compressed. */
void mp__answer_end(mp__exchange *x, mp_str content_type, mp_str body);
/* The same of a body that @kept holds (NULL: nobody): what waits of a large one is not copied. */
void mp__answer_end_kept(mp__exchange *x, mp_str content_type, mp_str body, const mp_blob *kept);
/* An answer that has no body by its nature (204, 304): the exchange is over. */
void mp__answer_end_empty(mp__exchange *x);

/* Whether clients are answered differently, by their Accept-Encoding, with a body of this type and
 * size: then every answer about it has to say so, also one that is not compressed and a 304
 * (RFC 9110 section 12.5.5). */
bool mp__answer_varies(mp_str content_type, size_t size);
/* Whether mp__answer_end() will compress a body of this type and size for this client. */
bool mp__answer_compresses(const mp__exchange *x, mp_str content_type, size_t size);

/* A whole answer at once: begin, Cache-Control: no-store, end. Takes what @body holds. */
void mp__answer_json(mp__exchange *x, int status, mp__buf *body);
void mp__answer_text(mp__exchange *x, int status, mp_str text);

/* What Accept-Patch says: of a path that takes PATCH, and of a patch that is none. */
#define MP__PATCH_TYPES "application/merge-patch+json, application/json-patch+json"

/* application/problem+json (RFC 9457): type, title, status, detail, instance, remedy. */
typedef struct mp__problem {
    int status;
    const char *type;             /* "absent": becomes /problems/absent; NULL: about:blank */
    const char *detail;           /* what is wrong here, one line */
    const char *remedy;           /* what to do about it; NULL: what the status suggests */
    int64_t retry_after_ms;       /* > 0: also as the header Retry-After, in whole seconds */
    uint64_t last_known_revision; /* > 0: said */
    const char *stale_reason;     /* the header MarketPrism-Stale, with @stale_age_ms; NULL: none */
    int64_t stale_age_ms;
    const char *allow;        /* the header Allow; NULL: none */
    bool accept_patch;        /* the header Accept-Patch */
    bool accept_encoding;     /* the header Accept-Encoding */
    bool websocket_version;   /* the header Sec-WebSocket-Version */
    const mp__broken *broken; /* MP_EINVALID: said as "errors" */
    size_t broken_count;
    const mp__diag *place; /* file, line, column where there are any; may be NULL */
} mp__problem;
void mp__answer_problem(mp__exchange *x, const mp__problem *problem);
/* The header MarketPrism-Stale of an answer that is begun. */
void mp__answer_stale(mp__exchange *x, int64_t age_ms, const char *reason);
/* The problem of an error code, with the table's remedy; @detail may be NULL. */
void mp__answer_error(mp__exchange *x, int error, const char *detail);
/* The same of a value of which @revision is known; 0: none is. */
void mp__answer_error_of(mp__exchange *x, int error, const char *detail, uint64_t revision);
/* 400 with type "invalid". */
void mp__answer_invalid(mp__exchange *x, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mp__answer_no_memory(mp__exchange *x);

/* ---- streaming ---- */

typedef struct mp__http_stream_events {
    /* All that was written has been handed to the system: unsent is 0. May be NULL. */
    void (*on_writable)(mp__exchange *x, void *context);
    /* Upgraded streams: bytes of the client, valid during the call. May be NULL otherwise: what a
     * client sends into a chunked answer is not looked at. */
    void (*on_read)(mp__exchange *x, void *context, const char *data, size_t size);
    /* The server stops: say goodbye and call mp__http_stream_end(), in this call or soon. NULL: the
     * stream is ended, and on_close is called. */
    void (*on_drain)(mp__exchange *x, void *context);
    /* The client has gone, was cut (it took nothing for too long, or left more unsent than
     * resp.output_hard), or the server ends. x is valid during the call for the last time. Not
     * called after mp__http_stream_end(). */
    void (*on_close)(mp__exchange *x, void *context);
} mp__http_stream_events;

/* Begin an answer whose end is not known: after mp__answer_begin() and headers, in place of
 * mp__answer_end(). Chunked for HTTP/1.1, until the end of the connection for 1.0. Not compressed.
 * The connection ends with the stream; its parser and its buffers are given back, so that an idle
 * stream costs a socket and this. The answer's head goes out at once. False: the connection broke
 * at this write; the exchange is over and on_close is not called. To a HEAD request begin answers
 * the head alone and returns false, too. */
bool mp__http_stream_begin(mp__exchange *x, mp_str content_type,
                           const mp__http_stream_events *events, void *context)
    __attribute__((warn_unused_result));
/* Switch protocols: after mp__answer_begin(x, 101) and the headers that go with it (Connection and
 * Upgrade included); from here on bytes are the caller's own both ways. Only where
 * x->request.upgrade. What the client sent right behind its request comes to on_read after this
 * returned to the loop. False as of mp__http_stream_begin(). */
bool mp__http_stream_upgrade(mp__exchange *x, const mp__http_stream_events *events, void *context)
    __attribute__((warn_unused_result));
/* Send; one chunk a call, so gather. The bytes are copied where the socket does not take them now.
 * False: the stream broke just now; on_close follows from the loop, not from inside this call. */
bool mp__http_stream_write(mp__exchange *x, const void *data, size_t size);
bool mp__http_stream_write_parts(mp__exchange *x, const struct iovec *parts,
                                 int count); /* at most 8 */
/* Bytes that the system has not taken yet. A writer that sees much here waits for on_writable;
 * above resp.output_hard the connection is cut. */
size_t mp__http_stream_unsent(const mp__exchange *x);
/* The end: the last chunk, then the connection closes when all is sent. The exchange is over. */
void mp__http_stream_end(mp__exchange *x);
/* Give up at once, dropping what is unsent. The exchange is over; on_close is not called. */
void mp__http_stream_abort(mp__exchange *x);

#endif
