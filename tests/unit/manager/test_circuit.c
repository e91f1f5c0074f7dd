/* SPDX-License-Identifier: Apache-2.0 */
/* An origin that hangs is waited for by few, and asked by fewer. */
#include <pthread.h>
#include <sched.h>

#include "manager/internal.h"
#include "mp_reads.h"
#include "mp_truth.h"

/* ---- the machine by itself ---- */

enum { MS = 1000000, TIMEOUT_MS = 500 };
#define PAUSE_NS ((uint64_t)MP__CIRCUIT_PAUSE_FIRST_MS * MS)

static mp__circuit circuit;

static bool is_late(uint64_t asked_ms, uint64_t now_ms)
{
    return mp__circuit_late(&circuit, asked_ms * MS, now_ms * MS, 0);
}

/* Time goes on to that; @random as in the pauses. */
static bool probes(uint64_t now_ms)
{
    return mp__circuit_probes(&circuit, now_ms * MS, (uint64_t)TIMEOUT_MS * MS, 0);
}

static void answered(uint64_t now_ms)
{
    if (mp__circuit_answered(&circuit, now_ms * MS))
        (void)mp__circuit_close(&circuit);
}

static int set_up(void **state)
{
    (void)state;
    circuit = (mp__circuit){0};
    mp__circuit_init(&circuit);
    answered(1);
    return 0;
}

static void it_opens_at_the_third_question_in_a_row_without_an_answer(void **state)
{
    (void)state;
    assert_false(is_late(10, 510));
    assert_false(is_late(11, 511));
    assert_false(mp__circuit_is_open(&circuit));
    assert_true(is_late(12, 512));
    assert_true(mp__circuit_is_open(&circuit));
    assert_false(is_late(13, 513)); /* it is open already */
    assert_int_equal(circuit.opened, 1);
    assert_int_equal(circuit.late, 4);
}

static void an_answer_begins_the_row_anew(void **state)
{
    (void)state;
    assert_false(is_late(10, 510));
    assert_false(is_late(11, 511));
    answered(512);
    assert_false(is_late(513, 1013));
    assert_false(is_late(514, 1014));
    assert_true(is_late(515, 1015));
}

static void who_waits_in_line_behind_answers_does_not_open_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) { /* all asked at 10, one answered each 100 ms */
        answered(110 + i * 100);
        assert_false(is_late(10, 510 + i * 100));
    }
    assert_false(mp__circuit_is_open(&circuit));
}

static void probes_come_after_pauses_that_grow_up_to_a_bound(void **state)
{
    uint64_t now = 12 + TIMEOUT_MS, pause = MP__CIRCUIT_PAUSE_FIRST_MS;

    (void)state;
    assert_false(probes(now)); /* it is closed */
    (void)is_late(10, now);
    (void)is_late(11, now);
    assert_true(is_late(12, now));
    for (int i = 0; i < 6; i++) {
        assert_false(probes(now + pause - 1));
        now += pause;
        assert_true(probes(now));
        assert_string_equal(mp__state_name(&circuit.state), "half-open");
        assert_true(mp__circuit_is_open(&circuit)); /* nobody waits for the probe */
        assert_false(probes(now + TIMEOUT_MS - 1));
        now += TIMEOUT_MS;
        assert_false(probes(now)); /* it was not answered either */
        assert_string_equal(mp__state_name(&circuit.state), "open");
        pause = pause * 2 < MP__CIRCUIT_PAUSE_LAST_MS ? pause * 2 : MP__CIRCUIT_PAUSE_LAST_MS;
    }
    assert_int_equal(pause, MP__CIRCUIT_PAUSE_LAST_MS);
}

static void any_answer_closes_it_and_the_pauses_begin_anew(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        uint64_t now = (uint64_t)(round + 1) * 100000;

        (void)is_late(now - 10, now);
        (void)is_late(now - 10, now);
        assert_true(is_late(now - 10, now));
        assert_int_equal(circuit.due_ns, now * MS + PAUSE_NS);
        assert_true(probes(now + MP__CIRCUIT_PAUSE_FIRST_MS));
        assert_true(mp__circuit_answered(&circuit, (now + 501) * MS));
        assert_true(mp__circuit_close(&circuit));
        assert_false(mp__circuit_close(&circuit));
        assert_false(mp__circuit_is_open(&circuit));
        assert_false(mp__circuit_answered(&circuit, (now + 502) * MS)); /* nothing to do */
    }
    assert_int_equal(circuit.opened, 2);
}

