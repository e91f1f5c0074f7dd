/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that are answered before the origin has them: seen at once, never lost, in order. */
#include "mp_test.h"

#include <errno.h>
#include <inttypes.h>

#include "core/address.h"
#include "manager/write_back_internal.h"
#include "mp_fail.h"
#include "mp_world.h"

#define KEY    "production/orders/a"
#define OTHER  "production/orders/b"
#define DIRECT "production/default/a"

/* ---- a daemon without protocols ---- */

static void start(void)
{
    mp__diag diag = {0};

    if (world_try_open("/data", false, NULL, &diag) != 0)
        print_message("# %s\n", diag.text);
    assert_non_null(manager);
}

static void begin(uint64_t seed)
{
    world_begin(seed, 50);
    option("cache.write_modes", "orders=back, logs=around");
    assert_int_equal(mp__env_mkdir(mp_sim_env(sim), "/parked"), 0);
    start();
}

static int set_up(void **state)
{
    (void)state;
    begin(42);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_end();
    return 0;
}

static void move_origin(const char *from, const char *to)
{
    assert_int_equal(mp__env_rename(mp_sim_env(sim), from, to), 0);
    assert_int_equal(mp__env_sync_dir(mp_sim_env(sim), "/parked"), 0);
    assert_int_equal(mp__env_sync_dir(mp_sim_env(sim), "/data"), 0);
}

static void origin_goes(void)
{
    move_origin("/data/origin.db", "/parked/origin.db");
    mp_sim_run(sim, 3000);
}

static void origin_comes_back(void)
{
    move_origin("/parked/origin.db", "/data/origin.db");
    mp_sim_run(sim, 3000);
}

/* The power goes while all of it runs. */
static void crash_and_start(enum mp_platter_crash crash)
{
    mp_platter_power_off(mp_sim_disk(sim), crash);
    world_close();
    mp_platter_power_on(mp_sim_disk(sim));
    start();
}

/* ---- asking ---- */

static mp__read last;
static char got[256];

static int read_at(const char *address, enum mp__level level, bool stale_if_error)
{
    bool done = false;

    last = (mp__read){.loop = loop,
                      .address = mp_str_of(address),
                      .hash = mp__cache_hash(mp__manager_hasher(manager), mp_str_of(address)),
                      .identity = &identity,
                      .level = level,
                      .stale_if_error = stale_if_error,
                      .age_max_ms = -1,
                      .done = world_read_done,
                      .context = &done};
    if (!mp__read_start(manager, &last))
        world_wait(&done);
    got[0] = '\0';
    if (last.status == 0) {
        assert_true(last.entry->blob.pub.size < sizeof(got));
        memcpy(got, last.entry->blob.pub.data, last.entry->blob.pub.size);
        got[last.entry->blob.pub.size] = '\0';
    }
    (void)mp__entry_unref(last.entry);
    last.entry = NULL;
    return last.status;
}

static int get(const char *address)
{
    return read_at(address, MP__LEVEL_EVENTUAL, false);
}

static bool was_pending;

/* A change, through the write path or (@direct) past the queue, as somebody else would make it. */
static int change(mp__change c, bool direct)
{
    bool done = false;
    mp__write_request request = {.loop = loop,
                                 .identity = &identity,
                                 .changes = &c,
                                 .count = 1,
                                 .done = world_write_done,
                                 .context = &done};

    if (direct) {
        request.manager = manager;
        mp__write_through(manager, &request);
    } else {
        mp__write_start(manager, &request);
    }
    world_wait(&done);
    (void)mp_blob_unref(request.old_value);
    was_pending = request.pending;
    return request.status;
}

static int put(const char *address, const char *value)
{
    return change((mp__change){.op = MP__CHANGE_PUT,
                               .address = mp_str_of(address),
                               .value = mp_str_of(value)},
                  false);
}

static int put_direct(const char *address, const char *value)
{
    return change((mp__change){.op = MP__CHANGE_PUT,
                               .address = mp_str_of(address),
                               .value = mp_str_of(value)},
                  true);
}

static int del(const char *address)
{
    return change((mp__change){.op = MP__CHANGE_DELETE, .address = mp_str_of(address)}, false);
}

static uint64_t pending(void)
{
    return atomic_load(&manager->back_filter.pending);
}

static bool has_arrived(void *context)
{
    (void)context;
    return pending() == 0;
}

