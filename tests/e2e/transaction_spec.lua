-- SPDX-License-Identifier: MIT
--
-- What a script may try with the transaction it is given, and what it may not
-- leave behind: promise 1 against the scripts themselves.
local e2e = require "harness"

local function migration(body, verify)
  return ([=[
return migration {
  summary = "test",
  up = function(db)
    db:exec "create table t (id bigint primary key)"
    %s
  end,
  verify = %s,
  down = function(db) db:exec "drop table t" end,
}
]=]):format(body, verify or 'function(_, expect) expect.table "public.t" end')
end

local function has_table(p, name)
  return p:value(("select to_regclass('public.%s') is not null"):format(name or "t")) == "t"
end

-- The migration must fail with `code`, name its fifth line, and leave nothing.
local function refuses(body, code, status)
  local p = e2e.project()
  p:write("migrations/0001_t.lua", migration(body))
  local r = p:neap { "up" }
  assert.equal(status or 1, r.status, r.out .. r.err)
  assert.truthy(r.err:find("code " .. code, 1, true), r.err)
  assert.truthy(r.err:find("migrations/0001_t.lua:5", 1, true), r.err)
  assert.is_false(has_table(p))
  assert.equal("0", p:value "select count(*) from neap.history")
  p:expect { "audit", "verify" }
  return r, p
end

describe("transaction control", function()
  after_each(e2e.clean)

  for _, sql in ipairs {
    "commit", "COMMIT AND CHAIN", "/* a */ rollback", "-- a\nbegin", "start transaction", "end",
    "abort", "savepoint a", "release savepoint a", "rollback to savepoint a",
    "prepare transaction 'a'", "set transaction isolation level serializable",
    "set session characteristics as transaction read only", "discard all",
    "set transaction_read_only = on", ";commit", "create table a (); commit",
    "commit; create table b ()", "select 1; /* ; */ rollback; begin",
  } do
    it("is refused: " .. sql:gsub("\n", " "), function()
      refuses(("db:exec(%q)"):format(sql):gsub("\\\n", "\\n"), "db.transaction_control")
    end)
  end

  it("is refused also where the script catches it", function()
    refuses('pcall(db.exec, db, "commit")', "db.transaction_control")
  end)

  it("inside DO and CALL ends nothing", function()
    refuses('db:exec "do $$ begin commit; end $$"', "db.query")
    refuses('db:exec "create procedure p() language plpgsql as $$ begin commit; end $$"'
      .. ' db:exec "call p()"', "db.query")
  end)

  it("in a word that only looks like it is not refused", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration [[
    db:exec "comment on table t is 'commit; rollback'"
    db:exec 'alter table t add "commit" int /* begin */'
    db:exec "do $$ begin perform 1; end $$"]])
    p:expect { "up" }
    assert.equal("commit; rollback", p:value "select obj_description('t'::regclass)")
  end)

  it("in a SQL file is refused with its line", function()
    local p = e2e.project()
    p:write_sql("0001_t.sql", "create table t (id int);\ncommit", "select true", "drop table t")
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("db.transaction_control", 1, true), r.err)
    assert.truthy(r.err:find("migrations/0001_t.sql:6", 1, true), r.err)
    assert.is_false(has_table(p))
  end)
end)

describe("a statement", function()
  after_each(e2e.clean)

  it("with NUL is refused and not cut", function()
    local _, p = refuses('db:exec "create table u (id int)\\0 with (fillfactor = 50)"',
      "script.argument")
    assert.is_false(has_table(p, "u"))
    refuses('db:exec("select $1::text", "a\\0b")', "db.argument")
    refuses('db:ident "a\\0b"', "script.argument")
  end)

  it("of invalid UTF-8 is refused", function()
    refuses('db:exec "select \'\\xC0\\x27; drop table t"', "db.argument")
    refuses('db:exec("select $1::text", "\\xC3")', "db.argument")
  end)

  it("that is several is refused", function()
    refuses('db:exec "create table u (); create table v ()"', "db.argument")
  end)

  it("of COPY to or from the client says what to use", function()
    local r = refuses('db:exec "copy t from stdin"', "db.argument")
    assert.truthy(r.err:find("copy_in", 1, true), r.err)
    r = refuses('db:query "copy t to stdout"', "db.argument")
    assert.truthy(r.err:find("copy_out", 1, true), r.err)
  end)

  it("that failed and was caught fails the migration with the first error", function()
    local r = refuses('pcall(db.query, db, "select 1/0") pcall(db.exec, db, "select nothing")',
      "db.query")
    assert.truthy(r.err:find("division by zero", 1, true), r.err)
  end)

  it("that cannot run in a transaction is refused before it is sent", function()
    local r = refuses('db:exec "vacuum"', "db.no_transaction")
    assert.truthy(r.err:find("transaction = false", 1, true), r.err)
  end)
end)

