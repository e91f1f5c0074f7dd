/* SPDX-License-Identifier: Apache-2.0 */
/* The Prometheus text format 0.0.4. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <marketprism/version.h>

#include "core/alloc.h"
#include "monitor/internal.h"

static const char *const tier_names[MP__MONITOR_TIERS] = {"none", "l1", "l2", "l3", "l4", "origin"};

/* Upper bounds that are shown, ns; the steps in between are summed into them. */
static const uint64_t bounds_ns[] = {
    1000,     2500,      5000,      10000,     25000,      50000,      100000,
    250000,   500000,    1000000,   2500000,   5000000,    10000000,   25000000,
    50000000, 100000000, 250000000, 500000000, 1000000000, 2500000000, 10000000000,
};
enum { BOUNDS = sizeof(bounds_ns) / sizeof(bounds_ns[0]) };

const mp__metric mp__monitor_metrics[] = {
    {"operations_total", "", "Operations by kind and by the tier that answered.",
     MP__METRIC_COUNTER, "operation,tier"},
    {"operation_duration_seconds", "seconds",
     "Latency of operations that were timed one by one: all but hits of L1, which are counted "
     "only.",
     MP__METRIC_HISTOGRAM, "operation,tier"},
    {"stale_served_total", "", "Reads answered with a value past its bound.", MP__METRIC_COUNTER,
     ""},
    {"unknown_total", "", "Reads to which nobody knew the answer.", MP__METRIC_COUNTER, ""},
    {"absent_total", "", "Reads of what the origin said does not exist.", MP__METRIC_COUNTER, ""},
    {"flights_total", "", "Requests sent to the origin for one or more waiting reads.",
     MP__METRIC_COUNTER, ""},
    {"flight_waiters_total", "", "Reads that waited for a flight.", MP__METRIC_COUNTER, ""},
    {"refreshes_ahead_total", "",
     "Values in use that were verified before their time came, behind the answer.",
     MP__METRIC_COUNTER, ""},
    {"errors_total", "", "Commands and requests answered with an error.", MP__METRIC_COUNTER, ""},
    {"writes_refused_total", "", "Writes refused because the origin could not take them.",
     MP__METRIC_COUNTER, ""},
    {"connections_total", "", "Connections accepted.", MP__METRIC_COUNTER, ""},
    {"connections_refused_total", "", "Connections refused at the limit.", MP__METRIC_COUNTER, ""},
    {"connections_cut_total", "", "Connections ended for being slow, stuck or over a limit.",
     MP__METRIC_COUNTER, ""},
    {"protocol_errors_total", "", "Inputs refused as malformed.", MP__METRIC_COUNTER, ""},
    {"received_bytes_total", "bytes", "Bytes received from clients.", MP__METRIC_COUNTER, ""},
    {"sent_bytes_total", "bytes", "Bytes sent to clients.", MP__METRIC_COUNTER, ""},
    {"http_requests_total", "", "HTTP requests.", MP__METRIC_COUNTER, ""},
};
const size_t mp__monitor_metric_count =
    sizeof(mp__monitor_metrics) / sizeof(mp__monitor_metrics[0]);

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

static void head(mp__buf *out, const mp__metric *m)
{
    (void)mp__buf_printf(out, "# HELP marketprism_%s %s\n# TYPE marketprism_%s %s\n", m->name,
                         m->help, m->name, kind_names[m->kind]);
}

static void expose_operations(mp__monitor *monitor, mp__buf *out)
{
    head(out, &mp__monitor_metrics[0]);
    for (int o = 0; o < MP__OP_COUNT; o++)
        for (int t = 0; t < MP__MONITOR_TIERS; t++) {
            uint64_t n = mp__monitor_operations(monitor, (enum mp__operation)o, t);

            if (n)
                (void)mp__buf_printf(
                    out, "marketprism_operations_total{operation=\"%s\",tier=\"%s\"} %llu\n",
                    mp__operation_names[o], tier_names[t], (unsigned long long)n);
        }
}

