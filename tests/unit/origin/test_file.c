/* SPDX-License-Identifier: Apache-2.0 */
/* The origin `file` on a simulated machine: events that do not come, watches that are refused,
 * disks that are full, memory that is out, power that goes, and all of it in any order from seeds.
 * The real daemon on a real folder is in tests/e2e/test_files.py. */
#include "mp_test.h"

#include <inttypes.h>

#include "mp_fail.h"
#include "mp_sim.h"
#include "origin/origin.h"

typedef struct machine {
    mp_sim *sim;
    mp__origin *origin;
    mp__diag diag;
    /* what was told */
    char seen[64][64]; /* "address=value", "address-"; in doubt: "address?", no more: "address!" */
    size_t seen_count, unnamed, rests;
    char rest[64]; /* the last beginning of keys that were not named, likewise */
    enum mp__origin_state state;
    char cause[512];
} machine;

static void state_moved(void *context, enum mp__origin_state from, enum mp__origin_state to,
                        const char *cause)
{
    machine *m = context;

    (void)from;
    m->state = to;
    snprintf(m->cause, sizeof(m->cause), "%s", cause);
}

static void change_seen(void *context, const mp__record *after)
{
    machine *m = context;

    if (m->seen_count == 64)
        return;
    snprintf(m->seen[m->seen_count++], 64, "%.*s%s%.*s", (int)after->address.size,
             after->address.data, after->kind == MP__RECORD_VALUE ? "=" : "-",
             (int)after->value.size, after->value.size ? after->value.data : "");
}

static void doubted(void *context, mp_str address, bool begins, bool is_named)
{
    machine *m = context;

    m->unnamed += !is_named;
    if (is_named && m->seen_count < 64)
        snprintf(m->seen[m->seen_count++], 64, "%.*s%c", (int)address.size, address.data,
                 begins ? '?' : '!');
}

static void more_doubted(void *context, mp_str prefix, bool begins)
{
    machine *m = context;

    m->rests++;
    snprintf(m->rest, sizeof(m->rest), "%.*s%c", (int)prefix.size, prefix.data, begins ? '?' : '!');
}

static mp__origin_options options_of(machine *m)
{
    return (mp__origin_options){.env = mp_sim_env(m->sim),
                                .path = "/srv/conf",
                                .state_dir = "/data",
                                .context = m,
                                .on_state = state_moved,
                                .on_seen = change_seen,
                                .on_doubt = doubted,
                                .on_doubts = more_doubted};
}

static int try_open(machine *m)
{
    mp__origin_options options = options_of(m);

    m->diag = (mp__diag){0};
    return mp__origin_open("file", &options, &m->origin, &m->diag);
}

static void open_origin(machine *m)
{
    assert_int_equal(try_open(m), 0);
}

static void close_origin(machine *m)
{
    m->origin = mp__origin_close(m->origin);
}

/* A file that was there before anybody looked. */
static void lay(machine *m, const char *path, const char *text)
{
    mp_platter_put(mp_sim_disk(m->sim), path, text, strlen(text));
}

static void put(machine *m, const char *path, const char *text)
{
    lay(m, path, text);
    mp_sim_touched(m->sim, path);
}

static int begin(void **state)
{
    machine *m = calloc(1, sizeof(*m));

    m->sim = mp_sim_new(7);
    lay(m, "/srv/conf/production/app.yaml", "name: first\nlimit: 10\n");
    *state = m;
    return 0;
}

static int end(void **state)
{
    machine *m = *state;

    close_origin(m);
    (void)mp_sim_free(m->sim);
    free(m);
    return 0;
}

/* ---- asking ---- */

typedef struct asked {
    mp__fetch fetch;
    bool is_done;
    int status;
    bool has_record;
    enum mp__record_kind kind;
    uint64_t revision;
    int64_t verified_ms;
    char value[256];
} asked;

