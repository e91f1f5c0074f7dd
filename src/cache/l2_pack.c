/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l2_pack.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "cache/l2_match.h"
#include "cache/l2_tables.h"
#include "cache/l2_wide.h"
#include "core/alloc.h"
#include "core/hash.h"

enum {
    SLACK = 16,        /* bytes that may be written behind what was: whole words are */
    ONE_STREAM = 1023, /* literals, at most; more of them are four streams */
    STREAMS = 4,
    CODED_LEAST = 6,   /* literals; fewer stay as they are */
    TREELESS = 3,      /* literals by the dictionary's code */
    ALL_REPEAT = 0xfc, /* the three tables, too */
    LENGTH_CODES = 64, /* lengths of which the code stands in a table */
    MATCH_CODES = 128,
};

/* From the state behind a code to the one that stands for it: of the former the lowest
 * (it + bits) >> 16 bits are written; the rest says which of the code's states. */
typedef struct fse_code {
    uint32_t bits;
    int16_t first; /* in `states`, less its count of states */
    uint16_t more; /* bits of the number that it is the beginning of */
} fse_code;

typedef struct fse {
    unsigned log;
    fse_code codes[MP__L2_MATCH_CODES];
    uint16_t states[1 << MP__L2_FSE_LOG]; /* by code, then by number; with 2^log added */
} fse;

struct mp__l2_packer {
    fse offsets, matches, lengths;
    uint16_t literals[256]; /* four bits say how long a code is, those above are it */
    uint32_t repeats[3];
    bool is_wide; /* mp__l2_wide_is_here() */
    mp__l2_places places;
};

/* ---- codes of lengths (RFC 8878, 3.1.1.3.2.1.1) ---- */

static const uint8_t length_codes[LENGTH_CODES] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 16, 17, 17, 18, 18,
    19, 19, 20, 20, 20, 20, 21, 21, 21, 21, 22, 22, 22, 22, 22, 22, 22, 22, 23, 23, 23, 23,
    23, 23, 23, 23, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24};
static const uint8_t match_codes[MATCH_CODES] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 32, 33, 33, 34, 34, 35, 35, 36, 36, 36, 36,
    37, 37, 37, 37, 38, 38, 38, 38, 38, 38, 38, 38, 39, 39, 39, 39, 39, 39, 39, 39, 40, 40,
    40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 41, 41, 41, 41, 41, 41, 41, 41,
    41, 41, 41, 41, 41, 41, 41, 41, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42,
    42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42, 42};
/* ---- bits, the least first; they are read from their end ---- */

typedef struct writer {
    unsigned char *at;
    uint64_t held;
    unsigned count; /* of `held`; below 8 after a flush */
} writer;

static inline void add(writer *w, uint64_t value, unsigned count)
{
    w->held |= value << w->count;
    w->count += count;
}

static inline void add_lowest(writer *w, uint64_t value, unsigned count)
{
    add(w, value & ((UINT64_C(1) << count) - 1), count);
}

static inline void flush(writer *w)
{
    mp__store_le64(w->at, w->held);
    w->at += w->count / 8;
    w->held >>= w->count & ~7u;
    w->count &= 7;
}

/* The highest bit says where they end. Returns what is behind them. */
static unsigned char *finish(writer *w)
{
    add(w, 1, 1);
    flush(w);
    return w->at + (w->count ? 1 : 0);
}

/* ---- literals ---- */

