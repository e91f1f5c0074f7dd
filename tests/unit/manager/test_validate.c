/* SPDX-License-Identifier: Apache-2.0 */
/* What a schema promises of the values it is about, in a simulated machine. */
#include "mp_test.h"

#include <stdlib.h>

#include "manager/manager.h"
#include "mp_fail.h"
#include "mp_writes.h"
#include "origin/sqlite.h"

#define LIMITS                                                                                     \
    "{\"type\":\"object\",\"properties\":{\"low\":{\"type\":\"integer\"},"                         \
    "\"high\":{\"type\":\"integer\",\"maximum\":100}},\"required\":[\"low\",\"high\"]}"

#define LIMITS_HIGH "{\"properties\":{\"high\":{\"maximum\":100}}}"

static void limits_are(const char *address)
{
    mp__change both[] = {putting("production/limits/low", "1", ""),
                         putting("production/limits/high", "9", "")};

    assert_int_equal(put(address, LIMITS), 0);
    assert_int_equal(change_all(both, 2), 0);
}

/* ---- promises ---- */

static void what_breaks_its_schema_is_refused_with_the_place(void **state)
{
    (void)state;
    limits_are("production/_schema/limits");
    assert_int_equal(put("production/limits/high", "50"), 0);
    assert_int_equal(put("production/limits/high", "101"), MP_EINVALID);
    assert_string_equal(instance, "/high");
    assert_string_equal(keyword, "maximum");
    assert_non_null(strstr(text, "limits/high: "));
    assert_int_equal(put("production/limits/high", "no number"), MP_EINVALID);
    assert_string_equal(keyword, "type");
    assert_int_equal(put("production/limits/high", "51"), 0);
    assert_int_equal(put("production/other/high", "101"), 0);
    assert_int_equal(put("staging/limits/high", "101"), 0);
}

static void what_calls_itself_json_and_is_none_is_refused_with_the_place(void **state)
{
    mp__change several[] = {putting("production/a/good", "1", ""),
                            putting("production/a/list", "[1,\n 2", "application/json"),
                            putting("staging/a/schema", "{", "application/schema+json"),
                            putting("production/a/text", "{", "text/plain")};
    mp__change charset = putting("production/a/b", "{]", "application/json;charset=utf-8");
    mp__change dry = putting("production/a/c", "x", "application/json");

    (void)state;
    assert_int_equal(put_json("production/a/b", "{broken"), MP_EINVALID);
    assert_int_equal(broken, 1);
    assert_string_equal(keyword, "json");
    assert_int_equal(line, 1);
    assert_int_equal(column, 2);
    assert_non_null(
        strstr(text, "a/b: the value is not the JSON that its media type says: line 1"));
    assert_int_equal(put_json("production/a/b", ""), MP_EINVALID);
    assert_int_equal(change_all(&charset, 1), MP_EINVALID);
    assert_int_equal(put_json("production/a/b", "{\"a\":1,\"a\":123456789012345678901}"), 0);
    assert_int_equal(change_all(several, 4), MP_EINVALID);
    assert_int_equal(broken, 2);
    assert_int_equal(line, 2);
    assert_int_equal(column, 3);
    several[1].media_type = MP_STR("");
    several[2].media_type = MP_STR("application/octet-stream");
    assert_int_equal(change_all(several, 4), 0); /* nobody says that they are */
    dry_run = true;
    assert_int_equal(change_all(&dry, 1), MP_EINVALID);
    dry_run = false;
}

static void a_deletion_and_a_rollback_are_writes_like_others(void **state)
{
    uint64_t bad;

    (void)state;
    assert_int_equal(put("production/limits/high", "500"), 0);
    bad = last_revision;
    limits_are("production/_schema/limits");
    assert_int_equal(roll_back("production/limits/high", bad), MP_EINVALID);
    assert_string_equal(keyword, "maximum");
    assert_int_equal(del("production/limits/low"), MP_EINVALID);
    assert_string_equal(keyword, "required");
}

static void a_dry_run_is_refused_as_the_write_would_be_and_changes_nothing(void **state)
{
    uint64_t before;

    (void)state;
    limits_are("production/_schema/limits");
    before = last_revision;
    dry_run = true;
    assert_int_equal(put("production/limits/high", "500"), MP_EINVALID);
    assert_string_equal(keyword, "maximum");
    assert_int_equal(del("production/limits/low"), MP_EINVALID);
    assert_int_equal(put("production/_schema/limits", "{\"type\": 7}"), MP_EINVALID);
    assert_int_equal(put("production/limits/high", "50"), 0);
    assert_int_equal(last_revision, 0);
    dry_run = false;
    assert_int_equal(put("production/limits/high", "51"), 0); /* nobody holds the gate */
    assert_int_equal(last_revision, before + 1);
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/data/origin.db", "/away"), 0);
    mp_sim_run(sim, 3000);
    dry_run = true;
    assert_int_equal(put("production/others/a", "1"), MP_EORIGINLOST);
    dry_run = false;
    assert_int_equal(put("production/others/a", "1"), MP_EORIGINLOST);
}

static void a_document_is_checked_with_all_writes_of_the_request(void **state)
{
    mp__change both[] = {putting("production/limits/low", "1", ""),
                         putting("production/limits/high", "9", "")};
    mp__change gone[] = {{.op = MP__CHANGE_DELETE, .address = MP_STR("production/limits/low")},
                         {.op = MP__CHANGE_DELETE, .address = MP_STR("production/limits/high")}};

    (void)state;
    assert_int_equal(put("production/_schema/limits", LIMITS), 0);
    assert_int_equal(put("production/limits/low", "1"), MP_EINVALID);
    assert_string_equal(keyword, "required");
    assert_int_equal(change_all(both, 2), 0);
    both[1] = putting("production/limits/high", "999", "");
    assert_int_equal(change_all(both, 2), MP_EINVALID);
    assert_int_equal(change_all(gone, 2), 0);
}

