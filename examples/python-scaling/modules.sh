# Stands for the environment modules of a computing centre on a machine that has none: `. ./modules.sh`, then
#
#   module avail                 the Python interpreters of this machine, one `Python/<version>` per line
#   module load Python/3.11.2    `python` is that one from now on
#
# A cluster has the real `module`: there this file is not used.

# Lines of "<version> <program>", for interpreters of pyenv and those in /usr/bin and /usr/local/bin.
python_interpreters() {
  for python_program in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python /usr/bin/python[23].* /usr/local/bin/python[23].*; do
    case $python_program in
    *[!0-9]) [ "${python_program##*/}" = python ] || continue ;;
    esac
    [ -x "$python_program" ] || continue
    python_version=$("$python_program" -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue
    printf '%s %s\n' "$python_version" "$python_program"
  done
}

module() {
  case $1 in
  avail)
    python_interpreters | sed 's/ .*//; s,^,Python/,' | sort -u -t . -k 1,1 -k 2,2n -k 3,3n
    ;;
  load)
    python_program=$(python_interpreters | sed -n "s,^${2#Python/} ,,p" | head -n 1)
    if [ -z "$python_program" ]; then
      echo "module: there is no $2 here; there is: $(module avail | tr '\n' ' ')" >&2
      exit 1
    fi
    python() { "$python_program" "$@"; }
    ;;
  esac
}

# Debian calls its interpreter python3 only.
command -v python >/dev/null || python() { python3 "$@"; }
