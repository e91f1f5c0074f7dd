/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "core/state.h"

enum { OPEN, SHUT, LOCKED };
static const char *const names[] = {"open", "shut", "locked"};
static const mp__state_move moves[] = {{OPEN, SHUT}, {SHUT, OPEN}, {SHUT, LOCKED}};
static const mp__state_table door = {"door", names, 3, moves, 3};

static int traced;
static char last_cause[16];

static void trace(void *context, const mp__state_table *table, uint8_t from, uint8_t to,
                  const char *cause)
{
    assert_ptr_equal(context, &traced);
    assert_ptr_equal(table, &door);
    assert_int_not_equal(from, to);
    snprintf(last_cause, sizeof(last_cause), "%s", cause);
    traced++;
}

static void only_allowed_moves_are_made_and_each_is_traced(void **unused)
{
    mp__state state;

    (void)unused;
    traced = 0;
    mp__state_init(&state, &door, OPEN, trace, &traced);
    assert_int_equal(mp__state_move_to(&state, LOCKED, "no"), MP_EINVAL);
    assert_int_equal(mp__state_now(&state), OPEN);
    assert_int_equal(mp__state_move_to(&state, 7, "no such state"), MP_EINVAL);
    assert_int_equal(traced, 0);
    assert_int_equal(mp__state_move_to(&state, SHUT, "wind"), 0);
    assert_int_equal(mp__state_move_to(&state, LOCKED, "key"), 0);
    assert_string_equal(mp__state_name(&state), "locked");
    assert_string_equal(last_cause, "key");
    assert_int_equal(traced, 2);
}

static void staying_is_no_move(void **unused)
{
    mp__state state;

    (void)unused;
    traced = 0;
    mp__state_init(&state, &door, SHUT, trace, &traced);
    assert_int_equal(mp__state_move_to(&state, SHUT, "again"), 0);
    assert_int_equal(traced, 0);
    state.trace = NULL;
    assert_int_equal(mp__state_move_to(&state, OPEN, "untraced"), 0);
    assert_int_equal(mp__state_now(&state), OPEN);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(only_allowed_moves_are_made_and_each_is_traced),
    MP_TEST(staying_is_no_move),
};
MP_TEST_MAIN(tests)
