-- SPDX-License-Identifier: MIT
--
-- A connection that is cut, falls silent or is late at byte N of what either side
-- says, N over the whole conversation of one migration, and of two of which the second
-- follows before the first one's COMMIT is answered: promise 2. The exit status is held
-- against what is true in the target, then a run over a healthy link must end with
-- each applied once.
local e2e = require "harness"
local network = require "network"
local trials = require "trials"

local WIDTH = 64 -- most of a trial with a silence is waiting
local EACH_PROJECT = 25 -- trials; a longer journal makes audit verify slower

local connections = { "control", "work" }

-- A project whose schema neap is there already, or (`fresh`) is not.
local function new_project(fresh)
  local p = e2e.project()
  if not fresh then
    p:write_table("0001", "t1")
    p:expect { "up" }
  end
  p.number = 1
  return p
end

-- The next `count` migrations: { id, name } each.
local function write_next(p, count)
  local list = {}
  for i = 1, count do
    p.number = p.number + 1
    list[i] = { id = ("%04d"):format(p.number), name = "t" .. p.number }
    p:write_table(list[i].id, list[i].name)
  end
  return list
end

-- The bytes of a healthy run: lengths[connection] = { server's, client's }.
local function measure(fresh, count)
  local p = new_project(fresh)
  write_next(p, count or 1)
  local proxy = network.open(p, "none")
  p:expect({ "up" }, 0, { env = proxy.env })
  local lengths = {}
  for i = 1, #connections do
    local bytes, sent
    e2e.process.await(10, function() -- the proxy tells it when the connection has ended
      bytes, sent = proxy:out():match("\n" .. i .. " (%d+) (%d+)\n")
      return sent
    end)
    lengths[i] = { server = tonumber(bytes), client = tonumber(sent) }
  end
  return lengths
end

-- The exit statuses that say that nothing stays of what was not called applied; 15 says
-- that nobody knows.
local NOTHING = { true, [6] = true, [7] = true, [13] = true, [124] = true, [130] = true }

-- `before`: what is true of the migration before it, which is applied first.
local function check_one(r, each, now, before, place)
  place = place .. each.id .. ": " .. now.text .. ": "
  assert(now.applied == now.there, place .. "torn")
  assert(not now.applied or before == nil or before.applied, place .. "out of order")
  local says = r.out:find("applied " .. each.id, 1, true) ~= nil
  assert(not says or now.applied, place .. "it said applied")
  assert(r.status ~= 0 or says, place .. "it did not say applied")
  assert(r.status == 15 or says == now.applied, place .. "it did not say that it is applied")
end

local function check_truth(trial, p, r, place)
  assert(not r.err:find("internal.bug", 1, true), place)
  assert(r.status == 0 or r.status == 15 or NOTHING[r.status],
    place .. "an exit status of something else")
  assert(r.status ~= 15 or trial.how == "hole",
    place .. "the server could be asked")
  assert(trial.how ~= "delay" or r.status == 0, place .. "a delay is no failure")
  local now = {}
  for i = #trial.migrations, 1, -1 do -- the server may be at them: the later one first
    now[i] = trials.state(p, trial.migrations[i].id, trial.migrations[i].name)
  end
  for i, each in ipairs(trial.migrations) do
    check_one(r, each, now[i], now[i - 1], place)
  end
end

local function describe_trial(trial, r)
  return ("%s of %s at %s%s: exit %d\n%s%s"):format(trial.how, connections[trial.connection],
    trial.at, trial.signal and ", SIGINT" or "", r.status, r.out, r.err)
end

-- Ends the proxy and waits for what it kept open on the server.
local function end_proxy(p, proxy, place)
  proxy:stop()
  local gone = trials.await(20, function()
    return trials.state(p, "0", "none").sessions == 0
  end)
  assert(gone, place .. "its sessions stayed")
end

local pooled = [[, pooler = "transaction", lease_ttl = "3s"]]

-- The bad link: to the server, to a pooler, or behind the pooler. Also the url for neap.
local function open_link(p, trial)
  p.pooled = trial.pooler ~= nil
  if trial.pooler == "after" then
    local proxy = network.open(p, trial.how, trial.connection, trial.at,
      trial.socket .. "/.s.PGSQL.6432")
    return proxy, proxy.url
  end
  local proxy = network.open(p, trial.how, trial.connection, trial.at)
  if trial.pooler == "before" then
    assert(os.execute(("chmod 0711 %s && chmod 0777 %s/.s.PGSQL.5432"):format(p.temp, proxy.dir)))
    return proxy, e2e.pooled_url(p.database, e2e.pooler(proxy.dir, proxy.dir, 1))
  end
  return proxy, proxy.url
end

