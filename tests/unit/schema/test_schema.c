/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema: what each keyword lets through and refuses, what the complaint says, and what makes
 * a schema no schema. */
#include "mp_test.h"

#include "core/core.h"
#include "schema/schema.h"

#include "mp_fail.h"

static mp__schema *compiled(const char *text)
{
    mp__schema *schema = NULL;
    mp__diag diag = {0};
    int rc = mp__schema_compile(mp_str_of(text), &schema, NULL, &diag);

    if (rc)
        print_message("# %s: %s\n", text, diag.text);
    assert_int_equal(rc, 0);
    return schema;
}

typedef struct row {
    const char *schema, *good, *bad; /* documents */
    const char *at, *keyword, *text; /* of the first violation of the bad one */
} row;

static const row rows[] = {
    {"{\"type\": \"integer\"}", "1.0", "1.5", "", "type", "it is a number and must be integer"},
    {"{\"type\": [\"null\", \"boolean\"]}", "null", "{}", "", "type",
     "it is an object and must be [\"null\",\"boolean\"]"},
    {"{\"type\": \"string\"}", "\"\"", "[]", "", "type", "it is an array"},
    {"{\"type\": \"number\"}", "1", "true", "", "type", "it is a boolean"},
    {"{\"type\": \"array\"}", "[]", "null", "", "type", "it is null"},
    {"{\"type\": \"object\"}", "{}", "2", "", "type", "it is an integer"},
    {"{\"type\": \"boolean\"}", "false", "\"x\"", "", "type", "it is a string"},
    {"{\"enum\": [1, {\"a\": [2]}]}", "{\"a\": [2.0]}", "\"x\"", "", "enum",
     "it is \"x\" and must be one of [1,{\"a\":[2]}]"},
    {"{\"const\": \"live\"}", "\"live\"", "\"paper\"", "", "const", "must be \"live\""},
    {"{\"minimum\": 1024}", "1024", "80", "", "minimum",
     "80 is too small: it must be at least 1024"},
    {"{\"maximum\": 0.5}", "0.5", "0.51", "", "maximum", "0.51 is too large: it must be at most"},
    {"{\"exclusiveMinimum\": 0}", "0.001", "0", "", "exclusiveMinimum", "greater than 0"},
    {"{\"exclusiveMaximum\": 9}", "8", "9", "", "exclusiveMaximum", "less than 9"},
    {"{\"multipleOf\": 0.01}", "0.07", "0.075", "", "multipleOf", "no multiple of 0.01"},
    {"{\"multipleOf\": 1e-8}", "12391239123", "1e-9", "", "multipleOf", "no multiple"},
    {"{\"multipleOf\": 3}", "-9", "-10", "", "multipleOf", "-10 is no multiple of 3"},
    {"{\"minLength\": 2.0}", "\"\\u00e4\\u00f6\"", "\"\\u00e4\"", "", "minLength",
     "1 characters and must have at least 2"},
    {"{\"maxLength\": 2}", "12345", "\"abc\"", "", "maxLength",
     "it has 3 characters and may have 2"},
    {"{\"pattern\": \"^[A-Z]{3,5}$\"}", "\"BTC\"", "\"btc\"", "", "pattern",
     "\"btc\" does not match the pattern ^[A-Z]{3,5}$"},
    {"{\"pattern\": \"^a$\"}", "\"a\"", "\"a\\n\"", "", "pattern", "does not match"},
    {"{\"format\": \"ipv4\"}", "\"10.0.0.1\"", "\"10.0.0\"", "", "format",
     "is not an IPv4 address"},
    {"{\"minItems\": 1}", "[1]", "[]", "", "minItems", "at least 1"},
    {"{\"maxItems\": 1}", "[1]", "[1,2]", "", "maxItems", "it has 2 elements and may have 1"},
    {"{\"uniqueItems\": true}", "[1,\"1\",{\"a\":1},[1],null,true,false]",
     "[{\"a\":1,\"b\":2},3,{\"b\":2.0,\"a\":1}]", "", "uniqueItems", "0 and 2 are the same"},
    {"{\"uniqueItems\": false}", "[1,1]", NULL, NULL, NULL, NULL},
    {"{\"prefixItems\": [{\"type\":\"string\"}], \"items\": {\"type\":\"integer\"}}", "[\"a\",1,2]",
     "[\"a\",1,\"b\"]", "/2", "type", "it is a string and must be integer"},
    {"{\"prefixItems\": [{\"type\":\"string\"}]}", "[\"a\",null]", "[0]", "/0", "type", "integer"},
    {"{\"contains\": {\"const\": 1}}", "[0,1]", "[0]", "", "contains", "0 of its elements"},
    {"{\"contains\": {\"const\": 1}, \"minContains\": 2}", "[1,1]", "[1]", "", "minContains",
     "1 of its elements are as wanted, and 2 must be"},
    {"{\"contains\": {\"const\": 1}, \"minContains\": 0, \"maxContains\": 1}", "[]", "[1,1]", "",
     "maxContains", "2 of its elements are as said, and 1 may be"},
    {"{\"minProperties\": 1}", "{\"a\":1}", "{}", "", "minProperties", "at least 1"},
    {"{\"maxProperties\": 1}", "{\"a\":1}", "{\"a\":1,\"b\":1}", "", "maxProperties", "may have 1"},
    {"{\"required\": [\"url\"]}", "{\"url\":null}", "{\"uri\":1}", "", "required",
     "'url' is missing"},
    {"{\"dependentRequired\": {\"user\": [\"password\"], \"x\": []}}",
     "{\"user\":1,\"password\":2,\"x\":3}", "{\"user\":1}", "", "dependentRequired",
     "'password' is missing, which 'user' needs beside it"},
    {"{\"dependentSchemas\": {\"a\": {\"required\": [\"b\"]}}}", "{\"b\":1}", "{\"a\":1}", "",
     "required", "'b' is missing"},
    {"{\"properties\": {\"a/b\": {\"properties\": {\"c~d\": {\"type\":\"null\"}}}}}",
     "{\"a/b\":{\"c~d\":null}}", "{\"a/b\":{\"c~d\":1}}", "/a~1b/c~0d", "type", "must be null"},
    {"{\"properties\": {\"a\": true, \"b\": {}}, \"additionalProperties\": false}",
     "{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", "/c", "additionalProperties",
     "'c' may not be here; known are a, b"},
    {"{\"additionalProperties\": false}", "{}", "{\"c\":2}", "/c", "additionalProperties",
     "'c' may not be here"},
    {"{\"patternProperties\": {\"^x-\": {\"type\":\"string\"}}, \"additionalProperties\": "
     "{\"type\":\"integer\"}}",
     "{\"x-a\":\"\",\"b\":1}", "{\"x-a\":1}", "/x-a", "type", "must be string"},
    {"{\"propertyNames\": {\"pattern\": \"^[a-z]+$\"}}", "{\"a\":1}", "{\"A\":1}", "/A", "pattern",
     "does not match"},
    {"{\"allOf\": [{\"minimum\": 1}, {\"maximum\": 3}]}", "2", "4", "", "maximum", "too large"},
    {"{\"anyOf\": [{\"type\":\"integer\"}, {\"properties\":{\"a\":{\"maximum\":3}},"
     "\"type\":\"object\"}]}",
     "{\"a\":3}", "{\"a\":4}", "", "anyOf",
     "it fits none of the 2 alternatives; the nearest fails at '/a': 4 is too large"},
    {"{\"oneOf\": [{\"minimum\": 5}, {\"maximum\": 8}]}", "9", "6", "", "oneOf",
     "more than one of the 2"},
    {"{\"oneOf\": [{\"const\": 5}, {\"const\": 8}]}", "8", "6", "", "oneOf", "none of the 2"},
    {"{\"not\": {\"type\": \"null\"}}", "1", "null", "", "not", "it is what it must not be"},
    {"{\"if\": {\"required\":[\"a\"]}, \"then\": {\"required\":[\"b\"]}, \"else\": "
     "{\"required\":[\"c\"]}}",
     "{\"a\":1,\"b\":1}", "{\"a\":1}", "", "required", "'b' is missing"},
    {"{\"if\": {\"required\":[\"a\"]}, \"else\": {\"required\":[\"c\"]}}", "{\"a\":1}", "{}", "",
     "required", "'c' is missing"},
    {"{\"$ref\": \"#/$defs/port\", \"$defs\": {\"port\": {\"maximum\": 65535}}}", "1", "70000", "",
     "maximum", "70000"},
    {"{\"$ref\": \"#p\", \"definitions\": {\"port\": {\"$anchor\":\"p\",\"maximum\": 65535}}}", "1",
     "70000", "", "maximum", "70000"},
    {"{\"$id\": \"https://example.com/a/b.json\", \"$ref\": \"../c%25.json#/$defs/x%20y\", "
     "\"$defs\": {\"c\": {\"$id\": \"/c%25.json\", \"$defs\": {\"x y\": {\"minimum\": 1}}}}}",
     "1", "0", "", "minimum", "too small"},
    {"{\"$ref\": \"#/odd/place\", \"odd\": {\"place\": {\"minimum\": 1}}}", "1", "0", "", "minimum",
     "too small"},
    {"{\"properties\": {\"child\": {\"$ref\": \"#\"}, \"n\": {\"type\": \"integer\"}}}",
     "{\"child\":{\"child\":{\"n\":1}}}", "{\"child\":{\"child\":{\"n\":\"1\"}}}", "/child/child/n",
     "type", "must be integer"},
    {"{\"$id\": \"tree\", \"$dynamicAnchor\": \"node\", \"properties\": {\"c\": {\"items\": "
     "{\"$dynamicRef\": \"#node\"}}, \"v\": {\"type\":\"integer\"}}}",
     "{\"c\":[{\"v\":1}]}", "{\"c\":[{\"v\":\"x\"}]}", "/c/0/v", "type", "must be integer"},
    {"{\"$id\": \"s\", \"$ref\": \"t\", \"$dynamicAnchor\": \"n\", \"unevaluatedProperties\": "
     "false, "
     "\"$defs\": {\"t\": {\"$id\": \"t\", \"$dynamicAnchor\": \"n\", \"properties\": {\"c\": "
     "{\"items\": {\"$dynamicRef\": \"#n\"}}, \"v\": true}}}}",
     "{\"c\":[{\"v\":1}]}", "{\"c\":[{\"w\":1}]}", "/c/0/w", "", "nothing may be here"},
    {"{\"allOf\": [{\"properties\": {\"a\": true}}, {\"if\": {\"properties\": {\"k\": {\"const\": "
     "1}}, \"required\": [\"k\"]}, \"then\": {\"properties\": {\"b\": true}}}], "
     "\"unevaluatedProperties\": {\"type\": \"null\"}}",
     "{\"a\":1,\"k\":1,\"b\":2,\"z\":null}", "{\"a\":1,\"b\":2}", "/b", "type", "must be null"},
    {"{\"prefixItems\": [true], \"contains\": {\"type\":\"string\"}, \"unevaluatedItems\": false}",
     "[1,\"a\"]", "[1,\"a\",2]", "/2", "", "nothing may be here"},
    {"{\"anyOf\": [{\"prefixItems\": [true, true]}, {\"prefixItems\": [true]}], "
     "\"unevaluatedItems\": {\"type\":\"null\"}}",
     "[1,2,null]", "[1,2,3]", "/2", "type", "must be null"},
    {"true", "1", NULL, NULL, NULL, NULL},
    {"{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"$comment\": \"c\", "
     "\"title\": \"t\", \"default\": 1, \"format\": \"color\", \"x-unit\": \"ms\"}",
     "1", NULL, NULL, NULL, NULL},
};