static void a_schema_of_the_base_holds_in_every_environment(void **state)
{
    (void)state;
    assert_int_equal(put("base/_schema/limits", LIMITS), 0);
    assert_int_equal(put("production/limits/low", "1"), MP_EINVALID);
    assert_int_equal(put("base/limits/low", "1"), MP_EINVALID);
    assert_int_equal(put("production/_schema/limits", "{}"), 0);
    assert_int_equal(put("production/limits/low", "1"), 0);
    assert_int_equal(put("staging/limits/low", "1"), MP_EINVALID);
}

static void what_a_layer_leaves_out_is_taken_from_those_behind_it(void **state)
{
    mp__change both[] = {putting("base/limits/low", "1", ""), putting("base/limits/high", "9", "")};

    (void)state;
    assert_int_equal(put("base/_schema/limits", LIMITS), 0);
    assert_int_equal(change_all(both, 2), 0);
    assert_int_equal(put("production~eu/limits/high", "20"), 0);
    assert_int_equal(put("production~eu/limits/high", "200"), MP_EINVALID);
    assert_int_equal(del("production~eu/limits/high"), 0);
}

static void a_schema_that_is_none_is_refused_with_the_place(void **state)
{
    (void)state;
    assert_int_equal(put("production/_schema/limits", "{\"type\": 7}"), MP_EINVALID);
    assert_string_equal(keyword, "schema");
    assert_non_null(strstr(text, "_schema/limits: "));
    assert_int_equal(put("production/_schema/limits", "{"), MP_EINVALID);
    assert_int_equal(put("production/limits/low", "anything"), 0);
}

static void a_changed_schema_counts_for_the_next_write(void **state)
{
    (void)state;
    limits_are("production/_schema/limits");
    assert_int_equal(put("production/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("production/_schema/limits", "{\"type\":\"object\"}"), 0);
    assert_int_equal(put("production/limits/high", "500"), 0);
    assert_int_equal(put("production/_schema/limits", LIMITS), 0);
    assert_int_equal(put("production/limits/low", "2"), MP_EINVALID);
    assert_int_equal(put("production/limits/high", "5"), 0);
    assert_int_equal(del("production/_schema/limits"), 0);
    assert_int_equal(put("production/limits/high", "500"), 0);
}

static void below_a_path_the_part_is_the_document(void **state)
{
    (void)state;
    assert_int_equal(put("production/_schema/app/db", "{\"properties\":{\"port\":"
                                                      "{\"type\":\"integer\"}}}"),
                     0);
    assert_int_equal(put("production/app/db.port", "5432"), 0);
    assert_int_equal(put("production/app/db.port", "none"), MP_EINVALID);
    assert_string_equal(instance, "/port");
    assert_int_equal(put("production/app/dbx.port", "none"), 0);
    assert_int_equal(put("production/app/port", "none"), 0);
}

static void below_a_beginning_every_value_is_a_document(void **state)
{
    (void)state;
    assert_int_equal(put("production/_schema/app/orders/", LIMITS), 0);
    assert_int_equal(put_json("production/app/orders/1", "{\"low\":1,\"high\":2}"), 0);
    assert_int_equal(put_json("production/app/orders/2", "{\"low\":1}"), MP_EINVALID);
    assert_string_equal(keyword, "required");
    assert_int_equal(put_json("production/app/orders/2", "{\"low\":"), MP_EINVALID);
    assert_int_equal(del("production/app/orders/1"), 0);
}

static void a_number_of_more_than_64_bits_is_judged_as_what_it_is(void **state)
{
    (void)state;
    assert_int_equal(put("production/_schema/big",
                         "{\"properties\":{\"n\":{\"type\":\"integer\",\"maximum\":1e19}}}"),
                     0);
    assert_int_equal(put("production/_schema/app/each/", "{\"type\":\"number\",\"maximum\":1e19}"),
                     0);
    assert_int_equal(put("production/big/n", "9223372036854775808"), 0);
    assert_int_equal(put_json("production/big/n", "18446744073709551616"), MP_EINVALID);
    assert_string_equal(keyword, "maximum");
    assert_int_equal(put("production/app/each/a", "9223372036854775808"), 0);
    assert_int_equal(put("production/app/each/a", "18446744073709551616"), MP_EINVALID);
    assert_string_equal(keyword, "maximum");
    assert_int_equal(put("production/app/each/a", "1e400"), MP_EINVALID);
    assert_non_null(strstr(text, "line 1, column 1: the number is larger than a double holds"));
    assert_int_equal(put("production/big/n", "1e400"), MP_EINVALID);
    assert_non_null(strstr(text, "the number is larger than a double holds"));
    assert_int_equal(put_json("production/app/each/a", "{\"a\": 1,\n \"b\" 2}"), MP_EINVALID);
    assert_non_null(strstr(text, "line 2, column 6: ':' behind the name is expected"));
}

static void without_an_origin_nothing_is_written_unchecked(void **state)
{
    (void)state;
    limits_are("production/_schema/limits");
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/data/origin.db", "/away"), 0);
    mp_sim_run(sim, 3000);
    assert_int_equal(put("production/limits/high", "500"), MP_EORIGINLOST);
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/away", "/data/origin.db"), 0);
    mp_sim_run(sim, 3000);
    assert_int_equal(put("production/limits/high", "500"), MP_EINVALID);
}

/* Two writers, each of whose writes is good alone: one of them must be refused. */
enum { WRITERS = 40 };
static int answered, accepted;

static void racer_done(mp__write_request *request)
{
    answered++;
    accepted += request->status == 0;
    assert_true(request->status == 0 || request->status == MP_EINVALID);
}

static bool all_answered(void *context)
{
    (void)context;
    return answered == WRITERS;
}

static void writers_that_race_cannot_break_it_together(void **state)
{
    static mp__write_request requests[WRITERS];
    static mp__change changes[WRITERS];
    static char addresses[WRITERS][64];

    (void)state;
    assert_int_equal(put("production/_schema/few", "{\"maxProperties\":7}"), 0);
    answered = accepted = 0;
    for (int i = 0; i < WRITERS; i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "production/few/k%d", i);
        changes[i] = putting(addresses[i], "1", "");
        requests[i] = (mp__write_request){.loop = loop,
                                          .identity = &identity,
                                          .changes = &changes[i],
                                          .count = 1,
                                          .done = racer_done};
        mp__write_start(manager, &requests[i]);
    }
    assert_true(mp_sim_run_until(sim, all_answered, NULL, 60000));
    assert_int_equal(accepted, 7);
}