static void pauses_differ_by_chance_by_up_to_a_half(void **state)
{
    (void)state;
    (void)mp__circuit_late(&circuit, 10 * MS, 510 * MS, 0);
    (void)mp__circuit_late(&circuit, 10 * MS, 510 * MS, 0);
    assert_true(mp__circuit_late(&circuit, 10 * MS, (uint64_t)510 * MS, UINT64_MAX));
    assert_in_range(circuit.due_ns, (uint64_t)510 * MS + PAUSE_NS,
                    (uint64_t)510 * MS + PAUSE_NS + PAUSE_NS / 2);
}

/* ---- in the manager ---- */

static mp_truth *truth;
static int heard[MP__EVENT_FRESH + 1];
static mp__watcher *watcher;

static void hear(void *context, const mp__event *events, size_t count)
{
    (void)context;
    for (size_t i = 0; i < count; i++)
        heard[events[i].kind]++;
}

static int set_up_manager(void **state)
{
    mp__watch_start start;

    (void)state;
    world_begin(11, 50);
    truth = mp_truth_new(sim);
    option("origin.timeout", "500ms");
    option("overlay.base", "");
    option("cache.eventual_bound", "100ms");
    for (int i = 0; i < 10; i++) {
        char address[32];

        snprintf(address, sizeof(address), "production/default/%c", 'a' + i);
        mp_truth_put(truth, address, address);
    }
    assert_int_equal(world_try_open("/data", false, mp_truth_origin(truth), NULL), 0);
    mp_sim_run(sim, 2000);
    memset(heard, 0, sizeof(heard));
    assert_int_equal(mp__watch_add(manager, loop, hear, NULL, &start, &watcher), 0);
    assert_int_equal(get("production/default/a", MP__LEVEL_STRONG), 0);
    return 0;
}

static int tear_down_manager(void **state)
{
    (void)state;
    watcher = mp__watch_remove(watcher);
    world_close();
    truth = mp_truth_free(truth);
    world_end();
    return 0;
}

/* The status of a read of @key, of one letter, and how long it took. */
static uint64_t took_ms;
static int read_key(char key, enum mp__level level)
{
    uint64_t began = mp__env_now_ns(mp_sim_env(sim));
    char address[32];
    int status;

    snprintf(address, sizeof(address), "production/default/%c", key);
    status = get(address, level);
    took_ms = (mp__env_now_ns(mp_sim_env(sim)) - began) / MS;
    return status;
}

/* The origin hangs, and three reads have found that out. */
static void open_it(void)
{
    mp_truth_stop(truth, 0, true);
    for (char key = 'b'; key < 'e'; key++) {
        assert_false(mp__circuit_is_open(&manager->circuit));
        assert_int_equal(read_key(key, MP__LEVEL_EVENTUAL), MP_EUNKNOWN);
        assert_in_range(took_ms, TIMEOUT_MS, TIMEOUT_MS + 200);
    }
    assert_true(mp__circuit_is_open(&manager->circuit));
    mp_sim_run(sim, 10);
}

static void reads_of_what_is_not_kept_fail_at_once_when_it_is_open(void **state)
{
    (void)state;
    open_it();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(read_key((char)('e' + i % 5), MP__LEVEL_EVENTUAL), MP_EUNKNOWN);
        assert_true(took_ms < 10);
        assert_int_equal(last.reason, MP__REASON_ORIGIN_SLOW);
        assert_int_equal(read_key((char)('e' + i % 5), MP__LEVEL_STRONG), MP_EUNKNOWN);
        assert_true(took_ms < 10);
    }
    assert_int_equal(atomic_load(&manager->flights_under_way), 3);
    mp_sim_run(sim, 60000); /* and whatever time it takes, one probe more */
    assert_int_equal(atomic_load(&manager->flights_under_way), 4);
    assert_int_equal(manager->circuit.refused, 200);
}