static void all_arrive(void)
{
    assert_true(mp_sim_run_until(sim, has_arrived, NULL, 60000));
}

static void query_done(mp__query *query)
{
    *(bool *)query->context = true;
}

/* The values of the history of @address, oldest first, each behind a space. */
static const char *history(const char *address)
{
    static char text[65536];
    bool done = false;
    mp__query query = {.kind = MP__QUERY_HISTORY,
                       .loop = loop,
                       .identity = &identity,
                       .address = mp_str_of(address),
                       .with_values = true,
                       .limit = 10000,
                       .done = query_done,
                       .context = &done};

    mp__query_start(manager, &query);
    world_wait(&done);
    text[0] = '\0';
    for (size_t i = query.count; i-- > 0;)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " %.*s",
                 query.items[i].deleted ? 1 : (int)query.items[i].value.size,
                 query.items[i].deleted ? "-" : query.items[i].value.data);
    mp__query_done(&query);
    return text;
}

static const char *file(const char *path)
{
    static char text[1 << 20];
    size_t size;
    const unsigned char *bytes = mp_platter_bytes(mp_sim_disk(sim), path, &size);

    if (!bytes)
        return "";
    assert_true(size < sizeof(text));
    memcpy(text, bytes, size);
    text[size] = '\0';
    return text;
}

/* ---- promises ---- */

static void
a_write_is_answered_and_seen_while_the_origin_is_gone_and_arrives_when_it_is_back(void **state)
{
    (void)state;
    origin_goes();
    assert_int_equal(put(DIRECT, "1"), MP_EORIGINLOST); /* of another namespace it is refused */
    assert_int_equal(put(KEY, "1"), 0);
    assert_true(was_pending);
    assert_int_equal(get(KEY), 0);
    assert_string_equal(got, "1");
    assert_false(last.stale);
    assert_int_equal(last.reason, MP__REASON_PENDING);
    assert_int_equal(read_at(KEY, MP__LEVEL_WEAK, false), 0);
    assert_int_equal(pending(), 1);
    origin_comes_back();
    all_arrive();
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), 0);
    assert_string_equal(got, "1");
    assert_int_equal(last.reason, MP__REASON_VERIFIED);
    assert_string_equal(history(KEY), " 1");
}

static void it_is_explained_as_what_answers(void **state)
{
    mp__explained explained;

    (void)state;
    origin_goes();
    assert_int_equal(put(KEY, "1"), 0);
    mp__explained_take(manager, mp_str_of(KEY), &explained);
    assert_true(explained.is_known);
    assert_int_equal(explained.winner, 0);
    mp__explained_done(&explained);
    assert_int_equal(del(KEY), 0);
    mp__explained_take(manager, mp_str_of(KEY), &explained);
    assert_int_equal(explained.entries[0]->kind, MP__RECORD_ABSENT);
    mp__explained_done(&explained);
    origin_comes_back();
}

static void with_a_live_origin_it_arrives_by_itself(void **state)
{
    (void)state;
    assert_int_equal(put(KEY, "1"), 0);
    assert_int_equal(put(KEY, "2"), 0);
    assert_int_equal(del(KEY), 0);
    assert_int_equal(get(KEY), MP_EABSENT);
    assert_int_equal(put(KEY, "3"), 0);
    all_arrive();
    assert_int_equal(get(KEY), 0);
    assert_string_equal(got, "3");
    assert_string_equal(history(KEY), " 1 2 - 3");
    assert_string_equal(file("/data/conflicts.jsonl"), "");
}

static void what_was_answered_survives_a_loss_of_power(void **state)
{
    (void)state;
    assert_int_equal(put(KEY, "0"), 0);
    all_arrive();
    origin_goes();
    assert_int_equal(put(KEY, "1"), 0);
    assert_int_equal(put(OTHER, "2"), 0);
    crash_and_start(MP_PLATTER_LOSE);
    assert_int_equal(get(KEY), 0);
    assert_string_equal(got, "1");
    assert_int_equal(get(OTHER), 0);
    assert_string_equal(got, "2");
    origin_comes_back();
    all_arrive();
    assert_string_equal(history(KEY), " 0 1");
    assert_string_equal(history(OTHER), " 2");
    world_close();
    start();
    assert_int_equal(pending(), 0);
}

/* The power goes, and @ms later it is back. */
static void crash_for(uint64_t ms)
{
    mp_platter_power_off(mp_sim_disk(sim), MP_PLATTER_LOSE);
    world_close();
    mp_platter_power_on(mp_sim_disk(sim));
    mp_sim_run(sim, ms);
    start();
}