static void writes_keep_their_order_also_where_only_some_are_checked(void **state)
{
    mp__change changes[] = {putting("production/limits/high", "1", ""),
                            putting("production/free/a", "2", ""),
                            putting("production/limits/high", "3", "")};
    mp__write_request requests[3];

    (void)state;
    limits_are("production/_schema/limits");
    ordered = 0;
    for (int i = 0; i < 3; i++) {
        start_ordered(&requests[i], &changes[i], i);
    }
    assert_true(mp_sim_run_until(sim, all_ordered, NULL, 60000));
    for (int i = 0; i < 3; i++)
        assert_int_equal(order[i], i);
    assert_true(requests[0].revision < requests[1].revision);
    assert_true(requests[1].revision < requests[2].revision);
}

static void what_would_break_a_schema_is_told_before_it_is_there(void **state)
{
    bool done = false;
    mp__write_request request = {.loop = loop,
                                 .identity = &identity,
                                 .examine_scope = MP_STR("production"),
                                 .examine_name = MP_STR("limits"),
                                 .examine_schema = MP_STR(LIMITS),
                                 .done = write_done,
                                 .context = &done};

    (void)state;
    assert_int_equal(put("production/limits/high", "500"), 0);
    mp__schema_examine(manager, &request);
    world_wait(&done);
    assert_int_equal(request.status, 0);
    assert_int_equal(broken, 2);
    done = false;
    request.examine_schema = MP_STR("{\"type\":7}");
    mp__schema_examine(manager, &request);
    world_wait(&done);
    assert_int_equal(request.status, MP_EINVAL);
    assert_int_equal(put("production/limits/high", "501"), 0);
}

/* ---- scopes that fall back to the one that is written to ---- */

static void a_write_to_the_base_is_judged_by_a_schema_that_only_an_inner_scope_has(void **state)
{
    (void)state;
    assert_int_equal(put("base/limits/high", "9"), 0);
    assert_int_equal(put("production/limits/low", "1"), 0);
    assert_int_equal(put("production/_schema/limits", LIMITS), 0);
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    assert_string_equal(scope, "production");
    assert_string_equal(keyword, "maximum");
    assert_non_null(strstr(text, "as seen in production: limits/high: "));
    assert_int_equal(del("base/limits/high"), MP_EINVALID);
    assert_string_equal(keyword, "required");
    assert_int_equal(put("base/limits/high", "50"), 0);
    assert_int_equal(put("staging/limits/high", "500"), 0); /* of no scope that has the schema */
}

static void a_write_to_the_base_is_judged_with_what_an_inner_scope_says_otherwise(void **state)
{
    (void)state;
    assert_int_equal(put("base/_schema/limits", "{\"maxProperties\":2}"), 0);
    assert_int_equal(put("base/limits/low", "1"), 0);
    assert_int_equal(put("production/limits/other", "1"), 0);
    assert_int_equal(put("base/limits/high", "9"), MP_EINVALID);
    assert_string_equal(scope, "production");
    assert_int_equal(put("base/limits/low", "2"), 0);
    assert_int_equal(del("production/limits/other"), 0);
    assert_int_equal(put("base/limits/high", "9"), 0);
    assert_int_equal(put("production/limits/other", "1"), MP_EINVALID);
    assert_string_equal(scope, "");
}

static void what_a_nearer_layer_hides_is_not_judged(void **state)
{
    mp__change mask = putting("staging/limits/high", "", MP__MEDIA_MASK);

    (void)state;
    limits_are("production/_schema/limits");
    assert_int_equal(put("staging/_schema/limits", "{\"properties\":{\"high\":{\"maximum\":7}}}"),
                     0);
    assert_int_equal(change_all(&mask, 1), 0);
    assert_int_equal(put("base/limits/high", "500"), 0);
    assert_int_equal(del("production/limits/high"),
                     MP_EINVALID); /* what is behind it would be seen */
    assert_string_equal(keyword, "maximum");
    assert_int_equal(del("staging/limits/high"), MP_EINVALID);
    assert_int_equal(put("base/limits/high", "5"), 0);
    assert_int_equal(del("production/limits/high"), 0);
    assert_int_equal(del("staging/limits/high"), 0);
}

