#compdef callbackd
# Completion of callbackd for zsh: callbackd completion zsh > "${fpath[1]}/_callbackd"
_callbackd() {
  local -a values shown
  local line program=${(Q)words[1]/#\~/$HOME}
  for line in "${(@f)$("$program" __complete zsh -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == $'\tfiles' ]]; then
      _files
    elif [[ -n $line ]]; then
      values+=("${line%%$'\t'*}")
      shown+=("${line/$'\t'/  -- }")
    fi
  done
  (( $#values )) && compadd -l -d shown -a values
}
if [[ $funcstack[1] == _callbackd ]]; then
  _callbackd "$@"
else
  compdef _callbackd callbackd
fi
