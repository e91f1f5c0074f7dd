/* SPDX-License-Identifier: Apache-2.0 */
/* Habits: what is learned from reads, and how many first reads it saves on simulated days. */
#include "mp_test.h"

#include <inttypes.h>

#include "manager/habits.h"
#include "manager/internal.h"
#include "mp_fail.h"
#include "mp_world.h"

#define HOUR_MS ((int64_t)3600000)
#define DAY_MS  (24 * HOUR_MS)

/* ---- the model ---- */

static mp__habit_model *model;

static int model_set_up(void **state)
{
    (void)state;
    return mp__habit_model_new(64, 7, &model);
}

static int model_tear_down(void **state)
{
    (void)state;
    model = mp__habit_model_free(model);
    return 0;
}

static void learn(int64_t at_ms, const char *a, const char *b)
{
    const mp_str both[2] = {mp_str_of(a), b ? mp_str_of(b) : mp_str_new("", 0)};

    mp__habit_model_learn(model, both, b ? 2 : 1, at_ms);
}

static char told[1024];
static int told_most;

static bool tell(void *context, mp_str address, double expected)
{
    (void)context;
    (void)expected;
    snprintf(told + strlen(told), sizeof(told) - strlen(told), " %.*s", (int)address.size,
             address.data);
    return --told_most > 0;
}

static const char *expected_at(int64_t at_ms)
{
    told[0] = '\0';
    told_most = 100;
    mp__habit_model_expect(model, at_ms, tell, NULL);
    return told;
}

static void what_is_read_at_an_hour_is_expected_at_that_hour_most_first(void **state)
{
    (void)state;
    for (int day = 0; day < 3; day++) {
        for (int i = 0; i < 3; i++)
            learn(day * DAY_MS + 9 * HOUR_MS, "often", NULL);
        learn(day * DAY_MS + 9 * HOUR_MS, "once", NULL);
        learn(day * DAY_MS + 20 * HOUR_MS, "evening", NULL);
    }
    assert_string_equal(expected_at(3 * DAY_MS + 9 * HOUR_MS), " often once");
    assert_string_equal(expected_at(3 * DAY_MS + 20 * HOUR_MS), " evening");
    assert_string_equal(expected_at(3 * DAY_MS + 12 * HOUR_MS), "");
}

static void what_is_not_read_any_more_is_forgotten_and_a_single_read_is_no_habit(void **state)
{
    (void)state;
    learn(0, "once", NULL);
    learn(0, "twice", NULL);
    learn(0, "twice", NULL);
    assert_string_equal(expected_at(DAY_MS), " twice");
    assert_string_equal(expected_at(30 * DAY_MS), "");
}

static void what_is_read_together_at_least_every_other_time_is_told(void **state)
{
    mp_str with[MP__HABIT_PAIRS];

    (void)state;
    for (int i = 0; i < 4; i++)
        learn(0, "a", "b");
    learn(0, "a", "seldom");
    assert_int_equal(mp__habit_model_with(model, MP_STR("a"), with), 1);
    mp_assert_str(with[0], "b");
    assert_int_equal(mp__habit_model_with(model, MP_STR("seldom"), with), 0);
    assert_int_equal(mp__habit_model_with(model, MP_STR("unknown"), with), 0);
    for (int i = 0; i < 8; i++)
        learn(0, "a", NULL);
    assert_int_equal(mp__habit_model_with(model, MP_STR("a"), with), 0);
}

static void a_flood_of_names_pushes_out_no_habit(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < 20; i++)
        learn(9 * HOUR_MS, "habit", "other");
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "flood%d", i);
        learn(9 * HOUR_MS, name, NULL);
    }
    assert_int_equal(mp__habit_model_count(model), 64);
    assert_non_null(strstr(expected_at(9 * HOUR_MS), " habit"));
    assert_non_null(strstr(told, " other"));
}

