#!/bin/sh
# Print the first Python >= 3.12 that really runs and can make a virtual environment, or say in one line that there is none.
IFS=:
for name in python3.14 python3.13 python3.12 python3; do
    for folder in $PATH; do
        candidate="${folder:-.}/$name"
        [ -x "$candidate" ] || continue
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            exit 0
        fi
    done
done
echo "panelproof needs Python 3.12 or newer with venv and ensurepip, and none on the PATH works; one of these gets one:" \
    "uv python install 3.13; conda create -n panelproof python=3.13; brew install python@3.13; apt install python3 python3-venv" >&2
exit 1
