/* SPDX-License-Identifier: Apache-2.0 */
/* Base64: the examples of RFC 4648 section 10, round trips, and what is none. */
#include "mp_test.h"

#include "core/core.h"
#include "core/base64.h"

static void the_examples_of_the_rfc_hold(void **state)
{
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mp__buf text = MP__BUF_INIT, back = MP__BUF_INIT;

        mp__base64_add(&text, mp_str_of(rows[i][0]), false);
        mp_assert_str(mp__buf_str(&text), rows[i][1]);
        assert_true(mp__base64_decode(mp__buf_str(&text), false, &back));
        mp_assert_str(mp__buf_str(&back), rows[i][0]);
        mp__buf_done(&text);
        mp__buf_done(&back);
    }
}

static void all_bytes_come_back_in_both_alphabets(void **state)
{
    unsigned char bytes[256];

    (void)state;
    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    for (size_t size = 0; size <= 256; size++)
        for (int url = 0; url < 2; url++) {
            mp__buf text = MP__BUF_INIT, back = MP__BUF_INIT;

            mp__base64_add(&text, mp_str_new(bytes + 256 - size, size), url);
            assert_true(mp__base64_decode(mp__buf_str(&text), url, &back));
            assert_int_equal(back.size, size);
            assert_true(size == 0 || memcmp(back.data, bytes + 256 - size, size) == 0);
            assert_true(!url || size == 0 || !memchr(text.data, '=', text.size));
            mp__buf_done(&text);
            mp__buf_done(&back);
        }
}

static void what_is_no_base64_is_refused(void **state)
{
    static const char *const bad[] = {"A",    "AA",    "AAA",   "A===", "AA=A",    "Zh==",
                                      "Zm9=", "Zg= =", "Z\n==", "Zm-v", "\x80mZv", "===="};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mp__buf back = MP__BUF_INIT;

        assert_false(mp__base64_decode(mp_str_of(bad[i]), false, &back));
        mp__buf_done(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MP_TEST(the_examples_of_the_rfc_hold),
        MP_TEST(all_bytes_come_back_in_both_alphabets),
        MP_TEST(what_is_no_base64_is_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
