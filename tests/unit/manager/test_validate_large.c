/* SPDX-License-Identifier: Apache-2.0 */
/* What is checked of large writes beside the loop, and that it is checked as of small ones. */
#include <stdlib.h>

#include "mp_writes.h"

/* A text of JSON, @size bytes and a zero; free() it. */
static char *long_json(size_t size)
{
    char *json = malloc(size + 1);

    assert_non_null(json);
    memset(json, ' ', size);
    json[0] = '[';
    json[size - 1] = ']';
    json[size] = '\0';
    return json;
}

static void assert_done_in_order(const mp__write_request requests[3])
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(requests[i].status, 0);
        assert_int_equal(order[i], i);
    }
    assert_true(requests[0].revision < requests[1].revision);
    assert_true(requests[1].revision < requests[2].revision);
}

static void large_json_is_looked_at_beside_the_loop_and_writes_keep_their_order(void **state)
{
    char *json = long_json(1024 * 1024);
    mp__change changes[] = {putting("production/free/a", json, "application/json"),
                            putting("production/free/a", "2", "application/json"),
                            putting("production/free/b", "3", "")};
    mp__write_request requests[3];

    (void)state;
    ordered = 0;
    for (int i = 0; i < 3; i++) {
        start_ordered(&requests[i], &changes[i], i);
        /* the loop has not looked at it, so that nothing has gone on */
        assert_true(requests[i].claims_status == 0 && requests[i].claims_open == (i == 0));
    }
    assert_true(mp_sim_run_until(sim, all_ordered, NULL, 60000));
    assert_done_in_order(requests);
    free(json);
}

static void large_claims_that_are_no_json_are_refused_with_the_place(void **state)
{
    char *json = long_json(200 * 1024);
    mp__change halves[] = {putting("production/free/a", json, "application/json"),
                           putting("production/free/b", "{", "application/json")};

    (void)state;
    memcpy(json + 100 * 1024, "\n x", 3);
    assert_int_equal(put_json("production/free/a", json), MP_EINVALID);
    assert_string_equal(keyword, "json");
    assert_int_equal(line, 2);
    assert_int_equal(column, 2);
    assert_int_equal(put("production/free/a", json), 0); /* it does not say that it is */
    memset(json + 100 * 1024, ' ', 3);
    assert_int_equal(change_all(halves, 2), MP_EINVALID);
    assert_int_equal(broken, 1);
    assert_non_null(strstr(text, "free/b"));
    assert_int_equal(put_json("production/free/a", json), 0);
    free(json);
}

/* What takes long is done by a thread that takes a second longer than it should, so that it shows
 * in the time that a write takes. */
static uint64_t slow_from_ns;

static void slow_begins(void)
{
    mp_sim_slow(sim, "mp-slow", 1000, 1000);
    slow_from_ns = mp__env_now_ns(mp_sim_env(sim));
}

static bool was_beside_the_loop(void)
{
    uint64_t took_ms = (mp__env_now_ns(mp_sim_env(sim)) - slow_from_ns) / 1000000u;

    slow_from_ns = mp__env_now_ns(mp_sim_env(sim));
    return took_ms >= 1000;
}

static void large_values_are_judged_beside_the_loop_and_writes_keep_their_order(void **state)
{
    char *json = long_json(100 * 1024);
    mp__change changes[] = {putting("production/docs/a", json, ""),
                            putting("production/docs/a", "[2]", ""),
                            putting("production/free/b", "3", "")};
    mp__write_request requests[3];

    (void)state;
    assert_int_equal(put("production/_schema/docs/", "{\"type\":\"array\"}"), 0);
    ordered = 0;
    slow_begins();
    assert_int_equal(put("production/docs/small", "[1]"), 0);
    assert_false(was_beside_the_loop());
    for (int i = 0; i < 3; i++)
        start_ordered(&requests[i], &changes[i], i);
    assert_true(mp_sim_run_until(sim, all_ordered, NULL, 60000));
    assert_true(was_beside_the_loop());
    assert_done_in_order(requests);
    free(json);
}

