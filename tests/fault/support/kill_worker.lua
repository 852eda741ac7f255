-- SPDX-License-Identifier: MIT
--
-- One of the processes that share the trials: every STEP-th round from FIRST on,
-- on a cluster of its own; with ROUND, of these that one alone. The last line of
-- stdout is its count.
--
--   lua5.4 kill_worker.lua OWNER SEED TRIALS FIRST STEP [ROUND]
package.path = "tests/e2e/support/?.lua;tests/fault/support/?.lua;" .. package.path
local e2e = require "harness"
local trials = require "kill_trials"
local system = require "system"

local owner, seed, count = arg[1], tonumber(arg[2]), tonumber(arg[3])
local first, step, only = tonumber(arg[4]), tonumber(arg[5]), tonumber(arg[6])

io.stdout:setvbuf "line"
local rounds = trials.rounds(count)
local done, why = xpcall(function()
  local worker = trials.open(seed, rounds)
  local began = system.monotime()
  for round = first, rounds, step do
    if not e2e.process.read("/proc/" .. owner .. "/stat") then
      error("nobody waits for this", 0)
    end
    if not only or round == only then
      worker:run_round(round, count)
    end
  end
  local stats = worker.stats
  print(("trials %d, hit %d, again %d, violations %d, ms %d"):format(stats.trials, stats.hit,
    stats.again, stats.violations, math.floor((system.monotime() - began) * 1000)))
end, debug.traceback)
e2e.clean()
if not done then
  io.stderr:write(why, "\n")
  os.exit(1)
end
