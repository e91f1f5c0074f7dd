/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of a loop that gathers: each test runs on a loop that does not, on one without a ring, on
 * one with, and on one to which the system refuses it. */
#include "mp_test.h"

#include <dlfcn.h>
#include <errno.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/core.h"

enum { CLIENTS = 100, PLAIN = 0, GATHERS, RING, REFUSED, MODES };

typedef struct peer {
    struct world *world;
    mp__stream *stream;
    size_t got;
    int errors, drains, reads;
    bool closed;
} peer;

typedef struct world {
    int mode;
    mp__loop *loop;
    mp__listener *listener;
    mp__timer *timer;
    pthread_t thread;
    uint16_t port;
    peer peers[CLIENTS];
    atomic_int accepted, closed;
    atomic_size_t marks; /* what a test counts */
    int watched;         /* a descriptor */
    const mp__stream_events *events;
    void (*on_timer)(struct world *w);
    mp__task task;
} world;

static void accept_one(void *context, mp__stream *stream)
{
    world *w = context;
    peer *p = &w->peers[w->accepted];

    *p = (peer){.world = w, .stream = stream};
    mp__stream_start(stream, w->events, p);
    w->accepted++;
}

static void was_closed(void *context)
{
    peer *p = context;

    p->world->closed++;
}

static void timer_fires(void *context)
{
    world *w = context;

    if (w->on_timer)
        w->on_timer(w);
}

/* From here on this thread has no io_uring. */
static void refuse_ring(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void *loop_main(void *context)
{
    world *w = context;

    if (w->mode == REFUSED)
        refuse_ring();
    mp__loop_run(w->loop);
    return NULL;
}

static void begin(world *w, int mode, const mp__stream_events *events, void (*on_timer)(world *w))
{
    *w = (world){.mode = mode, .events = events, .on_timer = on_timer};
    assert_int_equal(mp__loop_new(mp__env_real(), "mp-test", &w->loop), 0);
    if (mode != PLAIN)
        assert_int_equal(mp__loop_gather(w->loop, mode != GATHERS), 0);
    assert_int_equal(mp__timer_new(w->loop, timer_fires, w, &w->timer), 0);
    mp__timer_start(w->timer, 1, 1);
    assert_int_equal(mp__listen(w->loop, "127.0.0.1", &w->port, false, accept_one, w, &w->listener),
                     0);
    assert_int_equal(pthread_create(&w->thread, NULL, loop_main, w), 0);
}

static void ends(mp__task *task)
{
    world *w = (world *)((char *)task - offsetof(world, task));

    w->timer = mp__timer_free(w->timer);
    w->listener = mp__listener_free(w->listener);
    for (int i = 0; i < w->accepted; i++)
        if (!w->peers[i].closed)
            mp__stream_close(w->peers[i].stream);
    mp__loop_stop(w->loop);
}

static void end(world *w)
{
    w->task.run = ends;
    mp__loop_post(w->loop, &w->task);
    pthread_join(w->thread, NULL);
    assert_int_equal(w->closed, w->accepted);
    w->loop = mp__loop_free(w->loop);
}

static int client(const world *w)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(w->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct timeval patience = {.tv_sec = 30};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void wait_for(const atomic_int *is, int want)
{
    const struct timespec moment = {.tv_nsec = 200000};

    for (int i = 0; i < 100000 && *is < want; i++)
        (void)nanosleep(&moment, NULL);
    assert_int_equal(*is, want);
}

/* All of them, in the order in which they are accepted. */
static void crowd(const world *w, int fds[CLIENTS])
{
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client(w);
        wait_for(&w->accepted, i + 1);
    }
}

static void crowd_leaves(world *w, const int fds[CLIENTS])
{
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    wait_for(&w->closed, CLIENTS);
    end(w);
}

/* Bytes @at of what goes to and comes from the @who-th. */
static unsigned char byte_of(size_t who, size_t at)
{
    return (unsigned char)(who * 89 + at * 7 + at / 251);
}

static void send_pattern(int fd, size_t who, size_t at, size_t size)
{
    unsigned char *bytes = malloc(size);

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_of(who, at + i);
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
    free(bytes);
}

static void expect_pattern(int fd, size_t who, size_t at, size_t size)
{
    unsigned char *bytes = malloc(size);

    assert_non_null(bytes);
    assert_int_equal(recv(fd, bytes, size, MSG_WAITALL), size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes[i], byte_of(who, at + i));
    free(bytes);
}

/* Each test, once a mode. */
static void in_each_mode(void (*test)(world *w, int mode))
{
    static world w;

    for (int mode = 0; mode < MODES; mode++)
        test(&w, mode);
}

/* ---- echo ---- */

static void echo(void *context, char *data, int64_t size)
{
    peer *p = context;
    struct iovec part = {data, size > 0 ? (size_t)size : 0};

    if (size > 0) {
        assert_int_equal(mp__stream_write(p->stream, &part, 1), 0);
        return;
    }
    p->closed = true;
    mp__stream_close(p->stream);
}

static void echo_many(world *w, int mode)
{
    static const mp__stream_events events = {echo, NULL, was_closed};
    size_t at[CLIENTS] = {0}, sizes[CLIENTS];
    unsigned dice = 1;
    int fds[CLIENTS];

    begin(w, mode, &events, NULL);
    crowd(w, fds);
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            dice = dice * 1664525u + 1013904223u;
            sizes[i] = 1 + (dice >> 8) % (round % 5 ? 300 : 50000);
            send_pattern(fds[i], (size_t)i, at[i], sizes[i]);
        }
        for (int i = 0; i < CLIENTS; i++) {
            expect_pattern(fds[i], (size_t)i, at[i], sizes[i]);
            at[i] += sizes[i];
        }
    }
    if (mode == RING && !mp__loop_has_ring(w->loop))
        print_message("# this system has no io_uring, or refuses it\n");
    if (mode != RING)
        assert_false(mp__loop_has_ring(w->loop));
    crowd_leaves(w, fds);
}

