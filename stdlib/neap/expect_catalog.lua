-- SPDX-License-Identifier: MIT
--
-- What expectations ask PostgreSQL's catalog. Every statement is qualified with
-- pg_catalog and takes its names as parameters; a script's search_path decides
-- only what an unqualified name of its own means.
local text = require "neap.expect_text"

local KINDS = {
  r = "table", p = "table", v = "view", m = "materialized view", i = "index", I = "index",
  S = "sequence", f = "foreign table", c = "type", t = "TOAST table",
}

local relation_sql = [[
  SELECT c.oid AS oid, c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name,
         c.relrowsecurity AS rls, c.relforcerowsecurity AS forced
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid = pg_catalog.to_regclass($1)]]

local names_sql = [[
  SELECT n.nspname::text AS schema, c.relname::text AS name,
         pg_catalog.pg_table_is_visible(c.oid) AS visible
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
     AND pg_catalog.strpos($1, c.relkind::text) > 0
   LIMIT 5000]]

local columns_sql = [[
  SELECT a.attname::text AS name, a.attnotnull AS not_null,
         pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
         a.atttypid AS type_oid, a.atttypmod AS type_modifier,
         pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS default,
         a.attidentity::text AS identity, a.attgenerated::text AS generated
    FROM pg_catalog.pg_attribute a
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
   ORDER BY a.attnum]]

return function(db)
  local ask = {}

  --- The relation, or nil.
  function ask.find(name)
    local row = db:row(relation_sql, name)
    if row then
      local kind = KINDS[row.kind] or row.kind
      row.kind_name = (kind:find "^[aeiou]" and "an " or "a ") .. kind
    end
    return row
  end

  --- "; did you mean …?" among the relations of these kinds.
  function ask.suggest(name, kinds)
    local names = {}
    for _, row in ipairs(db:query(names_sql, kinds)) do
      names[#names + 1] = row.schema .. "." .. row.name
      if row.visible then
        names[#names + 1] = row.name
      end
    end
    return text.suggest(name, names)
  end

  --- The relation, of one of `kinds` ("rp"), or a failure.
  function ask.relation(what, name, kinds)
    local row = ask.find(text.name(what, name))
    if not row then
      text.fail("%s %s: not found%s", what, name, ask.suggest(name, kinds))
    elseif not kinds:find(row.kind, 1, true) then
      text.fail("%s %s: found %s of that name", what, name, row.kind_name)
    end
    return row
  end

  function ask.columns(oid)
    return db:query(columns_sql, oid)
  end

  --- The row of `rows` called `name`, or nil and the suggestion.
  function ask.named(rows, name)
    local names = {}
    for _, row in ipairs(rows) do
      if row.name == name then
        return row
      end
      names[#names + 1] = row.name
    end
    return nil, text.suggest(name, names)
  end

  return ask
end
