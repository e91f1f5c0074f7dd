/* SPDX-License-Identifier: Apache-2.0 */
/* YAML 1.2, core schema (chapter 10.3 of the specification), through libyaml.
 *
 * One document a file. Anchors, aliases and merge keys ("<<") are resolved. Plain scalars are
 * null, true, false, numbers or text as the core schema says, so "yes", "on" and "1e3x" are text.
 * Not a number and infinity are refused, since no value of ours can hold them with their type. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

#include "core/alloc.h"
#include "core/yaml_error.h"
#include "format/kinds.h"
#include "format/leaves.h"
#include "format/text.h"

typedef struct yaml_reader {
    yaml_document_t document;
    mp_str text;
    size_t *marks; /* where each MARK_EVERY-th character begins; NULL where the text has no tag */
    size_t mark_count;
    bool marked;  /* whether tags were looked for */
    size_t nodes; /* made so far, aliases expanded: bounds "billion laughs" */
    mp__diag *diag;
} yaml_reader;

static int node_error(const yaml_reader *r, const yaml_node_t *node, const char *text)
{
    return mp__diag_at(r->diag, MP_ESYNTAX, (int)node->start_mark.line + 1,
                       (int)node->start_mark.column + 1, "%s", text);
}

/* ---- scalars ---- */

static bool is_one_of(mp_str text, const char *const *words)
{
    for (; *words; words++)
        if (mp_str_equal(text, mp_str_of(*words)))
            return true;
    return false;
}

static bool all_in(const char *text, const char *set)
{
    return *text && strspn(text, set) == strlen(text);
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_real(const char *p)
{
    size_t before, after = 0;

    p += *p == '-' || *p == '+';
    before = strspn(p, "0123456789");
    p += before;
    if (*p == '.') {
        after = strspn(++p, "0123456789");
        p += after;
    }
    if (before + after == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        return all_in(p, "0123456789");
    }
    return *p == '\0';
}

/* Base of an integer by the core schema, 0 for none. */
static int integer_base(const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');

    if (all_in(digits, "0123456789"))
        return 10;
    if (strncmp(text, "0o", 2) == 0 && all_in(text + 2, "01234567"))
        return 8;
    if (strncmp(text, "0x", 2) == 0 && all_in(text + 2, "0123456789abcdefABCDEF"))
        return 16;
    return 0;
}

static int number_value(const yaml_reader *r, const yaml_node_t *node, const char *text,
                        json_t **ret_value)
{
    int base = integer_base(text);
    long long integer;
    double real;

    errno = 0;
    if (base) {
        integer = strtoll(base == 10 ? text : text + 2, NULL, base);
        if (errno == ERANGE)
            return node_error(r, node, "this integer does not fit in 64 bits; quote it as text");
        *ret_value = json_integer(integer);
    } else {
        real = strtod(text, NULL);
        if (!isfinite(real))
            return node_error(r, node, "this number is too large; quote it as text");
        *ret_value = json_real(real);
    }
    return *ret_value ? 0 : MP_ENOMEM;
}

static int text_value(mp_str text, json_t **ret_value)
{
    *ret_value = json_stringn(text.data, text.size);
    return *ret_value ? 0 : MP_ENOMEM;
}

static int plain_value(const yaml_reader *r, const yaml_node_t *node, mp_str text,
                       json_t **ret_value)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const unsayable[] = {".inf",  ".Inf",  ".INF",  "+.inf", "-.inf",
                                            "+.Inf", "-.Inf", "+.INF", "-.INF", ".nan",
                                            ".NaN",  ".NAN",  NULL};
    const char *word = (const char *)node->data.scalar.value;

    if (is_one_of(text, nulls))
        *ret_value = json_null();
    else if (is_one_of(text, trues))
        *ret_value = json_true();
    else if (is_one_of(text, falses))
        *ret_value = json_false();
    else if (is_one_of(text, unsayable))
        return node_error(r, node,
                          "infinity and not-a-number have no type here (TOML has one); quote "
                          "it as text");
    else if (strlen(word) == text.size && (integer_base(word) || is_real(word)))
        return number_value(r, node, word, ret_value);
    else
        return text_value(text, ret_value);
    return 0;
}