static void what_had_arrived_before_a_crash_and_has_ended_since_is_no_conflict(void **state)
{
    mp__change brief = {
        .op = MP__CHANGE_PUT, .address = mp_str_of(KEY), .value = mp_str_of("brief")};

    (void)state;
    assert_int_equal(put(KEY, "0"), 0);
    all_arrive();
    mp_sim_run(sim, 5000);
    brief.expires_ms = mp__env_wall_ms(mp_sim_env(sim)) + 2000;
    assert_int_equal(change(brief, false), 0);
    all_arrive();
    crash_for(5000);
    assert_int_equal(pending(), 1);
    all_arrive();
    mp_sim_run(sim, 5000);
    assert_string_equal(history(KEY), " 0 brief -");
    assert_string_equal(file("/data/conflicts.jsonl"), "");
    assert_int_equal(put(KEY, "next"), 0);
    all_arrive();
    assert_string_equal(history(KEY), " 0 brief - next");
}

static void what_had_arrived_before_a_crash_and_has_ended_since_does_not_come_again(void **state)
{
    mp__change brief = {
        .op = MP__CHANGE_PUT, .address = mp_str_of(KEY), .value = mp_str_of("brief")};

    (void)state;
    for (int i = 0; i < 2; i++) { /* over what nobody knows, and over nothing */
        if (i > 0)
            assert_int_equal(read_at(OTHER, MP__LEVEL_EVENTUAL, false), MP_EABSENT);
        brief.address = mp_str_of(i == 0 ? KEY : OTHER);
        brief.expires_ms = mp__env_wall_ms(mp_sim_env(sim)) + 2000;
        assert_int_equal(change(brief, false), 0);
        all_arrive();
        crash_for(5000);
        assert_true(pending() > 0);
        all_arrive();
        mp_sim_run(sim, 5000);
        assert_string_equal(history(i == 0 ? KEY : OTHER), " brief -");
    }
    assert_string_equal(file("/data/conflicts.jsonl"), "");
}

static void what_had_not_arrived_before_a_crash_arrives_though_it_has_ended(void **state)
{
    mp__change brief = {.op = MP__CHANGE_PUT,
                        .address = mp_str_of(KEY),
                        .value = mp_str_of("brief"),
                        .expires_ms = mp__env_wall_ms(mp_sim_env(sim)) + 20000};

    (void)state;
    origin_goes();
    assert_int_equal(change(brief, false), 0);
    crash_for(30000);
    assert_int_equal(pending(), 1);
    origin_comes_back();
    all_arrive();
    mp_sim_run(sim, 5000);
    assert_string_equal(history(KEY), " brief -");
}

/* What a crash leaves that comes before it is known here what has arrived: the queue's log as it
 * was. */
static char log_kept[1 << 16];
static size_t log_size;

static void keep_log(void)
{
    const unsigned char *bytes =
        mp_platter_bytes(mp_sim_disk(sim), "/data/write-back.log", &log_size);

    assert_true(bytes && log_size <= sizeof(log_kept));
    memcpy(log_kept, bytes, log_size);
}

static void start_with_the_log_that_was_kept(void)
{
    world_close();
    mp_platter_put(mp_sim_disk(sim), "/data/write-back.log", log_kept, log_size);
    start();
}

static void what_had_ended_before_another_write_does_not_come_over_it_after_a_crash(void **state)
{
    mp__change brief = {.op = MP__CHANGE_PUT,
                        .address = mp_str_of(KEY),
                        .value = mp_str_of("brief"),
                        .expires_ms = mp__env_wall_ms(mp_sim_env(sim)) + 300};

    (void)state;
    assert_int_equal(change(brief, false), 0);
    keep_log();
    all_arrive();
    mp_sim_run(sim, 2000);
    assert_int_equal(put_direct(KEY, "theirs"), 0);
    start_with_the_log_that_was_kept();
    assert_int_equal(pending(), 1);
    all_arrive();
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), 0);
    assert_string_equal(got, "theirs");
    assert_string_equal(file("/data/conflicts.jsonl"), "");
}

