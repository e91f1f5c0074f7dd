/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of what waits to be compressed, against a list of what must be in it. */
#include "mp_test.h"

#include <string.h>

#include "cache/l2_internal.h"

enum { MOST = 8192, LINE = 64, WAITING_MAX = 256 };

static uint64_t seed = 1;

static size_t random_below(size_t n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (size_t)(seed >> 33) % n;
}

static mp__l2_pending *add(mp__l2_queue *queue, size_t bytes, uint64_t number)
{
    mp__l2_pending *pending = mp__l2_queue_reserve(queue, bytes, MOST);

    if (!pending)
        return NULL;
    memset(pending, (int)(number & 0xff), bytes);
    pending->bytes = bytes;
    pending->item.hash = number;
    mp__l2_queue_publish(queue, pending);
    return pending;
}

/* All of them, from the first to the last, with every byte behind the head as it was written. */
static void check(const mp__l2_queue *queue, const uint64_t *numbers, size_t count)
{
    const mp__l2_pending *p = mp__l2_queue_first(queue);

    assert_int_equal(queue->count, count);
    assert_true((p != NULL) == (count != 0));
    for (size_t i = 0; i < count; i++) {
        if (i)
            p = mp__l2_queue_after(queue, queue->wraps_at, p);
        assert_int_equal(p->item.hash, numbers[i]);
        for (size_t at = sizeof(*p); at < p->bytes; at++)
            assert_int_equal(((const unsigned char *)p)[at], numbers[i] & 0xff);
    }
}

static void what_goes_in_comes_out_whole_and_in_its_order(void **state)
{
    static uint64_t numbers[WAITING_MAX];
    mp__l2_queue queue = {0};
    size_t count = 0, refused = 0, wrapped = 0;

    (void)state;
    assert_int_equal(mp__l2_queue_init(&queue), 0);
    for (uint64_t n = 1; n < 20000; n++) {
        size_t bytes = LINE * (2 + random_below(n % 3 ? 4 : 40));

        if (random_below(20) < 11 + (n / 1000) % 3) {
            if (add(&queue, bytes, n))
                numbers[count++] = n;
            else
                refused++;
        } else if (count) {
            mp__l2_queue_drop_first(&queue);
            count--;
            memmove(numbers, numbers + 1, count * sizeof(*numbers));
        }
        wrapped += queue.wraps_at != 0;
        assert_true(count < WAITING_MAX && queue.touched <= MOST);
        check(&queue, numbers, count);
    }
    assert_true(refused > 100 && wrapped > 100);
    mp__l2_queue_done(&queue);
}

static void a_place_stays_good_while_all_before_it_leave(void **state)
{
    mp__l2_queue queue = {0};
    mp__l2_pending *place;
    uint64_t number = 9;

    (void)state;
    assert_int_equal(mp__l2_queue_init(&queue), 0);
    assert_non_null(add(&queue, MOST - LINE * 4, 1));
    assert_non_null(add(&queue, LINE * 2, 2));
    mp__l2_queue_drop_first(&queue);
    place = mp__l2_queue_reserve(&queue, LINE * 8, MOST); /* around the end */
    assert_ptr_equal(place, queue.bytes);
    mp__l2_queue_drop_first(&queue);
    assert_null(mp__l2_queue_first(&queue));
    memset(place, (int)number, LINE * 8);
    place->bytes = LINE * 8;
    place->item.hash = number;
    mp__l2_queue_publish(&queue, place);
    check(&queue, &number, 1);
    mp__l2_queue_done(&queue);
}

static void it_is_full_and_has_room_again(void **state)
{
    mp__l2_queue queue = {0};
    uint64_t numbers[] = {2, 3};

    (void)state;
    assert_int_equal(mp__l2_queue_init(&queue), 0);
    assert_null(add(&queue, MOST + LINE, 1));
    assert_non_null(add(&queue, MOST / 2, 1));
    assert_non_null(add(&queue, MOST / 2, 2));
    assert_null(add(&queue, LINE * 2, 3));
    mp__l2_queue_drop_first(&queue);
    assert_non_null(add(&queue, MOST / 2, 3));
    assert_null(add(&queue, LINE * 2, 4));
    check(&queue, numbers, 2);
    mp__l2_queue_done(&queue);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_goes_in_comes_out_whole_and_in_its_order),
    MP_TEST(a_place_stays_good_while_all_before_it_leave),
    MP_TEST(it_is_full_and_has_room_again),
};
MP_TEST_MAIN(tests)