static void each_keyword_lets_the_good_through_and_tells_the_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mp__schema *schema = compiled(rows[i].schema);
        mp__violation items[4];
        mp__violations found = {items, 4, 0};
        mp__diag diag = {0};
        int rc = mp__schema_check(schema, mp_str_of(rows[i].good), &found, &diag);

        if (rc)
            print_message("# %s: %s: %s %s\n", rows[i].schema, rows[i].good, items[0].text,
                          diag.text);
        assert_int_equal(rc, 0);
        assert_int_equal(found.count, 0);
        if (rows[i].bad) {
            rc = mp__schema_check(schema, mp_str_of(rows[i].bad), &found, &diag);
            assert_int_equal(rc, MP_EINVAL);
            assert_true(found.count >= 1);
            if (strcmp(items[0].instance, rows[i].at) != 0 || !strstr(items[0].text, rows[i].text))
                print_message("# %s: at '%s' %s: %s\n", rows[i].schema, items[0].instance,
                              items[0].schema, items[0].text);
            assert_string_equal(items[0].instance, rows[i].at);
            assert_string_equal(items[0].keyword, rows[i].keyword);
            assert_non_null(strstr(items[0].text, rows[i].text));
            assert_int_equal(mp__schema_check(schema, mp_str_of(rows[i].bad), NULL, NULL),
                             MP_EINVAL);
        }
        (void)mp__schema_free(schema);
    }
}

