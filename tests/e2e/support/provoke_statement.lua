-- SPDX-License-Identifier: MIT
--
-- errors_spec: statements that neap or the server refuses.
local file = "migrations/0001_t.lua"
local at = file .. ":4"

-- `body` is line 4.
local function up(body, opts)
  return function(p)
    p:write(file, ([=[
return migration { summary = "t",
  up = function(db)
    db:exec "create table t (id bigint primary key)"
    %s end,
  verify = unverified "a test", down = irreversible "a test" }]=]):format(body))
    return p:neap(opts or "up --json")
  end
end

local function sql(statement)
  return function(p)
    p:write("migrations/0001_t.sql", ("-- neap: up\ncreate table t (id int);\n%s;\n"
      .. "-- neap: unverified a test\n-- neap: irreversible a test\n"):format(statement))
    return p:neap "up --json"
  end
end

local function step(body)
  return function(p)
    p:query "create table base (id int); insert into base values (1), (1)"
    pcall(p.query, p, "create unique index concurrently base_id on base (id)")
    p:write(file, ([=[
return migration { summary = "t", transaction = false, steps = { { name = "one",
  up = function(db)

    %s end,
  verify = unverified "a test", down = function() end } } }]=]):format(body))
    return p:neap "up --json"
  end
end

return {
  ["db.query"] = {
    { run = up 'db:exec "insert into nowhere values (1)"', at = at, position = 13,
      says = 'relation "nowhere" does not exist', hint = "neap up" },
    { run = up "db:exec [[select\n  id, ä, x\nfrom t]]", at = at, position = 14,
      says = 'column "ä" does not exist', hint = "neap up" },
    { run = sql "select id from t where x = 1", at = "migrations/0001_t.sql:3", position = 24,
      says = 'column "x" does not exist', hint = "neap up" },
    { run = up 'db:exec("insert into t values ($1), ($1)", 7)', at = at,
      says = { "duplicate key", "Key (id)=(7) already exists" }, hint = "neap up" },
  },
  ["db.argument"] = {
    { run = up 'db:exec("select $1::int", {})', at = at, says = "parameter $1 is a table",
      hint = "neap up" },
    { run = up 'db:exec "create table u (); create table v ()"', at = at,
      says = "one statement", hint = "neap up" },
    { run = up 'db:exec "copy t from stdin"', at = at, says = "db:copy_in", hint = "neap up" },
    { run = up 'db:value("select $1::int + $2::int", 1)', at = at, says = "parameter",
      hint = "neap up" },
  },
  ["db.transaction_control"] = {
    { run = up 'db:exec "commit"', at = at, says = "COMMIT", hint = "db:savepoint" },
    { run = sql "rollback", at = "migrations/0001_t.sql:3", says = "ROLLBACK", hint = "savepoint" },
  },
  ["db.no_transaction"] = {
    { run = up 'db:exec "vacuum t"', at = at, says = "cannot run in a transaction",
      hint = "transaction = false" },
    { run = sql "create index concurrently i on t (id)", at = "migrations/0001_t.sql:3",
      says = "cannot run in a transaction", hint = "-- neap: transaction false" },
  },
  -- The guard that runs before COMMIT, given the id of another transaction: a way for a
  -- script to leave the host's transaction is not known, or it would be closed.
  ["db.escaped"] = {
    { run = up [[db:query "select neap.require_xid('3')"]], at = at,
      says = { "the transaction is not the one the host began", "the host began 3" },
      hint = "neap help migrations" },
  },
  ["db.rows"] = {
    { run = up 'db:row "select generate_series(1, 2)"', at = at, says = "at most one row",
      hint = "WHERE" },
    { run = up('db:query "select repeat(\'x\', 1000) from generate_series(1, 100000)"',
      "up --memory 16MB --json"), at = at, says = "larger than db:query may hold",
      hint = "db:rows" },
  },
  ["db.index_invalid"] = {
    { run = step 'db:exec "create unique index concurrently base_id on base (id)"', at = at,
      says = "an invalid index public.base_id is in the way", hint = "DROP INDEX CONCURRENTLY" },
  },
  ["db.serialization"] = {
    { run = up([[db:exec "do $$ begin raise exception 'concurrent update' using errcode =]]
      .. [[ '40001'; end $$"]], "up --lock-budget 1s --json"), at = at,
      says = { "concurrent update", "attempts" }, hint = "again" },
  },
}
