---@meta neap.pg
-- SPDX-License-Identifier: MIT
-- Types for editors: `db`, as up, verify and down are given it, and require "neap.pg".
error "neap/_meta is for editors and cannot be required"

---What goes as a parameter: nil is refused, NULL is `neap.null`, a table is passed
---as `db:array {…}` or `db:json(…)`, bytes as `db:bytea "…"`.
---@alias neap.pg.Param string|number|boolean|neap.Null|neap.pg.Bytea

---One row: columns by name. int2, int4, int8 and oid are integers, float4 and
---float8 floats, boolean boolean, bytea the bytes, arrays lists (with `neap.null`
---for NULL); numeric and everything else is text. NULL is nil; a name that is no
---column raises.
---@alias neap.pg.Row table<string, any>

---Bytes that go as a bytea parameter.
---@class neap.pg.Bytea

---@class neap.pg.JsonOpts
---@field empty_array? boolean an empty table is `[]`; false

---@class neap.pg.WaitOpts
---@field timeout? neap.Duration how long to wait; "5s"

---@class neap.pg.ConnectOpts
---@field timeout? neap.Duration for the whole connect; "10s"

---@class neap.pg.Notification
---@field channel string
---@field payload string
---@field pid integer the server process that notified

---A session with the target's PostgreSQL. It is valid until the function that was
---given it ends. In a step with a transaction the host begins and ends it, and
---everything here happens in it.
---@class neap.pg.Conn
local Conn = {}

---Runs one statement and gives the number of rows it affected.
---
---In a transaction a call that stands as a statement of its own is sent without
---waiting; its error comes where the host waits next, and names this line.
---`CREATE INDEX CONCURRENTLY` is built as one act, and counts when it is valid.
---
---Raises: db.query, db.argument, db.transaction_control, db.no_transaction,
---lock.timeout, gate.refused
---```lua
---db:exec("UPDATE shop.products SET price = price * $1 WHERE id = $2", "1.10", 7)
---```
---@param sql string one statement, with $1, $2, …
---@param ... neap.pg.Param
---@return integer row_count
function Conn:exec(sql, ...) end

---Runs one statement and gives all its rows.
---
---A result larger than the host's cap raises db.rows: stream it with `db:rows`.
---
---Raises: db.query, db.argument, db.rows, db.transaction_control, gate.refused
---@param sql string
---@param ... neap.pg.Param
---@return neap.pg.Row[] rows
---@nodiscard
function Conn:query(sql, ...) end

---Runs one statement and gives its only row, or nil when there is none.
---
---Raises: db.rows for more than one row, db.query, db.argument
---@param sql string
---@param ... neap.pg.Param
---@return neap.pg.Row|nil row
function Conn:row(sql, ...) end

---Runs one statement and gives the first column of its only row.
---
---Raises: db.rows for more than one row, db.query, db.argument
---@param sql string
---@param ... neap.pg.Param
---@return any value nil for NULL and for no row
function Conn:value(sql, ...) end

---Streams the rows of one statement through a for loop, in constant memory.
---
---In a transaction other statements may run in between; outside one the
---connection is busy until the loop has ended.
---
---Raises: db.query, db.argument
---```lua
---for row in db:rows "SELECT id, name FROM shop.products" do … end
---```
---@param sql string
---@param ... neap.pg.Param
---@return fun(): neap.pg.Row|nil next
---@return nil
---@return nil
---@return neap.pg.Rows closing
---@nodiscard
function Conn:rows(sql, ...) end

---Sends the bytes or rows of `source` to a COPY … FROM STDIN.
---
---A string is the whole input. A list of rows (each a list of values, NULL is
---`neap.null`) is written in COPY's text format. A function is called until it
---gives nil, and gives bytes or a row each time.
---
---Raises: db.query, db.argument
---@param sql string
---@param source string|table[]|fun(): string|table|nil
---@return integer row_count
function Conn:copy_in(sql, source) end

---Reads a COPY … TO STDOUT into `sink`, or as one string.
---
---Raises: db.query, db.argument, db.rows
---@param sql string
---@param sink? fun(bytes: string) called with each piece; without it the whole is returned
---@return string|integer result the text, or with a sink the number of rows
function Conn:copy_out(sql, sink) end

