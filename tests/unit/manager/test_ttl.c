/* SPDX-License-Identifier: Apache-2.0 */
/* cache.ttl: when a value must be verified again, by the pattern of its key. */
#include "manager/internal.h"
#include "mp_reads.h"

static void reload(const char *path, const char *value)
{
    option(path, value);
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
}

static uint32_t ttl_of(int kind, const char *address)
{
    return mp__ttl_s(manager, kind, mp_str_of(address));
}

static void assert_read(const char *address, enum mp__reason reason)
{
    assert_int_equal(get(address, MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, reason);
    assert_false(last.stale);
}

static void a_value_is_verified_when_its_own_rule_says(void **state)
{
    uint64_t before;

    (void)state;
    reload("cache.ttl", "app/flags/*=10s");
    assert_int_equal(put("production/app/flags/a", "1"), 0);
    assert_int_equal(put("production/app/other", "1"), 0);
    mp_sim_run(sim, 5000);
    assert_read("production/app/flags/a", MP__REASON_FRESH);
    mp_sim_run(sim, 60000);
    before = world_fetches();
    assert_read("production/app/flags/a", MP__REASON_REFRESHING);
    assert_read("production/app/other", MP__REASON_FRESH);
    mp_sim_run(sim, 1000);
    assert_int_equal(world_fetches() - before, 1);
    assert_read("production/app/flags/a", MP__REASON_FRESH);
}

static void a_longer_one_wins_over_the_default(void **state)
{
    (void)state;
    option("cache.ttl", "app/*=1d");
    reload("cache.default_ttl", "10s");
    assert_int_equal(put("production/app/a", "1"), 0);
    assert_int_equal(put("production/other/a", "1"), 0);
    mp_sim_run(sim, 60000);
    assert_read("production/app/a", MP__REASON_FRESH);
    assert_read("production/other/a", MP__REASON_REFRESHING);
}

static void it_throws_nothing_away(void **state)
{
    (void)state;
    reload("cache.ttl", "*=1s");
    assert_int_equal(put("production/app/a", "1"), 0);
    world_origin_goes();
    mp_sim_run(sim, 7200000);
    assert_int_equal(get("production/app/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
    assert_true(last.stale);
}

static void the_knowledge_that_there_is_none_has_the_shorter_time(void **state)
{
    (void)state;
    option("cache.negative_ttl", "60s");
    reload("cache.ttl", "app/short/*=5s, app/long/*=2h");
    assert_int_equal(ttl_of(MP__RECORD_ABSENT, "e/app/short/k"), 5);
    assert_int_equal(ttl_of(MP__RECORD_ABSENT, "e/app/long/k"), 60);
    assert_int_equal(ttl_of(MP__RECORD_ABSENT, "e/app/k"), 60);
    assert_int_equal(ttl_of(MP__RECORD_VALUE, "e/app/long/k"), 7200);
    assert_int_equal(ttl_of(MP__RECORD_VALUE, "e/app/k"), 3600);
}

static void what_no_watch_of_this_node_holds_has_it_as_its_bound(void **state)
{
    static const mp__record record = {.address = {"production/app/a", 16},
                                      .value = {"1", 1},
                                      .kind = MP__RECORD_VALUE,
                                      .revision = 1};
    const mp__entry *entry = NULL;
    mp__record kept = record;

    (void)state;
    reload("cache.ttl", "app/*=2s");
    kept.fetched_ms = kept.verified_ms = mp__manager_wall_ms(manager);
    assert_int_equal(mp__cache_put_record(manager->cache, &kept, 0, MP__GENERATION_SHARED,
                                          mp__manager_now_s(manager), &entry),
                     0);
    (void)mp__entry_unref(entry);
    mp_sim_run(sim, 1000);
    assert_read("production/app/a", MP__REASON_WITHIN_BOUND);
    mp_sim_run(sim, 2000); /* within cache.eventual_bound */
    assert_read("production/app/a", MP__REASON_REFRESHING);
}

static void a_short_one_takes_refresh_ahead_from_nobody(void **state)
{
    (void)state;
    assert_int_equal(atomic_load(&manager->ahead_window_s), 1);
    reload("cache.ttl", "app/*=1s");
    assert_int_equal(atomic_load(&manager->ahead_window_s), 1);
    atomic_store(&manager->fetch_ns_mean, 5000000000u);
    mp__ahead_window(manager);
    assert_int_equal(atomic_load(&manager->ahead_window_s), 1);
    reload("cache.ttl", "app/*=40s");
    assert_int_equal(atomic_load(&manager->ahead_window_s), 10);
    reload("cache.ttl", "");
    assert_int_equal(atomic_load(&manager->ahead_window_s), 51);
}

static void explained(const char *address, const char *text)
{
    mp__buf json = MP__BUF_INIT;
    mp_str name = mp_str_of(address);

    assert_int_equal(mp__manager_explain(manager, name,
                                         mp__cache_hash(mp__manager_hasher(manager), name), &json),
                     0);
    assert_int_equal(mp__buf_add_char(&json, '\0'), 0);
    assert_non_null(strstr(json.data, text));
    mp__buf_done(&json);
}

static void explain_says_which_rule_set_it(void **state)
{
    (void)state;
    reload("cache.ttl", "app/flags/*=30s");
    assert_int_equal(put("production/app/flags/a", "1"), 0);
    explained("production/app/flags/a",
              "\"verify_after_s\":30,\"verify_rule\":\"cache.ttl: app/flags/*\"");
    explained("production/app/a", "\"verify_after_s\":3600,\"verify_rule\":\"cache.default_ttl\"");
    assert_int_equal(get("production/app/none", MP__LEVEL_EVENTUAL), MP_EABSENT);
    explained("production/app/none",
              "\"verify_after_s\":60,\"verify_rule\":\"cache.negative_ttl\"");
}

static void a_wrong_row_changes_nothing(void **state)
{
    static const char *const bad[] = {"app/*=0s", "app/*=366d",  "app/*=soon",   "app/*=-1s",
                                      "app=1s",   "app/*=500ms", "app/*=1500ms", "app/*=1.5s"};

    (void)state;
    reload("cache.ttl", "app/*=30s");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mp__diag diag = {0};

        option("cache.ttl", bad[i]);
        assert_int_equal(mp__manager_reload(manager, options, &diag), MP_EINVAL);
        assert_non_null(strstr(diag.text, bad[i]));
        assert_int_equal(ttl_of(MP__RECORD_VALUE, "e/app/k"), 30);
    }
}

static void a_time_of_no_whole_second_is_refused_and_never_rounded(void **state)
{
    static const char *const paths[] = {"cache.default_ttl", "cache.negative_ttl"};

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        mp__diag diag = {0};

        option(paths[i], "2500ms");
        assert_int_equal(mp__manager_reload(manager, options, &diag), MP_EINVAL);
        assert_non_null(strstr(diag.text, paths[i]));
        assert_non_null(strstr(diag.text, "2500ms is no whole number of seconds; write 2s or 3s"));
        option(paths[i], "2000ms");
        assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    }
    assert_int_equal(ttl_of(MP__RECORD_VALUE, "e/app/k"), 2);
    assert_int_equal(ttl_of(MP__RECORD_ABSENT, "e/app/k"), 2);
    reload("cache.ttl", "app/*=3000ms");
    assert_int_equal(ttl_of(MP__RECORD_VALUE, "e/app/k"), 3);
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(a_value_is_verified_when_its_own_rule_says),
    WORLD_TEST(a_longer_one_wins_over_the_default),
    WORLD_TEST(it_throws_nothing_away),
    WORLD_TEST(the_knowledge_that_there_is_none_has_the_shorter_time),
    WORLD_TEST(what_no_watch_of_this_node_holds_has_it_as_its_bound),
    WORLD_TEST(a_short_one_takes_refresh_ahead_from_nobody),
    WORLD_TEST(explain_says_which_rule_set_it),
    WORLD_TEST(a_wrong_row_changes_nothing),
    WORLD_TEST(a_time_of_no_whole_second_is_refused_and_never_rounded),
};

MP_TEST_MAIN(tests)
