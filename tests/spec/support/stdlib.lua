-- SPDX-License-Identifier: MIT
--
-- Loads a module of stdlib/ in plain Lua 5.4, for what of it asks no server. The
-- host's part is only what such code touches: neap.null, and an error for an
-- expectation that failed.
local stdlib = { null = setmetatable({}, { __tostring = function() return "NULL" end }) }

local function need(name)
  if name == "neap.pg" then
    return { expectation_failed = function(message) error(message, 0) end }
  end
  local path = "stdlib/" .. name:gsub("%.", "/") .. ".lua"
  local env = setmetatable({ neap = { null = stdlib.null }, require = need }, { __index = _G })
  return assert(loadfile(path, "t", env))()
end

stdlib.require = need
return stdlib
