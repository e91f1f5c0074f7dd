/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager promises of reads, writes and changes, one by one, in a simulated machine. */
#include "mp_test.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/address.h"
#include "core/alloc.h"
#include "manager/internal.h"
#include "mp_truth.h"
#include "mp_world.h"

/* ---- a daemon without protocols ---- */

static int set_up(void **state)
{
    (void)state;
    world_begin(42, 50);
    world_open("/data");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_end();
    return 0;
}

/* ---- asking ---- */

static bool read_is_done;
static char got[256];

static void prepare(mp__read *read, const char *address, enum mp__level level)
{
    *read = (mp__read){.loop = loop,
                       .address = mp_str_of(address),
                       .hash = mp__cache_hash(mp__manager_hash_key(manager), mp_str_of(address)),
                       .identity = &identity,
                       .level = level,
                       .age_max_ms = -1,
                       .done = world_read_done,
                       .context = &read_is_done};
}

/* Run @read to its end and give its entry back; its value is in `got` then. Returns its status. */
static int run(mp__read *read)
{
    read_is_done = false;
    if (!mp__read_start(manager, read))
        world_wait(&read_is_done);
    got[0] = '\0';
    if (read->status == 0) {
        assert_true(read->entry->blob.pub.size < sizeof(got));
        memcpy(got, read->entry->blob.pub.data, read->entry->blob.pub.size);
        got[read->entry->blob.pub.size] = '\0';
    }
    (void)mp__entry_unref(read->entry);
    read->entry = NULL;
    return read->status;
}

static mp__read last;

static int get(const char *address, enum mp__level level)
{
    prepare(&last, address, level);
    return run(&last);
}

static uint64_t last_revision;

static int change(enum mp__change_op op, const char *address, const char *value, int64_t expires_ms)
{
    bool done = false;
    mp__change c = {.op = op,
                    .address = mp_str_of(address),
                    .value = mp_str_of(value),
                    .expires_ms = expires_ms};
    mp__write_request request = {.loop = loop,
                                 .identity = &identity,
                                 .changes = &c,
                                 .count = 1,
                                 .done = world_write_done,
                                 .context = &done};

    mp__write_start(manager, &request);
    world_wait(&done);
    (void)mp_blob_unref(request.old_value);
    if (request.status == 0)
        last_revision = request.revision;
    return request.status;
}

static int put(const char *address, const char *value)
{
    return change(MP__CHANGE_PUT, address, value, 0);
}

static uint64_t fetches(void)
{
    mp__buf json = MP__BUF_INIT;
    const char *at;
    uint64_t n;

    assert_int_equal(mp__manager_status(manager, &json), 0);
    assert_int_equal(mp__buf_add_char(&json, '\0'), 0);
    at = strstr(json.data, "\"fetches\":");
    assert_non_null(at);
    n = strtoull(at + 10, NULL, 10);
    mp__buf_done(&json);
    return n;
}

/* The same origin behind a cache that knows nothing. */
static void forget_all(void)
{
    static int n;
    char dir[32];

    world_close();
    snprintf(dir, sizeof(dir), "/fresh-%d", n++);
    option("origin.path", "/data/origin.db");
    world_open(dir);
}

static void origin_goes(void)
{
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/data/origin.db", "/away"), 0);
    mp_sim_run(sim, 3000);
}

static void origin_comes_back(void)
{
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/away", "/data/origin.db"), 0);
    mp_sim_run(sim, 3000);
}

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
    before = fetches();
    crowd_begins(0, CROWD, "production/default/a");
    assert_true(mp_sim_run_until(sim, all_answered, &all, 5000));
    assert_int_equal(found, CROWD);
    assert_int_equal(fetches() - before, 1);
    test_free(crowd);
}

static void also_those_who_learn_that_there_is_none(void **state)
{
    int all = CROWD;
    uint64_t before;

    (void)state;
    crowd = test_calloc(CROWD, sizeof(*crowd));
    answered = found = unknown = 0;
    before = fetches();
    crowd_begins(0, CROWD, "production/default/none");
    assert_true(mp_sim_run_until(sim, all_answered, &all, 5000));
    assert_int_equal(found + unknown, 0);
    assert_int_equal(fetches() - before, 1);
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
    before = fetches();
    mp_sim_slow(sim, "mp-origin-r", 3000, 3000);
    crowd_begins(0, 1, "production/default/a");
    mp_sim_run(sim, 1500);
    crowd_begins(1, all, "production/default/a");
    assert_true(mp_sim_run_until(sim, all_answered, &first, 1000));
    assert_int_equal(unknown, 1);
    assert_true(mp_sim_run_until(sim, all_answered, &all, 5000));
    assert_int_equal(found, all - 1);
    assert_int_equal(unknown, 1);
    assert_int_equal(fetches() - before, 1);
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
    before = fetches();
    began = mp__env_now_ns(mp_sim_env(sim));
    mp_sim_slow(sim, "mp-origin-r", 60000, 60000);
    crowd_begins(0, CROWD, "production/default/a");
    assert_true(mp_sim_run_until(sim, all_answered, &all, 30000));
    assert_int_equal(unknown, CROWD);
    assert_in_range((mp__env_now_ns(mp_sim_env(sim)) - began) / 1000000, 2000, 2300);
    mp_sim_slow(sim, "", 0, 0);
    mp_sim_run(sim, 3600000);
    assert_int_equal(fetches() - before, 1);
    test_free(crowd);
}

