# Completion of callbackd for bash: source <(callbackd completion bash)
_callbackd() {
  local line=${COMP_LINE:0:COMP_POINT} program=${1/#\~/$HOME} cut="" reply
  # bash replaces the part of a word after the last : or = only.
  if [[ $COMP_WORDBREAKS == *:* && $COMP_WORDBREAKS == *=* ]]; then
    cut=${line##*[[:space:]]}
    cut=${cut%"${cut##*[:=]}"}
  fi
  COMPREPLY=()
  while IFS= read -r reply; do
    if [[ $reply == $'\tfiles' ]]; then
      compopt -o default 2>/dev/null
    else
      COMPREPLY+=("${reply#"$cut"}")
    fi
  done < <("$program" __complete bash -- "$line" 2>/dev/null)
}
complete -F _callbackd callbackd
