/* SPDX-License-Identifier: Apache-2.0 */
/* The world outside: clock, random, files, loops, timers, streams, worker threads.
 *
 * Everything that is not pure computation is asked of an mp_env, so that the whole daemon runs on
 * libuv and POSIX (mp__env_real), or in a simulator in one thread from a seed
 * (tests/support/mp_sim.h), or on a disk that lies (tests/support/mp_platter.h, mp_disk.h).
 *
 * Threads: clock, random and file calls may come from any thread. Loop, timer and stream calls come
 * only from the loop's own thread, except mp__loop_post() and mp__loop_stop(). */
#ifndef MP_CORE_ENV_H
#define MP_CORE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <marketprism/blob.h>

#include "core/error.h"

typedef struct mp_env mp_env;
typedef struct mp__file mp__file;
typedef struct mp__loop mp__loop;
typedef struct mp__timer mp__timer;
typedef struct mp__dirwatch mp__dirwatch;
typedef struct mp__listener mp__listener;
typedef struct mp__stream mp__stream;
typedef struct mp__worker mp__worker;

/* A unit of work, embedded in whatever it is about; it belongs to the queue from the post until
 * run() begins, and may be posted again from inside run(). */
typedef struct mp__task {
    struct mp__task *next; /* for the queue */
    void (*run)(struct mp__task *task);
} mp__task;

/* ---- the real one ---- */

/* The process's own environment: libuv loops, POSIX files, pthreads. Static; never freed. */
mp_env *mp__env_real(void);

/* ---- clock and random ---- */

uint64_t mp__env_now_ns(mp_env *env); /* monotonic; for every wait and age within a process */
/* CPU time that the process has had, all threads together; a system call. An env without it says
 * what mp__env_now_ns() does, as if it had had all the time. */
uint64_t mp__env_cpu_ns(mp_env *env);
int64_t mp__env_wall_ms(mp_env *env); /* Unix time in ms; may jump; for records and display */
void mp__env_random(mp_env *env, void *data, size_t size); /* secret; never fails */

/* ---- files; may block: from worker threads, or at start and end ---- */

enum mp__open_flags {
    MP__OPEN_READ = 0,
    MP__OPEN_WRITE = 1,     /* read and write */
    MP__OPEN_CREATE = 2,    /* make it if missing, mode 0600 */
    MP__OPEN_EXCLUSIVE = 4, /* with CREATE: -EEXIST when it is there */
    MP__OPEN_TRUNCATE = 8,
    /* With WRITE: what is written goes past the page cache and is on the disk on return, without
     * mp__file_sync(): whole blocks of MP__DIRECT_BLOCK, at multiples of it, from memory at a
     * multiple of it. -EINVAL or -EOPNOTSUPP of the open or of a write: the file system cannot. */
    MP__OPEN_DIRECT = 16,
};

enum { MP__DIRECT_BLOCK = 4096 };

typedef struct mp__stat {
    uint64_t size, device, inode;
    int64_t modified_ms;
    int64_t changed_ns; /* Unix ns of the last change of content or attributes; steps of some ms */
    bool is_dir, is_special; /* neither: a file; special: a pipe, a socket, a device */
    unsigned mode;           /* the permission bits, 0 to 07777; 0 where there are none */
} mp__stat;

MP_MUST_USE int mp__file_open(mp_env *env, const char *path, int flags, mp__file **ret_file);
void mp__file_close(mp__file *file); /* accepts NULL */
/* Read up to @size bytes at @offset; fewer only at the end of the file. Bytes read or -errno. */
MP_MUST_USE int64_t mp__file_pread(mp__file *file, void *data, size_t size, uint64_t offset);
/* The same if it needs no disk, else -EAGAIN (preadv2 RWF_NOWAIT): may be called in a loop. */
MP_MUST_USE int64_t mp__file_pread_nowait(mp__file *file, void *data, size_t size, uint64_t offset);
/* Write all of @size bytes at @offset, or fail: 0 or -errno (some may have been written). */
MP_MUST_USE int mp__file_pwrite(mp__file *file, const void *data, size_t size, uint64_t offset);
MP_MUST_USE int mp__file_sync(mp__file *file); /* fdatasync; after a failure nothing is certain */
MP_MUST_USE int mp__file_truncate(mp__file *file, uint64_t size);
MP_MUST_USE int mp__file_stat(mp__file *file, mp__stat *ret_stat);
/* An exclusive advisory lock of this open file, held until it is closed or the process ends;
 * MP_ELOCKED when another process or another open file has it. Never waits. */
MP_MUST_USE int mp__file_lock(mp__file *file);

MP_MUST_USE int mp__env_stat(mp_env *env, const char *path, mp__stat *ret_stat);
MP_MUST_USE int mp__env_mkdir(mp_env *env, const char *path); /* parents too; 0 if it is there */
MP_MUST_USE int mp__env_rename(mp_env *env, const char *from, const char *to);
MP_MUST_USE int mp__env_unlink(mp_env *env, const char *path);
MP_MUST_USE int mp__env_sync_dir(mp_env *env, const char *path);
/* Call @each for every entry but . and .., in no order; a nonzero return ends it and is returned.
 */
