/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism replay: what a trace of requests would have hit, under which policy, at which size.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <zstd.h>

#include "cache/cache.h"
#include "cache/predict.h"
#include "cache/replay.h"
#include "cli/cli.h"
#include "core/alloc.h"
#include "core/json.h"
#include "core/option.h"

const mp__flag mp__replay_flags[] = {
    {"--trace", "-t", "FILE",
     "Requests, one a line: `key` or `key size`; .zst too, - is standard "
     "input. More than once: one after the other."},
    {"--capacity", "-c", "N[,N...]", "Entries that the cache holds; 1000 by default."},
    {"--policy", "-p", "NAME[,NAME...]",
     "Policies, or all; adaptive by default. w-tinylfu:40 has a window of 40 %, 1 to 99."},
    {"--predict", NULL, "N[,N...]",
     "Also predict, in the same pass from a sample of the keys, what N entries would hit."},
    {"--seed", NULL, "N",
     "Hash the keys in another way, so that --predict has another sample of them; 0 by default."},
    {"--threads", NULL, "N", "Replays at once; as many as processors by default."},
    {"--json", NULL, NULL, "Print JSON, one line a policy and capacity."},
    {NULL, NULL, NULL, NULL},
};

enum { CHUNK = 1 << 20, LIST_MAX = 64, THREADS_MAX = 64, STRETCH = 4096 };

/* ---- reading ---- */

typedef struct source {
    const mp__arguments *arguments;
    const char *path;
    FILE *file;
    ZSTD_DStream *zstd; /* NULL: plain */
    bool is_cut;        /* the compressed bytes so far end within a frame */
    mp__buf text;       /* lines that are not yet requests */
    mp__trace *trace;
    bool progress;
} source;

static int take_lines(source *s, bool is_last)
{
    mp__diag diag = {0};
    size_t used = 0;
    int rc = mp__trace_add(s->trace, mp__buf_str(&s->text), is_last, &used, &diag);

    if (rc && diag.line)
        return mp__cli_fail(s->arguments, MP__EXIT_ERROR, "%s:%d:%d: %s", s->path, diag.line,
                            diag.column, diag.text);
    if (rc)
        return mp__cli_fail(s->arguments, MP__EXIT_ERROR, "%s: %s", s->path, mp_strerror(rc));
    mp__buf_consume(&s->text, used);
    if (s->progress) {
        mp__cli_own(stderr, "\r");
        (void)fprintf(stderr, "reading %s: %zu requests", s->path, s->trace->requests);
    }
    return 0;
}

static int take_plain(source *s, const char *bytes, size_t size)
{
    if (mp__buf_add(&s->text, bytes, size) != 0)
        return mp__cli_fail(s->arguments, MP__EXIT_ERROR, "out of memory");
    return take_lines(s, false);
}

static int take_compressed(source *s, const char *bytes, size_t size)
{
    ZSTD_inBuffer in = {bytes, size, 0};
    int code = 0;

    while (code == 0 && in.pos < in.size) {
        ZSTD_outBuffer out;
        size_t rc;

        if (mp__buf_reserve(&s->text, CHUNK) != 0)
            return mp__cli_fail(s->arguments, MP__EXIT_ERROR, "out of memory");
        out = (ZSTD_outBuffer){s->text.data + s->text.size, CHUNK, 0};
        rc = ZSTD_decompressStream(s->zstd, &out, &in);
        if (ZSTD_isError(rc))
            return mp__cli_fail(s->arguments, MP__EXIT_ERROR, "%s is damaged: %s", s->path,
                                ZSTD_getErrorName(rc));
        s->text.size += out.pos;
        s->is_cut = rc != 0;
        code = take_lines(s, false);
    }
    return code;
}

