/* SPDX-License-Identifier: Apache-2.0 */
/* L2: the code tables of a dictionary, as RFC 8878 has them: 4.1.1 FSE, 4.2.1 Huffman, 5. */
#include "cache/l2_tables.h"

#include <string.h>

enum {
    MAGIC_AND_NUMBER = 8,
    REPEATS = 12, /* bytes of them */
    WEIGHT_LOG = 6,
    WEIGHTS = 12, /* different ones, at most */
    LITERALS = 256,
    LENGTH_CODES = 36, /* of runs of literals */
    OFFSET_CODES_MAX = 32,
    OFFSET_LOG = 8,
};

static unsigned log_of(uint32_t n)
{
    return 31 - (unsigned)__builtin_clz(n);
}

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
    *r = (backward){.of = {bytes, size}, .left = (size - 1) * 8 + log_of(bytes[size - 1])};
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

typedef struct shares {
    unsigned log, count;
    int16_t of[MP__L2_FSE_SYMBOLS]; /* of 2^log states; -1: less than one */
} shares;

/* One share, that may be from -1 to @left. Returns the bits it takes. */
static unsigned share_read(const bits *b, size_t at, unsigned left, int16_t *ret_share)
{
    unsigned most = left + 1, width = log_of(most) + 1, half = 1u << (width - 1);
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
                          unsigned log_max, shares *ret_shares)
{
    const bits b = {bytes, size};
    unsigned left, zeros;
    size_t at = 4;

    *ret_shares = (shares){.log = bits_at(&b, 0, 4) + 5};
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

/* Which symbol each state stands for. */
static void spread(const shares *s, uint8_t *symbols)
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

static unsigned states_of(int16_t share)
{
    return share < 0 ? 1 : (unsigned)share;
}

static void fse_make(const shares *s, mp__l2_fse *ret_fse)
{
    uint8_t symbols[1 << MP__L2_FSE_LOG] = {0};
    unsigned next[MP__L2_FSE_SYMBOLS] = {0}, size = 1u << s->log, begin = 0;

    spread(s, symbols);
    *ret_fse = (mp__l2_fse){.log = s->log};
    for (unsigned i = 0; i < s->count; i++) {
        unsigned n = states_of(s->of[i]), most = n > 1 ? s->log - log_of(n - 1) : s->log;

        next[i] = begin;
        ret_fse->symbols[i] = (mp__l2_fse_symbol){.bits = (most << 16) - (n << most),
                                                  .first = (int16_t)((int)begin - (int)n)};
        begin += n;
    }
    for (unsigned u = 0; u < size; u++)
        ret_fse->states[next[symbols[u]]++] = (uint16_t)u;
}

/* Returns the bytes that it takes; 0: it does not hold, or lacks one of the first @needed. */
static size_t fse_read(const unsigned char *bytes, size_t size, unsigned symbols, unsigned needed,
                       unsigned log_max, mp__l2_fse *ret_fse)
{
    shares s;
    size_t took = shares_read(bytes, size, symbols, log_max, &s);

    if (!took || s.count < needed)
        return 0;
    for (unsigned i = 0; i < needed; i++)
        if (s.of[i] == 0)
            return 0;
    fse_make(&s, ret_fse);
    return took;
}

/* ---- Huffman ---- */

/* A state of the weights' table: its symbol, and the state after it but for `bits` bits. */
typedef struct weight_state {
    uint8_t symbol, bits, base;
} weight_state;

static void weight_states_make(const shares *s, weight_state states[1 << WEIGHT_LOG])
{
    uint8_t symbols[1 << WEIGHT_LOG] = {0};
    unsigned next[WEIGHTS + 1] = {0}, size = 1u << s->log;

    spread(s, symbols);
    for (unsigned i = 0; i < s->count; i++)
        next[i] = states_of(s->of[i]);
    for (unsigned u = 0; u < size; u++) {
        unsigned x = next[symbols[u]]++, count = s->log - log_of(x);

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
    shares s;

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
    longest = log_of(sum) + 1;
    left = (1u << longest) - sum;
    if (longest > MP__L2_HUFFMAN_BITS || (left & (left - 1)) != 0)
        return 0;
    weights[LITERALS - 1] = (uint8_t)(log_of(left) + 1);
    return longest;
}

static size_t huffman_read(const unsigned char *bytes, size_t size, mp__l2_tables *t)
{
    uint8_t weights[LITERALS] = {0};
    size_t took = weights_read(bytes, size, weights);
    unsigned longest = took ? weight_of_last(weights) : 0, code = 0;

    if (!longest)
        return 0;
    for (unsigned w = 1; w <= longest; w++, code >>= 1)
        for (unsigned i = 0; i < LITERALS; i++)
            if (weights[i] == w) {
                t->codes[i] = (uint16_t)(code << 4 | (longest + 1 - w));
                code++;
            }
    return took;
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
    took = huffman_read(dictionary + at, size - at, t);
    at += took;
    if (took)
        took = fse_read(dictionary + at, size - at, OFFSET_CODES_MAX, MP__L2_OFFSET_CODES,
                        OFFSET_LOG, &t->offsets);
    at += took;
    if (took)
        took = fse_read(dictionary + at, size - at, MP__L2_FSE_SYMBOLS, MP__L2_FSE_SYMBOLS,
                        MP__L2_FSE_LOG, &t->matches);
    at += took;
    if (took)
        took = fse_read(dictionary + at, size - at, LENGTH_CODES, LENGTH_CODES, MP__L2_FSE_LOG,
                        &t->literals);
    at += took;
    if (!took || size - at < REPEATS)
        return false;
    t->size = at + REPEATS;
    return repeats_read(dictionary + at, size - t->size, t->repeats);
}
