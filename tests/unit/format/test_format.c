/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "core/core.h"
#include "format/format.h"

/* "key=value:j" with j for JSON and t for text, one a line, sorted by key. */
static void leaves_say(const mp__leaves *leaves, mp__buf *out)
{
    for (size_t i = 0; i < leaves->count; i++) {
        const mp__leaf *leaf = &leaves->items[i];

        (void)mp__buf_add_str(out, leaf->key);
        (void)mp__buf_add_char(out, '=');
        (void)mp__buf_add_str(out, leaf->value);
        (void)mp__buf_add(out, leaf->media_type.data[0] == 'a' ? ":j\n" : ":t\n", 3);
    }
}

static void parses_to(const char *format, const char *text, const char *want)
{
    mp__leaves leaves = {0};
    mp__buf said = MP__BUF_INIT;
    mp__diag diag = {0};
    int rc = mp__format_find(format)->parse(mp_str_of(text), &leaves, &diag);

    if (rc)
        fail_msg("%d:%d %s", diag.line, diag.column, diag.text);
    leaves_say(&leaves, &said);
    (void)mp__buf_add_char(&said, '\0');
    assert_string_equal(said.data, want);
    mp__buf_done(&said);
    mp__leaves_done(&leaves);
}

static void refused_at(const char *format, const char *text, int line, int column)
{
    mp__leaves leaves = {0};
    mp__diag diag = {0};

    assert_int_equal(mp__format_find(format)->parse(mp_str_of(text), &leaves, &diag), MP_ESYNTAX);
    assert_int_equal(leaves.count, 0);
    assert_true(diag.text[0] != '\0');
    if (diag.line != line || diag.column != column)
        fail_msg("%s: said %d:%d, want %d:%d (%s)", text, diag.line, diag.column, line, column,
                 diag.text);
}

static void json_becomes_leaves_with_their_types(void **state)
{
    (void)state;
    parses_to(
        "json",
        "{\"db\": {\"host\": \"a b\", \"port\": 5432, \"tls\": true, \"x\": null, \"r\": 0.1},"
        " \"l\": [1, \"two\", {\"k\": []}], \"e\": {}}",
        "db.host=a b:t\ndb.port=5432:j\ndb.r=0.1:j\ndb.tls=true:j\ndb.x=null:j\ne={}:j\n"
        "l[0]=1:j\nl[1]=two:t\nl[2].k=[]:j\n");
}

static void names_with_dots_and_brackets_are_escaped(void **state)
{
    (void)state;
    parses_to("json", "{\"a.b\": {\"c[0]\": 1}, \"d\\\\\": 2}", "a\\.b.c\\[0\\]=1:j\nd\\\\=2:j\n");
}

static void json_errors_name_their_place(void **state)
{
    (void)state;
    refused_at("json", "{\"a\": 1,\n \"b\": }", 2, 7);
    refused_at("json", "{\"a\": 1, \"a\": 2}", 1, 10);
    refused_at("json", "", 1, 1);
    refused_at("json", "\n 7", 2, 2);
    refused_at("json", "{\"a\":\n 18446744073709551616}", 2, 2);
    refused_at("json", "{\"a\": {\"x\": [],\n \"\": 2}}", 2, 6);
    refused_at("json", "[1, {\"b\\n\":\n  [{}]}]", 2, 4);
}

static void yaml_follows_the_core_schema(void **state)
{
    (void)state;
    parses_to("yaml",
              "a: yes\nb: true\nc: 0x1F\nd: 0o17\ne: 1.50\nf: ~\ng: '5'\nh: 12:30\ni: -7\n"
              "j: !!str 5\nk: 1e3\nl: .5\nm: \"\u00e4\"\nn: {\"\u00e4\": &q !!str 7}\n",
              "a=yes:t\nb=true:j\nc=31:j\nd=15:j\ne=1.5:j\nf=null:j\ng=5:t\nh=12:30:t\ni=-7:j\n"
              "j=5:t\nk=1000.0:j\nl=0.5:j\nm=\u00e4:t\nn.\u00e4=7:t\n");
}

static void yaml_aliases_and_merge_keys_are_resolved(void **state)
{
    (void)state;
    parses_to("yaml",
              "base: &b {x: 1, y: 2}\nother: &o {z: 3, x: 9}\n"
              "one:\n  <<: *b\n  y: 5\ntwo:\n  <<: [*b, *o]\nthree: *b\n",
              "base.x=1:j\nbase.y=2:j\none.x=1:j\none.y=5:j\nother.x=9:j\nother.z=3:j\n"
              "three.x=1:j\nthree.y=2:j\ntwo.x=1:j\ntwo.y=2:j\ntwo.z=3:j\n");
}

static void yaml_errors_name_their_place(void **state)
{
    (void)state;
    refused_at("yaml", "a: 1\nb: [1,\n", 3, 1);
    refused_at("yaml", "a: 1\na: 2\n", 2, 1);
    refused_at("yaml", "a: .inf\n", 1, 4);
    refused_at("yaml", "a: 99999999999999999999\n", 1, 4);
    refused_at("yaml", "a: !!binary aGk=\n", 1, 4);
    refused_at("yaml", "a: !!int 1.5\n", 1, 4);
    refused_at("yaml", "a: !!int 'x'\n", 1, 4);
    refused_at("yaml", "a: !!bool yes\n", 1, 4);
    refused_at("yaml", "a: !!null 0\n", 1, 4);
    refused_at("yaml", "a: 1\n---\nb: 2\n", 3, 1);
    refused_at("yaml", "? [1]\n: 2\n", 1, 3);
    refused_at("yaml", "a: &x [*x]\n", 1, 4);
    refused_at("yaml", "a: 1e999\n", 1, 4);
    refused_at("yaml", "? \"\"\n: 1\n", 1, 3);
    refused_at("yaml", "a: !!omap {b: 1}\n", 1, 4);
    refused_at("yaml", "a: 1\n---\n[\n", 4, 1);
    refused_at("yaml", "a:\n- [1,\n  1e999]\n", 3, 3);
    refused_at("yaml", "a:\n  <<: 1\n", 2, 7);
    refused_at("yaml", "a:\n  <<: [{}, 1]\n", 2, 12);
    refused_at("yaml", "a:\n  <<: {b: 1e999}\n", 2, 11);
    refused_at("yaml", "# text\nonly\n", 2, 1);
    refused_at("yaml", "a: 1\nb: {\"x\\ty\": 1}\n", 2, 5);
    refused_at("yaml", "a: 1\r\n\"\u00e4\": \"caf\xe9\"\n", 2, 11);
    refused_at("yaml", "a: 1\nb: \u00e4 \x07\n", 2, 6);
}