static void a_model_comes_back_from_its_file(void **state)
{
    mp__buf json = MP__BUF_INIT;
    mp_str with[MP__HABIT_PAIRS];

    (void)state;
    for (int i = 0; i < 5; i++)
        learn(9 * HOUR_MS, "a \"quoted\"", "b");
    learn(9 * HOUR_MS, "\xff not UTF-8", NULL);
    mp__habit_model_json(model, &json);
    assert_int_equal(json.error, 0);
    model = mp__habit_model_free(model);
    assert_int_equal(mp__habit_model_new(64, 9, &model), 0);
    assert_int_equal(mp__habit_model_load(model, mp__buf_str(&json)), 0);
    assert_int_equal(mp__habit_model_count(model), 2);
    assert_non_null(strstr(expected_at(9 * HOUR_MS), " b"));
    assert_int_equal(mp__habit_model_with(model, MP_STR("b"), with), 1);
    mp_assert_str(with[0], "a \"quoted\"");
    mp__buf_done(&json);
    assert_int_equal(mp__habit_model_load(model, MP_STR("{\"version\":99}")), MP_ESYNTAX);
    assert_int_equal(mp__habit_model_load(model, MP_STR("[1,")), MP_ESYNTAX);
    assert_int_equal(
        mp__habit_model_load(model, MP_STR("{\"version\":1,\"keys\":[1,{\"key\":2},{\"key\":\"x\","
                                           "\"hours\":{},\"with\":[]}]}")),
        0);
}

/* ---- days of a daemon ---- */

enum { MORNING = 60, EVENING = 60, MEMORY = 80 };

static mp__tap tap;

static void start(void)
{
    assert_int_equal(world_try_open("/data", false, NULL, NULL), 0);
}

static void stop(void)
{
    mp__tap_done(&tap);
    tap = (mp__tap){0};
    world_close();
}

static void put(const char *address)
{
    bool done = false;
    mp__change change = {
        .op = MP__CHANGE_PUT, .address = mp_str_of(address), .value = mp_str_of(address)};
    mp__write_request request = {.loop = loop,
                                 .identity = &identity,
                                 .changes = &change,
                                 .count = 1,
                                 .done = world_write_done,
                                 .context = &done};

    mp__write_start(manager, &request);
    world_wait(&done);
    assert_int_equal(request.status, 0);
}