static void answered(mp__fetch *fetch, int status, const mp__record *record)
{
    asked *a = (asked *)fetch;

    a->is_done = true;
    a->status = status;
    a->has_record = record != NULL;
    if (record) {
        a->kind = record->kind;
        a->revision = record->revision;
        a->verified_ms = record->verified_ms;
        snprintf(a->value, sizeof(a->value), "%.*s", (int)record->value.size,
                 record->value.size ? record->value.data : "");
    }
}

static bool is_answered(void *context)
{
    return ((asked *)context)->is_done;
}

static const asked *ask(machine *m, const char *address)
{
    static asked a;

    a = (asked){.fetch = {.address = mp_str_of(address), .done = answered}};
    mp__origin_fetch(m->origin, &a.fetch);
    assert_true(mp_sim_run_until(m->sim, is_answered, &a, 60000));
    return &a;
}

/* The value, "-" when it is absent, "?" when it is not known. */
static const char *value_of(machine *m, const char *address)
{
    const asked *a = ask(m, address);

    return a->status ? "?" : a->kind == MP__RECORD_ABSENT ? "-" : a->value;
}

static bool was_seen(const machine *m, const char *what)
{
    for (size_t i = 0; i < m->seen_count; i++)
        if (strcmp(m->seen[i], what) == 0)
            return true;
    return false;
}

static const char *described(machine *m, const char *address)
{
    static char text[4096];
    mp__buf json = MP__BUF_INIT;

    m->origin->ops->describe(m->origin, mp_str_of(address), &json);
    snprintf(text, sizeof(text), "%.*s", (int)json.size, json.data);
    mp__buf_done(&json);
    return text;
}

/* ---- being told, and not ---- */

static void all_of_it_is_there_when_open_returns(void **state)
{
    machine *m = *state;
    mp__origin_stats stats;

    open_origin(m);
    assert_int_equal(m->state, MP__ORIGIN_LIVE);
    mp__origin_stats_read(m->origin, &stats);
    assert_int_equal(stats.keys, 2);
    assert_int_equal(stats.revision, 2);
    assert_string_equal(value_of(m, "production/app/name"), "first");
    assert_string_equal(value_of(m, "production/app/none"), "-");
    assert_string_equal(value_of(m, "elsewhere/app/name"), "-");
}

static int count_doubt(void *context, mp_str address)
{
    size_t *count = context;

    assert_true(address.size > 0);
    return ++*count == 3;
}

static size_t doubts_below(machine *m, const char *prefix)
{
    size_t count = 0;

    m->origin->ops->doubts(m->origin, mp_str_of(prefix), count_doubt, &count);
    return count;
}

static bool is_live(void *context)
{
    return ((machine *)context)->state == MP__ORIGIN_LIVE;
}

static bool is_degraded(void *context)
{
    return ((machine *)context)->state == MP__ORIGIN_DEGRADED;
}

static void keys_of_a_broken_file_are_told_of_until_it_is_mended(void **state)
{
    machine *m = *state;

    lay(m, "/srv/conf/production/other.yaml", "x: 1\n");
    open_origin(m);
    put(m, "/srv/conf/production/app.yaml", "name: [\n");
    assert_true(mp_sim_run_until(m->sim, is_degraded, m, 60000));
    assert_true(was_seen(m, "production/app/name?"));
    assert_true(was_seen(m, "production/app/limit?"));
    assert_false(was_seen(m, "production/other/x?"));
    assert_int_equal(doubts_below(m, ""), 2);
    assert_int_equal(doubts_below(m, "production/app/n"), 1);
    assert_int_equal(doubts_below(m, "production/other/"), 0);
    assert_int_equal(doubts_below(m, "production/apple"), 0);
    m->seen_count = 0;
    put(m, "/srv/conf/production/app.yaml", "name: {\n"); /* broken in another way: no news */
    put(m, "/srv/conf/production/other.yaml", "x: [\n");
    mp_sim_run(m->sim, 5000);
    assert_true(was_seen(m, "production/other/x?"));
    assert_int_equal(m->seen_count, 1);
    assert_int_equal(doubts_below(m, ""), 3);
    m->seen_count = 0;
    put(m, "/srv/conf/production/app.yaml", "name: second\nlimit: 10\n");
    put(m, "/srv/conf/production/other.yaml", "x: 1\n");
    assert_true(mp_sim_run_until(m->sim, is_live, m, 60000));
    assert_string_equal(m->seen[0], "production/app/name=second"); /* before it is told as good */
    assert_true(was_seen(m, "production/app/name!"));
    assert_true(was_seen(m, "production/app/limit!"));
    assert_true(was_seen(m, "production/other/x!"));
    assert_int_equal(doubts_below(m, ""), 0);
}

