/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/env_notify.h"

/* A socket of ours in the place of the service manager's; its name is in NOTIFY_SOCKET. */
static int listen_as_manager(struct sockaddr_un *address, socklen_t size, const char *name)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    address->sun_family = AF_UNIX;
    assert_int_equal(bind(fd, (struct sockaddr *)address, size), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void assert_told(int fd, const char *expected)
{
    char text[128];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
}

static void nobody_is_told_where_nobody_asked(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_int_equal(mp__service_notify("READY=1"), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", "", 1), 0);
    assert_int_equal(mp__service_notify("READY=1"), 0);
}

static void a_socket_in_a_folder_is_told(void **state)
{
    struct sockaddr_un address = {0};
    char folder[] = "/tmp/mp-notify-XXXXXX";
    int fd;

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
    fd = listen_as_manager(&address, sizeof(address), address.sun_path);
    assert_int_equal(mp__service_notify("READY=1\nSTATUS=well"), 0);
    assert_told(fd, "READY=1\nSTATUS=well");
    (void)close(fd);
    (void)unlink(address.sun_path);
    assert_int_equal(mp__service_notify("READY=1"), -ENOENT);
    (void)rmdir(folder);
}

static void an_abstract_socket_is_told(void **state)
{
    struct sockaddr_un address = {0};
    char name[64];
    socklen_t size;
    int fd;

    (void)state;
    (void)snprintf(name, sizeof(name), "@mp-notify-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    fd = listen_as_manager(&address, size, name);
    assert_int_equal(mp__service_notify("STOPPING=1"), 0);
    assert_told(fd, "STOPPING=1");
    (void)close(fd);
    assert_int_equal(mp__service_notify("STOPPING=1"), -ECONNREFUSED);
}

static void what_is_no_address_is_refused(void **state)
{
    char longer[200];

    (void)state;
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    for (size_t i = 0; i < 4; i++) {
        const char *const names[] = {"relative/path", "vsock:2:1234", "@", longer};

        assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
        assert_int_equal(mp__service_notify("READY=1"), MP_EINVAL);
    }
}

static void a_manager_that_does_not_read_is_not_waited_for(void **state)
{
    struct sockaddr_un address = {0};
    char name[64];
    socklen_t size;
    int fd, rc = 0;

    (void)state;
    (void)snprintf(name, sizeof(name), "@mp-notify-deaf-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    fd = listen_as_manager(&address, size, name);
    for (int i = 0; i < 1000000 && rc == 0; i++)
        rc = mp__service_notify("STATUS=once more");
    assert_int_equal(rc, -EAGAIN);
    (void)close(fd);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(nobody_is_told_where_nobody_asked),
    MP_TEST(a_socket_in_a_folder_is_told),
    MP_TEST(an_abstract_socket_is_told),
    MP_TEST(what_is_no_address_is_refused),
    MP_TEST(a_manager_that_does_not_read_is_not_waited_for),
};
MP_TEST_MAIN(tests)
