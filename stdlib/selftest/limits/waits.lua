-- SPDX-License-Identifier: MIT
--
-- Waits: the script blocks on the server, and the deadline ends both sides.
local list = {
  { "sleep", "pg_sleep beyond the deadline", "db:query 'select pg_sleep(60)'" },
  { "sleep-exec", "the same by exec, not looked at", "db:exec 'select pg_sleep(60)'" },
  { "sleep-pcall", "the same in pcall, for ever", "while true do pcall(db.query, db, "
    .. "'select pg_sleep(60)') end" },
  { "sleep-try", "the same in neap.try, then a write", "neap.try(db.query, db, "
    .. "'select pg_sleep(60)') neap.try(db.exec, db, 'drop table witness')" },
  { "sleep-coroutine", "the same in a coroutine", "local c = coroutine.wrap(function() "
    .. "db:query 'select pg_sleep(60)' end) pcall(c) db:exec 'select 1'" },
  { "sleep-close", "the same in __close", "local _ <close> = setmetatable({}, { __close = "
    .. "function() db:query 'select pg_sleep(60)' end })" },
  { "sleep-sort", "the same in a comparison", "table.sort({ 2, 1 }, function() "
    .. "pcall(db.query, db, 'select pg_sleep(60)') return true end)" },
  { "sleep-savepoint", "the same in a savepoint", "db:savepoint(function() "
    .. "db:query 'select pg_sleep(60)' end) db:exec 'select 1'" },
  { "sleep-rows", "the same between rows",
    "for _ in db:rows 'select pg_sleep(1) from generate_series(1, 60)' do end" },
  { "sleep-copy", "the same in a COPY", "db:copy_out('copy (select pg_sleep(1) from "
    .. "generate_series(1, 60)) to stdout', function() end)" },
  { "timeouts-off", "with every timeout of the server switched off",
    "db:exec 'set statement_timeout = 0' db:exec 'set lock_timeout = 0' "
    .. "db:exec 'set idle_in_transaction_session_timeout = 0' db:query 'select pg_sleep(60)'" },
  { "do-catches", "a DO block that catches the cancel and sleeps again",
    "db:exec [[do $$ begin loop begin perform pg_sleep(60); exception when query_canceled then "
    .. "null; end; end loop; end $$]]" },
  { "plpgsql", "a loop in PL/pgSQL", "db:exec 'do $$ begin loop null; end loop; end $$'" },
  { "recursive", "a query that never ends",
    "db:exec 'with recursive r as (select 1 union all select 1 from r) select count(*) from r'" },
  { "cross-join", "a cross join of a billion rows", "db:value 'select count(*) from "
    .. "generate_series(1, 100000) a, generate_series(1, 100000) b'" },
  { "idle", "a transaction kept open while Lua computes",
    "db:query 'select 1' local n = 0 while true do n = n + 1 end" },
}

local cases = {
  { id = "wait.verify", attempt = "pg_sleep in verify", timeout = "500ms",
    verify = "db:query 'select pg_sleep(60)'", expect = "124 run.deadline" },
  { id = "wait.down", attempt = "pg_sleep in down", timeout = "500ms",
    down = "db:query 'select pg_sleep(60)'", commands = { "up", "down --only 0002" },
    expect = "124 run.deadline", holds = "applied" },
  { id = "wait.deferred-trigger", attempt = "a deferred trigger that sleeps at COMMIT",
    timeout = "500ms", expect = "124 run.deadline",
    up = "db:exec [[create function public.f() returns trigger language plpgsql as "
      .. "$$ begin perform pg_sleep(60); return null; end $$]] "
      .. "db:exec 'create constraint trigger t after insert on left_over deferrable initially "
      .. "deferred for each row execute function public.f()' "
      .. "db:exec 'insert into left_over values (1)'" },
  { id = "wait.step", attempt = "pg_sleep in a step without a transaction", holds = "any",
    expect = "9 step.partial", file = [[
return migration {
  summary = "A step that sleeps",
  timeout = "500ms",
  transaction = false,
  steps = {
    { name = "sleep", up = function(db) neap.log "armed" db:query "select pg_sleep(60)" end,
      verify = unverified "no", down = irreversible "no" },
  },
}
]] },
  { id = "wait.lock-self", attempt = "a lock that its own second connection waits for",
    holds = "any", expect = { "9 step.partial", "7 lock.timeout" }, file = [[
return migration {
  summary = "A step that locks itself out",
  timeout = "1s",
  transaction = false,
  steps = {
    { name = "lock",
      up = function(db)
        neap.log "armed"
        db:exec "select pg_advisory_lock(7)"
        db:connect():exec "select pg_advisory_lock(7)"
      end,
      verify = unverified "no", down = irreversible "no" },
  },
}
]] },
  { id = "wait.lease-locked", attempt = "the lease's own table locked while it must be renewed",
    timeout = "1s", up = "db:exec 'lock table neap.lease in access exclusive mode' "
      .. "db:query 'select pg_sleep(60)'", expect = { "124 run.deadline", "6 lease.lost" } },
  { id = "wait.events-locked", attempt = "the tables of neap locked",
    up = "db:exec 'lock table neap.history, neap.event, neap.step, neap.lease in access exclusive "
      .. "mode'", expect = "0" },
}
for _, case in ipairs(list) do
  cases[#cases + 1] = { id = "wait." .. case[1], attempt = case[2], up = case[3],
    timeout = "400ms", expect = "124 run.deadline" }
end
return cases
