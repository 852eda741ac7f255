/* SPDX-License-Identifier: MIT
 *
 * The target tells its sizes from the catalog, where VACUUM or ANALYZE noted one: to measure
 * a table would be to wait for whoever has it locked.
 */
#include "host/proof/rehearse_predict.h"

#include <string.h>

#include "host/base/buffer.h"
#include "host/base/json.h"

/* AccessShare on each, where nobody else is. */
static const char sql_copy[] =
    "select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),"
    " pg_catalog.pg_relation_size(c.oid)"
    " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where c.relkind in ('r', 'm', 'i') and n.nspname not in"
    " ('pg_catalog', 'information_schema', 'pg_toast', 'neap')";

static const char sql_target[] =
    "select t.name, case when c.relpages > 0 then c.relpages::pg_catalog.int8"
    " * pg_catalog.current_setting('block_size')::pg_catalog.int8"
    " else pg_catalog.pg_relation_size(c.oid) end"
    " from pg_catalog.unnest($1::pg_catalog.text[]) t (name)"
    " join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(t.name)";

static json_t *to_json(const struct pg_op *op)
{
    json_t *sizes = json_object();
    for (int row = 0; row < pg_rows(op); row++)
        if (pg_cell(op, row, 1) != NULL) /* dropped meanwhile */
            neap_json_set(sizes, pg_cell(op, row, 0), json_integer(pg_cell_int(op, row, 1)));
    return sizes;
}

bool neap_rehearse_sizes(struct pg_client *copy, json_t **out, struct neap_error *err)
{
    struct pg_op *op = NULL;
    bool read = pg_exec_text(copy, sql_copy, 0, NULL, &op, err);
    if (read)
        *out = to_json(op);
    pg_op_free(op);
    return read;
}

/* Calls `fn` with each {relation, …} of a statement's scans and rewrites. */
static void each_relation(json_t *units, void (*fn)(void *arg, json_t *relation), void *arg)
{
    static const char *const lists[] = {"scans", "rewrites", NULL};
    size_t u, s, r;
    json_t *unit, *statement, *relation;
    json_array_foreach(units, u, unit)
        json_array_foreach(json_object_get(unit, "statements"), s,
                           statement) for (const char *const *list = lists; *list != NULL; list++)
            json_array_foreach(json_object_get(statement, *list), r, relation) fn(arg, relation);
}

static void add_name(void *arg, json_t *relation)
{
    json_t *names = arg;
    neap_json_set(names, json_string_value(json_object_get(relation, "relation")), json_true());
}

/* As the server reads an array of text. */
static void add_element(struct neap_buffer *array, const char *text)
{
    neap_buffer_add_char(array, array->length == 0 ? '{' : ',');
    neap_buffer_add_char(array, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            neap_buffer_add_char(array, '\\');
        neap_buffer_add_char(array, *text);
    }
    neap_buffer_add_char(array, '"');
}

static bool ask_target(const struct neap_prediction *prediction, json_t *units, json_t **out,
                       struct neap_error *err)
{
    json_t *names = json_object(), *value;
    struct neap_buffer array = {0};
    struct pg_op *op = NULL;
    const char *name;
    each_relation(units, add_name, names);
    json_object_foreach(names, name, value) add_element(&array, name);
    neap_buffer_add_text(&array, array.length == 0 ? "{}" : "}");
    const char *param = neap_buffer_text(&array);
    bool asked = pg_exec_text(prediction->control, sql_target, 1, &param, &op, err);
    *out = asked ? to_json(op) : json_object();
    pg_op_free(op);
    neap_buffer_clear(&array);
    json_decref(names);
    return asked;
}

struct sizes {
    const json_t *copy, *target;
};

static json_t *size_of(const json_t *sizes, const char *relation)
{
    json_t *size = json_object_get(sizes, relation);
    return size == NULL ? json_null() : json_incref(size);
}

static void set_sizes(void *arg, json_t *relation)
{
    const struct sizes *sizes = arg;
    const char *name = json_string_value(json_object_get(relation, "relation"));
    neap_json_set(relation, "copy_bytes", size_of(sizes->copy, name));
    neap_json_set(relation, "bytes", size_of(sizes->target, name));
}

/* How much more there is to read or write; 1 where that is not what takes the time. */
static double factor_of(const json_t *statement)
{
    static const char *const lists[] = {"scans", "rewrites", NULL};
    double here = 0, there = 0;
    size_t i;
    json_t *relation;
    for (const char *const *list = lists; *list != NULL; list++)
        json_array_foreach(json_object_get(statement, *list), i, relation)
        {
            const json_t *copy = json_object_get(relation, "copy_bytes");
            const json_t *target = json_object_get(relation, "bytes");
            here += (double)json_integer_value(copy);
            there += (double)json_integer_value(target);
        }
    return here > 0 && there > 0 ? there / here : 1;
}

/* up and verify as they were, and what their statements take more. */
static void predict_unit(json_t *unit)
{
    double predicted = (double)json_integer_value(json_object_get(unit, "up_ms")) +
                       (double)json_integer_value(json_object_get(unit, "verify_ms"));
    size_t i;
    json_t *statement;
    json_array_foreach(json_object_get(unit, "statements"), i, statement)
    {
        const char *part = json_string_value(json_object_get(statement, "part"));
        double duration = json_real_value(json_object_get(statement, "duration_ms"));
        double factor = factor_of(statement);
        neap_json_set(statement, "predicted_ms", json_real(duration * factor));
        if (strcmp(part, "down") != 0)
            predicted += duration * (factor - 1);
    }
    neap_json_set(unit, "predicted_ms",
                  json_integer((json_int_t)(predicted < 0 ? 0 : predicted + 0.5)));
}

bool neap_rehearse_predict(const struct neap_prediction *prediction, json_t *units,
                           struct neap_error *err)
{
    json_t *target = NULL, *unit;
    size_t i;
    bool asked = ask_target(prediction, units, &target, err);
    struct sizes sizes = {prediction->sizes, target};
    each_relation(units, set_sizes, &sizes);
    json_array_foreach(units, i, unit)
    {
        if (prediction->has_rows && asked)
            predict_unit(unit);
        else
            neap_json_set(unit, "predicted_ms", json_null());
    }
    json_decref(target);
    return asked;
}
