/* SPDX-License-Identifier: Apache-2.0 */
/* Every option there is. docs/configuration.md, marketprism.conf(5), check-config and the example
 * file are made from this table. */
#include "core/option.h"

#define KIB 1024.0
#define MIB (1024.0 * KIB)
#define GIB (1024.0 * MIB)
#define S   1000.0
#define DAY (86400 * S)

const mp__option mp__option_table[] = {
    {"data_dir", MP__OPTION_STRING, "./marketprism-data", 0, 0, NULL, "", false,
     "Folder of the database, the cache on disk and the event log. Made if missing, locked while "
     "the "
     "daemon runs."},
    {"server.workers", MP__OPTION_INT, "0", 0, 256, NULL, "threads", false,
     "Worker loops, each on its own thread with its own listening sockets. 0: as many as cores."},
    {"server.io_uring", MP__OPTION_BOOL, "true", 0, 0, NULL, "", false,
     "Read from and write to many connections in one system call (io_uring(7)). Where the system "
     "has none, or refuses it, each connection has calls of its own, as with false."},
    {"server.drain", MP__OPTION_DURATION, "5s", 0, 600 * S, NULL, "ms", true,
     "How long SIGTERM lets commands under way be answered before connections are closed."},

    {"resp.listen", MP__OPTION_ADDRESS, "127.0.0.1:7480", 0, 0, NULL, "", false,
     "Address of the RESP port. An address that others can reach is refused while there is no "
     "authentication."},
    {"resp.databases", MP__OPTION_LIST, "production, staging, development", 0, 0, NULL, "", false,
     "Environments by their SELECT number, beginning with 0, which is the default environment."},
    {"resp.version_reported", MP__OPTION_STRING, "7.4.0", 0, 0, NULL, "", true,
     "The redis_version that HELLO and INFO say, since clients choose features by it."},
    {"resp.max_clients", MP__OPTION_INT, "10000", 1, 1e6, NULL, "connections", true,
     "Connections at once; the next one is refused with an error. The descriptor limit may lower "
     "it."},
    {"resp.value_max", MP__OPTION_BYTES, "2MiB", 1 * KIB, 4 * MIB, NULL, "bytes", true,
     "Largest argument of a command, so also the largest value."},
    {"resp.arguments_max", MP__OPTION_INT, "1024", 16, 65536, NULL, "arguments", true,
     "Most arguments of one command."},
    {"resp.inline_max", MP__OPTION_BYTES, "64KiB", 1 * KIB, 1 * MIB, NULL, "bytes", true,
     "Longest inline command."},
    {"resp.output_hard", MP__OPTION_BYTES, "8MiB", 64 * KIB, 1 * GIB, NULL, "bytes", true,
     "A client with more unread replies than this is disconnected at once."},
    {"resp.output_soft", MP__OPTION_BYTES, "2MiB", 64 * KIB, 1 * GIB, NULL, "bytes", true,
     "From here on no further command of the client is read until it takes its replies. Less when "
     "many "
     "clients leave replies unread: all together get about 64 MiB."},
    {"resp.stalled_write_timeout", MP__OPTION_DURATION, "10s", 1 * S, 3600 * S, NULL, "ms", true,
     "A client that takes nothing of its waiting replies for this long is disconnected."},
    {"resp.partial_timeout", MP__OPTION_DURATION, "10s", 1 * S, 3600 * S, NULL, "ms", true,
     "A command must have arrived whole within this time of its first byte, unless it comes faster "
     "than resp.floor_bytes_per_second."},
    {"resp.floor_bytes_per_second", MP__OPTION_INT, "100", 0, 1e9, NULL, "bytes/s", true,
     "A sender slower than this from the fifth second of a command on is disconnected."},
    {"resp.idle_timeout", MP__OPTION_DURATION, "0", 0, 30 * DAY, NULL, "ms", true,
     "A connection without commands for this long is closed; 0: never. Pools and subscribers are "
     "idle "
     "by nature, and TCP keepalive finds dead peers."},

    {"http.listen", MP__OPTION_ADDRESS, "127.0.0.1:7481", 0, 0, NULL, "", false,
     "Address of the HTTP port; see resp.listen."},
    {"http.ready_namespaces", MP__OPTION_LIST, "", 0, 0, NULL, "", false,
     "Namespaces without which nobody here is served: /readyz answers 503 while a reader of one of "
     "them would get no key at all. Those of the default environment by their name, others as "
     "staging/exchanges."},
    {"http.hosts", MP__OPTION_LIST, "", 0, 0, NULL, "", false,
     "Names, besides addresses, localhost and names without a dot, by which browsers may call this "
     "server, as through a proxy that keeps them. By any other a stranger's page might (DNS "
     "rebinding): 403. Programs that are no browsers are not asked."},
    {"http.max_clients", MP__OPTION_INT, "10000", 1, 1e6, NULL, "connections", true,
     "Connections at once; the next one is answered 503."},
    {"http.line_max", MP__OPTION_BYTES, "8KiB", 256, 64 * KIB, NULL, "bytes", true,
     "Longest request line; beyond it 414."},
    {"http.headers_max", MP__OPTION_BYTES, "32KiB", 1 * KIB, 1 * MIB, NULL, "bytes", true,
     "Most bytes of header lines; beyond it 431."},
    {"http.header_count_max", MP__OPTION_INT, "100", 8, 1000, NULL, "headers", true,
     "Most header lines; beyond it 431."},
    {"http.body_max", MP__OPTION_BYTES, "4MiB", 1 * KIB, 64 * MIB, NULL, "bytes", true,
     "Largest body; beyond it 413."},
    {"http.header_timeout", MP__OPTION_DURATION, "10s", 1 * S, 600 * S, NULL, "ms", true,
     "A request's head must have arrived within this time of its first byte."},
    {"http.body_timeout", MP__OPTION_DURATION, "30s", 1 * S, 3600 * S, NULL, "ms", true,
     "A request's body must have arrived within this time of its head."},
    {"http.keepalive_timeout", MP__OPTION_DURATION, "60s", 1 * S, 3600 * S, NULL, "ms", true,
     "An idle connection is closed after this time."},
    {"http.watch_progress", MP__OPTION_DURATION, "15s", 250, 3600 * S, NULL, "ms", true,
     "How often a watcher of /v1/watch to whom nothing happened is told how far he is, so that he "
     "knows that the stream lives and where to resume."},
    {"http.cache_max_age", MP__OPTION_DURATION, "5s", 0, 365 * DAY, NULL, "ms", true,
     "How long a cache between the daemon and its clients may answer a value by itself "
     "(Cache-Control: max-age), in whole seconds; 0: it asks each time."},
    {"http.cache_stale_if_error", MP__OPTION_DURATION, "1d", 0, 365 * DAY, NULL, "ms", true,
     "How long such a cache may go on answering when the daemon cannot be reached "
     "(Cache-Control: stale-if-error)."},
    {"http.idempotency_ttl", MP__OPTION_DURATION, "1d", 1 * S, 30 * DAY, NULL, "ms", true,
     "How long the answer to a request with an Idempotency-Key is kept for who asks again."},
    {"http.idempotency_bytes", MP__OPTION_BYTES, "16MiB", 64 * KIB, 1024 * MIB, NULL, "bytes", true,
     "Most memory for such answers; the oldest go first."},

    {"origin.type", MP__OPTION_CHOICE, "sqlite", 0, 0, "sqlite|file", "", false,
     "Where configuration comes from and is committed to: a database of our own, or a folder of "
     "files that others write and that is watched (docs/origins.md)."},
    {"origin.path", MP__OPTION_STRING, "", 0, 0, NULL, "", false,
     "The database of the sqlite origin; empty: origin.db in data_dir. The folder of the file "
     "origin, "
     "with files named ENVIRONMENT/NAMESPACE.yaml."},
    {"origin.timeout", MP__OPTION_DURATION, "2s", 10, 300 * S, NULL, "ms", true,
     "How long a read or a list waits for the origin before it answers from what is kept. After "
     "three in a row that waited in vain nobody does, until it answers again."},
    {"origin.probe_interval", MP__OPTION_DURATION, "1s", 50, 600 * S, NULL, "ms", false,
     "How often the origin's health and changes by others are looked at."},
    {"origin.sweep_interval", MP__OPTION_DURATION, "1s", 50, 3600 * S, NULL, "ms", false,
     "How often values past their expiry are deleted. They are never served, swept or not."},
    {"origin.rescan_interval", MP__OPTION_DURATION, "30s", 100, DAY, NULL, "ms", false,
     "How often the file origin looks at its folder without having been told of a change. Events "
     "come at once; on a network file system, which sends none, this is how old a value can be."},
    {"origin.settle", MP__OPTION_DURATION, "50ms", 1, 60 * S, NULL, "ms", false,
     "A file is taken when it was left alone for this long, so that who writes in place is not "
     "read half-way."},
    {"origin.file_max", MP__OPTION_BYTES, "16MiB", 1 * KIB, 64 * MIB, NULL, "bytes", false,
     "Largest file of the file origin; a larger one is not taken."},
    {"origin.keys_max", MP__OPTION_INT, "1000000", 1, 1e8, NULL, "keys", false,
     "Most keys of all files of the file origin; a file that would make more is not taken."},

    {"overlay.base", MP__OPTION_STRING, "base", 0, 0, NULL, "", false,
     "The environment that all others fall back to: what production does not set is read from "
     "here. "
     "Empty: there is none (docs/overlays.md)."},
    {"overlay.namespaces", MP__OPTION_LIST, "", 0, 0, NULL, "", false,
     "The namespaces whose keys fall back to the next layer; empty: all."},
    {"overlay.except", MP__OPTION_LIST, "", 0, 0, NULL, "", false,
     "Namespaces whose keys never do: each layer has only its own."},

    {"memory.max", MP__OPTION_BYTES, "0", 0, 1024 * GIB, NULL, "bytes", true,
     "Most memory of all caches and queues together, at least 16MiB: L1, L2, writes and records on "
     "their way, changes for watchers. What is not set of their own limits is chosen to fit, the "
     "numbers of entries too (docs/cache.md). 0: each has its own limit."},

    {"cache.l1_size", MP__OPTION_INT, "1000", 1, 1e9, NULL, "entries", true,
     "Most entries in memory (L1)."},
    {"cache.l1_bytes", MP__OPTION_BYTES, "64MiB", 1 * MIB, 1024 * GIB, NULL, "bytes", true,
     "Most bytes of memory that L1 takes, pages and index counted."},
    {"cache.panel_share", MP__OPTION_INT, "1", 0, 100, NULL, "%", true,
     "Most of the time that the panel of the adaptive policy and the forecasts may take. When "
     "requests come faster than that pays for they see bursts of them. 0: both stand still; 100: "
     "they see every request."},
    {"cache.l2_size", MP__OPTION_INT, "5000", 0, 1e9, NULL, "entries", true,
     "Most entries in compressed memory (L2), which keeps what L1 had no room for. 0: no L2, from "
     "the next start on."},
    {"cache.l2_bytes", MP__OPTION_BYTES, "16MiB", 4 * MIB, 1024 * GIB, NULL, "bytes", true,
     "Most bytes of memory that L2 takes: pages, index and dictionaries counted."},
    {"cache.l2_level", MP__OPTION_INT, "1", 1, 12, NULL, "", false,
     "Level of compression of L2 (zstd). A higher one takes longer, and its dictionaries take more "
     "memory."},
    {"cache.l2_dictionary", MP__OPTION_BYTES, "32KiB", 0, 256 * KIB, NULL, "bytes", false,
     "Size of a dictionary of L2, trained from what it holds. 0: none."},
    {"cache.l3_size_mb", MP__OPTION_INT, "1000", 8, 1e7, NULL, "MiB", true,
     "Most space on disk (L3). When it is full the oldest entries that nobody reads are "
     "forgotten."},
    {"cache.l3_segment_bytes", MP__OPTION_BYTES, "16MiB", 64 * KIB, 128 * MIB, NULL, "bytes", false,
     "Size of one file of L3."},
    {"cache.l3_sync_interval", MP__OPTION_DURATION, "1s", 10, 600 * S, NULL, "ms", false,
     "How often L3 is synced. Written at once, so only a power loss can cost this much of it."},
    {"cache.l3_key_file", MP__OPTION_STRING, "", 0, 0, NULL, "", false,
     "Keys that seal L3 on disk, one a line as 64 hexadecimal digits, the newest first; the others "
     "open what was written under them until it is rewritten. Empty: the variable "
     "MARKETPRISM_L3_KEYS, and without that nothing is sealed (docs/operations.md)."},
    {"cache.l3_scrub_rate", MP__OPTION_BYTES, "64KiB", 0, 1 * GIB, NULL, "bytes/s", false,
     "How much of L3 is read again each second, so that damage is found and healed from L1 or the "
     "origin before it is needed; 64KiB is 5 GiB a day. 0: not at all."},
    {"cache.l4_url", MP__OPTION_STRING, "", 0, 0, NULL, "", false,
     "A Redis that several nodes share as L4, redis://[[user]:password@]host[:port][/database]. "
     "Empty: none. Asked after L3 and before the origin, never for strong reads."},
    {"cache.l4_timeout", MP__OPTION_DURATION, "50ms", 1, 10 * S, NULL, "ms", false,
     "What L4 does not answer within this time the origin is asked for; then L4 is left alone "
     "until "
     "it answers again."},
    {"cache.l4_ttl", MP__OPTION_DURATION, "1d", 1 * S, 365 * DAY, NULL, "ms", false,
     "How long L4 keeps a value that nobody fetched or wrote again."},
    {"cache.policy", MP__OPTION_CHOICE, "adaptive", 0, 0,
     "adaptive|s3-fifo|lru|w-tinylfu|lirs|arc|2q|sieve|lfu|fifo|ttl", "", true,
     "Which entry leaves L1 when room is needed."},
    {"cache.priorities", MP__OPTION_LIST, "", 0, 0, NULL, "", false,
     "Which class keys belong to, as payments/*=critical or default/debug.*=low: critical, high, "
     "normal (what nothing names) or low. The longest pattern that fits decides. Each class in use "
     "owns a share of L1 that the others cannot take (docs/cache.md)."},
    {"cache.priority_shares", MP__OPTION_LIST, "critical=40, high=30, normal=20, low=10", 0, 0,
     NULL, "%", false,
     "The shares, in percent and 100 together. What classes that are not in use would own goes to "
     "the others; what a class leaves idle others use, and the lower ones give it back first."},
    {"cache.write_mode", MP__OPTION_CHOICE, "through", 0, 0, "through|around|back", "", false,
     "How writes reach the origin. through: it has committed them before the answer, and they are "
     "in memory. around: the same, but only what is read comes into memory. back: they are "
     "answered when they are durable here, also while the origin is down, and reach it later "
     "(docs/cache.md)."},
    {"cache.write_modes", MP__OPTION_LIST, "", 0, 0, NULL, "", false,
     "The same for single namespaces, as telemetry=back."},
    {"cache.write_back_bytes", MP__OPTION_BYTES, "64MiB", 64 * KIB, 1 * GIB, NULL, "bytes", false,
     "Most bytes of writes that are on their way to the origin; beyond it they go through."},
    {"cache.default_ttl", MP__OPTION_DURATION, "3600s", 1 * S, 365 * DAY, NULL, "ms", true,
     "When a value must be verified at the origin again, also while its watch is live. Never "
     "throws "
     "anything away. In whole seconds."},
    {"cache.ttl", MP__OPTION_LIST, "", 0, 0, NULL, "", true,
     "The same for single keys, as app/flags.new=30s, or all that begin so, as app/flags/*=30s, in "
     "every environment, in whole seconds; the longest pattern that fits decides, and what was "
     "verified before a "
     "reload keeps its time until it is verified again. What is known to be absent has the shorter "
     "of this and cache.negative_ttl."},
    {"cache.ttl_jitter", MP__OPTION_INT, "10", 0, 50, NULL, "%", true,
     "How much earlier or later than its time to live a value is verified, by chance, so that what "
     "was loaded together is not verified together."},
    {"cache.negative_ttl", MP__OPTION_DURATION, "60s", 0, 365 * DAY, NULL, "ms", true,
     "The same for the knowledge that there is no value. In whole seconds."},
    {"cache.preload", MP__OPTION_LIST, "", 0, 0, NULL, "", false,
     "What is brought into L1 at the start, before anybody reads it: environment/namespace/key, or "
     "environment/namespace/ke* for all keys that begin so. marketprism preload does the "
     "same at any time."},
    {"cache.preload_budget", MP__OPTION_INT, "75", 1, 100, NULL, "%", true,
     "Most of L1, in entries and in bytes, that preloading fills."},
    {"cache.pin", MP__OPTION_LIST, "", 0, 0, NULL, "", false,
     "What stays in L1 whatever comes, at most half of it: environment/namespace/key, or "
     "environment/namespace/ke* for all keys that begin so. It is brought there at the start. "
     "MP.PIN does the same at any time."},
    {"cache.habits_keys", MP__OPTION_INT, "4096", 0, 1e6, NULL, "keys", false,
     "Of how many keys it is learned when they are read, and with which others, so that they are "
     "in "
     "memory before they are asked for: at the start, before each full hour, and after a read of "
     "what is read with them. 0: nothing is learned."},
    {"cache.refresh_ahead", MP__OPTION_REAL, "1", 0, 100, NULL, "", true,
     "How early a value in use is verified before its cache.default_ttl ends, behind the answer, "
     "so "
     "that nobody waits for it: in times that the origin takes to answer, thrown anew for each "
     "read (XFetch). 0: not at all."},
    {"cache.eventual_bound", MP__OPTION_DURATION, "5s", 0, 365 * DAY, NULL, "ms", true,
     "Without a live watch an eventual read answers a value verified at most this long ago without "
     "asking; an older one is answered and verified behind."},
    {"cache.hard_bound", MP__OPTION_DURATION, "1h", 0, 365 * DAY, NULL, "ms", true,
     "A value verified longer ago than this is verified before it is answered, if the origin can "
     "be "
     "asked."},

    {"monitoring.interval", MP__OPTION_DURATION, "60s", 1 * S, 3600 * S, NULL, "ms", false,
     "Roll-up interval of the metric store. Read and checked today; the store is not in this "
     "version."},
    {"monitoring.retention", MP__OPTION_DURATION, "7d", 3600 * S, 3650 * DAY, NULL, "ms", false,
     "How long rolled-up metrics are kept. Read and checked today; the store is not in this "
     "version."},
    {"monitoring.alert_thresholds.latency", MP__OPTION_DURATION, "100ms", 1, 3600 * S, NULL, "ms",
     true,
     "Latency that is worth an alert. Read and checked today; alerts are not in this version."},
    {"monitoring.alert_thresholds.memory", MP__OPTION_REAL, "80", 1, 100, NULL, "%", true,
     "Memory use that is worth an alert. Read and checked today; alerts are not in this version."},
    {"monitoring.alert_thresholds.error_rate", MP__OPTION_REAL, "0.01", 0, 1, NULL, "", true,
     "Share of failed requests that is worth an alert. Read and checked today; alerts are not in "
     "this "
     "version."},

    {"optimization.interval", MP__OPTION_DURATION, "300s", 1 * S, DAY, NULL, "ms", false,
     "How often the optimizer looks. Read and checked today; the optimizer is not in this "
     "version."},
    {"optimization.auto_apply", MP__OPTION_BOOL, "true", 0, 0, NULL, "", true,
     "Whether safe recommendations are applied by themselves. Read and checked today; the "
     "optimizer is "
     "not in this version."},
    {"optimization.max_recommendations", MP__OPTION_INT, "100", 1, 10000, NULL, "", true,
     "Most recommendations kept. Read and checked today; the optimizer is not in this version."},

    {"log.level", MP__OPTION_CHOICE, "info", 0, 0, "debug|info|warn|error|off", "", true,
     "Least level that is logged."},
    {"log.levels", MP__OPTION_LIST, "", 0, 0, NULL, "", true,
     "Levels of single components, as origin=debug: cache, daemon, manager, origin, server."},
    {"log.format", MP__OPTION_CHOICE, "auto", 0, 0, "auto|people|json", "", false,
     "Log lines for people or as JSON; auto: for people on a terminal."},
};

const size_t mp__option_count = sizeof(mp__option_table) / sizeof(mp__option_table[0]);
