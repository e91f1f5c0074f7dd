/* SPDX-License-Identifier: Apache-2.0 */
/* The last word to a client that may be about to send more, since what it sends was refused.
 *
 * To close now would be answered to its next bytes by a reset, on which most clients forget what
 * they could still read. So our side ends, and what comes is read and thrown away, until it ends
 * its side, too, or is silent, or has had time or bytes enough. RESP and HTTP alike; of the loop's
 * thread. */
#ifndef MP_SERVER_LINGER_H
#define MP_SERVER_LINGER_H

#include "core/env.h"

typedef struct mp__linger { /* begins zeroed; small, since each connection has one */
    uint64_t since_ns;      /* 0: it does not */
    uint32_t active_ms;     /* when something came last, behind that */
    uint32_t thrown_away;   /* bytes */
} mp__linger;

static inline bool mp__linger_is_on(const mp__linger *linger)
{
    return linger->since_ns != 0;
}

/* The last word has been sent and nothing is queued on @stream: end our side. Reading goes on; the
 * caller sees to it that it is not paused. */
void mp__linger_begin(mp__linger *linger, mp__stream *stream, uint64_t now_ns);
/* @size as of the stream's on_read. False: it is time to close. */
bool mp__linger_reads(mp__linger *linger, int64_t size, uint64_t now_ns);
/* Whether it has had its time: @most_ns of all, or two seconds without a byte. */
bool mp__linger_is_over(const mp__linger *linger, uint64_t now_ns, uint64_t most_ns);

#endif
