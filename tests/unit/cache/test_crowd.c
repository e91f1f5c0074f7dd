/* SPDX-License-Identifier: Apache-2.0 */
/* Of how many keys a sample has too many or too few, its requests tell. */
#include "mp_test.h"
#include "mp_dice.h"

#include <math.h>
#include <string.h>

#include "cache/crowd.h"
#include "cache/mini.h"

enum { ENTRIES = 100, COUNT = 40000 };
static const double SAMPLE = 0.25;

/* A miniature of ENTRIES that stands for four times as many, and what is known of it. */
typedef struct small {
    mp__mini *lru;
    mp__crowd crowd;
    mp__tally tally;
    uint64_t random;
} small;

static void small_open(small *s, uint64_t seed)
{
    const mp__mini_shape shape = {.name = "lru", .kind = MP__MINI_LRU};

    *s = (small){.tally.sample = SAMPLE, .random = seed};
    assert_int_equal(mp__mini_new(&shape, ENTRIES, false, false, &s->lru), 0);
}

/* A request of the sample, and so many that are not. */
static void see(small *s, uint64_t key)
{
    const uint64_t hash = mp_mixed(key);
    const bool hit = mp__mini_access(s->lru, hash);

    mp__tally_add(&s->tally, hash, 1, hit, 1);
    if (mp__crowd_see(&s->crowd, hash, hit, 1))
        mp__mini_spread(s->lru, s->crowd.held, MP__TALLY_PARTS);
    if (mp__mini_gone(s->lru))
        mp__crowd_evicted(&s->crowd, mp__mini_gone(s->lru));
}

static void correct(small *s, double all, mp__prediction *ret_was, mp__prediction *ret_is)
{
    const mp__crowd_at at = {
        .tally = &s->tally, .held = mp__mini_count(s->lru), .entries = ENTRIES};

    mp__tally_pass(&s->tally, 1, all);
    mp__tally_read(&s->tally, ret_was);
    *ret_is = *ret_was;
    mp__crowd_correct(&s->crowd, &at, ret_is);
    s->lru = mp__mini_free(s->lru);
}

/* Of 600 keys that are asked for alike, of which 400 entries hit two thirds, a fair sample has 150.
 * This one has a tenth more, or fewer. */
static void a_sample_of_too_many_or_too_few_keys_is_taken_for_what_it_is(void **state)
{
    (void)state;
    for (unsigned keys = 135; keys <= 165; keys += 15) {
        mp__prediction was, is;
        small s;

        small_open(&s, keys);
        for (unsigned i = 0; i < COUNT; i++)
            see(&s, mp_dice(&s.random, keys));
        correct(&s, COUNT * 600.0 / keys, &was, &is);
        assert_true(fabs(was.hit_ratio - 100.0 / keys) < 0.01);
        assert_true(fabs(is.hit_ratio - 400.0 / 600) < 0.02);
        assert_true(is.low <= 400.0 / 600 && is.high >= 400.0 / 600);
        assert_true(is.high - is.low < 0.1);
    }
}

/* 380 keys, for which there is room for 400. To the sample's 105 there is none for all. */
static void a_miniature_that_is_just_too_small_may_stand_for_a_cache_that_has_all(void **state)
{
    mp__prediction was, is;
    small s;

    (void)state;
    small_open(&s, 3);
    for (unsigned i = 0; i < COUNT; i++)
        see(&s, mp_dice(&s.random, 105));
    correct(&s, COUNT * 380.0 / 105, &was, &is);
    assert_true(was.hit_ratio < 0.97);
    assert_true(is.hit_ratio > 0.98 && is.high > 0.99);
}

/* And the other way round: 440 keys, of which the sample has 95. */
static void a_miniature_that_has_all_may_stand_for_a_cache_that_has_not(void **state)
{
    mp__prediction was, is;
    small s;

    (void)state;
    small_open(&s, 4);
    for (unsigned i = 0; i < COUNT; i++)
        see(&s, mp_dice(&s.random, 95));
    correct(&s, COUNT * 440.0 / 95, &was, &is);
    assert_true(was.hit_ratio > 0.99 && was.low > 0.99);
    assert_true(is.low < 400.0 / 440 && is.hit_ratio < 0.95);
}

/* Half as many requests again as the sample's stand for are no keys more. */
static void a_hot_key_that_the_sample_lacks_moves_nothing(void **state)
{
    mp__prediction was, is;
    small s;

    (void)state;
    small_open(&s, 5);
    for (unsigned i = 0; i < COUNT; i++)
        see(&s, mp_dice(&s.random, 150));
    correct(&s, COUNT * (4 + 2), &was, &is);
    assert_true(fabs(is.hit_ratio - was.hit_ratio) < 1e-9);
    assert_true(is.high - is.low > was.high - was.low);
}

/* What is asked for twice and never again is not evicted for want of room. */
static void where_keys_do_not_come_back_hardly_anything_hangs_on_how_many_there_are(void **state)
{
    mp__prediction was, is;
    small s;

    (void)state;
    small_open(&s, 6);
    for (unsigned i = 0; i < COUNT; i++)
        see(&s, i / 2 - (i % 2 && i > 40 ? 10 : 0));
    correct(&s, COUNT * 4.2, &was, &is);
    assert_true(fabs(is.hit_ratio - was.hit_ratio) < 0.001);
    assert_true(is.high - is.low < was.high - was.low + 0.001);
}

static void a_sample_of_all_keys_is_left_as_it_is(void **state)
{
    mp__prediction was, is;
    small s;

    (void)state;
    small_open(&s, 7);
    s.tally.sample = 1;
    for (unsigned i = 0; i < COUNT; i++)
        see(&s, mp_dice(&s.random, 150));
    correct(&s, COUNT, &was, &is);
    assert_memory_equal(&was, &is, sizeof(is));
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_sample_of_too_many_or_too_few_keys_is_taken_for_what_it_is),
    MP_TEST(a_miniature_that_is_just_too_small_may_stand_for_a_cache_that_has_all),
    MP_TEST(a_miniature_that_has_all_may_stand_for_a_cache_that_has_not),
    MP_TEST(a_hot_key_that_the_sample_lacks_moves_nothing),
    MP_TEST(where_keys_do_not_come_back_hardly_anything_hangs_on_how_many_there_are),
    MP_TEST(a_sample_of_all_keys_is_left_as_it_is),
};

MP_TEST_MAIN(tests)
