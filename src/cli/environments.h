/* SPDX-License-Identifier: Apache-2.0 */
/* A note for people who named an environment that is none yet. */
#ifndef MP_CLI_ENVIRONMENTS_H
#define MP_CLI_ENVIRONMENTS_H

#include "cli/cli.h"

/* Say on stderr if the environment of @scope, with a region or without, holds no key, and which was
 * perhaps meant: for verbs that found nothing there, or (@writes) are about to write the first.
 * Nothing is said when @scope is NULL, with --json, of one that resp.databases names and that is
 * about to be written, and where the daemon cannot tell. No exit code depends on it. */
void mp__cli_note_environment(const mp__arguments *arguments, mp__client *client, const char *scope,
                              bool writes);

#endif
