/* SPDX-License-Identifier: Apache-2.0 */
/* TOML 1.0.0, chapter by chapter of the specification. */
#include "mp_test.h"

#include "core/core.h"
#include "format/format.h"

/* "key=value:j", with j for JSON, t for text and o for what only TOML has; one a line. */
static void parses_to(const char *text, const char *want)
{
    mp__leaves leaves = {0};
    mp__buf said = MP__BUF_INIT;
    mp__diag diag = {0};

    if (mp__format_find("toml")->parse(mp_str_of(text), &leaves, &diag) != 0)
        fail_msg("%d:%d %s\n%s", diag.line, diag.column, diag.text, text);
    for (size_t i = 0; i < leaves.count; i++) {
        const mp__leaf *leaf = &leaves.items[i];
        bool json = mp_str_equal(leaf->media_type, MP_STR("application/json"));
        bool own = mp_str_equal(leaf->media_type, MP_STR("application/toml"));

        (void)mp__buf_printf(&said, "%.*s=%.*s:%c\n", (int)leaf->key.size, leaf->key.data,
                             (int)leaf->value.size, leaf->value.data ? leaf->value.data : "",
                             json  ? 'j'
                             : own ? 'o'
                                   : 't');
    }
    (void)mp__buf_add_char(&said, '\0');
    assert_string_equal(said.data, want);
    mp__buf_done(&said);
    mp__leaves_done(&leaves);
}

typedef struct refusal {
    const char *text;
    int line, column;
    const char *says;
} refusal;

static void are_refused(const refusal *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mp__leaves leaves = {0};
        mp__diag diag = {0};
        int rc = mp__format_find("toml")->parse(mp_str_of(cases[i].text), &leaves, &diag);

        if (rc != MP_ESYNTAX || diag.line != cases[i].line || diag.column != cases[i].column ||
            !strstr(diag.text, cases[i].says))
            fail_msg("%s\nsaid %d at %d:%d: %s; want %d:%d: %s", cases[i].text, rc, diag.line,
                     diag.column, diag.text, cases[i].line, cases[i].column, cases[i].says);
        assert_int_equal(leaves.count, 0);
    }
}

#define REFUSED(cases) are_refused(cases, sizeof(cases) / sizeof((cases)[0]))

static void names_are_bare_quoted_or_dotted(void **state)
{
    static const refusal bad[] = {
        {"= 1", 1, 1, "a name is expected"},
        {"a b = 1", 1, 3, "'=' after the name"},
        {"a", 1, 2, "'=' after the name is expected here, but the file ends"},
        {"a =", 1, 4, "a value is expected here, but the file ends"},
        {"a = # c\n", 1, 5, "a value"},
        {"a. = 1", 1, 4, "a name is expected"},
        {".a = 1", 1, 1, "a name is expected"},
        {"\"\" = 1", 1, 1, "an empty name"},
        {"a.'' = 1", 1, 3, "an empty name"},
        {"\"a\\nb\" = 1", 1, 10, "control character"},
        {"\"\"\"a\"\"\" = 1", 1, 1, "an empty name"},
        {"a = 1 b = 2", 1, 7, "the end of the line or a comment"},
        {"\xc3\xa4 = 1", 1, 1, "not the byte 0xc3"},
        {"a = 1\nb.a = 1\na = 2", 3, 1, "'a' is a value already, since line 1"},
        {"a = 1\n\"a\" = 2", 2, 1, "'a' is a value already"},
        {"a.b = 1\na.b.c = 2", 2, 3, "'a.b' is a value already"},
        {"a.b.c = 1\na.b = 2", 2, 3, "'a.b' is a table already"},
    };

    (void)state;
    parses_to("", "");
    parses_to("# nothing", "");
    parses_to("\xef\xbb\xbf"
              "a = 1",
              "a=1:j\n");
    parses_to("key = 1\nbare_key=2\r\nbare-key = 3\n1234 = 4\n", "1234=4:j\nbare-key=3:j\n"
                                                                 "bare_key=2:j\nkey=1:j\n");
    parses_to("\"127.0.0.1\" = 1\n'q \"x\"' = 2\n\"\\u00e4\" = 3\n",
              "127\\.0\\.0\\.1=1:j\nq \"x\"=2:j\n\u00e4=3:j\n");
    parses_to("a.b = 1\na . 'c d' . e\t=\t2\n3.14 = 3\n", "3.14=3:j\na.b=1:j\na.c d.e=2:j\n");
    parses_to("a.x = 1\nb = 2\na.y = 3\n", "a.x=1:j\na.y=3:j\nb=2:j\n");
    REFUSED(bad);
}