static void a_bracket_that_is_never_closed_is_told_with_its_own_place(void **state)
{
    mp__leaves leaves = {0};
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(
        mp__format_find("yaml")->parse(MP_STR("a: 1\nb: [\nc: 2\nd: 3\n"), &leaves, &diag),
        MP_ESYNTAX);
    assert_in_range(diag.line, 3, 5);
    assert_non_null(strstr(diag.text, "flow sequence that begins at line 2, column 4"));
}

/* What YAML makes of the one value @text under the name "a", and that it is @text again. */
static void yaml_prints(const char *text, const char *want)
{
    const mp__format *yaml = mp__format_find("yaml");
    mp__leaves leaves = {0}, again = {0};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};

    assert_int_equal(mp__leaves_add(&leaves, MP_STR("a"), mp_str_of(text), "text/plain"), 0);
    assert_int_equal(yaml->print(&leaves, &out, &diag), 0);
    assert_int_equal(yaml->parse(mp__buf_str(&out), &again, &diag), 0);
    assert_true(mp_str_equal(again.items[0].value, mp_str_of(text)));
    (void)mp__buf_add_char(&out, '\0');
    assert_string_equal(out.data, want);
    mp__buf_done(&out);
    mp__leaves_done(&leaves);
    mp__leaves_done(&again);
}

static void yaml_prints_text_of_several_lines_as_lines(void **state)
{
    (void)state;
    yaml_prints("one\n\n  two: 'x' # no\n", "a: |\n  one\n\n    two: 'x' # no\n");
    yaml_prints("one\ntwo", "a: |-\n  one\n  two\n");
    yaml_prints("one\n\n\n", "a: |+\n  one\n\n\n...\n");
    yaml_prints("  one\ntwo\n", "a: |2\n    one\n  two\n");
    yaml_prints("\none", "a: |2-\n\n  one\n");
    yaml_prints("- 5\n", "a: |\n  - 5\n");
}

static void yaml_quotes_text_that_lines_would_change_or_hide(void **state)
{
    (void)state;
    yaml_prints("\n", "a: \"\\n\"\n");
    yaml_prints("one \ntwo", "a: \"one \\ntwo\"\n");
    yaml_prints("one\r\ntwo", "a: \"one\\r\\ntwo\"\n");
    yaml_prints("one\n\ttwo", "a: \"one\\n\\ttwo\"\n");
    yaml_prints("\tone\ntwo", "a: \"\\tone\\ntwo\"\n");
    yaml_prints("one\n\u2028", "a: \"one\\n\\L\"\n");
    yaml_prints("one\n\x01", "a: \"one\\n\\x01\"\n");
}

static void yaml_says_what_becomes_of_infinity(void **state)
{
    static const char *const said[] = {".inf", "-.inf", "+.INF", ".nan", ".NaN"};

    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        mp__leaves leaves = {0};
        mp__buf text = MP__BUF_INIT;
        mp__diag diag = {0};

        (void)mp__buf_printf(&text, "a:\n  - %s\n", said[i]);
        assert_int_equal(mp__format_find("yaml")->parse(mp__buf_str(&text), &leaves, &diag),
                         MP_ESYNTAX);
        assert_int_equal(diag.line, 2);
        assert_int_equal(diag.column, 5);
        assert_non_null(strstr(diag.text, "quote it as text"));
        mp__buf_done(&text);
    }
    parses_to("yaml", "a: '.inf'\nb: !!str .nan\nc: inf\n", "a=.inf:t\nb=.nan:t\nc=inf:t\n");
}

