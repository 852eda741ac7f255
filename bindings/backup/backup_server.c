/* SPDX-License-Identifier: MIT
 *
 * Not from template1 where it can be helped: a session in it keeps everybody else from
 * making a database.
 */
#include "bindings/backup/backup_server.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/buffer.h"
#include "host/base/memory.h"

/* A setting of role or database must not hold up a restore. The server looks for us now
 * and then, so that what a killed neap began ends. */
#define COPY_OPTIONS                                               \
    " -c default_transaction_read_only=off -c statement_timeout=0" \
    " -c client_connection_check_interval=500ms"
#define SERVER_OPTIONS                                                  \
    COPY_OPTIONS " -c lock_timeout=0 -c search_path=pg_catalog,pg_temp" \
                 " -c idle_in_transaction_session_timeout=0"

static const char sql_look[] =
    "select (pg_catalog.pg_control_system()).system_identifier,"
    " pg_catalog.current_setting('server_version'), current_user,"
    " pg_catalog.current_setting('is_superuser') = 'on', pg_catalog.pg_is_in_recovery(),"
    " pg_catalog.pg_backend_pid()";

char *backup_server_conninfo(const struct backup_server *server, const char *database)
{
    return pg_conninfo_on(server->conninfo, database, COPY_OPTIONS);
}

static bool open_session(const struct backup_server *server, char *conninfo, const char *name,
                         struct pg_client **out, struct neap_error *err)
{
    char *application = neap_format("neap:%s", neap_loop_run(server->loop)->id);
    struct pg_open_opts opts = {
        .conninfo = conninfo, .application_name = application, .name = name};
    bool opened = conninfo == NULL ? pg_conninfo_check(server->conninfo, err)
                                   : pg_open(server->loop, &opts, out, err);
    pg_conninfo_free(conninfo);
    free(application);
    return opened;
}

bool backup_server_copy(const struct backup_server *server, const char *database,
                        struct pg_client **out, struct neap_error *err)
{
    return open_session(server, backup_server_conninfo(server, database), "copy", out, err);
}

bool backup_server_session(const struct backup_server *server, const char *database,
                           const char *name, struct pg_client **out, struct neap_error *err)
{
    return open_session(server, pg_conninfo_on(server->conninfo, database, SERVER_OPTIONS), name,
                        out, err);
}

static bool open_any(struct backup_server *server, struct neap_error *err)
{
    struct neap_error why = {0};
    if (backup_server_session(server, "postgres", "server", &server->client, err))
        return true;
    if (err->code != NEAP_ERR_DB_CONNECT || neap_run_stopping(neap_loop_run(server->loop)))
        return false;
    bool opened = backup_server_session(server, "template1", "server", &server->client, &why);
    neap_error_clear(&why); /* the first says more */
    if (opened)
        neap_error_clear(err);
    return opened;
}

static bool check_place(const struct backup_server *server, const struct pg_op *op,
                        struct neap_error *err)
{
    const char *address = pg_address(server->client);
    if (pg_cell_bool(op, 0, 4)) {
        neap_error_set(err, NEAP_ERR_TARGET_STANDBY, "%s is a standby", address);
        return false;
    }
    if (pg_cell_int(op, 0, 5) == PQbackendPID(pg_raw(server->client)))
        return true;
    neap_error_set(err, NEAP_ERR_DB_POOLER,
                   "a restore needs sessions of its own, and a pooler answers at %s", address);
    neap_error_hint(err, "Give the environment an address of the server itself.");
    return false;
}

static bool look(struct backup_server *server, struct neap_error *err)
{
    struct pg_op *op = NULL;
    if (!pg_exec_text(server->client, sql_look, 0, NULL, &op, err))
        return false;
    server->system_identifier = neap_strdup(pg_cell(op, 0, 0));
    server->version = neap_strdup(pg_cell(op, 0, 1));
    server->user = neap_strdup(pg_cell(op, 0, 2));
    server->superuser = pg_cell_bool(op, 0, 3);
    server->version_num = PQserverVersion(pg_raw(server->client));
    bool good = check_place(server, op, err);
    pg_op_free(op);
    return good;
}

bool backup_server_open(struct neap_loop *loop, const char *conninfo, const char *target,
                        struct backup_server *out, struct neap_error *err)
{
    *out = (struct backup_server){
        .loop = loop, .conninfo = neap_strdup(conninfo), .target = neap_strdup(target)};
    if (open_any(out, err) && look(out, err))
        return true;
    backup_server_close(out);
    return false;
}

