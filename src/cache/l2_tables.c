/* SPDX-License-Identifier: Apache-2.0 */
/* L2: the code tables of a dictionary, as RFC 8878 has them: 4.1.1 FSE, 4.2.1 Huffman, 5. */
#include "cache/l2_tables.h"

#include <string.h>

#include "cache/l2_match.h"

enum {
    MAGIC_AND_NUMBER = 8,
    REPEATS = 12, /* bytes of them */
    WEIGHT_LOG = 6,
    WEIGHTS = 12, /* different ones, at most */
    LITERALS = 256,
    OFFSET_CODES_MAX = 32,
};

const uint8_t mp__l2_length_bits[MP__L2_LENGTH_CODES] = {
    [16] = 1,  [17] = 1,  [18] = 1,  [19] = 1,  [20] = 2,  [21] = 2, [22] = 3,
    [23] = 3,  [24] = 4,  [25] = 6,  [26] = 7,  [27] = 8,  [28] = 9, [29] = 10,
    [30] = 11, [31] = 12, [32] = 13, [33] = 14, [34] = 15, [35] = 16};
const uint8_t mp__l2_match_bits[MP__L2_MATCH_CODES] = {
    [32] = 1,  [33] = 1,  [34] = 1,  [35] = 1,  [36] = 2,  [37] = 2,  [38] = 3,
    [39] = 3,  [40] = 4,  [41] = 4,  [42] = 5,  [43] = 7,  [44] = 8,  [45] = 9,
    [46] = 10, [47] = 11, [48] = 12, [49] = 13, [50] = 14, [51] = 15, [52] = 16};

/* ---- bits ---- */

/* Bytes read as one long number, the least bit first; zeros behind it. */
typedef struct bits {
    const unsigned char *bytes;
    size_t size;
} bits;

static uint32_t bits_at(const bits *b, size_t at, unsigned count)
{
    uint64_t v = 0;

    for (size_t i = 0; i < 5; i++)
        if (at / 8 + i < b->size)
            v |= (uint64_t)b->bytes[at / 8 + i] << (8 * i);
    return (uint32_t)(v >> (at % 8)) & (uint32_t)((1u << count) - 1);
}

/* From the end to the beginning; what is missing there is zeros. */
typedef struct backward {
    bits of;
    size_t left;
    bool over; /* more was asked for than there is */
} backward;

static bool backward_begin(backward *r, const unsigned char *bytes, size_t size)
{
    if (size == 0 || bytes[size - 1] == 0)
        return false;
    *r = (backward){.of = {bytes, size}, .left = (size - 1) * 8 + mp__l2_log(bytes[size - 1])};
    return true;
}

static uint32_t backward_take(backward *r, unsigned count)
{
    unsigned missing = r->left < count ? count - (unsigned)r->left : 0;

    r->over = r->over || missing;
    r->left -= count - missing;
    return bits_at(&r->of, r->left, count - missing) << missing;
}

/* ---- FSE ---- */

/* One share, that may be from -1 to @left. Returns the bits it takes. */
static unsigned share_read(const bits *b, size_t at, unsigned left, int16_t *ret_share)
{
    unsigned most = left + 1, width = mp__l2_log(most) + 1, half = 1u << (width - 1);
    unsigned spare = 2 * half - 1 - most; /* so many values are a bit shorter */
    unsigned v = bits_at(b, at, width), low = v & (half - 1);

    if (low < spare) {
        *ret_share = (int16_t)((int)low - 1);
        return width - 1;
    }
    *ret_share = (int16_t)((int)(v >= half ? v - spare : v) - 1);
    return width;
}

/* How many more shares of zero follow. */
static unsigned zeros_read(const bits *b, size_t *at)
{
    unsigned zeros = 0, more;

    do {
        more = bits_at(b, *at, 2);
        *at += 2;
        zeros += more;
    } while (more == 3 && *at < b->size * 8);
    return zeros;
}

/* Returns the bytes that it takes, 0: it does not hold. */
static size_t shares_read(const unsigned char *bytes, size_t size, unsigned symbols,
                          unsigned log_max, mp__l2_shares *ret_shares)
{
    const bits b = {bytes, size};
    unsigned left, zeros;
    size_t at = 4;

    *ret_shares = (mp__l2_shares){.log = bits_at(&b, 0, 4) + 5};
    if (size == 0 || ret_shares->log > log_max)
        return 0;
    for (left = 1u << ret_shares->log; left;) {
        int16_t share;

        if (ret_shares->count >= symbols || at >= size * 8)
            return 0;
        at += share_read(&b, at, left, &share);
        ret_shares->of[ret_shares->count++] = share;
        left -= (unsigned)(share < 0 ? 1 : share);
        zeros = share ? 0 : zeros_read(&b, &at);
        if (zeros > symbols - ret_shares->count)
            return 0;
        ret_shares->count += zeros; /* they are zero */
    }
    at = (at + 7) / 8;
    return at <= size ? at : 0;
}

void mp__l2_spread(const mp__l2_shares *s, uint8_t *symbols)
{
    unsigned size = 1u << s->log, high = size, at = 0;

    for (unsigned i = 0; i < s->count; i++)
        if (s->of[i] < 0)
            symbols[--high] = (uint8_t)i;
    for (unsigned i = 0; i < s->count; i++)
        for (int n = 0; n < s->of[i]; n++) {
            symbols[at] = (uint8_t)i;
            do
                at = (at + size / 2 + size / 8 + 3) & (size - 1);
            while (at >= high);
        }
}

