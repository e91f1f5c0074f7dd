/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager promises of reads, writes and changes, one by one, in a simulated machine. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/address.h"
#include "core/alloc.h"
#include "manager/internal.h"
#include "mp_reads.h"

/* ---- single flight ---- */

enum { CROWD = 10000 };
static mp__read *crowd;
static int answered, found, unknown;

static void crowd_done(mp__read *read)
{
    answered++;
    found += read->status == 0;
    unknown += read->status != 0 && read->status != MP_EABSENT;
    (void)mp__entry_unref(read->entry);
}

static bool all_answered(void *context)
{
    return answered == *(int *)context;
}

static void crowd_begins(int from, int to, const char *address)
{
    for (int i = from; i < to; i++) {
        prepare(&crowd[i], address, MP__LEVEL_EVENTUAL);
        crowd[i].done = crowd_done;
        assert_false(mp__read_start(manager, &crowd[i]));
    }
}

static void ten_thousand_misses_are_one_question(void **state)
{
    int all = CROWD;
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    forget_all();
    crowd = test_calloc(CROWD, sizeof(*crowd));
    answered = found = 0;
    before = world_fetches();
    crowd_begins(0, CROWD, "production/default/a");
    assert_true(mp_sim_run_until(sim, all_answered, &all, 5000));
    assert_int_equal(found, CROWD);
    assert_int_equal(world_fetches() - before, 1);
    test_free(crowd);
}

static void also_those_who_learn_that_there_is_none(void **state)
{
    int all = CROWD;
    uint64_t before;

    (void)state;
    crowd = test_calloc(CROWD, sizeof(*crowd));
    answered = found = unknown = 0;
    before = world_fetches();
    crowd_begins(0, CROWD, "production/default/none");
    assert_true(mp_sim_run_until(sim, all_answered, &all, 5000));
    assert_int_equal(found + unknown, 0);
    assert_int_equal(world_fetches() - before, 1);
    test_free(crowd);
}

/* The one who asked first gives up at his own deadline; the question goes on for the others. */
static void who_gives_up_takes_nobody_with_him(void **state)
{
    int first = 1, all = CROWD;
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    forget_all();
    crowd = test_calloc((size_t)all, sizeof(*crowd));
    answered = found = unknown = 0;
    before = world_fetches();
    mp_sim_slow(sim, "mp-origin-r", 3000, 3000);
    crowd_begins(0, 1, "production/default/a");
    mp_sim_run(sim, 1500);
    crowd_begins(1, all, "production/default/a");
    assert_true(mp_sim_run_until(sim, all_answered, &first, 1000));
    assert_int_equal(unknown, 1);
    assert_true(mp_sim_run_until(sim, all_answered, &all, 5000));
    assert_int_equal(found, all - 1);
    assert_int_equal(unknown, 1);
    assert_int_equal(world_fetches() - before, 1);
    test_free(crowd);
}

static void a_hanging_origin_is_asked_once_and_everybody_is_answered_in_time(void **state)
{
    int all = CROWD;
    uint64_t before, began;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    forget_all();
    crowd = test_calloc(CROWD, sizeof(*crowd));
    answered = found = unknown = 0;
    before = world_fetches();
    began = mp__env_now_ns(mp_sim_env(sim));
    mp_sim_slow(sim, "mp-origin-r", 60000, 60000);
    crowd_begins(0, CROWD, "production/default/a");
    assert_true(mp_sim_run_until(sim, all_answered, &all, 30000));
    assert_int_equal(unknown, CROWD);
    assert_in_range((mp__env_now_ns(mp_sim_env(sim)) - began) / 1000000, 2000, 2300);
    mp_sim_slow(sim, "", 0, 0);
    mp_sim_run(sim, 3600000);
    assert_int_equal(world_fetches() - before, 1);
    test_free(crowd);
}

