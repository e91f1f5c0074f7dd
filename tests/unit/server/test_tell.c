/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection is told, and what MP.CHANGES lists, while the origin takes its time: a whole
 * server on one loop, whose origin keeps the fetches of the namespace `held` to itself until the
 * test lets them go.
 *
 * As there is one loop, an answer to PING on any connection means that all that was done before it
 * is done, and all that could be told has been. */
#include "server/server.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/buf.h"
#include "mp_test.h"
#include "origin/sqlite.h"
#include "protocol/resp.h"
#include "server/internal.h"

enum { HELD_MOST = 1000, AT_ONCE = 64, KEYS = 300 };

/* ---- an origin that can be held ---- */

static mp__origin_ops held_ops;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;
static mp__origin *origin_;
static mp__fetch *held[HELD_MOST];
static size_t held_count, asked; /* now; since the origin was opened */
static bool holds;

static bool is_held(mp_str address)
{
    return memmem(address.data, address.size, "/held/", 6) != NULL;
}

static void fetch_held(mp__origin *origin, mp__fetch *fetch)
{
    bool keeps;

    (void)pthread_mutex_lock(&lock);
    asked += is_held(fetch->address);
    keeps = holds && is_held(fetch->address);
    if (keeps) {
        assert_true(held_count < HELD_MOST);
        held[held_count++] = fetch;
        (void)pthread_cond_broadcast(&came);
    }
    (void)pthread_mutex_unlock(&lock);
    if (!keeps)
        mp__sqlite_ops.fetch(origin, fetch);
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

/* Until so many are held. */
static void wait_for_held(size_t count)
{
    (void)pthread_mutex_lock(&lock);
    while (held_count < count)
        (void)pthread_cond_wait(&came, &lock);
    (void)pthread_mutex_unlock(&lock);
}

/* What @counter says, which another thread counts. */
static size_t count_of(const size_t *counter)
{
    size_t count;

    (void)pthread_mutex_lock(&lock);
    count = *counter;
    (void)pthread_mutex_unlock(&lock);
    return count;
}

/* Let go of the oldest: with @status, 0: as the origin says. */
static void let_go(int status)
{
    mp__fetch *fetch;

    (void)pthread_mutex_lock(&lock);
    assert_true(held_count > 0);
    fetch = held[0];
    memmove(held, held + 1, --held_count * sizeof(held[0]));
    (void)pthread_mutex_unlock(&lock);
    if (status)
        fetch->done(fetch, status, NULL);
    else
        mp__sqlite_ops.fetch(origin_, fetch);
}

static void hold(bool on)
{
    (void)pthread_mutex_lock(&lock);
    holds = on;
    (void)pthread_mutex_unlock(&lock);
    while (!on && count_of(&held_count))
        let_go(0);
}

/* ---- a server ---- */

typedef struct peer {
    int fd;
    int64_t id;        /* as CLIENT ID, of a watcher */
    size_t size, read; /* bytes that came; of them those that the last answer took */
    char in[1 << 20];
} peer;

static char folder[64];
static mp__options *options;
static mp__monitor *monitor;
static mp__manager *manager;
static mp__server *server;
static peer *writer, *watcher;

/* ---- a client ---- */

static int connect_at(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port =
                                 htons((uint16_t)strtoll(strrchr(address, ':') + 1, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static peer *connect_to(void)
{
    peer *p = calloc(1, sizeof(*p));

    p->fd = connect_at(mp__server_resp_address(server));
    return p;
}

static peer *leave(peer *p)
{
    if (p)
        (void)close(p->fd);
    free(p);
    return NULL;
}

static void say(peer *p, const mp_str *words, size_t count)
{
    mp__buf out = MP__BUF_INIT;

    (void)mp__buf_printf(&out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        (void)mp__buf_printf(&out, "$%zu\r\n", words[i].size);
        (void)mp__buf_add_str(&out, words[i]);
        (void)mp__buf_add_str(&out, MP_STR("\r\n"));
    }
    assert_int_equal(out.error, 0);
    for (size_t sent = 0; sent < out.size;) {
        ssize_t n = write(p->fd, out.data + sent, out.size - sent);

        assert_true(n > 0);
        sent += (size_t)n;
    }
    mp__buf_done(&out);
}

/* The next answer; its texts stand where they came, until the next is read. */
static mp__reply *hear(peer *p)
{
    static const mp__reply_limits limits = {8, 10000, sizeof(p->in)};
    mp__reply *reply = NULL;
    size_t used;
    int rc;

    memmove(p->in, p->in + p->read, p->size - p->read);
    p->size -= p->read;
    while ((rc = mp__reply_parse(p->in, p->size, &limits, &reply, &used)) == MP_EAGAIN) {
        ssize_t n = read(p->fd, p->in + p->size, sizeof(p->in) - p->size);

        assert_true(n > 0);
        p->size += (size_t)n;
    }
    assert_int_equal(rc, 0);
    p->read = used;
    return reply;
}

static void start(void)
{
    mp__diag diag = {0};
    mp__manager_config config = {.env = mp__env_real(),
                                 .options = options,
                                 .monitor = monitor,
                                 .data_dir = folder,
                                 .origin = &held_ops};
    mp__server_config serving = {mp__env_real(), NULL, options, NULL, monitor};

    asked = 0;
    assert_int_equal(mp__manager_open(&config, &manager, &diag), 0);
    serving.manager = manager;
    assert_int_equal(mp__server_start(&serving, &server, &diag), 0);
    writer = connect_to();
    watcher = connect_to();
}

static void stop(void)
{
    hold(false);
    writer = leave(writer);
    watcher = leave(watcher);
    mp__server_stop(server, 5000);
    manager = mp__manager_close(manager);
    server = mp__server_free(server);
}

static int set_up(void **state)
{
    static const char *const set[][2] = {
        {"server.workers", "1"},   {"resp.listen", "127.0.0.1:0"}, {"http.listen", "127.0.0.1:0"},
        {"cache.l1_size", "2000"}, {"origin.timeout", "5m"},
    };

    (void)state;
    held_ops = mp__sqlite_ops;
    held_ops.open = open_held;
    held_ops.fetch = fetch_held;
    snprintf(folder, sizeof(folder), "/tmp/mp-tell-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mp__options_new(&options), 0);
    for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++)
        assert_int_equal(mp__options_set(options, set[i][0], set[i][1], NULL), 0);
    assert_int_equal(mp__monitor_new(&monitor), 0);
    start();
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* What L3 has of the values goes. */
static void remove_kept(void)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/l3", folder);
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int tear_down(void **state)
{
    (void)state;
    stop();
    monitor = mp__monitor_free(monitor);
    options = mp__options_free(options);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The words of @line, which stand apart by a blank. */
static size_t split(const char *line, mp_str *words, size_t most)
{
    size_t count = 0;

    while (*line && count < most) {
        size_t size = strcspn(line, " ");

        words[count++] = mp_str_new(line, size);
        line += size + (line[size] == ' ');
    }
    return count;
}

static mp__reply *ask(peer *client, const char *text)
{
    mp__reply *reply;
    mp_str words[16];

    say(client, words, split(text, words, 16));
    reply = hear(client);
    if (reply->type == MP__REPLY_ERROR)
        fail_msg("%s: %.*s", text, (int)reply->text.size, reply->text.data);
    return reply;
}

static void does(peer *client, const char *text)
{
    (void)mp__reply_free(ask(client, text));
}

/* The watcher's next message is the answer to a PING. */
static void reads_pong(void)
{
    mp__reply *reply = hear(watcher);

    if (reply->type == MP__REPLY_ARRAY) /* as Redis answers who subscribes */
        mp_assert_str(reply->items[0].text, "pong");
    else
        mp_assert_str(reply->text, "PONG");
    (void)mp__reply_free(reply);
}

/* It has been told nothing yet. */
static void hears_nothing(void)
{
    say(watcher, &MP_STR("PING"), 1);
    reads_pong();
}

/* The watcher's next message tells of @name as @word. */
static void hears(const char *name, const char *word)
{
    mp__reply *reply = hear(watcher);

    assert_int_equal(reply->count, 4);
    mp_assert_str(reply->items[1].text, name);
    mp_assert_str(reply->items[2].text, word);
    (void)mp__reply_free(reply);
}

/* Forget what memory knows, and watch. */
static void watch_anew(void)
{
    mp__reply *id;

    stop();
    start();
    hold(true);
    id = ask(watcher, "CLIENT ID");
    watcher->id = id->integer;
    (void)mp__reply_free(id);
    does(watcher, "MP.WATCH PREFIX held/");
}

static void end_watcher(void)
{
    mp__reply *reply;
    char line[64];

    snprintf(line, sizeof(line), "CLIENT KILL ID %lld", (long long)watcher->id);
    reply = ask(writer, line);
    assert_int_equal(reply->integer, 1);
    (void)mp__reply_free(reply);
    watcher = leave(watcher);
}

/* ---- a read that the origin does not answer ---- */

static void a_change_whose_read_fails_is_told_as_what_it_was_in_its_layer(void **state)
{
    (void)state;
    does(writer, "SET held/k 1");
    does(writer, "MP.ENV base");
    does(writer, "SET other 1"); /* the base may have the key, too */
    watch_anew();
    does(writer, "DEL held/k");
    wait_for_held(1);
    hears_nothing();
    let_go(MP_EORIGIN);
    hears("held/k", "del");
    hold(false);
    does(writer, "SET held/k 2"); /* and so it goes on */
    hears("held/k", "set");
}

static void a_change_whose_read_fails_is_told_by_what_is_kept_of_it(void **state)
{
    (void)state;
    does(writer, "SET held/k 1");
    does(writer, "MP.ENV base");
    does(writer, "SET held/k 1");
    watch_anew();
    does(writer, "DEL held/k");
    wait_for_held(1);
    hears_nothing();
    let_go(MP_EORIGINLOST);
    hears("held/k", "set"); /* the base's value is kept, and shows from now on */
}

static void who_leaves_while_it_is_read_for_leaves_nothing_behind(void **state)
{
    (void)state;
    does(writer, "SET held/k 1");
    does(writer, "MP.ENV base");
    does(writer, "SET other 1");
    watch_anew();
    does(writer, "DEL held/k");
    wait_for_held(1);
    end_watcher();
    let_go(MP_EORIGIN);
    watcher = connect_to();
    does(watcher, "MP.WATCH PREFIX held/");
    hold(false);
    does(writer, "SET held/k 2");
    hears("held/k", "set");
}

/* ---- one frame for many ---- */

/* The next message of @p: a push of its version, of @word of @name. Returns the revision. */
static int64_t hears_as(peer *p, enum mp__reply_type type, const char *name, const char *word)
{
    mp__reply *reply = hear(p);
    int64_t revision;

    assert_int_equal(reply->type, type);
    assert_int_equal(reply->count, 4);
    mp_assert_str(reply->items[0].text, "change");
    mp_assert_str(reply->items[1].text, name);
    mp_assert_str(reply->items[2].text, word);
    revision = reply->items[3].integer;
    (void)mp__reply_free(reply);
    return revision;
}

static void
who_hears_of_one_change_hears_it_in_the_version_and_by_the_words_of_his_own(void **state)
{
    enum { PEERS = 4 };
    static const char *const prefixes[] = {"app/", "app/k", "app/", "app/k"};
    peer *p[PEERS];

    (void)state;
    for (int i = 0; i < PEERS; i++) {
        p[i] = connect_to();
        if (i % 2)
            does(p[i], "HELLO 3");
        say(p[i], (mp_str[]){MP_STR("MP.WATCH"), MP_STR("PREFIX"), mp_str_of(prefixes[i])}, 3);
        (void)mp__reply_free(hear(p[i]));
    }
    does(writer, "MP.ENV base");
    does(writer, "SET app/k 1"); /* what lies behind the deletion below */
    does(writer, "SELECT 0");
    for (int i = 0; i < PEERS; i++)
        (void)hears_as(p[i], i % 2 ? MP__REPLY_PUSH : MP__REPLY_ARRAY, "app/k", "set");
    does(writer, "MSET app/k 2 app/k2 2"); /* one group of changes */
    does(writer, "DEL app/k2 app/k");
    for (int i = 0; i < PEERS; i++) {
        enum mp__reply_type type = i % 2 ? MP__REPLY_PUSH : MP__REPLY_ARRAY;
        int64_t first = hears_as(p[i], type, "app/k", "set");

        assert_int_equal(hears_as(p[i], type, "app/k2", "set"), first + 1);
        assert_int_equal(hears_as(p[i], type, "app/k2", "del"), first + 2);
        assert_int_equal(hears_as(p[i], type, "app/k", "set"), first + 3);
        p[i] = leave(p[i]);
    }
}

/* ---- what waits behind a read ---- */

static void set_large(int number)
{
    static char value[64 * 1024];
    char name[32];

    memset(value, 'v', sizeof(value));
    snprintf(name, sizeof(name), "held/%02d", number);
    say(writer, (mp_str[]){MP_STR("SET"), mp_str_of(name), mp_str_new(value, sizeof(value))}, 3);
    (void)mp__reply_free(hear(writer));
}

static void what_comes_behind_a_read_waits_up_to_a_mebibyte_and_keeps_its_order(void **state)
{
    char name[32];

    (void)state;
    does(writer, "SET held/k 1");
    does(writer, "MP.ENV base");
    does(writer, "SET other 1");
    watch_anew();
    does(writer, "DEL held/k");
    wait_for_held(1);
    for (int i = 0; i < 15; i++)
        set_large(i);
    hears_nothing(); /* less than that waits */
    for (int i = 15; i < 20; i++)
        set_large(i);
    hears("held/k", "del"); /* as it was in its layer: nothing waits for the read any more */
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "held/%02d", i);
        hears(name, "set");
    }
    hold(false); /* the answer comes too late, and is not told again */
    does(writer, "SET held/end 1");
    hears("held/end", "set");
}

/* ---- MP.CHANGES ---- */

/* So many keys that were set and deleted, of which the base may have a value. */
static void make_deletions(void)
{
    char line[64];

    for (int i = 0; i < KEYS; i++) {
        snprintf(line, sizeof(line), "SET held/%03d 1", i);
        does(writer, line);
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(line, sizeof(line), "DEL held/%03d", i);
        does(writer, line);
    }
    does(writer, "MP.ENV base");
    does(writer, "SET other 1");
    stop();
    start();
    hold(true);
}

/* Ask for all of them; hear() waits for the answer. */
static void ask_for_changes(peer *p)
{
    mp_str words[16];

    say(p, words, split("MP.CHANGES FROM 0 PREFIX held/ COUNT 10000", words, 16));
}

static void a_page_of_changes_asks_the_origin_for_some_at_once_and_lists_them_in_order(void **state)
{
    mp__reply *reply;
    char name[32];

    (void)state;
    make_deletions();
    ask_for_changes(watcher);
    wait_for_held(AT_ONCE);
    does(writer, "PING"); /* the turn of the loop that began them is over */
    assert_int_equal(count_of(&held_count), AT_ONCE);
    for (int i = 0; i < 10; i++) { /* one goes, the next comes */
        let_go(MP_EORIGIN);
        wait_for_held(AT_ONCE);
        does(writer, "PING");
        assert_int_equal(count_of(&held_count), AT_ONCE);
    }
    hold(false);
    reply = hear(watcher);
    assert_int_equal(reply->count, 2 + 2 * KEYS); /* each was set, too */
    for (size_t i = 0; i < KEYS; i++) {
        const mp__reply *change = &reply->items[2 + KEYS + i];

        snprintf(name, sizeof(name), "held/%03zu", i);
        mp_assert_str(change->items[0].text, name);
        mp_assert_str(change->items[1].text, "del");
    }
    (void)mp__reply_free(reply);
}

static size_t count_clients(void)
{
    mp__reply *reply = ask(writer, "CLIENT LIST");
    size_t lines = 0;

    for (size_t i = 0; i < reply->text.size; i++)
        lines += reply->text.data[i] == '\n';
    (void)mp__reply_free(reply);
    return lines;
}

/* A connection that asks for them and is reset, once some are being read: an end of its bytes alone
 * would leave it its answers. */
static void ask_and_break(void)
{
    struct linger none = {1, 0};
    peer *p = connect_to();

    ask_for_changes(p);
    wait_for_held(AT_ONCE);
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
    (void)leave(p);
    while (count_clients() != 2)
        ;
}

/* ---- many keys in one request ---- */

/* What memory does not have is asked for some at once; one answered, the next comes. */
static void lets_go_of_all_some_at_a_time(void)
{
    wait_for_held(AT_ONCE);
    does(writer, "PING"); /* the turn of the loop that began them is over */
    assert_int_equal(count_of(&held_count), AT_ONCE);
    for (int i = 0; i < 10; i++) {
        let_go(0);
        wait_for_held(AT_ONCE);
        does(writer, "PING");
        assert_int_equal(count_of(&held_count), AT_ONCE);
    }
    hold(false);
}

static void forget_memory(void)
{
    char line[64];

    for (int i = 0; i < KEYS; i++) {
        snprintf(line, sizeof(line), "SET held/%03d %d", i, i);
        does(writer, line);
    }
    stop();
    remove_kept();
    start();
    does(writer, "SET near/k here");
    hold(true);
}

static void an_mget_asks_the_origin_for_some_at_once_and_answers_in_order(void **state)
{
    static char names[KEYS][16];
    mp_str words[KEYS + 2];
    mp__reply *reply;

    (void)state;
    forget_memory();
    words[0] = MP_STR("MGET");
    words[1] = MP_STR("near/k");
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "held/%03d", i);
        words[2 + i] = mp_str_of(names[i]);
    }
    say(watcher, words, KEYS + 2);
    lets_go_of_all_some_at_a_time();
    reply = hear(watcher);
    assert_int_equal(reply->count, KEYS + 1);
    mp_assert_str(reply->items[0].text, "here");
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(strtol(reply->items[1 + i].text.data, NULL, 10), i);
    (void)mp__reply_free(reply);
}

static int post(const char *path, mp_str body)
{
    int fd = connect_at(mp__server_http_address(server));
    mp__buf out = MP__BUF_INIT;

    (void)mp__buf_printf(&out,
                         "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                         "Content-Length: %zu\r\n\r\n",
                         path, body.size);
    (void)mp__buf_add_str(&out, body);
    assert_int_equal(write(fd, out.data, out.size), out.size);
    mp__buf_done(&out);
    return fd;
}

static int ask_for_many(void)
{
    mp__buf body = MP__BUF_INIT;
    int fd;

    (void)mp__buf_printf(&body, "{\"keys\":[\"near/k\"");
    for (int i = 0; i < KEYS; i++)
        (void)mp__buf_printf(&body, ",\"held/%03d\"", i);
    (void)mp__buf_printf(&body, "]}");
    fd = post("/v1/batch-get", mp__buf_str(&body));
    mp__buf_done(&body);
    return fd;
}

static void a_batch_asks_the_origin_for_some_at_once_and_answers_in_order(void **state)
{
    static char text[1 << 20];
    const char *at;
    size_t size = 0;
    ssize_t n;
    int fd;

    (void)state;
    forget_memory();
    fd = ask_for_many();
    lets_go_of_all_some_at_a_time();
    while ((n = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
        size += (size_t)n;
    (void)close(fd);
    text[size] = '\0';
    at = strstr(text, "\"value\":\"here\"");
    for (int i = 0; i < KEYS; i++) {
        char value[32];

        snprintf(value, sizeof(value), "\"value\":\"%d\"", i);
        assert_non_null(at);
        at = strstr(at, value);
    }
    assert_non_null(at);
}

static void a_batch_whose_client_has_gone_asks_for_nothing_more(void **state)
{
    struct linger none = {1, 0};
    size_t before;
    int fd;

    (void)state;
    forget_memory();
    fd = ask_for_many();
    wait_for_held(AT_ONCE);
    before = count_of(&asked);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
    (void)close(fd);
    while (atomic_load(&server->http_clients)) /* it has not seen that yet */
        does(writer, "PING");
    hold(false);
    does(writer, "SET held/000 again");
    stop(); /* which waits for what is under way */
    assert_int_equal(count_of(&asked), before);
    start();
}

static void who_has_gone_is_not_read_for_any_more(void **state)
{
    (void)state;
    make_deletions();
    ask_and_break();
    for (int i = 0; i < 10; i++) { /* what that lets come is let go, too */
        while (count_of(&held_count))
            let_go(MP_EORIGIN);
        does(writer, "PING");
    }
    hold(false);
    assert_true(count_of(&asked) <= 2 * AT_ONCE); /* those that were begun, in two layers each */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_change_whose_read_fails_is_told_as_what_it_was_in_its_layer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_change_whose_read_fails_is_told_by_what_is_kept_of_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_leaves_while_it_is_read_for_leaves_nothing_behind,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_hears_of_one_change_hears_it_in_the_version_and_by_the_words_of_his_own, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(
            what_comes_behind_a_read_waits_up_to_a_mebibyte_and_keeps_its_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_page_of_changes_asks_the_origin_for_some_at_once_and_lists_them_in_order, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(who_has_gone_is_not_read_for_any_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            an_mget_asks_the_origin_for_some_at_once_and_answers_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_batch_asks_the_origin_for_some_at_once_and_answers_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_whose_client_has_gone_asks_for_nothing_more, set_up,
                                        tear_down),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    cmocka_set_test_filter(getenv("MP_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