/* Returns the bytes that it takes; 0: it does not hold, or lacks one of the first @needed. */
static size_t complete_read(const unsigned char *bytes, size_t size, unsigned symbols,
                            unsigned needed, unsigned log_max, mp__l2_shares *ret_shares)
{
    size_t took = shares_read(bytes, size, symbols, log_max, ret_shares);

    if (ret_shares->count < needed)
        return 0;
    for (unsigned i = 0; i < needed; i++)
        if (ret_shares->of[i] == 0)
            return 0;
    return took;
}

/* ---- Huffman ---- */

/* A state of the weights' table: its symbol, and the state after it but for `bits` bits. */
typedef struct weight_state {
    uint8_t symbol, bits, base;
} weight_state;

static void weight_states_make(const mp__l2_shares *s, weight_state states[1 << WEIGHT_LOG])
{
    uint8_t symbols[1 << WEIGHT_LOG] = {0};
    unsigned next[WEIGHTS + 1] = {0}, size = 1u << s->log;

    mp__l2_spread(s, symbols);
    for (unsigned i = 0; i < s->count; i++)
        next[i] = mp__l2_states_of(s->of[i]);
    for (unsigned u = 0; u < size; u++) {
        unsigned x = next[symbols[u]]++, count = s->log - mp__l2_log(x);

        states[u] = (weight_state){symbols[u], (uint8_t)count, (uint8_t)((x << count) - size)};
    }
}

/* Two states take turns. Returns how many weights there are, 0: they do not hold. */
static size_t weights_expand(const unsigned char *bytes, size_t size, uint8_t weights[LITERALS])
{
    weight_state states[1 << WEIGHT_LOG];
    unsigned at[2], turn = 0;
    size_t took, n = 0;
    backward r;
    mp__l2_shares s;

    took = shares_read(bytes, size, WEIGHTS + 1, WEIGHT_LOG, &s);
    if (!took || !backward_begin(&r, bytes + took, size - took))
        return 0;
    weight_states_make(&s, states);
    at[0] = backward_take(&r, s.log);
    at[1] = backward_take(&r, s.log);
    for (; n < LITERALS - 1; turn ^= 1) {
        const weight_state *state = &states[at[turn]];

        weights[n++] = state->symbol;
        at[turn] = state->base + backward_take(&r, state->bits);
        if (r.over) {
            weights[n++] = states[at[turn ^ 1]].symbol;
            return n;
        }
    }
    return 0;
}

/* Of all literals but the last one. Returns the bytes that they take, 0: they do not hold. */
static size_t weights_read(const unsigned char *bytes, size_t size, uint8_t weights[LITERALS])
{
    size_t head = size ? bytes[0] : 0;

    if (head == 0 || head >= 128 || head >= size) /* 128 and more: written out, for 128 literals */
        return 0;
    return weights_expand(bytes + 1, head, weights) == LITERALS - 1 ? 1 + head : 0;
}

/* What the others leave is the last one's weight. Returns the bits of the longest code, 0: they do
 * not hold. */
static unsigned weight_of_last(uint8_t weights[LITERALS])
{
    uint32_t sum = 0, left;
    unsigned longest;

    for (unsigned i = 0; i + 1 < LITERALS; i++) {
        if (weights[i] == 0 || weights[i] > MP__L2_HUFFMAN_BITS)
            return 0;
        sum += 1u << (weights[i] - 1);
    }
    longest = mp__l2_log(sum) + 1;
    left = (1u << longest) - sum;
    if (longest > MP__L2_HUFFMAN_BITS || (left & (left - 1)) != 0)
        return 0;
    weights[LITERALS - 1] = (uint8_t)(mp__l2_log(left) + 1);
    return longest;
}

/* ---- all of them ---- */

static bool repeats_read(const unsigned char *p, size_t content, uint32_t repeats[3])
{
    for (unsigned i = 0; i < 3; i++, p += 4) {
        repeats[i] = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        if (repeats[i] == 0 || repeats[i] > content)
            return false;
    }
    return true;
}

bool mp__l2_tables_read(const unsigned char *dictionary, size_t size, mp__l2_tables *ret_tables)
{
    static const unsigned char magic[4] = {0x37, 0xa4, 0x30, 0xec};
    mp__l2_tables *t = ret_tables;
    size_t at = MAGIC_AND_NUMBER, took;

    if (size < MAGIC_AND_NUMBER || memcmp(dictionary, magic, 4) != 0)
        return false;
    took = weights_read(dictionary + at, size - at, t->weights);
    t->longest = took ? weight_of_last(t->weights) : 0;
    at += took;
    if (!t->longest)
        return false;
    took = complete_read(dictionary + at, size - at, OFFSET_CODES_MAX, MP__L2_OFFSET_CODES,
                         MP__L2_OFFSET_LOG, &t->offsets);
    at += took;
    if (took)
        took = complete_read(dictionary + at, size - at, MP__L2_MATCH_CODES, MP__L2_MATCH_CODES,
                             MP__L2_FSE_LOG, &t->matches);
    at += took;
    if (took)
        took = complete_read(dictionary + at, size - at, MP__L2_LENGTH_CODES, MP__L2_LENGTH_CODES,
                             MP__L2_FSE_LOG, &t->lengths);
    at += took;
    if (!took || size - at < REPEATS)
        return false;
    t->size = at + REPEATS;
    return repeats_read(dictionary + at, size - t->size, t->repeats);
}

bool mp__l2_tables_fit(const unsigned char *dictionary, size_t size, mp__l2_tables *ret_tables)
{
    return size <= MP__L2_MATCH_DICTIONARY && mp__l2_tables_read(dictionary, size, ret_tables) &&
           size - ret_tables->size >= MP__L2_MATCH_CONTENT;
}
