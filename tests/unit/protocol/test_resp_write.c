/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <math.h>

#include "core/core.h"
#include "protocol/resp.h"

#include "mp_fail.h"

static mp__buf out;

static int out_drop(void **state)
{
    (void)state;
    mp__buf_done(&out);
    return 0;
}

/* What was written since the last call. */
static void wrote(const char *want)
{
    assert_int_equal(out.error, 0);
    mp_assert_str(mp__buf_str(&out), want);
    mp__buf_reset(&out);
}

static void each_reply_has_its_form_in_resp3(void **state)
{
    (void)state;
    mp__resp_simple(&out, "OK");
    wrote("+OK\r\n");
    mp__resp_integer(&out, 0);
    wrote(":0\r\n");
    mp__resp_integer(&out, INT64_MAX);
    wrote(":9223372036854775807\r\n");
    mp__resp_integer(&out, INT64_MIN);
    wrote(":-9223372036854775808\r\n");
    mp__resp_bulk(&out, MP_STR(""));
    wrote("$0\r\n\r\n");
    mp__resp_bulk_head(&out, 12);
    wrote("$12\r\n");
    mp__resp_null(&out, 3);
    wrote("_\r\n");
    mp__resp_null_array(&out, 3);
    wrote("_\r\n");
    mp__resp_map(&out, 2, 3);
    wrote("%2\r\n");
    mp__resp_set(&out, 2, 3);
    wrote("~2\r\n");
    mp__resp_push(&out, 2, 3);
    wrote(">2\r\n");
    mp__resp_bool(&out, false, 3);
    wrote("#f\r\n");
    mp__resp_verbatim(&out, "txt", MP_STR("hi"), 3);
    wrote("=6\r\ntxt:hi\r\n");
}

static void old_clients_get_what_resp2_has_for_it(void **state)
{
    (void)state;
    mp__resp_null(&out, 2);
    wrote("$-1\r\n");
    mp__resp_null_array(&out, 2);
    wrote("*-1\r\n");
    mp__resp_map(&out, 2, 2);
    wrote("*4\r\n");
    mp__resp_set(&out, 2, 2);
    wrote("*2\r\n");
    mp__resp_push(&out, 2, 2);
    wrote("*2\r\n");
    mp__resp_bool(&out, true, 2);
    wrote(":1\r\n");
    mp__resp_double(&out, 0.5, 2);
    wrote("$3\r\n0.5\r\n");
    mp__resp_verbatim(&out, "txt", MP_STR("hi"), 2);
    wrote("$2\r\nhi\r\n");
}

static void doubles_that_are_no_numbers_have_names(void **state)
{
    (void)state;
    mp__resp_double(&out, INFINITY, 3);
    mp__resp_double(&out, -INFINITY, 3);
    mp__resp_double(&out, NAN, 3);
    wrote(",inf\r\n,-inf\r\n,nan\r\n");
}

static void an_error_is_one_line_whatever_it_quotes(void **state)
{
    char long_name[2000];

    (void)state;
    mp__resp_error(&out, "ERR", "unknown command '%s'", "a\r\n+OK\r\n\tb");
    wrote("-ERR unknown command 'a  +OK   b'\r\n");
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    mp__resp_error(&out, "ERR", "%s", long_name);
    assert_int_equal(out.size, strlen("-ERR ") + 511 + 2);
    assert_memory_equal(out.data + out.size - 2, "\r\n", 2);
}

static void a_full_buffer_keeps_its_error(void **state)
{
    mp__buf small = {.size_max = 8};

    (void)state;
    mp__resp_bulk(&small, MP_STR("longer than eight bytes"));
    mp__resp_simple(&small, "OK");
    assert_int_equal(small.error, MP_ELIMIT);
    mp__buf_done(&small);
}

static void without_memory_the_error_is_kept(void **state)
{
    mp_str arguments[] = {MP_STR("SET"), MP_STR("k"), MP_STR("v")};

    (void)state;
    for (size_t n = 1;; n++) {
        mp__buf_done(&out);
        mp__buf_reset(&out);
        mp_fail_begin(n);
        mp__resp_request(&out, arguments, 3);
        if (!mp_fail_end())
            break;
        assert_int_equal(out.error, MP_ENOMEM);
    }
    wrote("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
}

#define WITH_BUFFER(f) cmocka_unit_test_teardown(f, out_drop)
static const struct CMUnitTest tests[] = {
    WITH_BUFFER(each_reply_has_its_form_in_resp3),
    WITH_BUFFER(old_clients_get_what_resp2_has_for_it),
    WITH_BUFFER(doubles_that_are_no_numbers_have_names),
    WITH_BUFFER(an_error_is_one_line_whatever_it_quotes),
    WITH_BUFFER(a_full_buffer_keeps_its_error),
    WITH_BUFFER(without_memory_the_error_is_kept),
};

MP_TEST_MAIN(tests)