static void all_violations_are_told_up_to_the_room_there_is(void **state)
{
    mp__schema *schema = compiled("{\"items\": {\"type\": \"integer\", \"maximum\": 3}, "
                                  "\"maxItems\": 2, \"contains\": false}");
    mp__violation items[3];
    mp__violations found = {items, 3, 0};

    (void)state;
    assert_int_equal(mp__schema_check(schema, MP_STR("[4, \"a\", 5, 6]"), &found, NULL), MP_EINVAL);
    assert_int_equal(found.count, 6);
    assert_string_equal(items[0].keyword, "maxItems");
    assert_string_equal(items[0].schema, "/maxItems");
    assert_string_equal(items[1].instance, "/0");
    assert_string_equal(items[1].schema, "/items/maximum");
    assert_string_equal(items[2].keyword, "type");
    (void)mp__schema_free(schema);
}

static void long_places_and_values_are_cut_between_characters(void **state)
{
    mp__schema *schema =
        compiled("{\"additionalProperties\": {\"additionalProperties\": {\"const\": 1}}}");
    mp__buf text = MP__BUF_INIT;
    mp__violation items[1];
    mp__violations found = {items, 1, 0};

    (void)state;
    (void)mp__buf_add_str(&text, MP_STR("{\"a\": {\""));
    for (size_t i = 0; i < 400; i++)
        (void)mp__buf_add_str(&text, MP_STR("\xc3\xa4"));
    (void)mp__buf_add_str(&text, MP_STR("\": \""));
    for (size_t i = 0; i < 400; i++)
        (void)mp__buf_add_str(&text, MP_STR("\xc3\xb6"));
    (void)mp__buf_add_str(&text, MP_STR("\"}}"));
    assert_int_equal(mp__schema_check(schema, mp__buf_str(&text), &found, NULL), MP_EINVAL);
    assert_true(strlen(items[0].instance) > 200);
    assert_int_equal((unsigned char)items[0].instance[strlen(items[0].instance) - 1] & 0xc0, 0x80);
    assert_non_null(strstr(items[0].text, "..."));
    mp__buf_done(&text);
    (void)mp__schema_free(schema);
}

