/* SPDX-License-Identifier: Apache-2.0 */
/* What is subscribed to: each once, found by its text or by a glob, within a number of steps. */
#include "mp_test.h"

#include <pthread.h>
#include <stdio.h>

#include "mp_fail.h"
#include "server/resp/channels.h"

enum { MANY = 5000, PLENTY = 100000000 };

static mp__channels *make(void)
{
    mp__channels *channels = NULL;

    assert_int_equal(mp__channels_new((mp__hash_key){1, 2}, &channels), 0);
    return channels;
}

static mp__channel *enter(mp__channels *channels, const char *text, enum mp__subscription_kind kind)
{
    mp__channel *channel = NULL;

    assert_int_equal(mp__channels_enter(channels, mp_str_of(text), kind, &channel), 0);
    mp_assert_str(mp__channel_text(channel), text);
    return channel;
}

static uint32_t subscribers(mp__channels *channels, const char *text)
{
    return mp__channels_subscribers(channels, mp_str_of(text), MP__SUBSCRIPTION_CHANNEL);
}

typedef struct seen {
    size_t count;
    char last[64];
} seen;

static void see(void *context, mp_str text)
{
    seen *s = context;

    s->count++;
    (void)snprintf(s->last, sizeof(s->last), "%.*s", (int)text.size, text.data);
}

static int look(mp__channels *channels, const char *pattern, size_t steps_max, seen *s)
{
    *s = (seen){0};
    return mp__channels_fitting(channels, MP__SUBSCRIPTION_CHANNEL, mp_str_of(pattern), steps_max,
                                see, s);
}

/* channel-0, channel-1, ... */
static void enter_many(mp__channels *channels, mp__channel *entered[MANY])
{
    char text[32];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(text, sizeof(text), "channel-%d", i);
        entered[i] = enter(channels, text, MP__SUBSCRIPTION_CHANNEL);
    }
}

static void leave_many(mp__channels *channels, mp__channel *entered[MANY])
{
    for (int i = 0; i < MANY; i++)
        mp__channels_leave(channels, entered[i]);
}

static void a_channel_is_one_for_all_of_its_subscribers_until_the_last_leaves(void **state)
{
    mp__channels *channels = make();
    mp__channel *a = enter(channels, "a", MP__SUBSCRIPTION_CHANNEL);

    (void)state;
    assert_ptr_equal(enter(channels, "a", MP__SUBSCRIPTION_CHANNEL), a);
    assert_int_equal(subscribers(channels, "a"), 2);
    assert_int_equal(mp__channels_count(channels, MP__SUBSCRIPTION_CHANNEL), 1);
    mp__channels_leave(channels, a);
    assert_int_equal(subscribers(channels, "a"), 1);
    assert_true(mp__channel_hash(a) == mp__channels_hash(channels, MP_STR("a")));
    mp__channels_leave(channels, a);
    assert_int_equal(subscribers(channels, "a"), 0);
    assert_int_equal(mp__channels_count(channels, MP__SUBSCRIPTION_CHANNEL), 0);
    (void)mp__channels_free(channels);
}

static void the_same_text_is_another_as_a_glob(void **state)
{
    mp__channels *channels = make();
    mp__channel *channel = enter(channels, "a*", MP__SUBSCRIPTION_CHANNEL);
    mp__channel *glob = enter(channels, "a*", MP__SUBSCRIPTION_GLOB);
    seen s;

    (void)state;
    assert_ptr_not_equal(channel, glob);
    assert_int_equal(subscribers(channels, "a*"), 1);
    assert_int_equal(mp__channels_count(channels, MP__SUBSCRIPTION_GLOB), 1);
    assert_int_equal(mp__channels_count(channels, MP__SUBSCRIPTION_PREFIX), 0);
    assert_int_equal(look(channels, "*", PLENTY, &s), 0);
    assert_int_equal(s.count, 1);
    mp__channels_leave(channels, glob);
    mp__channels_leave(channels, channel);
    (void)mp__channels_free(channels);
}

static void a_text_may_be_empty_or_as_long_as_there_is_room_for(void **state)
{
    static char longest[MP__CHANNEL_SIZE_MAX];
    mp__channels *channels = make();
    mp__channel *empty = enter(channels, "", MP__SUBSCRIPTION_GLOB), *large;

    (void)state;
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(mp__channels_enter(channels, mp_str_new(longest, sizeof(longest)),
                                        MP__SUBSCRIPTION_GLOB, &large),
                     0);
    assert_int_equal(mp__channel_text(large).size, sizeof(longest));
    mp__channels_leave(channels, empty);
    mp__channels_leave(channels, large);
    (void)mp__channels_free(channels);
}

static void every_channel_that_fits_is_told_once(void **state)
{
    static mp__channel *entered[MANY], *again[MANY];
    mp__channels *channels = make();
    seen s;

    (void)state;
    enter_many(channels, entered);
    enter_many(channels, again);
    assert_int_equal(look(channels, "*", PLENTY, &s), 0);
    assert_int_equal(s.count, MANY);
    assert_int_equal(look(channels, "channel-499?", PLENTY, &s), 0);
    assert_int_equal(s.count, 10);
    assert_int_equal(look(channels, "*-4711", PLENTY, &s), 0);
    assert_int_equal(s.count, 1);
    assert_string_equal(s.last, "channel-4711");
    leave_many(channels, again);
    leave_many(channels, entered);
    assert_int_equal(look(channels, "*", PLENTY, &s), 0);
    assert_int_equal(s.count, 0);
    (void)mp__channels_free(channels);
}

