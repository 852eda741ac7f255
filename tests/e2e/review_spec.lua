-- SPDX-License-Identifier: MIT
--
-- What a review found: each case was wrong once.
local e2e = require "harness"

local function steps(two)
  return ([=[
return migration {
  summary = "Two steps",
  transaction = false,
  steps = {
    { name = "one",
      up = function(db) db:exec "create table one (id int)" end,
      verify = function(_, expect) expect.table "public.one" end,
      down = function(db) db:exec "drop table one" end },
    { name = "two",
      up = function(db) %s end,
      verify = function(_, expect) expect.column("public.base", "x", "integer") end,
      down = function(db) db:exec "alter table base drop column if exists x" end },
  },
}
]=]):format(two or 'db:exec "alter table base add column x int"')
end

local function transactional(up)
  return ([=[
return migration {
  summary = "test",
  up = function(db) %s end,
  verify = unverified "a test",
  down = function(db) end,
}
]=]):format(up)
end

local function project(text)
  local p = e2e.project()
  p:query "create table base (id int)"
  if text then
    p:write("migrations/0001_x.lua", text)
  end
  return p
end

describe("steps whose attempts are given up", function()
  after_each(e2e.clean)

  it("are partial, and do not say that nothing stays", function()
    local p = project(steps())
    local blocker = p:session "lock table base"
    local document, r = p:json(
      { "up", "--lock-timeout", "200ms", "--lock-budget", "1s" }, 9)
    blocker:close()
    assert.equal("step.partial", document.error.code)
    assert.truthy(document.error.detail:find("Gave up after", 1, true), document.error.detail)
    assert.truthy(r.out:find("neap resume", 1, true), r.out)
    assert.equal("t", p:value "select to_regclass('public.one') is not null")
    p:expect { "resume" }
    p:expect { "audit", "verify" }
  end)
end)

describe("an interrupt between two attempts", function()
  after_each(e2e.clean)

  it("ends with 130 and names what it waited for", function()
    local p = project(transactional 'db:exec "alter table base add column x int"')
    local blocker = p:session "lock table base"
    local run = p:start { "up", "--lock-timeout", "100ms" }
    assert(run:says("waiting for the next attempt", 30), run:err())
    run:signal "INT"
    local r = run:wait(10)
    blocker:close()
    assert.equal(130, r.status, r.out .. r.err)
    assert.truthy(r.err:find("lock timeout", 1, true), r.err)
  end)
end)

describe("redo", function()
  after_each(e2e.clean)

  it("undoes nothing that it could not apply again", function()
    local p = e2e.project()
    p:write_table("0001", "one")
    p:write_table("0002", "two")
    p:expect { "up" }
    local file = p:read "migrations/0001_one.lua"
    p:write("migrations/0001_one.lua", file:gsub("drop table one", "drop table if exists one"))
    p:expect({ "redo" }, 5) -- the other one was edited
    assert.equal("t", p:value "select to_regclass('public.two') is not null")
    p:write("migrations/0001_one.lua", file)
    p:expect { "redo" }
    p:delete "migrations/0002_two.lua"
    local r = p:expect({ "redo" }, 5)
    assert.truthy(r.err:find("its file is missing", 1, true), r.err)
    assert.equal("t", p:value "select to_regclass('public.two') is not null")
  end)
end)

describe("verify through a pooler", function()
  after_each(e2e.clean)

  it("leaves nothing on the server's session", function()
    local p = e2e.project { pooled = true }
    p:write("neap.lua", ([[return { environments = { pooled = { url = "%s",
      pooler = "transaction" } } }]]):format(p.url))
    p:write_table("0001", "one")
    p:expect { "-e", "pooled", "up" }
    p:expect { "-e", "pooled", "verify" }
    local psql = { e2e.cluster().bin .. "/psql", "-XAtqd", p.url, "-c", "show lock_timeout", "-c",
      "show statement_timeout" }
    local shown = e2e.process.run(psql, p.temp .. "/shown", { cwd = "/", env = p.env })
    assert.equal("0\n0\n", shown.out, shown.err)
  end)
end)

describe("a script that gives the lease away", function()
  after_each(e2e.clean)

  it("does not commit", function()
    local p = project(transactional
      'db:exec "create table one (id int)" db:exec "delete from neap.lease"')
    local document = p:json({ "up" }, 6)
    assert.equal("lease.lost", document.error.code)
    assert.equal("f", p:value "select to_regclass('public.one') is not null")
    assert.equal("0", p:value "select count(*) from neap.history")
  end)
end)

describe("a failure that no script caused", function()
  after_each(e2e.clean)

  it("does not send its author to mend the script", function()
    local p = project(transactional 'db:exec "create table one (id int)"')
    p:write("neap.lua", ([[return { environments = { here = { url = "%s",
      role = "nobody_there" } } }]]):format(p.url))
    local r = p:expect({ "-e", "here", "up" }, 1)
    assert.truthy(r.err:find("neap doctor", 1, true), r.err)
    assert.falsy(r.err:find("Mend the script", 1, true), r.err)
  end)
end)

describe("a statement with too few parameters", function()
  after_each(e2e.clean)

  it("is the script's mistake, and no lost connection", function()
    local p = project(transactional 'db:exec("select $1::int, $2::int", 1)')
    local document = p:json({ "up" }, 1)
    assert.equal("db.argument", document.error.code)
    assert.equal("migrations/0001_x.lua", document.error.file)
  end)
end)
