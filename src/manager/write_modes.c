/* SPDX-License-Identifier: Apache-2.0 */
/* How the keys of a namespace are written: through, around or back. */
#include "manager/write_back.h"

#include <string.h>

#include "core/address.h"
#include "core/alloc.h"

enum { ROWS_MAX = 256 };

typedef struct row {
    char *namespace_;
    enum mp__write_mode mode;
} row;

struct mp__write_modes {
    enum mp__write_mode standard;
    bool has_back;
    size_t count;
    row rows[ROWS_MAX];
};

static const char *const names[] = {"through", "around", "back"};

static int mode_of(const char *name, enum mp__write_mode *ret_mode)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *ret_mode = (enum mp__write_mode)i;
            return 0;
        }
    return MP_EINVAL;
}

static int add(mp__write_modes *modes, const char *text, mp__diag *diag)
{
    const char *equals = strrchr(text, '=');
    row *r = &modes->rows[modes->count];

    if (modes->count == ROWS_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "cache.write_modes: at most %d namespaces", ROWS_MAX);
    if (!equals || equals == text || mode_of(equals + 1, &r->mode) != 0)
        return mp__diag_set(diag, MP_EINVAL,
                            "cache.write_modes: '%s' is not NAMESPACE=through, =around or =back",
                            text);
    if (memchr(text, '/', (size_t)(equals - text)))
        return mp__diag_set(diag, MP_EINVAL,
                            "cache.write_modes: '%s' names a key; a namespace is written one way, "
                            "as orders=back",
                            text);
    for (size_t i = 0; i < modes->count; i++)
        if (mp_str_equal(mp_str_of(modes->rows[i].namespace_),
                         mp_str_new(text, (size_t)(equals - text))))
            return mp__diag_set(diag, MP_EINVAL, "cache.write_modes: '%s' stands twice",
                                modes->rows[i].namespace_);
    r->namespace_ = mp__str_dup(mp_str_new(text, (size_t)(equals - text)));
    if (!r->namespace_)
        return MP_ENOMEM;
    modes->count++;
    modes->has_back |= r->mode == MP__WRITE_BACK;
    return 0;
}

int mp__write_modes_new(const mp__options *options, mp__write_modes **ret_modes, mp__diag *diag)
{
    mp__write_modes *modes = mp__calloc(1, sizeof(*modes));
    int rc;

    if (!modes)
        return MP_ENOMEM;
    rc = mode_of(mp__options_text(options, "cache.write_mode"), &modes->standard);
    modes->has_back = modes->standard == MP__WRITE_BACK;
    for (size_t i = 0; rc == 0 && i < mp__options_list_count(options, "cache.write_modes"); i++)
        rc = mp__diag_row(
            diag, add(modes, mp__options_list_at(options, "cache.write_modes", i), diag), i);
    if (rc) {
        (void)mp__write_modes_free(modes);
        return rc;
    }
    *ret_modes = modes;
    return 0;
}

mp__write_modes *mp__write_modes_free(mp__write_modes *modes)
{
    for (size_t i = 0; modes && i < modes->count; i++)
        (void)mp__free(modes->rows[i].namespace_);
    return mp__free(modes);
}

enum mp__write_mode mp__write_mode_of(const mp__write_modes *modes, mp_str address)
{
    mp_str environment, namespace_, key;

    if (modes->count == 0 || mp__address_split(address, &environment, &namespace_, &key) != 0)
        return modes->standard;
    for (size_t i = 0; i < modes->count; i++)
        if (mp_str_equal(namespace_, mp_str_of(modes->rows[i].namespace_)))
            return modes->rows[i].mode;
    return modes->standard;
}

bool mp__write_modes_have_back(const mp__write_modes *modes)
{
    return modes->has_back;
}
