/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to a simulated daemon, and what they were told: for tests of what is refused. */
#ifndef MP_WRITES_H
#define MP_WRITES_H

#include <stdint.h>
#include <stdio.h>

#include "mp_test.h"
#include "mp_world.h"

/* ---- writing ---- */

static char text[700], instance[256], keyword[32], scope[200];
static size_t broken;
static int line, column;

static inline void write_done(mp__write_request *request)
{
    *(bool *)request->context = true;
    snprintf(text, sizeof(text), "%s", request->text);
    broken = request->broken_count;
    instance[0] = keyword[0] = scope[0] = '\0';
    if (broken) {
        snprintf(scope, sizeof(scope), "%s", request->broken[0].scope);
        snprintf(instance, sizeof(instance), "%s", request->broken[0].instance);
        snprintf(keyword, sizeof(keyword), "%s", request->broken[0].keyword);
        line = request->broken[0].line;
        column = request->broken[0].column;
    }
}

static uint64_t last_revision;
static bool dry_run;

static inline int change_all(mp__change *changes, size_t count)
{
    mp__write_request request = {
        .changes = changes, .count = count, .dry_run = dry_run, .done = write_done};
    int status = world_write(&request);

    if (status == 0)
        last_revision = request.revision;
    return status;
}

static inline mp__change putting(const char *address, const char *value, const char *type)
{
    return (mp__change){.op = MP__CHANGE_PUT,
                        .address = mp_str_of(address),
                        .value = mp_str_of(value),
                        .media_type = mp_str_of(type)};
}

static inline int put(const char *address, const char *value)
{
    mp__change c = putting(address, value, "");

    return change_all(&c, 1);
}

static inline int put_json(const char *address, const char *value)
{
    mp__change c = putting(address, value, "application/json");

    return change_all(&c, 1);
}

static inline int del(const char *address)
{
    mp__change c = {.op = MP__CHANGE_DELETE, .address = mp_str_of(address)};

    return change_all(&c, 1);
}

static inline int roll_back(const char *address, uint64_t revision)
{
    mp__change c = {
        .op = MP__CHANGE_ROLLBACK, .address = mp_str_of(address), .to_revision = revision};

    return change_all(&c, 1);
}

static int order[3], ordered;

static inline void order_done(mp__write_request *request)
{
    order[ordered++] = (int)(intptr_t)request->context;
}

static inline bool all_ordered(void *context)
{
    (void)context;
    return ordered == 3;
}

static inline void start_ordered(mp__write_request *request, mp__change *change, int number)
{
    *request = (mp__write_request){.loop = loop,
                                   .identity = &identity,
                                   .changes = change,
                                   .count = 1,
                                   .done = order_done,
                                   .context = (void *)(intptr_t)number};
    mp__write_start(manager, request);
}

#endif