static void yaml_alias_bombs_are_refused(void **state)
{
    mp__buf text = MP__BUF_INIT;
    mp__leaves leaves = {0};
    mp__diag diag = {0};

    (void)state;
    (void)mp__buf_printf(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++)
        (void)mp__buf_printf(&text, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i,
                             i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    assert_int_equal(mp__format_find("yaml")->parse(mp__buf_str(&text), &leaves, &diag),
                     MP_ESYNTAX);
    mp__buf_done(&text);
}

static void env_files_read_quotes_comments_and_export(void **state)
{
    (void)state;
    parses_to("env",
              "# comment\n\nexport A=1\nB = two words  # said\r\nC='a#b $X'\n"
              "D=\"line\\nnext \\\"q\\\"\"\nE=\nF=\"two\nlines\"\nG=a#b\n",
              "A=1:t\nB=two words:t\nC=a#b $X:t\nD=line\nnext \"q\":t\nE=:t\nF=two\nlines:t\n"
              "G=a#b:t\n");
}

static void env_errors_name_their_place(void **state)
{
    (void)state;
    refused_at("env", "A=1\n2B=3\n", 2, 1);
    refused_at("env", "A=1\nB 3\n", 2, 3);
    refused_at("env", "A='x\n\n", 1, 3);
    refused_at("env", "A=\"x\"y\n", 1, 6);
}

static void ini_files_read_sections_quotes_and_comments(void **state)
{
    (void)state;
    parses_to("ini",
              "; said\n# said\ntop = 1\n\n[db]\nhost = a b ; why\n  port: 5432 # why\r\n"
              "url=http://x?a=b;c#d\nempty =\n[db.pool] # more\nsize = \" 5; \\\"x\\n\" ; why\n"
              "[ list[0] ]\na.b = 'C:\\new \"q\"'\n[db]\n\"a = b\" = c\n[\"]\"]\nx = y\n",
              "].x=y:t\ndb.a = b=c:t\ndb.empty=:t\ndb.host=a b:t\ndb.pool.size= 5; \"x\n:t\n"
              "db.port=5432:t\ndb.url=http://x?a=b;c#d:t\nlist[0].a.b=C:\\new \"q\":t\n"
              "top=1:t\n");
    parses_to("ini", "", "");
    parses_to("ini", "\xef\xbb\xbf[a]\n", "");
}

static void a_byte_order_mark_before_a_file_of_any_format_is_passed_over(void **state)
{
    (void)state;
    parses_to("json", "\xef\xbb\xbf{\"a\": 1}", "a=1:j\n");
    parses_to("yaml",
              "\xef\xbb\xbf"
              "a: 1\r\nb: 2\r\n",
              "a=1:j\nb=2:j\n");
    parses_to("yaml", "\xef\xbb\xbf---\na: 1\n", "a=1:j\n");
    parses_to("toml",
              "\xef\xbb\xbf"
              "a = 1\n",
              "a=1:j\n");
    parses_to("env",
              "\xef\xbb\xbf"
              "A=1\n",
              "A=1:t\n");
    parses_to("ini",
              "\xef\xbb\xbf"
              "a = 1\n",
              "a=1:t\n");
    parses_to("properties",
              "\xef\xbb\xbf"
              "a = 1\n",
              "a=1:t\n");
    refused_at("json", "\xef\xbb\xbf{\"a\": }", 1, 7);
    refused_at("yaml",
               "\xef\xbb\xbf"
               "a: 1\nb: }\n",
               2, 4);
}

static void ini_errors_name_their_place(void **state)
{
    (void)state;
    refused_at("ini", "a = 1\nb\n", 2, 2);
    refused_at("ini", "= 1\n", 1, 1);
    refused_at("ini", "[a\nb = 1\n", 1, 3);
    refused_at("ini", "[ ]\n", 1, 1);
    refused_at("ini", "[\"\"]\n", 1, 1);
    refused_at("ini", "[\"a\" b]\n", 1, 6);
    refused_at("ini", "[a] b = 1\n", 1, 5);
    refused_at("ini", "a = \"x\n\"\n", 1, 5);
    refused_at("ini", "a = 'x\n", 1, 5);
    refused_at("ini", "a = \"x\\q\"\n", 1, 7);
    refused_at("ini", "a = \"x\" y\n", 1, 9);
    refused_at("ini", "a = 1\rb = 2\r", 1, 6);
    refused_at("ini", "\"\" = 1\n", 1, 1);
    refused_at("ini", "\"a\" 1\n", 1, 5);
    refused_at("ini", "\"a\n\" = 1\n", 1, 1);
    refused_at("ini", "[a\tb]\nc = 1\n", 2, 1);
}

/* Readers disagree whether one ends a line, and so whether what is behind it is read. */
static void a_carriage_return_alone_is_refused_where_readers_disagree(void **state)
{
    static const struct {
        const char *format, *text;
        int column;
    } cases[] = {
        {"env", "A=1\rB=2\r", 4},
        {"env", "# said\rB=2\n", 7},
        {"env", "\rB=2\n", 1},
        {"env", "A=1\r\r\n", 4},
        {"ini", "; said\rb = 2\n", 7},
        {"ini", "[a]\rb = 2\n", 4},
        {"ini", "[a] ; said\rb=2\n", 11},
        {"toml", "a = 1\rb = 2\r", 6},
        {"ini", "a = 1 # x\rb=2\n", 10},
    };
    mp__leaves leaves = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__diag diag = {0};

        refused_at(cases[i].format, cases[i].text, 1, cases[i].column);
        (void)mp__format_find(cases[i].format)->parse(mp_str_of(cases[i].text), &leaves, &diag);
        assert_non_null(strstr(diag.text, "a carriage return without a line feed"));
    }
    parses_to("env", "A=1\r\n# said\r\nB='x\ry'\r\nC=3\r", "A=1:t\nB=x\ry:t\nC=3:t\n");
}

static void properties_read_as_java_reads_them(void **state)
{
    (void)state;
    parses_to("properties",
              "# said\n  ! said \\\na=1\nb : 2 \nc 3\nd\ne\\ f\\=\\:g = \\ h\\\n   i, \\\r\n\tj\n"
              "k=\\u00e4\\uD83D\\uDE00\\t\\n\\r\\f\\q\\\\\nl\\#=x\rm=C\\:\\\\n\nn=\\\n\no=last\\",
              "a=1:t\nb=2 :t\nc=3:t\nd=:t\ne f=:g= hi, j:t\n"
              "k=\u00e4\U0001F600\t\n\r\fq\\:t\nl#=x:t\nm=C:\\n:t\nn=:t\no=last:t\n");
    parses_to("properties", "a.b[0].c=x\na.b[1].c=\n", "a.b[0].c=x:t\na.b[1].c=:t\n");
    parses_to("properties", "a=1\\\r2\nb   \\\n  =  \\\n  3\n", "a=12:t\nb=3:t\n");
}

static void properties_are_utf8_or_else_latin1(void **state)
{
    (void)state;
    parses_to("properties", "a=\xc3\xa4\n", "a=\u00e4:t\n");
    parses_to("properties", "a=\xc3\xa4\nb=\xe4\n", "a=\u00c3\u00a4:t\nb=\u00e4:t\n");
    parses_to("properties", "\xe4\\\xe4=\xff\n", "\u00e4\u00e4=\u00ff:t\n");
}

static void properties_errors_name_their_place(void **state)
{
    (void)state;
    refused_at("properties", "a=1\n  =2\n", 2, 3);
    refused_at("properties", "a=\\u12\n", 1, 3);
    refused_at("properties", "a=\\ud800\n", 1, 3);
    refused_at("properties", "a=x\\\n  \\udc00\n", 2, 3);
    refused_at("properties", "a\\tb=1\n", 1, 1);
}

