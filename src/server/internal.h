/* SPDX-License-Identifier: Apache-2.0 */
/* What the server's files share: the server, its workers, and what both protocols need of a
 * connection. A worker and its connections belong to the worker's loop thread. */
#ifndef MP_SERVER_INTERNAL_H
#define MP_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/alloc.h"
#include "core/address.h"
#include "core/json.h"
#include "protocol/http.h"
#include "protocol/resp.h"
#include "server/http/repeat.h"
#include "server/server.h"
#include "server/spare.h"
#include "server/turn.h"
#include "server/watch.h"

enum {
    MP__GET_BATCH = 32,
    MP__SCAN_MS = 250,
    MP__SERVER_METRICS = 128, /* room for them */
    MP__READS_AT_ONCE = 64,   /* of one request, that wait: the origin has others to answer, too */
};

/* What a reload may change; each worker takes a copy at the beginning of a scan. */
typedef struct mp__server_limits {
    mp__resp_limits resp;
    mp__http_limits http;
    size_t output_hard, output_soft;
    uint64_t stalled_ns, partial_ns, floor_bps, idle_ns;
    uint64_t http_head_ns, http_body_ns, http_keepalive_ns, http_progress_ms;
    uint32_t resp_clients_max, http_clients_max;
    int64_t http_cache_max_age_s;
    char http_cache_control[80]; /* "Cache-Control: ...\r\n" of a value that is fresh */
    size_t http_cache_control_size;
    char version_reported[32];
} mp__server_limits;

struct mp__connection;
struct mp__http_connection;
typedef struct mp__readiness mp__readiness;

/* GETs of one read, gathered so that all keys are hashed and prefetched before the first look-up.
 */
typedef struct mp__get_batch {
    uint32_t count;
    uint16_t sizes[MP__GET_BATCH];
    size_t starts[MP__GET_BATCH]; /* where each began in the bytes at work */
    uint64_t hashes[MP__GET_BATCH];
    char addresses[MP__GET_BATCH][MP__ADDRESS_MAX];
} mp__get_batch;

/* A document that is the same for as long as the process runs: made by who asks first. */
typedef struct mp__fixed {
    mp__buf text;
    uint64_t tag; /* of it */
} mp__fixed;

/* Lists that are walked for HTTP, and those that wait for room: http/collect.c. */
typedef struct mp__walk_line {
    struct mp__walk *first, *last; /* that wait, in the order of their coming */
    uint32_t under_way;            /* whose pages are held in memory */
} mp__walk_line;

typedef struct mp__worker_loop {
    mp__server *server;
    mp__loop *loop;
    unsigned index;
    mp__listener *resp_listener, *http_listener;
    mp__timer *scan;
    mp__hash_key hash_key;
    const mp__hasher *hasher; /* of addresses */
    mp__server_limits limits;
    uint64_t tick_ns; /* of the turn for which the manager was told the time */
    int64_t wall_ms;  /* then */
    mp__buf out;      /* replies of the connection at work, until they are written */
    mp__turn turn;
    mp__get_batch batch;
    mp__spare spare; /* memory of its large RESP commands */
    mp__tap tap;     /* samples of what is read, for the manager */
    size_t
        rewind; /* of the bytes at work: from here on they must be read again; SIZE_MAX: nowhere */
    uint32_t reads; /* commands of all its RESP connections that are under way and read */
    struct mp__connection *connections, *dirty; /* dirty: replies became ready in this turn */
    struct mp__http_connection *http_connections;
    struct mp__refused *refused; /* who was not let in, and still reads why */
    uint32_t refused_count;
    mp__buf http_late;         /* an HTTP answer that comes later, until it is written */
    struct mp__packer *packer; /* which compresses them; NULL where none was of late */
    mp__buf page;              /* the last one of GET / for browsers, */
    uint64_t page_ns;          /* made then */
    int64_t http_date_s;       /* of http_head */
    char http_head[64];        /* "HTTP/1.1 200 OK", Date */
    size_t http_head_size;
    mp__watch *watch;             /* who waits for what; NULL until somebody does */
    mp__watcher *watcher;         /* what tells it */
    _Atomic uint32_t watchers;    /* as of the last scan */
    struct mp__http_wheel *wheel; /* when watchers over HTTP are due: http/watch.c */
    size_t backlog;               /* bytes of unread answers, as of each one's last write */
    size_t input;                 /* bytes that clients sent and that have to wait */
    mp__walk_line walks;
    uint32_t room_wanted;      /* that of the server as of the last scan */
    pthread_mutex_t list_lock; /* over what CLIENT LIST of other loops reads */
    bool draining;
    mp__task stop_task, cut_task;
    uint64_t looking_since_ns; /* the second in which PUBSUB CHANNELS took @looking_ns */
    uint64_t looking_ns;
    /* what matching the globs of all its connections has taken of the second that began then, in
     * steps, and of how many connections: resp/tell.c */
    uint64_t globs_since_ns;
    size_t globs_spent;
    uint32_t globs_clients;
} mp__worker_loop;