static int set_up(void **state)
{
    char address[64];

    (void)state;
    world_begin(5, 2000);
    option("cache.l1_size", "80");
    option("cache.l2_size", "0");
    option("cache.l3_scrub_rate", "0"); /* days of it would take minutes */
    option("cache.policy", "lru");      /* what is brought comes in whatever it pushes out */
    option("cache.default_ttl", "30d");
    option("overlay.base", "");
    option("origin.probe_interval", "600s"); /* so that days pass quickly */
    option("origin.sweep_interval", "3600s");
    start();
    for (int i = 0; i < MORNING + EVENING; i++) {
        snprintf(address, sizeof(address), "production/app/%d", i);
        put(address);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop();
    world_end();
    return 0;
}

/* As a server reads. True: it was in memory. */
static bool read_one(uint64_t who, int key)
{
    char address[64];
    bool done = false, hit;
    uint64_t now = mp__env_now_ns(mp_sim_env(sim));
    mp__read read = {.loop = loop,
                     .identity = &identity,
                     .level = MP__LEVEL_EVENTUAL,
                     .age_max_ms = -1,
                     .done = world_read_done,
                     .context = &done};

    snprintf(address, sizeof(address), "production/app/%d", key);
    read.address = mp_str_of(address);
    read.hash = mp__cache_hash(mp__manager_hasher(manager), read.address);
    if (mp__tap_wants(&tap, who, now))
        mp__tap_read(manager, &tap, who, now, read.address);
    assert_int_equal(mp_read_begin(), 0);
    hit = mp__read_now(manager, read.address, read.hash, read.level, 0) != NULL;
    mp_read_end();
    if (hit)
        return true;
    if (!mp__read_start(manager, &read))
        world_wait(&done);
    assert_int_equal(read.status, 0);
    (void)mp__entry_unref(read.entry);
    return false;
}

/* Read the keys of [from, to) once or twice within the hour that begins; how many of the first
 * reads found nothing in memory. */
static int misses_of_an_hour(int from, int to)
{
    int misses = 0;

    for (int round = 0; round < 2; round++)
        for (int key = from; key < to; key++) {
            misses += !read_one(1 + (uint64_t)(key % 3), key) && round == 0;
            mp_sim_run(sim, 20000);
        }
    return misses;
}

static int64_t now_ms(void)
{
    return mp__env_wall_ms(mp_sim_env(sim));
}

static void sleep_until_hour(int hour)
{
    int64_t ms = (hour * HOUR_MS - now_ms() % DAY_MS + DAY_MS) % DAY_MS;

    mp_sim_run(sim, (uint64_t)ms);
}

static uint64_t figure(const char *name)
{
    mp__buf json = MP__BUF_INIT;
    const char *at;
    uint64_t n;

    mp__json_begin(&json, '{');
    mp__habits_json(manager->habits, &json);
    assert_int_equal(mp__buf_add_char(&json, '\0'), 0);
    at = strstr(json.data, name);
    assert_non_null(at);
    n = strtoull(strchr(at, ':') + 1, NULL, 10);
    mp__buf_done(&json);
    return n;
}

static void most_first_reads_of_a_usual_day_are_saved(void **state)
{
    int misses[3];

    (void)state;
    for (int day = 0; day < 3; day++) {
        sleep_until_hour(8);
        misses[day] = misses_of_an_hour(0, MORNING);
        sleep_until_hour(20);
        misses[day] += misses_of_an_hour(MORNING, MORNING + EVENING);
    }
    print_message("# first reads that missed, a day: %d %d %d of %d\n", misses[0], misses[1],
                  misses[2], MORNING + EVENING);
    assert_true(misses[2] * 10 <= misses[0]);
    assert_true(figure("first_reads_saved") >= MORNING);
    assert_true(figure("never_read") * 4 < figure("first_reads_saved"));
}

static void learn_mornings_and_restart(void)
{
    for (int day = 0; day < 3; day++) {
        sleep_until_hour(8);
        (void)misses_of_an_hour(0, MORNING);
    }
    sleep_until_hour(8);
    stop();
    start();
}

static void after_a_restart_what_the_hour_usually_reads_is_there(void **state)
{
    int misses;

    (void)state;
    learn_mornings_and_restart();
    mp_sim_run(sim, 5000);
    misses = misses_of_an_hour(0, MORNING);
    print_message("# after a restart %d of %d first reads missed\n", misses, MORNING);
    assert_true(misses * 4 <= MORNING);
    assert_true(figure("first_reads_saved") >= MORNING / 2);
}

static void what_the_hour_usually_reads_is_brought_when_it_is_asked_for(void **state)
{
    uint64_t looks, brought;

    (void)state;
    learn_mornings_and_restart();
    mp_sim_run(sim, 60000);
    looks = figure("looks");
    brought = figure("brought");
    assert_int_equal(misses_of_an_hour(MORNING, MORNING + EVENING), EVENING); /* they push out */
    assert_int_equal(mp__preload_habits(manager, &identity, NULL), 0);
    mp_sim_run(sim, 60000);
    assert_int_equal(figure("looks"), looks + 1);
    assert_int_equal(figure("waiting"), 0);
    assert_true(figure("brought") > brought);
    assert_true(misses_of_an_hour(0, MORNING) < MORNING / 4);
}

static void however_many_ask_for_the_hour_at_once_it_is_looked_at_once(void **state)
{
    uint64_t looks;

    (void)state;
    mp_sim_run(sim, 1000);
    looks = figure("looks");
    for (int i = 0; i < 10000; i++)
        assert_int_equal(mp__preload_habits(manager, &identity, NULL), 0);
    mp_sim_run(sim, 1000);
    assert_int_equal(figure("looks"), looks + 1);
    assert_int_equal(mp__preload_habits(manager, &identity, NULL), 0);
    mp_sim_run(sim, 1000);
    assert_int_equal(figure("looks"), looks + 2);
}

static void what_is_expected_is_brought_while_others_read_without_a_pause(void **state)
{
    (void)state;
    learn_mornings_and_restart();
    for (int i = 0; i < 1000; i++) { /* a group each 18 ms */
        (void)read_one(1, MORNING);
        mp_sim_run(sim, 2);
    }
    assert_true(figure("groups") > 50);
    assert_in_range(figure("brought"), MORNING * 3 / 4, MORNING);
}

static uint64_t hits_of_l1(void)
{
    mp_cache_stats stats;

    mp_cache_stats_read(manager->cache, &stats);
    return stats.l1_hits;
}

/* All at once, so that the sample has but a few of them: each is counted all the same, and what is
 * expected of a value is no hit. */
static void reads_that_were_saved_are_told_at_once(const char *policy)
{
    uint64_t hits = 0, before;

    stop();
    option("cache.policy", policy);
    start();
    learn_mornings_and_restart();
    before = hits_of_l1();
    mp_sim_run(sim, 5000);
    assert_int_equal(hits_of_l1() - before, 0);
    assert_in_range(figure("brought"), MORNING * 3 / 4, MORNING);
    for (int key = 0; key < MORNING; key++)
        hits += read_one(1, key);
    mp_sim_run(sim, 2000);
    assert_true(hits >= MORNING * 3 / 4);
    assert_int_equal(figure("first_reads_saved"), hits);
    assert_int_equal(hits_of_l1() - before, hits);
}

static void reads_that_were_saved_are_told_at_once_under_lru(void **state)
{
    (void)state;
    reads_that_were_saved_are_told_at_once("lru");
}

static void reads_that_were_saved_are_told_at_once_under_s3_fifo(void **state)
{
    (void)state;
    reads_that_were_saved_are_told_at_once("s3-fifo");
}

static void who_misses_one_finds_what_is_read_with_it(void **state)
{
    int hits = 0, of = 0, alone = 0;

    (void)state;
    stop();
    option("cache.l1_size", "16");
    start();
    for (int round = 0; round < 120; round++) { /* twelve groups of four, in any order */
        int first = (int)mp_sim_random(sim, 12) * 4;

        for (int i = 0; i < 4; i++) {
            bool hit = read_one(1, first + i);

            if (i > 0 && round >= 80) {
                of++;
                hits += hit;
            }
            alone += i > 0 && round < 12 && hit;
            mp_sim_run(sim, 200);
        }
        mp_sim_run(sim, 60000);
    }
    print_message("# %d of %d reads after the first of a group found it in memory\n", hits, of);
    assert_true(hits * 10 >= of * 9);
    assert_true(alone < 24); /* it was not so before it was learned */
}

static void nothing_is_learned_where_it_is_not_wanted(void **state)
{
    (void)state;
    stop();
    option("cache.habits_keys", "0");
    start();
    assert_null(manager->habits);
    (void)read_one(1, 0);
}

static void a_damaged_file_begins_anew(void **state)
{
    (void)state;
    stop();
    mp_platter_put(mp_sim_disk(sim), "/data/habits.json", "{\"vers", 6);
    start();
    assert_int_equal(figure("keys"), 0);
}

static const struct CMUnitTest tests[] = {
#define M(f) cmocka_unit_test_setup_teardown(f, model_set_up, model_tear_down)
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    M(what_is_read_at_an_hour_is_expected_at_that_hour_most_first),
    M(what_is_not_read_any_more_is_forgotten_and_a_single_read_is_no_habit),
    M(what_is_read_together_at_least_every_other_time_is_told),
    M(a_flood_of_names_pushes_out_no_habit),
    M(a_model_comes_back_from_its_file),
    T(most_first_reads_of_a_usual_day_are_saved),
    T(after_a_restart_what_the_hour_usually_reads_is_there),
    T(what_the_hour_usually_reads_is_brought_when_it_is_asked_for),
    T(however_many_ask_for_the_hour_at_once_it_is_looked_at_once),
    T(what_is_expected_is_brought_while_others_read_without_a_pause),
    T(reads_that_were_saved_are_told_at_once_under_lru),
    T(reads_that_were_saved_are_told_at_once_under_s3_fifo),
    T(who_misses_one_finds_what_is_read_with_it),
    T(nothing_is_learned_where_it_is_not_wanted),
    T(a_damaged_file_begins_anew),
};

MP_TEST_MAIN(tests)
