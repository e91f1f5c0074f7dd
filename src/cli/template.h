/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of configuration: text with {{ }} in it becomes text with values in it. Pure but for
 * the look-ups, which the caller makes.
 *
 *     {{feeds/kraken.url}}                   the value
 *     {{feeds/kraken.url | default "none"}}  another text where there is none
 *     {{feeds/kraken.name | json}}           filters: json shell upper lower trim base64
 *     {{get "odd | key"}}                    a key of any bytes
 *     {{"{{"}}                               a text as it stands
 *     {{if flags/x}} .. {{else}} .. {{end}}  present, and none of "", 0, false, no, off, null
 *     {{range feeds/}} .. {{end}}            all keys with the prefix: .key .name .value
 *     {{- .. -}}                             without the white space before and behind
 */
#ifndef MP_CLI_TEMPLATE_H
#define MP_CLI_TEMPLATE_H

#include "core/buf.h"
#include "core/error.h"

typedef struct mp__template mp__template;

/* What a template asks for. Each returns 0, MP_EABSENT, or another error, which ends the rendering
 * with the place and @diag's text. */
typedef struct mp__template_source {
    void *context;
    int (*get)(void *context, mp_str key, mp__buf *out, mp__diag *diag);
    /* Call @each for every key with the prefix, in order; what it returns other than 0 is given
     * back. @name is the key without the prefix. */
    int (*range)(void *context, mp_str prefix,
                 int (*each)(void *each_context, mp_str key, mp_str name, mp_str value),
                 void *each_context, mp__diag *diag);
} mp__template_source;

/* Read a template. MP_ESYNTAX with line and column and what was expected; MP_ELIMIT (8 MiB, 64
 * blocks in one another); MP_ENOMEM. @text is copied. */
MP_MUST_USE int mp__template_new(mp_str text, mp__template **ret_template, mp__diag *diag);
mp__template *mp__template_free(mp__template *template_); /* accepts NULL, returns NULL */

/* Append the text with the values in it to @out. MP_EABSENT: a key without a default is not there;
 * @diag says which, line and column too. On an error @out holds a part. */
MP_MUST_USE int mp__template_render(const mp__template *template_,
                                    const mp__template_source *source, mp__buf *out,
                                    mp__diag *diag);

/* Call @each for every key and prefix that the template names: what to watch. */
void mp__template_names(const mp__template *template_,
                        void (*each)(void *context, mp_str name, bool is_prefix), void *context);

#endif