static void expose_histogram(mp__monitor *monitor, int operation, int tier, uint64_t *steps,
                             mp__buf *out)
{
    uint64_t sum, seen = 0, total = 0;
    unsigned step = 0;

    mp__monitor_steps(monitor, (enum mp__operation)operation, tier, steps, &sum);
    for (unsigned i = 0; i < MP__HISTOGRAM_STEPS; i++)
        total += steps[i];
    if (!total)
        return;
    for (int b = 0; b < BOUNDS; b++) {
        for (; step < MP__HISTOGRAM_STEPS && mp__histogram_value(step) <= bounds_ns[b]; step++)
            seen += steps[step];
        (void)mp__buf_printf(
            out,
            "marketprism_operation_duration_seconds_bucket{operation=\"%s\",tier=\"%s\","
            "le=\"%.9g\"} %llu\n",
            mp__operation_names[operation], tier_names[tier], (double)bounds_ns[b] / 1e9,
            (unsigned long long)seen);
    }
    (void)mp__buf_printf(
        out,
        "marketprism_operation_duration_seconds_bucket{operation=\"%s\",tier=\"%s\","
        "le=\"+Inf\"} %llu\n"
        "marketprism_operation_duration_seconds_sum{operation=\"%s\",tier=\"%s\"} %.9g\n"
        "marketprism_operation_duration_seconds_count{operation=\"%s\",tier=\"%s\"} %llu\n",
        mp__operation_names[operation], tier_names[tier], (unsigned long long)total,
        mp__operation_names[operation], tier_names[tier], (double)sum / 1e9,
        mp__operation_names[operation], tier_names[tier], (unsigned long long)total);
}

static int expose_durations(mp__monitor *monitor, mp__buf *out)
{
    MP__CLEANUP_FREE uint64_t *steps = mp__calloc(MP__HISTOGRAM_STEPS, sizeof(*steps));

    if (!steps)
        return MP_ENOMEM;
    head(out, &mp__monitor_metrics[1]);
    for (int o = 0; o < MP__OP_COUNT; o++)
        for (int t = 0; t < MP__MONITOR_TIERS; t++)
            expose_histogram(monitor, o, t, steps, out);
    return 0;
}

static void expose_sources(mp__monitor *monitor, mp__buf *out)
{
    (void)pthread_mutex_lock(&monitor->lock);
    for (int i = 0; i < MP__MONITOR_TABLES; i++) {
        const mp__metric_source *s = &monitor->tables[i];

        for (size_t m = 0; s->metrics && m < s->count; m++) {
            head(out, &s->metrics[m]);
            (void)mp__buf_printf(out, "marketprism_%s %.17g\n", s->metrics[m].name,
                                 s->read(s->context, m));
        }
    }
    (void)pthread_mutex_unlock(&monitor->lock);
}

/* ---- the process ---- */

static size_t file_text(const char *path, char *text, size_t capacity)
{
    FILE *file = fopen(path, "re");
    size_t n = 0;

    if (file) {
        n = fread(text, 1, capacity - 1, file);
        (void)fclose(file);
    }
    text[n] = '\0';
    return n;
}

/* The n-th field (from 1) of /proc/self/stat behind the name in parentheses, which is the second.
 */
static double stat_field(const char *stat, int n)
{
    const char *p = strrchr(stat, ')');

    for (int i = 2; p && i < n; i++)
        p = strchr(p + 1, ' ');
    return p ? strtod(p + 1, NULL) : 0;
}

static double boot_time(void)
{
    char text[8192];
    const char *line;

    (void)file_text("/proc/stat", text, sizeof(text));
    line = strstr(text, "\nbtime ");
    return line ? strtod(line + 7, NULL) : 0;
}

static void expose_process(mp__buf *out)
{
    char stat[1024], statm[128];
    double ticks = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    char *end;

    (void)file_text("/proc/self/stat", stat, sizeof(stat));
    (void)file_text("/proc/self/statm", statm, sizeof(statm));
    (void)mp__buf_printf(
        out,
        "# HELP process_cpu_seconds_total Processor time used.\n# TYPE process_cpu_seconds_total "
        "counter\n"
        "process_cpu_seconds_total %.9g\n"
        "# HELP process_resident_memory_bytes Memory resident.\n"
        "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %.17g\n"
        "# HELP process_start_time_seconds When the process began, Unix time.\n"
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.17g\n",
        (stat_field(stat, 14) + stat_field(stat, 15)) / ticks,
        (strtod(statm, &end), strtod(end, NULL)) * page,
        boot_time() + stat_field(stat, 22) / ticks);
    (void)mp__buf_printf(
        out,
        "# HELP marketprism_build_info The version that runs; always 1.\n"
        "# TYPE marketprism_build_info gauge\nmarketprism_build_info{version=\"%s\"} 1\n",
        MP_VERSION);
}

int mp__monitor_expose(mp__monitor *monitor, mp__buf *out)
{
    int rc;

    expose_operations(monitor, out);
    rc = expose_durations(monitor, out);
    for (int e = 0; e < MP__EVENT_COUNT; e++) {
        const mp__metric *m = &mp__monitor_metrics[2 + e];

        head(out, m);
        (void)mp__buf_printf(
            out, "marketprism_%s %llu\n", m->name,
            (unsigned long long)mp__monitor_events(monitor, (enum mp__event_counter)e));
    }
    expose_sources(monitor, out);
    expose_process(out);
    return rc ? rc : out->error;
}
