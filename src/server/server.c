/* SPDX-License-Identifier: Apache-2.0 */
#include "server/internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/resp/channels.h"

enum {
    KEPT_LEAST = 6, /* descriptors for origin, cache and log */
    KEPT_MOST = 128,
    KEPT_FOR_HTTP = 4,                 /* beyond those, which clients of RESP leave free */
    OUTPUTS_BUDGET = 64 * 1024 * 1024, /* for the unread answers of all clients together */
    SOFT_LEAST = 64 * 1024,
    UNTAKEN_BUDGET = 64 * 1024 * 1024,   /* for answers that lie in memory for one client each */
    UNTAKEN_EACH = 4 * 1024 * 1024,      /* a whole namespace as a file may be more, and is rare */
    INPUTS_BUDGET = 16 * 1024 * 1024,    /* for what they have sent and has to wait */
    GATHERED_BUDGET = 256 * 1024 * 1024, /* for what they have sent of requests not yet whole */
    GATHERED_LEAST = 16 * 1024,          /* which does not count */
    READ_LEAST = 1024,                   /* of one at a time, however much that is */
    READ_ALL = 64 * 1024,
};

/* ---- limits ---- */

static uint64_t ns_of(const mp__options *options, const char *path)
{
    return (uint64_t)mp__options_int(options, path) * 1000000u;
}

/* How many of @all descriptors are for origin, cache and log, which open more as they go on. */
static uint64_t kept_of(uint64_t all)
{
    uint64_t part = all / 10;

    return part < KEPT_LEAST ? KEPT_LEAST : part > KEPT_MOST ? KEPT_MOST : part;
}

/* The hard limit of descriptors is ours to use; what it does not allow lowers the client limits. */
static uint32_t clients_allowed(uint64_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_cur != RLIM_INFINITY) {
            uint64_t kept = kept_of(limit.rlim_cur);
            uint64_t room = limit.rlim_cur > 2 * kept ? limit.rlim_cur - kept : limit.rlim_cur / 2;

            wanted = wanted < room ? wanted : room;
        }
    }
    return (uint32_t)wanted;
}

static void limits_take(mp__server *server, const mp__options *o)
{
    mp__server_limits l = {
        .resp = {.arguments_max = (uint32_t)mp__options_int(o, "resp.arguments_max"),
                 .bulk_max = (uint32_t)mp__options_int(o, "resp.value_max"),
                 .inline_max = (uint32_t)mp__options_int(o, "resp.inline_max")},
        .http = {.line_max = (uint32_t)mp__options_int(o, "http.line_max"),
                 .headers_max = (uint32_t)mp__options_int(o, "http.headers_max"),
                 .body_max = (uint32_t)mp__options_int(o, "http.body_max"),
                 .header_count_max = (uint16_t)mp__options_int(o, "http.header_count_max")},
        .output_hard = (size_t)mp__options_int(o, "resp.output_hard"),
        .output_soft = (size_t)mp__options_int(o, "resp.output_soft"),
        .stalled_ns = ns_of(o, "resp.stalled_write_timeout"),
        .partial_ns = ns_of(o, "resp.partial_timeout"),
        .floor_bps = (uint64_t)mp__options_int(o, "resp.floor_bytes_per_second"),
        .idle_ns = ns_of(o, "resp.idle_timeout"),
        .http_head_ns = ns_of(o, "http.header_timeout"),
        .http_body_ns = ns_of(o, "http.body_timeout"),
        .http_keepalive_ns = ns_of(o, "http.keepalive_timeout"),
        .http_progress_ms = (uint64_t)mp__options_int(o, "http.watch_progress"),
        .resp_clients_max = clients_allowed((uint64_t)mp__options_int(o, "resp.max_clients")),
        .http_clients_max = clients_allowed((uint64_t)mp__options_int(o, "http.max_clients")),
    };

    l.http_cache_max_age_s = mp__options_int(o, "http.cache_max_age") / 1000;
    l.http_cache_control_size = (size_t)snprintf(
        l.http_cache_control, sizeof(l.http_cache_control),
        "Cache-Control: max-age=%" PRId64 ", stale-if-error=%" PRId64 "\r\n",
        l.http_cache_max_age_s, mp__options_int(o, "http.cache_stale_if_error") / 1000);
    (void)snprintf(l.version_reported, sizeof(l.version_reported), "%s",
                   mp__options_text(o, "resp.version_reported"));
    (void)pthread_mutex_lock(&server->limits_lock);
    server->limits = l;
    (void)pthread_mutex_unlock(&server->limits_lock);
    mp__repeats_limit(server->repeats, (size_t)mp__options_int(o, "http.idempotency_bytes"),
                      ns_of(o, "http.idempotency_ttl"));
    (void)atomic_fetch_add(&server->limits_version, 1);
}

