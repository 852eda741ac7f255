/* SPDX-License-Identifier: MIT
 *
 * The parser. Whether an option belongs to the command is asked at the end,
 * because options may stand before the command. `--help` wins over every other
 * mistake, since whoever types it wants to know what is right.
 */
#include "host/cli/cli_parse.h"

#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_conninfo.h"
#include "host/base/buffer.h"
#include "host/base/memory.h"
#include "host/base/text.h"

static void set_option(struct cli_parsed *out, const struct cli_option *option, const char *value)
{
    char *place = (char *)&out->opt + option->offset;
    if (option->text)
        memcpy(place, &value, sizeof value);
    else
        *(bool *)place = true;
}

static void mark_flag(struct cli_parsed *out, const struct cli_option *option)
{
    out->from_flag |= UINT64_C(1) << (option - cli_options);
}

static bool is_marked(const struct cli_parsed *parsed, const struct cli_option *option)
{
    return (parsed->from_flag >> (option - cli_options)) & 1;
}

const char *cli_flag_text(const struct cli_parsed *parsed, const char *field)
{
    for (const struct cli_option *option = cli_options; option->field; option++) {
        const char *value;
        if (!option->text || strcmp(option->field, field) != 0 || !is_marked(parsed, option))
            continue;
        memcpy(&value, (const char *)&parsed->opt + option->offset, sizeof value);
        return value;
    }
    return NULL;
}

static bool unknown_option(const char *name, size_t length, struct neap_error *err)
{
    const char *names[65] = {0};
    size_t count = 0;
    char *word = neap_strndup(name, length);
    for (const struct cli_option *option = cli_options; option->field; option++)
        names[count++] = option->name;
    const char *nearest = neap_text_nearest(word, names);
    neap_error_set(err, NEAP_ERR_USAGE, "unknown option --%s", word);
    if (nearest)
        neap_error_hint(err, "Did you mean --%s?", nearest);
    free(word);
    return false;
}

/* Where the arguments stand: `at` is the one in work. */
struct cursor {
    int argc;
    char *const *argv;
    int at;
};

/* `--to --json` forgot the id. Who means that text writes `--to=--json`. */
static bool is_option(const char *arg)
{
    return strncmp(arg, "--", 2) == 0 && cli_option_find(arg + 2, strlen(arg + 2)) != NULL;
}

static bool take_value(struct cursor *cursor, const struct cli_option *option, const char **value,
                       struct neap_error *err)
{
    if (cursor->at + 1 < cursor->argc && !is_option(cursor->argv[cursor->at + 1])) {
        *value = cursor->argv[++cursor->at];
        return true;
    }
    neap_error_set(err, NEAP_ERR_USAGE, "--%s needs a value: --%s %s", option->name, option->name,
                   option->arg);
    return false;
}

static bool parse_long(struct cli_parsed *out, struct cursor *cursor, struct neap_error *err)
{
    const char *name = cursor->argv[cursor->at] + 2;
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    const struct cli_option *option = cli_option_find(name, length);
    if (!option)
        return unknown_option(name, length, err);
    if (value && !option->text) {
        neap_error_set(err, NEAP_ERR_USAGE, "--%s takes no value", option->name);
        return false;
    }
    if (!value && option->text && !take_value(cursor, option, &value, err))
        return false;
    set_option(out, option, value);
    mark_flag(out, option);
    return true;
}

static bool parse_short(struct cli_parsed *out, struct cursor *cursor, struct neap_error *err)
{
    for (const char *at = cursor->argv[cursor->at] + 1; *at != '\0'; at++) {
        const struct cli_option *option = cli_option_find_letter(*at);
        const char *value = NULL;
        if (!option) {
            neap_error_set(err, NEAP_ERR_USAGE, "unknown option -%c", *at);
            return false;
        }
        if (option->text && at[1] != '\0')
            value = at + 1 + (at[1] == '=');
        else if (option->text && !take_value(cursor, option, &value, err))
            return false;
        set_option(out, option, value);
        mark_flag(out, option);
        if (option->text)
            return true;
    }
    return true;
}

/* Everything that is no option becomes a word, in order. The first mistake is told,
 * and what stands after it still counts: --json may be there. */
static bool parse_words(struct cli_parsed *out, struct cursor *cursor, struct neap_error *err)
{
    bool all_good = true;
    for (; cursor->at < cursor->argc; cursor->at++) {
        const char *arg = cursor->argv[cursor->at];
        struct neap_error *mistake = all_good ? err : NULL;
        bool good = true;
        if (strcmp(arg, "--") == 0) {
            while (++cursor->at < cursor->argc)
                out->argv[out->argc++] = cursor->argv[cursor->at];
            return all_good;
        }
        /* Everybody tries it; it is the command by another spelling. */
        if (strcmp(arg, "--version") == 0)
            out->argv[out->argc++] = "version";
        else if (strncmp(arg, "--", 2) == 0)
            good = parse_long(out, cursor, mistake);
        else if (arg[0] == '-' && arg[1] != '\0')
            good = parse_short(out, cursor, mistake);
        else
            out->argv[out->argc++] = arg;
        all_good = all_good && good;
    }
    return all_good;
}

static void drop_words(struct cli_parsed *out, int count)
{
    out->argc -= count;
    memmove(out->argv, out->argv + count, (size_t)out->argc * sizeof *out->argv);
    out->argv[out->argc] = NULL;
}

