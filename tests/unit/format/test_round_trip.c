/* SPDX-License-Identifier: Apache-2.0 */
/* Random trees through every format: what it can say comes back with data and types; what it cannot
 * is refused with the key's name. */
#include "mp_test.h"

#include <stdlib.h>

#include "core/core.h"
#include "format/format.h"
#include "format/kinds.h"

static uint64_t state_of_dice;

/* 0 to n - 1; a xorshift generator (Marsaglia, 2003), so that a seed names a tree. */
static unsigned dice(unsigned n)
{
    state_of_dice ^= state_of_dice << 13;
    state_of_dice ^= state_of_dice >> 7;
    state_of_dice ^= state_of_dice << 17;
    return (unsigned)(state_of_dice >> 33) % n;
}

static const char *pick(const char *const *words, unsigned count)
{
    return words[dice(count)];
}

#define PICK(words) pick(words, sizeof(words) / sizeof((words)[0]))

static void add_name(mp__buf *path)
{
    static const char *const names[] = {
        "a",     "b",      "host", "x y",  "1",    "-",    "\u00e4",
        "a=b",   "#c",     ";d",   "[e]",  "f.g",  "h\\i", "'j'",
        "\"k\"", "l:",     " m ",  "null", "true", "!n",   "\U0001F600",
        "=",     "export", "~",    "<<",   "- o",  "A_1",  "\xef\xbb\xbfp"};

    if (path->size)
        (void)mp__buf_add_char(path, '.');
    for (const char *c = PICK(names); *c; c++) {
        if (strchr(".[]\\", *c))
            (void)mp__buf_add_char(path, '\\');
        (void)mp__buf_add_char(path, *c);
    }
}

/* A text of some lines, with what makes a line hard to print: blanks and tabs before and behind it,
 * empty ones, signs that mean something elsewhere. */
static void add_lines(mp__leaves *leaves, const mp__buf *path)
{
    static const char *const pieces[] = {"\n",   "\n",       "\n",    " ",   "  ",     "\t",
                                         "a",    "word two", "# c",   "- x", "k: v",   "---",
                                         "...",  "|",        "\"q\"", "'",   "...\n",  ">",
                                         "%TAG", "\\",       "{",     "\r",  "\u2028", "\u00e4"};
    mp__buf text = MP__BUF_INIT;

    for (unsigned i = 0, n = 1 + dice(8); i < n; i++)
        (void)mp__buf_add_str(&text, mp_str_of(PICK(pieces)));
    assert_int_equal(mp__leaves_add(leaves, mp__buf_str(path), mp__buf_str(&text), "text/plain"),
                     0);
    mp__buf_done(&text);
}

/* 1: it was added, 0: a key like that is there. */
static void add_value(mp__leaves *leaves, const mp__buf *path, bool own)
{
    static const char *const texts[] = {"",
                                        "text",
                                        " x ",
                                        "\n",
                                        "a\r\nb\t",
                                        "'",
                                        "\"",
                                        "\\",
                                        "# no",
                                        "a # b",
                                        "a ; b",
                                        "=",
                                        "true",
                                        "null",
                                        "5",
                                        "5.5",
                                        "1e3",
                                        "0x10",
                                        "~",
                                        "- x",
                                        "a: b",
                                        "{}",
                                        "[]",
                                        "\u00e4",
                                        "\x01",
                                        "\x7f",
                                        "\xc2\x85",
                                        "\"\"\"",
                                        "'''",
                                        "\\u0041",
                                        "$HOME",
                                        "${x}",
                                        "\xef\xbb\xbf",
                                        "2020-01-01",
                                        "\f",
                                        "x\\",
                                        "\U0001F600",
                                        "\u2028",
                                        "yes",
                                        "inf",
                                        "line\n  two\n\n",
                                        "\n\n",
                                        "tab\there ",
                                        "%s%n"};
    static const char *const values[] = {"0",
                                         "-1",
                                         "9223372036854775807",
                                         "-9223372036854775808",
                                         "1.5",
                                         "-0.0",
                                         "1e+300",
                                         "4.94065645841247e-324",
                                         "0.1",
                                         "true",
                                         "false",
                                         "null",
                                         "{}",
                                         "[]"};
    static const char *const owns[] = {"inf",
                                       "-inf",
                                       "nan",
                                       "1979-05-27",
                                       "07:32:00.125",
                                       "1979-05-27T07:32:00-08:00",
                                       "2024-02-29T23:59:60Z"};
    unsigned kind = dice(own ? 6 : 5);

    if (kind < 2)
        assert_int_equal(
            mp__leaves_add(leaves, mp__buf_str(path), mp_str_of(PICK(texts)), "text/plain"), 0);
    else if (kind == 2)
        add_lines(leaves, path);
    else if (kind < 5)
        assert_int_equal(
            mp__leaves_add(leaves, mp__buf_str(path), mp_str_of(PICK(values)), "application/json"),
            0);
    else
        assert_int_equal(
            mp__leaves_add(leaves, mp__buf_str(path), mp_str_of(PICK(owns)), "application/toml"),
            0);
}

static void add_children(mp__leaves *leaves, mp__buf *path, int depth, bool own)
{
    size_t before = path->size;
    bool list = before && dice(3) == 0;
    unsigned count = 1 + dice(4);

    for (unsigned i = 0; i < count; i++) {
        if (list)
            (void)mp__buf_printf(path, "[%u]", i);
        else
            add_name(path);
        if (depth < 4 && dice(3) == 0)
            add_children(leaves, path, depth + 1, own);
        else
            add_value(leaves, path, own);
        path->size = before;
    }
}

