/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket (RFC 6455), the server's side, pure: the answer to a handshake, heads of frames, and a
 * reader of what a client sends to somebody who only tells: pings, pongs and the end. */
#ifndef MP_PROTOCOL_WEBSOCKET_H
#define MP_PROTOCOL_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

enum mp__ws_opcode {
    MP__WS_CONTINUATION = 0,
    MP__WS_TEXT = 1,
    MP__WS_BINARY = 2,
    MP__WS_CLOSE = 8,
    MP__WS_PING = 9,
    MP__WS_PONG = 10,
};

/* Why an end; section 7.4.1. */
enum mp__ws_code {
    MP__WS_NORMAL = 1000,
    MP__WS_GOING_AWAY = 1001,
    MP__WS_PROTOCOL_ERROR = 1002,
    MP__WS_BAD_TEXT = 1007,
    MP__WS_TOO_LARGE = 1009,
};

/* Append the value of Sec-WebSocket-Accept for the client's Sec-WebSocket-Key (section 4.2.2).
 * False: @key is none. */
bool mp__ws_accept(mp_str key, mp__buf *out);

/* The head of a whole frame of @size bytes, which follow it unmasked. Returns its size. */
enum { MP__WS_HEAD_MAX = 10 };
size_t mp__ws_head(enum mp__ws_opcode opcode, uint64_t size, unsigned char out[MP__WS_HEAD_MAX]);

/* ---- what clients send ---- */

enum { MP__WS_CONTROL_MAX = 125, MP__WS_MESSAGE_MAX = 64 * 1024 };

typedef struct mp__ws_parser {
    unsigned char head[14]; /* of the frame at work, mask included */
    uint8_t head_size;      /* bytes of it so far */
    uint8_t mask_at;
    bool in_message; /* a message of several frames has begun */
    uint64_t left;   /* of the frame's payload */
    uint64_t message_size;
    uint8_t control_size;
    unsigned char control[MP__WS_CONTROL_MAX];
} mp__ws_parser; /* begins zeroed */

/* Read on. 0: a control frame is whole, *ret_opcode with its payload (valid until the next call);
 * *ret_used bytes were taken, call again with the rest. MP_EAGAIN: all taken; what messages said
 * was left out. MP_EPROTO: close with *ret_code. */
MP_MUST_USE int mp__ws_parse(mp__ws_parser *parser, const char *data, size_t size, size_t *ret_used,
                             enum mp__ws_opcode *ret_opcode, mp_str *ret_payload,
                             enum mp__ws_code *ret_code);

/* The code that answers a close frame with @payload: the client's own, MP__WS_NORMAL where it gave
 * none, or what is wrong with it (sections 5.5.1 and 7.4). */
unsigned mp__ws_close_answer(mp_str payload);

#endif
