/* SPDX-License-Identifier: MIT
 *
 * Completion scripts for bash, zsh and fish, from the lists. All three ask the
 * same question in their own words: which words may follow the command so far.
 * Names of environments come from `neap completion environments`, which runs
 * neap.lua in its sandbox and connects to nothing.
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

/* Arguments a shell can know: "bash|zsh|fish", topics; "" else. */
static void add_argument_words(struct neap_buffer *text, const struct neap_command *command)
{
    if (strcmp(command->name, "completion") == 0)
        neap_buffer_add_text(text, "bash zsh fish");
    if (strcmp(command->name, "help") != 0)
        return;
    char **topics = cli_help_topics();
    for (char **topic = topics; *topic; topic++)
        neap_buffer_add_format(text, "%s%s", topic == topics ? "" : " ", *topic);
    cli_help_topics_free(topics);
}

/* A case of command words to candidates; bash and zsh share it. */
static void add_cases(struct neap_buffer *text)
{
    const char *const *first = cli_first_words();
    neap_buffer_add_text(text, "  case \"$command\" in\n    \"\") words=\"");
    add_words(text, first);
    neap_buffer_add_text(text, "\" ;;\n");
    for (size_t i = 0; first[i]; i++) {
        if (!cli_command_is_group(first[i]))
            continue;
        neap_buffer_add_format(text, "    \"%s\") words=\"", first[i]);
        add_second_words(text, first[i]);
        neap_buffer_add_text(text, "\" ;;\n");
    }
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        neap_buffer_add_format(text, "    \"%s\") words=\"", command->name);
        add_argument_words(text, command);
        neap_buffer_add_text(text, "\"; options=\"");
        add_option_words(text, command);
        neap_buffer_add_text(text, "\" ;;\n");
    }
    neap_buffer_add_text(text, "  esac\n");
}

static void add_value_options(struct neap_buffer *text)
{
    const char *bar = "";
    for (const struct cli_option *option = cli_options; option->field; option++) {
        if (!option->text)
            continue;
        neap_buffer_add_format(text, "%s--%s", bar, option->name);
        bar = "|";
        if (option->letter)
            neap_buffer_add_format(text, "|-%c", option->letter);
    }
}

/* The function that both bash and zsh define: it sets words and options from the
 * words typed so far ("$@"). */
static void add_function(struct neap_buffer *text)
{
    neap_buffer_add_text(text, "_neap_candidates() {\n"
                               "  local skip= word command=\n"
                               "  words= options=\n"
                               "  for word in \"$@\"; do\n"
                               "    if [ -n \"$skip\" ]; then skip=; continue; fi\n"
                               "    case \"$word\" in\n      ");
    add_value_options(text);
    neap_buffer_add_text(text, ") skip=1 ;;\n"
                               "      -*) ;;\n"
                               "      *) if [ -z \"$command\" ]; then command=$word\n"
                               "         else case \"$command\" in\n           ");
    const char *bar = "";
    const char *const *first = cli_first_words();
    for (size_t i = 0; first[i]; i++) {
        if (!cli_command_is_group(first[i]))
            continue;
        neap_buffer_add_format(text, "%s%s", bar, first[i]);
        bar = "|";
    }
    neap_buffer_add_text(text, ") command=\"$command $word\" ;;\n"
                               "         esac; fi ;;\n"
                               "    esac\n"
                               "  done\n");
    add_cases(text);
    neap_buffer_add_text(text, "  options=\"$options ");
    add_option_words(text, NULL);
    neap_buffer_add_text(text, "\"\n}\n");
}

