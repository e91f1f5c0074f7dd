/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <errno.h>
#include <stdlib.h>

#include <jansson.h>

#include "core/buf.h"
#include "core/json_read.h"
#include "core/json_tree.h"

/* Only looked at, it is told the same, but of names and numbers. */
static void is_checked_as_read(mp_str text, int rc, const mp__diag *diag)
{
    mp__diag checked = {0};

    if (strstr(diag->text, "already in this object") || strstr(diag->text, "a name may not hold"))
        rc = 0;
    assert_int_equal(mp__json_check(text, &checked), rc == -ERANGE ? 0 : rc);
    if (rc && rc != -ERANGE) {
        assert_string_equal(checked.text, diag->text);
        assert_int_equal(checked.line, diag->line);
        assert_int_equal(checked.column, diag->column);
    }
}

static void what_is_wrong_is_told_with_the_place_of_its_first_byte(void **state)
{
    static const struct {
        const char *text;
        int line, column;
        const char *says;
    } cases[] = {
        {"", 1, 1, "the text is empty"},
        {" \n\n  ", 1, 1, "the text is empty"},
        {"{", 1, 2, "a name in quotes or '}' is expected here, and the text ends"},
        {"{\n  \"a\": 1,\n", 3, 1, "the '{' of line 1, column 1 is open"},
        {"{\n  \"a\": [1, 2\n}\n", 3, 1, "',' or ']' is expected here, not '}'"},
        {"{\"a\" 1}", 1, 6, "':' behind the name is expected here, not '1'"},
        {"{\"a\": 1 \"b\": 2}", 1, 9, "',' or '}' is expected here, not a string"},
        {"{\"a\": 1,}", 1, 9, "a name in quotes is expected here, not '}'"},
        {"{a: 1}", 1, 2, "a name in quotes or '}' is expected here, not 'a'"},
        {"{\"a\": }", 1, 7, "a value is expected here, not '}'"},
        {"[1,\n 2,\n ]", 3, 2, "a value is expected here, not ']'"},
        {"[1 2]", 1, 4, "',' or ']' is expected here, not '2'"},
        {"[1, 2", 1, 6, "the '[' of line 1, column 1 is open"},
        {"1 2", 1, 3, "nothing more is expected here, not '2'"},
        {"{}\n]", 2, 1, "nothing more is expected here, not ']'"},
        {"tru", 1, 1, "'tru' is no value; a text stands in quotes"},
        {"[1, True]", 1, 5, "'True' is no value"},
        {"{\"a\": yes}", 1, 7, "'yes' is no value"},
        {"[01]", 1, 2, "'01' is no number as JSON writes them"},
        {"[\n  1.]", 2, 3, "'1.' is no number"},
        {"-", 1, 1, "'-' is no number"},
        {"[+1]", 1, 2, "'+1' is no number"},
        {"[.5]", 1, 2, "'.5' is no number"},
        {"[1e]", 1, 2, "'1e' is no number"},
        {"[0x10]", 1, 2, "'0x10' is no number"},
        {"[NaN]", 1, 2, "'NaN' is no value"},
        {"['a']", 1, 2, "a value is expected here, not '''"},
        {"[\"a", 1, 2, "the string that begins here does not end"},
        {"[\"a\n\"]", 1, 2, "does not end on its line"},
        {"[\"a\tb\"]", 1, 4, "the byte 0x09 must be written as \\u0009"},
        {"[\"a\\qb\"]", 1, 4, "no escape begins with \\ and 'qb'"},
        {"[\"\\u12g4\"]", 1, 3, "four hexadecimal digits"},
        {"[\"\\ud800\"]", 1, 3, "half of a pair"},
        {"[\"x\\udc00\\ud800\"]", 1, 4, "half of a pair"},
        {"[\"\xc3(\"]", 1, 3, "the byte 0xc3 is no UTF-8"},
        {"[\xff]", 1, 2, "not the byte 0xff"},
        {"[1 // two\n]", 1, 4, "',' or ']' is expected here, not '/'"},
        {"{\"a\": 1, \"b\": 2,\n \"a\": 3}", 2, 2, "the name is there already in this object"},
        {"{\"a\": {\"b\": 1, \"b\" : 2}}", 1, 16, "the name is there already"},
        {"{\"a\": 1, \"\\u0061\": 2}", 1, 10, "the name is there already"},
        {"{\"a\": 1, \"b\\u0000\": 2}", 1, 10, "a name may not hold \\u0000"},
        {"\xef\xbb\xbf{}", 1, 1, "a value is expected here"},
        {"{\"a\": 1}}", 1, 9, "nothing more"},
        {"[]]", 1, 3, "nothing more"},
        {",", 1, 1, "a value is expected here, not ','"},
        {"{\"\xc3\xa4\": x}", 1, 8, "'x' is no value"}, /* columns are of bytes */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *tree = NULL;
        mp__diag diag = {0};
        int rc = mp__json_read(mp_str_of(cases[i].text), false, &tree, &diag);

        is_checked_as_read(mp_str_of(cases[i].text), rc, &diag);
        if (rc != MP_ESYNTAX || tree || diag.line != cases[i].line ||
            diag.column != cases[i].column || !strstr(diag.text, cases[i].says))
            fail_msg("%s: %d, said %d:%d %s, want %d:%d %s", cases[i].text, rc, diag.line,
                     diag.column, diag.text, cases[i].line, cases[i].column, cases[i].says);
    }
}

