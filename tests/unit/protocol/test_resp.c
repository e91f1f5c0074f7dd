/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "core/core.h"
#include "protocol/resp.h"

static const mp__resp_limits limits = {1024, 2u << 20, 64u << 10};

/* Everything that @input says, as text: "[a|b]" a command, "!" and the error at the end. Fed in two
 * parts, the second beginning at @cut, from a buffer that moves in between. */
static void said(const char *input, size_t size, size_t cut, mp__buf *out)
{
    mp__resp_parser parser;
    mp__resp_command command;
    char *buffer = malloc(size + 1);
    size_t at = 0, have = cut, used;
    int rc;

    memcpy(buffer, input, cut);
    mp__resp_parser_init(&parser, &limits);
    for (;;) {
        rc = mp__resp_parse(&parser, buffer + at, have - at, &command, &used);
        if (rc == MP_EAGAIN && have < size) {
            char *moved = malloc(size + 1);

            memcpy(moved, buffer, have);
            memcpy(moved + have, input + have, size - have);
            free(buffer);
            buffer = moved;
            have = size;
            continue;
        }
        if (rc)
            break;
        (void)mp__buf_add_char(out, '[');
        for (uint32_t i = 0; i < command.count; i++) {
            (void)mp__buf_add_str(out, command.arguments[i]);
            (void)mp__buf_add_char(out, '|');
        }
        (void)mp__buf_add_char(out, ']');
        at += used;
    }
    if (rc == MP_EPROTO)
        (void)mp__buf_printf(out, "!%s", parser.error);
    (void)mp__buf_add_char(out, '\0');
    mp__resp_parser_done(&parser);
    free(buffer);
}

static const char *const streams[] = {
    "*1\r\n$4\r\nPING\r\n",
    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nbc\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
    "PING\r\nSET k \"a b\\x41\\n\" 'it\\'s'\r\n*1\r\n$4\r\nPING\r\n\r\n*0\r\nGET k\n",
    "*2\r\n$3\r\nGET\r\n$-5\r\n",
    "*1\r\n$4\r\nPINGPING\r\n",
    "SET bb:q \"abc\r\n",
    "*2\r\n$3\r\nGET\r\n:4\r\n",
    "*1\r\n*1\r\n$4\r\nPING\r\n",
};

static void every_cut_of_the_input_gives_the_same_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        mp__buf whole = MP__BUF_INIT;

        said(streams[i], strlen(streams[i]), strlen(streams[i]), &whole);
        for (size_t cut = 0; cut < strlen(streams[i]); cut++) {
            mp__buf parts = MP__BUF_INIT;

            said(streams[i], strlen(streams[i]), cut, &parts);
            assert_string_equal(parts.data, whole.data);
            mp__buf_done(&parts);
        }
        mp__buf_done(&whole);
    }
}

static void commands_come_out_as_they_went_in(void **state)
{
    mp__buf out = MP__BUF_INIT;

    (void)state;
    said(streams[2], strlen(streams[2]), strlen(streams[2]), &out);
    assert_string_equal(out.data, "[PING|][SET|k|a bA\n|it's|][PING|][][][GET|k|]");
    mp__buf_done(&out);
}

static void what_only_looks_like_a_length_is_refused(void **state)
{
    static const char *const inputs[] = {
        "*x\r\n",
        "*\r\n$4\r\nPING\r\n",
        "*2147483648\r\n",
        "*9223372036854775807\r\n",
        "*99999999999999999999\r\n",
        "*100000000\r\n",
        "*+1\r\n",
        "* 1\r\n",
        "*01\r\n",
        "*0x1\r\n",
        "*-1\r\n",
        "*1025\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$2097153\r\n",
        "*1\r\n$+4\r\nPING\r\n",
        "*1\r\n$04\r\nPING\r\n",
        "*1\r\n:4\r\nPING\r\n",
        "*1\n$4\r\n",
        "*1\r\n$4\r\nPINGX",
        "\x16\x03\x01\x02",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        mp__buf out = MP__BUF_INIT;

        said(inputs[i], strlen(inputs[i]), strlen(inputs[i]), &out);
        if (out.data[0] != '!')
            fail_msg("accepted: %s", inputs[i]);
        mp__buf_done(&out);
    }
}

static void an_endless_line_is_refused_at_its_limit(void **state)
{
    char *input = malloc(200000);
    mp__buf out = MP__BUF_INIT;

    (void)state;
    memset(input, 'A', 200000);
    said(input, 200000, 1000, &out);
    assert_string_equal(out.data, "!Protocol error: too big inline request");
    mp__buf_reset(&out);
    memset(input, '1', 200000);
    input[0] = '*';
    said(input, 200000, 10, &out);
    assert_int_equal(out.data[0], '!');
    mp__buf_done(&out);
    free(input);
}

