-- SPDX-License-Identifier: MIT
--
-- The floors: each may include only the floors below it, and only the system
-- headers that its floor knows. lua.h is seen by *_lua*.c, glue and host/script.
package.path = "tests/lint/?.lua;" .. package.path
local lint = require "lint"

-- Floor of a folder. Folders of one number are independent unless `same` says so.
local floors = {
  ["host/base"] = 1,
  ["host/loop"] = 2,
  ["bindings"] = 3,
  ["host/script"] = 4,
  ["host/change"] = 5,
  ["host/migrate"] = 6, ["host/project"] = 6, ["host/runbook"] = 6, ["host/repl"] = 6,
  ["host/selftest"] = 6, ["host/proof"] = 6, ["host/report"] = 6,
  ["host/cli"] = 7, ["host/main.c"] = 7,
}

-- On one floor: which folder may use which neighbour.
local neighbours = {
  ["host/migrate"] = { ["host/project"] = true, ["host/report"] = true },
  ["host/proof"] = { ["host/project"] = true, ["host/migrate"] = true, ["host/report"] = true },
  ["host/repl"] = { ["host/project"] = true },
  ["host/runbook"] = { ["host/project"] = true },
}

-- Bindings: glue for all; lock, scratch, backup may use another's client.
local binding_neighbours = {
  glue = { pg = true }, -- the list of classes
  lock = { pg = true }, scratch = { pg = true }, backup = { pg = true, scratch = true },
}

local libraries = {
  { header = "^lua", who = "lua" },
  { header = "^lauxlib%.h$", who = "lua" },
  { header = "^uv%.h$", floor = 2 },
  { header = "^jansson%.h$", floor = 1 },
  { header = "^sodium", floor = 1 },
  { header = "^zlib%.h$", floor = 1 },
  { header = "^libpq", folder = "^bindings/pg/" },
  { header = "^pg_query", folder = "^bindings/pg/" },
}

local function folder_of(path)
  if path == "host/main.c" then
    return path
  end
  return path:match "^(host/%w+)/" or path:match "^(bindings)/"
end

local function sees_lua(path)
  return path:find "_lua[%w_]*%.[ch]$" or path:find "^bindings/glue/" or path:find "^host/script/"
end

local function check_own(path, include)
  local from, to = folder_of(path), folder_of(include)
  if not to then
    return "not a floor"
  end
  if to == "bindings" and from == "bindings" then
    local a, b = path:match "^bindings/(%w+)/", include:match "^bindings/(%w+)/"
    if a ~= b and b ~= "glue" and not (binding_neighbours[a] or {})[b] then
      return ("bindings/%s may not use bindings/%s"):format(a, b)
    end
  elseif floors[to] > floors[from] then
    return ("floor %d may not use floor %d"):format(floors[from], floors[to])
  elseif from ~= to and floors[to] == floors[from] and from ~= "host/main.c"
    and not (neighbours[from] or {})[to] then
    return ("%s may not use %s"):format(from, to)
  end
  if (include:find "_lua[%w_]*%.h$" or include:find "^bindings/glue/") and not sees_lua(path) then
    return "only *_lua.c, glue and host/script see Lua"
  end
end

local function check_library(path, include)
  if floors[folder_of(path)] == 7 then -- "all": versions, for one
    return nil
  end
  for _, rule in ipairs(libraries) do
    if include:find(rule.header) then
      if rule.who == "lua" and not sees_lua(path) then
        return "only *_lua.c, glue and host/script see Lua"
      elseif rule.floor and floors[folder_of(path)] < rule.floor then
        return "not on this floor"
      elseif rule.folder and not path:find(rule.folder) then
        return "another binding's library"
      end
    end
  end
end

local seen_base = {}
for _, path in ipairs(lint.files "^[hb][oi]%w+/.*%.[ch]$") do
  local findings, number = {}, 0
  if not folder_of(path) or not floors[folder_of(path)] then
    findings[1] = path .. ": not in a folder of the architecture"
  else
    for _, line in ipairs(lint.lines(lint.read(path))) do
      number = number + 1
      local own = line:match '^%s*#%s*include%s+"([^"]+)"'
      local library = line:match "^%s*#%s*include%s+<([^>]+)>"
      local why = own and check_own(path, own) or library and check_library(path, library)
      if why then
        findings[#findings + 1] = ("%s:%d: includes %s: %s"):format(path, number, own or library,
          why)
      end
    end
  end
  local name = path:match "[^/]+$"
  if seen_base[name] then
    findings[#findings + 1] = ("%s: the base name is taken by %s"):format(path, seen_base[name])
  end
  seen_base[name] = path
  lint.case(findings)
end
lint.finish()