static void many_clients_at_once_each_get_their_own_bytes(void **state)
{
    (void)state;
    in_each_mode(echo_many);
}

/* ---- writes of one turn ---- */

static void write_pattern(peer *p, size_t size, bool kept)
{
    unsigned char *bytes = malloc(size);
    struct iovec part = {bytes, size};
    mp_blob *blob = NULL;

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_of(0, p->got + i);
    if (kept) {
        assert_int_equal(mp_blob_new(bytes, size, &blob), 0);
        part.iov_base = (void *)(uintptr_t)mp_blob_str(blob).data;
        assert_int_equal(mp__stream_write_kept(p->stream, &part, 1, blob), 0);
        (void)mp_blob_unref(blob);
    } else {
        assert_int_equal(mp__stream_write(p->stream, &part, 1), 0);
    }
    p->got += size;
    free(bytes);
}

static const size_t turn_sizes[] = {10, 20, 100000, 7, 40000, 1, 32768, 32769, 3, 500000, 5};

static void answer_in_parts(void *context, char *data, int64_t size)
{
    peer *p = context;

    (void)data;
    if (size <= 0) {
        p->closed = true;
        mp__stream_close(p->stream);
        return;
    }
    for (size_t i = 0; i < sizeof(turn_sizes) / sizeof(turn_sizes[0]); i++)
        write_pattern(p, turn_sizes[i], i % 2 == 0);
}

static void write_in_parts(world *w, int mode)
{
    static const mp__stream_events events = {answer_in_parts, NULL, was_closed};
    size_t total = 0;
    int fd;

    for (size_t i = 0; i < sizeof(turn_sizes) / sizeof(turn_sizes[0]); i++)
        total += turn_sizes[i];
    begin(w, mode, &events, NULL);
    fd = client(w);
    for (size_t round = 0; round < 3; round++) {
        assert_int_equal(send(fd, "x", 1, 0), 1);
        expect_pattern(fd, 0, round * total, total);
    }
    close(fd);
    end(w);
}

static void small_and_large_writes_of_a_turn_keep_their_order(void **state)
{
    (void)state;
    in_each_mode(write_in_parts);
}

/* ---- a turn that writes to very many ---- */

