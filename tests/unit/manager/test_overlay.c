/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader of a scope is promised, layer by layer, in a simulated machine. */
#include "manager/internal.h"
#include "mp_reads.h"

#define BASE     "base/default/k"
#define ENV      "production/default/k"
#define REGION   "production~eu/default/k"
#define INSTANCE "production~eu~i7/default/k"

static void open_again(const char *path, const char *value)
{
    world_close();
    option(path, value);
    world_open("/data");
}

/* Each level gives @value of @from. */
static void reads(const char *address, const char *value, const char *from)
{
    static const enum mp__level levels[] = {MP__LEVEL_EVENTUAL, MP__LEVEL_STRONG, MP__LEVEL_WEAK,
                                            MP__LEVEL_EVENTUAL};

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(get(address, levels[i]), value ? 0 : MP_EABSENT);
        assert_string_equal(got, value ? value : "");
        assert_string_equal(layer, from);
        assert_false(last.stale);
    }
}

static int change_all(mp__change *changes, size_t count)
{
    mp__write_request request = {.changes = changes, .count = count};
    int status = world_write(&request);

    if (status == 0)
        last_revision = request.revision;
    return status;
}

static void set(const char *address, const char *value)
{
    assert_int_equal(put(address, value), 0);
}

static void mask(const char *address)
{
    mp__change c = {
        .op = MP__CHANGE_PUT, .address = mp_str_of(address), .media_type = MP_STR(MP__MEDIA_MASK)};

    assert_int_equal(change_all(&c, 1), 0);
}

static void del(const char *address)
{
    assert_int_equal(change(MP__CHANGE_DELETE, address, "", 0), 0);
}

/* At once, from L1, or not at all. */
static bool now_is(const char *address, const char *value)
{
    const mp__entry *entry;
    bool is;

    assert_int_equal(mp_read_begin(), 0);
    entry = mp__read_now(manager, mp_str_of(address),
                         mp__cache_hash(mp__manager_hasher(manager), mp_str_of(address)),
                         MP__LEVEL_EVENTUAL, 0);
    is = entry && (value ? entry->kind == MP__RECORD_VALUE &&
                               mp_str_equal(mp_blob_str(&entry->blob.pub), mp_str_of(value))
                         : entry->kind != MP__RECORD_VALUE);
    mp_read_end();
    return is;
}

/* What those are told of a change who hear of all of them: absent as far as memory knows. */
static bool glance_is_absent(const char *address)
{
    const mp__entry *entry;
    bool is;

    assert_int_equal(mp_read_begin(), 0);
    entry = mp__overlay_glance(manager, mp_str_of(address),
                               mp__cache_hash(mp__manager_hasher(manager), mp_str_of(address)));
    is = entry && entry->kind == MP__RECORD_ABSENT;
    mp_read_end();
    return is;
}

/* ---- which layer ---- */

static void the_nearest_layer_that_has_a_value_answers(void **state)
{
    (void)state;
    reads(INSTANCE, NULL, "");
    set(BASE, "b");
    reads(INSTANCE, "b", "base");
    reads(ENV, "b", "base");
    reads(BASE, "b", "base");
    set(ENV, "e");
    reads(INSTANCE, "e", "production");
    set(REGION, "r");
    reads(INSTANCE, "r", "production~eu");
    reads(ENV, "e", "production");
    set(INSTANCE, "i");
    reads(INSTANCE, "i", "production~eu~i7");
    reads(REGION, "r", "production~eu");
    reads("production~us~i7/default/k", "e", "production");
    reads("staging/default/k", "b", "base");
}

static void a_layer_whose_value_is_deleted_is_looked_through_again(void **state)
{
    (void)state;
    set(BASE, "b");
    set(ENV, "e");
    set(INSTANCE, "i");
    del(INSTANCE);
    reads(INSTANCE, "e", "production");
    del(ENV);
    reads(INSTANCE, "b", "base");
    del(BASE);
    reads(INSTANCE, NULL, "");
}

