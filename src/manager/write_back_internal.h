/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of write-back share. */
#ifndef MP_MANAGER_WRITE_BACK_INTERNAL_H
#define MP_MANAGER_WRITE_BACK_INTERNAL_H

#include "core/journal.h"
#include "manager/internal.h"
#include "manager/write_back.h"

/* A write on its way. Its entry is what readers get meanwhile, and holds all its bytes. */
typedef struct mp__pending {
    struct mp__pending *next;  /* the queue's, in order */
    struct mp__pending *chain; /* the table's, newest first */
    struct mp__back *back;
    const mp__entry *entry; /* a reference; VALUE, or ABSENT of a DELETE */
    uint64_t hash, sequence;
    bool base_known;
    uint64_t base;           /* the revision over which it was made; 0: there was none */
    int64_t base_expires_ms; /* 0: never, or not known any more */
    int64_t accepted_ms;
    mp__identity identity; /* whose write it is */
    bool is_sent;
    bool may_have_come;   /* it is of an earlier life, or was sent before */
    bool looks_first;     /* before it is sent, the history is asked */
    bool knows_past;      /* the history was asked */
    uint64_t past_before; /* below which revision it goes on, before that is known; 0: at its end */
    mp__history past;     /* write_back_past.c's */
    mp__worker *past_worker;
    mp__change change;
    mp__write_request request;
    mp__task task;
    int status;        /* result */
    bool found_none;   /* result: there is no value */
    uint64_t revision; /* result: made, or found there */
} mp__pending;

/* ---- write_back_past.c ---- */

/* Whether the origin holds already what @p would write: it has arrived in an earlier life. */
bool mp__back_is_there(const mp__pending *p, const mp__change *change);
/* Whether @p must not be sent before somebody has looked: it may have arrived, and its value has
 * ended by @now_ms. mp__back_ask_past() is to follow then; and whether it said that it has not
 * come, once. */
bool mp__back_looks_first(mp__pending *p, int64_t now_ms);
bool mp__back_has_not_come(mp__pending *p);
/* Whether @p, which came back as a conflict, may have arrived before, and nobody has looked yet. */
bool mp__back_may_have_come(const mp__pending *p);
/* Look; its task is posted to @worker then. It has arrived: its status is 0 and its revision the
 * one that it made. The origin cannot say for now: its status says why. */
void mp__back_ask_past(mp__pending *p, mp__origin *origin, mp__worker *worker);

/* ---- write_back_record.c ---- */

enum { MP__BACK_JOURNAL_KIND = 1 };

/* ARRIVED has the revision that was made; 0: it is a conflict, kept elsewhere. */
enum mp__back_kind { MP__BACK_WRITE = 1, MP__BACK_ARRIVED = 2, MP__BACK_REBASED = 3 };

typedef struct mp__back_record {
    enum mp__back_kind kind;
    uint64_t sequence;
    bool base_known;
    uint64_t base;
    int64_t accepted_ms;
    mp_str actor;
    mp__record what; /* slices of the record's bytes */
} mp__back_record;

/* Make @out the record. MP_ENOMEM. */
MP_MUST_USE int mp__back_encode(const mp__pending *p, mp__buf *out);
MP_MUST_USE int mp__back_encode_mark(enum mp__back_kind kind, uint64_t sequence, uint64_t base,
                                     mp__buf *out);
/* MP_ECORRUPT: it is none. */
MP_MUST_USE int mp__back_decode(mp_str record, mp__back_record *ret_record);

/* ---- write_back_conflicts.c; the queue's worker only ---- */

typedef struct mp__back_conflicts {
    mp__file *file; /* NULL: not opened yet, or to be opened again */
    uint64_t bytes; /* of it */
} mp__back_conflicts;

/* Write down all of @p, whose status says why the origin will not have it, synced. MP_ELIMIT: the
 * file is as large as it may be; -errno. */
MP_MUST_USE int mp__back_conflict_keep(mp__back_conflicts *conflicts, const mp__manager *manager,
                                       const mp__pending *p);
/* Into the log and among the events. */
void mp__back_conflict_tell(mp__manager *manager, const mp__pending *p);
void mp__back_conflicts_done(mp__back_conflicts *conflicts);

#endif