static void what_is_kept_is_answered_stale_with_its_age_and_strong_reads_get_an_error(void **state)
{
    (void)state;
    open_it();
    assert_int_equal(read_key('a', MP__LEVEL_EVENTUAL), 0);
    assert_true(took_ms < 10);
    assert_string_equal(got, "production/default/a");
    assert_true(last.stale);
    assert_int_equal(last.reason, MP__REASON_ORIGIN_SLOW);
    assert_in_range(last.age_ms, 3 * TIMEOUT_MS,
                    3 * TIMEOUT_MS + 600); /* since the first question */
    mp_sim_run(sim, 3000);
    assert_int_equal(read_key('a', MP__LEVEL_WEAK), 0);
    assert_true(last.stale);
    assert_in_range(last.age_ms, 3000 + 3 * TIMEOUT_MS, 3000 + 3 * TIMEOUT_MS + 600);
    assert_int_equal(read_key('a', MP__LEVEL_STRONG), MP_EORIGIN);
    assert_true(took_ms < 10);
}

/* A write of @change that nobody waits for yet. */
static void begin_write(mp__write_request *request, mp__change *change, bool *done)
{
    *request = (mp__write_request){.loop = loop,
                                   .identity = &identity,
                                   .changes = change,
                                   .count = 1,
                                   .done = world_write_done,
                                   .context = done};
    mp__write_start(manager, request);
}

static void behind_a_write_that_stands_writes_are_refused_at_once_and_change_nothing(void **state)
{
    static mp__write_request first;
    bool done = false;
    mp__change change = {
        .op = MP__CHANGE_PUT, .address = MP_STR("production/default/a"), .value = MP_STR("new")};
    mp__change other = {
        .op = MP__CHANGE_PUT, .address = MP_STR("production/default/b"), .value = MP_STR("late")};
    mp__write_request dry = {.changes = &change, .count = 1, .dry_run = true};
    uint64_t began;

    (void)state;
    open_it();
    begin_write(&first, &other, &done); /* nobody knows of writes: it is a probe */
    mp_sim_run(sim, TIMEOUT_MS + 10);
    began = mp__env_now_ns(mp_sim_env(sim));
    assert_int_equal(put("production/default/a", "new"), MP_ETIMEOUT);
    assert_int_equal(world_write(&dry), MP_ETIMEOUT);
    assert_true(mp__env_now_ns(mp_sim_env(sim)) - began < (uint64_t)20 * MS);
    assert_non_null(strstr(dry.text, "nothing was changed"));
    assert_false(done);
    mp_truth_stop(truth, 0, false);
    world_wait(&done);
    assert_int_equal(first.status, 0);
    mp_sim_run(sim, 2000);
    assert_int_equal(read_key('a', MP__LEVEL_STRONG), 0);
    assert_string_equal(got, "production/default/a");
    assert_int_equal(read_key('b', MP__LEVEL_STRONG), 0);
    assert_string_equal(got, "late");
    assert_int_equal(put("production/default/a", "new"), 0);
}

/* Three questions without an answer, though the origin answers: its reader is busy. */
static void open_by_questions(void)
{
    uint64_t asked;

    mp_sim_run(sim, TIMEOUT_MS);
    asked = mp__env_now_ns(mp_sim_env(sim));
    for (int i = 0; i < MP__CIRCUIT_LATE_MAX; i++)
        mp__origin_is_late(manager, asked);
    assert_true(mp__circuit_is_open(&manager->circuit));
}

static void questions_without_an_answer_refuse_no_write_and_its_answer_closes_it(void **state)
{
    mp__change change = {
        .op = MP__CHANGE_PUT, .address = MP_STR("production/default/a"), .value = MP_STR("dry")};
    mp__write_request dry = {.changes = &change, .count = 1, .dry_run = true};

    (void)state;
    assert_int_equal(put("production/default/b", "1"), 0);
    open_by_questions();
    assert_int_equal(world_write(&dry), 0);
    assert_true(mp__circuit_is_open(&manager->circuit)); /* a dry run asks nothing */
    assert_int_equal(put("production/default/a", "new"), 0);
    assert_false(mp__circuit_is_open(&manager->circuit));
    assert_int_equal(read_key('a', MP__LEVEL_STRONG), 0);
    assert_string_equal(got, "new");
}