static void keys_beyond_what_a_queue_takes_are_told_of_by_what_they_have_in_common(void **state)
{
    enum { KEYS = 20000, NAMED = 8192 };
    machine *m = *state;
    char *text = malloc(KEYS * 16);
    size_t size = 0;

    assert_non_null(text);
    for (int i = 0; i < KEYS; i++)
        size += (size_t)snprintf(text + size, 16, "many%05d: 1\n", i);
    lay(m, "/srv/conf/production/app.yaml", text);
    lay(m, "/srv/conf/production/other.yaml", "x: 1\n");
    open_origin(m);
    put(m, "/srv/conf/production/app.yaml", "name: [\n");
    assert_true(mp_sim_run_until(m->sim, is_degraded, m, 60000));
    mp_sim_run(m->sim, 100);
    assert_int_equal(m->unnamed, KEYS - NAMED);
    assert_int_equal(m->rests, 1);
    assert_string_equal(m->rest, "production/app/many?");
    m->unnamed = m->rests = 0;
    put(m, "/srv/conf/production/app.yaml", text);
    assert_true(mp_sim_run_until(m->sim, is_live, m, 60000));
    mp_sim_run(m->sim, 100);
    assert_int_equal(m->unnamed, KEYS - NAMED);
    assert_string_equal(m->rest, "production/app/many!");
    free(text);
}

static void keys_of_a_file_that_was_broken_at_the_start_are_told_of_when_it_is_mended(void **state)
{
    machine *m = *state;

    open_origin(m);
    close_origin(m);
    lay(m, "/srv/conf/production/app.yaml", "name: [\n");
    open_origin(m);
    assert_int_equal(doubts_below(m, "production/app/"), 2);
    m->seen_count = 0;
    put(m, "/srv/conf/production/app.yaml", "name: first\n");
    assert_true(mp_sim_run_until(m->sim, is_live, m, 60000));
    assert_true(was_seen(m, "production/app/limit-"));
    assert_true(was_seen(m, "production/app/name!"));
    assert_int_equal(doubts_below(m, ""), 0);
}

static void keys_of_a_broken_file_that_another_gives_are_told_of_as_mended(void **state)
{
    machine *m = *state;

    lay(m, "/srv/conf/production/other.yaml", "x: 1\n");
    open_origin(m);
    put(m, "/srv/conf/production/app.yaml", "name: [\n");
    assert_true(mp_sim_run_until(m->sim, is_degraded, m, 60000));
    m->seen_count = 0;
    put(m, "/srv/conf/production/app.json", "{\"name\": \"first\", \"limit\": 10, \"new\": 1}");
    assert_int_equal(mp__env_unlink(mp_sim_env(m->sim), "/srv/conf/production/app.yaml"), 0);
    assert_true(mp_sim_run_until(m->sim, is_live, m, 60000));
    assert_true(was_seen(m, "production/app/new=1"));
    assert_true(was_seen(m, "production/app/name!"));
    assert_true(was_seen(m, "production/app/limit!"));
    assert_int_equal(m->seen_count, 3); /* of the others nothing */
    assert_int_equal(doubts_below(m, ""), 0);
}

static void a_file_is_taken_once_it_was_left_alone(void **state)
{
    machine *m = *state;

    open_origin(m);
    mp_sim_run(m->sim, 500);
    for (int i = 0; i < 5; i++) { /* somebody writes on and on */
        put(m, "/srv/conf/production/app.yaml", "name: half\n");
        mp_sim_run(m->sim, 30);
        assert_false(was_seen(m, "production/app/name=half")); /* to ask would be to wait for it */
    }
    put(m, "/srv/conf/production/app.yaml", "name: whole\nlimit: 10\n");
    mp_sim_run(m->sim, 200);
    assert_string_equal(value_of(m, "production/app/name"), "whole");
    assert_true(was_seen(m, "production/app/name=whole"));
    assert_false(was_seen(m, "production/app/name=half"));
    assert_false(was_seen(m, "production/app/limit-"));
}

