/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers of many keys share: walks over lists, many reads at once, work on another thread,
 * bodies in JSON. All calls and callbacks are the loop thread's, except mp__job's run(). */
#ifndef MP_SERVER_HTTP_COLLECT_H
#define MP_SERVER_HTTP_COLLECT_H

#include <jansson.h>

#include "server/http/handlers.h"

/* ---- walks: pages of the origin's list, one after the other, of one revision ---- */

enum {
    MP__WALK_ITEMS_MAX = 200000,
    MP__WALK_BYTES_MAX = 64 * 1024 * 1024,
    MP__WALKS_AT_ONCE = 4,
    MP__WALK_NAME_MAX = MP__NAMESPACE_MAX + MP__KEY_MAX + 1,
};

typedef struct mp__walk_item {
    const mp__list_item *item; /* of a group, its first key */
    mp_str name;               /* "namespace/key"; of a group up to its delimiter, included */
    bool group;
    bool in_doubt; /* the origin has a newer version that cannot be read */
} mp__walk_item;

typedef struct mp__walk {
    /* in: set between mp__walk_new() and mp__walk_start() */
    mp__exchange *x;
    mp_str delimiter; /* "": every key by itself; else what has it behind the prefix is grouped */
    bool with_values;
    bool effective;              /* what a reader of the scope gets, not what stands in it */
    uint64_t at_revision;        /* 0: as it is when the first page comes */
    size_t items_max, bytes_max; /* of values; where it stops with `more` */
    bool whole;                  /* stopping so is MP_ELIMIT */
    bool is_past;                /* a revision was asked for: what is newer is no matter */
    void (*done)(struct mp__walk *walk);
    void *context;
    /* out */
    int status;
    mp__walk_item *items;
    size_t count;
    uint64_t as_of; /* the revision that all pages show; 0: nobody knows (stale) */
    bool stale, more;
    bool in_doubt; /* one of the items is: set by mp__walk_doubt() */
    /* private */
    mp__worker_loop *worker;
    struct mp__walk *next, *beside; /* in the line; begins and ends with it */
    bool is_under_way;              /* it is counted in the line */
    uint64_t since_ns;              /* it stands there */
    size_t capacity, bytes;
    struct mp__walk_page *pages;
    mp__query query;
    size_t scope_size, prefix_size, after_size;
    char scope[MP__SCOPE_MAX], prefix[MP__WALK_NAME_MAX], after[MP__ADDRESS_MAX];
} mp__walk;

/* Of @scope, what begins with @prefix ("namespace/be"). NULL: no memory. */
mp__walk *mp__walk_new(mp__exchange *x, mp_str scope, mp_str prefix)
    __attribute__((warn_unused_result));
/* Of one key, @name: what it is when the walk is done with items_max 1. NULL: there is none. */
const mp__list_item *mp__walk_only(const mp__walk *walk);
/* Go on behind @name, as an earlier walk gave it. False: it is too long. */
bool mp__walk_after(mp__walk *walk, mp_str name, bool group) __attribute__((warn_unused_result));
/* done() comes later, always. What a walk finds lies in memory until it is freed, and its answer
 * until the client has taken it: so a walk of many values waits while MP__WALKS_AT_ONCE of this
 * worker are not freed, or where there is no room for more answers; for room 5 s at most, then it
 * is MP_EAGAIN. Who holds a walk of many values starts no second one. */
void mp__walk_start(mp__walk *walk);
/* Two that are needed together; neither waits for the other. */
void mp__walk_start_both(mp__walk *a, mp__walk *b);
/* Mark those of the items of which the origin has a newer version that cannot be read, as the file
 * of a folder that does not parse. Any thread that has the walk, once it is done. */
void mp__walk_doubt(mp__walk *walk);
/* Why its answer may be outdated, in the words that a single read has for it; NULL: it is not. */
const char *mp__walk_reason(const mp__walk *walk);
mp__walk *mp__walk_free(mp__walk *walk); /* accepts NULL, returns NULL */
/* What a walk that failed is answered with. */
void mp__http_answer_walk_error(mp__exchange *x, const mp__walk *walk);
/* 503: there is no room for one more large answer. */
void mp__http_answer_no_room(mp__exchange *x);
/* 400: the revision that was asked for is beyond the newest, which is named. */
void mp__http_answer_not_yet(mp__exchange *x);