/* ---- tags: libyaml's documents do not tell "!!str 5" from "5", the source text does ---- */

enum { MARK_EVERY = 256 };

/* A long line is asked for each of its values, a long file for each of its lines: neither is gone
 * through again for each. */
static int marks_make(yaml_reader *r)
{
    size_t at = 0;

    r->marked = true;
    if (!r->text.size || !memchr(r->text.data, '!', r->text.size))
        return 0;
    r->marks = mp__realloc_array(NULL, r->text.size / MARK_EVERY + 1, sizeof(*r->marks));
    if (!r->marks)
        return MP_ENOMEM;
    for (size_t i = 0; i < r->text.size; i++)
        if (((unsigned char)r->text.data[i] & 0xc0) != 0x80 && at++ % MARK_EVERY == 0)
            r->marks[r->mark_count++] = i;
    return 0;
}

/* The node's properties begin at its mark, which counts characters: "&anchor !!str 5". */
static int has_tag(yaml_reader *r, const yaml_node_t *node, bool *ret_tagged)
{
    size_t mark = node->start_mark.index / MARK_EVERY;
    const char *p, *end = r->text.data + r->text.size;

    *ret_tagged = false;
    if (!r->marked && marks_make(r) != 0)
        return MP_ENOMEM;
    if (mark >= r->mark_count)
        return 0;
    p = r->text.data + r->marks[mark];
    for (size_t i = node->start_mark.index % MARK_EVERY; i > 0 && p < end; i--)
        do
            p++;
        while (p < end && ((unsigned char)*p & 0xc0) == 0x80);
    while (p < end && (*p == '&' || *p == ' ' || *p == '\t'))
        if (*p++ == '&')
            while (p < end && *p != ' ' && *p != '\t' && *p != '\n')
                p++;
    *ret_tagged = p < end && *p == '!';
    return 0;
}

/* Of the core schema (YAML 1.2.2, 10.3): what the text is when it stands plain, if that is of the
 * tag; whole numbers are numbers with a fraction, too. */
static int tagged_value(const yaml_reader *r, const yaml_node_t *node, mp_str text,
                        json_t **ret_value)
{
    static const struct {
        const char *tag;
        int types[2];
    } core[] = {
        {YAML_NULL_TAG, {JSON_NULL, JSON_NULL}},
        {YAML_BOOL_TAG, {JSON_TRUE, JSON_FALSE}},
        {YAML_INT_TAG, {JSON_INTEGER, JSON_INTEGER}},
        {YAML_FLOAT_TAG, {JSON_REAL, JSON_INTEGER}},
    };
    const char *tag = (const char *)node->tag;
    json_t *value = NULL;
    size_t i = 0;
    int rc;

    while (i < sizeof(core) / sizeof(core[0]) && strcmp(core[i].tag, tag) != 0)
        i++;
    if (i == sizeof(core) / sizeof(core[0]))
        return node_error(r, node,
                          "tags other than !!str, !!int, !!float, !!bool and !!null are not "
                          "supported");
    rc = plain_value(r, node, text, &value);
    if (rc)
        return rc;
    if ((int)json_typeof(value) != core[i].types[0] && (int)json_typeof(value) != core[i].types[1])
        rc = node_error(r, node, "this value is not what its tag says");
    if (rc == 0 && core[i].types[0] == JSON_REAL && json_is_integer(value)) {
        double real = (double)json_integer_value(value);

        json_decref(value);
        value = json_real(real);
        rc = value ? 0 : MP_ENOMEM;
    }
    if (rc) {
        json_decref(value);
        return rc;
    }
    *ret_value = value;
    return 0;
}

