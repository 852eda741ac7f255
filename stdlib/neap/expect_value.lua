-- SPDX-License-Identifier: MIT
--
-- Expectations about values that the script has, and about a query's rows.
local text = require "neap.expect_text"

return function(expect, _, db)
  function expect.equal(actual, expected, what)
    local difference = text.difference(actual, expected)
    if difference then
      text.fail("%s%s", what and what .. ": " or "", difference)
    end
  end

  function expect.rows(actual, expected, ...)
    local rows = type(actual) == "string" and db:query(actual, ...) or actual
    if type(rows) ~= "table" or type(expected) ~= "table" then
      text.fail "rows: give a statement or its rows, and the list of rows expected"
    end
    local difference = text.difference(rows, expected)
    if difference then
      text.fail("rows: expected %d, found %d: %s", #expected, #rows, difference)
    end
  end
end