static void a_key_that_is_there_twice_is_refused_at_its_second_place(void **state)
{
    static const struct {
        const char *format, *text;
        int line, column;
    } cases[] = {
        {"env", "A=1\nB=2\n  export A=\"3\n4\"\n", 3, 10},
        {"ini", "[a]\nb = 1\n[c]\n[a]\n b = 1\n", 5, 2},
        {"properties", "a=1\\\n2\n a 3\n", 3, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__leaves leaves = {0};
        mp__diag diag = {0};

        assert_int_equal(
            mp__format_find(cases[i].format)->parse(mp_str_of(cases[i].text), &leaves, &diag),
            MP_EEXISTS);
        assert_int_equal(diag.line, cases[i].line);
        assert_int_equal(diag.column, cases[i].column);
        assert_non_null(strstr(diag.text, i == 1 ? "line 2" : "line 1"));
        assert_int_equal(leaves.count, 0);
    }
}

static void leaves_know_where_their_file_says_them(void **state)
{
    static const struct {
        const char *format, *text, *places;
    } cases[] = {
        {"json", "{\"a\": [1,\n \"x\\\"]\", {}],\n\"b\": {\"c\\u0041\" : null , \"d\":[]}}",
         "a[0] 1:8\na[1] 2:2\na[2] 2:10\nb.cA 3:19\nb.d 3:30\n"},
        {"yaml", "m: &m {x: 1, y: 2}\na:\n  - 1\n  - {}\nu:\n  <<: *m\n  x: 3\nv: *m\n",
         "a[0] 3:5\na[1] 4:5\nm.x 1:11\nm.y 1:17\nu.x 7:6\nu.y 1:17\nv.x 1:11\nv.y 1:17\n"},
        {"toml", "a = 1\n[b]\nc = [\n 2 ]\n[d]\n", "a 1:5\nb.c[0] 4:2\nd 5:2\n"},
        {"env", "A=1\n export B='x\n'\n", "A 1:1\nB 2:9\n"},
        {"ini", "a=1\n[b]\n c=2\n", "a 1:1\nb.c 3:2\n"},
        {"properties", "a=1\\\n2\n b 2\n", "a 1:1\nb 3:2\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__buf said = MP__BUF_INIT;
        mp__leaves leaves = {0};
        mp__diag diag = {0};

        assert_int_equal(
            mp__format_find(cases[i].format)->parse(mp_str_of(cases[i].text), &leaves, &diag), 0);
        for (size_t k = 0; k < leaves.count; k++)
            (void)mp__buf_printf(&said, "%.*s %d:%d\n", (int)leaves.items[k].key.size,
                                 leaves.items[k].key.data, leaves.items[k].line,
                                 leaves.items[k].column);
        (void)mp__buf_add_char(&said, '\0');
        assert_string_equal(said.data, cases[i].places);
        mp__buf_done(&said);
        mp__leaves_done(&leaves);
    }
}

static void a_pointer_leads_to_the_key_that_a_tree_makes_of_it(void **state)
{
    static const struct {
        const char *key, *path, *pointer;
        bool is_there;
    } cases[] = {
        {"db.ports[0]", "", "/db/ports/0", true},
        {"db.ports[0]", "", "/db/ports", true},
        {"db.ports[0]", "", "/db", true},
        {"db.ports[0]", "", "", true},
        {"db.ports[0]", "", "/db/ports/1", false},
        {"db.ports[10]", "", "/db/ports/1", false},
        {"db.ports[0].x", "", "/db/ports/0", true},
        {"db.0", "", "/db/0", true},
        {"dbs", "", "/db", false},
        {"db", "", "/dbs", false},
        {"db", "", "/db/host", false},
        {"[0].a", "", "/0/a", true},
        {"a\\.b", "", "/a.b", true},
        {"a\\.b", "", "/a/b", false},
        {"a\\[0\\]", "", "/a[0]", true},
        {"a/b", "", "/a~1b", true},
        {"a~b", "", "/a~0b", true},
        {"a~1b", "", "/a~01b", true},
        {"db.host", "db", "/host", true},
        {"db.host", "db", "", true},
        {"db[0]", "db", "/0", true},
        {"dbs.host", "db", "/host", false},
        {"d", "db", "", false},
        {"db", "db", "/host", true}, /* inside its value */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (mp__key_is_at(mp_str_of(cases[i].key), mp_str_of(cases[i].path), cases[i].pointer) !=
            cases[i].is_there)
            fail_msg("%s of '%s' at %s", cases[i].key, cases[i].path, cases[i].pointer);
}

static void a_long_or_deep_path_of_json_is_refused_at_its_place(void **state)
{
    (void)state;
    for (int deep = 0; deep < 2; deep++) {
        mp__buf text = MP__BUF_INIT;
        mp__leaves leaves = {0};
        mp__diag diag = {0};

        (void)mp__buf_add_str(&text, MP_STR("{\"a\": [1],\n \"b"));
        for (int i = 0; i < (deep ? 0 : 2000); i++)
            (void)mp__buf_add_char(&text, 'x');
        (void)mp__buf_add_str(&text, MP_STR("\":\n "));
        for (int i = 0; i < (deep ? 70 : 0); i++)
            (void)mp__buf_add_char(&text, '[');
        (void)mp__buf_add_char(&text, '7');
        for (int i = 0; i < (deep ? 70 : 0); i++)
            (void)mp__buf_add_char(&text, ']');
        (void)mp__buf_add_char(&text, '}');
        assert_int_equal(mp__format_find("json")->parse(mp__buf_str(&text), &leaves, &diag),
                         MP_ELIMIT);
        assert_int_equal(diag.line, 3);
        assert_int_equal(diag.column, deep ? 72 : 2);
        assert_non_null(strstr(diag.text, deep ? "nested deeper" : "1024 bytes"));
        mp__buf_done(&text);
    }
}

static void what_is_too_long_is_refused_at_its_place(void **state)
{
    static const char *const formats[] = {"env", "ini", "properties"};

    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        for (int value = 0; value < 2; value++) {
            size_t size = value ? 2 * 1024 * 1024 + 1 : 5000;
            mp__buf text = MP__BUF_INIT;
            mp__leaves leaves = {0};
            mp__diag diag = {0};

            (void)mp__buf_add_str(&text, value ? MP_STR("a=1\nb=") : MP_STR("a=1\n"));
            for (size_t k = 0; k < size; k++)
                (void)mp__buf_add_char(&text, 'x');
            (void)mp__buf_add_str(&text, value ? MP_STR("\n") : MP_STR("=1\n"));
            assert_int_equal(mp__format_find(formats[i])->parse(mp__buf_str(&text), &leaves, &diag),
                             MP_ELIMIT);
            assert_int_equal(diag.line, 2);
            assert_int_equal(diag.column, 1);
            assert_int_equal(leaves.count, 0);
            mp__buf_done(&text);
        }
    }
}

static void ini_groups_by_section_and_quotes_what_it_must(void **state)
{
    mp__leaves leaves = {0};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__format_find("properties")
                         ->parse(MP_STR("z=\na.b.c=1\na.d=\\ x\na.e\\=f=y \\;z\n[0].g=h\n.i=j\n"),
                                 &leaves, &diag),
                     0);
    assert_int_equal(mp__format_find("ini")->print(&leaves, &out, &diag), 0);
    (void)mp__buf_add_char(&out, '\0');
    assert_string_equal(out.data, ".i = j\nz =\n\n[[0]]\ng = h\n\n[a]\nd = \" x\"\n\"e=f\" = "
                                  "\"y ;z\"\n\n[a.b]\nc = 1\n");
    mp__buf_done(&out);
    mp__leaves_done(&leaves);
}

static void prints_value(const char *format, const char *value, const char *type, const char *want)
{
    mp__leaves leaves = {0};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};

    assert_int_equal(mp__leaves_add(&leaves, MP_STR("A"), mp_str_of(value), type), 0);
    assert_int_equal(mp__format_find(format)->print(&leaves, &out, &diag), 0);
    (void)mp__buf_add_char(&out, '\0');
    assert_string_equal(out.data, want);
    mp__buf_done(&out);
    mp__leaves_done(&leaves);
}

