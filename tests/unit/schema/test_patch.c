/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Merge Patch and JSON Patch. */
#include "mp_test.h"

#include "core/core.h"
#include "schema/schema.h"
#include "schema/tree.h"

#include "mp_fail.h"

typedef int (*patch_fn)(mp_str target, mp_str patch, mp__buf *out, mp__diag *diag);

static int apply(patch_fn patch, const char *target, const char *with, mp__buf *out, mp__diag *diag)
{
    *out = MP__BUF_INIT;
    *diag = (mp__diag){0};
    return patch(mp_str_of(target), mp_str_of(with), out, diag);
}

static void gives(patch_fn patch, const char *target, const char *with, const char *want)
{
    mp__buf out;
    mp__diag diag;
    int rc = apply(patch, target, with, &out, &diag);

    if (rc)
        print_message("%s %s: %s\n", target ? target : "(absent)", with, diag.text);
    assert_int_equal(rc, 0);
    mp_assert_str(mp__buf_str(&out), want);
    mp__buf_done(&out);
}

static void fails(patch_fn patch, const char *target, const char *with, int error, const char *text)
{
    mp__buf out;
    mp__diag diag;
    int rc = apply(patch, target, with, &out, &diag);

    if (rc != error || !strstr(diag.text, text))
        print_message("%s %s: %s: %s\n", target ? target : "(absent)", with, mp_error_name(rc),
                      diag.text);
    assert_int_equal(rc, error);
    assert_non_null(strstr(diag.text, text));
    assert_int_equal(out.size, 0);
    mp__buf_done(&out);
}

/* ---- merge patch ---- */

static void the_examples_of_rfc_7396_hold(void **state)
{
    static const char *const rows[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        gives(mp__merge_patch, rows[i][0], rows[i][1], rows[i][2]);
}

static void a_merge_patch_of_nothing_makes_a_value(void **state)
{
    (void)state;
    gives(mp__merge_patch, NULL, "{\"a\":{\"b\":1,\"c\":null}}", "{\"a\":{\"b\":1}}");
}

static void a_bad_merge_patch_is_told_from_a_bad_target(void **state)
{
    mp__diag diag;
    mp__buf out;

    (void)state;
    assert_int_equal(apply(mp__merge_patch, "{}", "{\n \"a\": }", &out, &diag), MP_ESYNTAX);
    assert_int_equal(diag.line, 2);
    fails(mp__merge_patch, "plain", "{}", MP_EUNSUPPORTED, "the present value is no JSON");
    fails(mp__merge_patch, "{}", "{\"a\":1,\"a\":2}", MP_ESYNTAX, "there already");
}

static void numbers_keep_their_value(void **state)
{
    (void)state;
    gives(mp__merge_patch, "{\"a\":9223372036854775807,\"b\":0.1,\"c\":1.50,\"d\":1e2}", "{}",
          "{\"a\":9223372036854775807,\"b\":0.1,\"c\":1.5,\"d\":100.0}");
    fails(mp__merge_patch, "{\"a\":9223372036854775808}", "{}", MP_EUNSUPPORTED, "integer");
}

/* ---- JSON Patch ---- */

static const char *const rfc_6902[][3] = {
    {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
     "{\"foo\":\"bar\",\"baz\":\"qux\"}"},
    {"{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
     "{\"foo\":[\"bar\",\"qux\",\"baz\"]}"},
    {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]",
     "{\"foo\":\"bar\"}"},
    {"{\"foo\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]", "{\"foo\":[1,3]}"},
    {"{\"baz\":\"qux\",\"foo\":\"bar\"}",
     "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
     "{\"baz\":\"boo\",\"foo\":\"bar\"}"},
    {"{\"a\":{\"b\":1,\"c\":2},\"d\":{}}",
     "[{\"op\":\"move\",\"from\":\"/a/c\",\"path\":\"/d/e\"}]",
     "{\"a\":{\"b\":1},\"d\":{\"e\":2}}"},
    {"{\"foo\":[1,2,3,4]}", "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
     "{\"foo\":[1,3,4,2]}"},
    {"{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
     "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},"
     "{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2.0}]",
     "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}"},
    {"{\"foo\":\"bar\"}",
     "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}},\"more\":1}]",
     "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}"},
    {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]",
     "{\"/\":9,\"~1\":10}"},
    {"{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\"]}]",
     "{\"foo\":[\"bar\",[\"abc\"]]}"},
    {"{\"a\":[{\"b\":1}]}",
     "[{\"op\":\"copy\",\"from\":\"/a/0\",\"path\":\"/a/-\"},"
     "{\"op\":\"replace\",\"path\":\"/a/1/b\",\"value\":2}]",
     "{\"a\":[{\"b\":1},{\"b\":2}]}"},
    {"[1,2]", "[{\"op\":\"replace\",\"path\":\"/0\",\"value\":{\"x\":null}}]", "[{\"x\":null},2]"},
    {"1",
     "[{\"op\":\"replace\",\"path\":\"\",\"value\":{}},"
     "{\"op\":\"add\",\"path\":\"/\",\"value\":true}]",
     "{\"\":true}"},
    {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", "{\"a\":1}"},
    {"{\"a\":[[1],\"s\"]}", "[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/b\"}]",
     "{\"a\":[[1],\"s\"],\"b\":{\"a\":[[1],\"s\"]}}"},
    {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"\"}]", "1"},
    {"{}", "[]", "{}"},
};

