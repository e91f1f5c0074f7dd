/* SPDX-License-Identifier: Apache-2.0 */
/* Watching over HTTP: one watcher a request, as an event stream, as lines of JSON, as a WebSocket
 * or as a long poll.
 *
 *   watch.c         what is asked; long polls; time: progress and the end of waiting
 *   watch_stream.c  streams: catching up, live, slow readers
 *   watch_pending.c what waits for a reader that is slow or catches up
 *   watch_frame.c   what is written: events as JSON, and the frames around it
 *
 *               from= is behind            through
 *      begin ----------------> CATCHING ------------> LIVE  <--+
 *        |                      |    ^                 |       | all sent
 *        |                      |    +- the origin     | the socket takes no more
 *        |                      v       is back        v       |
 *        +--- no from ------> (reset) ------------>  events wait, the latest of each key;
 *                                                    too many: one reset for all of them
 *
 * Memory of a reader that is slow or far behind is bounded: a page of history (PAGE_BYTES), what
 * waits (PENDING_MAX) and what the socket has not taken (UNSENT_MAX and one frame): below 64 KiB
 * together. Everything belongs to the worker's loop thread. */
#ifndef MP_SERVER_HTTP_WATCH_H
#define MP_SERVER_HTTP_WATCH_H

#include "server/http/handlers.h"

enum {
    MP__WATCH_VALUE_MAX = 16 * 1024, /* a frame above goes without its value */
    MP__WATCH_PENDING_MAX = 16 * 1024,
    MP__WATCH_UNSENT_MAX = 16 * 1024,
    MP__WATCH_PAGE_BYTES = 4 * 1024,
    MP__WATCH_PAGE_RECORDS = 50,
};

/* ---- watch_frame.c ---- */

enum mp__watch_word {
    MP__WORD_PUT,
    MP__WORD_DELETE,
    MP__WORD_RESET,    /* what you know may be wrong: read anew; what comes now is behind it */
    MP__WORD_STALE,    /* the origin, or this key's part of it, cannot be read any more */
    MP__WORD_FRESH,    /* it can again */
    MP__WORD_SYNC,     /* up to here you know everything; from here on it is live */
    MP__WORD_PROGRESS, /* nothing new up to here */
};

/* One thing to say. */
typedef struct mp__watch_message {
    enum mp__watch_word word;
    mp_str address; /* PUT, DELETE; STALE and FRESH of one key */
    uint64_t revision;
    bool has_value; /* PUT */
    mp_str value, media_type;
    size_t value_size; /* also of one that was left out */
    int64_t modified_ms, expires_ms;
    const char *reason; /* RESET, STALE, FRESH; may be NULL */
    bool more;          /* STALE and FRESH of keys that are not named */
} mp__watch_message;

#define MP__MORE_STALE "there are more keys whose files cannot be read; a read says of each"
#define MP__MORE_FRESH "more keys, whose files can be read again; a read says of each"

void mp__watch_message_of_event(const mp__event *event, mp__watch_message *ret_message);
void mp__watch_message_of_item(const mp__list_item *item, mp__watch_message *ret_message);
void mp__watch_message_of_entry(const mp__entry *entry, mp__watch_message *ret_message);

/* The message as a JSON object with its position, behind a comma where one is due: of an array. */
void mp__watch_json(mp__buf *out, const char *epoch, const mp__watch_message *message);
/* A whole frame. The value is left out of one that would be larger than MP__WATCH_VALUE_MAX. */
void mp__watch_frame(mp__buf *out, enum mp__watch_frame kind, const char *epoch,
                     const mp__watch_message *message);

/* PUT and DELETE. */
bool mp__watch_is_about_keys(enum mp__watch_word word);

/* ---- watch_pending.c ---- */

/* One message that waits. */
typedef struct mp__watch_pending {
    struct mp__watch_pending *next;
    mp__watch_message message; /* PUT: without a value; that is in entry */
    const mp__entry *entry;    /* a reference, or NULL */
    uint64_t hash;             /* of the address; 0 where there is none */
    size_t bytes;              /* counted against MP__WATCH_PENDING_MAX, the value with them */
    char address[];
} mp__watch_pending;