static void values_that_are_documents_each_are_judged_where_they_are_seen(void **state)
{
    (void)state;
    assert_int_equal(put("production/_schema/app/orders/", LIMITS), 0);
    assert_int_equal(put_json("production/app/orders/1", "{\"low\":1,\"high\":2}"), 0);
    assert_int_equal(put_json("base/app/orders/1", "{\"low\":1}"), 0); /* hidden */
    assert_int_equal(put_json("base/app/orders/2", "{\"low\":1}"), MP_EINVALID);
    assert_string_equal(scope, "production");
    assert_non_null(strstr(text, "as seen in production: app/orders/2: "));
    assert_int_equal(put_json("base/app/orders/2", "{\"low\":1,\"high\":2}"), 0);
    assert_int_equal(del("production/app/orders/1"), MP_EINVALID); /* would show the base's */
    assert_int_equal(del("base/app/orders/1"), 0);
    assert_int_equal(del("production/app/orders/1"), 0);
}

static void all_layers_in_front_are_judged_also_those_without_a_layer_between(void **state)
{
    (void)state;
    assert_int_equal(put("production~eu~i7/_schema/limits", LIMITS), 0);
    assert_int_equal(put("base/limits/low", "1"), MP_EINVALID);
    assert_string_equal(scope, "production~eu~i7");
    assert_int_equal(put("production~eu/limits/low", "1"), MP_EINVALID);
    assert_int_equal(put("production~us/limits/low", "1"), 0);
    assert_int_equal(put("production-x/limits/low", "1"), 0);
    assert_int_equal(del("production~eu~i7/_schema/limits"), 0);
    assert_int_equal(put("base/limits/low", "1"), 0);
}

static void what_was_broken_in_an_inner_scope_before_does_not_stop_the_others(void **state)
{
    (void)state;
    assert_int_equal(put("production/limits/high", "500"), 0);
    assert_int_equal(put("production/_schema/limits", LIMITS), 0);
    assert_int_equal(put("base/limits/other", "1"), 0);
    assert_int_equal(put("base/limits/low", "none"), MP_EINVALID); /* one more */
    assert_string_equal(instance, "/low");
    assert_int_equal(broken, 1);
    assert_int_equal(put("base/limits/low", "1"), 0);
    assert_int_equal(del("base/limits/low"), MP_EINVALID);
    assert_string_equal(keyword, "required");
    assert_int_equal(put("production/limits/other", "2"), MP_EINVALID); /* who writes there mends */
}

static void what_mends_a_part_of_what_was_broken_passes_and_one_more_does_not(void **state)
{
    static const char schema[] = "{\"maxProperties\":2,\"additionalProperties\":{\"type\":"
                                 "\"integer\",\"maximum\":9}}";
    char address[64];

    (void)state;
    for (int i = 0; i < 25; i++) { /* more than are told, and each too large */
        snprintf(address, sizeof(address), "base/limits/k%02d", i);
        assert_int_equal(put(address, "500"), 0);
    }
    assert_int_equal(put("production/limits/own", "1"), 0);
    assert_int_equal(put("production/_schema/limits", schema), 0);
    assert_int_equal(put("base/limits/k00", "5"), 0);
    assert_int_equal(put("base/limits/k00", "500"), MP_EINVALID); /* broken anew */
    for (int i = 3; i < 25; i++) { /* fewer at each step, also in what the text counts */
        snprintf(address, sizeof(address), "base/limits/k%02d", i);
        assert_int_equal(del(address), 0);
    }
    assert_int_equal(put("base/limits/more", "1"), 0); /* there were too many before */
    assert_int_equal(put("base/limits/more", "10"), MP_EINVALID);
    assert_string_equal(instance, "/more");
    assert_int_equal(broken, 1);
}

static void a_request_is_judged_with_its_changes_in_all_layers(void **state)
{
    mp__change both[] = {putting("base/limits/high", "500", ""),
                         putting("production/limits/high", "9", "")};
    mp__change move[] = {putting("base/limits/high", "9", ""),
                         {.op = MP__CHANGE_DELETE, .address = MP_STR("production/limits/high")}};

    (void)state;
    assert_int_equal(put("production/limits/low", "1"), 0);
    assert_int_equal(put("base/limits/high", "9"), 0);
    assert_int_equal(put("production/_schema/limits", LIMITS), 0);
    assert_int_equal(change_all(both, 2), 0);
    assert_int_equal(del("production/limits/high"), MP_EINVALID);
    assert_int_equal(change_all(move, 2), 0);
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
}

static void rollbacks_and_dry_runs_of_an_outer_layer_are_judged_likewise(void **state)
{
    uint64_t bad;

    (void)state;
    assert_int_equal(put("base/limits/high", "500"), 0);
    bad = last_revision;
    assert_int_equal(put("base/limits/high", "9"), 0);
    assert_int_equal(put("production/limits/low", "1"), 0);
    assert_int_equal(put("production/_schema/limits", LIMITS), 0);
    assert_int_equal(roll_back("base/limits/high", bad), MP_EINVALID);
    assert_string_equal(scope, "production");
    dry_run = true;
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("base/limits/high", "50"), 0);
    dry_run = false;
    assert_int_equal(put("base/limits/high", "50"), 0);
}

