/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l2_unpack.h"

#include <stdint.h>
#include <string.h>
#ifdef MP__L2_WIDE
#include <immintrin.h>
#endif

#include "cache/l2_tables.h"
#include "cache/l2_wide.h"
#include "core/alloc.h"
#include "core/hash.h"

enum {
    STREAMS = 4,
    RAW = 0,      /* kinds of literals: as they are, */
    TREELESS = 3, /* and by the dictionary's code */
    ALL_REPEAT = 0xfc,
#ifdef MP__L2_WIDE
    COPY = 32, /* bytes copied at once */
#else
    COPY = 16,
#endif
    RUN = 16,     /* and of literals */
    FIRST = 64,   /* of a match, whatever its length: one more jump costs more */
    PAST = 80,    /* bytes behind the end of the body where its literals end: copies go on for 63 */
    AT_ONCE = 57, /* bits that are looked at together, at least */
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
    int64_t last; /* the number of the next one; below -1: more were taken than there were */
} bits;

/* The highest bit of the last byte only says where they end. */
static bool bits_begin(bits *b, const unsigned char *bytes, const unsigned char *end)
{
    if (bytes >= end || end[-1] == 0)
        return false;
    *b = (bits){.bytes = bytes, .last = (end - bytes - 1) * 8 + (int64_t)mp__l2_log(end[-1]) - 1};
    return true;
}

/* The next bits as the highest, AT_ONCE of them; behind the last one, if there is one at all, those
 * of the bytes before, MP__L2_BLOCK_BEFORE of which can be read. */
static inline uint64_t next_bits(const bits *b)
{
    return mp__load_le64(b->bytes + (b->last >> 3) - 7) << (~b->last & 7);
}

/* The lowest @count bits, 63 at most, that its lowest byte says. */
static inline uint64_t lowest(uint64_t v, unsigned count)
{
#ifdef MP__L2_WIDE
    return _bzhi_u64(v, count);
#else
    return v & ((UINT64_C(1) << (count & 63)) - 1);
#endif
}

/* The highest @count bits of @v as the lowest; above them there is something. */
static inline uint64_t highest(uint64_t v, unsigned count)
{
    return v >> ((64 - count) & 63);
}

/* ---- literals ---- */

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

        if (b.last < 0)
            return false;
        v = next_bits(&b);
        for (unsigned n = 0; n < BATCH && out < last; n++) {
            pair p = u->literals[v >> (64 - MP__L2_HUFFMAN_BITS)];

            memcpy(out, p.literals, 2);
            v <<= p.bits;
            taken += p.bits;
            out += p.count;
        }
        b.last -= taken;
    }
    if (out > last) /* the second one of the last two is of what is not there */
        b.last += u->literal_bits[out[-1]];
    return b.last == -1;
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

/* COPY bytes, all of which are read before one is written. */
static inline void copy_some(unsigned char *to, const unsigned char *from)
{
#ifdef MP__L2_WIDE
    _mm256_storeu_si256((__m256i *)(void *)to,
                        _mm256_loadu_si256((const __m256i *)(const void *)from));
#else
    memmove(to, from, COPY);
#endif
}

