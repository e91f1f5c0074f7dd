/* SPDX-License-Identifier: Apache-2.0 */
/* Preload: what is brought before anybody asks, within which budget, and what that saved. */
#include "manager/internal.h"
#include "mp_reads.h"

/* What the others, those who are not `identity`, may do; of what begins so. */
static unsigned granted;
static const mp__identity guest = {"guest"};

int __real_mp__access_check(const mp__access *access, const mp__identity *who, enum mp__right right,
                            mp_str address, mp__diag *diag);
int __wrap_mp__access_check(const mp__access *access, const mp__identity *who, enum mp__right right,
                            mp_str address, mp__diag *diag);
int __wrap_mp__access_check(const mp__access *access, const mp__identity *who, enum mp__right right,
                            mp_str address, mp__diag *diag)
{
    static const mp_str readable = MP_STR("production/app");

    if (who != &guest)
        return __real_mp__access_check(access, who, right, address, diag);
    return (granted & right) && address.size >= readable.size &&
                   memcmp(address.data, readable.data, readable.size) == 0
               ? 0
               : MP_EDENIED;
}

static char status_text[65536];

static const char *status(void)
{
    mp__buf json = MP__BUF_INIT;

    assert_int_equal(mp__manager_status(manager, &identity, &json), 0);
    assert_true(json.size < sizeof(status_text));
    memcpy(status_text, json.data, json.size);
    status_text[json.size] = '\0';
    mp__buf_done(&json);
    return strstr(status_text, "\"preload\":");
}

static bool preload_ended(void *context)
{
    (void)context;
    return strstr(status(), "\"state\":\"running\"") == NULL;
}

static void put_many(const char *namespace_, int count)
{
    char address[64];

    for (int i = 0; i < count; i++) {
        snprintf(address, sizeof(address), "production/%s/k%d", namespace_, i);
        assert_int_equal(put(address, "value"), 0);
    }
}

static int preload(const char *pattern)
{
    mp_str patterns[] = {mp_str_of(pattern)};
    int rc = mp__preload_start(manager, &identity, patterns, 1, 0, NULL);

    if (rc == 0)
        assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    return rc;
}

