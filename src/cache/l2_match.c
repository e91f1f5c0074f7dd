/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l2_match.h"

#include <stdbool.h>
#include <string.h>
#if defined __AVX2__ && defined __BMI__
#include <immintrin.h>
#elif defined __SSE2__
#include <emmintrin.h>
#endif

#include "cache/l2_wide.h"
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

#define FACTOR       0x9e3779b185ebca87
#define OTHER_FACTOR 0xc2b2ae3d27d4eb4f

/* ---- places ---- */

/* Of eight bytes. Its highest bits are a place; without those of the last bytes, which are the
 * highest that there are, one of the bytes before. */
static inline uint64_t mix(uint64_t word)
{
    return word * FACTOR;
}

/* Of LONG bytes at @p, the first of which make @mixed. */
static inline size_t hash_long(const unsigned char *p, uint64_t mixed)
{
    return (size_t)((mixed + mp__load_le64(p + LONG - WORD) * OTHER_FACTOR) >>
                    (64 - MP__L2_MATCH_LOG));
}

/* Of the first SHORT of the bytes that make @mixed. */
static inline size_t hash_short(uint64_t mixed)
{
    return (size_t)(mixed << (64 - 8 * SHORT) >> (64 - MP__L2_MATCH_LOG));
}

#ifndef MP__L2_WIDE
void mp__l2_places_make(mp__l2_places *places, const unsigned char *dictionary, size_t content,
                        size_t size)
{
    places->dictionary = dictionary;
    places->content = content;
    places->size = size;
    for (size_t i = 0; i < (size_t)1 << MP__L2_MATCH_LOG; i++)
        places->longs[i] = places->shorts[i] = (uint16_t)content; /* compared before it is used */
    for (size_t i = content; i + LONG <= size; i++) {
        uint64_t mixed = mix(mp__load_le64(dictionary + i));

        places->longs[hash_long(dictionary + i, mixed)] = (uint16_t)i;
        places->shorts[hash_short(mixed)] = (uint16_t)i;
    }
}
#endif

/* ---- comparing ---- */

/* How many of the first VECTOR bytes are equal. */
static inline unsigned equal_vector(const unsigned char *a, const unsigned char *b)
{
#if defined __AVX2__ && defined __BMI__
    __m256i x = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)a),
                                  _mm256_loadu_si256((const __m256i *)(const void *)b));

    return _tzcnt_u32(~(uint32_t)_mm256_movemask_epi8(x)); /* 32 for none */
#elif defined __SSE2__
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

/* ---- matches ---- */

/* Of the body from @at on. */
typedef struct found {
    const unsigned char *at, *in;
    size_t length;
} found;

/* Where it is found; a constant wherever it is asked for. */
enum place { NOWHERE, IN_DICTIONARY, IN_BODY };

typedef struct search {
    const mp__l2_places *places;
    const unsigned char *body, *end, *last; /* the last place where one is looked for, */
    const unsigned char *last_long;         /* and a long one */
    const unsigned char *dictionary, *content, *dictionary_end;
    unsigned own_shift;
    mp__l2_match *next;
    unsigned char *literals;
    uint16_t *own;
} search;

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline const unsigned char *long_at(const search *s, const unsigned char *p)
{
    return s->dictionary + s->places->longs[hash_long(p, mix(mp__load_le64(p)))];
}

static inline bool is_long(const unsigned char *a, const unsigned char *b)
{
    return ((mp__load_le64(a) ^ mp__load_le64(b)) |
            (mp__load_le64(a + LONG - WORD) ^ mp__load_le64(b + LONG - WORD))) == 0;
}

static inline bool is_short(const unsigned char *p, uint64_t word)
{
    return (mp__load_le64(p) ^ word) << (64 - 8 * SHORT) == 0;
}

/* Whether there is one at @i, and where. With jumps: what waits for none of the three to be read
 * and compared is worth more, with what it need not do, than what is guessed wrongly. */
static inline enum place find_at(const search *s, size_t i, bool may_be_long, found *ret_found)
{
    const unsigned char *p = s->body + i;
    uint64_t word = mp__load_le64(p), mixed = mix(word);
    size_t hash = hash_short(mixed), at;
    uint16_t *own = &s->own[hash >> s->own_shift];
    size_t at_own = *own, at_short = s->places->shorts[hash];

    *own = (uint16_t)i;
    ret_found->at = p;
    if (may_be_long) {
        at = s->places->longs[hash_long(p, mixed)];
        if (mp__load_le64(s->dictionary + at) == word) {
            ret_found->in = s->dictionary + at;
            return IN_DICTIONARY;
        }
    }
    if (is_short(s->dictionary + at_short, word)) {
        ret_found->in = s->dictionary + at_short;
        return IN_DICTIONARY;
    }
    if (is_short(s->body + at_own, word) && at_own != i) {
        ret_found->in = s->body + at_own;
        return IN_BODY;
    }
    return NOWHERE;
}

/* The first one from @i on; the last places cannot have a long one. */
static inline enum place find(const search *s, size_t i, found *ret_found)
{
    size_t size = (size_t)(s->end - s->body);
    enum place place = NOWHERE;

    for (; i + LONG <= size && !place; i++)
        place = find_at(s, i, true, ret_found);
    for (; i + WORD <= size && !place; i++)
        place = find_at(s, i, false, ret_found);
    return place;
}

static inline size_t most_of(const search *s, const found *f, enum place place)
{
    size_t most = (size_t)(s->end - f->at);

    return place == IN_BODY ? most : smaller(most, (size_t)(s->dictionary_end - f->in));
}