static int read_source(source *s)
{
    static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd}; /* RFC 8878, 3.1.1 */
    char *bytes = mp__malloc(CHUNK);
    size_t n;
    int code = bytes ? 0 : mp__cli_fail(s->arguments, MP__EXIT_ERROR, "out of memory");
    bool is_first = true;
    int error = 0; /* of the last read, which what follows must not hide */

    while (code == 0) {
        errno = 0;
        n = fread(bytes, 1, CHUNK, s->file);
        error = errno;
        if (n == 0)
            break;
        if (is_first && n >= sizeof(magic) && memcmp(bytes, magic, sizeof(magic)) == 0) {
            s->zstd = ZSTD_createDStream();
            if (!s->zstd) {
                code = mp__cli_fail(s->arguments, MP__EXIT_ERROR, "out of memory");
                break;
            }
        }
        is_first = false;
        code = s->zstd ? take_compressed(s, bytes, n) : take_plain(s, bytes, n);
    }
    if (code == 0 && ferror(s->file))
        code = mp__cli_fail(s->arguments, MP__EXIT_ERROR, "cannot read %s: %s", s->path,
                            mp_strerror(-(error ? error : EIO)));
    if (code == 0 && s->is_cut)
        code = mp__cli_fail(s->arguments, MP__EXIT_ERROR, "%s is damaged: it ends within a frame",
                            s->path);
    if (code == 0)
        code = take_lines(s, true);
    (void)mp__free(bytes);
    (void)ZSTD_freeDStream(s->zstd);
    mp__buf_done(&s->text);
    return code;
}

static int read_trace(const mp__arguments *arguments, const char *path, mp__trace *trace)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rbe");
    int error = errno; /* before isatty() says that a pipe is none */
    source s = {.arguments = arguments,
                .path = is_stdin ? "standard input" : path,
                .file = file,
                .trace = trace,
                .progress = isatty(2)};
    size_t before = trace->requests;
    int code;

    trace->lines = 0;
    if (!s.file)
        return mp__cli_fail(arguments, MP__EXIT_ERROR, "cannot read %s: %s", path,
                            mp_strerror(-error));
    code = read_source(&s);
    if (s.progress)
        mp__cli_own(stderr, "\r\033[K");
    if (!is_stdin)
        (void)fclose(s.file);
    if (code == 0 && trace->requests == before)
        code = mp__cli_fail(arguments, MP__EXIT_ERROR, "%s holds no request", s.path);
    return code;
}

/* ---- replaying ---- */

typedef struct forecast {
    size_t capacity;
    mp__prediction is;
} forecast;

typedef struct job {
    char policy[32];
    size_t capacity;
    uint64_t requests, hits;
    double ns_per_request;
    int error;
    forecast *forecasts;
    size_t forecast_count;
} job;

typedef struct work {
    const mp__trace *trace;
    job *jobs;
    size_t count;
    _Atomic size_t next, finished;
    bool progress;
} work;

static double now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int predicts_new(const job *j, mp__predict **predicts)
{
    int rc = 0;

    for (size_t i = 0; i < j->forecast_count && rc == 0; i++)
        if (j->forecasts[i].capacity != j->capacity)
            rc = mp__predict_new(j->policy, j->forecasts[i].capacity, &predicts[i]);
    return rc;
}

/* Of the size that was replayed nothing is to be foretold. */
static mp__prediction counted(const job *j)
{
    double ratio = j->requests ? (double)j->hits / (double)j->requests : 0;

    return (mp__prediction){.hit_ratio = ratio,
                            .low = ratio,
                            .high = ratio,
                            .sample = 1,
                            .entries = j->capacity,
                            .requests = j->requests};
}

/* The replay and its predictions see every request in one pass, some at a time; what the replay
 * hit makes the predictions surer. */
static void run_with_predicts(const work *w, mp__replay *replay, const job *j,
                              mp__predict *const *predicts)
{
    bool had[STRETCH];
    size_t to;

    replay->had = j->forecast_count ? had : NULL;
    for (size_t from = 0; from < w->trace->requests; from = to) {
        to = w->trace->requests - from > STRETCH ? from + STRETCH : w->trace->requests;
        mp__replay_run(replay, from, to);
        for (size_t p = 0; p < j->forecast_count; p++)
            for (size_t i = from; predicts[p] && i < to; i++)
                mp__predict_see_many(predicts[p], w->trace->hashes[w->trace->ids[i]], had[i - from],
                                     1);
    }
}

