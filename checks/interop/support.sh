# What `checks/interop/run` and `extras/interop` have in common: to start and stop programs, to count
# checks, to install packages by name, and to run what was asked for. Whoever sources it sets `names`,
# which `all` stands for, has a function `run_NAME` for each and `build_programs`, and calls
# `run_chosen`.

interop=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$interop/../.." && pwd)
build=$root/build/interop
cd "$root"
export PYTHONDONTWRITEBYTECODE=1
# ms; a stalled download once held CI for ten minutes
export npm_config_fetch_timeout=30000 npm_config_fetch_retries=5

passed=0 failed=0
not_run=    # why a name could not be
pids=()     # process groups started and not stopped yet
log=        # folder of the logs of what runs now
scratch=$(mktemp -d)

# --- what was started, and stopping it

# start LOG COMMAND...: in the background, in a process group of its own; the id is in $pid.
start() {
    local to=$1
    shift
    : >"$to" # now: what was in it must not be waited for
    setsid "$@" >"$to" 2>&1 </dev/null &
    pid=$!
    disown "$pid" # what it died of needs no saying
    pids+=("$pid")
}

# stop PID [SIGNAL]: the whole group, and waits until it is gone.
stop() {
    local left=()
    kill "-${2:-TERM}" -- "-$1" 2>/dev/null || true
    for _ in {1..50}; do
        kill -0 -- "-$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null || true
    for other in ${pids[@]+"${pids[@]}"}; do
        [ "$other" = "$1" ] || left+=("$other")
    done
    pids=(${left[@]+"${left[@]}"})
}

name= # what runs now
finish() {
    local status=$?
    [ "$status" = 0 ] || [ -z "$name" ] || echo "$name: FAILED, and broken off: see $log" >&2
    for other in ${pids[@]+"${pids[@]}"}; do
        stop "$other"
    done
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# wait_for FILE PATTERN SECONDS: until a line matches; prints the first that does.
wait_for() {
    local until=$((SECONDS + $3))
    while ! grep -m 1 -E -- "$2" "$1" 2>/dev/null; do
        if [ "$SECONDS" -ge "$until" ]; then
            echo "nothing in $1 matches $2 after $3 s" >&2
            return 1
        fi
        sleep 0.05
    done
}

# listens PORT SECONDS: until somebody does.
listens() {
    local until=$((SECONDS + $2))
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        if [ "$SECONDS" -ge "$until" ]; then
            echo "nobody listens on port $1 after $2 s" >&2
            return 1
        fi
        sleep 0.1
    done
}

# port_of FILE PATTERN: the port in the line that matches.
port_of() {
    wait_for "$1" "$2" 120 | sed -E 's/.*:([0-9]+)[^0-9]*$/\1/'
}

free_port() { "$root/checks/free_port"; }

# --- checks

ok() {
    passed=$((passed + 1))
    echo "ok   $*"
}

fail() {
    failed=$((failed + 1))
    echo "FAIL $*"
}

# expect WHAT FILE PATTERN [SECONDS]: a line that matches has to come.
expect() {
    if wait_for "$2" "$3" "${4:-60}" >/dev/null; then ok "$1"; else fail "$1"; fi
}

# checks WHAT SECONDS COMMAND...: runs a program that prints a line, ok or FAIL, for each check. It
# has to end by itself, with the status that belongs to them.
checks() {
    local what=$1 seconds=$2 status=0 output=$scratch/checks
    shift 2
    timeout -k 5 "$seconds" "$@" >"$output" 2>&1 || status=$?
    sed "s/^/  /" "$output" >>"$log/checks.log"
    tally "$output"
    [ "$status" = 124 ] && fail "$what: hangs"
    if [ "$status" != 0 ] && ! grep -q '^FAIL' "$output"; then
        fail "$what: exit status $status"
        tail -n 5 "$output"
    fi
    if ! grep -qE '^(ok|FAIL) ' "$output"; then
        fail "$what: no checks were made"
    fi
}

# tally FILE: counts and prints the lines of checks.
tally() {
    local n
    grep -E '^(ok  |FAIL|    ) ' "$1" || true
    n=$(grep -cE '^ok  ' "$1" || true) && passed=$((passed + n))
    n=$(grep -cE '^FAIL' "$1" || true) && failed=$((failed + n))
}

# --- installing

# npm_install NAME [SPEC]: a package, under another name if there is one in SPEC.
npm_install() {
    [ -d "$build/node/node_modules/$1" ] && return
    mkdir -p "$build/node"
    local _
    for _ in 1 2 3; do # npm may wait for a registry for ever
        timeout 120 npm install --silent --no-audit --no-fund --prefix "$build/node" "$1${2:+@$2}" >&2 && return
    done
    return 1
}

# python_install PACKAGE...: into one virtual environment, that of $python
python=$build/python/bin/python
python_install() {
    [ -x "$python" ] || python3 -m venv "${python%/bin/python}"
    local missing=()
    for package in "$@"; do
        "$python" -m pip show --quiet "${package%<*}" 2>/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] || "$python" -m pip install --quiet --disable-pip-version-check "${missing[@]}"
}

# apt_install COMMAND PACKAGE: only when the command is missing.
apt_install() {
    command -v "$1" >/dev/null || packages_install "$2"
}

# packages_install PACKAGE...: Debian's, those that are missing, and without starting a service.
packages_install() {
    dpkg -s "$@" >/dev/null 2>&1 && return
    apt-get update -qq >&2
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# --- nginx and HAProxy

# nginx_with FILE: an nginx with the servers of this file, as $command.
nginx_with() {
    local prefix=$scratch/nginx
    mkdir -p "$prefix"
    sed "s|@SERVERS@|$1|; s|@PREFIX@|$prefix|g" "$interop/nginx.conf" >"$prefix/nginx.conf"
    command=(nginx -p "$prefix" -c "$prefix/nginx.conf" -e stderr)
}

# recipe PAGE BALANCER PORT ONE TWO: the configuration of this balancer in this page, at $recipe, on
# this port in front of the servers at these two.
recipe() {
    recipe=$scratch/$1-$2
    sed -n "/^\`\`\`$2\$/,/^\`\`\`\$/{/^\`\`\`/!p}" "docs/recipes/$1.md" | sed -E \
        -e "s/(listen |bind :)8080/\1$3/; s/bind :/bind 127.0.0.1:/; s/listen /listen 127.0.0.1:/" \
        -e "s/:9001/:$4/; s/:9002/:$5/" >"$recipe"
}

# --- all of it

usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit 2
}

# run_chosen NAME...
run_chosen() {
    local chosen=() word total=0 began_at took
    [ $# -gt 0 ] || usage
    for word; do
        case $word in
            all) chosen+=("${names[@]}") ;;
            *) declare -F "run_$word" >/dev/null || usage && chosen+=("$word") ;;
        esac
    done
    build_programs
    for name in "${chosen[@]}"; do
        printf '\n-- %s\n' "$name"
        passed=0 failed=0 not_run= began_at=$SECONDS
        log=$build/log/$name
        rm -rf "$log" && mkdir -p "$log"
        "run_$name"
        took=$((SECONDS - began_at))
        if [ -n "$not_run" ]; then
            echo "!! $name: NOT RUN: $not_run !!"
        elif [ "$failed" = 0 ] && [ "$passed" -gt 0 ]; then
            echo "$name: passed, $passed checks ($took s)"
        else
            echo "$name: FAILED, $failed of $((passed + failed)) checks ($took s)"
            total=$((total + 1))
        fi
    done
    name=
    [ "$total" = 0 ]
}
