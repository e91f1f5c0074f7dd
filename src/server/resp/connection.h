/* SPDX-License-Identifier: Apache-2.0 */
/* A RESP connection: state, the order of replies, and how commands answer.
 *
 * Commands that are answered at once write into connection_out(). Others take a slot: replies leave
 * in the order of the slots, and what is answered at once behind a waiting slot is kept with it.
 * Commands of one kind (reads or writes) may be under way together, so that a pipeline of writes is
 * one group at the origin; a change of kind waits until what is under way has been answered. */
#ifndef MP_SERVER_RESP_CONNECTION_H
#define MP_SERVER_RESP_CONNECTION_H

#include "server/internal.h"
#include "server/linger.h"
#include "server/resp/subscriptions.h"

typedef struct mp__connection mp__connection;
typedef struct mp__slot mp__slot;
typedef struct mp__telling mp__telling;
typedef struct mp__tell_read mp__tell_read;

enum mp__slot_kind { MP__SLOT_READ, MP__SLOT_WRITE };

struct mp__slot {
    mp__slot *next;
    mp__connection *connection; /* NULL: it has gone; the slot frees itself when answered */
    mp__worker_loop *worker;
    size_t size; /* of its memory, with what stands behind it */
    enum mp__slot_kind kind;
    bool is_gone; /* its connection */
    bool ready;
    bool has_come; /* what it waited for: it stands in c->come to be formatted */
    mp__slot *next_come;
    mp__buf reply, after;
    uint64_t began_ns;
    mp__identity identity; /* who asked: the connection may go, or log in anew, meanwhile */
    /* writes the reply once everything the slot waited for is there */
    void (*format)(mp__slot *slot, mp__buf *out);
    uint32_t waiting, count; /* reads under way; reads in all */
    uint32_t started;        /* of them */
    size_t bytes, bytes_max; /* of values read; with more than that the rest is not; 0: no end */
    int64_t number;          /* formats' own */
    int version;
    bool meta;
    mp__read *reads;
    mp__write_request write;
    mp__query query;
    /* the query has been answered: what else to wait for until mp__slot_ready(); NULL: nothing */
    void (*queried)(mp__slot *slot);
    uint8_t *seen; /* commands_list.c: what is seen of each change, mp__watch_seen */
    void *owned;   /* reads and seen, where they came later than the slot */
    char *memory;  /* bytes that the requests borrow */
    mp_str pattern;
};

/* What CLIENT LIST shows to the loops of other connections: a copy, made under the worker's
 * list_lock a few times a second, before the connection itself asks, and by the commands that
 * change what clients are chosen by: who it is, and whether it subscribes. */
typedef struct mp__shown {
    uint64_t active_ns;
    size_t in_size, in_capacity, queued;
    unsigned database;
    uint32_t subscription_count;
    int version, descriptor;
    char user[sizeof(((mp__identity *)0)->name)], last_command[24];
    char scope[MP__SCOPE_MAX + 1];
} mp__shown;

struct mp__connection {
    mp__connection *next, *previous; /* of the worker */
    mp__connection *next_dirty;
    mp__worker_loop *worker;
    mp__stream *stream;
    uint64_t id;
    mp__resp_parser parser;
    mp__buf in; /* bytes that are not yet commands */
    mp__slot *slots, **last_slot;
    uint32_t slot_count;
    uint32_t queries;            /* of them that ask for lists */
    mp__slot *come, **last_come; /* those that wait for the time to be formatted */
    mp__in_line line;            /* where what it sent, or what came, is more than a slice */
    mp__identity identity;
    int version; /* 2 or 3 */
    unsigned database;
    bool named_environment; /* by MP.ENV, without a number */
    char environment[MP__SCOPE_MAX + 1];
    size_t environment_size;
    enum mp__level level;
    bool strict;
    bool is_dirty, blocked, paused, closing, closed;
    bool is_overworked; /* by its globs: it is to be ended */
    bool lapsed;  /* it read so slowly that changes were left out: it is told so when it reads */
    bool refused; /* it closes with an error, and the client may go on sending */
    mp__linger linger;                        /* that has been sent */
    size_t backlog, input, gathered;          /* of those of the worker */
    uint64_t partial_since_ns, partial_bytes; /* a command has begun; 0: none */
    mp__taking taking;
    uint64_t active_ns, created_ns;
    struct mp__stage *stage; /* changes that wait for MP.STAGE COMMIT; NULL: none */
    mp__subscriptions subscriptions;
    mp__waiter waiter;                   /* hears of what one of them fits */
    mp__telling *telling, *last_telling; /* changes that wait for tell_read, or for their turn */
    mp__tell_read *tell_read;
    size_t telling_bytes;
    /* what matching its globs has taken of the worker's second that began then, in steps */
    uint64_t globs_since_ns;
    size_t globs_spent;
    char last_command[24], peer[64];
    char name[64], library[64], library_version[32]; /* written under list_lock */
    mp__shown shown;
};

