/* SPDX-License-Identifier: Apache-2.0 */
/* The gate before the origin: see validate.h.
 *
 * A document is checked as it will be, with the writes of the same request in it, so nobody may
 * write to it between the check and the commit: whoever needs a check passes one at a time. Others
 * pass by, unless somebody waits: then they line up behind, so that writes of one loop keep their
 * order. Without schemas all that this costs is a look at what is known of the scope. */
#include <stdio.h>

#include "manager/validate.h"

enum { KEYS_MOST = 10000, SCHEMAS_MOST = 1000 };

typedef struct rolled { /* the value that a rollback will bring back */
    mp_str value, media_type;
    bool gone;
    char *bytes;
} rolled;

struct mp__validation {
    mp__validation *next;
    mp__write_request *request;
    mp__manager *manager;
    mp__task task;
    mp__schema_set *set; /* of the scope at work */
    size_t at;           /* the first change of the scope at work */
    size_t item;         /* the schema at work */
    size_t rolled_at;
    uint64_t changes; /* of schemas, when the set was asked for */
    uint32_t generation;
    bool holds; /* the gate stays closed until the origin has answered */
    rolled *rolled;
    mp__query own, behind;
    mp__schema_item examined; /* instead of the set's */
    char prefix[MP__ADDRESS_MAX];
};

/* ---- the gate ---- */

static void begin(mp__task *task);

void mp__validate_leaves(mp__manager *manager)
{
    mp__validation *next;

    (void)pthread_mutex_lock(&manager->schema_lock);
    next = manager->gate_first;
    if (next) {
        manager->gate_first = next->next;
        if (!manager->gate_first)
            manager->gate_last = &manager->gate_first;
    } else {
        manager->gate_busy = false;
    }
    (void)pthread_mutex_unlock(&manager->schema_lock);
    if (next)
        mp__loop_post(next->request->loop, &next->task);
}

/* True: @v has the gate; false: it waits. */
static bool enter(mp__validation *v)
{
    mp__manager *manager = v->manager;
    bool first;

    (void)pthread_mutex_lock(&manager->schema_lock);
    first = !manager->gate_busy;
    manager->gate_busy = true;
    if (!first) {
        *manager->gate_last = v;
        manager->gate_last = &v->next;
    }
    (void)pthread_mutex_unlock(&manager->schema_lock);
    return first;
}

static void validation_free(mp__validation *v)
{
    for (size_t i = 0; v->rolled && i < v->request->count; i++)
        (void)mp__free(v->rolled[i].bytes);
    (void)mp__free(v->rolled);
    (void)mp__schema_free(v->examined.schema);
    (void)mp__free(v->examined.name);
    mp__query_done(&v->own);
    mp__query_done(&v->behind);
    mp__schema_set_unref(v->set);
    (void)mp__free(v);
}

/* Not to the origin. */
static void refuse(mp__validation *v, int status, const char *text)
{
    mp__write_request *request = v->request;
    mp__manager *manager = v->manager;

    validation_free(v);
    request->status = status;
    mp__write_set_text(request, status);
    if (text)
        (void)snprintf(request->text, sizeof(request->text), "%s", text);
    mp__write_reply(request);
    mp__validate_leaves(manager);
}

/* The origin could not say what there is: nothing can be checked, so nothing is written. */
static void refuse_unknown(mp__validation *v, int status)
{
    bool lost = mp__state_now(&v->manager->origin->state) == MP__ORIGIN_LOST;

    refuse(v, status == MP_ENOMEM ? status : lost ? MP_EORIGINLOST : MP_EORIGIN, NULL);
}

static void pass(mp__validation *v)
{
    mp__write_request *request = v->request;
    mp__manager *manager = v->manager;
    bool holds = v->holds && !request->dry_run, examines = request->examine_name.size != 0;
    char text[sizeof(request->text)];

    if (request->broken_count && !examines) {
        const mp__broken *first = request->broken;
        int n =
            snprintf(text, sizeof(text), "%s%s: %s", first->where, first->instance, first->text);

        if (request->broken_count > 1 && n > 0 && (size_t)n < sizeof(text))
            (void)snprintf(text + n, sizeof(text) - (size_t)n, " (and %zu more)",
                           request->broken_count - 1);
        refuse(v, MP_EINVALID, text);
        return;
    }
    if (examines) {
        refuse(v, 0, NULL); /* answered, without a write */
        return;
    }
    validation_free(v);
    request->is_gated = holds;
    mp__write_go(manager, request);
    if (!holds)
        mp__validate_leaves(manager);
}