describe("a deferred constraint", function()
  after_each(e2e.clean)

  local tables = [[db:exec "create table r (t bigint references t deferrable initially deferred)"
    db:exec "insert into r values (1)"]]

  it("that does not hold fails inside up, with its SQLSTATE", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration(tables))
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("23503", 1, true), r.err)
    assert.truthy(r.err:find("r_t_fkey", 1, true), r.err)
    assert.truthy(r.err:find("migrations/0001_t.lua", 1, true), r.err)
    assert.is_false(has_table(p))
    assert.equal("0", p:value "select count(*) from neap.history")
  end)

  it("that holds in the end is let be", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration(tables .. ' db:exec "insert into t values (1)"'))
    p:expect { "up" }
    assert.equal("1", p:value "select count(*) from r")
  end)
end)

describe("what a script sets", function()
  after_each(e2e.clean)

  local settings = [[
    db:exec "create role %s"
    db:exec "grant select on t to %s"
    db:exec "set search_path = pg_catalog"
    db:exec "set role %s"
    db:exec "reset role"
    db:exec "set session_replication_role = replica"
    db:exec "set lock_timeout = 0"
    db:exec "set statement_timeout = '7min'"
    db:exec "set default_transaction_read_only = on"
    db:exec "listen a"
    db:exec "prepare a as select 1"
    db:exec "select pg_advisory_lock(7)"
    db:exec "set role %s"]]

  it("does not reach the records or the next migration", function()
    local p = e2e.project()
    local role = "role_" .. p.database
    p:write("migrations/0001_t.lua", migration(settings:gsub("%%s", role),
      "function(db, expect) expect.equal(db:value 'select count(*) from public.t', 0) end"))
    p:write("migrations/0002_u.lua", [==[
local function all(db)
  db:exec [=[create table seen as select current_user::text as who,
    current_setting('search_path') as path, current_setting('lock_timeout') as lock,
    current_setting('session_replication_role') as mode,
    current_setting('default_transaction_read_only') as read_only,
    (select count(*) from pg_listening_channels()) as channels,
    (select count(*) from pg_prepared_statements) as prepared,
    (select count(*) from pg_locks where locktype = 'advisory' and objid = 7) as locks]=]
end
return migration { summary = "u", up = all, verify = unverified "it only looks",
  down = function(db) db:exec "drop table seen" end }]==])
    local r = p:neap { "up" }
    assert.equal(0, r.status, r.out .. r.err)
    p:query(("drop owned by %s; drop role %s"):format(role, role))
    assert.equal('postgres|"$user", public|500ms|origin|off|0|0|0',
      p:value "select * from public.seen")
    assert.equal("2", p:value "select count(*) from neap.history")
  end)
end)

describe("a flood of notices", function()
  after_each(e2e.clean)

  it("is capped, and says how many were left out", function()
    local p = e2e.project()
    p:write("migrations/0001_t.lua", migration [==[db:exec [[do $$ begin
      for i in 1..200000 loop raise notice 'flood %', i; end loop; end $$]]]==])
    local r = p:expect { "up" }
    local _, lines = r.err:gsub("flood %d", "")
    assert.truthy(lines <= 1000, lines)
    assert.truthy(#r.err < 500000, #r.err)
    assert.truthy(r.err:find("more notices suppressed", 1, true), r.err:sub(-500))
  end)
end)
