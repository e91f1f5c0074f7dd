/* SPDX-License-Identifier: Apache-2.0 */
/* What clients asked and were told, and whether that can be the truth.
 *
 * Writes of one register must all write different values, 0 is what it holds at first. Then reads
 * say which write they saw, and whether the history is linearizable can be decided exactly in
 * O(n log n): Gibbons and Korach, "Testing Shared Memories", SIAM J. Comput. 26 (1997), section 4.
 *
 *     size_t op = mp_history_write(h, key, value, now_ns);
 *     mp_history_written(h, op, now_ns);                     // acknowledged
 *     op = mp_history_read(h, key, MP_HISTORY_STRONG, now_ns);
 *     mp_history_saw(h, op, value, claimed_ns, now_ns);
 *     assert_true(mp_history_holds(h, why, sizeof(why)));
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
size_t mp_history_read(mp_history *history, unsigned key, enum mp_history_promise promise,
                       uint64_t now_ns);

/* And ends. A write that neither was acknowledged nor refused may have happened, then or later. */
void mp_history_written(mp_history *history, size_t write, uint64_t now_ns);
void mp_history_refused(mp_history *history, size_t write); /* surely it did nothing */
void mp_history_saw(mp_history *history, size_t read, uint64_t value, uint64_t claimed_ns,
                    uint64_t now_ns);
void mp_history_failed(mp_history *history, size_t read); /* it was told nothing */

size_t mp_history_count(const mp_history *history);

/* Whether all of it can be the truth; false with a sentence in @why. */
bool mp_history_holds(mp_history *history, char *why, size_t capacity);

#endif
