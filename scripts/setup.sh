# Sourced by quickstart.sh and test.sh: makes .venv once and installs what a requirements file asks for.
#   source scripts/setup.sh requirements.txt
# PYTHON names the interpreter (3.11 or newer); python3 by default.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $PYTHON is missing or older than 3.11; set PYTHON to a newer interpreter" >&2
    exit 2
fi
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv || exit 2
source .venv/bin/activate

stamp=.venv/installed-$1
wanted=$(cat requirements*.txt build-constraints.txt | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing $1 into .venv ..."
    # The two variables make old and new releases of pip build Visdom with a setuptools that it can use.
    PIP_CONSTRAINT=build-constraints.txt PIP_BUILD_CONSTRAINT=build-constraints.txt \
        pip install --quiet --disable-pip-version-check $(grep -oE "^(visdom|tornado)[^ ]*" requirements.txt) &&
        pip install --quiet --disable-pip-version-check -r "$1" || exit 2
    echo "$wanted" > "$stamp"
fi
