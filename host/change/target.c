/* SPDX-License-Identifier: MIT
 *
 * Opens the sessions of a target and looks at where they lead, before anything
 * is sent: identity, standby, pooler, rights. It knows nothing of migrations.
 * A session that was lost is opened again only between units, by whoever asks,
 * and is looked at again: it may lead elsewhere now.
 */
#include "host/change/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/log.h"
#include "host/base/memory.h"

/* Takes no lock but AccessShare on pg_database. Names are qualified: search_path is
 * not ours yet. system_identifier is readable by every role. Every run waits for it:
 * what a new session has not seen yet (a view, a cast) it must look up first. The
 * timeline of a primary is the first part of a segment's name; the control file's is
 * the old one until the first checkpoint after a promotion. */
static const char sql_look[] =
    "select (pg_catalog.pg_control_system()).system_identifier, d.oid, d.datname, current_user,"
    " pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'),"
    " pg_catalog.pg_backend_pid(), pg_catalog.current_setting('is_superuser'),"
    " pg_catalog.current_setting('server_version'), case when pg_catalog.pg_is_in_recovery()"
    " then (pg_catalog.pg_control_checkpoint()).timeline_id::pg_catalog.text"
    " else pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) end,"
    " pg_catalog.current_setting('synchronous_standby_names')"
    " from pg_catalog.pg_database d"
    " where d.datname operator(pg_catalog.=) pg_catalog.current_database()";

enum look_column {
    LOOK_SYSTEM,
    LOOK_DATABASE_OID,
    LOOK_DATABASE,
    LOOK_USER,
    LOOK_RECOVERY,
    LOOK_READ_ONLY,
    LOOK_BACKEND_PID,
    LOOK_SUPERUSER,
    LOOK_VERSION,
    LOOK_TIMELINE,
    LOOK_AWAITED
};

/* Scratch servers are copies of one template and share its system identifier:
 * when this one's files were made tells them apart. Superuser's right, which
 * scratch always has. */
static const char sql_copied[] =
    "select extract(epoch from (pg_catalog.pg_stat_file('PG_VERSION')).change)::pg_catalog.text";

static bool is_work(const char *name)
{
    return strcmp(name, "work") == 0;
}

static bool is_backup(const char *name)
{
    return strcmp(name, "backup") == 0;
}

/* Of the role that does what the session is for. */
static const char *conninfo_of(const struct neap_environment *env, const char *name)
{
    const char *own = is_work(name) ? NULL : is_backup(name) ? env->backup : env->control;
    return own != NULL ? own : env->url;
}

/* Scripts and pg_stat_activity know a run by `application`; a takeover of the lease waits
 * for sessions that carry it. The caller frees it. */
static struct pg_open_opts session_opts(const struct neap_target *target, const char *name,
                                        char **application)
{
    const struct neap_environment *env = target->env;
    *application = neap_format("neap:%s", neap_loop_run(target->loop)->id);
    return (struct pg_open_opts){
        .conninfo = conninfo_of(env, name),
        .application_name = *application,
        .timeout_ms = env->connect_timeout_ms,
        .name = name,
    };
}

/* *look: what sql_look answered, the caller's. */
static bool open_session(struct neap_target *target, const char *name, struct pg_client **out,
                         struct pg_op **look, struct neap_error *err)
{
    char *application = NULL;
    struct pg_open_opts opts = session_opts(target, name, &application);
    struct pg_client *client = is_work(name) ? target->opening : NULL;
    bool begun = client != NULL;
    target->opening = begun ? NULL : target->opening;
    if (!begun)
        client = pg_open_begin(target->loop, &opts, sql_look);
    bool opened = pg_open_end(client, &opts, look, err);
    if (!opened && begun && err->code == NEAP_ERR_DB_LOST) { /* while nobody used it */
        neap_error_clear(err);
        client = pg_open_begin(target->loop, &opts, sql_look);
        opened = pg_open_end(client, &opts, look, err);
    }
    free(application);
    if (opened)
        *out = client;
    return opened;
}

void neap_target_expect_work(struct neap_target *target)
{
    if (target->work != NULL || target->opening != NULL)
        return;
    char *application = NULL;
    struct pg_open_opts opts = session_opts(target, "work", &application);
    target->opening = pg_open_begin(target->loop, &opts, sql_look);
    free(application);
}

static bool check_pin(const struct neap_target *target, struct neap_error *err)
{
    const struct neap_environment *env = target->env;
    if (env->system_identifier != NULL &&
        strcmp(env->system_identifier, target->system_identifier) != 0) {
        neap_error_set(err, NEAP_ERR_TARGET_WRONG,
                       "environment %s is pinned to server %s, but this is server %s", env->name,
                       env->system_identifier, target->system_identifier);
        return false;
    }
    if (env->database != NULL && strcmp(env->database, target->database) != 0) {
        neap_error_set(err, NEAP_ERR_TARGET_WRONG,
                       "environment %s is pinned to database %s, but this is database %s",
                       env->name, env->database, target->database);
        return false;
    }
    return true;
}

