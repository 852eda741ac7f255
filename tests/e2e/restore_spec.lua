-- SPDX-License-Identifier: MIT
--
-- Copies beside the target against real servers: compared, swapped in, looked at, and
-- killed in the middle.
local e2e = require "harness"

local process = e2e.process

local function create(p, more)
  return p:json("backup create" .. (more or "")).backup
end

local function databases(pattern)
  return e2e.psql("postgres", ("select datname from pg_database where datname ~ '%s' order by 1")
    :format(pattern or "^neap_"))
end

-- Waits until pg_restore is at the rows of `table_name`, in a database beside the target.
local function await_rows(table_name, run)
  assert(process.await(20, function()
    return e2e.psql("postgres", ("select 1 from pg_stat_activity where datname ~ '^neap_' "
      .. "and query like 'COPY %%%s %%' limit 1"):format(table_name)) == "1"
  end), "pg_restore did not get there: " .. run:err())
end

local function await_dead(run)
  run:signal "KILL"
  run:wait()
  assert(process.await(20, function()
    return e2e.psql("postgres",
      "select count(*) from pg_stat_activity where datname ~ '^neap_'") == "0"
  end))
end

describe("a copy beside the target", function()
  after_each(e2e.clean)

  it("proves a backup, with names that need quotes, and leaves nothing", function()
    local p = e2e.project()
    p:query(([[create schema "neap x""y"; create table "neap x""y"."a b" (id serial, x text);
      insert into "neap x""y"."a b" (x) values ('1'), (null);
      alter database %s set search_path = "neap x""y", public;
      alter database %s set work_mem = '5MB']]):format(p.database, p.database))
    local backup = create(p)
    local r = p:expect { "backup", "verify", backup.id, "--on", "target" }
    assert.truthy(r.out:find("is proved", 1, true), r.out)
    assert.equal("", databases())
    local r2 = p:expect("backup verify --on moon", 2)
    assert.truthy(r2.err:find("scratch or target", 1, true), r2.err)
  end)

  it("is swept when its run was killed, and nothing else is", function()
    local p = e2e.project()
    p:query "create table t as select md5(i::text) a, i from generate_series(1, 300000) i"
    create(p)
    local run = p:start "backup verify --on target"
    await_rows("t", run)
    local left = databases()
    assert.truthy(left:find "^neap_copy_%d+t%d+_%w+$", left)
    run:signal "STOP" -- it lives, so its copy stays
    p:expect "backup verify --on target"
    assert.equal(left, databases())
    await_dead(run)
    assert.equal(left, databases())
    local foreign = "neap_copy_20261121t064453_ab12cd34ef"
    e2e.psql("postgres", "create database " .. foreign)
    local r = p:expect "backup verify --on target"
    assert.truthy(r.err:find(left, 1, true), r.err)
    assert.equal(foreign, databases())
    e2e.psql("postgres", "drop database " .. foreign)
  end)

  it("is refused by name for what the server lacks", function()
    local p = e2e.project()
    p:query "create role beside_gone; create table t (id int); alter table t owner to beside_gone"
    create(p)
    p:query "alter table t owner to postgres; drop role beside_gone"
    local error = p:json("backup verify --on target", 11).error
    assert.equal("backup.role", error.code)
    assert.truthy(error.message:find("beside_gone", 1, true), error.message)
    assert.truthy(error.hint:find("create role", 1, true), error.hint)
    assert.equal("", databases())
  end)
end)
