# Sourced after lib.sh by what builds for release. Sets `release_build_dir` and `release_flags`.
# shellcheck shell=bash disable=SC2034,SC2154 # what it sets is used by the files that source it, what it reads is set by lib.sh

# Two checkouts at different places give the same bytes. Source paths are mapped to /samd; but the compiler (6.3) also
# stores the length of some unmapped ones (swift_isEscapingClosureAtFileLocation), so the folder's name is padded until
# its whole path has a fixed length.
release_path_length=120
release_build_dir=$root/${build_dir#"$root"/}-release
padding=$((release_path_length - ${#release_build_dir}))
if [ "$padding" -ge 0 ]; then
    release_build_dir+=$(printf '%*s' "$padding" '' | tr ' ' -)
else
    note "build: this checkout's path is too long for a reproducible build: move it up by $((-padding)) characters"
fi

release_flags=(
    "${swift_flags[@]}" --scratch-path "$release_build_dir"
    -c release --static-swift-stdlib --disable-local-rpath
    -Xswiftc -file-prefix-map -Xswiftc "$root=/samd"
    -Xswiftc -file-prefix-map -Xswiftc "$release_build_dir=/samd/.build"
    -Xcc "-ffile-prefix-map=$root=/samd" -Xcc "-ffile-prefix-map=$release_build_dir=/samd/.build"
    -Xcxx "-ffile-prefix-map=$root=/samd" -Xcxx "-ffile-prefix-map=$release_build_dir=/samd/.build"
    # The identifier would be a hash of debug information, which does name paths, and is stripped.
    -Xlinker --build-id=none
    # The static Swift library asks for every symbol to be exported, which keeps dead code: +2 MB on disk, +5 MB resident.
    -Xlinker --no-export-dynamic
)