static void what_a_schema_is_about_is_not_written_while_it_is_open(void **state)
{
    (void)state;
    assert_int_equal(put("production/_schema/default", "{\"type\":\"object\"}"), 0);
    assert_int_equal(put("production/default/a", "\"1\""), 0);
    open_by_questions();
    assert_int_equal(put("production/default/a", "\"2\""), MP_EORIGIN);
    assert_true(mp__circuit_is_open(&manager->circuit));
}

static void a_write_that_could_not_say_in_its_time_closes_nothing(void **state)
{
    static mp__write_request request;
    mp__change change = {
        .op = MP__CHANGE_PUT, .address = MP_STR("production/default/i"), .value = MP_STR("late")};
    bool done = false;

    (void)state;
    begin_write(&request, &change, &done);
    world_wait(&done);
    open_it();
    mp__overlay_asks(manager, change.address); /* once more, and the answer is as SQLITE_BUSY's */
    atomic_store(&manager->writes_under_way, 1);
    request.write.done(&request.write, MP_ETIMEOUT);
    assert_true(mp__circuit_is_open(&manager->circuit));
    assert_int_equal(request.status, MP_ETIMEOUT);
    mp_sim_run(sim, 10);
}

static bool query_is_done;
static void query_done(mp__query *query)
{
    (void)query;
    query_is_done = true;
}

static void what_is_asked_of_its_past_does_not_wait_either(void **state)
{
    mp__query query = {.kind = MP__QUERY_HISTORY,
                       .loop = loop,
                       .identity = &identity,
                       .address = MP_STR("production/default/a"),
                       .limit = 1,
                       .done = query_done};
    uint64_t began;

    (void)state;
    open_it();
    began = mp__env_now_ns(mp_sim_env(sim));
    query_is_done = false;
    mp__query_start(manager, &query);
    world_wait(&query_is_done);
    assert_int_equal(query.status, MP_ETIMEOUT);
    assert_true(mp__env_now_ns(mp_sim_env(sim)) - began < (uint64_t)100 * MS);
    mp__query_done(&query);
}

static void the_first_answer_closes_it_and_everybody_is_told(void **state)
{
    mp__summary summary;
    mp__buf status = MP__BUF_INIT;

    (void)state;
    open_it();
    mp_sim_run(sim, 100);
    assert_int_equal(heard[MP__EVENT_STALE], 1);
    assert_int_equal(heard[MP__EVENT_FRESH], 0);
    mp__manager_summary(manager, &summary);
    assert_true(summary.silent && summary.degraded && !summary.writable && summary.ready);
    assert_non_null(strstr(summary.text, "origin silent"));
    assert_string_equal(summary.state, "silent");
    assert_int_equal(mp__manager_status(manager, &identity, &status), 0);
    assert_int_equal(mp__buf_add_char(&status, '\0'), 0);
    assert_non_null(strstr(status.data, "\"state\":\"silent\",\"writable\":false,"
                                        "\"circuit\":{\"state\":\"open\""));
    assert_non_null(strstr(status.data, "\"origin-silent\""));
    mp__buf_reset(&status);
    mp_truth_stop(truth, 0, false);
    mp_sim_run(sim, 2000);
    assert_false(mp__circuit_is_open(&manager->circuit));
    assert_int_equal(heard[MP__EVENT_STALE], 1);
    assert_int_equal(heard[MP__EVENT_FRESH], 1);
    mp__manager_summary(manager, &summary);
    assert_false(summary.silent || summary.degraded);
    assert_string_equal(summary.text, "");
    assert_string_equal(summary.state, "live");
    assert_int_equal(mp__manager_status(manager, &identity, &status), 0);
    assert_int_equal(mp__buf_add_char(&status, '\0'), 0);
    assert_non_null(strstr(status.data, "\"origin-answers\""));
    mp__buf_done(&status);
    for (char key = 'a'; key < 'k'; key++) {
        assert_int_equal(read_key(key, MP__LEVEL_EVENTUAL), 0);
        assert_false(last.stale);
    }
}

