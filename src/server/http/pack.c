/* SPDX-License-Identifier: Apache-2.0 */
/* Answers compressed for clients that take it.
 *
 * That costs 10 us and more for each KiB, hundreds of times what an answer costs otherwise: so a
 * short body is compressed as it is answered while the turn has time left, and all others stand in
 * line with those who have had their slice. The exchange stays under way meanwhile; its head, and
 * the body unless somebody holds it, are in its memory.
 *
 * What the compressor works with, a quarter of a MiB, is the worker's, as long as it is used. */
#include <strings.h>

#include <zlib.h>

#include "server/http/connection.h"
#include "server/http/handlers.h"

enum {
    GZIP_LEAST = 1024,        /* bytes: below it the head outweighs the gain */
    GZIP_LEVEL = 1,           /* in a loop that others wait for: speed before size */
    GZIP_MOST = 256 * 1024,   /* more is not compressed: it would hold up the others */
    GZIP_AT_ONCE = 16 * 1024, /* as it is answered, where there is time */
    GZIP_LONG = 128 * 1024,   /* takes half a turn by itself */
};
#define KEPT_NS 2000000000u /* a packer that is not used */

typedef struct mp__packer {
    z_stream z;
    uint64_t used_ns;
} mp__packer;

/* ---- who takes what ---- */

/* What a request says of a coding: nothing, no or yes. */
enum wish { UNSAID, NO, YES };

/* What @accept, a line of Accept-Encoding, says of @coding, and of every other coding by a star,
 * where nothing was said before. */
static void read_wishes(mp_str accept, const char *coding, enum wish *named, enum wish *star)
{
    mp_str item;

    while (mp__http_list_next(&accept, &item)) {
        const char *weight = memchr(item.data, '=', item.size), *end = item.data + item.size;
        enum wish wish = weight ? NO : YES;
        size_t size;

        for (size = 0; size < item.size && item.data[size] != ';' && item.data[size] != ' ';)
            size++;
        for (weight = weight ? weight + 1 : end; weight < end; weight++)
            if (*weight != '0' && *weight != '.' && *weight != ' ')
                wish = YES;
        if (!*named && size == strlen(coding) && strncasecmp(item.data, coding, size) == 0)
            *named = wish;
        if (!*star && size == 1 && *item.data == '*')
            *star = wish;
    }
}

/* Whether @request takes @coding: RFC 9110 section 12.5.3; its lines are one list, and * counts for
 * every coding that is not named. */
static bool accepts(const mp__http_request *request, const char *coding)
{
    enum wish named = UNSAID, star = UNSAID;
    size_t at = 0;
    mp_str line;

    while ((line = mp__http_header_next(request, "accept-encoding", &at)).data)
        read_wishes(line, coding, &named, &star);
    return (named ? named : star) == YES;
}

static bool begins_with(mp_str text, const char *start)
{
    return text.size >= strlen(start) && strncasecmp(text.data, start, strlen(start)) == 0;
}

bool mp__answer_varies(mp_str content_type, size_t size)
{
    return size >= GZIP_LEAST && size <= GZIP_MOST &&
           (begins_with(content_type, "text/") || begins_with(content_type, "application/json") ||
            begins_with(content_type, "application/yaml") ||
            begins_with(content_type, "application/toml") ||
            begins_with(content_type, "application/xml") ||
            begins_with(content_type, "application/problem+json"));
}

bool mp__answer_compresses(const mp__exchange *x, mp_str content_type, size_t size)
{
    if (x->repeat || !mp__answer_varies(content_type, size))
        return false; /* one that is kept is kept for every client */
    return accepts(&x->request, "gzip");
}

/* ---- compressing ---- */

/* The worker's, ready for the next body; NULL: no memory. */
static z_stream *packer(mp__worker_loop *worker)
{
    mp__packer *p = worker->packer;

    if (!p) {
        p = mp__calloc(1, sizeof(*p));
        if (!p)
            return NULL;
        if (deflateInit2(&p->z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
            (void)mp__free(p);
            return NULL;
        }
        worker->packer = p;
    } else if (deflateReset(&p->z) != Z_OK) {
        return NULL;
    }
    p->used_ns = worker->tick_ns;
    return &p->z;
}

void mp__http_packer_free(mp__worker_loop *worker)
{
    if (worker->packer)
        (void)deflateEnd(&worker->packer->z);
    worker->packer = mp__free(worker->packer);
}

void mp__http_packer_scan(mp__worker_loop *worker)
{
    if (worker->packer && worker->tick_ns - worker->packer->used_ns >= KEPT_NS)
        mp__http_packer_free(worker);
}

bool mp__http_pack(mp__worker_loop *worker, mp_str body, mp__buf *out)
{
    z_stream *z = packer(worker);
    size_t before = out->size, room;

    if (!z)
        return false;
    room = deflateBound(z, body.size);
    if (mp__buf_reserve(out, room) != 0)
        return false;
    z->next_in = (Bytef *)(uintptr_t)body.data;
    z->avail_in = (uInt)body.size;
    z->next_out = (Bytef *)out->data + before;
    z->avail_out = (uInt)room;
    if (deflate(z, Z_FINISH) == Z_STREAM_END && z->total_out < body.size)
        out->size = before + z->total_out;
    return out->size > before;
}

/* ---- in line ---- */

typedef struct packing {
    mp__in_line line;
    mp__exchange *x;
    mp_str head, body;
    mp_blob *kept; /* holds the body, or NULL: it is below */
    char text[];
} packing;

static void comes(mp__in_line *line)
{
    packing *p = (packing *)((char *)line - offsetof(packing, line));
    mp__exchange *x = p->x;
    mp_blob *kept = p->kept; /* @p ends with the answer */

    if (p->body.size >= GZIP_LONG)
        mp__turn_cut(&x->worker->turn);
    x->out = &x->worker->http_late;
    (void)mp__buf_add_str(x->out, p->head);
    mp__answer_end_packed(x, p->body, kept);
    (void)mp_blob_unref(kept);
}

bool mp__http_pack_waits(mp__exchange *x, mp_str body, const mp_blob *kept)
{
    mp__turn *turn = &x->worker->turn;
    mp_str head = mp_str_new(x->out->data + x->begin, x->out->size - x->begin);
    packing *p;

    if (x->out->error || (body.size <= GZIP_AT_ONCE && mp__turn_has_time(turn)))
        return false;
    p = mp__exchange_memory(x, sizeof(*p) + head.size + (kept ? 0 : body.size));
    if (!p)
        return false;
    p->line.go_on = comes;
    p->x = x;
    p->kept = kept ? mp_blob_ref(kept) : NULL;
    p->head = mp_str_new(memcpy(p->text, head.data, head.size), head.size);
    p->body =
        kept ? body : mp_str_new(memcpy(p->text + head.size, body.data, body.size), body.size);
    x->out->size = x->begin;
    x->on_close = NULL; /* it has its answer */
    mp__turn_wait(turn, &p->line);
    return true;
}
