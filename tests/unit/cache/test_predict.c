/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"
#include "mp_dice.h"

#include <math.h>

#include "cache/mini.h"
#include "cache/predict.h"
#include "cache/replay.h"

#include "mp_fail.h"

static uint64_t hash_of(uint64_t key)
{
    key = (key + 1) * 0x9e3779b97f4a7c15ULL;
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9ULL;
    key = (key ^ key >> 27) * 0x94d049bb133111ebULL;
    return key ^ key >> 31;
}

static uint64_t random_state;

static uint64_t dice(uint64_t below)
{
    return mp_dice(&random_state, below);
}

/* A few keys very often, a long tail, and a different skew in each family. */
static uint64_t skewed(unsigned family, uint64_t keys)
{
    double u = ((double)dice(1u << 30) + 1) / (1u << 30);

    return (uint64_t)((double)keys * pow(u, 1.5 + family));
}

/* A miniature, and what it was asked: the truth is what the same policy hits of that. */
typedef struct pair {
    mp__trace trace;
    mp__predict *predict;
    const char *policy;
    size_t capacity;
} pair;

static void pair_open(pair *p, const char *policy, size_t capacity)
{
    *p = (pair){.policy = policy, .capacity = capacity};
    assert_int_equal(mp__predict_new(policy, capacity, &p->predict), 0);
}

static void pair_close(pair *p)
{
    mp__trace_done(&p->trace);
    p->predict = mp__predict_free(p->predict);
}

static void ask(pair *p, uint64_t hash)
{
    assert_int_equal(mp__trace_add_hash(&p->trace, hash), 0);
    mp__predict_see(p->predict, hash);
}

static double truth_of(const pair *p)
{
    mp__replay *replay = NULL;
    double ratio;

    assert_int_equal(mp__replay_new(&p->trace, p->policy, p->capacity, &replay), 0);
    mp__replay_run(replay, 0, p->trace.requests);
    ratio = (double)replay->hits / (double)replay->requests;
    replay = mp__replay_free(replay);
    return ratio;
}

/* Count it, and count it as held where the truth is within its interval; @p is closed. */
static void judge(pair *p, unsigned *held, unsigned *count)
{
    mp__prediction is;
    double truth = truth_of(p);

    mp__predict_read(p->predict, &is);
    *held += truth >= is.low - 1e-9 && truth <= is.high + 1e-9;
    ++*count;
    pair_close(p);
}

static void nine_of_ten(unsigned held, unsigned count)
{
    print_message("# %u of %u intervals held\n", held, count);
    assert_true(held >= count * 85 / 100);
}

static void predictions_are_within_a_point_and_their_intervals_hold_nine_times_of_ten(void **state)
{
    static const char *const policies[] = {"lru", "2q", "lirs"};
    static const size_t capacities[] = {600, 1500, 4000, 9000};
    unsigned count = 0, held = 0;
    double error = 0;

    (void)state;
    for (unsigned family = 0; family < 4; family++)
        for (size_t c = 0; c < 4; c++)
            for (size_t k = 0; k < 3; k++) {
                mp__prediction is;
                double truth;
                pair p;

                random_state = 100 * family + c;
                pair_open(&p, policies[k], capacities[c]);
                for (int i = 0; i < 60000; i++)
                    ask(&p, hash_of(skewed(family, 30000) + 100000 * (c + 10 * family)));
                mp__predict_read(p.predict, &is);
                truth = truth_of(&p);
                assert_true(is.entries >= 256);
                assert_true(is.sample <= 0.5);
                error += fabs(is.hit_ratio - truth);
                held += truth >= is.low && truth <= is.high;
                count++;
                pair_close(&p);
            }
    print_message("# mean error %.2f points, %u of %u intervals held\n", 100 * error / count, held,
                  count);
    assert_true(error / count <= 0.01);
    assert_true(held >= count * 85 / 100);
}

/* The sketch of W-TinyLFU is rounded up to a power of two, that of the miniature by other than that
 * of the cache: where most keys come once, it matters how many of them share a counter. */
static void keys_that_come_once_mislead_a_miniature_as_much_as_the_cache(void **state)
{
    enum { RUNS = 6, CAPACITY = 5000, KEYS = 8000, REQUESTS = 400000 };
    double error = 0;

    (void)state;
    for (unsigned run = 0; run < RUNS; run++) {
        mp__prediction is;
        pair p;

        random_state = run + 1;
        pair_open(&p, "w-tinylfu", CAPACITY);
        for (uint64_t i = 0; i < REQUESTS; i++)
            ask(&p, hash_of(dice(4) ? run * REQUESTS + i + KEYS : dice(KEYS)));
        mp__predict_read(p.predict, &is);
        error += is.hit_ratio - truth_of(&p);
        pair_close(&p);
    }
    print_message("# mean error %.2f points\n", 100 * error / RUNS);
    assert_true(fabs(error / RUNS) <= 0.002);
}

