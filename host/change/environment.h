/* SPDX-License-Identifier: MIT
 *
 * An environment: a named target with its rules, as host/project read it from
 * neap.lua, the environment variables and the flags. Plain values.
 */
#ifndef NEAP_CHANGE_ENVIRONMENT_H
#define NEAP_CHANGE_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

struct backup_pitr;

enum neap_preflight_name {
#define NEAP_PREFLIGHT(symbol, name, unit, side, warning, error, about) NEAP_PREFLIGHT_##symbol,
#include "host/change/preflight.def"
#undef NEAP_PREFLIGHT
    NEAP_PREFLIGHT_COUNT
};

/* In the check's own unit; NAN: it has no such level. */
struct neap_preflight_rule {
    bool off; /* the environment does not want it */
    double warning, error;
};

enum neap_gate_name {
#define NEAP_GATE(symbol, name, about) NEAP_GATE_##symbol,
#include "host/change/gates.def"
#undef NEAP_GATE
    NEAP_GATE_COUNT
};

enum neap_retention_tag {
#define NEAP_RETENTION(symbol, tag, time) NEAP_RETENTION_##symbol,
#include "host/change/retention.def"
#undef NEAP_RETENTION
    NEAP_RETENTION_COUNT
};

struct neap_environment {
    char *name;    /* "production", "scratch", or "DATABASE_URL" when it has no name */
    bool named;    /* by neap.lua, or scratch: DATABASE_URL and PG* name none */
    char *url;     /* conninfo; NULL: PG* alone. Holds secrets: never print */
    char *control; /* conninfo of the control session, likewise; NULL: url */
    char *backup;  /* of the session that is backed up through, likewise; NULL: url */
    char *restore; /* of the role that makes databases, likewise; NULL: url */
    bool scratch;  /* built in: bindings/scratch gives the url */
    bool is_protected;
    bool allow_superuser;
    char *role;                         /* or NULL */
    char *system_identifier, *database; /* the pin, or NULL */
    bool pooler;                        /* `pooler = "transaction"`: run through one knowingly */
    int64_t timeout_ms;                 /* a step's deadline; default 30 s */
    int64_t lock_timeout_ms;            /* per attempt; default 500 ms */
    int64_t lock_budget_ms;             /* all attempts; default 2 min */
    int64_t lease_wait_ms;              /* default 30 s */
    int64_t lease_ttl_ms;               /* default 30 s */
    int64_t connect_timeout_ms;         /* default 10 s */
    int64_t memory_bytes;               /* script cap; default 256 MB */
    struct neap_preflight_rule preflight[NEAP_PREFLIGHT_COUNT];
    bool gates[NEAP_GATE_COUNT];                /* what `up` requires; default: all if protected */
    int64_t backup_max_age_ms;                  /* of one that the gate takes again; default 1 h */
    char *backup_dir;                           /* absolute; NULL where no target is named */
    int64_t retention_ms[NEAP_RETENTION_COUNT]; /* by tag; NEAP_FOREVER: it stays */
    int64_t retention_keep;                     /* so many proved ones stay anyhow; default 1 */
    bool auto_restore;                          /* the way back may restore by itself */
    struct backup_pitr *archive; /* who keeps the server's WAL and backups; NULL: nobody */
};

#endif
