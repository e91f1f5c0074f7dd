/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of a simulated daemon and what they were told; and writes of one key, as they need them. */
#ifndef MP_READS_H
#define MP_READS_H

#include <stdint.h>
#include <stdio.h>

#include "mp_test.h"
#include "mp_world.h"

static bool read_is_done;
static char got[256], layer[200]; /* the value, and whose it is */

static inline void prepare(mp__read *read, const char *address, enum mp__level level)
{
    *read = (mp__read){.loop = loop,
                       .address = mp_str_of(address),
                       .hash = mp__cache_hash(mp__manager_hasher(manager), mp_str_of(address)),
                       .identity = &identity,
                       .level = level,
                       .age_max_ms = -1,
                       .done = world_read_done,
                       .context = &read_is_done};
}

/* Run @read to its end and give its entry back; its value is in `got` then. Returns its status. */
static inline int run(mp__read *read)
{
    read_is_done = false;
    if (!mp__read_start(manager, read))
        world_wait(&read_is_done);
    snprintf(layer, sizeof(layer), "%.*s", (int)read->layer.size, read->layer.data);
    got[0] = '\0';
    if (read->status == 0) {
        assert_true(read->entry->blob.pub.size < sizeof(got));
        memcpy(got, read->entry->blob.pub.data, read->entry->blob.pub.size);
        got[read->entry->blob.pub.size] = '\0';
    }
    (void)mp__entry_unref(read->entry);
    read->entry = NULL;
    return read->status;
}

static mp__read last;

static inline int get(const char *address, enum mp__level level)
{
    prepare(&last, address, level);
    return run(&last);
}

static uint64_t last_revision;

static inline int change(enum mp__change_op op, const char *address, const char *value,
                         int64_t expires_ms)
{
    mp__change c = {.op = op,
                    .address = mp_str_of(address),
                    .value = mp_str_of(value),
                    .expires_ms = expires_ms};
    mp__write_request request = {.changes = &c, .count = 1};
    int status = world_write(&request);

    if (status == 0)
        last_revision = request.revision;
    return status;
}

static inline int put(const char *address, const char *value)
{
    return change(MP__CHANGE_PUT, address, value, 0);
}
/* The same origin behind a cache that knows nothing. */
static inline void forget_all(void)
{
    static int n;
    char dir[32];

    world_close();
    snprintf(dir, sizeof(dir), "/fresh-%d", n++);
    option("origin.path", "/data/origin.db");
    world_open(dir);
}

#endif
