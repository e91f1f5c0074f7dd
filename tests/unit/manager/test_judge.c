/* SPDX-License-Identifier: Apache-2.0 */
/* What is judged of what an origin takes over by itself: layers, schemas of each kind, masks, who
 * is to blame. The origin is a table of what each scope holds now and will hold. */
#include "mp_test.h"

#include <stdlib.h>

#include "manager/internal.h"
#include "mp_fail.h"
#include "mp_world.h"

/* ---- an origin ---- */

enum { ROWS = 64 };
static struct row {
    const char *scope, *namespace_, *key, *value, *type;
    bool stands, comes; /* now; then */
} rows[ROWS];
static size_t row_count;
static size_t asked;

static void row(const char *scope, const char *key, const char *value, bool stands, bool comes)
{
    const char *slash = strchr(key, '/');
    static char names[ROWS][64];
    struct row *r = &rows[row_count];

    assert_true(row_count < ROWS);
    snprintf(names[row_count], sizeof(names[0]), "%.*s", (int)(slash - key), key);
    *r = (struct row){scope, names[row_count], slash + 1, value, "application/json", stands, comes};
    if (strcmp(r->namespace_, "_schema") == 0 || value[0] == '"')
        r->type = "text/plain";
    if (!value[0])
        r->type = MP__MEDIA_MASK;
    row_count++;
}

static void holds(const char *scope, const char *key, const char *value)
{
    row(scope, key, value, true, true);
}

static void is_to_hold(const char *scope, const char *key, const char *value)
{
    row(scope, key, value, false, true);
}

static void loses(const char *scope, const char *key, const char *value)
{
    row(scope, key, value, true, false);
}

static int keys_of(mp__proposal *proposal, mp_str scope, mp_str namespace_, bool as_it_stands,
                   mp__leaves *leaves)
{
    int rc = 0;

    (void)proposal;
    asked++;
    for (size_t i = 0; i < row_count && rc == 0; i++)
        if (mp_str_equal(scope, mp_str_of(rows[i].scope)) &&
            mp_str_equal(namespace_, mp_str_of(rows[i].namespace_)) &&
            (as_it_stands ? rows[i].stands : rows[i].comes))
            rc = mp__leaves_add(leaves, mp_str_of(rows[i].key), mp_str_of(rows[i].value),
                                rows[i].type);
    return rc;
}

static mp_str scope_at(mp__proposal *proposal, size_t i)
{
    size_t n = 0;

    (void)proposal;
    for (size_t k = 0; k < row_count; k++) {
        bool seen = false;

        for (size_t m = 0; m < k; m++)
            seen |= strcmp(rows[m].scope, rows[k].scope) == 0;
        if (!seen && n++ == i)
            return mp_str_of(rows[k].scope);
    }
    return MP_STR("");
}

static mp__proposal proposal;

static int try_judge(const char *scope, const char *namespace_)
{
    proposal = (mp__proposal){.scope = mp_str_of(scope),
                              .namespace_ = mp_str_of(namespace_),
                              .keys = keys_of,
                              .scopes = scope_at};
    for (size_t i = 0; i < row_count; i++)
        proposal.changes |= rows[i].stands != rows[i].comes;
    asked = 0;
    return mp__schemas_judge(manager, &proposal);
}

/* What @scope is to hold of the namespace limits is taken. */
static void is_good(const char *scope)
{
    assert_int_equal(try_judge(scope, "limits"), 0);
    assert_string_equal(proposal.text, "");
}

/* It is not, because of @key ("": no single one), and the text begins with @text. */
static void is_bad(const char *scope, const char *key, const char *begin)
{
    assert_int_equal(try_judge(scope, "limits"), 0);
    assert_int_equal(strncmp(proposal.text, begin, strlen(begin)), 0);
    assert_string_equal(proposal.key, key);
}

static void begin(void)
{
    row_count = 0;
}

#define HIGH "{\"properties\":{\"high\":{\"maximum\":100}},\"required\":[\"low\"]}"

/* ---- promises ---- */

