-- SPDX-License-Identifier: MIT
--
-- Trials of the kill suite. A round is one fresh database and journal and a trial
-- for each row of `slots`, in order. A trial: a run is killed, in half of them the
-- next run too; one more run must then end well, and the target, its history, its
-- lease and the audit must be as if nobody had been killed.
--
-- All choices follow from the seed and the trial's number; how far the server got
-- by the kill does not.
local e2e = require "harness"
local project = require "kill_project"
local system = require "system"
local process = e2e.process
local quote = process.quote

local trials = {}

-- halted: the gate of migration 0006 stops this run first, which leaves it halfway.
-- finish: the runs that end the trial. ends: what the target is like then.
trials.slots = {
  { name = "up", run = "up", finish = { "up" }, ends = "applied" },
  { name = "down", run = "down --to 0", finish = { "down --to 0" }, ends = "undone" },
  { name = "resume up", halted = "up", run = "resume", finish = { "resume", "up" },
    ends = "applied" },
  { name = "resume down", halted = "down --to 0", run = "resume",
    finish = { "resume", "down --to 0" }, ends = "undone" },
  { name = "up again", run = "up", finish = { "up" }, ends = "applied" },
  { name = "down again", run = "down --to 0", finish = { "down --to 0" }, ends = "undone" },
}

local PAUSE_MAX_US = 3000 -- what the server gets before a kill, in half of them
local LATE = 1.05 -- instants are drawn from the run's time and a little more
local SHORTEST = { call = 0.012, time = 0.1 } -- of a whole run: one with nothing left to do

local Trials = {}
Trials.__index = Trials

-- Of each four rounds three kill at a call and one at an instant; each slot's calls
-- are spread evenly over the run, every one when there are as many trials as calls.
function trials.is_call(round)
  return round % 4 ~= 0
end

local function calls_before(round)
  return (round - 1) - (round - 1) // 4
end

--- The call of this round in a run of `calls`; offset, from 0 to 1, shifts them all.
function trials.planned_call(round, rounds, calls, offset)
  local of = math.max(calls_before(rounds + 1), 1)
  return math.floor((calls_before(round) + offset) * calls / of) % calls + 1
end

