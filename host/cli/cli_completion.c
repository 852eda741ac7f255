/* SPDX-License-Identifier: MIT
 *
 * Completion scripts for bash, zsh and fish, from the lists. All three ask the
 * same question in their own words: which words may follow the command so far.
 * Environments, migrations and topics come from `neap completion environments` and
 * its like, which read the project (-C) and connect to nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/memory.h"
#include "host/cli/cli_help.h"

static void add_words(struct neap_buffer *text, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        neap_buffer_add_format(text, "%s%s", i ? " " : "", words[i]);
}

static void add_second_words(struct neap_buffer *text, const char *group)
{
    const char **words = cli_second_words(group);
    add_words(text, words);
    free(words);
}

/* "--to --only", the command's own or (NULL) the global ones. */
static void add_option_words(struct neap_buffer *text, const struct neap_command *command)
{
    const char *space = "";
    for (const struct cli_option *option = cli_options; option->field; option++) {
        bool global = cli_option_is_global(option);
        if (command ? global || !cli_option_is_taken(option, command) : !global)
            continue;
        neap_buffer_add_format(text, "%s--%s", space, option->name);
        space = " ";
    }
}

/* What an argument called `arg` may be, as a word of the shells' functions: a list
 * that neap gives when asked ("?…"), "/" a directory, "." a file, else the words
 * themselves. "" when only the author knows. */
static const char *values_of(const char *arg)
{
    static const struct {
        const char *arg, *values;
    } known[] = {
        {"ENV", "?environments"},
        {"ID", "?migrations"},
        {"[ID]", "?migrations"},
        {"[ID…]", "?migrations"},
        {"DIR", "/"},
        {"[DIR]", "/"},
        {"FILE", "."},
        {"STATE", "applied pending"},
        {"FORMAT", "jsonl csv"},
        {"[TOPIC]", "?topics"},
        {"bash|zsh|fish", "bash zsh fish"},
    };
    for (size_t i = 0; arg && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].arg, arg) == 0)
            return known[i].values;
    return "";
}

/* A case of command words to candidates; bash and zsh share it. */
static void add_cases(struct neap_buffer *text)
{
    const char *const *first = cli_first_words();
    neap_buffer_add_text(text, "  case \"$command\" in\n    \"\") found=\"");
    add_words(text, first);
    neap_buffer_add_text(text, "\" ;;\n");
    for (size_t i = 0; first[i]; i++) {
        if (!cli_command_is_group(first[i]))
            continue;
        neap_buffer_add_format(text, "    \"%s\") found=\"", first[i]);
        add_second_words(text, first[i]);
        neap_buffer_add_text(text, "\" ;;\n");
    }
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        neap_buffer_add_format(text, "    \"%s\") found=\"%s\"; flags=\"", command->name,
                               values_of(command->args));
        add_option_words(text, command);
        neap_buffer_add_text(text, "\" ;;\n");
    }
    neap_buffer_add_text(text, "  esac\n");
}

static void add_names(struct neap_buffer *text, const struct cli_option *option,
                      const char *between)
{
    neap_buffer_add_format(text, "--%s", option->name);
    if (option->letter)
        neap_buffer_add_format(text, "%s-%c", between, option->letter);
}

/* Every option that takes a value, "|" or " " between. */
static void add_value_options(struct neap_buffer *text, const char *between)
{
    const char *before = "";
    for (const struct cli_option *option = cli_options; option->field; option++) {
        if (!option->text)
            continue;
        neap_buffer_add_text(text, before);
        add_names(text, option, between);
        before = between;
    }
}

static void add_groups(struct neap_buffer *text, const char *between)
{
    const char *before = "";
    const char *const *first = cli_first_words();
    for (size_t i = 0; first[i]; i++) {
        if (!cli_command_is_group(first[i]))
            continue;
        neap_buffer_add_format(text, "%s%s", before, first[i]);
        before = between;
    }
}

/* A case of the option before the cursor to `found`. */
static void add_value_cases(struct neap_buffer *text)
{
    neap_buffer_add_text(text, "  case \"$skip\" in\n");
    for (const struct cli_option *option = cli_options; option->field; option++) {
        if (!option->text)
            continue;
        neap_buffer_add_text(text, "    ");
        add_names(text, option, "|");
        neap_buffer_add_format(text, ") found=\"%s\"; command=- ;;\n", values_of(option->arg));
    }
    neap_buffer_add_text(text, "  esac\n");
}