static void a_document_is_judged_as_a_reader_of_its_scope_will_see_it(void **state)
{
    (void)state;
    begin();
    holds("base", "_schema/limits", HIGH);
    holds("base", "limits/low", "1");
    is_to_hold("production", "limits/high", "50");
    is_good("production");
    rows[2].value = "500";
    is_bad("production", "high", "the key 'high' breaks the schema 'limits': ");
    rows[1].comes = false;
    rows[2].value = "50";
    is_bad("production", "", "breaks the schema 'limits': ");
}

static void the_nearest_schema_of_a_name_counts(void **state)
{
    (void)state;
    begin();
    holds("base", "_schema/limits", HIGH);
    holds("base", "limits/low", "1");
    holds("production", "_schema/limits", "{}");
    is_to_hold("production", "limits/high", "500");
    is_to_hold("staging", "limits/high", "500");
    is_good("production");
    is_bad("staging", "high", "the key 'high' breaks");
}

static void a_change_of_an_outer_layer_is_judged_as_inner_ones_will_see_it(void **state)
{
    (void)state;
    begin();
    holds("production", "_schema/limits", HIGH);
    holds("production", "limits/low", "1");
    is_to_hold("base", "limits/high", "50");
    is_good("base");
    rows[2].value = "500";
    is_bad("base", "high", "as seen in production: the key 'high' breaks the schema 'limits': ");
    holds("production", "limits/high", "5"); /* which hides it */
    is_good("base");
}

static void the_schema_of_the_base_holds_with_what_an_inner_layer_says_otherwise(void **state)
{
    (void)state;
    begin();
    holds("base", "_schema/limits", "{\"maxProperties\":2}");
    holds("base", "limits/low", "1");
    holds("production~eu", "limits/other", "1");
    is_to_hold("base", "limits/high", "9");
    is_bad("base", "", "as seen in production~eu: breaks the schema 'limits': ");
    rows[2].scope = "production~eu~i7";
    is_bad("base", "", "as seen in production~eu~i7: ");
}

static void a_key_that_goes_is_missed_by_whoever_requires_it(void **state)
{
    (void)state;
    begin();
    holds("production", "_schema/limits", HIGH);
    holds("production", "limits/high", "1");
    holds("base", "limits/other", "1");
    loses("base", "limits/low", "1");
    is_bad("base", "", "as seen in production: breaks the schema 'limits': ");
    holds("production", "limits/low", "2");
    is_good("base");
}

static void what_was_broken_without_it_is_not_to_blame(void **state)
{
    (void)state;
    begin();
    holds("production", "_schema/limits", HIGH);
    holds("production", "limits/high", "500");
    holds("base", "limits/low", "1");
    is_to_hold("base", "limits/other", "1");
    is_good("base");
    rows[1].stands = false; /* it comes together with the other, and answers for itself */
    is_good("base");
    is_bad("production", "high", "the key 'high' breaks");
}

static void what_could_not_be_judged_without_it_is_not_to_blame(void **state)
{
    char slow[4000];

    (void)state;
    memset(slow, 'a', sizeof(slow));
    slow[0] = '"'; /* plain text */
    memcpy(slow + sizeof(slow) - 2, "!", 2);
    begin();
    holds("production", "_schema/limits",
          "{\"properties\":{\"slow\":{\"pattern\":\"^.(a+)+(a+)+$\"}}}");
    holds("production", "limits/slow", slow);
    is_to_hold("base", "limits/other", "1");
    is_good("base");
    rows[2].key = "slow"; /* hidden */
    rows[2].value = slow;
    rows[2].type = "text/plain";
    is_good("base");
    rows[1].key = "other";
    is_bad("base", "", "as seen in production: breaks the schema 'limits': ");
}

static void masked_keys_are_not_seen(void **state)
{
    (void)state;
    begin();
    holds("production", "_schema/limits", "{\"properties\":{\"high\":{\"maximum\":100}}}");
    holds("production", "limits/high", "");
    is_to_hold("base", "limits/high", "500");
    is_good("base");
    rows[1].comes = false; /* the mask goes together with it */
    is_bad("production", "high", "the key 'high' breaks");
    is_bad("base", "high", "as seen in production: ");
}

