-- SPDX-License-Identifier: MIT
--
-- `expect`, as verify(db, expect) is given it: statements about what the
-- database now is. Each asks the server, and one that does not hold says what
-- was found instead. require "neap.expect" gives a function that makes the
-- table for a connection. The surprise: unknown names and options are failures
-- too, since a misspelt expectation must not pass. Each script has a state of its
-- own, and most verifies use little: a part is loaded when a name is looked for
-- that the parts before it do not have.
local text = require "neap.expect_text"

local PARTS = {
  "neap.expect_value", "neap.expect_relation", "neap.expect_query", "neap.expect_access",
}

local function missing(functions, key)
  local names = {}
  for name in pairs(functions) do
    names[#names + 1] = name
  end
  text.fail("expect has no %s%s", text.show(key), text.suggest(tostring(key), names))
end

-- What the parts ask the catalog, from when they first do.
local function asker(db)
  local catalog
  return setmetatable({}, { __index = function(_, name)
    catalog = catalog or require "neap.expect_catalog"(db)
    return catalog[name]
  end })
end

return function(db)
  local functions, count, ask = {}, 0, asker(db)
  local function find(_, key)
    while rawget(functions, key) == nil and PARTS[count + 1] do
      require(PARTS[count + 1])(functions, ask, db)
      count = count + 1
    end
    return rawget(functions, key) or missing(functions, key)
  end
  return setmetatable({}, {
    __index = setmetatable(functions, { __index = find }),
    __newindex = function()
      text.fail "expect is read-only"
    end,
    __metatable = false,
  })
end
