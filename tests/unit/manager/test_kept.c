/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what L3 kept, page by page. */
#include "mp_test.h"

#include <stdlib.h>

#include "manager/manager.h"
#include "mp_world.h"

enum { KEYS = 300, BYTES = 64 * 1024, LARGE = 7 };

/* Some are empty, most are short, and one is larger than a page. */
static size_t size_of(int i)
{
    return i == LARGE ? BYTES + 30000 : i % 5 ? (size_t)(i * 37 % 900) : (size_t)i * 61;
}

static const char *address_of(int i)
{
    static char address[64];

    snprintf(address, sizeof(address), "base/default/k%03d", i);
    return address;
}

static void put(const char *address, mp_str value)
{
    mp__change change = {.op = MP__CHANGE_PUT,
                         .address = mp_str_of(address),
                         .value = value,
                         .media_type = MP_STR("text/plain")};
    mp__write_request request = {.changes = &change, .count = 1};

    assert_int_equal(world_write(&request), 0);
}

static void put_all(void)
{
    static char value[BYTES + 30000];

    for (int i = KEYS; i-- > 0;) { /* not in the order of their names */
        memset(value, 'a' + i % 26, sizeof(value));
        put(address_of(i), mp_str_new(value, size_of(i)));
    }
}

static void page_came(mp__query *query)
{
    *(bool *)query->context = true;
}

static void ask(mp__query *query)
{
    bool done = false;

    query->kind = MP__QUERY_LIST;
    query->loop = loop;
    query->identity = &identity;
    query->environment = MP_STR("base");
    query->prefix = MP_STR("default/");
    query->kept = true;
    query->done = page_came;
    query->context = &done;
    mp__query_start(manager, query);
    world_wait(&done);
    assert_int_equal(query->status, 0);
    assert_true(query->stale);
}

static int number_of(mp_str address)
{
    int number = 0;

    assert_int_equal(address.size, strlen("base/default/k000"));
    for (size_t i = address.size - 3; i < address.size; i++) {
        assert_in_range(address.data[i], '0', '9');
        number = number * 10 + (address.data[i] - '0');
    }
    return number;
}

/* All pages of @limit and @bytes_max; how many they were. Each key must be in one of them, with its
 * value, and with by_key in its order. */
static int walk(uint32_t limit, size_t bytes_max, bool by_key)
{
    int pages = 0, seen = 0, times[KEYS] = {0};
    char after[64];
    mp__query query = {0};
    uint64_t next;

    do {
        size_t bytes = 0, last = 0;

        query.limit = limit;
        query.bytes_max = bytes_max;
        query.by_key = by_key;
        query.with_values = true;
        ask(&query);
        assert_true(query.count >= 1 && query.count <= limit);
        for (size_t i = 0; i < query.count; i++) {
            const mp__list_item *item = &query.items[i];
            int number = number_of(item->address);

            times[number]++;
            assert_int_equal(item->value.size, size_of(number));
            assert_true(!item->value.size || item->value.data[0] == 'a' + number % 26);
            assert_true(!by_key || number == seen);
            seen++;
            last = item->value.size;
            bytes += last;
        }
        assert_true(!bytes_max || bytes - last < bytes_max); /* the last one brought it there */
        next = query.next;
        query.after = by_key ? 0 : next;
        memcpy(after, query.items[query.count - 1].address.data, strlen("base/default/k000"));
        query.after_address =
            by_key ? mp_str_new(after, strlen("base/default/k000")) : mp_str_new("", 0);
        mp__query_done(&query);
        pages++;
    } while (next && pages <= KEYS);
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(times[i], 1);
    return pages;
}

static void a_page_ends_with_the_value_that_makes_it_large_and_the_next_goes_on(void **state)
{
    size_t all = 0;
    int pages;

    (void)state;
    put_all();
    for (int i = 0; i < KEYS; i++)
        all += size_of(i);
    pages = walk(10000, BYTES, true);
    assert_true(pages >= (int)(all / (BYTES + BYTES + 30000)) && pages > 4);
    assert_true(pages <= (int)(all / BYTES) + 2);
    assert_int_equal(walk(10000, 1, true), KEYS); /* names count, too */
    assert_int_equal(walk(10000, 0, true), 1);
}

static void a_page_has_as_many_as_were_asked_for(void **state)
{
    (void)state;
    put_all();
    assert_int_equal(walk(1, 0, true), KEYS);
    assert_int_equal(walk(7, 0, true), (KEYS + 6) / 7);
    assert_int_equal(walk(7, 0, false), (KEYS + 6) / 7);
    assert_int_equal(walk(KEYS - 1, 0, false), 2);
    assert_int_equal(walk(KEYS, 0, true), 1);
    assert_int_equal(walk(KEYS, 0, false), 1);
}

static const struct CMUnitTest tests[] = {
    WORLD_TEST(a_page_ends_with_the_value_that_makes_it_large_and_the_next_goes_on),
    WORLD_TEST(a_page_has_as_many_as_were_asked_for),
};
MP_TEST_MAIN(tests)
