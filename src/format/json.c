/* SPDX-License-Identifier: Apache-2.0 */
/* JSON (RFC 8259) through jansson; integers beyond 64 bits and duplicate names are refused. */
#include "format/text.h"

#include <stdlib.h>

#include "core/json_read.h"
#include "core/json_tree.h"
#include "format/kinds.h"

/* ---- places, which jansson does not keep ---- */

static void skip_white(mp__text *t)
{
    for (;; t->at++) {
        int c = mp__text_peek(t);

        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return;
        if (c == '\n') {
            t->at++;
            mp__text_line(t);
            t->at--;
        }
    }
}

static void skip_string(mp__text *t)
{
    for (t->at++; mp__text_peek(t) != '"' && mp__text_peek(t) != -1; t->at++)
        t->at += mp__text_peek(t) == '\\';
    t->at++;
}

/* Walk over the value at @t, which was read already and is good. Each leaf in it, in the order of
 * the text, gets its place; *next is the first that has none. */
static void place_value(mp__text *t, mp__leaves *leaves, size_t *next)
{
    mp__text begin;
    int open, count = 0;

    skip_white(t);
    begin = *t;
    open = mp__text_peek(t);
    if (open == '{' || open == '[') {
        t->at++;
        for (skip_white(t); mp__text_peek(t) != -1 && !strchr("]}", mp__text_peek(t)); count++) {
            if (open == '{') {
                skip_string(t);
                skip_white(t);
                t->at++; /* : */
            }
            place_value(t, leaves, next);
            skip_white(t);
            t->at += mp__text_peek(t) == ',';
            skip_white(t);
        }
        t->at++;
    } else if (open == '"') {
        skip_string(t);
    } else {
        while (mp__text_peek(t) > 0 && !strchr(",]} \t\r\n", mp__text_peek(t)))
            t->at++;
    }
    if (count == 0 && *next < leaves->count) {
        leaves->items[*next].line = begin.line;
        leaves->items[(*next)++].column = mp__text_column(&begin, begin.at);
    }
}

/* The place of the first leaf that could not be made, which is the one behind those of @leaves. */
static void place_error(mp__text *t, mp__leaves *leaves, mp__diag *diag)
{
    size_t next = 0;

    if (!diag || mp__leaves_add(leaves, mp_str_new("", 0), mp_str_new("", 0), MP__MEDIA_JSON) != 0)
        return;
    place_value(t, leaves, &next);
    diag->line = leaves->items[leaves->count - 1].line;
    diag->column = leaves->items[leaves->count - 1].column;
}

static int json_parse(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag)
{
    mp__leaves leaves = {0};
    mp__buf path = {.size_max = MP__FORMAT_KEY_MAX + 64};
    mp__text t = {.bytes = mp__text_unmarked(bytes), .line = 1};
    json_t *tree;
    size_t next = 0;
    int rc = mp__json_read(t.bytes, false, &tree, diag);

    if (rc)
        return rc == MP_ENOMEM ? rc : MP_ESYNTAX; /* which a number too large is to a file */
    rc = mp__leaves_add_tree(&leaves, &path, tree, 0, diag);
    if (rc == MP_ESYNTAX || rc == MP_ELIMIT) {
        place_error(&t, &leaves, diag);
    } else if (rc == 0) {
        place_value(&t, &leaves, &next); /* jansson's objects keep the order of the text */
        rc = mp__leaves_sort(&leaves, diag);
    }
    json_decref(tree);
    mp__buf_done(&path);
    if (rc) {
        mp__leaves_done(&leaves);
        return rc;
    }
    *ret_leaves = leaves;
    return 0;
}

static int json_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag)
{
    json_t *tree;
    int rc = mp__leaves_tree(leaves, &tree, diag);

    if (rc)
        return rc;
    rc = mp__json_tree(tree, 2, out);
    if (rc == 0)
        rc = mp__buf_add_char(out, '\n');
    json_decref(tree);
    return rc;
}

static const char *const json_extensions[] = {".json", NULL};

const mp__format mp__format_json = {
    "json", json_extensions, "application/json", false, json_parse, json_print,
};