static void the_operations_of_rfc_6902_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rfc_6902) / sizeof(rfc_6902[0]); i++)
        gives(mp__json_patch, rfc_6902[i][0], rfc_6902[i][1], rfc_6902[i][2]);
}

static void an_error_names_the_operation_and_the_path(void **state)
{
    static const struct {
        const char *target, *patch;
        int error;
        const char *text;
    } rows[] = {
        {"{}", "{}", MP_EINVAL, "an array of operations, not an object"},
        {"{}", "[1]", MP_EINVAL, "operation 0 (?) at '': an operation is an object"},
        {"{}", "[{}]", MP_EINVAL, "'op' is one of"},
        {"{}", "[{\"op\":\"spam\",\"path\":\"/a\"}]", MP_EINVAL, "not spam"},
        {"{}", "[{\"op\":\"add\",\"value\":1}]", MP_EINVAL, "it has no 'path'"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", MP_EINVAL, "at '/a': it has no 'value'"},
        {"{}", "[{\"op\":\"copy\",\"path\":\"/a\"}]", MP_EINVAL, "it has no 'from'"},
        {"{}", "[{\"op\":\"remove\",\"path\":\"a\"}]", MP_EINVAL, "is no JSON Pointer"},
        {"{}", "[{\"op\":\"remove\",\"path\":\"/a~2\"}]", MP_EINVAL, "is no JSON Pointer"},
        {"{}", "[{\"op\":\"remove\",\"path\":\"/a\\u0000\"}]", MP_EINVAL, "is no JSON Pointer"},
        {"{\"a\":1}",
         "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1},{\"op\":\"remove\",\"path\":\"/b\"}]",
         MP_EABSENT, "operation 1 (remove) at '/b': there is no such place in an object"},
        {"{}", "[{\"op\":\"remove\",\"path\":\"\"}]", MP_EINVAL, "the whole document"},
        {"{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", MP_EABSENT, "no such place"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", MP_EABSENT,
         "there is no 'a' on the way"},
        {"{\"a\":\"s\"}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", MP_EABSENT,
         "stand in a string"},
        {"{\"a\":true}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", MP_EABSENT,
         "stand in a boolean"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", MP_EABSENT,
         "stand in a number"},
        {"{\"a\":null}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", MP_EABSENT,
         "stand in null"},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":1}]", MP_EABSENT, "only 1 elements"},
        {"[1]", "[{\"op\":\"add\",\"path\":\"/01\",\"value\":1}]", MP_EABSENT, "no index"},
        {"[1]", "[{\"op\":\"remove\",\"path\":\"/-\"}]", MP_EABSENT, "no such place in an array"},
        {"[1]", "[{\"op\":\"remove\",\"path\":\"/1e0\"}]", MP_EABSENT, "no such place"},
        {"{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", MP_EINVAL,
         "into itself"},
        {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/a\"}]", MP_EABSENT, "at '/b'"},
        {"{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/b\",\"path\":\"/a\"}]", MP_EABSENT, "at '/b'"},
        {"{\"a\":[1]}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":[2]}]", MP_ECONFLICT,
         "operation 0 (test) at '/a': the value there is [1]"},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"c\":1}}]",
         MP_ECONFLICT, "{\"b\":1}"},
        {"{\"a\":\"x\"}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":\"y\"}]", MP_ECONFLICT,
         "\"x\""},
        {"no json", "[]", MP_EUNSUPPORTED, "the present value is no JSON"},
        {NULL, "[]", MP_EUNSUPPORTED, "there is no value to patch"},
        {"{}", "[", MP_ESYNTAX, "the patch is no JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        fails(mp__json_patch, rows[i].target, rows[i].patch, rows[i].error, rows[i].text);
}

