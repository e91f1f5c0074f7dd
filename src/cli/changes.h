/* SPDX-License-Identifier: Apache-2.0 */
/* Changes as they happen, for the verbs that wait for them.
 *
 *    where it stands -> MP.WATCH, which gathers what comes -> MP.CHANGES: what was missed, page by
 *          ^              page -> what has come, but for what a page had already
 *          |                                             |
 *          +---- the connection breaks: try again -------+
 *
 * So that none is lost or told twice, whatever happens to the connection or to the daemon. */
#ifndef MP_CLI_CHANGES_H
#define MP_CLI_CHANGES_H

#include "cli/cli.h"

typedef struct mp__changes mp__changes;

typedef struct mp__noticed {
    mp_str key; /* "": anything may have changed. Valid until the next call */
    bool deleted;
    int64_t revision;
} mp__noticed;

/* Listen to changes in the scope of the arguments; what happens from now on is not missed. With
 * @by_words to those of keys that begin with one of the words of the arguments, where there are
 * any; more may be told. NULL: said why, exit code in *ret_code. */
mp__changes *mp__changes_open(const mp__arguments *arguments, bool by_words, int *ret_code);
/* The same by words, from the position @from on (NULL: now), over broken connections: they are
 * said, and made anew until that is possible. */
mp__changes *mp__changes_follow(const mp__arguments *arguments, const char *from, int *ret_code);
mp__changes *mp__changes_close(mp__changes *changes); /* accepts NULL, returns NULL */

/* Wait until something changed, and a little longer for what comes with it. False: the daemon is
 * gone; said, exit code in *ret_code. Not of one that follows. */
bool mp__changes_wait(mp__changes *changes, int *ret_code);

/* Where the data are now, as a revision; one that follows goes on behind it. 0 or the exit code of
 * what was said. */
int mp__changes_here(mp__changes *changes, int64_t *ret_revision);

/* The next change, waiting for it. False as above. */
bool mp__changes_next(mp__changes *changes, mp__noticed *ret_change, int *ret_code);

/* Ask the daemon that is listened to, on a connection beside; as mp__cli_call(). One that follows
 * asks again until there is an answer. */
mp__reply *mp__changes_ask(mp__changes *changes, int *ret_code, const mp_str *words, size_t count);

/* The value that @change brought: a list of one map with revision, value and media_type. Of one
 * that follows. NULL with *ret_code 0: the history has none. */
mp__reply *mp__changes_value(mp__changes *changes, const mp__noticed *change, int *ret_code);

/* Of one that follows: "EPOCH-REVISION", where the change given last stands. */
mp_str mp__changes_position(const mp__changes *changes);

#endif
