-- SPDX-License-Identifier: MIT
--
-- `expect`, as verify(db, expect) is given it: statements about what the
-- database now is. Each asks the server, and one that does not hold says what
-- was found instead. require "neap.expect" gives a function that makes the
-- table for a connection. The surprise: unknown names and options are failures
-- too, since a misspelt expectation must not pass.
local text = require "neap.expect_text"
local catalog = require "neap.expect_catalog"
local relation = require "neap.expect_relation"
local access = require "neap.expect_access"
local query = require "neap.expect_query"

local function missing(functions)
  return function(_, key)
    local names = {}
    for name in pairs(functions) do
      names[#names + 1] = name
    end
    text.fail("expect has no %s%s", text.show(key), text.suggest(tostring(key), names))
  end
end

return function(db)
  local functions = {}
  local ask = catalog(db)
  relation(functions, ask, db)
  access(functions, ask, db)
  query(functions, ask, db)
  return setmetatable({}, {
    __index = setmetatable(functions, { __index = missing(functions) }),
    __newindex = function()
      text.fail "expect is read-only"
    end,
    __metatable = false,
  })
end
