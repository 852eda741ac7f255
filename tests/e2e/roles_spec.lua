-- SPDX-License-Identifier: MIT
--
-- neap under database roles: made by the very text that `neap help roles` prints,
-- scripts as neap_migrator, the bookkeeping as neap_host. What a script cannot do
-- then, what a reader can, and that a row which neap did not write is found.
local e2e = require "harness"

local function has(text, part)
  assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

local function lacks(text, part)
  assert.falsy(text:find(part, 1, true), ("%q is in:\n%s"):format(part, text))
end

local function as(p, role)
  return (p.url:gsub("user=postgres", "user=" .. role))
end

-- Runs the printed SQL as it is piped into psql.
local function set_up(p, ...)
  p:write("roles.sql", p:expect({ "help", "roles" }).out)
  local r = e2e.process.run({ e2e.cluster().bin .. "/psql", "-X", "-q", "-d", p.url, "-f",
    p:path "roles.sql", ... }, p.temp .. "/roles", { cwd = "/", env = { PATH = os.getenv "PATH" } })
  assert.equal(0, r.status, r.err)
  return r
end

local function use_roles(p)
  p.env.DATABASE_URL = as(p, "neap_migrator")
  p.env.NEAP_CONTROL_URL = as(p, "neap_host")
end

local function project()
  local p = e2e.project()
  set_up(p)
  use_roles(p)
  return p
end

local index = [=[
return migration {
  summary = "An index without stopping anybody", transaction = false,
  steps = {
    { name = "index",
      up = function(db) db:exec "create index concurrently a_id on a (id)" end,
      verify = function(_, expect) expect.index("public.a_id", { valid = true }) end,
      down = function(db) db:exec "drop index concurrently a_id" end },
    { name = "table",
      up = function(db) db:exec "create table two (id int)" %s end,
      verify = function(_, expect) expect.table "public.two" end,
      down = function(db) db:exec "drop table if exists two" end },
  },
}
]=]

-- One hostile statement among honest ones.
local function attack(sql)
  return ([=[
return migration {
  summary = "not what it says",
  up = function(db)
    db:exec "create table a (id bigint primary key)"
    db:exec [[%s]]
  end,
  verify = function(_, expect) expect.table "public.a" end,
  down = function(db) db:exec "drop table a" end,
}
]=]):format(sql)
end

local function record(id, attempt, held)
  return ("select neap.record('%s', '\\x00', '%s', 'b', 'apply', null, null, null, null, null,"
    .. " null, null, 0, %s, pg_current_xact_id()::text, false, '{}', '{}', '{}')"):format(
    attempt or "11111111-2222-4333-8444-555555555555", id, held or 1)
end

local forge = [[
  insert into neap.history (attempt, id, name, action, exact_hash, token_hash, run_id, xid,
    system_identifier)
  values (gen_random_uuid(), '%s', '%s', '%s', '\x00', '\x00', 'a-run', '1', '1')]]