struct mp__server {
    mp_env *env;
    mp__log_sink *log;
    mp__manager *manager;
    mp__monitor *monitor;
    mp__options *options; /* a copy */
    mp__worker_loop *workers;
    struct mp__repeats *repeats;
    mp__readiness *readiness;
    struct mp__channels *channels; /* what is subscribed to over RESP */
    pthread_mutex_t fixed_lock;
    mp__fixed paths, openapi;
    double metrics[MP__SERVER_METRICS]; /* as of the scrape at work */
    mp__worker *http_worker;            /* parses and prints what would hold up a loop, */
    mp__worker *http_brief;             /* where that is short and may not wait for the long */
    unsigned worker_count, running;     /* the first @running workers have a thread */
    _Atomic uint64_t next_id;
    _Atomic uint32_t resp_clients, http_clients;
    _Atomic uint32_t answers_due; /* to clients that have gone: what asked for them still lives */
    _Atomic uint64_t commands;
    _Atomic size_t staged_bytes;  /* by MP.STAGE, of all connections */
    _Atomic size_t gathered;      /* of requests that are not whole */
    _Atomic uint32_t room_wanted; /* counts who found no room for a large answer */
    _Atomic size_t untaken;       /* of answers that lie in memory for one client each; HTTP's */
    _Atomic uint64_t watch_coalesced, watch_resets; /* of slow readers */
    pthread_mutex_t limits_lock;
    mp__server_limits limits;
    _Atomic uint32_t limits_version;
    uint64_t started_ns;
    char resp_address[300], http_address[300];
    uint16_t resp_port;
};

/* Address number @i of the batch, of @size bytes, is there. Returns its hash. */
static inline uint64_t mp__batch_addressed(mp__worker_loop *worker, uint32_t i, size_t size)
{
    mp__get_batch *batch = &worker->batch;

    batch->sizes[i] = (uint16_t)size;
    batch->hashes[i] = mp__cache_hash(worker->hasher, mp_str_new(batch->addresses[i], size));
    return batch->hashes[i];
}

/* Tell the manager the time once a turn. */
void mp__worker_tick(mp__worker_loop *worker);
/* Note that @queued bytes wait for a client to read them, of which *noted were known. */
void mp__worker_note_backlog(mp__worker_loop *worker, size_t *noted, size_t queued);
/* Note that @waiting bytes of a connection's input have to wait, of which *noted were known: the
 * more there are of all, the less is read of one at a time. */
void mp__worker_note_input(mp__worker_loop *worker, size_t *noted, size_t waiting);
/* Note that a connection holds @held bytes of a request that is not whole, of which *noted were
 * known. False: it is more than before, and of all connections together too much. */
bool mp__worker_may_gather(mp__worker_loop *worker, size_t *noted, size_t held);
/* Whether it will soon be: who is slow then keeps others from it. */
bool mp__worker_gathers_much(const mp__worker_loop *worker);
/* Whether there is no room for more of it: then who can wait is not read at all. */
bool mp__worker_input_is_full(const mp__worker_loop *worker);
/* How much a client may leave unread before its next request waits: less, the less is left of the
 * memory for the unread answers of all clients together. */
size_t mp__worker_output_soft(const mp__worker_loop *worker);
/* Note that @held bytes of an answer lie in memory for one client alone until it takes them, of
 * which *noted were known; of each as much as an ordinary answer has. */
