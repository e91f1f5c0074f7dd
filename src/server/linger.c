/* SPDX-License-Identifier: Apache-2.0 */
#include "server/linger.h"

enum { BYTES_MOST = 64 * 1024 * 1024, IDLE_MS = 2000, NS_PER_MS = 1000000 };

void mp__linger_begin(mp__linger *linger, mp__stream *stream, uint64_t now_ns)
{
    *linger = (mp__linger){.since_ns = now_ns ? now_ns : 1};
    mp__stream_end(stream);
}

bool mp__linger_reads(mp__linger *linger, int64_t size, uint64_t now_ns)
{
    uint64_t left = BYTES_MOST - linger->thrown_away;

    linger->active_ms = (uint32_t)((now_ns - linger->since_ns) / NS_PER_MS);
    if (size <= 0 || (uint64_t)size > left)
        return false;
    linger->thrown_away += (uint32_t)size;
    return true;
}

bool mp__linger_is_over(const mp__linger *linger, uint64_t now_ns, uint64_t most_ns)
{
    uint64_t ns = now_ns > linger->since_ns ? now_ns - linger->since_ns : 0;

    return ns > most_ns || ns > ((uint64_t)linger->active_ms + IDLE_MS) * NS_PER_MS;
}
