/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "cli/template.h"
#include "mp_fail.h"

static const char *const keys[][2] = {
    {"feeds/a.host", "alpha"}, {"feeds/b.host", "it's \"b\"\n"},
    {"flags/off", "false"},    {"flags/on", "true"},
    {"odd key|x", "odd"},
};
enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

static int get(void *context, mp_str key, mp__buf *out, mp__diag *diag)
{
    (void)context;
    if (mp_str_equal(key, MP_STR("broken")))
        return mp__diag_set(diag, MP_EUNKNOWN, "nobody can be asked");
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (mp_str_equal(key, mp_str_of(keys[i][0])))
            return mp__buf_add_str(out, mp_str_of(keys[i][1]));
    return MP_EABSENT;
}

static int range(void *context, mp_str prefix,
                 int (*each)(void *each_context, mp_str key, mp_str name, mp_str value),
                 void *each_context, mp__diag *diag)
{
    (void)context;
    (void)diag;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        mp_str key = mp_str_of(keys[i][0]);
        int rc;

        if (key.size < prefix.size || memcmp(key.data, prefix.data, prefix.size) != 0)
            continue;
        rc = each(each_context, key, mp_str_new(key.data + prefix.size, key.size - prefix.size),
                  mp_str_of(keys[i][1]));
        if (rc)
            return rc;
    }
    return 0;
}

static const mp__template_source source = {NULL, get, range};
static mp__diag diag;

static int render(const char *text, mp__buf *out)
{
    mp__template *t = NULL;
    int rc;

    diag = (mp__diag){0};
    rc = mp__template_new(mp_str_of(text), &t, &diag);
    if (rc == 0)
        rc = mp__template_render(t, &source, out, &diag);
    (void)mp__template_free(t);
    return rc;
}

#define RENDERS(template, want)                                                                    \
    do {                                                                                           \
        mp__buf out_ = MP__BUF_INIT;                                                               \
        int rc_ = render(template, &out_);                                                         \
        if (rc_)                                                                                   \
            print_message("# %d:%d %s\n", diag.line, diag.column, diag.text);                      \
        assert_int_equal(rc_, 0);                                                                  \
        mp_assert_str(mp__buf_str(&out_), want);                                                   \
        mp__buf_done(&out_);                                                                       \
    } while (0)

/* It fails with @error at that place, and says @what. */
#define FAILS(template, error, at_line, at_column, what)                                           \
    do {                                                                                           \
        mp__buf out_ = MP__BUF_INIT;                                                               \
        assert_int_equal(render(template, &out_), error);                                          \
        mp__buf_done(&out_);                                                                       \
        if (!strstr(diag.text, what))                                                              \
            print_message("# %s\n", diag.text);                                                    \
        assert_non_null(strstr(diag.text, what));                                                  \
        assert_int_equal(diag.line, at_line);                                                      \
        assert_int_equal(diag.column, at_column);                                                  \
    } while (0)

static void text_without_braces_stays_as_it_is(void **state)
{
    (void)state;
    RENDERS("", "");
    RENDERS("a { b } }} c\n", "a { b } }} c\n");
}

static void values_stand_where_their_keys_stood(void **state)
{
    (void)state;
    RENDERS("host={{feeds/a.host}};", "host=alpha;");
    RENDERS("{{ feeds/a.host }}{{feeds/a.host}}", "alphaalpha");
    RENDERS("{{get \"odd key|x\"}}", "odd");
    RENDERS("{{\"{{\"}} {{\"a\\\"b\\\\\\n\"}}", "{{ a\"b\\\n");
}

static void a_default_takes_the_place_of_what_is_absent_only(void **state)
{
    (void)state;
    RENDERS("{{none | default \"x\"}}{{feeds/a.host | default \"x\"}}", "xalpha");
    RENDERS("{{none | default \"x\" | upper}}", "X");
    RENDERS("{{none | default \"\"}}", "");
    FAILS("{{broken | default \"x\"}}", MP_EUNKNOWN, 1, 1, "nobody can be asked");
}

static void filters_are_applied_in_their_order(void **state)
{
    (void)state;
    RENDERS("{{feeds/b.host | json}}", "\"it's \\\"b\\\"\\n\"");
    RENDERS("{{feeds/b.host | trim | shell}}", "'it'\\''s \"b\"'");
    RENDERS("{{feeds/a.host | upper}}{{feeds/a.host | upper | lower}}", "ALPHAalpha");
    RENDERS("{{\"a\" | base64}} {{\"ab\" | base64}} {{\"abc\" | base64}} {{\"\" | base64}}",
            "YQ== YWI= YWJj ");
    RENDERS("{{\"{\" | upper}}", "{");
}

static void an_if_takes_its_branch_by_presence_and_words_that_say_no(void **state)
{
    (void)state;
    RENDERS("{{if flags/on}}yes{{else}}no{{end}}", "yes");
    RENDERS("{{if flags/off}}yes{{else}}no{{end}}", "no");
    RENDERS("{{if none}}yes{{else}}no{{end}}.", "no.");
    RENDERS("{{if none}}yes{{end}}.", ".");
    RENDERS("{{if flags/on}}a{{if none}}b{{else}}c{{end}}d{{else}}e{{end}}f", "acdf");
}

