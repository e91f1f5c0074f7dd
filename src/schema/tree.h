/* SPDX-License-Identifier: Apache-2.0 */
/* JSON trees between text and text, and JSON Pointers (RFC 6901) into them. */
#ifndef MP_SCHEMA_TREE_H
#define MP_SCHEMA_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "schema/schema.h"

/* Read @text into a new reference. @what names it in the error ("the patch"). MP_ESYNTAX with line
 * and column; MP_ELIMIT deeper than MP__TREE_DEPTH_MAX; MP_ENOMEM. */
MP_MUST_USE int mp__tree_parse(mp_str text, const char *what, json_t **ret_tree, mp__diag *diag);

/* Append @tree, compact. out->error. */
int mp__tree_print(const json_t *tree, mp__buf *out);

/* The same data: objects whatever their order, numbers by their value (1 is 1.0). */
bool mp__tree_equal(const json_t *a, const json_t *b);

/* Less, equal or greater by value, exactly, also between an integer and a double. */
int mp__number_compare(const json_t *a, const json_t *b);

/* How many values it has (itself included) and how many of them stand in one another. */
void mp__tree_measure(const json_t *tree, size_t *nodes, size_t *depth);

/* ---- pointers ---- */

/* Where a walk along a pointer stands. */
typedef struct mp__pointer {
    mp_str text;   /* the whole */
    size_t at;     /* of the next '/' */
    mp__buf token; /* the present reference token, unescaped */
} mp__pointer;

/* Whether @text is a JSON Pointer at all: "" or a '/' before every token, '~' only as ~0 or ~1. */
bool mp__pointer_valid(mp_str text);
/* The next token into pointer->token: 1, 0 at the end, MP_ENOMEM. The text must be valid. */
int mp__pointer_next(mp__pointer *pointer);
/* The token as an index of an array: digits without a leading zero. False when it is none. */
bool mp__pointer_index(mp_str token, size_t *ret_index);
/* The child of @parent that @token names, borrowed, or NULL. */
json_t *mp__pointer_step(const json_t *parent, mp_str token);
/* Append one token, escaped, with its '/'. */
int mp__pointer_add(mp__buf *path, mp_str token);
int mp__pointer_add_index(mp__buf *path, size_t index);

#endif