static void what_changed_meanwhile_is_not_answered_as_fresh(void **state)
{
    (void)state;
    open_it();
    mp_truth_lose(truth, 100); /* nobody tells of it */
    mp_truth_put(truth, "production/default/a", "changed");
    assert_int_equal(read_key('a', MP__LEVEL_EVENTUAL), 0);
    assert_true(last.stale);
    mp_truth_stop(truth, 0, false);
    mp_sim_run(sim, 2000);
    (void)read_key('a', MP__LEVEL_EVENTUAL); /* perhaps verified behind */
    mp_sim_run(sim, 1000);
    assert_int_equal(read_key('a', MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "changed");
}

static void a_slow_origin_that_answers_opens_nothing(void **state)
{
    (void)state;
    mp_sim_slow(sim, "net-answer", TIMEOUT_MS * 8 / 10, TIMEOUT_MS * 8 / 10);
    for (char key = 'b'; key < 'k'; key++)
        assert_int_equal(read_key(key, MP__LEVEL_EVENTUAL), 0);
    /* and one that is slower than everybody waits for, as long as it answers */
    mp_sim_slow(sim, "net-answer", TIMEOUT_MS * 2, TIMEOUT_MS * 2);
    for (int i = 0; i < 20; i++) {
        (void)read_key((char)('a' + i % 10), MP__LEVEL_STRONG);
        assert_false(mp__circuit_is_open(&manager->circuit));
    }
    assert_int_equal(manager->circuit.opened, 0);
    assert_true(manager->circuit.late > 0);
}

static void however_many_wait_for_one_key_they_are_one_question(void **state)
{
    enum { WAITERS = 50 };
    static mp__read reads[WAITERS];

    (void)state;
    mp_truth_stop(truth, 0, true);
    for (int i = 0; i < WAITERS; i++) {
        prepare(&reads[i], "production/default/b", MP__LEVEL_EVENTUAL);
        assert_false(mp__read_start(manager, &reads[i]));
    }
    mp_sim_run(sim, 3 * TIMEOUT_MS);
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(reads[i].status, MP_EUNKNOWN);
    assert_int_equal(manager->circuit.late, 1);
    assert_false(mp__circuit_is_open(&manager->circuit));
}

static void a_write_that_nobody_answers_opens_it_and_its_answer_closes_it(void **state)
{
    bool done = false;
    mp__change change = {
        .op = MP__CHANGE_PUT, .address = MP_STR("production/default/a"), .value = MP_STR("late")};
    mp__write_request request = {.loop = loop,
                                 .identity = &identity,
                                 .changes = &change,
                                 .count = 1,
                                 .done = world_write_done,
                                 .context = &done};

    (void)state;
    assert_int_equal(put("production/default/b", "1"), 0); /* what schemas there are is known */
    mp_truth_stop(truth, 0, true);
    mp__write_start(manager, &request);
    mp_sim_run(sim, MP__CIRCUIT_WRITE_TIMES * TIMEOUT_MS - 100);
    assert_false(mp__circuit_is_open(&manager->circuit));
    mp_sim_run(sim, 300);
    assert_true(mp__circuit_is_open(&manager->circuit));
    assert_int_equal(put("production/default/c", "1"), MP_ETIMEOUT); /* behind it nobody waits */
    mp_truth_stop(truth, 0, false);
    world_wait(&done);
    assert_int_equal(request.status, 0);
    mp_sim_run(sim, 100);
    assert_false(mp__circuit_is_open(&manager->circuit));
    assert_int_equal(read_key('a', MP__LEVEL_EVENTUAL), 0);
    assert_string_equal(got, "late");
}

static void a_slow_write_beside_reads_that_are_answered_opens_nothing(void **state)
{
    (void)state;
    atomic_store(&manager->writes_under_way, 1); /* one that takes for ever */
    atomic_store(&manager->writes_moved_ns, mp__env_now_ns(mp_sim_env(sim)));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(read_key('a', MP__LEVEL_STRONG), 0);
        mp_sim_run(sim, TIMEOUT_MS);
    }
    assert_false(mp__circuit_is_open(&manager->circuit));
    atomic_store(&manager->writes_under_way, 0);
}