static void who_asks_right_behind_a_change_is_told_of_it(void **state)
{
    machine *m = *state;

    open_origin(m);
    mp_sim_run(m->sim, 1000);
    put(m, "/srv/conf/production/app.yaml", "name: second\nlimit: 10\n");
    assert_string_equal(value_of(m, "production/app/name"), "second");
    put(m, "/srv/conf/production/new.json", "{\"a\": 1}");
    mp_sim_run(m->sim, 10); /* and behind its event */
    assert_string_equal(value_of(m, "production/new/a"), "1");
    assert_int_equal(mp__env_unlink(mp_sim_env(m->sim), "/srv/conf/production/new.json"), 0);
    assert_string_equal(value_of(m, "production/new/a"), "-");
}

static void who_asks_for_what_is_written_on_and_on_is_told_what_was_taken_last(void **state)
{
    machine *m = *state;
    asked a = {.fetch = {.address = MP_STR("production/app/name"), .done = answered}};
    int turns = 0;

    open_origin(m);
    mp_sim_run(m->sim, 1000);
    put(m, "/srv/conf/production/app.yaml", "name: half\n");
    mp__origin_fetch(m->origin, &a.fetch);
    while (!a.is_done && turns++ < 30) {
        mp_sim_run(m->sim, 30);
        put(m, "/srv/conf/production/app.yaml", "name: half\n");
    }
    assert_true(a.is_done);
    assert_string_equal(a.value, "first");
    assert_in_range(turns, 16, 20); /* half a second */
}

static void who_waits_for_a_file_is_answered_when_the_origin_is_closed(void **state)
{
    machine *m = *state;
    asked a = {.fetch = {.address = MP_STR("production/app/name"), .done = answered}};

    open_origin(m);
    mp_sim_run(m->sim, 1000);
    put(m, "/srv/conf/production/app.yaml", "name: second\n");
    mp__origin_fetch(m->origin, &a.fetch);
    mp_sim_run(m->sim, 10);
    assert_false(a.is_done);
    close_origin(m);
    assert_true(a.is_done);
}

static void what_is_never_left_alone_is_taken_in_the_end(void **state)
{
    machine *m = *state;
    char text[32];

    open_origin(m);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "name: run%d\n", i);
        put(m, "/srv/conf/production/app.yaml", text);
        mp_sim_run(m->sim, 30);
    }
    assert_true(m->seen_count > 2);
}

static void a_change_that_nobody_told_of_is_found_by_looking(void **state)
{
    machine *m = *state;

    mp_sim_dirwatch(m->sim, 0, true);
    open_origin(m);
    mp_sim_run(m->sim, 1000);
    put(m, "/srv/conf/production/app.yaml", "name: second\nlimit: 10\n");
    mp_sim_run(m->sim, 20000);
    assert_false(was_seen(m, "production/app/name=second"));
    mp_sim_run(m->sim, 31000);
    assert_true(was_seen(m, "production/app/name=second"));
}

static void who_asks_is_not_told_what_a_look_would_disprove(void **state)
{
    machine *m = *state;

    mp_sim_dirwatch(m->sim, 0, true);
    open_origin(m);
    mp_sim_run(m->sim, 1000);
    put(m, "/srv/conf/production/app.yaml", "name: second\nlimit: 10\n");
    mp_sim_run(m->sim, 100);
    assert_string_equal(value_of(m, "production/app/name"), "second");
    put(m, "/srv/conf/production/new.json", "{\"a\": 1}");
    mp_sim_run(m->sim, 100);
    assert_string_equal(value_of(m, "production/new/a"), "1");
    put(m, "/srv/conf/fresh/app.yaml", "name: x\n");
    mp_sim_run(m->sim, 100);
    assert_string_equal(value_of(m, "fresh/app/name"), "x");
}

