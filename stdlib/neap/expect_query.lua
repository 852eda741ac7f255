-- SPDX-License-Identifier: MIT
--
-- Expectations about what queries give: no rows, counts, keys that hold, plans
-- and times. The statements are the script's; a read-only session runs
-- them, and EXPLAIN is asked with the settings as they are.
local pg = require "neap.pg"
local text = require "neap.expect_text"

local foreign_keys_sql = [[
  SELECT c.conname::text AS name, c.conrelid::pg_catalog.regclass::text AS table_name,
         c.convalidated AS validated, c.confmatchtype::text AS match,
         pg_catalog.format('%I.%I', cn.nspname, cr.relname) AS child,
         pg_catalog.format('%I.%I', pn.nspname, pr.relname) AS parent,
         ARRAY(SELECT pg_catalog.quote_ident(a.attname)
                 FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k(n, i)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n
                ORDER BY k.i) AS columns,
         ARRAY(SELECT pg_catalog.quote_ident(a.attname)
                 FROM pg_catalog.unnest(c.confkey) WITH ORDINALITY AS k(n, i)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n
                ORDER BY k.i) AS parent_columns
    FROM pg_catalog.pg_constraint c
    JOIN pg_catalog.pg_class cr ON cr.oid = c.conrelid
    JOIN pg_catalog.pg_namespace cn ON cn.oid = cr.relnamespace
    JOIN pg_catalog.pg_class pr ON pr.oid = c.confrelid
    JOIN pg_catalog.pg_namespace pn ON pn.oid = pr.relnamespace
   WHERE c.contype = 'f' AND c.conparentid = 0]]

-- The rows of a key's table that have no parent, by the key's own rule for NULLs.
local function orphans_from(key)
  local match, given, partial = {}, {}, {}
  for i, column in ipairs(key.columns) do
    match[i] = ("p.%s = c.%s"):format(key.parent_columns[i], column)
    given[i] = ("c.%s IS NOT NULL"):format(column)
    partial[i] = ("c.%s IS NULL"):format(column)
  end
  local orphan = ("(%s AND NOT EXISTS (SELECT 1 FROM %s p WHERE %s))"):format(
    table.concat(given, " AND "), key.parent, table.concat(match, " AND "))
  if key.match == "f" and #key.columns > 1 then
    orphan = ("(%s OR (%s) AND NOT (%s))"):format(orphan, table.concat(partial, " OR "),
      table.concat(partial, " AND "))
  end
  return ("FROM %s c WHERE %s"):format(key.child, orphan)
end

local function check_key(db, key)
  local from = orphans_from(key)
  local count = db:value("SELECT pg_catalog.count(*) " .. from)
  if count == 0 then
    return
  end
  local columns = {}
  for i, column in ipairs(key.columns) do
    columns[i] = ("c.%s::text"):format(column)
  end
  local first = db:value(("SELECT pg_catalog.concat_ws(', ', %s) %s LIMIT 1"):format(
    table.concat(columns, ", "), from))
  text.fail("foreign key %s of %s: found %d row%s without a row in %s, first (%s) = (%s)", key.name,
    key.table_name, count, count == 1 and "" or "s", key.parent,
    table.concat(key.columns, ", "), first)
end

-- Every node of a plan, depth first.
local function each_node(plan, visit)
  visit(plan)
  for _, child in ipairs(plan.Plans or {}) do
    each_node(child, visit)
  end
end

local function is_sql(words)
  return words:find "%s" ~= nil
end

local function in_words(bounds)
  if bounds.min and bounds.max then
    return ("%d to %d rows"):format(bounds.min, bounds.max)
  elseif bounds.min then
    return ("at least %d rows"):format(bounds.min)
  end
  return ("at most %d rows"):format(bounds.max)
end

return function(expect, ask, db)
  function expect.no_rows(sql, ...)
    for row in db:rows(text.name("no_rows", sql), ...) do
      text.fail("no_rows: expected none, found %s", text.show(row))
    end
  end

  function expect.count(what, expected, ...)
    local from
    if is_sql(text.name("count", what)) then
      from = ("(%s\n) AS neap_counted"):format((what:gsub("[;%s]+$", "")))
    else
      local row = ask.relation("table", what, "rpfvm")
      from = db:ident(row.schema, row.name)
    end
    local count = db:value("SELECT pg_catalog.count(*) FROM " .. from, ...)
    if type(expected) == "table" then
      local bounds = text.options("count", expected, { "min", "max" })
      if count < (bounds.min or count) or count > (bounds.max or count) then
        text.fail("count of %s: expected %s, found %d", what, in_words(bounds), count)
      end
    elseif count ~= expected then
      text.fail("count of %s: expected %s, found %d", what, text.show(expected), count)
    end
  end

  function expect.foreign_keys_hold(table_name)
    local keys
    if table_name then
      local row = ask.relation("table", table_name, "rp")
      keys = db:query(foreign_keys_sql .. " AND c.conrelid = $1 ORDER BY c.conname", row.oid)
    else
      keys = db:query(foreign_keys_sql .. " ORDER BY 2, 1")
    end
    for _, key in ipairs(keys) do
      check_key(db, key)
    end
  end

  function expect.uses_index(sql, index, ...)
    local wanted = text.name("uses_index", index):match "[^%.]+$"
    local explain = "EXPLAIN (FORMAT JSON) " .. text.name("uses_index", sql)
    local plan = pg.decode_json(db:value(explain, ...))
    local found, uses = {}, false
    each_node(plan[1].Plan, function(node)
      local name = node["Index Name"]
      uses = uses or name == wanted
      if name or node["Relation Name"] then
        found[#found + 1] = node["Node Type"] .. " on " .. (name or node["Relation Name"])
      end
    end)
    if not uses then
      ask.relation("index", index, "iI")
      text.fail("uses_index: expected the plan to use %s, found %s", index,
        #found > 0 and table.concat(found, ", ") or "no scan at all")
    end
  end

  function expect.within(duration, sql, ...)
    local limit = neap.duration(duration)
    local plan = pg.decode_json(db:value("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " ..
      text.name("within", sql), ...))
    local took = tonumber(plan[1]["Planning Time"]) + tonumber(plan[1]["Execution Time"])
    if took > limit then
      text.fail("within: expected %s at most, found %.1f ms", duration, took)
    end
  end
end