static void texts_have_four_kinds(void **state)
{
    static const refusal bad[] = {
        {"a = \"x", 1, 5, "this quote is never closed"},
        {"a = \"x\ny\"", 1, 7, "not closed on its line"},
        {"a = 'x\ny'", 1, 7, "not closed on its line"},
        {"a = \"\"\"x\n\"\"", 1, 5, "this quote is never closed"},
        {"a = '''x''", 1, 5, "this quote is never closed"},
        {"a = \"\\q\"", 1, 6, "an escape is one of"},
        {"a = \"\\x41\"", 1, 6, "an escape is one of"},
        {"a = \"\\u12\"", 1, 6, "4 hexadecimal digits"},
        {"a = \"\\U0000\"", 1, 6, "8 hexadecimal digits"},
        {"a = \"\\ud800\"", 1, 6, "no character U+D800"},
        {"a = \"\\U00110000\"", 1, 6, "no character U+110000"},
        {"a = \"x\x01\"", 1, 7, "control character 0x01"},
        {"a = 'x\x7f'", 1, 7, "control character 0x7f"},
        {"a = \"\"\"x\ry\"\"\"", 1, 9, "control character 0x0d"},
        {"a = \"\"\"x\\ y\"\"\"", 1, 9, "an escape is one of"},
        {"a = \"x\xff\"", 1, 7, "not UTF-8"},
        {"# x\n# \xc0\x80", 2, 3, "not UTF-8"},
        {"# a\x01", 1, 4, "a comment may not hold the control character 0x01"},
        {"a = 1 # b\rc\n", 1, 10, "control character 0x0d"},
        {"a = \"\"\"\"\"\"\"\"\"", 1, 13, "the end of the line"},
    };

    (void)state;
    parses_to("a = \"\\b\\t\\n\\f\\r\\\"\\\\\\u00e4\\U0001F600\"\n",
              "a=\b\t\n\f\r\"\\\u00e4\U0001F600:t\n");
    parses_to("a = 'C:\\new \"q\"'\nb = ''\nc = \"\"\n", "a=C:\\new \"q\":t\nb=:t\nc=:t\n");
    parses_to("a = \"\"\"\nx\r\n  y\"\"\"\nb = '''\n'x'\\\n'''\n", "a=x\n  y:t\nb='x'\\\n:t\n");
    parses_to("a = \"\"\"x \\\n\n   y\\  \r\n  z\"\"\"\n", "a=x yz:t\n");
    parses_to("a = \"\"\"\"q\"\"\"\"\"\nb = ''''q'''''\nc = \"\"\"a\"\"b\"\"\"\n",
              "a=\"q\"\":t\nb='q'':t\nc=a\"\"b:t\n");
    parses_to("a = \"x # y\" # z", "a=x # y:t\n");
    REFUSED(bad);
}

