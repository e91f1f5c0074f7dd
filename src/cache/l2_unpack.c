/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l2_unpack.h"

#include <stdint.h>
#include <string.h>

#include "cache/l2_tables.h"
#include "cache/l2_wide.h"
#include "core/alloc.h"
#include "core/hash.h"

enum {
    STREAMS = 4,
    RAW = 0,      /* kinds of literals: as they are, */
    TREELESS = 3, /* and by the dictionary's code */
    ALL_REPEAT = 0xfc,
    COPY = 16,    /* bytes copied at once */
    FIRST = 64,   /* of a match, whatever its length: one more jump costs more */
    PAST = 80,    /* bytes behind the end of the body where its literals end: copies go on for 63 */
    AT_ONCE = 56, /* bits that are looked at together, at least */
    BATCH = 5,    /* literals that are in so many */
    HUFFMAN = 1 << MP__L2_HUFFMAN_BITS,
};

/* A state: the number it is the beginning of, and the state after it but for some bits. */
typedef struct state {
    uint32_t number;
    uint16_t next;
    uint16_t bits; /* of the number, and above eight bits those of the next state */
} state;

/* One or two literals by the bits that come, and how many of these they take. */
typedef struct pair {
    uint8_t literals[2], count, bits;
} pair;

struct mp__l2_unpacker {
    const unsigned char *begin, *end; /* of the dictionary's content */
    uint32_t repeats[3];
    unsigned offset_log, match_log, length_log;
    bool is_wide; /* mp__l2_wide_is_here() */
    pair literals[HUFFMAN];
    uint8_t literal_bits[256];
    state lengths[1 << MP__L2_FSE_LOG], matches[1 << MP__L2_FSE_LOG];
    state offsets[1 << MP__L2_OFFSET_LOG];
};

/* ---- making one ---- */

#ifndef MP__L2_WIDE

static void states_make(const mp__l2_shares *shares, state *states)
{
    uint8_t codes[1 << MP__L2_FSE_LOG] = {0};
    unsigned next[MP__L2_MATCH_CODES] = {0}, size = 1u << shares->log;

    mp__l2_spread(shares, codes);
    for (unsigned i = 0; i < shares->count; i++)
        next[i] = mp__l2_states_of(shares->of[i]);
    for (unsigned u = 0; u < size; u++) {
        unsigned x = next[codes[u]]++, bits = shares->log - mp__l2_log(x);

        states[u] = (state){.number = codes[u],
                            .next = (uint16_t)((x << bits) - size),
                            .bits = (uint16_t)(bits << 8)};
    }
}

/* Each code stands for the numbers from where the one before it ends, the first for @first. */
static void numbers_make(state *states, unsigned log, const uint8_t *more, unsigned count,
                         uint32_t first)
{
    uint32_t numbers[MP__L2_MATCH_CODES] = {first};

    for (unsigned i = 1; i < count; i++)
        numbers[i] = numbers[i - 1] + (1u << more[i - 1]);
    for (unsigned u = 0; u < 1u << log; u++) {
        states[u].bits |= more[states[u].number];
        states[u].number = numbers[states[u].number];
    }
}

/* Offsets of codes that no body needs are so far away that none has them. */
static void offsets_make(mp__l2_unpacker *u)
{
    for (unsigned i = 0; i < 1u << u->offset_log; i++) {
        state *s = &u->offsets[i];
        bool is_needed = s->number < MP__L2_OFFSET_CODES;

        s->bits |= (uint16_t)(is_needed ? s->number : 0);
        s->number = is_needed ? 1u << s->number : UINT32_MAX / 2;
    }
}