static void a_failing_origin_is_asked_once_by_a_crowd(void **state)
{
    int all = CROWD;
    uint64_t before;

    (void)state;
    forget_all();
    before = world_fetches();
    world_origin_goes();
    crowd = test_calloc(CROWD, sizeof(*crowd));
    answered = found = unknown = 0;
    for (int i = 0; i < CROWD; i++) {
        prepare(&crowd[i], "production/default/a", MP__LEVEL_EVENTUAL);
        crowd[i].done = crowd_done;
        if (mp__read_start(manager, &crowd[i]))
            crowd_done(&crowd[i]);
    }
    assert_true(mp_sim_run_until(sim, all_answered, &all, 5000));
    assert_int_equal(unknown, CROWD);
    assert_in_range(world_fetches() - before, 0, 1);
    test_free(crowd);
}

static void ask_one_after_the_other(int count, const char *address, enum mp__level level)
{
    answered = found = unknown = 0;
    for (int i = 1; i <= count; i++) {
        prepare(&crowd[0], address, level);
        crowd[0].done = crowd_done;
        if (mp__read_start(manager, &crowd[0]))
            crowd_done(&crowd[0]);
        assert_true(mp_sim_run_until(sim, all_answered, &i, 5000));
    }
}

/* Of a crowd not all have come by the time an origin that fails at once has said so. */
static void who_comes_just_after_an_origin_failed_is_not_another_question(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    forget_all();
    crowd = test_calloc(1, sizeof(*crowd));
    mp_platter_fail(mp_sim_disk(sim), MP_PLATTER_READ, 1, SIZE_MAX, EIO);
    before = world_fetches();
    ask_one_after_the_other(1000, "production/default/a", MP__LEVEL_EVENTUAL);
    assert_int_equal(unknown, 1000);
    assert_int_equal(world_fetches() - before, 1);
    mp_sim_run(sim, 500); /* the moment is over */
    before = world_fetches();
    ask_one_after_the_other(1000, "production/default/a", MP__LEVEL_EVENTUAL);
    assert_int_equal(unknown, 1000);
    assert_int_equal(world_fetches() - before, 1);
    before = world_fetches(); /* who wants to know it for certain asks */
    ask_one_after_the_other(2, "production/default/a", MP__LEVEL_STRONG);
    assert_int_equal(world_fetches() - before, 2);
    mp_platter_fail(mp_sim_disk(sim), 0, 0, 0, 0);
    test_free(crowd);
}

static void a_failure_is_over_as_soon_as_the_origin_is_back(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    option("origin.probe_interval", "50ms");
    forget_all();
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/data/origin.db", "/away"), 0);
    mp_sim_run(sim, 200);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EUNKNOWN);
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/away", "/data/origin.db"), 0);
    mp_sim_run(sim, 200);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
}

/* ---- absent and unknown ---- */

static void absent_is_remembered_until_it_is_written(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EABSENT);
    before = world_fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EABSENT);
    assert_int_equal(world_fetches(), before);
    assert_int_equal(put("production/default/a", "1"), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
}

static void
without_an_origin_what_was_never_seen_is_unknown_and_what_was_deleted_absent(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    assert_int_equal(change(MP__CHANGE_DELETE, "production/default/a", "", 0), 0);
    world_origin_goes();
    assert_int_equal(get("production/default/never-asked", MP__LEVEL_EVENTUAL), MP_EUNKNOWN);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EABSENT);
    assert_true(last.stale);
}

/* ---- levels ---- */

static void without_an_origin_each_level_keeps_its_promise(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_sim_run(sim, 5000);
    world_origin_goes();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
    assert_true(last.stale);
    assert_int_equal(last.reason, MP__REASON_ORIGIN_LOST);
    assert_in_range(last.age_ms, 1, 8100);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), MP_EORIGINLOST);
    prepare(&last, "production/default/a", MP__LEVEL_STRONG);
    last.stale_if_error = true;
    assert_int_equal(run(&last), 0);
    assert_true(last.stale);
    prepare(&last, "production/default/a", MP__LEVEL_EVENTUAL);
    last.strict = true;
    assert_int_equal(run(&last), MP_ESTALE);
}