static void run_job(const work *w, job *j)
{
    mp__predict *predicts[LIST_MAX] = {NULL};
    mp__replay *replay = NULL;
    double began;

    j->error = mp__replay_new(w->trace, j->policy, j->capacity, &replay);
    if (j->error == 0)
        j->error = predicts_new(j, predicts);
    if (j->error) {
        (void)mp__replay_free(replay);
        for (size_t i = 0; i < j->forecast_count; i++)
            (void)mp__predict_free(predicts[i]);
        return;
    }
    began = now_ns();
    run_with_predicts(w, replay, j, predicts);
    j->ns_per_request = (now_ns() - began) / (double)w->trace->requests;
    j->requests = replay->requests;
    j->hits = replay->hits;
    (void)mp__replay_free(replay);
    for (size_t i = 0; i < j->forecast_count; i++) {
        if (predicts[i])
            mp__predict_read(predicts[i], &j->forecasts[i].is);
        else
            j->forecasts[i].is = counted(j);
        predicts[i] = mp__predict_free(predicts[i]);
    }
}

static void *run_jobs(void *context)
{
    work *w = context;
    size_t i;

    while ((i = atomic_fetch_add(&w->next, 1)) < w->count) {
        run_job(w, &w->jobs[i]);
        if (w->progress) {
            mp__cli_own(stderr, "\r");
            (void)fprintf(stderr, "%zu of %zu replays", atomic_fetch_add(&w->finished, 1) + 1,
                          w->count);
        }
    }
    return NULL;
}

static void run_all(work *w, unsigned threads)
{
    pthread_t others[THREADS_MAX];
    unsigned started = 0;

    while (started + 1 < threads && started < THREADS_MAX &&
           pthread_create(&others[started], NULL, run_jobs, w) == 0)
        started++;
    (void)run_jobs(w);
    while (started > 0)
        (void)pthread_join(others[--started], NULL);
    if (w->progress)
        mp__cli_own(stderr, "\r\033[K");
}

/* ---- telling ---- */

static void add_ratio(mp__buf *json, const char *name, double ratio)
{
    mp__json_key(json, name);
    (void)mp__buf_printf(json, "%.6f", ratio);
}

static void add_predictions(mp__buf *json, const job *j)
{
    mp__json_key(json, "predictions");
    mp__json_begin(json, '[');
    for (size_t i = 0; i < j->forecast_count; i++) {
        const mp__prediction *is = &j->forecasts[i].is;

        mp__json_begin(json, '{');
        mp__json_add_u64(json, "capacity", j->forecasts[i].capacity);
        add_ratio(json, "hit_ratio", is->hit_ratio);
        add_ratio(json, "low", is->low);
        add_ratio(json, "high", is->high);
        add_ratio(json, "sample", is->sample);
        mp__json_add_u64(json, "sampled_entries", is->entries);
        mp__json_add_u64(json, "sampled_requests", is->requests);
        mp__json_end(json, '}');
    }
    mp__json_end(json, ']');
}

static int print_json(const job *j)
{
    mp__buf json = MP__BUF_INIT;
    int code;

    mp__json_begin(&json, '{');
    mp__json_add_text(&json, "policy", j->policy);
    mp__json_add_u64(&json, "capacity", j->capacity);
    mp__json_add_u64(&json, "requests", j->requests);
    mp__json_add_u64(&json, "hits", j->hits);
    mp__json_key(&json, "hit_ratio");
    (void)mp__buf_printf(&json, "%.6f", (double)j->hits / (double)j->requests);
    mp__json_key(&json, "ns_per_request");
    (void)mp__buf_printf(&json, "%.1f", j->ns_per_request);
    if (j->forecast_count)
        add_predictions(&json, j);
    mp__json_end(&json, '}');
    (void)mp__buf_add_char(&json, '\n');
    code = mp__cli_put(mp__buf_str(&json));
    mp__buf_done(&json);
    return code;
}

