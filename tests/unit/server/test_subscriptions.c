/* SPDX-License-Identifier: Apache-2.0 */
/* The subscriptions of a connection: found by their text, listed in the order in which they came,
 * and the globs that may fit a text in that order. */
#include "mp_test.h"

#include <stdio.h>

#include "core/alloc.h"
#include "mp_fail.h"
#include "protocol/resp.h"
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
    return set.count != 0 || set.buckets != NULL || set.heads != NULL;
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

/* Globs of all shapes by number, some of them alike up to their wildcards. */
static const char *glob_of(int i)
{
    static const char *const shapes[][2] = {
        {"a", "*"},  {"longer-than-8-", "*"}, {"", "?x"},     {"sam", "[ab]"},   {"\\*", ""},
        {"x*-", ""}, {"longer-than-8-", ""},  {"exact-", ""}, {"longer-", "-*"},
    };
    static char text[64];
    int shape = i % 10, number = i / 10;

    if (shape == 9)
        (void)snprintf(text, sizeof(text), "%.*s", number,
                       "****************************************");
    else
        (void)snprintf(text, sizeof(text), "%s%d%s", shapes[shape][0], number, shapes[shape][1]);
    return text;
}

/* The globs of @there that fit @text are given in order, and no others that do. */
static void expect_fitting(const mp__subscription *globs, const bool *there, int count,
                           const char *text)
{
    const mp__subscription *s = NULL;
    size_t steps = 100000;

    for (int i = 0; i < count; i++) {
        if (!there[i] || !mp__glob_match(globs[i].text, mp_str_of(text), 10000))
            continue;
        do
            s = mp__subscriptions_next_glob(&set, s, mp_str_of(text), &steps);
        while (s && !mp__glob_match(s->text, mp_str_of(text), 10000));
        assert_ptr_equal(s, &globs[i]);
    }
    while ((s = mp__subscriptions_next_glob(&set, s, mp_str_of(text), &steps)) != NULL)
        assert_false(mp__glob_match(s->text, mp_str_of(text), 10000));
    assert_true(steps > 0);
}

static void expect_all_fitting(const mp__subscription *globs, const bool *there, int count)
{
    static const char *const texts[] = {"",
                                        "a1",
                                        "a11z",
                                        "longer-than-8-3",
                                        "3yx",
                                        "sam2b",
                                        "*4",
                                        "longer-than-8-31",
                                        "exact-5",
                                        "xyz-6",
                                        "longer-7-and-on",
                                        "longer-tha"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_fitting(globs, there, count, texts[i]);
}

enum { GLOBS = 400 };

/* All come, and go in any order; from the round @refused on there is no memory for some rounds. */
static void globs_come_and_go(mp__subscription *globs, int refused)
{
    static bool there[GLOBS];
    uint32_t seed = 1;

    for (int round = 0; round < 4 * GLOBS; round++) {
        int i = round < GLOBS ? round : (int)((seed = seed * 1103515245u + 12345u) >> 16) % GLOBS;

        mp_fail_begin(round >= refused && round < refused + 130 ? 1 : 1000);
        if (there[i])
            mp__subscriptions_take(&set, &globs[i]);
        else if (round < GLOBS)
            mp__subscriptions_add(&set, &globs[i]);
        (void)mp_fail_end();
        there[i] = round < GLOBS;
        if (round % 37 == 0)
            expect_all_fitting(globs, there, GLOBS);
    }
    for (int i = 0; i < GLOBS; i++)
        if (there[i])
            mp__subscriptions_take(&set, &globs[i]);
    memset(there, 0, sizeof(there));
}

static void globs_that_fit_are_given_in_order_whatever_came_and_went(void **state)
{
    mp__subscription *globs = mp__calloc(GLOBS, sizeof(*globs));
    static const int refused[] = {4 * GLOBS, 0, 1, 100, GLOBS - 5, GLOBS + 200};

    (void)state;
    assert_non_null(globs);
    for (int i = 0; i < GLOBS; i++) {
        globs[i].kind = MP__SUBSCRIPTION_GLOB;
        assert_int_equal(
            mp__channels_enter(channels, mp_str_of(glob_of(i)), globs[i].kind, &globs[i].channel),
            0);
        globs[i].text = mp__channel_text(globs[i].channel);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        globs_come_and_go(globs, refused[i]);
    for (int i = 0; i < GLOBS; i++)
        mp__channels_leave(channels, globs[i].channel);
    (void)mp__free(globs);
}

/* Which is what a client with thousands of them costs the others at each change. */
static void a_glob_that_begins_otherwise_costs_one_step(void **state)
{
    size_t steps = 1000 + MANY;

    (void)state;
    for (int i = 0; i < MANY; i++)
        add(MP__SUBSCRIPTION_GLOB, i);
    assert_null(mp__subscriptions_next_glob(&set, NULL, MP_STR("channel-other"), &steps));
    assert_int_equal(steps, 1000);
    assert_ptr_equal(mp__subscriptions_next_glob(&set, NULL, MP_STR("channel-499"), &steps),
                     &made[MP__SUBSCRIPTION_GLOB][4]); /* its head is "channel-4" */
    steps = 3;
    assert_null(mp__subscriptions_next_glob(&set, NULL, MP_STR("channel-499"), &steps));
    assert_int_equal(steps, 0);
    for (int i = 0; i < MANY; i++)
        take(MP__SUBSCRIPTION_GLOB, i);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(few_and_many_are_found_by_kind_and_text_and_keep_their_order,
                                    begin, end),
    cmocka_unit_test_setup_teardown(without_memory_for_a_table_all_are_found, begin, end),
    cmocka_unit_test_setup_teardown(globs_that_fit_are_given_in_order_whatever_came_and_went, begin,
                                    end),
    cmocka_unit_test_setup_teardown(a_glob_that_begins_otherwise_costs_one_step, begin, end),
};
MP_TEST_MAIN(tests)