/* ---- what is no schema ---- */

static void a_schema_that_is_none_is_refused_with_the_place(void **state)
{
    static const struct {
        const char *text, *want;
    } bad[] = {
        {"[]", "at '': a schema is an object, true or false, not an array"},
        {"{\"properties\": {\"a\": 1}}", "at '/properties/a': a schema is an object"},
        {"{\"properties\": []}", "at '/properties': it must be an object of schemas"},
        {"{\"type\": \"int\"}", "'int' is no type"},
        {"{\"type\": 1}", "an integer is no type"},
        {"{\"type\": []}", "the list of types is empty"},
        {"{\"minimum\": \"1\"}", "at '/minimum': it must be a number"},
        {"{\"exclusiveMinimum\": true}", "of draft 4"},
        {"{\"multipleOf\": 0}", "greater than 0"},
        {"{\"minLength\": -1}", "a whole number"},
        {"{\"minLength\": 1.5}", "a whole number"},
        {"{\"uniqueItems\": 1}", "true or false"},
        {"{\"enum\": 1}", "a list of values"},
        {"{\"required\": \"a\"}", "a list of names"},
        {"{\"required\": [1]}", "a list of names"},
        {"{\"properties\": {\"a\": {\"required\": true}}}", "of draft 3"},
        {"{\"dependentRequired\": []}", "an object of lists"},
        {"{\"dependentRequired\": {\"a\": 1}}", "'a' must have a list of names"},
        {"{\"pattern\": 1}", "a regular expression"},
        {"{\"pattern\": \"(\"}", "at '/pattern': '(' is no regular expression: missing closing"},
        {"{\"patternProperties\": {\"[\": {}}}", "is no regular expression"},
        {"{\"format\": 1}", "the name of a format"},
        {"{\"items\": [{}]}", "'prefixItems' now"},
        {"{\"allOf\": []}", "at least one schema"},
        {"{\"allOf\": [{\"type\": \"x\"}]}", "at '/allOf/0/type'"},
        {"{\"$ref\": 1}", "a URI reference"},
        {"{\"$ref\": \"#/a\"}", "'#/a' is not in this schema, and nothing is fetched"},
        {"{\"$ref\": \"#a\"}", "'#a' is not in this schema"},
        {"{\"$ref\": \"#/a~2\"}", "'#/a~2' is not in this schema"},
        {"{\"$ref\": \"http://example.com/x\"}", "nothing is fetched"},
        {"{\"$ref\": \"#/x\", \"x\": 1}", "at '/x': a schema is an object"},
        {"{\"$anchor\": 1}", "a plain name"},
        {"{\"$anchor\": \"a\", \"not\": {\"$anchor\": \"a\"}}", "there twice"},
        {"{\"$id\": 1}", "a URI without a fragment"},
        {"{\"$id\": \"#a\"}", "a URI without a fragment"},
        {"{\"$schema\": 1}", "the URI of a dialect"},
        {"{", "the schema is no JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mp__schema *schema = NULL;
        mp__diag diag = {0};
        int rc = mp__schema_compile(mp_str_of(bad[i].text), &schema, NULL, &diag);

        if (!strstr(diag.text, bad[i].want))
            print_message("# %s: %s\n", bad[i].text, diag.text);
        assert_int_equal(rc, bad[i].text[1] ? MP_EINVAL : MP_ESYNTAX);
        assert_non_null(strstr(diag.text, bad[i].want));
        assert_null(schema);
    }
}

static void what_is_probably_not_meant_is_warned_of(void **state)
{
    static const struct {
        const char *text, *at, *want;
    } odd[] = {
        {"{\"requried\": []}", "/requried", "did you mean 'required'?"},
        {"{\"properties\": {\"a\": {\"minimun\": 1}}}", "/properties/a/minimun", "'minimum'"},
        {"{\"additionalproperties\": false}", "/additionalproperties", "'additionalProperties'"},
        {"{\"format\": \"color\"}", "/format", "the format 'color' is not checked"},
        {"{\"dependencies\": {}}", "/dependencies", "dependentRequired or dependentSchemas"},
        {"{\"additionalItems\": {}}", "/additionalItems", "prefixItems and items"},
        {"{\"$recursiveRef\": \"#\"}", "/$recursiveRef", "$dynamicRef"},
        {"{\"$schema\": \"http://json-schema.org/draft-07/schema#\"}", "/$schema",
         "another dialect"},
    };
    mp__violation items[2];

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        mp__violations warnings = {items, 2, 0};
        mp__schema *schema = NULL;

        assert_int_equal(mp__schema_compile(mp_str_of(odd[i].text), &schema, &warnings, NULL), 0);
        assert_int_equal(warnings.count, 1);
        assert_string_equal(items[0].schema, odd[i].at);
        assert_non_null(strstr(items[0].text, odd[i].want));
        (void)mp__schema_free(schema);
    }
}

