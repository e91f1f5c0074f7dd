/* SPDX-License-Identifier: Apache-2.0 */
/* Fills, writes and changes that meet on their way: nobody is told what is older than he knows. */
#include <inttypes.h>

#include "manager/internal.h"
#include "mp_reads.h"
#include "mp_truth.h"

static void a_fill_that_began_before_a_write_does_not_outlive_it(void **state)
{
    mp__read early;

    (void)state;
    assert_int_equal(put("production/default/a", "old"), 0);
    forget_all();
    prepare(&early, "production/default/a", MP__LEVEL_EVENTUAL);
    read_is_done = false;
    assert_false(mp__read_start(manager, &early));
    assert_int_equal(put("production/default/a", "new"), 0);
    if (!read_is_done)
        assert_true(mp_sim_run_until(sim, world_is_true, &read_is_done, 5000));
    (void)mp__entry_unref(early.entry);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), 0);
    assert_string_equal(got, "new");
}

static void a_fill_that_began_before_a_deletion_does_not_bring_back_what_was_deleted(void **state)
{
    mp_truth *truth;
    mp__diag diag = {0};
    mp__read early;

    (void)state;
    world_close();
    truth = mp_truth_new(sim);
    mp_truth_put(truth, "production/default/a", "old");
    option("cache.negative_ttl", "1s");
    option("overlay.base", "");
    assert_int_equal(world_try_open("/late", false, mp_truth_origin(truth), &diag), 0);
    mp_sim_run(sim, 1000);
    mp_sim_slow(sim, "net-answer", 8000, 8000);
    prepare(&early, "production/default/a", MP__LEVEL_EVENTUAL);
    read_is_done = false;
    assert_false(mp__read_start(manager, &early));
    mp_sim_run(sim, 20); /* the origin has answered, and the answer is on its way */
    mp_sim_slow(sim, "", 0, 0);
    mp_truth_delete(truth, "production/default/a");
    mp_sim_run(sim, 10000); /* that it is absent is forgotten before the answer comes */
    assert_true(read_is_done);
    (void)mp__entry_unref(early.entry);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), MP_EABSENT);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EABSENT);
    world_close();
    truth = mp_truth_free(truth);
}

/* A world whose origin has "a" = 1 and tells of each change half a second later. */
static mp_truth *open_where_changes_are_slow(void)
{
    mp__diag diag = {0};
    mp_truth *truth;

    world_close();
    truth = mp_truth_new(sim);
    mp_truth_put(truth, "production/default/a", "1");
    option("overlay.base", "");
    assert_int_equal(world_try_open("/late", false, mp_truth_origin(truth), &diag), 0);
    mp_sim_run(sim, 1000);
    mp_sim_slow(sim, "net-change", 500, 500);
    return truth;
}

static void whoever_was_told_what_a_late_fill_brought_is_told_nothing_older(void **state)
{
    mp_truth *truth;

    (void)state;
    truth = open_where_changes_are_slow();
    mp_truth_put(truth, "production/default/a", "2"); /* comes while the answer is on its way */
    mp_truth_lose(truth, 100);
    mp_truth_put(truth, "production/default/a", "3"); /* only the answer tells of it */
    mp_sim_slow(sim, "net-answer", 1000, 1000);
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), 0);
    assert_string_equal(got, "3");
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), 0);
    assert_string_equal(got, "3");
    mp_sim_slow(sim, "", 0, 0);
    world_close();
    truth = mp_truth_free(truth);
}

/* "a" = 2 is changed to 3, or deleted, before anybody is told of 2, which is on its way for half a
 * second yet; a reader is told by the origin, and memory is full of something else then. */
static mp_truth *open_where_an_old_change_is_still_to_come(bool is_deleted)
{
    mp_truth *truth;

    option("cache.l1_size", "1");
    option("cache.l2_size", "0");
    truth = open_where_changes_are_slow();
    mp_truth_put(truth, "production/default/b", "b");
    mp_truth_put(truth, "production/default/a", "2");
    mp_truth_lose(truth, 100);
    if (is_deleted)
        mp_truth_delete(truth, "production/default/a");
    else
        mp_truth_put(truth, "production/default/a", "3");
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), is_deleted ? MP_EABSENT : 0);
    assert_int_equal(get("production/default/b", MP__LEVEL_STRONG), 0);
    assert_int_equal(get("production/default/none", MP__LEVEL_STRONG), MP_EABSENT);
    mp_sim_run(sim, 1000);
    return truth;
}

static void a_late_change_does_not_bring_back_what_was_replaced(void **state)
{
    mp_truth *truth;

    (void)state;
    truth = open_where_an_old_change_is_still_to_come(false);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), 0);
    assert_string_equal(got, "3");
    world_close();
    truth = mp_truth_free(truth);
}

static void a_late_change_does_not_bring_back_what_was_deleted(void **state)
{
    mp_truth *truth;

    (void)state;
    truth = open_where_an_old_change_is_still_to_come(true);
    mp_truth_cut(truth, 0, true);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), MP_EUNKNOWN);
    mp_truth_cut(truth, 0, false);
    mp_sim_run(sim, 2000);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), MP_EABSENT);
    world_close();
    truth = mp_truth_free(truth);
}

/* The change that came beside the answer is of a value that had been deleted when that was given.
 */
