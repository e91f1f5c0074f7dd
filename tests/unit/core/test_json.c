/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer: what is text, what is escaped, and that nothing may stand for no bytes. */
#include "mp_test.h"

#include <jansson.h>

#include "core/core.h"
#include "core/json.h"
#include "core/json_tree.h"

static void is_written(mp_str text, const char *json)
{
    mp__buf out = MP__BUF_INIT;

    mp__json_string(&out, text);
    mp_assert_str(mp__buf_str(&out), json);
    mp__buf_done(&out);
}

static void text_without_bytes_is_utf8_and_an_empty_string(void **state)
{
    (void)state;
    assert_true(mp__is_utf8(mp_str_new(NULL, 0)));
    assert_true(mp__is_utf8(MP_STR("")));
    is_written(mp_str_new(NULL, 0), "\"\"");
}

static void what_json_does_not_allow_is_escaped(void **state)
{
    (void)state;
    is_written(MP_STR("a\"b\\c"), "\"a\\\"b\\\\c\"");
    is_written(MP_STR("\n\x7f\x01"), "\"\\n\\u007f\\u0001\"");
    is_written(MP_STR("\xc2\x80\xc2\x9b\xc2\xa0"), "\"\\u0080\\u009b\xc2\xa0\"");
    is_written(MP_STR("\b\f\r\t\v\x0e\"\\/"), "\"\\b\\f\\r\\t\\u000b\\u000e\\\"\\\\/\"");
    is_written(mp_str_new("a\0b", 3), "\"a\\u0000b\"");
    is_written(MP_STR("\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"),
               "\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\"");
}

static void a_tree_is_printed(const char *text, unsigned indent, const char *want)
{
    json_t *tree = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    mp__buf out = MP__BUF_INIT;

    assert_non_null(tree);
    assert_int_equal(mp__json_tree(tree, indent, &out), 0);
    mp_assert_str(mp__buf_str(&out), want);
    mp__buf_done(&out);
    json_decref(tree);
}

static void a_tree_is_printed_on_one_line_or_on_many(void **state)
{
    static const char *const all = "{\"a\": [1, -0.5, 1.1, 1e300, true], \"\\u0001b\": {\"c\": "
                                   "null, \"d\": \"\\n\"}, \"e\": {}, \"f\": [[], false]}";

    (void)state;
    a_tree_is_printed(all, 0,
                      "{\"a\":[1,-0.5,1.1,1e+300,true],\"\\u0001b\":{\"c\":null,\"d\":\"\\n\"},"
                      "\"e\":{},\"f\":[[],false]}");
    a_tree_is_printed(
        "{\"a\": [1, {\"b\": []}], \"c\": 2.0}", 2,
        "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    }\n  ],\n  \"c\": 2.0\n}");
    a_tree_is_printed("[]", 2, "[]");
    a_tree_is_printed("\"x\"", 2, "\"x\"");
}

static void a_tree_that_does_not_fit_says_so(void **state)
{
    json_t *tree = json_loads("[[1, 2], [3, 4]]", 0, NULL);
    mp__buf out = {.size_max = 5};

    (void)state;
    assert_int_equal(mp__json_tree(tree, 0, &out), MP_ELIMIT);
    mp__buf_done(&out);
    json_decref(tree);
}

static void each_byte_that_is_no_utf8_becomes_one_replacement(void **state)
{
    static const char *const none[] = {
        "\x80",             /* a tail without a head */
        "\xc3",             /* cut off */
        "\xc0\x80",         /* overlong */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        mp__buf out = MP__BUF_INIT;
        mp_str text = mp_str_of(none[i]);

        assert_false(mp__is_utf8(text));
        mp__json_string(&out, text);
        assert_int_equal(out.size, 2 + 3 * text.size);
        mp__buf_done(&out);
    }
    is_written(MP_STR("a\xff"
                      "b"),
               "\"a\xef\xbf\xbd"
               "b\"");
}

static void bytes_that_are_no_text_are_named_base64(void **state)
{
    mp__buf out = MP__BUF_INIT;

    (void)state;
    mp__json_begin(&out, '{');
    mp__json_add_bytes(&out, "a", MP_STR("x"));
    mp__json_add_bytes(&out, "b", MP_STR("\xff"));
    mp__json_end(&out, '}');
    mp_assert_str(mp__buf_str(&out), "{\"a\":\"x\",\"b_base64\":\"/w==\"}");
    mp__buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MP_TEST(text_without_bytes_is_utf8_and_an_empty_string),
        MP_TEST(what_json_does_not_allow_is_escaped),
        MP_TEST(a_tree_is_printed_on_one_line_or_on_many),
        MP_TEST(a_tree_that_does_not_fit_says_so),
        MP_TEST(each_byte_that_is_no_utf8_becomes_one_replacement),
        MP_TEST(bytes_that_are_no_text_are_named_base64),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
