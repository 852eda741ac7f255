-- SPDX-License-Identifier: MIT
--
-- Expectations about who may do what, and what the database has: row security,
-- roles, grants, extensions, enumerated types.
local text = require "neap.expect_text"

local policies_sql = [[
  SELECT p.polname::text AS name, p.polcmd::text AS command, p.polpermissive AS permissive,
         ARRAY(SELECT CASE WHEN r = 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(r)::text END
                 FROM pg_catalog.unnest(p.polroles) AS r ORDER BY 1) AS roles,
         pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS using,
         pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS check
    FROM pg_catalog.pg_policy p WHERE p.polrelid = $1]]

local extensions_sql = [[
  SELECT e.extname::text AS name, e.extversion AS version, n.nspname::text AS schema
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace]]

local enum_sql = [[
  SELECT t.typtype::text AS kind,
         ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
                WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels
    FROM pg_catalog.pg_type t WHERE t.oid = pg_catalog.to_regtype($1)]]

local enum_names_sql = [[
  SELECT n.nspname::text AS schema, t.typname::text AS name,
         pg_catalog.pg_type_is_visible(t.oid) AS visible
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
   WHERE t.typtype = 'e']]

local roles_sql = [[
  SELECT rolname::text AS name, rolcanlogin AS login, rolsuper AS superuser,
         rolinherit AS inherit, rolcreatedb AS createdb, rolcreaterole AS createrole,
         rolreplication AS replication, rolbypassrls AS bypassrls
    FROM pg_catalog.pg_roles]]

local acting_sql = [[
  SELECT pg_catalog.current_setting('role') AS role,
         pg_catalog.current_setting('row_security') AS row_security]]

-- For the transaction: a rollback to a savepoint takes it back, too.
local act_sql = [[
  SELECT pg_catalog.set_config('role', $1, true) AS role,
         pg_catalog.set_config('row_security', $2, true) AS row_security]]

local COMMANDS = { r = "SELECT", a = "INSERT", w = "UPDATE", d = "DELETE", ["*"] = "ALL" }

local ROLE_FLAGS = {
  "login", "superuser", "inherit", "createdb", "createrole", "replication", "bypassrls",
}

-- What has_…_privilege is asked about each kind of object.
local GRANT_SQL = {
  table = "SELECT pg_catalog.has_table_privilege($1::name, $2::text, $3::text)",
  schema = "SELECT pg_catalog.has_schema_privilege($1::name, $2::text, $3::text)",
  sequence = "SELECT pg_catalog.has_sequence_privilege($1::name, $2::text, $3::text)",
  ["function"] = "SELECT pg_catalog.has_function_privilege($1::name, $2::text, $3::text)",
  database = "SELECT pg_catalog.has_database_privilege($1::name, $2::text, $3::text)",
  type = "SELECT pg_catalog.has_type_privilege($1::name, $2::text, $3::text)",
  language = "SELECT pg_catalog.has_language_privilege($1::name, $2::text, $3::text)",
}

local function bare(expression)
  local plain = text.normal(expression or "")
  while plain:match "^%b()$" do
    plain = plain:sub(2, -2)
  end
  return plain
end