/* The functions that both bash and zsh define. _neap_candidates sets found and flags
 * from the words typed so far ("$@", the program first); `words` and `options` are
 * names of zsh's own, which `local` does not hide. */
static void add_functions(struct neap_buffer *text)
{
    neap_buffer_add_text(text, "_neap_ask() {\n"
                               "  case \"$dir\" in \"~\"/*) dir=\"$HOME/${dir#??}\" ;; esac\n"
                               "  \"$program\" ${dir:+-C} ${dir:+\"$dir\"} completion \"$1\" "
                               "2>/dev/null\n"
                               "}\n"
                               "_neap_candidates() {\n"
                               "  local skip= word command= dir= program=$1\n"
                               "  found= flags=\n"
                               "  shift\n"
                               "  for word in \"$@\"; do\n"
                               "    case \"$skip\" in -C|--project) dir=$word ;; esac\n"
                               "    if [ -n \"$skip\" ]; then skip=; continue; fi\n"
                               "    case \"$word\" in\n      ");
    add_value_options(text, "|");
    neap_buffer_add_text(text, ") skip=$word ;;\n"
                               "      --project=*) dir=${word#*=} ;;\n"
                               "      -C?*) dir=${word#-C} ;;\n"
                               "      -*) ;;\n"
                               "      *) if [ -z \"$command\" ]; then command=$word\n"
                               "         else case \"$command\" in\n           ");
    add_groups(text, "|");
    neap_buffer_add_text(text, ") command=\"$command $word\" ;;\n"
                               "         esac; fi ;;\n"
                               "    esac\n"
                               "  done\n");
    add_value_cases(text);
    add_cases(text);
    neap_buffer_add_text(text, "  flags=\"$flags ");
    add_option_words(text, NULL);
    neap_buffer_add_text(text, "\"\n"
                               "  case \"$found\" in \\?*) found=$(_neap_ask \"${found#?}\") ;; "
                               "esac\n"
                               "}\n");
}

static char *bash(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "# bash completion of neap; written by `neap completion bash`\n");
    add_functions(&text);
    neap_buffer_add_text(&text,
                         "_neap() {\n"
                         "  local found flags current=${COMP_WORDS[COMP_CWORD]}\n"
                         "  _neap_candidates \"${COMP_WORDS[@]:0:COMP_CWORD}\"\n"
                         "  case \"$current\" in -*) found=$flags ;; esac\n"
                         "  case \"$found\" in\n"
                         "    /) compopt -o filenames 2>/dev/null; found=\"-d\" ;;\n"
                         "    .) compopt -o filenames 2>/dev/null; found=\"-f\" ;;\n"
                         "    *) COMPREPLY=($(compgen -W \"$found\" -- \"$current\")); return ;;\n"
                         "  esac\n"
                         "  local IFS=$'\\n'\n"
                         "  COMPREPLY=($(compgen \"$found\" -- \"$current\"))\n"
                         "}\n"
                         "complete -F _neap neap\n");
    return neap_buffer_take(&text);
}

static char *zsh(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "#compdef neap\n"
                                "# zsh completion of neap; written by `neap completion zsh`\n");
    add_functions(&text);
    neap_buffer_add_text(
        &text,
        "_neap() {\n"
        "  local -a typed\n"
        "  local found flags\n"
        "  typed=(\"${(@)words[1,CURRENT-1]}\")\n"
        "  _neap_candidates \"${typed[@]}\"\n"
        "  if [[ \"${words[CURRENT]}\" == -* ]]; then compadd -- ${=flags}\n"
        "  elif [[ \"$found\" == / ]]; then _files -/\n"
        "  elif [[ \"$found\" == . ]]; then _files\n"
        "  else compadd -- ${=found}; fi\n"
        "}\n"
        "if [ \"$funcstack[1]\" = _neap ]; then _neap \"$@\"; else compdef _neap neap; fi\n");
    return neap_buffer_take(&text);
}

/* Inside single quotes fish knows two escapes: \' and \\. */
static void add_fish_quoted(struct neap_buffer *text, const char *plain)
{
    neap_buffer_add_char(text, '\'');
    for (; *plain != '\0'; plain++) {
        if (*plain == '\'' || *plain == '\\')
            neap_buffer_add_char(text, '\\');
        neap_buffer_add_char(text, *plain);
    }
    neap_buffer_add_char(text, '\'');
}

