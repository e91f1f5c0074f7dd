/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_world.h"

#include "mp_test.h"

#include <stdlib.h>

const mp__identity identity = {"test"};
mp_sim *sim;
mp__manager *manager;
mp__options *options;
mp__loop *loop;
static mp__timer *timer;

static void tick(void *context)
{
    (void)context;
    if (!manager)
        return;
    mp__manager_tick(manager, mp__env_wall_ms(mp_sim_env(sim)), mp__env_now_ns(mp_sim_env(sim)));
    mp__manager_deadlines(manager, loop);
}

void world_begin(uint64_t seed, uint64_t tick_ms)
{
    assert_null(sim);
    sim = mp_sim_new(seed);
    assert_int_equal(mp__options_new(&options), 0);
    assert_int_equal(mp__loop_new(mp_sim_env(sim), "mp-loop-0", &loop), 0);
    assert_int_equal(mp__timer_new(loop, tick, NULL, &timer), 0);
    mp__timer_start(timer, tick_ms, tick_ms);
}

void world_end(void)
{
    world_close();
    timer = mp__timer_free(timer);
    loop = mp__loop_free(loop);
    options = mp__options_free(options);
    sim = mp_sim_free(sim);
}

int world_set_up(void **state)
{
    (void)state;
    world_begin(42, 50);
    world_open("/data");
    return 0;
}

int world_tear_down(void **state)
{
    (void)state;
    world_end();
    return 0;
}

void option(const char *path, const char *value)
{
    assert_int_equal(mp__options_set(options, path, value, NULL), 0);
}

int world_try_open(const char *data_dir, bool new_origin, const mp__origin_ops *origin,
                   mp__diag *diag)
{
    mp__manager_config config = {.env = mp_sim_env(sim),
                                 .options = options,
                                 .data_dir = data_dir,
                                 .new_origin = new_origin,
                                 .origin = origin};
    int rc;

    assert_null(manager);
    rc = mp__manager_open(&config, &manager, diag);
    tick(NULL);
    return rc;
}

void world_open(const char *data_dir)
{
    mp__diag diag = {0};

    if (world_try_open(data_dir, false, NULL, &diag) != 0)
        print_message("# %s\n", diag.text);
    assert_non_null(manager);
    mp_sim_run(sim, 20);
}

void world_close(void)
{
    manager = mp__manager_close(manager);
}

static void rename_origin(const char *from, const char *to)
{
    assert_int_equal(mp__env_rename(mp_sim_env(sim), from, to), 0);
    mp_sim_run(sim, 3000);
}

void world_origin_goes(void)
{
    rename_origin("/data/origin.db", "/away");
}

void world_origin_comes_back(void)
{
    rename_origin("/away", "/data/origin.db");
}

uint64_t world_fetches(void)
{
    mp__buf json = MP__BUF_INIT;
    const char *at;
    uint64_t n;

    assert_int_equal(mp__manager_status(manager, &identity, &json), 0);
    assert_int_equal(mp__buf_add_char(&json, '\0'), 0);
    at = strstr(json.data, "\"fetches\":");
    assert_non_null(at);
    n = strtoull(at + 10, NULL, 10);
    mp__buf_done(&json);
    return n;
}

bool world_is_true(void *context)
{
    return *(bool *)context;
}

void world_wait(bool *done)
{
    assert_true(mp_sim_run_until(sim, world_is_true, done, 60000));
}

void world_read_done(mp__read *read)
{
    *(bool *)read->context = true;
}

void world_write_done(mp__write_request *request)
{
    *(bool *)request->context = true;
}

int world_write(mp__write_request *request)
{
    bool done = false;

    request->loop = loop;
    request->identity = &identity;
    request->context = &done;
    if (!request->done)
        request->done = world_write_done;
    mp__write_start(manager, request);
    world_wait(&done);
    (void)mp_blob_unref(request->old_value);
    return request->status;
}
