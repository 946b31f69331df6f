# Hold the lock of a board for as long as our standard input lives, and run programs under it, one after the other.
#
# $1 nonce  $2 folder of the lock  $3 who asks, for people  $4 longest silence in seconds  $5 text of run.sh
# "<nonce> begin", then "<nonce> held", or what is wrong and "<nonce> end 73" (no lock file), "<nonce> end 75" (held by another).
# Lines that we read: arguments for run.sh in quotes; "done" when the end of a program was seen; an empty one as a sign of life. When standard input ends, or nothing comes for too long, the program is killed and the lock is free.
nonce=$1 dir=$2 who=$3 silence=$4 run=$5
nl='
'
lock=$dir/lock records=$dir/lock.d job=

end() {
    printf '\n%s end %s\n' "$nonce" "$1"
    exit 0
}
# Start time of a process in clock ticks since boot, field 22 of its `stat`; its number and this name it until the next boot.
started() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${stat##*) }
    echo "${20}"
}
lives() {
    rest=${1#*:}
    [ "${rest#*:}" = "$boot" ] && [ "$(started "${1%%:*}")" = "${rest%%:*}" ]
}
# The kernel's lock, the same that limbeck and its agent take on a local board. It ends with whoever holds it.
take_flock() {
    flock -n 9 || return 1
    # Somebody may have removed the file that we opened.
    [ "/proc/$$/fd/9" -ef "$lock" ] && return
    exec 9<>"$lock"
    return 1
}
# Without flock: the owner is the highest number, and owns while it lives. To make the next number is atomic; who then sees a higher
# one was too late. An owner removes only lower numbers and never its own, so a higher number is always there to be seen.
take_record() {
    mkdir -p "$records" || return 1
    top=$(highest)
    [ "$top" -gt 0 ] && lives "$(readlink "$records/$top")" && return 1
    mine=$((top + 1))
    ln -s "$me" "$records/$mine" 2>/dev/null || return 1
    if [ "$(highest)" -gt "$mine" ]; then
        rm -f "$records/$mine"
        return 1
    fi
    for number in $(numbers); do
        [ "$number" -lt "$mine" ] && rm -f "$records/$number"
    done
    return 0
}
numbers() {
    for record in "$records"/*; do
        record=${record##*/}
        case $record in *[!0-9]*) ;; *) echo "$record" ;; esac
    done
}
highest() {
    top=0
    for number in $(numbers); do
        [ "$number" -gt "$top" ] && top=$number
    done
    echo "$top"
}
finish() {
    if [ -n "$job" ]; then
        kill -TERM "$job" 2>/dev/null
        wait "$job"
    fi
    exit 0
}

printf '\n%s begin\n' "$nonce"
read -r boot </proc/sys/kernel/random/boot_id
me=$$:$(started $$):$boot
(: 9<>"$lock") 2>&1 || end 73
exec 9<>"$lock"
take=take_record
command -v flock >/dev/null 2>&1 && take=take_flock
tries=0
until $take; do
    tries=$((tries + 1))
    if [ "$tries" -gt 3 ]; then
        cat "$lock"
        end 75
    fi
    sleep 1
done
printf 'limbeck %s %s %s\n' "$$" "$(started $$)" "$who" >"$lock"
printf '\n%s held\n' "$nonce"

trap finish HUP INT TERM
if echo | (read -r -t 1 line) 2>/dev/null; then
    hear() { read -r -t "$silence" line; }
elif timeout 5 true 2>/dev/null; then
    hear() { line=$(timeout "$silence" sh -c 'read -r line && printf "%s\n" "$line"'); }
else
    hear() { read -r line; }
fi
while hear; do
    case $line in
    '') ;;
    done)
        wait "$job"
        job=
        ;;
    *)
        eval "set -- $line"
        sh -c "$run" limbeck "$@" 3<&9 </dev/null &
        job=$!
        ;;
    esac
done
finish