static void a_loop_too_large_is_not_taken_for_hits_by_the_correction(void **state)
{
    pair p;
    mp__prediction is;

    (void)state;
    pair_open(&p, "lru", 1000);
    for (unsigned i = 0; i < 60000; i++)
        ask(&p, hash_of(i % 3000));
    mp__predict_read(p.predict, &is);
    assert_true(truth_of(&p) == 0);
    assert_true(is.hit_ratio < 0.001);
    pair_close(&p);
}

/* Whether a loop fits a miniature hangs on which of its keys are sampled. */
static void a_loop_about_as_large_as_the_cache_is_not_promised_to_fit_nor_not_to(void **state)
{
    static const char *const policies[] = {"lru", "s3-fifo", "lirs"};
    unsigned held = 0, count = 0;

    (void)state;
    for (unsigned round = 0; round < 16; round++)
        for (unsigned k = 0; k < 3; k++)
            for (unsigned loop = 985; loop <= 1015; loop += 15) {
                pair p;

                pair_open(&p, policies[k], 1000);
                for (unsigned i = 0; i < 50000; i++)
                    ask(&p, hash_of(i % loop + 10000ULL * round));
                judge(&p, &held, &count);
            }
    nine_of_ten(held, count);
}

static void a_loop_well_below_or_above_the_size_is_told_as_surely_as_ever(void **state)
{
    (void)state;
    for (unsigned loop = 600; loop <= 1800; loop += 1200) {
        pair p;
        mp__prediction is;

        pair_open(&p, "lru", 1000);
        for (unsigned i = 0; i < 60000; i++)
            ask(&p, hash_of(i % loop));
        mp__predict_read(p.predict, &is);
        assert_true(is.high - is.low < 0.001);
        pair_close(&p);
    }
}

/* A newcomer lives for as many misses under SIEVE, whatever the size, and for a hundredth of the
 * entries under LIRS: keys that come back after some others are hits of the one and not of the
 * other, and no part of the sample tells. */
static void what_a_policy_is_not_when_it_is_small_is_within_the_interval(void **state)
{
    static const char *const policies[] = {"sieve", "lirs", "w-tinylfu", "lru"};
    unsigned held = 0, count = 0;

    (void)state;
    for (unsigned k = 0; k < 4; k++)
        for (unsigned capacity = 600; capacity <= 2400; capacity *= 2)
            for (unsigned apart = 2; apart <= 64; apart *= 2) {
                pair p;

                pair_open(&p, policies[k], capacity);
                for (unsigned i = 0; i < 20000; i++) {
                    ask(&p, hash_of(i + 100000ULL * apart));
                    ask(&p, hash_of(i < apart ? 0 : i - apart + 100000ULL * apart));
                }
                judge(&p, &held, &count);
            }
    nine_of_ten(held, count);
}

/* A cache of a quarter runs beside: what it hits, a larger one hits nearly always. */
static void what_another_cache_hit_makes_a_prediction_surer(void **state)
{
    const mp__mini_shape shape = {"", MP__MINI_LRU, 0};
    double error[2] = {0}, width[2] = {0};

    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        mp__mini *beside = NULL, *whole = NULL;
        mp__predict *predicts[2] = {NULL};
        double hits = 0;

        random_state = round;
        assert_int_equal(mp__mini_new(&shape, 1500, false, false, &beside), 0);
        assert_int_equal(mp__mini_new(&shape, 6000, false, false, &whole), 0);
        for (unsigned known = 0; known < 2; known++)
            assert_int_equal(mp__predict_new_within("lru", 6000, 512, false, &predicts[known]), 0);
        for (unsigned i = 0; i < 60000; i++) {
            uint64_t hash = hash_of(skewed(round % 4, 30000) + 100000 * round);
            bool had = mp__mini_access(beside, hash);

            hits += mp__mini_access(whole, hash);
            mp__predict_see(predicts[0], hash);
            mp__predict_see_many(predicts[1], hash, had, 1);
        }
        for (unsigned known = 0; known < 2; known++) {
            mp__prediction is;

            mp__predict_read(predicts[known], &is);
            error[known] += fabs(is.hit_ratio - hits / 60000);
            width[known] += is.high - is.low;
            predicts[known] = mp__predict_free(predicts[known]);
        }
        beside = mp__mini_free(beside);
        whole = mp__mini_free(whole);
    }
    print_message("# of the error %.2f are left, of the width %.2f\n", error[1] / error[0],
                  width[1] / width[0]);
    assert_true(error[1] < 0.6 * error[0]);
    assert_true(width[1] < 0.75 * width[0]);
}

/* Under these two a new key that makes room for the next lives for a number of misses that does not
 * grow with the cache; in a miniature they are misses of the sample, of which there are few. */
