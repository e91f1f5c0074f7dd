/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one table of verbs, from which help, completion and man pages are made. */
#ifndef MP_CLI_CLI_H
#define MP_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "client/client.h"
#include "core/buf.h"
#include "core/error.h"

/* Exit codes of every verb. */
enum mp__exit {
    MP__EXIT_FOUND = 0,
    MP__EXIT_ERROR = 1,
    MP__EXIT_USAGE = 2,
    MP__EXIT_ABSENT = 3,
    MP__EXIT_UNKNOWN = 4,
    MP__EXIT_DEGRADED = 5 /* of status --check alone */
};

typedef struct mp__flag {
    const char *name;       /* "--data-dir" */
    const char *short_name; /* "-d" or NULL */
    const char *value;      /* "DIR", or NULL when it takes none */
    const char *help;
} mp__flag;

/* What was said: flags by the index of the verb's table, then words. */
typedef struct mp__arguments {
    const char *verb;
    const char **values; /* a flag's value; "" when it is given and takes none; NULL: not given */
    const mp__flag *flags;
    int flag_count;
    char **words;
    int word_count;
    int words_ahead; /* of them before a "--" */
    char **sets;     /* every --set or --trace in order */
    int set_count;
} mp__arguments;

typedef struct mp__verb {
    const char *name, *synopsis, *summary;
    const char *details;         /* further paragraphs of its help, or "" */
    const mp__flag *flags;       /* ended by a NULL name; the common ones come besides */
    int words_least, words_most; /* -1: any number */
    int (*run)(const mp__arguments *arguments);
    bool is_client; /* takes --resp, --env, --json */
} mp__verb;

extern const mp__verb mp__verbs[];
extern const size_t mp__verb_count;
const mp__verb *mp__verb_find(const char *name); /* or NULL */
/* What every verb that speaks to a daemon takes; ended by a NULL name. */
extern const mp__flag mp__client_flags[];

int mp__cli_main(int argc, char **argv);

/* ---- for the verbs ---- */

const char *mp__flag_value(const mp__arguments *arguments, const char *name); /* or NULL */
static inline bool mp__flag_given(const mp__arguments *arguments, const char *name)
{
    return mp__flag_value(arguments, name) != NULL;
}