/* ---- which changes ---- */

static mp_str scope_of(const mp__change *change)
{
    return mp_str_new(change->address.data, mp__scope_size(change->address));
}

static bool is_schema(mp_str namespace_)
{
    return mp_str_equal(namespace_, MP_STR(MP__SCHEMA_NAMESPACE));
}

static bool changes_value(const mp__change *change)
{
    return change->op == MP__CHANGE_PUT || change->op == MP__CHANGE_DELETE ||
           change->op == MP__CHANGE_ROLLBACK;
}

/* Its namespace and key, if it changes what the schema @subject (NULL: any) is about. */
static bool concerns(const mp__change *change, mp_str scope, const mp__schema_subject *subject,
                     mp_str *ret_namespace, mp_str *ret_key)
{
    mp_str of;

    return changes_value(change) &&
           mp__address_split(change->address, &of, ret_namespace, ret_key) == 0 &&
           mp_str_equal(of, scope) &&
           (!subject || mp__schema_fits(subject, *ret_namespace, *ret_key));
}

/* Whether a schema of @set is about one of the changes in @scope, or one is a schema. */
static bool applies(const mp__write_request *request, mp_str scope, const mp__schema_set *set)
{
    mp_str namespace_, key;

    for (size_t i = 0; i < request->count; i++) {
        const mp__change *change = &request->changes[i];

        if (!concerns(change, scope, NULL, &namespace_, &key))
            continue;
        if (is_schema(namespace_))
            return true;
        for (size_t k = 0; k < set->count; k++) {
            mp__schema_subject subject;

            mp__schema_about(set->items[k].name, &subject);
            if (mp__schema_fits(&subject, namespace_, key))
                return true;
        }
    }
    return false;
}

/* Whether it is known of all scopes that nothing has to be checked. */
static bool may_pass(mp__manager *manager, const mp__write_request *request)
{
    mp_str before = mp_str_new("", 0);

    for (size_t i = 0; i < request->count; i++) {
        mp_str scope = scope_of(&request->changes[i]);
        mp__schema_set *set;
        bool must;

        if (mp_str_equal(scope, before))
            continue;
        before = scope;
        set = mp__schemas_now(manager, scope);
        must = !set || applies(request, scope, set);
        mp__schema_set_unref(set);
        if (must)
            return false;
    }
    return true;
}

static mp__validation *validation_new(mp__manager *manager, mp__write_request *request)
{
    mp__validation *v = mp__calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->rolled = mp__calloc(request->count + 1, sizeof(*v->rolled));
    if (!v->rolled)
        return mp__free(v);
    v->request = request;
    v->manager = manager;
    v->task.run = begin;
    return v;
}

bool mp__validate_takes(mp__manager *manager, mp__write_request *request)
{
    mp__validation *v;
    bool busy;

    if (manager->origin->ops->read_only)
        return false; /* it refuses everything */
    (void)pthread_mutex_lock(&manager->schema_lock);
    busy = manager->gate_busy;
    (void)pthread_mutex_unlock(&manager->schema_lock);
    if (!busy && may_pass(manager, request))
        return false;
    v = validation_new(manager, request);
    if (!v) {
        request->status = MP_ENOMEM;
        mp__write_set_text(request, MP_ENOMEM);
        mp__write_reply(request);
    } else if (enter(v)) {
        begin(&v->task);
    }
    return true;
}

/* ---- step by step ---- */

static void next_scope(mp__validation *v);
static void next_item(mp__validation *v);

static void ask(mp__validation *v, mp__query *query, mp_str scope, mp_str prefix,
                void (*done)(mp__query *query))
{
    mp__query_done(query);
    *query = (mp__query){.kind = MP__QUERY_LIST,
                         .loop = v->request->loop,
                         .identity = v->request->identity,
                         .environment = scope,
                         .prefix = prefix,
                         .by_key = true,
                         .with_values = true,
                         .limit = KEYS_MOST,
                         .done = done,
                         .context = v};
}

static mp_str scope_at(const mp__validation *v)
{
    return v->request->examine_name.size ? v->request->examine_scope
                                         : scope_of(&v->request->changes[v->at]);
}

/* ---- the values that rollbacks bring back ---- */

static void next_rollback(mp__validation *v);

