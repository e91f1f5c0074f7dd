/* SPDX-License-Identifier: Apache-2.0 */
/* What comes with time to the entries of an L1. */
#include "mp_test.h"

#include "cache/l1.h"
#include "core/core.h"

static const mp__hash_key key = {1, 2};
static uint32_t begin_s; /* when L1 began, in the seconds that count */
static int64_t begin_ms;

static mp__l1 *l1_new(size_t entries)
{
    mp_env *env = mp__env_real();
    mp__l1 *l1 = NULL;

    begin_s = (uint32_t)(mp__env_now_ns(env) / 1000000000u) + 1;
    begin_ms = mp__env_wall_ms(env);
    assert_int_equal(mp__l1_new(env, entries, 64u << 20, 10, mp__policy_find("adaptive"), &l1), 0);
    return l1;
}

static mp_str address_of(char address[64], unsigned number)
{
    return mp_str_new(address, (size_t)snprintf(address, 64, "e/n/%u", number));
}

/* @verify_s and @expires_s from the beginning; 0: never. */
static void put(mp__l1 *l1, unsigned number, bool absent, uint32_t verify_s, uint32_t expires_s,
                uint64_t revision)
{
    char address[64];
    mp__record record = {.address = address_of(address, number),
                         .value = absent ? mp_str_new("", 0) : MP_STR("v"),
                         .kind = absent ? MP__RECORD_ABSENT : MP__RECORD_VALUE,
                         .revision = revision,
                         .expires_ms = expires_s ? begin_ms + (int64_t)expires_s * 1000 : 0};

    assert_int_equal(mp__l1_put(l1, mp__hash_str(key, record.address), &record, false, 1,
                                verify_s ? begin_s + verify_s : 0, NULL),
                     0);
}

static bool look(mp__l1 *l1, unsigned number, bool use)
{
    char address[64];
    mp_str name = address_of(address, number);
    uint64_t hash = mp__hash_str(key, name);
    bool found;

    assert_int_equal(mp_read_begin(), 0);
    found = (use ? mp__l1_find(l1, name, hash) : mp__l1_peek(l1, name, hash)) != NULL;
    mp_read_end();
    return found;
}

static mp__cache_turn at(uint32_t second)
{
    return (mp__cache_turn){.now_s = begin_s + second,
                            .wall_ms = begin_ms + (int64_t)second * 1000,
                            .may_ask = true,
                            .refreshes = true};
}

/* Turn until all is done; how many were given to be verified. With @verify_s they are. */
static size_t turn_until(mp__l1 *l1, const mp__cache_turn *turn, uint32_t verify_s)
{
    const mp__entry *due[MP__CACHE_DUE];
    size_t all = 0;
    bool more = true;

    while (more) {
        size_t count = mp__l1_turn(l1, turn, due, &more);

        for (size_t i = 0; i < count; i++) {
            if (verify_s)
                atomic_store(&((mp__entry *)(uintptr_t)due[i])->verify_by_s, begin_s + verify_s);
            (void)mp__entry_unref(due[i]);
        }
        all += count;
    }
    return all;
}

static size_t turn(mp__l1 *l1, uint32_t second)
{
    mp__cache_turn t = at(second);

    return turn_until(l1, &t, 0);
}

static mp__l1_stats stats_of(mp__l1 *l1)
{
    mp__l1_stats stats;

    mp__l1_stats_read(l1, &stats);
    return stats;
}

static void what_has_expired_leaves_though_nobody_reads_it(void **state)
{
    mp__l1 *l1 = l1_new(1000);

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        put(l1, i, false, 3600, 10 + i, 1);
    put(l1, 200, false, 3600, 0, 1);
    assert_int_equal(turn(l1, 9), 0);
    assert_int_equal(stats_of(l1).entries, 101);
    assert_int_equal(turn(l1, 61), 0);
    assert_in_range(stats_of(l1).entries, 49, 51);
    assert_int_equal(turn(l1, 120), 0);
    assert_int_equal(stats_of(l1).entries, 1);
    assert_int_equal(stats_of(l1).expired, 100);
    assert_true(look(l1, 200, false));
    l1 = mp__l1_free(l1);
}

