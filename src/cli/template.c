/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/base64.h"
#include "core/json.h"

enum { TEXT_MAX = 8 * 1024 * 1024, DEPTH_MAX = 64, WORD_MAX = 4096 };

enum node_kind { NODE_TEXT, NODE_VALUE, NODE_IF, NODE_ELSE, NODE_RANGE, NODE_END };
enum operand { OPERAND_KEY, OPERAND_LITERAL, OPERAND_FIELD };
enum filter { FILTER_JSON, FILTER_SHELL, FILTER_UPPER, FILTER_LOWER, FILTER_TRIM, FILTER_BASE64 };
enum field { FIELD_KEY, FIELD_NAME, FIELD_VALUE };

enum { FILTERS_MAX = 6 };

typedef struct node {
    enum node_kind kind;
    size_t at; /* where it begins in the template */
    enum operand operand;
    enum field field;
    mp_str text; /* of TEXT, key, prefix or literal; in the template's memory */
    mp_str or_else;
    bool has_default;
    uint8_t filters[FILTERS_MAX], filter_count;
    size_t other, end; /* of IF: its ELSE or END, its END; of RANGE and ELSE: the END */
} node;

struct mp__template {
    char *text; /* a copy; literals are unescaped in place */
    size_t size;
    mp_str source; /* an untouched copy behind it, for line and column */
    node *nodes;
    size_t count, capacity;
};

/* ---- places ---- */

static int fail_at(const mp__template *t, size_t at, mp__diag *diag, int error, const char *format,
                   ...) __attribute__((format(printf, 5, 6)));