static void print_forecast(const forecast *f)
{
    if (f->is.requests == 0)
        (void)printf("  predicted %17zu    unknown   too few keys for a sample\n", f->capacity);
    else
        (void)printf("  predicted %17zu %10.4f   from %.4f to %.4f\n", f->capacity, f->is.hit_ratio,
                     f->is.low, f->is.high);
}

static int print_all(const mp__arguments *arguments, const work *w)
{
    bool as_json = mp__flag_given(arguments, "--json");
    int code = 0;

    if (!as_json)
        (void)printf("%-16s %10s %10s %12s %8s\n", "policy", "capacity", "hit ratio", "hits",
                     "ns each");
    for (size_t i = 0; i < w->count; i++) {
        const job *j = &w->jobs[i];

        if (j->error) { /* the others are worth as much without it */
            code = mp__cli_fail(arguments, MP__EXIT_ERROR, "%s with %zu entries: %s", j->policy,
                                j->capacity, mp_strerror(j->error));
            continue;
        }
        if (as_json && print_json(j) != 0)
            return MP__EXIT_ERROR;
        if (!as_json)
            (void)printf("%-16s %10zu %10.4f %12" PRIu64 " %8.1f\n", j->policy, j->capacity,
                         (double)j->hits / (double)j->requests, j->hits, j->ns_per_request);
        for (size_t p = 0; p < j->forecast_count && !as_json; p++)
            print_forecast(&j->forecasts[p]);
    }
    return code;
}

/* ---- the command line ---- */

/* The next word of a list with commas; false at its end. */
static bool next_item(const char **list, char *item, size_t capacity)
{
    size_t size = strcspn(*list, ",");

    if (**list == '\0')
        return false;
    (void)snprintf(item, capacity, "%.*s", (int)size, *list);
    *list += size + ((*list)[size] == ',');
    return true;
}

static int read_capacities(const mp__arguments *arguments, const char *flag, const char *otherwise,
                           size_t *capacities, size_t *ret_count)
{
    const char *list = mp__flag_value(arguments, flag);
    char item[32];

    *ret_count = 0;
    if (!list && !otherwise)
        return 0;
    for (list = list ? list : otherwise; next_item(&list, item, sizeof(item));) {
        char *end;
        unsigned long long n = strtoull(item, &end, 10);

        if (!*item || *end || n < 1 || n > 1000000000)
            return mp__cli_fail(arguments, MP__EXIT_USAGE,
                                "%s: '%s' is no number from 1 to 1000000000", flag, item);
        if (*ret_count == LIST_MAX)
            return mp__cli_fail(arguments, MP__EXIT_USAGE, "%s: more than %d", flag, LIST_MAX);
        capacities[(*ret_count)++] = (size_t)n;
    }
    return *ret_count ? 0 : mp__cli_fail(arguments, MP__EXIT_USAGE, "%s is empty", flag);
}

static int check_policy(const mp__arguments *arguments, const char *name)
{
    const char *names[LIST_MAX], *text, *near;
    size_t n = 0;
    mp__trace none = {0};
    mp__replay *replay = NULL;

    if (mp__replay_new(&none, name, 1, &replay) == 0) {
        (void)mp__replay_free(replay);
        return 0;
    }
    while (n < LIST_MAX && (names[n] = mp__cache_policy_at(n, &text)))
        n++;
    if (strncmp(name, "w-tinylfu:", strlen("w-tinylfu:")) == 0)
        return mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "there is no policy '%s'; its window is from 1 to 99 %% of the entries",
                            name);
    near = mp__did_you_mean(name, names, n);
    return mp__cli_fail(arguments, MP__EXIT_USAGE,
                        "there is no policy '%s'; %s%s%smarketprism policies lists them", name,
                        near ? "did you mean '" : "", near ? near : "", near ? "'? " : "");
}