static void what_was_preloaded_is_read_without_asking(void **state)
{
    uint64_t before;

    (void)state;
    put_many("app", 600); /* some pages */
    put_many("other", 10);
    forget_all();
    assert_int_equal(preload("production/app/*"), 0);
    assert_non_null(strstr(status(), "\"state\":\"done\""));
    assert_non_null(strstr(status(), "\"keys\":600"));
    before = world_fetches();
    assert_int_equal(get("production/app/k7", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "value");
    assert_int_equal(last.reason, MP__REASON_FRESH);
    assert_int_equal(last.tier, MP__TIER_L1);
    assert_int_equal(world_fetches(), before);
    assert_int_equal(get("production/other/k7", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(world_fetches(), before + 1);
}

static void a_preload_of_one_key_brings_that_one(void **state)
{
    (void)state;
    put_many("app", 20); /* k1, and k10 to k19 */
    forget_all();
    assert_int_equal(preload("production/app/k1"), 0);
    assert_non_null(strstr(status(), "\"keys\":1,"));
}

static void a_preload_keeps_to_its_budget(void **state)
{
    (void)state;
    option("cache.l1_size", "100");
    put_many("app", 300);
    forget_all();
    assert_int_equal(preload("production/app/*"), 0);
    assert_non_null(strstr(status(), "\"state\":\"budget-used\""));
    assert_non_null(strstr(status(), "\"keys\":75,"));
}

static void a_preload_keeps_to_the_budget_that_it_was_given_and_the_next_to_its_own(void **state)
{
    mp_str pattern = MP_STR("production/app/*");

    (void)state;
    option("cache.l1_size", "100");
    put_many("app", 300);
    forget_all();
    assert_int_equal(mp__preload_start(manager, &identity, &pattern, 1, 20, NULL), 0);
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    assert_non_null(strstr(status(), "\"state\":\"budget-used\""));
    assert_non_null(strstr(status(), "\"keys\":20,"));
    assert_int_equal(preload("production/app/*"), 0);
    assert_non_null(strstr(status(), "\"keys\":75,"));
}

static bool is_answered_now(mp_str address)
{
    const mp__entry *entry;

    assert_int_equal(mp_read_begin(), 0);
    entry = mp__read_now(manager, address, mp__cache_hash(mp__manager_hasher(manager), address),
                         MP__LEVEL_EVENTUAL, 0);
    mp_read_end();
    return entry != NULL;
}

static void first_reads_that_a_preload_saved_are_counted(void **state)
{
    char address[64];

    (void)state;
    put_many("app", 50);
    forget_all();
    assert_int_equal(preload("production/app/*"), 0);
    assert_non_null(strstr(status(), "\"tracked\":50,\"first_reads_saved\":0"));
    for (int i = 0; i < 20; i++) {
        snprintf(address, sizeof(address), "production/app/k%d", i);
        assert_true(is_answered_now(mp_str_of(address)));
    }
    assert_non_null(strstr(status(), "\"first_reads_saved\":20"));
}

static void the_hot_path_answers_only_while_everybody_may_read_everything(void **state)
{
    (void)state;
    put_many("app", 1);
    assert_true(is_answered_now(MP_STR("production/app/k0")));
    manager->is_open_to_all = false; /* then access is asked, by mp__read_start() */
    assert_false(is_answered_now(MP_STR("production/app/k0")));
}

static void a_pattern_that_is_none_is_refused_with_how_to_write_it(void **state)
{
    mp_str patterns[] = {MP_STR("app")};
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__preload_start(manager, &identity, patterns, 1, 0, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "environment/namespace/ke*"));
    assert_int_equal(mp__preload_start(manager, &identity, patterns, 0, 0, &diag), MP_EINVAL);
}

static void one_preload_at_a_time(void **state)
{
    mp_str patterns[] = {MP_STR("production/app/*")};

    (void)state;
    put_many("app", 5);
    assert_int_equal(mp__preload_start(manager, &identity, patterns, 1, 0, NULL), 0);
    assert_int_equal(mp__preload_start(manager, &identity, patterns, 1, 0, NULL), MP_ELIMIT);
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    assert_int_equal(preload("production/app/*"), 0);
}

static void what_the_configuration_names_is_preloaded_at_the_start(void **state)
{
    uint64_t before;

    (void)state;
    put_many("app", 5);
    option("cache.preload", "production/app/*");
    forget_all();
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    before = world_fetches();
    assert_int_equal(get("production/app/k3", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(world_fetches(), before);
}

static void a_preload_that_finds_no_origin_comes_when_it_is_back(void **state)
{
    (void)state;
    put_many("app", 5);
    world_origin_goes();
    world_close();
    option("cache.preload", "production/app/*");
    world_open("/data");
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    assert_non_null(strstr(status(), "\"state\":\"failed\""));
    world_origin_comes_back();
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    assert_non_null(strstr(status(), "\"state\":\"done\""));
    assert_non_null(strstr(status(), "\"keys\":5,"));
}

/* A page that was read before a write does not bring the past back. */
static void a_preload_and_writes_that_meet_leave_the_newest(void **state)
{
    mp_str patterns[] = {MP_STR("production/app/*")};
    mp_sim *s = sim;

    (void)state;
    put_many("app", 300);
    forget_all();
    mp_sim_slow(s, "mp-origin-r", 0, 50);
    assert_int_equal(mp__preload_start(manager, &identity, patterns, 1, 0, NULL), 0);
    for (int i = 0; i < 60; i++) {
        char address[64];

        snprintf(address, sizeof(address), "production/app/k%d", i * 5);
        assert_int_equal(i % 2 ? put(address, "newer") : change(MP__CHANGE_DELETE, address, "", 0),
                         0);
    }
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    mp_sim_slow(s, "", 0, 0);
    for (int i = 0; i < 60; i++) {
        char address[64];

        snprintf(address, sizeof(address), "production/app/k%d", i * 5);
        assert_int_equal(get(address, MP__LEVEL_EVENTUAL), i % 2 ? 0 : MP_EABSENT);
        assert_string_equal(got, i % 2 ? "newer" : "");
    }
}

static void who_may_only_read_keeps_to_the_budget_of_the_configuration(void **state)
{
    mp_str all[] = {MP_STR("production/app/*"), MP_STR("production/other/*")};
    mp__diag diag = {0};

    (void)state;
    put_many("app", 5);
    granted = MP__RIGHT_READ;
    assert_int_equal(mp__preload_start(manager, &guest, all, 1, 76, &diag), MP_EDENIED);
    assert_non_null(strstr(diag.text, "above cache.preload_budget"));
    assert_int_equal(mp__preload_start(manager, &guest, all, 2, 0, NULL), MP_EDENIED);
    assert_non_null(strstr(status(), "\"state\":\"never\""));
    assert_int_equal(mp__preload_start(manager, &guest, all, 1, 75, NULL), 0);
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    granted |= MP__RIGHT_WRITE;
    assert_int_equal(mp__preload_start(manager, &guest, all, 1, 100, NULL), 0);
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    granted = 0;
    assert_int_equal(mp__preload_start(manager, &guest, all, 1, 0, NULL), MP_EDENIED);
}

static void habits_are_brought_for_those_who_may_write_everything(void **state)
{
    mp__diag diag = {0};

    (void)state;
    granted = MP__RIGHT_READ | MP__RIGHT_WRITE; /* but of app only */
    assert_int_equal(mp__preload_habits(manager, &guest, &diag), MP_EDENIED);
    assert_non_null(strstr(diag.text, "may write"));
    assert_int_equal(mp__preload_habits(manager, &identity, NULL), 0);
}

static bool is_told(const char *what, const mp__identity *who)
{
    mp__buf json = MP__BUF_INIT;
    bool is;

    assert_int_equal(mp__manager_status(manager, who, &json), 0);
    assert_int_equal(mp__buf_add_char(&json, '\0'), 0);
    is = strstr(json.data, what) != NULL;
    mp__buf_done(&json);
    return is;
}

static void a_pattern_that_found_nothing_is_named_to_those_who_may_read_it(void **state)
{
    (void)state;
    granted = MP__RIGHT_READ;
    assert_int_equal(preload("production/secret/plan*"), 0);
    assert_true(is_told("secret", &identity));
    assert_false(is_told("secret", &guest));
    assert_false(is_told("secret", NULL));
    assert_true(is_told("a pattern found no key", &guest));
    assert_int_equal(preload("production/app/none*"), 0);
    assert_true(is_told("app/none", &guest));
    assert_false(is_told("app/none", NULL)); /* in its events neither */
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(what_was_preloaded_is_read_without_asking),
    WORLD_TEST(a_preload_of_one_key_brings_that_one),
    WORLD_TEST(a_preload_keeps_to_its_budget),
    WORLD_TEST(a_preload_keeps_to_the_budget_that_it_was_given_and_the_next_to_its_own),
    WORLD_TEST(first_reads_that_a_preload_saved_are_counted),
    WORLD_TEST(the_hot_path_answers_only_while_everybody_may_read_everything),
    WORLD_TEST(a_pattern_that_is_none_is_refused_with_how_to_write_it),
    WORLD_TEST(one_preload_at_a_time),
    WORLD_TEST(what_the_configuration_names_is_preloaded_at_the_start),
    WORLD_TEST(a_preload_that_finds_no_origin_comes_when_it_is_back),
    WORLD_TEST(a_preload_and_writes_that_meet_leave_the_newest),
    WORLD_TEST(who_may_only_read_keeps_to_the_budget_of_the_configuration),
    WORLD_TEST(habits_are_brought_for_those_who_may_write_everything),
    WORLD_TEST(a_pattern_that_found_nothing_is_named_to_those_who_may_read_it),
};
MP_TEST_MAIN(tests)
