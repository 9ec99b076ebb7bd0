# Completion of callbackd for fish: callbackd completion fish > ~/.config/fish/completions/callbackd.fish
function __callbackd_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete fish -- $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = \tfiles
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c callbackd -f -a '(__callbackd_complete)'
