# Packages of npm, by their lock files, into the cache: read by the scripts of this directory.

# shellcheck source=debian.sh
. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

# install_locked NAME: into the directory NAME of the cache, if the lock file is not the one that is there already.
install_locked() {
    local source target=$CACHE/$1 work
    source="$(dirname "${BASH_SOURCE[0]}")/$1"
    cmp -s "$source/package-lock.json" "$target/package-lock.json" && return 0
    command -v npm >/dev/null || give_up 'Missing: npm'
    work=$(mktemp -d "${TMPDIR:-/tmp}/lease-$1-XXXXXXXX")
    cp "$source/package.json" "$source/package-lock.json" "$work"
    (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    put_in_place "$work" "$target"
    rm -rf "$work"
    echo "Installed: $target"
}
