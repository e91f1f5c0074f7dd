/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "origin/sqlite_vfs.h"

static unsigned char page[MP__VFS_PAGE], copy[MP__VFS_PAGE], header[32], header_copy[32];

static void fill(unsigned char *data, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (unsigned char)(seed >> 24);
    }
}

static void seal(uint64_t number)
{
    uint64_t sum = mp__vfs_page_sum(page, number);

    for (size_t i = 0; i < 8; i++)
        page[MP__VFS_PAGE - 8 + i] = (unsigned char)(sum >> (8 * i));
}

static void a_page_holds_only_with_its_own_content_and_number(void **state)
{
    (void)state;
    fill(page, sizeof(page), 1);
    assert_false(mp__vfs_page_holds(page, 7));
    seal(7);
    assert_true(mp__vfs_page_holds(page, 7));
    assert_false(mp__vfs_page_holds(page, 8)); /* written in another page's place */
}

static void any_single_bit_of_a_page_is_found(void **state)
{
    (void)state;
    fill(page, sizeof(page), 2);
    seal(3);
    memcpy(copy, page, sizeof(page));
    for (size_t bit = 0; bit < sizeof(page) * 8; bit += bit < 64 ? 1 : 997) {
        page[bit / 8] = (unsigned char)(page[bit / 8] ^ (1u << (bit % 8)));
        assert_false(mp__vfs_page_holds(page, 3));
        assert_true(mp__vfs_page_mend(page, 3));
        assert_memory_equal(page, copy, sizeof(page));
    }
    page[MP__VFS_PAGE - 1] = (unsigned char)(page[MP__VFS_PAGE - 1] ^ 0x80);
    assert_true(mp__vfs_page_mend(page, 3));
    assert_memory_equal(page, copy, sizeof(page));
}

static void two_bits_are_not_mended_and_nothing_is_changed(void **state)
{
    (void)state;
    fill(page, sizeof(page), 3);
    seal(3);
    page[17] ^= 1;
    page[900] ^= 8;
    memcpy(copy, page, sizeof(page));
    assert_false(mp__vfs_page_mend(page, 3));
    assert_memory_equal(page, copy, sizeof(page));
}

static void big_endian(unsigned char *to, uint32_t word)
{
    for (size_t i = 0; i < 4; i++)
        to[i] = (unsigned char)(word >> (24 - 8 * i));
}

static const uint32_t before[2] = {123456789, 987654321};

/* A frame with its right checksum, found by asking for what it should be. */
static void make_frame(void)
{
    uint32_t sum[2];

    fill(header, 24, 4);
    fill(page, sizeof(page), 5);
    if (!mp__vfs_frame_holds(header, page, before, sum)) {
        /* holds() leaves the sum of the last order it tried, which is not this machine's */
        uint32_t a = before[0], b = before[1], word[2];

        for (size_t i = 0; i < 8 + sizeof(page); i += 8) {
            memcpy(word, i < 8 ? header : page + i - 8, 8);
            a += word[0] + b;
            b += word[1] + a;
        }
        big_endian(header + 16, a);
        big_endian(header + 20, b);
    }
    assert_true(mp__vfs_frame_holds(header, page, before, sum));
}

static void a_frame_is_mended_right_or_not_at_all(void **state)
{
    int mended = 0, tried = 0;

    (void)state;
    make_frame();
    memcpy(copy, page, sizeof(page));
    memcpy(header_copy, header, 24);
    for (size_t bit = 0; bit < (sizeof(page) - 8) * 8; bit += 521, tried++) {
        uint32_t sum[2];

        page[bit / 8] = (unsigned char)(page[bit / 8] ^ (1u << (bit % 8)));
        assert_false(mp__vfs_frame_holds(header, page, before, sum));
        if (mp__vfs_frame_mend(header, page, before)) {
            mended++;
            assert_memory_equal(page, copy, sizeof(page) - 8);
        }
        memcpy(page, copy, sizeof(page));
        memcpy(header, header_copy, 24);
    }
    assert_true(mended > tried / 2);
    assert_true(mended < tried); /* the high bits are ambiguous in a sum */
}

static void the_header_of_a_wal_is_mended_right_or_not_at_all(void **state)
{
    uint32_t a = 0, b = 0, word[2];
    int mended = 0;

    (void)state;
    fill(header, sizeof(header), 6);
    big_endian(header, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 0x377f0683 : 0x377f0682);
    big_endian(header + 4, 3007000);
    big_endian(header + 8, MP__VFS_PAGE);
    for (size_t i = 0; i < 24; i += 8) {
        memcpy(word, header + i, 8);
        a += word[0] + b;
        b += word[1] + a;
    }
    big_endian(header + 24, a);
    big_endian(header + 28, b);
    assert_true(mp__vfs_wal_header_holds(header));
    memcpy(header_copy, header, sizeof(header));
    for (size_t bit = 0; bit < 256; bit++) {
        header[bit / 8] = (unsigned char)(header[bit / 8] ^ (1u << (bit % 8)));
        assert_false(mp__vfs_wal_header_holds(header));
        if (mp__vfs_wal_header_mend(header)) {
            assert_memory_equal(header, header_copy, sizeof(header));
            mended++;
        }
        memcpy(header, header_copy, sizeof(header));
    }
    assert_true(mended > 128);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_page_holds_only_with_its_own_content_and_number),
    MP_TEST(any_single_bit_of_a_page_is_found),
    MP_TEST(two_bits_are_not_mended_and_nothing_is_changed),
    MP_TEST(a_frame_is_mended_right_or_not_at_all),
    MP_TEST(the_header_of_a_wal_is_mended_right_or_not_at_all),
};
MP_TEST_MAIN(tests)