/* Whether something comes to @fd although the turn, which this is called from, has not ended. */
static bool comes_within_the_turn(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 30000) == 1;
}

enum { SLOW = 1, SLOW_SIZE = 30000, ALL_ROUNDS = 40 };

/* Answer all of them when the last asks. One of them does not read, and is given more than its
 * socket takes. */
static void answer_all(void *context, char *data, int64_t size)
{
    peer *p = context;
    world *w = p->world;

    (void)data;
    if (size <= 0) {
        p->closed = true;
        mp__stream_close(p->stream);
        return;
    }
    for (int i = 0; i < CLIENTS; i++)
        write_pattern(&w->peers[i], i == SLOW ? SLOW_SIZE : 100, false);
    if (w->mode != PLAIN)
        assert_true(comes_within_the_turn(w->watched));
    for (int i = 0; i < CLIENTS; i++)
        write_pattern(&w->peers[i], 50, false);
    w->marks = mp__stream_queued(w->peers[SLOW].stream);
}

static void answer_early(world *w, int mode)
{
    static const mp__stream_events events = {answer_all, NULL, was_closed};
    int fds[CLIENTS];

    begin(w, mode, &events, NULL);
    crowd(w, fds);
    w->watched = fds[0];
    for (size_t round = 0; round < ALL_ROUNDS; round++) {
        assert_int_equal(send(fds[CLIENTS - 1], "x", 1, 0), 1);
        for (int i = CLIENTS - 1; i >= 0; i--) /* the watched one behind what follows the look */
            if (i != SLOW)
                expect_pattern(fds[i], 0, round * 150, 150);
    }
    assert_true(w->marks > 0); /* else the slow one was not slow */
    expect_pattern(fds[SLOW], 0, 0, (size_t)ALL_ROUNDS * (SLOW_SIZE + 50));
    crowd_leaves(w, fds);
}

static void the_first_of_very_many_do_not_wait_for_the_last(void **state)
{
    (void)state;
    in_each_mode(answer_early);
}

/* ---- endings ---- */

static void answer_and_go(void *context, char *data, int64_t size)
{
    peer *p = context;

    if (size > 0) {
        for (int i = 0; i < 3; i++)
            write_pattern(p, 1000, false);
        if (data[0] == 'c')
            mp__stream_close(p->stream);
        else if (data[0] == 's')
            mp__stream_shutdown(p->stream);
        else
            mp__stream_reset(p->stream);
    } else if (!p->closed) {
        mp__stream_close(p->stream);
    }
    p->closed = true;
}

static void answer_and_end(world *w, int mode)
{
    static const mp__stream_events events = {answer_and_go, NULL, was_closed};
    char rest[4096];
    int fds[3];

    begin(w, mode, &events, NULL);
    for (int i = 0; i < 3; i++)
        fds[i] = client(w);
    for (int i = 0; i < 3; i++)
        assert_int_equal(send(fds[i], &"csr"[i], 1, 0), 1);
    for (int i = 0; i < 2; i++) {
        expect_pattern(fds[i], 0, 0, 3000);
        assert_int_equal(recv(fds[i], rest, sizeof(rest), 0), 0);
    }
    while (recv(fds[2], rest, sizeof(rest), 0) > 0)
        ;
    assert_int_equal(errno, ECONNRESET);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    wait_for(&w->closed, 3);
    end(w);
}

static void what_was_written_before_an_end_arrives(void **state)
{
    (void)state;
    in_each_mode(answer_and_end);
}

static void close_all_others(void *context, char *data, int64_t size)
{
    peer *p = context;
    world *w = p->world;

    (void)data;
    (void)size;
    assert_false(p->closed);
    p->reads++;
    for (int i = 0; i < w->accepted; i++)
        if (&w->peers[i] != p && !w->peers[i].closed) {
            w->peers[i].closed = true;
            mp__stream_close(w->peers[i].stream);
        }
}

