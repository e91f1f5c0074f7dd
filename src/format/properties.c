/* SPDX-License-Identifier: Apache-2.0 */
/* Java properties, as java.util.Properties.load() documents them.
 *
 * The first unescaped "=", ":" or blank ends the name; a backslash at the end of a line continues
 * it; \t \n \r \f and \uXXXX are escapes, a backslash before anything else goes away. A file that
 * is UTF-8 as a whole is read as such, any other as ISO-8859-1, as PropertyResourceBundle does;
 * what is printed is ASCII, which both read alike. Names are keys as they stand: db.hosts[0]. A
 * name that is there twice is refused, where Java keeps the last. All values are text. */
#include "format/kinds.h"
#include "format/text.h"

typedef struct properties_reader {
    mp__text t;
    bool is_latin1;
    mp__buf key, value;
} properties_reader;

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static void skip_blanks(mp__text *t)
{
    while (is_blank(mp__text_peek(t)))
        t->at++;
}

/* A line break at the present place, \n, \r or \r\n, is taken. */
static bool take_break(mp__text *t)
{
    int c = mp__text_peek(t);

    if (c != '\n' && c != '\r')
        return false;
    t->at += c == '\r' && mp__text_ahead(t, 1) == '\n' ? 2 : 1;
    mp__text_line(t);
    return true;
}

/* A backslash before a line break: the text goes on behind the blanks of the next line. */
static bool take_continuation(mp__text *t)
{
    if (mp__text_peek(t) != '\\' || (mp__text_ahead(t, 1) != '\n' && mp__text_ahead(t, 1) != '\r'))
        return false;
    t->at++;
    (void)take_break(t);
    skip_blanks(t);
    return true;
}

static bool read_unit(const mp__text *t, size_t ahead, uint32_t *ret_unit)
{
    uint32_t unit = 0;

    for (size_t i = 0; i < 4; i++) {
        int c = mp__text_ahead(t, ahead + i);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0)
            return false;
        unit = unit << 4 | (uint32_t)digit;
    }
    *ret_unit = unit;
    return true;
}

/* \uXXXX, or two of them that are one character beyond U+FFFF. */
static int read_unicode(mp__text *t, mp__buf *out)
{
    uint32_t code, low;
    size_t size = 6;

    if (!read_unit(t, 2, &code))
        return mp__text_error(t, t->at, "\\u is followed by four hexadecimal digits");
    if (code >= 0xd800 && code < 0xdc00 && mp__text_ahead(t, 6) == '\\' &&
        mp__text_ahead(t, 7) == 'u' && read_unit(t, 8, &low) && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        size = 12;
    }
    if (!mp__utf8_add(out, code))
        return mp__text_error(t, t->at, "half of a character: \\u%04x comes in pairs only",
                              (unsigned)code);
    t->at += size;
    return 0;
}

static void read_plain(properties_reader *r, mp__buf *out)
{
    unsigned char c = (unsigned char)r->t.bytes.data[r->t.at++];

    if (r->is_latin1)
        (void)mp__utf8_add(out, c);
    else
        (void)mp__buf_add_char(out, (char)c);
}

static int read_escape(properties_reader *r, mp__buf *out)
{
    static const char from[] = "tnrf", to[] = "\t\n\r\f";
    int c = mp__text_ahead(&r->t, 1);
    const char *found = c > 0 ? strchr(from, c) : NULL;

    if (c == 'u')
        return read_unicode(&r->t, out);
    r->t.at++;
    if (!found && c != -1) {
        read_plain(r, out);
    } else if (found) {
        r->t.at++;
        (void)mp__buf_add_char(out, to[found - from]);
    }
    return 0;
}

/* Up to the end of the logical line, or one of @ends. */
static int read_text(properties_reader *r, const char *ends, mp__buf *out)
{
    mp__text *t = &r->t;
    int rc = 0;

    mp__buf_reset(out);
    while (rc == 0 && mp__text_peek(t) != -1 && mp__text_peek(t) != '\n' &&
           mp__text_peek(t) != '\r') {
        int c = mp__text_peek(t);

        if (take_continuation(t))
            continue;
        if (c > 0 && strchr(ends, c))
            break;
        if (c == '\\')
            rc = read_escape(r, out);
        else
            read_plain(r, out);
    }
    return rc ? rc : out->error;
}

