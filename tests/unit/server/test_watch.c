/* SPDX-License-Identifier: Apache-2.0 */
#include "server/watch.h"

#include "core/address.h"
#include "core/alloc.h"
#include "mp_fail.h"
#include "mp_test.h"

typedef struct listener {
    mp__waiter waiter;
    mp__watch_point points[3];
    char heard[512];
    int calls;
    struct listener *leaves; /* ends this one when it is told */
} listener;

static mp__watch *watch;

static int set_up(void **state)
{
    (void)state;
    return mp__watch_new((mp__hash_key){1, 2}, &watch);
}

static int tear_down(void **state)
{
    (void)state;
    watch = mp__watch_free(watch);
    return 0;
}

static void leave(listener *l)
{
    for (int i = 0; i < 3; i++)
        mp__watch_leave(watch, &l->points[i]);
}

static void tell(mp__waiter *waiter, mp__watch_group *group, unsigned which)
{
    listener *l = (listener *)waiter;

    l->calls++;
    for (size_t i = 0; i < group->count; i++)
        if (which & 1u << i) {
            size_t n = strlen(l->heard);

            snprintf(l->heard + n, sizeof(l->heard) - n, "%d ", (int)group->events[i].revision);
        }
    if (l->leaves)
        leave(l->leaves);
}

static void listen(listener *l, int point, const char *prefix, bool exact)
{
    l->waiter.tell = tell;
    assert_int_equal(mp__watch_join(watch, &l->points[point], &l->waiter, mp_str_of(prefix), exact),
                     0);
}

static mp__event put(const char *address, uint64_t revision)
{
    return (mp__event){.kind = MP__EVENT_PUT, .address = mp_str_of(address), .revision = revision};
}

static void happens(const char *address, uint64_t revision)
{
    mp__event event = put(address, revision);

    mp__watch_tell(watch, &event, 1);
}

static void a_waiter_hears_of_what_begins_with_its_prefix_and_of_nothing_else(void **state)
{
    listener all = {0}, environment = {0}, key = {0};

    (void)state;
    listen(&all, 0, "", false);
    listen(&environment, 0, "dev/", false);
    listen(&key, 0, "dev/app/limit", false);
    happens("dev/app/limits.orders", 1);
    happens("dev/app/limi", 2);
    happens("development/app/limits", 3);
    happens("dev/app/limit", 4);
    assert_string_equal(all.heard, "1 2 3 4 ");
    assert_string_equal(environment.heard, "1 2 4 ");
    assert_string_equal(key.heard, "1 4 ");
    leave(&all);
    leave(&environment);
    leave(&key);
}

static void an_exact_waiter_hears_of_its_address_only(void **state)
{
    listener l = {0};

    (void)state;
    listen(&l, 0, "dev/app/limit", true);
    happens("dev/app/limits", 1);
    happens("dev/app/limit", 2);
    happens("dev/app/limi", 3);
    assert_string_equal(l.heard, "2 ");
    leave(&l);
}

static void a_waiter_with_many_points_is_told_once_a_group_in_the_order_of_commits(void **state)
{
    listener l = {0};
    mp__event events[4] = {put("dev/b/1", 1), put("dev/a/1", 2), put("dev/c/1", 3),
                           put("dev/b/2", 4)};

    (void)state;
    listen(&l, 0, "dev/a", false);
    listen(&l, 1, "dev/b/", false);
    listen(&l, 2, "dev/", false);
    mp__watch_leave(watch, &l.points[2]);
    mp__watch_tell(watch, events, 4);
    assert_string_equal(l.heard, "1 2 4 ");
    assert_int_equal(l.calls, 1);
    leave(&l);
}

static const char *order; /* in which the waiters of a test were told, as their letters */

static void tell_letter(mp__waiter *waiter, mp__watch_group *group, unsigned which)
{
    static char letters[16];
    size_t n = order ? strlen(order) : 0;

    (void)group;
    (void)which;
    snprintf(letters + n, sizeof(letters) - n, "%s", ((listener *)waiter)->heard);
    order = letters;
}

static void they_who_take_longest_to_tell_are_told_last(void **state)
{
    listener l[4] = {{.heard = "A"}, {.heard = "b"}, {.heard = "C"}, {.heard = "d"}};
    static const char *const prefixes[] = {"", "dev/", "dev/app/", "dev/app/x"};
    mp__event events[2] = {put("dev/app/x", 1), put("dev/app/x", 2)};

    (void)state;
    for (int i = 0; i < 4; i++) {
        listen(&l[i], 0, prefixes[i], false);
        l[i].waiter.tell = tell_letter;
        l[i].waiter.is_last = i % 2 == 0;
    }
    mp__watch_tell(watch, events, 2);
    assert_string_equal(order, "bdAC");
    for (int i = 0; i < 4; i++)
        leave(&l[i]);
}

