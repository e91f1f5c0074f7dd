/* SPDX-License-Identifier: Apache-2.0 */
/* Public test cases, which are not part of the tree: MP_JSON_PATCH_TESTS names a file of cases in
 * the form of json-patch-tests. */
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
    json_t *rows = path ? json_load_file(path, 0, NULL) : NULL;
    size_t count = 0;

    (void)state;
    if (!path)
        return;
    assert_non_null(rows);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        if (!json_object_get(json_array_get(rows, i), "patch"))
            continue;
        public_case(json_array_get(rows, i));
        count++;
    }
    print_message("# %zu cases\n", count);
    json_decref(rows);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(the_public_cases_of_json_patch_hold),
};

int main(void)
{
    if (!getenv("MP_JSON_PATCH_TESTS")) {
        (void)puts("1..0 # SKIP MP_JSON_PATCH_TESTS names no file of public cases");
        return 0;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
