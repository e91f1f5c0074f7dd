/* SPDX-License-Identifier: Apache-2.0 */
/* RESP2 and RESP3, pure: bytes in, commands or replies out; bytes of replies out of values.
 *
 * The request side reads arrays of bulk strings and inline commands, strictly: what Redis only
 * tolerates by accident (signs, leading zeros, spaces in lengths) is refused, and memory is taken
 * only for bytes that arrived. The reply side is as strict with numbers.
 * https://redis.io/docs/reference/protocol-spec (RESP3). */
#ifndef MP_PROTOCOL_RESP_H
#define MP_PROTOCOL_RESP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

typedef struct mp__resp_limits {
    uint32_t arguments_max; /* 1,024; 10 before login */
    uint32_t bulk_max;      /* bytes; 2 MiB; 16 KiB before login */
    uint32_t inline_max;    /* bytes of a line; 64 KiB */
    size_t command_max;     /* bytes of one command in all; 0: as the three above allow */
} mp__resp_limits;

/* One command in the buffer it came in: slices, nothing copied (inline quotes are resolved in
 * place). Valid until the buffer changes. */
typedef struct mp__resp_command {
    mp_str *arguments; /* in the parser's own array, until its next call */
    uint32_t count;    /* 0: an empty line or *0, to be skipped */
} mp__resp_command;

/* Keeps where it is inside an incomplete command, so that no byte is looked at twice. */
typedef struct mp__resp_parser {
    mp__resp_limits limits;
    mp_str *arguments; /* grows with what arrived, to limits.arguments_max */
    uint32_t capacity, count;
    int64_t expected; /* arguments of the array begun, -1: none */
    int64_t bulk;     /* bytes of the bulk begun, -1: none */
    size_t position;  /* bytes of the buffer understood so far */
    const char *base; /* of the buffer when the slices were made; slices are rebased if it moved */
    const char *error; /* text of the last MP_EPROTO, as a client expects it: "Protocol error: …" */
} mp__resp_parser;

void mp__resp_parser_init(mp__resp_parser *parser, const mp__resp_limits *limits);
void mp__resp_parser_done(mp__resp_parser *parser);

/* Take the next command from @data (the same bytes as last time, perhaps moved, perhaps more of
 * them). 0: *ret_command, and *ret_used bytes belong to it. MP_EAGAIN: more bytes are needed.
 * MP_EPROTO: refuse and close; parser->error. MP_ENOMEM. @data is written to (inline quotes). */
MP_MUST_USE int mp__resp_parse(mp__resp_parser *parser, char *data, size_t size,
                               mp__resp_command *ret_command, size_t *ret_used);
/* The command that a cache is asked most, told at a glance: when all of "GET key" stands at @data
 * as clients write it and the parser is between two commands, how long it is, with its key. 0:
 * anything else, also what is refused; mp__resp_parse() tells. */
size_t mp__resp_parse_get(const mp__resp_parser *parser, const char *data, size_t size,
                          mp_str *ret_key);
/* Bytes that are still missing at the least to end the command begun; 1 when not known. For the
 * reader to make room once. */
size_t mp__resp_wants(const mp__resp_parser *parser, size_t size);

/* ---- replies out; @version 2 or 3. They return nothing: look at buf->error once. ---- */

void mp__resp_simple(mp__buf *out, const char *text); /* +OK */
/* -CODE text; line breaks in it become blanks. */
void mp__resp_error(mp__buf *out, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mp__resp_integer(mp__buf *out, int64_t value);
void mp__resp_bulk(mp__buf *out, mp_str value);
void mp__resp_bulk_head(mp__buf *out, size_t size);  /* "$12\r\n"; the bytes and "\r\n" follow */
void mp__resp_null(mp__buf *out, int version);       /* $-1 or _ */
void mp__resp_null_array(mp__buf *out, int version); /* *-1 or _ */
void mp__resp_array(mp__buf *out, size_t count);
void mp__resp_map(mp__buf *out, size_t pairs, int version);  /* %n, or *2n */
void mp__resp_set(mp__buf *out, size_t count, int version);  /* ~n, or *n */
void mp__resp_push(mp__buf *out, size_t count, int version); /* >n, or *n */
void mp__resp_bool(mp__buf *out, bool value, int version);   /* #t, or :1 */
void mp__resp_double(mp__buf *out, double value, int version);
void mp__resp_verbatim(mp__buf *out, const char kind[3], mp_str text, int version); /* =n txt: */

/* ---- commands out (clients, origins, front) ---- */
void mp__resp_request(mp__buf *out, const mp_str *arguments, size_t count);

/* ---- replies in (clients, origins, front) ---- */

enum mp__reply_type {
    MP__REPLY_SIMPLE,
    MP__REPLY_ERROR,
    MP__REPLY_INTEGER,
    MP__REPLY_BULK,
    MP__REPLY_NULL,
    MP__REPLY_ARRAY,
    MP__REPLY_MAP,
    MP__REPLY_SET,
    MP__REPLY_PUSH,
    MP__REPLY_BOOL,
    MP__REPLY_DOUBLE,
    MP__REPLY_VERBATIM,
    MP__REPLY_BIG_NUMBER,
};
typedef struct mp__reply {
    enum mp__reply_type type;
    mp_str text;     /* SIMPLE ERROR BULK VERBATIM BIG_NUMBER: slice of the input */
    int64_t integer; /* INTEGER, BOOL */
    double real;
    struct mp__reply *items; /* ARRAY SET PUSH: count; MAP: 2 x count */
    size_t count;
} mp__reply;

typedef struct mp__reply_limits {
    uint32_t depth_max; /* 8 */
    size_t items_max;   /* in all; 1,048,576 */
    size_t bulk_max;    /* 512 MiB */
} mp__reply_limits;

/* Parse one whole reply. 0: *ret_reply is a tree the caller frees with mp__reply_free; *ret_used.
 * MP_EAGAIN, MP_EPROTO, MP_ENOMEM, MP_ELIMIT. Pure. */
MP_MUST_USE int mp__reply_parse(const char *data, size_t size, const mp__reply_limits *limits,
                                mp__reply **ret_reply, size_t *ret_used);
mp__reply *mp__reply_free(mp__reply *reply);

/* Glob as Redis has it (* ? [a-c] [^a] \x), iterative, at most @steps_max steps (then no match), so
 * that no pattern costs more (CVE-2022-36021). A step is a byte looked at. Pure. */
bool mp__glob_match(mp_str pattern, mp_str text, size_t steps_max);
/* The same for many texts under one limit: what was used is taken off *steps. False with none left:
 * nobody knows. Pure. */
bool mp__glob_match_within(mp_str pattern, mp_str text, size_t *steps);

#endif
