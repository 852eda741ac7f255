-- The database roles of neap, and schema neap as their property.
--
--   neap help roles | psql -X -d shop
--   neap help roles | psql -X -d shop -v schema=app     -- objects are in app, not in public
--
-- Run it as a superuser in each database that neap changes, and again after an upgrade of
-- neap: it makes what is missing and puts back what was changed. It drops nothing. Roles
-- belong to the whole server. Nobody can log in until you give each role a password
-- (\password neap_migrator) or a line in pg_hba.conf.
--
--   neap_owner     nobody logs in as it. Owns schema neap; its functions write history.
--   neap_host      the `control` of an environment: lease, announcements, the audit's copy.
--                  It cannot write history, and has no right on the application's objects.
--   neap_migrator  the `url` of an environment: runs the scripts. It owns the application's
--                  objects and has no right on any table of schema neap.
--   neap_reader    the `url` of an environment that only looks: status, verify, history.
--   neap_backup    the `backup` of an environment: reads everything, whatever row security
--                  says, and changes nothing.

\set ON_ERROR_STOP on
\if :{?schema}
\else
\set schema public
\endif

begin;
set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '5s';
set local client_min_messages = 'warning';

-- Roles

select pg_catalog.format('create role %I', wanted.name)
  from (values ('neap_owner'), ('neap_host'), ('neap_migrator'), ('neap_reader'),
    ('neap_backup')) as wanted (name)
  where pg_catalog.to_regrole(wanted.name) is null \gexec

alter role neap_owner nologin nosuperuser nobypassrls nocreaterole nocreatedb noreplication;
alter role neap_host login nosuperuser nobypassrls nocreaterole nocreatedb noreplication;
alter role neap_migrator login nosuperuser nobypassrls nocreaterole nocreatedb noreplication;
alter role neap_reader login nosuperuser nobypassrls nocreaterole nocreatedb noreplication;
alter role neap_backup login nosuperuser bypassrls nocreaterole nocreatedb noreplication;

-- No way from a role that scripts or people use to the one that owns history.
select pg_catalog.format('revoke %s from %s', m.roleid::regrole, m.member::regrole)
  from pg_catalog.pg_auth_members m
  where m.roleid in ('neap_owner'::regrole, 'neap_host'::regrole)
    and m.member in ('neap_host'::regrole, 'neap_migrator'::regrole, 'neap_reader'::regrole,
      'neap_backup'::regrole)
\gexec

-- Backstops: neap sets narrower limits of its own in each session.
alter role neap_migrator set lock_timeout = '5s';
alter role neap_migrator set statement_timeout = '15min';
alter role neap_migrator set idle_in_transaction_session_timeout = '60s';

-- A reader's sessions begin read-only. Grants are what holds: this one can be switched off.
alter role neap_reader set default_transaction_read_only = on;
alter role neap_backup set default_transaction_read_only = on;

-- neap_host names who blocks a migration, and ends a run's sessions for
-- `neap lease break --terminate`. neap_reader reads what a verify looks at, neap_backup
-- what a backup holds.
grant pg_read_all_stats, pg_signal_backend to neap_host;
grant pg_read_all_data to neap_reader, neap_backup;

-- Schema neap: the statements that neap runs where it may make the schema itself.

@schema@
-- Its owner. History, events and attempts are append-only: nobody is granted UPDATE or
-- DELETE on them, and their triggers refuse both to the owner too.

alter schema neap owner to neap_owner;

select pg_catalog.format('alter %s %s owner to neap_owner',
    case c.relkind when 'S' then 'sequence' else 'table' end, c.oid::regclass)
  from pg_catalog.pg_class c
  where c.relnamespace = 'neap'::regnamespace and c.relkind in ('r', 'S')
    and c.relowner <> 'neap_owner'::regrole
    and not exists (select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
        and d.deptype in ('a', 'i'))
\gexec

select pg_catalog.format('alter function %s owner to neap_owner', p.oid::regprocedure)
  from pg_catalog.pg_proc p
  where p.pronamespace = 'neap'::regnamespace and p.proowner <> 'neap_owner'::regrole
\gexec

-- Rights on it, from nothing.

revoke all on schema neap from public, neap_host, neap_migrator, neap_reader, neap_backup;
revoke all on all tables in schema neap
  from public, neap_host, neap_migrator, neap_reader, neap_backup;
revoke all on all sequences in schema neap
  from public, neap_host, neap_migrator, neap_reader, neap_backup;
revoke all on all functions in schema neap
  from public, neap_host, neap_migrator, neap_reader, neap_backup;

grant usage on schema neap to neap_host, neap_migrator, neap_reader;
grant select on all tables in schema neap to neap_host, neap_reader;
grant insert on neap.attempt, neap.event, neap.step to neap_host;
grant insert, update on neap.lease to neap_host;
grant usage on sequence neap.lease_token to neap_host;
grant update (environment) on neap.meta to neap_host;
grant execute on function neap.claim_lease, neap.break_lease, neap.fence to neap_host;
-- What the migrator's own transaction must do. The two that write ask for a secret that
-- neap_host announced a moment before; a script does not have it.
grant execute on function neap.enter, neap.tidy, neap.record, neap.record_events
  to neap_migrator;

-- The application's side. Objects that are there already stay their owner's, whose role
-- alone may alter them. Hand them over: reassign owned by OLD_OWNER to neap_migrator;

select pg_catalog.format(
  'grant connect on database %I to neap_host, neap_migrator, neap_reader, neap_backup',
  pg_catalog.current_database()) \gexec
-- For migrations that make schemas of their own or trusted extensions.
select pg_catalog.format('grant create on database %I to neap_migrator',
  pg_catalog.current_database()) \gexec
grant usage, create on schema :"schema" to neap_migrator;

commit;
