/* SPDX-License-Identifier: Apache-2.0 */
/* What libyaml's parser found wrong, with its place. */
#ifndef MP_CORE_YAML_ERROR_H
#define MP_CORE_YAML_ERROR_H

#include <yaml.h>

#include "core/error.h"

/* What @parser, which has just refused a document, says of it: the place where it could not go on
 * and, where that is another line, the place at which what it was reading begins; that is where the
 * mistake often is, as of a bracket that is never closed. MP_ESYNTAX, or MP_ENOMEM. Pure. */
int mp__yaml_error(const yaml_parser_t *parser, mp__diag *diag);

#endif
