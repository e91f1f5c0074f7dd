/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer: what is text, what is escaped, and that nothing may stand for no bytes. */
#include "mp_test.h"

#include "core/core.h"
#include "core/json.h"

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
    is_written(MP_STR("\n\x7f\x01"), "\"\\u000a\\u007f\\u0001\"");
    is_written(mp_str_new("a\0b", 3), "\"a\\u0000b\"");
    is_written(MP_STR("\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"),
               "\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\"");
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
        MP_TEST(each_byte_that_is_no_utf8_becomes_one_replacement),
        MP_TEST(bytes_that_are_no_text_are_named_base64),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