static double off_by_newcomers(const char *policy, size_t capacity)
{
    enum { REQUESTS = 300000, NEAR = 8 };
    const uint64_t proven = capacity * 8 / 10;
    mp__prediction is;
    double truth;
    pair p;

    random_state = 3;
    pair_open(&p, policy, capacity);
    for (uint64_t i = 0; i < 4 * proven; i++)
        ask(&p, hash_of(i % proven));
    for (uint64_t i = 0, fresh = 1000000; i < REQUESTS; i++)
        switch (dice(4)) {
        case 0:
            ask(&p, hash_of(dice(proven)));
            break;
        case 1:
            ask(&p, hash_of(fresh - dice(NEAR)));
            break;
        default:
            ask(&p, hash_of(++fresh));
        }
    mp__predict_read(p.predict, &is);
    truth = truth_of(&p);
    print_message("# %s of %zu: %.4f, and is %.4f\n", policy, capacity, is.hit_ratio, truth);
    pair_close(&p);
    return is.hit_ratio - truth;
}

static void a_newcomer_of_a_miniature_lives_as_long_as_in_the_cache(void **state)
{
    (void)state;
    for (size_t capacity = 1000; capacity <= 16000; capacity *= 4) {
        assert_true(fabs(off_by_newcomers("lfu", capacity)) < 0.01);
        assert_true(fabs(off_by_newcomers("sieve", capacity)) < 0.02);
    }
}

static void a_small_cache_is_not_sampled_and_exact(void **state)
{
    pair p;
    mp__prediction is;

    (void)state;
    random_state = 5;
    pair_open(&p, "lru", 100);
    for (unsigned i = 0; i < 20000; i++)
        ask(&p, hash_of(skewed(1, 1000)));
    mp__predict_read(p.predict, &is);
    assert_true(fabs(is.hit_ratio - truth_of(&p)) < 1e-9);
    assert_true(is.low == is.hit_ratio && is.high == is.hit_ratio);
    pair_close(&p);
}

static void nothing_seen_says_anything_is_possible(void **state)
{
    mp__predict *p = NULL;
    mp__prediction is;

    (void)state;
    assert_int_equal(mp__predict_new("adaptive", 1000, &p), 0);
    mp__predict_read(p, &is);
    assert_true(is.low == 0 && is.high == 1 && is.requests == 0);
    p = mp__predict_free(p);
}

static void a_sample_of_a_few_keys_is_not_taken_for_certain(void **state)
{
    pair p;
    mp__prediction is;

    (void)state;
    random_state = 3;
    pair_open(&p, "lru", 1000000); /* one key in 488 is sampled */
    for (unsigned i = 0; i < 6000; i++)
        ask(&p, hash_of(skewed(1, 1500)));
    mp__predict_read(p.predict, &is);
    assert_true(is.requests > 0 && is.sample < 0.01);
    assert_true(is.low == 0 && is.high == 1);
    assert_true(truth_of(&p) > 0.7);
    pair_close(&p);
}

static void what_cannot_be_predicted_is_refused(void **state)
{
    mp__predict *p = NULL;

    (void)state;
    assert_int_equal(mp__predict_new("no such", 1000, &p), MP_EINVAL);
    assert_int_equal(mp__predict_new("lru", 0, &p), MP_EINVAL);
    assert_int_equal(mp__predict_new_within("lru", 1000, 0, true, &p), MP_EINVAL);
    assert_int_equal(mp__predict_new_within("lru", 1000, UINT16_MAX, true, &p), MP_EINVAL);
    assert_null(p);
}

static void without_memory_nothing_is_made_nor_lost(void **state)
{
    mp__predict *p;
    int rc;

    (void)state;
    for (size_t n = 1;; n++) {
        p = NULL;
        assert_true(n < 100);
        mp_fail_begin(n);
        rc = mp__predict_new("adaptive", 1000, &p);
        if (!mp_fail_end())
            break;
        assert_int_equal(rc, MP_ENOMEM);
        p = mp__predict_free(p);
    }
    assert_int_equal(rc, 0);
    p = mp__predict_free(p);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(predictions_are_within_a_point_and_their_intervals_hold_nine_times_of_ten),
    MP_TEST(keys_that_come_once_mislead_a_miniature_as_much_as_the_cache),
    MP_TEST(a_loop_too_large_is_not_taken_for_hits_by_the_correction),
    MP_TEST(a_loop_about_as_large_as_the_cache_is_not_promised_to_fit_nor_not_to),
    MP_TEST(a_loop_well_below_or_above_the_size_is_told_as_surely_as_ever),
    MP_TEST(what_a_policy_is_not_when_it_is_small_is_within_the_interval),
    MP_TEST(what_another_cache_hit_makes_a_prediction_surer),
    MP_TEST(a_newcomer_of_a_miniature_lives_as_long_as_in_the_cache),
    MP_TEST(a_small_cache_is_not_sampled_and_exact),
    MP_TEST(nothing_seen_says_anything_is_possible),
    MP_TEST(a_sample_of_a_few_keys_is_not_taken_for_certain),
    MP_TEST(what_cannot_be_predicted_is_refused),
    MP_TEST(without_memory_nothing_is_made_nor_lost),
};

MP_TEST_MAIN(tests)
