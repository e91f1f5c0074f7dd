/* SPDX-License-Identifier: Apache-2.0 */
/* INI files: NAME = VALUE lines below [SECTION] lines.
 *
 * There is no standard; this reads what the common tools agree on, and refuses what they read
 * differently. A section and a name make the key SECTION.NAME, both as they stand, so that
 * [db.pool] and size make db.pool.size. "=" or ":" ends the name. Comments begin with ; or # at the
 * beginning of a line or behind a blank. "Double quotes" know \n \r \t \" \\, 'single quotes' keep
 * what they hold; names and sections may stand in double quotes, too. Indenting means nothing, and
 * sections may come again. All values are text. */
#include "core/alloc.h"
#include "format/kinds.h"
#include "format/text.h"

#include <stdlib.h>

typedef struct ini_reader {
    mp__text t;
    mp__buf key; /* the section and a dot, then the name */
    size_t section_size;
    mp__buf value;
} ini_reader;

/* "..." at the present place, on one line, onto @out. */
static int read_double_quoted(mp__text *t, mp__buf *out)
{
    size_t begin = t->at++;

    for (;;) {
        int c = mp__text_peek(t);

        if (c == -1 || c == '\n')
            return mp__text_error(t, begin,
                                  "this quote is not closed on its line; a line break "
                                  "inside is written \\n");
        t->at++;
        if (c == '"')
            return out->error;
        if (c == '\\') {
            static const char from[] = "nrt\"\\", to[] = "\n\r\t\"\\";
            int escaped = mp__text_peek(t);
            const char *found = escaped > 0 ? strchr(from, escaped) : NULL;

            if (!found)
                return mp__text_error(t, t->at - 1,
                                      "an escape is one of \\n \\r \\t \\\" \\\\; a backslash "
                                      "alone is written \\\\");
            t->at++;
            c = (unsigned char)to[found - from];
        }
        (void)mp__buf_add_char(out, (char)c);
    }
}

