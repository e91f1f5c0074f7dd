/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files and folders that are named on the command line, read whole. */
#ifndef MP_CLI_FILES_H
#define MP_CLI_FILES_H

#include "cli/keyset.h"
#include "schema/schema.h"

extern const mp__flag mp__format_flag; /* --format */

/* One file's keys and where they go. */
typedef struct mp__source {
    char *environment; /* NULL: the connection's */
    char *namespace_;
    char *path;
    const mp__format *format;
    bool is_blank; /* nothing is in it, as a failed write leaves a file */
    mp__leaves leaves;
} mp__source;

typedef struct mp__sources {
    const mp__arguments *arguments;
    const char *consequence; /* said behind an error: "; nothing was imported" */
    bool go_on;              /* after a file with an error: the next one */
    mp__buf *errors;         /* NULL: errors are said; else they are added to this list of JSON */
    mp__source *items;
    size_t count, capacity, keys, failed;
} mp__sources;

/* Read every file that the words name: a file's namespace is its stem, a folder's folders name
 * environments; --env, --namespace and --format say otherwise. "-" is standard input, whose format
 * --format says, and whose namespace is "default" unless --namespace says another. Errors are said
 * with file, line and column. 0 or an exit code. */
int mp__sources_read(mp__sources *sources);
void mp__sources_done(mp__sources *sources);

enum { MP__CLI_INPUT_MAX = 64 * 1024 * 1024 }; /* bytes of a file that a verb reads whole */

/* What is in the file at @path, a pipe too; "-": in standard input. A NUL stands behind it.
 * MP_ELIMIT: more than @size_max bytes. */
int mp__cli_read_input(const char *path, size_t size_max, char **ret_text, size_t *ret_size);
/* How errors call it. */
const char *mp__cli_input_name(const char *path);

/* Say what is doubtful in a schema that was compiled, such as a keyword that is none. */
void mp__cli_schema_warn(const mp__arguments *arguments, const char *path,
                         const mp__violations *warnings);

/* The format that is named, or NULL: said why, exit code in *ret_code. */
const mp__format *mp__cli_format(const mp__arguments *arguments, const char *name, int *ret_code);
bool mp__cli_is_folder(const char *path);

/* Replace a file as a whole, or leave it as it was; mode and owner stay, a new one has @mode. 0 or
 * -errno. */
int mp__cli_replace_file(const char *path, mp_str text, unsigned mode);

#endif
