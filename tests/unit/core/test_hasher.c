/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "core/alloc.h"
#include "core/hasher.h"

static const mp__hash_key secret = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

/* ---- what it should be, in plain C ---- */

typedef struct block {
    unsigned char bytes[16];
} block;

static unsigned char times_two(unsigned char x)
{
    return (unsigned char)(x << 1 ^ (x & 0x80 ? 0x1b : 0));
}

static unsigned char times(unsigned char x, unsigned char y)
{
    unsigned char sum = 0;

    for (; y; y >>= 1, x = times_two(x))
        sum ^= y & 1 ? x : 0;
    return sum;
}

/* FIPS 197, 5.1.1: the inverse in GF(2^8), then an affine map. */
static unsigned char substituted(unsigned char x)
{
    unsigned char inverse = 0, out;

    for (unsigned y = 1; y < 256 && x; y++)
        if (times(x, (unsigned char)y) == 1)
            inverse = (unsigned char)y;
    out = inverse;
    for (int i = 1; i <= 4; i++)
        out ^= (unsigned char)(inverse << i | inverse >> (8 - i));
    return out ^ 0x63;
}

/* FIPS 197, 5.1: SubBytes, ShiftRows, MixColumns, AddRoundKey. */
static block round_plainly(block in, block key)
{
    block out;

    for (int column = 0; column < 4; column++) {
        unsigned char a[4];

        for (int row = 0; row < 4; row++)
            a[row] = substituted(in.bytes[(column + row) % 4 * 4 + row]);
        for (int row = 0; row < 4; row++)
            out.bytes[column * 4 + row] =
                (unsigned char)(times_two(a[row]) ^ times(a[(row + 1) % 4], 3) ^ a[(row + 2) % 4] ^
                                a[(row + 3) % 4] ^ key.bytes[column * 4 + row]);
    }
    return out;
}

static block key_number(uint64_t number)
{
    block key;

    for (uint64_t half = 0; half < 2; half++) {
        unsigned char bytes[8];

        mp__store_le64(bytes, 2 * number + half);
        mp__store_le64(key.bytes + 8 * half, mp__siphash13(secret, bytes, sizeof(bytes)));
    }
    return key;
}

/* Add to @sum the product of the halves of @in xored with @key, as polynomials over GF(2). */
static void add_product(block *sum, block in, block key)
{
    uint64_t x = mp__load_le64(in.bytes) ^ mp__load_le64(key.bytes);
    uint64_t y = mp__load_le64(in.bytes + 8) ^ mp__load_le64(key.bytes + 8);
    uint64_t low = mp__load_le64(sum->bytes), high = mp__load_le64(sum->bytes + 8);

    for (unsigned bit = 0; bit < 64; bit++)
        if (y >> bit & 1) {
            low ^= x << bit;
            high ^= bit ? x >> (64 - bit) : 0;
        }
    mp__store_le64(sum->bytes, low);
    mp__store_le64(sum->bytes + 8, high);
}

static block block_at(const unsigned char *p, size_t size)
{
    block b = {0};

    memcpy(b.bytes, p, size);
    return b;
}

/* The blocks of an address, the last first. */
static void add_blocks(block *sum, const unsigned char *p, size_t size)
{
    const uint64_t first = MP__HASHER_ROUNDS + 1;
    block a = {0}, b = {0};

    if (size < 8) {
        b = block_at(p, size);
    } else if (size < 16) {
        b = block_at(p, 8);
        memcpy(b.bytes + 8, p + size - 8, 8);
    } else {
        b = block_at(p + size - 16, 16);
        a = block_at(size <= 32 ? p : p + size - 32, 16);
    }
    add_product(sum, b, key_number(first));
    add_product(sum, a, key_number(first + 1));
    for (size_t at = 0; at + 32 < size; at += 16)
        add_product(sum, block_at(p + at, 16), key_number(first + 2 + at / 16));
}