static void a_number_that_cannot_be_held_is_told_as_one(void **state)
{
    static const struct {
        const char *text;
        bool wide;
        int column;
        const char *want; /* NULL: refused */
    } cases[] = {
        {"[1, 18446744073709551616]", false, 5, NULL},
        {"[1, -9223372036854775809 ]", false, 5, NULL},
        {"{\"a\":1e400}", false, 6, NULL},
        {"[1, 18446744073709551616]", true, 0, "[1.0,1.8446744073709552e+19]"},
        {"[9223372036854775807]", true, 0, "[9223372036854775807]"},
        {"[  -1e400]", true, 4, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *tree = NULL;
        mp__diag diag = {0};
        mp__buf out = MP__BUF_INIT;
        int rc = mp__json_read(mp_str_of(cases[i].text), cases[i].wide, &tree, &diag);

        assert_int_equal(rc, cases[i].want ? 0 : -ERANGE);
        if (!cases[i].want) {
            assert_int_equal(diag.line, 1);
            assert_int_equal(diag.column, cases[i].column);
            assert_non_null(strstr(diag.text, " is larger than "));
            continue;
        }
        assert_int_equal(mp__json_tree(tree, 0, &out), 0);
        (void)mp__buf_add_char(&out, '\0');
        assert_string_equal(out.data, cases[i].want);
        mp__buf_done(&out);
        json_decref(tree);
    }
}

static void what_is_right_is_read(void **state)
{
    static const char *const texts[] = {
        "null",
        " \"a\" ",
        "[]",
        "{}\n",
        "[[],{}]",
        "{\"a\":{\"b\":[1,-0.5e-3,true]}}",
        "\"\\ud83d\\ude00 \\u0000\"",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *tree = NULL;

        assert_int_equal(mp__json_read(mp_str_of(texts[i]), false, &tree, NULL), 0);
        json_decref(tree);
    }
}

static void what_is_nested_too_deep_is_refused(void **state)
{
    enum { DEEP = 5000 };
    char text[DEEP];
    json_t *tree = NULL;
    mp__diag diag = {0};

    (void)state;
    memset(text, '[', sizeof(text));
    assert_int_equal(mp__json_read(mp_str_new(text, sizeof(text)), false, &tree, &diag), MP_ELIMIT);
    assert_int_equal(mp__json_read(mp_str_new(text, 2000), false, &tree, &diag), MP_ESYNTAX);
    assert_int_equal(diag.column, 2001);
    assert_int_equal(mp__json_check(mp_str_new(text, sizeof(text)), &diag), MP_ESYNTAX);
    assert_non_null(strstr(diag.text, "nested deeper than"));
}

static void what_is_only_looked_at_may_have_any_names_and_numbers(void **state)
{
    static const char *const texts[] = {
        "{\"a\":1,\"a\":2}", "[123456789012345678901234567890,-1e4000]", "{\"\\u0000\":0}", "0"};
    mp__diag diag = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(mp__json_check(mp_str_of(texts[i]), &diag), 0);
    assert_int_equal(mp__json_check((mp_str){NULL, 0}, &diag), MP_ESYNTAX);
    assert_string_equal(diag.text, "the text is empty");
    assert_int_equal(mp__json_check(MP_STR("[1,\n2"), NULL), MP_ESYNTAX);
}

static void a_zero_byte_does_not_end_a_text(void **state)
{
    static const char text[] = "{\"a\": 1}\n\0{\"b\": 2}";
    json_t *tree = NULL;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__json_read(mp_str_new(text, sizeof(text) - 1), false, &tree, &diag),
                     MP_ESYNTAX);
    assert_null(tree);
    assert_int_equal(diag.line, 2);
    assert_int_equal(diag.column, 1);
    assert_string_equal(diag.text, "nothing more is expected here, not the byte 0x00");
    assert_int_equal(mp__json_read(mp_str_new("3", 2), true, &tree, &diag), MP_ESYNTAX);
}

