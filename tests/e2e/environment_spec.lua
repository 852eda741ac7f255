-- SPDX-License-Identifier: MIT
--
-- Which target, and whether it is the right one: environments, pins, standby,
-- roles, and what is said when it cannot be reached. Nothing is sent to a target
-- that is refused, and no password is ever shown.
local e2e = require "harness"
local standby = require "standby"

local process = e2e.process
local canary = "nEaP-CaNaRy-pAsSwOrD"

local function has(text, part)
  assert.truthy(text:find(part, 1, true), text)
end

local function lacks(text, part)
  assert.is_nil(text:find(part, 1, true), text)
end

describe("the target", function()
  local p

  before_each(function()
    p = e2e.project()
    p:write_table("0001", "a")
  end)
  after_each(e2e.clean)

  -- neap.lua with one environment: { url = …, rules }.
  local function environment(rules, name)
    p:write("neap.lua", ("return { environments = { %s = { url = %q, %s } } }")
      :format(name or "production", p.url, rules))
    p.env.DATABASE_URL = nil
  end

  local function untouched()
    return p:value "select to_regclass('neap.history') is null and to_regclass('a') is null" == "t"
  end

  describe("is chosen", function()
    it("by -e, then NEAP_ENV, then DATABASE_URL, then the default", function()
      local other, third = e2e.database(), e2e.database()
      p:write("neap.lua", ([[
return {
  environments = { one = { url = %q }, two = { url = env "TWO_URL" } },
  default = "one",
}]]):format(p.url))
      p.env.TWO_URL = e2e.url(other)
      p.env.DATABASE_URL = nil
      assert.equal(p.database, p:json("status").database)
      p.env.DATABASE_URL = e2e.url(third)
      assert.equal(third, p:json("status").database)
      assert.equal("DATABASE_URL", p:json("status").environment)
      p.env.NEAP_ENV = "two"
      assert.equal(other, p:json("status").database)
      assert.equal(p.database, p:json("-e one status").database)
      assert.equal("one", p:json("status -e one").environment)
    end)

    it("by libpq's own variables", function()
      p.env.DATABASE_URL = nil
      p.env.PGHOST = e2e.cluster().socket
      p.env.PGDATABASE = p.database
      p.env.PGUSER = "postgres"
      assert.equal(p.database, p:json("up").database)
      assert.equal("1", p:value "select count(*) from neap.history")
    end)

    it("by a service file", function()
      p:write("services.conf", ("[shop]\nhost=%s\ndbname=%s\nuser=postgres\n"):format(
        e2e.cluster().socket, p.database))
      p.env.PGSERVICEFILE = p:path "services.conf"
      p.env.DATABASE_URL = "service=shop"
      assert.equal(p.database, p:json("up").database)
    end)

    it("by nothing: the error shows both ways", function()
      p.env.DATABASE_URL = nil
      for _, command in ipairs { "status", "up", "down", "verify", "history", "lease show" } do
        local r = p:expect(command, 2)
        has(r.err, "-e ENV")
        has(r.err, "DATABASE_URL=")
      end
    end)

    it("by a name that exists, else the nearest is offered", function()
      environment("", "staging")
      local r = p:expect("-e stagin up", 2)
      has(r.err, "`stagin`")
      has(r.err, "-e staging")
      has(p:expect("-e nothing_like_it up", 2).err, "scratch, staging")
      has(p:expect("up", 2, { env = { NEAP_ENV = "stagin" } }).err, "NEAP_ENV")
      assert.is_true(untouched())
    end)

    it("but not by an environment whose variable is not set", function()
      p:write("neap.lua", 'return { environments = { one = { url = env "NOT_SET_URL" } } }')
      local r = p:expect("-e one up", 2)
      has(r.err, "environment one has no url")
      assert.is_true(untouched())
    end)

    -- libpq would take its defaults for an empty one: some other database.
    it("nor by one whose variable is empty, or that is empty itself", function()
      p:write("neap.lua", 'return { environments = { one = { url = env "EMPTY_URL" } } }')
      local r = p:expect("-e one up", 2, { env = { EMPTY_URL = "" } })
      has(r.err, "environment one has no url")
      has(r.err, "Set EMPTY_URL")
      for _, line in ipairs { 'url = ""', 'url = " "', 'url = "service=x", role = ""' } do
        p:write("neap.lua", ("return { environments = { one = { %s } } }"):format(line))
        has(p:expect("-e one up", 2).err, "must not be empty")
      end
      p:delete "neap.lua"
      r = p:expect("up", 2, { env = { DATABASE_URL = " " } })
      has(r.err, "DATABASE_URL")
      assert.is_true(untouched())
    end)
  end)

  describe("is compared with its pin", function()
    it("of the server", function()
      local identity = p:value "select system_identifier from pg_control_system()"
      environment(("system_identifier = %q"):format(identity))
      p:expect "-e production up"
      p:expect "-e production down"
      p:query "drop schema neap cascade"
      environment 'system_identifier = "7000000000000000001"'
      local r = p:expect("-e production up", 12)
      has(r.err, "pinned to server 7000000000000000001")
      has(r.err, identity)
      has(r.err, "neap doctor")
      assert.equal("target.wrong", p:json("-e production status", 12).error.code)
      assert.is_true(untouched())
    end)

    it("of the database", function()
      environment 'database = "shop"'
      local r = p:expect("-e production up", 12)
      has(r.err, "pinned to database shop")
      has(r.err, p.database)
      assert.is_true(untouched())
      environment(("database = %q"):format(p.database))
      p:expect "-e production up"
    end)
  end)

  it("is refused for changes when it is read-only, and looked at all the same", function()
    p:expect "up"
    p:query(("alter database %s set default_transaction_read_only = on"):format(p.database))
    local document = p:json("down", 13)
    assert.equal("target.standby", document.error.code)
    has(document.error.hint, "primary")
    assert.equal(1, p:json("status").applied)
    p:expect "verify"
    p:expect "history"
    assert.equal("1", p:value "select count(*) from neap.history")
  end)

  it("is refused to a superuser where it is protected", function()
    environment "protected = true"
    local r = p:expect("-e production up", 10)
    has(r.err, "postgres is a superuser")
    has(r.err, "allow_superuser")
    assert.is_true(untouched())
    p:expect "-e production status"
    environment "protected = true, allow_superuser = true"
    p:expect "-e production up"
  end)

  describe("role", function()
    local role

    before_each(function()
      role = "owner_of_" .. p.database
      p:query(("create role %s; grant create, usage on schema public to %s"):format(role, role))
    end)

    it("owns what steps make; records are the login role's", function()
      p:write("migrations/0002_i.lua", [[
return migration {
  summary = "i", transaction = false,
  steps = { { name = "i",
    up = function(db) db:exec "create table i (id int)" end,
    verify = function(_, expect) expect.table "public.i" end,
    down = function(db) db:exec "drop table i" end } },
}]])
      environment(("role = %q"):format(role))
      p:expect "-e production up"
      assert.equal(role .. " " .. role, p:value [[
        select string_agg(tableowner, ' ') from pg_tables where tablename in ('a', 'i')]])
      assert.equal("postgres", p:value "select distinct db_user from neap.history")
      p:expect "-e production verify"
      p:expect "-e production down --to 0"
      p:expect "-e production audit verify"
    end)

    it("that is not there fails, and changes nothing", function()
      environment 'role = "nobody_here"'
      local r = p:expect("-e production up", 1)
      has(r.err, 'role "nobody_here" does not exist')
      assert.equal("f", p:value "select to_regclass('a') is not null")
    end)

  end)

  it("needs no superuser, and says which rights are missing", function()
    local owner, other = "few_" .. p.database, "other_" .. p.database
    p:query(("create role %s login; create role %s login"):format(owner, other))
    local function as(role)
      p.env.DATABASE_URL = (p.url:gsub("user=postgres", "user=" .. role))
    end
    as(owner)
    local r = p:expect("up", 1)
    has(r.err, ('GRANT CREATE ON DATABASE "%s" TO "%s"'):format(p.database, owner))
    p:query(("grant create on database %s to %s; grant create on schema public to %s, %s"):format(
      p.database, owner, owner, other))
    for _, command in ipairs { "up", "verify", "redo", "down", "up", "status", "audit verify" } do
      p:expect(command)
    end
    as(other)
    p:write_table("0002", "b")
    has(p:expect("up", 1).err, ('GRANT USAGE ON SCHEMA neap TO "%s"'):format(other))
    p:query(([[
      grant usage on schema neap to %s;
      grant select, insert, update, delete on all tables in schema neap to %s;
      grant usage on all sequences in schema neap to %s;
      grant execute on all functions in schema neap to %s]]):gsub("%%s", other))
    p:expect "up"
    p:expect "down"
    p:expect "audit verify"
    assert.equal(owner .. " " .. other, p:value [[
      select string_agg(distinct db_user, ' ' order by db_user) from neap.history]])
  end)

  it("limits come from flag, variable, neap.lua, default", function()
    p:write("migrations/0001_a.lua", [[
return migration {
  summary = "keep the limit",
  up = function(db)
    db:exec "create table a as select current_setting('lock_timeout') as value"
  end,
  verify = function() end,
  down = function(db) db:exec "drop table a" end,
}]])
    local function limit(command, env)
      p:expect(command, 0, { env = env })
      local value = p:value "select value from a"
      p:expect "-e production down"
      return value
    end
    environment ""
    assert.equal("500ms", limit "-e production up")
    environment 'lock_timeout = "250ms"'
    assert.equal("250ms", limit "-e production up")
    local env = { NEAP_LOCK_TIMEOUT = "350ms" }
    assert.equal("350ms", limit("-e production up", env))
    assert.equal("450ms", limit("-e production up --lock-timeout 450ms", env))
    has(p:expect("-e production up --lock-timeout 450", 2).err, "Give a number with its unit")
    has(p:expect("-e production up", 2, { env = { NEAP_LOCK_TIMEOUT = "soon" } }).err,
      "NEAP_LOCK_TIMEOUT")
  end)

  describe("neap.lua", function()
    it("names the nearest key, and the line of a mistake", function()
      p:write("neap.lua", "return { environments = { one = { urll = 'x' } } }")
      local r = p:expect("status", 2)
      has(r.err, "environments.one.urll is not a known key")
      has(r.err, "Did you mean url?")
      assert(os.execute(("ln -sf nowhere %s/neap.lua"):format(e2e.process.quote(p.dir))))
      has(p:expect("status", 2).err, "neap.lua")
      p:delete "neap.lua"
      p:write("neap.lua", "return {\n  environments = = }")
      has(p:expect("status", 2).err, "neap.lua:2")
      p:write("neap.lua", 'return { environments = { one = { url = "x", protected = "yes" } } }')
      has(p:expect("status", 2).err, "protected must be true or false")
    end)

    it("reaches nothing outside", function()
      for _, code in ipairs { 'os.execute "true"', 'io.open "/etc/passwd"', 'require "os"',
        'load "return 1"', 'while true do end' } do
        p:write("neap.lua", code .. "\nreturn {}")
        local r = p:neap("status", { timeout = 30 })
        assert.truthy(r.status == 2 or (code:find "while" and r.status == 124), code .. r.err)
        has(r.err, "neap.lua")
      end
    end)
  end)
end)

