/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <unistd.h>

#include "core/json.h"
#include "core/log.h"

static char text[65536];

/* What was written to the pipe so far. */
static const char *written(int fd)
{
    ssize_t n = read(fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void json_lines_escape_what_they_hold(void **state)
{
    mp__log_sink *log = NULL;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(mp__log_new(mp__env_real(), fds[1], MP__LOG_JSON, &log), 0);
    mp__log(log, MP__LOG_WARN, "origin", "lost", "path=\"%s\"", "a\nb");
    assert_non_null(strstr(written(fds[0]),
                           "\"level\":\"warn\",\"component\":\"origin\",\"event\":\"lost\","
                           "\"message\":\"path=\\\"a\\nb\\\"\"}\n"));
    log = mp__log_free(log);
    close(fds[0]);
    close(fds[1]);
}

static void lines_for_people_move_no_terminal(void **state)
{
    mp__log_sink *log = NULL;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(mp__log_new(mp__env_real(), fds[1], MP__LOG_PEOPLE, &log), 0);
    mp__log(log, MP__LOG_WARN, "origin", "lost", "%s", "a\nb\tc\x1b[2J\r\xc2\x9b\x9b\x7f\xc3\xa4");
    assert_non_null(
        strstr(written(fds[0]), "lost a b c\\u001b[2J\\r\\u009b\xef\xbf\xbd\\u007f\xc3\xa4\n"));
    log = mp__log_free(log);
    close(fds[0]);
    close(fds[1]);
}

static void levels_hold_for_their_component(void **state)
{
    mp__log_sink *log = NULL;

    (void)state;
    assert_int_equal(mp__log_new(mp__env_real(), 1, MP__LOG_PEOPLE, &log), 0);
    assert_false(mp__log_enabled(log, "cache", MP__LOG_DEBUG));
    assert_int_equal(mp__log_level_set(log, "cache", "debug"), 0);
    assert_true(mp__log_enabled(log, "cache", MP__LOG_DEBUG));
    assert_false(mp__log_enabled(log, "origin", MP__LOG_DEBUG));
    assert_int_equal(mp__log_level_set(log, "", "off"), 0);
    assert_false(mp__log_enabled(log, "origin", MP__LOG_ERROR));
    assert_false(mp__log_enabled(log, "cache", MP__LOG_ERROR)); /* what was said of it is over */
    assert_int_equal(mp__log_level_set(log, "", "loud"), MP_EINVAL);
    assert_false(mp__log_enabled(NULL, "origin", MP__LOG_ERROR));
    log = mp__log_free(log);
}

static void levels_of_what_is_none_are_refused_with_what_was_meant(void **state)
{
    static const struct {
        const char *item, *said;
    } bad[] = {
        {"origin", "COMPONENT=LEVEL"},
        {"orgin=debug", "did you mean 'origin'"},
        {"origin=debgu", "did you mean 'debug'"},
        {"nothing-like-it=info", "there are cache, daemon"},
        {"=info", "no component ''"},
        {"origin=", "no level ''"},
    };
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__log_level_check("origin=debug", &diag), 0);
    assert_int_equal(mp__log_level_check("daemon=off", &diag), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mp__log_level_check(bad[i].item, &diag), MP_EINVAL);
        assert_non_null(strstr(diag.text, bad[i].said));
    }
}

static void a_flood_of_one_line_is_held_back(void **state)
{
    mp__log_sink *log = NULL;
    int fds[2], lines = 0;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(mp__log_new(mp__env_real(), fds[1], MP__LOG_PEOPLE, &log), 0);
    for (int i = 0; i < 500; i++)
        mp__log(log, MP__LOG_INFO, "test", "flood", "%d", i);
    for (const char *p = written(fds[0]); *p; p++)
        lines += *p == '\n';
    assert_true(lines >= 20 && lines <= 60); /* the second may turn in between */
    log = mp__log_free(log);
    close(fds[0]);
    close(fds[1]);
}

static void json_is_written_with_commas_and_clean_strings(void **state)
{
    mp__buf out = MP__BUF_INIT;

    (void)state;
    mp__json_begin(&out, '{');
    mp__json_add_text(&out, "a", "x\"\\\x01\xff\xc3\xa4");
    mp__json_add_i64(&out, "b", -5);
    mp__json_key(&out, "c");
    mp__json_begin(&out, '[');
    mp__json_begin(&out, '{');
    mp__json_end(&out, '}');
    mp__json_begin(&out, '{');
    mp__json_add_bool(&out, "d", true);
    mp__json_end(&out, '}');
    mp__json_end(&out, ']');
    mp__json_end(&out, '}');
    (void)mp__buf_add_char(&out, '\0');
    assert_string_equal(
        out.data,
        "{\"a\":\"x\\\"\\\\\\u0001\xef\xbf\xbd\xc3\xa4\",\"b\":-5,\"c\":[{},{\"d\":true}]}");
    mp__buf_done(&out);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(json_lines_escape_what_they_hold),
    MP_TEST(lines_for_people_move_no_terminal),
    MP_TEST(levels_hold_for_their_component),
    MP_TEST(levels_of_what_is_none_are_refused_with_what_was_meant),
    MP_TEST(a_flood_of_one_line_is_held_back),
    MP_TEST(json_is_written_with_commas_and_clean_strings),
};

MP_TEST_MAIN(tests)
