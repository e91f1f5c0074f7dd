/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l2_unpack.h"

#include <endian.h>
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
    AT_ONCE = 56, /* bits that are looked at together, at least */
    BATCH = 5,    /* literals that are in so many */
    HUFFMAN = 1 << MP__L2_HUFFMAN_BITS,
    MATCHES = 1 << MP__L2_FSE_LOG, /* where their states begin, */
    OFFSETS = 2 << MP__L2_FSE_LOG, /* and those of offsets */
};

/* A state: the number it is the beginning of, and the state after it but for some bits. */
typedef struct state {
    uint32_t number;
    uint16_t next;
    uint16_t bits; /* of the number, and above eight bits those of the next state */
} state;

/* One or two literals by the bits that come, and how many of these they take: in the lowest byte
 * the bits, in the next one how many literals, then these. */
typedef uint32_t pair;

struct mp__l2_unpacker {
    const unsigned char *begin, *end; /* of the dictionary's content */
    uint32_t repeats[3];
    unsigned offset_log, match_log, length_log;
    bool is_wide; /* mp__l2_wide_is_here() */
    pair literals[HUFFMAN];
    uint8_t literal_bits[256];
    state states[OFFSETS + (1 << MP__L2_OFFSET_LOG)]; /* of lengths, MATCHES and OFFSETS */
};

/* ---- making one ---- */

#ifndef MP__L2_WIDE