static bool unknown_second(const char *group, const char *word, struct neap_error *err)
{
    const char **words = cli_second_words(group);
    const char *nearest = neap_text_nearest(word, words);
    struct neap_buffer list = {0};
    for (size_t i = 0; words[i]; i++)
        neap_buffer_add_format(&list, "%s%s", i ? ", " : "", words[i]);
    neap_error_set(err, NEAP_ERR_USAGE, "unknown command `%s %s`", group, word);
    neap_error_detail(err, "neap %s has: %s.", group, neap_buffer_text(&list));
    if (nearest)
        neap_error_hint(err, "Did you mean `neap %s %s`?", group, nearest);
    neap_buffer_clear(&list);
    free(words);
    return false;
}

static bool find_command(struct cli_parsed *out, struct neap_error *err)
{
    if (out->argc == 0)
        return true;
    const char *first = out->argv[0];
    const char *second = out->argc > 1 ? out->argv[1] : NULL;
    out->command = cli_command_find(first, second);
    if (out->command) {
        drop_words(out, cli_command_second(out->command) ? 2 : 1);
        return true;
    }
    if (cli_command_is_group(first)) {
        if (second && strcmp(second, "help") != 0)
            return unknown_second(first, second, err);
        out->group = first;
        return true;
    }
    const char *nearest = neap_text_nearest(first, cli_first_words());
    neap_error_set(err, NEAP_ERR_USAGE, "unknown command `%s`", first);
    neap_error_hint(err, nearest ? "Did you mean `neap %s`?" : "See `neap help`.", nearest);
    return false;
}

static bool not_taken(const struct cli_option *option, const struct neap_command *command,
                      struct neap_error *err)
{
    struct neap_buffer takers = {0};
    for (const struct neap_command *row = neap_commands; row->name; row++)
        if (cli_option_is_taken(option, row))
            neap_buffer_add_format(&takers, "%s%s", takers.length ? ", " : "", row->name);
    neap_error_set(err, NEAP_ERR_USAGE, "`neap %s` does not take --%s", command->name,
                   option->name);
    neap_error_detail(err, "It belongs to: %s.", neap_buffer_text(&takers));
    neap_error_hint(err, "See `neap help %s`.", command->name);
    neap_buffer_clear(&takers);
    return false;
}

static bool check_taken(const struct cli_parsed *parsed, struct neap_error *err)
{
    if (!parsed->command)
        return true;
    for (const struct cli_option *option = cli_options; option->field; option++)
        if (is_marked(parsed, option) && !cli_option_is_taken(option, parsed->command))
            return not_taken(option, parsed->command, err);
    return true;
}

static bool truth(const char *text, const char *variable, bool *out, struct neap_error *err)
{
    static const char *const yes[] = {"1", "true", "yes", "on"};
    static const char *const no[] = {"", "0", "false", "no", "off"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (strcmp(text, yes[i]) == 0)
            return *out = true;
    *out = false;
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (strcmp(text, no[i]) == 0)
            return true;
    neap_error_set(err, NEAP_ERR_USAGE, "%s is `%s`; it is 1 or 0", variable, text);
    return false;
}

static bool read_variable(struct cli_parsed *out, const struct cli_option *option,
                          struct neap_error *err)
{
    const char *value = option->env ? getenv(option->env) : NULL;
    bool on = true;
    if (!value || is_marked(out, option) || !cli_option_is_taken(option, out->command))
        return true;
    if (option->text && value[0] == '\0')
        return true; /* an empty variable is an unset one */
    if (!option->text && !truth(value, option->env, &on, err))
        return false;
    if (on)
        set_option(out, option, value);
    return true;
}

static bool read_variables(struct cli_parsed *out, struct neap_error *err)
{
    for (const struct cli_option *option = cli_options; option->field; option++)
        if (!read_variable(out, option, err))
            return false;
    return true;
}

/* Where text may begin in an argument: --name=text, -xtext, text. */
static bool holds_password(const char *arg)
{
    const char *equals = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    const char *const texts[] = {arg, equals ? equals + 1 : NULL,
                                 arg[0] == '-' && arg[1] ? arg + 2 : NULL};
    bool found = false;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && !found; i++) {
        char *password = texts[i] ? pg_conninfo_password(texts[i]) : NULL;
        found = password != NULL;
        free(password);
    }
    return found;
}

/* No option takes a connection string; a mistake with one must not repeat it. */
static bool check_secrets(int argc, char *const *argv, struct neap_error *err)
{
    for (int i = 1; i < argc; i++) {
        if (!holds_password(argv[i]))
            continue;
        neap_error_set(err, NEAP_ERR_USAGE, "argument %d is a connection string with a password",
                       i);
        neap_error_detail(err, "Every user of this machine can read the arguments of a process.");
        neap_error_hint(err, "Change that password. Give the string by DATABASE_URL, or as "
                             "url = env \"NAME\" of an environment in neap.lua.");
        return false;
    }
    return true;
}

bool cli_parse(int argc, char *const *argv, struct cli_parsed *out, struct neap_error *err)
{
    struct cursor cursor = {.argc = argc, .argv = argv, .at = 1};
    *out = (struct cli_parsed){0};
    out->argv = neap_alloc(((size_t)argc + 1) * sizeof *out->argv);
    bool good = check_secrets(argc, argv, err);
    good = parse_words(out, &cursor, good ? err : NULL) && good;
    good = find_command(out, good ? err : NULL) && good;
    if (good && out->opt.help)
        return true;
    good = good && check_taken(out, err);
    return read_variables(out, good ? err : NULL) && good;
}

void cli_parsed_clear(struct cli_parsed *parsed)
{
    free(parsed->argv);
    *parsed = (struct cli_parsed){0};
}