static void rollback_came(mp__query *query)
{
    mp__validation *v = query->context;
    rolled *r = &v->rolled[v->rolled_at];
    const mp__list_item *item = query->count ? query->items : NULL;

    if (query->status) {
        refuse_unknown(v, query->status);
        return;
    }
    r->gone = !item || item->deleted;
    if (!r->gone) {
        r->bytes = mp__malloc(item->value.size + item->media_type.size + 1);
        if (!r->bytes) {
            refuse(v, MP_ENOMEM, NULL);
            return;
        }
        if (item->value.size)
            memcpy(r->bytes, item->value.data, item->value.size);
        if (item->media_type.size)
            memcpy(r->bytes + item->value.size, item->media_type.data, item->media_type.size);
        r->value = mp_str_new(r->bytes, item->value.size);
        r->media_type = mp_str_new(r->bytes + item->value.size, item->media_type.size);
    }
    v->rolled_at++;
    next_rollback(v);
}

static int check_each_change(mp__validation *v, const mp__schema_item *item, mp__diag *diag);

/* What a change puts there; false: nothing. */
static bool put_by(const mp__validation *v, size_t i, mp_str *ret_value, mp_str *ret_type)
{
    const mp__change *change = &v->request->changes[i];
    bool rolls = change->op == MP__CHANGE_ROLLBACK;

    *ret_value = rolls ? v->rolled[i].value : change->value;
    *ret_type = rolls ? v->rolled[i].media_type : change->media_type;
    return rolls ? !v->rolled[i].gone : change->op == MP__CHANGE_PUT;
}

/* Schemas among the changes must compile. */
static int check_schemas(mp__validation *v)
{
    mp_str scope = scope_at(v), namespace_, key, value, type;
    int rc = 0;

    for (size_t i = 0; i < v->request->count && rc == 0; i++) {
        mp__schema *schema = NULL;
        mp__diag diag = {0};
        char name[200];

        if (!concerns(&v->request->changes[i], scope, NULL, &namespace_, &key) ||
            !is_schema(namespace_) || !put_by(v, i, &value, &type) ||
            mp_str_equal(type, MP_STR(MP__MEDIA_MASK)))
            continue;
        (void)snprintf(name, sizeof(name), MP__SCHEMA_NAMESPACE "/%.*s",
                       (int)(key.size < 160 ? key.size : 160), key.data);
        rc = mp__schema_compile(value, &schema, NULL, &diag);
        (void)mp__schema_free(schema);
        if (rc && rc != MP_ENOMEM)
            rc = mp__violation_note(v->request, name, "schema", diag.text);
    }
    return rc;
}

static void next_rollback(mp__validation *v)
{
    mp__write_request *request = v->request;
    mp_str scope = scope_at(v), namespace_, key;
    int rc;

    for (; v->rolled_at < request->count; v->rolled_at++) {
        const mp__change *change = &request->changes[v->rolled_at];

        if (change->op != MP__CHANGE_ROLLBACK || !concerns(change, scope, NULL, &namespace_, &key))
            continue;
        mp__query_done(&v->own);
        v->own = (mp__query){.kind = MP__QUERY_HISTORY,
                             .loop = request->loop,
                             .identity = request->identity,
                             .address = change->address,
                             .after = change->to_revision + 1,
                             .limit = 1,
                             .with_values = true,
                             .done = rollback_came,
                             .context = v};
        mp__query_start(v->manager, &v->own);
        return;
    }
    rc = check_schemas(v);
    if (rc) {
        refuse(v, rc, NULL);
        return;
    }
    v->item = 0;
    next_item(v);
}

/* ---- documents ---- */

static int add_items(mp__part *parts, size_t *count, const mp__query *list, unsigned from,
                     const mp__schema_subject *subject)
{
    mp_str scope, namespace_, key;

    for (size_t i = 0; i < list->count; i++)
        if (mp__address_split(list->items[i].address, &scope, &namespace_, &key) == 0 &&
            mp__schema_fits(subject, namespace_, key))
            parts[(*count)++] = (mp__part){.key = key,
                                           .value = list->items[i].value,
                                           .media_type = list->items[i].media_type,
                                           .from = from};
    return list->next ? MP_ELIMIT : 0;
}

static const mp__schema_item *item_at(const mp__validation *v)
{
    return v->request->examine_name.size ? &v->examined : &v->set->items[v->item];
}

