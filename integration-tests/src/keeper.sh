# Keeps one scratch directory, and the server that lives in it, for one test process after the other.
#
# The test process writes requests to the standard input, a line each, and reads an answer to each, a line too. When the
# input ends, everything is cleared away: it ends when the test process closes it, exits, crashes or is killed with
# SIGKILL. That is why this is a process of its own.
#
# Between two test processes it reads requests from a pipe in its directory, whose end it holds itself.
#
# usage: sh -c "$(cat keeper.sh)" keeper STOP_SIGNAL

stop_signal=$1
finally=

# A terminal's Ctrl-C is for the test process. And when that dies while the server is frozen, the kernel hangs up on our
# process group, which has stopped members and no parent any more.
trap '' HUP INT TERM

directory=$(mktemp -d "${LEASE_TEST_DATA:-${TMPDIR:-/tmp}}/lease-test-XXXXXXXX" 2>&1) || { echo "error $directory"; exit 1; }
cd "$directory" || { echo "error cannot enter $directory"; exit 1; }
echo "ok $directory"

# Sets `children` to the children of this shell, `descendants` to all below it, without zombies. By programs rather than by the shell,
# which would take a tenth of a second beside some hundred processes.
find_descendants() {
    # Lines of "pid (command) state parent …". A process that has ended meanwhile is an error of `cat`.
    processes=$(cat /proc/[0-9]*/stat 2>/dev/null)
    # Without /proc.
    [ -n "$processes" ] || processes=$(ps -A -o pid= -o state= -o ppid= | sed 's/^ *\([0-9]*\) */\1 (?) /')
    # A command's name may contain anything. The `cat` of the list has ended.
    descendants=$(printf '%s\n' "$processes" | awk -v shell=$$ '
        / \(cat\) / { next }
        { pid = $1; sub(/.*\) /, ""); if ($1 != "Z") below[$2] = below[$2] " " pid }
        END {
            for (level = below[shell]; level != ""; level = next_level) {
                all = all level
                next_level = ""
                for (i = split(level, parents, " "); i > 0; i--) next_level = next_level below[parents[i]]
            }
            print below[shell] "," all
        }')
    children=${descendants%%,*} descendants=${descendants#*,}
}

signal() {
    name=$1
    shift
    [ $# -eq 0 ] || kill -s "$name" "$@" 2>/dev/null
}

while read -r request rest; do
    case $request in
    run) # a command, to its end
        (eval "exec $rest") </dev/null >>log 2>&1
        echo "exit $?"
        ;;
    start) # a server, in the background
        wait # the one before has ended: its zombie would still own its pid file
        (
            trap - HUP INT TERM
            eval "exec $rest"
        ) </dev/null >>log 2>&1 &
        echo "ok"
        ;;
    finally) # a command to run when all is over
        finally=$rest
        echo "ok"
        ;;
    idle) # no test process's any more, until one asks by these pipes
        [ -p requests ] || mkfifo -m 600 requests answers
        echo "ok"
        exec <>requests 1<>answers
        ;;
    taken) # by the test process that has opened the pipes: the input ends with it
        exec <requests
        echo "ok"
        ;;
    end) # of the run
        break
        ;;
    *) echo "error no such request: $request" ;;
    esac
done

[ -z "$finally" ] || (eval "exec $finally") </dev/null >/dev/null 2>&1

find_descendants
signal CONT $descendants
signal "$stop_signal" $children
attempts=0
# Those that have ended are waited for by the shell as it waits for `sleep`, and are no longer there then.
while [ -n "$children" ] && kill -0 $children 2>/dev/null && [ $attempts -lt 150 ]; do
    sleep 0.02 2>/dev/null || sleep 1
    attempts=$((attempts + 1))
done
# Children of a server that has ended are not ours any more; a server ends after its children.
find_descendants
signal KILL $descendants
wait
cd /
rm -rf "$directory"
