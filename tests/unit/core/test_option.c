/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "core/buf.h"
#include "core/option.h"

#include "mp_fail.h"

static mp__options *options;

static int options_make(void **state)
{
    (void)state;
    return mp__options_new(&options);
}

static int options_drop(void **state)
{
    (void)state;
    options = mp__options_free(options);
    return 0;
}

static void the_stable_names_have_the_stable_defaults(void **state)
{
    (void)state;
    assert_int_equal(mp__options_int(options, "monitoring.interval"), 60000);
    assert_int_equal(mp__options_int(options, "monitoring.retention"), 7 * 86400000LL);
    assert_int_equal(mp__options_int(options, "monitoring.alert_thresholds.latency"), 100);
    assert_true(mp__options_real(options, "monitoring.alert_thresholds.memory") == 80);
    assert_true(mp__options_real(options, "monitoring.alert_thresholds.error_rate") == 0.01);
    assert_int_equal(mp__options_int(options, "cache.l1_size"), 1000);
    assert_int_equal(mp__options_int(options, "cache.l2_size"), 5000);
    assert_int_equal(mp__options_int(options, "cache.l3_size_mb"), 1000);
    assert_int_equal(mp__options_int(options, "cache.default_ttl"), 3600000);
    assert_int_equal(mp__options_int(options, "optimization.interval"), 300000);
    assert_true(mp__options_bool(options, "optimization.auto_apply"));
    assert_int_equal(mp__options_int(options, "optimization.max_recommendations"), 100);
    assert_string_equal(mp__options_text(options, "resp.listen"), "127.0.0.1:7480");
    assert_string_equal(mp__options_text(options, "http.listen"), "127.0.0.1:7481");
    assert_string_equal(mp__options_list_at(options, "resp.databases", 0), "production");
    assert_int_equal(mp__options_list_count(options, "resp.databases"), 3);
}

static void a_file_sets_what_it_names(void **state)
{
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__options_parse(options, "f",
                                       MP_STR("cache:\n  l1_size: 5\n  l1_bytes: 1.5MiB\n"
                                              "  default_ttl: 2m\n  policy: lru\n"
                                              "resp:\n  databases: [a, b]\n"
                                              "monitoring: {alert_thresholds: {latency: 1s}}\n"),
                                       &diag),
                     0);
    assert_int_equal(mp__options_int(options, "cache.l1_size"), 5);
    assert_int_equal(mp__options_int(options, "cache.l1_bytes"), 1572864);
    assert_int_equal(mp__options_int(options, "cache.default_ttl"), 120000);
    assert_string_equal(mp__options_text(options, "cache.policy"), "lru");
    assert_string_equal(mp__options_list_at(options, "resp.databases", 1), "b");
    assert_int_equal(mp__options_list_count(options, "resp.databases"), 2);
    assert_int_equal(mp__options_int(options, "monitoring.alert_thresholds.latency"), 1000);
    assert_true(mp__options_is_set(options, "cache.policy"));
    assert_false(mp__options_is_set(options, "data_dir"));
}

static void letters_that_changed_places_are_one_mistake(void **state)
{
    static const char *const flags[] = {"--set", "--end", "--env", "--json"};

    (void)state;
    assert_string_equal(mp__did_you_mean("--evn", flags, 4), "--env");
    assert_string_equal(mp__did_you_mean("--jsno", flags, 4), "--json");
    assert_null(mp__did_you_mean("--completely-other", flags, 4));
    static const char *const outs[] = {"--wait", "--output", "--out"};
    assert_string_equal(mp__did_you_mean("--out", outs, 2), "--output");
    assert_string_equal(mp__did_you_mean("--outputs-of", outs, 3), "--output");
    assert_string_equal(mp__did_you_mean("--output-file", &outs[2], 1), "--out");
    assert_null(mp__did_you_mean("--w", outs, 3));
    assert_null(mp__did_you_mean("", flags, 4));
}