/* What waits for one reader: a reset before all, then the rest in the order in which it came. Not
 * to be moved once it is initialised. */
typedef struct mp__watch_waiting {
    bool reset_due;
    uint64_t reset_revision;
    const char *reset_reason; /* static */
    mp__watch_pending *first, **last;
    size_t bytes;
} mp__watch_waiting;

void mp__watch_pending_init(mp__watch_waiting *waits);
/* Nothing but a reset waits afterwards, if one did. */
void mp__watch_pending_clear(mp__watch_waiting *waits);
bool mp__watch_pending_is_any(const mp__watch_waiting *waits);
/* A reset that waits for its turn, in place of all that waits. */
void mp__watch_pending_reset(mp__watch_waiting *waits, uint64_t revision, const char *reason);
/* Put @m last, with a reference to @entry (NULL: it has none); without the value where that would
 * be too much. False: there is no room, or no memory; nothing has changed then. */
bool mp__watch_pending_add(mp__watch_waiting *waits, const mp__watch_message *m, uint64_t hash,
                           const mp__entry *entry);
/* The latest of each key is enough: forget what waits of the one of @m, or of the origin's state.
 * How many that were. */
size_t mp__watch_pending_forget(mp__watch_waiting *waits, const mp__watch_message *m,
                                uint64_t hash);
/* The same among all that waits. */
size_t mp__watch_pending_forget_all(mp__watch_waiting *waits);
/* The first one, which is the caller's now; NULL: none waits. */
mp__watch_pending *mp__watch_pending_pop(mp__watch_waiting *waits);
mp__watch_pending *mp__watch_pending_free(mp__watch_pending *p);

/* ---- watchers ---- */

enum mp__watch_kind { MP__WATCH_SSE, MP__WATCH_LINES, MP__WATCH_WEBSOCKET, MP__WATCH_POLL };

typedef struct mp__catching mp__catching;
typedef struct mp__asking mp__asking;

typedef struct mp__http_watcher {
    mp__waiter waiter;
    mp__watch_points points;
    mp__exchange *x; /* NULL: the client has gone, and a look at the history is under way */
    mp__worker_loop *worker;
    enum mp__watch_kind kind;
    bool slow;              /* more waited than fits: the latest of each key, until none waits */
    bool overrun;           /* while catching up not all fitted that came live: look once more */
    mp__catching *catching; /* NULL: live */
    struct mp__ws_parser *websocket; /* what the client of one sends */
    struct mp__asking *asking;       /* a value is being read: what comes waits */
    uint64_t position;               /* all up to here was told */
    mp__watch_waiting waits;
    /* time: watch.c */
    struct mp__http_watcher *next_due, **due_link;
    uint32_t due;         /* tick */
    bool due_soon;        /* in the finer wheel */
    mp_str prefix, scope; /* prefix: "scope/namespace/ke"; its bytes follow */
} mp__http_watcher;

/* ---- watch_stream.c ---- */

/* Begin to hear: joined, and catching up where @from is behind. Streams have sent their head.
 * @known: @from is a position of the present epoch; else it is answered by a reset. */
void mp__watch_stream_begin(mp__http_watcher *w, bool has_from, bool known, uint64_t from);
void mp__watch_stream_writable(mp__http_watcher *w);
void mp__watch_stream_progress(mp__http_watcher *w);
/* Whether anything that it watches may be outdated now. */
bool mp__watch_has_stale(const mp__http_watcher *w);
/* Free it: at once, or when the look at the history that is under way has ended. */
void mp__watch_end(mp__http_watcher *w);

/* ---- watch.c ---- */

/* Answer a long poll, which ends it: @events are the members of a JSON array. */
void mp__watch_poll_answer(mp__http_watcher *w, mp_str events, bool reset);
/* Look at @w again in @ms, and not when that was asked for before: of a long poll, some 5 ms after
 * that at most; of a stream, as far as 250 ms before or behind. */
void mp__watch_schedule(mp__http_watcher *w, uint64_t ms);
/* The same, unless it is looked at sooner. */
void mp__watch_hasten(mp__http_watcher *w, uint64_t ms);
void mp__watch_unschedule(mp__http_watcher *w);
const char *mp__watch_epoch(const mp__http_watcher *w);

#endif
