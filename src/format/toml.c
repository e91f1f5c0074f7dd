/* SPDX-License-Identifier: Apache-2.0 */
/* TOML 1.0.0 (toml.io/en/v1.0.0), the whole of it.
 *
 * Dates, times, inf and nan, which JSON has not, keep their text with the media type
 * application/toml, so that they come back as what they were. Refused, since no key of ours can say
 * it, are empty names and names with control characters; and numbers beyond 64 bits.
 *
 * Names are nodes in one table, hashed by parent and name, since the rules about what may be said
 * once and what again are about tables. Values become leaves as they are read. */
#include "format/toml.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "format/kinds.h"

enum { NODES_MAX = 2 * MP__FORMAT_LEAVES_MAX, ROOT = 0 };
#define NOBODY UINT32_MAX

enum kind {
    TABLE,
    LIST,  /* of tables, by [[name]] */
    VALUE, /* also an array or an inline table that was read: nothing is added to them */
};

typedef struct node {
    uint32_t parent, hash;
    uint32_t name_size;
    size_t name_at;    /* in toml_reader.names */
    uint32_t count;    /* LIST: how many elements */
    uint32_t last;     /* LIST: the newest element */
    uint32_t dotted;   /* TABLE: the section whose dotted names made it or put into it */
    uint8_t kind;      /* enum kind */
    bool is_defined;   /* TABLE: by a [header] of its own */
    bool has_children; /* if not, it is the value {} */
    bool is_element;   /* of a LIST: its name is its index */
    int line, column;
} node;

typedef struct toml_reader {
    mp__text t;
    mp__leaves leaves;
    node *nodes;
    uint32_t node_count, node_capacity;
    uint32_t *slots; /* of nodes; NOBODY: free */
    uint32_t slot_count, used;
    mp__hash_key key;
    mp__buf names;              /* of all nodes */
    mp__buf path;               /* the key of where we are */
    mp__buf name;               /* the part of a name that was just read */
    mp__buf value;              /* the text or the word */
    unsigned depth;             /* steps in the path */
    uint32_t section, sections; /* a number for each header and each inline table; 0: none */
} toml_reader;

/* ---- nodes ---- */

static mp_str node_name(const toml_reader *r, const node *n)
{
    return mp_str_new(r->names.data + n->name_at, n->name_size);
}

static uint32_t hash_of(const toml_reader *r, uint32_t parent, mp_str name)
{
    mp__hash_key key = {r->key.k0 ^ parent, r->key.k1};

    return (uint32_t)mp__hash_str(key, name);
}

static uint32_t node_find(const toml_reader *r, uint32_t parent, mp_str name)
{
    uint32_t hash = hash_of(r, parent, name);

    if (r->slot_count == 0)
        return NOBODY;
    for (uint32_t i = hash & (r->slot_count - 1);; i = (i + 1) & (r->slot_count - 1)) {
        const node *n;

        if (r->slots[i] == NOBODY)
            return NOBODY;
        n = &r->nodes[r->slots[i]];
        if (n->hash == hash && n->parent == parent && mp_str_equal(node_name(r, n), name))
            return r->slots[i];
    }
}

static void slot_take(toml_reader *r, uint32_t index)
{
    uint32_t i = r->nodes[index].hash & (r->slot_count - 1);

    while (r->slots[i] != NOBODY)
        i = (i + 1) & (r->slot_count - 1);
    r->slots[i] = index;
    r->used++;
}

static int slots_grow(toml_reader *r)
{
    uint32_t count = r->slot_count ? r->slot_count * 2 : 64, *old = r->slots;
    uint32_t *slots, old_count = r->slot_count;

    if (r->used + 1 <= r->slot_count / 2)
        return 0;
    slots = mp__realloc_array(NULL, count, sizeof(*slots));
    if (!slots)
        return MP_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        slots[i] = NOBODY;
    r->slots = slots;
    r->slot_count = count;
    r->used = 0;
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i] != NOBODY)
            slot_take(r, old[i]);
    (void)mp__free(old);
    return 0;
}

