# Packages of other releases of Debian, unpacked beside the system: read by the scripts of this directory. Nothing here needs root,
# and nothing of the system changes.

# Where the installed servers are; the tests look there, too.
CACHE=${LEASE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lease-tests}

give_up() {
    printf '%s: %s\n' "${0##*/}" "$@" >&2
    exit 1
}

# The mirror of Debian that this machine uses, or the one that LEASE_TEST_DEBIAN_MIRROR names.
mirror() {
    local found=${LEASE_TEST_DEBIAN_MIRROR-}
    command -v apt-get >/dev/null || give_up 'Missing: apt-get. These servers are made from packages of Debian.'
    [ -n "$found" ] || found=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' | awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
    [ -n "$found" ] || give_up 'No mirror of Debian is known here: run `apt-get update`, or set LEASE_TEST_DEBIAN_MIRROR.'
    echo "$found"
}

# apt_of DIRECTORY RELEASE: makes `apt` the apt-get of this release alone, with its state in the directory.
apt_of() {
    local state=$1/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg source
    [ -e "$keyring" ] || give_up "Missing: $keyring. Install debian-archive-keyring."
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    source="[signed-by=$keyring] $(mirror) $2 main"
    printf 'deb %s\ndeb-src %s\n' "$source" "$source" >"$state/sources.list"
    : >"$state/status"
    apt_options=(-q -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$state/lists"
        -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
    apt update
}

apt() {
    apt-get "${apt_options[@]}" "$@"
}

# download DIRECTORY PACKAGE…: their files, with the signatures of the release checked.
download() {
    local directory=$1
    shift
    mkdir -p "$directory"
    (cd "$directory" && apt download "$@")
}

# unpack DIRECTORY ROOT: unpacks all packages of the directory below the root.
unpack() {
    local package
    mkdir -p "$2"
    for package in "$1"/*.deb; do dpkg -x "$package" "$2"; done
}

# put_in_place FROM TO: in one step, so that nobody ever sees a half.
put_in_place() {
    mkdir -p "$(dirname "$2")"
    rm -rf "$2.new"
    cp -a "$1" "$2.new"
    rm -rf "$2"
    mv -T "$2.new" "$2"
}