static void numbers_keep_their_types(void **state)
{
    static const refusal bad[] = {
        {"a = 01", 1, 5, "does not begin with 0"},
        {"a = -01", 1, 5, "does not begin with 0"},
        {"a = 1__0", 1, 5, "a value is expected"},
        {"a = _1", 1, 5, "a value is expected"},
        {"a = 1_", 1, 5, "a value is expected"},
        {"a = 1_.0", 1, 5, "a value is expected"},
        {"a = .5", 1, 5, "a value is expected"},
        {"a = 5.", 1, 5, "a value is expected"},
        {"a = 5.e1", 1, 5, "a value is expected"},
        {"a = 1e", 1, 5, "a value is expected"},
        {"a = 1.5e+", 1, 5, "a value is expected"},
        {"a = 1.5x", 1, 5, "a value is expected"},
        {"a = 03.5", 1, 5, "does not begin with 0"},
        {"a = 0x", 1, 5, "digits are expected"},
        {"a = 0xg", 1, 5, "digits are expected"},
        {"a = 0b2", 1, 5, "digits are expected"},
        {"a = 0o8", 1, 5, "digits are expected"},
        {"a = 0x_1", 1, 5, "digits are expected"},
        {"a = +0x1", 1, 5, "a value is expected"},
        {"a = 0X1", 1, 5, "a value is expected"},
        {"a = ++1", 1, 5, "a value is expected"},
        {"a = 9223372036854775808", 1, 5, "does not fit in 64 bits"},
        {"a = 0x8000000000000000", 1, 5, "does not fit in 64 bits"},
        {"a = 1e999", 1, 5, "too large"},
        {"a = True", 1, 5, "a value is expected"},
        {"a = truer", 1, 5, "a value is expected"},
        {"a = Inf", 1, 5, "a value is expected"},
        {"a = yes", 1, 5, "a value is expected"},
    };

    (void)state;
    parses_to("a = +99\nb = 0\nc = -17\nd = 1_000\ne = -9223372036854775808\nf = -0\n",
              "a=99:j\nb=0:j\nc=-17:j\nd=1000:j\ne=-9223372036854775808:j\nf=0:j\n");
    parses_to("a = 0xDEAD_beef\nb = 0o755\nc = 0b1101\nd = 0x00\n",
              "a=3735928559:j\nb=493:j\nc=13:j\nd=0:j\n");
    parses_to("a = +1.0\nb = 3.1415\nc = -0.01\nd = 5e+22\ne = 1e06\nf = -2E-2\ng = 6.626e-34\n"
              "h = 9_224_617.445_991\ni = -0.0\n",
              "a=1.0:j\nb=3.1415:j\nc=-0.01:j\nd=5e+22:j\ne=1000000.0:j\nf=-0.02:j\n"
              "g=6.626e-34:j\nh=9224617.445991:j\ni=-0.0:j\n");
    parses_to("a = inf\nb = +inf\nc = -inf\nd = nan\ne = -nan\nt = true\nu = false\n",
              "a=inf:o\nb=inf:o\nc=-inf:o\nd=nan:o\ne=nan:o\nt=true:j\nu=false:j\n");
    REFUSED(bad);
}

static void dates_and_times_keep_their_text(void **state)
{
    static const refusal bad[] = {
        {"a = 1979-5-27", 1, 5, "a date is"},
        {"a = 1979-13-01", 1, 5, "a date is"},
        {"a = 1979-00-01", 1, 5, "a date is"},
        {"a = 2023-02-29", 1, 5, "a date is"},
        {"a = 1900-02-29", 1, 5, "a date is"},
        {"a = 1979-04-31", 1, 5, "a date is"},
        {"a = 1979-05-00", 1, 5, "a date is"},
        {"a = 24:00:00", 1, 5, "a date is"},
        {"a = 07:60:00", 1, 5, "a date is"},
        {"a = 07:32:61", 1, 5, "a date is"},
        {"a = 07:32", 1, 5, "a date is"},
        {"a = 07:32:00.", 1, 5, "a date is"},
        {"a = 07:32:00Z", 1, 5, "a date is"},
        {"a = 1979-05-27T", 1, 5, "a date is"},
        {"a = 1979-05-27T07:32", 1, 5, "a date is"},
        {"a = 1979-05-27T07:32:00+7", 1, 5, "a date is"},
        {"a = 1979-05-27T07:32:00+24:00", 1, 5, "a date is"},
        {"a = 1979-05-27  07:32:00", 1, 17, "the end of the line"},
        {"a = 1979-05-27_07:32:00", 1, 5, "a date is"},
    };

    (void)state;
    parses_to(
        "a = 1979-05-27T07:32:00Z\nb = 1979-05-27t00:32:00.999999-07:00\n"
        "c = 1979-05-27 07:32:00z\nd = 1979-05-27T07:32:00\ne = 1979-05-27\nf = 07:32:00\n"
        "g = 00:32:00.5\nh = 2024-02-29\ni = 2000-02-29 # leap\nj = [1979-05-27 , 07:32:00]\n",
        "a=1979-05-27T07:32:00Z:o\nb=1979-05-27T00:32:00.999999-07:00:o\n"
        "c=1979-05-27T07:32:00Z:o\nd=1979-05-27T07:32:00:o\ne=1979-05-27:o\nf=07:32:00:o\n"
        "g=00:32:00.5:o\nh=2024-02-29:o\ni=2000-02-29:o\nj[0]=1979-05-27:o\n"
        "j[1]=07:32:00:o\n");
    REFUSED(bad);
}

