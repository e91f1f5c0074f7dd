/* SPDX-License-Identifier: Apache-2.0 */
/* What each "format" takes and refuses, how URIs resolve, what a pattern means. */
#include "mp_test.h"

#include "core/core.h"
#include "schema/node.h"

static void formats_take_what_they_should_and_no_more(void **state)
{
    static const struct {
        const char *format, *good[8], *bad[16];
    } rows[] = {
        {"date",
         {"2024-02-29", "2000-02-29", "1999-12-31"},
         {"2023-02-29", "1900-02-29", "2024-13-01", "2024-04-31", "2024-4-1", "20240401",
          "2024-01-01x", "2024-00-01", "2024-01-00", "x", ""}},
        {"time",
         {"12:30:00Z", "23:59:60Z", "00:59:60+01:00", "12:30:00.5-05:30", "12:30:00z"},
         {"12:30:00", "24:00:00Z", "12:60:00Z", "12:30:61Z", "12:30:60Z", "12:30:00.Z",
          "12:30:00+24:00", "12:30:00+01:60", "12:30Z", "12:30:00*01:00", ""}},
        {"date-time",
         {"2024-02-29T12:30:00Z", "2024-02-29t12:30:00.123+02:00"},
         {"2024-02-29 12:30:00Z", "2024-02-29", "2024-02-30T12:30:00Z", "2024-02-29T12:30:00",
          "2024-02-29T12:30:00Zx"}},
        {"duration",
         {"P1Y2M3DT4H5M6S", "PT1H", "P4W", "P3D", "P1YT5S"},
         {"P", "PT", "P1", "P1H", "P1Y1D", "PT1S1H", "P1W2D", "1D", "P1YT", "P1.5D", "PT1H1S"}},
        {"email",
         {"a@example.com", "a.b+c@x.org", "\"a b\\\"c\"@x.org", "a@[127.0.0.1]", "a@[IPv6:::1]"},
         {"a", "@x.org", "a@", ".a@x.org", "a.@x.org", "a..b@x.org", "a b@x.org", "\"a\"b\"@x.org",
          "\"\x01\"@x.org", "a@-x.org", "a@[1.2.3]", "\"a\\\"@x.org",
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x.org"}},
        {"hostname",
         {"localhost", "a-b.example.com", "1.example", "xn--4gbwdl.xn--wgbh1c"},
         {"", "-a", "a-", "a..b", ".a", "a.", "a_b", "a b", "a-.b",
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
        {"ipv4",
         {"10.0.0.1", "255.255.255.255"},
         {"10.0.0", "10.0.0.256", "10.0.0.01", "10.0.0.1.2", "a", "",
          "1111111111111111111111111111111111111111111111111111111111111111111"}},
        {"ipv6",
         {"::1", "fe80::1", "::ffff:10.0.0.1", "1:2:3:4:5:6:7:8"},
         {"1::2::3", ":", "12345::", "fe80::1%eth0", "1:2:3:4:5:6:7"}},
        {"json-pointer", {"", "/a/0", "/a~0b~1c", "/"}, {"a", "/a~2", "/~"}},
        {"relative-json-pointer",
         {"0", "1/a", "2#", "0+1/a", "1-2#"},
         {"", "/a", "01", "1a", "0+/a", "0+01/a", "#"}},
        {"regex", {"^a+$", "\\d{2}", "[^]"}, {"(", "[", "a{2,1}"}},
        {"uri",
         {"https://example.com/a?b#c", "urn:isbn:123", "http://u:p@[::1]:80/%20", "mailto:a@b.c",
          "tel:+1-816-555-1212"},
         {"//example.com", "a/b", "http://a b", "1http://x", "http://x/%2", "http://[::1",
          "http://[x]/", "http://x/[", "http:/\\x", "", "http://x?%zz", "http://x#%zz",
          "http://a%zz/"}},
        {"uri-reference", {"", "a/b", "//example.com/x", "#f", "?q"}, {"\\x", "#%", "a b"}},
        {"uuid",
         {"2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2EB8AA08-AA98-11EA-B4AA-73B441D16380"},
         {"2eb8aa08aa9811eab4aa73b441d16380", "2eb8aa08-aa98-11ea-b4aa-73b441d1638g",
          "2eb8aa08-aa98-11ea-b4aa_73b441d16380"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const mp__format_check *format = mp__format_check_find(mp_str_of(rows[i].format));

        assert_non_null(format);
        for (size_t j = 0; j < 8 && rows[i].good[j]; j++) {
            if (!format->holds(mp_str_of(rows[i].good[j])))
                print_message("# %s: %s\n", rows[i].format, rows[i].good[j]);
            assert_true(format->holds(mp_str_of(rows[i].good[j])));
        }
        for (size_t j = 0; j < 16 && rows[i].bad[j]; j++) {
            if (format->holds(mp_str_of(rows[i].bad[j])))
                print_message("# %s: %s\n", rows[i].format, rows[i].bad[j]);
            assert_false(format->holds(mp_str_of(rows[i].bad[j])));
        }
    }
    assert_null(mp__format_check_find(MP_STR("color")));
    assert_false(mp__format_check_find(MP_STR("ipv4"))->holds(mp_str_new("1.2.3.4\0", 8)));
}

/* RFC 3986, 5.4: the reference, and what it is against http://a/b/c/d;p?q */
static void references_resolve_as_the_examples_of_rfc_3986(void **state)
{
    static const char *const rows[][2] = {
        {"g:h", "g:h"},
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q"},
        {"g#s", "http://a/b/c/g"},
        {";x", "http://a/b/c/;x"},
        {"", "http://a/b/c/d;p?q"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
    };
    char *text;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text = mp__uri_resolve("http://a/b/c/d;p?q", mp_str_of(rows[i][0]));
        assert_string_equal(text, rows[i][1]);
        (void)mp__free(text);
    }
    text = mp__uri_resolve("http://a", MP_STR("b"));
    assert_string_equal(text, "http://a/b");
    (void)mp__free(text);
    text = mp__uri_resolve("", MP_STR("b#c"));
    assert_string_equal(text, "b");
    (void)mp__free(text);
}

static bool matches(const char *pattern_text, const char *text)
{
    mp__pattern *pattern = NULL;
    int rc;

    assert_int_equal(mp__pattern_new(mp_str_of(pattern_text), &pattern, NULL), 0);
    mp_assert_str(mp__pattern_text(pattern), pattern_text);
    rc = mp__pattern_match(pattern, mp_str_of(text));
    (void)mp__pattern_free(pattern);
    assert_true(rc >= 0);
    return rc;
}

static void patterns_mean_what_ecma_262_says(void **state)
{
    (void)state;
    assert_true(matches("b", "abc"));
    assert_false(matches("^b", "abc"));
    assert_false(matches("^abc$", "abc\n"));
    assert_true(matches("^\\u00e4$", "\xc3\xa4"));
    assert_true(matches("^\\u{1f600}$", "\xf0\x9f\x98\x80"));
    assert_true(matches("^.$", "\xf0\x9f\x98\x80"));
    assert_false(matches("^\\d$", "\xd9\xa1"));
    assert_false(matches("^\\w$", "\xc3\xa4"));
    assert_true(matches("^\\p{L}$", "\xc3\xa4"));
    assert_false(matches("a.b", "a\nb"));
    assert_true(matches("[^]", "\n"));
    assert_false(matches("[]", "a"));
    assert_true(matches("^$", ""));
}

static const struct CMUnitTest tests[] = {
    MP_TEST(formats_take_what_they_should_and_no_more),
    MP_TEST(references_resolve_as_the_examples_of_rfc_3986),
    MP_TEST(patterns_mean_what_ecma_262_says),
};

MP_TEST_MAIN(tests)