static bool check_pooler(const struct neap_target *target, struct pg_client *client,
                         struct neap_error *err)
{
    if (target->direct || target->env->pooler)
        return true;
    neap_error_set(err, NEAP_ERR_DB_POOLER, "a pooler answers at %s", pg_address(client));
    neap_error_detail(err, "The server's process id is not the one the connection was given, so "
                           "a session there is not one session on the server.");
    neap_error_hint(err, "Connect to the server itself; or set `pooler = \"transaction\"` in the "
                         "environment to run transactional migrations through it "
                         "(`neap help poolers`).");
    return false;
}

static bool check_superuser(const struct neap_target *target, const char *user,
                            struct neap_error *err)
{
    if (!target->superuser || !target->env->is_protected || target->env->allow_superuser)
        return true;
    neap_error_set(err, NEAP_ERR_POLICY_REFUSED,
                   "%s is a superuser, and environment %s is protected", user, target->env->name);
    neap_error_hint(err, "Use roles that may do what they must and no more (`neap help roles` "
                         "prints the SQL that makes them), or set `allow_superuser = true` in the "
                         "environment.");
    return false;
}

static bool check_changeable(const struct neap_target *target, struct neap_error *err)
{
    if (target->standby) {
        neap_error_set(err, NEAP_ERR_TARGET_STANDBY, "%s is %s", pg_address(target->control),
                       target->recovery ? "a standby" : "read-only");
        if (!target->recovery)
            neap_error_hint(err, "Its default_transaction_read_only is on, for this role or "
                                 "database, as it is for neap_reader, which only looks "
                                 "(`neap help roles`). Use the roles that make changes, or point "
                                 "the environment at a primary.");
        return false;
    }
    return check_superuser(target, target->user, err);
}

/* "<system identifier>/<database oid>", by which lease, journal and reconnects
 * know the target. The caller frees. */
static bool read_identity(const struct neap_environment *env, struct pg_client *client,
                          const struct pg_op *look, char **out, struct neap_error *err)
{
    struct pg_op *copied = NULL;
    if (env->scratch && !pg_exec_text(client, sql_copied, 0, NULL, &copied, err))
        return false;
    *out = neap_format("%s%s%s/%s", pg_cell(look, 0, LOOK_SYSTEM), copied == NULL ? "" : "-",
                       copied == NULL ? "" : pg_cell(copied, 0, 0),
                       pg_cell(look, 0, LOOK_DATABASE_OID));
    pg_op_free(copied);
    return true;
}

static bool is_on(const struct pg_op *look, int column)
{
    return strcmp(pg_cell(look, 0, column), "on") == 0;
}

/* A segment's name begins with the timeline in eight hex digits. The caller frees. */
static char *read_timeline(const struct pg_op *look)
{
    const char *text = pg_cell(look, 0, LOOK_TIMELINE);
    char hex[9];
    if (strlen(text) < 24)
        return neap_strdup(text);
    snprintf(hex, sizeof hex, "%.8s", text);
    return neap_format("%lu", strtoul(hex, NULL, 16));
}

/* What the look found, kept in `target`. */
static void keep_look(struct neap_target *target, const struct pg_op *op)
{
    target->system_identifier = neap_strdup(pg_cell(op, 0, LOOK_SYSTEM));
    target->database = neap_strdup(pg_cell(op, 0, LOOK_DATABASE));
    target->user = neap_strdup(pg_cell(op, 0, LOOK_USER));
    target->timeline = read_timeline(op);
    target->server_version = neap_strdup(pg_cell(op, 0, LOOK_VERSION));
    target->recovery = pg_cell_bool(op, 0, LOOK_RECOVERY);
    target->standby = target->recovery || is_on(op, LOOK_READ_ONLY);
    target->superuser = is_on(op, LOOK_SUPERUSER);
    target->awaited = pg_cell(op, 0, LOOK_AWAITED)[0] != '\0';
    target->direct = pg_cell_int(op, 0, LOOK_BACKEND_PID) == PQbackendPID(pg_raw(target->control));
    target->server_version_num = PQserverVersion(pg_raw(target->control));
}

