-- SPDX-License-Identifier: MIT
--
-- neap against psql (and peers that are on PATH), pg_dump and pg_restore, on one server
-- in one run, each on a database of its own.
--
--   lua5.4 tests/bench/bench.lua [--rounds N] [--only PATTERN] [--markdown]
package.path = "tests/bench/?.lua;tests/e2e/support/?.lua;" .. package.path

local e2e = require "harness"
local peers = require "peers"
local proof = require "proof"
local race = require "race"
local workloads = require "workloads"
local process = e2e.process
local quote = process.quote

-- TCP on the loopback, as the targets were measured and most servers are reached. An
-- address of this process alone: 5432 on others may be taken.
local pid = process.own_pid()
local address = ("127.%d.%d.1"):format(pid // 250 % 250 + 1, pid % 250 + 1)

-- As a server is set up by default: what is committed is on disk.
local settings = { "fsync=on", "synchronous_commit=on", "full_page_writes=on",
  "shared_buffers=128MB", "autovacuum=off", "max_wal_size=4GB", "checkpoint_timeout=1h",
  "listen_addresses=" .. address }

local function psql_argv(url, ...)
  return { e2e.cluster().bin .. "/psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", url, ... }
end

-- `through`: the directory of another socket to the same server.
local function url_of(database, through)
  local host = through and through:gsub("/", "%%%%2F") or address
  return (e2e.url(database):gsub("host=[^&]*", "host=" .. host))
end

local function drop(database)
  e2e.psql("postgres", "drop database " .. database)
end

-- On a fresh database each time; `prepare` gives what is run on it before, unmeasured.
local function fresh(name, through, make, prepare)
  local runner = { name = name }
  function runner.next(self)
    self.database = e2e.database()
    if prepare then
      race.measure(prepare(url_of(self.database), self.database))
    end
    return make(url_of(self.database, through), self.database)
  end
  function runner.clean(self)
    drop(self.database)
  end
  return runner
end

local function neap_command(p, url, state, ...)
  return { argv = { e2e.bin, ... }, cwd = p.dir,
    env = { PATH = os.getenv "PATH", HOME = p.temp .. "/home", NEAP_STATE_DIR = state,
      DATABASE_URL = url } }
end

local function psql_command(p, url, ...)
  return { argv = psql_argv(url, ...), cwd = p.dir, env = { PATH = os.getenv "PATH" } }
end

-- `first`: 0001 is applied before, by each in its own way.
local function appliers(p, through, first)
  local function psql(file)
    return function(url)
      return psql_command(p, url, "-f", file)
    end
  end
  local function neap(...)
    local words = { ... }
    return function(url, database)
      return neap_command(p, url, p.temp .. "/state-" .. database, table.unpack(words))
    end
  end
  local pipelined = race.compile("pipelined", "$(pkg-config --cflags --libs libpq)")
  local function hand(file)
    return function(url)
      return { argv = { pipelined, url, file }, cwd = p.dir, env = { PATH = os.getenv "PATH" } }
    end
  end
  return {
    fresh("psql", through, psql "psql.sql", first and psql "first.sql"),
    fresh("neap", through, neap "up", first and neap("up", "--to", "0001")),
    fresh("pipelined C", through, hand "psql.sql", first and hand "first.sql"),
  }
end

local function apply_small(count, title, target, aim, through)
  local p = e2e.project { database = false }
  local all = workloads.write_small(p, count)
  local runners = appliers(p, through)
  peers.add(runners, "apply", all, p, fresh, through)
  race.report { title = title, target = target, aim = aim, figures = race.run(runners) }
  e2e.clean()
end

local function one_migration(title, through)
  local p = e2e.project { database = false }
  local all = workloads.write_one(p, 1000)
  local runners = appliers(p, through, true)
  peers.add(runners, "one", all, p, fresh, through)
  race.report { title = title, target = "0.45x", aim = "0.35x", figures = race.run(runners) }
  e2e.clean()
end

-- On one database that everything was applied to before.
local function standing(name, database, command)
  return { name = name, next = function()
    return command(url_of(database))
  end }
end

local function nothing_to_do(count, targets, with_memory)
  local p = e2e.project { database = false }
  local all = workloads.write_small(p, count)
  local ours, theirs = e2e.database(), e2e.database()
  local state = p.temp .. "/state"
  race.measure(neap_command(p, url_of(ours), state, "up"))
  race.measure(psql_command(p, url_of(theirs), "-f", "psql.sql"))
  local psql = standing("psql", theirs, function(url)
    return psql_command(p, url, "-o", "/dev/null", "-c",
      "select id, name, hash from public.psql_history order by id")
  end)
  local function neap(verb)
    return standing("neap", ours, function(url)
      return neap_command(p, url, state, verb)
    end)
  end
  local runners = { psql, neap "up" }
  peers.add(runners, "nothing", all, p, standing)
  local figures = race.run(runners)
  race.report { title = ("no-op up, %d applied"):format(count), target = targets[1],
    aim = targets[2], figures = figures }
  if with_memory then
    race.report { title = ("peak memory, %d applied"):format(count), target = "24 MiB",
      aim = "14 MiB", figures = figures, field = "peak" }
  end
  race.report { title = ("status, %d applied"):format(count), target = targets[1],
    aim = targets[2], figures = race.run { psql, neap "status" } }
  e2e.clean()
  drop(ours)
  drop(theirs)
end

-- `work` over a wire that holds every byte back for so many microseconds each way.
local function over_wire(name, delay_us, work)
  local dir = race.temp .. "/" .. name
  assert(os.execute("mkdir " .. quote(dir)))
  local wire = process.start({ race.compile "delay", dir .. "/.s.PGSQL.5432",
    e2e.cluster().socket .. "/.s.PGSQL.5432", tostring(delay_us) }, dir .. "-log",
    { cwd = "/", env = {} })
  assert(wire:says("ready", 10), wire:err())
  work(dir)
  wire:stop()
end

-- A statement's round trip was 0.15 ms where the targets were measured: this much on top
-- of a loopback's 0.03 ms and the relay's own.
local NEAR_US = 20

local benches = {
  { "apply", function()
    apply_small(1000, "apply 1,000 small migrations", "1.00x", "0.90x")
  end },
  { "apply-near", function()
    over_wire("apply-near", NEAR_US, function(dir)
      apply_small(1000, "the same, round trip of 0.15 ms", "1.00x", "0.90x", dir)
    end)
  end },
  { "one", function()
    one_migration "one migration of 1,000 statements"
  end },
  { "one-near", function()
    over_wire("one-near", NEAR_US, function(dir)
      one_migration("the same, round trip of 0.15 ms", dir)
    end)
  end },
  { "wire", function()
    over_wire("wire", 5000, function(dir)
      apply_small(100, "100 migrations, 5 ms each way", "0.30x", "0.15x", dir)
    end)
  end },
  { "noop10", function() nothing_to_do(10, { "1.6x", "1.2x" }) end },
  { "noop1000", function() nothing_to_do(1000, { "2.5x", "1.6x" }, true) end },
  { "noop5000", function() nothing_to_do(5000, { "4x", "2.5x" }) end },
  { "backup", function() proof.backup(url_of) end },
  { "rehearse", function() proof.rehearse(url_of) end },
}

local function print_markdown()
  local names = { "neap", "pipelined C" }
  for _, name in ipairs(peers.names()) do
    names[#names + 1] = name
  end
  race.markdown("psql", names)
  race.markdown("pg_dump", { "neap" })
  race.markdown("pg_restore", { "neap" })
end

local only, markdown = "", false
local i = 1
while arg[i] do
  if arg[i] == "--rounds" then
    i = i + 1
    race.rounds = assert(math.tointeger(tonumber(arg[i])), "--rounds needs a number")
  elseif arg[i] == "--only" then
    i = i + 1
    only = assert(arg[i], "--only needs a pattern")
  elseif arg[i] == "--markdown" then
    markdown = true
  else
    io.stderr:write "usage: bench.lua [--rounds N] [--only PATTERN] [--markdown]\n"
    os.exit(2)
  end
  i = i + 1
end

e2e.cluster(settings)
for _, bench in ipairs(benches) do
  if bench[1]:find(only) then
    bench[2]()
  end
end
if markdown then
  print_markdown()
end
e2e.clean()
os.execute("rm -rf " .. quote(race.temp))