MP_MUST_USE int mp__env_list(mp_env *env, const char *path,
                             int (*each)(void *context, const char *name), void *context);
MP_MUST_USE int mp__env_disk_free(mp_env *env, const char *path, uint64_t *ret_bytes);

/* Whole files, on top of the above. write_atomic: a temporary beside it, synced, renamed, folder
 * synced. *ret_data is the caller's to mp__free(), terminated; MP_ELIMIT above @size_max. read_file
 * takes a pipe or a device, too, to its end. */
MP_MUST_USE int mp__env_read_file(mp_env *env, const char *path, size_t size_max, char **ret_data,
                                  size_t *ret_size);
MP_MUST_USE int mp__env_write_file_atomic(mp_env *env, const char *path, const void *data,
                                          size_t size);

/* ---- loops and timers ---- */

MP_MUST_USE int mp__loop_new(mp_env *env, const char *name, mp__loop **ret_loop);
mp__loop *mp__loop_free(mp__loop *loop); /* after run returned; everything on it closed */
/* Run on the calling thread until mp__loop_stop(), then let what is closing finish. */
int mp__loop_run(mp__loop *loop);
void mp__loop_stop(mp__loop *loop); /* any thread */
/* Let @task run on the loop's thread, in the order of posts from one thread. Any thread. Posts made
 * while the loop sleeps wake it; many posts are one wake-up. */
void mp__loop_post(mp__loop *loop, mp__task *task);
mp_env *mp__loop_env(mp__loop *loop);
/* Time of the present turn of the loop, ns monotonic: no clock call. */
uint64_t mp__loop_now_ns(mp__loop *loop);
/* From now on what is ready on many streams of the loop is read in one system call where the system
 * has io_uring(7) and @ring is set, and short writes leave together when the turn ends. Before it
 * runs, once. MP_ENOMEM. */
MP_MUST_USE int mp__loop_gather(mp__loop *loop, bool ring);
/* Read no more than so many bytes of a stream at a time from now on; 0: as many as there is room
 * for. What is left of them is read when the others have been. On the loop's thread. */
void mp__loop_read_most(mp__loop *loop, size_t bytes);
/* Whether it does so by io_uring now: false until there was something to gather. Any thread. */
bool mp__loop_has_ring(const mp__loop *loop);
/* Call once each turn after its events, before sleeping; one a loop. For flushing what a turn
 * gathered. */
void mp__loop_on_turn(mp__loop *loop, void (*fn)(void *context), void *context);

MP_MUST_USE int mp__timer_new(mp__loop *loop, void (*fn)(void *context), void *context,
                              mp__timer **ret_timer);
void mp__timer_start(mp__timer *timer, uint64_t delay_ms, uint64_t repeat_ms); /* 0: once */
void mp__timer_stop(mp__timer *timer);
mp__timer *mp__timer_free(mp__timer *timer); /* stops it; may be called from its own callback */

/* Call @fn when a name in the folder @path is made, written to, renamed or removed, or the folder
 * itself is; @name is NULL when the system does not say which. Not for what lies deeper. Changes
 * may go untold (an overrun queue, a network file system): look again from time to time. A folder
 * that was moved or made anew must be watched anew. -ENOSPC, -EMFILE: the system gives no more
 * watches (fs.inotify.max_user_watches, max_user_instances); -ENOENT. Loop thread. */
MP_MUST_USE int mp__dirwatch_new(mp__loop *loop, const char *path,
                                 void (*fn)(void *context, const char *name), void *context,
                                 mp__dirwatch **ret_watch);
mp__dirwatch *mp__dirwatch_free(mp__dirwatch *watch); /* may be called from its own callback */

/* Signals (real env: libuv; simulated: never). Loop thread. @fn gets the number. */
MP_MUST_USE int mp__loop_on_signal(mp__loop *loop, int signal,
                                   void (*fn)(void *context, int signal), void *context);

/* ---- streams: connected bytes; TLS will slip in behind this interface ---- */

typedef struct mp__stream_events {
    /* @size > 0: bytes in @data, valid during the call. 0: the peer ended its side. < 0: -errno.
     * After 0 or an error no more comes. The stream may be closed from inside. */
    void (*on_read)(void *context, char *data, int64_t size);
    /* All that mp__stream_write() had to queue has been handed to the system. */
    void (*on_drained)(void *context);
    /* The memory of the stream is gone; the last call. */
    void (*on_closed)(void *context);
} mp__stream_events;

/* "127.0.0.1:7480", "[::1]:7480", "localhost:0". MP_EINVAL with a text in @diag. */
MP_MUST_USE int mp__address_parse(const char *text, char *host, size_t host_capacity,
                                  uint16_t *ret_port, mp__diag *diag);
bool mp__address_is_loopback(const char *host);

/* Listen with SO_REUSEPORT when @shared (several loops of one process on one port). *port 0: the
 * system chooses and it is filled in. @on_accept owns the stream it gets and must set its events.
 * @exclusive probes first without SO_REUSEPORT so that a second daemon is refused (-EADDRINUSE). */