/* Up to FIRST - 1 bytes more; @from is COPY bytes before, at least, or elsewhere. */
static inline void copy_past(unsigned char *to, const unsigned char *from, size_t count)
{
    for (size_t n = 0; n < FIRST; n += COPY)
        copy_some(to + n, from + n);
    for (size_t n = FIRST; __builtin_expect(n < count, 0); n += COPY)
        copy_some(to + n, from + n);
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

/* It goes on into what it makes, or begins so little before that COPY bytes at once would. */
static void copy_near(unsigned char *to, size_t offset, size_t count)
{
    const unsigned char *from = to - offset;

    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* To @at what is not where most of it is. False: there is nothing so far before. */
static __attribute__((noinline)) bool copy_match_else(const output *o, unsigned char *at,
                                                      size_t offset, size_t count)
{
    size_t made = (size_t)(at - o->begin);

    if (offset == 0 || offset > made + (size_t)(o->dictionary_end - o->dictionary))
        return false;
    if (offset > (size_t)(at - o->reach))
        copy_from_afar(o->dictionary_end, offset - made, o->begin, at, count);
    else
        copy_near(at, offset, count);
    return true;
}

static inline bool copy_match(const output *o, unsigned char *at, size_t offset, size_t count)
{
    if (__builtin_expect(offset > (size_t)(at - o->reach) || offset < COPY, 0))
        return copy_match_else(o, at, offset, count);
    copy_past(at, at - offset, count);
    return true;
}

/* What is behind them is written over when it was read. Only in a block that is damaged are they so
 * near that both meet; that is found out at its end. */
static inline void copy_literals(unsigned char *at, const unsigned char *from, size_t count)
{
    memmove(at, from, RUN);
    if (__builtin_expect(count > RUN, 0))
        memmove(at, from, count);
}

/* The last three offsets, the last one first, and a fourth that is about to be. */
#ifdef MP__L2_WIDE
typedef __m128i recent;

static inline recent recent_begin(const uint32_t offsets[3])
{
    return _mm_setr_epi32((int)offsets[0], (int)offsets[1], (int)offsets[2], 0);
}

/* The one that is @which of the four; it becomes the last one. */
static inline uint32_t recent_use(recent *r, uint32_t which, uint32_t fourth)
{
    static const _Alignas(16) int orders[4][4] = {
        {0, 1, 2, 3}, {1, 0, 2, 3}, {2, 0, 1, 3}, {3, 0, 1, 2}};
    __m128i order = _mm_load_si128((const __m128i *)(const void *)orders[which]);
    __m128 all = _mm_castsi128_ps(_mm_insert_epi32(*r, (int)fourth, 3));

    *r = _mm_castps_si128(_mm_permutevar_ps(all, order));
    return (uint32_t)_mm_cvtsi128_si32(*r);
}
#else
typedef struct recent {
    uint32_t offsets[4];
} recent;

static inline recent recent_begin(const uint32_t offsets[3])
{
    return (recent){{offsets[0], offsets[1], offsets[2]}};
}

static inline uint32_t recent_use(recent *r, uint32_t which, uint32_t fourth)
{
    uint32_t *last = r->offsets, offset;

    last[3] = fourth;
    offset = last[which];
    last[2] = last[2 - (which >> 1)];
    last[1] = last[1 - (which > 0)];
    last[0] = offset;
    return offset;
}
#endif

/* Which offset @number is, one of the last three or another, which are as after it then (3.1.1.5).
 * All by indices: of jumps here a third was guessed wrongly. 0: it is none; so is "the last one
 * less one", which is never written. */
static inline uint32_t offset_of(uint32_t number, bool no_literals, recent *r)
{
    uint32_t which = number - !no_literals;

    return recent_use(r, which < 3 ? which : 3, number - 3);
}

typedef struct places {
    size_t offset, match, length; /* in the tables */
} places;

static places first_places(const mp__l2_unpacker *u, bits *b)
{
    uint64_t v = highest(next_bits(b), u->length_log + u->offset_log + u->match_log);
    places p;

    p.match = lowest(v, u->match_log);
    v >>= u->match_log;
    p.offset = lowest(v, u->offset_log);
    p.length = lowest(v >> u->offset_log, u->length_log);
    b->last -= u->length_log + u->offset_log + u->match_log;
    return p;
}

/* The @count bits behind @extra others, of which all together are more than AT_ONCE. */
static __attribute__((noinline)) uint64_t take_behind(bits b, unsigned extra, unsigned count)
{
    b.last -= extra;
    return b.last < -1 ? 0 : highest(next_bits(&b), count);
}

/* All of it in locals: what is written into the body could be anything that has an address. Returns
 * where the body ends so far, NULL: that is not what the bits are. */
static unsigned char *read_matches(const mp__l2_unpacker *u, bits b, size_t count, literals *l,
                                   const output to)
{
    recent last = recent_begin(u->repeats);
    const unsigned char *literal = l->at, *const literals_end = l->end;
    unsigned char *at = to.begin;
    places p = first_places(u, &b);
    uint64_t next;

    if (b.last < -1)
        return NULL;
    next = next_bits(&b);
    for (;;) {
        const state *offset = &u->offsets[p.offset], *match = &u->matches[p.match];
        const state *length = &u->lengths[p.length];
        unsigned offset_bits = offset->bits, match_bits = match->bits, length_bits = length->bits;
        unsigned all_bits = offset_bits + match_bits + length_bits;
        uint64_t v = highest(next, all_bits); /* what above eight bits of it does not count */
        size_t run = length->number + lowest(v, length_bits), size;
        uint32_t number;

        v >>= length_bits & 63;
        size = match->number + lowest(v, match_bits);
        number = offset->number + (uint32_t)lowest(v >> (match_bits & 63), offset_bits);
        number = offset_of(number, run == 0, &last);
        if (run + size > (size_t)(to.end - at) || run > (size_t)(literals_end - literal))
            return NULL;
        if (--count) { /* before the copies, so that it is on its way meanwhile */
            unsigned both = (all_bits & 255) + (all_bits >> 8);

            v = highest(next, both);
            if (__builtin_expect(both > AT_ONCE, 0))
                v = take_behind(b, all_bits & 255, all_bits >> 8);
            b.last -= both;
            if (b.last < -1)
                return NULL;
            p.offset = offset->next + lowest(v, offset_bits >> 8);
            v >>= offset_bits >> 8;
            p.match = match->next + lowest(v, match_bits >> 8);
            p.length = length->next + lowest(v >> (match_bits >> 8), length_bits >> 8);
            next = next_bits(&b);
        } else {
            b.last -= all_bits & 255;
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
    return b.last == -1 ? at : NULL;
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
