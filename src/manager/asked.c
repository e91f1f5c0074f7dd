/* SPDX-License-Identifier: Apache-2.0 */
/* What queries ask the origin, and for how long they wait.
 *
 * A question lives by itself, with copies of all that it names, so that who asked can be answered
 * while the origin still has it:
 *
 *     mp__ask() ---> UNDER WAY ---- the origin answers ----------> the query has its answer
 *                        |
 *                        +---- origin.timeout, by the query's loop ---> the query falls back;
 *                                                                       GIVEN UP until the origin
 *                                                                       answers it, to nobody
 *
 * An origin that answers none of them, or is silent (circuit.h), is not asked for more: so it has a
 * bounded number of them, and who comes next does not wait for what nobody was told. The first
 * answer, to whom ever, ends that. Where there is none for long it is silent, though nobody reads:
 * else what is kept would not count, by which a write back is judged (validate.c). */
#include <stdlib.h>

#include "core/bytes.h"
#include "manager/internal.h"

/* Questions that were given up, of an origin that answers others: then it is asked no more. */
enum { GIVEN_UP_MAX = 64 };

typedef struct mp__asked {
    struct mp__asked *next, *previous; /* under way; under queries_lock, as is: */
    mp__query *query;                  /* NULL: given up */
    mp__manager *manager;
    uint64_t started_ns;
    union {
        mp__list list;
        mp__history history;
        mp__count count;
        mp__changed changed;
    } u;
    char text[]; /* what it names */
} mp__asked;

/* ---- under way ---- */

static mp__asked *asked_new(mp__query *query, size_t size)
{
    mp__asked *asked = mp__calloc(1, sizeof(*asked) + size);

    if (!asked)
        return NULL;
    asked->query = query;
    asked->manager = query->manager;
    asked->started_ns = mp__env_now_ns(query->manager->env);
    return asked;
}

/* Under the lock. */
static void unlink_asked(mp__asked *asked)
{
    mp__manager *manager = asked->manager;

    *(asked->previous ? &asked->previous->next : &manager->asked_first) = asked->next;
    *(asked->next ? &asked->next->previous : &manager->asked_last) = asked->previous;
    asked->next = asked->previous = NULL;
}

/* False: it would not be answered, as far as is known. */
static bool enter(mp__asked *asked)
{
    mp__manager *manager = asked->manager;
    bool is_asked;

    (void)pthread_mutex_lock(&manager->queries_lock);
    is_asked = asked->query->is_patient ||
               (!manager->asked_in_vain && manager->asked_given_up < GIVEN_UP_MAX &&
                !mp__circuit_is_open(&manager->circuit));
    if (is_asked) {
        asked->previous = manager->asked_last;
        *(manager->asked_last ? &manager->asked_last->next : &manager->asked_first) = asked;
        manager->asked_last = asked;
    }
    (void)pthread_mutex_unlock(&manager->queries_lock);
    return is_asked;
}

/* It is answered with @status: the query that waits for it, or NULL; it stays the caller's to free.
 */
static mp__query *leave(mp__asked *asked, int status)
{
    mp__manager *manager = asked->manager;
    uint64_t now = mp__env_now_ns(manager->env);
    mp__query *query;
    bool is_late;

    (void)pthread_mutex_lock(&manager->queries_lock);
    manager->asked_answered_ns = now;
    manager->asked_in_vain = false;
    query = asked->query;
    if (query)
        unlink_asked(asked);
    else
        manager->asked_given_up--;
    is_late = !query;
    (void)pthread_mutex_unlock(&manager->queries_lock);
    if (status != MP_ETIMEOUT)
        mp__origin_answered(manager);
    else if (!is_late)
        mp__origin_is_late(manager, asked->started_ns);
    return query;
}