static void words_of_ones_own_are_not_warned_of(void **state)
{
    mp__violation items[2];
    mp__violations warnings = {items, 2, 0};
    mp__schema *schema = NULL;

    (void)state;
    assert_int_equal(
        mp__schema_compile(MP_STR("{\"x-unit\": \"ms\", \"owner\": \"feeds\", "
                                  "\"aVeryLongWordOfOnesOwnThatIsLongerThanAnyKeyword\": 1}"),
                           &schema, &warnings, NULL),
        0);
    assert_int_equal(warnings.count, 0);
    (void)mp__schema_free(schema);
}

/* ---- limits ---- */

static void a_pattern_that_cannot_end_is_stopped(void **state)
{
    mp__schema *schema = compiled("{\"pattern\": \"^(a+)+$\"}");
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__schema_check(schema,
                                      MP_STR("\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\""),
                                      NULL, &diag),
                     MP_ELIMIT);
    assert_non_null(strstr(diag.text, "takes too long"));
    (void)mp__schema_free(schema);
}

static void a_schema_that_refers_to_itself_for_ever_is_stopped(void **state)
{
    mp__schema *schema = compiled("{\"$ref\": \"#\"}");
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__schema_check(schema, MP_STR("1"), NULL, &diag), MP_ELIMIT);
    assert_non_null(strstr(diag.text, "refers to itself"));
    (void)mp__schema_free(schema);
}

