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