static void values_that_are_documents_each_are_judged_one_by_one(void **state)
{
    (void)state;
    begin();
    holds("base", "_schema/limits/of/", "{\"maximum\":5}");
    holds("base", "limits/of/a", "9"); /* it was there before the schema */
    is_to_hold("production", "limits/of/b", "4");
    is_good("production");
    rows[2].value = "6";
    is_bad("production", "of/b", "the key 'of/b' breaks the schema 'limits/of/': ");
    begin();
    holds("production", "_schema/limits/of/", "{\"maximum\":5}");
    holds("production", "limits/of/b", "1");
    is_to_hold("base", "limits/of/a", "9");
    is_bad("base", "of/a", "as seen in production: the key 'of/a' breaks");
    rows[2].key = "of/b"; /* which production hides */
    is_good("base");
}

static void a_part_below_a_path_is_judged_with_its_key(void **state)
{
    (void)state;
    begin();
    holds("base", "_schema/limits/db", "{\"properties\":{\"ports\":{\"items\":{\"maximum\":9}}}}");
    is_to_hold("base", "limits/db.ports[0]", "1");
    is_to_hold("base", "limits/db.ports[1]", "10");
    is_bad("base", "db.ports[1]", "the key 'db.ports[1]' breaks the schema 'limits/db': ");
}

static void a_schema_that_is_none_is_its_own_error_and_stops_nobody_else(void **state)
{
    (void)state;
    begin();
    is_to_hold("base", "_schema/limits", "{\"type\":7}");
    is_to_hold("base", "limits/high", "500");
    is_good("base");
    assert_int_equal(try_judge("base", "_schema"), 0);
    assert_string_equal(proposal.key, "limits");
    assert_non_null(strstr(proposal.text, "the key 'limits' is no schema: "));
}

static void what_stands_already_is_told_where_nobody_else_would(void **state)
{
    (void)state;
    begin();
    holds("production", "_schema/limits", "{\"properties\":{\"high\":{\"maximum\":100}}}");
    holds("base", "limits/high", "500");
    is_bad("base", "high", "as seen in production: "); /* which has no keys of it */
    holds("production", "limits/low", "1");
    is_good("base");
    is_bad("production", "high", "the key 'high' breaks");
}

static void scopes_that_hold_nothing_of_it_are_not_looked_at(void **state)
{
    size_t before;

    (void)state;
    begin();
    holds("base", "_schema/limits", HIGH);
    is_to_hold("base", "limits/low", "1");
    is_good("base");
    before = asked;
    holds("staging", "other/low", "1");
    is_good("base");
    assert_int_equal(asked, before + 2);
}

static void without_memory_nothing_is_taken(void **state)
{
    int rc;

    (void)state;
    begin();
    holds("base", "_schema/limits", HIGH);
    holds("production", "_schema/limits/of/", "{\"maximum\":5}");
    holds("production", "limits/of/b", "1");
    holds("base", "limits/low", "1");
    is_to_hold("base", "limits/of/a", "9");
    for (size_t n = 1;; n++) {
        mp_fail_begin(n);
        rc = try_judge("base", "limits");
        if (!mp_fail_end())
            break;
        assert_true(rc == MP_ENOMEM || strcmp(proposal.key, "of/a") == 0);
    }
    assert_int_equal(rc, 0);
    assert_string_equal(proposal.key, "of/a");
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(a_document_is_judged_as_a_reader_of_its_scope_will_see_it),
    WORLD_TEST(the_nearest_schema_of_a_name_counts),
    WORLD_TEST(a_change_of_an_outer_layer_is_judged_as_inner_ones_will_see_it),
    WORLD_TEST(the_schema_of_the_base_holds_with_what_an_inner_layer_says_otherwise),
    WORLD_TEST(a_key_that_goes_is_missed_by_whoever_requires_it),
    WORLD_TEST(what_was_broken_without_it_is_not_to_blame),
    WORLD_TEST(what_could_not_be_judged_without_it_is_not_to_blame),
    WORLD_TEST(masked_keys_are_not_seen),
    WORLD_TEST(values_that_are_documents_each_are_judged_one_by_one),
    WORLD_TEST(a_part_below_a_path_is_judged_with_its_key),
    WORLD_TEST(a_schema_that_is_none_is_its_own_error_and_stops_nobody_else),
    WORLD_TEST(what_stands_already_is_told_where_nobody_else_would),
    WORLD_TEST(scopes_that_hold_nothing_of_it_are_not_looked_at),
    WORLD_TEST(without_memory_nothing_is_taken),
};
MP_TEST_MAIN(tests)
