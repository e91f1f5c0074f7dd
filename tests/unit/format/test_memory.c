/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of every format fails once: no leak, no half result, a clear error. */
#include "mp_test.h"

#include "core/buf.h"
#include "format/format.h"

#include "mp_fail.h"

static const struct {
    const char *format, *text;
} files[] = {
    {"json", "{\"a\": {\"b.c\": [1, 2.5, true, null, {}, [\"x\"]]}, \"d\": \"e\\u00e4\"}"},
    {"yaml",
     "base: &base {x: 1, y: [a, b]}\nuse:\n  <<: *base\n  x: 0x1f\n  z: |\n    two\n    lines\n"
     "quoted: \"\\x41 \\u00e4\"\nlist:\n- ~\n- .5\n- {}\n"},
    {"env", "export A=1\nB=\"two words\\n\" # comment\nC='$raw'\nD=\n"},
    {"ini", "a = 1\n[b.c]\nd = \"x\\n\"\n\"e\" = 'y'\n[\"f\"]\ng = 2\n"},
    {"toml", "a.b = 1\n'c d' = [\"x\", {e = 07:32:00}]\n[f]\n[[g]]\nh = \"\"\"\ni\"\"\"\n"},
    {"properties", "a=1\nb\\ c = \\u00e4\\\n  x\nd\ne:f\n"},
};

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        const mp__format *format = mp__format_find(files[i].format);
        mp__leaves leaves = {0};
        int rc;

        for (size_t n = 1;; n++) {
            mp__diag diag = {0};

            mp_fail_begin(n);
            rc = format->parse(mp_str_of(files[i].text), &leaves, &diag);
            if (!mp_fail_end())
                break;
            assert_int_equal(rc, MP_ENOMEM);
            assert_int_equal(leaves.count, 0);
        }
        assert_int_equal(rc, 0);
        assert_true(leaves.count >= 4);
        mp__leaves_done(&leaves);
    }
}

static void a_file_is_printed_whole_or_with_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        const mp__format *format = mp__format_find(files[i].format);
        mp__leaves leaves = {0}, again = {0};
        mp__buf out = MP__BUF_INIT;
        mp__diag diag = {0};
        int rc;

        assert_int_equal(format->parse(mp_str_of(files[i].text), &leaves, &diag), 0);
        for (size_t n = 1;; n++) {
            mp__buf_done(&out);
            mp__buf_reset(&out);
            mp_fail_begin(n);
            rc = format->print(&leaves, &out, &diag);
            if (!mp_fail_end())
                break;
            assert_int_equal(rc, MP_ENOMEM);
        }
        assert_int_equal(rc, 0);
        assert_int_equal(format->parse(mp__buf_str(&out), &again, &diag), 0);
        assert_int_equal(again.count, leaves.count);
        mp__leaves_done(&again);
        mp__leaves_done(&leaves);
        mp__buf_done(&out);
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_file_is_read_whole_or_not_at_all),
    MP_TEST(a_file_is_printed_whole_or_with_an_error),
};

MP_TEST_MAIN(tests)
