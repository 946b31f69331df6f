# What a board is, in lines "key value". What it does not say is left out.
# $1 working folder, which is created  $2 emulator in front of each program, or nothing
say() {
    [ -z "$2" ] || printf '%s %s\n' "$1" "$2"
}
has() {
    command -v "$1" >/dev/null 2>&1
}
say machine "$(uname -m 2>/dev/null)"
say kernel "$(uname -sr 2>/dev/null)"
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || glibc=$(ldd --version 2>/dev/null | sed -n '1s/.*GLIBC.* /glibc /p')
say libc "$glibc"
for loader in /lib/ld-musl-*.so.1; do
    [ -x "$loader" ] && [ -z "$glibc" ] && say libc "musl $("$loader" 2>&1 | sed -n 's/^Version //p')"
done
while IFS= read -r line; do
    case $line in
    Features*:* | flags*:* | isa*:*)
        say features "${line#*: }"
        break
        ;;
    esac
done 2>/dev/null </proc/cpuinfo
say cpus "$(nproc 2>/dev/null)"
[ -r /proc/device-tree/model ] && say model "$(tr -d '\000' </proc/device-tree/model)"
while read -r key value rest; do
    case $key in
    MemTotal:) say memory_kib "$value" ;;
    MemAvailable:) say available_kib "$value" ;;
    esac
done 2>/dev/null </proc/meminfo
read -r load rest 2>/dev/null </proc/loadavg && say load "$load"
say clock "$(date +%s 2>/dev/null)"

mount= missing=
if failure=$(mkdir -p "$1" 2>&1); then
    df=$(df -P -k "$1" 2>/dev/null | sed -n '$p')
    say df "$df"
    while read -r device where type options rest; do
        [ "$where" = "${df##*% }" ] && mount="$type $options"
    done 2>/dev/null </proc/mounts
    say mount "$mount"
    script=$1/.limbeck-preflight.$$
    if failure=$(printf '#!/bin/sh\nexit 0\n' 2>&1 >"$script"); then
        chmod 755 "$script"
        "$script" 2>/dev/null
        say starts "$?"
        rm -f "$script"
    fi
    # Can a link be switched in one step?
    ln -s none "$script" 2>/dev/null && mv -fT "$script" "$script.to" 2>/dev/null && say switches yes
    rm -f "$script" "$script.to"
    if [ -e "$1/lock" ] && has flock; then
        flock -n "$1/lock" true || say held "$(sed -n 1p "$1/lock")"
    fi
fi
say failure "$failure"
for program in cat chmod df ln ls mkdir mv readlink rm sleep sync wc sha256sum setsid flock timeout; do
    has "$program" || missing="$missing $program"
done
say missing "$missing"
[ -z "$2" ] || has "$2" || say no_emulator "$2"