/* More of them than are all looked at beforehand. */
static void a_scope_that_gets_its_first_key_is_judged_from_then_on(void **state)
{
    char address[80];

    (void)state;
    assert_int_equal(put("base/limits/high", "9"), 0);
    for (int i = 0; i < 80; i++) {
        snprintf(address, sizeof(address), "production~r%d/limits/low", i);
        assert_int_equal(put(address, "1"), 0);
        snprintf(address, sizeof(address), "production~r%d/_schema/limits", i);
        if (i % 9 == 0)
            assert_int_equal(put(address, LIMITS), 0);
        if (i % 20 == 0)
            assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
        assert_string_equal(scope, i % 20 ? "" : "production~r0");
    }
    assert_int_equal(put("production~r0/_schema/limits", "{}"), 0);
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    assert_string_equal(scope, "production~r18");
    assert_int_equal(broken, 1); /* once, not once a scope */
    world_close();
    world_open("/data");
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    for (int i = 9; i < 80; i += 9) {
        snprintf(address, sizeof(address), "production~r%d/_schema/limits", i);
        assert_int_equal(del(address), 0);
    }
    assert_int_equal(put("base/limits/high", "500"), 0);
}

static void a_schema_is_not_inherited_where_the_overlay_says_so(void **state)
{
    (void)state;
    world_close();
    option("overlay.except", "limits");
    world_open("/data");
    assert_int_equal(put("production/limits/low", "1"), 0);
    assert_int_equal(put("production/_schema/limits", LIMITS), 0);
    assert_int_equal(put("base/limits/high", "500"), 0); /* nobody else reads it */
    assert_int_equal(put("production/limits/high", "500"), MP_EINVALID);
}

enum { ORDERS = 10300 };

static void documents_each_may_be_more_than_a_list_holds(void **state)
{
    static char names[ORDERS][48];
    static mp__change changes[ORDERS];
    mp__change two[] = {putting("base/app/orders/00001", "7", "application/json"),
                        putting("base/app/orders/10250x", "7", "application/json")};

    (void)state;
    for (int i = 0; i < ORDERS; i++) {
        snprintf(names[i], sizeof(names[i]), "production/app/orders/%05d", i);
        changes[i] = putting(names[i], "1", "application/json");
    }
    assert_int_equal(change_all(changes, ORDERS), 0);
    assert_int_equal(put("production/_schema/app/orders/", "{\"maximum\":5}"), 0);
    assert_int_equal(change_all(two, 1), 0); /* hidden */
    assert_int_equal(change_all(two, 2), MP_EINVALID);
    assert_non_null(strstr(text, "app/orders/10250x"));
    two[1] = putting("base/app/orders/10250", "7", "application/json");
    assert_int_equal(change_all(two, 2), 0);
}

static void a_document_of_too_many_keys_stops_only_those_who_are_judged_by_it(void **state)
{
    static char names[ORDERS][48];
    static mp__change changes[ORDERS];
    mp__change mask = putting("staging/_schema/many", "", MP__MEDIA_MASK);

    (void)state;
    for (int i = 0; i < ORDERS; i++) {
        snprintf(names[i], sizeof(names[i]), "staging/many/k%05d", i);
        changes[i] = putting(names[i], "1", "");
    }
    assert_int_equal(change_all(changes, ORDERS), 0);
    assert_int_equal(put("production/many/x", "1"), 0);
    assert_int_equal(put("base/_schema/many", "{\"maxProperties\":3}"), 0);
    assert_int_equal(put("staging/many/a", "1"), MP_ELIMIT);
    assert_non_null(strstr(text, "more than 10000 keys in staging: too many to be checked as one"));
    assert_int_equal(put("staging~eu/many/a", "1"), MP_ELIMIT);
    assert_non_null(strstr(text, "keys in staging: too many"));
    assert_int_equal(del(names[0]), 0); /* the way back */
    assert_int_equal(put("base/many/a", "1"), 0);
    assert_int_equal(put("base/many/b", "1"), 0);
    assert_int_equal(change_all(&mask, 1), 0);
    assert_int_equal(put("staging/many/a", "1"), 0);
    assert_int_equal(put("base/many/c", "1"), MP_EINVALID);
    assert_string_equal(scope, "production");
}

static void without_an_origin_what_is_kept_says_whether_an_inner_scope_has_a_schema(void **state)
{
    (void)state;
    world_close();
    option("cache.write_modes", "free=back, limits=back");
    world_open("/data");
    limits_are("production/_schema/limits");
    assert_int_equal(put("base/limits/high", "9"), 0);
    mp_sim_run(sim, 3000);
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/data/origin.db", "/away"), 0);
    mp_sim_run(sim, 3000);
    assert_int_equal(put("base/free/a", "1"),
                     0); /* durable here, and nobody's schema is about it */
    assert_int_equal(put("staging/limits/high", "500"), 0);
    assert_int_equal(put("base/limits/high", "50"), MP_EORIGINLOST);
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/away", "/data/origin.db"), 0);
    mp_sim_run(sim, 3000);
    assert_int_equal(del("production/limits/high"), 0); /* the base's 9 is seen there now */
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    assert_string_equal(scope, "production");
    assert_int_equal(put("base/limits/high", "50"), 0);
}

static void without_memory_nothing_passes_unjudged(void **state)
{
    size_t refused = 0;

    (void)state;
    assert_int_equal(put("production/limits/low", "1"), 0);
    assert_int_equal(put("production/_schema/limits", LIMITS), 0);
    for (size_t n = 1;; n++) {
        int status;

        assert_int_equal(put("production/_schema/other", "{}"), 0); /* so that it is learned anew */
        mp_fail_begin(n);
        status = put("base/limits/high", "500");
        if (!mp_fail_end())
            break;
        assert_true(status == MP_EINVALID || status == MP_ENOMEM || status == MP_EORIGIN);
        refused += status != MP_EINVALID;
    }
    assert_true(refused > 10);
}

