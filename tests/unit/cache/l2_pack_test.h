/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of L2's own blocks share: a dictionary, bodies, and what two readers make of a
 * block. */
#ifndef L2_PACK_TEST_H
#define L2_PACK_TEST_H

#define ZSTD_STATIC_LINKING_ONLY /* blocks without a frame */
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include "mp_test.h"

#include <stdlib.h>
#include <string.h>
#include <zdict.h>
#include <zstd.h>

#include "cache/l2_code.h"
#include "cache/l2_match.h"

enum { LINES = 400, LINE = 160, DICTIONARY = 16 * 1024, BODY = MP__L2_BODY_MAX };

static uint64_t seed = 1;

static inline size_t random_below(size_t n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (size_t)(seed >> 33) % n;
}

/* The dictionary, and right behind it the room for a body. */
static unsigned char dictionary[DICTIONARY + BODY + MP__L2_BODY_SLACK];
static unsigned char body[BODY], back[BODY + MP__L2_BODY_SLACK];
static unsigned char packed_with_room[MP__L2_BLOCK_BEFORE + ZSTD_COMPRESSBOUND(BODY)];
static unsigned char *const packed = packed_with_room + MP__L2_BLOCK_BEFORE;
enum { PACKED = ZSTD_COMPRESSBOUND(BODY) };
static size_t dictionary_size;
static mp__l2_pack_room room;
static ZSTD_DCtx *dctx;

/* A line of some configuration; returns its size. */
static inline size_t line_of(size_t i, char *text)
{
    static const char *const names[] = {"binance", "kraken", "coinbase", "okx"};

    return (size_t)snprintf(
        text, LINE,
        "{\"exchange\": \"%s\", \"stream\": \"wss://s%zu.example.com:9443/ws\", "
        "\"depth\": %zu, \"enabled\": %s}\n",
        names[i % 4], i * 37 % 91, i * i % 5000, i % 3 ? "true" : "false");
}

static inline int make_dictionary(void **state)
{
    static char text[LINES * LINE];
    size_t sizes[LINES], size = 0, content = 0;

    (void)state;
    for (size_t i = 0; i < LINES; i++) {
        sizes[i] = line_of(i, text + size);
        size += sizes[i];
        content += i < LINES / 4 ? sizes[i] : 0;
    }
    dictionary_size =
        ZDICT_finalizeDictionary(dictionary, DICTIONARY, text, content, text + content,
                                 sizes + LINES / 4, LINES - LINES / 4, (ZDICT_params_t){0});
    dctx = ZSTD_createDCtx();
    return ZDICT_isError(dictionary_size) || !dctx ? -1 : 0;
}

static inline int drop_dictionary(void **state)
{
    (void)state;
    mp__l2_pack_room_done(&room);
    return ZSTD_freeDCtx(dctx) == 0 ? 0 : -1;
}

/* Lines, some of their bytes others. */
static inline void make_body(size_t size, size_t strange)
{
    char text[LINE];

    for (size_t at = 0, i = random_below(10000); at < size; i++) {
        size_t n = line_of(i, text);

        n = n < size - at ? n : size - at;
        memcpy(body + at, text, n);
        at += n;
    }
    for (size_t i = 0; i < size * strange / 100; i++)
        body[random_below(size)] = (unsigned char)random_below(256);
}

#endif