static void a_failing_origin_is_asked_once_by_a_crowd(void **state)
{
    int all = CROWD;
    uint64_t before;

    (void)state;
    forget_all();
    before = fetches();
    origin_goes();
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
    assert_in_range(fetches() - before, 0, 1);
    test_free(crowd);
}

/* ---- absent and unknown ---- */

static void absent_is_remembered_until_it_is_written(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EABSENT);
    before = fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), MP_EABSENT);
    assert_int_equal(fetches(), before);
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
    origin_goes();
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
    origin_goes();
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
    origin_goes();
    world_close();
    mp_sim_run(sim, 60000);
    world_open("/data");
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
    assert_true(last.stale);
    assert_in_range(last.age_ms, 60000, 70000);
    origin_comes_back();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_false(last.stale);
}

static void a_live_origin_holds_entries_fresh_and_a_hit_asks_nobody(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_sim_run(sim, 1800000);
    before = fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_FRESH);
    assert_int_equal(last.tier, MP__TIER_L1);
    assert_int_equal(fetches(), before);
}

static void past_its_ttl_a_value_is_served_and_verified_behind(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    mp_sim_run(sim, 4020000); /* a minute behind cache.default_ttl and its jitter */
    before = fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_VERIFIED); /* last vouched for before the hard bound */
    assert_int_equal(fetches() - before, 1);
    assert_int_equal(mp__options_set(options, "cache.default_ttl", "10s", NULL), 0);
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    assert_int_equal(put("production/default/a", "2"), 0);
    mp_sim_run(sim, 60000);
    before = fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_REFRESHING);
    assert_false(last.stale);
    mp_sim_run(sim, 1000);
    assert_int_equal(fetches() - before, 1);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(last.reason, MP__REASON_FRESH);
}

static void a_strong_read_and_an_age_of_nothing_ask_the_origin(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    before = fetches();
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), 0);
    assert_int_equal(last.reason, MP__REASON_VERIFIED);
    assert_int_equal(fetches() - before, 1);
}

static void a_reader_who_has_seen_more_is_not_given_less(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    origin_goes();
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
    origin_goes();
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
    before = fetches();
    mp_sim_slow(sim, "mp-origin-r", 800, 800);
    prepare(&early, "production/default/a", MP__LEVEL_EVENTUAL);
    early.context = &early_is_done;
    assert_false(mp__read_start(manager, &early));
    mp_sim_run(sim, 500);
    prepare(&last, "production/default/a", MP__LEVEL_EVENTUAL);
    last.age_max_ms = 100;
    assert_int_equal(run(&last), 0);
    mp_sim_run(sim, 2000);
    assert_int_equal(fetches() - before, 2);
    (void)mp__entry_unref(early.entry);
}

/* ---- fills and writes that meet ---- */

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
                                 mp__cache_hash(mp__manager_hash_key(manager), address),
                                 MP__LEVEL_EVENTUAL, 0));
    mp_read_end();
    mp_sim_slow(sim, "", 0, 0);
    world_close();
    truth = mp_truth_free(truth);
}

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

