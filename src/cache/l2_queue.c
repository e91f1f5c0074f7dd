/* SPDX-License-Identifier: Apache-2.0 */
/* L2: what waits to be compressed, raw, one behind the other in a ring of bytes.
 *
 * Two threads on two cores pass each entry on, and every line of the processor's caches that goes
 * from one to the other costs as much as a sixth of packing it. So entries begin a line of their
 * own, nothing is allocated by one thread and freed by the other, and whoever packs finds the next
 * ones by their sizes, without the lock, and can fetch them ahead.
 *
 * There is one who fills it at a time (L1's lock sees to that), and one who empties it. A place is
 * reserved and filled before the entry is published, and the lock is not held in between. */
#include "cache/l2_internal.h"
#include "core/alloc.h"

enum { LINE = 64 };

static mp__l2_pending *at(const mp__l2_queue *queue, size_t place)
{
    return (mp__l2_pending *)(queue->bytes + place);
}

int mp__l2_queue_init(mp__l2_queue *queue)
{
    queue->bytes = mp__aligned_alloc(LINE, MP__L2_QUEUE_BYTES);
    return queue->bytes ? 0 : MP_ENOMEM;
}

void mp__l2_queue_done(mp__l2_queue *queue)
{
    queue->bytes = mp__free(queue->bytes);
}

size_t mp__l2_queue_need(size_t meta_size, size_t body_size)
{
    return (sizeof(mp__l2_pending) + meta_size + body_size + LINE - 1) & ~(size_t)(LINE - 1);
}

mp__l2_pending *mp__l2_queue_reserve(mp__l2_queue *queue, size_t bytes, size_t most)
{
    if (queue->count == 0) /* the lowest places again, which are near by now */
        queue->head = queue->tail = queue->wraps_at = 0;
    if (queue->wraps_at)
        return queue->tail + bytes <= queue->head ? at(queue, queue->tail) : NULL;
    if (queue->tail + bytes <= most)
        return at(queue, queue->tail);
    return queue->count && bytes <= queue->head ? at(queue, 0) : NULL;
}

void mp__l2_queue_publish(mp__l2_queue *queue, mp__l2_pending *pending)
{
    size_t place = (size_t)((unsigned char *)pending - queue->bytes);

    if (queue->count == 0) { /* it was emptied meanwhile */
        queue->head = place;
        queue->wraps_at = 0;
    } else if (place < queue->tail) {
        queue->wraps_at = queue->tail;
    }
    queue->tail = place + pending->bytes;
    queue->count++;
    if (queue->tail > queue->touched)
        queue->touched = queue->tail;
}

mp__l2_pending *mp__l2_queue_first(const mp__l2_queue *queue)
{
    return queue->count ? at(queue, queue->head) : NULL;
}

mp__l2_pending *mp__l2_queue_after(const mp__l2_queue *queue, size_t wraps_at,
                                   const mp__l2_pending *pending)
{
    size_t next = (size_t)((const unsigned char *)pending - queue->bytes) + pending->bytes;

    return at(queue, next == wraps_at ? 0 : next);
}

void mp__l2_queue_drop_first(mp__l2_queue *queue)
{
    queue->head += at(queue, queue->head)->bytes;
    if (queue->head == queue->wraps_at)
        queue->head = queue->wraps_at = 0;
    queue->count--;
}