static uint64_t fast_plainly(const unsigned char *p, size_t size)
{
    block sum = {0}, of_size = {0};

    mp__store_le64(of_size.bytes, size);
    add_product(&sum, of_size, key_number(MP__HASHER_ROUNDS));
    add_blocks(&sum, p, size);
    for (uint64_t i = 0; i < MP__HASHER_ROUNDS; i++)
        sum = round_plainly(sum, key_number(i));
    return mp__load_le64(sum.bytes);
}

/* ---- tests ---- */

/* FIPS 197, appendix B: the state at the start of rounds 1 and 2, and the key of round 1. */
static void a_round_is_that_of_the_standard(void **state)
{
    static const block before = {{0x19, 0x3d, 0xe3, 0xbe, 0xa0, 0xf4, 0xe2, 0x2b, 0x9a, 0xc6, 0x8d,
                                  0x2a, 0xe9, 0xf8, 0x48, 0x08}};
    static const block key = {{0xa0, 0xfa, 0xfe, 0x17, 0x88, 0x54, 0x2c, 0xb1, 0x23, 0xa3, 0x39,
                               0x39, 0x2a, 0x6c, 0x76, 0x05}};
    static const block after = {{0xa4, 0x9c, 0x7f, 0xf2, 0x68, 0x9f, 0x35, 0x2b, 0x6b, 0x5b, 0xea,
                                 0x43, 0x02, 0x6a, 0x50, 0x49}};
    block got = round_plainly(before, key);

    (void)state;
    assert_memory_equal(&got, &after, sizeof(got));
}

