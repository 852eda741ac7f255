---@meta neap.expect
-- SPDX-License-Identifier: MIT
-- Types for editors: `expect`, as verify(db, expect) is given it.
error "neap/_meta is for editors and cannot be required"

---@class neap.expect.ColumnOpts
---@field type? string as in CREATE TABLE: "varchar(10)", "timestamptz"
---@field null? boolean whether NULL is allowed
---@field default? string|false the expression; false: none

---@class neap.expect.IndexOpts
---@field table? string
---@field unique? boolean
---@field columns? string[] key columns and expressions, in order
---@field definition? string as pg_get_indexdef writes it
---@field valid? boolean true

---@class neap.expect.ConstraintOpts
---@field type? "check"|"foreign key"|"primary key"|"unique"|"exclusion"
---@field validated? boolean true
---@field definition? string as pg_get_constraintdef writes it

---@class neap.expect.ViewOpts
---@field materialized? boolean
---@field definition? string

---@class neap.expect.FunctionOpts
---@field returns? string
---@field language? string
---@field security_definer? boolean
---@field volatility? "immutable"|"stable"|"volatile"

---@class neap.expect.TriggerOpts
---@field enabled? boolean true
---@field func? string the function it calls
---@field definition? string

---@class neap.expect.RlsOpts
---@field enabled? boolean true
---@field forced? boolean

---@class neap.expect.PolicyOpts
---@field command? "all"|"select"|"insert"|"update"|"delete"
---@field roles? string|string[]
---@field using? string
---@field check? string
---@field permissive? boolean

---@class neap.expect.ExtensionOpts
---@field version? string
---@field schema? string

---@class neap.expect.RoleOpts
---@field login? boolean
---@field superuser? boolean
---@field inherit? boolean
---@field createdb? boolean
---@field createrole? boolean
---@field replication? boolean
---@field bypassrls? boolean
---@field member_of? string

---@class neap.expect.Bounds
---@field min? integer
---@field max? integer

---Statements about what the database now is. One that does not hold raises
---expect.failed and says what was found instead.
---@class neap.Expect
local expect = {}

---Expects a table (ordinary, partitioned or foreign).
---
---Raises: expect.failed
---@param name string
function expect.table(name) end

---Expects that no relation has this name.
---
---Raises: expect.failed
---@param name string
function expect.no_table(name) end

---Expects a column, and what is said of it.
---
---Raises: expect.failed
---```lua
---expect.column("ai.translations", "locale", { type = "text", null = false })
---```
---@param table_name string
---@param column_name string
---@param opts? string|neap.expect.ColumnOpts the type alone, or options
function expect.column(table_name, column_name, opts) end

---Expects that the table has no such column.
---
---Raises: expect.failed
---@param table_name string
---@param column_name string
function expect.no_column(table_name, column_name) end

---Expects an index that is valid, and what is said of it.
---
---Raises: expect.failed
---@param name string
---@param opts? neap.expect.IndexOpts
function expect.index(name, opts) end

---Expects that no relation has this name.
---
---Raises: expect.failed
---@param name string
function expect.no_index(name) end

---Expects a constraint that is validated, and what is said of it.
---
---Raises: expect.failed
---@param table_name string
---@param name string
---@param opts? neap.expect.ConstraintOpts
function expect.constraint(table_name, name, opts) end

---Expects that the table has no such constraint.
---
---Raises: expect.failed
---@param table_name string
---@param name string
function expect.no_constraint(table_name, name) end

---Expects a view.
---
---Raises: expect.failed
---@param name string
---@param opts? neap.expect.ViewOpts
function expect.view(name, opts) end

---Expects a function; `expect["function"]` and `expect.function_` are the same.
---
---Raises: expect.failed
---@param name string "app.f", or "app.f(integer, text)"
---@param opts? neap.expect.FunctionOpts
function expect.func(name, opts) end

---Expects a function, as `expect.func` does.
---
---Raises: expect.failed
---@param name string
---@param opts? neap.expect.FunctionOpts
function expect.function_(name, opts) end