/* What is read can be printed again. */
static void env_values_hold_no_zero_byte(void **state)
{
    static const struct {
        mp_str text;
        int line, column;
    } cases[] = {
        {{"A=1\0x\n", 6}, 1, 4}, {{"A=1\nB=\"x\n\0\"\n", 11}, 3, 1}, {{"A=\"x\\\0y\"\n", 9}, 1, 6}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        mp__leaves leaves = {0};
        mp__diag diag = {0};

        assert_int_equal(mp__format_find("env")->parse(cases[i].text, &leaves, &diag), MP_ESYNTAX);
        assert_int_equal(diag.line, cases[i].line);
        assert_int_equal(diag.column, cases[i].column);
        assert_non_null(strstr(diag.text, "zero byte"));
    }
}

static void env_values_run_nothing_in_a_shell_that_reads_them(void **state)
{
    (void)state;
    prints_value("env", "5 #", "text/plain", "A=\"5 #\"\n");
    prints_value("env", "`id` $(id) $A", "text/plain", "A='`id` $(id) $A'\n");
    prints_value("env", "it's `id` $A", "text/plain", "A=\"it's \\`id\\` \\$A\"\n");
    prints_value("env", "a\n\tb\\n", "text/plain", "A=\"a\n\tb\\\\n\"\n");
    parses_to("env", "A=\"\\`\\$\"\n", "A=`$:t\n");
}

static void yaml_is_printed_so_that_older_readers_take_it_alike(void **state)
{
    static const char *const words[] = {"Yes", "NO", "On", "oFF", "Y", "n", "=", "NULL", "True"};
    char want[32];

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        (void)snprintf(want, sizeof(want), "A: \"%s\"\n", words[i]);
        prints_value("yaml", words[i], "text/plain", want);
    }
    prints_value("yaml", "1e20", "application/json", "A: 1.0e+20\n");
    prints_value("yaml", "1.5e20", "application/json", "A: 1.5e+20\n");
    parses_to("yaml",
              "a: !!int '5'\nb: !!float 5\nc: !!bool 'true'\nd: !!null ''\ne: !!float '1e5'\n",
              "a=5:j\nb=5.0:j\nc=true:j\nd=null:j\ne=100000.0:j\n");
}

static void ini_quotes_the_blanks_that_only_some_know(void **state)
{
    (void)state;
    prints_value("ini", "\xc2\xa0x", "text/plain", "A = \"\xc2\xa0x\"\n");
    prints_value("ini", "x\xe2\x80\xa8", "text/plain", "A = \"x\xe2\x80\xa8\"\n");
    prints_value("ini", "x\xc2\xa0y", "text/plain", "A = x\xc2\xa0y\n");
    prints_value("ini", "\xef\xbf\xbd", "text/plain", "A = \xef\xbf\xbd\n");
}

static void properties_are_printed_as_ascii(void **state)
{
    mp__leaves leaves = {0};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__leaves_add(&leaves, MP_STR("a b=\u00e4"), MP_STR(" \U0001F600 \x01\n=\\"),
                                    "text/plain"),
                     0);
    assert_int_equal(mp__format_find("properties")->print(&leaves, &out, &diag), 0);
    (void)mp__buf_add_char(&out, '\0');
    assert_string_equal(out.data, "a\\ b\\=\\u00E4=\\ \\uD83D\\uDE00 \\u0001\\n=\\\\\n");
    assert_int_equal(mp__leaves_add(&leaves, MP_STR("bad"), MP_STR("\xff"), "text/plain"), 0);
    assert_int_equal(mp__format_find("properties")->print(&leaves, &out, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "'bad'"));
    mp__buf_done(&out);
    mp__leaves_done(&leaves);
}