/* What its events say last of @what. */
static const char *told(const char *what)
{
    const char *text = "";

    for (size_t i = 0; i < manager->notable_count && i < MP__EVENTS_KEPT; i++)
        if (strcmp(manager->notables[i].what, what) == 0)
            text = manager->notables[i].text;
    return text;
}

static void what_is_told_of_its_opening_is_why(void **state)
{
    (void)state;
    open_it();
    assert_non_null(strstr(told("origin-silent"), "within origin.timeout"));
    mp_truth_stop(truth, 0, false);
    mp_sim_run(sim, 2000);
    assert_false(mp__circuit_is_open(&manager->circuit));
    assert_non_null(strstr(told("origin-answers"), "is verified"));
    open_by_questions(); /* each ended at once: as SQLITE_BUSY does */
    assert_null(strstr(told("origin-silent"), "within origin.timeout"));
    assert_non_null(strstr(told("origin-silent"), "busy or locked"));
}

static void an_answer_of_an_origin_that_is_down_promises_nothing(void **state)
{
    (void)state;
    mp_truth_cut(truth, 0, true);
    mp_sim_run(sim, 2 * MP_TRUTH_LEASE_MS + 1000);
    assert_false(mp__origin_vouches(manager));
    open_by_questions();
    mp__origin_answered(manager);
    assert_false(mp__circuit_is_open(&manager->circuit));
    assert_null(strstr(told("origin-answers"), "is verified"));
    assert_non_null(strstr(told("origin-answers"), "cannot be asked"));
}

static void *comes_up(void *context)
{
    (void)context;
    mp__change_state(manager, MP__ORIGIN_DOWN, MP__ORIGIN_LIVE, "a test");
    return NULL;
}

static void *falls_silent(void *context)
{
    (void)context;
    for (int i = 0; i < MP__CIRCUIT_LATE_MAX; i++)
        mp__origin_is_late(manager, mp__env_now_ns(manager->env));
    return NULL;
}

/* Both stop where they note what happened. The one that comes up has a watch by then. */
static void who_watches_hears_last_that_it_is_silent_when_it_is(void **state)
{
    pthread_t up, silent;

    (void)state;
    mp__change_state(manager, MP__ORIGIN_LIVE, MP__ORIGIN_DOWN, "a test");
    mp_sim_run(sim, 100);
    (void)pthread_mutex_lock(&manager->notable_lock);
    assert_int_equal(pthread_create(&up, NULL, comes_up, NULL), 0);
    while (atomic_load(&manager->generation) == 0)
        (void)sched_yield();
    while (pthread_mutex_trylock(&manager->circuit_lock) != 0) /* what it does under it is done */
        (void)sched_yield();
    atomic_store(&manager->told_stale, false);
    (void)pthread_mutex_unlock(&manager->circuit_lock);
    assert_int_equal(pthread_create(&silent, NULL, falls_silent, NULL), 0);
    while (!atomic_load(&manager->told_stale))
        (void)sched_yield();
    (void)pthread_mutex_unlock(&manager->notable_lock);
    assert_int_equal(pthread_join(up, NULL), 0);
    assert_int_equal(pthread_join(silent, NULL), 0);
    assert_true(mp__circuit_is_open(&manager->circuit));
    assert_true(atomic_load(&manager->told_stale));
}

static bool preload_is(const char *state)
{
    mp__buf json = MP__BUF_INIT;
    char member[32];
    bool is;

    snprintf(member, sizeof(member), "\"state\":\"%s\"", state);
    assert_int_equal(mp__manager_preload(manager, &identity, &json), 0);
    assert_int_equal(mp__buf_add_char(&json, '\0'), 0);
    is = strstr(json.data, member) != NULL;
    mp__buf_done(&json);
    return is;
}