static void literals_make(const mp__l2_tables *t, mp__l2_unpacker *u)
{
    uint8_t first[HUFFMAN] = {0};
    unsigned at = 0;

    for (unsigned w = 1; w <= t->longest; w++)
        for (unsigned i = 0; i < 256; i++)
            if (t->weights[i] == w) {
                u->literal_bits[i] = (uint8_t)(t->longest + 1 - w);
                for (unsigned n = 0; n < (unsigned)HUFFMAN >> u->literal_bits[i]; n++)
                    first[at++] = (uint8_t)i;
            }
    for (unsigned i = 0; i < HUFFMAN; i++) {
        unsigned one = u->literal_bits[first[i]];
        uint8_t other = first[(i << one) & (HUFFMAN - 1)];
        unsigned both = one + u->literal_bits[other];
        bool fits = both <= MP__L2_HUFFMAN_BITS;

        u->literals[i] = (pair){.literals = {first[i], other},
                                .count = fits ? 2 : 1,
                                .bits = (uint8_t)(fits ? both : one)};
    }
}

mp__l2_unpacker *mp__l2_unpacker_new(const unsigned char *dictionary, size_t size)
{
    mp__l2_unpacker *u;
    mp__l2_tables t;

    if (!mp__l2_tables_fit(dictionary, size, &t))
        return NULL;
    u = mp__calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    u->begin = dictionary + t.size;
    u->end = dictionary + size;
    memcpy(u->repeats, t.repeats, sizeof(u->repeats));
    u->is_wide = mp__l2_wide_is_here();
    u->offset_log = t.offsets.log;
    u->match_log = t.matches.log;
    u->length_log = t.lengths.log;
    states_make(&t.offsets, u->offsets);
    states_make(&t.matches, u->matches);
    states_make(&t.lengths, u->lengths);
    offsets_make(u);
    numbers_make(u->matches, t.matches.log, mp__l2_match_bits, MP__L2_MATCH_CODES, 3);
    numbers_make(u->lengths, t.lengths.log, mp__l2_length_bits, MP__L2_LENGTH_CODES, 0);
    literals_make(&t, u);
    return u;
}

mp__l2_unpacker *mp__l2_unpacker_free(mp__l2_unpacker *unpacker)
{
    return mp__free(unpacker);
}

void mp__l2_unpacker_be_plain(mp__l2_unpacker *unpacker)
{
    unpacker->is_wide = false;
}

size_t mp__l2_unpacker_bytes(const mp__l2_unpacker *unpacker)
{
    return unpacker ? sizeof(*unpacker) : 0;
}

#endif

/* ---- bits, from their end on ---- */

typedef struct bits {
    const unsigned char *bytes;
    int64_t left; /* below 0: more were asked for than there were */
} bits;

/* The highest bit of the last byte only says where they end. */
static bool bits_begin(bits *b, const unsigned char *bytes, const unsigned char *end)
{
    if (bytes >= end || end[-1] == 0)
        return false;
    *b = (bits){.bytes = bytes, .left = (end - bytes - 1) * 8 + (int64_t)mp__l2_log(end[-1])};
    return true;
}

/* The next @count bits, of 56 at most, as the lowest; above them there is something. */
static inline uint64_t bits_take(bits *b, unsigned count)
{
    b->left -= count;
    if (b->left < 0)
        return 0;
    return mp__load_le64(b->bytes + (b->left >> 3)) >> (b->left & 7);
}

static inline uint64_t lowest(uint64_t v, unsigned count)
{
    return v & ((UINT64_C(1) << count) - 1);
}

/* ---- literals ---- */

/* The next bits as the highest, AT_ONCE of them where there are so many, and zeros behind the last
 * one, if there is one at all. */
static inline uint64_t highest_bits(const bits *b)
{
    int64_t from = (b->left - AT_ONCE) & ~(int64_t)7;

    from &= -(int64_t)(b->left >= AT_ONCE);
    return mp__load_le64(b->bytes + (from >> 3)) << ((64 - (b->left - from)) & 63);
}