static int scalar_value(yaml_reader *r, const yaml_node_t *node, json_t **ret_value)
{
    mp_str text = mp_str_new(node->data.scalar.value, node->data.scalar.length);
    const char *tag = (const char *)node->tag;
    bool tagged;
    int rc;

    /* libyaml gives every untagged scalar the string tag; the style tells which were plain. */
    if (tag && strcmp(tag, YAML_STR_TAG) != 0)
        return tagged_value(r, node, text, ret_value);
    if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        rc = has_tag(r, node, &tagged);
        if (rc || !tagged)
            return rc ? rc : plain_value(r, node, text, ret_value);
    }
    return text_value(text, ret_value);
}

/* ---- collections ---- */

static int node_value(yaml_reader *r, const yaml_node_t *node, int depth, json_t **ret_value);

static yaml_node_t *node_at(yaml_reader *r, int index)
{
    return yaml_document_get_node(&r->document, index);
}

static int sequence_value(yaml_reader *r, const yaml_node_t *node, int depth, json_t *list)
{
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        json_t *item = NULL;
        int rc = node_value(r, node_at(r, *i), depth + 1, &item);

        if (rc == 0 && json_array_append_new(list, item) != 0)
            rc = MP_ENOMEM;
        if (rc)
            return rc;
    }
    return 0;
}

static bool is_merge_key(const yaml_node_t *key)
{
    return key->type == YAML_SCALAR_NODE && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           key->data.scalar.length == 2 && memcmp(key->data.scalar.value, "<<", 2) == 0;
}

static int pair_add(yaml_reader *r, const yaml_node_pair_t *pair, int depth, json_t *map)
{
    const yaml_node_t *key = node_at(r, pair->key);
    const char *name;
    size_t size;
    json_t *value;
    int rc;

    if (key->type != YAML_SCALAR_NODE)
        return node_error(r, key, "a key must be a scalar");
    name = (const char *)key->data.scalar.value;
    size = key->data.scalar.length;
    if (size == 0)
        return node_error(r, key, "a key may not be empty");
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return node_error(r, key, "a key may not hold a control character");
    if (json_object_getn(map, name, size))
        return node_error(r, key, "this key is there already");
    rc = node_value(r, node_at(r, pair->value), depth + 1, &value);
    if (rc == 0 && json_object_setn_new(map, name, size, value) != 0)
        return node_error(r, key, "a key must be UTF-8");
    return rc;
}

/* Merge keys fill in what the map itself does not say (yaml.org/type/merge). */
static int merge_add(yaml_reader *r, const yaml_node_t *from, int depth, json_t *map)
{
    json_t *other;
    int rc;

    if (from->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = from->data.sequence.items.start;
             i < from->data.sequence.items.top; i++) {
            rc = depth > MP__FORMAT_DEPTH_MAX ? node_error(r, from, "nested too deep")
                                              : merge_add(r, node_at(r, *i), depth + 1, map);
            if (rc)
                return rc;
        }
        return 0;
    }
    if (from->type != YAML_MAPPING_NODE)
        return node_error(r, from, "'<<' merges a map or a list of maps");
    rc = node_value(r, from, depth + 1, &other);
    if (rc)
        return rc;
    rc = json_object_update_missing(map, other) ? MP_ENOMEM : 0;
    json_decref(other);
    return rc;
}

static int mapping_value(yaml_reader *r, const yaml_node_t *node, int depth, json_t *map)
{
    yaml_node_pair_t *top = node->data.mapping.pairs.top;
    int rc = 0;

    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < top && rc == 0; p++)
        if (!is_merge_key(node_at(r, p->key)))
            rc = pair_add(r, p, depth, map);
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < top && rc == 0; p++)
        if (is_merge_key(node_at(r, p->key)))
            rc = merge_add(r, node_at(r, p->value), depth, map);
    return rc;
}

