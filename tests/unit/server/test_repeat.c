/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that come twice: run once, answered twice, within bounds. */
#include "mp_test.h"

#include "core/core.h"
#include "mp_fail.h"
#include "server/http/repeat.h"

#define SECOND 1000000000ull

static mp__repeats *make(size_t bytes_max)
{
    mp__repeats *r = NULL;

    assert_int_equal(mp__repeats_new((mp__hash_key){1, 2}, &r), 0);
    mp__repeats_limit(r, bytes_max, 100 * SECOND);
    return r;
}

static enum mp__repeat_kind begin(mp__repeats *r, const char *who, const char *key, uint64_t print,
                                  uint64_t now_s, mp__repeat **ret_repeat, mp_blob **ret_answer)
{
    int status;

    return mp__repeats_begin(r, mp_str_of(who), mp_str_of(key), print, now_s * SECOND, ret_repeat,
                             &status, ret_answer);
}

/* Run one whole. */
static void run(mp__repeats *r, const char *key, const char *answer, uint64_t now_s)
{
    mp__repeat *repeat;
    mp_blob *kept;

    assert_int_equal(begin(r, "a", key, 1, now_s, &repeat, &kept), MP__REPEAT_RUN);
    mp__repeats_end(r, repeat, 200, mp_str_of(answer), now_s * SECOND);
}

static void a_repeat_is_answered_as_the_first_was(void **state)
{
    mp__repeats *r = make(1 << 20);
    mp__repeat *repeat = NULL;
    mp_blob *answer = NULL;
    int status = 0;

    (void)state;
    assert_int_equal(begin(r, "a", "k", 7, 0, &repeat, &answer), MP__REPEAT_RUN);
    assert_int_equal(begin(r, "a", "k", 7, 0, &repeat, &answer), MP__REPEAT_BUSY);
    mp__repeats_end(r, repeat, 201, MP_STR("made"), 0);
    assert_int_equal(
        mp__repeats_begin(r, MP_STR("a"), MP_STR("k"), 7, 0, &repeat, &status, &answer),
        MP__REPEAT_REPLAY);
    assert_int_equal(status, 201);
    mp_assert_str(mp_blob_str(answer), "made");
    (void)mp_blob_unref(answer);
    (void)mp__repeats_free(r);
}

static void a_key_means_one_request_of_one_identity(void **state)
{
    mp__repeats *r = make(1 << 20);
    mp__repeat *repeat = NULL;
    mp_blob *answer = NULL;

    (void)state;
    run(r, "k", "x", 0);
    assert_int_equal(begin(r, "a", "k", 2, 0, &repeat, &answer), MP__REPEAT_OTHER);
    assert_int_equal(begin(r, "b", "k", 2, 0, &repeat, &answer), MP__REPEAT_RUN);
    mp__repeats_forget(r, repeat);
    assert_int_equal(begin(r, "ak", "", 2, 0, &repeat, &answer), MP__REPEAT_RUN);
    mp__repeats_forget(r, repeat);
    assert_int_equal(mp__repeats_count(r), 1);
    (void)mp__repeats_free(r);
}

static void what_was_forgotten_runs_again(void **state)
{
    mp__repeats *r = make(1 << 20);
    mp__repeat *repeat = NULL;
    mp_blob *answer = NULL;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(begin(r, "a", "k", (uint64_t)i, 0, &repeat, &answer), MP__REPEAT_RUN);
        mp__repeats_forget(r, repeat);
    }
    assert_int_equal(mp__repeats_count(r), 0);
    (void)mp__repeats_free(r);
}

static void answers_go_when_their_time_is_over(void **state)
{
    mp__repeats *r = make(1 << 20);
    mp__repeat *repeat = NULL;
    mp_blob *answer = NULL;

    (void)state;
    run(r, "k", "x", 10);
    assert_int_equal(begin(r, "a", "k", 1, 109, &repeat, &answer), MP__REPEAT_REPLAY);
    (void)mp_blob_unref(answer);
    assert_int_equal(begin(r, "a", "k", 1, 110, &repeat, &answer), MP__REPEAT_RUN);
    mp__repeats_forget(r, repeat);
    (void)mp__repeats_free(r);
}

static void memory_is_bounded_and_the_oldest_goes_first(void **state)
{
    mp__repeats *r = make(20000);
    mp__repeat *repeat = NULL, *under_way = NULL;
    mp_blob *answer = NULL;
    char key[16], text[101];

    (void)state;
    memset(text, 'x', 100);
    text[100] = '\0';
    assert_int_equal(begin(r, "a", "under way", 1, 0, &under_way, &answer), MP__REPEAT_RUN);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "k%d", i);
        run(r, key, text, 1);
    }
    assert_in_range(mp__repeats_count(r), 50, 110);
    assert_int_equal(begin(r, "a", "k999", 1, 1, &repeat, &answer), MP__REPEAT_REPLAY);
    (void)mp_blob_unref(answer);
    assert_int_equal(begin(r, "a", "under way", 1, 1, &repeat, &answer), MP__REPEAT_BUSY);
    assert_int_equal(begin(r, "a", "k0", 1, 1, &repeat, &answer), MP__REPEAT_RUN);
    mp__repeats_forget(r, repeat);
    mp__repeats_forget(r, under_way);
    (void)mp__repeats_free(r);
}

static void without_memory_nothing_is_kept_and_nothing_is_lost(void **state)
{
    mp__repeats *r = make(1 << 20);
    mp__repeat *repeat = NULL;
    mp_blob *answer = NULL;

    (void)state;
    mp_fail_begin(1);
    assert_int_equal(begin(r, "a", "k", 1, 0, &repeat, &answer), MP__REPEAT_NO_MEMORY);
    assert_true(mp_fail_end());
    assert_int_equal(begin(r, "a", "k", 1, 0, &repeat, &answer), MP__REPEAT_RUN);
    mp_fail_begin(1);
    mp__repeats_end(r, repeat, 200, MP_STR("x"), 0);
    assert_true(mp_fail_end());
    assert_int_equal(mp__repeats_count(r), 0);
    (void)mp__repeats_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MP_TEST(a_repeat_is_answered_as_the_first_was),
        MP_TEST(a_key_means_one_request_of_one_identity),
        MP_TEST(what_was_forgotten_runs_again),
        MP_TEST(answers_go_when_their_time_is_over),
        MP_TEST(memory_is_bounded_and_the_oldest_goes_first),
        MP_TEST(without_memory_nothing_is_kept_and_nothing_is_lost),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
