-- SPDX-License-Identifier: MIT
--
-- Rehearsals on real copies: what is measured, what is found, and that nothing of the
-- target is touched and nothing is left behind.
local e2e = require "harness"

local process = e2e.process
local quote = process.quote

local function rehearse(p, more, status)
  local document = p:json("rehearse " .. (more or ""), status)
  return document.rehearsal, document
end

local function find(list, key, value)
  for _, item in ipairs(list) do
    if item[key] == value then
      return item
    end
  end
  error(("no %s %s"):format(key, value), 2)
end

local function names(list)
  local found = {}
  for _, item in ipairs(list) do
    found[#found + 1] = item.relation
  end
  table.sort(found)
  return table.concat(found, " ")
end

local function lock(list, relation)
  return find(list, "relation", relation)
end

-- Two rows for each number; how the target looks, to be compared with later.
local function fill(p, count)
  p:query(([[create table big as select i, md5(i::text) t from generate_series(1, %d) i;
    create index big_t on big (t); create table other (id int); analyze]]):format(count))
end

local function state_of(p)
  return p:value [[select (select string_agg(relname || relfilenode, ' ' order by oid)
    from pg_class where relnamespace = 'public'::regnamespace) || (select count(*) from pg_class)]]
end

-- Processes that name something of the project's, and what a rehearsal keeps for itself.
local function left(p)
  return process.capture("ps -eo pid,args | grep -F " .. quote(p.temp) .. " | grep -v grep || :")
    .. process.capture(("ls %s/rehearsals 2>/dev/null || :"):format(quote(p.state)))
end

local function scratch_of(p)
  local dir = p.temp .. "/s"
  p.env.NEAP_SCRATCH_DIR = dir
  assert(os.execute("chmod 711 " .. quote(p.temp))) -- the server's user passes through
  return dir
end

describe("neap rehearse", function()
  after_each(e2e.clean)

  it("measures what each statement takes, locks, rewrites and reads", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    fill(p, 50000)
    p:write_sql("0002_big.sql", [[alter table big alter i type bigint;
alter table other add column n int default 3;
create table fresh (id int);
lock table fresh in access exclusive mode;
select count(*) from big;
update big set i = i + 1 where i < 10]], "select true",
      "drop table fresh; alter table other drop column n; alter table big alter i type int")
    p:write("migrations/0003_steps.lua", [=[
return migration {
  summary = "x", transaction = false,
  steps = {
    { name = "index", up = function(db) db:exec "create index concurrently big_i on big (i)" end,
      verify = function(_, expect) expect.index "public.big_i" end,
      down = function(db) db:exec "drop index concurrently big_i" end },
    { name = "column", up = function(db) db:exec "alter table a add column z int" end,
      verify = function(_, expect) expect.column("public.a", "z") end,
      down = function(db) db:exec "alter table a drop column z" end },
  },
}
]=])
    p:expect "backup create"
    local before = state_of(p)
    local r = rehearse(p)
    assert.equal(before, state_of(p))
    assert.same({ true, true, false }, { r.ok, r.rows, r.proved })
    local big, steps = find(r.units, "id", "0002"), find(r.units, "id", "0003")
    local alter = find(big.statements, "line", 5)
    assert.same({ "up", "ALTER TABLE", "migrations/0002_big.sql", "public.big public.big_t" },
      { alter.part, alter.verb, alter.file, names(alter.rewrites) })
    assert.equal("reads and writes", lock(alter.locks, "public.big").blocks)
    assert.equal("AccessExclusiveLock", lock(big.locks, "public.other").mode)
    assert.truthy(alter.wal_bytes > 1e6 and big.wal_bytes > alter.wal_bytes, alter.wal_bytes)
    assert.falsy(names(big.locks):find("fresh", 1, true))
    local column = find(big.statements, "line", 6)
    assert.same({ "", "" }, { names(column.rewrites), names(column.scans) })
    assert.equal("public.big", names(find(big.statements, "line", 9).scans))
    assert.equal(9, find(big.statements, "line", 10).rows)
    local held = lock(find(steps.statements, "verb", "ALTER TABLE").locks, "public.a")
    assert.equal("reads and writes", held.blocks)
    assert.equal("schema changes", lock(steps.locks, "public.big").blocks)
    for _, unit in ipairs(r.units) do
      assert.is_true(unit.undone)
      assert.truthy(unit.predicted_ms and unit.up_ms and unit.down_ms and unit.verify_ms)
      assert.equal(64, #unit.fingerprint_before)
      assert.not_equal(unit.fingerprint_before, unit.fingerprint_after)
    end
    p:expect "audit verify"
    local events = p:json("audit show").events
    local recorded = find(events, "event", "rehearsal.end").data
    assert.same({ true, 2, alter.text }, { recorded.ok, #recorded.units,
      find(recorded.units[1].statements, "line", 5).text })
    local text = p:expect "rehearse"
    for _, part in ipairs { "reads and writes of public.big", "each down led back",
      "rewrites public.big" } do
      assert.truthy(text.out:find(part, 1, true), text.out)
    end
    assert.truthy(text.err:find("never proved", 1, true), text.err)
  end)

  it("predicts by how much larger the tables are on the target", function()
    local p = e2e.project()
    fill(p, 20000)
    p:write_sql("0001_scan.sql", "alter table big add constraint c check (i > 0);\nselect 1",
      "select true", "alter table big drop constraint c")
    p:expect "backup create"
    p:query "insert into big select i, md5(i::text) from generate_series(1, 180000) i; analyze big"
    local r = rehearse(p)
    local check = find(r.units[1].statements, "line", 5)
    local factor = check.scans[1].bytes / check.scans[1].copy_bytes
    assert.truthy(factor > 9 and factor < 11, factor)
    assert.truthy(math.abs(check.predicted_ms / check.duration_ms - factor) < 0.001)
    local select = find(r.units[1].statements, "line", 6)
    assert.equal(select.duration_ms, select.predicted_ms)
  end)

  it("predicts no times from the live schema, and says what is read and rewritten there", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    fill(p, 20000)
    p:write_sql("0002_big.sql", "alter table big alter i type bigint", "select true",
      "alter table big alter i type int")
    local before = state_of(p)
    local r = rehearse(p, "--from live-schema")
    assert.equal(before, state_of(p))
    assert.same({ "live-schema", false, 1 }, { r.from, r.rows, #r.units })
    assert.is_nil(r.units[1].predicted_ms)
    local rewrite = lock(r.units[1].statements[1].rewrites, "public.big")
    assert.truthy(rewrite.bytes > 1e6 and rewrite.copy_bytes == 0, rewrite.bytes)
    assert.equal("", left(p))
  end)

  it("finds a down that does not bring the schema back, and shows the difference", function()
    local p = e2e.project()
    p:query [[create table t (id int primary key,
        n int default 1 constraint positive check (n > 0));
      create function f() returns trigger language plpgsql as 'begin return new; end';
      create role rehearsed; grant select on t to rehearsed]]
    local cases = {
      { "alter table t add column extra int", "select 1", "+ column public.t.extra" },
      { "create trigger left_over before insert on t for each row execute function f()",
        "select 1", "left_over" },
      { "alter table t alter n set default 2", "alter table t alter n set default 3", "default 3" },
      { "alter table t drop constraint positive",
        "alter table t add constraint renamed check (n > 0)", "positive" },
      { "revoke select on t from rehearsed", "grant insert on t to rehearsed", "INSERT" },
      { "drop table t", "create table t (id int primary key)", "- column public.t.n" },
    }
    for i, case in ipairs(cases) do
      p:write_sql(("000%d_wrong.sql"):format(i), case[1], "select true", case[2])
    end
    for i, case in ipairs(cases) do
      local r, document = rehearse(p, ("--from live-schema --only %d"):format(i), 10)
      assert.equal("rehearsal.down", document.error.code)
      assert.truthy(r.units[1].down_diff:find(case[3], 1, true), r.units[1].down_diff)
      assert.truthy(document.error.detail:find(case[3], 1, true), document.error.detail)
      assert.is_false(r.ok)
    end
    p:query "drop owned by rehearsed; drop role rehearsed"
  end)

  it("tells a script that fails with its own words and place", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write_sql("0002_up.sql", "create table b (id int);\nselect * from nowhere")
    p:write_sql("0003_verify.sql", "select 1", "select false")
    p:write_sql("0004_down.sql", "select 1", "select true", "drop table gone")
    p:write_sql("0005_again.sql", "create sequence s", "select true", "select 1/0")
    local r, document = rehearse(p, "--from live-schema", 10)
    assert.same({ "rehearsal.failed", "migrations/0002_up.sql", 6, "42P01" }, { document.error.code,
      document.error.file, document.error.line, document.error.sqlstate })
    assert.truthy(r.units[2].statements[2].failed)
    assert.equal("0", p:value "select count(*) from pg_class where relname in ('a', 'b')")
    for id, says in pairs { ["3"] = "verify", ["4"] = "gone", ["5"] = "division by zero" } do
      local _, other = rehearse(p, "--from live-schema --only " .. id, 10)
      assert.equal("rehearsal.failed", other.error.code)
      assert.truthy(other.error.message:find(says, 1, true), other.error.message)
    end
  end)

  it("goes on behind a failure that the script survives", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    p:write("migrations/0002_survives.lua", [=[
return migration {
  summary = "x",
  up = function(db)
    local kept, err = db:savepoint(function() db:exec "insert into nowhere values (1)" end)
    assert(not kept and err.sqlstate == "42P01")
    db:savepoint(function()
      db:exec "insert into a values (7)"
      pcall(db.exec, db, "insert into a values ('seven')")
    end)
    db:exec "create table b (id int)"
  end,
  verify = function(_, expect) expect.table "public.b" end,
  down = function(db) db:exec "drop table b" end,
}
]=])
    p:expect "backup create"
    local r = rehearse(p)
    assert.is_true(r.ok)
    assert.equal("CREATE TABLE", find(r.units[1].statements, "line", 10).verb)
  end)

  it("shows what has no way back, and undoes what comes after it", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write("migrations/0002_final.lua", [[return migration { summary = "x",
      up = function(db) db:exec "create table b (id int)" end,
      verify = unverified "nothing to see", down = irreversible "it is gone" }]])
    p:write_table("0003", "c")
    local r = rehearse(p, "--from live-schema")
    assert.same({ false, false, true }, { r.units[1].undone, r.units[2].undone, r.units[3].undone })
    assert.equal("it is gone", r.units[2].irreversible)
    assert.equal("nothing to see", r.units[2].unverified)
    local text = p:expect("rehearse --from live-schema").out
    assert.truthy(text:find("0002 has no way back: it is gone", 1, true), text)
  end)

  it("refuses a copy of another state, and says which migration", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    p:expect "backup create"
    p:expect "up 1"
    local _, document = rehearse(p, "", 11)
    assert.equal("rehearsal.copy", document.error.code)
    assert.truthy(document.error.message:find("0001 is applied on the target and pending", 1, true))
    assert.equal(1, #rehearse(p, "--from live-schema").units)
    p:expect "up"
    assert.equal("nothing", p:json("rehearse").status)
    p:expect("rehearse --from nowhere", 0)
  end)

  it("runs scripts as who runs them on the target, with no more rights", function()
    local p = e2e.project()
    p:query(([[create role rehearse_owner; create role rehearse_login login;
      grant rehearse_owner to rehearse_login;
      alter role rehearse_login set search_path = app, public;
      create schema app authorization rehearse_owner;
      create table secret (id int);
      grant create on database %s to rehearse_login]]):format(p.database))
    p.env.DATABASE_URL = p.url:gsub("user=postgres", "user=rehearse_login")
    p:write_sql("0001_owned.sql", "create table t (id int);\nselect 1",
      "select to_regclass('app.t') is not null", "drop table app.t")
    local r = rehearse(p, "--from live-schema", 11) -- it may not read secret, and so not dump it
    assert.is_nil(r)
    p:query "grant pg_read_all_data to rehearse_login"
    assert.is_true(rehearse(p, "--from live-schema").ok)
    p:write_sql("0002_right.sql", "alter table public.secret add column n int")
    local _, document = rehearse(p, "--from live-schema", 10)
    assert.same({ "rehearsal.failed", "42501" }, { document.error.code, document.error.sqlstate })
    p:query [[drop owned by rehearse_login; drop schema app cascade;
      drop role rehearse_login, rehearse_owner]]
  end)

  it("rehearses beside the target, and touches nothing that both share", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    fill(p, 1000)
    p:write_sql("0002_big.sql", "alter table big alter i type bigint", "select true",
      "alter table big alter i type int")
    local shared = {
      "create role rehearse_shared", "do $$ begin create role rehearse_shared; end $$",
      ("alter database %s set work_mem = '5MB'"):format(p.database),
      ("grant connect on database %s to pg_monitor"):format(p.database),
      ("comment on database %s is 'x'"):format(p.database),
      "grant pg_monitor to pg_read_all_data", "alter role postgres set work_mem = '5MB'",
    }
    for i, sql in ipairs(shared) do
      p:write_sql(("000%d_shared.sql"):format(i + 2), sql)
    end
    local function facts()
      return p:value [[select (select string_agg(d::text, ' ' order by d.oid) from pg_database d
          where datname not like 'neap%') || (select string_agg(a::text, ' ' order by a.oid)
        from pg_authid a) || (select count(*) from pg_auth_members)
        || coalesce((select string_agg(s::text, ' ') from pg_db_role_setting s), '')]]
    end
    local before = facts()
    p:expect "backup create"
    assert.is_true(rehearse(p, "--only 2 --on target").ok)
    local beside = "--only %d --on target --from live-schema"
    for i, sql in ipairs(shared) do
      local _, refused = rehearse(p, beside:format(i + 2), 10)
      assert.same({ "policy.refused", 5 }, { refused.error.code, refused.error.line }, sql)
      assert.equal(before, facts(), sql)
    end
    p:delete "migrations/0003_shared.sql"
    p:write("migrations/0003_shared.lua", [[return migration { summary = "x", transaction = false,
      steps = { { name = "one",
        up = function(db) db:exec "do 'begin create role rehearsed; end'" end,
        verify = unverified "x", down = irreversible "x" } } }]])
    local _, document = rehearse(p, beside:format(3), 10)
    local why = document.error.message -- of a step, which was to be undone
    assert.truthy(why:find("DO changes what the copy shares with the target", 1, true), why)
    assert.equal(before, facts())
    p:expect("rehearse --keep --on target", 2)
  end)

  it("keeps the copy when asked, until scratch is stopped", function()
    local p = e2e.project()
    local scratch = scratch_of(p)
    p:write_table("0001", "a")
    local _, document = rehearse(p, "--from live-schema --keep")
    local psql = ("%s/psql -XAtq -d %s -c %s"):format(e2e.cluster().bin, quote(document.copy),
      quote "select count(*) from a")
    assert.equal("0", process.capture(psql))
    assert.is_true(rehearse(p, "--from live-schema").ok) -- which sweeps, and not this one
    assert.equal("0", process.capture(psql))
    assert.equal("", process.capture(("ls %s/rehearsals"):format(quote(p.state))))
    assert.equal(1, p:json("scratch stop").copies)
    assert.equal("", process.capture(("ls -d %s/pg/p-* %s/p-* 2>/dev/null || :"):format(scratch,
      scratch)))
    local r = p:expect "rehearse --from live-schema --keep"
    assert.truthy(r.out:find("the copy stays for a day: psql 'postgresql:///", 1, true), r.out)
    local path = process.capture(("ls %s/p-*.lock"):format(scratch))
    local text = process.read(path)
    process.write(path, (text:gsub("until %d+", "until 1")))
    assert.is_true(rehearse(p, "--from live-schema").ok)
    assert.equal("", left(p))
  end)

  it("runs under an observer what runs without", function()
    local p = e2e.project()
    p:write("migrations/0001_all.lua", [=[return migration { summary = "x",
      up = function(db)
        db:exec "create table t (id int primary key, x text)"
        db:copy_in("copy t (id, x) from stdin", { { 1, "a" }, { 2, "b" }, { 3, "c" } })
        local ok, err = db:savepoint(function() db:exec "insert into t values (1, 'again')" end)
        assert(not ok and err.sqlstate == "23505")
        for row in db:rows "select id from t order by id" do
          db:exec("update t set x = x || $1 where id = $2", "!", row.id)
        end
        assert(db:exec "update t set x = x || '?'" == 3)
      end,
      verify = function(db, expect)
        expect.equal(db:value "select string_agg(x, ' ' order by id) from t", "a!? b!? c!?")
      end,
      down = function(db) db:exec "drop table t" end }]=])
    p:write("migrations/0002_steps.lua", [=[return migration { summary = "x", transaction = false,
      steps = {
        { name = "two sessions",
          up = function(db)
            db:exec "alter table t add column n int"
            local other <close> = db:connect()
            other:exec "update t set n = id"
            db:exec "vacuum full t"
            assert(not pcall(db.exec, db, "alter table t add column n int"))
          end,
          verify = function(db, expect)
            expect.equal(db:value "select sum(n) from t", 6)
          end,
          down = function(db) db:exec "alter table t drop column n" end },
      } }]=])
    local _, rehearsed = rehearse(p, "--from live-schema", 10)
    local up = p:json("up", 1)
    assert.same({ "42701", 9 }, { up.error.sqlstate, up.error.line })
    assert.same({ "42701", 9 }, { rehearsed.error.sqlstate, rehearsed.error.line })
    p:write("migrations/0002_steps.lua", (p:read "migrations/0002_steps.lua":gsub(
      " +assert%(not pcall[^\n]+\n", "")))
    p:expect "down"
    local units = rehearse(p, "--from live-schema").units
    assert.equal(3, find(units[1].statements, "verb", "COPY").rows)
    local vacuum = find(units[2].statements, "verb", "VACUUM")
    assert.equal("public.t public.t_pkey", names(vacuum.rewrites))
  end)

  it("goes on with what stands halfway, and does not undo it", function()
    local p = e2e.project()
    p:write("migrations/0001_half.lua", [=[return migration { summary = "x", transaction = false,
      steps = {
        { name = "one", up = function(db) db:exec "create table t (id int)" end,
          verify = function(_, expect) expect.table "public.t" end,
          down = function(db) db:exec "drop table t" end },
        { name = "two", up = function(db) db:exec "alter table t add column n int"; error "no" end,
          verify = function(_, expect) expect.column("public.t", "n") end,
          down = function(db) db:exec "alter table t drop column n" end },
      } }]=])
    p:expect("up", 9)
    rehearse(p, "--from live-schema", 10)
    local script = p:read "migrations/0001_half.lua"
    p:write("migrations/0001_half.lua", (script:gsub('; error "no"', "")))
    p:write_table("0002", "b")
    local units = rehearse(p, "--from live-schema").units
    assert.same({ false, true }, { units[1].undone, units[2].undone })
    p:expect "resume"
  end)

  it("says which role or extension the copy lacks, and has no user mappings", function()
    local p = e2e.project()
    p:write_sql("0001_mapped.sql", "select 1",
      "select count(*) = 0 from pg_user_mappings;\nselect count(*) = 1 from pg_foreign_server")
    p:query [[create extension postgres_fdw;
      create server far foreign data wrapper postgres_fdw options (host '/nowhere');
      create user mapping for postgres server far options (password 'secret')]]
    assert.is_true(rehearse(p, "--from live-schema").ok)
    p:query "create role rehearse_gone; create table r as select 'rehearse_gone'::regrole r"
    p:expect "backup create"
    p:query "drop role rehearse_gone"
    local _, document = rehearse(p, "", 11)
    assert.equal("backup.role", document.error.code)
    p:query "update pg_extension set extname = 'nowhere' where extname = 'plpgsql'"
    _, document = rehearse(p, "--from live-schema", 11)
    assert.equal("backup.extension", document.error.code)
  end)

  it("looks at a loop's statements a few times and counts them all", function()
    local p = e2e.project()
    p:write("migrations/0001_loop.lua", [[return migration { summary = "x",
      up = function(db)
        db:exec "create table t (id int)"
        for i = 1, 3000 do db:exec("insert into t values ($1)", i) end
      end,
      verify = function(db, expect) expect.equal(db:value "select count(*) from t", 3000) end,
      down = function(db) db:exec "drop table t" end }]])
    local r = rehearse(p, "--from live-schema")
    local insert = find(r.units[1].statements, "verb", "INSERT")
    assert.same({ 3000, 3000 }, { insert.count, insert.rows })
  end)

  it("is killed without a trace, and the next one sweeps", function()
    local p = e2e.project()
    local scratch = scratch_of(p)
    fill(p, 20000)
    p:write_sql("0001_slow.sql", "alter table big alter i type bigint;\nselect pg_sleep(0.3)", nil,
      "alter table big alter i type int")
    p:expect "backup create"
    for i = 1, 10 do -- instants from the dump to the way back
      local run = p:start(i % 2 == 0 and "rehearse" or "rehearse --from live-schema")
      process.await(i * 0.13, function() return false end)
      run:signal "KILL"
      run:wait()
    end
    assert.is_true(rehearse(p).ok)
    local text
    assert(process.await(20, function()
      text = left(p)
      return text == ""
    end), text)
    assert.equal("", process.capture(("ls -d %s/pg/p-* %s/p-* 2>/dev/null || :"):format(scratch,
      scratch)))
    p:expect "audit verify"
  end)

  it("ends with a script's deadline and at a signal, and leaves nothing", function()
    local p = e2e.project()
    scratch_of(p)
    p:write_sql("0001_slow.sql", "select pg_sleep(60)")
    local _, document = rehearse(p, "--from live-schema --timeout 500ms", 10)
    assert.equal("rehearsal.failed", document.error.code)
    assert.truthy(document.error.message:find("deadline", 1, true), document.error.message)
    local run = p:start "rehearse --from live-schema --json"
    assert(process.await(20, function()
      return process.capture(("ls -d %s/rehearsals/*-journal.part/state 2>/dev/null || :"):format(
        p.state)) ~= ""
    end))
    run:signal "TERM"
    local r = run:wait(20)
    assert.equal(143, r.status, r.err)
    assert.equal("run.terminated", e2e.decode(r.out).error.code)
    assert.equal("", left(p))
  end)
end)