static void without_watches_it_looks_more_often_and_says_so(void **state)
{
    machine *m = *state;

    mp_sim_dirwatch(m->sim, -28 /* ENOSPC */, false);
    open_origin(m);
    assert_int_equal(m->state, MP__ORIGIN_LIVE);
    assert_non_null(strstr(described(m, ""), "max_user_watches"));
    mp_sim_run(m->sim, 1000);
    lay(m, "/srv/conf/production/app.yaml", "name: second\nlimit: 10\n");
    mp_sim_run(m->sim, 1500);
    assert_true(was_seen(m, "production/app/name=second"));
    mp_sim_dirwatch(m->sim, 0, false);
    mp_sim_run(m->sim, 1500);
    assert_null(strstr(described(m, ""), "max_user_watches"));
}

static void a_file_written_anew_is_not_gone_in_between(void **state)
{
    machine *m = *state;

    open_origin(m);
    mp_sim_run(m->sim, 1000);
    assert_int_equal(mp__env_unlink(mp_sim_env(m->sim), "/srv/conf/production/app.yaml"), 0);
    put(m, "/srv/conf/production/mark.yaml", "x: 1\n"); /* or the folder would be gone, too */
    mp_sim_run(m->sim, 30);
    put(m, "/srv/conf/production/app.yaml", "name: second\nlimit: 10\n");
    mp_sim_run(m->sim, 500);
    assert_true(was_seen(m, "production/app/name=second"));
    assert_false(was_seen(m, "production/app/name-"));
    assert_false(was_seen(m, "production/app/limit-"));
}

static void a_key_may_move_to_another_file_of_its_namespace(void **state)
{
    machine *m = *state;
    mp__origin_stats before, after;

    open_origin(m);
    mp_sim_run(m->sim, 1000);
    mp__origin_stats_read(m->origin, &before);
    put(m, "/srv/conf/production/app.yaml", "limit: 10\n");
    put(m, "/srv/conf/production/app.json", "{\"name\": \"first\"}");
    mp_sim_run(m->sim, 500);
    mp__origin_stats_read(m->origin, &after);
    assert_int_equal(after.revision, before.revision); /* nothing changed for those who read */
    assert_int_equal(m->state, MP__ORIGIN_LIVE);
    assert_non_null(strstr(described(m, "production/app/name"), "production/app.json"));
}

static void a_clash_at_the_start_is_decided_by_name_and_said(void **state)
{
    machine *m = *state;

    lay(m, "/srv/conf/production/app.json", "{\"name\": \"json\", \"more\": true}");
    open_origin(m);
    assert_int_equal(m->state, MP__ORIGIN_DEGRADED);
    assert_non_null(strstr(m->cause, "production/app.json"));
    assert_non_null(strstr(m->cause, "production/app.yaml"));
    assert_string_equal(value_of(m, "production/app/name"), "json");
    assert_string_equal(value_of(m, "production/app/limit"), "-");
    assert_non_null(strstr(described(m, "production/app/limit"), "remove it from one"));
}

/* ---- what was, stays ---- */

static void a_store_that_is_full_is_tried_again(void **state)
{
    machine *m = *state;
    mp_platter *disk;
    static char text[300000] = "big: "; /* more than the room that its journal keeps */

    open_origin(m);
    mp_sim_run(m->sim, 1000);
    disk = mp_sim_disk(m->sim);
    memset(text + 5, 'x', sizeof(text) - 7);
    text[sizeof(text) - 2] = '\n';
    put(m, "/srv/conf/production/app.yaml", text);
    mp_platter_set_capacity(disk, mp_platter_used(disk) + 1000);
    mp_sim_run(m->sim, 5000);
    assert_int_equal(m->state, MP__ORIGIN_DEGRADED);
    assert_string_equal(value_of(m, "production/app/name"), "first");
    mp_platter_set_capacity(disk, UINT64_MAX);
    mp_sim_run(m->sim, 15000);
    assert_int_equal(m->state, MP__ORIGIN_LIVE);
    assert_string_equal(value_of(m, "production/app/name"), "-");
    assert_int_equal(strlen(value_of(m, "production/app/big")), 255); /* as far as it was copied */
}

