-- SPDX-License-Identifier: MIT
--
-- A step that a run left in the middle, in either direction, and what the next run
-- makes of it: its verify decides, a file that was changed does not, and what could
-- not be asked is said.
local e2e = require "harness"

local file = "migrations/0001_steps.lua"

-- One step; each part is Lua. `pause` waits for as long as a table named held is there.
local function step(up, verify, down)
  return ([=[
local function pause(db)
  if db:value "select to_regclass('public.held') is not null" then
    db:query "select pg_sleep(60)"
  end
end
return migration { summary = "s", transaction = false, steps = { { name = "one",
  up = function(db) %s pause(db) end,
  verify = function(db, expect) %s end,
  down = function(db) %s pause(db) end } } }]=]):format(up, verify, down)
end

local table_step = step('db:exec "create table one (id int)"', 'expect.table "public.one"',
  'db:exec "drop table one"')

-- Starts `command`, kills it in its pause, and lets the next one run through.
local function kill_in_pause(p, command)
  p:query "create table held ()"
  local run = p:start(command .. " --timeout 60s")
  assert(e2e.process.await(20, function()
    return p:value("select count(*) from pg_stat_activity where datname = current_database()"
      .. " and wait_event = 'PgSleep' and application_name like 'neap:%'") == "1"
  end), run:err())
  run:signal "KILL"
  run:wait(10)
  assert(e2e.process.await(10, function()
    return p:value("select count(*) from pg_stat_activity where datname = current_database()"
      .. " and application_name like 'neap:%'") == "0"
  end))
  p:query "drop table held"
end

local function project(script)
  local p = e2e.project()
  p:query "create table base (id int)"
  p:write(file, script or table_step)
  return p
end

local function history(p)
  return p:value "select coalesce(string_agg(action, ' ' order by seq), '') from neap.history"
end

local function states(p)
  return p:value("select string_agg(state, ' ' order by seq) from neap.step")
end

describe("a down that was killed when it had done its work", function()
  after_each(e2e.clean)

  -- What is gone cannot be dropped again: by its SQLSTATE.
  local kinds = {
    { "42P01", 'db:exec "create table one (id int)"', "to_regclass('public.one') is not null",
      'db:exec "drop table one"' },
    { "42703", 'db:exec "alter table base add one int"',
      "exists (select from pg_attribute where attrelid = 'base'::regclass and attname = 'one')",
      'db:exec "alter table base drop one"' },
    { "42704", 'db:exec "create index concurrently one on base (id)"',
      "to_regclass('public.one') is not null", 'db:exec "drop index concurrently one"' },
    { "42883", [[db:exec "create function one() returns int language sql as 'select 1'"]],
      "to_regproc('public.one') is not null", 'db:exec "drop function one()"' },
    { "3F000", 'db:exec "create schema one"', "to_regnamespace('one') is not null",
      'db:exec "drop schema one"' },
  }

  for _, kind in ipairs(kinds) do
    local sqlstate, up, there, down = table.unpack(kind)
    it("is done: " .. sqlstate, function()
      local p = project(step(up, ([[expect.equal(db:value "select %s", true)]]):format(there),
        down))
      p:expect "up"
      kill_in_pause(p, "down")
      assert.equal("f", p:value("select " .. there))
      assert.truthy(p:neap("status").out:find("halfway", 1, true))
      local r = p:expect "resume"
      assert.truthy(r.err:find("its verify says it is not done", 1, true), r.err)
      assert.equal("apply undo", history(p))
      assert.equal("intent done undo undo undone", states(p))
      p:expect "audit verify"
      p:expect "up"
      assert.equal("t", p:value("select " .. there))
    end)
  end

  it("is not done by any other refusal", function()
    local p = project(step('db:exec "create table one (id int)"',
      'expect.table "public.one"', 'db:exec "drop table one"'))
    p:expect "up"
    kill_in_pause(p, "down")
    p:query "create view one as select 1" -- 42809: not a table
    local r = p:expect("resume", 9)
    assert.truthy(r.err:find('"one" is not a table', 1, true), r.err)
    assert.truthy(r.err:find("neap resume", 1, true), r.err)
    assert.equal("apply", history(p))
    p:query "drop view one"
    p:expect "resume"
    assert.equal("apply undo", history(p))
  end)
end)