/* ---- rows that the origin cannot read ---- */

static mp__origin_ops damaged_ops;
static mp__origin *opened;
static mp_str damaged; /* the row */
static void (*asked_done)(mp__list *list, int status, const mp__record *records, size_t count,
                          uint64_t next);

/* As an origin answers that has such a row: what is left of the list, and that it is not all. */
static void leave_out(mp__list *list, int status, const mp__record *records, size_t count,
                      uint64_t next)
{
    mp__record *left = calloc(count + 1, sizeof(*left));
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        if (!mp_str_equal(records[i].address, damaged))
            left[n++] = records[i];
    asked_done(list, status == 0 && n < count ? MP_ECORRUPT : status, left, n, next);
    free(left);
}

static void list_damaged(mp__origin *origin, mp__list *list)
{
    asked_done = list->done; /* of all lists the same */
    list->done = leave_out;
    mp__sqlite_ops.list(origin, list);
}

static int open_damaged(const mp__origin_options *opts, mp__origin **ret_origin, mp__diag *diag)
{
    int rc = mp__sqlite_ops.open(opts, ret_origin, diag);

    if (rc == 0) {
        (*ret_origin)->ops = &damaged_ops;
        opened = *ret_origin;
    }
    return rc;
}

/* Open again, with the row at @address damaged and nothing of it kept. */
static void damage(const char *address)
{
    world_close();
    damaged = mp_str_of(address);
    damaged_ops = mp__sqlite_ops;
    damaged_ops.open = open_damaged;
    damaged_ops.list = list_damaged;
    assert_int_equal(world_try_open("/data", false, &damaged_ops, NULL), 0);
    mp_sim_run(sim, 20);
}

static bool past_done;

static void past_came(mp__write *write, int status)
{
    (void)write;
    past_done = true;
    assert_int_equal(status, 0);
}

/* As another writer may leave it there: with changes that no gate saw. */
static void write_past_the_gate(mp__change *changes, size_t count)
{
    mp__write write = {.changes = changes, .count = count, .done = past_came};

    damage("");
    past_done = false;
    mp__origin_write(opened, &write);
    world_wait(&past_done);
    damage("");
}

static void what_was_there_before_anybody_looked_can_be_brought_back(void **state)
{
    mp__change old = putting("production/a/b", "{broken", "application/json");

    (void)state;
    write_past_the_gate(&old, 1);
    assert_int_equal(put_json("production/a/b", "{broken"), MP_EINVALID);
    assert_int_equal(put_json("production/a/b", "{}"), 0);
    assert_int_equal(roll_back("production/a/b", last_revision - 1), 0);
}