static void every_format_gives_back_what_it_read(void **state)
{
    static const struct {
        const char *format, *text;
    } cases[] = {
        {"json", "{\"a\": {\"b\": [1, [2.5, \"x\"], {\"c\": null}], \"d.e\": \"\", \"f\": {}},"
                 " \"g\": \"1\", \"h\": false, \"i\": \"\\u00e4\\n\"}"},
        {"yaml",
         "a: {b: [1, [2.5, x], {c: ~}], d.e: '', f: {}}\ng: '1'\nh: false\ni: \"\\u00e4\\n\"\n"
         "k: 'true'\nl: '- x'\nm: '# no'\nn: ' pad '\no: '~'\np: '0x10'\n'q: r': 's: t'\n"},
        {"env", "A=1\nB='x \"y\" $z\\\\'\nC=\"l\\nm\\tt\"\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const mp__format *format = mp__format_find(cases[i].format);
        mp__leaves first = {0}, second = {0};
        mp__buf text = MP__BUF_INIT, a = MP__BUF_INIT, b = MP__BUF_INIT;
        mp__diag diag = {0};

        assert_int_equal(format->parse(mp_str_of(cases[i].text), &first, &diag), 0);
        assert_int_equal(format->print(&first, &text, &diag), 0);
        if (format->parse(mp__buf_str(&text), &second, &diag) != 0)
            fail_msg("%s cannot read its own: %s\n%.*s", format->name, diag.text, (int)text.size,
                     text.data);
        leaves_say(&first, &a);
        leaves_say(&second, &b);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        mp__buf_done(&a);
        mp__buf_done(&b);
        mp__buf_done(&text);
        mp__leaves_done(&first);
        mp__leaves_done(&second);
    }
}

/* Both are named, with what can be done, whichever came first. */
static void contradicting_keys_are_refused_by_name(void **state)
{
    static const struct {
        const char *first, *second, *said;
    } cases[] = {
        {"a", "a.b", "'a' is a value and 'a.b' stands below it"},
        {"a.b", "a", "'a' is a value and 'a.b' stands below it"},
        {"x.a", "x.a[0]", "'x.a' is a value and 'x.a[0]' stands below it"},
        {"a.b", "a[0]", "'a.b' and 'a[0]' are a list and a map in one place"},
        {"[0]", "a", "'[0]' and 'a' are a list and a map in one place"},
        {"a\\\\", "a\\\\.b", "'a\\\\' is a value and 'a\\\\.b' stands below it"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__leaves leaves = {0};
        mp__buf out = MP__BUF_INIT;
        mp__diag diag = {0};

        if (cases[i].first[0] != '[') /* one more, that is in nobody's way */
            assert_int_equal(mp__leaves_add(&leaves, MP_STR("a-q"), MP_STR("0"), "text/plain"), 0);
        assert_int_equal(
            mp__leaves_add(&leaves, mp_str_of(cases[i].first), MP_STR("1"), "text/plain"), 0);
        assert_int_equal(
            mp__leaves_add(&leaves, mp_str_of(cases[i].second), MP_STR("2"), "text/plain"), 0);
        assert_int_equal(mp__format_find("json")->print(&leaves, &out, &diag), MP_EINVAL);
        if (!strstr(diag.text, cases[i].said))
            fail_msg("'%s' is not in: %s", cases[i].said, diag.text);
        assert_non_null(strstr(diag.text, "delete one (import --prune deletes"));
        mp__buf_reset(&out);
        assert_int_equal(mp__format_find("properties")->print(&leaves, &out, &diag), 0);
        mp__buf_done(&out);
        mp__leaves_done(&leaves);
    }
}

static void deep_nesting_is_refused(void **state)
{
    char text[2 * 100 + 16];
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    size_t n = 0;

    (void)state;
    n += (size_t)snprintf(text, sizeof(text), "{\"a\":");
    memset(text + n, '[', 100);
    text[n + 100] = '1';
    memset(text + n + 101, ']', 100);
    text[n + 201] = '}';
    assert_int_equal(mp__format_find("json")->parse(mp_str_new(text, n + 202), &leaves, &diag),
                     MP_ELIMIT);
}

/* libyaml alone takes minutes for it. */
static void deep_yaml_is_refused_at_its_65th_level(void **state)
{
    enum { DEEP = 100000 };
    char *text = malloc(2 * DEEP);
    mp__leaves leaves = {0};
    mp__diag diag = {0};

    (void)state;
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    assert_int_equal(mp__format_find("yaml")->parse(mp_str_new(text, 2 * DEEP), &leaves, &diag),
                     MP_ELIMIT);
    assert_int_equal(diag.line, 1);
    for (int i = 0; i < DEEP; i++)
        memcpy(text + 2 * i, "- ", 2);
    assert_int_equal(mp__format_find("yaml")->parse(mp_str_new(text, 2 * DEEP), &leaves, &diag),
                     MP_ELIMIT);
    free(text);
}

/* @count times @text, in which # is the number, between @before and @after; yours to free. */
static char *many_of(const char *before, const char *text, int count, const char *after)
{
    mp__buf out = MP__BUF_INIT;

    (void)mp__buf_add_str(&out, mp_str_of(before));
    for (int i = 0; i < count; i++)
        for (const char *c = text; *c; c++)
            (void)(*c == '#' ? mp__buf_printf(&out, "%d", i) : mp__buf_add_char(&out, *c));
    (void)mp__buf_add_str(&out, mp_str_of(after));
    assert_int_equal(mp__buf_add_char(&out, '\0'), 0);
    return out.data;
}

/* Were a line gone through again for each of its values, the second would take more than a minute.
 */
static void yaml_is_read_in_a_time_that_grows_with_its_length(void **state)
{
    enum { MANY = 150000 };
    static const char *const parts[][3] = {
        {"", "k#: v\n", ""},                /* each is looked at for a tag */
        {"b: !!str 5\na: [", "#, ", "]\n"}, /* in one line with the others */
        {"b: !!str 5\n", "k#: 1\n", ""},
        {"a: &a 1\nb: [", "*a, ", "]\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *text = many_of(parts[i][0], parts[i][1], MANY, parts[i][2]);
        mp__leaves leaves = {0};
        mp__diag diag = {0};

        assert_int_equal(mp__format_find("yaml")->parse(mp_str_of(text), &leaves, &diag), 0);
        assert_in_range(leaves.count, MANY, MANY + 1);
        mp__leaves_done(&leaves);
        free(text);
    }
}

/* libyaml alone takes minutes for them. */
static void yaml_of_too_many_anchors_or_directives_is_refused(void **state)
{
    static const struct {
        const char *before, *text, *after;
        int count, line;
    } cases[] = {
        {"a:\n", "- &a# x\n", "", 300000, 6327},
        {"", "%TAG !a#! x\n", "--- {a: 1}\n", 300000, 101},
        {"a: 1\r", "%TAG !a#! x\r", "--- {a: 1}\n", 300000, 102},
    };
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    char *text;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text = many_of(cases[i].before, cases[i].text, cases[i].count, cases[i].after);
        assert_int_equal(mp__format_find("yaml")->parse(mp_str_of(text), &leaves, &diag),
                         MP_ELIMIT);
        assert_int_equal(diag.line, cases[i].line);
        free(text);
    }
    text = many_of("x: &x 1\ny: [", "'%TAG', *x, ", 1000, "]\n"); /* no directives, few anchors */
    assert_int_equal(mp__format_find("yaml")->parse(mp_str_of(text), &leaves, &diag), 0);
    assert_int_equal(leaves.count, 2001);
    mp__leaves_done(&leaves);
    free(text);
}

/* The tag is looked for where the value stands, whatever ends the lines before it. */
static void yaml_finds_the_tag_of_a_value_in_any_kind_of_line(void **state)
{
    char *far = many_of("a: \"", "\u00e4", 2000,
                        "\"\rb: !!str 5\r\nc: 6\xc2\x85"
                        "d: &d !!str 7\n"),
         *said;

    (void)state;
    said = many_of("a=", "\u00e4", 2000, ":t\nb=5:t\nc=6:j\nd=7:t\n");
    parses_to("yaml", far, said);
    free(said);
    free(far);
}

static void messages_name_the_formats_of_the_table(void **state)
{
    mp__buf names = MP__BUF_INIT;

    (void)state;
    for (const mp__format *const *f = mp__formats; *f; f++)
        (void)mp__buf_printf(&names, "%s%s", names.size ? ", " : "", (*f)->name);
    (void)mp__buf_add_char(&names, '\0');
    assert_string_equal(names.data, MP__FORMAT_NAMES);
    mp__buf_done(&names);
}

static void what_would_come_back_otherwise_is_refused_by_name(void **state)
{
    static const struct {
        const char *keys[3], *says;
    } cases[] = {
        {{"a..b"}, "'a..b'"},
        {{"a]"}, "'a]'"},
        {{"a[x]"}, "'a[x]'"},
        {{"l[0]", "l[2]"}, "'l[2]'"},
        {{"l[1]"}, "'l[1]'"},
        {{"l[0]", "l[9999999]"}, "'l[9999999]'"},
        {{"a\\b"}, "'a\\b'"},
        {{"l[0]", "m[1].x", "z"}, "'m[0]'"},
        {{"a\xff"}, "UTF-8"},
        {{"l[0]", "l[0].x"}, "'l[0].x'"},
        {{"l[0]", "l.x"}, "'l[0]'"},
        {{"l[00]"}, "'l[00]'"},
        {{"l[0"}, "'l[0'"},
        {{"l[0]x"}, "'l[0]x'"},
        {{"a."}, "'a.'"},
        {{"a\\"}, "'a\\'"},
        {{"l[0].a", "l[0][0]"}, "'l[0][0]'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__leaves leaves = {0};
        mp__buf out = MP__BUF_INIT;
        mp__diag diag = {0};

        for (size_t k = 0; k < 3 && cases[i].keys[k]; k++)
            assert_int_equal(mp__leaves_add(&leaves, mp_str_of(cases[i].keys[k]), MP_STR("null"),
                                            "application/json"),
                             0);
        assert_int_equal(mp__leaves_sort(&leaves, &diag), 0);
        assert_int_equal(mp__format_find("json")->print(&leaves, &out, &diag), MP_EINVAL);
        if (!strstr(diag.text, cases[i].says))
            fail_msg("%s: said: %s", cases[i].keys[0], diag.text);
        assert_int_equal(mp__format_find("ini")->print(&leaves, &out, &diag), 0);
        mp__buf_done(&out);
        mp__leaves_done(&leaves);
    }
}

static void a_value_that_is_a_map_takes_no_further_keys(void **state)
{
    mp__leaves leaves = {0};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__leaves_add(&leaves, MP_STR("a"), MP_STR("{}"), "application/json"), 0);
    assert_int_equal(mp__leaves_add(&leaves, MP_STR("a.b"), MP_STR("1"), "application/json"), 0);
    assert_int_equal(mp__format_find("yaml")->print(&leaves, &out, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "'a.b'"));
    mp__buf_done(&out);
    mp__leaves_done(&leaves);
}

static void a_leaf_that_no_tree_can_hold_is_named(void **state)
{
    static const struct {
        const char *key, *value, *says;
    } cases[] = {
        {"a\xff", "1", "UTF-8"},
        {"key", "{", "'key'"},
        {"key", "1 2", "'key'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mp__leaves leaves = {0};
        mp__buf out = MP__BUF_INIT;
        mp__diag diag = {0};

        assert_int_equal(mp__leaves_add(&leaves, mp_str_of(cases[i].key), mp_str_of(cases[i].value),
                                        "application/json"),
                         0);
        assert_int_equal(mp__format_find("yaml")->print(&leaves, &out, &diag), MP_EINVAL);
        if (!strstr(diag.text, cases[i].says))
            fail_msg("%s: said: %s", cases[i].key, diag.text);
        mp__buf_done(&out);
        mp__leaves_done(&leaves);
    }
}

/* "a.a.a...": @depth steps, the last with the value @value of the type @type. */
static int print_nested(const char *format, unsigned depth, const char *value, const char *type,
                        mp__buf *out, mp__diag *diag)
{
    mp__leaves leaves = {0};
    char key[256];
    size_t n = 0;
    int rc;

    for (unsigned i = 0; i < depth; i++) {
        key[n++] = 'a';
        key[n++] = '.';
    }
    assert_int_equal(mp__leaves_add(&leaves, mp_str_new(key, n - 1), mp_str_of(value), type), 0);
    rc = mp__format_find(format)->print(&leaves, out, diag);
    mp__leaves_done(&leaves);
    return rc;
}

static void what_is_printed_is_never_nested_deeper_than_can_be_read(void **state)
{
    static const char *const nesting[] = {"json", "yaml", "toml"};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (unsigned in_value = 0; in_value < 2; in_value++) {
            const char *value = in_value ? "{\"b\":[1]}" : "1";
            unsigned most = in_value ? 62 : 64;
            mp__buf good = MP__BUF_INIT, bad = MP__BUF_INIT;
            mp__leaves again = {0};
            mp__diag diag = {0};

            assert_int_equal(
                print_nested(nesting[i], most, value, "application/json", &good, &diag), 0);
            assert_int_equal(mp__format_find(nesting[i])->parse(mp__buf_str(&good), &again, &diag),
                             0);
            assert_int_equal(again.count, 1);
            assert_int_equal(
                print_nested(nesting[i], most + 1, value, "application/json", &bad, &diag),
                MP_ELIMIT);
            assert_non_null(strstr(diag.text, "nested deeper than 64"));
            mp__leaves_done(&again);
            mp__buf_done(&good);
            mp__buf_done(&bad);
        }
}

static void a_path_chooses_its_format_by_its_ending(void **state)
{
    (void)state;
    assert_string_equal(mp__format_of_path("x/y.YML")->name, "yaml");
    assert_string_equal(mp__format_of_path(".env")->name, "env");
    assert_string_equal(mp__format_of_path("a.json")->name, "json");
    assert_string_equal(mp__format_of_path("app.properties")->name, "properties");
    assert_string_equal(mp__format_of_path("app.ini")->name, "ini");
    assert_null(mp__format_of_path("a.txt"));
    assert_null(mp__format_find("toml5"));
}

static void a_file_that_says_nothing_is_told_from_one_that_has_no_keys(void **state)
{
    static const struct {
        const char *format;
        const char *text;
        bool is_blank;
    } cases[] = {
        {"json", "", true},           {"json", " \t\r\n", true},
        {"json", "null\n", true},     {"yaml", "---\nnull\n...\n", true},
        {"yaml", "--- ~", true},      {"yaml", "\xef\xbb\xbf\n", true},
        {"json", "{}", false},        {"yaml", "# none\n", false},
        {"yaml", "nullable:", false}, {"properties", "null", false},
        {"ini", "; none\n", false},   {"toml", "\n", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (mp__format_is_blank(mp__format_find(cases[i].format), mp_str_of(cases[i].text)) !=
            cases[i].is_blank)
            fail_msg("'%s'", cases[i].text);
    assert_false(mp__format_is_blank(mp__format_find("yaml"), mp_str_new("\0", 1)));
}

static void what_is_named_for_a_file_without_keys_is_read_as_one_in_each_format(void **state)
{
    (void)state;
    for (const mp__format *const *f = mp__formats; *f; f++) {
        mp_str text = mp_str_of(mp__format_no_keys(*f));
        mp__leaves leaves = {0};
        mp__diag diag = {0};

        assert_false(mp__format_is_blank(*f, text));
        assert_int_equal((*f)->parse(text, &leaves, &diag), 0);
        assert_int_equal(leaves.count, 0);
        mp__leaves_done(&leaves);
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_file_that_says_nothing_is_told_from_one_that_has_no_keys),
    MP_TEST(json_becomes_leaves_with_their_types),
    MP_TEST(names_with_dots_and_brackets_are_escaped),
    MP_TEST(json_errors_name_their_place),
    MP_TEST(yaml_follows_the_core_schema),
    MP_TEST(yaml_aliases_and_merge_keys_are_resolved),
    MP_TEST(yaml_errors_name_their_place),
    MP_TEST(a_bracket_that_is_never_closed_is_told_with_its_own_place),
    MP_TEST(yaml_prints_text_of_several_lines_as_lines),
    MP_TEST(yaml_quotes_text_that_lines_would_change_or_hide),
    MP_TEST(yaml_says_what_becomes_of_infinity),
    MP_TEST(yaml_alias_bombs_are_refused),
    MP_TEST(env_files_read_quotes_comments_and_export),
    MP_TEST(env_errors_name_their_place),
    MP_TEST(ini_files_read_sections_quotes_and_comments),
    MP_TEST(a_byte_order_mark_before_a_file_of_any_format_is_passed_over),
    MP_TEST(ini_errors_name_their_place),
    MP_TEST(a_carriage_return_alone_is_refused_where_readers_disagree),
    MP_TEST(properties_read_as_java_reads_them),
    MP_TEST(properties_are_utf8_or_else_latin1),
    MP_TEST(properties_errors_name_their_place),
    MP_TEST(a_key_that_is_there_twice_is_refused_at_its_second_place),
    MP_TEST(leaves_know_where_their_file_says_them),
    MP_TEST(a_pointer_leads_to_the_key_that_a_tree_makes_of_it),
    MP_TEST(a_long_or_deep_path_of_json_is_refused_at_its_place),
    MP_TEST(what_is_too_long_is_refused_at_its_place),
    MP_TEST(ini_groups_by_section_and_quotes_what_it_must),
    MP_TEST(env_values_hold_no_zero_byte),
    MP_TEST(env_values_run_nothing_in_a_shell_that_reads_them),
    MP_TEST(yaml_is_printed_so_that_older_readers_take_it_alike),
    MP_TEST(ini_quotes_the_blanks_that_only_some_know),
    MP_TEST(properties_are_printed_as_ascii),
    MP_TEST(every_format_gives_back_what_it_read),
    MP_TEST(contradicting_keys_are_refused_by_name),
    MP_TEST(deep_nesting_is_refused),
    MP_TEST(deep_yaml_is_refused_at_its_65th_level),
    MP_TEST(yaml_is_read_in_a_time_that_grows_with_its_length),
    MP_TEST(yaml_of_too_many_anchors_or_directives_is_refused),
    MP_TEST(yaml_finds_the_tag_of_a_value_in_any_kind_of_line),
    MP_TEST(messages_name_the_formats_of_the_table),
    MP_TEST(what_would_come_back_otherwise_is_refused_by_name),
    MP_TEST(a_value_that_is_a_map_takes_no_further_keys),
    MP_TEST(a_leaf_that_no_tree_can_hold_is_named),
    MP_TEST(what_is_printed_is_never_nested_deeper_than_can_be_read),
    MP_TEST(a_path_chooses_its_format_by_its_ending),
    MP_TEST(what_is_named_for_a_file_without_keys_is_read_as_one_in_each_format),
};

MP_TEST_MAIN(tests)
