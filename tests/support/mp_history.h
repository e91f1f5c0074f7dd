/* SPDX-License-Identifier: Apache-2.0 */
/* What clients asked and were told, and whether that can be the truth.
 *
 * Writes of one register must all write different values, 0 is that there is none, as at first.
 * Then reads say which write they saw, and whether the history is linearizable can be decided
 * exactly in O(n log n): Gibbons and Korach, "Testing Shared Memories", SIAM J. Comput. 26 (1997),
 * section 4.
 *
 *     size_t op = mp_history_write(h, key, value, now_ns);
 *     mp_history_written(h, op, now_ns);                     // acknowledged
 *     op = mp_history_read(h, key, MP_HISTORY_STRONG, now_ns);
 *     mp_history_saw(h, op, value, claimed_ns, now_ns);
 *     assert_true(mp_history_holds(h, why, sizeof(why)));
 *
 * A deletion is a write, too, of a number of its own. Who reads that there is none sees no such
 * number, but the revision as of which there is none; which deletion that was is known from the
 * revisions that the origin gave, so it has to be told of all of them:
 *
 *     op = mp_history_delete(h, key, value, now_ns);
 *     mp_history_committed(h, op, revision, now_ns); // the origin, at that moment
 *     mp_history_saw_none(h, read, as_of, claimed_ns, now_ns);
 *
 * Where revisions are known, more is decided by them: claims, to the moment of the commit; that a
 * strong read sees whatever had been made when it began, of all keys (so nobody sees half of a
 * transaction); and that no session is told an older state of a key after a newer one.
 *
 * One thread. Calls come in the order in which things happened; that order, not the clock, says
 * what was before what. */
#ifndef MP_HISTORY_H
#define MP_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mp_history mp_history;

mp_history *mp_history_new(void);
mp_history *mp_history_free(mp_history *history);

enum mp_history_promise {
    MP_HISTORY_BOUNDED, /* what it saw was the value at `claimed_ns` or later */
    MP_HISTORY_STRONG,  /* linearizable with all writes and all strong reads, and bounded */
};

/* An operation begins; the number names it. */
size_t mp_history_write(mp_history *history, unsigned key, uint64_t value, uint64_t now_ns);
/* @value names the deletion. */
size_t mp_history_delete(mp_history *history, unsigned key, uint64_t value, uint64_t now_ns);
size_t mp_history_read(mp_history *history, unsigned key, enum mp_history_promise promise,
                       uint64_t now_ns);
/* Whose it is: a session asks one thing after the other, and is told nothing older of a key than
 * what it was told of it before or wrote itself. Sessions count from 1; 0: nobody's. */
void mp_history_by(mp_history *history, size_t which, unsigned session);

/* And ends. A write that neither was acknowledged nor refused may have happened, then or later. */
void mp_history_written(mp_history *history, size_t write, uint64_t now_ns);
void mp_history_refused(mp_history *history, size_t write); /* surely it did nothing */
void mp_history_saw(mp_history *history, size_t read, uint64_t value, uint64_t claimed_ns,
                    uint64_t now_ns);
void mp_history_saw_none(mp_history *history, size_t read, uint64_t as_of_revision,
                         uint64_t claimed_ns, uint64_t now_ns);
/* As of which nobody said: it may be any absence that fits. */
#define MP_HISTORY_UNSAID UINT64_MAX
void mp_history_failed(mp_history *history, size_t read); /* it was told nothing */

/* The origin made the write at this very moment, under @revision; perhaps after its end, if its
 * outcome was unknown. In the order of the revisions. */
void mp_history_committed(mp_history *history, size_t write, uint64_t revision, uint64_t now_ns);
/* The revision that @read was told with the value that it saw. */
void mp_history_told_revision(mp_history *history, size_t read, uint64_t revision);

size_t mp_history_count(const mp_history *history);

/* Whether all of it can be the truth; false with a sentence in @why. */
bool mp_history_holds(mp_history *history, char *why, size_t capacity);

#endif
