/* SPDX-License-Identifier: Apache-2.0 */
/* The folder that `backup` makes and `restore` reads: the files of a data directory, and
 * manifest.json, which comes last and lists each of them with its size and XXH3-64. */
#ifndef MP_CLI_ARCHIVE_H
#define MP_CLI_ARCHIVE_H

#include "core/buf.h"
#include "core/env.h"
#include "core/error.h"

enum { MP__ARCHIVE_FORMAT = 1, MP__ARCHIVE_PATH = 4400, MP__ARCHIVE_FILES_MAX = 1 << 20 };

typedef struct mp__archived {
    char *name; /* "origin.db", "l3/l3-0000000001.seg" */
    uint64_t bytes, sum;
} mp__archived;

typedef struct mp__archive {
    mp__archived *files;
    size_t count, capacity;
    int64_t created_ms;
    char made_by[32];
} mp__archive;

void mp__archive_done(mp__archive *archive);
/* Add a file, or note its new size and sum. MP_ENOMEM, MP_ELIMIT. */
MP_MUST_USE int mp__archive_add(mp__archive *archive, const char *name, uint64_t bytes,
                                uint64_t sum);
const mp__archived *mp__archive_find(const mp__archive *archive, const char *name); /* or NULL */
uint64_t mp__archive_bytes(const mp__archive *archive);                             /* of all */

/* The manifest of @archive as text, and back. Any bytes: MP_ECORRUPT, MP_EVERSION, with a text. */
MP_MUST_USE int mp__archive_print(const mp__archive *archive, mp__buf *out);
MP_MUST_USE int mp__archive_parse(mp_str text, mp__archive *ret_archive, mp__diag *diag);

/* "folder/name" into @path. -ENAMETOOLONG. */
MP_MUST_USE int mp__archive_path(const char *folder, const char *name, char path[MP__ARCHIVE_PATH]);
/* Size and sum of a file. */
MP_MUST_USE int mp__archive_sum(mp_env *env, const char *path, uint64_t *ret_bytes,
                                uint64_t *ret_sum);
/* Copy a file as long as it is now, sync it; size and sum of what was copied. An older copy is
 * replaced. */
MP_MUST_USE int mp__archive_copy(mp_env *env, const char *from, const char *to, uint64_t *ret_bytes,
                                 uint64_t *ret_sum);
/* Remove an archive, or what there is of one: its files, those of l3 in it, and the folder itself
 * if nothing else is in it. What cannot be removed stays. */
void mp__archive_remove(mp_env *env, const char *folder);

#endif