static void end_each_other(world *w, int mode)
{
    static const mp__stream_events events = {close_all_others, NULL, was_closed};
    int fds[CLIENTS], reads = 0;

    begin(w, mode, &events, NULL);
    crowd(w, fds);
    for (int i = 0; i < CLIENTS; i++)
        (void)send(fds[i], "x", 1, MSG_NOSIGNAL);
    wait_for(&w->closed, CLIENTS - 1);
    end(w);
    for (int i = 0; i < CLIENTS; i++) {
        reads += w->peers[i].reads > 0;
        close(fds[i]);
    }
    assert_int_equal(reads, 1);
}

static void a_stream_that_another_closed_is_not_heard_of(void **state)
{
    (void)state;
    in_each_mode(end_each_other);
}

/* ---- peers that do not read, or go ---- */

static void drained(void *context)
{
    peer *p = context;

    if (p->world->marks == 0) /* the socket took it after all */
        return;
    p->drains++;
    p->world->marks = 2;
}

static void fill_slowly(world *w)
{
    peer *p = &w->peers[0];

    if (w->accepted && w->marks == 0) {
        write_pattern(p, 20000, false);
        if (mp__stream_queued(p->stream) > 100000)
            w->marks = 1;
    }
}

static void read_late(world *w, int mode)
{
    static const mp__stream_events events = {echo, drained, was_closed};
    const struct timespec moment = {.tv_nsec = 1000000};
    size_t got = 0;
    int fd;

    begin(w, mode, &events, fill_slowly);
    fd = client(w);
    for (int i = 0; i < 30000 && w->marks == 0; i++)
        (void)nanosleep(&moment, NULL);
    assert_int_equal(w->marks, 1);
    for (; w->marks != 2; got += 10000)
        expect_pattern(fd, 0, got, 10000);
    end(w);
    while (got < w->peers[0].got) {
        expect_pattern(fd, 0, got, 10000);
        got += 10000;
    }
    assert_int_equal(w->peers[0].drains, 1);
    close(fd);
}

static void what_a_slow_peer_does_not_take_waits_and_loses_nothing(void **state)
{
    (void)state;
    in_each_mode(read_late);
}

static void note_end(void *context, char *data, int64_t size)
{
    peer *p = context;

    (void)data;
    assert_int_equal(p->world->marks, 0); /* nobody hears of it in the middle of a write */
    if (size <= 0) {
        p->errors++;
        p->closed = true;
        mp__stream_close(p->stream);
    }
}

static void write_to_all(world *w)
{
    char bytes[100] = "";
    struct iovec part = {bytes, sizeof(bytes)};

    w->marks = 1;
    for (int i = 0; i < w->accepted; i++)
        if (!w->peers[i].closed)
            (void)mp__stream_write(w->peers[i].stream, &part, 1); /* may know that it has gone */
    w->marks = 0;
}

static void go_away(world *w, int mode)
{
    static const mp__stream_events events = {note_end, NULL, was_closed};
    const struct linger at_once = {1, 0};
    int fds[CLIENTS];

    begin(w, mode, &events, write_to_all);
    crowd(w, fds);
    for (int i = 0; i < CLIENTS; i++) {
        if (i % 2)
            assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
                             0);
        close(fds[i]);
    }
    wait_for(&w->closed, CLIENTS);
    end(w);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(w->peers[i].errors, 1);
}

static void a_peer_that_goes_is_told_of_once(void **state)
{
    (void)state;
    in_each_mode(go_away);
}

/* ---- a completion that is lost ---- */

static atomic_int lost; /* how many completions the system is to keep back */

/* Takes the place of the library's: what was asked for is done, and the first of it is not told. */
int io_uring_submit(struct io_uring *ring)
{
    int (*submit)(struct io_uring * ring) =
        (int (*)(struct io_uring *))dlsym(RTLD_NEXT, "io_uring_submit");
    struct io_uring_cqe *cqe;
    int rc = submit(ring);

    if (rc > 0 && atomic_load(&lost) > 0 && io_uring_peek_cqe(ring, &cqe) == 0) {
        io_uring_cqe_seen(ring, cqe);
        atomic_fetch_sub(&lost, 1);
    }
    return rc;
}

