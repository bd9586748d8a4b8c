#!/bin/bash
# Builds and runs the tests that need no libtorch, on a machine without it: without_libtorch.sh MODELS_DIR DEMO_DIR RESULTS.xml JOBS
# The machine is a new root with the system's /usr and /etc, read-only, and only the system's Python. If a new root is
# not permitted, it is a clean copy with a clean environment.
set -euo pipefail

# What runs there: inside FOLDER JOBS PLACE…; only the places can be reached.
inside() {
  local folder=$1 jobs=$2 found digits
  found=$(find "${@:3}" \( ! -readable -o -path /proc -o -path /dev \) -prune -o \
    \( -name 'libtorch*.so*' -o -name 'libtorch*.a' -o -name 'libc10*' \) -print)
  [ -z "$found" ] || { echo "this is no machine without libtorch: ${found%%$'\n'*}" >&2; exit 1; }
  ! python3 -c 'import torch' 2>/dev/null || { echo "Python has torch here" >&2; exit 1; }

  cd "$folder"
  export OMP_WAIT_POLICY=passive # other tests need the cores
  cmake -S aoti --preset gcc-test -B build -DAOTI_WITH_LIBTORCH=OFF -DAOTI_TEST_MODELS_DIR="$folder/models" \
    -DAOTI_DEMO_DIR="$folder/demo" >configure.log 2>&1 || { cat configure.log; exit 1; }
  cmake --build build -j "$jobs" --target core_tests 12_native 13_own_import 15_written_models \
    16_linked_model inspect digits_native >build.log 2>&1 ||
    { cat build.log; exit 1; }
  digits=$(build/examples/digits_native demo)
  awk '{ print } $(NF - 3) > 12 { print "more than 12 MB"; exit 1 }' <<<"$digits"
  GTEST_OUTPUT="xml:$folder/results/" ctest --test-dir build -j "$jobs" --output-on-failure --no-tests=error \
    --output-junit "$folder/results.xml" -L core -E '^headers/' | tail -n 20
}

# Copies the system into a folder and runs there: in_root FOLDER JOBS.
in_root() {
  local root=$1 name
  for name in bin sbin lib lib32 lib64 libx32 usr etc proc dev; do
    if [ -L "/$name" ]; then
      cp -P "/$name" "$root/"
    elif [ -d "/$name" ]; then
      mkdir "$root/$name"
      mount --rbind "/$name" "$root/$name"
      case $name in
        proc | dev) ;;
        *) mount -o remount,bind,ro "$root/$name" ;;
      esac
    fi
  done
  [ ! -d /usr/local ] || mount -t tmpfs tmpfs "$root/usr/local"
  mkdir -m 1777 "$root/tmp"
  exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/home LC_ALL=C.UTF-8 \
    /bin/bash /home/aoti/tests/without_libtorch.sh inside /home "$2" /
}

case $1 in
  inside) inside "${@:2}"; exit ;;
  in_root) in_root "${@:2}" ;;
esac

models=$(realpath "$1") demo=$(realpath "$2") results=$(realpath -m "$3") jobs=$4
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
mkdir -p "$root"/home/{aoti,models,demo} "$(dirname "$results")"
git ls-files -z | tar -c --null -T - --ignore-failed-read | tar -x -C "$root/home/aoti"
find "$models/" -maxdepth 1 -type f -size -8M -exec cp -t "$root/home/models" {} +
cp "$demo"/digits.{pt2,bin} "$root/home/demo"

own=(unshare --mount)
[ "$(id -u)" -eq 0 ] || own+=(--map-root-user)
# shellcheck disable=SC2016
if "${own[@]}" bash -c 'mkdir "$0/try" && mount --rbind /usr "$0/try" && mount -o remount,bind,ro "$0/try" &&
    mount -t tmpfs tmpfs "$0/try" && chroot / true' "$root" 2>/dev/null; then
  echo "in a root of its own"
  "${own[@]}" bash tests/without_libtorch.sh in_root "$root" "$jobs" || failed=1
else
  echo "with a clean environment; a root of its own is not permitted here"
  env -i PATH=/usr/bin:/bin HOME="$root/home" TMPDIR="$root" LC_ALL=C.UTF-8 /bin/bash \
    "$root/home/aoti/tests/without_libtorch.sh" inside "$root/home" "$jobs" "$root" /usr /lib /lib64 || failed=1
fi
[ ! -e "$root/home/results.xml" ] || cp "$root/home/results.xml" "$results"
[ ! -e "$root/home/results" ] || cp -r "$root/home/results" "${results%.xml}"
exit "${failed:-0}"
