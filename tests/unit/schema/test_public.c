/* SPDX-License-Identifier: Apache-2.0 */
/* Public test cases, which are not part of the tree: MP_JSON_PATCH_TESTS names a file of cases in
 * the form of json-patch-tests, MP_JSON_SCHEMA_TESTS the folder tests/draft2020-12 of the official
 * JSON Schema test suite (Debian's libtest-json-schema-acceptance-perl has it, and is looked for).
 */
#include <unistd.h>

#include "mp_test.h"

#include "core/core.h"
#include "schema/schema.h"
#include "schema/tree.h"

/* ---- JSON Patch ---- */

static void public_case(const json_t *row)
{
    const json_t *doc = json_object_get(row, "doc"), *patch = json_object_get(row, "patch");
    const json_t *expected = json_object_get(row, "expected");
    mp__buf doc_text = MP__BUF_INIT, patch_text = MP__BUF_INIT, out = MP__BUF_INIT;
    json_t *got = NULL;
    int rc;

    assert_int_equal(mp__tree_print(doc, &doc_text), 0);
    assert_int_equal(mp__tree_print(patch, &patch_text), 0);
    rc = mp__json_patch(mp__buf_str(&doc_text), mp__buf_str(&patch_text), &out, NULL);
    if ((rc != 0) != (json_object_get(row, "error") != NULL))
        print_message("case: %.*s\n", (int)patch_text.size, patch_text.data);
    assert_int_equal(rc != 0, json_object_get(row, "error") != NULL);
    if (rc == 0 && expected) {
        assert_int_equal(mp__tree_parse(mp__buf_str(&out), "it", &got, NULL), 0);
        assert_true(mp__tree_equal(got, expected));
    }
    json_decref(got);
    mp__buf_done(&doc_text);
    mp__buf_done(&patch_text);
    mp__buf_done(&out);
}

static void the_public_cases_of_json_patch_hold(void **state)
{
    const char *path = getenv("MP_JSON_PATCH_TESTS");
    json_t *rows = json_load_file(path, 0, NULL);
    size_t count = 0;

    (void)state;
    assert_non_null(rows);
    assert_true(json_array_size(rows) > 0);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        if (!json_object_get(json_array_get(rows, i), "patch") ||
            json_is_true(json_object_get(json_array_get(rows, i), "disabled")))
            continue;
        public_case(json_array_get(rows, i));
        count++;
    }
    print_message("# %zu cases\n", count);
    json_decref(rows);
}

/* ---- JSON Schema ---- */

#define DEBIAN_CASES                                                                               \
    "/usr/share/perl5/auto/share/dist/Test-JSON-Schema-Acceptance/tests/draft2020-12"

static const char *schema_cases(void)
{
    const char *folder = getenv("MP_JSON_SCHEMA_TESTS");

    return folder ? folder : access(DEBIAN_CASES, R_OK) == 0 ? DEBIAN_CASES : NULL;
}

static const char *const files[] = {
    "additionalProperties",
    "allOf",
    "anchor",
    "anyOf",
    "boolean_schema",
    "const",
    "contains",
    "content",
    "default",
    "defs",
    "dependentRequired",
    "dependentSchemas",
    "dynamicRef",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "id",
    "if-then-else",
    "infinite-loop-detection",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "ref",
    "refRemote",
    "required",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "unknownKeyword",
    "vocabulary",
    "optional/cross-draft",
    "optional/dependencies-compatibility",
    "optional/ecmascript-regex",
    "optional/float-overflow",
    "optional/format-assertion",
    "optional/no-schema",
    "optional/non-bmp-regex",
    "optional/refOfUnknownKeyword",
    "optional/unicode",
    "optional/format/date-time",
    "optional/format/date",
    "optional/format/duration",
    "optional/format/email",
    "optional/format/hostname",
    "optional/format/ipv4",
    "optional/format/ipv6",
    "optional/format/json-pointer",
    "optional/format/regex",
    "optional/format/relative-json-pointer",
    "optional/format/time",
    "optional/format/unknown",
    "optional/format/uri-reference",
    "optional/format/uri",
    "optional/format/uuid",
};