static void a_range_goes_through_all_keys_of_a_prefix_in_order(void **state)
{
    (void)state;
    RENDERS("{{range feeds/}}{{.key}} {{.name}}={{.value | trim}};{{end}}",
            "feeds/a.host a.host=alpha;feeds/b.host b.host=it's \"b\";");
    RENDERS("{{range nothing/}}x{{end}}", "");
    RENDERS("{{range flags/}}[{{range flags/}}{{.name}},{{end}}{{.name}}]{{end}}",
            "[off,on,off][off,on,on]");
    RENDERS("{{range flags/}}{{if .value}}{{.name}}{{end}}{{end}}", "on");
}

static void dashes_take_the_white_space_beside_them(void **state)
{
    (void)state;
    RENDERS("a \n {{- flags/on -}} \n b", "atrueb");
    RENDERS("a {{flags/on -}} b", "a trueb");
    RENDERS("{{if flags/on -}}\n x\n{{- end}}\n", "x\n");
}

static void remarks_leave_nothing(void **state)
{
    (void)state;
    RENDERS("a{{/* \" }} {{ */}}b", "ab");
}

static void mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    FAILS("\n ab{{feeds/a.host", MP_ESYNTAX, 2, 4, "without }}");
    FAILS("{{}}", MP_ESYNTAX, 1, 3, "a key is missing");
    FAILS("{{a | sheel}}", MP_ESYNTAX, 1, 7, "'sheel' is no filter");
    FAILS("{{a b}}", MP_ESYNTAX, 1, 5, "'b' is one word too many");
    FAILS("{{a | default x}}", MP_ESYNTAX, 1, 15, "double quotes");
    FAILS("{{end}}", MP_ESYNTAX, 1, 1, "end without");
    FAILS("{{else}}", MP_ESYNTAX, 1, 1, "else without");
    FAILS("{{range a}}{{else}}{{end}}", MP_ESYNTAX, 1, 12, "else without");
    FAILS("{{if a}}{{else}}{{else}}{{end}}", MP_ESYNTAX, 1, 17, "else without");
    FAILS("x\n{{if a}}", MP_ESYNTAX, 2, 1, "no {{end}}");
    FAILS("{{get a}}", MP_ESYNTAX, 1, 7, "double quotes");
    FAILS("{{.name}}", MP_ESYNTAX, 1, 1, "inside a range");
    FAILS("\n\n {{none}}", MP_EABSENT, 3, 2, "no value at none");
    FAILS("{{range feeds/}}\n{{none}}{{end}}", MP_EABSENT, 2, 1, "no value at none");
    FAILS("{{a | json | json | json | json | json | json | json}}", MP_ELIMIT, 1, 49,
          "six filters");
}

static void blocks_go_only_so_deep(void **state)
{
    mp__buf text = MP__BUF_INIT, out = MP__BUF_INIT;

    (void)state;
    for (int i = 0; i < 65; i++)
        (void)mp__buf_add_str(&text, MP_STR("{{if flags/on}}"));
    for (int i = 0; i < 65; i++)
        (void)mp__buf_add_str(&text, MP_STR("{{end}}"));
    assert_int_equal(mp__buf_add_char(&text, 0), 0);
    assert_int_equal(render(text.data, &out), MP_ELIMIT);
    mp__buf_done(&text);
    mp__buf_done(&out);
}

static void count_name(void *context, mp_str name, bool is_prefix)
{
    (void)mp__buf_printf(context, "%.*s%s ", (int)name.size, name.data, is_prefix ? "*" : "");
}

static void all_that_is_named_is_told(void **state)
{
    mp__template *t = NULL;
    mp__buf names = MP__BUF_INIT;

    (void)state;
    assert_int_equal(mp__template_new(MP_STR("{{a}}{{if b}}{{range c/}}{{.name}}{{end}}{{\"l\"}}"
                                             "{{end}}"),
                                      &t, NULL),
                     0);
    mp__template_names(t, count_name, &names);
    mp_assert_str(mp__buf_str(&names), "a b c/* ");
    mp__buf_done(&names);
    (void)mp__template_free(t);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        mp__buf out = MP__BUF_INIT;
        int rc;

        mp_fail_begin(n);
        rc = render("{{range feeds/}}{{.name | json}}{{none | default \"x\"}}{{end}}", &out);
        mp__buf_done(&out);
        if (!mp_fail_end()) {
            assert_int_equal(rc, 0);
            assert_true(n > 5);
            return;
        }
        assert_int_equal(rc, MP_ENOMEM);
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(text_without_braces_stays_as_it_is),
    MP_TEST(values_stand_where_their_keys_stood),
    MP_TEST(a_default_takes_the_place_of_what_is_absent_only),
    MP_TEST(filters_are_applied_in_their_order),
    MP_TEST(an_if_takes_its_branch_by_presence_and_words_that_say_no),
    MP_TEST(a_range_goes_through_all_keys_of_a_prefix_in_order),
    MP_TEST(dashes_take_the_white_space_beside_them),
    MP_TEST(remarks_leave_nothing),
    MP_TEST(mistakes_are_told_with_their_place),
    MP_TEST(blocks_go_only_so_deep),
    MP_TEST(all_that_is_named_is_told),
    MP_TEST(every_allocation_may_fail),
};
MP_TEST_MAIN(tests)
