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

# Sets `processes` to lines of "pid parent", for all processes but zombies. Without /proc it takes ps.
list_processes() {
    processes=
    if [ -r /proc/self/stat ]; then
        for stat in /proc/[0-9]*/stat; do
            { read -r line <"$stat"; } 2>/dev/null || continue
            # A command's name, in parentheses, may contain anything.
            set -- ${line##*) }
            [ "$1" = Z ] || processes="$processes ${line%% *}:$2"
        done
    else
        processes=$(ps -A -o pid= -o ppid= -o state= | while read -r pid parent state; do
            case $state in Z*) ;; *) printf ' %s:%s' "$pid" "$parent" ;; esac
        done)
    fi
}

# Sets `children` to the children of this shell, `descendants` to all below it.
find_descendants() {
    list_processes
    children= descendants= parents=" $$ " depth=0
    while [ -n "$parents" ]; do
        next=
        for process in $processes; do
            case $parents in *" ${process##*:} "*) next="$next ${process%%:*}" ;; esac
        done
        [ $depth -gt 0 ] || children=$next
        descendants="$descendants$next"
        depth=$((depth + 1))
        parents=${next:+"$next "}
    done
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
