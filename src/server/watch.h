/* SPDX-License-Identifier: Apache-2.0 */
/* Watching inside the server: one core a worker loop that finds, for each change, who waits for it,
 * whatever protocol they speak.
 *
 *   waiter   who is told: a RESP connection, an HTTP stream or a long poll
 *   point    a beginning of addresses that a waiter listens to; a waiter has one or many
 *   group    some changes of one moment, in commit order. A waiter is told once a group, of those
 *            of its changes that fit one of its points, so that it writes once; what transports
 *            write is made once a group and shared by all who want the same
 *
 * A change costs one look-up for each different length of the prefixes that are watched, plus those
 * whom it concerns; waiters for other keys cost nothing. All of it belongs to the loop's thread. */
#ifndef MP_SERVER_WATCH_H
#define MP_SERVER_WATCH_H

#include "core/address.h"
#include "core/buf.h"
#include "core/hash.h"
#include "manager/manager.h"

typedef struct mp__watch mp__watch;
typedef struct mp__waiter mp__waiter;

/* What is made once a group: an event as each kind of transport writes it. */
enum mp__watch_frame {
    MP__FRAME_SSE,
    MP__FRAME_LINE,
    MP__FRAME_WEBSOCKET,
    MP__FRAME_RESP2, /* to who watches a prefix and sees the change as it was made */
    MP__FRAME_RESP3,
    MP__FRAME_COUNT,
};

typedef struct mp__watch_group {
    const mp__event *events;
    size_t count;                                         /* at most MP__EVENTS_TOGETHER */
    mp__buf frames[MP__EVENTS_TOGETHER][MP__FRAME_COUNT]; /* empty until somebody makes it */
} mp__watch_group;

struct mp__waiter {
    /* Bit i of @which: group->events[i] is for this waiter. It may leave any of its points, or end,
     * inside. */
    void (*tell)(mp__waiter *waiter, mp__watch_group *group, unsigned which);
    /* Members of a JSON object: who it is, what it waits for, and how far it was told. */
    void (*describe)(mp__waiter *waiter, mp__buf *json);
    bool is_last; /* told after the others: a long poll, whose answer takes longer to make */
    /* the core's */
    uint8_t which;
    uint32_t points;
    mp__waiter *next_told, **told_link;
    mp__waiter *next, **link; /* of all */
};

typedef struct mp__watch_point {
    mp__waiter *waiter; /* NULL: it listens to nothing */
    /* the core's */
    struct mp__watch_node *node;
    size_t at; /* of the node's places */
} mp__watch_point;

MP_MUST_USE int mp__watch_new(mp__hash_key key, mp__watch **ret_watch);
mp__watch *mp__watch_free(mp__watch *watch); /* every point has left */

/* Let @waiter (zeroed but for its functions and is_last before its first point) hear of addresses
 * that begin with
 * @prefix, as "environment/namespace/ke", and of everything that is about every key. With @exact:
 * of this address only. The point and the waiter live until mp__watch_leave(). MP_ENOMEM. */
MP_MUST_USE int mp__watch_join(mp__watch *watch, mp__watch_point *point, mp__waiter *waiter,
                               mp_str prefix, bool exact);
void mp__watch_leave(mp__watch *watch, mp__watch_point *point); /* nothing when it has not joined */

/* ---- scopes: watch_overlay.c ----
 *
 * Who watches a scope hears of changes of all its layers, as a reader of the scope sees them. */

typedef struct mp__watch_points {
    mp__watch_point of[MP__LAYERS_MAX]; /* one a layer */
} mp__watch_points;

/* The layers of a scope whatever the namespace, nearest first, itself included. */
size_t mp__watch_layers(const mp__manager *manager, mp_str scope,
                        mp_str ret_layers[MP__LAYERS_MAX]);
/* As mp__watch_join(), with @prefix in each layer of its scope; all or none. */
MP_MUST_USE int mp__watch_join_layers(mp__watch *watch, const mp__manager *manager,
                                      mp__watch_points *points, mp__waiter *waiter, mp_str prefix,
                                      bool exact);
