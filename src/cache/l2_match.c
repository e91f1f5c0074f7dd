/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l2_match.h"

#include <stdbool.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/hash.h"

enum {
    LONG = 16,
    SHORT = 7,
    STEP = 3, /* places looked at behind the beginning of a short match */
    STEPS = 3,
    OWN_LOG_LEAST = 7, /* places of the body's own table */
    OWN_LOG_MAX = 12,
    VECTOR = 32,
    WORD = 8,
};

/* ---- places ---- */

static uint32_t hash_long(const unsigned char *p)
{
    uint64_t a = mp__load_le64(p), b = mp__load_le64(p + LONG - WORD);

    return (uint32_t)((a * 0x9e3779b185ebca87 + b * 0xc2b2ae3d27d4eb4f) >> (64 - MP__L2_MATCH_LOG));
}

/* Of the first SHORT bytes of @word. */
static uint32_t hash_short(uint64_t word)
{
    return (uint32_t)(((word << (64 - 8 * SHORT)) * 0x9e3779b185ebca87) >> (64 - MP__L2_MATCH_LOG));
}

void mp__l2_places_make(mp__l2_places *places, const unsigned char *dictionary, size_t content,
                        size_t size)
{
    places->dictionary = dictionary;
    places->content = content;
    places->size = size;
    for (size_t i = 0; i < (size_t)1 << MP__L2_MATCH_LOG; i++)
        places->longs[i] = places->shorts[i] = (uint16_t)content; /* compared before it is used */
    for (size_t i = content; i + LONG <= size; i++) {
        places->longs[hash_long(dictionary + i)] = (uint16_t)i;
        places->shorts[hash_short(mp__load_le64(dictionary + i))] = (uint16_t)i;
    }
}

/* ---- comparing ---- */

/* How many of the first VECTOR bytes are equal. */
static inline unsigned equal_vector(const unsigned char *a, const unsigned char *b)
{
#ifdef __SSE2__
    __m128i x = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)a),
                               _mm_loadu_si128((const __m128i *)(const void *)b));
    __m128i y = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(a + 16)),
                               _mm_loadu_si128((const __m128i *)(const void *)(b + 16)));
    uint64_t same = (uint32_t)_mm_movemask_epi8(x) | (uint64_t)(uint32_t)_mm_movemask_epi8(y) << 16;

    return (unsigned)__builtin_ctzll(~same);
#else
    unsigned n = 0;

    for (; n < VECTOR; n += WORD) {
        uint64_t differs = mp__load_le64(a + n) ^ mp__load_le64(b + n);

        if (differs)
            return n + (unsigned)__builtin_ctzll(differs) / 8;
    }
    return n;
#endif
}