void backup_server_close(struct backup_server *server)
{
    pg_close(server->client);
    pg_conninfo_free(server->conninfo);
    free(server->target);
    free(server->system_identifier);
    free(server->version);
    free(server->user);
    *server = (struct backup_server){0};
}

bool backup_server_find(const struct backup_server *server, const char *database, int64_t *oid,
                        struct neap_error *err)
{
    static const char sql[] = "select oid from pg_catalog.pg_database where datname = $1";
    struct pg_op *op = NULL;
    bool asked = pg_exec_text(server->client, sql, 1, &database, &op, err);
    *oid = asked && pg_rows(op) == 1 ? pg_cell_int(op, 0, 0) : 0;
    pg_op_free(op);
    return asked;
}

static bool check_version(const struct backup_server *server, const json_t *manifest,
                          struct neap_error *err)
{
    int major = (int)(json_integer_value(json_object_get(manifest, "server_version_num")) / 10000);
    if (server->version_num / 10000 == major)
        return true;
    neap_error_set(err, NEAP_ERR_BACKUP_VERSION,
                   "the backup is of PostgreSQL %d, and the server at %s is %s", major,
                   pg_address(server->client), server->version);
    neap_error_hint(err,
                    "Restore it on a server of PostgreSQL %d; pg_upgrade or pg_dump brings it on "
                    "from there.",
                    major);
    return false;
}

/* The names of a list of texts, or of objects with a name, as text[]. */
static char *names_of(const json_t *list)
{
    struct neap_buffer names = {0};
    neap_buffer_add_char(&names, '{');
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *name =
            json_string_value(json_is_string(item) ? item : json_object_get(item, "name"));
        neap_buffer_add_text(&names, names.length > 1 ? ",\"" : "\"");
        for (const char *at = name == NULL ? "" : name; *at != '\0'; at++) {
            if (*at == '"' || *at == '\\')
                neap_buffer_add_char(&names, '\\');
            neap_buffer_add_char(&names, *at);
        }
        neap_buffer_add_char(&names, '"');
    }
    neap_buffer_add_char(&names, '}');
    return neap_buffer_take(&names);
}

/* What of the manifest the server lacks. The queries give names, quoted, in one text. */
static const struct need {
    const char *field, *sql;
    enum neap_error_code code;
    const char *what, *hint;
} needs[] = {
    {"roles",
     "select pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ' order by name)"
     " from pg_catalog.unnest($1::text[]) name"
     " where name not in (select rolname from pg_catalog.pg_roles)",
     NEAP_ERR_BACKUP_ROLE, "role",
     "Make each of them first: `create role NAME`, with what it may do; no backup has that."},
    {"tablespaces",
     "select pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ' order by name)"
     " from pg_catalog.unnest($1::text[]) name"
     " where name not in (select spcname from pg_catalog.pg_tablespace)",
     NEAP_ERR_BACKUP_FAILED, "tablespace",
     "Make each of them first: `create tablespace NAME location '…'`."},
    {"extensions",
     "select pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ' order by name)"
     " from pg_catalog.unnest($1::text[]) name"
     " where name not in (select name from pg_catalog.pg_available_extensions)",
     NEAP_ERR_BACKUP_EXTENSION, "extension",
     "Install its package on the server's machine, then run it again."},
};

static bool check_need(const struct backup_server *server, const json_t *manifest,
                       const struct need *need, struct neap_error *err)
{
    char *names = names_of(json_object_get(manifest, need->field));
    const char *params[] = {names};
    struct pg_op *op = NULL;
    bool asked = pg_exec_text(server->client, need->sql, 1, params, &op, err);
    const char *missing = asked ? pg_cell(op, 0, 0) : NULL;
    if (missing != NULL) {
        neap_error_set(err, need->code, "the backup needs what the server does not have: %s %s",
                       need->what, missing);
        neap_error_hint(err, "%s", need->hint);
    }
    pg_op_free(op);
    free(names);
    return asked && missing == NULL;
}

bool backup_server_check(const struct backup_server *server, const json_t *manifest,
                         struct neap_error *err)
{
    if (!check_version(server, manifest, err))
        return false;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (!check_need(server, manifest, &needs[i], err))
            return false;
    return true;
}
