/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the origin `file`: what its files share. Others see origin.h only.
 *
 *   file.c          lifecycle, requests, state
 *   file_walk.c     the folder as it is now: environments, files, what they hold
 *   file_read.c     reading what is new of it
 *   file_keys.c     which keys that makes, what differs from before, committing the difference
 *   file_schema.c   whether what changed may be so
 *   file_watch.c    when to look again: events, the safety look
 *   file_trouble.c  what is wrong, for people
 *
 * A folder has no revisions and no past, so what its files hold is committed to a store of our own
 * (data_dir/files.db, the same as the origin `sqlite` has): that counts the revisions, keeps the
 * history and the last good version of a file, over restarts.
 *
 * Threads: the loop "mp-origin-f" owns everything here; until it runs, the caller of open. It may
 * block on the folder, so nothing else is on it. Others look under `lock` only. */
#ifndef MP_ORIGIN_FILE_H
#define MP_ORIGIN_FILE_H

#include <pthread.h>

#include "core/hash.h"
#include "format/format.h"
#include "origin/sqlite.h"

enum {
    MP__FILE_ENVIRONMENTS_MAX = 1000,
    MP__FILE_FILES_MAX = 10000,
    MP__FILE_TROUBLES_SHOWN = 100,
    MP__FILE_DOUBTS_NAMED = 8192, /* keys that come into doubt, or out of it, by one look */
};

typedef struct mp__file_origin mp__file_origin;

/* A folder of files: one environment. */
typedef struct mp__file_env {
    char *name;
    mp__stat stat;   /* as of the last look; all 0: not seen yet */
    uint64_t device; /* where its files were */
    size_t files;
    uint64_t unsettled_ns;
    bool listed;  /* there, in this look */
    bool settled; /* names were left alone for a while */
    bool missing; /* not there, or empty where something else is mounted: what it gave is kept */
} mp__file_env;

typedef struct mp__file_source {
    char *name; /* below the folder: "production/exchanges.yaml" */
    struct mp__file_group *group;
    struct mp__file_source *next_of_group;
    const mp__format *format;
    mp__stat stat;    /* of what was last looked at */
    bool known;       /* as long as the stat is this one there is nothing new in it */
    uint64_t content; /* checksum of what was last parsed; 0: none */
    uint64_t unsettled_ns;
    bool listed;   /* there, in this look */
    bool in_doubt; /* as of the last look: what it gave may not be what it says now */
    bool fresh;    /* leaves are what it holds now and what nobody compared yet */
    mp__leaves leaves;
    mp__diag *trouble; /* why it was not taken; NULL: it was */
    mp__diag *warning; /* what is wrong with it although it was taken; may be NULL */
} mp__file_source;

/* A key as it is committed, or as it is to be. */
typedef struct mp__held {
    mp_str address;
    uint64_t hash;           /* of value and media type */
    mp__file_source *source; /* NULL: not known, from an earlier run */
    const mp__leaf *leaf;    /* of a fresh source */
    /* As of the last look, and of the one before: it keeps them when it comes from another source,
     * so that who was told of the one hears of the other. */
    bool in_doubt, was_in_doubt;
    uint32_t next_in_doubt; /* index of the first from here on that is; the group's count: none */
} mp__held;

/* Of @held, which is ordered by address: that of @address, or NULL. */
const mp__held *mp__held_find(const mp__held *held, size_t count, mp_str address);

/* What one namespace of one environment holds. */
typedef struct mp__file_group {
    mp__file_origin *origin;
    char *name; /* "production/exchanges" */
    mp__file_env *environment;
    mp__file_source *sources;
    mp__held *held; /* ordered by address */
    size_t count;
    size_t unknown; /* of them those whose source is not known */
    char *bytes;    /* of the addresses */
    bool touched;
    /* as in a source, of keys whose source is not known: when any of it is in doubt, they are */
    bool unknown_in_doubt;
    bool differs; /* something may be in doubt that was not, or no more */
    /* while it is being committed */
    bool under_way;
    bool warned; /* of what its files break, in this look */
    mp__held *wanted;
    size_t wanted_count;
    char *wanted_bytes;
    mp__write write;
    mp__change *changes;
    int status;
    char actor[200];
} mp__file_group;

typedef struct mp__file_trouble {
    mp__diag diag;
    bool is_warning; /* nothing is held back because of it */
    int64_t since_ms;
    size_t keys_kept;
} mp__file_trouble;

typedef struct mp__file_watch {
    char *path;
    uint64_t device, inode;
    mp__dirwatch *watch;
    bool wanted;
} mp__file_watch;

enum mp__file_folder { MP__FOLDER_THERE, MP__FOLDER_GONE, MP__FOLDER_UNREADABLE };

struct mp__file_origin {
    mp__origin base;
    mp__origin_options options; /* its strings are ours */
    mp_env *env;
    char *path, *parent, *store_path, *overlay_base;
    mp__origin *inner;
    mp__loop *loop;
    bool on_thread, opening, closing;