static void a_preload_that_nobody_answers_opens_it_and_goes_on_at_the_answer(void **state)
{
    mp_str pattern = MP_STR("production/default/*");

    (void)state;
    mp_truth_stop(truth, 0, true);
    assert_int_equal(mp__preload_start(manager, &identity, &pattern, 1, 0, NULL), 0);
    mp_sim_run(sim, TIMEOUT_MS + 100);
    assert_int_equal(manager->circuit.late, 1); /* as one question, however often one looks */
    mp_sim_run(sim, (MP__CIRCUIT_WRITE_TIMES - 1) * TIMEOUT_MS - 200);
    assert_int_equal(manager->circuit.late, 1);
    assert_false(mp__circuit_is_open(&manager->circuit));
    mp_sim_run(sim, 300);
    assert_true(mp__circuit_is_open(&manager->circuit));
    assert_true(preload_is("running"));
    assert_int_equal(mp__preload_start(manager, &identity, &pattern, 1, 0, NULL), MP_ETIMEOUT);
    mp_truth_stop(truth, 0, false);
    mp_sim_run(sim, 1000);
    assert_false(mp__circuit_is_open(&manager->circuit));
    assert_true(preload_is("done"));
    assert_int_equal(read_key('j', MP__LEVEL_EVENTUAL), 0);
}

/* The page is the only question that is under way. */
static void the_page_of_a_preload_is_an_answer_that_closes_it(void **state)
{
    mp_str pattern = MP_STR("production/default/*");

    (void)state;
    mp_sim_slow(sim, "net-answer", 4 * TIMEOUT_MS, 4 * TIMEOUT_MS);
    assert_int_equal(mp__preload_start(manager, &identity, &pattern, 1, 0, NULL), 0);
    mp_sim_run(sim, MP__CIRCUIT_WRITE_TIMES * TIMEOUT_MS + 200);
    assert_true(mp__circuit_is_open(&manager->circuit));
    mp_sim_run(sim, TIMEOUT_MS);
    assert_true(preload_is("done"));
    assert_false(mp__circuit_is_open(&manager->circuit));
    mp_sim_slow(sim, "", 0, 0);
}

static void a_slow_preload_beside_reads_that_are_answered_opens_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(read_key('a', MP__LEVEL_STRONG), 0);
        mp__origin_page_stands(manager, 1 /* its page takes for ever */,
                               mp__env_now_ns(mp_sim_env(sim)));
        assert_false(mp__circuit_is_open(&manager->circuit));
        mp_sim_run(sim, TIMEOUT_MS);
    }
}

static void a_daemon_that_was_halted_blames_nobody(void **state)
{
    static mp__read reads[3];

    (void)state;
    mp_truth_stop(truth, 0, true);
    atomic_store(&manager->timeout_ms, 100000);
    for (int i = 0; i < 3; i++) {
        prepare(&reads[i],
                i == 0   ? "production/default/b"
                : i == 1 ? "production/default/c"
                         : "production/default/d",
                MP__LEVEL_EVENTUAL);
        assert_false(mp__read_start(manager, &reads[i]));
    }
    mp_sim_run(sim, 2 * TIMEOUT_MS);
    atomic_store(&manager->timeout_ms, TIMEOUT_MS);
    atomic_store(&manager->scanned_ns, mp__env_now_ns(mp_sim_env(sim)) - 2000 * (uint64_t)MS);
    mp__manager_deadlines(manager, loop); /* the first look after that */
    assert_int_equal(manager->circuit.late, 0);
    mp__manager_deadlines(manager, loop); /* and that of the next loop */
    assert_int_equal(manager->circuit.late, 0);
    mp_sim_run(sim, TIMEOUT_MS - 100);
    assert_int_equal(manager->circuit.late, 0);
    mp_sim_run(sim, 300); /* but who is silent still is silent */
    assert_true(mp__circuit_is_open(&manager->circuit));
}

