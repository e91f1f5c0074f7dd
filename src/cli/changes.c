/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/changes.h"

#include "core/alloc.h"

enum {
    QUIET_MS = 100,      /* what belongs together comes within this time of each other */
    TOGETHER_MAX = 1000, /* but nothing waits longer than about QUIET_MS times this */
    SILENCE_MS = 15000,  /* so long nothing may come before the daemon is asked whether it lives */
};

struct mp__changes {
    const mp__arguments *arguments;
    mp__client *client;
    mp__reply *reply; /* the one given last, whose texts were lent */
};

mp__changes *mp__changes_open(const mp__arguments *arguments, int *ret_code)
{
    mp__changes *changes = mp__calloc(1, sizeof(*changes));
    mp__reply *reply = NULL;

    if (!changes) {
        *ret_code = mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
        return NULL;
    }
    changes->arguments = arguments;
    changes->client = mp__cli_connect(arguments, ret_code);
    if (changes->client)
        reply =
            mp__cli_call(arguments, changes->client, ret_code, (mp_str[]){MP_STR("MP.WATCH")}, 1);
    if (!reply)
        return mp__changes_close(changes);
    (void)mp__reply_free(reply);
    return changes;
}

mp__changes *mp__changes_close(mp__changes *changes)
{
    if (changes) {
        (void)mp__reply_free(changes->reply);
        (void)mp__client_close(changes->client);
        (void)mp__free(changes);
    }
    return NULL;
}

/* One message, or 0 bytes of it: 1 a change, 0 none within @wait_ms, else an error. */
static int read_one(mp__changes *changes, uint64_t wait_ms, mp__diag *diag)
{
    int rc;

    changes->reply = mp__reply_free(changes->reply);
    mp__client_set_timeout(changes->client, wait_ms);
    rc = mp__client_read(changes->client, &changes->reply, diag);
    if (rc == MP_ETIMEOUT)
        return 0;
    if (rc)
        return rc;
    return changes->reply->count == 4 &&
           mp_str_equal(mp__reply_text(&changes->reply->items[0]), MP_STR("change"));
}

/* The same, however long it takes; who is silent for long is asked whether he lives. */
static int read_change(mp__changes *changes, mp__diag *diag)
{
    for (;;) {
        int rc = read_one(changes, SILENCE_MS, diag);

        if (rc)
            return rc;
        if (changes->reply)
            continue; /* not about a change: the answer to a PING */
        rc = mp__client_send(changes->client, (mp_str[]){MP_STR("PING")}, 1);
        if (rc == 0)
            rc = read_one(changes, SILENCE_MS, diag);
        if (rc)
            return rc;
        if (!changes->reply)
            return mp__diag_set(diag, MP_ETIMEOUT, "the daemon does not answer any more");
    }
}

bool mp__changes_next(mp__changes *changes, mp_str *ret_key, bool *ret_deleted, int *ret_code)
{
    mp__diag diag = {0};
    int rc = read_change(changes, &diag);
    mp_str event;

    if (rc < 0) {
        *ret_code = mp__cli_fail(changes->arguments, MP__EXIT_ERROR, "%s",
                                 diag.text[0] ? diag.text : mp_strerror(rc));
        return false;
    }
    event = mp__reply_text(&changes->reply->items[2]);
    *ret_key = mp__reply_text(&changes->reply->items[1]);
    *ret_deleted = mp_str_equal(event, MP_STR("del")) || mp_str_equal(event, MP_STR("expired"));
    return true;
}

bool mp__changes_wait(mp__changes *changes, int *ret_code)
{
    mp__diag diag = {0};
    mp_str key;
    bool deleted;

    if (!mp__changes_next(changes, &key, &deleted, ret_code))
        return false;
    for (int i = 0; i < TOGETHER_MAX; i++)
        if (read_one(changes, QUIET_MS, &diag) != 1)
            break; /* an error comes again with the next wait */
    return true;
}
