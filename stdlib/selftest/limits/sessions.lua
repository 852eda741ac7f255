-- SPDX-License-Identifier: MIT
--
-- What a script leaves in its session: it succeeds, and the migration after it, in
-- the same run, finds a session as if it had not been there.
local left = {
  { "search-path", "search_path", "set search_path = pg_temp, public" },
  { "timeouts", "timeouts switched off", "set lock_timeout = 0", "set statement_timeout = 0",
    "set idle_in_transaction_session_timeout = 0" },
  { "role", "SET ROLE", "create role limits_role_%s",
    "grant all on schema public to limits_role_%s",
    "set role limits_role_%s" },
  { "authorization", "SET SESSION AUTHORIZATION", "create role limits_auth_%s",
    "set session authorization limits_auth_%s" },
  { "replication-role", "session_replication_role", "set session_replication_role = replica" },
  { "row-security", "row_security", "set row_security = off" },
  { "read-only", "default_transaction_read_only", "set default_transaction_read_only = on" },
  { "isolation", "default_transaction_isolation",
    "set default_transaction_isolation = 'serializable'" },
  { "synchronous", "synchronous_commit", "set synchronous_commit = off" },
  { "encoding", "client_encoding", "set client_encoding = 'LATIN1'" },
  { "names", "application_name", "set application_name = 'psql'" },
  { "strings", "standard_conforming_strings", "set standard_conforming_strings = off" },
  { "dates", "DateStyle, TimeZone, IntervalStyle", "set datestyle = 'German'",
    "set timezone = 'Asia/Tokyo'", "set intervalstyle = 'iso_8601'" },
  { "bytea", "bytea_output", "set bytea_output = 'escape'" },
  { "floats", "extra_float_digits", "set extra_float_digits = -15" },
  { "messages", "client_min_messages", "set client_min_messages = 'error'" },
  { "custom", "a setting of its own", "set limits.x = 'y'" },
  { "set-config", "set_config",
    "select set_config('search_path', 'nowhere', false), set_config('work_mem', '64', false)" },
  { "set-local", "SET LOCAL", "set local search_path = nowhere", "set local lock_timeout = 0" },
  { "reset-all", "RESET ALL", "reset all" },
  { "listen", "LISTEN", "listen limits" },
  { "temp", "a temporary table over a real one", "create temp table witness (id int)",
    "create temp table pg_class (id int)" },
  { "temp-function", "a temporary function over a real one",
    "create function pg_temp.now() returns int language sql as 'select 1'" },
  { "prepared", "a prepared statement", "prepare limits as select 1" },
  { "cursor", "a cursor WITH HOLD", "declare limits cursor with hold for select 1" },
  { "advisory", "an advisory lock", "select pg_advisory_lock(1)" },
  { "advisory-many", "a thousand of them",
    "select pg_advisory_lock(i) from generate_series(1, 1000) i" },
  { "advisory-unlock", "every advisory lock released", "select pg_advisory_unlock_all()" },
  { "deallocate", "DEALLOCATE ALL", "deallocate all" },
  { "close", "CLOSE ALL", "close all" },
  { "planner", "the planner's settings", "set enable_seqscan = off", "set jit = off" },
  { "check-interval", "client_connection_check_interval",
    "set client_connection_check_interval = 0" },
  { "keepalives", "keepalives", "set tcp_keepalives_idle = 7200" },
  { "seed", "a random seed and lastval", "select setseed(0.5)" },
  { "function-path", "an operator in public that shadows a real one",
    "create function public.no(text, text) returns bool language sql as 'select false'",
    "create operator public.= (leftarg = text, rightarg = text, function = public.no)",
    "set search_path = public, pg_catalog" },
  { "large-object", "an open large object", "select lo_open(lo_create(0), 131072)" },
}

local cases = {
  { id = "session.role-database", attempt = "settings of the database changed for later sessions",
    up = "db:exec(('alter database %s set search_path = nowhere'):format(db:ident("
      .. "db:value 'select current_database()')))", expect = "0" },
  { id = "session.guard", attempt = "an RLS policy that hides what verify looks at",
    up = "db:exec 'alter table left_over enable row level security' "
      .. "db:exec 'alter table left_over force row level security'", expect = "0" },
}
for _, case in ipairs(left) do
  local lines = {}
  for i = 3, #case do
    lines[#lines + 1] = ("db:exec %q"):format(case[i]:gsub("%%s", case[1]))
  end
  cases[#cases + 1] = { id = "session." .. case[1], attempt = "left behind: " .. case[2],
    up = table.concat(lines, "\n    "), expect = "0" }
end
return cases
