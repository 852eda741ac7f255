-- SPDX-License-Identifier: MIT
--
-- up, down and redo: what is chosen, in which order, what each leaves behind,
-- and what is said of it. psql looks behind neap's back.
local e2e = require "harness"

local function fails_on(id, name)
  return ("migrations/%s_%s.lua"):format(id, name), ([=[
return migration {
  summary = "Fail after work",
  up = function(db)
    db:exec "create table left_behind_%s (id int)"
    db:exec "insert into nowhere values (1)"
  end,
  verify = function() end,
  down = function() end,
}
]=]):format(name)
end

local function ids(list)
  local out = {}
  for i, entry in ipairs(list) do
    out[i] = type(entry) == "table" and entry.id or entry
  end
  return table.concat(out, " ")
end

local function has(text, part)
  assert.truthy(text:find(part, 1, true), text)
end

describe("up and down", function()
  local p

  before_each(function()
    p = e2e.project()
  end)
  after_each(e2e.clean)

  local function tables()
    return p:value [[
      select coalesce(string_agg(relname, ' ' order by relname), '') from pg_class
      where relkind = 'r' and relnamespace = 'public'::regnamespace]]
  end

  local function applied()
    local list = {}
    for _, entry in ipairs(p:json("status").migrations) do
      if entry.state == "applied" then
        list[#list + 1] = entry.id
      end
    end
    return table.concat(list, " ")
  end

  local function write_four()
    for i, name in ipairs { "a", "b", "c", "d" } do
      p:write_table(("%04d"):format(i), name)
    end
  end

  describe("choose", function()
    before_each(write_four)

    it("all that is pending, in order", function()
      local document = p:json "up"
      assert.equal("0001 0002 0003 0004", ids(document.applied))
      assert.equal("a b c d", tables())
      assert.equal("1 2 3 4", p:value [[
        select string_agg(id::int::text, ' ' order by seq) from neap.history]])
    end)

    it("the next N", function()
      assert.equal("0001 0002", ids(p:json("up 2").applied))
      assert.equal("0003", ids(p:json("up 1").applied))
      assert.equal("a b c", tables())
      assert.equal("0004", ids(p:json("up 99").applied))
    end)

    it("up to an id, written in any width", function()
      assert.equal("0001 0002 0003", ids(p:json("up --to 3").applied))
      assert.equal("nothing", p:json("up --to 0002").status)
    end)

    it("one alone", function()
      assert.equal("0001", ids(p:json("up --only 0001").applied))
      assert.equal("nothing", p:json("up --only 1").status)
      assert.equal("0003", ids(p:json("up --only 3").applied))
      assert.equal("a c", tables())
    end)

    it("the last, the last N, down to an id, down to nothing", function()
      p:expect "up"
      assert.equal("0004", ids(p:json("down").undone))
      assert.equal("0003 0002", ids(p:json("down 2").undone))
      p:expect "up"
      assert.equal("0004 0003", ids(p:json("down --to 2").undone))
      assert.equal("0001 0002", applied())
      assert.equal("0001", ids(p:json("down --only 1").undone))
      assert.equal("b", tables())
      p:expect "up --only 1"
      assert.equal("0002 0001", ids(p:json("down --to 0").undone))
      assert.equal("", tables())
      assert.equal("nothing", p:json("down").status)
    end)

    it("refuses what is not a choice", function()
      for _, command in ipairs { "up 0", "up -1", "up x", "up 1 2", "up 2 --to 3",
        "up --to 3 --only 3", "down 0", "down 1.5", "up --to", "up --to abc" } do
        assert.equal(2, p:neap(command).status, command)
      end
      local r = p:expect("up --to 17", 2)
      assert.truthy(r.err:find("no migration 17", 1, true), r.err)
      assert.truthy(r.err:find("neap status", 1, true), r.err)
      p:expect("up --to 0", 2)
      assert.equal("f", p:value "select to_regclass('neap.history') is not null")
    end)
  end)

  it("says what it did, and that there is nothing to do", function()
    p:write_table("0001", "a")
    local r = p:expect "up"
    assert.truthy(r.out:match "^applied 0001  a  %d+ ms, %d+ statements\n$", r.out)
    r = p:expect "up"
    assert.equal("nothing to do: 1 applied, 0 pending\n", r.out)
    r = p:expect "down"
    assert.truthy(r.out:match "^undone  0001  a  %d+ ms, 1 statement\n$", r.out)
    assert.equal("nothing to do: 0 applied, 1 pending\n", p:expect("down").out)
  end)

  it("tells every statement with --verbose, and none without", function()
    p:write_table("0001", "a")
    -- Nothing but what every change by a superuser is told, and where the report is.
    assert.equal("", (p:expect("up").err:gsub("^warning: postgres is a superuser[^\n]*\n", "")
      :gsub("report: [^\n]*/report%.txt\n$", "")))
    p:expect "down"
    local r = p:expect "up --verbose"
    assert.truthy(r.err:match "create table a %(id bigint primary key%)  %(%d+%.%d ms%)", r.err)
    r = p:expect "down --verbose"
    assert.truthy(r.err:find("drop table a", 1, true), r.err)
  end)

  it("is nothing to do without any migration, and with an empty directory", function()
    assert.equal("nothing", p:json("up").status)
    assert.equal("nothing", p:json("redo").status)
    assert.equal(0, #p:json("status").migrations)
    assert.equal("f", p:value "select to_regclass('neap.history') is not null")
  end)

  it("keeps the document that help json describes", function()
    p:write_table("0001", "a")
    local document, r = p:json { "up", "--ticket", "T-1" }
    assert.equal(1, document.schema_version)
    assert.equal("up", document.command)
    assert.equal("ok", document.status)
    assert.equal(0, document.exit_status)
    assert.equal(p.database, document.database)
    assert.is_false(document.dry_run)
    assert.same({ { id = "0001", name = "a", action = "apply" } }, document.plan)
    assert.same({}, document.remaining)
    assert.is_nil(document.failed)
    local entry = document.applied[1]
    assert.equal(1, entry.attempts)
    assert.equal("integer", math.type(entry.duration_ms))
    assert.is_true(entry.statements >= 1)
    assert.equal(document.run_id .. "|T-1", p:value [[
      select run_id || '|' || ticket from neap.history]])
    assert.is_nil(r.out:find "\n.*\n}\n.+")
  end)

  describe("a failing migration", function()
    before_each(function()
      p:write_table("0001", "a")
      p:write(fails_on("0002", "bad"))
      p:write_table("0003", "c")
    end)

    it("leaves nothing, stops, and names the line and the next command", function()
      local r = p:expect("up", 1)
      assert.equal("a", tables())
      assert.equal("1", p:value "select count(*) from neap.history")
      assert.truthy(r.out:find("applied 0001", 1, true), r.out)
      assert.truthy(r.out:find("failed  0002  bad  nothing of it stays; 1 applied before it, "
        .. "1 to come", 1, true), r.out)
      assert.truthy(r.err:find("migrations/0002_bad.lua:5", 1, true), r.err)
      assert.truthy(r.err:find('relation "nowhere" does not exist', 1, true), r.err)
      assert.truthy(r.err:find("`neap up`", 1, true), r.err)
    end)

    it("is told in JSON, with what was not begun", function()
      local document = p:json("up", 1)
      assert.equal("failed", document.status)
      assert.equal(1, document.exit_status)
      assert.equal("0001", ids(document.applied))
      assert.equal("0002", document.failed.id)
      assert.equal("apply", document.failed.action)
      assert.equal("0003", ids(document.remaining))
      assert.equal("db.query", document.error.code)
      assert.equal("42P01", document.error.sqlstate)
      assert.equal("migrations/0002_bad.lua", document.error.file)
      assert.equal(5, document.error.line)
      assert.equal("insert into nowhere values (1)", document.error.sql)
      assert.equal(13, document.error.position)
    end)

    it("is recorded after its rollback, and the chain holds", function()
      p:expect("up", 1)
      assert.equal("1", p:value [[
        select count(*) from neap.event where body::json->>'event' = 'step.failed']])
      p:expect "audit verify"
    end)

    it("applies once it is mended", function()
      p:expect("up", 1)
      p:write_table("0002", "bad")
      p:delete "migrations/0002_bad.lua"
      p:write_table("0002", "b")
      assert.equal("0002 0003", ids(p:json("up").applied))
    end)
  end)

  it("undoes what verify finds wrong, with exit 8", function()
    p:write_sql("0001_a.sql", "create table a (id int)", "select count(*) = 7 from a")
    local document, r = p:json("up", 8)
    assert.equal("verify.failed", document.error.code)
    assert.equal("", tables())
    assert.truthy(r.out:find("migrations/0001_a.sql", 1, true), r.out)
    p:write("migrations/0001_a.sql", "")
    p:delete "migrations/0001_a.sql"
    p:write("migrations/0001_a.lua", [[
return migration {
  summary = "expectation",
  up = function(db) db:exec "create table a (id int)" end,
  verify = function(db, expect) expect.equal(db:value "select count(*) from a", 3) end,
  down = function(db) db:exec "drop table a" end,
}]])
    r = p:expect("up", 8)
    assert.truthy(r.err:find("0001_a.lua:4", 1, true), r.err)
    assert.equal("", tables())
  end)

  it("fails on a statement that the script swallowed", function()
    p:write("migrations/0001_a.lua", [[
return migration {
  summary = "swallow",
  up = function(db)
    db:exec "create table a (id int)"
    pcall(function() return db:value "select 1/0" end)
  end,
  verify = function() end, down = function() end,
}]])
    local r = p:expect("up", 1)
    assert.truthy(r.err:find("division by zero", 1, true), r.err)
    assert.equal("", tables())
  end)

  it("names the statement that breaks a deferred constraint, before COMMIT", function()
    p:query "create table parent (id int primary key)"
    p:write_sql("0001_child.sql", "create table child (id int references parent "
      .. "deferrable initially deferred);\ninsert into child values (7)")
    local document = p:json("up", 1)
    assert.equal("db.query 23503", document.error.code .. " " .. document.error.sqlstate)
    assert.equal("migrations/0001_child.sql", document.error.file)
    assert.equal("db.query", p:json("up -n", 1).error.code)
    assert.equal("parent", tables())
    assert.equal("0", p:value "select count(*) from neap.history")
  end)

  it("leaves applied what cannot be undone, and stops there", function()
    p:write_sql("0001_a.sql", "create table a (id int)", nil, "drop table a")
    p:write_sql("0002_b.sql", "create table b (id int)", nil, "drop table b;\ndrop table nowhere")
    p:write_sql("0003_c.sql", "create table c (id int)", nil, "drop table c")
    p:expect "up"
    local document = p:json("down --to 0", 1)
    assert.equal("0003", ids(document.undone))
    assert.equal("0002 undo", document.failed.id .. " " .. document.failed.action)
    assert.equal("0001", ids(document.remaining))
    assert.equal("a b", tables())
    assert.equal("0001 0002", applied())
    has(p:expect("down", 1).out, "it stays applied")
    p:expect "audit verify"
  end)

  it("refuses the way back of an irreversible one, before anything is sent", function()
    p:write_table("0001", "a")
    p:write("migrations/0002_gone.lua", [[
return migration {
  summary = "one way",
  up = function(db) db:exec "create table gone (id int)" end,
  verify = unverified "looked at by hand",
  down = irreversible "the rows are gone",
}]])
    p:expect "up"
    local r = p:expect("down 2", 10)
    assert.truthy(r.err:find("the rows are gone", 1, true), r.err)
    assert.equal("0001 0002", applied())
    local verified = p:json("verify").verified
    assert.equal("ok unverified", verified[1].result .. " " .. verified[2].result)
    assert.truthy(p:expect("verify").out:find("looked at by hand", 1, true))
  end)

  it("asks for what a migration requires", function()
    p:write_table("0001", "a")
    p:write("migrations/0002_b.lua", [[
return migration {
  summary = "b", requires = { "1" },
  up = function(db) db:exec "create table b (id int)" end,
  verify = function() end,
  down = function(db) db:exec "drop table b" end,
}]])
    local document = p:json({ "up", "--only", "2" }, 4)
    assert.equal("history.requires", document.error.code)
    assert.truthy(document.error.hint:find("neap up --only 1", 1, true), document.error.hint)
    assert.equal("", tables())
    p:expect "up"
    assert.equal("a b", tables())
  end)

  it("undoes nothing that another applied one requires", function()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    p:write("migrations/0003_c.lua", [[
return migration {
  summary = "c", requires = { "1" },
  up = function(db) db:exec "create table c (id int)" end,
  verify = function() end,
  down = function(db) db:exec "drop table c" end,
}]])
    p:expect "up"
    for _, more in ipairs { "", " --dry-run" } do
      local document = p:json("down --only 1" .. more, 4)
      assert.equal("history.requires", document.error.code)
      assert.truthy(document.error.message:find("0003 c is applied, and requires 0001", 1, true))
      assert.truthy(document.error.hint:find("neap down --only 0003", 1, true))
    end
    assert.equal("a b c", tables())
    p:expect "down 3 --dry-run" -- all of them together are no hindrance
    p:delete "migrations/0003_c.lua" -- as it was applied is what counts
    p:expect("down --only 1", 4)
    p:expect "down --only 2"
    p:expect "down --only 3"
    p:expect "down --only 1"
    assert.equal("", tables())
  end)

  it("redoes the last with the file as it is now", function()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    p:expect "up"
    local document = p:json "redo"
    assert.equal("0002", ids(document.undone))
    assert.equal("0002", ids(document.applied))
    assert.equal("undo apply", p:value [[
      select string_agg(action, ' ' order by seq)
      from (select * from neap.history order by seq desc limit 2) h]])
    p:write_sql("0003_c.sql", "create table c (id int)", nil, "drop table c")
    p:expect "up"
    p:write_sql("0003_c.sql", "create table c (id int, more int)", nil, "drop table c")
    p:expect("redo", 5)
    p:expect "redo --stored"
    assert.equal("2", p:value [[
      select count(*) from pg_attribute where attnum > 0 and attrelid = 'c'::regclass]])
  end)

  it("says of a redo that undid and cannot apply what is next", function()
    p:write_sql("0001_a.sql", "create table a (id int)", nil, "drop table a")
    p:write_sql("0002_b.sql", "create table b (id int)", nil, "drop table b")
    p:expect "up"
    p:write_sql("0002_b.sql", "create table b (id intx)", nil, "drop table b")
    local r = p:expect("redo --stored", 1)
    has(r.out, "undone  0002")
    has(r.out, "failed  0002  b  nothing of it stays; 0 applied before it, 0 to come")
    has(r.err, "then run `neap up` again")
    assert.equal("0001", applied())
    assert.equal("a", tables())
    p:write_sql("0002_b.sql", "create table b (id int)", nil, "drop table b")
    p:expect "up"
  end)

  it("orders ids by their number, also those that are times", function()
    p:write_table("20261120213045", "t")
    p:write_table("0010", "b")
    p:write_table("9", "a")
    assert.equal("9 0010 20261120213045", ids(p:json("up").applied))
    assert.equal("20261120213045", ids(p:json("down").undone))
  end)

  it("runs SQL files, statement by statement", function()
    p:write("migrations/0001_sql.sql", [[
-- neap: summary SQL with things that look like the end of a statement
-- neap: up
create table s (id int, t text default 'a;b');
create function f() returns int language plpgsql as $$ begin return 1; end $$;
insert into s values (1), (2); -- neap; up
-- neap: verify
select count(*) = 2 from s;
select f() = 1;
-- neap: down
drop function f();
drop table s;
]])
    assert.equal(5, p:json("up").applied[1].statements)
    assert.equal("a;b", p:value "select t from s limit 1")
    p:write("migrations/0002_bad.sql", "-- neap: summary bad\n-- neap: up\nselect 1;\n"
      .. "select nothing_here;\n-- neap: unverified x\n-- neap: irreversible x\n")
    local document = p:json("up", 1)
    assert.equal("migrations/0002_bad.sql", document.error.file)
    assert.equal(4, document.error.line)
    p:delete "migrations/0002_bad.sql"
    p:expect "down"
    assert.equal("", tables())
  end)
end)
