-- Tries what a migration made, and leaves no trace of the trial.
--
-- `verify` is read-only: it cannot insert a row to see what a trigger makes of
-- it. `up` can, inside a savepoint that is always rolled back. What stays are
-- gaps in identity columns, which nothing may rely on anyway.
--
--   local probe = require "probe"
--   probe(db, function(expect)
--     db:exec "INSERT …"
--     expect.equal(db:value "SELECT …", "what the trigger should have done")
--   end)
--
-- A file under lib/ is part of the checksum of every migration that requires it:
-- once one of them is applied where it matters, this file is frozen with it. A
-- better one gets another name.
local expectations = require "neap.expect"

--- Runs `trial(expect)` and undoes all it did. What it raises goes on.
---@param db neap.pg.Conn
---@param trial fun(expect: neap.Expect)
return function(db, trial)
  local undo = {} -- raised to leave the savepoint by its rolled-back end
  local raised, survived, failure = pcall(db.savepoint, db, function()
    trial(expectations(db))
    error(undo)
  end)
  if raised then -- a statement failed: savepoint gives (false, error) and does not raise
    error(failure, 0)
  elseif survived ~= undo then
    error(survived, 0)
  end
end
