-- SPDX-License-Identifier: MIT
--
-- Migrations without a transaction: the journal of steps, doubt, the way back.
local e2e = require "harness"

local function steps(one, two)
  return ([=[
return migration {
  summary = "An index without stopping anybody",
  transaction = false,
  steps = {
    { name = "one",
      up = function(db) %s end,
      verify = function(_, expect) expect.index("base_id", { table = "public.base" }) end,
      down = function(db) db:exec "drop index concurrently if exists base_id" end },
    { name = "two",
      up = function(db) %s end,
      verify = function(_, expect) expect.table "public.two" end,
      down = function(db) db:exec "drop table if exists two" end },
  },
}
]=]):format(one or 'db:exec "create index concurrently base_id on base (id)"',
    two or 'db:exec "create table two (id int)"')
end

local function project(one, two)
  local p = e2e.project()
  p:query "create table base (id int); insert into base select generate_series(1, 1000)"
  p:write("migrations/0001_steps.lua", steps(one, two))
  return p
end

local function index_state(p)
  return p:value("select coalesce((select indisvalid::text from pg_index i join pg_class c"
    .. " on c.oid = i.indexrelid where c.relname = 'base_id'), 'none')")
end

describe("steps", function()
  after_each(e2e.clean)

  it("go up, are verified, go down, go up again", function()
    local p = project()
    p:expect { "up" }
    assert.equal("true", index_state(p))
    p:expect { "verify" }
    p:expect { "down" }
    assert.equal("none", index_state(p))
    assert.equal("f", p:value "select to_regclass('public.two') is not null")
    p:expect { "up" }
    assert.equal("3", p:value "select count(*) from neap.history")
    assert.equal("0", p:value "select count(*) from neap.step where not settled")
    p:expect { "audit", "verify" }
  end)

  it("keep what was done when a later one fails, and go on when it is mended", function()
    local p = project(nil, 'db:exec "create table two (id int)" error "broken"')
    local r = p:neap { "up" }
    assert.equal(9, r.status, r.out .. r.err)
    assert.truthy(r.err:find("neap resume", 1, true), r.err)
    assert.equal("f", p:value "select to_regclass('public.two') is not null")
    assert.equal("true", index_state(p))
    assert.truthy(p:neap({ "status" }).out:find("partial", 1, true))
    p:write("migrations/0001_steps.lua", steps())
    p:expect { "resume" }
    assert.equal("1", p:value "select count(*) from neap.history")
    assert.equal("t", p:value "select to_regclass('public.two') is not null")
  end)

  it("go back from halfway with down --only", function()
    local p = project(nil, 'error "broken"')
    assert.equal(9, p:neap({ "up" }).status)
    p:expect { "down", "--only", "0001" }
    assert.equal("none", index_state(p))
    assert.equal(0, p:json({ "status" }).partial)
  end)

  it("undo a failing first step: nothing changed", function()
    local p = project [[
      db:exec "create table halfway (id int)" db:exec "drop table halfway" error "no"]]
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.out .. r.err)
    assert.equal(0, p:json({ "status" }).partial)
  end)

  it("drop the invalid leftover of a failed unique build", function()
    local p = project 'db:exec "create unique index concurrently base_id on base ((id % 10))"'
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("23505", 1, true), r.err)
    assert.equal("none", index_state(p))
  end)

  it("refuse an invalid index that is not theirs", function()
    local p = project()
    pcall(p.query, p, "create unique index concurrently base_id on base ((id % 10))")
    assert.equal("false", index_state(p))
    local r = p:neap { "up" }
    assert.truthy(r.status ~= 0, r.out)
    assert.truthy(r.err:find("base_id", 1, true), r.err)
    assert.equal("0", p:value "select count(*) from neap.history")
    assert.equal("false", index_state(p)) -- it is still there
  end)

  it("do not undo what was there before them", function()
    local p = project()
    p:query "create index base_id on base (id); create table two as select 42 as x"
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("it had changed nothing", 1, true), r.err)
    assert.equal("true", index_state(p))
    p:query "drop index base_id"
    r = p:neap { "up" }
    assert.equal(9, r.status, r.out .. r.err)
    assert.equal("42", p:value "select x from two")
    assert.equal("undone", p:value
      "select state from neap.step where name = 'two' order by seq desc limit 1")
    p:query "drop table two"
    p:expect { "resume" }
    p:expect { "audit", "verify" }
  end)

  -- No step is in doubt then: each was undone wholly, or is as `up` left it.
  for place, refused in pairs {
    ["between two steps"] = "on neap.step for each row when (new.state = 'undo'"
      .. " and new.step_index = 0)",
    ["behind the last step"] = "on neap.history for each row when (new.action = 'undo')",
  } do
    it("whose down stopped " .. place .. " are halfway, and go on", function()
      local p = project()
      p:expect { "up" }
      p:query("create function refuse() returns trigger language plpgsql as"
        .. " $$ begin raise exception 'not now'; end $$;"
        .. " create trigger refuse before insert " .. refused .. " execute function refuse()")
      p:expect({ "down" }, 9)
      p:query "drop function refuse cascade"
      assert.equal("f", p:value "select to_regclass('public.two') is not null")
      assert.truthy(p:expect({ "status" }).out:find("1 halfway", 1, true))
      p:expect { "resume" } -- the way it was going
      assert.equal("none", index_state(p))
      assert.equal("0", p:value "select count(*) from neap.step where not settled")
      p:expect { "up" }
      assert.equal("true", index_state(p))
      assert.equal("t", p:value "select to_regclass('public.two') is not null")
    end)
  end

  it("halfway without their file name the ways out", function()
    local p = project(nil, 'error "broken"')
    assert.equal(9, p:neap({ "up" }).status)
    assert.truthy(p:neap({ "status" }).out:find("1 halfway", 1, true))
    p:delete "migrations/0001_steps.lua"
    for _, command in ipairs { "up", "resume", "down" } do
      local r = p:neap { command }
      assert.equal(5, r.status, r.out .. r.err)
      assert.truthy(r.err:find("neap repair 0001 --mark", 1, true), r.err)
      assert.is_nil(r.err:find("is applied", 1, true), r.err)
    end
    assert.truthy(p:neap({ "down" }).out:find("it stays halfway", 1, true))
    assert.truthy(p:expect({ "verify" }).out:find("nothing to verify", 1, true))
    p:query "drop index base_id"
    p:expect { "repair", "1", "--mark", "pending", "--reason", "dropped it" }
    assert.equal(0, p:json({ "status" }).partial)
  end)

  it("that never got their lock changed nothing: exit 7", function()
    local p = project 'db:exec "alter table base add column x int"'
    local blocker = p:session "lock table base in row exclusive mode"
    local r = p:neap { "up", "--lock-budget", "1s" }
    assert.equal(7, r.status, r.out .. r.err)
    assert.truthy(r.err:find(blocker.name, 1, true), r.err)
    assert.equal(0, p:json({ "status" }).partial)
    blocker:close()
  end)

  for _, signal in ipairs { "INT", "TERM" } do
    it("stopped by " .. signal .. " in a build are halfway, and go on", function()
      local p = project()
      local blocker = p:session "update base set id = id where id = 1"
      local run = p:start { "up", "--json" }
      assert(e2e.process.await(20, function()
        return index_state(p) == "false"
      end), "the build did not begin")
      run:signal(signal)
      local r = assert(run:wait(20))
      assert.equal(9, r.status, r.out .. r.err)
      assert.truthy(r.err:find("neap resume", 1, true), r.err)
      assert.equal(3, p:neap({ "status", "--exit-code" }).status)
      blocker:close()
      p:expect { "resume" }
      assert.equal("true", index_state(p))
      p:expect { "audit", "verify" }
    end)
  end

  it("whose session was ended in a build go on", function()
    local p = project()
    local blocker = p:session "update base set id = id where id = 1"
    local run = p:start { "up" }
    assert(e2e.process.await(20, function()
      return index_state(p) == "false"
    end), "the build did not begin")
    p:query("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
      .. " and datname = current_database() and query like 'create index concurrently%'")
    local r = assert(run:wait(30))
    assert.equal(9, r.status, r.out .. r.err)
    blocker:close()
    p:expect { "up" }
    assert.equal("true", index_state(p))
    assert.equal("1", p:value "select count(*) from neap.history")
  end)

  it("are not run through a pooler", function()
    local p = e2e.project { pooled = true }
    p:write("migrations/0001_steps.lua", steps())
    p:write("neap.lua", ([[
return { environments = { t = { url = "%s", pooler = "transaction" } } }]]):format(p.url))
    local r = p:neap { "-e", "t", "up" }
    assert.equal(13, r.status, r.out .. r.err)
    assert.equal(0, p:json({ "-e", "t", "status" }).partial)
  end)

  it("are undone when they did a part before they failed", function()
    local p = project(nil, 'db:exec "create table two (id int)" db:exec "create table base ()"')
    assert.equal(9, p:neap({ "up" }).status)
    assert.equal("f", p:value "select to_regclass('public.two') is not null")
  end)

  it("survive a kill during the build: the next run ends with a valid index", function()
    local p = project()
    local blocker = p:session "update base set id = id where id = 1"
    local run = p:start { "up" }
    assert(e2e.process.await(20, function()
      return index_state(p) == "false"
    end), "the build did not begin")
    run:signal "KILL"
    run:wait(10)
    assert(e2e.process.await(10, function()
      return p:value("select count(*) from pg_stat_activity where application_name like 'neap:%'"
        .. " and datname = current_database()") == "0"
    end))
    blocker:close()
    p:expect { "up" }
    assert.equal("true", index_state(p))
    assert.equal("1", p:value "select count(*) from neap.history")
    p:expect { "audit", "verify" }
  end)

  it("say who a build waits for", function()
    local p = project()
    local blocker = p:session "update base set id = id where id = 1"
    local run = p:start { "up" }
    assert(run:says(blocker.name, 20), run:err())
    blocker:close()
    assert.equal(0, run:wait(30).status)
  end)

  it("without a verify stay in doubt after a kill: exit 9 with the commands", function()
    local p = e2e.project()
    p:write("migrations/0001_x.lua", [[
return migration { summary = "x", transaction = false, steps = { { name = "one",
  up = function(db) db:exec "create table x (id int)" db:query "select pg_sleep(30)" end,
  verify = unverified "a test", down = function(db) db:exec "drop table x" end } } }]])
    local run = p:start { "up", "--timeout", "60s" }
    assert(e2e.process.await(20, function()
      return p:value "select to_regclass('public.x') is not null" == "t"
    end))
    run:signal "KILL"
    run:wait(10)
    local r = p:neap { "up" }
    assert.equal(9, r.status, r.out .. r.err)
    assert.truthy(r.err:find("neap repair 0001 --mark", 1, true), r.err)
    p:expect { "repair", "0001", "--mark", "applied", "--reason", "looked" }
    assert.equal(1, p:json({ "status" }).applied)
    p:expect { "audit", "verify" }
  end)

  it("are refused in a transaction before anything is sent", function()
    local p = e2e.project()
    p:query "create table base (id int)"
    p:write("migrations/0001_x.lua", [[
return migration { summary = "x",
  up = function(db)
    db:exec "create table x (id int)"
    db:exec "create index concurrently base_id on base (id)"
  end,
  verify = unverified "a test", down = irreversible "a test" }]])
    local r = p:neap { "up" }
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("transaction = false", 1, true), r.err)
    assert.truthy(r.err:find("migrations/0001_x.lua:4", 1, true), r.err)
  end)

  it("offer no way back where a step has none", function()
    local p = e2e.project()
    p:write("migrations/0001_x.lua", [[
return migration { summary = "x", transaction = false, steps = { { name = "one",
  up = function(db) db:exec "create table x (id int)" error "broken" end,
  verify = function(_, expect) expect.table "public.x" end, down = irreversible "a test" } } }]])
    local r = p:neap { "up" }
    assert.equal(9, r.status, r.out .. r.err)
    assert.truthy(r.err:find("There is no way back", 1, true), r.err)
    assert.is_nil(r.err:find("neap down", 1, true), r.err)
  end)
end)
