/* SPDX-License-Identifier: Apache-2.0 */
/* Judging a request by every scope whose readers will see it: see validate.h.
 *
 * First come the scopes that are written to, then those that fall back to one of them: a value of
 * the base may break a schema that only `production` has, or the base's own together with what
 * `production` says otherwise. What one of these inner scopes is held to is that the request breaks
 * nothing there which was whole: what was broken before is for whoever writes to it to mend, and
 * must not stop all others.
 *
 * A scope that has neither keys of a document nor a schema of its own for it shows what the scope
 * behind it shows, judged by the same schema, so it needs no look of its own. Nor, therefore, does
 * any that holds no keys at all. */
#include <stdio.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "manager/validate.h"

/* ---- which changes ---- */

static bool examines(const mp__validation *v)
{
    return v->request->examine_name.size != 0;
}

static mp_str scope_of(const mp__change *change)
{
    return mp_str_new(change->address.data, mp__scope_size(change->address));
}

/* Its key, if a reader of the scope at work may see it and the schema @subject is about it. */
static bool concerns(const mp__validation *v, const mp__change *change,
                     const mp__schema_subject *subject, mp_str *ret_key)
{
    mp_str of, namespace_, rest;

    return mp__change_is_of_value(change) &&
           mp__address_split(change->address, &of, &namespace_, ret_key) == 0 &&
           mp__schema_fits(subject, namespace_, *ret_key) &&
           mp__overlay_sees(v->manager, v->scope, change->address, &rest);
}

static bool is_concerned(const mp__validation *v, const mp__schema_subject *subject)
{
    mp_str key;

    for (size_t i = 0; i < v->request->count; i++)
        if (concerns(v, &v->request->changes[i], subject, &key))
            return true;
    return examines(v);
}

/* Whether one of those stands in the scope at work itself. */
static bool is_written(const mp__validation *v, const mp__schema_subject *subject)
{
    mp_str key;

    for (size_t i = 0; i < v->request->count; i++)
        if (mp_str_equal(scope_of(&v->request->changes[i]), v->scope) &&
            (!subject || concerns(v, &v->request->changes[i], subject, &key)))
            return true;
    return examines(v);
}

static bool sees_any(const mp__validation *v)
{
    mp_str rest;

    for (size_t i = 0; i < v->request->count; i++)
        if (mp__overlay_sees(v->manager, v->scope, v->request->changes[i].address, &rest))
            return true;
    return false;
}

/* ---- schemas that count in the scope at work ---- */