static void a_mask_hides_what_stands_behind_it(void **state)
{
    (void)state;
    set(BASE, "b");
    mask(ENV);
    reads(INSTANCE, NULL, "production");
    reads(ENV, NULL, "production");
    reads("staging/default/k", "b", "base");
    set(INSTANCE, "i");
    reads(INSTANCE, "i", "production~eu~i7");
    del(INSTANCE);
    del(ENV);
    reads(INSTANCE, "b", "base");
}

static void a_value_that_expires_gives_way_to_the_layer_behind(void **state)
{
    mp__change c = {.op = MP__CHANGE_PUT,
                    .address = MP_STR(ENV),
                    .value = MP_STR("e"),
                    .expires_ms = mp__env_wall_ms(mp_sim_env(sim)) + 500};

    (void)state;
    set(BASE, "b");
    assert_int_equal(change_all(&c, 1), 0);
    reads(INSTANCE, "e", "production");
    mp_sim_run(sim, 501);
    reads(INSTANCE, "b", "base");
    mp_sim_run(sim, 5000);
    reads(INSTANCE, "b", "base");
}

static void a_rollback_in_any_layer_is_seen(void **state)
{
    mp__change c = {.op = MP__CHANGE_ROLLBACK, .address = MP_STR(BASE)};

    (void)state;
    set(BASE, "1");
    c.to_revision = last_revision;
    set(BASE, "2");
    reads(INSTANCE, "2", "base");
    assert_int_equal(change_all(&c, 1), 0);
    reads(INSTANCE, "1", "base");
}

static void only_the_own_layer_is_read_by_who_wants_it_so(void **state)
{
    (void)state;
    set(BASE, "b");
    prepare(&last, ENV, MP__LEVEL_EVENTUAL);
    last.own_layer = true;
    assert_int_equal(run(&last), MP_EABSENT);
}

static void without_a_base_an_environment_stands_alone(void **state)
{
    (void)state;
    set(BASE, "b");
    set(ENV, "e");
    open_again("overlay.base", "");
    reads(INSTANCE, "e", "production");
    reads("staging/default/k", NULL, "");
}

static void a_namespace_can_be_left_out(void **state)
{
    (void)state;
    set(BASE, "b");
    set("base/other/k", "o");
    open_again("overlay.except", "other");
    reads(ENV, "b", "base");
    reads("production/other/k", NULL, "");
    open_again("overlay.namespaces", "third");
    reads(ENV, NULL, "");
}

/* ---- at memory speed ---- */