static void memory_grows_with_what_arrived_not_with_what_was_announced(void **state)
{
    mp__resp_parser parser;
    mp__resp_command command;
    char input[] = "*1000\r\n$2000000\r\nx";
    size_t used;

    (void)state;
    mp__resp_parser_init(&parser, &limits);
    assert_int_equal(mp__resp_parse(&parser, input, sizeof(input) - 1, &command, &used), MP_EAGAIN);
    assert_int_equal(parser.capacity, 0);
    assert_int_equal(mp__resp_wants(&parser, sizeof(input) - 1), 2000001);
    mp__resp_parser_done(&parser);
}

static void replies_are_read_back_as_written(void **state)
{
    static const mp__reply_limits reply_limits = {8, 1000, 1000};
    mp__buf out = MP__BUF_INIT;
    mp__reply *reply = NULL;
    size_t used = 0;

    (void)state;
    mp__resp_map(&out, 1, 3);
    mp__resp_simple(&out, "k");
    mp__resp_array(&out, 8);
    mp__resp_integer(&out, INT64_MIN);
    mp__resp_bulk(&out, MP_STR("a\r\nb"));
    mp__resp_null(&out, 3);
    mp__resp_bool(&out, true, 3);
    mp__resp_double(&out, 0.5, 3);
    mp__resp_verbatim(&out, "txt", MP_STR("hi"), 3);
    mp__resp_error(&out, "ERR", "bad\n%d", 7);
    mp__resp_set(&out, 0, 3);
    for (size_t n = 0; n < out.size; n++)
        assert_int_equal(mp__reply_parse(out.data, n, &reply_limits, &reply, &used), MP_EAGAIN);
    assert_int_equal(mp__reply_parse(out.data, out.size, &reply_limits, &reply, &used), 0);
    assert_int_equal(used, out.size);
    assert_int_equal(reply->type, MP__REPLY_MAP);
    assert_int_equal(reply->items[1].count, 8);
    assert_true(reply->items[1].items[0].integer == INT64_MIN);
    mp_assert_str(reply->items[1].items[1].text, "a\r\nb");
    assert_int_equal(reply->items[1].items[2].type, MP__REPLY_NULL);
    assert_int_equal(reply->items[1].items[3].integer, 1);
    assert_true(reply->items[1].items[4].real == 0.5);
    mp_assert_str(reply->items[1].items[5].text, "hi");
    mp_assert_str(reply->items[1].items[6].text, "ERR bad 7");
    reply = mp__reply_free(reply);
    mp__buf_done(&out);
}

static void replies_that_lie_about_their_size_are_refused(void **state)
{
    static const mp__reply_limits reply_limits = {8, 1000, 1000};
    static const struct {
        const char *input;
        int want;
    } cases[] = {
        {"*1000000000\r\n", MP_ELIMIT},
        {"$1001\r\n", MP_ELIMIT},
        {"$-2\r\n", MP_EPROTO},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", MP_ELIMIT},
        {":9223372036854775808\r\n", MP_EPROTO},
        {"?x\r\n", MP_EPROTO},
        {"$1\r\nab\r\n", MP_EPROTO},
        {"%-1\r\n", MP_EPROTO},
        {"#x\r\n", MP_EPROTO},
        {"=3\r\nabc\r\n", MP_EPROTO},
        {",x\r\n", MP_EPROTO},
        {"_x\r\n", MP_EPROTO},
    };
    mp__reply *reply = NULL;
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(
            mp__reply_parse(cases[i].input, strlen(cases[i].input), &reply_limits, &reply, &used),
            cases[i].want);
    assert_null(reply);
}