/* However much was written since it had arrived. */
static void what_had_arrived_long_before_a_crash_is_no_conflict(void **state)
{
    char value[16];

    (void)state;
    assert_int_equal(put(KEY, "0"), 0);
    all_arrive();
    assert_int_equal(put(KEY, "mine"), 0);
    keep_log();
    all_arrive();
    for (int i = 0; i < 2500; i++) {
        snprintf(value, sizeof(value), "%d", i);
        assert_int_equal(put_direct(KEY, value), 0);
    }
    start_with_the_log_that_was_kept();
    assert_int_equal(pending(), 1);
    all_arrive();
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), 0);
    assert_string_equal(got, "2499");
    assert_string_equal(file("/data/conflicts.jsonl"), "");
}

static void a_deletion_that_had_arrived_before_a_crash_is_no_conflict(void **state)
{
    mp__change gone = {.op = MP__CHANGE_DELETE, .address = mp_str_of(KEY)};

    (void)state;
    assert_int_equal(put(KEY, "0"), 0);
    all_arrive();
    assert_int_equal(change(gone, false), 0);
    keep_log();
    all_arrive();
    assert_int_equal(put_direct(KEY, "theirs"), 0);
    start_with_the_log_that_was_kept();
    all_arrive();
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), 0);
    assert_string_equal(got, "theirs");
    assert_string_equal(history(KEY), " 0 - theirs");
    assert_string_equal(file("/data/conflicts.jsonl"), "");
}

/* Theirs ends, and the write that was answered has no end: it would be lost with it. */
static void the_same_value_with_another_expiry_is_another_write(void **state)
{
    mp__change theirs = {
        .op = MP__CHANGE_PUT, .address = mp_str_of(KEY), .value = mp_str_of("same")};

    (void)state;
    for (int i = 0; i < 2; i++) {
        theirs.address = mp_str_of(i == 0 ? OTHER : KEY);
        theirs.expires_ms = i == 0 ? 0 : mp__env_wall_ms(mp_sim_env(sim)) + 600000;
        assert_int_equal(put(i == 0 ? OTHER : KEY, "0"), 0);
        all_arrive();
        origin_goes();
        assert_int_equal(put(i == 0 ? OTHER : KEY, "same"), 0);
        keep_log();
        world_close();
        assert_int_equal(mp__env_rename(mp_sim_env(sim), "/parked/origin.db", "/data/origin.db"),
                         0);
        mp_platter_put(mp_sim_disk(sim), "/data/write-back.log", NULL, 0);
        start();
        assert_int_equal(change(theirs, true), 0);
        start_with_the_log_that_was_kept();
        all_arrive();
        if (i == 0)
            assert_string_equal(file("/data/conflicts.jsonl"), "");
    }
    assert_non_null(strstr(file("/data/conflicts.jsonl"), "\"value\":\"same\""));
    assert_string_equal(history(KEY), " 0 same");
}

static void it_goes_on_its_way_also_when_the_namespace_is_not_written_so_any_more(void **state)
{
    (void)state;
    origin_goes();
    assert_int_equal(put(KEY, "1"), 0);
    world_close();
    option("cache.write_modes", "");
    start();
    assert_int_equal(pending(), 1);
    origin_comes_back();
    all_arrive();
    assert_string_equal(history(KEY), " 1");
}

static void a_strong_read_of_what_is_on_its_way_does_not_wait_for_a_silent_origin(void **state)
{
    uint64_t began, refused;

    (void)state;
    origin_goes();
    assert_int_equal(put(KEY, "1"), 0);
    began = mp__env_now_ns(mp_sim_env(sim));
    for (int i = 0; i < MP__CIRCUIT_LATE_MAX; i++)
        mp__origin_is_late(manager, began);
    refused = atomic_load(&manager->circuit.refused);
    assert_true(mp__circuit_is_open(&manager->circuit));
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), MP_EORIGIN);
    assert_true(mp__env_now_ns(mp_sim_env(sim)) - began < 50 * (uint64_t)1000000);
    assert_int_equal(atomic_load(&manager->circuit.refused), refused + 1);
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, true), 0); /* stale, where that is asked for */
    assert_true(last.stale);
    assert_int_equal(last.reason, MP__REASON_ORIGIN_SLOW);
    origin_comes_back();
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), 0);
}