static int read_policies(const mp__arguments *arguments, char (*policies)[32], size_t *ret_count)
{
    const char *list = mp__flag_value(arguments, "--policy"), *name, *text;
    int code = 0;

    *ret_count = 0;
    if (list && strcmp(list, "all") == 0) {
        while (*ret_count < LIST_MAX && (name = mp__cache_policy_at(*ret_count, &text)))
            (void)snprintf(policies[(*ret_count)++], 32, "%s", name);
        return 0;
    }
    for (list = list ? list : mp__cache_policy_at(0, &text);
         code == 0 && *ret_count < LIST_MAX && next_item(&list, policies[*ret_count], 32);)
        code = check_policy(arguments, policies[(*ret_count)++]);
    if (code == 0 && *list)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "--policy: more than %d", LIST_MAX);
    if (code == 0 && *ret_count == 0)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "--policy is empty");
    return code;
}

static int replay_all(const mp__arguments *arguments, const mp__trace *trace, unsigned threads)
{
    size_t capacities[LIST_MAX], capacity_count, policy_count = 0;
    size_t others[LIST_MAX], other_count = 0;
    char policies[LIST_MAX][32];
    work w = {.trace = trace, .progress = isatty(2)};
    forecast *forecasts;
    int code = read_capacities(arguments, "--capacity", "1000", capacities, &capacity_count);

    if (code == 0)
        code = read_capacities(arguments, "--predict", NULL, others, &other_count);
    if (code == 0)
        code = read_policies(arguments, policies, &policy_count);
    if (code)
        return code;
    w.jobs = mp__calloc(capacity_count * policy_count, sizeof(*w.jobs));
    forecasts = mp__calloc(capacity_count * policy_count * other_count + 1, sizeof(*forecasts));
    if (!w.jobs || !forecasts) {
        (void)mp__free(forecasts);
        (void)mp__free(w.jobs);
        return mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
    }
    for (size_t p = 0; p < policy_count; p++)
        for (size_t c = 0; c < capacity_count; c++) {
            memcpy(w.jobs[w.count].policy, policies[p], sizeof(policies[p]));
            w.jobs[w.count].forecasts = forecasts + w.count * other_count;
            w.jobs[w.count].forecast_count = other_count;
            for (size_t o = 0; o < other_count; o++)
                w.jobs[w.count].forecasts[o].capacity = others[o];
            w.jobs[w.count++].capacity = capacities[c];
        }
    run_all(&w, threads);
    code = print_all(arguments, &w);
    (void)mp__free(forecasts);
    (void)mp__free(w.jobs);
    return code;
}

/* 0: what --threads says is no number, or too many. */
static unsigned threads_asked(const mp__arguments *arguments)
{
    const char *given = mp__flag_value(arguments, "--threads");
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    char *rest;

    if (!given)
        return count < 1 ? 1 : count > THREADS_MAX ? THREADS_MAX : (unsigned)count;
    count = strtol(given, &rest, 10);
    return *rest || count < 1 || count > THREADS_MAX ? 0 : (unsigned)count;
}

static bool read_seed(const mp__arguments *arguments, uint64_t *ret_seed)
{
    const char *given = mp__flag_value(arguments, "--seed");
    char *end;

    if (!given)
        return true;
    errno = 0;
    *ret_seed = strtoull(given, &end, 10);
    return *given >= '0' && *given <= '9' && !*end && errno == 0;
}

int mp__verb_replay(const mp__arguments *arguments)
{
    unsigned count = threads_asked(arguments);
    mp__trace trace = {0};
    int code = 0;

    if (arguments->set_count == 0)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "which trace? Give --trace FILE");
    if (count == 0)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "--threads: a number from 1 to %d",
                            THREADS_MAX);
    if (!read_seed(arguments, &trace.seed))
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "--seed: a whole number from 0");
    for (int i = 0; i < arguments->set_count && code == 0; i++)
        code = read_trace(arguments, arguments->sets[i], &trace);
    if (code == 0)
        code = replay_all(arguments, &trace, count);
    mp__trace_done(&trace);
    return code;
}
