/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration values for the benches: documents of a few schemas, as a platform of market data
 * has them (exchange, broker, collector, alert, storage, feature flag), each different; and the
 * blocks of examples/config where that is found. From a seed. */
#ifndef MP_BENCH_CONFIG_VALUES_H
#define MP_BENCH_CONFIG_VALUES_H

#include <stddef.h>

#include "core/error.h"

typedef struct mp__config_value {
    char *address; /* terminated */
    char *value;
    size_t address_size, size;
} mp__config_value;

typedef struct mp__config_values {
    mp__config_value *values;
    size_t count, room;
    size_t known; /* those before are of schemas and environments that come first */
} mp__config_values;

/* @count documents; each schema in turn. 0 or MP_ENOMEM. */
MP_MUST_USE int mp__config_values_make(mp__config_values *values, size_t count);
enum mp__config_cut {
    MP__CONFIG_BLOCKS,    /* the text of each that is not indented, with its comments */
    MP__CONFIG_LEAVES,    /* as an import makes keys of a file */
    MP__CONFIG_DOCUMENTS, /* each file as one document of JSON */
};
/* What the files in @folder are made of, those of its production environment last. -errno. */
MP_MUST_USE int mp__config_values_read(mp__config_values *values, const char *folder,
                                       enum mp__config_cut cut);
void mp__config_values_done(mp__config_values *values);

#endif
