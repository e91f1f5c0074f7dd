/* SPDX-License-Identifier: Apache-2.0 */
/* The formats that mp__formats lists, each defined in the file of its name. */
#ifndef MP_FORMAT_KINDS_H
#define MP_FORMAT_KINDS_H

#include "format/format.h"

extern const mp__format mp__format_json, mp__format_yaml, mp__format_env, mp__format_ini,
    mp__format_properties, mp__format_toml;

#endif