static void the_age_goes_on_over_a_restart_without_an_origin(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_sim_run(sim, 5000);
    world_origin_goes();
    world_close();
    mp_sim_run(sim, 60000);
    world_open("/data");
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
    assert_true(last.stale);
    assert_in_range(last.age_ms, 60000, 70000);
    world_origin_comes_back();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_false(last.stale);
}

static void a_live_origin_holds_entries_fresh_and_a_hit_asks_nobody(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_sim_run(sim, 1800000);
    before = world_fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_FRESH);
    assert_int_equal(last.tier, MP__TIER_L1);
    assert_int_equal(world_fetches(), before);
}

static void past_its_ttl_a_value_is_served_and_verified_behind(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_sim_run(sim, 4020000); /* a minute behind cache.default_ttl and its jitter */
    before = world_fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_VERIFIED); /* last vouched for before the hard bound */
    assert_int_equal(world_fetches() - before, 1);
    assert_int_equal(mp__options_set(options, "cache.default_ttl", "10s", NULL), 0);
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    assert_int_equal(put("production/default/a", "2"), 0);
    mp_sim_run(sim, 60000);
    before = world_fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_REFRESHING);
    assert_false(last.stale);
    mp_sim_run(sim, 1000);
    assert_int_equal(world_fetches() - before, 1);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_FRESH);
}

static void after_a_change_that_was_not_told_each_is_verified_when_it_is_next_read(void **state)
{
    static const char address[] = "production/default/a", absent[] = "production/default/none";
    uint64_t before;

    (void)state;
    assert_int_equal(put(address, "1"), 0);
    assert_int_equal(get(absent, MP__LEVEL_EVENTUAL), MP_EABSENT);
    mp_sim_run(sim, 100);
    mp__change_unseen(manager, "a test");
    before = world_fetches();
    assert_int_equal(get(address, MP__LEVEL_EVENTUAL), 0); /* far within the bound */
    assert_int_equal(last.reason, MP__REASON_REFRESHING);
    assert_int_equal(get(absent, MP__LEVEL_EVENTUAL), MP_EABSENT);
    assert_int_equal(last.reason, MP__REASON_REFRESHING);
    mp_sim_run(sim, 100);
    assert_int_equal(world_fetches() - before, 2);
    assert_int_equal(get(address, MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_FRESH);
    assert_int_equal(get(absent, MP__LEVEL_EVENTUAL), MP_EABSENT);
    assert_int_equal(last.reason, MP__REASON_FRESH);
    assert_int_equal(world_fetches() - before, 2); /* once */
}

/* Another daemon on the database may write all day. */
static void what_happens_again_and_again_is_noted_once_a_minute(void **state)
{
    mp__buf events = MP__BUF_INIT;
    size_t count = 0;

    (void)state;
    for (int i = 0; i < 90; i++) {
        mp__change_unseen(manager, "another one wrote");
        mp_sim_run(sim, 1000);
    }
    mp__change_unseen(manager, "it was opened again");
    mp__events_json(manager, 3600000, &events);
    assert_int_equal(mp__buf_add_char(&events, '\0'), 0);
    for (const char *p = events.data; (p = strstr(p, "another one wrote")); p++)
        count++;
    assert_int_equal(count, 2);
    assert_non_null(strstr(events.data, "it was opened again"));
    mp__buf_done(&events);
}

static void a_reload_changes_the_limits_of_every_tier(void **state)
{
    static const char *const limits[][2] = {{"cache.l1_size", "700"},
                                            {"cache.l1_bytes", "9MiB"},
                                            {"cache.l2_size", "900"},
                                            {"cache.l2_bytes", "6MiB"},
                                            {"cache.l3_size_mb", "77"}};
    mp_cache_stats stats;

    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        assert_int_equal(mp__options_set(options, limits[i][0], limits[i][1], NULL), 0);
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    mp_cache_stats_read(manager->cache, &stats);
    assert_int_equal(stats.l1_entries_max, 700);
    assert_int_equal(stats.l1_bytes_max, 9 << 20);
    assert_int_equal(stats.l2_entries_max, 900);
    assert_int_equal(stats.l2_bytes_max, 6 << 20);
    assert_int_equal(stats.l3_bytes_max, 77 << 20);
}

static void a_reload_that_a_start_would_refuse_changes_nothing(void **state)
{
    static const char *const bad[][2] = {{"cache.l1_size", "1000000000"},
                                         {"cache.pin", "everything"},
                                         {"cache.priorities", "a=b"},
                                         {"cache.l2_size", "100000000"}};
    mp_cache_stats before, after;

    (void)state;
    mp_cache_stats_read(manager->cache, &before);
    assert_int_equal(mp__options_set(options, "cache.default_ttl", "17s", NULL), 0);
    assert_int_equal(mp__options_set(options, "cache.l1_bytes", "3MiB", NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *was = i == 0 ? "500" : i == 3 ? "5000" : "";
        mp__diag diag = {0};

        assert_int_equal(mp__options_set(options, bad[i][0], bad[i][1], NULL), 0);
        assert_int_equal(mp__manager_reload(manager, options, &diag), MP_EINVAL);
        assert_non_null(strstr(diag.text, i == 0   ? "cache.l1_bytes"
                                          : i == 3 ? "cache.l2_bytes"
                                                   : ""));
        mp_cache_stats_read(manager->cache, &after);
        assert_int_equal(after.l1_bytes_max, before.l1_bytes_max);
        assert_int_equal(after.l1_entries_max, before.l1_entries_max);
        assert_int_not_equal(atomic_load(&manager->ttl_s), 17);
        assert_int_equal(mp__options_set(options, bad[i][0], was, NULL), 0);
    }
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    assert_int_equal(atomic_load(&manager->ttl_s), 17);
}

static void a_ttl_that_is_shorter_than_the_bound_holds_too(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(mp__options_set(options, "cache.default_ttl", "2s", NULL), 0);
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_sim_run(sim, 1000);
    before = world_fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_FRESH);
    mp_sim_run(sim, 3000);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_REFRESHING);
    mp_sim_run(sim, 100);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_FRESH);
    assert_int_equal(world_fetches() - before, 1);
}

