/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor's checks of the machine, one by one, in a world that is ill as each test wants it.
 * What is broken for real stands in tests/e2e/test_doctor.py. */
#include "mp_test.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "mp_platter.h"

static struct statvfs room;
static struct rlimit descriptors;
static int clock_state;
static bool membarrier;
static char root[64];

static int fake_statvfs(const char *path, struct statvfs *ret)
{
    (void)path;
    *ret = room;
    return 0;
}

static int fake_nofile(struct rlimit *ret)
{
    *ret = descriptors;
    return 0;
}

static int fake_clock(void)
{
    return clock_state;
}

static bool fake_membarrier(void)
{
    return membarrier;
}

static const mp__doctor_world world = {.root = root,
                                       .statvfs = fake_statvfs,
                                       .nofile = fake_nofile,
                                       .clock_status = fake_clock,
                                       .has_membarrier = fake_membarrier,
                                       .uid = 1000};

typedef struct patient {
    mp__doctor doctor;
    mp_platter *disk;
    mp__options *options;
    json_t *status;
} patient;

/* A world that is well. */
static int begin(void **state)
{
    patient *p = calloc(1, sizeof(*p));

    room = (struct statvfs){.f_frsize = 4096,
                            .f_blocks = 10u << 18,
                            .f_bavail = 5u << 18,
                            .f_files = 1000000,
                            .f_favail = 900000};
    descriptors = (struct rlimit){1 << 20, 1 << 20};
    clock_state = TIME_OK;
    membarrier = true;
    snprintf(root, sizeof(root), "/tmp/mp-doctor-XXXXXX");
    assert_non_null(mkdtemp(root));
    p->disk = mp_platter_new(3);
    assert_int_equal(mp__options_new(&p->options), 0);
    p->doctor = (mp__doctor){.env = mp_platter_env(p->disk),
                             .world = &world,
                             .options = p->options,
                             .data_dir = "/data",
                             .resp = "127.0.0.1:7480"};
    *state = p;
    return 0;
}