/* A new child of @parent, with a name that node_find() finds, or without. */
static int node_add(toml_reader *r, uint32_t parent, const mp_str *name, enum kind kind,
                    const mp__text *at, uint32_t *ret_node)
{
    node n = {.parent = parent,
              .name_at = r->names.size,
              .kind = (uint8_t)kind,
              .line = at->line,
              .column = mp__text_column(at, at->at)};

    if (r->node_count >= NODES_MAX)
        return mp__text_limit(at, at->at);
    if (r->node_count == r->node_capacity) {
        uint32_t capacity = r->node_capacity ? r->node_capacity * 2 : 64;
        node *nodes = mp__realloc_array(r->nodes, capacity, sizeof(*nodes));

        if (!nodes)
            return MP_ENOMEM;
        r->nodes = nodes;
        r->node_capacity = capacity;
    }
    if (name) {
        n.name_size = (uint32_t)name->size;
        n.hash = hash_of(r, parent, *name);
        if (slots_grow(r) != 0 || mp__buf_add_str(&r->names, *name) != 0)
            return MP_ENOMEM;
    }
    r->nodes[r->node_count] = n;
    if (name)
        slot_take(r, r->node_count);
    if (parent != NOBODY)
        r->nodes[parent].has_children = true;
    *ret_node = r->node_count++;
    return 0;
}

static int there_already(const toml_reader *r, const mp__text *at, uint32_t index)
{
    static const char *const kinds[] = {"a table", "a list of tables", "a value"};
    const node *n = &r->nodes[index];

    return mp__text_error(at, at->at, "'%.*s' is %s already, since line %d",
                          (int)(r->path.size < 120 ? r->path.size : 120), r->path.data,
                          kinds[n->kind], n->line);
}

/* ---- white space and comments ---- */

static bool is_break(const mp__text *t)
{
    return mp__text_peek(t) == '\n' || (mp__text_peek(t) == '\r' && mp__text_ahead(t, 1) == '\n');
}

static bool is_control(int c)
{
    return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f;
}

static int skip_comment(mp__text *t)
{
    mp__text_skip_blanks(t);
    if (mp__text_peek(t) != '#')
        return 0;
    for (; mp__text_peek(t) != -1 && !is_break(t); t->at++)
        if (is_control(mp__text_peek(t)))
            return mp__text_error(t, t->at, "a comment may not hold the control character 0x%02x",
                                  (unsigned)mp__text_peek(t));
    return 0;
}

static void take_break(mp__text *t)
{
    t->at += mp__text_peek(t) == '\r' ? 2 : 1;
    mp__text_line(t);
}

static int skip_lines(mp__text *t)
{
    int rc = skip_comment(t);

    while (rc == 0 && is_break(t)) {
        take_break(t);
        rc = skip_comment(t);
    }
    return rc;
}

static int line_end(mp__text *t)
{
    int rc = skip_comment(t);

    if (rc == 0 && mp__text_peek(t) != -1 && !is_break(t))
        rc = mp__text_expected(t, "the end of the line or a comment");
    return rc;
}

/* ---- texts ---- */

static int take_unicode(mp__text *t, size_t digits, mp__buf *out)
{
    uint32_t code = 0;

    for (size_t i = 0; i < digits; i++) {
        int c = mp__text_ahead(t, 2 + i);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0)
            return mp__text_error(t, t->at, "\\%c is followed by %zu hexadecimal digits",
                                  mp__text_ahead(t, 1), digits);
        code = code << 4 | (uint32_t)digit;
    }
    if (!mp__utf8_add(out, code))
        return mp__text_error(t, t->at, "there is no character U+%04X", (unsigned)code);
    t->at += 2 + digits;
    return 0;
}

static int take_escape(mp__text *t, mp__buf *out)
{
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    int c = mp__text_ahead(t, 1);
    const char *found = c > 0 ? strchr(from, c) : NULL;

    if (c == 'u' || c == 'U')
        return take_unicode(t, c == 'u' ? 4 : 8, out);
    if (!found)
        return mp__text_error(t, t->at,
                              "an escape is one of \\b \\t \\n \\f \\r \\\" \\\\ \\uXXXX "
                              "\\UXXXXXXXX; a text in single quotes has none");
    (void)mp__buf_add_char(out, to[found - from]);
    t->at += 2;
    return 0;
}

/* A backslash at the end of a line takes away all white space up to the next text. */
static bool take_folding(mp__text *t)
{
    mp__text ahead = *t;

    ahead.at++;
    mp__text_skip_blanks(&ahead);
    if (!is_break(&ahead))
        return false;
    while (is_break(&ahead)) {
        take_break(&ahead);
        mp__text_skip_blanks(&ahead);
    }
    *t = ahead;
    return true;
}