static void a_folder_that_cannot_be_read_takes_nothing_away(void **state)
{
    machine *m = *state;
    mp_platter *disk = mp_sim_disk(m->sim);
    const asked *a;

    open_origin(m);
    mp_sim_run(m->sim, 1000);
    mp_platter_fail(disk, MP_PLATTER_LOOK, 1, 1000000, -13 /* EACCES */);
    mp_sim_touched(m->sim, "/srv/conf/production/app.yaml");
    mp_sim_run(m->sim, 1000);
    assert_int_equal(m->state, MP__ORIGIN_DOWN);
    mp_platter_fail(disk, 0, 0, 0, 0);
    mp_sim_run(m->sim, 5000);
    assert_int_equal(m->state, MP__ORIGIN_LIVE);
    a = ask(m, "production/app/name");
    assert_int_equal(a->status, 0);
    assert_string_equal(a->value, "first");
}

static void a_lost_folder_is_remembered_with_the_time_it_went(void **state)
{
    machine *m = *state;
    mp_env *env = mp_sim_env(m->sim);
    int64_t went_ms;
    const asked *a;

    open_origin(m);
    mp_sim_run(m->sim, 60000);
    went_ms = mp__env_wall_ms(env);
    assert_int_equal(mp__env_rename(env, "/srv/conf", "/srv/away"), 0);
    mp_sim_run(m->sim, 30000);
    assert_int_equal(m->state, MP__ORIGIN_LOST);
    a = ask(m, "production/app/name");
    assert_int_equal(a->status, MP_EORIGINLOST);
    assert_true(a->has_record);
    assert_string_equal(a->value, "first");
    assert_true(a->verified_ms >= went_ms && a->verified_ms <= went_ms + 2000);
    close_origin(m);
    open_origin(m); /* when it went nobody knows now: as old as it can be */
    a = ask(m, "production/app/name");
    assert_int_equal(a->status, MP_EORIGINLOST);
    assert_string_equal(a->value, "first");
    assert_true(a->verified_ms <= went_ms - 59000);
    assert_int_equal(mp__env_rename(env, "/srv/away", "/srv/conf"), 0);
    mp_sim_run(m->sim, 3000);
    assert_int_equal(m->state, MP__ORIGIN_LIVE);
    assert_string_equal(value_of(m, "production/app/name"), "first");
}

static void forged(mp__write *write, int status)
{
    assert_int_equal(status, 0);
    write->done = NULL;
}

static bool is_forged(void *context)
{
    return ((mp__write *)context)->done == NULL;
}

static void a_store_changed_by_others_is_set_right_from_the_files(void **state)
{
    machine *m = *state;
    mp__origin *other;
    mp__origin_options options = {.env = mp_sim_env(m->sim), .path = "/data/files.db"};
    mp__change changes[] = {
        {.op = MP__CHANGE_PUT, .address = MP_STR("production/app/name"), .value = MP_STR("forged")},
        {.op = MP__CHANGE_PUT, .address = MP_STR("production/app/made"), .value = MP_STR("up")},
        {.op = MP__CHANGE_DELETE, .address = MP_STR("production/app/limit")},
    };
    mp__write write = {.changes = changes, .count = 3, .done = forged};

    open_origin(m);
    close_origin(m);
    assert_int_equal(mp__origin_open("sqlite", &options, &other, &m->diag), 0);
    mp__origin_write(other, &write);
    assert_true(mp_sim_run_until(m->sim, is_forged, &write, 10000));
    (void)mp__origin_close(other);
    open_origin(m);
    assert_string_equal(value_of(m, "production/app/name"), "first");
    assert_string_equal(value_of(m, "production/app/limit"), "10");
    assert_string_equal(value_of(m, "production/app/made"), "-");
}

/* ---- everything fails ---- */