void mp__watch_leave_layers(mp__watch *watch, mp__watch_points *points);

enum mp__watch_what {
    MP__WAS_PUT,
    MP__WAS_MASKED, /* a mask was put: for readers there is none any more, whatever lies behind */
    MP__WAS_DELETED,
};
enum mp__watch_seen {
    MP__SEEN_NOTHING, /* a nearer layer hides it, or it is of no layer */
    MP__SEEN_PUT,     /* what was put */
    MP__SEEN_BEHIND,  /* the value of a layer behind, which view->entry is */
    MP__SEEN_DELETE,
    MP__SEEN_UNKNOWN, /* what is there now is not in memory: it must be read */
};
typedef struct mp__watch_view {
    mp_str address;         /* the key in the scope: bytes of text */
    const mp__entry *entry; /* a reference of the caller's, or NULL */
    char text[MP__ADDRESS_MAX];
} mp__watch_view;
/* What a reader of @scope sees of a change of @changed. Never blocks. */
enum mp__watch_seen mp__watch_see(mp__manager *manager, mp_str scope, mp_str changed,
                                  enum mp__watch_what what, mp__watch_view *ret_view);
static inline enum mp__watch_what mp__watch_what_of(const mp__event *event)
{
    return event->kind != MP__EVENT_PUT                            ? MP__WAS_DELETED
           : event->entry && event->entry->kind == MP__RECORD_MASK ? MP__WAS_MASKED
                                                                   : MP__WAS_PUT;
}
/* The same when @entry is what a read of the key in @scope is answered now. */
enum mp__watch_seen mp__watch_judge(const mp__manager *manager, mp_str scope, mp_str changed,
                                    enum mp__watch_what what, const mp__entry *entry);
/* The same of @read, which was started for what was UNKNOWN and has been answered. Never UNKNOWN:
 * of what the read cannot say either the change by itself is what is seen. */
enum mp__watch_seen mp__watch_judge_read(const mp__manager *manager, mp_str scope, mp_str changed,
                                         enum mp__watch_what what, const mp__read *read);
/* Whether readers of @scope get the value at @address, of some layer, however old it is, as far as
 * memory says; what it does not know they may. view->address is what they call it. */
bool mp__watch_shows(mp__manager *manager, mp_str scope, mp_str address, mp__watch_view *ret_view);
/* The short way: a value was put in the scope itself, and is what everybody sees. */
static inline bool mp__watch_is_plain(mp_str scope, const mp__event *event)
{
    return event->kind == MP__EVENT_PUT && event->entry && event->entry->kind == MP__RECORD_VALUE &&
           mp_str_equal(scope, mp_str_new(event->address.data, mp__scope_size(event->address)));
}

/* ---- positions: position.c ---- */

enum { MP__POSITION_MAX = 64 };
/* "epoch-revision" */
mp_str mp__position_text(const char *epoch, uint64_t revision, char out[MP__POSITION_MAX]);
/* A position, or a revision alone, which is one of the present epoch. False: it is neither. */
bool mp__position_parse(mp_str text, mp_str *ret_epoch, uint64_t *ret_revision);

/* ---- the core's state, and telling ---- */

/* Where the core stands: all that was told up to now has at most this revision. */
uint64_t mp__watch_revision(const mp__watch *watch);
bool mp__watch_is_stale(const mp__watch *watch); /* the origin cannot be asked */
uint32_t mp__watch_waiters(const mp__watch *watch);
/* Call @fn for each waiter, the latest that came first, until it returns false; none may come or
 * leave inside. */
void mp__watch_each(const mp__watch *watch, bool (*fn)(void *context, mp__waiter *waiter),
                    void *context);
/* Members "state", and "position" and "revision" where it is known up to which it was told. */
void mp__watch_describe(mp__buf *json, const char *epoch, const char *state, bool is_known,
                        uint64_t revision);
void mp__watch_begin(mp__watch *watch, const mp__watch_start *start);

/* Tell of at most MP__EVENTS_TOGETHER events, in commit order. */
void mp__watch_tell(mp__watch *watch, const mp__event *events, size_t count);

#endif