static void a_large_value_that_breaks_its_schema_is_refused_with_the_place(void **state)
{
    char *json = long_json(100 * 1024);

    (void)state;
    memcpy(json + 1, "1,\"x\"", 5);
    assert_int_equal(put("production/_schema/docs/", "{\"items\":{\"type\":\"integer\"}}"), 0);
    assert_int_equal(put("base/_schema/docs/", "{\"items\":{\"maximum\":0}}"), 0);
    slow_begins();
    assert_int_equal(put("production/docs/a", json), MP_EINVALID);
    assert_true(was_beside_the_loop());
    assert_string_equal(instance, "/1");
    assert_string_equal(keyword, "type");
    memcpy(json + 1, "1,  2", 5);
    assert_int_equal(put("base/docs/a", json), MP_EINVALID);
    assert_string_equal(scope, "");
    assert_int_equal(put("base/_schema/docs/", "{}"), 0);
    memcpy(json + 1, "1,\"x\"", 5);
    assert_int_equal(put("base/docs/a", json), MP_EINVALID); /* as seen in production */
    assert_string_equal(scope, "production");
    assert_string_equal(instance, "/1");
    free(json);
}

static void a_document_of_many_keys_is_judged_beside_the_loop(void **state)
{
    enum { KEYS = 1200 };
    static char names[KEYS][48];
    static mp__change changes[KEYS];

    (void)state;
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "production/wide/k%d", i);
        changes[i] = putting(names[i], "1", "");
    }
    assert_int_equal(change_all(changes, KEYS), 0);
    assert_int_equal(
        put("production/_schema/wide", "{\"additionalProperties\":{\"type\":\"integer\"}}"), 0);
    slow_begins();
    assert_int_equal(put("production/wide/k7", "2"), 0);
    assert_true(was_beside_the_loop());
    assert_int_equal(put("production/wide/k7", "none"), MP_EINVALID);
    assert_string_equal(instance, "/k7");
}

static void large_schemas_are_compiled_beside_the_loop(void **state)
{
    char *schema = long_json(100 * 1024);
    bool done = false;
    mp__write_request request = {.loop = loop,
                                 .identity = &identity,
                                 .examine_scope = MP_STR("production"),
                                 .examine_name = MP_STR("docs/"),
                                 .done = write_done,
                                 .context = &done};

    (void)state;
    schema[0] = '{';
    schema[100 * 1024 - 1] = '}';
    assert_int_equal(put("production/docs/a", "1"), 0);
    slow_begins();
    assert_int_equal(put("production/_schema/docs/", schema), 0);
    assert_true(was_beside_the_loop());
    assert_int_equal(put("production/docs/a", "2"), 0); /* by which it is asked for again */
    assert_true(was_beside_the_loop());
    assert_int_equal(put("production/docs/a", "3"), 0);
    assert_false(was_beside_the_loop());
    memcpy(schema + 1, "\"type\":\"array\"", 14);
    request.examine_schema = mp_str_of(schema);
    mp__schema_examine(manager, &request);
    world_wait(&done);
    assert_true(was_beside_the_loop());
    assert_int_equal(request.status, 0);
    assert_int_equal(broken, 1);
    assert_int_equal(put("production/_schema/docs/", schema), 0);
    assert_int_equal(put("production/docs/a", "4"), MP_EINVALID);
    memcpy(schema + 1, "\"type\":\"arrow\"", 14);
    assert_int_equal(put("production/_schema/docs/", schema), MP_EINVALID);
    done = false;
    mp__schema_examine(manager, &request);
    world_wait(&done);
    assert_int_equal(request.status, MP_EINVAL);
    free(schema);
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(large_json_is_looked_at_beside_the_loop_and_writes_keep_their_order),
    WORLD_TEST(large_claims_that_are_no_json_are_refused_with_the_place),
    WORLD_TEST(large_values_are_judged_beside_the_loop_and_writes_keep_their_order),
    WORLD_TEST(a_large_value_that_breaks_its_schema_is_refused_with_the_place),
    WORLD_TEST(a_document_of_many_keys_is_judged_beside_the_loop),
    WORLD_TEST(large_schemas_are_compiled_beside_the_loop),
};
MP_TEST_MAIN(tests)
