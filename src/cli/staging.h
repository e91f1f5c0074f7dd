/* SPDX-License-Identifier: Apache-2.0 */
/* Many changes made at once, all or none: sent in parts, then committed. */
#ifndef MP_CLI_STAGING_H
#define MP_CLI_STAGING_H

#include "cli/keyset.h"

enum { MP__STAGING_WORDS = 900 };

/* What of the changes breaks a schema. */
typedef struct mp__told {
    mp_str scope; /* whose readers would see it; "": that which is written to */
    mp_str seen;  /* the same, also where that is written to */
    mp_str where; /* "namespace", "namespace/path" or "namespace/key": of which document */
    mp_str instance, text;
} mp__told;

typedef struct mp__staging {
    const mp__arguments *arguments;
    mp__client *client;
    const char *doing; /* "importing", for the bar */
    size_t total, done;
    mp_str words[MP__STAGING_WORDS + 8]; /* MP.STAGE and what is not sent yet */
    size_t count, bytes, staged;
    char revisions[MP__STAGING_WORDS / 2][24];
    /* The key that is told of, with its place in a file, or NULL. May be NULL. */
    const mp__key *(*find)(const void *context, const mp__told *told);
    const void *find_context;
    const char *refused; /* said behind what breaks schemas, as "nothing was imported"; or NULL */
    bool has_bar;
} mp__staging;

/* @total changes will come; a bar is drawn on a terminal. */
void mp__staging_begin(mp__staging *staging, const mp__arguments *arguments, mp__client *client,
                       const char *doing, size_t total);
/* Each returns 0 or an exit code; keys are borrowed until the next flush. */
int mp__staging_put(mp__staging *staging, const mp__key *key);
/* Put @key only if @instead_of, as the daemon told it, still has its revision; NULL: if there is
 * none. What ends then ends when it would have ended. */
int mp__staging_edit(mp__staging *staging, const mp__key *key, const mp__key *instead_of);
/* Only if it still has its revision. */
int mp__staging_delete(mp__staging *staging, const mp__key *key);
int mp__staging_flush(mp__staging *staging);
/* Commit if @code is 0, else discard; *ret_changed: how many made a new revision. Returns @code or
 * the exit code of what was said; nothing was changed then. */
int mp__staging_end(mp__staging *staging, int code, int64_t *ret_changed);
/* Ask what a commit asks before it looks at the keys (access, schemas, whether the origin takes
 * writes), and discard. Returns as mp__staging_end(). */
int mp__staging_check(mp__staging *staging, int code);

#endif
