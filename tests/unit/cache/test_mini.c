/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "cache/mini.h"
#include "cache/panel.h"
#include "core/core.h"

static uint64_t hash_of(uint64_t key)
{
    key = (key + 1) * 0x9e3779b97f4a7c15ULL;
    key ^= key >> 31;
    return key * 0xbf58476d1ce4e5b9ULL;
}

static mp__mini *make(enum mp__mini_kind kind, size_t capacity)
{
    const mp__mini_shape shape = {"", kind, 100};
    mp__mini *mini = NULL;

    assert_int_equal(mp__mini_new(&shape, capacity, true, true, &mini), 0);
    return mini;
}

/* Hits of @rounds of a loop over @keys. */
static unsigned loop_hits(mp__mini *mini, unsigned keys, unsigned rounds)
{
    unsigned hits = 0;

    for (unsigned i = 0; i < keys * rounds; i++)
        hits += mp__mini_access(mini, hash_of(i % keys));
    return hits;
}

static void a_loop_larger_than_the_cache_defeats_lru_and_not_lirs(void **state)
{
    mp__mini *lru = make(MP__MINI_LRU, 100), *lirs = make(MP__MINI_LIRS, 100);

    (void)state;
    assert_int_equal(loop_hits(lru, 120, 50), 0);
    assert_true(loop_hits(lirs, 120, 50) > 49 * 95);
    lru = mp__mini_free(lru);
    lirs = mp__mini_free(lirs);
}

/* Also after what was hot has gone for good, and while most keys of the loop are not cached. */
static void
a_loop_of_nearly_twice_the_size_is_found_by_lirs_when_it_follows_another_phase(void **state)
{
    mp__mini *lirs = make(MP__MINI_LIRS, 100);

    (void)state;
    for (unsigned i = 0; i < 20000; i++) /* twice each, and never more */
        (void)mp__mini_access(lirs, hash_of(1000 + i / 2 - (i % 2 && i > 60 ? 30 : 0)));
    (void)loop_hits(lirs, 195, 10);
    assert_true(loop_hits(lirs, 195, 10) > 10 * 90);
    lirs = mp__mini_free(lirs);
}

static void what_fits_is_missed_once(void **state)
{
    (void)state;
    for (int kind = MP__MINI_LRU; kind <= MP__MINI_TINYLFU; kind++) {
        mp__mini *mini = make((enum mp__mini_kind)kind, 100);

        assert_int_equal(loop_hits(mini, 100, 10), 900);
        assert_int_equal(mp__mini_count(mini), 100);
        mini = mp__mini_free(mini);
    }
}

static void what_was_used_often_survives_a_scan_but_in_lru(void **state)
{
    (void)state;
    for (int kind = MP__MINI_S3FIFO; kind <= MP__MINI_TINYLFU; kind++) {
        mp__mini *mini = make((enum mp__mini_kind)kind, 100);
        unsigned kept = 0;

        (void)loop_hits(mini, 40, 10);
        for (unsigned i = 0; i < 100;
             i++) /* out of every queue for newcomers, into that of the used */
            (void)mp__mini_access(mini, hash_of(500 + i));
        (void)loop_hits(mini, 40, 4);
        for (unsigned i = 0; i < 1000; i++)
            (void)mp__mini_access(mini, hash_of(1000 + i));
        for (unsigned i = 0; i < 40; i++)
            kept += mp__mini_holds(mini, hash_of(i));
        assert_true(kept >= 38);
        mini = mp__mini_free(mini);
    }
}

/* Any order of calls: never more than the capacity, every owner comes out once. */
static void owners_come_out_exactly_once_whatever_is_called(void **state)
{
    static char owned[400];

    (void)state;
    for (int kind = MP__MINI_LRU; kind <= MP__MINI_TINYLFU; kind++) {
        mp__mini *mini = make((enum mp__mini_kind)kind, 50);
        uint64_t random = 11;
        size_t in = 0;
        void *owner;

        memset(owned, 0, sizeof(owned));
        for (int step = 0; step < 60000; step++) {
            size_t key;

            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            key = (random >> 33) % sizeof(owned);
            if (mp__mini_holds(mini, hash_of(key)) && random >> 60 == 0) {
                assert_ptr_equal(mp__mini_owner_at(mini, mp__mini_held(mini, hash_of(key))),
                                 &owned[key]);
                mp__mini_forget(mini, hash_of(key));
                owned[key] = 0;
                in--;
            } else if (!mp__mini_touch(mini, hash_of(key))) {
                if (in >= 50) {
                    assert_true(mp__mini_evict(mini, &owner));
                    assert_int_equal(*(char *)owner, 1);
                    *(char *)owner = 0;
                    in--;
                }
                (void)mp__mini_insert(mini, hash_of(key), &owned[key]);
                owned[key] = 1;
                in++;
            }
            assert_int_equal(mp__mini_count(mini), in);
        }
        for (; in > 0; in--) {
            assert_true(mp__mini_evict(mini, &owner));
            assert_int_equal(*(char *)owner, 1);
            *(char *)owner = 0;
        }
        assert_false(mp__mini_evict(mini, &owner));
        mini = mp__mini_free(mini);
    }
}