static int collection_tag_check(const yaml_reader *r, const yaml_node_t *node)
{
    const char *tag = (const char *)node->tag;

    if (!tag || strcmp(tag, YAML_MAP_TAG) == 0 || strcmp(tag, YAML_SEQ_TAG) == 0)
        return 0;
    return node_error(r, node, "tags are not supported on maps and lists");
}

static int node_value(yaml_reader *r, const yaml_node_t *node, int depth, json_t **ret_value)
{
    json_t *made;
    int rc;

    if (depth > MP__FORMAT_DEPTH_MAX)
        return node_error(r, node, "nested too deep, or an alias that holds itself");
    if (++r->nodes > 2 * MP__FORMAT_LEAVES_MAX)
        return node_error(r, node, "too many values once the aliases are expanded");
    if (node->type == YAML_SCALAR_NODE)
        return scalar_value(r, node, ret_value);
    rc = collection_tag_check(r, node);
    if (rc)
        return rc;
    made = node->type == YAML_SEQUENCE_NODE ? json_array() : json_object();
    if (!made)
        return MP_ENOMEM;
    rc = node->type == YAML_SEQUENCE_NODE ? sequence_value(r, node, depth, made)
                                          : mapping_value(r, node, depth, made);
    if (rc) {
        json_decref(made);
        return rc;
    }
    *ret_value = made;
    return 0;
}

/* ---- the document ---- */

static int refuse_second(yaml_parser_t *parser, mp__diag *diag)
{
    yaml_document_t second;
    yaml_node_t *root;
    int rc = 0;

    if (!yaml_parser_load(parser, &second))
        return mp__yaml_error(parser, diag);
    root = yaml_document_get_root_node(&second);
    if (root)
        rc = mp__diag_at(diag, MP_ESYNTAX, (int)root->start_mark.line + 1, 1,
                         "a second document begins here; a file may hold one");
    yaml_document_delete(&second);
    return rc;
}

/* ---- places ---- */

static void place_node(yaml_reader *r, const yaml_node_t *node, mp__buf *path, mp__leaves *leaves);

static void place_mapping(yaml_reader *r, const yaml_node_t *node, mp__buf *path,
                          mp__leaves *leaves)
{
    yaml_node_pair_t *top = node->data.mapping.pairs.top;
    size_t before = path->size;

    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < top; p++) {
        const yaml_node_t *key = node_at(r, p->key);

        if (is_merge_key(key))
            continue;
        (void)mp__path_add_name(path, mp_str_new(key->data.scalar.value, key->data.scalar.length));
        place_node(r, node_at(r, p->value), path, leaves);
        path->size = before;
    }
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < top; p++) {
        const yaml_node_t *from = node_at(r, p->value);

        if (!is_merge_key(node_at(r, p->key)))
            continue;
        if (from->type == YAML_MAPPING_NODE)
            place_mapping(r, from, path, leaves);
        for (yaml_node_item_t *i = from->data.sequence.items.start;
             from->type == YAML_SEQUENCE_NODE && i < from->data.sequence.items.top; i++)
            if (node_at(r, *i)->type == YAML_MAPPING_NODE)
                place_mapping(r, node_at(r, *i), path, leaves);
    }
}

/* Give each leaf the place of the node that says it: what a map says itself before what it merges.
 * The document was walked before, so that its depth and its aliases are bounded. */
static void place_node(yaml_reader *r, const yaml_node_t *node, mp__buf *path, mp__leaves *leaves)
{
    mp__leaf *leaf = mp__leaves_find(leaves, mp__buf_str(path));
    size_t before = path->size, index = 0;

    if (leaf && !leaf->line) {
        leaf->line = (int)node->start_mark.line + 1;
        leaf->column = (int)node->start_mark.column + 1;
    }
    if (node->type == YAML_MAPPING_NODE)
        place_mapping(r, node, path, leaves);
    if (node->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        (void)mp__path_add_index(path, index++);
        place_node(r, node_at(r, *i), path, leaves);
        path->size = before;
    }
}

/* ---- the file ---- */