const mp__schema_set *mp__scopes_set_of(const mp__validation *v, mp_str scope)
{
    size_t low = 0, high = v->nears.count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        mp_str at = v->nears.items[middle].scope;
        int order = memcmp(at.data, scope.data, at.size < scope.size ? at.size : scope.size);

        if (order == 0)
            order = (at.size > scope.size) - (at.size < scope.size);
        if (order == 0)
            return v->nears.items[middle].set;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool has_item(const mp__schema_set *set, const char *name)
{
    for (size_t i = 0; set && i < set->count; i++)
        if (strcmp(set->items[i].name, name) == 0)
            return true;
    return false;
}

/* The schema at work, or the next one that counts in the scope at work and is about one of the
 * changes; NULL: there is none. */
static const mp__schema_item *find_item(mp__validation *v)
{
    mp_str layers[MP__LAYERS_MAX];
    size_t count;

    if (examines(v))
        return v->item == 0 ? &v->examined : NULL;
    count = mp__overlay_layers(v->manager, v->scope, MP_STR(MP__SCHEMA_NAMESPACE), layers);
    for (; v->layer < count; v->layer++, v->item = 0) {
        const mp__schema_set *set = mp__scopes_set_of(v, layers[v->layer]);

        for (; set && v->item < set->count; v->item++) {
            const mp__schema_item *item = &set->items[v->item];
            mp__schema_subject subject;
            bool is_hidden = item->is_mask;

            mp__schema_about(item->name, &subject);
            if (is_hidden || !is_concerned(v, &subject))
                continue;
            for (size_t i = 0; i < v->layer && !is_hidden; i++)
                is_hidden = has_item(mp__scopes_set_of(v, layers[i]), item->name);
            if (!is_hidden)
                return item;
        }
    }
    return NULL;
}

/* ---- what the layers hold ---- */

static void listed_done(mp__listed *listed)
{
    while (listed->pages) {
        mp__listed_page *page = listed->pages;

        listed->pages = page->next;
        mp__query_done(&page->query);
        (void)mp__free(page);
    }
    *listed = (mp__listed){.scope = MP_STR("")};
}

void mp__scopes_done(mp__validation *v)
{
    for (size_t i = 0; i < MP__LAYERS_MAX; i++)
        listed_done(&v->lists[i]);
    for (size_t i = 0; i < MP__LISTED_AHEAD; i++)
        listed_done(&v->ahead[i]);
}

static mp__listed *listed_at(mp__validation *v)
{
    return &v->lists[v->of_count - 1 - v->list_at];
}

/* Of documents each, only those that change matter: what their keys begin with, and their last. */
static mp_str range_of(mp__validation *v, const mp__schema_subject *subject)
{
    mp_str begin = subject->path, of, namespace_, key;
    bool first = true;

    v->last_key = mp_str_new("", 0);
    for (size_t i = 0; i < v->request->count; i++) {
        const mp__change *change = &v->request->changes[i];

        if (!mp__change_is_of_value(change) ||
            mp__address_split(change->address, &of, &namespace_, &key) != 0 ||
            !mp__schema_fits(subject, namespace_, key))
            continue;
        begin = first ? key : mp_str_new(begin.data, mp__common_size(begin, key));
        if (first || mp__bytes_order(key, v->last_key) > 0)
            v->last_key = key;
        first = false;
    }
    return begin;
}

/* Which keys the lists are of from now on; those of others are no use any more. */
static void choose_keys(mp__validation *v, const mp__schema_subject *subject)
{
    mp_str last = v->last_key, begin = subject->path;
    char prefix[MP__ADDRESS_MAX];
    int size;

    v->last_key = mp_str_new("", 0);
    if (subject->each && !examines(v))
        begin = range_of(v, subject);
    size = snprintf(prefix, sizeof(prefix), "%.*s/%.*s", (int)subject->namespace_.size,
                    subject->namespace_.data, (int)begin.size, begin.data);
    if ((size_t)size == v->prefix_size && memcmp(prefix, v->prefix, v->prefix_size) == 0 &&
        mp_str_equal(last, v->last_key))
        return;
    mp__scopes_done(v);
    v->prefix_size = (size_t)size;
    memcpy(v->prefix, prefix, v->prefix_size + 1);
}

static void page_came(mp__query *query);

/* Ask for what @listed->scope holds, behind @after. */
static int ask_page(mp__validation *v, mp__listed *listed, mp_str after)
{
    mp__listed_page *page = mp__calloc(1, sizeof(*page));
    bool is_single = v->last_key.size && v->prefix_size >= v->last_key.size &&
                     memcmp(v->prefix + v->prefix_size - v->last_key.size, v->last_key.data,
                            v->last_key.size) == 0;

    if (!page)
        return MP_ENOMEM;
    page->validation = v;
    page->listed = listed;
    if (after.size)
        memcpy(page->after, after.data, after.size);
    page->query = (mp__query){.kind = MP__QUERY_LIST,
                              .loop = v->request->loop,
                              .identity = v->request->identity,
                              .environment = listed->scope,
                              .prefix = mp_str_new(v->prefix, v->prefix_size),
                              .by_key = true,
                              .with_values = true,
                              .takes_damaged = true,
                              .after_address = mp_str_new(page->after, after.size),
                              .limit = is_single ? 1 : MP__VALIDATED_KEYS_MAX,
                              .done = page_came,
                              .context = page};
    page->next = listed->pages;
    listed->pages = page;
    v->under_way++;
    mp__query_begin(v->manager, &page->query);
    return 0;
}

/* Whether keys that matter may come behind those of @page. */
static bool goes_on(const mp__validation *v, const mp__query *page)
{
    mp_str of, namespace_, key;

    return page->next && page->count && v->last_key.size &&
           mp__address_split(page->items[page->count - 1].address, &of, &namespace_, &key) == 0 &&
           mp__bytes_order(key, v->last_key) < 0;
}

static int key_order(const void *a, const void *b)
{
    return mp__bytes_order(*(const mp_str *)a, *(const mp_str *)b);
}

/* Whether @page has a key that is changed. Both are in the order of keys. */
static int has_changed(const mp__validation *v, const mp__query *page, bool *ret_has)
{
    size_t count = 0, at = 0;
    mp_str *keys = mp__calloc(v->request->count + 1, sizeof(*keys)), of, namespace_, key;

    *ret_has = false;
    if (!keys)
        return MP_ENOMEM;
    for (size_t i = 0; i < v->request->count; i++)
        if (mp__address_split(v->request->changes[i].address, &of, &namespace_, &key) == 0)
            keys[count++] = key;
    qsort(keys, count, sizeof(*keys), key_order);
    for (size_t i = 0; i < page->count && !*ret_has; i++) {
        if (mp__address_split(page->items[i].address, &of, &namespace_, &key) != 0)
            continue;
        while (at < count && mp__bytes_order(keys[at], key) < 0)
            at++;
        *ret_has = at < count && mp_str_equal(keys[at], key);
    }
    (void)mp__free(keys);
    return 0;
}

/* Take what came: keep it if it matters. */
static int take_page(mp__validation *v, mp__listed_page *page)
{
    bool more = goes_on(v, &page->query), keep = true;
    mp_str last = MP_STR("");
    char after[MP__ADDRESS_MAX];
    int rc = 0;

    if (page->query.damaged)
        page->listed->trouble = MP_ECORRUPT;
    if (page->query.next && !v->last_key.size) {
        page->listed->trouble = MP_ELIMIT;
        page->listed->is_full = true;
        mp__query_done(&page->query);
        return 0;
    }
    if (more) {
        last = page->query.items[page->query.count - 1].address;
        memcpy(after, last.data, last.size);
    }
    if (v->last_key.size)
        rc = has_changed(v, &page->query, &keep);
    if (rc == 0 && keep)
        page->listed->count += page->query.count;
    else
        mp__query_done(&page->query);
    if (rc == 0 && more)
        return ask_page(v, page->listed, mp_str_new(after, last.size));
    page->listed->is_full = rc == 0;
    return rc;
}

/* All that was asked for has come, and something of it failed. */
static void give_up(mp__validation *v)
{
    if (v->is_blind)
        mp__validation_is_blind(v, v->failed);
    else
        mp__validation_refuses(v, v->failed, NULL);
}

static void page_came(mp__query *query)
{
    mp__listed_page *page = query->context;
    mp__validation *v = page->validation;

    v->under_way--;
    if (query->status || query->stale) {
        v->is_blind = true;
        v->failed = query->status;
    } else if (!v->is_blind && v->failed == 0) {
        v->failed = take_page(v, page);
    }
    if (v->under_way)
        return;
    if (v->is_blind || v->failed)
        give_up(v);
    else
        mp__scopes_judge(v);
}

/* ---- judging ---- */

static void add_listed(const mp__listed *listed, unsigned layer, const mp__schema_subject *subject,
                       mp__part *parts, size_t *count)
{
    mp_str scope, namespace_, key;

    for (const mp__listed_page *page = listed->pages; page; page = page->next)
        for (size_t i = 0; i < page->query.count; i++) {
            const mp__list_item *item = &page->query.items[i];

            if (mp__address_split(item->address, &scope, &namespace_, &key) == 0 &&
                mp__schema_fits(subject, namespace_, key))
                parts[(*count)++] = (mp__part){.key = key,
                                               .value = item->value,
                                               .media_type = item->media_type,
                                               .layer = layer};
        }
}

static void add_changes(const mp__validation *v, const mp__schema_subject *subject, mp__part *parts,
                        size_t *count)
{
    mp_str key;

    for (size_t i = 0; i < v->request->count; i++) {
        const mp__change *change = &v->request->changes[i];
        mp__part *part = &parts[*count];
        size_t layer = 0;

        if (!concerns(v, change, subject, &key))
            continue;
        while (layer < v->of_count && !mp_str_equal(v->of[layer], scope_of(change)))
            layer++;
        *part = (mp__part){
            .key = key, .layer = (unsigned)(v->of_count - 1 - layer), .from = (unsigned)i + 1};
        part->gone = !mp__validation_puts(v, i, &part->value, &part->media_type);
        ++*count;
    }
}

static int check(const mp__validation *v, const mp__schema_item *item,
                 const mp__schema_subject *subject, const mp__part *parts, size_t count,
                 bool as_it_stands, mp__write_request *found, mp__diag *diag)
{
    return subject->each
               ? mp__documents_check(found, item, subject, parts, count, examines(v), as_it_stands,
                                     diag)
               : mp__document_check(found, item, subject, parts, count, as_it_stands, diag);
}

/* Judge what the lists and the changes make of the document, or documents, of @item. */
static int judge_item(mp__validation *v, const mp__schema_item *item,
                      const mp__schema_subject *subject, mp__diag *diag)
{
    size_t most = v->request->count, count = 0;
    mp__write_request after = {0}, before = {0};
    bool is_own = is_written(v, subject);
    mp__diag ignored = {0};
    mp__part *parts;
    int rc;

    for (size_t i = 0; i < v->of_count; i++) {
        most += v->lists[i].count;
        is_own = is_own && !v->lists[i].trouble; /* what damage hides is not to blame */
    }
    parts = mp__calloc(most + 1, sizeof(*parts));
    rc = parts ? 0 : MP_ENOMEM;
    if (rc == 0) {
        for (size_t i = 0; i < v->of_count; i++)
            add_listed(&v->lists[i], (unsigned)i, subject, parts, &count);
        add_changes(v, subject, parts, &count);
        mp__parts_sort(parts, count);
        rc = check(v, item, subject, parts, count, false, &after, diag);
    }
    if (rc == 0 && after.broken_count && !is_own) { /* what was broken before is not to blame */
        rc = check(v, item, subject, parts, count, true, &before, diag);
    } else if (rc == MP_ELIMIT && !is_own) { /* nor is what could not be judged before */
        rc = check(v, item, subject, parts, count, true, &before, &ignored);
        after.broken_count = 0;
        rc = rc == MP_ELIMIT ? 0 : rc ? rc : MP_ELIMIT;
    }
    if (rc == 0 && after.broken_count)
        rc = mp__violations_add(v->request, &after, is_own ? NULL : &before, v->scope,
                                v->judges_inner);
    (void)mp__free(after.broken);
    (void)mp__free(before.broken);
    (void)mp__free(parts);
    return rc;
}

static int note_broken_schema(mp__validation *v, const mp__schema_item *item)
{
    mp__write_request found = {0};
    char text[320];
    int rc;

    (void)snprintf(text, sizeof(text), "its schema does not compile: %.200s; put a good one there",
                   item->trouble.text);
    rc = mp__violation_note(&found, item->name, "schema", text);
    if (rc == 0)
        rc = mp__violations_add(v->request, &found, NULL, v->scope, v->judges_inner);
    (void)mp__free(found.broken);
    return rc;
}

/* Whether nothing but the changes themselves can matter of documents each: all of them put a value
 * in the nearest layer, or delete one that has none behind it. */
static bool needs_no_list(const mp__validation *v, const mp__schema_subject *subject)
{
    mp_str key, value, type;

    if (!subject->each || examines(v))
        return false;
    for (size_t i = 0; i < v->request->count; i++) {
        const mp__change *change = &v->request->changes[i];

        if (concerns(v, change, subject, &key) &&
            (!mp_str_equal(scope_of(change), v->scope) ||
             (v->of_count > 1 && !mp__validation_puts(v, i, &value, &type))))
            return false;
    }
    return true;
}

/* Whether the inner scopes are at work, and the one at @i is one of them. */
static bool is_inner(mp__validation *v, size_t i)
{
    mp_str scope = v->scope;
    bool is;

    v->scope = v->nears.items[i].scope;
    is = v->judges_inner && !is_written(v, NULL) && sees_any(v);
    v->scope = scope;
    return is;
}

/* Whether the scope at work is judged by more than one schema. */
static bool has_more_items(mp__validation *v)
{
    size_t layer = v->layer, item = v->item;
    bool has = false;

    v->layer = v->item = 0;
    if (find_item(v)) {
        v->item++;
        has = find_item(v) != NULL;
    }
    v->layer = layer;
    v->item = item;
    return has;
}

/* Ask for what the scope at work itself holds, and together with it for what the next inner ones
 * do: a question alone costs mostly the way to the origin's thread and back. */
static int ask_ahead(mp__validation *v)
{
    /* lists for one schema are no use for another, for which a scope is judged before the next */
    size_t n = 0, most = has_more_items(v) ? 1 : MP__LISTED_AHEAD;
    int rc = 0;

    for (size_t i = 0; i < MP__LISTED_AHEAD; i++)
        listed_done(&v->ahead[i]);
    for (size_t i = v->at - 1; i < v->nears.count && n < most && rc == 0; i++)
        if (is_inner(v, i)) {
            v->ahead[n].scope = v->nears.items[i].scope;
            rc = ask_page(v, &v->ahead[n++], mp_str_new("", 0));
        }
    if (rc && v->under_way) { /* those under way end it */
        v->failed = rc;
        return 0;
    }
    return rc;
}

/* Whether what the scope at work holds was asked for ahead: it is in @listed then. */
static bool take_ahead(mp__validation *v, mp__listed *listed)
{
    for (size_t i = 0; i < MP__LISTED_AHEAD; i++)
        if (v->ahead[i].is_full && mp_str_equal(v->ahead[i].scope, v->scope)) {
            *listed = v->ahead[i];
            v->ahead[i] = (mp__listed){.scope = MP_STR("")};
            return true;
        }
    return false;
}

/* What the layer list_at holds is there. False: it was asked for, or *ret_rc says why not. */
static bool bring_list(mp__validation *v, mp__listed *listed, int *ret_rc)
{
    if (listed->is_full && mp_str_equal(listed->scope, v->of[v->list_at]))
        return true;
    listed_done(listed);
    if (v->list_at == 0 && v->judges_inner) {
        if (take_ahead(v, listed))
            return true;
        *ret_rc = ask_ahead(v);
        return false;
    }
    listed->scope = v->of[v->list_at];
    listed->is_full = v->list_at && mp__overlay_is_empty(v->manager, v->of[v->list_at]);
    if (!listed->is_full)
        *ret_rc = ask_page(v, listed, mp_str_new("", 0));
    return listed->is_full;
}

static bool only_deletes(const mp__validation *v)
{
    for (size_t i = 0; i < v->request->count; i++)
        if (v->request->changes[i].op != MP__CHANGE_DELETE)
            return false;
    return !examines(v);
}

static bool writes_to(const mp__validation *v, mp_str scope)
{
    for (size_t i = 0; i < v->request->count; i++)
        if (mp_str_equal(scope_of(&v->request->changes[i]), scope))
            return true;
    return false;
}

/* What is there of the layer @listed is not all. True: it is judged with that, for whoever writes
 * there mends it. Else an inner scope is not judged, so that its trouble stops nobody else; nor are
 * deletions, which are the way back from too many keys. */
static bool may_do_without(const mp__validation *v, const mp__schema_item *item,
                           const mp__listed *listed, bool *ret_skip, mp__diag *diag)
{
    bool is_damaged = listed->trouble == MP_ECORRUPT, is_written = writes_to(v, listed->scope);
    int size = (int)listed->scope.size;

    if (is_damaged && is_written)
        return true;
    *ret_skip = (v->judges_inner && !is_written) || (!is_damaged && only_deletes(v));
    if (*ret_skip)
        return false;
    if (is_damaged)
        (void)mp__diag_set(diag, MP_ECORRUPT,
                           "%.80s cannot be checked: what %.*s has of it is damaged in the origin, "
                           "and is to be put there anew, or deleted",
                           item->name, size, listed->scope.data);
    else
        (void)mp__diag_set(diag, MP_ELIMIT,
                           "%.80s has more than %d keys in %.*s: too many to be checked as one",
                           item->name, MP__VALIDATED_KEYS_MAX, size, listed->scope.data);
    return false;
}

/* True: all lists of the document are there. False: one was asked for, or *ret_rc says why not, or
 * *ret_skip: the scope shows what the one behind it shows, or cannot be judged. */
static bool bring_lists(mp__validation *v, const mp__schema_item *item, bool may_skip,
                        bool *ret_skip, int *ret_rc, mp__diag *diag)
{
    for (; v->list_at < v->of_count; v->list_at++) {
        mp__listed *listed = listed_at(v);

        if (!bring_list(v, listed, ret_rc))
            return false;
        if (listed->trouble) {
            if (!may_do_without(v, item, listed, ret_skip, diag)) {
                *ret_rc = *ret_skip ? 0 : listed->trouble;
                return false;
            }
        } else if (v->list_at == 0 && may_skip && listed->count == 0) {
            *ret_skip = true;
            return false;
        }
    }
    return true;
}

/* What it costs to judge a value, in bytes: taking up a key costs as much as 64 of them. */
static size_t cost_of(mp_str value)
{
    return 64 + value.size;
}

/* The same of all that the lists and the changes have. */
static size_t cost_of_all(const mp__validation *v)
{
    mp_str value, type;
    size_t cost = 0;

    for (size_t i = 0; i < v->of_count; i++)
        for (const mp__listed_page *page = v->lists[i].pages; page; page = page->next)
            for (size_t k = 0; k < page->query.count; k++)
                cost += cost_of(page->query.items[k].value);
    for (size_t i = 0; i < v->request->count; i++)
        if (mp__validation_puts(v, i, &value, &type))
            cost += cost_of(value);
    return cost;
}

static void judge_on(mp__task *task)
{
    mp__scopes_judge((mp__validation *)((char *)task - offsetof(mp__validation, task)));
}

/* The schema at work has judged, or could not: @is_judged. False as judge_step(). */
static bool end_step(mp__validation *v, int rc, const mp__diag *diag, bool is_judged)
{
    v->item++;
    v->list_at = 0;
    if (rc) {
        mp__validation_refuses(v, rc, diag->text[0] ? diag->text : NULL);
    } else if (v->judges_inner && is_judged) {
        v->task.run = judge_on; /* others of this loop have their turn before the next scope */
        mp__loop_post(v->request->loop, &v->task);
        return false;
    }
    return rc == 0;
}

static void judged(mp__validation *v)
{
    mp__diag diag = v->verdict_diag; /* @v may go */

    if (end_step(v, v->verdict, &diag, true))
        mp__scopes_judge(v);
}

static int judge_large(mp__validation *v)
{
    mp__schema_subject subject;

    mp__schema_about(v->judging->name, &subject);
    v->verdict_diag = (mp__diag){0};
    return judge_item(v, v->judging, &subject, &v->verdict_diag);
}

/* One step with the schema @item in the scope at work. False: it goes on by itself, or ended. */
static bool judge_step(mp__validation *v, const mp__schema_item *item)
{
    mp__schema_subject subject;
    bool skip = false, is_there = true;
    mp__diag diag = {0};
    size_t cost;
    int rc = 0;

    mp__schema_about(item->name, &subject);
    v->of_count = mp__overlay_layers(v->manager, v->scope, subject.namespace_, v->of);
    if (!item->schema) { /* of an inner scope: it was broken before */
        rc = v->judges_inner ? 0 : note_broken_schema(v, item);
        is_there = false;
    } else {
        choose_keys(v, &subject);
        if (needs_no_list(v, &subject))
            mp__scopes_done(v);
        else
            is_there =
                bring_lists(v, item, v->layer > 0 && !is_written(v, &subject), &skip, &rc, &diag);
        if (is_there && (cost = cost_of_all(v)) > MP__VALIDATED_AT_ONCE) {
            v->judging = item;
            v->work = judge_large;
            v->worked = judged;
            mp__validation_works(v, cost);
            return false;
        }
        if (is_there)
            rc = judge_item(v, item, &subject, &diag);
        else if (!skip && rc == 0)
            return false;
    }
    return end_step(v, rc, &diag, is_there);
}

/* The next scope that the request is judged by; false: there is none. */
static bool find_scope(mp__validation *v)
{
    if (examines(v)) {
        v->scope = v->request->examine_scope;
        return v->at++ == 0;
    }
    for (;; v->at++) {
        if (v->at == v->nears.count) {
            if (v->judges_inner || v->request->broken_count)
                return false; /* what breaks where it is written is told first, and alone */
            v->judges_inner = true;
            v->at = 0;
        }
        if (v->at == v->nears.count || v->request->broken_count >= MP__BROKEN_MAX)
            return false;
        v->scope = v->nears.items[v->at].scope;
        if (is_written(v, NULL) != v->judges_inner && sees_any(v)) {
            v->at++;
            return true;
        }
    }
}

void mp__scopes_judge(mp__validation *v)
{
    const mp__schema_item *item;

    for (;;) {
        if (v->scope.size && (item = find_item(v)) != NULL) {
            if (!judge_step(v, item))
                return;
            continue;
        }
        v->layer = v->item = v->list_at = 0;
        if (!find_scope(v)) {
            mp__validation_passes(v);
            return;
        }
    }
}
