# Run one program with a deadline and leave nothing of it behind.
#
# $1 nonce  $2 deadline in seconds  $3 folder  $4... program and arguments; its standard input is file descriptor 3.
# Only lines with the nonce are ours, and each follows a line break of ours, since a banner or a program may leave its last line
# open: "<nonce> begin", then what the program prints, then "<nonce> end <status>" (128 + n: signal n), "<nonce> timeout 0" or
# "<nonce> stopped 0". The nonce ends the standard error, too.
nonce=$1 limit=$2 dir=$3
shift 3
ended=end program= watchdog=

# A process and all that descend from it, by the fourth field of their `stat`.
family() {
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        parent=${line##*) ? }
        if [ "${parent%% *}" = "$1" ]; then
            child=${stat#/proc/}
            family "${child%/stat}"
        fi
    done
    echo "$1"
}
# Kill the program with all that it started.
stop() {
    [ -n "$program" ] || return 0
    if [ -n "$leads" ]; then
        kill -KILL "-$program" 2>/dev/null
    else
        kill -KILL $(family "$program") 2>/dev/null
    fi
}
trap 'ended=timeout; stop' USR1
trap 'ended=stopped; stop' HUP INT TERM

leads=
command -v setsid >/dev/null 2>&1 && leads=setsid
printf '\n%s begin\n' "$nonce"
if cd "$dir" 2>&1; then
    # The watchdog sleeps; it wakes once, at the deadline. It must not hold our outputs open.
    sh -c 'trap '\''kill "$!" 2>/dev/null; exit'\'' TERM
        sleep "$1" & wait "$!" && kill -USR1 "$2"' watchdog "$limit" "$$" </dev/null >/dev/null 2>&1 3<&- 9<&- &
    watchdog=$!
    # As the leader of a session of its own, a program can be killed with all that it started.
    $leads "$@" <&3 3<&- 9<&- &
    program=$!
    [ "$ended" = end ] || stop
    wait "$program" 2>/dev/null
    status=$?
    # A signal to us ends the wait early.
    [ "$ended" = end ] || wait "$program" 2>/dev/null
    stop
    kill -TERM "$watchdog" 2>/dev/null
else
    status=126
fi
[ "$ended" = end ] || status=0
printf '%s\n' "$nonce" >&2
printf '\n%s %s %s\n' "$nonce" "$ended" "$status"
