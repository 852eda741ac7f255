/* SPDX-License-Identifier: MIT
 *
 * Owns a script's life: open (run the chunk, check what it returns), call (one
 * part of one step), close. SQL files take the same calls and no Lua state. It
 * knows neither history nor the step machine. Surprise: a statement that the
 * server refused fails the call also when the script swallowed the error, and is
 * reported before what the script raised afterwards.
 */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_lua.h"
#include "host/base/memory.h"
#include "host/script/script_sql.h"
#include "host/script/script_state.h"

static const char contract_key = 0; /* registry: what the chunk returned */

struct neap_script {
    struct neap_script_opts opts;
    const struct neap_source *source;
    struct neap_script_state state; /* Lua only */
    struct neap_sections sections;  /* SQL only */
    struct neap_script_def *def;    /* in the contract's userdata, or in sections */
};

struct call {
    size_t index;
    enum neap_script_part part;
    const struct neap_script_db *db;
    const struct neap_source *source;
    int64_t memory_bytes;
    int line; /* where the function begins; 0 when it is not in the script's own file */
};

/* ---- open ---- */

static int end_load(lua_State *L, int status, lua_KContext context)
{
    const struct neap_script_contract *contract = neap_script_contract_at(L, -1);
    (void)status;
    (void)context;
    if (contract == NULL)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                               "a migration must return migration { … }; this file returned %s",
                               lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
    if (contract->is_runbook)
        return glue_raise_code(L, NEAP_ERR_SCRIPT_CONTRACT,
                               "a runbook is not a migration: move the file to runbooks/");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &contract_key);
    return 1;
}

static int entry_load(lua_State *L)
{
    const struct neap_source *source = lua_touserdata(L, 1);
    neap_script_load_file(L, &source->files[0]);
    lua_callk(L, 0, 1, 0, end_load);
    return end_load(L, LUA_OK, 0);
}

static bool open_lua(struct neap_script *script, struct neap_error *err)
{
    struct neap_run *run = neap_loop_run(script->opts.loop);
    unsigned allowed = run->allowed;
    const char *rule = run->rule;
    lua_State *thread;
    if (!neap_script_state_open(&script->state, &script->opts, script->source, false, err))
        return false;
    run->allowed = NEAP_ALLOW(NEAP_EFFECT_PURE);
    run->rule = "while it is loaded";
    void *source = (void *)(uintptr_t)script->source;
    bool is_loaded = neap_script_state_run(&script->state, entry_load, source,
                                           NEAP_SCRIPT_LOAD_CPU_MS, &thread, err);
    run->allowed = allowed;
    run->rule = rule;
    if (!is_loaded) {
        if (err->where_file == NULL)
            neap_error_where(err, script->source->files[0].path, 1);
        return false;
    }
    script->def = &neap_script_contract_at(thread, -1)->def;
    lua_settop(script->state.L, 0);
    script->def->why = neap_source_header(&script->source->files[0], "why");
    script->def->risk = neap_source_header(&script->source->files[0], "risk");
    script->def->locks = neap_source_header(&script->source->files[0], "locks");
    return true;
}

bool neap_script_open(const struct neap_script_opts *opts, const struct neap_source *source,
                      struct neap_script **out, struct neap_error *err)
{
    struct neap_script *script = neap_alloc(sizeof *script);
    struct neap_error own = {0};
    bool is_open;
    script->opts = *opts;
    script->source = source;
    *out = NULL;
    if (source->kind == NEAP_SOURCE_SQL) {
        is_open = neap_sections_parse(&source->files[0], &script->sections, &own);
        script->def = &script->sections.def;
    } else {
        is_open = open_lua(script, &own);
    }
    if (!is_open) {
        neap_script_close(script);
        if (err != NULL)
            neap_error_move(err, &own);
        neap_error_clear(&own);
        return false;
    }
    *out = script;
    return true;
}

const struct neap_script_def *neap_script_def(const struct neap_script *script)
{
    return script->def;
}

void neap_script_close(struct neap_script *script)
{
    if (script == NULL)
        return;
    neap_script_state_close(&script->state);
    neap_sections_clear(&script->sections);
    free(script);
}

/* ---- call ---- */

static int end_call(lua_State *L, int status, lua_KContext context)
{
    (void)L;
    (void)status;
    (void)context;
    return 1;
}

/* Nobody looks at the result of db:exec on this line: it need not be waited for. */
static bool is_unlooked(void *arg, const char *path, int line)
{
    const struct neap_source *source = arg;
    for (size_t i = 0; i < source->file_count; i++) {
        if (strcmp(source->files[i].path, path) == 0)
            return neap_source_exec_unlooked(&source->files[i], line);
    }
    return false;
}

/* Pushes db (nil without a client). */
static void push_db(lua_State *L, const struct call *call)
{
    const struct neap_script_db *db = call->db;
    if (db == NULL || db->client == NULL) {
        lua_pushnil(L);
        return;
    }
    const struct pg_lua_rule rule = {.transaction = db->transaction,
                                     .read_only = db->read_only,
                                     .control = db->control,
                                     .conninfo = db->conninfo,
                                     .row_max_bytes = call->memory_bytes / 2,
                                     .index_ours = db->index_ours,
                                     .unlooked = is_unlooked,
                                     .unlooked_arg = (void *)(uintptr_t)call->source,
                                     .opened = db->opened,
                                     .opened_arg = db->opened_arg};
    pg_lua_open(L);
    pg_lua_push(L, db->client, &rule);
}