static char *bash(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "# bash completion of neap; written by `neap completion bash`\n");
    add_function(&text);
    neap_buffer_add_text(
        &text,
        "_neap() {\n"
        "  local words options current=${COMP_WORDS[COMP_CWORD]}\n"
        "  case \"${COMP_WORDS[COMP_CWORD-1]}\" in\n"
        "    -e|--env) COMPREPLY=($(compgen -W \"$(neap completion environments 2>/dev/null)\" "
        "-- \"$current\")); return ;;\n"
        "    -C|--project|--state-dir) COMPREPLY=($(compgen -d -- \"$current\")); return ;;\n"
        "    --public-key) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
        "  esac\n"
        "  _neap_candidates \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"\n"
        "  case \"$current\" in\n"
        "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")) ;;\n"
        "    *) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
        "  esac\n"
        "}\n"
        "complete -F _neap neap\n");
    return neap_buffer_take(&text);
}

static char *zsh(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "#compdef neap\n"
                                "# zsh completion of neap; written by `neap completion zsh`\n");
    add_function(&text);
    neap_buffer_add_text(
        &text,
        "_neap() {\n"
        "  local -a typed\n"
        "  local names options\n"
        "  typed=(\"${(@)words[2,CURRENT-1]}\")\n"
        "  case \"${words[CURRENT-1]}\" in\n"
        "    -e|--env) compadd -- ${(f)\"$(neap completion environments 2>/dev/null)\"}; "
        "return ;;\n"
        "    -C|--project|--state-dir) _files -/; return ;;\n"
        "    --public-key) _files; return ;;\n"
        "  esac\n"
        "  () { local words; _neap_candidates \"${typed[@]}\"; names=$words; }\n"
        "  if [[ \"${words[CURRENT]}\" == -* ]]; then compadd -- ${=options}\n"
        "  else compadd -- ${=names}; fi\n"
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

static void add_fish_command(struct neap_buffer *text, const struct neap_command *command)
{
    const char *second = cli_command_second(command);
    char *first = neap_strndup(command->name, strcspn(command->name, " "));
    if (second) {
        neap_buffer_add_format(text, "complete -c neap -n __fish_use_subcommand -a %s\n", first);
        neap_buffer_add_format(text, "complete -c neap -n '__fish_seen_subcommand_from %s' -a %s",
                               first, second);
    } else {
        neap_buffer_add_format(text, "complete -c neap -n __fish_use_subcommand -a %s", first);
    }
    neap_buffer_add_text(text, " -d ");
    add_fish_quoted(text, command->summary);
    neap_buffer_add_char(text, '\n');
    free(first);
}

static void add_fish_option(struct neap_buffer *text, const struct cli_option *option)
{
    neap_buffer_add_text(text, "complete -c neap");
    if (!cli_option_is_global(option)) {
        neap_buffer_add_text(text, " -n '__fish_seen_subcommand_from");
        for (const struct neap_command *command = neap_commands; command->name; command++)
            if (cli_option_is_taken(option, command))
                neap_buffer_add_format(text, " %s",
                                       cli_command_second(command) ? cli_command_second(command)
                                                                   : command->name);
        neap_buffer_add_char(text, '\'');
    }
    neap_buffer_add_format(text, " -l %s", option->name);
    if (option->letter)
        neap_buffer_add_format(text, " -s %c", option->letter);
    if (strcmp(option->field, "env") == 0)
        neap_buffer_add_text(text, " -x -a '(neap completion environments 2>/dev/null)'");
    else if (option->text)
        neap_buffer_add_text(text, " -r");
    neap_buffer_add_text(text, " -d ");
    add_fish_quoted(text, option->help);
    neap_buffer_add_char(text, '\n');
}

static char *fish(void)
{
    struct neap_buffer text = {0};
    neap_buffer_add_text(&text, "# fish completion of neap; written by `neap completion fish`\n"
                                "complete -c neap -f\n");
    for (const struct neap_command *command = neap_commands; command->name; command++) {
        add_fish_command(&text, command);
        struct neap_buffer words = {0};
        add_argument_words(&words, command);
        if (words.length)
            neap_buffer_add_format(&text,
                                   "complete -c neap -n '__fish_seen_subcommand_from %s' -a '%s'\n",
                                   command->name, neap_buffer_text(&words));
        neap_buffer_clear(&words);
    }
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