static void put_little(unsigned char *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

static inline void add_literal(writer *w, unsigned code)
{
    add(w, code >> 4, code & 15);
}

/* Coded, the last one first. NULL: they need more than @limit. */
static unsigned char *put_stream(const mp__l2_packer *packer, const unsigned char *literals,
                                 size_t count, unsigned char *out, unsigned char *limit)
{
    writer w = {.at = out};
    size_t i = count;

    for (; i % 4; i--)
        add_literal(&w, packer->literals[literals[i - 1]]);
    for (; i && w.at < limit; i -= 4) {
        flush(&w);
        for (size_t n = 1; n <= 4; n++)
            add_literal(&w, packer->literals[literals[i - n]]);
    }
    if (i)
        return NULL;
    flush(&w);
    return w.at < limit ? finish(&w) : NULL;
}

/* In four parts, of which the first three say how long they are. */
static unsigned char *put_streams(const mp__l2_packer *packer, const unsigned char *literals,
                                  size_t count, unsigned char *out, unsigned char *limit)
{
    size_t part = (count + STREAMS - 1) / STREAMS;
    unsigned char *end = out + 2 * (size_t)(STREAMS - 1);

    for (size_t i = 0; i < STREAMS && end; i++) {
        unsigned char *begin = end;

        end = begin < limit ? put_stream(packer, literals + i * part,
                                         i + 1 < STREAMS ? part : count - i * part, begin, limit)
                            : NULL;
        if (end && i + 1 < STREAMS)
            put_little(out + 2 * i, (uint64_t)(end - begin), 2);
    }
    return end;
}

/* As they are. */
static unsigned char *put_raw(const unsigned char *literals, size_t count, unsigned char *out)
{
    unsigned head = count < 32 ? 1 : count < 4096 ? 2 : 3;
    unsigned format = head == 1 ? 0 : head == 2 ? 1 : 3;

    put_little(out, (uint64_t)format << 2 | (uint64_t)count << (head == 1 ? 3 : 4), head);
    memcpy(out + head, literals, count);
    return out + head + count;
}

/* The section of literals. NULL: there is no room. */
static unsigned char *put_literals(const mp__l2_packer *packer, const unsigned char *literals,
                                   size_t count, unsigned char *out, unsigned char *limit)
{
    unsigned format = count <= ONE_STREAM ? 0 : count < 1 << 14 ? 2 : 3;
    unsigned head = format == 0 ? 3 : format + 2, width = format == 0 ? 10 : format == 2 ? 14 : 18;
    unsigned char *end = NULL, *most = out + head + count;

    if ((size_t)(limit - out) <= count) /* so that both have room */
        return NULL;
    most = most < limit ? most : limit;
    if (count >= CODED_LEAST)
        end = format == 0 ? put_stream(packer, literals, count, out + head, most)
                          : put_streams(packer, literals, count, out + head, most);
    if (!end)
        return put_raw(literals, count, out);
    put_little(out,
               TREELESS | (uint64_t)format << 2 | (uint64_t)count << 4 |
                   (uint64_t)(end - out - head) << (4 + width),
               head);
    return end;
}

/* ---- sequences ---- */

/* Which of the last three offsets it is, 1 to 3, or none, with 3 added; they are as after it then
 * (3.1.1.5). */
static uint32_t number_of(uint32_t offset, bool no_literals, uint32_t last[3])
{
    uint32_t first = last[0], second = last[1], third = last[2];

    if (offset == first && !no_literals)
        return 1;
    last[0] = offset;
    last[1] = first;
    if (offset == second)
        return no_literals ? 1 : 2;
    last[2] = second;
    if (offset == third)
        return no_literals ? 2 : 3;
    return offset + 3;
}

static void number_all(const mp__l2_packer *packer, mp__l2_match *matches, size_t count)
{
    uint32_t last[3] = {packer->repeats[0], packer->repeats[1], packer->repeats[2]};

    for (size_t i = 0; i < count; i++)
        matches[i].offset = number_of(matches[i].offset, matches[i].literals == 0, last);
}

static inline const fse_code *length_symbol(const mp__l2_packer *packer, uint32_t length)
{
    return &packer->lengths
                .codes[length < LENGTH_CODES ? length_codes[length] : mp__l2_log(length) + 19];
}

/* Of a match's length less 3. */
static inline const fse_code *match_symbol(const mp__l2_packer *packer, uint32_t length)
{
    return &packer->matches
                .codes[length < MATCH_CODES ? match_codes[length] : mp__l2_log(length) + 36];
}

/* The state before @state, which stands for @code. */
static inline unsigned step(const fse *of, unsigned state, const fse_code *code, writer *w)
{
    unsigned count = (state + code->bits) >> 16;

    add_lowest(w, state, count);
    return of->states[(int)(state >> count) + code->first];
}

/* One that stands for @code. */
static unsigned any_state(const fse *of, const fse_code *code)
{
    writer none = {0};

    return step(of, 1u << of->log, code, &none);
}

typedef struct states {
    unsigned offset, match, length;
} states;

static states states_of_last(const mp__l2_packer *packer, const mp__l2_match *m)
{
    return (states){.offset =
                        any_state(&packer->offsets, &packer->offsets.codes[mp__l2_log(m->offset)]),
                    .match = any_state(&packer->matches, match_symbol(packer, m->length - 3u)),
                    .length = any_state(&packer->lengths, length_symbol(packer, m->literals))};
}

static unsigned char *put_count(size_t count, unsigned char *out)
{
    if (count < 128) {
        *out = (unsigned char)count;
        return out + 1;
    }
    out[0] = (unsigned char)((count >> 8) + 128);
    out[1] = (unsigned char)count;
    return out + 2;
}

/* The section of sequences. NULL: there is no room. Codes are chosen from the last match to the
 * first, for the reader goes the other way; those of the last one freely. */
static unsigned char *put_matches(const mp__l2_packer *packer, const mp__l2_match *matches,
                                  size_t count, unsigned char *out, unsigned char *limit)
{
    writer w = {0};
    states s;

    if (limit - out < SLACK)
        return NULL;
    w.at = put_count(count, out);
    if (count == 0)
        return w.at;
    *w.at++ = ALL_REPEAT;
    s = states_of_last(packer, &matches[count - 1]);
    for (const mp__l2_match *m = &matches[count - 1];; m--) {
        const fse_code *length = length_symbol(packer, m->literals);
        const fse_code *match = match_symbol(packer, m->length - 3u);
        unsigned offset = mp__l2_log(m->offset);

        if (m != &matches[count - 1]) {
            s.offset = step(&packer->offsets, s.offset, &packer->offsets.codes[offset], &w);
            s.match = step(&packer->matches, s.match, match, &w);
            s.length = step(&packer->lengths, s.length, length, &w);
            flush(&w);
        }
        add_lowest(&w, m->literals, length->more);
        add_lowest(&w, m->length - 3u, match->more);
        add_lowest(&w, m->offset, offset);
        flush(&w);
        if (m == matches || w.at >= limit)
            break;
    }
    if (w.at >= limit)
        return NULL;
    add_lowest(&w, s.match, packer->matches.log);
    add_lowest(&w, s.offset, packer->offsets.log);
    add_lowest(&w, s.length, packer->lengths.log);
    return finish(&w);
}

/* ---- making one ---- */

#ifndef MP__L2_WIDE

static void fse_make(const mp__l2_shares *shares, fse *ret_fse)
{
    uint8_t codes[1 << MP__L2_FSE_LOG] = {0};
    unsigned next[MP__L2_MATCH_CODES] = {0}, size = 1u << shares->log, begin = 0;

    mp__l2_spread(shares, codes);
    *ret_fse = (fse){.log = shares->log};
    for (unsigned i = 0; i < shares->count; i++) {
        unsigned n = mp__l2_states_of(shares->of[i]);
        unsigned most = n > 1 ? shares->log - mp__l2_log(n - 1) : shares->log;

        next[i] = begin;
        ret_fse->codes[i] =
            (fse_code){.bits = (most << 16) - (n << most), .first = (int16_t)((int)begin - (int)n)};
        begin += n;
    }
    for (unsigned u = 0; u < size; u++)
        ret_fse->states[next[codes[u]]++] = (uint16_t)(u + size);
}

/* The longest codes come first, in the order of what they are of (RFC 8878, 4.2.1.3). */
static void literals_make(const mp__l2_tables *t, uint16_t literals[256])
{
    unsigned code = 0;

    for (unsigned w = 1; w <= t->longest; w++, code >>= 1)
        for (unsigned i = 0; i < 256; i++)
            if (t->weights[i] == w)
                literals[i] = (uint16_t)(code++ << 4 | (t->longest + 1 - w));
}

mp__l2_packer *mp__l2_packer_new(const unsigned char *dictionary, size_t size)
{
    mp__l2_packer *packer;
    mp__l2_tables t;

    if (!mp__l2_tables_fit(dictionary, size, &t))
        return NULL;
    packer = mp__malloc(sizeof(*packer));
    if (!packer)
        return NULL;
    fse_make(&t.offsets, &packer->offsets);
    fse_make(&t.matches, &packer->matches);
    fse_make(&t.lengths, &packer->lengths);
    for (unsigned i = 0; i < MP__L2_LENGTH_CODES; i++)
        packer->lengths.codes[i].more = mp__l2_length_bits[i];
    for (unsigned i = 0; i < MP__L2_MATCH_CODES; i++)
        packer->matches.codes[i].more = mp__l2_match_bits[i];
    literals_make(&t, packer->literals);
    memcpy(packer->repeats, t.repeats, sizeof(packer->repeats));
    packer->is_wide = mp__l2_wide_is_here();
    mp__l2_places_make(&packer->places, dictionary, t.size, size);
    return packer;
}

mp__l2_packer *mp__l2_packer_free(mp__l2_packer *packer)
{
    return mp__free(packer);
}

void mp__l2_packer_be_plain(mp__l2_packer *packer)
{
    packer->is_wide = false;
}

size_t mp__l2_packer_bytes(const mp__l2_packer *packer)
{
    return packer ? sizeof(*packer) : 0;
}

void mp__l2_pack_room_done(mp__l2_pack_room *room)
{
    room->bytes = mp__free(room->bytes);
    room->size = 0;
}

#endif

/* ---- all of it ---- */

static bool make_room(mp__l2_pack_room *room, size_t need)
{
    if (room->size >= need)
        return true;
    mp__l2_pack_room_done(room);
    room->bytes = mp__malloc(need);
    room->size = room->bytes ? need : 0;
    return room->bytes != NULL;
}

size_t MP__L2_BUILT(mp__l2_packer_pack)(const mp__l2_packer *packer, mp__l2_pack_room *room,
                                        const unsigned char *body, size_t size,
                                        unsigned char *block, size_t capacity)
{
    size_t matches_size = size / MP__L2_MATCH_LEAST * sizeof(mp__l2_match), count, literal_count;
    unsigned char *limit, *end, *literals;
    mp__l2_match *matches;

    if (capacity < SLACK || size > MP__L2_MATCH_BODY || !make_room(room, matches_size + size + 16))
        return 0;
    limit = block + capacity - SLACK;
    matches = (mp__l2_match *)(void *)room->bytes;
    literals = room->bytes + matches_size;
    count = MP__L2_BUILT(mp__l2_match_all)(&packer->places, body, size, matches, literals,
                                           &literal_count);
    number_all(packer, matches, count);
    end = put_literals(packer, literals, literal_count, block, limit);
    if (end)
        end = put_matches(packer, matches, count, end, limit);
    return end ? (size_t)(end - block) : 0;
}

#ifndef MP__L2_WIDE
size_t mp__l2_packer_pack(const mp__l2_packer *packer, mp__l2_pack_room *room,
                          const unsigned char *body, size_t size, unsigned char *block,
                          size_t capacity)
{
#ifdef MP__WITH_L2_WIDE
    if (packer->is_wide)
        return mp__l2_packer_pack_wide(packer, room, body, size, block, capacity);
#endif
    return mp__l2_packer_pack_plain(packer, room, body, size, block, capacity);
}
#endif