static void what_was_in_the_buffer_stays_when_a_patch_fails(void **state)
{
    mp__buf out = MP__BUF_INIT;

    (void)state;
    assert_int_equal(mp__buf_add_str(&out, MP_STR("before")), 0);
    assert_int_equal(
        mp__json_patch(MP_STR("{}"), MP_STR("[{\"op\":\"remove\",\"path\":\"/a\"}]"), &out, NULL),
        MP_EABSENT);
    mp_assert_str(mp__buf_str(&out), "before");
    mp__buf_done(&out);
    out.size_max = 10;
    assert_int_equal(mp__merge_patch(MP_STR("{}"), MP_STR("{\"aaaaa\":\"bbbbb\"}"), &out, NULL),
                     MP_ELIMIT);
    assert_int_equal(out.size, 0);
    mp__buf_reset(&out);
    assert_int_equal(mp__json_patch(MP_STR("\"aaaaaaaaaaa\""), MP_STR("[]"), &out, NULL),
                     MP_ELIMIT);
    assert_int_equal(out.size, 0);
    mp__buf_done(&out);
}

/* ---- limits ---- */

static void repeat(mp__buf *out, const char *text, size_t times)
{
    while (times--)
        (void)mp__buf_add_str(out, mp_str_of(text));
}

static int patch_repeated(const char *target, const char *operation, size_t times, mp__diag *diag)
{
    mp__buf patch = MP__BUF_INIT, out = MP__BUF_INIT;
    int rc;

    *diag = (mp__diag){0};
    (void)mp__buf_add_char(&patch, '[');
    for (size_t i = 0; i < times; i++) {
        if (i)
            (void)mp__buf_add_char(&patch, ',');
        (void)mp__buf_add_str(&patch, mp_str_of(operation));
    }
    (void)mp__buf_add_char(&patch, ']');
    assert_int_equal(patch.error, 0);
    rc = mp__json_patch(mp_str_of(target), mp__buf_str(&patch), &out, diag);
    mp__buf_done(&patch);
    mp__buf_done(&out);
    return rc;
}

static void copies_that_double_are_stopped(void **state)
{
    mp__diag diag;
    mp__buf big = MP__BUF_INIT;

    (void)state;
    assert_int_equal(patch_repeated("{\"a\":[1,[2]]}",
                                    "{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}", 60,
                                    &diag),
                     MP_ELIMIT);
    assert_int_equal(
        patch_repeated("[[0]]", "{\"op\":\"copy\",\"from\":\"/0\",\"path\":\"/0/-\"}", 60, &diag),
        MP_ELIMIT);
    (void)mp__buf_add_char(&big, '"');
    repeat(&big, "0123456789abcdef", 65536);
    (void)mp__buf_add_str(&big, MP_STR("\""));
    (void)mp__buf_add(&big, "", 1);
    {
        mp__buf target = MP__BUF_INIT;

        (void)mp__buf_printf(&target, "{\"a\":%s,\"b\":[]}", big.data);
        (void)mp__buf_add(&target, "", 1);
        assert_int_equal(patch_repeated(target.data,
                                        "{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b/-\"}", 100,
                                        &diag),
                         MP_ELIMIT);
        assert_non_null(strstr(diag.text, "copies"));
        mp__buf_done(&target);
    }
    mp__buf_done(&big);
}

static void moves_that_nest_are_stopped(void **state)
{
    mp__diag diag;

    (void)state;
    assert_int_equal(patch_repeated("{\"a\":{}}",
                                    "{\"op\":\"add\",\"path\":\"/b\",\"value\":{}},"
                                    "{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b/x\"},"
                                    "{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/a\"}",
                                    200, &diag),
                     MP_ELIMIT);
    assert_non_null(strstr(diag.text, "nested deeper"));
}

