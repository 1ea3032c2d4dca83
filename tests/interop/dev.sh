# Sourced by each client's `run`: a `dev` gateway of its own for every client, and the words that tests/interop/run reads.
# Needs bash and python3.

# Both resolved here, for whoever sources this may change directory afterwards.
DEV_HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
DEV_BINARY="$(realpath -m "${PREBUILD_GATEWAY_BIN:-$DEV_HERE/../../target/debug/prebuild-gateway}")"
# Long enough for a debug build on a busy machine; what takes longer hangs.
DEV_START_SECONDS=30

fail() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# require PROGRAM "what it belongs to": a missing toolchain is an error, never a skip.
require() {
    command -v "$1" >/dev/null || fail "needs $2: no $1 on the PATH"
}

# Starts the gateway on free ports; options are further ones of `dev`. The client finds it by the variables
# PREBUILD_GATEWAY_{ADDRESS,KEY,PROJECT,CLASS}, all of the first demo org; DEV_JSON is the whole line that `dev` printed.
# The gateway ends with the shell.
dev_start() {
    require python3 "Python"
    [[ -x "$DEV_BINARY" ]] || fail "no gateway at $DEV_BINARY: run 'cargo build --locked', or set PREBUILD_GATEWAY_BIN"

    dev_files="$(mktemp -d)"
    trap dev_stop EXIT
    mkfifo "$dev_files/stdout"
    # Its audit log goes where TMPDIR says, and away with the rest.
    TMPDIR="$dev_files" "$DEV_BINARY" dev --listen 127.0.0.1:0 --admin 127.0.0.1:0 --sandbox 127.0.0.1:0 --print json "$@" \
        >"$dev_files/stdout" 2>"$dev_files/log" &
    dev_pid=$!
    # Kept open: a gateway that has more to say finds a reader.
    exec {dev_stdout}<"$dev_files/stdout"
    read -r -t "$DEV_START_SECONDS" -u "$dev_stdout" DEV_JSON || fail "the gateway did not start"
    eval "$(python3 - "$DEV_JSON" <<'PYTHON'
import json, shlex, sys

dev = json.loads(sys.argv[1])
org = dev["orgs"][0]
variables = {
    "ADDRESS": f"http://{dev['gateway']}",
    "KEY": org["key"],
    "PROJECT": org["projects"][0],
    "CLASS": org["classes"][0],
}
for name, value in variables.items():
    print(f"export PREBUILD_GATEWAY_{name}={shlex.quote(value)}")
PYTHON
)"
}

# Ends the gateway, which must drain and exit with 0; shows its log where anything failed.
dev_stop() {
    local status=$?
    trap - EXIT
    if [[ -n "${dev_pid:-}" ]]; then
        kill -TERM "$dev_pid" 2>/dev/null || true
        if ! wait "$dev_pid"; then
            printf '%s: the gateway failed\n' "$0" >&2
            ((status)) || status=1
        fi
    fi
    if ((status)) && [[ -s "$dev_files/log" ]]; then
        printf '%s: the last lines of the log of the gateway:\n' "$0" >&2
        tail -n 30 "$dev_files/log" >&2
    fi
    rm -rf "$dev_files"
    exit "$status"
}

# passed CLIENT PROTOCOL: one line of the closing summary, printed after the client's calls have succeeded.
passed() {
    printf 'interop ok: %-20s %s\n' "$1" "$2"
}
