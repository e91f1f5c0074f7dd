/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for a slow reader: in order, the latest of each key, within a bound. */
#include "mp_test.h"

#include <stdio.h>
#include <string.h>

#include "cache/entry.h"
#include "core/core.h"
#include "mp_fail.h"
#include "server/http/watch.h"

static mp__watch_message put(const char *address, uint64_t revision)
{
    return (mp__watch_message){
        .word = MP__WORD_PUT, .address = mp_str_of(address), .revision = revision};
}

static bool add(mp__watch_waiting *waits, mp__watch_message message, uint64_t hash)
{
    return mp__watch_pending_add(waits, &message, hash, NULL);
}

/* The next one has this revision. */
static void assert_next(mp__watch_waiting *waits, uint64_t revision)
{
    mp__watch_pending *p = mp__watch_pending_pop(waits);

    assert_non_null(p);
    assert_int_equal(p->message.revision, revision);
    assert_null(mp__watch_pending_free(p));
}

static void what_waits_comes_in_order_and_leaves_nothing_behind(void **state)
{
    mp__watch_waiting waits;
    char address[] = "production/default/a";

    (void)state;
    mp__watch_pending_init(&waits);
    assert_false(mp__watch_pending_is_any(&waits));
    assert_null(mp__watch_pending_pop(&waits));
    assert_true(add(&waits, put(address, 1), 1));
    assert_true(add(&waits, put(address, 2), 1));
    memset(address, 'x', strlen(address)); /* what waits has its own copy */
    mp_assert_str(waits.first->message.address, "production/default/a");
    assert_next(&waits, 1);
    assert_true(add(&waits, put("b", 3), 2));
    assert_next(&waits, 2);
    assert_next(&waits, 3);
    assert_int_equal(waits.bytes, 0);
    assert_true(add(&waits, put("c", 4), 3)); /* also after it was empty */
    assert_next(&waits, 4);
    assert_false(mp__watch_pending_is_any(&waits));
}

static void a_later_change_of_a_key_stands_for_the_earlier(void **state)
{
    mp__watch_waiting waits;
    mp__watch_message gone = put("a", 3);

    (void)state;
    gone.word = MP__WORD_DELETE;
    mp__watch_pending_init(&waits);
    assert_true(add(&waits, put("b", 1), 7));
    assert_true(add(&waits, put("a", 2), 7)); /* two keys may have one hash */
    assert_int_equal(mp__watch_pending_forget(&waits, &gone, 8), 0);
    assert_int_equal(mp__watch_pending_forget(&waits, &gone, 7), 1);
    assert_true(add(&waits, gone, 7)); /* the end of the list was what was forgotten */
    assert_next(&waits, 1);
    assert_next(&waits, 3);
    assert_false(mp__watch_pending_is_any(&waits));
}

static void of_all_that_waits_the_latest_of_each_key_is_left(void **state)
{
    static const char *const addresses[] = {"a", "b", "a", "c", "b", "a"};
    mp__watch_waiting waits;

    (void)state;
    mp__watch_pending_init(&waits);
    for (uint64_t i = 0; i < 6; i++)
        assert_true(add(&waits, put(addresses[i], i), (uint64_t)addresses[i][0]));
    assert_int_equal(mp__watch_pending_forget_all(&waits), 3);
    assert_int_equal(mp__watch_pending_forget_all(&waits), 0);
    assert_next(&waits, 3);
    assert_next(&waits, 4);
    assert_next(&waits, 5);
    assert_int_equal(waits.bytes, 0);
}

/* STALE after FRESH of the same key, or of the origin, is all there is to know; the two of keys
 * that are not named may be of others. */
