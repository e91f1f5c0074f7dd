/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/json.h"

enum { DEPTH_MAX = 2048, SHOWN_MAX = 32 }; /* the first is jansson's */

/* A walk over a text by the grammar that jansson reads, to the first token that is wrong. */
typedef struct walk {
    mp_str text;
    size_t at;     /* begin of the token at work */
    size_t next;   /* behind it */
    size_t end_of; /* that ends here, jansson refused another way */
    size_t depth;
    size_t open[DEPTH_MAX + 1]; /* where each list or object begins */
    mp__diag *diag;
} walk;

static int byte_at(const walk *w, size_t at)
{
    return at < w->text.size ? (unsigned char)w->text.data[at] : -1;
}

static void place(const walk *w, size_t at, int *ret_line, int *ret_column)
{
    size_t begin = 0;

    *ret_line = 1;
    for (size_t i = 0; i < at; i++)
        if (w->text.data[i] == '\n') {
            ++*ret_line;
            begin = i + 1;
        }
    *ret_column = (int)(at - begin) + 1;
}

static int wrong(const walk *w, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int wrong(const walk *w, size_t at, const char *format, ...)
{
    char text[200];
    va_list args;
    int line, column;

    place(w, at, &line, &column);
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return mp__diag_at(w->diag, MP_ESYNTAX, line, column, "%s", text);
}

/* ---- tokens ---- */

static bool is_word(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
           c == '-' || c == '.' || c == '_';
}

static size_t skip_white(const walk *w, size_t at)
{
    while (byte_at(w, at) == ' ' || byte_at(w, at) == '\t' || byte_at(w, at) == '\n' ||
           byte_at(w, at) == '\r')
        at++;
    return at;
}

/* What stands at @at, as people would call it. */
static const char *show(const walk *w, size_t at, char out[SHOWN_MAX + 16])
{
    int c = byte_at(w, at);
    size_t size = 0;

    if (c == -1)
        return "the end of the text";
    if (c == '"')
        return "a string";
    if (c < 0x20 || c == 0x7f) {
        (void)snprintf(out, SHOWN_MAX + 16, "the byte 0x%02x", (unsigned)c);
        return out;
    }
    while (size < SHOWN_MAX && is_word(byte_at(w, at + size)))
        size++;
    if (size == 0)
        size = mp__utf8_size((const unsigned char *)w->text.data + at, w->text.size - at);
    if (size == 0)
        (void)snprintf(out, SHOWN_MAX + 16, "the byte 0x%02x", (unsigned)c);
    else
        (void)snprintf(out, SHOWN_MAX + 16, "'%.*s'", (int)size, w->text.data + at);
    return out;
}

static bool is_hex(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The UTF-16 unit of the escape at @at, or -1. */
static int unit_of(const walk *w, size_t at)
{
    int unit = 0;

    if (byte_at(w, at) != '\\' || byte_at(w, at + 1) != 'u')
        return -1;
    for (size_t i = 2; i < 6; i++) {
        int c = byte_at(w, at + i);

        if (!is_hex(c))
            return -1;
        unit = unit * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return unit;
}

/* The escape at *at, which is left behind it. */
static int take_escape(const walk *w, size_t *at)
{
    int c = byte_at(w, *at + 1), unit = unit_of(w, *at), low;
    char shown[SHOWN_MAX + 16];

    if (c == 'u' && unit < 0)
        return wrong(w, *at, "four hexadecimal digits are expected behind \\u");
    if (c == 'u') {
        *at += 6;
        if (unit < 0xd800 || unit > 0xdfff)
            return 0;
        low = unit_of(w, *at);
        if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff)
            return wrong(w, *at - 6,
                         "a half of a pair of UTF-16 (\\ud800 to \\udfff) alone is no "
                         "character");
        *at += 6;
        return 0;
    }
    if (c < 0x20 || !strchr("\"\\/bfnrt", c))
        return wrong(w, *at, "no escape begins with \\ and %s; a backslash itself is \\\\",
                     show(w, *at + 1, shown));
    *at += 2;
    return 0;
}

static int take_string(walk *w)
{
    size_t at = w->at + 1;

    for (;;) {
        int c = byte_at(w, at), rc;
        size_t size;

        if (c == '"')
            break;
        if (c == -1 || c == '\n' || c == '\r')
            return wrong(w, w->at, "the string that begins here does not end%s",
                         c == -1 ? "" : " on its line; a line break in a string is \\n");
        if (c < 0x20)
            return wrong(w, at, "the byte 0x%02x must be written as \\u%04x in a string",
                         (unsigned)c, (unsigned)c);
        if (c == '\\') {
            rc = take_escape(w, &at);
            if (rc)
                return rc;
            continue;
        }
        size = mp__utf8_size((const unsigned char *)w->text.data + at, w->text.size - at);
        if (size == 0)
            return wrong(w, at, "the byte 0x%02x is no UTF-8", (unsigned)c);
        at += size;
    }
    w->next = at + 1;
    return 0;
}

/* Of a number the digits at *at, at least one. */
static bool take_digits(const walk *w, size_t *at)
{
    size_t begin = *at;

    while (byte_at(w, *at) >= '0' && byte_at(w, *at) <= '9')
        ++*at;
    return *at > begin;
}

static bool is_number(const walk *w, size_t at, size_t end)
{
    at += byte_at(w, at) == '-';
    if (byte_at(w, at) == '0')
        at++;
    else if (!take_digits(w, &at))
        return false;
    if (byte_at(w, at) == '.' && (at++, !take_digits(w, &at)))
        return false;
    if (byte_at(w, at) == 'e' || byte_at(w, at) == 'E') {
        at++;
        at += byte_at(w, at) == '+' || byte_at(w, at) == '-';
        if (!take_digits(w, &at))
            return false;
    }
    return at == end;
}

/* A number, true, false or null. */
static int take_word(walk *w)
{
    static const char *const words[] = {"true", "false", "null"};
    char shown[SHOWN_MAX + 16];
    size_t end = w->at;
    int first = byte_at(w, w->at);

    while (is_word(byte_at(w, end)))
        end++;
    w->next = end;
    for (size_t i = 0; i < 3; i++)
        if (mp_str_equal(mp_str_new(w->text.data + w->at, end - w->at), mp_str_of(words[i])))
            return 0;
    if (end > w->at && is_number(w, w->at, end))
        return 0;
    (void)show(w, w->at, shown);
    if ((first >= '0' && first <= '9') || first == '-' || first == '+' || first == '.')
        return wrong(w, w->at, "%s is no number as JSON writes them", shown);
    return wrong(w, w->at, "%s is no value; a text stands in quotes", shown);
}

/* ---- the grammar ---- */

static int expected(const walk *w, const char *what)
{
    char shown[SHOWN_MAX + 16];
    int line, column;

    if (byte_at(w, w->at) == -1 && w->depth) {
        place(w, w->open[w->depth], &line, &column);
        return wrong(w, w->at,
                     "%s is expected here, and the text ends; the '%c' of line %d, "
                     "column %d is open",
                     what, w->text.data[w->open[w->depth]], line, column);
    }
    return wrong(w, w->at, "%s is expected here, not %s", what, show(w, w->at, shown));
}

/* To the next token. MP_ESYNTAX where the last one is that which was refused. */
static int forward(walk *w, const char *why)
{
    if (w->next && w->next == w->end_of)
        return wrong(w, w->at, "%s", why);
    w->at = skip_white(w, w->next);
    w->next = w->at + 1;
    return 0;
}

static bool is_in_object(const walk *w)
{
    return w->depth && w->text.data[w->open[w->depth]] == '{';
}

/* A name and its colon; then the value is the token at work. */
static int take_name(walk *w, const char *what, const char *why)
{
    int rc;

    if (byte_at(w, w->at) != '"')
        return expected(w, what);
    rc = take_string(w);
    if (rc == 0)
        rc = forward(w, why);
    if (rc == 0 && byte_at(w, w->at) != ':')
        rc = expected(w, "':' behind the name");
    return rc ? rc : forward(w, why);
}

/* Behind a value: close what ends, up to the next value, which is then at work. 1: the text ends.
 */
static int take_close(walk *w, const char *why)
{
    int rc = forward(w, why);

    while (rc == 0) {
        int c = byte_at(w, w->at);
        bool in_object = is_in_object(w);

        if (w->depth == 0)
            return c == -1 ? 1 : expected(w, "nothing more");
        if (c == ',') {
            rc = forward(w, why);
            return rc || !in_object ? rc : take_name(w, "a name in quotes", why);
        }
        if (c != (in_object ? '}' : ']'))
            return expected(w, in_object ? "',' or '}'" : "',' or ']'");
        w->depth--;
        rc = forward(w, why);
    }
    return rc;
}

/* Into a list or an object. 1: it is empty, and was closed. */
static int take_open(walk *w, const char *why)
{
    bool is_object = byte_at(w, w->at) == '{';
    int rc;

    if (w->depth == DEPTH_MAX)
        return wrong(w, w->at, "nested deeper than %d", DEPTH_MAX);
    w->open[++w->depth] = w->at;
    rc = forward(w, why);
    if (rc)
        return rc;
    if (byte_at(w, w->at) == (is_object ? '}' : ']')) {
        w->depth--;
        return 1;
    }
    return is_object ? take_name(w, "a name in quotes or '}'", why) : 0;
}

/* Walk to what is wrong: MP_ESYNTAX, said in the diag; 0: nothing was found. */
static int find_wrong(walk *w, const char *why)
{
    int rc;

    w->at = skip_white(w, 0);
    w->next = w->at + 1;
    if (w->at == w->text.size)
        return wrong(w, 0, "the text is empty");
    for (;;) {
        int c = byte_at(w, w->at);

        if (c == '{' || c == '[') {
            rc = take_open(w, why);
            if (rc == 0)
                continue;
            if (rc < 0)
                return rc;
        } else {
            rc = c == '"' ? take_string(w) : is_word(c) ? take_word(w) : expected(w, "a value");
            if (rc)
                return rc;
        }
        rc = take_close(w, why);
        if (rc)
            return rc < 0 ? rc : 0;
    }
}

/* ---- reading ---- */

static const char *reason(enum json_error_code code, const json_error_t *error)
{
    switch (code) {
    case json_error_duplicate_key:
        return "the name is there already in this object";
    case json_error_null_byte_in_key:
        return "a name may not hold \\u0000 here";
    case json_error_numeric_overflow:
        return strstr(error->text, "integer") ? "the integer is larger than 64 bits hold"
                                              : "the number is larger than a double holds";
    default:
        return error->text;
    }
}

/* The whole of @text. Apart, since it takes 16 KB of stack that reading what is right must not pay,
 * and which nobody need clear. */
static __attribute__((noinline)) int walk_through(mp_str text, size_t end_of, const char *why,
                                                  mp__diag *diag)
{
    walk w;

    w.text = text;
    w.at = w.next = w.depth = 0;
    w.end_of = end_of;
    w.diag = diag;
    return find_wrong(&w, why);
}

static void say_where(mp_str text, const json_error_t *error, mp__diag *diag)
{
    enum json_error_code code = json_error_code(error);
    const char *why = reason(code, error);
    size_t end_of = 0;

    if ((code == json_error_duplicate_key || code == json_error_numeric_overflow ||
         code == json_error_null_byte_in_key) &&
        error->position > 0)
        end_of = (size_t)error->position;
    if (walk_through(text, end_of, why, diag) == 0)
        (void)mp__diag_at(diag, MP_ESYNTAX, error->line > 0 ? error->line : 1,
                          error->column > 0 ? error->column : 1, "%s", why);
}

int mp__json_check(mp_str text, mp__diag *diag)
{
    return walk_through(text.data ? text : MP_STR(""), 0, "", diag);
}

int mp__json_read(mp_str text, bool wide, json_t **ret_tree, mp__diag *diag)
{
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    const char *data = text.data ? text.data : "";
    enum json_error_code code;
    json_error_t error;
    json_t *tree = json_loadb(data, text.size, flags, &error);

    if (!tree && wide && json_error_code(&error) == json_error_numeric_overflow)
        tree = json_loadb(data, text.size, flags | JSON_DECODE_INT_AS_REAL, &error);
    if (tree && !memchr(data, '\0', text.size)) {
        *ret_tree = tree;
        return 0;
    }
    if (tree) { /* jansson takes a zero byte behind the value for the end of the text */
        json_decref(tree);
        return mp__json_check(text, diag);
    }
    code = json_error_code(&error);
    if (code == json_error_out_of_memory)
        return MP_ENOMEM;
    if (code == json_error_stack_overflow)
        return mp__diag_set(diag, MP_ELIMIT, "nested deeper than %d", DEPTH_MAX);
    say_where(mp_str_new(data, text.size), &error, diag);
    return code == json_error_numeric_overflow ? -ERANGE : MP_ESYNTAX;
}

/* ---- where a pointer leads, in a text that is known to be good ---- */

static size_t behind_string(const walk *w, size_t at)
{
    for (at++; byte_at(w, at) != '"' && byte_at(w, at) != -1; at++)
        at += byte_at(w, at) == '\\';
    return at + 1;
}

static size_t behind_value(const walk *w, size_t at)
{
    size_t depth = 0;

    do {
        int c = byte_at(w, at);

        if (c == '"') {
            at = behind_string(w, at);
            continue;
        }
        depth += c == '{' || c == '[';
        if ((c == '}' || c == ']') && depth-- == 0)
            return at;
        at++;
    } while (at < w->text.size && (depth || !strchr(",]} \t\r\n", w->text.data[at])));
    return at;
}

/* Whether the name between the quotes at @at and before @end is the step of a pointer at @step. */
static bool is_step(const walk *w, size_t at, size_t end, const char *step)
{
    json_t *name = json_loadb(w->text.data + at, end - at, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const char *p = json_string_value(name), *stop = p ? p + json_string_length(name) : NULL;
    bool is_same = p != NULL;

    for (; is_same && *step && *step != '/'; step++, p++) {
        char c = *step;

        if (c == '~' && (step[1] == '0' || step[1] == '1'))
            c = *++step == '0' ? '~' : '/';
        is_same = p < stop && *p == c;
    }
    is_same = is_same && p == stop;
    json_decref(name);
    return is_same;
}

/* From the list or object at *at into what the step at @step names. */
static bool step_into(const walk *w, size_t *at, const char *step)
{
    bool is_object = byte_at(w, *at) == '{';
    size_t here = skip_white(w, *at + 1), index = is_object ? 0 : strtoul(step, NULL, 10);

    if (!is_object && (byte_at(w, *at) != '[' || step[0] < '0' || step[0] > '9'))
        return false;
    for (; byte_at(w, here) != ']' && byte_at(w, here) != '}' && byte_at(w, here) != -1; index--) {
        size_t name = here;
        bool found = !is_object && index == 0;

        if (is_object) {
            here = behind_string(w, name);
            found = is_step(w, name, here, step);
            here = skip_white(w, skip_white(w, here) + 1); /* the colon */
        }
        *at = here;
        if (found)
            return true;
        here = skip_white(w, behind_value(w, here));
        here = byte_at(w, here) == ',' ? skip_white(w, here + 1) : here;
    }
    return false;
}

bool mp__json_place(mp_str text, const char *pointer, int *ret_line, int *ret_column)
{
    walk *w = &(walk){.text = text};
    size_t at = skip_white(w, 0);

    for (; *pointer == '/'; pointer += 1 + strcspn(pointer + 1, "/"))
        if (!step_into(w, &at, pointer + 1))
            return false;
    place(w, at, ret_line, ret_column);
    return at < text.size;
}