local function run_trial(trial, slot, counts)
  if trial.fresh or not slot.project or slot.project.number >= EACH_PROJECT then
    slot.project = new_project(trial.fresh)
  end
  local p = slot.project
  p:write("neap.lua", "return { environments = {} }")
  trial.migrations = write_next(p, trial.count or 1)
  local proxy, url = open_link(p, trial)
  p:write("neap.lua", ([[return { environments = { far = { url = "%s", connect_timeout = "1s",
    lease_wait = "1s"%s } } }]]):format(url, trial.pooler and pooled or ""))
  local timeout = trial.how == "delay" and "30s" or trial.timeout or "20s"
  local run = p:start({ "-e", "far", "up", "--timeout", timeout }, { timeout = 150 })
  if trial.signal then
    trials.await(20, function()
      return proxy:out():find("fired", 1, true) or not run:running()
    end)
    trials.sleep(0.1)
    run:signal "INT"
  end
  local r = trials.wait(run, 150)
  local place = describe_trial(trial, r)
  check_truth(trial, p, r, place)
  counts[proxy:out():find("fired", 1, true) and "fired" or "unfired"] =
    counts[proxy:out():find("fired", 1, true) and "fired" or "unfired"] + 1
  counts[r.status] = (counts[r.status] or 0) + 1
  end_proxy(p, proxy, place)
  check_truth(trial, p, r, place .. "(later)\n")
  p:delete "neap.lua"
  for _, each in ipairs(trial.migrations) do
    trials.converges(p, each.id, each.name, place)
  end
  if trial.fresh then
    slot.project = nil
  end
end

local function add_trials(list, lengths, how, each, more)
  for connection = 1, #connections do
    for side, prefix in pairs { server = "", client = "sent+" } do
      local length = lengths[connection][side]
      for i, n in ipairs(trials.spread(0, length - 1, each(length))) do
        local trial = { how = how, connection = connection, at = prefix .. n }
        for name, value in pairs(more(i) or {}) do
          trial[name] = value
        end
        list[#list + 1] = trial
      end
    end
  end
end

local function summarize(name, list, counts)
  local parts = {}
  for status, count in pairs(counts) do
    if type(status) == "number" then
      parts[#parts + 1] = ("exit %d: %d"):format(status, count)
    end
  end
  table.sort(parts)
  trials.summary(name, #list, ("%d fired, %s"):format(counts.fired, table.concat(parts, ", ")))
  assert.truthy(counts.fired >= #list * 9 // 10, counts.unfired .. " did not fire")
end

local function run_all(name, list, width)
  local counts = { fired = 0, unfired = 0 }
  table.sort(list, function(a, b) -- the long waits first
    return a.timeout and not b.timeout
  end)
  trials.each(list, width, function(trial, slot)
    run_trial(trial, slot, counts)
  end)
  summarize(name, list, counts)
end

-- Every n-th byte in the long form.
local function every(short, step)
  return function(length)
    return trials.count(short, length // step)
  end
end

describe("at every byte of a conversation", function()
  setup(trials.seed)
  after_each(e2e.clean)

  local function nothing() end

  local function chained()
    return { count = 2 }
  end

  it("a connection that is cut", function()
    local list = {}
    add_trials(list, measure(false), "cut", every(8, 1), nothing)
    add_trials(list, measure(false, 2), "cut", every(5, 1), chained)
    run_all("wire cut", list, 4)
  end)

  -- From the first COMMIT on, whose answer and what stands behind it are one flight.
  it("a connection that is cut while one COMMIT and the next migration are under way", function()
    local list = {}
    local length = measure(false, 3)[2].server - measure(false)[2].server
    for i, n in ipairs(trials.spread(-1, length - 2, trials.count(12, length))) do
      list[i] = { how = "cut", connection = 2, at = "commit+" .. n, count = 3 }
    end
    run_all("wire cut, one behind the other", list, 4)
  end)

  it("a connection that is cut while schema neap is made", function()
    local list = {}
    add_trials(list, measure(true), "cut", every(3, 4), function()
      return { fresh = true }
    end)
    run_all("wire cut, first run", list, 4)
  end)

  it("a connection that is late", function()
    local list = {}
    add_trials(list, measure(false), "delay", every(3, 8), nothing)
    add_trials(list, measure(false, 2), "delay", every(3, 16), chained)
    run_all("wire delay", list, 8)
  end)

  -- Both at once: nearly all of it is waiting for neap's own patience to end.
  it("a connection, or the whole network, that falls silent", function()
    local list = {}
    for count = 1, 2 do
      local lengths = measure(false, count)
      for _, how in ipairs { "stall", "hole" } do
        add_trials(list, lengths, how, every(2, 64), function()
          return { timeout = "1s", count = count }
        end)
        add_trials(list, lengths, how, every(2, 64), function()
          return { signal = true, count = count }
        end)
      end
    end
    run_all("wire silence", list, WIDTH)
  end)
end)

-- COMMIT to its answer: each byte of the answer, and the words before it.
describe("a COMMIT through a pooler", function()
  after_each(e2e.clean)

  it("whose answer is lost between neap and the pooler", function()
    local list = {}
    local socket = e2e.pooler(e2e.cluster().dir .. "/wire", e2e.cluster().socket, 4)
    for i, n in ipairs(trials.spread(-1, 33, trials.count(8, 35))) do
      list[i] = { how = "cut", connection = 2, at = "commit+" .. n, pooler = "after",
        socket = socket }
    end
    run_all("wire pooled", list, 4)
  end)

  it("whose answer is lost between the pooler and the server", function()
    local list = {}
    for i, n in ipairs(trials.spread(-1, 33, trials.count(8, 35))) do
      list[i] = { how = "cut", connection = 1, at = "commit+" .. n, pooler = "before",
        count = 1 + i % 2 }
    end
    run_all("wire behind the pooler", list, 4)
  end)
end)