/* @count of them to @out, where one more may be written. False: that is not what the bytes are. */
static bool read_stream(const mp__l2_unpacker *u, const unsigned char *bytes,
                        const unsigned char *end, unsigned char *out, size_t count)
{
    unsigned char *last = out + count;
    bits b;

    if (!bits_begin(&b, bytes, end))
        return false;
    while (out < last) {
        unsigned taken = 0;
        uint64_t v;

        if (b.left <= 0)
            return false;
        v = highest_bits(&b);
        for (unsigned n = 0; n < BATCH && out < last; n++) {
            pair p = u->literals[v >> (64 - MP__L2_HUFFMAN_BITS)];

            memcpy(out, p.literals, 2);
            v <<= p.bits;
            taken += p.bits;
            out += p.count;
        }
        b.left -= taken;
    }
    if (out > last) /* the second one of the last two is of what is not there */
        b.left += u->literal_bits[out[-1]];
    return b.left == 0;
}

static bool read_streams(const mp__l2_unpacker *u, const unsigned char *bytes,
                         const unsigned char *end, unsigned char *out, size_t count)
{
    size_t part = (count + STREAMS - 1) / STREAMS;
    const unsigned char *sizes = bytes;

    if (end - bytes < 2 * (STREAMS - 1) || part * (STREAMS - 1) > count)
        return false;
    bytes += 2 * (STREAMS - 1);
    for (size_t i = 0; i < STREAMS; i++) {
        size_t size =
            i + 1 < STREAMS ? sizes[2 * i] | (size_t)sizes[2 * i + 1] << 8 : (size_t)(end - bytes);

        if (size > (size_t)(end - bytes) || !read_stream(u, bytes, bytes + size, out + i * part,
                                                         i + 1 < STREAMS ? part : count - i * part))
            return false;
        bytes += size;
    }
    return true;
}

typedef struct literals {
    const unsigned char *at, *end, *behind; /* `behind`: what follows them in the block */
} literals;

static bool read_raw(const unsigned char *block, const unsigned char *end, literals *ret_literals)
{
    static const unsigned char heads[4] = {1, 2, 1, 3};
    unsigned format = block[0] >> 2 & 3;
    size_t head = heads[format], count;

    if ((size_t)(end - block) < head)
        return false;
    count = head == 1   ? block[0] >> 3
            : head == 2 ? block[0] >> 4 | (size_t)block[1] << 4
                        : block[0] >> 4 | (size_t)block[1] << 4 | (size_t)block[2] << 12;
    if ((size_t)(end - block) - head < count)
        return false;
    *ret_literals = (literals){block + head, block + head + count, block + head + count};
    return true;
}

/* To behind the end of the body, where they are read from before it is written there. */
static bool read_coded(const mp__l2_unpacker *u, const unsigned char *block,
                       const unsigned char *end, unsigned char *body, size_t body_size,
                       literals *ret_literals)
{
    unsigned format = block[0] >> 2 & 3;
    size_t head = format < 2 ? 3 : format + 2u, width = format < 2 ? 10 : format == 2 ? 14 : 18;
    size_t count, size;
    unsigned char *out;
    uint64_t v;

    if ((size_t)(end - block) < head)
        return false;
    v = mp__load_le64(block);
    count = lowest(v >> 4, (unsigned)width);
    size = lowest(v >> (4 + width), (unsigned)width);
    if (count > body_size || (size_t)(end - block) - head < size)
        return false;
    out = body + body_size + PAST - count;
    *ret_literals = (literals){out, out + count, block + head + size};
    return format ? read_streams(u, block + head, block + head + size, out, count)
                  : read_stream(u, block + head, block + head + size, out, count);
}

/* ---- matches ---- */

/* Where a body is made. */
typedef struct output {
    unsigned char *begin, *end;
    const unsigned char *dictionary, *dictionary_end;
    const unsigned char *reach; /* where what lies right before the body begins */
} output;

/* Up to FIRST - 1 bytes more; @from is COPY bytes before, at least, or elsewhere. */
static inline void copy_past(unsigned char *to, const unsigned char *from, size_t count)
{
    memcpy(to, from, COPY);
    memcpy(to + COPY, from + COPY, COPY);
    memcpy(to + 2 * COPY, from + 2 * COPY, COPY);
    memcpy(to + 3 * COPY, from + 3 * COPY, COPY);
    for (size_t n = FIRST; n < count; n += COPY)
        memcpy(to + n, from + n, COPY);
}