static int read_single_quoted(mp__text *t, mp__buf *out)
{
    size_t begin = t->at++;

    while (mp__text_peek(t) != '\'') {
        if (mp__text_peek(t) == -1 || mp__text_peek(t) == '\n')
            return mp__text_error(t, begin,
                                  "this quote is not closed on its line; quote a text "
                                  "that holds one with \"");
        (void)mp__buf_add_char(out, (char)mp__text_peek(t));
        t->at++;
    }
    t->at++;
    return out->error;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool begins_comment(mp_str text, size_t at)
{
    return (text.data[at] == ';' || text.data[at] == '#') &&
           (at == 0 || is_blank(text.data[at - 1]));
}

/* A carriage return belongs to the line break behind it. */
static bool is_break(const mp__text *t)
{
    int c = mp__text_peek(t), next = mp__text_ahead(t, 1);

    return c == -1 || c == '\n' || (c == '\r' && (next == '\n' || next == -1));
}

/* Nothing but a comment may follow. */
static int line_end(const mp__text *t, const char *what)
{
    mp__text ahead = *t;
    int c;

    mp__text_skip_blanks(&ahead);
    c = mp__text_peek(&ahead);
    if (is_break(&ahead) || c == ';' || c == '#')
        return 0;
    return mp__text_expected(&ahead, what);
}

/* Where a section's name that begins at @at ends, which is before its ']': brackets inside come in
 * pairs (list[0]), a backslash takes away the meaning of what follows. False: it does not end. */
static bool section_end(mp_str text, size_t at, size_t *ret_end)
{
    int open = 0;

    for (; at < text.size && text.data[at] != '\n' && text.data[at] != '\r'; at++) {
        if (text.data[at] == ']' && open-- == 0)
            break;
        if (text.data[at] == '[')
            open++;
        else if (text.data[at] == '\\' && at + 1 < text.size && text.data[at + 1] != '\n')
            at++;
    }
    *ret_end = at;
    return at < text.size && text.data[at] == ']';
}

static int read_section(ini_reader *r)
{
    mp__text *t = &r->t;
    size_t begin = t->at++, end, first;
    int rc = 0;

    mp__buf_reset(&r->key);
    mp__text_skip_blanks(t);
    if (mp__text_peek(t) == '"') {
        rc = read_double_quoted(t, &r->key);
        mp__text_skip_blanks(t);
    } else {
        first = t->at;
        (void)section_end(t->bytes, first, &t->at);
        end = t->at;
        while (end > first && is_blank(t->bytes.data[end - 1]))
            end--;
        (void)mp__buf_add(&r->key, t->bytes.data + first, end - first);
    }
    if (rc)
        return rc;
    if (mp__text_peek(t) != ']')
        return mp__text_expected(t, "']' at the end of the section's name");
    if (r->key.size == 0)
        return mp__text_error(t, begin, "a section's name is expected between [ and ]");
    t->at++;
    (void)mp__buf_add_char(&r->key, '.');
    r->section_size = r->key.size;
    return r->key.error ? r->key.error : line_end(t, "the end of the line or a comment");
}

static int read_name(ini_reader *r)
{
    mp__text *t = &r->t;
    size_t first = t->at, end;
    int rc;

    if (mp__text_peek(t) == '"') {
        rc = read_double_quoted(t, &r->key);
        mp__text_skip_blanks(t);
        if (rc == 0 && mp__text_peek(t) != '=' && mp__text_peek(t) != ':')
            rc = mp__text_expected(t, "'=' after the name");
        if (rc == 0 && r->key.size == r->section_size)
            rc = mp__text_error(t, first, "a name is expected between the quotes");
        return rc;
    }
    while (!is_break(t) && mp__text_peek(t) != '=' && mp__text_peek(t) != ':')
        t->at++;
    for (end = t->at; end > first && is_blank(t->bytes.data[end - 1]);)
        end--;
    if (mp__text_peek(t) != '=' && mp__text_peek(t) != ':')
        return mp__text_expected(t, "'=' after the name");
    if (end == first)
        return mp__text_expected(t, "a name");
    return mp__buf_add(&r->key, t->bytes.data + first, end - first);
}

static int read_value(ini_reader *r)
{
    static const char nothing_more[] = "the end of the line behind the closing quote (quote the "
                                       "whole value, with \\\" inside)";
    mp__text *t = &r->t;
    int rc;

    mp__buf_reset(&r->value);
    mp__text_skip_blanks(t);
    if (mp__text_peek(t) == '"' || mp__text_peek(t) == '\'') {
        rc = mp__text_peek(t) == '"' ? read_double_quoted(t, &r->value)
                                     : read_single_quoted(t, &r->value);
        return rc ? rc : line_end(t, nothing_more);
    }
    for (; !is_break(t) && !begins_comment(t->bytes, t->at); t->at++) {
        if (mp__text_peek(t) == '\r')
            return mp__text_stray(t);
        (void)mp__buf_add_char(&r->value, (char)mp__text_peek(t));
    }
    while (r->value.size && is_blank(r->value.data[r->value.size - 1]))
        r->value.size--;
    return r->value.error;
}

static int read_assignment(ini_reader *r, mp__leaves *leaves)
{
    size_t at = r->t.at;
    int rc;

    r->key.size = r->section_size;
    rc = read_name(r);
    if (rc == 0) {
        r->t.at++;
        rc = read_value(r);
    }
    if (rc == MP_ELIMIT)
        return mp__text_limit(&r->t, at);
    if (rc == 0)
        return mp__text_add(&r->t, at, leaves, mp__buf_str(&r->key), mp__buf_str(&r->value),
                            MP__MEDIA_TEXT);
    return rc;
}

static int ini_parse(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag)
{
    /* A byte more than may be: what is too long is then refused by mp__text_add(). */
    ini_reader r = {.t = mp__text_begin(bytes, diag),
                    .key = {.size_max = 4 * MP__FORMAT_KEY_MAX},
                    .value = {.size_max = MP__FORMAT_VALUE_MAX + 1}};
    mp__leaves leaves = {0};
    int rc = 0;

    while (rc == 0 && mp__text_peek(&r.t) != -1) {
        int c;

        mp__text_skip_blanks(&r.t);
        c = mp__text_peek(&r.t);
        if (c == '[')
            rc = read_section(&r);
        else if (c != ';' && c != '#' && !is_break(&r.t))
            rc = read_assignment(&r, &leaves);
        if (rc == 0)
            rc = mp__text_skip_line(&r.t);
    }
    mp__buf_done(&r.key);
    mp__buf_done(&r.value);
    return mp__text_end(&r.t, rc, &leaves, ret_leaves);
}

/* ---- printing ---- */

typedef struct ini_line {
    const mp__leaf *leaf;
    size_t section_size; /* of the key; 0: it stands before the first section */
} ini_line;

static void add_quoted(mp__buf *out, mp_str text)
{
    (void)mp__buf_add_char(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];

        if (c == '\n' || c == '\r' || c == '\t' || c == '"' || c == '\\') {
            (void)mp__buf_add_char(out, '\\');
            c = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c;
        }
        (void)mp__buf_add_char(out, c);
    }
    (void)mp__buf_add_char(out, '"');
}

