/* SPDX-License-Identifier: Apache-2.0 */
/* What every C test includes: cmocka in the order it needs, and our short cuts. */
#ifndef MP_TEST_H
#define MP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <marketprism/str.h>

/* One row of a test table; the function's name is the promise. */
#define MP_TEST(f) cmocka_unit_test(f)

/* The mp_str @got holds exactly the bytes of the literal @want. */
#define mp_assert_str(got, want)                                                                   \
    do {                                                                                           \
        mp_str got_ = (got);                                                                       \
        assert_int_equal(got_.size, strlen(want));                                                 \
        assert_memory_equal(got_.data, (want), got_.size);                                         \
    } while (0)

/* MP_TEST='*name*' in the environment runs only what it matches. */
#define MP_TEST_MAIN(tests)                                                                        \
    int main(void)                                                                                 \
    {                                                                                              \
        cmocka_set_message_output(CM_OUTPUT_TAP);                                                  \
        cmocka_set_test_filter(getenv("MP_TEST"));                                                 \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }

#endif