static void a_wall_clock_that_was_set_back_keeps_what_has_not_expired(void **state)
{
    mp__l1 *l1 = l1_new(1000);
    mp__cache_turn back = at(100);

    (void)state;
    put(l1, 1, false, 0, 10, 1);
    back.wall_ms = begin_ms - 50000; /* a hundred seconds later it is fifty seconds earlier */
    assert_int_equal(turn_until(l1, &back, 0), 0);
    assert_int_equal(stats_of(l1).entries, 1);
    back.now_s += 59;
    back.wall_ms += 59000;
    assert_int_equal(turn_until(l1, &back, 0), 0);
    assert_int_equal(stats_of(l1).entries, 1);
    back.now_s += 3;
    back.wall_ms += 3000;
    assert_int_equal(turn_until(l1, &back, 0), 0);
    assert_int_equal(stats_of(l1).entries, 0);
    l1 = mp__l1_free(l1);
}

static void a_time_to_verify_throws_nothing_away(void **state)
{
    mp__l1 *l1 = l1_new(1000);

    (void)state;
    for (unsigned i = 0; i < 500; i++)
        put(l1, i, false, 1 + i % 60, 0, 1);
    for (uint32_t second = 1; second < 10000; second += 7)
        (void)turn(l1, second);
    assert_int_equal(stats_of(l1).entries, 500);
    l1 = mp__l1_free(l1);
}

static void only_what_is_in_use_is_given_to_be_verified(void **state)
{
    mp__l1 *l1 = l1_new(1000);

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        put(l1, i, false, 60, 0, 1);
    for (unsigned i = 0; i < 10; i++)
        assert_true(look(l1, i, true));
    assert_int_equal(turn(l1, 57), 0);
    assert_int_equal(turn(l1, 58), 10); /* two seconds before */
    l1 = mp__l1_free(l1);
}

static void what_was_verified_is_left_alone_and_what_was_not_comes_again(void **state)
{
    mp__l1 *l1 = l1_new(1000);
    mp__cache_turn t = at(58);

    (void)state;
    put(l1, 1, false, 60, 0, 1);
    put(l1, 2, false, 60, 0, 1);
    assert_true(look(l1, 1, true));
    assert_int_equal(turn_until(l1, &t, 0), 1); /* and nothing comes of it */
    assert_int_equal(turn(l1, 59), 0);
    t = at(60);
    assert_int_equal(turn_until(l1, &t, 120), 1);
    for (uint32_t second = 61; second < 118; second++)
        assert_int_equal(turn(l1, second), 0);
    /* nobody has used it since, though it was given away twice */
    assert_true(turn(l1, 118) <= 1);
    (void)turn(l1, 400);
    assert_int_equal(turn(l1, 1000), 0);
    l1 = mp__l1_free(l1);
}

static void what_is_overdue_is_left_to_its_readers(void **state)
{
    mp__l1 *l1 = l1_new(1000);
    mp__cache_turn away = at(58);

    (void)state;
    put(l1, 1, false, 60, 0, 1);
    assert_true(look(l1, 1, true));
    away.may_ask = false;
    assert_int_equal(turn_until(l1, &away, 0), 0);
    assert_int_equal(turn(l1, 500), 0);
    assert_int_equal(stats_of(l1).entries, 1);
    l1 = mp__l1_free(l1);
}

static void what_is_known_to_be_absent_is_forgotten_when_nobody_asks_for_it(void **state)
{
    mp__l1 *l1 = l1_new(10000);

    (void)state;
    for (unsigned i = 0; i < 500; i++)
        put(l1, i, true, 60, 0, 1);
    for (unsigned i = 0; i < 5; i++)
        assert_true(look(l1, i, true));
    assert_int_equal(turn(l1, 59), 0);
    assert_int_equal(stats_of(l1).entries, 500);
    assert_int_equal(turn(l1, 60), 5); /* somebody asks for these */
    assert_int_equal(stats_of(l1).entries, 5);
    assert_int_equal(stats_of(l1).unlearned, 495);
    l1 = mp__l1_free(l1);
}

