# Stage standard input, check its hash where it lies, and give it its name: whole, or not at all.
# $1 staged name  $2 final name  $3 sha256  $4 mode. Exit 65: another hash, which is printed; 66: cannot hash, the file stays staged.
exec 2>&1
staged=$1
trap 'rm -f "$staged"' EXIT
trap 'exit 1' HUP INT TERM
if [ -d "$2" ]; then
    echo "$2: Is a directory"
    exit 1
fi
cat >"$staged" && chmod "$4" "$staged" && sync "$staged" || exit 1
if ! command -v sha256sum >/dev/null; then
    trap - EXIT
    exit 66
fi
found=$(sha256sum <"$staged") || exit 1
found=${found%% *}
if [ "$found" != "$3" ]; then
    echo "$found"
    exit 65
fi
mv -f "$staged" "$2"