/* Whatever is cut off or changed: what is refused is refused with a place inside the text. */
static void every_refusal_has_a_place_in_the_text(void **state)
{
    static const char good[] = "{\"name\": \"\\u00e4\\n\", \"list\": [1, -2.5e3, true, null, {}],\n"
                               " \"deep\": {\"a\": [[\"x\"], {\"b\": \"\xc3\xa4\"}]}}";
    char text[sizeof(good)];
    size_t size = sizeof(good) - 1, refused = 0;

    (void)state;
    for (size_t i = 0; i < size; i++)
        for (int c = -1; c < 256; c++) { /* -1: the text ends here */
            json_t *tree = NULL;
            mp__diag diag = {0};
            int rc;

            memcpy(text, good, sizeof(good));
            if (c >= 0)
                text[i] = (char)c;
            rc = mp__json_read(mp_str_new(text, c < 0 ? i : size), false, &tree, &diag);
            json_decref(tree);
            is_checked_as_read(mp_str_new(text, c < 0 ? i : size), rc, &diag);
            if (rc == 0)
                continue;
            refused++;
            assert_true(diag.line >= 1 && diag.line <= 3);
            assert_true(diag.column >= 1 && diag.column <= 70);
            assert_true(diag.text[0] != '\0');
        }
    assert_true(refused > size * 100);
}

static void a_pointer_leads_to_the_first_byte_of_its_value(void **state)
{
    static const char text[] =
        " {\"a\": [1, \"]\\\"\", {\"b\":\n  true}],\n \"x/y~z\": {\"\": null},"
        "\n\"\\u00e9\\t\" :-5, \"aa\": {}, \"ab\"\n:\n[]}";
    static const struct {
        const char *pointer;
        int line, column; /* 0: it leads nowhere */
    } cases[] = {
        {"", 1, 2},
        {"/a", 1, 8},
        {"/a/0", 1, 9},
        {"/a/1", 1, 12},
        {"/a/2", 1, 19},
        {"/a/2/b", 2, 3},
        {"/x~1y~0z", 3, 11},
        {"/x~1y~0z/", 3, 16},
        {"/\u00e9\t", 4, 13},
        {"/aa", 4, 23},
        {"/ab", 6, 1},
        {"/a/3", 0, 0},
        {"/a/b", 0, 0},
        {"/b", 0, 0},
        {"/aa/x", 0, 0},
        {"/a/0/1", 0, 0},
        {"/ab/0", 0, 0},
        {"/abc", 0, 0},
        {"/a/18446744073709551617", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int line = 0, column = 0;
        bool found = mp__json_place(mp_str_of(text), cases[i].pointer, &line, &column);

        if (line != cases[i].line || column != cases[i].column)
            print_message("# %s: %d:%d\n", cases[i].pointer, line, column);
        assert_int_equal(found, cases[i].line > 0);
        assert_int_equal(line, cases[i].line);
        assert_int_equal(column, cases[i].column);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_pointer_leads_to_the_first_byte_of_its_value),
    cmocka_unit_test(what_is_wrong_is_told_with_the_place_of_its_first_byte),
    cmocka_unit_test(a_number_that_cannot_be_held_is_told_as_one),
    cmocka_unit_test(what_is_right_is_read),
    cmocka_unit_test(what_is_only_looked_at_may_have_any_names_and_numbers),
    cmocka_unit_test(a_zero_byte_does_not_end_a_text),
    cmocka_unit_test(what_is_nested_too_deep_is_refused),
    cmocka_unit_test(every_refusal_has_a_place_in_the_text),
};
MP_TEST_MAIN(tests)