/* What fish offers for an argument: words, or what a function prints. */
static void add_fish_values(struct neap_buffer *text, const char *values)
{
    if (values[0] == '?')
        neap_buffer_add_format(text, " -a '(__neap_ask %s)'", values + 1);
    else if (strcmp(values, "/") == 0)
        neap_buffer_add_text(text, " -a '(__fish_complete_directories)'");
    else if (strcmp(values, ".") == 0)
        neap_buffer_add_text(text, " -F");
    else if (values[0] != '\0')
        neap_buffer_add_format(text, " -a '%s'", values);
}

static void add_fish_command(struct neap_buffer *text, const struct neap_command *command)
{
    const char *second = cli_command_second(command);
    const char *values = values_of(command->args);
    char *first = neap_strndup(command->name, strcspn(command->name, " "));
    if (second)
        neap_buffer_add_format(text, "complete -c neap -n '__neap_is \"\"' -a %s\n", first);
    neap_buffer_add_format(text, "complete -c neap -n '__neap_is \"%s\"' -a %s -d ",
                           second ? first : "", second ? second : first);
    add_fish_quoted(text, command->summary);
    neap_buffer_add_char(text, '\n');
    if (values[0] != '\0') {
        neap_buffer_add_format(text, "complete -c neap -n '__neap_is \"%s\"'", command->name);
        add_fish_values(text, values);
        neap_buffer_add_char(text, '\n');
    }
    free(first);
}

static void add_fish_option(struct neap_buffer *text, const struct cli_option *option)
{
    neap_buffer_add_text(text, "complete -c neap");
    if (!cli_option_is_global(option)) {
        neap_buffer_add_text(text, " -n '__neap_is");
        for (const struct neap_command *command = neap_commands; command->name; command++)
            if (cli_option_is_taken(option, command))
                neap_buffer_add_format(text, " \"%s\"", command->name);
        neap_buffer_add_char(text, '\'');
    }
    neap_buffer_add_format(text, " -l %s", option->name);
    if (option->letter)
        neap_buffer_add_format(text, " -s %c", option->letter);
    if (option->text) {
        const char *values = values_of(option->arg);
        neap_buffer_add_text(text, strcmp(values, ".") == 0 ? " -r" : " -x");
        add_fish_values(text, values);
    }
    neap_buffer_add_text(text, " -d ");
    add_fish_quoted(text, option->help);
    neap_buffer_add_char(text, '\n');
}

/* Which command the words before the cursor name: "", "up", "lease", "lease break";
 * and what neap knows of the project that they name. */
static void add_fish_functions(struct neap_buffer *text)
{
    neap_buffer_add_text(text, "function __neap_command\n"
                               "  set -l skip\n"
                               "  set -l command\n"
                               "  for word in (commandline -opc)[2..-1]\n"
                               "    if set -q skip[1]; set -e skip[1]; continue; end\n"
                               "    switch $word\n"
                               "      case ");
    add_value_options(text, " ");
    neap_buffer_add_text(text, "\n"
                               "        set skip 1\n"
                               "      case '-*'\n"
                               "      case '*'\n"
                               "        if not set -q command[1]; or contains -- \"$command\" ");
    add_groups(text, " ");
    neap_buffer_add_text(text, "\n"
                               "          set -a command $word\n"
                               "        end\n"
                               "    end\n"
                               "  end\n"
                               "  echo \"$command\"\n"
                               "end\n"
                               "function __neap_is\n"
                               "  contains -- (__neap_command) $argv\n"
                               "end\n"
                               "function __neap_ask\n"
                               "  set -l words (commandline -opc)\n"
                               "  set -l dir\n"
                               "  for i in (seq 2 (count $words))\n"
                               "    switch $words[$i]\n"
                               "      case -C --project\n"
                               "        set -l next (math $i + 1)\n"
                               "        set dir -C (string replace -r '^~/' \"$HOME/\" -- "
                               "$words[$next])\n"
                               "    end\n"
                               "  end\n"
                               "  $words[1] $dir completion $argv[1] 2>/dev/null\n"
                               "end\n");
}

static char *fish(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "# fish completion of neap; written by `neap completion fish`\n");
    add_fish_functions(&text);
    neap_buffer_add_text(&text, "complete -c neap -f\n");
    for (const struct neap_command *command = neap_commands; command->name; command++)
        add_fish_command(&text, command);
    for (const struct cli_option *option = cli_options; option->field; option++)
        add_fish_option(&text, option);
    return neap_buffer_take(&text);
}

char *cli_completion(const char *shell)
{
    if (strcmp(shell, "bash") == 0)
        return bash();
    if (strcmp(shell, "zsh") == 0)
        return zsh();
    if (strcmp(shell, "fish") == 0)
        return fish();
    return NULL;
}