static void who_is_told_may_end_one_that_is_told_last(void **state)
{
    listener first = {0}, last = {0}, other = {0};

    (void)state;
    listen(&first, 0, "dev/", false);
    listen(&last, 0, "dev/", false);
    listen(&other, 0, "dev/", false);
    last.waiter.is_last = other.waiter.is_last = true;
    first.leaves = &last;
    happens("dev/app/limit", 1);
    assert_string_equal(first.heard, "1 ");
    assert_string_equal(last.heard, "");
    assert_string_equal(other.heard, "1 ");
    leave(&first);
    leave(&other);
}

static void what_is_about_every_key_is_told_to_everybody(void **state)
{
    listener a = {0}, b = {0};
    mp__event events[2] = {{.kind = MP__EVENT_STALE, .address = mp_str_new("", 0)},
                           {.kind = MP__EVENT_RESET, .address = mp_str_new("", 0), .revision = 9}};

    (void)state;
    listen(&a, 0, "dev/a/", false);
    listen(&b, 0, "dev/b/x", true);
    assert_int_equal(mp__watch_waiters(watch), 2);
    mp__watch_tell(watch, events, 2);
    assert_string_equal(a.heard, "0 9 ");
    assert_string_equal(b.heard, "0 9 ");
    assert_true(mp__watch_is_stale(watch));
    assert_int_equal(mp__watch_revision(watch), 9);
    leave(&a);
    leave(&b);
}

static void
what_is_about_all_keys_with_a_beginning_is_told_to_who_waits_for_one_of_them(void **state)
{
    listener wider = {0}, within = {0}, one = {0}, other = {0}, beside = {0};
    mp__event event = {
        .kind = MP__EVENT_STALE, .address = MP_STR("dev/app/ma"), .is_prefix = true, .revision = 5};

    (void)state;
    listen(&wider, 0, "dev/", false);
    listen(&within, 0, "dev/app/many.of/", false);
    listen(&within, 1, "dev/app/", false);
    listen(&one, 0, "dev/app/many", true);
    listen(&other, 0, "dev/app/mb", false);
    listen(&beside, 0, "dev/app/m", true);
    mp__watch_tell(watch, &event, 1);
    assert_string_equal(wider.heard, "5 ");
    assert_string_equal(within.heard, "5 ");
    assert_string_equal(one.heard, "5 ");
    assert_string_equal(other.heard, "");
    assert_string_equal(beside.heard, "");
    assert_false(mp__watch_is_stale(watch));
    leave(&wider);
    leave(&within);
    leave(&one);
    leave(&other);
    leave(&beside);
}

static void who_leaves_is_not_told_even_by_another_that_is_told_before(void **state)
{
    listener first = {0}, second = {0}, alone = {0};

    (void)state;
    listen(&first, 0, "dev/", false);
    listen(&second, 0, "dev/a/", false);
    first.leaves = &second;
    listen(&alone, 0, "dev/a/b", false);
    alone.leaves = &alone;
    happens("dev/a/b", 1);
    happens("dev/a/b", 2);
    assert_string_equal(first.heard, "1 2 ");
    assert_string_equal(second.heard, "");
    assert_string_equal(alone.heard, "1 ");
    assert_int_equal(mp__watch_waiters(watch), 1);
    leave(&first);
    assert_int_equal(mp__watch_waiters(watch), 0);
}

static void a_prefix_longer_than_any_address_waits_in_vain(void **state)
{
    listener l = {0};
    char prefix[MP__ADDRESS_MAX + 40];

    (void)state;
    memset(prefix, 'a', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    listen(&l, 0, prefix, false);
    happens("aaa/a/a", 1);
    assert_string_equal(l.heard, "");
    leave(&l);
}

static void thousands_of_prefixes_are_each_told_of_their_own(void **state)
{
    enum { COUNT = 3000 };
    listener *many = mp__calloc(COUNT, sizeof(*many));
    char text[64];

    (void)state;
    assert_non_null(many);
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "dev/n%d/", i);
        listen(&many[i], 0, text, false);
    }
    for (int i = 0; i < COUNT; i += 7) {
        snprintf(text, sizeof(text), "dev/n%d/key", i);
        happens(text, (uint64_t)i + 1);
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(many[i].calls, i % 7 == 0);
    for (int i = 0; i < COUNT; i++)
        leave(&many[i]);
    (void)mp__free(many);
}