/* An order of 100 made out of keys of which every one that @is_hot names was used 8 times and the
 * others @else_uses times: how many hot ones @then new keys leave. */
static unsigned hot_left(bool (*is_hot)(unsigned key, unsigned hot), unsigned hot,
                         unsigned else_uses, unsigned newcomers, unsigned then)
{
    mp__mini *from = make(MP__MINI_S3FIFO, 100), *next = make(MP__MINI_S3FIFO, 100);
    uint64_t hashes[100];
    void *owners[100] = {NULL};
    unsigned kept = 0;

    for (unsigned i = 0; i < 100; i++) {
        hashes[i] = hash_of(i);
        for (unsigned uses = is_hot(i, hot) ? 8 : else_uses; uses > 0; uses--)
            (void)mp__mini_access(next, hashes[i]); /* to be counted */
    }
    mp__mini_sketch_move(from, next);
    next = mp__mini_free(next);
    next = make(MP__MINI_S3FIFO, 100);
    mp__mini_sketch_move(next, from);
    for (unsigned i = 0; i < newcomers; i++) /* the newcomers' queue has them */
        (void)mp__mini_access(from, hash_of(2000 + i));
    mp__mini_learn(next, from);
    mp__mini_seed(next, hashes, owners, 100);
    for (unsigned i = 0; i < then; i++)
        (void)mp__mini_access(next, hash_of(5000 + i));
    for (unsigned i = 0; i < 100; i++)
        kept += is_hot(i, hot) && mp__mini_holds(next, hashes[i]);
    from = mp__mini_free(from);
    next = mp__mini_free(next);
    return kept;
}

static bool is_every_fifth(unsigned key, unsigned hot)
{
    return hot > 0 && key % 5 == 0;
}

static bool is_of_the_first(unsigned key, unsigned hot)
{
    return key < hot;
}

static bool is_of_the_last(unsigned key, unsigned hot)
{
    return key >= 100 - hot;
}

/* A hot set among keys that were used twice in passing, in no order. */
static void as_many_are_proven_as_there_is_room_for_and_those_used_most(void **state)
{
    (void)state;
    assert_int_equal(hot_left(is_every_fifth, 20, 2, 60, 300), 20);
}

/* Of 100 entries 60 or 10 are for newcomers. */
static void one_more_hot_key_than_there_is_room_for_costs_no_other(void **state)
{
    (void)state;
    assert_int_equal(hot_left(is_of_the_first, 40, 1, 60, 100), 40);
    assert_true(hot_left(is_of_the_first, 41, 1, 60, 100) >= 40);
    assert_true(hot_left(is_of_the_last, 41, 1, 60, 100) >= 40);
    assert_int_equal(hot_left(is_of_the_first, 90, 1, 10, 100), 90);
    assert_true(hot_left(is_of_the_first, 93, 1, 10, 100) >= 90);
    assert_true(hot_left(is_of_the_last, 93, 1, 10, 100) >= 90);
}

static void a_copy_goes_on_as_the_original_does(void **state)
{
    (void)state;
    for (int kind = MP__MINI_LRU; kind <= MP__MINI_TINYLFU; kind++) {
        mp__mini *one = make((enum mp__mini_kind)kind, 64),
                 *two = make((enum mp__mini_kind)kind, 64);
        uint64_t random = 3;

        (void)loop_hits(one, 90, 10);
        mp__mini_copy(two, one);
        for (int i = 0; i < 20000; i++) {
            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            assert_int_equal(mp__mini_access(one, hash_of((random >> 33) % 150)),
                             mp__mini_access(two, hash_of((random >> 33) % 150)));
        }
        one = mp__mini_free(one);
        two = mp__mini_free(two);
    }
}