return function(expect, ask, db)
  function expect.rls(table_name, opts)
    local row = ask.relation("table", table_name, "rp")
    local what = "row security of " .. table_name
    opts = text.options(what, opts, { "enabled", "forced" })
    local enabled = opts.enabled == nil and true or opts.enabled
    if row.rls ~= enabled then
      text.fail("%s: expected %s, found %s", what, enabled and "enabled" or "disabled",
        row.rls and "enabled" or "disabled")
    end
    if opts.forced ~= nil and row.forced ~= opts.forced then
      text.fail("%s: expected %s, found %s", what, opts.forced and "forced" or "not forced",
        row.forced and "forced" or "not forced")
    end
  end

  local function check_expression(what, word, found, expected)
    if expected and bare(found) ~= bare(expected) then
      text.fail("%s: expected %s %s, found %s", what, word, expected, found or "none")
    end
  end

  function expect.policy(table_name, name, opts)
    local relation = ask.relation("table", table_name, "rp")
    local what = ("policy %s of %s"):format(name, table_name)
    opts = text.options(what, opts, { "command", "roles", "using", "check", "permissive" })
    local row, suggestion = ask.named(db:query(policies_sql, relation.oid),
      text.name("policy", name))
    if not row then
      text.fail("%s: not found%s", what, suggestion)
    elseif not relation.rls then
      text.fail("%s: found, but row security of %s is disabled", what, table_name)
    end
    local command = COMMANDS[row.command]
    if opts.command and opts.command:upper() ~= command then
      text.fail("%s: expected for %s, found for %s", what, opts.command:upper(), command)
    end
    if opts.roles then
      local wanted = type(opts.roles) == "string" and { opts.roles } or
        table.move(opts.roles, 1, #opts.roles, 1, {})
      table.sort(wanted)
      if text.difference(row.roles, wanted) then
        text.fail("%s: expected to %s, found to %s", what, table.concat(wanted, ", "),
          table.concat(row.roles, ", "))
      end
    end
    if opts.permissive ~= nil and opts.permissive ~= row.permissive then
      text.fail("%s: expected %s, found %s", what,
        opts.permissive and "permissive" or "restrictive",
        row.permissive and "permissive" or "restrictive")
    end
    check_expression(what, "using", row.using, opts.using)
    check_expression(what, "check", row.check, opts.check)
  end

  function expect.extension(name, opts)
    local what = "extension " .. text.name("extension", name)
    opts = text.options(what, opts, { "version", "schema" })
    local row, suggestion = ask.named(db:query(extensions_sql), name)
    if not row then
      text.fail("%s: not found%s", what, suggestion)
    end
    for _, key in ipairs { "version", "schema" } do
      if opts[key] and opts[key] ~= row[key] then
        text.fail("%s: expected %s %s, found %s", what, key, opts[key], row[key])
      end
    end
  end

  local function enum_missing(name)
    local names = {}
    for _, row in ipairs(db:query(enum_names_sql)) do
      names[#names + 1] = row.schema .. "." .. row.name
      if row.visible then
        names[#names + 1] = row.name
      end
    end
    text.fail("enum %s: not found%s", name, text.suggest(name, names))
  end

  function expect.enum(name, values)
    local row = db:row(enum_sql, text.name("enum", name))
    if not row then
      enum_missing(name)
    elseif row.kind ~= "e" then
      text.fail("enum %s: found a type of that name that is no enum", name)
    end
    if values and text.difference(row.labels, values) then
      text.fail("enum %s: expected values %s, found %s", name, table.concat(values, ", "),
        table.concat(row.labels, ", "))
    end
  end

  function expect.role(name, opts)
    local what = "role " .. text.name("role", name)
    opts = text.options(what, opts, { "member_of", table.unpack(ROLE_FLAGS) })
    local row, suggestion = ask.named(db:query(roles_sql), name)
    if not row then
      text.fail("%s: not found%s", what, suggestion)
    end
    for _, key in ipairs(ROLE_FLAGS) do
      if opts[key] ~= nil and opts[key] ~= row[key] then
        text.fail("%s: expected %s = %s, found %s", what, key, tostring(opts[key]),
          tostring(row[key]))
      end
    end
    if opts.member_of then
      local is_member = db:value("SELECT pg_catalog.pg_has_role($1::name, $2::name, 'MEMBER')",
        name, opts.member_of)
      if not is_member then
        text.fail("%s: expected to be a member of %s, found it is not", what, opts.member_of)
      end
    end
  end

  function expect.no_role(name)
    if ask.named(db:query(roles_sql), text.name("no_role", name)) then
      text.fail("role %s: expected none, found one", name)
    end
  end

  -- "schema app", "function app.f(integer)"; a bare name is a table or view.
  local function has_grant(what, role, privilege, object)
    local kind, name = text.name(what, object):match "^(%l+)%s+(.+)$"
    if not kind then
      kind, name = "table", object
    elseif not GRANT_SQL[kind] then
      local kinds = text.keys(GRANT_SQL)
      text.fail("%s: unknown kind of object %s%s", what, kind, text.suggest(kind, kinds))
    end
    local known, suggestion = ask.named(db:query(roles_sql), role)
    if not known and role ~= "public" then
      text.fail("role %s: not found%s", role, suggestion)
    end
    if kind == "table" then
      ask.relation("table", name, "rpvmfS")
    end
    return db:value(GRANT_SQL[kind], role, name, privilege), kind .. " " .. name
  end

  function expect.grant(role, privilege, object)
    local has, shown = has_grant("grant", role, privilege, object)
    if not has then
      text.fail("grant: expected %s to have %s on %s, found it has not", role,
        privilege:upper(), shown)
    end
  end

  function expect.no_grant(role, privilege, object)
    local has, shown = has_grant("no_grant", role, privilege, object)
    if has then
      text.fail("grant: expected %s not to have %s on %s, found it has", role,
        privilege:upper(), shown)
    end
  end

  -- A failure inside ends the transaction or its savepoint, and the role with it,
  -- unless the script catches it: hence the way back in either case.
  function expect.as(role, fn)
    local known, suggestion = ask.named(db:query(roles_sql), text.name("as", role))
    if not known then
      text.fail("role %s: not found%s", role, suggestion)
    end
    local before = db:row(acting_sql)
    db:row(act_sql, role, "on")
    local ok, why = pcall(fn)
    if not ok then
      pcall(db.row, db, act_sql, before.role, before.row_security)
      error(why, 0)
    end
    db:row(act_sql, before.role, before.row_security)
  end
end