static void arrays_take_any_values_and_line_breaks(void **state)
{
    static const refusal bad[] = {
        {"a = [1 2]", 1, 8, "',' or ']'"},
        {"a = [1,,2]", 1, 8, "a value is expected here, not ','"},
        {"a = [,1]", 1, 6, "a value is expected here, not ','"},
        {"a = [1", 1, 7, "',' or ']' is expected here, but the file ends"},
        {"a = [1,\n", 2, 1, "a value"},
        {"a = [1]\na.b = 2", 2, 1, "'a' is a value already"},
        {"a = [1]\n[a]", 2, 2, "'a' is a value already"},
        {"a = [1]\n[[a]]", 2, 3, "'a' is a value already"},
        {"a = [{}]\n[[a]]", 2, 3, "'a' is a value already"},
        {"a = [{b = 1}]\n[a.c]", 2, 2, "'a' is a value already"},
    };

    (void)state;
    parses_to("a = []\nb = [ 1, 'x', [ ], [[2.5]] ]\nc = [\n  1, # one\n\n  2,\n  # none\n]\n"
              "d = [{x = 1}, {}, { y.z = [3] }]\n",
              "a=[]:j\nb[0]=1:j\nb[1]=x:t\nb[2]=[]:j\nb[3][0][0]=2.5:j\nc[0]=1:j\nc[1]=2:j\n"
              "d[0].x=1:j\nd[1]={}:j\nd[2].y.z[0]=3:j\n");
    REFUSED(bad);
}

static void inline_tables_are_whole_and_closed(void **state)
{
    static const refusal bad[] = {
        {"a = {b = 1,}", 1, 12, "a name is expected here, not '}'"},
        {"a = {b = 1\n}", 1, 11, "',' or '}' on the same line"},
        {"a = {\nb = 1}", 1, 6, "a name is expected here, but the line ends"},
        {"a = {b = 1 c = 2}", 1, 12, "',' or '}'"},
        {"a = {b = 1, b = 2}", 1, 13, "'a.b' is a value already"},
        {"a = {b.c = 1, b = 2}", 1, 15, "'a.b' is a table already"},
        {"a = {b = {c = 1}, b.d = 2}", 1, 19, "'a.b' is a value already"},
        {"a = {b = 1}\na.c = 2", 2, 1, "'a' is a value already"},
        {"a = {b = 1}\n[a]", 2, 2, "'a' is a value already"},
        {"a = {b.c = 1}\n[a.b.d]", 2, 2, "'a' is a value already"},
        {"a = {", 1, 6, "a name is expected"},
    };

    (void)state;
    parses_to("a = {}\nb = { c = 1, d.e = 'x', d.f = {g = []} }\n",
              "a={}:j\nb.c=1:j\nb.d.e=x:t\nb.d.f.g=[]:j\n");
    REFUSED(bad);
}

