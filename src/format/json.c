/* SPDX-License-Identifier: Apache-2.0 */
/* JSON (RFC 8259) through jansson; integers beyond 64 bits and duplicate names are refused. */
#include "format/leaves.h"

#include <stdlib.h>

#include "format/kinds.h"

static int json_parse(mp_str bytes, mp__leaves *ret_leaves, mp__diag *diag)
{
    json_error_t error;
    mp__leaves leaves = {0};
    mp__buf path = {.size_max = MP__FORMAT_KEY_MAX + 64};
    json_t *tree = json_loadb(bytes.data ? bytes.data : "", bytes.size,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    int rc;

    if (!tree)
        return json_error_code(&error) == json_error_out_of_memory
                   ? MP_ENOMEM
                   : mp__diag_at(diag, MP_ESYNTAX, error.line, error.column, "%s", error.text);
    rc = mp__leaves_add_tree(&leaves, &path, tree, 0, diag);
    if (rc == 0)
        rc = mp__leaves_sort(&leaves, diag);
    json_decref(tree);
    mp__buf_done(&path);
    if (rc) {
        mp__leaves_done(&leaves);
        return rc;
    }
    *ret_leaves = leaves;
    return 0;
}

static int json_dump_to(const char *data, size_t size, void *out)
{
    return mp__buf_add(out, data, size) ? -1 : 0;
}

static int json_print(const mp__leaves *leaves, mp__buf *out, mp__diag *diag)
{
    json_t *tree;
    int rc = mp__leaves_tree(leaves, &tree, diag);

    if (rc)
        return rc;
    if (json_dump_callback(tree, json_dump_to, out, JSON_INDENT(2)) != 0)
        rc = out->error ? out->error : MP_ENOMEM;
    else
        rc = mp__buf_add_char(out, '\n');
    json_decref(tree);
    return rc;
}

static const char *const json_extensions[] = {".json", NULL};

const mp__format mp__format_json = {
    "json", json_extensions, "application/json", false, json_parse, json_print,
};
