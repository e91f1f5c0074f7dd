/* SPDX-License-Identifier: Apache-2.0 */
/* When an origin that is silent is asked no more: a circuit breaker (Nygard, "Release It!", 2007).
 *
 *             MP__CIRCUIT_LATE_MAX questions, one after
 *             the other, without an answer in time
 *     CLOSED ------------------------------------------> OPEN <------------.
 *       ^                                                 | a pause        | nor the
 *       |                                                 v                | probe in time
 *       +------ any answer, to whatever was asked ---- HALF_OPEN ----------'
 *                         (from OPEN, too)
 *
 * An error is an answer, too: what says no at once makes nobody wait. And a question counts only
 * where nothing at all was answered since it was put, so that an origin which is slow and answers
 * one after the other does not open it, however many wait in its line. A write may take longer, as
 * may a page of a preload or a list, so one alone opens it after MP__CIRCUIT_WRITE_TIMES the time,
 * if nothing was answered meanwhile.
 *
 * While it is open questions are not put. Writes are, since an origin may write where it does not
 * read, until one of them stands for the time of a question: mp__origin_takes_writes(). "Not within
 * my time", as another's lock has it, is no answer to either.
 *
 * Pure: it is told the time, and its owner keeps two calls apart. */
#ifndef MP_MANAGER_CIRCUIT_H
#define MP_MANAGER_CIRCUIT_H

#include <stdbool.h>

#include "core/state.h"

enum mp__circuit_state { MP__CIRCUIT_CLOSED, MP__CIRCUIT_OPEN, MP__CIRCUIT_HALF_OPEN };
extern const mp__state_table mp__circuit_states;

enum {
    MP__CIRCUIT_LATE_MAX = 3,
    MP__CIRCUIT_WRITE_TIMES = 3,
    MP__CIRCUIT_PAUSE_FIRST_MS = 500, /* from its opening to the first probe; then doubled, up to */
    MP__CIRCUIT_PAUSE_LAST_MS = 4000, /* this, and each by chance up to half as long again */
};

typedef struct mp__circuit {
    mp__state state;
    _Atomic uint64_t answered_ns; /* when anything was answered last; any thread, for a look */
    _Atomic uint32_t late_now;    /* questions in a row without an answer; likewise, as are: */
    _Atomic uint64_t late, opened, refused; /* ever: questions, openings, what was not asked */
    uint64_t silent_since_ns;               /* when the first of the questions in a row was put */
    uint64_t due_ns;                        /* of the next probe, or of the answer to this one */
    uint64_t pause_ns;
    _Atomic int64_t opened_ms; /* wall time of the last opening */
} mp__circuit;

void mp__circuit_init(mp__circuit *circuit);

/* Whether nobody should wait for the origin. Any thread. */
static inline bool mp__circuit_is_open(const mp__circuit *circuit)
{
    return mp__state_now(&circuit->state) != MP__CIRCUIT_CLOSED;
}

/* A question was answered; whether mp__circuit_close() has anything to do. Any thread. */
static inline bool mp__circuit_answered(mp__circuit *circuit, uint64_t now_ns)
{
    atomic_store_explicit(&circuit->answered_ns, now_ns, memory_order_relaxed);
    return atomic_load_explicit(&circuit->late_now, memory_order_relaxed) != 0 ||
           mp__circuit_is_open(circuit);
}

/* It answers. True: it was open until now. */
bool mp__circuit_close(mp__circuit *circuit);
/* What was asked at @asked_ns was not answered in time. True: by this it has opened. @random: any
 * number. */
bool mp__circuit_late(mp__circuit *circuit, uint64_t asked_ns, uint64_t now_ns, uint64_t random);
/* Nobody answered anything since @since_ns. True: by this it has opened. */
bool mp__circuit_open(mp__circuit *circuit, uint64_t since_ns, uint64_t now_ns, uint64_t random);
/* Time has come to @now_ns. True: a probe is due, and counts as sent; it has @timeout_ns for its
 * answer. */
bool mp__circuit_probes(mp__circuit *circuit, uint64_t now_ns, uint64_t timeout_ns,
                        uint64_t random);

#endif