---Runs `fn` so that a failing statement undoes only what `fn` did.
---
---It is the one way to go on after an error of the server. Deadlocks and
---serialization failures pass through: the whole transaction is run again. Errors
---of the script itself pass through after the rollback.
---
---Raises: what `fn` raised, db.argument without a transaction
---```lua
---local ok, err = db:savepoint(function() db:exec "INSERT INTO t VALUES (1)" end)
---```
---@param fn fun(db: neap.pg.Conn, ...: any): ...
---@param ... any arguments of `fn`
---@return boolean ok
---@return any ... what `fn` returned, or the error object
function Conn:savepoint(fn, ...) end

---Waits until every statement sent so far has succeeded.
---
---Raises: the first failure
function Conn:wait() end

---Quotes an identifier, or several as one qualified name.
---```lua
---db:exec("DROP TABLE " .. db:ident("ai", "translations"))
---```
---@param name string
---@param ... string
---@return string quoted
---@nodiscard
function Conn:ident(name, ...) end

---Quotes a text as an SQL literal, where parameters are not allowed.
---@param text string
---@return string quoted
---@nodiscard
function Conn:literal(text) end

---Writes a list as an array parameter.
---@param list table without holes; nested lists are dimensions, NULL is `neap.null`
---@return string text
---@nodiscard
function Conn:array(list) end

---Writes a Lua value as a JSON parameter.
---@param value any null is `neap.null`
---@param opts? neap.pg.JsonOpts
---@return string text
---@nodiscard
function Conn:json(value, opts) end

---Marks a string as bytes, for a bytea parameter.
---@param bytes string
---@return neap.pg.Bytea bytea
---@nodiscard
function Conn:bytea(bytes) end

---Begins to listen on a channel. For steps with `transaction = false`.
---
---Raises: db.no_transaction, gate.refused
---@param channel string
function Conn:listen(channel) end

---Ends listening on a channel, or on all of them.
---@param channel? string
function Conn:unlisten(channel) end

---Notifies those who listen on a channel; in a transaction, when it commits.
---@param channel string
---@param payload? string
function Conn:notify(channel, payload) end

---Waits for a notification, or gives nil when the time is over.
---@param opts? neap.pg.WaitOpts
---@return neap.pg.Notification|nil notification
function Conn:wait_notification(opts) end

---Opens another connection to the same target, outside any transaction.
---
---It is closed with the function at the latest. Refused in a transaction, which
---could not undo what is done there.
---
---Raises: gate.refused, db.connect
---@param opts? neap.pg.ConnectOpts
---@return neap.pg.Conn db
---@nodiscard
function Conn:connect(opts) end

---Closes a connection that `db:connect` opened.
function Conn:close() end

---Says whether the session is idle, active, in a transaction, failed or lost.
---@return "idle"|"active"|"transaction"|"failed"|"unknown"|"lost" status
---@nodiscard
function Conn:status() end

---Gives the server's version as a number, 150020 for 15.20.
---@return integer version
---@nodiscard
function Conn:server_version() end

---The rows of `db:rows`, as they come.
---@class neap.pg.Rows
local Rows = {}

---Ends the stream before its last row.
function Rows:close() end

---PostgreSQL values for parameters.
---@class neap.pg
local pg = {}

---Marks a string as bytes, for a bytea parameter.
---@param bytes string
---@return neap.pg.Bytea bytea
---@nodiscard
function pg.bytea(bytes) end

---Writes a list as an array parameter.
---@param list table
---@return string text
---@nodiscard
function pg.array(list) end

---Writes a Lua value as a JSON parameter.
---@param value any
---@param opts? neap.pg.JsonOpts
---@return string text
---@nodiscard
function pg.json(value, opts) end

---Reads JSON: integers stay integers, other numbers are strings, null is neap.null.
---@param text string
---@return any value
---@nodiscard
function pg.decode_json(text) end

---Reads the text of an array whose element type neap does not know.
---@param text string
---@return table list of strings and `neap.null`
---@nodiscard
function pg.decode_array(text) end

---Raises expect.failed at the line of the script: for expectations of your own.
---@param message string
---@param hint? string
function pg.expectation_failed(message, hint) end

return pg