static void no_allocation_that_fails_at_the_start_costs_more_than_the_start(void **state)
{
    machine *m = *state;
    size_t n;
    int rc;

    for (n = 1;; n++) {
        mp_fail_begin(n);
        rc = try_open(m);
        if (!mp_fail_end())
            break;
        if (rc == 0) { /* it was lived with: a look later nothing is missing */
            mp_sim_run(m->sim, 5000);
            assert_string_equal(value_of(m, "production/app/name"), "first");
            close_origin(m);
        } else {
            assert_int_equal(rc, MP_ENOMEM);
        }
    }
    assert_true(n > 40);
    assert_int_equal(rc, 0);
    assert_string_equal(value_of(m, "production/app/limit"), "10");
}

static void no_allocation_that_fails_in_a_look_loses_a_change(void **state)
{
    machine *m = *state;
    char text[64];

    open_origin(m);
    mp_sim_run(m->sim, 1000);
    for (size_t n = 1; n < 120; n++) {
        snprintf(text, sizeof(text), "name: v%zu\nlimit: 10\n", n);
        put(m, "/srv/conf/production/app.yaml", text);
        mp_fail_begin(n);
        mp_sim_run(m->sim, 300);
        (void)mp_fail_end();
        mp_sim_run(m->sim, 3000);
        snprintf(text, sizeof(text), "v%zu", n);
        assert_string_equal(value_of(m, "production/app/name"), text);
        assert_int_equal(m->state, MP__ORIGIN_LIVE);
    }
}

static void closing_waits_for_what_is_being_committed(void **state)
{
    machine *m = *state;

    for (int i = 0; i < 20; i++) {
        char text[64];
        asked a = {.fetch = {.address = MP_STR("production/app/name"), .done = answered}};

        snprintf(text, sizeof(text), "name: v%d\n", i);
        open_origin(m);
        mp_sim_run(m->sim, 1000);
        put(m, "/srv/conf/production/app.yaml", text);
        mp_sim_run(m->sim, 48 + (uint64_t)i); /* before, in and after the commit */
        mp__origin_fetch(m->origin, &a.fetch);
        close_origin(m);
        assert_true(a.is_done);
        assert_int_equal(a.status, 0);
    }
}

/* ---- in any order ---- */

enum { FILES = 6, STEPS = 120 };

typedef struct file_model {
    char path[64], address[64];
    int good[STEPS]; /* since the last check, that of then first; 0: absent */
    size_t count;
    bool is_broken;
} file_model;

static void is_good(file_model *f, int value)
{
    f->good[f->count++] = value;
    f->is_broken = false;
}

static void random_step(machine *m, file_model *files, uint64_t *next)
{
    file_model *f = &files[mp_sim_random(m->sim, FILES)];
    mp_env *env = mp_sim_env(m->sim);
    char text[64];

    switch (mp_sim_random(m->sim, 8)) {
    case 0:
        if (mp__env_unlink(env, f->path) == 0) {
            assert_int_equal(mp__env_sync_dir(env, "/srv/conf/production"), 0);
            is_good(f, 0);
        }
        break;
    case 1:
        snprintf(text, sizeof(text), "v: [%" PRIu64 "\n", ++*next);
        put(m, f->path, text);
        f->is_broken = true;
        break;
    case 2:
        close_origin(m);
        open_origin(m);
        break;
    case 3:
        mp_platter_power_off(mp_sim_disk(m->sim), (enum mp_platter_crash)mp_sim_random(m->sim, 3));
        close_origin(m);
        mp_platter_power_on(mp_sim_disk(m->sim));
        open_origin(m);
        break;
    case 4:
        mp_sim_dirwatch(m->sim, mp_sim_random(m->sim, 2) ? -24 /* EMFILE */ : 0,
                        mp_sim_random(m->sim, 2));
        break;
    default:
        snprintf(text, sizeof(text), "v: %" PRIu64 "\n", ++*next);
        put(m, f->path, text);
        is_good(f, (int)*next);
        break;
    }
}

/* A whole file is served; of one that is broken, the last that was left alone for long enough, with
 * the word that it may not be so any more. */
