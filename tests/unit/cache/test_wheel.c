/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "cache/wheel.h"

enum { TIMERS = 5000 };

static mp__wheel_timer timers[TIMERS];
static uint64_t random_state;

/* xorshift64 (Marsaglia, "Xorshift RNGs", 2003). */
static uint64_t next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Near, far and very far: all four wheels and what lies beyond. */
static uint64_t some_time_ahead(void)
{
    return next() % ((uint64_t)1 << (next() % 27));
}

static void a_timer_fires_at_its_time_and_not_before(void **state)
{
    static const uint64_t aheads[] = {1,    2,      63,       64,       65,       127,
                                      4095, 4096,   4097,     262143,   262144,   262145,
                                      1000, 100000, 1u << 20, 16777215, 16777216, 40000000};

    (void)state;
    for (uint64_t begin = 0; begin < 130; begin += 13)
        for (size_t i = 0; i < sizeof(aheads) / sizeof(aheads[0]); i++) {
            uint64_t due = begin + aheads[i];
            unsigned steps = UINT32_MAX;
            mp__wheel wheel;

            mp__wheel_init(&wheel, begin);
            memset(&timers[0], 0, sizeof(timers[0]));
            mp__wheel_set(&wheel, &timers[0], due);
            assert_true(mp__wheel_is_set(&timers[0]));
            assert_null(mp__wheel_next(&wheel, due - 1, &steps));
            assert_ptr_equal(mp__wheel_next(&wheel, due, &steps), &timers[0]);
            assert_false(mp__wheel_is_set(&timers[0]));
            assert_int_equal(wheel.count, 0);
        }
}

static void one_that_is_due_already_fires_at_the_next_step(void **state)
{
    unsigned steps = 100;
    mp__wheel wheel;

    (void)state;
    mp__wheel_init(&wheel, 1000);
    memset(&timers[0], 0, sizeof(timers[0]));
    mp__wheel_set(&wheel, &timers[0], 7);
    assert_null(mp__wheel_next(&wheel, 1000, &steps));
    assert_ptr_equal(mp__wheel_next(&wheel, 1001, &steps), &timers[0]);
}

/* Every timer fires in the very tick it is set to, whatever is set, stopped and set again. */
static void whatever_is_set_and_stopped_each_fires_once_at_its_tick(void **state)
{
    uint64_t now = 12345, fired = 0, set = 0;
    mp__wheel wheel;

    (void)state;
    random_state = 88172645463325252u;
    memset(timers, 0, sizeof(timers));
    mp__wheel_init(&wheel, now);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned steps = UINT32_MAX;
        mp__wheel_timer *timer;

        for (unsigned i = 0; i < 10; i++) {
            timer = &timers[next() % TIMERS];
            set -= mp__wheel_is_set(timer);
            mp__wheel_stop(&wheel, timer);
            if (next() % 4) {
                mp__wheel_set(&wheel, timer, now + 1 + some_time_ahead());
                set++;
            }
        }
        for (uint64_t until = now + next() % 3000; now < until;) {
            now += 1 + next() % 3 * (next() % 40); /* often a step, sometimes a leap */
            now = now < until ? now : until;
            while ((timer = mp__wheel_next(&wheel, now, &steps)) != NULL) {
                assert_true(timer->due <= now);
                assert_true(timer->due == wheel.now);
                fired++;
                set--;
            }
            assert_int_equal(wheel.now, now);
        }
        assert_int_equal(wheel.count, set);
    }
    for (size_t i = 0; i < TIMERS; i++)
        if (mp__wheel_is_set(&timers[i]))
            assert_true(timers[i].due > now);
    assert_true(fired > 10000);
}

/* All in one slot that has to be moved down, and more than a step may take. */
static void a_step_does_no_more_than_it_may_and_nothing_is_lost(void **state)
{
    unsigned fired = 0, calls = 0, late = 0;
    mp__wheel wheel;

    (void)state;
    memset(timers, 0, sizeof(timers));
    mp__wheel_init(&wheel, 0);
    for (size_t i = 0; i < TIMERS; i++)
        mp__wheel_set(&wheel, &timers[i], 4096 + i % 50);
    for (uint64_t now = 0; fired < TIMERS; calls++) {
        unsigned steps = 100;
        mp__wheel_timer *timer;

        if (now < 4200)
            now++;
        while ((timer = mp__wheel_next(&wheel, now, &steps)) != NULL) {
            assert_true(timer->due <= now);
            late += timer->due < now;
            fired++;
            if (fired % 7 == 0 && mp__wheel_is_set(&timers[fired % TIMERS])) {
                mp__wheel_stop(&wheel, &timers[fired % TIMERS]); /* also of what is pending */
                mp__wheel_set(&wheel, &timers[fired % TIMERS], wheel.now + 1);
            }
        }
        assert_true(calls < 10000);
    }
    assert_int_equal(wheel.count, 0);
    assert_true(late > 0); /* a hundred steps a tick were too few, which is what we wanted to see */
}

static void an_empty_wheel_passes_any_time_in_one_step(void **state)
{
    unsigned steps = 2;
    mp__wheel wheel;

    (void)state;
    mp__wheel_init(&wheel, 0);
    assert_null(mp__wheel_next(&wheel, (uint64_t)1 << 40, &steps));
    assert_int_equal(wheel.now, (uint64_t)1 << 40);
    assert_int_equal(steps, 1);
}

/* Of 100 and of 100,000 timers: what there is must not matter to what is set. */
static void setting_and_going_on_take_as_many_steps_however_many_there_are(void **state)
{
    enum { MANY = 100000 };
    mp__wheel_timer *many = calloc(MANY, sizeof(*many));
    mp__wheel wheel;
    uint64_t taken = 0;

    (void)state;
    assert_non_null(many);
    random_state = 1;
    mp__wheel_init(&wheel, 0);
    for (size_t i = 0; i < MANY; i++)
        mp__wheel_set(&wheel, &many[i], 1 + next() % 3600);
    for (uint64_t now = 1; now <= 3600; now++) {
        unsigned steps = UINT32_MAX;

        while (mp__wheel_next(&wheel, now, &steps))
            ;
        taken += UINT32_MAX - steps;
    }
    assert_int_equal(wheel.count, 0);
    assert_true(taken <=
                2 * MANY + 3600 + 3600 / 64); /* each moved down at most once, then fired */
    free(many);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_timer_fires_at_its_time_and_not_before),
    MP_TEST(one_that_is_due_already_fires_at_the_next_step),
    MP_TEST(whatever_is_set_and_stopped_each_fires_once_at_its_tick),
    MP_TEST(a_step_does_no_more_than_it_may_and_nothing_is_lost),
    MP_TEST(an_empty_wheel_passes_any_time_in_one_step),
    MP_TEST(setting_and_going_on_take_as_many_steps_however_many_there_are),
};

MP_TEST_MAIN(tests)