void mp__worker_note_untaken(mp__worker_loop *worker, size_t *noted, size_t held);
/* Whether there is room for one more large answer. False: that is noted, and at the next scan of
 * each worker those of its clients who take theirs slowly give theirs back: */
bool mp__worker_has_room(mp__worker_loop *worker);
/* How many bytes of it, once; 0: nobody found no room since. */
size_t mp__worker_room_wanted(mp__worker_loop *worker);
/* Whether for too long a client has taken nothing of what waits for it, by a look now and then;
 * @taking is the client's. */
typedef struct mp__taking {
    uint64_t since_ns; /* when it was seen to take something last; 0: nothing waits */
    size_t unsent;     /* then */
} mp__taking;
bool mp__client_takes_nothing(const mp__worker_loop *worker, const mp__stream *stream,
                              uint64_t now_ns, mp__taking *taking);
/* The worker's watch, which hears of changes from the first call on; NULL without memory. */
mp__watch *mp__worker_watch(mp__worker_loop *worker);

/* ---- RESP connections: connection.c, clients.c ---- */
void mp__connection_accept(void *worker, mp__stream *stream);
void mp__connections_scan(mp__worker_loop *worker, uint64_t now_ns);
void mp__connections_flush(mp__worker_loop *worker); /* at the end of a turn */
void mp__connections_drain(mp__worker_loop *worker); /* close those that have nothing under way */
void mp__connections_close(mp__worker_loop *worker);
/* End the connection @id, wherever it is; posted to its worker. False: nobody has it. */
bool mp__connection_kill(mp__server *server, uint64_t id);
/* "id=1 addr=... \n" for each, as CLIENT LIST. */
void mp__connections_list(mp__server *server, mp__buf *out);

/* ---- HTTP: http/ ---- */
void mp__http_accept(void *worker, mp__stream *stream);
void mp__http_scan(mp__worker_loop *worker, uint64_t now_ns);
void mp__http_page_scan(mp__worker_loop *worker); /* once a scan, as: */
void mp__http_packer_scan(mp__worker_loop *worker);
void mp__http_packer_free(mp__worker_loop *worker);
void mp__http_drain(mp__worker_loop *worker);
void mp__http_close_all(mp__worker_loop *worker);
void mp__http_watch_scan(mp__worker_loop *worker);  /* once a scan */
void mp__http_walks_go_on(mp__worker_loop *worker); /* lists that wait, if there is room now */
void mp__http_walks_scan(mp__worker_loop *worker);  /* once a scan: who waited too long is told */
void mp__http_watch_done(mp__worker_loop *worker);  /* after mp__http_close_all() */
/* What /readyz knows of http.ready_namespaces, at home on @loop: http/ready.c. */
MP_MUST_USE int mp__readiness_new(mp__server *server, mp__loop *loop,
                                  mp__readiness **ret_readiness);
/* The server stops: who waits is answered now, who comes at once. On its loop. */
void mp__readiness_end(mp__readiness *readiness);
void mp__readiness_stop(mp__readiness *readiness); /* the loop has been joined; accepts NULL */
/* The manager has been closed: it posts no answers any more. Accepts NULL, returns NULL. */
mp__readiness *mp__readiness_free(mp__readiness *readiness);

/* Whether there is room for a client more, by the limit and by the descriptors that are left; logs
 * why not. The count goes down with mp__client_leaves. */
bool mp__client_enters(mp__worker_loop *worker, const mp__stream *stream, bool is_http);
/* Whether @stream leaves the daemon the descriptors that it needs itself, and one of RESP some to
 * HTTP, where people look what is the matter. */
bool mp__client_leaves_descriptors(const mp__stream *stream, bool is_http);
/* Say @text to who was not let in, count it, and close: refused.c, as are: */
void mp__client_refuse(mp__worker_loop *worker, mp__stream *stream, mp_str text);
void mp__refused_scan(mp__worker_loop *worker, uint64_t now_ns);
void mp__refused_close_all(mp__worker_loop *worker);
void mp__client_leaves(_Atomic uint32_t *count);

double mp__server_metric_read(void *server, size_t index);

#endif
