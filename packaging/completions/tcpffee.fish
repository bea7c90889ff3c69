# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tcpffee_global_optspecs
    string join \n c/config= h/help V/version
end

function __fish_tcpffee_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tcpffee_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tcpffee_using_subcommand
    set -l cmd (__fish_tcpffee_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tcpffee -n "__fish_tcpffee_needs_command" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_needs_command" -s h -l help -d 'Print help'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -s V -l version -d 'Print version'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "run" -d 'Run the proxy in the foreground (so does `tcpffee` alone)'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "check" -d 'Read the configuration; say what it holds, or everything that is wrong with it'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "reload" -d 'Have the running process apply its changed configuration, and say what changed'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "stop" -d 'End the running process in order, and say how it ended'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "status" -d 'Show how the running process stands: health, groups, sticks, connections'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "sticks" -d 'Show the stick table: which client belongs to which group'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "drain" -d 'Let a group take no new clients; it goes on to serve those that it has'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "disable" -d 'Let a group serve no clients; they are assigned anew when they connect next'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "enable" -d 'Bring a group back: takes back `drain` and `disable`, those of the file too'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "cluster" -d 'What concerns a cluster of several proxies'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "demo" -d 'Run three small servers and the proxy in front of them, with what to try'
complete -c tcpffee -n "__fish_tcpffee_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand run" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand run" -s h -l help -d 'Print help'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand check" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand check" -s h -l help -d 'Print help'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand reload" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand reload" -s h -l help -d 'Print help'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand stop" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand stop" -s h -l help -d 'Print help'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand status" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand status" -l json -d 'One JSON object: `overview`, `groups` and `health`, with the fields of /api/v1/'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand status" -l watch -d 'Look again every second until Ctrl-C, with rates; goes on while the process restarts'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and not __fish_seen_subcommand_from remove help" -l group -d 'Only entries of this group' -r -f
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and not __fish_seen_subcommand_from remove help" -l ip -d 'Only entries of this address, or of this network' -r -f
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and not __fish_seen_subcommand_from remove help" -l limit -d 'Print this many entries at most' -r -f
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and not __fish_seen_subcommand_from remove help" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and not __fish_seen_subcommand_from remove help" -l json -d 'One JSON object in each line, with the fields of /api/v1/stick_table'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and not __fish_seen_subcommand_from remove help" -s h -l help -d 'Print help'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and not __fish_seen_subcommand_from remove help" -f -a "remove" -d 'Remove an entry: the client\'s next connection is assigned anew, open ones stay'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and not __fish_seen_subcommand_from remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and __fish_seen_subcommand_from remove" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove an entry: the client\'s next connection is assigned anew, open ones stay'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand sticks; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand drain" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand disable" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand disable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand enable" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand enable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and not __fish_seen_subcommand_from form help" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and not __fish_seen_subcommand_from form help" -s h -l help -d 'Print help'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and not __fish_seen_subcommand_from form help" -f -a "form" -d 'Form a cluster where none forms by itself; says first what it would do and what is lost'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and not __fish_seen_subcommand_from form help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and __fish_seen_subcommand_from form" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and __fish_seen_subcommand_from form" -l yes -d 'Do it'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and __fish_seen_subcommand_from form" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "form" -d 'Form a cluster where none forms by itself; says first what it would do and what is lost'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand demo" -s c -l config -d 'Configuration file, in place of TCPFFEE_CONFIG_PATH and of /etc/tcpffee/tcpffee.toml' -r -F
complete -c tcpffee -n "__fish_tcpffee_using_subcommand demo" -s h -l help -d 'Print help'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "run" -d 'Run the proxy in the foreground (so does `tcpffee` alone)'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "check" -d 'Read the configuration; say what it holds, or everything that is wrong with it'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "reload" -d 'Have the running process apply its changed configuration, and say what changed'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "stop" -d 'End the running process in order, and say how it ended'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "status" -d 'Show how the running process stands: health, groups, sticks, connections'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "sticks" -d 'Show the stick table: which client belongs to which group'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "drain" -d 'Let a group take no new clients; it goes on to serve those that it has'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "disable" -d 'Let a group serve no clients; they are assigned anew when they connect next'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "enable" -d 'Bring a group back: takes back `drain` and `disable`, those of the file too'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "cluster" -d 'What concerns a cluster of several proxies'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "demo" -d 'Run three small servers and the proxy in front of them, with what to try'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and not __fish_seen_subcommand_from run check reload stop status sticks drain disable enable cluster demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and __fish_seen_subcommand_from sticks" -f -a "remove" -d 'Remove an entry: the client\'s next connection is assigned anew, open ones stay'
complete -c tcpffee -n "__fish_tcpffee_using_subcommand help; and __fish_seen_subcommand_from cluster" -f -a "form" -d 'Form a cluster where none forms by itself; says first what it would do and what is lost'