/* Whether @text begins or ends with a blank of Unicode (White_Space beyond ASCII, and the byte
 * order mark): for us a letter as any other, but readers that know Unicode, as Python's
 * configparser, take it away. */
static bool has_wide_blank(mp_str text)
{
    static const char *const blanks[] = {
        "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
        "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
        "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
        "\xef\xbb\xbf", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
    };

    for (size_t i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++) {
        size_t size = strlen(blanks[i]);

        if (size <= text.size && (memcmp(text.data, blanks[i], size) == 0 ||
                                  memcmp(text.data + text.size - size, blanks[i], size) == 0))
            return true;
    }
    return false;
}

/* Whether @text reads back the same without quotes: it neither begins nor ends with a blank, begins
 * with nothing that means something, and holds no control character. */
static bool is_plain(mp_str text, const char *not_first, const char *not_inside)
{
    if (text.size == 0)
        return true;
    if (is_blank(text.data[0]) || is_blank(text.data[text.size - 1]) ||
        strchr(not_first, text.data[0]) || has_wide_blank(text))
        return false;
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < 0x20 || strchr(not_inside, text.data[i]) ||
            (i && begins_comment(text, i)))
            return false;
    return true;
}

static size_t section_of(mp_str key)
{
    size_t found = 0;
    bool escaped = false;

    for (size_t i = 0; i < key.size; i++) {
        if (!escaped && key.data[i] == '.' && i)
            found = i;
        escaped = !escaped && key.data[i] == '\\';
    }
    return found + 1 < key.size ? found : 0;
}

static int line_compare(const void *a, const void *b)
{
    const ini_line *x = a, *y = b;
    mp_str s = mp_str_new(x->leaf->key.data, x->section_size);
    mp_str t = mp_str_new(y->leaf->key.data, y->section_size);
    size_t least = s.size < t.size ? s.size : t.size;
    int order = memcmp(s.data, t.data, least);

    if (order == 0)
        order = (s.size > t.size) - (s.size < t.size);
    if (order)
        return order;
    return (x->leaf > y->leaf) - (x->leaf < y->leaf); /* they are sorted already */
}

/* Written without quotes if it then reads back as it is. */
static void print_section(mp__buf *out, mp_str name)
{
    size_t begin, end;

    (void)mp__buf_add_str(out, out->size ? MP_STR("\n[") : MP_STR("["));
    begin = out->size;
    (void)mp__buf_add_str(out, name);
    (void)mp__buf_add_char(out, ']');
    if (!is_plain(name, "\"", "") || !section_end(mp__buf_str(out), begin, &end) ||
        end - begin != name.size) {
        out->size = begin;
        add_quoted(out, name);
        (void)mp__buf_add_char(out, ']');
    }
    (void)mp__buf_add_char(out, '\n');
}

static void print_line(mp__buf *out, const ini_line *line)
{
    size_t skip = line->section_size ? line->section_size + 1 : 0;
    mp_str name = mp_str_new(line->leaf->key.data + skip, line->leaf->key.size - skip);

    if (is_plain(name, "\"[;#", "=:"))
        (void)mp__buf_add_str(out, name);
    else
        add_quoted(out, name);
    (void)mp__buf_add_str(out, line->leaf->value.size ? MP_STR(" = ") : MP_STR(" ="));
    if (is_plain(line->leaf->value, "\"';#", ""))
        (void)mp__buf_add_str(out, line->leaf->value);
    else
        add_quoted(out, line->leaf->value);
    (void)mp__buf_add_char(out, '\n');
}

static int ini_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag)
{
    ini_line *lines = mp__calloc(leaves->count + 1, sizeof(*lines));
    mp_str section = {0};

    (void)diag;
    if (!lines)
        return MP_ENOMEM;
    for (size_t i = 0; i < leaves->count; i++)
        lines[i] = (ini_line){&leaves->items[i], section_of(leaves->items[i].key)};
    qsort(lines, leaves->count, sizeof(*lines), line_compare);
    for (size_t i = 0; i < leaves->count; i++) {
        mp_str here = mp_str_new(lines[i].leaf->key.data, lines[i].section_size);

        if (!mp_str_equal(here, section))
            print_section(out, here);
        section = here;
        print_line(out, &lines[i]);
    }
    (void)mp__free(lines);
    return out->error;
}

static const char *const ini_extensions[] = {".ini", ".cfg", NULL};

const mp__format mp__format_ini = {
    "ini", ini_extensions, "text/x-ini", true, ini_parse, ini_print,
};