/* ---- many reads ---- */

enum { MP__GATHER_MAX = 1000 };

typedef struct mp__gather {
    /* in */
    mp__exchange *x;
    size_t count;
    mp__read *reads; /* address, level and bounds are the caller's to set */
    void (*done)(struct mp__gather *gather);
    void *context;
    size_t bytes_max; /* 0: no such end */
    size_t bytes;     /* result: of the values that were read */
    /* private */
    size_t started, waiting;
} mp__gather;

/* Of the exchange's memory; NULL: no memory. */
mp__gather *mp__gather_new(mp__exchange *x, size_t count) __attribute__((warn_unused_result));
/* At most MP__READS_AT_ONCE are under way; when the client has gone, or the values that came are
 * more than bytes_max, the rest is MP_ECANCELED. done() may come from inside. It gives the entries
 * back with mp__gather_release(). */
void mp__gather_start(mp__gather *gather);
void mp__gather_release(mp__gather *gather);

/* ---- work that would hold up the loop ---- */

typedef struct mp__job {
    mp__exchange *x;
    void (*run)(struct mp__job *job);  /* touches neither x nor anything of the loop */
    void (*done)(struct mp__job *job); /* on the loop */
    bool prints; /* all that it makes is the answer: where the client has gone run() is left out */
    mp__task task;
} mp__job;

enum { MP__JOB_BRIEF = 256 * 1024 }; /* bytes of work that take some milliseconds */
/* run() at once where @size bytes of work are few, else on the thread mp-http-brief, or mp-http
 * where they are more than MP__JOB_BRIEF; then done(). */
void mp__job_start(mp__job *job, size_t size);

/* ---- bodies in JSON ---- */

/* The body as an object of at most the members @names (NULL-ended); what is not JSON, or is
 * mistyped, is answered with its place. False: answered. */
bool mp__http_json_body(mp__exchange *x, const char *const *names, json_t **ret_body);
/* The same where the query names a place and nothing else: its scope, too. */
bool mp__http_json_body_of_place(mp__exchange *x, const char *const *names,
                                 char scope_text[MP__SCOPE_MAX], mp_str *ret_scope,
                                 json_t **ret_body);
/* Whether @object has only the members @names; @where names it in the answer ("ops[2]"). */
bool mp__http_json_members(mp__exchange *x, const json_t *object, const char *where,
                           const char *const *names);
mp_str mp__http_json_text(const json_t *string);
/* The address of {"namespace": …, "key": …} or "namespace/key" in the exchange's memory. */
bool mp__http_json_address(mp__exchange *x, const json_t *named, const char *where, mp_str scope,
                           mp_str *ret_address);

/* ---- parts of answers ---- */

/* "namespace" and "key" of "namespace/key". */
void mp__http_json_name(mp__buf *body, mp_str name);
/* The part of an address behind its scope. */
mp_str mp__http_name_of(mp_str address);
bool mp__http_same_item(const mp__list_item *a, const mp__list_item *b); /* value and type */
/* Members that say all that is known of a listed value. */
void mp__http_json_item(mp__buf *body, const mp__list_item *item, bool with_value);
/* A JSON answer of what can be asked again: ETag of @tag, 304 where the client has it; stale
 * because of @reason, or NULL. Takes what @body holds. */
void mp__http_answer_tagged(mp__exchange *x, mp_str content_type, mp__buf *body, uint64_t revision,
                            const char *reason, uint64_t tag);
/* The same of a body that is borrowed. */
void mp__http_answer_tagged_text(mp__exchange *x, mp_str content_type, mp_str body,
                                 uint64_t revision, const char *reason, uint64_t tag);
/* Make @fixed by @print where nobody has yet; false: no memory, and it is answered. Any loop. */
bool mp__http_fixed(mp__exchange *x, mp__fixed *fixed, int (*print)(mp__buf *out));

#endif