describe("a step in doubt", function()
  after_each(e2e.clean)

  it("is not undone before its verify came to an answer", function()
    local p = project(step('db:exec "create table one (id int)"',
      'pause(db) expect.table "public.one"', 'db:exec "drop table one"'))
    p:expect "up"
    kill_in_pause(p, "down")
    p:query "create table held ()"
    local r = p:expect("resume --timeout 1s", 9)
    assert.truthy(r.err:find("deadline", 1, true), r.err)
    assert.equal("intent done undo", states(p))
    p:query "drop table held"
    p:expect "resume"
    assert.equal("apply undo", history(p))
    assert.equal("intent done undo undo undone", states(p))
  end)

  it("is not settled by a file that was changed", function()
    local p = project()
    kill_in_pause(p, "up")
    p:write(file, (table_step:gsub('summary = "s"', 'summary = "other"')))
    local r = p:expect("up", 5)
    assert.truthy(r.err:find("changed while its step one is in doubt", 1, true), r.err)
    assert.truthy(r.err:find("Restore the file as it was", 1, true), r.err)
    assert.equal("intent", states(p))
    assert.equal("", history(p))
    p:write(file, table_step)
    p:expect "resume"
    assert.equal("apply", history(p))
    assert.equal("intent done", states(p))
    p:expect "audit verify"
  end)

  it("stays in doubt when what its verify says cannot be recorded", function()
    local p = project()
    kill_in_pause(p, "up")
    p:query("create function refuse() returns trigger language plpgsql as"
      .. " $$ begin raise exception 'not now'; end $$;"
      .. " create trigger refuse before insert on neap.step for each row"
      .. " when (new.state = 'done') execute function refuse()")
    local r = p:expect("up", 9)
    assert.truthy(r.err:find("its verify says it is done", 1, true), r.err)
    assert.truthy(r.err:find("not now", 1, true), r.err)
    assert.truthy(r.err:find("neap resume", 1, true), r.err)
    assert.equal("intent", states(p))
    assert.equal("", history(p))
    p:query "drop function refuse cascade"
    p:expect "resume"
    assert.equal("apply", history(p))
    assert.equal("intent done", states(p))
    p:expect "audit verify"
  end)

  it("stays in doubt when the server refuses what its verify asks", function()
    local p = project(step('db:exec "create table one (id int)"',
      'expect.equal(db:value "select 1 / (select count(*) from one)", 1)',
      'db:exec "drop table one"'))
    kill_in_pause(p, "up")
    local r = p:expect("up", 9)
    assert.truthy(r.err:find("division by zero", 1, true), r.err)
    assert.truthy(r.err:find("The step is in doubt.", 1, true), r.err)
    assert.equal("intent", states(p))
    p:query "insert into one values (7)" -- it was not dropped
    p:expect "resume"
    assert.equal("7", p:value "select id from one")
    assert.equal("intent done", states(p))
  end)

  it("stays in doubt when its verify came to no answer", function()
    local p = project(step('db:exec "create table one (id int)"',
      'pause(db) expect.table "public.one"', 'db:exec "drop table one"'))
    kill_in_pause(p, "up")
    p:query "create table held ()"
    local r = p:expect("up --timeout 1s", 9)
    assert.truthy(r.err:find("deadline", 1, true), r.err)
    assert.truthy(r.err:find("The step is in doubt.", 1, true), r.err)
    assert.truthy(r.err:find("neap resume", 1, true), r.err)
    assert.equal("intent", states(p))
    assert.equal("", history(p))
    p:query "drop table held"
    p:expect "resume"
    assert.equal("apply", history(p))
    assert.equal("intent done", states(p))
  end)
end)
