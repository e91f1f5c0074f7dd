/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket.h"

#include <string.h>

#include "core/base64.h"
#include "core/json.h"

/* ---- SHA-1 (RFC 3174): the handshake asks for it; nothing here is kept secret by it ---- */

typedef struct sha1 {
    uint32_t h[5];
} sha1;

static uint32_t rotate(uint32_t x, int bits)
{
    return x << bits | x >> (32 - bits);
}

static void sha1_block(sha1 *s, const unsigned char *p)
{
    uint32_t w[80], a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3], e = s->h[4];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];

        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    s->h[0] += a;
    s->h[1] += b;
    s->h[2] += c;
    s->h[3] += d;
    s->h[4] += e;
}

/* Of at most 119 bytes: two blocks, with the end mark and the length. */
static void sha1_short(const unsigned char *data, size_t size, unsigned char out[20])
{
    sha1 s = {{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}};
    unsigned char blocks[128] = {0};
    size_t total = size < 56 ? 64 : 128;

    memcpy(blocks, data, size);
    blocks[size] = 0x80;
    blocks[total - 2] = (unsigned char)(size * 8 >> 8);
    blocks[total - 1] = (unsigned char)(size * 8);
    for (size_t at = 0; at < total; at += 64)
        sha1_block(&s, blocks + at);
    for (int i = 0; i < 20; i++)
        out[i] = (unsigned char)(s.h[i / 4] >> (24 - 8 * (i % 4)));
}

/* ---- the handshake ---- */

static bool is_base64(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

bool mp__ws_accept(mp_str key, mp__buf *out)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* section 1.3 */
    enum { KEY_SIZE = 24 };                                            /* 16 bytes in base64 */
    unsigned char text[KEY_SIZE + sizeof(guid) - 1], hash[20];

    if (key.size != KEY_SIZE || key.data[22] != '=' || key.data[23] != '=')
        return false;
    for (int i = 0; i < 22; i++)
        if (!is_base64(key.data[i]))
            return false;
    memcpy(text, key.data, KEY_SIZE);
    memcpy(text + KEY_SIZE, guid, sizeof(guid) - 1);
    sha1_short(text, sizeof(text), hash);
    mp__base64_add(out, mp_str_new((const char *)hash, sizeof(hash)), false);
    return true;
}

/* ---- frames out ---- */

size_t mp__ws_head(enum mp__ws_opcode opcode, uint64_t size, unsigned char out[MP__WS_HEAD_MAX])
{
    size_t bytes = size <= 125 ? 0 : size <= UINT16_MAX ? 2 : 8;

    out[0] = (unsigned char)(0x80 | opcode);
    out[1] = (unsigned char)(bytes == 0 ? size : bytes == 2 ? 126 : 127);
    for (size_t i = 0; i < bytes; i++)
        out[2 + i] = (unsigned char)(size >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

/* ---- frames in ---- */

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };

static size_t head_bytes(const mp__ws_parser *p)
{
    unsigned length;

    if (p->head_size < 2)
        return 2;
    length = p->head[1] & LENGTH;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4;
}

static uint64_t payload_size(const mp__ws_parser *p)
{
    uint64_t size = p->head[1] & LENGTH;
    int bytes = size == 126 ? 2 : size == 127 ? 8 : 0;

    if (bytes)
        size = 0;
    for (int i = 0; i < bytes; i++)
        size = size << 8 | p->head[2 + i];
    return size;
}

static bool is_control(const mp__ws_parser *p)
{
    return p->head[0] & 8;
}

/* The head's first two bytes: nothing that needs an extension, masked (section 5.1), control frames
 * whole and short (5.5), messages in their order (5.4). */
static bool is_head_good(const mp__ws_parser *p)
{
    unsigned opcode = p->head[0] & OPCODE;
    bool fin = p->head[0] & FIN;

    if ((p->head[0] & RESERVED) || !(p->head[1] & MASKED))
        return false;
    if (opcode == MP__WS_CLOSE || opcode == MP__WS_PING || opcode == MP__WS_PONG)
        return fin && (p->head[1] & LENGTH) <= MP__WS_CONTROL_MAX;
    if (opcode == MP__WS_TEXT || opcode == MP__WS_BINARY)
        return !p->in_message;
    return opcode == MP__WS_CONTINUATION && p->in_message;
}

/* The head is whole: 0, or the code to close with. */
static enum mp__ws_code begin_payload(mp__ws_parser *p)
{
    p->left = payload_size(p);
    p->mask_at = 0;
    p->control_size = 0;
    if (p->left >> 63)
        return MP__WS_PROTOCOL_ERROR;
    if (is_control(p))
        return 0;
    if (!p->in_message)
        p->message_size = 0;
    p->in_message = !(p->head[0] & FIN);
    if (p->left > MP__WS_MESSAGE_MAX || p->message_size + p->left > MP__WS_MESSAGE_MAX)
        return MP__WS_TOO_LARGE;
    p->message_size += p->left;
    return 0;
}

static size_t take_payload(mp__ws_parser *p, const char *data, size_t size)
{
    const unsigned char *mask = p->head + head_bytes(p) - 4;
    size_t n = size < p->left ? size : (size_t)p->left;

    for (size_t i = 0; is_control(p) && i < n; i++) {
        p->control[p->control_size++] = (unsigned char)data[i] ^ mask[p->mask_at];
        p->mask_at = (p->mask_at + 1) & 3;
    }
    p->left -= n;
    return n;
}

int mp__ws_parse(mp__ws_parser *p, const char *data, size_t size, size_t *ret_used,
                 enum mp__ws_opcode *ret_opcode, mp_str *ret_payload, enum mp__ws_code *ret_code)
{
    size_t at = 0;

    for (;;) {
        while (p->head_size < head_bytes(p)) {
            if (at == size) {
                *ret_used = at;
                return MP_EAGAIN;
            }
            p->head[p->head_size++] = (unsigned char)data[at++];
            *ret_code = p->head_size == 2 && !is_head_good(p) ? MP__WS_PROTOCOL_ERROR : 0;
            if (*ret_code == 0 && p->head_size > 2 && p->head_size == head_bytes(p))
                *ret_code = begin_payload(p);
            if (*ret_code)
                return MP_EPROTO;
        }
        at += take_payload(p, data + at, size - at);
        *ret_used = at;
        if (p->left)
            return MP_EAGAIN;
        p->head_size = 0;
        if (is_control(p)) {
            *ret_opcode = (enum mp__ws_opcode)(p->head[0] & OPCODE);
            *ret_payload = mp_str_new((const char *)p->control, p->control_size);
            return 0;
        }
    }
}

/* May stand in a frame: what section 7.4.1 and its registry define, but for 1004 to 1006 and 1015,
 * which never do; 3000 and above are the applications'. */
static bool is_close_code(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

unsigned mp__ws_close_answer(mp_str payload)
{
    const unsigned char *bytes = (const unsigned char *)payload.data;
    unsigned code;

    if (payload.size == 0)
        return MP__WS_NORMAL;
    if (payload.size == 1)
        return MP__WS_PROTOCOL_ERROR;
    code = (unsigned)bytes[0] << 8 | bytes[1];
    if (!is_close_code(code))
        return MP__WS_PROTOCOL_ERROR;
    return mp__is_utf8(mp_str_new(payload.data + 2, payload.size - 2)) ? code : MP__WS_BAD_TEXT;
}