static void a_hard_bound_that_is_shorter_than_the_other_holds_too(void **state)
{
    (void)state;
    assert_int_equal(mp__options_set(options, "cache.eventual_bound", "1h", NULL), 0);
    assert_int_equal(mp__options_set(options, "cache.hard_bound", "1s", NULL), 0);
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    assert_int_equal(put("production/default/a", "1"), 0);
    mp__change_unseen(manager, "a test"); /* no watch holds it any more */
    mp_sim_run(sim, 3000);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_VERIFIED);
}

static void a_strong_read_and_an_age_of_nothing_ask_the_origin(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    before = world_fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), 0);
    assert_int_equal(last.reason, MP__REASON_VERIFIED);
    assert_int_equal(world_fetches() - before, 1);
}

static void a_reader_who_has_seen_more_is_not_given_less(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    world_origin_goes();
    prepare(&last, "production/default/a", MP__LEVEL_EVENTUAL);
    last.revision_min = last_revision;
    assert_int_equal(run(&last), 0);
    prepare(&last, "production/default/a", MP__LEVEL_EVENTUAL);
    last.revision_min = last_revision + 1;
    assert_int_not_equal(run(&last), 0);
}

/* ---- ages ---- */

static void a_clock_that_is_set_back_makes_nothing_younger(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    world_origin_goes();
    mp_sim_run(sim, 60000);
    mp_sim_jump(sim, -3600000);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_in_range(last.age_ms, 60000, 64000);
    mp_sim_run(sim, 60000);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_in_range(last.age_ms, 120000, 125000);
}