static int read_document(yaml_reader *r, const yaml_node_t *root, mp__leaves *leaves)
{
    mp__buf path = {.size_max = MP__FORMAT_KEY_MAX + 64};
    json_t *tree = NULL;
    int rc = node_value(r, root, 0, &tree);

    if (rc == 0 && !json_is_object(tree) && !json_is_array(tree) && !json_is_null(tree))
        rc = node_error(r, root, "the top must be a map or a list of values with keys");
    if (rc == 0)
        rc = mp__leaves_add_tree(leaves, &path, tree, 0, r->diag);
    if (rc == 0)
        rc = mp__leaves_sort(leaves, r->diag);
    if (rc == 0)
        place_node(r, root, &path, leaves);
    if (rc == 0 && path.error == MP_ENOMEM)
        rc = MP_ENOMEM;
    json_decref(tree);
    mp__buf_done(&path);
    return rc;
}

/* ---- what libyaml takes too long for ----
 *
 * libyaml composes a whole document before we see anything of it, in a time that grows with the
 * square of some things: of the depth (100 KB of brackets hold a thread for minutes), of the
 * anchors, among all of which each anchor and each alias is looked for, and of the %TAG directives.
 * Its events come one by one, so that the first that is too much is the last. */

enum {
    TAG_DIRECTIVES_MAX = 100,
    ANCHOR_STEPS_MAX = 20000000, /* a tenth of a second */
};

/* Whether a line begins at @at: behind \n, \r, the last byte of U+0085, U+2028 or U+2029, or a BOM.
 */
static bool begins_line(mp_str bytes, size_t at)
{
    switch (at ? (unsigned char)bytes.data[at - 1] : '\n') {
    case '\n':
    case '\r':
    case 0x85:
    case 0xa8:
    case 0xa9:
    case 0xbf:
        return true;
    default:
        return false;
    }
}

/* %TAG directives are counted in the text: the first event comes behind all of them. */
static int directives_check(mp_str bytes, mp__diag *diag)
{
    const char *at = bytes.data, *end = bytes.data + bytes.size;
    int count = 0, line = 1;

    for (; at && (at = memmem(at, (size_t)(end - at), "%TAG", 4)) != NULL; at += 4) {
        count += begins_line(bytes, (size_t)(at - bytes.data));
        if (count > TAG_DIRECTIVES_MAX) {
            for (const char *p = bytes.data; p < at; p++)
                line += *p == '\n' || (*p == '\r' && p[1] != '\n');
            return mp__diag_at(diag, MP_ELIMIT, line, 1, "more than %d %%TAG directives",
                               TAG_DIRECTIVES_MAX);
        }
    }
    return 0;
}

typedef struct yaml_work {
    int depth;
    size_t anchors, steps; /* steps: what the look-ups of anchors come to */
} yaml_work;

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

/* What is wrong with one event more; NULL: nothing. */
static const char *too_much(yaml_work *w, const yaml_event_t *event)
{
    w->depth += event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT;
    w->depth -= event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT;
    if (event->type == YAML_ALIAS_EVENT || anchor_of(event))
        w->steps += w->anchors;
    w->anchors += anchor_of(event) != NULL;
    if (w->depth > MP__FORMAT_DEPTH_MAX + 1)
        return "nested too deep";
    return w->steps > ANCHOR_STEPS_MAX ? "too many anchors and aliases" : NULL;
}

/* MP_ELIMIT with the place where it becomes too much. What is no YAML the composer says. */
static int work_check(mp_str bytes, mp__diag *diag)
{
    yaml_parser_t parser;
    yaml_event_t event;
    yaml_work work = {0};
    const char *wrong;
    int rc = directives_check(bytes, diag);
    bool ended = false;

    if (rc)
        return rc;
    if (!yaml_parser_initialize(&parser))
        return MP_ENOMEM;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(bytes.data ? bytes.data : ""),
                                 bytes.size);
    while (rc == 0 && !ended && yaml_parser_parse(&parser, &event)) {
        ended = event.type == YAML_STREAM_END_EVENT;
        wrong = too_much(&work, &event);
        if (wrong)
            rc = mp__diag_at(diag, MP_ELIMIT, (int)event.start_mark.line + 1,
                             (int)event.start_mark.column + 1, "%s", wrong);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return rc;
}