/* What stands there is a document each. */
static int check_each_value(mp__validation *v, const mp__schema_item *item, const mp__part *parts,
                            size_t count, mp__diag *diag)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        mp__schema_subject subject;
        char where[200];

        mp__schema_about(item->name, &subject);
        if (mp_str_equal(parts[i].media_type, MP_STR(MP__MEDIA_MASK)))
            continue;
        (void)snprintf(where, sizeof(where), "%.*s/%.*s", (int)subject.namespace_.size,
                       subject.namespace_.data,
                       (int)(parts[i].key.size < 150 ? parts[i].key.size : 150), parts[i].key.data);
        rc = mp__value_check(v->request, item, where, parts[i].value, parts[i].media_type, diag);
    }
    return rc;
}

static int check_document(mp__validation *v, mp__diag *diag)
{
    const mp__schema_item *item = item_at(v);
    size_t most = v->own.count + v->behind.count + v->request->count, count = 0;
    mp__part *parts = mp__calloc(most + 1, sizeof(*parts));
    mp_str scope = scope_at(v), namespace_, key;
    mp__schema_subject subject;
    int rc = parts ? 0 : MP_ENOMEM;

    mp__schema_about(item->name, &subject);
    if (rc == 0)
        rc = add_items(parts, &count, &v->behind, 0, &subject);
    if (rc == 0)
        rc = add_items(parts, &count, &v->own, 1, &subject);
    for (size_t i = 0; i < v->request->count && rc == 0; i++)
        if (concerns(&v->request->changes[i], scope, &subject, &namespace_, &key)) {
            mp__part *part = &parts[count++];

            part->key = key;
            part->from = (unsigned)i + 2;
            part->gone = !put_by(v, i, &part->value, &part->media_type);
        }
    if (rc == 0)
        rc = subject.each ? check_each_value(v, item, parts, count, diag)
                          : mp__document_check(v->request, item, &subject, parts, count, diag);
    else if (rc == MP_ELIMIT)
        (void)mp__diag_set(diag, rc, "%s has more than %d keys: too many to be checked as one",
                           item->name, KEYS_MOST);
    (void)mp__free(parts);
    return rc;
}

static void lists_came(mp__validation *v)
{
    mp__diag diag = {0};
    int rc = check_document(v, &diag);

    mp__query_done(&v->own);
    mp__query_done(&v->behind);
    if (rc) {
        refuse(v, rc, diag.text[0] ? diag.text : NULL);
        return;
    }
    v->item++;
    next_item(v);
}

static void behind_came(mp__query *query)
{
    mp__validation *v = query->context;

    if (query->status || query->stale)
        refuse_unknown(v, query->status);
    else
        lists_came(v);
}

static void own_came(mp__query *query)
{
    mp__validation *v = query->context;
    mp__schema_subject subject;
    mp_str layers[MP__LAYERS_MAX];

    if (query->status || query->stale) {
        refuse_unknown(v, query->status);
        return;
    }
    mp__schema_about(item_at(v)->name, &subject);
    if (mp__overlay_layers(v->manager, scope_at(v), subject.namespace_, layers) < 2) {
        lists_came(v);
        return;
    }
    ask(v, &v->behind, layers[1], v->own.prefix, behind_came);
    v->behind.effective = true;
    mp__query_start(v->manager, &v->behind);
}

/* Check the changes themselves; their neighbours do not matter. */
static int check_each_change(mp__validation *v, const mp__schema_item *item, mp__diag *diag)
{
    mp_str scope = scope_at(v), namespace_, key;
    mp__schema_subject subject;
    int rc = 0;

    mp__schema_about(item->name, &subject);
    for (size_t i = 0; i < v->request->count && rc == 0; i++) {
        mp__part part = {0};

        if (concerns(&v->request->changes[i], scope, &subject, &namespace_, &part.key) &&
            put_by(v, i, &part.value, &part.media_type))
            rc = check_each_value(v, item, &part, 1, diag);
    }
    (void)key;
    return rc;
}

static bool is_concerned(const mp__validation *v, const mp__schema_subject *subject)
{
    mp_str scope = scope_at(v), namespace_, key;

    for (size_t i = 0; i < v->request->count; i++)
        if (concerns(&v->request->changes[i], scope, subject, &namespace_, &key))
            return true;
    return v->request->examine_name.size != 0;
}