static void settle_and_check(machine *m, file_model *files)
{
    bool broken = false;

    mp_sim_run(m->sim, 40000);
    for (int i = 0; i < FILES; i++) {
        file_model *f = &files[i];
        const asked *got = ask(m, f->address);
        int value = got->kind == MP__RECORD_VALUE ? (int)strtol(got->value, NULL, 10) : 0;
        size_t at = f->count - 1;

        if (!f->is_broken) /* of one that is, it is told that it may not be so any more */
            assert_int_equal(got->status, 0);
        else if (value)
            assert_int_equal(got->status, MP_ECORRUPT);
        while (f->is_broken && at && f->good[at] != value)
            at--;
        assert_int_equal(value, f->good[at]);
        broken |= f->is_broken;
        f->good[0] = value;
        f->count = 1;
    }
    assert_int_equal(m->state, broken ? MP__ORIGIN_DEGRADED : MP__ORIGIN_LIVE);
}

static void in_any_order_the_last_good_version_is_served(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        machine m = {.sim = mp_sim_new(seed)};
        file_model files[FILES];
        uint64_t next = 0;

        /* a file that stays: an environment that lost all its files is another test's */
        lay(&m, "/srv/conf/production/stays.yaml", "x: 1\n");
        for (int i = 0; i < FILES; i++) {
            files[i] = (file_model){.count = 1};
            snprintf(files[i].path, 64, "/srv/conf/production/f%d.yaml", i);
            snprintf(files[i].address, 64, "production/f%d/v", i);
        }
        open_origin(&m);
        for (int step = 0; step < STEPS; step++) {
            random_step(&m, files, &next);
            mp_sim_run(m.sim, mp_sim_random(m.sim, 120));
            if (step % 10 == 9)
                settle_and_check(&m, files);
        }
        close_origin(&m);
        (void)mp_sim_free(m.sim);
    }
}

#define ON_MACHINE(f) cmocka_unit_test_setup_teardown(f, begin, end)

static const struct CMUnitTest tests[] = {
    ON_MACHINE(all_of_it_is_there_when_open_returns),
    ON_MACHINE(keys_of_a_broken_file_are_told_of_until_it_is_mended),
    ON_MACHINE(keys_beyond_what_a_queue_takes_are_told_of_by_what_they_have_in_common),
    ON_MACHINE(keys_of_a_file_that_was_broken_at_the_start_are_told_of_when_it_is_mended),
    ON_MACHINE(keys_of_a_broken_file_that_another_gives_are_told_of_as_mended),
    ON_MACHINE(a_file_is_taken_once_it_was_left_alone),
    ON_MACHINE(who_asks_right_behind_a_change_is_told_of_it),
    ON_MACHINE(who_asks_for_what_is_written_on_and_on_is_told_what_was_taken_last),
    ON_MACHINE(who_waits_for_a_file_is_answered_when_the_origin_is_closed),
    ON_MACHINE(what_is_never_left_alone_is_taken_in_the_end),
    ON_MACHINE(a_change_that_nobody_told_of_is_found_by_looking),
    ON_MACHINE(who_asks_is_not_told_what_a_look_would_disprove),
    ON_MACHINE(without_watches_it_looks_more_often_and_says_so),
    ON_MACHINE(a_file_written_anew_is_not_gone_in_between),
    ON_MACHINE(a_key_may_move_to_another_file_of_its_namespace),
    ON_MACHINE(a_clash_at_the_start_is_decided_by_name_and_said),
    ON_MACHINE(a_store_that_is_full_is_tried_again),
    ON_MACHINE(a_folder_that_cannot_be_read_takes_nothing_away),
    ON_MACHINE(a_lost_folder_is_remembered_with_the_time_it_went),
    ON_MACHINE(a_store_changed_by_others_is_set_right_from_the_files),
    ON_MACHINE(no_allocation_that_fails_at_the_start_costs_more_than_the_start),
    ON_MACHINE(no_allocation_that_fails_in_a_look_loses_a_change),
    ON_MACHINE(closing_waits_for_what_is_being_committed),
    MP_TEST(in_any_order_the_last_good_version_is_served),
};

MP_TEST_MAIN(tests)
