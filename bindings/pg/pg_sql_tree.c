/* SPDX-License-Identifier: MIT
 *
 * What libpg_query's parse tree says of a statement. Owns the table of node
 * tags. The tag is read from the JSON's text, and the tree is decoded only for
 * the few statements whose details matter: a key in JSON text is always
 * `"Name":` with bare quotes, which no string value can contain.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bindings/pg/pg_sql_class.h"

static const char statement_prefix[] = "{\"stmt\":{\"";

typedef void tree_look(const json_t *node, struct pg_sql_class *out);

struct tree_row {
    const char *tag;
    enum pg_sql_kind kind;
    const char *verb;
    tree_look *look; /* NULL: the row says it all */
};

static const char *text_of(const json_t *node, const char *key)
{
    const char *text = json_string_value(json_object_get(node, key));
    return text == NULL ? "" : text;
}

static bool is_true(const json_t *node, const char *key)
{
    return json_is_true(json_object_get(node, key));
}

/* The word of an option's value: `false` is a keyword's string, `off` parses as
 * the name of a type. */
static const char *option_word(const json_t *arg)
{
    const json_t *names = json_object_get(json_object_get(arg, "TypeName"), "names");
    const json_t *value = names == NULL ? arg : json_array_get(names, 0);
    return text_of(json_object_get(value, "String"), "sval");
}

/* defGetBoolean of the last DefElem called `name`; `otherwise` without one. */
static bool option(const json_t *list, const char *name, bool otherwise)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const json_t *element = json_object_get(item, "DefElem");
        if (strcmp(text_of(element, "defname"), name) != 0)
            continue;
        const json_t *arg = json_object_get(element, "arg");
        const json_t *number = json_object_get(arg, "Integer");
        const char *text = option_word(arg);
        bool off = strcasecmp(text, "false") == 0 || strcasecmp(text, "off") == 0;
        otherwise =
            number != NULL ? json_integer_value(json_object_get(number, "ival")) != 0 : !off;
    }
    return otherwise;
}

static bool has_option(const json_t *list, const char *name)
{
    return option(list, name, true) == option(list, name, false);
}

static void set_kind(struct pg_sql_class *out, enum pg_sql_kind kind, const char *verb)
{
    out->kind = kind;
    if (verb != NULL)
        out->verb = verb;
}

/* The parser cut it already, as the server does. */
static void copy_name(char to[64], const char *from)
{
    snprintf(to, 64, "%s", from);
}

bool pg_sql_is_transaction_setting(const char *name)
{
    return strcasecmp(name, "transaction_isolation") == 0 ||
           strcasecmp(name, "transaction_read_only") == 0 ||
           strcasecmp(name, "transaction_deferrable") == 0 ||
           strcasecmp(name, "TRANSACTION") == 0 || strcasecmp(name, "TRANSACTION SNAPSHOT") == 0 ||
           strcasecmp(name, "SESSION CHARACTERISTICS") == 0;
}

static void look_transaction(const json_t *node, struct pg_sql_class *out)
{
    static const char *const verbs[][2] = {
        {"TRANS_STMT_BEGIN", "BEGIN"},
        {"TRANS_STMT_START", "START TRANSACTION"},
        {"TRANS_STMT_COMMIT", "COMMIT"},
        {"TRANS_STMT_ROLLBACK", "ROLLBACK"},
        {"TRANS_STMT_SAVEPOINT", "SAVEPOINT"},
        {"TRANS_STMT_RELEASE", "RELEASE SAVEPOINT"},
        {"TRANS_STMT_ROLLBACK_TO", "ROLLBACK TO SAVEPOINT"},
        {"TRANS_STMT_PREPARE", "PREPARE TRANSACTION"},
        {"TRANS_STMT_COMMIT_PREPARED", "COMMIT PREPARED"},
        {"TRANS_STMT_ROLLBACK_PREPARED", "ROLLBACK PREPARED"},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(text_of(node, "kind"), verbs[i][0]) == 0)
            out->verb = verbs[i][1];
}

static void look_set(const json_t *node, struct pg_sql_class *out)
{
    bool reset = strncmp(text_of(node, "kind"), "VAR_RESET", 9) == 0;
    bool control = pg_sql_is_transaction_setting(text_of(node, "name"));
    set_kind(out, control ? PG_SQL_TRANSACTION_CONTROL : PG_SQL_SESSION, reset ? "RESET" : "SET");
    if (strcasecmp(text_of(node, "name"), "TRANSACTION") == 0)
        out->verb = "SET TRANSACTION";
    if (strcasecmp(text_of(node, "name"), "SESSION CHARACTERISTICS") == 0)
        out->verb = "SET SESSION CHARACTERISTICS";
}

