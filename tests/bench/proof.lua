-- SPDX-License-Identifier: MIT
--
-- What proof costs: a backup with its digests against pg_dump of the same database, and
-- its full verify against pg_restore into a scratch server that is there already.
local e2e = require "harness"
local race = require "race"

local proof = {}

-- About 250 MB: narrow rows, wide ones, values that are stored apart, an index each.
local rows = [[
create table narrow (id bigint primary key, account int not null, amount numeric(12, 2),
  at timestamptz not null);
insert into narrow select i, i % 1000, i / 7.0, timestamptz '2026-01-01' + i * interval '1 s'
  from generate_series(1, 1500000) i;
create table wide (id bigint primary key, name text not null, doc jsonb, tags text[]);
insert into wide select i, md5(i::text), jsonb_build_object('a', i, 'b', md5((-i)::text)),
  array[md5(i::text), 'x'] from generate_series(1, 300000) i;
create table toasted (id bigint primary key, body text not null);
insert into toasted select i, (select string_agg(md5((i * 300 + n)::text), '')
  from generate_series(1, 300) n) from generate_series(1, 4000) i;
create index on narrow (account);
]]

local function of_cluster(program)
  return e2e.cluster().bin .. "/" .. program
end

local function new_file(p)
  p.serial = (p.serial or 0) + 1
  return ("%s/out-%d"):format(p.temp, p.serial)
end

local function removing(runner)
  function runner.clean(self)
    os.execute("rm -rf " .. e2e.process.quote(self.made))
  end
  return runner
end

local function create(p, url)
  local env = { PATH = os.getenv "PATH", HOME = p.temp .. "/home", NEAP_STATE_DIR = p.temp
    .. "/state", DATABASE_URL = url }
  local pg_dump = removing { name = "pg_dump", next = function(self)
    self.made = new_file(p)
    return { argv = { of_cluster "pg_dump", "-Fc", "-f", self.made, "-d", url }, cwd = p.dir,
      env = env }
  end }
  local neap = removing { name = "neap", next = function(self)
    self.made = new_file(p)
    return { argv = { e2e.bin, "-q", "backup", "create", "--to", self.made }, cwd = p.dir,
      env = env }
  end }
  race.report { title = "backup create, 250 MB", target = "1.35x", aim = "1.20x",
    base = "pg_dump", figures = race.run { pg_dump, neap } }
  return env
end

local function verify(p, url, env)
  local dump, dir = new_file(p), new_file(p)
  local scratch = { PATH = env.PATH, HOME = env.HOME, NEAP_STATE_DIR = env.NEAP_STATE_DIR }
  race.measure { argv = { of_cluster "pg_dump", "-Fc", "-f", dump, "-d", url }, cwd = p.dir,
    env = env }
  race.measure { argv = { e2e.bin, "-q", "backup", "create", "--to", dir }, cwd = p.dir,
    env = env }
  race.measure { argv = { e2e.bin, "-q", "scratch", "start" }, cwd = p.dir, env = scratch }
  local _, _, out = race.measure { argv = { e2e.bin, "scratch", "url" }, cwd = p.dir,
    env = scratch }
  local server = out:gsub("%s+$", "")
  local function on_scratch(sql)
    race.measure { argv = { of_cluster "psql", "-Xq", "-d", server, "-c", sql }, cwd = p.dir,
      env = scratch }
  end
  local pg_restore = { name = "pg_restore", next = function()
    on_scratch "create database restored"
    return { argv = { of_cluster "pg_restore", "-e", "-d",
      (server:gsub("postgresql:///neap", "postgresql:///restored")), dump }, cwd = p.dir,
      env = scratch }
  end, clean = function()
    on_scratch "drop database restored"
  end }
  local neap = { name = "neap", next = function()
    return { argv = { e2e.bin, "-q", "backup", "verify", "--to", dir }, cwd = p.dir, env = env }
  end }
  race.report { title = "backup verify, 250 MB", target = "1.50x", aim = "1.30x",
    base = "pg_restore", figures = race.run { pg_restore, neap } }
  race.measure { argv = { e2e.bin, "-q", "scratch", "stop" }, cwd = p.dir, env = scratch }
end

-- A hundred small pending migrations: all of `rehearse`, dump and restore of the schema with
-- them, against `up` of the same, which runs each once and not up, down and up.
local function rehearse(p, url)
  for i = 1, 100 do
    p:write_sql(("%04d_t.sql"):format(i), ([[create table t%d (id bigint primary key, x text);
create index on t%d (x);
alter table t%d add column n int]]):format(i, i, i), ("select to_regclass('t%d') is not null")
      :format(i), ("drop table t%d"):format(i))
  end
  local env = { PATH = os.getenv "PATH", HOME = p.temp .. "/home", NEAP_STATE_DIR = p.temp
    .. "/state", DATABASE_URL = url }
  local function runner(name, argv)
    return { name = name, next = function()
      return { argv = { e2e.bin, "-q", table.unpack(argv) }, cwd = p.dir, env = env }
    end }
  end
  local up = runner("up", { "up" })
  function up.clean()
    race.measure { argv = { e2e.bin, "-q", "down", "--to", "0" }, cwd = p.dir, env = env }
  end
  race.report { title = "rehearse 100 pending", target = "3 s", base = "up",
    figures = race.run { up, runner("neap", { "rehearse", "--from", "live-schema" }) } }
end

--- A schema-only rehearsal. `url_of`: the URL of a database of the cluster.
function proof.rehearse(url_of)
  local p = e2e.project { database = false }
  local database = e2e.database()
  rehearse(p, url_of(database))
  e2e.clean()
  e2e.psql("postgres", "drop database " .. database)
end

--- `url_of`: the URL of a database of the cluster.
function proof.backup(url_of)
  local p = e2e.project { database = false }
  local database = e2e.database()
  local url = url_of(database)
  e2e.psql(database, rows)
  verify(p, url, create(p, url))
  e2e.clean()
  e2e.psql("postgres", "drop database " .. database)
end

return proof