/* A byte that stands for itself, or a line break. */
static int take_plain(mp__text *t, bool many_lines, mp__buf *out)
{
    int c = mp__text_peek(t);

    if (is_break(t) && many_lines) {
        take_break(t);
        return mp__buf_add_char(out, '\n');
    }
    if (is_break(t))
        return mp__text_error(t, t->at,
                              "this text is not closed on its line; three quotes begin "
                              "one of many lines");
    if (is_control(c))
        return mp__text_error(t, t->at, "the control character 0x%02x must be escaped, \\u%04X",
                              (unsigned)c, (unsigned)c);
    t->at++;
    return mp__buf_add_char(out, (char)c);
}

static bool three_quotes(const mp__text *t, int quote)
{
    return mp__text_peek(t) == quote && mp__text_ahead(t, 1) == quote &&
           mp__text_ahead(t, 2) == quote;
}

/* The quotes that end the text; of many lines: up to two quotes may stand right before them. */
static bool take_end(mp__text *t, int quote, bool many_lines, mp__buf *out)
{
    if (mp__text_peek(t) != quote || (many_lines && !three_quotes(t, quote)))
        return false;
    for (int i = 0; many_lines && i < 2 && mp__text_ahead(t, 3) == quote; i++) {
        (void)mp__buf_add_char(out, (char)quote);
        t->at++;
    }
    t->at += many_lines ? 3 : 1;
    return true;
}

/* A text in " or ', on one line or, if it may be, on many, onto @out. */
static int read_text(mp__text *t, bool may_be_long, mp__buf *out)
{
    mp__text begin = *t;
    int quote = mp__text_peek(t), rc = 0;
    bool many_lines = may_be_long && three_quotes(t, quote);

    mp__buf_reset(out);
    t->at += many_lines ? 3 : 1;
    if (many_lines && is_break(t))
        take_break(t);
    while (rc == 0 && !take_end(t, quote, many_lines, out)) {
        if (mp__text_peek(t) == -1)
            return mp__text_error(&begin, begin.at, "this quote is never closed");
        if (mp__text_peek(t) != '\\' || quote == '\'')
            rc = take_plain(t, many_lines, out);
        else if (!many_lines || !take_folding(t))
            rc = take_escape(t, out);
    }
    return rc ? rc : out->error;
}

/* ---- names ---- */

