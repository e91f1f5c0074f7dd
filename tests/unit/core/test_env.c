/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/core.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/mp-env-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static const char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* Waiting takes none of it, work does, and the clock goes on in both. */
static void cpu_time_is_of_what_the_process_did(void **state)
{
    mp_env *env = mp__env_real();
    uint64_t began = mp__env_now_ns(env), had = mp__env_cpu_ns(env), waited;

    (void)state;
    (void)usleep(50000);
    waited = mp__env_cpu_ns(env) - had;
    assert_true(mp__env_now_ns(env) - began >= 50000000);
    assert_true(waited < 25000000);
    while (mp__env_cpu_ns(env) - had < waited + 5000000)
        ;
    assert_true(mp__env_now_ns(env) - began >= 55000000);
}

static void files_are_read_back_as_written(void **state)
{
    mp_env *env = mp__env_real();
    mp__file *file;
    char bytes[16];
    mp__stat stat;

    (void)state;
    assert_int_equal(mp__file_open(env, in_folder("a"), MP__OPEN_WRITE, &file), -ENOENT);
    assert_int_equal(mp__file_open(env, in_folder("a"), MP__OPEN_WRITE | MP__OPEN_CREATE, &file),
                     0);
    assert_int_equal(mp__file_pwrite(file, "hello", 5, 3), 0);
    assert_int_equal(mp__file_sync(file), 0);
    assert_int_equal(mp__file_pread(file, bytes, 16, 0), 8);
    assert_memory_equal(bytes, "\0\0\0hello", 8);
    assert_int_equal(mp__file_truncate(file, 4), 0);
    assert_int_equal(mp__file_stat(file, &stat), 0);
    assert_int_equal(stat.size, 4);
    mp__file_close(file);
}

static void what_goes_past_the_cache_is_read_through_it(void **state)
{
    mp_env *env = mp__env_real();
    char *block = mp__aligned_alloc(MP__DIRECT_BLOCK, MP__DIRECT_BLOCK), bytes[8];
    mp__file *cached, *direct;
    int rc;

    (void)state;
    assert_non_null(block);
    memset(block, 'd', MP__DIRECT_BLOCK);
    assert_int_equal(
        mp__file_open(env, in_folder("direct"), MP__OPEN_WRITE | MP__OPEN_CREATE, &cached), 0);
    assert_int_equal(mp__file_pwrite(cached, "cached", 6, MP__DIRECT_BLOCK), 0);
    assert_int_equal(mp__file_pread(cached, bytes, 1, 0), 1);
    assert_int_equal(bytes[0], 0);
    rc = mp__file_open(env, in_folder("direct"), MP__OPEN_WRITE | MP__OPEN_DIRECT, &direct);
    if (rc == 0) {
        rc = mp__file_pwrite(direct, block, MP__DIRECT_BLOCK, 0);
        mp__file_close(direct);
    }
    assert_true(rc == 0 || rc == -EINVAL || rc == -EOPNOTSUPP); /* or the file system cannot */
    assert_int_equal(mp__file_pread(cached, bytes, 8, MP__DIRECT_BLOCK - 2), 8);
    assert_memory_equal(bytes, rc == 0 ? "ddcached" : "\0\0cached", 8);
    mp__file_close(cached);
    (void)mp__free(block);
}

static void a_lock_is_refused_to_a_second_opener(void **state)
{
    mp_env *env = mp__env_real();
    mp__file *first, *second;

    (void)state;
    assert_int_equal(mp__file_open(env, in_folder("l"), MP__OPEN_WRITE | MP__OPEN_CREATE, &first),
                     0);
    assert_int_equal(mp__file_open(env, in_folder("l"), MP__OPEN_WRITE, &second), 0);
    assert_int_equal(mp__file_lock(first), 0);
    assert_int_equal(mp__file_lock(second), MP_ELOCKED);
    mp__file_close(first);
    assert_int_equal(mp__file_lock(second), 0);
    mp__file_close(second);
}

static int count_entry(void *context, const char *name)
{
    (void)name;
    ++*(int *)context;
    return 0;
}