static void alternatives_that_multiply_are_stopped(void **state)
{
    mp__schema *schema = compiled("{\"$defs\": {\"a\": {\"anyOf\": [{\"items\": {\"$ref\": "
                                  "\"#/$defs/a\"}, \"minItems\": 1}, {\"items\": {\"$ref\": "
                                  "\"#/$defs/a\"}, \"minItems\": 1}], \"type\": \"array\"}}, "
                                  "\"$ref\": \"#/$defs/a\"}");
    mp__buf text = MP__BUF_INIT;
    mp__diag diag = {0};

    (void)state;
    for (size_t i = 0; i < 60; i++)
        (void)mp__buf_add_char(&text, '[');
    for (size_t i = 0; i < 60; i++)
        (void)mp__buf_add_char(&text, ']');
    assert_int_equal(mp__schema_check(schema, mp__buf_str(&text), NULL, &diag), MP_ELIMIT);
    assert_non_null(strstr(diag.text, "too many steps"));
    mp__buf_done(&text);
    (void)mp__schema_free(schema);
}

static void schemas_too_large_are_refused(void **state)
{
    mp__buf text = MP__BUF_INIT;
    mp__schema *schema = NULL;
    mp__diag diag = {0};

    (void)state;
    (void)mp__buf_add_str(&text, MP_STR("{\"allOf\":[{}"));
    for (size_t i = 0; i < MP__SCHEMA_NODES_MAX; i++)
        (void)mp__buf_add_str(&text, MP_STR(",{}"));
    (void)mp__buf_add_str(&text, MP_STR("]}"));
    assert_int_equal(mp__schema_compile(mp__buf_str(&text), &schema, NULL, &diag), MP_ELIMIT);
    assert_non_null(strstr(diag.text, "subschemas"));
    mp__buf_done(&text);
    (void)mp__buf_add_str(&text, MP_STR("{\"pattern\": \""));
    for (size_t i = 0; i < 5000; i++)
        (void)mp__buf_add_char(&text, 'a');
    (void)mp__buf_add_str(&text, MP_STR("\"}"));
    assert_int_equal(mp__schema_compile(mp__buf_str(&text), &schema, NULL, &diag), MP_ELIMIT);
    while (text.size <= MP__SCHEMA_BYTES_MAX)
        (void)mp__buf_add(&text, "          ", 10);
    assert_int_equal(mp__schema_compile(mp__buf_str(&text), &schema, NULL, &diag), MP_ELIMIT);
    mp__buf_done(&text);
}

static void without_memory_nothing_is_compiled_or_let_through(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mp__schema *schema = NULL;
        int rc;

        for (size_t n = 1;; n++) {
            mp_fail_begin(n);
            rc = mp__schema_compile(mp_str_of(rows[i].schema), &schema, NULL, NULL);
            if (!mp_fail_end())
                break;
            if (rc != MP_ENOMEM)
                print_message("# %s: allocation %zu\n", rows[i].schema, n);
            assert_int_equal(rc, MP_ENOMEM);
        }
        assert_int_equal(rc, 0);
        for (size_t n = 1;; n++) {
            mp_fail_begin(n);
            rc = mp__schema_check(schema, mp_str_of(rows[i].good), NULL, NULL);
            if (!mp_fail_end())
                break;
            assert_true(rc == MP_ENOMEM || rc == 0);
        }
        assert_int_equal(rc, 0);
        (void)mp__schema_free(schema);
    }
}

static void a_document_that_is_no_json_is_told_with_its_place(void **state)
{
    mp__schema *schema = compiled("{}");
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__schema_check(schema, MP_STR("{\n\"a\":}"), NULL, &diag), MP_ESYNTAX);
    assert_int_equal(diag.line, 2);
    (void)mp__schema_free(schema);
    assert_null(mp__schema_free(NULL));
}

static const struct CMUnitTest tests[] = {
    MP_TEST(each_keyword_lets_the_good_through_and_tells_the_bad),
    MP_TEST(all_violations_are_told_up_to_the_room_there_is),
    MP_TEST(long_places_and_values_are_cut_between_characters),
    MP_TEST(a_schema_that_is_none_is_refused_with_the_place),
    MP_TEST(what_is_probably_not_meant_is_warned_of),
    MP_TEST(words_of_ones_own_are_not_warned_of),
    MP_TEST(a_pattern_that_cannot_end_is_stopped),
    MP_TEST(a_schema_that_refers_to_itself_for_ever_is_stopped),
    MP_TEST(alternatives_that_multiply_are_stopped),
    MP_TEST(schemas_too_large_are_refused),
    MP_TEST(without_memory_nothing_is_compiled_or_let_through),
    MP_TEST(a_document_that_is_no_json_is_told_with_its_place),
};

MP_TEST_MAIN(tests)