static void a_state_replaces_a_state_but_never_a_change(void **state)
{
    mp__watch_waiting waits;
    mp__watch_message stale = {.word = MP__WORD_STALE, .address = MP_STR("a"), .revision = 2};
    mp__watch_message fresh = {.word = MP__WORD_FRESH, .address = MP_STR("a"), .revision = 3};
    mp__watch_message more_stale = {.word = MP__WORD_STALE, .more = true, .revision = 4};
    mp__watch_message more_fresh = {.word = MP__WORD_FRESH, .more = true, .revision = 5};

    (void)state;
    mp__watch_pending_init(&waits);
    assert_true(add(&waits, put("a", 1), 1));
    assert_true(add(&waits, stale, 1));
    assert_true(add(&waits, more_stale, 0));
    assert_int_equal(mp__watch_pending_forget(&waits, &fresh, 1), 1);
    assert_int_equal(mp__watch_pending_forget(&waits, &fresh, 1), 0);
    assert_int_equal(mp__watch_pending_forget(&waits, &more_fresh, 0), 0);
    assert_int_equal(mp__watch_pending_forget(&waits, &more_stale, 0), 1);
    assert_next(&waits, 1);
    assert_false(mp__watch_pending_is_any(&waits));
}

static void more_than_the_bound_is_refused_and_what_waits_stays(void **state)
{
    mp__watch_waiting waits;
    uint64_t n = 0;

    (void)state;
    mp__watch_pending_init(&waits);
    while (add(&waits, put("production/default/a", n), n))
        n++;
    assert_in_range(n, 32, MP__WATCH_PENDING_MAX / sizeof(mp__watch_pending));
    assert_in_range(waits.bytes, 1, MP__WATCH_PENDING_MAX);
    for (uint64_t i = 0; i < n; i++)
        assert_next(&waits, i);
    assert_int_equal(waits.bytes, 0);
}

static void a_value_that_would_be_too_much_stays_away_and_its_key_waits(void **state)
{
    static char large[MP__WATCH_PENDING_MAX - 1000];
    mp__slab *slab = NULL;
    mp__record record = {.address = MP_STR("production/default/a"),
                         .value = mp_str_new(large, sizeof(large)),
                         .media_type = MP_STR(""),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1};
    mp__entry *entry;
    mp__watch_waiting waits;
    mp__watch_message message = put("production/default/a", 1);

    (void)state;
    assert_int_equal(mp__slab_new(16 << 20, &slab), 0);
    entry = mp__entry_make(slab, 1, &record, 0, 0);
    assert_non_null(entry);
    mp__watch_message_of_entry(entry, &message);
    mp__watch_pending_init(&waits);
    assert_true(mp__watch_pending_add(&waits, &message, 1, entry));
    assert_ptr_equal(waits.first->entry, entry);
    assert_in_range(waits.bytes, sizeof(large), MP__WATCH_PENDING_MAX);
    assert_true(mp__watch_pending_add(&waits, &message, 1, entry));
    assert_null(waits.first->next->entry);
    assert_false(waits.first->next->message.has_value); /* never a value that is not held */
    mp__watch_pending_clear(&waits);
    (void)mp__entry_unref(entry);
    assert_int_equal(mp__slab_used_bytes(slab), 0); /* no reference is left */
    assert_null(mp__slab_close(slab));
}

static void a_reset_stands_for_all_that_waited(void **state)
{
    mp__watch_waiting waits;

    (void)state;
    mp__watch_pending_init(&waits);
    assert_true(add(&waits, put("a", 1), 1));
    mp__watch_pending_reset(&waits, 9, "slow");
    assert_true(mp__watch_pending_is_any(&waits));
    assert_null(mp__watch_pending_pop(&waits));
    assert_int_equal(waits.reset_revision, 9);
    mp__watch_pending_clear(&waits); /* the reset is told in its turn */
    assert_true(waits.reset_due);
}

static void without_memory_nothing_is_added(void **state)
{
    mp__watch_waiting waits;

    (void)state;
    mp__watch_pending_init(&waits);
    mp_fail_begin(1);
    assert_false(add(&waits, put("a", 1), 1));
    assert_true(mp_fail_end());
    assert_false(mp__watch_pending_is_any(&waits));
    assert_int_equal(waits.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MP_TEST(what_waits_comes_in_order_and_leaves_nothing_behind),
        MP_TEST(a_later_change_of_a_key_stands_for_the_earlier),
        MP_TEST(of_all_that_waits_the_latest_of_each_key_is_left),
        MP_TEST(a_state_replaces_a_state_but_never_a_change),
        MP_TEST(more_than_the_bound_is_refused_and_what_waits_stays),
        MP_TEST(a_value_that_would_be_too_much_stays_away_and_its_key_waits),
        MP_TEST(a_reset_stands_for_all_that_waited),
        MP_TEST(without_memory_nothing_is_added),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