static void
a_strong_read_waits_for_what_is_on_its_way_and_is_an_error_without_an_origin(void **state)
{
    (void)state;
    mp_sim_slow(sim, "mp-origin-w", 700, 700);
    assert_int_equal(put(KEY, "1"), 0);
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), 0);
    assert_string_equal(got, "1");
    assert_int_equal(pending(), 0);
    mp_sim_slow(sim, "", 0, 0);
    origin_goes();
    assert_int_equal(put(KEY, "2"), 0);
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), MP_EORIGIN);
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, true), 0);
    assert_string_equal(got, "2");
    assert_true(last.stale);
    origin_comes_back();
}

static void
what_somebody_else_changed_meanwhile_stands_and_the_write_is_kept_in_a_file(void **state)
{
    (void)state;
    assert_int_equal(put(KEY, "1"), 0);
    all_arrive();
    origin_goes();
    assert_int_equal(put(KEY, "mine"), 0);
    assert_int_equal(put(KEY, "mine too"), 0);
    world_close();
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/parked/origin.db", "/data/origin.db"), 0);
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/data/write-back.log", "/kept"), 0);
    start();
    assert_int_equal(put_direct(KEY, "theirs"), 0);
    world_close();
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/kept", "/data/write-back.log"), 0);
    start();
    all_arrive();
    assert_int_equal(read_at(KEY, MP__LEVEL_STRONG, false), 0);
    assert_string_equal(got, "theirs");
    assert_string_equal(history(KEY), " 1 theirs");
    assert_non_null(strstr(file("/data/conflicts.jsonl"), "\"value\":\"mine\""));
    assert_non_null(strstr(file("/data/conflicts.jsonl"), "\"value\":\"mine too\""));
    assert_non_null(strstr(file("/data/conflicts.jsonl"), "\"over_revision\":1"));
}

static void a_conflict_that_cannot_be_kept_stays_on_its_way(void **state)
{
    (void)state;
    assert_int_equal(put(KEY, "1"), 0);
    all_arrive();
    origin_goes();
    assert_int_equal(put(KEY, "mine"), 0);
    world_close();
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/parked/origin.db", "/data/origin.db"), 0);
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/data/write-back.log", "/kept"), 0);
    start();
    assert_int_equal(put_direct(KEY, "theirs"), 0);
    world_close();
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/kept", "/data/write-back.log"), 0);
    mp_platter_put(mp_sim_disk(sim), "/data/conflicts.jsonl", NULL, 0);
    start();
    mp_platter_set_read_only(mp_sim_disk(sim), true);
    mp_sim_run(sim, 5000);
    assert_int_equal(pending(), 1);
    mp_platter_set_read_only(mp_sim_disk(sim), false);
    all_arrive();
    assert_non_null(strstr(file("/data/conflicts.jsonl"), "\"value\":\"mine\""));
}

static void what_depends_on_the_origin_waits_for_the_writes_before_it(void **state)
{
    mp__change nx = {.op = MP__CHANGE_PUT,
                     .flags = MP__IF_ABSENT,
                     .address = mp_str_of(KEY),
                     .value = mp_str_of("nx")};

    (void)state;
    mp_sim_slow(sim, "mp-origin-w", 300, 300);
    assert_int_equal(put(KEY, "1"), 0);
    assert_int_equal(pending(), 1);
    assert_int_equal(change(nx, false), MP_EEXISTS);
    assert_int_equal(pending(), 0);
    assert_int_equal(del(KEY), 0);
    assert_int_equal(change(nx, false), 0);
    assert_false(was_pending);
    assert_string_equal(history(KEY), " 1 - nx");
    mp_sim_slow(sim, "", 0, 0);
    origin_goes();
    assert_int_equal(put(KEY, "2"), 0);
    assert_int_equal(change(nx, false), MP_EORIGINLOST); /* told, not held for ever */
    origin_comes_back();
}

/* One right behind the other, from one loop. */
static void write_both(mp__change changes[2], mp__write_request requests[2])
{
    bool done[2] = {false, false};

    for (int i = 0; i < 2; i++) {
        requests[i] = (mp__write_request){.loop = loop,
                                          .identity = &identity,
                                          .changes = &changes[i],
                                          .count = 1,
                                          .done = world_write_done,
                                          .context = &done[i]};
        mp__write_start(manager, &requests[i]);
    }
    world_wait(&done[0]);
    world_wait(&done[1]);
}

