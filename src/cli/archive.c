/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/archive.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <marketprism/version.h>

#include "core/alloc.h"
#include "core/hash.h"

enum { PIECE = 1 << 20 };

/* ---- the list ---- */

void mp__archive_done(mp__archive *archive)
{
    for (size_t i = 0; i < archive->count; i++)
        (void)mp__free(archive->files[i].name);
    archive->files = mp__free(archive->files);
    archive->count = archive->capacity = 0;
}

static mp__archived *find(const mp__archive *archive, const char *name)
{
    for (size_t i = archive->count; i-- > 0;)
        if (strcmp(archive->files[i].name, name) == 0)
            return &archive->files[i];
    return NULL;
}

const mp__archived *mp__archive_find(const mp__archive *archive, const char *name)
{
    return find(archive, name);
}

int mp__archive_add(mp__archive *archive, const char *name, uint64_t bytes, uint64_t sum)
{
    mp__archived *file = find(archive, name);

    if (!file && archive->count == MP__ARCHIVE_FILES_MAX)
        return MP_ELIMIT;
    if (!file &&
        mp__grow(&archive->files, archive->count, &archive->capacity, sizeof(*archive->files)) != 0)
        return MP_ENOMEM;
    if (!file) {
        file = &archive->files[archive->count];
        *file = (mp__archived){.name = mp__strdup(name)};
        if (!file->name)
            return MP_ENOMEM;
        archive->count++;
    }
    file->bytes = bytes;
    file->sum = sum;
    return 0;
}

uint64_t mp__archive_bytes(const mp__archive *archive)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < archive->count; i++)
        bytes += archive->files[i].bytes;
    return bytes;
}

/* ---- the manifest ---- */

static void print_sum(uint64_t sum, char text[17])
{
    (void)snprintf(text, 17, "%016" PRIx64, sum);
}

/* A sum over all that the list says, in its order. */
static uint64_t sum_of_list(const mp__archive *archive)
{
    uint64_t sum = (uint64_t)archive->created_ms;

    for (size_t i = 0; i < archive->count; i++) {
        const mp__archived *file = &archive->files[i];
        uint64_t numbers[2] = {file->bytes, file->sum};

        sum = mp__checksum(sum, file->name, strlen(file->name));
        sum = mp__checksum(sum, numbers, sizeof(numbers));
    }
    return sum;
}

static json_t *file_as_json(const mp__archived *file)
{
    char sum[17];

    print_sum(file->sum, sum);
    return json_pack("{s:s, s:I, s:s}", "name", file->name, "bytes", (json_int_t)file->bytes,
                     "xxh3", sum);
}

int mp__archive_print(const mp__archive *archive, mp__buf *out)
{
    json_t *files = json_array(), *root;
    char sum[17], *text;
    int rc;

    for (size_t i = 0; files && i < archive->count; i++)
        if (json_array_append_new(files, file_as_json(&archive->files[i])) != 0) {
            json_decref(files);
            return MP_ENOMEM;
        }
    print_sum(sum_of_list(archive), sum);
    root =
        json_pack("{s:i, s:s, s:I, s:o, s:s}", "format", MP__ARCHIVE_FORMAT, "made_by", MP_VERSION,
                  "created_ms", (json_int_t)archive->created_ms, "files", files, "xxh3", sum);
    text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    rc = text ? mp__buf_printf(out, "%s\n", text) : MP_ENOMEM;
    free(text);
    json_decref(root);
    return rc;
}

/* Only what backup itself writes: a name, or l3/ and a name; so that no archive, whoever made it,
 * can make restore write outside of the data directory. */
static bool name_is_good(const char *name)
{
    const char *rest = strncmp(name, "l3/", 3) == 0 ? name + 3 : name;

    return rest[0] && rest[0] != '.' && strlen(rest) < 200 && !strchr(rest, '/');
}

static bool sum_parse(const char *text, uint64_t *ret_sum)
{
    char *end = NULL;

    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return false;
    *ret_sum = strtoull(text, &end, 16);
    return *end == '\0';
}

static int take_files(const json_t *files, mp__archive *archive)
{
    const json_t *item;
    size_t i;
    int rc = json_is_array(files) ? 0 : MP_ECORRUPT;

    json_array_foreach(files, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        json_int_t bytes = json_integer_value(json_object_get(item, "bytes"));
        uint64_t sum = 0;

        if (!name || !name_is_good(name) || bytes < 0 ||
            !sum_parse(json_string_value(json_object_get(item, "xxh3")), &sum) ||
            find(archive, name))
            return MP_ECORRUPT;
        rc = mp__archive_add(archive, name, (uint64_t)bytes, sum);
        if (rc)
            return rc;
    }
    return rc;
}

