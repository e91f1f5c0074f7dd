/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket.h"

#include "mp_test.h"

/* Feed all of it, @step bytes at a time, as far as it is taken; the result of the last call. */
typedef struct fed {
    int rc;
    enum mp__ws_code code;
    int frames;
    enum mp__ws_opcode opcode;
    char payload[256];
} fed;

static fed feed(const char *data, size_t size, size_t step)
{
    mp__ws_parser parser = {0};
    fed f = {.rc = MP_EAGAIN};
    mp_str payload;
    size_t used;

    for (size_t at = 0; at < size && f.rc != MP_EPROTO;) {
        size_t n = size - at < step ? size - at : step;

        f.rc = mp__ws_parse(&parser, data + at, n, &used, &f.opcode, &payload, &f.code);
        if (f.rc == MP_EPROTO)
            break;
        assert_true(used <= n);
        at += used;
        if (f.rc == 0) {
            f.frames++;
            memcpy(f.payload, payload.data, payload.size);
            f.payload[payload.size] = '\0';
        } else {
            assert_int_equal(used, n);
        }
    }
    return f;
}

static void the_handshake_is_answered_as_the_rfc_has_it(void **state)
{
    mp__buf out = MP__BUF_INIT;

    (void)state;
    assert_true(mp__ws_accept(MP_STR("dGhlIHNhbXBsZSBub25jZQ=="), &out));
    mp_assert_str(mp__buf_str(&out), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(mp__ws_accept(MP_STR("dGhlIHNhbXBsZSBub25jZQ="), &out));
    assert_false(mp__ws_accept(MP_STR("dGhlIHNhbXBsZSBub25jZQAA"), &out));
    assert_false(mp__ws_accept(MP_STR("dGhlIHNhb XBsZSBub25jZ=="), &out));
    assert_false(mp__ws_accept(MP_STR(""), &out));
    mp__buf_done(&out);
}

static void heads_have_the_shortest_length(void **state)
{
    unsigned char out[MP__WS_HEAD_MAX];

    (void)state;
    assert_int_equal(mp__ws_head(MP__WS_TEXT, 5, out), 2);
    assert_memory_equal(out, "\x81\x05", 2);
    assert_int_equal(mp__ws_head(MP__WS_TEXT, 125, out), 2);
    assert_int_equal(mp__ws_head(MP__WS_TEXT, 126, out), 4);
    assert_memory_equal(out, "\x81\x7e\x00\x7e", 4);
    assert_int_equal(mp__ws_head(MP__WS_TEXT, 65535, out), 4);
    assert_int_equal(mp__ws_head(MP__WS_PONG, 65536, out), 10);
    assert_memory_equal(out, "\x8a\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
}

static void control_frames_are_unmasked_and_messages_left_out_however_the_bytes_come(void **state)
{
    /* "Hello" as text, then as a ping, both as in section 5.7; then two frames of a message with a
     * pong between them, and an end with code 1000 */
    static const char data[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
                               "\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
                               "\x01\x83\x00\x00\x00\x00"
                               "abc"
                               "\x8a\x80\x01\x02\x03\x04"
                               "\x80\x81\x00\x00\x00\x00"
                               "d"
                               "\x88\x82\x00\x00\x00\x00\x03\xe8";

    (void)state;
    for (size_t step = 1; step < sizeof(data); step++) {
        fed ping = feed(data, 22, step), all = feed(data, sizeof(data) - 1, step);

        assert_int_equal(ping.rc, 0);
        assert_int_equal(ping.frames, 1);
        assert_int_equal(ping.opcode, MP__WS_PING);
        assert_string_equal(ping.payload, "Hello");
        assert_int_equal(all.rc, 0);
        assert_int_equal(all.frames, 3);
        assert_int_equal(all.opcode, MP__WS_CLOSE);
        assert_memory_equal(all.payload, "\x03\xe8", 2);
    }
}

static void what_the_rfc_forbids_is_refused_with_its_code(void **state)
{
    static const struct {
        const char *data;
        size_t size;
        enum mp__ws_code code;
    } cases[] = {
        {"\x81\x05", 2, MP__WS_PROTOCOL_ERROR}, /* not masked */
        {"\xc1\x85", 2, MP__WS_PROTOCOL_ERROR}, /* a reserved bit */
        {"\x83\x85", 2, MP__WS_PROTOCOL_ERROR}, /* no such opcode */
        {"\x8b\x85", 2, MP__WS_PROTOCOL_ERROR},
        {"\x09\x85", 2, MP__WS_PROTOCOL_ERROR},                         /* a ping in pieces */
        {"\x89\xfe", 2, MP__WS_PROTOCOL_ERROR},                         /* a long ping */
        {"\x80\x85", 2, MP__WS_PROTOCOL_ERROR},                         /* goes on with nothing */
        {"\x01\x80\x00\x00\x00\x00\x81\x80", 8, MP__WS_PROTOCOL_ERROR}, /* two messages at once */
        {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 14, MP__WS_PROTOCOL_ERROR},
        {"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00", 14, MP__WS_TOO_LARGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t step = 1; step <= cases[i].size; step++) {
            fed f = feed(cases[i].data, cases[i].size, step);

            assert_int_equal(f.rc, MP_EPROTO);
            assert_int_equal(f.code, cases[i].code);
        }
}

static void an_end_is_answered_with_its_own_code_or_with_what_is_wrong_with_it(void **state)
{
    static const struct {
        const char *payload;
        size_t size;
        unsigned code;
    } cases[] = {
        {"", 0, 1000},
        {"\x03", 1, 1002},
        {"\x03\xe8", 2, 1000},
        {"\x03\xe9", 2, 1001},
        {"\x0f\xa0", 2, 4000},
        {"\x13\x87", 2, 4999},
        {"\x0b\xb8 go", 5, 3000},
        {"\x03\xe7", 2, 1002},
        {"\x03\xed", 2, 1002},
        {"\x03\xf7", 2, 1002},
        {"\x07\xd0", 2, 1002},
        {"\x13\x88", 2, 1002},
        {"\xff\xff", 2, 1002},
        {"\x03\xe8\xc3\xa9", 4, 1000},
        {"\x03\xe8\xff\xff", 4, 1007},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(mp__ws_close_answer(mp_str_new(cases[i].payload, cases[i].size)),
                         cases[i].code);
}

static void a_message_of_many_frames_has_the_limit_of_one(void **state)
{
    enum { PIECE = 6 + 1000 };
    char data[PIECE] = "\x01\xfe\x03\xe8\x00\x00\x00\x00";
    mp__ws_parser parser = {0};
    enum mp__ws_opcode opcode;
    enum mp__ws_code code = 0;
    mp_str payload;
    size_t used;
    int rc = MP_EAGAIN, pieces = 0;

    (void)state;
    while (rc == MP_EAGAIN && pieces < 100) {
        rc = mp__ws_parse(&parser, data, 8, &used, &opcode, &payload, &code);
        if (rc == MP_EAGAIN)
            rc = mp__ws_parse(&parser, data + 6, 1000, &used, &opcode, &payload, &code);
        data[0] = 0;
        pieces++;
    }
    assert_int_equal(rc, MP_EPROTO);
    assert_int_equal(code, MP__WS_TOO_LARGE);
    assert_int_equal(pieces, MP__WS_MESSAGE_MAX / 1000 + 1);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(the_handshake_is_answered_as_the_rfc_has_it),
    MP_TEST(heads_have_the_shortest_length),
    MP_TEST(control_frames_are_unmasked_and_messages_left_out_however_the_bytes_come),
    MP_TEST(what_the_rfc_forbids_is_refused_with_its_code),
    MP_TEST(an_end_is_answered_with_its_own_code_or_with_what_is_wrong_with_it),
    MP_TEST(a_message_of_many_frames_has_the_limit_of_one),
};
MP_TEST_MAIN(tests)
