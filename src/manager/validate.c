/* SPDX-License-Identifier: Apache-2.0 */
/* The gate before the origin: see validate.h.
 *
 * A document is checked as it will be, with the writes of the same request in it, so nobody may
 * write to it between the check and the commit: whoever needs a check passes one at a time. Others
 * pass by, unless somebody of the same source is at the gate, whose writes keep their order, or
 * somebody who writes schemas, of which nobody knows yet what they are about. Without schemas all
 * that this costs is a look at what is known of the scope. */
#include <stdio.h>
#include <stdlib.h>

#include "manager/validate.h"

/* ---- the gate ---- */

static void begin(mp__task *task);
static bool has_schemas(const mp__write_request *request);

/* Which of the counts of sources is about @request's. */
static uint32_t source_of(const mp__write_request *request)
{
    const void *by[] = {request->source ? request->source : request->loop};

    return (uint32_t)(mp__checksum(0, by, sizeof(by)) % MP__GATE_SOURCES);
}

/* Under the lock: @request, which is at the gate, has it from now on. */
static void give_gate(mp__manager *manager, const mp__write_request *request)
{
    manager->gate_source = source_of(request);
    manager->gate_has_schemas = has_schemas(request);
}

void mp__validate_leaves(mp__manager *manager)
{
    mp__validation *next;

    (void)pthread_mutex_lock(&manager->schema_lock);
    manager->gate_sources[manager->gate_source]--;
    manager->gate_schemas -= manager->gate_has_schemas;
    next = manager->gate_first;
    if (next) {
        manager->gate_first = next->next;
        if (!manager->gate_first)
            manager->gate_last = &manager->gate_first;
        give_gate(manager, next->request);
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
    bool first, schemas = has_schemas(v->request);

    (void)pthread_mutex_lock(&manager->schema_lock);
    first = !manager->gate_busy;
    manager->gate_busy = true;
    manager->gate_sources[source_of(v->request)]++;
    manager->gate_schemas += schemas;
    if (first) {
        give_gate(manager, v->request);
    } else {
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
    mp__query_done(&v->query);
    mp__scopes_done(v);
    mp__schemas_nears_done(&v->nears);
    (void)mp__free(v);
}

void mp__validation_refuses(mp__validation *v, int status, const char *text)
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

/* Nothing can be checked, so nothing is written. */
void mp__validation_is_blind(mp__validation *v, int status)
{
    bool lost = mp__state_now(&v->manager->origin->state) == MP__ORIGIN_LOST;

    mp__validation_refuses(v,
                           status == MP_ENOMEM ? status
                           : lost              ? MP_EORIGINLOST
                                               : MP_EORIGIN,
                           NULL);
}

void mp__validation_passes(mp__validation *v)
{
    mp__write_request *request = v->request;
    mp__manager *manager = v->manager;
    bool gated = v->holds, holds = gated && !request->dry_run;

    if (request->examine_name.size) {
        mp__validation_refuses(v, 0, NULL); /* answered, without a write */
        return;
    }
    if (request->broken_count) {
        char text[sizeof(request->text)];

        mp__violations_say(request);
        memcpy(text, request->text, sizeof(text));
        mp__validation_refuses(v, MP_EINVALID, text);
        return;
    }
    validation_free(v);
    request->is_gated = gated; /* a dry run's, too: it would not be written back */
    mp__write_go(manager, request);
    if (!holds)
        mp__validate_leaves(manager);
}

/* ---- what takes long ---- */

static void worked(mp__task *task)
{
    mp__validation *v = (mp__validation *)((char *)task - offsetof(mp__validation, task));

    v->worked(v);
}

static void work(mp__task *task)
{
    mp__validation *v = (mp__validation *)((char *)task - offsetof(mp__validation, task));

    v->verdict = v->work(v);
    v->task.run = worked;
    mp__loop_post(v->request->loop, &v->task);
}

void mp__validation_works(mp__validation *v, size_t bytes)
{
    if (bytes <= MP__VALIDATED_AT_ONCE) {
        v->verdict = v->work(v);
        v->worked(v);
    } else {
        v->task.run = work;
        mp__worker_post(v->manager->slow, &v->task);
    }
}

/* ---- which changes ---- */

static mp_str scope_of(const mp__change *change)
{
    return mp_str_new(change->address.data, mp__scope_size(change->address));
}

/* Its namespace and key, if it changes a value. */
static bool value_of(const mp__change *change, mp_str *ret_namespace, mp_str *ret_key)
{
    mp_str scope;

    return mp__change_is_of_value(change) &&
           mp__address_split(change->address, &scope, ret_namespace, ret_key) == 0;
}

static bool has_schemas(const mp__write_request *request)
{
    mp_str namespace_, key;

    for (size_t i = 0; i < request->count; i++)
        if (value_of(&request->changes[i], &namespace_, &key) && mp__schema_is_one(namespace_))
            return true;
    return false;
}

static bool has_only_schemas(const mp__write_request *request)
{
    mp_str namespace_, key;

    for (size_t i = 0; i < request->count; i++)
        if (value_of(&request->changes[i], &namespace_, &key) && !mp__schema_is_one(namespace_))
            return false;
    return true;
}

/* Whether one of @nears has a schema that is about @change, or it is a schema. */
static bool is_about(const mp__schema_nears *nears, const mp__change *change)
{
    mp_str namespace_, key;

    if (!value_of(change, &namespace_, &key))
        return false;
    if (mp__schema_is_one(namespace_))
        return true;
    for (size_t i = 0; i < nears->count; i++)
        for (size_t k = 0; nears->items[i].set && k < nears->items[i].set->count; k++) {
            mp__schema_subject subject;

            mp__schema_about(nears->items[i].set->items[k].name, &subject);
            if (mp__schema_fits(&subject, namespace_, key))
                return true;
        }
    return false;
}

/* The changes from *@from on that are in one scope: whether nothing has to be checked of them. */
static bool may_these_pass(mp__manager *manager, const mp__write_request *request, size_t *from)
{
    mp__schema_nears nears = {.only_sets = true};
    mp_str scope = scope_of(&request->changes[*from]);
    bool may = mp__schemas_near(manager, scope, &nears) == 0;

    for (size_t i = 0; i < nears.count && may; i++)
        may = nears.items[i].is_known;
    do
        may = may && !is_about(&nears, &request->changes[*from]);
    while (++*from < request->count && mp_str_equal(scope_of(&request->changes[*from]), scope));
    mp__schemas_nears_done(&nears);
    return may;
}

/* Whether nobody is in the way, and it is known of all scopes that nothing has to be checked. */
static bool may_pass(mp__manager *manager, const mp__write_request *request)
{
    bool may = true, waits, are_none;

    (void)pthread_mutex_lock(&manager->schema_lock);
    waits =
        manager->gate_busy && (manager->gate_schemas || manager->gate_sources[source_of(request)]);
    are_none = mp__schemas_are_none(manager);
    (void)pthread_mutex_unlock(&manager->schema_lock);
    if (waits || are_none)
        return !waits && !has_schemas(request);
    for (size_t i = 0; i < request->count && may;)
        may = may_these_pass(manager, request, &i);
    return may;
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

    if (manager->origin->ops->read_only || may_pass(manager, request))
        return false; /* one that is read only refuses everything */
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

/* ---- the values that rollbacks bring back ---- */

static void next_rollback(mp__validation *v);

static void rollback_came(mp__query *query)
{
    mp__validation *v = query->context;
    mp__rolled *r = &v->rolled[v->rolled_at];
    const mp__list_item *item = query->count ? query->items : NULL;

    if (query->status) {
        mp__validation_is_blind(v, query->status);
        return;
    }
    r->gone = !item || item->deleted;
    if (!r->gone) {
        r->bytes = mp__malloc(item->value.size + item->media_type.size + 1);
        if (!r->bytes) {
            mp__validation_refuses(v, MP_ENOMEM, NULL);
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

bool mp__validation_puts(const mp__validation *v, size_t i, mp_str *ret_value, mp_str *ret_type)
{
    const mp__change *change = &v->request->changes[i];
    bool rolls = change->op == MP__CHANGE_ROLLBACK;

    *ret_value = rolls ? v->rolled[i].value : change->value;
    *ret_type = rolls ? v->rolled[i].media_type : change->media_type;
    return rolls ? !v->rolled[i].gone : change->op == MP__CHANGE_PUT;
}

static void note_warnings(mp__write_request *request, const char *name,
                          const mp__violations *warnings)
{
    for (size_t i = 0; i < warnings->count && i < warnings->capacity; i++) {
        mp__broken *warned;

        if (!request->warned)
            request->warned = mp__calloc(MP__BROKEN_MAX, sizeof(*request->warned));
        if (!request->warned || request->warned_count == MP__BROKEN_MAX)
            return; /* the write does not fail for want of them */
        warned = &request->warned[request->warned_count++];
        (void)snprintf(warned->where, sizeof(warned->where), "%s", name);
        (void)snprintf(warned->schema, sizeof(warned->schema), "%s", warnings->items[i].schema);
        (void)snprintf(warned->text, sizeof(warned->text), "%s", warnings->items[i].text);
    }
}

/* Compile the schema @name, and note what it probably does not mean. As mp__schema_compile(). */
static int compile_warning(mp__write_request *request, const char *name, mp_str text,
                           mp__schema **ret_schema, mp__diag *diag)
{
    mp__violation *items = mp__calloc(MP__BROKEN_MAX, sizeof(*items));
    mp__violations warnings = {.items = items, .capacity = items ? MP__BROKEN_MAX : 0};
    int rc = mp__schema_compile(text, ret_schema, &warnings, diag);

    if (rc == 0)
        note_warnings(request, name, &warnings);
    (void)mp__free(items);
    return rc;
}

/* Schemas among the changes must compile. Whether what is there keeps them nobody asks here: that
 * is told by mp__schema_examine(), and the next write to the document must mend it. */
static int check_schemas(mp__validation *v)
{
    mp_str namespace_, key, value, type;
    int rc = 0;

    v->request->warned_count = 0;
    for (size_t i = 0; i < v->request->count && rc == 0; i++) {
        mp__schema *schema = NULL;
        mp__diag diag = {0};
        char name[200];

        if (!value_of(&v->request->changes[i], &namespace_, &key) ||
            !mp__schema_is_one(namespace_) || !mp__validation_puts(v, i, &value, &type) ||
            mp_str_equal(type, MP_STR(MP__MEDIA_MASK)))
            continue;
        (void)snprintf(name, sizeof(name), MP__SCHEMA_NAMESPACE "/%.*s",
                       (int)(key.size < 160 ? key.size : 160), key.data);
        rc = compile_warning(v->request, name, value, &schema, &diag);
        (void)mp__schema_free(schema);
        if (rc == 0 || rc == MP_ENOMEM)
            continue;
        rc = mp__violation_note(v->request, name, "schema", diag.text);
        if (rc == 0)
            mp__violation_place(v->request, &diag);
    }
    return rc;
}

static size_t bytes_of_schemas(const mp__validation *v)
{
    mp_str namespace_, key, value, type;
    size_t bytes = 0;

    for (size_t i = 0; i < v->request->count; i++)
        if (value_of(&v->request->changes[i], &namespace_, &key) && mp__schema_is_one(namespace_) &&
            mp__validation_puts(v, i, &value, &type))
            bytes += value.size;
    return bytes;
}

static void schemas_checked(mp__validation *v)
{
    v->at = 0;
    if (v->verdict)
        mp__validation_refuses(v, v->verdict, NULL);
    else
        mp__scopes_judge(v);
}

static void next_rollback(mp__validation *v)
{
    mp__write_request *request = v->request;
    mp_str namespace_, key;

    for (; v->rolled_at < request->count; v->rolled_at++) {
        const mp__change *change = &request->changes[v->rolled_at];

        if (change->op != MP__CHANGE_ROLLBACK || !value_of(change, &namespace_, &key))
            continue;
        mp__query_done(&v->query);
        v->query = (mp__query){.kind = MP__QUERY_HISTORY,
                               .loop = request->loop,
                               .identity = request->identity,
                               .address = change->address,
                               .after = change->to_revision + 1,
                               .limit = 1,
                               .with_values = true,
                               .done = rollback_came,
                               .context = v};
        mp__query_begin(v->manager, &v->query);
        return;
    }
    v->work = check_schemas;
    v->worked = schemas_checked;
    mp__validation_works(v, bytes_of_schemas(v));
}

/* ---- which scopes there are, and their schemas ---- */

static void learn(mp__validation *v);

static void kept_done(mp__task *task)
{
    mp__validation *v = (mp__validation *)((char *)task - offsetof(mp__validation, task));

    if (v->kept)
        mp__validation_is_blind(v, v->kept);
    else
        learn(v);
}

static void run_kept(mp__task *task)
{
    mp__validation *v = (mp__validation *)((char *)task - offsetof(mp__validation, task));

    v->kept = mp__schemas_make_kept(v->manager, v->epoch);
    v->task.run = kept_done;
    mp__loop_post(v->request->loop, &v->task);
}

/* Without an origin the schemas that are kept say whether one applies; where one does, the document
 * cannot be known, and where none does, the write may be kept until it can go. */
static void learn_kept(mp__validation *v)
{
    uint64_t epoch = mp__schemas_epoch(v->manager);

    if (epoch % 2 == 0 || v->kept_epoch == epoch) {
        /* a watch holds, so that what is kept is not the truth of now; or it does not say */
        mp__validation_is_blind(v, MP_EORIGIN);
        return;
    }
    v->kept_epoch = v->epoch = epoch;
    v->task.run = run_kept;
    mp__worker_post(v->manager->slow, &v->task);
}

/* ---- how many schemas there will be ---- */

typedef struct named {
    mp_str key;
    size_t at; /* of the changes */
} named;

static int compare_named(const void *a, const void *b)
{
    const named *x = a, *y = b;
    size_t size = x->key.size < y->key.size ? x->key.size : y->key.size;
    int order = memcmp(x->key.data, y->key.data, size);

    if (order == 0)
        order = (x->key.size > y->key.size) - (x->key.size < y->key.size);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static bool has_schema(const mp__schema_set *set, mp_str key)
{
    for (size_t i = 0; set && i < set->count; i++)
        if (mp_str_equal(mp_str_of(set->items[i].name), key))
            return true;
    return false;
}

/* Whether @scope, which has @set, would have more schemas by the request than it has, and more than
 * are looked at. */
static int has_too_many(const mp__write_request *request, mp_str scope, const mp__schema_set *set,
                        bool *ret_too_many)
{
    size_t count = 0, has = set ? set->count : 0, added = 0, gone = 0;
    named *all = mp__calloc(request->count + 1, sizeof(*all));
    mp_str namespace_, key;

    if (!all)
        return MP_ENOMEM;
    for (size_t i = 0; i < request->count; i++)
        if (value_of(&request->changes[i], &namespace_, &key) && mp__schema_is_one(namespace_) &&
            mp_str_equal(scope_of(&request->changes[i]), scope))
            all[count++] = (named){key, i};
    qsort(all, count, sizeof(*all), compare_named);
    for (size_t i = 0; i < count && added <= MP__SCHEMAS_MAX + gone; i++) {
        bool goes = request->changes[all[i].at].op == MP__CHANGE_DELETE;

        if (i + 1 < count && mp_str_equal(all[i].key, all[i + 1].key))
            continue; /* what comes later counts */
        if (goes == has_schema(set, all[i].key))
            *(goes ? &gone : &added) += 1;
    }
    (void)mp__free(all);
    *ret_too_many = added > gone && has + added - gone > MP__SCHEMAS_MAX;
    return 0;
}

/* True: the request was refused, for one schema more could not be checked by. */
static bool grows_too_large(mp__validation *v)
{
    const mp__write_request *request = v->request;
    mp_str namespace_, key, before = mp_str_new("", 0);
    bool too_many = false;
    char text[320];

    for (size_t i = 0; i < request->count; i++) {
        mp_str scope = scope_of(&request->changes[i]);
        const mp__schema_set *set;
        int rc;

        if (mp_str_equal(scope, before) || !value_of(&request->changes[i], &namespace_, &key) ||
            !mp__schema_is_one(namespace_))
            continue;
        before = scope;
        set = mp__scopes_set_of(v, scope);
        if ((set ? set->count : 0) + request->count <= MP__SCHEMAS_MAX)
            continue;
        rc = has_too_many(request, scope, set, &too_many);
        if (rc == 0 && !too_many)
            continue;
        (void)snprintf(text, sizeof(text), "a scope has at most %d schemas, and %.*s has %zu",
                       MP__SCHEMAS_MAX, (int)scope.size, scope.data, set ? set->count : 0);
        mp__validation_refuses(v, rc ? rc : MP_ELIMIT, rc ? NULL : text);
        return true;
    }
    return false;
}

static void ask_schemas(mp__validation *v, mp_str scope);

/* The schemas of the scopes that matter, and of all where there are few. */
static void next_set(mp__validation *v)
{
    mp_str unknown;

    while (v->at < v->nears.count && v->nears.items[v->at].is_known)
        v->at++;
    if (v->at < v->nears.count) {
        ask_schemas(v, v->nears.items[v->at].scope);
        return;
    }
    unknown = v->knows_enough ? mp_str_new("", 0) : mp__schemas_unknown(v->manager);
    if (unknown.size) {
        ask_schemas(v, unknown);
        return;
    }
    if (v->kept_epoch && v->kept_epoch != mp__schemas_epoch(v->manager)) {
        v->kept_epoch = 0; /* the origin is back meanwhile, and says it itself */
        learn(v);
        return;
    }
    for (size_t i = 0; i < v->request->count && !v->holds; i++)
        v->holds = is_about(&v->nears, &v->request->changes[i]);
    if (!v->holds)
        mp__validation_passes(v);
    else if (!grows_too_large(v))
        next_rollback(v);
}

/* A scope whose schemas cannot all be known, the origin being there: no value is written that one
 * of them may be about. Schemas themselves are: that is how it is mended. */
static void set_is_partial(mp__validation *v, const mp__query *query)
{
    int size = (int)query->environment.size;
    char text[400];

    if (query->damaged)
        (void)snprintf(
            text, sizeof(text),
            "a schema of %.*s is damaged in the origin, so that nothing can be checked by "
            "it: put it there anew, or delete it",
            size, query->environment.data);
    else
        (void)snprintf(text, sizeof(text), "there are more than %d schemas in %.*s: delete some",
                       MP__SCHEMAS_MAX, size, query->environment.data);
    mp__validation_refuses(v, query->damaged ? MP_ECORRUPT : MP_ELIMIT, text);
}

static int make_set(mp__validation *v)
{
    bool is_partial = v->query.damaged || v->query.next;

    v->made = NULL;
    return mp__schemas_make(v->manager, v->query.environment,
                            is_partial ? MP__SCHEMAS_PARTIAL : v->changes, v->epoch, &v->query,
                            &v->made);
}

static void set_made(mp__validation *v)
{
    if (v->verdict) {
        mp__validation_refuses(v, v->verdict, NULL);
        return;
    }
    if (v->at < v->nears.count) {
        v->nears.items[v->at].is_known = true;
        v->nears.items[v->at].set = v->made;
    } else {
        (void)mp__schema_set_unref(v->made);
    }
    next_set(v);
}

static void set_came(mp__query *query)
{
    mp__validation *v = query->context;
    bool is_partial = query->damaged || query->next;
    size_t bytes = 0;
    int rc = query->status;

    if (rc == MP_ENOMEM) {
        mp__validation_refuses(v, rc, NULL);
        return;
    }
    if (v->at >= v->nears.count && (rc || query->stale || is_partial)) {
        v->knows_enough = true; /* it is of no scope that matters for this write */
        next_set(v);
        return;
    }
    if (rc || query->stale) {
        learn_kept(v);
        return;
    }
    if (is_partial && !has_only_schemas(v->request)) {
        set_is_partial(v, query);
        return;
    }
    for (size_t i = 0; i < query->count; i++)
        bytes += query->items[i].value.size;
    v->work = make_set;
    v->worked = set_made;
    mp__validation_works(v, bytes);
}

static void ask_schemas(mp__validation *v, mp_str scope)
{
    mp__query_done(&v->query);
    v->epoch = mp__schemas_epoch(v->manager);
    v->changes = mp__schemas_changes(v->manager, scope);
    v->query = (mp__query){.kind = MP__QUERY_LIST,
                           .loop = v->request->loop,
                           .identity = v->request->identity,
                           .environment = scope,
                           .prefix = MP_STR(MP__SCHEMA_NAMESPACE "/"),
                           .by_key = true,
                           .with_values = true,
                           .takes_damaged = true,
                           .limit = MP__SCHEMAS_MAX,
                           .done = set_came,
                           .context = v};
    mp__query_begin(v->manager, &v->query);
}

static void ask_scopes(mp__validation *v, mp_str after);

static void scopes_came(mp__query *query)
{
    mp__validation *v = query->context;
    int rc = query->status;

    if (rc == 0 && !query->stale) {
        for (size_t i = 0; i < query->count && rc == 0; i++)
            rc = mp__schemas_scope(v->manager, query->items[i].address);
        if (rc == 0 && query->next && query->count) {
            mp_str last = query->items[query->count - 1].address;

            memcpy(v->after, last.data, last.size);
            ask_scopes(v, mp_str_new(v->after, last.size));
            return;
        }
    }
    if (rc == MP_ENOMEM) {
        mp__validation_refuses(v, rc, NULL);
    } else if (rc || query->stale) {
        learn_kept(v);
    } else {
        mp__schemas_scopes_are_all(v->manager, v->epoch);
        learn(v);
    }
}

static void ask_scopes(mp__validation *v, mp_str after)
{
    mp__query_done(&v->query);
    if (!after.size)
        v->epoch = mp__schemas_epoch(v->manager);
    v->query = (mp__query){.kind = MP__QUERY_ENVIRONMENTS,
                           .loop = v->request->loop,
                           .identity = v->request->identity,
                           .after_address = after,
                           .limit = MP__VALIDATED_SCOPES_MAX,
                           .done = scopes_came,
                           .context = v};
    mp__query_begin(v->manager, &v->query);
}

static int compare_nears(const void *a, const void *b)
{
    mp_str x = ((const mp__schema_near *)a)->scope, y = ((const mp__schema_near *)b)->scope;
    int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);

    return order ? order : (x.size > y.size) - (x.size < y.size);
}

/* In their order, each once. */
static void sort_nears(mp__schema_nears *nears)
{
    size_t count = 0;

    if (nears->count)
        qsort(nears->items, nears->count, sizeof(*nears->items), compare_nears);
    for (size_t i = 0; i < nears->count; i++) {
        if (count && compare_nears(&nears->items[count - 1], &nears->items[i]) == 0)
            (void)mp__schema_set_unref(nears->items[i].set);
        else
            nears->items[count++] = nears->items[i];
    }
    nears->count = count;
}

static bool was_seen(const mp__write_request *request, size_t at)
{
    for (size_t i = at; i-- > 0;)
        if (mp_str_equal(scope_of(&request->changes[i]), scope_of(&request->changes[at])))
            return true;
    return false;
}

static void learn(mp__validation *v)
{
    const mp__write_request *request = v->request;
    int rc = 0;

    mp__schemas_nears_done(&v->nears);
    v->at = 0;
    for (size_t i = 0; i < request->count && rc == 0; i++)
        if (!was_seen(request, i))
            rc = mp__schemas_near(v->manager, scope_of(&request->changes[i]), &v->nears);
    if (rc == MP_EUNKNOWN) {
        ask_scopes(v, MP_STR(""));
    } else if (rc) {
        mp__validation_refuses(v, rc, NULL);
    } else {
        sort_nears(&v->nears);
        next_set(v);
    }
}

static int compile_examined(mp__validation *v)
{
    mp_str name = v->request->examine_name;

    v->verdict_diag = (mp__diag){0};
    v->examined.name = mp__calloc(1, name.size + 1);
    if (!v->examined.name)
        return MP_ENOMEM;
    memcpy(v->examined.name, name.data, name.size);
    return compile_warning(v->request, v->examined.name, v->request->examine_schema,
                           &v->examined.schema, &v->verdict_diag);
}

static void examined_compiled(mp__validation *v)
{
    mp__diag diag = v->verdict_diag; /* @v goes */

    if (v->verdict) {
        mp__validation_refuses(v, v->verdict, diag.text[0] ? diag.text : NULL);
    } else {
        mp__scopes_judge(v);
    }
}

static void begin(mp__task *task)
{
    mp__validation *v = (mp__validation *)((char *)task - offsetof(mp__validation, task));

    if (!v->request->examine_name.size) {
        learn(v);
        return;
    }
    v->work = compile_examined;
    v->worked = examined_compiled;
    mp__validation_works(v, v->request->examine_schema.size);
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
