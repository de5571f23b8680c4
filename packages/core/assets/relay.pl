# Carries bytes between its own standard streams and a runner that has lost its link.
#
#   perl -e '<this text, in one line>' pid directory
#
# Sent as one word of a command line: no quotes of the single kind, no backslashes, no exclamation marks. Ends with 4 when there is no
# such runner any more, with 5 when the directory is not ours, with 6 when the runner does not answer.
use Socket;
($p, $d) = @ARGV;
$t = substr $d, -16;
# The number may belong to somebody else by now; the token is among the words of the runner.
$_ = open(F, "<", "/proc/$p/cmdline") ? join("", <F>) : `ps -p $p -o args=`;
/$t/ && kill USR1 => $p or warn("the runner has ended$/"), exit 4;
for $i (1 .. 500) {
if (@s = lstat $d) {
-d _ && $s[4] == $> && ($s[2] & 63) == 0 or warn("$d belongs to somebody else$/"), exit 5;
socket S, PF_UNIX, SOCK_STREAM, 0;
last if connect S, sockaddr_un "$d/link";
}
exit 6 if $i == 500;
select undef, undef, undef, 0.02;
}
sub copy { my ($f, $t, $b, $o) = @_; while (sysread $f, $b, 65536) { $o = 0; while ($o < length $b) { $o += syswrite($t, $b, length($b) - $o, $o) || return } } }
# One process for each direction: what one side does not take must not hold up the other.
$me = $$;
$c = fork;
if ($c) { copy(STDIN, S); shutdown S, 1; wait } else { copy(S, STDOUT); kill TERM => $me }