static void answer_all_and_note_end(void *context, char *data, int64_t size)
{
    static char bytes[40000];
    peer *p = context;
    world *w = p->world;
    struct iovec more = {bytes, w->marks};

    (void)data;
    if (size <= 0) {
        p->errors++;
        p->closed = true;
        mp__stream_close(p->stream);
        return;
    }
    atomic_store(&lost, 1);
    for (int i = 0; i < CLIENTS; i++)
        write_pattern(&w->peers[i], 100, false);
    w->watched = atomic_exchange(&lost, 0) == 0; /* else there was no ring to lose it */
    for (int i = 1; i < CLIENTS; i++)
        write_pattern(&w->peers[i], 50, false);
    (void)mp__stream_write(w->peers[0].stream, &more, 1); /* may know that it broke */
}

static void nothing_follows_on_bytes_that_may_have_left(void **state)
{
    static const mp__stream_events events = {answer_all_and_note_end, NULL, was_closed};
    static const size_t then[] = {50, 40000}; /* kept for the turn's end, and written at once */
    static world w;
    int fds[CLIENTS];
    char more;

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
        begin(&w, RING, &events, NULL);
        crowd(&w, fds);
        w.marks = then[k];
        assert_int_equal(send(fds[CLIENTS - 1], "x", 1, 0), 1);
        for (int i = 1; i < CLIENTS; i++)
            expect_pattern(fds[i], 0, 0, 150);
        expect_pattern(fds[0], 0, 0, 100);
        assert_int_equal(recv(fds[0], &more, 1, 0), w.watched ? 0 : 1); /* they left once */
        if (!w.watched)
            print_message("# this system has no io_uring, or refuses it\n");
        crowd_leaves(&w, fds);
        assert_int_equal(w.peers[0].errors, 1);
    }
}

/* ---- pausing ---- */

static void take_and_pause(void *context, char *data, int64_t size)
{
    peer *p = context;

    if (size <= 0) {
        p->closed = true;
        mp__stream_close(p->stream);
        return;
    }
    for (int64_t i = 0; i < size; i++)
        assert_int_equal((unsigned char)data[i],
                         byte_of((size_t)(p - p->world->peers), p->got + (size_t)i));
    p->got += (size_t)size;
    p->world->marks += (size_t)size;
    p->reads++;
    for (int i = 0; i < p->world->accepted; i++) /* also those whose bytes are on their way */
        if (!p->world->peers[i].closed)
            mp__stream_pause(p->world->peers[i].stream, true);
}

static void go_on(world *w)
{
    for (int i = 0; i < w->accepted; i++)
        if (!w->peers[i].closed)
            mp__stream_pause(w->peers[i].stream, false);
}

static void pause_often(world *w, int mode)
{
    static const mp__stream_events events = {take_and_pause, NULL, was_closed};
    enum { SIZE = 60000 };
    const struct timespec moment = {.tv_nsec = 1000000};
    int fds[CLIENTS];

    begin(w, mode, &events, go_on);
    crowd(w, fds);
    for (int i = 0; i < CLIENTS; i++)
        send_pattern(fds[i], (size_t)i, 0, SIZE);
    for (int i = 0; i < 30000 && w->marks < (size_t)CLIENTS * SIZE; i++)
        (void)nanosleep(&moment, NULL);
    assert_int_equal(w->marks, (size_t)CLIENTS * SIZE);
    crowd_leaves(w, fds);
}

static void streams_that_are_paused_again_and_again_lose_nothing(void **state)
{
    (void)state;
    in_each_mode(pause_often);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(many_clients_at_once_each_get_their_own_bytes),
    MP_TEST(small_and_large_writes_of_a_turn_keep_their_order),
    MP_TEST(the_first_of_very_many_do_not_wait_for_the_last),
    MP_TEST(what_was_written_before_an_end_arrives),
    MP_TEST(a_stream_that_another_closed_is_not_heard_of),
    MP_TEST(what_a_slow_peer_does_not_take_waits_and_loses_nothing),
    MP_TEST(a_peer_that_goes_is_told_of_once),
    MP_TEST(nothing_follows_on_bytes_that_may_have_left),
    MP_TEST(streams_that_are_paused_again_and_again_lose_nothing),
};
MP_TEST_MAIN(tests)
