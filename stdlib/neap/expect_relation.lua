-- SPDX-License-Identifier: MIT
--
-- Expectations about relations and what belongs to them: tables, columns,
-- indexes, constraints, views, functions, triggers.
local text = require "neap.expect_text"

local TABLES = "rpf"

local index_sql = [[
  SELECT x.indisvalid AS valid, x.indisready AS ready, x.indisunique AS unique,
         x.indrelid AS table_oid, n.nspname || '.' || t.relname AS table_name,
         pg_catalog.pg_get_indexdef(x.indexrelid) AS definition,
         ARRAY(SELECT pg_catalog.pg_get_indexdef(x.indexrelid, k, true)
                 FROM pg_catalog.generate_series(1, x.indnkeyatts::integer) AS k
                ORDER BY k) AS columns
    FROM pg_catalog.pg_index x
    JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
   WHERE x.indexrelid = $1]]

local constraints_sql = [[
  SELECT conname::text AS name, contype::text AS type, convalidated AS validated,
         pg_catalog.pg_get_constraintdef(oid) AS definition
    FROM pg_catalog.pg_constraint WHERE conrelid = $1]]

local triggers_sql = [[
  SELECT tgname::text AS name, tgenabled::text AS enabled,
         tgfoid::pg_catalog.regproc::text AS func,
         pg_catalog.pg_get_triggerdef(oid, true) AS definition
    FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal]]

local functions_sql = [[
  SELECT p.oid AS oid, n.nspname::text AS schema, p.proname::text AS name,
         n.nspname || '.' || p.proname || '(' ||
           pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' AS signature,
         pg_catalog.pg_get_function_result(p.oid) AS returns, l.lanname::text AS language,
         p.prosecdef AS security_definer, p.provolatile::text AS volatility,
         pg_catalog.pg_function_is_visible(p.oid) AS visible
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
   WHERE ]]

local CONSTRAINT_TYPES = {
  c = "check", f = "foreign key", p = "primary key", u = "unique", x = "exclusion", t = "trigger",
}

local TYPE_ALIASES = {
  int = "integer", int4 = "integer", int8 = "bigint", int2 = "smallint", bool = "boolean",
  varchar = "character varying", char = "character", bpchar = "character",
  float8 = "double precision", float4 = "real", float = "double precision",
  decimal = "numeric", varbit = "bit varying",
  timestamptz = "timestamp with time zone", timetz = "time with time zone",
  timestamp = "timestamp without time zone", time = "time without time zone",
}