/* Whatever its policy, and whatever it held, remembered and counted. */
static void who_begins_anew_holds_what_an_lru_does_and_counts_nothing_of_before(void **state)
{
    mp__mini *lru = make(MP__MINI_LRU, 64);

    (void)state;
    for (unsigned key = 1000; key < 1064; key++)
        (void)mp__mini_access(lru, hash_of(key));
    for (int kind = MP__MINI_LRU; kind <= MP__MINI_TINYLFU; kind++) {
        mp__mini *mini = make((enum mp__mini_kind)kind, 64);

        (void)loop_hits(mini, 50, 10);
        (void)loop_hits(mini, 90, 10);
        mp__mini_begin_anew(mini, lru);
        assert_int_equal(mp__mini_count(mini), 64);
        for (unsigned key = 1000; key < 1064; key++)
            assert_true(mp__mini_holds(mini, hash_of(key)));
        for (unsigned i = 0; i < 400; i++) { /* a smaller set, which nobody would keep out now */
            (void)mp__mini_access(mini, hash_of(2000 + i % 40));
            assert_int_equal(mp__mini_count(mini), 64);
        }
        assert_true(loop_hits(mini, 50, 1) < 50); /* of the old set */
        mp__mini_begin_anew(mini, lru);
        for (unsigned i = 0; i < 400; i++)
            (void)mp__mini_access(mini, hash_of(2000 + i % 40));
        for (unsigned key = 2000; key < 2040; key++)
            assert_true(mp__mini_holds(mini, hash_of(key)));
        mini = mp__mini_free(mini);
    }
    lru = mp__mini_free(lru);
}

/* A hundredth of an entry is 2.6 bytes: its record, its order and its place take more than 256. */
static void a_panel_stays_within_256_kib_or_a_hundredth_of_what_the_entries_take(void **state)
{
    (void)state;
    for (size_t capacity = 1; capacity <= 100000000; capacity += 1 + capacity / 3) {
        mp__panel *panel = NULL;
        size_t most = 256UL * 1024, bytes;

        most = capacity * 26 / 10 > most ? capacity * 26 / 10 : most;
        assert_int_equal(mp__panel_new(capacity, &panel), 0);
        bytes = mp__panel_bytes(panel);
        if (bytes > most)
            print_message("# of %zu entries: %zu bytes\n", capacity, bytes);
        assert_true(bytes <= most && bytes <= 2UL * 1024 * 1024);
        panel = mp__panel_free(panel);
    }
}

static void a_mini_knows_about_how_much_of_another_it_lacks(void **state)
{
    mp__mini *one = make(MP__MINI_LRU, 512), *two = make(MP__MINI_LIRS, 512);

    (void)state;
    assert_int_equal(mp__mini_lacks(one, two), 0); /* nothing is held */
    for (uint64_t key = 0; key < 512; key++) {
        (void)mp__mini_access(one, hash_of(key));
        (void)mp__mini_access(two, hash_of(key));
    }
    assert_int_equal(mp__mini_lacks(one, two), 0);
    for (uint64_t key = 1000; key < 1256; key++)
        (void)mp__mini_access(one, hash_of(key)); /* two keeps what it has */
    for (uint64_t key = 1000; key < 1256; key++)
        assert_true(mp__mini_holds(one, hash_of(key)));
    assert_in_range(mp__mini_lacks(one, two), 180, 330);
    for (uint64_t key = 2000; key < 2512; key++)
        (void)mp__mini_access(one, hash_of(key));
    assert_in_range(mp__mini_lacks(one, two), 500, 512);
    one = mp__mini_free(one);
    two = mp__mini_free(two);
}

/* 2,000 keys in turn through 1,600 entries: nothing for LRU, four fifths for LIRS. */
static void a_panel_without_a_cache_hits_what_its_leaders_do(void **state)
{
    mp__panel *panel = NULL;
    unsigned sampled = 0, hits = 0;
    bool has;

    (void)state;
    assert_int_equal(mp__panel_new_within(1600, 128, &panel), 0);
    for (unsigned i = 0; i < 2000 * 50; i++)
        if (mp__panel_follow(panel, hash_of(i % 2000), false, 1, &has) && i >= 2000 * 20) {
            sampled++;
            hits += has;
        }
    assert_true(sampled > 3000 && sampled < 6500); /* 8 % of 60,000 */
    assert_true(hits > sampled * 6 / 10 && hits < sampled * 9 / 10);
    assert_int_not_equal(mp__panel_leader(panel), 0);
    panel = mp__panel_free(panel);
}

/* Of keys that are asked for twice and never more. 0: it never does. */
static size_t requests_until_recency_leads(mp__panel *panel, size_t capacity)
{
    bool has;

    for (size_t i = 0; i < 40 * capacity; i++) {
        uint64_t key = 1000000 + (i % 2 && i > capacity / 2 ? i / 2 - capacity / 4 : i / 2);

        (void)mp__panel_follow(panel, hash_of(key), false, 1, &has);
        if (mp__panel_shape(mp__panel_leader(panel))->kind != MP__MINI_TINYLFU &&
            mp__panel_shape(mp__panel_leader(panel))->kind != MP__MINI_LIRS)
            return i + 1;
    }
    return 0;
}

