/* SPDX-License-Identifier: Apache-2.0 */
/* The subscriptions of a connection: found by their text, listed in the order in which they came.
 */
#include "mp_test.h"

#include <stdio.h>

#include "mp_fail.h"
#include "server/resp/subscriptions.h"

enum { MANY = 1000 };

static mp__channels *channels;
static mp__subscriptions set;
static mp__subscription made[MP__SUBSCRIPTION_KINDS][MANY];

static const char *text_of(int i)
{
    static char text[32];

    (void)snprintf(text, sizeof(text), "channel-%d", i);
    return text;
}

static mp__subscription *find(int kind, int i)
{
    return mp__subscriptions_find(&set, channels, (enum mp__subscription_kind)kind,
                                  mp_str_of(text_of(i)));
}

static void add(int kind, int i)
{
    mp__subscription *s = &made[kind][i];

    s->kind = (enum mp__subscription_kind)kind;
    assert_int_equal(mp__channels_enter(channels, mp_str_of(text_of(i)), s->kind, &s->channel), 0);
    s->text = mp__channel_text(s->channel);
    mp__subscriptions_add(&set, s);
}

static void take(int kind, int i)
{
    mp__subscriptions_take(&set, &made[kind][i]);
    mp__channels_leave(channels, made[kind][i].channel);
}

static int begin(void **state)
{
    (void)state;
    return mp__channels_new((mp__hash_key){1, 2}, &channels);
}

static int end(void **state)
{
    (void)state;
    channels = mp__channels_free(channels);
    return set.count != 0 || set.buckets != NULL;
}

/* Those of each kind that were added and are not taken are there, in order. */
static void expect(int count, bool (*is_there)(int i))
{
    for (int kind = 0; kind < MP__SUBSCRIPTION_KINDS; kind++) {
        mp__subscription *previous = NULL;

        for (int i = 0; i < count; i++) {
            mp__subscription *s = is_there(i) ? &made[kind][i] : NULL;

            assert_ptr_equal(find(kind, i), s);
            if (!s)
                continue;
            assert_ptr_equal(previous ? previous->next : set.first[kind], s);
            assert_ptr_equal(s->previous, previous);
            previous = s;
        }
        assert_ptr_equal(set.last[kind], previous);
        assert_null(previous ? previous->next : NULL);
    }
}

static bool all(int i)
{
    (void)i;
    return true;
}

static bool two_of_three(int i)
{
    return i % 3 != 0;
}

static bool none(int i)
{
    (void)i;
    return false;
}

static void add_and_take(int count)
{
    for (int i = 0; i < count; i++)
        for (int kind = 0; kind < MP__SUBSCRIPTION_KINDS; kind++)
            add(kind, i);
    assert_int_equal(set.count, count * MP__SUBSCRIPTION_KINDS);
    expect(count, all);
    for (int i = 0; i < count; i += 3)
        for (int kind = 0; kind < MP__SUBSCRIPTION_KINDS; kind++)
            take(kind, i);
    expect(count, two_of_three);
    for (int i = count - 1; i >= 0; i--)
        for (int kind = 0; kind < MP__SUBSCRIPTION_KINDS; kind++)
            if (two_of_three(i))
                take(kind, i);
    expect(count, none);
    assert_int_equal(set.count, 0);
}

static void few_and_many_are_found_by_kind_and_text_and_keep_their_order(void **state)
{
    static const int counts[] = {1, 2, 3, 5, 6, 40, MANY};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        add_and_take(counts[i]);
}

/* From some number of subscriptions on there is no memory for a larger table, or for any. */
static void without_memory_for_a_table_all_are_found(void **state)
{
    mp__subscription s[40] = {0};
    unsigned count = sizeof(s) / sizeof(s[0]);

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(mp__channels_enter(channels, mp_str_of(text_of((int)i)),
                                            MP__SUBSCRIPTION_CHANNEL, &s[i].channel),
                         0);
        s[i].text = mp__channel_text(s[i].channel);
    }
    for (unsigned refused = 0; refused < count; refused++) {
        for (unsigned i = 0; i < count; i++) {
            mp_fail_begin(i >= refused ? 1 : 1000);
            mp__subscriptions_add(&set, &s[i]);
            (void)mp_fail_end();
        }
        for (unsigned i = 0; i < count; i++)
            assert_ptr_equal(find(MP__SUBSCRIPTION_CHANNEL, (int)i), &s[i]);
        for (unsigned i = 0; i < count; i++)
            mp__subscriptions_take(&set, &s[i]);
    }
    for (unsigned i = 0; i < count; i++)
        mp__channels_leave(channels, s[i].channel);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(few_and_many_are_found_by_kind_and_text_and_keep_their_order,
                                    begin, end),
    cmocka_unit_test_setup_teardown(without_memory_for_a_table_all_are_found, begin, end),
};
MP_TEST_MAIN(tests)