/* The origin may have looked as soon as it was asked. */
static void an_answer_that_took_long_is_as_old_as_the_question(void **state)
{
    mp__read early;
    bool early_is_done = false;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    forget_all();
    mp_sim_slow(sim, "mp-origin-r", 1800, 1800);
    prepare(&early, "production/default/a", MP__LEVEL_EVENTUAL);
    early.context = &early_is_done;
    assert_false(mp__read_start(manager, &early));
    mp_sim_run(sim, 1000);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_in_range(last.age_ms, 1700, 1900);
    mp_sim_run(sim, 1000);
    assert_true(early_is_done && early.status == 0);
    (void)mp__entry_unref(early.entry);
}

/* Who wants it no older than now does not join a question from before. */
static void a_reader_with_an_age_of_his_own_asks_anew(void **state)
{
    mp__read early;
    bool early_is_done = false;
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    forget_all();
    before = world_fetches();
    mp_sim_slow(sim, "mp-origin-r", 800, 800);
    prepare(&early, "production/default/a", MP__LEVEL_EVENTUAL);
    early.context = &early_is_done;
    assert_false(mp__read_start(manager, &early));
    mp_sim_run(sim, 500);
    prepare(&last, "production/default/a", MP__LEVEL_EVENTUAL);
    last.age_max_ms = 100;
    assert_int_equal(run(&last), 0);
    mp_sim_run(sim, 2000);
    assert_int_equal(world_fetches() - before, 2);
    (void)mp__entry_unref(early.entry);
}

/* ---- expiry and writes ---- */

static void a_value_past_its_expiry_is_not_there(void **state)
{
    int64_t at = mp__env_wall_ms(mp_sim_env(sim)) + 1000;

    (void)state;
    assert_int_equal(change(MP__CHANGE_PUT, "production/default/a", "1", at), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    mp_sim_run(sim, 1100);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EABSENT);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), MP_EABSENT);
}

static void past_its_expiry_without_an_origin_a_value_is_unknown_and_not_absent(void **state)
{
    int64_t at = mp__env_wall_ms(mp_sim_env(sim)) + 60000;

    (void)state;
    assert_int_equal(change(MP__CHANGE_PUT, "production/default/a", "1", at), 0);
    world_origin_goes();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    mp_sim_run(sim, 61000);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EUNKNOWN);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), MP_EUNKNOWN);
}

static void writes_are_refused_without_an_origin_and_nothing_changes(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    world_origin_goes();
    assert_int_not_equal(put("production/default/a", "2"), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
    world_origin_comes_back();
    assert_int_equal(put("production/default/a", "3"), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), 0);
    assert_string_equal(got, "3");
}

static void a_full_disk_refuses_writes_only_while_it_is_full(void **state)
{
    static char large[512 * 1024]; /* more than the room that the journal keeps */

    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_platter_set_capacity(mp_sim_disk(sim), mp_platter_used(mp_sim_disk(sim)));
    assert_int_equal(put("production/default/a", large), -ENOSPC);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
    mp_platter_set_capacity(mp_sim_disk(sim), UINT64_MAX);
    mp_sim_run(sim, 5000);
    assert_int_equal(put("production/default/a", "3"), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), 0);
    assert_string_equal(got, "3");
}
/* ---- watchers ---- */

static char heard[256];

static void hear(void *context, const mp__event *events, size_t count)
{
    static const char *const names[] = {"put", "delete", "expired", "reset", "stale", "fresh"};

    (void)context;
    assert_in_range(count, 1, MP__EVENTS_TOGETHER);
    for (size_t i = 0; i < count; i++) {
        const mp__event *event = &events[i];
        size_t n = strlen(heard);

        snprintf(heard + n, sizeof(heard) - n, "%s %.*s %" PRIu64 ";", names[event->kind],
                 (int)mp__address_name(event->address).size, mp__address_name(event->address).data,
                 event->revision);
    }
}