static void writes_are_refused_without_an_origin_and_nothing_changes(void **state)
{
    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    origin_goes();
    assert_int_not_equal(put("production/default/a", "2"), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "1");
    origin_comes_back();
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

/* ---- preload ---- */

static char status_text[65536];

static const char *status(void)
{
    mp__buf json = MP__BUF_INIT;

    assert_int_equal(mp__manager_status(manager, &json), 0);
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
    int rc = mp__preload_start(manager, patterns, 1, NULL);

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
    before = fetches();
    assert_int_equal(get("production/app/k7", MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "value");
    assert_int_equal(last.reason, MP__REASON_FRESH);
    assert_int_equal(last.tier, MP__TIER_L1);
    assert_int_equal(fetches(), before);
    assert_int_equal(get("production/other/k7", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(fetches(), before + 1);
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

static bool is_answered_now(mp_str address)
{
    const mp__entry *entry;

    assert_int_equal(mp_read_begin(), 0);
    entry = mp__read_now(manager, address, mp__cache_hash(mp__manager_hash_key(manager), address),
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
    assert_int_equal(mp__preload_start(manager, patterns, 1, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "environment/namespace/ke*"));
    assert_int_equal(mp__preload_start(manager, patterns, 0, &diag), MP_EINVAL);
}

static void one_preload_at_a_time(void **state)
{
    mp_str patterns[] = {MP_STR("production/app/*")};

    (void)state;
    put_many("app", 5);
    assert_int_equal(mp__preload_start(manager, patterns, 1, NULL), 0);
    assert_int_equal(mp__preload_start(manager, patterns, 1, NULL), MP_ELIMIT);
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
    before = fetches();
    assert_int_equal(get("production/app/k3", MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(fetches(), before);
}

static void a_preload_that_finds_no_origin_comes_when_it_is_back(void **state)
{
    (void)state;
    put_many("app", 5);
    origin_goes();
    world_close();
    option("cache.preload", "production/app/*");
    world_open("/data");
    assert_true(mp_sim_run_until(sim, preload_ended, NULL, 60000));
    assert_non_null(strstr(status(), "\"state\":\"failed\""));
    origin_comes_back();
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
    assert_int_equal(mp__preload_start(manager, patterns, 1, NULL), 0);
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
    origin_goes();
    assert_string_equal(heard, "stale  0;");
    assert_null(mp__watch_remove(watcher));
    assert_int_equal(mp__watch_add(manager, loop, hear, NULL, &begin, &watcher), 0);
    assert_true(begin.stale);
    origin_comes_back();
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
    origin_goes();
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
    uint64_t hash = mp__cache_hash(mp__manager_hash_key(manager), address);

    (void)state;
    assert_int_equal(put("production/default/a", "1"), 0);
    origin_goes();
    assert_int_equal(mp__manager_explain(manager, address, hash, &json), 0);
    assert_int_equal(mp__buf_add_char(&json, '\0'), 0);
    assert_non_null(strstr(json.data, "origin-lost"));
    assert_non_null(strstr(json.data, "\"L1\""));
    assert_non_null(strstr(json.data, "\"L3\""));
    mp__buf_done(&json);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    FRESH(ten_thousand_misses_are_one_question),
    FRESH(also_those_who_learn_that_there_is_none),
    FRESH(who_gives_up_takes_nobody_with_him),
    FRESH(a_hanging_origin_is_asked_once_and_everybody_is_answered_in_time),
    FRESH(a_failing_origin_is_asked_once_by_a_crowd),
    FRESH(absent_is_remembered_until_it_is_written),
    FRESH(without_an_origin_what_was_never_seen_is_unknown_and_what_was_deleted_absent),
    FRESH(without_an_origin_each_level_keeps_its_promise),
    FRESH(the_age_goes_on_over_a_restart_without_an_origin),
    FRESH(a_live_origin_holds_entries_fresh_and_a_hit_asks_nobody),
    FRESH(past_its_ttl_a_value_is_served_and_verified_behind),
    FRESH(a_strong_read_and_an_age_of_nothing_ask_the_origin),
    FRESH(a_reader_who_has_seen_more_is_not_given_less),
    FRESH(a_clock_that_is_set_back_makes_nothing_younger),
    FRESH(an_answer_that_took_long_is_as_old_as_the_question),
    FRESH(a_reader_with_an_age_of_his_own_asks_anew),
    FRESH(a_fill_that_began_before_a_write_does_not_outlive_it),
    FRESH(a_fill_that_began_before_a_deletion_does_not_bring_back_what_was_deleted),
    FRESH(whoever_was_told_what_a_late_fill_brought_is_told_nothing_older),
    FRESH(a_late_change_does_not_bring_back_what_was_replaced),
    FRESH(a_late_change_does_not_bring_back_what_was_deleted),
    FRESH(whoever_was_told_of_a_deletion_is_not_told_the_value_after_it),
    FRESH(a_value_that_expires_on_its_way_is_asked_for_again),
    FRESH(what_was_written_back_is_there_also_if_its_answer_was_lost),
    FRESH(a_late_answer_of_what_it_was_changed_to_leaves_it_held_fresh),
    FRESH(a_value_past_its_expiry_is_not_there),
    FRESH(writes_are_refused_without_an_origin_and_nothing_changes),
    FRESH(a_full_disk_refuses_writes_only_while_it_is_full),
    FRESH(what_was_preloaded_is_read_without_asking),
    FRESH(a_preload_of_one_key_brings_that_one),
    FRESH(a_preload_keeps_to_its_budget),
    FRESH(first_reads_that_a_preload_saved_are_counted),
    FRESH(the_hot_path_answers_only_while_everybody_may_read_everything),
    FRESH(a_pattern_that_is_none_is_refused_with_how_to_write_it),
    FRESH(one_preload_at_a_time),
    FRESH(what_the_configuration_names_is_preloaded_at_the_start),
    FRESH(a_preload_that_finds_no_origin_comes_when_it_is_back),
    FRESH(a_preload_and_writes_that_meet_leave_the_newest),
    FRESH(watchers_hear_of_every_change_in_its_order),
    FRESH(watchers_hear_that_the_origin_went_and_came_back),
    FRESH(pins_of_a_newer_version_are_refused),
    FRESH(a_data_directory_serves_one_daemon),
    FRESH(a_lost_origin_is_never_begun_anew_unless_it_is_said),
    FRESH(an_origin_that_lost_its_newest_commits_gets_them_back),
    FRESH(explain_says_why),
};
MP_TEST_MAIN(tests)