static void same(const mp__format *format, const mp__leaves *a, const mp__leaves *b,
                 const mp__buf *text)
{
    bool own = strcmp(format->name, "toml") == 0;

    if (a->count != b->count)
        fail_msg("%s: %zu became %zu\n%.*s", format->name, a->count, b->count, (int)text->size,
                 text->data);
    for (size_t i = 0; i < a->count; i++) {
        const mp__leaf *x = &a->items[i], *y = &b->items[i];
        bool typed = !format->is_text_only &&
                     (own || !mp_str_equal(x->media_type, MP_STR("application/toml")));

        if (!mp_str_equal(x->key, y->key) || !mp_str_equal(x->value, y->value) ||
            (typed && !mp_str_equal(x->media_type, y->media_type)))
            fail_msg("%s: '%.*s' = '%.*s' became '%.*s' = '%.*s'\n%.*s", format->name,
                     (int)x->key.size, x->key.data, (int)x->value.size, x->value.data,
                     (int)y->key.size, y->key.data, (int)y->value.size, y->value.data,
                     (int)text->size, text->data);
    }
}

/* How many formats could say it. */
static unsigned through_all(const mp__leaves *leaves)
{
    unsigned said = 0;

    for (const mp__format *const *f = mp__formats; *f; f++) {
        mp__buf text = MP__BUF_INIT;
        mp__leaves again = {0};
        mp__diag diag = {0};
        int rc = (*f)->print(leaves, &text, &diag);

        if (rc == 0) {
            if ((*f)->parse(mp__buf_str(&text), &again, &diag) != 0)
                fail_msg("%s cannot read its own: %d:%d: %s\n%.*s", (*f)->name, diag.line,
                         diag.column, diag.text, (int)text.size, text.data);
            same(*f, leaves, &again, &text);
            said++;
        } else if (rc != MP_EINVAL || !strchr(diag.text, '\'')) {
            fail_msg("%s: refused without a name: %d %s", (*f)->name, rc, diag.text);
        }
        mp__leaves_done(&again);
        mp__buf_done(&text);
    }
    return said;
}

static void random_trees_come_back_with_data_and_types(void **state)
{
    unsigned said = 0, trees = 0, wanted = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        mp__leaves leaves = {0};
        mp__buf path = MP__BUF_INIT;
        mp__diag diag = {0};

        state_of_dice = seed * 0x9e3779b97f4a7c15u;
        add_children(&leaves, &path, 0, seed % 2);
        if (mp__leaves_sort(&leaves, &diag) == 0) { /* a name may have come twice */
            unsigned n = through_all(&leaves);

            said += n;
            wanted += n >= 2; /* ini and properties say any tree */
            trees++;
        }
        mp__buf_done(&path);
        mp__leaves_done(&leaves);
    }
    assert_true(trees > 1500);
    assert_int_equal(wanted, trees);
    assert_true(said > 4 * trees); /* not: refused, all of them */
}

/* What the JSON printer makes of the number @text. */
static void print_number(const char *text, char *out, size_t capacity)
{
    mp__leaves leaves = {0};
    mp__buf json = MP__BUF_INIT, printed = MP__BUF_INIT;
    mp__diag diag = {0};

    (void)mp__buf_printf(&json, "{\"a\": %s}", text);
    assert_int_equal(mp__format_json.parse(mp__buf_str(&json), &leaves, &diag), 0);
    assert_int_equal(mp__format_json.print(&leaves, &printed, &diag), 0);
    assert_true(printed.size > 12 && printed.size - 12 < capacity);
    memcpy(out, printed.data + 9, printed.size - 12); /* {\n  "a": ...\n}\n */
    out[printed.size - 12] = '\0';
    mp__buf_done(&json);
    mp__buf_done(&printed);
    mp__leaves_done(&leaves);
}

static void json_numbers_are_the_shortest_text_of_the_same_number(void **state)
{
    char text[64], printed[64], shorter[400];

    (void)state;
    state_of_dice = 42;
    for (unsigned i = 0; i < 20000; i++) { /* as people write them: so they come out again */
        (void)snprintf(text, sizeof(text), "%s%u.%0*u%u", dice(2) ? "-" : "", dice(100000),
                       (int)dice(4) + 1, dice(10), 1 + dice(9));
        print_number(text, printed, sizeof(printed));
        assert_string_equal(printed, text);
    }
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)dice(1u << 31) << 33 | (uint64_t)dice(1u << 31) << 2 | dice(4);
        double value;
        int least = 1;

        memcpy(&value, &bits, sizeof(value));
        if (!(value - value == 0))
            continue; /* infinite, or no number */
        (void)snprintf(text, sizeof(text), "%.17e", value);
        print_number(text, printed, sizeof(printed));
        assert_true(strtod(printed, NULL) == value);
        do
            (void)snprintf(shorter, sizeof(shorter), "%.*g", least++, value);
        while (strtod(shorter, NULL) != value);
        assert_true(strlen(printed) <= strlen(shorter) + 2); /* ".0" */
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(json_numbers_are_the_shortest_text_of_the_same_number),
    MP_TEST(random_trees_come_back_with_data_and_types),
};

MP_TEST_MAIN(tests)