static void watchers_hear_of_every_change_in_its_order(void **state)
{
    mp__watcher *watcher = NULL;
    mp__watch_start begin;
    int64_t at = mp__env_wall_ms(mp_sim_env(sim)) + 500;

    (void)state;
    heard[0] = '\0';
    assert_int_equal(mp__watch_add(manager, loop, hear, NULL, &begin, &watcher), 0);
    assert_int_equal(put("production/default/a", "1"), 0);
    assert_int_equal(change(MP__CHANGE_PUT, "production/default/b", "2", at), 0);
    assert_int_equal(change(MP__CHANGE_DELETE, "production/default/a", "", 0), 0);
    mp_sim_run(sim, 5000);
    assert_string_equal(heard, "put a 1;put b 2;delete a 3;expired b 4;");
    assert_null(mp__watch_remove(watcher));
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_sim_run(sim, 1000);
    assert_string_equal(heard, "put a 1;put b 2;delete a 3;expired b 4;");
}

static void watchers_hear_that_the_origin_went_and_came_back(void **state)
{
    mp__watcher *watcher = NULL;
    mp__watch_start begin;

    (void)state;
    heard[0] = '\0';
    assert_int_equal(put("production/default/a", "1"), 0);
    assert_int_equal(mp__watch_add(manager, loop, hear, NULL, &begin, &watcher), 0);
    assert_int_equal(begin.revision, 1);
    assert_false(begin.stale);
    world_origin_goes();
    assert_string_equal(heard, "stale  0;");
    assert_null(mp__watch_remove(watcher));
    assert_int_equal(mp__watch_add(manager, loop, hear, NULL, &begin, &watcher), 0);
    assert_true(begin.stale);
    world_origin_comes_back();
    assert_string_equal(heard, "stale  0;fresh  0;reset  1;");
    assert_int_equal(put("production/default/a", "2"), 0);
    mp_sim_run(sim, 1000);
    assert_string_equal(heard, "stale  0;fresh  0;reset  1;put a 2;");
    assert_null(mp__watch_remove(watcher));
}

/* ---- opening ---- */

static void pins_of_a_newer_version_are_refused(void **state)
{
    static const char lines[] = "production/a/*\n";
    mp_env *env = mp_sim_env(sim);
    mp__diag diag = {0};
    char text[128];

    (void)state;
    world_close();
    for (int version = 1; version <= 2; version++) {
        snprintf(text, sizeof(text), "marketprism-pins %d %016" PRIx64 "\n%s", version,
                 mp__checksum((uint64_t)version, lines, strlen(lines)), lines);
        assert_int_equal(mp__env_write_file_atomic(env, "/data/pins", text, strlen(text)), 0);
        assert_int_equal(world_try_open("/data", false, NULL, &diag),
                         version == 1 ? 0 : MP_EVERSION);
        world_close();
    }
    assert_non_null(strstr(diag.text, "/data/pins was written by a newer version"));
}

static void a_data_directory_serves_one_daemon(void **state)
{
    mp__manager *first = manager;
    mp__diag diag = {0};

    (void)state;
    manager = NULL;
    assert_int_equal(world_try_open("/data", false, NULL, &diag), MP_ELOCKED);
    assert_non_null(strstr(diag.text, "/data"));
    manager = first;
}

static void a_lost_origin_is_never_begun_anew_unless_it_is_said(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    world_origin_goes();
    world_close();
    world_open("/data");
    mp_sim_run(sim, 5000);
    assert_int_not_equal(put("production/default/b", "1"), 0);
    world_close();
    assert_int_equal(world_try_open("/data", true, NULL, NULL), 0);
    assert_int_equal(put("production/default/b", "1"), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), MP_EABSENT);
}

/* A backup was put back: what L3 kept of later revisions goes back into the origin. */
static void an_origin_that_lost_its_newest_commits_gets_them_back(void **state)
{
    const unsigned char *bytes;
    void *copy;
    size_t size;

    (void)state;
    assert_int_equal(put("production/default/a", "old"), 0);
    world_close(); /* the WAL is in the file then */
    bytes = mp_platter_bytes(mp_sim_disk(sim), "/data/origin.db", &size);
    copy = test_malloc(size);
    memcpy(copy, bytes, size);
    world_open("/data");
    assert_int_equal(put("production/default/a", "new"), 0);
    assert_int_equal(put("production/default/b", "newer"), 0);
    mp_sim_run(sim, 5000);
    world_close();
    mp_platter_put(mp_sim_disk(sim), "/data/origin.db", copy, size);
    test_free(copy);
    world_open("/data");
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), 0);
    assert_string_equal(got, "new");
    assert_int_equal(get("production/default/b", MP__LEVEL_STRONG), 0);
    assert_string_equal(got, "newer");
}

