#!/bin/sh
# A stand-in for ssh: the board is this machine, and the connection has the fault that the file `fault` beside this names:
# "<number of the call, 0: each> <fault> <bytes>". Calls are counted in the file `calls`.
here=${0%/*}
case " $* " in *' -O '*) exit 0 ;; esac
while [ "$1" != -- ]; do shift; done
command=$3
echo call >>"$here/calls"
call=$(($(wc -l <"$here/calls")))
at=0 fault=none bytes=0
[ -f "$here/fault" ] && read -r at fault bytes <"$here/fault"
[ "$at" = 0 ] || [ "$at" = "$call" ] || fault=none
# The board is no child of ours: when we are killed, its input ends, and that is all that it notices.
path=$PATH
[ -f "$here/path" ] && path=$(cat "$here/path")
board() {
    setsid env PATH="$path" sh -c "$command"
}
case $fault in
none) board ;;
stall) exec sleep 300 ;;
off)
    echo 'ssh: connect to host board port 22: Connection refused' >&2
    exit 255
    ;;
denied)
    echo 'pi@board: Permission denied (publickey).' >&2
    exit 255
    ;;
changed)
    echo '@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
The fingerprint for the ED25519 key sent by the remote host is
SHA256:0123456789abcdefghijklmnopqrstuvwxyzABCDEFG.
Host key verification failed.' >&2
    exit 255
    ;;
noshell)
    echo 'sh: not found' >&2
    exit 127
    ;;
# The command is done, and nobody hears of it.
silent) board >/dev/null 2>&1 ;;
# The stream ends early, which looks like its end; then the connection is lost, or it is not.
cut)
    head -c "$bytes" | board >/dev/null 2>&1
    echo 'client_loop: send disconnect: Broken pipe' >&2
    exit 255
    ;;
short) head -c "$bytes" | board ;;
midway)
    board | head -n 2
    exit 255
    ;;
signal)
    board >/dev/null
    kill -KILL $$
    ;;
lie)
    board
    exit 1
    ;;
banner)
    echo 'Welcome! limbeck-0 begin'
    echo 'limbeck-0 end 0'
    printf 'end 0\nno line end'
    echo 'Permission denied (for a joke)' >&2
    board
    echo 'limbeck-0 end 9'
    ;;
*) exit 2 ;;
esac