static void whoever_was_told_of_a_deletion_is_not_told_the_value_after_it(void **state)
{
    mp_truth *truth;

    (void)state;
    truth = open_where_changes_are_slow();
    mp_truth_put(truth, "production/default/a", "2"); /* comes while the answer is on its way */
    mp_truth_lose(truth, 100);
    mp_truth_delete(truth, "production/default/a"); /* only the answer tells of it */
    mp_sim_slow(sim, "net-answer", 1000, 1000);
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), MP_EABSENT);
    assert_int_equal(get("production/default/a", MP__LEVEL_WEAK), MP_EABSENT);
    mp_sim_slow(sim, "", 0, 0);
    world_close();
    truth = mp_truth_free(truth);
}

/* What the origin said was true when it said so; since then it has expired, or was replaced. */
static void a_value_that_expires_on_its_way_is_asked_for_again(void **state)
{
    int64_t at;
    mp__read read;
    mp_truth *truth;

    (void)state;
    truth = open_where_changes_are_slow();
    for (int is_replaced = 0; is_replaced < 2; is_replaced++) {
        mp_truth_lose(truth, 100);
        at = mp__env_wall_ms(mp_sim_env(sim)) + 500;
        assert_int_equal(change(MP__CHANGE_PUT, "production/default/a", "short", at), 0);
        mp_sim_slow(sim, "net-answer", 1000, 1000);
        prepare(&read, "production/default/a", MP__LEVEL_STRONG);
        read_is_done = false;
        assert_false(mp__read_start(manager, &read));
        mp_sim_run(sim, 20);
        mp_sim_slow(sim, "", 0, 0);
        if (is_replaced)
            mp_truth_put(truth, "production/default/a", "long");
        mp_sim_run(sim, 1500);
        assert_true(read_is_done);
        assert_int_equal(read.status, is_replaced ? 0 : MP_EABSENT);
        if (is_replaced)
            mp_assert_str(mp_blob_str(&read.entry->blob.pub), "long");
        (void)mp__entry_unref(read.entry);
    }
    world_close();
    truth = mp_truth_free(truth);
}

static void count_commits(void *context, const mp__change *change_asked, const mp__record *after)
{
    (void)change_asked;
    (void)after;
    (*(unsigned *)context)++;
}

/* The answer to a write on its way is lost, and it is found to be there when it is sent again. */
static void what_was_written_back_is_there_also_if_its_answer_was_lost(void **state)
{
    unsigned commits = 0, lost = 0;
    char address[48];
    mp_truth *truth;

    (void)state;
    option("cache.write_modes", "orders=back");
    truth = open_where_changes_are_slow();
    mp_truth_on_commit(truth, count_commits, &commits);
    for (int i = 0; i < 8; i++) {
        unsigned before;

        assert_int_equal(put("production/default/a", "1"), 0); /* so it is known: no schemas */
        before = commits;
        snprintf(address, sizeof(address), "production/orders/%d", i);
        assert_int_equal(get(address, MP__LEVEL_STRONG), MP_EABSENT); /* which is kept */
        mp_truth_cut(truth, 0, true);
        assert_int_equal(put(address, "mine"), 0);
        mp_sim_run(sim, 300);
        lost += commits > before;
        mp_truth_cut(truth, 0, false);
        mp_sim_run(sim, 1000);
        assert_int_equal(commits, before + 1);
        assert_int_equal(get(address, MP__LEVEL_WEAK), 0);
        assert_string_equal(got, "mine");
        assert_true(last.reason != MP__REASON_PENDING);
    }
    assert_true(lost > 0);
    world_close();
    truth = mp_truth_free(truth);
}

static void a_late_answer_of_what_it_was_changed_to_leaves_it_held_fresh(void **state)
{
    mp_str address = MP_STR("production/default/a");
    mp_truth *truth;

    (void)state;
    truth = open_where_changes_are_slow();
    mp_sim_slow(sim, "net-answer", 1000, 1000);
    mp_truth_put(truth, "production/default/a", "2"); /* told before the answer comes */
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), 0);
    mp_sim_run(sim, 2000);
    assert_int_equal(mp_read_begin(), 0);
    assert_non_null(mp__read_now(manager, address,
                                 mp__cache_hash(mp__manager_hasher(manager), address),
                                 MP__LEVEL_EVENTUAL, 0));
    mp_read_end();
    mp_sim_slow(sim, "", 0, 0);
    world_close();
    truth = mp_truth_free(truth);
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(a_fill_that_began_before_a_write_does_not_outlive_it),
    WORLD_TEST(a_fill_that_began_before_a_deletion_does_not_bring_back_what_was_deleted),
    WORLD_TEST(whoever_was_told_what_a_late_fill_brought_is_told_nothing_older),
    WORLD_TEST(a_late_change_does_not_bring_back_what_was_replaced),
    WORLD_TEST(a_late_change_does_not_bring_back_what_was_deleted),
    WORLD_TEST(whoever_was_told_of_a_deletion_is_not_told_the_value_after_it),
    WORLD_TEST(a_value_that_expires_on_its_way_is_asked_for_again),
    WORLD_TEST(what_was_written_back_is_there_also_if_its_answer_was_lost),
    WORLD_TEST(a_late_answer_of_what_it_was_changed_to_leaves_it_held_fresh),
};
MP_TEST_MAIN(tests)
