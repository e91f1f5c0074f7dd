/* SPDX-License-Identifier: Apache-2.0 */
/* In which order the reader answers what was asked for while it was at work. */
#include "mp_origin.h"

#include "core/core.h"

enum { LISTS = 3, MOST = 2000 };

static char folder[32], path[64];
static mp__origin *origin;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static mp_wait began = MP_WAIT_INIT, done = MP_WAIT_INIT;
static char order[MOST + 100]; /* of the answers; the reader's while it works */
static size_t answers;

static int set_up(void **state)
{
    mp__origin_options options = {.env = mp__env_real(), .path = path};

    (void)state;
    mp_folder_new(folder);
    snprintf(path, sizeof(path), "%s/origin.db", folder);
    assert_int_equal(mp__origin_open("sqlite", &options, &origin, NULL), 0);
    assert_int_equal(mp_set(origin, "dev/app/a", "1"), 0);
    assert_int_equal(mp_set(origin, "dev/app/b", "2"), 0);
    began = done = (mp_wait)MP_WAIT_INIT;
    answers = 0;
    memset(order, 0, sizeof(order));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    origin = mp__origin_close(origin);
    mp_folder_remove(folder);
    return 0;
}

static void note(char what)
{
    assert_true(answers < sizeof(order));
    order[answers++] = what;
    mp_wait_signal(&done);
}

static void listed(mp__list *list, int status, const mp__record *records, size_t count,
                   uint64_t next)
{
    (void)records;
    (void)next;
    assert_int_equal(status, 0);
    assert_int_equal(count, list->limit > 1 ? 2 : 1);
    note(list->limit > 1 ? 'L' : '1');
}

/* The reader stands still in here as long as the gate is held. */
static void listed_at_gate(mp__list *list, int status, const mp__record *records, size_t count,
                           uint64_t next)
{
    (void)list;
    (void)status;
    (void)records;
    (void)count;
    (void)next;
    mp_wait_signal(&began);
    (void)pthread_mutex_lock(&gate);
    (void)pthread_mutex_unlock(&gate);
    note('G');
}

static void past_came(mp__history *history, int status, const mp__record *records,
                      const mp_str *actors, size_t count)
{
    (void)history;
    (void)records;
    (void)actors;
    assert_int_equal(status, 0);
    assert_int_equal(count, 1);
    note('H');
}

static void fetched(mp__fetch *fetch, int status, const mp__record *record)
{
    (void)fetch;
    assert_int_equal(status, 0);
    assert_int_equal(record->kind, MP__RECORD_VALUE);
    note('f');
}

static void list(mp__list *l, uint32_t limit,
                 void (*then)(mp__list *list, int status, const mp__record *records, size_t count,
                              uint64_t next))
{
    *l = (mp__list){.environment = MP_STR("dev"),
                    .prefix = MP_STR(""),
                    .limit = limit,
                    .by_key = true,
                    .done = then};
    mp__origin_list(origin, l);
}

static void fetches_come_before_the_lists_that_were_asked_for_earlier(void **state)
{
    static mp__list first, lists[LISTS], single;
    static mp__history history;
    static mp__fetch fetches[2];

    (void)state;
    (void)pthread_mutex_lock(&gate);
    list(&first, 10, listed_at_gate);
    mp_wait_for(&began, 1);
    history = (mp__history){.address = MP_STR("dev/app/a"), .limit = 10, .done = past_came};
    mp__origin_history(origin, &history);
    for (size_t i = 0; i < LISTS; i++)
        list(&lists[i], 10, listed);
    list(&single, 1, listed); /* whether a scope has keys, for which a read may wait */
    for (size_t i = 0; i < 2; i++) {
        fetches[i] = (mp__fetch){.address = MP_STR("dev/app/b"), .done = fetched};
        mp__origin_fetch(origin, &fetches[i]);
    }
    (void)pthread_mutex_unlock(&gate);
    mp_wait_for(&done, 1 + 1 + LISTS + 1 + 2);
    mp_assert_str(mp_str_of(order), "G1ffHLLL");
}

/* Each is asked for again as soon as it is answered, before the reader looks for more. */
static mp__fetch endless;
static size_t left;

static void fetched_again(mp__fetch *fetch, int status, const mp__record *record)
{
    (void)record;
    assert_int_equal(status, 0);
    note('f');
    if (--left)
        mp__origin_fetch(origin, fetch);
}

static void a_list_is_made_between_any_two_fetches_that_follow_each_other(void **state)
{
    static mp__list first, lists[LISTS];

    (void)state;
    (void)pthread_mutex_lock(&gate);
    list(&first, 10, listed_at_gate);
    mp_wait_for(&began, 1);
    for (size_t i = 0; i < LISTS; i++)
        list(&lists[i], 10, listed);
    left = MOST;
    endless = (mp__fetch){.address = MP_STR("dev/app/b"), .done = fetched_again};
    mp__origin_fetch(origin, &endless);
    (void)pthread_mutex_unlock(&gate);
    mp_wait_for(&done, 1 + LISTS + MOST);
    order[8] = '\0';
    mp_assert_str(mp_str_of(order), "GfLfLfLf");
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    FRESH(fetches_come_before_the_lists_that_were_asked_for_earlier),
    FRESH(a_list_is_made_between_any_two_fetches_that_follow_each_other),
};
MP_TEST_MAIN(tests)
