#!/bin/sh
# The container runtime `runsc-checkpoint`: runsc itself, unless the launcher has left a note for this container. With a
# note, the engine's start restores the container from a checkpoint, and the engine's SIGCONT saves it as one; the
# engine needs to know of neither. Notes are files of root's, named by the container's id, a line for each thing:
#   restore DIRECTORY        the checkpoint to start from
#   save DIRECTORY           where to save to; the container ends with it
#   unlimited-v1 FILE        a CPU quota to lift for the restore, as cgroup v1 and v2 write it; where there is such a file
#   unlimited-v2 FILE
# A note is taken by renaming it: one that is still there was not seen.
set -u
umask 077

RUNSC=@RUNSC@
NOTES=/run/kernelyard/checkpoint-notes
SIGCONT=18

before='' verb='' last=''
for argument in "$@"; do
  before=$verb
  verb=$last
  last=$argument
done
# `… start ID`, `… kill ID SIGNAL`
if [ "$verb" = start ]; then
  task=restore id=$last words=2
elif [ "$before" = kill ] && [ "$last" = $SIGCONT ]; then
  task=save id=$verb words=3
else
  exec "$RUNSC" "$@"
fi
case $id in
  '' | *[!0-9a-f]*) exec "$RUNSC" "$@" ;;
esac
note=$NOTES/$id
[ -f "$note" ] || exec "$RUNSC" "$@"
mv "$note" "$note.taken" || exec "$RUNSC" "$@"

directory=''
while read -r what path; do
  case $what in
    "$task") directory=$path ;;
    unlimited-v1) [ ! -e "$path" ] || echo -1 >"$path" ;;
    unlimited-v2) [ ! -e "$path" ] || echo max >"$path" ;;
  esac
done <"$note.taken"
rm -f "$note.taken"
[ -n "$directory" ] || exec "$RUNSC" "$@"

# The engine's global options stay, the last words go.
keep=$(($# - words))
for argument in "$@"; do
  shift
  [ $keep -gt 0 ] || continue
  keep=$((keep - 1))
  set -- "$@" "$argument"
done
if [ "$task" = save ]; then
  exec "$RUNSC" "$@" checkpoint --image-path "$directory" --exclude-committed-zero-pages "$id"
fi
"$RUNSC" "$@" restore --detach --background --image-path "$directory" "$id" && exit
# The engine would forget a container that did not start, and leave its processes.
"$RUNSC" "$@" delete --force "$id" >/dev/null 2>&1
exit 1
