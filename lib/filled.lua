-- Makes a column of a table in use NOT NULL, and stops nobody on the way.
--
-- `ALTER TABLE … SET NOT NULL` alone reads the whole table under a lock that even
-- SELECT waits for. One UPDATE of the whole table locks every row until it ends.
-- So: batches, each its own transaction; then a rule that is declared at once and
-- proved under a lock that lets reads and writes pass; then SET NOT NULL, which
-- finds the proof and reads nothing.
--
-- The order matters. A CHECK that is NOT VALID does hold for every row that is
-- *written*: declared before the batches, it would refuse any UPDATE of a row that
-- is still empty. Fill first.
--
-- These steps run without a transaction. Whatever is interrupted runs again, so
-- each `up` bears being run again, and each `verify` can tell whether it has to
-- be. They must also hold when the whole is done: `neap verify` asks them all.
--
-- As with every file of lib/, what is applied is frozen: see lib/probe.lua.

---@class Filled
---@field schema string
---@field table string
---@field key string an integer primary key, which the batches go along
---@field column string
---@field value string an SQL expression over the row
---@field size? integer rows of a batch; 1000

local filled = {}

local function names(db, opts)
  return db:ident(opts.schema, opts.table), db:ident(opts.key), db:ident(opts.column),
    db:ident(opts.table .. "_" .. opts.column .. "_not_null")
end

local function is_not_null(db, opts)
  return db:value([[
    SELECT attnotnull FROM pg_catalog.pg_attribute
    WHERE attrelid = $1::regclass AND attname = $2]], db:ident(opts.schema, opts.table),
    opts.column)
end

local function has_rule(db, opts)
  return db:value([[
    SELECT count(*) FROM pg_catalog.pg_constraint
    WHERE conrelid = $1::regclass AND conname = $2]], db:ident(opts.schema, opts.table),
    opts.table .. "_" .. opts.column .. "_not_null") == 1
end

--- Fills the column where it is NULL, batch by batch along the key; the number of
--- rows. Each statement commits on its own, so a row is locked for milliseconds.
---
--- A row that somebody has locked is waited for (lock_timeout, then the step is
--- tried again and goes on where rows are still empty). SKIP LOCKED would end
--- "successfully" with exactly those rows left out.
---
--- Rows that appear behind the cursor meanwhile are not its business: whoever
--- writes them (a default, a trigger, the new code) fills them.
---@param db neap.pg.Conn outside a transaction
---@param opts Filled
function filled.fill(db, opts)
  local relation, key, column = names(db, opts)
  local next_edge = ([[
    SELECT max(%s) FROM (SELECT %s FROM %s WHERE %s > $1 ORDER BY %s LIMIT $2) AS batch]]):format(
    key, key, relation, key, key)
  local fill = ("UPDATE %s SET %s = %s WHERE %s > $1 AND %s <= $2 AND %s IS NULL"):format(
    relation, column, opts.value, key, key, column)
  local count = 0
  local from = math.mininteger
  while true do
    local edge = db:value(next_edge, from, opts.size or 1000)
    if not edge then
      return count
    end
    count = count + db:exec(fill, from, edge)
    from = edge
  end
end

local function step_fill(opts)
  return {
    name = "fill " .. opts.column,
    up = function(db)
      neap.log(("%d rows filled"):format(filled.fill(db, opts)))
    end,
    verify = function(db, expect)
      local relation, key, column = names(db, opts)
      expect.no_rows(("SELECT %s FROM %s WHERE %s IS NULL LIMIT 1"):format(key, relation, column))
    end,
    down = function(_)
      -- Nothing: the values say what the empty column meant, and nobody could tell
      -- them from those that the application wrote since.
    end,
  }
end

local function step_rule(opts)
  return {
    name = opts.column .. " is given from now on",
    up = function(db)
      local relation, _, column, rule = names(db, opts)
      db:exec(("ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID"):format(
        relation, rule, column))
    end,
    verify = function(db)
      return has_rule(db, opts) or is_not_null(db, opts)
    end,
    down = function(db)
      local relation, _, _, rule = names(db, opts)
      db:exec(("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s"):format(relation, rule))
    end,
  }
end

local function step_not_null(opts)
  return {
    name = opts.column .. " is not null",
    up = function(db)
      local relation, _, column, rule = names(db, opts)
      filled.fill(db, opts) -- what was written as NULL between the batches and the rule
      db:exec(("ALTER TABLE %s VALIDATE CONSTRAINT %s"):format(relation, rule))
      db:exec(("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL"):format(relation, column))
      db:exec(("ALTER TABLE %s DROP CONSTRAINT %s"):format(relation, rule))
    end,
    verify = function(db)
      return is_not_null(db, opts) and not has_rule(db, opts)
    end,
    -- One statement, so that there is no moment without a rule: what the step
    -- before this one left is there again, wherever this one had come to.
    down = function(db)
      local relation, _, column, rule = names(db, opts)
      db:exec(("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL, DROP CONSTRAINT IF EXISTS %s,"
        .. " ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID"):format(relation, column, rule,
        rule, column))
    end,
  }
end

--- The three steps, for `steps` of a migration with `transaction = false`.
---@param opts Filled
---@return neap.Step fill, neap.Step rule, neap.Step not_null
function filled.steps(opts)
  return step_fill(opts), step_rule(opts), step_not_null(opts)
end

return filled
