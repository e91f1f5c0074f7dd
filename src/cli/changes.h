/* SPDX-License-Identifier: Apache-2.0 */
/* Changes as they happen, for the verbs that wait for them. */
#ifndef MP_CLI_CHANGES_H
#define MP_CLI_CHANGES_H

#include "cli/cli.h"

typedef struct mp__changes mp__changes;

/* Listen to changes in the environment of --env; what happens from now on is not missed. NULL: said
 * why, exit code in *ret_code. */
mp__changes *mp__changes_open(const mp__arguments *arguments, int *ret_code);
mp__changes *mp__changes_close(mp__changes *changes); /* accepts NULL, returns NULL */

/* Wait until something changed, and a little longer for what comes with it. False: the daemon is
 * gone; said, exit code in *ret_code. */
bool mp__changes_wait(mp__changes *changes, int *ret_code);

/* The next change, waiting for it. *ret_key is valid until the next call; *ret_deleted: it is gone.
 * False as above. */
bool mp__changes_next(mp__changes *changes, mp_str *ret_key, bool *ret_deleted, int *ret_code);

#endif
