-- SPDX-License-Identifier: MIT
--
-- Migrations that follow each other: the next one's statements travel before the
-- answer to the COMMIT before it. Nothing of it may outlive that COMMIT's failure.
local e2e = require "harness"
local network = require "network"

-- Its COMMIT fails, and nothing before it: the deferred trigger, fired when all
-- constraints are made immediate, defers them again and breaks one.
local fails_at_commit = [[
create table %s_parent (id int primary key);
create table %s_child (id int references %s_parent deferrable initially deferred);
create table %s_late (id int);
create function %s_break() returns trigger language plpgsql as $$
begin
  set constraints all deferred;
  insert into %s_child values (99);
  return null;
end $$;
create constraint trigger late after insert on %s_late deferrable initially deferred
  for each row execute function %s_break();
insert into %s_late values (1)]]

local function write_failing(p, file, name)
  p:write_sql(file, (fails_at_commit:gsub("%%s", name)), nil, "select 1")
end

describe("migrations one behind the other", function()
  local p

  before_each(function()
    p = e2e.project()
    p:write_table("0001", "a")
    p:write_table("0003", "c")
  end)

  after_each(e2e.clean)

  local function tables()
    return p:value("select string_agg(tablename, ',' order by tablename) from pg_tables "
      .. "where schemaname = 'public'")
  end

  local function history()
    return p:value "select string_agg(id, ',' order by seq) from neap.history"
  end

  -- The watchdog cannot read the answer to the COMMIT before: it does not say that
  -- the deadline was all.
  it("says that a COMMIT is unread when the one behind it cannot be stopped", function()
    p:write("migrations/0002_b.lua", [[
return migration { summary = "b", timeout = "1500ms",
  up = function()
    local t = {}
    for i = 1, 8000000 do t[i] = (i * 7919) % 8000009 end
    table.sort(t, math.ult)
  end,
  verify = function(_, expect) expect.table "public.a" end,
  down = function() end }]])
    local r = p:neap({ "up" }, { timeout = 60 })
    assert.equal(15, r.status, r.out .. r.err)
    assert.truthy(r.err:find("see `neap status`", 1, true), r.err)
    assert.equal("a", tables())
    assert.equal("0001", history())
    p:expect "audit verify"
  end)

  it("undoes the one behind a COMMIT that fails, and names the one that failed", function()
    write_failing(p, "0002_b.sql", "b")
    local document, r = p:json("up", 1)
    assert.equal("a", tables())
    assert.equal("0001", history())
    assert.equal("0002", document.failed.id)
    assert.equal(1, #document.applied)
    assert.same({ "0003" }, document.remaining)
    assert.truthy(r.err:find("foreign key", 1, true), r.err)
    p:expect "audit verify"
    p:delete "migrations/0002_b.sql"
    p:expect "up"
    assert.equal("a,c", tables())
  end)

  it("keeps the one before a script that fails", function()
    p:write("migrations/0002_b.lua", [[
return migration {
  summary = "b",
  up = function(db) db:exec "create table b ()" error "no" end,
  verify = function() end,
  down = function() end,
}]])
    local document = p:json("up", 1)
    assert.equal("a", tables())
    assert.equal("0001", history())
    assert.equal("0002", document.failed.id)
    assert.equal("0001", document.applied[1].id)
  end)

  it("blames `up`, not verify, for a statement nobody had waited for", function()
    for _, verify in ipairs { "", "expect.equal(1, db:value 'select 1')", "error 'mine'",
      "db:exec 'select 1'" } do
      p:write("migrations/0002_b.lua", ([[
return migration {
  summary = "b",
  up = function(db)
    db:exec "create table b ()"
    db:exec "select 1/0"
  end,
  verify = function(db, expect) %s end,
  down = function() end,
}]]):format(verify))
      local document, r = p:json("up", 1)
      assert.equal("db.query", document.error.code, r.err)
      assert.truthy(r.err:find("division by zero", 1, true), r.err)
      assert.truthy(r.err:find("0002_b.lua:5", 1, true), r.err)
    end
    assert.equal("a", tables())
  end)

  it("keeps the one before a file that is no script", function()
    p:write("migrations/0002_b.lua", "return migration {")
    p:expect("up", 1)
    assert.equal("a", tables())
    assert.equal("0001", history())
  end)

  it("applies one whose lock was taken when it came behind another", function()
    p:write_sql("0002_b.sql", "alter table held add column more int", nil, "select 1")
    p:query "create table held ()"
    local holder = p:session("lock table held")
    local run = p:start { "up" }
    assert.is_true(run:says("trying again", 20), run:err())
    holder:close()
    local r = run:wait(60)
    assert.equal(0, r.status, r.err)
    assert.equal("0001,0002,0003", history())
  end)

  it("settles a COMMIT that nobody heard of, with another behind it", function()
    p:write_table("0002", "b")
    for _, at in ipairs { -1, 0, 20, 60 } do
      p:query "drop table if exists a, b, c; drop schema if exists neap cascade"
      local proxy = network.open(p, "cut", 2, "commit+" .. at)
      local r = p:neap("up", { env = proxy.env })
      proxy:stop()
      local again = p:neap "up"
      assert.equal(0, again.status, ("cut at %d: exit %d\n%s\n%s"):format(at, r.status, r.err,
        again.err))
      assert.equal("a,b,c", tables())
      assert.equal("0001,0002,0003", history())
    end
  end)

  it("tells of each when its COMMIT is answered, in order", function()
    p:write_table("0002", "b")
    local out = p:expect("up").out
    assert.truthy(out:find("applied 0001.*applied 0002.*applied 0003"), out)
    p:expect "audit verify"
    p:expect { "down", "--to", "0" }
    assert.equal("", tables())
  end)
end)