static void look_vacuum(const json_t *node, struct pg_sql_class *out)
{
    if (is_true(node, "is_vacuumcmd"))
        set_kind(out, PG_SQL_NO_TRANSACTION, "VACUUM");
}

static void look_index(const json_t *node, struct pg_sql_class *out)
{
    if (!is_true(node, "concurrent"))
        return;
    const json_t *relation = json_object_get(node, "relation");
    set_kind(out, PG_SQL_INDEX_CONCURRENTLY, "CREATE INDEX CONCURRENTLY");
    copy_name(out->index_name, text_of(node, "idxname"));
    copy_name(out->table_schema, text_of(relation, "schemaname"));
    copy_name(out->table_name, text_of(relation, "relname"));
    out->index_if_not_exists = is_true(node, "if_not_exists");
}

static void look_drop(const json_t *node, struct pg_sql_class *out)
{
    static const char *const verbs[][2] = {
        {"OBJECT_TABLE", "DROP TABLE"},
        {"OBJECT_INDEX", "DROP INDEX"},
        {"OBJECT_VIEW", "DROP VIEW"},
        {"OBJECT_SCHEMA", "DROP SCHEMA"},
        {"OBJECT_SEQUENCE", "DROP SEQUENCE"},
        {"OBJECT_FUNCTION", "DROP FUNCTION"},
        {"OBJECT_TYPE", "DROP TYPE"},
        {"OBJECT_TRIGGER", "DROP TRIGGER"},
        {"OBJECT_EXTENSION", "DROP EXTENSION"},
        {"OBJECT_POLICY", "DROP POLICY"},
        {"OBJECT_MATVIEW", "DROP MATERIALIZED VIEW"},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(text_of(node, "removeType"), verbs[i][0]) == 0)
            out->verb = verbs[i][1];
    if (is_true(node, "concurrent"))
        set_kind(out, PG_SQL_NO_TRANSACTION, "DROP INDEX CONCURRENTLY");
}

static void look_reindex(const json_t *node, struct pg_sql_class *out)
{
    const char *kind = text_of(node, "kind");
    bool one =
        strcmp(kind, "REINDEX_OBJECT_INDEX") == 0 || strcmp(kind, "REINDEX_OBJECT_TABLE") == 0;
    if (option(json_object_get(node, "params"), "concurrently", false))
        set_kind(out, PG_SQL_NO_TRANSACTION, "REINDEX CONCURRENTLY");
    else if (!one)
        set_kind(out, PG_SQL_NO_TRANSACTION, "REINDEX");
}

static void look_alter_table(const json_t *node, struct pg_sql_class *out)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(node, "cmds"), i, item)
    {
        const json_t *command = json_object_get(item, "AlterTableCmd");
        const json_t *partition = json_object_get(json_object_get(command, "def"), "PartitionCmd");
        if (is_true(partition, "concurrent"))
            set_kind(out, PG_SQL_NO_TRANSACTION, "ALTER TABLE DETACH PARTITION CONCURRENTLY");
    }
}

static void look_alter_database(const json_t *node, struct pg_sql_class *out)
{
    if (has_option(json_object_get(node, "options"), "tablespace"))
        set_kind(out, PG_SQL_NO_TRANSACTION, "ALTER DATABASE SET TABLESPACE");
}

static void look_cluster(const json_t *node, struct pg_sql_class *out)
{
    if (json_object_get(node, "relation") == NULL)
        set_kind(out, PG_SQL_NO_TRANSACTION, "CLUSTER");
}

/* The server refuses the slot's creation in a transaction, not the row's. */
static void look_create_subscription(const json_t *node, struct pg_sql_class *out)
{
    const json_t *options = json_object_get(node, "options");
    bool connect = option(options, "connect", true);
    if (!option(options, "create_slot", connect))
        out->kind = PG_SQL_DDL;
}

static void look_alter_subscription(const json_t *node, struct pg_sql_class *out)
{
    const char *kind = text_of(node, "kind");
    bool refresh = strcmp(kind, "ALTER_SUBSCRIPTION_REFRESH") == 0;
    bool publication = strstr(kind, "_PUBLICATION") != NULL;
    if (refresh || (publication && option(json_object_get(node, "options"), "refresh", true)))
        set_kind(out, PG_SQL_NO_TRANSACTION, "ALTER SUBSCRIPTION with refresh");
}

