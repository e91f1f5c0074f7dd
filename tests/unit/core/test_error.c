/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <errno.h>

#include "core/error.h"
#include "core/knob.h"

static void system_errors_have_the_names_and_texts_of_the_system(void **state)
{
    (void)state;
    assert_string_equal(mp_error_name(0), "OK");
    assert_string_equal(mp_strerror(0), "success");
    assert_string_equal(mp_error_name(-ENOSPC), "ENOSPC");
    assert_string_equal(mp_strerror(-ENOSPC), "No space left on device");
    assert_string_equal(mp_error_remedy(-ENOSPC), "");
    assert_string_equal(mp_error_name(-4095), "UNKNOWN");
    assert_non_null(mp_strerror(-4095));
}

static void our_errors_say_what_can_be_done(void **state)
{
    (void)state;
    assert_string_equal(mp_error_name(MP_EUNKNOWN), "MP_EUNKNOWN");
    assert_non_null(strstr(mp_error_remedy(MP_EUNKNOWN), "bring the origin back"));
}

static void a_diag_is_shown_with_as_much_of_its_place_as_is_known(void **state)
{
    mp__diag diag = {0};
    char text[200];

    (void)state;
    assert_int_equal(mp__diag_set(&diag, MP_EINVAL, "bad %d", 7), MP_EINVAL);
    assert_string_equal(mp__diag_format(&diag, text, sizeof(text)), "bad 7");
    assert_int_equal(mp__diag_at(&diag, MP_ESYNTAX, 3, 4, "worse"), MP_ESYNTAX);
    assert_string_equal(mp__diag_format(&diag, text, sizeof(text)), "3:4: worse");
    (void)snprintf(diag.file, sizeof(diag.file), "a.yaml");
    assert_string_equal(mp__diag_format(&diag, text, sizeof(text)), "a.yaml:3:4: worse");
    (void)mp__diag_set(&diag, MP_EINVAL, "all of it");
    assert_string_equal(mp__diag_format(&diag, text, sizeof(text)), "a.yaml: all of it");
    assert_string_equal(mp__diag_format(&diag, text, 7), "a.yaml");
    assert_int_equal(mp__diag_set(NULL, MP_EINVAL, "nobody asks"), MP_EINVAL);
}

static void an_error_shows_so_much_of_a_text_and_whole_characters(void **state)
{
    char text[200];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(mp__diag_shown(mp_str_new(NULL, 0)), 0);
    assert_int_equal(mp__diag_shown(mp_str_new(text, 80)), 80);
    assert_int_equal(mp__diag_shown(mp_str_new(text, 200)), 80);
    memcpy(text + 78, "\xe4\xba\xa4", 3);
    assert_int_equal(mp__diag_shown(mp_str_new(text, 200)), 78);
    memcpy(text + 77, "\xe4\xba\xa4x", 4);
    assert_int_equal(mp__diag_shown(mp_str_new(text, 200)), 80);
    memset(text, 0x80, sizeof(text)); /* no text at all */
    assert_in_range(mp__diag_shown(mp_str_new(text, 200)), 76, 80);
}

static double turned;

static int turn(void *module, double value, mp__diag *diag)
{
    (void)module;
    (void)diag;
    turned = value;
    return 0;
}

static void a_knob_is_turned_only_within_its_range(void **state)
{
    static const mp__knob knobs[] = {
        {.name = "cache.l1_size", .unit = "entries", .low = 1, .high = 100, .set = turn},
    };
    static const mp__knob_table table = {"cache", knobs, 1};
    const mp__knob *knob = mp__knob_find(&table, "cache.l1_size");
    mp__diag diag = {0};

    (void)state;
    assert_ptr_equal(knob, &knobs[0]);
    assert_null(mp__knob_find(&table, "cache.l2_size"));
    assert_int_equal(mp__knob_set(knob, NULL, 100, &diag), 0);
    assert_true(turned == 100);
    assert_int_equal(mp__knob_set(knob, NULL, 101, &diag), MP_EINVAL);
    assert_int_equal(mp__knob_set(knob, NULL, 0, &diag), MP_EINVAL);
    assert_int_equal(mp__knob_set(knob, NULL, __builtin_nan(""), &diag), MP_EINVAL);
    assert_true(turned == 100);
    assert_non_null(strstr(diag.text, "1 to 100 entries"));
}

static const struct CMUnitTest tests[] = {
    MP_TEST(system_errors_have_the_names_and_texts_of_the_system),
    MP_TEST(our_errors_say_what_can_be_done),
    MP_TEST(a_diag_is_shown_with_as_much_of_its_place_as_is_known),
    MP_TEST(an_error_shows_so_much_of_a_text_and_whole_characters),
    MP_TEST(a_knob_is_turned_only_within_its_range),
};

MP_TEST_MAIN(tests)
