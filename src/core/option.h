/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: one table from which check-config, --help, docs/configuration.md and the
 * man page are made; YAML in, values out, errors with file:line:column. */
#ifndef MP_CORE_OPTION_H
#define MP_CORE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/error.h"

enum mp__option_type {
    MP__OPTION_BOOL,
    MP__OPTION_INT,      /* int64_t, with low and high */
    MP__OPTION_REAL,     /* double */
    MP__OPTION_BYTES,    /* int64_t; "64MiB", "1GB", plain number */
    MP__OPTION_DURATION, /* int64_t ms; "250ms", "5s", "2m", "1h", "7d"; a plain number is seconds
                          */
    MP__OPTION_STRING,   /* char * */
    MP__OPTION_CHOICE,   /* int64_t index into choices */
    MP__OPTION_LIST,     /* list of strings */
    MP__OPTION_ADDRESS,  /* char *, "host:port" */
};

typedef struct mp__option {
    const char *path; /* "cache.l1_size" */
    enum mp__option_type type;
    const char *standard; /* the default as text; "" for an empty list or string */
    double low, high;     /* of numbers, in the stored unit; both 0: no bounds */
    const char *choices;  /* "people|json" */
    const char *unit;
    bool live;        /* a reload (SIGHUP) applies it */
    const char *help; /* one or two sentences */
} mp__option;

/* The whole table, in the order of the documentation, grouped by the first word. */
extern const mp__option mp__option_table[];
extern const size_t mp__option_count;

typedef struct mp__options mp__options;

/* All at their defaults. MP_ENOMEM. */
MP_MUST_USE int mp__options_new(mp__options **ret_options);
mp__options *mp__options_free(mp__options *options);

/* Read YAML text over what is set. On an error nothing is changed and @diag names the place
 * (unknown keys come with a "did you mean"). @file is for messages. MP_ESYNTAX, MP_EINVAL,
 * MP_ENOMEM. Pure. */
int mp__options_parse(mp__options *options, const char *file, mp_str yaml, mp__diag *diag);

/* Set one by its path, as the command line does. */
int mp__options_set(mp__options *options, const char *path, const char *value, mp__diag *diag);

/* One item of a list; @first empties it before. @text NULL: only that. */
int mp__options_set_item(mp__options *options, const char *path, const char *text, bool first,
                         mp__diag *diag);
MP_MUST_USE int mp__options_copy(const mp__options *from, mp__options **ret_copy);
void mp__options_swap(mp__options *a, mp__options *b);

/* Values; asking for a path or type that the table does not have is a bug (asserted). */
bool mp__options_bool(const mp__options *options, const char *path);
int64_t mp__options_int(const mp__options *options,
                        const char *path); /* INT BYTES DURATION CHOICE */
double mp__options_real(const mp__options *options, const char *path);
const char *mp__options_text(const mp__options *options,
                             const char *path); /* STRING ADDRESS CHOICE */
size_t mp__options_list_count(const mp__options *options, const char *path);
const char *mp__options_list_at(const mp__options *options, const char *path, size_t i);
/* All of a list, to be freed by the caller (not the texts, which live as long as @options), also
 * where there are none; NULL: no memory. */
mp_str *mp__options_list_texts(const mp__options *options, const char *path, size_t *ret_count);
bool mp__options_is_set(const mp__options *options, const char *path); /* not the default */

/* Let @diag name the place in the file where @path was set, of a list that of the row it tells of;
 * leaves it as it is when it was set elsewhere. */
void mp__options_blame(const mp__options *options, const char *path, mp__diag *diag);
/* For the reader of the file. */
void mp__options_place(mp__options *options, const char *path, int line, int column);
/* The same for the last row of a list. */
void mp__options_place_item(mp__options *options, const char *path, int line, int column);
MP_MUST_USE int mp__options_file(mp__options *options, const char *file);

/* Call @each for every option whose value differs between the two. */
void mp__options_diff(const mp__options *a, const mp__options *b,
                      void (*each)(void *context, const mp__option *option), void *context);

/* The value as text, as it could stand in the file. */
int mp__options_print(const mp__options *options, const mp__option *option, mp__buf *out);

/* docs/configuration.md, and the body of marketprism.conf(5). */
int mp__options_markdown(mp__buf *out);
int mp__options_man(mp__buf *out);
/* A commented file with every key at its default. */
int mp__options_example(mp__buf *out);

/* The best of @names for a mistyped @word by edit distance (at most 2 or a third of it), else one
 * of which it is the beginning, or that is its beginning, of 4 characters or more; or NULL. */
const char *mp__did_you_mean(const char *word, const char *const *names, size_t count);

#endif