/* How many of the first @most bytes are equal. */
static inline size_t equal_bytes(const unsigned char *a, const unsigned char *b, size_t most)
{
    size_t n = 0;

    for (; n + VECTOR <= most; n += VECTOR) {
        unsigned same = equal_vector(a + n, b + n);

        if (same < VECTOR)
            return n + same;
    }
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

/* How many of the 7 bytes before are equal, at most @most. */
static inline size_t equal_before(const unsigned char *a, const unsigned char *b, size_t most)
{
    uint64_t differs = mp__load_le64(a - WORD) ^ mp__load_le64(b - WORD);
    size_t n = (size_t)__builtin_clzll(differs | 1) / 8;

    return n < most ? n : most;
}

/* ---- matches ---- */

/* Of the body from @at on, in the dictionary or in the body itself. */
typedef struct found {
    const unsigned char *at, *in, *floor; /* @floor: `in` can begin there */
    const unsigned char *end;             /* of the dictionary; NULL: it is in the body */
    size_t length;
} found;

typedef struct search {
    const mp__l2_places *places;
    const unsigned char *body, *end, *last; /* the last place where one is looked for, */
    const unsigned char *last_long;         /* and a long one */
    const unsigned char *dictionary, *content, *dictionary_end;
    unsigned own_shift;
    mp__l2_match *next;
    unsigned char *literals;
    uint16_t own[1 << OWN_LOG_MAX];
} search;

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline const unsigned char *long_at(const search *s, const unsigned char *p)
{
    return s->dictionary + s->places->longs[hash_long(p)];
}

static inline bool is_long(const unsigned char *a, const unsigned char *b)
{
    return ((mp__load_le64(a) ^ mp__load_le64(b)) |
            (mp__load_le64(a + LONG - WORD) ^ mp__load_le64(b + LONG - WORD))) == 0;
}

/* Whether there is one at @p. Where it is is chosen without a jump: nobody can guess it. */
static inline bool find_at(search *s, const unsigned char *p, found *ret_found)
{
    const unsigned char *in_long = p <= s->last_long ? long_at(s, p) : s->content;
    uint64_t word = mp__load_le64(p);
    uint32_t hash = hash_short(word);
    const unsigned char *in_short = s->dictionary + s->places->shorts[hash];
    uint16_t *own = &s->own[hash >> s->own_shift];
    const unsigned char *in_own = s->body + *own, *in, *end;
    bool not_long = mp__load_le64(in_long) != word;
    bool not_short = (mp__load_le64(in_short) ^ word) << (64 - 8 * SHORT) != 0;
    bool not_own = ((mp__load_le64(in_own) ^ word) << (64 - 8 * SHORT) | (in_own == p)) != 0;

    *own = (uint16_t)(p - s->body);
    if (not_long & not_short & not_own)
        return false;
    in = not_short ? in_own : in_short;
    in = not_long ? in : in_long;
    end = (not_long & not_short) ? NULL : s->dictionary_end;
    *ret_found = (found){.at = p, .in = in, .floor = end ? s->content : s->body, .end = end};
    return true;
}

static inline size_t most_of(const search *s, const found *f)
{
    size_t most = (size_t)(s->end - f->at);

    return f->end ? smaller(most, (size_t)(f->end - f->in)) : most;
}

/* A long one that begins a little behind a short one is worth more. */
static inline void find_behind(const search *s, found *f)
{
    const unsigned char *a, *b, *c;
    bool is_a, is_b, is_c;
    found other = *f;

    if (f->at + STEP * STEPS > s->last_long)
        return;
    a = long_at(s, f->at + STEP);
    b = long_at(s, f->at + 2 * STEP);
    c = long_at(s, f->at + 3 * STEP);
    is_a = is_long(a, f->at + STEP);
    is_b = is_long(b, f->at + 2 * STEP);
    is_c = is_long(c, f->at + 3 * STEP);
    if (!(is_a | is_b | is_c))
        return;
    other.at += is_a ? STEP : is_b ? 2 * STEP : 3 * STEP;
    other.in = is_a ? a : is_b ? b : c;
    other.end = s->dictionary_end;
    other.floor = s->content;
    other.length = equal_bytes(other.at, other.in, most_of(s, &other));
    if (other.length > f->length)
        *f = other;
}

/* It may have begun before, where nothing was found. */
static inline void find_before(const search *s, const unsigned char *anchor, found *f)
{
    size_t most = smaller((size_t)(f->at - anchor), (size_t)(f->in - f->floor));
    size_t n;

    if (f->at - s->body < WORD || (!f->end && f->in - s->body < WORD))
        return;
    n = equal_before(f->at, f->in, most);
    f->at -= n;
    f->in -= n;
    f->length += n;
}

static inline void put_literals(search *s, const unsigned char *from, size_t count)
{
    if (count <= 16 && s->end - from >= 16)
        memcpy(s->literals, from, 16);
    else
        memcpy(s->literals, from, count);
    s->literals += count;
}

static inline void put(search *s, const unsigned char *anchor, const found *f)
{
    size_t before =
        f->end ? (size_t)(f->at - s->body) + (size_t)(f->end - f->in) : (size_t)(f->at - f->in);

    *s->next++ = (mp__l2_match){.offset = (uint32_t)before,
                                .literals = (uint16_t)(f->at - anchor),
                                .length = (uint16_t)f->length};
    put_literals(s, anchor, (size_t)(f->at - anchor));
}

/* Whether the one that ends at @f goes on behind one or two bytes that differ. */
static inline bool goes_on(const search *s, found *f)
{
    uint64_t differs;
    unsigned skip;

    if (f->end && f->end - f->in < LONG)
        return false;
    differs = mp__load_le64(f->at) ^ mp__load_le64(f->in);
    skip = (uint32_t)(differs >> 16) == 0 ? 2 : 0;
    skip = (uint32_t)(differs >> 8) == 0 ? 1 : skip;
    if (!skip)
        return false;
    f->at += skip;
    f->in += skip;
    f->length = equal_bytes(f->at, f->in, most_of(s, f));
    return true;
}

/* Put @f and what it goes on with. Returns where the last one ends. */
static inline const unsigned char *put_with_rest(search *s, const unsigned char *anchor, found *f)
{
    do {
        put(s, anchor, f);
        f->at += f->length;
        f->in += f->length;
        anchor = f->at;
        if (anchor > s->last)
            return anchor;
    } while (goes_on(s, f));
    s->own[hash_short(mp__load_le64(anchor - 2)) >> s->own_shift] =
        (uint16_t)(anchor - 2 - s->body);
    return anchor;
}

static unsigned own_log(size_t size)
{
    unsigned log = OWN_LOG_LEAST;

    while (log < OWN_LOG_MAX && size >> (log + 2))
        log++;
    return log;
}

size_t mp__l2_match_all(const mp__l2_places *places, const unsigned char *body, size_t size,
                        mp__l2_match *matches, unsigned char *literals, size_t *ret_literals)
{
    __attribute__((uninitialized)) search s;
    const unsigned char *p = body, *anchor = body, *end = body + size;
    unsigned log = own_log(size);
    found f;

    s.places = places;
    s.body = body;
    s.end = end;
    s.last = end - WORD;
    s.last_long = end - LONG;
    s.dictionary = places->dictionary;
    s.content = places->dictionary + places->content;
    s.dictionary_end = places->dictionary + places->size;
    s.own_shift = MP__L2_MATCH_LOG - log;
    s.next = matches;
    s.literals = literals;
    memset(s.own, 0, sizeof(s.own[0]) << log);
    while (p <= s.last) {
        if (!find_at(&s, p, &f)) {
            p++;
            continue;
        }
        f.length = equal_bytes(f.at, f.in, most_of(&s, &f));
        if (f.length < LONG)
            find_behind(&s, &f);
        find_before(&s, anchor, &f);
        p = anchor = put_with_rest(&s, anchor, &f);
    }
    put_literals(&s, anchor, (size_t)(end - anchor));
    *ret_literals = (size_t)(s.literals - literals);
    return (size_t)(s.next - matches);
}