static void look_copy(const json_t *node, struct pg_sql_class *out)
{
    bool server = json_object_get(node, "filename") != NULL || is_true(node, "is_program");
    out->kind = server ? PG_SQL_COPY_PROGRAM : PG_SQL_COPY_STREAM;
}

static void look_explain(const json_t *node, struct pg_sql_class *out)
{
    bool runs = option(json_object_get(node, "options"), "analyze", false);
    if (!runs)
        out->kind = PG_SQL_SELECT; /* a write that is only explained writes nothing */
}

static const struct tree_row tree_rows[] = {
    {"SelectStmt", PG_SQL_SELECT, "SELECT", NULL},
    {"InsertStmt", PG_SQL_WRITE, "INSERT", NULL},
    {"UpdateStmt", PG_SQL_WRITE, "UPDATE", NULL},
    {"DeleteStmt", PG_SQL_WRITE, "DELETE", NULL},
    {"MergeStmt", PG_SQL_WRITE, "MERGE", NULL},
    {"TruncateStmt", PG_SQL_WRITE, "TRUNCATE", NULL},
    {"ExplainStmt", PG_SQL_SELECT, "EXPLAIN", look_explain},
    {"CopyStmt", PG_SQL_COPY_STREAM, "COPY", look_copy},
    {"TransactionStmt", PG_SQL_TRANSACTION_CONTROL, "transaction control", look_transaction},
    {"DiscardStmt", PG_SQL_TRANSACTION_CONTROL, "DISCARD", NULL},
    {"VariableSetStmt", PG_SQL_SESSION, "SET", look_set},
    {"VariableShowStmt", PG_SQL_OTHER, "SHOW", NULL},
    {"ConstraintsSetStmt", PG_SQL_OTHER, "SET CONSTRAINTS", NULL},
    {"IndexStmt", PG_SQL_DDL, "CREATE INDEX", look_index},
    {"CreateStmt", PG_SQL_DDL, "CREATE TABLE", NULL},
    {"CreateTableAsStmt", PG_SQL_DDL, "CREATE TABLE AS", NULL},
    {"AlterTableStmt", PG_SQL_DDL, "ALTER TABLE", look_alter_table},
    {"DropStmt", PG_SQL_DDL, "DROP", look_drop},
    {"RenameStmt", PG_SQL_DDL, "ALTER … RENAME", NULL},
    {"CreateSchemaStmt", PG_SQL_DDL, "CREATE SCHEMA", NULL},
    {"CreateFunctionStmt", PG_SQL_DDL, "CREATE FUNCTION", NULL},
    {"ViewStmt", PG_SQL_DDL, "CREATE VIEW", NULL},
    {"CreateTrigStmt", PG_SQL_DDL, "CREATE TRIGGER", NULL},
    {"CreateSeqStmt", PG_SQL_DDL, "CREATE SEQUENCE", NULL},
    {"CreateEnumStmt", PG_SQL_DDL, "CREATE TYPE", NULL},
    {"AlterEnumStmt", PG_SQL_DDL, "ALTER TYPE", NULL},
    {"CreateExtensionStmt", PG_SQL_DDL, "CREATE EXTENSION", NULL},
    {"CreatePolicyStmt", PG_SQL_DDL, "CREATE POLICY", NULL},
    {"CreateRoleStmt", PG_SQL_DDL, "CREATE ROLE", NULL},
    {"AlterRoleStmt", PG_SQL_DDL, "ALTER ROLE", NULL},
    {"GrantStmt", PG_SQL_DDL, "GRANT", NULL},
    {"GrantRoleStmt", PG_SQL_DDL, "GRANT", NULL},
    {"CommentStmt", PG_SQL_DDL, "COMMENT", NULL},
    {"RefreshMatViewStmt", PG_SQL_DDL, "REFRESH MATERIALIZED VIEW", NULL},
    {"DropOwnedStmt", PG_SQL_DDL, "DROP OWNED", NULL},
    {"ReassignOwnedStmt", PG_SQL_DDL, "REASSIGN OWNED", NULL},
    {"ReindexStmt", PG_SQL_DDL, "REINDEX", look_reindex},
    {"ClusterStmt", PG_SQL_DDL, "CLUSTER", look_cluster},
    {"VacuumStmt", PG_SQL_OTHER, "ANALYZE", look_vacuum},
    {"CreatedbStmt", PG_SQL_NO_TRANSACTION, "CREATE DATABASE", NULL},
    {"DropdbStmt", PG_SQL_NO_TRANSACTION, "DROP DATABASE", NULL},
    {"AlterDatabaseStmt", PG_SQL_DDL, "ALTER DATABASE", look_alter_database},
    {"CreateTableSpaceStmt", PG_SQL_NO_TRANSACTION, "CREATE TABLESPACE", NULL},
    {"DropTableSpaceStmt", PG_SQL_NO_TRANSACTION, "DROP TABLESPACE", NULL},
    {"AlterSystemStmt", PG_SQL_NO_TRANSACTION, "ALTER SYSTEM", NULL},
    {"CreateSubscriptionStmt", PG_SQL_NO_TRANSACTION, "CREATE SUBSCRIPTION",
     look_create_subscription},
    {"AlterSubscriptionStmt", PG_SQL_DDL, "ALTER SUBSCRIPTION", look_alter_subscription},
    {"DropSubscriptionStmt", PG_SQL_NO_TRANSACTION, "DROP SUBSCRIPTION", NULL},
    {"DoStmt", PG_SQL_OTHER, "DO", NULL},
    {"CallStmt", PG_SQL_OTHER, "CALL", NULL},
    {"PrepareStmt", PG_SQL_OTHER, "PREPARE", NULL},
    {"ExecuteStmt", PG_SQL_OTHER, "EXECUTE", NULL},
    {"DeallocateStmt", PG_SQL_OTHER, "DEALLOCATE", NULL},
    {"LockStmt", PG_SQL_OTHER, "LOCK", NULL},
    {"DeclareCursorStmt", PG_SQL_OTHER, "DECLARE", NULL},
    {"FetchStmt", PG_SQL_OTHER, "FETCH", NULL},
    {"ClosePortalStmt", PG_SQL_OTHER, "CLOSE", NULL},
    {"ListenStmt", PG_SQL_OTHER, "LISTEN", NULL},
    {"UnlistenStmt", PG_SQL_OTHER, "UNLISTEN", NULL},
    {"NotifyStmt", PG_SQL_OTHER, "NOTIFY", NULL},
    {"CheckPointStmt", PG_SQL_OTHER, "CHECKPOINT", NULL},
    {"LoadStmt", PG_SQL_OTHER, "LOAD", NULL},
};

