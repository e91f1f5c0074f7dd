/* SPDX-License-Identifier: Apache-2.0 */
/* Who watches, and how far each was told: GET /v1/consumers and MP.CONSUMERS.
 *
 * Watchers belong to the loop that they are connected to, so the question goes round: each loop
 * adds its own to the answer and posts it to the next, the last one back home. */
#ifndef MP_SERVER_CONSUMERS_H
#define MP_SERVER_CONSUMERS_H

#include "server/internal.h"

enum { MP__CONSUMERS_MAX = 1000 };

typedef struct mp__consumers {
    mp__server *server;
    mp__loop *home; /* of who asks */
    uint64_t limit; /* most that are told, 1 to MP__CONSUMERS_MAX */
    /* On home, once it has been round. @body, a JSON object, is the callee's, and has an error
     * where memory was short. */
    void (*done)(struct mp__consumers *consumers, mp__buf *body);
    void *context;
    /* the round's own */
    mp__task task;
    unsigned at; /* the loop whose turn it is */
    uint64_t told;
    bool more;
    mp__buf body;
} mp__consumers;

/* Send @consumers, zeroed but for what is above, round; it lives until done(). Whether the asker
 * may know is the caller's to ask. On home; done() comes later. */
void mp__consumers_start(mp__consumers *consumers);

#endif