static void folders_are_made_with_their_parents_and_listed(void **state)
{
    mp_env *env = mp__env_real();
    int count = 0;
    char *data;
    size_t size;

    (void)state;
    assert_int_equal(mp__env_mkdir(env, in_folder("d/e/f")), 0);
    assert_int_equal(mp__env_mkdir(env, in_folder("d/e/f")), 0);
    assert_int_equal(mp__env_write_file_atomic(env, in_folder("d/e/f/x"), "12", 2), 0);
    assert_int_equal(mp__env_write_file_atomic(env, in_folder("d/e/f/x"), "345", 3), 0);
    assert_int_equal(mp__env_list(env, in_folder("d/e/f"), count_entry, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(mp__env_read_file(env, in_folder("d/e/f/x"), 2, &data, &size), MP_ELIMIT);
    assert_int_equal(mp__env_read_file(env, in_folder("d/e/f/x"), 10, &data, &size), 0);
    assert_string_equal(data, "345");
    mp__free(data);
}

static void *feed(void *context)
{
    static char bytes[1000];
    FILE *pipe = fopen(context, "w");

    memset(bytes, 'x', sizeof(bytes));
    assert_non_null(pipe);
    for (int i = 0; i < 20; i++) {
        fwrite(bytes, 1, sizeof(bytes), pipe);
        fflush(pipe);
    }
    fclose(pipe);
    return NULL;
}

static void a_pipe_is_read_to_its_end(void **state)
{
    char path[300];
    pthread_t feeder;
    char *data;
    size_t size;

    (void)state;
    snprintf(path, sizeof(path), "%s", in_folder("pipe"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pthread_create(&feeder, NULL, feed, path), 0);
    assert_int_equal(mp__env_read_file(mp__env_real(), path, 20000, &data, &size), 0);
    pthread_join(feeder, NULL);
    assert_int_equal(size, 20000);
    assert_int_equal(strlen(data), 20000);
    mp__free(data);
    assert_int_equal(mp__env_read_file(mp__env_real(), "/dev/zero", 20000, &data, &size),
                     MP_ELIMIT);
    assert_int_equal(mp__env_read_file(mp__env_real(), "/dev/null", 20000, &data, &size), 0);
    assert_int_equal(size, 0);
    mp__free(data);
}

static void addresses_are_read_or_refused_with_a_text(void **state)
{
    static const char *const bad[] = {
        "", "7480", ":7480", "h:", "h:x", "h:65536", "::1:7480", "[::1:7480"};
    char host[64];
    uint16_t port;

    (void)state;
    assert_int_equal(mp__address_parse("[::1]:80", host, sizeof(host), &port, NULL), 0);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 80);
    assert_true(mp__address_is_loopback(host));
    assert_true(mp__address_is_loopback("127.9.9.9"));
    assert_false(mp__address_is_loopback("0.0.0.0"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mp__diag diag = {0};

        assert_int_equal(mp__address_parse(bad[i], host, sizeof(host), &port, &diag), MP_EINVAL);
        assert_true(diag.text[0] != '\0');
    }
}

/* ---- loops ---- */

enum { POSTERS = 4, POSTS = 1000 };

typedef struct post_test {
    mp__loop *loop;
    int seen, last[POSTERS];
    bool in_order;
} post_test;

typedef struct post_item {
    mp__task task;
    post_test *test;
    int poster, number;
} post_item;

static post_item items[POSTERS][POSTS];

static void post_runs(mp__task *task)
{
    post_item *item = (post_item *)task;
    post_test *test = item->test;

    test->in_order &= item->number == test->last[item->poster]++;
    if (++test->seen == POSTERS * POSTS)
        mp__loop_stop(test->loop);
}

static void *poster_main(void *context)
{
    post_item *mine = context;

    for (int i = 0; i < POSTS; i++)
        mp__loop_post(mine[i].test->loop, &mine[i].task);
    return NULL;
}

static void posts_from_many_threads_arrive_in_each_ones_order(void **state)
{
    post_test test = {.in_order = true};
    pthread_t threads[POSTERS];

    (void)state;
    assert_int_equal(mp__loop_new(mp__env_real(), "mp-test", &test.loop), 0);
    for (int p = 0; p < POSTERS; p++) {
        for (int i = 0; i < POSTS; i++)
            items[p][i] = (post_item){{NULL, post_runs}, &test, p, i};
        pthread_create(&threads[p], NULL, poster_main, items[p]);
    }
    mp__loop_run(test.loop);
    for (int p = 0; p < POSTERS; p++)
        pthread_join(threads[p], NULL);
    assert_int_equal(test.seen, POSTERS * POSTS);
    assert_true(test.in_order);
    mp__loop_free(test.loop);
}

/* ---- streams ---- */

typedef struct echo_test {
    mp__loop *loop;
    mp__listener *listener;
    mp__stream *client;
    mp__timer *timer;
    size_t want, got, sent;
    int closed, ticks, error;
} echo_test;

static void server_read(void *context, char *data, int64_t size)
{
    mp__stream *stream = context;
    struct iovec part = {data, size > 0 ? (size_t)size : 0};

    if (size > 0)
        assert_int_equal(mp__stream_write(stream, &part, 1), 0);
    else
        mp__stream_close(stream);
}

static const mp__stream_events server_events = {server_read, NULL, NULL};

static void accepted(void *context, mp__stream *stream)
{
    (void)context;
    mp__stream_start(stream, &server_events, stream);
}

static void client_read(void *context, char *data, int64_t size)
{
    echo_test *test = context;

    assert_true(size > 0);
    for (int64_t i = 0; i < size; i++)
        assert_int_equal((unsigned char)data[i], (test->got + (size_t)i) % 251);
    test->got += (size_t)size;
    if (test->got == test->want)
        mp__stream_close(test->client);
}

static void client_closed(void *context)
{
    echo_test *test = context;

    test->listener = mp__listener_free(test->listener);
    test->timer = mp__timer_free(test->timer);
    mp__loop_stop(test->loop);
}

static const mp__stream_events client_events = {client_read, NULL, client_closed};

static void client_connected(void *context, int error, mp__stream *stream)
{
    echo_test *test = context;
    unsigned char *bytes = malloc(test->want);
    struct iovec parts[2];

    assert_int_equal(error, 0);
    test->client = stream;
    mp__stream_start(stream, &client_events, test);
    for (size_t i = 0; i < test->want; i++)
        bytes[i] = (unsigned char)(i % 251);
    parts[0] = (struct iovec){bytes, 1000};
    parts[1] = (struct iovec){bytes + 1000, test->want - 1000};
    assert_int_equal(mp__stream_write(stream, parts, 2), 0);
    assert_true(mp__stream_queued(stream) > 0); /* more than any socket takes at once */
    free(bytes);
}

static void tick(void *context)
{
    ((echo_test *)context)->ticks++;
}

static void eight_megabytes_come_back_through_loopback_unchanged(void **state)
{
    echo_test test = {.want = 8u << 20};
    uint16_t port = 0;

    (void)state;
    assert_int_equal(mp__loop_new(mp__env_real(), "mp-test", &test.loop), 0);
    assert_int_equal(mp__timer_new(test.loop, tick, &test, &test.timer), 0);
    mp__timer_start(test.timer, 0, 1);
    assert_int_equal(
        mp__listen(test.loop, "127.0.0.1", &port, true, accepted, NULL, &test.listener), 0);
    assert_true(port != 0);
    assert_int_equal(mp__listen_probe(mp__env_real(), "127.0.0.1", port), -EADDRINUSE);
    assert_int_equal(mp__connect(test.loop, "127.0.0.1", port, 1000, client_connected, &test), 0);
    mp__loop_run(test.loop);
    assert_int_equal(test.got, test.want);
    assert_true(test.ticks > 0);
    mp__loop_free(test.loop);
}

static void refused_connect(void *context, int error, mp__stream *stream)
{
    echo_test *test = context;

    assert_null(stream);
    test->error = error;
    mp__loop_stop(test->loop);
}

/* With a port of this machine where nobody listens. */
static int error_of_connecting(const char *host)
{
    echo_test test = {0};
    uint16_t port = 0;

    assert_int_equal(mp__loop_new(mp__env_real(), "mp-test", &test.loop), 0);
    assert_int_equal(
        mp__listen(test.loop, "127.0.0.1", &port, false, accepted, NULL, &test.listener), 0);
    test.listener = mp__listener_free(test.listener);
    mp__loop_free(test.loop);
    assert_int_equal(mp__loop_new(mp__env_real(), "mp-test", &test.loop), 0);
    assert_int_equal(mp__connect(test.loop, host, port, 5000, refused_connect, &test), 0);
    mp__loop_run(test.loop);
    mp__loop_free(test.loop);
    return test.error;
}

static void a_connection_to_nobody_is_refused(void **state)
{
    assert_int_equal(error_of_connecting("127.0.0.1"), -ECONNREFUSED);
    (void)state;
}

/* Written so, it is a name, and not the word that stands for an address itself. */
static void a_name_is_looked_up(void **state)
{
    assert_int_equal(error_of_connecting("LOCALHOST"), -ECONNREFUSED);
    (void)state;
}

static void a_name_that_stands_for_no_address_is_told_so(void **state)
{
    assert_int_equal(error_of_connecting("no name"), -ENXIO);
    (void)state;
}

/* ---- workers ---- */

typedef struct batch_test {
    _Atomic int tasks, idles;
    int batches;
} batch_test;

static void count_batch(void *context, mp__task *first)
{
    batch_test *test = context;

    test->idles += first == NULL;
    test->batches++;
    for (; first; first = first->next)
        test->tasks++;
}

static void a_worker_finishes_what_is_queued_before_it_ends(void **state)
{
    static mp__task tasks[1000];
    batch_test test = {0};
    mp__worker *worker;

    (void)state;
    assert_int_equal(mp__worker_new(mp__env_real(), "mp-test-w", count_batch, &test, &worker), 0);
    for (int i = 0; i < 1000; i++)
        mp__worker_post(worker, &tasks[i]);
    worker = mp__worker_free(worker);
    assert_int_equal(test.tasks, 1000);
    assert_int_equal(test.idles, 0);
}

static void an_idle_worker_is_called_without_work(void **state)
{
    batch_test test = {0};
    mp__worker *worker;

    (void)state;
    assert_int_equal(
        mp__worker_new_idle(mp__env_real(), "mp-test-w", 1, count_batch, &test, &worker), 0);
    while (test.idles < 3)
        usleep(100);
    worker = mp__worker_free(worker);
    assert_int_equal(test.tasks, 0);
}

typedef struct idle_test {
    mp__worker *worker;
    _Atomic int idles;
} idle_test;

/* After its first task it is soon idle, and twice is enough. */
static void idle_twice(void *context, mp__task *first)
{
    idle_test *test = context;

    mp__worker_set_idle(test->worker, first || test->idles < 1 ? 1 : 0);
    if (!first)
        test->idles++;
}

static void a_worker_says_itself_when_it_is_idle(void **state)
{
    static mp__task task;
    idle_test test = {0};

    (void)state;
    assert_int_equal(mp__worker_new(mp__env_real(), "mp-test-w", idle_twice, &test, &test.worker),
                     0);
    mp__worker_post(test.worker, &task);
    while (test.idles < 2)
        usleep(100);
    test.worker = mp__worker_free(test.worker);
    assert_int_equal(test.idles, 2);
}

/* Nobody waits for a release that does not come: not who frees the worker, nor one posted to by way
 * of another. */
static void what_is_posted_while_wakes_are_held_is_done(void **state)
{
    static mp__task tasks[40];
    batch_test tests[20] = {{0}};
    mp__worker *workers[20];

    (void)state;
    for (int i = 0; i < 20; i++)
        assert_int_equal(
            mp__worker_new(mp__env_real(), "mp-test-w", count_batch, &tests[i], &workers[i]), 0);
    mp__env_hold_wakes(mp__env_real());
    mp__env_hold_wakes(mp__env_real());
    for (int i = 0; i < 20; i++) /* more than are held back */
        mp__worker_post(workers[i], &tasks[i]);
    mp__env_release_wakes(mp__env_real());
    mp__env_release_wakes(mp__env_real());
    for (int i = 0; i < 20; i++)
        while (tests[i].tasks < 1)
            usleep(100);
    mp__env_hold_wakes(mp__env_real());
    for (int i = 0; i < 20; i++)
        mp__worker_post(workers[i], &tasks[20 + i]);
    for (int i = 0; i < 20; i++) {
        workers[i] = mp__worker_free(workers[i]);
        assert_int_equal(tests[i].tasks, 2);
    }
    mp__env_release_wakes(mp__env_real());
}

/* ---- watches of folders ---- */

typedef struct watch_test {
    mp__loop *loop;
    mp__dirwatch *watch;
    const char *waits_for;
    int told;
} watch_test;

static void name_changed(void *context, const char *name)
{
    watch_test *test = context;

    if (!name || strcmp(name, test->waits_for) != 0)
        return;
    test->told++;
    test->watch = mp__dirwatch_free(test->watch); /* from within its own call */
    mp__loop_stop(test->loop);
}

static void a_file_renamed_into_a_watched_folder_is_told(void **state)
{
    mp_env *env = mp__env_real();
    watch_test test = {.waits_for = "new.yaml"};
    char from[128];

    (void)state;
    assert_int_equal(mp__env_mkdir(env, in_folder("w")), 0);
    assert_int_equal(mp__env_write_file_atomic(env, in_folder("outside"), "x", 1), 0);
    assert_int_equal(mp__loop_new(env, "mp-test", &test.loop), 0);
    assert_int_equal(
        mp__dirwatch_new(test.loop, in_folder("none"), name_changed, &test, &test.watch), -ENOENT);
    assert_int_equal(mp__dirwatch_new(test.loop, in_folder("w"), name_changed, &test, &test.watch),
                     0);
    snprintf(from, sizeof(from), "%s", in_folder("outside"));
    assert_int_equal(mp__env_rename(env, from, in_folder("w/new.yaml")), 0);
    (void)mp__loop_run(test.loop);
    assert_int_equal(test.told, 1);
    (void)mp__loop_free(test.loop);
}

static void a_change_of_content_shows_in_the_time_of_change(void **state)
{
    mp_env *env = mp__env_real();
    mp__stat before, after;

    (void)state;
    assert_int_equal(mp__env_write_file_atomic(env, in_folder("c"), "x", 1), 0);
    assert_int_equal(mp__env_stat(env, in_folder("c"), &before), 0);
    assert_true(before.changed_ns / 1000000 >= before.modified_ms);
    do { /* the system's clock for files goes in steps of some milliseconds */
        assert_int_equal(mp__env_write_file_atomic(env, in_folder("c"), "y", 1), 0);
        assert_int_equal(mp__env_stat(env, in_folder("c"), &after), 0);
    } while (after.changed_ns == before.changed_ns);
    assert_true(after.changed_ns > before.changed_ns);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(cpu_time_is_of_what_the_process_did),
    MP_TEST(files_are_read_back_as_written),
    MP_TEST(what_goes_past_the_cache_is_read_through_it),
    MP_TEST(a_lock_is_refused_to_a_second_opener),
    MP_TEST(folders_are_made_with_their_parents_and_listed),
    MP_TEST(a_pipe_is_read_to_its_end),
    MP_TEST(addresses_are_read_or_refused_with_a_text),
    MP_TEST(posts_from_many_threads_arrive_in_each_ones_order),
    MP_TEST(eight_megabytes_come_back_through_loopback_unchanged),
    MP_TEST(a_connection_to_nobody_is_refused),
    MP_TEST(a_name_is_looked_up),
    MP_TEST(a_name_that_stands_for_no_address_is_told_so),
    MP_TEST(a_worker_finishes_what_is_queued_before_it_ends),
    MP_TEST(an_idle_worker_is_called_without_work),
    MP_TEST(a_worker_says_itself_when_it_is_idle),
    MP_TEST(what_is_posted_while_wakes_are_held_is_done),
    MP_TEST(a_file_renamed_into_a_watched_folder_is_told),
    MP_TEST(a_change_of_content_shows_in_the_time_of_change),
};

int main(void)
{
    int rc;
    char command[128];

    cmocka_set_message_output(CM_OUTPUT_TAP);
    rc = cmocka_run_group_tests(tests, make_folder, NULL);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) == 0 ? rc : 1;
}