/* Make what CLIENT LIST shows of it true. Its own loop. */
void mp__connection_show(mp__connection *c);
/* The same of all of a worker. Its loop. */
void mp__connections_show(mp__worker_loop *worker);
/* Where a reply that is known now goes. */
mp__buf *mp__connection_out(mp__connection *c);
mp_str mp__connection_environment(const mp__connection *c);
/* Read and write in @scope, which is a good one, from now on. */
void mp__connection_use(mp__connection *c, mp_str scope);

/* A slot at the end of the order, with @bytes of memory; NULL (and an error reply) without memory.
 */
mp__slot *mp__slot_new(mp__connection *c, enum mp__slot_kind kind, size_t reads, size_t bytes,
                       void (*format)(mp__slot *slot, mp__buf *out));
/* Everything it waited for is there: let it be formatted when there is time, and go out in its
 * turn. */
void mp__slot_ready(mp__slot *slot);
/* The same, formatted before it returns: what it is formatted from is borrowed only so long. */
void mp__slot_ready_now(mp__slot *slot);
/* Begin its reads, of which at most MP__READS_AT_ONCE wait at a time; the others follow in order.
 * Those answered at once count. */
void mp__slot_reads_start(mp__slot *slot);
void mp__slot_write_start(mp__slot *slot, mp__change *changes, size_t count);
void mp__slot_query_start(mp__slot *slot);
/* What has come of those that stand in line is formatted, for a slice. */
void mp__slots_format(mp__connection *c);
/* The connection goes: what is under way is left to itself, and frees its slots when it is
 * answered. */
void mp__slots_abandon(mp__connection *c);
/* One that is out of its connection's order. */
void mp__slot_free(mp__slot *slot);
/* It has something to send when the loop's turn ends. */
void mp__connection_mark_dirty(mp__connection *c);

/* What was written into mp__connection_out() outside of a command goes out now. */
void mp__connection_push(mp__connection *c);

/* Close when what was answered has been sent. */
void mp__connection_finish(mp__connection *c);
/* The same where the client may be sending the rest of what was refused. */
void mp__connection_refuse(mp__connection *c);

/* commands_stage.c: forget what is staged. */
void mp__stage_clear(mp__connection *c);
/* subscribe.c */
void mp__subscriptions_clear(mp__connection *c);
/* tell.c: what a connection's waiter does */
void mp__tell_changes(mp__waiter *waiter, mp__watch_group *group, unsigned which);
/* The same for who asks who watches. */
void mp__tell_describe(mp__waiter *waiter, mp__buf *json);
/* It goes: its globs take no more of the loop's second. */
void mp__tell_leaves(mp__connection *c);
/* Forget what waits to be told. */
void mp__tell_clear(mp__connection *c);
/* It has read all that it was sent: say what was left out, if anything was. */
void mp__subscriptions_resume(mp__connection *c);

/* ---- commands: commands.c holds the table ---- */

enum mp__command_flags {
    MP__COMMAND_READ = 1,   /* waits while writes are under way */
    MP__COMMAND_WRITE = 2,  /* waits while reads are under way */
    MP__COMMAND_ALONE = 4,  /* waits until nothing is under way */
    MP__COMMAND_PUBSUB = 8, /* allowed to a RESP2 subscriber */
};

typedef struct mp__command {
    const char *name;
    int arity; /* as COMMAND says it: with the name; negative: at least */
    unsigned flags;
    int first_key, last_key, key_step;
    const char *group, *since, *summary;
    void (*run)(mp__connection *c, const mp_str *arguments, uint32_t count);
} mp__command;

extern const mp__command mp__commands[];
extern const size_t mp__command_count;
const mp__command *mp__command_find(mp_str name);
/* Check arity and run. The caller looked at flags. */
void mp__command_run(mp__connection *c, const mp__command *command, const mp_str *arguments,
                     uint32_t count);
void mp__command_unknown(mp__connection *c, const mp_str *arguments, uint32_t count);

/* Replies that many commands have. */
void mp__reply_status(mp__connection *c, mp__buf *out, int status, const char *text);
/* The same for a read that has no answer, which knows more of why. */
void mp__reply_read_error(mp__connection *c, mp__buf *out, const mp__read *read);
void mp__reply_address_error(mp__buf *out, const mp__diag *diag);

#endif