static void that_a_scope_is_empty_is_not_forgotten(void **state)
{
    mp__l1 *l1 = l1_new(1000);
    mp__record record = {.address = MP_STR("base"), .kind = MP__RECORD_ABSENT, .revision = 1};

    (void)state;
    assert_int_equal(
        mp__l1_put(l1, mp__hash_str(key, record.address), &record, false, 1, begin_s + 60, NULL),
        0);
    assert_int_equal(turn(l1, 1000), 0);
    assert_int_equal(stats_of(l1).entries, 1);
    l1 = mp__l1_free(l1);
}

static void absence_is_remembered_while_nobody_could_be_asked(void **state)
{
    mp__l1 *l1 = l1_new(1000);
    mp__cache_turn away = at(61);

    (void)state;
    put(l1, 1, true, 60, 0, 1);
    away.may_ask = false;
    assert_int_equal(turn_until(l1, &away, 0), 0);
    assert_int_equal(stats_of(l1).entries, 1);
    assert_int_equal(turn(l1, 1000), 0);
    assert_int_equal(stats_of(l1).entries, 0);
    l1 = mp__l1_free(l1);
}

static void a_turn_does_a_bounded_piece_however_much_is_due(void **state)
{
    enum { MANY = 100000 };
    const mp__entry *due[MP__CACHE_DUE];
    mp__l1 *l1 = l1_new(MANY);
    mp__cache_turn t = at(120);
    size_t turns = 0, before, most = 0;
    bool more = true;

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        put(l1, i, false, 0, 100, 1);
    for (before = stats_of(l1).entries; more; turns++) {
        size_t now;

        assert_int_equal(mp__l1_turn(l1, &t, due, &more), 0);
        now = stats_of(l1).entries;
        most = before - now > most ? before - now : most;
        before = now;
    }
    assert_int_equal(stats_of(l1).entries, 0);
    assert_true(most <= 512);
    assert_true(turns >= MANY / 512);
    l1 = mp__l1_free(l1);
}

static void a_timer_goes_with_its_entry_whatever_way_that_goes(void **state)
{
    mp__l1 *l1 = l1_new(300);
    char address[64];
    uint64_t revision = 1;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned number = i * 2654435761u % 1000;
        mp_str name = address_of(address, number);

        put(l1, number, i % 7 == 0, 1 + i % 500, i % 3 ? 0 : 1 + i % 300, revision++);
        if (i % 5 == 0)
            mp__l1_remove(l1, name, mp__hash_str(key, name));
        if (i % 1000 == 0)
            assert_int_equal(mp__l1_set_entries(l1, 200 + i / 100), 0);
        if (i % 97 == 0)
            (void)turn(l1, i / 97);
        assert_int_equal(stats_of(l1).timers, stats_of(l1).entries);
    }
    l1 = mp__l1_free(l1);
}

static void an_entry_that_nothing_comes_to_has_no_timer(void **state)
{
    mp__l1 *l1 = l1_new(300);

    (void)state;
    put(l1, 1, false, 0, 0, 1);
    assert_int_equal(stats_of(l1).timers, 0);
    put(l1, 1, false, 0, 60, 2);
    assert_int_equal(stats_of(l1).timers, 1);
    put(l1, 1, false, 0, 0, 3);
    assert_int_equal(stats_of(l1).timers, 0);
    l1 = mp__l1_free(l1);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_has_expired_leaves_though_nobody_reads_it),
    MP_TEST(a_wall_clock_that_was_set_back_keeps_what_has_not_expired),
    MP_TEST(a_time_to_verify_throws_nothing_away),
    MP_TEST(only_what_is_in_use_is_given_to_be_verified),
    MP_TEST(what_was_verified_is_left_alone_and_what_was_not_comes_again),
    MP_TEST(what_is_overdue_is_left_to_its_readers),
    MP_TEST(what_is_known_to_be_absent_is_forgotten_when_nobody_asks_for_it),
    MP_TEST(that_a_scope_is_empty_is_not_forgotten),
    MP_TEST(absence_is_remembered_while_nobody_could_be_asked),
    MP_TEST(a_turn_does_a_bounded_piece_however_much_is_due),
    MP_TEST(a_timer_goes_with_its_entry_whatever_way_that_goes),
    MP_TEST(an_entry_that_nothing_comes_to_has_no_timer),
};

MP_TEST_MAIN(tests)
