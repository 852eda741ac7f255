/* SPDX-License-Identifier: MIT
 *
 * Catalogs only, no lock but AccessShare. The control session's search_path is
 * pg_catalog. What other roles' sessions do is hidden from a role that is not in
 * pg_read_all_stats: their columns are null, and a check of its own counts them.
 */
#include "host/proof/preflight_sql.h"

#include <stddef.h>

#define OTHERS                                                                                    \
    " from pg_stat_activity a where a.datname = current_database() and a.pid <> pg_backend_pid()" \
    " and coalesce(a.application_name, '') <> current_setting('application_name')"
#define WHO "'pid %s, %s, %s'"

static const char sql_rights[] =
    "with want (what, has) as (values"
    " ('CREATE on the database, for schema neap', to_regnamespace('neap') is not null"
    "   or has_database_privilege(current_database(), 'CREATE')),"
    " ('CONNECT on the database', has_database_privilege(current_database(), 'CONNECT')),"
    " ('USAGE on schema neap', (select coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE')), "
    "true)"
    "   from pg_namespace n where n.nspname = 'neap')))"
    " select count(*) filter (where not has), case when bool_and(has)"
    " then format('%s has what neap needs', current_user) else format('%s lacks %s', current_user,"
    " string_agg(what, ', ') filter (where not has)) end from want";

/* Not by backend_type, which is hidden too. */
static const char sql_connections[] =
    "select 100.0 * count(*) / m.most, format('%s of %s connections are in use', count(*), m.most)"
    " from pg_stat_activity a, (select setting::int4 as most from pg_settings"
    " where name = 'max_connections') m where a.datid is not null group by m.most";

static const char sql_long_transactions[] =
    "with t as (select a.pid, a.usename, a.application_name,"
    " extract(epoch from clock_timestamp() - a.xact_start) as age" OTHERS
    " and a.xact_start is not null order by a.xact_start)"
    " select coalesce(max(age), 0), case when count(*) = 0 then 'no other transaction is open'"
    " else format('the oldest of %s open transactions is %s s old: ', count(*), round(max(age)))"
    " || (select format(" WHO ", pid, usename, application_name) from t limit 1) end from t";

static const char sql_idle[] =
    "with t as (select a.pid, a.usename, a.application_name,"
    " extract(epoch from clock_timestamp() - a.state_change) as age" OTHERS
    " and a.state like 'idle in transaction%' order by a.state_change)"
    " select coalesce(max(age), 0), case when count(*) = 0 then 'no session is idle in a "
    "transaction'"
    " else format('%s idle in a transaction, the longest for %s s: ', count(*), round(max(age)))"
    " || (select format(" WHO ", pid, usename, application_name) from t limit 1) end from t";

static const char sql_prepared[] =
    "select count(*), case when count(*) = 0 then 'there are none' else"
    " format('%s, the oldest since %s: %s', count(*), min(p.prepared),"
    " (array_agg(p.gid order by p.prepared))[1]) end"
    " from pg_prepared_xacts p where p.database = current_database()";

static const char sql_hidden[] =
    "select count(*), case when count(*) = 0 then 'what all sessions do can be seen' else"
    " format('what %s sessions of other roles do is hidden from %s', count(*), current_user) end"
    " from pg_stat_activity a where a.query = '<insufficient privilege>'"
    " and a.datname = current_database()";

static const char sql_locks[] =
    "with t as (select distinct a.pid, n.nspname, c.relname, l.mode, a.application_name,"
    " round(extract(epoch from clock_timestamp() - a.xact_start)) as age"
    " from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on"
    " n.oid = c.relnamespace join pg_stat_activity a on a.pid = l.pid"
    " where l.granted and l.locktype = 'relation' and a.pid <> pg_backend_pid()"
    " and l.database = (select d.oid from pg_database d where d.datname = current_database())"
    " and c.relname = any ($1::text[]) and n.nspname !~ '^pg_|^information_schema$|^neap$'"
    " and a.xact_start < clock_timestamp() - interval '1 second')"
    " select count(*), case when count(*) = 0 then 'none is on what the pending scripts name'"
    " else string_agg(format('%I.%I: %s for %s s by pid %s (%s)', nspname, relname, mode, age, pid,"
    " application_name), '; ') end from t";

/* replay_lag is what the replica said when it last applied something; one that applies
 * nothing any more is seen by its WAL. */
#define REPLICAS                                                                                \
    "with t as (select r.application_name, r.state, coalesce(extract(epoch from r.replay_lag)," \
    " 0) as lag, pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_receive_lsn()"  \
    " else pg_current_wal_lsn() end, r.replay_lsn) / 1048576.0 as behind"                       \
    " from pg_stat_replication r where r.state is distinct from 'backup')"                      \
    " select case when bool_or(state is null) then null else coalesce(max("
#define REPLICAS_SAY                                                                         \
    "), 0) end, case when count(*) = 0 then 'no replica is connected'"                       \
    " when bool_or(state is null) then format('%s replicas, whose state is hidden from %s'," \
    " count(*), current_user) else string_agg(format('%s: %s, ', application_name, state) ||"

static const char sql_replication[] =
    REPLICAS "lag" REPLICAS_SAY " format('%s s behind', round(lag, 1)), '; ') end from t";
static const char sql_replication_wal[] =
    REPLICAS "behind" REPLICAS_SAY " format('%s MB behind', round(behind, 1)), '; ') end from t";

static const char sql_invalid[] =
    "select count(*), case when count(*) = 0 then 'there are none'"
    " else string_agg(i.indexrelid::regclass::text, ', ') end"
    " from pg_index i where not i.indisvalid and not exists (select from"
    " pg_stat_progress_create_index p where p.index_relid = i.indexrelid)"
    " and exists (select from pg_class c where c.oid = i.indexrelid and c.relkind = 'i')";

/* $1: 1 where the environment's `archive` needs it. */
static const char sql_archiving[] =
    "select case when current_setting('archive_mode') = 'off' then $1::int4"
    " when a.last_failed_time > coalesce(a.last_archived_time, '-infinity') then 1 else 0 end,"
    " case when current_setting('archive_mode') = 'off'"
    " then 'archive_mode is off: there is no point-in-time recovery'"
    " when a.last_failed_time > coalesce(a.last_archived_time, '-infinity')"
    " then format('%s could not be archived at %s', a.last_failed_wal, a.last_failed_time)"
    " when a.last_archived_time is null then 'nothing was archived yet'"
    " else format('%s was archived at %s', a.last_archived_wal, a.last_archived_time) end"
    " from pg_stat_archiver a";

const char *const neap_preflight_sql[NEAP_PREFLIGHT_COUNT] = {
    [NEAP_PREFLIGHT_RIGHTS] = sql_rights,
    [NEAP_PREFLIGHT_CONNECTIONS] = sql_connections,
    [NEAP_PREFLIGHT_LONG_TRANSACTIONS] = sql_long_transactions,
    [NEAP_PREFLIGHT_IDLE_IN_TRANSACTION] = sql_idle,
    [NEAP_PREFLIGHT_PREPARED] = sql_prepared,
    [NEAP_PREFLIGHT_HIDDEN] = sql_hidden,
    [NEAP_PREFLIGHT_LOCKS] = sql_locks,
    [NEAP_PREFLIGHT_REPLICATION] = sql_replication,
    [NEAP_PREFLIGHT_REPLICATION_WAL] = sql_replication_wal,
    [NEAP_PREFLIGHT_INVALID_INDEXES] = sql_invalid,
    [NEAP_PREFLIGHT_ARCHIVING] = sql_archiving,
};