static int read_assignment(properties_reader *r, mp__leaves *leaves)
{
    mp__text *t = &r->t, begin = *t;
    int rc = read_text(r, "=: \t\f", &r->key);

    if (rc == 0 && r->key.size == 0)
        return mp__text_expected(&begin, "a name");
    while (rc == 0 && (is_blank(mp__text_peek(t)) || take_continuation(t)))
        skip_blanks(t);
    if (rc == 0 && (mp__text_peek(t) == '=' || mp__text_peek(t) == ':')) {
        t->at++;
        while (is_blank(mp__text_peek(t)) || take_continuation(t))
            skip_blanks(t);
    }
    if (rc == 0)
        rc = read_text(r, "", &r->value);
    if (rc == MP_ELIMIT)
        return mp__text_limit(&begin, begin.at);
    if (rc == 0)
        return mp__text_add(&begin, begin.at, leaves, mp__buf_str(&r->key), mp__buf_str(&r->value),
                            MP__MEDIA_TEXT);
    return rc;
}

static void skip_comment(mp__text *t)
{
    while (mp__text_peek(t) != -1 && mp__text_peek(t) != '\n' && mp__text_peek(t) != '\r')
        t->at++;
}

static int properties_parse(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag)
{
    properties_reader r = {.t = mp__text_begin(bytes, diag),
                           .is_latin1 = !mp__is_utf8(bytes),
                           .key = {.size_max = 4 * MP__FORMAT_KEY_MAX},
                           .value = {.size_max = MP__FORMAT_VALUE_MAX + 1}};
    mp__leaves leaves = {0};
    int rc = 0;

    while (rc == 0 && mp__text_peek(&r.t) != -1) {
        skip_blanks(&r.t);
        if (mp__text_peek(&r.t) == '#' || mp__text_peek(&r.t) == '!')
            skip_comment(&r.t);
        else if (mp__text_peek(&r.t) != -1 && !take_break(&r.t))
            rc = read_assignment(&r, &leaves);
    }
    mp__buf_done(&r.key);
    mp__buf_done(&r.value);
    return mp__text_end(&r.t, rc, &leaves, ret_leaves);
}

/* ---- printing ---- */

static void add_units(mp__buf *out, uint32_t code)
{
    if (code < 0x10000) {
        (void)mp__buf_printf(out, "\\u%04X", (unsigned)code);
        return;
    }
    code -= 0x10000;
    (void)mp__buf_printf(out, "\\u%04X\\u%04X", (unsigned)(0xd800 + (code >> 10)),
                         (unsigned)(0xdc00 + (code & 0x3ff)));
}

/* The code point of the UTF-8 sequence of @size bytes. */
static uint32_t code_of(const unsigned char *p, size_t size)
{
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = p[0] & masks[size];

    for (size_t i = 1; i < size; i++)
        code = code << 6 | (p[i] & 0x3f);
    return code;
}

/* @text with what would mean something escaped; false: it is no text. */
static bool add_text(mp__buf *out, mp_str text, bool is_name)
{
    const unsigned char *p = (const unsigned char *)text.data;

    for (size_t at = 0; at < text.size;) {
        size_t size = p[at] < 0x80 ? 1 : mp__utf8_size(p + at, text.size - at);
        char c = text.data[at];

        if (size == 0)
            return false;
        if (c == '\t' || c == '\n' || c == '\r' || c == '\f')
            (void)mp__buf_printf(out, "\\%c",
                                 c == '\t'   ? 't'
                                 : c == '\n' ? 'n'
                                 : c == '\r' ? 'r'
                                             : 'f');
        else if (size > 1 || p[at] < 0x20 || p[at] == 0x7f)
            add_units(out, code_of(p + at, size));
        else if (c == '\\' || (is_name && strchr("=:#! ", c)) || (c == ' ' && at == 0))
            (void)mp__buf_printf(out, "\\%c", c);
        else
            (void)mp__buf_add_char(out, c);
        at += size;
    }
    return true;
}

static int properties_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag)
{
    for (size_t i = 0; i < leaves->count; i++) {
        const mp__leaf *leaf = &leaves->items[i];
        bool good = add_text(out, leaf->key, true);

        (void)mp__buf_add_char(out, '=');
        if (!good || !add_text(out, leaf->value, false))
            return mp__diag_set(diag, MP_EINVAL,
                                "'%.*s' is no UTF-8 text, which properties must be",
                                (int)leaf->key.size, leaf->key.data);
        (void)mp__buf_add_char(out, '\n');
    }
    return out->error;
}

static const char *const properties_extensions[] = {".properties", NULL};

const mp__format mp__format_properties = {
    "properties", properties_extensions, "text/x-java-properties",
    true,         properties_parse,      properties_print,
};