static void a_daemon_that_was_halted_does_not_blame_a_write_either(void **state)
{
    uint64_t now;

    (void)state;
    mp_sim_run(sim, 10000);
    now = mp__env_now_ns(mp_sim_env(sim));
    atomic_store(&manager->writes_under_way, 1);
    atomic_store(&manager->writes_moved_ns, now - 9000 * (uint64_t)MS);
    atomic_store(&manager->scanned_ns, now - 8000 * (uint64_t)MS);
    mp__manager_deadlines(manager, loop);
    mp__manager_deadlines(manager, loop);
    mp_sim_run(sim, TIMEOUT_MS - 100);
    assert_false(mp__circuit_is_open(&manager->circuit));
    mp_sim_run(sim, 300);
    assert_true(mp__circuit_is_open(&manager->circuit));
    atomic_store(&manager->writes_under_way, 0);
}

static void many_keys_at_once_are_told_in_time(void **state)
{
    enum { KEYS = 200 };
    static mp__read reads[KEYS];
    static char addresses[KEYS][48];

    (void)state;
    mp_truth_stop(truth, 0, true);
    for (int i = 0; i < KEYS; i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "production/default/many-%d", i);
        prepare(&reads[i], addresses[i], MP__LEVEL_EVENTUAL);
        assert_false(mp__read_start(manager, &reads[i]));
        reads[i].status = 1;
    }
    mp_sim_run(sim, TIMEOUT_MS + 200);
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(reads[i].status, MP_EUNKNOWN);
    assert_true(mp__circuit_is_open(&manager->circuit));
}

#define ALONE(f) cmocka_unit_test_setup(f, set_up)
#define WHOLE(f) cmocka_unit_test_setup_teardown(f, set_up_manager, tear_down_manager)
static const struct CMUnitTest tests[] = {
    ALONE(it_opens_at_the_third_question_in_a_row_without_an_answer),
    ALONE(an_answer_begins_the_row_anew),
    ALONE(who_waits_in_line_behind_answers_does_not_open_it),
    ALONE(probes_come_after_pauses_that_grow_up_to_a_bound),
    ALONE(any_answer_closes_it_and_the_pauses_begin_anew),
    ALONE(pauses_differ_by_chance_by_up_to_a_half),
    WHOLE(reads_of_what_is_not_kept_fail_at_once_when_it_is_open),
    WHOLE(what_is_kept_is_answered_stale_with_its_age_and_strong_reads_get_an_error),
    WHOLE(behind_a_write_that_stands_writes_are_refused_at_once_and_change_nothing),
    WHOLE(questions_without_an_answer_refuse_no_write_and_its_answer_closes_it),
    WHOLE(what_a_schema_is_about_is_not_written_while_it_is_open),
    WHOLE(a_write_that_could_not_say_in_its_time_closes_nothing),
    WHOLE(what_is_asked_of_its_past_does_not_wait_either),
    WHOLE(the_first_answer_closes_it_and_everybody_is_told),
    WHOLE(what_changed_meanwhile_is_not_answered_as_fresh),
    WHOLE(a_slow_origin_that_answers_opens_nothing),
    WHOLE(however_many_wait_for_one_key_they_are_one_question),
    WHOLE(a_write_that_nobody_answers_opens_it_and_its_answer_closes_it),
    WHOLE(a_slow_write_beside_reads_that_are_answered_opens_nothing),
    WHOLE(what_is_told_of_its_opening_is_why),
    WHOLE(an_answer_of_an_origin_that_is_down_promises_nothing),
    WHOLE(who_watches_hears_last_that_it_is_silent_when_it_is),
    WHOLE(a_preload_that_nobody_answers_opens_it_and_goes_on_at_the_answer),
    WHOLE(the_page_of_a_preload_is_an_answer_that_closes_it),
    WHOLE(a_slow_preload_beside_reads_that_are_answered_opens_nothing),
    WHOLE(a_daemon_that_was_halted_blames_nobody),
    WHOLE(a_daemon_that_was_halted_does_not_blame_a_write_either),
    WHOLE(many_keys_at_once_are_told_in_time),
};
MP_TEST_MAIN(tests)