static int end(void **state)
{
    patient *p = *state;
    char command[128];

    mp__doctor_done(&p->doctor);
    p->options = mp__options_free(p->options);
    json_decref(p->status);
    (void)mp_platter_free(p->disk);
    free(p);
    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static void lay(const char *path, const char *text)
{
    char name[256], command[300];
    FILE *file;

    snprintf(name, sizeof(name), "%s%s", root, path);
    snprintf(command, sizeof(command), "mkdir -p $(dirname %s)", name);
    assert_int_equal(system(command), 0);
    file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* The worst that @check finds; its text must hold @part. */
static const mp__finding *worst(patient *p, const char *check, enum mp__severity severity,
                                const char *part)
{
    const mp__finding *found = NULL;

    mp__doctor_done(&p->doctor);
    mp__doctor_run(&p->doctor, check);
    for (size_t i = 0; i < p->doctor.count; i++)
        if (!found || p->doctor.findings[i].severity > found->severity)
            found = &p->doctor.findings[i];
    assert_non_null(found);
    if (found->severity != severity || !strstr(found->what, part))
        print_message("# %d: %s\n", found->severity, found->what);
    assert_int_equal(found->severity, severity);
    assert_non_null(strstr(found->what, part));
    assert_int_equal(found->severity != MP__FINDING_OK, found->remedy[0] != '\0');
    return found;
}

static void room_is_told_from_plenty_to_none(void **state)
{
    patient *p = *state;

    (void)worst(p, "disk", MP__FINDING_OK, "are free");
    room.f_bavail = 100u << 8; /* 100 MiB */
    (void)worst(p, "disk", MP__FINDING_WARNING, "only 100.0 MiB");
    room.f_bavail = 10u << 8;
    assert_non_null(strstr(worst(p, "disk", MP__FINDING_TROUBLE, "only 10.0 MiB")->remedy, "room"));
    room.f_blocks = 2u << 18; /* a small disk that the cache would fill */
    room.f_bavail = 500u << 8;
    (void)worst(p, "disk", MP__FINDING_WARNING, "may still take 1000.0 MiB");
}

static void missing_inodes_are_told(void **state)
{
    patient *p = *state;

    room.f_favail = 5000;
    (void)worst(p, "disk", MP__FINDING_WARNING, "inodes");
    room.f_favail = 7;
    (void)worst(p, "disk", MP__FINDING_TROUBLE, "inodes");
    room.f_files = 0; /* a file system that does not count them */
    (void)worst(p, "disk", MP__FINDING_OK, "");
}

static void a_disk_that_fails_is_told_by_how_it_fails(void **state)
{
    patient *p = *state;

    mp_platter_fail(p->disk, MP_PLATTER_SYNC, 1, 1, -EIO);
    assert_non_null(
        strstr(worst(p, "disk", MP__FINDING_TROUBLE, "synced write")->remedy, "smartctl"));
    mp_platter_fail(p->disk, MP_PLATTER_WRITE, 1, 1, -ENOSPC);
    assert_non_null(strstr(worst(p, "disk", MP__FINDING_TROUBLE, "synced write")->remedy, "room"));
    mp_platter_fail(p->disk, 0, 0, 0, 0);
    mp_platter_set_read_only(p->disk, true);
    assert_non_null(strstr(worst(p, "disk", MP__FINDING_TROUBLE, "synced write")->remedy, "mount"));
    mp_platter_set_read_only(p->disk, false);
    (void)worst(p, "disk", MP__FINDING_OK, "");
    assert_int_equal(mp_platter_count(p->disk, ".doctor"), 0); /* nothing is left */
}

static void descriptors_are_held_against_clients(void **state)
{
    patient *p = *state;

    (void)worst(p, "limits", MP__FINDING_OK, "20000 clients");
    descriptors.rlim_max = 4096;
    (void)worst(p, "limits", MP__FINDING_WARNING, "4096 descriptors");
    descriptors.rlim_max = 64;
    (void)worst(p, "limits", MP__FINDING_TROUBLE, "64 descriptors");
    assert_int_equal(mp__options_set(p->options, "resp.max_clients", "10", NULL), 0);
    assert_int_equal(mp__options_set(p->options, "http.max_clients", "10", NULL), 0);
    descriptors.rlim_max = 1024;
    (void)worst(p, "limits", MP__FINDING_OK, "20 clients");
}

static void memory_is_held_against_every_cgroup_above(void **state)
{
    patient *p = *state;

    lay("/proc/meminfo", "MemTotal: 100 kB\nMemAvailable:    1048576 kB\n");
    (void)worst(p, "memory", MP__FINDING_OK, "1.0 GiB are available");
    lay("/proc/self/cgroup", "0::/system.slice/marketprism.service\n");
    lay("/sys/fs/cgroup/system.slice/marketprism.service/memory.max", "max\n");
    (void)worst(p, "memory", MP__FINDING_OK, "");
    lay("/sys/fs/cgroup/system.slice/memory.max", "67108864\n");
    (void)worst(p, "memory", MP__FINDING_TROUBLE, "cgroup allows 64.0 MiB");
    lay("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n");
    lay("/proc/meminfo", "MemAvailable:    1024 kB\n");
    (void)worst(p, "memory", MP__FINDING_WARNING, "1.0 MiB of memory");
}

static void jumps_and_drift_of_the_clock_are_told(void **state)
{
    patient *p = *state;
    int64_t now = mp__env_wall_ms(p->doctor.env);

    (void)worst(p, "clock", MP__FINDING_TROUBLE, "before 2024"); /* the test disk lives in 2023 */
    p->doctor.env = mp__env_real();
    now = mp__env_wall_ms(p->doctor.env);
    (void)worst(p, "clock", MP__FINDING_OK, "synchronised");
    clock_state = TIME_ERROR;
    (void)worst(p, "clock", MP__FINDING_WARNING, "not synchronised");
    clock_state = TIME_OK;
    p->status = json_pack("{s:I, s:i}", "started_ms", (json_int_t)(now - 100000), "uptime_s", 100);
    p->doctor.status = p->status;
    (void)worst(p, "clock", MP__FINDING_OK, "synchronised");
    json_object_set_new(p->status, "uptime_s", json_integer(40));
    (void)worst(p, "clock", MP__FINDING_WARNING, "set by +60.0 s");
    json_object_set_new(p->status, "uptime_s", json_integer(3700));
    (void)worst(p, "clock", MP__FINDING_WARNING, "set by -3600.0 s");
}

static void the_kernel_is_asked_for_what_is_used(void **state)
{
    patient *p = *state;

    (void)worst(p, "kernel", MP__FINDING_OK, "nothing is missing");
    membarrier = false;
    (void)worst(p, "kernel", MP__FINDING_WARNING, "membarrier");
    membarrier = true;
    lay("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
    (void)worst(p, "kernel", MP__FINDING_WARNING, "huge pages");
    lay("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    lay("/proc/sys/net/core/somaxconn", "128\n");
    (void)worst(p, "kernel", MP__FINDING_WARNING, "128 connections");
    lay("/proc/sys/net/core/somaxconn", "4096\n");
    lay("/proc/sys/fs/inotify/max_user_instances", "0\n");
    lay("/proc/sys/fs/inotify/max_user_watches", "65536\n");
    (void)worst(p, "kernel", MP__FINDING_OK, ""); /* the database needs none */
    assert_int_equal(mp__options_set(p->options, "origin.type", "file", NULL), 0);
    (void)worst(p, "kernel", MP__FINDING_WARNING, "only 0 users of inotify");
    lay("/proc/sys/fs/inotify/max_user_instances", "128\n");
    lay("/proc/sys/fs/inotify/max_user_watches", "100\n");
    (void)worst(p, "kernel", MP__FINDING_WARNING, "only 100 watches");
}

static void a_cache_that_cannot_be_read_is_told(void **state)
{
    patient *p = *state;

    (void)worst(p, "damage", MP__FINDING_OK, "0 records");
    mp_platter_put(p->disk, "/data/l3/l3-0000000001.seg",
                   "nothing of ours, but long enough to have"
                   " a head, which is 128 bytes: ..........."
                   "........................................"
                   "............",
                   132);
    (void)worst(p, "damage", MP__FINDING_TROUBLE, "l3-0000000001.seg");
    mp_platter_fail(p->disk, MP_PLATTER_LOOK, 1, 1, -EACCES);
    (void)worst(p, "damage", MP__FINDING_TROUBLE, "cannot be read");
}

static void an_address_that_cannot_be_one_is_told(void **state)
{
    patient *p = *state;

    p->doctor.env = mp__env_real();
    assert_int_equal(mp__options_set(p->options, "resp.listen", "127.0.0.1:0", NULL), 0);
    assert_int_equal(mp__options_set(p->options, "http.listen", "192.0.2.1:9", NULL), 0);
    (void)worst(p, "ports", MP__FINDING_TROUBLE, "192.0.2.1:9 cannot be listened at");
    assert_int_equal(mp__options_set(p->options, "http.listen", "127.0.0.1:0", NULL), 0);
    (void)worst(p, "ports", MP__FINDING_OK, "the system chooses");
}

#define ON_PATIENT(f) cmocka_unit_test_setup_teardown(f, begin, end)

static const struct CMUnitTest tests[] = {
    ON_PATIENT(room_is_told_from_plenty_to_none),
    ON_PATIENT(missing_inodes_are_told),
    ON_PATIENT(a_disk_that_fails_is_told_by_how_it_fails),
    ON_PATIENT(descriptors_are_held_against_clients),
    ON_PATIENT(memory_is_held_against_every_cgroup_above),
    ON_PATIENT(jumps_and_drift_of_the_clock_are_told),
    ON_PATIENT(the_kernel_is_asked_for_what_is_used),
    ON_PATIENT(a_cache_that_cannot_be_read_is_told),
    ON_PATIENT(an_address_that_cannot_be_one_is_told),
};

MP_TEST_MAIN(tests)