static void explain_says_why(void **state)
{
    mp__buf json = MP__BUF_INIT;
    mp_str address = MP_STR("production/default/a");
    uint64_t hash = mp__cache_hash(mp__manager_hasher(manager), address);

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    world_origin_goes();
    assert_int_equal(mp__manager_explain(manager, address, hash, &json), 0);
    assert_int_equal(mp__buf_add_char(&json, '\0'), 0);
    assert_non_null(strstr(json.data, "origin-lost"));
    assert_non_null(strstr(json.data, "\"L1\""));
    assert_non_null(strstr(json.data, "\"L3\""));
    mp__buf_done(&json);
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(ten_thousand_misses_are_one_question),
    WORLD_TEST(also_those_who_learn_that_there_is_none),
    WORLD_TEST(who_gives_up_takes_nobody_with_him),
    WORLD_TEST(a_hanging_origin_is_asked_once_and_everybody_is_answered_in_time),
    WORLD_TEST(a_failing_origin_is_asked_once_by_a_crowd),
    WORLD_TEST(who_comes_just_after_an_origin_failed_is_not_another_question),
    WORLD_TEST(a_failure_is_over_as_soon_as_the_origin_is_back),
    WORLD_TEST(absent_is_remembered_until_it_is_written),
    WORLD_TEST(without_an_origin_what_was_never_seen_is_unknown_and_what_was_deleted_absent),
    WORLD_TEST(without_an_origin_each_level_keeps_its_promise),
    WORLD_TEST(the_age_goes_on_over_a_restart_without_an_origin),
    WORLD_TEST(a_live_origin_holds_entries_fresh_and_a_hit_asks_nobody),
    WORLD_TEST(past_its_ttl_a_value_is_served_and_verified_behind),
    WORLD_TEST(after_a_change_that_was_not_told_each_is_verified_when_it_is_next_read),
    WORLD_TEST(what_happens_again_and_again_is_noted_once_a_minute),
    WORLD_TEST(a_reload_changes_the_limits_of_every_tier),
    WORLD_TEST(a_reload_that_a_start_would_refuse_changes_nothing),
    WORLD_TEST(a_ttl_that_is_shorter_than_the_bound_holds_too),
    WORLD_TEST(a_hard_bound_that_is_shorter_than_the_other_holds_too),
    WORLD_TEST(a_strong_read_and_an_age_of_nothing_ask_the_origin),
    WORLD_TEST(a_reader_who_has_seen_more_is_not_given_less),
    WORLD_TEST(a_clock_that_is_set_back_makes_nothing_younger),
    WORLD_TEST(an_answer_that_took_long_is_as_old_as_the_question),
    WORLD_TEST(a_reader_with_an_age_of_his_own_asks_anew),
    WORLD_TEST(a_value_past_its_expiry_is_not_there),
    WORLD_TEST(past_its_expiry_without_an_origin_a_value_is_unknown_and_not_absent),
    WORLD_TEST(writes_are_refused_without_an_origin_and_nothing_changes),
    WORLD_TEST(a_full_disk_refuses_writes_only_while_it_is_full),
    WORLD_TEST(watchers_hear_of_every_change_in_its_order),
    WORLD_TEST(watchers_hear_that_the_origin_went_and_came_back),
    WORLD_TEST(pins_of_a_newer_version_are_refused),
    WORLD_TEST(a_data_directory_serves_one_daemon),
    WORLD_TEST(a_lost_origin_is_never_begun_anew_unless_it_is_said),
    WORLD_TEST(an_origin_that_lost_its_newest_commits_gets_them_back),
    WORLD_TEST(explain_says_why),
};
MP_TEST_MAIN(tests)
