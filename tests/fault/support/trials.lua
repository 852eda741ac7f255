-- SPDX-License-Identifier: MIT
--
-- Many trials of one kind: several at a time, since most of a fault is waiting;
-- counted; and one line at the end that says how many there were.
local e2e = require "harness"
local system = require "system"

local trials = { long = os.getenv "NEAP_FAULT" == "long" }

--- The shortened number, the whole one, or a fifth where the sanitizers slow it down.
function trials.count(short, long)
  if trials.long then
    return long
  end
  return e2e.sanitized and math.max(1, short // 5) or short
end

local seed

--- NEAP_FAULT_SEED or the clock; math.random follows it from the first call on.
function trials.seed()
  if not seed then
    seed = math.tointeger(tonumber(os.getenv "NEAP_FAULT_SEED" or "")) or os.time()
    math.randomseed(seed)
  end
  return seed
end

--- `count` numbers from `first` to `last`: one in each of so many equal parts, by the seed.
function trials.spread(first, last, count)
  trials.seed()
  local numbers, part = {}, (last - first + 1) / count
  for i = 1, count do
    numbers[i] = first + math.floor(part * (i - 1) + math.random() * part)
  end
  return numbers
end

--- In a trial: until `done` gives a true value, which it returns; nil after `limit` seconds.
--- What takes its time to be asked (a psql) is asked for a third of the time at most.
function trials.await(limit, done)
  local deadline = system.monotime() + limit
  repeat
    local asked = system.monotime()
    local value = done()
    if value then
      return value
    end
    local again = system.monotime() * 3 - asked * 2
    repeat
      coroutine.yield()
    until system.monotime() >= math.min(again, deadline)
  until system.monotime() > deadline
  return nil
end

--- In a trial: lets the others go on for so long.
function trials.sleep(seconds)
  trials.await(seconds, function()
    return false
  end)
end

--- In a trial: waits for a process of Project:start while the others go on.
function trials.wait(process, limit)
  trials.await(limit or 120, function()
    return not process:running()
  end)
  return process:wait(1)
end

--- In a trial: like Project:neap.
function trials.neap(p, args, opts)
  return trials.wait(p:start(args, opts))
end

--- Runs trial(item, slot) for every item, at most `width` at a time; slot is a table
--- of its own for what runs one after the other. The first error ends them all.
function trials.each(items, width, trial)
  local next_item, running = 1, {}
  local function lane(slot)
    while next_item <= #items do
      next_item = next_item + 1
      trial(items[next_item - 1], slot)
    end
  end
  for i = 1, math.min(width, #items) do
    running[i] = { thread = coroutine.create(lane), slot = { number = i } }
  end
  while #running > 0 do
    for i = #running, 1, -1 do
      local each = running[i]
      local went, why = coroutine.resume(each.thread, each.slot)
      if not went then
        error(type(why) == "string" and debug.traceback(each.thread, why) or why, 0)
      end
      if coroutine.status(each.thread) == "dead" then
        table.remove(running, i)
      end
    end
    system.sleep(0.01)
  end
end

--- The line that a suite ends with; violations: where it goes on after one.
function trials.summary(name, count, more, violations)
  io.write(("%s: %d trials, %d violations, %s, seed %d\n"):format(name, count, violations or 0,
    more, trials.seed()))
end

-- A row that was never released is free all the same once its session is gone.
local held = [[(select count(*) from neap.lease l where released_at is null
  and expires_at > clock_timestamp() and (backend_pid = 0 or exists (select from pg_stat_activity a
  where a.pid = l.backend_pid and a.backend_start = l.backend_start)))]]

--- Whether the run's result is believed: what holds in the target, in one line
--- "<history rows of id> <its last action> <table is there> <holders> <sessions>". Where
--- p.pooled, idle sessions are the pooler's.
function trials.state(p, id, name)
  local rows = p:value("select to_regclass('neap.history') is not null") == "t"
    and ("(select count(*) || ' ' || coalesce((array_agg(action order by seq desc))[1], 'none')"
      .. " from neap.history where id = '%s')"):format(id) or "'0 none'"
  local lease = p:value("select to_regclass('neap.lease') is not null") == "t" and held or "0"
  local text = p:value(("select %s || ' ' || (to_regclass('public.%s') is not null) || ' ' || %s"
    .. " || ' ' || (select count(*) from pg_stat_activity where application_name like 'neap:%%'"
    .. " and datname = current_database() and not (%s and state = 'idle'))"):format(rows, name,
    lease, p.pooled and "true" or "false"))
  local count, action, there, holders, sessions = text:match "^(%d+) (%w+) (%w+) (%d+) (%d+)$"
  return {
    text = text,
    rows = tonumber(count),
    applied = action == "apply",
    there = there == "true",
    held = holders ~= "0",
    sessions = tonumber(sessions),
  }
end

--- In a trial: a run over a healthy link makes it applied exactly once, with every
--- trace in order; `place` describes the trial.
function trials.converges(p, id, name, place)
  local again = trials.neap(p, { "up" })
  assert(again.status == 0, place .. "the next run: " .. again.status .. again.out .. again.err)
  local audit = trials.neap(p, { "audit", "verify" })
  assert(audit.status == 0, place .. audit.out .. audit.err)
  local now
  local settled = trials.await(10, function()
    now = trials.state(p, id, name)
    return now.applied and now.there and now.rows == 1 and not now.held and now.sessions == 0
  end)
  assert(settled, place .. "afterwards: " .. now.text)
end

return trials
