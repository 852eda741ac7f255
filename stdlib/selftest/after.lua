-- SPDX-License-Identifier: MIT
--
-- The migration after a hostile one, in the same run and session: nothing of that
-- session may be left for it.
local left = {
  ["a setting"] = [[
    select string_agg(s.name || ' = ' || coalesce(s.setting, 'null'), ', ')
    from pg_catalog.pg_settings s full join public.setting b using (name)
    where s.setting is distinct from b.setting
    and s.name not in ('statement_timeout', 'application_name',
      'idle_in_transaction_session_timeout')]],
  ["a role"] = [[
    select current_user || ' as ' || session_user where current_user <> session_user
    or session_user <> (select usename from pg_catalog.pg_stat_activity
      where pid = pg_catalog.pg_backend_pid())]],
  ["a prepared statement"] = [[
    select string_agg(name, ', ') from pg_catalog.pg_prepared_statements
    where from_sql]],
  ["a cursor"] = "select string_agg(name, ', ') from pg_catalog.pg_cursors where is_holdable",
  ["a LISTEN"] = "select string_agg(c, ', ') from pg_catalog.pg_listening_channels() c",
  ["an advisory lock"] = [[
    select string_agg(objid::text, ', ') from pg_catalog.pg_locks
    where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()]],
  ["a temporary table"] = [[
    select string_agg(relname, ', ') from pg_catalog.pg_class
    where relnamespace = pg_catalog.pg_my_temp_schema()]],
}

return migration {
  summary = "What comes after",
  up = function(db)
    for what, sql in pairs(left) do
      local found = db:query(sql)[1]
      local text = found and select(2, next(found))
      assert(not text, ("%s was left behind: %s"):format(what, text))
    end
    db:exec "create table public.after ()"
  end,
  verify = function(_, expect)
    expect.table "public.after"
  end,
  down = irreversible "the self-test drops the database",
}