static void states_make(const mp__l2_shares *shares, unsigned begin, state *states)
{
    uint8_t codes[1 << MP__L2_FSE_LOG] = {0};
    unsigned next[MP__L2_MATCH_CODES] = {0}, size = 1u << shares->log;

    mp__l2_spread(shares, codes);
    for (unsigned i = 0; i < shares->count; i++)
        next[i] = mp__l2_states_of(shares->of[i]);
    for (unsigned u = 0; u < size; u++) {
        unsigned x = next[codes[u]]++, bits = shares->log - mp__l2_log(x);

        states[begin + u] = (state){.number = codes[u],
                                    .next = (uint16_t)(begin + (x << bits) - size),
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
        state *s = &u->states[OFFSETS + i];
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

        u->literals[i] =
            (pair)other << 24 | (pair)first[i] << 16 | (fits ? 2u : 1u) << 8 | (fits ? both : one);
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
    states_make(&t.offsets, OFFSETS, u->states);
    states_make(&t.matches, MATCHES, u->states);
    states_make(&t.lengths, 0, u->states);
    offsets_make(u);
    numbers_make(u->states + MATCHES, t.matches.log, mp__l2_match_bits, MP__L2_MATCH_CODES, 3);
    numbers_make(u->states, t.lengths.log, mp__l2_length_bits, MP__L2_LENGTH_CODES, 0);
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
    int64_t left; /* below 0: more were taken than there were */
} bits;

/* The highest bit of the last byte only says where they end. */
static bool bits_begin(bits *b, const unsigned char *bytes, const unsigned char *end)
{
    if (bytes >= end || end[-1] == 0)
        return false;
    *b = (bits){.bytes = bytes, .left = (end - bytes - 1) * 8 + (int64_t)mp__l2_log(end[-1])};
    return true;
}

/* The word in which the next AT_ONCE bits are; behind the last one those of the bytes before,
 * MP__L2_BLOCK_BEFORE of which can be read. */
static inline uint64_t next_word(const bits *b)
{
    return mp__load_le64(b->bytes + (b->left >> 3) - 7);
}

/* Shifted by so much less a count of bits, the lowest of that word are these bits. More than six
 * bits of it do not count. */
static inline uint64_t shift_of(const bits *b)
{
    return (uint64_t)(b->left | -8);
}

/* The next @count bits as the lowest; above them there is something. */
static inline uint64_t next_bits(const bits *b, unsigned count)
{
    return next_word(b) >> ((shift_of(b) - count) & 63);
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

        if (b.left <= 0)
            return false;
        v = next_word(&b) << (8 - (b.left & 7));
        for (unsigned n = 0; n < BATCH && out < last; n++) {
            pair p = u->literals[v >> (64 - MP__L2_HUFFMAN_BITS)];

            uint16_t both = htole16((uint16_t)(p >> 16));

            memcpy(out, &both, 2);
            v <<= p & 63;
            taken += p; /* above eight bits it does not count */
            out += p >> 8 & 255;
        }
        b.left -= taken & 255;
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
#ifdef MP__L2_WIDE
    _mm_storeu_si128((__m128i *)(void *)at, _mm_loadu_si128((const __m128i *)(const void *)from));
#else
    memmove(at, from, RUN);
#endif
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

typedef struct states {
    const state *offset, *match, *length;
} states;

static states first_states(const mp__l2_unpacker *u, bits *b)
{
    unsigned all = u->length_log + u->offset_log + u->match_log;
    uint64_t v = next_bits(b, all);
    states s;

    s.match = u->states + MATCHES + lowest(v, u->match_log);
    v >>= u->match_log;
    s.offset = u->states + OFFSETS + lowest(v, u->offset_log);
    s.length = u->states + lowest(v >> u->offset_log, u->length_log);
    b->left -= all;
    return s;
}

/* The @count bits behind @extra others, of which all together are more than AT_ONCE. */
static __attribute__((noinline)) uint64_t take_behind(bits b, unsigned extra, unsigned count)
{
    b.left -= extra;
    return b.left < 0 ? 0 : next_bits(&b, count);
}

/* How far it is; all of it in locals, for what is written into the body could be anything that has
 * an address. */
typedef struct progress {
    states states; /* of the next match */
    recent last;
    bits bits;
    uint64_t word; /* the next of them */
    const unsigned char *literal;
    unsigned char *at;
} progress;

/* Behind the numbers of a match. The lowest byte of @sizes says how many bits they were, the next
 * one how many follow for the states, and the word shifted by @shift begins with the former. False:
 * there are not so many. */
static inline __attribute__((always_inline)) bool next_states(const mp__l2_unpacker *u, progress *g,
                                                              unsigned sizes, uint64_t shift)
{
    const state *o = g->states.offset, *m = g->states.match, *n = g->states.length;
    unsigned both = (sizes & 255) + (sizes >> 8);
    unsigned offset_bits = o->bits >> 8, match_bits = m->bits >> 8;
    uint64_t v = g->word >> ((shift - (sizes >> 8)) & 63);

    if (__builtin_expect(both > AT_ONCE, 0))
        v = take_behind(g->bits, sizes & 255, sizes >> 8);
    g->bits.left -= both;
    if (g->bits.left < 0)
        return false;
    g->states.offset = u->states + o->next + lowest(v, offset_bits);
    v >>= offset_bits;
    g->states.match = u->states + m->next + lowest(v, match_bits);
    g->states.length = u->states + n->next + lowest(v >> match_bits, n->bits >> 8);
    g->word = next_word(&g->bits);
    return true;
}

/* The next match, and the literals before it. False: that is not what the bits are. */
static inline __attribute__((always_inline)) bool
read_match(const mp__l2_unpacker *u, progress *g, const literals *l, const output *to, bool is_last)
{
    const state *o = g->states.offset, *m = g->states.match, *n = g->states.length;
    unsigned offset_bits = o->bits, match_bits = m->bits, length_bits = n->bits;
    unsigned sizes = offset_bits + match_bits + length_bits;
    uint64_t shift = shift_of(&g->bits) - sizes, v = g->word >> (shift & 63);
    size_t run = n->number + lowest(v, length_bits), size;
    unsigned char *at = g->at + run;
    uint32_t offset;

    v >>= length_bits & 63;
    size = m->number + lowest(v, match_bits);
    offset = o->number + (uint32_t)lowest(v >> (match_bits & 63), offset_bits);
    offset = offset_of(offset, run == 0, &g->last);
    /* as numbers: where there is too much, both are behind what they are of */
    if ((uintptr_t)at + size > (uintptr_t)to->end ||
        (uintptr_t)g->literal + run > (uintptr_t)l->end)
        return false;
    copy_literals(g->at, g->literal, run);
    g->literal += run;
    if (is_last)
        g->bits.left -= sizes & 255;
    else if (!next_states(u, g, sizes, shift)) /* before the copy, to be on its way meanwhile */
        return false;
    g->at = at + size;
    return copy_match(to, at, offset, size);
}

/* Returns where the body ends so far, NULL: that is not what the bits are. */
static unsigned char *read_matches(const mp__l2_unpacker *u, bits b, size_t count, literals *l,
                                   const output to)
{
    progress g = {.last = recent_begin(u->repeats), .literal = l->at, .at = to.begin};

    g.states = first_states(u, &b);
    g.bits = b;
    if (b.left < 0)
        return NULL;
    g.word = next_word(&b);
    while (--count)
        if (!read_match(u, &g, l, &to, false))
            return NULL;
    if (!read_match(u, &g, l, &to, true))
        return NULL;
    l->at = g.literal;
    return g.bits.left == 0 ? g.at : NULL;
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
