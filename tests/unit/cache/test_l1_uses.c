/* SPDX-License-Identifier: Apache-2.0 */
/* What readers use reaches the policy: in its order while there is room, and never at the cost of a
 * limit or of another thread. */
#include "mp_test.h"
#include "mp_dice.h"
#include "mp_fail.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cache/l1.h"
#include "cache/l1_uses.h"
#include "cache/replay.h"
#include "core/core.h"

static const mp__hash_key key = {3, 4};

static mp__l1 *l1_new(size_t entries, const char *policy)
{
    mp__l1 *l1 = NULL;

    assert_int_equal(
        mp__l1_new(mp__env_real(), entries, 8u << 20, 10, mp__policy_find(policy), &l1), 0);
    return l1;
}

static size_t name_of(char text[32], unsigned i)
{
    return (size_t)snprintf(text, 32, "e/n/%u", i);
}

static int put(mp__l1 *l1, unsigned i)
{
    char text[32];
    mp__record record = {.address = mp_str_new(text, name_of(text, i)),
                         .value = mp_str_of("1"),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1};

    return mp__l1_put(l1, mp__hash_str(key, record.address), &record, false, 1, 1, NULL);
}

static bool get(mp__l1 *l1, unsigned i)
{
    char text[32];
    mp_str address = mp_str_new(text, name_of(text, i));
    bool found;

    if (mp_read_begin() != 0)
        return false;
    found = mp__l1_find(l1, address, mp__hash_str(key, address)) != NULL;
    mp_read_end();
    return found;
}

/* Without counting a use. */
static bool holds(mp__l1 *l1, unsigned i)
{
    char text[32];
    mp_str address = mp_str_new(text, name_of(text, i));
    bool found;

    assert_int_equal(mp_read_begin(), 0);
    found = mp__l1_peek(l1, address, mp__hash_str(key, address)) != NULL;
    mp_read_end();
    return found;
}

static void hits_between_fills_are_seen_in_their_order(void **state)
{
    mp__l1 *l1 = l1_new(4, "lru");

    (void)state;
    (void)get(l1, 0); /* a miss: from the next fill on this thread has a ring */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(put(l1, i), 0);
    assert_true(get(l1, 1));
    assert_true(get(l1, 0));
    assert_int_equal(put(l1, 4), 0); /* 2 goes, 3 is next, then 1, then 0 */
    assert_false(holds(l1, 2));
    assert_int_equal(put(l1, 5), 0);
    assert_false(holds(l1, 3));
    assert_int_equal(put(l1, 6), 0); /* a second chance at eviction would keep 1, not 0 */
    assert_false(holds(l1, 1));
    assert_true(holds(l1, 0));
    l1 = mp__l1_free(l1);
}

