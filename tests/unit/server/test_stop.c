/* SPDX-License-Identifier: Apache-2.0 */
/* What starting and stopping a server leaves, and what /readyz asks meanwhile: a whole server whose
 * origin keeps lists to itself until the test lets them go, and whose threads may fail to start. */
#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/env_ops.h"
#include "mp_test.h"
#include "origin/sqlite.h"

/* ---- an origin whose lists can be held ---- */

static mp__origin_ops held_ops;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;
static mp__origin *origin_;
static mp__list *held;
static bool holds;

static void list_held(mp__origin *origin, mp__list *list)
{
    bool keeps;

    (void)pthread_mutex_lock(&lock);
    keeps = holds;
    if (keeps) {
        assert_null(held);
        held = list;
        (void)pthread_cond_broadcast(&came);
    }
    (void)pthread_mutex_unlock(&lock);
    if (!keeps)
        mp__sqlite_ops.list(origin, list);
}

static int open_held(const mp__origin_options *options, mp__origin **ret_origin, mp__diag *diag)
{
    int rc = mp__sqlite_ops.open(options, ret_origin, diag);

    if (rc == 0) {
        (*ret_origin)->ops = &held_ops;
        origin_ = *ret_origin;
    }
    return rc;
}

static void hold(bool on)
{
    mp__list *list;

    (void)pthread_mutex_lock(&lock);
    holds = on;
    list = on ? NULL : held;
    held = on ? held : NULL;
    (void)pthread_mutex_unlock(&lock);
    if (list)
        mp__sqlite_ops.list(origin_, list);
}

static void wait_for_held(void)
{
    (void)pthread_mutex_lock(&lock);
    while (!held)
        (void)pthread_cond_wait(&came, &lock);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- a system that counts and refuses ---- */

static mp__env_ops env_ops;
static mp_env env = {&env_ops};
static atomic_uint looks; /* reads of what is kept, by who goes through all of it */
static unsigned threads_left;

static int64_t pread_counted(mp__file *file, void *data, size_t size, uint64_t offset)
{
    char name[16] = "";

    (void)prctl(PR_GET_NAME, name);
    if (strcmp(name, "mp-slow") == 0)
        (void)atomic_fetch_add(&looks, 1);
    return mp__env_real_ops.file_pread(file, data, size, offset);
}

static int run_refused(mp__loop *loop, void (*at_start)(void *context), void *context)
{
    if (threads_left == 0)
        return -EAGAIN;
    threads_left--;
    return mp__env_real_ops.loop_run_on_thread(loop, at_start, context);
}

/* ---- a server ---- */

static char folder[64];
static mp__options *options;
static mp__manager *manager;
static mp__server *server;

static void set(const char *name, const char *value)
{
    assert_int_equal(mp__options_set(options, name, value, NULL), 0);
}

static void open_manager(void)
{
    mp__manager_config config = {
        .env = &env, .options = options, .data_dir = folder, .origin = &held_ops};

    assert_int_equal(mp__manager_open(&config, &manager, NULL), 0);
}

static int start(mp__diag *diag)
{
    mp__server_config serving = {&env, NULL, options, manager, NULL};

    return mp__server_start(&serving, &server, diag);
}

static int set_up(void **state)
{
    static const char *const values[][2] = {
        {"server.workers", "2"},        {"resp.listen", "127.0.0.1:0"},
        {"http.listen", "127.0.0.1:0"}, {"http.ready_namespaces", "kept, never"},
        {"origin.timeout", "5m"},
    };

    (void)state;
    held_ops = mp__sqlite_ops;
    held_ops.open = open_held;
    held_ops.list = list_held;
    env_ops = mp__env_real_ops;
    env_ops.file_pread = pread_counted;
    env_ops.loop_run_on_thread = run_refused;
    threads_left = 1000;
    snprintf(folder, sizeof(folder), "/tmp/mp-stop-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mp__options_new(&options), 0);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        set(values[i][0], values[i][1]);
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    options = mp__options_free(options);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- a client ---- */

static int ask(const char *text)
{
    const char *address = mp__server_http_address(server);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port =
                                 htons((uint16_t)strtoll(strrchr(address, ':') + 1, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

/* All that comes, and the end. */
static void hear(int fd, char *text, size_t capacity)
{
    size_t size = 0;
    ssize_t n;

    while ((n = read(fd, text + size, capacity - 1 - size)) > 0)
        size += (size_t)n;
    assert_int_equal(n, 0);
    text[size] = '\0';
    (void)close(fd);
}

static void probe(void)
{
    char text[2000];

    hear(ask("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), text, sizeof(text));
    assert_non_null(strstr(text, "\"missing\":[\"never\"]"));
}

static void put_kept(void)
{
    char text[2000];

    hear(ask("PUT /v1/config/kept/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
             "Content-Length: 1\r\n\r\n1"),
         text, sizeof(text));
    assert_non_null(strstr(text, "201 Created"));
}

static void end(void)
{
    hold(false);
    mp__server_stop(server, 300000);
    manager = mp__manager_close(manager);
    server = mp__server_free(server);
}

/* ---- the promises ---- */

static void a_server_whose_second_loop_cannot_start_ends(void **state)
{
    mp__diag diag = {0};

    (void)state;
    open_manager();
    threads_left = 1;
    assert_int_equal(start(&diag), -EAGAIN);
    assert_non_null(strstr(diag.text, "cannot start the server"));
    assert_null(server);
    manager = mp__manager_close(manager);
}

static void *stops(void *context)
{
    mp__server_stop(context, 300000);
    return NULL;
}

static void who_waits_for_readiness_is_answered_when_the_server_stops(void **state)
{
    pthread_t stopping;
    char text[2000];
    int fd;

    (void)state;
    open_manager();
    assert_int_equal(start(NULL), 0);
    hold(true);
    fd = ask("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_held();
    assert_int_equal(pthread_create(&stopping, NULL, stops, server), 0);
    hear(fd, text, sizeof(text)); /* else in five minutes */
    assert_non_null(strstr(text, "503 Service Unavailable"));
    assert_non_null(strstr(text, "\"missing\":[\"kept\",\"never\"]"));
    hold(false);
    assert_int_equal(pthread_join(stopping, NULL), 0);
    manager = mp__manager_close(manager);
    server = mp__server_free(server);
}

static void probes_do_not_each_go_through_all_that_is_kept(void **state)
{
    unsigned first;

    (void)state;
    open_manager();
    assert_int_equal(start(NULL), 0);
    put_kept();
    end();
    set("origin.timeout", "100ms");
    open_manager(); /* it knows only what is on disk */
    assert_int_equal(start(NULL), 0);
    hold(true);
    probe(); /* after 100 ms, of what is kept */
    first = atomic_load(&looks);
    assert_true(first > 0);
    set("origin.timeout", "5m");
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    for (int i = 0; i < 20; i++)
        probe();
    assert_int_equal(atomic_load(&looks), first);
    end();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_server_whose_second_loop_cannot_start_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_waits_for_readiness_is_answered_when_the_server_stops,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(probes_do_not_each_go_through_all_that_is_kept, set_up,
                                        tear_down),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    cmocka_set_test_filter(getenv("MP_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