static void too_many_operations_and_too_much_work_are_refused(void **state)
{
    mp__diag diag;
    mp__buf target = MP__BUF_INIT;

    (void)state;
    assert_int_equal(
        patch_repeated("{}", "{\"op\":\"test\",\"path\":\"\",\"value\":{}}", 10001, &diag),
        MP_ELIMIT);
    assert_non_null(strstr(diag.text, "10001"));
    (void)mp__buf_add_char(&target, '[');
    repeat(&target, "0,", 20000);
    (void)mp__buf_add_str(&target, MP_STR("0]"));
    (void)mp__buf_add(&target, "", 1);
    assert_int_equal(
        patch_repeated(target.data, "{\"op\":\"add\",\"path\":\"/0\",\"value\":1}", 5000, &diag),
        MP_ELIMIT);
    assert_non_null(strstr(diag.text, "too much work"));
    mp__buf_done(&target);
}

static void deep_documents_are_refused_before_they_are_walked(void **state)
{
    mp__buf deep = MP__BUF_INIT, out = MP__BUF_INIT;
    mp__diag diag = {0};

    (void)state;
    repeat(&deep, "[", 1000);
    repeat(&deep, "]", 1000);
    assert_int_equal(mp__merge_patch(MP_STR("{}"), mp__buf_str(&deep), &out, &diag), MP_ELIMIT);
    assert_int_equal(mp__json_patch(mp__buf_str(&deep), MP_STR("[]"), &out, &diag), MP_ELIMIT);
    mp__buf_reset(&deep);
    repeat(&deep, "[", 100000);
    assert_int_equal(mp__merge_patch(MP_STR("{}"), mp__buf_str(&deep), &out, &diag), MP_ELIMIT);
    mp__buf_reset(&deep);
    (void)mp__buf_add_str(&deep, MP_STR("[{\"op\":\"replace\",\"path\":\"/0/0/0\",\"value\":"));
    repeat(&deep, "[", 126);
    repeat(&deep, "]", 126);
    (void)mp__buf_add_str(&deep, MP_STR("}]"));
    assert_int_equal(mp__json_patch(MP_STR("[[[0]]]"), mp__buf_str(&deep), &out, &diag), MP_ELIMIT);
    assert_non_null(strstr(diag.text, "nested deeper"));
    mp__buf_done(&deep);
    mp__buf_done(&out);
}

static void without_memory_nothing_is_patched(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rfc_6902) / sizeof(rfc_6902[0]); i++) {
        mp__buf out;
        mp__diag diag;
        int rc;

        for (size_t n = 1;; n++) {
            mp_fail_begin(n);
            rc = apply(mp__json_patch, rfc_6902[i][0], rfc_6902[i][1], &out, &diag);
            if (!mp_fail_end())
                break;
            assert_int_equal(rc, MP_ENOMEM);
            assert_int_equal(out.size, 0);
            mp__buf_done(&out);
        }
        assert_int_equal(rc, 0);
        mp__buf_done(&out);
    }
}

/* ---- numbers ---- */

static void numbers_compare_by_value_exactly(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } rows[] = {
        {"1", "1.0", 0},
        {"1", "2", -1},
        {"2", "1.5", 1},
        {"1", "1.5", -1},
        {"1.5", "1", 1},
        {"9007199254740993", "9007199254740992.0", 1},
        {"1", "1e300", -1},
        {"1", "-1e300", 1},
        {"9223372036854775807", "9223372036854775808.0", -1},
        {"1.5", "2.5", -1},
        {"-1.5", "-2", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *a = json_loads(rows[i].a, JSON_DECODE_ANY, NULL);
        json_t *b = json_loads(rows[i].b, JSON_DECODE_ANY, NULL);

        assert_int_equal(mp__number_compare(a, b), rows[i].order);
        assert_int_equal(mp__number_compare(b, a), -rows[i].order);
        json_decref(a);
        json_decref(b);
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(the_examples_of_rfc_7396_hold),
    MP_TEST(a_merge_patch_of_nothing_makes_a_value),
    MP_TEST(a_bad_merge_patch_is_told_from_a_bad_target),
    MP_TEST(numbers_keep_their_value),
    MP_TEST(the_operations_of_rfc_6902_hold),
    MP_TEST(an_error_names_the_operation_and_the_path),
    MP_TEST(what_was_in_the_buffer_stays_when_a_patch_fails),
    MP_TEST(copies_that_double_are_stopped),
    MP_TEST(moves_that_nest_are_stopped),
    MP_TEST(too_many_operations_and_too_much_work_are_refused),
    MP_TEST(deep_documents_are_refused_before_they_are_walked),
    MP_TEST(without_memory_nothing_is_patched),
    MP_TEST(numbers_compare_by_value_exactly),
};

MP_TEST_MAIN(tests)