static int yaml_parse(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag)
{
    /* libyaml takes the mark away only where it is left to guess the encoding. */
    yaml_reader r = {.diag = diag, .text = mp__text_unmarked(bytes)};
    yaml_parser_t parser;
    mp__leaves leaves = {0};
    yaml_node_t *root;
    int rc = work_check(r.text, diag);

    if (rc)
        return rc;
    if (!yaml_parser_initialize(&parser))
        return MP_ENOMEM;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(r.text.data ? r.text.data : ""),
                                 r.text.size);
    if (yaml_parser_load(&parser, &r.document)) {
        root = yaml_document_get_root_node(&r.document);
        if (root)
            rc = read_document(&r, root, &leaves);
        yaml_document_delete(&r.document);
        (void)mp__free(r.marks);
        if (rc == 0 && root)
            rc = refuse_second(&parser, diag);
    } else {
        rc = mp__yaml_error(&parser, diag);
    }
    yaml_parser_delete(&parser);
    if (rc) {
        mp__leaves_done(&leaves);
        return rc;
    }
    *ret_leaves = leaves;
    return 0;
}

/* ---- printing ---- */

static int emit(yaml_emitter_t *emitter, yaml_event_t *event, int made)
{
    return made && yaml_emitter_emit(emitter, event) ? 0 : MP_ENOMEM;
}

static int emit_scalar(yaml_emitter_t *emitter, mp_str text, bool plain)
{
    yaml_event_t event;

    return emit(emitter, &event,
                yaml_scalar_event_initialize(
                    &event, NULL, NULL, (const yaml_char_t *)text.data, (int)text.size, plain,
                    !plain, plain ? YAML_PLAIN_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE));
}

/* As mp__real_text(), but 1.0e+20: without a point YAML 1.1 knows no number. */
static size_t real_text(double value, char text[36])
{
    size_t size = mp__real_text(value, text);
    char *e = memchr(text, 'e', size);

    if (!e || memchr(text, '.', size))
        return size;
    memmove(e + 2, e, size - (size_t)(e - text));
    e[0] = '.';
    e[1] = '0';
    return size + 2;
}

/* Whether @text is better read as lines ("|") than as one line in quotes: something stands in it
 * beside the ends of lines. libyaml itself quotes what a literal block could not give back or would
 * hide: control characters and tabs, and a line that ends with a blank. What it takes for the end
 * of a line and YAML 1.2 does not (CR, NEL, U+2028 and U+2029) is left to the quotes here. */
static bool is_block(mp_str text)
{
    static const char *const breaks[] = {"\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};

    for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++)
        if (memmem(text.data, text.size, breaks[i], strlen(breaks[i])))
            return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != '\n')
            return true;
    return false;
}

static bool is_word_of(mp_str text, const char *const *words)
{
    for (; *words; words++)
        if (text.size == strlen(*words) &&
            (text.size == 0 || strncasecmp(text.data, *words, text.size) == 0))
            return true;
    return false;
}

/* A text that a reader, of YAML 1.1 too, would take for something else when it stood there plain is
 * quoted. A @name stands on one line. */
static int emit_text(yaml_emitter_t *emitter, mp_str text, bool name)
{
    static const char *const taken[] = {"",    "~",  "null", "true", "false", "<<", "=",
                                        "yes", "no", "on",   "off",  "y",     "n",  NULL};
    yaml_event_t event;
    char first = text.size ? text.data[0] : '\0';
    bool lines = text.size && memchr(text.data, '\n', text.size);
    bool quote = lines || is_word_of(text, taken) || (first && strchr("0123456789+-.", first));
    bool block = !name && lines && is_block(text);
    yaml_scalar_style_t style = block   ? YAML_LITERAL_SCALAR_STYLE
                                : quote ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
                                        : YAML_ANY_SCALAR_STYLE;

    return emit(emitter, &event,
                yaml_scalar_event_initialize(&event, NULL, NULL,
                                             (const yaml_char_t *)(text.data ? text.data : ""),
                                             (int)text.size, !quote || block, 1, style));
}

