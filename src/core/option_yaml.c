/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file's YAML into options. On an error nothing is changed. */
#include <stdio.h>

#include <yaml.h>

#include "core/option.h"
#include "core/yaml_error.h"

enum { PATH_MAX_ = 160, DEPTH_MAX = 4 };

typedef struct reader {
    yaml_document_t document;
    mp__options *options; /* a copy that is swapped in at the end */
    mp__diag *diag;
} reader;

static int at(const reader *r, const yaml_node_t *node, int rc)
{
    if (r->diag) {
        r->diag->line = (int)node->start_mark.line + 1;
        r->diag->column = (int)node->start_mark.column + 1;
    }
    return rc;
}

static int set_list(reader *r, const char *path, const yaml_node_t *node)
{
    int rc = mp__options_set_item(r->options, path, NULL, true, r->diag);

    if (rc)
        return at(r, node, rc);
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        const yaml_node_t *item = yaml_document_get_node(&r->document, *i);

        if (item->type != YAML_SCALAR_NODE)
            return at(r, item,
                      mp__diag_set(r->diag, MP_EINVAL, "%s: a list of words is expected", path));
        rc = mp__options_set_item(r->options, path, (const char *)item->data.scalar.value, false,
                                  r->diag);
        if (rc)
            return at(r, item, rc);
        mp__options_place_item(r->options, path, (int)item->start_mark.line + 1,
                               (int)item->start_mark.column + 1);
    }
    mp__options_place(r->options, path, (int)node->start_mark.line + 1,
                      (int)node->start_mark.column + 1);
    return 0;
}

static bool is_group(const char *path)
{
    size_t size = strlen(path);

    for (size_t i = 0; i < mp__option_count; i++)
        if (strncmp(mp__option_table[i].path, path, size) == 0 &&
            mp__option_table[i].path[size] == '.')
            return true;
    return false;
}

static bool is_option(const char *path)
{
    for (size_t i = 0; i < mp__option_count; i++)
        if (strcmp(mp__option_table[i].path, path) == 0)
            return true;
    return false;
}

static bool is_duplicate(reader *r, const yaml_node_t *map, const yaml_node_pair_t *pair)
{
    const yaml_node_t *key = yaml_document_get_node(&r->document, pair->key);

    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *other = yaml_document_get_node(&r->document, p->key);

        if (other->type == YAML_SCALAR_NODE && strcmp((const char *)other->data.scalar.value,
                                                      (const char *)key->data.scalar.value) == 0)
            return true;
    }
    return false;
}

static int set_map(reader *r, const char *prefix, const yaml_node_t *map, int depth);

static int set_pair(reader *r, const char *prefix, const yaml_node_t *map,
                    const yaml_node_pair_t *pair, int depth)
{
    const yaml_node_t *key = yaml_document_get_node(&r->document, pair->key);
    const yaml_node_t *node = yaml_document_get_node(&r->document, pair->value);
    char path[PATH_MAX_];
    int rc;

    if (key->type != YAML_SCALAR_NODE)
        return at(r, key, mp__diag_set(r->diag, MP_ESYNTAX, "a key must be a word"));
    (void)snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] ? "." : "",
                   (const char *)key->data.scalar.value);
    if (is_duplicate(r, map, pair))
        return at(r, key, mp__diag_set(r->diag, MP_ESYNTAX, "'%s' is there already", path));
    if (node->type == YAML_MAPPING_NODE && is_group(path))
        return set_map(r, path, node, depth + 1);
    if (node->type == YAML_MAPPING_NODE && is_option(path))
        return at(r, node, mp__diag_set(r->diag, MP_EINVAL, "%s takes a value, not a map", path));
    if (node->type == YAML_MAPPING_NODE)
        return at(r, key, mp__options_set(r->options, path, "", r->diag));
    if (node->type == YAML_SEQUENCE_NODE)
        return set_list(r, path, node);
    if (is_group(path) && node->data.scalar.length == 0)
        return 0; /* a group with nothing in it */
    /* an unknown name is shown at the name, a bad value at the value */
    rc = mp__options_set(r->options, path, (const char *)node->data.scalar.value, r->diag);
    if (rc)
        return at(r, is_option(path) ? node : key, rc);
    mp__options_place(r->options, path, (int)node->start_mark.line + 1,
                      (int)node->start_mark.column + 1);
    return 0;
}

static int set_map(reader *r, const char *prefix, const yaml_node_t *map, int depth)
{
    int rc = 0;

    if (depth > DEPTH_MAX)
        return at(r, map, mp__diag_set(r->diag, MP_ESYNTAX, "nested too deep"));
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start;
         p < map->data.mapping.pairs.top && rc == 0; p++)
        rc = set_pair(r, prefix, map, p, depth);
    return rc;
}

static int read_document(reader *r, yaml_parser_t *parser)
{
    yaml_node_t *root;
    int rc = 0;

    if (!yaml_parser_load(parser, &r->document))
        return mp__yaml_error(parser, r->diag);
    root = yaml_document_get_root_node(&r->document);
    if (root && root->type == YAML_MAPPING_NODE)
        rc = set_map(r, "", root, 0);
    else if (root && !(root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0))
        rc = at(r, root, mp__diag_set(r->diag, MP_ESYNTAX, "the file must be a map of options"));
    yaml_document_delete(&r->document);
    return rc;
}

int mp__options_parse(mp__options *options, const char *file, mp_str yaml, mp__diag *diag)
{
    reader r = {.diag = diag};
    yaml_parser_t parser;
    int rc = mp__options_copy(options, &r.options);

    if (rc == 0 && (rc = mp__options_file(r.options, file)) != 0)
        (void)mp__options_free(r.options);
    if (diag)
        (void)snprintf(diag->file, sizeof(diag->file), "%s", file);
    if (rc)
        return rc;
    if (!yaml_parser_initialize(&parser)) {
        (void)mp__options_free(r.options);
        return MP_ENOMEM;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(yaml.data ? yaml.data : ""),
                                 yaml.size);
    rc = read_document(&r, &parser);
    yaml_parser_delete(&parser);
    if (rc == 0)
        mp__options_swap(options, r.options);
    (void)mp__options_free(r.options);
    return rc;
}