/* "marketprism get: text" on stderr, in colour on a terminal. Returns @code. */
int mp__cli_fail(const mp__arguments *arguments, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool mp__cli_colour(int fd);
/* From here on nothing that is printed to a terminal moves it (terminal.c); before any thread. At
 * the end: 0, or EOF as fflush(stdout). */
void mp__terminal_begin(void);
int mp__terminal_end(void);
/* But for what a verb itself says to it: a colour, the return to the beginning of the line. To
 * stdout or stderr; any thread. */
void mp__cli_own(FILE *to, const char *sequence);

/* A client of --resp or MARKETPRISM_ADDR, in the scope of --env, --region and --instance; NULL:
 * said why, exit code in *ret_code. */
mp__client *mp__cli_connect(const mp__arguments *arguments, int *ret_code);
/* Whether somebody listens there; says nothing. */
bool mp__cli_is_there(const mp__arguments *arguments);
/* Call with C strings (NULL-ended); NULL reply: said why. An error answer is said, too, and ends in
 * its exit code. */
mp__reply *mp__cli_call(const mp__arguments *arguments, mp__client *client, int *ret_code,
                        const mp_str *words, size_t count);
/* @reply, or NULL when it was an error answer, which is said and freed. */
mp__reply *mp__cli_take(const mp__arguments *arguments, mp__reply *reply, int *ret_code);
/* The member @name of a map reply (RESP2: an array of pairs), or NULL. */
const mp__reply *mp__reply_member(const mp__reply *map, const char *name);
mp_str mp__reply_text(const mp__reply *reply);     /* "" for other types */
int64_t mp__reply_integer(const mp__reply *reply); /* 0 for other types */

/* What the flag @name was given, where that must be one of @choices: 0 also when it was not given;
 * else a usage error, said with what was meant. */
int mp__cli_choice(const mp__arguments *arguments, const char *name, const char *const *choices,
                   size_t count);
/* A whole number from @least on, of a word or a flag that is called @name; else a usage error. */
int mp__cli_number(const mp__arguments *arguments, const char *name, const char *text,
                   uint64_t least, uint64_t *ret_number);

/* "ns/key" or "key", with --namespace before it. */
mp_str mp__cli_key(const mp__arguments *arguments, const char *word, mp__buf *out);
/* Keys of the namespace "default" are shown without it, so a prefix without a slash means them and
 * the namespaces that begin so: false, or the prefix of the former in @out, which was empty. */
bool mp__cli_in_default(mp_str prefix, mp__buf *out);

/* Call @each for every key that begins with @prefix ("namespace/key-prefix"), in order; its record
 * is borrowed. All of one revision, also where it takes several pages. Of what a reader of the
 * scope gets; of the layer alone where the verb is about a layer (ls, export, diff, import, edit)
 * and has no --effective. A nonzero answer ends it and is given back; else 0, or the exit code of
 * what was said. */
typedef struct mp__listed {
    mp_str key, value, media_type; /* value: empty unless asked for */
    mp_str layer;                  /* that has it; "" unless the list is effective */
    int64_t revision, modified_ms;
    int64_t expires_ms; /* 0: it stays */
} mp__listed;
int mp__cli_each(const mp__arguments *arguments, mp__client *client, mp_str prefix,
                 bool with_values, int (*each)(void *context, const mp__listed *listed),
                 void *context);

/* The same with values, as of @revision (0: as it is). */
int mp__cli_each_at(const mp__arguments *arguments, mp__client *client, mp_str prefix,
                    int64_t revision, int (*each)(void *context, const mp__listed *listed),
                    void *context);

int64_t mp__cli_now_ms(void);
void mp__cli_wait_ms(unsigned ms); /* sleeps; less when a signal comes */
/* A value as a member of a JSON object, in one line: itself where its media type says that it is
 * JSON and it is; else a string, or "NAME_base64" where its bytes are no UTF-8. What says that it
 * is JSON and is none has "NAME_trouble" beside it. @name of at most 48 bytes. */
void mp__cli_add_value(mp__buf *json, const char *name, mp_str value, mp_str media_type);

/* Ask with @words, @count of them, a command that is answered with JSON, and print that: as it is
 * with --json, else by @people. The exit code is what @code_of makes of it; NULL: 0. */
struct json_t;
int mp__cli_ask_json(const mp__arguments *arguments, const mp_str *words, size_t count,
                     void (*people)(const struct json_t *root),
                     int (*code_of)(const struct json_t *root));

/* "2 h ago", "13 ms" for people. */
const char *mp__cli_ago(int64_t ms, char *text, size_t capacity);
int mp__cli_put(mp_str text);               /* to stdout; 0 or MP__EXIT_ERROR */
int mp__cli_write_all(int fd, mp_str text); /* 0 or -errno */
/* The same for people, of what others chose: as a JSON string where it has controls, which would
 * move a terminal's cursor, or bytes that are no UTF-8. */
void mp__cli_put_shown(mp_str text);
/* A name or value of a list: shown on a terminal, else as it is, for scripts. */
void mp__cli_put_listed(mp_str text);

/* The options of --config, --data-dir, --resp, --http, --log-level and each --set: file first,
 * command line over it. */
struct mp__options;
int mp__cli_options(const mp__arguments *arguments, struct mp__options **ret_options,
                    mp__diag *diag);

/* The verbs, by file. */
int mp__verb_serve(const mp__arguments *arguments);
int mp__verb_get(const mp__arguments *arguments);
int mp__verb_set(const mp__arguments *arguments);
int mp__verb_del(const mp__arguments *arguments);
int mp__verb_ls(const mp__arguments *arguments);
int mp__verb_history(const mp__arguments *arguments);
int mp__verb_rollback(const mp__arguments *arguments);
int mp__verb_explain(const mp__arguments *arguments);
int mp__verb_pin(const mp__arguments *arguments);
int mp__verb_unpin(const mp__arguments *arguments);
int mp__verb_pins(const mp__arguments *arguments);
int mp__verb_preload(const mp__arguments *arguments);
int mp__verb_consumers(const mp__arguments *arguments);
int mp__verb_schema(const mp__arguments *arguments);
int mp__verb_status(const mp__arguments *arguments);
int mp__verb_import(const mp__arguments *arguments);
int mp__verb_check_config(const mp__arguments *arguments);
int mp__verb_version(const mp__arguments *arguments);
int mp__verb_help(const mp__arguments *arguments);
int mp__verb_bench(const mp__arguments *arguments);
int mp__verb_policies(const mp__arguments *arguments);
int mp__verb_metrics(const mp__arguments *arguments);
int mp__verb_replay(const mp__arguments *arguments);
int mp__verb_watch(const mp__arguments *arguments);
int mp__verb_render(const mp__arguments *arguments);
int mp__verb_exec(const mp__arguments *arguments);
int mp__verb_doctor(const mp__arguments *arguments);
int mp__verb_backup(const mp__arguments *arguments);
int mp__verb_restore(const mp__arguments *arguments);
int mp__verb_completions(const mp__arguments *arguments);
int mp__verb_export(const mp__arguments *arguments);
int mp__verb_diff(const mp__arguments *arguments);
int mp__verb_edit(const mp__arguments *arguments);
int mp__verb_validate(const mp__arguments *arguments);

extern const mp__flag mp__backup_flags[], mp__restore_flags[];
extern const mp__flag mp__doctor_flags[], mp__serve_flags[], mp__get_flags[], mp__set_flags[],
    mp__status_flags[], mp__ls_flags[], mp__del_flags[], mp__schema_flags[], mp__history_flags[],
    mp__import_flags[], mp__watch_flags[], mp__replay_flags[], mp__render_flags[], mp__exec_flags[],
    mp__export_flags[], mp__diff_flags[], mp__edit_flags[], mp__validate_flags[],
    mp__consumers_flags[], mp__preload_flags[], mp__no_flags[], mp__bench_flags[],
    mp__json_flags[]; /* of a verb that takes only --json */

#endif