void mp__ask_late(mp__manager *manager, const mp__loop *loop, uint64_t before_ns, bool counts)
{
    mp__query *late = NULL, **last = &late;
    mp__asked *next;
    uint64_t asked_ns[MP__CIRCUIT_LATE_MAX], vain_since_ns;
    size_t count = 0;

    (void)pthread_mutex_lock(&manager->queries_lock);
    for (mp__asked *a = manager->asked_first; a && a->started_ns <= before_ns; a = next) {
        next = a->next;
        if (a->query->loop != loop || a->query->is_patient)
            continue;
        if (!manager->asked_in_vain && manager->asked_answered_ns < a->started_ns) {
            manager->asked_in_vain = true;
            manager->asked_vain_since_ns = a->started_ns;
        }
        manager->asked_given_up++;
        if (counts && count < MP__CIRCUIT_LATE_MAX)
            asked_ns[count++] = a->started_ns;
        a->query->next_waiting = NULL;
        *last = a->query;
        last = &a->query->next_waiting;
        a->query = NULL;
        unlink_asked(a);
    }
    vain_since_ns = manager->asked_in_vain ? manager->asked_vain_since_ns : 0;
    (void)pthread_mutex_unlock(&manager->queries_lock);
    for (size_t i = 0; i < count; i++)
        mp__origin_is_late(manager, asked_ns[i]);
    /* no other is put behind it that could be late, too */
    if (counts && vain_since_ns)
        mp__origin_question_stands(manager, vain_since_ns, mp__env_now_ns(manager->env));
    while (late) {
        mp__query *query = late;

        late = query->next_waiting;
        mp__query_fall_back(query, MP_ETIMEOUT);
    }
}

/* ---- lists ---- */

static void take_list(mp__query *query, const mp__list *list, int status, const mp__record *records,
                      size_t count)
{
    size_t capacity = 0;

    query->damaged = query->takes_damaged && status == MP_ECORRUPT &&
                     atomic_load(&query->manager->generation); /* else what is kept counts */
    if (query->damaged)
        status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = mp__query_add(query, &capacity, &records[i], mp_str_new("", 0));
    query->stale = list->remembered;
    query->as_of = list->remembered ? 0 : list->as_of;
    if (status)
        mp__query_fall_back(query, status);
    else
        mp__query_reply(query, 0);
}

static void listed(mp__list *list, int status, const mp__record *records, size_t count,
                   uint64_t next)
{
    mp__asked *asked = (mp__asked *)((char *)list - offsetof(mp__asked, u.list));
    mp__query *query = leave(asked, status);

    if (query) {
        query->next = next;
        take_list(query, list, status, records, count);
    }
    (void)mp__free(asked);
}

static mp__asked *list_new(mp__query *query)
{
    bool of_all = query->kind == MP__QUERY_ENVIRONMENTS;
    mp_str environment = of_all ? mp_str_new("", 0) : query->environment;
    mp__asked *asked =
        asked_new(query, environment.size + query->prefix.size + query->after_address.size);
    char *text;

    if (!asked)
        return NULL;
    text = asked->text;
    asked->u.list = (mp__list){
        .environment = mp__bytes_lay(&text, environment),
        .prefix = mp__bytes_lay(&text, query->prefix),
        .after = query->after,
        .limit = query->limit,
        .with_values = query->with_values,
        .bytes_max = query->bytes_max,
        .by_key = query->by_key,
        .after_address = mp__bytes_lay(&text, query->after_address),
        .at_revision = query->at_revision,
        .done = listed,
    };
    return asked;
}

/* ---- history ---- */

static void history_came(mp__history *history, int status, const mp__record *records,
                         const mp_str *actors, size_t count)
{
    mp__asked *asked = (mp__asked *)((char *)history - offsetof(mp__asked, u.history));
    mp__query *query = leave(asked, status);
    size_t capacity = 0;

    for (size_t i = 0; query && i < count && status == 0; i++)
        status = mp__query_add(query, &capacity, &records[i], actors[i]);
    if (query) {
        query->cut = history->cut;
        query->next = status == 0 && count && (count == query->limit || history->cut)
                          ? records[count - 1].revision
                          : 0;
        mp__query_reply(query, status);
    }
    (void)mp__free(asked);
}

static mp__asked *history_new(mp__query *query)
{
    mp__asked *asked = asked_new(query, query->address.size);
    char *text;

    if (!asked)
        return NULL;
    text = asked->text;
    asked->u.history = (mp__history){
        .address = mp__bytes_lay(&text, query->address),
        .before = query->after,
        .at_revision = query->at_revision,
        .limit = query->limit,
        .with_values = query->with_values,
        .bytes_max = query->bytes_max,
        .done = history_came,
    };
    return asked;
}