/* Of a dictionary that lies elsewhere, from @back bytes before its end on, and then of the body's
 * beginning. */
static inline void copy_from_afar(const unsigned char *dictionary_end, size_t back,
                                  const unsigned char *begin, unsigned char *to, size_t count)
{
    const unsigned char *from = dictionary_end - back;
    size_t n = count < back ? count : back;

    if (__builtin_expect(back >= FIRST && count <= FIRST, 1)) {
        copy_past(to, from, count);
        return;
    }
    memcpy(to, from, n);
    for (size_t i = n; i < count; i++)
        to[i] = begin[i - n];
}

/* It goes on into what it makes. */
static void copy_near(unsigned char *to, size_t offset, size_t count)
{
    const unsigned char *from = to - offset;

    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* To @at. False: there is nothing so far before. */
static inline bool copy_match(const output *o, unsigned char *at, size_t offset, size_t count)
{
    size_t made = (size_t)(at - o->begin);

    if (__builtin_expect(offset > (size_t)(at - o->reach), 0)) {
        if (offset > made + (size_t)(o->dictionary_end - o->dictionary))
            return false;
        copy_from_afar(o->dictionary_end, offset - made, o->begin, at, count);
    } else if (__builtin_expect(offset < COPY, 0)) {
        copy_near(at, offset, count);
    } else {
        copy_past(at, at - offset, count);
    }
    return true;
}

/* What is behind them is written over when it was read. Only in a block that is damaged are they so
 * near that both meet; that is found out at its end. */
static inline void copy_literals(unsigned char *at, const unsigned char *from, size_t count)
{
    memmove(at, from, COPY);
    if (__builtin_expect(count > COPY, 0))
        memmove(at, from, count);
}

/* Which offset @number is, one of the last three or another, which are as after it then (3.1.1.5).
 * All by indices: of jumps here a third was guessed wrongly. 0: it is none; so is "the last one
 * less one", which is never written. */
static inline uint32_t offset_of(uint32_t number, bool no_literals, uint32_t last[4])
{
    uint32_t is_new = number > 3, which = ((number - 1 + no_literals) | (0 - is_new)) & 3, offset;

    last[3] = number - 3;
    offset = last[which];
    last[2] = last[2 - (which >> 1)];
    last[1] = last[1 - (which > 0)];
    last[0] = offset;
    return offset;
}

typedef struct places {
    size_t offset, match, length; /* in the tables */
} places;

static places first_places(const mp__l2_unpacker *u, bits *b)
{
    places p;

    p.length = lowest(bits_take(b, u->length_log), u->length_log);
    p.offset = lowest(bits_take(b, u->offset_log), u->offset_log);
    p.match = lowest(bits_take(b, u->match_log), u->match_log);
    return p;
}

/* The highest @count bits of @v as the lowest; above them there is something. */
static inline uint64_t highest(uint64_t v, unsigned count)
{
    return v >> ((64 - count) & 63);
}

/* The @count bits behind @extra others, of which all together are more than AT_ONCE. */
static __attribute__((noinline)) uint64_t take_behind(bits b, unsigned extra, unsigned count)
{
    b.left -= extra;
    return b.left < 0 ? 0 : highest(highest_bits(&b), count);
}

/* All of it in locals: what is written into the body could be anything that has an address. Returns
 * where the body ends so far, NULL: that is not what the bits are. */
static unsigned char *read_matches(const mp__l2_unpacker *u, bits b, size_t count, literals *l,
                                   const output to)
{
    uint32_t last[4] = {u->repeats[0], u->repeats[1], u->repeats[2]};
    const unsigned char *literal = l->at, *const literals_end = l->end;
    unsigned char *at = to.begin;
    places p = first_places(u, &b);
    uint64_t next = highest_bits(&b);

    for (;;) {
        const state *offset = &u->offsets[p.offset], *match = &u->matches[p.match];
        const state *length = &u->lengths[p.length];
        unsigned offset_bits = offset->bits, match_bits = match->bits, length_bits = length->bits;
        unsigned all_bits = offset_bits + match_bits + length_bits;
        unsigned extra = all_bits & 255;
        uint64_t v = highest(next, extra);
        size_t run = length->number + lowest(v, length_bits & 255), size;
        uint32_t number;

        v >>= length_bits & 255;
        size = match->number + lowest(v, match_bits & 255);
        number = offset->number + (uint32_t)lowest(v >> (match_bits & 255), offset_bits & 255);
        number = offset_of(number, run == 0, last);
        if (number == 0 || run + size > (size_t)(to.end - at) ||
            run > (size_t)(literals_end - literal))
            return NULL;
        if (--count) { /* before the copies, so that it is on its way meanwhile */
            unsigned both = extra + (all_bits >> 8);

            v = highest(next, both);
            if (__builtin_expect(both > AT_ONCE, 0))
                v = take_behind(b, extra, all_bits >> 8);
            b.left -= both;
            if (b.left < 0)
                return NULL;
            p.offset = offset->next + lowest(v, offset_bits >> 8);
            v >>= offset_bits >> 8;
            p.match = match->next + lowest(v, match_bits >> 8);
            p.length = length->next + lowest(v >> (match_bits >> 8), length_bits >> 8);
            next = highest_bits(&b);
        } else {
            b.left -= extra;
        }
        copy_literals(at, literal, run);
        literal += run;
        at += run;
        if (!copy_match(&to, at, number, size))
            return NULL;
        at += size;
        if (!count)
            break;
    }
    l->at = literal;
    return b.left == 0 ? at : NULL;
}

/* ---- all of it ---- */

/* Returns where the body ends so far, NULL: that is not what the bytes are. */
static unsigned char *read_sequences(const mp__l2_unpacker *u, const unsigned char *at,
                                     const unsigned char *end, literals *l, const output *to)
{
    size_t count;
    bits b;

    if (at >= end)
        return NULL;
    count = *at++;
    if (count >= 128) {
        if (at >= end || count == 255)
            return NULL;
        count = (count - 128) << 8 | *at++;
    }
    if (count == 0)
        return at == end ? to->begin : NULL;
    if (at >= end || *at++ != ALL_REPEAT || !bits_begin(&b, at, end))
        return NULL;
    return read_matches(u, b, count, l, *to);
}

bool MP__L2_BUILT(mp__l2_unpacker_read)(const mp__l2_unpacker *unpacker, const unsigned char *block,
                                        size_t size, unsigned char *body, size_t body_size)
{
    const unsigned char *end = block + size;
    const output to = {.begin = body,
                       .end = body + body_size,
                       .dictionary = unpacker->begin,
                       .dictionary_end = unpacker->end,
                       .reach = body == unpacker->end ? unpacker->begin : body};
    unsigned kind = size ? block[0] & 3 : RAW;
    unsigned char *at;
    literals l;

    if (size == 0 || (kind != RAW && kind != TREELESS) ||
        !(kind == RAW ? read_raw(block, end, &l)
                      : read_coded(unpacker, block, end, body, body_size, &l)))
        return false;
    at = read_sequences(unpacker, l.behind, end, &l, &to);
    if (!at || l.end - l.at != to.end - at)
        return false;
    copy_literals(at, l.at, (size_t)(l.end - l.at));
    return true;
}

#ifndef MP__L2_WIDE
bool mp__l2_unpacker_read(const mp__l2_unpacker *unpacker, const unsigned char *block, size_t size,
                          unsigned char *body, size_t body_size)
{
#ifdef MP__WITH_L2_WIDE
    if (unpacker->is_wide)
        return mp__l2_unpacker_read_wide(unpacker, block, size, body, body_size);
#endif
    return mp__l2_unpacker_read_plain(unpacker, block, size, body, body_size);
}
#endif