static void a_plain_write_behind_one_that_goes_through_stays_behind_it(void **state)
{
    mp__change changes[2] = {
        {.op = MP__CHANGE_PUT,
         .flags = MP__IF_ABSENT,
         .address = mp_str_of(KEY),
         .value = mp_str_of("first")},
        {.op = MP__CHANGE_PUT, .address = mp_str_of(KEY), .value = mp_str_of("second")}};
    mp__write_request requests[2];

    (void)state;
    mp_sim_slow(sim, "mp-origin-w", 300, 300);
    write_both(changes, requests);
    assert_int_equal(requests[0].status, 0);
    assert_int_equal(requests[1].status, 0);
    all_arrive();
    assert_string_equal(history(KEY), " first second");
}

static void what_goes_through_right_behind_a_plain_write_stays_behind_it(void **state)
{
    mp__change changes[2] = {
        {.op = MP__CHANGE_PUT, .address = mp_str_of(KEY), .value = mp_str_of("first")},
        {.op = MP__CHANGE_PUT,
         .flags = MP__KEEP_EXPIRY,
         .address = mp_str_of(KEY),
         .value = mp_str_of("second")}};
    mp__write_request requests[2];

    (void)state;
    assert_int_equal(put(KEY, "0"), 0);
    all_arrive(); /* so that both know what they stand over */
    write_both(changes, requests);
    assert_true(requests[0].pending);
    assert_false(requests[1].pending);
    all_arrive();
    assert_string_equal(history(KEY), " 0 first second");
    assert_string_equal(file("/data/conflicts.jsonl"), "");
}

static void a_write_over_a_value_that_expires_meanwhile_is_no_conflict(void **state)
{
    mp__change brief = {.op = MP__CHANGE_PUT,
                        .address = mp_str_of(KEY),
                        .value = mp_str_of("brief"),
                        .expires_ms = mp__env_wall_ms(mp_sim_env(sim)) + 2000};

    (void)state;
    assert_int_equal(change(brief, false), 0);
    all_arrive();
    assert_int_equal(get(KEY), 0);
    mp_sim_slow(sim, "mp-origin-w", 3000, 3000);
    assert_int_equal(put(KEY, "long"), 0);
    all_arrive();
    mp_sim_slow(sim, "", 0, 0);
    assert_string_equal(history(KEY), " brief - long");
    assert_string_equal(file("/data/conflicts.jsonl"), "");
}

static void a_mask_goes_through(void **state)
{
    mp__change mask = {.op = MP__CHANGE_PUT,
                       .flags = MP__IF_CHANGED,
                       .address = mp_str_of(KEY),
                       .media_type = MP_STR(MP__MEDIA_MASK)};

    (void)state;
    assert_int_equal(put(KEY, "1"), 0);
    assert_int_equal(change(mask, false), 0);
    assert_false(was_pending);
    mask.flags = 0; /* as one that has an expiry */
    mask.expires_ms = mp__env_wall_ms(mp_sim_env(sim)) + 3600000;
    assert_int_equal(change(mask, false), 0);
    assert_false(was_pending);
    assert_string_equal(history(KEY), " 1  ");
    assert_int_equal(get(KEY), MP_EABSENT);
}

static void who_wants_to_know_the_revision_waits_for_the_origin(void **state)
{
    bool done = false;
    mp__change c = {.op = MP__CHANGE_PUT,
                    .flags = MP__IF_CHANGED,
                    .address = mp_str_of(KEY),
                    .value = mp_str_of("1")};
    mp__write_request request = {.loop = loop,
                                 .identity = &identity,
                                 .changes = &c,
                                 .count = 1,
                                 .wants_revision = true,
                                 .done = world_write_done,
                                 .context = &done};

    (void)state;
    mp__write_start(manager, &request);
    world_wait(&done);
    assert_int_equal(request.status, 0);
    assert_false(request.pending);
    assert_int_equal(request.revision, 1);
    c.value = mp_str_of("2");
    assert_int_equal(change(c, false), 0); /* who does not is told at once */
    assert_true(was_pending);
    all_arrive();
    assert_int_equal(change(c, false), 0);
    all_arrive();
    assert_string_equal(history(KEY), " 1 2");
}

static void writes_that_cannot_be_made_durable_are_refused_and_not_seen(void **state)
{
    (void)state;
    assert_int_equal(put(KEY, "1"), 0);
    all_arrive();
    mp_sim_run(sim, 2000);
    origin_goes();
    mp_platter_fail(mp_sim_disk(sim), MP_PLATTER_SYNC, 1, 1, -EIO);
    assert_int_equal(put(KEY, "2"), -EIO);
    assert_int_equal(get(KEY), 0);
    assert_string_equal(got, "1");
    mp_platter_fail(mp_sim_disk(sim), 0, 0, 0, 0);
    assert_int_equal(put(KEY, "3"), 0); /* and it goes on by itself */
    crash_and_start(MP_PLATTER_LOSE);
    origin_comes_back();
    all_arrive();
    assert_string_equal(history(KEY), " 1 3");
}