static void a_damaged_schema_lets_nothing_pass_unjudged(void **state)
{
    (void)state;
    assert_int_equal(put("base/_schema/limits", LIMITS_HIGH), 0);
    assert_int_equal(put("base/limits/high", "1"), 0);
    assert_int_equal(put("zother/_schema/foo", LIMITS_HIGH), 0);
    assert_int_equal(put("production/limits/high", "1"), 0);
    damage("zother/_schema/foo");
    /* those that zother does not see are judged as ever */
    assert_int_equal(put("production/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("production/limits/high", "50"), 0);
    /* those that it sees cannot be */
    assert_int_equal(put("base/limits/high", "500"), MP_ECORRUPT);
    assert_non_null(strstr(text, "a schema of zother is damaged"));
    assert_int_equal(put("base/limits/high", "500"), MP_ECORRUPT);
    assert_int_equal(put("zother/foo/high", "500"), MP_ECORRUPT);
    assert_int_equal(put("production/limits/high", "500"), MP_EINVALID);
    /* it can be mended */
    assert_int_equal(put("zother/_schema/foo", LIMITS_HIGH), 0);
    damaged = mp_str_new("", 0);
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("zother/foo/high", "500"), MP_EINVALID);
    assert_int_equal(put("base/limits/high", "50"), 0);
}

static void a_damaged_schema_can_be_deleted(void **state)
{
    (void)state;
    assert_int_equal(put("base/_schema/limits", LIMITS_HIGH), 0);
    damage("base/_schema/limits");
    assert_int_equal(put("base/limits/high", "5"), MP_ECORRUPT);
    assert_int_equal(del("base/_schema/limits"), 0);
    damaged = mp_str_new("", 0);
    assert_int_equal(put("base/limits/high", "500"), 0);
}

static void a_damaged_value_in_an_inner_scope_stops_no_other_and_can_be_mended(void **state)
{
    (void)state;
    assert_int_equal(put("base/_schema/limits", LIMITS_HIGH), 0);
    assert_int_equal(put("base/limits/high", "1"), 0);
    assert_int_equal(put("production/limits/z", "1"), 0);
    assert_int_equal(put("staging/limits/z", "1"), 0);
    damage("production/limits/z");
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("base/limits/high", "50"), 0);
    assert_int_equal(put("staging/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("staging/limits/high", "50"), 0);
    assert_int_equal(put("production/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("production~eu/limits/high", "5"), MP_ECORRUPT);
    assert_non_null(strstr(text, "what production has of it is damaged"));
    assert_int_equal(put("production/limits/z", "2"), 0);
    assert_int_equal(del("production/limits/z"), 0);
    damaged = mp_str_new("", 0);
    assert_int_equal(put("production~eu/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("production~eu/limits/high", "5"), 0);
}

static void where_a_damaged_value_is_written_what_it_hides_is_not_blamed(void **state)
{
    (void)state;
    limits_are("production/_schema/limits");
    damage("production/limits/low");
    assert_int_equal(put("production/limits/high", "500"), MP_EINVALID);
    assert_string_equal(keyword, "maximum");
    assert_int_equal(broken, 1); /* `low` is required, and hidden */
    assert_int_equal(put("production/limits/high", "7"), 0);
    assert_int_equal(put("production/limits/low", "2"), 0);
    damaged = mp_str_new("", 0);
    assert_int_equal(del("production/limits/low"), MP_EINVALID);
}

static void a_schema_of_an_inner_scope_that_is_none_stops_only_who_writes_there(void **state)
{
    mp__change none = putting("production/_schema/limits", "{", "");

    (void)state;
    assert_int_equal(put("staging/_schema/limits", LIMITS_HIGH), 0);
    assert_int_equal(put("production/limits/high", "1"), 0);
    write_past_the_gate(&none, 1);
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    assert_string_equal(scope, "staging");
    assert_int_equal(put("base/limits/high", "50"), 0);
    assert_int_equal(put("production/limits/high", "50"), MP_EINVALID);
    assert_non_null(strstr(text, "its schema does not compile"));
}

static void what_takes_too_long_in_an_inner_scope_before_stops_only_who_writes_there(void **state)
{
    char slow[4000];

    (void)state;
    memset(slow, 'a', sizeof(slow));
    memcpy(slow + sizeof(slow) - 2, "!", 2);
    assert_int_equal(put("production/limits/slow", slow), 0);
    assert_int_equal(put("production/_schema/limits",
                         "{\"properties\":{\"slow\":{\"pattern\":\"^(a+)+(a+)+$\"}}}"),
                     0);
    assert_int_equal(put("base/limits/high", "5"), 0);
    assert_int_equal(put("production/limits/high", "5"), MP_ELIMIT);
    assert_int_equal(put("production/limits/slow", "aa"), 0);
    assert_int_equal(put("base/limits/slow", slow), 0); /* hidden there */
    assert_int_equal(del("production/limits/slow"), MP_ELIMIT);
    assert_int_equal(put("production/limits/high", "5"), 0);
    assert_int_equal(del("base/limits/slow"), 0);
    assert_int_equal(del("production/limits/slow"), 0);
    assert_int_equal(put("base/limits/slow", slow), MP_ELIMIT); /* by this request */
}

static void by_two_schemas_every_scope_is_judged(void **state)
{
    char address[80];

    (void)state;
    assert_int_equal(put("base/_schema/limits", LIMITS_HIGH), 0);
    assert_int_equal(put("base/_schema/limits/few", "{\"maxProperties\":2}"), 0);
    assert_int_equal(put("base/limits/few.a", "1"), 0);
    for (int i = 0; i < 40; i++) {
        snprintf(address, sizeof(address), "e%02d/limits/%s", i, i == 37 ? "few.c" : "other");
        assert_int_equal(put(address, "1"), 0);
    }
    assert_int_equal(put("base/limits/few.b", "1"), MP_EINVALID);
    assert_string_equal(scope, "e37");
    assert_int_equal(put("e37/limits/few.a", "1"), 0);
    assert_int_equal(put("base/limits/few.a", "2"), 0);
}

/* ---- more than can be known ---- */

enum { SCOPES = 10100 };

static void beyond_the_scopes_that_are_known_every_write_is_answered(void **state)
{
    static char names[SCOPES][32];
    static mp__change changes[SCOPES];

    (void)state;
    world_close();
    option("cache.write_modes", "free=back");
    world_open("/data");
    for (int i = 0; i < SCOPES; i++) {
        snprintf(names[i], sizeof(names[i]), "e%05d/other/k", i);
        changes[i] = putting(names[i], "1", "");
    }
    for (int i = 0; i < SCOPES; i += 100)
        assert_int_equal(change_all(changes + i, 100), 0);
    assert_int_equal(put("e00001/_schema/limits", LIMITS_HIGH), 0);
    assert_int_equal(put("outside/free/a", "1"), 0);
    mp_sim_run(sim, 3000);
    assert_int_equal(mp__env_rename(mp_sim_env(sim), "/data/origin.db", "/away"), 0);
    mp_sim_run(sim, 3000);
    assert_int_equal(put("e00002/free/a", "2"), 0); /* the base is known, though it has no keys */
    assert_int_equal(put("outside/free/a", "2"), MP_EORIGINLOST); /* nobody knows */
    assert_int_equal(put("e00001/limits/high", "50"), MP_EORIGINLOST);
    assert_int_equal(put("e00002/free/a", "3"), 0);
}

enum { MANY = 1000 };

static void schemas_are_no_more_than_are_looked_at(void **state)
{
    static char names[MANY + 2][48];
    static mp__change changes[MANY + 2];
    mp__change swap[2] = {{.op = MP__CHANGE_DELETE, .address = MP_STR("other/_schema/n00000")},
                          putting("other/_schema/new", "{}", "")};

    (void)state;
    assert_int_equal(put("base/_schema/limits", LIMITS_HIGH), 0);
    for (int i = 0; i < MANY + 2; i++) {
        snprintf(names[i], sizeof(names[i]), "other/_schema/n%05d", i);
        changes[i] = putting(names[i], "{}", "");
    }
    assert_int_equal(change_all(changes, MANY + 1), MP_ELIMIT);
    assert_int_equal(change_all(changes, MANY), 0);
    assert_int_equal(put(names[MANY], "{}"), MP_ELIMIT);
    assert_non_null(strstr(text, "a scope has at most 1000 schemas, and other has 1000"));
    assert_int_equal(put(names[7], "{\"type\":\"object\"}"), 0);
    assert_int_equal(change_all(swap, 2), 0);
    assert_int_equal(put("third/_schema/x", "{}"), 0);
    assert_int_equal(put("base/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("other/limits/high", "5"), 0);
    assert_int_equal(del(names[5]), 0);
    assert_int_equal(put(names[MANY], "{}"), 0);
}

static void beyond_that_others_are_judged_and_schemas_deleted(void **state)
{
    static char names[MANY + 2][48];
    static mp__change changes[MANY + 2];

    (void)state;
    assert_int_equal(put("base/_schema/limits", LIMITS_HIGH), 0);
    assert_int_equal(put("third/limits/high", "5"), 0);
    for (int i = 0; i < MANY + 2; i++) {
        snprintf(names[i], sizeof(names[i]), "other/_schema/n%05d", i);
        changes[i] = putting(names[i], "{}", "");
    }
    write_past_the_gate(changes, MANY + 2);
    assert_int_equal(put("third/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("third/limits/high", "50"), 0);
    assert_int_equal(put("third/_schema/x", "{}"), 0);
    assert_int_equal(put("other/limits/high", "50"), MP_ELIMIT);
    assert_non_null(strstr(text, "there are more than 1000 schemas in other: delete some"));
    assert_int_equal(put("other/_schema/more", "{}"), MP_ELIMIT);
    assert_int_equal(del(names[MANY + 1]), 0);
    assert_int_equal(del(names[0]), 0);
    assert_int_equal(put("other/limits/high", "500"), MP_EINVALID);
    assert_int_equal(put("other/limits/high", "50"), 0);
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(what_breaks_its_schema_is_refused_with_the_place),
    WORLD_TEST(what_calls_itself_json_and_is_none_is_refused_with_the_place),
    WORLD_TEST(a_deletion_and_a_rollback_are_writes_like_others),
    WORLD_TEST(a_dry_run_is_refused_as_the_write_would_be_and_changes_nothing),
    WORLD_TEST(a_document_is_checked_with_all_writes_of_the_request),
    WORLD_TEST(a_schema_of_the_base_holds_in_every_environment),
    WORLD_TEST(what_a_layer_leaves_out_is_taken_from_those_behind_it),
    WORLD_TEST(a_schema_that_is_none_is_refused_with_the_place),
    WORLD_TEST(a_changed_schema_counts_for_the_next_write),
    WORLD_TEST(below_a_path_the_part_is_the_document),
    WORLD_TEST(below_a_beginning_every_value_is_a_document),
    WORLD_TEST(a_number_of_more_than_64_bits_is_judged_as_what_it_is),
    WORLD_TEST(without_an_origin_nothing_is_written_unchecked),
    WORLD_TEST(writers_that_race_cannot_break_it_together),
    WORLD_TEST(writes_keep_their_order_also_where_only_some_are_checked),
    WORLD_TEST(what_would_break_a_schema_is_told_before_it_is_there),
    WORLD_TEST(a_write_to_the_base_is_judged_by_a_schema_that_only_an_inner_scope_has),
    WORLD_TEST(a_write_to_the_base_is_judged_with_what_an_inner_scope_says_otherwise),
    WORLD_TEST(what_a_nearer_layer_hides_is_not_judged),
    WORLD_TEST(values_that_are_documents_each_are_judged_where_they_are_seen),
    WORLD_TEST(all_layers_in_front_are_judged_also_those_without_a_layer_between),
    WORLD_TEST(what_was_broken_in_an_inner_scope_before_does_not_stop_the_others),
    WORLD_TEST(what_mends_a_part_of_what_was_broken_passes_and_one_more_does_not),
    WORLD_TEST(a_request_is_judged_with_its_changes_in_all_layers),
    WORLD_TEST(rollbacks_and_dry_runs_of_an_outer_layer_are_judged_likewise),
    WORLD_TEST(a_scope_that_gets_its_first_key_is_judged_from_then_on),
    WORLD_TEST(a_schema_is_not_inherited_where_the_overlay_says_so),
    WORLD_TEST(documents_each_may_be_more_than_a_list_holds),
    WORLD_TEST(a_document_of_too_many_keys_stops_only_those_who_are_judged_by_it),
    WORLD_TEST(without_an_origin_what_is_kept_says_whether_an_inner_scope_has_a_schema),
    WORLD_TEST(without_memory_nothing_passes_unjudged),
    WORLD_TEST(what_was_there_before_anybody_looked_can_be_brought_back),
    WORLD_TEST(a_damaged_schema_lets_nothing_pass_unjudged),
    WORLD_TEST(a_damaged_schema_can_be_deleted),
    WORLD_TEST(a_damaged_value_in_an_inner_scope_stops_no_other_and_can_be_mended),
    WORLD_TEST(where_a_damaged_value_is_written_what_it_hides_is_not_blamed),
    WORLD_TEST(a_schema_of_an_inner_scope_that_is_none_stops_only_who_writes_there),
    WORLD_TEST(what_takes_too_long_in_an_inner_scope_before_stops_only_who_writes_there),
    WORLD_TEST(by_two_schemas_every_scope_is_judged),
    WORLD_TEST(beyond_the_scopes_that_are_known_every_write_is_answered),
    WORLD_TEST(schemas_are_no_more_than_are_looked_at),
    WORLD_TEST(beyond_that_others_are_judged_and_schemas_deleted),
};
MP_TEST_MAIN(tests)
