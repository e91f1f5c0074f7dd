/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Merge Patch (RFC 7396): an object says what its members become, null that one goes. */
#include "schema/tree.h"

/* What @patch makes of @target, which is NULL where there is nothing: a new reference, or NULL
 * without memory. @target is changed in place where it is an object. */
static json_t *merge(json_t *target, json_t *patch)
{
    json_t *result;

    if (!json_is_object(patch))
        return json_incref(patch);
    result = json_is_object(target) ? json_incref(target) : json_object();
    for (void *i = json_object_iter(patch); i && result; i = json_object_iter_next(patch, i)) {
        const char *name = json_object_iter_key(i);
        size_t size = json_object_iter_key_len(i);
        json_t *child;

        if (json_is_null(json_object_iter_value(i))) {
            (void)json_object_deln(result, name, size);
            continue;
        }
        child = merge(json_object_getn(result, name, size), json_object_iter_value(i));
        if (!child || json_object_setn_new(result, name, size, child) != 0) {
            json_decref(result);
            return NULL;
        }
    }
    return result;
}

int mp__merge_patch(mp_str target, mp_str patch, mp__buf *out, mp__diag *diag)
{
    json_t *target_tree = NULL, *patch_tree = NULL, *result = NULL;
    size_t before = out->size;
    int rc = mp__tree_parse(patch, "the patch", &patch_tree, diag);

    if (rc == 0 && target.data) {
        rc = mp__tree_parse(target, "the present value", &target_tree, diag);
        if (rc == MP_ESYNTAX)
            rc = MP_EUNSUPPORTED;
    }
    if (rc == 0) {
        result = merge(target_tree, patch_tree);
        rc = result ? mp__tree_print(result, out) : MP_ENOMEM;
        if (rc == MP_ELIMIT)
            (void)mp__diag_set(diag, rc, "the patched document is larger than %zu bytes",
                               out->size_max);
    }
    if (rc)
        out->size = before;
    json_decref(result);
    json_decref(target_tree);
    json_decref(patch_tree);
    return rc;
}
