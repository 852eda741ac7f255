/* SPDX-License-Identifier: MIT
 *
 * The settings are local to a transaction of ours, or to a savepoint in the caller's:
 * going back to it undoes them, also those that we do not know the caller changed.
 */
#include "bindings/backup/backup_session.h"

static const char sql_begin[] = "begin isolation level repeatable read, read only";
static const char sql_savepoint[] = "savepoint neap_backup";
static const char sql_back[] = "rollback to savepoint neap_backup";
static const char sql_release[] = "release savepoint neap_backup";

/* row_security off is an error where rows would be hidden. jit would compile for seconds
 * what runs for milliseconds. */
static const char sql_settings[] =
    "select pg_catalog.set_config(s.name, s.value, true) from (values"
    " ('search_path', 'pg_catalog, pg_temp'), ('row_security', 'off'), ('jit', 'off'),"
    " ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'),"
    " ('extra_float_digits', '3'), ('bytea_output', 'hex'), ('lc_monetary', 'C'),"
    " ('xmlbinary', 'base64'), ('quote_all_identifiers', 'off'),"
    " ('standard_conforming_strings', 'on')) s (name, value)";

static bool act(struct pg_client *client, const char *sql, struct neap_error *err)
{
    return pg_exec_text(client, sql, 0, NULL, NULL, err);
}

static void give_up(struct backup_session *session)
{
    if (!session->owned || pg_is_lost(session->client))
        return;
    pg_cleanup(session->client, true);
    act(session->client, "rollback", NULL);
    pg_failure_clear(session->client);
    pg_cleanup(session->client, false);
}

bool backup_session_begin(struct backup_session *session, struct pg_client *client,
                          struct neap_error *err)
{
    if (!pg_settle(client, err))
        return false;
    *session = (struct backup_session){.client = client,
                                       .owned = pg_transaction_status(client) == PQTRANS_IDLE};
    if (act(client, session->owned ? sql_begin : sql_savepoint, err) &&
        act(client, sql_settings, err))
        return true;
    give_up(session);
    return false;
}

bool backup_session_end(struct backup_session *session, bool ok, struct neap_error *err)
{
    if (ok && session->owned)
        ok = act(session->client, "commit", err);
    else if (ok)
        ok = act(session->client, sql_back, err) && act(session->client, sql_release, err);
    if (!ok)
        give_up(session);
    return ok;
}