--- How many rounds `count` trials are.
function trials.rounds(count)
  return (count + #trials.slots - 1) // #trials.slots
end

function Trials:fresh()
  if self.p.database then
    e2e.psql("postgres", ("drop database %s with (force)"):format(self.p.database))
    os.execute(("rm -rf %s %s/run-*"):format(quote(self.p.state), quote(self.p.temp)))
  end
  self.serial = self.serial + 1
  local name = ("kill_%d"):format(self.serial)
  e2e.psql("postgres", ("create database %s template kill_base"):format(name))
  self.p.database = name
  self.p.env.DATABASE_URL = e2e.url(name)
end

-- A run under kill_at, or undisturbed. Kept in self.runs for the evidence.
function Trials:run(args, point)
  local opts = { timeout = e2e.sanitized and 200 or 60 }
  if point then
    opts.under = { self.program, self.p.temp .. "/result", point.how, point.at }
    opts.env = { ASAN_OPTIONS = "detect_leaks=0" } -- it cannot look under a tracer
    os.remove(self.p.temp .. "/result")
  end
  local began = system.monotime()
  local r = self.p:neap(args, opts)
  r.took_us = math.floor((system.monotime() - began) * 1e6)
  r.args, r.point = args, point
  if point then
    r.result = process.read(self.p.temp .. "/result") or "nothing\n"
    r.killed = r.result:find "^killed" ~= nil
    r.calls = tonumber(r.result:match "^%l+ (%d+)")
  end
  self.runs[#self.runs + 1] = r
  return r
end

-- The run that the gate stops: halfway, exit 9.
function Trials:halt(args)
  self.p:query "update trial.gate set open = false"
  local r = self:run(args)
  self.p:query "update trial.gate set open = true"
  assert(r.status == 9, ("neap %s: exit %d, not halfway: %s%s"):format(args, r.status, r.out,
    r.err))
end

-- Where in the run a kill came, 0 to 1: what is left for the next one.
function Trials:progress(name, r)
  if r.point.how == "call" then
    return math.min(r.calls / self.calls[name], 1)
  end
  return math.min(r.point.at / self.took_us[name], 1)
end

-- The point that is this trial's in the plan; or, after a run that was killed, a
-- random one in what that left to do.
function Trials:point(name, first)
  local calls, took_us = self.calls[name], self.took_us[name]
  local how = (first and math.random(2) == 1 or not first and trials.is_call(self.round)) and "call"
    or "time"
  local left = first and math.max(1 - self:progress(name, first), SHORTEST[how]) or 1
  if how == "time" then
    return { how = how, at = math.random(0, math.floor(took_us * left * LATE)) }
  end
  local n = first and math.random(math.ceil(calls * left))
    or trials.planned_call(self.round, self.rounds, calls, self.offset)
  local pause = math.random(2) == 1 and math.random(PAUSE_MAX_US) or 0
  return { how = how, at = ("%d+%d"):format(n, pause) }
end

local function differences(expected, found)
  local lines, out = {}, {}
  for line in expected:gmatch "[^\n]+" do
    lines[line] = (lines[line] or 0) + 1
  end
  for line in found:gmatch "[^\n]+" do
    if (lines[line] or 0) > 0 then
      lines[line] = lines[line] - 1
    else
      out[#out + 1] = "  + " .. line
    end
  end
  for line, count in pairs(lines) do
    if count > 0 then
      out[#out + 1] = "  - " .. line
    end
  end
  return table.concat(out, "\n")
end

-- nil when all is well, else what is wrong.
function Trials:check(slot)
  local worked = false
  for _, args in ipairs(slot.finish) do
    local r = self:run(args)
    if r.status ~= 0 then
      return ("neap %s: exit %d"):format(args, r.status)
    end
    worked = worked or not r.out:find("nothing to do", 1, true)
  end
  local found = self.p:query(project.report)
  if found ~= self.reference[slot.ends] then
    return "the target differs:\n" .. differences(self.reference[slot.ends], found)
  end
  local audit = self:run "audit verify"
  if audit.status ~= 0 then
    return ("neap audit verify: exit %d"):format(audit.status)
  end
  -- A run that did something brought along what the killed ones left in the journal.
  if worked and (audit.out .. audit.err):find("not in the target yet", 1, true) then
    return "events are missing in the target"
  end
end

local function describe_run(r)
  local point = r.point and (" (%s %s: %s)"):format(r.point.how, r.point.at,
    r.result:gsub("\n", "")) or ""
  return ("$ neap %s%s: exit %d\n%s%s"):format(r.args, point, r.status, r.out, r.err)
end

function Trials:keep_evidence(number, slot, what)
  local dir = ("/tmp/neap-kill-%d-%d"):format(self.seed, number)
  local text = { ("trial %d (%s, round %d) of seed %d: %s"):format(number, slot.name, self.round,
    self.seed, what) }
  for _, r in ipairs(self.runs) do
    text[#text + 1] = describe_run(r)
  end
  local _, rows = pcall(self.p.query, self.p, project.evidence)
  text[#text + 1] = tostring(rows)
  text[#text + 1] = ("kept: %s (project, journal, dump.sql); again: NEAP_FAULT_SEED=%d "
    .. "NEAP_FAULT_TRIALS=%d NEAP_FAULT_ROUND=%d"):format(dir, self.seed, self.count, self.round)
  os.execute(("rm -rf %s; cp -r %s %s; %s/pg_dump -d %s >%s/dump.sql 2>&1"):format(quote(dir),
    quote(self.p.temp), quote(dir), e2e.cluster().bin, quote(e2e.url(self.p.database)),
    quote(dir)))
  process.write(dir .. "/evidence.txt", table.concat(text, "\n"))
  return table.concat(text, "\n") .. "\n"
end

function Trials:trial(number, index)
  local slot = trials.slots[index]
  math.randomseed(self.seed, number)
  self.runs = {}
  if slot.halted then
    self:halt(slot.halted)
  end
  local stats = self.stats
  stats.trials = stats.trials + 1
  local first = self:run(slot.run, self:point(slot.name))
  stats.hit = stats.hit + (first.killed and 1 or 0)
  if math.random(2) == 1 then
    local second = self:run(slot.run, self:point(slot.name, first))
    stats.again = stats.again + (second.killed and 1 or 0)
  end
  local what = self:check(slot)
  if what then
    stats.violations = stats.violations + 1
    io.stdout:write(self:keep_evidence(number, slot, what))
  end
  return what == nil
end

--- Runs one round; after a violation the rest of it is not tried. stats counts on.
function Trials:run_round(round, count)
  self.round, self.count = round, count
  self:fresh()
  for index in ipairs(trials.slots) do
    local number = (round - 1) * #trials.slots + index
    if number > count or not self:trial(number, index) then
      return
    end
  end
end

-- Undisturbed: what the target is like at both ends, how long each run takes, how
-- many calls it makes.
function Trials:measure()
  for _, count in ipairs { false, true } do
    self:fresh()
    for _, slot in ipairs(trials.slots) do
      self.runs = {}
      if slot.halted then
        self:halt(slot.halted)
      end
      local r = self:run(slot.run, count and { how = "call", at = "0" } or nil)
      assert(r.status == 0, describe_run(r))
      self.took_us[slot.name] = self.took_us[slot.name] or r.took_us
      self.calls[slot.name] = r.calls
      self.reference[slot.ends] = self.reference[slot.ends] or self:finished(slot)
      local what = self:check(slot)
      assert(what == nil, what)
    end
  end
end

-- What the report must not miss, each done to a target on which all is well.
local damage = {
  { "select trial.mark('0002', 'apply')", "marked 2 times, recorded 1 times: 0002 apply" },
  { "insert into trial.mark values ('0003', 'note', 'a', 0)", "step mark 0003 note: 2" },
  { "insert into trial.mark values ('0001', '?', 'b', 1)", "at work beside run b: 1" },
  { "update pg_index set indisvalid = false where indexrelid = 'account_name'::regclass",
    "(name) valid f" },
  { "delete from ledger where id = 20", "+ r ledger" },
  { "alter table rate alter rate drop not null", "column rate.rate numeric f" },
  { [[update neap.lease l set released_at = null, backend_pid = a.pid,
      backend_start = a.backend_start from pg_stat_activity a where backend_type = 'checkpointer']],
    "lease held" },
  { "update neap.step set settled = false where id = '0003'", "step in doubt: 0003 index" },
  { [[alter table neap.history disable trigger all; insert into neap.history (attempt, id, name,
      action, run_id, xid, system_identifier) select gen_random_uuid(), '0004', 'x', 'apply', 'x',
      '1', '1']], "twice in a row: 0004 apply" },
}

-- A report that finds nothing would call every trial well.
function Trials:prove_report()
  self:fresh()
  assert(self:run("up").status == 0)
  for _, row in ipairs(damage) do
    self.p:query(row[1])
    local found = differences(self.reference.applied, self.p:query(project.report))
    assert(found:find(row[2], 1, true), "not in the report: " .. row[2] .. "\n" .. found)
  end
end

function Trials:finished(slot)
  for _, args in ipairs(slot.finish) do
    self:run(args)
  end
  return self.p:query(project.report)
end

--- A worker's own cluster, project and reference. rounds: of the whole suite.
function trials.open(seed, rounds)
  local self = setmetatable({ seed = seed, rounds = rounds, serial = 0, calls = {}, took_us = {},
    reference = {}, runs = {},
    stats = { trials = 0, hit = 0, again = 0, violations = 0 } }, Trials)
  math.randomseed(seed)
  self.offset = math.random()
  self.p = e2e.project { database = false }
  e2e.psql("postgres", "create database kill_base")
  e2e.psql("kill_base", project.base)
  for path, text in pairs(project.files) do
    self.p:write(path, text)
  end
  self.program = e2e.cluster().dir .. "/kill_at"
  assert(os.execute(("%s -O1 -o %s %s"):format(os.getenv "CC" or "cc", quote(self.program),
    quote(e2e.root .. "/tests/fault/support/kill_at.c"))))
  self:measure()
  self:prove_report()
  return self
end

return trials