static void what_has_arrived_keeps_no_room_on_a_full_disk(void **state)
{
    static char big[40000];

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(put(OTHER, big), 0);
    all_arrive();
    mp_sim_run(sim, 2000);
    mp_platter_set_capacity(mp_sim_disk(sim), mp_platter_used(mp_sim_disk(sim)));
    origin_goes();
    assert_int_equal(put(KEY, "1"), -ENOSPC);
    assert_int_equal(put(KEY, "2"), 0);
    crash_and_start(MP_PLATTER_LOSE);
    mp_platter_set_capacity(mp_sim_disk(sim), UINT64_MAX);
    origin_comes_back();
    all_arrive();
    assert_string_equal(history(KEY), " 2");
}

static void a_full_queue_lets_writes_go_through(void **state)
{
    static char big[40000];

    (void)state;
    world_close();
    option("cache.write_back_bytes", "64KiB");
    start();
    memset(big, 'x', sizeof(big) - 1);
    origin_goes();
    assert_int_equal(put(KEY, big), 0);
    assert_int_equal(put(OTHER, big), MP_EORIGINLOST);
    origin_comes_back();
    all_arrive();
    assert_int_equal(put(OTHER, big), 0);
}

static void writing_around_leaves_memory_to_what_is_read(void **state)
{
    unsigned where;
    uint64_t hash;

    (void)state;
    assert_int_equal(put("production/logs/a", "1"), 0);
    assert_false(was_pending);
    hash = mp__cache_hash(mp__manager_hasher(manager), MP_STR("production/logs/a"));
    where = mp__cache_where(mp__manager_cache(manager), MP_STR("production/logs/a"), hash);
    assert_int_equal(where, 1u << MP__TIER_L3);
    assert_int_equal(get("production/logs/a"), 0);
    assert_string_equal(got, "1");
    where = mp__cache_where(mp__manager_cache(manager), MP_STR("production/logs/a"), hash);
    assert_true(where & 1u << MP__TIER_L1);
    assert_int_equal(put("production/logs/a", "2"), 0); /* what memory had is outdated */
    assert_int_equal(get("production/logs/a"), 0);
    assert_string_equal(got, "2");
}

static void a_mode_that_is_none_is_refused_with_what_there_is(void **state)
{
    mp__manager_config config = {.env = mp_sim_env(sim), .options = options, .data_dir = "/data"};
    mp__diag diag = {0};

    (void)state;
    world_close();
    option("cache.write_modes", "orders=later");
    assert_int_equal(mp__manager_open(&config, &manager, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "orders=later"));
    assert_non_null(strstr(diag.text, "=back"));
    option("cache.write_modes", "orders=back, logs=around, orders=through");
    assert_int_equal(mp__manager_open(&config, &manager, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "'orders' stands twice"));
    option("cache.write_modes", "orders/*=back"); /* which would match nothing */
    assert_int_equal(mp__manager_open(&config, &manager, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "names a key"));
    manager = NULL;
}