    /* the folder */
    enum mp__file_folder folder;
    char folder_cause[320];
    int64_t gone_since_ms; /* 0: it was not there when we began */
    mp__file_env **envs;
    size_t env_count;
    mp__file_source **sources; /* ordered by name */
    size_t source_count, source_capacity;
    mp__file_group **groups; /* ordered by name */
    size_t group_count, group_capacity;
    size_t key_count;
    _Atomic bool has_doubts; /* some group has; looked at by who would else take the lock */
    bool unsettled;          /* a file was being written to when it was looked at */
    bool distrust;           /* the store was changed by others: compare everything again */

    /* committing */
    _Atomic size_t under_way;
    size_t failed; /* groups whose commit failed in this round */
    mp__task committed_task;
    mp__task *waiting, **last_waiting; /* fetches until it is through */
    uint64_t waiting_since_ns;         /* the first of them */

    /* when to look again */
    mp__timer *timer;
    uint64_t due_ns;  /* 0: not */
    uint64_t look_ns; /* how long the last one took */
    mp__file_watch *watches;
    size_t watch_count, watch_capacity;
    int watch_error;
    mp__task inner_task, look_task, close_task;
    _Atomic bool inner_posted, look_posted;

    /* what the present look has met that is wrong */
    mp__file_trouble *met;
    size_t met_count, met_errors;

    /* what others look at */
    pthread_mutex_t lock; /* over sources, groups, troubles and causes; held
                           * while nothing is asked of the folder */
    mp__file_trouble *troubles;
    size_t trouble_count; /* shown */
    size_t error_count;   /* files and folders in error, all */
    char inner_cause[256];
    char cause[512];
};

extern const mp__origin_ops mp__file_ops;

/* ---- file_walk.c ---- */

/* Look at the folder: what is new, gone or changed, and read it. Troubles are noted as they are
 * met. MP_ENOMEM: look again. */
int mp__file_walk(mp__file_origin *o);
/* Whether anything that could give @address is not as it was at the last look. */
bool mp__file_is_changed(mp__file_origin *o, mp_str address);
mp__file_source *mp__file_source_free(mp__file_source *source);
mp__file_env *mp__file_env_of(mp__file_origin *o, mp_str name, bool make);
mp__file_group *mp__file_group_of(mp__file_origin *o, mp_str name, bool make);
int mp__file_break(mp__file_source *source, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

char *mp__file_path_of(const mp__file_origin *o, const char *name); /* the caller's */
int mp__file_stat_of(const mp__file_origin *o, const char *name, mp__stat *ret_stat);

/* ---- file_read.c ---- */

int mp__file_read_all(mp__file_origin *o);
bool mp__file_same(const mp__stat *a, const mp__stat *b);
/* Whether @stat was left alone for long enough. What never is is taken as it is after a while;
 * *since_ns is when that began, 0: not. */
bool mp__file_is_settled(mp__file_origin *o, const mp__stat *stat, uint64_t *since_ns);

/* ---- file_keys.c ---- */

/* Before the first look: what the store holds from an earlier run. Its workers stand still. */
int mp__file_recall(mp__file_origin *o);
/* Compare what the walk brought with what is held, and commit the difference: at once while
 * opening, else mp__file_committed() follows on the loop. False: there is nothing to commit. */
bool mp__file_commit(mp__file_origin *o);
void mp__file_committed(mp__file_origin *o);
/* What @group is to become, from what its sources hold. */
int mp__file_prepare(mp__file_origin *o, mp__file_group *group);
mp__file_group *mp__file_group_free(mp__file_group *group);
/* Forget sources whose files are gone and whose keys are deleted. */
void mp__file_sweep(mp__file_origin *o);

/* ---- file_schema.c ---- */

/* Have @group, which is prepared, judged: of its sources those that break a rule are not taken.
 * Then *held_back becomes true. */
int mp__file_ask(mp__file_origin *o, mp__file_group *group, bool *held_back);
/* Whether there is a schema that something could break. */
bool mp__file_has_schemas(const mp__file_origin *o);

/* ---- file_watch.c ---- */

void mp__file_schedule(mp__file_origin *o, uint64_t delay_ms);
/* Watch the folders that there are now; true when some were not watched until now. */
bool mp__file_watch_all(mp__file_origin *o);
void mp__file_watch_none(mp__file_origin *o);
uint64_t mp__file_rescan_ms(const mp__file_origin *o);

/* ---- file_trouble.c ---- */

/* Note one for this look; begin, some of them, end: which logs what is new and what was mended. */
void mp__file_troubles_begin(mp__file_origin *o);
void mp__file_trouble_note(mp__file_origin *o, bool is_warning, const mp__diag *diag);
void mp__file_troubles_end(mp__file_origin *o);
void mp__file_describe(mp__origin *origin, mp_str address, mp__buf *json);
/* Let those of @group that are in doubt be found; under the lock. */
void mp__file_doubts_link(mp__file_group *group);
/* After a look: tell of the keys whose files have come to be in error, or are in it no more. */
void mp__file_doubts_tell(mp__file_origin *o);
void mp__file_doubts(mp__origin *origin, mp_str prefix, int (*each)(void *context, mp_str address),
                     void *context);
/* Whether the file that gives @address is in error or gone with its folder. On the loop. */
bool mp__file_in_doubt(mp__file_origin *o, mp_str address);

/* ---- file.c ---- */

void mp__file_look(mp__file_origin *o); /* now; on the loop */
void mp__file_judge(mp__file_origin *o);

#endif