static void
hashes_are_what_their_definition_says_and_nothing_beyond_the_address_is_read(void **state)
{
    const size_t fast_most = mp__hasher_may_be_fast() ? MP__HASHER_BLOCKS * MP__HASHER_BLOCK : 0;
    mp__hasher fast, plain;

    (void)state;
    mp__hasher_init(&fast, secret, fast_most != 0);
    mp__hasher_init(&plain, secret, false);
    for (size_t size = 0; size <= MP__HASHER_BLOCKS * MP__HASHER_BLOCK + 40;
         size += size < 300 ? 1 : 13) {
        unsigned char *input = mp__realloc_array(NULL, size + 1, 1);
        mp_str s;

        assert_non_null(input);
        for (size_t i = 0; i <= size; i++)
            input[i] = (unsigned char)(i * 151 + size);
        s = mp_str_new((const char *)input + 1, size); /* it ends where the memory ends */
        assert_true(mp__hasher_hash(&plain, s) == mp__siphash13(secret, s.data, s.size));
        assert_true(mp__hasher_hash(&fast, s) == (fast_most && size <= fast_most
                                                      ? fast_plainly(input + 1, size)
                                                      : mp__siphash13(secret, s.data, s.size)));
        (void)mp__free(input);
    }
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

/* All sizes of the same byte, all places of one other byte in them: what collides where a hash
 * forgets a size or a place. */
static void addresses_that_differ_in_one_byte_or_in_size_have_different_hashes(void **state)
{
    enum { SIZES = 200 };
    char text[SIZES];
    size_t count = 0;
    uint64_t *hashes;
    mp__hasher hasher;

    (void)state;
    mp__hasher_init(&hasher, secret, mp__hasher_may_be_fast());
    hashes = mp__realloc_array(NULL, SIZES * (SIZES + 1), sizeof(*hashes));
    assert_non_null(hashes);
    memset(text, 'a', sizeof(text));
    for (size_t size = 0; size < SIZES; size++) {
        hashes[count++] = mp__hasher_hash(&hasher, mp_str_new(text, size));
        for (size_t at = 0; at < size; at++) {
            text[at] = 'b';
            hashes[count++] = mp__hasher_hash(&hasher, mp_str_new(text, size));
            text[at] = 'a';
        }
    }
    qsort(hashes, count, sizeof(*hashes), compare_hashes);
    for (size_t i = 1; i < count; i++)
        assert_true(hashes[i - 1] != hashes[i]);
    (void)mp__free(hashes);
}

/* Pearson's chi-square of each 8 bits of the hashes of numbered addresses, which differ little. */
static void all_bits_of_the_hashes_of_numbered_addresses_are_even(void **state)
{
    enum { ADDRESSES = 65536, LISTS = 256 };
    mp__hasher hasher;

    (void)state;
    mp__hasher_init(&hasher, secret, mp__hasher_may_be_fast());
    for (unsigned shift = 0; shift <= 56; shift += 4) {
        double sum = 0, expected = (double)ADDRESSES / LISTS;
        unsigned counts[LISTS] = {0};

        for (unsigned i = 0; i < ADDRESSES; i++) {
            char text[64];
            int size = snprintf(text, sizeof(text), "production/service/option/%u", i);

            counts[mp__hasher_hash(&hasher, mp_str_new(text, (size_t)size)) >> shift & 255]++;
        }
        for (unsigned i = 0; i < LISTS; i++)
            sum += (counts[i] - expected) * (counts[i] - expected) / expected;
        assert_true(sum > 150 && sum < 400); /* 255 in the mean, deviation 22.6 */
    }
}

/* Addresses of two blocks which share a bucket by their first ends share none by more than chance
 * when both are given another last end. */
static void a_pair_in_one_bucket_makes_no_other_pair(void **state)
{
    enum { ENDS = 2000, BUCKETS = 64 };
    char one[33] = "production/a00000000000000000000", two[33];
    unsigned together = 0;
    mp__hasher hasher;

    (void)state;
    mp__hasher_init(&hasher, secret, mp__hasher_may_be_fast());
    memcpy(two, one, sizeof(two));
    for (unsigned i = 1;; i++) { /* another first end, the same bucket */
        char digits[6];

        (void)snprintf(digits, sizeof(digits), "%04u", i % 10000);
        memcpy(two + 11, digits, 4);
        if ((mp__hasher_hash(&hasher, mp_str_new(one, 32)) ^
             mp__hasher_hash(&hasher, mp_str_new(two, 32))) %
                BUCKETS ==
            0)
            break;
    }
    for (unsigned i = 0; i < ENDS; i++) {
        char digits[6];

        (void)snprintf(digits, sizeof(digits), "%04u", i + 1);
        memcpy(one + 28, digits, 4);
        memcpy(two + 28, digits, 4);
        together += (mp__hasher_hash(&hasher, mp_str_new(one, 32)) ^
                     mp__hasher_hash(&hasher, mp_str_new(two, 32))) %
                        BUCKETS ==
                    0;
    }
    assert_true(together < ENDS / BUCKETS * 2); /* 31 by chance */
}

static void another_secret_makes_other_hashes_and_a_fast_hasher_another_secret(void **state)
{
    mp__hash_key made = mp__hasher_secret(secret, true), plain = mp__hasher_secret(secret, false);
    mp__hasher a, b;

    (void)state;
    assert_memory_equal(&plain, &secret, sizeof(plain));
    assert_memory_not_equal(&made, &secret, sizeof(made));
    mp__hasher_init(&a, secret, mp__hasher_may_be_fast());
    mp__hasher_init(&b, made, mp__hasher_may_be_fast());
    assert_true(mp__hasher_hash(&a, MP_STR("production/app/a")) !=
                mp__hasher_hash(&b, MP_STR("production/app/a")));
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_round_is_that_of_the_standard),
    MP_TEST(hashes_are_what_their_definition_says_and_nothing_beyond_the_address_is_read),
    MP_TEST(addresses_that_differ_in_one_byte_or_in_size_have_different_hashes),
    MP_TEST(all_bits_of_the_hashes_of_numbered_addresses_are_even),
    MP_TEST(a_pair_in_one_bucket_makes_no_other_pair),
    MP_TEST(another_secret_makes_other_hashes_and_a_fast_hasher_another_secret),
};

MP_TEST_MAIN(tests)