/* Looking at one costs a step, and so does the star; it has 12 bytes, of which a quarter counts. */
static void what_takes_more_steps_is_refused_and_never_half_an_answer(void **state)
{
    static mp__channel *entered[MANY];
    mp__channels *channels = make();
    mp__channel *one = enter(channels, "channel-4711", MP__SUBSCRIPTION_CHANNEL);
    seen s;

    (void)state;
    assert_int_equal(look(channels, "*", 0, &s), MP_ELIMIT);
    assert_int_equal(look(channels, "*", 1, &s), MP_ELIMIT);
    assert_int_equal(look(channels, "*", 4, &s), MP_ELIMIT);
    assert_int_equal(s.count, 0);
    assert_int_equal(look(channels, "*", 5, &s), 0);
    assert_int_equal(s.count, 1);
    enter_many(channels, entered);
    assert_int_equal(look(channels, "*c*h*a*n*n*e*l*x", MANY, &s), MP_ELIMIT);
    assert_int_equal(look(channels, "x", MANY, &s), MP_ELIMIT);
    assert_int_equal(look(channels, "x", 2 * MANY + 1, &s), 0);
    leave_many(channels, entered);
    mp__channels_leave(channels, one);
    (void)mp__channels_free(channels);
}

/* Told of a channel: its only subscriber leaves, and it stays until it has been looked at. */
static void leave_it(void *context, mp_str text)
{
    mp__channels *channels = *(mp__channels **)context;
    mp__channel *channel = enter(channels, "a", MP__SUBSCRIPTION_CHANNEL);

    mp__channels_leave(channels, channel);
    mp__channels_leave(channels, channel);
    assert_int_equal(subscribers(channels, "a"), 0);
    mp_assert_str(text, "a");
}

static void a_channel_may_end_while_it_is_looked_at(void **state)
{
    mp__channels *channels = make();

    (void)state;
    (void)enter(channels, "a", MP__SUBSCRIPTION_CHANNEL);
    assert_int_equal(mp__channels_fitting(channels, MP__SUBSCRIPTION_CHANNEL, MP_STR("*"), PLENTY,
                                          leave_it, &channels),
                     0);
    (void)mp__channels_free(channels);
}

static void without_memory_nobody_subscribes_and_nothing_is_lost(void **state)
{
    static mp__channel *entered[MANY];
    mp__channels *channels = make();
    mp__channel *channel = NULL;
    seen s;
    int rc;

    (void)state;
    for (size_t n = 1;; n++) {
        mp_fail_begin(n);
        rc = mp__channels_enter(channels, MP_STR("a"), MP__SUBSCRIPTION_CHANNEL, &channel);
        if (!mp_fail_end())
            break;
        assert_int_equal(rc, MP_ENOMEM);
        assert_null(channel);
        assert_int_equal(subscribers(channels, "a"), 0);
    }
    assert_int_equal(rc, 0);
    mp_fail_begin(1);
    assert_int_equal(look(channels, "*", PLENTY, &s), MP_ENOMEM);
    assert_true(mp_fail_end());
    enter_many(channels, entered);
    assert_int_equal(look(channels, "*", PLENTY, &s), 0);
    assert_int_equal(s.count, MANY + 1);
    leave_many(channels, entered);
    mp__channels_leave(channels, channel);
    (void)mp__channels_free(channels);
}

static void *come_and_go(void *context)
{
    static mp__channel *entered[MANY]; /* one such thread */

    for (int round = 0; round < 20; round++) {
        enter_many(context, entered);
        leave_many(context, entered);
    }
    return NULL;
}

static void those_that_stay_are_told_whoever_comes_and_goes(void **state)
{
    mp__channels *channels = make();
    mp__channel *stays = enter(channels, "stays", MP__SUBSCRIPTION_CHANNEL);
    pthread_t other;
    seen s;

    (void)state;
    assert_int_equal(pthread_create(&other, NULL, come_and_go, channels), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(look(channels, "s*", PLENTY, &s), 0);
        assert_int_equal(s.count, 1);
        assert_string_equal(s.last, "stays");
    }
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(mp__channels_count(channels, MP__SUBSCRIPTION_CHANNEL), 1);
    mp__channels_leave(channels, stays);
    (void)mp__channels_free(channels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MP_TEST(a_channel_is_one_for_all_of_its_subscribers_until_the_last_leaves),
        MP_TEST(the_same_text_is_another_as_a_glob),
        MP_TEST(a_text_may_be_empty_or_as_long_as_there_is_room_for),
        MP_TEST(every_channel_that_fits_is_told_once),
        MP_TEST(what_takes_more_steps_is_refused_and_never_half_an_answer),
        MP_TEST(a_channel_may_end_while_it_is_looked_at),
        MP_TEST(without_memory_nobody_subscribes_and_nothing_is_lost),
        MP_TEST(those_that_stay_are_told_whoever_comes_and_goes),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
