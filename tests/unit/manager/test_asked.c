/* SPDX-License-Identifier: Apache-2.0 */
/* How long lists wait for an origin that hangs, and what its late answers do. */
#include "mp_test.h"

#include <stdlib.h>
#include <string.h>

#include "manager/internal.h"
#include "mp_truth.h"
#include "mp_world.h"

enum { TIMEOUT_MS = 500, PLACES = 8, MOST = 100 };

static mp_truth *truth;

typedef struct asker {
    mp__query query;
    bool is_done;
    uint64_t began_ns, took_ms;
    char scope[16];
} asker;

static asker askers[MOST];

static int set_up_empty(void **state)
{
    (void)state;
    world_begin(7, 50);
    truth = mp_truth_new(sim);
    option("origin.timeout", "500ms");
    assert_int_equal(world_try_open("/data", false, mp_truth_origin(truth), NULL), 0);
    return 0;
}

static int set_up(void **state)
{
    (void)set_up_empty(state);
    mp_truth_put(truth, "base/default/a", "1");
    mp_truth_put(truth, "base/default/b", "2");
    mp_sim_run(sim, 3000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_close();
    truth = mp_truth_free(truth);
    world_end();
    return 0;
}

static void came(mp__query *query)
{
    asker *a = (asker *)query;

    a->is_done = true;
    a->took_ms = (mp__env_now_ns(mp_sim_env(sim)) - a->began_ns) / 1000000u;
    /* whoever asked is gone with his answer, and all that the question named */
    memset(a->scope, 'x', sizeof(a->scope));
}

static void ask_of(asker *a, const char *scope, uint64_t at_revision, bool effective)
{
    *a = (asker){.began_ns = mp__env_now_ns(mp_sim_env(sim))};
    (void)snprintf(a->scope, sizeof(a->scope), "%s", scope);
    a->query = (mp__query){.kind = MP__QUERY_LIST,
                           .loop = loop,
                           .identity = &identity,
                           .environment = mp_str_of(a->scope),
                           .prefix = MP_STR(""),
                           .by_key = true,
                           .at_revision = at_revision,
                           .effective = effective,
                           .limit = 10,
                           .done = came};
    mp__query_start(manager, &a->query);
}

static void ask(asker *a, uint64_t at_revision)
{
    ask_of(a, "base", at_revision, false);
}

static void ask_many(size_t count)
{
    for (size_t i = 0; i < count; i++)
        ask(&askers[i], 0);
}

static void forget_many(size_t count)
{
    for (size_t i = 0; i < count; i++)
        mp__query_done(&askers[i].query);
}

static void a_ninth_list_is_answered_while_eight_hang_at_the_origin(void **state)
{
    (void)state;
    mp_truth_stop(truth, 0, true);
    ask_many(PLACES + 1);
    world_wait(&askers[PLACES].is_done);
    for (size_t i = 0; i < PLACES + 1; i++) {
        assert_true(askers[i].is_done);
        assert_int_equal(askers[i].query.status, 0);
        assert_true(askers[i].query.stale); /* of what is kept */
        assert_in_range(askers[i].took_ms, TIMEOUT_MS, 2 * TIMEOUT_MS + 200);
    }
    forget_many(PLACES + 1);
}

static void a_list_that_nothing_kept_can_answer_times_out(void **state)
{
    (void)state;
    mp_truth_stop(truth, 0, true);
    ask(&askers[0], 1);
    world_wait(&askers[0].is_done);
    assert_int_equal(askers[0].query.status, MP_ETIMEOUT);
    assert_in_range(askers[0].took_ms, TIMEOUT_MS, TIMEOUT_MS + 200);
    assert_int_equal(manager->queries_under_way, 0);
}

static void who_comes_while_it_hangs_neither_waits_nor_burdens_it_more(void **state)
{
    (void)state;
    mp_truth_stop(truth, 0, true);
    ask_many(PLACES);
    world_wait(&askers[PLACES - 1].is_done);
    forget_many(PLACES);
    ask_many(MOST);
    for (size_t i = 0; i < MOST; i++) {
        world_wait(&askers[i].is_done);
        assert_true(askers[i].took_ms < TIMEOUT_MS);
    }
    assert_int_equal(manager->asked_given_up, PLACES);
    forget_many(MOST);
}

static void one_list_that_hangs_for_long_is_silence_though_nothing_else_is_asked(void **state)
{
    (void)state;
    mp_truth_stop(truth, 0, true);
    ask(&askers[0], 0);
    world_wait(&askers[0].is_done);
    assert_false(mp__circuit_is_open(&manager->circuit));
    mp_sim_run(sim, 2 * TIMEOUT_MS + 300);
    assert_true(mp__circuit_is_open(&manager->circuit));
    assert_int_equal(atomic_load(&manager->generation), 0); /* what is kept counts from now on */
    mp__query_done(&askers[0].query);
    mp_truth_stop(truth, 0, false);
    mp_sim_run(sim, 5000);
    assert_false(mp__circuit_is_open(&manager->circuit));
}

static void late_answers_go_to_nobody_and_lists_are_of_the_origin_again(void **state)
{
    (void)state;
    mp_truth_stop(truth, 0, true);
    ask_many(3 * PLACES);
    world_wait(&askers[3 * PLACES - 1].is_done);
    forget_many(3 * PLACES);
    mp_truth_stop(truth, 0, false);
    mp_sim_run(sim, 3000); /* they come */
    assert_int_equal(manager->asked_given_up, 0);
    ask_many(3 * PLACES);
    for (size_t i = 0; i < 3 * PLACES; i++) {
        world_wait(&askers[i].is_done);
        assert_int_equal(askers[i].query.status, 0);
        assert_false(askers[i].query.stale);
        assert_int_equal(askers[i].query.count, 2);
    }
    assert_int_equal(manager->queries_under_way, 0);
    forget_many(3 * PLACES);
}

static void an_origin_that_answers_some_has_a_bounded_number_of_the_others(void **state)
{
    (void)state;
    mp_truth_stop(truth, 0, true);
    for (int round = 0; round < 20; round++) {
        ask_many(PLACES);
        for (size_t i = 0; i < PLACES; i++)
            world_wait(&askers[i].is_done);
        forget_many(PLACES);
        manager->asked_in_vain = false; /* as after an answer */
        (void)mp__circuit_close(&manager->circuit);
    }
    assert_in_range(manager->asked_given_up, PLACES, 64);
}

static void who_is_patient_is_answered_by_the_origin_and_keeps_nobody_waiting(void **state)
{
    asker *patient = &askers[MOST - 1];

    (void)state;
    mp_truth_stop(truth, 0, true);
    *patient = (asker){.scope = "base"};
    patient->query = (mp__query){.kind = MP__QUERY_LIST,
                                 .loop = loop,
                                 .identity = &identity,
                                 .environment = mp_str_of(patient->scope),
                                 .prefix = MP_STR(""),
                                 .by_key = true,
                                 .effective = true,
                                 .is_patient = true,
                                 .limit = 1,
                                 .done = came};
    mp__query_start(manager, &patient->query);
    mp_sim_run(sim, 10 * TIMEOUT_MS);
    assert_false(patient->is_done);
    assert_int_equal(manager->queries_under_way, 0);
    mp_truth_stop(truth, 0, false);
    world_wait(&patient->is_done);
    assert_int_equal(patient->query.status, 0);
    assert_false(patient->query.stale);
    mp__query_done(&patient->query);
}

static void layers_are_of_one_revision_also_while_the_first_change_is_made(void **state)
{
    asker *a = &askers[0];

    (void)state;
    mp_sim_run(sim, 3000);
    mp_sim_slow(sim, "net-request", 100, 100);
    ask_of(a, "production", 0, true);
    mp_sim_run(sim, 150); /* production was looked at, base was not */
    mp_truth_put(truth, "production/default/a", "1");
    mp_truth_put(truth, "base/default/b", "2");
    world_wait(&a->is_done);
    assert_int_equal(a->query.status, 0);
    assert_int_equal(a->query.as_of, 2);
    assert_int_equal(a->query.count, 2);
    mp__query_done(&a->query);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    EACH(a_ninth_list_is_answered_while_eight_hang_at_the_origin),
    EACH(a_list_that_nothing_kept_can_answer_times_out),
    EACH(who_comes_while_it_hangs_neither_waits_nor_burdens_it_more),
    EACH(one_list_that_hangs_for_long_is_silence_though_nothing_else_is_asked),
    EACH(late_answers_go_to_nobody_and_lists_are_of_the_origin_again),
    EACH(an_origin_that_answers_some_has_a_bounded_number_of_the_others),
    EACH(who_is_patient_is_answered_by_the_origin_and_keeps_nobody_waiting),
    cmocka_unit_test_setup_teardown(layers_are_of_one_revision_also_while_the_first_change_is_made,
                                    set_up_empty, tear_down),
};
MP_TEST_MAIN(tests)