static void without_memory_a_write_is_refused_and_nothing_of_it_stays(void **state)
{
    unsigned refused = 0;

    (void)state;
    assert_int_equal(put(KEY, "0"), 0);
    all_arrive();
    origin_goes();
    for (size_t n = 1;; n++) {
        int rc;

        mp_fail_begin(n);
        rc = put(KEY, "1");
        if (!mp_fail_end()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_true(rc == 0 || rc == MP_ENOMEM); /* some is only of its telling */
        refused += rc != 0;
        assert_int_equal(get(KEY), 0);
        assert_string_equal(got, rc == 0 ? "1" : pending() ? "1" : "0");
    }
    assert_true(refused > 0);
    origin_comes_back();
    all_arrive();
}

/* ---- everything at once ---- */

enum { LIVES = 12, STEPS = 60, KEYS = 4 };

/* Whatever is cut and killed, each write that was answered is in the history or in the file of
 * conflicts, and the last of each key is what is read. There is no other writer, so none is a
 * conflict. */
static void nothing_answered_is_lost_over_many_lives(void **state)
{
    static char wanted[KEYS][16384], last_value[KEYS][32];
    unsigned answered = 0, crashes = 0;

    (void)state;
    world_end();
    for (uint64_t seed = 1; seed <= 8; seed++) {
        bool gone = false;

        begin(seed);
        memset(wanted, 0, sizeof(wanted));
        memset(last_value, 0, sizeof(last_value));
        for (unsigned step = 0; step < LIVES * STEPS; step++) {
            unsigned k = (unsigned)mp_sim_random(sim, KEYS);
            char address[64], value[32];

            snprintf(address, sizeof(address), "production/orders/%u", k);
            snprintf(value, sizeof(value), "v%u", step);
            if (put(address, value) == 0) {
                answered++;
                snprintf(wanted[k] + strlen(wanted[k]), sizeof(wanted[k]) - strlen(wanted[k]),
                         " %s", value);
                snprintf(last_value[k], sizeof(last_value[k]), "%s", value);
            }
            mp_sim_run(sim, mp_sim_random(sim, 30));
            if (mp_sim_random(sim, 25) == 0) {
                if (gone)
                    origin_comes_back();
                else
                    origin_goes();
                gone = !gone;
            }
            if (mp_sim_random(sim, STEPS) == 0) {
                static const enum mp_platter_crash how[] = {MP_PLATTER_KILL, MP_PLATTER_LOSE,
                                                            MP_PLATTER_TEAR};

                crash_and_start(how[mp_sim_random(sim, 3)]);
                crashes++;
            }
            assert_int_equal(get(address), 0);
            assert_string_equal(got, last_value[k]);
        }
        if (gone)
            origin_comes_back();
        all_arrive();
        for (unsigned k = 0; k < KEYS; k++) {
            char address[64];

            snprintf(address, sizeof(address), "production/orders/%u", k);
            assert_string_equal(history(address), wanted[k]);
        }
        assert_string_equal(file("/data/conflicts.jsonl"), "");
        world_end();
    }
    print_message("# %u writes answered, %u crashes\n", answered, crashes);
    assert_true(crashes > 20);
    begin(42);
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    T(a_write_is_answered_and_seen_while_the_origin_is_gone_and_arrives_when_it_is_back),
    T(it_is_explained_as_what_answers),
    T(with_a_live_origin_it_arrives_by_itself),
    T(what_was_answered_survives_a_loss_of_power),
    T(what_had_arrived_before_a_crash_and_has_ended_since_is_no_conflict),
    T(what_had_arrived_before_a_crash_and_has_ended_since_does_not_come_again),
    T(what_had_not_arrived_before_a_crash_arrives_though_it_has_ended),
    T(what_had_ended_before_another_write_does_not_come_over_it_after_a_crash),
    T(what_had_arrived_long_before_a_crash_is_no_conflict),
    T(a_deletion_that_had_arrived_before_a_crash_is_no_conflict),
    T(the_same_value_with_another_expiry_is_another_write),
    T(it_goes_on_its_way_also_when_the_namespace_is_not_written_so_any_more),
    T(a_strong_read_of_what_is_on_its_way_does_not_wait_for_a_silent_origin),
    T(a_strong_read_waits_for_what_is_on_its_way_and_is_an_error_without_an_origin),
    T(what_somebody_else_changed_meanwhile_stands_and_the_write_is_kept_in_a_file),
    T(a_conflict_that_cannot_be_kept_stays_on_its_way),
    T(what_depends_on_the_origin_waits_for_the_writes_before_it),
    T(a_plain_write_behind_one_that_goes_through_stays_behind_it),
    T(what_goes_through_right_behind_a_plain_write_stays_behind_it),
    T(a_write_over_a_value_that_expires_meanwhile_is_no_conflict),
    T(a_mask_goes_through),
    T(who_wants_to_know_the_revision_waits_for_the_origin),
    T(writes_that_cannot_be_made_durable_are_refused_and_not_seen),
    T(what_has_arrived_keeps_no_room_on_a_full_disk),
    T(a_full_queue_lets_writes_go_through),
    T(writing_around_leaves_memory_to_what_is_read),
    T(a_mode_that_is_none_is_refused_with_what_there_is),
    T(without_memory_a_write_is_refused_and_nothing_of_it_stays),
    T(nothing_answered_is_lost_over_many_lives),
};

MP_TEST_MAIN(tests)