int mp__archive_parse(mp_str text, mp__archive *ret_archive, mp__diag *diag)
{
    json_error_t error;
    json_t *root = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    mp__archive archive = {0};
    uint64_t sum = 0;
    int rc = 0;

    if (!root)
        return mp__diag_at(diag, MP_ECORRUPT, error.line, error.column, "no JSON: %s", error.text);
    if (json_integer_value(json_object_get(root, "format")) > MP__ARCHIVE_FORMAT)
        rc = mp__diag_set(diag, MP_EVERSION,
                          "the backup was made by a newer version of marketprism (%s); restore it "
                          "with that",
                          json_string_value(json_object_get(root, "made_by")));
    archive.created_ms = json_integer_value(json_object_get(root, "created_ms"));
    if (rc == 0)
        rc = take_files(json_object_get(root, "files"), &archive);
    if (rc == 0 && (!sum_parse(json_string_value(json_object_get(root, "xxh3")), &sum) ||
                    sum != sum_of_list(&archive) ||
                    json_integer_value(json_object_get(root, "format")) != MP__ARCHIVE_FORMAT))
        rc = MP_ECORRUPT;
    if (json_is_string(json_object_get(root, "made_by")))
        (void)snprintf(archive.made_by, sizeof(archive.made_by), "%s",
                       json_string_value(json_object_get(root, "made_by")));
    json_decref(root);
    if (rc == MP_ECORRUPT)
        (void)mp__diag_set(diag, rc, "the manifest does not hold its own sum");
    if (rc)
        mp__archive_done(&archive);
    else
        *ret_archive = archive;
    return rc;
}

/* ---- files ---- */

int mp__archive_path(const char *folder, const char *name, char path[MP__ARCHIVE_PATH])
{
    int n = snprintf(path, MP__ARCHIVE_PATH, "%s/%s", folder, name);

    return n > 0 && n < MP__ARCHIVE_PATH ? 0 : -ENAMETOOLONG;
}

/* Read @from to its end, or as long as it is at the beginning, into @to, which may be NULL. The sum
 * is that of the sums of its pieces, each with the one before as its seed. */
static int transfer(mp__file *from, mp__file *to, uint64_t *ret_bytes, uint64_t *ret_sum)
{
    MP__CLEANUP_FREE unsigned char *piece = mp__malloc(PIECE);
    uint64_t at = 0, sum = 0;
    mp__stat stat = {0};
    int rc = piece ? mp__file_stat(from, &stat) : MP_ENOMEM;

    while (rc == 0 && at < stat.size) {
        size_t want = stat.size - at < PIECE ? (size_t)(stat.size - at) : PIECE;
        int64_t n = mp__file_pread(from, piece, want, at);

        if (n <= 0 && (rc = (int)n) == 0)
            break; /* it became shorter */
        if (rc == 0 && to)
            rc = mp__file_pwrite(to, piece, (size_t)n, at);
        if (rc == 0)
            sum = mp__checksum(sum, piece, (size_t)n);
        at += rc == 0 ? (uint64_t)n : 0;
    }
    if (rc == 0 && to)
        rc = mp__file_sync(to);
    if (rc == 0) {
        *ret_bytes = at;
        *ret_sum = sum;
    }
    return rc;
}

int mp__archive_sum(mp_env *env, const char *path, uint64_t *ret_bytes, uint64_t *ret_sum)
{
    mp__file *file;
    int rc = mp__file_open(env, path, MP__OPEN_READ, &file);

    if (rc)
        return rc;
    rc = transfer(file, NULL, ret_bytes, ret_sum);
    mp__file_close(file);
    return rc;
}

int mp__archive_copy(mp_env *env, const char *from, const char *to, uint64_t *ret_bytes,
                     uint64_t *ret_sum)
{
    mp__file *source, *target;
    int rc = mp__file_open(env, from, MP__OPEN_READ, &source);

    if (rc)
        return rc;
    rc = mp__file_open(env, to, MP__OPEN_WRITE | MP__OPEN_CREATE | MP__OPEN_TRUNCATE, &target);
    if (rc == 0) {
        rc = transfer(source, target, ret_bytes, ret_sum);
        mp__file_close(target);
    }
    mp__file_close(source);
    return rc;
}

typedef struct removal {
    mp_env *env;
    const char *folder;
} removal;

static int remove_one(void *context, const char *name)
{
    removal *r = context;
    char path[MP__ARCHIVE_PATH];

    if (mp__archive_path(r->folder, name, path) == 0)
        (void)mp__env_unlink(r->env, path);
    return 0;
}

static void remove_files(mp_env *env, const char *folder)
{
    removal r = {env, folder};

    (void)mp__env_list(env, folder, remove_one, &r);
    (void)rmdir(folder);
}

void mp__archive_remove(mp_env *env, const char *folder)
{
    char l3[MP__ARCHIVE_PATH];

    if (mp__archive_path(folder, "l3", l3) == 0)
        remove_files(env, l3);
    remove_files(env, folder);
}
