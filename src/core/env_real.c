/* SPDX-License-Identifier: Apache-2.0 */
/* The real env: libuv loops, POSIX files, threads. */
#include "core/env_real.h"

const mp__env_ops mp__env_real_ops = {
    .now_ns = mp__real_now_ns,
    .wall_ms = mp__real_wall_ms,
    .random = mp__real_random,
    .file_open = mp__real_file_open,
    .file_close = mp__real_file_close,
    .file_pread = mp__real_file_pread,
    .file_pread_nowait = mp__real_file_pread_nowait,
    .file_pwrite = mp__real_file_pwrite,
    .file_sync = mp__real_file_sync,
    .file_truncate = mp__real_file_truncate,
    .file_stat = mp__real_file_stat,
    .file_lock = mp__real_file_lock,
    .stat = mp__real_stat,
    .mkdir_one = mp__real_mkdir_one,
    .rename = mp__real_rename,
    .unlink = mp__real_unlink,
    .sync_dir = mp__real_sync_dir,
    .list = mp__real_list,
    .disk_free = mp__real_disk_free,
    .loop_new = mp__real_loop_new,
    .loop_free = mp__real_loop_free,
    .loop_run = mp__real_loop_run,
    .loop_stop = mp__real_loop_stop,
    .loop_post = mp__real_loop_post,
    .loop_now_ns = mp__real_loop_now_ns,
    .loop_on_turn = mp__real_loop_on_turn,
    .loop_on_signal = mp__real_loop_on_signal,
    .loop_run_on_thread = mp__real_loop_run_on_thread,
    .loop_join = mp__real_loop_join,
    .timer_new = mp__real_timer_new,
    .timer_start = mp__real_timer_start,
    .timer_stop = mp__real_timer_stop,
    .timer_free = mp__real_timer_free,
    .dirwatch_new = mp__real_dirwatch_new,
    .dirwatch_free = mp__real_dirwatch_free,
    .listen = mp__real_listen,
    .listen_probe = mp__real_listen_probe,
    .listener_pause = mp__real_listener_pause,
    .listener_free = mp__real_listener_free,
    .connect = mp__real_connect,
    .stream_start = mp__real_stream_start,
    .stream_pause = mp__real_stream_pause,
    .stream_write = mp__real_stream_write,
    .stream_write_kept = mp__real_stream_write_kept,
    .stream_queued = mp__real_stream_queued,
    .stream_close = mp__real_stream_close,
    .stream_reset = mp__real_stream_reset,
    .stream_shutdown = mp__real_stream_shutdown,
    .stream_peer = mp__real_stream_peer,
    .hold_wakes = mp__real_hold_wakes,
    .release_wakes = mp__real_release_wakes,
    .worker_new = mp__real_worker_new,
    .worker_set_idle = mp__real_worker_set_idle,
    .worker_post = mp__real_worker_post,
    .worker_queued = mp__real_worker_queued,
    .worker_free = mp__real_worker_free,
};

static mp_env env_real = {&mp__env_real_ops};

mp_env *mp__env_real(void)
{
    return &env_real;
}
