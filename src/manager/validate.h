/* SPDX-License-Identifier: Apache-2.0 */
/* Checking writes against schemas, inside the manager.
 *
 *     mp__write_start -> validate: do schemas apply? -> no: to the origin at once
 *                           | yes, or it is not known, or others wait
 *                           v
 *                         the gate, one at a time, in the order of the starts
 *                           |
 *                         schemas of the scope, values of rollbacks, the documents -> check
 *                           |
 *                         to the origin; the gate opens when it has answered */
#ifndef MP_MANAGER_VALIDATE_H
#define MP_MANAGER_VALIDATE_H

#include "manager/internal.h"
#include "schema/schema.h"

typedef struct mp__schema_item {
    char *name;         /* "namespace", "namespace/path" or "namespace/beginning/" */
    mp__schema *schema; /* NULL: somebody put one there that does not compile */
    mp__diag trouble;
} mp__schema_item;

struct mp__schema_set {
    mp__schema_set *next;
    _Atomic uint32_t references;
    uint64_t changes;    /* of schemas, that it knows of */
    uint32_t generation; /* of freshness */
    size_t scope_size;
    char scope[MP__SCOPE_MAX];
    size_t count;
    mp__schema_item items[];
};

/* What a schema of some name is about. */
typedef struct mp__schema_subject {
    mp_str namespace_, path;
    bool each; /* every value whose key begins with the path is a document by itself */
} mp__schema_subject;

void mp__schema_about(const char *name, mp__schema_subject *ret_subject);
bool mp__schema_fits(const mp__schema_subject *subject, mp_str namespace_, mp_str key);

/* ---- schemas.c ---- */

/* The set of @scope, a reference, if it is known and current, else NULL. Any thread. */
mp__schema_set *mp__schemas_now(mp__manager *manager, mp_str scope);
/* Make it of the effective list of the namespace _schema, which was asked for when @changes and
 * @generation were so, and keep it. */
MP_MUST_USE int mp__schemas_make(mp__manager *manager, mp_str scope, uint64_t changes,
                                 uint32_t generation, const mp__query *list,
                                 mp__schema_set **ret_set);
void mp__schema_set_unref(mp__schema_set *set);

/* ---- documents.c: pure ---- */

/* A key of a document, and what it will be. Slices are borrowed. */
typedef struct mp__part {
    mp_str key, value, media_type;
    unsigned from; /* the layers behind, the layer itself, then its changes in their order */
    bool gone;     /* deleted there */
} mp__part;

/* Check the document that @parts make against @schema, as what @subject is about; of a key that is
 * there several times the last counts. Violations go to @request. 0 also when it does not hold. */
MP_MUST_USE int mp__document_check(mp__write_request *request, const mp__schema_item *item,
                                   const mp__schema_subject *subject, mp__part *parts, size_t count,
                                   mp__diag *diag);
/* The same of one value that is a document by itself. */
MP_MUST_USE int mp__value_check(mp__write_request *request, const mp__schema_item *item,
                                const char *where, mp_str value, mp_str media_type, mp__diag *diag);
/* Note a violation that no schema told. */
int mp__violation_note(mp__write_request *request, const char *name, const char *keyword,
                       const char *text);

#endif