bool neap_target_open(struct neap_loop *loop, const struct neap_environment *env, bool change,
                      struct neap_target **out, struct neap_error *err)
{
    struct neap_target *target = neap_alloc(sizeof *target);
    target->loop = loop;
    target->env = env;
    target->change = change;
    struct pg_op *op = NULL;
    bool looked = open_session(target, "control", &target->control, &op, err);
    if (looked && pg_rows(op) != 1) {
        neap_error_set(err, NEAP_ERR_INTERNAL_BUG, "the look at the target gave %d rows",
                       pg_rows(op));
        looked = false;
    }
    if (looked) {
        keep_look(target, op);
        looked = read_identity(env, target->control, op, &target->identity, err);
    }
    pg_op_free(op);
    if (!looked || !check_pin(target, err) || !check_pooler(target, target->control, err) ||
        (change && !check_changeable(target, err))) {
        neap_target_close(target);
        return false;
    }
    *out = target;
    return true;
}

/* A standby was promoted in the server's place: what the old primary had not yet
 * sent it, also a COMMIT that was answered, is not there. */
static void tell_timeline(struct neap_target *target, const struct pg_op *look)
{
    char *now = read_timeline(look);
    if (strcmp(now, target->timeline) == 0) {
        free(now);
        return;
    }
    neap_log(NEAP_LOG_WARN, "target.timeline",
             "the server was failed over in mid-run, from timeline %s to %s; what the old primary "
             "had not replicated is lost: look at `neap status` and `neap audit verify`",
             target->timeline, now);
    free(target->timeline);
    target->timeline = now;
    target->failed_over = true;
}

/* A new session must lead to the server and database that were looked at. */
static bool check_same(struct neap_target *target, struct pg_client *client, const struct pg_op *op,
                       struct neap_error *err)
{
    char *identity = NULL;
    if (!read_identity(target->env, client, op, &identity, err))
        return false;
    bool same = strcmp(identity, target->identity) == 0;
    bool primary = target->recovery || !pg_cell_bool(op, 0, LOOK_RECOVERY);
    if (!same)
        neap_error_set(err, NEAP_ERR_TARGET_WRONG, "%s led to %s, and now to %s",
                       pg_address(client), target->identity, identity);
    else if (!primary)
        neap_error_set(err, NEAP_ERR_TARGET_STANDBY, "%s has become a standby", pg_address(client));
    if (same && primary)
        tell_timeline(target, op);
    free(identity);
    return same && primary;
}

/* The work session may be of another role, and on another way to the server. */
static bool keep_work(struct neap_target *target, struct pg_client *client, const struct pg_op *op,
                      struct neap_error *err)
{
    bool direct = pg_cell_int(op, 0, LOOK_BACKEND_PID) == PQbackendPID(pg_raw(client));
    target->direct = target->direct && direct;
    target->superuser = target->superuser || is_on(op, LOOK_SUPERUSER);
    free(target->work_user);
    target->work_user = neap_strdup(pg_cell(op, 0, LOOK_USER));
    return check_pooler(target, client, err) &&
           (!target->change || check_superuser(target, target->work_user, err));
}

/* pg_dump's own sessions must see what this one holds still for them. */
static bool check_direct(struct pg_client *client, const struct pg_op *op, struct neap_error *err)
{
    if (pg_cell_int(op, 0, LOOK_BACKEND_PID) == PQbackendPID(pg_raw(client)))
        return true;
    neap_error_set(err, NEAP_ERR_DB_POOLER,
                   "a backup needs sessions of its own, and a pooler answers at %s",
                   pg_address(client));
    neap_error_hint(err, "Set `backup` in the environment to the server's own address "
                         "(`neap help environments`).");
    return false;
}

bool neap_target_session(struct neap_target *target, const char *name, struct pg_client **out,
                         struct neap_error *err)
{
    struct pg_client *client = NULL;
    struct pg_op *op = NULL;
    if (!open_session(target, name, &client, &op, err))
        return false;
    bool good = check_same(target, client, op, err) &&
                (!is_work(name) || keep_work(target, client, op, err)) &&
                (!is_backup(name) || check_direct(client, op, err));
    pg_op_free(op);
    if (good)
        *out = client;
    else
        pg_close(client);
    return good;
}

bool neap_target_work(struct neap_target *target, struct neap_error *err)
{
    if (target->work != NULL && !pg_is_lost(target->work))
        return true;
    neap_target_drop_work(target);
    target->tidy = true;
    return neap_target_session(target, "work", &target->work, err);
}

void neap_target_drop_work(struct neap_target *target)
{
    pg_close(target->work);
    target->work = NULL;
}

void neap_target_close(struct neap_target *target)
{
    if (target == NULL)
        return;
    pg_close(target->opening);
    pg_close(target->work);
    pg_close(target->control);
    free(target->system_identifier);
    free(target->database);
    free(target->user);
    free(target->work_user);
    free(target->identity);
    free(target->timeline);
    free(target->server_version);
    free(target);
}