MP_MUST_USE int mp__listen(mp__loop *loop, const char *host, uint16_t *port, bool shared,
                           void (*on_accept)(void *context, mp__stream *stream), void *context,
                           mp__listener **ret_listener);
/* -EADDRINUSE if anybody listens there, else 0. Called before the shared sockets are made. */
MP_MUST_USE int mp__listen_probe(mp_env *env, const char *host, uint16_t port);
void mp__listener_pause(mp__listener *listener, bool pause);
mp__listener *mp__listener_free(mp__listener *listener);

/* To an address, or to what a name stands for: looked up in a thread of its own, each of its
 * addresses is tried. @on_connect comes once, on the loop: with a stream, or with -errno (-ENXIO:
 * the name stands for none) or MP_ETIMEOUT. Not after an error here. */
MP_MUST_USE int mp__connect(mp__loop *loop, const char *host, uint16_t port, uint64_t timeout_ms,
                            void (*on_connect)(void *context, int error, mp__stream *stream),
                            void *context);
void mp__stream_start(mp__stream *stream, const mp__stream_events *events, void *context);
/* Stop or resume reading. Of a loop that gathers, what was read already may come once more. */
void mp__stream_pause(mp__stream *stream, bool pause);
/* Write now what the socket takes (no copy), queue a copy of the rest. 0, or -errno when the stream
 * is broken (on_read gets it too) . */
int mp__stream_write(mp__stream *stream, const struct iovec *parts, int count);
/* The same, where the bytes of the last part are of @kept: what has to wait of them is not copied,
 * but @kept is held until they are sent. */
int mp__stream_write_kept(mp__stream *stream, const struct iovec *parts, int count,
                          const mp_blob *kept);
/* Bytes that wait because the socket takes no more; not those that wait for the end of the turn. */
size_t mp__stream_queued(const mp__stream *stream);
/* Those of them that the socket has not taken yet: a large answer is queued until all of it went.
 */
size_t mp__stream_unsent(const mp__stream *stream);
/* The number of its descriptor, which was the lowest that was free: it tells how many are taken.
 * -1: it has none. */
int mp__stream_descriptor(const mp__stream *stream);
/* Write what waits for the end of the turn now; what the socket does not take of it is queued. As
 * mp__stream_write(). */
int mp__stream_flush(mp__stream *stream);
/* Drops what is queued (not what waits for the end of the turn and is taken); on_closed follows.
 * Its descriptor is free on return. */
void mp__stream_close(mp__stream *stream);
/* The same with a reset, so that a peer that reads nothing learns of it, too. */
void mp__stream_reset(mp__stream *stream);
void mp__stream_shutdown(mp__stream *stream); /* close after what is queued was sent */
/* Tell the peer that nothing more is written; it is still read. With nothing queued only. */
void mp__stream_end(mp__stream *stream);
/* "127.0.0.1:51234"; at most 64 bytes with the terminator. Returns @text. */
const char *mp__stream_peer(mp__stream *stream, char *text, size_t capacity);

/* ---- many posts, one wake-up ---- */

/* From now on posts of this thread, to loops and to workers, wake nobody, until the release, which
 * wakes all of them: for one who posts many tasks and would else be put aside for each. May be
 * nested. Not to be held across anything that waits. A loop holds during each of its turns. */
void mp__env_hold_wakes(mp_env *env);
void mp__env_release_wakes(mp_env *env);

/* ---- workers: named threads that take work in batches ---- */

/* A thread named @name that calls @run_batch with all that is queued, as a list in the order of the
 * posts, when there is something. In the simulator it is an event a random time later. */
MP_MUST_USE int mp__worker_new(mp_env *env, const char *name,
                               void (*run_batch)(void *context, mp__task *first), void *context,
                               mp__worker **ret_worker);
/* The same, with @run_batch also called with NULL every @idle_ms without work. */
MP_MUST_USE int mp__worker_new_idle(mp_env *env, const char *name, uint64_t idle_ms,
                                    void (*run_batch)(void *context, mp__task *first),
                                    void *context, mp__worker **ret_worker);
/* From its own run_batch: how long it waits from now on before it counts as idle; 0: for ever. */
void mp__worker_set_idle(mp__worker *worker, uint64_t idle_ms);
void mp__worker_post(mp__worker *worker, mp__task *task); /* any thread */
size_t mp__worker_queued(const mp__worker *worker);       /* about; any thread */
/* Finish what is queued, end the thread, free. Accepts NULL, returns NULL. Not from itself. */
mp__worker *mp__worker_free(mp__worker *worker);
/* A run_batch that calls each task's own run(). */
void mp__worker_run_each(void *context, mp__task *first);

/* A plain thread for a loop to run on (simulated: the simulator interleaves its loops). */
MP_MUST_USE int mp__loop_run_on_thread(mp__loop *loop, void (*at_start)(void *context),
                                       void *context);
void mp__loop_join(mp__loop *loop);

/* ---- for those who implement an env: see env_ops.h ---- */

#endif
