-- SPDX-License-Identifier: MIT
--
-- Attempts on neap's own schema. The scratch server's role is a superuser and owns
-- it, so little is prevented here: `expect` says what is, `audit` what the chain
-- tells afterwards. With roles as `neap help security` has them, the server refuses
-- all of it.
local list = {
  -- Prevented: nothing of the script stays.
  { "update-history", "an UPDATE of history", "db:exec \"update neap.history set actor = 'x'\"",
    "1 db.query" },
  { "delete-history", "a DELETE from history", "db:exec 'delete from neap.history'", "1 db.query" },
  { "truncate-history", "a TRUNCATE of history", "db:exec 'truncate neap.history'", "1 db.query" },
  { "update-event", "an UPDATE of events", "db:exec \"update neap.event set hash = 'x'\"",
    "1 db.query" },
  { "delete-event", "a DELETE from events", "db:exec 'delete from neap.event'", "1 db.query" },
  { "drop-schema", "DROP SCHEMA neap", "db:exec 'drop schema neap cascade'", "1 db.query" },
  { "drop-history", "DROP TABLE neap.history", "db:exec 'drop table neap.history cascade'",
    "1 db.query" },
  { "drop-lease", "DROP TABLE neap.lease", "db:exec 'drop table neap.lease cascade'",
    "1 db.query" },
  { "rename-history", "neap.history renamed", "db:exec 'alter table neap.history rename to h'",
    "1 db.query" },
  { "column-history", "a column of history dropped",
    "db:exec 'alter table neap.history drop column attempt'", "1 db.query" },
  { "lease-token", "the lease's token changed", "db:exec 'update neap.lease set token = 99'",
    "6 lease.lost" },
  { "lease-delete", "the lease's row deleted", "db:exec 'delete from neap.lease'", "6 lease.lost" },
  { "lease-broken", "the lease broken by its own function",
    "db:exec 'select neap.break_lease((select token from neap.lease))'",
    { "6 lease.lost", "1 db.query" } },
  { "lease-claimed", "the lease claimed by its own function",
    "db:exec 'update neap.lease set run_id = 1, token = token + 1'", "6 lease.lost" },
  { "fence-function", "the fence replaced by a function that always fails",
    "db:exec [[create or replace function neap.fence(bigint) returns bool language plpgsql as "
    .. "$$ begin raise exception 'no'; end $$]]", { "1 db.query", "2 history.version" } },
  { "rule-nothing", "a rule that swallows the history row",
    "db:exec 'create rule r as on insert to neap.history do instead nothing'",
    "5 history.forged" },
  { "trigger-nothing", "a trigger that swallows the history row",
    "db:exec [[create function public.f() returns trigger language plpgsql as "
    .. "$$ begin return null; end $$]] db:exec 'create trigger a before insert on neap.history "
    .. "for each row execute function public.f()'", "5 history.forged" },
  { "trigger-changes", "a trigger that changes the history row",
    "db:exec [[create function public.f() returns trigger language plpgsql as "
    .. "$$ begin new.id := '0099'; return new; end $$]] db:exec 'create trigger a before insert "
    .. "on neap.history for each row execute function public.f()'",
    "5 history.forged" },
  { "meta-version", "the schema's version raised: the next run refuses",
    "db:exec 'update neap.meta set version = 99'", "2 history.version", "any", 2,
    { "up", "up" } },
  -- Not prevented, found by `neap audit verify` (1).
  { "replica-delete", "history deleted with triggers off",
    "db:exec 'set session_replication_role = replica' db:exec 'delete from neap.history'",
    "0", "any", 1 },
  { "disable-trigger", "history deleted with its trigger disabled",
    "db:exec 'alter table neap.history disable trigger all' db:exec 'delete from neap.history'",
    "0", "any", 1 },
  { "replica-event", "events deleted with triggers off",
    "db:exec 'set session_replication_role = replica' "
    .. "db:exec \"delete from neap.event where position < 3\"", "0", "any", 1 },
  { "replica-event-hash", "an event changed with triggers off",
    "db:exec 'set session_replication_role = replica' "
    .. "db:exec \"update neap.event set hash = repeat('0', 64) where position = 2\"",
    "0", "any", 1 },
  { "forged-row", "a history row for a migration that never ran",
    "db:exec [[insert into neap.history (attempt, id, name, action, run_id, xid, "
    .. "system_identifier) values (gen_random_uuid(), '0003', 'after', 'apply', 'x', '1', '1')]]",
    "0", "any", 1 },
}
local cases = {}
for _, case in ipairs(list) do
  cases[#cases + 1] = { id = "schema." .. case[1], attempt = case[2], up = case[3],
    expect = case[4], holds = case[5], audit = case[6], commands = case[7],
    early = case[7] and true }
end
return cases
