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

  it("is rehearsed on, from a backup and from the schema, and leaves nothing", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    p:query(([[create role copy_migrator login; grant select, references on a to copy_migrator;
      grant create on schema public to copy_migrator; alter database %s set work_mem = '7MB';
      revoke connect on database %s from public; grant connect on database %s to copy_migrator;
      grant usage on schema neap to copy_migrator;
      grant all on all tables in schema neap to copy_migrator;
      grant all on all sequences in schema neap to copy_migrator;
      grant all on all functions in schema neap to copy_migrator]])
      :gsub("%%s", p.database))
    create(p)
    p:write_sql("0002_b.sql", "create table b (id bigint references a)",
      "select current_setting('work_mem') = '7MB' and current_user = 'copy_migrator'",
      "drop table b")
    local env = { DATABASE_URL = (p.url:gsub("user=postgres", "user=copy_migrator")),
      NEAP_RESTORE_URL = p.url, NEAP_BACKUP_URL = p.url }
    for _, from in ipairs { "latest", "live-schema" } do
      local r = p:expect({ "rehearse", "--on", "target", "--from", from, "--json" }, 0,
        { env = env })
      local rehearsal = e2e.decode(r.out).rehearsal
      assert.is_true(rehearsal.ok)
      assert.equal("0002", rehearsal.units[1].id)
      assert.equal("", databases())
    end
    assert.equal("f", p:value "select to_regclass('b') is not null")
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

-- A database of 10 rows in t and two sequences' worth of history, backed up, then changed.
local function changed_since(opts)
  local p = e2e.project(opts)
  p:write_sql("0001_t.sql", "create table t (id int)", nil, "drop table t")
  p:write_sql("0002_u.sql", "create table u (id int)", nil, "drop table u")
  p:expect "up 1"
  p:query "insert into t select generate_series(1, 10)"
  local backup = create(p)
  p:expect "up"
  p:query "insert into t values (11); update t set id = 100 where id = 1"
  return p, backup
end

local function swap(p, more)
  local args = { "restore", "latest", "--swap", "--reason", "why", "--accept-data-loss",
    "--confirm", p.database }
  table.move(more or {}, 1, #(more or {}), #args + 1, args)
  return args
end

local function resume(p)
  return { "restore", "--resume", "--reason", "why", "--accept-data-loss", "--confirm",
    p.database }
end

local function rows(p)
  return p:value "select count(*) || ' ' || min(id) from t"
end
local OLD, NEW = "11 2", "10 1"

describe("neap restore", function()
  after_each(e2e.clean)

  it("restores beside the target, under a name that needs quotes, and refuses one taken", function()
    local p, backup = changed_since()
    local name = [[neap x"y ='%s]]
    local document = p:json { "restore", backup.id, "--into", name }
    assert.equal(name, document.database)
    assert.equal(OLD, rows(p))
    assert.equal(NEW, e2e.psql("neap%20x%22y%20%3D%27%25s",
      "select count(*) || ' ' || min(id) from t"))
    local again = p:json({ "restore", backup.id, "--into", name }, 2)
    assert.equal("restore.exists", again.error.code)
    local list = p:json "restore --list"
    assert.equal(name, list.databases[1].name)
    assert.equal("restore", list.databases[1].kind)
    e2e.psql("postgres", list.databases[1].drop)
    assert.equal("", databases())
    document = p:json { "restore", "latest" }
    assert.truthy(document.database:find("^" .. p.database .. "_restored_%d+t%d+$"))
    e2e.psql("postgres", "drop database " .. document.database)
    p:expect "audit verify"
  end)

  it("puts the backup in the place of the target, with all that is the database's own", function()
    local p = changed_since()
    p:query(([[create role swap_owner; create role swap_reader;
      alter database %s set search_path = "$user", public, "a b";
      alter database %s set work_mem = '5MB'; alter role swap_reader in database %s
      set work_mem = '6MB'; revoke all on database %s from public;
      grant connect on database %s to swap_reader with grant option;
      comment on database %s is 'it''s'; alter database %s connection limit 50;
      alter database %s owner to swap_owner]]):gsub("%%s", p.database))
    local own = [[select array[d.datacl::text, d.datconnlimit::text, d.datdba::regrole::text,
      shobj_description(d.oid, 'pg_database'), (select string_agg(s.setrole || s.setconfig::text,
      ';' order by s.setrole) from pg_db_role_setting s where s.setdatabase = d.oid)]
      from pg_database d where datname = current_database()]]
    local before = p:value(own)
    local document = p:json(swap(p))
    assert.equal(NEW, rows(p))
    assert.equal(before, p:value(own))
    local loss = document.loss
    assert.is_true(loss.exact)
    assert.same({ { table = "public.t", backup = 10, now = 11, exact = true },
      { table = "public.u", now = 0, exact = true } }, loss.tables)
    assert.same({ "0002 apply" }, loss.migrations)
    local status = p:json "status"
    assert.same({ 1, 1 }, { status.applied, status.pending })
    p:expect "audit verify"
    p:expect "up"
    p:expect "audit verify"
    assert.equal("f", e2e.psql("postgres", ("select datallowconn from pg_database "
      .. "where datname = '%s'"):format(document.kept)))
    local list = p:json "restore --list".databases
    assert.same({ document.kept, "kept", document.kept_until },
      { list[1].name, list[1].kind, list[1]["until"] })
    local events = p:neap { "audit", "show", "--run", document.run_id }
    for _, event in ipairs { "restore.begin", "restore.copy", "restore.swap", "restore.swapped",
      "restore.end", "run.end" } do
      assert.truthy(events.out:find(event, 1, true), event .. "\n" .. events.out)
    end
    -- And back again, by what help restore says.
    e2e.psql("postgres", ("drop database %s with (force)"):format(p.database))
    e2e.psql("postgres", ("alter database %s rename to %s"):format(document.kept, p.database))
    e2e.psql("postgres", ("alter database %s allow_connections true"):format(p.database))
    assert.equal(OLD, rows(p))
  end)

  it("asks for the name and for what is lost, and takes no other answer", function()
    local p = changed_since()
    local cases = {
      { { "restore", "latest", "--swap" }, 2, "needs a reason" },
      { { "restore", "latest", "--swap", "--reason", "x", "--confirm", p.database }, 12,
        "public.t: 10 rows in the backup, 11 rows now" },
      { { "restore", "latest", "--swap", "--reason", "x", "--accept-data-loss" }, 12,
        "was not confirmed" },
      { { "restore", "latest", "--swap", "--reason", "x", "--accept-data-loss", "--confirm",
        "other" }, 12, "for another database" },
      { { "restore", "latest", "--swap", "--into", "x" }, 2, "exclude each other" },
      { { "restore" }, 2, "argument" },
      { { "restore", "nothing", "--swap", "--reason", "x" }, 2, "there is no backup" },
    }
    for _, case in ipairs(cases) do
      local r = p:expect(case[1], case[2])
      assert.truthy(r.err:find(case[3], 1, true), r.err)
    end
    assert.equal(OLD, rows(p))
    assert.equal("", databases())
    local r = p:expect(swap(p), 0)
    assert.truthy(r.err:find("since the backup: 0002 apply", 1, true), r.err)
    p:expect(resume(p))
  end)

  it("lets whoever connects meanwhile find the old or the new one, and nothing else", function()
    local p = changed_since()
    local log = p.temp .. "/seen"
    local client = process.start({ "sh", "-c", ('while :; do %s/psql -XAtq -d "$0" -c "$1" >>%s '
      .. '2>&1; done'):format(e2e.cluster().bin, log), p.url,
      "select count(*) || ' ' || min(id) from t" }, p.temp .. "/client",
      { cwd = "/", env = { PATH = os.getenv "PATH" } })
    p.processes[#p.processes + 1] = client
    local idle = p:start_psql "select pg_sleep(60)"
    local function seen(text)
      return (process.read(log) or ""):find(text, 1, true)
    end
    assert(process.await(10, function() return seen(OLD) end))
    p:expect(swap(p))
    assert(process.await(10, function() return seen(NEW) end))
    client:stop()
    assert.truthy(idle:wait(10).err:find("terminating connection", 1, true))
    for line in process.read(log):gmatch "[^\n]+" do
      assert.truthy(line == OLD or line == NEW or line:find("dropped or renamed", 1, true)
        or line:find("does not exist", 1, true) or line:find("administrator command", 1, true)
        or line:find("erver", 1, true) or line:find("before or while", 1, true), line)
    end
  end)

  it("is killed while it restores: the target is what it was, and nothing stays", function()
    local p = changed_since()
    p:query "create table big as select md5(i::text) a, i from generate_series(1, 300000) i"
    create(p)
    local run = p:start(swap(p))
    await_rows("big", run)
    await_dead(run)
    assert.truthy(databases():find "^neap_restore_")
    local r = p:expect "restore --resume"
    assert.truthy(r.out:find("the one it always was", 1, true), r.out)
    assert.equal("", databases())
    assert.equal(OLD, rows(p))
    p:expect "up"
  end)

  -- Holds the lock of a database, as somebody does who comments on it.
  local other
  before_each(function() other = e2e.project { database = "postgres" } end)

  local function hold(database)
    return other:session(("comment on database %s is 'held'"):format(database))
  end

  local function await_query(pattern, run)
    assert(process.await(20, function()
      return e2e.psql("postgres", ("select 1 from pg_stat_activity where query ~ '%s' "
        .. "and wait_event is not null and state = 'active' and pid <> pg_backend_pid() limit 1")
        :format(pattern)) == "1"
    end), run:err())
  end

  it("is killed before its turn: the target is what it was, and --resume goes on", function()
    local p = changed_since()
    local holder = hold(p.database)
    local run = p:start(swap(p, { "--lock-timeout", "20s" }))
    await_query("^alter database .* rename", run)
    await_dead(run)
    assert.equal(OLD, rows(p)) -- also while somebody holds it
    local left = databases()
    assert.truthy(left:find "^neap_restore_", left)
    holder:close()
    p:expect("restore --resume", 2) -- no reason
    p:expect("backup verify --on target") -- sweeps, but not what is whole
    assert.equal(left, databases())
    local document = p:json(resume(p))
    assert.equal(NEW, rows(p))
    assert.equal("", databases())
    assert.truthy(document.kept)
    p:expect "audit verify"
    local again = p:json "restore --resume"
    assert.equal("nothing", again.status)
    assert.equal(document.kept, again.databases[1].name)
  end)

  it("is killed in its turn: the server takes it back", function()
    local p = changed_since()
    local holder = hold(p.database)
    local run = p:start(swap(p, { "--lock-timeout", "20s" }))
    await_query("^alter database .* rename", run)
    local second = hold(databases())
    holder:close()
    await_query("^alter database .neap_restore_.* rename", run) -- the first one is renamed
    local waiting = p:start_psql "select 'in: ' || count(*) from t"
    await_dead(run)
    assert.truthy(waiting:wait(20).out:find("in: 11", 1, true), waiting:err())
    assert.equal(OLD, rows(p))
    second:close()
    p:expect(resume(p))
    assert.equal(NEW, rows(p))
  end)

  it("is killed at its COMMIT: the restored one is the target", function()
    local p = changed_since()
    local holder = hold(p.database)
    local run = p:start(swap(p, { "--lock-timeout", "20s" }))
    await_query("^alter database .* rename", run)
    local function standbys(names)
      e2e.psql("postgres", ("alter system set synchronous_standby_names = '%s'"):format(names))
      e2e.psql("postgres", "select pg_reload_conf()")
    end
    standbys "nobody"
    finally(function() standbys "" end)
    holder:close()
    await_query("^commit$", run)
    run:signal "KILL"
    run:wait()
    standbys ""
    assert(process.await(20, function()
      local ok, text = pcall(rows, p)
      return ok and text == NEW
    end))
    local document = p:json "restore --resume"
    assert.equal("nothing", document.status)
    assert.truthy(document.databases[1].name:find("^" .. p.database .. "_before_"))
    assert.equal("", databases())
    local status = p:json "status"
    assert.same({ 1, 1 }, { status.applied, status.pending })
    p:expect "up"
    p:expect "audit verify"
  end)

  it("waits for the lock no longer than it may, says for whom, and stops at a signal", function()
    local p = changed_since()
    local holder = hold(p.database)
    local document = p:json(swap(p, { "--lock-budget", "1s", "--lock-timeout", "200ms" }), 7)
    assert.equal("lock.timeout", document.error.code)
    assert.truthy(document.error.detail:find(holder.name, 1, true), document.error.detail)
    assert.truthy(document.error.hint:find("--resume", 1, true), document.error.hint)
    local run = p:start(resume(p))
    await_query("^alter database .* rename", run)
    run:signal "TERM"
    assert.equal(143, run:wait().status)
    assert.equal(OLD, rows(p))
    holder:close()
    p:expect(resume(p))
    assert.equal(NEW, rows(p))
  end)

  it("stays out while another run holds the lease", function()
    local p = changed_since()
    p:write_sql("0003_slow.sql", "select pg_sleep(60)", nil, "select 1")
    local run = p:start "up"
    await_query("pg_sleep.60", run)
    local document = p:json(swap(p, { "--lease-wait", "100ms" }), 6)
    assert.equal("lease.held", document.error.code)
    run:stop()
    assert.equal("", databases())
  end)

  it("puts back a target that is gone", function()
    local p = changed_since()
    e2e.psql("postgres", ("drop database %s"):format(p.database))
    local r = p:expect({ "restore", "latest", "--swap", "--reason", "x", "--confirm", p.database },
      12)
    assert.truthy(r.err:find("nobody knows what would be lost", 1, true), r.err)
    p:expect(swap(p))
    assert.equal(NEW, rows(p))
    p:expect "audit verify"
    assert.equal("", databases())
  end)

  it("puts one table beside the live one, of any type and name, with the SQL to compare", function()
    local p = e2e.project()
    p:query([[create schema "neap x""y"; create type color as enum ('red', 'green');
      create table "neap x""y"."A b;" (id int primary key, c color, j json, "x y" text collate "C",
        g int generated always as (id * 2) stored, big text, b bytea, e int[]);
      insert into "neap x""y"."A b;" (id, c, j, big, b, e) select i, 'red', '{"a": 1}',
        repeat(i::text, 5000), '\\x00ff', '{}' from generate_series(1, 300) i;
      create table none (); create table t (id int)]])
    local backup = create(p)
    p:query([[update "neap x""y"."A b;" set c = 'green' where id = 2;
      delete from "neap x""y"."A b;" where id = 3;
      alter table "neap x""y"."A b;" drop column big, add column z int]])
    local document = p:json { "restore", backup.id, "--table", [[neap x"y.A b;]] }
    assert.same({ 300, [["neap x""y"."A b;"]] }, { document.rows, document.table })
    local found = p:value(("select side, id, c from (%s) x order by 1, 2"):format(
      document.compare))
    assert.equal("backup|2|red\nbackup|3|red\nnow|2|green", found)
    assert.equal("300", p:value("select count(*) from " .. document.restored
      .. " where length(big) >= 5000"))
    local again = p:json({ "restore", backup.id, "--table", [["neap x""y"."A b;"]] }, 2)
    assert.equal("restore.exists", again.error.code)
    p:query(document.drop)
    local wrong = p:json({ "restore", backup.id, "--table", "public.tt" }, 2)
    assert.equal("backup.unknown", wrong.error.code)
    assert.equal("Did you mean public.t?", wrong.error.hint)
    p:query "drop table t"
    local gone = p:json { "restore", backup.id, "--table", "public.t" }
    assert.equal("0", p:value("select count(*) from (" .. gone.compare .. ") x"))
    p:json { "restore", backup.id, "--table", "public.none" }
    p:expect "audit verify"
  end)

  it("takes a database whose name needs quotes, by a role that is no superuser", function()
    local name = [[neap x"y]]
    e2e.psql("postgres", "create role plain login createdb in role pg_signal_backend")
    e2e.psql("postgres", [[create database "neap x""y" owner plain]])
    local p = e2e.project { database = "neap%20x%22y" }
    p:query [[create table t (id int); insert into t values (1); alter table t owner to plain]]
    p.env.DATABASE_URL = p.url:gsub("user=postgres", "user=plain")
    create(p)
    p:query "insert into t values (2)"
    p:expect("restore latest --into other")
    assert.equal("1", e2e.psql("other", "select count(*) from t"))
    p:expect { "restore", "latest", "--swap", "--reason", "x", "--accept-data-loss", "--confirm",
      name }
    assert.equal("1|plain", p:value [[select count(*), (select tableowner from pg_tables
      where tablename = 't') from t]])
    p:expect "status"
    e2e.psql("postgres", "drop database other")
  end)

  it("keeps the password out of ps and of what it leaves behind", function()
    local p = changed_since()
    p:query "create table big as select md5(i::text) a from generate_series(1, 200000) i"
    create(p)
    local secret = [[p w"'%s\%41]]
    local run = p:start(swap(p), { env = { PGPASSWORD = secret } })
    local seen
    assert(process.await(20, function()
      local ps = process.capture "ps -eo args"
      assert.falsy(ps:find(secret, 1, true))
      seen = seen or ps:find("pg_restore --exit", 1, true)
      return not run:running()
    end))
    local r = run:wait()
    assert.equal(0, r.status, r.err)
    assert.truthy(seen, "pg_restore was not seen")
    local found = process.capture(("grep -rlF -e %s %s %s || :"):format(process.quote(secret),
      process.quote(p.state), process.quote(p.temp)))
    assert.equal("", found)
  end)

  it("refuses a superuser on a protected environment, unless it is named for restores", function()
    local p = changed_since()
    p:query [[create role guarded login; grant all on all tables in schema public to guarded]]
    p:write("neap.lua", ([[return { environments = { live = { url = %q, protected = true,
      gates = {} } } }]]):format(p.url))
    local r = p:json({ "-e", "live", "restore", "latest", "--into", "x" }, 2)
    assert.equal("backup.unknown", r.error.code) -- of another environment
    local id = p:json "backup list".backups[1].id
    r = p:json({ "-e", "live", "restore", id, "--into", "x" }, 10)
    assert.equal("policy.refused", r.error.code)
    assert.truthy(r.error.hint:find("RESTORE_URL", 1, true), r.error.hint)
    p:write("neap.lua", ([[return { environments = { live = { url = %q, restore = %q,
      protected = true, gates = {} } } }]]):format((p.url:gsub("postgres$", "guarded")), p.url))
    p:expect { "-e", "live", "restore", id, "--into", "x" }
    e2e.psql("postgres", "drop database x")
  end)

  it("survives kills at any instant, and a second run finishes", function()
    local p = changed_since()
    for i = 1, 8 do
      local run = p:start(swap(p))
      process.await(0.03 + i * 0.09, function() return not run:running() end)
      await_dead(run)
      local now
      assert(process.await(10, function()
        local ok, text = pcall(rows, p)
        now = ok and text
        return now
      end))
      assert.truthy(now == OLD or now == NEW, now)
      if now == NEW then
        break
      end
    end
    if rows(p) == OLD then
      local r = p:expect(resume(p))
      if rows(p) == OLD then
        assert.truthy(r.out:find("the one it always was", 1, true), r.out)
        p:expect(swap(p))
      end
    else
      p:expect "restore --resume"
    end
    assert.equal(NEW, rows(p))
    p:expect "restore --resume"
    assert.equal("", databases "^neap_(copy|restore)_")
    p:expect "audit verify"
    p:expect "up"
  end)
end)
