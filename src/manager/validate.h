/* SPDX-License-Identifier: Apache-2.0 */
/* Checking writes against schemas, inside the manager.
 *
 *     mp__write_start -> validate: do schemas apply? -> no: to the origin at once
 *                           | yes, or it is not known, or others wait
 *                           v
 *                         the gate, one at a time, in the order of the starts
 *                           |
 *                         which scopes see the changes, and their schemas   validate.c, schemas.c
 *                         values of rollbacks                               validate.c
 *                         the documents of each of those scopes -> check    scopes.c, documents.c
 *                           |
 *                         to the origin; the gate opens when it has answered */
#ifndef MP_MANAGER_VALIDATE_H
#define MP_MANAGER_VALIDATE_H

#include "manager/internal.h"
#include "schema/schema.h"

enum {
    MP__VALIDATED_KEYS_MAX = 10000,   /* of a document, in each layer */
    MP__VALIDATED_SCOPES_MAX = 10000, /* that are known; others see nothing judged for them */
    MP__SCHEMAS_MAX = 1000,           /* of a scope; a write that makes one more is refused */
    MP__LISTED_AHEAD = 16,            /* lists that are asked for together */
};

typedef struct mp__schema_item {
    char *name;         /* "namespace", "namespace/path" or "namespace/beginning/" */
    mp__schema *schema; /* NULL: somebody put one there that does not compile */
    bool is_mask;       /* there is none, whatever the layers behind have */
    mp__diag trouble;
} mp__schema_item;

/* What one scope itself has in the namespace _schema. Never changed once made. */
struct mp__schema_set {
    _Atomic uint32_t references;
    size_t count;
    mp__schema_item *items;
};

/* What a schema of some name is about. */
typedef struct mp__schema_subject {
    mp_str namespace_, path;
    bool each; /* every value whose key begins with the path is a document by itself */
} mp__schema_subject;

void mp__schema_about(const char *name, mp__schema_subject *ret_subject);
bool mp__schema_fits(const mp__schema_subject *subject, mp_str namespace_, mp_str key);

static inline bool mp__schema_is_one(mp_str namespace_)
{
    return mp_str_equal(namespace_, MP_STR(MP__SCHEMA_NAMESPACE));
}

/* ---- schemas.c: which scopes there are, and what schemas each of them has ---- */

/* A scope whose schemas matter for a change, or that sees it. */
typedef struct mp__schema_near {
    mp_str scope; /* lives as long as the manager, or is a slice of what was asked for */
    bool is_known;
    mp__schema_set *set; /* its own, a reference; NULL: it has none */
} mp__schema_near;

typedef struct mp__schema_nears {
    mp__schema_near *items;
    size_t count, capacity;
    bool only_sets; /* leave out scopes of which it is known that they have no schemas */
} mp__schema_nears;

/* Names the watch of the origin under which what is known of scopes and schemas holds. */
uint64_t mp__schemas_epoch(const mp__manager *manager);
/* Whether it is known that no scope has any schema, so that only schemas need a look; the lock is
 * the caller's. */
bool mp__schemas_are_none(const mp__manager *manager);
/* Add @scope, the layers that it falls back to and all that fall back to it. MP_ENOMEM;
 * MP_EUNKNOWN: it is not known which there are. */
MP_MUST_USE int mp__schemas_near(mp__manager *manager, mp_str scope, mp__schema_nears *nears);
void mp__schemas_nears_done(mp__schema_nears *nears);
/* Note that there is a scope. MP_ENOMEM. */
MP_MUST_USE int mp__schemas_scope(mp__manager *manager, mp_str scope);
/* All scopes that there were in @epoch are noted. */
void mp__schemas_scopes_are_all(mp__manager *manager, uint64_t epoch);
/* A scope whose schemas are not known where there are so few that it costs little to know them all;
 * "" when there is none. When all are known, that is seen here. */
mp_str mp__schemas_unknown(mp__manager *manager);
/* How often schemas of @scope have changed: before what mp__schemas_make() gets is asked for. */
uint64_t mp__schemas_changes(mp__manager *manager, mp_str scope);
/* Instead of the changes: these are not all, so only *ret_set is made. */
#define MP__SCHEMAS_PARTIAL UINT64_MAX
/* What stands in the namespace _schema of @scope is @list, as of @changes and @epoch: keep it.
 * *ret_set: a reference, NULL: there is none. */
MP_MUST_USE int mp__schemas_make(mp__manager *manager, mp_str scope, uint64_t changes,
                                 uint64_t epoch, const mp__query *list, mp__schema_set **ret_set);
/* All scopes and their schemas as the disk has kept them, the origin being gone. Blocks. */
MP_MUST_USE int mp__schemas_make_kept(mp__manager *manager, uint64_t epoch);
mp__schema_set *mp__schema_set_unref(mp__schema_set *set);

/* ---- documents.c: pure ---- */

/* A key of a document, as it stands in a layer or as it will. Slices are borrowed. */
typedef struct mp__part {
    mp_str key, value, media_type;
    unsigned layer; /* 0 is the farthest */
    unsigned from;  /* 0: it stands there; else the changes of the layer in their order */
    bool gone;      /* deleted by that change */
} mp__part;

/* By the key, the layer, and what comes later: before the others below. */
void mp__parts_sort(mp__part *parts, size_t count);
/* Check the document that @parts make against @schema, as what @subject is about; @as_it_stands:
 * without the changes. Violations go to @request. 0 also when it does not hold. */
MP_MUST_USE int mp__document_check(mp__write_request *request, const mp__schema_item *item,
                                   const mp__schema_subject *subject, const mp__part *parts,
                                   size_t count, bool as_it_stands, mp__diag *diag);