static void worker_limits(mp__worker_loop *worker)
{
    (void)pthread_mutex_lock(&worker->server->limits_lock);
    worker->limits = worker->server->limits;
    (void)pthread_mutex_unlock(&worker->server->limits_lock);
}

int mp__server_reload(mp__server *server, const mp__options *options, mp__diag *diag)
{
    (void)diag;
    limits_take(server, options);
    return 0;
}

bool mp__client_leaves_descriptors(const mp__stream *stream, bool is_http)
{
    int descriptor = mp__stream_descriptor(stream);
    struct rlimit limit;

    if (descriptor < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return true;
    return (uint64_t)descriptor + kept_of(limit.rlim_cur) + (is_http ? 0 : KEPT_FOR_HTTP) <
           limit.rlim_cur;
}

bool mp__client_enters(mp__worker_loop *worker, const mp__stream *stream, bool is_http)
{
    mp__server *server = worker->server;
    _Atomic uint32_t *count = is_http ? &server->http_clients : &server->resp_clients;
    uint32_t max = is_http ? worker->limits.http_clients_max : worker->limits.resp_clients_max;

    if (!mp__client_leaves_descriptors(stream, is_http)) {
        mp__log(server->log, MP__LOG_WARN, "server", "client-refused",
                "the process has no descriptors left for it (%s); raise LimitNOFILE or ulimit -n",
                is_http ? "HTTP" : "RESP");
        return false;
    }
    if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max)
        return true;
    mp__client_leaves(count);
    mp__log(server->log, MP__LOG_WARN, "server", "client-refused", "%s allows %" PRIu32,
            is_http ? "http.max_clients" : "resp.max_clients", max);
    return false;
}