/* New keys, of which each sixteenth is asked for again a quarter of the entries later: LIRS, which
 * a panel begins with, hits the fewest of all. Others lead it for certain after twice the entries,
 * when a change would still cost more than it has been seen to give. */
static void the_first_change_comes_when_it_has_paid_and_not_for_a_lead_alone(void **state)
{
    const size_t n = 400;
    mp__panel *panel = NULL;
    size_t at = 0;
    bool has;

    (void)state;
    assert_int_equal(mp__panel_new(n, &panel), 0);
    assert_int_equal(mp__panel_shape(mp__panel_leader(panel))->kind, MP__MINI_LIRS);
    while (at < 10 * n && mp__panel_shape(mp__panel_leader(panel))->kind == MP__MINI_LIRS) {
        uint64_t key = at % 16 == 15 && at > n / 4 ? at - n / 4 : at;

        (void)mp__panel_follow(panel, hash_of(key), false, 1, &has);
        at++;
    }
    print_message("# left after %.2f times the entries\n", (double)at / (double)n);
    assert_true(at > 9 * n / 4 && at < 6 * n);
    panel = mp__panel_free(panel);
}

static void a_leader_that_gives_nothing_more_is_left_within_four_times_the_entries(void **state)
{
    static const size_t capacities[] = {400, 4000};

    (void)state;
    for (size_t c = 0; c < 2; c++) {
        mp__panel *panel = NULL;
        size_t n = capacities[c], until;
        bool has;

        assert_int_equal(mp__panel_new(n, &panel), 0);
        for (size_t i = 0; i < 60 * n; i++) /* a loop: frequency alone serves it */
            (void)mp__panel_follow(panel, hash_of(i % (n + n / 2)), false, 1, &has);
        until = requests_until_recency_leads(panel, n);
        print_message("# left after %.1f times the entries\n", (double)until / (double)n);
        assert_true(until > 0 && until < 4 * n);
        panel = mp__panel_free(panel);
    }
}

static void
it_tells_what_went_for_the_last_request_and_of_which_parts_it_holds_how_much(void **state)
{
    enum { PARTS = 4 };
    mp__mini *lru = make(MP__MINI_LRU, 3);
    float parts[PARTS] = {1};

    (void)state;
    for (unsigned hash = 1; hash <= 3; hash++)
        (void)mp__mini_access(lru, hash);
    assert_int_equal(mp__mini_gone(lru), 0); /* there was room */
    (void)mp__mini_access(lru, 8);
    assert_int_equal(mp__mini_gone(lru), 1);
    (void)mp__mini_access(lru, 8);
    assert_int_equal(mp__mini_gone(lru), 0); /* it was a hit */
    mp__mini_spread(lru, parts, PARTS);      /* adds 2, 3 and 8 */
    assert_true(parts[0] == 2 && parts[1] == 0 && parts[2] == 1 && parts[3] == 1);
    lru = mp__mini_free(lru);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(it_tells_what_went_for_the_last_request_and_of_which_parts_it_holds_how_much),
    MP_TEST(a_loop_larger_than_the_cache_defeats_lru_and_not_lirs),
    MP_TEST(a_loop_of_nearly_twice_the_size_is_found_by_lirs_when_it_follows_another_phase),
    MP_TEST(what_fits_is_missed_once),
    MP_TEST(what_was_used_often_survives_a_scan_but_in_lru),
    MP_TEST(owners_come_out_exactly_once_whatever_is_called),
    MP_TEST(as_many_are_proven_as_there_is_room_for_and_those_used_most),
    MP_TEST(one_more_hot_key_than_there_is_room_for_costs_no_other),
    MP_TEST(a_copy_goes_on_as_the_original_does),
    MP_TEST(who_begins_anew_holds_what_an_lru_does_and_counts_nothing_of_before),
    MP_TEST(a_panel_stays_within_256_kib_or_a_hundredth_of_what_the_entries_take),
    MP_TEST(a_mini_knows_about_how_much_of_another_it_lacks),
    MP_TEST(the_first_change_comes_when_it_has_paid_and_not_for_a_lead_alone),
    MP_TEST(a_panel_without_a_cache_hits_what_its_leaders_do),
    MP_TEST(a_leader_that_gives_nothing_more_is_left_within_four_times_the_entries),
};

MP_TEST_MAIN(tests)