static void globs_match_as_redis_matches(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool want;
    } cases[] = {
        {"*", "", true},
        {"h?llo", "hello", true},
        {"h*o", "heo", true},
        {"h[ae]llo", "hallo", true},
        {"h[^e]llo", "hello", false},
        {"h[a-b]llo", "hbllo", true},
        {"h[b-a]llo", "hallo", true},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a*b*c", "aXbYbZc", true},
        {"a*b", "ac", false},
        {"", "a", false},
        {"?", "", false},
        {"[a", "a", true},
        {"a**b", "ab", true},
        {"exchanges.*.fee", "exchanges.x.y.fee", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (mp__glob_match(mp_str_of(cases[i].pattern), mp_str_of(cases[i].text), 10000) !=
            cases[i].want)
            fail_msg("%s against %s", cases[i].pattern, cases[i].text);
}

static void a_glob_bomb_ends_at_its_step_limit(void **state)
{
    char text[5001], pattern[101];

    (void)state;
    memset(text, 'a', 5000);
    for (int i = 0; i < 100; i += 2)
        memcpy(pattern + i, "*a", 2);
    pattern[99] = 'b';
    assert_false(mp__glob_match(mp_str_new(pattern, 100), mp_str_new(text, 5000), 1000000));
}

static void a_long_class_is_paid_for_by_the_byte(void **state)
{
    char text[101], pattern[2003];

    (void)state;
    memset(text, 'a', 100);
    memset(pattern, 'b', sizeof(pattern));
    pattern[0] = '*';
    pattern[1] = '[';
    pattern[2001] = 'a';
    pattern[2002] = ']';
    assert_true(mp__glob_match(mp_str_new(pattern, 2003), mp_str_new(text, 100), 1000000));
    assert_false(mp__glob_match(mp_str_new(pattern, 2003), mp_str_new(text, 100), 10000));
}

static void many_globs_share_one_limit(void **state)
{
    size_t steps = 10;

    (void)state;
    assert_true(mp__glob_match_within(MP_STR("a*"), MP_STR("abcdefgh"), &steps));
    assert_int_equal(steps, 8); /* nothing behind the last star is looked at */
    assert_false(mp__glob_match_within(MP_STR("b"), MP_STR("a"), &steps));
    assert_int_equal(steps, 7);
    assert_true(mp__glob_match_within(MP_STR("abc"), MP_STR("abc"), &steps));
    assert_int_equal(steps, 4);
    assert_false(mp__glob_match_within(MP_STR("*x"), MP_STR("aaaaaaaa"), &steps));
    assert_int_equal(steps, 0);
    assert_false(mp__glob_match_within(MP_STR("a"), MP_STR("a"), &steps));
    assert_int_equal(steps, 0);
}

/* Whether the glance says nothing of @bytes, or just what the parser says. */
static bool glance_agrees(const char *bytes, size_t size, const mp__resp_limits *with)
{
    mp__resp_parser parser;
    mp__resp_command command;
    char *copy = malloc(size + 1); /* its own block, so that a read past the end is seen */
    size_t glance, used = 0;
    mp_str key = {0};
    bool agrees = true;

    memcpy(copy, bytes, size);
    mp__resp_parser_init(&parser, with);
    glance = mp__resp_parse_get(&parser, copy, size, &key);
    if (glance)
        agrees = mp__resp_parse(&parser, copy, size, &command, &used) == 0 && used == glance &&
                 command.count == 2 && mp_str_equal(command.arguments[0], MP_STR("GET")) &&
                 mp_str_equal(command.arguments[1], key);
    mp__resp_parser_done(&parser);
    free(copy);
    return agrees;
}

static void a_get_told_at_a_glance_is_what_the_parser_tells(void **state)
{
    static const char *const gets[] = {
        "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        "*2\r\n$3\r\nGET\r\n$14\r\nexchanges/a.b.c\r\n",
        "*2\r\n$3\r\nGET\r\n$11\r\nk234567\r\n9a\r\n*1\r\n$4\r\nPING\r\n",
    };
    static const mp__resp_limits short_bulks = {1024, 5, 64u << 10},
                                 short_commands = {1024, 2u << 20, 64u << 10, 25};
    mp__resp_parser parser;
    char bytes[128];
    mp_str key;

    (void)state;
    mp__resp_parser_init(&parser, &limits);
    assert_int_equal(mp__resp_parse_get(&parser, gets[0], strlen(gets[0]), &key), 20);
    assert_true(mp_str_equal(key, MP_STR("k")));
    mp__resp_parser_done(&parser);
    for (size_t g = 0; g < 3; g++) {
        size_t size = strlen(gets[g]);

        for (size_t cut = 0; cut <= size; cut++)
            assert_true(glance_agrees(gets[g], cut, &limits));
        for (size_t at = 0; at < size; at++)
            for (int byte = 0; byte < 256; byte++) {
                memcpy(bytes, gets[g], size);
                bytes[at] = (char)byte;
                assert_true(glance_agrees(bytes, size, &limits));
            }
        assert_true(glance_agrees(gets[g], size, &short_bulks));
        assert_true(glance_agrees(gets[g], size, &short_commands));
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(every_cut_of_the_input_gives_the_same_commands),
    MP_TEST(commands_come_out_as_they_went_in),
    MP_TEST(what_only_looks_like_a_length_is_refused),
    MP_TEST(an_endless_line_is_refused_at_its_limit),
    MP_TEST(memory_grows_with_what_arrived_not_with_what_was_announced),
    MP_TEST(replies_are_read_back_as_written),
    MP_TEST(replies_that_lie_about_their_size_are_refused),
    MP_TEST(globs_match_as_redis_matches),
    MP_TEST(a_glob_bomb_ends_at_its_step_limit),
    MP_TEST(a_long_class_is_paid_for_by_the_byte),
    MP_TEST(many_globs_share_one_limit),
    MP_TEST(a_get_told_at_a_glance_is_what_the_parser_tells),
};

MP_TEST_MAIN(tests)