static void what_was_resolved_once_is_answered_from_memory(void **state)
{
    uint64_t before;

    (void)state;
    set(BASE, "b");
    set("production/default/other", "o");
    reads(INSTANCE, "b", "base");
    before = world_fetches();
    assert_true(now_is(INSTANCE, "b"));
    assert_true(now_is(ENV, "b"));
    assert_int_equal(get(REGION, MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(world_fetches(), before);
}

static void a_change_in_any_layer_is_seen_by_the_next_read_from_memory(void **state)
{
    static const char *const layers[] = {BASE, ENV, REGION, INSTANCE};

    (void)state;
    reads(INSTANCE, NULL, "");
    assert_true(now_is(INSTANCE, NULL));
    for (size_t i = 0; i < 4; i++) {
        set(layers[i], layers[i]);
        assert_int_equal(get(INSTANCE, MP__LEVEL_EVENTUAL), 0);
        assert_true(now_is(INSTANCE, layers[i]));
    }
    for (size_t i = 4; i-- > 0;) {
        del(layers[i]);
        assert_true(now_is(INSTANCE, i ? layers[i - 1] : NULL));
    }
}

static void layers_without_keys_cost_one_question_for_all_keys(void **state)
{
    char address[64];
    uint64_t before;

    (void)state;
    for (int i = 0; i < 50; i++) {
        snprintf(address, sizeof(address), "base/default/k%d", i);
        set(address, "b");
    }
    reads("production~eu~i7/default/k0", "b", "base");
    before = world_fetches();
    for (int i = 0; i < 50; i++) {
        snprintf(address, sizeof(address), "production~eu~i7/default/k%d", i);
        assert_int_equal(get(address, MP__LEVEL_EVENTUAL), 0);
    }
    assert_int_equal(world_fetches(), before);
}

static void that_a_layer_has_no_keys_is_known_to_watchers_while_the_origin_tells(void **state)
{
    (void)state;
    reads(ENV, NULL, "");
    mp_sim_run(sim, 120000); /* cache.negative_ttl, twice */
    set(ENV, "e");
    del(ENV);
    assert_false(now_is(ENV, NULL)); /* a reader asks again */
    assert_true(glance_is_absent(ENV));
    set("base/default/other", "b");
    assert_false(glance_is_absent(ENV));
}

static void that_a_layer_has_no_keys_is_not_known_when_the_origin_is_gone(void **state)
{
    (void)state;
    reads(ENV, NULL, "");
    assert_true(glance_is_absent(ENV));
    world_origin_goes();
    assert_false(glance_is_absent(ENV));
}

/* ---- without an origin ---- */

static void a_layer_of_which_nothing_is_known_makes_the_whole_unknown(void **state)
{
    (void)state;
    set(BASE, "b");
    set("production/default/other", "o");
    world_origin_goes();
    assert_int_equal(get(BASE, MP__LEVEL_EVENTUAL), 0);
    assert_int_equal(get(ENV, MP__LEVEL_EVENTUAL), MP_EUNKNOWN);
    world_origin_comes_back();
    reads(ENV, "b", "base");
}

static void
what_was_resolved_is_served_stale_also_by_a_daemon_that_starts_without_its_origin(void **state)
{
    (void)state;
    set(BASE, "b");
    set("production/default/other", "o");
    reads(INSTANCE, "b", "base");
    mp_sim_run(sim, 5000);
    world_origin_goes();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(get(INSTANCE, MP__LEVEL_EVENTUAL), 0);
        assert_string_equal(got, "b");
        assert_string_equal(layer, "base");
        assert_true(last.stale);
        assert_int_equal(get(INSTANCE, MP__LEVEL_STRONG), MP_EORIGINLOST);
        prepare(&last, INSTANCE, MP__LEVEL_EVENTUAL);
        last.strict = true;
        assert_int_equal(run(&last), MP_ESTALE);
        world_close();
        world_open("/data");
    }
}

static void the_age_is_that_of_the_layer_verified_longest_ago(void **state)
{
    (void)state;
    option("cache.eventual_bound", "1h");
    open_again("cache.hard_bound", "2h");
    set(BASE, "b");
    set("production/default/other", "o");
    reads(ENV, "b", "base");
    mp_sim_run(sim, 5000);
    world_origin_goes();
    mp_sim_run(sim, 60000);
    assert_int_equal(get(ENV, MP__LEVEL_EVENTUAL), 0);
    assert_in_range(last.age_ms, 60000, 70000);
    assert_int_equal(last.reason, MP__REASON_ORIGIN_LOST);
}

/* ---- two daemons on one database ---- */

/* What another daemon writes: past this one's write path, which learns of its own. */
typedef struct meanwhile {
    mp__write write;
    mp__change changes[2];
    size_t count;
    bool is_own; /* it is this daemon that writes, after all */
    bool is_done;
} meanwhile;

static void is_written(mp__write *write, int status)
{
    assert_int_equal(status, 0);
    ((meanwhile *)(void *)write)->is_done = true;
}

static void writes(meanwhile *m)
{
    if (m->is_own) {
        assert_int_equal(change_all(m->changes, m->count), 0);
        return;
    }
    m->write = (mp__write){
        .changes = m->changes, .count = m->count, .actor = MP_STR("another"), .done = is_written};
    m->is_done = false;
    mp__origin_write(manager->origin, &m->write);
    world_wait(&m->is_done);
}

/* A strong read of ENV, and between its first question and its second the changes. Returns the
 * status; *ret_asked: how many questions it took. */
static int read_around(meanwhile *m, uint64_t *ret_asked)
{
    uint64_t before = world_fetches();

    mp_sim_slow(sim, "mp-origin-r", 200, 200);
    read_is_done = false;
    prepare(&last, ENV, MP__LEVEL_STRONG);
    assert_false(mp__read_start(manager, &last));
    while (world_fetches() == before)
        assert_true(mp_sim_step(sim));
    if (m->count)
        writes(m);
    assert_int_equal(world_fetches(), before + 1);
    mp_sim_slow(sim, "", 0, 0);
    world_wait(&read_is_done);
    *ret_asked = world_fetches() - before;
    (void)mp__entry_unref(last.entry);
    return last.status;
}

static void a_key_that_another_daemon_moves_between_the_questions_is_not_absent(void **state)
{
    meanwhile m = {0};
    uint64_t asked;

    (void)state;
    set(BASE, "b");
    m.changes[0] = (mp__change){.op = MP__CHANGE_PUT, .address = MP_STR(ENV), .value = MP_STR("e")};
    m.changes[1] = (mp__change){.op = MP__CHANGE_DELETE, .address = MP_STR(BASE)};
    m.count = 2;
    assert_int_equal(read_around(&m, &asked), 0);
    assert_int_equal(asked, 3);
}

static void
what_another_daemon_writes_elsewhere_costs_no_question_where_there_is_a_value(void **state)
{
    meanwhile m = {0};
    uint64_t asked;

    (void)state;
    set(BASE, "b");
    assert_int_equal(read_around(&m, &asked), 0);
    assert_int_equal(asked, 2);
    m.changes[0] = (mp__change){
        .op = MP__CHANGE_PUT, .address = MP_STR("production/default/other"), .value = MP_STR("o")};
    m.count = 1;
    assert_int_equal(read_around(&m, &asked), 0);
    assert_int_equal(asked, 2);
    m.changes[0].address = MP_STR("production/default/third");
    m.changes[1] = (mp__change){.op = MP__CHANGE_DELETE, .address = MP_STR(BASE)};
    m.count = 2;
    assert_int_equal(read_around(&m, &asked), MP_EABSENT);
    assert_int_equal(asked, 4);
    m.count = 0;
    assert_int_equal(read_around(&m, &asked), MP_EABSENT);
    assert_int_equal(asked, 2);
}

static void what_this_daemon_writes_elsewhere_costs_no_question(void **state)
{
    meanwhile m = {.is_own = true, .count = 1};
    char address[64];
    uint64_t asked;

    (void)state;
    set("production/default/warm", "w");
    for (int i = 0; i < 5; i++) {
        snprintf(address, sizeof(address), "production/default/other%d", i);
        m.changes[0] =
            (mp__change){.op = MP__CHANGE_PUT, .address = mp_str_of(address), .value = MP_STR("o")};
        assert_int_equal(read_around(&m, &asked), MP_EABSENT);
        assert_int_equal(asked, 2);
    }
}

/* ---- what counts ---- */

static mp_cache_stats counts(void)
{
    mp_cache_stats stats;

    mp_cache_stats_read(mp__manager_cache(manager), &stats);
    return stats;
}

/* As a server reads: from L1 at once, or else by a read. It counts as one hit. */
static void is_one_hit(const char *address, const char *value)
{
    mp_cache_stats before = counts(), after;

    if (!now_is(address, value)) {
        prepare(&last, address, MP__LEVEL_EVENTUAL);
        last.is_use = true;
        assert_int_equal(run(&last), value ? 0 : MP_EABSENT);
        assert_string_equal(got, value ? value : "");
    }
    after = counts();
    assert_int_equal(after.l1_hits - before.l1_hits, 1);
    assert_int_equal(after.l1_misses - before.l1_misses, 0);
}

static void a_read_counts_once_also_when_the_first_look_was_for_nothing(void **state)
{
    static const char *const addresses[] = {ENV, INSTANCE, BASE};

    (void)state;
    set("production~eu~i7/default/other", "x"); /* so that no layer is known to be empty */
    set("production/default/other", "x");
    set(BASE, "b");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(get(addresses[i], MP__LEVEL_EVENTUAL), 0);
    for (size_t i = 0; i < 3; i++)
        is_one_hit(addresses[i], "b");
    world_origin_goes();
    for (size_t i = 0; i < 3; i++) {
        assert_false(now_is(addresses[i], "b"));
        is_one_hit(addresses[i], "b");
    }
}

/* ---- what a reader of a scope must hear of ---- */

static void a_reader_of_a_scope_hears_of_its_layers_and_of_no_other(void **state)
{
    mp_str rest;

    (void)state;
    assert_true(mp__overlay_sees(manager, MP_STR("production~eu"), MP_STR(BASE), &rest));
    assert_true(mp_str_equal(rest, MP_STR("default/k")));
    assert_true(mp__overlay_sees(manager, MP_STR("production~eu"), MP_STR(ENV), &rest));
    assert_true(mp__overlay_sees(manager, MP_STR("production~eu"), MP_STR(REGION), &rest));
    assert_false(mp__overlay_sees(manager, MP_STR("production~eu"), MP_STR(INSTANCE), &rest));
    assert_false(
        mp__overlay_sees(manager, MP_STR("production~eu"), MP_STR("staging/default/k"), &rest));
    assert_false(mp__overlay_sees(manager, MP_STR("base"), MP_STR(ENV), &rest));
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(the_nearest_layer_that_has_a_value_answers),
    WORLD_TEST(a_layer_whose_value_is_deleted_is_looked_through_again),
    WORLD_TEST(a_mask_hides_what_stands_behind_it),
    WORLD_TEST(a_value_that_expires_gives_way_to_the_layer_behind),
    WORLD_TEST(a_rollback_in_any_layer_is_seen),
    WORLD_TEST(only_the_own_layer_is_read_by_who_wants_it_so),
    WORLD_TEST(without_a_base_an_environment_stands_alone),
    WORLD_TEST(a_namespace_can_be_left_out),
    WORLD_TEST(what_was_resolved_once_is_answered_from_memory),
    WORLD_TEST(a_change_in_any_layer_is_seen_by_the_next_read_from_memory),
    WORLD_TEST(layers_without_keys_cost_one_question_for_all_keys),
    WORLD_TEST(that_a_layer_has_no_keys_is_known_to_watchers_while_the_origin_tells),
    WORLD_TEST(that_a_layer_has_no_keys_is_not_known_when_the_origin_is_gone),
    WORLD_TEST(a_layer_of_which_nothing_is_known_makes_the_whole_unknown),
    WORLD_TEST(what_was_resolved_is_served_stale_also_by_a_daemon_that_starts_without_its_origin),
    WORLD_TEST(the_age_is_that_of_the_layer_verified_longest_ago),
    WORLD_TEST(a_key_that_another_daemon_moves_between_the_questions_is_not_absent),
    WORLD_TEST(what_another_daemon_writes_elsewhere_costs_no_question_where_there_is_a_value),
    WORLD_TEST(what_this_daemon_writes_elsewhere_costs_no_question),
    WORLD_TEST(a_read_counts_once_also_when_the_first_look_was_for_nothing),
    WORLD_TEST(a_reader_of_a_scope_hears_of_its_layers_and_of_no_other),
};
MP_TEST_MAIN(tests)