/* The same of values that are a document each: those that a reader will get and does not get now;
 * @all: also those that stay. */
MP_MUST_USE int mp__documents_check(mp__write_request *request, const mp__schema_item *item,
                                    const mp__schema_subject *subject, const mp__part *parts,
                                    size_t count, bool all, bool as_it_stands, mp__diag *diag);
/* The same of one value. */
MP_MUST_USE int mp__value_check(mp__write_request *request, const mp__schema_item *item,
                                const char *where, mp_str value, mp_str media_type, mp__diag *diag);
/* Note a violation that no schema told. */
int mp__violation_note(mp__write_request *request, const char *name, const char *keyword,
                       const char *text);
/* Where what was noted last stands in the value that is to be put. */
void mp__violation_place(mp__write_request *request, const mp__diag *place);
/* Whether @change puts a value whose media type says that it is JSON, schemas apart. */
bool mp__change_claims_json(const mp__change *change);
/* Note each such value of @request that is none. MP_ENOMEM. Any thread that has the request. */
MP_MUST_USE int mp__claims_check(mp__write_request *request);
/* The first violation of @request, and how many more there are, as its text. */
void mp__violations_say(mp__write_request *request);
/* Add what @after found and @before did not (NULL: all of it) to @request, as seen in @scope, which
 * is written to or, @is_inner, falls back to what is. What was told of another scope already is not
 * told again. */
MP_MUST_USE int mp__violations_add(mp__write_request *request, const mp__write_request *after,
                                   const mp__write_request *before, mp_str scope, bool is_inner);

/* ---- validate.c, scopes.c: a request at the gate ---- */

typedef struct mp__rolled { /* the value that a rollback will bring back */
    mp_str value, media_type;
    bool gone;
    char *bytes;
} mp__rolled;

typedef struct mp__listed_page {
    struct mp__listed_page *next;
    mp__validation *validation;
    struct mp__listed *listed;
    mp__query query;
    char after[MP__ADDRESS_MAX];
} mp__listed_page;

/* What a layer holds of the document at work; kept for the other scopes that fall back to it. */
typedef struct mp__listed {
    mp_str scope;
    bool is_full;
    int trouble;  /* why it is not all: MP_ECORRUPT, damage in the origin; MP_ELIMIT, too many keys
                   */
    size_t count; /* of items in all pages */
    mp__listed_page *pages;
} mp__listed;

struct mp__validation {
    mp__validation *next;
    mp__write_request *request;
    mp__manager *manager;
    mp__task task;
    mp__query query;         /* of scopes, schemas, rollbacks */
    mp__schema_nears nears;  /* ordered by scope, each once */
    size_t at;               /* of them: at work */
    uint64_t epoch, changes; /* when what is asked for was asked for */
    size_t rolled_at;
    mp__rolled *rolled;
    bool holds;          /* the gate stays closed until the origin has answered */
    int kept;            /* what came of mp__schemas_make_kept() */
    uint64_t kept_epoch; /* for which that was asked: once is enough */
    bool knows_enough;   /* of scopes that do not matter for the request */
    mp__schema_item examined;

    int (*work)(mp__validation *v); /* what takes long, and what comes behind it in the loop */
    void (*worked)(mp__validation *v);
    int verdict; /* of the work */
    mp__diag verdict_diag;
    mp__schema_set *made;
    const mp__schema_item *judging;

    /* scopes.c: the scope, layer and schema at work */
    bool judges_inner; /* those that are not written to, after those that are */
    size_t layer, item;
    size_t list_at;
    mp__listed lists[MP__LAYERS_MAX];   /* by the distance from the farthest layer */
    mp__listed ahead[MP__LISTED_AHEAD]; /* of inner scopes that are next: their own layers */
    size_t under_way;                   /* pages that were asked for */
    int failed;                         /* what came of one of them */
    bool is_blind;
    mp_str scope;
    mp_str of[MP__LAYERS_MAX]; /* layers of the scope for the namespace at work */
    size_t of_count;
    size_t prefix_size;
    char prefix[MP__ADDRESS_MAX]; /* of the lists: of which keys */
    mp_str last_key;              /* of documents each: none behind it matters */
    char after[MP__ADDRESS_MAX];
};

/* Bytes that are compiled or judged in the loop, some 300 us. */
enum { MP__VALIDATED_AT_ONCE = 64 * 1024 };
/* Run v->work and then, in the loop, v->worked, which may end @v; of more
 * than MP__VALIDATED_AT_ONCE @bytes the work is done on the manager's slow thread, which has @v
 * meanwhile. What of the request and the lists it reads stays, for the gate is closed. */
void mp__validation_works(mp__validation *v, size_t bytes);
/* What the change @i puts there; false: nothing. */
bool mp__validation_puts(const mp__validation *v, size_t i, mp_str *ret_value, mp_str *ret_type);
/* Begin, or go on, judging; mp__validation_passes() or mp__validation_refuses() ends it. */
void mp__scopes_judge(mp__validation *v);
void mp__scopes_done(mp__validation *v);
/* The schemas that @scope, one of the nears, has itself. */
const mp__schema_set *mp__scopes_set_of(const mp__validation *v, mp_str scope);
void mp__validation_passes(mp__validation *v);
/* Not to the origin. @text may be NULL. */
void mp__validation_refuses(mp__validation *v, int status, const char *text);
/* The origin could not say what there is. */
void mp__validation_is_blind(mp__validation *v, int status);

static inline bool mp__change_is_of_value(const mp__change *change)
{
    return change->op == MP__CHANGE_PUT || change->op == MP__CHANGE_DELETE ||
           change->op == MP__CHANGE_ROLLBACK;
}

#endif
