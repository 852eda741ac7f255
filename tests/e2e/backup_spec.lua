-- SPDX-License-Identifier: MIT
--
-- Backups against real servers: made, proved, and killed in the middle. What refuses
-- one is in support/provoke_backup.lua.
local e2e = require "harness"

local process = e2e.process
local quote = process.quote

local function create(p, more)
  return p:json("backup create" .. (more or "")).backup
end

local function listed(p)
  return p:json("backup list").backups
end

-- Lines of ps whose command names something of the project's, or of its scratch.
local function left(p)
  return process.capture("ps -eo pid,args | grep -F " .. quote(p.temp) .. " | grep -v grep || :")
end

local function scratch_of(p)
  local dir = p.temp .. "/s"
  p.env.NEAP_SCRATCH_DIR = dir
  assert(os.execute("chmod 711 " .. quote(p.temp))) -- the server's user passes through
  return dir
end

local function await_gone(p)
  local text
  assert(process.await(20, function()
    text = left(p)
    return text == ""
  end), text)
end

describe("neap backup", function()
  after_each(e2e.clean)

  it("makes and proves one of the example project, in each format and kind", function()
    local p = e2e.project()
    assert(os.execute(("cp -r migrations lib %s/"):format(quote(p.dir))))
    p:expect "up"
    for _, more in ipairs { "", " --jobs 2", " --kind schema" } do
      local backup = create(p, more .. " --tag daily --reason why --ticket T-1")
      assert.same({ "daily", "why", "T-1" }, { backup.tag, backup.reason, backup.ticket })
      local r = p:expect { "backup", "verify", backup.id }
      assert.truthy(r.out:find("is proved", 1, true), r.out)
      assert.is_true(listed(p)[1].verified.ok)
    end
    assert.equal(3, #listed(p))
    p:expect "audit verify"
    local modes = process.capture(("find %s/backups ! -perm 700 ! -perm 600"):format(p.state))
    assert.equal("", modes)
  end)

  it("digests a sample of large tables where it is told to, states it, and verifies it", function()
    local p = e2e.project()
    p:query [[create table large as select i id, md5(i::text) x from generate_series(1, 3000) i;
      alter table large add primary key (id); create table keyless as select * from large;
      create table small (id int primary key); insert into small values (1)]]
    for _, wrong in ipairs { "0", "-1", "x" } do
      p:expect("backup create --sample-over " .. wrong, 2)
    end
    local backup = create(p, " --sample-over 2999")
    assert.equal(2999, backup.sample_rows_over)
    assert.same({ true, false, false }, { backup.tables["public.large"].sampled,
      backup.tables["public.keyless"].sampled, backup.tables["public.small"].sampled })
    assert.equal(3000, backup.tables["public.large"].rows)
    local r = p:expect "backup verify"
    assert.truthy(r.out:find("as far as the sample", 1, true), r.out)
    assert.truthy(p:expect("backup show latest").out:find("a sample of the rows", 1, true))
    assert.is_nil(create(p).sample_rows_over)
  end)

  it("says that a quick look is no proof, and keeps the proof that was", function()
    local p = e2e.project()
    p:query "create table t (id int)"
    create(p)
    local r = p:expect "backup verify --quick"
    assert.truthy(r.out:find("no proof", 1, true), r.out)
    assert.equal("quick", listed(p)[1].verified.level)
    p:expect "backup verify"
    p:expect "backup verify --quick"
    assert.equal("full", listed(p)[1].verified.level)
  end)

  it("matches exactly although a writer goes on", function()
    local p = e2e.project()
    p:query [[create table t (id bigserial primary key, x text);
      insert into t (x) select md5(i::text) from generate_series(1, 100000) i]]
    local writer = p:start_psql [[do $$ begin
      for i in 1..100000 loop
        insert into public.t (x) values ('w'); commit;
        update public.t set x = x || '!' where id = i; commit;
      end loop; end $$]]
    process.await(10, function() return tonumber(p:value "select count(*) from t") > 100000 end)
    local backup = create(p)
    local rows = backup.tables["public.t"].rows
    local now = tonumber(p:value "select count(*) from t")
    writer:stop()
    p:expect "backup verify"
    assert.truthy(rows > 100000 and rows < now, ("%d, now %d"):format(rows, now))
  end)

  it("takes an empty database, hostile names and settings of the database", function()
    local p = e2e.project()
    create(p)
    p:expect "backup verify"
    p:query(([[create schema "neap x""y";
      create table "neap x""y"."t'; %%s" (id serial, "a b" text);
      insert into "neap x""y"."t'; %%s" ("a b") values ('1'), (null), ('\');
      create role "own %%s ""er"; alter schema "neap x""y" owner to "own %%s ""er";
      alter database %s set default_transaction_read_only = on;
      comment on database %s is 'it''s']]):format(p.database, p.database))
    create(p)
    p:expect "backup verify"
    e2e.psql("postgres",
      ("alter database %s reset default_transaction_read_only"):format(p.database))
    p:query [[alter schema "neap x""y" owner to postgres; drop role "own %s ""er"]]
  end)

  it("proves one with user mappings and foreign tables without talking to their server", function()
    local p = e2e.project()
    local function foreign(more)
      p:query(([[create extension postgres_fdw;
        create server far foreign data wrapper postgres_fdw options (host %s, dbname %s);
        create user mapping for postgres server far options (user 'postgres', password 'secret');
        create user mapping for public server far options (user 'nobody');
        create foreign table there (id int) server far options (table_name 'here');
        create table here (id int); insert into here values (1);]]):format(
        "'" .. e2e.cluster().socket .. "'", "'" .. p.database .. "'") .. (more or ""))
    end
    foreign()
    create(p)
    p:expect "backup verify"
    p:query "create materialized view seen as select * from there"
    create(p)
    local r = p:expect("backup verify", 11)
    assert.truthy(r.err:find("from a foreign server, and no copy may talk to it", 1, true), r.err)
  end)

  it("keeps the history in a backup of the schema alone", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    p:query [[insert into a values (7); create schema nea; create table nea.t as select 1 i;
      create schema neapolis; create table neapolis.t as select 1 i; create sequence s start 5;
      select nextval('s'), lo_create(0)]]
    local dump = create(p, " --kind schema").path .. "/dump"
    local list = process.capture(("%s/pg_restore --list %s"):format(e2e.cluster().bin, dump))
    for line in list:gmatch "[^\n]+" do
      local is_rows = line:find("TABLE DATA", 1, true) or line:find("SEQUENCE SET", 1, true)
      local is_foreign = is_rows and not line:find(" neap ", 1, true)
      assert.falsy(line:find("BLOB", 1, true) or is_foreign, line)
    end
    assert.truthy(list:find("TABLE DATA neap history", 1, true), list)
    p:expect "backup verify"
  end)

  it("keeps the password out of ps, logs and manifest", function()
    local p = e2e.project()
    local secret = [[p w"'%s\%41]]
    p:query "create table t as select md5(i::text) a from generate_series(1, 300000) i"
    local run = p:start({ "backup", "create", "-v" }, { env = { PGPASSWORD = secret } })
    local seen
    assert(process.await(20, function()
      local ps = process.capture "ps -eo args"
      assert.falsy(ps:find(secret, 1, true))
      seen = seen or ps:find("pg_dump --verbose", 1, true)
      return not run:running()
    end))
    local r = run:wait()
    assert.equal(0, r.status, r.err)
    assert.truthy(seen, "pg_dump was not seen")
    local found = process.capture(("grep -rlF -e %s %s %s || :"):format(quote(secret),
      quote(p.state), quote(p.temp)))
    assert.equal("", found)
  end)

  it("is killed without a trace, and the next one sweeps", function()
    local p = e2e.project()
    local scratch = scratch_of(p)
    p:query "create table t as select md5(i::text) a from generate_series(1, 200000) i"
    for i = 1, 5 do
      local run = p:start "backup create"
      process.await(0.02 + i * 0.08, function() return false end)
      run:signal "KILL"
      run:wait()
      await_gone(p)
      for _, backup in ipairs(listed(p)) do
        assert.falsy(backup.problem)
      end
    end
    create(p)
    assert.equal("", process.capture(("find %s/backups -name '*.part'"):format(p.state)))
    for i = 1, 5 do
      local run = p:start "backup verify"
      process.await(i * 0.2, function() return false end)
      run:signal "KILL"
      run:wait()
      await_gone(p)
    end
    p:expect "backup verify"
    assert.equal("", process.capture(("ls -d %s/pg/p-* %s/p-* 2>/dev/null || :"):format(scratch,
      scratch)))
  end)

  it("ends with its deadline and at a signal, and leaves nothing", function()
    local p = e2e.project()
    p:query "create table t as select md5(i::text) a from generate_series(1, 400000) i"
    p:expect("backup create --timeout 200ms", 124)
    local run = p:start "backup create"
    assert(run:says("backup", 10))
    run:signal "INT"
    assert.equal(130, run:wait().status)
    await_gone(p)
    assert.same({}, listed(p))
    assert.equal("", process.capture("ls " .. quote(p.state .. "/backups")))
  end)
end)