static const struct tree_row *row_of(const char *tag, size_t length)
{
    for (size_t i = 0; i < sizeof tree_rows / sizeof *tree_rows; i++)
        if (strlen(tree_rows[i].tag) == length && memcmp(tree_rows[i].tag, tag, length) == 0)
            return &tree_rows[i];
    return NULL;
}

/* RawStmt, the one node with a key "stmt", stands only at the top of a tree. */
size_t pg_sql_tree_count(const char *tree)
{
    size_t count = 0;
    while ((tree = strstr(tree, statement_prefix)) != NULL) {
        tree += strlen(statement_prefix);
        count++;
    }
    return count;
}

/* A SELECT, or an EXPLAIN that runs, may hold a write in WITH, or make a table. */
static void look_select(const char *tree, struct pg_sql_class *out)
{
    static const char *const writes[] = {"\"InsertStmt\":{", "\"UpdateStmt\":{", "\"DeleteStmt\":{",
                                         "\"MergeStmt\":{"};
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++)
        if (strstr(tree, writes[i]) != NULL)
            out->kind = PG_SQL_WRITE;
    if (strstr(tree, "\"intoClause\":{") != NULL || strstr(tree, "\"CreateTableAsStmt\":{") != NULL)
        out->kind = PG_SQL_DDL;
}

bool pg_sql_tree_classify(const char *tree, struct pg_sql_class *out)
{
    const char *tag = strstr(tree, statement_prefix);
    if (tag == NULL)
        return false;
    tag += strlen(statement_prefix);
    size_t length = strcspn(tag, "\"");
    const struct tree_row *row = row_of(tag, length);
    /* Every statement not in the table defines, alters or secures something. */
    set_kind(out, row == NULL ? PG_SQL_DDL : row->kind, row == NULL ? "DDL" : row->verb);
    if (out->kind == PG_SQL_SELECT)
        look_select(tree, out);
    if (row == NULL || row->look == NULL)
        return true;
    json_t *json = json_loads(tree, 0, NULL); /* NULL: nested deeper than jansson goes */
    const json_t *first = json_array_get(json_object_get(json, "stmts"), 0);
    const json_t *node = json_object_get(json_object_get(first, "stmt"), row->tag);
    if (node != NULL)
        row->look(node, out);
    bool looked = node != NULL;
    json_decref(json);
    return looked;
}
