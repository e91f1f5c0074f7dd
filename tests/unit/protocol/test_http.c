/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: what is taken, what is refused, at any cut of the bytes; and heads told at a glance. */
#include "mp_test.h"

#include "core/core.h"
#include "protocol/http.h"

static const mp__http_limits limits = {8192, 32768, 1 << 20, 100};

static mp__http_parser *make(void)
{
    mp__http_parser *p = NULL;

    assert_int_equal(mp__http_parser_new(&limits, &p), 0);
    return p;
}

/* Feed @text cut at @cut; what the last request or error was, as text in @out. */
static void feed(const char *text, size_t size, size_t cut, char *out, size_t capacity)
{
    mp__http_parser *p = make();
    size_t ends[2] = {cut, size}, at = 0, n = 0;

    out[0] = '\0';
    for (int part = 0; part < 2; part++)
        while (at < ends[part]) {
            mp__http_request r;
            size_t used = 0;
            int status = 0, rc = mp__http_parse(p, text + at, ends[part] - at, &r, &used, &status);

            if (rc == MP_EPROTO) {
                (void)snprintf(out + n, capacity - n, "!%d", status);
                (void)mp__http_parser_free(p);
                return;
            }
            at += used;
            if (rc == 0)
                n += (size_t)snprintf(
                    out + n, capacity - n, "%.*s %.*s ?%.*s h%zu b%.*s k%d\n", (int)r.method.size,
                    r.method.data, (int)r.path.size, r.path.data, (int)r.query.size,
                    r.query.data ? r.query.data : "", r.header_count, (int)r.body.size,
                    r.body.data ? r.body.data : "", r.keep_alive);
        }
    (void)mp__http_parser_free(p);
}

#define H "Host: x\r\n"

static const char *const inputs[] = {
    "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H "\r\nGET /c?d=%20 HTTP/1.1\r\n" H "\r\n",
    "GET /a HTTP/1.1\r\n" H "\r\nGET /a/%62 HTTP/1.1\r\n" H "\r\nGET /a/../b HTTP/1.1\r\n" H "\r\n",
    "GET /a HTTP/1.1\r\n" H "\r\nPUT /b HTTP/1.1\r\n" H
    "Content-Length: 3\r\n\r\nabcGET /a HTTP/1.1\r\n" H "\r\n",
    "PUT /a HTTP/1.1\r\n" H
    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /a HTTP/1.1\r\n" H "\r\n",
    "GET /a HTTP/1.1\r\n" H
    "\r\nGET /b HTTP/1.1\r\nHost: y\r\n\r\nGET /c HTTP/1.1\r\nHost: y\r\n\r\n",
    "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H H "\r\n",
    "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H " x\r\n\r\n",
    "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\n" H "\r\n",
    "GET /a HTTP/1.1\r\n" H "\r\nGET  /b HTTP/1.1\r\n" H "\r\n",
    "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.2\r\n" H "\r\n",
    "GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
    "GET /a HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
    "HEAD /a HTTP/1.1\r\n" H "\r\nHEAD /b HTTP/1.1\r\n" H "\r\n",
    "GET /a HTTP/1.1\r\n" H "\rGET /b HTTP/1.1\r\n" H "\r\n",
    "GET /a HTTP/1.1\r\n" H "\r\nGET b HTTP/1.1\r\n" H "\r\n",
    "\r\n\r\nGET /a HTTP/1.1\r\n" H "\r\n\r\n\r\n\r\nGET /b HTTP/1.1\r\n" H "\r\n",
    "\r\n\r\nGET /a HTTP/1.1\n" H "\r\n",
    "\r\n\r\nPOST /a\r\n0",
};

static void any_cut_of_the_bytes_gives_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        char whole[2048], cut[2048];
        size_t size = strlen(inputs[i]);

        feed(inputs[i], size, size, whole, sizeof(whole));
        for (size_t at = 1; at < size; at++) {
            feed(inputs[i], size, at, cut, sizeof(cut));
            assert_string_equal(cut, whole);
        }
    }
}

/* Requests by themselves, each by a parser of its own, say what they say in a row. */
static void a_head_that_repeats_means_what_it_meant(void **state)
{
    char text[2048];

    (void)state;
    feed(inputs[0], strlen(inputs[0]), strlen(inputs[0]), text, sizeof(text));
    assert_string_equal(text, "GET /a ? h1 b k1\nGET /b ? h1 b k1\nGET /c ?d=%20 h1 b k1\n");
    feed(inputs[1], strlen(inputs[1]), strlen(inputs[1]), text, sizeof(text));
    assert_string_equal(text, "GET /a ? h1 b k1\nGET /a/b ? h1 b k1\n!400");
    feed(inputs[5], strlen(inputs[5]), strlen(inputs[5]), text, sizeof(text));
    assert_string_equal(text, "GET /a ? h1 b k1\n!400");
}