static bool is_bare(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* One part of a dotted name into r->name; the path is extended by it. */
static int read_part(toml_reader *r, mp__text *ret_at)
{
    mp__text *t = &r->t;
    int c, rc = 0;

    mp__text_skip_blanks(t);
    *ret_at = *t;
    c = mp__text_peek(t);
    mp__buf_reset(&r->name);
    if (c == '"' || c == '\'')
        rc = read_text(t, false, &r->name);
    else
        for (; is_bare(mp__text_peek(t)); t->at++)
            (void)mp__buf_add_char(&r->name, (char)mp__text_peek(t));
    if (rc == 0 && r->name.error)
        rc = r->name.error;
    if (rc == MP_ELIMIT)
        return mp__text_limit(ret_at, ret_at->at);
    if (rc)
        return rc;
    if (r->name.size == 0 && (c == '"' || c == '\''))
        return mp__text_error(ret_at, ret_at->at, "an empty name cannot be part of a key");
    if (r->name.size == 0)
        return mp__text_expected(t, "a name");
    if (++r->depth > MP__FORMAT_DEPTH_MAX)
        return mp__text_error(ret_at, ret_at->at, "nested deeper than %d", MP__FORMAT_DEPTH_MAX);
    rc = mp__path_add_name(&r->path, mp__buf_str(&r->name));
    return rc == MP_ELIMIT ? mp__text_limit(ret_at, ret_at->at) : rc;
}

/* Whether a dot and a further part follow. */
static bool take_dot(mp__text *t)
{
    mp__text_skip_blanks(t);
    if (mp__text_peek(t) != '.')
        return false;
    t->at++;
    return true;
}

static int path_add_index(toml_reader *r, const mp__text *at, size_t index)
{
    int rc;

    if (++r->depth > MP__FORMAT_DEPTH_MAX)
        return mp__text_error(at, at->at, "nested deeper than %d", MP__FORMAT_DEPTH_MAX);
    rc = mp__path_add_index(&r->path, index);
    return rc == MP_ELIMIT ? mp__text_limit(at, at->at) : rc;
}

/* ---- values ---- */

static int read_value(toml_reader *r, uint32_t owner);
static int read_assignment(toml_reader *r, uint32_t table);

static int add(toml_reader *r, const mp__text *at, mp_str value, const char *media_type)
{
    return mp__text_add(at, at->at, &r->leaves, mp__buf_str(&r->path), value, media_type);
}

static int read_word(toml_reader *r)
{
    static const char *const media[] = {NULL, MP__MEDIA_JSON, MP__MEDIA_JSON, MP__MEDIA_TOML};
    mp__text *t = &r->t, begin = *t;
    enum mp__toml_kind kind;
    const char *why;
    mp_str word;

    while (is_bare(mp__text_peek(t)) || mp__text_peek(t) == '.' || mp__text_peek(t) == ':' ||
           mp__text_peek(t) == '+')
        t->at++;
    if (t->at - begin.at == 10 && mp__text_peek(t) == ' ' && t->bytes.data[begin.at + 4] == '-' &&
        mp__text_ahead(t, 3) == ':') /* a blank between date and time */
        for (t->at++; is_bare(mp__text_peek(t)) || mp__text_peek(t) == '.' ||
                      mp__text_peek(t) == ':' || mp__text_peek(t) == '+';)
            t->at++;
    word = mp_str_new(t->bytes.data + begin.at, t->at - begin.at);
    if (word.size == 0)
        return mp__text_expected(t, "a value");
    if (mp_str_equal(word, MP_STR("true")) || mp_str_equal(word, MP_STR("false")))
        return add(r, &begin, word, MP__MEDIA_JSON);
    mp__buf_reset(&r->value);
    kind = mp__toml_word(word, &r->value, &why);
    if (r->value.error == MP_ENOMEM)
        return MP_ENOMEM;
    if (kind == MP__TOML_NONE)
        return mp__text_error(&begin, begin.at, "%s", why);
    return add(r, &begin, mp__buf_str(&r->value), media[kind]);
}

/* A comma or @end, with line breaks about them where they may be. 1: the end. */
static int take_comma(mp__text *t, int end, const char *what)
{
    if (mp__text_peek(t) == end) {
        t->at++;
        return 1;
    }
    if (mp__text_peek(t) != ',')
        return mp__text_expected(t, what);
    t->at++;
    return 0;
}

static int read_array(toml_reader *r, uint32_t owner)
{
    mp__text *t = &r->t, begin = *t;
    size_t before = r->path.size, count = 0;
    int rc, ended = 0;

    t->at++;
    rc = skip_lines(t);
    while (rc == 0 && !ended && mp__text_peek(t) != ']') {
        rc = path_add_index(r, t, count++);
        if (rc == 0)
            rc = read_value(r, owner);
        r->path.size = before;
        r->depth--;
        if (rc == 0)
            rc = skip_lines(t);
        if (rc == 0)
            ended = take_comma(t, ']', "',' or ']'");
        if (rc == 0 && ended == 0)
            rc = skip_lines(t);
        if (ended < 0)
            rc = ended;
    }
    if (rc == 0 && !ended)
        t->at++;
    return rc || count ? rc : add(r, &begin, MP_STR("[]"), MP__MEDIA_JSON);
}

/* The names in { } belong to @table, which nobody adds to afterwards. */
static int read_inline(toml_reader *r, uint32_t table)
{
    mp__text *t = &r->t, begin = *t;
    uint32_t section = r->section;
    int rc = 0, ended;

    r->nodes[table].kind = TABLE;
    r->section = ++r->sections;
    t->at++;
    mp__text_skip_blanks(t);
    ended = mp__text_peek(t) == '}';
    if (ended) {
        t->at++;
        rc = add(r, &begin, MP_STR("{}"), MP__MEDIA_JSON);
    }
    while (rc == 0 && !ended) {
        rc = read_assignment(r, table);
        mp__text_skip_blanks(t);
        if (rc == 0) {
            ended = take_comma(t, '}', "',' or '}' on the same line");
            rc = ended < 0 ? ended : 0;
        }
    }
    r->section = section;
    r->nodes[table].kind = VALUE;
    return rc;
}

/* A value that belongs to the node @owner: itself, or an array that it is in. */
static int read_value(toml_reader *r, uint32_t owner)
{
    mp__text begin = r->t;
    int c = mp__text_peek(&r->t), rc;
    uint32_t table = ROOT;

    switch (c) {
    case '"':
    case '\'':
        rc = read_text(&r->t, true, &r->value);
        if (rc == MP_ELIMIT)
            return mp__text_limit(&begin, begin.at);
        return rc ? rc : add(r, &begin, mp__buf_str(&r->value), MP__MEDIA_TEXT);
    case '[':
        return read_array(r, owner);
    case '{':
        rc = node_add(r, owner, NULL, VALUE, &begin, &table);
        return rc ? rc : read_inline(r, table);
    default:
        return read_word(r);
    }
}

/* ---- assignments ---- */

/* Through a part of a dotted name: a table that only dotted names of this section, or headers of
 * tables below it, have made. */
static int through_dotted(toml_reader *r, const mp__text *at, uint32_t *table)
{
    uint32_t child = node_find(r, *table, mp__buf_str(&r->name));
    node *n;

    if (child == NOBODY) {
        mp_str name = mp__buf_str(&r->name);
        int rc = node_add(r, *table, &name, TABLE, at, &child);

        if (rc)
            return rc;
    }
    n = &r->nodes[child];
    if (n->kind != TABLE || n->is_defined || (n->dotted && n->dotted != r->section))
        return there_already(r, at, child);
    n->dotted = r->section;
    *table = child;
    return 0;
}

static int read_assignment(toml_reader *r, uint32_t table)
{
    size_t before = r->path.size;
    unsigned depth = r->depth;
    mp__text at;
    uint32_t child;
    mp_str name;
    int rc = read_part(r, &at);

    while (rc == 0 && take_dot(&r->t)) {
        rc = through_dotted(r, &at, &table);
        if (rc == 0)
            rc = read_part(r, &at);
    }
    if (rc)
        return rc;
    name = mp__buf_str(&r->name);
    child = node_find(r, table, name);
    if (child != NOBODY)
        return there_already(r, &at, child);
    rc = node_add(r, table, &name, VALUE, &at, &child);
    if (rc == 0 && mp__text_peek(&r->t) != '=')
        rc = mp__text_expected(&r->t, "'=' after the name");
    if (rc == 0) {
        r->t.at++;
        mp__text_skip_blanks(&r->t);
        rc = read_value(r, child);
    }
    r->path.size = before;
    r->depth = depth;
    return rc;
}

/* ---- headers ---- */

/* Through a part of a header, which may be anything that holds tables. */
static int through_header(toml_reader *r, const mp__text *at, uint32_t *table)
{
    uint32_t child = node_find(r, *table, mp__buf_str(&r->name));
    mp_str name = mp__buf_str(&r->name);

    if (child == NOBODY) {
        int rc = node_add(r, *table, &name, TABLE, at, &child);

        if (rc)
            return rc;
    }
    if (r->nodes[child].kind == VALUE)
        return there_already(r, at, child);
    *table = child;
    if (r->nodes[child].kind == TABLE)
        return 0;
    *table = r->nodes[child].last;
    return path_add_index(r, at, r->nodes[child].count - 1);
}

/* [name]: a table that no header and no dotted name has made. */
static int begin_table(toml_reader *r, const mp__text *at, uint32_t *table)
{
    mp_str name = mp__buf_str(&r->name);
    uint32_t child = node_find(r, *table, name);
    int rc = 0;

    if (child == NOBODY)
        rc = node_add(r, *table, &name, TABLE, at, &child);
    else if (r->nodes[child].kind != TABLE || r->nodes[child].is_defined || r->nodes[child].dotted)
        rc = there_already(r, at, child);
    if (rc)
        return rc;
    r->nodes[child].is_defined = true;
    r->nodes[child].line = at->line;
    r->nodes[child].column = mp__text_column(at, at->at);
    *table = child;
    return 0;
}

/* [[name]]: one more table of a list. */
static int begin_element(toml_reader *r, const mp__text *at, uint32_t *table)
{
    mp_str name = mp__buf_str(&r->name);
    uint32_t list = node_find(r, *table, name), element;
    int rc = 0;

    if (list == NOBODY)
        rc = node_add(r, *table, &name, LIST, at, &list);
    else if (r->nodes[list].kind != LIST)
        rc = there_already(r, at, list);
    if (rc == 0)
        rc = path_add_index(r, at, r->nodes[list].count);
    if (rc == 0)
        rc = node_add(r, list, NULL, TABLE, at, &element);
    if (rc)
        return rc;
    r->nodes[element].is_element = true;
    r->nodes[element].is_defined = true;
    r->nodes[element].count = r->nodes[list].count++; /* its index */
    r->nodes[list].last = element;
    *table = element;
    return 0;
}

/* [name] or [[name]]: the path is that of the section, *ret_table its node. */
static int read_header(toml_reader *r, uint32_t *ret_table)
{
    mp__text *t = &r->t, at;
    bool is_list = mp__text_ahead(t, 1) == '[';
    uint32_t table = ROOT;
    int rc;

    t->at += is_list ? 2 : 1;
    r->path.size = 0;
    r->depth = 0;
    rc = read_part(r, &at);
    while (rc == 0 && take_dot(t)) {
        rc = through_header(r, &at, &table);
        if (rc == 0)
            rc = read_part(r, &at);
    }
    if (rc == 0 && (mp__text_peek(t) != ']' || (is_list && mp__text_ahead(t, 1) != ']')))
        rc = mp__text_expected(t, is_list ? "']]' after the name" : "']' after the name");
    if (rc)
        return rc;
    t->at += is_list ? 2 : 1;
    *ret_table = table;
    r->section = ++r->sections;
    return is_list ? begin_element(r, &at, ret_table) : begin_table(r, &at, ret_table);
}

/* ---- the file ---- */

/* The key of a node, whose parents come first. */
static void add_path(const toml_reader *r, uint32_t index, mp__buf *path)
{
    const node *n = &r->nodes[index];

    if (index == ROOT)
        return;
    add_path(r, n->parent, path); /* not deeper than MP__FORMAT_DEPTH_MAX */
    if (n->is_element)
        (void)mp__path_add_index(path, n->count);
    else
        (void)mp__path_add_name(path, node_name(r, n));
}

/* Tables that hold nothing are the value {}. */
static int add_empty(toml_reader *r)
{
    int rc = 0;

    for (uint32_t i = 1; i < r->node_count && rc == 0; i++) {
        const node *n = &r->nodes[i];

        if (n->kind != TABLE || n->has_children)
            continue;
        mp__buf_reset(&r->path);
        add_path(r, i, &r->path);
        if (r->path.error)
            return r->path.error;
        rc = mp__leaves_add(&r->leaves, mp__buf_str(&r->path), MP_STR("{}"), MP__MEDIA_JSON);
        if (rc == MP_ELIMIT)
            return mp__diag_at(r->t.diag, rc, n->line, n->column, "more than %d values",
                               MP__FORMAT_LEAVES_MAX);
        if (rc == 0)
            mp__leaves_place(&r->leaves, n->line, n->column);
    }
    return rc;
}

static int check_utf8(mp__text t)
{
    while (mp__text_peek(&t) != -1) {
        const unsigned char *p = (const unsigned char *)t.bytes.data + t.at;
        size_t size = *p < 0x80 ? 1 : mp__utf8_size(p, t.bytes.size - t.at);

        if (size == 0)
            return mp__text_error(&t, t.at, "not UTF-8: the byte 0x%02x", *p);
        t.at += size;
        if (*p == '\n')
            mp__text_line(&t);
    }
    return 0;
}

static int read_file(toml_reader *r)
{
    mp__text *t = &r->t;
    uint32_t table = ROOT;
    int rc = node_add(r, NOBODY, NULL, TABLE, t, &table);

    r->section = ++r->sections;
    if (rc == 0)
        rc = skip_lines(t);
    while (rc == 0 && mp__text_peek(t) != -1) {
        rc = mp__text_peek(t) == '[' ? read_header(r, &table) : read_assignment(r, table);
        if (rc == 0)
            rc = line_end(t);
        if (rc == 0)
            rc = skip_lines(t);
    }
    return rc ? rc : add_empty(r);
}

static int toml_parse(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag)
{
    toml_reader r = {.t = mp__text_begin(bytes, diag),
                     /* a secret of the file's own: who writes it cannot aim at it */
                     .key = {mp__checksum(0, bytes.data ? bytes.data : "", bytes.size),
                             mp__checksum(1, bytes.data ? bytes.data : "", bytes.size)},
                     .path = {.size_max = 4 * MP__FORMAT_KEY_MAX},
                     .name = {.size_max = 2 * MP__FORMAT_KEY_MAX},
                     .value = {.size_max = MP__FORMAT_VALUE_MAX + 1}};
    int rc = check_utf8(r.t);

    if (rc == 0)
        rc = read_file(&r);
    (void)mp__free(r.nodes);
    (void)mp__free(r.slots);
    mp__buf_done(&r.names);
    mp__buf_done(&r.path);
    mp__buf_done(&r.name);
    mp__buf_done(&r.value);
    return mp__text_end(&r.t, rc, &r.leaves, ret_leaves);
}

static const char *const toml_extensions[] = {".toml", NULL};

const mp__format mp__format_toml = {
    "toml", toml_extensions, "application/toml", false, toml_parse, mp__toml_print,
};