/* What is left out, with the reason; NULL: the whole file. */
static const struct {
    const char *file, *group;
} left_out[] = {
    /* nothing is fetched, and the suite puts these documents on a server */
    {"refRemote", NULL},
    {"vocabulary", "schema that uses custom metaschema with with no validation vocabulary"},
    {"optional/cross-draft", NULL},
    {"dynamicRef", "strict-tree schema, guards against misspelled properties"},
    {"dynamicRef", "tests for implementation dynamic anchor and reference link"},
    {"dynamicRef", "$ref and $dynamicAnchor are independent of order - $defs first"},
    {"dynamicRef", "$ref and $dynamicAnchor are independent of order - $ref first"},
    /* the same, and it is the metaschema */
    {"anchor", "invalid anchors"},
    {"defs", "validate definition against metaschema"},
    {"id", "Invalid use of fragments in location-independent $id"},
    {"id", "Valid use of empty fragments in location-independent $id"},
    {"id", "Unnormalized $ids are allowed but discouraged"},
    {"ref", "remote ref, containing refs itself"},
    {"ref", "URN base URI with f-component"},
    {"optional/ecmascript-regex", "\\a is not an ECMA 262 control escape"},
    /* "dependencies" is of an older draft: warned of */
    {"optional/dependencies-compatibility", NULL},
    /* PCRE2 knows no long names of properties, and as \\s only what is ASCII (docs/validation.md)
     */
    {"optional/ecmascript-regex", "ECMA 262 \\s matches whitespace"},
    {"optional/ecmascript-regex", "ECMA 262 \\S matches everything but whitespace"},
    {"optional/ecmascript-regex", "patterns always use unicode semantics with pattern"},
    {"optional/ecmascript-regex", "pattern with non-ASCII digits"},
    {"optional/ecmascript-regex", "patterns always use unicode semantics with patternProperties"},
    {"optional/ecmascript-regex", "patternProperties with non-ASCII digits"},
};

static bool is_left_out(const char *file, const char *group)
{
    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
        if (strcmp(left_out[i].file, file) == 0 &&
            (!left_out[i].group || strcmp(left_out[i].group, group) == 0))
            return true;
    return false;
}

typedef struct tally {
    size_t held, failed, left_out;
} tally;

static void schema_group(const char *file, const json_t *group, tally *sum)
{
    const char *name = json_string_value(json_object_get(group, "description"));
    const json_t *rows = json_object_get(group, "tests");
    mp__buf text = MP__BUF_INIT;
    mp__schema *schema = NULL;
    mp__diag diag = {0};

    if (is_left_out(file, name)) {
        sum->left_out += json_array_size(rows);
        return;
    }
    assert_int_equal(mp__tree_print(json_object_get(group, "schema"), &text), 0);
    if (mp__schema_compile(mp__buf_str(&text), &schema, NULL, &diag) != 0) {
        print_message("# %s: %s: %s\n", file, name, diag.text);
        sum->failed += json_array_size(rows);
    }
    for (size_t i = 0; schema && i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        int rc = mp__schema_check_tree(schema, json_object_get(row, "data"), NULL, &diag);
        int want = json_is_true(json_object_get(row, "valid")) ? 0 : MP_EINVAL;

        if (rc != want)
            print_message("# %s: %s: %s: %s\n", file, name,
                          json_string_value(json_object_get(row, "description")),
                          mp_error_name(rc));
        sum->held += rc == want;
        sum->failed += rc != want;
    }
    (void)mp__schema_free(schema);
    mp__buf_done(&text);
}

static void the_official_cases_of_json_schema_hold(void **state)
{
    const char *folder = schema_cases();
    tally sum = {0};

    (void)state;
    for (size_t i = 0; folder && i < sizeof(files) / sizeof(files[0]); i++) {
        char path[4096];
        json_t *groups;

        (void)snprintf(path, sizeof(path), "%s/%s.json", folder, files[i]);
        groups = json_load_file(path, JSON_ALLOW_NUL, NULL);
        if (!groups)
            print_message("# cannot read %s\n", path);
        for (size_t j = 0; j < json_array_size(groups); j++)
            schema_group(files[i], json_array_get(groups, j), &sum);
        json_decref(groups);
    }
    print_message("# %zu cases hold, %zu do not, %zu are left out\n", sum.held, sum.failed,
                  sum.left_out);
    assert_int_equal(sum.failed, 0);
}

static const struct CMUnitTest patch_tests[] = {MP_TEST(the_public_cases_of_json_patch_hold)};
static const struct CMUnitTest schema_tests[] = {MP_TEST(the_official_cases_of_json_schema_hold)};
static const struct CMUnitTest all_tests[] = {
    MP_TEST(the_public_cases_of_json_patch_hold),
    MP_TEST(the_official_cases_of_json_schema_hold),
};

/* Those that there are cases for. */
int main(void)
{
    bool has_patches = getenv("MP_JSON_PATCH_TESTS"), has_schemas = schema_cases();

    if (!has_patches && !has_schemas) {
        (void)puts("1..0 # SKIP no public cases (MP_JSON_PATCH_TESTS, MP_JSON_SCHEMA_TESTS)");
        return 0;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return !has_schemas   ? cmocka_run_group_tests(patch_tests, NULL, NULL)
           : !has_patches ? cmocka_run_group_tests(schema_tests, NULL, NULL)
                          : cmocka_run_group_tests(all_tests, NULL, NULL);
}