---Expects that there is no such function.
---
---Raises: expect.failed
---@param name string
function expect.no_function(name) end

---Expects a trigger that is enabled, and what is said of it.
---
---Raises: expect.failed
---@param table_name string
---@param name string
---@param opts? neap.expect.TriggerOpts
function expect.trigger(table_name, name, opts) end

---Expects that the table has no such trigger.
---
---Raises: expect.failed
---@param table_name string
---@param name string
function expect.no_trigger(table_name, name) end

---Expects row security of a table.
---
---Raises: expect.failed
---@param table_name string
---@param opts? neap.expect.RlsOpts
function expect.rls(table_name, opts) end

---Expects a policy on a table whose row security is enabled.
---
---Raises: expect.failed
---@param table_name string
---@param name string
---@param opts? neap.expect.PolicyOpts
function expect.policy(table_name, name, opts) end

---Expects an extension.
---
---Raises: expect.failed
---@param name string
---@param opts? neap.expect.ExtensionOpts
function expect.extension(name, opts) end

---Expects an enumerated type, and its values.
---
---Raises: expect.failed
---@param name string
---@param values? string[] all of them, in order
function expect.enum(name, values) end

---Expects a role, and its attributes.
---
---Raises: expect.failed
---@param name string
---@param opts? neap.expect.RoleOpts
function expect.role(name, opts) end

---Expects that there is no such role.
---
---Raises: expect.failed
---@param name string
function expect.no_role(name) end

---Expects that a role has a privilege.
---
---Raises: expect.failed
---```lua
---expect.grant("shop_app", "select", "ai.translations")
---```
---@param role string or "public"
---@param privilege string "select", "usage", …
---@param object string a table, or "schema app", "sequence s", "function f(integer)", …
function expect.grant(role, privilege, object) end

---Expects that a role has not a privilege.
---
---Raises: expect.failed
---@param role string
---@param privilege string
---@param object string
function expect.no_grant(role, privilege, object) end

---Runs `fn` as a role, under its row security: it sees what the role sees.
---
---The session must be allowed to SET ROLE. In verify neap has row_security off, so
---that no policy hides rows in silence; in here it is on.
---
---Raises: expect.failed, db.query, what `fn` raised
---```lua
---expect.as("shop_app", function()
---  expect.count("SELECT FROM shop.orders", 0)
---end)
---```
---@param role string
---@param fn fun()
function expect.as(role, fn) end

---Expects two values to be equal, tables in depth.
---
---Raises: expect.failed
---@param actual any
---@param expected any NULL is nil or `neap.null`
---@param what? string named in the message
function expect.equal(actual, expected, what) end

---Expects exactly these rows, in this order.
---
---Raises: expect.failed
---@param actual string|neap.pg.Row[] a statement, or its rows
---@param expected table[]
---@param ... neap.pg.Param
function expect.rows(actual, expected, ...) end

---Expects that a statement gives no row.
---
---Raises: expect.failed
---@param sql string
---@param ... neap.pg.Param
function expect.no_rows(sql, ...) end

---Expects a number of rows.
---
---Raises: expect.failed
---```lua
---expect.count("SELECT 1 FROM ai.locales WHERE active = $1", 5, true)
---```
---@param what string a table, or a statement
---@param expected integer|neap.expect.Bounds
---@param ... neap.pg.Param
function expect.count(what, expected, ...) end

---Expects that the data keeps every foreign key, validated or not.
---
---Raises: expect.failed
---@param table_name? string all tables without it
function expect.foreign_keys_hold(table_name) end

---Expects that the plan of a statement uses an index.
---
---Raises: expect.failed
---@param sql string
---@param index string
---@param ... neap.pg.Param
function expect.uses_index(sql, index, ...) end

---Expects that the server plans and executes a statement in a time.
---
---Raises: expect.failed
---@param duration neap.Duration
---@param sql string it is executed, by EXPLAIN ANALYZE
---@param ... neap.pg.Param
function expect.within(duration, sql, ...) end

---Makes `expect` for a connection; the host does it for verify.
---@param db neap.pg.Conn
---@return neap.Expect expect
local function make(db) end

return make
