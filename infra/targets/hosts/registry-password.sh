#!/bin/sh
# Takes the registry's password from standard input, so that it is in no process list, and leaves its bcrypt hash for
# USERNAME in FOLDER. OWNER is the registry's user.
set -eu
umask 077
cd "${FOLDER:?}"
# shellcheck disable=SC2016 # Perl's variables, not the shell's.
perl -e '
  open(my $random, "<", "/dev/urandom") or die;
  read($random, my $bytes, 22);
  my @letters = (".", "/", "A".."Z", "a".."z", "0".."9");
  my $salt = join("", map { $letters[ord($_) % 64] } split(//, $bytes));
  my $password = <STDIN>;
  chomp $password;
  my $hash = crypt($password, "\$2b\$10\$$salt");
  die "no bcrypt in this libc\n" unless defined $hash && $hash =~ /^\$2b/;
  print "$ARGV[0]:$hash\n"
' "${USERNAME:?}" >htpasswd.new
chown "${OWNER:?}:0" htpasswd.new
chmod 440 htpasswd.new
mv htpasswd.new htpasswd