static void a_head_ends_with_nothing_but_an_empty_line(void **state)
{
    static const char *const bad[] = {
        "GET /a HTTP/1.1\r\n" H "\rGET /b HTTP/1.1\r\n" H "\r\n",
        "GET /a HTTP/1.1\r\n" H "\r\rGET /b HTTP/1.1\r\n" H "\r\n",
        "GET /a HTTP/1.1\rHost: x\r\n\r\n",
        "GET /a HTTP/1.1\r\n" H "A: b\rC: d\r\n\r\n",
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        feed(bad[i], strlen(bad[i]), strlen(bad[i]), text, sizeof(text));
        assert_string_equal(text, "!400");
    }
}

/* What a request line must not have it must not have behind empty lines either. */
static void empty_lines_before_a_request_end_no_head(void **state)
{
    static const char *const heads[] = {
        "GET /a HTTP/1.1\n" H "\r\n",
        "GET /a HTTP/1.1\r\nHost: x\n\r\n",
        "GET /a HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n",
        "GET /a HTTP/1.1\rHost: x\r\n\r\n",
    };
    char text[256], input[256];

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        size_t n = (size_t)snprintf(input, sizeof(input), "\r\n\r\n%s", heads[i]);

        for (size_t cut = 1; cut <= n; cut++) {
            feed(input, n, cut, text, sizeof(text));
            assert_string_equal(text, "!400");
        }
    }
}

static void long_headers_are_refused_also_when_they_come_at_once(void **state)
{
    char text[64], *input = malloc(64 * 1024);

    (void)state;
    for (int size = 32000; size <= 33000; size += 1000) {
        size_t n =
            (size_t)snprintf(input, 64 * 1024, "GET /a HTTP/1.1\r\n" H "A: %0*d\r\n\r\n", size, 7);

        feed(input, n, n, text, sizeof(text));
        assert_string_equal(text, size < 32768 ? "GET /a ? h2 b k1\n" : "!431");
    }
    free(input);
}

static void says_at_cuts(const char *input, size_t size, const char *want)
{
    char text[64];

    for (size_t cut = 1; cut < size + 4095; cut += 4095) {
        feed(input, size, cut < size ? cut : size, text, sizeof(text));
        assert_string_equal(text, want);
    }
}

/* Spaces before a value and empty lines before a request are of no header, but of the head. */
static void a_long_head_is_refused_whatever_makes_it_long(void **state)
{
    static const char first[] = "GET /a HTTP/1.1\r\n" H;
    const size_t most = 8192 + 32768, n = sizeof(first) - 1;
    char *input = malloc(64 * 1024);

    (void)state;
    for (size_t size = most; size <= most + 1; size++) {
        (void)snprintf(input, 64 * 1024, "%sA:%*s\r\n\r\n", first, (int)(size - n - 6), "b");
        assert_int_equal(strlen(input), size);
        says_at_cuts(input, size, size > most ? "!431" : "GET /a ? h2 b k1\n");
    }
    for (size_t lines = (most - n - 2) / 2; lines <= (most - n) / 2; lines++) {
        size_t size = lines * 2;

        for (size_t i = 0; i < lines; i++)
            memcpy(input + i * 2, "\r\n", 2);
        size += (size_t)snprintf(input + size, 64 * 1024 - size, "%s\r\n", first);
        says_at_cuts(input, size, size > most ? "!431" : "GET /a ? h1 b k1\n");
    }
    free(input);
}

/* Fields behind a chunked body are no headers, and cannot grow without end. */
static void trailers_are_passed_over_within_a_limit(void **state)
{
    static const char head[] = "PUT /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                               "1\r\nx\r\n0\r\n";
    char text[256], *input = malloc(64 * 1024);
    size_t n = sizeof(head) - 1;

    (void)state;
    memcpy(input, head, n);
    n += (size_t)snprintf(input + n, 256, "T: v\r\nHost: y\r\nContent-Length: 9\r\n\r\n");
    feed(input, n, n, text, sizeof(text));
    assert_string_equal(text, "PUT /a ? h2 bx k1\n");
    n = sizeof(head) - 1;
    for (int i = 0; i < 4000; i++) {
        memcpy(input + n, "abc: defghi\r\n", 13);
        n += 13;
    }
    feed(input, n, n / 2, text, sizeof(text));
    assert_string_equal(text, "!431");
    free(input);
}