void mp__client_leaves(_Atomic uint32_t *count)
{
    (void)atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

/* ---- a worker's turn ---- */

void mp__worker_note_backlog(mp__worker_loop *worker, size_t *noted, size_t queued)
{
    worker->backlog += queued - *noted;
    *noted = queued;
}

/* A share of what is free and not of the whole, so that those who came first leave something:
 * Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches". */
size_t mp__worker_output_soft(const mp__worker_loop *worker)
{
    size_t budget = OUTPUTS_BUDGET / worker->server->worker_count;
    size_t share = worker->backlog < budget ? (budget - worker->backlog) / 8 : 0;
    size_t soft = worker->limits.output_soft < share ? worker->limits.output_soft : share;

    return soft > SOFT_LEAST ? soft : SOFT_LEAST;
}

bool mp__client_takes_nothing(const mp__worker_loop *worker, const mp__stream *stream,
                              uint64_t now_ns, mp__taking *taking)
{
    size_t unsent = mp__stream_unsent(stream);

    if (unsent == 0)
        *taking = (mp__taking){0};
    else if (taking->since_ns == 0 || unsent != taking->unsent)
        *taking = (mp__taking){now_ns, unsent};
    return unsent && now_ns - taking->since_ns > worker->limits.stalled_ns;
}

/* A socket that is read in small pieces keeps what it has left, and who has little to say is
 * answered as before: so none has to be passed over, and woken again. */
void mp__worker_note_input(mp__worker_loop *worker, size_t *noted, size_t waiting)
{
    size_t budget = INPUTS_BUDGET / worker->server->worker_count, share;

    if (*noted == waiting)
        return;
    worker->input += waiting - *noted;
    *noted = waiting;
    share = worker->input < budget ? (budget - worker->input) / 8 : 0;
    if (share < READ_LEAST)
        share = READ_LEAST;
    mp__loop_read_most(worker->loop, share < READ_ALL ? share : 0);
}

bool mp__worker_may_gather(mp__worker_loop *worker, size_t *noted, size_t held)
{
    size_t was = *noted, all;

    *noted = held > GATHERED_LEAST ? held : 0;
    if (*noted == was)
        return true;
    all = atomic_fetch_add_explicit(&worker->server->gathered, *noted - was, memory_order_relaxed) +
          *noted - was;
    return *noted < was || all <= GATHERED_BUDGET;
}

void mp__worker_note_untaken(mp__worker_loop *worker, size_t *noted, size_t held)
{
    size_t was = *noted;

    *noted = held < UNTAKEN_EACH ? held : UNTAKEN_EACH;
    if (*noted != was)
        (void)atomic_fetch_add_explicit(&worker->server->untaken, *noted - was,
                                        memory_order_relaxed);
}

bool mp__worker_has_room(mp__worker_loop *worker)
{
    if (worker->draining ||
        atomic_load_explicit(&worker->server->untaken, memory_order_relaxed) < UNTAKEN_BUDGET)
        return true;
    (void)atomic_fetch_add_explicit(&worker->server->room_wanted, 1, memory_order_relaxed);
    return false;
}

size_t mp__worker_room_wanted(mp__worker_loop *worker)
{
    uint32_t wanted = atomic_load_explicit(&worker->server->room_wanted, memory_order_relaxed);
    bool is_new = wanted != worker->room_wanted;

    worker->room_wanted = wanted;
    return is_new ? UNTAKEN_BUDGET / 2 : 0;
}

bool mp__worker_gathers_much(const mp__worker_loop *worker)
{
    return atomic_load_explicit(&worker->server->gathered, memory_order_relaxed) >
           GATHERED_BUDGET / 4 * 3;
}

bool mp__worker_input_is_full(const mp__worker_loop *worker)
{
    return worker->input >= INPUTS_BUDGET / worker->server->worker_count;
}

void mp__worker_tick(mp__worker_loop *worker)
{
    uint64_t now = mp__loop_now_ns(worker->loop);

    if (now == worker->tick_ns)
        return;
    worker->tick_ns = now;
    worker->wall_ms = mp__env_wall_ms(worker->server->env);
    mp__manager_tick(worker->server->manager, worker->wall_ms, now);
}

static void changes_came(void *context, const mp__event *events, size_t count)
{
    mp__worker_loop *worker = context;

    mp__worker_tick(worker);
    mp__connections_flush(worker); /* who changed it has his reply before others hear of it */
    mp__watch_tell(worker->watch, events, count);
}

mp__watch *mp__worker_watch(mp__worker_loop *worker)
{
    mp__watch_start start;

    if (worker->watch)
        return worker->watch;
    if (mp__watch_new(worker->hash_key, &worker->watch) != 0)
        return NULL;
    if (mp__watch_add(worker->server->manager, worker->loop, changes_came, worker, &start,
                      &worker->watcher) != 0) {
        worker->watch = mp__watch_free(worker->watch);
        return NULL;
    }
    mp__watch_begin(worker->watch, &start);
    return worker->watch;
}

static void turn_ends(void *context)
{
    mp__worker_loop *worker = context;

    mp__connections_flush(worker);
    mp__turn_ends(&worker->turn);
}

static void line_goes_on(void *context)
{
    mp__worker_tick(context);
}

static void scan(void *context)
{
    mp__worker_loop *worker = context;
    uint64_t now = mp__env_now_ns(worker->server->env);

    worker_limits(worker);
    mp__worker_tick(worker);
    if (worker->watch)
        atomic_store_explicit(&worker->watchers, mp__watch_waiters(worker->watch),
                              memory_order_relaxed);
    mp__manager_deadlines(worker->server->manager, worker->loop);
    mp__connections_scan(worker, now);
    mp__refused_scan(worker, now);
    mp__http_scan(worker, now);
    mp__http_watch_scan(worker);
    mp__http_page_scan(worker);
    mp__http_packer_scan(worker);
    if (worker->draining) {
        mp__refused_close_all(worker);
        mp__connections_drain(worker);
        mp__http_drain(worker);
    }
}

/* ---- starting ---- */

static int listen_both(mp__server *server, mp__worker_loop *worker, const char *resp_host,
                       uint16_t *resp_port, const char *http_host, uint16_t *http_port)
{
    int rc = mp__listen(worker->loop, resp_host, resp_port, true, mp__connection_accept, worker,
                        &worker->resp_listener);

    (void)server;
    return rc ? rc
              : mp__listen(worker->loop, http_host, http_port, true, mp__http_accept, worker,
                           &worker->http_listener);
}

static int worker_start(mp__server *server, mp__worker_loop *worker)
{
    char name[16];
    int rc;

    (void)snprintf(name, sizeof(name), "mp-loop-%u", worker->index);
    worker->server = server;
    worker->hash_key = mp__manager_hash_key(server->manager);
    worker->hasher = mp__manager_hasher(server->manager);
    (void)pthread_mutex_init(&worker->list_lock, NULL);
    worker_limits(worker);
    rc = mp__loop_new(server->env, name, &worker->loop);
    if (rc == 0)
        rc = mp__loop_gather(worker->loop, mp__options_bool(server->options, "server.io_uring"));
    if (rc == 0)
        rc = mp__timer_new(worker->loop, scan, worker, &worker->scan);
    if (rc == 0) {
        mp__timer_start(worker->scan, MP__SCAN_MS, MP__SCAN_MS);
        mp__loop_on_turn(worker->loop, turn_ends, worker);
        mp__turn_init(&worker->turn, worker->loop, line_goes_on, worker);
    }
    return rc;
}

/* Whether @path names an address that may be listened at. */
static int read_address(const mp__options *options, const mp__access *access, const char *path,
                        char *host, size_t capacity, uint16_t *ret_port, mp__diag *diag)
{
    int rc = mp__address_parse(mp__options_text(options, path), host, capacity, ret_port, diag);

    if (rc == 0)
        rc = mp__access_listen_check(access, host, diag);
    if (rc && diag)
        mp__options_blame(options, path, diag);
    return rc;
}

int mp__server_check(const mp__options *options, mp__diag *diag)
{
    char host[256];
    uint16_t port;
    int rc = read_address(options, NULL, "resp.listen", host, sizeof(host), &port, diag);

    return rc ? rc : read_address(options, NULL, "http.listen", host, sizeof(host), &port, diag);
}

static int probe(mp_env *env, const char *path, const char *text, const char *host, uint16_t port,
                 mp__diag *diag)
{
    int rc = mp__listen_probe(env, host, port);

    if (rc == -EADDRINUSE)
        return mp__diag_set(diag, rc,
                            "%s: somebody listens on %s already; stop it or choose another "
                            "address",
                            path, text);
    return rc ? mp__diag_set(diag, rc, "%s: cannot listen on %s: %s", path, text, mp_strerror(rc))
              : 0;
}

int mp__server_probe(mp_env *env, const mp__options *options, mp__diag *diag)
{
    static const char *const paths[] = {"resp.listen", "http.listen"};
    char host[256];
    uint16_t port;
    int rc = 0;

    for (size_t i = 0; i < 2 && rc == 0; i++) {
        rc = read_address(options, NULL, paths[i], host, sizeof(host), &port, diag);
        if (rc == 0)
            rc = probe(env, paths[i], mp__options_text(options, paths[i]), host, port, diag);
    }
    return rc;
}

static int check_address(mp__server *server, const char *path, char *host, size_t capacity,
                         uint16_t *ret_port, mp__diag *diag)
{
    int rc = read_address(server->options, mp__manager_access(server->manager), path, host,
                          capacity, ret_port, diag);

    return rc ? rc
              : probe(server->env, path, mp__options_text(server->options, path), host, *ret_port,
                      diag);
}

static void address_text(char *out, size_t capacity, const char *host, uint16_t port)
{
    (void)snprintf(out, capacity, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

static int start_all(mp__server *server, mp__diag *diag)
{
    char resp_host[256], http_host[256];
    uint16_t resp_port, http_port;
    int rc = check_address(server, "resp.listen", resp_host, sizeof(resp_host), &resp_port, diag);

    if (rc == 0)
        rc = check_address(server, "http.listen", http_host, sizeof(http_host), &http_port, diag);
    for (unsigned i = 0; i < server->worker_count && rc == 0; i++) {
        server->workers[i].index = i;
        rc = worker_start(server, &server->workers[i]);
        if (rc == 0)
            rc = listen_both(server, &server->workers[i], resp_host, &resp_port, http_host,
                             &http_port);
    }
    if (rc == 0)
        rc = mp__readiness_new(server, server->workers[0].loop, &server->readiness);
    while (rc == 0 && server->running < server->worker_count) {
        rc = mp__loop_run_on_thread(server->workers[server->running].loop, NULL, NULL);
        server->running += rc == 0;
    }
    if (rc)
        return diag && diag->text[0]
                   ? rc
                   : mp__diag_set(diag, rc, "cannot start the server: %s", mp_strerror(rc));
    address_text(server->resp_address, sizeof(server->resp_address), resp_host, resp_port);
    address_text(server->http_address, sizeof(server->http_address), http_host, http_port);
    server->resp_port = resp_port;
    return 0;
}

int mp__server_start(const mp__server_config *config, mp__server **ret_server, mp__diag *diag)
{
    mp__server *server = mp__calloc(1, sizeof(*server));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int rc;

    if (!server)
        return MP_ENOMEM;
    server->env = config->env;
    server->log = config->log;
    server->manager = config->manager;
    server->monitor = config->monitor;
    server->started_ns = mp__env_now_ns(config->env);
    (void)pthread_mutex_init(&server->limits_lock, NULL);
    (void)pthread_mutex_init(&server->fixed_lock, NULL);
    rc = mp__options_copy(config->options, &server->options);
    if (rc == 0)
        rc =
            mp__worker_new(config->env, "mp-http", mp__worker_run_each, NULL, &server->http_worker);
    if (rc == 0)
        rc = mp__worker_new(config->env, "mp-http-brief", mp__worker_run_each, NULL,
                            &server->http_brief);
    if (rc == 0)
        rc = mp__repeats_new(mp__manager_hash_key(config->manager), &server->repeats);
    if (rc == 0)
        rc = mp__channels_new(mp__manager_hash_key(config->manager), &server->channels);
    if (rc == 0) {
        limits_take(server, server->options);
        server->worker_count = (unsigned)mp__options_int(server->options, "server.workers");
        if (server->worker_count == 0)
            server->worker_count = cores > 0 ? (unsigned)cores : 1;
        server->workers = mp__calloc(server->worker_count, sizeof(*server->workers));
        rc = server->workers ? start_all(server, diag) : MP_ENOMEM;
    }
    if (rc == 0 && server->monitor)
        rc = mp__monitor_add(server->monitor, mp__server_metrics, mp__server_metric_count,
                             mp__server_metric_read, server);
    if (rc) {
        mp__server_stop(server, 0);
        (void)mp__server_free(server);
        return rc;
    }
    *ret_server = server;
    return 0;
}

const char *mp__server_resp_address(const mp__server *server)
{
    return server->resp_address;
}

const char *mp__server_http_address(const mp__server *server)
{
    return server->http_address;
}

/* ---- stopping ---- */

static void worker_stops(mp__task *task)
{
    mp__worker_loop *worker =
        (mp__worker_loop *)((char *)task - offsetof(mp__worker_loop, stop_task));

    worker->resp_listener = mp__listener_free(worker->resp_listener);
    worker->http_listener = mp__listener_free(worker->http_listener);
    worker->draining = true;
    if (worker->index == 0)
        mp__readiness_end(worker->server->readiness);
    mp__connections_drain(worker);
    mp__http_drain(worker);
}

static void worker_cuts(mp__task *task)
{
    mp__worker_loop *worker =
        (mp__worker_loop *)((char *)task - offsetof(mp__worker_loop, cut_task));

    mp__connections_close(worker);
    mp__http_close_all(worker);
    mp__refused_close_all(worker);
}

static void post_all(mp__server *server, bool cut)
{
    assert(server->workers);
    for (unsigned i = 0; i < server->running; i++) {
        mp__worker_loop *worker = &server->workers[i];
        mp__task *task = cut ? &worker->cut_task : &worker->stop_task;

        task->run = cut ? worker_cuts : worker_stops;
        mp__loop_post(worker->loop, task);
    }
}

enum { ANSWERS_MS = 10000 };

static bool has_clients(const mp__server *server)
{
    return atomic_load(&server->resp_clients) + atomic_load(&server->http_clients) != 0;
}

static bool has_due(const mp__server *server)
{
    return has_clients(server) || atomic_load(&server->answers_due) != 0;
}

/* Wait until that is no longer so, at most @grace_ms. */
static void wait_while(bool (*is_so)(const mp__server *server), const mp__server *server,
                       uint64_t grace_ms)
{
    for (uint64_t waited = 0; waited < grace_ms && is_so(server); waited += 10)
        (void)usleep(10000);
}

void mp__server_stop(mp__server *server, uint64_t grace_ms)
{
    if (!server)
        return;
    if (server->monitor)
        mp__monitor_remove(server->monitor, server);
    if (server->running) {
        post_all(server, false);
        wait_while(has_clients, server, grace_ms);
        post_all(server, true);
        /* who asked and went is still answered, on its loop */
        wait_while(has_due, server, ANSWERS_MS);
        for (unsigned i = 0; i < server->running; i++)
            mp__loop_stop(server->workers[i].loop);
    }
    for (unsigned i = 0; server->workers && i < server->worker_count; i++)
        if (server->workers[i].loop)
            mp__loop_join(server->workers[i].loop);
    server->http_worker = mp__worker_free(server->http_worker); /* they post to the loops */
    server->http_brief = mp__worker_free(server->http_brief);
    mp__readiness_stop(server->readiness);
    for (unsigned i = 0; server->workers && i < server->worker_count; i++) {
        mp__worker_loop *worker = &server->workers[i];

        if (!worker->loop)
            continue;
        worker->watcher = mp__watch_remove(worker->watcher);
        worker->watch = mp__watch_free(worker->watch);
        mp__http_watch_done(worker);
        worker->scan = mp__timer_free(worker->scan);
        worker->resp_listener = mp__listener_free(worker->resp_listener);
        worker->http_listener = mp__listener_free(worker->http_listener);
    }
}

mp__server *mp__server_free(mp__server *server)
{
    if (!server)
        return NULL;
    for (unsigned i = 0; server->workers && i < server->worker_count; i++) {
        mp__worker_loop *worker = &server->workers[i];

        if (!worker->loop)
            continue;
        worker->loop = mp__loop_free(worker->loop);
        mp__buf_done(&worker->out);
        mp__tap_done(&worker->tap);
        mp__spare_done(&worker->spare);
        mp__buf_done(&worker->http_late);
        mp__http_packer_free(worker);
        mp__buf_done(&worker->page);
        (void)pthread_mutex_destroy(&worker->list_lock);
    }
    (void)mp__free(server->workers);
    server->readiness = mp__readiness_free(server->readiness);
    server->repeats = mp__repeats_free(server->repeats);
    server->channels = mp__channels_free(server->channels);
    server->options = mp__options_free(server->options);
    mp__buf_done(&server->paths.text);
    mp__buf_done(&server->openapi.text);
    (void)pthread_mutex_destroy(&server->fixed_lock);
    (void)pthread_mutex_destroy(&server->limits_lock);
    return mp__free(server);
}

/* ---- metrics ---- */

const mp__metric mp__server_metrics[] = {
    {"resp_clients", "", "RESP connections.", MP__METRIC_GAUGE, ""},
    {"http_clients", "", "HTTP connections.", MP__METRIC_GAUGE, ""},
    {"watchers", "", "Connections and streams that wait for changes.", MP__METRIC_GAUGE, ""},
    {"watch_coalesced_total", "", "Changes of slow readers that a later one of the key replaced.",
     MP__METRIC_COUNTER, ""},
    {"watch_resets_total", "", "Watchers that were told to read anew.", MP__METRIC_COUNTER, ""},
    {"l1_entries", "", "Entries in memory.", MP__METRIC_GAUGE, ""},
    {"l1_bytes", "bytes", "Bytes of memory that L1 holds, index included.", MP__METRIC_GAUGE, ""},
    {"l1_bytes_limit", "bytes", "The limit of marketprism_l1_bytes.", MP__METRIC_GAUGE, ""},
    {"l1_hits_total", "", "Look-ups found in memory.", MP__METRIC_COUNTER, ""},
    {"l1_misses_total", "", "Look-ups not found in memory.", MP__METRIC_COUNTER, ""},
    {"l1_evictions_total", "", "Entries that left memory for want of room.", MP__METRIC_COUNTER,
     ""},
    {"l1_expired_total", "", "Values that left memory since their own expiry had come.",
     MP__METRIC_COUNTER, ""},
    {"l1_absent_forgotten_total", "",
     "Absent keys forgotten after cache.negative_ttl, since nobody asked for them.",
     MP__METRIC_COUNTER, ""},
    {"l1_absent_bytes", "bytes", "What absent keys take of memory.", MP__METRIC_GAUGE, ""},
    {"l1_timers", "", "Entries in memory to which something comes with time.", MP__METRIC_GAUGE,
     ""},
    {"l1_pinned_entries", "", "Entries that are pinned.", MP__METRIC_GAUGE, ""},
    {"l1_pinned_bytes", "bytes", "What they hold of memory.", MP__METRIC_GAUGE, ""},
    {"l1_pins_left_out_total", "",
     "Entries that should have been pinned and had no room among the pinned.", MP__METRIC_COUNTER,
     ""},
    {"l1_critical_bytes", "bytes", "What entries of the priority critical hold of them.",
     MP__METRIC_GAUGE, ""},
    {"l1_high_bytes", "bytes", "The same of the priority high.", MP__METRIC_GAUGE, ""},
    {"l1_normal_bytes", "bytes", "The same of the priority normal, and what is known to be absent.",
     MP__METRIC_GAUGE, ""},
    {"l1_low_bytes", "bytes", "The same of the priority low.", MP__METRIC_GAUGE, ""},
    {"l1_critical_evictions_total", "",
     "Entries of the priority critical that left for want of "
     "room.",
     MP__METRIC_COUNTER, ""},
    {"l1_high_evictions_total", "", "The same of the priority high.", MP__METRIC_COUNTER, ""},
    {"l1_normal_evictions_total", "", "The same of the priority normal.", MP__METRIC_COUNTER, ""},
    {"l1_low_evictions_total", "", "The same of the priority low.", MP__METRIC_COUNTER, ""},
    {"l2_entries", "", "Entries in compressed memory.", MP__METRIC_GAUGE, ""},
    {"l2_bytes", "bytes", "Bytes of memory that L2 holds, index and dictionaries included.",
     MP__METRIC_GAUGE, ""},
    {"l2_bytes_limit", "bytes", "The limit of marketprism_l2_bytes.", MP__METRIC_GAUGE, ""},
    {"l2_body_bytes", "bytes", "What the entries of L2 would take uncompressed.", MP__METRIC_GAUGE,
     ""},
    {"l2_stored_bytes", "bytes", "What they take compressed.", MP__METRIC_GAUGE, ""},
    {"l2_hits_total", "", "Look-ups found in compressed memory.", MP__METRIC_COUNTER, ""},
    {"l2_misses_total", "", "Look-ups not found in compressed memory.", MP__METRIC_COUNTER, ""},
    {"l2_evictions_total", "", "Entries that left compressed memory for want of room.",
     MP__METRIC_COUNTER, ""},
    {"l2_refused_total", "",
     "Entries that did not enter: seen once while it was nearly full, or "
     "too large.",
     MP__METRIC_COUNTER, ""},
    {"l2_dropped_total", "", "Entries that came faster than they could be compressed.",
     MP__METRIC_COUNTER, ""},
    {"l2_corrupt_total", "", "Entries of compressed memory that failed their checksum.",
     MP__METRIC_COUNTER, ""},
    {"l2_dictionaries", "", "Dictionaries of L2.", MP__METRIC_GAUGE, ""},
    {"l2_dictionary_bytes", "bytes", "Memory that they take.", MP__METRIC_GAUGE, ""},
    {"l2_trainings_total", "", "Dictionaries trained, taken or not.", MP__METRIC_COUNTER, ""},
    {"l3_entries", "", "Entries on disk.", MP__METRIC_GAUGE, ""},
    {"l3_bytes", "bytes", "Bytes on disk.", MP__METRIC_GAUGE, ""},
    {"l3_bytes_limit", "bytes", "The limit of marketprism_l3_bytes.", MP__METRIC_GAUGE, ""},
    {"l3_hits_total", "", "Look-ups found on disk.", MP__METRIC_COUNTER, ""},
    {"l3_misses_total", "", "Look-ups not found on disk.", MP__METRIC_COUNTER, ""},
    {"l3_appends_total", "", "Records written to disk.", MP__METRIC_COUNTER, ""},
    {"l3_forgotten_total", "", "Values that left the disk for want of space.", MP__METRIC_COUNTER,
     ""},
    {"l3_corrupt_total", "", "Records that failed their checksum and were left out.",
     MP__METRIC_COUNTER, ""},
    {"l3_errors_total", "", "Errors of the disk under L3.", MP__METRIC_COUNTER, ""},
    {"l3_dropped_total", "", "Records not written because the queue was full.", MP__METRIC_COUNTER,
     ""},
    {"l3_pending_bytes", "bytes", "Bytes that wait to be written.", MP__METRIC_GAUGE, ""},
    {"l3_expired_total", "", "Values past their own expiry whose room on disk was taken back.",
     MP__METRIC_COUNTER, ""},
    {"l3_not_admitted_total", "", "Fills not kept, since the disk is nearly full of others.",
     MP__METRIC_COUNTER, ""},
    {"l3_healed_total", "", "Values that came again after their record on disk was lost.",
     MP__METRIC_COUNTER, ""},
    {"l3_scrubbed_bytes_total", "bytes", "Bytes on disk read again to find damage.",
     MP__METRIC_COUNTER, ""},
    {"l3_scrub_passes_total", "", "How often all on disk was read again.", MP__METRIC_COUNTER, ""},
    {"l3_scrub_damaged_total", "", "Damaged records that reading again found.", MP__METRIC_COUNTER,
     ""},
    {"l4_up", "", "1 while the shared cache answers.", MP__METRIC_GAUGE, ""},
    {"l4_hits_total", "", "Look-ups found in the shared cache.", MP__METRIC_COUNTER, ""},
    {"l4_misses_total", "", "Look-ups not found in the shared cache.", MP__METRIC_COUNTER, ""},
    {"l4_timeouts_total", "", "Requests that the shared cache did not answer in time.",
     MP__METRIC_COUNTER, ""},
    {"l4_errors_total", "", "Requests that the shared cache could not answer.", MP__METRIC_COUNTER,
     ""},
    {"l4_corrupt_total", "", "Values of the shared cache that failed their checksum.",
     MP__METRIC_COUNTER, ""},
    {"l4_puts_total", "", "Values written to the shared cache.", MP__METRIC_COUNTER, ""},
    {"l4_dropped_total", "", "Values not written to the shared cache, which was away or behind.",
     MP__METRIC_COUNTER, ""},
    {"origin_up", "", "1 while the origin can be asked, and answers.", MP__METRIC_GAUGE, ""},
    {"origin_circuit_open", "",
     "1 while the origin is silent and nobody waits for it, until a probe is answered.",
     MP__METRIC_GAUGE, ""},
    {"origin_circuit_opened_total", "", "How often the origin has become silent.",
     MP__METRIC_COUNTER, ""},
    {"origin_timeouts_total", "", "Questions that the origin did not answer within origin.timeout.",
     MP__METRIC_COUNTER, ""},
    {"origin_circuit_refused_total", "",
     "Reads that did not wait for the origin, since it was silent.", MP__METRIC_COUNTER, ""},
    {"origin_writable", "", "1 while the origin takes writes.", MP__METRIC_GAUGE, ""},
    {"origin_revision", "", "Newest revision of the origin.", MP__METRIC_GAUGE, ""},
    {"origin_keys", "", "Keys in the origin.", MP__METRIC_GAUGE, ""},
    {"ready", "", "1 when reads can be answered.", MP__METRIC_GAUGE, ""},
};
const size_t mp__server_metric_count = sizeof(mp__server_metrics) / sizeof(mp__server_metrics[0]);

static double watchers(mp__server *server)
{
    double count = 0;

    for (unsigned i = 0; i < server->worker_count; i++)
        count += atomic_load_explicit(&server->workers[i].watchers, memory_order_relaxed);
    return count;
}

static void read_all(mp__server *server)
{
    mp_cache_stats c;
    mp__cache_class p[MP__PRIORITIES];
    mp__cache_soundness d;
    mp__cache_timely t;
    mp__cache_pins n;
    mp__shared_stats e = {0};
    mp__summary s;

    mp_cache_stats_read(mp__manager_cache(server->manager), &c);
    mp__cache_classes_read(mp__manager_cache(server->manager), p);
    mp__cache_soundness_read(mp__manager_cache(server->manager), &d);
    mp__cache_pins_read(mp__manager_cache(server->manager), &n);
    mp__cache_timely_read(mp__manager_cache(server->manager), &t);
    (void)mp__manager_shared(server->manager, &e);
    mp__manager_summary(server->manager, &s);
    const double values[] = {
        atomic_load(&server->resp_clients),
        atomic_load(&server->http_clients),
        watchers(server),
        (double)atomic_load(&server->watch_coalesced),
        (double)atomic_load(&server->watch_resets),
        (double)c.l1_entries,
        (double)c.l1_bytes,
        (double)c.l1_bytes_max,
        (double)c.l1_hits,
        (double)c.l1_misses,
        (double)c.l1_evictions,
        (double)t.expired,
        (double)t.absent_forgotten,
        (double)t.absent_bytes,
        (double)t.timers,
        (double)n.entries,
        (double)n.bytes,
        (double)n.left_out,
        (double)p[MP__PRIORITY_CRITICAL].bytes,
        (double)p[MP__PRIORITY_HIGH].bytes,
        (double)p[MP__PRIORITY_NORMAL].bytes,
        (double)p[MP__PRIORITY_LOW].bytes,
        (double)p[MP__PRIORITY_CRITICAL].evictions,
        (double)p[MP__PRIORITY_HIGH].evictions,
        (double)p[MP__PRIORITY_NORMAL].evictions,
        (double)p[MP__PRIORITY_LOW].evictions,
        (double)c.l2_entries,
        (double)c.l2_bytes,
        (double)c.l2_bytes_max,
        (double)c.l2_body_bytes,
        (double)c.l2_stored_bytes,
        (double)c.l2_hits,
        (double)c.l2_misses,
        (double)c.l2_evictions,
        (double)c.l2_refused,
        (double)c.l2_dropped,
        (double)c.l2_corrupt,
        (double)c.l2_dictionaries,
        (double)c.l2_dictionary_bytes,
        (double)c.l2_trainings,
        (double)c.l3_entries,
        (double)c.l3_bytes,
        (double)c.l3_bytes_max,
        (double)c.l3_hits,
        (double)c.l3_misses,
        (double)c.l3_appends,
        (double)c.l3_forgotten,
        (double)c.l3_corrupt,
        (double)c.l3_errors,
        (double)c.l3_dropped,
        (double)c.l3_pending_bytes,
        (double)d.expired,
        (double)d.not_admitted,
        (double)d.healed,
        (double)d.scrubbed_bytes,
        (double)d.passes,
        (double)d.damaged,
        e.up,
        (double)e.hits,
        (double)e.misses,
        (double)e.timeouts,
        (double)e.errors,
        (double)e.corrupt,
        (double)e.puts,
        (double)e.dropped,
        (s.origin == MP__ORIGIN_LIVE || s.origin == MP__ORIGIN_DEGRADED) && !s.silent,
        s.silent,
        (double)s.opened,
        (double)s.late,
        (double)s.refused,
        s.writable,
        (double)s.revision,
        (double)s.keys,
        s.ready,
    };

    _Static_assert(sizeof(values) <= sizeof(server->metrics), "there is room for all");
    memcpy(server->metrics, values, sizeof(values));
}

/* A scrape asks for all, from the first on, under the monitor's lock: they are of one moment. */
double mp__server_metric_read(void *context, size_t index)
{
    mp__server *server = context;

    if (index == 0)
        read_all(server);
    return server->metrics[index];
}
