/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "core/core.h"
#include "protocol/resp.h"

#include "mp_fail.h"

static const mp__reply_limits limits = {8, 1000, 100000};

static int parse(const char *text, size_t size, mp__reply **ret_reply)
{
    size_t used = 0;
    int rc = mp__reply_parse(text, size, &limits, ret_reply, &used);

    if (rc == 0)
        assert_int_equal(used, size);
    return rc;
}

/* The one reply in @text, to be freed. */
static mp__reply *parsed(const char *text)
{
    mp__reply *reply = NULL;

    assert_int_equal(parse(text, strlen(text), &reply), 0);
    return reply;
}

static void nulls_of_both_versions_are_nulls(void **state)
{
    static const char *const nulls[] = {"$-1\r\n", "*-1\r\n", "_\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++) {
        mp__reply *reply = parsed(nulls[i]);

        assert_int_equal(reply->type, MP__REPLY_NULL);
        reply = mp__reply_free(reply);
    }
}

static void every_type_of_resp3_is_told_apart(void **state)
{
    static const struct {
        const char *text;
        enum mp__reply_type type;
    } cases[] = {
        {"+OK\r\n", MP__REPLY_SIMPLE},
        {"-ERR x\r\n", MP__REPLY_ERROR},
        {":1\r\n", MP__REPLY_INTEGER},
        {"$1\r\na\r\n", MP__REPLY_BULK},
        {"*0\r\n", MP__REPLY_ARRAY},
        {"%0\r\n", MP__REPLY_MAP},
        {"~0\r\n", MP__REPLY_SET},
        {">1\r\n+a\r\n", MP__REPLY_PUSH},
        {"#f\r\n", MP__REPLY_BOOL},
        {",1e3\r\n", MP__REPLY_DOUBLE},
        {",inf\r\n", MP__REPLY_DOUBLE},
        {"=4\r\ntxt:\r\n", MP__REPLY_VERBATIM},
        {"(-99999999999999999999\r\n", MP__REPLY_BIG_NUMBER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__reply *reply = parsed(cases[i].text);

        assert_int_equal(reply->type, cases[i].type);
        reply = mp__reply_free(reply);
    }
}

static void what_is_no_reply_is_refused(void **state)
{
    static const char *const cases[] = {
        "x",
        "\n",
        ":\r\n",
        ":-\r\n",
        ":1a\r\n",
        ":123456789012345678901\r\n",
        "+a\rb\r\n",
        "$1\r\nabc",
        "$a\r\n",
        ",\r\n",
        ",1x\r\n",
        "(\r\n",
        "#\r\n",
        "#tt\r\n",
        "~-1\r\n",
        ">-2\r\n",
        "%-1\r\n",
        "*-2\r\n",
        "=-1\r\n",
        "=4\r\ntxt.\r\n",
        "=3\r\ntxt\r\n",
        "*1\r\nx",
        ",1234567890123456789012345678901234567890123456789012345678901234567890\r\n",
    };
    mp__reply *reply = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (parse(cases[i], strlen(cases[i]), &reply) != MP_EPROTO)
            fail_msg("accepted: %s", cases[i]);
    assert_null(reply);
}

static void a_line_without_end_is_refused_and_not_waited_for(void **state)
{
    size_t size = 70000;
    char *line = malloc(size);
    mp__reply *reply = NULL;

    (void)state;
    memset(line, 'a', size);
    line[0] = '+';
    assert_int_equal(parse(line, 60000, &reply), MP_EAGAIN);
    assert_int_equal(parse(line, size, &reply), MP_EPROTO);
    memcpy(line + size - 2, "\r\n", 2);
    assert_int_equal(parse(line, size, &reply), MP_EPROTO);
    free(line);
}

static void nothing_is_asked_for_more(void **state)
{
    mp__reply *reply = NULL;

    (void)state;
    assert_int_equal(parse("", 0, &reply), MP_EAGAIN);
    assert_int_equal(parse("$5\r\nabc", 7, &reply), MP_EAGAIN);
    assert_int_equal(parse("*2\r\n:1\r\n", 8, &reply), MP_EAGAIN);
    assert_int_equal(parse("+OK\r", 4, &reply), MP_EAGAIN);
}

static void without_memory_nothing_is_left_behind(void **state)
{
    static const char text[] = "*3\r\n%1\r\n+k\r\n*2\r\n:1\r\n:2\r\n~1\r\n+a\r\n"
                               "*9\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n";
    mp__reply *reply = NULL;
    int rc;

    (void)state;
    for (size_t n = 1;; n++) {
        mp_fail_begin(n);
        rc = parse(text, sizeof(text) - 1, &reply);
        if (!mp_fail_end())
            break;
        assert_int_equal(rc, MP_ENOMEM);
        assert_null(reply);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(reply->items[2].items[8].integer, 9);
    reply = mp__reply_free(reply);
    assert_null(mp__reply_free(NULL));
}

static void a_command_without_memory_fails_and_can_be_read_again(void **state)
{
    static const mp__resp_limits request_limits = {1024, 2u << 20, 64u << 10};
    static const char array[] = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", line[] = "GET k\r\n";

    (void)state;
    for (int i = 0; i < 2; i++) {
        mp__resp_parser parser;
        mp__resp_command command = {0};
        char text[64];
        size_t used;

        memcpy(text, i ? line : array, i ? sizeof(line) : sizeof(array));
        mp__resp_parser_init(&parser, &request_limits);
        mp_fail_begin(1);
        assert_int_equal(mp__resp_parse(&parser, text, strlen(text), &command, &used), MP_ENOMEM);
        assert_true(mp_fail_end());
        mp__resp_parser_done(&parser);
        mp__resp_parser_init(&parser, &request_limits);
        assert_int_equal(mp__resp_parse(&parser, text, strlen(text), &command, &used), 0);
        assert_int_equal(command.count, 2);
        mp__resp_parser_done(&parser);
    }
}

static void escapes_of_inline_commands_are_those_of_redis(void **state)
{
    static const mp__resp_limits request_limits = {4, 64, 64};
    char text[] = "SET \"a\\r\\t\\b\\a\\q\\xFf\\xg\" 'it\\'s\\n'\r\n";
    char open_quote[] = "SET \"a\r\n", glued[] = "SET \"a\"b\r\n", many[] = "a b c d e\r\n";
    mp__resp_parser parser;
    mp__resp_command command;
    size_t used;

    (void)state;
    mp__resp_parser_init(&parser, &request_limits);
    assert_int_equal(mp__resp_parse(&parser, text, strlen(text), &command, &used), 0);
    mp_assert_str(command.arguments[1], "a\r\t\b\aq\xff"
                                        "xg");
    mp_assert_str(command.arguments[2], "it's\\n");
    assert_int_equal(mp__resp_parse(&parser, open_quote, 8, &command, &used), MP_EPROTO);
    assert_int_equal(mp__resp_parse(&parser, glued, 10, &command, &used), MP_EPROTO);
    assert_int_equal(mp__resp_parse(&parser, many, 11, &command, &used), MP_EPROTO);
    assert_string_equal(parser.error, "Protocol error: too many arguments");
    mp__resp_parser_done(&parser);
}

static void headers_of_arrays_have_a_length_limit_too(void **state)
{
    static const mp__resp_limits request_limits = {1024, 2u << 20, 64u << 10};
    mp__resp_parser parser;
    mp__resp_command command;
    char text[64] = "*1\r\n$1\r\naX";
    size_t used;

    (void)state;
    mp__resp_parser_init(&parser, &request_limits);
    assert_int_equal(mp__resp_wants(&parser, 0), 1);
    assert_int_equal(mp__resp_parse(&parser, text, 0, &command, &used), MP_EAGAIN);
    assert_int_equal(mp__resp_parse(&parser, text, strlen(text), &command, &used), MP_EPROTO);
    mp__resp_parser_done(&parser);
    mp__resp_parser_init(&parser, &request_limits);
    memcpy(text, "*1\r\n$1\r\na\rX", 11);
    assert_int_equal(mp__resp_parse(&parser, text, 11, &command, &used), MP_EPROTO);
    mp__resp_parser_done(&parser);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(nulls_of_both_versions_are_nulls),
    MP_TEST(every_type_of_resp3_is_told_apart),
    MP_TEST(what_is_no_reply_is_refused),
    MP_TEST(a_line_without_end_is_refused_and_not_waited_for),
    MP_TEST(nothing_is_asked_for_more),
    MP_TEST(without_memory_nothing_is_left_behind),
    MP_TEST(a_command_without_memory_fails_and_can_be_read_again),
    MP_TEST(escapes_of_inline_commands_are_those_of_redis),
    MP_TEST(headers_of_arrays_have_a_length_limit_too),
};

MP_TEST_MAIN(tests)