/* What an option takes flags and requests take, too: they read with the same function. */
static void a_duration_is_written_alike_wherever_it_stands(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: it is none */
    } cases[] = {
        {"0", 0},
        {"5", 5000},
        {"500ms", 500},
        {"30s", 30000},
        {"5m", 300000},
        {"5min", 300000},
        {"1h", 3600000},
        {"7d", 604800000},
        {"0.5", 500},
        {"1.5h", 5400000},
        {".5s", 500},
        {"2.3s", 2300},
        {"1 h", 3600000},
        {"5 MIN", 300000},
        {"30S", 30000},
        {"1e3ms", 1000},
        {"+5s", 5000},
        {"104166666d", 104166666 * 86400000LL},
        {"", -1},
        {"s", -1},
        {".", -1},
        {"-5s", -1},
        {" 5s", -1},
        {"5x", -1},
        {"5s5", -1},
        {"0x10", -1},
        {"inf", -1},
        {"nan", -1},
        {"1e400", -1},
        {"5 parsecs", -1},
        {"9999999999999d", -1},
        {"1111111111111111111111111111111111111111111111111111111111111111ms", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text = cases[i].text;
        mp__diag diag = {0};
        int64_t ms = -1;
        bool good = mp__duration_ms(mp_str_of(text), &ms);

        if (ms != cases[i].ms || good != (ms >= 0))
            fail_msg("'%s' is %lld", text, (long long)ms);
        if (ms > 365 * 86400000LL)
            continue; /* longer than this option may be */
        assert_int_equal(mp__options_set(options, "http.cache_max_age", text, &diag),
                         good ? 0 : MP_EINVAL);
        if (good)
            assert_int_equal(mp__options_int(options, "http.cache_max_age"), ms);
    }
}

static void errors_name_place_and_remedy_and_change_nothing(void **state)
{
    static const struct {
        const char *yaml;
        int line, column;
        const char *says;
    } cases[] = {
        {"cache:\n  l1_size: 5\n  l1_sise: 7\n", 3, 3, "did you mean 'cache.l1_size'"},
        {"log:\n  level: warn\ncahce:\n  l1_size: 5\n", 3, 1, "did you mean 'cache'"},
        {"monitoring:\n  alert_tresholds:\n    latency: 5\n", 2, 3,
         "did you mean 'monitoring.alert_thresholds"},
        {"cache:\n  l1_size: many\n", 2, 12, "not a number"},
        {"cache:\n  l1_size: 0\n", 2, 12, "out of range"},
        {"cache:\n  l1_size: 1.5\n", 2, 12, "whole"},
        {"cache:\n  policy: tape\n", 2, 11, "adaptive|s3-fifo|lru"},
        {"cache:\n  default_ttl: 5 parsecs\n", 2, 16, "duration"},
        {"cache:\n  l1_size: 5\n  l1_size: 6\n", 3, 3, "already"},
        {"cache: [1]\n", 1, 8, "no option 'cache'"},
        {"cache:\n  l1_size: {a: 1}\n", 2, 12, "not a map"},
        {"cache:\n  l1_size: [1]\n", 2, 12, "not a list"},
        {"- a\n", 1, 1, "map"},
        {"cache: {\n", 2, 1, "while parsing a flow node"},
        {"resp:\n  listen: nowhere\n", 2, 11, "address"},
        {"optimization: {auto_apply: yes}\n", 1, 28, "true or false"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__diag diag = {0};
        int rc = mp__options_parse(options, "conf.yaml", mp_str_of(cases[i].yaml), &diag);

        if (rc == 0 || diag.line != cases[i].line || diag.column != cases[i].column ||
            !strstr(diag.text, cases[i].says))
            fail_msg("%s gave %d at %d:%d: %s", cases[i].yaml, rc, diag.line, diag.column,
                     diag.text);
        assert_string_equal(diag.file, "conf.yaml");
        assert_int_equal(mp__options_int(options, "cache.l1_size"), 1000);
    }
}

static void the_example_file_is_valid_once_uncommented(void **state)
{
    mp__buf text = MP__BUF_INIT, plain = MP__BUF_INIT;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__options_example(&text), 0);
    for (size_t i = 0; i < text.size; i++)
        if (!(text.data[i] == '#' && (i == 0 || text.data[i - 1] == '\n') && i > 0))
            (void)mp__buf_add_char(&plain, text.data[i]);
    /* dotted names below a group are read as they are written */
    if (mp__options_parse(options, "example", mp__buf_str(&plain), &diag) != 0)
        fail_msg("%d:%d %s", diag.line, diag.column, diag.text);
    mp__buf_done(&text);
    mp__buf_done(&plain);
}