static int emit_value(yaml_emitter_t *emitter, const json_t *value);

static int emit_list(yaml_emitter_t *emitter, const json_t *list)
{
    yaml_event_t event;
    int rc =
        emit(emitter, &event,
             yaml_sequence_start_event_initialize(
                 &event, NULL, NULL, 1,
                 json_array_size(list) ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE));

    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
        rc = emit_value(emitter, json_array_get(list, i));
    return rc ? rc : emit(emitter, &event, yaml_sequence_end_event_initialize(&event));
}

static int emit_map(yaml_emitter_t *emitter, const json_t *map)
{
    json_t *object = (json_t *)(uintptr_t)map; /* jansson's iterators do not write */
    yaml_event_t event;
    int rc = emit(emitter, &event,
                  yaml_mapping_start_event_initialize(
                      &event, NULL, NULL, 1,
                      json_object_size(map) ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE));

    for (void *i = json_object_iter(object); i && rc == 0; i = json_object_iter_next(object, i)) {
        rc = emit_text(emitter, mp_str_of(json_object_iter_key(i)), true);
        if (rc == 0)
            rc = emit_value(emitter, json_object_iter_value(i));
    }
    return rc ? rc : emit(emitter, &event, yaml_mapping_end_event_initialize(&event));
}

static int emit_value(yaml_emitter_t *emitter, const json_t *value)
{
    char text[36];

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return emit_map(emitter, value);
    case JSON_ARRAY:
        return emit_list(emitter, value);
    case JSON_STRING:
        return emit_text(emitter, mp_str_new(json_string_value(value), json_string_length(value)),
                         false);
    case JSON_INTEGER:
        (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return emit_scalar(emitter, mp_str_of(text), true);
    case JSON_REAL:
        return emit_scalar(emitter, mp_str_new(text, real_text(json_real_value(value), text)),
                           true);
    case JSON_TRUE:
        return emit_scalar(emitter, MP_STR("true"), true);
    case JSON_FALSE:
        return emit_scalar(emitter, MP_STR("false"), true);
    case JSON_NULL:
        break;
    }
    return emit_scalar(emitter, MP_STR("null"), true);
}

static int buf_write(void *out, unsigned char *data, size_t size)
{
    return mp__buf_add(out, data, size) == 0;
}

static int emit_document(yaml_emitter_t *emitter, const json_t *tree)
{
    yaml_event_t event;
    int rc = emit(emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));

    if (rc == 0)
        rc = emit(emitter, &event,
                  yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    if (rc == 0)
        rc = emit_value(emitter, tree);
    if (rc == 0)
        rc = emit(emitter, &event, yaml_document_end_event_initialize(&event, 1));
    return rc ? rc : emit(emitter, &event, yaml_stream_end_event_initialize(&event));
}

static int yaml_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag)
{
    yaml_emitter_t emitter;
    json_t *tree;
    int rc = mp__leaves_tree(leaves, &tree, diag);

    if (rc)
        return rc;
    if (!yaml_emitter_initialize(&emitter)) {
        json_decref(tree);
        return MP_ENOMEM;
    }
    yaml_emitter_set_output(&emitter, buf_write, out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    rc = emit_document(&emitter, tree);
    yaml_emitter_delete(&emitter);
    json_decref(tree);
    return out->error ? out->error : rc;
}

static const char *const yaml_extensions[] = {".yaml", ".yml", NULL};

const mp__format mp__format_yaml = {
    "yaml", yaml_extensions, "application/yaml", false, yaml_parse, yaml_print,
};