/* The next schema of the scope that is about one of the changes. */
static void next_item(mp__validation *v)
{
    bool examines = v->request->examine_name.size != 0;

    for (; v->item < (examines ? 1 : v->set->count); v->item++) {
        const mp__schema_item *item = item_at(v);
        mp__schema_subject subject;
        mp__diag diag = {0};
        int rc = 0, size;

        mp__schema_about(item->name, &subject);
        if (!is_concerned(v, &subject))
            continue;
        v->holds = true;
        if (!item->schema) {
            (void)snprintf(diag.text, sizeof(diag.text),
                           "its schema does not compile: %.200s; put a good one there",
                           item->trouble.text);
            rc = mp__violation_note(v->request, item->name, "schema", diag.text);
        } else if (subject.each && !examines) {
            rc = check_each_change(v, item, &diag);
        } else {
            size = snprintf(v->prefix, sizeof(v->prefix), "%.*s/%.*s", (int)subject.namespace_.size,
                            subject.namespace_.data, (int)subject.path.size, subject.path.data);
            ask(v, &v->own, scope_at(v), mp_str_new(v->prefix, (size_t)size), own_came);
            mp__query_start(v->manager, &v->own);
            return;
        }
        if (rc) {
            refuse(v, rc, diag.text[0] ? diag.text : NULL);
            return;
        }
    }
    if (examines) {
        pass(v);
        return;
    }
    v->at++;
    next_scope(v);
}

/* ---- schemas of a scope ---- */

static void have_set(mp__validation *v)
{
    if (applies(v->request, scope_at(v), v->set))
        v->holds = true;
    v->rolled_at = 0;
    if (v->holds) {
        next_rollback(v);
    } else {
        v->at++;
        next_scope(v);
    }
}

static void set_came(mp__query *query)
{
    mp__validation *v = query->context;
    int rc;

    /* Without an origin the schemas that are kept say whether one applies; where one does, the
     * document cannot be known, and where none does, the write may be kept until it can go. */
    if (query->status) {
        refuse_unknown(v, query->status);
        return;
    }
    rc = query->next
             ? MP_ELIMIT
             : mp__schemas_make(v->manager, scope_at(v), v->changes, v->generation, query, &v->set);
    mp__query_done(&v->own);
    if (rc)
        refuse(v, rc, rc == MP_ELIMIT ? "there are more than 1,000 schemas in this scope" : NULL);
    else
        have_set(v);
}

static bool was_seen(const mp__write_request *request, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (mp_str_equal(scope_of(&request->changes[i]), scope_of(&request->changes[at])))
            return true;
    return false;
}

static void next_scope(mp__validation *v)
{
    mp__write_request *request = v->request;

    while (v->at < request->count && was_seen(request, v->at))
        v->at++;
    if (v->at == request->count) {
        pass(v);
        return;
    }
    mp__schema_set_unref(v->set);
    v->set = mp__schemas_now(v->manager, scope_at(v));
    if (v->set) {
        have_set(v);
        return;
    }
    v->changes = atomic_load(&v->manager->schema_changes);
    v->generation = atomic_load(&v->manager->generation);
    ask(v, &v->own, scope_at(v), MP_STR(MP__SCHEMA_NAMESPACE "/"), set_came);
    v->own.effective = true;
    v->own.limit = SCHEMAS_MOST;
    mp__query_start(v->manager, &v->own);
}

static void begin(mp__task *task)
{
    mp__validation *v = (mp__validation *)((char *)task - offsetof(mp__validation, task));
    mp__write_request *request = v->request;
    mp__diag diag = {0};
    int rc;

    if (!request->examine_name.size) {
        next_scope(v);
        return;
    }
    v->examined.name = mp__calloc(1, request->examine_name.size + 1);
    rc = v->examined.name
             ? mp__schema_compile(request->examine_schema, &v->examined.schema, NULL, &diag)
             : MP_ENOMEM;
    if (rc) {
        refuse(v, rc, diag.text[0] ? diag.text : NULL);
        return;
    }
    memcpy(v->examined.name, request->examine_name.data, request->examine_name.size);
    next_item(v);
}

void mp__schema_examine(mp__manager *manager, mp__write_request *request)
{
    mp__validation *v;
    int rc = mp__access_check(manager->access, request->identity, MP__RIGHT_READ,
                              request->examine_name, NULL);

    mp__write_prepare(manager, request);
    request->count = 0;
    v = rc ? NULL : validation_new(manager, request);
    if (!v) {
        request->status = rc ? rc : MP_ENOMEM;
        mp__write_set_text(request, request->status);
        mp__write_reply(request);
    } else if (enter(v)) {
        begin(&v->task);
    }
}