static void note_change(void *context, const mp__option *option)
{
    assert_string_equal(option->path, "cache.l1_size");
    ++*(int *)context;
}

static void a_diff_names_what_changed(void **state)
{
    mp__options *other = NULL;
    int changes = 0;

    (void)state;
    assert_int_equal(mp__options_copy(options, &other), 0);
    assert_int_equal(mp__options_set(other, "cache.l1_size", "7", NULL), 0);
    mp__options_diff(options, other, note_change, &changes);
    assert_int_equal(changes, 1);
    other = mp__options_free(other);
}

static void a_copy_without_memory_fails_cleanly_at_every_step(void **state)
{
    mp__options *copy = NULL;
    int rc;

    (void)state;
    assert_int_equal(mp__options_set(options, "resp.databases", "a,b,c", NULL), 0);
    for (size_t n = 1;; n++) {
        mp_fail_begin(n);
        rc = mp__options_copy(options, &copy);
        if (!mp_fail_end())
            break;
        assert_int_equal(rc, MP_ENOMEM);
        assert_null(copy);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(mp__options_list_count(copy, "resp.databases"), 3);
    copy = mp__options_free(copy);
}

static void a_file_without_memory_changes_nothing(void **state)
{
    static const char yaml[] = "cache:\n  l1_size: 7\nresp:\n  databases: [a, b]\n"
                               "  listen: \"127.0.0.1:1\"\nlog:\n  level: debug\n";
    int rc;

    (void)state;
    for (size_t n = 1;; n++) {
        mp__diag diag = {0};

        mp_fail_begin(n);
        rc = mp__options_parse(options, "x.yaml", mp_str_of(yaml), &diag);
        if (!mp_fail_end())
            break;
        assert_int_equal(rc, MP_ENOMEM);
        assert_false(mp__options_is_set(options, "cache.l1_size"));
    }
    assert_int_equal(rc, 0);
    assert_int_equal(mp__options_int(options, "cache.l1_size"), 7);
}

static void every_generated_page_is_whole_or_an_error(void **state)
{
    int (*const pages[])(mp__buf *) = {mp__options_markdown, mp__options_man, mp__options_example};

    (void)state;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        mp__buf out = MP__BUF_INIT, limited = {.size_max = 1000};

        assert_int_equal(pages[i](&out), 0);
        assert_true(out.size > 1000);
        assert_int_equal(pages[i](&limited), MP_ELIMIT);
        mp__buf_done(&out);
        mp__buf_done(&limited);
    }
}

static void the_generated_documentation_is_what_stands_in_docs(void **state)
{
    const char *path = getenv("MP_CONFIGURATION_MD");
    mp__buf want = MP__BUF_INIT;
    char *text;
    FILE *file;
    size_t size;

    (void)state;
    if (!path)
        skip();
    assert_int_equal(mp__options_markdown(&want), 0);
    file = fopen(path, "rb");
    assert_non_null(file);
    text = calloc(1, want.size + 2);
    size = fread(text, 1, want.size + 1, file);
    fclose(file);
    if (size != want.size || memcmp(text, want.data, size) != 0)
        fail_msg("%s is not what the option table says; run make docs", path);
    free(text);
    mp__buf_done(&want);
}

#define WITH_OPTIONS(f) cmocka_unit_test_setup_teardown(f, options_make, options_drop)
static const struct CMUnitTest tests[] = {
    WITH_OPTIONS(the_stable_names_have_the_stable_defaults),
    WITH_OPTIONS(a_file_sets_what_it_names),
    WITH_OPTIONS(letters_that_changed_places_are_one_mistake),
    WITH_OPTIONS(a_duration_is_written_alike_wherever_it_stands),
    WITH_OPTIONS(errors_name_place_and_remedy_and_change_nothing),
    WITH_OPTIONS(the_example_file_is_valid_once_uncommented),
    WITH_OPTIONS(a_diff_names_what_changed),
    WITH_OPTIONS(a_copy_without_memory_fails_cleanly_at_every_step),
    WITH_OPTIONS(a_file_without_memory_changes_nothing),
    MP_TEST(every_generated_page_is_whole_or_an_error),
    MP_TEST(the_generated_documentation_is_what_stands_in_docs),
};

MP_TEST_MAIN(tests)
