-- SPDX-License-Identifier: MIT
--
-- Runs commands against each other: every round runs each of them once, and the ratios
-- are those of the medians. Absolute times belong to one machine; only ratios carry
-- over.
local process = require "process"
local quote = process.quote

local race = { rounds = 5, temp = process.capture "mktemp -d /tmp/neap-bench-XXXXXX" }
local results = {}
local programs = {}
local serial = 0

--- The path of the program made of tests/bench/NAME.c, once.
function race.compile(name, libraries)
  if not programs[name] then
    local program = race.temp .. "/" .. name
    assert(os.execute(("%s -O2 -o %s %s %s"):format(os.getenv "CC" or "cc", quote(program),
      quote("tests/bench/" .. name .. ".c"), libraries or "")))
    programs[name] = program
  end
  return programs[name]
end

local function median(values)
  table.sort(values)
  local middle = #values // 2
  return #values % 2 == 1 and values[middle + 1] or (values[middle] + values[middle + 1]) / 2
end

--- Runs a command {argv, env, cwd} to its end: wall milliseconds, peak KiB, stdout.
function race.measure(command)
  serial = serial + 1
  local files = ("%s/run-%d"):format(race.temp, serial)
  local argv = { race.compile "timed", table.unpack(command.argv) }
  local r = process.run(argv, files, { env = command.env, cwd = command.cwd, timeout = 600 })
  local status, wall, _, peak = r.err:match "\n(%d+) (%d+) (%d+) (%d+)\n$"
  if status ~= "0" then
    error(("%s: exit %s\n%s%s"):format(table.concat(command.argv, " "), tostring(status),
      r.out:sub(-2000), r.err:sub(-2000)), 0)
  end
  for _, suffix in ipairs { ".out", ".err" } do
    os.remove(files .. suffix)
  end
  return wall / 1e6, tonumber(peak), r.out
end

--- Runners {name, next, clean}: `next` gives the command of a round, `clean` (may be nil)
--- puts away what it made. By name: median wall and peak.
function race.run(runners)
  local seen = {}
  for _, runner in ipairs(runners) do
    seen[runner.name] = { wall = {}, peak = {} }
  end
  for round = 0, race.rounds do -- the first warms up
    for _, runner in ipairs(runners) do
      local wall, peak = race.measure(runner:next())
      if round > 0 then
        table.insert(seen[runner.name].wall, wall)
        table.insert(seen[runner.name].peak, peak)
      end
      if runner.clean then
        runner:clean()
      end
    end
  end
  for _, figures in pairs(seen) do
    figures.wall, figures.peak = median(figures.wall), median(figures.peak)
  end
  return seen
end

--- Keeps a row of the table and tells of it. field: "wall" (default) or "peak"; base: whose
--- figure is 1.00 ("psql").
function race.report(row)
  row.base = row.base or "psql"
  row.field = row.field or "wall"
  local unit = row.field == "wall" and "ms" or "MiB"
  local scale = row.field == "wall" and 1 or 1024
  local base = row.figures[row.base][row.field]
  row.shown = ("%.1f %s"):format(base / scale, unit)
  results[#results + 1] = row
  local names = {}
  for name in pairs(row.figures) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local value = row.figures[name][row.field]
    names[i] = ("%s %.1f %s = %.2fx"):format(name, value / scale, unit, value / base)
  end
  io.stderr:write(("%-40s %s\n"):format(row.title, table.concat(names, ", ")))
end

--- The rows so far whose base is `base`, as a table with a column for each of `names`.
function race.markdown(base, names)
  local rows = {}
  for _, row in ipairs(results) do
    if row.base == base then
      local cells = { row.title, row.shown }
      for _, name in ipairs(names) do
        local figures = row.figures[name]
        local value = figures and figures[row.field]
        cells[#cells + 1] = not figures and ""
          or row.field == "peak" and ("%.1f MiB"):format(value / 1024)
          or ("%.2fx"):format(value / row.figures[base].wall)
      end
      cells[#cells + 1], cells[#cells + 2] = row.target, row.aim
      rows[#rows + 1] = "| " .. table.concat(cells, " | ") .. " |"
    end
  end
  if #rows > 0 then
    print("| workload | " .. base .. ", 1.00 = | " .. table.concat(names, " | ")
      .. " | at most | aim |")
    print("|---|---|" .. ("---|"):rep(#names + 2))
    print(table.concat(rows, "\n"))
  end
end

return race