describe("a target out of reach", function()
  local p

  before_each(function()
    p = e2e.project()
    p:write_table("0001", "a")
  end)
  after_each(e2e.clean)

  -- What the user reads: all of both streams, and the journal.
  local function all_text(r)
    local quoted = process.quote(p.temp)
    return r.out .. r.err .. process.capture(("grep -rlF %s %s/state 2>/dev/null"):format(
      process.quote(canary), quoted))
  end

  local function refused(url, ...)
    p.env.DATABASE_URL = url
    for _, command in ipairs { "up", "status --json", "doctor", "up --verbose" } do
      local r = p:expect(command, 13)
      lacks(all_text(r), canary)
      if command == "up" then
        for _, part in ipairs { "db.connect", ... } do
          has(r.err, part)
        end
      end
    end
  end

  local function with_password(user, database)
    return ("postgresql://%s:%s@/%s?host=%s"):format(user, canary, database or p.database,
      (e2e.cluster().socket:gsub("/", "%%2F")))
  end

  -- Asks `role` for a password from now on.
  local function demand_password(role)
    local file = e2e.cluster().dir .. "/pg/data/pg_hba.conf"
    process.write(file, ("local all %s scram-sha-256\n"):format(role) .. process.read(file))
    p:query "select pg_reload_conf()"
  end

  it("where nothing listens", function()
    refused(("postgresql://u:%s@127.0.0.1:1/shop"):format(canary), "127.0.0.1:1/shop as u",
      "Connection refused", "is the server running")
    refused("host=/nonexistent dbname=shop user=u password=" .. canary, "/nonexistent",
      "is the host (socket directory) right")
  end)

  it("whose name is not known", function()
    refused(("postgresql://u:%s@no-such-host.invalid/shop"):format(canary), "no-such-host.invalid",
      "is it spelled right")
  end)

  it("that has no such database, or no such role", function()
    refused(with_password("postgres", "nothing_here"), 'database "nothing_here" does not exist',
      "hint:")
    refused(with_password "nobody_here", 'role "nobody_here" does not exist', "hint:")
  end)

  -- Looking takes one session, verify a second one.
  it("that lets in one session of two: verify says so", function()
    local role = "single_" .. p.database
    p:expect "up"
    p:query(("create role %s login connection limit 1; grant usage on schema neap to %s;"
      .. " grant select on all tables in schema neap to %s"):format(role, role, role))
    local url = p.url:gsub("user=postgres", "user=" .. role)
    p:write("neap.lua", ([[
return { environments = { s = { url = "%s", connect_timeout = "1s" } } }]]):format(url))
    local r = p:neap "-e s verify"
    p:query(("drop owned by %s; drop role %s"):format(role, role))
    assert.equal(13, r.status, r.out .. r.err)
    has(r.err, "too many connections for role")
    has(r.out, "failed      0001")
  end)

  it("that lets the role in no more, or never", function()
    local role = "barred_" .. p.database
    p:query(("create role %s login connection limit 0"):format(role))
    refused(with_password(role), "too many connections", "pg_stat_activity")
    p:query(("alter role %s nologin connection limit -1"):format(role))
    refused(with_password(role), "not permitted to log in", "ALTER ROLE")
    p:query(("alter role %s login"):format(role))
    p:query(("revoke connect on database %s from public"):format(p.database))
    refused(with_password(role), "permission denied for database", "GRANT CONNECT")
  end)

  it("that refuses the password, or misses one", function()
    local role = "locked_" .. p.database
    p:query(("create role %s login superuser password 'another'"):format(role))
    demand_password(role)
    assert.truthy(process.await(10, function()
      return p:neap("status", { env = { DATABASE_URL = with_password(role) } }).status == 13
    end))
    refused(with_password(role), "password authentication failed", "hint:")
    refused((with_password(role):gsub(":" .. canary:gsub("%-", "%%-"), "")),
      "no password supplied", "hint:")
    p.env.DATABASE_URL = (with_password(role):gsub(":" .. canary:gsub("%-", "%%-"), ""))
    local r = p:expect("up --verbose", 13, { env = { PGPASSWORD = canary } })
    lacks(all_text(r), canary)
    p:query(("alter role %s password '%s'"):format(role, canary))
    r = p:expect("up --verbose", 0, { env = { PGPASSWORD = canary } })
    lacks(all_text(r), canary)
    p.env.DATABASE_URL = with_password(role)
    for _, command in ipairs { "status --json", "down -v", "up -v --log-json",
      "history --events --json", "audit show" } do
      lacks(all_text(p:expect(command)), canary)
    end
    assert.equal("0", p:value(("select count(*) from neap.event where body like '%%%s%%'")
      :format(canary)))
  end)

  it("whose address cannot be read", function()
    for _, url in ipairs { "postgresql://u:" .. canary .. "@h/x?bogus=1", "shop",
      "host=h password=" .. canary .. " nonsense" } do
      p.env.DATABASE_URL = url
      local r = p:expect("up", 2)
      has(r.err, "libpq cannot parse the url")
      lacks(all_text(r), canary)
    end
  end)

  describe("a standby", function()
    it("is refused for changes; one that does not answer is given up in time", function()
      p:expect "up"
      p:write_table("0002", "b")
      local server, url = standby(p)
      p.env.DATABASE_URL = url
      for _, command in ipairs { "up", "down", "repair 1 --mark pending --reason x" } do
        assert.equal("target.standby", p:json(command, 13).error.code, command)
      end
      has(p:expect("lease show", 13).err, "Ask the primary")
      local status = p:json "status"
      assert.equal("1 1", status.applied .. " " .. status.pending)
      p:expect "verify"
      p:expect "history"
      p:write("neap.lua", ('return { environments = { s = { url = %q, connect_timeout = "1s" } } }')
        :format(url))
      server:signal "STOP"
      local r = p:neap("-e s up", { timeout = 30 })
      server:signal "CONT"
      assert.equal(13, r.status, r.err)
      has(r.err, "no answer in 1.0 s")
      server:signal "INT"
      server:wait(20)
    end)
  end)

  it("is known by the first environment that changed it, also as a copy", function()
    local marked = e2e.project()
    marked:write_table("0001", "a")
    marked:write("neap.lua", ([[return { environments = { staging = { url = %q },
      production = { url = %q } } }]]):format(marked.url, marked.url))
    marked:expect "-e production up"
    for _, command in ipairs { "-e staging up", "-e staging status", "-e staging down" } do
      local r = marked:expect(command, 12)
      has(r.err, "marked as production")
      has(r.err, "update neap.meta set environment = 'staging'")
    end
    marked:expect "-e production status"
    marked:expect "status"
    marked:query "update neap.meta set environment = 'staging'"
    marked:expect "-e staging status"
  end)
end)