static void hits_beyond_the_room_are_noted_in_the_entry(void **state)
{
    mp__l1 *l1 = l1_new(4, "lru");

    (void)state;
    (void)get(l1, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(put(l1, i), 0);
    for (unsigned i = 0; i < MP__L1_USES; i++)
        assert_true(get(l1, 3)); /* the ring is full of these */
    assert_true(get(l1, 0));
    for (unsigned i = 4; i < 6; i++) /* 0 was the first to go */
        assert_int_equal(put(l1, i), 0);
    assert_true(holds(l1, 0));
    assert_true(holds(l1, 3));
    assert_false(holds(l1, 1));
    l1 = mp__l1_free(l1);
}

/* A thread whose ring is full does not ask at each section whether it still is. */
static void who_had_no_room_sees_that_there_is_some_again(void **state)
{
    mp__l1 *l1 = l1_new(4, "lru");
    mp__cache_forecast forecast;

    (void)state;
    (void)get(l1, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(put(l1, i), 0);
    for (unsigned i = 0; i < MP__L1_USES; i++)
        assert_true(get(l1, 3));
    assert_true(get(l1, 0));                      /* without room */
    (void)mp__l1_predict(l1, NULL, 0, &forecast); /* what is in the ring is reported first */
    assert_true(get(l1, 1));
    assert_true(get(l1, 0));
    for (unsigned i = 4; i < 7; i++) /* 2, 3 and 1 go; by what entries note, 0 would before 1 */
        assert_int_equal(put(l1, i), 0);
    assert_false(holds(l1, 1));
    assert_true(holds(l1, 0));
    l1 = mp__l1_free(l1);
}

/* ---- a reader that fills its ring while it is emptied ---- */

static struct {
    mp__policy_ops ops;
    void (*hit)(mp__policy *policy, mp__policy_node *node);
    mp__l1 *l1;
    unsigned seen;
    bool reads; /* at the next hit that is reported */
} spy;

static void spy_hit(mp__policy *policy, mp__policy_node *node)
{
    spy.hit(policy, node);
    spy.seen++;
    if (!spy.reads)
        return;
    spy.reads = false;
    for (unsigned i = 0; i < MP__L1_USES + 8; i++) /* reads take no lock: as another thread would */
        assert_true(get(spy.l1, 1));
}

static void a_ring_filled_while_it_is_emptied_is_filled_again_later(void **state)
{
    mp__cache_forecast forecast;
    unsigned before;

    (void)state;
    spy.ops = *mp__policy_find("lru");
    spy.hit = spy.ops.hit;
    spy.ops.hit = spy_hit;
    assert_int_equal(mp__l1_new(mp__env_real(), 64, 8u << 20, 10, &spy.ops, &spy.l1), 0);
    (void)get(spy.l1, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(put(spy.l1, i), 0);
    for (unsigned i = 0; i < MP__L1_USES / 2; i++)
        assert_true(get(spy.l1, 1));
    spy.reads = true;
    (void)mp__l1_predict(spy.l1, NULL, 0, &forecast); /* reports what is in the ring */
    assert_false(spy.reads);
    (void)mp__l1_predict(spy.l1, NULL, 0, &forecast);
    before = spy.seen;
    for (unsigned i = 0; i < 100; i++)
        assert_true(get(spy.l1, 2));
    (void)mp__l1_predict(spy.l1, NULL, 0, &forecast);
    assert_int_equal(spy.seen - before, 100);
    spy.l1 = mp__l1_free(spy.l1);
}

/* A thread that asked for a ring does not ask again before it is told of one. */
static void a_ring_that_found_no_memory_is_made_later(void **state)
{
    mp__l1_stats before, without, with;
    mp__l1 *l1 = l1_new(64, "lru");
    mp__cache_forecast forecast;

    (void)state;
    assert_int_equal(put(l1, 0), 0);
    mp__l1_stats_read(l1, &before);
    assert_true(get(l1, 0));
    mp_fail_begin(1);
    (void)mp__l1_predict(l1, NULL, 0, &forecast);
    assert_true(mp_fail_end());
    assert_true(get(l1, 0));
    mp__l1_stats_read(l1, &without);
    (void)mp__l1_predict(l1, NULL, 0, &forecast);
    mp__l1_stats_read(l1, &with);
    assert_int_equal(without.bytes, before.bytes);
    assert_true(with.bytes >= before.bytes + MP__L1_USES * sizeof(uint64_t));
    l1 = mp__l1_free(l1);
}

static void what_was_used_and_then_removed_does_no_harm(void **state)
{
    mp__l1 *l1 = l1_new(64, "adaptive");
    char text[32];

    (void)state;
    (void)get(l1, 0);
    for (unsigned round = 0; round < 50; round++)
        for (unsigned i = 0; i < 100; i++) {
            mp_str address = mp_str_new(text, name_of(text, i));

            (void)get(l1, i);
            if (i % 3 == 0)
                mp__l1_remove(l1, address, mp__hash_str(key, address));
            assert_int_equal(put(l1, i), 0);
        }
    l1 = mp__l1_free(l1);
}

static void rings_are_within_the_bytes_and_shown(void **state)
{
    mp__l1 *l1 = l1_new(100, "lru");
    mp__l1_stats before, after;

    (void)state;
    mp__l1_stats_read(l1, &before);
    (void)get(l1, 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(put(l1, i), 0);
    mp__l1_stats_read(l1, &after);
    assert_true(after.bytes >= before.bytes + MP__L1_USES * sizeof(uint64_t));
    assert_true(after.bytes <= after.bytes_max);
    l1 = mp__l1_free(l1);
}

/* ---- as good as a replay ---- */

static uint64_t random_state;

static unsigned dice(unsigned below)
{
    return (unsigned)mp_dice(&random_state, below);
}

enum { REQUESTS = 60000, SIZE = 400 };

/* A hot set, with scans, then a loop, then pairs: no policy alone is good at all of it. */
static unsigned request(unsigned i)
{
    unsigned a = dice(1200), b = dice(1200), c = dice(1200);

    if (i < REQUESTS / 3)
        return i % 3000 < 600 ? 100000 + i : a < b ? (a < c ? a : c) : (b < c ? b : c);
    if (i < REQUESTS * 2 / 3)
        return 2000 + i % 500;
    return 10000 + (i % 2 ? i : i - 201);
}

static double hits_live(const char *policy)
{
    mp__l1 *l1 = l1_new(SIZE, policy);
    unsigned hits = 0;

    mp__l1_set_panel_share(l1, 1); /* as in a replay */
    random_state = 1;
    for (unsigned i = 0; i < REQUESTS; i++) {
        unsigned k = request(i);

        if (get(l1, k))
            hits++;
        else
            assert_int_equal(put(l1, k), 0);
    }
    l1 = mp__l1_free(l1);
    return (double)hits / REQUESTS;
}

static double hits_replayed(const char *policy)
{
    mp__trace trace = {0};
    mp__replay *replay = NULL;
    mp__diag diag;
    char text[32];
    double ratio;
    size_t used;

    random_state = 1;
    for (unsigned i = 0; i < REQUESTS; i++) {
        size_t size = name_of(text, request(i));

        text[size++] = '\n';
        assert_int_equal(mp__trace_add(&trace, mp_str_new(text, size), true, &used, &diag), 0);
    }
    assert_int_equal(mp__replay_new(&trace, policy, SIZE, &replay), 0);
    mp__replay_run(replay, 0, trace.requests);
    ratio = (double)replay->hits / REQUESTS;
    replay = mp__replay_free(replay);
    mp__trace_done(&trace);
    return ratio;
}

static void a_running_cache_hits_what_a_replay_says(void **state)
{
    static const char *const policies[] = {"lru", "lirs", "2q", "arc", "w-tinylfu", "adaptive"};

    (void)state;
    for (size_t p = 0; p < sizeof(policies) / sizeof(policies[0]); p++) {
        double live = hits_live(policies[p]), replayed = hits_replayed(policies[p]);

        print_message("# %s: %.4f, replayed %.4f\n", policies[p], live, replayed);
        assert_true(fabs(live - replayed) < 0.01);
    }
}

/* ---- threads ---- */

typedef struct crowd {
    mp__l1 *l1;
    _Atomic bool stop;
    _Atomic unsigned found;
} crowd;

static void *crowd_main(void *context)
{
    crowd *c = context;
    unsigned i = 0;

    while (!atomic_load(&c->stop))
        if (get(c->l1, i++ % 300))
            atomic_fetch_add(&c->found, 1);
    return NULL;
}

/* More threads than shards, so that some share a ring. */
static void many_readers_and_a_writer_do_not_disturb_one_another(void **state)
{
    enum { THREADS = 80 };
    crowd c = {.l1 = l1_new(200, "adaptive")};
    pthread_t threads[THREADS];
    mp__l1_stats stats;

    (void)state;
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, crowd_main, &c), 0);
    for (unsigned i = 0; i < 3000 || atomic_load(&c.found) < 1000; i++)
        assert_int_equal(put(c.l1, i % 400), 0);
    atomic_store(&c.stop, true);
    for (unsigned t = 0; t < THREADS; t++)
        assert_int_equal(pthread_join(threads[t], NULL), 0);
    mp__l1_stats_read(c.l1, &stats);
    assert_true(stats.entries <= 200);
    assert_true(stats.bytes <= stats.bytes_max);
    c.l1 = mp__l1_free(c.l1);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(hits_between_fills_are_seen_in_their_order),
    MP_TEST(hits_beyond_the_room_are_noted_in_the_entry),
    MP_TEST(who_had_no_room_sees_that_there_is_some_again),
    MP_TEST(a_ring_filled_while_it_is_emptied_is_filled_again_later),
    MP_TEST(a_ring_that_found_no_memory_is_made_later),
    MP_TEST(what_was_used_and_then_removed_does_no_harm),
    MP_TEST(rings_are_within_the_bytes_and_shown),
    MP_TEST(a_running_cache_hits_what_a_replay_says),
    MP_TEST(many_readers_and_a_writer_do_not_disturb_one_another),
};

MP_TEST_MAIN(tests)