static int line_of(lua_State *L, const struct neap_source_file *file)
{
    lua_Debug at;
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">S", &at);
    return at.source[0] == '@' && strcmp(at.source + 1, file->path) == 0 ? at.linedefined : 0;
}

static int entry_call(lua_State *L)
{
    static const char *const names[] = {"up", "verify", "down"};
    struct call *call = lua_touserdata(L, 1);
    int count = 1;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &contract_key);
    lua_getiuservalue(L, -1, 1);
    lua_rawgeti(L, -1, (lua_Integer)call->index + 1);
    lua_getfield(L, -1, names[call->part]);
    call->line = line_of(L, &call->source->files[0]);
    push_db(L, call);
    if (call->part == NEAP_PART_VERIFY) {
        lua_pushcfunction(L, neap_script_require);
        lua_pushliteral(L, "neap.expect");
        lua_call(L, 1, 1);
        lua_pushvalue(L, -2); /* … verify db make_expect db | */
        lua_call(L, 1, 1);
        count = 2;
    }
    lua_callk(L, count, 1, 0, end_call);
    return end_call(L, LUA_OK, 0);
}

static int entry_retire(lua_State *L)
{
    pg_lua_retire(L);
    return 0;
}

static bool call_lua(struct neap_script *script, struct call *call, struct neap_error *err)
{
    lua_State *thread, *L = script->state.L;
    call->memory_bytes = (int64_t)script->state.memory.cap;
    bool is_done = neap_script_state_run(&script->state, entry_call, call, 0, &thread, err);
    if (is_done && call->part == NEAP_PART_VERIFY && lua_isboolean(thread, -1) &&
        !lua_toboolean(thread, -1)) {
        neap_error_set(err, NEAP_ERR_VERIFY_FAILED, "verify returned false");
        neap_error_where(err, call->source->files[0].path, call->line);
        is_done = false;
    }
    lua_pushcfunction(L, entry_retire);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK && is_done) {
        glue_error_of(L, -1, err);
        is_done = false;
    }
    lua_settop(L, 0);
    return is_done;
}

static bool is_run_code(const struct neap_error *err)
{
    return strncmp(neap_error_row(err->code)->code, "run.", 4) == 0;
}

/* Waits for everything, unless the caller does; the first refused statement decides,
 * unless the run was stopped or that very error is what the script raised. */
static bool settle(const struct neap_script_db *db, bool is_done, struct neap_error *err)
{
    struct neap_error late = {0};
    if (db == NULL || db->client == NULL)
        return is_done;
    if (is_done && db->goes_on && pg_failure(db->client) == NULL)
        return true;
    bool is_settled = pg_settle(db->client, &late);
    const struct neap_error *first = pg_failure(db->client);
    if (first == NULL && !is_settled)
        first = &late;
    bool is_stop = !is_done && is_run_code(err);
    if (first != NULL && !is_stop) {
        char *then = is_done ? NULL : neap_strdup(err->message);
        bool is_same = then != NULL && first->message != NULL && strcmp(then, first->message) == 0;
        bool is_echo = is_same || (!is_done && err->code == NEAP_ERR_DB_ABORTED);
        char *traceback = is_same ? neap_strdup(err->traceback) : NULL;
        neap_error_copy(err, first);
        if (then != NULL && !is_echo && err->detail == NULL)
            neap_error_detail(err, "The script then raised: %s", then);
        if (traceback != NULL && err->traceback == NULL)
            neap_error_traceback(err, traceback);
        free(traceback);
        free(then);
        is_done = false;
    }
    neap_error_clear(&late);
    return is_done;
}

/* What a verify raised is a failed verify, except what says nothing of the data:
 * a stop, a lost connection, a lock that was not granted. */
static void judge_verify(struct neap_error *err)
{
    switch (err->code) {
    case NEAP_ERR_DB_LOST:
    case NEAP_ERR_LOCK_TIMEOUT:
    case NEAP_ERR_LOCK_DEADLOCK:
    case NEAP_ERR_DB_SERIALIZATION:
    case NEAP_ERR_LEASE_LOST:
    case NEAP_ERR_AUDIT_JOURNAL:
    case NEAP_ERR_INTERNAL_BUG:
        return;
    default:
        if (!is_run_code(err))
            err->code = NEAP_ERR_VERIFY_FAILED;
    }
}

bool neap_script_call(struct neap_script *script, size_t index, enum neap_script_part part,
                      const struct neap_script_db *db, struct neap_error *err)
{
    struct neap_error own = {0};
    struct call call = {.index = index, .part = part, .db = db, .source = script->source};
    const struct neap_step_def *step = &script->def->steps[index];
    if (part == NEAP_PART_VERIFY && step->unverified != NULL)
        return true;
    if (part == NEAP_PART_DOWN && step->irreversible != NULL) {
        neap_error_set(err, NEAP_ERR_POLICY_REFUSED, "\"%s\" is irreversible: %s", step->name,
                       step->irreversible);
        return false;
    }
    bool is_done;
    if (script->source->kind == NEAP_SOURCE_SQL)
        is_done = neap_script_sql_call(&script->source->files[0], &script->sections.steps[index],
                                       part, db, &own);
    else
        is_done = call_lua(script, &call, &own);
    is_done = settle(db, is_done, &own);
    if (!is_done && part == NEAP_PART_VERIFY)
        judge_verify(&own);
    if (!is_done && err != NULL)
        neap_error_move(err, &own);
    neap_error_clear(&own);
    return is_done;
}