static int fail_at(const mp__template *t, size_t at, mp__diag *diag, int error, const char *format,
                   ...)
{
    int line = 1, column = 1;
    char text[400];
    va_list args;

    for (size_t i = 0; i < at && i < t->source.size; i++) {
        column = t->source.data[i] == '\n' ? 1 : column + 1;
        line += t->source.data[i] == '\n';
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return mp__diag_at(diag, error, line, column, "%s", text);
}

/* ---- reading ---- */

typedef struct reader {
    mp__template *t;
    size_t at, end; /* of the action that is read: behind {{ and before }} */
    size_t blocks[DEPTH_MAX];
    size_t depth;
    mp__diag *diag;
} reader;

typedef struct word {
    mp_str text;
    bool quoted;
    size_t at;
} word;

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static node *add_node(reader *r, enum node_kind kind, size_t at)
{
    mp__template *t = r->t;

    if (mp__grow(&t->nodes, t->count, &t->capacity, sizeof(*t->nodes)) != 0)
        return NULL;
    t->nodes[t->count] = (node){.kind = kind, .at = at};
    return &t->nodes[t->count++];
}

static void skip_space(reader *r)
{
    while (r->at < r->end && is_space(r->t->text[r->at]))
        r->at++;
}

/* A text in double quotes, unescaped where it stands. */
static int read_quoted(reader *r, word *ret_word)
{
    char *text = r->t->text;
    size_t to = r->at + 1, from = to;

    for (; from < r->end && text[from] != '"'; from++) {
        char c = text[from];

        if (c == '\\' && from + 1 < r->end) {
            c = text[++from];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        text[to++] = c;
    }
    *ret_word = (word){mp_str_new(text + r->at + 1, to - r->at - 1), true, r->at};
    r->at = from + 1; /* the end of the action was looked for outside of quotes, so there is one */
    return 0;
}

/* The next word of the action, or a single '|'; size 0 at its end. */
static int next_word(reader *r, word *ret_word)
{
    const char *text = r->t->text;
    size_t begin;

    skip_space(r);
    begin = r->at;
    if (r->at < r->end && text[r->at] == '"')
        return read_quoted(r, ret_word);
    if (r->at < r->end && text[r->at] == '|')
        r->at++;
    else
        while (r->at < r->end && !is_space(text[r->at]) && text[r->at] != '|')
            r->at++;
    *ret_word = (word){mp_str_new(text + begin, r->at - begin), false, begin};
    if (r->at - begin > WORD_MAX)
        return fail_at(r->t, begin, r->diag, MP_ELIMIT, "a word of more than 4,096 bytes");
    return 0;
}

static bool word_is(const word *w, const char *text)
{
    return !w->quoted && mp_str_equal(w->text, mp_str_of(text));
}

static int read_filter(reader *r, node *n)
{
    static const char *const names[] = {"json", "shell", "upper", "lower", "trim", "base64"};
    word w;
    int rc = next_word(r, &w);

    if (rc)
        return rc;
    if (word_is(&w, "default")) {
        rc = next_word(r, &w);
        if (rc == 0 && !w.quoted)
            return fail_at(r->t, w.at, r->diag, MP_ESYNTAX,
                           "default needs a text in double quotes, as in | default \"none\"");
        n->or_else = w.text;
        n->has_default = true;
        return rc;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (word_is(&w, names[i])) {
            if (n->filter_count == FILTERS_MAX)
                return fail_at(r->t, w.at, r->diag, MP_ELIMIT, "more than six filters");
            n->filters[n->filter_count++] = (uint8_t)i;
            return 0;
        }
    return fail_at(
        r->t, w.at, r->diag, MP_ESYNTAX,
        "'%.*s' is no filter; there are default, json, shell, upper, lower, trim, base64",
        (int)w.text.size, w.text.data);
}

/* A key, a field of the range around, or a literal, and what is behind the bars. */
static int read_expression(reader *r, node *n, word w)
{
    static const char *const fields[] = {".key", ".name", ".value"};
    int rc = 0;

    if (word_is(&w, "get")) {
        rc = next_word(r, &w);
        if (rc)
            return rc;
        if (!w.quoted)
            return fail_at(r->t, w.at, r->diag, MP_ESYNTAX, "get needs a key in double quotes");
        w.quoted = false;
    }
    n->text = w.text;
    n->operand = w.quoted ? OPERAND_LITERAL : OPERAND_KEY;
    for (size_t i = 0; i < 3; i++)
        if (word_is(&w, fields[i])) {
            n->operand = OPERAND_FIELD;
            n->field = (enum field)i;
        }
    if (w.text.size == 0 && !w.quoted)
        return fail_at(r->t, w.at, r->diag, MP_ESYNTAX, "a key is missing");
    for (;;) {
        rc = next_word(r, &w);
        if (rc || (w.text.size == 0 && !w.quoted))
            return rc;
        if (!word_is(&w, "|"))
            return fail_at(r->t, w.at, r->diag, MP_ESYNTAX,
                           "'%.*s' is one word too many; put a | before a filter", (int)w.text.size,
                           w.text.data);
        rc = read_filter(r, n);
        if (rc)
            return rc;
    }
}

static int open_block(reader *r, size_t at)
{
    if (r->depth == DEPTH_MAX)
        return fail_at(r->t, at, r->diag, MP_ELIMIT, "more than 64 blocks in one another");
    r->blocks[r->depth++] = r->t->count - 1;
    return 0;
}

static int no_more_words(reader *r)
{
    word w;
    int rc = next_word(r, &w);

    if (rc == 0 && (w.text.size || w.quoted))
        return fail_at(r->t, w.at, r->diag, MP_ESYNTAX, "'%.*s' is one word too many",
                       (int)w.text.size, w.text.data);
    return rc;
}

static int read_else(reader *r, size_t at)
{
    size_t block = r->depth ? r->blocks[r->depth - 1] : 0;
    const node *n = r->depth ? &r->t->nodes[block] : NULL;

    if (!n || n->kind != NODE_IF || n->other)
        return fail_at(r->t, at, r->diag, MP_ESYNTAX, "else without an if");
    if (!add_node(r, NODE_ELSE, at))
        return MP_ENOMEM;
    r->t->nodes[block].other = r->t->count - 1;
    return no_more_words(r);
}

static int read_end(reader *r, size_t at)
{
    size_t block, end;

    if (r->depth == 0)
        return fail_at(r->t, at, r->diag, MP_ESYNTAX, "end without an if or range");
    if (!add_node(r, NODE_END, at))
        return MP_ENOMEM;
    block = r->blocks[--r->depth];
    end = r->t->count - 1;
    r->t->nodes[block].end = end;
    if (r->t->nodes[block].kind == NODE_IF) {
        if (r->t->nodes[block].other)
            r->t->nodes[r->t->nodes[block].other].end = end;
        else
            r->t->nodes[block].other = end;
    }
    return no_more_words(r);
}

/* What stands between {{ and }}. */
static int read_action(reader *r, size_t at)
{
    word w;
    int rc = next_word(r, &w);
    node *n;

    if (rc)
        return rc;
    if (word_is(&w, "else"))
        return read_else(r, at);
    if (word_is(&w, "end"))
        return read_end(r, at);
    n = add_node(r,
                 word_is(&w, "if")      ? NODE_IF
                 : word_is(&w, "range") ? NODE_RANGE
                                        : NODE_VALUE,
                 at);
    if (!n)
        return MP_ENOMEM;
    if (n->kind == NODE_VALUE)
        return read_expression(r, n, w);
    rc = next_word(r, &w);
    if (rc == 0)
        rc = read_expression(r, n, w);
    if (rc == 0 && n->kind == NODE_RANGE && n->operand == OPERAND_FIELD)
        return fail_at(r->t, w.at, r->diag, MP_ESYNTAX, "range needs a prefix");
    return rc ? rc : open_block(r, at);
}

static int add_text(reader *r, size_t from, size_t to, bool trim_before, bool trim_behind)
{
    node *n;

    while (trim_before && from < to && is_space(r->t->text[from]))
        from++;
    while (trim_behind && from < to && is_space(r->t->text[to - 1]))
        to--;
    if (from == to)
        return 0;
    n = add_node(r, NODE_TEXT, from);
    if (!n)
        return MP_ENOMEM;
    n->text = mp_str_new(r->t->text + from, to - from);
    return 0;
}

/* Where the action that begins at @at (at its braces) has its closing braces; 0: nowhere. */
static size_t action_end(const mp__template *t, size_t at)
{
    bool quoted = false;

    if (t->size - at >= 4 && memcmp(t->text + at, "{{/*", 4) == 0) {
        const char *end = memmem(t->text + at, t->size - at, "*/}}", 4);

        return end ? (size_t)(end - t->text) + 2 : 0;
    }
    for (size_t i = at + 2; i + 1 < t->size; i++) {
        if (quoted && t->text[i] == '\\')
            i++;
        else if (t->text[i] == '"')
            quoted = !quoted;
        else if (!quoted && t->text[i] == '}' && t->text[i + 1] == '}')
            return i;
    }
    return 0;
}

static int read_all(reader *r)
{
    mp__template *t = r->t;
    size_t from = 0;
    bool trim = false;

    for (;;) {
        const char *open = memmem(t->text + from, t->size - from, "{{", 2);
        size_t at = open ? (size_t)(open - t->text) : t->size, end;
        bool trim_before = at + 3 < t->size && t->text[at + 2] == '-' && is_space(t->text[at + 3]);
        int rc = add_text(r, from, at, trim, trim_before);

        if (rc || !open)
            return rc;
        end = action_end(t, at);
        if (!end)
            return fail_at(t, at, r->diag, MP_ESYNTAX,
                           "{{ without }}; write {{\"{{\"}} for the "
                           "braces themselves");
        r->at = at + 2 + (trim_before ? 1 : 0);
        trim = end > r->at + 1 && t->text[end - 1] == '-' && is_space(t->text[end - 2]);
        r->end = end - (trim ? 1 : 0);
        rc = t->text[r->at] == '/' && t->text[r->at + 1] == '*' ? 0 : read_action(r, at);
        if (rc)
            return rc;
        from = end + 2;
    }
}

int mp__template_new(mp_str text, mp__template **ret_template, mp__diag *diag)
{
    mp__template *t;
    reader r = {.diag = diag};
    int rc;

    if (text.size > TEXT_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "the template has more than 8 MiB");
    t = mp__calloc(1, sizeof(*t));
    if (!t)
        return MP_ENOMEM;
    t->text = mp__malloc(2 * text.size + 1);
    if (!t->text) {
        (void)mp__template_free(t);
        return MP_ENOMEM;
    }
    if (text.size) {
        memcpy(t->text, text.data, text.size);
        memcpy(t->text + text.size, text.data, text.size);
    }
    t->size = text.size;
    t->source = mp_str_new(t->text + text.size, text.size);
    r.t = t;
    rc = read_all(&r);
    if (rc == 0 && r.depth)
        rc = fail_at(t, t->nodes[r.blocks[r.depth - 1]].at, diag, MP_ESYNTAX,
                     "this block has no {{end}}");
    if (rc) {
        (void)mp__template_free(t);
        return rc;
    }
    *ret_template = t;
    return 0;
}

mp__template *mp__template_free(mp__template *template_)
{
    if (template_) {
        (void)mp__free(template_->nodes);
        (void)mp__free(template_->text);
        (void)mp__free(template_);
    }
    return NULL;
}

/* ---- filters ---- */

/* Single quotes keep all but themselves (POSIX shell, 2.2.2). */
static void filter_shell(mp_str in, mp__buf *out)
{
    (void)mp__buf_add_char(out, '\'');
    for (size_t i = 0; i < in.size; i++)
        if (in.data[i] == '\'')
            (void)mp__buf_add_str(out, MP_STR("'\\''"));
        else
            (void)mp__buf_add_char(out, in.data[i]);
    (void)mp__buf_add_char(out, '\'');
}

static void filter_case(mp_str in, char first, char last, mp__buf *out)
{
    for (size_t i = 0; i < in.size; i++) {
        char c = in.data[i];

        (void)mp__buf_add_char(out, (char)(c >= first && c <= last ? c ^ 0x20 : c));
    }
}

static void filter_trim(mp_str in, mp__buf *out)
{
    while (in.size && is_space(in.data[0]))
        in = mp_str_new(in.data + 1, in.size - 1);
    while (in.size && is_space(in.data[in.size - 1]))
        in.size--;
    (void)mp__buf_add_str(out, in);
}

static void apply(enum filter filter, mp_str in, mp__buf *out)
{
    switch (filter) {
    case FILTER_JSON:
        mp__json_string(out, in);
        break;
    case FILTER_SHELL:
        filter_shell(in, out);
        break;
    case FILTER_UPPER:
        filter_case(in, 'a', 'z', out);
        break;
    case FILTER_LOWER:
        filter_case(in, 'A', 'Z', out);
        break;
    case FILTER_TRIM:
        filter_trim(in, out);
        break;
    case FILTER_BASE64:
        mp__base64_add(out, in, false);
        break;
    }
}

/* ---- rendering ---- */

typedef struct scope {
    mp_str fields[3];
} scope;

typedef struct renderer {
    const mp__template *t;
    const mp__template_source *source;
    const scope *scope; /* of the innermost range, or NULL */
    mp__buf *out;
    mp__diag *diag;
    size_t from, to; /* of the range at work */
} renderer;

/* The text of an expression into @out; MP_EABSENT when there is none and no default. */
static int evaluate(const renderer *r, const node *n, mp__buf *out)
{
    int rc = 0;

    if (n->operand == OPERAND_LITERAL)
        rc = mp__buf_add_str(out, n->text);
    else if (n->operand == OPERAND_FIELD && r->scope)
        rc = mp__buf_add_str(out, r->scope->fields[n->field]);
    else if (n->operand == OPERAND_FIELD)
        return fail_at(r->t, n->at, r->diag, MP_ESYNTAX,
                       ".key, .name and .value are only inside a range");
    else
        rc = r->source->get(r->source->context, n->text, out, r->diag);
    if (rc == MP_EABSENT && n->has_default)
        rc = mp__buf_add_str(out, n->or_else);
    for (size_t i = 0; rc == 0 && i < n->filter_count; i++) {
        mp__buf filtered = MP__BUF_INIT;

        if (n->filters[i] == FILTER_JSON && !mp__is_utf8(mp__buf_str(out)))
            return fail_at(r->t, n->at, r->diag, MP_EINVAL,
                           "the value is no UTF-8, of which JSON is made; base64 takes any bytes");
        apply((enum filter)n->filters[i], mp__buf_str(out), &filtered);
        mp__buf_done(out);
        *out = filtered;
        rc = out->error;
    }
    return rc;
}

/* Give the error of a look-up its place. */
static int with_place(const renderer *r, const node *n, int rc)
{
    char said[sizeof(r->diag->text)] = "";

    if (!r->diag || r->diag->line) /* what a block around would say is known better inside */
        return rc;
    if (rc == MP_EABSENT)
        return fail_at(r->t, n->at, r->diag, rc,
                       "there is no value at %.*s; set it, or give a | default \"...\"",
                       (int)n->text.size, n->text.data);
    memcpy(said, r->diag->text, sizeof(said));
    return fail_at(r->t, n->at, r->diag, rc, "%s", said[0] ? said : mp_strerror(rc));
}

static int render_value(const renderer *r, const node *n)
{
    mp__buf value = MP__BUF_INIT;
    int rc = evaluate(r, n, &value);

    if (rc == 0)
        rc = mp__buf_add_str(r->out, mp__buf_str(&value));
    else
        rc = with_place(r, n, rc);
    mp__buf_done(&value);
    return rc;
}

/* Present, and not one of the words that say no. */
static int test(const renderer *r, const node *n, bool *ret_true)
{
    static const char *const no[] = {"", "0", "false", "no", "off", "null"};
    mp__buf value = MP__BUF_INIT;
    int rc = evaluate(r, n, &value);

    *ret_true = rc == 0;
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        if (mp_str_equal(mp__buf_str(&value), mp_str_of(no[i])))
            *ret_true = false;
    mp__buf_done(&value);
    return rc == 0 || rc == MP_EABSENT ? 0 : with_place(r, n, rc);
}

static int render_span(renderer *r, size_t from, size_t to);

static int render_item(void *context, mp_str key, mp_str name, mp_str value)
{
    renderer *outer = context, r = *outer;
    scope s = {{key, name, value}};

    r.scope = &s;
    return render_span(&r, outer->from, outer->to);
}

static int render_range(renderer *r, size_t i)
{
    const node *n = &r->t->nodes[i];
    renderer inner = *r;
    int rc;

    inner.from = i + 1;
    inner.to = n->end;
    rc = r->source->range(r->source->context, n->text, render_item, &inner, r->diag);
    return rc ? with_place(r, n, rc) : 0;
}

static int render_span(renderer *r, size_t from, size_t to)
{
    int rc = 0;

    for (size_t i = from; i < to && rc == 0; i++) {
        const node *n = &r->t->nodes[i];
        bool is_true;

        switch (n->kind) {
        case NODE_TEXT:
            rc = mp__buf_add_str(r->out, n->text);
            break;
        case NODE_VALUE:
            rc = render_value(r, n);
            break;
        case NODE_IF:
            rc = test(r, n, &is_true);
            if (rc == 0 && !is_true)
                i = n->other;
            break;
        case NODE_ELSE: /* reached behind a branch that was taken */
            i = n->end;
            break;
        case NODE_RANGE:
            rc = render_range(r, i);
            i = n->end;
            break;
        case NODE_END:
            break;
        }
    }
    return rc;
}

int mp__template_render(const mp__template *template_, const mp__template_source *source,
                        mp__buf *out, mp__diag *diag)
{
    renderer r = {.t = template_, .source = source, .out = out, .diag = diag};

    return render_span(&r, 0, template_->count);
}

void mp__template_names(const mp__template *template_,
                        void (*each)(void *context, mp_str name, bool is_prefix), void *context)
{
    for (size_t i = 0; i < template_->count; i++) {
        const node *n = &template_->nodes[i];

        if (n->kind == NODE_RANGE)
            each(context, n->text, true);
        else if ((n->kind == NODE_VALUE || n->kind == NODE_IF) && n->operand == OPERAND_KEY)
            each(context, n->text, false);
    }
}