describe("neap help roles", function()
  after_each(e2e.clean)

  it("is SQL that psql takes, again and again, and that grants no more than it says", function()
    local p = e2e.project()
    local function state()
      return p:value [[
        select string_agg(x, E'\n' order by x) from (
          select c.relname || ' ' || c.relowner::regrole || ' ' || coalesce(c.relacl::text, '')
            from pg_class c where c.relnamespace = 'neap'::regnamespace
          union all select p.proname || ' ' || p.proowner::regrole || ' ' || p.proacl::text || ' '
            || p.prosecdef || ' ' || p.proconfig::text from pg_proc p
            where p.pronamespace = 'neap'::regnamespace
          union all select rolname || ' ' || rolcanlogin || rolsuper || rolbypassrls
            || rolcreaterole || rolcreatedb || rolreplication
            || coalesce(rolconfig::text, '') from pg_roles
            where rolname like 'neap\_%') as t (x)]]
    end
    set_up(p)
    local first = state()
    set_up(p)
    assert.equal(first, state())
    has(first, "neap_owner false" .. ("false"):rep(5))
    has(first, "neap_migrator true" .. ("false"):rep(5)
      .. "{lock_timeout=5s,statement_timeout=15min,idle_in_transaction_session_timeout=60s}")
    for _, name in ipairs { "enter", "fence", "record", "record_events" } do
      assert.truthy(first:find(name
        .. " neap_owner [^\n]* true {\"search_path=pg_catalog, pg_temp\"}"), first)
    end
    -- Nobody but the owner may update or delete; nothing is PUBLIC's.
    assert.equal("0", p:value [[
      select count(*) from pg_class c, aclexplode(c.relacl) a
      where c.relnamespace = 'neap'::regnamespace and a.grantee <> 'neap_owner'::regrole
        and (a.grantee = 0 or a.privilege_type in ('DELETE', 'TRUNCATE', 'TRIGGER')
          or (a.privilege_type = 'UPDATE' and c.relname <> 'lease'))]])
    assert.equal("0", p:value [[
      select count(*) from pg_proc p, aclexplode(p.proacl) a
      where p.pronamespace = 'neap'::regnamespace and a.grantee = 0]])
    assert.equal("0", p:value [[
      select count(*) from pg_class c where c.relnamespace = 'neap'::regnamespace
        and has_table_privilege('neap_migrator', c.oid, 'select, insert, update, delete')
        and c.relkind = 'r']])
    assert.equal("f", p:value [[
      select bool_or(pg_has_role(r, 'neap_owner', 'member'))
      from unnest(array['neap_migrator', 'neap_host', 'neap_reader']) r]])
  end)

  it("takes a membership away and hands over what another role installed", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:expect "up"
    set_up(p)
    p:query "grant neap_owner to neap_migrator"
    set_up(p)
    assert.equal("f", p:value "select pg_has_role('neap_migrator', 'neap_owner', 'member')")
    assert.equal("neap_owner", p:value [[
      select distinct tableowner from pg_tables where schemaname = 'neap']])
    use_roles(p)
    p:write_table("0002", "b")
    p:expect "up"
    assert.equal("postgres neap_migrator", p:value [[
      select string_agg(db_user, ' ' order by seq) from neap.history]])
    p:expect "audit verify"
  end)

  it("gives the migrator the schema that is named", function()
    local p = e2e.project()
    p:query "create schema app"
    set_up(p, "-v", "schema=app")
    use_roles(p)
    p:write_sql("0001_a.sql", "create table app.a (id int)", "select true", "drop table app.a")
    p:expect "up"
    assert.equal("f", p:value "select has_schema_privilege('neap_migrator', 'public', 'create')")
  end)
end)