static void tables_are_said_once(void **state)
{
    static const refusal bad[] = {
        {"[]", 1, 2, "a name is expected"},
        {"[a", 1, 3, "']' after the name"},
        {"[a.]", 1, 4, "a name is expected"},
        {"[a] b = 1", 1, 5, "the end of the line"},
        {"[ [a] ]", 1, 3, "a name is expected"},
        {"[a]\n[a]", 2, 2, "'a' is a table already, since line 1"},
        {"[a]\nb = 1\n[a.b]", 3, 4, "'a.b' is a value already"},
        {"[a]\nb = 1\n[a.b.c]", 3, 4, "'a.b' is a value already"},
        {"a.b = 1\n[a]", 2, 2, "'a' is a table already"},
        {"[a]\nb.c = 1\n[a.b]", 3, 4, "'a.b' is a table already"},
        {"[a.b.c]\nz = 9\n[a]\nb.c.t = 1", 4, 3, "'a.b.c' is a table already"},
        {"[a]\nb.c = 1\n[d]\n[a.b.e]\n[a.f]\nx=1\n[a.b.e]", 7, 6, "'a.b.e' is a table already"},
    };

    (void)state;
    parses_to("[a]\nx = 1\n[ b . \"c d\" ]\ny = 2\n[e.f.g]\n[e]\nz = 3\n[h.i]\n",
              "a.x=1:j\nb.c d.y=2:j\ne.f.g={}:j\ne.z=3:j\nh.i={}:j\n");
    parses_to(
        "[fruit]\napple.color = 'red'\napple.taste.sweet = true\n[fruit.apple.texture]\ns = 1\n",
        "fruit.apple.color=red:t\nfruit.apple.taste.sweet=true:j\nfruit.apple.texture.s=1:j\n");
    parses_to("[a.b]\n[a]\nb2.c = 1\n", "a.b={}:j\na.b2.c=1:j\n");
    REFUSED(bad);
}

static void lists_of_tables_grow_by_headers(void **state)
{
    static const refusal bad[] = {
        {"[[a]", 1, 4, "']]' after the name"},
        {"[[a] ]", 1, 4, "']]' after the name"},
        {"[a]\n[[a]]", 2, 3, "'a' is a table already"},
        {"[[a]]\n[a]", 2, 2, "'a' is a list of tables already"},
        {"[a.b]\n[[a]]", 2, 3, "'a' is a table already"},
        {"[[a]]\n[[a.b]]\n[a.b]", 3, 4, "'a[0].b' is a list of tables already"},
        {"[[a.b]]\n[a]\nb.c = 1", 3, 1, "'a.b' is a list of tables already"},
        {"a = 1\n[[a]]", 2, 3, "'a' is a value already"},
    };

    (void)state;
    parses_to("[[p]]\nn = 1\n[[p]]\n[[p]]\nn = 2\n[p.q]\nr = 3\n[[p.s]]\nt = 4\n[[p.s]]\nt = 5\n",
              "p[0].n=1:j\np[1]={}:j\np[2].n=2:j\np[2].q.r=3:j\np[2].s[0].t=4:j\n"
              "p[2].s[1].t=5:j\n");
    parses_to("[[a.b]]\n[a]\nc = 1\n", "a.b[0]={}:j\na.c=1:j\n");
    REFUSED(bad);
}

static void limits_are_refused_at_their_place(void **state)
{
    mp__buf text = MP__BUF_INIT;
    mp__leaves leaves = {0};
    mp__diag diag = {0};

    (void)state;
    (void)mp__buf_add_str(&text, MP_STR("x = 1\na = "));
    for (int i = 0; i < 100; i++)
        (void)mp__buf_add_char(&text, '[');
    assert_int_equal(mp__format_find("toml")->parse(mp__buf_str(&text), &leaves, &diag),
                     MP_ESYNTAX);
    assert_int_equal(diag.line, 2);
    assert_int_equal(diag.column, 5 + 64);
    for (int kind = 0; kind < 3; kind++) {
        mp__buf_reset(&text);
        (void)mp__buf_add_str(&text, kind == 0   ? MP_STR("x = 1\n")
                                     : kind == 1 ? MP_STR("x = 1\n[")
                                                 : MP_STR("x = 1\na = \""));
        for (int i = 0; i < (kind == 2 ? 2 * 1024 * 1024 + 1 : 5000); i++)
            (void)mp__buf_add_char(&text, 'y');
        (void)mp__buf_add_str(&text, kind == 2   ? MP_STR("\"")
                                     : kind == 1 ? MP_STR("]")
                                                 : MP_STR("=1"));
        assert_int_equal(mp__format_find("toml")->parse(mp__buf_str(&text), &leaves, &diag),
                         MP_ELIMIT);
        assert_int_equal(diag.line, 2);
        assert_int_equal(diag.column, kind == 2 ? 5 : kind + 1);
    }
    assert_int_equal(leaves.count, 0);
    mp__buf_done(&text);
}