/* A long one that begins a little behind a short one is worth more. False: there is none. */
static inline bool find_behind(const search *s, found *f)
{
    const unsigned char *at = f->at, *in;
    size_t length;

    if (at + STEP * STEPS > s->last_long)
        return false;
    for (unsigned i = 0; i < STEPS; i++) {
        at += STEP;
        in = long_at(s, at);
        if (is_long(in, at)) {
            length = equal_bytes(at, in, most_of(s, &(found){.at = at, .in = in}, IN_DICTIONARY));
            if (length <= f->length)
                return false;
            *f = (found){.at = at, .in = in, .length = length};
            return true;
        }
    }
    return false;
}

/* It may have begun before, where nothing was found. */
static inline void find_before(const search *s, const unsigned char *anchor, found *f,
                               enum place place)
{
    const unsigned char *floor = place == IN_BODY ? s->body : s->content;
    size_t most = smaller((size_t)(f->at - anchor), (size_t)(f->in - floor));

    for (; most && f->at[-1] == f->in[-1]; most--) {
        f->at--;
        f->in--;
        f->length++;
    }
}

static inline void put_literals(search *s, const unsigned char *from, size_t count)
{
    if (count <= 16 && s->end - from >= 16)
        memcpy(s->literals, from, 16);
    else
        memcpy(s->literals, from, count);
    s->literals += count;
}

static inline void put(search *s, const unsigned char *anchor, const found *f, enum place place)
{
    size_t offset =
        (size_t)(f->at - f->in) - (place == IN_BODY ? 0 : (size_t)(s->body - s->dictionary_end));

    *s->next++ = (mp__l2_match){.offset = (uint32_t)offset,
                                .literals = (uint16_t)(f->at - anchor),
                                .length = (uint16_t)f->length};
    put_literals(s, anchor, (size_t)(f->at - anchor));
}

static inline void go_on(const search *s, found *f, size_t skip, enum place place)
{
    f->at += skip;
    f->in += skip;
    f->length = equal_bytes(f->at, f->in, most_of(s, f, place));
}

/* Whether the one that ends at @f goes on behind one or two bytes that differ. */
static inline bool goes_on(const search *s, found *f, enum place place)
{
    uint64_t differs;

    if (place != IN_BODY && s->dictionary_end - f->in < LONG)
        return false;
    differs = mp__load_le64(f->at) ^ mp__load_le64(f->in);
    if ((uint32_t)(differs >> 8) == 0)
        go_on(s, f, 1, place);
    else if ((uint32_t)(differs >> 16) == 0)
        go_on(s, f, 2, place);
    else
        return false;
    return true;
}

/* Put @f and what it goes on with. Returns where the last one ends. Twice in line, for each @place.
 */
static inline __attribute__((always_inline)) const unsigned char *
put_with_rest(search *s, const unsigned char *anchor, found *f, enum place place)
{
    find_before(s, anchor, f, place);
    do {
        put(s, anchor, f, place);
        f->at += f->length;
        f->in += f->length;
        anchor = f->at;
        if (anchor > s->last)
            return anchor;
    } while (goes_on(s, f, place));
    s->own[hash_short(mix(mp__load_le64(anchor - 2))) >> s->own_shift] =
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

static inline void clear(uint16_t *own, size_t count)
{
#if defined __AVX2__ && defined __BMI__
    const __m256i zero = _mm256_setzero_si256();

    for (__m256i *p = (__m256i *)(void *)own, *end = (__m256i *)(void *)(own + count); p < end;
         p += 4) { /* in a loop of one at a time gcc sees an instruction that takes twice as long */
        _mm256_store_si256(p, zero);
        _mm256_store_si256(p + 1, zero);
        _mm256_store_si256(p + 2, zero);
        _mm256_store_si256(p + 3, zero);
    }
#else
    memset(own, 0, sizeof(own[0]) * count);
#endif
}

size_t MP__L2_BUILT(mp__l2_match_all)(const mp__l2_places *places, const unsigned char *body,
                                      size_t size, mp__l2_match *matches, unsigned char *literals,
                                      size_t *ret_literals)
{
    __attribute__((uninitialized)) _Alignas(VECTOR) uint16_t own[1 << OWN_LOG_MAX];
    const unsigned char *anchor = body, *end = body + size;
    unsigned log = own_log(size);
    search s = {.places = places,
                .body = body,
                .end = end,
                .last = end - WORD,
                .last_long = end - LONG,
                .dictionary = places->dictionary,
                .content = places->dictionary + places->content,
                .dictionary_end = places->dictionary + places->size,
                .own_shift = MP__L2_MATCH_LOG - log,
                .next = matches,
                .literals = literals,
                .own = own};
    __attribute__((uninitialized)) found f;

    clear(own, (size_t)1 << log);
    for (enum place place; (place = find(&s, (size_t)(anchor - body), &f)) != NOWHERE;) {
        f.length = equal_bytes(f.at, f.in, most_of(&s, &f, place));
        if (f.length < LONG && find_behind(&s, &f))
            place = IN_DICTIONARY;
        anchor = place == IN_BODY ? put_with_rest(&s, anchor, &f, IN_BODY)
                                  : put_with_rest(&s, anchor, &f, IN_DICTIONARY);
    }
    put_literals(&s, anchor, (size_t)(end - anchor));
    *ret_literals = (size_t)(s.literals - literals);
    return (size_t)(s.next - matches);
}