static void joining_without_memory_fails_and_changes_nothing(void **state)
{
    listener l = {0};

    (void)state;
    l.waiter.tell = tell;
    for (int i = 1; i <= 2; i++) { /* the prefix, and its first place */
        mp_fail_begin(i);
        assert_int_equal(mp__watch_join(watch, &l.points[0], &l.waiter, mp_str_of("dev/"), false),
                         MP_ENOMEM);
        assert_true(mp_fail_end());
        assert_int_equal(mp__watch_waiters(watch), 0);
        happens("dev/a/b", 1);
        assert_int_equal(l.calls, 0);
    }
}

static void who_stays_is_told_whoever_left_one_prefix_before(void **state)
{
    enum { COUNT = 100 };
    listener *many = mp__calloc(COUNT, sizeof(*many));

    (void)state;
    assert_non_null(many);
    for (int i = 0; i < COUNT; i++)
        listen(&many[i], 0, "dev/", false);
    for (int i = 0; i < COUNT; i += 3)
        leave(&many[i]);
    happens("dev/a/b", 1);
    leave(&many[COUNT - 2]);
    listen(&many[0], 0, "dev/", false);
    happens("dev/a/b", 2);
    for (int i = 0; i < COUNT; i++)
        assert_string_equal(many[i].heard, i == 0           ? "2 "
                                           : i % 3 == 0     ? ""
                                           : i == COUNT - 2 ? "1 "
                                                            : "1 2 ");
    for (int i = 0; i < COUNT; i++)
        leave(&many[i]);
    assert_int_equal(mp__watch_waiters(watch), 0);
    (void)mp__free(many);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static size_t asked_for, asked_count; /* the last allocation, and how many there were */

static bool note_size(size_t size)
{
    asked_for = size;
    asked_count++;
    return false;
}

static void a_crowd_that_has_gone_holds_no_memory(void **state)
{
    enum { CROWD = 4096, LEFT = 5 };
    listener *crowd = mp__calloc(CROWD, sizeof(*crowd));

    (void)state;
    assert_non_null(crowd);
    for (int i = 0; i < CROWD; i++)
        listen(&crowd[i], 0, "dev/app/", false);
    mp__alloc_fail_hook = note_size;
    asked_for = asked_count = 0;
    for (int i = LEFT; i < CROWD; i++)
        leave(&crowd[i]);
    assert_true(asked_for > 0 && asked_for <= 4 * LEFT * 2 * sizeof(void *));
    assert_true(asked_count <= 12); /* halved each time: as many moved as have left */
    asked_count = 0;
    for (int i = 0; i < 100; i++) { /* whatever the number is at which it would grow or shrink */
        listen(&crowd[LEFT], 0, "dev/app/", false);
        leave(&crowd[LEFT]);
    }
    assert_true(asked_count <= 1);
    mp__alloc_fail_hook = NULL;
    happens("dev/app/key", 7);
    for (int i = 0; i < LEFT; i++) {
        assert_string_equal(crowd[i].heard, "7 ");
        leave(&crowd[i]);
    }
    (void)mp__free(crowd);
}

static const struct CMUnitTest tests[] = {
    EACH(a_waiter_hears_of_what_begins_with_its_prefix_and_of_nothing_else),
    EACH(an_exact_waiter_hears_of_its_address_only),
    EACH(a_waiter_with_many_points_is_told_once_a_group_in_the_order_of_commits),
    EACH(they_who_take_longest_to_tell_are_told_last),
    EACH(who_is_told_may_end_one_that_is_told_last),
    EACH(what_is_about_every_key_is_told_to_everybody),
    EACH(what_is_about_all_keys_with_a_beginning_is_told_to_who_waits_for_one_of_them),
    EACH(who_leaves_is_not_told_even_by_another_that_is_told_before),
    EACH(a_prefix_longer_than_any_address_waits_in_vain),
    EACH(thousands_of_prefixes_are_each_told_of_their_own),
    EACH(joining_without_memory_fails_and_changes_nothing),
    EACH(who_stays_is_told_whoever_left_one_prefix_before),
    EACH(a_crowd_that_has_gone_holds_no_memory),
};
MP_TEST_MAIN(tests)