static void thousands_of_names_in_a_table_are_found(void **state)
{
    mp__buf text = MP__BUF_INIT;
    mp__leaves leaves = {0};
    mp__diag diag = {0};

    (void)state;
    for (int i = 0; i < 20000; i++)
        (void)mp__buf_printf(&text, "k%d.x = %d\n", i, i);
    (void)mp__buf_add_str(&text, MP_STR("k777.x = 1\n"));
    assert_int_equal(mp__format_find("toml")->parse(mp__buf_str(&text), &leaves, &diag),
                     MP_ESYNTAX);
    assert_int_equal(diag.line, 20001);
    assert_non_null(strstr(diag.text, "since line 778"));
    mp__buf_done(&text);
}

static void tables_are_printed_below_headers(void **state)
{
    mp__leaves leaves = {0};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(
        mp__format_find("toml")->parse(
            MP_STR(
                "z = 1\n[a.b.'c d']\nd = [1, {e = 'x\\n'}]\nt = 1979-05-27\n[[l]]\n[[l]]\nf = {}\n"
                "[[l.m]]\nn = inf\n[o]\np = \"\\u0001\\\"\xc2\x9b\xc3\xa4\"\n"),
            &leaves, &diag),
        0);
    assert_int_equal(mp__format_find("toml")->print(&leaves, &out, &diag), 0);
    (void)mp__buf_add_char(&out, '\0');
    assert_string_equal(out.data, "z = 1\n\n[a.b.\"c d\"]\nd = [1, { e = \"x\\\\n\" }]\n"
                                  "t = 1979-05-27\n\n[[l]]\n\n[[l]]\nf = {}\n\n[[l.m]]\nn = inf\n\n"
                                  "[o]\np = \"\\u0001\\\"\\u009B\xc3\xa4\"\n");
    mp__buf_done(&out);
    mp__leaves_done(&leaves);
}

static void what_toml_has_not_is_refused_by_name(void **state)
{
    static const struct {
        const char *key, *value, *media_type, *says;
    } cases[] = {
        {"a.b", "null", "application/json", "'a.b' is null"},
        {"[0]", "1", "application/json", "cannot be a list"},
        {"a", "tomorrow", "application/toml", "'a' is not what its media type says"},
        {"a", "5", "application/toml", "'a' is not what its media type says"},
        {"a", "1979-05-27 07:32:00", "application/toml", "'a' is not what its media type says"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__leaves leaves = {0};
        mp__buf out = MP__BUF_INIT;
        mp__diag diag = {0};

        assert_int_equal(mp__leaves_add(&leaves, mp_str_of(cases[i].key), mp_str_of(cases[i].value),
                                        cases[i].media_type),
                         0);
        assert_int_equal(mp__format_find("toml")->print(&leaves, &out, &diag), MP_EINVAL);
        if (!strstr(diag.text, cases[i].says))
            fail_msg("said: %s", diag.text);
        mp__buf_done(&out);
        mp__leaves_done(&leaves);
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(names_are_bare_quoted_or_dotted),
    MP_TEST(texts_have_four_kinds),
    MP_TEST(numbers_keep_their_types),
    MP_TEST(dates_and_times_keep_their_text),
    MP_TEST(arrays_take_any_values_and_line_breaks),
    MP_TEST(inline_tables_are_whole_and_closed),
    MP_TEST(tables_are_said_once),
    MP_TEST(lists_of_tables_grow_by_headers),
    MP_TEST(limits_are_refused_at_their_place),
    MP_TEST(thousands_of_names_in_a_table_are_found),
    MP_TEST(tables_are_printed_below_headers),
    MP_TEST(what_toml_has_not_is_refused_by_name),
};

MP_TEST_MAIN(tests)