-- "varchar(10)[]" as format_type writes it: "character varying(10)[]".
local function canonical_type(name)
  local plain = text.normal(name)
  local brackets = plain:match "%[.*$" or ""
  plain = plain:sub(1, #plain - #brackets)
  local base, modifier, rest = plain:match "^([^%(]-) ?(%b())(.*)$"
  if not base then
    base, modifier, rest = plain, "", ""
  end
  modifier = modifier:gsub("%s", "")
  if rest == "" then
    base = TYPE_ALIASES[base] or base
  end
  local head, tail = base:match "^(time%a*)( %a+ time zone)$"
  if head then
    base, rest = head, tail
  end
  return base .. modifier .. rest .. brackets
end

-- "'x'::text" and "'x'" are the same default.
local function default_is(actual, expected)
  if actual == expected then
    return true
  elseif not actual or type(expected) ~= "string" then
    return false
  end
  local bare = actual:gsub("::[%w%s_\".%(%),]+%[?%]?$", "")
  return bare == expected or text.normal(actual) == text.normal(expected)
end

-- Definitions are equal without case, spaces, and the access method that is the default.
local function definition_is(actual, expected)
  local function plain(definition)
    return (text.normal(definition):gsub(" using btree", ""):gsub("%s*([%(%),])%s*", "%1"))
  end
  return plain(actual) == plain(expected)
end

local function check_definition(what, actual, expected)
  if expected ~= nil and not definition_is(actual, expected) then
    text.fail("%s: expected definition %s, found %s", what, text.show(expected), text.show(actual))
  end
end

local function flag(what, word, actual, expected)
  if expected ~= nil and actual ~= expected then
    text.fail("%s: expected %s, found %s", what, expected and word or "not " .. word,
      actual and word or "not " .. word)
  end
end

return function(expect, ask, db)
  function expect.table(name)
    ask.relation("table", name, TABLES)
  end

  function expect.no_table(name)
    local row = ask.find(text.name("no_table", name))
    if row then
      text.fail("table %s: expected none, found %s", name, row.kind_name)
    end
  end

  local function type_is(column, expected)
    if expected:find "^[%w_.\"%[%] ]+$" and not expected:find "%(" then
      local same = db:value("SELECT pg_catalog.to_regtype($1) = $2::oid", expected, column.type_oid)
      if same then
        return column.type_modifier == -1
      end
    end
    return canonical_type(column.type) == canonical_type(expected)
  end

  local function column_row(what, table_name, column_name)
    local relation = ask.relation("table", table_name, "rpfvm")
    local rows = ask.columns(relation.oid)
    local row, suggestion = ask.named(rows, text.name(what, column_name))
    return row, suggestion
  end

  function expect.column(table_name, column_name, opts)
    local row, suggestion = column_row("column", table_name, column_name)
    local what = ("column %s.%s"):format(table_name, column_name)
    if not row then
      text.fail("%s: not found%s", what, suggestion)
    end
    opts = type(opts) == "string" and { type = opts } or opts
    opts = text.options(what, opts, { "type", "null", "default" })
    if opts.type ~= nil and not type_is(row, opts.type) then
      text.fail("%s: expected type %s, found %s", what, opts.type, row.type)
    end
    if opts.null ~= nil and opts.null == row.not_null then
      text.fail("%s: expected %s, found %s", what, opts.null and "NULL allowed" or "NOT NULL",
        row.not_null and "NOT NULL" or "NULL allowed")
    end
    if opts.default == false and row.default then
      text.fail("%s: expected no default, found %s", what, row.default)
    elseif opts.default and not default_is(row.default, opts.default) then
      text.fail("%s: expected default %s, found %s", what, tostring(opts.default),
        row.default or "none")
    end
  end

  function expect.no_column(table_name, column_name)
    local row = column_row("no_column", table_name, column_name)
    if row then
      text.fail("column %s.%s: expected none, found one of type %s", table_name, column_name,
        row.type)
    end
  end

  local function index_table_is(row, expected, what)
    local relation = ask.relation("table", expected, "rpm")
    if relation.oid ~= row.table_oid then
      text.fail("%s: expected on table %s, found on %s", what, expected, row.table_name)
    end
  end

  function expect.index(name, opts)
    local relation = ask.relation("index", name, "iI")
    local what = "index " .. name
    opts = text.options(what, opts, { "table", "unique", "columns", "definition", "valid" })
    local row = db:row(index_sql, relation.oid)
    local valid = opts.valid == nil and true or opts.valid
    flag(what, "valid", row.valid and row.ready, valid)
    flag(what, "unique", row.unique, opts.unique)
    if opts.table then
      index_table_is(row, opts.table, what)
    end
    if opts.columns and text.difference(row.columns, opts.columns) then
      text.fail("%s: expected columns %s, found %s", what, table.concat(opts.columns, ", "),
        table.concat(row.columns, ", "))
    end
    check_definition(what, row.definition, opts.definition)
  end

  function expect.no_index(name)
    local row = ask.find(text.name("no_index", name))
    if row then
      text.fail("index %s: expected none, found %s", name, row.kind_name)
    end
  end

  function expect.constraint(table_name, name, opts)
    local relation = ask.relation("table", table_name, TABLES)
    local what = ("constraint %s of %s"):format(name, table_name)
    opts = text.options(what, opts, { "type", "validated", "definition" })
    local row, suggestion = ask.named(db:query(constraints_sql, relation.oid),
      text.name("constraint", name))
    if not row then
      text.fail("%s: not found%s", what, suggestion)
    end
    local found = CONSTRAINT_TYPES[row.type] or row.type
    if opts.type and text.normal(opts.type) ~= found then
      text.fail("%s: expected a %s, found a %s", what, text.normal(opts.type), found)
    end
    flag(what, "validated", row.validated, opts.validated == nil and true or opts.validated)
    check_definition(what, row.definition, opts.definition)
  end

  function expect.no_constraint(table_name, name)
    local relation = ask.relation("table", table_name, TABLES)
    local row = ask.named(db:query(constraints_sql, relation.oid), name)
    if row then
      text.fail("constraint %s of %s: expected none, found %s", name, table_name, row.definition)
    end
  end

  function expect.view(name, opts)
    local row = ask.relation("view", name, "vm")
    local what = "view " .. name
    opts = text.options(what, opts, { "materialized", "definition" })
    flag(what, "materialized", row.kind == "m", opts.materialized)
    if opts.definition then
      local found = db:value("SELECT pg_catalog.pg_get_viewdef($1::oid)", row.oid)
      check_definition(what, found, opts.definition)
    end
  end

  local function functions_of(name)
    if name:find("(", 1, true) then
      return db:query(functions_sql .. "p.oid = pg_catalog.to_regprocedure($1)", name)
    end
    local rows = db:query(functions_sql .. [[
        p.proname = (pg_catalog.parse_ident($1))[pg_catalog.cardinality(pg_catalog.parse_ident($1))]
        ]], name)
    local found = {}
    local parts = db:value("SELECT pg_catalog.parse_ident($1)", name)
    local is_qualified, schema = #parts > 1, parts[1]
    for _, row in ipairs(rows) do
      if is_qualified and row.schema == schema or not is_qualified and row.visible then
        found[#found + 1] = row
      end
    end
    return found
  end

  local function function_missing(name)
    local names, near = {}, db:query(functions_sql ..
      "n.nspname NOT IN ('pg_catalog', 'information_schema') LIMIT 5000")
    for _, row in ipairs(near) do
      local signature = row.signature
      names[#names + 1] = name:find("(", 1, true) and signature or signature:match "^[^%(]*"
    end
    text.fail("function %s: not found%s", name, text.suggest(name, names))
  end

  local VOLATILITY = { i = "immutable", s = "stable", v = "volatile" }

  function expect.func(name, opts)
    local rows = functions_of(text.name("function", name))
    local what = "function " .. name
    opts = text.options(what, opts, { "returns", "language", "security_definer", "volatility" })
    if #rows == 0 then
      function_missing(name)
    elseif #rows > 1 then
      text.fail("%s: found %d of that name, say which by its arguments: %s", what, #rows,
        rows[1].signature)
    end
    local row = rows[1]
    if opts.returns and canonical_type(opts.returns) ~= canonical_type(row.returns) then
      text.fail("%s: expected to return %s, found %s", what, opts.returns, row.returns)
    end
    if opts.language and opts.language ~= row.language then
      text.fail("%s: expected language %s, found %s", what, opts.language, row.language)
    end
    flag(what, "security definer", row.security_definer, opts.security_definer)
    local volatility = VOLATILITY[row.volatility]
    if opts.volatility and opts.volatility ~= volatility then
      text.fail("%s: expected %s, found %s", what, opts.volatility, volatility)
    end
  end
  -- `function` is a word of Lua: expect["function"] reads as the list of things does.
  expect["function"] = expect.func
  expect.function_ = expect.func

  function expect.no_function(name)
    local rows = functions_of(text.name("no_function", name))
    if #rows > 0 then
      text.fail("function %s: expected none, found %s", name, rows[1].signature)
    end
  end

  local ENABLED = {
    O = "enabled", D = "disabled", R = "enabled on replicas only", A = "enabled always",
  }

  function expect.trigger(table_name, name, opts)
    local relation = ask.relation("table", table_name, "rpfv")
    local what = ("trigger %s of %s"):format(name, table_name)
    opts = text.options(what, opts, { "enabled", "definition", "func" })
    local row, suggestion = ask.named(db:query(triggers_sql, relation.oid),
      text.name("trigger", name))
    if not row then
      text.fail("%s: not found%s", what, suggestion)
    end
    local enabled = opts.enabled == nil and true or opts.enabled
    if enabled ~= (row.enabled == "O" or row.enabled == "A") then
      text.fail("%s: expected %s, found %s", what, enabled and "enabled" or "disabled",
        ENABLED[row.enabled])
    end
    if opts.func and opts.func ~= row.func then
      text.fail("%s: expected to call %s, found %s", what, opts.func, row.func)
    end
    check_definition(what, row.definition, opts.definition)
  end

  function expect.no_trigger(table_name, name)
    local relation = ask.relation("table", table_name, "rpfv")
    local row = ask.named(db:query(triggers_sql, relation.oid), name)
    if row then
      text.fail("trigger %s of %s: expected none, found %s", name, table_name, row.definition)
    end
  end
end