/* Whether the second of two requests is told at a glance. */
static bool glance(const char *first, const char *second, mp_str *ret_path)
{
    mp__http_parser *p = make();
    mp__http_request r;
    size_t used = 0;
    int status = 0;
    bool again;

    assert_int_equal(mp__http_parse(p, first, strlen(first), &r, &used, &status), 0);
    again = mp__http_parser_again(p, second, strlen(second), ret_path, &used);
    if (again) {
        assert_int_equal(used, strlen(second));
        assert_int_equal(mp__http_parse(p, second, strlen(second), &r, &used, &status), 0);
        mp_assert_str(r.method, "GET");
        assert_true(mp_str_equal(r.path, *ret_path));
        mp_assert_str(mp__http_header_find(&r, "host"), "x");
    }
    (void)mp__http_parser_free(p);
    return again;
}

static void only_the_same_head_is_told_at_a_glance(void **state)
{
    static const char first[] = "GET /a HTTP/1.1\r\n" H "\r\n";
    static const char *const no[] = {
        "GET /b HTTP/1.1\r\n" H "\r",         "GET /b HTTP/1.1\r\n" H "X: y\r\n\r\n",
        "GET /b HTTP/1.0\r\n" H "\r\n",       "PUT /b HTTP/1.1\r\n" H "\r\n",
        "GET /b?c HTTP/1.1\r\n" H "\r\n",     "GET /%62 HTTP/1.1\r\n" H "\r\n",
        "GET /./b HTTP/1.1\r\n" H "\r\n",     "GET /.. HTTP/1.1\r\n" H "\r\n",
        "GET /b# HTTP/1.1\r\n" H "\r\n",      "GET /b\x80 HTTP/1.1\r\n" H "\r\n",
        "GET b HTTP/1.1\r\n" H "\r\n",        "GET /b  HTTP/1.1\r\n" H "\r\n",
        "GET /b HTTP/1.1\r\nHost: y\r\n\r\n", "GET /b HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /\\b HTTP/1.1\r\n" H "\r\n",     "GET /b\t HTTP/1.1\r\n" H "\r\n",
    };
    static const char *const other[] = {
        "HEAD /a HTTP/1.1\r\n" H "\r\n",
        "GET /a HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
        "GET /a HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n",
        "PUT /a HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n",
        "GET /a HTTP/1.0\r\n" H "\r\n",
    };
    mp_str path;

    (void)state;
    assert_true(
        glance(first, "GET /v1/config/n/k.e-y_~:@!$&'()*+,;= HTTP/1.1\r\n" H "\r\n", &path));
    mp_assert_str(path, "/v1/config/n/k.e-y_~:@!$&'()*+,;=");
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_false(glance(first, no[i], &path));
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        char second[256];

        (void)snprintf(second, sizeof(second), "GET /b HTTP/1.1\r\n%s", strchr(other[i], '\n') + 1);
        assert_false(glance(other[i], second, &path));
    }
}

static void a_line_over_the_limit_is_not_told_at_a_glance(void **state)
{
    static const char first[] = "GET /a HTTP/1.1\r\n" H "\r\n";
    char *second = malloc(10000);
    mp_str path;

    (void)state;
    for (size_t size = 8190; size < 8196; size++) {
        mp__http_parser *p = make();
        mp__http_request r;
        size_t used;
        int status = 0, n;

        n = snprintf(second, 10000, "GET /%0*d HTTP/1.1\r\n" H "\r\n", (int)size - 1, 7);
        assert_int_equal(mp__http_parse(p, first, strlen(first), &r, &used, &status), 0);
        assert_int_equal(mp__http_parser_again(p, second, (size_t)n, &path, &used), size <= 8192);
        assert_int_equal(mp__http_parse(p, second, (size_t)n, &r, &used, &status),
                         size <= 8192 ? 0 : MP_EPROTO);
        assert_true(size <= 8192 || status == 414);
        (void)mp__http_parser_free(p);
    }
    free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MP_TEST(any_cut_of_the_bytes_gives_the_same),
        MP_TEST(a_head_that_repeats_means_what_it_meant),
        MP_TEST(a_head_ends_with_nothing_but_an_empty_line),
        MP_TEST(empty_lines_before_a_request_end_no_head),
        MP_TEST(long_headers_are_refused_also_when_they_come_at_once),
        MP_TEST(a_long_head_is_refused_whatever_makes_it_long),
        MP_TEST(trailers_are_passed_over_within_a_limit),
        MP_TEST(only_the_same_head_is_told_at_a_glance),
        MP_TEST(a_line_over_the_limit_is_not_told_at_a_glance),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
