/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of large commands: used again, zeroed, and given back when nobody wants it. */
#include "server/spare.h"

#include "mp_fail.h"
#include "mp_test.h"

static bool is_zero(const unsigned char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i])
            return false;
    return true;
}

static void a_large_block_is_used_again_and_zeroed(void **state)
{
    mp__spare spare = {0};
    size_t first_size, second_size;
    unsigned char *first = mp__spare_take(&spare, 200000, &first_size), *second;

    (void)state;
    assert_true(first && first_size >= 200000 && is_zero(first, 200000));
    memset(first, 'x', first_size);
    mp__spare_give(&spare, first, first_size);
    second = mp__spare_take(&spare, first_size, &second_size);
    assert_ptr_equal(second, first);
    assert_int_equal(second_size, first_size);
    assert_true(is_zero(second, first_size));
    mp__spare_give(&spare, second, second_size);
    second = mp__spare_take(&spare, first_size + 1, &second_size); /* it is too small */
    assert_ptr_not_equal(second, first);
    assert_true(is_zero(second, first_size + 1));
    mp__spare_give(&spare, second, second_size); /* the larger one is kept */
    assert_ptr_equal(spare.memory, second);
    mp__spare_done(&spare);
}

static void one_is_kept_and_others_are_freed(void **state)
{
    mp__spare spare = {0};
    size_t sizes[3];
    void *blocks[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        blocks[i] = mp__spare_take(&spare, 100000, &sizes[i]);
    for (int i = 0; i < 3; i++)
        mp__spare_give(&spare, blocks[i], sizes[i]);
    assert_ptr_equal(spare.memory, blocks[0]);
    mp__spare_give(&spare, NULL, 0);
    mp__spare_done(&spare);
    assert_null(spare.memory);
}

static void what_is_small_or_very_large_is_not_kept(void **state)
{
    static const size_t sizes[] = {1, MP__SPARE_LEAST - 1, MP__SPARE_MOST + 1};
    mp__spare spare = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size;
        void *memory = mp__spare_take(&spare, sizes[i], &size);

        assert_true(memory && is_zero(memory, sizes[i]));
        assert_int_equal(size, sizes[i]);
        mp__spare_give(&spare, memory, size);
        assert_null(spare.memory);
    }
}

static void what_nobody_wants_for_a_while_is_given_back(void **state)
{
    mp__spare spare = {0};
    size_t size;
    void *memory = mp__spare_take(&spare, MP__SPARE_MOST, &size);

    (void)state;
    mp__spare_give(&spare, memory, size);
    mp__spare_scan(&spare); /* it was of use since the last one */
    assert_non_null(spare.memory);
    mp__spare_scan(&spare);
    assert_null(spare.memory);
    memory = mp__spare_take(&spare, MP__SPARE_MOST, &size);
    assert_non_null(memory);
    mp__spare_give(&spare, memory, size);
    mp__spare_done(&spare);
}

static void without_memory_there_is_none_and_the_spare_stays(void **state)
{
    mp__spare spare = {0};
    size_t size, other;
    void *memory = mp__spare_take(&spare, 100000, &size);

    (void)state;
    mp__spare_give(&spare, memory, size);
    mp_fail_begin(1);
    assert_null(mp__spare_take(&spare, size + 1, &other));
    assert_true(mp_fail_end());
    assert_ptr_equal(spare.memory, memory);
    mp__spare_done(&spare);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_large_block_is_used_again_and_zeroed),
    MP_TEST(one_is_kept_and_others_are_freed),
    MP_TEST(what_is_small_or_very_large_is_not_kept),
    MP_TEST(what_nobody_wants_for_a_while_is_given_back),
    MP_TEST(without_memory_there_is_none_and_the_spare_stays),
};

MP_TEST_MAIN(tests)