describe("two roles", function()
  after_each(e2e.clean)

  it("apply, undo, go on, repair, and verify the audit", function()
    local p = project()
    p:write_table("0001", "a")
    p:write_sql("0002_b.sql", "create table b (id int)", "select to_regclass('b') is not null",
      "drop table b")
    p:write("migrations/0003_index.lua", index:format "error 'broken'")
    p:expect("up", 9)
    p:write("migrations/0003_index.lua", index:format "")
    p:expect "resume"
    assert.equal("t", p:value "select indisvalid from pg_index where indexrelid = 'a_id'::regclass")
    p:expect "verify"
    p:expect "redo"
    p:expect "down --to 1"
    p:expect { "repair", "0002", "--mark", "applied", "--reason", "by hand" }
    p:expect { "repair", "0002", "--mark", "pending", "--reason", "it is not" }
    p:expect "up"
    p:expect "status --exit-code"
    p:expect "history"
    p:expect "lease show"
    p:expect "doctor"
    p:expect "down --to 0"
    p:expect "up --dry-run"
    p:expect "up"
    p:expect "audit verify"
    assert.equal("neap_migrator", p:value "select distinct db_user from neap.history")
    assert.equal("neap_host", p:value "select distinct registered_by from neap.attempt")
    assert.equal("neap_migrator", p:value [[
      select distinct tableowner from pg_tables where schemaname = 'public']])
    assert.equal("neap_host neap_migrator false", p:value [[
      select distinct (body::json->'data'->>'database_user') || ' '
        || (body::json->'data'->>'work_user') || ' ' || (body::json->'data'->>'superuser')
      from neap.event where body::json->>'event' = 'run.begin'
        and body::json->'data'->>'command' = 'up']])
  end)

  it("share a transaction pooler", function()
    local p = e2e.project { pooled = true }
    set_up(p)
    p:write("neap.lua", ([[return { environments = { pooled = { url = "%s", control = "%s",
      pooler = "transaction", lease_ttl = "3s" } } }]]):format(as(p, "neap_migrator"),
      as(p, "neap_host")))
    for i = 1, 3 do
      p:write_table("000" .. i, "t" .. i)
    end
    p:write_sql("0004_bad.sql", "create table t4 (id int); select 1/0", "select true", "select 1")
    p:expect({ "-e", "pooled", "up" }, 1)
    p:delete "migrations/0004_bad.sql"
    p:expect { "-e", "pooled", "down" }
    p:expect { "-e", "pooled", "up" }
    p:expect { "-e", "pooled", "audit", "verify" }
    assert.equal("neap_migrator neap_host", p:value [[select (select string_agg(distinct db_user,
      ' ') from neap.history) || ' ' || (select string_agg(distinct registered_by, ' ')
      from neap.attempt)]])
    assert.equal("0", p:value [[select count(*) from pg_class where relname = 't4']])
  end)

  it("are backed up through by a role of its own, which reads all and changes nothing", function()
    local p = project()
    p:write_table("0001", "a")
    p:expect "up"
    p:query [[create table mine (id int, owner text); insert into mine values (1, 'x'), (2, 'y');
      alter table mine owner to neap_migrator; alter table mine enable row level security;
      alter table mine force row level security;
      create policy own on mine using (owner = current_user)]]
    local document = p:json("backup create", 11)
    assert.equal("backup.rights", document.error.code)
    has(document.error.hint, "`backup` in the environment")
    p.env.NEAP_BACKUP_URL = as(p, "neap_backup")
    local backup = p:json("backup create").backup
    assert.equal(2, backup.tables["public.mine"].rows)
    has(p:expect("backup verify").out, "is proved")
    p.env.DATABASE_URL, p.env.NEAP_CONTROL_URL = as(p, "neap_backup"), nil
    p.env.PGOPTIONS = "-c default_transaction_read_only=off"
    p:write_table("0002", "b")
    assert.equal("42501", p:json("up", 1).error.sqlstate)
  end)

  it("stand in neap.lua, protected and without a warning", function()
    local p = project()
    p:write_table("0001", "a")
    p.env.DATABASE_URL, p.env.NEAP_CONTROL_URL = nil, nil
    p:write("neap.lua", ([[return { environments = { production = {
      url = %q, control = %q, backup = %q, protected = true } } }]]):format(
      as(p, "neap_migrator"), as(p, "neap_host"), as(p, "neap_backup")))
    local r = p:expect "-e production up"
    lacks(r.err, "superuser")
    has(p:expect("-e production doctor").out,
      "scripts run as neap_migrator and cannot write history; neap_host keeps the books")
    -- The role that runs the scripts counts, whoever keeps the books.
    p:write("neap.lua", ([[return { environments = { production = {
      url = %q, control = %q, protected = true } } }]]):format(p.url, as(p, "neap_host")))
    p:write_table("0002", "b")
    local document = p:json("-e production up", 10)
    assert.equal("policy.refused", document.error.code)
    has(document.error.message, "postgres is a superuser")
    has(document.error.hint, "neap help roles")
    assert.equal("f", p:value "select to_regclass('b') is not null")
  end)

  it("name who is in the way, and end another run's sessions", function()
    local p = project()
    p:write_table("0001", "a")
    p:expect "up"
    p:query "create table mine (id int); alter table mine owner to neap_migrator"
    local blocker = p:session "insert into mine values (1)"
    p:write("migrations/0002_alter.lua", [[
return migration {
  summary = "wait", up = function(db) db:exec "alter table mine add column b int" end,
  verify = function() end, down = irreversible "not needed",
}]])
    local document = p:json("up --lock-budget 1s", 7)
    has(document.error.detail, "select pg_sleep(60)")
    blocker:close()
    p:write("migrations/0002_alter.lua", [[
return migration {
  summary = "wait", up = function(db) db:query "select pg_sleep(50)" end,
  verify = function() end, down = irreversible "not needed", timeout = "60s",
}]])
    local run = p:start "up"
    assert(e2e.process.await(20, function()
      return p:value "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" == "1"
    end), run:err())
    p:expect { "lease", "break", "--terminate", "--reason", "it sleeps" }
    assert.is_true(run:wait(30).status ~= 0)
    assert.equal("1", p:value "select count(*) from neap.history")
  end)

  it("share an announcement's secret with nobody", function()
    local p = project()
    p:write_table("0001", "a")
    p:write("migrations/0002_b.lua", attack "select 1 / 0")
    p:query(("alter database %s set log_statement = 'all'"):format(p.database))
    local r = p:expect({ "up", "--verbose" }, 1)
    -- How many announced secrets a text gives away.
    local function found(text)
      local seen = { "''" }
      for hex in text:gmatch "%f[%x]%x+" do
        if #hex == 64 then
          seen[#seen + 1] = "'\\x" .. hex .. "'"
        end
      end
      assert.is_true(#seen > 2)
      return p:value(("select count(*) from neap.attempt where secret_hash in "
        .. "(select sha256(s::bytea) from unnest(array[%s]) s)"):format(table.concat(seen, ",")))
    end
    assert.equal("2", p:value "select count(*) from neap.attempt")
    assert.equal("0", found(r.err .. r.out .. p:expect({ "audit", "export" }).out
      .. p:value "select string_agg(body, '') from neap.event"))
    -- A server that is told to log parameters logs this one: the SQL has it not.
    local log = e2e.process.read(e2e.cluster().log)
    assert.equal("1", found(log))
    assert.equal("0", found((log:gsub("[^\n]*DETAIL:  parameters:[^\n]*", ""))))
  end)
end)

describe("a script that runs as neap_migrator", function()
  after_each(e2e.clean)

  local cases = {
    { "update neap.history set actor = 'x'", "42501" },
    { "delete from neap.history", "42501" },
    { "truncate neap.history", "42501" },
    { "drop table neap.history", "42501" },
    { "drop schema neap cascade", "42501" },
    { "alter table neap.history disable trigger all", "42501" },
    { "select count(*) from neap.history", "42501" },
    { "select secret_hash from neap.attempt", "42501" },
    { "update neap.event set body = ''", "42501" },
    { "delete from neap.lease", "42501" },
    { "insert into neap.event (run_id, seq, hash, body) values ('x', 1, '', '')", "42501" },
    { "insert into neap.attempt (attempt, secret_hash, run_id, id, action) values "
      .. "(gen_random_uuid(), sha256('\\x00'), 'x', '0002', 'apply')", "42501" },
    { forge:format("0002", "b", "apply"), "42501" },
    { "create function neap.mine() returns int language sql as 'select 1'", "42501" },
    { "create or replace function neap.fence(held int8) returns void language sql as ''", "42501" },
    { "select neap.claim_lease(1, true, '', '', '', '', false, 1000)", "42501" },
    { "select neap.break_lease(1)", "42501" },
    { "set role neap_owner", "42501" },
    { "set local role neap_owner", "42501" },
    { "set session authorization neap_owner", "42501" },
    { "grant neap_owner to neap_migrator", "42501" },
    { "alter role neap_migrator superuser", "42501" },
    { "alter schema neap owner to neap_migrator", "42501" },
    { record "0002", "NP003" },
    { record "0001", "NP003" },
    { "select neap.record_events('11111111-2222-4333-8444-555555555555', '\\x00', '{1}', '{x}', "
      .. "'{x}')", "NP003" },
  }

  it("cannot touch history, nor become who can", function()
    local p = project()
    p:write_table("0002", "b")
    for _, case in ipairs(cases) do
      p:write("migrations/0001_a.lua", attack(case[1]))
      p:query "alter sequence neap.lease_token restart"
      p:query "delete from neap.lease"
      local document = p:json("up", case[2] == "NP003" and 5 or 1)
      assert.equal(case[2], document.error.sqlstate, case[1] .. "\n" .. document.error.message)
      assert.equal(case[2] == "NP003" and "history.forged" or "db.query", document.error.code)
      assert.equal("0 f", p:value [[select count(*) || ' '
        || case when to_regclass('a') is null then 'f' else 't' end from neap.history]])
    end
    p:write_table("0001", "a")
    p:expect "up"
    p:expect "audit verify"
  end)

  it("cannot use its own announcement without the secret", function()
    local p = project()
    p:query "create table hint (attempt uuid, held bigint); grant select on hint to neap_migrator"
    p:write("migrations/0001_a.lua", [[
return migration {
  summary = "told who it is",
  up = function(db)
    db:exec "create table a (id bigint primary key)"
    local rows
    repeat
      db:query "select pg_sleep(0.05)"
      rows = db:query "select attempt::text, held from hint"
    until #rows == 1
    db:exec("select neap.record($1, '\\x00', '0001', 'a', 'apply', null, null, null, null, null,"
      .. " null, null, 0, $2, pg_current_xact_id()::text, false, '{}', '{}', '{}')",
      rows[1].attempt, rows[1].held)
  end,
  verify = function(_, expect) expect.table "public.a" end,
  down = function(db) db:exec "drop table a" end,
}]])
    local run = p:start "up --json"
    assert(e2e.process.await(20, function()
      return p:value "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" == "1"
    end), run:err())
    p:query "insert into hint select a.attempt, l.token from neap.attempt a, neap.lease l"
    local r = run:wait(30)
    assert.equal(5, r.status, r.err)
    assert.equal("history.forged", e2e.decode(r.out).error.code)
    assert.equal("0", p:value "select count(*) from neap.history")
  end)

  it("cannot use one of another run, with the secret", function()
    local p = project()
    p:write("migrations/0001_a.lua", attack "select 1 / 0")
    p:expect("up", 1)
    p:query [[insert into neap.attempt (attempt, secret_hash, run_id, id, action)
      select 'aaaaaaaa-2222-4333-8444-555555555555', sha256('\x00'), run_id, '0002', 'apply'
      from neap.attempt]]
    local held = p:value "select max(token) + 1 from neap.lease"
    p:write("migrations/0001_a.lua",
      attack(record("0002", "aaaaaaaa-2222-4333-8444-555555555555", held)))
    assert.equal("history.forged", p:json("up", 5).error.code)
    assert.equal("0", p:value "select count(*) from neap.history")
  end)
end)

describe("neap_reader", function()
  after_each(e2e.clean)

  it("looks, verifies the audit, and changes nothing", function()
    local p = project()
    p:write_table("0001", "a")
    p:expect "up"
    p:write_table("0002", "b")
    p.env.DATABASE_URL, p.env.NEAP_CONTROL_URL = as(p, "neap_reader"), nil
    assert.equal(1, p:json("status").pending)
    p:expect "history"
    p:expect "verify"
    p:expect "lease show"
    p:expect "audit verify"
    for _, command in ipairs { "up", "down", "redo" } do
      local document = p:json(command, 13)
      assert.equal("target.standby", document.error.code)
      has(document.error.hint, "neap help roles")
    end
    -- Also when it switches the default off: it has no grants.
    p.env.PGOPTIONS = "-c default_transaction_read_only=off"
    local document = p:json("up", 1)
    assert.equal("42501", document.error.sqlstate)
    has(document.error.hint, "neap help roles")
    assert.equal("1", p:value "select count(*) from neap.history")
    assert.equal("f", p:value "select to_regclass('b') is not null")
  end)
end)

describe("what is missing", function()
  after_each(e2e.clean)

  it("is named with the command that mends it", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    p:query [[
      do $$ begin create role neap_host login; exception when duplicate_object then null; end $$;
      do $$ begin
        create role neap_migrator login;
      exception when duplicate_object then null;
      end $$]]
    use_roles(p)
    has(p:json("up", 1).error.hint, "neap help roles | psql -X -d " .. p.database)
    set_up(p)
    -- The migrator alone cannot keep the books.
    p.env.NEAP_CONTROL_URL = nil
    local document = p:json("up", 1)
    assert.equal("42501", document.error.sqlstate)
    has(document.error.hint, "neap_host as `control`")
    use_roles(p)
    p:expect "up"
  end)

  it("is an upgrade: looked at as it is, then made by the same SQL", function()
    local p = project()
    p:write_table("0001", "a")
    p:expect "up"
    p:query [[drop function neap.record; drop function neap.record_events;
      drop function neap.enter; drop function neap.tidy; drop table neap.attempt;
      alter function neap.fence security invoker; alter table neap.lease drop column earlier;
      alter table neap.history drop column timeline, alter column lsn drop default;
      update neap.meta set version = 1]]
    p:write_table("0002", "b")
    assert.equal(1, p:json("status").applied)
    p:expect "audit verify"
    p:expect "up --dry-run"
    assert.equal("history.version", p:json("lease show", 2).error.code)
    local document = p:json("up", 1)
    assert.equal("42501", document.error.sqlstate)
    has(document.error.hint, "upgrades schema neap")
    assert.equal("1", p:value "select version from neap.meta")
    set_up(p)
    assert.equal("3", p:value "select version from neap.meta")
    p:expect "up"
    p:expect "down --to 0"
    p:expect "audit verify"
  end)
end)

describe("a forged row", function()
  after_each(e2e.clean)

  it("is shown, believed by nobody, and settled by repair", function()
    local p = project()
    p:write_table("0001", "a")
    p:write_table("0002", "b")
    p:expect "up 1"
    p:expect "status"
    p:query(forge:format("0002", "b", "apply"))
    assert.equal("forged", p:json("status").migrations[2].problem)
    for _, command in ipairs { "up", "down" } do
      local document = p:json(command, 5)
      assert.equal("history.forged", document.error.code)
      has(document.error.hint, "neap repair 0002")
    end
    local document = p:json("audit verify", 1)
    assert.equal(1, #document.findings)
    assert.equal("history", document.findings[1].where)
    has(document.findings[1].message, "role postgres wrote it")
    p:expect { "repair", "0002", "--mark", "pending", "--reason", "INC-7" }
    p:expect "up"
    assert.equal("t", p:value "select to_regclass('b') is not null")
    -- It stays a finding: it is history too.
    assert.equal(1, #p:json("audit verify", 1).findings)
  end)

  it("is found also where it says that something was undone", function()
    local p = project()
    p:write_table("0001", "a")
    p:expect "up"
    p:query(forge:format("0001", "a", "undo"))
    assert.equal("forged", p:json("status").migrations[1].problem)
    assert.equal("history.forged", p:json("up", 5).error.code)
  end)
end)

describe("a superuser", function()
  after_each(e2e.clean)

  it("is warned about, recorded, and silenced by allow_superuser alone", function()
    local p = e2e.project()
    p:write_table("0001", "a")
    local r = p:expect "up"
    has(r.err, "postgres is a superuser")
    has(r.err, "neap help roles")
    lacks(p:expect("up").err, "superuser")
    assert.equal("true", p:value [[select body::json->'data'->>'superuser' from neap.event
      where body::json->>'event' = 'run.begin']])
    p:write("neap.lua", ("return { environments = { dev = { url = %q, allow_superuser = true } } }")
      :format(p.url))
    lacks(p:expect("-e dev down").err, "superuser")
  end)
end)