/* ---- changes ---- */

static int take_change(mp__query *query, size_t *capacity, const mp__record *change)
{
    mp__record record = *change;
    bool is_left_out = record.value.size > query->value_max;
    int rc;

    if (is_left_out)
        record.value = mp_str_new("", 0);
    rc = mp__query_add(query, capacity, &record, mp_str_new("", 0));
    if (rc == 0 && is_left_out)
        query->items[query->count - 1].value = (mp_str){NULL, change->value.size};
    return rc;
}

static void changes_came(mp__changed *changed, int status, const mp__record *records, size_t count,
                         uint64_t through)
{
    mp__asked *asked = (mp__asked *)((char *)changed - offsetof(mp__asked, u.changed));
    mp__query *query = leave(asked, status);
    size_t capacity = 0;

    for (size_t i = 0; query && i < count && status == 0; i++)
        status = take_change(query, &capacity, &records[i]);
    if (query) {
        query->next = through;
        query->as_of = changed->as_of;
        mp__query_reply(query, status);
    }
    (void)mp__free(asked);
}

static mp__asked *changed_new(mp__query *query)
{
    mp__asked *asked;
    size_t size = 0;
    char *text;

    query->with_values = true;
    for (size_t i = 0; i < query->prefix_count; i++)
        size += query->prefixes[i].size;
    asked = asked_new(query, size);
    if (!asked)
        return NULL;
    text = asked->text;
    asked->u.changed = (mp__changed){
        .prefix_count = query->prefix_count,
        .after = query->after,
        .limit = query->limit,
        .bytes_max = query->bytes_max,
        .done = changes_came,
    };
    for (size_t i = 0; i < query->prefix_count; i++)
        asked->u.changed.prefixes[i] = mp__bytes_lay(&text, query->prefixes[i]);
    return asked;
}

/* ---- counts ---- */

static void counted(mp__count *count, int status, uint64_t keys)
{
    mp__asked *asked = (mp__asked *)((char *)count - offsetof(mp__asked, u.count));
    mp__query *query = leave(asked, status);

    if (query && status) {
        mp__query_fall_back(query, status);
    } else if (query) {
        query->count = keys;
        query->stale = count->remembered;
        mp__query_reply(query, 0);
    }
    (void)mp__free(asked);
}

static mp__asked *count_new(mp__query *query)
{
    mp__asked *asked = asked_new(query, query->environment.size);
    char *text;

    if (!asked)
        return NULL;
    text = asked->text;
    asked->u.count =
        (mp__count){.environment = mp__bytes_lay(&text, query->environment), .done = counted};
    return asked;
}

/* ---- all of them ---- */

static void send_off(mp__asked *asked, int kind)
{
    mp__origin *origin = asked->manager->origin;

    switch (kind) {
    case MP__QUERY_LIST:
    case MP__QUERY_ENVIRONMENTS:
        mp__origin_list(origin, &asked->u.list);
        break;
    case MP__QUERY_HISTORY:
        mp__origin_history(origin, &asked->u.history);
        break;
    case MP__QUERY_CHANGED:
        mp__origin_changed(origin, &asked->u.changed);
        break;
    default:
        mp__origin_count(origin, &asked->u.count);
    }
}

void mp__ask(mp__query *query)
{
    static mp__asked *(*const make[])(mp__query * query) = {
        [MP__QUERY_LIST] = list_new,       [MP__QUERY_ENVIRONMENTS] = list_new,
        [MP__QUERY_COUNT] = count_new,     [MP__QUERY_HISTORY] = history_new,
        [MP__QUERY_CHANGED] = changed_new,
    };
    int kind = query->kind; /* once it is sent off, the query is another's */
    mp__asked *asked = make[kind](query);

    if (!asked) {
        mp__query_reply(query, MP_ENOMEM);
    } else if (enter(asked)) {
        send_off(asked, kind);
    } else {
        (void)mp__free(asked);
        mp__query_fall_back(query, MP_ETIMEOUT);
    }
}
